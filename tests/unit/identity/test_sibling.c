#include "identity/sibling.h"

#include "testlib.h"

#include <string.h>

static const uint8_t seed[KITH_ED25519_SEED_SIZE] = {1}, other_seed[KITH_ED25519_SEED_SIZE] = {2};
static const uint8_t boot[KITH_SIBLING_BOOT_SIZE] = {3}, other_boot[KITH_SIBLING_BOOT_SIZE] = {4};
static const uint8_t asker[KITH_SIBLING_INSTANCE_SIZE] = {5}, other_asker[KITH_SIBLING_INSTANCE_SIZE] = {6};

static void here_or_elsewhere(void **state)
{
    uint8_t bytes[KITH_SIBLING_SIZE];
    (void)state;
    kith_sibling_write(seed, boot, asker, bytes);
    assert_int_equal(kith_sibling_read(seed, boot, asker, bytes, sizeof bytes), KITH_SIBLING_HERE);
    assert_int_equal(kith_sibling_read(seed, other_boot, asker, bytes, sizeof bytes), KITH_SIBLING_ELSEWHERE);
}

static void others_count_for_nothing(void **state)
{
    uint8_t bytes[KITH_SIBLING_SIZE];
    (void)state;
    kith_sibling_write(other_seed, boot, asker, bytes);
    assert_int_equal(kith_sibling_read(seed, boot, asker, bytes, sizeof bytes), KITH_SIBLING_NONE);
    kith_sibling_write(seed, boot, other_asker, bytes); /* an answer to somebody else, repeated */
    assert_int_equal(kith_sibling_read(seed, boot, asker, bytes, sizeof bytes), KITH_SIBLING_NONE);
    kith_sibling_write(seed, boot, asker, bytes);
    for (size_t size = 0; size < sizeof bytes; size++)
        assert_int_equal(kith_sibling_read(seed, boot, asker, bytes, size), KITH_SIBLING_NONE);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(kith_sibling_read(seed, boot, asker, bytes, sizeof bytes), KITH_SIBLING_NONE);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_machine_is_not_told_to_others(void **state)
{
    uint8_t one[KITH_SIBLING_SIZE], two[KITH_SIBLING_SIZE];
    (void)state;
    kith_sibling_write(seed, boot, asker, one);
    kith_sibling_write(other_seed, boot, asker, two);
    assert_memory_not_equal(one + 1, two + 1, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(here_or_elsewhere),
        TEST(others_count_for_nothing),
        TEST(a_machine_is_not_told_to_others),
    };
    return cmocka_run_group_tests_name("identity/sibling", tests, NULL, NULL);
}
