/* Each limit, what it does and what it counts; what waits; mailboxes; tokens. */
#include "hub_test.h"

static uint8_t packets[KITH_PACKET_RUN_MAX];

static void connections(void **state)
{
    (void)state;
    peer p[6];
    settings.connections = 4;
    settings.connections_per_address = 2;
    again();
    for (int i = 0; i < 2; i++) assert_ok(reach(&p[i], "192.0.2.1:1"));
    assert_int_equal(reach(&p[5], "192.0.2.1:9"), KITH_ERR_LIMIT);
    assert_int_equal(stats()->connections_address_limited, 1);
    assert_ok(reach(&p[2], "[2001:db8:1:1::1]:1"));
    assert_ok(reach(&p[3], "[2001:db8:1:1::2]:1"));
    assert_int_equal(reach(&p[5], "192.0.2.2:1"), KITH_ERR_LIMIT);
    assert_int_equal(stats()->connections_limited, 1);
    leave(&p[0]);
    assert_int_equal(reach(&p[5], "[2001:db8:1:1:9::2]:1"), KITH_ERR_LIMIT); /* the same /64 */
    assert_ok(reach(&p[5], "[2001:db8:1:2::2]:1"));
}

static void connections_too_fast(void **state)
{
    (void)state;
    peer p;
    settings.accepts_per_minute = 3;
    again();
    for (int i = 0; i < 3; i++) {
        assert_ok(reach(&p, "192.0.2.1:1"));
        leave(&p);
    }
    assert_int_equal(reach(&p, "192.0.2.1:1"), KITH_ERR_LIMIT);
    assert_int_equal(stats()->accepts_limited, 1);
    assert_ok(reach(&p, "192.0.2.2:1")); /* others do not suffer */
    leave(&p);
    advance(20001);
    assert_ok(reach(&p, "192.0.2.1:1"));
    leave(&p);
    assert_int_equal(reach(&p, "192.0.2.1:1"), KITH_ERR_LIMIT);
}

static void registrations(void **state)
{
    (void)state;
    peer p[4];
    settings.registrations = 3;
    settings.registrations_per_address = 2;
    again();
    enter(&p[0], 1, "192.0.2.1:1");
    enter(&p[1], 2, "192.0.2.1:2");
    arrive(&p[2], 3, "192.0.2.1:3", AUTHORITY);
    say_register(&p[2], AUTHORITY, NULL);
    expect_limited(&p[2], KITH_RELAY_LIMIT_REGISTRATIONS);
    assert_int_equal(kith_hub_closing(p[2].client), KITH_HUB_CLOSE_TRY_LATER);
    leave(&p[2]);
    assert_int_equal(stats()->registrations_address_limited, 1);
    enter(&p[2], 3, "192.0.2.2:1");
    arrive(&p[3], 4, "192.0.2.3:1", AUTHORITY);
    say_register(&p[3], AUTHORITY, NULL);
    expect_limited(&p[3], KITH_RELAY_LIMIT_REGISTRATIONS);
    leave(&p[3]);
    assert_int_equal(stats()->registrations_limited, 1);
    enter(&p[3], 1, "192.0.2.1:4"); /* in the place of its old one, at the limits */
    expect_error(&p[0], KITH_RELAY_ERROR_SUPERSEDED);
}

static void of_one_device(void **state)
{
    (void)state;
    peer p[3];
    settings.instances_per_device = 2;
    again();
    for (int i = 0; i < 3; i++) {
        arrive(&p[i], 1, "192.0.2.1:1", AUTHORITY);
        p[i].instance[0] = (uint8_t)(i + 1);
        say_register(&p[i], AUTHORITY, NULL);
        if (i < 2) registered(&p[i]);
    }
    expect_limited(&p[2], KITH_RELAY_LIMIT_REGISTRATIONS);
    assert_int_equal(stats()->registrations_device_limited, 1);
}

static void attempts_to_register(void **state)
{
    (void)state;
    peer p;
    settings.registers_per_minute = 3;
    again();
    for (int i = 0; i < 4; i++) {
        arrive(&p, 1, "192.0.2.1:1", AUTHORITY);
        say_register(&p, "wrong", NULL);
        if (i < 3)
            expect_error(&p, KITH_RELAY_ERROR_SIGNATURE);
        else
            expect_limited(&p, KITH_RELAY_LIMIT_REGISTRATIONS);
        leave(&p);
    }
    assert_int_equal(stats()->registers_limited, 1);
    enter(&p, 1, "192.0.2.2:1"); /* others do not suffer */
    leave(&p);
    advance(20001);
    enter(&p, 1, "192.0.2.1:1");
}

static void time_to_authenticate(void **state)
{
    (void)state;
    peer a, b, c;
    assert_ok(reach(&a, "192.0.2.1:1")); /* and never a WebSocket */
    arrive(&b, 1, "192.0.2.1:1", AUTHORITY);
    enter(&c, 2, "192.0.2.1:1");
    advance(settings.authenticate_ms - 1);
    assert_int_equal(kith_hub_closing(a.client), 0);
    advance(1);
    assert_int_equal(kith_hub_closing(a.client), KITH_HUB_CLOSE_POLICY);
    expect_error(&b, KITH_RELAY_ERROR_TIMEOUT);
    assert_int_equal(kith_hub_closing(c.client), 0);
    assert_int_equal(stats()->authenticate_timeouts, 2);
}

static void message_sizes(void **state)
{
    (void)state;
    peer a, b, c;
    settings.message_bytes = 20000;
    again();
    arrive(&a, 1, "192.0.2.1:1", AUTHORITY);
    kith_hub_input(a.client, packets, 1, KITH_RELAY_CONTROL_MAX, false, now); /* before it registered */
    assert_int_equal(kith_hub_closing(a.client), KITH_HUB_CLOSE_TOO_BIG);
    assert_int_equal(stats()->memory_bytes, 0);
    enter(&b, 2, "192.0.2.1:1");
    kith_hub_input(b.client, packets, 10000, 10000, false, now);
    assert_int_equal(kith_hub_closing(b.client), 0);
    kith_hub_input(b.client, packets, 10000, 0, false, now);
    kith_hub_input(b.client, packets, 1, 0, true, now);
    assert_int_equal(kith_hub_closing(b.client), KITH_HUB_CLOSE_TOO_BIG);
    enter(&c, 3, "192.0.2.1:1");
    kith_hub_input(c.client, packets, 1, SIZE_MAX, false, now);
    assert_int_equal(kith_hub_closing(c.client), KITH_HUB_CLOSE_TOO_BIG);
    assert_int_equal(stats()->messages_too_large, 3);
}

static void sessions(void **state)
{
    (void)state;
    peer a, b, c;
    settings.sessions_per_client = 2;
    settings.incoming_per_client = 3;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    enter(&c, 3, "192.0.2.3:1");
    together(&a, &b, 1);
    together(&a, &b, 2);
    say_connect(&a, &b, 3);
    expect_limited(&a, KITH_RELAY_LIMIT_SESSIONS);
    assert_true(a.m.rate_limited.has_session && a.m.session == 3);
    assert_int_equal(kith_hub_closing(a.client), 0);
    quiet(&b);
    assert_int_equal(stats()->sessions_limited, 1);
    together(&c, &b, 1);
    say_connect(&c, &b, 2); /* whose limit is its own business: as if it were not there */
    expect(&c, KITH_RELAY_CONNECTED);
    quiet(&b);
    advance(settings.refuse_ms);
    expect_gone(&c, 2, KITH_RELAY_GONE_UNREACHABLE);
    assert_int_equal(stats()->incoming_limited, 1);
}

static void connects(void **state)
{
    (void)state;
    peer a, b;
    settings.connects_per_minute = 5;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    for (uint32_t i = 0; i < 5; i++) say_gone(&b, together(&a, &b, i));
    say_connect(&a, &b, 9);
    expect_limited(&a, KITH_RELAY_LIMIT_SESSIONS);
    assert_true(a.m.rate_limited.retry_after_ms >= 12000);
    assert_int_equal(stats()->connects_limited, 1);
}

/* Of 40 runs for a client that reads nothing the last ones stay, whole and in order, and its other messages all. */
static void oldest_packets_make_way(void **state)
{
    (void)state;
    peer a, b;
    settings.queue_bytes = 10 * 65007;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    together(&a, &b, 1);
    for (uint32_t i = 0; i < 40; i++) {
        packets[0] = (uint8_t)i;
        say_data(&a, 1, packets, sizeof packets, 1300);
        if (i % 10 == 0) {
            say_connect(&a, &b, 100 + i);
            expect(&a, KITH_RELAY_CONNECTED);
        }
        assert_true(stats()->memory_bytes < 11 * 65007);
        advance(10);
    }
    assert_int_equal(stats()->dropped_queue_bytes, 30 * 65007);
    int incoming = 0;
    uint8_t next = 30;
    while (take(&b)) {
        if (b.m.type == KITH_RELAY_INCOMING) incoming++;
        if (b.m.type == KITH_RELAY_DATA) assert_int_equal(b.m.run.data[0], next++);
    }
    assert_int_equal(next, 40);
    assert_int_equal(incoming, 4);
    assert_int_equal(stats()->memory_bytes, 0);
}

static void control_messages_are_bounded(void **state)
{
    (void)state;
    peer a, b;
    settings.sessions_per_client = settings.incoming_per_client = 1000;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    for (uint32_t i = 0; i < 400 && !kith_hub_closing(b.client); i++) {
        say_connect(&a, &b, i);
        expect(&a, KITH_RELAY_CONNECTED);
    }
    assert_int_equal(kith_hub_closing(b.client), KITH_HUB_CLOSE_POLICY);
    assert_int_equal(stats()->control_overflows, 1);
    assert_true(stats()->memory_bytes <= settings.control_bytes);
}

/* Many slow readers share one bound; who reads gets through. */
static void memory_in_all(void **state)
{
    (void)state;
    static peer slow[20], a, b;
    settings.memory_bytes = 1 << 20;
    settings.queue_bytes = 1 << 20;
    again();
    enter(&a, 100, "192.0.2.1:1");
    enter(&b, 101, "192.0.2.1:2");
    together(&a, &b, 1000);
    for (unsigned i = 0; i < 20; i++) {
        enter(&slow[i], i + 1, "192.0.2.2:1");
        together(&a, &slow[i], i);
    }
    for (uint32_t n = 0; n < 200; n++) {
        say_data(&a, n % 20, packets, sizeof packets, 1300);
        packets[0] = (uint8_t)n;
        say_data(&a, 1000, packets, 1300, 1300);
        expect(&b, KITH_RELAY_DATA);
        assert_int_equal(b.m.run.data[0], n);
        assert_true(stats()->memory_bytes <= settings.memory_bytes);
        advance(100);
    }
    assert_true(stats()->dropped_memory_bytes > 100 * 65007);
}

static void who_takes_nothing_is_closed(void **state)
{
    (void)state;
    peer a, b;
    settings.idle_ms = settings.session_idle_ms = 86400000;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    together(&a, &b, 1);
    say_data(&a, 1, packets, 1300, 1300);
    say_data(&a, 1, packets, 1300, 1300);
    advance(settings.stall_ms - 1);
    expect(&b, KITH_RELAY_DATA); /* it takes some */
    advance(settings.stall_ms - 1);
    assert_int_equal(kith_hub_closing(b.client), 0);
    advance(1);
    assert_int_equal(kith_hub_closing(b.client), KITH_HUB_CLOSE_POLICY);
    quiet(&b);
    assert_int_equal(stats()->stall_timeouts, 1);
    expect(&a, KITH_RELAY_GONE);
}

static void too_fast_is_paused(void **state)
{
    (void)state;
    peer a, b, c;
    settings.bytes_per_second = 1 << 20;
    settings.burst_bytes = 4 * 65007;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    enter(&c, 3, "192.0.2.3:1");
    together(&a, &b, 1);
    together(&c, &b, 1);
    uint64_t begun = now, sent = 0, fair = 0;
    while (now < begun + 10000 * MS) {
        while (kith_hub_reading(a.client)) {
            say_data(&a, 1, packets, sizeof packets, 1300);
            sent += sizeof packets;
            while (take(&b)) {
            }
        }
        say_data(&c, 1, packets, 1300, 1300); /* who is slower is read always */
        assert_true(kith_hub_reading(c.client));
        fair++;
        while (take(&b)) {
        }
        advance(20);
    }
    assert_true(fair >= 499);
    assert_in_range(sent, 10 << 20, (11 << 20) + 5 * 65007);
    assert_true(stats()->pauses > 10);
    while (kith_hub_reading(a.client)) say_data(&a, 1, packets, sizeof packets, 1300);
    assert_int_equal(stats()->paused, 1);
    leave(&a);
    assert_int_equal(stats()->paused, 0);
}

/* ---- mailboxes ---- */

static void mailbox_say(peer *p, kith_relay_type type, uint32_t tag)
{
    say(p, &(kith_relay_message){.type = type, .tag = tag, .session = 50 + tag});
}

static void mailbox_state(peer *p, uint32_t tag, kith_relay_mailbox_state state)
{
    expect(p, KITH_RELAY_MAILBOX);
    assert_int_equal(p->m.tag, tag);
    assert_int_equal(p->m.mailbox.state, state);
}

static void mailboxes(void **state)
{
    (void)state;
    peer a, b;
    settings.mailboxes_per_client = 2;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    mailbox_say(&a, KITH_RELAY_MAILBOX_OPEN, 7);
    mailbox_state(&a, 7, KITH_RELAY_MAILBOX_STATE_OPEN);
    mailbox_say(&a, KITH_RELAY_MAILBOX_OPEN, 7);
    mailbox_state(&a, 7, KITH_RELAY_MAILBOX_STATE_OPEN);
    mailbox_say(&b, KITH_RELAY_MAILBOX_OPEN, 7);
    mailbox_state(&b, 7, KITH_RELAY_MAILBOX_STATE_TAKEN);
    mailbox_say(&b, KITH_RELAY_MAILBOX_CLOSE, 7); /* not its own */
    mailbox_state(&b, 7, KITH_RELAY_MAILBOX_STATE_CLOSED);
    mailbox_say(&b, KITH_RELAY_MAILBOX_CONNECT, 7);
    expect(&b, KITH_RELAY_CONNECTED);
    expect(&a, KITH_RELAY_INCOMING);
    assert_memory_equal(a.m.incoming.from, b.fingerprint, 32);
    mailbox_say(&a, KITH_RELAY_MAILBOX_OPEN, 8);
    mailbox_state(&a, 8, KITH_RELAY_MAILBOX_STATE_OPEN);
    mailbox_say(&a, KITH_RELAY_MAILBOX_OPEN, 9);
    expect_limited(&a, KITH_RELAY_LIMIT_MAILBOXES);
    assert_true(a.m.rate_limited.has_tag && a.m.tag == 9);
    assert_int_equal(stats()->mailboxes_limited, 1);
    mailbox_say(&a, KITH_RELAY_MAILBOX_CLOSE, 7);
    mailbox_state(&a, 7, KITH_RELAY_MAILBOX_STATE_CLOSED);
    mailbox_say(&b, KITH_RELAY_MAILBOX_OPEN, 7);
    mailbox_state(&b, 7, KITH_RELAY_MAILBOX_STATE_OPEN);
    leave(&b);
    assert_int_equal(stats()->mailboxes, 1);
    settings.idle_ms = 86400000;
    kith_hub_configure(hub, &settings);
    advance(settings.mailbox_ms);
    while (take(&a) && a.m.type != KITH_RELAY_MAILBOX) {
    }
    assert_int_equal(a.m.mailbox.state, KITH_RELAY_MAILBOX_STATE_CLOSED);
    assert_int_equal(stats()->mailboxes, 0);
}

/* There or not, a guess is a guess, and looks the same; it is the address that guesses, not the connection. */
static void guesses(void **state)
{
    (void)state;
    peer host, a, b;
    settings.guesses_per_minute = 10;
    again();
    enter(&host, 9, "192.0.2.9:1");
    mailbox_say(&host, KITH_RELAY_MAILBOX_OPEN, 3);
    mailbox_state(&host, 3, KITH_RELAY_MAILBOX_STATE_OPEN);
    enter(&a, 1, "192.0.2.1:1");
    for (uint32_t tag = 0; tag < 5; tag++) {
        mailbox_say(&a, KITH_RELAY_MAILBOX_CONNECT, tag);
        expect(&a, KITH_RELAY_CONNECTED);
        quiet(&a);
    }
    expect(&host, KITH_RELAY_INCOMING);
    quiet(&host);
    leave(&a);
    enter(&b, 2, "192.0.2.1:2");
    for (uint32_t tag = 10; tag < 15; tag++) {
        mailbox_say(&b, KITH_RELAY_MAILBOX_CONNECT, tag);
        expect(&b, KITH_RELAY_CONNECTED);
    }
    mailbox_say(&b, KITH_RELAY_MAILBOX_CONNECT, 3);
    expect_limited(&b, KITH_RELAY_LIMIT_GUESSES);
    assert_true(b.m.rate_limited.has_session && b.m.session == 53);
    expect(&host, KITH_RELAY_GONE); /* of the first */
    quiet(&host);
    assert_int_equal(stats()->guesses_limited, 1);
    enter(&a, 1, "192.0.2.2:1");
    mailbox_say(&a, KITH_RELAY_MAILBOX_CONNECT, 3);
    expect(&a, KITH_RELAY_CONNECTED);
    expect(&host, KITH_RELAY_INCOMING);
}

/* ---- tokens ---- */

static kith_tokens *tokens_of(const char *text)
{
    kith_relay_reason reason;
    kith_tokens *tokens = NULL;
    if (kith_tokens_read(text, strlen(text), &tokens, &reason)) fail_msg("%s", reason.text);
    return tokens;
}

static void with_token(peer *p, unsigned number, const char *token)
{
    arrive(p, number, "192.0.2.1:1", AUTHORITY);
    say_register(p, AUTHORITY, token);
}

static void tokens(void **state)
{
    (void)state;
    peer none, wrong, late, good, small;
    kith_hub_set_clock(hub, 1800000000000, now); /* 2027-01-15 */
    kith_hub_set_tokens(hub,
                        tokens_of("good AAAAAAAAAAAAAAAAA expires=2027-01-15T08:00:10Z\n"
                                  "late BBBBBBBBBBBBBBBBB expires=2026-01-01T00:00:00Z\n"
                                  "small CCCCCCCCCCCCCCCCC quota=2K"),
                        now);
    with_token(&none, 1, NULL);
    expect_error(&none, KITH_RELAY_ERROR_TOKEN);
    with_token(&wrong, 1, "AAAAAAAAAAAAAAAAB");
    expect_error(&wrong, KITH_RELAY_ERROR_TOKEN);
    with_token(&late, 1, "BBBBBBBBBBBBBBBBB");
    expect_error(&late, KITH_RELAY_ERROR_TOKEN);
    with_token(&good, 1, "AAAAAAAAAAAAAAAAA");
    registered(&good);
    with_token(&small, 2, "CCCCCCCCCCCCCCCCC");
    registered(&small);
    assert_int_equal(stats()->tokens_wrong, 3);
    say_data(&small, 1, packets, 3000, 1500);
    quiet(&small);
    say_data(&small, 1, packets, 10, 10);
    expect_limited(&small, KITH_RELAY_LIMIT_QUOTA);
    assert_in_range(small.m.rate_limited.retry_after_ms, 1, KITH_TOKEN_QUOTA_MS);
    assert_true(kith_hub_closing(small.client) != 0);
    leave(&small);
    kith_hub_set_tokens(hub, tokens_of("small CCCCCCCCCCCCCCCCC quota=2K\ngood AAAAAAAAAAAAAAAAA"), now);
    with_token(&small, 2, "CCCCCCCCCCCCCCCCC"); /* what it used is remembered */
    registered(&small);
    say_data(&small, 1, packets, 10, 10);
    expect_limited(&small, KITH_RELAY_LIMIT_QUOTA);
    leave(&small);
    kith_hub_set_tokens(hub, tokens_of("small CCCCCCCCCCCCCCCCC quota=2K"), now);
    expect_error(&good, KITH_RELAY_ERROR_TOKEN); /* it is not there any more */
    advance(KITH_TOKEN_QUOTA_MS);
    with_token(&small, 2, "CCCCCCCCCCCCCCCCC");
    registered(&small);
    say_data(&small, 1, packets, 10, 10);
    quiet(&small);
}

static void expires_while_there(void **state)
{
    (void)state;
    peer a;
    kith_hub_set_clock(hub, 1800000000000, now);
    kith_hub_set_tokens(hub, tokens_of("a AAAAAAAAAAAAAAAAA expires=2027-01-15T08:00:10Z"), now);
    with_token(&a, 1, "AAAAAAAAAAAAAAAAA");
    registered(&a);
    advance(10001);
    say_data(&a, 1, packets, 10, 10);
    expect_error(&a, KITH_RELAY_ERROR_TOKEN);
}

static void metrics(void **state)
{
    (void)state;
    static char text[65536];
    peer a;
    kith_hub_set_tokens(hub, tokens_of("phone AAAAAAAAAAAAAAAAA"), now);
    with_token(&a, 1, "AAAAAAAAAAAAAAAAA");
    registered(&a);
    size_t size = kith_hub_metrics(hub, text, sizeof text);
    assert_true(size < sizeof text && text[size] == '\0' && strlen(text) == size);
    assert_non_null(strstr(text, "\nkith_relay_registrations 1\n"));
    assert_non_null(strstr(text, "\n# TYPE kith_relay_registered_total counter\nkith_relay_registered_total 1\n"));
    assert_non_null(strstr(text, "\nkith_relay_limit{name=\"connections\"} 16384\n"));
    assert_non_null(strstr(text, "\nkith_relay_token_used_bytes{token=\"phone\"} 0\n"));
    assert_int_equal(kith_hub_metrics(hub, text, 100), size);
    assert_int_equal(strlen(text), 99);
}

static void sources_are_bounded(void **state)
{
    (void)state;
    settings.sources = 16;
    again();
    peer keep, p;
    enter(&keep, 1, "192.0.2.200:1");
    for (unsigned i = 0; i < 100; i++) {
        char from[32];
        snprintf(from, sizeof from, "192.0.2.%u:1", i);
        assert_ok(reach(&p, from));
        leave(&p);
    }
    assert_in_range(stats()->sources, 1, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(connections),
        HUB_TEST(connections_too_fast),
        HUB_TEST(registrations),
        HUB_TEST(of_one_device),
        HUB_TEST(attempts_to_register),
        HUB_TEST(time_to_authenticate),
        HUB_TEST(message_sizes),
        HUB_TEST(sessions),
        HUB_TEST(connects),
        HUB_TEST(oldest_packets_make_way),
        HUB_TEST(control_messages_are_bounded),
        HUB_TEST(memory_in_all),
        HUB_TEST(who_takes_nothing_is_closed),
        HUB_TEST(too_fast_is_paused),
        HUB_TEST(mailboxes),
        HUB_TEST(guesses),
        HUB_TEST(tokens),
        HUB_TEST(expires_while_there),
        HUB_TEST(metrics),
        HUB_TEST(sources_are_bounded),
    };
    return cmocka_run_group_tests_name("relay/hub_limits", tests, NULL, NULL);
}
