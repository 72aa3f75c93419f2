#include "node/own_internal.h"

#include "base/mem.h"
#include "identity/graph_derive.h"
#include "identity/rfc3339.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the graph ---- */

/* Does this device's own graph have it as revoked? */
static bool out_of_it(const struct own *own)
{
    const kith_member *me = own->graph ? kith_verdict_find(&own->verdict, own->core->signer.fingerprint) : NULL;
    return me && me->state != KITH_MEMBER;
}

static kith_err load(struct own *own, kith_problem *problem)
{
    kith_graph *graph = NULL;
    kith_verdict verdict = {0};
    kith_err err = kith_home_load_graph(own->core->home, &graph, problem);
    if (!err && kith_graph_count(graph)) err = kith_graph_judge(graph, &verdict);
    if (err || kith_graph_count(graph) == 0) {
        kith_graph_free(graph);
        return err;
    }
    kith_graph_free(own->graph);
    kith_verdict_done(&own->verdict);
    own->graph = graph;
    own->verdict = verdict;
    return KITH_OK;
}

kith_err kith__own_reload(kith_core *core, kith_problem *problem)
{
    struct own *own = core->own;
    kith_err err = own ? load(own, problem) : KITH_OK;
    if (own && !err) own->changed = true;
    return err;
}

bool kith__own_has_others(const kith_core *core)
{
    return core->own && core->own->graph && kith_verdict_members(&core->own->verdict) > 1 &&
           kith__own_is_member(core, core->signer.fingerprint);
}

bool kith__own_is_member(const kith_core *core, const uint8_t fingerprint[static 32])
{
    const struct own *own = core->own;
    const kith_member *m = own && own->graph ? kith_verdict_find(&own->verdict, fingerprint) : NULL;
    return m && m->state == KITH_MEMBER;
}

kith_err kith__own_refusal(const kith_core *core, const uint8_t fingerprint[static 32])
{
    const struct own *own = core->own;
    bool named = own && own->graph && kith_verdict_find(&own->verdict, fingerprint);
    bool heard = named && (!kith__own_is_member(core, fingerprint) || out_of_it(own));
    return heard ? KITH_ERR_REVOKED : KITH_ERR_UNTRUSTED;
}

kith_member_state kith__own_state_of(const kith_core *core, const uint8_t x25519[static KITH_X25519_SIZE])
{
    const struct own *own = core->own;
    uint8_t key[KITH_X25519_SIZE];
    for (size_t i = 0; own && i < own->verdict.count; i++) {
        if (kith_ed25519_public_to_x25519(own->verdict.members[i].entry.ed25519, key)) continue;
        if (memcmp(key, x25519, sizeof key) == 0) return own->verdict.members[i].state;
    }
    return 0;
}

void kith__own_reason(const kith_core *core, const uint8_t fingerprint[static 32], char out[static OWN_REASON_MAX])
{
    kith_revocation r;
    *out = 0;
    if (!core->own || !core->own->graph) return;
    if (!kith_graph_revocation(core->own->graph, &core->own->verdict, fingerprint, &r)) return;
    char whole[2 * OWN_REASON_MAX];
    snprintf(whole, sizeof whole, "%lld\n%s\n%s", (long long)r.time_ms, r.by,
             r.reset ? "left out when the recovery code was used" : r.why);
    snprintf(out, OWN_REASON_MAX, "%.*s", (int)kith_name_cut(whole, OWN_REASON_MAX - 1), whole);
}

/* The reason is another device's text: it is cleaned, and what is missing is left out. */
void kith__own_told(kith_core *core, const char *reason)
{
    kith_revocation r = {.record = KITH_GRAPH_NONE};
    const char *first = strchr(reason, '\n'), *second = first ? strchr(first + 1, '\n') : NULL;
    if (!core->own) return;
    if (second) {
        r.time_ms = strtoll(reason, NULL, 10);
        kith_name_clean(first + 1, (size_t)(second - first - 1), r.by, sizeof r.by);
        kith_name_clean(second + 1, strlen(second + 1), r.why, sizeof r.why);
    }
    kith_revocation_text(&r, core->own->told);
}

bool kith__own_is_revoked(const kith_core *core) { return core->own && core->own->revoked; }

void kith_core_revoked(const kith_core *core, char *out, size_t size)
{
    char text[KITH_REVOCATION_TEXT_SIZE] = "";
    kith_revocation r;
    const struct own *own = core->own;
    if (kith__own_is_revoked(core) && kith_graph_revocation(own->graph, &own->verdict, core->signer.fingerprint, &r))
        kith_revocation_text(&r, text);
    snprintf(out, size, "%s", text);
}

void kith__own_told_text(const kith_core *core, char *out, size_t size)
{
    bool told = core->own && *core->own->told;
    snprintf(out, size, "%s", told ? core->own->told : kith_err_text(KITH_ERR_REVOKED));
}

/* ---- jobs: what the disk has to do ---- */

static kith_err add_records(kith_graph *graph, void *user)
{
    own_job *j = user;
    KITH_EACH (at, &j->records) {
        const own_record *r = KITH_OF(at, own_record, link);
        kith_err err = kith_graph_add(graph, r->bytes, r->size);
        j->missing += err == KITH_ERR_NOT_FOUND;
        if (err == KITH_ERR_NOMEM) return err;
    }
    return KITH_OK;
}

static kith_err add_all(kith_graph *graph, void *user) { return kith__own_merge(graph, user); }

static void job_run(kith_job *job)
{
    own_job *j = KITH_OF(job, own_job, job);
    kith_core *core = j->own->core;
    kith_problem problem = {0};
    bool founded;
    if (j->adopt)
        j->err = j->merge ? kith_home_update_graph(core->home, add_all, j->adopt, &problem)
                          : kith_home_replace_graph(core->home, j->adopt, &problem);
    if (!j->err && !kith_list_empty(&j->records)) j->err = kith_home_update_graph(core->home, add_records, j, &problem);
    if (!j->err)
        j->err = kith_home_tend_graph(core->home, core->signer.seed, &j->rng, core->env->base->wall_ms(core->env),
                                      &founded, &problem);
    snprintf(j->message, sizeof j->message, "%s", problem.message);
}

static void forget_records(own_job *j)
{
    for (kith_link *at; (at = kith_list_take_first(&j->records));) {
        own_record *r = KITH_OF(at, own_record, link);
        j->own->pending_bytes -= sizeof *r + r->size;
        kith_free(r);
    }
}

static void job_free(own_job *j)
{
    forget_records(j);
    kith_graph_free(j->adopt);
    kith_rng_done(&j->rng);
    kith_free(j);
}

static void job_done(kith_job *job);

void kith__own_start_job(struct own *own, kith_graph *adopt, own_link *joining)
{
    own_job *j = own->job || own->core->closing ? NULL : kith_calloc(1, sizeof *j);
    if (!j) {
        kith_graph_free(adopt); /* it is asked for again */
        return;
    }
    *j = (own_job){.job = {.run = job_run, .done = job_done}, .own = own, .adopt = adopt, .joining = joining};
    j->merge = joining && joining->phase == OWN_LINK_APPEALS;
    kith_list_init(&j->records);
    for (kith_link *at; (at = kith_list_take_first(&own->pending));) kith_list_append(&j->records, at);
    own->tend = false;
    kith_rng_fork(&own->core->rng, &j->rng);
    own->job = j;
    kith__core_submit(own->core, &j->job);
}

/* What could not be stored is not forgotten: who sent it takes it that it is here.  Before what came meanwhile, which
 * may need it. */
static void keep_records(own_job *j)
{
    struct own *own = j->own;
    for (kith_link *at; (at = kith_list_take_first(&own->pending));) kith_list_append(&j->records, at);
    for (kith_link *at; (at = kith_list_take_first(&j->records));) kith_list_append(&own->pending, at);
}

static void job_done(kith_job *job)
{
    own_job *j = KITH_OF(job, own_job, job);
    struct own *own = j->own;
    kith_core *core = own->core;
    own->job = NULL;
    if (j->err && !own->failed) /* said once, not with every attempt */
        kith__core_log(core, KITH_LOG_ERROR, "the trust graph was not stored: %s",
                       *j->message ? j->message : kith_err_text(j->err));
    own->failed = j->err != KITH_OK;
    if (j->adopt) {
        own->entering.err = j->err;
        snprintf(own->entering.message, sizeof own->entering.message, "%s",
                 *j->message ? j->message : kith_err_text(j->err));
    }
    KITH_EACH (at, &j->records) {
        own_record *r = KITH_OF(at, own_record, link);
        uint8_t id[KITH_GRAPH_ID_SIZE];
        kith_record_id(r->bytes, r->size, id);
        if (!r->from) continue;
        kith__own_link_has(r->from, id);
        r->from->wants |= j->missing > 0;
    }
    if (j->err) keep_records(j);
    kith_peer ignored;
    (void)kith__core_find_peer(core, core->signer.fingerprint, &ignored); /* the files are read again */
    if (j->joining) kith__own_link_entered(j->joining, j->err ? NULL : j->adopt);
    KITH_EACH (at, &own->links) kith__own_ask_again(KITH_OF(at, own_link, link));
    if (!own->failed && (own->tend || !kith_list_empty(&own->pending))) kith__own_start_job(own, NULL, NULL);
    job_free(j);
    kith__core_job_done(core);
    kith__core_pump(core);
}

bool kith__own_entering(const kith_core *core) { return core->own && core->own->job && core->own->job->adopt; }

const kith_problem *kith__own_not_entered(const kith_core *core)
{
    static const kith_problem none = {.err = KITH_OK};
    return core->own ? &core->own->entering : &none;
}

void kith__own_retry(kith_core *core)
{
    if (core->own && core->own->failed) kith__own_start_job(core->own, NULL, NULL);
}

/* ---- what follows from a change ---- */

/* Is there something that this device has to say of itself? */
static bool must_speak(const struct own *own)
{
    const kith_core *core = own->core;
    const kith_hello *self = &core->self;
    const kith_member *me = kith_verdict_find(&own->verdict, core->signer.fingerprint);
    kith_graph_entry now;
    if (!me || me->state != KITH_MEMBER) return false;
    if (own->verdict.pair != KITH_GRAPH_NONE && me->deposit == KITH_GRAPH_NONE) return true;
    kith_graph_entry_make(self->uuid, self->public_key, self->name, self->os, self->hardware_model, &now);
    return strcmp(me->entry.name, now.name) != 0 || strcmp(me->entry.os, now.os) != 0 ||
           strcmp(me->entry.hardware_model, now.hardware_model) != 0;
}

/* To the person: nobody else knows that there is a paper. */
static void say_ended_code(struct own *own)
{
    kith_ended_code code;
    char date[KITH_RFC3339_SIZE];
    bool before = own->ended;
    own->ended = own->graph && !out_of_it(own) &&
                 kith_graph_ended_code(own->graph, &own->verdict, own->core->signer.fingerprint, &code);
    if (before || !own->ended) return;
    kith_rfc3339_text(code.time_ms, date);
    kith__core_log(own->core, KITH_LOG_ERROR,
                   code.waits ? "the recovery code that %s made on %.10s is not in force: another own device has to "
                                "agree (`kith recovery accept` there)"
                              : "the recovery code that %s made on %.10s is void: make a new one (`kith recovery new`)",
                   code.by, date);
}

void kith__own_changed(kith_core *core)
{
    struct own *own = core->own;
    if (!own || !own->changed || !own->graph) return;
    own->changed = false;
    KITH_EACH (at, &own->links) {
        own_link *l = KITH_OF(at, own_link, link);
        const session *s = l->channel->session;
        if (l->heard && !s->over && !s->refused) kith__own_say_records(l);
    }
    bool before = own->revoked;
    own->revoked = out_of_it(own);
    if (own->revoked && !before) core->hooks->revoked(core);
    say_ended_code(own);
    own->tend = must_speak(own);
    if (own->tend) kith__own_start_job(own, NULL, NULL);
}

/* ---- beginning and end ---- */

kith_err kith__own_open(kith_core *core, kith_problem *problem)
{
    bool founded = false;
    struct own *own = core->own = kith_calloc(1, sizeof *own);
    if (!own) return KITH_ERR_NOMEM;
    own->core = core;
    kith_list_init(&own->links);
    kith_list_init(&own->pending);
    kith_err err = kith_home_tend_graph(core->home, core->signer.seed, &core->rng, core->env->base->wall_ms(core->env),
                                        &founded, problem);
    if (!err) err = load(own, problem);
    own->revoked = !err && out_of_it(own);
    if (!err) say_ended_code(own);
    if (!err && founded)
        kith__core_log(core, KITH_LOG_INFO,
                       "this device has founded a network of its own: own devices that were paired "
                       "before have to be paired again to be in it");
    return err;
}

void kith__own_close(kith_core *core)
{
    struct own *own = core->own;
    if (!own) return;
    for (kith_link *at; (at = kith_list_first(&own->links));) kith__own_link_free(KITH_OF(at, own_link, link));
    for (kith_link *at; (at = kith_list_take_first(&own->pending));) kith_free(KITH_OF(at, own_record, link));
    if (own->job) job_free(own->job); /* the env is dead: it will not be done */
    kith_graph_free(own->graph);
    kith_verdict_done(&own->verdict);
    kith_free(own);
    core->own = NULL;
}
