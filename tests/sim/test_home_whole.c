/* What a command does to a home, over all the files together: every write in turn fails, once or with all after it, or
 * is the last one of the process, or before the power fails.  Whatever happened, the home opens and is the one of
 * before or the one of after, in every file: the device, its password, who is its own, the pins, the recovery code and
 * what was deposited for it, contacts, settings; and what was begun can be done again. */
#include "base/mem.h"
#include "crypto/secret.h"
#include "sim/sim.h"
#include "store/home.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

#define NOW     KITH_SIM_START_WALL_MS
#define OTHERS  3 /* own devices beside this one: 1 and 2 are in, 3 is let in by a change */
#define CONTACT 9

static const kith_bytes passwords[] = {{"old password", 12}, {"new password", 12}};
static const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};
static const uint8_t codes[2][KITH_RECOVERY_CODE_SIZE] = {{42}, {43}}; /* of before and of after */
static const char settings[] = "{\"version\": 1, \"dir\": \"/home/me/in\", \"name\": \"mine\"}";

typedef struct world {
    kith_sim *sim;
    kith_sim_host *host;
    kith_env *env;
    kith_home *home;
    kith_rng rng;
    kith_problem problem;
} world;

/* What a home says, all of it. */
typedef struct state {
    bool there, contact, settings;
    char name[KITH_NAME_SIZE];
    int password;                 /* which one opens it; */
    int code;                     /* which is in force; -1: none */
    bool in[OTHERS + 1], waiting; /* 0: this device; a new code that waits for others */
    size_t members;
} state;

typedef struct change {
    const char *name;
    bool from_nothing;
    kith_err (*run)(world *w);
} change;

/* ---- devices ---- */

static void seed_of(uint8_t n, uint8_t seed[static 32]) { memset(seed, n, 32); }

static void entry_of(uint8_t n, kith_graph_entry *out)
{
    static kith_graph_entry made[CONTACT + 1]; /* keys take time */
    uint8_t seed[32], uuid[KITH_UUID_SIZE], key[32];
    char name[16];
    *out = made[n];
    if (*out->name) return;
    seed_of(n, seed);
    memset(uuid, n, sizeof uuid);
    kith_ed25519_public(seed, key);
    snprintf(name, sizeof name, "device %u", n);
    kith_graph_entry_make(uuid, key, name, "Linux", "", &made[n]);
    *out = made[n];
}

static kith_recovery_public pairs[2]; /* of the codes */

static kith_err add_contact(kith_trust *trust, void *user)
{
    kith_graph_entry e;
    kith_peer peer;
    (void)user;
    entry_of(CONTACT, &e);
    assert_ok(kith_peer_make(e.uuid, e.ed25519, e.name, "", "", KITH_PEER_CONTACT, NOW, &peer));
    return kith_trust_add(trust, &peer, NULL);
}

/* ---- processes ---- */

static void open_home(world *w)
{
    assert_ok(kith_sim_env_new(w->host, &w->env));
    assert_ok(kith_home_open(w->env, "/home", &w->home));
}

static void close_home(world *w)
{
    kith_home_close(w->home);
    kith_sim_kill(w->env);
}

static uint8_t *unlocked(world *w)
{
    uint8_t *seed = NULL;
    for (size_t i = 0; i < 2; i++)
        if (kith_home_unlock(w->home, passwords[i], &seed, &w->problem) == KITH_OK) return seed;
    return NULL;
}

static kith_err tend(world *w)
{
    bool founded;
    uint8_t *seed = unlocked(w);
    if (!seed) return w->problem.err;
    kith_err err = kith_home_tend_graph(w->home, seed, &w->rng, NOW, &founded, &w->problem);
    kith_secret_free(seed);
    return err;
}

/* ---- the changes ---- */

static kith_err init(world *w)
{
    kith_home_self self;
    bool created;
    const kith_home_init_options options = {.name = "laptop",
                                            .os = "Linux",
                                            .password = passwords[0],
                                            .kdf = cheap,
                                            .rng = &w->rng,
                                            .now_ms = NOW,
                                            .recovery = &pairs[0]};
    kith_err err = kith_home_init(w->home, &options, &self, &created, &w->problem);
    return err ? err : tend(w);
}

/* By this device, the first. */
typedef struct authoring {
    const uint8_t *seed;
    uint8_t whom;
} authoring;

static kith_err admit(kith_graph *graph, void *user)
{
    const authoring *a = user;
    kith_graph_entry self, whom;
    kith_verdict v;
    entry_of(a->whom, &whom);
    kith_err err = kith_graph_judge(graph, &v);
    if (err) return err;
    self = v.members[0].entry;
    const kith_member *m = kith_verdict_find(&v, whom.fingerprint);
    bool in = m && m->state == KITH_MEMBER;
    kith_verdict_done(&v);
    kith_graph_author author = {.seed = a->seed, .self = &self, .now_ms = NOW};
    return in ? KITH_OK : kith_graph_admit(graph, &author, &whom);
}

static kith_err admit_device(world *w, uint8_t n)
{
    uint8_t *seed = unlocked(w);
    authoring a = {.seed = seed, .whom = n};
    if (!seed) return w->problem.err;
    kith_err err = kith_home_update_graph(w->home, admit, &a, &w->problem);
    kith_secret_free(seed);
    return err;
}

/* What came from the others: device 1 deposits its key. */
static kith_err deposit_first(kith_graph *graph, void *user)
{
    uint8_t seed[32], ephemeral[32] = {5}, deposit[KITH_DEPOSIT_SIZE];
    kith_graph_entry self;
    (void)user;
    seed_of(1, seed);
    entry_of(1, &self);
    kith_graph_author author = {.seed = seed, .self = &self, .now_ms = NOW};
    assert_ok(kith_deposit_seal(&pairs[0], self.uuid, seed, ephemeral, deposit));
    return kith_graph_deposit(graph, &author, kith_graph_id(graph, 0), deposit);
}

/* Device 2 wants another code, and device 1 agrees. */
static kith_err want_another_code(kith_graph *graph, void *user)
{
    uint8_t seeds[2][32];
    kith_graph_entry first, second;
    (void)user;
    seed_of(1, seeds[0]);
    seed_of(2, seeds[1]);
    entry_of(1, &first);
    entry_of(2, &second);
    const kith_graph_author one = {.seed = seeds[0], .self = &first, .now_ms = NOW};
    const kith_graph_author two = {.seed = seeds[1], .self = &second, .now_ms = NOW};
    kith_err err = kith_graph_replace(graph, &two, &pairs[1]);
    return err ? err : kith_graph_accept(graph, &one, kith_graph_id(graph, kith_graph_count(graph) - 1));
}

static kith_err run_admit(world *w) { return admit_device(w, 3); }

static kith_err run_name(world *w)
{
    kith_err err = kith_home_set_name(w->home, "desktop", &w->problem);
    return err ? err : tend(w);
}

static kith_err run_password(world *w)
{
    return kith_home_change_password(w->home, passwords[0], passwords[1], cheap, &w->rng, &w->problem);
}

static kith_err run_password_by_code(world *w)
{
    return kith_home_reset_password(w->home, codes[0], passwords[1], cheap, &w->rng, &w->problem);
}

static kith_err revoke(world *w, const uint8_t *code)
{
    kith_graph_entry first, whom;
    uint8_t *seed = unlocked(w);
    const kith_home_author who = {.seed = seed, .rng = &w->rng, .now_ms = NOW};
    if (!seed) return w->problem.err;
    entry_of(1, &first);
    kith_err err = kith_home_revoke(w->home, &who, first.uuid, "lost", code, &pairs[1], &whom, &w->problem);
    kith_secret_free(seed);
    return err;
}

static kith_err run_revoke(world *w) { return revoke(w, NULL); }
static kith_err run_revoke_by_code(world *w) { return revoke(w, codes[0]); }

static kith_err renew(world *w, const uint8_t *code)
{
    kith_recovery_change out;
    uint8_t *seed = unlocked(w);
    const kith_home_author who = {.seed = seed, .rng = &w->rng, .now_ms = NOW};
    if (!seed) return w->problem.err;
    kith_err err = kith_home_new_recovery(w->home, &who, code, &pairs[1], &out, &w->problem);
    kith_secret_free(seed);
    return err;
}

static kith_err run_renew(world *w) { return renew(w, codes[0]); }
static kith_err run_renew_lost(world *w) { return renew(w, NULL); }

static kith_err restore(world *w, const uint8_t *code, const char *device)
{
    kith_home_self self;
    const kith_home_restore_options options = {.path = "/kept/backup",
                                               .password = passwords[0],
                                               .code = code,
                                               .device = device,
                                               .kdf = cheap,
                                               .rng = &w->rng,
                                               .now_ms = NOW};
    kith_err err = kith_home_restore(w->home, &options, &self, &w->problem);
    if (err == KITH_ERR_EXISTS) err = KITH_OK; /* the one before did it, and died */
    return err ? err : tend(w);
}

static kith_err run_restore(world *w) { return restore(w, NULL, NULL); }
static kith_err run_restore_by_code(world *w) { return restore(w, codes[0], NULL); }
static kith_err run_restore_other(world *w) { return restore(w, codes[0], "device 1"); }

/* Device 1 has agreed already: this one is the last. */
static kith_err run_accept(world *w)
{
    kith_recovery_change shown, out;
    uint8_t *seed = unlocked(w);
    const kith_home_author who = {.seed = seed, .rng = &w->rng, .now_ms = NOW};
    if (!seed) return w->problem.err;
    kith_err err = kith_home_waiting_recovery(w->home, &shown, &w->problem);
    if (!err) err = kith_home_accept_recovery(w->home, &who, shown.waiting_id, &out, &w->problem);
    kith_secret_free(seed);
    return err;
}

/* Into the network of device 3, which let this one in. */
static kith_err run_join(world *w)
{
    uint8_t seed[32];
    kith_graph *graph;
    kith_graph_entry self, founder;
    kith_home_self me;
    kith_err err = kith_home_load(w->home, &me, &w->problem);
    if (err) return err;
    seed_of(3, seed);
    entry_of(3, &founder);
    kith_graph_entry_make(me.device.id, me.public_key, me.device.name, me.device.os, "", &self);
    kith_graph_author author = {.seed = seed, .self = &founder, .now_ms = NOW};
    assert_ok(kith_graph_new(&graph));
    assert_ok(kith_graph_found(graph, &author, NULL, NULL));
    assert_ok(kith_graph_admit(graph, &author, &self));
    err = kith_home_replace_graph(w->home, graph, &w->problem);
    kith_graph_free(graph);
    return err ? err : tend(w);
}

static const change changes[] = {
    {"init", true, init},
    {"restore", true, run_restore},
    {"restore with the code", true, run_restore_by_code},
    {"restore another device", true, run_restore_other},
    {"admit", false, run_admit},
    {"join", false, run_join},
    {"rename", false, run_name},
    {"password", false, run_password},
    {"password with the code", false, run_password_by_code},
    {"revoke", false, run_revoke},
    {"revoke with the code", false, run_revoke_by_code},
    {"a new code", false, run_renew},
    {"a new code without the old one", false, run_renew_lost},
    {"agreeing to a new code", false, run_accept},
};

/* ---- a world before a change ---- */

static void make_world(world *w, uint64_t seed, const change *c)
{
    const uint8_t rng_seed[KITH_RNG_SEED_SIZE] = {1};
    *w = (world){0};
    kith_rng_init(&w->rng, rng_seed);
    assert_ok(kith_sim_new(seed, &w->sim));
    assert_ok(kith_sim_host_new(w->sim, "host", &w->host));
    assert_ok(kith_sim_put_folder(w->host, "/kept", 0700));
    open_home(w);
    if (c->run == init) return;
    assert_ok(init(w));
    assert_ok(admit_device(w, 1));
    assert_ok(admit_device(w, 2));
    assert_ok(kith_home_update_trust(w->home, add_contact, NULL, &w->problem));
    assert_ok(kith_home_update_graph(w->home, deposit_first, NULL, &w->problem));
    if (c->run == run_accept) assert_ok(kith_home_update_graph(w->home, want_another_code, NULL, &w->problem));
    assert_ok(kith_sim_put_file(w->host, "/home/config.json", settings, sizeof settings - 1, 0600));
    if (c->from_nothing)
        assert_ok(kith_home_backup(w->home, "/kept/backup", passwords[0], cheap, &w->rng, NOW, &w->problem));
    close_home(w);
    if (c->from_nothing) { /* another machine */
        uint8_t *data;
        size_t size;
        assert_ok(kith_sim_get_file(w->host, "/kept/backup", &data, &size));
        assert_ok(kith_sim_host_new(w->sim, "other", &w->host));
        assert_ok(kith_sim_put_file(w->host, "/kept/backup", data, size, 0600));
        kith_free(data);
    } else {
        kith_sim_power_fail(w->host); /* what is there is durable */
    }
    open_home(w);
}

/* ---- what a home says ---- */

static void read_graph(world *w, const kith_home_self *self, state *out)
{
    kith_graph *graph;
    kith_verdict v;
    kith_graph_entry e;
    if (kith_home_load_graph(w->home, &graph, &w->problem)) fail_msg("%s", w->problem.message);
    out->code = -1;
    if (kith_graph_count(graph) == 0) { /* none yet: the next start founds one */
        kith_graph_free(graph);
        return;
    }
    assert_ok(kith_graph_judge(graph, &v));
    out->members = kith_verdict_members(&v);
    for (uint8_t n = 0; n <= OTHERS; n++) {
        entry_of(n, &e);
        const kith_member *m = kith_verdict_find(&v, n ? e.fingerprint : self->fingerprint);
        out->in[n] = m && m->state == KITH_MEMBER;
    }
    for (int i = 0; i < 2; i++)
        if (v.pair != KITH_GRAPH_NONE && kith_recovery_same(&pairs[i], &v.recovery)) out->code = i;
    for (size_t i = 0; i < kith_graph_count(graph); i++) out->waiting |= v.records[i].state == KITH_RECORD_WAITING;
    kith_verdict_done(&v);
    kith_graph_free(graph);
}

/* The pins are those the graph says, whatever of the two files was written. */
static void check_pins(world *w, const kith_home_self *self, state *out)
{
    kith_trust *trust;
    kith_graph_entry e;
    size_t own = 0;
    if (kith_home_load_trust(w->home, &trust, &w->problem)) fail_msg("%s", w->problem.message);
    for (uint8_t n = 1; n <= OTHERS; n++) {
        entry_of(n, &e);
        const kith_peer *p = kith_trust_by_fingerprint(trust, e.fingerprint);
        bool me = memcmp(e.fingerprint, self->fingerprint, 32) == 0;
        if (!me && (p != NULL) != out->in[n]) fail_msg("device %u is pinned: %d, and in: %d", n, p != NULL, out->in[n]);
    }
    for (size_t i = 0; i < kith_trust_count(trust); i++) own += kith_trust_at(trust, i)->kind == KITH_PEER_OWN;
    if (out->members) assert_int_equal(own, out->members - out->in[0]);
    entry_of(CONTACT, &e);
    out->contact = kith_trust_by_fingerprint(trust, e.fingerprint) != NULL;
    kith_trust_free(trust);
}

/* False: there is no identity, and that is said. */
static bool read_home(world *w, state *out)
{
    kith_home_self self;
    uint8_t *seed = NULL, *data;
    size_t size;
    memset(out, 0, sizeof *out);
    kith_err err = kith_home_load(w->home, &self, &w->problem);
    if (err) {
        bool restoring = err == KITH_ERR_DAMAGED && strstr(w->problem.message, "kith restore");
        if (err != KITH_ERR_NO_IDENTITY && !restoring) fail_msg("%s", w->problem.message);
        return false;
    }
    out->there = true;
    memcpy(out->name, self.device.name, sizeof out->name);
    for (out->password = 0; kith_home_unlock(w->home, passwords[out->password], &seed, &w->problem); out->password++)
        if (out->password == 1) fail_msg("neither password opens it");
    kith_secret_free(seed);
    read_graph(w, &self, out);
    check_pins(w, &self, out);
    out->settings = kith_sim_get_file(w->host, "/home/config.json", &data, &size) == KITH_OK;
    if (!out->settings) return true;
    assert_int_equal(size, sizeof settings - 1);
    assert_memory_equal(data, settings, size);
    kith_free(data);
    return true;
}

/* After the next start: all that follows from the graph is there, too. */
static void check_master(world *w, const state *s)
{
    kith_master *master;
    kith_home_self self;
    uint8_t *seed;
    assert_ok(tend(w));
    assert_ok(kith_home_load(w->home, &self, &w->problem));
    assert_ok(kith_home_load_master(w->home, &master, &w->problem));
    assert_int_equal(master->has_recovery, s->code >= 0);
    bool deposited = kith_master_find(master, self.device.id) != NULL;
    assert_int_equal(deposited, s->code >= 0);
    kith_master_free(master);
    if (s->code < 0) return;
    /* The paper opens it. */
    assert_ok(kith_home_reset_password(w->home, codes[s->code], passwords[s->password], cheap, &w->rng, &w->problem));
    assert_ok(kith_home_unlock(w->home, passwords[s->password], &seed, &w->problem));
    kith_secret_free(seed);
}

static bool same(const state *a, const state *b)
{
    return a->there == b->there && a->contact == b->contact && a->settings == b->settings &&
           strcmp(a->name, b->name) == 0 && a->password == b->password && a->code == b->code &&
           memcmp(a->in, b->in, sizeof a->in) == 0 && a->waiting == b->waiting && a->members == b->members;
}

/* ---- failing ---- */

typedef struct fault {
    const char *name;
    kith_err err;
    kith_sim_fail how;
    bool power; /* fails when the process has died */
} fault;

static const fault faults[] = {
    {"one fails", KITH_ERR_IO, KITH_SIM_FAIL_ONCE, false},
    {"the disk is full", KITH_ERR_NO_SPACE, KITH_SIM_FAIL_ON, false},
    {"the process dies", KITH_ERR_IO, KITH_SIM_FAIL_KILL, false},
    {"the power fails", KITH_ERR_IO, KITH_SIM_FAIL_KILL, true},
};

/* `before` and `after` it on a disk that works. */
static void without_fault(const change *c, state *before, state *after)
{
    world w;
    make_world(&w, 1, c);
    if (!read_home(&w, before)) memset(before, 0, sizeof *before);
    if (c->run(&w)) fail_msg("%s: %s", c->name, w.problem.message);
    assert_true(read_home(&w, after));
    assert_false(same(before, after));
    close_home(&w);
    kith_sim_free(w.sim);
}

/* Init has no graph in its home for a moment: an identity that founds its network at the next start, without a code. */
static bool is_half_init(const change *c, const state *s)
{
    return c->run == init && s->there && s->members <= 1 && s->code < 0;
}

/* Number `n` fails.  Whether it came to that. */
static bool fail_nth(const change *c, uint64_t n, const fault *f, const state *before, const state *after)
{
    world w;
    state now;
    make_world(&w, n, c);
    uint64_t done = kith_sim_file_ops(w.env);
    kith_sim_fail_file_at(w.env, n, f->err, f->how);
    kith_err err = c->run(&w);
    bool reached = kith_sim_file_ops(w.env) - done >= n;
    close_home(&w);
    if (f->power) kith_sim_power_fail(w.host);
    open_home(&w);
    (void)read_home(&w, &now);
    bool old = same(&now, before), new = same(&now, after);
    if (!old && !new && !is_half_init(c, &now)) fail_msg("%s, %s, write %u: neither", c->name, f->name, (unsigned)n);
    if (!err && !new) fail_msg("%s, %s, write %u: it was said to be done", c->name, f->name, (unsigned)n);
    if (now.there) check_master(&w, &now);
    if (old) {
        if (c->run(&w)) fail_msg("%s, %s, write %u, again: %s", c->name, f->name, (unsigned)n, w.problem.message);
        assert_true(read_home(&w, &now));
        if (!same(&now, after)) fail_msg("%s, %s, write %u, again: not done", c->name, f->name, (unsigned)n);
        check_master(&w, &now);
    }
    close_home(&w);
    kith_sim_free(w.sim);
    return reached;
}

static void every_write_of_every_change(void **ignored)
{
    (void)ignored;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        state before, after;
        size_t runs = 0;
        without_fault(&changes[i], &before, &after);
        for (size_t k = 0; k < sizeof faults / sizeof *faults; k++)
            for (uint64_t n = 1; fail_nth(&changes[i], n, &faults[k], &before, &after); n++) runs++;
        printf("%s: %zu faults\n", changes[i].name, runs);
        assert_true(runs >= 4 * sizeof faults / sizeof *faults); /* the loop does go through the change */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(every_write_of_every_change)};
    if (kith_crypto_init()) return 1;
    for (size_t i = 0; i < 2; i++) kith_recovery_derive(codes[i], &pairs[i]);
    return cmocka_run_group_tests_name("home/whole", tests, NULL, NULL);
}
