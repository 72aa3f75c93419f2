/* How fast bulk data goes over links with delay, rate and loss, in virtual time: the share of what the link could
 * carry; receive windows that grow where they must and nowhere else; two flows beside each other; the queue they leave.
 */
#include "crypto/keys.h"
#include "quic_env.h"
#include "sim/sim.h"
#include "testlib.h"

#include <stdio.h>

#define MS        KITH_SIM_MS
#define S         KITH_SIM_S
#define MBIT      125000u /* bytes a second */
#define PIECE     ((size_t)1 << 20)
#define AHEAD     ((uint64_t)80 << 20) /* lent and not acknowledged: no limit here */
#define FLOWS     2
#define DATAGRAM  1480.0 /* bytes of IP and UDP headers and QUIC in a full packet, and */
#define OF_STREAM 1420.0 /* of the stream in it */

static uint8_t piece[PIECE];

typedef struct flow {
    quic_env from, to;
    kith_conn *conn, *there;
    kith_stream *stream;
    uint64_t size, got, done_ns;
} flow;

typedef struct world {
    kith_sim *sim;
    kith_sim_host *hosts[2];
    flow flows[FLOWS];
} world;

static uint64_t now_of(const quic_env *e) { return e->env->base->now_ns(e->env); }

static void lend_more(flow *f)
{
    kith_stream *s = f->stream;
    while (kith_stream_written(s) < f->size && kith_stream_written(s) - kith_stream_returned(s) < AHEAD) {
        uint64_t left = f->size - kith_stream_written(s);
        assert_ok(kith_stream_lend(s, piece, left < PIECE ? (size_t)left : PIECE));
        if (kith_stream_written(s) == f->size) assert_ok(kith_stream_finish(s));
    }
}

static void on_from(void *user, const kith_quic_event *event)
{
    flow *f = user;
    if (event->kind == KITH_QUIC_CONNECTED) {
        assert_ok(kith_stream_open(event->conn, false, &f->stream));
        lend_more(f);
    }
    if (event->kind == KITH_QUIC_RETURNED) lend_more(f);
}

static void on_to(void *user, const kith_quic_event *event)
{
    flow *f = user;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    if (event->kind == KITH_QUIC_ACCEPTED) f->there = event->conn;
    if (event->kind != KITH_QUIC_READABLE) return;
    while (kith_stream_peek(event->stream, &data, &size, &fin)) {
        f->got += size;
        kith_stream_consume(event->stream, size);
    }
    if (fin) f->done_ns = now_of(&f->to);
}

static void endpoint(quic_env *e, kith_sim_host *host, const char *at, uint8_t key,
                     void (*event)(void *, const kith_quic_event *), void *user)
{
    uint8_t secret[32] = {key};
    kith_quic_config config = {.static_secret = secret, .accept = true};
    kith_env *env;
    kith_addr bind;
    assert_ok(kith_sim_env_new(host, &env));
    assert_ok(kith_addr_parse(at, &bind));
    assert_ok(quic_env_open(e, env, &bind, &config, event, user));
}

static void world_new(world *w, uint64_t seed, const kith_sim_link *link)
{
    static const char *const from[FLOWS] = {"0.0.0.0:4000", "0.0.0.0:4001"};
    kith_sim_lan *lan;
    *w = (world){0};
    assert_ok(kith_sim_new(seed, &w->sim));
    assert_ok(kith_sim_lan_new(w->sim, "net", &lan));
    for (int i = 0; i < 2; i++) {
        assert_ok(kith_sim_host_new(w->sim, i ? "b" : "a", &w->hosts[i]));
        assert_ok(kith_sim_attach(w->hosts[i], lan, i ? "192.0.2.2" : "192.0.2.1"));
    }
    assert_ok(kith_sim_pair_link(w->hosts[0], w->hosts[1], link));
    for (int i = 0; i < FLOWS; i++) {
        flow *f = &w->flows[i];
        endpoint(&f->from, w->hosts[0], from[i], (uint8_t)(1 + i), on_from, f);
        endpoint(&f->to, w->hosts[1], from[i], (uint8_t)(11 + i), on_to, f);
    }
}

static void world_free(world *w)
{
    for (int i = 0; i < FLOWS; i++) {
        quic_env_close(&w->flows[i].from);
        quic_env_close(&w->flows[i].to);
    }
    kith_sim_free(w->sim);
}

static void begin(flow *f, int number, uint64_t size)
{
    kith_addr to;
    f->size = size;
    assert_ok(kith_addr_parse(number ? "192.0.2.2:4001" : "192.0.2.2:4000", &to));
    assert_ok(kith_quic_dial(f->from.quic, &to, NULL, now_of(&f->from), &f->conn));
    quic_env_flush(&f->from);
}

static bool first_done(void *user) { return ((world *)user)->flows[0].done_ns; }

/* One flow alone: bytes of the stream a second, dialling included. */
static double alone(world *w, uint64_t size, uint64_t limit_ns)
{
    flow *f = &w->flows[0];
    uint64_t start = kith_sim_now_ns(w->sim);
    begin(f, 0, size);
    if (!kith_sim_run_until(w->sim, first_done, w, limit_ns))
        fail_msg("%llu of %llu bytes in time", (unsigned long long)f->got, (unsigned long long)size);
    assert_int_equal(f->got, size);
    return (double)size / (double)(f->done_ns - start) * 1e9;
}

static uint64_t window_extra(const flow *f)
{
    kith_conn_stats stats;
    kith_conn_get_stats(f->there, &stats);
    return stats.window_extra;
}

static double share(double rate, const kith_sim_link *link)
{
    return rate / ((double)link->rate * (1 - link->loss) * OF_STREAM / DATAGRAM);
}

/* ---- one flow ---- */

/* CUBIC has 1 % of the link there.  What is missing here: the first second; and that ngtcp2 1.11 forgets after two
 * round trips how fast the path was found to be, so that the rate falls by what is lost until it probes again
 * (docs/quic.md). */
static void one_percent_lost(void **state)
{
    (void)state;
    const kith_sim_link link = {
        .delay_ns = 20 * MS, .jitter_ns = 2 * MS, .rate = 300 * MBIT, .queue = 1500000, .loss = 0.01};
    double worst = 1, sum = 0;
    const int worlds = 6;
    for (int i = 1; i <= worlds; i++) {
        world w;
        world_new(&w, (uint64_t)i, &link);
        double part = share(alone(&w, 100000000, 60 * S), &link);
        sum += part;
        if (part < worst) worst = part;
        world_free(&w);
    }
    printf("40 ms, 300 Mbit/s, 1 %% lost each way, 100 MB: %.2f of what is possible, at worst %.2f\n", sum / worlds,
           worst);
    assert_true(sum / worlds > 0.7);
    assert_true(worst > 0.5);
}

static void a_city(void **state)
{
    (void)state;
    const kith_sim_link link = {.delay_ns = 10 * MS, .jitter_ns = MS, .rate = 100 * MBIT, .queue = 1500000};
    world w;
    world_new(&w, 4, &link);
    double part = share(alone(&w, 100000000, 60 * S), &link);
    printf("20 ms, 100 Mbit/s: %.2f of what is possible\n", part);
    assert_true(part > 0.88);
    assert_int_equal(window_extra(&w.flows[0]), 0); /* 250 KB are under way */
    world_free(&w);
}

static void far_away(void **state)
{
    (void)state;
    const kith_sim_link link = {.delay_ns = 100 * MS, .rate = 1000 * MBIT, .queue = 8u << 20};
    world w;
    world_new(&w, 5, &link);
    double part = share(alone(&w, 500000000, 60 * S), &link);
    uint64_t extra = window_extra(&w.flows[0]);
    printf("200 ms, 1 Gbit/s, 500 MB: %.2f of what is possible; windows of %.0f MB\n", part,
           (double)(extra + KITH_QUIC_STREAM_WINDOW_MAX) / 1e6);
    assert_true(part > 0.5);                                      /* the first 2 s are spent on getting up there */
    assert_in_range(extra, 25000000, KITH_QUIC_WINDOW_EXTRA_MAX); /* what is under way, and what a loss takes */
    world_free(&w);
}

/* No memory is spent where little is under way, however fast. */
static void a_local_network(void **state)
{
    (void)state;
    const kith_sim_link link = {.delay_ns = MS / 10, .jitter_ns = MS / 20, .rate = 1000 * MBIT, .queue = 512 << 10};
    world w;
    world_new(&w, 6, &link);
    double part = share(alone(&w, 200000000, 60 * S), &link);
    printf("0.2 ms, 1 Gbit/s: %.2f of what is possible\n", part);
    assert_true(part > 0.9);
    assert_int_equal(window_extra(&w.flows[0]), 0);
    world_free(&w);
}

/* What is not needed any more is taken back: the path got shorter. */
static void windows_shrink(void **state)
{
    (void)state;
    kith_sim_link link = {.delay_ns = 100 * MS, .rate = 100 * MBIT, .queue = 1u << 20};
    world w;
    world_new(&w, 7, &link);
    begin(&w.flows[0], 0, UINT64_C(1) << 40);
    kith_sim_run_for(w.sim, 6 * S);
    uint64_t before = window_extra(&w.flows[0]);
    link.delay_ns = MS;
    assert_ok(kith_sim_pair_link(w.hosts[0], w.hosts[1], &link));
    kith_sim_run_for(w.sim,
                     20 * S); /* the sender must see, too, that the path is shorter: BBR looks every few seconds */
    assert_true(before > 2500000);
    assert_int_equal(window_extra(&w.flows[0]), 0);
    before = w.flows[0].got;
    kith_sim_run_for(w.sim, 4 * S);
    assert_true((double)(w.flows[0].got - before) > 4 * 0.8 * 100 * MBIT * OF_STREAM / DATAGRAM);
    world_free(&w);
}

/* ---- two flows ---- */

/* Jain's index (Jain, Chiu and Hawe 1984) of what arrived in `ns`: 1 is equal, 0.5 is one alone. */
static double jain(world *w, uint64_t ns, double *sum)
{
    double x[FLOWS], squares = 0;
    for (int i = 0; i < FLOWS; i++) x[i] = (double)w->flows[i].got;
    kith_sim_run_for(w->sim, ns);
    *sum = 0;
    for (int i = 0; i < FLOWS; i++) {
        x[i] = (double)w->flows[i].got - x[i];
        *sum += x[i];
        squares += x[i] * x[i];
    }
    return *sum * *sum / (FLOWS * squares);
}

/* The second begins when the first has everything. */
static void two_flows(void **state)
{
    (void)state;
    const kith_sim_link link = {.delay_ns = 10 * MS, .rate = 50 * MBIT, .queue = 250000};
    double sum, worst = 1;
    for (uint64_t seed = 8; seed <= 10; seed++) {
        world w;
        world_new(&w, seed, &link);
        begin(&w.flows[0], 0, UINT64_C(1) << 40);
        kith_sim_run_for(w.sim, 5 * S);
        begin(&w.flows[1], 1, UINT64_C(1) << 40);
        kith_sim_run_for(w.sim, 15 * S);
        double fair = jain(&w, 20 * S, &sum);
        if (fair < worst) worst = fair;
        assert_true(sum / (20.0 * 50 * MBIT * OF_STREAM / DATAGRAM) > 0.9);
        world_free(&w);
    }
    printf("two flows: Jain index %.3f\n", worst);
    assert_true(worst > 0.9);
}

static int setup(void **state)
{
    (void)state;
    return kith_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_percent_lost), TEST(a_city),         TEST(far_away),
        TEST(a_local_network),  TEST(windows_shrink), TEST(two_flows),
    };
    return cmocka_run_group_tests_name("sim/congestion", tests, setup, NULL);
}
