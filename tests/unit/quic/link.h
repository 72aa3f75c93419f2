/* Two endpoints in one process, virtual time between them: delay, loss, reordering, duplicates, all from one seed; and
 * an application on each side that echoes, counts and remembers. */
#ifndef KITH_TEST_LINK_H
#define KITH_TEST_LINK_H

#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "quic/quic.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED __attribute__((unused))
#define MS     UINT64_C(1000000)
#define S      UINT64_C(1000000000)

typedef struct link link_t;

typedef struct end {
    link_t *link;
    kith_quic *q;
    kith_addr addr, other; /* `other`: a second address, once it is set */
    bool echo;             /* bidirectional streams of the peer come back */
    bool drain;            /* read and count what comes */
    bool greedy_free;      /* free streams once they are over */
    kith_conn *conn;       /* the last accepted or connected */
    int count[KITH_QUIC_CLOSED + 1];
    kith_quic_event last[KITH_QUIC_CLOSED + 1]; /* of each kind */
    kith_stream *opened;                        /* the last */
    uint64_t received, streams_finished;
    uint32_t checksum; /* of what was received, whatever the order of streams */
    uint64_t sent_packets, sent_bytes;
} end_t;

typedef struct flight {
    struct flight *next;
    uint64_t at;
    kith_addr from, to;
    uint8_t ecn;
    size_t size;
    uint8_t data[];
} flight;

struct link {
    end_t ends[2]; /* [0] accepts, [1] dials, by custom */
    uint64_t now, delay, jitter;
    uint64_t rate, busy[2];   /* bytes per second each way, with a queue of 100 ms; 0: any */
    unsigned loss, duplicate; /* per mille */
    uint64_t seed;
    size_t mtu;        /* larger datagrams vanish; 0: any */
    flight *air;       /* by time */
    uint8_t trace[32]; /* running hash of all datagrams sent */
    /* Look at, change or drop (false) a datagram that is about to fly. */
    bool (*hook)(link_t *link, int from, flight *f);
    void *user;
    uint64_t limit_steps;
    unsigned life; /* endpoints of another life have other random bytes */
};

static UNUSED uint64_t draw(link_t *l)
{
    l->seed ^= l->seed << 13;
    l->seed ^= l->seed >> 7;
    l->seed ^= l->seed << 17;
    return l->seed;
}

static UNUSED kith_addr addr_of(const char *text)
{
    kith_addr a;
    assert_ok(kith_addr_parse(text, &a));
    return a;
}

static const uint8_t static_secrets[2][32] = {{0xa0, 1, 2, 3}, {0xb0, 4, 5, 6}};

static UNUSED kith_err end_start(link_t *l, int i, kith_quic_config config, unsigned seed)
{
    end_t *e = &l->ends[i];
    e->link = l;
    e->addr = addr_of(i ? "10.0.0.2:2000" : "10.0.0.1:1000");
    if (!config.static_secret) config.static_secret = static_secrets[i];
    memset(config.seed, (int)seed + i, sizeof config.seed);
    config.accept = true;
    return kith_quic_new(&config, &e->q);
}

static UNUSED void link_init(link_t *l, uint64_t seed)
{
    *l = (link_t){.now = 1000 * S, .delay = 10 * MS, .seed = seed * 2654435761u + 88172645463325252ull};
}

static UNUSED kith_err link_start(link_t *l, const kith_quic_config *a, const kith_quic_config *b)
{
    kith_quic_config none = {0};
    kith_err err = end_start(l, 0, a ? *a : none, 17 + 2 * l->life);
    return err ? err : end_start(l, 1, b ? *b : none, 17 + 2 * l->life);
}

static UNUSED void link_free(link_t *l)
{
    for (int i = 0; i < 2; i++) kith_quic_free(l->ends[i].q);
    while (l->air) {
        flight *f = l->air;
        l->air = f->next;
        free(f);
    }
}

static UNUSED void fly(link_t *l, flight *f)
{
    flight **at = &l->air;
    while (*at && (*at)->at <= f->at) at = &(*at)->next;
    f->next = *at;
    *at = f;
}

static UNUSED flight *flight_of(const void *data, size_t size)
{
    flight *f = malloc(sizeof *f + size);
    assert_non_null(f);
    *f = (flight){.size = size};
    memcpy(f->data, data, size);
    return f;
}

static UNUSED void launch(link_t *l, int from, flight *f)
{
    if (l->hook && !l->hook(l, from, f)) {
        free(f);
        return;
    }
    bool lost = draw(l) % 1000 < l->loss || (l->mtu && f->size > l->mtu);
    if (draw(l) % 1000 < l->duplicate) {
        flight *copy = flight_of(f->data, f->size);
        copy->from = f->from;
        copy->to = f->to;
        copy->at = l->now + l->delay + draw(l) % (3 * l->delay + 1);
        fly(l, copy);
    }
    uint64_t wait = 0;
    if (l->rate) {
        if (l->busy[from] < l->now) l->busy[from] = l->now;
        l->busy[from] += f->size * S / l->rate;
        wait = l->busy[from] - l->now;
        if (wait > 100 * MS) {
            l->busy[from] -= f->size * S / l->rate;
            lost = true;
        }
    }
    f->at = l->now + wait + l->delay + (l->jitter ? draw(l) % l->jitter : 0);
    if (lost)
        free(f);
    else
        fly(l, f);
}

static UNUSED void trace(link_t *l, const uint8_t *data, size_t size)
{
    kith_blake2s((kith_bytes[]){{l->trace, 32}, {data, size}}, 2, l->trace);
}

/* Everything an endpoint wants to send now. */
static UNUSED void drain_output(link_t *l, int i)
{
    static uint8_t memory[KITH_PACKET_RUN_MAX];
    end_t *e = &l->ends[i];
    kith_packet p = {.data = memory};
    while (e->q && kith_quic_output(e->q, &p, l->now)) {
        assert_true(p.size <= KITH_PACKET_RUN_MAX && p.segment && p.segment <= p.size);
        assert_true((p.size + p.segment - 1) / p.segment <= KITH_PACKET_RUN_SEGMENTS);
        for (size_t at = 0; at < p.size; at += p.segment) {
            size_t size = p.size - at < p.segment ? p.size - at : p.segment;
            flight *f = flight_of(p.data + at, size);
            f->from = p.local.family ? p.local : e->addr;
            f->to = p.remote;
            f->ecn = p.ecn;
            e->sent_packets++;
            e->sent_bytes += size;
            trace(l, p.data + at, size);
            launch(l, i, f);
        }
    }
}

static UNUSED void read_all(end_t *e, kith_stream *s)
{
    const uint8_t *data;
    size_t size;
    bool fin, back = e->echo && (kith_stream_id(s) & 2) == 0 &&
                     (kith_stream_id(s) & 1) == kith_conn_is_dialler(kith_stream_conn(s));
    while (kith_stream_peek(s, &data, &size, &fin)) {
        for (size_t i = 0; i < size; i++) e->checksum += data[i] * 31u + 7;
        e->received += size;
        if (back && kith_stream_write(s, data, size)) return;
        kith_stream_consume(s, size);
    }
    if (!fin) return;
    e->streams_finished++;
    if (back && kith_stream_finish(s)) return;
    if (back || e->greedy_free) kith_stream_free(s);
}

static UNUSED void on_event(end_t *e, const kith_quic_event *ev)
{
    e->count[ev->kind]++;
    e->last[ev->kind] = *ev;
    if (ev->kind == KITH_QUIC_ACCEPTED || ev->kind == KITH_QUIC_CONNECTED) e->conn = ev->conn;
    if (ev->kind == KITH_QUIC_OPENED) e->opened = ev->stream;
    if (ev->kind == KITH_QUIC_READABLE && (e->echo || e->drain)) read_all(e, ev->stream);
}

static UNUSED void drain_events(link_t *l)
{
    kith_quic_event ev;
    for (int i = 0; i < 2; i++)
        while (l->ends[i].q && kith_quic_event_take(l->ends[i].q, &ev)) on_event(&l->ends[i], &ev);
}

static UNUSED void deliver(link_t *l, flight *f)
{
    for (int i = 0; i < 2; i++) {
        end_t *e = &l->ends[i];
        if (!e->q || (!kith_addr_equal(&f->to, &e->addr) && !kith_addr_equal(&f->to, &e->other))) continue;
        kith_packet p = {
            .local = f->to, .remote = f->from, .ecn = f->ecn, .data = f->data, .size = f->size, .segment = f->size};
        kith_quic_input(e->q, &p, l->now);
        return;
    }
}

/* Settle what can happen now; the time of the next thing (UINT64_MAX: nothing will). */
static UNUSED uint64_t settle(link_t *l)
{
    uint64_t next = UINT64_MAX;
    drain_events(l);
    for (int i = 0; i < 2; i++) drain_output(l, i);
    drain_events(l);
    for (int i = 0; i < 2; i++) drain_output(l, i);
    if (l->air) next = l->air->at;
    for (int i = 0; i < 2; i++)
        if (l->ends[i].q && kith_quic_deadline_ns(l->ends[i].q) < next) next = kith_quic_deadline_ns(l->ends[i].q);
    return next;
}

/* One step of time, at most to `until`; false: nothing left to do before it. */
static UNUSED bool step(link_t *l, uint64_t until)
{
    uint64_t next = settle(l);
    if (++l->limit_steps > 30000000) fail_msg("this does not end");
    if (next > until) {
        l->now = until;
        return false;
    }
    if (next > l->now) l->now = next;
    while (l->air && l->air->at <= l->now) {
        flight *f = l->air;
        l->air = f->next;
        deliver(l, f);
        free(f);
    }
    for (int i = 0; i < 2; i++)
        if (l->ends[i].q && kith_quic_deadline_ns(l->ends[i].q) <= l->now) kith_quic_expire(l->ends[i].q, l->now);
    drain_events(l);
    return true;
}

static UNUSED void run_for(link_t *l, uint64_t ns)
{
    uint64_t until = l->now + ns;
    while (step(l, until)) continue;
}

/* Until the event count reaches n, at most `ns`. */
static UNUSED bool run_until(link_t *l, int end, kith_quic_event_kind kind, int n, uint64_t ns)
{
    uint64_t until = l->now + ns;
    while (l->ends[end].count[kind] < n)
        if (!step(l, until)) return l->ends[end].count[kind] >= n;
    return true;
}

static UNUSED kith_err dial(link_t *l, const uint8_t *expected, kith_conn **out)
{
    return kith_quic_dial(l->ends[1].q, &l->ends[0].addr, expected, l->now, out);
}

/* Both ends started, dialled, connected. */
static UNUSED kith_conn *connect_both(link_t *l)
{
    kith_conn *conn;
    assert_ok(dial(l, NULL, &conn));
    assert_true(run_until(l, 1, KITH_QUIC_CONNECTED, 1, 5 * S));
    assert_true(run_until(l, 0, KITH_QUIC_ACCEPTED, 1, 5 * S));
    return conn;
}

static UNUSED uint8_t *pattern(size_t size, unsigned seed)
{
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    uint32_t x = seed * 747796405u + 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
    return data;
}

static UNUSED uint32_t checksum_of(const uint8_t *data, size_t size)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += data[i] * 31u + 7;
    return sum;
}

static UNUSED int crypto_setup(void **state)
{
    (void)state;
    return kith_crypto_init();
}

#endif
