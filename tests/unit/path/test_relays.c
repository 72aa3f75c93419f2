#include "path/relays.h"

#include "testlib.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static kith_relays r;
static uint64_t now;
static size_t a, b;

static int set_up(void **state)
{
    (void)state;
    now = S;
    kith_relays_init(&r);
    assert_ok(kith_relays_add(&r, &a));
    assert_ok(kith_relays_add(&r, &b));
    return 0;
}

static void both_up(uint64_t rtt_a, uint64_t rtt_b)
{
    kith_relays_up(&r, a, now);
    kith_relays_up(&r, b, now);
    kith_relays_rtt(&r, a, rtt_a, now);
    kith_relays_rtt(&r, b, rtt_b, now);
}

/* Both are measured every second; how often the choice changed. */
static unsigned run(unsigned seconds, uint64_t (*rtt)(size_t which, unsigned second))
{
    unsigned changes = 0;
    for (unsigned i = 0; i < seconds; i++, now += S) {
        size_t before = kith_relays_chosen(&r);
        kith_relays_rtt(&r, a, rtt(a, i), now);
        kith_relays_rtt(&r, b, rtt(b, i), now);
        if (kith_relays_deadline_ns(&r) <= now) kith_relays_expire(&r, now);
        changes += kith_relays_chosen(&r) != before;
    }
    return changes;
}

static void none_first_then_the_first_that_is_up(void **state)
{
    (void)state;
    assert_true(kith_relays_chosen(&r) == KITH_RELAYS_NONE);
    assert_true(kith_relays_deadline_ns(&r) == UINT64_MAX);
    kith_relays_up(&r, b, now);
    assert_int_equal(kith_relays_chosen(&r), b);
    kith_relays_up(&r, a, now);
    assert_int_equal(kith_relays_chosen(&r), b);
    kith_relays_remove(&r, b, now);
    assert_int_equal(kith_relays_chosen(&r), a);
    kith_relays_down(&r, a, now);
    assert_true(kith_relays_chosen(&r) == KITH_RELAYS_NONE);
}

static uint64_t b_is_near(size_t which, unsigned second)
{
    (void)second;
    return which == b ? 20 * MS : 100 * MS;
}

static void a_nearer_one_is_moved_to_when_it_stays_so(void **state)
{
    (void)state;
    both_up(100 * MS, 20 * MS);
    assert_int_equal(kith_relays_chosen(&r), a);
    uint64_t at = kith_relays_deadline_ns(&r);
    assert_true(at == now + KITH_RELAYS_HOLD_NS);
    kith_relays_expire(&r, at - 1);
    assert_int_equal(kith_relays_chosen(&r), a);
    kith_relays_expire(&r, at);
    assert_int_equal(kith_relays_chosen(&r), b);
    now = at;
    assert_int_equal(run(1000, b_is_near), 0);
}

static uint64_t slightly_nearer(size_t which, unsigned second)
{
    (void)second;
    return which == b ? 77 * MS : 100 * MS;
}
static uint64_t near_both(size_t which, unsigned second)
{
    (void)second;
    return which == b ? 1 * MS : 5 * MS; /* a fifth, but 4 ms */
}

static void a_slightly_nearer_one_is_not(void **state)
{
    (void)state;
    both_up(100 * MS, 77 * MS);
    assert_int_equal(run(1000, slightly_nearer), 0);
    assert_int_equal(kith_relays_chosen(&r), a);
    assert_int_equal(run(1000, near_both), 0);
}

/* Now the one is nearer, now the other, by a lot, every 20 s, 40 s, 100 s, 500 s. */
static unsigned period;
static uint64_t crossing(size_t which, unsigned second)
{
    bool swapped = second / period % 2;
    return (which == b) != swapped ? 20 * MS : 100 * MS;
}

static void crossing_latencies_do_not_make_it_flap(void **state)
{
    (void)state;
    static const struct {
        unsigned period, most;
    } cases[] = {{1, 0}, {20, 0}, {29, 0}, {40, 9}, {100, 9}, {500, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_up(state);
        both_up(100 * MS, 20 * MS);
        period = cases[i].period;
        unsigned changes = run(1000, crossing);
        if (changes > cases[i].most) fail_msg("period %u: %u changes", period, changes);
    }
    assert_int_equal(run(1000, crossing), 2); /* it does follow what lasts */
}

/* Noise of 30 ms around two latencies that pass each other slowly: one change. */
static uint64_t passing(size_t which, unsigned second)
{
    uint64_t noise = (second * 7919u + (unsigned)which * 104729u) % 31;
    uint64_t base = which == a ? 40 + second / 10 : 140 - second / 10;
    return (base + noise) * MS;
}

static void latencies_that_pass_each_other_change_it_once(void **state)
{
    (void)state;
    both_up(40 * MS, 140 * MS);
    assert_int_equal(run(1000, passing), 1);
    assert_int_equal(kith_relays_chosen(&r), b);
}

static void a_dead_one_is_left_at_once_and_on_probation_after(void **state)
{
    (void)state;
    both_up(20 * MS, 100 * MS);
    assert_int_equal(kith_relays_chosen(&r), a);
    for (unsigned fall = 1; fall <= 6; fall++) {
        kith_relays_down(&r, a, now);
        assert_int_equal(kith_relays_chosen(&r), b);
        now += 200 * S; /* dwelling is over */
        kith_relays_up(&r, a, now);
        kith_relays_rtt(&r, a, 20 * MS, now);
        uint64_t wait = KITH_RELAYS_PROBATION_NS << (fall - 1);
        assert_true(kith_relays_deadline_ns(&r) == now + wait);
        kith_relays_expire(&r, now + wait - 1);
        assert_int_equal(kith_relays_chosen(&r), b);
        now += wait;
        kith_relays_expire(&r, now);
        assert_int_equal(kith_relays_chosen(&r), a);
    }
    /* It has stood for as long as it is ever asked to: forgiven. */
    kith_relays_down(&r, a, now);
    kith_relays_up(&r, a, now + 200 * S);
    kith_relays_rtt(&r, a, 20 * MS, now + 200 * S);
    assert_true(kith_relays_deadline_ns(&r) == now + 200 * S + KITH_RELAYS_PROBATION_NS);
}

static void one_on_probation_is_better_than_none(void **state)
{
    (void)state;
    both_up(20 * MS, 100 * MS);
    kith_relays_down(&r, a, now);
    kith_relays_up(&r, a, now);
    kith_relays_down(&r, b, now);
    assert_int_equal(kith_relays_chosen(&r), a);
}

static void no_more_than_there_is_room_for(void **state)
{
    (void)state;
    size_t index;
    for (size_t i = 2; i < KITH_RELAYS_MAX; i++) assert_ok(kith_relays_add(&r, &index));
    assert_int_equal(kith_relays_add(&r, &index), KITH_ERR_LIMIT);
    kith_relays_remove(&r, a, now);
    assert_ok(kith_relays_add(&r, &index));
    assert_int_equal(index, a);
}

#define CASE(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(none_first_then_the_first_that_is_up),
        CASE(a_nearer_one_is_moved_to_when_it_stays_so),
        CASE(a_slightly_nearer_one_is_not),
        CASE(crossing_latencies_do_not_make_it_flap),
        CASE(latencies_that_pass_each_other_change_it_once),
        CASE(a_dead_one_is_left_at_once_and_on_probation_after),
        CASE(one_on_probation_is_better_than_none),
        CASE(no_more_than_there_is_room_for),
    };
    return cmocka_run_group_tests_name("path/relays", tests, NULL, NULL);
}
