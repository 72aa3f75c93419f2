/* Datagrams between hosts, and every way in which a network may treat them badly. */
#include "sim_test.h"

static kith_sim *sim;
static kith_sim_lan *lan;
static kith_sim_host *a, *b;
static kith_env *ea, *eb;
static sink from, to;

static int set_up(void **state)
{
    (void)state;
    sim = world(11);
    lan = lan_in(sim, "home");
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    assert_ok(kith_sim_attach(a, lan, "fe80::1"));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2"));
    assert_ok(kith_sim_attach(b, lan, "fe80::2"));
    ea = process_on(a);
    eb = process_on(b);
    sink_open(&from, ea, "[::]:1000");
    sink_open(&to, eb, "0.0.0.0:2000");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end(sim);
    return 0;
}

#define T(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define B           "192.168.1.2:2000"

static void run(void) { kith_sim_run_for(sim, 10 * KITH_SIM_S); }

static kith_sim_link perfect(void) { return (kith_sim_link){.delay_ns = 1000000}; }

/* 10,000 datagrams over a way with these properties. */
static void flood(const kith_sim_link *link)
{
    assert_ok(kith_sim_pair_link(a, b, link));
    for (uint32_t i = 0; i < 10000; i++) {
        assert_ok(send_numbered(ea, from.udp, B, i, 1, 100));
        kith_sim_run_for(sim, 10000);
    }
    run();
}

static size_t overtaken(void)
{
    size_t count = 0;
    for (size_t i = 1; i < to.count; i++) count += to.numbers[i] < to.numbers[i - 1];
    return count;
}

/* ---- delivery ---- */

static void there_and_back(void **state)
{
    (void)state;
    uint8_t hello[] = "hello";
    kith_packet packet = {.remote = addr_of(B), .data = hello, .size = 5, .segment = 5, .ecn = 2};
    assert_ok(ea->udp->send(from.udp, &packet));
    assert_int_equal(to.count, 0); /* not from inside the call */
    memset(hello, 0, sizeof hello);
    kith_sim_run_for(sim, 200000 - 1);
    assert_int_equal(to.count, 0);
    kith_sim_run_for(sim, 20001);
    assert_int_equal(to.count, 1);
    assert_memory_equal(to.last_data, "hello", 5);
    assert_int_equal(to.last.ecn, 2);
    kith_addr remote = addr_of("192.168.1.1:1000"), local = addr_of(B);
    assert_true(kith_addr_equal(&to.last.remote, &remote));
    assert_true(kith_addr_equal(&to.last.local, &local));
    packet = (kith_packet){.remote = to.last.remote, .local = to.last.local, .data = hello, .size = 3, .segment = 3};
    assert_ok(eb->udp->send(to.udp, &packet));
    run();
    assert_int_equal(from.count, 1);
    assert_int_equal(from.last.size, 3);
}

static void runs_are_split_and_joined(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        assert_ok(send_numbered(ea, from.udp, B, i * 64, 40, 1200));
        kith_sim_run_for(sim, KITH_SIM_MS);
    }
    assert_int_equal(to.count, 2000);
    assert_int_equal(to.bytes, 2000 * 1200);
    assert_int_equal(overtaken(), 0);
    assert_true(to.runs > 20);
    assert_true(to.several > 10);
    assert_true(to.calls > to.runs + to.several);
    assert_int_equal(to.flipped, 0);
    /* The last of a run may be shorter. */
    uint8_t data[250] = {0};
    kith_packet packet = {.remote = addr_of(B), .data = data, .size = 250, .segment = 100};
    assert_ok(ea->udp->send(from.udp, &packet));
    run();
    assert_int_equal(to.count, 2003);
    assert_int_equal(to.bytes, 2000 * 1200 + 250);
}

/* Only equal sizes are joined, and a shorter one ends a run: what is split again is what was sent. */
static void sizes_survive_joining(void **state)
{
    (void)state;
    static const uint16_t sizes[] = {100, 100, 50, 100, 120, 120, 4, 4, 4, 5, 1200, 1200, 7};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    kith_sim_link link = perfect();
    assert_ok(kith_sim_pair_link(a, b, &link));
    for (uint32_t i = 0; i < 50 * COUNT; i++) {
        assert_ok(send_numbered(ea, from.udp, B, i, 1, sizes[i % COUNT]));
        if (i % COUNT == COUNT - 1) kith_sim_run_for(sim, KITH_SIM_MS);
    }
    run();
    assert_int_equal(to.count, 50 * COUNT);
    assert_true(to.runs > 10);
    for (uint32_t i = 0; i < to.count; i++) {
        assert_int_equal(to.numbers[i], i);
        assert_int_equal(to.sizes[i], sizes[i % COUNT]);
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static uint8_t data[65001];
    kith_packet good = {.remote = addr_of(B), .data = data, .size = 1000, .segment = 1000}, p;
    p = good, p.size = 0;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.segment = 0;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.segment = 1001;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.segment = 10;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG); /* 100 datagrams */
    p = good, p.size = 65001;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.remote.port = 0;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.remote.family = KITH_FAMILY_NONE;
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.local = addr_of("fe80::1");
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_ARG);
    p = good, p.local = addr_of("192.168.1.77"); /* not ours */
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_UNREACHABLE);
    p.remote = addr_of("127.0.0.1:1000");
    assert_int_equal(ea->udp->send(from.udp, &p), KITH_ERR_UNREACHABLE);
    run();
    assert_int_equal(to.count + from.count, 0);
}

static void ports(void **state)
{
    (void)state;
    sink s, t, u;
    assert_int_equal(sink_try(&s, eb, "[::]:2000"), KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(sink_try(&s, eb, "192.168.1.2:2000"), KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(sink_try(&s, process_on(b), "127.0.0.1:2000"), KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(sink_try(&s, eb, "192.168.1.1:2000"), KITH_ERR_NETWORK); /* another's address */
    sink_open(&s, eb, "0.0.0.0:0");
    sink_open(&t, eb, "0.0.0.0:0");
    assert_int_not_equal(eb->udp->local(s.udp).port, 0);
    assert_int_not_equal(eb->udp->local(s.udp).port, eb->udp->local(t.udp).port);
    sink_open(&u, eb, "192.168.1.2:3000");
    assert_ok(send_numbered(ea, from.udp, "192.168.1.2:3000", 1, 1, 10));
    assert_ok(send_numbered(ea, from.udp, "192.168.1.2:3001", 1, 1, 10)); /* nobody: silence */
    run();
    assert_int_equal(u.count, 1);
    eb->udp->close(to.udp);
    eb->udp->close(NULL);
    sink_open(&to, eb, "[::]:2000");
    /* A socket of one family does not send to the other. */
    assert_int_equal(send_numbered(eb, u.udp, "[fe80::1%2]:1000", 1, 1, 10), KITH_ERR_UNREACHABLE);
}

static void link_local_needs_its_interface(void **state)
{
    (void)state;
    assert_int_equal(send_numbered(ea, from.udp, "[fe80::2]:2000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_int_equal(send_numbered(ea, from.udp, "[fe80::2%7]:2000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_ok(send_numbered(ea, from.udp, "[fe80::2%2]:2000", 1, 1, 10));
    run();
    assert_int_equal(to.count, 1);
    kith_addr remote = addr_of("[fe80::1%2]:1000");
    assert_true(kith_addr_equal(&to.last.remote, &remote));
    kith_packet back = {
        .remote = to.last.remote, .local = to.last.local, .data = to.last_data, .size = 4, .segment = 4};
    assert_ok(eb->udp->send(to.udp, &back));
    run();
    assert_int_equal(from.count, 1);
}

static void inside_a_host(void **state)
{
    (void)state;
    sink s;
    sink_open(&s, process_on(a), "[::]:5000");
    assert_ok(send_numbered(ea, from.udp, "127.0.0.1:5000", 1, 1, 20000)); /* no interface's MTU */
    assert_ok(send_numbered(ea, from.udp, "192.168.1.1:5000", 2, 1, 10));
    assert_ok(send_numbered(ea, from.udp, "[::1]:5000", 3, 1, 10));
    kith_sim_detach(a, lan);
    assert_ok(send_numbered(ea, from.udp, "127.0.0.1:5000", 4, 1, 10));
    run();
    assert_int_equal(s.count, 3); /* 192.168.1.1 is not here any more */
    assert_int_equal(s.numbers[2], 4);
    assert_true(kith_addr_is_loopback(&s.last.remote));
}

/* ---- what may happen on the way ---- */

static void loss(void **state)
{
    (void)state;
    kith_sim_link link = perfect();
    link.loss = 0.2;
    flood(&link);
    assert_in_range(to.count, 7850, 8150); /* 8,000 and 3.7 standard deviations */
    assert_int_equal(overtaken(), 0);
    link.loss = 0;
    size_t before = to.count;
    flood(&link);
    assert_int_equal(to.count - before, 10000);
    link.loss = 1;
    flood(&link);
    assert_int_equal(to.count - before, 10000);
}

/* Of a run, each datagram by itself. */
static void loss_within_runs(void **state)
{
    (void)state;
    kith_sim_link link = perfect();
    link.loss = 0.5;
    assert_ok(kith_sim_pair_link(a, b, &link));
    assert_ok(send_numbered(ea, from.udp, B, 0, 64, 100));
    run();
    assert_in_range(to.count, 16, 48);
}

static void duplication(void **state)
{
    (void)state;
    kith_sim_link link = perfect();
    link.duplicate = 0.1;
    flood(&link);
    assert_in_range(to.count, 10880, 11120);
}

static void reordering(void **state)
{
    (void)state;
    kith_sim_link link = perfect();
    link.jitter_ns = 5 * KITH_SIM_MS;
    flood(&link);
    assert_int_equal(to.count, 10000);
    assert_int_equal(overtaken(), 0); /* jitter alone does not */
    to.count = 0;
    link.jitter_ns = 0;
    link.reorder = 0.1;
    flood(&link);
    assert_int_equal(to.count, 10000);
    assert_in_range(overtaken(), 700, 1300);
}

static void corruption(void **state)
{
    (void)state;
    kith_sim_link link = perfect();
    flood(&link);
    assert_int_equal(to.flipped, 0);
    link.corrupt = 0.1;
    flood(&link);
    assert_in_range(to.flipped, 830, 1090); /* 96 of each 100 bytes are looked at */
}

static void delay_and_jitter(void **state)
{
    (void)state;
    kith_sim_link link = {.delay_ns = 50 * KITH_SIM_MS, .jitter_ns = 10 * KITH_SIM_MS};
    assert_ok(kith_sim_oneway_link(a, b, &link));
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < 200; i++) {
        uint64_t start = kith_sim_now_ns(sim);
        assert_ok(send_numbered(ea, from.udp, B, i, 1, 10));
        while (to.count == i) assert_true(kith_sim_step(sim));
        uint64_t took = kith_sim_now_ns(sim) - start;
        if (took < least) least = took;
        if (took > most) most = took;
    }
    assert_in_range(least, 50 * KITH_SIM_MS, 51 * KITH_SIM_MS);
    assert_in_range(most, 59 * KITH_SIM_MS, 60 * KITH_SIM_MS);
    /* One way only. */
    assert_ok(send_numbered(eb, to.udp, "192.168.1.1:1000", 1, 1, 10));
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(from.count, 1);
    assert_ok(kith_sim_oneway_link(a, b, NULL)); /* as on the network again */
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10));
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(to.count, 201);
}

static void rate_and_queue(void **state)
{
    (void)state;
    kith_sim_link link = {.rate = 1000000};
    assert_ok(kith_sim_pair_link(a, b, &link));
    for (uint32_t i = 0; i < 100; i++) assert_ok(send_numbered(ea, from.udp, B, i * 10, 10, 972));
    kith_sim_run_for(sim, KITH_SIM_S - 1); /* 1,000 times 1,000 bytes with their headers: one second */
    assert_int_equal(to.count, 999);
    kith_sim_run_for(sim, 1);
    assert_int_equal(to.count, 1000);
    link.queue = 100000;
    assert_ok(kith_sim_pair_link(a, b, &link));
    for (uint32_t i = 0; i < 100; i++) assert_ok(send_numbered(ea, from.udp, B, i * 10, 10, 972));
    run();
    assert_in_range(to.count - 1000, 100, 102);
}

static void mtu(void **state)
{
    (void)state;
    kith_sim_link link = perfect();
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 1472));
    assert_int_equal(send_numbered(ea, from.udp, B, 2, 1, 1473), KITH_ERR_LIMIT);
    assert_int_equal(send_numbered(ea, from.udp, B, 2, 3, 1473), KITH_ERR_LIMIT);
    assert_ok(send_numbered(ea, from.udp, "[fe80::2%2]:2000", 3, 1, 1452));
    assert_int_equal(send_numbered(ea, from.udp, "[fe80::2%2]:2000", 4, 1, 1453), KITH_ERR_LIMIT);
    run();
    assert_int_equal(to.count, 2);
    link.mtu = 1400; /* further on: silence */
    assert_ok(kith_sim_pair_link(a, b, &link));
    assert_ok(send_numbered(ea, from.udp, B, 5, 1, 1372));
    assert_ok(send_numbered(ea, from.udp, B, 6, 1, 1373));
    assert_int_equal(send_numbered(ea, from.udp, B, 2, 1, 1473), KITH_ERR_LIMIT);
    run();
    assert_int_equal(to.count, 3);
    assert_int_equal(to.numbers[2], 5);
    assert_ok(kith_sim_pair_link(a, b, NULL));
    kith_sim_lan_set_link(lan, &(kith_sim_link){.delay_ns = 1, .mtu = 9000});
    assert_ok(send_numbered(ea, from.udp, B, 7, 1, 8972));
    assert_int_equal(send_numbered(ea, from.udp, B, 2, 1, 8973), KITH_ERR_LIMIT);
    run();
    assert_int_equal(to.numbers[3], 7);
}

static void partition(void **state)
{
    (void)state;
    kith_sim_host *c = host_in(sim, "c");
    kith_env *ec = process_on(c);
    sink third;
    assert_ok(kith_sim_attach(c, lan, "192.168.1.3"));
    sink_open(&third, ec, "[::]:3000");
    assert_int_equal(kith_sim_partition(a, a, true), KITH_ERR_ARG);
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10)); /* under way when it is cut */
    assert_ok(kith_sim_partition(b, a, true));
    run();
    assert_ok(send_numbered(ea, from.udp, B, 2, 1, 10));
    assert_ok(send_numbered(eb, to.udp, "192.168.1.1:1000", 3, 1, 10));
    assert_ok(send_numbered(ea, from.udp, "192.168.1.3:3000", 4, 1, 10));
    assert_ok(send_numbered(ec, third.udp, B, 5, 1, 10));
    run();
    assert_int_equal(from.count, 0);
    assert_int_equal(third.count, 1);
    assert_int_equal(to.count, 1);
    assert_int_equal(to.numbers[0], 5);
    assert_ok(kith_sim_partition(a, b, false));
    assert_ok(send_numbered(ea, from.udp, B, 6, 1, 10));
    assert_ok(send_numbered(eb, to.udp, "192.168.1.1:1000", 7, 1, 10));
    run();
    assert_int_equal(from.count, 1);
    assert_int_equal(to.count, 2);
}

static void many_pairs(void **state)
{
    (void)state;
    kith_sim_host *all[12];
    for (size_t i = 0; i < 12; i++) all[i] = host_in(sim, "x");
    for (size_t i = 0; i < 12; i++) {
        for (size_t j = 0; j < i; j++) assert_ok(kith_sim_partition(all[j], all[i], true));
        assert_ok(kith_sim_partition(all[i], a, true));
    }
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10));
    run();
    assert_int_equal(to.count, 1);
    kith_sim_link dead = {.loss = 1};
    assert_ok(kith_sim_oneway_link(a, b, &dead));
    assert_ok(kith_sim_partition(all[3], a, false));
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10));
    run();
    assert_int_equal(to.count, 1);
}

static void again_and_writable(void **state)
{
    (void)state;
    kith_sim_set_send_again(a, 0.5);
    size_t agains = 0, sent = 0;
    for (uint32_t i = 0; i < 200; i++) {
        kith_err err = send_numbered(ea, from.udp, B, i, 1, 10);
        if (err) {
            assert_int_equal(err, KITH_ERR_AGAIN);
            kith_sim_set_send_again(a, 0);
            assert_int_equal(send_numbered(ea, from.udp, B, i, 1, 10), KITH_ERR_AGAIN); /* until it says otherwise */
            kith_sim_set_send_again(a, 0.5);
            agains++;
            kith_sim_run_for(sim, KITH_SIM_MS);
            assert_int_equal(from.writable, agains);
        } else {
            sent++;
        }
    }
    run();
    assert_in_range(sent, 60, 140);
    assert_int_equal(to.count, sent);
    kith_sim_set_send_again(a, 1);
    assert_int_equal(send_numbered(ea, from.udp, B, 1, 1, 10), KITH_ERR_AGAIN);
    ea->udp->close(from.udp); /* no callback after this */
    run();
    assert_int_equal(from.writable, agains);
}

/* ---- networks and addresses ---- */

static void other_networks(void **state)
{
    (void)state;
    kith_sim_lan *far = lan_in(sim, "office");
    kith_sim_host *c = host_in(sim, "c");
    sink third;
    assert_ok(kith_sim_attach(c, far, "10.1.0.3"));
    sink_open(&third, process_on(c), "[::]:3000");
    assert_int_equal(send_numbered(ea, from.udp, "10.1.0.3:3000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_int_equal(send_numbered(ea, from.udp, "8.8.8.8:3000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_ok(send_numbered(ea, from.udp, "192.168.1.99:3000", 1, 1, 10)); /* a neighbour that is not there: silence */
    kith_sim_link wan = {.delay_ns = 30 * KITH_SIM_MS, .mtu = 1300};
    assert_int_equal(kith_sim_route(lan, lan, &wan), KITH_ERR_ARG);
    assert_ok(kith_sim_route(far, lan, &wan));
    assert_ok(send_numbered(ea, from.udp, "10.1.0.3:3000", 1, 1, 1272));
    assert_ok(send_numbered(ea, from.udp, "10.1.0.3:3000", 2, 1, 1273)); /* the way's MTU */
    assert_ok(send_numbered(ea, from.udp, "10.1.0.99:3000", 3, 1, 10));
    kith_sim_run_for(sim, 30 * KITH_SIM_MS);
    assert_int_equal(third.count, 0);
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(third.count, 1);
    kith_addr remote = addr_of("192.168.1.1:1000");
    assert_true(kith_addr_equal(&third.last.remote, &remote));
    kith_packet back = {.remote = third.last.remote, .data = third.last_data, .size = 4, .segment = 4};
    assert_ok(eb->udp->send(third.udp, &back));
    run();
    assert_int_equal(from.count, 1);
    /* A way back of its own: both seconds pass at once. */
    assert_ok(kith_sim_route(lan, far, &(kith_sim_link){.rate = 1000}));
    assert_ok(send_numbered(ea, from.udp, "10.1.0.3:3000", 1, 1, 972));
    back.size = back.segment = 972;
    assert_ok(eb->udp->send(third.udp, &back));
    kith_sim_run_for(sim, KITH_SIM_S + KITH_SIM_MS);
    assert_int_equal(from.count, 2);
    assert_int_equal(third.count, 2);
    wan.loss = 1;
    assert_ok(kith_sim_route(lan, far, &wan)); /* changed */
    assert_ok(send_numbered(ea, from.udp, "10.1.0.3:3000", 1, 1, 10));
    run();
    assert_int_equal(third.count, 2);
    assert_ok(kith_sim_route(lan, far, NULL));
    assert_int_equal(send_numbered(ea, from.udp, "10.1.0.3:3000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    /* Two networks may use the same addresses. */
    assert_ok(kith_sim_attach(c, far, "192.168.1.2"));
    assert_ok(send_numbered(ea, from.udp, "192.168.1.2:2000", 1, 1, 10));
    run();
    assert_int_equal(to.count, 1);
}

static unsigned changes;
static void on_change(void *user)
{
    (void)user;
    changes++;
}

static void addresses_come_and_go(void **state)
{
    (void)state;
    kith_interface_addr list[8];
    kith_watch *watch, *quiet;
    changes = 0;
    assert_ok(ea->net->watch(ea, on_change, NULL, &watch));
    assert_int_equal(ea->net->addresses(ea, list, 8), 2);
    assert_string_equal(list[0].name, "eth0");
    assert_int_equal(list[0].index, 2);
    assert_int_equal(list[1].addr.scope, 2);
    assert_int_equal(ea->net->addresses(ea, list, 1), 2);
    assert_int_equal(kith_sim_attach(a, lan, "192.168.1.2"), KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(kith_sim_attach(a, lan, "192.168.1.7:80"), KITH_ERR_ARG);
    assert_int_equal(kith_sim_attach(a, lan, "127.0.0.1"), KITH_ERR_ARG);
    assert_int_equal(kith_sim_change_addr(a, "192.168.1.9", "192.168.1.8"), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_sim_change_addr(a, "192.168.1.1", "192.168.1.2"), KITH_ERR_ADDRESS_IN_USE);
    kith_sim_run_for(sim, KITH_SIM_S);
    assert_int_equal(changes, 0);
    assert_ok(kith_sim_change_addr(a, "192.168.1.1", "192.168.1.50"));
    kith_sim_run_for(sim, 1000);
    assert_ok(kith_sim_attach(a, lan, "2001:db8::1"));
    kith_sim_run_for(sim, KITH_SIM_WATCH_NS - 1001);
    assert_int_equal(changes, 0);
    kith_sim_run_for(sim, 1);
    assert_int_equal(changes, 1);
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10));
    run();
    kith_addr now = addr_of("192.168.1.50:1000");
    assert_true(kith_addr_equal(&to.last.remote, &now));
    assert_ok(send_numbered(eb, to.udp, "192.168.1.1:1000", 1, 1, 10)); /* the old address: silence */
    assert_ok(send_numbered(eb, to.udp, "192.168.1.50:1000", 2, 1, 10));
    run();
    assert_int_equal(from.count, 1);
    assert_ok(send_numbered(eb, to.udp, "192.168.1.50:1000", 3, 1, 10)); /* gone before it arrives */
    kith_sim_detach(a, lan);
    run();
    assert_int_equal(from.count, 1);
    assert_int_equal(changes, 2);
    assert_int_equal(ea->net->addresses(ea, list, 8), 2); /* the loopback's, there being nothing else */
    assert_true(kith_addr_is_loopback(&list[0].addr));
    assert_int_equal(send_numbered(ea, from.udp, B, 1, 1, 10), KITH_ERR_UNREACHABLE);
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    assert_int_equal(ea->net->addresses(ea, list, 8), 1);
    assert_int_equal(list[0].index, 3); /* another interface */
    assert_ok(ea->net->watch(ea, on_change, NULL, &quiet));
    ea->net->unwatch(watch);
    ea->net->unwatch(NULL);
    run();
    assert_int_equal(changes, 2);
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10));
    run();
    assert_int_equal(to.count, 2);
}

static void the_dead_hear_nothing(void **state)
{
    (void)state;
    kith_watch *watch;
    changes = 0;
    assert_ok(eb->net->watch(eb, on_change, NULL, &watch));
    kith_sim_set_send_again(b, 1);
    assert_int_equal(send_numbered(eb, to.udp, "192.168.1.1:1000", 1, 1, 10), KITH_ERR_AGAIN);
    assert_ok(send_numbered(ea, from.udp, B, 1, 1, 10));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.200"));
    kith_sim_kill(eb);
    run();
    assert_int_equal(to.count + to.writable + changes, 0);
    assert_int_equal(send_numbered(eb, to.udp, "192.168.1.1:1000", 1, 1, 10), KITH_ERR_UNREACHABLE);
    sink heir, none;
    assert_int_equal(sink_try(&none, eb, "[::]:0"), KITH_ERR_NETWORK);
    kith_env *next = process_on(b);
    sink_open(&heir, next, "[::]:2000"); /* the port is free */
    assert_ok(send_numbered(ea, from.udp, B, 2, 1, 10));
    run();
    assert_int_equal(heir.count, 1);
    eb->udp->close(to.udp);
    eb->net->unwatch(watch);
}

static int send_all(void *arg)
{
    (void)arg;
    static const kith_udp_events events = {sink_received, sink_writable};
    kith_addr any = {0};
    kith_udp *udp;
    kith_watch *watch = NULL;
    kith_err err = ea->udp->open(ea, &any, &events, &from, &udp);
    if (err) return err;
    err = ea->net->watch(ea, on_change, NULL, &watch);
    size_t before = to.count;
    if (!err) err = send_numbered(ea, udp, B, 1, 10, 100);
    run(); /* out of memory on the way is as good as lost */
    if (!err && to.count != before + 10) err = KITH_ERR_NOMEM;
    ea->net->unwatch(watch);
    ea->udp->close(udp);
    return err;
}

static void memory_runs_out(void **state)
{
    (void)state;
    test_every_allocation(send_all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(there_and_back),
        T(runs_are_split_and_joined),
        T(sizes_survive_joining),
        T(nonsense_is_refused),
        T(ports),
        T(link_local_needs_its_interface),
        T(inside_a_host),
        T(loss),
        T(loss_within_runs),
        T(duplication),
        T(reordering),
        T(corruption),
        T(delay_and_jitter),
        T(rate_and_queue),
        T(mtu),
        T(partition),
        T(many_pairs),
        T(again_and_writable),
        T(other_networks),
        T(addresses_come_and_go),
        T(the_dead_hear_nothing),
        T(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
