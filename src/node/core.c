#include "node/core.h"

#include "base/mem.h"
#include "crypto/blake3.h"
#include "node/book.h"
#include "node/carrier.h"
#include "node/lan.h"
#include "node/own.h"
#include "node/relay.h"
#include "node/roam.h"
#include "node/session.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_LINE_MAX   512
#define CLOSE_WORDS_NS (SECOND_NS / 2) /* for the last words: what is in flight may be in their way */
#define CLOSE_GRACE_NS (SECOND_NS / 5) /* for goodbyes */
#define CLOSE_STEP_NS  (SECOND_NS / 100)

uint64_t kith__core_now(const kith_core *core) { return core->env->base->now_ns(core->env); }

void kith__core_log(kith_core *core, kith_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX], shown[LOG_LINE_MAX + 64], trace[2 * KITH_HELLO_INSTANCE_SIZE + 1], device[17] = "-",
                                                                                                conn[24] = "-";
    va_list arguments;
    if (!core->config.log || level > core->config.log_level) return;
    const session *s = core->about;
    if (s && (s->greeted || s->expected))
        kith_hex(s->greeted ? s->peer.fingerprint : s->expected_fingerprint, 8, device);
    if (s) snprintf(conn, sizeof conn, "%" PRIu64, s->number);
    kith_hex(core->self.instance, sizeof core->self.instance, trace);
    int head = snprintf(line, sizeof line, "trace=%s device=%s conn=%s ", trace, device, conn);
    va_start(arguments, format);
    int size = vsnprintf(line + head, sizeof line - (size_t)head, format, arguments);
    va_end(arguments);
    if (size < 0) return;
    kith_printable(line, strlen(line), shown, sizeof shown); /* peers' names are in it */
    core->config.log(core->config.log_user, level, shown);
}

void kith__core_emit(kith_core *core, const kith_event *event) { core->config.emit(core->config.emit_user, event); }

/* ---- the loop side ---- */

void kith__core_pump(kith_core *core)
{
    if (core->offline || core->pumping) {
        core->again = true;
        return;
    }
    core->pumping = true;
    do {
        core->again = false;
        KITH_EACH (at, &core->carriers) core->again |= kith__carrier_step(KITH_OF(at, carrier, link));
    } while (core->again);
    core->pumping = false;
    KITH_EACH (at, &core->carriers) kith__carrier_settle(KITH_OF(at, carrier, link));
}

static bool unsent(const kith_core *core)
{
    KITH_EACH (at, &core->carriers)
        if (KITH_OF(at, carrier, link)->unsent) return true;
    return false;
}

/* Said and not acknowledged, or not even sent, since the congestion window is full. */
static bool unheard(const kith_core *core)
{
    KITH_EACH (at, &core->sessions) {
        const session *s = KITH_OF(at, session, link);
        kith_conn_stats stats;
        kith_conn_get_stats(s->conn, &stats);
        if (s->ready && stats.in_flight) return true;
    }
    return unsent(core);
}

/* ---- operations ---- */

bool kith__core_begin(kith_core *core, op *o, kith_op id, const op_kind *kind)
{
    size_t count = 0;
    KITH_EACH (at, &core->ops) count++;
    o->core = core;
    o->id = id;
    o->kind = kind;
    if (core->closing || count >= OPS_MAX) {
        kith__core_refuse(core, id, core->closing ? KITH_ERR_CANCELLED : KITH_ERR_LIMIT, NULL);
        return false;
    }
    if (!core->datagrams && kind->needs_keys) {
        kith__core_refuse(core, id, KITH_ERR_PASSWORD, "this needs the device's password");
        return false;
    }
    kith_list_append(&core->ops, &o->link);
    return true;
}

void kith__core_refuse(kith_core *core, kith_op id, kith_err err, const char *message)
{
    kith_event event = {.kind = KITH_EVENT_END, .op = id, .err = err};
    if (err == KITH_ERR_REVOKED && !message)
        kith__own_told_text(core, event.message, sizeof event.message);
    else
        snprintf(event.message, sizeof event.message, "%s", message ? message : kith_err_text(err));
    kith__core_emit(core, &event);
}

static void try_closed(kith_core *core);

void kith__op_end(op *o, kith_err err, const char *message)
{
    kith_list_remove(&o->link);
    kith__core_refuse(o->core, o->id, err, message);
    try_closed(o->core);
}

void kith_core_answer(kith_core *core, kith_op question, bool yes)
{
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        if (o->kind->answer && o->kind->answer(o, question, yes)) break;
    }
    kith__core_pump(core);
}

void kith_core_cancel(kith_core *core, kith_op id)
{
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        if (o->id == id) {
            o->kind->cancel(o, KITH_ERR_CANCELLED);
            break;
        }
        if (o->kind->cancel_part && o->kind->cancel_part(o, id)) break;
    }
    kith__core_pump(core);
}

/* ---- jobs ---- */

void kith__core_submit(kith_core *core, kith_job *job)
{
    core->jobs++;
    core->env->work->submit(core->env, job);
}

void kith__core_job_done(kith_core *core)
{
    core->jobs--;
    try_closed(core);
}

/* ---- beginning and end ---- */

static void on_closing_timer(void *user);

kith_err kith__core_new(const kith_core_config *config, const core_hooks *hooks, kith_core **out, kith_problem *problem)
{
    uint8_t seed[KITH_RNG_SEED_SIZE];
    kith_core *core = kith_calloc(1, sizeof *core);
    kith_err err = KITH_ERR_NOMEM;
    if (!core) goto fail;
    core->env = config->env;
    core->hooks = hooks;
    core->config = *config;
    core->home = config->home;
    kith_list_init(&core->carriers);
    kith_list_init(&core->sessions);
    kith_list_init(&core->ops);
    kith_list_init(&core->dials);
    err = kith_crypto_init();
    if (err) goto fail;
    core->env->base->random(core->env, seed, sizeof seed);
    kith_rng_init(&core->rng, seed);
    kith_wipe(seed, sizeof seed);
    core->closing_timer = core->env->timers->open(core->env, on_closing_timer, core);
    err = core->closing_timer ? KITH_OK : KITH_ERR_NOMEM;
    if (!err) err = kith__book_open(core, problem);
    if (!err && config->seed) err = kith__own_open(core, problem);
    kith_rng_bytes(&core->rng, core->self.instance, sizeof core->self.instance);
    if (!err && config->seed) err = kith__carriers_open(core, problem);
    if (!err && config->seed) err = kith__relays_open(core, problem);
    if (!err && config->seed && kith__roam_watch(core))
        kith__core_log(core, KITH_LOG_WARN, "changes of this device's addresses will not be noticed");
    if (!err && !config->no_lan && kith__lan_start(core))
        kith__core_log(core, KITH_LOG_WARN, "the local network cannot be searched: multicast DNS does not work here");
    if (err) goto fail;
    *out = core;
    return KITH_OK;
fail:
    problem->err = err;
    if (!*problem->message) snprintf(problem->message, sizeof problem->message, "%s", kith_err_text(err));
    kith_core_free(core);
    return err;
}

kith_addr kith_core_local(const kith_core *core)
{
    return core->datagrams && core->datagrams->udp ? core->env->udp->local(core->datagrams->udp) : (kith_addr){0};
}

bool kith_core_relay(const kith_core *core, size_t index, const char **url, bool *up)
{
    return kith__relays_at(core, index, url, up);
}

/* All operations and jobs are over: what they said last arrives, within CLOSE_WORDS_NS, then goodbyes leave. */
static void on_closing_timer(void *user)
{
    kith_core *core = user;
    void (*closed)(void *) = core->closed;
    uint64_t now = kith__core_now(core);
    kith__core_pump(core);
    bool waiting = core->goodbyes ? unsent(core) : unheard(core);
    if (waiting && now < core->closing_until) {
        core->env->timers->set(core->closing_timer, now + CLOSE_STEP_NS);
        return;
    }
    if (!core->goodbyes) {
        core->goodbyes = true;
        KITH_EACH (at, &core->sessions) {
            session *s = KITH_OF(at, session, link);
            if (!s->over) kith__session_close(s, KITH_OK);
        }
        core->closing_until = now + CLOSE_GRACE_NS;
        core->env->timers->set(core->closing_timer, now);
        return;
    }
    core->closed = NULL;
    kith__roam_unwatch(core);
    kith__lan_stop(core);
    kith__relays_close(core);
    kith__carriers_close(core);
    if (closed) closed(core->closed_user);
}

static void try_closed(kith_core *core)
{
    if (!core->closing || core->closing_until || core->jobs || !kith_list_empty(&core->ops)) return;
    core->closing_until = kith__core_now(core) + CLOSE_WORDS_NS;
    core->env->timers->set(core->closing_timer, kith__core_now(core));
}

void kith_core_close(kith_core *core, void (*closed)(void *user), void *user)
{
    if (core->closing) return;
    core->closed = closed;
    core->closed_user = user;
    core->closing = true;
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        o->kind->cancel(o, KITH_ERR_CANCELLED);
    }
    kith__core_pump(core);
    try_closed(core);
}

void kith_core_free(kith_core *core)
{
    if (!core) return;
    core->closing = true; /* nothing begins any more */
    for (kith_link *at; (at = kith_list_take_first(&core->ops));) {
        op *o = KITH_OF(at, op, link);
        o->kind->free(o);
    }
    kith__session_free_all(core);
    kith__own_close(core);
    core->hooks->forget(core);
    kith__roam_unwatch(core);
    kith__lan_stop(core);
    kith__relays_free(core);
    kith__carriers_free(core);
    core->env->timers->close(core->closing_timer);
    kith__book_close(core);
    kith_rng_done(&core->rng);
    kith_free(core);
}
