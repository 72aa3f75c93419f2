#include "identity/rfc3339.h"

#include "testlib.h"

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

static const char *const bad[] = {
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

static void read_and_written(void **state)
{
    (void)state;
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
}

/* Every day of 400 years, the calendar's period, there and back. */
static void the_calendar(void **state)
{
    (void)state;
    char text[KITH_RFC3339_SIZE];
    int64_t ms;
    for (int64_t day = 0; day < 146097; day++) {
        assert_ok(kith_rfc3339_parse(kith_rfc3339_text(day * 86400000, text), &ms));
        assert_int_equal(ms, day * 86400000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(read_and_written), TEST(the_calendar)};
    return cmocka_run_group_tests_name("identity/rfc3339", tests, NULL, NULL);
}
