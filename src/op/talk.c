/* One connection with messages: looking for the device, going on over another session when one is lost, and the end. */
#include "op/talk.h"
#include "op/op.h"

#include "base/mem.h"
#include "node/beside.h"
#include "node/dial.h"
#include "node/relay.h"

#include <stdio.h>
#include <string.h>

struct talk_op {
    op op;
    kith_peer peer;
    bool opener;
    kith_talk *talk;
    uint64_t patience_ns; /* 0: as usual */

    dial *dial;
    node_set refused;         /* nodes of the device that do not serve it */
    session_hold hold, spare; /* the session it goes over, and that one's twin */
    channel *channel, *left;  /* left: it went over this one, until it has come together again elsewhere */
    uint8_t instance[KITH_HELLO_INSTANCE_SIZE]; /* of the node at the other end; zeros: not known */
    bool together;                              /* ACCEPT came, or went */
    bool before;                                /* and did so once */
    bool waits;                                 /* it is not together now, and that was told */
    bool dropped;                               /* the application sent what came too late */
    uint64_t since_ns, lost_ns, give_up_ns, pause_ns, status_ns;
    kith_timer *timer;
    bool unreturned; /* at the last look at the stream's acknowledgements */
    uint64_t returned;
};

static void step(talk_op *t);
static void look_for_it(talk_op *t);
static void connected(void *user, session *with);
static void twin_came(void *user, session *twin);
static void talk_cancel(op *o, kith_err why);
static void talk_free(op *o);

static const op_kind talk_kind = {.name = "talk", .needs_keys = true, .cancel = talk_cancel, .free = talk_free};

static uint64_t now_of(const talk_op *t) { return kith__core_now(t->op.core); }
static const kith_core_talk *owner_of(const talk_op *t) { return t->op.core->config.talk; }
static void *user_of(const talk_op *t) { return t->op.core->config.emit_user; }

/* ---- what the application sees ---- */

static void tell_status(talk_op *t, bool finishing)
{
    kith_remote_device_info info = {.connected = t->together, .trust = KITH_RELATION_CONTACT};
    char address[KITH_ADDR_TEXT_SIZE];
    const kith_peer *p = &t->peer;
    kith_uuid_text(p->uuid, info.id);
    kith_hex(p->fingerprint, sizeof p->fingerprint, info.fingerprint);
    kith_hex(p->ed25519, sizeof p->ed25519, info.public_key);
    snprintf(info.name, sizeof info.name, "%s", p->local_name);
    snprintf(info.os, sizeof info.os, "%s", p->os);
    snprintf(info.hardware_model, sizeof info.hardware_model, "%s", p->hardware_model);
    if (p->kind == KITH_PEER_OWN) info.trust = KITH_RELATION_OWN;
    if (t->together) {
        kith_conn_stats stats;
        kith_conn_get_stats(t->hold.session->conn, &stats);
        info.rtt_ns = stats.rtt_ns;
        info.datagram_size = kith__channel_datagram_room(t->channel);
        kith__session_path(t->hold.session, info.path, info.scope, address);
    }
    t->status_ns = now_of(t);
    owner_of(t)->status(user_of(t), t->op.id, &info, finishing);
}

static void tell(talk_op *t, kith_event_kind kind, kith_err err)
{
    kith_event event = {.kind = kind, .op = t->op.id, .err = err};
    kith__core_describe(&t->peer, &event.device);
    if (t->together) kith__session_path(t->hold.session, event.path, event.scope, event.address);
    if (kind == KITH_EVENT_WAITING)
        snprintf(event.message, sizeof event.message, "%s went away: waiting for it", t->peer.local_name);
    kith__core_emit(t->op.core, &event);
}

/* ---- the end ---- */

static void leave_session(talk_op *t)
{
    kith__dial_free(t->dial);
    t->dial = NULL;
    kith__channel_free(t->channel);
    t->channel = NULL;
    kith__channel_free(t->left);
    t->left = NULL;
    kith__session_unuse(&t->hold);
    t->together = t->unreturned = false;
}

static void talk_free(op *o)
{
    talk_op *t = (talk_op *)o;
    leave_session(t);
    kith__session_unuse(&t->spare);
    o->core->env->timers->close(t->timer);
    kith_talk_free(t->talk);
    kith_free(t);
}

static const char *explain(const talk_op *t, kith_err err, char *out, size_t size)
{
    const char *name = t->peer.local_name;
    char relay[400];
    *out = 0;
    switch (err) {
    case KITH_OK: return NULL;
    case KITH_ERR_UNREACHABLE:
        if (t->before)
            snprintf(out, size, "%s went away and did not come back", name);
        else if (kith__relays_problem(t->op.core, relay, sizeof relay))
            snprintf(out, size, "%s cannot be found nearby, and %s", name, relay);
        else
            snprintf(out, size, "%s cannot be found: is it on, and here?", name);
        break;
    case KITH_ERR_NOT_ALLOWED:
        snprintf(out, size, "%s does not serve \"%s\" now", name, kith_talk_topic(t->talk));
        break;
    case KITH_ERR_UNTRUSTED: snprintf(out, size, "%s does not know this device any more: pair them again", name); break;
    case KITH_ERR_CLOSED:
        snprintf(out, size,
                 t->dropped ? "the connection was finished before everything was sent"
                            : "%s ended the connection, or was started anew",
                 name);
        break;
    case KITH_ERR_LOST: snprintf(out, size, "%s did not come back", name); break;
    default: return NULL;
    }
    return out;
}

/* `said` goes to the peer when the stream is to be given up at once; OK: it is done with, or the peer knows. */
static void end(talk_op *t, kith_err err, kith_err said)
{
    char message[640];
    kith_core *core = t->op.core;
    if (!t->opener) kith__talk_ended(core, t->peer.fingerprint, kith_talk_id(t->talk), said ? said : err);
    if (t->channel && said) kith__channel_give_up(t->channel, said);
    if (!err && t->dropped) err = KITH_ERR_CLOSED;
    kith__op_end(&t->op, err, explain(t, err, message, sizeof message));
    talk_free(&t->op);
}

static void talk_cancel(op *o, kith_err why) { end((talk_op *)o, why, KITH_ERR_CANCELLED); }

/* Both sides have all, or the peer broke the protocol. */
static void over(talk_op *t)
{
    kith_err err = kith_talk_error(t->talk);
    bool ours = err == KITH_ERR_PROTOCOL || err == KITH_ERR_NOMEM;
    if (!err && t->channel && !t->opener) {
        kith__talk_linger(t->channel);
        t->channel = NULL;
    }
    end(t, err, ours ? err : KITH_OK);
}

/* ---- losing and looking ---- */

static void pause_then_look(talk_op *t)
{
    kith_core *core = t->op.core;
    uint64_t chance = 0, now = now_of(t);
    kith_rng_bytes(&core->rng, (uint8_t *)&chance, sizeof chance);
    uint64_t pause = t->pause_ns - t->pause_ns / 4 + chance % (t->pause_ns / 2 + 1);
    t->pause_ns = 2 * t->pause_ns > TALK_PAUSE_MAX_NS ? TALK_PAUSE_MAX_NS : 2 * t->pause_ns;
    core->env->timers->set(t->timer, now + pause < t->give_up_ns ? now + pause : t->give_up_ns);
}

static void set_patience(talk_op *t)
{
    uint64_t patience = t->patience_ns;
    if (!patience) patience = t->before ? NEVER / 4 : TALK_PATIENCE_S * SECOND_NS;
    if (kith_talk_settled(t->talk) && patience > TALK_LINGER_NS) patience = TALK_LINGER_NS;
    t->give_up_ns = now_of(t) + patience;
}

/* What ended the session beneath leaves the connection what it was, unless the device itself is not what it was; what
 * was said of the connection counts. */
static bool may_return(const talk_op *t, kith_err why)
{
    bool beneath = t->channel && t->channel->session->over;
    if (beneath)
        return why != KITH_ERR_UNTRUSTED && why != KITH_ERR_REVOKED && why != KITH_ERR_WRONG_DEVICE &&
               why != KITH_ERR_VERSION;
    return why == KITH_ERR_LOST || why == KITH_ERR_CLOSED || why == KITH_ERR_TIMEOUT || why == KITH_ERR_AGAIN ||
           why == KITH_ERR_UNREACHABLE;
}

/* It has not begun, and this node of the device does not serve it: another may. */
static bool other_node(talk_op *t, kith_err why)
{
    bool ours = t->opener && !t->before && t->channel && !t->channel->session->over;
    if (!ours || why != KITH_ERR_NOT_ALLOWED || !kith__nodes_add(&t->refused, t->channel->session)) return false;
    leave_session(t);
    kith_talk_apart(t->talk);
    return true;
}

static void lost(talk_op *t, kith_err why)
{
    session *spare = t->spare.session;
    if (other_node(t, why)) {
        look_for_it(t);
        return;
    }
    if (!may_return(t, why)) {
        end(t, why == KITH_ERR_CANCELLED ? KITH_ERR_CLOSED : why, KITH_OK);
        return;
    }
    bool was = t->together;
    leave_session(t);
    kith_talk_apart(t->talk);
    if (was) {
        t->lost_ns = now_of(t);
        if (t->lost_ns - t->since_ns > TALK_STEADY_NS) t->pause_ns = TALK_PAUSE_NS;
        set_patience(t);
        t->waits = false;
    }
    if (t->opener && was && spare && spare->ready) {
        kith__session_unuse(&t->spare);
        connected(t, spare); /* over what is left */
        return;
    }
    if (t->before && !t->waits) {
        t->waits = true;
        tell_status(t, false);
        tell(t, KITH_EVENT_WAITING, why);
    }
    if (t->opener)
        pause_then_look(t);
    else
        t->op.core->env->timers->set(t->timer, t->lost_ns + TALK_KEPT_NS);
}

static void on_lost(void *user, kith_err why) { lost(user, why); }
static void spare_lost(void *user, kith_err why) { (void)user, (void)why; }

/* Nobody came back in time. */
static void give_up(talk_op *t, kith_err why) { end(t, kith_talk_settled(t->talk) ? KITH_OK : why, KITH_OK); }

/* Before its patience ends that is where nobody can be reached now; a connection that was there looks again later. */
static void dial_failed(void *user, kith_err why)
{
    talk_op *t = user;
    bool again = why == KITH_ERR_NOT_ALLOWED && kith__nodes_ask_again(&t->refused);
    if (!again && (!t->before || now_of(t) >= t->give_up_ns || !may_return(t, why))) {
        give_up(t, why);
        return;
    }
    kith__dial_free(t->dial);
    t->dial = NULL;
    if (again)
        look_for_it(t);
    else
        pause_then_look(t);
}

/* A session that is there with the very node the connection is with: of a device there may be several. */
static session *same_node(const talk_op *t)
{
    static const uint8_t none[KITH_HELLO_INSTANCE_SIZE];
    if (memcmp(t->instance, none, sizeof none) == 0) return NULL;
    KITH_EACH (at, &t->op.core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (s->ready && s->greeted && !s->for_pairing &&
            memcmp(s->peer.fingerprint, t->peer.fingerprint, sizeof t->peer.fingerprint) == 0 &&
            memcmp(s->peer.instance, t->instance, sizeof t->instance) == 0)
            return s;
    }
    return NULL;
}

static void look_for_it(talk_op *t)
{
    static const dial_events events = {.connected = connected, .failed = dial_failed};
    uint64_t now = now_of(t);
    session *there = same_node(t);
    if (now >= t->give_up_ns) {
        give_up(t, KITH_ERR_UNREACHABLE);
    } else if (there) {
        connected(t, there);
    } else {
        kith_err err =
            kith__dial_device(t->op.core, &t->peer, DIAL_ANY, &t->refused, t->give_up_ns - now, &events, t, &t->dial);
        if (err) end(t, err, KITH_OK);
    }
}

/* How long a session may be silent.  One that was there and does not even answer OPEN may be with a node that was
 * killed, and others of the device wait. */
static uint64_t silence_ns(const talk_op *t) { return t->together ? TALK_SILENT_NS : TALK_UNANSWERED_NS; }

/* Bytes of ours that were there half of that ago are not acknowledged: if nothing else came either the
 * session is gone, long before it idles out. */
static void doubt(talk_op *t)
{
    const kith_stream *stream = t->channel->stream;
    uint64_t returned = kith_stream_returned(stream);
    if (t->unreturned && returned == t->returned) kith__session_doubt_one(t->hold.session, silence_ns(t));
    t->unreturned = kith_stream_written(stream) != returned;
    t->returned = returned;
}

static void on_timer(void *user)
{
    talk_op *t = user;
    kith_core *core = t->op.core;
    if (t->channel) {
        session *twin = kith__session_twin(t->hold.session);
        core->env->timers->set(t->timer, now_of(t) + silence_ns(t) / 2);
        doubt(t);
        if (t->opener && twin) twin_came(t, twin); /* one that came before the two were together */
    } else if (!t->opener) {
        give_up(t, KITH_ERR_LOST);
    } else if (!t->dial) {
        look_for_it(t);
    }
    kith__core_pump(core);
}

/* ---- going over ---- */

static void left_readable(channel *c) { (void)c; }
static void left_gone(channel *c, kith_err why)
{
    talk_op *t = c->owner;
    (void)why;
    t->left = NULL;
    kith__channel_free(c);
}

/* There is a session over TCP beside the one it goes over.  The acceptor hears of the new stream before the old one is
 * given up, so that nobody has lost anybody. */
static void twin_came(void *user, session *twin)
{
    static const channel_events quiet = {.readable = left_readable, .gone = left_gone};
    talk_op *t = user;
    channel *left = t->channel;
    if (!t->together || !kith__beside_is_better(twin, t->hold.session, false)) return;
    t->channel = NULL;
    leave_session(t);
    kith_talk_apart(t->talk);
    left->events = &quiet;
    t->left = left;
    connected(t, twin);
}

/* ---- over a session ---- */

static void on_readable(channel *c)
{
    talk_op *t = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) {
        kith_talk_input(t->talk, data, size, false);
        kith_stream_consume(c->stream, size);
    }
    if (fin) kith_talk_input(t->talk, NULL, 0, true);
    step(t);
}

static void on_gone(channel *c, kith_err why) { lost(c->owner, why); }

static void on_datagram(channel *c, const uint8_t *data, size_t size)
{
    talk_op *t = c->owner;
    if (t->together) owner_of(t)->datagram(user_of(t), t->op.id, data, size);
}

static const channel_events events = {.readable = on_readable, .gone = on_gone, .datagram = on_datagram};

static void come_together(talk_op *t)
{
    session *s = t->hold.session, *twin = kith__session_twin(s);
    t->together = true;
    kith__channel_free(t->left);
    t->left = NULL;
    t->since_ns = now_of(t);
    t->refused = (node_set){0}; /* what they do may change */
    if (s->greeted) memcpy(t->instance, s->peer.instance, sizeof t->instance);
    kith__session_unuse(&t->spare);
    if (twin && t->opener) kith__session_use(twin, &t->spare, spare_lost, t);
    if (t->opener) kith__session_want_beside(&t->hold, twin_came, false);
    tell_status(t, false);
    if (t->opener || t->before) tell(t, KITH_EVENT_CONNECTED, KITH_OK);
    t->before = true;
    t->op.core->env->timers->set(t->timer, now_of(t) + silence_ns(t));
}

static void connected(void *user, session *with)
{
    talk_op *t = user;
    kith__dial_free(t->dial);
    t->dial = NULL;
    kith__session_use(with, &t->hold, on_lost, t);
    kith_err err = kith__channel_open(with, STREAM_TALK, &events, t, &t->channel);
    if (!err) err = kith_talk_begin(t->talk, NULL);
    if (err == KITH_ERR_STATE) err = KITH_ERR_LOST; /* the session has just ended */
    if (err) {
        lost(t, err);
        return;
    }
    t->op.core->env->timers->set(t->timer, now_of(t) + silence_ns(t));
    step(t);
}

/* False: the connection is over and gone. */
static bool take_events(talk_op *t)
{
    const kith_core_talk *owner = owner_of(t);
    for (kith_talk_event event; (event = kith_talk_event_take(t->talk)) != KITH_TALK_NOTHING;) {
        kith_talk_message *m;
        switch (event) {
        case KITH_TALK_ACCEPTED: come_together(t); break;
        case KITH_TALK_MESSAGE:
            m = kith_talk_take(t->talk);
            if (!m || owner->message(user_of(t), t->op.id, m)) break;
            kith_free(m);
            end(t, KITH_ERR_NOMEM, KITH_ERR_INTERNAL);
            return false;
        case KITH_TALK_CONFIRMED: owner->confirmed(user_of(t), t->op.id, kith_talk_confirmed(t->talk)); break;
        case KITH_TALK_FINISHED: tell_status(t, true); break;
        case KITH_TALK_OVER: return true; /* the last of them; what is to be said goes first */
        default: break;
        }
    }
    return true;
}

static kith_err write_out(talk_op *t)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    kith_err err = KITH_OK;
    while (!err && t->channel && kith_talk_output(t->talk, &data, &size, &fin)) {
        if (size) err = kith_stream_write(t->channel->stream, data, size);
        if (!err && fin) err = kith_stream_finish(t->channel->stream);
    }
    return err == KITH_ERR_STATE ? KITH_OK : err; /* the stream is over: on_gone comes and says why */
}

/* Everything that is due.  The operation may be gone on return. */
static void step(talk_op *t)
{
    bool over_now = kith_talk_is_over(t->talk);
    if (!take_events(t)) return;
    kith_err err = write_out(t);
    if (over_now)
        over(t);
    else if (err)
        end(t, err, KITH_ERR_INTERNAL);
    else if (t->together && now_of(t) - t->status_ns >= TALK_STATUS_NS)
        tell_status(t, false);
}

/* ---- accepted ones ---- */

talk_op *kith__talk_find(kith_core *core, const uint8_t fingerprint[static 32],
                         const uint8_t id[static KITH_TALK_ID_SIZE])
{
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        talk_op *t = (talk_op *)o;
        if (o->kind == &talk_kind && !t->opener && memcmp(kith_talk_id(t->talk), id, KITH_TALK_ID_SIZE) == 0 &&
            memcmp(t->peer.fingerprint, fingerprint, sizeof t->peer.fingerprint) == 0)
            return t;
    }
    return NULL;
}

kith_err kith__talk_room(kith_core *core, const uint8_t fingerprint[static 32])
{
    size_t ops = 0, accepted = 0, theirs = 0;
    talk_op *longest = NULL;
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        talk_op *t = (talk_op *)o;
        ops++;
        if (o->kind != &talk_kind || t->opener) continue;
        accepted++;
        if (memcmp(t->peer.fingerprint, fingerprint, sizeof t->peer.fingerprint) != 0) continue;
        theirs++;
        if (!t->channel && (!longest || t->lost_ns < longest->lost_ns)) longest = t;
    }
    bool full = theirs >= TALKS_DEVICE_MAX || accepted >= TALKS_ACCEPTED_MAX || ops >= OPS_MAX;
    if (core->closing || (full && !longest)) return KITH_ERR_AGAIN;
    if (full) give_up(longest, KITH_ERR_LOST);
    return KITH_OK;
}

static kith_err talk_new(kith_core *core, const kith_peer *peer, bool opener,
                         const uint8_t id[static KITH_TALK_ID_SIZE], const char *topic, talk_op **out)
{
    talk_op *t = kith_calloc(1, sizeof *t);
    if (!t) return KITH_ERR_NOMEM;
    t->op.core = core;
    t->peer = *peer;
    t->opener = opener;
    t->pause_ns = TALK_PAUSE_NS;
    t->timer = core->env->timers->open(core->env, on_timer, t);
    kith_err err = t->timer ? kith_talk_new(opener, id, topic, &t->talk) : KITH_ERR_NOMEM;
    if (err) {
        talk_free(&t->op);
        return err;
    }
    *out = t;
    return KITH_OK;
}

void kith__talk_resume(talk_op *t, channel *c, const kith_talk_open *open)
{
    leave_session(t); /* one that is as good as lost */
    t->channel = c;
    c->owner = t;
    c->events = &events;
    kith__session_use(c->session, &t->hold, on_lost, t);
    if (!kith_talk_begin(t->talk, open)) come_together(t);
    on_readable(c);
}

kith_err kith__talk_accept(channel *c, const kith_talk_open *open, kith_op serve, kith_op id)
{
    session *s = c->session;
    talk_op *t;
    kith_err err = talk_new(s->core, &s->known, false, open->id, open->topic, &t);
    if (err) return err;
    kith_event event = {.kind = KITH_EVENT_INCOMING, .op = serve, .transfer = id};
    kith__core_describe(&t->peer, &event.device);
    kith__session_path(s, event.path, event.scope, event.address);
    snprintf(event.name, sizeof event.name, "%s", open->topic);
    if (!owner_of(t)->incoming(user_of(t), &event)) {
        talk_free(&t->op);
        return KITH_ERR_AGAIN;
    }
    if (!kith__core_begin(s->core, &t->op, id, &talk_kind)) { /* not after kith__talk_room */
        talk_free(&t->op);
        return KITH_ERR_AGAIN;
    }
    kith__talk_resume(t, c, open);
    return KITH_OK;
}

/* ---- what the application says ---- */

void kith_core_connect(kith_core *core, kith_op id, const char *device_id, const kith_connect_options *options)
{
    kith_peer peer;
    kith_err err = KITH_OK;
    uint8_t name[KITH_TALK_ID_SIZE];
    talk_op *t = NULL;
    if (!core->config.talk) err = KITH_ERR_UNSUPPORTED;
    if (!err && (!options->topic || !kith_talk_topic_good(options->topic))) err = KITH_ERR_ARG;
    if (!err && !kith__core_find_peer_id(core, device_id, &peer, &err)) {
        kith__core_refuse_device(core, id, err, device_id);
        return;
    }
    kith_rng_bytes(&core->rng, name, sizeof name);
    if (!err) err = talk_new(core, &peer, true, name, options->topic, &t);
    if (err) {
        kith__core_refuse(core, id, err, NULL);
        return;
    }
    t->patience_ns = options->patience_s * SECOND_NS;
    if (!kith__core_begin(core, &t->op, id, &talk_kind)) {
        talk_free(&t->op);
        return;
    }
    tell_status(t, false);
    set_patience(t);
    look_for_it(t);
    kith__core_pump(core);
}

static talk_op *find(kith_core *core, kith_op id)
{
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        if (o->id == id) return o->kind == &talk_kind ? (talk_op *)o : NULL;
    }
    return NULL;
}

void kith_core_send_message(kith_core *core, kith_op connection, kith_talk_message *message)
{
    talk_op *t = find(core, connection);
    if (!t || kith_talk_send(t->talk, message)) {
        if (t) t->dropped = true; /* it was finished meanwhile */
        kith_free(message);
        return;
    }
    step(t);
    kith__core_pump(core);
}

void kith_core_send_datagram(kith_core *core, kith_op connection, const void *data, size_t size)
{
    talk_op *t = find(core, connection);
    if (!t || !t->together) return;
    kith_err err = kith__channel_datagram(t->channel, data, size);
    if (err) kith__core_log(core, KITH_LOG_DEBUG, "a datagram was not sent: %s", kith_err_text(err));
    if (err == KITH_ERR_LIMIT) tell_status(t, false); /* the path carries less now */
    kith__core_pump(core);
}

void kith_core_finish(kith_core *core, kith_op connection)
{
    talk_op *t = find(core, connection);
    if (!t) return;
    kith_talk_finish(t->talk);
    step(t);
    kith__core_pump(core);
}

void kith_core_taken(kith_core *core, kith_op connection, uint64_t messages, size_t bytes)
{
    talk_op *t = find(core, connection);
    if (!t) return;
    kith_talk_taken(t->talk, messages, bytes);
    step(t);
    kith__core_pump(core);
}
