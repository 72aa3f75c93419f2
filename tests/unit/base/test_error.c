#include "testlib.h"

#include <kith/error.h>
#include <string.h>

static const struct {
    kith_err err;
    const char *name;
    int status;
} all[] = {
#define KITH_X(name, value, exit_status, sentence) {KITH_ERR_##name, #name, exit_status},
    KITH_ERRORS(KITH_X)
#undef KITH_X
};

static void each_has_a_number_a_name_and_a_sentence_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_true(all[i].err < 0);
        assert_string_equal(kith_err_name(all[i].err), all[i].name);
        assert_int_equal(kith_err_exit(all[i].err), all[i].status);
        assert_in_range(all[i].status, 1, 130);
        assert_true(strlen(kith_err_text(all[i].err)) > 0);
        for (size_t k = 0; k < i; k++) {
            assert_true(all[i].err != all[k].err);
            assert_string_not_equal(kith_err_text(all[i].err), kith_err_text(all[k].err));
        }
    }
    assert_int_equal(kith_err_exit(KITH_OK), 0);
    assert_non_null(kith_err_name(KITH_OK));
    assert_non_null(kith_err_text(KITH_OK));
}

static void unknown_ones_are_internal(void **state)
{
    (void)state;
    static const int unknown[] = {-9999, -11, 1, 77};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_string_equal(kith_err_name((kith_err)unknown[i]), "INTERNAL");
        assert_string_equal(kith_err_text((kith_err)unknown[i]), kith_err_text(KITH_ERR_INTERNAL));
        assert_int_equal(kith_err_exit((kith_err)unknown[i]), kith_err_exit(KITH_ERR_INTERNAL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(each_has_a_number_a_name_and_a_sentence_of_its_own),
                                       TEST(unknown_ones_are_internal)};
    return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
