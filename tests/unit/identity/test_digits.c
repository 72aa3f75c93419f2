#include "identity/digits.h"
#include "testlib.h"

#include <string.h>

/* Made with `b3sum --derive-key "kith 2026-11 verification digits v1" -l 60` over the bytes 00..1f and ff..e0. */
static const char vector[] = "24595 84893 67634 92198 83619 51115 "
                             "96619 82167 40489 19638 81412 53639";

static void the_vector(void **state)
{
    (void)state;
    uint8_t a[KITH_FINGERPRINT_SIZE], b[KITH_FINGERPRINT_SIZE];
    char text[KITH_DIGITS_TEXT_SIZE];
    for (size_t i = 0; i < sizeof a; i++) a[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)(255 - i);
    assert_string_equal(kith_digits(a, b, text), vector);
    assert_string_equal(kith_digits(b, a, text), vector); /* both screens show the same */
    assert_int_equal(strlen(text) + 1, KITH_DIGITS_TEXT_SIZE);
}

/* Any bit of either fingerprint changes them. */
static void every_bit_counts(void **state)
{
    (void)state;
    uint8_t a[KITH_FINGERPRINT_SIZE] = {1}, b[KITH_FINGERPRINT_SIZE] = {2};
    char before[KITH_DIGITS_TEXT_SIZE], text[KITH_DIGITS_TEXT_SIZE];
    kith_digits(a, b, before);
    for (size_t i = 0; i < sizeof a * 8; i++) {
        uint8_t *of = i % 2 ? a : b;
        of[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_string_not_equal(kith_digits(a, b, text), before);
        of[i / 8] ^= (uint8_t)(1 << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_vector), TEST(every_bit_counts)};
    return cmocka_run_group_tests_name("identity/digits", tests, NULL, NULL);
}
