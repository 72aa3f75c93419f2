/* A home, a, behind a NAT, another one, b, behind another, and a server outside with two addresses and two ports each,
 * with which RFC 5780 tells NATs apart.
 *
 *      a 192.168.1.10, c 192.168.1.11          b 192.168.1.10
 *                   |                               |
 *            198.51.100.7                     198.51.100.8
 *                   +------- the internet ---------+
 *                   |
 *   s 198.51.100.1, 198.51.100.2 */
#ifndef KITH_SIM_NAT_TEST_H
#define KITH_SIM_NAT_TEST_H

#include "sim_tcp_test.h"

static kith_sim_lan *internet, *home_a, *home_b;
static kith_sim_host *c, *s;
static kith_env *ec, *es;
static kith_sim_nat *nat_a, *nat_b;
static sink at_a, at_b, at_c, server[4]; /* the server's: both ports of the first address, then of the second */

static const char *const SERVER[4] = {"198.51.100.1:3478", "198.51.100.1:3479", "198.51.100.2:3478",
                                      "198.51.100.2:3479"};

static inline kith_sim_nat *nat_on(kith_sim_lan *in, kith_sim_lan *out, const char *addr,
                                   const kith_sim_nat_config *config)
{
    kith_sim_nat *nat;
    assert_ok(kith_sim_nat_new(sim, in, out, addr, config, &nat));
    return nat;
}

/* Not yet: processes' sockets. */
static inline void build(uint64_t seed, const kith_sim_nat_config *of_a, const kith_sim_nat_config *of_b)
{
    sim = world(seed);
    internet = lan_in(sim, "internet");
    home_a = lan_in(sim, "home-a");
    home_b = lan_in(sim, "home-b");
    nat_a = nat_on(home_a, internet, "198.51.100.7", of_a);
    nat_b = nat_on(home_b, internet, "198.51.100.8", of_b);
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    c = host_in(sim, "c");
    s = host_in(sim, "s");
    assert_ok(kith_sim_attach(a, home_a, "192.168.1.10"));
    assert_ok(kith_sim_attach(c, home_a, "192.168.1.11"));
    assert_ok(kith_sim_attach(b, home_b, "192.168.1.10"));
    assert_ok(kith_sim_attach(s, internet, "198.51.100.1"));
    assert_ok(kith_sim_attach(s, internet, "198.51.100.2"));
    ea = process_on(a);
    eb = process_on(b);
    ec = process_on(c);
    es = process_on(s);
}

static inline void open_all(void)
{
    sink_open(&at_a, ea, "0.0.0.0:5000");
    sink_open(&at_b, eb, "0.0.0.0:5000");
    sink_open(&at_c, ec, "0.0.0.0:5000");
    for (size_t i = 0; i < 4; i++) sink_open(&server[i], es, SERVER[i]);
}

static inline void build_and_open(const kith_sim_nat_config *of_a, const kith_sim_nat_config *of_b)
{
    build(17, of_a, of_b);
    open_all();
}

static inline void second(void) { kith_sim_run_for(sim, KITH_SIM_S); }

/* One datagram, to an address as text or as it was seen; whether `to` got it. */
static inline bool gets(kith_env *env, const sink *from, const char *address, const sink *to)
{
    size_t before = to->count;
    assert_ok(send_numbered(env, from->udp, address, 1, 1, 100));
    second();
    return to->count > before;
}

static inline bool gets_at(kith_env *env, const sink *from, const kith_addr *address, const sink *to)
{
    char text[KITH_ADDR_TEXT_SIZE];
    return gets(env, from, kith_addr_text(address, text), to);
}

/* As what the server sees this socket when it writes to the server's i-th one. */
static inline kith_addr seen_by(kith_env *env, const sink *from, size_t i)
{
    assert_true(gets(env, from, SERVER[i], &server[i]));
    return server[i].last.remote;
}

static inline void assert_ip(const kith_addr *addr, const char *ip)
{
    kith_addr wanted = addr_of(ip);
    char text[KITH_ADDR_TEXT_SIZE];
    if (!kith_addr_same_ip(addr, &wanted)) fail_msg("%s, not %s", kith_addr_text(addr, text), ip);
}

#endif
