#include "crypto/blake3.h"
#include "identity/fingerprint.h"
#include "identity/rfc3339.h"
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

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
        const char *canonical; /* NULL: the same text */
    } good[] = {
        {"1970-01-01T00:00:00.000Z", 0, NULL},
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"},
        {"2000-02-29T12:34:56.789Z", 951827696789, NULL},
        {"2026-11-24T03:29:23.123Z", 1795490963123, NULL},
        {"2026-11-24t03:29:23.123999999z", 1795490963123, "2026-11-24T03:29:23.123Z"},
        {"2026-11-24 04:29:23.1+01:00", 1795490963100, "2026-11-24T03:29:23.100Z"},
        {"1969-12-31T23:30:00-00:30", 0, "1970-01-01T00:00:00.000Z"},
        {"2016-12-31T23:59:60Z", 1483228800000, "2017-01-01T00:00:00.000Z"},
        {"2100-03-01T00:00:00.000Z", 4107542400000, NULL},
        {"9999-12-31T23:59:59.999Z", KITH_RFC3339_MAX_MS, NULL},
    };
    static const char *bad[] = {
        "",
        "2026",
        "2026-11-24",
        "2026-11-24T03:29:23",
        "2026-11-24T03:29:23.Z",
        "2026-11-24T03:29:23Zx",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T00:60:00Z",
        "2026-11-24T00:00:61Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-00:01",
        "2026-11-24T00:00:00+24:00",
        "2026-11-24T00:00:00+0100",
        "+026-11-24T00:00:00Z",
        "2026-11-24T00:00:00",
        "20261124T000000Z",
        "2026-11-24T-1:00:00Z",
    };
    char text[KITH_RFC3339_SIZE];
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(kith_rfc3339_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
        assert_string_equal(kith_rfc3339_text(ms, text), good[i].canonical ? good[i].canonical : good[i].text);
    }
    ms = 5;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kith_rfc3339_parse(bad[i], &ms) != KITH_ERR_FORMAT) fail_msg("accepted: %s", bad[i]);
    assert_int_equal(ms, 5);
    assert_string_equal(kith_rfc3339_text(-1, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(kith_rfc3339_text(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
    /* Every day of 400 years, the calendar's period, there and back. */
    for (int64_t day = 0; day < 146097; day++) {
        assert_ok(kith_rfc3339_parse(kith_rfc3339_text(day * 86400000, text), &ms));
        assert_int_equal(ms, day * 86400000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_blake3_of_uuid_and_key),
        TEST(text_forms),
        TEST(times),
    };
    return cmocka_run_group_tests_name("identity/fingerprint", tests, NULL, NULL);
}
