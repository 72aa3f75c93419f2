#include "identity/permit.h"
#include "testlib.h"

/* The whole table, written out a second time: changing who may do what takes two hands. */
static void whole_table(void **state)
{
    (void)state;
    static const struct {
        kith_service service;
        kith_permit own, contact, one_time, unknown;
    } want[] = {
        {KITH_SERVICE_HELLO, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW},
        {KITH_SERVICE_PAIR, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW},
        {KITH_SERVICE_PING, KITH_ALLOW, KITH_ALLOW, KITH_DENY, KITH_DENY},
        {KITH_SERVICE_FILE, KITH_ALLOW, KITH_ASK, KITH_ASK, KITH_DENY},
        {KITH_SERVICE_TALK, KITH_ALLOW, KITH_ASK, KITH_DENY, KITH_DENY},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(kith_permit_of(want[i].service, KITH_STANDING_OWN), want[i].own);
        assert_int_equal(kith_permit_of(want[i].service, KITH_STANDING_CONTACT), want[i].contact);
        assert_int_equal(kith_permit_of(want[i].service, KITH_STANDING_ONE_TIME), want[i].one_time);
        assert_int_equal(kith_permit_of(want[i].service, KITH_STANDING_UNKNOWN), want[i].unknown);
    }
}

static void closed_by_default(void **state)
{
    (void)state;
    assert_int_equal(KITH_DENY, 0);
    for (int service = KITH_SERVICE_TALK + 1; service < 300; service++)
        assert_int_equal(kith_permit_of((kith_service)service, KITH_STANDING_OWN), KITH_DENY);
    assert_int_equal(kith_permit_of((kith_service)-1, KITH_STANDING_OWN), KITH_DENY);
    assert_int_equal(kith_permit_of(KITH_SERVICE_HELLO, (kith_standing)(KITH_STANDING_OWN + 1)), KITH_DENY);
    assert_int_equal(kith_permit_of(KITH_SERVICE_HELLO, (kith_standing)-1), KITH_DENY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(whole_table), TEST(closed_by_default)};
    return cmocka_run_group_tests_name("identity/permit", tests, NULL, NULL);
}
