#include "node/core.h"

#include "base/mem.h"
#include "crypto/blake3.h"
#include "node/book.h"
#include "node/lan.h"
#include "node/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_LINE_MAX   512
#define RUNS_A_PUMP    16 /* packet runs sent before the socket is read again: acknowledgements must get their turn */
#define CLOSE_GRACE_NS (SECOND_NS / 5) /* for the last words to leave, and for goodbyes */
#define CLOSE_STEP_NS  (SECOND_NS / 100)

uint64_t kith__core_now(const kith_core *core) { return core->env->base->now_ns(core->env); }

void kith__core_log(kith_core *core, kith_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX], shown[LOG_LINE_MAX + 64];
    va_list arguments;
    if (!core->config.log || level > core->config.log_level) return;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size < 0) return;
    kith_printable(line, strlen(line), shown, sizeof shown); /* peers' names are in it */
    core->config.log(core->config.log_user, level, shown);
}

void kith__core_emit(kith_core *core, const kith_event *event) { core->config.emit(core->config.emit_user, event); }

/* ---- the loop side ---- */

/* True when something was sent (or given up): there may be more. */
static bool send_one(kith_core *core)
{
    kith_packet *p = &core->held;
    if (core->blocked) return false;
    if (!p->size) {
        p->data = core->held_memory;
        if (!kith_quic_output(core->quic, p, kith__core_now(core))) {
            p->size = 0;
            return false;
        }
    }
    kith_err err = core->env->udp->send(core->udp, p);
    if (err == KITH_ERR_AGAIN) {
        core->blocked = true;
        return false;
    }
    if (err == KITH_ERR_LIMIT) kith_quic_too_big(core->quic, &p->remote, p->segment);
    if (err && err != KITH_ERR_LIMIT && err != KITH_ERR_UNREACHABLE)
        kith__core_log(core, KITH_LOG_WARN, "sending failed: %s", kith_err_text(err));
    p->size = 0; /* what could not be sent is a lost packet: QUIC repairs it */
    return true;
}

void kith__core_pump(kith_core *core)
{
    kith_quic_event event;
    if (!core->quic || !core->udp || core->pumping) {
        core->again = true;
        return;
    }
    core->pumping = true;
    unsigned runs = 0;
    bool more;
    do {
        core->again = false;
        while (kith_quic_event_take(core->quic, &event)) kith__session_event(core, &event);
        more = runs < RUNS_A_PUMP && send_one(core);
        runs += more;
    } while (more || core->again);
    core->pumping = false;
    core->unsent = runs >= RUNS_A_PUMP || core->held.size;
    uint64_t deadline = kith_quic_deadline_ns(core->quic);
    if (runs >= RUNS_A_PUMP) deadline = kith__core_now(core);
    core->env->timers->set(core->timer, deadline);
}

static void on_received(void *user, const kith_packet *packets, size_t count)
{
    kith_core *core = user;
    uint64_t now = kith__core_now(core);
    for (size_t i = 0; i < count; i++) kith_quic_input(core->quic, &packets[i], now);
    kith__core_pump(core);
}

static void on_writable(void *user)
{
    kith_core *core = user;
    core->blocked = false;
    kith__core_pump(core);
}

static void on_timer(void *user)
{
    kith_core *core = user;
    kith_quic_expire(core->quic, kith__core_now(core));
    kith__core_pump(core);
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
    if (!core->quic && kind->needs_keys) {
        kith__core_refuse(core, id, KITH_ERR_PASSWORD, "this needs the device's password");
        return false;
    }
    kith_list_append(&core->ops, &o->link);
    return true;
}

void kith__core_refuse(kith_core *core, kith_op id, kith_err err, const char *message)
{
    kith_event event = {.kind = KITH_EVENT_END, .op = id, .err = err};
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

static kith_err open_network(kith_core *core, kith_problem *problem)
{
    static const kith_udp_events events = {.received = on_received, .writable = on_writable};
    kith_addr listen = core->config.listen;
    kith_quic_config config = {.static_secret = NULL, .accept = true};
    uint8_t secret[KITH_X25519_SIZE];
    if (listen.family == KITH_FAMILY_NONE) listen.family = KITH_FAMILY_IPV6; /* the any-address: both families */
    kith_err err = core->env->udp->open(core->env, &listen, &events, core, &core->udp);
    if (err) {
        char address[KITH_ADDR_TEXT_SIZE];
        snprintf(problem->message, sizeof problem->message, "cannot listen on %s: %s", kith_addr_text(&listen, address),
                 kith_err_text(err));
        return err;
    }
    kith_ed25519_seed_to_x25519(core->config.seed, secret);
    config.static_secret = secret;
    kith_rng_bytes(&core->rng, config.seed, sizeof config.seed);
    err = kith_quic_new(&config, &core->quic);
    kith_wipe(secret, sizeof secret);
    kith_wipe(config.seed, sizeof config.seed);
    return err;
}

kith_err kith_core_new(const kith_core_config *config, kith_core **out, kith_problem *problem)
{
    uint8_t seed[KITH_RNG_SEED_SIZE];
    kith_core *core = kith_calloc(1, sizeof *core);
    kith_err err = KITH_ERR_NOMEM;
    if (!core) goto fail;
    core->env = config->env;
    core->config = *config;
    core->home = config->home;
    kith_list_init(&core->sessions);
    kith_list_init(&core->ops);
    kith_list_init(&core->dials);
    err = kith_crypto_init();
    if (err) goto fail;
    core->env->base->random(core->env, seed, sizeof seed);
    kith_rng_init(&core->rng, seed);
    kith_wipe(seed, sizeof seed);
    core->held_memory = kith_malloc(KITH_PACKET_RUN_MAX);
    core->timer = core->env->timers->open(core->env, on_timer, core);
    core->closing_timer = core->env->timers->open(core->env, on_closing_timer, core);
    err = core->held_memory && core->timer && core->closing_timer ? KITH_OK : KITH_ERR_NOMEM;
    if (!err) err = kith__book_open(core, problem);
    if (!err && config->seed) err = open_network(core, problem);
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
    return core->udp ? core->env->udp->local(core->udp) : (kith_addr){0};
}

/* All operations and jobs are over: what they said last leaves, then goodbyes do, each within CLOSE_GRACE_NS. */
static void on_closing_timer(void *user)
{
    kith_core *core = user;
    void (*closed)(void *) = core->closed;
    uint64_t now = kith__core_now(core);
    kith__core_pump(core);
    if (core->unsent && now < core->closing_until) {
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
    kith__lan_stop(core);
    core->env->udp->close(core->udp);
    core->udp = NULL;
    core->env->timers->set(core->timer, NEVER);
    if (closed) closed(core->closed_user);
}

static void try_closed(kith_core *core)
{
    if (!core->closing || core->closing_until || core->jobs || !kith_list_empty(&core->ops)) return;
    core->closing_until = kith__core_now(core) + CLOSE_GRACE_NS;
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
    kith__lan_stop(core);
    core->env->udp->close(core->udp);
    core->env->timers->close(core->timer);
    core->env->timers->close(core->closing_timer);
    kith_quic_free(core->quic);
    kith__book_close(core);
    kith_free(core->held_memory);
    kith_rng_done(&core->rng);
    kith_free(core);
}
