/* Stream bytes put straight into the user's memory (kith_stream_into). */
#include "link.h"

/* Bytes put straight into the user's memory, in pieces of many sizes, with what peek gives between them: all, in order,
 * although they are more than the windows; nothing beyond the memory. */
static void bytes_go_into_memory(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 999, 70000, 1 << 20, 5000000};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        link_t l;
        link_init(&l, 9);
        l.loss = 20;
        l.jitter = 5 * MS;
        assert_ok(link_start(&l, NULL, NULL));
        kith_conn *conn = connect_both(&l);
        size_t total = pieces[i] < 1000 ? 60000 : 9000000, got = 0, intos = 0;
        uint8_t *data = pattern(total, 6), *arrived = malloc(total + 1);
        kith_stream *s;
        assert_non_null(arrived);
        assert_ok(kith_stream_open(conn, false, &s));
        assert_ok(kith_stream_lend(s, data, total));
        assert_ok(kith_stream_finish(s));
        assert_true(run_until(&l, 0, KITH_QUIC_OPENED, 1, 5 * S));
        kith_stream *in = l.ends[0].opened;
        bool fin = false;
        for (int turns = 0; !fin && turns < 200000; turns++) {
            const uint8_t *at;
            size_t size, n = kith_stream_into_end(in);
            got += n;
            while (got < total && kith_stream_peek(in, &at, &size, &fin)) {
                memcpy(arrived + got, at, size);
                got += size;
                kith_stream_consume(in, size);
            }
            if (got == total) (void)kith_stream_peek(in, &at, &size, &fin);
            size_t next = pieces[i] < total - got ? pieces[i] : total - got;
            arrived[got + next] = 0xee;
            if (next) assert_ok(kith_stream_into(in, arrived + got, next));
            if (next) assert_int_equal(kith_stream_into(in, arrived, 1), KITH_ERR_STATE);
            intos += next > 0;
            run_for(&l, 2 * MS);
            assert_int_equal(arrived[got + next], 0xee);
        }
        assert_true(fin && intos > 1);
        assert_int_equal(got, total);
        assert_memory_equal(arrived, data, total);
        free(arrived);
        link_free(&l);
        free(data);
    }
}

/* READABLE comes when the memory is full, not before; after a reset or a stop nothing is written to it. */
static void memory_is_left_alone_after_the_end(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        link_t l;
        uint8_t memory[50000] = {0}, before[sizeof memory];
        link_init(&l, 10);
        assert_ok(link_start(&l, NULL, NULL));
        kith_conn *conn = connect_both(&l);
        uint8_t *data = pattern(sizeof memory, 7);
        kith_stream *s;
        assert_ok(kith_stream_open(conn, false, &s));
        assert_ok(kith_stream_write(s, data, 1));
        assert_true(run_until(&l, 0, KITH_QUIC_READABLE, 1, 5 * S));
        kith_stream *in = l.ends[0].opened;
        assert_int_equal(kith_stream_into(in, memory, sizeof memory), KITH_ERR_STATE);
        kith_stream_consume(in, 1);
        assert_ok(kith_stream_into(in, memory, sizeof memory));
        assert_ok(kith_stream_write(s, data, sizeof memory - 1));
        run_for(&l, 100 * MS);
        assert_int_equal(l.ends[0].count[KITH_QUIC_READABLE], 1);
        if (how == 0) { /* full */
            assert_ok(kith_stream_write(s, data, 1));
            run_for(&l, 100 * MS);
            assert_int_equal(l.ends[0].count[KITH_QUIC_READABLE], 2);
            assert_int_equal(kith_stream_into_end(in), sizeof memory);
        } else {
            if (how == 1) kith_stream_reset(s, 3);
            if (how == 2) kith_stream_free(in);
            memcpy(before, memory, sizeof memory);
            if (how == 2) assert_ok(kith_stream_write(s, data + 5, 1));
            run_for(&l, 100 * MS);
            assert_int_equal(l.ends[0].count[KITH_QUIC_RESET], how == 1);
            assert_memory_equal(before, memory, sizeof memory);
        }
        free(data);
        link_free(&l);
    }
}

static size_t take_all(kith_stream *in, uint64_t *held, uint64_t room)
{
    const uint8_t *at;
    size_t size, got = 0;
    bool fin;
    while (kith_stream_peek(in, &at, &size, &fin)) {
        if (held) kith_stream_hold(in, *held += size, room);
        kith_stream_consume(in, size);
        got += size;
    }
    return got;
}

/* Memory for `room` bytes, of which all that come stay in use: no more come than the window and what fits beside it, by
 * peek or straight into memory; and again as many as are let go of.  Bytes put straight into memory are not counted as
 * buffered. */
static void what_is_held_has_no_credit(void **state)
{
    (void)state;
    const uint64_t room = 5u << 20, total = 40u << 20;
    for (int into = 0; into < 2; into++) {
        link_t l;
        kith_conn_stats stats;
        link_init(&l, 11);
        l.rate = 100000000;
        l.delay = MS / 10; /* the windows are as on a local network */
        assert_ok(link_start(&l, NULL, NULL));
        kith_conn *conn = connect_both(&l);
        uint8_t *data = pattern(total, 8), *memory = malloc(total);
        kith_stream *s;
        assert_non_null(memory);
        assert_ok(kith_stream_open(conn, false, &s));
        assert_ok(kith_stream_write(s, data, 1));
        assert_true(run_until(&l, 0, KITH_QUIC_READABLE, 1, 5 * S));
        kith_stream *in = l.ends[0].opened;
        uint64_t held = 0, got = take_all(in, &held, room);
        assert_ok(kith_stream_lend(s, data + 1, total - 1));
        if (into) assert_ok(kith_stream_into(in, memory, total - 1));
        for (int turn = 0; turn < 2000; turn++, run_for(&l, 5 * MS)) got += into ? 0 : take_all(in, &held, room);
        if (into) got += kith_stream_into_end(in);
        assert_in_range(got, room / 2, room);
        kith_conn_get_stats(l.ends[0].conn, &stats);
        if (into) assert_int_equal(stats.buffered_bytes, 1);
        if (!into) assert_int_equal(stats.buffered_bytes, got);
        /* Let go of 2 MiB, then of everything. */
        uint64_t before = got;
        kith_stream_hold(in, held = got - (2u << 20), room);
        for (int turn = 0; turn < 2000; turn++, run_for(&l, 5 * MS)) got += take_all(in, &held, room);
        assert_in_range(got, before + (1u << 20), room + (2u << 20));
        for (int turn = 0; turn < 20000 && got < total; turn++, run_for(&l, 5 * MS)) {
            kith_stream_hold(in, held = 0, room);
            got += take_all(in, NULL, room);
        }
        assert_int_equal(got, total);
        link_free(&l);
        free(memory);
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(bytes_go_into_memory), TEST(memory_is_left_alone_after_the_end),
                                       TEST(what_is_held_has_no_credit)};
    return cmocka_run_group_tests_name("quic/into", tests, crypto_setup, NULL);
}
