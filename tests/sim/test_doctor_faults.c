/* The doctor in worlds that have each a fault: it is named, with its cause and its cure. */
#include "doctor_world.h"

/* ---- what is blocked ---- */

static void udp_blocked(void **state)
{
    (void)state;
    static world w;
    kith_sim_nat_config config = KITH_SIM_NAT_PORT_RESTRICTED;
    config.udp_blocked = true;
    world_make(&w, 1, &config);
    assert_true(examine(&w, two_servers) < 15);
    (void)expect(&w, "udp", KITH_FINDING_BAD, "blocked");
    (void)expect(&w, "firewall", KITH_FINDING_BAD, "udp");
    (void)expect(&w, "nat", KITH_FINDING_UNKNOWN, "");
    (void)expect(&w, "mtu", KITH_FINDING_UNKNOWN, "");
    (void)expect(&w, "relay", KITH_FINDING_GOOD, "test");
    expect_no_more_bad(&w, 2);
    world_free(&w);
}

static void only_443(void **state)
{
    (void)state;
    static world w;
    kith_sim_nat_config config = KITH_SIM_NAT_PORT_RESTRICTED;
    config.udp_blocked = config.tcp_blocked = true;
    config.tcp_ports[0] = 443;
    world_make(&w, 1, &config);
    w.relays[1] = "wss://relay.example:8443/";
    w.config.relay_count = 2;
    (void)examine(&w, NULL);
    (void)expect(&w, "firewall", KITH_FINDING_WARNING, "only-443");
    (void)expect(&w, "relay", KITH_FINDING_GOOD, "test"); /* the first */
    world_free(&w);
}

static void udp_to_the_relay_blocked(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    hub.env->udp->close(hub.udp);
    hub.udp = NULL;
    (void)examine(&w, two_servers);
    const kith_event *e = expect(&w, "firewall", KITH_FINDING_WARNING, "udp-to-relay");
    assert_string_equal(e->name, RELAY);
    (void)expect(&w, "udp", KITH_FINDING_GOOD, "");
    expect_no_more_bad(&w, 0);
    world_free(&w);
}

static void no_network_at_all(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    kith_sim_detach(kith_sim_nat_host(w.nat), w.net);
    assert_true(examine(&w, two_servers) < 20);
    (void)expect(&w, "udp", KITH_FINDING_BAD, "no-answer");
    (void)expect(&w, "firewall", KITH_FINDING_UNKNOWN, "");
    assert_int_equal(find(&w, "relay")->state, KITH_FINDING_BAD);
    (void)expect(&w, "clock", KITH_FINDING_UNKNOWN, "");
    world_free(&w);
}

static void no_relay_and_nobody_to_ask(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    w.config.relay_count = 0;
    assert_true(examine(&w, NULL) < 6);
    (void)expect(&w, "relay", KITH_FINDING_WARNING, "none");
    (void)expect(&w, "udp", KITH_FINDING_UNKNOWN, "");
    (void)expect(&w, "nat", KITH_FINDING_UNKNOWN, "");
    (void)expect(&w, "clock", KITH_FINDING_UNKNOWN, "");
    expect_no_more_bad(&w, 0);
    world_free(&w);
}

static void relay_down(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    station_kill();
    (void)examine(&w, two_servers);
    (void)expect(&w, "relay", KITH_FINDING_BAD, "unreachable");
    (void)expect(&w, "udp", KITH_FINDING_GOOD, "");
    expect_no_more_bad(&w, 1);
    world_free(&w);
}

static void relay_without_a_name(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    w.relays[0] = "wss://nowhere.example/";
    (void)examine(&w, two_servers);
    (void)expect(&w, "relay", KITH_FINDING_BAD, "no-name");
    world_free(&w);
}

static void what_answers_in_its_place(void **state)
{
    (void)state;
    static const struct {
        kith_sim_ws_server_options options;
        const char *says, *portal; /* NULL: no portal */
    } cases[] = {
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", true, false, 0}, "certificate-untrusted", NULL},
        {{KITH_RELAY_SUBPROTOCOL, "other.example", false, false, 0}, "certificate-name", NULL},
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", false, false, 302}, "not-a-relay", "web-page"},
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", false, false, 200}, "not-a-relay", "web-page"},
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", false, false, 511}, "not-a-relay", "web-page"},
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", false, false, 404}, "not-a-relay", NULL},
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", false, false, 503}, "full", NULL},
        {{KITH_RELAY_SUBPROTOCOL, NULL, false, false, 0}, "not-a-relay", NULL}, /* no TLS there */
        {{KITH_RELAY_SUBPROTOCOL, "relay.example", false, true, 0}, "timeout", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        kith_sim_ws_set(hub.server, &cases[i].options);
        assert_true(examine(&w, two_servers) < 20);
        (void)expect(&w, "relay", KITH_FINDING_BAD, cases[i].says);
        if (cases[i].portal)
            (void)expect(&w, "portal", KITH_FINDING_BAD, cases[i].portal);
        else
            assert_null(find(&w, "portal"));
        world_free(&w);
    }
}

static void clocks(void **state)
{
    (void)state;
    static const struct {
        int64_t skew_ms;
        kith_finding is;
        const char *says, *how_far;
    } cases[] = {{2000, KITH_FINDING_GOOD, "", "right to 2."},
                 {-60500, KITH_FINDING_WARNING, "skewed", " 60 seconds behind "},
                 {600500, KITH_FINDING_BAD, "skewed", " 10 minutes ahead of "},
                 {-86400500, KITH_FINDING_BAD, "skewed", " 24 hours behind "},
                 {31536000500, KITH_FINDING_BAD, "skewed", " 365 days ahead of "}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        kith_sim_set_wall_skew(w.v.host, cases[i].skew_ms);
        (void)examine(&w, NULL);
        const kith_event *said = expect(&w, "clock", cases[i].is, cases[i].says);
        int64_t off = said->skew_ms - cases[i].skew_ms;
        assert_true(llabs(off) < 100);
        assert_non_null(strstr(said->message, cases[i].how_far));
        world_free(&w);
    }
    static world w; /* by itself it knows only when its identity was made */
    world_make(&w, 1, NULL);
    w.config.relay_count = 0;
    kith_sim_set_wall_skew(w.v.host, -86400000);
    (void)examine(&w, NULL);
    (void)expect(&w, "clock", KITH_FINDING_BAD, "behind");
    world_free(&w);
}

/* Without the password relays are reached and not registered with; all else is as before. */
static void without_keys(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    w.config.seed = NULL;
    (void)examine(&w, two_servers);
    (void)expect(&w, "relay", KITH_FINDING_GOOD, "");
    (void)expect(&w, "mapping", KITH_FINDING_GOOD, "endpoint-independent");
    (void)expect(&w, "clock", KITH_FINDING_UNKNOWN, "");
    expect_no_more_bad(&w, 0);
    world_free(&w);
}

/* ---- IPv6, multicast, identity, home ---- */

static void ipv6(void **state)
{
    (void)state;
    static const char *const servers[] = {"[2001:db8::2]", STUN_A, NULL}, *const silent[] = {"[2001:db8::99]:1", NULL};
    static world w;
    world_make(&w, 1, NULL);
    (void)examine(&w, servers);
    (void)expect(&w, "ipv6", KITH_FINDING_WARNING, "none");
    world_free(&w);
    world_make(&w, 1, NULL);
    assert_ok(kith_sim_attach(w.v.host, w.net, "2001:db8::10"));
    (void)examine(&w, servers);
    (void)expect(&w, "ipv6", KITH_FINDING_GOOD, "");
    assert_int_equal(strncmp(find(&w, "ipv6")->address, "[2001:db8::10]:", 15), 0);
    (void)examine(&w, silent);
    (void)expect(&w, "ipv6", KITH_FINDING_BAD, "no-answer");
    (void)examine(&w, NULL);
    (void)expect(&w, "ipv6", KITH_FINDING_UNKNOWN, "");
    assert_ok(kith_sim_attach(w.relay, w.net, "2001:db8::1"));
    assert_ok(kith_sim_name_too(w.sim, "relay.example", "2001:db8::1")); /* both addresses of a name are asked */
    (void)examine(&w, NULL);
    (void)expect(&w, "ipv6", KITH_FINDING_GOOD, "");
    world_free(&w);
}

static void multicast(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    (void)examine(&w, NULL);
    (void)expect(&w, "multicast", KITH_FINDING_UNKNOWN, "own");
    world_free(&w);
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    kith_sim_detach(w.v.host, w.home);
    (void)examine(&w, NULL);
    (void)expect(&w, "multicast", KITH_FINDING_BAD, "silent");
    world_free(&w);
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    w.config.no_lan = true;
    w.config.relay_count = 0;
    (void)examine(&w, NULL);
    (void)expect(&w, "multicast", KITH_FINDING_UNKNOWN, "");
    (void)expect(&w, "identity", KITH_FINDING_UNKNOWN, "");
    world_free(&w);
    static hostile other;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    hostile_make(&other, w.sim, w.home, "other", "192.168.1.20");
    (void)examine(&w, NULL);
    announce(&other, w.home, "192.168.1.20", 0);
    (void)examine(&w, NULL);
    (void)expect(&w, "multicast", KITH_FINDING_GOOD, "heard");
    (void)expect(&w, "identity", KITH_FINDING_GOOD, "once");
    hostile_free(&other);
    world_free(&w);
}

/* What is announced for the trial is not taken for this device by those who know it, and is gone afterwards. */
static void the_trial_disturbs_nobody(void **state)
{
    (void)state;
    static world w;
    static victim friend;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    friend = (victim){.sim = w.sim};
    assert_ok(kith_sim_host_new(w.sim, "friend", &friend.host));
    assert_ok(kith_sim_attach(friend.host, w.home, "192.168.1.20"));
    victim_home(&friend, "friend");
    know(&friend, &w.v);
    victim_open(&friend);
    kith_core_look(friend.core, ++friend.last_op, false);
    (void)examine(&w, two_servers);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_int_equal(count_events(&friend, KITH_EVENT_SIGHTED), 0);
    (void)examine(&w, two_servers); /* once more: the first one's is not heard */
    (void)expect(&w, "multicast", KITH_FINDING_UNKNOWN, "own");
    victim_close(&friend);
    world_free(&w);
}

/* The home was copied: the same identity, on another machine, or in another process of this one. */
static void one_identity_twice(void **state)
{
    (void)state;
    for (int here = 0; here < 2; here++) {
        static world w;
        static victim twin;
        kith_receive_options options = {.size = sizeof options, .folder = "/in"};
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        twin = (victim){.sim = w.sim, .host = w.v.host};
        if (!here) {
            assert_ok(kith_sim_host_new(w.sim, "copy", &twin.host));
            assert_ok(kith_sim_attach(twin.host, w.home, "192.168.1.20"));
        }
        victim_home(&twin, "a");
        assert_memory_equal(twin.self.fingerprint, w.v.self.fingerprint, sizeof twin.self.fingerprint);
        victim_open(&twin);
        kith_core_receive(twin.core, ++twin.last_op, &options);
        (void)examine(&w, two_servers);
        if (here) {
            (void)expect(&w, "identity", KITH_FINDING_GOOD, "once");
        } else {
            const kith_event *e = expect(&w, "identity", KITH_FINDING_BAD, "twice");
            assert_int_equal(strncmp(e->address, "192.168.1.20:", 13), 0);
        }
        victim_close(&twin);
        world_free(&w);
    }
}

/* The copy is in another network, and both know the relay: an answer proves the key, and names the machine. */
static void one_identity_twice_at_a_relay(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) { /* elsewhere; here; somebody else */
        static world w;
        static victim twin;
        kith_receive_options options = {.size = sizeof options, .folder = "/in"};
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        w.config.no_lan = true;
        twin = (victim){.sim = w.sim, .host = w.v.host, .relay = RELAY};
        if (how != 1) {
            assert_ok(kith_sim_host_new(w.sim, "copy", &twin.host));
            assert_ok(kith_sim_attach(twin.host, w.net, "203.0.113.77"));
        }
        victim_home(&twin, how == 2 ? "somebody else" : "a");
        victim_open(&twin);
        kith_core_receive(twin.core, ++twin.last_op, &options);
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        (void)examine(&w, two_servers);
        if (how == 0) {
            const kith_event *e = expect(&w, "identity", KITH_FINDING_BAD, "twice");
            assert_string_equal(e->name, RELAY);
            expect_no_more_bad(&w, 1);
        } else {
            (void)expect(&w, "identity", KITH_FINDING_GOOD, "once");
            expect_no_more_bad(&w, 0);
        }
        victim_close(&twin);
        world_free(&w);
    }
}

/* The sibling's answer is a datagram: where it is lost the sibling is asked again, and the relay is not blamed. */
static void a_siblings_answer_is_lost(void **state)
{
    (void)state;
    size_t seen = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static world w;
        static victim twin;
        const kith_sim_link lossy = {.delay_ns = 10 * KITH_SIM_MS, .loss = 0.25, .mtu = 1500};
        kith_receive_options options = {.size = sizeof options, .folder = "/in"};
        world_make(&w, seed, &KITH_SIM_NAT_PORT_RESTRICTED);
        w.config.no_lan = true;
        twin = (victim){.sim = w.sim, .relay = RELAY};
        assert_ok(kith_sim_host_new(w.sim, "copy", &twin.host));
        assert_ok(kith_sim_attach(twin.host, w.net, "203.0.113.77"));
        victim_home(&twin, "a");
        victim_open(&twin);
        kith_core_receive(twin.core, ++twin.last_op, &options);
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        kith_sim_lan_set_link(w.net, &lossy);
        (void)examine(&w, two_servers);
        (void)expect(&w, "relay", KITH_FINDING_GOOD, "test");
        const kith_event *e = find(&w, "identity");
        seen += e->state == KITH_FINDING_BAD;
        assert_true(e->state == KITH_FINDING_BAD || e->state == KITH_FINDING_UNKNOWN);
        victim_close(&twin);
        world_free(&w);
    }
    assert_true(seen >= 15);
}

static void the_home(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, NULL);
    assert_ok(kith_sim_set_mode(w.v.host, "/home", 0755));
    (void)examine(&w, NULL);
    (void)expect(&w, "home", KITH_FINDING_WARNING, "open-folder");
    assert_ok(kith_sim_set_mode(w.v.host, "/home/network_keys.json", 0644));
    (void)examine(&w, NULL);
    const kith_event *e = expect(&w, "home", KITH_FINDING_BAD, "EXPOSED");
    assert_non_null(strstr(e->message, "network_keys.json"));
    assert_ok(kith_sim_set_mode(w.v.host, "/home/network_keys.json", 0600));
    assert_ok(kith_sim_put_file(w.v.host, "/home/master_key.json", "x", 1, 0600));
    (void)examine(&w, NULL);
    e = expect(&w, "home", KITH_FINDING_BAD, "DAMAGED");
    assert_non_null(strstr(e->message, "master_key.json"));
    assert_ok(kith_sim_put_file(w.v.host, "/home/trust.cbor", "x", 1, 0600));
    (void)examine(&w, NULL);
    (void)expect(&w, "home", KITH_FINDING_BAD, "DAMAGED");
    world_free(&w);
}

/* ---- as an operation ---- */

static void wrong_calls(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"", NULL}, {"a b", NULL}, {"x:0", NULL}, {"x:70000", NULL}, {"x/y", NULL}};
    static world w;
    world_make(&w, 1, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(&w, bad[i]);
        assert_int_equal(last_event(&w.v, KITH_EVENT_END)->err, KITH_ERR_ARG);
    }
    begin(&w, two_servers);
    kith_op first = w.v.last_op;
    begin(&w, two_servers);
    assert_int_equal(last_event(&w.v, KITH_EVENT_END)->err, KITH_ERR_STATE);
    kith_core_cancel(w.v.core, first);
    assert_int_equal(last_event(&w.v, KITH_EVENT_END)->op, first);
    assert_int_equal(last_event(&w.v, KITH_EVENT_END)->err, KITH_ERR_CANCELLED);
    world_free(&w);
}

/* Cancelled, closed, or killed with everything under way, at any moment. */
static void ended_at_any_time(void **state)
{
    (void)state;
    for (unsigned ms = 0; ms < 9000; ms += ms < 200 ? 7 : 611)
        for (int how = 0; how < 3; how++) {
            static world w;
            world_make(&w, 3 + ms, &KITH_SIM_NAT_PORT_RESTRICTED);
            begin(&w, three_servers);
            kith_sim_run_for(w.sim, ms * KITH_SIM_MS);
            if (how == 0) kith_core_cancel(w.v.core, w.v.last_op);
            if (how == 0) assert_non_null(last_event(&w.v, KITH_EVENT_END));
            if (how == 2) {
                kith_sim_kill(w.v.env);
                victim_release(&w.v);
            }
            world_free(&w);
        }
}

/* Each allocation fails once, from the call on: it ends, as it should or as NOMEM, and nothing is lost or left.  (The
 * relay's station cannot do without memory, so there is none.) */
static void out_of_memory(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t n = 0, refused = 0;
    while (failed) {
        static world w;
        kith_problem problem = {0};
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        station_kill();
        if (kith_core_new(&w.config, &w.v.core, &problem)) fail_msg("%s", problem.message);
        kith_mem_fail_at(++n, false);
        begin(&w, three_servers);
        if (!kith_sim_run_until(w.sim, ended, &w.v, 60 * KITH_SIM_S))
            fail_msg("it does not end after failure %zu", (size_t)n);
        failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        kith_err err = last_event(&w.v, KITH_EVENT_END)->err;
        assert_true(err == KITH_OK || err == KITH_ERR_NOMEM);
        refused += err == KITH_ERR_NOMEM;
        world_free(&w);
    }
    assert_true(refused && n > 20);
}

/* Sockets that say AGAIN, timers that are late, datagrams that are lost. */
static void a_bad_day(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static world w;
        const kith_sim_link link = {
            .delay_ns = 30 * KITH_SIM_MS, .jitter_ns = 20 * KITH_SIM_MS, .loss = 0.1, .mtu = 1500};
        world_make(&w, seed, &KITH_SIM_NAT_PORT_RESTRICTED);
        kith_sim_lan_set_link(w.net, &link);
        kith_sim_set_send_again(w.v.host, 0.2);
        kith_sim_set_timer_lateness(w.sim, 20 * KITH_SIM_MS);
        assert_true(examine(&w, two_servers) < 26);
        (void)expect(&w, "udp", KITH_FINDING_GOOD, "");
        world_free(&w);
    }
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    const struct CMUnitTest tests[] = {
        TEST(udp_blocked),
        TEST(only_443),
        TEST(udp_to_the_relay_blocked),
        TEST(no_network_at_all),
        TEST(no_relay_and_nobody_to_ask),
        TEST(relay_down),
        TEST(relay_without_a_name),
        TEST(what_answers_in_its_place),
        TEST(clocks),
        TEST(without_keys),
        TEST(ipv6),
        TEST(multicast),
        TEST(the_trial_disturbs_nobody),
        TEST(one_identity_twice),
        TEST(one_identity_twice_at_a_relay),
        TEST(a_siblings_answer_is_lost),
        TEST(the_home),
        TEST(wrong_calls),
        TEST(ended_at_any_time),
        TEST(out_of_memory),
        TEST(a_bad_day),
    };
    return cmocka_run_group_tests_name("sim/doctor_faults", tests, NULL, NULL);
}
