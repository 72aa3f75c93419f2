#include "node/own.h"

#include "base/buf.h"
#include "base/mem.h"
#include "identity/graph_derive.h"
#include "identity/rfc3339.h"
#include "service/trust_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATE_SIZE    10 /* of an RFC 3339 time */
#define LENGTH_BYTES 8

struct own {
    kith_core *core;
    kith_graph *graph;
    kith_verdict verdict;
    kith_list links;
    bool changed;      /* and what follows is not done yet (kith__own_changed) */
    kith_list pending; /* records that came and are not in the home yet */
    size_t pending_bytes;
    struct own_job *job;           /* the one under way; NULL: none */
    bool tend;                     /* this device has something to say of itself */
    char told[OWN_REASON_MAX * 2]; /* that this device is revoked; "": not told so */
};

/* A stream with one own device. */
typedef struct own_link {
    kith_link link;
    struct own *own;
    channel *channel;
    uint8_t *inbox; /* a message that is not whole yet: KITH_TRUST_OUTPUT_MAX */
    size_t inbox_size;
    bool heard;                                              /* its heads, of this network */
    uint8_t heads[KITH_TRUST_HEADS_MAX][KITH_GRAPH_ID_SIZE]; /* records it has, the latest last */
    size_t head_count;
    bool joining, replace;
    kith_graph *other; /* the network that is being joined, as far as it has come */
} own_link;

typedef struct own_record { /* that came */
    kith_link link;
    own_link *from; /* NULL: gone */
    size_t size;
    uint8_t bytes[];
} own_record;

typedef struct own_job {
    kith_job job;
    struct own *own;
    kith_list records;
    kith_graph *adopt; /* become this network's */
    own_link *joining; /* for it; NULL: gone */
    kith_rng rng;
    size_t missing; /* records whose parents are not here */
    kith_err err;
    char message[640];
} own_job;

static bool is_member(const struct own *own, const uint8_t *fingerprint)
{
    const kith_member *m = own->graph ? kith_verdict_find(&own->verdict, fingerprint) : NULL;
    return m && m->state == KITH_MEMBER;
}

/* ---- the graph ---- */

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

void kith__own_reload(kith_core *core)
{
    struct own *own = core->own;
    kith_problem problem = {0};
    if (!own) return;
    if (load(own, &problem))
        kith__core_log(core, KITH_LOG_ERROR, "%s", problem.message);
    else
        own->changed = true;
}

bool kith__own_has_others(const kith_core *core)
{
    return core->own && core->own->graph && kith_verdict_members(&core->own->verdict) > 1 &&
           is_member(core->own, core->signer.fingerprint);
}

bool kith__own_is_member(const kith_core *core, const uint8_t fingerprint[static 32])
{
    return core->own && is_member(core->own, fingerprint);
}

kith_err kith__own_refusal(const kith_core *core, const uint8_t fingerprint[static 32])
{
    const struct own *own = core->own;
    bool named = own && own->graph && kith_verdict_find(&own->verdict, fingerprint);
    return named && !is_member(own, fingerprint) ? KITH_ERR_REVOKED : KITH_ERR_UNTRUSTED;
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
    char by[KITH_NAME_SIZE] = "", why[KITH_NAME_SIZE] = "", date[KITH_RFC3339_SIZE] = "";
    const char *first = strchr(reason, '\n'), *second = first ? strchr(first + 1, '\n') : NULL;
    if (!core->own) return;
    if (second) {
        long long ms = strtoll(reason, NULL, 10);
        kith_name_clean(first + 1, (size_t)(second - first - 1), by, sizeof by);
        kith_name_clean(second + 1, strlen(second + 1), why, sizeof why);
        kith_rfc3339_text(ms, date);
        date[DATE_SIZE] = 0;
    }
    snprintf(core->own->told, sizeof core->own->told, "this device was revoked%s%s%s%s%s%s", *by ? " by " : "", by,
             *date ? " on " : "", date, *why ? ": " : "", why);
}

void kith__own_told_text(const kith_core *core, char *out, size_t size)
{
    bool told = core->own && *core->own->told;
    snprintf(out, size, "%s", told ? core->own->told : kith_err_text(KITH_ERR_REVOKED));
}

/* ---- saying ---- */

static void send(own_link *l, const uint8_t *bytes, size_t size)
{
    if (size && kith_stream_write(l->channel->stream, bytes, size))
        kith__core_log(l->own->core, KITH_LOG_DEBUG, "trust: the stream takes nothing more");
}

/* What we have; of a network that is being joined: all of it is lacking. */
static void say_heads(own_link *l, const uint8_t *network, bool none)
{
    const kith_graph *graph = l->own->graph;
    size_t numbers[KITH_TRUST_HEADS_MAX], count = none ? 0 : kith_graph_heads(graph, numbers, KITH_TRUST_HEADS_MAX);
    uint8_t ids[KITH_TRUST_HEADS_MAX][KITH_GRAPH_ID_SIZE], out[64 + sizeof ids + 2 * sizeof ids / 16];
    if (count > KITH_TRUST_HEADS_MAX) count = KITH_TRUST_HEADS_MAX;
    for (size_t i = 0; i < count; i++) memcpy(ids[i], kith_graph_id(graph, numbers[i]), sizeof ids[i]);
    send(l, out, kith_trust_write_heads(network, (const uint8_t(*)[KITH_GRAPH_ID_SIZE])ids, count, out, sizeof out));
}

static void has_too(own_link *l, const uint8_t *id)
{
    if (l->head_count == KITH_TRUST_HEADS_MAX) {
        l->head_count--;
        memmove(l->heads[0], l->heads[1], l->head_count * sizeof l->heads[0]);
    }
    memcpy(l->heads[l->head_count++], id, sizeof l->heads[0]);
}

/* The records it lacks, as far as we know. */
static void say_records(own_link *l)
{
    const kith_graph *graph = l->own->graph;
    uint8_t *out = kith_malloc(KITH_TRUST_OUTPUT_MAX);
    size_t *list = kith_calloc(kith_graph_count(graph) + 1, sizeof *list), taken = 0;
    size_t count =
        out && list ? kith_graph_lacks(graph, (const uint8_t(*)[KITH_GRAPH_ID_SIZE])l->heads, l->head_count, list) : 0;
    for (size_t at = 0; at < count; at += taken) {
        send(l, out, kith_trust_write_records(graph, list + at, count - at, out, &taken));
        if (taken == 0) break;
    }
    for (size_t i = 0; i < count; i++) has_too(l, kith_graph_id(graph, list[i]));
    kith_free(list);
    kith_free(out);
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

static void job_run(kith_job *job)
{
    own_job *j = KITH_OF(job, own_job, job);
    kith_core *core = j->own->core;
    kith_problem problem = {0};
    bool founded;
    if (j->adopt) j->err = kith_home_replace_graph(core->home, j->adopt, &problem);
    if (!j->err && !kith_list_empty(&j->records)) j->err = kith_home_update_graph(core->home, add_records, j, &problem);
    if (!j->err)
        j->err = kith_home_tend_graph(core->home, core->signer.seed, &j->rng, core->env->base->wall_ms(core->env),
                                      &founded, &problem);
    snprintf(j->message, sizeof j->message, "%s", problem.message);
}

static void forget_records(own_job *j)
{
    for (kith_link *at; (at = kith_list_take_first(&j->records));) kith_free(KITH_OF(at, own_record, link));
}

static void job_free(own_job *j)
{
    forget_records(j);
    kith_graph_free(j->adopt);
    kith_rng_done(&j->rng);
    kith_free(j);
}

static void job_done(kith_job *job);

static void start_job(struct own *own, kith_graph *adopt, own_link *joining)
{
    own_job *j = own->job || own->core->closing ? NULL : kith_calloc(1, sizeof *j);
    if (!j) {
        kith_graph_free(adopt); /* it is asked for again */
        return;
    }
    *j = (own_job){.job = {.run = job_run, .done = job_done}, .own = own, .adopt = adopt, .joining = joining};
    kith_list_init(&j->records);
    for (kith_link *at; (at = kith_list_take_first(&own->pending));) kith_list_append(&j->records, at);
    own->pending_bytes = 0;
    own->tend = false;
    kith_rng_fork(&own->core->rng, &j->rng);
    own->job = j;
    kith__core_submit(own->core, &j->job);
}

/* The device at the other end has this graph, since it came from there. */
static void entered(own_link *l, const kith_graph *graph)
{
    size_t numbers[KITH_TRUST_HEADS_MAX];
    l->joining = false;
    if (!graph) return;
    size_t count = kith_graph_heads(graph, numbers, KITH_TRUST_HEADS_MAX);
    l->heard = true;
    l->head_count = 0;
    for (size_t i = 0; i < count && i < KITH_TRUST_HEADS_MAX; i++) has_too(l, kith_graph_id(graph, numbers[i]));
}

static void job_done(kith_job *job)
{
    own_job *j = KITH_OF(job, own_job, job);
    struct own *own = j->own;
    kith_core *core = own->core;
    own->job = NULL;
    if (j->err)
        kith__core_log(core, KITH_LOG_ERROR, "the trust graph was not stored: %s",
                       *j->message ? j->message : kith_err_text(j->err));
    KITH_EACH (at, &j->records) {
        own_record *r = KITH_OF(at, own_record, link);
        uint8_t id[KITH_GRAPH_ID_SIZE];
        kith_record_id(r->bytes, r->size, id);
        if (r->from) has_too(r->from, id);
        if (r->from && j->missing && own->graph) { /* something came before what it needs */
            say_heads(r->from, kith_graph_id(own->graph, 0), false);
            j->missing = 0;
        }
    }
    if (j->joining) entered(j->joining, j->err ? NULL : j->adopt);
    kith_peer ignored;
    (void)kith__core_find_peer(core, core->signer.fingerprint, &ignored); /* the files are read again */
    if (own->tend || !kith_list_empty(&own->pending)) start_job(own, NULL, NULL);
    job_free(j);
    kith__core_job_done(core);
    kith__core_pump(core);
}

/* ---- hearing ---- */

static void link_free(own_link *l)
{
    struct own *own = l->own;
    KITH_EACH (at, &own->pending)
        if (KITH_OF(at, own_record, link)->from == l) KITH_OF(at, own_record, link)->from = NULL;
    if (own->job) {
        KITH_EACH (at, &own->job->records)
            if (KITH_OF(at, own_record, link)->from == l) KITH_OF(at, own_record, link)->from = NULL;
        if (own->job->joining == l) own->job->joining = NULL;
    }
    kith_list_remove(&l->link);
    kith__channel_free(l->channel);
    kith_graph_free(l->other);
    kith_free(l->inbox);
    kith_free(l);
}

/* Of another network: it may be the one that has just admitted this device. */
static void hear_foreign(own_link *l, const kith_trust_message *m)
{
    bool alone = !kith__own_has_others(l->own->core);
    if (l->other || l->own->job || (!alone && !l->replace)) {
        if (!l->other) l->joining = false;
        return;
    }
    if (kith_graph_new(&l->other) == KITH_OK) say_heads(l, m->network, true);
}

static void hear_heads(own_link *l, const kith_trust_message *m)
{
    const kith_graph *graph = l->own->graph;
    if (!graph) return;
    if (memcmp(m->network, kith_graph_id(graph, 0), sizeof m->network) != 0) {
        hear_foreign(l, m);
        return;
    }
    l->heard = true;
    l->joining = l->joining && l->own->job;
    l->head_count = m->head_count;
    memcpy(l->heads, m->heads, sizeof l->heads);
    say_records(l);
}

/* All of it is here: is this device in it, and the one that says so? */
static void consider(own_link *l)
{
    kith_verdict v;
    kith_graph *other = l->other;
    l->other = NULL;
    bool in = false;
    if (kith_graph_judge(other, &v) == KITH_OK) {
        const kith_member *me = kith_verdict_find(&v, l->own->core->signer.fingerprint);
        const kith_member *them = kith_verdict_find(&v, l->channel->session->peer.fingerprint);
        in = me && them && me->state == KITH_MEMBER && them->state == KITH_MEMBER;
        kith_verdict_done(&v);
    }
    if (in) {
        l->joining = true;
        start_job(l->own, other, l);
    } else {
        l->joining = false;
        kith_graph_free(other);
    }
}

static void hear_records(own_link *l, const kith_trust_message *m)
{
    struct own *own = l->own;
    for (size_t i = 0; i < m->record_count; i++) {
        size_t size;
        const uint8_t *bytes = kith_trust_message_record(m, i, &size);
        if (l->other) {
            if (kith_graph_add(l->other, bytes, size) == KITH_OK) continue;
            kith_graph_free(l->other);
            l->other = NULL;
            l->joining = false;
            return;
        }
        own_record *r = own->pending_bytes + size > OWN_PENDING_BYTES ? NULL : kith_malloc(sizeof *r + size);
        if (!r) return; /* they come again when heads are next said */
        *r = (own_record){.from = l, .size = size};
        memcpy(r->bytes, bytes, size);
        own->pending_bytes += size;
        kith_list_append(&own->pending, &r->link);
    }
    if (l->other && !m->more) consider(l);
    if (!kith_list_empty(&own->pending)) start_job(own, NULL, NULL);
}

static void hear(own_link *l, const uint8_t *data, size_t size)
{
    kith_trust_message m;
    kith_err err = kith_trust_parse(data, size, &m);
    if (err == KITH_ERR_UNSUPPORTED) return;
    if (err)
        kith__session_close(l->channel->session, KITH_ERR_PROTOCOL);
    else if (m.kind == KITH_TRUST_HEADS)
        hear_heads(l, &m);
    else
        hear_records(l, &m);
}

/* Whole messages in the inbox are taken out of it.  False: it cannot be one. */
static bool hear_inbox(own_link *l)
{
    for (;;) {
        kith_reader r = kith_reader_of(l->inbox, l->inbox_size);
        uint64_t length = kith_read_varint(&r);
        if (r.bad) return true;
        if (length > KITH_TRUST_MESSAGE_MAX) return false;
        const uint8_t *message = kith_read_view(&r, (size_t)length);
        if (!message) return true;
        hear(l, message, (size_t)length);
        size_t used = (size_t)(r.at - l->inbox);
        l->inbox_size -= used;
        memmove(l->inbox, l->inbox + used, l->inbox_size);
    }
}

static void readable(channel *c)
{
    own_link *l = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (!c->session->over && kith_stream_peek(c->stream, &data, &size, &fin)) {
        size_t room = KITH_TRUST_OUTPUT_MAX - l->inbox_size, take = size < room ? size : room;
        memcpy(l->inbox + l->inbox_size, data, take);
        l->inbox_size += take;
        kith_stream_consume(c->stream, take);
        if (hear_inbox(l)) continue;
        kith__session_close(c->session, KITH_ERR_PROTOCOL);
        return;
    }
}

static void gone(channel *c, kith_err why)
{
    (void)why;
    link_free(c->owner);
}

static const channel_events link_events = {.readable = readable, .gone = gone};

static own_link *link_new(struct own *own)
{
    own_link *l = kith_calloc(1, sizeof *l);
    if (l) l->inbox = kith_malloc(KITH_TRUST_OUTPUT_MAX);
    if (!l || !l->inbox) {
        kith_free(l);
        return NULL;
    }
    l->own = own;
    kith_list_append(&own->links, &l->link);
    return l;
}

static own_link *link_of(const session *s)
{
    if (!s->core->own) return NULL;
    KITH_EACH (at, &s->core->own->links) {
        own_link *l = KITH_OF(at, own_link, link);
        if (l->channel && l->channel->session == s) return l;
    }
    return NULL;
}

kith_err kith__own_serve(channel *c)
{
    struct own *own = c->session->core->own;
    if (!own || !own->graph || link_of(c->session)) return KITH_ERR_NOT_ALLOWED;
    own_link *l = link_new(own);
    if (!l) return KITH_ERR_NOMEM;
    l->channel = c;
    c->owner = l;
    c->events = &link_events;
    say_heads(l, kith_graph_id(own->graph, 0), false);
    return KITH_OK;
}

void kith__own_greeted(session *s)
{
    struct own *own = s->core->own;
    if (!own || !own->graph || s->standing != KITH_STANDING_OWN) return;
    if (!s->dialler || link_of(s)) return;
    own_link *l = link_new(own);
    if (!l) return;
    if (kith__channel_open(s, STREAM_TRUST, &link_events, l, &l->channel))
        link_free(l);
    else
        say_heads(l, kith_graph_id(own->graph, 0), false);
}

void kith__own_join(session *s, bool replace)
{
    kith__own_greeted(s);
    own_link *l = link_of(s);
    if (!l || !s->core->own->graph) return;
    l->joining = !is_member(s->core->own, s->peer.fingerprint);
    l->replace = replace;
}

bool kith__own_joining(const session *s)
{
    const own_link *l = link_of(s);
    return l && (l->joining || l->own->job || l->own->changed ||
                 kith_stream_returned(l->channel->stream) != kith_stream_written(l->channel->stream));
}

/* ---- what follows from a change ---- */

/* Is there something that this device has to say of itself? */
static bool must_speak(const struct own *own)
{
    const kith_member *me = kith_verdict_find(&own->verdict, own->core->signer.fingerprint);
    return me && me->state == KITH_MEMBER && own->verdict.pair != KITH_GRAPH_NONE && me->deposit == KITH_GRAPH_NONE;
}

void kith__own_changed(kith_core *core)
{
    struct own *own = core->own;
    if (!own || !own->changed || !own->graph) return;
    own->changed = false;
    KITH_EACH (at, &own->links) {
        own_link *l = KITH_OF(at, own_link, link);
        if (l->heard && !l->channel->session->over) say_records(l);
    }
    own->tend = must_speak(own);
    if (own->tend) start_job(own, NULL, NULL);
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
    for (kith_link *at; (at = kith_list_first(&own->links));) link_free(KITH_OF(at, own_link, link));
    for (kith_link *at; (at = kith_list_take_first(&own->pending));) kith_free(KITH_OF(at, own_record, link));
    if (own->job) job_free(own->job); /* the env is dead: it will not be done */
    kith_graph_free(own->graph);
    kith_verdict_done(&own->verdict);
    kith_free(own);
    core->own = NULL;
}
