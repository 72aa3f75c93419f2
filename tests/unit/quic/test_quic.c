/* Connections: opening, sending, closing, limits, and what strangers send. */
#include "link.h"

#include "quic/version.h"

static void handshake(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    uint64_t start = l.now;
    kith_conn *conn;
    uint8_t expected[32], value[32], other[32];
    kith_x25519_public(static_secrets[0], expected);
    assert_ok(dial(&l, expected, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, S));
    assert_int_equal(l.now - start, 20 * MS); /* data can go after one round trip */
    assert_true(run_until(&l, 0, KITH_QUIC_ACCEPTED, 1, S));
    assert_int_equal(l.now - start, 30 * MS);
    assert_ptr_equal(l.ends[1].conn, conn);
    assert_true(kith_conn_is_dialler(conn) && !kith_conn_is_dialler(l.ends[0].conn));
    kith_conn_remote_static(conn, value);
    assert_memory_equal(value, expected, 32);
    kith_conn_remote_static(l.ends[0].conn, value);
    kith_x25519_public(static_secrets[1], other);
    assert_memory_equal(value, other, 32);
    kith_conn_handshake_hash(conn, value);
    kith_conn_handshake_hash(l.ends[0].conn, other);
    assert_memory_equal(value, other, 32);
    link_free(&l);
}

static void echo_after_two_round_trips(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].echo = l.ends[1].drain = true;
    kith_conn *conn;
    kith_stream *s;
    uint64_t start = l.now;
    assert_ok(dial(&l, NULL, &conn));
    assert_int_equal(kith_stream_open(conn, true, &s), KITH_ERR_STATE);
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, S));
    assert_ok(kith_stream_open(conn, true, &s));
    assert_ok(kith_stream_write(s, "hello", 5));
    assert_ok(kith_stream_finish(s));
    assert_int_equal(kith_stream_finish(s), KITH_ERR_STATE);
    assert_int_equal(kith_stream_write(s, "x", 1), KITH_ERR_STATE);
    assert_true(run_until(&l, 1, KITH_QUIC_READABLE, 1, S));
    assert_int_equal(l.now - start, 40 * MS);
    run_for(&l, S);
    assert_int_equal(l.ends[1].received, 5);
    assert_int_equal(l.ends[1].streams_finished, 1);
    assert_true(kith_stream_all_acked(s));
    link_free(&l);
}

typedef struct many {
    unsigned loss, duplicate;
    uint64_t jitter;
} many;

static void many_streams(const many *m, uint8_t trace_out[32])
{
    link_t l;
    link_init(&l, 5);
    l.loss = m->loss;
    l.duplicate = m->duplicate;
    l.jitter = m->jitter;
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].echo = l.ends[0].drain = l.ends[1].drain = true;
    l.ends[0].greedy_free = true;
    kith_conn *conn = connect_both(&l);
    uint8_t *data = pattern(300000, 3);
    uint32_t want_back = 0, want_there = 0;
    size_t total = 0, total_there = 0;
    kith_stream *streams[80];
    for (int i = 0; i < 80; i++) {
        size_t size = (size_t)(i * 701) % 20000 + (i == 7 ? 280000 : 0);
        bool bidi = i % 2 == 0;
        assert_ok(kith_stream_open(conn, bidi, &streams[i]));
        assert_ok(kith_stream_write(streams[i], data, size));
        assert_ok(kith_stream_finish(streams[i]));
        want_there += checksum_of(data, size);
        total_there += size;
        if (!bidi) continue;
        want_back += checksum_of(data, size);
        total += size;
    }
    run_for(&l, 60 * S);
    assert_int_equal(l.ends[0].received, total_there);
    assert_int_equal(l.ends[0].checksum, want_there);
    assert_int_equal(l.ends[1].received, total);
    assert_int_equal(l.ends[1].checksum, want_back);
    assert_int_equal(l.ends[0].streams_finished, 80);
    assert_int_equal(l.ends[1].streams_finished, 40);
    for (int i = 0; i < 80; i++) {
        assert_true(kith_stream_all_acked(streams[i]));
        kith_stream_free(streams[i]);
    }
    kith_conn_stats stats;
    kith_conn_get_stats(conn, &stats);
    if (m->loss) assert_true(stats.lost_packets > 0);
    if (!m->loss && !m->jitter) assert_int_equal(stats.lost_packets, 0);
    assert_true(stats.rtt_ns >= 20 * MS && stats.rtt_ns < 400 * MS);
    memcpy(trace_out, l.trace, 32);
    free(data);
    link_free(&l);
}

static void streams_and_loss(void **state)
{
    (void)state;
    static const many cases[] = {{0, 0, 0}, {50, 0, 0}, {0, 100, 0}, {0, 0, 30 * MS}, {150, 50, 10 * MS}};
    uint8_t a[32], b[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        many_streams(&cases[i], a);
        many_streams(&cases[i], b);
        assert_memory_equal(a, b, 32); /* same seeds, same packets */
    }
}

static void wrong_device(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    uint8_t expected[32];
    kith_conn *conn;
    kith_x25519_public(static_secrets[1], expected);
    assert_ok(dial(&l, expected, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CLOSED, 1, 5 * S));
    assert_int_equal(l.ends[1].last[KITH_QUIC_CLOSED].err, KITH_ERR_WRONG_DEVICE);
    assert_false(l.ends[1].last[KITH_QUIC_CLOSED].by_peer);
    assert_int_equal(l.ends[1].count[KITH_QUIC_CONNECTED], 0);
    run_for(&l, 15 * S);
    assert_int_equal(l.ends[0].count[KITH_QUIC_ACCEPTED], 0); /* message 3 never came: our key was not shown */
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED], 0);
    kith_conn_free(conn);
    link_free(&l);
}

static void nobody_answers(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn;
    l.loss = 1000;
    uint64_t start = l.now;
    assert_ok(dial(&l, NULL, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CLOSED, 1, 60 * S));
    assert_int_equal(l.ends[1].last[KITH_QUIC_CLOSED].err, KITH_ERR_TIMEOUT);
    assert_int_equal((l.now - start) / S, 10);
    kith_conn_free(conn);
    link_free(&l);
}

static void big_transfer(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 9);
    l.loss = 5;
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].drain = true;
    kith_conn *conn = connect_both(&l);
    size_t size = 24u << 20;
    uint8_t *data = pattern(size, 5);
    kith_stream *s;
    assert_ok(kith_stream_open(conn, false, &s));
    assert_ok(kith_stream_lend(s, data, size));
    assert_ok(kith_stream_finish(s));
    assert_int_equal(kith_stream_unsent(s), size);
    run_for(&l, 120 * S);
    assert_int_equal(l.ends[0].received, size);
    assert_int_equal(l.ends[0].checksum, checksum_of(data, size));
    assert_true(kith_stream_all_acked(s));
    assert_int_equal(kith_stream_returned(s), size);
    assert_true(l.ends[1].count[KITH_QUIC_RETURNED] > 0);
    assert_true(l.ends[1].count[KITH_QUIC_WRITABLE] > 0);
    kith_conn_stats stats;
    kith_conn_get_stats(conn, &stats);
    assert_int_equal(stats.mtu, 1452);
    assert_true(stats.sent_bytes > size && stats.sent_bytes < size + size / 5);
    free(data);
    link_free(&l);
}

/* A receiver that does not read gets its window's worth and not a byte more, of a stream and of the connection. */
static void flow_control(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 9);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    size_t size = 4u << 20, seen = 0;
    uint8_t *data = pattern(size, 5);
    kith_stream *s[3];
    for (int i = 0; i < 3; i++) {
        assert_ok(kith_stream_open(conn, false, &s[i]));
        assert_ok(kith_stream_lend(s[i], data, size));
    }
    run_for(&l, 20 * S);
    for (int i = 0; i < 3; i++) {
        uint64_t sent = kith_stream_written(s[i]) - kith_stream_unsent(s[i]);
        assert_true(sent <= 1u << 20);
        seen += sent;
    }
    assert_int_equal(seen, 3u << 19); /* the connection's window */
    kith_stream_reset(s[0], 0);
    run_for(&l, S);
    kith_stream_free(l.ends[0].last[KITH_QUIC_RESET].stream);
    /* Now one stream is read. */
    const uint8_t *view;
    bool fin;
    for (int round = 0; round < 2000; round++) {
        while (kith_stream_peek(l.ends[0].opened, &view, &size, &fin)) {
            l.ends[0].received += size;
            kith_stream_consume(l.ends[0].opened, size);
        }
        run_for(&l, 5 * MS);
    }
    assert_int_equal(l.ends[0].received, 4u << 20); /* the one that is not read does not stop it */
    kith_conn_free(conn);
    free(data);
    link_free(&l);
}

static void key_updates(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 11);
    l.loss = 10;
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].echo = l.ends[1].drain = true;
    kith_conn *conn = connect_both(&l);
    size_t piece = 30u << 10, size = 400 * piece; /* bytes flow all the while, whatever the rate could be */
    uint8_t *data = pattern(size, 5);
    kith_stream *s;
    int done[2] = {0}, busy = 0;
    assert_ok(kith_stream_open(conn, true, &s));
    for (size_t i = 0; i < 400; i++) {
        assert_ok(kith_stream_lend(s, data + i * piece, piece));
        run_for(&l, 50 * MS);
        bool side = i / 8 % 2;
        kith_err err = kith_conn_update_keys(side ? conn : l.ends[0].conn, l.now);
        if (err == KITH_OK)
            done[side]++;
        else
            assert_int_equal(err, KITH_ERR_AGAIN), busy++;
    }
    assert_ok(kith_stream_finish(s));
    run_for(&l, 5000 * MS);
    assert_int_equal(l.ends[1].received, size);
    assert_int_equal(l.ends[1].checksum, checksum_of(data, size));
    assert_true(done[0] > 3 && done[1] > 3 && busy > 0);
    kith_conn_stats stats;
    for (int i = 0; i < 2; i++) {
        kith_conn_get_stats(i ? conn : l.ends[0].conn, &stats);
        assert_in_range(stats.key_updates, (uint64_t)(done[0] + done[1]) - 2, (uint64_t)(done[0] + done[1]));
    }
    free(data);
    link_free(&l);
}

static void reset_and_stop(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    uint8_t *data = pattern(3u << 20, 5);
    kith_stream *a, *b;
    assert_ok(kith_stream_open(conn, true, &a));
    assert_ok(kith_stream_lend(a, data, 3u << 20));
    assert_true(run_until(&l, 0, KITH_QUIC_READABLE, 1, S));
    b = l.ends[0].opened;
    kith_stream_reset(a, 77);
    memset(data, 0xee, 3u << 20); /* it is ours again */
    assert_int_equal(kith_stream_write(a, "x", 1), KITH_ERR_STATE);
    assert_true(run_until(&l, 0, KITH_QUIC_RESET, 1, S));
    assert_int_equal(l.ends[0].last[KITH_QUIC_RESET].code, 77);
    const uint8_t *view;
    size_t size;
    bool fin;
    assert_false(kith_stream_peek(b, &view, &size, &fin));
    assert_false(fin);
    /* The other direction goes on. */
    assert_ok(kith_stream_write(b, "still", 5));
    l.ends[1].drain = true;
    run_for(&l, S);
    assert_int_equal(l.ends[1].received, 5);
    /* Now the dialler wants no more. */
    kith_stream_stop(a, 55);
    assert_true(run_until(&l, 0, KITH_QUIC_STOPPED, 1, S));
    assert_int_equal(l.ends[0].last[KITH_QUIC_STOPPED].code, 55);
    assert_int_equal(kith_stream_write(b, "x", 1), KITH_ERR_STATE);
    kith_stream_free(b);
    kith_stream_free(a);
    run_for(&l, S);
    /* All credit came back: a whole window fits again. */
    kith_stream *c;
    assert_ok(kith_stream_open(conn, false, &c));
    assert_ok(kith_stream_lend(c, data, 2u << 20));
    assert_ok(kith_stream_finish(c));
    l.ends[0].drain = true;
    run_for(&l, 20 * S);
    assert_int_equal(l.ends[0].received, 2u << 20);
    free(data);
    link_free(&l);
}

/* Under loss, so that packets with the lent bytes wait to be sent again; the sanitizer sees who reads them later. */
static void lent_memory_is_left_alone(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        link_t l;
        link_init(&l, 8);
        l.loss = 100;
        l.jitter = 20 * MS;
        assert_ok(link_start(&l, NULL, NULL));
        kith_conn *conn = connect_both(&l);
        size_t size = 400000;
        uint8_t *data = pattern(size, 5);
        kith_stream *s;
        assert_ok(kith_stream_open(conn, true, &s));
        assert_ok(kith_stream_lend(s, data, size));
        assert_ok(kith_stream_finish(s));
        run_for(&l, 70 * MS);
        assert_true(!kith_stream_all_acked(s) && kith_stream_unsent(s) < size);
        if (how == 0) kith_stream_reset(s, 1);
        if (how == 1) kith_stream_free(s);
        if (how == 2) {
            kith_stream_stop(l.ends[0].opened, 2);
            assert_true(run_until(&l, 1, KITH_QUIC_STOPPED, 1, 5 * S));
        }
        if (how == 3) kith_conn_close(conn, 0, NULL, l.now);
        memset(data, 0, size);
        free(data);
        run_for(&l, 5 * S);
        if (how < 3) assert_int_equal(l.ends[1].count[KITH_QUIC_CLOSED], 0);
        link_free(&l);
    }
}

/* What was written and finished arrives although the handle is gone. */
static void freed_but_delivered(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 8);
    l.loss = 100;
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].drain = true;
    kith_conn *conn = connect_both(&l);
    uint8_t *data = pattern(500000, 5);
    kith_stream *s;
    assert_ok(kith_stream_open(conn, false, &s));
    assert_ok(kith_stream_write(s, data, 500000));
    assert_ok(kith_stream_finish(s));
    kith_stream_free(s);
    run_for(&l, 20 * S);
    assert_int_equal(l.ends[0].checksum, checksum_of(data, 500000));
    assert_int_equal(l.ends[0].streams_finished, 1);
    free(data);
    link_free(&l);
}

static void stopped_while_idle(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    kith_stream *s[40];
    for (int i = 0; i < 40; i++) {
        assert_ok(kith_stream_open(conn, false, &s[i]));
        assert_ok(kith_stream_write(s[i], "x", 1));
    }
    assert_true(run_until(&l, 0, KITH_QUIC_OPENED, 40, S));
    kith_stream_stop(l.ends[0].opened, 9);
    assert_true(run_until(&l, 1, KITH_QUIC_STOPPED, 1, S)); /* though it had nothing to send */
    assert_int_equal(l.ends[1].last[KITH_QUIC_STOPPED].code, 9);
    link_free(&l);
}

static void stream_limit(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].drain = true;
    kith_conn *conn = connect_both(&l);
    kith_stream *s, *first = NULL;
    for (int bidi = 0; bidi < 2; bidi++) {
        int n = 0;
        while (kith_stream_open(conn, bidi, &s) == KITH_OK) {
            assert_ok(kith_stream_write(s, "x", 1));
            assert_ok(kith_stream_finish(s));
            if (!n++ && !bidi) first = s;
        }
        assert_int_equal(n, KITH_QUIC_STREAMS_MAX);
        assert_int_equal(kith_stream_open(conn, bidi, &s), KITH_ERR_AGAIN);
    }
    run_for(&l, S);
    assert_int_equal(l.ends[0].count[KITH_QUIC_OPENED], 2 * KITH_QUIC_STREAMS_MAX);
    assert_int_equal(kith_stream_open(conn, false, &s), KITH_ERR_AGAIN); /* finished, but its handles live */
    (void)first;
    kith_stream_free(l.ends[0].last[KITH_QUIC_READABLE].stream);
    run_for(&l, S);
    int opened = 0;
    for (int bidi = 0; bidi < 2; bidi++)
        while (kith_stream_open(conn, bidi, &s) == KITH_OK) opened++;
    assert_in_range(opened, 0, 1);
    link_free(&l);
}

static void closing(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    run_for(&l, S);
    kith_conn_close(conn, 42, "enough for today", l.now);
    assert_true(run_until(&l, 1, KITH_QUIC_CLOSED, 1, 0) || l.ends[1].count[KITH_QUIC_CLOSED] == 1);
    assert_int_equal(l.ends[1].last[KITH_QUIC_CLOSED].err, KITH_OK);
    assert_true(run_until(&l, 0, KITH_QUIC_CLOSED, 1, 20 * MS));
    kith_quic_event *e = &l.ends[0].last[KITH_QUIC_CLOSED];
    assert_int_equal(e->err, KITH_ERR_CLOSED);
    assert_int_equal(e->code, 42);
    assert_true(e->by_peer);
    assert_string_equal(e->reason, "enough for today");
    kith_stream *s;
    assert_int_equal(kith_stream_open(conn, true, &s), KITH_ERR_STATE);
    run_for(&l, 5 * S);
    assert_int_equal(kith_quic_deadline_ns(l.ends[0].q), UINT64_MAX);
    assert_int_equal(kith_quic_deadline_ns(l.ends[1].q), UINT64_MAX);
    kith_conn_free(conn);
    kith_conn_free(l.ends[0].conn);
    link_free(&l);
}

/* The goodbye is lost; what the peer sends is answered with it again. */
static void goodbye_again(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    kith_stream *s;
    run_for(&l, S);
    kith_conn_close(conn, 1, NULL, l.now);
    l.loss = 1000;
    settle(&l);
    l.loss = 0;
    assert_ok(kith_stream_open(l.ends[0].conn, true, &s));
    assert_ok(kith_stream_write(s, "are you there?", 14));
    assert_true(run_until(&l, 0, KITH_QUIC_CLOSED, 1, 25 * MS));
    assert_int_equal(l.ends[0].last[KITH_QUIC_CLOSED].code, 1);
    link_free(&l);
}

/* Freed right after the close, before any output: the goodbye still goes. */
static void close_and_free(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    kith_conn_close(conn, 3, "bye", l.now);
    kith_conn_free(conn);
    assert_true(run_until(&l, 0, KITH_QUIC_CLOSED, 1, 20 * MS));
    assert_int_equal(l.ends[0].last[KITH_QUIC_CLOSED].code, 3);
    assert_int_equal(l.ends[1].count[KITH_QUIC_CLOSED], 0); /* dropped with the handle */
    link_free(&l);
}

static void idle_and_keep_alive(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        link_t l;
        link_init(&l, 1);
        kith_quic_config config = {.keep_alive_ns = keep ? 0 : UINT64_MAX, .idle_ns = 20 * S},
                         other = {.keep_alive_ns = UINT64_MAX};
        assert_ok(link_start(&l, &other, &config));
        kith_conn *conn = connect_both(&l);
        uint64_t start = l.now;
        run_for(&l, 300 * S);
        (void)conn;
        for (int i = 0; i < 2; i++) {
            assert_int_equal(l.ends[i].count[KITH_QUIC_CLOSED], !keep);
            if (!keep) assert_int_equal(l.ends[i].last[KITH_QUIC_CLOSED].err, KITH_ERR_LOST);
        }
        if (keep) { /* then the cable is pulled */
            l.loss = 1000;
            start = l.now;
            assert_true(run_until(&l, 0, KITH_QUIC_CLOSED, 1, 60 * S));
            assert_true(l.now - start <= 21 * S);
        }
        link_free(&l);
    }
}

static void restarted_peer_resets(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].drain = true;
    kith_conn *conn = connect_both(&l);
    kith_stream *s;
    run_for(&l, S);
    kith_quic_free(l.ends[0].q); /* killed ... */
    l.ends[0].q = NULL;
    assert_ok(end_start(&l, 0, (kith_quic_config){0}, 99)); /* ... and back, with the same key and another seed */
    assert_ok(kith_stream_open(conn, false, &s));
    assert_ok(kith_stream_write(s, "anyone?", 7));
    assert_true(run_until(&l, 1, KITH_QUIC_CLOSED, 1, 25 * MS));
    assert_int_equal(l.ends[1].last[KITH_QUIC_CLOSED].err, KITH_ERR_LOST);
    assert_true(l.ends[1].last[KITH_QUIC_CLOSED].by_peer);
    kith_conn_free(conn);
    /* Somebody with another key cannot. */
    conn = NULL;
    memset(l.ends[1].count, 0, sizeof l.ends[1].count);
    memset(l.ends[0].count, 0, sizeof l.ends[0].count);
    conn = connect_both(&l);
    run_for(&l, S);
    kith_quic_free(l.ends[0].q);
    assert_ok(end_start(&l, 0, (kith_quic_config){.static_secret = static_secrets[1]}, 98));
    assert_ok(kith_stream_open(conn, false, &s));
    assert_ok(kith_stream_write(s, "anyone?", 7));
    run_for(&l, 10 * S);
    assert_int_equal(l.ends[1].count[KITH_QUIC_CLOSED], 0);
    link_free(&l);
}

static void retry_always(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    kith_quic_config strict = {.always_retry = true};
    assert_ok(link_start(&l, &strict, NULL));
    l.ends[0].echo = l.ends[1].drain = true;
    uint64_t start = l.now;
    kith_conn *conn;
    kith_stream *s;
    assert_ok(dial(&l, NULL, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, S));
    assert_int_equal(l.now - start, 40 * MS); /* one round trip more */
    assert_ok(kith_stream_open(conn, true, &s));
    assert_ok(kith_stream_write(s, "hello", 5));
    assert_ok(kith_stream_finish(s));
    run_for(&l, S);
    assert_int_equal(l.ends[1].received, 5);
    link_free(&l);
}

/* Initials from many addresses, which never go on: above the limit a Retry is asked, and a real device still gets in.
 */
static void retry_under_load(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    kith_quic_config config = {.retry_above = 8};
    assert_ok(link_start(&l, &config, NULL));
    static uint8_t memory[KITH_PACKET_RUN_MAX];
    for (int i = 0; i < 20; i++) {
        kith_conn *conn;
        kith_packet p = {.data = memory};
        assert_ok(dial(&l, NULL, &conn));
        assert_true(kith_quic_output(l.ends[1].q, &p, l.now));
        p.local = l.ends[0].addr;
        p.remote = addr_of("10.9.9.9:99");
        p.remote.port = (uint16_t)(100 + i);
        kith_quic_input(l.ends[0].q, &p, l.now);
        kith_conn_free(conn);
    }
    uint64_t before = l.ends[0].sent_packets;
    settle(&l);
    assert_true(l.ends[0].sent_packets > before);
    uint64_t start = l.now;
    kith_conn *conn;
    assert_ok(dial(&l, NULL, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, S));
    assert_int_equal(l.now - start, 40 * MS);
    /* After ten seconds they are gone, and no Retry is needed. */
    run_for(&l, 12 * S);
    start = l.now;
    assert_ok(dial(&l, NULL, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 2, S));
    assert_int_equal(l.now - start, 20 * MS);
    link_free(&l);
}

static void connection_limit(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    kith_quic_config config = {.conns_max = 3};
    assert_ok(link_start(&l, &config, NULL));
    kith_conn *conn[5];
    for (int i = 0; i < 5; i++) assert_ok(dial(&l, NULL, &conn[i]));
    run_for(&l, 11 * S);
    assert_int_equal(l.ends[0].count[KITH_QUIC_ACCEPTED], 3);
    assert_int_equal(l.ends[1].count[KITH_QUIC_CONNECTED], 3);
    assert_int_equal(l.ends[1].count[KITH_QUIC_CLOSED], 2);
    assert_int_equal(kith_quic_dial(l.ends[0].q, &l.ends[1].addr, NULL, l.now, &conn[0]), KITH_ERR_LIMIT);
    link_free(&l);
}

/* ---- versions ---- */

static kith_quic *lone_endpoint(link_t *l)
{
    link_init(l, 1);
    assert_ok(link_start(l, NULL, NULL));
    return l->ends[0].q;
}

static bool answers(kith_quic *q, const uint8_t *data, size_t size, uint8_t out[KITH_PACKET_RUN_MAX], size_t *out_size)
{
    uint8_t copy[2048];
    memcpy(copy, data, size);
    kith_packet p = {
        .local = addr_of("10.0.0.1:1"), .remote = addr_of("10.0.0.9:9"), .data = copy, .size = size, .segment = size};
    kith_quic_input(q, &p, 5000 * S);
    p.data = out;
    bool some = kith_quic_output(q, &p, 5000 * S);
    *out_size = p.size;
    return some;
}

static void other_versions(void **state)
{
    (void)state;
    link_t l;
    kith_quic *q = lone_endpoint(&l);
    static uint8_t out[KITH_PACKET_RUN_MAX];
    size_t size;
    uint8_t in[1200] = {0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9};
    for (int v = 0; v < 3; v++) { /* real QUIC v1, v2 and something else */
        static const uint8_t versions[3][4] = {{0, 0, 0, 1}, {0x6b, 0x33, 0x43, 0xcf}, {0x48, 0x51, 0x01, 0x02}};
        memcpy(in + 1, versions[v], 4);
        assert_true(answers(q, in, sizeof in, out, &size));
        assert_true(out[0] & 0x80);
        assert_memory_equal(out + 1, "\0\0\0\0\4\x9\x9\x9\x9\x8\1\2\3\4\5\6\7\x8\x48\x51\1\1", 22);
        assert_int_equal(size, 27);
        assert_false(answers(q, in, 1199, out, &size)); /* never amplify */
    }
    memcpy(in + 1, "\0\0\0\0", 4);
    assert_false(answers(q, in, sizeof in, out, &size)); /* a Version Negotiation packet for nobody */
    link_free(&l);
}

static bool negotiate_hook(link_t *l, int from, flight *f)
{
    const uint8_t *version = l->user;
    if (from != 1 || !(f->data[0] & 0x80)) return true;
    /* Answer the Initial with a list, as whoever sits on the path could. */
    uint8_t vn[64] = {0x80};
    size_t at = 5, d = f->data[5], s = f->data[6 + d];
    vn[at++] = (uint8_t)s;
    memcpy(vn + at, f->data + 7 + d, s);
    at += s;
    vn[at++] = (uint8_t)d;
    memcpy(vn + at, f->data + 6, d);
    at += d;
    memcpy(vn + at, version, 4);
    at += 4;
    flight *answer = flight_of(vn, at);
    answer->from = f->to;
    answer->to = f->from;
    answer->at = l->now + MS;
    fly(l, answer);
    return version[0] == 0x48; /* the forger lets the packet through, the true one does not know us */
}

static void version_negotiation(void **state)
{
    (void)state;
    static const uint8_t only_v1[4] = {0, 0, 0, 1}, ours[4] = {0x48, 0x51, 1, 1};
    for (int forged = 0; forged < 2; forged++) {
        link_t l;
        link_init(&l, 1);
        assert_ok(link_start(&l, NULL, NULL));
        kith_conn *conn;
        l.hook = negotiate_hook;
        l.user = (void *)(uintptr_t)(forged ? ours : only_v1);
        assert_ok(dial(&l, NULL, &conn));
        run_for(&l, S);
        if (forged) { /* a list with our version cannot be true: ignored */
            assert_int_equal(l.ends[1].count[KITH_QUIC_CONNECTED], 1);
            assert_int_equal(l.ends[1].count[KITH_QUIC_CLOSED], 0);
        } else {
            assert_int_equal(l.ends[1].count[KITH_QUIC_CLOSED], 1);
            assert_int_equal(l.ends[1].last[KITH_QUIC_CLOSED].err, KITH_ERR_UNSUPPORTED);
        }
        link_free(&l);
    }
}

static void version_bytes(void **state)
{
    (void)state;
    /* Initial (token 2, length 5) + Handshake (length 3) + short */
    static const uint8_t wire[] = {0xc0, 0x48, 0x51, 1,    1, 1, 7, 0, 2, 9, 9, 5, 1, 2,    3, 4,
                                   5,    0xe0, 0x48, 0x51, 1, 1, 1, 7, 0, 3, 1, 2, 3, 0x40, 1, 2};
    uint8_t copy[sizeof wire];
    memcpy(copy, wire, sizeof wire);
    assert_int_equal(kith_version_inbound(copy, sizeof copy), sizeof copy);
    assert_memory_equal(copy + 1, "\0\0\0\1", 4);
    assert_memory_equal(copy + 18, "\0\0\0\1", 4);
    kith_version_outbound(copy, sizeof copy);
    assert_memory_equal(copy, wire, sizeof wire);
    copy[21] = 2; /* a foreign one in the second place: only the first is ours */
    assert_int_equal(kith_version_inbound(copy, sizeof copy), 17);
    memcpy(copy, wire, sizeof wire);
    memcpy(copy + 18, "\0\0\0\1", 4); /* real v1 coalesced behind ours */
    assert_int_equal(kith_version_inbound(copy, sizeof copy), 17);
    for (size_t cut = 0; cut < sizeof wire; cut++) {
        memcpy(copy, wire, sizeof wire);
        size_t n = kith_version_inbound(copy, cut);
        assert_int_equal(n, cut < 17 ? 0 : cut < 29 ? 17 : cut);
    }
    uint8_t list[] = {0x80, 0, 0, 0, 0, 1, 7, 0, 0x48, 0x51, 1, 1, 0, 0, 0, 1, 9, 9, 9, 9};
    assert_int_equal(kith_version_inbound(list, sizeof list), sizeof list);
    assert_memory_equal(list + 8, "\0\0\0\1", 4);
    assert_memory_not_equal(list + 12, "\0\0\0\1", 4);
    assert_memory_equal(list + 16, "\x9\x9\x9\x9", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handshake),
        TEST(echo_after_two_round_trips),
        TEST(streams_and_loss),
        TEST(wrong_device),
        TEST(nobody_answers),
        TEST(big_transfer),
        TEST(flow_control),
        TEST(key_updates),
        TEST(reset_and_stop),
        TEST(stopped_while_idle),
        TEST(lent_memory_is_left_alone),
        TEST(freed_but_delivered),
        TEST(stream_limit),
        TEST(closing),
        TEST(goodbye_again),
        TEST(close_and_free),
        TEST(idle_and_keep_alive),
        TEST(restarted_peer_resets),
        TEST(retry_always),
        TEST(retry_under_load),
        TEST(connection_limit),
        TEST(other_versions),
        TEST(version_negotiation),
        TEST(version_bytes),
    };
    return cmocka_run_group_tests_name("quic", tests, crypto_setup, NULL);
}
