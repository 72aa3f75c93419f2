/* One attempt to pair: the glue between a stream and service/pair's state machine, which host and joiner share. */
#include "op/pair.h"

#include "base/mem.h"
#include "node/lan.h"
#include "node/own.h"
#include "node/relay.h"
#include "service/wire_error.h"

#include <stdio.h>
#include <string.h>

/* For a host to prove itself: others may show the same tag.  One that refuses this device first waits for its appeal,
 * and then tells it why. */
#define JOIN_STEP_NS  (OWN_APPEAL_NS + OWN_TELL_NS + 2 * SECOND_NS)
#define JOIN_GRAPH_NS (10 * SECOND_NS) /* for the network that was joined to arrive; who shows it stays as long */

void kith__pair_run_free(pair_run *r)
{
    pair_op *p = r->op;
    kith_core *core = p->op.core;
    kith_err err = kith_pairing_error(r->machine);
    if (r->counted) kith_code_end(&p->code, &r->source, kith_pairing_attempt(r->machine));
    /* Our last message may be overtaken by the end of the other direction: that says why, too. */
    if (r->channel && err) kith_stream_stop(r->channel->stream, kith_wire_error_of(err));
    kith__channel_free(r->channel);
    kith__session_unuse(&r->hold);
    core->env->timers->close(r->timer);
    kith_pairing_free(r->machine);
    kith_list_remove(&r->link);
    kith_free(r);
}

/* Both have stored it. */
void kith__pair_run_complete(pair_run *r)
{
    pair_op *p = r->op;
    kith_core *core = p->op.core;
    kith_event event = {.kind = KITH_EVENT_PAIRED, .op = p->op.id, .already = r->pin.already};
    kith__core_describe(&r->pin.peer, &event.device);
    kith__core_seen(core, &r->pin.peer, &r->remote);
    kith__pair_run_free(r);
    kith__core_emit(core, &event);
    kith__pair_finish(p, KITH_OK, NULL);
}

/* ---- failures ---- */

static void describe_changed(const pair_run *r, kith_err err, bool by_peer, char *out, size_t size)
{
    const char *other = err == KITH_ERR_KEY_CHANGED ? "with another key" : "under another id";
    if (by_peer)
        snprintf(out, size, "%s knows this device %s: run `kith forget` there, then pair again", r->peer.name, other);
    else
        snprintf(out, size,
                 "this device is known here as \"%s\", but %s: if it was set up anew, run `kith forget \"%s\"`, then "
                 "pair again; if not, do not trust it",
                 r->pin.known_as, other, r->pin.known_as);
}

static void describe_failure(const pair_run *r, kith_err err, char *out, size_t size)
{
    bool by_peer = kith_pairing_failed_by_peer(r->machine);
    *out = 0;
    if (r->refused)
        snprintf(
            out, size,
            "this device has own devices already: run `kith pair` here and `kith join` there; or join as a contact "
            "(--contact); or leave them for the other's (--replace-master)");
    else if (err == KITH_ERR_ARG)
        snprintf(out, size, "%s pairs as %s and this one as %s: say --contact on both, or on neither",
                 by_peer ? "the other device" : r->peer.name,
                 r->op->kind == KITH_PAIR_OWN ? "a contact" : "an own device",
                 r->op->kind == KITH_PAIR_OWN ? "an own device" : "a contact");
    else if (err == KITH_ERR_CODE && !r->op->host)
        snprintf(out, size, "the code is wrong: check the last four words with the other device");
    else if (err == KITH_ERR_DECLINED && by_peer)
        snprintf(out, size, "the other side declined");
    else if (err == KITH_ERR_DECLINED)
        snprintf(out, size, "declined here: nothing was paired");
    else if (err == KITH_ERR_AGAIN)
        snprintf(out, size, "the other device is busy with another attempt: try again");
    else if (err == KITH_ERR_REMOTE_STORAGE)
        snprintf(out, size, "the other device could not store the pairing: see the message there");
    else if (err == KITH_ERR_KEY_CHANGED || err == KITH_ERR_ID_CHANGED)
        describe_changed(r, err, by_peer, out, size);
    else if (!by_peer && r->pin.err == err && *r->pin.message)
        snprintf(out, size, "%s", r->pin.message);
    size_t n = strlen(out);
    if (r->pin.stored)
        snprintf(out + n, size - n, "%s%s knows it now, the other device perhaps not: pair again", n ? "; " : "",
                 n ? "this one" : "this device");
}

/* The host goes on waiting after a failed attempt, unless that burnt the code or came after the proof. */
static void run_failed(pair_run *r)
{
    pair_op *p = r->op;
    kith_core *core = p->op.core;
    kith_err err = kith_pairing_error(r->machine);
    if (err == KITH_ERR_CANCELLED) err = KITH_ERR_DECLINED; /* the person there stopped: here nobody did */
    if (r->refused) err = KITH_ERR_STATE;
    bool wrong = kith_pairing_attempt(r->machine) == KITH_ATTEMPT_WRONG, proven = r->proven;
    /* What somebody says who has proven nothing is no reason to give up. */
    bool elsewhere =
        kith_pairing_failed_by_peer(r->machine) || wrong || err == KITH_ERR_PROTOCOL || err == KITH_ERR_TIMEOUT;
    char message[sizeof p->end_message];
    describe_failure(r, err, message, sizeof message);
    kith__pair_run_free(r);
    if (!p->host && !proven && elsewhere) {
        kith__pair_try_next(p, err, message);
    } else if (!p->host || proven) {
        kith__pair_finish(p, err, *message ? message : NULL);
    } else {
        if (wrong)
            kith__core_emit(core, &(kith_event){.kind = KITH_EVENT_ATTEMPT, .op = p->op.id, .err = KITH_ERR_CODE});
        if (kith_code_state(&p->code, kith__core_now(core)) == KITH_ERR_CODE_BURNT)
            kith__pair_finish(p, KITH_ERR_CODE_BURNT, NULL);
    }
}

static void ask(pair_run *r)
{
    pair_op *p = r->op;
    if (kith__pair_somebody_proven(p)) { /* a code is good for one; the person is being asked about that one */
        kith_pairing_fail(r->machine, KITH_ERR_AGAIN);
        return;
    }
    r->proven = true;
    r->refused = !p->host && p->kind == KITH_PAIR_OWN && !p->replace && kith__own_has_others(p->op.core) &&
                 !kith__own_is_member(p->op.core, r->peer.fingerprint);
    if (r->refused) {
        kith_pairing_fail(r->machine, KITH_ERR_DECLINED);
        return;
    }
    if (r->counted) {
        kith_code_end(&p->code, &r->source, KITH_ATTEMPT_RIGHT);
        r->counted = false;
        kith__lan_announce(p->op.core); /* the code is used: its tag goes */
    }
    p->op.core->env->timers->set(r->timer, kith__core_now(p->op.core) + KITH_PAIR_PEOPLE_NS);
    if (p->yes) {
        kith_pairing_answer(r->machine, true);
        return;
    }
    kith_event event = {.kind = KITH_EVENT_ASK, .op = p->op.id};
    kith__core_describe_hello(&r->peer, &event.device);
    event.device.trust = p->kind == KITH_PAIR_OWN ? KITH_RELATION_OWN : KITH_RELATION_CONTACT;
    kith__core_emit(p->op.core, &event);
}

static void pinned(pin_job *job)
{
    pair_run *r = KITH_OF(job, pair_run, pin);
    pair_op *p = r->op;
    r->pinning = false;
    if (p->over) { /* cancelled meanwhile: what is pinned stays, the other side may have it too */
        kith__pair_run_free(r);
        kith__pair_try_end(p);
        return;
    }
    if (!job->err && p->kind == KITH_PAIR_OWN && r->hold.session) kith__session_paired(r->hold.session);
    kith_pairing_stored(r->machine, job->err);
    kith__pair_run_step(r);
}

/* Who answers in the last moment is not cut off by it while both store what was agreed. */
static void await_machine(pair_run *r)
{
    const kith_core *core = r->op->op.core;
    core->env->timers->set(r->timer, kith__core_now(core) + KITH_PAIR_STEP_NS);
}

static void pin(pair_run *r)
{
    pair_op *p = r->op;
    kith_peer_kind kind = p->kind == KITH_PAIR_OWN ? KITH_PEER_OWN : KITH_PEER_CONTACT;
    r->pinning = true;
    kith__book_pin(p->op.core, &r->pin, &r->peer, kind, p->host && kind == KITH_PEER_OWN, pinned);
}

/* The joiner's device is to be in the other's network before this is over. */
static bool entering(const pair_run *r)
{
    const pair_op *p = r->op;
    if (p->host || p->kind != KITH_PAIR_OWN) return false;
    return kith__own_entering(p->op.core) || (r->hold.session && kith__own_joining(r->hold.session));
}

/* The device that was let in asks for the network when it has stored the pairing, and has it a round trip or two later:
 * who leaves before that leaves it outside. */
static bool handing_over(const pair_run *r)
{
    const pair_op *p = r->op;
    return p->host && p->kind == KITH_PAIR_OWN && r->hold.session && !kith__own_has_all(r->hold.session);
}

/* The other device has let this one in, but the disk did not take what that means, or it never came. */
static void run_not_entered(pair_run *r, const kith_problem *why)
{
    pair_op *p = r->op;
    char message[sizeof p->end_message];
    kith_err err = why->err ? why->err : KITH_ERR_LOST;
    if (why->err)
        snprintf(message, sizeof message,
                 "%s has let this device in, but that could not be stored here: %.400s; then run "
                 "`kith join%s` again with a new code",
                 r->peer.name, why->message, p->replace ? " --replace-master" : "");
    else
        snprintf(message, sizeof message,
                 "%s has let this device in, but went away before this one had its network: run "
                 "`kith join --replace-master` again with a new code",
                 r->peer.name);
    kith__pair_run_free(r);
    kith__pair_finish(p, err, message);
}

/* Which it is to be, and is not.  One that was alone enters by itself when the two meet again. */
static bool left_outside(const pair_run *r)
{
    const pair_op *p = r->op;
    return r->joined && p->replace && kith__own_has_others(p->op.core) &&
           !kith__own_is_member(p->op.core, r->peer.fingerprint);
}

/* Done: say so once the peer has our last message, so that leaving at once cannot make it look like a failure there. */
static void run_done(pair_run *r)
{
    pair_op *p = r->op;
    kith_core *core = p->op.core;
    uint64_t now = kith__core_now(core);
    if (!r->done) {
        r->done = true;
        r->linger_until = now + LINGER_NS;
        if (!p->host && p->kind == KITH_PAIR_OWN && r->hold.session) {
            kith__own_join(r->hold.session, p->replace);
            r->joined = true;
        }
        r->entered_until = now + JOIN_GRAPH_NS;
    }
    if ((entering(r) || handing_over(r)) && now < r->entered_until) {
        core->env->timers->set(r->timer, now + LINGER_STEP_NS);
        return;
    }
    if (r->channel && !kith_stream_all_acked(r->channel->stream) && now < r->linger_until) {
        core->env->timers->set(r->timer, now + LINGER_STEP_NS);
        return;
    }
    const kith_problem *why = kith__own_not_entered(core);
    if ((r->joined && why->err) || left_outside(r))
        run_not_entered(r, why);
    else
        kith__pair_run_complete(r);
}

static void host_started(pair_run *r)
{
    pair_op *p = r->op;
    kith_err err = kith_code_begin(&p->code, &r->source, kith__core_now(p->op.core));
    if (err) {
        kith_pairing_fail(r->machine, err == KITH_ERR_STATE ? KITH_ERR_CODE_EXPIRED : err);
        return;
    }
    r->counted = true;
    kith_pairing_go(r->machine);
}

static void flush(pair_run *r)
{
    uint8_t out[KITH_PAIR_OUTPUT_MAX];
    bool fin;
    size_t size = kith_pairing_output(r->machine, out, sizeof out, &fin);
    if (!r->channel) return;
    if (size && kith_stream_write(r->channel->stream, out, size))
        kith__core_log(r->op->op.core, KITH_LOG_DEBUG, "pair: the stream takes nothing more");
    if (fin && kith_stream_finish(r->channel->stream))
        kith__core_log(r->op->op.core, KITH_LOG_DEBUG, "pair: ended twice");
}

void kith__pair_run_stop(pair_run *r, kith_err why)
{
    if (!r->done) {
        kith_pairing_fail(r->machine, why);
        flush(r);
    }
    if (!r->pinning) kith__pair_run_free(r);
}

/* While the job is out nothing is: pinned() comes here. */
void kith__pair_run_step(pair_run *r)
{
    while (!r->pinning) {
        kith_pairing_event event = kith_pairing_take_event(r->machine);
        flush(r);
        switch (event) {
        case KITH_PAIR_NOTHING: return;
        case KITH_PAIR_STARTED: host_started(r); break;
        case KITH_PAIR_PROVEN: ask(r); break;
        case KITH_PAIR_AGREED: await_machine(r); break;
        case KITH_PAIR_PIN: pin(r); break;
        case KITH_PAIR_DONE: run_done(r); return;
        case KITH_PAIR_FAILED: run_failed(r); return;
        }
    }
}

static void run_readable(channel *c)
{
    pair_run *r = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) {
        kith_pairing_input(r->machine, data, size, false);
        kith_stream_consume(c->stream, size);
    }
    if (fin) kith_pairing_input(r->machine, NULL, 0, true);
    kith__pair_run_step(r);
}

/* The stream is over.  Before the end that is a failure; after it nothing is missing. */
static void run_gone(channel *c, kith_err why)
{
    pair_run *r = c->owner;
    kith__channel_free(r->channel);
    r->channel = NULL;
    if (r->done) {
        run_done(r);
        return;
    }
    kith_pairing_gone(r->machine, why);
    kith__pair_run_step(r);
}

static void run_lost(void *user, kith_err why)
{
    pair_run *r = user;
    (void)r;
    (void)why; /* its channel has heard it */
}

static void run_timer(void *user)
{
    pair_run *r = user;
    kith_core *core = r->op->op.core;
    if (r->done) {
        run_done(r);
    } else {
        kith_pairing_fail(r->machine, KITH_ERR_TIMEOUT);
        kith__pair_run_step(r);
    }
    kith__core_pump(core);
}

pair_run *kith__pair_run_new(pair_op *p, session *s)
{
    kith_core *core = p->op.core;
    uint8_t random[64], hash[KITH_BINDING_SIZE];
    pair_run *r = kith_calloc(1, sizeof *r);
    if (!r) return NULL;
    kith_rng_bytes(&core->rng, random, sizeof random);
    kith_conn_handshake_hash(s->conn, hash);
    r->op = p;
    r->source = kith__relays_source(core, &s->remote);
    r->remote = s->remote;
    r->peer = s->peer;
    r->timer = core->env->timers->open(core->env, run_timer, r);
    kith_err err = r->timer ? KITH_OK : KITH_ERR_NOMEM;
    if (!err)
        err = kith_pairing_new(&(kith_pairing_config){.host = p->host,
                                                      .kind = p->kind,
                                                      .words = &p->words,
                                                      .signer = &core->signer,
                                                      .self = &core->self,
                                                      .peer = &s->peer,
                                                      .handshake_hash = hash,
                                                      .random = random},
                               &r->machine);
    kith_wipe(random, sizeof random);
    if (err) {
        core->env->timers->close(r->timer);
        kith_free(r);
        return NULL;
    }
    kith__session_use(s, &r->hold, run_lost, r);
    kith_list_append(&p->runs, &r->link);
    core->env->timers->set(r->timer, kith__core_now(core) + (p->host ? KITH_PAIR_STEP_NS : JOIN_STEP_NS));
    return r;
}

const channel_events kith__pair_run_events = {.readable = run_readable, .gone = run_gone};
