/* How WebSockets come to be, and how that fails. */
#include "base/mem.h"
#include "io_ws_test.h"

/* ---- who does not answer as a WebSocket ---- */

static void refuse_403(peer *p)
{
    if (peer_head(p)) peer_say(p, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
}
static void redirect(peer *p)
{
    if (peer_head(p)) peer_say(p, "HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
}
static void agree_to_nothing(peer *p) { peer_upgrade_as(p, NULL); }
static void agree_to_other(peer *p) { peer_upgrade_as(p, "other"); }
static void wrong_key(peer *p)
{
    if (peer_head(p))
        peer_say(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: kith-test\r\n\r\n");
}
static void hang_up(peer *p) { peer_head(p); }
static void talk_for_ever(peer *p)
{
    if (peer_head(p) && peer_say(p, "HTTP/1.1 101 Switching Protocols\r\n"))
        while (peer_say(p, "X-Padding: more and more and more\r\n")) {
        }
}
static void an_extension(peer *p)
{
    char key[64], answer[512];
    if (!peer_head(p)) return;
    peer_accept_key(p, key);
    snprintf(
        answer, sizeof answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        "Sec-WebSocket-Protocol: kith-test\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        key);
    peer_say(p, answer);
}

static void declined_with(void (*script)(peer *p), unsigned status)
{
    server *s = server_start(script, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    expect_refusal(KITH_ERR_DECLINED, status);
    server_end(s);
}

#define DECLINED(name, script, status)                                                                                 \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        declined_with(script, status);                                                                                 \
    }
DECLINED(a_refusal_has_its_status, refuse_403, 403)
DECLINED(a_redirect_is_not_followed, redirect, 302)
DECLINED(no_subprotocol_is_a_refusal, agree_to_nothing, 101)
DECLINED(another_subprotocol_is_a_refusal, agree_to_other, 101)
DECLINED(garbage_is_a_refusal, say_garbage, 0)
DECLINED(a_wrong_key_is_a_refusal, wrong_key, 101)
DECLINED(hanging_up_is_a_refusal, hang_up, 0)
DECLINED(endless_headers_are_a_refusal, talk_for_ever, 0)
DECLINED(an_extension_not_asked_for_is_a_refusal, an_extension, 101)

static void say_nothing(peer *p)
{
    uint8_t byte;
    while (peer_read(p, &byte, 1)) {
    }
}

/* Byte after byte, and with a message behind it. */
static void say_slowly(peer *p)
{
    char key[64], answer[512];
    if (!peer_head(p)) return;
    peer_accept_key(p, key);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 x\r\nconnection: keep-alive , upgrade\r\nUPGRADE:\tWebSocket \r\n"
                        "sec-websocket-protocol:kith-test\r\nsec-websocket-accept:  %s\r\n\r\n\x82\x05"
                        "hello",
                        key);
    for (int i = 0; i < size - 10; i++) {
        peer_write(p, answer + i, 1);
        if (i % 16 == 0) usleep(1000); /* it arrives in pieces */
    }
    peer_write(p, answer + size - 10, 10);
    peer_echo(p);
}

static void an_answer_in_pieces(void **state)
{
    (void)state;
    server *s = server_start(say_slowly, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, c->messages);
    assert_memory_equal(c->last, "hello", 5);
    close_and_wait();
    server_end(s);
}

static void silence_ends_in_time(void **state)
{
    (void)state;
    char url[64];
    server *s = server_start(say_nothing, NULL, 1);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", s->port);
    uint64_t start = c->t.env->base->now_ns(c->t.env);
    assert_ok(dial_with(url, NULL, 300));
    expect_end(KITH_ERR_TIMEOUT, 0);
    assert_true(c->t.env->base->now_ns(c->t.env) - start >= 300 * MS);
    close_and_wait();
    server_end(s); /* its socket was closed */
}

static atomic_bool was_asked;
static void note_and_say_nothing(peer *p)
{
    was_asked = peer_head(p);
    say_nothing(p);
}

static void turn_until_asked(void)
{
    while (!was_asked) uv_run(&c->t.io->loop, UV_RUN_NOWAIT);
    was_asked = false;
}

static void closing_before_it_is_connected(void **state)
{
    (void)state;
    server *s = server_start(note_and_say_nothing, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    turn_until_asked();
    close_and_wait();
    server_end(s);
    assert_ok(dial_with("ws://localhost:1/", NULL, 0)); /* while it is looked up */
    close_and_wait();
}

static void nobody_there(void **state)
{
    (void)state;
    assert_ok(dial_with("ws://127.0.0.1:1/", NULL, 0));
    expect_end(KITH_ERR_UNREACHABLE, 0);
}

static void no_such_name(void **state)
{
    (void)state;
    assert_ok(dial_with("ws://nowhere.invalid/", NULL, 0));
    expect_end(KITH_ERR_UNREACHABLE, 0);
}

static void a_url_that_is_none(void **state)
{
    (void)state;
    assert_int_equal(dial_with("http://localhost/", NULL, 0), KITH_ERR_ARG);
    assert_int_equal(dial_with("wss://localhost/", "missing", 0), KITH_ERR_FORMAT);
    assert_int_equal(kith_io_objects(c->t.io), 0);
}

/* localhost has two addresses here, and the server only one of them. */
static void the_next_address_is_tried(void **state)
{
    (void)state;
    server *s = server_start(upgrade_and_echo, NULL, 1);
    dial("ws", "localhost", s, NULL);
    UNTIL(c, c->connected);
    close_and_wait();
    server_end(s);
}

/* ---- the world around it ---- */

static pthread_barrier_t barrier;
static void note_and_stay(peer *p)
{
    was_asked = peer_head(p);
    pthread_barrier_wait(&barrier);
}

static void forgotten_ones_are_counted(void **state)
{
    (void)state;
    static kith_ws *volatile forgotten; /* its memory is lost, as io.h says */
    size_t leaked = kith_io_leaked();
    pthread_barrier_init(&barrier, NULL, 2);
    server *s = server_start(note_and_stay, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    turn_until_asked();
    kith_io_free(c->t.io);
    assert_int_equal(kith_io_leaked(), leaked + 3); /* it, its timer and its stream */
    assert_int_equal(c->ended, 0);
    pthread_barrier_wait(&barrier);
    server_end(s);
    forgotten = c->ws;
    c->ws = NULL;
    assert_non_null(forgotten);
    c->t = io_test_new();
}

static int silent_body(void *argument)
{
    kith_ws_options options = {.url = argument, .subprotocol = "kith-test"};
    kith_io *io;
    kith_ws *ws;
    kith_err err = kith_io_new(&io);
    if (err) return err;
    err = kith_io_env(io)->ws->connect(kith_io_env(io), &options, &events, c, &ws);
    if (!err) kith_io_env(io)->ws->close(ws);
    kith_io_stop(io);
    kith_io_run(io);
    kith_io_free(io);
    return err;
}

static void out_of_memory(void **state)
{
    (void)state;
    test_every_allocation(silent_body, (void *)"ws://127.0.0.1:1/");
}

/* From the first address to the last frame: what fails is told, or made up for, and nothing leaks or waits for ever. */
static int echo_body(void *unused)
{
    (void)unused;
    io_test before = c->t;
    kith_io *io = NULL;
    server *s = server_start(upgrade_and_echo, NULL, 1);
    kith_err err = kith_io_new(&io);
    c->connected = c->messages = c->ended = 0;
    if (!err) {
        c->t.io = io;
        c->t.env = kith_io_env(io);
        char url[64];
        snprintf(url, sizeof url, "ws://127.0.0.1:%u/", s->port);
        err = dial_with(url, NULL, 0);
    }
    if (!err) {
        UNTIL(c, c->connected || c->ended);
        if (!c->ended) err = c->t.env->ws->send(c->ws, "x", 1);
        if (!err) UNTIL(c, c->messages || c->ended);
        if (c->ended) err = c->why;
        close_and_wait();
    }
    kith_io_free(io);
    c->t = before;
    shutdown(s->fd, SHUT_RDWR); /* nobody may have come */
    server_end(s);
    return err || !kith_mem_failed() ? err : KITH_ERR_NOMEM;
}

static void out_of_memory_from_end_to_end(void **state)
{
    (void)state;
    test_every_allocation(echo_body, NULL);
}

static int in_own_network(void **state) /* where nobody answers for names */
{
    (void)state;
    if (own_network()) link_up("lo", 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_refusal_has_its_status),
        CASE(a_redirect_is_not_followed),
        CASE(no_subprotocol_is_a_refusal),
        CASE(another_subprotocol_is_a_refusal),
        CASE(garbage_is_a_refusal),
        CASE(a_wrong_key_is_a_refusal),
        CASE(hanging_up_is_a_refusal),
        CASE(endless_headers_are_a_refusal),
        CASE(an_extension_not_asked_for_is_a_refusal),
        CASE(an_answer_in_pieces),
        CASE(silence_ends_in_time),
        CASE(closing_before_it_is_connected),
        CASE(nobody_there),
        CASE(no_such_name),
        CASE(a_url_that_is_none),
        CASE(the_next_address_is_tried),
        CASE(forgotten_ones_are_counted),
        CASE(out_of_memory),
        CASE(out_of_memory_from_end_to_end),
    };
    return cmocka_run_group_tests_name("io/ws_open", tests, in_own_network, NULL);
}
