/* QUIC in the simulated network, on the env's sockets and timers: fifty moves among paths under loss, from live and
 * dead ones, and random worlds. */
#include "crypto/keys.h"
#include "quic_env.h"
#include "sim/sim.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS    KITH_SIM_MS
#define S     KITH_SIM_S
#define PIECE 20000

typedef struct world world;

typedef struct end {
    world *w;
    kith_sim_host *host;
    quic_env e;
    kith_conn *conn;
    kith_stream *stream;
    uint64_t got, sent; /* bytes of the stream */
    bool wrong;
    int count[KITH_QUIC_CLOSED + 1];
    kith_quic_event last[KITH_QUIC_CLOSED + 1];
} end;

struct world {
    kith_sim *sim;
    kith_sim_lan *lans[2];
    end ends[2]; /* [0] accepts and echoes, [1] dials */
};

static uint8_t byte_at(uint64_t offset) { return (uint8_t)(offset * 2654435761u >> 11); }
static uint64_t now_of(const end *x) { return x->e.env->base->now_ns(x->e.env); }

static void take(end *x, kith_stream *s)
{
    const uint8_t *data;
    size_t size;
    bool fin, echo = x == &x->w->ends[0];
    while (kith_stream_peek(s, &data, &size, &fin)) {
        for (size_t i = 0; i < size; i++) x->wrong |= data[i] != byte_at(x->got + i);
        x->got += size;
        if (echo) assert_ok(kith_stream_write(s, data, size));
        kith_stream_consume(s, size);
    }
}

static void on_event(void *user, const kith_quic_event *event)
{
    end *x = user;
    x->count[event->kind]++;
    x->last[event->kind] = *event;
    if (event->kind == KITH_QUIC_ACCEPTED || event->kind == KITH_QUIC_CONNECTED) x->conn = event->conn;
    if (event->kind == KITH_QUIC_READABLE) take(x, event->stream);
}

static void more(end *x)
{
    uint8_t piece[PIECE];
    for (size_t i = 0; i < sizeof piece; i++) piece[i] = byte_at(x->sent + i);
    if (kith_stream_write(x->stream, piece, sizeof piece)) return;
    x->sent += sizeof piece;
    quic_env_flush(&x->e);
}

static void world_new(world *w, uint64_t seed, double loss)
{
    static const uint8_t secrets[2][32] = {{1}, {2}};
    static const char *const addrs[2][2] = {{"192.0.2.1", "198.51.100.1"}, {"192.0.2.2", "198.51.100.2"}};
    kith_sim_link link = {
        .delay_ns = 5 * MS, .jitter_ns = 2 * MS, .rate = 20000000, .queue = 400000, .loss = loss, .mtu = 1500};
    *w = (world){0};
    assert_ok(kith_sim_new(seed, &w->sim));
    for (int l = 0; l < 2; l++) {
        assert_ok(kith_sim_lan_new(w->sim, l ? "second" : "first", &w->lans[l]));
        kith_sim_lan_set_link(w->lans[l], &link);
    }
    for (int i = 0; i < 2; i++) {
        end *x = &w->ends[i];
        kith_env *env;
        kith_addr bind;
        kith_quic_config config = {.static_secret = secrets[i], .accept = true};
        x->w = w;
        assert_ok(kith_sim_host_new(w->sim, i ? "dialler" : "accepter", &x->host));
        for (int l = 0; l < 2; l++) assert_ok(kith_sim_attach(x->host, w->lans[l], addrs[i][l]));
        assert_ok(kith_sim_env_new(x->host, &env));
        assert_ok(kith_addr_parse("0.0.0.0:4000", &bind));
        assert_ok(quic_env_open(&x->e, env, &bind, &config, on_event, x));
    }
}

static void world_free(world *w)
{
    for (int i = 0; i < 2; i++) quic_env_close(&w->ends[i].e);
    kith_sim_free(w->sim);
}

static kith_addr way(int l)
{
    kith_addr a;
    assert_ok(kith_addr_parse(l ? "198.51.100.1:4000" : "192.0.2.1:4000", &a));
    return a;
}

static void connect_first(world *w)
{
    end *d = &w->ends[1];
    kith_addr to = way(0);
    assert_ok(kith_quic_dial(d->e.quic, &to, NULL, now_of(d), &d->conn));
    quic_env_flush(&d->e);
    kith_sim_run_for(w->sim, 3 * S);
    assert_int_equal(d->count[KITH_QUIC_CONNECTED], 1);
    assert_int_equal(w->ends[0].count[KITH_QUIC_ACCEPTED], 1);
    assert_ok(kith_stream_open(d->conn, true, &d->stream));
}

/* Until `count` of this kind came, at most `limit`, while bytes flow. */
static bool wait_for(world *w, end *x, kith_quic_event_kind kind, int count, uint64_t limit)
{
    for (uint64_t waited = 0; waited < limit; waited += 20 * MS) {
        if (x->count[kind] >= count) return true;
        if (waited % (100 * MS) == 0) more(&w->ends[1]);
        kith_sim_run_for(w->sim, 20 * MS);
    }
    return x->count[kind] >= count;
}

static void set_dead(world *w, int l, bool dead, double loss)
{
    kith_sim_link link = {.delay_ns = 5 * MS,
                          .jitter_ns = 2 * MS,
                          .rate = 20000000,
                          .queue = 400000,
                          .loss = dead ? 1.0 : loss,
                          .mtu = 1500};
    kith_sim_lan_set_link(w->lans[l], &link);
}

static void fifty_moves(bool dead)
{
    world w;
    end *d = &w.ends[1], *a = &w.ends[0];
    world_new(&w, 7 + dead, 0.02);
    connect_first(&w);
    uint64_t slowest = 0;
    for (int i = 0; i < 50; i++) {
        int to = !(i % 2);
        kith_addr remote = way(to);
        uint32_t path;
        int answers = d->count[KITH_QUIC_PATH], moves = d->count[KITH_QUIC_MOVED], there = a->count[KITH_QUIC_MOVED];
        assert_ok(kith_conn_probe(d->conn, NULL, &remote, now_of(d), &path));
        quic_env_flush(&d->e);
        assert_true(wait_for(&w, d, KITH_QUIC_PATH, answers + 1, 5 * S));
        assert_int_equal(d->last[KITH_QUIC_PATH].err, KITH_OK);
        if (dead) {
            set_dead(&w, !to, true, 0);
            kith_sim_run_for(w.sim, 300 * MS);
        }
        kith_err err = KITH_ERR_AGAIN;
        for (int tries = 0; err == KITH_ERR_AGAIN && tries < 100; tries++) {
            err = kith_conn_move(d->conn, path, dead, now_of(d));
            quic_env_flush(&d->e);
            if (err) kith_sim_run_for(w.sim, 50 * MS);
        }
        assert_ok(err);
        uint64_t start = now_of(d), before = d->got;
        more(d);
        assert_true(wait_for(&w, d, KITH_QUIC_MOVED, moves + 1, 5 * S));
        assert_true(wait_for(&w, a, KITH_QUIC_MOVED, there + 1, 5 * S));
        for (int t = 0; d->got == before && t < 500; t++) kith_sim_run_for(w.sim, 10 * MS);
        if (now_of(d) - start > slowest) slowest = now_of(d) - start;
        kith_addr remote_now = kith_conn_remote_addr(d->conn);
        assert_true(kith_addr_equal(&remote_now, &remote));
        kith_sim_run_for(w.sim, 200 * MS);
        if (dead) set_dead(&w, !to, false, 0.02);
        kith_sim_run_for(w.sim, 200 * MS);
    }
    kith_sim_run_for(w.sim, 10 * S);
    assert_int_equal(d->got, d->sent);
    assert_false(d->wrong || a->wrong);
    assert_int_equal(d->count[KITH_QUIC_CLOSED] + a->count[KITH_QUIC_CLOSED], 0);
    printf("50 moves from %s paths, %llu bytes echoed; the longest until bytes came %llu ms\n", dead ? "dead" : "live",
           (unsigned long long)d->got, (unsigned long long)(slowest / MS));
    world_free(&w);
}

static void moves_from_live_paths(void **state)
{
    (void)state;
    fifty_moves(false);
}

static void moves_from_dead_paths(void **state)
{
    (void)state;
    fifty_moves(true);
}

/* The dialler's address changes without a word, again and again, in the middle of everything. */
static void silent_changes(void **state)
{
    (void)state;
    world w;
    end *d = &w.ends[1], *a = &w.ends[0];
    char from[32] = "192.0.2.2", to[32];
    world_new(&w, 3, 0.01);
    connect_first(&w);
    for (int i = 0; i < 20; i++) {
        int moved = a->count[KITH_QUIC_MOVED];
        snprintf(to, sizeof to, "192.0.2.%d", 10 + i);
        assert_ok(kith_sim_change_addr(d->host, from, to));
        strcpy(from, to);
        more(d);
        assert_true(wait_for(&w, a, KITH_QUIC_MOVED, moved + 1, 10 * S));
        kith_sim_run_for(w.sim, S);
    }
    kith_sim_run_for(w.sim, 20 * S);
    assert_int_equal(d->got, d->sent);
    assert_false(d->wrong || a->wrong);
    assert_int_equal(d->count[KITH_QUIC_CLOSED] + a->count[KITH_QUIC_CLOSED], 0);
    world_free(&w);
}

/* ---- anything may happen ---- */

static void random_fault(world *w)
{
    uint64_t x = kith_sim_random(w->sim);
    end *d = &w->ends[1];
    kith_sim_link link = {.delay_ns = x % 60 * MS,
                          .jitter_ns = (x >> 8) % 10 * MS,
                          .rate = x & 0x10000 ? 500000 : 20000000,
                          .queue = 100000,
                          .loss = (double)((x >> 17) % 30) / 100,
                          .duplicate = (double)((x >> 23) % 10) / 100,
                          .reorder = (double)((x >> 27) % 10) / 100,
                          .corrupt = (double)((x >> 31) % 5) / 100,
                          .mtu = x & (UINT64_C(1) << 36) ? 1300 : 1500};
    uint32_t path = (uint32_t)(x >> 40) % KITH_CONN_PATHS_MAX;
    kith_addr remote = way(x >> 44 & 1);
    end *who = &w->ends[x >> 45 & 1];
    kith_err err = KITH_OK;
    if (!who->conn || who->count[KITH_QUIC_CLOSED]) return;
    switch ((x >> 48) % 7) {
    case 0:
    case 1: kith_sim_lan_set_link(w->lans[x >> 47 & 1], &link); break;
    case 2: err = kith_conn_probe(who->conn, NULL, &remote, now_of(who), &path); break;
    case 3: err = kith_conn_move(who->conn, path, x >> 46 & 1, now_of(who)); break;
    case 4: err = kith_conn_update_keys(who->conn, now_of(who)); break;
    case 5: set_dead(w, x >> 47 & 1, true, 0); break;
    default:
        kith_conn_probe(d->conn, NULL, &remote, now_of(d), &path) ? (void)0 : quic_env_flush(&d->e);
        kith_sim_run_for(w->sim, 400 * MS);
        if (!d->count[KITH_QUIC_CLOSED]) err = kith_conn_move(d->conn, path, true, now_of(d));
    }
    (void)err;
    quic_env_flush(&who->e);
    quic_env_flush(&d->e);
}

static void random_worlds(void **state)
{
    (void)state;
    int whole = 0, lost = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        world w;
        end *d = &w.ends[1], *a = &w.ends[0];
        world_new(&w, seed, 0.01);
        connect_first(&w);
        for (int i = 0; i < 60 && !d->count[KITH_QUIC_CLOSED]; i++) {
            random_fault(&w);
            if (!d->count[KITH_QUIC_CLOSED] && d->sent - d->got < 400000) more(d);
            kith_sim_run_for(w.sim, (100 + kith_sim_random(w.sim) % 900) * MS);
        }
        for (int l = 0; l < 2; l++) set_dead(&w, l, false, 0);
        kith_sim_run_for(w.sim, 40 * S);
        assert_false(d->wrong || a->wrong);
        for (int i = 0; i < 2; i++) {
            kith_err err = w.ends[i].last[KITH_QUIC_CLOSED].err;
            if (!w.ends[i].count[KITH_QUIC_CLOSED]) continue;
            if (err != KITH_ERR_LOST) fail_msg("seed %d: %s", (int)seed, kith_err_name(err));
        }
        if (d->count[KITH_QUIC_CLOSED] || a->count[KITH_QUIC_CLOSED])
            lost++;
        else if (d->got == d->sent)
            whole++;
        else
            fail_msg("seed %d: %d of %d bytes, and nothing moves", (int)seed, (int)d->got, (int)d->sent);
        world_free(&w);
    }
    printf("random worlds: %d whole, %d lost\n", whole, lost);
    assert_true(whole > 40);
}

static int setup(void **state)
{
    (void)state;
    return kith_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(moves_from_live_paths),
        TEST(moves_from_dead_paths),
        TEST(silent_changes),
        TEST(random_worlds),
    };
    return cmocka_run_group_tests_name("sim/quic", tests, setup, NULL);
}
