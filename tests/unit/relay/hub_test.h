/* A hub in virtual time, and clients of it that register and say things. */
#ifndef KITH_HUB_TEST_H
#define KITH_HUB_TEST_H

#include "base/mem.h"
#include "crypto/keys.h"
#include "identity/fingerprint.h"
#include "relay/hub.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS        UINT64_C(1000000)
#define AUTHORITY "relay.example:4433"
#define HEADROOM  16

typedef struct peer {
    kith_hub_client *client;
    uint8_t seed[32], uuid[16], instance[8], public_key[32], fingerprint[32];
    uint8_t nonce[32], udp_key[16], udp_id[8];
    kith_relay_limits limits;
    kith_addr observed;
    uint8_t got[KITH_RELAY_MESSAGE_MAX]; /* the last message taken, that `m` points into */
    kith_relay_message m;
} peer;

static kith_hub *hub;
static kith_relay_settings settings;
static uint64_t now;

static inline kith_addr addr_of(const char *text)
{
    kith_addr a;
    assert_ok(kith_addr_parse(text, &a));
    return a;
}

static inline void hub_start(void)
{
    static const uint8_t seed[KITH_HUB_SEED_SIZE] = {1};
    now = 1000 * MS;
    assert_ok(kith_crypto_init());
    assert_ok(kith_hub_new(
        &(kith_hub_config){.settings = &settings, .seed = seed, .software = "test", .headroom = HEADROOM}, &hub));
}

/* Each test begins with a hub of the default settings, which it may set otherwise, and leaves nothing behind. */
static inline int hub_setup(void **state)
{
    (void)state;
    kith_relay_settings_default(&settings);
    kith_mem_fail_at(0, false);
    hub_start();
    return 0;
}

static inline int hub_teardown(void **state)
{
    (void)state;
    kith_hub_free(hub);
    hub = NULL;
    if (kith_mem_live() != 0) fail_msg("%lld blocks left", (long long)kith_mem_live());
    return 0;
}

static inline const kith_hub_stats *stats(void) { return kith_hub_stats_of(hub); }

static inline void advance(uint64_t ms)
{
    uint64_t end = now + ms * MS;
    while (kith_hub_deadline_ns(hub) <= end) {
        uint64_t due = kith_hub_deadline_ns(hub);
        if (due > now) now = due;
        kith_hub_expire(hub, now);
        assert_true(kith_hub_deadline_ns(hub) > now); /* what was due is done */
    }
    now = end;
}

/* The next message for it; false: none. */
static inline bool take(peer *p)
{
    uint8_t *data;
    size_t size;
    if (!kith_hub_output(p->client, &data, &size)) return false;
    memset(data - HEADROOM, 0xee, HEADROOM);
    assert_true(size <= sizeof p->got);
    memcpy(p->got, data, size);
    kith_hub_sent(p->client, now);
    assert_ok(kith_relay_read(p->got, size, &p->m));
    return true;
}

#define expect(p, what) assert_true(take(p) && (p)->m.type == (what))
#define quiet(p)        assert_false(take(p))

static inline void say(peer *p, const kith_relay_message *m)
{
    static uint8_t out[KITH_RELAY_MESSAGE_MAX];
    size_t size = kith_relay_write(m, out, sizeof out);
    assert_true(size > 0);
    kith_hub_input(p->client, out, size, 0, true, now);
}

static inline kith_err reach(peer *p, const char *from)
{
    kith_addr a = addr_of(from);
    return kith_hub_accept(hub, &a, p, now, &p->client);
}

/* Connected, and challenged. */
static inline void arrive(peer *p, unsigned number, const char *from, const char *authority)
{
    memset(p, 0, sizeof *p);
    p->seed[0] = p->uuid[0] = (uint8_t)number;
    p->seed[1] = p->uuid[1] = (uint8_t)(number >> 8);
    p->instance[0] = 1;
    kith_ed25519_public(p->seed, p->public_key);
    kith_fingerprint(p->uuid, p->public_key, p->fingerprint);
    assert_ok(reach(p, from));
    assert_ptr_equal(kith_hub_user(p->client), p);
    kith_hub_start(p->client, authority, now);
    expect(p, KITH_RELAY_CHALLENGE);
    memcpy(p->nonce, p->m.challenge.nonce, sizeof p->nonce);
}

static inline void say_register(peer *p, const char *authority, const char *token)
{
    uint8_t text[KITH_RELAY_SIGNED_MAX], signature[64];
    size_t size = kith_relay_signed(p->nonce, authority, p->uuid, p->instance, text);
    kith_ed25519_sign(p->seed, text, size, signature);
    say(p, &(kith_relay_message){.type = KITH_RELAY_REGISTER,
                                 .reg = {p->uuid, p->public_key, p->instance, signature, (const uint8_t *)token,
                                         token ? strlen(token) : 0}});
}

static inline void registered(peer *p)
{
    expect(p, KITH_RELAY_REGISTERED);
    memcpy(p->udp_key, p->m.registered.udp_key, sizeof p->udp_key);
    p->limits = p->m.registered.limits;
    p->observed = p->m.registered.observed;
}

static inline void enter(peer *p, unsigned number, const char *from)
{
    arrive(p, number, from, AUTHORITY);
    say_register(p, AUTHORITY, NULL);
    registered(p);
}

static inline void expect_error(peer *p, kith_relay_error code)
{
    expect(p, KITH_RELAY_ERROR);
    assert_int_equal(p->m.error.code, code);
    quiet(p);
    assert_true(kith_hub_closing(p->client) != 0);
}

static inline void expect_limited(peer *p, kith_relay_limit limit)
{
    expect(p, KITH_RELAY_RATE_LIMITED);
    assert_int_equal(p->m.rate_limited.limit, limit);
}

static inline void say_connect(peer *p, const peer *to, uint32_t session)
{
    static const uint8_t initial[1200] = {0xc0};
    say(p, &(kith_relay_message){.type = KITH_RELAY_CONNECT,
                                 .session = session,
                                 .run = {initial, sizeof initial, sizeof initial},
                                 .connect = {to->fingerprint, NULL}});
}

/* A session of `a`'s number with `b`; gives b's number. */
static inline uint32_t together(peer *a, peer *b, uint32_t session)
{
    say_connect(a, b, session);
    expect(a, KITH_RELAY_CONNECTED);
    assert_int_equal(a->m.session, session);
    memcpy(a->udp_id, a->m.connected.udp_id, sizeof a->udp_id);
    expect(b, KITH_RELAY_INCOMING);
    assert_memory_equal(b->m.incoming.from, a->fingerprint, sizeof a->fingerprint);
    assert_memory_equal(b->m.incoming.from_instance, a->instance, sizeof a->instance);
    assert_true(b->m.session & KITH_RELAY_SESSION_OF_RELAY);
    memcpy(b->udp_id, b->m.incoming.udp_id, sizeof b->udp_id);
    return b->m.session;
}

static inline void say_data(peer *p, uint32_t session, const void *data, size_t size, size_t segment)
{
    say(p, &(kith_relay_message){.type = KITH_RELAY_DATA, .session = session, .run = {data, size, segment}});
}

static inline void say_gone(peer *p, uint32_t session)
{
    say(p, &(kith_relay_message){.type = KITH_RELAY_GONE, .session = session, .gone = {1}});
}

static inline void expect_gone(peer *p, uint32_t session, kith_relay_gone reason)
{
    expect(p, KITH_RELAY_GONE);
    assert_int_equal(p->m.session, session);
    assert_int_equal(p->m.gone.reason, reason);
}

static inline void leave(peer *p)
{
    kith_hub_closed(p->client, now);
    p->client = NULL;
}

#define HUB_TEST(function) cmocka_unit_test_setup_teardown(function, hub_setup, hub_teardown)
/* With other settings: set them, then */
static inline void again(void)
{
    kith_hub_free(hub);
    hub_start();
}

#endif
