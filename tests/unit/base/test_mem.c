#include "base/mem.h"
#include "testlib.h"

#include <string.h>

static void sizes(void **state)
{
    (void)state;
    volatile size_t huge = SIZE_MAX, most = (size_t)PTRDIFF_MAX;
    int64_t live = kith_mem_live();
    assert_null(kith_malloc(most + 1));
    assert_null(kith_calloc(huge / 2, 4));
    void *a = kith_malloc(0), *b = kith_calloc(0, 8), *c = kith_memdup("", 0);
    assert_true(a && b && c && a != b && b != c);
    assert_int_equal(kith_mem_live(), live + 3);
    char *text = kith_strdup("text");
    assert_string_equal(text, "text");
    assert_null(kith_realloc(text, most + 1));
    assert_string_equal(text, "text"); /* untouched */
    text = kith_realloc(text, 1000);
    assert_string_equal(text, "text");
    uint8_t *zeroes = kith_calloc(10, 10);
    for (size_t i = 0; i < 100; i++) assert_int_equal(zeroes[i], 0);
    kith_free(NULL);
    void *all[] = {a, b, c, text, zeroes};
    for (size_t i = 0; i < 5; i++) kith_free(all[i]);
    assert_int_equal(kith_mem_live(), live);
}

/* Which of five allocations fail. */
static unsigned failing(uint64_t at, bool forever)
{
    unsigned failed = 0;
    kith_mem_fail_at(at, forever);
    for (unsigned i = 0; i < 5; i++) {
        void *m = i % 2 ? kith_malloc(1) : kith_calloc(1, 1);
        failed |= (unsigned)!m << i;
        kith_free(m);
    }
    assert_int_equal(kith_mem_calls(), 5);
    assert_int_equal(kith_mem_failed(), failed != 0);
    kith_mem_fail_at(0, false);
    return failed;
}

static void failures_on_demand(void **state)
{
    (void)state;
    assert_int_equal(failing(0, false), 0);
    assert_int_equal(failing(1, false), 0x01);
    assert_int_equal(failing(3, false), 0x04);
    assert_int_equal(failing(3, true), 0x1c);
    assert_int_equal(failing(6, true), 0);
    char *text = kith_strdup("text");
    kith_mem_fail_at(1, true);
    assert_null(kith_realloc(text, 100));
    assert_null(kith_strdup("x"));
    assert_null(kith_memdup("x", 1));
    kith_mem_fail_at(0, false);
    assert_string_equal(text, "text");
    kith_free(text);
}

static void wiping(void **state)
{
    (void)state;
    uint8_t secret[8] = {1, 2, 3, 4, 5, 6, 7, 8}, zeroes[8] = {0};
    kith_wipe(secret, 4);
    assert_memory_equal(secret, zeroes, 4);
    assert_int_equal(secret[4], 5);
    kith_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(sizes), TEST(failures_on_demand), TEST(wiping)};
    return cmocka_run_group_tests_name("base/mem", tests, NULL, NULL);
}
