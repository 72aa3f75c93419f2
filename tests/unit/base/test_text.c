#include "base/text.h"
#include "testlib.h"

#include <string.h>

static void hex(void **state)
{
    (void)state;
    uint8_t bytes[3] = {0x00, 0xaf, 0xff}, back[3] = {7, 7, 7};
    char text[7];
    assert_string_equal(kith_hex(bytes, 3, text), "00afff");
    assert_string_equal(kith_hex(bytes, 0, text), "");
    static const char *const bad[] = {"", "00aff", "00afff0", "00afff00", "00affg", "00af f", "0x00af", "00af\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(kith_unhex(bad[i], back, 3), KITH_ERR_FORMAT);
        assert_int_equal(back[0] & back[1] & back[2], 7);
    }
    assert_ok(kith_unhex("00AfFf", back, 3));
    assert_memory_equal(back, bytes, 3);
    assert_ok(kith_unhex("", back, 0));
}

static void uuids(void **state)
{
    (void)state;
    static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
    static const char *const bad[] = {"",
                                      "00112233445566778899aabbccddeeff",
                                      "00112233-4455-6677-8899-aabbccddeef",
                                      "00112233-4455-6677-8899-aabbccddeeff0",
                                      "0011223-34455-6677-8899-aabbccddeeff",
                                      "00112233-4455-6677-8899_aabbccddeeff",
                                      "00112233-4455-6677-8899-aabbccddeefg",
                                      "{0112233-4455-6677-8899-aabbccddeef}"};
    uint8_t uuid[16], back[16];
    char out[KITH_UUID_TEXT_SIZE];
    for (size_t i = 0; i < 16; i++) uuid[i] = (uint8_t)(i * 0x11);
    assert_string_equal(kith_uuid_text(uuid, out), text);
    assert_ok(kith_uuid_parse(text, back));
    assert_memory_equal(back, uuid, 16);
    assert_ok(kith_uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", back));
    assert_memory_equal(back, uuid, 16);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kith_uuid_parse(bad[i], back) != KITH_ERR_FORMAT) fail_msg("taken: %s", bad[i]);
}

#define TEXT(literal) literal, sizeof literal - 1

/* RFC 3629 section 3 and 4, and what is shown of each. */
static void utf8_and_what_is_shown(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        bool valid;
        const char *shown;
    } table[] = {
        {TEXT(""), true, ""},
        {TEXT("plain"), true, "plain"},
        {TEXT("\xc3\x84rzte \xe2\x82\xac \xf0\x9f\x98\x80"), true, "\xc3\x84rzte \xe2\x82\xac \xf0\x9f\x98\x80"},
        {TEXT("\xf4\x8f\xbf\xbf"), true, "\xf4\x8f\xbf\xbf"},      /* U+10FFFF */
        {TEXT("\xf4\x90\x80\x80"), false, "\\xf4\\x90\\x80\\x80"}, /* one more */
        {TEXT("\xed\x9f\xbf"), true, "\xed\x9f\xbf"},
        {TEXT("\xed\xa0\x80"), false, "\\xed\\xa0\\x80"}, /* a surrogate */
        {TEXT("\xc0\xaf"), false, "\\xc0\\xaf"},          /* overlong */
        {TEXT("\xe0\x80\xaf"), false, "\\xe0\\x80\\xaf"},
        {TEXT("\xf0\x80\x80\xaf"), false, "\\xf0\\x80\\x80\\xaf"},
        {TEXT("\xc3"), false, "\\xc3"}, /* cut */
        {TEXT("\xc3z"), false, "\\xc3z"},
        {TEXT("\x80"), false, "\\x80"},
        {TEXT("\xff"), false, "\\xff"},
        {TEXT("a\0b"), false, "a\\x00b"},
        {TEXT("\x1b[2J\n\x7f"), true, "\\x1b[2J\\x0a\\x7f"},
        {TEXT("\xc2\x9b"), true, "\\u{9b}"}, /* C1 */
        {TEXT("a\xe2\x80\xae"
              "b"),
         true, "a\\u{202e}b"}, /* right-to-left override */
        {TEXT("\xe2\x80\x8b\xe2\x80\xa8"), true, "\\u{200b}\\u{2028}"},
        {TEXT("\xe2\x81\xa6"), true, "\\u{2066}"},
        {TEXT("\xef\xbb\xbf"), true, "\\u{feff}"},
        {TEXT("\xf3\xa0\x81\x81"), true, "\\u{e0041}"}, /* a tag */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char shown[64];
        if (kith_utf8_valid(table[i].text, table[i].size) != table[i].valid) fail_msg("case %zu", i);
        assert_string_equal(kith_printable(table[i].text, table[i].size, shown, sizeof shown), table[i].shown);
    }
}

/* Kith's WebSockets carry no text, but names and reasons are UTF-8 too: those, where NUL is refused besides. */
static void rfc6455_autobahn_cases_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("rfc6455_autobahn_cases.json"), *item;
    size_t i, count = 0;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        const json_t *valid = json_object_get(item, "valid");
        if (!test_str(item, "utf8") || !valid) continue;
        test_bytes text = test_hex_of(item, "utf8");
        bool want = json_is_true(valid) && !memchr(text.data, 0, text.size);
        if (kith_utf8_valid((const char *)text.data, text.size) != want) fail_msg("case %s", test_str(item, "case"));
        test_bytes_free(&text);
        count++;
    }
    test_ran_kind("rfc6455_autobahn_cases.json", "UTF-8", count);
    json_decref(root);
}

/* Never past the room, always with a NUL, and "..." where there was more. */
static void what_is_shown_fits(void **state)
{
    (void)state;
    static const char text[] = "ab\x01"
                               "cd\xe2\x80\xae"
                               "ef";
    char whole[64], out[64];
    kith_printable(text, sizeof text - 1, whole, sizeof whole);
    for (size_t room = 0; room <= strlen(whole) + 2; room++) {
        memset(out, '#', sizeof out);
        kith_printable(text, sizeof text - 1, out, room);
        for (size_t i = room; i < sizeof out; i++) assert_int_equal(out[i], '#');
        if (!room) continue;
        size_t size = strlen(out);
        assert_true(size < room);
        if (room > strlen(whole) + 3) assert_string_equal(out, whole);
        if (room < 4 || strcmp(out, whole) == 0) continue;
        assert_string_equal(out + size - 3, "...");
        assert_memory_equal(out, whole, size - 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hex),
        TEST(uuids),
        TEST(utf8_and_what_is_shown),
        TEST(rfc6455_autobahn_cases_json),
        TEST(what_is_shown_fits),
    };
    return cmocka_run_group_tests_name("base/text", tests, NULL, NULL);
}
