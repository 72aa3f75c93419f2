#include "crypto/keys.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static int start(void **state)
{
    (void)state;
    return kith_crypto_init();
}

static void ed25519_sign_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("ed25519_sign.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes seed = test_hex_of(item, "secret_seed"), message = test_hex_of(item, "msg");
        uint8_t public_key[KITH_ED25519_PUBLIC_SIZE], signature[KITH_ED25519_SIGNATURE_SIZE];
        assert_int_equal(seed.size, KITH_ED25519_SEED_SIZE);
        kith_ed25519_public(seed.data, public_key);
        test_equal_hex(public_key, sizeof public_key, test_str(item, "public"));
        kith_ed25519_sign(seed.data, message.data, message.size, signature);
        test_equal_hex(signature, sizeof signature, test_str(item, "sig"));
        assert_ok(kith_ed25519_verify(public_key, message.data, message.size, signature));
        signature[i % sizeof signature] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(kith_ed25519_verify(public_key, message.data, message.size, signature), KITH_ERR_SIGNATURE);
        test_bytes_free(&seed);
        test_bytes_free(&message);
    }
    test_ran("ed25519_sign.json", i);
    json_decref(root);
}

/* Signatures of other sizes cannot be said in this interface: whoever parses them refuses. */
static size_t verify_case(const test_bytes *public_key, const json_t *item)
{
    test_bytes message = test_hex_of(item, "msg"), signature = test_hex_of(item, "sig");
    bool valid = strcmp(test_str(item, "result"), "valid") == 0, fits = signature.size == KITH_ED25519_SIGNATURE_SIZE;
    if (fits) {
        kith_err err = kith_ed25519_verify(public_key->data, message.data, message.size, signature.data);
        assert_int_equal(err, valid ? KITH_OK : KITH_ERR_SIGNATURE);
    } else {
        assert_false(valid);
    }
    test_bytes_free(&message);
    test_bytes_free(&signature);
    return fits;
}

static void wycheproof_ed25519_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("wycheproof_ed25519.json"), *group, *item;
    size_t i, k, ran = 0;
    json_array_foreach (json_object_get(root, "testGroups"), i, group) {
        test_bytes public_key = test_hex_of(json_object_get(group, "publicKey"), "pk");
        assert_int_equal(public_key.size, KITH_ED25519_PUBLIC_SIZE);
        json_array_foreach (json_object_get(group, "tests"), k, item) ran += verify_case(&public_key, item);
        test_bytes_free(&public_key);
    }
    test_ran("wycheproof_ed25519.json", ran);
    json_decref(root);
}

static void check_x25519(const test_bytes *secret, const test_bytes *public_key, const char *shared)
{
    static const uint8_t zeroes[KITH_X25519_SIZE];
    uint8_t out[KITH_X25519_SIZE];
    test_bytes want = test_unhex(shared);
    assert_int_equal(secret->size, KITH_X25519_SIZE);
    assert_int_equal(public_key->size, KITH_X25519_SIZE);
    assert_int_equal(want.size, KITH_X25519_SIZE);
    memset(out, 0xaa, sizeof out);
    if (memcmp(want.data, zeroes, sizeof zeroes) == 0) {
        assert_int_equal(kith_x25519(secret->data, public_key->data, out), KITH_ERR_CRYPTO);
        for (size_t i = 0; i < sizeof out; i++) assert_int_equal(out[i], 0xaa);
    } else {
        assert_ok(kith_x25519(secret->data, public_key->data, out));
        assert_memory_equal(out, want.data, sizeof out);
    }
    test_bytes_free(&want);
}

/* "acceptable" cases are all well defined by RFC 7748: the values given, but refused when they are zero. */
static void wycheproof_x25519_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("wycheproof_x25519.json"), *group, *item;
    size_t i, k, ran = 0;
    json_array_foreach (json_object_get(root, "testGroups"), i, group) {
        json_array_foreach (json_object_get(group, "tests"), k, item) {
            test_bytes secret = test_hex_of(item, "private"), public_key = test_hex_of(item, "public");
            check_x25519(&secret, &public_key, test_str(item, "shared"));
            test_bytes_free(&secret);
            test_bytes_free(&public_key);
            ran++;
        }
    }
    test_ran("wycheproof_x25519.json", ran);
    json_decref(root);
}

static void check_iterated(const json_t *iterated)
{
    uint8_t k[KITH_X25519_SIZE], u[KITH_X25519_SIZE], next[KITH_X25519_SIZE];
    test_bytes begin = test_hex_of(iterated, "start_k_and_u");
    assert_int_equal(begin.size, KITH_X25519_SIZE);
    memcpy(k, begin.data, sizeof k);
    memcpy(u, begin.data, sizeof u);
    for (size_t i = 1; i <= 1000; i++) {
        assert_ok(kith_x25519(k, u, next));
        memcpy(u, k, sizeof u);
        memcpy(k, next, sizeof k);
        if (i == 1) test_equal_hex(k, sizeof k, test_str(iterated, "after_1"));
    }
    test_equal_hex(k, sizeof k, test_str(iterated, "after_1000"));
    test_bytes_free(&begin);
}

static void x25519_rfc7748_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("x25519_rfc7748.json"), *item;
    size_t i, ran;
    static const uint8_t base[KITH_X25519_SIZE] = {9};
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes scalar = test_hex_of(item, "scalar"), u = test_hex_of(item, "u");
        check_x25519(&scalar, &u, test_str(item, "out"));
        if (memcmp(u.data, base, sizeof base) == 0) {
            uint8_t public_key[KITH_X25519_SIZE];
            kith_x25519_public(scalar.data, public_key);
            test_equal_hex(public_key, sizeof public_key, test_str(item, "out"));
        }
        test_bytes_free(&scalar);
        test_bytes_free(&u);
    }
    ran = i;
    check_iterated(json_object_get(root, "iterated"));
    json_array_foreach (json_object_get(root, "low_order_points_must_be_rejected_all_zero_output"), i, item) {
        test_bytes scalar = test_unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        test_bytes u = test_unhex(json_string_value(item));
        check_x25519(&scalar, &u, "0000000000000000000000000000000000000000000000000000000000000000");
        test_bytes_free(&scalar);
        test_bytes_free(&u);
    }
    test_ran("x25519_rfc7748.json", ran + i + 1);
    json_decref(root);
}

/* The two conversions agree: the public key of the converted seed is the converted public key. */
static void ed25519_becomes_x25519(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        uint8_t seed[32] = {(uint8_t)i, (uint8_t)(i * 7)}, public_key[32], secret[32], one[32], other[32];
        kith_ed25519_public(seed, public_key);
        kith_ed25519_seed_to_x25519(seed, secret);
        kith_x25519_public(secret, one);
        assert_ok(kith_ed25519_public_to_x25519(public_key, other));
        assert_memory_equal(one, other, 32);
        assert_memory_not_equal(public_key, other, 32);
        public_key[31] ^= 0x80; /* the sign, which the conversion loses */
        assert_ok(kith_ed25519_public_to_x25519(public_key, other));
        assert_memory_equal(one, other, 32);
    }
}

/* RFC 8032 7.1 test 1's key; the X25519 key is the clamped first half of SHA-512(seed) (computed with Python's
 * hashlib). */
static void conversion_of_a_known_key(void **state)
{
    (void)state;
    test_bytes seed = test_unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    uint8_t secret[KITH_X25519_SIZE];
    kith_ed25519_seed_to_x25519(seed.data, secret);
    test_equal_hex(secret, sizeof secret, "307c83864f2833cb427a2ef1c00a013cfdff2768d980c0a3a520f006904de94f");
    test_bytes_free(&seed);
}

static void points_that_are_no_keys(void **state)
{
    (void)state;
    static const char *const points[] = {
        "0100000000000000000000000000000000000000000000000000000000000000", /* the neutral element */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
        "0000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", /* order 8 */
        "0200000000000000000000000000000000000000000000000000000000000000", /* not on the curve */
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        test_bytes point = test_unhex(points[i]);
        uint8_t out[KITH_X25519_SIZE];
        memset(out, 0xaa, sizeof out);
        assert_int_equal(kith_ed25519_public_to_x25519(point.data, out), KITH_ERR_CRYPTO);
        for (size_t k = 0; k < sizeof out; k++) assert_int_equal(out[k], 0xaa);
        test_bytes_free(&point);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ed25519_sign_json),       TEST(wycheproof_ed25519_json), TEST(wycheproof_x25519_json),
        TEST(x25519_rfc7748_json),     TEST(ed25519_becomes_x25519),  TEST(conversion_of_a_known_key),
        TEST(points_that_are_no_keys),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
