#include "crypto/blake3.h"
#include "identity/fingerprint.h"
#include "testlib.h"

#include <string.h>

static void is_blake3_of_uuid_and_key(void **state)
{
    (void)state;
    uint8_t uuid[16], key[32], both[48], want[32], got[32], other[32];
    for (size_t i = 0; i < 48; i++) both[i] = (uint8_t)(i * 5 + 1);
    memcpy(uuid, both, 16);
    memcpy(key, both + 16, 32);
    kith_blake3(both, sizeof both, want);
    kith_fingerprint(uuid, key, got);
    assert_memory_equal(got, want, 32);
    uuid[15] ^= 1;
    kith_fingerprint(uuid, key, other);
    assert_memory_not_equal(got, other, 32);
    uuid[15] ^= 1;
    key[31] ^= 0x80;
    kith_fingerprint(uuid, key, other);
    assert_memory_not_equal(got, other, 32);
}

static void text_forms(void **state)
{
    (void)state;
    uint8_t fingerprint[32], back[32];
    char text[KITH_FINGERPRINT_LONG_SIZE], brief[KITH_FINGERPRINT_SHORT_SIZE];
    for (size_t i = 0; i < 32; i++) fingerprint[i] = (uint8_t)(0x10 + i);
    assert_string_equal(kith_fingerprint_short(fingerprint, brief), "10111213");
    assert_string_equal(kith_fingerprint_long(fingerprint, text),
                        "1011-1213-1415-1617-1819-1a1b-1c1d-1e1f-2021-2223-2425-2627-2829-2a2b-2c2d-2e2f");
    assert_int_equal(strlen(text) + 1, KITH_FINGERPRINT_LONG_SIZE);
    assert_ok(kith_fingerprint_parse(text, back));
    assert_memory_equal(back, fingerprint, 32);
    assert_ok(kith_fingerprint_parse("101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F", back));
    assert_memory_equal(back, fingerprint, 32);
    memset(back, 7, sizeof back);
    for (size_t cut = 0; cut < strlen(text); cut++) {
        char part[KITH_FINGERPRINT_LONG_SIZE];
        memcpy(part, text, cut);
        part[cut] = 0;
        assert_int_equal(kith_fingerprint_parse(part, back), KITH_ERR_FORMAT);
    }
    assert_int_equal(kith_fingerprint_parse("101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f0", back),
                     KITH_ERR_FORMAT);
    assert_int_equal(kith_fingerprint_parse("g01112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f", back),
                     KITH_ERR_FORMAT);
    assert_int_equal(back[0] & back[31], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_blake3_of_uuid_and_key),
        TEST(text_forms),
    };
    return cmocka_run_group_tests_name("identity/fingerprint", tests, NULL, NULL);
}
