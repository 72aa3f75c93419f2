/* What ngtcp2 is told beyond its defaults: windows that grow up to their caps, the first repetition, and what a peer is
 * told of us. */
#include "link.h"

#include "quic/state.h"

#define START_STREAM_WINDOW (UINT64_C(1) << 20)
#define START_CONN_WINDOW   (UINT64_C(3) << 19)
#define STREAMS             2

/* Over 100 ms and 5 MB/s three times what is on the way fits the usual windows, which window.c leaves alone (in the
 * end: what a loss held back is consumed at once).  Read all that comes for a while, then nothing: what the other side
 * can still send is the window.  The whole of it, over `count` streams. */
static uint64_t window_after(uint64_t reading_ns, size_t count)
{
    link_t l;
    link_init(&l, 9);
    l.delay = 50 * MS;
    l.rate = 5000000;
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].drain = true;
    kith_conn *conn = connect_both(&l);
    size_t size = 16u << 20;
    uint8_t *data = pattern(size, 5);
    kith_stream *streams[STREAMS];
    for (size_t i = 0; i < count; i++) {
        assert_ok(kith_stream_open(conn, false, &streams[i]));
        for (int k = 0; k < 10; k++) assert_ok(kith_stream_lend(streams[i], data, size));
    }
    run_for(&l, reading_ns);
    l.ends[0].drain = false;
    uint64_t taken = l.ends[0].received, sent = 0;
    run_for(&l, 2 * S);
    for (size_t i = 0; i < count; i++) {
        assert_true(kith_stream_unsent(streams[i]) > 0);
        sent += kith_stream_written(streams[i]) - kith_stream_unsent(streams[i]);
    }
    free(data);
    link_free(&l);
    return sent - taken;
}

static void windows_grow_to_their_caps(void **state)
{
    (void)state;
    assert_int_equal(window_after(0, 1), START_STREAM_WINDOW);
    assert_int_equal(window_after(0, 2), START_CONN_WINDOW);
    /* Within what may still be granted when the next half of a window is read. */
    assert_in_range(window_after(30 * S, 1), KITH_QUIC_STREAM_WINDOW_MAX / 2 + 1, KITH_QUIC_STREAM_WINDOW_MAX);
    assert_in_range(window_after(30 * S, 2), KITH_QUIC_CONN_WINDOW_MAX / 2 + 1, KITH_QUIC_CONN_WINDOW_MAX);
}

typedef struct times {
    uint64_t at[4];
    size_t count;
} times;

static bool swallow(link_t *l, int from, flight *f)
{
    times *t = l->user;
    (void)f;
    if (from == 1 && t->count < 4) t->at[t->count++] = l->now;
    return false;
}

/* RFC 9002 section 6.2.1: three times the initial RTT, of 50 ms here, and twice that each time. */
static void the_first_packet_is_repeated(void **state)
{
    (void)state;
    link_t l;
    times t = {0};
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    l.hook = swallow;
    l.user = &t;
    kith_conn *conn;
    uint64_t start = l.now;
    assert_ok(dial(&l, NULL, &conn));
    run_for(&l, 500 * MS);
    assert_true(t.count >= 3);
    assert_int_equal(t.at[0], start);
    size_t second = 1;
    while (second < t.count && t.at[second] == start) second++;
    assert_int_equal(t.at[second] - start, 150 * MS);
    link_free(&l);
}

static void said_to_the_peer(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 1);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conns[2] = {NULL, connect_both(&l)};
    conns[0] = l.ends[0].conn;
    for (int i = 0; i < 2; i++) {
        const ngtcp2_transport_params *said = ngtcp2_conn_get_remote_transport_params(conns[i]->ng),
                                      *kept = ngtcp2_conn_get_local_transport_params(conns[i]->ng);
        /* One id more is kept than a peer is told, for ngtcp2 counts those retired a moment ago; it asserts on 9. */
        assert_int_equal(said->active_connection_id_limit, 7);
        assert_int_equal(kept->active_connection_id_limit, 8);
        assert_int_equal(said->initial_max_streams_bidi, KITH_QUIC_STREAMS_MAX);
        assert_int_equal(said->initial_max_streams_uni, KITH_QUIC_STREAMS_MAX);
        assert_int_equal(said->initial_max_data, START_CONN_WINDOW);
        assert_int_equal(said->initial_max_stream_data_uni, START_STREAM_WINDOW);
        assert_int_equal(said->initial_max_stream_data_bidi_local, START_STREAM_WINDOW);
        assert_int_equal(said->initial_max_stream_data_bidi_remote, START_STREAM_WINDOW);
        assert_int_equal(said->max_idle_timeout, KITH_QUIC_IDLE_NS);
        assert_false(said->version_info_present);
    }
    link_free(&l);
}

/* What is on its way there and back for two seconds is not missed before; what really does not come is. */
static void a_long_way_is_not_silence(void **state)
{
    (void)state;
    link_t l;
    link_init(&l, 3);
    l.delay = 1 * S;
    assert_ok(link_start(&l, NULL, NULL));
    l.ends[0].echo = true;
    kith_conn *conn;
    assert_ok(dial(&l, NULL, &conn));
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, 20 * S));
    run_for(&l, 10 * S); /* the handshake repeats itself: nobody knew how far it is */
    int before = l.ends[1].count[KITH_QUIC_SILENT];
    kith_stream *stream;
    assert_ok(kith_stream_open(conn, true, &stream));
    for (int i = 0; i < 5; i++) {
        assert_ok(kith_stream_write(stream, "how are you?", 12));
        run_for(&l, 5 * S);
    }
    assert_int_equal(l.ends[1].count[KITH_QUIC_SILENT], before);
    l.hook = swallow;
    l.user = &(times){0};
    assert_ok(kith_stream_write(stream, "are you there?", 14));
    run_for(&l, 5 * S);
    assert_int_equal(l.ends[1].count[KITH_QUIC_SILENT], before + 1);
    link_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(windows_grow_to_their_caps),
        TEST(the_first_packet_is_repeated),
        TEST(said_to_the_peer),
        TEST(a_long_way_is_not_silence),
    };
    return cmocka_run_group_tests_name("quic/tuning", tests, crypto_setup, NULL);
}
