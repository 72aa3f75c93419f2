/* WebSockets against a server that follows a script (ws_server.h), plain and over TLS. */
#include "io/resolve.h"
#include "ws_server.h"

#include <signal.h>

#define UNTIL(c, yes)                                                                                                  \
    while (!(yes)) uv_run(&(c)->t.io->loop, UV_RUN_ONCE)

typedef struct client {
    io_test t;
    kith_ws *ws;
    unsigned connected, messages, writable, ended, status;
    kith_err why;
    size_t last_size, bytes;
    uint8_t last[KITH_WS_MESSAGE_MAX];
    unsigned pause_at; /* pause in the n-th message */
    bool close_in_message, close_at_end;
    bool in_call;
} client;

static client *c; /* the test's */
static bool own_net;

static void close_it(void)
{
    c->t.env->ws->close(c->ws);
    c->ws = NULL;
}

/* And let go of what it had: its server may end. */
static void close_and_wait(void)
{
    close_it();
    UNTIL(c, kith_io_objects(c->t.io) == 0);
    for (int turn = 0; turn < 4; turn++) uv_run(&c->t.io->loop, UV_RUN_NOWAIT); /* the library closes its socket */
}

static void on_connected(void *user)
{
    assert_ptr_equal(user, c);
    assert_false(c->in_call);
    assert_int_equal(c->connected++ + c->ended, 0);
}

static void on_message(void *user, uint8_t *data, size_t size)
{
    assert_ptr_equal(user, c);
    assert_true(c->ws && c->connected && !c->ended && !c->in_call);
    c->messages++;
    c->bytes += size;
    c->last_size = size;
    memcpy(c->last, data, size);
    memset(data, 0xee, size); /* they may be changed */
    if (c->messages == c->pause_at) c->t.env->ws->pause(c->ws);
    if (c->close_in_message) close_it();
}

static void on_writable(void *user)
{
    assert_ptr_equal(user, c);
    assert_true(c->ws && !c->ended && !c->in_call);
    c->writable++;
}

static void on_ended(void *user, kith_err why, unsigned status)
{
    assert_ptr_equal(user, c);
    assert_true(c->ws && !c->in_call);
    assert_int_equal(c->ended++, 0);
    c->why = why;
    c->status = status;
    if (c->close_at_end) close_it();
}

static const kith_ws_events events = {on_connected, on_message, on_writable, on_ended};

static kith_err dial_with(const char *url, const char *ca, uint32_t timeout_ms)
{
    char ca_file[128];
    kith_ws_options options = {.url = url, .subprotocol = "kith-test", .timeout_ms = timeout_ms};
    snprintf(ca_file, sizeof ca_file, "%s/%s.pem", certificates, ca ? ca : "");
    if (ca) options.ca_file = ca_file;
    c->in_call = true;
    kith_err err = c->t.env->ws->connect(c->t.env, &options, &events, c, &c->ws);
    c->in_call = false;
    return err;
}

static void dial(const char *scheme, const char *host, const server *s, const char *ca)
{
    char url[256];
    snprintf(url, sizeof url, "%s://%s:%u/relay?a=b", scheme, host, s->port);
    assert_ok(dial_with(url, ca, 0));
}

static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"http_proxy",  "https_proxy", "all_proxy", "no_proxy",
                                        "HTTPS_PROXY", "ALL_PROXY",   "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    c = calloc(1, sizeof *c);
    c->t = io_test_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (c->ws) close_it();
    kith_io_stop(c->t.io);
    kith_io_run(c->t.io);
    while (kith_io_resolve_threads()) usleep(1000); /* one that nobody waited for any more */
    io_test_end(&c->t);
    free(c);
    return 0;
}

static void fill(uint8_t *out, size_t size, unsigned salt)
{
    for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(i * 31 + (i >> 8) + salt);
}

static void expect_end(kith_err why, unsigned status)
{
    UNTIL(c, c->ended);
    assert_string_equal(kith_err_name(c->why), kith_err_name(why));
    assert_int_equal(c->status, status);
    assert_int_equal(c->t.env->ws->send(c->ws, "x", 1), KITH_ERR_CLOSED);
}

/* ---- plain ---- */

static void upgrade_and_echo(peer *p)
{
    if (peer_upgrade(p)) peer_echo(p);
}

static char seen_request[4096];
static void note_request_and_echo(peer *p)
{
    if (!peer_upgrade(p)) return;
    memcpy(seen_request, p->request, sizeof seen_request);
    peer_echo(p);
}

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

static void send_thousand(peer *p)
{
    static uint8_t data[1000];
    if (!peer_upgrade(p)) return;
    for (unsigned i = 0; i < 1000; i++) peer_frame(p, 0x82, data, sizeof data);
    peer_echo(p);
}

static unsigned idle_turns(void)
{
    unsigned turns = 0;
    uint64_t end = c->t.env->base->now_ns(c->t.env) + 200 * MS;
    while (c->t.env->base->now_ns(c->t.env) < end) {
        if (uv_run(&c->t.io->loop, UV_RUN_NOWAIT)) turns++;
        struct pollfd p = {.fd = uv_backend_fd(&c->t.io->loop), .events = POLLIN};
        poll(&p, 1, 20);
    }
    return turns;
}

/* And a paused one does not spin. */
static void pausing(bool secure)
{
    server *s = server_start(send_thousand, secure ? server_tls("good") : NULL, 1);
    c->pause_at = 3;
    dial(secure ? "wss" : "ws", "localhost", s, secure ? "ca" : NULL);
    UNTIL(c, c->messages);
    unsigned turns = idle_turns();
    assert_true(turns < 100);
    assert_int_equal(c->messages, 3);
    c->pause_at = 400;
    c->t.env->ws->resume(c->ws);
    UNTIL(c, c->messages == 400);
    idle_turns();
    assert_int_equal(c->messages, 400);
    c->t.env->ws->resume(c->ws);
    UNTIL(c, c->messages == 1000);
    assert_int_equal(c->bytes, 1000 * 1000);
    close_and_wait();
    server_end(s);
}

static void nothing_comes_while_paused(void **state)
{
    (void)state;
    pausing(false);
}
static void nothing_comes_while_paused_over_tls(void **state)
{
    (void)state;
    pausing(true);
}

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
static void say_garbage(peer *p)
{
    if (peer_head(p)) peer_say(p, "SSH-2.0-OpenSSH_9.2\r\n");
}
static void wrong_key(peer *p)
{
    if (peer_head(p))
        peer_say(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: kith-test\r\n\r\n");
}
static void hang_up(peer *p) { peer_head(p); }

static void declined_with(void (*script)(peer *p), unsigned status)
{
    server *s = server_start(script, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    expect_end(KITH_ERR_DECLINED, status);
    assert_int_equal(c->connected, 0);
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

static void say_nothing(peer *p)
{
    uint8_t byte;
    while (peer_read(p, &byte, 1)) {
    }
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

static void closing_before_it_is_connected(void **state)
{
    (void)state;
    server *s = server_start(say_nothing, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, kith_io_objects(c->t.io) == 2); /* the look-up is over */
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

/* ---- certificates ---- */

static void good_certificates_of_name_and_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < 2; i++) {
        server *s = server_start(upgrade_and_echo, server_tls("good"), 1);
        c->connected = c->messages = 0;
        dial("wss", hosts[i], s, "ca");
        UNTIL(c, c->connected);
        assert_ok(c->t.env->ws->send(c->ws, "over TLS", 8));
        UNTIL(c, c->messages);
        assert_memory_equal(c->last, "over TLS", 8);
        close_it();
        UNTIL(c, kith_io_objects(c->t.io) == 0);
        server_end(s);
    }
}

static void bad_certificate(const char *certificate, const char *host, const char *ca, kith_ws_certificate fault)
{
    server *s = server_start(upgrade_and_echo, server_tls(certificate), 1);
    dial("wss", host, s, ca);
    expect_end(KITH_ERR_CERTIFICATE, fault);
    assert_int_equal(c->connected, 0);
    server_end(s);
}

#define REFUSED(name, certificate, host, ca, fault)                                                                    \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        bad_certificate(certificate, host, ca, KITH_WS_CERTIFICATE_##fault);                                           \
    }
REFUSED(an_unknown_authority_is_refused, "good", "localhost", NULL, UNTRUSTED)
REFUSED(another_authority_is_refused, "other", "localhost", "ca", UNTRUSTED)
REFUSED(another_name_is_refused, "wrong", "localhost", "ca", NAME)
REFUSED(another_address_is_refused, "wrong", "127.0.0.1", "ca", NAME)
REFUSED(an_expired_one_is_refused, "expired", "localhost", "ca", EXPIRED)
REFUSED(one_of_the_future_is_refused, "future", "localhost", "ca", EARLY)
REFUSED(a_self_signed_one_is_refused, "other_ca", "localhost", "ca", UNTRUSTED)

/* Addresses of IPv6 are checked by us alone. */
static void ipv6_certificates(void **state)
{
    (void)state;
    if (!own_net) skip();
    server *s = server_start_at("::1", upgrade_and_echo, server_tls("six"), 1);
    dial("wss", "[::1]", s, "ca");
    UNTIL(c, c->connected);
    close_and_wait();
    server_end(s);
    c->connected = 0;
    s = server_start_at("::1", upgrade_and_echo, server_tls("good"), 1); /* for 127.0.0.1 */
    dial("wss", "[::1]", s, "ca");
    expect_end(KITH_ERR_CERTIFICATE, KITH_WS_CERTIFICATE_NAME);
    assert_int_equal(c->connected, 0);
    server_end(s);
}

static void tls_where_there_is_none(void **state)
{
    (void)state;
    server *s = server_start(say_garbage, NULL, 1);
    char url[64];
    snprintf(url, sizeof url, "wss://localhost:%u/", s->port);
    assert_ok(dial_with(url, "ca", 1000));
    UNTIL(c, c->ended);
    assert_true(c->why == KITH_ERR_DECLINED || c->why == KITH_ERR_TIMEOUT);
    close_and_wait();
    server_end(s);
}

/* A socket that the peer has reset is written to: no SIGPIPE ends us, and its disposition is as it was. */
static void reset(peer *p)
{
    struct linger at_once = {1, 0};
    if (!peer_upgrade(p)) return;
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(p->fd);
    p->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void end_by_stop(void *user)
{
    (void)user;
    static uint8_t data[60000];
    (void)c->t.env->ws->send(c->ws, data, sizeof data);
}

static void on_ended_stop(void *user, kith_err why, unsigned status)
{
    on_ended(user, why, status);
    close_it();
    kith_io_stop(c->t.io);
}

static void no_signal(void **state)
{
    (void)state;
    static const kith_ws_events stopping = {end_by_stop, on_message, on_writable, on_ended_stop};
    struct sigaction action;
    char url[64], ca_file[128];
    server *s = server_start(reset, server_tls("good"), 1);
    snprintf(url, sizeof url, "wss://localhost:%u/", s->port);
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", certificates);
    kith_ws_options options = {.url = url, .subprotocol = "kith-test", .ca_file = ca_file};
    assert_ok(c->t.env->ws->connect(c->t.env, &options, &stopping, c, &c->ws));
    kith_io_run(c->t.io);
    assert_int_equal(c->ended, 1);
    sigaction(SIGPIPE, NULL, &action);
    assert_true(action.sa_handler == SIG_DFL);
    server_end(s);
}

/* ---- proxies ---- */

static char proxy_request[4096];
static uint16_t behind; /* the server's port */

static void *copy_back(void *argument)
{
    int *fds = argument;
    char bytes[4096];
    for (ssize_t got; (got = recv(fds[1], bytes, sizeof bytes, 0)) > 0;)
        if (send(fds[0], bytes, (size_t)got, MSG_NOSIGNAL) != got) break;
    shutdown(fds[0], SHUT_WR);
    return NULL;
}

static void tunnel(peer *p)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(behind)};
    char bytes[4096];
    pthread_t thread;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!peer_head(p)) return;
    memcpy(proxy_request, p->request, sizeof proxy_request);
    int fds[2] = {p->fd, socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(connect(fds[1], (struct sockaddr *)&at, sizeof at), 0);
    peer_say(p, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
    pthread_create(&thread, NULL, copy_back, fds);
    for (ssize_t got; (got = recv(fds[0], bytes, sizeof bytes, 0)) > 0;)
        if (send(fds[1], bytes, (size_t)got, MSG_NOSIGNAL) != got) break;
    shutdown(fds[1], SHUT_WR);
    pthread_join(thread, NULL);
    close(fds[1]);
}

static void need_password(peer *p)
{
    if (peer_head(p)) peer_say(p, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
}

static void through_a_proxy(bool secure)
{
    char proxy[128];
    server *s = server_start(note_request_and_echo, secure ? server_tls("named") : NULL, 1);
    server *via = server_start(tunnel, NULL, 1);
    behind = s->port;
    snprintf(proxy, sizeof proxy, "http://me:p%%40ss@localhost:%u", via->port);
    setenv(secure ? "https_proxy" : "http_proxy", proxy, 1);
    dial(secure ? "wss" : "ws", "relay.example", s, secure ? "ca" : NULL); /* only the proxy has to know that name */
    UNTIL(c, c->connected);
    assert_ok(c->t.env->ws->send(c->ws, "hello", 5));
    UNTIL(c, c->messages);
    snprintf(proxy, sizeof proxy, "CONNECT relay.example:%u HTTP/1.1\r\n", s->port);
    assert_non_null(strstr(proxy_request, proxy));
    assert_non_null(strstr(proxy_request, "basic bWU6cEBzcw==\r\n")); /* me:p@ss */
    assert_int_equal(c->t.env->ws->remote(c->ws).family, KITH_FAMILY_NONE);
    assert_non_null(strstr(seen_request, "Host: relay.example:"));
    close_and_wait();
    server_end(s);
    server_end(via);
}

static void a_proxy_is_used(void **state)
{
    (void)state;
    through_a_proxy(false);
}
static void a_proxy_is_used_for_tls(void **state)
{
    (void)state;
    through_a_proxy(true);
}

static void a_proxy_that_declines(void **state)
{
    (void)state;
    char proxy[128];
    server *via = server_start(need_password, NULL, 1);
    snprintf(proxy, sizeof proxy, "127.0.0.1:%u", via->port);
    setenv("http_proxy", proxy, 1);
    assert_ok(dial_with("ws://relay.example/", NULL, 0));
    expect_end(KITH_ERR_NETWORK, 0);
    server_end(via);
}

static void no_proxy_is_heeded(void **state)
{
    (void)state;
    server *s = server_start(upgrade_and_echo, NULL, 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "localhost", 1);
    dial("ws", "localhost", s, NULL);
    UNTIL(c, c->connected);
    close_and_wait();
    server_end(s);
}

/* ---- the world around it ---- */

static void forgotten_ones_are_counted(void **state)
{
    (void)state;
    static kith_ws *volatile forgotten; /* its memory is lost, as io.h says */
    size_t leaked = kith_io_leaked();
    server *s = server_start(say_nothing, NULL, 1);
    dial("ws", "127.0.0.1", s, NULL);
    UNTIL(c, kith_io_objects(c->t.io) == 2);
    kith_io_free(c->t.io);
    assert_int_equal(kith_io_leaked(), leaked + 2); /* it and its timer */
    assert_int_equal(c->ended, 0);
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

static int make_certificates(void **state)
{
    (void)state;
    own_net = own_network(); /* where nobody answers for names */
    if (own_net) link_up("lo", 0);
    snprintf(certificates, sizeof certificates, "/tmp/kith-ws-XXXXXX");
    if (!mkdtemp(certificates)) return -1;
    make_ca("ca");
    make_ca("other_ca");
    static const char *const both = "DNS:localhost,IP:127.0.0.1";
    make_certificate("good", both, "ca", "-days 30");
    make_certificate("named", "DNS:relay.example", "ca", "-days 30");
    make_certificate("six", "IP:::1", "ca", "-days 30");
    make_certificate("wrong", "DNS:example.org,IP:192.0.2.1", "ca", "-days 30");
    make_certificate("other", both, "other_ca", "-days 30");
    make_certificate("expired", both, "ca", "-startdate 20200101000000Z -enddate 20200201000000Z");
    make_certificate("future", both, "ca", "-startdate 20980101000000Z -enddate 20990201000000Z");
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", certificates);
    return system(line);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_of_all_sizes_come_back),
        CASE(fragments_make_one_message),
        CASE(too_large_a_message_ends_it),
        CASE(too_large_in_pieces_ends_it),
        CASE(text_ends_it),
        CASE(a_length_of_2_to_the_63_ends_it),
        CASE(a_close_code_is_told),
        CASE(an_end_without_close_is_a_loss),
        CASE(half_a_message_is_none),
        CASE(closing_inside_callbacks),
        CASE(what_is_queued_is_sent_before_the_close),
        CASE(a_full_queue_says_again_and_then_writable),
        CASE(nothing_comes_while_paused),
        CASE(nothing_comes_while_paused_over_tls),
        CASE(a_refusal_has_its_status),
        CASE(a_redirect_is_not_followed),
        CASE(no_subprotocol_is_a_refusal),
        CASE(another_subprotocol_is_a_refusal),
        CASE(garbage_is_a_refusal),
        CASE(a_wrong_key_is_a_refusal),
        CASE(hanging_up_is_a_refusal),
        CASE(silence_ends_in_time),
        CASE(closing_before_it_is_connected),
        CASE(nobody_there),
        CASE(no_such_name),
        CASE(a_url_that_is_none),
        CASE(the_next_address_is_tried),
        CASE(good_certificates_of_name_and_address),
        CASE(an_unknown_authority_is_refused),
        CASE(another_authority_is_refused),
        CASE(another_name_is_refused),
        CASE(another_address_is_refused),
        CASE(an_expired_one_is_refused),
        CASE(one_of_the_future_is_refused),
        CASE(a_self_signed_one_is_refused),
        CASE(ipv6_certificates),
        CASE(tls_where_there_is_none),
        CASE(no_signal),
        CASE(a_proxy_is_used),
        CASE(a_proxy_is_used_for_tls),
        CASE(a_proxy_that_declines),
        CASE(no_proxy_is_heeded),
        CASE(forgotten_ones_are_counted),
        CASE(out_of_memory),
    };
    return cmocka_run_group_tests_name("io/ws", tests, make_certificates, remove_certificates);
}
