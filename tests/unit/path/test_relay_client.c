/* One client: registering, latency, ending and coming back; and ten thousand of them. */
#include "relay_test.h"

#include <stdio.h>

static void registering(void **state)
{
    (void)state;
    uint8_t want[KITH_RELAY_SIGNED_MAX], device_id[16], instance[8];
    memset(device_id, 0x11, 16);
    memset(instance, 0x33, 8);
    assert_non_null(hear(KITH_RELAY_EVENT_DIAL));
    assert_true(kith_relay_client_deadline_ns(client) == UINT64_MAX);
    kith_relay_client_connected(client, &nowhere, now);
    relay_challenges();
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_SIGN);
    assert_non_null(event);
    size_t size = kith_relay_signed(nonce, "relay.example", device_id, instance, want);
    assert_int_equal(event->size, size);
    assert_memory_equal(event->bytes, want, size);
    assert_true(client_is_silent());
    kith_relay_client_signed(client, signature);
    kith_relay_message reg = client_said(KITH_RELAY_REGISTER);
    assert_memory_equal(reg.reg.signature, signature, sizeof signature);
    assert_memory_equal(reg.reg.device_id, device_id, sizeof device_id);
    assert_memory_equal(reg.reg.token, "token", reg.reg.token_size);
    relay_registers(&usual_limits);
    event = hear(KITH_RELAY_EVENT_REGISTERED);
    assert_non_null(event);
    char text[KITH_ADDR_TEXT_SIZE];
    assert_string_equal(kith_addr_text(&event->observed, text), "192.0.2.7:1234");
    assert_int_equal(event->unix_ms, 1234567890123);
    assert_int_equal(event->limits.sessions, usual_limits.sessions);
    assert_false(kith_relay_client_uses_udp(client));
}

static void nothing_is_taken_out_of_order(void **state)
{
    (void)state;
    static const kith_relay_type first[] = {KITH_RELAY_REGISTERED, KITH_RELAY_CHALLENGE, KITH_RELAY_MAILBOX,
                                            KITH_RELAY_GONE, KITH_RELAY_MAILBOX_OPEN};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        kith_relay_client_free(client);
        client = new_client(i);
        assert_non_null(hear(KITH_RELAY_EVENT_DIAL));
        kith_relay_client_connected(client, &nowhere, now);
        switch (first[i]) {
        case KITH_RELAY_REGISTERED: relay_registers(&usual_limits); break;
        case KITH_RELAY_CHALLENGE: /* twice */
            relay_challenges();
            relay_challenges();
            break;
        case KITH_RELAY_MAILBOX:
            relay_says(&(kith_relay_message){.type = KITH_RELAY_MAILBOX, .tag = 1, .mailbox = {.state = 1}});
            break;
        case KITH_RELAY_GONE:
            relay_says(&(kith_relay_message){.type = KITH_RELAY_GONE, .session = 1, .gone = {.reason = 1}});
            break;
        default: relay_says(&(kith_relay_message){.type = KITH_RELAY_MAILBOX_OPEN, .tag = 1}); break;
        }
        const kith_relay_event *lost = hear(KITH_RELAY_EVENT_LOST);
        assert_non_null(lost);
        assert_int_equal(lost->why, KITH_ERR_PROTOCOL);
        assert_int_equal(last[last_count - 2].kind, KITH_RELAY_EVENT_HANGUP);
    }
}

static void garbage_ends_it_and_unknown_types_do_not(void **state)
{
    (void)state;
    uint8_t unknown[] = {200, 0xa0}, garbage[] = {1, 2, 3};
    register_with(&nowhere, &usual_limits);
    kith_relay_client_input(client, unknown, sizeof unknown, now, &data);
    assert_null(hear(KITH_RELAY_EVENT_LOST));
    kith_relay_client_input(client, garbage, sizeof garbage, now, &data);
    assert_non_null(hear(KITH_RELAY_EVENT_LOST));
    kith_relay_client_input(client, garbage, sizeof garbage, now, &data); /* still under way */
    assert_null(hear(KITH_RELAY_EVENT_LOST));
}

static void a_silent_relay_is_given_up(void **state)
{
    (void)state;
    assert_non_null(hear(KITH_RELAY_EVENT_DIAL));
    kith_relay_client_connected(client, &nowhere, now);
    uint64_t start = now;
    pass_to_deadline();
    assert_true(now == start + KITH_RELAY_REGISTER_NS);
    assert_int_equal(hear(KITH_RELAY_EVENT_LOST)->why, KITH_ERR_TIMEOUT);
}

static void latency_is_measured(void **state)
{
    (void)state;
    static const unsigned rtts[] = {80, 40, 120, 40};
    register_with(&nowhere, &usual_limits);
    for (size_t i = 0; i < 4; i++) {
        if (client_is_silent()) pass_to_deadline();
        now += rtts[i] * MS;
        relay_pongs();
        if (i == 0) assert_true(kith_relay_client_rtt_ns(client) == 80 * MS);
    }
    assert_true(kith_relay_client_min_rtt_ns(client) == 40 * MS);
    assert_in_range(kith_relay_client_rtt_ns(client), 74 * MS, 78 * MS);
    /* One that nobody asked for. */
    uint8_t bytes[8] = {0};
    relay_says(&(kith_relay_message){.type = KITH_RELAY_PONG, .ping = {.bytes = bytes}});
    assert_true(kith_relay_client_min_rtt_ns(client) == 40 * MS);
}

static void pings_come_within_the_relays_idle_time(void **state)
{
    (void)state;
    kith_relay_limits limits = usual_limits;
    limits.idle_ms = 8000;
    register_with(&nowhere, &limits);
    relay_pongs();
    for (int i = 0; i < 5; i++) {
        uint64_t before = now;
        pass_to_deadline();
        assert_true(now - before == 4 * S);
        relay_pongs();
    }
}

/* However short the times are that it names. */
static void a_relay_does_not_keep_us_busy(void **state)
{
    (void)state;
    static const uint32_t ms[] = {0, 1, 2, 3, 10, 100};
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
        kith_relay_limits limits = usual_limits;
        kith_addr udp;
        unsigned woken = 0;
        assert_ok(kith_addr_parse("192.0.2.1:443", &udp));
        limits.idle_ms = limits.udp_stale_ms = limits.session_idle_ms = ms[i];
        register_with(&udp, &limits);
        for (uint64_t end = now + 60 * S; now < end; woken++) {
            uint8_t bind[KITH_RELAY_BIND_SIZE], bound[KITH_RELAY_BOUND_MAX];
            uint64_t counter;
            size_t size;
            while (kith_relay_client_bind(client, bind)) {
                assert_non_null(kith_relay_read_bind(bind, sizeof bind, &counter));
                size = kith_relay_write_bound(counter, &udp, bound);
                kith_relay_client_datagram(client, bound, size, now, &data);
            }
            while (!client_is_silent()) relay_pongs();
            (void)hear(KITH_RELAY_EVENT_UDP);
            pass_to_deadline();
        }
        assert_in_range(woken, 1, 2 * 60 * S / KITH_RELAY_OFTEN_NS + 2);
        kith_relay_client_free(client);
        client = new_client(42);
    }
}

static void a_relay_that_does_not_answer_is_lost(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    pass_to_deadline();
    client_said(KITH_RELAY_PING);
    uint64_t pinged = now;
    assert_null(hear(KITH_RELAY_EVENT_LOST));
    pass_to_deadline();
    assert_true(now == pinged + KITH_RELAY_PONG_NS);
    assert_int_equal(hear(KITH_RELAY_EVENT_LOST)->why, KITH_ERR_LOST);
    assert_false(kith_relay_client_is_registered(client));
}

/* Asked at once when packets above it go without an answer, and found out sooner. */
static void a_relay_that_is_doubted(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    uint64_t asked = now;
    kith_relay_client_doubt(client, now); /* it answered just now: asked a moment later */
    assert_true(client_is_silent());
    pass_to_deadline();
    assert_true(now == asked + KITH_RELAY_OFTEN_NS);
    relay_pongs();
    now += S;
    kith_relay_client_doubt(client, now);
    kith_relay_client_doubt(client, now);
    relay_pongs();
    assert_true(client_is_silent()); /* asked once */
    now += S;
    uint64_t doubted = now;
    kith_relay_client_doubt(client, now);
    client_said(KITH_RELAY_PING);
    now += S / 2;
    kith_relay_client_doubt(client, now); /* which gives it no more time */
    pass_to_deadline();
    assert_true(now == doubted + KITH_RELAY_SOON_PONG_NS);
    assert_int_equal(hear(KITH_RELAY_EVENT_LOST)->why, KITH_ERR_LOST);
}

/* Far away it has four round trips. */
static void a_far_relay_that_is_doubted(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    kith_relay_message first = client_said(KITH_RELAY_PING);
    now += S / 2;
    relay_says(&(kith_relay_message){.type = KITH_RELAY_PONG, .ping = first.ping});
    now += S;
    uint64_t doubted = now;
    kith_relay_client_doubt(client, now);
    client_said(KITH_RELAY_PING);
    pass_to_deadline();
    assert_true(now == doubted + 4 * S / 2);
    assert_non_null(hear(KITH_RELAY_EVENT_LOST));
}

static void one_that_talks_is_not(void **state)
{
    (void)state;
    uint8_t bytes[8] = {1};
    register_with(&nowhere, &usual_limits);
    client_said(KITH_RELAY_PING);
    now += S;
    relay_says(&(kith_relay_message){.type = KITH_RELAY_PING, .ping = {.bytes = bytes}});
    kith_relay_message pong = client_said(KITH_RELAY_PONG);
    assert_memory_equal(pong.ping.bytes, bytes, sizeof bytes);
    pass_to_deadline();
    assert_null(hear(KITH_RELAY_EVENT_LOST));
}

/* ---- coming back ---- */

static uint64_t lost_until(void)
{
    const kith_relay_event *lost = hear(KITH_RELAY_EVENT_LOST);
    assert_non_null(lost);
    assert_true(kith_relay_client_deadline_ns(client) == lost->at_ns);
    return lost->at_ns;
}

static void failures_in_a_row_are_spread_wider(void **state)
{
    (void)state;
    uint64_t latest[12] = {0}, ends[12], start = now, spread = KITH_RELAY_SPREAD_NS;
    for (int i = 0; i < 12; i++) {
        ends[i] = (i ? ends[i - 1] : 0) + spread;
        spread = spread * 2 < KITH_RELAY_SPREAD_MAX_NS ? spread * 2 : KITH_RELAY_SPREAD_MAX_NS;
    }
    for (uint64_t seed = 0; seed < 400; seed++) {
        kith_relay_client_free(client);
        client = new_client(seed);
        now = start;
        for (int i = 0; i < 12; i++) {
            assert_non_null(hear(KITH_RELAY_EVENT_DIAL));
            kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
            uint64_t at = lost_until() - start;
            assert_true(at >= (i ? ends[i - 1] : 0));
            if (at > latest[i]) latest[i] = at;
            pass_to_deadline();
        }
    }
    for (int i = 0; i < 12; i++) assert_in_range(latest[i], ends[i] - KITH_RELAY_SPREAD_NS, ends[i]);
}

static void one_that_lasted_starts_again(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        hear(KITH_RELAY_EVENT_DIAL);
        kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
        pass_to_deadline();
    }
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    now += KITH_RELAY_STABLE_NS;
    kith_relay_client_ended(client, KITH_ERR_CLOSED, now);
    assert_true(lost_until() - now < KITH_RELAY_SPREAD_NS);
}

static void a_kick_comes_back_at_once(void **state)
{
    (void)state;
    hear(KITH_RELAY_EVENT_DIAL);
    kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
    kith_relay_client_kick(client, now);
    kith_relay_client_expire(client, now);
    assert_non_null(hear(KITH_RELAY_EVENT_DIAL));
}

static void a_kick_asks_whether_it_is_still_there(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    kith_relay_client_kick(client, now);
    uint64_t start = now;
    client_said(KITH_RELAY_PING);
    pass_to_deadline();
    assert_true(now == start + KITH_RELAY_SOON_PONG_NS);
    assert_non_null(hear(KITH_RELAY_EVENT_LOST));
    assert_int_equal(last[last_count - 1].kind, KITH_RELAY_EVENT_DIAL); /* at once */
    for (unsigned i = 0; i < KITH_RELAY_QUICK_TRIES; i++) {
        kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
        assert_true(lost_until() == now + (KITH_RELAY_QUICK_NS << i));
        pass_to_deadline();
    }
    hear(KITH_RELAY_EVENT_DIAL);
    kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
    uint64_t until = lost_until();
    assert_in_range(until - now, 0, KITH_RELAY_SPREAD_NS);
    assert_true((until - now) % KITH_RELAY_QUICK_NS); /* by chance again, as if it was the first */
}

static void a_kick_gives_up_what_was_dialled_before(void **state)
{
    (void)state;
    hear(KITH_RELAY_EVENT_DIAL);
    for (int i = 0; i < 2; i++) {
        kith_relay_client_kick(client, now);
        kith_relay_client_expire(client, now);
        assert_non_null(hear(KITH_RELAY_EVENT_HANGUP));
        assert_int_equal(last[last_count - 1].kind, KITH_RELAY_EVENT_DIAL);
        kith_relay_client_connected(client, &nowhere, now);
    }
}

/* When somebody is dialled who may be behind it. */
static void one_that_is_needed_comes_back_sooner(void **state)
{
    (void)state;
    hear(KITH_RELAY_EVENT_DIAL);
    for (int i = 0; i < 8; i++) { /* it does not answer; nobody minds */
        kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
        pass_to_deadline();
        hear(KITH_RELAY_EVENT_DIAL);
    }
    kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
    assert_true(lost_until() > now + KITH_RELAY_SPREAD_NS);
    kith_relay_client_want(client, now);
    uint64_t until = kith_relay_client_deadline_ns(client);
    assert_in_range(until - now, 0, KITH_RELAY_SPREAD_NS);
    for (int i = 0; i < 10; i++) kith_relay_client_want(client, now + (uint64_t)i);
    assert_true(kith_relay_client_deadline_ns(client) == until);
}

/* And one whose packets are under way soon: within a second, then within two more, four more ... */
static void one_whose_packets_wait_comes_back_soon(void **state)
{
    (void)state;
    uint64_t latest[6] = {0}, ends[6], start = now, wide = KITH_RELAY_NEED_NS;
    for (int i = 0; i < 6; i++) {
        ends[i] = (i ? ends[i - 1] : start) + wide;
        wide = 2 * wide < KITH_RELAY_SPREAD_NS ? 2 * wide : KITH_RELAY_SPREAD_NS;
    }
    for (uint64_t seed = 1; seed <= 300; seed++) {
        kith_relay_client_free(client);
        client = new_client(seed);
        now = start;
        for (int i = 0; i < 6; i++) {
            hear(KITH_RELAY_EVENT_DIAL);
            kith_relay_client_ended(client, KITH_ERR_LOST, now);
            kith_relay_client_need(client, now);
            uint64_t at = kith_relay_client_deadline_ns(client);
            assert_in_range(at, i ? now : start, ends[i]);
            if (at > latest[i]) latest[i] = at;
            now = at;
            kith_relay_client_expire(client, now);
        }
    }
    for (int i = 0; i < 6; i++) assert_true(ends[i] - latest[i] < (ends[i] - start) / 4);
}

static void who_may_not_come_is_not_needed(void **state)
{
    (void)state;
    hear(KITH_RELAY_EVENT_DIAL);
    kith_relay_client_connected(client, &nowhere, now);
    relay_says(&(kith_relay_message){.type = KITH_RELAY_ERROR, .error = {KITH_RELAY_ERROR_TOKEN, {"no", 2}}});
    uint64_t until = lost_until();
    kith_relay_client_need(client, now);
    assert_true(kith_relay_client_deadline_ns(client) == until);
}

static void what_ends_after_a_kick_comes_back_at_once(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    kith_relay_client_kick(client, now);
    kith_relay_client_ended(client, KITH_ERR_LOST, now);
    assert_true(lost_until() == now);
    pass_to_deadline();
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    kith_relay_client_kick(client, now);
    relay_pongs(); /* it is there: what happens later has nothing to do with the kick */
    kith_relay_client_ended(client, KITH_ERR_LOST, now);
    assert_true(lost_until() > now);
}

static void who_is_asked_to_wait_waits(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    relay_says(
        &(kith_relay_message){.type = KITH_RELAY_RATE_LIMITED,
                              .rate_limited = {.limit = KITH_RELAY_LIMIT_REGISTRATIONS, .retry_after_ms = 30000}});
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_LIMITED);
    assert_int_equal(event->code, KITH_RELAY_LIMIT_REGISTRATIONS);
    kith_relay_client_ended(client, KITH_ERR_CLOSED, now);
    assert_in_range(lost_until() - now, 30 * S, 60 * S + KITH_RELAY_SPREAD_NS);
    kith_relay_client_kick(client, now); /* also then */
    assert_true(kith_relay_client_deadline_ns(client) >= now + 30 * S);
}

static void a_relay_cannot_send_us_away_for_ever(void **state)
{
    (void)state;
    register_with(&nowhere, &usual_limits);
    relay_says(&(kith_relay_message){.type = KITH_RELAY_RATE_LIMITED, .rate_limited = {.retry_after_ms = UINT64_MAX}});
    kith_relay_client_ended(client, KITH_ERR_CLOSED, now);
    assert_true(lost_until() - now <= 2 * KITH_RELAY_COME_BACK_MAX_NS + KITH_RELAY_SPREAD_NS);
}

static void refusals_are_not_repeated_soon(void **state)
{
    (void)state;
    static const struct {
        uint64_t code;
        kith_err why;
        bool refused;
    } cases[] = {{KITH_RELAY_ERROR_TOKEN, KITH_ERR_NOT_ALLOWED, true},
                 {KITH_RELAY_ERROR_AUTHORITY, KITH_ERR_WRONG_DEVICE, true},
                 {KITH_RELAY_ERROR_VERSION, KITH_ERR_VERSION, true},
                 {KITH_RELAY_ERROR_SUPERSEDED, KITH_ERR_CLOSED, true},
                 {KITH_RELAY_ERROR_INTERNAL, KITH_ERR_CLOSED, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t most = 0, soonest = UINT64_MAX;
        for (uint64_t seed = 0; seed < 100; seed++) {
            kith_relay_client_free(client);
            client = new_client(seed);
            hear(KITH_RELAY_EVENT_DIAL);
            kith_relay_client_connected(client, &nowhere, now);
            relay_says(&(kith_relay_message){.type = KITH_RELAY_ERROR, .error = {cases[i].code, {"no", 2}}});
            const kith_relay_event *lost = hear(KITH_RELAY_EVENT_LOST);
            assert_int_equal(lost->why, cases[i].why);
            assert_int_equal(lost->code, cases[i].code);
            if (lost->at_ns - now > most) most = lost->at_ns - now;
            if (lost->at_ns - now < soonest) soonest = lost->at_ns - now;
            assert_int_equal(kith_relay_client_is_refused(client), cases[i].refused);
        }
        assert_true((soonest >= KITH_RELAY_REFUSED_LEAST_NS) == cases[i].refused);
        assert_true((most > KITH_RELAY_SPREAD_NS) == cases[i].refused);
    }
}

static void restarting(void **state)
{
    (void)state;
    uint32_t session;
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    relay_says(&(kith_relay_message){.type = KITH_RELAY_RESTARTING, .restarting = {.after_ms = 5000}});
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_RESTARTING);
    uint64_t at = event->at_ns;
    assert_in_range(at - now, 5 * S, 5 * S + KITH_RELAY_SPREAD_NS);
    uint8_t target[32] = {0};
    assert_int_equal(kith_relay_client_connect(client, target, NULL, NULL, 0, NULL, &session), KITH_ERR_STATE);
    pass_to_deadline();
    assert_true(now == at);
    assert_non_null(hear(KITH_RELAY_EVENT_DIAL)); /* there and then */
    assert_int_equal(last[0].kind, KITH_RELAY_EVENT_HANGUP);
    assert_int_equal(last[1].kind, KITH_RELAY_EVENT_LOST);
}

/* ---- ten thousand clients lose their relay at once ---- */

#define CLIENTS 10000

/* The time from which on the relay is there again; each attempt before it fails after `fail_ns`.  Counts the arrivals
 * of each second, and all failed attempts. */
static size_t storm(bool announced, uint64_t back_ns, unsigned *arrivals, size_t seconds)
{
    size_t failed = 0;
    memset(arrivals, 0, seconds * sizeof *arrivals);
    for (unsigned i = 0; i < CLIENTS; i++) {
        now = 1000 * S;
        uint64_t start = now;
        client = new_client(i * UINT64_C(0x123456789) + 7);
        register_with(&nowhere, &usual_limits);
        if (announced) {
            relay_says(&(kith_relay_message){.type = KITH_RELAY_RESTARTING, .restarting = {.after_ms = 3000}});
            hear(KITH_RELAY_EVENT_RESTARTING);
        }
        kith_relay_client_ended(client, KITH_ERR_CLOSED, now);
        for (;;) {
            pass_to_deadline();
            if (!hear(KITH_RELAY_EVENT_DIAL)) continue;
            if (now - start >= back_ns) break;
            failed++;
            kith_relay_client_ended(client, KITH_ERR_UNREACHABLE, now);
        }
        size_t second = (size_t)((now - start) / S);
        assert_true(second < seconds);
        arrivals[second]++;
        kith_relay_client_free(client);
    }
    return failed;
}

static unsigned peak(const unsigned *arrivals, size_t seconds)
{
    unsigned most = 0;
    for (size_t i = 0; i < seconds; i++)
        if (arrivals[i] > most) most = arrivals[i];
    return most;
}

#define EVEN_PER_S (CLIENTS / (KITH_RELAY_SPREAD_NS / S)) /* 1,000: what an even spread makes */
#define FLAT       5 / 4                                  /* and a quarter more for chance */

static void ten_thousand_come_back_spread_out(void **state)
{
    (void)state;
    static unsigned arrivals[600];
    end_client(state);
    /* It is back at once: each of ten seconds has its tenth. */
    assert_int_equal(storm(false, 0, arrivals, 600), 0);
    for (unsigned i = 0; i < KITH_RELAY_SPREAD_NS / S; i++)
        assert_in_range(arrivals[i], EVEN_PER_S * 3 / 4, EVEN_PER_S * FLAT);
    unsigned at_once = peak(arrivals, 600);
    /* It said so before. */
    assert_int_equal(storm(true, 0, arrivals, 600), 0);
    for (unsigned i = 0; i < 3; i++) assert_int_equal(arrivals[i], 0);
    for (unsigned i = 3; i < 13; i++) assert_in_range(arrivals[i], EVEN_PER_S * 3 / 4, EVEN_PER_S * FLAT);
    unsigned told = peak(arrivals, 600);
    /* It is away for longer: never more in a second, and the longer it takes the fewer, as the attempts are. */
    static const unsigned away_s[] = {5, 10, 30, 120, 300};
    printf("peak of arrivals a second: %u at once, %u announced", at_once, told);
    for (size_t i = 0; i < 5; i++) {
        size_t failed = storm(false, away_s[i] * S, arrivals, 600);
        unsigned most = peak(arrivals, 600);
        printf(", %u after %u s (%.1f attempts each)", most, away_s[i], (double)failed / CLIENTS);
        assert_true(most <= EVEN_PER_S * FLAT);
        if (away_s[i] >= 120) assert_true(most <= EVEN_PER_S / 4);
        assert_true(failed <= CLIENTS * 12);
    }
    printf("\n");
    start_client(state);
}

static int body(void *argument)
{
    (void)argument;
    kith_relay_client_config config = {.authority = "relay.example"};
    kith_relay_client *c;
    uint32_t session;
    uint8_t target[KITH_RELAY_FINGERPRINT_SIZE] = {0};
    kith_err err = kith_relay_client_new(&config, &c);
    if (err) return err;
    kith_relay_client *before = client;
    client = c;
    now = S;
    hear(KITH_RELAY_EVENT_DIAL);
    kith_relay_client_connected(c, &nowhere, now);
    relay_challenges();
    hear(KITH_RELAY_EVENT_SIGN);
    kith_relay_client_signed(c, signature);
    relay_registers(&usual_limits);
    err = kith_relay_client_connect(c, target, NULL, NULL, 0, NULL, &session);
    size_t size;
    if (!err && (!kith_relay_client_output(c, &size) || size < 100)) err = KITH_ERR_NOMEM; /* REGISTER, lost */
    kith_relay_client_sent(c);
    if (!err && (!kith_relay_client_output(c, &size) || size > 20)) err = KITH_ERR_NOMEM; /* PING, lost */
    kith_relay_client_free(c);
    client = before;
    return err;
}

static void out_of_memory(void **state)
{
    (void)state;
    test_every_allocation(body, NULL);
}

static void bad_configurations(void **state)
{
    (void)state;
    char authority[KITH_RELAY_AUTHORITY_MAX + 2];
    uint8_t token[1] = {0};
    kith_relay_client *c = NULL;
    memset(authority, 'a', sizeof authority - 1);
    authority[sizeof authority - 1] = 0;
    assert_int_equal(kith_relay_client_new(&(kith_relay_client_config){.authority = NULL}, &c), KITH_ERR_ARG);
    assert_int_equal(kith_relay_client_new(&(kith_relay_client_config){.authority = ""}, &c), KITH_ERR_ARG);
    assert_int_equal(kith_relay_client_new(&(kith_relay_client_config){.authority = authority}, &c), KITH_ERR_ARG);
    kith_relay_client_config long_token = {.authority = "a", .token = token, .token_size = KITH_RELAY_TOKEN_MAX + 1};
    assert_int_equal(kith_relay_client_new(&long_token, &c), KITH_ERR_ARG);
    assert_null(c);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, start_client, end_client)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(registering),
        CASE(nothing_is_taken_out_of_order),
        CASE(garbage_ends_it_and_unknown_types_do_not),
        CASE(a_silent_relay_is_given_up),
        CASE(latency_is_measured),
        CASE(pings_come_within_the_relays_idle_time),
        CASE(a_relay_does_not_keep_us_busy),
        CASE(a_relay_that_does_not_answer_is_lost),
        CASE(a_relay_that_is_doubted),
        CASE(a_far_relay_that_is_doubted),
        CASE(one_whose_packets_wait_comes_back_soon),
        CASE(who_may_not_come_is_not_needed),
        CASE(one_that_talks_is_not),
        CASE(failures_in_a_row_are_spread_wider),
        CASE(one_that_lasted_starts_again),
        CASE(a_kick_comes_back_at_once),
        CASE(a_kick_asks_whether_it_is_still_there),
        CASE(what_ends_after_a_kick_comes_back_at_once),
        CASE(a_kick_gives_up_what_was_dialled_before),
        CASE(one_that_is_needed_comes_back_sooner),
        CASE(who_is_asked_to_wait_waits),
        CASE(a_relay_cannot_send_us_away_for_ever),
        CASE(refusals_are_not_repeated_soon),
        CASE(restarting),
        CASE(ten_thousand_come_back_spread_out),
        CASE(out_of_memory),
        CASE(bad_configurations),
    };
    return cmocka_run_group_tests_name("path/relay_client", tests, NULL, NULL);
}
