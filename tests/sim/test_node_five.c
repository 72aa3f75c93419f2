/* Five own devices and a friend's as whole nodes live through what chance brings: they are let in, revoked, revoked
 * with the recovery code, renamed, lost and restored from backups old and new, cut off from each other, killed at any
 * write, without power, moved.  All the while nobody serves a device of which the news could have come that it is out,
 * and nobody loses what it has heard; and when all meet again, those that remain have the same graph, the same names,
 * and reach each other.  KITH_SEEDS / 50 says how many worlds (default 16); KITH_SEED runs one, KITH_STORY tells it. */
#include "five_acts.h"
#include "node/own.h"

#include <stdlib.h>

#define STEPS 60

/* ---- who could do something ---- */

static size_t any_own(world *w) { return (size_t)dice(w, OWN); }

/* An own device of which this one thinks that it is in; OWN: there is none, or this one is out itself. */
static size_t fellow(world *w, size_t i)
{
    static view has;
    size_t first = any_own(w);
    look(w, i, &has);
    if (!is_in(&has, who(w, i))) return OWN;
    for (size_t n = 0; n < OWN; n++) {
        size_t k = (first + n) % OWN;
        if (k != i && is_in(&has, who(w, k))) return k;
    }
    return OWN;
}

/* Of the person's network, for somebody who sees all records of it. */
static void look_from_above(world *w, view *out)
{
    kith_graph *all = NULL;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < OWN; i++) {
            kith_graph *g = graph_of(w, i);
            bool ours = g && memcmp(kith_graph_id(g, 0), w->network, 32) == 0;
            if (ours && !all) assert_ok(kith_graph_new(&all));
            for (size_t k = 0; ours && k < kith_graph_count(g); k++) {
                size_t size;
                const uint8_t *bytes = kith_graph_bytes(g, k, &size);
                kith_err err = kith_graph_add(all, bytes, size);
                more |= err == KITH_OK;
                if (err && err != KITH_ERR_EXISTS) FAIL(w, "the graphs do not fit: %s", kith_err_name(err));
            }
            kith_graph_free(g);
        }
    }
    look_at(w, all, out);
    kith_graph_free(all);
}

static size_t members_from_above(world *w)
{
    static view above;
    size_t count = 0;
    look_from_above(w, &above);
    for (size_t i = 0; i < OWN; i++) count += is_in(&above, who(w, i));
    return count;
}

/* ---- what chance brings ---- */

static void step_admit(world *w, size_t i)
{
    static view has, joiner_has;
    size_t joiner = any_own(w);
    look(w, i, &has);
    look(w, joiner, &joiner_has);
    if (!is_in(&has, who(w, i)) || joiner_has.there) return; /* who is out lets nobody in */
    if (joiner == i || !alive(w, i) || !alive(w, joiner)) return;
    if (dice(w, 3) == 0) lay_fault(w, w->s[dice(w, 2) ? i : joiner].v.env);
    admit(w, i, joiner);
}

/* A device that is out, for its owner, is given a new identity. */
static void step_anew(world *w, size_t i)
{
    static view above;
    look_from_above(w, &above);
    if (is_in(&above, who(w, i)) || !w->s[i].must.has[0]) return;
    TELL("%zu is another from now on\n", i);
    lose_home(w, i);
    new_identity(w, i, false, dice(w, 2));
}

static void step_revoke(world *w, size_t i)
{
    size_t whom = fellow(w, i);
    if (whom == OWN || members_from_above(w) < 3) return;
    revoke(w, i, whom, dice(w, 4) == 0 && w->papers < PAPERS, dice(w, 3) == 0);
}

static void step_visit(world *w)
{
    size_t from = (size_t)dice(w, SLOTS), to = (size_t)dice(w, SLOTS);
    if (from == to || !alive(w, from) || !alive(w, to)) return;
    if (dice(w, 8) == 0) lay_fault(w, w->s[dice(w, 2) ? from : to].v.env);
    (void)visit(w, from, to);
}

static void step_network(world *w, size_t i)
{
    switch (dice(w, 4)) {
    case 0: split(w); break;
    case 1: move(w, i); break;
    default: heal(w);
    }
}

static void step(world *w)
{
    size_t i = any_own(w), other = any_own(w);
    bool fault = dice(w, 3) == 0;
    switch (dice(w, 18)) {
    case 0:
    case 1: step_admit(w, i); break;
    case 2:
    case 3: step_revoke(w, i); break;
    case 4:
    case 13: step_anew(w, i); break;
    case 5: rename_self(w, i, fault); break;
    case 6:
        if (fellow(w, i) != OWN) rename_other(w, i, fellow(w, i), fault);
        break;
    case 7: back_up(w, i, fault); break;
    case 8: (void)restore(w, i, dice(w, 2) ? i : other, fault); break;
    case 9: step_network(w, i); break;
    case 10: crash(w, i); break;
    case 11:
        if (fellow(w, i) != OWN && w->papers < PAPERS) renew(w, i, fault);
        break;
    case 12:
        if (alive(w, i) && alive(w, FRIEND)) befriend(w, i);
        break;
    default: step_visit(w);
    }
    lift_faults(w);
    kith_sim_run_for(w->sim, dice(w, 8 * KITH_SIM_S));
    for (size_t n = 0; n < SLOTS; n++) {
        if (!w->s[n].v.core && dice(w, 2)) start(w, n);
        has_its_news(w, n, "as time went by");
    }
}

/* ---- when all is well again ---- */

/* Who knows whom, at last: b is a member for a, as is a itself. */
typedef struct company {
    view has[OWN];
    bool knows[OWN][OWN];
} company;

static void find_company(world *w, company *c)
{
    for (size_t i = 0; i < OWN; i++) look(w, i, &c->has[i]);
    for (size_t a = 0; a < OWN; a++)
        for (size_t b = 0; b < OWN; b++)
            c->knows[a][b] = a != b && is_in(&c->has[a], who(w, a)) && is_in(&c->has[a], who(w, b));
}

static bool fellows(const company *c, size_t a, size_t b) { return c->knows[a][b] && c->knows[b][a]; }

static kith_trust *pins_of(world *w, size_t i, kith_home_self *self)
{
    kith_trust *trust;
    command c;
    command_begin(w, i, false, false, &c);
    if (kith_home_load_trust(c.home, &trust, &c.problem)) FAIL(w, "%zu: %s", i, c.problem.message);
    if (kith_home_load(c.home, self, &c.problem)) FAIL(w, "%zu: %s", i, c.problem.message);
    command_end(w, i, &c);
    return trust;
}

/* Was it out, as far as this device knows, if only for a while?  Then what it was called here is forgotten. */
static bool was_ever_out(world *w, size_t i, const uint8_t *fingerprint)
{
    kith_graph *g = graph_of(w, i);
    bool out = false;
    for (size_t k = 0; k < kith_graph_count(g); k++) {
        kith_record r;
        kith_graph_entry e;
        kith_graph_record(g, k, &r);
        bool named = r.kind != KITH_RECORD_RESET;
        for (size_t n = 0; n < r.roster_count; n++) {
            kith_record_roster(&r, n, &e);
            named |= memcmp(e.fingerprint, fingerprint, 32) == 0;
        }
        out |= !named || (r.kind == KITH_RECORD_REVOKE && memcmp(r.target, fingerprint, 32) == 0);
    }
    kith_graph_free(g);
    return out;
}

/* All the others that are in and nobody else, by the names they have. */
static void check_pins(world *w, size_t i, const company *c)
{
    kith_home_self self;
    kith_trust *trust = pins_of(w, i, &self);
    const slot *s = &w->s[i];
    for (size_t k = 0; k < kith_trust_count(trust); k++) {
        const kith_peer *p = kith_trust_at(trust, k);
        if (p->kind == KITH_PEER_OWN && !is_in(&c->has[i], p->fingerprint)) FAIL(w, "%zu has pinned who is out", i);
        if (p->kind != KITH_PEER_OWN && memcmp(p->fingerprint, who(w, FRIEND), 32) != 0) FAIL(w, "%zu: a stranger", i);
    }
    for (size_t k = 0; k < OWN; k++) {
        const kith_peer *p = kith_trust_by_fingerprint(trust, who(w, k));
        if (!c->knows[i][k]) continue;
        if (!p || p->kind != KITH_PEER_OWN) FAIL(w, "%zu has not pinned %zu", i, k);
        if (fellows(c, i, k)) {
            kith_trust_free(pins_of(w, k, &self));
            if (strcmp(p->name, self.device.name) != 0)
                FAIL(w, "%zu is %s for %zu, and says %s", k, p->name, i, self.device.name);
        }
        if (!*s->local[k] || memcmp(s->local_of[k], p->fingerprint, 32) != 0) continue;
        if (strcmp(p->local_name, s->local[k]) != 0 && !was_ever_out(w, i, p->fingerprint))
            FAIL(w, "%zu calls %zu %s, and was told %s", i, k, p->local_name, s->local[k]);
    }
    kith_trust_free(trust);
}

static void check_same(world *w, size_t a, size_t b)
{
    uint8_t *one, *other;
    size_t size, other_size;
    assert_ok(kith_sim_get_file(w->s[a].v.host, "/home/graph.cbor", &one, &size));
    assert_ok(kith_sim_get_file(w->s[b].v.host, "/home/graph.cbor", &other, &other_size));
    if (size != other_size || memcmp(one, other, size) != 0) FAIL(w, "%zu and %zu have different graphs", a, b);
    kith_free(one);
    kith_free(other);
}

/* Does a record of this device's graph name it, whatever became of it? */
static bool names(world *w, size_t i, const uint8_t *fingerprint)
{
    kith_verdict v;
    kith_graph *g = graph_of(w, i);
    assert_ok(kith_graph_judge(g, &v));
    bool named = kith_verdict_find(&v, fingerprint) != NULL;
    kith_verdict_done(&v);
    kith_graph_free(g);
    return named;
}

/* Who is let in by what both know together is let in. */
static void check_let_in(world *w, const company *c, size_t a, size_t b)
{
    static view together;
    kith_graph *g = graph_of(w, a), *more = graph_of(w, b);
    for (size_t k = 0; k < kith_graph_count(more); k++) {
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(more, k, &size);
        kith_err err = kith_graph_add(g, bytes, size);
        if (err && err != KITH_ERR_EXISTS) FAIL(w, "the graphs do not fit: %s", kith_err_name(err));
    }
    look_at(w, g, &together);
    if (c->knows[b][a] && names(w, a, who(w, b)) && is_in(&together, who(w, a)) && is_in(&together, who(w, b)))
        FAIL(w, "%zu does not let %zu in, by whose records it is in", a, b);
    kith_graph_free(g);
    kith_graph_free(more);
}

static void all_meet(world *w)
{
    for (int round = 0; round < 2; round++)
        for (size_t a = 0; a < OWN; a++)
            for (size_t b = 0; b < OWN; b++)
                if (a != b) {
                    (void)visit(w, a, b);
                    kith_sim_run_for(w->sim, OWN_APPEAL_PAUSE_NS); /* the next one is heard, too */
                }
}

static void check_ways(world *w, const company *c)
{
    for (size_t a = 0; a < OWN; a++)
        for (size_t b = 0; b < OWN; b++) {
            if (a == b) continue;
            kith_err err = visit(w, a, b); /* which checks that no one else is served */
            if (fellows(c, a, b) && err) FAIL(w, "%zu does not reach %zu: %s", a, b, kith_err_name(err));
            w->fellows += fellows(c, a, b);
        }
    for (size_t a = 0; a < OWN; a++) {
        if (w->s[a].knows_friend != KNOWS || w->s[a].known_to_friend != KNOWS) continue;
        kith_err err = visit(w, FRIEND, a);
        if (err) FAIL(w, "the friend does not reach %zu: %s", a, kith_err_name(err));
    }
}

/* In one network, after all have met: who is in for each other has the same graph.  (Who has never met anybody that
 * knows of a device cannot know of it.) */
static void settle(world *w)
{
    static company c;
    heal(w);
    for (size_t i = 0; i < SLOTS; i++)
        if (!w->s[i].v.core) start(w, i);
    kith_sim_run_for(w->sim, 60 * KITH_SIM_S); /* dead sessions are given up */
    all_meet(w);
    find_company(w, &c);
    for (size_t a = 0; a < OWN; a++)
        for (size_t b = 0; b < a; b++)
            if (fellows(&c, a, b)) check_same(w, a, b);
    for (size_t a = 0; a < OWN; a++)
        for (size_t b = 0; b < OWN; b++)
            if (a != b && c.has[a].there && c.has[b].there && !c.knows[a][b]) check_let_in(w, &c, a, b);
    for (size_t i = 0; i < OWN; i++)
        if (is_in(&c.has[i], who(w, i))) check_pins(w, i, &c);
    check_ways(w, &c);
    kith_graph *g = graph_of(w, FRIEND);
    assert_int_equal(kith_graph_count(g), 1); /* of which nobody told the friend anything */
    kith_graph_free(g);
}

/* ---- worlds ---- */

typedef struct totals {
    size_t served, refused, admitted, revoked, restored, crashed, fellows;
} totals;

static uint64_t live(uint64_t seed, totals *t)
{
    static world w; /* events take megabytes */
    make_world(&w, seed);
    for (size_t i = 1; i < OWN; i++) admit(&w, (size_t)dice(&w, i), i);
    for (size_t n = 0; dice(&w, 4) && n < 2 * OWN; n++) (void)visit(&w, n % (OWN - 1) + 1, 0); /* most know all */
    for (size_t n = 0; n < STEPS && w.id_count < ORACLE_MAX - 64; n++) step(&w);
    settle(&w);
    uint64_t trace = kith_sim_trace(w.sim);
    t->served += w.served, t->refused += w.refused, t->admitted += w.admitted;
    t->revoked += w.revoked, t->restored += w.restored, t->crashed += w.crashed, t->fellows += w.fellows;
    end_world(&w);
    return trace;
}

static void five_devices(void **state)
{
    (void)state;
    const char *one = getenv("KITH_SEED"), *text = getenv("KITH_SEEDS");
    uint64_t seeds = text ? strtoull(text, NULL, 10) / 50 + 1 : 16;
    totals t = {0};
    if (one) {
        live(strtoull(one, NULL, 10), &t);
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) live(seed, &t);
    printf("%llu worlds: let in %zu, revoked %zu, restored %zu, crashed %zu, served %zu, refused %zu, fellows %zu\n",
           (unsigned long long)seeds, t.admitted, t.revoked, t.restored, t.crashed, t.served, t.refused, t.fellows);
    if (seeds < 16) return;
    assert_true(t.revoked && t.restored && t.crashed && t.served && t.refused);
    assert_true(t.fellows > 2 * seeds); /* enough remain to tell */
}

static void the_same_seed_is_the_same_world(void **state)
{
    (void)state;
    totals t = {0};
    if (getenv("KITH_SEED")) return;
    assert_true(live(3, &t) == live(3, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(five_devices), TEST(the_same_seed_is_the_same_world)};
    return cmocka_run_group_tests_name("sim/node_five", tests, NULL, NULL);
}
