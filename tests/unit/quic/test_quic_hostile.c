/* What strangers and broken networks do: garbage, replays, mutations in every state, forged sources, no memory. */
#include "link.h"

#include "quic/probe.h"
#include "quic/state.h"

/* ---- a log of real datagrams, to be replayed and mutated ---- */

#define LOG_MAX 400

typedef struct book {
    flight *copies[LOG_MAX];
    size_t count;
} book;

static bool remember(link_t *l, int from, flight *f)
{
    book *b = l->user;
    (void)from;
    if (b->count == LOG_MAX) return true;
    flight *copy = flight_of(f->data, f->size);
    copy->from = f->from;
    copy->to = f->to;
    b->copies[b->count++] = copy;
    return true;
}

static void book_free(book *b)
{
    for (size_t i = 0; i < b->count; i++) free(b->copies[i]);
    b->count = 0;
}

/* Arrives now. */
static void inject(link_t *l, const flight *f, const uint8_t *data, size_t size, bool other_source)
{
    flight *copy = flight_of(data, size);
    copy->from = f->from;
    copy->to = f->to;
    if (other_source) copy->from.port++;
    deliver(l, copy);
    free(copy);
}

static void mutate(link_t *l, const flight *f, uint8_t *out, size_t *size)
{
    memcpy(out, f->data, f->size);
    *size = f->size;
    for (uint64_t n = draw(l) % 4; n != UINT64_MAX; n--) {
        size_t at = draw(l) % (draw(l) % 2 && *size > 40 ? 40 : *size); /* headers more often */
        switch (draw(l) % 4) {
        case 0: out[at] ^= (uint8_t)(1u << draw(l) % 8); break;
        case 1: out[at] = (uint8_t)draw(l); break;
        case 2: *size = at + 1; break;
        default:
            if (*size + 8 < 2000) memmove(out + at + 4, out + at, *size - at), *size += 4;
            break;
        }
    }
}

static void attack(link_t *l, book *b, int rounds)
{
    uint8_t data[2048];
    for (int i = 0; i < rounds; i++) {
        const flight *f = b->copies[draw(l) % b->count];
        size_t size;
        mutate(l, f, data, &size);
        inject(l, f, data, size, draw(l) % 8 == 0);
        if (i % 16 == 0) settle(l);
    }
    settle(l);
}

static void fill_book(link_t *l, book *b)
{
    link_init(l, 77);
    l->life = 1;
    assert_ok(link_start(l, NULL, NULL));
    l->hook = remember;
    l->user = b;
    l->ends[0].echo = l->ends[1].drain = true;
    kith_conn *conn = connect_both(l);
    kith_stream *s;
    uint8_t *data = pattern(20000, 1);
    assert_ok(kith_stream_open(conn, true, &s));
    assert_ok(kith_stream_write(s, data, 20000));
    assert_ok(kith_stream_finish(s));
    run_for(l, S);
    kith_conn_close(conn, 1, "x", l->now);
    run_for(l, S);
    l->hook = NULL;
    free(data);
    link_free(l);
}

enum { STATE_FIRST, STATE_ONE_RTT, STATE_MESSAGE_3, STATE_ESTABLISHED, STATE_BUSY, STATE_CLOSING, STATES };

/* A thousand mutated datagrams of this very connection in each state; it must not notice. */
static void mutations(void **state)
{
    (void)state;
    book b = {0};
    link_t l;
    uint8_t *data = pattern(60000, 1);
    for (int at = 0; at < STATES; at++) {
        fill_book(&l, &b); /* packets of an earlier life, as strangers' */
        link_init(&l, (uint64_t)at + 5);
        assert_ok(link_start(&l, NULL, NULL));
        l.hook = remember;
        l.user = &b;
        b.count = b.count > 100 ? 100 : b.count; /* and of this one */
        l.ends[0].echo = l.ends[1].drain = true;
        kith_conn *conn;
        kith_stream *s;
        assert_ok(dial(&l, NULL, &conn));
        if (at == STATE_FIRST) settle(&l);
        if (at == STATE_ONE_RTT) run_for(&l, 11 * MS);
        if (at == STATE_MESSAGE_3) run_for(&l, 21 * MS);
        if (at < STATE_ESTABLISHED) attack(&l, &b, 1000);
        assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, 9 * S));
        run_for(&l, S);
        if (at == STATE_ESTABLISHED) attack(&l, &b, 1000);
        assert_ok(kith_stream_open(conn, true, &s));
        assert_ok(kith_stream_write(s, data, 60000));
        assert_ok(kith_stream_finish(s));
        if (at == STATE_BUSY) {
            run_for(&l, 15 * MS);
            attack(&l, &b, 1000);
        }
        run_for(&l, 10 * S);
        assert_int_equal(l.ends[1].received, 60000);
        assert_int_equal(l.ends[1].checksum, checksum_of(data, 60000));
        assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
        kith_conn_close(conn, 5, NULL, l.now);
        settle(&l);
        if (at == STATE_CLOSING) attack(&l, &b, 1000);
        run_for(&l, 20 * S);
        if (at == STATE_CLOSING) attack(&l, &b, 1000); /* and after it */
        assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED], 1);
        assert_int_equal(l.ends[0].last[KITH_QUIC_CLOSED].code, 5);
        book_free(&b);
        link_free(&l);
    }
    free(data);
}

static void replays(void **state)
{
    (void)state;
    link_t l;
    book b = {0};
    link_init(&l, 3);
    assert_ok(link_start(&l, NULL, NULL));
    l.hook = remember;
    l.user = &b;
    l.ends[0].echo = l.ends[1].drain = true;
    kith_conn *conn = connect_both(&l);
    kith_stream *s;
    uint8_t *data = pattern(60000, 1);
    assert_ok(kith_stream_open(conn, true, &s));
    assert_ok(kith_stream_write(s, data, 60000));
    for (int round = 0; round < 10; round++) {
        run_for(&l, 20 * MS);
        size_t count = b.count;
        for (size_t i = 0; i < count; i++) inject(&l, b.copies[i], b.copies[i]->data, b.copies[i]->size, round % 2);
    }
    assert_ok(kith_stream_finish(s));
    run_for(&l, 10 * S);
    assert_int_equal(l.ends[1].received, 60000);
    assert_int_equal(l.ends[0].received, 60000);
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
    assert_int_equal(l.ends[0].count[KITH_QUIC_ACCEPTED], 1);
    kith_addr remote = kith_conn_remote_addr(l.ends[0].conn); /* the replayer's address did not take over */
    assert_true(kith_addr_equal(&remote, &l.ends[1].addr));
    free(data);
    book_free(&b);
    link_free(&l);
}

static void garbage(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 3);
    assert_ok(link_start(&l, NULL, NULL));
    static uint8_t data[65000];
    flight to = {.from = addr_of("10.7.7.7:7"), .to = l.ends[0].addr};
    uint64_t in = 0;
    for (int i = 0; i < 20000; i++) {
        size_t size = draw(&l) % 3 ? draw(&l) % 1500 + 1 : draw(&l) % 50 + 1;
        for (size_t k = 0; k < (size < 64 ? size : 64); k++) data[k] = (uint8_t)draw(&l);
        if (i % 3 == 0 && size > 5) memcpy(data + 1, "\x48\x51\x01\x01", 4);
        inject(&l, &to, data, size, false);
        in += size;
        l.now += MS / 10;
        if (i % 8 == 0) drain_output(&l, 0);
    }
    inject(&l, &to, data, 65000, false);
    drain_output(&l, 0);
    assert_true(l.ends[0].sent_bytes <= in);
    run_for(&l, 30 * S);
    l.ends[0].sent_bytes = 0;
    connect_both(&l); /* it still serves */
    link_free(&l);
}

/* The source of the Initial is forged: whoever is there gets at most three times as much (RFC 9000 section 8.1). */
static void amplification(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 3);
    assert_ok(link_start(&l, NULL, NULL));
    book b = {0};
    kith_conn *conn;
    l.hook = remember;
    l.user = &b;
    assert_ok(dial(&l, NULL, &conn));
    settle(&l);
    assert_int_equal(b.count, 1);
    kith_conn_free(conn);
    b.copies[0]->from = addr_of("10.8.8.8:8");
    inject(&l, b.copies[0], b.copies[0]->data, b.copies[0]->size, false);
    run_for(&l, 60 * S);
    assert_true(l.ends[0].sent_bytes > 0 && l.ends[0].sent_bytes <= 3 * b.copies[0]->size);
    book_free(&b);
    link_free(&l);
}

/* Two endpoints that know nothing of each other's packets do not reset each other for ever. */
static void no_reset_storm(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 3);
    assert_ok(link_start(&l, NULL, NULL));
    uint8_t data[1200] = {0x41, 1, 2, 3};
    flight to = {.from = l.ends[1].addr, .to = l.ends[0].addr};
    inject(&l, &to, data, sizeof data, false);
    run_for(&l, 10 * S);
    assert_true(l.ends[0].sent_packets >= 1);
    assert_true(l.ends[0].sent_packets + l.ends[1].sent_packets < 30);
    l.ends[0].sent_packets = 0;
    for (int i = 0; i < 5000; i++) {
        data[1] = (uint8_t)i;
        inject(&l, &to, data, sizeof data, false);
        if (i % 8 == 0) drain_output(&l, 0);
    }
    assert_true(l.ends[0].sent_packets <= 110); /* a hundred a second */
    assert_false(kith_quic_deadline_ns(l.ends[0].q) < l.now);
    link_free(&l);
}

/* ---- what waits to be sent ---- */

#define CROWD 200

/* So many strangers at once that not all are answered. */
static void strangers(link_t *l, int end)
{
    uint8_t data[1200] = {0xc0, 9, 9, 9, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0};
    flight to = {.from = addr_of("10.7.7.7:7"), .to = l->ends[end].addr};
    for (int i = 0; i < CROWD; i++) inject(l, &to, data, sizeof data, false);
    assert_int_equal(l->ends[end].q->strangers_waiting, KITH_STRANGERS_MAX);
}

/* Whoever holds a connection's keys asks as much as goes. */
static void asks(link_t *l, kith_conn *conn)
{
    uint8_t data[KITH_PROBE_SIZE];
    flight to = {.from = l->ends[1].addr, .to = l->ends[0].addr};
    for (int i = 0; i < CROWD; i++) {
        kith_probe probe = {.kind = KITH_PROBE_ASK, .path = 2};
        assert_ok(
            kith_probe_seal(conn->probe_keys[0], conn->probe_ids[0], conn->probe_sent++, &probe, sizeof data, data));
        inject(l, &to, data, sizeof data, false);
    }
}

/* Neither takes the places of others. */
static void a_crowd_starves_nobody(void **state)
{
    (void)state;
    link_t l;
    uint32_t path;
    link_init(&l, 3);
    l.ends[1].other = addr_of("10.0.1.2:2000");
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *loud = connect_both(&l), *loud_there = l.ends[0].conn, *other;
    assert_ok(dial(&l, NULL, &other));
    assert_true(run_until(&l, 0, KITH_QUIC_ACCEPTED, 2, S));
    run_for(&l, S);
    strangers(&l, 0);
    asks(&l, loud);
    assert_in_range(loud_there->probes_waiting, 1, KITH_PROBES_MAX);
    assert_ok(kith_conn_probe(l.ends[0].conn, NULL, &l.ends[1].other, l.now, &path));
    assert_true(run_until(&l, 0, KITH_QUIC_PATH, 1, 2 * l.delay)); /* the first was sent: it is not repeated so soon */
    assert_int_equal(l.ends[0].last[KITH_QUIC_PATH].err, KITH_OK);
    /* What waits of a connection that is gone goes nowhere. */
    run_for(&l, 2 * S);
    asks(&l, loud);
    assert_true(loud_there->probes_waiting > 0);
    kith_conn_free(loud_there);
    run_for(&l, S);
    link_free(&l);
}

/* Each of many that are closed and freed at once says goodbye, with a crowd before them. */
static void all_goodbyes(void **state)
{
    (void)state;
    link_t l;
    enum { MANY = 2 * KITH_STRANGERS_MAX };
    kith_conn *conns[MANY];
    link_init(&l, 3);
    assert_ok(link_start(&l, NULL, NULL));
    for (int i = 0; i < MANY; i++) {
        conns[i] = connect_both(&l);
        l.ends[0].count[KITH_QUIC_ACCEPTED] = l.ends[1].count[KITH_QUIC_CONNECTED] = 0;
    }
    run_for(&l, S);
    strangers(&l, 1);
    for (int i = 0; i < MANY; i++) {
        kith_conn_close(conns[i], 5, "bye", l.now);
        kith_conn_free(conns[i]);
    }
    run_for(&l, 2 * l.delay);
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED], MANY);
    assert_int_equal(l.ends[0].last[KITH_QUIC_CLOSED].code, 5);
    link_free(&l);
}

/* ---- memory ---- */

static void one_session(unsigned which)
{
    link_t l;
    kith_conn *conn = NULL;
    kith_stream *s = NULL;
    uint32_t path;
    kith_quic_config strict = {.always_retry = which & 1};
    link_init(&l, 3);
    l.ends[0].echo = l.ends[1].drain = true;
    l.ends[0].other = addr_of("10.0.1.1:1000");
    if (link_start(&l, &strict, NULL) || dial(&l, NULL, &conn)) goto done;
    run_until(&l, 1, KITH_QUIC_CONNECTED, 1, 2 * S);
    uint8_t *data = pattern(40000, 1);
    if (kith_stream_open(conn, true, &s) == KITH_OK) {
        kith_err err = kith_stream_write(s, data, 20000);
        if (!err) err = kith_stream_lend(s, data, 20000);
        if (!err) err = kith_stream_finish(s);
        run_for(&l, 300 * MS);
        if (kith_conn_update_keys(conn, l.now) == KITH_OK) run_for(&l, 100 * MS);
        if (kith_conn_probe(conn, NULL, &l.ends[0].other, l.now, &path) == KITH_OK) run_for(&l, 300 * MS);
        if (kith_conn_move(conn, path, false, l.now) == KITH_OK) run_for(&l, 300 * MS);
        if (!err) kith_stream_free(s);
    }
    kith_conn_close(conn, 0, "done", l.now);
    run_for(&l, S);
    kith_conn_free(conn);
    free(data);
done:
    link_free(&l);
}

static void no_memory(void **state)
{
    (void)state;
    uint64_t most = 0;
    for (unsigned which = 0; which < 4; which++) {
        for (uint64_t n = 1;; n++) {
            int64_t live = kith_mem_live();
            kith_mem_fail_at(n, which & 2);
            one_session(which);
            bool failed = kith_mem_failed();
            kith_mem_fail_at(0, false);
            if (kith_mem_live() != live) fail_msg("allocation %llu: leak", (unsigned long long)n);
            if (!failed) break;
            most = n;
        }
    }
    printf("%llu allocations in a session\n", (unsigned long long)most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mutations),     TEST(replays),        TEST(garbage),
        TEST(amplification), TEST(no_reset_storm), TEST(a_crowd_starves_nobody),
        TEST(all_goodbyes),  TEST(no_memory),
    };
    return cmocka_run_group_tests_name("quic/hostile", tests, crypto_setup, NULL);
}
