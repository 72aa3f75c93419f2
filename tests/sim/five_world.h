/* Five devices of one person and a friend's, each a whole node on a disk of its own: what can be done with them and to
 * them.  What they may know of each other is noted beside it, from what was done alone: by whom each has met, and by
 * what the rules say of its records as graph_oracle.h has them. */
#ifndef KITH_TEST_FIVE_WORLD_H
#define KITH_TEST_FIVE_WORLD_H

#include "graph_oracle.h"
#include "hostile_world.h"

#define OWN        5
#define FRIEND     OWN
#define SLOTS      (OWN + 1)
#define PAPERS     32                   /* recovery codes, the newest last */
#define KEPT       2                    /* backups of a device */
#define MEETING_NS (5 * KITH_SIM_S / 2) /* so long after they met both have the other's news */

static const kith_bytes pw = {"pw", 2};
static const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};

typedef struct ids { /* a set of records, by the number that the world gives them */
    bool has[ORACLE_MAX];
} ids;

typedef enum knows { KNOWS_NOT, KNOWS, MAY_KNOW } knows;

typedef struct backup {
    uint8_t *data;
    size_t size;
    uint8_t of[32]; /* whose: a fingerprint */
    knows knows_friend;
} backup;

typedef struct slot { /* a machine and who it is now */
    victim v;         /* core NULL: no process runs */
    char addr[32];
    ids must; /* records it must have */
    backup kept[KEPT];
    size_t backups;
    knows knows_friend, known_to_friend;
    char local[SLOTS][KITH_NAME_SIZE]; /* what it calls others; "": as they call themselves */
    uint8_t local_of[SLOTS][32];
    bool torn; /* a write was cut off: what it wrote need not be durable */
} slot;

typedef struct world {
    uint64_t seed;
    kith_sim *sim;
    kith_sim_lan *lan;
    slot s[SLOTS];
    bool cut[SLOTS][SLOTS];
    kith_op op;
    uint8_t network[32]; /* the person's: its first record */
    uint8_t id[ORACLE_MAX][32];
    size_t id_count;
    uint8_t paper[PAPERS][KITH_RECOVERY_CODE_SIZE];
    size_t papers;
    unsigned next_addr, next_name;
    bool faulty; /* a fault was laid: what is under way may fail */
    size_t served, refused, admitted, revoked, restored, crashed, fellows;
} world;

/* What the home of a device says now. */
typedef struct view {
    bool there; /* of the person's network */
    ids has;
    uint8_t members[ORACLE_MAX][32];
    size_t count;
} view;

static inline uint64_t dice(world *w, uint64_t below) { return kith_sim_random(w->sim) % below; }
static inline const uint8_t *who(const world *w, size_t i) { return w->s[i].v.self.fingerprint; }
static inline bool alive(const world *w, size_t i) { return w->s[i].v.core && kith_sim_alive(w->s[i].v.env); }

#define FAIL(w, ...)                                                                                                   \
    do {                                                                                                               \
        fprintf(stderr, "seed %llu: ", (unsigned long long)(w)->seed);                                                 \
        fail_msg(__VA_ARGS__);                                                                                         \
    } while (0)

/* One line for each thing that is done, where KITH_STORY is set. */
#define TELL(...)                                                                                                      \
    do {                                                                                                               \
        if (getenv("KITH_STORY")) fprintf(stderr, __VA_ARGS__);                                                        \
    } while (0)

/* ---- what a home says ---- */

/* NULL: there is none.  (Its signatures were verified when they came.) */
static inline kith_graph *graph_of(world *w, size_t i)
{
    kith_graph *g = NULL;
    kith_reason reason = {""};
    uint8_t *data;
    size_t size;
    if (kith_sim_get_file(w->s[i].v.host, "/home/graph.cbor", &data, &size)) return NULL;
    if (kith_graph_decode(data, size, false, &g, &reason)) FAIL(w, "the graph of %zu: %s", i, reason.text);
    kith_free(data);
    return g;
}

static inline size_t number_of(world *w, const uint8_t *id)
{
    for (size_t i = 0; i < w->id_count; i++)
        if (memcmp(w->id[i], id, 32) == 0) return i;
    if (w->id_count == ORACLE_MAX) FAIL(w, "too many records");
    memcpy(w->id[w->id_count], id, 32);
    return w->id_count++;
}

static inline void look_at(world *w, const kith_graph *g, view *out)
{
    static oracle o;
    memset(out, 0, sizeof *out);
    if (!g || memcmp(kith_graph_id(g, 0), w->network, 32) != 0) return;
    out->there = true;
    for (size_t i = 0; i < kith_graph_count(g); i++) out->has.has[number_of(w, kith_graph_id(g, i))] = true;
    oracle_judge(&o, g);
    out->count = o.member_count;
    memcpy(out->members, o.members, sizeof out->members);
}

static inline void look(world *w, size_t i, view *out)
{
    kith_graph *g = graph_of(w, i);
    look_at(w, g, out);
    kith_graph_free(g);
}

static inline bool is_in(const view *v, const uint8_t *fingerprint)
{
    for (size_t i = 0; i < v->count; i++)
        if (memcmp(v->members[i], fingerprint, 32) == 0) return true;
    return false;
}

static inline void add_ids(ids *to, const ids *more)
{
    for (size_t i = 0; i < ORACLE_MAX; i++) to->has[i] |= more->has[i];
}

/* News that it had it has, whatever happened since. */
static inline void has_its_news(world *w, size_t i, const char *when)
{
    view now;
    look(w, i, &now);
    for (size_t k = 0; k < w->id_count; k++)
        if (w->s[i].must.has[k] && !now.has.has[k]) FAIL(w, "%zu lacks record %zu %s", i, k, when);
}

/* ---- processes ---- */

static inline void take_files(world *w, size_t i)
{
    const kith_receive_options options = {.size = sizeof options, .folder = "/in", .yes = true};
    kith_core_receive(w->s[i].v.core, w->op++, &options);
}

static inline void start(world *w, size_t i)
{
    victim *v = &w->s[i].v;
    kith_problem problem = {0};
    assert_ok(kith_sim_env_new(v->host, &v->env));
    assert_ok(kith_home_open(v->env, "/home", &v->home));
    if (kith_home_load(v->home, &v->self, &problem)) FAIL(w, "%zu does not start: %s", i, problem.message);
    if (kith_home_unlock(v->home, pw, &v->seed, &problem)) FAIL(w, "%zu does not start: %s", i, problem.message);
    v->count = 0;
    victim_open(v);
    take_files(w, i);
}

static inline void release(world *w, size_t i)
{
    victim_release(&w->s[i].v);
    w->s[i].v.seed = NULL;
    w->s[i].v.home = NULL;
}

/* A process that a fault has killed is dead. */
static inline void bury_the_dead(world *w)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (!w->s[i].v.core || alive(w, i)) continue;
        TELL("  %zu has died\n", i);
        w->s[i].torn = true;
        w->crashed++;
        release(w, i);
    }
}

static inline void kill_node(world *w, size_t i)
{
    if (!w->s[i].v.core) return;
    kith_sim_kill(w->s[i].v.env);
    release(w, i);
}

/* The next writes of this process fail, one or all, or kill it. */
static inline void lay_fault(world *w, kith_env *env)
{
    static const kith_sim_fail hows[] = {KITH_SIM_FAIL_KILL, KITH_SIM_FAIL_KILL, KITH_SIM_FAIL_ONCE, KITH_SIM_FAIL_ON};
    kith_sim_fail how = hows[dice(w, 4)];
    uint64_t n = 1 + dice(w, 14);
    TELL("  (write %llu fails, %d)\n", (unsigned long long)n, (int)how);
    kith_sim_fail_file_at(env, n, dice(w, 2) ? KITH_ERR_IO : KITH_ERR_NO_SPACE, how);
    w->faulty = true;
}

static inline void lift_faults(world *w)
{
    bury_the_dead(w);
    for (size_t i = 0; i < SLOTS; i++)
        if (alive(w, i)) kith_sim_fail_file_at(w->s[i].v.env, 0, KITH_OK, KITH_SIM_FAIL_ONCE);
    w->faulty = false;
}

/* ---- commands: what another process of the home does ---- */

typedef struct command {
    kith_env *env;
    kith_home *home;
    uint8_t *seed; /* NULL: not unlocked */
    kith_rng rng;
    kith_problem problem;
} command;

static inline void command_begin(world *w, size_t i, bool unlock, bool fault, command *c)
{
    uint8_t seed[KITH_RNG_SEED_SIZE] = {0};
    uint64_t chance = kith_sim_random(w->sim);
    *c = (command){0};
    memcpy(seed, &chance, sizeof chance);
    kith_rng_init(&c->rng, seed);
    assert_ok(kith_sim_env_new(w->s[i].v.host, &c->env));
    assert_ok(kith_home_open(c->env, "/home", &c->home));
    if (unlock && kith_home_unlock(c->home, pw, &c->seed, &c->problem)) FAIL(w, "%zu: %s", i, c->problem.message);
    if (fault) lay_fault(w, c->env);
}

static inline void command_end(world *w, size_t i, command *c)
{
    w->s[i].torn |= !kith_sim_alive(c->env) || w->faulty;
    kith_home_close(c->home);
    kith_secret_free(c->seed);
    kith_rng_done(&c->rng);
    kith_sim_kill(c->env);
    w->faulty = false;
}

static inline kith_home_author author(command *c)
{
    return (kith_home_author){.seed = c->seed, .rng = &c->rng, .now_ms = KITH_SIM_START_WALL_MS};
}

/* ---- identities ---- */

static inline void note_name(void *user, const char *name)
{
    char(*names)[64] = user;
    size_t n = 0;
    while (names[n][0]) n++;
    assert_true(n < 31);
    snprintf(names[n], sizeof names[n], "%s", name);
}

/* The disk of its home is lost. */
static inline void lose_home(world *w, size_t i)
{
    char names[32][64] = {{0}}, path[80];
    kith_env *env;
    kill_node(w, i);
    assert_ok(kith_sim_env_new(w->s[i].v.host, &env));
    (void)env->file->list(env, "/home", note_name, names);
    for (size_t n = 0; names[n][0]; n++) {
        snprintf(path, sizeof path, "/home/%.63s", names[n]);
        assert_ok(env->file->remove(env, path));
    }
    (void)env->file->sync_folder(env, "/home");
    kith_sim_kill(env);
    slot *s = &w->s[i];
    memset(&s->must, 0, sizeof s->must);
    memset(s->local, 0, sizeof s->local);
    s->torn = false;
}

static inline void pair_of(const world *w, size_t paper, kith_recovery_public *out)
{
    kith_recovery_derive(w->paper[paper], out);
}

static inline size_t new_paper(world *w)
{
    if (w->papers == PAPERS) FAIL(w, "out of paper");
    memset(w->paper[w->papers], (int)(0x40 + w->papers), sizeof w->paper[0]);
    return w->papers++;
}

/* A new identity in an empty home; with the first recovery code. */
static inline void new_identity(world *w, size_t i, bool code, bool faults)
{
    kith_recovery_public recovery;
    kith_home_self self;
    bool created;
    kith_err err = KITH_ERR_IO;
    slot *s = &w->s[i];
    char name[KITH_NAME_SIZE];
    snprintf(name, sizeof name, "device%zu", i);
    if (code) pair_of(w, new_paper(w), &recovery);
    for (unsigned tries = 0; err; tries++) {
        command c;
        command_begin(w, i, false, faults && tries == 0, &c);
        kith_home_init_options options = {.name = name,
                                          .os = "Linux",
                                          .hardware_model = "",
                                          .password = pw,
                                          .kdf = cheap,
                                          .rng = &c.rng,
                                          .now_ms = KITH_SIM_START_WALL_MS,
                                          .recovery = code ? &recovery : NULL};
        err = kith_home_init(c.home, &options, &self, &created, &c.problem);
        if (err && tries) FAIL(w, "init of %zu: %s", i, c.problem.message);
        command_end(w, i, &c);
    }
    s->knows_friend = s->known_to_friend = KNOWS_NOT;
    start(w, i);
}

/* ---- the network ---- */

static inline bool linked(const world *w, size_t a, size_t b) { return !w->cut[a][b]; }

static inline void cut(world *w, size_t a, size_t b, bool on)
{
    if (w->cut[a][b] == on) return;
    w->cut[a][b] = w->cut[b][a] = on;
    assert_ok(kith_sim_partition(w->s[a].v.host, w->s[b].v.host, on));
}

static inline void split(world *w)
{
    uint64_t side = dice(w, 1u << SLOTS);
    TELL("split %llx\n", (unsigned long long)side);
    for (size_t a = 0; a < SLOTS; a++)
        for (size_t b = 0; b < a; b++) cut(w, a, b, (side >> a & 1) != (side >> b & 1));
}

static inline void heal(world *w)
{
    TELL("heal\n");
    for (size_t a = 0; a < SLOTS; a++)
        for (size_t b = 0; b < a; b++) cut(w, a, b, false);
}

static inline void move(world *w, size_t i)
{
    char to[32];
    snprintf(to, sizeof to, "192.168.1.%u", w->next_addr++);
    TELL("%zu moves to %s\n", i, to);
    assert_ok(kith_sim_change_addr(w->s[i].v.host, w->s[i].addr, to));
    snprintf(w->s[i].addr, sizeof w->s[i].addr, "%s", to);
}

static inline void make_world(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->op = 1;
    w->next_addr = 50;
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    for (size_t i = 0; i < SLOTS; i++) {
        char name[16];
        slot *s = &w->s[i];
        s->v.sim = w->sim;
        snprintf(name, sizeof name, "device%zu", i);
        snprintf(s->addr, sizeof s->addr, "192.168.1.%zu", 10 + i);
        assert_ok(kith_sim_host_new(w->sim, name, &s->v.host));
        assert_ok(kith_sim_attach(s->v.host, w->lan, s->addr));
        assert_ok(kith_sim_put_folder(s->v.host, "/in", 0755));
        assert_ok(kith_sim_put_folder(s->v.host, "/out", 0755));
        new_identity(w, i, i == 0, false);
    }
    kith_graph *g = graph_of(w, 0);
    assert_non_null(g);
    memcpy(w->network, kith_graph_id(g, 0), 32);
    kith_graph_free(g);
}

static inline void end_world(world *w)
{
    for (size_t i = 0; i < SLOTS; i++) {
        kill_node(w, i);
        for (size_t k = 0; k < w->s[i].backups; k++) kith_free(w->s[i].kept[k].data);
    }
    kith_sim_free(w->sim);
}

#endif
