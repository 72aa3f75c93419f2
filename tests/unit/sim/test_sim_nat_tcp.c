/* NATs as byte streams meet them. */
#include "sim_nat_test.h"

static kith_sim_nat_config config;

/* x on a, behind nat_a; y listens at the server. */
static void build_streams(const kith_sim_nat_config *of_a)
{
    config = *of_a;
    build(23, of_a, &KITH_SIM_NAT_FULL_CONE);
    end_init(&x, ea, 1, 2);
    end_init(&y, es, 2, 1);
    end_listen(&y, "[::]:443");
}

static void connect_to(const char *address)
{
    end_connect(&x, address);
    run();
    assert_int_equal(x.connected, 1);
    assert_int_equal(y.accepted, 1);
}

static void translated_both_ways(void **state)
{
    (void)state;
    static const kith_sim_nat_config *const kinds[] = {&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_SYMMETRIC};
    for (size_t i = 0; i < 2; i++) {
        build_streams(kinds[i]);
        x.goal = 3000000;
        y.goal = 2000000;
        connect_to("198.51.100.2:443");
        run();
        kith_addr seen = es->tcp->remote(y.tcp), local = ea->tcp->local(x.tcp), remote = ea->tcp->remote(x.tcp);
        assert_ip(&seen, "198.51.100.7");
        assert_int_equal(seen.port == local.port, i == 0);
        assert_ip(&local, "192.168.1.10");
        assert_ip(&remote, "198.51.100.2");
        assert_int_equal(y.got, x.goal);
        assert_int_equal(x.got, y.goal);
        end_close(&x);
        run();
        assert_int_equal(y.ended, 1);
        assert_int_equal(y.why, KITH_ERR_CLOSED);
        end(sim);
    }
}

/* Nobody outside gets in, and by the configuration hears so or not; a full cone lets those in who know the port. */
static void unwanted_from_outside(void **state)
{
    (void)state;
    for (unsigned refuse = 0; refuse < 2; refuse++) {
        kith_sim_nat_config wanted = KITH_SIM_NAT_PORT_RESTRICTED;
        wanted.refuse_tcp = refuse;
        build_streams(&wanted);
        end_init(&x, es, 1, 2);
        end_init(&y, ea, 2, 1);
        end_listen(&y, "[::]:7000");
        uint64_t began = kith_sim_now_ns(sim);
        end_connect(&x, "198.51.100.7:7000");
        run();
        assert_int_equal(x.ended, 1);
        assert_int_equal(x.why, KITH_ERR_UNREACHABLE);
        assert_int_equal(x.ended_at - began >= KITH_SIM_TCP_CONNECT_NS, !refuse);
        if (refuse) assert_true(x.ended_at - began < 2 * KITH_SIM_MS);
        assert_int_equal(y.accepted, 0);
        end_close(&x);
        assert_int_equal(end_try_connect(&x, "192.168.1.10:7000"), KITH_ERR_UNREACHABLE);
        end(sim);
    }
}

static void a_full_cone_lets_in(void **state)
{
    (void)state;
    static tcp_end other, inner;
    char text[KITH_ADDR_TEXT_SIZE];
    for (unsigned restricted = 0; restricted < 2; restricted++) {
        build_streams(restricted ? &KITH_SIM_NAT_PORT_RESTRICTED : &KITH_SIM_NAT_FULL_CONE);
        connect_to("198.51.100.1:443");
        kith_addr seen = es->tcp->remote(y.tcp), local = ea->tcp->local(x.tcp);
        end_init(&inner, ea, 4, 3);
        end_init(&other, eb, 3, 4);
        other.goal = inner.goal = 100000;
        local.family = KITH_FAMILY_NONE; /* the same port, on any address */
        CALL(assert_ok(ea->tcp->listen(ea, &local, on_accepted, &inner, &inner.listener)));
        end_connect(&other, kith_addr_text(&seen, text));
        run();
        assert_int_equal(inner.accepted, !restricted);
        assert_int_equal(other.got, restricted ? 0 : 100000);
        assert_int_equal(inner.got, restricted ? 0 : 100000);
        end(sim);
    }
}

static void only_443(void **state)
{
    (void)state;
    for (unsigned refuse = 0; refuse < 2; refuse++) {
        kith_sim_nat_config wanted = KITH_SIM_NAT_PORT_RESTRICTED;
        wanted.udp_blocked = wanted.tcp_blocked = true;
        wanted.tcp_ports[1] = 443;
        wanted.refuse_tcp = refuse;
        build_streams(&wanted);
        end_listen(&y, "[::]:8443");
        sink_open(&at_a, ea, "0.0.0.0:5000");
        sink_open(&server[0], es, "0.0.0.0:443");
        end_connect(&x, "198.51.100.1:8443");
        run();
        assert_int_equal(x.why, KITH_ERR_UNREACHABLE);
        assert_int_equal(y.accepted, 0);
        end_close(&x);
        end_init(&x, ea, 1, 2);
        x.goal = y.goal = 100000;
        connect_to("198.51.100.1:443");
        assert_int_equal(x.got, 100000);
        assert_int_equal(y.got, 100000);
        assert_false(gets(ea, &at_a, "198.51.100.1:443", &server[0]));
        end(sim);
    }
}

/* Other connections end when a NAT does not know them any more; how soon that is found depends on it. */
static void a_restart_ends_connections(void **state)
{
    (void)state;
    for (unsigned refuse = 0; refuse < 2; refuse++) {
        kith_sim_nat_config wanted = KITH_SIM_NAT_FULL_CONE;
        wanted.refuse_tcp = refuse;
        build_streams(&wanted);
        connect_to("198.51.100.1:443");
        kith_sim_nat_restart(nat_a);
        x.goal += 1000;
        end_send(&x);
        run();
        assert_int_equal(x.ended, refuse);
        kith_sim_run_for(sim, 30 * KITH_SIM_S);
        assert_int_equal(x.ended, 1);
        assert_int_equal(x.why, refuse ? KITH_ERR_CLOSED : KITH_ERR_LOST);
        assert_int_equal(y.got, 0);
        end_close(&x);
        end_init(&x, ea, 1, 2);
        end_connect(&x, "198.51.100.1:443"); /* a new one works at once */
        run();
        assert_int_equal(x.connected, 1);
        end(sim);
    }
}

static void mappings_of_connections(void **state)
{
    (void)state;
    build_streams(&KITH_SIM_NAT_SYMMETRIC);
    connect_to("198.51.100.1:443");
    kith_sim_run_for(sim, KITH_SIM_NAT_TCP_NS - 60 * KITH_SIM_S); /* idle for two hours */
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    y.goal = 1000;
    end_send(&y);
    run();
    assert_int_equal(x.got, 1000);
    kith_sim_run_for(sim, KITH_SIM_NAT_TCP_NS - 60 * KITH_SIM_S); /* what came in kept it */
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    end_close(&x);
    run();
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    kith_sim_run_for(sim, KITH_SIM_NAT_TCP_EDGE_NS);
    assert_int_equal(kith_sim_nat_mappings(nat_a), 0);
    /* One that is never answered does not stay for hours. */
    end_init(&x, ea, 1, 2);
    end_connect(&x, "198.51.100.99:443");
    run();
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    kith_sim_run_for(sim, KITH_SIM_NAT_TCP_EDGE_NS);
    assert_int_equal(kith_sim_nat_mappings(nat_a), 0);
    end(sim);
}

static void a_reset_from_outside_ends_a_mapping(void **state)
{
    (void)state;
    build_streams(&KITH_SIM_NAT_SYMMETRIC);
    connect_to("198.51.100.1:443");
    kith_sim_power_fail(s);
    es = process_on(s); /* which knows of no connection */
    x.goal = 1000;
    end_send(&x);
    run();
    assert_int_equal(x.why, KITH_ERR_CLOSED);
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    kith_sim_run_for(sim, KITH_SIM_NAT_TCP_EDGE_NS);
    assert_int_equal(kith_sim_nat_mappings(nat_a), 0);
    end(sim);
}

/* Datagrams and streams from the same inside port do not share a mapping. */
static void protocols_are_apart(void **state)
{
    (void)state;
    static sink same;
    char text[32];
    build_streams(&KITH_SIM_NAT_FULL_CONE);
    sink_open(&server[0], es, SERVER[0]);
    connect_to("198.51.100.1:443");
    kith_addr local = ea->tcp->local(x.tcp), seen = es->tcp->remote(y.tcp);
    snprintf(text, sizeof text, "0.0.0.0:%u", local.port);
    sink_open(&same, ea, text);
    assert_false(gets_at(es, &server[0], &seen, &same));
    kith_addr datagrams = seen_by(ea, &same, 0);
    assert_int_equal(datagrams.port, local.port); /* the port was free, for datagrams */
    assert_int_equal(kith_sim_nat_mappings(nat_a), 2);
    end(sim);
}

/* The pace is that of the slowest link, wherever it is; its queue does not overflow. */
static void a_slow_uplink(void **state)
{
    (void)state;
    build_streams(&KITH_SIM_NAT_PORT_RESTRICTED);
    kith_sim_lan_set_link(internet,
                          &(kith_sim_link){.delay_ns = 20 * KITH_SIM_MS, .rate = 1000000, .queue = 50000, .mtu = 1500});
    x.goal = y.goal = 3000000;
    uint64_t began = kith_sim_now_ns(sim);
    connect_to("198.51.100.1:443");
    assert_int_equal(y.got, x.goal);
    assert_int_equal(x.got, y.goal);
    assert_true(y.got_at - began > 3 * KITH_SIM_S && y.got_at - began < 4 * KITH_SIM_S);
    end(sim);
}

static void loss_on_either_side(void **state)
{
    (void)state;
    for (unsigned outside = 0; outside < 2; outside++) {
        build_streams(&KITH_SIM_NAT_SYMMETRIC);
        kith_sim_lan_set_link(outside ? internet : home_a, &(kith_sim_link){.delay_ns = KITH_SIM_MS, .loss = 0.02});
        x.goal = y.goal = 1000000;
        end_connect(&x, "198.51.100.1:443");
        kith_sim_run_for(sim, 60 * KITH_SIM_S);
        assert_int_equal(y.got, x.goal);
        assert_int_equal(x.got, y.goal);
        end(sim);
    }
}

static void through_two_nats(void **state)
{
    (void)state;
    build_streams(&KITH_SIM_NAT_SYMMETRIC);
    kith_sim_lan *attic = lan_in(sim, "attic");
    (void)nat_on(attic, home_a, "192.168.1.100", &KITH_SIM_NAT_PORT_RESTRICTED);
    kith_sim_host *d = host_in(sim, "d");
    assert_ok(kith_sim_attach(d, attic, "10.0.0.2"));
    end_init(&x, process_on(d), 1, 2);
    x.goal = y.goal = 500000;
    connect_to("198.51.100.1:443");
    kith_addr seen = es->tcp->remote(y.tcp);
    assert_ip(&seen, "198.51.100.7");
    assert_int_equal(y.got, x.goal);
    assert_int_equal(x.got, y.goal);
    end(sim);
}

/* Its connections do not survive, but new ones go by the other NAT. */
static void a_host_moves(void **state)
{
    (void)state;
    build_streams(&KITH_SIM_NAT_PORT_RESTRICTED);
    connect_to("198.51.100.1:443");
    kith_sim_detach(a, home_a);
    assert_ok(kith_sim_attach(a, home_b, "192.168.1.20"));
    x.goal = 1000;
    end_send(&x);
    kith_sim_run_for(sim, 40 * KITH_SIM_S);
    assert_int_equal(x.why, KITH_ERR_LOST);
    assert_int_equal(y.got, 0);
    end_close(&x);
    end_close(&y);
    end_init(&x, ea, 1, 2);
    end_connect(&x, "198.51.100.1:443");
    run();
    assert_int_equal(x.connected, 1);
    assert_int_equal(y.accepted, 2);
    kith_addr seen = es->tcp->remote(y.tcp);
    assert_ip(&seen, "198.51.100.8");
    end(sim);
}

static void cut_from_the_nat(void **state)
{
    (void)state;
    kith_sim_host *ends[2];
    for (unsigned i = 0; i < 3; i++) {
        build_streams(&KITH_SIM_NAT_FULL_CONE);
        connect_to("198.51.100.1:443");
        ends[0] = i == 2 ? kith_sim_nat_host(nat_a) : a;
        ends[1] = i == 1 ? kith_sim_nat_host(nat_a) : s;
        kith_sim_lan_set_link(internet, &(kith_sim_link){.delay_ns = 100 * KITH_SIM_MS});
        x.goal = 1000;
        end_send(&x);
        kith_sim_run_for(sim, 50 * KITH_SIM_MS);
        if (i != 1) assert_ok(kith_sim_partition(ends[0], ends[1], true)); /* what is under way, too */
        kith_sim_run_for(sim, 100 * KITH_SIM_MS);
        assert_int_equal(y.got, i == 1 ? 1000 : 0);
        assert_ok(kith_sim_partition(ends[0], ends[1], true));
        x.goal += 1000;
        end_send(&x);
        run();
        assert_int_equal(y.got, i == 1 ? 1000 : 0);
        assert_ok(kith_sim_partition(ends[0], ends[1], false));
        run();
        assert_int_equal(y.got, 2000);
        end(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translated_both_ways),
        cmocka_unit_test(unwanted_from_outside),
        cmocka_unit_test(a_full_cone_lets_in),
        cmocka_unit_test(only_443),
        cmocka_unit_test(a_restart_ends_connections),
        cmocka_unit_test(mappings_of_connections),
        cmocka_unit_test(a_reset_from_outside_ends_a_mapping),
        cmocka_unit_test(protocols_are_apart),
        cmocka_unit_test(a_slow_uplink),
        cmocka_unit_test(loss_on_either_side),
        cmocka_unit_test(through_two_nats),
        cmocka_unit_test(a_host_moves),
        cmocka_unit_test(cut_from_the_nat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
