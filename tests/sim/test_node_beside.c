/* A session over TCP beside one over datagrams: where UDP is blocked on one side and the other is reached, a file that
 * began over the relay ends over TCP; so does bulk on a local network as soon as TCP is there. */
#include "nat_world.h"
#include "node/session.h"
#include "service/talk.h"

#define SOON (4 * KITH_SIM_S) /* it has gone over within this */

static void slow(world *w, uint64_t delay_ns, uint64_t rate)
{
    const kith_sim_link link = {.delay_ns = delay_ns, .rate = rate, .queue = 200000, .mtu = 1500};
    kith_sim_lan_set_link(w->net, &link);
}

static size_t tcp_sessions(const victim *v)
{
    size_t n = 0;
    for (const kith_link *at = v->core->sessions.head.next; at != &v->core->sessions.head; at = at->next) {
        const session *s = KITH_OF(at, const session, link);
        n += s->carrier->kind == CARRIER_STREAM;
    }
    return n;
}

static bool is_over_tcp(void *user)
{
    const kith_event *e = last_event(user, KITH_EVENT_PROGRESS);
    return (e && strcmp(e->path, "tcp") == 0) || last_event(user, KITH_EVENT_END);
}

static bool flows(void *user) { return last_event(user, KITH_EVENT_PROGRESS) != NULL; }

static const kith_event *nth(const victim *v, kith_event_kind what, size_t n)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->events[i].kind == what && n-- == 0) return &v->events[i];
    fail_msg("there are not so many");
    return NULL;
}

/* It began over the relay, and went on over TCP, unnoticed. */
static void assert_went_over(const world *w)
{
    const victim *from = &w->v[0], *to = &w->v[1];
    assert_int_equal(count_events(from, KITH_EVENT_CONNECTED), 2);
    assert_int_equal(count_events(from, KITH_EVENT_WAITING), 0);
    assert_string_equal(nth(from, KITH_EVENT_START, 0)->path, "relay");
    assert_string_equal(nth(from, KITH_EVENT_START, 1)->path, "tcp");
    assert_string_equal(last_event(from, KITH_EVENT_SENT)->path, "tcp");
    assert_int_equal(count_events(to, KITH_EVENT_FILE), 1);
}

static void begin(world *w, uint64_t seed, kind a, kind b)
{
    world_make(w, seed, a, b);
    slow(w, 10 * KITH_SIM_MS, 1000000);
    put_file(w, BIG);
    open_both(w);
    receive(w);
}

/* Whoever sends, and whichever of the two it is that dialled the session at the relay. */
static void udp_blocked_on_one_side(void **state)
{
    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        static world w;
        begin(&w, 20 + (uint64_t)blocked, blocked == 0 ? TCP_ONLY : OPEN, blocked == 1 ? TCP_ONLY : OPEN);
        send(&w, KITH_PATH_ANY);
        if (!kith_sim_run_until(w.sim, flows, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
        uint64_t start = kith_sim_now_ns(w.sim);
        if (!kith_sim_run_until(w.sim, is_over_tcp, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it stays where it is");
        if (kith_sim_now_ns(w.sim) - start > SOON)
            fail_msg("only after %.2f s", (double)(kith_sim_now_ns(w.sim) - start) / 1e9);
        check_arrived(&w);
        assert_went_over(&w);
        world_free(&w);
    }
}

static void nobody_is_reached(void **state)
{
    (void)state;
    static world w;
    begin(&w, 22, TCP_ONLY, PORT);
    send(&w, KITH_PATH_ANY);
    check_arrived(&w);
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "relay");
    assert_int_equal(count_events(&w.v[0], KITH_EVENT_CONNECTED), 1);
    world_free(&w);
}

static void pings_go_over(void **state)
{
    (void)state;
    static world w;
    begin(&w, 23, OPEN, TCP_ONLY);
    assert_string_equal(pong(&w, 5)->path, "tcp");
    assert_string_equal(nth(&w.v[0], KITH_EVENT_PONG, 0)->path, "relay");
    assert_string_equal(pong(&w, 1)->path, "tcp"); /* a new one begins there */
    world_free(&w);
}

/* The round trip is so long that both dial before they hear of each other: each would give up its own for the other's.
 */
static void both_dial_at_once(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 24, OPEN, OPEN);
    assert_ok(kith_sim_firewall(w.v[0].host, w.v[1].host, true, false));
    slow(&w, 500 * KITH_SIM_MS, 1000000);
    put_file(&w, BIG);
    open_both(&w);
    receive(&w);
    kith_sim_run_for(w.sim, 10 * KITH_SIM_S); /* it is registered */
    send(&w, KITH_PATH_ANY);
    size_t most = 0;
    for (int i = 0; i < 1000 && !last_event(&w.v[0], KITH_EVENT_END); i++) {
        kith_sim_run_for(w.sim, 50 * KITH_SIM_MS);
        for (int k = 0; k < 2; k++)
            if (tcp_sessions(&w.v[k]) > most) most = tcp_sessions(&w.v[k]);
    }
    assert_int_equal(most, 2);
    check_arrived(&w);
    assert_went_over(&w);
    assert_int_equal(count_events(&w.v[1], KITH_EVENT_START), 1); /* one transfer, whichever way it goes */
    assert_int_equal(count_events(&w.v[1], KITH_EVENT_FAILED), 0);
    world_free(&w);
}

/* --path relay and --path udp: nobody dials over TCP, neither who sends nor who receives. */
static void no_tcp_where_none_is_wanted(void **state)
{
    (void)state;
    static const kith_path paths[] = {KITH_PATH_RELAY, KITH_PATH_UDP};
    for (size_t i = 0; i < 2; i++) {
        static world w;
        begin(&w, 25, OPEN, OPEN);
        slow(&w, 2 * KITH_SIM_MS, 1000000);
        (void)pong(&w, 1);
        kith_sim_run_for(w.sim, RELAYED);
        victim_close(&w.v[0]); /* started anew it knows the address */
        victim_home(&w.v[0], "a");
        victim_open(&w.v[0]);
        w.v[0].count = 0;
        send(&w, paths[i]);
        while (!last_event(&w.v[0], KITH_EVENT_END)) {
            kith_sim_run_for(w.sim, 20 * KITH_SIM_MS);
            for (int k = 0; k < 2; k++) assert_int_equal(tcp_sessions(&w.v[k]), 0);
        }
        check_arrived(&w);
        assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, i ? "udp" : "relay");
        world_free(&w);
    }
}

/* Near each other, with TCP blocked until the file is under way. */
static void bulk_goes_to_tcp_when_it_is_there(void **state)
{
    (void)state;
    for (int far = 0; far < 2; far++) {
        static world w;
        begin(&w, 26, OPEN, OPEN);
        slow(&w, far ? 30 * KITH_SIM_MS : 2 * KITH_SIM_MS, 600000);
        kith_sim_lan_set_discovery(w.net, 0, 0);
        assert_ok(kith_sim_firewall(w.v[0].host, w.v[1].host, false, true));
        send(&w, KITH_PATH_ANY);
        if (!kith_sim_run_until(w.sim, flows, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
        assert_ok(kith_sim_firewall(w.v[0].host, w.v[1].host, false, false));
        check_arrived(&w);
        if (far) { /* what the system's TCP does there is not better */
            assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "udp");
            assert_int_equal(count_events(&w.v[0], KITH_EVENT_CONNECTED), 1);
        } else {
            assert_went_over(&w);
            assert_true(nth(&w.v[0], KITH_EVENT_START, 1)->bytes > 0); /* at the next missing chunk */
        }
        world_free(&w);
    }
}

/* Over TCP until it dies; over the relay, and over TCP again. */
static void tcp_that_comes_and_goes(void **state)
{
    (void)state;
    static world w;
    begin(&w, 27, TCP_ONLY, OPEN);
    slow(&w, 10 * KITH_SIM_MS, 500000);
    send(&w, KITH_PATH_ANY);
    if (!kith_sim_run_until(w.sim, is_over_tcp, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it stays where it is");
    kith_sim_run_for(w.sim, 6 * KITH_SIM_S);
    assert_ok(kith_sim_firewall(w.v[0].host, w.v[1].host, false, true));
    kith_sim_run_for(w.sim, 6 * KITH_SIM_S);
    assert_true(last_event(&w.v[0], KITH_EVENT_START)->bytes > 0);
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_PROGRESS)->path, "relay");
    assert_ok(kith_sim_firewall(w.v[0].host, w.v[1].host, false, false));
    check_arrived(&w);
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "tcp");
    assert_int_equal(count_events(&w.v[0], KITH_EVENT_WAITING), 0);
    world_free(&w);
}

/* ---- connections with messages ---- */

static kith_op incoming;
static unsigned got;
static char last_path[2][8];

static bool on_incoming(void *user, const kith_event *event)
{
    (void)user;
    incoming = event->transfer;
    return true;
}
static bool on_message(void *user, kith_op connection, kith_talk_message *m)
{
    victim *v = user;
    unsigned n;
    assert_int_equal(m->size, sizeof n);
    memcpy(&n, m->data, sizeof n);
    assert_int_equal(n, got);
    got++;
    kith_free(m);
    kith_core_taken(v->core, connection, 1, sizeof n);
    return true;
}
static void on_confirmed(void *user, kith_op connection, size_t costs) { (void)user, (void)connection, (void)costs; }
static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    (void)user, (void)connection, (void)data, (void)size;
}
static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    const victim *v = user;
    (void)connection, (void)finishing;
    if (info->connected) memcpy(last_path[kith_sim_host_name(v->host)[0] == 'b'], info->path, sizeof last_path[0]);
}
static const kith_core_talk talk_events = {on_incoming, on_message, on_confirmed, on_datagram, on_status};

/* Every message once, in order; the other side does not notice either. */
static void a_connection_goes_over(void **state)
{
    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        static world w;
        char id[KITH_UUID_TEXT_SIZE];
        kith_serve_options serve = {.size = sizeof serve};
        kith_connect_options connect = {.size = sizeof connect, .topic = "t"};
        got = 0;
        world_make(&w, 28, blocked == 0 ? TCP_ONLY : OPEN, blocked == 1 ? TCP_ONLY : OPEN);
        for (int i = 0; i < 2; i++) w.v[i].talk = &talk_events;
        open_both(&w);
        kith_core_serve(w.v[1].core, ++w.v[1].last_op, "t", &serve);
        kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
        kith_uuid_text(w.v[1].self.device.id, id);
        kith_core_connect(w.v[0].core, ++w.v[0].last_op, id, &connect);
        kith_op opened = w.v[0].last_op;
        for (unsigned n = 0; n < 200; n++) {
            kith_talk_message *m = kith_talk_message_new(&n, sizeof n);
            assert_non_null(m);
            kith_core_send_message(w.v[0].core, opened, m);
            kith_sim_run_for(w.sim, 50 * KITH_SIM_MS);
            if (n == 5) assert_string_equal(last_path[0], "relay");
        }
        kith_sim_run_for(w.sim, KITH_SIM_S);
        assert_int_equal(got, 200);
        for (int i = 0; i < 2; i++) {
            assert_string_equal(last_path[i], "tcp");
            assert_int_equal(count_events(&w.v[i], KITH_EVENT_WAITING), 0);
        }
        world_free(&w);
    }
}

/* ---- who does not send much, beside who does ---- */

#define LAN_RATE    12500000u          /* bytes a second: the slowest LAN there is, on which a queue is longest */
#define PING_MOST   (20 * KITH_SIM_MS) /* what is promised of one while a file is sent */
#define PING_EVERY  (50 * KITH_SIM_MS)
#define PINGS_LEAST 5

/* Pings while a file is under way, whichever of TCP and UDP it goes over. */
static void pings_during_bulk(void **state)
{
    (void)state;
    static const kith_path paths[] = {KITH_PATH_ANY, KITH_PATH_UDP};
    for (size_t i = 0; i < 2; i++) {
        static world w;
        char id[KITH_UUID_TEXT_SIZE];
        uint64_t most = 0;
        size_t pongs = 0;
        begin(&w, 29, OPEN, OPEN);
        slow(&w, KITH_SIM_MS / 5, LAN_RATE);
        kith_sim_lan_set_discovery(w.net, 0, 0);
        kith_uuid_text(w.v[1].self.device.id, id);
        send(&w, paths[i]);
        kith_op file = w.v[0].last_op;
        if (!kith_sim_run_until(w.sim, flows, &w.v[0], 30 * KITH_SIM_S)) fail_msg("it does not begin");
        while (!last_event(&w.v[0], KITH_EVENT_SENT)) {
            kith_core_ping(w.v[0].core, ++w.v[0].last_op, id, 1);
            kith_sim_run_for(w.sim, PING_EVERY);
        }
        assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, i ? "udp" : "tcp");
        for (size_t k = 0; k < w.v[0].count; k++) {
            const kith_event *e = &w.v[0].events[k];
            if (e->kind == KITH_EVENT_END && e->op != file) assert_ok(e->err);
            if (e->kind != KITH_EVENT_PONG) continue;
            pongs++;
            if (e->rtt_ns > most) most = e->rtt_ns;
        }
        if (getenv("KITH_TRACE")) printf("%zu pings, the longest %.2f ms\n", pongs, (double)most / 1e6);
        assert_true(pongs >= PINGS_LEAST);
        assert_true(most > 0 && most < PING_MOST);
        world_free(&w);
    }
}

#define SLOW_DISK     (2 * KITH_SIM_S) /* for a chunk, at most: slower than the network, with four at once */
#define BUFFERED_MOST 50               /* one byte of so many */

/* Workers that do not keep up: what arrives goes straight into chunks all the same, since no more is let come than
 * there are chunks for. */
static void a_slow_disk_costs_no_copies(void **state)
{
    (void)state;
    static world w;
    kith_conn_stats stats = {0};
    begin(&w, 30, OPEN, OPEN);
    slow(&w, KITH_SIM_MS / 5, LAN_RATE);
    kith_sim_lan_set_discovery(w.net, 0, 0);
    kith_sim_set_work_delay(w.sim, SLOW_DISK);
    send(&w, KITH_PATH_TCP);
    check_arrived(&w);
    for (const kith_link *at = w.v[1].core->sessions.head.next; at != &w.v[1].core->sessions.head; at = at->next)
        if (KITH_OF(at, session, link)->carrier->kind == CARRIER_STREAM)
            kith_conn_get_stats(KITH_OF(at, session, link)->conn, &stats);
    if (getenv("KITH_TRACE")) printf("%llu bytes copied once more\n", (unsigned long long)stats.buffered_bytes);
    assert_true(stats.received_bytes > BIG);
    assert_in_range(stats.buffered_bytes, 1, BIG / BUFFERED_MOST);
    world_free(&w);
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    for (size_t i = 0; i < BIG; i += 61) content[i] = (uint8_t)(i >> 7);
    const struct CMUnitTest tests[] = {
        TEST(udp_blocked_on_one_side),     TEST(nobody_is_reached),           TEST(pings_go_over),
        TEST(both_dial_at_once),           TEST(no_tcp_where_none_is_wanted), TEST(bulk_goes_to_tcp_when_it_is_there),
        TEST(tcp_that_comes_and_goes),     TEST(a_connection_goes_over),      TEST(pings_during_bulk),
        TEST(a_slow_disk_costs_no_copies),
    };
    return cmocka_run_group_tests_name("sim/node_beside", tests, NULL, NULL);
}
