/* Several nodes of one device: what one of them does not do, another may. */
#include "hostile_world.h"
#include "node/core.h"

#define A "192.168.1.10"
#define B "192.168.1.11"

static uint8_t file[3000];

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim a, b1, b2; /* b1 and b2: two nodes of one device, the first of which only looks around */
    int64_t live;
} world;

static bool on_incoming(void *user, const kith_event *event)
{
    (void)event;
    ((victim *)user)->closed = true; /* of b2: it took one */
    return true;
}
static bool on_message(void *user, kith_op connection, kith_talk_message *message)
{
    (void)user, (void)connection;
    kith_free(message);
    return true;
}
static void on_confirmed(void *user, kith_op connection, size_t costs) { (void)user, (void)connection, (void)costs; }
static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    (void)user, (void)connection, (void)data, (void)size;
}
static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    (void)user, (void)connection, (void)info, (void)finishing;
}
static const kith_core_talk talk_events = {.incoming = on_incoming,
                                           .message = on_message,
                                           .confirmed = on_confirmed,
                                           .datagram = on_datagram,
                                           .status = on_status};

static void make_host(world *w, victim *v, const char *name, const char *addr)
{
    v->sim = w->sim;
    v->talk = &talk_events;
    assert_ok(kith_sim_host_new(w->sim, name, &v->host));
    assert_ok(kith_sim_attach(v->host, w->lan, addr));
    victim_home(v, name);
}

/* Another process of the same device. */
static void make_second(victim *v, const victim *first)
{
    kith_problem problem = {0};
    *v = (victim){.sim = first->sim, .host = first->host, .talk = &talk_events};
    assert_ok(kith_sim_env_new(v->host, &v->env));
    assert_ok(kith_home_open(v->env, "/home", &v->home));
    if (kith_home_unlock(v->home, (kith_bytes){"pw", 2}, &v->seed, &problem)) fail_msg("%s", problem.message);
    victim_open(v);
}

static const char *id_of(const victim *v)
{
    static char id[KITH_UUID_TEXT_SIZE];
    return kith_uuid_text(v->self.device.id, id);
}

static void receive(victim *v)
{
    kith_receive_options options = {.size = sizeof options, .folder = "/in", .conflict = KITH_CONFLICT_KEEP};
    kith_core_receive(v->core, ++v->last_op, &options);
}

/* The first node of b, which takes nothing, has pinged a: a knows where it is, and is in a session with it. */
static void world_make(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    make_host(w, &w->a, "a", A);
    make_host(w, &w->b1, "b", B);
    know(&w->a, &w->b1);
    know(&w->b1, &w->a);
    victim_open(&w->a);
    victim_open(&w->b1);
    assert_ok(kith_sim_put_file(w->a.host, "/file", file, sizeof file, 0644));
    receive(&w->a);
    kith_sim_run_for(w->sim, 2 * KITH_SIM_S);
    kith_core_ping(w->b1.core, ++w->b1.last_op, id_of(&w->a), 1);
    kith_sim_run_for(w->sim, 2 * KITH_SIM_S);
    assert_int_equal(count_events(&w->b1, KITH_EVENT_PONG), 1);
    w->a.count = 0;
}

static void world_free(world *w)
{
    victim_close(&w->a);
    if (w->b1.core) victim_close(&w->b1);
    if (w->b2.core) {
        w->b2.closed = false;
        victim_close(&w->b2);
    }
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static void send(world *w)
{
    kith_send_options options = {.size = sizeof options, .patience_s = 30};
    kith_core_send_file(w->a.core, ++w->a.last_op, id_of(&w->b1), "/file", &options);
}

static bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }

static kith_err how_it_ended(world *w, uint64_t within_ns)
{
    if (!kith_sim_run_until(w->sim, ended, &w->a, within_ns)) fail_msg("it does not end");
    return last_event(&w->a, KITH_EVENT_END)->err;
}

/* The session that is there is with the wrong node, and so is the address that is known. */
static void a_file_goes_to_the_node_that_receives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static world w;
        uint8_t *data;
        size_t size;
        world_make(&w, seed);
        make_second(&w.b2, &w.b1);
        receive(&w.b2);
        if (seed % 2) kith_sim_run_for(w.sim, seed * KITH_SIM_S / 10); /* announced by then, or not yet */
        send(&w);
        assert_ok(how_it_ended(&w, 10 * KITH_SIM_S));
        assert_int_equal(count_events(&w.a, KITH_EVENT_SENT), 1);
        assert_ok(kith_sim_get_file(w.b2.host, "/in/file", &data, &size));
        assert_int_equal(size, sizeof file);
        assert_memory_equal(data, file, size);
        kith_free(data);
        world_free(&w);
    }
}

static void when_no_node_receives_that_is_said(void **state)
{
    static world w;
    (void)state;
    world_make(&w, 7);
    send(&w);
    assert_int_equal(how_it_ended(&w, 4 * KITH_SIM_S), KITH_ERR_NOT_ALLOWED);
    assert_non_null(strstr(last_event(&w.a, KITH_EVENT_END)->message, "kith receive"));
    world_free(&w);
}

static void a_connection_goes_to_the_node_that_serves(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static world w;
        kith_serve_options options = {.size = sizeof options};
        kith_connect_options to = {.size = sizeof to, .topic = "notes"};
        world_make(&w, seed);
        make_second(&w.b2, &w.b1);
        kith_core_serve(w.b2.core, ++w.b2.last_op, "notes", &options);
        if (seed % 2) kith_sim_run_for(w.sim, seed * KITH_SIM_S / 10);
        kith_core_connect(w.a.core, ++w.a.last_op, id_of(&w.b1), &to);
        if (!kith_sim_run_until(w.sim, victim_is_closed, &w.b2, 10 * KITH_SIM_S)) fail_msg("nobody took it");
        assert_false(w.b1.closed);
        world_free(&w);
    }
}

static void when_no_node_serves_that_is_said(void **state)
{
    static world w;
    kith_connect_options to = {.size = sizeof to, .topic = "notes"};
    (void)state;
    world_make(&w, 9);
    kith_core_connect(w.a.core, ++w.a.last_op, id_of(&w.b1), &to);
    assert_int_equal(how_it_ended(&w, 4 * KITH_SIM_S), KITH_ERR_NOT_ALLOWED);
    world_free(&w);
}

/* ---- one that is killed ---- */

#define GOES_OVER                                                                                                      \
    (2 * KITH_SIM_S) /* from the kill until work goes on at another node: 1.5 s of silence, and a look                 \
                      */

static void kill_first(world *w)
{
    kith_sim_kill(w->b1.env);
    victim_release(&w->b1);
}

static bool has_pong(void *user) { return last_event(user, KITH_EVENT_PONG) != NULL; }

/* What a ping waits for after the node that it went to was killed. */
static uint64_t next_pong_after_kill(world *w, uint64_t restart_after_ns)
{
    kith_core_ping(w->a.core, ++w->a.last_op, id_of(&w->b1), 0);
    kith_sim_run_for(w->sim, 5 * KITH_SIM_S / 2);
    assert_true(has_pong(&w->a));
    kill_first(w);
    uint64_t killed = kith_sim_now_ns(w->sim);
    w->a.count = 0;
    if (restart_after_ns) {
        kith_sim_run_for(w->sim, restart_after_ns);
        make_second(&w->b2, &w->b1);
        receive(&w->b2);
    }
    if (!kith_sim_run_until(w->sim, has_pong, &w->a, 60 * KITH_SIM_S)) fail_msg("no answer");
    assert_null(last_event(&w->a, KITH_EVENT_END));
    return kith_sim_now_ns(w->sim) - killed;
}

/* A second of it is the ping's own pause. */
static void a_ping_goes_on_at_another_node(void **state)
{
    (void)state;
    uint64_t longest = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        static world w;
        world_make(&w, seed);
        make_second(&w.b2, &w.b1);
        receive(&w.b2);
        kith_sim_run_for(w.sim, KITH_SIM_S + seed * KITH_SIM_S / 10);
        uint64_t took = next_pong_after_kill(&w, 0);
        if (took > longest) longest = took;
        if (took > GOES_OVER + KITH_SIM_S) fail_msg("seed %llu: %.2f s", (unsigned long long)seed, (double)took / 1e9);
        world_free(&w);
    }
    printf("the longest: %.2f s\n", (double)longest / 1e9);
}

/* There is one node, and it is started anew: at once, or after a while. */
static void a_ping_goes_on_at_a_node_started_anew(void **state)
{
    (void)state;
    uint64_t longest = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        static world w;
        uint64_t pause = 1 + (seed - 1) * KITH_SIM_S / 2;
        world_make(&w, seed);
        uint64_t took = next_pong_after_kill(&w, pause), after = took - pause;
        if (after > longest) longest = after;
        if (took > pause + GOES_OVER + KITH_SIM_S)
            fail_msg("seed %llu, back after %.1f s: %.2f s", (unsigned long long)seed, (double)pause / 1e9,
                     (double)took / 1e9);
        world_free(&w);
    }
    printf("the longest: %.2f s\n", (double)longest / 1e9);
}

/* On a way of two seconds there and back an answer is not missing before it can be there, whoever announces that the
 * device has just appeared. */
static void a_slow_session_does_not_end_by_hearsay(void **state)
{
    (void)state;
    static world w;
    const kith_sim_link slow = {.delay_ns = KITH_SIM_S, .mtu = 1500};
    kith_lan_record record = {.port = 1, .addr_count = 1};
    kith_txt txt = {0};
    world_make(&w, 1);
    receive(&w.b1);
    kith_sim_lan_set_link(w.lan, &slow);
    kith_core_ping(w.a.core, ++w.a.last_op, id_of(&w.b1), 8);
    assert_ok(how_it_ended(&w, 60 * KITH_SIM_S));
    w.a.count = 0;
    kith_core_ping(w.a.core, ++w.a.last_op, id_of(&w.b1), 1);
    kith_sim_run_for(w.sim, 17 * KITH_SIM_S / 10);
    memcpy(txt.id, w.b1.self.device.id, sizeof txt.id);
    memcpy(txt.fingerprint, w.b1.self.fingerprint, sizeof txt.fingerprint);
    kith_instance_name(txt.id, 77, record.instance); /* by anybody */
    record.txt_size = kith_txt_write(&txt, record.txt, sizeof record.txt);
    assert_ok(kith_addr_parse("192.168.1.99", &record.addrs[0]));
    record.addrs[0].port = record.port;
    assert_ok(kith_sim_lan_inject(w.lan, &record));
    assert_ok(how_it_ended(&w, KITH_SIM_S)); /* by the answer that is on its way */
    assert_true(last_event(&w.a, KITH_EVENT_PONG)->rtt_ns < 3 * KITH_SIM_S);
    world_free(&w);
}

/* A session that the other side dialled lasts as long as it is used, though nobody uses it there. */
static void a_ping_over_a_session_of_the_others(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1);
    kith_core_ping(w.a.core, ++w.a.last_op, id_of(&w.b1), 100);
    assert_ok(how_it_ended(&w, 110 * KITH_SIM_S));
    assert_int_equal(count_events(&w.a, KITH_EVENT_PONG), 100);
    world_free(&w);
}

/* The node is alive, and only the way to it that the session takes is not: it answers whoever looks for others, and is
 * not dialled without end. */
static void the_same_node_is_no_other(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1);
    receive(&w.b1);
    kith_core_ping(w.a.core, ++w.a.last_op, id_of(&w.b1), 0);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_ok(kith_sim_firewall(w.a.host, w.b1.host, true, false)); /* no datagrams */
    uint64_t before = w.a.core->last_session;
    for (size_t i = 0; i < 20; i++) {
        size_t sessions = 0;
        kith_sim_run_for(w.sim, KITH_SIM_S);
        KITH_EACH (at, &w.b1.core->sessions) sessions++;
        assert_in_range(sessions, 1, 2);
    }
    assert_in_range(w.a.core->last_session - before, 2, 10);
    world_free(&w);
}

#define LARGE      (16u << 20)
#define LARGE_RATE 5000000          /* bytes a second */
#define LARGE_TIME (4 * KITH_SIM_S) /* all of it, at that rate */

/* A file is on its way to a node that is killed: another node of the device has the rest. */
static void a_file_goes_on_at_another_node(void **state)
{
    (void)state;
    const kith_sim_link slow = {.delay_ns = KITH_SIM_MS, .mtu = 1500, .rate = LARGE_RATE};
    uint8_t *large = kith_calloc(1, LARGE), *data;
    uint64_t longest = 0;
    for (size_t i = 0; i < LARGE; i++) large[i] = (uint8_t)(i * 7 + i / 1000);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        static world w;
        size_t size;
        world_make(&w, seed);
        kith_sim_lan_set_link(w.lan, &slow);
        assert_ok(kith_sim_put_file(w.a.host, "/file", large, LARGE, 0644));
        receive(&w.b1);
        send(&w);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        make_second(&w.b2, &w.b1);
        receive(&w.b2);
        kith_sim_run_for(w.sim, KITH_SIM_S / 2 + seed * KITH_SIM_S / 10);
        assert_null(last_event(&w.a, KITH_EVENT_END));
        kill_first(&w);
        uint64_t killed = kith_sim_now_ns(w.sim);
        assert_ok(how_it_ended(&w, 60 * KITH_SIM_S));
        uint64_t took = kith_sim_now_ns(w.sim) - killed;
        if (took > longest) longest = took;
        if (took > GOES_OVER + LARGE_TIME) fail_msg("seed %llu: %.2f s", (unsigned long long)seed, (double)took / 1e9);
        assert_ok(kith_sim_get_file(w.b2.host, "/in/file", &data, &size));
        assert_int_equal(size, LARGE);
        assert_memory_equal(data, large, size);
        kith_free(data);
        world_free(&w);
    }
    printf("the longest: %.2f s\n", (double)longest / 1e9);
    kith_free(large);
}

#define NODES 10

/* Ten nodes of one device, each with a topic of its own: all are reachable, in any order, also when some of them are
 * killed without a word, and none takes what is another's. */
static void each_of_ten_is_reachable(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        static world w;
        static victim nodes[NODES];
        static const size_t killed[] = {2, 5, 9};
        kith_serve_options options = {.size = sizeof options};
        char topic[16];
        world_make(&w, seed);
        for (size_t i = 0; i < NODES; i++) {
            make_second(&nodes[i], &w.b1);
            snprintf(topic, sizeof topic, "topic %zu", i);
            kith_core_serve(nodes[i].core, ++nodes[i].last_op, topic, &options);
            if (seed % 2) kith_sim_run_for(w.sim, KITH_SIM_S / 5);
        }
        kith_sim_run_for(w.sim, KITH_SIM_S);
        for (size_t round = 0; round < 2; round++) {
            for (size_t n = 0; n < NODES; n++) {
                size_t i = (n * 7 + seed) % NODES;
                kith_connect_options to = {.size = sizeof to, .topic = topic};
                if (!nodes[i].core) continue;
                snprintf(topic, sizeof topic, "topic %zu", i);
                nodes[i].closed = false;
                kith_core_connect(w.a.core, ++w.a.last_op, id_of(&w.b1), &to);
                if (!kith_sim_run_until(w.sim, victim_is_closed, &nodes[i], 60 * KITH_SIM_S))
                    fail_msg("seed %llu, round %zu: nobody took topic %zu: %s", (unsigned long long)seed, round, i,
                             last_event(&w.a, KITH_EVENT_END) ? last_event(&w.a, KITH_EVENT_END)->message : "no end");
                if (seed % 3 == 0) kith_core_cancel(w.a.core, w.a.last_op); /* or it stays beside the others */
            }
            for (size_t i = 0; round == 0 && i < sizeof killed / sizeof *killed; i++) {
                kith_sim_kill(nodes[killed[i]].env);
                victim_release(&nodes[killed[i]]);
            }
        }
        for (size_t i = 0; i < NODES; i++) {
            if (!nodes[i].core) continue;
            nodes[i].closed = false;
            victim_close(&nodes[i]);
        }
        world_free(&w);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof file; i++) file[i] = (uint8_t)(i * 7);
    const struct CMUnitTest tests[] = {
        TEST(a_file_goes_to_the_node_that_receives),
        TEST(when_no_node_receives_that_is_said),
        TEST(a_connection_goes_to_the_node_that_serves),
        TEST(when_no_node_serves_that_is_said),
        TEST(a_ping_goes_on_at_another_node),
        TEST(a_ping_goes_on_at_a_node_started_anew),
        TEST(the_same_node_is_no_other),
        TEST(a_slow_session_does_not_end_by_hearsay),
        TEST(a_ping_over_a_session_of_the_others),
        TEST(a_file_goes_on_at_another_node),
        TEST(each_of_ten_is_reachable),
    };
    return cmocka_run_group_tests_name("sim/node_many", tests, NULL, NULL);
}
