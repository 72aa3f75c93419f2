/* A dialler that knows no probes of ours (another implementation) and whose address changes; and those who would make
 * it look so. */
#include "link.h"

#include "quic/probe.h"
#include "quic/state.h"

#define FOLLOW_NS UINT64_C(250000000) /* as in follow.c: so long both are watched */

typedef struct world {
    kith_addr from;      /* what the accepter sees of the dialler, once set */
    bool old_closed;     /* what goes elsewhere is lost */
    kith_addr thief;     /* who copies what the dialler sends, once set */
    uint64_t thief_sent; /* bytes from there, and to there */
    uint64_t thief_got;
    bool deaf;               /* the dialler's own packets are lost */
    uint64_t first_from_new; /* when the first datagram went to `from` */
} world;

/* Probes are nobody's here: the dialler is not Kith. */
static bool foreign(link_t *l, int from, flight *f)
{
    world *w = l->user;
    if (kith_addr_equal(&f->to, &w->thief)) {
        w->thief_got += f->size;
        return false;
    }
    if (from == 1 && w->thief.family) {
        flight *copy = flight_of(f->data, f->size);
        copy->from = w->thief;
        copy->to = f->to;
        copy->at = l->now + l->delay - MS; /* and is quicker */
        fly(l, copy);
        w->thief_sent += f->size;
        if (w->deaf) return false;
    }
    if (f->data[0] == KITH_PROBE_BYTE) return false;
    if (!w->from.family) return true;
    if (from == 1) {
        f->from = w->from;
        return true;
    }
    if (!kith_addr_equal(&f->to, &w->from)) return !w->old_closed;
    if (!w->first_from_new) w->first_from_new = l->now;
    f->to = l->ends[1].addr;
    return true;
}

static kith_conn *begin(link_t *l, world *w, uint64_t seed)
{
    link_init(l, seed);
    l->ends[0].echo = l->ends[0].drain = l->ends[1].drain = true;
    l->hook = foreign;
    l->user = w;
    assert_ok(link_start(l, NULL, NULL));
    kith_conn *conn = connect_both(l);
    run_for(l, S);
    return conn;
}

static void goes_to(world *w, const char *text) { *w = (world){.from = addr_of(text), .old_closed = true}; }

static bool is_at(link_t *l, const char *text)
{
    kith_addr there = kith_conn_remote_addr(l->ends[0].conn), wanted = addr_of(text);
    return kith_addr_equal(&there, &wanted);
}

/* In the middle of an echo: another port, another host, and back; with and without loss. */
static void followed(void **state)
{
    static const char *const places[] = {"10.0.0.2:3000", "10.0.0.2:3001", "10.3.0.2:3001", "10.0.0.2:2000"};
    (void)state;
    for (unsigned loss = 0; loss <= 50; loss += 50) {
        link_t l;
        world w = {0};
        kith_conn *conn = begin(&l, &w, 5 + loss);
        size_t size = 1u << 20;
        uint8_t *data = pattern(size, 1);
        kith_stream *s;
        assert_ok(kith_stream_open(conn, true, &s));
        l.loss = loss;
        l.rate = 1000000;
        for (int i = 0; i < 4; i++) {
            assert_ok(kith_stream_write(s, data, size));
            run_for(&l, 400 * MS);
            assert_true(l.ends[1].received < (size_t)(i + 1) * size);
            goes_to(&w, places[i]);
            uint64_t start = l.now;
            assert_true(run_until(&l, 0, KITH_QUIC_MOVED, i + 1, 10 * S));
            assert_true(is_at(&l, places[i]));
            assert_in_range(w.first_from_new - start, FOLLOW_NS, 5 * S);
            run_for(&l, 20 * S);
            assert_int_equal(l.ends[1].received, (size_t)(i + 1) * size);
            assert_ok(kith_conn_update_keys(i % 2 ? conn : l.ends[0].conn, l.now));
        }
        assert_int_equal(l.ends[0].count[KITH_QUIC_MOVED], 4);
        assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
        free(data);
        link_free(&l);
    }
}

/* It moves as RFC 9000 section 9.2 has it, with another connection id, from a way that is dead. */
static void followed_with_another_id(void **state)
{
    (void)state;
    link_t l;
    world w = {0};
    kith_conn *conn = begin(&l, &w, 9);
    kith_stream *s;
    assert_ok(kith_stream_open(conn, true, &s));
    for (int i = 1; i <= 6; i++) {
        char place[32];
        snprintf(place, sizeof place, "10.4.0.%d:4000", i);
        conn->paths[2 * i % 4] = (kith_path){.used = true, .good = true, .remote = l.ends[0].addr};
        kith__path_in_use(conn, 2);
        goes_to(&w, place);
        assert_ok(kith_conn_move(conn, 2 * (unsigned)i % 4, true, l.now));
        assert_ok(kith_stream_write(s, "move", 4));
        assert_true(run_until(&l, 0, KITH_QUIC_MOVED, i, 5 * S));
        assert_true(is_at(&l, place));
        run_for(&l, 5 * S);
        assert_int_equal(l.ends[1].received, 4 * i);
    }
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
    link_free(&l);
}

/* One that is pinned, or has proved by a probe that it knows them, is not. */
static void not_followed(void **state)
{
    (void)state;
    for (int probing = 0; probing < 2; probing++) {
        link_t l;
        world w = {0};
        kith_conn *conn = begin(&l, &w, 9);
        kith_stream *s;
        uint32_t path;
        assert_ok(kith_stream_open(conn, true, &s));
        if (probing) {
            kith_addr nobody = addr_of("10.0.0.1:1000");
            l.hook = NULL;
            assert_ok(kith_conn_probe(conn, NULL, &nobody, l.now, &path));
            run_for(&l, S);
            l.hook = foreign;
        } else {
            kith_conn_pin(l.ends[0].conn);
        }
        goes_to(&w, "10.0.0.2:3000");
        w.old_closed = false;
        for (int i = 0; i < 10; i++) {
            assert_ok(kith_stream_write(s, "x", 1));
            run_for(&l, S);
        }
        assert_true(is_at(&l, "10.0.0.2:2000"));
        assert_int_equal(l.ends[1].received, 10);
        link_free(&l);
    }
}

/* RFC 9000 sections 9.3.2 and 9.3.3. */
static void copies_move_nothing(void **state)
{
    (void)state;
    link_t l;
    world w = {0};
    kith_conn *conn = begin(&l, &w, 3);
    kith_stream *s;
    uint8_t *data = pattern(100000, 1);
    assert_ok(kith_stream_open(conn, true, &s));
    w.thief = addr_of("10.5.5.5:5");
    for (int i = 0; i < 20; i++) {
        assert_ok(kith_stream_write(s, data, 100000));
        run_for(&l, 700 * MS);
        assert_true(is_at(&l, "10.0.0.2:2000"));
        assert_int_equal(l.ends[1].received, (i + 1) * 100000);
    }
    assert_int_equal(l.ends[0].count[KITH_QUIC_MOVED], 0);
    assert_true(w.thief_got > 0 && w.thief_got <= 3 * w.thief_sent);
    free(data);
    link_free(&l);
}

/* And who keeps the dialler's packets back, but cannot answer, has the connection only until it is asked in vain; what
 * it is sent meanwhile is bounded, and nobody is told of it. */
static void theft_does_not_last(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        link_t l;
        world w = {0};
        kith_conn *conn = begin(&l, &w, seed);
        kith_stream *s;
        uint8_t *data = pattern(1000000, 1);
        assert_ok(kith_stream_open(conn, true, &s));
        l.rate = 1000000;
        assert_ok(kith_stream_write(s, data, 1000000));
        run_for(&l, 300 * MS);
        w.thief = addr_of("10.5.5.5:5");
        w.deaf = true;
        uint64_t until = l.now + 5 * S;
        while (!is_at(&l, "10.5.5.5:5") && step(&l, until)) continue;
        assert_true(is_at(&l, "10.5.5.5:5")); /* it looks like one who moved */
        if (seed % 2) run_for(&l, 100 * MS);
        w.deaf = false; /* the peer is heard again, or it is not and time goes by */
        if (seed % 2) w.thief = (kith_addr){0};
        run_for(&l, 20 * S);
        assert_true(is_at(&l, "10.0.0.2:2000"));
        assert_int_equal(l.ends[1].received, 1000000);
        assert_int_equal(l.ends[0].count[KITH_QUIC_MOVED], 0);
        assert_true(w.thief_got <= 3 * w.thief_sent);
        assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
        free(data);
        link_free(&l);
    }
}

/* ---- a peer that wants somebody else to be sent much ---- */

typedef struct liar {
    kith_addr victim, really; /* who it says to be; where it is, once set */
    uint64_t sent, got, packets;
    unsigned every;
} liar;

#define SMALL 200

/* Of its small packets every so many-th says to be from its victim. */
static bool lie(link_t *l, int from, flight *f)
{
    liar *v = l->user;
    (void)l;
    if (kith_addr_equal(&f->to, &v->victim)) {
        v->got += f->size;
        assert_true(v->got <= 3 * v->sent); /* at any time */
        return false;
    }
    if (from == 1 && f->data[0] != KITH_PROBE_BYTE && f->size < SMALL && ++v->packets % v->every == 0) {
        f->from = v->victim;
        v->sent += f->size;
    } else if (from == 1 && v->really.family) {
        f->from = v->really;
    }
    return true;
}

static void nobody_is_flooded(void **state)
{
    (void)state;
    for (unsigned every = 1; every <= 6; every++) {
        link_t l;
        world w = {0};
        liar v = {.victim = addr_of("10.9.9.9:9"), .every = every};
        if (every > 3) v.really = addr_of("10.8.8.8:8");
        kith_conn *conn = begin(&l, &w, every);
        kith_stream *s;
        uint8_t data[1000] = {0};
        assert_ok(kith_stream_open(conn, true, &s));
        l.hook = lie;
        l.user = &v;
        for (int i = 0; i < 200; i++) {
            assert_ok(kith_stream_write(s, data, i % 4 ? 1 : 1000));
            run_for(&l, 30 * MS);
        }
        assert_true(v.sent > 0 && v.got > 0);
        link_free(&l);
    }
}

/* ---- anything at all ---- */

/* For a second or two it is here and there, much is lost, and a thief copies; then it stays where it is. */
static void wander(link_t *l, world *w, kith_stream *s, size_t *sent)
{
    static uint8_t data[20000];
    unsigned loss = (unsigned)(draw(l) % 100);
    for (int i = 0; i < 5; i++) {
        char place[32];
        snprintf(place, sizeof place, "10.0.%d.2:%d", (int)(draw(l) % 2), 2000 + (int)(draw(l) % 3));
        if (draw(l) % 2) goes_to(w, place);
        w->old_closed = draw(l) % 2;
        w->thief = draw(l) % 5 ? (kith_addr){0} : addr_of("10.5.5.5:5");
        w->deaf = draw(l) % 2;
        l->loss = loss;
        size_t n = draw(l) % sizeof data;
        assert_ok(kith_stream_write(s, data, n));
        *sent += n;
        run_for(l, draw(l) % 400 * MS);
    }
    w->thief = (kith_addr){0};
    l->loss = 0;
    assert_ok(kith_stream_write(s, data, 1));
    *sent += 1;
    run_for(l, 25 * S);
}

static void wanderings(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        link_t l;
        world w = {0};
        kith_conn *conn = begin(&l, &w, seed);
        kith_stream *s;
        size_t sent = 0;
        assert_ok(kith_stream_open(conn, true, &s));
        l.jitter = seed % 2 ? 30 * MS : 0;
        for (int i = 0; i < 10; i++) {
            wander(&l, &w, s, &sent);
            assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
            assert_int_equal(l.ends[1].received, sent);
        }
        link_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(followed),
        TEST(followed_with_another_id),
        TEST(not_followed),
        TEST(copies_move_nothing),
        TEST(theft_does_not_last),
        TEST(nobody_is_flooded),
        TEST(wanderings),
    };
    return cmocka_run_group_tests_name("quic/follow", tests, crypto_setup, NULL);
}
