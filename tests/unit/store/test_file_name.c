#include "store/file_name.h"

#include "base/text.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

/* Runs of a character, to write long names down: "{300}a" is 300 times 'a'. */
static size_t expand(const char *pattern, char *out)
{
    size_t n = 0;
    for (const char *p = pattern; *p;) {
        size_t count = 1, used = 1;
        if (*p == '{') {
            count = (size_t)strtoul(p + 1, (char **)&p, 10);
            p++;
        }
        while (((unsigned char)p[used] & 0xc0) == 0x80) used++;
        for (; count; count--, n += used) memcpy(out + n, p, used);
        p += used;
    }
    out[n] = '\0';
    return n;
}

static void test_kept(void **state)
{
    static const char *const names[] = {
        "a",
        "a.txt",
        "-rf",
        "--",
        ".profile",
        "...",
        "..a",
        ". ",
        " ",
        "a\nb",
        "\x1b[31m",
        "a\\b",
        "C:\\x",
        "con",
        "a:b*?\"<>|",
        "\xc3\xa9t\xc3\xa9",
        "\xf0\x9f\x98\x80",
        "e\xcc\x81",
        "\xe2\x80\xae.exe",
        ".kith",
        ".kith_a",
        "a.kith-b",
        "~",
        "$HOME",
        "%2e%2e%2f",
        "{255}a",
        "{127}\xc3\xa9",
        "{250}a.text",
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[1024], out[KITH_FILE_NAME_SIZE];
        size_t size = expand(names[i], name);
        assert_ok(kith_file_name_clean(name, size, out));
        assert_string_equal(out, name);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } names[] = {
        {"", 0},
        {".", 1},
        {"..", 2},
        {"/", 1},
        {"../a", 4},
        {"a/b", 3},
        {"a/", 2},
        {"/etc/passwd", 11},
        {"a\0b", 3},
        {"a\0", 2},
        {"\xff", 1},
        {"a\xc3", 2},
        {"\xed\xa0\x80", 3},
        {"\xc0\xaf", 2},
        {"\xc0\xae\xc0\xae", 4},
        {".kith-", 6},
        {".kith-0123456789abcdef.part", 27},
        {".KITH-0", 7},
        {".Kith-x", 7},
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char out[KITH_FILE_NAME_SIZE] = "untouched";
        if (kith_file_name_clean(names[i].text, names[i].size, out) != KITH_ERR_NOT_ALLOWED)
            fail_msg("case %zu: %s", i, out);
        assert_string_equal(out, "untouched");
    }
}

static void test_cut(void **state)
{
    static const char *const cases[][2] = {
        {"{256}a", "{255}a"},
        {"{300}a.txt", "{251}a.txt"},
        {"{128}\xc3\xa9", "{127}\xc3\xa9"},                        /* 256 bytes: the last character goes whole */
        {"{200}\xf0\x9f\x98\x80.jpg", "{62}\xf0\x9f\x98\x80.jpg"}, /* 251 bytes hold 62 of them */
        {"a.{300}x", "a.{253}x"},                                  /* no extension is that long */
        {".{300}x", ".{254}x"},
        {"{300}x.", "{255}x"},
        {"{260}.", "{255}."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[2048], want[2048], out[KITH_FILE_NAME_SIZE];
        size_t size = expand(cases[i][0], name);
        expand(cases[i][1], want);
        assert_ok(kith_file_name_clean(name, size, out));
        assert_string_equal(out, want);
    }
}

static void test_numbered(void **state)
{
    static const struct {
        const char *name;
        unsigned number;
        const char *want;
    } cases[] = {
        {"a.txt", 2, "a (2).txt"},
        {"a", 3, "a (3)"},
        {"a.tar.gz", 2, "a.tar (2).gz"},
        {".profile", 2, ".profile (2)"},
        {".a.b", 2, ".a (2).b"},
        {"a.", 2, "a. (2)"},
        {"a (2).txt", 2, "a (2) (2).txt"},
        {"-", 10, "- (10)"},
        {"Dr. No", 2, "Dr. No (2)"},
        {"{251}a.txt", 2, "{247}a (2).txt"},
        {"{255}a", 4000000000, "{242}a (4000000000)"},
        {"{127}\xc3\xa9", 2, "{125}\xc3\xa9 (2)"},
        {"{62}\xf0\x9f\x98\x80.jpg", 2, "{61}\xf0\x9f\x98\x80 (2).jpg"},
        {"a.{31}x", 2, "a (2).{31}x"},
        {"a.{32}x", 2, "a.{32}x (2)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[1024], want[1024], out[KITH_FILE_NAME_SIZE];
        expand(cases[i].name, name);
        expand(cases[i].want, want);
        kith_file_name_numbered(name, cases[i].number, out);
        assert_string_equal(out, want);
        assert_true(kith_utf8_valid(out, strlen(out)) && strlen(out) < KITH_FILE_NAME_SIZE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_kept), TEST(test_refused), TEST(test_cut), TEST(test_numbered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
