#include "crypto/stun_integrity.h"

#include "testlib.h"

#include <string.h>

static void rfc5769(void **state)
{
    (void)state;
    json_t *root = test_vectors("stun_rfc5769.json"), *one;
    size_t i, ran = 0;
    json_array_foreach (json_object_get(root, "cases"), i, one) {
        test_bytes b = test_hex_of(one, "message"), key = test_hex_of(one, "hmac_key");
        kith_stun_message m;
        assert_ok(kith_stun_read(b.data, b.size, &m));
        assert_ok(kith_stun_integrity_check(b.data, &m, key.data, key.size));
        key.data[0] ^= 1;
        assert_int_equal(kith_stun_integrity_check(b.data, &m, key.data, key.size), KITH_ERR_CRYPTO);
        key.data[0] ^= 1;
        b.data[KITH_STUN_HEADER + 5] ^= 1;
        assert_int_equal(kith_stun_integrity_check(b.data, &m, key.data, key.size), KITH_ERR_CRYPTO);
        m.integrity_at = 0;
        assert_int_equal(kith_stun_integrity_check(b.data, &m, key.data, key.size), KITH_ERR_NOT_FOUND);
        test_bytes_free(&b);
        test_bytes_free(&key);
        ran++;
    }
    test_ran("stun_rfc5769.json", ran);
    json_decref(root);
}

static void arguments(void **state)
{
    (void)state;
    uint8_t message[KITH_STUN_MESSAGE_MAX] = {0}, out[KITH_STUN_INTEGRITY_SIZE];
    assert_int_equal(kith_stun_integrity(message, KITH_STUN_HEADER - 1, "k", 1, out), KITH_ERR_ARG);
    assert_int_equal(kith_stun_integrity(message, sizeof message + 1, "k", 1, out), KITH_ERR_ARG);
    assert_ok(kith_stun_integrity(message, sizeof message, "k", 1, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(rfc5769), TEST(arguments)};
    return cmocka_run_group_tests_name("crypto/stun_integrity", tests, NULL, NULL);
}
