/* Own devices as whole nodes on one network: they pair, ping, revoke, and say what they have of each other. */
#ifndef KITH_TEST_OWN_WORLD_H
#define KITH_TEST_OWN_WORLD_H

#include "hostile_world.h"
#include "identity/graph_derive.h"
#include "node/own.h"
#include "service/trust_message.h"

#define DEVICES 5

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim v[DEVICES];
    kith_op op;
} world;

static inline void make_device(world *w, size_t i)
{
    char name[32], addr[64];
    snprintf(name, sizeof name, "device%zu", i);
    snprintf(addr, sizeof addr, "192.168.1.%zu", 10 + i);
    victim_make(&w->v[i], w->sim, w->lan, name, addr);
    const kith_receive_options options = {.size = sizeof options, .folder = "/in"};
    kith_core_receive(w->v[i].core, w->op++, &options); /* whoever takes files can be found */
}

static inline void make_world(world *w, uint64_t seed, size_t devices)
{
    *w = (world){.op = 1};
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    for (size_t i = 0; i < devices; i++) make_device(w, i);
}

static inline void end_world(world *w)
{
    for (size_t i = 0; i < DEVICES; i++)
        if (w->v[i].core) victim_close(&w->v[i]);
    kith_sim_free(w->sim);
}

static inline bool has_end(void *user)
{
    const victim *v = user;
    return last_event(v, KITH_EVENT_END) != NULL;
}

static inline kith_err ended(world *w, victim *v)
{
    if (!kith_sim_run_until(w->sim, has_end, v, 120 * KITH_SIM_S)) fail_msg("it does not end");
    return last_event(v, KITH_EVENT_END)->err;
}

static inline void forget_events(victim *v) { v->count = 0; }

/* `host` shows a code, `joiner` joins.  How it ended for both; OK when for both. */
static inline kith_err pair(world *w, size_t host, size_t joiner, bool replace)
{
    victim *h = &w->v[host], *j = &w->v[joiner];
    kith_pair_options options = {.size = sizeof options, .yes = true, .replace_network = replace};
    forget_events(h), forget_events(j);
    kith_core_pair(h->core, w->op++, &options);
    const kith_event *code = last_event(h, KITH_EVENT_CODE);
    assert_non_null(code);
    kith_core_join(j->core, w->op++, code->words, &options);
    kith_err err = ended(w, j);
    if (err) {
        kith_core_cancel(h->core, w->op - 2);
        if (last_event(h, KITH_EVENT_END) == NULL) (void)ended(w, h);
        return err;
    }
    return ended(w, h);
}

static inline kith_err ping(world *w, size_t from, size_t to)
{
    char id[KITH_UUID_TEXT_SIZE];
    forget_events(&w->v[from]);
    kith_core_ping(w->v[from].core, w->op++, kith_uuid_text(w->v[to].self.device.id, id), 1);
    return ended(w, &w->v[from]);
}

typedef struct revoking {
    victim *by;
    const uint8_t *whom;
    kith_err err;
} revoking;

static inline kith_err revoke_in(kith_graph *graph, void *user)
{
    revoking *r = user;
    kith_graph_entry self;
    kith_graph_entry_make(r->by->self.device.id, r->by->self.public_key, r->by->self.device.name, "Linux", "", &self);
    kith_graph_author a = {.seed = r->by->seed, .self = &self, .now_ms = KITH_SIM_START_WALL_MS};
    r->err = kith_graph_revoke(graph, &a, r->whom, "stolen on the train");
    return r->err;
}

/* As another process of that home does it: the running node has to notice. */
static inline void revoke(world *w, size_t by, size_t whom)
{
    kith_problem problem;
    revoking r = {.by = &w->v[by], .whom = w->v[whom].self.fingerprint};
    if (kith_home_update_graph(w->v[by].home, revoke_in, &r, &problem)) fail_msg("%s", problem.message);
}

/* What the home of `i` says of device `of`. */
static inline kith_member_state state_of(world *w, size_t i, size_t of)
{
    kith_graph *g;
    kith_verdict v;
    kith_problem problem;
    if (kith_home_load_graph(w->v[i].home, &g, &problem)) fail_msg("%s", problem.message);
    assert_ok(kith_graph_judge(g, &v));
    const kith_member *m = kith_verdict_find(&v, w->v[of].self.fingerprint);
    kith_member_state state = m ? m->state : 0;
    kith_verdict_done(&v);
    kith_graph_free(g);
    return state;
}

static inline size_t records_of(world *w, size_t i)
{
    kith_graph *g;
    kith_problem problem;
    if (kith_home_load_graph(w->v[i].home, &g, &problem)) fail_msg("%s", problem.message);
    size_t count = kith_graph_count(g);
    kith_graph_free(g);
    return count;
}

static inline bool pinned_as_own(world *w, size_t i, size_t whom)
{
    kith_trust *trust;
    kith_problem problem;
    if (kith_home_load_trust(w->v[i].home, &trust, &problem)) fail_msg("%s", problem.message);
    const kith_peer *peer = kith_trust_by_fingerprint(trust, w->v[whom].self.fingerprint);
    bool own = peer && peer->kind == KITH_PEER_OWN;
    kith_trust_free(trust);
    return own;
}

#endif
