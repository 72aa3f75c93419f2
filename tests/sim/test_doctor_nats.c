/* The doctor behind each kind of NAT, and on ways with a small MTU: what it says of them is so. */
#include "doctor_world.h"

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
    {"full cone", EI, EI, KITH_SIM_NAT_PRESERVE, false, S_EI, S_EI, "no", "kept"},
    {"full cone, hairpin", EI, EI, KITH_SIM_NAT_PRESERVE, true, S_EI, S_EI, "yes", "kept"},
    {"address", EI, AD, KITH_SIM_NAT_PRESERVE, false, S_EI, S_AD, "no", "kept"},
    {"address, hairpin", EI, AD, KITH_SIM_NAT_PRESERVE, true, S_EI, S_AD, "yes", "kept"},
    {"port", EI, APD, KITH_SIM_NAT_PRESERVE, false, S_EI, S_APD, "no", "kept"},
    {"port, hairpin", EI, APD, KITH_SIM_NAT_PRESERVE, true, S_EI, S_APD, "yes", "kept"},
    {"port, hairpin, random ports", EI, APD, KITH_SIM_NAT_RANDOM, true, S_EI, S_APD, "yes", "changed"},
    {"full cone, hairpin, ports in a row", EI, EI, KITH_SIM_NAT_SEQUENTIAL, true, S_EI, S_EI, "yes", "changed"},
    {"full cone, ports in a row", EI, EI, KITH_SIM_NAT_SEQUENTIAL, false, S_EI, S_EI, "no", "changed"},
    {"symmetric", APD, APD, KITH_SIM_NAT_RANDOM, false, S_APD, S_APD, "", "changed"},
    {"symmetric, hairpin", APD, APD, KITH_SIM_NAT_RANDOM, true, S_APD, S_APD, "", "changed"},
    {"by address", AD, AD, KITH_SIM_NAT_RANDOM, false, S_AD, "port-independent", "", "changed"},
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
            (void)expect(&w, "filtering", KITH_FINDING_GOOD, n->says_filtering);
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

/* Of the filter even one relay tells whether ports count, and all where the NAT turns packets around. */
static void filtering_with_one_relay(void **state)
{
    (void)state;
    static const struct {
        kith_sim_nat_by mapping, filtering;
        bool hairpin, cannot; /* the relay has no other port */
        kith_finding is;
        const char *says;
    } cases[] = {
        {EI, EI, false, false, KITH_FINDING_GOOD, "port-independent"},
        {EI, EI, true, false, KITH_FINDING_GOOD, S_EI},
        {EI, AD, false, false, KITH_FINDING_GOOD, "port-independent"},
        {EI, AD, true, false, KITH_FINDING_GOOD, S_AD},
        {EI, APD, false, false, KITH_FINDING_GOOD, S_APD},
        {EI, APD, true, false, KITH_FINDING_GOOD, S_APD},
        {APD, APD, false, false, KITH_FINDING_GOOD, S_APD},
        {EI, APD, false, true, KITH_FINDING_UNKNOWN, ""},
        {EI, APD, true, true, KITH_FINDING_GOOD, S_APD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        kith_sim_nat_config config = KITH_SIM_NAT_PORT_RESTRICTED;
        config.mapping = cases[i].mapping;
        config.filtering = cases[i].filtering;
        config.hairpin = cases[i].hairpin;
        world_make(&w, 2, &config);
        kith_hub_set_other_port(hub.hub, !cases[i].cannot);
        (void)examine(&w, NULL);
        (void)expect(&w, "filtering", cases[i].is, cases[i].says);
        world_free(&w);
    }
}

/* Servers that are no relays: only the hairpin tells. */
static void filtering_without_a_relay(void **state)
{
    (void)state;
    for (int hairpin = 0; hairpin < 2; hairpin++) {
        static world w;
        kith_sim_nat_config config = KITH_SIM_NAT_PORT_RESTRICTED;
        config.hairpin = hairpin;
        world_make(&w, 2, &config);
        w.config.relay_count = 0;
        (void)examine(&w, two_servers);
        (void)expect(&w, "filtering", hairpin ? KITH_FINDING_GOOD : KITH_FINDING_UNKNOWN, hairpin ? S_APD : "");
        const kith_event *e = expect(&w, "mtu", KITH_FINDING_GOOD, "");
        assert_int_equal(e->bytes, 1252);
        assert_non_null(strstr(e->message, "at least 1280"));
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

/* ---- sizes ---- */

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
    } cases[] = {{9000, KITH_FINDING_GOOD, "", 8972},         {2345, KITH_FINDING_GOOD, "", 2316},
                 {1500, KITH_FINDING_GOOD, "", 1472},         {1472, KITH_FINDING_GOOD, "", 1444},
                 {1280, KITH_FINDING_GOOD, "", 1252},         {1276, KITH_FINDING_WARNING, "small", 1248},
                 {1228, KITH_FINDING_WARNING, "small", 1200}, {1220, KITH_FINDING_BAD, "too-small", 1192},
                 {576, KITH_FINDING_BAD, "too-small", 548}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static world w;
        world_make(&w, 1, &KITH_SIM_NAT_PORT_RESTRICTED);
        const kith_sim_link jumbo = {.delay_ns = 10 * KITH_SIM_MS, .mtu = 9000};
        kith_sim_lan_set_link(w.net, &jumbo);
        kith_sim_lan_set_link(w.home, &jumbo);
        set_mtu(&w, cases[i].mtu);
        (void)examine(&w, two_servers);
        assert_int_equal(expect(&w, "mtu", cases[i].is, cases[i].says)->bytes, cases[i].largest);
        world_free(&w);
    }
}

/* ---- relays ---- */

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    const struct CMUnitTest tests[] = {
        TEST(every_nat_is_named),
        TEST(no_nat),
        TEST(one_server_cannot_tell),
        TEST(filtering_with_one_relay),
        TEST(filtering_without_a_relay),
        TEST(a_carriers_nat),
        TEST(answers_that_are_lies_do_not_count),
        TEST(mtu),
    };
    return cmocka_run_group_tests_name("sim/doctor_nats", tests, NULL, NULL);
}
