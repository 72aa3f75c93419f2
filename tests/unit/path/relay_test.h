/* A relay of the codec's, as small as the client's tests need it: it registers who signs, and says what it is told to.
 */
#ifndef KITH_RELAY_TEST_H
#define KITH_RELAY_TEST_H

#include "base/mem.h"
#include "path/relay_client.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static const uint8_t nonce[KITH_RELAY_NONCE_SIZE] = {1, 2, 3};
static const uint8_t udp_key[KITH_RELAY_UDP_KEY_SIZE] = {4, 5, 6};
static const uint8_t signature[KITH_RELAY_SIGNATURE_SIZE] = {7, 8, 9};
static const kith_relay_limits usual_limits = {.sessions = 8,
                                               .bytes_per_second = 1000000,
                                               .idle_ms = 60000,
                                               .session_idle_ms = 60000,
                                               .udp_stale_ms = 60000,
                                               .mailboxes = 4,
                                               .mailbox_ms = 300000,
                                               .message_bytes = KITH_RELAY_MESSAGE_MAX};

static kith_relay_client *client;
static uint64_t now;
static kith_relay_data data;
static kith_relay_event last[32]; /* what was said since `hear` was called last */
static size_t last_count;
static const kith_addr nowhere;

static inline kith_relay_client *new_client(uint64_t seed)
{
    kith_relay_client_config config = {.authority = "relay.example", .seed = seed};
    kith_relay_client *c;
    memset(config.device_id, 0x11, sizeof config.device_id);
    memset(config.public_key, 0x22, sizeof config.public_key);
    memset(config.instance, 0x33, sizeof config.instance);
    config.token = (const uint8_t *)"token";
    config.token_size = 5;
    assert_ok(kith_relay_client_new(&config, &c));
    return c;
}

/* Take all events; the one of this kind, or NULL. */
static inline const kith_relay_event *hear(kith_relay_event_kind kind)
{
    const kith_relay_event *found = NULL;
    for (last_count = 0; last_count < 32 && kith_relay_client_event(client, &last[last_count]); last_count++)
        if (last[last_count].kind == kind) found = &last[last_count];
    return found;
}

/* The relay says this. */
static inline void relay_says(const kith_relay_message *message)
{
    static uint8_t bytes[KITH_RELAY_MESSAGE_MAX];
    size_t size = kith_relay_write(message, bytes, sizeof bytes);
    assert_true(size > 0);
    kith_relay_client_input(client, bytes, size, now, &data);
}

/* The client's next message; fails when there is none of this type. */
static inline kith_relay_message client_said(kith_relay_type type)
{
    static uint8_t bytes[KITH_RELAY_MESSAGE_MAX];
    kith_relay_message message;
    size_t size;
    const uint8_t *out = kith_relay_client_output(client, &size);
    assert_non_null(out);
    memcpy(bytes, out, size);
    kith_relay_client_sent(client);
    assert_ok(kith_relay_read(bytes, size, &message));
    assert_int_equal(message.type, type);
    return message;
}

static inline bool client_is_silent(void)
{
    size_t size;
    return kith_relay_client_output(client, &size) == NULL;
}

static inline void relay_challenges(void)
{
    relay_says(&(kith_relay_message){.type = KITH_RELAY_CHALLENGE,
                                     .challenge = {.nonce = nonce, .version = KITH_RELAY_VERSION}});
}

static inline void relay_registers(const kith_relay_limits *limits)
{
    kith_addr observed;
    assert_ok(kith_addr_parse("192.0.2.7:1234", &observed));
    relay_says(&(kith_relay_message){.type = KITH_RELAY_REGISTERED,
                                     .registered = {.observed = observed,
                                                    .udp_key = udp_key,
                                                    .limits = *limits,
                                                    .software = {"test", 4},
                                                    .unix_ms = 1234567890123}});
}

/* From DIAL, which is taken, to registered; the first ping waits to be sent. */
static inline void register_with(const kith_addr *udp, const kith_relay_limits *limits)
{
    assert_non_null(hear(KITH_RELAY_EVENT_DIAL));
    kith_relay_client_connected(client, udp, now);
    relay_challenges();
    assert_non_null(hear(KITH_RELAY_EVENT_SIGN));
    kith_relay_client_signed(client, signature);
    client_said(KITH_RELAY_REGISTER);
    relay_registers(limits);
    assert_true(kith_relay_client_is_registered(client));
}

static inline void relay_pongs(void)
{
    kith_relay_message ping = client_said(KITH_RELAY_PING);
    relay_says(&(kith_relay_message){.type = KITH_RELAY_PONG, .ping = ping.ping});
}

static inline void pass_to_deadline(void)
{
    uint64_t at = kith_relay_client_deadline_ns(client);
    assert_true(at != UINT64_MAX);
    if (at > now) now = at;
    kith_relay_client_expire(client, now);
}

static inline int start_client(void **state)
{
    (void)state;
    now = 1000 * S;
    client = new_client(42);
    return 0;
}

static inline int end_client(void **state)
{
    (void)state;
    kith_relay_client_free(client);
    assert_int_equal(kith_mem_live(), 0);
    return 0;
}

#endif
