/* NATs as datagrams meet them: what RFC 4787 calls mapping, filtering, port assignment, refresh and hairpinning. */
#include "sim_nat_test.h"

static const kith_sim_nat_by BY[3] = {KITH_SIM_NAT_ENDPOINT_INDEPENDENT, KITH_SIM_NAT_ADDRESS_DEPENDENT,
                                      KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT};

/* ---- mapping and filtering ---- */

/* Which of the server's four sockets share the first one's mapping, and which may answer through it. */
static const bool SHARED[3][4] = {{1, 1, 1, 1}, {1, 1, 0, 0}, {1, 0, 0, 0}};

static void check_mapping(size_t by)
{
    kith_addr first = seen_by(ea, &at_a, 0), other;
    assert_ip(&first, "198.51.100.7");
    for (size_t i = 0; i < 4; i++) {
        kith_addr seen = seen_by(ea, &at_a, i), again = seen_by(ea, &at_a, i);
        assert_ip(&seen, "198.51.100.7");
        assert_int_equal(kith_addr_equal(&seen, &first), SHARED[by][i]);
        assert_true(kith_addr_equal(&seen, &again));
    }
    other = seen_by(ec, &at_c, 0);
    assert_false(kith_addr_equal(&other, &first)); /* another host's, from the same inside port */
}

static void check_filtering(size_t by)
{
    static sink fresh;
    sink_open(&fresh, ea, "0.0.0.0:6000");
    kith_addr outside = seen_by(ea, &fresh, 0);
    for (size_t i = 0; i < 4; i++) assert_int_equal(gets_at(es, &server[i], &outside, &fresh), SHARED[by][i]);
    assert_int_equal(gets_at(eb, &at_b, &outside, &fresh), by == 0);
    assert_true(fresh.count == (by == 0 ? 5 : by == 1 ? 2 : 1));
    kith_addr remote = addr_of(by == 0 ? "198.51.100.8:5000" : by == 1 ? SERVER[1] : SERVER[0]);
    assert_true(kith_addr_equal(&fresh.last.remote, &remote)); /* and they keep their own addresses */
    kith_addr local = addr_of("192.168.1.10:6000");
    assert_true(kith_addr_equal(&fresh.last.local, &local));
    /* Where the mapping's port is another one, nobody is heard, whoever it is. */
    outside.port ^= 1;
    for (size_t i = 0; i < 4; i++) assert_false(gets_at(es, &server[i], &outside, &fresh));
}

static void every_behaviour(void **state)
{
    (void)state;
    for (size_t mapping = 0; mapping < 3; mapping++) {
        for (size_t filtering = 0; filtering < 3; filtering++) {
            kith_sim_nat_config config = {.mapping = BY[mapping], .filtering = BY[filtering]};
            for (config.ports = KITH_SIM_NAT_PRESERVE; config.ports <= KITH_SIM_NAT_RANDOM; config.ports++) {
                build_and_open(&config, &KITH_SIM_NAT_PORT_RESTRICTED);
                check_mapping(mapping);
                check_filtering(filtering);
                end(sim);
            }
        }
    }
}

static void the_classic_kinds(void **state)
{
    (void)state;
    static const struct {
        const kith_sim_nat_config *config;
        size_t mapping, filtering;
    } kinds[] = {{&KITH_SIM_NAT_FULL_CONE, 0, 0},
                 {&KITH_SIM_NAT_ADDRESS_RESTRICTED, 0, 1},
                 {&KITH_SIM_NAT_PORT_RESTRICTED, 0, 2},
                 {&KITH_SIM_NAT_SYMMETRIC, 2, 2}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        build_and_open(kinds[i].config, &KITH_SIM_NAT_PORT_RESTRICTED);
        check_mapping(kinds[i].mapping);
        check_filtering(kinds[i].filtering);
        kith_addr outside = seen_by(ec, &at_c, 0);
        assert_false(gets_at(ea, &at_a, &outside, &at_c)); /* no hairpin */
        end(sim);
    }
}

/* Filtering by address with a mapping by address and port: who is known at one mapping is a stranger at another. */
static void filters_belong_to_a_mapping(void **state)
{
    (void)state;
    kith_sim_nat_config config = {.mapping = KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT,
                                  .filtering = KITH_SIM_NAT_ADDRESS_DEPENDENT};
    build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
    kith_addr one = seen_by(ea, &at_a, 0), two = seen_by(ea, &at_a, 2);
    assert_true(gets_at(es, &server[1], &one, &at_a));
    assert_false(gets_at(es, &server[1], &two, &at_a));
    assert_true(gets_at(es, &server[3], &two, &at_a));
    end(sim);
}

/* ---- two NATs: who meets whom ---- */

/* Each learns from the server how the other is seen, and writes to that, three times in turn: whether both are heard.
 */
static bool punch(const kith_sim_nat_config *of_a, const kith_sim_nat_config *of_b)
{
    build_and_open(of_a, of_b);
    kith_addr outside_a = seen_by(ea, &at_a, 0), outside_b = seen_by(eb, &at_b, 0);
    at_a.count = at_b.count = 0;
    for (unsigned i = 0; i < 3; i++) {
        (void)gets_at(ea, &at_a, at_a.count ? &at_a.last.remote : &outside_b, &at_b);
        (void)gets_at(eb, &at_b, at_b.count ? &at_b.last.remote : &outside_a, &at_a);
    }
    bool both = at_a.count && at_b.count;
    end(sim);
    return both;
}

static void holes_are_punched_where_they_can_be(void **state)
{
    (void)state;
    const kith_sim_nat_config *kinds[4] = {&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_ADDRESS_RESTRICTED,
                                           &KITH_SIM_NAT_PORT_RESTRICTED, &KITH_SIM_NAT_SYMMETRIC};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) assert_int_equal(punch(kinds[i], kinds[j]), i + j < 5); /* 2 + 3, 3 + 3: no */
    }
}

/* What arrives before the NAT was opened is lost, though it was sent after; what is under way when it opens is not. */
static void a_hole_opens_when_it_is_reached(void **state)
{
    (void)state;
    kith_sim_link way = {.delay_ns = 40 * KITH_SIM_MS};
    build_and_open(&KITH_SIM_NAT_PORT_RESTRICTED, &KITH_SIM_NAT_PORT_RESTRICTED);
    kith_sim_lan_set_link(internet, &way);
    assert_ok(send_numbered(eb, at_b.udp, "198.51.100.7:5000", 1, 1, 10)); /* ports are preserved */
    kith_sim_run_for(sim, 41 * KITH_SIM_MS);
    assert_ok(send_numbered(eb, at_b.udp, "198.51.100.7:5000", 2, 1, 10));
    kith_sim_run_for(sim, 20 * KITH_SIM_MS);
    assert_ok(send_numbered(ea, at_a.udp, "198.51.100.8:5000", 3, 1, 10));
    second();
    assert_int_equal(at_a.count, 1);
    assert_int_equal(at_a.numbers[0], 2);
    assert_int_equal(at_b.count, 1);
    end(sim);
}

/* ---- ports and addresses ---- */

static void ports_are_preserved_when_free(void **state)
{
    (void)state;
    static sink low;
    build_and_open(&KITH_SIM_NAT_PORT_RESTRICTED, &KITH_SIM_NAT_FULL_CONE);
    kith_addr first = seen_by(ea, &at_a, 0), other = seen_by(ec, &at_c, 0);
    assert_int_equal(first.port, 5000);
    assert_int_not_equal(other.port, 5000);
    sink_open(&low, ec, "0.0.0.0:123");
    assert_true(seen_by(ec, &low, 0).port >= KITH_SIM_NAT_PORT_FIRST);
    kith_sim_nat_restart(nat_a); /* who comes first has it */
    assert_int_equal(seen_by(ec, &at_c, 0).port, 5000);
    assert_int_not_equal(seen_by(ea, &at_a, 0).port, 5000);
    end(sim);
}

static void ports_in_a_row_or_not(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static sink many[MANY];
    kith_sim_nat_config config = KITH_SIM_NAT_FULL_CONE;
    config.udp_lifetime_ns = 1000 * KITH_SIM_S; /* none becomes free */
    for (config.ports = KITH_SIM_NAT_PRESERVE; config.ports <= KITH_SIM_NAT_RANDOM; config.ports++) {
        uint16_t ports[MANY];
        unsigned in_a_row = 0, same = 0;
        build_and_open(&config, &config);
        for (size_t i = 0; i < MANY; i++) {
            sink_open(&many[i], i % 2 ? ea : ec, "0.0.0.0:0");
            ports[i] = seen_by(i % 2 ? ea : ec, &many[i], 0).port;
            assert_true(ports[i] >= KITH_SIM_NAT_PORT_FIRST);
            for (size_t j = 0; j < i; j++) assert_int_not_equal(ports[i], ports[j]);
            in_a_row += i && ports[i] == (ports[i - 1] + 1);
            same += ports[i] == (i % 2 ? ea : ec)->udp->local(many[i].udp).port;
        }
        if (config.ports == KITH_SIM_NAT_PRESERVE) assert_true(same > MANY - 10);
        if (config.ports != KITH_SIM_NAT_PRESERVE) assert_true(same < 10);
        assert_int_equal(in_a_row > MANY - 3, config.ports == KITH_SIM_NAT_SEQUENTIAL);
        if (config.ports != KITH_SIM_NAT_SEQUENTIAL) assert_true(in_a_row < 5);
        end(sim);
    }
}

static void several_addresses(void **state)
{
    (void)state;
    for (unsigned arbitrary = 0; arbitrary < 2; arbitrary++) {
        kith_sim_nat_config config = KITH_SIM_NAT_SYMMETRIC;
        unsigned mine = 0, others = 0, differ = 0;
        static sink fresh;
        config.arbitrary_pooling = arbitrary;
        build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
        assert_ok(kith_sim_attach(kith_sim_nat_host(nat_a), internet, "198.51.100.17"));
        assert_ok(kith_sim_attach(kith_sim_nat_host(nat_a), internet, "198.51.100.27"));
        assert_ok(kith_sim_attach(kith_sim_nat_host(nat_a), internet, "2001:db8::7")); /* not for IPv4 */
        kith_addr first = seen_by(ea, &at_a, 0);
        for (unsigned i = 0; i < 20; i++) {
            sink_open(&fresh, ea, "0.0.0.0:0");
            kith_addr seen = seen_by(ea, &fresh, i % 4);
            mine += kith_addr_same_ip(&seen, &first);
            others += !kith_addr_same_ip(&seen, &first);
            assert_true(gets_at(es, &server[i % 4], &seen, &fresh));
            ea->udp->close(fresh.udp);
        }
        if (!arbitrary) assert_int_equal(mine, 20);
        if (arbitrary) assert_true(mine > 1 && others > 5);
        /* Hosts are spread over them either way. */
        for (unsigned i = 0; i < 20; i++) {
            kith_sim_nat_restart(nat_a);
            kith_addr x1 = seen_by(ea, &at_a, 0), x2 = seen_by(ec, &at_c, 0);
            differ += !kith_addr_same_ip(&x1, &x2);
        }
        assert_true(differ > 3);
        end(sim);
    }
}

/* ---- time ---- */

static void after(uint64_t seconds) { kith_sim_run_for(sim, seconds * KITH_SIM_S); }

static void mappings_expire(void **state)
{
    (void)state;
    kith_sim_nat_config config = KITH_SIM_NAT_FULL_CONE;
    config.ports = KITH_SIM_NAT_RANDOM;
    config.udp_lifetime_ns = 30 * KITH_SIM_S;
    build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ea, &at_a, 0), again;
    after(28); /* a second has passed */
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    assert_true(gets_at(es, &server[0], &outside, &at_a));
    second();
    assert_int_equal(kith_sim_nat_mappings(nat_a), 0); /* what came in did not keep it */
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    again = seen_by(ea, &at_a, 0);
    assert_false(kith_addr_equal(&again, &outside));
    for (unsigned i = 0; i < 10; i++) { /* what goes out does */
        after(25);
        outside = seen_by(ea, &at_a, i % 4);
        assert_true(kith_addr_equal(&again, &outside));
    }
    end(sim);
}

static void inbound_refresh(void **state)
{
    (void)state;
    for (unsigned on = 0; on < 2; on++) {
        kith_sim_nat_config config = KITH_SIM_NAT_PORT_RESTRICTED;
        config.inbound_refresh = on;
        build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
        kith_addr outside = seen_by(ea, &at_a, 0);
        for (unsigned i = 0; i < 5; i++) {
            after(100);
            assert_int_equal(gets_at(es, &server[0], &outside, &at_a), on || i == 0); /* 120 s is the default */
            assert_false(gets_at(es, &server[1], &outside, &at_a));                   /* a stranger keeps nothing */
        }
        end(sim);
    }
}

/* The mapping lives on what is sent to one remote; the other may not answer any more. */
static void filters_expire_each_on_its_own(void **state)
{
    (void)state;
    build_and_open(&KITH_SIM_NAT_PORT_RESTRICTED, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ea, &at_a, 0);
    (void)seen_by(ea, &at_a, 2);
    after(60);
    (void)seen_by(ea, &at_a, 0);
    after(60);
    assert_true(gets_at(es, &server[0], &outside, &at_a));
    assert_false(gets_at(es, &server[2], &outside, &at_a));
    end(sim);
}

static void the_table_is_bounded(void **state)
{
    (void)state;
    kith_sim_nat_config config = KITH_SIM_NAT_SYMMETRIC;
    config.max_mappings = 3;
    build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
    for (size_t i = 0; i < 3; i++) (void)seen_by(ea, &at_a, i);
    assert_false(gets(ea, &at_a, SERVER[3], &server[3]));
    assert_int_equal(kith_sim_nat_mappings(nat_a), 3);
    (void)seen_by(ea, &at_a, 1); /* those that are there work */
    after(117);
    (void)seen_by(ea, &at_a, 3); /* two have expired */
    assert_int_equal(kith_sim_nat_mappings(nat_a), 2);
    end(sim);
}

/* A mapping remembers so many remotes; the next one takes the oldest's place. */
static void filters_are_bounded(void **state)
{
    (void)state;
    char to[32];
    build_and_open(&KITH_SIM_NAT_PORT_RESTRICTED, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ea, &at_a, 0);
    (void)seen_by(ea, &at_a, 1);
    for (unsigned i = 0; i < KITH_SIM_NAT_FILTERS_MAX - 1; i++) {
        snprintf(to, sizeof to, "198.51.100.2:%u", 10000 + i);
        assert_ok(send_numbered(ea, at_a.udp, to, 1, 1, 10));
    }
    second();
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    assert_true(gets_at(es, &server[1], &outside, &at_a));
    assert_int_equal(kith_sim_nat_mappings(nat_a), 1);
    end(sim);
}

static void a_restart_forgets(void **state)
{
    (void)state;
    build_and_open(&KITH_SIM_NAT_FULL_CONE, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ea, &at_a, 0);
    assert_true(gets_at(es, &server[0], &outside, &at_a));
    kith_sim_nat_restart(nat_a);
    assert_int_equal(kith_sim_nat_mappings(nat_a), 0);
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    (void)seen_by(ea, &at_a, 0);
    assert_true(gets_at(es, &server[0], &outside, &at_a)); /* preserved */
    /* Another address: what was mapped to the old one is gone. */
    assert_ok(kith_sim_change_addr(kith_sim_nat_host(nat_a), "198.51.100.7", "198.51.100.77"));
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    outside = seen_by(ea, &at_a, 0);
    assert_ip(&outside, "198.51.100.77");
    assert_true(gets_at(es, &server[0], &outside, &at_a));
    end(sim);
}

/* ---- hairpinning ---- */

static void hairpin(void **state)
{
    (void)state;
    for (unsigned on = 0; on < 2; on++) {
        kith_sim_nat_config config = KITH_SIM_NAT_FULL_CONE;
        config.hairpin = on;
        build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
        kith_addr outside_a = seen_by(ea, &at_a, 0), outside_c = seen_by(ec, &at_c, 0);
        assert_int_equal(gets_at(ea, &at_a, &outside_c, &at_c), on);
        if (on) assert_true(kith_addr_equal(&at_c.last.remote, &outside_a)); /* REQ-9 a */
        assert_int_equal(gets_at(ec, &at_c, &outside_a, &at_a), on);
        assert_int_equal(gets_at(ea, &at_a, &outside_a, &at_a), on); /* to itself */
        assert_false(gets(ea, &at_a, "198.51.100.7:1025", &at_c));   /* nobody's */
        end(sim);
    }
    /* Filters count here, too: one has to write first. */
    kith_sim_nat_config config = KITH_SIM_NAT_PORT_RESTRICTED;
    config.hairpin = true;
    build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside_a = seen_by(ea, &at_a, 0), outside_c = seen_by(ec, &at_c, 0);
    assert_false(gets_at(ea, &at_a, &outside_c, &at_c));
    assert_true(gets_at(ec, &at_c, &outside_a, &at_a));
    assert_true(gets_at(ea, &at_a, &outside_c, &at_c));
    end(sim);
}

/* ---- what does not pass ---- */

static void udp_blocked(void **state)
{
    (void)state;
    kith_sim_nat_config config = KITH_SIM_NAT_FULL_CONE;
    build_and_open(&config, &KITH_SIM_NAT_FULL_CONE);
    kith_addr outside = seen_by(ea, &at_a, 0);
    assert_true(gets_at(eb, &at_b, &outside, &at_a));
    config.udp_blocked = true;
    kith_sim_nat_configure(nat_a, &config);
    for (size_t i = 0; i < 4; i++) assert_false(gets(ea, &at_a, SERVER[i], &server[i]));
    assert_false(gets_at(es, &server[0], &outside, &at_a));
    assert_true(gets(ea, &at_a, "192.168.1.11:5000", &at_c)); /* at home all is well */
    config.udp_blocked = false;
    kith_sim_nat_configure(nat_a, &config);
    assert_true(gets_at(es, &server[0], &outside, &at_a)); /* what was mapped still is */
    end(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_behaviour),
        cmocka_unit_test(the_classic_kinds),
        cmocka_unit_test(filters_belong_to_a_mapping),
        cmocka_unit_test(holes_are_punched_where_they_can_be),
        cmocka_unit_test(a_hole_opens_when_it_is_reached),
        cmocka_unit_test(ports_are_preserved_when_free),
        cmocka_unit_test(ports_in_a_row_or_not),
        cmocka_unit_test(several_addresses),
        cmocka_unit_test(mappings_expire),
        cmocka_unit_test(inbound_refresh),
        cmocka_unit_test(filters_expire_each_on_its_own),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(filters_are_bounded),
        cmocka_unit_test(a_restart_forgets),
        cmocka_unit_test(hairpin),
        cmocka_unit_test(udp_blocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
