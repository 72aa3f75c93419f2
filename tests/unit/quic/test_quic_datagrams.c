/* Datagrams: whole or not at all, never twice, within their bounds, and beside streams. */
#include "link.h"

static size_t take_all(kith_conn *conn, uint8_t *seen, size_t most)
{
    size_t n = 0, size;
    for (uint8_t *d; (d = kith_conn_datagram_take(conn, &size)); n++) {
        uint32_t number;
        assert_true(size >= 4);
        memcpy(&number, d, 4);
        assert_true(number < most);
        assert_int_equal(seen[number]++, 0);
        for (size_t i = 4; i < size; i++) assert_int_equal(d[i], (uint8_t)(number + i));
        kith_free(d);
    }
    return n;
}

static kith_err send_one(kith_conn *conn, uint32_t number, size_t size)
{
    static uint8_t data[65536];
    for (size_t i = 4; i < size; i++) data[i] = (uint8_t)(number + i);
    return kith_conn_datagram_send(conn, &number, 4, data + 4, size - 4);
}

static void there_and_back(void **state)
{
    link_t l;
    uint8_t seen[2][16] = {{0}};
    (void)state;
    link_init(&l, 3);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn;
    assert_ok(dial(&l, NULL, &conn));
    assert_int_equal(kith_conn_datagram_room(conn), 0);
    assert_int_equal(send_one(conn, 0, 4), KITH_ERR_STATE);
    assert_true(run_until(&l, 1, KITH_QUIC_CONNECTED, 1, S) && run_until(&l, 0, KITH_QUIC_ACCEPTED, 1, S));
    run_for(&l, 5 * S); /* the path's MTU is found */
    size_t room = kith_conn_datagram_room(conn);
    assert_true(room > 1380 && room < 1452);
    assert_int_equal(send_one(conn, 0, room + 1), KITH_ERR_LIMIT);
    size_t sizes[] = {4, 5, 100, 1000, room - 1, room};
    for (uint32_t i = 0; i < 6; i++) {
        assert_ok(send_one(conn, i, sizes[i]));
        assert_ok(send_one(l.ends[0].conn, i, sizes[i]));
    }
    run_for(&l, 50 * MS);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(l.ends[i].count[KITH_QUIC_DATAGRAM], 1); /* once, for all */
        assert_int_equal(take_all(l.ends[i].conn, seen[i], 6), 6);
    }
    assert_ok(send_one(conn, 6, 50));
    run_for(&l, 50 * MS);
    assert_int_equal(l.ends[0].count[KITH_QUIC_DATAGRAM], 2);
    assert_int_equal(take_all(l.ends[0].conn, seen[0], 7), 1);
    kith_conn_close(conn, 0, "", l.now);
    assert_int_equal(send_one(conn, 0, 4), KITH_ERR_STATE);
    link_free(&l);
}

static void lost_ones_stay_lost(void **state)
{
    link_t l;
    static uint8_t seen[2000];
    (void)state;
    memset(seen, 0, sizeof seen);
    link_init(&l, 9);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    l.loss = 100;
    l.duplicate = 50;
    l.jitter = 20 * MS;
    kith_stream *s;
    uint8_t *data = pattern(3000000, 1);
    l.ends[0].drain = true;
    assert_ok(kith_stream_open(conn, true, &s)); /* a stream has its bytes all the same */
    assert_ok(kith_stream_write(s, data, 3000000));
    size_t got = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        assert_ok(send_one(conn, i, 4 + draw(&l) % 1000));
        run_for(&l, 10 * MS);
        got += take_all(l.ends[0].conn, seen, 2000);
    }
    run_for(&l, 60 * S);
    got += take_all(l.ends[0].conn, seen, 2000);
    assert_true(got > 1600 && got < 1990);
    assert_int_equal(l.ends[0].received, 3000000);
    assert_int_equal(l.ends[0].checksum, checksum_of(data, 3000000));
    free(data);
    link_free(&l);
}

/* More than may wait, on either side: the newest are there. */
static void the_oldest_gives_way(void **state)
{
    link_t l;
    uint8_t seen[500] = {0};
    (void)state;
    link_init(&l, 4);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    run_for(&l, S);
    for (uint32_t i = 0; i < 200; i++) assert_ok(send_one(conn, i, 600)); /* none has gone yet */
    run_for(&l, S);
    assert_int_equal(take_all(l.ends[0].conn, seen, 500), KITH_CONN_DATAGRAMS_MAX);
    assert_int_equal(seen[199 - KITH_CONN_DATAGRAMS_MAX], 0);
    assert_int_equal(seen[200 - KITH_CONN_DATAGRAMS_MAX], 1);
    for (uint32_t i = 200; i < 400; i++) { /* nobody takes them */
        assert_ok(send_one(conn, i, 600));
        run_for(&l, 20 * MS);
    }
    assert_int_equal(take_all(l.ends[0].conn, seen, 500), KITH_CONN_DATAGRAMS_MAX);
    assert_int_equal(seen[399], 1);
    link_free(&l);
}

/* A packet without an MTU carries large ones; bytes are bounded as well. */
static void large_packets(void **state)
{
    link_t l;
    uint8_t seen[50] = {0};
    kith_quic_config large = {.packet_max = KITH_PACKET_RUN_MAX};
    (void)state;
    link_init(&l, 4);
    assert_ok(link_start(&l, &large, &large));
    kith_conn *conn = connect_both(&l);
    run_for(&l, 5 * S);
    size_t room = kith_conn_datagram_room(conn);
    assert_true(room > 60000);
    for (uint32_t i = 0; i < 10; i++) assert_ok(send_one(conn, i, room));
    run_for(&l, S);
    assert_int_equal(take_all(l.ends[0].conn, seen, 50), KITH_CONN_DATAGRAMS_BYTES_MAX / room);
    link_free(&l);
}

/* One that was queued, and then the path carries less: it is lost, nothing else is. */
static void a_path_that_becomes_smaller(void **state)
{
    link_t l;
    uint8_t seen[4] = {0};
    (void)state;
    link_init(&l, 4);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    run_for(&l, 5 * S);
    l.mtu = 1250;
    assert_ok(send_one(conn, 0, kith_conn_datagram_room(conn)));
    kith_quic_too_big(l.ends[1].q, &l.ends[0].addr, 1452);
    run_for(&l, 100 * MS);
    assert_true(kith_conn_datagram_room(conn) <= 1200);
    assert_ok(send_one(conn, 1, kith_conn_datagram_room(conn)));
    run_for(&l, S);
    assert_int_equal(take_all(l.ends[0].conn, seen, 4), 1);
    assert_int_equal(seen[1], 1);
    assert_int_equal(l.ends[0].count[KITH_QUIC_CLOSED] + l.ends[1].count[KITH_QUIC_CLOSED], 0);
    link_free(&l);
}

static void without_memory(void **state)
{
    link_t l;
    uint8_t seen[4] = {0};
    (void)state;
    int64_t live = kith_mem_live();
    link_init(&l, 4);
    assert_ok(link_start(&l, NULL, NULL));
    kith_conn *conn = connect_both(&l);
    kith_mem_fail_at(1, false);
    assert_int_equal(send_one(conn, 0, 40), KITH_ERR_NOMEM);
    kith_mem_fail_at(0, false);
    assert_ok(send_one(conn, 1, 40));
    assert_ok(send_one(l.ends[0].conn, 2, 40)); /* under way when all ends */
    run_for(&l, 100 * MS);
    assert_int_equal(take_all(l.ends[0].conn, seen, 4), 1);
    assert_ok(send_one(conn, 3, 40));
    link_free(&l);
    assert_int_equal(kith_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(there_and_back), TEST(lost_ones_stay_lost),         TEST(the_oldest_gives_way),
        TEST(large_packets),  TEST(a_path_that_becomes_smaller), TEST(without_memory),
    };
    return cmocka_run_group_tests_name("quic/datagrams", tests, crypto_setup, NULL);
}
