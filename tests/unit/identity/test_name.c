#include "identity/name.h"
#include "testlib.h"

#include <string.h>

#define SIXTY_THREE "123456789 123456789 123456789 123456789 123456789 123456789 123"

/* `out` NULL: refused.  `clean`: what is left of it, at most KITH_NAME_MAX bytes. */
static void names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *out, *clean;
    } table[] = {
        {"laptop", "laptop", "laptop"},
        {" \t laptop two\r\n", "laptop two", "laptop two"},
        {"\xc3\x84rzte-PC", "\xc3\x84rzte-PC", "\xc3\x84rzte-PC"},
        {SIXTY_THREE, SIXTY_THREE, SIXTY_THREE},
        {SIXTY_THREE "4", NULL, SIXTY_THREE},
        {"", NULL, ""},
        {" \t", NULL, ""},
        {"a\nb", NULL, "ab"},
        {"a\x1b[1mb", NULL, "a[1mb"},
        {"a\xe2\x80\xae"
         "b",
         NULL, "ab"}, /* right-to-left override */
        {"a\xe2\x80\x8b"
         "b",
         NULL, "ab"}, /* zero width */
        {"a\xe2\x80\xa8"
         "b",
         NULL, "ab"}, /* line separator */
        {"a\xff"
         "b",
         NULL, "ab"}, /* not UTF-8 */
        {"\xe2\x80\x8b \xff", NULL, ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char out[KITH_NAME_SIZE] = "before", clean[KITH_NAME_SIZE];
        kith_err err = kith_name_check(table[i].text, strlen(table[i].text), out);
        assert_int_equal(err, table[i].out ? KITH_OK : KITH_ERR_ARG);
        assert_string_equal(out, table[i].out ? table[i].out : "before");
        assert_int_equal(kith_name_valid(table[i].text), table[i].out && strcmp(table[i].out, table[i].text) == 0);
        memset(clean, '#', sizeof clean);
        assert_string_equal(kith_name_clean(table[i].text, strlen(table[i].text), clean, sizeof clean), table[i].clean);
        for (size_t k = strlen(clean); k < sizeof clean; k++) assert_int_equal(clean[k], 0);
    }
    char out[KITH_NAME_SIZE];
    assert_int_equal(kith_name_check("a\0b", 3, out), KITH_ERR_ARG);
}

static void cut_at_a_whole_character(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};
    for (size_t max = 0; max < sizeof want / sizeof *want; max++) {
        char out[16];
        assert_int_equal(kith_name_cut(text, max), want[max]);
        kith_name_clean(text, strlen(text), out, max + 1);
        assert_int_equal(strlen(out), want[max]);
        assert_memory_equal(out, text, want[max]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(names), TEST(cut_at_a_whole_character)};
    return cmocka_run_group_tests_name("identity/name", tests, NULL, NULL);
}
