/* WebSockets: messages, their limits and flow, and how they end. */
#include "io_ws_test.h"

/* ---- plain ---- */

static void messages_of_all_sizes_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 4096, 17407, 17408, 65535, 65536, KITH_WS_MESSAGE_MAX};
    static uint8_t data[KITH_WS_MESSAGE_MAX + 1];
    server *s = server_start(note_request_and_echo, NULL, 1);
    char host[64];
    dial("ws", "LocalHost", s, NULL);
    assert_int_equal(c->t.env->ws->send(c->ws, "x", 1), KITH_ERR_STATE);
    assert_int_equal(c->t.env->ws->remote(c->ws).family, KITH_FAMILY_NONE);
    UNTIL(c, c->connected);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill(data, sizes[i], (unsigned)i);
        assert_ok(c->t.env->ws->send(c->ws, data, sizes[i]));
        UNTIL(c, c->messages == i + 1);
        assert_int_equal(c->last_size, sizes[i]);
        assert_memory_equal(c->last, data, sizes[i]);
    }
    assert_int_equal(c->t.env->ws->send(c->ws, data, sizeof data), KITH_ERR_LIMIT);
    kith_addr remote = c->t.env->ws->remote(c->ws);
    assert_true(kith_addr_is_loopback(&remote));
    assert_int_equal(remote.port, s->port);
    snprintf(host, sizeof host, "Host: localhost:%u\r\n", s->port);
    assert_non_null(strstr(seen_request, host));
    assert_non_null(strstr(seen_request, "GET /relay?a=b HTTP/1.1\r\n"));
    assert_non_null(strstr(seen_request, "Sec-WebSocket-Protocol: kith-test\r\n"));
    assert_null(strstr(seen_request, "Sec-WebSocket-Extensions"));
    close_it(); /* the server hears a close frame and answers it: its script ends */
    UNTIL(c, kith_io_objects(c->t.io) == 0);
    server_end(s);
}

/* ---- fragments, limits, text ---- */

static void send_fragments(peer *p)
{
    static uint8_t data[KITH_WS_MESSAGE_MAX];
    if (!peer_upgrade(p)) return;
    fill(data, sizeof data, 7);
    peer_frame(p, 0x02, data, 1);
    peer_frame(p, 0x00, data + 1, 30000);
    peer_frame(p, 0x89, "ping", 4); /* control frames may come between */
    peer_frame(p, 0x00, "", 0);
    peer_frame(p, 0x00, data + 30001, sizeof data - 30002);
    peer_frame(p, 0x80, data + sizeof data - 1, 1);
    peer_frame(p, 0x82, "whole", 5);
    peer_echo(p);
}

static void fragments_make_one_message(void **state)
{
    (void)state;
    static uint8_t want[KITH_WS_MESSAGE_MAX];
    server *s = server_start(send_fragments, NULL, 1);
    c->pause_at = 1;
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->messages);
    fill(want, sizeof want, 7);
    assert_int_equal(c->last_size, sizeof want);
    assert_memory_equal(c->last, want, sizeof want);
    c->t.env->ws->resume(c->ws);
    UNTIL(c, c->messages == 2);
    assert_memory_equal(c->last, "whole", 5);
    close_and_wait();
    server_end(s);
}

static int close_code; /* that the client said */
static void hear_close(peer *p)
{
    uint8_t data[200];
    size_t size;
    for (;;) {
        int first = peer_next(p, data, sizeof data, &size);
        if (first < 0) return;
        if ((first & 0xf) != 8) continue;
        close_code = size >= 2 ? data[0] << 8 | data[1] : 0;
        peer_frame(p, 0x88, data, size);
        return;
    }
}

static void send_too_much_at_once(peer *p)
{
    static uint8_t data[KITH_WS_MESSAGE_MAX + 1];
    if (peer_upgrade(p) && peer_frame(p, 0x82, data, sizeof data)) hear_close(p);
}

static void send_too_much_in_pieces(peer *p)
{
    static uint8_t data[1000];
    if (!peer_upgrade(p) || !peer_frame(p, 0x02, data, 1)) return;
    for (unsigned i = 0; i <= KITH_WS_MESSAGE_MAX / sizeof data; i++) peer_frame(p, 0x00, data, sizeof data);
    hear_close(p);
}

static void claim_too_much(peer *p)
{
    static const uint8_t head[10] = {0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t data[2 * KITH_WS_MESSAGE_MAX];
    if (peer_upgrade(p) && peer_write(p, head, sizeof head) && peer_write(p, data, sizeof data)) hear_close(p);
}

static void send_text(peer *p)
{
    if (peer_upgrade(p) && peer_frame(p, 0x81, "text", 4)) hear_close(p);
}

static void mask_a_frame(peer *p)
{
    if (peer_upgrade(p) && peer_write(p, "\x82\x81\1\2\3\4x", 7)) hear_close(p);
}

static void interrupt_a_message(peer *p)
{
    if (peer_upgrade(p) && peer_frame(p, 0x02, "one", 3) && peer_frame(p, 0x82, "two", 3)) hear_close(p);
}

static void cut_a_ping(peer *p)
{
    if (peer_upgrade(p) && peer_frame(p, 0x09, "half", 4)) hear_close(p);
}

static void breaks_the_rules(void (*script)(peer *p), int code)
{
    server *s = server_start(script, NULL, 1);
    close_code = -1;
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->ended);
    assert_int_equal(c->messages, 0);
    assert_int_equal(c->why, KITH_ERR_PROTOCOL);
    close_and_wait();
    server_end(s);
    assert_int_equal(close_code, code);
}

static void too_large_a_message_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(send_too_much_at_once, 1009);
}
static void too_large_in_pieces_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(send_too_much_in_pieces, 1009);
}
static void text_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(send_text, 1003);
}

static void a_length_of_2_to_the_63_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(claim_too_much, 1009);
}

static void a_masked_frame_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(mask_a_frame, 1002);
}
static void a_message_in_a_message_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(interrupt_a_message, 1002);
}
static void a_ping_in_pieces_ends_it(void **state)
{
    (void)state;
    breaks_the_rules(cut_a_ping, 1002);
}

/* Many pings that nobody reads the answers of, and one whose answer is waited for: it is to the last. */
static void ping(peer *p)
{
    uint8_t data[200], number[125] = {0};
    size_t size;
    unsigned answered = 0;
    if (!peer_upgrade(p)) return;
    for (unsigned i = 1; i <= 50; i++) {
        number[0] = (uint8_t)i;
        peer_frame(p, 0x89, number, sizeof number);
    }
    while (answered < 50 && peer_next(p, data, sizeof data, &size) == 0x8a && size == sizeof number) answered = data[0];
    peer_frame(p, 0x82, &answered, 1);
    peer_frame(p, 0x8a, "nobody asked", 12);
    peer_echo(p);
}

static void pings_are_answered(void **state)
{
    (void)state;
    server *s = server_start(ping, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->messages);
    assert_int_equal(c->last[0], 50);
    close_and_wait();
    server_end(s);
}

/* ---- how it ends ---- */

static void close_with_code(peer *p)
{
    uint8_t data[200];
    size_t size;
    if (!peer_upgrade(p)) return;
    peer_frame(p, 0x82, "last", 4);
    peer_frame(p, 0x88, "\x0f\xa1restart", 9); /* 4001 */
    (void)peer_next(p, data, sizeof data, &size);
}

static void vanish(peer *p)
{
    if (peer_upgrade(p)) peer_frame(p, 0x82, "last", 4);
}

static void cut_a_message(peer *p)
{
    static uint8_t data[1000] = {0x82, 126, 0xff, 0xff};
    if (peer_upgrade(p)) peer_write(p, data, sizeof data);
}

static void a_close_code_is_told(void **state)
{
    (void)state;
    server *s = server_start(close_with_code, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    expect_end(KITH_ERR_CLOSED, 4001);
    assert_int_equal(c->messages, 1);
    server_end(s);
}

static void an_end_without_close_is_a_loss(void **state)
{
    (void)state;
    server *s = server_start(vanish, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    expect_end(KITH_ERR_LOST, 0);
    assert_int_equal(c->messages, 1);
    server_end(s);
}

/* What came before waits while it is paused, and the end behind it. */
static void send_and_vanish(peer *p)
{
    static uint8_t data[1000];
    if (!peer_upgrade(p)) return;
    for (unsigned i = 0; i < 10; i++) peer_frame(p, 0x82, data, sizeof data);
}

static void the_end_waits_while_paused(void **state)
{
    (void)state;
    server *s = server_start(send_and_vanish, NULL, 1);
    c->pause_at = 3;
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->messages == 3);
    server_end(s);
    idle_turns();
    assert_int_equal(c->messages, 3);
    assert_int_equal(c->ended, 0);
    c->pause_at = 5;
    c->t.env->ws->resume(c->ws);
    UNTIL(c, c->messages == 5);
    c->t.env->ws->resume(c->ws);
    expect_end(KITH_ERR_LOST, 0);
    assert_int_equal(c->messages, 10);
}

static void closing_after_the_end_that_waits(void **state)
{
    (void)state;
    server *s = server_start(send_and_vanish, NULL, 1);
    c->pause_at = 3;
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->messages == 3);
    server_end(s);
    idle_turns();
    c->close_in_message = true;
    c->t.env->ws->resume(c->ws);
    UNTIL(c, kith_io_objects(c->t.io) == 0);
    assert_int_equal(c->messages, 4);
    assert_int_equal(c->ended, 0);
}

static void half_a_message_is_none(void **state)
{
    (void)state;
    server *s = server_start(cut_a_message, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    expect_end(KITH_ERR_LOST, 0);
    assert_int_equal(c->messages, 0);
    server_end(s);
}

static void closing_inside_callbacks(void **state)
{
    (void)state;
    server *s = server_start(close_with_code, NULL, 2);
    c->close_in_message = true;
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, kith_io_objects(c->t.io) == 0);
    assert_int_equal(c->messages, 1);
    assert_int_equal(c->ended, 0);
    c->close_in_message = false;
    c->connected = 0;
    c->close_at_end = true;
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, kith_io_objects(c->t.io) == 0);
    assert_int_equal(c->ended, 1);
    server_end(s);
}

/* What was queued is sent before the close. */
static size_t counted;
static void count_bytes(peer *p)
{
    static uint8_t data[1 << 17];
    size_t size;
    if (!peer_upgrade(p)) return;
    counted = 0;
    for (int first; (first = peer_next(p, data, sizeof data, &size)) >= 0;) {
        if ((first & 0xf) == 8) {
            close_code = data[0] << 8 | data[1];
            peer_frame(p, 0x88, data, size);
            return;
        }
        counted += size;
    }
}

static void what_is_queued_is_sent_before_the_close(void **state)
{
    (void)state;
    static uint8_t data[50000];
    size_t sent = 0;
    server *s = server_start(count_bytes, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->connected);
    while (!c->t.env->ws->send(c->ws, data, sizeof data)) sent += sizeof data;
    assert_true(sent > 0 && sent <= KITH_WS_QUEUE_MAX);
    assert_int_equal(c->t.env->ws->queued(c->ws), sent);
    close_and_wait();
    server_end(s);
    assert_int_equal(counted, sent);
    assert_int_equal(close_code, 1000);
}

/* ---- flow ---- */

static pthread_barrier_t barrier;
static void read_late(peer *p)
{
    if (!peer_upgrade(p)) return;
    pthread_barrier_wait(&barrier);
    peer_echo(p);
}

static void a_full_queue_says_again_and_then_writable(void **state)
{
    (void)state;
    static uint8_t data[60000];
    size_t sent = 0;
    pthread_barrier_init(&barrier, NULL, 2);
    server *s = server_start(read_late, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->connected);
    kith_err err = KITH_OK;
    for (int turn = 0; turn < 2000 && c->t.env->ws->queued(c->ws) < 4 * sizeof data;
         turn++) { /* the kernel's are full */
        err = c->t.env->ws->send(c->ws, data, sizeof data);
        if (!err) sent++;
        uv_run(&c->t.io->loop, UV_RUN_NOWAIT);
    }
    while (!(err = c->t.env->ws->send(c->ws, data, sizeof data))) sent++;
    assert_int_equal(err, KITH_ERR_AGAIN);
    assert_true(c->t.env->ws->queued(c->ws) <= KITH_WS_QUEUE_MAX);
    assert_int_equal(c->writable, 0);
    pthread_barrier_wait(&barrier);
    UNTIL(c, c->writable);
    assert_true(c->t.env->ws->queued(c->ws) <= KITH_WS_QUEUE_MAX / 2);
    UNTIL(c, c->messages == sent);
    assert_int_equal(c->writable, 1);
    close_and_wait();
    server_end(s);
}

static void nothing_comes_while_paused(void **state)
{
    (void)state;
    pausing(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_of_all_sizes_come_back),
        CASE(fragments_make_one_message),
        CASE(too_large_a_message_ends_it),
        CASE(too_large_in_pieces_ends_it),
        CASE(text_ends_it),
        CASE(a_length_of_2_to_the_63_ends_it),
        CASE(a_masked_frame_ends_it),
        CASE(a_message_in_a_message_ends_it),
        CASE(a_ping_in_pieces_ends_it),
        CASE(pings_are_answered),
        CASE(a_close_code_is_told),
        CASE(the_end_waits_while_paused),
        CASE(closing_after_the_end_that_waits),
        CASE(an_end_without_close_is_a_loss),
        CASE(half_a_message_is_none),
        CASE(closing_inside_callbacks),
        CASE(what_is_queued_is_sent_before_the_close),
        CASE(a_full_queue_says_again_and_then_writable),
        CASE(nothing_comes_while_paused),
    };
    return cmocka_run_group_tests_name("io/ws", tests, NULL, NULL);
}
