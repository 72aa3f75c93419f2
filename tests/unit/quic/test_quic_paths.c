/* Probing addresses, moving among them, NATs that rebind, and those who would like to have our traffic. */
#include "link.h"

#include "quic/probe.h"

/* The accepter has a second address (another way to it); the dialler reaches it from a second one of its own. */
static void two_ways(link_t *l, uint64_t seed)
{
    link_init(l, seed);
    l->ends[0].other = addr_of("10.0.1.1:1000");
    l->ends[1].other = addr_of("10.0.1.2:2000");
    l->ends[0].echo = l->ends[0].drain = l->ends[1].drain = true;
    assert_ok(link_start(l, NULL, NULL));
}

static bool is_second(const kith_addr *a) { return a->ip[2] == 1; }

static void probing(void **state)
{
    (void)state;
    link_t l;
    two_ways(&l, 1);
    kith_conn *conn;
    uint32_t path = 99, again;
    assert_ok(dial(&l, NULL, &conn));
    assert_int_equal(kith_conn_probe(conn, NULL, &l.ends[0].other, l.now, &path), KITH_ERR_STATE);
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, S));
    assert_true(run_until(&l, 0, KITH_QUIC_ACCEPTED, 1, S));
    uint64_t sent = l.ends[0].sent_bytes;
    assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &path));
    assert_int_equal(path, 2); /* the dialler's numbers are even */
    assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &again));
    assert_int_equal(again, path);
    assert_true(run_until(&l, 1, KITH_QUIC_PATH, 1, S));
    kith_quic_event *e = &l.ends[1].last[KITH_QUIC_PATH];
    assert_int_equal(e->err, KITH_OK);
    assert_int_equal(e->path, path);
    assert_int_equal(e->rtt_ns, 20 * MS);
    (void)sent;
    /* Nobody there. */
    kith_addr nobody = addr_of("10.6.6.6:6");
    uint64_t start = l.now;
    assert_ok(kith_conn_probe(conn, NULL, &nobody, l.now, &path));
    assert_true(run_until(&l, 1, KITH_QUIC_PATH, 2, 30 * S));
    assert_int_equal(e->err, KITH_ERR_TIMEOUT);
    assert_in_range(l.now - start, KITH_CONN_PROBE_NS, 2 * KITH_CONN_PROBE_NS + S);
    assert_int_equal(kith_conn_move(conn, path, false, l.now), KITH_ERR_STATE);
    /* The other side may ask, too, and its numbers are odd. */
    assert_ok(kith_conn_probe(l.ends[0].conn, &l.ends[0].other, &l.ends[1].other, l.now, &path));
    assert_int_equal(path % 2, 0); /* it knows these two addresses already, as the dialler's path */
    kith_addr third = addr_of("10.0.0.2:2000");
    assert_ok(kith_conn_probe(l.ends[0].conn, &l.ends[0].other, &third, l.now, &path));
    assert_int_equal(path % 2, 1);
    assert_true(run_until(&l, 0, KITH_QUIC_PATH, 2, S));
    assert_int_equal(kith_conn_move(l.ends[0].conn, path, false, l.now), KITH_ERR_STATE); /* only the dialler moves */
    /* A probed path of the peer's numbering can be moved to. */
    run_for(&l, S);
    assert_ok(kith_conn_probe(conn, NULL, &l.ends[0].other, l.now, &path));
    run_for(&l, S);
    assert_ok(kith_conn_move(conn, path, false, l.now));
    run_for(&l, S);
    assert_int_equal(l.ends[1].last[KITH_QUIC_MOVED].path, path);
    link_free(&l);
}

static void lost_probes_are_repeated(void **state)
{
    (void)state;
    int good = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        link_t l;
        two_ways(&l, seed);
        kith_conn *conn = connect_both(&l);
        uint32_t path;
        l.loss = 300;
        assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &path));
        assert_true(run_until(&l, 1, KITH_QUIC_PATH, 1, 30 * S));
        good += l.ends[1].last[KITH_QUIC_PATH].err == KITH_OK;
        link_free(&l);
    }
    assert_true(good >= 28);
}

typedef struct cut {
    bool first_dead;
    uint64_t first_after, second_after; /* datagrams seen on each way since reset */
    uint64_t to_first, to_second;
} cut;

/* May kill the first way. */
static bool watch(link_t *l, int from, flight *f)
{
    cut *c = l->user;
    (void)from;
    bool second = is_second(&f->from) || is_second(&f->to);
    if (second)
        c->second_after++;
    else
        c->first_after++;
    return second || !c->first_dead;
}

/* In the middle of a large echo. */
static void move_once(bool dead, uint64_t seed, unsigned loss)
{
    link_t l;
    cut c = {0};
    two_ways(&l, seed);
    l.loss = loss;
    l.rate = 3000000;
    l.hook = watch;
    l.user = &c;
    kith_conn *conn = connect_both(&l);
    size_t size = 3u << 20;
    uint8_t *data = pattern(size, 3);
    kith_stream *s;
    uint32_t path;
    assert_ok(kith_stream_open(conn, true, &s));
    assert_ok(kith_stream_lend(s, data, size));
    assert_ok(kith_stream_finish(s));
    run_for(&l, 300 * MS);
    assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &path));
    assert_true(run_until(&l, 1, KITH_QUIC_PATH, 1, 5 * S));
    assert_int_equal(l.ends[1].last[KITH_QUIC_PATH].err, KITH_OK);
    assert_true(l.ends[0].received < size);
    if (dead) {
        c.first_dead = true;
        run_for(&l, 400 * MS);
    }
    assert_ok(kith_conn_move(conn, path, dead, l.now));
    assert_int_equal(kith_conn_move(conn, 0, false, l.now), KITH_ERR_AGAIN);
    assert_true(run_until(&l, 1, KITH_QUIC_MOVED, 1, 5 * S));
    assert_true(run_until(&l, 0, KITH_QUIC_MOVED, 1, 5 * S));
    kith_addr there = kith_conn_remote_addr(l.ends[0].conn), here = kith_conn_remote_addr(conn);
    assert_true(kith_addr_equal(&there, &l.ends[1].other) && kith_addr_equal(&here, &l.ends[0].other));
    run_for(&l, S);
    uint64_t before = c.first_after;
    run_for(&l, 60 * S);
    assert_int_equal(l.ends[1].received, size);
    assert_int_equal(l.ends[1].checksum, checksum_of(data, size));
    assert_true(c.first_after - before < 20); /* the old way is quiet */
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
    kith_conn_stats stats;
    kith_conn_get_stats(conn, &stats);
    assert_int_equal(stats.path, path);
    assert_int_equal(stats.mtu, 1452); /* found anew */
    free(data);
    link_free(&l);
}

static void moving(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        move_once(false, seed, 0);
        move_once(true, seed, 0);
        move_once(seed % 2, seed, 20);
    }
}

static void back_and_forth(void **state)
{
    (void)state;
    link_t l;
    two_ways(&l, 4);
    l.loss = 20;
    kith_conn *conn = connect_both(&l);
    uint32_t path;
    kith_stream *s;
    uint8_t *data = pattern(1000, 1);
    assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &path));
    run_for(&l, 3 * S);
    assert_ok(kith_stream_open(conn, true, &s));
    int moves = 0;
    for (int i = 0; i < 200; i++) {
        assert_ok(kith_stream_write(s, data, 1000));
        kith_err err = kith_conn_move(conn, moves % 2 ? 0 : path, i % 3 == 0, l.now);
        if (err != KITH_OK) assert_int_equal(err, KITH_ERR_AGAIN);
        run_for(&l, 150 * MS);
        kith_conn_stats stats;
        kith_conn_get_stats(conn, &stats);
        moves += stats.path == (moves % 2 ? 0 : path);
    }
    run_for(&l, 10 * S);
    assert_int_equal(l.ends[1].received, 200 * 1000);
    assert_true(moves > 25);
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
    free(data);
    link_free(&l);
}

/* Not before the gap has passed, though the last move is complete. */
static void a_gap_between_moves(void **state)
{
    (void)state;
    link_t l;
    two_ways(&l, 4);
    kith_conn *conn = connect_both(&l);
    uint32_t path;
    assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &path));
    run_for(&l, 3 * S);
    uint64_t start = l.now;
    assert_ok(kith_conn_move(conn, path, false, l.now));
    assert_true(run_until(&l, 1, KITH_QUIC_MOVED, 1, 300 * MS));
    run_for(&l, start + KITH_CONN_MOVE_GAP_NS - 1 - l.now);
    assert_int_equal(kith_conn_move(conn, 0, false, l.now), KITH_ERR_AGAIN);
    run_for(&l, 1);
    assert_ok(kith_conn_move(conn, 0, false, l.now));
    link_free(&l);
}

/* A path whose MTU is smaller than the one before. */
static void smaller_mtu(void **state)
{
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        link_t l;
        two_ways(&l, 4);
        l.rate = 5000000;
        kith_conn *conn = connect_both(&l);
        kith_stream *s;
        size_t size = 8u << 20;
        uint8_t *data = pattern(size, 1);
        assert_ok(kith_stream_open(conn, false, &s));
        assert_ok(kith_stream_lend(s, data, size));
        assert_ok(kith_stream_finish(s));
        run_for(&l, 400 * MS);
        kith_conn_stats stats;
        kith_conn_get_stats(conn, &stats);
        assert_int_equal(stats.mtu, 1452);
        assert_true(l.ends[0].received < size);
        l.mtu = 1300; /* the route changed */
        if (!silent) kith_quic_too_big(l.ends[1].q, &l.ends[0].addr, 1452);
        run_for(&l, 60 * S);
        assert_int_equal(l.ends[0].received, size);
        kith_conn_get_stats(conn, &stats);
        assert_int_equal(stats.mtu, 1200);
        free(data);
        link_free(&l);
    }
}

/* ---- NATs ---- */

typedef struct nat {
    uint16_t port; /* 0: as it is */
    bool old_closed;
} nat;

static bool translate(link_t *l, int from, flight *f)
{
    nat *n = l->user;
    if (from == 1 && n->port) f->from.port = n->port;
    if (from == 0 && n->port) {
        if (f->to.port == n->port)
            f->to.port = l->ends[1].addr.port;
        else
            return !n->old_closed;
    }
    return true;
}

static void rebinding(void **state)
{
    (void)state;
    for (int dying = 0; dying < 2; dying++) {
        link_t l;
        nat n = {0};
        two_ways(&l, 3);
        l.hook = translate;
        l.user = &n;
        kith_conn *conn = connect_both(&l);
        kith_stream *s;
        uint8_t *data = pattern(2u << 20, 1);
        assert_ok(kith_stream_open(conn, true, &s));
        run_for(&l, S);
        uint64_t got = 0;
        for (int i = 1; i <= 12; i++) { /* more often than there are connection ids: ngtcp2 never sees it */
            n = (nat){.port = (uint16_t)(3000 + i), .old_closed = dying};
            assert_ok(kith_stream_write(s, data, 100000));
            got += 100000;
            run_for(&l, 3 * S);
            assert_int_equal(l.ends[1].received, got);
            assert_int_equal(l.ends[0].count[KITH_QUIC_MOVED], i);
            assert_int_equal(kith_conn_remote_addr(l.ends[0].conn).port, 3000 + i);
        }
        /* And then a move, which would kill ngtcp2 after a rebinding that it had seen. */
        uint32_t path;
        n = (nat){0};
        l.hook = NULL;
        assert_ok(kith_conn_probe(conn, &l.ends[1].other, &l.ends[0].other, l.now, &path));
        run_for(&l, S);
        assert_ok(kith_conn_move(conn, path, false, l.now));
        run_for(&l, S);
        assert_ok(kith_stream_write(s, data, 100000));
        run_for(&l, 5 * S);
        assert_int_equal(l.ends[1].received, got + 100000);
        assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED], 0);
        kith_addr there = kith_conn_remote_addr(l.ends[0].conn);
        assert_true(kith_addr_equal(&there, &l.ends[1].other));
        free(data);
        link_free(&l);
    }
}

/* One that is pinned hears the peer from another address, and goes on sending to the one it knows. */
static void a_pinned_one_stays(void **state)
{
    (void)state;
    for (int pinned = 0; pinned < 2; pinned++) {
        link_t l;
        nat n = {0};
        two_ways(&l, 3);
        l.hook = translate;
        l.user = &n;
        kith_conn *conn = connect_both(&l);
        kith_stream *s;
        assert_ok(kith_stream_open(conn, true, &s));
        run_for(&l, S);
        if (pinned) kith_conn_pin(l.ends[0].conn);
        uint16_t before = kith_conn_remote_addr(l.ends[0].conn).port;
        n = (nat){.port = 3001};
        assert_ok(kith_stream_write(s, "x", 1));
        run_for(&l, 3 * S);
        assert_int_equal(kith_conn_remote_addr(l.ends[0].conn).port, pinned ? before : 3001);
        assert_int_equal(l.ends[0].received, 1);
        link_free(&l);
    }
}

/* ---- thieves ---- */

typedef struct thief {
    kith_addr addr;
    bool forward; /* relays what it gets, both ways, as if it were a NAT */
    bool first;   /* its copies arrive before the originals */
    uint64_t stolen, challenges;
} thief;

static bool steal(link_t *l, int from, flight *f)
{
    thief *t = l->user;
    if (kith_addr_equal(&f->to, &t->addr)) {
        if (f->data[0] == KITH_PROBE_BYTE)
            t->challenges++;
        else
            t->stolen++;
        if (t->forward) { /* from the thief's own address: it cannot use theirs */
            flight *copy = flight_of(f->data, f->size);
            copy->from = t->addr;
            copy->to = l->ends[!from].addr;
            copy->at = l->now + l->delay;
            fly(l, copy);
        }
        return false;
    }
    if (from == 1 && kith_addr_equal(&f->to, &l->ends[0].addr)) { /* every packet again, from elsewhere */
        flight *copy = flight_of(f->data, f->size);
        copy->from = t->addr;
        copy->to = f->to;
        copy->at = t->first ? l->now + l->delay - MS : l->now + l->delay + MS;
        fly(l, copy);
    }
    return true;
}

static void thieves(void **state)
{
    (void)state;
    for (int mode = 0; mode < 4; mode++) {
        link_t l;
        thief t = {.addr = addr_of("10.5.5.5:5"), .forward = mode & 1, .first = mode & 2};
        two_ways(&l, 3);
        kith_conn *conn = connect_both(&l);
        kith_stream *s;
        uint32_t path;
        uint8_t *data = pattern(500000, 1);
        run_for(&l, S);
        l.hook = steal;
        l.user = &t;
        assert_ok(kith_stream_open(conn, true, &s));
        assert_ok(kith_stream_write(s, data, 500000));
        assert_ok(kith_conn_probe(conn, NULL, &l.ends[0].other, l.now, &path)); /* replayed as well */
        run_for(&l, 20 * S);
        assert_int_equal(l.ends[1].received, 500000);
        assert_int_equal(t.stolen, 0); /* it was asked who it is, and that was all */
        assert_int_equal(l.ends[0].count[KITH_QUIC_MOVED], 0);
        if (t.first) assert_true(t.challenges > 0);
        kith_addr there = kith_conn_remote_addr(l.ends[0].conn);
        assert_true(kith_addr_equal(&there, &l.ends[1].addr));
        free(data);
        link_free(&l);
    }
}

static void probe_format(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, id[8] = {2, 3}, data[KITH_PROBE_SIZE], other[32] = {2};
    kith_probe in = {.kind = KITH_PROBE_ANSWER, .path = 5, .echo = {7}, .token = {8}}, out;
    uint64_t number;
    assert_ok(kith_probe_seal(key, id, 0x1122334455667788, &in, sizeof data, data));
    assert_int_equal(data[0], 5);
    assert_memory_equal(kith_probe_id(data, sizeof data), id, 8);
    assert_null(kith_probe_id(data, sizeof data + 1));
    assert_null(kith_probe_id(data, KITH_PROBE_SIZE_MIN - 1));
    assert_ok(kith_probe_open(key, data, sizeof data, &number, &out));
    assert_true(number == 0x1122334455667788);
    assert_int_equal(in.kind, out.kind);
    assert_int_equal(in.path, out.path);
    assert_memory_equal(in.echo, out.echo, sizeof in.echo);
    assert_memory_equal(in.token, out.token, sizeof in.token);
    assert_int_equal(kith_probe_open(other, data, sizeof data, &number, &out), KITH_ERR_CRYPTO);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] ^= 1;
        assert_int_equal(kith_probe_open(key, data, sizeof data, &number, &out), KITH_ERR_CRYPTO);
        data[i] ^= 1;
    }
    /* Only a CHALLENGE and what answers it may be small. */
    static const size_t sizes[] = {KITH_PROBE_SIZE_MIN, KITH_PROBE_SIZE_MIN + 1, KITH_PROBE_SIZE - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int kind = KITH_PROBE_ASK; kind <= KITH_PROBE_CONFIRM; kind++) {
            in.kind = (kith_probe_kind)kind;
            assert_ok(kith_probe_seal(key, id, 1, &in, sizes[i], data));
            assert_non_null(kith_probe_id(data, sizes[i]));
            assert_int_equal(kith_probe_open(key, data, sizes[i], &number, &out),
                             kind < KITH_PROBE_CHALLENGE ? KITH_ERR_PROTOCOL : KITH_OK);
        }
    }
    assert_memory_equal(in.token, out.token, sizeof in.token);
    assert_int_equal(kith_probe_seal(key, id, 1, &in, KITH_PROBE_SIZE_MIN - 1, data), KITH_ERR_ARG);
    assert_int_equal(kith_probe_seal(key, id, 1, &in, KITH_PROBE_SIZE + 1, data), KITH_ERR_ARG);
    in.kind = 9;
    assert_ok(kith_probe_seal(key, id, 1, &in, sizeof data, data));
    assert_int_equal(kith_probe_open(key, data, sizeof data, &number, &out), KITH_ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(probe_format),
        TEST(probing),
        TEST(lost_probes_are_repeated),
        TEST(moving),
        TEST(back_and_forth),
        TEST(a_gap_between_moves),
        TEST(smaller_mtu),
        TEST(rebinding),
        TEST(thieves),
        TEST(a_pinned_one_stays),
    };
    return cmocka_run_group_tests_name("quic/paths", tests, crypto_setup, NULL);
}
