/* The rules of the trust graph once more, by asking instead of by keeping: each question is answered from the text of
 * identity/graph.h by recursion over all records.  Slow; for graphs of some dozen records. */
#ifndef KITH_TESTS_GRAPH_ORACLE_H
#define KITH_TESTS_GRAPH_ORACLE_H

#include "identity/graph.h"

#include <stdlib.h>
#include <string.h>

#define ORACLE_MAX 256

typedef struct oracle {
    size_t count;
    kith_record r[ORACLE_MAX];
    uint8_t id[ORACLE_MAX][32];
    bool past[ORACLE_MAX][ORACLE_MAX]; /* [of][what] */
    unsigned depth[ORACLE_MAX];
    /* of the epoch */
    size_t base;
    bool within[ORACLE_MAX];
    uint8_t ranked[ORACLE_MAX][32];
    size_t ranked_count;
    signed char counts[ORACLE_MAX];                /* -1: not asked yet */
    signed char valid[ORACLE_MAX][ORACLE_MAX + 1]; /* [record][rank] */
    /* what it comes to */
    uint8_t members[ORACLE_MAX][32]; /* in order */
    size_t member_count;
    size_t pair; /* KITH_GRAPH_NONE */
    bool good[ORACLE_MAX];
    bool in_force[ORACLE_MAX], refused[ORACLE_MAX]; /* replacements: by a revocation of the maker, for good */
} oracle;

static inline bool oracle_same(const uint8_t *a, const uint8_t *b) { return memcmp(a, b, 32) == 0; }

static inline bool oracle_before(const oracle *o, size_t a, size_t b)
{
    return o->depth[a] != o->depth[b] ? o->depth[a] < o->depth[b] : memcmp(o->id[a], o->id[b], 32) < 0;
}

static inline size_t oracle_index(const oracle *o, const uint8_t *id)
{
    for (size_t i = 0; i < o->count; i++)
        if (oracle_same(o->id[i], id)) return i;
    return KITH_GRAPH_NONE;
}

/* The past, by following parents; records are sorted, so that numbers are the order. */
static inline void oracle_read(oracle *o, const kith_graph *g)
{
    memset(o, 0, sizeof *o);
    o->count = kith_graph_count(g);
    if (o->count > ORACLE_MAX) abort();
    for (size_t i = 0; i < o->count; i++) {
        kith_graph_record(g, i, &o->r[i]);
        memcpy(o->id[i], kith_graph_id(g, i), 32);
        for (size_t p = 0; p < o->r[i].parent_count; p++) {
            size_t parent = oracle_index(o, o->r[i].parents[p]);
            if (o->depth[parent] + 1 > o->depth[i]) o->depth[i] = o->depth[parent] + 1;
        }
    }
    for (size_t i = 1; i < o->count; i++)
        for (size_t k = i; k > 0 && oracle_before(o, k, k - 1); k--) {
            kith_record r = o->r[k];
            uint8_t id[32];
            unsigned depth = o->depth[k];
            memcpy(id, o->id[k], 32);
            o->r[k] = o->r[k - 1], o->depth[k] = o->depth[k - 1], memcpy(o->id[k], o->id[k - 1], 32);
            o->r[k - 1] = r, o->depth[k - 1] = depth, memcpy(o->id[k - 1], id, 32);
        }
    for (size_t i = 0; i < o->count; i++)
        for (size_t p = 0; p < o->r[i].parent_count; p++) {
            size_t parent = oracle_index(o, o->r[i].parents[p]);
            o->past[i][parent] = true;
            for (size_t k = 0; k < parent; k++) o->past[i][k] |= o->past[parent][k];
        }
}

static inline bool oracle_is_base(const oracle *o, const uint8_t *device)
{
    const kith_record *b = &o->r[o->base];
    kith_graph_entry e;
    if (b->kind == KITH_RECORD_FOUND) return oracle_same(b->signer, device);
    for (size_t i = 0; i < b->roster_count; i++) {
        kith_record_roster(b, i, &e);
        if (oracle_same(e.fingerprint, device)) return true;
    }
    return false;
}

static inline size_t oracle_rank(const oracle *o, const uint8_t *device)
{
    for (size_t i = 0; i < o->ranked_count; i++)
        if (oracle_same(o->ranked[i], device)) return i;
    return ORACLE_MAX; /* nobody */
}

static inline bool oracle_is_admit(const oracle *o, size_t r, const uint8_t *device)
{
    return o->within[r] && o->r[r].kind == KITH_RECORD_ADMIT && oracle_same(o->r[r].entry.fingerprint, device);
}

static inline bool oracle_plausible(const oracle *o, size_t r)
{
    if (oracle_is_base(o, o->r[r].signer)) return true;
    for (size_t a = 0; a < o->count; a++)
        if (o->past[r][a] && oracle_is_admit(o, a, o->r[r].signer) && oracle_plausible(o, a)) return true;
    return false;
}

static inline bool oracle_counts(oracle *o, size_t v);

/* Does the record count when those of rank `below` and later have revoked nobody? */
static inline bool oracle_valid(oracle *o, size_t r, size_t below)
{
    if (o->valid[r][below] >= 0) return o->valid[r][below];
    bool in = oracle_is_base(o, o->r[r].signer);
    for (size_t a = 0; a < o->count && !in; a++)
        in = o->past[r][a] && oracle_is_admit(o, a, o->r[r].signer) && oracle_valid(o, a, below);
    for (size_t w = 0; w < o->count && in; w++)
        if (o->within[w] && o->r[w].kind == KITH_RECORD_REVOKE && oracle_same(o->r[w].target, o->r[r].signer) &&
            oracle_rank(o, o->r[w].signer) < below && !o->past[w][r] && oracle_counts(o, w))
            in = false;
    o->valid[r][below] = in;
    return in;
}

static inline bool oracle_counts(oracle *o, size_t v)
{
    if (o->counts[v] >= 0) return o->counts[v];
    size_t rank = oracle_rank(o, o->r[v].signer);
    bool yes = rank < ORACLE_MAX && oracle_valid(o, v, rank);
    for (size_t w = 0; w < o->count && yes; w++)
        if (o->within[w] && o->r[w].kind == KITH_RECORD_REVOKE && oracle_same(o->r[w].signer, o->r[v].target) &&
            oracle_same(o->r[w].target, o->r[v].signer) && oracle_rank(o, o->r[w].signer) < rank && oracle_counts(o, w))
            yes = false;
    o->counts[v] = yes;
    return yes;
}

static inline bool oracle_member(oracle *o, const uint8_t *device)
{
    bool in = oracle_is_base(o, device);
    for (size_t r = 0; r < o->count && !in; r++) in = oracle_is_admit(o, r, device) && oracle_valid(o, r, ORACLE_MAX);
    for (size_t w = 0; w < o->count && in; w++)
        if (o->within[w] && o->r[w].kind == KITH_RECORD_REVOKE && oracle_same(o->r[w].target, device) &&
            oracle_counts(o, w))
            in = false;
    return in;
}

/* Has the device signed that it agrees, in a record that counts and (`before` not NONE) is in that one's past? */
static inline bool oracle_says(oracle *o, const uint8_t *device, size_t q, size_t before)
{
    if (before == KITH_GRAPH_NONE && oracle_same(device, o->r[q].signer)) return true;
    for (size_t r = 0; r < o->count; r++)
        if (o->within[r] && (o->r[r].kind == KITH_RECORD_ACCEPT || o->r[r].kind == KITH_RECORD_DEPOSIT) &&
            oracle_same(o->r[r].target, o->id[q]) && oracle_same(o->r[r].signer, device) &&
            oracle_valid(o, r, ORACLE_MAX) && (before == KITH_GRAPH_NONE || o->past[before][r]))
            return true;
    return false;
}

/* Is there, on a way back along admissions that could count, who neither says so nor was let in with it known?
 * `asked`: who is on the way or was; by rank. */
static inline bool oracle_differs(oracle *o, const uint8_t *device, size_t q, bool said, bool *asked)
{
    size_t rank = oracle_rank(o, device);
    if (said) return false;
    if (oracle_is_base(o, device)) return true;
    for (size_t a = 0; a < o->count; a++) {
        if (!oracle_is_admit(o, a, device) || !oracle_plausible(o, a)) continue;
        size_t by = oracle_rank(o, o->r[a].signer);
        if (!o->past[a][q]) return true;
        if (asked[by]) continue;
        asked[by] = true;
        if (oracle_differs(o, o->ranked[by], q, oracle_says(o, o->ranked[by], q, KITH_GRAPH_NONE), asked)) return true;
    }
    return rank == ORACLE_MAX;
}

/* Was it there before the replacement, or let in by who did not know of it?  No consent of others mends that. */
static inline bool oracle_was_there(oracle *o, const uint8_t *device, size_t q)
{
    size_t admissions = 0;
    if (oracle_is_base(o, device)) return true;
    for (size_t a = 0; a < o->count; a++) {
        if (!oracle_is_admit(o, a, device) || !oracle_plausible(o, a)) continue;
        admissions++;
        if (!o->past[a][q]) return true;
    }
    return !admissions;
}

static inline bool oracle_in_force(oracle *o, size_t q)
{
    bool waits = false;
    o->refused[q] = false;
    if (!oracle_valid(o, q, ORACLE_MAX)) return false;
    for (size_t w = 0; w < o->count; w++) {
        bool asked[ORACLE_MAX] = {false};
        if (!o->within[w] || o->r[w].kind != KITH_RECORD_REVOKE || !oracle_same(o->r[w].target, o->r[q].signer))
            continue;
        if (!oracle_counts(o, w)) continue;
        const bool said = oracle_says(o, o->r[w].signer, q, w);
        if (!said && oracle_was_there(o, o->r[w].signer, q)) o->refused[q] = true;
        waits |= oracle_differs(o, o->r[w].signer, q, said, asked);
    }
    if (o->refused[q] || waits) return false;
    for (size_t i = 0; i < o->ranked_count; i++) {
        bool asked[ORACLE_MAX] = {false};
        if (!oracle_member(o, o->ranked[i])) continue;
        if (oracle_differs(o, o->ranked[i], q, oracle_says(o, o->ranked[i], q, KITH_GRAPH_NONE), asked)) return false;
    }
    return true;
}

static inline void oracle_begin_epoch(oracle *o)
{
    kith_graph_entry e;
    o->ranked_count = 0;
    memset(o->counts, -1, sizeof o->counts);
    memset(o->valid, -1, sizeof o->valid);
    if (o->r[o->base].kind == KITH_RECORD_FOUND) memcpy(o->ranked[o->ranked_count++], o->r[o->base].signer, 32);
    for (size_t i = 0; i < o->r[o->base].roster_count; i++) {
        kith_record_roster(&o->r[o->base], i, &e);
        memcpy(o->ranked[o->ranked_count++], e.fingerprint, 32);
    }
    for (size_t r = 0; r < o->count; r++) {
        const uint8_t *device = o->r[r].entry.fingerprint;
        if (oracle_is_admit(o, r, device) && oracle_plausible(o, r) && oracle_rank(o, device) == ORACLE_MAX)
            memcpy(o->ranked[o->ranked_count++], device, 32);
    }
}

static inline bool oracle_ends_epoch(oracle *o, size_t r)
{
    if (!o->within[r] || o->r[r].kind != KITH_RECORD_RESET) return false;
    size_t of = oracle_index(o, o->r[r].target);
    return of == o->base || (o->within[of] && o->r[of].kind == KITH_RECORD_REPLACE && oracle_in_force(o, of));
}

/* Is reset a to be preferred to b? */
static inline bool oracle_prefers(const oracle *o, size_t a, size_t b)
{
    size_t pair_a = oracle_index(o, o->r[a].target), pair_b = oracle_index(o, o->r[b].target);
    size_t rank_a = oracle_rank(o, o->r[a].signer), rank_b = oracle_rank(o, o->r[b].signer);
    if (pair_a != pair_b) return pair_a < pair_b;
    if (rank_a != rank_b) return rank_a < rank_b;
    return memcmp(o->id[a], o->id[b], 32) < 0;
}

static inline void oracle_replacements(oracle *o)
{
    for (size_t r = 0; r < o->count; r++)
        if (o->within[r]) o->in_force[r] = o->r[r].kind == KITH_RECORD_REPLACE && oracle_in_force(o, r);
}

static inline void oracle_judge(oracle *o, const kith_graph *g)
{
    oracle_read(o, g);
    o->base = 0;
    for (;;) {
        for (size_t i = 0; i < o->count; i++) o->within[i] = o->past[i][o->base];
        oracle_begin_epoch(o);
        size_t best = KITH_GRAPH_NONE;
        bool ends[ORACLE_MAX];
        for (size_t r = 0; r < o->count; r++) ends[r] = oracle_ends_epoch(o, r);
        for (size_t r = 0; r < o->count; r++) {
            bool late = false;
            for (size_t k = 0; k < o->count; k++) late |= o->past[r][k] && ends[k];
            if (ends[r] && !late && (best == KITH_GRAPH_NONE || oracle_prefers(o, r, best))) best = r;
        }
        if (best == KITH_GRAPH_NONE) break;
        for (size_t i = 0; i < o->count; i++) o->within[i] &= o->past[best][i];
        oracle_begin_epoch(o);
        oracle_replacements(o);
        for (size_t r = 0; r < o->count; r++)
            if (o->within[r])
                o->good[r] = o->r[r].kind == KITH_RECORD_REVOKE ? oracle_counts(o, r) : oracle_valid(o, r, ORACLE_MAX);
        o->base = best;
    }
    oracle_replacements(o);
    for (size_t r = 0; r < o->count; r++)
        if (o->within[r])
            o->good[r] = o->r[r].kind == KITH_RECORD_REVOKE ? oracle_counts(o, r) : oracle_valid(o, r, ORACLE_MAX);
    for (size_t i = 0; i < o->ranked_count; i++)
        if (oracle_member(o, o->ranked[i])) memcpy(o->members[o->member_count++], o->ranked[i], 32);
    const kith_record *b = &o->r[o->base];
    o->pair = b->kind == KITH_RECORD_FOUND && !b->has_pair ? KITH_GRAPH_NONE : o->base;
    for (size_t r = 0; r < o->count; r++)
        if (o->within[r] && o->in_force[r]) o->pair = r;
}

#endif
