/* The doctor in worlds that have each a fault, or a kind of NAT: each is named, with its cause and its cure. */
#include "hostile_world.h"
#include "path/relays.h"
#include "relay_station.h"
#include "wire/stun.h"

#define RELAY  "wss://relay.example/"
#define STUN_A "203.0.113.2"
#define STUN_B "203.0.113.3"

/* ---- a STUN server, and nothing else: it has two addresses, and two ports ---- */

typedef struct stun {
    kith_env *env;
    kith_udp *udp[2];
    bool lies; /* with another transaction id first */
    size_t asked;
} stun;

static stun server;

static void stun_answer(void *user, const kith_packet *packets, size_t count)
{
    kith_udp *udp = *(kith_udp **)user;
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < packets[i].size; at += packets[i].segment) {
            uint8_t out[KITH_STUN_ANSWER_MAX];
            kith_stun_message m;
            size_t left = packets[i].size - at, size = left < packets[i].segment ? left : packets[i].segment;
            assert_ok(kith_stun_read(packets[i].data + at, size, &m));
            kith_packet answer = {.local = packets[i].local, .remote = packets[i].remote, .data = out};
            kith_addr seen = packets[i].remote;
            server.asked++;
            if (server.lies) {
                seen.ip[0] ^= 1;
                answer.size = answer.segment = kith_stun_answer(&m, &seen, out);
                out[9] ^= 1;
                (void)!server.env->udp->send(udp, &answer);
                seen.ip[0] ^= 1;
            }
            answer.size = answer.segment = kith_stun_answer(&m, &seen, out);
            (void)!server.env->udp->send(udp, &answer);
        }
}

static void stun_writable(void *user) { (void)user; }

static void stun_start(kith_sim *sim, kith_sim_lan *net)
{
    static const kith_udp_events events = {stun_answer, stun_writable};
    kith_sim_host *host;
    server = (stun){0};
    assert_ok(kith_sim_host_new(sim, "stun", &host));
    assert_ok(kith_sim_attach(host, net, STUN_A));
    assert_ok(kith_sim_attach(host, net, STUN_B));
    assert_ok(kith_sim_attach(host, net, "2001:db8::2"));
    assert_ok(kith_sim_env_new(host, &server.env));
    for (uint16_t i = 0; i < 2; i++) {
        kith_addr at = {.family = KITH_FAMILY_IPV6, .port = (uint16_t)(3478 + i)};
        assert_ok(server.env->udp->open(server.env, &at, &events, &server.udp[i], &server.udp[i]));
    }
}

/* ---- the world ---- */

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *net, *home;
    kith_sim_host *relay;
    kith_sim_nat *nat; /* NULL: the device is on the internet itself */
    victim v;
    kith_core_config config;
    const char *relays[KITH_RELAYS_MAX];
    int64_t live;
} world;

static void world_make(world *w, uint64_t seed, const kith_sim_nat_config *nat)
{
    const kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS, .mtu = 1500};
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "net", &w->net));
    kith_sim_lan_set_link(w->net, &link);
    assert_ok(kith_sim_host_new(w->sim, "relay", &w->relay));
    assert_ok(kith_sim_attach(w->relay, w->net, "203.0.113.1"));
    assert_ok(kith_sim_name(w->sim, "relay.example", "203.0.113.1"));
    station_start(w->relay);
    kith_hub_set_clock(hub.hub, KITH_SIM_START_WALL_MS, station_now());
    stun_start(w->sim, w->net);
    w->v.sim = w->sim;
    assert_ok(kith_sim_host_new(w->sim, "a", &w->v.host));
    w->home = w->net;
    if (nat) {
        assert_ok(kith_sim_lan_new(w->sim, "home", &w->home));
        assert_ok(kith_sim_nat_new(w->sim, w->home, w->net, "203.0.113.10", nat, &w->nat));
    }
    assert_ok(kith_sim_attach(w->v.host, w->home, nat ? "192.168.1.10" : "203.0.113.10"));
    victim_home(&w->v, "a");
    w->relays[0] = RELAY;
    w->config = (kith_core_config){.env = w->v.env,
                                   .home = w->v.home,
                                   .seed = w->v.seed,
                                   .emit = victim_event,
                                   .emit_user = &w->v,
                                   .relays = w->relays,
                                   .relay_count = 1,
                                   .log = victim_log,
                                   .log_user = &w->v,
                                   .log_level = KITH_LOG_DEBUG};
}

static void world_free(world *w)
{
    if (w->v.core) victim_close(&w->v);
    if (hub.hub) station_kill();
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }

static void begin(world *w, const char *const *servers)
{
    kith_problem problem = {0};
    kith_doctor_options options = {.size = sizeof options, .stun = servers};
    while (servers && servers[options.stun_count]) options.stun_count++;
    if (!w->v.core && kith_core_new(&w->config, &w->v.core, &problem)) fail_msg("%s", problem.message);
    w->v.count = 0;
    kith_core_doctor(w->v.core, ++w->v.last_op, &options);
}

/* How long it took, in virtual seconds. */
static double examine(world *w, const char *const *servers)
{
    uint64_t start = kith_sim_now_ns(w->sim);
    begin(w, servers);
    if (!kith_sim_run_until(w->sim, ended, &w->v, 60 * KITH_SIM_S)) fail_msg("it does not end");
    assert_ok(last_event(&w->v, KITH_EVENT_END)->err);
    for (size_t i = 0; i < w->v.count && getenv("KITH_SHOW"); i++) {
        const kith_event *e = &w->v.events[i];
        if (e->kind == KITH_EVENT_FINDING)
            printf("  %d %-10s [%s] %s\n     -> %s\n", e->state, e->check, e->result, e->message, e->cure);
    }
    return (double)(kith_sim_now_ns(w->sim) - start) / 1e9;
}

static const kith_event *find(const world *w, const char *check)
{
    for (size_t i = 0; i < w->v.count; i++)
        if (w->v.events[i].kind == KITH_EVENT_FINDING && strcmp(w->v.events[i].check, check) == 0)
            return &w->v.events[i];
    return NULL;
}

/* The one finding of this check; each that is not good has a cause and a cure. */
static const kith_event *expect(const world *w, const char *check, kith_finding state, const char *result)
{
    const kith_event *e = find(w, check);
    if (!e) fail_msg("nothing is said of %s", check);
    if (e->state != state || strcmp(e->result, result) != 0)
        fail_msg("%s: %d \"%s\", not %d \"%s\": %s", check, e->state, e->result, state, result, e->message);
    if (!*e->message || (state != KITH_FINDING_GOOD && !*e->cure)) fail_msg("%s: no cause, or no cure", check);
    return e;
}

static void expect_no_more_bad(const world *w, size_t known)
{
    size_t n = 0;
    for (size_t i = 0; i < w->v.count; i++) {
        const kith_event *e = &w->v.events[i];
        n += e->kind == KITH_EVENT_FINDING && e->state == KITH_FINDING_BAD;
    }
    if (n != known) fail_msg("%zu findings are bad, not %zu", n, known);
}

static const char *const two_servers[] = {STUN_A, STUN_B ":3478", NULL};
static const char *const three_servers[] = {STUN_A, STUN_A ":3479", STUN_B ":3478", NULL};

/* ---- NATs ---- */

static const struct nat_case {
    const char *name;
    kith_sim_nat_by mapping, filtering;
    kith_sim_nat_ports ports;
    bool hairpin;
    const char *says_mapping, *says_filtering, *says_hairpin, *says_ports; /* "": cannot be told */
} nats[] = {
#define EI    KITH_SIM_NAT_ENDPOINT_INDEPENDENT
#define AD    KITH_SIM_NAT_ADDRESS_DEPENDENT
#define APD   KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT
#define S_EI  "endpoint-independent"
#define S_AD  "address-dependent"
#define S_APD "address-and-port-dependent"
    {"full cone", EI, EI, KITH_SIM_NAT_PRESERVE, false, S_EI, "", "no", "kept"},
    {"full cone, hairpin", EI, EI, KITH_SIM_NAT_PRESERVE, true, S_EI, S_EI, "yes", "kept"},
    {"address", EI, AD, KITH_SIM_NAT_PRESERVE, false, S_EI, "", "no", "kept"},
    {"address, hairpin", EI, AD, KITH_SIM_NAT_PRESERVE, true, S_EI, S_AD, "yes", "kept"},
    {"port", EI, APD, KITH_SIM_NAT_PRESERVE, false, S_EI, "", "no", "kept"},
    {"port, hairpin", EI, APD, KITH_SIM_NAT_PRESERVE, true, S_EI, S_APD, "yes", "kept"},
    {"port, hairpin, random ports", EI, APD, KITH_SIM_NAT_RANDOM, true, S_EI, S_APD, "yes", "changed"},
    {"full cone, hairpin, ports in a row", EI, EI, KITH_SIM_NAT_SEQUENTIAL, true, S_EI, S_EI, "yes", "changed"},
    {"symmetric", APD, APD, KITH_SIM_NAT_RANDOM, false, S_APD, "", "", "changed"},
    {"symmetric, hairpin", APD, APD, KITH_SIM_NAT_RANDOM, true, S_APD, "", "", "changed"},
    {"by address", AD, AD, KITH_SIM_NAT_RANDOM, false, S_AD, "", "", "changed"},
};

static void every_nat_is_named(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        for (size_t i = 0; i < sizeof nats / sizeof *nats; i++) {
            static world w;
            const struct nat_case *n = &nats[i];
            kith_sim_nat_config config = {
                .mapping = n->mapping, .filtering = n->filtering, .ports = n->ports, .hairpin = n->hairpin};
            world_make(&w, seed, &config);
            double took = examine(&w, three_servers);
            if (seed == 1)
                printf("%-35s %-28s %-28s %-4s %-8s %.1f s\n", n->name, find(&w, "mapping")->result,
                       find(&w, "filtering")->result, find(&w, "hairpin")->result, find(&w, "ports")->result, took);
            (void)expect(&w, "nat", KITH_FINDING_GOOD, "nat");
            assert_int_equal(strncmp(find(&w, "nat")->address, "203.0.113.10:", 13), 0);
            (void)expect(&w, "mapping", n->mapping == EI ? KITH_FINDING_GOOD : KITH_FINDING_WARNING, n->says_mapping);
            (void)expect(&w, "filtering", *n->says_filtering ? KITH_FINDING_GOOD : KITH_FINDING_UNKNOWN,
                         n->says_filtering);
            (void)expect(&w, "hairpin",
                         !*n->says_hairpin ? KITH_FINDING_UNKNOWN
                         : n->hairpin      ? KITH_FINDING_GOOD
                                           : KITH_FINDING_WARNING,
                         n->says_hairpin);
            (void)expect(&w, "ports", KITH_FINDING_GOOD, n->says_ports);
            (void)expect(&w, "udp", KITH_FINDING_GOOD, "");
            (void)expect(&w, "firewall", KITH_FINDING_GOOD, "");
            (void)expect(&w, "mtu", KITH_FINDING_GOOD, "");
            const kith_event *relay = expect(&w, "relay", KITH_FINDING_GOOD, "test");
            assert_true(relay->rtt_ns >= 20 * KITH_SIM_MS && relay->rtt_ns < 100 * KITH_SIM_MS);
            (void)expect(&w, "clock", KITH_FINDING_GOOD, "");
            (void)expect(&w, "home", KITH_FINDING_GOOD, "");
            (void)expect(&w, "identity", KITH_FINDING_GOOD, "once");
            (void)expect(&w, "portal", KITH_FINDING_GOOD, "");
            expect_no_more_bad(&w, 0);
            world_free(&w);
        }
}

/* What a filter does is not seen from outside, but that there is none is. */
static void no_nat(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, NULL);
    (void)examine(&w, two_servers);
    (void)expect(&w, "nat", KITH_FINDING_GOOD, "none");
    assert_null(find(&w, "mapping"));
    assert_null(find(&w, "filtering"));
    assert_null(find(&w, "hairpin"));
    expect_no_more_bad(&w, 0);
    world_free(&w);
}

/* With the relay alone. */
static void one_server_cannot_tell(void **state)
{
    (void)state;
    static const struct {
        bool symmetric, hairpin;
        kith_finding is;
        const char *says;
    } cases[] = {{false, false, KITH_FINDING_UNKNOWN, ""},
                 {false, true, KITH_FINDING_GOOD, "yes"},
                 {true, false, KITH_FINDING_UNKNOWN, ""},
                 {true, true, KITH_FINDING_UNKNOWN, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        kith_sim_nat_config config = cases[i].symmetric ? KITH_SIM_NAT_SYMMETRIC : KITH_SIM_NAT_PORT_RESTRICTED;
        config.hairpin = cases[i].hairpin;
        world_make(&w, 2, &config);
        (void)examine(&w, NULL);
        (void)expect(&w, "mapping", KITH_FINDING_UNKNOWN, "");
        (void)expect(&w, "hairpin", cases[i].is, cases[i].says);
        world_free(&w);
    }
}

static void a_carriers_nat(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    assert_ok(kith_sim_change_addr(w.v.host, "192.168.1.10", "100.64.3.10"));
    (void)examine(&w, two_servers);
    (void)expect(&w, "nat", KITH_FINDING_WARNING, "carrier");
    world_free(&w);
}

static void answers_that_are_lies_do_not_count(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
    server.lies = true;
    (void)examine(&w, two_servers);
    assert_true(server.asked >= 2);
    (void)expect(&w, "mapping", KITH_FINDING_GOOD, "endpoint-independent");
    assert_int_equal(strncmp(find(&w, "nat")->address, "203.0.113.10:", 13), 0);
    world_free(&w);
}

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

static void set_mtu(world *w, uint32_t mtu)
{
    const kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS, .mtu = 1500}, small = {.delay_ns = 0, .mtu = mtu};
    assert_ok(kith_sim_pair_link(w->v.host, kith_sim_nat_host(w->nat), mtu ? &small : &link));
}

static void mtu(void **state)
{
    (void)state;
    static const struct {
        uint32_t mtu;
        kith_finding is;
        const char *says;
        size_t largest;
    } cases[] = {{1400, KITH_FINDING_GOOD, "", 1280},
                 {1280, KITH_FINDING_WARNING, "small", 1200},
                 {1220, KITH_FINDING_BAD, "too-small", 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        set_mtu(&w, cases[i].mtu);
        (void)examine(&w, two_servers);
        assert_int_equal(expect(&w, "mtu", cases[i].is, cases[i].says)->bytes, cases[i].largest);
        world_free(&w);
    }
}

/* ---- relays ---- */

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
        const char *says;
    } cases[] = {{2000, KITH_FINDING_GOOD, ""},
                 {-60000, KITH_FINDING_WARNING, "skewed"},
                 {600000, KITH_FINDING_BAD, "skewed"},
                 {-86400000, KITH_FINDING_BAD, "skewed"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        kith_sim_set_wall_skew(w.v.host, cases[i].skew_ms);
        (void)examine(&w, NULL);
        int64_t off = expect(&w, "clock", cases[i].is, cases[i].says)->skew_ms - cases[i].skew_ms;
        assert_true(llabs(off) < 100);
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
        TEST(every_nat_is_named),
        TEST(no_nat),
        TEST(one_server_cannot_tell),
        TEST(a_carriers_nat),
        TEST(answers_that_are_lies_do_not_count),
        TEST(udp_blocked),
        TEST(only_443),
        TEST(udp_to_the_relay_blocked),
        TEST(no_network_at_all),
        TEST(mtu),
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
        TEST(the_home),
        TEST(wrong_calls),
        TEST(ended_at_any_time),
        TEST(out_of_memory),
        TEST(a_bad_day),
    };
    return cmocka_run_group_tests_name("sim/doctor", tests, NULL, NULL);
}
