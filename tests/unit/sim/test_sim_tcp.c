/* Byte streams that go well: addresses, ports, order, pace, back-pressure, closing. */
#include "sim_tcp_test.h"

#include <stdlib.h>

static int set_up(void **state)
{
    (void)state;
    return two_hosts(21, true);
}

#define T(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* ---- there and back ---- */

static void there_and_back(void **state)
{
    (void)state;
    link_with((kith_sim_link){.delay_ns = 50 * KITH_SIM_MS});
    uint64_t start = kith_sim_now_ns(sim), sent_at;
    x.goal = 5;
    y.goal = 7;
    end_connect(&x, B);
    assert_int_equal(end_send(&x), 0); /* not before `connected` */
    kith_sim_run_for(sim, 100 * KITH_SIM_MS - 1);
    assert_int_equal(x.connected, 0);
    run();
    assert_in_range(x.connected_at - start, 100 * KITH_SIM_MS, 101 * KITH_SIM_MS);
    assert_int_equal(x.writable, 1); /* for the send that was too early */
    assert_int_equal(x.got, 7);
    assert_int_equal(y.got, 5);
    kith_addr local = ea->tcp->local(x.tcp), remote = ea->tcp->remote(x.tcp), wanted = addr_of(B);
    assert_true(kith_addr_equal(&remote, &wanted));
    remote = eb->tcp->remote(y.tcp);
    assert_true(kith_addr_equal(&local, &remote));
    remote = eb->tcp->local(y.tcp);
    assert_true(kith_addr_equal(&remote, &wanted));
    assert_true(local.port >= 32768);
    x.goal = 6;
    assert_int_equal(end_send(&x), 1);
    assert_int_equal(y.got, 5); /* not from inside the call */
    sent_at = kith_sim_now_ns(sim);
    run();
    assert_in_range(y.got_at - sent_at, 50 * KITH_SIM_MS, 51 * KITH_SIM_MS);
    assert_int_equal(x.ended + y.ended + x.short_sends, 1);
    size_t nothing = 1;
    assert_ok(ea->tcp->send(x.tcp, NULL, 0, &nothing));
    assert_int_equal(nothing, 0);
    run();
    assert_int_equal(x.writable, 1);
}

static void families_and_scopes(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        kith_err err;
        const char *local; /* of who connected, without its port */
    } table[] = {
        {"192.168.1.2:2000", KITH_OK, "192.168.1.1"},   {"[fe80::2%2]:2000", KITH_OK, "fe80::1%2"},
        {"[fe80::2]:2000", KITH_ERR_UNREACHABLE, NULL}, {"[fe80::2%7]:2000", KITH_ERR_UNREACHABLE, NULL},
        {"8.8.8.8:2000", KITH_ERR_UNREACHABLE, NULL},   {"[2001:db8::1]:2000", KITH_ERR_UNREACHABLE, NULL},
        {"192.168.1.2:0", KITH_ERR_ARG, NULL},          {"0.0.0.0:2000", KITH_ERR_ARG, NULL},
        {"127.0.0.1:2100", KITH_OK, "127.0.0.1"},       {"[::1]:2100", KITH_OK, "::1"},
        {"[fe80::1%2]:2100", KITH_OK, "fe80::1%2"},     {"192.168.1.1:2100", KITH_OK, "192.168.1.1"},
    };
    static tcp_end own;
    end_init(&own, ea, 2, 1);
    end_listen(&own, "0.0.0.0:2100");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        tcp_end *other = strstr(table[i].to, ":2100") ? &own : &y;
        end_init(&x, ea, 1, 2);
        x.goal = other->goal = 1000;
        kith_err err = end_try_connect(&x, table[i].to);
        if (err != table[i].err) fail_msg("%s: %d", table[i].to, err);
        if (err) continue;
        run();
        assert_int_equal(x.got, 1000);
        assert_int_equal(other->got, 1000);
        kith_addr local = ea->tcp->local(x.tcp), wanted = addr_of(table[i].local), remote;
        remote = other->env->tcp->remote(other->tcp);
        assert_int_equal(local.port, remote.port);
        assert_int_equal(local.scope, wanted.scope);
        assert_true(kith_addr_same_ip(&local, &wanted) && kith_addr_same_ip(&remote, &wanted));
        assert_int_equal(remote.scope, wanted.scope);
        end_close(&x);
        end_close(other);
        run();
    }
}

static void ports(void **state)
{
    (void)state;
    static tcp_end e, f;
    sink s;
    sink_open(&s, eb, "[::]:2000"); /* a space of its own */
    end_init(&e, eb, 2, 1);
    assert_int_equal(end_try_listen(&e, "[::]:2000"), KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(end_try_listen(&e, B), KITH_ERR_ADDRESS_IN_USE);
    end_init(&f, process_on(b), 2, 1);
    assert_int_equal(end_try_listen(&f, "127.0.0.1:2000"), KITH_ERR_ADDRESS_IN_USE);
    assert_int_equal(end_try_listen(&f, "192.168.1.1:3000"), KITH_ERR_NETWORK); /* another's address */
    end_listen(&e, "192.168.1.2:3000");
    end_listen(&f, "127.0.0.1:3000");
    eb->tcp->unlisten(e.listener);
    eb->tcp->unlisten(NULL);
    end_listen(&e, "192.168.1.2:3000");
    meet();
    eb->tcp->unlisten(y.listener);
    end_listen(&y, "[::]:2000"); /* connections do not bar it */
    /* One that is bound to an address is not at another. */
    tcp_end *z = &f;
    end_init(z, ea, 1, 2);
    end_connect(z, "[fe80::2%2]:3000");
    run();
    assert_int_equal(z->why, KITH_ERR_UNREACHABLE);
    assert_int_not_equal(ea->tcp->local(z->tcp).port, ea->tcp->local(x.tcp).port);
    assert_int_equal(e.accepted, 0);
}

/* Also when chance would pick one twice: 400 of 28,232 meet with a probability of 0.94. */
static void ephemeral_ports_differ(void **state)
{
    (void)state;
    enum { MANY = 400 };
    static kith_tcp *all[MANY];
    static bool seen[65536];
    kith_addr to = addr_of(B);
    for (size_t i = 0; i < MANY; i++) {
        assert_ok(ea->tcp->connect(ea, &to, &end_events, &x, &all[i]));
        kith_addr local = ea->tcp->local(all[i]);
        assert_true(local.port >= 32768 && !seen[local.port]);
        seen[local.port] = true;
    }
    for (size_t i = 0; i < MANY; i++) ea->tcp->close(all[i]);
    run();
    assert_int_equal(y.accepted, 0);
}

static void other_networks(void **state)
{
    (void)state;
    kith_sim_lan *far = lan_in(sim, "far");
    kith_sim_host *c = host_in(sim, "c");
    static tcp_end z;
    assert_ok(kith_sim_attach(c, far, "10.1.0.3"));
    end_init(&z, process_on(c), 2, 1);
    end_listen(&z, "0.0.0.0:3000");
    assert_int_equal(end_try_connect(&x, "10.1.0.3:3000"), KITH_ERR_UNREACHABLE);
    assert_ok(kith_sim_route(lan, far, &(kith_sim_link){.delay_ns = 30 * KITH_SIM_MS, .mtu = 1000}));
    uint64_t start = kith_sim_now_ns(sim);
    x.goal = z.goal = 300000;
    end_connect(&x, "10.1.0.3:3000");
    run();
    assert_in_range(x.connected_at - start, 60 * KITH_SIM_MS, 62 * KITH_SIM_MS);
    assert_int_equal(x.got, 300000);
    assert_int_equal(z.got, 300000);
    assert_ok(kith_sim_route(lan, far, NULL));
    x.goal++;
    end_send(&x);
    kith_sim_run_for(sim, 31 * KITH_SIM_S);
    assert_int_equal(x.why, KITH_ERR_LOST);
    assert_int_equal(z.ended, 0);
}

/* ---- order, completeness, pace ---- */

static uint64_t bulk(uint64_t seed, const kith_sim_link *link, double again, uint64_t bytes, uint64_t *took)
{
    end(sim);
    sim = world(seed);
    lan = lan_in(sim, "home");
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2"));
    kith_sim_set_send_again(a, again);
    kith_sim_set_send_again(b, again);
    end_init(&x, ea = process_on(a), 1, 2);
    end_init(&y, eb = process_on(b), 2, 1);
    end_listen(&y, "[::]:2000");
    link_with(*link);
    x.goal = y.goal = bytes;
    uint64_t start = kith_sim_now_ns(sim);
    end_connect(&x, B);
    kith_sim_run_for(sim, 600 * KITH_SIM_S);
    assert_int_equal(x.got, bytes);
    assert_int_equal(y.got, bytes);
    assert_int_equal(x.ended + y.ended, 0);
    *took = (x.got_at > y.got_at ? x.got_at : y.got_at) - start;
    return kith_sim_trace(sim);
}

static void megabytes_over_bad_links(void **state)
{
    (void)state;
    static const kith_sim_link links[] = {
        {.delay_ns = 200000},
        {.delay_ns = 5 * KITH_SIM_MS, .jitter_ns = 4 * KITH_SIM_MS, .loss = 0.01},
        {.delay_ns = 20 * KITH_SIM_MS, .jitter_ns = 20 * KITH_SIM_MS, .rate = 500000, .queue = 60000, .loss = 0.03},
        {.delay_ns = KITH_SIM_MS, .loss = 0.3, .duplicate = 0.3, .corrupt = 0.3, .reorder = 0.5, .mtu = 1300},
        {.delay_ns = 150 * KITH_SIM_MS, .rate = 20000000},
        {.rate = 100000, .queue = 1000},
    };
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        uint64_t took = 0, size = 3000000;
        bulk(i + 1, &links[i], i % 2 ? 0.2 : 0, size, &took);
        if (links[i].rate) assert_true(took >= size * KITH_SIM_S / links[i].rate);
        /* With what headers and a window per round trip cost, not much more, unless there is loss. */
        uint64_t least = links[i].rate ? size * KITH_SIM_S / links[i].rate : 0;
        least += (size / KITH_SIM_TCP_WINDOW + 2) * 2 * links[i].delay_ns;
        if (!(links[i].loss > 0)) assert_true(took <= least * 11 / 10 + 100 * KITH_SIM_MS);
        /* In pieces of any size, and not as they were sent. */
        assert_true(x.single > 5 && y.single > 5 && x.pieces > 60 && y.pieces > 60);
        if (i % 2) assert_true(x.short_sends > 10 && x.writable > 10);
    }
}

/* A retransmission's time later, with all that follows: nothing arrives out of order, so that nothing is sent twice. */
static void loss_only_delays(void **state)
{
    (void)state;
    unsigned late = 0;
    link_with((kith_sim_link){.delay_ns = 10 * KITH_SIM_MS});
    meet();
    link_with((kith_sim_link){.delay_ns = 10 * KITH_SIM_MS, .loss = 0.2});
    for (unsigned i = 0; i < 200; i++) {
        uint64_t start = kith_sim_now_ns(sim);
        x.goal++;
        end_send(&x);
        kith_sim_run_for(sim, 3 * KITH_SIM_S);
        assert_int_equal(y.got, x.goal);
        uint64_t took = y.got_at - start;
        assert_true(took < 11 * KITH_SIM_MS || took >= 210 * KITH_SIM_MS);
        late += took >= 210 * KITH_SIM_MS;
    }
    assert_in_range(late, 20, 60);
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    kith_sim_trace_to(sim, file);
    x.goal += 5000000;
    end_send(&x);
    kith_sim_run_for(sim, 100 * KITH_SIM_S);
    kith_sim_trace_to(sim, NULL);
    fclose(file);
    assert_int_equal(y.got, x.goal);
    assert_non_null(strstr(text, " segment "));
    assert_null(strstr(text, " retry "));
    free(text);
}

static void pieces_are_joined(void **state)
{
    (void)state;
    meet();
    y.most = 1000;
    unsigned joined = 0;
    for (unsigned i = 0; i < 200; i++) {
        unsigned before = y.pieces;
        for (unsigned j = 0; j < 5; j++, x.goal += 100) end_send(&x);
        end_send(&x);
        kith_sim_run_for(sim, 10 * KITH_SIM_MS);
        joined += y.pieces - before < 5;
    }
    assert_int_equal(y.got, x.goal);
    assert_true(joined > 50);
}

static void same_seed_same_trace(void **state)
{
    (void)state;
    kith_sim_link link = {
        .delay_ns = 3 * KITH_SIM_MS, .jitter_ns = 3 * KITH_SIM_MS, .rate = 1000000, .queue = 50000, .loss = 0.05};
    uint64_t took[3], first = bulk(5, &link, 0.1, 1000000, &took[0]);
    assert_true(bulk(5, &link, 0.1, 1000000, &took[1]) == first);
    assert_true(bulk(6, &link, 0.1, 1000000, &took[2]) != first);
    assert_true(took[0] == took[1] && took[0] != took[2]);
}

static void connections_share_a_link(void **state)
{
    (void)state;
    enum { MANY = 4, SIZE = 1000000 };
    static tcp_end from[MANY], to[MANY];
    uint64_t first = UINT64_MAX, last = 0, start = kith_sim_now_ns(sim);
    link_with((kith_sim_link){.delay_ns = 10 * KITH_SIM_MS, .rate = 1000000});
    for (unsigned i = 0; i < MANY; i++) {
        char at[32];
        snprintf(at, sizeof at, "192.168.1.2:%u", 3000 + i);
        end_init(&from[i], ea, (uint8_t)i, 0);
        end_init(&to[i], eb, 0, (uint8_t)i);
        end_listen(&to[i], at);
        from[i].goal = SIZE;
        end_connect(&from[i], at);
    }
    kith_sim_run_for(sim, 20 * KITH_SIM_S);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(to[i].got, SIZE);
        if (to[i].got_at < first) first = to[i].got_at;
        if (to[i].got_at > last) last = to[i].got_at;
    }
    assert_in_range(last - start, 4 * KITH_SIM_S, 45 * KITH_SIM_S / 10);
    assert_true(first - start > 3 * KITH_SIM_S);
}

/* ---- back-pressure ---- */

static void a_slow_link_fills(void **state)
{
    (void)state;
    link_with((kith_sim_link){.delay_ns = KITH_SIM_MS, .rate = 10000});
    meet();
    x.goal = 1000000;
    uint64_t taken = end_send(&x);
    assert_int_equal(taken, KITH_TCP_UNSENT_MAX);
    kith_sim_run_for(sim, 4 * KITH_SIM_S); /* 40 kB left, and what is taken are large pieces */
    assert_int_equal(x.writable, 0);
    kith_sim_run_for(sim, 4 * KITH_SIM_S);
    assert_int_equal(x.writable, 1);
    assert_in_range(x.sent, KITH_TCP_UNSENT_MAX * 3 / 2, KITH_TCP_UNSENT_MAX * 3 / 2 + 2000);
    kith_sim_run_for(sim, 200 * KITH_SIM_S);
    assert_int_equal(y.got, 1000000);
}

static void nobody_reads(void **state)
{
    (void)state;
    meet();
    y.deaf = true;
    x.goal = 2000000;
    y.goal = 100000; /* the other direction is not held up */
    end_send(&x);
    end_send(&y);
    run();
    assert_int_equal(x.sent, KITH_SIM_TCP_WINDOW + KITH_TCP_UNSENT_MAX);
    assert_int_equal(x.got, 100000);
    kith_sim_run_for(sim, 3600 * KITH_SIM_S); /* the peer answers: no silence */
    assert_int_equal(x.ended + y.ended, 0);
    y.deaf = false;
    CALL(eb->tcp->resume(y.tcp));
    assert_int_equal(y.got, 0); /* not from inside the call */
    run();
    assert_int_equal(y.got, 2000000);
    assert_true(x.writable > 3);
    eb->tcp->resume(y.tcp); /* nothing to do */
    run();
}

static void the_word_that_there_is_room_gets_lost(void **state)
{
    (void)state;
    meet();
    y.deaf = true;
    x.goal = 2000000;
    end_send(&x);
    run();
    assert_ok(kith_sim_partition(a, b, true));
    y.deaf = false;
    eb->tcp->resume(y.tcp);
    run();
    assert_int_equal(y.got, KITH_SIM_TCP_WINDOW);
    assert_ok(kith_sim_partition(a, b, false));
    kith_sim_run_for(sim, 20 * KITH_SIM_S);
    assert_int_equal(y.got, 2000000);
    /* Nobody reads, and then the peer is gone for ever. */
    y.deaf = true;
    x.goal += 1000000;
    end_send(&x);
    run();
    assert_ok(kith_sim_partition(a, b, true));
    kith_sim_run_for(sim, 60 * KITH_SIM_S);
    assert_int_equal(x.why, KITH_ERR_LOST);
    assert_int_equal(y.ended, 0);
}

/* ---- closing ---- */

static void close_with_bytes_under_way(void **state)
{
    (void)state;
    link_with((kith_sim_link){.delay_ns = 40 * KITH_SIM_MS, .rate = 100000, .loss = 0.02});
    meet();
    x.goal = 500000;
    y.goal = 100000;
    end_send(&x);
    end_send(&y);
    kith_sim_run_for(sim, 60 * KITH_SIM_MS);
    uint64_t got = x.got;
    end_close(&x);
    assert_true(y.got < x.sent);
    kith_sim_run_for(sim, 60 * KITH_SIM_S);
    assert_int_equal(y.got, x.sent);
    assert_int_equal(y.why, KITH_ERR_CLOSED);
    assert_int_equal(x.got, got);
    assert_int_equal(x.ended, 0);
    struct iovec piece = {"x", 1};
    size_t sent;
    assert_int_equal(eb->tcp->send(y.tcp, &piece, 1, &sent), KITH_ERR_CLOSED);
    end_close(&y);
    run();
    ea->tcp->close(NULL);
}

/* Who does not read yet still gets all of it, and then the end. */
static void closed_before_it_was_read(void **state)
{
    (void)state;
    meet();
    y.deaf = true;
    x.goal = 300000;
    end_send(&x);
    end_close(&x);
    run();
    assert_int_equal(y.ended, 0);
    y.deaf = false;
    eb->tcp->resume(y.tcp);
    run();
    assert_int_equal(y.got, x.sent);
    assert_int_equal(y.why, KITH_ERR_CLOSED);
}

static void both_close(void **state)
{
    (void)state;
    meet();
    x.goal = y.goal = 300000;
    end_send(&x);
    end_send(&y);
    end_close(&x);
    end_close(&y);
    run();
    assert_int_equal(x.ended + y.ended, 0);
    assert_false(kith_sim_step(sim)); /* nothing is left */
    /* Before it is connected; in a callback; without ever attaching. */
    end_connect(&x, B);
    end_close(&x);
    run();
    assert_int_equal(y.accepted, 1);
    end_init(&x, ea, 1, 2);
    x.close_at_end = true;
    end_connect(&x, B);
    run();
    static tcp_end third;
    end_init(&third, ea, 1, 2);
    third.close_at_end = true;
    end_connect(&third, B); /* y accepts one at a time */
    run();
    assert_int_equal(y.accepted, 3);
    assert_int_equal(third.why, KITH_ERR_CLOSED);
    end_close(&y);
    run();
    assert_int_equal(x.why, KITH_ERR_CLOSED);
    assert_null(x.tcp);
}

static unsigned closed_in; /* which callback */
static kith_tcp *shy;
static void shy_close(unsigned in)
{
    if (closed_in != in || !shy) return;
    eb->tcp->close(shy);
    shy = NULL;
}
static void shy_connected(void *user) { (void)user; }
static uint8_t *shy_room(void *user, size_t *size)
{
    assert_non_null(shy);
    shy_close(1);
    *size = 10;
    return user;
}
static void shy_received(void *user, size_t size)
{
    (void)user, (void)size;
    assert_non_null(shy);
    shy_close(2);
    if (closed_in == 5) kith_sim_kill(eb);
}
static void shy_writable(void *user)
{
    (void)user;
    shy_close(3);
}
static void shy_ended(void *user, kith_err why)
{
    (void)user, (void)why;
    shy_close(4);
}
static void shy_accepted(void *user, kith_tcp *tcp)
{
    static const kith_tcp_events events = {shy_connected, shy_room, shy_received, shy_writable, shy_ended};
    static uint8_t plenty[200000];
    struct iovec piece = {plenty, sizeof plenty};
    size_t sent;
    shy = tcp;
    shy_close(0);
    if (!shy) return;
    eb->tcp->attach(tcp, &events, user);
    assert_ok(eb->tcp->send(tcp, &piece, 1, &sent));
}

static void close_in_any_callback(void **state)
{
    (void)state;
    static uint8_t room[10];
    kith_addr at = addr_of("[::]:4000");
    kith_listener *listener;
    assert_ok(eb->tcp->listen(eb, &at, shy_accepted, room, &listener));
    for (closed_in = 0; closed_in < 6; closed_in++) {
        end_init(&x, ea, 1, 0);
        x.deaf = true;
        x.goal = 100;
        end_connect(&x, "192.168.1.2:4000");
        kith_sim_run_for(sim, KITH_SIM_S);
        if (closed_in < 4) assert_null(shy);
        end_close(&x);
        run();
        if (closed_in < 5) assert_null(shy);
    }
    eb->tcp->close(shy); /* of the process that was killed */
    assert_false(kith_sim_step(sim));
}

static void a_listener_closed_while_connections_live(void **state)
{
    (void)state;
    static tcp_end z;
    link_with((kith_sim_link){.delay_ns = 50 * KITH_SIM_MS});
    meet();
    end_init(&z, ea, 1, 2);
    end_connect(&z, B);
    kith_sim_run_for(sim, 75 * KITH_SIM_MS); /* asked for, not accepted yet */
    CALL(eb->tcp->unlisten(y.listener));
    run();
    assert_int_equal(z.ended, 1);
    assert_int_equal(y.accepted, 1);
    x.goal = y.goal = 100000;
    end_send(&x);
    end_send(&y);
    run();
    assert_int_equal(x.got, 100000);
    assert_int_equal(y.got, 100000);
    end_close(&z);
    end_init(&z, ea, 1, 2);
    end_connect(&z, B);
    run();
    assert_int_equal(z.why, KITH_ERR_UNREACHABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(there_and_back),
        T(families_and_scopes),
        T(ports),
        T(ephemeral_ports_differ),
        T(other_networks),
        T(megabytes_over_bad_links),
        T(loss_only_delays),
        T(pieces_are_joined),
        T(same_seed_same_trace),
        T(connections_share_a_link),
        T(a_slow_link_fills),
        T(nobody_reads),
        T(the_word_that_there_is_room_gets_lost),
        T(close_with_bytes_under_way),
        T(closed_before_it_was_read),
        T(both_close),
        T(close_in_any_callback),
        T(a_listener_closed_while_connections_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
