/* The relay's hub on simulated sockets: `hub`, and others where a world has more. */
#ifndef KITH_TEST_RELAY_STATION_H
#define KITH_TEST_RELAY_STATION_H

#include "base/list.h"
#include "base/mem.h"
#include "relay/hub.h"
#include "sim/sim_ws_server.h"
#include "testlib.h"

#include <string.h>

typedef struct station {
    kith_env *env;
    kith_hub *hub;
    kith_sim_ws_server *server;
    kith_udp *udp, *udp_other;
    kith_timer *timer;
    bool in_flush;
    bool old; /* it does not know that CONNECT may leave instances out, and skips the member */
    kith_list clients;
} station;

typedef struct station_client { /* a connection to it */
    kith_link link;
    station *s;
    kith_ws *ws;
    kith_hub_client *client;
    bool silent; /* it hangs: its connection stands, and nothing is read or said */
} station_client;

static station hub;
static inline uint64_t station_now(const station *s) { return s->env->base->now_ns(s->env); }

static inline void station_drop(station_client *l)
{
    kith_hub_closed(l->client, station_now(l->s));
    kith_list_remove(&l->link);
    kith_free(l);
}

static inline void station_serve(station_client *l)
{
    uint8_t *data;
    size_t size;
    while (kith_hub_output(l->client, &data, &size) && (l->silent || !l->s->env->ws->send(l->ws, data, size)))
        kith_hub_sent(l->client, station_now(l->s));
    if (!kith_hub_closing(l->client)) return;
    kith_sim_ws_close_with(l->ws, kith_hub_closing(l->client));
    station_drop(l);
}

static inline void station_send(station *s)
{
    kith_packet packet;
    while (kith_hub_datagram(s->hub, &packet))
        (void)!s->env->udp->send(kith_hub_elsewhere(s->hub) ? s->udp_other : s->udp, &packet);
}

static inline void station_flush(station *s)
{
    kith_hub_client *client;
    if (s->in_flush) return;
    s->in_flush = true;
    station_send(s);
    while ((client = kith_hub_ready(s->hub))) station_serve(kith_hub_user(client));
    s->env->timers->set(s->timer, kith_hub_deadline_ns(s->hub));
    s->in_flush = false;
}

static inline void station_client_message(void *user, uint8_t *data, size_t size)
{
    station_client *l = user;
    kith_relay_message m;
    uint8_t without[KITH_RELAY_MESSAGE_MAX];
    if (l->silent) return;
    if (l->s->old && kith_relay_read(data, size, &m) == KITH_OK && m.type == KITH_RELAY_CONNECT &&
        m.connect.but_count) {
        m.connect.but_count = 0;
        size = kith_relay_write(&m, without, sizeof without);
        data = without;
    }
    kith_hub_input(l->client, data, size, 0, true, station_now(l->s));
    station_flush(l->s);
}

/* Who connected last. */
static inline void station_silence(station *s)
{
    station_client *last = NULL;
    KITH_EACH (at, &s->clients) last = KITH_OF(at, station_client, link);
    assert_non_null(last);
    last->silent = true;
}

static inline void station_client_writable(void *user)
{
    station *s = ((station_client *)user)->s;
    station_serve(user);
    station_flush(s);
}

static inline void station_client_ended(void *user, kith_err why, unsigned status)
{
    station_client *l = user;
    station *s = l->s;
    (void)why, (void)status;
    s->env->ws->close(l->ws);
    station_drop(l);
    station_flush(s);
}

static inline void station_accepted(void *user, kith_ws *ws)
{
    static const kith_ws_events events = {NULL, station_client_message, station_client_writable, station_client_ended};
    station *s = user;
    char authority[KITH_RELAY_AUTHORITY_MAX + 1];
    station_client *l = kith_calloc(1, sizeof *l);
    kith_addr from = s->env->ws->remote(ws);
    assert_non_null(l);
    *l = (station_client){.s = s, .ws = ws};
    kith_list_append(&s->clients, &l->link);
    assert_ok(kith_hub_accept(s->hub, &from, l, station_now(s), &l->client));
    assert_ok(kith_relay_authority(kith_sim_ws_host(ws), strlen(kith_sim_ws_host(ws)), authority));
    kith_hub_start(l->client, authority, station_now(s));
    kith_sim_ws_attach(ws, &events, l);
    station_flush(s);
}

static inline void station_datagrams(void *user, const kith_packet *packets, size_t count)
{
    station *s = user;
    for (size_t i = 0; i < count; i++) {
        kith_hub_datagrams(s->hub, &packets[i], station_now(s));
        station_send(s);
    }
    station_flush(s);
}

static inline void station_writable(void *user) { (void)user; }
static inline void station_nothing(void *user, const kith_packet *packets, size_t count)
{
    (void)user, (void)packets, (void)count;
}

static inline void station_expired(void *user)
{
    station *s = user;
    kith_hub_expire(s->hub, station_now(s));
    station_flush(s);
}

/* At host, whose certificate says `name`. */
static inline void station_start_at(station *s, kith_sim_host *host, const char *name)
{
    static const kith_udp_events udp = {station_datagrams, station_writable},
                                 other = {station_nothing, station_writable};
    kith_sim_ws_server_options options = {.subprotocol = KITH_RELAY_SUBPROTOCOL, .certificate = name};
    kith_relay_settings settings;
    kith_addr at;
    uint8_t seed[KITH_HUB_SEED_SIZE];
    kith_relay_settings_default(&settings);
    assert_ok(kith_addr_parse("[::]:443", &at));
    *s = (station){0};
    kith_list_init(&s->clients);
    assert_ok(kith_sim_env_new(host, &s->env));
    s->env->base->random(s->env, seed, sizeof seed);
    kith_hub_config config = {.settings = &settings, .seed = seed, .software = "test"};
    assert_ok(kith_hub_new(&config, &s->hub));
    s->timer = s->env->timers->open(s->env, station_expired, s);
    assert_ok(s->env->udp->open(s->env, &at, &udp, s, &s->udp));
    at.port = 0;
    assert_ok(s->env->udp->open(s->env, &at, &other, s, &s->udp_other));
    kith_hub_set_other_port(s->hub, true);
    at.port = 443;
    assert_ok(kith_sim_ws_listen(s->env, &at, &options, station_accepted, s, &s->server));
    station_flush(s);
}
static inline void station_start(kith_sim_host *host) { station_start_at(&hub, host, "relay.example"); }

/* The hub and what stands for its clients go; what they hold of the world is the world's. */
static inline void station_free_at(station *s)
{
    kith_hub_free(s->hub);
    s->hub = NULL;
    for (kith_link *at; (at = kith_list_take_first(&s->clients));) kith_free(KITH_OF(at, station_client, link));
}
static inline void station_free(void) { station_free_at(&hub); }

static inline void station_kill_at(station *s)
{
    kith_sim_kill(s->env);
    station_free_at(s);
}
static inline void station_kill(void) { station_kill_at(&hub); }

#endif
