/* Another recovery code: a record of the trust graph, signed by this device and, where there is one, with the old code.
 */
#include "store/home_internal.h"

#include <string.h>

/* What a change of the graph works on. */
typedef struct renewal {
    const kith_home_author *who;
    const uint8_t *old_code; /* NULL: lost, or none */
    const kith_recovery_public *pair;
    kith_graph_entry self;
    const uint8_t *revoked; /* the UUID of a device that is to go; NULL */
    const char *why;
    const uint8_t *accepted; /* the id of the replacement that is agreed to; NULL */
    kith_graph_entry whom;   /* it; of several that claim that UUID the first in order of admission */
    kith_recovery_change *out;
} renewal;

static kith_graph_author author_of(const renewal *r)
{
    return (kith_graph_author){.seed = r->who->seed, .self = &r->self, .now_ms = r->who->now_ms};
}

/* Whether this device is a member: who is not has nothing to say. */
static bool is_member(const renewal *r, const kith_verdict *verdict)
{
    const kith_member *me = kith_verdict_find(verdict, r->self.fingerprint);
    return me && me->state == KITH_MEMBER;
}

static bool same(const uint8_t *a, const uint8_t *b) { return memcmp(a, b, KITH_FINGERPRINT_SIZE) == 0; }

/* Is it the device that is to go?  A thief can let in another under its UUID. */
static bool is_meant(const renewal *r, const kith_member *m)
{
    return r->revoked && memcmp(m->entry.uuid, r->revoked, KITH_UUID_SIZE) == 0 &&
           !same(m->entry.fingerprint, r->self.fingerprint);
}

/* Members stay who they are, but for who is revoked: it goes, and whom it has revoked comes back. */
static bool stays(const kith_graph *graph, const renewal *r, const kith_member *m)
{
    kith_record record;
    if (!r->revoked) return m->state == KITH_MEMBER;
    if (is_meant(r, m)) return false;
    if (m->state == KITH_MEMBER || same(m->entry.fingerprint, r->self.fingerprint)) return true;
    if (m->state != KITH_MEMBER_REVOKED) return false;
    kith_graph_record(graph, m->revoked, &record);
    return same(record.signer, r->whom.fingerprint);
}

/* Did the one that is to go let it in, or somebody whom it let in? */
static bool came_by(const kith_graph *graph, const kith_verdict *verdict, const renewal *r, const kith_member *m)
{
    kith_record record;
    for (size_t steps = 0; m && steps < verdict->count; steps++) {
        kith_graph_record(graph, m->admitted, &record);
        if (record.kind != KITH_RECORD_ADMIT) return false;
        m = kith_verdict_find(verdict, record.signer);
        if (m && is_meant(r, m)) return true;
    }
    return false;
}

/* LIMIT: there are more than a reset can name. */
static kith_err list_roster(const kith_graph *graph, const kith_verdict *verdict, const renewal *r, bool strict,
                            kith_graph_entry roster[static KITH_GRAPH_ROSTER_MAX], size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < verdict->count; i++) {
        const kith_member *m = &verdict->members[i];
        bool self = same(m->entry.fingerprint, r->self.fingerprint);
        if (!stays(graph, r, m) || (strict && !self && came_by(graph, verdict, r, m))) continue;
        if (*count == KITH_GRAPH_ROSTER_MAX) return KITH_ERR_LIMIT;
        roster[(*count)++] = m->entry;
    }
    return KITH_OK;
}

/* With the old code.  Whom the revoked device let in stays, unless those are so many that it has to be a flood. */
static kith_err reset(kith_graph *graph, const renewal *r, const kith_verdict *verdict)
{
    kith_graph_entry roster[KITH_GRAPH_ROSTER_MAX];
    const kith_graph_author author = author_of(r);
    kith_recovery_public of_code;
    size_t count = 0;
    kith_recovery_derive(r->old_code, &of_code);
    if (verdict->pair == KITH_GRAPH_NONE) return KITH_ERR_STATE;
    if (!kith_recovery_same(&of_code, &verdict->recovery)) return KITH_ERR_CODE;
    kith_err err = list_roster(graph, verdict, r, false, roster, &count);
    if (err == KITH_ERR_LIMIT && r->revoked) err = list_roster(graph, verdict, r, true, roster, &count);
    if (err) return err;
    return kith_graph_reset(graph, &author, kith_graph_id(graph, verdict->pair), r->old_code, r->pair, roster, count);
}

static kith_err renew(kith_graph *graph, void *user)
{
    renewal *r = user;
    kith_verdict verdict = {0};
    const kith_graph_author author = author_of(r);
    kith_err err = kith_graph_judge(graph, &verdict);
    if (!err && !is_member(r, &verdict)) err = KITH_ERR_REVOKED;
    if (!err) err = r->old_code ? reset(graph, r, &verdict) : kith_graph_replace(graph, &author, r->pair);
    kith_verdict_done(&verdict);
    if (!err) err = kith_graph_judge(graph, &verdict);
    if (!err) r->out->in_force = kith_recovery_same(&verdict.recovery, r->pair);
    kith_verdict_done(&verdict);
    return err;
}

/* What there is to know of replacements. */
static void describe_codes(const kith_graph *graph, const kith_verdict *verdict, const uint8_t *self,
                           kith_recovery_change *out)
{
    kith_record record;
    kith_waiting_code waiting;
    out->ended = kith_graph_ended_code(graph, verdict, self, &out->ended_code);
    out->waiting = kith_graph_waiting_code(graph, verdict, &waiting);
    out->several = waiting.several;
    if (!out->waiting) return;
    kith_graph_record(graph, waiting.record, &record);
    const kith_member *by = kith_verdict_find(verdict, record.signer);
    out->waiting_ms = record.time_ms;
    if (by) memcpy(out->waiting_by, by->entry.name, sizeof out->waiting_by);
    memcpy(out->waiting_id, kith_graph_id(graph, waiting.record), sizeof out->waiting_id);
}

static kith_err accept_record(kith_graph *graph, void *user)
{
    renewal *r = user;
    kith_verdict verdict = {0};
    const kith_graph_author author = author_of(r);
    kith_err err = kith_graph_judge(graph, &verdict);
    if (!err && !is_member(r, &verdict)) err = KITH_ERR_REVOKED;
    if (!err) describe_codes(graph, &verdict, r->self.fingerprint, r->out);
    if (!err && (!r->out->waiting || memcmp(r->out->waiting_id, r->accepted, KITH_GRAPH_ID_SIZE) != 0))
        err = KITH_ERR_NOT_FOUND;
    if (!err && r->out->several) err = KITH_ERR_ARG;
    if (!err) err = kith_graph_accept(graph, &author, r->accepted);
    kith_verdict_done(&verdict);
    if (!err) err = kith_graph_judge(graph, &verdict);
    size_t at = err ? KITH_GRAPH_NONE : kith_graph_find(graph, r->accepted);
    if (!err) r->out->in_force = verdict.records[at].state == KITH_RECORD_GOOD;
    kith_verdict_done(&verdict);
    return err;
}

static kith_err say_refused(const renewal *r, kith_err err, kith_problem *problem)
{
    if (err == KITH_ERR_LIMIT && r->old_code)
        return kith__say(
            problem, err,
            "there are more than %d own devices, or no place is left in the trust graph: revoke the device "
            "that let them in (`kith revoke --recovery`)",
            KITH_GRAPH_ROSTER_MAX);
    switch (err) {
    case KITH_ERR_CODE:
        return kith__say(problem, err,
                         "this is not the recovery code that is in force: if the paper is lost, say `--lost`");
    case KITH_ERR_STATE:
        return kith__say(problem, err, "there is no recovery code yet: none has to be given for a new one");
    case KITH_ERR_NOT_FOUND:
        return kith__say(problem, err,
                         "no new recovery code waits for this device's consent, or another than was said");
    case KITH_ERR_ARG:
        return kith__say(
            problem, err,
            "several of your devices made a new recovery code: one of them may be in somebody else's hands. "
            "Revoke it, or make one with the code that is in force");
    case KITH_ERR_LIMIT:
        return kith__say(
            problem, err,
            "the trust graph is full: use the recovery code (`kith revoke --recovery`, `kith recovery new`)");
    default: return kith__say_plain(problem, err);
    }
}

static kith_err find_revoked(renewal *r, const kith_verdict *verdict)
{
    kith_err err = KITH_ERR_NOT_FOUND;
    for (size_t i = 0; i < verdict->count; i++) {
        const kith_member *m = &verdict->members[i];
        if (m->state != KITH_MEMBER || memcmp(m->entry.uuid, r->revoked, KITH_UUID_SIZE) != 0) continue;
        if (is_meant(r, m)) {
            r->whom = m->entry;
            return KITH_OK;
        }
        err = KITH_ERR_ARG; /* it is this device */
    }
    return err;
}

/* All that claim its UUID. */
static kith_err revoke_each(kith_graph *graph, const renewal *r, const kith_verdict *verdict)
{
    const kith_graph_author author = author_of(r);
    kith_err err = KITH_OK;
    for (size_t i = 0; !err && i < verdict->count; i++) {
        const kith_member *m = &verdict->members[i];
        if (m->state == KITH_MEMBER && is_meant(r, m))
            err = kith_graph_revoke(graph, &author, m->entry.fingerprint, r->why);
    }
    return err;
}

static kith_err revoke(kith_graph *graph, void *user)
{
    renewal *r = user;
    kith_verdict verdict = {0};
    kith_err err = kith_graph_judge(graph, &verdict);
    if (!err) err = find_revoked(r, &verdict);
    if (!err && !r->old_code && !is_member(r, &verdict)) err = KITH_ERR_REVOKED;
    if (!err) err = r->old_code ? reset(graph, r, &verdict) : revoke_each(graph, r, &verdict);
    kith_verdict_done(&verdict);
    return err;
}

/* What would come of a change. */
static kith_err try_change(kith_home *home, renewal *r, kith_home_graph_fn *fn, kith_problem *problem)
{
    kith_graph *graph = NULL;
    kith_err err = kith_home_load_graph(home, &graph, problem);
    if (!err) err = fn(graph, r);
    kith_graph_free(graph);
    return err;
}

/* Change the graph, and say what follows from it: this device's deposit for the code that is in force then. */
static kith_err change(kith_home *home, renewal *r, kith_home_graph_fn *fn, kith_problem *problem)
{
    kith_home_self self;
    bool founded;
    kith_err err = kith_home_tend_graph(home, r->who->seed, r->who->rng, r->who->now_ms, &founded, problem);
    if (!err) err = kith_home_load(home, &self, problem);
    if (err) return err;
    kith_graph_entry_make(self.device.id, self.public_key, self.device.name, self.device.os, self.device.hardware_model,
                          &r->self);
    err = r->who->check ? try_change(home, r, fn, problem) : kith_home_update_graph(home, fn, r, problem);
    if (err && !*problem->message) return say_refused(r, err, problem);
    return err || r->who->check
               ? err
               : kith_home_tend_graph(home, r->who->seed, r->who->rng, r->who->now_ms, &founded, problem);
}

kith_err kith_home_new_recovery(kith_home *home, const kith_home_author *who, const uint8_t *old_code,
                                const kith_recovery_public *pair, kith_recovery_change *out, kith_problem *problem)
{
    kith_recovery_change made = {0};
    renewal r = {.who = who, .old_code = old_code, .pair = pair, .out = &made};
    kith_err err = change(home, &r, renew, problem);
    if (!err) *out = made;
    return err;
}

kith_err kith_home_accept_recovery(kith_home *home, const kith_home_author *who,
                                   const uint8_t id[static KITH_GRAPH_ID_SIZE], kith_recovery_change *out,
                                   kith_problem *problem)
{
    kith_recovery_change made = {0};
    renewal r = {.who = who, .out = &made, .accepted = id};
    kith_err err = change(home, &r, accept_record, problem);
    if (!err) *out = made;
    return err;
}

kith_err kith_home_waiting_recovery(kith_home *home, kith_recovery_change *out, kith_problem *problem)
{
    kith_graph *graph = NULL;
    kith_home_self self;
    kith_verdict verdict = {0};
    kith_recovery_change found = {0};
    kith_err err = kith_home_load(home, &self, problem);
    if (!err) err = kith_home_load_graph(home, &graph, problem);
    if (err) return err;
    if (kith_graph_count(graph)) err = kith_graph_judge(graph, &verdict);
    if (!err && verdict.records) describe_codes(graph, &verdict, self.fingerprint, &found);
    kith_verdict_done(&verdict);
    kith_graph_free(graph);
    if (err) return kith__say_plain(problem, err);
    *out = found;
    return KITH_OK;
}

kith_err kith_home_revoke(kith_home *home, const kith_home_author *who, const uint8_t uuid[static KITH_UUID_SIZE],
                          const char *why, const uint8_t *code, const kith_recovery_public *pair,
                          kith_graph_entry *whom, kith_problem *problem)
{
    kith_recovery_change ignored;
    renewal r = {.who = who, .old_code = code, .pair = pair, .revoked = uuid, .why = why, .out = &ignored};
    kith_err err = change(home, &r, revoke, problem);
    if (err == KITH_ERR_NOT_FOUND) return kith__say(problem, err, "that is none of this device's own devices");
    if (err == KITH_ERR_ARG) return kith__say(problem, err, "a device cannot revoke itself: do it on another");
    if (!err) *whom = r.whom;
    return err;
}
