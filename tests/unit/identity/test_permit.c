#include "identity/permit.h"
#include "testlib.h"

/* The whole table, written out a second time: changing who may do what takes two hands. */
static void whole_table(void **state)
{
    (void)state;
    static const struct {
        kith_service service;
        kith_access own, contact, one_time, unknown;
    } want[] = {
        {KITH_SERVICE_HELLO, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW},
        {KITH_SERVICE_PAIR, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW, KITH_ALLOW},
        {KITH_SERVICE_PING, KITH_ALLOW, KITH_ALLOW, KITH_DENY, KITH_DENY},
        {KITH_SERVICE_FILE, KITH_ALLOW, KITH_ASK, KITH_ASK, KITH_DENY},
        {KITH_SERVICE_TALK, KITH_ALLOW, KITH_ASK, KITH_DENY, KITH_DENY},
        {KITH_SERVICE_TRUST, KITH_ALLOW, KITH_DENY, KITH_DENY, KITH_DENY},
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
    for (int service = KITH_SERVICE_TRUST + 1; service < 300; service++)
        assert_int_equal(kith_permit_of((kith_service)service, KITH_STANDING_OWN), KITH_DENY);
    assert_int_equal(kith_permit_of((kith_service)-1, KITH_STANDING_OWN), KITH_DENY);
    assert_int_equal(kith_permit_of(KITH_SERVICE_HELLO, (kith_standing)(KITH_STANDING_OWN + 1)), KITH_DENY);
    assert_int_equal(kith_permit_of(KITH_SERVICE_HELLO, (kith_standing)-1), KITH_DENY);
}

/* What was said for a device counts in place of the table, for what can be said and who is pinned. */
static void overrides(void **state)
{
    (void)state;
    for (int service = 0; service < 300; service++)
        for (int standing = 0; standing <= KITH_STANDING_OWN; standing++)
            for (unsigned said = 0; said <= 1 + KITH_ALLOW; said++) {
                kith_overrides o = {0};
                kith_service of = (kith_service)service;
                kith_access table = kith_permit_of(of, (kith_standing)standing);
                if (service < KITH_OVERRIDES_MAX) o.of[service] = (uint8_t)said;
                bool can = service >= KITH_SERVICE_PING && service <= KITH_SERVICE_TALK && said &&
                           !(service == KITH_SERVICE_PING && said == 1 + KITH_ASK);
                bool pinned = standing >= KITH_STANDING_CONTACT;
                assert_int_equal(kith_permit_overridden(of, &o), can);
                assert_int_equal(kith_permit_for(of, (kith_standing)standing, &o), can && pinned ? said - 1 : table);
                assert_true(kith_overrides_valid(&o));
            }
}

static void names(void **state)
{
    (void)state;
    kith_service service = KITH_SERVICE_HELLO;
    assert_true(kith_permit_find("file", &service));
    assert_int_equal(service, KITH_SERVICE_FILE);
    assert_false(kith_permit_find("pair", &service));
    assert_false(kith_permit_find("", &service));
    assert_null(kith_permit_name(KITH_SERVICE_HELLO));
    assert_null(kith_permit_name((kith_service)-1));
    assert_string_equal(kith_permit_name(KITH_SERVICE_TALK), "talk");
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(whole_table), TEST(closed_by_default), TEST(overrides), TEST(names)};
    return cmocka_run_group_tests_name("identity/permit", tests, NULL, NULL);
}
