/* Registering, sessions and their ends. */
#include "hub_test.h"

static void registers(void **state)
{
    (void)state;
    peer a;
    kith_hub_set_clock(hub, 1800000000000, now);
    enter(&a, 1, "192.0.2.1:5000");
    assert_int_equal(a.limits.sessions, settings.sessions_per_client);
    assert_int_equal(a.limits.message_bytes, KITH_RELAY_MESSAGE_MAX);
    kith_addr from = addr_of("192.0.2.1:5000");
    assert_true(kith_addr_equal(&a.observed, &from));
    assert_int_equal(a.m.registered.unix_ms, 1800000000000);
    assert_int_equal(stats()->registrations, 1);
    leave(&a);
    assert_int_equal(stats()->registrations, 0);
    assert_int_equal(stats()->connections, 0);
}

static void wrong_signature(void **state)
{
    (void)state;
    peer a, b;
    arrive(&a, 1, "192.0.2.1:1", AUTHORITY);
    a.nonce[0] ^= 1; /* another challenge's */
    say_register(&a, AUTHORITY, NULL);
    expect_error(&a, KITH_RELAY_ERROR_SIGNATURE);
    arrive(&b, 1, "192.0.2.1:1", AUTHORITY);
    b.public_key[0] ^= 1; /* another's key */
    say_register(&b, AUTHORITY, NULL);
    expect_error(&b, KITH_RELAY_ERROR_SIGNATURE);
    assert_int_equal(stats()->signatures_wrong, 2);
    assert_int_equal(stats()->registrations, 0);
}

/* What was signed for another relay's name is worth nothing here, and a name that is not ours nothing either. */
static void foreign_authority(void **state)
{
    (void)state;
    peer a, b;
    arrive(&a, 1, "192.0.2.1:1", AUTHORITY);
    say_register(&a, "evil.example:4433", NULL);
    expect_error(&a, KITH_RELAY_ERROR_SIGNATURE);
    arrive(&b, 1, "192.0.2.1:1", NULL);
    say_register(&b, "evil.example:4433", NULL);
    expect_error(&b, KITH_RELAY_ERROR_AUTHORITY);
    assert_int_equal(stats()->authorities_wrong, 1);
}

static void only_register_first(void **state)
{
    (void)state;
    peer a, b;
    arrive(&a, 1, "192.0.2.1:1", AUTHORITY);
    say_connect(&a, &a, 1);
    expect_error(&a, KITH_RELAY_ERROR_PROTOCOL);
    enter(&b, 2, "192.0.2.1:1");
    say_register(&b, AUTHORITY, NULL);
    expect_error(&b, KITH_RELAY_ERROR_PROTOCOL);
    assert_int_equal(stats()->protocol_errors, 2);
}

static void zombie_yields(void **state)
{
    (void)state;
    peer old, new, other, c;
    enter(&old, 1, "192.0.2.1:1");
    enter(&other, 1, "192.0.2.2:1"); /* the same instance, from elsewhere */
    expect_error(&old, KITH_RELAY_ERROR_SUPERSEDED);
    enter(&c, 9, "192.0.2.3:1");
    together(&c, &other, 4);
    arrive(&new, 1, "192.0.2.1:2", AUTHORITY);
    new.seed[0] ^= 1; /* who does not prove the key takes nobody's place */
    say_register(&new, AUTHORITY, NULL);
    expect_error(&new, KITH_RELAY_ERROR_SIGNATURE);
    quiet(&other);
    leave(&new);
    enter(&new, 1, "192.0.2.1:2");
    expect_error(&other, KITH_RELAY_ERROR_SUPERSEDED);
    quiet(&c); /* it did not answer: nobody can tell that it was there, yet */
    advance(settings.refuse_ms);
    expect_gone(&c, 4, KITH_RELAY_GONE_UNREACHABLE);
    assert_int_equal(stats()->registrations, 2);
    assert_int_equal(stats()->superseded, 2);
}

static void packets_both_ways(void **state)
{
    (void)state;
    static uint8_t run[3000];
    peer a, b;
    for (size_t i = 0; i < sizeof run; i++) run[i] = (uint8_t)(i * 13);
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    uint32_t number = together(&a, &b, 7);
    assert_int_equal(b.m.run.size, 1200);
    assert_int_equal(b.m.run.data[0], 0xc0);
    say_data(&a, 7, run, sizeof run, 1350);
    expect(&b, KITH_RELAY_DATA);
    assert_true(b.m.session == number && b.m.run.segment == 1350 && b.m.run.size == sizeof run);
    assert_memory_equal(b.m.run.data, run, sizeof run);
    say_data(&b, number, run, 5, 5);
    expect(&a, KITH_RELAY_DATA);
    assert_true(a.m.session == 7 && a.m.run.size == 5);
    say_data(&b, 7, run, 5, 5); /* the other's number means nothing */
    say_data(&a, 8, run, 5, 5);
    quiet(&a);
    quiet(&b);
    assert_int_equal(stats()->dropped_session_bytes, 24);
    say_gone(&b, number);
    expect_gone(&a, 7, KITH_RELAY_GONE_ENDED);
    say_data(&a, 7, run, 5, 5);
    quiet(&b);
    assert_int_equal(stats()->sessions, 0);
    together(&a, &b, 7); /* the number is free again */
    leave(&a);
    expect(&b, KITH_RELAY_GONE);
    assert_int_equal(b.m.gone.reason, KITH_RELAY_GONE_ENDED);
}

/* What a dialler sees, and when, of a target that is not there, one that refuses, and one that leaves unanswered. */
static void absent_looks_like_unwilling(void **state)
{
    (void)state;
    static const uint8_t packet[100];
    for (int how = 0; how < 3; how++) {
        peer a, b;
        again();
        enter(&a, 1, "192.0.2.1:1");
        enter(&b, 2, "192.0.2.2:1");
        if (how == 0) leave(&b);
        say_connect(&a, &b, 3);
        expect(&a, KITH_RELAY_CONNECTED);
        if (how) expect(&b, KITH_RELAY_INCOMING);
        advance(100);
        if (how == 1) say_gone(&b, b.m.session);
        if (how == 2) leave(&b);
        say_data(&a, 3, packet, sizeof packet, 50);
        if (how == 1) quiet(&b);
        advance(settings.refuse_ms - 101);
        quiet(&a);
        advance(1);
        expect_gone(&a, 3, KITH_RELAY_GONE_UNREACHABLE);
        quiet(&a);
        assert_int_equal(stats()->sessions, 0);
        assert_int_equal(stats()->connects_unreachable, 1);
    }
}

static void slow_to_answer(void **state)
{
    (void)state;
    peer a, b;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    uint32_t number = together(&a, &b, 3);
    advance(settings.refuse_ms * 2);
    quiet(&a);
    say_gone(&b, number);
    expect_gone(&a, 3, KITH_RELAY_GONE_ENDED);
}

static void instances(void **state)
{
    (void)state;
    peer a, one, two;
    enter(&a, 9, "192.0.2.9:1");
    enter(&one, 1, "192.0.2.1:1");
    arrive(&two, 1, "192.0.2.1:2", AUTHORITY);
    two.instance[0] = 2;
    say_register(&two, AUTHORITY, NULL);
    registered(&two);
    together(&a, &two, 1); /* the last one, when none is named */
    say(&a,
        &(kith_relay_message){.type = KITH_RELAY_CONNECT, .session = 2, .connect = {one.fingerprint, one.instance}});
    expect(&a, KITH_RELAY_CONNECTED);
    expect(&one, KITH_RELAY_INCOMING);
    assert_null(one.m.run.data);
    quiet(&two);
    leave(&two);
    quiet(&a);
    say_connect(&a, &one, 5);
    expect(&a, KITH_RELAY_CONNECTED);
    expect(&one, KITH_RELAY_INCOMING);
}

static void numbers(void **state)
{
    (void)state;
    peer a, b, c;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    enter(&c, 3, "192.0.2.3:1");
    together(&a, &b, 3);
    say_connect(&a, &b, 3); /* in use */
    expect_error(&a, KITH_RELAY_ERROR_PROTOCOL);
    expect(&b, KITH_RELAY_GONE);
    say_connect(&c, &b, KITH_RELAY_SESSION_OF_RELAY); /* the relay's */
    expect_error(&c, KITH_RELAY_ERROR_PROTOCOL);
    quiet(&b);
}

static void to_itself(void **state)
{
    (void)state;
    peer a;
    enter(&a, 1, "192.0.2.1:1");
    say_connect(&a, &a, 3);
    expect(&a, KITH_RELAY_CONNECTED);
    quiet(&a);
    advance(settings.refuse_ms);
    expect_gone(&a, 3, KITH_RELAY_GONE_UNREACHABLE);
}

/* The instance that registered last reaches the one before it, that one reaches the last; alone it reaches nobody. */
static void to_another_instance_of_itself(void **state)
{
    (void)state;
    peer one, two;
    enter(&one, 1, "192.0.2.1:1");
    arrive(&two, 1, "192.0.2.1:2", AUTHORITY);
    two.instance[0] = 2;
    say_register(&two, AUTHORITY, NULL);
    registered(&two);
    say_connect(&two, &two, 3);
    expect(&two, KITH_RELAY_CONNECTED);
    expect(&one, KITH_RELAY_INCOMING);
    assert_memory_equal(one.m.incoming.from_instance, two.instance, sizeof two.instance);
    say_connect(&one, &one, 4); /* the last one is meant, and that is another */
    expect(&one, KITH_RELAY_CONNECTED);
    expect(&two, KITH_RELAY_INCOMING);
    leave(&one);
    expect(&two, KITH_RELAY_GONE); /* of the session it was asked for */
    say_connect(&two, &two, 5);
    expect(&two, KITH_RELAY_CONNECTED);
    quiet(&two);
}

/* Of a device's instances the last one is asked first, and what it refuses goes to those before it. */
static void what_one_instance_refuses(void **state)
{
    (void)state;
    static const uint8_t packet[100] = {7};
    peer a, one, two;
    enter(&a, 1, "192.0.2.1:1");
    enter(&one, 2, "192.0.2.2:1");
    arrive(&two, 2, "192.0.2.2:2", AUTHORITY);
    two.instance[0] = 2;
    say_register(&two, AUTHORITY, NULL);
    registered(&two);
    say_connect(&a, &one, 3);
    expect(&a, KITH_RELAY_CONNECTED);
    quiet(&one);
    expect(&two, KITH_RELAY_INCOMING);
    say_gone(&two, two.m.session);
    expect(&one, KITH_RELAY_INCOMING);
    assert_memory_equal(one.m.incoming.from_instance, a.instance, sizeof a.instance);
    uint32_t number = one.m.session;
    quiet(&two);
    say_data(&one, number, packet, sizeof packet, sizeof packet);
    expect(&a, KITH_RELAY_DATA);
    assert_int_equal(a.m.session, 3);
    say_connect(&a, &one, 4); /* nobody takes it: that looks like nobody there */
    expect(&a, KITH_RELAY_CONNECTED);
    expect(&two, KITH_RELAY_INCOMING);
    say_gone(&two, two.m.session);
    expect(&one, KITH_RELAY_INCOMING);
    say_gone(&one, one.m.session);
    quiet(&a);
    advance(settings.refuse_ms);
    expect(&a, KITH_RELAY_GONE);
    assert_int_equal(a.m.gone.reason, KITH_RELAY_GONE_UNREACHABLE);
}

static void say_connect_but(peer *p, const peer *target, uint32_t session, const uint8_t *but, size_t count)
{
    say(p, &(kith_relay_message){.type = KITH_RELAY_CONNECT,
                                 .session = session,
                                 .connect = {.target = target->fingerprint, .but = but, .but_count = count}});
}

/* What the dialler does not mean is left out, also when it comes to who is next. */
static void but_these_instances(void **state)
{
    (void)state;
    peer a, node[3];
    uint8_t but[3][KITH_RELAY_INSTANCE_SIZE];
    enter(&a, 1, "192.0.2.1:1");
    for (uint8_t i = 0; i < 3; i++) {
        char from[24];
        snprintf(from, sizeof from, "192.0.2.2:%u", i + 1u);
        arrive(&node[i], 2, from, AUTHORITY);
        node[i].instance[0] = i + 1;
        say_register(&node[i], AUTHORITY, NULL);
        registered(&node[i]);
        memcpy(but[2 - i], node[i].instance, sizeof but[0]); /* the last first */
    }
    say_connect_but(&a, &node[0], 3, but[0], 1);
    expect(&a, KITH_RELAY_CONNECTED);
    quiet(&node[2]);
    expect(&node[1], KITH_RELAY_INCOMING);
    say_connect_but(&a, &node[0], 4, but[1], 1);
    expect(&a, KITH_RELAY_CONNECTED);
    expect(&node[2], KITH_RELAY_INCOMING);
    say_gone(&node[2], node[2].m.session);
    quiet(&node[1]);
    expect(&node[0], KITH_RELAY_INCOMING);
    say_connect_but(&a, &node[0], 5, but[0], 3); /* nobody is left */
    expect(&a, KITH_RELAY_CONNECTED);
    for (size_t i = 0; i < 3; i++) quiet(&node[i]);
    quiet(&a);
    advance(settings.refuse_ms);
    expect_gone(&a, 5, KITH_RELAY_GONE_UNREACHABLE);
}

/* One that says nothing has its time, then the one before it is asked. */
static void what_one_instance_does_not_answer(void **state)
{
    (void)state;
    static const uint8_t packet[100] = {7};
    peer a, one, two;
    enter(&a, 1, "192.0.2.1:1");
    enter(&one, 2, "192.0.2.2:1");
    arrive(&two, 2, "192.0.2.2:2", AUTHORITY);
    two.instance[0] = 2;
    say_register(&two, AUTHORITY, NULL);
    registered(&two);
    say_connect(&a, &one, 3);
    expect(&a, KITH_RELAY_CONNECTED);
    expect(&two, KITH_RELAY_INCOMING);
    uint32_t silent = two.m.session;
    advance(settings.refuse_ms - 1);
    quiet(&one);
    advance(1);
    expect(&one, KITH_RELAY_INCOMING);
    uint32_t number = one.m.session;
    expect_gone(&two, silent, KITH_RELAY_GONE_ENDED);
    say_data(&two, silent, packet, sizeof packet, sizeof packet); /* too late */
    quiet(&a);
    advance(settings.refuse_ms); /* there is no other: it may take its time */
    quiet(&a);
    say_data(&one, number, packet, sizeof packet, sizeof packet);
    expect(&a, KITH_RELAY_DATA);
    assert_int_equal(a.m.session, 3);
}

static void idle_sessions_end(void **state)
{
    (void)state;
    static const uint8_t packet[100];
    peer a, b;
    settings.session_idle_ms = 10000;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    uint32_t number = together(&a, &b, 3);
    advance(9000);
    say_data(&b, number, packet, 100, 100);
    expect(&a, KITH_RELAY_DATA);
    advance(9999);
    quiet(&a);
    advance(1);
    expect_gone(&a, 3, KITH_RELAY_GONE_IDLE);
    expect_gone(&b, number, KITH_RELAY_GONE_IDLE);
    assert_int_equal(stats()->session_idle_timeouts, 1);
}

static void pings(void **state)
{
    (void)state;
    peer a;
    enter(&a, 1, "192.0.2.1:1");
    for (int i = 0; i < 5; i++) {
        advance(settings.idle_ms - 1);
        say(&a, &(kith_relay_message){.type = KITH_RELAY_PING, .ping = {(const uint8_t *)"12345678"}});
        expect(&a, KITH_RELAY_PONG);
        assert_memory_equal(a.m.ping.bytes, "12345678", 8);
    }
    advance(settings.idle_ms);
    expect_error(&a, KITH_RELAY_ERROR_TIMEOUT);
    assert_int_equal(stats()->idle_timeouts, 1);
}

static void in_pieces(void **state)
{
    (void)state;
    uint8_t out[64];
    peer a;
    enter(&a, 1, "192.0.2.1:1");
    kith_relay_message ping = {.type = KITH_RELAY_PING, .ping = {(const uint8_t *)"abcdefgh"}};
    size_t size = kith_relay_write(&ping, out, sizeof out);
    for (size_t frame = 1; frame <= size; frame++) { /* frames of so many bytes, each in pieces of one */
        for (size_t at = 0; at < size; at++) {
            size_t end = (at / frame + 1) * frame < size ? (at / frame + 1) * frame : size;
            kith_hub_input(a.client, out + at, 1, end - at - 1, at + 1 == size, now);
        }
        expect(&a, KITH_RELAY_PONG);
        quiet(&a);
    }
    kith_hub_input(a.client, out, 4, 0, false, now);
    assert_true(stats()->memory_bytes > 0);
    leave(&a); /* in the middle of one */
    assert_int_equal(stats()->memory_bytes, 0);
}

static void drains(void **state)
{
    (void)state;
    static const uint8_t packet[100];
    peer a, b, c;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    arrive(&c, 3, "192.0.2.3:1", AUTHORITY);
    together(&a, &b, 3);
    kith_hub_drain(hub, now);
    assert_true(kith_hub_draining(hub));
    expect(&a, KITH_RELAY_RESTARTING);
    assert_int_equal(a.m.restarting.after_ms, settings.restart_ms);
    expect(&b, KITH_RELAY_RESTARTING);
    quiet(&c);
    say_data(&a, 3, packet, 100, 100); /* what is under way goes on */
    expect(&b, KITH_RELAY_DATA);
    say_connect(&a, &b, 4);
    expect(&a, KITH_RELAY_CONNECTED);
    quiet(&b);
    peer d;
    assert_int_equal(reach(&d, "192.0.2.4:1"), KITH_ERR_LIMIT);
    kith_hub_shut(hub, now);
    assert_int_equal(kith_hub_closing(a.client), KITH_HUB_CLOSE_AWAY);
    assert_int_equal(kith_hub_closing(c.client), KITH_HUB_CLOSE_AWAY);
}

static void ready_once(void **state)
{
    (void)state;
    peer a, b;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    while (kith_hub_ready(hub)) {
    }
    together(&a, &b, 1);
    assert_ptr_equal(kith_hub_ready(hub), a.client);
    assert_ptr_equal(kith_hub_ready(hub), b.client);
    assert_null(kith_hub_ready(hub));
    kith_hub_refuse(a.client, KITH_HUB_CLOSE_TYPE, now);
    assert_ptr_equal(kith_hub_ready(hub), b.client); /* who hears that the session is over */
    assert_ptr_equal(kith_hub_ready(hub), a.client);
    assert_null(kith_hub_ready(hub));
    assert_int_equal(kith_hub_closing(a.client), KITH_HUB_CLOSE_TYPE);
}

/* One whole life with its 1st, 2nd ... allocation failing: nothing leaks, nobody crashes. */
static int life(void *arg)
{
    (void)arg;
    static const uint8_t seed[KITH_HUB_SEED_SIZE] = {2};
    kith_hub *h;
    kith_err err = kith_hub_new(&(kith_hub_config){.settings = &settings, .seed = seed, .software = "t"}, &h);
    if (err) return err;
    kith_hub_free(h);
    return 0;
}

static void no_memory(void **state)
{
    (void)state;
    static const uint8_t packet[100];
    test_every_allocation(life, NULL);
    peer a, b;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    for (uint64_t n = 1; n < 12; n++) {
        kith_mem_fail_at(n, false);
        if (kith_hub_closing(a.client)) {
            kith_mem_fail_at(0, false);
            leave(&a);
            enter(&a, 1, "192.0.2.1:1");
        }
        if (kith_hub_closing(b.client)) {
            kith_mem_fail_at(0, false);
            leave(&b);
            enter(&b, 2, "192.0.2.2:1");
        }
        kith_mem_fail_at(n, false);
        say_connect(&a, &b, (uint32_t)n);
        say_data(&a, (uint32_t)n, packet, 100, 100);
        say(&a, &(kith_relay_message){.type = KITH_RELAY_MAILBOX_OPEN, .tag = (uint32_t)n});
        kith_mem_fail_at(0, false);
        while (take(&a)) {
        }
        while (take(&b)) {
        }
    }
    assert_true(stats()->memory_overflows > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(registers),
        HUB_TEST(wrong_signature),
        HUB_TEST(foreign_authority),
        HUB_TEST(only_register_first),
        HUB_TEST(zombie_yields),
        HUB_TEST(packets_both_ways),
        HUB_TEST(absent_looks_like_unwilling),
        HUB_TEST(slow_to_answer),
        HUB_TEST(instances),
        HUB_TEST(but_these_instances),
        HUB_TEST(what_one_instance_does_not_answer),
        HUB_TEST(numbers),
        HUB_TEST(to_itself),
        HUB_TEST(to_another_instance_of_itself),
        HUB_TEST(what_one_instance_refuses),
        HUB_TEST(idle_sessions_end),
        HUB_TEST(pings),
        HUB_TEST(in_pieces),
        HUB_TEST(drains),
        HUB_TEST(ready_once),
        HUB_TEST(no_memory),
    };
    return cmocka_run_group_tests_name("relay/hub", tests, NULL, NULL);
}
