/* What a trust graph comes to: the rules at the head of graph.h, epoch by epoch.
 *
 * Within an epoch revocations are decided in the order of admission of their signers.  When it is one device's turn
 * those that count so far are all by devices admitted earlier, and whether its own count is asked of the records as
 * these leave them.  So each step asks only what is decided already, and there is an end. */
#include "identity/graph_internal.h"

#include "base/mem.h"

#include <string.h>

#define NONE KITH_GRAPH_NONE

typedef struct place { /* of a device in the epoch */
    bool base;         /* it is of those the epoch began with */
    bool known;        /* it has a rank */
    size_t rank;       /* in order of admission */
    size_t first;      /* the first record of the epoch that admits it */
    size_t *admits;    /* all that do, in order */
    size_t admit_count, admit_room;
    uint64_t *admitting; /* the same as a set; NULL: none */
    uint64_t *allowed;   /* records in the past of all revocations of it that count; NULL: none counts */
    size_t revoked;      /* the first of those */
} place;

typedef struct judge {
    const kith_graph *graph;
    kith_verdict *out;
    size_t *order;    /* records in order */
    uint64_t *within; /* those of the epoch */
    uint64_t *good;   /* that count, as it stands */
    uint64_t *counts; /* revocations that count */
    place *places;    /* by device */
    size_t *ranked, ranked_count;
    size_t *said;    /* in_force: by device, the record that says it agrees; NONE */
    uint64_t *asked; /* ... which were asked */
    uint64_t *came;  /* ... and which came with it (came_with) */
    size_t *asking, asking_count;
} judge;

static bool in_past(const judge *j, size_t index, size_t of) { return kith_graph_in_past(j->graph, index, of); }
static const kith__node *node(const judge *j, size_t index) { return &j->graph->nodes[index]; }

static void say(judge *j, size_t record, kith_record_state state, size_t by)
{
    j->out->records[record].state = state;
    j->out->records[record].by = by;
}

/* ---- who is who ---- */

static void rank(judge *j, size_t device, size_t first)
{
    place *p = &j->places[device];
    if (p->known) return;
    p->known = true;
    p->first = first;
    p->rank = j->ranked_count;
    j->ranked[j->ranked_count++] = device;
}

static kith_err note_admit(const judge *j, place *p, size_t record)
{
    if (!p->admitting) p->admitting = kith_calloc(kith__words(j->graph->count), sizeof *p->admitting);
    if (!p->admitting) return KITH_ERR_NOMEM;
    if (p->admit_count == p->admit_room) {
        size_t room = p->admit_room ? 2 * p->admit_room : 4;
        size_t *admits = kith_realloc(p->admits, room * sizeof *admits);
        if (!admits) return KITH_ERR_NOMEM;
        p->admits = admits;
        p->admit_room = room;
    }
    p->admits[p->admit_count++] = record;
    kith__bit_set(p->admitting, record);
    return KITH_OK;
}

static void forget_places(judge *j)
{
    for (size_t i = 0; i < j->graph->device_count; i++) {
        kith_free(j->places[i].admits);
        kith_free(j->places[i].admitting);
        kith_free(j->places[i].allowed);
        j->places[i] = (place){.revoked = NONE, .first = NONE};
    }
    j->ranked_count = 0;
}

/* Was the signer admitted in the record's past, whoever is revoked? */
static bool admitted(const judge *j, size_t record, const uint64_t *good)
{
    const place *p = &j->places[node(j, record)->signer];
    if (!p->known) return false;
    if (p->base) return true;
    for (size_t w = 0; p->admitting && w < kith__words(record); w++)
        if (p->admitting[w] & node(j, record)->past[w] & (good ? good[w] : UINT64_MAX)) return true;
    return false;
}

/* The devices the epoch begins with, in the order the record has them. */
static void rank_base(judge *j, size_t base)
{
    for (size_t want = 0, found = 1; found; want++) {
        found = 0;
        for (size_t i = 0; i < j->graph->device_count; i++) {
            const kith__device *d = &j->graph->devices[i];
            for (size_t k = 0; k < d->count; k++) {
                if (d->in[k].record != base || d->in[k].place != want) continue;
                rank(j, i, base);
                j->places[i].base = true;
                found = 1;
            }
        }
    }
}

/* Who could be a member at all, in order of admission. */
static kith_err rank_all(judge *j, size_t base)
{
    forget_places(j);
    rank_base(j, base);
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i], device = node(j, r)->device;
        if (!kith__bit(j->within, r) || node(j, r)->kind != KITH_RECORD_ADMIT || !admitted(j, r, NULL)) continue;
        rank(j, device, r);
        kith_err err = note_admit(j, &j->places[device], r);
        if (err) return err;
    }
    return KITH_OK;
}

/* ---- what counts ---- */

/* Which records count while the revocations in `allowed` do. */
static void weigh(judge *j)
{
    memset(j->good, 0, kith__words(j->graph->count) * sizeof *j->good);
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i];
        const uint64_t *allowed = j->places[node(j, r)->signer].allowed;
        if (kith__bit(j->within, r) && (!allowed || kith__bit(allowed, r)) && admitted(j, r, j->good))
            kith__bit_set(j->good, r);
    }
}

static kith_err count_revocation(judge *j, size_t r)
{
    place *p = &j->places[node(j, r)->device];
    size_t words = kith__words(j->graph->count), before = kith__words(r);
    kith__bit_set(j->counts, r);
    if (!p->allowed) {
        p->allowed = kith_calloc(words, sizeof *p->allowed);
        if (!p->allowed) return KITH_ERR_NOMEM;
        memset(p->allowed, 0xff, words * sizeof *p->allowed);
    }
    for (size_t w = 0; w < words; w++) p->allowed[w] &= w < before ? node(j, r)->past[w] : 0;
    if (p->revoked == NONE || kith__graph_compare(j->graph, r, p->revoked) < 0) p->revoked = r;
    return KITH_OK;
}

/* The revocation that counts with which the target of `r` revoked its signer; NONE: there is none. */
static size_t answered_by(const judge *j, size_t r)
{
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t other = j->order[i];
        if (kith__bit(j->counts, other) && node(j, other)->signer == node(j, r)->device &&
            node(j, other)->device == node(j, r)->signer)
            return other;
    }
    return NONE;
}

/* One device's turn: those of its revocations that count are added, all at once, since none of them is about itself. */
static kith_err take_turn(judge *j, size_t device, bool *changed)
{
    kith_err err = KITH_OK;
    *changed = false;
    for (size_t r = 0; !err && r < j->graph->count; r++) {
        if (node(j, r)->kind != KITH_RECORD_REVOKE || node(j, r)->signer != device || !kith__bit(j->good, r)) continue;
        if (answered_by(j, r) != NONE) continue;
        err = count_revocation(j, r);
        *changed = true;
    }
    return err;
}

static kith_err decide(judge *j)
{
    kith_err err = KITH_OK;
    bool changed = true;
    memset(j->counts, 0, kith__words(j->graph->count) * sizeof *j->counts);
    for (size_t i = 0; !err && i < j->ranked_count; i++) {
        if (changed) weigh(j);
        err = take_turn(j, j->ranked[i], &changed);
    }
    if (!err) weigh(j);
    return err;
}

static bool is_member(const judge *j, size_t device)
{
    const place *p = &j->places[device];
    bool by_admit = false;
    for (size_t i = 0; i < p->admit_count; i++) by_admit |= kith__bit(j->good, p->admits[i]);
    return p->known && !p->allowed && (p->base || by_admit);
}

/* ---- whether a replacement is in force ---- */

/* Which devices have said themselves that they agree: each one's first record that does, and its author. */
static void hear_consents(judge *j, size_t replace)
{
    for (size_t i = 0; i < j->graph->device_count; i++) j->said[i] = NONE;
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i];
        bool says = node(j, r)->kind == KITH_RECORD_ACCEPT || node(j, r)->kind == KITH_RECORD_DEPOSIT;
        if (!says || node(j, r)->target != replace || !kith__bit(j->good, r)) continue;
        if (j->said[node(j, r)->signer] == NONE) j->said[node(j, r)->signer] = r;
    }
    j->said[node(j, replace)->signer] = replace;
}

static void ask(judge *j, size_t device)
{
    if (kith__bit(j->asked, device)) return;
    kith__bit_set(j->asked, device);
    j->asking[j->asking_count++] = device;
}

/* Who says nothing itself agrees when all that ever let it in knew of the replacement and agree, too: they are asked
 * next.  All: else a thief would let in once more those who are members, and make them agree with its own. */
static bool came_with(judge *j, size_t device, size_t replace)
{
    const place *p = &j->places[device];
    if (p->base || !p->admit_count) return false;
    if (kith__bit(j->came, device)) return true;
    for (size_t i = 0; i < p->admit_count; i++) {
        if (!in_past(j, replace, p->admits[i])) return false;
        ask(j, node(j, p->admits[i])->signer);
    }
    kith__bit_set(j->came, device);
    return true;
}

/* Who revoked the maker must have agreed before, else that was said against the replacement, too: the revocation; NONE.
 */
static size_t refused_by(judge *j, size_t replace)
{
    for (size_t r = 0; r < j->graph->count; r++) {
        if (!kith__bit(j->counts, r) || node(j, r)->device != node(j, replace)->signer) continue;
        size_t by = node(j, r)->signer, said = j->said[by];
        if ((said == NONE || !in_past(j, said, r)) && !came_with(j, by, replace)) return r;
    }
    return NONE;
}

/* *refused: a revocation that ends it for good; NONE. */
static bool in_force(judge *j, size_t replace, size_t *refused)
{
    *refused = NONE;
    if (!kith__bit(j->good, replace)) return false;
    memset(j->asked, 0, kith__words(j->graph->device_count) * sizeof *j->asked);
    memset(j->came, 0, kith__words(j->graph->device_count) * sizeof *j->came);
    j->asking_count = 0;
    hear_consents(j, replace);
    *refused = refused_by(j, replace);
    if (*refused != NONE) return false;
    for (size_t i = 0; i < j->ranked_count; i++)
        if (is_member(j, j->ranked[i])) ask(j, j->ranked[i]);
    while (j->asking_count) {
        size_t device = j->asking[--j->asking_count];
        if (j->said[device] == NONE && !came_with(j, device, replace)) return false;
    }
    return true;
}

/* ---- which reset ends an epoch ---- */

/* Whether it is a reset of the epoch, as far as its key goes. */
static bool is_candidate(judge *j, size_t r, size_t base)
{
    size_t ignored;
    const kith__node *n = node(j, r);
    if (n->kind != KITH_RECORD_RESET || !kith__bit(j->within, r)) return false;
    return n->target == base || (kith__bit(j->within, n->target) && node(j, n->target)->kind == KITH_RECORD_REPLACE &&
                                 in_force(j, n->target, &ignored));
}

/* Does `a` go before `b`?  By the pair's age, the co-signer's, the id. */
static bool goes_before(const judge *j, size_t a, size_t b)
{
    const kith__node *x = node(j, a), *y = node(j, b);
    if (x->target != y->target) return kith__graph_compare(j->graph, x->target, y->target) < 0;
    const place *p = &j->places[x->signer], *q = &j->places[y->signer];
    if (p->known != q->known) return p->known;
    if (p->known && p->rank != q->rank) return p->rank < q->rank;
    return memcmp(x->id, y->id, sizeof x->id) < 0;
}

/* NONE: the epoch goes on.  `mine`: room for a set. */
static size_t find_reset(judge *j, size_t base, uint64_t *mine)
{
    size_t best = NONE;
    memset(mine, 0, kith__words(j->graph->count) * sizeof *mine);
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i];
        if (!is_candidate(j, r, base)) continue;
        bool late = false; /* there is one in its past */
        for (size_t w = 0; w < kith__words(r); w++) late |= (node(j, r)->past[w] & mine[w]) != 0;
        kith__bit_set(mine, r);
        if (!late && (best == NONE || goes_before(j, r, best))) best = r;
    }
    return best;
}

/* ---- saying it ---- */

/* The first revocation of the signer that counts and does not know of the record. */
static size_t void_by(const judge *j, size_t record)
{
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i];
        if (kith__bit(j->counts, r) && node(j, r)->device == node(j, record)->signer && !in_past(j, record, r))
            return r;
    }
    return NONE;
}

static void say_record(judge *j, size_t r)
{
    kith_record_kind kind = node(j, r)->kind;
    bool good = kind == KITH_RECORD_REVOKE ? kith__bit(j->counts, r) : kith__bit(j->good, r);
    size_t by = good ? NONE : void_by(j, r), refused;
    if (!good && by == NONE && kind == KITH_RECORD_REVOKE) by = answered_by(j, r);
    if (kind == KITH_RECORD_RESET)
        say(j, r, KITH_RECORD_VOID_KEY, NONE); /* one that counts begins its own epoch */
    else if (good && kind == KITH_RECORD_REPLACE && !in_force(j, r, &refused))
        say(j, r, refused == NONE ? KITH_RECORD_WAITING : KITH_RECORD_VOID_REVOKED, refused);
    else if (good)
        say(j, r, KITH_RECORD_GOOD, NONE);
    else
        say(j, r, by == NONE ? KITH_RECORD_VOID_STRANGER : KITH_RECORD_VOID_REVOKED, by);
}

/* The devices of this epoch; `next`: the reset that ends it, or NONE.  One that a later epoch has, too, is said anew.
 */
static void say_members(judge *j, kith_member *members, size_t next)
{
    for (size_t i = 0; i < j->ranked_count; i++) {
        size_t device = j->ranked[i];
        const place *p = &j->places[device];
        kith_member *m = &members[device];
        m->admitted = p->first;
        for (size_t k = p->admit_count; !p->base && k-- > 0;)
            if (kith__bit(j->good, p->admits[k])) m->admitted = p->admits[k];
        m->revoked = NONE;
        if (is_member(j, device))
            m->state = KITH_MEMBER;
        else if (p->allowed && (p->base || kith__bit(j->good, m->admitted)))
            m->state = KITH_MEMBER_REVOKED, m->revoked = p->revoked;
        else
            m->state = KITH_MEMBER_VOID;
        if (m->state == KITH_MEMBER && next != NONE) m->state = KITH_MEMBER_REVOKED, m->revoked = next;
    }
}

static void leave(judge *j, size_t r) { j->within[r / 64] &= ~(UINT64_C(1) << (r % 64)); }

/* The epoch ends with this reset: what does not lead to it is no part of the epoch, and void unless it follows. */
static kith_err cut_epoch(judge *j, size_t base, size_t next)
{
    for (size_t r = 0; r < j->graph->count; r++) {
        if (!kith__bit(j->within, r) || in_past(j, r, next)) continue;
        leave(j, r);
        if (r != next && !in_past(j, next, r)) say(j, r, KITH_RECORD_VOID_RESET, next);
    }
    kith_err err = rank_all(j, base);
    return err ? err : decide(j);
}

/* *next: the reset that ends the epoch, or NONE. */
static kith_err run_epoch(judge *j, kith_member *members, size_t base, uint64_t *mine, size_t *next)
{
    memset(j->within, 0, kith__words(j->graph->count) * sizeof *j->within);
    for (size_t r = base + 1; r < j->graph->count; r++)
        if (in_past(j, base, r)) kith__bit_set(j->within, r);
    kith_err err = rank_all(j, base);
    if (!err) err = decide(j);
    if (err) return err;
    *next = find_reset(j, base, mine);
    if (*next != NONE && (err = cut_epoch(j, base, *next))) return err;
    for (size_t r = 0; r < j->graph->count; r++)
        if (kith__bit(j->within, r)) say_record(j, r);
    say_members(j, members, *next);
    j->out->base = base;
    say(j, base, KITH_RECORD_GOOD, NONE);
    return KITH_OK;
}

static kith_err run_epochs(judge *j, kith_member *members)
{
    uint64_t *mine = kith_calloc(kith__words(j->graph->count), sizeof *mine);
    size_t base = j->order[0], next;
    kith_err err = mine ? run_epoch(j, members, base, mine, &next) : KITH_ERR_NOMEM;
    while (!err && next != NONE) {
        base = next;
        j->out->epoch++;
        err = run_epoch(j, members, base, mine, &next);
    }
    kith_free(mine);
    return err;
}

/* The last epoch's pair: what the epoch began with, or the last replacement in force. */
static void find_pair(judge *j)
{
    kith_record record;
    j->out->pair = j->out->base;
    kith_graph_record(j->graph, j->out->base, &record);
    if (record.kind == KITH_RECORD_FOUND && !record.has_pair) j->out->pair = NONE;
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i];
        if (kith__bit(j->within, r) && node(j, r)->kind == KITH_RECORD_REPLACE &&
            j->out->records[r].state == KITH_RECORD_GOOD)
            j->out->pair = r;
    }
    if (j->out->pair == NONE) return;
    kith_graph_record(j->graph, j->out->pair, &record);
    j->out->recovery = record.pair;
}

/* What a device is called in the record that admitted it. */
static void read_admission(judge *j, size_t device, kith_member *m)
{
    kith_record record;
    const kith__device *d = &j->graph->devices[device];
    kith_graph_record(j->graph, m->admitted, &record);
    for (size_t i = 0; i < d->count; i++) {
        if (d->in[i].record != m->admitted) continue;
        if (record.kind == KITH_RECORD_RESET)
            kith_record_roster(&record, d->in[i].place, &m->entry);
        else
            m->entry = record.entry;
    }
}

/* What devices said of themselves last, in records that count. */
static void find_said(judge *j, kith_member *members)
{
    kith_record record;
    for (size_t i = 0; i < j->graph->device_count; i++) read_admission(j, i, &members[i]);
    for (size_t i = 0; i < j->graph->count; i++) {
        size_t r = j->order[i];
        const kith__node *n = node(j, r);
        kith_member *m = &members[n->signer];
        if (j->out->records[r].state != KITH_RECORD_GOOD) continue;
        if (n->kind == KITH_RECORD_DEPOSIT && n->target == j->out->pair) m->deposit = r;
        bool describes = n->kind == KITH_RECORD_DESCRIBE && in_past(j, m->admitted, r);
        if (!describes && n->kind != KITH_RECORD_FOUND) continue;
        kith_graph_record(j->graph, r, &record);
        if (n->kind == KITH_RECORD_FOUND && record.has_deposit && r == j->out->pair) m->deposit = r;
        if (!describes) continue;
        memcpy(m->entry.name, record.entry.name, sizeof m->entry.name);
        memcpy(m->entry.os, record.entry.os, sizeof m->entry.os);
        memcpy(m->entry.hardware_model, record.entry.hardware_model, sizeof m->entry.hardware_model);
    }
}

/* Does `a` go before `b` among those of earlier epochs? */
static bool listed_before(const judge *j, const kith_member *a, const kith_member *b)
{
    if (a->admitted != b->admitted) return kith__graph_compare(j->graph, a->admitted, b->admitted) < 0;
    return memcmp(a->entry.fingerprint, b->entry.fingerprint, sizeof a->entry.fingerprint) < 0;
}

/* Those of the last epoch in order of admission, then the others. */
static kith_err list_members(judge *j, kith_member *members)
{
    size_t devices = j->graph->device_count, count = 0;
    kith_member *out = kith_calloc(devices, sizeof *out);
    if (!out) return KITH_ERR_NOMEM;
    for (size_t i = 0; i < j->ranked_count; i++) out[count++] = members[j->ranked[i]];
    for (size_t d = 0; d < devices; d++) {
        if (j->places[d].known) continue;
        size_t at = count++;
        for (; at > j->ranked_count && listed_before(j, &members[d], &out[at - 1]); at--) out[at] = out[at - 1];
        out[at] = members[d];
    }
    j->out->members = out;
    j->out->count = count;
    return KITH_OK;
}

/* As it is before any epoch says otherwise: not a member, first named in the first of the records that name it. */
static void begin_members(const kith_graph *graph, kith_member *members)
{
    for (size_t i = 0; i < graph->device_count; i++) {
        const kith__device *d = &graph->devices[i];
        size_t first = d->in[0].record;
        for (size_t k = 1; k < d->count; k++)
            if (kith__graph_compare(graph, d->in[k].record, first) < 0) first = d->in[k].record;
        members[i] = (kith_member){
            .entry = d->entry, .state = KITH_MEMBER_VOID, .admitted = first, .revoked = NONE, .deposit = NONE};
    }
}

static void judge_done(judge *j)
{
    if (j->places) forget_places(j);
    kith_free(j->order);
    kith_free(j->within);
    kith_free(j->good);
    kith_free(j->counts);
    kith_free(j->places);
    kith_free(j->ranked);
    kith_free(j->said);
    kith_free(j->asked);
    kith_free(j->came);
    kith_free(j->asking);
}

kith_err kith_graph_judge(const kith_graph *graph, kith_verdict *out)
{
    const size_t words = kith__words(graph->count), devices = graph->device_count;
    kith_verdict verdict = {.pair = NONE};
    if (graph->count == 0) return KITH_ERR_STATE;
    kith_member *members = kith_calloc(devices, sizeof *members);
    verdict.records = kith_calloc(graph->count, sizeof *verdict.records);
    judge j = {.graph = graph,
               .out = &verdict,
               .order = kith_calloc(graph->count, sizeof *j.order),
               .within = kith_calloc(words, sizeof *j.within),
               .good = kith_calloc(words, sizeof *j.good),
               .counts = kith_calloc(words, sizeof *j.counts),
               .places = kith_calloc(devices, sizeof *j.places),
               .ranked = kith_calloc(devices, sizeof *j.ranked),
               .said = kith_calloc(devices, sizeof *j.said),
               .asked = kith_calloc(kith__words(devices), sizeof *j.asked),
               .came = kith_calloc(kith__words(devices), sizeof *j.came),
               .asking = kith_calloc(devices, sizeof *j.asking)};
    bool made = members && verdict.records && j.order && j.within && j.good && j.counts && j.places && j.ranked &&
                j.said && j.asked && j.came && j.asking;
    kith_err err = made ? KITH_OK : KITH_ERR_NOMEM;
    if (!err) {
        kith_graph_order(graph, j.order);
        begin_members(graph, members);
        for (size_t i = 0; i < graph->count; i++) verdict.records[i].by = NONE;
        err = run_epochs(&j, members);
    }
    if (!err) {
        find_pair(&j);
        find_said(&j, members);
        err = list_members(&j, members);
    }
    judge_done(&j);
    kith_free(members);
    if (err)
        kith_verdict_done(&verdict);
    else
        *out = verdict;
    return err;
}

void kith_verdict_done(kith_verdict *verdict)
{
    kith_free(verdict->members);
    kith_free(verdict->records);
    *verdict = (kith_verdict){0};
}

const kith_member *kith_verdict_find(const kith_verdict *verdict,
                                     const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE])
{
    for (size_t i = 0; i < verdict->count; i++)
        if (memcmp(verdict->members[i].entry.fingerprint, fingerprint, KITH_FINGERPRINT_SIZE) == 0)
            return &verdict->members[i];
    return NULL;
}

size_t kith_verdict_members(const kith_verdict *verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < verdict->count; i++) count += verdict->members[i].state == KITH_MEMBER;
    return count;
}
