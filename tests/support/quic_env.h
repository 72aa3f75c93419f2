/* A QUIC endpoint on an env's socket and timer: what node does in earnest, as small as tests, tools and benchmarks need
 * it. */
#ifndef KITH_TEST_QUIC_ENV_H
#define KITH_TEST_QUIC_ENV_H

#include "base/mem.h"
#include "env/env.h"
#include "quic/quic.h"

#include <string.h>

typedef struct quic_env {
    kith_env *env;
    kith_quic *quic;
    kith_udp *udp;
    kith_timer *timer;
    uint8_t *memory;
    kith_packet packet; /* that could not be sent yet */
    bool waiting, in_flush, ending;
    void (*event)(void *user, const kith_quic_event *event);
    void *user;
} quic_env;

static inline bool quic_env_send(quic_env *e)
{
    kith_err err = e->env->udp->send(e->udp, &e->packet);
    if (err == KITH_ERR_LIMIT) kith_quic_too_big(e->quic, &e->packet.remote, e->packet.segment);
    return e->waiting = err == KITH_ERR_AGAIN;
}

static inline void quic_env_close(quic_env *e)
{
    if (e->udp) e->env->udp->close(e->udp);
    if (e->timer) e->env->timers->close(e->timer);
    kith_quic_free(e->quic);
    kith_free(e->memory);
    e->udp = NULL;
    e->timer = NULL;
    e->quic = NULL;
    e->memory = NULL;
}

/* From inside an event: close it all once everything was sent that can be. */
static inline void quic_env_end(quic_env *e) { e->ending = true; }

/* After every input, expire or call: events, output, and the timer. */
static inline void quic_env_flush(quic_env *e)
{
    kith_quic_event event;
    if (e->in_flush || !e->quic) return;
    e->in_flush = true;
    for (bool more = true; more;) {
        more = false;
        while (kith_quic_event_take(e->quic, &event)) e->event(e->user, &event);
        while (!e->waiting) {
            e->packet.data = e->memory;
            if (!kith_quic_output(e->quic, &e->packet, e->env->base->now_ns(e->env))) break;
            quic_env_send(e);
            more = true; /* sending made room: there may be WRITABLE */
        }
    }
    e->env->timers->set(e->timer, kith_quic_deadline_ns(e->quic));
    e->in_flush = false;
    if (e->ending) quic_env_close(e);
}

static inline void quic_env_received(void *user, const kith_packet *packets, size_t count)
{
    quic_env *e = user;
    uint64_t now = e->env->base->now_ns(e->env);
    for (size_t i = 0; i < count && e->quic; i++) kith_quic_input(e->quic, &packets[i], now);
    quic_env_flush(e);
}

static inline void quic_env_writable(void *user)
{
    quic_env *e = user;
    if (e->waiting) quic_env_send(e);
    quic_env_flush(e);
}

static inline void quic_env_expired(void *user)
{
    quic_env *e = user;
    kith_quic_expire(e->quic, e->env->base->now_ns(e->env));
    quic_env_flush(e);
}

/* `config->seed` comes from the env. */
static inline kith_err quic_env_open(quic_env *e, kith_env *env, const kith_addr *bind, kith_quic_config *config,
                                     void (*event)(void *user, const kith_quic_event *event), void *user)
{
    static const kith_udp_events events = {quic_env_received, quic_env_writable};
    *e = (quic_env){.env = env, .event = event, .user = user};
    env->base->random(env, config->seed, sizeof config->seed);
    e->memory = kith_malloc(KITH_PACKET_RUN_MAX);
    e->timer = env->timers->open(env, quic_env_expired, e);
    kith_err err = e->memory && e->timer ? kith_quic_new(config, &e->quic) : KITH_ERR_NOMEM;
    if (!err) err = env->udp->open(env, bind, &events, e, &e->udp);
    if (err) quic_env_close(e);
    return err;
}

#endif
