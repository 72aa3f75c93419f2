/* Pairing as an operation: the host shows a code and serves attempts, the joiner finds the host and makes one; and the
 * glue between a stream and service/pair's state machine that both share. */
#include "base/mem.h"
#include "node/book.h"
#include "node/dial.h"
#include "node/lan.h"
#include "node/own.h"
#include "node/relay.h"
#include "service/pairing.h"
#include "service/wire_error.h"

#include <stdio.h>
#include <string.h>

#define RUNS_MAX         16               /* attempts under way at a host; the next is refused */
#define RUNS_SOURCE_MAX  4                /* of these from one source */
#define JOIN_PATIENCE_NS (30 * SECOND_NS) /* to find the device that shows the code */
#define JOIN_STEP_NS     (5 * SECOND_NS)  /* for a host to prove itself: others may show the same tag */
#define JOIN_HOSTS_MAX   32               /* that show the tag and are connected to */
#define JOIN_OTHERS_NS   (2 * SECOND_NS)  /* after a failure, for another one to appear */
#define JOIN_GRAPH_NS    (10 * SECOND_NS) /* for the network that was joined to arrive */
#define EXPIRES_MAX_S    3600u
#define WARN_BEFORE_NS   (60 * SECOND_NS)

typedef struct pair_op pair_op;

/* One attempt, on one stream. */
typedef struct run {
    kith_link link;
    pair_op *op;
    channel *channel; /* NULL once it is over */
    session_hold hold;
    kith_pairing *machine;
    kith_addr source, remote; /* as attempts are counted; where it is */
    kith_hello peer;
    bool counted; /* host: kith_code_begin said yes and kith_code_end was not called */
    bool proven, done;
    bool refused; /* the joiner has own devices, and the host is none of them */
    bool pinning; /* the job is out: the run stays, and what happens meanwhile waits */
    kith_timer *timer;
    uint64_t linger_until, entered_until;
    pin_job pin;
} run;

struct pair_op {
    op op;
    bool host, yes, over, replace;
    kith_pairing_kind kind;
    kith_words words;
    kith_code code; /* host */
    kith_timer *timer;
    uint64_t warn_ns;
    kith_list runs;
    dial *dial;                                           /* joiner */
    uint8_t tried[JOIN_HOSTS_MAX][KITH_FINGERPRINT_SIZE]; /* joiner: hosts, in the order of connecting */
    size_t tried_count;
    kith_err tried_err; /* how it went with the last of them */
    char tried_message[640];
    kith_err end_err;
    char end_message[640];
};

static void run_step(run *r);

/* ---- an operation's end: when its last run's job is done ---- */

static void run_free(run *r);

static void pair_free(op *o)
{
    pair_op *p = (pair_op *)o;
    KITH_EACH (at, &p->runs) run_free(KITH_OF(at, run, link));
    kith__dial_free(p->dial);
    o->core->env->timers->close(p->timer);
    kith_wipe(p, sizeof *p);
    kith_free(p);
}

static void try_end(pair_op *p)
{
    kith_core *core = p->op.core;
    if (!p->over || !kith_list_empty(&p->runs)) return;
    if (core->host == p) core->host = NULL;
    kith__lan_announce(core);
    kith__op_end(&p->op, p->end_err, *p->end_message ? p->end_message : NULL);
    pair_free(&p->op);
}

static void run_free(run *r)
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

/* Over: what can go at once goes, a run whose job is out follows when the job is done. */
static void pair_finish(pair_op *p, kith_err err, const char *message)
{
    if (p->over) return;
    p->over = true;
    p->end_err = err;
    snprintf(p->end_message, sizeof p->end_message, "%s", message ? message : "");
    KITH_EACH (at, &p->runs) {
        run *r = KITH_OF(at, run, link);
        bool finished = r->done;
        if (!finished) kith_pairing_fail(r->machine, err ? err : KITH_ERR_STATE);
        if (!finished && r->channel) {
            uint8_t out[KITH_PAIR_OUTPUT_MAX];
            bool fin;
            size_t size = kith_pairing_output(r->machine, out, sizeof out, &fin);
            if (size && !kith_stream_write(r->channel->stream, out, size) && fin &&
                kith_stream_finish(r->channel->stream))
                kith__core_log(p->op.core, KITH_LOG_DEBUG, "pair stream ended twice");
        }
        if (!r->pinning) run_free(r);
    }
    try_end(p);
}

/* Both have stored it. */
static void run_complete(run *r)
{
    pair_op *p = r->op;
    kith_core *core = p->op.core;
    kith_event event = {.kind = KITH_EVENT_PAIRED, .op = p->op.id, .already = r->pin.already};
    kith__core_describe(&r->pin.peer, &event.device);
    kith__core_seen(core, &r->pin.peer, &r->remote);
    run_free(r);
    kith__core_emit(core, &event);
    pair_finish(p, KITH_OK, NULL);
}

static void pair_cancel(op *o, kith_err why)
{
    pair_op *p = (pair_op *)o;
    KITH_EACH (at, &p->runs) {
        run *r = KITH_OF(at, run, link);
        if (!r->done) continue;
        run_complete(r); /* too late: it is done */
        return;
    }
    pair_finish(p, why, NULL);
}

static bool pair_answer(op *o, kith_op question, bool yes)
{
    pair_op *p = (pair_op *)o;
    if (question != o->id) return false;
    KITH_EACH (at, &p->runs) {
        run *r = KITH_OF(at, run, link);
        if (!r->proven) continue;
        kith_pairing_answer(r->machine, yes);
        run_step(r);
        return true;
    }
    return false;
}

static const op_kind pair_kind = {
    .name = "pair", .needs_keys = true, .cancel = pair_cancel, .free = pair_free, .answer = pair_answer};

/* ---- one attempt ---- */

static void describe_changed(const run *r, kith_err err, bool by_peer, char *out, size_t size)
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

static void describe_failure(const run *r, kith_err err, char *out, size_t size)
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

static void next_host(pair_op *p)
{
    if (p->tried_count < JOIN_HOSTS_MAX)
        kith__dial_next(p->dial, kith__dial_more(p->dial) ? JOIN_PATIENCE_NS : JOIN_OTHERS_NS);
    else
        pair_finish(p, p->tried_err, *p->tried_message ? p->tried_message : NULL);
}

/* The joiner goes on to the next device that shows the same tag: an impostor may have come first. */
static void try_next(pair_op *p, kith_err err, const char *message)
{
    p->tried_err = err;
    snprintf(p->tried_message, sizeof p->tried_message, "%s", message);
    next_host(p);
}

/* The host goes on waiting after a failed attempt, unless that burnt the code or came after the proof. */
static void run_failed(run *r)
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
    run_free(r);
    if (!p->host && !proven && elsewhere) {
        try_next(p, err, message);
    } else if (!p->host || proven) {
        pair_finish(p, err, *message ? message : NULL);
    } else {
        if (wrong)
            kith__core_emit(core, &(kith_event){.kind = KITH_EVENT_ATTEMPT, .op = p->op.id, .err = KITH_ERR_CODE});
        if (kith_code_state(&p->code, kith__core_now(core)) == KITH_ERR_CODE_BURNT)
            pair_finish(p, KITH_ERR_CODE_BURNT, NULL);
    }
}

static bool somebody_proven(const pair_op *p)
{
    for (const kith_link *at = p->runs.head.next; at != &p->runs.head; at = at->next)
        if (KITH_OF(at, const run, link)->proven) return true;
    return false;
}

static void ask(run *r)
{
    pair_op *p = r->op;
    if (somebody_proven(p)) { /* a code is good for one; the person is being asked about that one */
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
    run *r = KITH_OF(job, run, pin);
    pair_op *p = r->op;
    r->pinning = false;
    if (p->over) { /* cancelled meanwhile: what is pinned stays, the other side may have it too */
        run_free(r);
        try_end(p);
        return;
    }
    if (!job->err && p->kind == KITH_PAIR_OWN && r->hold.session) kith__session_paired(r->hold.session);
    kith_pairing_stored(r->machine, job->err);
    run_step(r);
}

static void pin(run *r)
{
    pair_op *p = r->op;
    kith_peer_kind kind = p->kind == KITH_PAIR_OWN ? KITH_PEER_OWN : KITH_PEER_CONTACT;
    r->pinning = true;
    kith__book_pin(p->op.core, &r->pin, &r->peer, kind, p->host && kind == KITH_PEER_OWN, pinned);
}

/* The joiner's device is to be in the other's network before this is over. */
static bool entering(const run *r)
{
    const pair_op *p = r->op;
    return !p->host && p->kind == KITH_PAIR_OWN && r->hold.session && kith__own_joining(r->hold.session);
}

/* Done: say so once the peer has our last message, so that leaving at once cannot make it look like a failure there. */
static void run_done(run *r)
{
    pair_op *p = r->op;
    kith_core *core = p->op.core;
    uint64_t now = kith__core_now(core);
    if (!r->done) {
        r->done = true;
        r->linger_until = now + LINGER_NS;
        if (!p->host && p->kind == KITH_PAIR_OWN && r->hold.session) kith__own_join(r->hold.session, p->replace);
        r->entered_until = now + JOIN_GRAPH_NS;
    }
    if (entering(r) && now < r->entered_until) {
        core->env->timers->set(r->timer, now + LINGER_STEP_NS);
        return;
    }
    if (r->channel && !kith_stream_all_acked(r->channel->stream) && now < r->linger_until) {
        core->env->timers->set(r->timer, now + LINGER_STEP_NS);
        return;
    }
    run_complete(r);
}

static void host_started(run *r)
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

static void flush(run *r)
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

/* Everything that is due; the run may be gone on return.  While the job is out nothing is: pinned() comes here. */
static void run_step(run *r)
{
    while (!r->pinning) {
        kith_pairing_event event = kith_pairing_take_event(r->machine);
        flush(r);
        switch (event) {
        case KITH_PAIR_NOTHING: return;
        case KITH_PAIR_STARTED: host_started(r); break;
        case KITH_PAIR_PROVEN: ask(r); break;
        case KITH_PAIR_PIN: pin(r); break;
        case KITH_PAIR_DONE: run_done(r); return;
        case KITH_PAIR_FAILED: run_failed(r); return;
        }
    }
}

static void run_readable(channel *c)
{
    run *r = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) {
        kith_pairing_input(r->machine, data, size, false);
        kith_stream_consume(c->stream, size);
    }
    if (fin) kith_pairing_input(r->machine, NULL, 0, true);
    run_step(r);
}

/* The stream is over.  Before the end that is a failure; after it nothing is missing. */
static void run_gone(channel *c, kith_err why)
{
    run *r = c->owner;
    kith__channel_free(r->channel);
    r->channel = NULL;
    if (r->done) {
        run_done(r);
        return;
    }
    kith_pairing_gone(r->machine, why);
    run_step(r);
}

static void run_lost(void *user, kith_err why)
{
    run *r = user;
    (void)r;
    (void)why; /* its channel has heard it */
}

static void run_timer(void *user)
{
    run *r = user;
    kith_core *core = r->op->op.core;
    if (r->done) {
        run_done(r);
    } else {
        kith_pairing_fail(r->machine, KITH_ERR_TIMEOUT);
        run_step(r);
    }
    kith__core_pump(core);
}

static run *run_new(pair_op *p, session *s)
{
    kith_core *core = p->op.core;
    uint8_t random[64], hash[KITH_BINDING_SIZE];
    run *r = kith_calloc(1, sizeof *r);
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

static const channel_events run_events = {.readable = run_readable, .gone = run_gone};

/* ---- host ---- */

kith_err kith__pair_serve(channel *c)
{
    pair_op *p = c->session->core->host;
    size_t count = 0, same = 0;
    if (!p || p->over) return KITH_ERR_NOT_ALLOWED;
    kith_addr source = kith__relays_source(p->op.core, &c->session->remote);
    KITH_EACH (at, &p->runs) {
        same += kith_addr_same_ip(&source, &KITH_OF(at, run, link)->source);
        count++;
    }
    if (count >= RUNS_MAX || same >= RUNS_SOURCE_MAX) return KITH_ERR_AGAIN;
    run *r = run_new(p, c->session);
    if (!r) return KITH_ERR_NOMEM;
    r->channel = c;
    c->owner = r;
    c->events = &run_events;
    return KITH_OK;
}

bool kith__pair_tag(const kith_core *core, uint32_t *tag)
{
    pair_op *p = core->host;
    if (!p || p->over || kith_code_state(&p->code, kith__core_now(core))) return false;
    *tag = kith_words_tag(&p->words);
    return true;
}

static void host_timer(void *user)
{
    pair_op *p = user;
    kith_core *core = p->op.core;
    uint64_t now = kith__core_now(core);
    if (now >= p->code.expires_ns) {
        if (!somebody_proven(p)) pair_finish(p, KITH_ERR_CODE_EXPIRED, NULL);
    } else {
        if (p->warn_ns && now >= p->warn_ns) {
            p->warn_ns = 0;
            kith__core_emit(core, &(kith_event){.kind = KITH_EVENT_EXPIRING, .op = p->op.id});
        }
        core->env->timers->set(p->timer, p->warn_ns ? p->warn_ns : p->code.expires_ns);
    }
    kith__core_pump(core);
}

static pair_op *pair_new(kith_core *core, kith_op id, const kith_pair_options *options, bool host)
{
    pair_op *p = kith_calloc(1, sizeof *p);
    if (p) p->timer = core->env->timers->open(core->env, host_timer, p);
    if (!p || !p->timer) {
        kith_free(p);
        kith__core_refuse(core, id, KITH_ERR_NOMEM, NULL);
        return NULL;
    }
    p->host = host;
    p->yes = options->yes;
    p->replace = options->replace_network;
    p->kind = options->contact ? KITH_PAIR_CONTACT : KITH_PAIR_OWN;
    kith_list_init(&p->runs);
    if (!kith__core_begin(core, &p->op, id, &pair_kind)) {
        core->env->timers->close(p->timer);
        kith_free(p);
        return NULL;
    }
    return p;
}

void kith_core_pair(kith_core *core, kith_op id, const kith_pair_options *options)
{
    uint64_t now = kith__core_now(core), life = options->expires_s ? options->expires_s * SECOND_NS : KITH_CODE_LIFE_NS;
    char text[KITH_CODE_TEXT_SIZE];
    kith_addr somebody;
    if (core->host || options->expires_s > EXPIRES_MAX_S) {
        kith__core_refuse(core, id, core->host ? KITH_ERR_STATE : KITH_ERR_ARG,
                          core->host ? "a pairing code is open already" : "a code can live for an hour at most");
        return;
    }
    pair_op *p = pair_new(core, id, options, true);
    if (!p) return;
    do kith_words_draw(&core->rng, &p->words);
    while (
        kith__lan_find_tag(core, kith_words_tag(&p->words), &somebody, NULL, 1)); /* somebody else's code begins so */
    kith_code_init(&p->code, &p->words, now + life);
    p->warn_ns = life > WARN_BEFORE_NS ? now + life - WARN_BEFORE_NS : 0;
    core->host = p;
    core->env->timers->set(p->timer, p->warn_ns ? p->warn_ns : p->code.expires_ns);
    kith_event event = {.kind = KITH_EVENT_CODE, .op = id};
    event.expires_ms = core->env->base->wall_ms(core->env) + (int64_t)(life / 1000000);
    snprintf(event.words, sizeof event.words, "%s", kith_words_text(&p->words, text));
    kith__core_emit(core, &event);
    kith_wipe(text, sizeof text);
    kith_wipe(event.words, sizeof event.words);
    kith__lan_announce(core);
    kith__core_pump(core);
}

/* ---- joiner ---- */

/* Each host gets one try, at whichever of its addresses: a second would be one guess more against the code. */
static bool tried_before(pair_op *p, const session *s)
{
    bool before = false;
    for (size_t i = 0; i < p->tried_count; i++)
        before |= memcmp(p->tried[i], s->peer.fingerprint, sizeof p->tried[i]) == 0;
    memcpy(p->tried[p->tried_count++], s->peer.fingerprint, sizeof p->tried[0]);
    return before;
}

static void join_connected(void *user, session *s)
{
    pair_op *p = user;
    if (tried_before(p, s)) {
        kith__session_close(s, KITH_OK);
        next_host(p);
        return;
    }
    run *r = run_new(p, s);
    kith_err err = r ? kith__channel_open(s, STREAM_PAIR, &run_events, r, &r->channel) : KITH_ERR_NOMEM;
    if (err) {
        if (r) run_free(r);
        pair_finish(p, err, NULL);
        return;
    }
    run_step(r); /* START is waiting to be sent */
}

static void join_failed(void *user, kith_err why)
{
    pair_op *p = user;
    char message[640], relay[400];
    if (p->tried_err) /* all who showed the tag were tried */
        pair_finish(p, p->tried_err, *p->tried_message ? p->tried_message : NULL);
    else if (why == KITH_ERR_UNREACHABLE && kith__relays_problem(p->op.core, relay, sizeof relay)) {
        snprintf(message, sizeof message,
                 "no device on this network shows a code that begins with these two words, and %s", relay);
        pair_finish(p, KITH_ERR_NOT_FOUND, message);
    } else if (why == KITH_ERR_UNREACHABLE)
        pair_finish(p, KITH_ERR_NOT_FOUND,
                    "no device on this network shows a code that begins with these two words: check them, that `kith "
                    "pair` is still waiting there, and that both are on the same network");
    else
        pair_finish(p, why, NULL);
}

void kith_core_join(kith_core *core, kith_op id, const char *words, const kith_pair_options *options)
{
    static const dial_events events = {.connected = join_connected, .failed = join_failed};
    char why[512];
    kith_words parsed;
    if (kith_words_parse(words, &parsed, why, sizeof why)) {
        kith__core_refuse(core, id, KITH_ERR_CODE, why);
        return;
    }
    pair_op *p = pair_new(core, id, options, false);
    if (!p) return;
    p->words = parsed;
    kith_wipe(&parsed, sizeof parsed);
    uint64_t patience = options->expires_s ? options->expires_s * SECOND_NS : JOIN_PATIENCE_NS;
    kith_err err = kith__dial_tag(core, kith_words_tag(&p->words), patience, &events, p, &p->dial);
    if (err) pair_finish(p, err, NULL);
    kith__core_pump(core);
}
