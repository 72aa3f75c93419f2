#include "crypto/aead.h"
#include "crypto/hash.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

static void blake2s_kat_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("blake2s_kat.json"), *item;
    size_t i, ran = 0;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        const char *name = test_str(item, "hash"), *key = test_str(item, "key");
        if ((name && strcmp(name, "blake2s") != 0) || (key && *key)) continue; /* Kith has no keyed BLAKE2s */
        test_bytes in = test_hex_of(item, "in");
        uint8_t out[KITH_HASH_SIZE];
        kith_blake2s(&(kith_bytes){in.data, in.size}, 1, out);
        test_equal_hex(out, sizeof out, test_str(item, "out"));
        /* the same from three pieces, one of them empty */
        size_t cut = in.size / 3;
        kith_bytes pieces[] = {{in.data, cut}, {NULL, 0}, {in.data + cut, in.size - cut}};
        kith_blake2s(pieces, 3, out);
        test_equal_hex(out, sizeof out, test_str(item, "out"));
        test_bytes_free(&in);
        ran++;
    }
    test_ran("blake2s_kat.json", ran);
    json_decref(root);
}

/* hyphae-v1 section 6: T1(salt = zeroes, ikm, info). */
static void derive(const void *ikm, size_t size, const char *info, uint8_t out[1][KITH_HASH_SIZE])
{
    static const uint8_t zeroes[KITH_HASH_SIZE];
    kith_hkdf_blake2s(zeroes, ikm, size, info, strlen(info), 1, out);
}

/* The four sub-keys of `level`'s secret; key updates have the two data keys alone. */
static void check_sub_keys(const json_t *out, const char *level)
{
    static const char *const labels[][2] = {
        {"init data", "init_data"}, {"resp data", "resp_data"}, {"init hp", "init_hp"}, {"resp hp", "resp_hp"}};
    char name[64];
    snprintf(name, sizeof name, "%s.level_secret", level);
    test_bytes secret = test_hex_of(out, name);
    assert_int_equal(secret.size, KITH_HASH_SIZE);
    for (size_t i = 0; i < 4; i++) {
        uint8_t key[1][KITH_HASH_SIZE];
        derive(secret.data, secret.size, labels[i][0], key);
        snprintf(name, sizeof name, "%s.%s", level, labels[i][1]);
        if (strncmp(level, "key_update", 10) == 0 && i >= 2) {
            assert_null(test_str(out, name));
            continue;
        }
        test_equal_hex(key[0], KITH_HASH_SIZE, test_str(out, name));
    }
    test_bytes_free(&secret);
}

/* The key chain of ck and h after message `n`: a0 = T1(ck, h || "hyphae key", "ask"); a1, S0 = T1, T2(a0, "", ""); and
 * so on. */
static void check_chain(const json_t *out, const char *n, const char *const *levels, size_t count)
{
    char name[64];
    uint8_t ask[KITH_HASH_SIZE + 10], chain[2][KITH_HASH_SIZE];
    snprintf(name, sizeof name, "ck.after_message_%s", n);
    test_bytes ck = test_hex_of(out, name);
    snprintf(name, sizeof name, "h.after_message_%s", n);
    test_bytes h = test_hex_of(out, name);
    assert_int_equal(ck.size, KITH_HASH_SIZE);
    assert_int_equal(h.size, KITH_HASH_SIZE);
    memcpy(ask, h.data, KITH_HASH_SIZE);
    memcpy(ask + KITH_HASH_SIZE, "hyphae key", 10);
    kith_hkdf_blake2s(ck.data, ask, sizeof ask, "ask", 3, 1, chain);
    snprintf(name, sizeof name, "ask.chain_0_after_message_%s", n);
    test_equal_hex(chain[0], KITH_HASH_SIZE, test_str(out, name));
    for (size_t i = 0; i < count; i++) {
        kith_hkdf_blake2s(chain[0], NULL, 0, NULL, 0, 2, chain); /* the salt is replaced by the first output */
        snprintf(name, sizeof name, "%s.level_secret", levels[i]);
        test_equal_hex(chain[1], KITH_HASH_SIZE, test_str(out, name));
    }
    test_bytes_free(&ck);
    test_bytes_free(&h);
}

static void check_initial_and_retry(const json_t *in, const json_t *out)
{
    uint8_t key[1][KITH_HASH_SIZE], retry_ikm[20 + 20], sealed[256 + KITH_AEAD_TAG_SIZE], nonce[12] = {0};
    test_bytes dcid = test_hex_of(in, "client_dcid"), ikm = test_hex_of(out, "initial.ikm");
    test_bytes packet = test_hex_of(in, "retry.packet_without_tag");
    derive(ikm.data, ikm.size, "hyphae initial", key);
    test_equal_hex(key[0], KITH_HASH_SIZE, test_str(out, "initial.level_secret"));
    check_sub_keys(out, "initial");
    memcpy(retry_ikm, "hyphae-h-v1.quic-v1.", 20);
    assert_true(dcid.size <= sizeof retry_ikm - 20 && packet.size <= 256);
    memcpy(retry_ikm + 20, dcid.data, dcid.size);
    derive(retry_ikm, 20 + dcid.size, "hyphae retry", key);
    test_equal_hex(key[0], KITH_HASH_SIZE, test_str(out, "retry.key"));
    assert_ok(kith_aead_seal_once(key[0], nonce, NULL, 0, packet.data, packet.size, sealed));
    test_equal_hex(sealed + packet.size, KITH_AEAD_TAG_SIZE, test_str(out, "retry.tag"));
    test_bytes *all[] = {&dcid, &ikm, &packet};
    for (size_t k = 0; k < 3; k++) test_bytes_free(all[k]);
}

static void hyphae_v1_json(void **state)
{
    (void)state;
    static const char *const handshake[] = {"handshake"};
    static const char *const after_three[] = {"one_rtt", "key_update_1", "key_update_2", "key_update_3"};
    static const char *const after_two[] = {"handshake", "one_rtt", "key_update_1", "key_update_2", "key_update_3"};
    json_t *root = test_vectors("hyphae_v1.json"), *group, *item;
    const char *group_name, *name;
    size_t ran = 0;
    json_object_foreach (root, group_name, group) {
        json_object_foreach (group, name, item) {
            const json_t *in = json_object_get(item, "in"), *out = json_object_get(item, "out");
            if (!in || !out) continue;
            check_initial_and_retry(in, out); /* always BLAKE2s, whatever the handshake uses */
            ran++;
            const char *protocol = test_str(in, "noise_protocol");
            if (!strstr(protocol, "_25519_ChaChaPoly_BLAKE2s")) continue;
            for (size_t i = 0; i < 5; i++) check_sub_keys(out, after_two[i]);
            if (test_str(out, "ck.after_message_3")) {
                check_chain(out, "2", handshake, 1);
                check_chain(out, "3", after_three, 4);
            } else {
                check_chain(out, "2", after_two, 5);
            }
        }
    }
    test_ran("hyphae_v1.json", ran);
    json_decref(root);
}

/* RFC 2104 written out with plain hashes, for keys around the block size. */
static void hmac_by_definition(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 32, 63, 64, 65, 127, 128, 129, 300};
    uint8_t key[300], message[200];
    for (size_t i = 0; i < sizeof key; i++) key[i] = (uint8_t)(i * 3 + 1);
    memset(message, 0x5a, sizeof message);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t block[64] = {0}, inner[64], outer[64], hash[KITH_HASH_SIZE], want[KITH_HASH_SIZE], got[KITH_HASH_SIZE];
        if (sizes[i] > 64)
            kith_blake2s(&(kith_bytes){key, sizes[i]}, 1, block);
        else
            memcpy(block, key, sizes[i]);
        for (size_t k = 0; k < 64; k++) inner[k] = block[k] ^ 0x36;
        for (size_t k = 0; k < 64; k++) outer[k] = block[k] ^ 0x5c;
        kith_blake2s((kith_bytes[]){{inner, 64}, {message, sizeof message}}, 2, hash);
        kith_blake2s((kith_bytes[]){{outer, 64}, {hash, sizeof hash}}, 2, want);
        kith_hmac_blake2s(key, sizes[i], (kith_bytes[]){{message, 50}, {message, 150}}, 2, got);
        assert_memory_equal(got, want, sizeof got);
    }
}

/* Three outputs, each by its formula; the two- and one-output forms are their beginnings. */
static void hkdf_by_definition(void **state)
{
    (void)state;
    uint8_t salt[KITH_HASH_SIZE] = {1, 2, 3}, ikm[7] = {9}, info[5] = "hello", prk[KITH_HASH_SIZE];
    uint8_t want[3][KITH_HASH_SIZE], got[3][KITH_HASH_SIZE];
    kith_hmac_blake2s(salt, sizeof salt, &(kith_bytes){ikm, sizeof ikm}, 1, prk);
    for (uint8_t i = 1; i <= 3; i++) {
        uint8_t *before = want[i > 1 ? i - 2 : 0];
        kith_bytes pieces[] = {{before, i > 1 ? KITH_HASH_SIZE : 0}, {info, sizeof info}, {&i, 1}};
        kith_hmac_blake2s(prk, sizeof prk, pieces, 3, want[i - 1]);
    }
    for (size_t count = 1; count <= 3; count++) {
        memset(got, 0xee, sizeof got);
        kith_hkdf_blake2s(salt, ikm, sizeof ikm, info, sizeof info, count, got);
        assert_memory_equal(got, want, count * KITH_HASH_SIZE);
        for (size_t i = count; i < 3; i++) assert_int_equal(got[i][0], 0xee);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blake2s_kat_json),
        TEST(hyphae_v1_json),
        TEST(hmac_by_definition),
        TEST(hkdf_by_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
