/* Trust at first use: the key of a device that announces itself nearby, pinned once the person says so.
 *
 * Nothing is asked of the other device but a handshake, and of that two messages: the second proves the Noise key of
 * who answers.  There the dial stops, as it does whenever the key is not the expected one (here: one that nobody has),
 * so that our own key stays hidden.  The signing key is one of the two that have that Noise key, and the announcement,
 * which has the beginning of the fingerprint, says which.  So a device tells a stranger no more than it did before. */
#include "base/mem.h"
#include "crypto/edwards.h"
#include "node/book.h"
#include "node/lan.h"
#include "node/session.h"
#include "op/op.h"

#include <stdio.h>
#include <string.h>

#define PIN_LOOK_NS     (2 * SECOND_NS)  /* at least: somebody else may announce the same */
#define PIN_PATIENCE_NS (10 * SECOND_NS) /* for the device to be announced */
#define PIN_STEP_NS     (SECOND_NS / 2)
#define PIN_DIAL_NS     (5 * SECOND_NS)   /* for it to answer at one of its addresses */
#define PIN_PEOPLE_NS   (300 * SECOND_NS) /* for the person to answer */
#define PIN_DEVICES_MAX 64                /* of those announced that are looked at */
#define PIN_DIALS_MAX   (2 * KITH_SIGHTING_ADDRS_MAX)
#define PIN_NAMED_MAX   4 /* named when several fit */

typedef enum stage { LOOKING, DIALLING, ASKING, PINNING } stage;

typedef struct pin_op {
    op op;
    stage stage;
    char digits[KITH_PREFIX_TEXT_SIZE]; /* what the device is named by */
    char name[KITH_NAME_SIZE];          /* "": after its fingerprint */
    bool yes;
    uint64_t begun_ns;
    kith_timer *timer;
    lan_device device;
    session *sessions[PIN_DIALS_MAX]; /* under way */
    bool liar;                        /* somebody answered who is not who was announced */
    kith_addr where;
    kith_peer peer;
    bool over; /* cancelled while the job is out: it ends when that is done */
    kith_err end_err;
    pin_job pin;
} pin_op;

/* ---- the end ---- */

static void hang_up(pin_op *p)
{
    for (size_t i = 0; i < PIN_DIALS_MAX; i++) {
        session *s = p->sessions[i];
        p->sessions[i] = NULL;
        if (!s) continue;
        kith__session_unwatch(s);
        kith__session_close(s, KITH_OK);
    }
}

static void pin_free(op *o)
{
    pin_op *p = (pin_op *)o;
    hang_up(p);
    o->core->env->timers->close(p->timer);
    kith_free(p);
}

static void pin_end(pin_op *p, kith_err err, const char *message)
{
    kith__op_end(&p->op, err, message);
    pin_free(&p->op);
}

static void pin_cancel(op *o, kith_err why)
{
    pin_op *p = (pin_op *)o;
    if (p->stage != PINNING) {
        pin_end(p, why, NULL);
        return;
    }
    p->over = true;
    p->end_err = why;
}

/* ---- pinning ---- */

static void pinned(pin_job *job)
{
    pin_op *p = KITH_OF(job, pin_op, pin);
    char message[640] = "";
    if (job->err == KITH_ERR_KEY_CHANGED || job->err == KITH_ERR_ID_CHANGED)
        snprintf(message, sizeof message,
                 "this device is known here as \"%s\", but %s: if it was set up anew, run `kith forget \"%s\"`, then "
                 "`kith trust` again; if not, do not trust it",
                 job->known_as, job->err == KITH_ERR_KEY_CHANGED ? "with another key" : "under another id",
                 job->known_as);
    else if (job->err)
        snprintf(message, sizeof message, "%s", job->message);
    if (!job->err) {
        kith_event event = {.kind = KITH_EVENT_PAIRED, .op = p->op.id, .already = job->already};
        kith__core_describe(&job->peer, &event.device);
        kith__core_seen(p->op.core, &job->peer, &p->where);
        kith__core_emit(p->op.core, &event);
    }
    kith_err err = job->err ? job->err : p->over ? p->end_err : KITH_OK;
    pin_end(p, err, *message ? message : NULL);
}

static void pin(pin_op *p)
{
    p->stage = PINNING;
    p->op.core->env->timers->set(p->timer, NEVER);
    kith__book_pin_first(p->op.core, &p->pin, &p->peer, pinned);
}

static bool pin_answer(op *o, kith_op question, bool yes)
{
    pin_op *p = (pin_op *)o;
    if (question != o->id || p->stage != ASKING) return false;
    if (yes)
        pin(p);
    else
        pin_end(p, KITH_ERR_DECLINED, "declined here: nothing was pinned");
    return true;
}

/* ---- who answers ---- */

/* As far as both go: a fingerprint is announced in part. */
static bool begins_with(const uint8_t *bytes, size_t size, const char *digits)
{
    char text[KITH_PREFIX_TEXT_SIZE];
    size_t n = strlen(digits);
    kith_hex(bytes, size, text);
    return strncmp(text, digits, n < 2 * size ? n : 2 * size) == 0;
}

static bool names_it(const pin_op *p, const lan_device *d)
{
    bool of_id = strlen(p->digits) <= 2 * sizeof d->uuid && begins_with(d->uuid, sizeof d->uuid, p->digits);
    return of_id || begins_with(d->fingerprint, sizeof d->fingerprint, p->digits);
}

/* The device that has this Noise key and is announced like that. */
static kith_err identify(pin_op *p, const uint8_t noise_static[static KITH_X25519_SIZE])
{
    uint8_t keys[2][KITH_ED25519_PUBLIC_SIZE];
    char name[KITH_NAME_SIZE];
    int64_t now_ms = p->op.core->env->base->wall_ms(p->op.core->env);
    kith_err err = kith_x25519_to_ed25519(noise_static, keys);
    for (size_t i = 0; !err && i < 2; i++) {
        uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
        kith_fingerprint(p->device.uuid, keys[i], fingerprint);
        if (memcmp(fingerprint, p->device.fingerprint, sizeof p->device.fingerprint) != 0) continue;
        bool of_id = begins_with(p->device.uuid, sizeof p->device.uuid, p->digits);
        if (!of_id && !begins_with(fingerprint, sizeof fingerprint, p->digits)) continue;
        kith__book_placeholder(fingerprint, name);
        err = kith_peer_make(p->device.uuid, keys[i], name, "", "", KITH_PEER_CONTACT, now_ms, &p->peer);
        if (!err && *p->name) snprintf(p->peer.local_name, sizeof p->peer.local_name, "%s", p->name);
        return err;
    }
    return err ? err : KITH_ERR_WRONG_DEVICE;
}

static void ask(pin_op *p)
{
    kith_event event = {.kind = KITH_EVENT_ASK, .op = p->op.id};
    hang_up(p);
    if (p->yes) {
        pin(p);
        return;
    }
    p->stage = ASKING;
    p->op.core->env->timers->set(p->timer, kith__core_now(p->op.core) + PIN_PEOPLE_NS);
    p->peer.how = KITH_PEER_TOFU;
    kith__core_describe(&p->peer, &event.device);
    kith_addr_text(&p->where, event.address);
    kith__core_emit(p->op.core, &event);
}

static void nobody_answered(pin_op *p)
{
    if (p->liar)
        pin_end(p, KITH_ERR_WRONG_DEVICE,
                "who answers is not the device that is announced: somebody on this network may be posing as it");
    else
        pin_end(p, KITH_ERR_UNREACHABLE, "the device is announced here, but does not answer: is it still on?");
}

static void dial_failed(void *user, session *s, kith_err why)
{
    pin_op *p = user;
    uint8_t key[KITH_X25519_SIZE];
    bool left = false;
    for (size_t i = 0; i < PIN_DIALS_MAX; i++) {
        if (p->sessions[i] == s) p->sessions[i] = NULL;
        left |= p->sessions[i] != NULL;
    }
    if (why == KITH_ERR_WRONG_DEVICE) {
        kith_conn_remote_static(s->conn, key);
        p->where = s->remote;
        if (!identify(p, key)) {
            ask(p);
            return;
        }
        p->liar = true;
    }
    if (!left) nobody_answered(p);
}

/* Nobody has the key that was asked for. */
static void dial_ready(void *user, session *s)
{
    (void)user;
    kith__session_close(s, KITH_ERR_WRONG_DEVICE);
}

static void dial_all(pin_op *p)
{
    kith_core *core = p->op.core;
    session_watch watch = {.ready = dial_ready, .failed = dial_failed, .user = p};
    kith_peer nobody = {0};
    size_t n = 0;
    kith_rng_bytes(&core->rng, nobody.x25519, sizeof nobody.x25519);
    p->stage = DIALLING;
    core->env->timers->set(p->timer, kith__core_now(core) + PIN_DIAL_NS);
    for (size_t i = 0; i < p->device.addr_count; i++) {
        if (!kith__session_dial(core, CARRIER_DATAGRAM, &p->device.addrs[i], &nobody, &watch, &p->sessions[n])) n++;
        if (!core->env->tcp) continue;
        if (!kith__session_dial(core, CARRIER_STREAM, &p->device.addrs[i], &nobody, &watch, &p->sessions[n])) n++;
    }
    if (!n) nobody_answered(p);
}

/* ---- who is meant ---- */

static void several(pin_op *p, const lan_device *const *fit, size_t count)
{
    char message[640], id[KITH_UUID_TEXT_SIZE], fingerprint[2 * KITH_TXT_FINGERPRINT_SIZE + 1];
    size_t n = (size_t)snprintf(message, sizeof message, "several devices are announced here like that:");
    for (size_t i = 0; i < count && i < PIN_NAMED_MAX; i++)
        n += (size_t)snprintf(message + n, sizeof message - n, "%s %s (fingerprint %s...)", i ? "," : "",
                              kith_uuid_text(fit[i]->uuid, id),
                              kith_hex(fit[i]->fingerprint, sizeof fit[i]->fingerprint, fingerprint));
    pin_end(p, KITH_ERR_AMBIGUOUS, message);
}

static void look(pin_op *p)
{
    lan_device devices[PIN_DEVICES_MAX];
    const lan_device *fit[PIN_DEVICES_MAX];
    uint64_t now = kith__core_now(p->op.core);
    size_t all = kith__lan_devices(p->op.core, devices, PIN_DEVICES_MAX), count = 0;
    for (size_t i = 0; i < all; i++)
        if (devices[i].addr_count && names_it(p, &devices[i])) fit[count++] = &devices[i];
    if (count > 1 && now >= p->begun_ns + PIN_LOOK_NS) {
        several(p, fit, count);
    } else if (count == 1 && now >= p->begun_ns + PIN_LOOK_NS) {
        p->device = *fit[0];
        dial_all(p);
    } else if (now >= p->begun_ns + PIN_PATIENCE_NS) {
        pin_end(p, KITH_ERR_NOT_FOUND,
                "no device on this network announces that: a device does so while `kith receive` or `kith pair` runs "
                "there; `kith devices --nearby` lists those that do");
    } else {
        p->op.core->env->timers->set(p->timer, now + PIN_STEP_NS);
    }
}

static void on_timer(void *user)
{
    pin_op *p = user;
    kith_core *core = p->op.core;
    switch (p->stage) {
    case LOOKING: look(p); break;
    case DIALLING:
        hang_up(p);
        nobody_answered(p);
        break;
    case ASKING: pin_end(p, KITH_ERR_TIMEOUT, "nobody answered whether this is the right device"); break;
    case PINNING: break;
    }
    kith__core_pump(core);
}

void kith_core_pin(kith_core *core, kith_op id, const char *device, const kith_pin_options *options)
{
    static const op_kind kind = {
        .name = "pin", .needs_keys = true, .cancel = pin_cancel, .free = pin_free, .answer = pin_answer};
    pin_op *p = kith_calloc(1, sizeof *p);
    if (p) p->timer = core->env->timers->open(core->env, on_timer, p);
    if (!p || !p->timer) {
        kith_free(p);
        kith__core_refuse(core, id, KITH_ERR_NOMEM, NULL);
        return;
    }
    const char *wrong = NULL;
    if (!kith_prefix_read(device, p->digits))
        wrong = "a device that is not known here has no name yet: say its id, or 4 digits or more of its fingerprint";
    else if (options->name && kith_name_check(options->name, strlen(options->name), p->name))
        wrong = "a device's name is 1 to 63 bytes of text without control characters";
    if (wrong) kith__core_refuse(core, id, KITH_ERR_ARG, wrong);
    if (wrong || !kith__core_begin(core, &p->op, id, &kind)) {
        core->env->timers->close(p->timer);
        kith_free(p);
        return;
    }
    p->yes = options->yes;
    p->begun_ns = kith__core_now(core);
    look(p);
    kith__core_pump(core);
}
