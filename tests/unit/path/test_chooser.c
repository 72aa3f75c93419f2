/* Which way packets go, in a made-up world: routes with a round trip and a life of their own. */
#include "path/chooser.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

#define MS      UINT64_C(1000000)
#define S       (1000 * MS)
#define STEP    (5 * MS)
#define PLACES  20
#define WAITING (KITH_ROUTES_MAX + 1)
#define TIMEOUT (3 * S) /* of a probe */

typedef struct place {
    kith_addr addr;
    uint64_t (*rtt_ns)(uint64_t now); /* 0: nobody answers there now */
    uint64_t probes, moves;
} place;

typedef struct answer {
    bool there, move;
    uint64_t at, rtt_ns;
    place *of;
    kith_err err;
} answer;

typedef struct world {
    kith_chooser c;
    uint64_t now, probes, announced, moves, restarts;
    place places[PLACES];
    size_t count;
    place *in_use;
    answer answers[WAITING];
    bool busy; /* data flows all the time, so that silence is noticed */
    uint64_t silence_ns, longest_ns;
} world;

static kith_addr at(const char *text)
{
    kith_addr a;
    assert_ok(kith_addr_parse(text, &a));
    return a;
}

static kith_addr relay(void) { return (kith_addr){.family = KITH_FAMILY_RELAY, .ip = {0, 0, 0, 1}}; }

static uint64_t one_ms(uint64_t now) { return (void)now, MS; }
static uint64_t ten_ms(uint64_t now) { return (void)now, 10 * MS; }
static uint64_t eighty_ms(uint64_t now) { return (void)now, 80 * MS; }
static uint64_t never(uint64_t now) { return (void)now, 0; }
static uint64_t until_20_s(uint64_t now) { return now < 20 * S ? 10 * MS : 0; }
static uint64_t from_20_s(uint64_t now) { return now < 20 * S ? 0 : 10 * MS; }
static uint64_t comes_and_goes(uint64_t now) { return now / (3 * S) % 2 ? 0 : 10 * MS; }
/* Two that cross once a minute: 20 to 60 ms and back, each of the other's shape half a period later; noise on top. */
static uint64_t noise(uint64_t now) { return now / STEP * 2654435761u % 4000 * 1000; }
static uint64_t wave(uint64_t now, uint64_t shift)
{
    uint64_t x = (now / MS + shift) % 60000;
    return (20 + (x < 30000 ? x : 60000 - x) * 40 / 30000) * MS + noise(now + shift * MS);
}
static uint64_t wave_a(uint64_t now) { return wave(now, 0); }
static uint64_t wave_b(uint64_t now) { return wave(now, 30000); }

static place *put(world *w, kith_addr addr, uint64_t (*rtt_ns)(uint64_t now))
{
    assert_true(w->count < PLACES);
    w->places[w->count] = (place){.addr = addr, .rtt_ns = rtt_ns};
    return &w->places[w->count++];
}

static place *place_of(world *w, const kith_addr *addr)
{
    for (size_t i = 0; i < w->count; i++)
        if (kith_addr_equal(&w->places[i].addr, addr)) return &w->places[i];
    return NULL;
}

static void world_new(world *w, bool dialler, place first)
{
    *w = (world){.now = S};
    w->in_use = put(w, first.addr, first.rtt_ns);
    kith_chooser_init(&w->c, dialler, &first.addr, w->now);
    kith_chooser_use(&w->c, true, w->now);
}

static void wait_for(world *w, answer a)
{
    for (size_t i = 0; i < WAITING; i++) {
        if (w->answers[i].there) continue;
        w->answers[i] = a;
        return;
    }
    fail_msg("too much under way");
}

static void act(world *w)
{
    kith_choice choice;
    for (int guard = 0; kith_chooser_next(&w->c, &choice, w->now); guard++) {
        assert_true(guard < 100);
        place *p = place_of(w, &choice.addr);
        uint64_t rtt = p ? p->rtt_ns(w->now) : 0;
        answer a = {.there = true, .move = choice.kind == KITH_CHOOSE_MOVE, .of = p, .rtt_ns = rtt};
        a.at = w->now + (rtt ? rtt : TIMEOUT);
        a.err = rtt ? KITH_OK : KITH_ERR_TIMEOUT;
        if (choice.kind == KITH_CHOOSE_RESTART) {
            w->restarts++;
            continue;
        }
        if (choice.kind == KITH_CHOOSE_ANNOUNCE) {
            w->announced++;
            continue;
        }
        assert_non_null(p);
        if (a.move) {
            assert_ptr_not_equal(p, w->in_use);
            p->moves++;
            w->moves++;
        } else {
            p->probes++;
            w->probes++;
        }
        wait_for(w, a);
    }
}

static void arrive(world *w)
{
    for (size_t i = 0; i < WAITING; i++) {
        answer *a = &w->answers[i];
        if (!a->there || a->at > w->now) continue;
        a->there = false;
        if (a->move && !a->err) {
            w->in_use = a->of;
            kith_chooser_moved(&w->c, &a->of->addr, w->now);
        } else {
            kith_chooser_probed(&w->c, &a->of->addr, a->err, a->rtt_ns, w->now);
        }
    }
}

/* As QUIC does: three round trips, at least a quarter of a second. */
static void flow(world *w)
{
    if (w->in_use->rtt_ns(w->now)) {
        w->silence_ns = 0;
        kith_chooser_heard(&w->c, w->now);
        return;
    }
    if (w->silence_ns <= 250 * MS && w->silence_ns + STEP > 250 * MS) kith_chooser_silent(&w->c, w->now);
    w->silence_ns += STEP;
    if (w->silence_ns > w->longest_ns) w->longest_ns = w->silence_ns;
}

static void run_for(world *w, uint64_t ns)
{
    for (uint64_t end = w->now + ns; w->now < end; w->now += STEP) {
        arrive(w);
        if (w->busy) flow(w);
        bool due = kith_chooser_deadline_ns(&w->c) <= w->now;
        uint64_t before = w->probes + w->announced + w->moves;
        act(w);
        if (w->probes + w->announced + w->moves != before && !due) fail_msg("it acts before its own deadline");
    }
}

static void offer(world *w, kith_route_source source, place *const *places, size_t count)
{
    kith_addr addrs[KITH_ROUTES_MAX];
    for (size_t i = 0; i < count; i++) addrs[i] = places[i]->addr;
    kith_chooser_offer(&w->c, source, addrs, count, w->now);
}

/* ---- */

static void direct_beats_relay(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = relay(), .rtt_ns = eighty_ms});
    place *p[] = {put(&w, at("203.0.113.7:5000"), ten_ms), put(&w, at("10.0.0.7:5000"), never)};
    offer(&w, KITH_ROUTE_SAID, p, 2);
    run_for(&w, 50 * MS);
    assert_ptr_equal(w.in_use, p[0]);
    assert_int_equal(w.announced, 1); /* so that the other side probes as well */
    run_for(&w, 3600 * S);
    assert_ptr_equal(w.in_use, p[0]);
    assert_int_equal(w.moves, 1);
    assert_in_range(p[1]->probes, 5, 20); /* an hour's: 5, 10, 20 s ... then every 10 minutes */
    assert_in_range(p[0]->probes, 100, 130);
}

static void peace_where_nothing_answers(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = relay(), .rtt_ns = eighty_ms});
    place *p[] = {put(&w, at("203.0.113.7:5000"), never)};
    kith_chooser_use(&w.c, false, w.now); /* nobody needs it: only those attempts */
    offer(&w, KITH_ROUTE_SAID, p, 1);
    run_for(&w, 3600 * S);
    assert_in_range(w.probes, 8, 14);
    assert_int_equal(w.moves, 0);
    offer(&w, KITH_ROUTE_SAID, p, 1); /* nothing new */
    uint64_t before = w.probes;
    run_for(&w, 10 * S);
    assert_int_equal(w.probes, before);
}

static void from_a_dead_route_at_once(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("192.168.1.9:5000"), .rtt_ns = until_20_s});
    w.busy = true;
    place *p[] = {put(&w, relay(), eighty_ms), put(&w, at("203.0.113.7:5000"), never)};
    offer(&w, KITH_ROUTE_RELAY, p, 1);
    offer(&w, KITH_ROUTE_SAID, p + 1, 1);
    run_for(&w, 30 * S);
    assert_ptr_equal(w.in_use, p[0]);
    assert_int_equal(w.moves, 1);
    assert_in_range(w.longest_ns, 250 * MS, 500 * MS); /* until noticed, a probe's round trip, and the move's */
}

static void silence_alone_moves_nothing(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("192.168.1.9:5000"), .rtt_ns = one_ms});
    place *p[] = {put(&w, at("203.0.113.7:5000"), ten_ms)};
    offer(&w, KITH_ROUTE_SAID, p, 1);
    for (int i = 0; i < 100; i++) {
        kith_chooser_silent(&w.c, w.now);
        run_for(&w, S);
    }
    assert_int_equal(w.moves, 0);
}

static void back_to_the_better_kind_when_it_returns(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = relay(), .rtt_ns = eighty_ms});
    place *p[] = {put(&w, at("203.0.113.7:5000"), from_20_s)};
    w.busy = true;
    offer(&w, KITH_ROUTE_SAID, p, 1);
    run_for(&w, 45 * S); /* tried after 5 and 15 s, and then 35 */
    assert_ptr_equal(w.in_use, p[0]);
    assert_int_equal(w.longest_ns, 0);
}

static void one_that_comes_and_goes_is_shunned(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = relay(), .rtt_ns = eighty_ms});
    w.busy = true;
    place *p[] = {put(&w, at("203.0.113.7:5000"), comes_and_goes)};
    offer(&w, KITH_ROUTE_SAID, p, 1);
    run_for(&w, 600 * S); /* it dies 100 times */
    assert_true(w.moves <= 30);
    assert_true(w.longest_ns < 600 * MS);
}

static void crossing_latencies_do_not_flap(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("203.0.113.6:5000"), .rtt_ns = wave_a});
    place *p[] = {put(&w, at("203.0.113.7:5000"), wave_b)};
    w.busy = true;
    offer(&w, KITH_ROUTE_SAID, p, 1);
    kith_chooser_told(&w.c, w.now);
    for (int i = 0; i < 300; i++) { /* both are measured every two seconds */
        kith_chooser_silent(&w.c, w.now);
        run_for(&w, 2 * S);
    }
    printf("%llu moves in 10 minutes\n", (unsigned long long)w.moves);
    assert_in_range(w.moves, 1, 20); /* they cross 20 times */
    world steady;
    world_new(&steady, true, (place){.addr = at("203.0.113.6:5000"), .rtt_ns = eighty_ms});
    place *q[] = {put(&steady, at("203.0.113.7:5000"), ten_ms)};
    offer(&steady, KITH_ROUTE_SAID, q, 1);
    kith_chooser_silent(&steady.c, steady.now);
    run_for(&steady, 120 * S);
    assert_ptr_equal(steady.in_use, q[0]); /* a clear margin that stays is taken */
    assert_int_equal(steady.moves, 1);
}

static uint64_t out_for_10_s(uint64_t now) { return now < 20 * S || now >= 30 * S ? 10 * MS : 0; }

static void one_way_that_is_out_for_a_while(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("192.168.1.9:5000"), .rtt_ns = out_for_10_s});
    w.busy = true;
    run_for(&w, 30 * S);
    uint64_t before = w.probes;
    run_for(&w, 4 * S);
    assert_int_equal(w.restarts, 1);
    assert_int_equal(w.moves, 0);
    assert_in_range(w.longest_ns, 10 * S - STEP, 10 * S + STEP);
    assert_in_range(before, 3, 8); /* each goes on for 3 s */
}

static void only_the_dialler_moves(void **state)
{
    (void)state;
    world w;
    world_new(&w, false, (place){.addr = relay(), .rtt_ns = until_20_s});
    w.busy = true;
    place *p[] = {put(&w, at("203.0.113.7:5000"), ten_ms)};
    offer(&w, KITH_ROUTE_SAID, p, 1);
    kith_chooser_told(&w.c, w.now);
    run_for(&w, S);
    assert_int_equal(p[0]->probes, 1); /* it opens its NAT for the dialler */
    run_for(&w, 60 * S);
    assert_int_equal(w.moves, 0);
    assert_true(p[0]->probes > 3); /* and asks for a move while it is silent */
    kith_chooser_moved(&w.c, &p[0]->addr, w.now);
    w.in_use = p[0];
    run_for(&w, 2 * S);
    uint64_t before = w.probes;
    run_for(&w, 600 * S);
    assert_int_equal(w.probes, before);
}

static void a_probe_from_elsewhere_makes_the_dialler_look(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("192.168.1.9:5000"), .rtt_ns = until_20_s});
    w.now = 21 * S; /* nothing is owed: it only receives, and nothing comes */
    place *p = put(&w, at("203.0.113.7:5000"), ten_ms);
    kith_chooser_asked(&w.c, &p->addr, w.now);
    run_for(&w, 6 * S);
    assert_int_equal(w.in_use == p, false); /* not on suspicion alone */
    kith_chooser_silent(&w.c, w.now);
    run_for(&w, 4 * S);
    assert_ptr_equal(w.in_use, p);
}

static void a_changed_network_is_looked_at_anew(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("192.168.1.9:5000"), .rtt_ns = until_20_s});
    place *p[] = {put(&w, at("203.0.113.7:5000"), ten_ms)};
    offer(&w, KITH_ROUTE_SAID, p, 1);
    run_for(&w, 20 * S);
    uint64_t announced = w.announced;
    kith_chooser_changed(&w.c, w.now);
    run_for(&w, 200 * MS);
    assert_ptr_equal(w.in_use, p[0]);
    assert_true(w.announced > announced);
}

static uint64_t out_for_a_moment(uint64_t now) { return now >= 20 * S && now < 21 * S ? 0 : 10 * MS; }

/* The same place may be reached from the network we are in now: it did not die. */
static void what_our_change_broke_is_not_shunned(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("203.0.113.7:5000"), .rtt_ns = out_for_a_moment});
    place *direct = w.in_use, *p[] = {put(&w, relay(), eighty_ms)};
    offer(&w, KITH_ROUTE_RELAY, p, 1);
    run_for(&w, 19 * S);
    kith_chooser_changed(&w.c, w.now);
    run_for(&w, S);
    assert_ptr_equal(w.in_use, p[0]);
    run_for(&w, KITH_ROUTE_RETRY_NS);
    assert_ptr_equal(w.in_use, direct);
}

static void claims_are_bounded(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = relay(), .rtt_ns = eighty_ms});
    uint64_t asked = 0;
    for (unsigned i = 0; i < 1200; i++) { /* two minutes of ever new addresses */
        kith_addr claims[KITH_ROUTES_MAX];
        for (unsigned k = 0; k < KITH_ROUTES_MAX; k++) {
            claims[k] = at("203.0.113.0:5000");
            claims[k].ip[3] = (uint8_t)k;
            claims[k].port = (uint16_t)(2000 + i);
        }
        kith_chooser_offer(&w.c, KITH_ROUTE_SAID, claims, KITH_ROUTES_MAX, w.now);
        kith_chooser_told(&w.c, w.now);
        kith_choice choice;
        while (kith_chooser_next(&w.c, &choice, w.now)) {
            if (choice.kind != KITH_CHOOSE_PROBE) continue;
            asked++;
            kith_chooser_probed(&w.c, &choice.addr, KITH_ERR_TIMEOUT, 0, w.now);
        }
        w.now += 100 * MS;
    }
    assert_in_range(asked, KITH_ROUTE_ASKS_BURST, KITH_ROUTE_ASKS_BURST + 120 * S / KITH_ROUTE_ASK_EVERY_NS);
    assert_true(w.c.count <= KITH_ROUTES_MAX);
    assert_true(kith_addr_equal(&w.c.routes[w.c.current].addr, &w.in_use->addr)); /* never pushed out */
}

static void what_cannot_be_done_is_tried_later(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = relay(), .rtt_ns = eighty_ms});
    place *p[] = {put(&w, at("203.0.113.7:5000"), ten_ms)};
    offer(&w, KITH_ROUTE_SAID, p, 1);
    kith_choice choice;
    assert_true(kith_chooser_next(&w.c, &choice, w.now));
    assert_int_equal(choice.kind, KITH_CHOOSE_ANNOUNCE);
    assert_true(kith_chooser_next(&w.c, &choice, w.now));
    assert_int_equal(choice.kind, KITH_CHOOSE_PROBE);
    kith_chooser_refused(&w.c, &choice, w.now);
    assert_false(kith_chooser_next(&w.c, &choice, w.now));
    assert_true(kith_chooser_deadline_ns(&w.c) <= w.now + S);
    run_for(&w, 2 * S);
    assert_ptr_equal(w.in_use, p[0]);
}

static void what_may_be_claimed(void **state)
{
    (void)state;
    static const char *const good[] = {"203.0.113.7:5000", "10.1.2.3:1024", "[2001:db8::1]:5000", "[fd00::1]:5000"};
    static const char *const bad[] = {"127.0.0.1:5000",   "[::1]:5000",           "0.0.0.0:5000",    "0.1.2.3:5000",
                                      "224.0.0.251:5353", "255.255.255.255:5000", "[ff02::fb]:5353", "[fe80::1]:5000",
                                      "169.254.1.1:5000", "203.0.113.7:53",       "203.0.113.7:0",   "[::]:5000"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        kith_addr a = at(good[i]);
        if (!kith_route_plausible(&a)) fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kith_addr a = at(bad[i]);
        if (kith_route_plausible(&a)) fail_msg("%s", bad[i]);
    }
    kith_addr r = relay();
    assert_false(kith_route_plausible(&r));
    /* IPv4 in IPv6's clothes: loopback to who sends there, and no loopback to who only looks at the family. */
    static const uint8_t hidden[][16] = {{[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                                         {[12] = 127, [15] = 1},
                                         {[1] = 0x64, [2] = 0xff, [3] = 0x9b, [12] = 127, [15] = 1}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        kith_addr a = {.family = KITH_FAMILY_IPV6, .port = 5000};
        memcpy(a.ip, hidden[i], sizeof a.ip);
        assert_false(kith_route_plausible(&a));
    }
}

/* A peer that names all it can, and a network where everything calls itself that peer, do not keep a relay out; and
 * when the route in use dies the relay is asked before what nobody ever answered at. */
static void many_claims_keep_no_relay_out(void **state)
{
    (void)state;
    world w;
    world_new(&w, true, (place){.addr = at("192.168.1.9:5000"), .rtt_ns = until_20_s});
    w.busy = true;
    kith_addr claims[KITH_ROUTES_MAX];
    for (unsigned source = KITH_ROUTE_SAID; source <= KITH_ROUTE_SEEN; source++) {
        for (unsigned k = 0; k < KITH_ROUTES_MAX; k++) {
            claims[k] = at("203.0.113.0:5000");
            claims[k].ip[3] = (uint8_t)(k + 100 * source);
        }
        kith_chooser_offer(&w.c, source, claims, KITH_ROUTES_MAX, w.now);
    }
    for (unsigned k = 0; k < 50; k++) {
        kith_addr from = at("198.51.100.0:5000");
        from.ip[3] = (uint8_t)k;
        kith_chooser_asked(&w.c, &from, w.now);
    }
    place *p[] = {put(&w, relay(), eighty_ms)};
    offer(&w, KITH_ROUTE_RELAY, p, 1);
    w.now = 20 * S;
    kith_chooser_silent(&w.c, w.now);
    kith_choice choice = {0};
    kith_addr asked[2];
    for (size_t n = 0; n < 2;) { /* the silent one and the relay, before all those claims */
        assert_true(kith_chooser_next(&w.c, &choice, w.now));
        if (choice.kind == KITH_CHOOSE_PROBE) asked[n++] = choice.addr;
    }
    assert_true(kith_addr_equal(&asked[0], &w.in_use->addr) || kith_addr_equal(&asked[1], &w.in_use->addr));
    assert_true(kith_addr_equal(&asked[0], &p[0]->addr) || kith_addr_equal(&asked[1], &p[0]->addr));
}

/* Only a route that was left has died: one from which no move could be made is not shunned when it works again. */
static void a_move_that_is_refused_is_no_death(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        kith_chooser c;
        kith_choice choice;
        const kith_addr lan = at("192.168.1.7:5000"), net = at("203.0.113.7:5000");
        kith_chooser_init(&c, true, &lan, S);
        kith_chooser_offer(&c, KITH_ROUTE_SAID, &net, 1, S);
        kith_chooser_silent(&c, 2 * S);
        kith_chooser_probed(&c, &net, KITH_OK, MS, 2 * S + MS);
        uint64_t now = 3 * S;
        while (kith_chooser_next(&c, &choice, now) && choice.kind != KITH_CHOOSE_MOVE) continue;
        assert_int_equal(choice.kind, KITH_CHOOSE_MOVE);
        if (refused)
            kith_chooser_refused(&c, &choice, now);
        else
            kith_chooser_moved(&c, &net, now);
        size_t deaths = 0;
        for (size_t i = 0; i < c.count; i++) deaths += c.routes[i].deaths;
        assert_int_equal(deaths, !refused);
    }
}

/* What may be dialled over TCP: better by kind than what is in use, the local network first, of equals what was seen;
 * neither where probes came from, which is a port of a NAT's for datagrams, nor relays. */
static void what_is_dialled_over_tcp_and_in_which_order(void **state)
{
    (void)state;
    kith_chooser c;
    kith_addr out[KITH_ROUTES_MAX];
    const kith_addr said[] = {at("203.0.113.9:5000"), at("192.168.1.9:5000"), at("203.0.113.8:5000"),
                              at("10.0.0.9:5000")},
                    seen[] = {at("198.51.100.7:5000"), at("192.168.1.7:5000"), at("10.0.0.9:5000")},
                    asked = at("203.0.113.77:61000"), first = relay();
    static const char *const expected[] = {"10.0.0.9:5000",     "192.168.1.7:5000", "192.168.1.9:5000",
                                           "198.51.100.7:5000", "203.0.113.9:5000", "203.0.113.8:5000"};
    kith_chooser_init(&c, true, &first, S);
    assert_int_equal(kith_chooser_better(&c, out, KITH_ROUTES_MAX), 0);
    kith_chooser_asked(&c, &asked, S);
    kith_chooser_offer(&c, KITH_ROUTE_SAID, said, 4, S);
    kith_chooser_offer(&c, KITH_ROUTE_SEEN, seen, 3, S);
    kith_chooser_offer(&c, KITH_ROUTE_RELAY, &first, 1, S);
    for (size_t cap = 0; cap <= 6; cap++) assert_int_equal(kith_chooser_better(&c, out, cap), cap);
    assert_int_equal(kith_chooser_better(&c, out, KITH_ROUTES_MAX), 6);
    for (size_t i = 0; i < 6; i++) {
        kith_addr a = at(expected[i]);
        if (!kith_addr_equal(&out[i], &a)) fail_msg("not in place %zu: %s", i, expected[i]);
    }
    kith_chooser_moved(&c, &said[0], S); /* over the internet: only the local network is better */
    assert_int_equal(kith_chooser_better(&c, out, KITH_ROUTES_MAX), 3);
    kith_chooser_moved(&c, &said[1], S);
    assert_int_equal(kith_chooser_better(&c, out, KITH_ROUTES_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(direct_beats_relay),
        TEST(peace_where_nothing_answers),
        TEST(from_a_dead_route_at_once),
        TEST(silence_alone_moves_nothing),
        TEST(back_to_the_better_kind_when_it_returns),
        TEST(one_that_comes_and_goes_is_shunned),
        TEST(crossing_latencies_do_not_flap),
        TEST(one_way_that_is_out_for_a_while),
        TEST(only_the_dialler_moves),
        TEST(a_probe_from_elsewhere_makes_the_dialler_look),
        TEST(a_changed_network_is_looked_at_anew),
        TEST(what_our_change_broke_is_not_shunned),
        TEST(claims_are_bounded),
        TEST(what_cannot_be_done_is_tried_later),
        TEST(what_may_be_claimed),
        TEST(many_claims_keep_no_relay_out),
        TEST(a_move_that_is_refused_is_no_death),
        TEST(what_is_dialled_over_tcp_and_in_which_order),
    };
    return cmocka_run_group_tests_name("path/chooser", tests, NULL, NULL);
}
