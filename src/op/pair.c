/* Pairing as an operation: the host shows a code and serves attempts, the joiner finds hosts and makes one with each.
 */
#include "op/pair.h"

#include "base/mem.h"
#include "node/lan.h"
#include "node/own.h"
#include "node/relay.h"
#include "op/hooks.h"
#include "op/op.h"

#include <stdio.h>
#include <string.h>

#define RUNS_MAX         16               /* attempts under way at a host; the next is refused */
#define RUNS_SOURCE_MAX  4                /* of these from one source */
#define JOIN_PATIENCE_NS (30 * SECOND_NS) /* to find the device that shows the code */
#define JOIN_OTHERS_NS   (2 * SECOND_NS)  /* after a failure, for another one to appear */
#define EXPIRES_MAX_S    3600u
#define WARN_BEFORE_NS   (60 * SECOND_NS)

/* ---- an operation's end: when its last run's job is done ---- */

static void pair_free(op *o)
{
    pair_op *p = (pair_op *)o;
    KITH_EACH (at, &p->runs) kith__pair_run_free(KITH_OF(at, pair_run, link));
    kith__dial_free(p->dial);
    o->core->env->timers->close(p->timer);
    kith_wipe(p, sizeof *p);
    kith_free(p);
}

void kith__pair_try_end(pair_op *p)
{
    kith_core *core = p->op.core;
    if (!p->over || !kith_list_empty(&p->runs)) return;
    if (core->host == p) core->host = NULL;
    kith__lan_announce(core);
    kith__op_end(&p->op, p->end_err, *p->end_message ? p->end_message : NULL);
    pair_free(&p->op);
}

/* Over: what can go at once goes, a run whose job is out follows when the job is done. */
void kith__pair_finish(pair_op *p, kith_err err, const char *message)
{
    if (p->over) return;
    p->over = true;
    p->end_err = err;
    snprintf(p->end_message, sizeof p->end_message, "%s", message ? message : "");
    KITH_EACH (at, &p->runs) kith__pair_run_stop(KITH_OF(at, pair_run, link), err ? err : KITH_ERR_STATE);
    kith__pair_try_end(p);
}

bool kith__pair_somebody_proven(const pair_op *p)
{
    for (const kith_link *at = p->runs.head.next; at != &p->runs.head; at = at->next)
        if (KITH_OF(at, const pair_run, link)->proven) return true;
    return false;
}

static void pair_cancel(op *o, kith_err why)
{
    pair_op *p = (pair_op *)o;
    KITH_EACH (at, &p->runs) {
        pair_run *r = KITH_OF(at, pair_run, link);
        if (!r->done) continue;
        kith__pair_run_complete(r); /* too late: it is done */
        return;
    }
    kith__pair_finish(p, why, NULL);
}

static bool pair_answer(op *o, kith_op question, bool yes)
{
    pair_op *p = (pair_op *)o;
    if (question != o->id) return false;
    KITH_EACH (at, &p->runs) {
        pair_run *r = KITH_OF(at, pair_run, link);
        if (!r->proven) continue;
        kith_pairing_answer(r->machine, yes);
        kith__pair_run_step(r);
        return true;
    }
    return false;
}

static const op_kind pair_kind = {
    .name = "pair", .needs_keys = true, .cancel = pair_cancel, .free = pair_free, .answer = pair_answer};

/* ---- host ---- */

kith_err kith__pair_serve(channel *c)
{
    pair_op *p = c->session->core->host;
    size_t count = 0, same = 0;
    if (!p || p->over) return KITH_ERR_NOT_ALLOWED;
    kith_addr source = kith__relays_source(p->op.core, &c->session->remote);
    KITH_EACH (at, &p->runs) {
        same += kith_addr_same_ip(&source, &KITH_OF(at, pair_run, link)->source);
        count++;
    }
    if (count >= RUNS_MAX || same >= RUNS_SOURCE_MAX) return KITH_ERR_AGAIN;
    pair_run *r = kith__pair_run_new(p, c->session);
    if (!r) return KITH_ERR_NOMEM;
    r->channel = c;
    c->owner = r;
    c->events = &kith__pair_run_events;
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
        if (!kith__pair_somebody_proven(p)) kith__pair_finish(p, KITH_ERR_CODE_EXPIRED, NULL);
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
    if (!options->contact && kith__own_is_revoked(core)) {
        kith__core_refuse(core, id, KITH_ERR_REVOKED, OWN_CANNOT_ADMIT);
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

static void next_host(pair_op *p)
{
    if (p->tried_count < JOIN_HOSTS_MAX)
        kith__dial_next(p->dial, kith__dial_more(p->dial) ? JOIN_PATIENCE_NS : JOIN_OTHERS_NS);
    else
        kith__pair_finish(p, p->tried_err, *p->tried_message ? p->tried_message : NULL);
}

/* The joiner goes on to the next device that shows the same tag: an impostor may have come first. */
void kith__pair_try_next(pair_op *p, kith_err err, const char *message)
{
    p->tried_err = err;
    snprintf(p->tried_message, sizeof p->tried_message, "%s", message);
    next_host(p);
}

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
    pair_run *r = kith__pair_run_new(p, s);
    kith_err err = r ? kith__channel_open(s, STREAM_PAIR, &kith__pair_run_events, r, &r->channel) : KITH_ERR_NOMEM;
    if (err) {
        if (r) kith__pair_run_free(r);
        kith__pair_finish(p, err, NULL);
        return;
    }
    kith__pair_run_step(r); /* START is waiting to be sent */
}

static void join_failed(void *user, kith_err why)
{
    pair_op *p = user;
    char message[640], relay[400];
    if (p->tried_err) /* all who showed the tag were tried */
        kith__pair_finish(p, p->tried_err, *p->tried_message ? p->tried_message : NULL);
    else if (why == KITH_ERR_UNREACHABLE && kith__relays_problem(p->op.core, relay, sizeof relay)) {
        snprintf(message, sizeof message,
                 "no device on this network shows a code that begins with these two words, and %s", relay);
        kith__pair_finish(p, KITH_ERR_NOT_FOUND, message);
    } else if (why == KITH_ERR_UNREACHABLE)
        kith__pair_finish(
            p, KITH_ERR_NOT_FOUND,
            "no device on this network shows a code that begins with these two words: check them, that `kith "
            "pair` is still waiting there, and that both are on the same network, or use the same relay (`kith config "
            "relay`)");
    else
        kith__pair_finish(p, why, NULL);
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
    if (err) kith__pair_finish(p, err, NULL);
    kith__core_pump(core);
}
