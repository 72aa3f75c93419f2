/* Both ends of byte streams: each sends a pattern of its own and checks what it gets against the other's. */
#ifndef KITH_SIM_TCP_TEST_H
#define KITH_SIM_TCP_TEST_H

#include "sim_test.h"

typedef struct tcp_end {
    kith_env *env;
    kith_tcp *tcp;
    kith_listener *listener;
    uint8_t key, other; /* of its pattern and of the other end's */
    uint64_t goal;      /* bytes to send as soon as they are taken */
    uint64_t sent, got;
    unsigned connected, accepted, writable, ended, pieces, single, short_sends;
    kith_err why;
    bool deaf, close_at_end;
    size_t most; /* of room */
    uint64_t connected_at, ended_at, got_at;
    uint8_t room[70000];
} tcp_end;

static unsigned inside; /* a call into the table is under way */

#define CALL(expression) (inside++, (expression), inside--)

/* Bytes of a pattern that has no period. */
static inline void pattern(uint8_t key, uint64_t at, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++, at++) {
        uint64_t x = (at / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);
        x ^= x >> 29;
        out[i] = (uint8_t)(x >> 8 * (at % 8)) ^ key;
    }
}

/* Send up to the goal, in odd pieces; returns what was taken. */
static inline uint64_t end_send(tcp_end *e)
{
    static uint8_t data[40000];
    uint64_t before = e->sent;
    while (e->sent < e->goal) {
        size_t size = e->goal - e->sent < sizeof data ? (size_t)(e->goal - e->sent) : sizeof data, sent = 12345, cut;
        if (size > 5) size -= (size_t)(e->sent % 5);
        pattern(e->key, e->sent, data, size);
        cut = size / 3;
        struct iovec pieces[3] = {{data, cut}, {data, 0}, {data + cut, size - cut}};
        kith_err err;
        CALL(err = e->env->tcp->send(e->tcp, pieces, 3, &sent));
        if (err) {
            assert_int_equal(err, KITH_ERR_CLOSED);
            break;
        }
        memset(data, 0xee, sizeof data); /* it was copied */
        assert_true(sent <= size);
        e->sent += sent;
        if (sent < size) {
            e->short_sends++;
            break;
        }
    }
    return e->sent - before;
}

static inline void end_close(tcp_end *e)
{
    CALL(e->env->tcp->close(e->tcp));
    e->tcp = NULL;
}

static inline void on_connected(void *user)
{
    tcp_end *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->tcp && kith_sim_alive(e->env));
    assert_int_equal(e->connected++ + e->ended + e->pieces + e->writable, 0);
    e->connected_at = e->env->base->now_ns(e->env);
    end_send(e);
}

static inline uint8_t *on_room(void *user, size_t *size)
{
    tcp_end *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->tcp && !e->ended && kith_sim_alive(e->env));
    if (e->deaf) return NULL;
    *size = e->most ? e->most : sizeof e->room;
    return e->room;
}

static inline void on_received(void *user, size_t size)
{
    tcp_end *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->tcp && !e->ended && !e->deaf && size > 0 && size <= sizeof e->room);
    static uint8_t wanted[sizeof e->room];
    pattern(e->other, e->got, wanted, size);
    assert_memory_equal(e->room, wanted, size);
    e->got += size;
    e->pieces++;
    e->single += size == 1;
    e->got_at = e->env->base->now_ns(e->env);
}

static inline void on_writable(void *user)
{
    tcp_end *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->tcp && !e->ended && kith_sim_alive(e->env));
    e->writable++;
    end_send(e);
}

static inline void on_ended(void *user, kith_err why)
{
    tcp_end *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->tcp && kith_sim_alive(e->env));
    assert_int_equal(e->ended++, 0);
    e->why = why;
    e->ended_at = e->env->base->now_ns(e->env);
    if (e->close_at_end) end_close(e);
}

static const kith_tcp_events end_events = {on_connected, on_room, on_received, on_writable, on_ended};

static inline void end_init(tcp_end *e, kith_env *env, uint8_t key, uint8_t other)
{
    memset(e, 0, sizeof *e);
    e->env = env;
    e->key = key;
    e->other = other;
}

static inline void on_accepted(void *user, kith_tcp *tcp)
{
    tcp_end *e = user;
    assert_int_equal(inside, 0);
    assert_true(kith_sim_alive(e->env));
    e->accepted++;
    if (e->tcp) { /* one at a time */
        e->env->tcp->close(tcp);
        return;
    }
    e->tcp = tcp;
    e->sent = e->got = 0;
    CALL(e->env->tcp->attach(tcp, &end_events, e));
    end_send(e);
}

static inline kith_err end_try_listen(tcp_end *e, const char *at)
{
    kith_addr addr = addr_of(at);
    kith_err err;
    CALL(err = e->env->tcp->listen(e->env, &addr, on_accepted, e, &e->listener));
    return err;
}

static inline void end_listen(tcp_end *e, const char *at) { assert_ok(end_try_listen(e, at)); }

static inline kith_err end_try_connect(tcp_end *e, const char *to)
{
    kith_addr addr = addr_of(to);
    kith_err err;
    CALL(err = e->env->tcp->connect(e->env, &addr, &end_events, e, &e->tcp));
    return err;
}

static inline void end_connect(tcp_end *e, const char *to) { assert_ok(end_try_connect(e, to)); }

/* ---- two hosts on one network: x, on a, connects to y, on b ---- */
static kith_sim *sim;
static kith_sim_lan *lan;
static kith_sim_host *a, *b;
static kith_env *ea, *eb;
static tcp_end x, y;

#define B "192.168.1.2:2000"

static inline int two_hosts(uint64_t seed, bool link_local)
{
    sim = world(seed);
    lan = lan_in(sim, "home");
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    if (link_local) assert_ok(kith_sim_attach(a, lan, "fe80::1"));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2"));
    if (link_local) assert_ok(kith_sim_attach(b, lan, "fe80::2"));
    ea = process_on(a);
    eb = process_on(b);
    end_init(&x, ea, 1, 2);
    end_init(&y, eb, 2, 1);
    end_listen(&y, "[::]:2000");
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    end(sim);
    return 0;
}

static inline void run(void) { kith_sim_run_for(sim, 10 * KITH_SIM_S); }
static inline void link_with(kith_sim_link link) { assert_ok(kith_sim_pair_link(a, b, &link)); }

static inline void meet(void)
{
    end_connect(&x, B);
    run();
    assert_int_equal(x.connected, 1);
    assert_int_equal(y.accepted, 1);
}

#endif
