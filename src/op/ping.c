/* Ping: 8 bytes there and back on a stream, timed here; and the other side of it. */
#include "base/mem.h"
#include "node/beside.h"
#include "node/dial.h"
#include "node/relay.h"
#include "op/hooks.h"
#include "op/op.h"

#include <stdio.h>
#include <string.h>

#define PING_SIZE        8
#define PING_EVERY_NS    SECOND_NS
#define PING_PATIENCE_NS (10 * SECOND_NS) /* to find the device, and for each answer */
#define PING_SERVED_MAX  4096             /* bytes echoed on one stream before it is reset: a ping is no pipe */

/* ---- answering ---- */

typedef struct served {
    channel *channel;
    size_t echoed;
} served;

static void served_free(served *v)
{
    kith__channel_free(v->channel);
    kith_free(v);
}

static void served_gone(channel *c, kith_err why)
{
    (void)why;
    served_free(c->owner);
}

static void served_readable(channel *c)
{
    served *v = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) {
        v->echoed += size;
        if (v->echoed > PING_SERVED_MAX || kith_stream_write(c->stream, data, size)) {
            served_free(v);
            return;
        }
        kith_stream_consume(c->stream, size);
    }
    if (!fin) return;
    if (kith_stream_finish(c->stream)) kith__core_log(c->session->core, KITH_LOG_DEBUG, "ping stream ended twice");
    served_free(v);
}

kith_err kith__ping_serve(channel *c)
{
    static const channel_events events = {.readable = served_readable, .gone = served_gone};
    served *v = kith_calloc(1, sizeof *v);
    if (!v) return KITH_ERR_NOMEM;
    v->channel = c;
    c->owner = v;
    c->events = &events;
    return KITH_OK;
}

/* ---- asking ---- */

typedef struct ping_op {
    op op;
    kith_peer peer;
    uint32_t left; /* 0: without end */
    bool endless;
    dial *dial;
    session_hold hold;
    bool theirs;              /* it goes over a session that the other side dialled, and that has not answered yet */
    channel *channel;         /* while an answer is awaited */
    uint8_t bytes[PING_SIZE]; /* that should come back */
    uint64_t sent_ns, next_ns;
    size_t got;
    kith_timer *timer;
} ping_op;

static void ping_free(op *o)
{
    ping_op *p = (ping_op *)o;
    kith__dial_free(p->dial);
    kith__channel_free(p->channel);
    kith__session_unuse(&p->hold);
    o->core->env->timers->close(p->timer);
    kith_free(p);
}

static void ping_end(ping_op *p, kith_err err)
{
    char message[640], relay[400];
    bool relays = err == KITH_ERR_UNREACHABLE && kith__relays_problem(p->op.core, relay, sizeof relay);
    *message = 0;
    if (relays) snprintf(message, sizeof message, "%s cannot be found nearby, and %s", p->peer.local_name, relay);
    if (err == KITH_ERR_NOT_ALLOWED)
        snprintf(message, sizeof message, "%s does not let this device ping it: `kith permit` there says so",
                 p->peer.local_name);
    if (err == KITH_ERR_TIMEOUT)
        snprintf(message, sizeof message, "%s does not answer any more: is it on, and is Kith running there?",
                 p->peer.local_name);
    kith__op_end(&p->op, err, *message ? message : NULL);
    ping_free(&p->op);
}

static void ping_dial(ping_op *p, uint64_t patience_ns);

static void ping_cancel(op *o, kith_err why) { ping_end((ping_op *)o, why); }

/* A session that is lost without a word may have been with a node that was killed: another one may answer in time.  And
 * one that the other side dialled may have been idle there, and closed, while this was on its way: then this side
 * dials.
 */
static void ping_lost(void *user, kith_err why)
{
    ping_op *p = user;
    uint64_t now = kith__core_now(p->op.core), until = p->sent_ns + PING_PATIENCE_NS;
    bool may_return = why == KITH_ERR_LOST || (why == KITH_ERR_CLOSED && p->theirs);
    if (!may_return || !p->channel || now >= until) {
        ping_end(p, why);
        return;
    }
    kith__channel_free(p->channel);
    p->channel = NULL;
    p->got = 0;
    kith__session_unuse(&p->hold);
    ping_dial(p, until - now);
}

static void ping_gone(channel *c, kith_err why) { ping_lost(c->owner, why); }

static void ping_pong(ping_op *p)
{
    uint64_t now = kith__core_now(p->op.core);
    kith_event event = {.kind = KITH_EVENT_PONG, .op = p->op.id, .rtt_ns = now - p->sent_ns};
    kith__session_path(p->hold.session, event.path, event.scope, event.address);
    kith__core_describe(&p->peer, &event.device);
    kith__core_emit(p->op.core, &event);
    kith__channel_free(p->channel);
    p->channel = NULL;
    p->theirs = false;
    p->got = 0;
    if (!p->endless && --p->left == 0) {
        ping_end(p, KITH_OK);
        return;
    }
    p->next_ns = p->sent_ns + PING_EVERY_NS;
    p->op.core->env->timers->set(p->timer, p->next_ns);
}

static void ping_readable(channel *c)
{
    ping_op *p = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin, good = true;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) {
        good = good && size <= PING_SIZE - p->got && memcmp(p->bytes + p->got, data, size) == 0;
        p->got += good ? size : 0;
        kith_stream_consume(c->stream, size);
    }
    if (!good || (fin && p->got < PING_SIZE))
        ping_end(p, KITH_ERR_PROTOCOL);
    else if (p->got == PING_SIZE)
        ping_pong(p);
}

static void ping_send(ping_op *p)
{
    static const channel_events events = {.readable = ping_readable, .gone = ping_gone};
    kith_rng_bytes(&p->op.core->rng, p->bytes, sizeof p->bytes);
    kith_err err = kith__channel_open(p->hold.session, STREAM_PING, &events, p, &p->channel);
    if (!err) err = kith_stream_write(p->channel->stream, p->bytes, sizeof p->bytes);
    if (!err) err = kith_stream_finish(p->channel->stream);
    if (err) {
        ping_end(p, err);
        return;
    }
    p->sent_ns = kith__core_now(p->op.core);
    p->op.core->env->timers->set(p->timer, p->sent_ns + PING_PATIENCE_NS);
}

static void ping_connected(void *user, session *s)
{
    ping_op *p = user;
    p->theirs = !s->dialler;
    kith__session_use(s, &p->hold, ping_lost, p);
    ping_send(p);
}

static void ping_failed(void *user, kith_err why) { ping_end(user, why); }

static void ping_dial(ping_op *p, uint64_t patience_ns)
{
    static const dial_events events = {.connected = ping_connected, .failed = ping_failed};
    p->op.core->env->timers->set(p->timer, NEVER);
    kith__dial_free(p->dial);
    p->dial = NULL;
    kith_err err = kith__dial_device(p->op.core, &p->peer, DIAL_ANY, NULL, patience_ns, &events, p, &p->dial);
    if (err) ping_end(p, err);
}

/* Over TCP, where the datagrams that it began with have found no direct way. */
static void ping_go_over(ping_op *p)
{
    session *now = p->hold.session, *twin = kith__session_twin(now);
    if (!twin || !kith__beside_is_better(twin, now, false)) return;
    kith__session_unuse(&p->hold);
    kith__session_use(twin, &p->hold, ping_lost, p);
}

static void ping_timer(void *user)
{
    ping_op *p = user;
    kith_core *core = p->op.core;
    if (p->channel) {
        ping_end(p, KITH_ERR_TIMEOUT);
    } else if (p->hold.session) {
        ping_go_over(p);
        ping_send(p);
    }
    kith__core_pump(core);
}

void kith_core_ping(kith_core *core, kith_op id, const char *device_id, uint32_t count)
{
    static const op_kind kind = {.name = "ping", .needs_keys = true, .cancel = ping_cancel, .free = ping_free};
    kith_peer peer;
    kith_err err = KITH_OK;
    if (!kith__core_find_peer_id(core, device_id, &peer, &err)) {
        kith__core_refuse_device(core, id, err, device_id);
        return;
    }
    ping_op *p = kith_calloc(1, sizeof *p);
    if (p) p->timer = core->env->timers->open(core->env, ping_timer, p);
    if (!p || !p->timer) {
        kith_free(p);
        kith__core_refuse(core, id, KITH_ERR_NOMEM, NULL);
        return;
    }
    p->peer = peer;
    p->left = count;
    p->endless = count == 0;
    if (!kith__core_begin(core, &p->op, id, &kind)) {
        core->env->timers->close(p->timer);
        kith_free(p);
        return;
    }
    ping_dial(p, PING_PATIENCE_NS);
    kith__core_pump(core);
}
