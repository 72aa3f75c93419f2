/* Serving a topic: connections that other devices begin, or go on with; and what is remembered of those that ended. */
#include "node/lan.h"
#include "op/hooks.h"
#include "op/op.h"
#include "op/talk.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define CONNECTION_ID_BASE (UINT64_C(1) << 32) /* apart from the operations' own numbers */

/* ---- those that ended ---- */

typedef struct ended {
    bool used;
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE], id[KITH_TALK_ID_SIZE];
    kith_err why;
    uint64_t at_ns;
} ended;

struct talk_ends {
    ended all[TALKS_ENDED_MAX];
};

void kith__talk_forget_all(kith_core *core)
{
    kith_free(core->talk_ends);
    core->talk_ends = NULL;
}

/* Where the next one goes: the oldest of this device when it has many, else a free place, else the oldest of all. */
static ended *place_for(struct talk_ends *ends, const uint8_t fingerprint[static 32])
{
    ended *oldest = &ends->all[0], *oldest_of_it = NULL, *unused = NULL;
    size_t count = 0;
    for (size_t i = 0; i < TALKS_ENDED_MAX; i++) {
        ended *e = &ends->all[i];
        if (!e->used) {
            unused = e;
            continue;
        }
        if (e->at_ns < oldest->at_ns) oldest = e;
        if (memcmp(e->fingerprint, fingerprint, sizeof e->fingerprint) != 0) continue;
        count++;
        if (!oldest_of_it || e->at_ns < oldest_of_it->at_ns) oldest_of_it = e;
    }
    return count >= TALKS_ENDED_DEVICE ? oldest_of_it : unused ? unused : oldest;
}

void kith__talk_ended(kith_core *core, const uint8_t fingerprint[static 32], const uint8_t id[static KITH_TALK_ID_SIZE],
                      kith_err why)
{
    if (!core->talk_ends) core->talk_ends = kith_calloc(1, sizeof *core->talk_ends);
    if (!core->talk_ends) return; /* whoever asks hears that it is not known */
    ended *e = place_for(core->talk_ends, fingerprint);
    bool known = why == KITH_OK || why == KITH_ERR_CANCELLED; /* all else is nobody's business */
    *e = (ended){.used = true, .why = known ? why : KITH_ERR_CLOSED, .at_ns = kith__core_now(core)};
    memcpy(e->fingerprint, fingerprint, sizeof e->fingerprint);
    memcpy(e->id, id, sizeof e->id);
}

static const ended *find_ended(const kith_core *core, const uint8_t fingerprint[static 32],
                               const uint8_t id[static KITH_TALK_ID_SIZE])
{
    for (size_t i = 0; core->talk_ends && i < TALKS_ENDED_MAX; i++) {
        const ended *e = &core->talk_ends->all[i];
        bool same = e->used && memcmp(e->id, id, sizeof e->id) == 0;
        if (same && memcmp(e->fingerprint, fingerprint, sizeof e->fingerprint) == 0)
            return e->at_ns + TALK_KEPT_NS > kith__core_now(core) ? e : NULL;
    }
    return NULL;
}

/* ---- the operation ---- */

typedef struct serve_op {
    op op;
    char topic[KITH_TALK_TOPIC_MAX + 1];
    bool contacts;
    uint64_t last_id;
} serve_op;

static void serve_free(op *o)
{
    o->core->serving--;
    kith_free(o);
}

static void serve_cancel(op *o, kith_err why)
{
    kith_core *core = o->core;
    kith__op_end(o, why, NULL);
    serve_free(o);
    kith__lan_announce(core);
}

static const op_kind serve_kind = {.name = "serve", .needs_keys = true, .cancel = serve_cancel, .free = serve_free};

static serve_op *find_serve(kith_core *core, const char *topic)
{
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        if (o->kind == &serve_kind && strcmp(((serve_op *)o)->topic, topic) == 0) return (serve_op *)o;
    }
    return NULL;
}

void kith_core_serve(kith_core *core, kith_op id, const char *topic, const kith_serve_options *options)
{
    kith_err err = KITH_OK;
    if (!core->config.talk) err = KITH_ERR_UNSUPPORTED;
    if (!err && !kith_talk_topic_good(topic)) err = KITH_ERR_ARG;
    if (!err && find_serve(core, topic)) err = KITH_ERR_STATE;
    serve_op *v = err ? NULL : kith_calloc(1, sizeof *v);
    if (!v) {
        kith__core_refuse(core, id, err ? err : KITH_ERR_NOMEM,
                          err == KITH_ERR_STATE ? "this node serves this topic already" : NULL);
        return;
    }
    snprintf(v->topic, sizeof v->topic, "%s", topic);
    v->contacts = options->contacts;
    if (!kith__core_begin(core, &v->op, id, &serve_kind)) {
        kith_free(v);
        return;
    }
    core->serving++;
    kith__lan_announce(core);
    kith_event event = {.kind = KITH_EVENT_READY, .op = id};
    snprintf(event.name, sizeof event.name, "%s", topic);
    kith__core_emit(core, &event);
    kith__core_pump(core);
}

/* ---- streams that others open ---- */

/* One whose OPEN is not whole yet; or on which all is said, and which waits for the peer to end its side. */
typedef struct arrival {
    channel *channel;
    kith_talk_inbox inbox;
} arrival;

static void arrival_free(arrival *a)
{
    kith__channel_free(a->channel);
    kith_free(a);
}

static void arrival_gone(channel *c, kith_err why)
{
    (void)why;
    arrival_free(c->owner);
}

static void lingering_readable(channel *c)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) kith_stream_consume(c->stream, size);
    if (fin) arrival_free(c->owner);
}

static void linger(arrival *a)
{
    static const channel_events events = {.readable = lingering_readable, .gone = arrival_gone};
    a->channel->events = &events;
    a->channel->owner = a;
    lingering_readable(a->channel);
}

void kith__talk_linger(channel *c)
{
    arrival *a = kith_calloc(1, sizeof *a);
    if (!a) {
        kith__channel_free(c);
        return;
    }
    a->channel = c;
    linger(a);
}

static void refuse(arrival *a, kith_err why)
{
    kith__core_log(a->channel->session->core, KITH_LOG_INFO, "connection refused: %s", kith_err_text(why));
    kith__channel_give_up(a->channel, why);
    arrival_free(a);
}

/* It is over: say how, and wait until that is read. */
static void say_ended(arrival *a, kith_err why)
{
    uint8_t out[KITH_TALK_CONTROL_MAX];
    kith_stream *stream = a->channel->stream;
    size_t size = kith_talk_ended_write(why, out, sizeof out);
    kith_err err = kith_stream_write(stream, out, size);
    if (!err) err = kith_stream_finish(stream);
    if (err)
        arrival_free(a);
    else
        linger(a);
}

/* One that nobody here knows. */
static void begin(arrival *a, const kith_talk_open *open)
{
    channel *c = a->channel;
    session *s = c->session;
    serve_op *v = find_serve(s->core, open->topic);
    bool may = v && (v->contacts || kith__session_verdict(s, KITH_SERVICE_TALK, NULL) == KITH_ALLOW);
    kith_err err = may ? kith__talk_room(s->core, s->peer.fingerprint) : KITH_ERR_NOT_ALLOWED;
    if (!err) err = kith__talk_accept(c, open, v->op.id, CONNECTION_ID_BASE * v->op.id + ++v->last_id);
    if (err)
        refuse(a, err);
    else
        kith_free(a); /* the channel is the connection's */
}

static void opened(arrival *a, const kith_talk_open *open)
{
    session *s = a->channel->session;
    const uint8_t *fingerprint = s->peer.fingerprint;
    talk_op *known = kith__talk_find(s->core, fingerprint, open->id);
    const ended *past = known ? NULL : find_ended(s->core, fingerprint, open->id);
    if (known) {
        channel *c = a->channel;
        kith_free(a);
        kith__talk_resume(known, c, open);
    } else if (past || open->again) {
        say_ended(a, past ? past->why : KITH_ERR_CLOSED);
    } else {
        begin(a, open);
    }
}

static void arrival_readable(channel *c)
{
    arrival *a = c->owner;
    const uint8_t *data;
    size_t size, taken;
    bool fin = false;
    kith_err err = KITH_ERR_AGAIN;
    kith_talk_open open;
    while (err == KITH_ERR_AGAIN && kith_stream_peek(c->stream, &data, &size, &fin)) {
        err = kith_talk_open_read(&a->inbox, data, size, &taken, &open);
        kith_stream_consume(c->stream, taken);
    }
    if (!err)
        opened(a, &open);
    else if (err != KITH_ERR_AGAIN || fin)
        refuse(a, KITH_ERR_PROTOCOL);
}

kith_err kith__talk_serve(channel *c)
{
    static const channel_events events = {.readable = arrival_readable, .gone = arrival_gone};
    if (!c->session->core->config.talk) return KITH_ERR_NOT_ALLOWED;
    arrival *a = kith_calloc(1, sizeof *a);
    if (!a) return KITH_ERR_NOMEM;
    a->channel = c;
    c->owner = a;
    c->events = &events;
    return KITH_OK;
}
