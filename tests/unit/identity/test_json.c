#include "identity/json.h"

#include "base/mem.h"
#include "testlib.h"

#include <string.h>

static json_t *load(const char *text)
{
    json_t *o = NULL;
    kith_reason reason;
    assert_ok(kith__json_load(text, strlen(text), &o, &reason));
    return o;
}

static void one_object_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason; /* how the reason begins */
    } bad[] = {
        {"", "line 1, column 0: "},        {"{", "line 1, column 1: "},
        {"[]", "line 1, column 1: not a"}, {"3", "line 1, column 1: "},
        {"{} x", "line 1, column 4: "},    {"{\"a\":1,\n\"a\":2}", "line 2, column 3: duplicate"},
        {"{\"a\":\"\xff\"}", "line 1, "},  {"{a:1}", "line 1, column 2: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *o = NULL;
        kith_reason reason = {{0}};
        assert_int_equal(kith__json_load(bad[i].text, strlen(bad[i].text), &o, &reason), KITH_ERR_DAMAGED);
        assert_null(o);
        if (strncmp(reason.text, bad[i].reason, strlen(bad[i].reason)) != 0) fail_msg("%zu: %s", i, reason.text);
    }
    json_decref(load(" {} \n"));
}

static void members(void **state)
{
    (void)state;
    json_t *o =
        load("{\"hex\":\"00ff\",\"short\":\"00\",\"odd\":\"00f\",\"text\":\"zz00\",\"time\":\"1970-01-01T00:00:01Z\","
             "\"n\":-5,\"real\":1.0,\"v\":3,\"v0\":0,\"null\":null}");
    kith_reason reason = {{0}};
    uint8_t two[2] = {7, 7};
    int64_t n = 77;
    static const char *const not_hex[] = {"short", "odd", "text", "n", "null", "absent"};
    for (size_t i = 0; i < sizeof not_hex / sizeof *not_hex; i++) {
        assert_int_equal(kith__json_hex(o, not_hex[i], two, 2, &reason), KITH_ERR_DAMAGED);
        assert_memory_equal(reason.text, not_hex[i], strlen(not_hex[i])); /* names the member */
    }
    assert_int_equal(two[0] & two[1], 7);
    assert_ok(kith__json_hex(o, "hex", two, 2, &reason));
    assert_memory_equal(two, "\x00\xff", 2);
    assert_int_equal(kith__json_time(o, "hex", &n, &reason), KITH_ERR_DAMAGED);
    assert_int_equal(kith__json_time(o, "absent", &n, &reason), KITH_ERR_DAMAGED);
    static const char *const not_number[] = {"hex", "real", "null", "absent"};
    for (size_t i = 0; i < sizeof not_number / sizeof *not_number; i++)
        assert_int_equal(kith__json_number(o, not_number[i], -9, 9, &n, &reason), KITH_ERR_DAMAGED);
    assert_int_equal(kith__json_number(o, "n", -4, 9, &n, &reason), KITH_ERR_DAMAGED);
    assert_int_equal(kith__json_number(o, "n", -9, -6, &n, &reason), KITH_ERR_DAMAGED);
    assert_int_equal(n, 77);
    assert_ok(kith__json_number(o, "n", -5, -5, &n, &reason));
    assert_int_equal(n, -5);
    assert_ok(kith__json_time(o, "time", &n, &reason));
    assert_int_equal(n, 1000);
    assert_ok(kith__json_version(o, "v", 3, &reason));
    assert_int_equal(kith__json_version(o, "v", 2, &reason), KITH_ERR_VERSION);
    assert_int_equal(kith__json_version(o, "v0", 3, &reason), KITH_ERR_DAMAGED);
    json_decref(o);
}

static void written_and_read_again(void **state)
{
    (void)state;
    json_t *o = json_object();
    uint8_t *text, data[81] = {0xab};
    size_t size;
    assert_true(kith__json_set_number(o, "n", INT64_MIN) && kith__json_set_text(o, "a", "\xc3\xa9\"") &&
                kith__json_set_time(o, "t", 1000) && kith__json_set_hex(o, "h", data, 2));
    assert_false(kith__json_set_hex(o, "x", data, sizeof data));
    assert_ok(kith__json_dump(o, &text, &size));
    static const char want[] = "{\n  \"n\": -9223372036854775808,\n  \"a\": \"\xc3\xa9\\\"\",\n"
                               "  \"t\": \"1970-01-01T00:00:01.000Z\",\n  \"h\": \"ab00\"\n}\n";
    assert_int_equal(size, sizeof want - 1);
    assert_memory_equal(text, want, size);
    kith_free(text);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(one_object_and_nothing_else), TEST(members), TEST(written_and_read_again)};
    return cmocka_run_group_tests_name("identity/json", tests, NULL, NULL);
}
