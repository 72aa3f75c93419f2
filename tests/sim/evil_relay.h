/* A relay that keeps to no rule: it speaks the codec, registers whoever signs, and then forwards as it likes, or says
 * what a test wants.  One in a world. */
#ifndef KITH_TEST_EVIL_RELAY_H
#define KITH_TEST_EVIL_RELAY_H

#include "identity/fingerprint.h"
#include "sim/sim.h"
#include "sim/sim_ws_server.h"
#include "testlib.h"
#include "wire/relay.h"

#include <stdlib.h>
#include <string.h>

#define EVIL_CLIENTS_MAX  64
#define EVIL_SESSIONS_MAX 512
#define EVIL_DELAYED_MAX  2048

typedef struct evil_client {
    kith_ws *ws; /* NULL: gone */
    bool registered;
    uint8_t fingerprint[32], instance[8];
    uint32_t last_incoming;
    unsigned connects, gones, pings;     /* that it said */
    uint8_t offer[KITH_RELAY_OFFER_MAX]; /* its last */
    size_t offer_size, offer_segment;
} evil_client;

typedef struct evil_session {
    evil_client *end[2];
    uint32_t id[2];
} evil_session;

typedef struct evil_delayed {
    evil_client *to;
    uint64_t at_ns;
    uint8_t *data;
    size_t size;
} evil_delayed;

typedef struct evil_habits { /* chances of DATA's, of 1,000 */
    unsigned drop, twice, late, flip, elsewhere, invent;
    bool mute; /* nothing is forwarded, and nobody is told */
} evil_habits;

static struct {
    kith_sim *sim;
    kith_env *env;
    kith_sim_ws_server *server;
    kith_timer *timer;
    kith_relay_limits limits;
    kith_addr observed; /* what everybody is told; NONE: the truth */
    evil_habits habits;
    evil_client clients[EVIL_CLIENTS_MAX];
    size_t client_count;
    evil_session sessions[EVIL_SESSIONS_MAX];
    size_t session_count;
    evil_delayed delayed[EVIL_DELAYED_MAX];
    unsigned flaws; /* that its habits made */
    /* What else it does with a message; false: as usual. */
    bool (*on)(evil_client *c, const kith_relay_message *message);
} evil;

static inline uint64_t evil_now(void) { return evil.env->base->now_ns(evil.env); }
static inline bool evil_chance(unsigned of_1000) { return kith_sim_random(evil.sim) % 1000 < of_1000; }

static inline void evil_bytes(evil_client *c, const void *data, size_t size)
{
    if (c->ws) (void)!evil.env->ws->send(c->ws, data, size);
}

static inline void evil_say(evil_client *c, const kith_relay_message *message)
{
    static uint8_t bytes[KITH_RELAY_MESSAGE_MAX];
    size_t size = kith_relay_write(message, bytes, sizeof bytes);
    if (size) evil_bytes(c, bytes, size);
}

static inline evil_client *evil_find(const uint8_t *fingerprint)
{
    evil_client *found = NULL;
    for (size_t i = 0; i < evil.client_count; i++) {
        evil_client *c = &evil.clients[i];
        if (c->ws && c->registered && memcmp(c->fingerprint, fingerprint, 32) == 0) found = c;
    }
    return found;
}

/* Somebody (`from`, who may be anybody at all) connects to this client; the number. */
static inline uint32_t evil_incoming(evil_client *c, const uint8_t from[static 32], const kith_relay_run *offer)
{
    static const uint8_t instance[8] = {1}, udp_id[8] = {2};
    uint32_t id = KITH_RELAY_SESSION_OF_RELAY | ++c->last_incoming;
    kith_relay_message m = {.type = KITH_RELAY_INCOMING,
                            .session = id,
                            .incoming = {.from = from, .from_instance = instance, .udp_id = udp_id}};
    if (offer) m.run = *offer;
    evil_say(c, &m);
    return id;
}

static inline void evil_gone(evil_client *c, uint32_t id, kith_relay_gone reason)
{
    evil_say(c, &(kith_relay_message){.type = KITH_RELAY_GONE, .session = id, .gone = {.reason = reason}});
}

static inline void evil_set_timer(void)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < EVIL_DELAYED_MAX; i++)
        if (evil.delayed[i].data && evil.delayed[i].at_ns < at) at = evil.delayed[i].at_ns;
    evil.env->timers->set(evil.timer, at);
}

static inline void evil_on_timer(void *user)
{
    (void)user;
    for (size_t i = 0; i < EVIL_DELAYED_MAX; i++) {
        evil_delayed *d = &evil.delayed[i];
        if (!d->data || d->at_ns > evil_now()) continue;
        evil_bytes(d->to, d->data, d->size);
        free(d->data);
        d->data = NULL;
    }
    evil_set_timer();
}

static inline void evil_later(evil_client *to, const void *data, size_t size)
{
    for (size_t i = 0; i < EVIL_DELAYED_MAX; i++) {
        evil_delayed *d = &evil.delayed[i];
        if (d->data) continue;
        *d = (evil_delayed){to, evil_now() + kith_sim_random(evil.sim) % (3 * KITH_SIM_S), malloc(size), size};
        assert_non_null(d->data);
        memcpy(d->data, data, size);
        evil_set_timer();
        return;
    }
}

/* Its packets go on, more or less. */
static inline void evil_data(evil_client *to, uint32_t id, const kith_relay_run *run)
{
    static uint8_t bytes[KITH_RELAY_MESSAGE_MAX];
    kith_relay_message m = {.type = KITH_RELAY_DATA, .session = id, .run = *run};
    const evil_habits *h = &evil.habits;
    if (evil_chance(h->elsewhere) && evil.session_count) {
        const evil_session *s = &evil.sessions[kith_sim_random(evil.sim) % evil.session_count];
        unsigned end = kith_sim_random(evil.sim) % 2;
        to = s->end[end];
        m.session = s->id[end];
        evil.flaws++;
    }
    size_t size = kith_relay_write(&m, bytes, sizeof bytes);
    if (!size || !to) return;
    uint8_t *packets = bytes + KITH_RELAY_DATA_HEAD;
    if (evil_chance(h->flip)) {
        packets[kith_sim_random(evil.sim) % run->size] ^= (uint8_t)(1 + kith_sim_random(evil.sim) % 255);
        evil.flaws++;
    }
    if (evil_chance(h->invent)) {
        for (size_t i = 0; i < run->size; i++) packets[i] = (uint8_t)kith_sim_random(evil.sim);
        evil.flaws++;
    }
    if (evil_chance(h->twice)) evil_later(to, bytes, size), evil.flaws++;
    if (evil_chance(h->drop)) {
        evil.flaws++;
    } else if (evil_chance(h->late)) {
        evil_later(to, bytes, size);
        evil.flaws++;
    } else {
        evil_bytes(to, bytes, size);
    }
}

static inline void evil_connect(evil_client *c, const kith_relay_message *m)
{
    uint8_t udp_id[8] = {3};
    evil_client *to = m->type == KITH_RELAY_CONNECT ? evil_find(m->connect.target) : NULL;
    evil_say(
        c, &(kith_relay_message){.type = KITH_RELAY_CONNECTED, .session = m->session, .connected = {.udp_id = udp_id}});
    if (!to || evil.session_count == EVIL_SESSIONS_MAX) {
        evil_gone(c, m->session, KITH_RELAY_GONE_UNREACHABLE);
        return;
    }
    evil_session *s = &evil.sessions[evil.session_count++];
    *s = (evil_session){{c, to}, {m->session, evil_incoming(to, c->fingerprint, m->run.data ? &m->run : NULL)}};
}

static inline void evil_usual(evil_client *c, const kith_relay_message *m)
{
    switch (m->type) {
    case KITH_RELAY_REGISTER: {
        static const uint8_t key[16] = {7};
        kith_addr observed = evil.observed.family ? evil.observed : evil.env->ws->remote(c->ws);
        kith_fingerprint(m->reg.device_id, m->reg.public_key, c->fingerprint);
        memcpy(c->instance, m->reg.instance, sizeof c->instance);
        c->registered = true;
        evil_say(c, &(kith_relay_message){.type = KITH_RELAY_REGISTERED,
                                          .registered = {.observed = observed, .udp_key = key, .limits = evil.limits}});
        break;
    }
    case KITH_RELAY_PING: evil_say(c, &(kith_relay_message){.type = KITH_RELAY_PONG, .ping = m->ping}); break;
    case KITH_RELAY_CONNECT:
    case KITH_RELAY_MAILBOX_CONNECT: evil_connect(c, m); break;
    case KITH_RELAY_GONE:
    case KITH_RELAY_DATA:
        for (size_t i = 0; i < evil.session_count; i++) {
            evil_session *s = &evil.sessions[i];
            for (int end = 0; end < 2; end++) {
                if (s->end[end] != c || s->id[end] != m->session) continue;
                if (m->type == KITH_RELAY_DATA)
                    evil_data(s->end[!end], s->id[!end], &m->run);
                else
                    evil_gone(s->end[!end], s->id[!end], KITH_RELAY_GONE_ENDED);
            }
        }
        break;
    default: break;
    }
}

static inline void evil_message(void *user, uint8_t *data, size_t size)
{
    evil_client *c = user;
    kith_relay_message m;
    assert_ok(kith_relay_read(data, size, &m)); /* the node itself keeps to the protocol */
    c->connects += m.type == KITH_RELAY_CONNECT || m.type == KITH_RELAY_MAILBOX_CONNECT;
    c->gones += m.type == KITH_RELAY_GONE;
    c->pings += m.type == KITH_RELAY_PING;
    if (m.type == KITH_RELAY_CONNECT && m.run.data) {
        memcpy(c->offer, m.run.data, m.run.size);
        c->offer_size = m.run.size;
        c->offer_segment = m.run.segment;
    }
    if (evil.on && evil.on(c, &m)) return;
    if (!evil.habits.mute || m.type == KITH_RELAY_REGISTER) evil_usual(c, &m);
}

static inline void evil_writable(void *user) { (void)user; }

static inline void evil_ended(void *user, kith_err why, unsigned status)
{
    evil_client *c = user;
    (void)why, (void)status;
    evil.env->ws->close(c->ws);
    c->ws = NULL;
}

static inline void evil_hang_up(evil_client *c)
{
    if (!c->ws) return;
    evil.env->ws->close(c->ws);
    c->ws = NULL;
}

static inline void evil_accepted(void *user, kith_ws *ws)
{
    static const kith_ws_events events = {NULL, evil_message, evil_writable, evil_ended};
    static const uint8_t nonce[KITH_RELAY_NONCE_SIZE] = {9};
    (void)user;
    if (evil.client_count == EVIL_CLIENTS_MAX) {
        evil.env->ws->close(ws);
        return;
    }
    evil_client *c = &evil.clients[evil.client_count++];
    *c = (evil_client){.ws = ws};
    kith_sim_ws_attach(ws, &events, c);
    evil_say(c, &(kith_relay_message){.type = KITH_RELAY_CHALLENGE,
                                      .challenge = {.nonce = nonce, .version = KITH_RELAY_VERSION}});
}

static inline void evil_start(kith_sim *sim, kith_sim_host *host)
{
    kith_sim_ws_server_options options = {.subprotocol = KITH_RELAY_SUBPROTOCOL, .certificate = "relay.example"};
    kith_addr at;
    memset(&evil, 0, sizeof evil);
    evil.sim = sim;
    evil.limits = (kith_relay_limits){.sessions = 64,
                                      .bytes_per_second = UINT64_C(1) << 30,
                                      .idle_ms = 60000,
                                      .session_idle_ms = 60000,
                                      .udp_stale_ms = 60000,
                                      .mailboxes = 4,
                                      .mailbox_ms = 300000,
                                      .message_bytes = KITH_RELAY_MESSAGE_MAX};
    assert_ok(kith_addr_parse("[::]:443", &at));
    assert_ok(kith_sim_env_new(host, &evil.env));
    evil.timer = evil.env->timers->open(evil.env, evil_on_timer, NULL);
    assert_non_null(evil.timer);
    assert_ok(kith_sim_ws_listen(evil.env, &at, &options, evil_accepted, NULL, &evil.server));
}

static inline void evil_free(void)
{
    kith_sim_kill(evil.env);
    for (size_t i = 0; i < EVIL_DELAYED_MAX; i++) free(evil.delayed[i].data);
    memset(&evil, 0, sizeof evil);
}

#endif
