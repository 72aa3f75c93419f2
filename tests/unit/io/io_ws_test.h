/* What the tests of WebSockets share: a client, and what it heard from a server that follows a script (ws_server.h).
 */
#ifndef KITH_IO_WS_TEST_H
#define KITH_IO_WS_TEST_H

#include "io/resolve.h"
#include "ws_server.h"

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

static inline void close_it(void)
{
    c->t.env->ws->close(c->ws);
    c->ws = NULL;
}

/* And let go of what it had: its server may end. */
static inline void close_and_wait(void)
{
    close_it();
    UNTIL(c, kith_io_objects(c->t.io) == 0);
    for (int turn = 0; turn < 4; turn++) uv_run(&c->t.io->loop, UV_RUN_NOWAIT); /* the library closes its socket */
}

static inline void on_connected(void *user)
{
    assert_ptr_equal(user, c);
    assert_false(c->in_call);
    assert_int_equal(c->connected++ + c->ended, 0);
}

static inline void on_message(void *user, uint8_t *data, size_t size)
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

static inline void on_writable(void *user)
{
    assert_ptr_equal(user, c);
    assert_true(c->ws && !c->ended && !c->in_call);
    c->writable++;
}

static inline void on_ended(void *user, kith_err why, unsigned status)
{
    assert_ptr_equal(user, c);
    assert_true(c->ws && !c->in_call);
    assert_int_equal(c->ended++, 0);
    c->why = why;
    c->status = status;
    if (c->close_at_end) close_it();
}

static const kith_ws_events events = {on_connected, on_message, on_writable, on_ended};

static inline kith_err dial_with(const char *url, const char *ca, uint32_t timeout_ms)
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

static inline void dial(const char *scheme, const char *host, const server *s, const char *ca)
{
    char url[256];
    snprintf(url, sizeof url, "%s://%s:%u/relay?a=b", scheme, host, s->port);
    assert_ok(dial_with(url, ca, 0));
}

static inline int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"http_proxy",  "https_proxy", "all_proxy", "no_proxy",
                                        "HTTPS_PROXY", "ALL_PROXY",   "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    c = calloc(1, sizeof *c);
    c->t = io_test_new();
    return 0;
}

static inline int tear_down(void **state)
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

static inline void fill(uint8_t *out, size_t size, unsigned salt)
{
    for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(i * 31 + (i >> 8) + salt);
}

static inline void expect_end(kith_err why, unsigned status)
{
    UNTIL(c, c->ended);
    assert_string_equal(kith_err_name(c->why), kith_err_name(why));
    assert_int_equal(c->status, status);
    assert_int_equal(c->t.env->ws->send(c->ws, "x", 1), KITH_ERR_CLOSED);
}

/* Without having been connected. */
static inline void expect_refusal(kith_err why, unsigned status)
{
    UNTIL(c, c->ended || c->connected);
    assert_int_equal(c->connected, 0);
    expect_end(why, status);
}

/* ---- scripts ---- */

static inline void upgrade_and_echo(peer *p)
{
    if (peer_upgrade(p)) peer_echo(p);
}

static char seen_request[4096];
static inline void note_request_and_echo(peer *p)
{
    if (!peer_upgrade(p)) return;
    memcpy(seen_request, p->request, sizeof seen_request);
    peer_echo(p);
}

static inline void say_garbage(peer *p)
{
    if (peer_head(p)) peer_say(p, "SSH-2.0-OpenSSH_9.2\r\n");
}

/* ---- pausing ---- */

static inline void send_thousand(peer *p)
{
    static uint8_t data[1000];
    if (!peer_upgrade(p)) return;
    for (unsigned i = 0; i < 1000; i++) peer_frame(p, 0x82, data, sizeof data);
    peer_echo(p);
}

static inline unsigned idle_turns(void)
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

/* Nothing comes while it is paused, and it does not spin. */
static inline void pausing(bool secure)
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

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
