/* Byte streams: how they end, by the peer, by the network, and by close. */
#include "io_tcp_test.h"

/* ---- ends ---- */

static void test_peer_closes(void **state)
{
    (void)state;
    enum { SIZE = 2000000 };
    for (int way = 0; way < 3; way++) {
        world *w = world_pair();
        w->b.pause_every = way == 1 ? 2 : 0;
        w->b.closed_to_bytes = way == 2;
        w->a.to_send = SIZE;
        send_more(&w->a);
        while (way != 2 && w->a.sent < SIZE) uv_run(&w->t.io->loop, UV_RUN_ONCE);
        if (way == 2) idle_turns(w);
        close_end(&w->a); /* with bytes under way */
        if (way == 2) {   /* which nobody wants yet: no end comes before them */
            assert_in_range(idle_turns(w), 0, IDLE_TURNS);
            assert_int_equal(w->b.ended, 0);
            w->b.closed_to_bytes = false;
            w->t.env->tcp->resume(w->b.tcp);
        }
        UNTIL(w, w->b.ended);
        assert_int_equal(w->b.why, KITH_ERR_CLOSED);
        assert_int_equal(w->b.received, w->a.sent);
        size_t sent;
        assert_int_equal(w->t.env->tcp->send(w->b.tcp, &(struct iovec){"x", 1}, 1, &sent), KITH_ERR_CLOSED);
        w->t.env->tcp->resume(w->b.tcp);
        assert_in_range(idle_turns(w), 0, IDLE_TURNS);
        world_end(w);
    }
}

/* The peer has said its last while nothing is wanted, or not at all: no reason for the loop to turn. */
static void test_half_closed(void **state)
{
    (void)state;
    for (int bytes = 0; bytes <= 1; bytes++) {
        int fd;
        world *w = world_raw(&fd);
        w->b.closed_to_bytes = true;
        if (bytes) raw_send(fd, 1, 0, 1000);
        assert_ok(shutdown(fd, SHUT_WR));
        UNTIL(w, w->b.rooms);
        w->b.to_send = 64 * MIB;
        send_more(&w->b); /* until it is blocked, and polled for writing */
        uint64_t taken;
        do {
            taken = w->b.sent;
            idle_turns(w);
        } while (taken != w->b.sent);
        assert_in_range(idle_turns(w), 0, IDLE_TURNS);
        assert_int_equal(w->b.ended, 0);
        assert_int_equal(w->b.rooms, 1);
        w->b.closed_to_bytes = false;
        w->t.env->tcp->resume(w->b.tcp);
        assert_int_equal(w->b.ended, 0); /* from the loop */
        UNTIL(w, w->b.ended);
        assert_int_equal(w->b.why, KITH_ERR_CLOSED);
        assert_int_equal(w->b.received, bytes ? 1000 : 0);
        assert_in_range(idle_turns(w), 0, IDLE_TURNS); /* ended, and not closed yet */
        close(fd);
        world_end(w);
    }
}

static void test_reset(void **state)
{
    (void)state;
    int fd;
    world *w = world_raw(&fd);
    raw_send(fd, 1, 0, 100000);
    raw_reset(fd);
    UNTIL(w, w->b.ended);
    assert_int_equal(w->b.why, KITH_ERR_CLOSED);
    assert_int_equal(w->b.received, 100000); /* what came before */
    assert_in_range(idle_turns(w), 0, IDLE_TURNS);
    world_end(w);
}

/* Nothing is wanted and the peer resets: a send learns of it, and then the end comes; after the bytes, if there are. */
static void test_reset_while_paused(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        bool bytes = way & 1, blocked = way & 2;
        int fd;
        world *w = world_raw(&fd);
        w->b.closed_to_bytes = true;
        raw_send(fd, 1, 0, 1);
        UNTIL(w, w->b.rooms == 1);
        if (!bytes) { /* take the one away again */
            w->b.closed_to_bytes = false;
            w->t.env->tcp->resume(w->b.tcp);
            UNTIL(w, w->b.received);
            w->b.closed_to_bytes = true;
            raw_send(fd, 1, 1, 1);
            UNTIL(w, w->b.rooms >= 3 || w->b.received > 1);
            uint8_t byte; /* without the table's knowing */
            recv(kith_io_tcp_fd(w->b.tcp), &byte, 1, 0);
        }
        if (blocked) w->b.to_send = 64 * MIB, send_more(&w->b);
        raw_reset(fd);
        size_t sent = 7;
        kith_err err = KITH_OK;
        if (blocked) {
            idle_turns(w);
            assert_int_equal(w->b.ended, !bytes);
        }
        for (int i = 0; !blocked && !err && i < 3; i++)
            err = w->t.env->tcp->send(w->b.tcp, &(struct iovec){"x", 1}, 1, &sent);
        if (!blocked) assert_int_equal(err, KITH_ERR_CLOSED);
        if (!blocked) assert_int_equal(w->b.ended, 0); /* from the loop */
        if (!bytes) UNTIL(w, w->b.ended);
        assert_in_range(idle_turns(w), 0, IDLE_TURNS);
        assert_int_equal(w->b.ended, !bytes);
        assert_int_equal(w->t.env->tcp->send(w->b.tcp, &(struct iovec){"x", 1}, 1, &sent), KITH_ERR_CLOSED);
        w->b.closed_to_bytes = false;
        w->t.env->tcp->resume(w->b.tcp);
        UNTIL(w, w->b.ended);
        assert_int_equal(w->b.why, KITH_ERR_CLOSED);
        assert_int_equal(w->b.received, 1);
        world_end(w);
    }
}

/* The network goes away under a connection. */
static void test_lost(void **state)
{
    (void)state;
    need_isolation();
    world *w = world_pair();
    set_silence(w->a.tcp, 300);
    assert_ok(system("ip link set lo down"));
    w->a.to_send = 1000;
    send_more(&w->a);
    UNTIL(w, w->a.ended);
    assert_int_equal(w->a.why, KITH_ERR_LOST);
    assert_ok(system("ip link set lo up"));
    world_end(w);
}

/* ---- closing ---- */

static void test_close_in_callbacks(void **state)
{
    (void)state;
    for (moment m = IN_CONNECTED; m <= IN_ENDED; m++) {
        for (int unlisten = 0; unlisten <= 1; unlisten++) {
            world *w = world_new("127.0.0.1:0");
            w->a.close_in = m;
            w->a.unlisten_too = unlisten;
            w->b.to_send = m == IN_ENDED ? 0 : 8 * MIB;
            w->a.to_send = 8 * MIB;
            world_connect(w, "127.0.0.1");
            if (m == IN_ENDED) w->b.close_in = IN_RECEIVED;
            if (m != IN_CONNECTED) UNTIL(w, w->b.tcp);
            if (w->b.tcp) send_more(&w->b);
            UNTIL(w, !w->a.tcp);
            world_end(w);
        }
    }
}

static void test_close_in_accepted(void **state)
{
    (void)state;
    for (int unlisten = 0; unlisten <= 1; unlisten++) {
        world *w = world_new("127.0.0.1:0");
        w->close_accepted = true;
        w->b.unlisten_too = unlisten;
        world_connect(w, "127.0.0.1");
        int second = raw_connect(&w->at); /* waits when the first closes the listener */
        UNTIL(w, w->a.ended);
        assert_int_equal(w->a.why, KITH_ERR_CLOSED);
        assert_int_equal(w->a.connected, 1);
        if (unlisten) assert_int_equal(w->accepted, 1);
        close(second);
        world_end(w);
    }
}

static void test_close_without_run(void **state)
{
    (void)state;
    world *w = world_pair();
    w->a.to_send = w->b.to_send = 64 * MIB;
    send_more(&w->a); /* bytes are under way when it is closed and freed */
    send_more(&w->b);
    world_close(w);
    io_test_end(&w->t);
    free(w);
    w = world_new("127.0.0.1:0");
    world_connect(w, "127.0.0.1");
    world_close(w);
    io_test_end(&w->t);
    free(w);
}

/* Though the peer sends all the time, and has not read anything when the other end closes: what was sent arrives. */
static void test_close_delivers(void **state)
{
    (void)state;
    world *w = world_pair();
    w->a.to_send = w->b.to_send = 64 * MIB;
    w->a.closed_to_bytes = w->b.closed_to_bytes = true;
    send_more(&w->a);
    send_more(&w->b);
    idle_turns(w);
    uint64_t sent = w->a.sent;
    assert_in_range(sent, 1, 64 * MIB - 1);
    close_end(&w->a);
    w->b.closed_to_bytes = false;
    w->b.room_size = 5000;
    w->t.env->tcp->resume(w->b.tcp);
    UNTIL(w, w->b.ended);
    assert_int_equal(w->b.why, KITH_ERR_CLOSED);
    assert_int_equal(w->b.received, sent);
    world_end(w);
}

/* A peer that neither reads nor ends cannot keep a closed stream for ever. */
static void test_close_gives_up(void **state)
{
    (void)state;
    int fd;
    world *w = world_raw(&fd);
    w->b.to_send = 64 * MIB;
    send_more(&w->b);
    idle_turns(w);
    set_silence(w->b.tcp, 0); /* nor does the system give up first */
    close_end(&w->b);
    assert_in_range(idle_turns(w), 0, IDLE_TURNS);
    world_end(w);
    close(fd);
}

/* What the closing end did not read does not make a reset of it. */
static void test_close_unread(void **state)
{
    (void)state;
    int fd;
    char bytes[2000];
    world *w = world_raw(&fd);
    w->b.closed_to_bytes = true;
    raw_send(fd, 1, 0, 1000);
    UNTIL(w, w->b.rooms);
    w->b.to_send = 1000;
    send_more(&w->b);
    while (queued(kith_io_tcp_fd(w->b.tcp), SIOCOUTQ)) usleep(1000); /* all acknowledged: closed at once */
    close_end(&w->b);
    assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_WAITALL), 1000);
    assert_int_equal(recv(fd, bytes, sizeof bytes, 0), 0);
    assert_ok(kith_io_take_socket_error(fd));
    close(fd);
    world_end(w);
}

static void test_unlisten(void **state)
{
    (void)state;
    world *w = world_pair();
    w->t.env->tcp->unlisten(w->listener);
    w->listener = NULL;
    w->a.to_send = MIB;
    send_more(&w->a);
    UNTIL(w, w->b.received == MIB);
    world_end(w);
}

int main(void)
{
    find_network();
    const struct CMUnitTest tests[] = {
        TEST(test_peer_closes),
        TEST(test_half_closed),
        TEST(test_reset),
        TEST(test_reset_while_paused),
        TEST(test_lost),
        TEST(test_close_in_callbacks),
        TEST(test_close_in_accepted),
        TEST(test_close_without_run),
        TEST(test_close_delivers),
        TEST(test_close_gives_up),
        TEST(test_close_unread),
        TEST(test_unlisten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
