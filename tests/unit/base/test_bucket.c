/* So many at once, and one more each so often. */
#include "base/bucket.h"
#include "testlib.h"

static void burst_then_pace(void **state)
{
    (void)state;
    kith_bucket b = {0};
    uint64_t now = 1000;
    assert_int_equal(kith_bucket_next_ns(&b, 10), 0);
    for (int i = 0; i < 3; i++) assert_true(kith_bucket_take(&b, 10, 3, now));
    assert_false(kith_bucket_take(&b, 10, 3, now));
    assert_int_equal(kith_bucket_next_ns(&b, 10), 1010);
    assert_false(kith_bucket_take(&b, 10, 3, 1009));
    assert_true(kith_bucket_take(&b, 10, 3, 1010));
    assert_false(kith_bucket_take(&b, 10, 3, 1019)); /* what is left of a step is not lost, nor counted twice */
    assert_true(kith_bucket_take(&b, 10, 3, 1025));
    assert_true(kith_bucket_take(&b, 10, 3, 1030));
    now = 100000; /* full, and no fuller */
    for (int i = 0; i < 3; i++) assert_true(kith_bucket_take(&b, 10, 3, now));
    assert_false(kith_bucket_take(&b, 10, 3, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(burst_then_pace)};
    return cmocka_run_group_tests_name("base/bucket", tests, NULL, NULL);
}
