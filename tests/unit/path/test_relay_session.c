/* Sessions, packets, mailboxes and the UDP leg of a relay's client. */
#include "relay_test.h"

static uint8_t target[KITH_RELAY_FINGERPRINT_SIZE] = {0xaa, 1}, other_instance[KITH_RELAY_INSTANCE_SIZE] = {0xbb, 2};
static uint8_t buffer[KITH_RELAY_CLIENT_BUFFER], bytes[KITH_PACKET_RUN_MAX];
static const uint8_t id_a[KITH_RELAY_UDP_ID_SIZE] = {0xa0, 1}, id_b[KITH_RELAY_UDP_ID_SIZE] = {0xb0, 2};

static kith_packet run_of(size_t size, size_t segment)
{
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(i * 7 + i / 251);
    return (kith_packet){.data = bytes, .size = size, .segment = segment};
}

static int registered(void **state)
{
    start_client(state);
    register_with(&nowhere, &usual_limits);
    relay_pongs();
    hear(KITH_RELAY_EVENT_REGISTERED);
    return 0;
}

static kith_addr udp_addr(void)
{
    kith_addr addr;
    assert_ok(kith_addr_parse("203.0.113.1:443", &addr));
    return addr;
}

static int registered_with_udp(void **state)
{
    kith_addr addr = udp_addr();
    start_client(state);
    register_with(&addr, &usual_limits);
    relay_pongs();
    hear(KITH_RELAY_EVENT_REGISTERED);
    return 0;
}

static uint32_t connect_to(const kith_packet *offer)
{
    uint32_t session = 0;
    assert_ok(kith_relay_client_connect(client, target, other_instance, NULL, 0, offer, &session));
    return session;
}

static void relay_says_gone(uint32_t session, uint64_t reason)
{
    relay_says(&(kith_relay_message){.type = KITH_RELAY_GONE, .session = session, .gone = {.reason = reason}});
}

static void relay_sends(uint32_t session, const kith_packet *run)
{
    relay_says(&(kith_relay_message){
        .type = KITH_RELAY_DATA, .session = session, .run = {run->data, run->size, run->segment}});
}

static void relay_connected(uint32_t session, const uint8_t *id)
{
    relay_says(&(kith_relay_message){.type = KITH_RELAY_CONNECTED, .session = session, .connected = {.udp_id = id}});
}

static void relay_brings(uint32_t session, const uint8_t *id, const kith_packet *offer)
{
    kith_relay_message message = {.type = KITH_RELAY_INCOMING,
                                  .session = session,
                                  .incoming = {.from = target, .from_instance = other_instance, .udp_id = id}};
    if (offer) message.run = (kith_relay_run){offer->data, offer->size, offer->segment};
    relay_says(&message);
}

#define THEIRS(n) (KITH_RELAY_SESSION_OF_RELAY | (n))

/* ---- sessions ---- */

static void connecting_with_an_offer(void **state)
{
    (void)state;
    kith_packet offer = run_of(2500, 1200), too_large = run_of(KITH_RELAY_OFFER_MAX + 1, 1200);
    uint32_t session = connect_to(&offer), second;
    kith_relay_message message = client_said(KITH_RELAY_CONNECT);
    assert_int_equal(message.session, session);
    assert_memory_equal(message.connect.target, target, sizeof target);
    assert_memory_equal(message.connect.target_instance, other_instance, sizeof other_instance);
    assert_int_equal(message.run.size, 2500);
    assert_int_equal(message.run.segment, 1200);
    assert_memory_equal(message.run.data, bytes, 2500);
    assert_int_equal(kith_relay_client_connect(client, target, NULL, NULL, 0, &too_large, &second), KITH_ERR_ARG);
    second = connect_to(NULL);
    assert_true(second != session && second < KITH_RELAY_SESSION_OF_RELAY);
    assert_null(client_said(KITH_RELAY_CONNECT).run.data);
    relay_connected(session, id_a);
    relay_says_gone(session, KITH_RELAY_GONE_UNREACHABLE);
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_GONE);
    assert_int_equal(event->session, session);
    assert_int_equal(event->code, KITH_RELAY_GONE_UNREACHABLE);
    relay_says_gone(session, KITH_RELAY_GONE_ENDED); /* known already */
    assert_null(hear(KITH_RELAY_EVENT_GONE));
}

static void incoming(void **state)
{
    (void)state;
    kith_packet offer = run_of(1200, 1200);
    relay_brings(THEIRS(5), id_b, &offer);
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_INCOMING);
    assert_int_equal(event->session, THEIRS(5));
    assert_memory_equal(event->from, target, sizeof target);
    assert_memory_equal(event->from_instance, other_instance, sizeof other_instance);
    assert_int_equal(event->offer.size, 1200);
    assert_memory_equal(event->offer.data, bytes, 1200);
    kith_relay_client_end(client, THEIRS(5), true);
    kith_relay_message message = client_said(KITH_RELAY_GONE);
    assert_int_equal(message.session, THEIRS(5));
    assert_int_equal(message.gone.reason, KITH_RELAY_GONE_UNREACHABLE);
    kith_relay_client_end(client, THEIRS(5), false); /* once */
    assert_true(client_is_silent());
}

static void more_than_there_is_room_for(void **state)
{
    (void)state;
    uint32_t session;
    for (unsigned i = 0; i < usual_limits.sessions; i++) {
        connect_to(NULL);
        client_said(KITH_RELAY_CONNECT);
    }
    assert_int_equal(kith_relay_client_connect(client, target, NULL, NULL, 0, NULL, &session), KITH_ERR_LIMIT);
    for (unsigned i = 0; i < KITH_RELAY_CLIENT_INCOMING; i++) {
        relay_brings(THEIRS(i), id_b, NULL);
        assert_non_null(hear(KITH_RELAY_EVENT_INCOMING));
    }
    relay_brings(THEIRS(1000), id_b, NULL);
    assert_null(hear(KITH_RELAY_EVENT_INCOMING));
    assert_int_equal(client_said(KITH_RELAY_GONE).gone.reason, KITH_RELAY_GONE_UNREACHABLE);
    relay_says_gone(1, KITH_RELAY_GONE_ENDED); /* theirs do not keep us from opening ours */
    connect_to(NULL);
}

/* A relay that names sessions as it must not. */
static void lies_about_sessions_end_it(void **state)
{
    for (int i = 0; i < 4; i++) {
        if (i) registered(state);
        switch (i) {
        case 0: relay_brings(7, id_a, NULL); break; /* ours to name */
        case 1:
            relay_brings(THEIRS(1), id_a, NULL);
            relay_brings(THEIRS(1), id_b, NULL);
            break;
        case 2: {
            uint32_t session = connect_to(NULL);
            relay_connected(session, id_a);
            relay_connected(session, id_b);
            break;
        }
        default:
            relay_brings(THEIRS(1), id_a, NULL);
            relay_connected(THEIRS(1), id_b);
            break;
        }
        const kith_relay_event *lost = hear(KITH_RELAY_EVENT_LOST);
        if (!lost) fail_msg("case %d", i);
        assert_int_equal(lost->why, KITH_ERR_PROTOCOL);
        if (i < 3) end_client(state);
    }
}

static void an_end_forgets_all(void **state)
{
    (void)state;
    kith_packet run = run_of(1200, 1200);
    kith_relay_send send;
    uint32_t session = connect_to(NULL);
    kith_relay_client_ended(client, KITH_ERR_LOST, now);
    assert_int_equal(hear(KITH_RELAY_EVENT_LOST)->why, KITH_ERR_LOST);
    assert_true(client_is_silent()); /* what waited is not said to the next one */
    assert_int_equal(kith_relay_client_data(client, session, &run, buffer, &send), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_relay_client_connect(client, target, NULL, NULL, 0, NULL, &session), KITH_ERR_STATE);
    relay_sends(session, &run);
    assert_null(data.data);
}

static void limited_sessions_are_over(void **state)
{
    (void)state;
    uint32_t session = connect_to(NULL);
    relay_says(&(kith_relay_message){
        .type = KITH_RELAY_RATE_LIMITED,
        .session = session,
        .rate_limited = {.limit = KITH_RELAY_LIMIT_SESSIONS, .retry_after_ms = 1000, .has_session = true}});
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_LIMITED);
    assert_int_equal(event->session, session);
    assert_in_range(event->at_ns - now, S, 2 * S);
    assert_true(kith_relay_client_is_registered(client));
    kith_packet run = run_of(10, 10);
    kith_relay_send send;
    assert_int_equal(kith_relay_client_data(client, session, &run, buffer, &send), KITH_ERR_NOT_FOUND);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    kith_packet offer = run_of(KITH_RELAY_OFFER_MAX, 1200);
    uint8_t ping[8] = {0};
    for (unsigned i = 0; i < 100000; i++) /* of a relay that asks and does not read */
        relay_says(&(kith_relay_message){.type = KITH_RELAY_PING, .ping = {.bytes = ping}});
    uint32_t session;
    assert_int_equal(kith_relay_client_connect(client, target, NULL, NULL, 0, &offer, &session), KITH_ERR_LIMIT);
    size_t all = 0, size;
    while (kith_relay_client_output(client, &size)) {
        all += size;
        kith_relay_client_sent(client);
    }
    assert_true(all <= KITH_RELAY_CLIENT_QUEUE_MAX);
    connect_to(&offer);
}

/* ---- mailboxes ---- */

static void mailboxes(void **state)
{
    (void)state;
    uint32_t session;
    assert_ok(kith_relay_client_mailbox_open(client, 12345));
    assert_int_equal(client_said(KITH_RELAY_MAILBOX_OPEN).tag, 12345);
    relay_says(
        &(kith_relay_message){.type = KITH_RELAY_MAILBOX, .tag = 12345, .mailbox = {KITH_RELAY_MAILBOX_STATE_TAKEN}});
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_MAILBOX);
    assert_int_equal(event->tag, 12345);
    assert_int_equal(event->code, KITH_RELAY_MAILBOX_STATE_TAKEN);
    assert_ok(kith_relay_client_mailbox_close(client, 12345));
    assert_int_equal(client_said(KITH_RELAY_MAILBOX_CLOSE).tag, 12345);
    kith_packet offer = run_of(1200, 1200);
    assert_ok(kith_relay_client_mailbox_connect(client, 777, &offer, &session));
    kith_relay_message message = client_said(KITH_RELAY_MAILBOX_CONNECT);
    assert_int_equal(message.tag, 777);
    assert_int_equal(message.session, session);
    assert_int_equal(message.run.size, 1200);
    assert_int_equal(kith_relay_client_mailbox_open(client, KITH_RELAY_TAG_MAX + 1), KITH_ERR_ARG);
    assert_int_equal(kith_relay_client_mailbox_connect(client, KITH_RELAY_TAG_MAX + 1, NULL, &session), KITH_ERR_ARG);
}

/* ---- packets over the WebSocket ---- */

/* The run comes out of the sends, in order. */
static unsigned sends_of(uint32_t session, kith_packet run, bool udp)
{
    unsigned count = 0;
    while (run.size) {
        kith_relay_send send;
        kith_relay_message message;
        assert_ok(kith_relay_client_data(client, session, &run, buffer, &send));
        assert_int_equal(send.udp, udp);
        assert_true(send.taken > 0 && send.taken <= run.size && send.size <= KITH_RELAY_CLIENT_BUFFER);
        if (udp) {
            size_t at = 0;
            assert_true(send.size <= KITH_PACKET_RUN_MAX);
            for (size_t i = 0; i < send.size; i += send.segment) {
                size_t size = send.size - i < send.segment ? send.size - i : send.segment;
                assert_memory_equal(kith_relay_read_packet_head(send.data + i, size), id_a, sizeof id_a);
                assert_memory_equal(send.data + i + KITH_RELAY_PACKET_HEAD, run.data + at,
                                    size - KITH_RELAY_PACKET_HEAD);
                at += size - KITH_RELAY_PACKET_HEAD;
            }
            assert_int_equal(at, send.taken);
        } else {
            assert_ok(kith_relay_read(send.data, send.size, &message));
            assert_int_equal(message.session, session);
            assert_int_equal(message.run.size, send.taken);
            assert_memory_equal(message.run.data, run.data, send.taken);
        }
        assert_true(send.taken == run.size || send.taken % run.segment == 0);
        run.data += send.taken;
        run.size -= send.taken;
        if (run.segment > run.size) run.segment = run.size;
        count++;
    }
    return count;
}

static void packets_go_as_messages(void **state)
{
    (void)state;
    uint32_t session = connect_to(NULL);
    assert_int_equal(sends_of(session, run_of(1, 1), false), 1);
    assert_int_equal(sends_of(session, run_of(KITH_PACKET_RUN_MAX, KITH_PACKET_RUN_MAX), false), 1);
    assert_int_equal(sends_of(session, run_of(64 * 1000, 1000), false), 1);
    assert_int_equal(sends_of(session, run_of(64 * 1000 - 1, 1000), false), 1);
    kith_packet bad = run_of(100, 1); /* more packets than a run has */
    kith_relay_send send;
    assert_int_equal(kith_relay_client_data(client, session, &bad, buffer, &send), KITH_ERR_ARG);
}

static void messages_keep_to_the_relays_limit(void **state)
{
    kith_relay_limits limits = usual_limits;
    kith_relay_send send;
    end_client(state);
    start_client(state);
    limits.message_bytes = KITH_RELAY_CONTROL_MAX;
    register_with(&nowhere, &limits);
    uint32_t session = connect_to(NULL);
    assert_int_equal(sends_of(session, run_of(30000, 1350), false), 4); /* six of 8,100 bytes each, and the rest */
    kith_packet large = run_of(9000, 9000);
    assert_int_equal(kith_relay_client_data(client, session, &large, buffer, &send), KITH_ERR_LIMIT);
}

static void packets_come_in_place(void **state)
{
    (void)state;
    uint32_t session = connect_to(NULL);
    kith_packet run = run_of(12345, 1350);
    relay_sends(session, &run);
    assert_int_equal(data.session, session);
    assert_int_equal(data.size, 12345);
    assert_int_equal(data.segment, 1350);
    assert_memory_equal(data.data, bytes, 12345);
    relay_sends(session + 1, &run); /* of one that is over */
    assert_null(data.data);
    assert_true(kith_relay_client_is_registered(client));
}

/* ---- UDP ---- */

static uint64_t counter; /* of the last BIND */

static bool client_binds(void)
{
    uint8_t bind[KITH_RELAY_BIND_SIZE];
    if (!kith_relay_client_bind(client, bind)) return false;
    uint64_t before = counter;
    const uint8_t *key = kith_relay_read_bind(bind, sizeof bind, &counter);
    assert_non_null(key);
    assert_memory_equal(key, udp_key, sizeof udp_key);
    assert_true(counter > before || before == 0);
    return true;
}

static void relay_sees(uint64_t with, const char *address)
{
    uint8_t bound[KITH_RELAY_BOUND_MAX];
    kith_addr observed;
    assert_ok(kith_addr_parse(address, &observed));
    size_t size = kith_relay_write_bound(with, &observed, bound);
    kith_relay_client_datagram(client, bound, size, now, &data);
}

static void relay_is_bound(uint64_t with) { relay_sees(with, "198.51.100.9:5555"); }

static void bind_udp(void)
{
    counter = 0;
    assert_true(client_binds());
    assert_false(client_binds());
    relay_is_bound(counter);
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_UDP);
    assert_true(event && event->on);
    char text[KITH_ADDR_TEXT_SIZE];
    assert_string_equal(kith_addr_text(&event->observed, text), "198.51.100.9:5555");
    assert_true(kith_relay_client_uses_udp(client));
}

static void udp_is_used_once_it_answers(void **state)
{
    (void)state;
    uint32_t session = connect_to(NULL);
    sends_of(session, run_of(5000, 1350), false);
    bind_udp();
    sends_of(session, run_of(5000, 1350), false); /* no id yet */
    relay_connected(session, id_a);
    assert_int_equal(sends_of(session, run_of(1350, 1350), true), 1);
    assert_int_equal(sends_of(session, run_of(5000, 1350), true), 1);
    assert_int_equal(sends_of(session, run_of(64 * 1010, 1010), true), 2); /* its heads do not fit */
    sends_of(session, run_of(64999, 64999), false);
}

static void datagrams_find_their_session(void **state)
{
    (void)state;
    uint8_t datagram[KITH_RELAY_PACKET_HEAD + 100];
    uint32_t session = connect_to(NULL);
    relay_connected(session, id_a);
    relay_brings(THEIRS(3), id_b, NULL);
    for (int i = 0; i < 3; i++) {
        static const uint8_t unknown[KITH_RELAY_UDP_ID_SIZE] = {0xc0};
        const uint8_t *ids[] = {id_a, id_b, unknown};
        kith_relay_write_packet_head(ids[i], datagram);
        memset(datagram + KITH_RELAY_PACKET_HEAD, i, 100);
        kith_relay_client_datagram(client, datagram, sizeof datagram, now, &data);
        assert_int_equal(data.session, i == 0 ? session : i == 1 ? THEIRS(3) : 0);
        assert_true((data.data != NULL) == (i < 2));
        if (i < 2) assert_int_equal(data.size, 100);
        if (i < 2) assert_int_equal(data.data[99], i);
    }
    for (size_t size = 0; size <= KITH_RELAY_PACKET_HEAD; size++) {
        kith_relay_client_datagram(client, datagram, size, now, &data);
        assert_null(data.data);
    }
}

/* Who can send from the relay's address, but sees nothing of what we send there. */
static void who_saw_no_bind_answers_none(void **state)
{
    (void)state;
    counter = 0;
    assert_true(client_binds());
    for (uint64_t guess = 0; guess < 10000; guess++) relay_is_bound(guess);
    assert_false(kith_relay_client_uses_udp(client));
}

static void only_answers_to_what_was_asked_count(void **state)
{
    (void)state;
    counter = 0;
    assert_true(client_binds());
    relay_is_bound(counter + 1);
    relay_is_bound(0);
    assert_false(kith_relay_client_uses_udp(client));
    relay_is_bound(counter);
    assert_true(kith_relay_client_uses_udp(client));
}

static void udp_that_never_answers(void **state)
{
    (void)state;
    unsigned binds = 0;
    uint64_t start = now, first_round = 0;
    counter = 0;
    while (now < start + 3600 * S) {
        if (client_binds()) binds++;
        if (binds == KITH_RELAY_BIND_TRIES && !first_round) first_round = now - start;
        if (!client_is_silent()) relay_pongs();
        pass_to_deadline();
        assert_null(hear(KITH_RELAY_EVENT_LOST));
    }
    assert_false(kith_relay_client_uses_udp(client));
    assert_true(first_round < 4 * S);
    assert_in_range(binds, 4 * KITH_RELAY_BIND_TRIES, 10 * KITH_RELAY_BIND_TRIES); /* in an hour */
}

/* Kept alive while it answers; when it stops packets go over the WebSocket, and come back to UDP later. */
static void udp_that_stops(void **state)
{
    (void)state;
    uint32_t session = connect_to(NULL);
    client_said(KITH_RELAY_CONNECT);
    relay_connected(session, id_a);
    bind_udp();
    for (int i = 0; i < 20;) { /* kept alive, within what NATs allow and relays */
        uint64_t before = now;
        pass_to_deadline();
        if (!client_is_silent()) relay_pongs();
        if (!client_binds()) continue;
        assert_true(now - before <= KITH_RELAY_BIND_KEEP_NS);
        relay_is_bound(counter);
        i++;
    }
    sends_of(session, run_of(5000, 1350), true);
    uint64_t silent = now;
    while (kith_relay_client_uses_udp(client)) {
        pass_to_deadline();
        if (!client_is_silent()) relay_pongs();
        (void)client_binds();
    }
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_UDP);
    assert_true(event && !event->on);
    assert_true(now - silent <= KITH_RELAY_BIND_KEEP_NS + 7 * S);
    sends_of(session, run_of(5000, 1350), false);
    while (!client_binds()) {
        pass_to_deadline();
        if (!client_is_silent()) relay_pongs();
    }
    relay_is_bound(counter);
    assert_true(kith_relay_client_uses_udp(client));
}

static void doubts_and_kicks(void **state)
{
    (void)state;
    uint32_t session = connect_to(NULL);
    relay_connected(session, id_a);
    bind_udp();
    uint64_t old = counter;
    kith_relay_client_doubt(client, now);
    assert_false(kith_relay_client_uses_udp(client));
    sends_of(session, run_of(5000, 1350), false);
    assert_true(client_binds());
    relay_is_bound(old); /* of before we doubted */
    assert_false(kith_relay_client_uses_udp(client));
    relay_is_bound(counter);
    assert_true(kith_relay_client_uses_udp(client));
    kith_relay_client_kick(client, now);
    assert_true(client_binds());
}

/* Behind another NAT, say: where others may reach us is news. */
static void another_address_is_told(void **state)
{
    (void)state;
    char text[KITH_ADDR_TEXT_SIZE];
    bind_udp();
    kith_relay_client_kick(client, now);
    assert_true(client_binds());
    relay_is_bound(counter);
    assert_null(hear(KITH_RELAY_EVENT_UDP));
    kith_relay_client_kick(client, now);
    assert_true(client_binds());
    relay_sees(counter, "203.0.113.4:1024");
    const kith_relay_event *event = hear(KITH_RELAY_EVENT_UDP);
    assert_true(event && event->on);
    assert_string_equal(kith_addr_text(&event->observed, text), "203.0.113.4:1024");
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, registered, end_client)
#define UDP(function)  cmocka_unit_test_setup_teardown(function, registered_with_udp, end_client)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(connecting_with_an_offer),
        CASE(incoming),
        CASE(more_than_there_is_room_for),
        CASE(lies_about_sessions_end_it),
        CASE(an_end_forgets_all),
        CASE(limited_sessions_are_over),
        CASE(the_queue_is_bounded),
        CASE(mailboxes),
        CASE(packets_go_as_messages),
        CASE(messages_keep_to_the_relays_limit),
        CASE(packets_come_in_place),
        UDP(udp_is_used_once_it_answers),
        UDP(datagrams_find_their_session),
        UDP(only_answers_to_what_was_asked_count),
        UDP(who_saw_no_bind_answers_none),
        UDP(udp_that_never_answers),
        UDP(udp_that_stops),
        UDP(doubts_and_kicks),
        UDP(another_address_is_told),
    };
    return cmocka_run_group_tests_name("path/relay_session", tests, NULL, NULL);
}
