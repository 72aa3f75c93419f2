/* Five devices that admit, revoke, rename, agree and reset, in parts of a network that do not hear each other, and a
 * thief who has one of their keys, everything anybody says, keys of its own and a recovery code of its own: it signs
 * what it likes, with whichever pasts and times.  Whatever the order in which records arrive, who has the same records
 * comes to the same, and that is what the rules say, asked another way (graph_oracle.h).  KITH_SEEDS / 4 says how many
 * worlds (default 100); KITH_SEED runs one. */
#include "crypto/rng.h"
#include "graph_oracle.h"
#include "graph_world.h"
#include "identity/graph_internal.h"

#include <stdlib.h>

#define HONEST  5
#define OTHERS  4 /* the thief's own */
#define DEVICES (HONEST + OTHERS)
#define CODES   6
#define RECORDS 70 /* of a world, about */
#define WORLDS  400

typedef struct world {
    uint64_t seed;
    kith_rng rng;
    world_device d[DEVICES];
    kith_graph *g[HONEST + 1]; /* the last is the thief's: all there is */
    uint8_t code[CODES][KITH_RECOVERY_CODE_SIZE];
    kith_recovery_public pair[CODES];
    size_t stolen;
    bool calm; /* the honest revoke only the thief, and make no resets but against it */
} world;

static uint64_t dice(world *w, uint64_t below) { return kith_rng_below(&w->rng, below); }

/* Take a record; the signature was verified when it was made. */
static kith_err take(kith_graph *g, const uint8_t *bytes, size_t size)
{
    kith_err err = kith__graph_put(g, bytes, size, false);
    if (err && err != KITH_ERR_EXISTS && err != KITH_ERR_NOT_FOUND) fail_msg("merging: %s", kith_err_name(err));
    return err;
}

/* All of `from` comes to `to` in any order: what comes too early comes again. */
static void hear(world *w, kith_graph *to, const kith_graph *from)
{
    size_t count = kith_graph_count(from), order[ORACLE_MAX], size;
    bool shuffled = dice(w, 4) == 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = shuffled ? (size_t)dice(w, i + 1) : i;
        order[i] = order[at];
        order[at] = i;
    }
    for (bool missing = true; missing;) {
        missing = false;
        for (size_t i = 0; i < count; i++) {
            const uint8_t *bytes = kith_graph_bytes(from, order[i], &size);
            missing |= take(to, bytes, size) == KITH_ERR_NOT_FOUND;
        }
    }
}

static kith_graph_author author(world *w, size_t device)
{
    kith_graph_author a = world_author(&w->d[device]);
    a.now_ms = (int64_t)dice(w, 1000);
    return a;
}

/* The code of a record's pair; NULL: nobody knows it. */
static const uint8_t *code_of(world *w, const kith_graph *g, size_t record)
{
    kith_record r;
    kith_graph_record(g, record, &r);
    for (size_t i = 0; i < CODES; i++)
        if (kith_recovery_same(&r.pair, &w->pair[i])) return w->code[i];
    return NULL;
}

/* The code's holder, at device `me`: everybody stays but the thief's, and it.  `pair`: the record whose code it is. */
static void reset(world *w, size_t me, size_t pair)
{
    kith_graph *g = w->g[me];
    kith_graph_entry roster[DEVICES];
    size_t count = 0;
    kith_graph_author a = author(w, me);
    roster[count++] = w->d[me].entry;
    for (size_t i = 0; i < HONEST; i++)
        if (i != me && i != w->stolen && dice(w, 4)) roster[count++] = w->d[i].entry;
    const uint8_t *code = code_of(w, g, pair);
    kith_err err = KITH_OK;
    if (code) err = kith_graph_reset(g, &a, kith_graph_id(g, pair), code, &w->pair[1 + dice(w, 2)], roster, count);
    if (err && err != KITH_ERR_FORMAT) fail_msg("a reset: %s", kith_err_name(err)); /* nobody knows it to join heads */
}

static kith_err about_a_replacement(world *w, kith_graph *g, const kith_graph_author *a)
{
    for (size_t i = kith_graph_count(g); i-- > 0;)
        if (g->nodes[i].kind == KITH_RECORD_REPLACE) return kith_graph_accept(g, a, kith_graph_id(g, i));
    return kith_graph_replace(g, a, &w->pair[3]);
}

/* A record with a pair whose code is on some old paper. */
static size_t any_pair(world *w, const kith_graph *g)
{
    size_t found = 0;
    for (size_t i = 0; i < kith_graph_count(g); i++)
        if ((g->nodes[i].kind == KITH_RECORD_RESET || g->nodes[i].kind == KITH_RECORD_REPLACE) && dice(w, 2)) found = i;
    return found;
}

static void honest_step(world *w)
{
    size_t me = (size_t)dice(w, HONEST), other = (size_t)dice(w, HONEST);
    kith_graph *g = w->g[me];
    kith_graph_author a = author(w, me);
    kith_verdict v;
    if (me == w->stolen || kith_graph_count(g) == 0 || me == other) return;
    assert_ok(kith_graph_judge(g, &v));
    const kith_member *self = kith_verdict_find(&v, w->d[me].entry.fingerprint);
    const kith_member *them = kith_verdict_find(&v, w->d[other].entry.fingerprint);
    bool member = self && self->state == KITH_MEMBER, in = them && them->state == KITH_MEMBER;
    kith_err err = KITH_OK;
    switch (dice(w, 8)) {
    case 0:
    case 1:
        if (member && !in) err = kith_graph_admit(g, &a, &w->d[other].entry);
        break;
    case 2:
        if (member && in && (other == w->stolen || (!w->calm && dice(w, 2))))
            err = kith_graph_revoke(g, &a, w->d[other].entry.fingerprint, "lost");
        break;
    case 3:
        if (!w->calm && dice(w, 4) == 0) reset(w, me, dice(w, 3) ? v.base : any_pair(w, g));
        break;
    case 4:
        if (member && dice(w, 2)) err = about_a_replacement(w, g, &a);
        break;
    default:
        if (self) err = kith_graph_describe(g, &a);
    }
    if (err && err != KITH_ERR_FORMAT) fail_msg("seed %llu: %s", (unsigned long long)w->seed, kith_err_name(err));
    kith_verdict_done(&v);
}

/* Up to 4 records, none of which leads to another. */
static void any_parents(world *w, const kith_graph *g, kith_record *r)
{
    size_t chosen[4], wanted = 1 + (size_t)dice(w, 4);
    for (size_t tries = 0; tries < wanted; tries++) {
        size_t one = (size_t)dice(w, kith_graph_count(g));
        bool fits = true;
        for (size_t i = 0; i < r->parent_count; i++)
            fits = fits && one != chosen[i] && !kith_graph_in_past(g, one, chosen[i]) &&
                   !kith_graph_in_past(g, chosen[i], one);
        if (fits) chosen[r->parent_count++] = one;
    }
    for (size_t i = 1; i < r->parent_count; i++)
        for (size_t k = i; k > 0 && memcmp(kith_graph_id(g, chosen[k]), kith_graph_id(g, chosen[k - 1]), 32) < 0; k--) {
            size_t swap = chosen[k];
            chosen[k] = chosen[k - 1];
            chosen[k - 1] = swap;
        }
    for (size_t i = 0; i < r->parent_count; i++) memcpy(r->parents[i], kith_graph_id(g, chosen[i]), 32);
}

/* Anything that can be made with the stolen key, its own keys, and its own codes (the last two). */
static void thief_step(world *w)
{
    kith_graph *g = w->g[HONEST];
    uint8_t body[4096], bytes[4096];
    size_t signer = dice(w, 2) ? w->stolen : HONEST + (size_t)dice(w, OTHERS), about = (size_t)dice(w, DEVICES);
    kith_record r = {.kind = (kith_record_kind)(KITH_RECORD_ADMIT + dice(w, KITH_RECORD_ACCEPT - 1))};
    size_t code = CODES - 2 + (size_t)dice(w, 2), size;
    kith_graph_entry roster[2] = {w->d[signer].entry, w->d[about].entry};
    any_parents(w, g, &r);
    if (r.kind == KITH_RECORD_RESET && dice(w, 2)) r.kind = KITH_RECORD_REVOKE;
    bool resets = r.kind == KITH_RECORD_RESET;
    r.time_ms = (int64_t)dice(w, 5000) - 2500;
    r.entry = r.kind == KITH_RECORD_DESCRIBE ? w->d[signer].entry : w->d[about].entry;
    r.pair = w->pair[code];
    r.roster_count = !resets ? 0 : signer != about && dice(w, 2) ? 2 : 1;
    memcpy(r.signer, w->d[signer].entry.fingerprint, 32);
    memcpy(r.target,
           r.kind == KITH_RECORD_REVOKE ? w->d[about].entry.fingerprint
                                        : kith_graph_id(g, (size_t)dice(w, kith_graph_count(g))),
           32);
    size_t body_size = kith__record_body(&r, roster, body, sizeof body);
    assert_ok(kith__record_seal(body, body_size, w->d[signer].seed, resets ? w->code[code] : NULL, bytes, sizeof bytes,
                                &size));
    (void)!kith_graph_add(g, bytes, size); /* what is refused is refused everywhere */
}

static void compare(world *w, const kith_graph *g)
{
    static oracle o;
    kith_verdict v;
    size_t n = 0;
    oracle_judge(&o, g);
    assert_ok(kith_graph_judge(g, &v));
    for (size_t i = 0; i < v.count; i++) {
        if (v.members[i].state != KITH_MEMBER) continue;
        if (n >= o.member_count || memcmp(o.members[n], v.members[i].entry.fingerprint, 32) != 0)
            fail_msg("seed %llu: member %zu is another", (unsigned long long)w->seed, n);
        n++;
    }
    if (n != o.member_count)
        fail_msg("seed %llu: %zu members, not %zu", (unsigned long long)w->seed, n, o.member_count);
    for (size_t i = 0; i < o.count; i++) { /* a replacement's state is asked below */
        size_t at = kith_graph_find(g, o.id[i]);
        bool good = v.records[at].state == KITH_RECORD_GOOD || v.records[at].state == KITH_RECORD_WAITING;
        if (o.r[i].kind == KITH_RECORD_REPLACE && o.good[i]) {
            bool refused = v.records[at].state == KITH_RECORD_VOID_REVOKED;
            if (refused != o.refused[i] || (v.records[at].state == KITH_RECORD_GOOD) != o.in_force[i])
                fail_msg("seed %llu: replacement %zu is %d", (unsigned long long)w->seed, i, (int)v.records[at].state);
            continue;
        }
        if (o.r[i].kind != KITH_RECORD_RESET && o.r[i].kind != KITH_RECORD_FOUND && good != o.good[i])
            fail_msg("seed %llu: record %zu of %d counts: %d", (unsigned long long)w->seed, i, (int)o.r[i].kind, good);
    }
    size_t pair = v.pair == KITH_GRAPH_NONE ? v.pair : oracle_index(&o, kith_graph_id(g, v.pair));
    if (pair != o.pair || memcmp(kith_graph_id(g, v.base), o.id[o.base], 32) != 0)
        fail_msg("seed %llu: another pair or epoch", (unsigned long long)w->seed);
    kith_verdict_done(&v);
}

static void world_make(world *w, uint64_t seed)
{
    uint8_t bytes[KITH_RNG_SEED_SIZE] = {0};
    *w = (world){.seed = seed};
    memcpy(bytes, &seed, sizeof seed);
    kith_rng_init(&w->rng, bytes);
    for (size_t i = 0; i < DEVICES; i++) w->d[i] = world_device_of((uint8_t)(i + 1));
    for (size_t i = 0; i < CODES; i++) {
        memset(w->code[i], (int)(0x40 + i), sizeof w->code[i]);
        kith_recovery_derive(w->code[i], &w->pair[i]);
    }
    w->stolen = (size_t)dice(w, HONEST);
    for (size_t i = 0; i <= HONEST; i++) assert_ok(kith_graph_new(&w->g[i]));
    kith_graph_author a = author(w, 0);
    assert_ok(kith_graph_found(w->g[0], &a, dice(w, 4) ? &w->pair[0] : NULL, NULL));
    for (size_t i = 1; i < HONEST; i++) hear(w, w->g[i], w->g[0]);
}

static void everybody_hears(world *w)
{
    for (size_t i = 0; i < HONEST; i++) hear(w, w->g[HONEST], w->g[i]);
    for (size_t i = 0; i < HONEST; i++) hear(w, w->g[i], w->g[HONEST]);
}

static void world_end(world *w)
{
    for (size_t i = 0; i <= HONEST; i++) kith_graph_free(w->g[i]);
    kith_rng_done(&w->rng);
}

/* Some devices hear some others; the thief hears everybody, and is heard by whom it likes. */
static void step(world *w, bool thief)
{
    size_t a = (size_t)dice(w, HONEST), b = (size_t)dice(w, HONEST);
    switch (dice(w, 4)) {
    case 0: hear(w, w->g[a], w->g[b]); break;
    case 1:
        hear(w, w->g[HONEST], w->g[a]);
        if (thief) thief_step(w);
        if (dice(w, 2)) hear(w, w->g[b], w->g[HONEST]);
        break;
    default: honest_step(w);
    }
}

static void same_files(world *w)
{
    uint8_t *first, *next;
    size_t size, next_size;
    assert_ok(kith_graph_encode(w->g[HONEST], &first, &size));
    for (size_t i = 0; i < HONEST; i++) {
        assert_ok(kith_graph_encode(w->g[i], &next, &next_size));
        if (size != next_size || memcmp(first, next, size) != 0)
            fail_msg("seed %llu: device %zu did not come to the same", (unsigned long long)w->seed, i);
        kith_free(next);
    }
    kith_free(first);
}

static void any_world(uint64_t seed)
{
    world w;
    world_make(&w, seed);
    while (kith_graph_count(w.g[HONEST]) < RECORDS) step(&w, true);
    for (size_t i = 0; i <= HONEST; i++) compare(&w, w.g[i]);
    everybody_hears(&w);
    same_files(&w);
    compare(&w, w.g[0]);
    compare(&w, w.g[HONEST]);
    world_end(&w);
}

/* A thief that somebody admitted before it has revoked, or the holder of the code has left out, is out for good, with
 * all that it brings along from then on. */
static void stays_out(uint64_t seed)
{
    world w;
    kith_verdict v;
    world_make(&w, seed);
    w.calm = true;
    w.stolen = 1 + (size_t)dice(&w, HONEST - 1);
    kith_graph_author a = author(&w, 0);
    for (size_t i = 1; i < HONEST; i++) assert_ok(kith_graph_admit(w.g[0], &a, &w.d[i].entry));
    everybody_hears(&w);
    size_t until = 10 + (size_t)dice(&w, 20), judge = (size_t)dice(&w, w.stolen); /* who revokes: somebody earlier */
    while (kith_graph_count(w.g[HONEST]) < until) step(&w, false);
    hear(&w, w.g[judge], w.g[HONEST]);
    assert_ok(kith_graph_judge(w.g[judge], &v));
    bool coded = dice(&w, 2) && code_of(&w, w.g[judge], v.base);
    kith_verdict_done(&v);
    if (coded) {
        reset(&w, judge, 0);
    } else {
        a = author(&w, judge);
        assert_ok(kith_graph_revoke(w.g[judge], &a, w.d[w.stolen].entry.fingerprint, "stolen"));
    }
    kith_graph *news = world_copy(w.g[judge]);
    for (int i = 0; i < 60; i++) { /* it has heard, or not */
        if (dice(&w, 8) == 0) hear(&w, w.g[HONEST], news);
        thief_step(&w);
    }
    hear(&w, w.g[HONEST], news);
    for (size_t i = 0; i < HONEST; i++) {
        hear(&w, w.g[i], w.g[HONEST]);
        assert_ok(kith_graph_judge(w.g[i], &v));
        for (size_t k = 0; k < v.count; k++) {
            size_t n = v.members[k].entry.uuid[0] - 1u;
            if (v.members[k].state == KITH_MEMBER && (n == w.stolen || n >= HONEST))
                fail_msg("seed %llu: the thief is in again, as %zu", (unsigned long long)seed, n);
        }
        kith_verdict_done(&v);
    }
    kith_graph_free(news);
    world_end(&w);
}

/* One stolen device that says whose and which code it likes, and that all others agree with it, in every way it has. */
static void code_step(world *w, const kith_graph *before)
{
    kith_graph *g = w->g[HONEST], *from = dice(w, 3) ? NULL : world_copy(before);
    kith_graph *at = from ? from : g; /* as if it had heard nothing since; or of all */
    size_t signer = dice(w, 4) ? w->stolen : HONEST, about = (size_t)dice(w, HONEST + 1);
    kith_graph_author a = author(w, signer);
    kith_err err = KITH_OK;
    if (from && dice(w, 2)) world_merge(from, g);
    switch (about == signer ? 0 : dice(w, 4)) {
    case 0: err = kith_graph_replace(at, &a, &w->pair[CODES - 1]); break;
    case 1: err = kith_graph_revoke(at, &a, w->d[about].entry.fingerprint, ""); break;
    default: err = kith_graph_admit(at, &a, &w->d[about].entry);
    }
    if (err && err != KITH_ERR_FORMAT) fail_msg("seed %llu: %s", (unsigned long long)w->seed, kith_err_name(err));
    if (from) hear(w, g, from);
    kith_graph_free(from);
}

/* Its code is in force nowhere where an honest device is still in that was there before: so no such device gives it its
 * key. */
static void has_no_code(uint64_t seed)
{
    world w;
    kith_verdict v;
    world_make(&w, seed);
    w.stolen = 1 + (size_t)dice(&w, HONEST - 1);
    kith_graph_author a = author(&w, 0);
    assert_ok(kith_graph_admit(w.g[0], &a, &w.d[w.stolen].entry));
    kith_graph *before = world_copy(w.g[0]);
    for (size_t i = 1; i < HONEST; i++)
        if (i != w.stolen) assert_ok(kith_graph_admit(w.g[0], &a, &w.d[i].entry));
    everybody_hears(&w);
    for (int step = 0; step < 30; step++) {
        code_step(&w, before);
        assert_ok(kith_graph_judge(w.g[HONEST], &v));
        bool its = v.pair != KITH_GRAPH_NONE && kith_recovery_same(&v.recovery, &w.pair[CODES - 1]);
        for (size_t k = 0; its && k < v.count; k++) {
            size_t n = v.members[k].entry.uuid[0] - 1u;
            if (v.members[k].state == KITH_MEMBER && n != w.stolen && n < HONEST)
                fail_msg("seed %llu: device %zu takes the thief's code for its own", (unsigned long long)seed, n);
        }
        kith_verdict_done(&v);
    }
    kith_graph_free(before);
    world_end(&w);
}

static void run(const char *name, void (*one)(uint64_t seed))
{
    const char *seed = getenv("KITH_SEED"), *seeds = getenv("KITH_SEEDS");
    uint64_t count = seeds ? strtoull(seeds, NULL, 10) : WORLDS;
    count = count / 4 + 1;
    if (seed) {
        one(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= count; i++) one(i);
    printf("%s: %llu worlds\n", name, (unsigned long long)count);
}

static void who_has_the_same_comes_to_the_same(void **state)
{
    (void)state;
    run("any world", any_world);
}

static void a_thief_stays_out(void **state)
{
    (void)state;
    run("thieves", stays_out);
}

static void a_thief_has_no_code(void **state)
{
    (void)state;
    run("a code of its own", has_no_code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(who_has_the_same_comes_to_the_same), TEST(a_thief_stays_out),
                                       TEST(a_thief_has_no_code)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
