#include "node/book.h"

#include "base/mem.h"
#include "base/text.h"
#include "identity/seen.h"
#include "node/lan.h"
#include "node/own.h"
#include "node/session.h"

#include <stdio.h>
#include <string.h>

struct book {
    kith_trust *trust;
    kith_home_stamp stamp;
    kith_seen *seen;            /* of this run, and before it */
    kith_list noted;            /* seen in this run, not written yet */
    kith_timer *timer;          /* when the files are looked at next */
    bool watching;              /* the timer is set */
    bool unchecked;             /* they have changed, and what follows is not done yet */
    struct learn_job *learning; /* NULL: none is under way */
    struct save_job *saving;    /* the same */
    uint64_t save_ns;           /* what is noted is not written before */
};

/* Who stays writes what it has noted now and then: other commands of the home show it, and dial those addresses, and a
 * node that is killed has not lost it. */
#define SEEN_SAVE_NS (60 * SECOND_NS)

typedef struct note {
    kith_link link;
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    kith_addr addr;
    int64_t at_ms;
} note;

/* What this device says of itself from now on. */
static void introduce(kith_core *core, const kith_device *device)
{
    kith_hello *hello = &core->self;
    snprintf(hello->name, sizeof hello->name, "%s", device->name);
    snprintf(hello->os, sizeof hello->os, "%s", device->os);
    snprintf(hello->hardware_model, sizeof hello->hardware_model, "%s", device->hardware_model);
}

static kith_err read_self(kith_core *core, kith_problem *problem)
{
    kith_home_self self;
    kith_err err = kith_home_load(core->home, &self, problem);
    if (!err && memcmp(self.fingerprint, core->signer.fingerprint, sizeof self.fingerprint) == 0)
        introduce(core, &self.device);
    return err;
}

/* Whether reading again may end otherwise, the files being as they are: it was memory or descriptors that were missing.
 */
static bool may_pass(kith_err err) { return err == KITH_ERR_NOMEM || err == KITH_ERR_LIMIT || err == KITH_ERR_IO; }

/* Read the files again when they are others than before.  When that fails the old contents stay in force: nobody
 * becomes trusted by a damaged file, and a node that runs goes on. */
static kith_err refresh(kith_core *core, bool *changed, kith_problem *problem)
{
    kith_trust *trust = NULL;
    if (!kith_home_trust_changed(core->home, &core->book->stamp)) return KITH_OK;
    kith_err err = kith_home_load_trust(core->home, &trust, problem);
    if (!err) {
        kith_trust_free(core->book->trust);
        core->book->trust = trust;
        *changed = true;
        err = read_self(core, problem);
    }
    return err;
}

/* What follows from a change is done from the loop, soon: whoever asks here may be in the middle of something. */
static void refresh_or_warn(kith_core *core)
{
    kith_problem problem = {0};
    bool changed = false;
    kith_err err = refresh(core, &changed, &problem), own = KITH_OK;
    if (err) kith__core_log(core, KITH_LOG_ERROR, "%s", problem.message);
    if (changed) own = kith__own_reload(core, &problem);
    if (own) kith__core_log(core, KITH_LOG_ERROR, "%s", problem.message);
    if (may_pass(err) || may_pass(own)) core->book->stamp = (kith_home_stamp){0};
    if (!changed) return;
    core->book->unchecked = core->book->watching = true;
    core->env->timers->set(core->book->timer, kith__core_now(core));
}

/* ---- when and where devices were seen ---- */

/* A cache: when it cannot be written the next start merely knows less. */
#define NOT_SAVED "not remembered when devices were seen: %s"

typedef struct save_job {
    kith_job job;
    kith_core *core;
    kith_list notes;
    kith_err err;
    kith_problem problem;
} save_job;

static kith_err write_notes(kith_seen *seen, void *user)
{
    const kith_list *notes = user;
    KITH_EACH (at, notes) {
        const note *n = KITH_OF(at, const note, link);
        kith_err err = kith_seen_note(seen, n->fingerprint, n->addr.family ? &n->addr : NULL, n->at_ms);
        if (err) return err;
    }
    return KITH_OK;
}

static void free_notes(kith_list *notes)
{
    for (kith_link *at; (at = kith_list_take_first(notes));) kith_free(KITH_OF(at, note, link));
}

static void save_free(save_job *s)
{
    free_notes(&s->notes);
    kith_free(s);
}

static void save_run(kith_job *job)
{
    save_job *s = KITH_OF(job, save_job, job);
    s->err = kith_home_update_seen(s->core->home, write_notes, &s->notes, &s->problem);
}

static void save_done(kith_job *job)
{
    save_job *s = KITH_OF(job, save_job, job);
    kith_core *core = s->core;
    if (s->err) kith__core_log(core, KITH_LOG_WARN, NOT_SAVED, s->problem.message);
    core->book->saving = NULL;
    save_free(s);
    kith__core_job_done(core);
    kith__core_pump(core);
}

static void save_seen(kith_core *core)
{
    struct book *book = core->book;
    uint64_t now = kith__core_now(core);
    if (core->closing || book->saving || kith_list_empty(&book->noted) || now < book->save_ns) return;
    save_job *s = kith_calloc(1, sizeof *s);
    if (!s) return; /* the next time */
    *s = (save_job){.job = {.run = save_run, .done = save_done}, .core = core};
    kith_list_init(&s->notes);
    for (kith_link *at; (at = kith_list_take_first(&book->noted));) kith_list_append(&s->notes, at);
    book->saving = s;
    book->save_ns = now + SEEN_SAVE_NS;
    kith__core_submit(core, &s->job);
}

/* ---- what changes while somebody is connected ---- */

static bool somebody_known(const kith_core *core)
{
    KITH_EACH (at, &core->sessions)
        if (kith__session_is_known(KITH_OF(at, const session, link))) return true;
    return false;
}

static void on_watch(void *user)
{
    kith_core *core = user;
    struct book *book = core->book;
    refresh_or_warn(core);
    if (book->unchecked) {
        book->unchecked = false;
        kith__sessions_recheck(core);
        kith__own_changed(core);
    }
    kith__own_retry(core);
    save_seen(core);
    book->watching = somebody_known(core);
    uint64_t next_ns = kith__core_now(core) + BOOK_WATCH_NS;
    if (!book->watching) { /* once more, of those that have gone; who ends writes them then */
        bool writes = !core->closing && !kith_list_empty(&book->noted);
        next_ns = !writes ? NEVER : book->save_ns > next_ns ? book->save_ns : next_ns;
    }
    core->env->timers->set(book->timer, next_ns);
    kith__core_pump(core);
}

void kith__book_watch(kith_core *core)
{
    if (core->book->watching) return;
    core->book->watching = true;
    core->env->timers->set(core->book->timer, kith__core_now(core) + BOOK_WATCH_NS);
}

kith_err kith__book_open(kith_core *core, kith_problem *problem)
{
    kith_home_self self;
    bool ignored = false;
    struct book *book = core->book = kith_calloc(1, sizeof *book);
    if (!book) return KITH_ERR_NOMEM;
    kith_list_init(&book->noted);
    book->timer = core->env->timers->open(core->env, on_watch, core);
    kith_err err = book->timer ? kith_home_load(core->home, &self, problem) : KITH_ERR_NOMEM;
    if (err) return err;
    core->signer.seed = core->config.seed;
    memcpy(core->signer.uuid, self.device.id, sizeof core->signer.uuid);
    memcpy(core->signer.fingerprint, self.fingerprint, sizeof core->signer.fingerprint);
    memcpy(core->signer.public_key, self.public_key, sizeof core->signer.public_key);
    kith_hello *hello = &core->self;
    memcpy(hello->uuid, self.device.id, sizeof hello->uuid);
    memcpy(hello->fingerprint, self.fingerprint, sizeof hello->fingerprint);
    memcpy(hello->public_key, self.public_key, sizeof hello->public_key);
    introduce(core, &self.device);
    err = refresh(core, &ignored, problem);
    return err ? err : kith_home_load_seen(core->home, &book->seen);
}

void kith__book_close(kith_core *core)
{
    struct book *book = core->book;
    kith_problem problem = {0};
    if (!book) return;
    /* A cache: when it cannot be written the next start merely knows less. */
    if (!kith_list_empty(&book->noted) && kith_home_update_seen(core->home, write_notes, &book->noted, &problem))
        kith__core_log(core, KITH_LOG_WARN, NOT_SAVED, problem.message);
    free_notes(&book->noted);
    core->env->timers->close(book->timer);
    kith_trust_free(book->trust);
    kith_seen_free(book->seen);
    kith_free(book->learning); /* the env is dead: it will not be done */
    if (book->saving) save_free(book->saving);
    kith_free(book);
    core->book = NULL;
}

bool kith__core_find_peer(kith_core *core, const uint8_t fingerprint[static 32], kith_peer *out)
{
    refresh_or_warn(core);
    const kith_peer *peer = kith_trust_by_fingerprint(core->book->trust, fingerprint);
    if (peer) *out = *peer;
    return peer != NULL;
}

bool kith__core_find_peer_id(kith_core *core, const char *device_id, kith_peer *out, kith_err *why)
{
    uint8_t uuid[KITH_UUID_SIZE];
    *why = kith_uuid_parse(device_id, uuid) ? KITH_ERR_ARG : KITH_ERR_NOT_FOUND;
    if (*why == KITH_ERR_ARG) return false;
    refresh_or_warn(core);
    const kith_peer *peer = kith_trust_by_uuid(core->book->trust, uuid);
    if (!peer) return false;
    *out = *peer;
    *why = KITH_OK;
    return true;
}

void kith__core_refuse_device(kith_core *core, kith_op id, kith_err err, const char *device_id)
{
    char message[256], shown[128];
    kith_printable(device_id, strlen(device_id), shown, sizeof shown);
    snprintf(message, sizeof message,
             err == KITH_ERR_NOT_FOUND ? "no device with the id %s is paired here" : "\"%s\" is not the id of a device",
             shown);
    kith__core_refuse(core, id, err, message);
}

bool kith__core_peer_at(kith_core *core, size_t index, kith_peer *out)
{
    const kith_peer *peer = kith_trust_at(core->book->trust, index);
    if (peer) *out = *peer;
    return peer != NULL;
}

size_t kith__core_seen_addresses(kith_core *core, const kith_peer *peer, kith_addr *out, size_t cap)
{
    const kith_seen_peer *seen = kith_seen_find(core->book->seen, peer->fingerprint);
    size_t count = seen ? seen->addr_count : 0;
    if (count > cap) count = cap;
    if (count) memcpy(out, seen->addrs, count * sizeof *out);
    return count;
}

void kith__core_seen(kith_core *core, const kith_peer *peer, const kith_addr *addr)
{
    struct book *book = core->book;
    note *n = NULL;
    KITH_EACH (at, &book->noted) {
        note *other = KITH_OF(at, note, link);
        if (memcmp(other->fingerprint, peer->fingerprint, sizeof n->fingerprint) == 0) n = other;
    }
    if (!n) {
        n = kith_calloc(1, sizeof *n);
        if (!n) return;
        kith_list_append(&book->noted, &n->link);
    }
    memcpy(n->fingerprint, peer->fingerprint, sizeof n->fingerprint);
    if (addr && addr->family != KITH_FAMILY_RELAY) n->addr = *addr; /* which means nothing the next time */
    n->at_ms = core->env->base->wall_ms(core->env);
    if (kith_seen_note(book->seen, n->fingerprint, addr, n->at_ms)) return; /* no memory: known next time */
}

/* ---- pinning ---- */

static kith_err pin(kith_trust *trust, void *user)
{
    pin_job *job = user;
    const kith_peer *added = NULL;
    kith_err err = kith_trust_check(trust, &job->peer);
    const kith_peer *known = err ? NULL : kith_trust_by_fingerprint(trust, job->peer.fingerprint);
    job->already = known && known->kind == job->peer.kind;
    if (err && err != KITH_ERR_NOT_FOUND) { /* the same id with another key, or the reverse: forget it first */
        known = err == KITH_ERR_KEY_CHANGED ? kith_trust_by_uuid(trust, job->peer.uuid)
                                            : kith_trust_by_x25519(trust, job->peer.x25519);
        if (known) snprintf(job->known_as, sizeof job->known_as, "%s", known->local_name);
        return err;
    }
    if (known && job->first_use) {
        job->already = true;
        job->peer = *known;
        return KITH_OK;
    }
    err = kith_trust_replace(trust, &job->peer, &added);
    if (!err) job->peer = *added;
    return err;
}

/* It becomes a member, if it is none. */
static kith_err admit(kith_graph *graph, void *user)
{
    pin_job *job = user;
    kith_verdict verdict;
    kith_graph_entry entry;
    const kith_peer *p = &job->peer;
    kith_graph_author author = {.seed = job->core->signer.seed, .self = &job->self, .now_ms = p->added_at_ms};
    kith_err err = kith_graph_judge(graph, &verdict);
    if (err) return err;
    const kith_member *me = kith_verdict_find(&verdict, job->self.fingerprint);
    const kith_member *them = kith_verdict_find(&verdict, p->fingerprint);
    if (!me || me->state != KITH_MEMBER) {
        err = KITH_ERR_REVOKED;
        snprintf(job->message, sizeof job->message, "%s", OWN_CANNOT_ADMIT);
    } else if (them && them->state == KITH_MEMBER_REVOKED) {
        err = KITH_ERR_REVOKED;
        snprintf(job->message, sizeof job->message,
                 "\"%s\" was revoked, and its key does not come back: give it a new identity (another --home, `kith "
                 "init`), then pair again",
                 them->entry.name);
    } else if (!them || them->state != KITH_MEMBER) {
        kith_graph_entry_make(p->uuid, p->ed25519, p->name, p->os, p->hardware_model, &entry);
        err = kith_graph_admit(graph, &author, &entry);
    }
    kith_verdict_done(&verdict);
    return err;
}

static void pin_run(kith_job *job)
{
    pin_job *p = KITH_OF(job, pin_job, job);
    kith_problem problem = {0};
    bool already = p->already;
    if (p->admit) p->err = kith_home_update_graph(p->core->home, admit, p, &problem);
    if (p->err) {
        if (*problem.message) snprintf(p->message, sizeof p->message, "%s", problem.message);
        return;
    }
    p->err = kith_home_update_trust(p->core->home, pin, p, &problem);
    if (!p->first_use) p->already = p->already && already; /* by the graph it is, a moment ago it was not */
    p->stored = !p->err;
    snprintf(p->message, sizeof p->message, "%s", problem.message);
}

/* The peer cannot be pinned at all; it is said in the same way. */
static void pin_nothing(kith_job *job) { (void)job; }

static void pin_done(kith_job *job)
{
    pin_job *p = KITH_OF(job, pin_job, job);
    kith_core *core = p->core;
    if (p->err)
        kith__core_log(core, KITH_LOG_ERROR, "pinning \"%s\" failed: %s", p->peer.name,
                       *p->message ? p->message : kith_err_text(p->err));
    refresh_or_warn(core);
    kith__lan_want_known(core);
    p->done(p);
    kith__core_job_done(core);
    kith__core_pump(core);
}

void kith__book_pin(kith_core *core, pin_job *job, const kith_hello *hello, kith_peer_kind kind, bool admit,
                    void (*done)(pin_job *job))
{
    *job = (pin_job){.job = {.run = pin_run, .done = pin_done}, .core = core, .done = done};
    job->err = kith_peer_make(hello->uuid, hello->public_key, hello->name, hello->os, hello->hardware_model, kind,
                              core->env->base->wall_ms(core->env), &job->peer);
    const kith_peer *known = job->err ? NULL : kith_trust_by_fingerprint(core->book->trust, job->peer.fingerprint);
    job->already = known && known->kind == kind;
    job->admit = admit;
    kith_graph_entry_make(core->signer.uuid, core->signer.public_key, core->self.name, core->self.os,
                          core->self.hardware_model, &job->self);
    job->peer.verified = true; /* the words proved it to both people */
    if (job->err) job->job.run = pin_nothing;
    kith__core_submit(core, &job->job);
}

void kith__book_pin_first(kith_core *core, pin_job *job, const kith_peer *peer, void (*done)(pin_job *job))
{
    *job = (pin_job){
        .job = {.run = pin_run, .done = pin_done}, .core = core, .done = done, .first_use = true, .peer = *peer};
    job->peer.how = KITH_PEER_TOFU;
    kith__core_submit(core, &job->job);
}

/* ---- learning ---- */

typedef struct learn_job {
    kith_job job;
    kith_core *core;
    kith_hello hello;
} learn_job;

void kith__book_placeholder(const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], char out[static KITH_NAME_SIZE])
{
    char digits[KITH_FINGERPRINT_SHORT_SIZE];
    snprintf(out, KITH_NAME_SIZE, "device-%s", kith_fingerprint_short(fingerprint, digits));
}

static kith_err learn(kith_trust *trust, void *user)
{
    const kith_hello *h = user;
    return kith_trust_describe(trust, h->fingerprint, h->name, h->os, h->hardware_model);
}

static void learn_run(kith_job *job)
{
    learn_job *l = KITH_OF(job, learn_job, job);
    kith_problem ignored = {0};
    if (kith_home_update_trust(l->core->home, learn, &l->hello, &ignored)) return; /* then the next time */
}

static void learn_done(kith_job *job)
{
    learn_job *l = KITH_OF(job, learn_job, job);
    kith_core *core = l->core;
    kith_free(l);
    core->book->learning = NULL;
    refresh_or_warn(core);
    kith__core_job_done(core);
    kith__core_pump(core);
}

void kith__book_learn(kith_core *core, const kith_peer *peer, const kith_hello *hello)
{
    char placeholder[KITH_NAME_SIZE];
    kith__book_placeholder(peer->fingerprint, placeholder);
    if (peer->how != KITH_PEER_TOFU || peer->kind != KITH_PEER_CONTACT || strcmp(peer->name, placeholder) != 0) return;
    learn_job *l = core->closing || core->book->learning ? NULL : kith_calloc(1, sizeof *l);
    if (!l) return; /* the next time */
    core->book->learning = l;
    *l = (learn_job){.job = {.run = learn_run, .done = learn_done}, .core = core, .hello = *hello};
    kith__core_submit(core, &l->job);
}

/* ---- as events show them ---- */

void kith__core_describe(const kith_peer *peer, kith_device_info *out)
{
    *out = (kith_device_info){0};
    kith_uuid_text(peer->uuid, out->id);
    kith_hex(peer->fingerprint, sizeof peer->fingerprint, out->fingerprint);
    snprintf(out->name, sizeof out->name, "%s", peer->local_name);
    snprintf(out->os, sizeof out->os, "%s", peer->os);
    snprintf(out->hardware_model, sizeof out->hardware_model, "%s", peer->hardware_model);
    out->trust = peer->kind == KITH_PEER_OWN ? KITH_RELATION_OWN : KITH_RELATION_CONTACT;
    out->verified = peer->verified;
    out->first_use = peer->how == KITH_PEER_TOFU;
    out->added_ms = peer->added_at_ms;
}

void kith__core_describe_hello(const kith_hello *hello, kith_device_info *out)
{
    *out = (kith_device_info){0};
    kith_uuid_text(hello->uuid, out->id);
    kith_hex(hello->fingerprint, sizeof hello->fingerprint, out->fingerprint);
    snprintf(out->name, sizeof out->name, "%s", hello->name);
    snprintf(out->os, sizeof out->os, "%s", hello->os);
    snprintf(out->hardware_model, sizeof out->hardware_model, "%s", hello->hardware_model);
}
