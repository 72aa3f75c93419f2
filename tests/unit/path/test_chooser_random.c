/* The chooser under anything that may come, in any order: what it is told, answers that come, are late, or never come,
 * moves that are refused or fail.  Whatever happens it ends each turn, sleeps until a time that lies ahead, keeps its
 * bounds, and once the world is sane again finds the way that works. */
#include "path/chooser.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS       UINT64_C(1000000)
#define S        (1000 * MS)
#define STEPS    400
#define ADDRS    48
#define PENDING  64
#define TURN_MAX 200 /* choices of one turn */
#define SANE_NS  (20 * S)

typedef struct pending {
    bool there, move;
    kith_addr addr;
    uint64_t at;
    bool good;
} pending;

typedef struct world {
    kith_chooser c;
    uint64_t now, began, probes;
    pending wait[PENDING];
    uint64_t random;
    bool sane; /* only `works` answers, nothing is refused */
    kith_addr works, moving_to;
} world;

static uint64_t draw(world *w, uint64_t below)
{
    uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static kith_addr place(unsigned i)
{
    kith_addr a = {.family = KITH_FAMILY_IPV4, .port = 5000, .ip = {203, 0, 113, (uint8_t)i}};
    if (i % 3 == 0) memcpy(a.ip, (uint8_t[]){10, 0, 0, (uint8_t)i}, 4);
    if (i % 7 == 0) a = (kith_addr){.family = KITH_FAMILY_RELAY, .ip = {[7] = (uint8_t)i}};
    return a;
}

static void later(world *w, bool move, const kith_addr *addr, bool good, uint64_t after)
{
    for (size_t i = 0; i < PENDING; i++) {
        if (w->wait[i].there) continue;
        w->wait[i] = (pending){.there = true, .move = move, .addr = *addr, .at = w->now + after, .good = good};
        return;
    } /* no room: it never comes */
}

/* What becomes of a probe or a move: it is answered soon or late, it is not, or nothing is ever heard of it. */
static void act(world *w, const kith_choice *choice)
{
    bool move = choice->kind == KITH_CHOOSE_MOVE, works = kith_addr_equal(&choice->addr, &w->works);
    if (choice->kind != KITH_CHOOSE_PROBE && !move) return;
    w->probes += !move;
    if (move) w->moving_to = choice->addr;
    if (w->sane) {
        later(w, move, &choice->addr, works, works ? 10 * MS : 3 * S);
        return;
    }
    switch (draw(w, 8)) {
    case 0: kith_chooser_refused(&w->c, choice, w->now); break;
    case 1: break;
    case 2:
    case 3: later(w, move, &choice->addr, false, draw(w, 12 * S)); break;
    default: later(w, move, &choice->addr, true, draw(w, 4) ? draw(w, S) : draw(w, 15 * S)); break;
    }
}

static void arrive(world *w)
{
    for (size_t i = 0; i < PENDING; i++) {
        pending *p = &w->wait[i];
        if (!p->there || p->at > w->now) continue;
        p->there = false;
        if (p->move && p->good)
            kith_chooser_moved(&w->c, &p->addr, w->now);
        else
            kith_chooser_probed(&w->c, &p->addr, p->good ? KITH_OK : KITH_ERR_TIMEOUT, draw(w, 300) * MS, w->now);
    }
}

static void offer(world *w, kith_route_source source)
{
    kith_addr addrs[KITH_ROUTES_MAX];
    size_t count = draw(w, KITH_ROUTES_MAX + 1);
    for (size_t i = 0; i < count; i++) addrs[i] = place((unsigned)draw(w, ADDRS));
    kith_chooser_offer(&w->c, source, addrs, count, w->now);
}

static void something(world *w)
{
    kith_addr any = place((unsigned)draw(w, ADDRS));
    switch (draw(w, 16)) {
    case 0: offer(w, KITH_ROUTE_SAID); break;
    case 1: offer(w, KITH_ROUTE_SEEN); break;
    case 2: offer(w, KITH_ROUTE_RELAY); break;
    case 3: kith_chooser_told(&w->c, w->now); break;
    case 4:
    case 5: kith_chooser_asked(&w->c, &any, w->now); break;
    case 6: kith_chooser_silent(&w->c, w->now); break;
    case 7: kith_chooser_heard(&w->c, w->now - draw(w, w->now - w->began + 1)); break;
    case 8: kith_chooser_gone(&w->c, &any, w->now); break;
    case 9: kith_chooser_changed(&w->c, w->now); break;
    case 10: kith_chooser_use(&w->c, draw(w, 2), w->now); break;
    case 11: kith_chooser_moved(&w->c, &any, w->now); break;
    case 12: kith_chooser_probed(&w->c, &any, draw(w, 2) ? KITH_OK : KITH_ERR_TIMEOUT, draw(w, S), w->now); break;
    default: break;
    }
}

static void check(const world *w, uint64_t seed)
{
    const kith_chooser *c = &w->c;
    uint64_t at = kith_chooser_deadline_ns(c);
    if (at <= w->now) fail_msg("seed %llu: a deadline that has passed", (unsigned long long)seed);
    assert_true(c->count >= 1 && c->count <= KITH_ROUTES_MAX && c->current < c->count);
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < i; k++) assert_false(kith_addr_equal(&c->routes[i].addr, &c->routes[k].addr));
    assert_true(w->probes <= KITH_ROUTE_ASKS_BURST + (w->now - w->began) / KITH_ROUTE_ASK_EVERY_NS);
}

static void turn(world *w, uint64_t seed)
{
    kith_choice choice;
    for (int n = 0; kith_chooser_next(&w->c, &choice, w->now); n++) {
        if (n >= TURN_MAX) fail_msg("seed %llu: a turn without an end", (unsigned long long)seed);
        act(w, &choice);
    }
    check(w, seed);
}

/* On to the next thing that happens; sometimes the device sleeps over it. */
static void pass(world *w, uint64_t most)
{
    uint64_t at = kith_chooser_deadline_ns(&w->c);
    for (size_t i = 0; i < PENDING; i++)
        if (w->wait[i].there && w->wait[i].at < at) at = w->wait[i].at;
    if (at > w->now + most) at = w->now + most;
    w->now = at > w->now ? at : w->now;
}

static void chaos(world *w, uint64_t seed)
{
    for (int i = 0; i < STEPS; i++) {
        something(w);
        arrive(w);
        turn(w, seed);
        if (draw(w, 50) == 0)
            w->now += draw(w, 3600 * S); /* a suspended device: timers are late */
        else
            pass(w, draw(w, 5 * S) + 1);
    }
}

/* One way works, and it is not the one in use: QUIC says so, the relay or the peer names it. */
static void becomes_sane(world *w, uint64_t seed)
{
    unsigned i = 1 + (unsigned)draw(w, ADDRS - 1);
    w->works = place(i);
    w->sane = true;
    memset(w->wait, 0, sizeof w->wait);
    for (size_t k = 0; k < w->c.count; k++) { /* what is under way fails, as QUIC sees to within a few seconds */
        const kith_route *r = &w->c.routes[k];
        if (r->asking && !draw(w, 4)) later(w, false, &r->addr, false, 3 * S);
    }
    if (w->c.moving) later(w, true, &w->moving_to, false, 3 * S);
    uint64_t end = w->now + SANE_NS;
    bool silent = false;
    while (w->now < end) {
        if (kith_addr_equal(&w->c.routes[w->c.current].addr, &w->works)) return;
        kith_chooser_offer(&w->c, w->works.family == KITH_FAMILY_RELAY ? KITH_ROUTE_RELAY : KITH_ROUTE_SAID, &w->works,
                           1, w->now);
        if (!silent) kith_chooser_silent(&w->c, w->now);
        silent = true;
        arrive(w);
        turn(w, seed);
        pass(w, 100 * MS);
    }
    fail_msg("seed %llu: it does not get away from a dead way", (unsigned long long)seed);
}

static void story(uint64_t seed, bool dialler)
{
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->random = seed;
    w->now = w->began = S + draw(w, 1000 * S);
    kith_addr first = place((unsigned)draw(w, ADDRS));
    kith_chooser_init(&w->c, dialler, &first, w->now);
    chaos(w, seed);
    if (dialler) becomes_sane(w, seed);
    free(w);
}

static void any_order_of_things(void **state)
{
    (void)state;
    const char *text = getenv("KITH_SEEDS");
    uint64_t seeds = text ? strtoull(text, NULL, 10) : 300;
    for (uint64_t seed = 1; seed <= seeds; seed++) story(seed, seed % 3 != 0);
    test_ran("chooser", seeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(any_order_of_things)};
    return cmocka_run_group_tests_name("path/chooser_random", tests, NULL, NULL);
}
