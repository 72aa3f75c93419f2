/* Byte streams that go wrong: nobody there, partitions, ends that are killed or lose power, addresses that move, memory
 * that runs out, and all of that at once. */
#include "sim_tcp_test.h"

#include <stdlib.h>

static int set_up(void **state)
{
    (void)state;
    return two_hosts(22, false);
}

#define T(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define SILENCE     (KITH_TCP_SILENCE_MS * KITH_SIM_MS)

static void cut(bool on) { assert_ok(kith_sim_partition(a, b, on)); }

static void send_more(tcp_end *e, uint64_t bytes)
{
    e->goal = e->sent + bytes;
    end_send(e);
}

/* ---- nobody there ---- */

static void refused_or_silent(void **state)
{
    (void)state;
    uint64_t start = kith_sim_now_ns(sim);
    link_with((kith_sim_link){.delay_ns = 30 * KITH_SIM_MS});
    end_connect(&x, "192.168.1.2:2001"); /* nobody listens */
    assert_int_equal(x.ended, 0);
    run();
    assert_int_equal(x.why, KITH_ERR_UNREACHABLE);
    assert_in_range(x.ended_at - start, 60 * KITH_SIM_MS, 61 * KITH_SIM_MS);
    struct iovec piece = {"x", 1};
    size_t sent;
    assert_int_equal(ea->tcp->send(x.tcp, &piece, 1, &sent), KITH_ERR_CLOSED);
    for (unsigned i = 0; i < 4; i++) {
        end_init(&x, ea, 1, 2);
        if (i == 1) cut(true);
        if (i == 2) link_with((kith_sim_link){.loss = 1});
        if (i == 3) kith_sim_power_fail(b);
        start = kith_sim_now_ns(sim);
        end_connect(&x, i == 0 ? "192.168.1.99:2000" : B);
        run();
        assert_int_equal(x.why, KITH_ERR_UNREACHABLE);
        assert_in_range(x.ended_at - start, KITH_SIM_TCP_CONNECT_NS, KITH_SIM_TCP_CONNECT_NS + KITH_SIM_MS);
        if (i == 1) cut(false);
        if (i == 2) link_with((kith_sim_link){.delay_ns = KITH_SIM_MS});
        end_close(&x);
    }
    assert_int_equal(y.accepted, 0);
    kith_sim_detach(a, lan);
    assert_int_equal(end_try_connect(&x, B), KITH_ERR_UNREACHABLE); /* no way: at once */
}

static void a_connect_waits_for_a_short_partition(void **state)
{
    (void)state;
    uint64_t start = kith_sim_now_ns(sim);
    cut(true);
    end_connect(&x, B);
    kith_sim_run_for(sim, 2 * KITH_SIM_S);
    cut(false);
    run();
    assert_int_equal(x.connected + y.accepted, 2);
    assert_in_range(x.connected_at - start, 2 * KITH_SIM_S, 4 * KITH_SIM_S);
}

/* The answer is lost, but not the question: the listener's half is not for ever. */
static void half_a_handshake(void **state)
{
    (void)state;
    assert_ok(kith_sim_oneway_link(b, a, &(kith_sim_link){.loss = 1}));
    end_connect(&x, B);
    run();
    assert_int_equal(x.why, KITH_ERR_UNREACHABLE);
    run();
    assert_int_equal(y.accepted, 0);
    assert_false(kith_sim_step(sim));
}

/* ---- partitions ---- */

static void a_partition_heals(void **state)
{
    (void)state;
    meet();
    link_with((kith_sim_link){.delay_ns = 50 * KITH_SIM_MS});
    send_more(&x, 1);
    kith_sim_run_for(sim, 20 * KITH_SIM_MS);
    cut(true); /* also for what is under way */
    kith_sim_run_for(sim, 100 * KITH_SIM_MS);
    assert_int_equal(y.got, 0);
    cut(false);
    run();
    assert_int_equal(y.got, 1);
    link_with((kith_sim_link){.delay_ns = 10 * KITH_SIM_MS, .rate = 500000});
    x.goal = y.goal = 3000000;
    end_send(&x);
    end_send(&y);
    for (unsigned i = 1; i <= 5; i++) {
        kith_sim_run_for(sim, 500 * KITH_SIM_MS);
        cut(true);
        kith_sim_run_for(sim, KITH_SIM_S);
        uint64_t got = x.got + y.got;
        kith_sim_run_for(sim, i * 2 * KITH_SIM_S);
        assert_true(x.got + y.got == got);
        assert_true(got < 6000000);
        cut(false);
    }
    kith_sim_run_for(sim, 60 * KITH_SIM_S);
    assert_int_equal(x.got, 3000000);
    assert_int_equal(y.got, 3000000);
    assert_int_equal(x.ended + y.ended, 0);
}

static void a_partition_for_ever(void **state)
{
    (void)state;
    meet();
    x.goal = 1000;
    end_send(&x);
    run();
    cut(true);
    kith_sim_run_for(sim, 3600 * KITH_SIM_S); /* nobody has anything to say */
    assert_int_equal(x.ended + y.ended, 0);
    uint64_t start = kith_sim_now_ns(sim);
    send_more(&x, 1000000);
    assert_true(x.sent < 1000 + KITH_TCP_UNSENT_MAX + 1); /* it fills */
    kith_sim_run_for(sim, 3600 * KITH_SIM_S);
    assert_true(x.sent <= 1000 + KITH_TCP_UNSENT_MAX + KITH_SIM_TCP_WINDOW);
    assert_int_equal(x.why, KITH_ERR_LOST);
    assert_in_range(x.ended_at - start, SILENCE, SILENCE + KITH_SIM_MS);
    assert_int_equal(y.ended, 0);
    /* When the other has something to say it hears that there is no such connection. */
    cut(false);
    end_close(&x);
    run();
    assert_int_equal(y.ended, 0);
    send_more(&y, 1);
    run();
    assert_int_equal(y.why, KITH_ERR_CLOSED);
    assert_int_equal(y.got, 1000);
}

/* Only one direction is dead: nothing is acknowledged, and nothing arrives twice. */
static void one_direction_dies(void **state)
{
    (void)state;
    meet();
    assert_ok(kith_sim_oneway_link(b, a, &(kith_sim_link){.loss = 1}));
    send_more(&x, 1000);
    kith_sim_run_for(sim, 15 * KITH_SIM_S);
    assert_int_equal(y.got, 1000);
    assert_ok(kith_sim_oneway_link(b, a, NULL));
    kith_sim_run_for(sim, 15 * KITH_SIM_S);
    assert_int_equal(x.ended, 0);
    assert_ok(kith_sim_oneway_link(b, a, &(kith_sim_link){.loss = 1}));
    send_more(&x, 1000);
    kith_sim_run_for(sim, 31 * KITH_SIM_S);
    assert_int_equal(y.got, 2000);
    assert_int_equal(x.why, KITH_ERR_LOST);
}

/* A flood of datagrams fills the queue; the stream gets through when there is room again. */
static void a_full_queue(void **state)
{
    (void)state;
    sink s;
    meet();
    link_with((kith_sim_link){.delay_ns = KITH_SIM_MS, .rate = 100000, .queue = 20000});
    sink_open(&s, ea, "[::]:0");
    x.goal = x.sent + 100000;
    for (unsigned i = 0; i < 100; i++) {
        assert_ok(send_numbered(ea, s.udp, B, i, 20, 1400));
        if (i == 0) end_send(&x);
        kith_sim_run_for(sim, 10 * KITH_SIM_MS);
    }
    assert_true(y.got < 50000);
    kith_sim_run_for(sim, 20 * KITH_SIM_S);
    assert_int_equal(y.got, x.goal);
}

/* ---- ends that end ---- */

static void killed(void **state)
{
    (void)state;
    link_with((kith_sim_link){.delay_ns = 20 * KITH_SIM_MS, .rate = 1000000});
    meet();
    x.goal = y.goal = 100000;
    end_send(&x);
    end_send(&y);
    kith_sim_run_for(sim, KITH_SIM_MS);
    kith_sim_kill(eb); /* kill -9: the system goes on with what it was given */
    run();
    assert_int_equal(x.got, y.sent);
    assert_int_equal(x.why, KITH_ERR_CLOSED);
    assert_int_equal(y.got + y.ended, 0);
    struct iovec piece = {"x", 1};
    size_t sent;
    kith_addr at = addr_of(B);
    assert_int_equal(eb->tcp->send(y.tcp, &piece, 1, &sent), KITH_ERR_CLOSED);
    assert_int_equal(end_try_listen(&y, "[::]:2000"), KITH_ERR_NETWORK);
    assert_int_equal(eb->tcp->connect(eb, &at, &end_events, &y, &y.tcp), KITH_ERR_UNREACHABLE);
    eb->tcp->resume(y.tcp);
    (void)eb->tcp->local(y.tcp);
    end_close(&y);
    eb->tcp->unlisten(y.listener);
    /* Its port is free, and nobody listens there till somebody does. */
    end_init(&x, ea, 1, 2);
    end_connect(&x, B);
    run();
    assert_int_equal(x.why, KITH_ERR_UNREACHABLE);
    end_init(&x, ea, 1, 2);
    end_init(&y, process_on(b), 2, 1);
    end_listen(&y, "[::]:2000");
    meet();
    /* Handles of the dead that nobody closes: the world's end does. */
    kith_sim_kill(ea);
    end_init(&x, process_on(a), 1, 2);
    end_connect(&x, B);
    kith_sim_kill(x.env);
    run();
    assert_int_equal(y.why, KITH_ERR_CLOSED);
}

static void power_fails(void **state)
{
    (void)state;
    link_with((kith_sim_link){.delay_ns = 20 * KITH_SIM_MS, .rate = 1000000});
    for (unsigned back = 0; back < 2; back++) {
        end_init(&x, ea, 1, 2);
        meet();
        x.goal = 1000;
        y.goal = 200000;
        end_send(&x);
        end_send(&y);
        kith_sim_run_for(sim, 50 * KITH_SIM_MS);
        kith_sim_power_fail(b);
        kith_sim_run_for(sim, 100 * KITH_SIM_S);
        assert_true(x.got > 0 && x.got < y.sent); /* what was under way */
        assert_int_equal(y.got, 1000);
        assert_int_equal(x.ended, 0); /* it has nothing to say, and does not know */
        if (!back) {
            uint64_t start = kith_sim_now_ns(sim);
            send_more(&x, 1000);
            kith_sim_run_for(sim, 31 * KITH_SIM_S);
            assert_int_equal(x.why, KITH_ERR_LOST);
            assert_in_range(x.ended_at - start, SILENCE, SILENCE + KITH_SIM_MS);
        }
        end_init(&y, eb = process_on(b), 2, 1);
        end_listen(&y, "[::]:2000");
        run();
        if (back) {
            assert_int_equal(x.ended, 0);
            send_more(&x, 1);
            run();
            assert_int_equal(x.why, KITH_ERR_CLOSED);
        }
        end_close(&x);
    }
}

static void addresses_move(void **state)
{
    (void)state;
    static tcp_end z;
    /* Away and back. */
    meet();
    assert_ok(kith_sim_change_addr(b, "192.168.1.2", "192.168.1.50"));
    send_more(&x, 1000);
    send_more(&y, 2000);
    run();
    assert_int_equal(x.got + y.got, 0);
    assert_ok(kith_sim_change_addr(b, "192.168.1.50", "192.168.1.2"));
    kith_sim_run_for(sim, 20 * KITH_SIM_S);
    assert_int_equal(y.got, 1000);
    assert_int_equal(x.got, 2000);
    /* Detached and attached again. */
    kith_sim_detach(a, lan);
    send_more(&x, 1000);
    run();
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    kith_sim_run_for(sim, 20 * KITH_SIM_S);
    assert_int_equal(y.got, 2000);
    assert_int_equal(x.ended + y.ended, 0);
    /* To somebody else. */
    kith_sim_host *c = host_in(sim, "c");
    end_init(&z, process_on(c), 2, 1);
    end_listen(&z, "[::]:2000");
    assert_ok(kith_sim_change_addr(b, "192.168.1.2", "192.168.1.50"));
    assert_ok(kith_sim_attach(c, lan, "192.168.1.2"));
    send_more(&x, 1000);
    send_more(&y, 1000);
    run();
    assert_int_equal(x.why, KITH_ERR_CLOSED);
    assert_int_equal(z.accepted, 0);
    kith_sim_run_for(sim, SILENCE);
    assert_int_equal(y.why, KITH_ERR_LOST);
}

static void closed_without_an_answer(void **state)
{
    (void)state;
    meet();
    cut(true);
    send_more(&x, 100000);
    end_close(&x);
    kith_sim_run_for(sim, 60 * KITH_SIM_S);
    assert_int_equal(y.got + y.ended, 0);
    assert_false(kith_sim_step(sim)); /* the system has given up, too */
    send_more(&y, 1);
    cut(false);
    run();
    assert_int_equal(y.why, KITH_ERR_CLOSED);
}

/* ---- memory ---- */

/* A whole life on a bad link; whatever allocation fails, the streams are right or do not come about. */
static void begin_life(uint64_t seed)
{
    sim = world(seed);
    lan = lan_in(sim, "home");
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2"));
    end_init(&x, ea = process_on(a), 1, 2);
    end_init(&y, eb = process_on(b), 2, 1);
    link_with((kith_sim_link){.delay_ns = KITH_SIM_MS, .rate = 10000000, .loss = 0.01});
    x.goal = y.goal = 200000;
}

static bool memory_fails_from(uint64_t n, bool forever)
{
    begin_life(9);
    kith_mem_fail_at(n, forever);
    kith_err err = end_try_listen(&y, "[::]:2000");
    if (!err) err = end_try_connect(&x, B);
    kith_sim_run_for(sim, (forever ? 400 : 30000) * KITH_SIM_MS);
    bool failed = kith_mem_failed();
    kith_mem_fail_at(0, false); /* there is some again, before anybody gives up */
    kith_sim_run_for(sim, 30 * KITH_SIM_S);
    if (err) {
        assert_int_equal(err, KITH_ERR_NOMEM);
        assert_true(failed);
    } else {
        assert_int_equal(x.ended + y.ended, 0);
        assert_int_equal(x.got, 200000);
        assert_int_equal(y.got, 200000);
        end_close(&x);
        run();
        assert_int_equal(y.why, KITH_ERR_CLOSED);
    }
    end(sim);
    return failed;
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (unsigned forever = 0; forever < 2; forever++) {
        uint64_t n = 1;
        while (memory_fails_from(n, forever)) n++;
        assert_true(n > 20);
        test_ran(forever ? "allocations failing for a while" : "allocations failing once", n - 1);
    }
}

/* ---- all at once ---- */

#define HOSTS 5u
#define LINES 60u

typedef struct line { /* one connection, from one host to another */
    tcp_end from, to;
    unsigned hosts[2];
    uint64_t both[2]; /* what the ends had sent when one was closed */
    bool closed;
} line;

static line *lines;
static kith_sim_host *hosts[HOSTS];
static kith_env *envs[HOSTS];

static void begin_line(unsigned i)
{
    line *l = &lines[i];
    char at[32];
    l->hosts[0] = (unsigned)(kith_sim_random(sim) % HOSTS);
    l->hosts[1] = (unsigned)(kith_sim_random(sim) % HOSTS);
    end_init(&l->from, envs[l->hosts[0]], (uint8_t)i, (uint8_t)(i + 100));
    end_init(&l->to, envs[l->hosts[1]], (uint8_t)(i + 100), (uint8_t)i);
    l->from.goal = kith_sim_random(sim) % 60000;
    l->to.goal = kith_sim_random(sim) % 60000;
    l->closed = false;
    snprintf(at, sizeof at, "[::]:%u", 2000 + i);
    if (end_try_listen(&l->to, at)) return;
    snprintf(at, sizeof at, "10.0.0.%u:%u", l->hosts[1] + 1, 2000 + i);
    (void)end_try_connect(&l->from, at);
}

static void end_line(line *l)
{
    if (kith_sim_random(sim) % 2) {
        if (l->from.tcp) end_close(&l->from);
        if (l->to.tcp) end_close(&l->to);
    } else {
        if (l->to.tcp) end_close(&l->to);
        if (l->from.tcp) end_close(&l->from);
    }
    CALL(l->to.env->tcp->unlisten(l->to.listener));
    l->to.listener = NULL;
}

static void disturb(void)
{
    unsigned i = (unsigned)(kith_sim_random(sim) % HOSTS),
             j = (i + 1 + (unsigned)(kith_sim_random(sim) % (HOSTS - 1))) % HOSTS;
    line *l = &lines[kith_sim_random(sim) % LINES];
    kith_sim_link bad = {.delay_ns = kith_sim_random(sim) % (30 * KITH_SIM_MS),
                         .jitter_ns = kith_sim_random(sim) % (5 * KITH_SIM_MS),
                         .rate = kith_sim_random(sim) % 3 ? 0 : 200000,
                         .loss = (double)(kith_sim_random(sim) % 10) / 100};
    char addr[32];
    snprintf(addr, sizeof addr, "10.0.0.%u", i + 1);
    switch (kith_sim_random(sim) % 10) {
    case 0: assert_ok(kith_sim_partition(hosts[i], hosts[j], true)); break;
    case 1:
    case 2: assert_ok(kith_sim_partition(hosts[i], hosts[j], false)); break;
    case 3: assert_ok(kith_sim_pair_link(hosts[i], hosts[j], &bad)); break;
    case 4:
        if (kith_sim_random(sim) % 3) break;
        (kith_sim_random(sim) % 2 ? kith_sim_kill(envs[i]) : kith_sim_power_fail(hosts[i]));
        break;
    case 5:
        kith_sim_detach(hosts[i], lan);
        kith_sim_run_for(sim, kith_sim_random(sim) % (5 * KITH_SIM_S));
        assert_ok(kith_sim_attach(hosts[i], lan, addr));
        break;
    case 6: l->to.deaf = kith_sim_random(sim) % 2; break;
    case 7:
        l->from.deaf = l->to.deaf = false;
        if (l->from.tcp) l->from.env->tcp->resume(l->from.tcp);
        if (l->to.tcp) l->to.env->tcp->resume(l->to.tcp);
        break;
    case 8:
        if (l->from.tcp && l->from.connected && !l->from.ended && kith_sim_alive(l->from.env)) {
            end_close(&l->from);
            l->closed = true;
        }
        break;
    default: kith_sim_set_send_again(hosts[i], 0.1 * (double)(kith_sim_random(sim) % 3));
    }
}

typedef struct tally {
    uint64_t trace, bytes, connected, closed, lost, unreachable, whole;
} tally;

static void count_end(tally *t, const tcp_end *e)
{
    t->bytes += e->got;
    t->connected += e->connected;
    t->closed += e->ended && e->why == KITH_ERR_CLOSED;
    t->lost += e->ended && e->why == KITH_ERR_LOST;
    t->unreachable += e->ended && e->why == KITH_ERR_UNREACHABLE;
}

static void say_more(tcp_end *e)
{
    if (!e->tcp || !kith_sim_alive(e->env)) return;
    e->goal += kith_sim_random(sim) % 100000;
    end_send(e);
}

static void renew(tally *t, unsigned i)
{
    line *l = &lines[i];
    /* What arrived is a beginning of what was sent; and all of it, where the end came by a close. */
    assert_true(l->to.got <= l->from.sent && l->from.got <= l->to.sent);
    count_end(t, &l->from);
    count_end(t, &l->to);
    t->whole += l->closed && l->to.ended && l->to.got == l->from.sent;
    end_line(l);
    begin_line(i);
}

static tally storm(uint64_t seed, unsigned rounds)
{
    tally t = {0};
    sim = world(seed);
    lan = lan_in(sim, "home");
    for (unsigned i = 0; i < HOSTS; i++) {
        char addr[32];
        snprintf(addr, sizeof addr, "10.0.0.%u", i + 1);
        hosts[i] = host_in(sim, addr);
        assert_ok(kith_sim_attach(hosts[i], lan, addr));
        envs[i] = process_on(hosts[i]);
    }
    lines = calloc(LINES, sizeof *lines);
    for (unsigned i = 0; i < LINES; i++) begin_line(i);
    for (unsigned i = 0; i < rounds; i++) {
        kith_sim_run_for(sim, kith_sim_random(sim) % (2 * KITH_SIM_S));
        disturb();
        for (unsigned j = 0; j < HOSTS; j++) {
            if (!kith_sim_alive(envs[j])) envs[j] = process_on(hosts[j]);
        }
        for (unsigned n = 0; n < 6; n++) {
            line *l = &lines[kith_sim_random(sim) % LINES];
            say_more(kith_sim_random(sim) % 2 ? &l->from : &l->to);
        }
        renew(&t, (unsigned)(kith_sim_random(sim) % LINES));
    }
    t.trace = kith_sim_trace(sim);
    for (unsigned i = 0; i < LINES; i++) end_line(&lines[i]);
    for (unsigned i = 0; i < HOSTS; i++) {
        for (unsigned j = 0; j < i; j++) assert_ok(kith_sim_partition(hosts[i], hosts[j], false));
    }
    kith_sim_run_for(sim, 120 * KITH_SIM_S);
    assert_false(kith_sim_step(sim)); /* nothing goes on without an owner */
    end(sim);
    free(lines);
    return t;
}

static void a_storm(void **state)
{
    (void)state;
    tally first = storm(1, 1500), again = storm(1, 1500);
    assert_memory_equal(&first, &again, sizeof first);
    assert_true(storm(2, 50).trace != storm(3, 50).trace);
    assert_true(first.bytes > 100000000 && first.connected > 1000);
    assert_true(first.closed > 100 && first.lost > 20 && first.unreachable > 100 && first.whole > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(refused_or_silent),
        T(a_connect_waits_for_a_short_partition),
        T(half_a_handshake),
        T(a_partition_heals),
        T(a_partition_for_ever),
        T(one_direction_dies),
        T(a_full_queue),
        T(killed),
        T(power_fails),
        T(addresses_move),
        T(closed_without_an_answer),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
