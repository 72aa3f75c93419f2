/* Simulated WebSockets: a client on host a, a server on host b whose handler echoes. */
#include "sim/sim_ws_server.h"
#include "sim_test.h"

#define SERVER "192.168.1.2:443"

typedef struct end {
    kith_env *env;
    kith_ws *ws;
    unsigned connected, messages, writable, ended, status;
    kith_err why;
    size_t bytes, last_size;
    uint8_t last[KITH_WS_MESSAGE_MAX];
    uint64_t connected_at, ended_at;
    unsigned pause_at;
    bool echo, close_in_message, close_at_end, kill_in_message;
} end_of_ws;

static kith_sim *sim;
static kith_sim_lan *lan;
static kith_sim_host *a, *b;
static kith_env *ea, *eb;
static end_of_ws x, y;
static kith_sim_ws_server *server;
static unsigned accepted, inside;
static char host[128];

static void close_end(end_of_ws *e)
{
    e->env->ws->close(e->ws);
    e->ws = NULL;
}

static void on_connected(void *user)
{
    end_of_ws *e = user;
    assert_int_equal(inside, 0);
    assert_int_equal(e->connected++ + e->ended, 0);
    e->connected_at = e->env->base->now_ns(e->env);
}

static void on_message(void *user, uint8_t *data, size_t size)
{
    end_of_ws *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->ws && !e->ended && kith_sim_alive(e->env));
    e->messages++;
    e->bytes += size;
    e->last_size = size;
    if (size) memcpy(e->last, data, size);
    if (e->echo) assert_ok(e->env->ws->send(e->ws, data, size));
    if (e->messages == e->pause_at) e->env->ws->pause(e->ws);
    if (e->kill_in_message) kith_sim_kill(e->env);
    if (e->close_in_message) close_end(e);
}

static void on_writable(void *user)
{
    end_of_ws *e = user;
    assert_int_equal(inside, 0);
    assert_true(e->ws && !e->ended);
    e->writable++;
}

static void on_ended(void *user, kith_err why, unsigned status)
{
    end_of_ws *e = user;
    assert_int_equal(inside, 0);
    assert_int_equal(e->ended++, 0);
    e->why = why;
    e->status = status;
    e->ended_at = e->env->base->now_ns(e->env);
    if (e->close_at_end) close_end(e);
}

static const kith_ws_events events = {on_connected, on_message, on_writable, on_ended};

static void on_accepted(void *user, kith_ws *ws)
{
    (void)user;
    accepted++;
    if (y.ws) {
        eb->ws->close(ws);
        return;
    }
    y.ws = ws;
    snprintf(host, sizeof host, "%s", kith_sim_ws_host(ws));
    kith_sim_ws_attach(ws, &events, &y);
}

static kith_sim_ws_server_options usual = {.subprotocol = "kith-test"};

static void serve(const kith_sim_ws_server_options *options)
{
    kith_addr at = addr_of("[::]:443");
    assert_ok(kith_sim_ws_listen(eb, &at, options, on_accepted, NULL, &server));
}

static kith_err dial(const char *url)
{
    kith_ws_options options = {.url = url, .subprotocol = "kith-test"};
    inside++;
    kith_err err = ea->ws->connect(ea, &options, &events, &x, &x.ws);
    inside--;
    return err;
}

static void run(void) { kith_sim_run_for(sim, 20 * KITH_SIM_S); }

static int build(uint64_t seed)
{
    sim = world(seed);
    lan = lan_in(sim, "net");
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2"));
    ea = process_on(a);
    eb = process_on(b);
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    x.env = ea;
    y.env = eb;
    accepted = 0;
    assert_ok(kith_sim_name(sim, "relay.example", "192.168.1.2"));
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return build(1);
}

static int tear_down(void **state)
{
    (void)state;
    end(sim);
    return 0;
}

static void meet(void)
{
    serve(&usual);
    assert_ok(dial("ws://" SERVER "/relay"));
    run();
    assert_int_equal(x.connected, 1);
    assert_int_equal(accepted, 1);
}

/* ---- opening ---- */

static void messages_go_both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 1000, 65535, KITH_WS_MESSAGE_MAX};
    static uint8_t data[KITH_WS_MESSAGE_MAX + 1];
    meet();
    y.echo = true;
    assert_string_equal(host, SERVER);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(data, (int)i + 1, sizes[i]);
        assert_ok(ea->ws->send(x.ws, data, sizes[i]));
        run();
        assert_int_equal(x.messages, i + 1);
        assert_int_equal(x.last_size, sizes[i]);
        assert_memory_equal(x.last, data, sizes[i]);
    }
    assert_int_equal(ea->ws->send(x.ws, data, sizeof data), KITH_ERR_LIMIT);
    kith_addr remote = ea->ws->remote(x.ws), here = addr_of(SERVER);
    assert_true(kith_addr_equal(&remote, &here));
}

static void names_and_tls_take_their_time(void **state)
{
    (void)state;
    kith_sim_link link = {.delay_ns = 50 * KITH_SIM_MS};
    kith_sim_ws_server_options secure = {.subprotocol = "kith-test", .certificate = "relay.example"};
    assert_ok(kith_sim_pair_link(a, b, &link));
    serve(&secure);
    uint64_t start = kith_sim_now_ns(sim);
    assert_ok(dial("wss://relay.example/"));
    assert_int_equal(ea->ws->send(x.ws, "x", 1), KITH_ERR_STATE);
    run();
    assert_int_equal(x.connected, 1);
    /* TCP, TLS, HTTP: three round trips of 100 ms, and the name. */
    assert_in_range(x.connected_at - start, 300 * KITH_SIM_MS, 330 * KITH_SIM_MS);
    assert_string_equal(host, "relay.example");
}

static void failed(kith_err why, unsigned status)
{
    run();
    assert_int_equal(x.connected, 0);
    assert_int_equal(x.ended, 1);
    assert_string_equal(kith_err_name(x.why), kith_err_name(why));
    assert_int_equal(x.status, status);
    assert_int_equal(ea->ws->send(x.ws, "x", 1), KITH_ERR_CLOSED);
    assert_int_equal(accepted, 0);
}

static void who_is_not_there(void **state)
{
    (void)state;
    static const char *const urls[] = {"ws://nowhere.example/", "ws://" SERVER "/", "ws://10.0.0.1/", "ws://0.0.0.0/"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        if (i) tear_down(state);
        if (i) build(i);
        assert_ok(dial(urls[i]));
        failed(KITH_ERR_UNREACHABLE, 0);
    }
    assert_int_equal(dial("http://a/"), KITH_ERR_ARG);
}

static void who_does_not_agree(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        kith_sim_ws_server_options options;
        kith_err why;
        unsigned status;
    } cases[] = {
        {"wss://relay.example/",
         {"kith-test", "other.example", false, false, 0},
         KITH_ERR_CERTIFICATE,
         KITH_WS_CERTIFICATE_NAME},
        {"wss://relay.example/",
         {"kith-test", "relay.example", true, false, 0},
         KITH_ERR_CERTIFICATE,
         KITH_WS_CERTIFICATE_UNTRUSTED},
        {"wss://relay.example/", {"kith-test", NULL, false, false, 0}, KITH_ERR_DECLINED, 0},
        {"ws://relay.example:443/", {"kith-test", "relay.example", false, false, 0}, KITH_ERR_DECLINED, 0},
        {"ws://relay.example:443/", {"another", NULL, false, false, 0}, KITH_ERR_DECLINED, 101},
        {"ws://relay.example:443/", {NULL, NULL, false, false, 0}, KITH_ERR_DECLINED, 101},
        {"ws://relay.example:443/", {"kith-test", NULL, false, false, 503}, KITH_ERR_DECLINED, 503},
        {"ws://relay.example:443/", {"kith-test", NULL, false, true, 0}, KITH_ERR_TIMEOUT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tear_down(state);
        build(i);
        serve(&cases[i].options);
        assert_ok(dial(cases[i].url));
        run();
        if (x.why != cases[i].why) fail_msg("case %zu: %s", i, kith_err_name(x.why));
        bool there = cases[i].status == 101; /* the server thinks it agreed */
        if (there) accepted--;
        failed(cases[i].why, cases[i].status);
    }
}

/* ---- ends ---- */

static void a_close_is_heard_with_its_code(void **state)
{
    (void)state;
    meet();
    assert_ok(eb->ws->send(y.ws, "last", 4));
    kith_sim_ws_close_with(y.ws, 1012);
    y.ws = NULL;
    run();
    assert_int_equal(x.messages, 1);
    assert_int_equal(x.why, KITH_ERR_CLOSED);
    assert_int_equal(x.status, 1012);
}

static void what_is_queued_is_sent_before_the_close(void **state)
{
    (void)state;
    static uint8_t data[60000];
    kith_sim_link slow = {.rate = 2000000};
    meet();
    assert_ok(kith_sim_pair_link(a, b, &slow));
    size_t sent = 0;
    while (!ea->ws->send(x.ws, data, sizeof data)) sent += sizeof data;
    assert_true(ea->ws->queued(x.ws) > 0);
    close_end(&x);
    run();
    assert_int_equal(y.bytes, sent);
    assert_int_equal(y.why, KITH_ERR_CLOSED);
    assert_int_equal(y.status, 1000);
    assert_int_equal(x.ended, 0);
}

static void a_killed_server_is_a_loss(void **state)
{
    (void)state;
    meet();
    kith_sim_kill(eb);
    run();
    assert_int_equal(x.why, KITH_ERR_LOST);
    assert_int_equal(y.ended, 0);
    eb->ws->close(y.ws); /* fine, and tells nobody */
}

static void a_killed_client_hears_nothing(void **state)
{
    (void)state;
    meet();
    assert_ok(eb->ws->send(y.ws, "x", 1));
    kith_sim_kill(ea);
    run();
    assert_int_equal(x.messages + x.ended, 0);
    assert_int_equal(y.why, KITH_ERR_LOST);
    assert_int_equal(ea->ws->send(x.ws, "x", 1), KITH_ERR_CLOSED);
    assert_int_equal(dial("ws://" SERVER "/"), KITH_ERR_UNREACHABLE);
}

static void a_cut_is_noticed_by_who_sends(void **state)
{
    (void)state;
    meet();
    assert_ok(kith_sim_partition(a, b, true));
    assert_ok(ea->ws->send(x.ws, "x", 1));
    kith_sim_run_for(sim, 100 * KITH_SIM_S);
    assert_int_equal(x.why, KITH_ERR_LOST);
    assert_int_equal(y.ended, 0);
}

static void ends_inside_callbacks(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        tear_down(state);
        build((uint64_t)i + 10);
        meet();
        x.close_in_message = i == 0;
        x.kill_in_message = i == 1;
        x.close_at_end = i == 2;
        assert_ok(eb->ws->send(y.ws, "one", 3));
        assert_ok(eb->ws->send(y.ws, "two", 3));
        if (i == 2) close_end(&y);
        run();
        assert_int_equal(x.messages, i == 2 ? 2 : 1);
        assert_int_equal(x.ended, i == 2);
        if (i < 2) assert_int_equal(y.ended, 1);
    }
}

static void unlistening(void **state)
{
    (void)state;
    meet();
    kith_sim_ws_unlisten(server);
    assert_ok(ea->ws->send(x.ws, "goes on", 7));
    run();
    assert_int_equal(y.messages, 1);
}

/* ---- flow ---- */

static void a_full_queue(void **state)
{
    (void)state;
    static uint8_t data[50000];
    kith_sim_link slow = {.rate = 1000000};
    meet();
    assert_ok(kith_sim_pair_link(a, b, &slow));
    unsigned sent = 0;
    while (!ea->ws->send(x.ws, data, sizeof data)) sent++;
    assert_int_equal(ea->ws->send(x.ws, data, 1), KITH_ERR_AGAIN);
    assert_true(ea->ws->queued(x.ws) <= KITH_WS_QUEUE_MAX);
    run();
    assert_int_equal(x.writable, 1);
    assert_int_equal(y.messages, sent);
    assert_int_equal(ea->ws->queued(x.ws), 0);
}

static void pausing(void **state)
{
    (void)state;
    static uint8_t data[20000];
    meet();
    x.pause_at = 3;
    unsigned sent = 0;
    for (int i = 0; i < 200; i++) {
        if (!eb->ws->send(y.ws, data, sizeof data)) sent++;
        kith_sim_run_for(sim, 10 * KITH_SIM_MS);
    }
    assert_int_equal(x.messages, 3);
    assert_true(sent < 50); /* it held the sender up */
    ea->ws->resume(x.ws);
    run();
    assert_int_equal(x.messages, sent);
}

static void again_by_chance(void **state)
{
    (void)state;
    unsigned again = 0, sent = 0;
    meet();
    kith_sim_set_send_again(a, 0.3);
    for (int i = 0; i < 1000; i++) {
        kith_err err = ea->ws->send(x.ws, &i, sizeof i);
        assert_true(err == KITH_OK || err == KITH_ERR_AGAIN);
        if (err) again++;
        if (!err) sent++;
        kith_sim_run_for(sim, 2 * KITH_SIM_MS);
        assert_int_equal(x.writable, again);
    }
    run();
    assert_in_range(again, 200, 400);
    assert_int_equal(y.messages, sent);
}

/* ---- over many seeds ---- */

/* Loss, jitter and chance in sending; at the end as many messages as were sent.  The trace. */
static uint64_t lively(uint64_t seed)
{
    kith_sim_link bad = {.delay_ns = 20 * KITH_SIM_MS, .jitter_ns = 10 * KITH_SIM_MS, .loss = 0.05, .rate = 500000};
    static uint8_t data[3000];
    build(seed);
    assert_ok(kith_sim_pair_link(a, b, &bad));
    kith_sim_set_send_again(a, 0.1);
    meet();
    y.echo = true;
    unsigned sent = 0;
    for (unsigned i = 0; i < 300; i++) {
        data[0] = (uint8_t)i;
        if (!ea->ws->send(x.ws, data, 1 + kith_sim_random(sim) % sizeof data)) sent++;
        kith_sim_run_for(sim, kith_sim_random(sim) % (20 * KITH_SIM_MS));
    }
    run();
    assert_int_equal(y.messages, sent);
    assert_int_equal(x.messages, sent);
    assert_int_equal(x.bytes, y.bytes);
    uint64_t trace = kith_sim_trace(sim);
    end(sim);
    return trace;
}

static void the_same_seed_gives_the_same_run(void **state)
{
    tear_down(state);
    uint64_t first = lively(5);
    assert_true(first == lively(5));
    assert_true(first != lively(6));
    for (uint64_t seed = 100; seed < 130; seed++) lively(seed);
    set_up(state);
}

/* Whatever allocation fails: one hears an end, or the message, and nothing is lost. */
static void out_of_memory(void **state)
{
    tear_down(state);
    bool reached = true;
    for (uint64_t n = 1; reached; n++) {
        build(n);
        kith_mem_fail_at(0, false);
        kith_addr at = addr_of("[::]:443");
        kith_mem_fail_at(n, false);
        kith_err err = kith_sim_ws_listen(eb, &at, &usual, on_accepted, NULL, &server);
        if (!err) err = dial("ws://relay.example:443/");
        if (err) assert_int_equal(err, KITH_ERR_NOMEM);
        run();
        bool fine = x.connected && !x.ended;
        if (fine) err = ea->ws->send(x.ws, "hello", 5);
        run();
        reached = kith_mem_failed();
        kith_mem_fail_at(0, false);
        if (!reached) assert_true(fine && !err && y.messages == 1);
        if (x.ws && !x.ended && !x.connected) fail_msg("allocation %u: no end is heard", (unsigned)n);
        end(sim);
    }
    set_up(state);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_go_both_ways),
        CASE(names_and_tls_take_their_time),
        CASE(who_is_not_there),
        CASE(who_does_not_agree),
        CASE(a_close_is_heard_with_its_code),
        CASE(what_is_queued_is_sent_before_the_close),
        CASE(a_killed_server_is_a_loss),
        CASE(a_killed_client_hears_nothing),
        CASE(a_cut_is_noticed_by_who_sends),
        CASE(ends_inside_callbacks),
        CASE(unlistening),
        CASE(a_full_queue),
        CASE(pausing),
        CASE(again_by_chance),
        CASE(the_same_seed_gives_the_same_run),
        CASE(out_of_memory),
    };
    return cmocka_run_group_tests_name("sim/ws", tests, NULL, NULL);
}
