/* The relay's hub on simulated sockets: one in a world. */
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
    kith_list clients;
} station;

typedef struct station_client { /* a connection to it */
    kith_link link;
    station *s;
    kith_ws *ws;
    kith_hub_client *client;
} station_client;

static station hub;
static inline uint64_t station_now(void) { return hub.env->base->now_ns(hub.env); }

static inline void station_drop(station_client *l)
{
    kith_hub_closed(l->client, station_now());
    kith_list_remove(&l->link);
    kith_free(l);
}

static inline void station_serve(station_client *l)
{
    uint8_t *data;
    size_t size;
    while (kith_hub_output(l->client, &data, &size) && !hub.env->ws->send(l->ws, data, size))
        kith_hub_sent(l->client, station_now());
    if (!kith_hub_closing(l->client)) return;
    kith_sim_ws_close_with(l->ws, kith_hub_closing(l->client));
    station_drop(l);
}

static inline void station_send(void)
{
    kith_packet packet;
    while (kith_hub_datagram(hub.hub, &packet))
        (void)!hub.env->udp->send(kith_hub_elsewhere(hub.hub) ? hub.udp_other : hub.udp, &packet);
}

static inline void station_flush(void)
{
    kith_hub_client *client;
    if (hub.in_flush) return;
    hub.in_flush = true;
    station_send();
    while ((client = kith_hub_ready(hub.hub))) station_serve(kith_hub_user(client));
    hub.env->timers->set(hub.timer, kith_hub_deadline_ns(hub.hub));
    hub.in_flush = false;
}

static inline void station_client_message(void *user, uint8_t *data, size_t size)
{
    station_client *l = user;
    kith_hub_input(l->client, data, size, 0, true, station_now());
    station_flush();
}

static inline void station_client_writable(void *user)
{
    station_serve(user);
    station_flush();
}

static inline void station_client_ended(void *user, kith_err why, unsigned status)
{
    (void)why, (void)status;
    hub.env->ws->close(((station_client *)user)->ws);
    station_drop(user);
    station_flush();
}

static inline void station_accepted(void *user, kith_ws *ws)
{
    static const kith_ws_events events = {NULL, station_client_message, station_client_writable, station_client_ended};
    char authority[KITH_RELAY_AUTHORITY_MAX + 1];
    (void)user;
    station_client *l = kith_calloc(1, sizeof *l);
    kith_addr from = hub.env->ws->remote(ws);
    assert_non_null(l);
    *l = (station_client){.s = &hub, .ws = ws};
    kith_list_append(&hub.clients, &l->link);
    assert_ok(kith_hub_accept(hub.hub, &from, l, station_now(), &l->client));
    assert_ok(kith_relay_authority(kith_sim_ws_host(ws), strlen(kith_sim_ws_host(ws)), authority));
    kith_hub_start(l->client, authority, station_now());
    kith_sim_ws_attach(ws, &events, l);
    station_flush();
}

static inline void station_datagrams(void *user, const kith_packet *packets, size_t count)
{
    (void)user;
    for (size_t i = 0; i < count; i++) {
        kith_hub_datagrams(hub.hub, &packets[i], station_now());
        station_send();
    }
    station_flush();
}

static inline void station_writable(void *user) { (void)user; }
static inline void station_nothing(void *user, const kith_packet *packets, size_t count)
{
    (void)user, (void)packets, (void)count;
}

static inline void station_expired(void *user)
{
    (void)user;
    kith_hub_expire(hub.hub, station_now());
    station_flush();
}

static inline void station_start(kith_sim_host *host)
{
    static const kith_udp_events udp = {station_datagrams, station_writable},
                                 other = {station_nothing, station_writable};
    kith_sim_ws_server_options options = {.subprotocol = KITH_RELAY_SUBPROTOCOL, .certificate = "relay.example"};
    kith_relay_settings settings;
    kith_addr at;
    uint8_t seed[KITH_HUB_SEED_SIZE];
    kith_relay_settings_default(&settings);
    assert_ok(kith_addr_parse("[::]:443", &at));
    hub = (station){0};
    kith_list_init(&hub.clients);
    assert_ok(kith_sim_env_new(host, &hub.env));
    hub.env->base->random(hub.env, seed, sizeof seed);
    kith_hub_config config = {.settings = &settings, .seed = seed, .software = "test"};
    assert_ok(kith_hub_new(&config, &hub.hub));
    hub.timer = hub.env->timers->open(hub.env, station_expired, NULL);
    assert_ok(hub.env->udp->open(hub.env, &at, &udp, NULL, &hub.udp));
    at.port = 0;
    assert_ok(hub.env->udp->open(hub.env, &at, &other, NULL, &hub.udp_other));
    kith_hub_set_other_port(hub.hub, true);
    at.port = 443;
    assert_ok(kith_sim_ws_listen(hub.env, &at, &options, station_accepted, NULL, &hub.server));
    station_flush();
}

/* The hub and what stands for its clients go; what they hold of the world is the world's. */
static inline void station_free(void)
{
    kith_hub_free(hub.hub);
    hub.hub = NULL;
    for (kith_link *at; (at = kith_list_take_first(&hub.clients));) kith_free(KITH_OF(at, station_client, link));
}

static inline void station_kill(void)
{
    kith_sim_kill(hub.env);
    station_free();
}

#endif
