#include "base/buf.h"
#include "base/mem.h"
#include "crypto/blake3.h"
#include "identity/keys_file.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSWORD ((kith_bytes){"correct horse", 13})

static const uint8_t nonce[KITH_AEAD_NONCE_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
/* RFC 8032 section 7.1, test 1. */
static const char seed_hex[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
static const char public_hex[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

static void rfc_seed(uint8_t seed[32]) { assert_ok(kith_unhex(seed_hex, seed, 32)); }

static kith_keys_file unsealed(void)
{
    kith_keys_file keys = {.kdf = {.memory_kib = 16, .passes = 1, .lanes = 2}, .created_at_ms = 1795490963123};
    memset(keys.device_id, 0xd1, sizeof keys.device_id);
    memset(keys.salt, 0x5a, sizeof keys.salt);
    return keys;
}

static kith_keys_file sealed(void)
{
    kith_keys_file keys = unsealed();
    uint8_t seed[32];
    rfc_seed(seed);
    assert_ok(kith_keys_seal(&keys, PASSWORD, seed, nonce));
    return keys;
}

static void seal_and_open(void **state)
{
    (void)state;
    kith_keys_file keys = sealed();
    uint8_t seed[32], got[32] = {0};
    rfc_seed(seed);
    test_equal_hex(keys.public_key, 32, public_hex);
    assert_memory_equal(keys.sealed, nonce, sizeof nonce);
    for (size_t i = 0; i + 32 <= sizeof keys.sealed; i++) assert_memory_not_equal(keys.sealed + i, seed, 32);
    assert_ok(kith_keys_open(&keys, PASSWORD, got));
    assert_memory_equal(got, seed, 32);
}

/* What the header says, computed here from its parts: another implementation could open the file. */
static void the_format_is_as_documented(void **state)
{
    (void)state;
    kith_keys_file keys = sealed();
    uint8_t key[32], again[32], got[32], seed[32], ad[160];
    const kith_bytes none = {NULL, 0};
    rfc_seed(seed);
    assert_ok(kith_kdf(&keys.kdf, PASSWORD, (kith_bytes){keys.salt, 32}, none, none, key, sizeof key));
    assert_ok(kith_keys_password_key(&keys, PASSWORD, again));
    assert_memory_equal(key, again, 32);
    kith_writer w = kith_writer_of(ad, sizeof ad);
    kith_write_bytes(&w, "kith network_keys.json", 23);
    kith_write_u32(&w, 1);
    kith_write_bytes(&w, keys.device_id, 16);
    kith_write_bytes(&w, keys.public_key, 32);
    kith_write_bytes(&w, keys.salt, 32);
    kith_write_bytes(&w, "argon2id", 9);
    kith_write_u32(&w, 16);
    kith_write_u32(&w, 1);
    kith_write_u32(&w, 2);
    kith_write_u64(&w, 1795490963123);
    uint8_t subkey[32];
    kith_blake3_derive("kith 2026-11 network_keys.json: Ed25519 seed", key, 32, subkey, 32);
    assert_ok(kith_aead_open_once(subkey, keys.sealed, ad, kith_writer_size(&w), keys.sealed + 12, 48, got));
    assert_memory_equal(got, seed, 32);
}

static void wrong_passwords(void **state)
{
    (void)state;
    kith_keys_file keys = sealed(), other = unsealed();
    uint8_t got[32], before[32], seed[32];
    rfc_seed(seed);
    memset(got, 9, sizeof got);
    memcpy(before, got, sizeof got);
    assert_int_equal(kith_keys_open(&keys, (kith_bytes){"correct horsf", 13}, got), KITH_ERR_PASSWORD);
    assert_int_equal(kith_keys_open(&keys, (kith_bytes){"correct horse ", 14}, got), KITH_ERR_PASSWORD);
    assert_int_equal(kith_keys_open(&keys, (kith_bytes){"correct hors", 12}, got), KITH_ERR_PASSWORD);
    assert_int_equal(kith_keys_open(&keys, (kith_bytes){"", 0}, got), KITH_ERR_ARG);
    assert_int_equal(kith_keys_seal(&other, (kith_bytes){"", 0}, seed, nonce), KITH_ERR_ARG);
    assert_memory_equal(got, before, sizeof got);
    /* Passwords are bytes: a NUL is one of them. */
    assert_ok(kith_keys_seal(&other, (kith_bytes){"a\0b", 3}, seed, nonce));
    assert_int_equal(kith_keys_open(&other, (kith_bytes){"a\0c", 3}, got), KITH_ERR_PASSWORD);
    assert_ok(kith_keys_open(&other, (kith_bytes){"a\0b", 3}, got));
}

/* Nothing in the file can be changed without the password. */
static void every_part_is_bound(void **state)
{
    (void)state;
    const kith_keys_file whole = sealed();
    uint8_t got[32];
    for (size_t bit = 0; bit < 8 * KITH_KEYS_SEALED_SIZE; bit += 3) {
        kith_keys_file keys = whole;
        keys.sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kith_keys_open(&keys, PASSWORD, got), KITH_ERR_PASSWORD);
    }
    kith_keys_file bad[7];
    for (size_t i = 0; i < 7; i++) bad[i] = whole;
    bad[0].device_id[3] ^= 1;
    bad[1].public_key[31] ^= 0x80;
    bad[2].salt[0] ^= 1;
    bad[3].kdf.memory_kib++;
    bad[4].kdf.passes++;
    bad[5].kdf.lanes--;
    bad[6].created_at_ms++;
    for (size_t i = 0; i < 7; i++) assert_int_equal(kith_keys_open(&bad[i], PASSWORD, got), KITH_ERR_PASSWORD);
}

static void parameters_out_of_bounds(void **state)
{
    (void)state;
    static const kith_kdf_params bad[] = {
        {0, 1, 1},
        {7, 1, 1},
        {15, 1, 2},
        {16, 0, 1},
        {16, KITH_KDF_PASSES_MAX + 1, 1},
        {16, 1, 0},
        {UINT32_MAX, 1, 1},
        {KITH_KDF_MEMORY_MAX_KIB + 1, 1, 1},
        {1024, 1, KITH_KDF_LANES_MAX + 1},
        {16, 1, 0x20000001}, /* 8 times this is 8 in 32 bits */
    };
    uint8_t seed[32], got[32];
    rfc_seed(seed);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kith_keys_file keys = sealed();
        keys.kdf = bad[i];
        assert_int_equal(kith_keys_open(&keys, PASSWORD, got), KITH_ERR_DAMAGED);
        assert_int_equal(kith_keys_seal(&keys, PASSWORD, seed, nonce), KITH_ERR_ARG);
    }
}

/* A sealed seed that is not the public key's: somebody with the password made it, or we have a bug. */
static void the_seed_must_give_the_public_key(void **state)
{
    (void)state;
    kith_keys_file keys = sealed();
    uint8_t key[32], other[32] = {42}, got[32] = {0};
    assert_ok(kith_keys_password_key(&keys, PASSWORD, key));
    assert_ok(kith_keys_slot_seal(&keys, key, KITH_KEYS_SEED, nonce, other, 32, keys.sealed));
    assert_int_equal(kith_keys_open(&keys, PASSWORD, got), KITH_ERR_DAMAGED);
    assert_int_equal(got[0], 0);
}

static void slots_have_keys_of_their_own(void **state)
{
    (void)state;
    kith_keys_file keys = sealed();
    uint8_t key[32], secret[40], slot[40 + KITH_KEYS_OVERHEAD], got[40];
    memset(secret, 0x77, sizeof secret);
    assert_ok(kith_keys_password_key(&keys, PASSWORD, key));
    assert_ok(kith_keys_slot_seal(&keys, key, "test: another slot", nonce, secret, sizeof secret, slot));
    assert_ok(kith_keys_slot_open(&keys, key, "test: another slot", slot, sizeof slot, got));
    assert_memory_equal(got, secret, sizeof got);
    assert_int_equal(kith_keys_slot_open(&keys, key, "test: a third slot", slot, sizeof slot, got), KITH_ERR_PASSWORD);
    for (size_t size = 0; size < sizeof slot; size++)
        assert_int_equal(kith_keys_slot_open(&keys, key, "test: another slot", slot, size, got), KITH_ERR_PASSWORD);
}

static char *file_of(const kith_keys_file *keys, const char *old, size_t *size)
{
    uint8_t *out;
    kith_reason reason;
    assert_ok(kith_keys_encode(keys, old, old ? strlen(old) : 0, &out, size, &reason));
    return (char *)out;
}

static void the_file_there_and_back(void **state)
{
    (void)state;
    kith_keys_file keys = sealed(), again;
    kith_reason reason;
    size_t size;
    char *text = file_of(&keys, NULL, &size);
    assert_ok(kith_keys_decode(text, size, &again, &reason));
    assert_memory_equal(&keys, &again, sizeof keys);
    json_t *file = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL), *kdf = json_object_get(file, "kdf_params");
    assert_string_equal(test_str(file, "public_key"), public_hex);
    assert_int_equal(strlen(test_str(file, "encrypted_private_key")), 120);
    assert_int_equal(strlen(test_str(file, "salt")), 64);
    assert_string_equal(test_str(file, "device_id"), "d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1");
    assert_string_equal(test_str(file, "network_identity_created_at"), "2026-11-24T03:29:23.123Z");
    assert_string_equal(test_str(kdf, "algorithm"), "argon2id");
    assert_int_equal(json_integer_value(json_object_get(kdf, "memory_kib")), 16);
    assert_int_equal(json_integer_value(json_object_get(file, "version")), 1);
    assert_null(memmem(text, size, seed_hex, strlen(seed_hex)));
    json_decref(file);
    kith_free(text);
}

static void members_of_others_are_kept(void **state)
{
    (void)state;
    kith_keys_file keys = sealed(), again;
    kith_reason reason;
    uint8_t seed[32];
    size_t size;
    char *text = file_of(&keys, NULL, &size);
    json_t *file = json_loadb(text, size, 0, NULL);
    json_object_set_new(file, "note", json_pack("{s:[i,i]}", "mine", 1, 2));
    json_object_set_new(json_object_get(file, "kdf_params"), "why", json_string("slow enough"));
    char *old = json_dumps(file, 0);
    kith_free(text);
    keys.kdf.passes = 2;
    rfc_seed(seed);
    assert_ok(kith_keys_seal(&keys, (kith_bytes){"new", 3}, seed, nonce));
    text = file_of(&keys, old, &size);
    assert_ok(kith_keys_decode(text, size, &again, &reason));
    assert_memory_equal(&keys, &again, sizeof keys);
    json_t *after = json_loadb(text, size, 0, NULL);
    assert_true(json_equal(json_object_get(after, "note"), json_object_get(file, "note")));
    assert_string_equal(test_str(json_object_get(after, "kdf_params"), "why"), "slow enough");
    json_decref(after);
    json_decref(file);
    free(old);
    kith_free(text);
}

/* Set a member (of kdf_params when `inner`) to a value, and see what decoding says. */
static void expect_after(const char *member, bool inner, json_t *value, kith_err want)
{
    kith_keys_file keys = sealed(), out;
    kith_reason reason = {""};
    size_t size;
    char *text = file_of(&keys, NULL, &size);
    json_t *file = json_loadb(text, size, 0, NULL), *object = inner ? json_object_get(file, "kdf_params") : file;
    if (value)
        json_object_set_new(object, member, value);
    else
        json_object_del(object, member);
    char *changed = json_dumps(file, 0);
    kith_err err = kith_keys_decode(changed, strlen(changed), &out, &reason);
    if (err != want || !strstr(reason.text, want == KITH_ERR_VERSION ? "format" : member))
        fail_msg("%s: %d, \"%s\"", changed, err, reason.text);
    json_decref(file);
    free(changed);
    kith_free(text);
}

static void wrong_members(void **state)
{
    (void)state;
    static const char *members[] = {"version",
                                    "device_id",
                                    "public_key",
                                    "encrypted_private_key",
                                    "salt",
                                    "kdf_params",
                                    "network_identity_created_at",
                                    "checksum"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        expect_after(members[i], false, NULL, KITH_ERR_DAMAGED);
        expect_after(members[i], false, json_null(), KITH_ERR_DAMAGED);
        expect_after(members[i], false, json_string("zz"), KITH_ERR_DAMAGED);
    }
    expect_after("version", false, json_integer(2), KITH_ERR_VERSION);
    expect_after("version", false, json_integer(0), KITH_ERR_DAMAGED);
    expect_after("version", false, json_integer(-1), KITH_ERR_DAMAGED);
    expect_after("algorithm", true, json_string("scrypt"), KITH_ERR_DAMAGED);
    expect_after("memory_kib", true, json_integer(1 << 30), KITH_ERR_DAMAGED);
    expect_after("memory_kib", true, json_integer(4294967296 + 16), KITH_ERR_DAMAGED);
    expect_after("memory_kib", true, json_integer(15), KITH_ERR_DAMAGED);
    expect_after("memory_kib", true, json_real(16.0), KITH_ERR_DAMAGED);
    expect_after("passes", true, json_integer(0), KITH_ERR_DAMAGED);
    expect_after("passes", true, json_integer(65), KITH_ERR_DAMAGED);
    expect_after("lanes", true, json_integer(-1), KITH_ERR_DAMAGED);
    expect_after("lanes", true, json_integer(65), KITH_ERR_DAMAGED);
}

/* Each cut is refused.  A flipped bit is refused, or changed only spelling: the meaning is what it was. */
static void every_cut_and_every_flip(void **state)
{
    (void)state;
    const kith_keys_file whole = sealed();
    kith_keys_file out;
    kith_reason reason;
    size_t size;
    char *text = file_of(&whole, NULL, &size);
    for (size_t cut = 0; cut + 1 < size; cut++) { /* without the last newline it is whole */
        char *part = kith_memdup(text, cut);
        assert_int_equal(kith_keys_decode(part, cut, &out, &reason), KITH_ERR_DAMAGED);
        kith_free(part);
    }
    for (size_t i = 0; i < size * 8; i++) {
        char *bad = kith_memdup(text, size);
        bad[i / 8] = (char)(bad[i / 8] ^ (1 << i % 8));
        kith_err err = kith_keys_decode(bad, size, &out, &reason);
        if (!err)
            assert_memory_equal(&out, &whole, sizeof out);
        else
            assert_true(err == KITH_ERR_DAMAGED || err == KITH_ERR_VERSION);
        kith_free(bad);
    }
    kith_free(text);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_keys_file keys = unsealed(), again;
    kith_reason reason;
    uint8_t seed[32], got[32], *first = NULL, *second = NULL;
    size_t size;
    rfc_seed(seed);
    kith_err err = kith_keys_seal(&keys, PASSWORD, seed, nonce);
    if (!err) err = kith_keys_encode(&keys, NULL, 0, &first, &size, &reason);
    if (!err) err = kith_keys_decode(first, size, &again, &reason);
    if (!err) err = kith_keys_encode(&again, first, size, &second, &size, &reason);
    if (!err) err = kith_keys_open(&again, PASSWORD, got);
    kith_free(first);
    kith_free(second);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

/* Jansson's own allocations too: it may call a failed one a syntax error, but nothing crashes, leaks or comes out
 * wrong. */
static void failing_allocations_of_jansson(void **state)
{
    (void)state;
    json_set_alloc_funcs(kith_malloc, kith_free);
    for (uint64_t n = 1;; n++) {
        int64_t live = kith_mem_live();
        kith_mem_fail_at(n, false);
        int err = all_of_it(NULL);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        assert_int_equal(kith_mem_live(), live);
        assert_true(err == KITH_OK || err == KITH_ERR_NOMEM || err == KITH_ERR_DAMAGED);
        if (!failed) break;
    }
    json_set_alloc_funcs(malloc, free);
}

/* The keys as an application has them inside its device.json: `array`: bytes as numbers. */
static char *flattened(const kith_keys_file *keys, bool array)
{
    json_t *root =
        json_pack("{s:s, s:s, s:[i, i], s:s, s:{s:{s:s, s:i, s:i, s:i}}}", "id", "d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1",
                  "name", "laptop", "theirs", 1, 2, "network_identity_created_at", "2026-11-24T03:29:23.123Z",
                  "network_keys", "kdf_params", "algorithm", "argon2id", "memory_kib", 16, "passes", 1, "lanes", 2);
    const struct {
        const char *name;
        const uint8_t *data;
        size_t size;
    } parts[] = {{"public_key", keys->public_key, 32},
                 {"salt", keys->salt, 32},
                 {"encrypted_private_key", keys->sealed, sizeof keys->sealed}};
    json_t *inner = json_object_get(root, "network_keys");
    for (size_t i = 0; i < 3; i++) {
        char hex[130];
        json_t *numbers = json_array();
        for (size_t j = 0; j < parts[i].size; j++) json_array_append_new(numbers, json_integer(parts[i].data[j]));
        json_object_set_new(inner, parts[i].name,
                            array ? json_incref(numbers) : json_string(kith_hex(parts[i].data, parts[i].size, hex)));
        json_decref(numbers);
    }
    char *text = json_dumps(root, 0);
    json_decref(root);
    assert_non_null(text);
    return text;
}

static void keys_inside_a_device_file(void **state)
{
    (void)state;
    const kith_keys_file keys = sealed();
    kith_keys_file found;
    kith_reason reason;
    for (int array = 0; array < 2; array++) {
        char *text = flattened(&keys, array);
        uint8_t *rest, got[32], seed[32];
        size_t rest_size;
        assert_ok(kith_keys_decode_flattened(text, strlen(text), &found, &reason));
        assert_memory_equal(&found, &keys, sizeof keys);
        assert_ok(kith_keys_open(&found, PASSWORD, got));
        rfc_seed(seed);
        assert_memory_equal(got, seed, 32);
        assert_ok(kith_keys_strip_flattened(text, strlen(text), &rest, &rest_size, &reason));
        assert_int_equal(kith_keys_decode_flattened(rest, rest_size, &found, &reason), KITH_ERR_NOT_FOUND);
        json_t *left = json_loadb((const char *)rest, rest_size, 0, NULL);
        assert_int_equal(json_object_size(left), 3); /* id, name, theirs */
        assert_int_equal(json_array_size(json_object_get(left, "theirs")), 2);
        json_decref(left);
        kith_free(rest);
        free(text);
    }
    static const char *const bad[] = {
        "{\"id\":\"x\",\"network_keys\":{}}",
        "{\"id\":\"d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1\",\"network_keys\":{\"public_key\":[1,2]}}",
        "{\"id\":\"d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1\",\"network_keys\":7}",
        "{\"id\":\"d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1\",\"network_keys\":{\"public_key\":"
        "[256,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kith_keys_decode_flattened(bad[i], strlen(bad[i]), &found, &reason), KITH_ERR_DAMAGED);
    const char *none = "{\"id\":\"d1\",\"network_keys\":null}";
    assert_int_equal(kith_keys_decode_flattened(none, strlen(none), &found, &reason), KITH_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_inside_a_device_file),
        TEST(seal_and_open),
        TEST(the_format_is_as_documented),
        TEST(wrong_passwords),
        TEST(every_part_is_bound),
        TEST(parameters_out_of_bounds),
        TEST(the_seed_must_give_the_public_key),
        TEST(slots_have_keys_of_their_own),
        TEST(the_file_there_and_back),
        TEST(members_of_others_are_kept),
        TEST(wrong_members),
        TEST(every_cut_and_every_flip),
        TEST(failing_allocations),
        TEST(failing_allocations_of_jansson),
    };
    return cmocka_run_group_tests_name("identity/keys_file", tests, NULL, NULL);
}
