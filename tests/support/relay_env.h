/* A relay's client on an env's WebSocket, datagrams and timer: what node does in earnest, as small as tests need it. */
#ifndef KITH_TEST_RELAY_ENV_H
#define KITH_TEST_RELAY_ENV_H

#include "base/mem.h"
#include "base/url.h"
#include "crypto/keys.h"
#include "env/env.h"
#include "path/relay_client.h"

#include <string.h>

typedef struct relay_env {
    kith_env *env;
    const char *url;
    kith_relay_client *client;
    kith_ws *ws;
    kith_udp *udp; /* NULL: none is used */
    kith_addr relay_udp;
    kith_timer *timer;
    uint8_t seed[KITH_ED25519_SEED_SIZE];
    bool in_flush;
    void (*event)(void *user, const kith_relay_event *event);
    void (*packets)(void *user, const kith_relay_data *data);
    void *user;
} relay_env;

static inline uint64_t relay_env_now(const relay_env *e) { return e->env->base->now_ns(e->env); }
static inline void relay_env_flush(relay_env *e);

static inline void relay_env_connected(void *user)
{
    relay_env *e = user;
    e->relay_udp = e->env->ws->remote(e->ws);
    kith_addr none = {0};
    kith_relay_client_connected(e->client, e->udp ? &e->relay_udp : &none, relay_env_now(e));
    relay_env_flush(e);
}

static inline void relay_env_message(void *user, uint8_t *bytes, size_t size)
{
    relay_env *e = user;
    kith_relay_data data;
    kith_relay_client_input(e->client, bytes, size, relay_env_now(e), &data);
    if (data.data) e->packets(e->user, &data);
    relay_env_flush(e);
}

static inline void relay_env_writable(void *user) { relay_env_flush(user); }

static inline void relay_env_ended(void *user, kith_err why, unsigned status)
{
    relay_env *e = user;
    (void)status;
    e->env->ws->close(e->ws);
    e->ws = NULL;
    kith_relay_client_ended(e->client, why, relay_env_now(e));
    relay_env_flush(e);
}

static inline void relay_env_datagrams(void *user, const kith_packet *packets, size_t count)
{
    relay_env *e = user;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < packets[i].size; at += packets[i].segment) {
            size_t left = packets[i].size - at, size = left < packets[i].segment ? left : packets[i].segment;
            kith_relay_data data;
            if (!kith_addr_equal(&packets[i].remote, &e->relay_udp)) continue;
            kith_relay_client_datagram(e->client, packets[i].data + at, size, relay_env_now(e), &data);
            if (data.data) e->packets(e->user, &data);
        }
    }
    relay_env_flush(e);
}

static inline void relay_env_dial(relay_env *e)
{
    static const kith_ws_events events = {relay_env_connected, relay_env_message, relay_env_writable, relay_env_ended};
    kith_ws_options options = {.url = e->url, .subprotocol = KITH_RELAY_SUBPROTOCOL};
    kith_err err = e->env->ws->connect(e->env, &options, &events, e, &e->ws);
    if (err) kith_relay_client_ended(e->client, err, relay_env_now(e));
}

static inline void relay_env_react(relay_env *e, const kith_relay_event *event)
{
    uint8_t signature[KITH_RELAY_SIGNATURE_SIZE];
    switch (event->kind) {
    case KITH_RELAY_EVENT_DIAL: relay_env_dial(e); break;
    case KITH_RELAY_EVENT_HANGUP:
        e->env->ws->close(e->ws);
        e->ws = NULL;
        break;
    case KITH_RELAY_EVENT_SIGN:
        kith_ed25519_sign(e->seed, event->bytes, event->size, signature);
        kith_relay_client_signed(e->client, signature);
        break;
    default: break;
    }
    if (e->event) e->event(e->user, event);
}

/* After every call. */
static inline void relay_env_flush(relay_env *e)
{
    kith_relay_event event;
    uint8_t bind[KITH_RELAY_BIND_SIZE];
    const uint8_t *message;
    size_t size;
    if (e->in_flush) return;
    e->in_flush = true;
    while (kith_relay_client_event(e->client, &event)) relay_env_react(e, &event);
    while (e->ws && (message = kith_relay_client_output(e->client, &size))) {
        if (e->env->ws->send(e->ws, message, size)) break; /* AGAIN: writable comes */
        kith_relay_client_sent(e->client);
    }
    while (e->udp && kith_relay_client_bind(e->client, bind)) {
        kith_packet packet = {.remote = e->relay_udp, .data = bind, .size = sizeof bind, .segment = sizeof bind};
        (void)!e->env->udp->send(e->udp, &packet);
    }
    e->env->timers->set(e->timer, kith_relay_client_deadline_ns(e->client));
    e->in_flush = false;
}

static inline void relay_env_expired(void *user)
{
    relay_env *e = user;
    kith_relay_client_expire(e->client, relay_env_now(e));
    relay_env_flush(e);
}

/* A run of packets; what does not fit into the queue is lost, as on any path. */
static inline kith_err relay_env_send(relay_env *e, uint32_t session, kith_packet run)
{
    static uint8_t buffer[KITH_RELAY_CLIENT_BUFFER];
    while (run.size) {
        kith_relay_send send;
        kith_err err = kith_relay_client_data(e->client, session, &run, buffer, &send);
        if (err) return err;
        if (send.udp) {
            kith_packet packet = {
                .remote = e->relay_udp, .data = send.data, .size = send.size, .segment = send.segment};
            (void)!e->env->udp->send(e->udp, &packet);
        } else {
            (void)!e->env->ws->send(e->ws, send.data, send.size);
        }
        run.data += send.taken;
        run.size -= send.taken;
        if (run.segment > run.size) run.segment = run.size;
    }
    return KITH_OK;
}

static inline void relay_env_close(relay_env *e)
{
    e->env->ws->close(e->ws);
    if (e->udp) e->env->udp->close(e->udp);
    if (e->timer) e->env->timers->close(e->timer);
    kith_relay_client_free(e->client);
    *e = (relay_env){0};
}

/* `e` has its events and user set; keys come from the env. */
static inline kith_err relay_env_open(relay_env *e, kith_env *env, const char *url, const uint8_t device_id[16],
                                      bool with_udp)
{
    static const kith_udp_events udp_events = {relay_env_datagrams, relay_env_writable};
    kith_relay_client_config config = {0};
    kith_addr any = {.family = KITH_FAMILY_IPV6};
    kith_url parsed;
    char host[KITH_URL_HOST_SIZE], authority[KITH_RELAY_AUTHORITY_MAX + 1];
    kith_err err = kith_url_parse(url, &parsed);
    if (err) return err;
    memcpy(host, parsed.host, sizeof host);
    err = kith_relay_authority(host, strlen(host), authority);
    if (err) return err;
    e->env = env;
    e->url = url;
    env->base->random(env, e->seed, sizeof e->seed);
    env->base->random(env, &config.seed, sizeof config.seed);
    env->base->random(env, config.instance, sizeof config.instance);
    memcpy(config.device_id, device_id, sizeof config.device_id);
    kith_ed25519_public(e->seed, config.public_key);
    config.authority = authority;
    e->timer = env->timers->open(env, relay_env_expired, e);
    err = e->timer ? kith_relay_client_new(&config, &e->client) : KITH_ERR_NOMEM;
    if (!err && with_udp) err = env->udp->open(env, &any, &udp_events, e, &e->udp);
    if (err) {
        relay_env_close(e);
        return err;
    }
    relay_env_flush(e);
    return KITH_OK;
}

#endif
