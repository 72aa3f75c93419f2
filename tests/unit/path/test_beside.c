/* Which addresses are dialled over TCP, and when: what a peer says of its addresses makes nobody dial without end. */
#include "path/beside.h"
#include "testlib.h"

#include <string.h>

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static uint64_t now;

static kith_addr addr(unsigned n)
{
    kith_addr a = {.family = KITH_FAMILY_IPV4, .port = 5000, .ip = {192, 0, 2, (uint8_t)n}};
    return a;
}

static void offer(kith_beside *b, unsigned from, size_t count)
{
    kith_addr addrs[64];
    for (unsigned i = 0; i < count; i++) addrs[i] = addr(from + i);
    kith_beside_offer(b, addrs, count, now);
}

static kith_beside begin(bool first, size_t count)
{
    kith_beside b;
    now = S;
    kith_beside_init(&b, first);
    offer(&b, 1, count);
    kith_beside_want(&b, true);
    return b;
}

/* The next attempt, whenever it is: its number; 0: none within the time. */
static unsigned next(kith_beside *b, uint64_t within)
{
    kith_addr a;
    uint64_t end = now + within;
    for (;;) {
        if (kith_beside_next(b, &a, now)) return a.ip[3];
        uint64_t at = kith_beside_deadline_ns(b);
        assert_true(at > now); /* or it would be asked again and again */
        if (at > end) break;
        now = at;
    }
    now = end;
    return 0;
}

static void over(kith_beside *b, unsigned n)
{
    kith_addr a = addr(n);
    kith_beside_over(b, &a, now);
}

static void one_after_the_other_as_they_were_named(void **state)
{
    (void)state;
    kith_beside b = begin(true, 6);
    for (unsigned n = 1; n <= KITH_BESIDE_AT_ONCE; n++) {
        assert_int_equal(next(&b, 10 * S), n);
        assert_int_equal(now, S + KITH_BESIDE_FIRST_NS + (n - 1) * KITH_BESIDE_STAGGER_NS);
    }
    assert_int_equal(next(&b, 60 * S), 0); /* no more at once */
    over(&b, 2);
    assert_int_equal(next(&b, 0), 5);
    over(&b, 2); /* a second time means nothing */
    assert_int_equal(next(&b, 60 * S), 0);
    over(&b, 1);
    assert_int_equal(next(&b, 0), 6);
}

static void the_second_side_waits_longer(void **state)
{
    (void)state;
    kith_beside b = begin(false, 1);
    assert_int_equal(next(&b, KITH_BESIDE_SECOND_NS - MS), 0);
    assert_int_equal(next(&b, MS), 1);
}

static void nothing_while_it_is_not_wanted(void **state)
{
    (void)state;
    kith_beside b = begin(true, 3);
    kith_beside_want(&b, false);
    assert_int_equal(kith_beside_deadline_ns(&b), UINT64_MAX);
    assert_int_equal(next(&b, 600 * S), 0);
    kith_beside_want(&b, true);
    assert_int_equal(next(&b, 0), 1);
}

/* For a day in which nobody answers: how many attempts. */
static size_t attempts_of_a_day(size_t count)
{
    kith_beside b = begin(true, count);
    size_t n = 0;
    for (uint64_t end = now + 86400 * S; now < end;) {
        unsigned at[KITH_BESIDE_AT_ONCE], k = 0;
        while (k < KITH_BESIDE_AT_ONCE && (at[k] = next(&b, KITH_BESIDE_STAGGER_NS))) k++;
        n += k;
        now += KITH_BESIDE_TRY_NS;
        while (k) over(&b, at[--k]);
    }
    return n;
}

static void rounds_come_ever_more_seldom(void **state)
{
    (void)state;
    /* 5, 10 ... 320 s apart, then 600 s: 7 and 86400 / 600 of them, and the first. */
    assert_in_range(attempts_of_a_day(1), 140, 155);
    assert_in_range(attempts_of_a_day(KITH_BESIDE_MAX), 130 * KITH_BESIDE_MAX, 155 * KITH_BESIDE_MAX);
    assert_in_range(attempts_of_a_day(60), 130 * KITH_BESIDE_MAX, 155 * KITH_BESIDE_MAX);
}

/* The same ones named again and again are no news; one that is new is tried soon, whatever failed before. */
static void what_is_named_again_is_no_news(void **state)
{
    (void)state;
    kith_beside b = begin(true, 2);
    assert_int_equal(next(&b, S), 1);
    assert_int_equal(next(&b, S), 2);
    for (unsigned n = 1; n <= 2; n++) over(&b, n);
    for (int i = 0; i < 40; i++) {
        offer(&b, 1, 2);
        assert_int_equal(next(&b, KITH_BESIDE_AGAIN_NS / 50), 0);
    }
    offer(&b, 2, 2); /* 1 is named no more, 3 is new */
    assert_int_equal(next(&b, KITH_BESIDE_FIRST_NS), 3);
    over(&b, 3);
    assert_int_equal(next(&b, 2 * KITH_BESIDE_AGAIN_NS), 2);
}

static void none_while_there_is_one(void **state)
{
    (void)state;
    kith_beside b = begin(true, 3);
    assert_int_equal(next(&b, S), 1);
    kith_beside_there(&b, true, now);
    assert_int_equal(next(&b, 600 * S), 0);
    kith_beside_there(&b, false, now); /* it lasted */
    over(&b, 1);
    assert_int_equal(next(&b, KITH_BESIDE_AGAIN_NS - MS), 0);
    assert_int_equal(next(&b, MS), 1);
}

/* What connects and dies at once is tried ever more seldom, too. */
static void what_does_not_last_is_not_worth_it(void **state)
{
    (void)state;
    kith_beside b = begin(true, 1);
    uint64_t before = 0;
    assert_int_equal(next(&b, S), 1);
    for (int i = 0; i < 6; i++) {
        uint64_t since = now;
        kith_beside_there(&b, true, now);
        now += S;
        over(&b, 1);
        kith_beside_there(&b, false, now);
        assert_int_equal(next(&b, KITH_BESIDE_AGAIN_MAX), 1);
        assert_true(now - since > 3 * before / 2);
        before = now - since;
    }
    kith_beside_there(&b, true, now);
    over(&b, 1);
    now += KITH_BESIDE_STEADY_NS;
    kith_beside_there(&b, false, now);
    assert_int_equal(next(&b, KITH_BESIDE_AGAIN_NS), 1);
}

static void another_network_is_news(void **state)
{
    (void)state;
    kith_beside b = begin(true, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(next(&b, KITH_BESIDE_AGAIN_MAX), 1);
        over(&b, 1);
    }
    kith_beside_anew(&b, now);
    assert_int_equal(next(&b, KITH_BESIDE_FIRST_NS), 1);
}

static void what_could_not_be_begun_is_tried_again(void **state)
{
    (void)state;
    kith_beside b = begin(true, 2);
    kith_addr a = addr(1);
    assert_int_equal(next(&b, S), 1);
    kith_beside_refused(&b, &a, now);
    assert_int_equal(next(&b, KITH_BESIDE_REFUSED_NS - MS), 0);
    assert_int_equal(next(&b, MS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_after_the_other_as_they_were_named), TEST(the_second_side_waits_longer),
        TEST(nothing_while_it_is_not_wanted),         TEST(rounds_come_ever_more_seldom),
        TEST(what_is_named_again_is_no_news),         TEST(none_while_there_is_one),
        TEST(what_does_not_last_is_not_worth_it),     TEST(another_network_is_news),
        TEST(what_could_not_be_begun_is_tried_again),
    };
    return cmocka_run_group_tests_name("path/beside", tests, NULL, NULL);
}
