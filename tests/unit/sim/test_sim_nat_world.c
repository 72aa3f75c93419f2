/* NATs among networks: one inside another, beside IPv6, on links, with hosts that move; and as part of the world. */
#include "sim_nat_test.h"

static const kith_sim_nat_config *const PORT_RESTRICTED = &KITH_SIM_NAT_PORT_RESTRICTED;

/* ---- NATs inside NATs ---- */

/* Another home, d, whose NAT has its address in the home of a. */
static kith_sim_lan *attic;
static kith_sim_nat *inner;
static kith_sim_host *d;
static kith_env *ed;
static sink at_d;

static void build_attic(const kith_sim_nat_config *outer, const kith_sim_nat_config *of_inner)
{
    build_and_open(outer, PORT_RESTRICTED);
    attic = lan_in(sim, "attic");
    inner = nat_on(attic, home_a, "192.168.1.100", of_inner);
    d = host_in(sim, "d");
    assert_ok(kith_sim_attach(d, attic, "10.0.0.2"));
    ed = process_on(d);
    sink_open(&at_d, ed, "0.0.0.0:5000");
}

static void double_nat(void **state)
{
    (void)state;
    build_attic(&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ed, &at_d, 0);
    assert_ip(&outside, "198.51.100.7");
    assert_true(gets_at(es, &server[3], &outside, &at_d)); /* two full cones are one */
    kith_addr remote = addr_of(SERVER[3]), local = addr_of("10.0.0.2:5000");
    assert_true(kith_addr_equal(&at_d.last.remote, &remote) && kith_addr_equal(&at_d.last.local, &local));
    /* In the home around it, it is its NAT. */
    assert_true(gets(ed, &at_d, "192.168.1.10:5000", &at_a));
    assert_ip(&at_a.last.remote, "192.168.1.100");
    assert_true(gets_at(ea, &at_a, &at_a.last.remote, &at_d));
    assert_false(gets(ea, &at_a, "192.168.1.100:1025", &at_d));
    /* The inner one's address inside may be somebody's outside: what is written to it goes no further. */
    assert_ok(kith_sim_attach(kith_sim_nat_host(inner), attic, "192.168.1.10"));
    assert_false(gets(ed, &at_d, "192.168.1.10:5000", &at_a));
    end(sim);
}

static void the_stricter_of_two_counts(void **state)
{
    (void)state;
    for (unsigned strict_inside = 0; strict_inside < 2; strict_inside++) {
        const kith_sim_nat_config *full = &KITH_SIM_NAT_FULL_CONE, *other = &KITH_SIM_NAT_SYMMETRIC;
        build_attic(strict_inside ? full : other, strict_inside ? other : full);
        kith_addr one = seen_by(ed, &at_d, 0), two = seen_by(ed, &at_d, 1);
        assert_false(kith_addr_equal(&one, &two));
        assert_true(gets_at(es, &server[0], &one, &at_d));
        assert_false(gets_at(es, &server[1], &one, &at_d));
        end(sim);
        build_attic(strict_inside ? full : PORT_RESTRICTED, strict_inside ? PORT_RESTRICTED : full);
        one = seen_by(ed, &at_d, 0);
        two = seen_by(ed, &at_d, 1);
        assert_true(kith_addr_equal(&one, &two));
        assert_false(gets_at(es, &server[2], &one, &at_d));
        end(sim);
    }
}

/* Both are behind the outer NAT, one of them behind another one too: they meet by the outer one's hairpin. */
static void hairpin_at_the_outer_nat(void **state)
{
    (void)state;
    kith_sim_nat_config outer = KITH_SIM_NAT_FULL_CONE;
    outer.hairpin = true;
    build_attic(&outer, PORT_RESTRICTED);
    kith_addr outside_d = seen_by(ed, &at_d, 0), outside_a = seen_by(ea, &at_a, 0);
    assert_false(gets_at(ea, &at_a, &outside_d, &at_d));
    assert_true(gets_at(ed, &at_d, &outside_a, &at_a));
    assert_true(kith_addr_equal(&at_a.last.remote, &outside_d));
    assert_true(gets_at(ea, &at_a, &outside_d, &at_d));
    end(sim);
}

static void as_deep_as_it_goes(void **state)
{
    (void)state;
    char name[32];
    kith_sim_lan *lans[KITH_SIM_NAT_DEPTH];
    kith_sim_nat *nat;
    build_and_open(&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_FULL_CONE);
    lans[0] = home_a;
    for (size_t i = 1; i < KITH_SIM_NAT_DEPTH; i++) {
        lans[i] = lan_in(sim, "deeper");
        snprintf(name, sizeof name, "192.168.%zu.100", i);
        (void)nat_on(lans[i], lans[i - 1], name, &KITH_SIM_NAT_FULL_CONE);
        snprintf(name, sizeof name, "192.168.%zu.10", i + 1);
        d = host_in(sim, "deep");
        assert_ok(kith_sim_attach(d, lans[i], name));
    }
    lan = lan_in(sim, "too deep");
    assert_int_equal(kith_sim_nat_new(sim, lan, lans[KITH_SIM_NAT_DEPTH - 1], "192.168.9.9", PORT_RESTRICTED, &nat),
                     KITH_ERR_ARG);
    assert_int_equal(kith_sim_nat_new(sim, internet, lan, "192.0.2.1", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    ed = process_on(d);
    sink_open(&at_d, ed, "0.0.0.0:5000");
    kith_addr outside = seen_by(ed, &at_d, 0);
    assert_ip(&outside, "198.51.100.7");
    assert_true(gets_at(es, &server[1], &outside, &at_d));
    end(sim);
}

/* ---- ways around ---- */

static void only_by_the_nat(void **state)
{
    (void)state;
    kith_sim_link way = {.delay_ns = KITH_SIM_MS};
    build_and_open(&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_FULL_CONE);
    assert_ok(kith_sim_attach(a, home_a, "2001:db8:a::10"));
    assert_ok(kith_sim_attach(s, internet, "2001:db8::1"));
    assert_int_equal(send_numbered(es, server[0].udp, "192.168.1.10:5000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_ok(kith_sim_route(home_a, internet, &way)); /* for IPv6 only */
    assert_int_equal(send_numbered(es, server[0].udp, "192.168.1.10:5000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    kith_addr outside = seen_by(ea, &at_a, 0);
    assert_ip(&outside, "198.51.100.7");
    static sink six, server_six;
    sink_open(&six, ea, "[::]:6000");
    sink_open(&server_six, es, "[2001:db8::1]:6000");
    assert_true(gets(ea, &six, "[2001:db8::1]:6000", &server_six));
    assert_ip(&server_six.last.remote, "2001:db8:a::10");
    assert_true(gets(es, &server_six, "[2001:db8:a::10]:6000", &six));
    /* What is like home stays at home, where b's address is a's own. */
    assert_false(gets(ea, &at_a, "192.168.1.99:5000", &at_b));
    assert_true(gets(ec, &at_c, "192.168.1.10:5000", &at_a));
    assert_int_equal(at_b.count, 0);
    /* What is nowhere, or the NAT's own, gets lost silently, and takes no mapping. */
    kith_sim_nat_restart(nat_a);
    assert_false(gets(ea, &at_a, "203.0.113.9:1", &server[0]));
    assert_ok(kith_sim_attach(kith_sim_nat_host(nat_a), home_a, "192.168.1.1"));
    assert_false(gets(ea, &at_a, "192.168.1.1:1", &at_c));
    assert_false(gets(es, &server[0], "198.51.100.7:7777", &at_a));
    assert_int_equal(kith_sim_nat_mappings(nat_a), 0);
    end(sim);
}

static void links_add_up(void **state)
{
    (void)state;
    build_and_open(&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_FULL_CONE);
    kith_sim_lan_set_link(home_a, &(kith_sim_link){.delay_ns = 3 * KITH_SIM_MS});
    kith_sim_lan_set_link(internet, &(kith_sim_link){.delay_ns = 20 * KITH_SIM_MS});
    kith_addr outside = seen_by(ea, &at_a, 0);
    size_t before = server[0].count;
    assert_ok(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 10));
    kith_sim_run_for(sim, 23 * KITH_SIM_MS - 1);
    assert_int_equal(server[0].count, before);
    kith_sim_run_for(sim, 1);
    assert_int_equal(server[0].count, before + 1);
    /* A pair's link counts to the NAT, and from it. */
    assert_ok(kith_sim_pair_link(a, kith_sim_nat_host(nat_a), &(kith_sim_link){.loss = 1}));
    assert_false(gets(ea, &at_a, SERVER[0], &server[0]));
    assert_ok(kith_sim_pair_link(a, kith_sim_nat_host(nat_a), NULL));
    assert_ok(kith_sim_oneway_link(s, kith_sim_nat_host(nat_a), &(kith_sim_link){.loss = 1}));
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    assert_true(gets(ea, &at_a, SERVER[0], &server[0]));
    /* MTU of what lies outside: larger ones get lost there. */
    kith_sim_lan_set_link(internet, &(kith_sim_link){.mtu = 1400});
    before = server[0].count;
    assert_ok(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 1372));
    assert_ok(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 1373));
    second();
    assert_int_equal(server[0].count, before + 1);
    end(sim);
}

static void partitions(void **state)
{
    (void)state;
    build_and_open(&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ea, &at_a, 0);
    kith_sim_host *nat = kith_sim_nat_host(nat_a);
    kith_sim_host *pairs[][2] = {{a, s}, {a, nat}, {nat, s}};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(kith_sim_partition(pairs[i][0], pairs[i][1], true));
        assert_false(gets(ea, &at_a, SERVER[0], &server[0]));
        assert_false(gets_at(es, &server[0], &outside, &at_a));
        assert_ok(kith_sim_partition(pairs[i][0], pairs[i][1], false));
        assert_true(gets(ea, &at_a, SERVER[0], &server[0]));
        /* Under way when it is cut, in either part of the way. */
        kith_sim_lan_set_link(home_a, &(kith_sim_link){.delay_ns = 10 * KITH_SIM_MS});
        kith_sim_lan_set_link(internet, &(kith_sim_link){.delay_ns = 10 * KITH_SIM_MS});
        size_t before = server[0].count;
        assert_ok(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 10));
        kith_sim_run_for(sim, (i == 1 ? 5 : 15) * KITH_SIM_MS);
        assert_ok(kith_sim_partition(pairs[i][0], pairs[i][1], true));
        second();
        assert_int_equal(server[0].count, before);
        assert_ok(kith_sim_partition(pairs[i][0], pairs[i][1], false));
        assert_true(gets(ec, &at_c, SERVER[0], &server[0]));
    }
    /* The uplink is pulled, and is put back. */
    kith_sim_detach(nat, internet);
    assert_false(gets(ea, &at_a, SERVER[0], &server[0]));
    assert_ok(kith_sim_attach(nat, internet, "198.51.100.7"));
    assert_true(gets(ea, &at_a, SERVER[0], &server[0]));
    kith_sim_lan_set_link(internet, &(kith_sim_link){.delay_ns = 0});
    size_t before = server[0].count;
    assert_ok(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 10));
    kith_sim_run_for(sim, 5 * KITH_SIM_MS); /* of 10 to the NAT */
    kith_sim_detach(nat, home_a);           /* no way out any more */
    second();
    assert_int_equal(server[0].count, before);
    assert_int_equal(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    end(sim);
}

/* ---- roaming ---- */

/* From one home to the other and back, with the same socket. */
static void a_host_moves(void **state)
{
    (void)state;
    build_and_open(&KITH_SIM_NAT_FULL_CONE, PORT_RESTRICTED);
    kith_addr before = seen_by(ea, &at_a, 0), after;
    kith_sim_detach(a, home_a);
    assert_int_equal(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_false(gets_at(es, &server[0], &before, &at_a)); /* the NAT sends it to where nobody is */
    assert_ok(kith_sim_attach(a, home_b, "192.168.1.20"));
    after = seen_by(ea, &at_a, 0);
    assert_ip(&after, "198.51.100.8");
    assert_true(gets_at(es, &server[0], &after, &at_a));
    assert_false(gets_at(es, &server[1], &after, &at_a));
    assert_false(gets_at(es, &server[0], &before, &at_a));
    assert_true(gets(ea, &at_a, "192.168.1.10:5000", &at_b)); /* a neighbour now */
    kith_sim_detach(a, home_b);
    assert_ok(kith_sim_attach(a, home_a, "192.168.1.10"));
    assert_true(gets_at(es, &server[1], &before, &at_a)); /* the mapping is still there */
    /* Who is at two places at once leaves by the first one, and by the other with its address. */
    assert_ok(kith_sim_attach(a, home_b, "192.168.1.20"));
    kith_addr seen = seen_by(ea, &at_a, 0);
    assert_ip(&seen, "198.51.100.7");
    uint8_t data[10] = {0};
    kith_packet packet = {.local = addr_of("192.168.1.20"), .remote = addr_of(SERVER[0]), .data = data, .size = 10};
    packet.segment = packet.size;
    assert_ok(ea->udp->send(at_a.udp, &packet));
    second();
    assert_ip(&server[0].last.remote, "198.51.100.8");
    end(sim);
}

/* What was sent before the host moved reaches the server, and its answer nobody, though it is under way. */
static void a_host_moves_with_packets_under_way(void **state)
{
    (void)state;
    build_and_open(PORT_RESTRICTED, PORT_RESTRICTED);
    kith_sim_lan_set_link(internet, &(kith_sim_link){.delay_ns = 50 * KITH_SIM_MS});
    kith_addr before = seen_by(ea, &at_a, 0);
    assert_ok(send_numbered(ea, at_a.udp, SERVER[0], 1, 1, 10));
    char text[KITH_ADDR_TEXT_SIZE];
    assert_ok(send_numbered(es, server[0].udp, kith_addr_text(&before, text), 2, 1, 10));
    kith_sim_run_for(sim, 10 * KITH_SIM_MS);
    kith_sim_detach(a, home_a);
    assert_ok(kith_sim_attach(a, home_b, "192.168.1.20"));
    second();
    assert_int_equal(server[0].count, 2);
    assert_int_equal(at_a.count, 0);
    end(sim);
}

/* ---- part of the world ---- */

static void wrong_calls(void **state)
{
    (void)state;
    kith_sim_nat *nat = NULL;
    kith_env *env;
    build_and_open(PORT_RESTRICTED, PORT_RESTRICTED);
    kith_sim_lan *free_lan = lan_in(sim, "free");
    assert_int_equal(kith_sim_env_new(kith_sim_nat_host(nat_a), &env), KITH_ERR_ARG);
    assert_string_equal(kith_sim_host_name(kith_sim_nat_host(nat_a)), "home-a-nat");
    assert_int_equal(kith_sim_nat_new(sim, home_a, internet, "198.51.100.9", PORT_RESTRICTED, &nat), KITH_ERR_EXISTS);
    assert_int_equal(kith_sim_nat_new(sim, free_lan, free_lan, "198.51.100.9", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    assert_int_equal(kith_sim_nat_new(sim, free_lan, internet, "2001:db8::9", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    assert_int_equal(kith_sim_nat_new(sim, free_lan, internet, "198.51.100.9:1", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    assert_int_equal(kith_sim_nat_new(sim, free_lan, internet, "nowhere", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    assert_int_equal(kith_sim_nat_new(sim, free_lan, internet, "198.51.100.7", PORT_RESTRICTED, &nat),
                     KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(kith_sim_nat_new(sim, internet, home_a, "192.168.1.99", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    assert_null(nat);
    kith_sim *other = world(1);
    kith_sim_lan *elsewhere = lan_in(other, "elsewhere");
    assert_int_equal(kith_sim_nat_new(sim, free_lan, elsewhere, "198.51.100.9", PORT_RESTRICTED, &nat), KITH_ERR_ARG);
    kith_sim_free(other);
    assert_ok(kith_sim_nat_new(sim, free_lan, internet, "198.51.100.9", PORT_RESTRICTED, &nat));
    end(sim);
}

/* A small world of its own; whatever allocation fails, it says so, and nothing is left. */
static int small_world(void *arg)
{
    (void)arg;
    static const kith_udp_events events = {sink_received, sink_writable};
    static sink from, to[3];
    size_t heard = 0;
    kith_sim *w = NULL;
    kith_sim_lan *in = NULL, *out = NULL;
    kith_sim_host *x1 = NULL, *x2 = NULL;
    kith_env *e1 = NULL, *e2 = NULL;
    kith_sim_nat *nat = NULL;
    kith_addr any = addr_of("0.0.0.0:5000");
    from.count = 0;
    kith_err err = kith_sim_new(1, &w);
    if (!err) err = kith_sim_lan_new(w, "in", &in);
    if (!err) err = kith_sim_lan_new(w, "out", &out);
    if (!err) err = kith_sim_nat_new(w, in, out, "198.51.100.7", PORT_RESTRICTED, &nat);
    assert_true(err || nat);
    if (!err) err = kith_sim_host_new(w, "1", &x1);
    if (!err) err = kith_sim_host_new(w, "2", &x2);
    if (!err) err = kith_sim_attach(x1, in, "10.0.0.1");
    if (!err) err = kith_sim_attach(x2, out, "198.51.100.1");
    if (!err) err = kith_sim_env_new(x1, &e1);
    if (!err) err = kith_sim_env_new(x2, &e2);
    if (!err) err = e1->udp->open(e1, &any, &events, &from, &from.udp);
    for (uint16_t port = 5000; !err && port < 5003; port++) {
        to[port - 5000].count = 0;
        any.port = port;
        err = e2->udp->open(e2, &any, &events, &to[port - 5000], &to[port - 5000].udp);
        if (err) break;
        char text[32];
        snprintf(text, sizeof text, "198.51.100.1:%u", port);
        err = send_numbered(e1, from.udp, text, 1, 4, 100);
    }
    if (!err) kith_sim_run_for(w, KITH_SIM_S);
    for (size_t i = 0; i < 3; i++) heard += to[i].count;
    if (!err) err = send_numbered(e2, to[2].udp, "198.51.100.7:5000", 1, 4, 100);
    if (!err) kith_sim_run_for(w, KITH_SIM_S);
    kith_sim_free(w);
    return !err && heard + from.count < 16 ? KITH_ERR_NOMEM : err; /* lost is as good */
}

static void memory_runs_out(void **state)
{
    (void)state;
    test_every_allocation(small_world, NULL);
}

/* All that NATs leave to chance, and what comes of it. */
static uint64_t trace_of(uint64_t seed)
{
    kith_sim_nat_config config = KITH_SIM_NAT_SYMMETRIC;
    config.arbitrary_pooling = true;
    build(seed, &config, &KITH_SIM_NAT_FULL_CONE);
    open_all();
    assert_ok(kith_sim_attach(kith_sim_nat_host(nat_a), internet, "198.51.100.17"));
    kith_sim_lan_set_link(internet, &(kith_sim_link){.loss = 0.1, .duplicate = 0.1, .jitter_ns = KITH_SIM_MS});
    for (unsigned i = 0; i < 100; i++) {
        assert_ok(send_numbered(ea, at_a.udp, SERVER[i % 4], i, 3, 100));
        if (server[i % 4].count) {
            char text[KITH_ADDR_TEXT_SIZE];
            (void)kith_addr_text(&server[i % 4].last.remote, text);
            assert_ok(send_numbered(es, server[i % 4].udp, text, i, 3, 100));
        }
        kith_sim_run_for(sim, 100 * KITH_SIM_MS);
        if (i % 30 == 29) kith_sim_nat_restart(nat_a);
    }
    assert_true(at_a.count > 100);
    uint64_t trace = kith_sim_trace(sim);
    end(sim);
    return trace;
}

static void same_seed_same_nats(void **state)
{
    (void)state;
    assert_true(trace_of(1) == trace_of(1));
    assert_true(trace_of(1) != trace_of(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(double_nat),
        cmocka_unit_test(the_stricter_of_two_counts),
        cmocka_unit_test(hairpin_at_the_outer_nat),
        cmocka_unit_test(as_deep_as_it_goes),
        cmocka_unit_test(only_by_the_nat),
        cmocka_unit_test(links_add_up),
        cmocka_unit_test(partitions),
        cmocka_unit_test(a_host_moves),
        cmocka_unit_test(a_host_moves_with_packets_under_way),
        cmocka_unit_test(wrong_calls),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(same_seed_same_nats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
