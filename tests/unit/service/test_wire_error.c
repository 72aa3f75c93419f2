/* The numbers are the protocol's (docs/protocol.md section 4): they must not move. */
#include "service/wire_error.h"

#include "testlib.h"

static const struct {
    kith_err err;
    uint64_t number;
} list[] = {
    {KITH_OK, 0},
    {KITH_ERR_INTERNAL, 1},
    {KITH_ERR_PROTOCOL, 2},
    {KITH_ERR_DECLINED, 3},
    {KITH_ERR_NOT_ALLOWED, 4},
    {KITH_ERR_UNTRUSTED, 5},
    {KITH_ERR_CODE, 6},
    {KITH_ERR_CODE_EXPIRED, 7},
    {KITH_ERR_CODE_BURNT, 8},
    {KITH_ERR_AGAIN, 9},
    {KITH_ERR_TIMEOUT, 10},
    {KITH_ERR_CANCELLED, 11},
    {KITH_ERR_ARG, 12},
    {KITH_ERR_REMOTE_STORAGE, 13},
    {KITH_ERR_CORRUPT, 14},
    {KITH_ERR_CHANGED, 15},
    {KITH_ERR_VERSION, 16},
    {KITH_ERR_WRONG_DEVICE, 17},
    {KITH_ERR_SIGNATURE, 18},
    {KITH_ERR_CLOSED, 19},
    {KITH_ERR_STATE, 20},
    {KITH_ERR_KEY_CHANGED, 21},
    {KITH_ERR_ID_CHANGED, 22},
    {KITH_ERR_REVOKED, 23},
};
#define LISTED (sizeof list / sizeof *list)

static void there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < LISTED; i++) {
        assert_int_equal(kith_wire_error_of(list[i].err), list[i].number);
        assert_int_equal(kith_wire_error_read(list[i].number), list[i].err);
    }
}

static void what_has_no_number(void **state)
{
    (void)state;
    static const kith_err disk[] = {KITH_ERR_IO,      KITH_ERR_NO_SPACE, KITH_ERR_PERMISSION, KITH_ERR_EXISTS,
                                    KITH_ERR_NO_FILE, KITH_ERR_DAMAGED,  KITH_ERR_EXPOSED,    KITH_ERR_LOCKED};
    static const kith_err inner[] = {KITH_ERR_NOMEM, KITH_ERR_LIMIT, KITH_ERR_PASSWORD, KITH_ERR_NO_IDENTITY};
    for (size_t i = 0; i < sizeof disk / sizeof *disk; i++)
        assert_int_equal(kith_wire_error_of(disk[i]), KITH_WIRE_STORAGE);
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
        assert_int_equal(kith_wire_error_of(inner[i]), KITH_WIRE_INTERNAL);
    assert_int_equal(kith_wire_error_read(LISTED), KITH_ERR_PROTOCOL);
    assert_int_equal(kith_wire_error_read(UINT64_MAX), KITH_ERR_PROTOCOL);
    assert_int_equal(kith_wire_error_read((UINT64_C(1) << 32) + 3), KITH_ERR_PROTOCOL); /* not cut to 32 bits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(there_and_back), TEST(what_has_no_number)};
    return cmocka_run_group_tests_name("service/wire_error", tests, NULL, NULL);
}
