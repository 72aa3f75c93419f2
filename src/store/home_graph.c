/* graph.cbor, and what the home's other files have from it.  graph.cbor is written first; trust.cbor is what it says
 * whenever it is read (so that a crash in between changes nothing), and is written to say so too; master_key.json is
 * written again by the next change, or the next start of a node. */
#include "store/home_internal.h"

#include "base/mem.h"
#include "identity/graph_derive.h"

#include <string.h>

static const kith_home_file graph_file = {KITH_GRAPH_NAME, KITH_GRAPH_FILE_MAX, KITH_OTHERS_ANY};

/* The graph (empty when there is no file) and the bytes it was read from (NULL when there is none; release). */
static kith_err read_graph(const kith_home *home, bool verify, kith_graph **out, uint8_t **data, size_t *size,
                           kith_problem *problem)
{
    kith_reason reason;
    kith_err err = kith__home_read(home, &graph_file, data, size, problem);
    if (err == KITH_ERR_NO_FILE) {
        err = kith_graph_new(out);
        return err ? kith__say_plain(problem, err) : KITH_OK;
    }
    if (err) return err;
    err = kith_graph_decode(*data, *size, verify, out, &reason);
    return err ? kith__say_decode(home, KITH_GRAPH_NAME, err, &reason, problem) : KITH_OK;
}

static kith_err load_graph(kith_home *home, bool verify, kith_graph **out, kith_problem *problem)
{
    uint8_t *data = NULL;
    size_t size = 0;
    *problem = (kith_problem){0};
    kith_err err = read_graph(home, verify, out, &data, &size, problem);
    kith_free(data);
    return err;
}

kith_err kith_home_load_graph(kith_home *home, kith_graph **out, kith_problem *problem)
{
    return load_graph(home, false, out, problem);
}

kith_err kith_home_verify_graph(kith_home *home, kith_graph **out, kith_problem *problem)
{
    return load_graph(home, true, out, problem);
}

/* ---- what is derived ---- */

static kith_err derive_trust(const kith_home *home, const kith_graph *graph, kith_trust *trust, kith_problem *problem)
{
    kith_identity identity = {0};
    kith_verdict verdict = {0};
    uint8_t self[KITH_FINGERPRINT_SIZE];
    kith_err err = kith__home_need_identity(home, &identity, problem);
    if (err) return err;
    kith_fingerprint(identity.device.id, identity.keys.public_key, self);
    kith__identity_done(&identity);
    err = kith_graph_judge(graph, &verdict);
    if (!err) err = kith_graph_derive_trust(graph, &verdict, self, trust);
    kith_verdict_done(&verdict);
    return err ? kith__say_plain(problem, err) : KITH_OK;
}

kith_err kith__home_derive_trust(const kith_home *home, kith_trust *trust, kith_problem *problem)
{
    kith_graph *graph = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = read_graph(home, false, &graph, &data, &size, problem);
    if (!err && kith_graph_count(graph)) err = derive_trust(home, graph, trust, problem);
    kith_graph_free(graph);
    kith_free(data);
    return err;
}

static kith_err write_master(const kith_home *home, const kith_graph *graph, kith_problem *problem)
{
    kith_file_info info;
    kith_master *master = NULL;
    kith_verdict verdict = {0};
    kith_err err = kith_master_new(&master);
    if (!err) err = kith_graph_judge(graph, &verdict);
    if (!err) err = kith_graph_derive_master(graph, &verdict, master);
    if (err) kith__say_plain(problem, err);
    bool none = !err && !master->has_recovery && kith__home_stat(home, KITH_MASTER_NAME, &info) == KITH_ERR_NO_FILE;
    if (!err && !none) err = kith__home_write_master(home, master, problem);
    kith_verdict_done(&verdict);
    kith_master_free(master);
    return err;
}

/* Own devices of another network go before its graph does: a crash in between must not leave them, nor bring in those
 * of the network that is entered. */
static kith_err leave_network(const kith_home *home, const kith_graph *graph, kith_problem *problem)
{
    kith_trust *trust = NULL;
    kith_verdict verdict = {0};
    kith_err err = kith__home_read_trust(home, &trust, problem);
    if (!err && (err = kith_graph_judge(graph, &verdict)) != KITH_OK) kith__say_plain(problem, err);
    if (!err) kith_graph_leave_others(&verdict, trust);
    if (!err) err = kith__home_write_trust(home, trust, problem);
    kith_verdict_done(&verdict);
    kith_trust_free(trust);
    return err;
}

/* Under the lock.  `old`: the file as it is (NULL: none). */
static kith_err write_graph(const kith_home *home, const kith_graph *graph, const uint8_t *old, size_t old_size,
                            kith_problem *problem)
{
    kith_trust *trust = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    if (kith_graph_count(graph) == 0) return KITH_OK;
    kith_err err = kith_graph_encode(graph, &data, &size);
    if (err) return kith__say_plain(problem, err);
    bool same = old && old_size == size && memcmp(old, data, size) == 0;
    if (!same) err = kith__home_write(home, KITH_GRAPH_NAME, data, size, problem);
    if (!err) err = kith__home_read_trust(home, &trust, problem);
    if (!err) err = kith__home_write_trust(home, trust, problem);
    if (!err) err = write_master(home, graph, problem);
    kith_trust_free(trust);
    kith_free(data);
    return err;
}

/* ---- changing ---- */

kith_err kith_home_update_graph(kith_home *home, kith_home_graph_fn *fn, void *user, kith_problem *problem)
{
    kith_file *lock = NULL;
    kith_graph *graph = NULL;
    uint8_t *old = NULL;
    size_t old_size = 0;
    *problem = (kith_problem){0};
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = read_graph(home, false, &graph, &old, &old_size, problem);
    if (!err && (err = fn(graph, user)) != KITH_OK)
        problem->err = err;
    else if (!err)
        err = write_graph(home, graph, old, old_size, problem);
    kith_graph_free(graph);
    kith_free(old);
    home->env->file->close(lock);
    return err;
}

kith_err kith_home_replace_graph(kith_home *home, const kith_graph *graph, kith_problem *problem)
{
    kith_file *lock = NULL;
    *problem = (kith_problem){0};
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = leave_network(home, graph, problem);
    if (!err) err = write_graph(home, graph, NULL, 0, problem);
    home->env->file->close(lock);
    return err;
}

/* This device as a record names it. */
static void own_entry(const kith_identity *identity, kith_graph_entry *out)
{
    kith_graph_entry_make(identity->device.id, identity->keys.public_key, identity->device.name, identity->device.os,
                          identity->device.hardware_model, out);
}

static kith_err deposit_for(const kith_recovery_public *pair, const kith_graph_author *author, kith_rng *rng,
                            uint8_t out[static KITH_DEPOSIT_SIZE])
{
    uint8_t ephemeral[KITH_X25519_SIZE];
    kith_rng_bytes(rng, ephemeral, sizeof ephemeral);
    kith_err err = kith_deposit_seal(pair, author->self->uuid, author->seed, ephemeral, out);
    kith_wipe(ephemeral, sizeof ephemeral);
    return err;
}

static kith_err found(kith_graph *graph, const kith_graph_author *author, const kith_recovery_public *pair,
                      kith_rng *rng)
{
    uint8_t deposit[KITH_DEPOSIT_SIZE];
    kith_err err = pair ? deposit_for(pair, author, rng, deposit) : KITH_OK;
    return err ? err : kith_graph_found(graph, author, pair, pair ? deposit : NULL);
}

kith_err kith__home_found_graph(const kith_home *home, const kith_identity *identity, const uint8_t *seed,
                                const kith_recovery_public *pair, kith_rng *rng, int64_t now_ms, kith_problem *problem)
{
    kith_graph *graph = NULL;
    kith_graph_entry self;
    own_entry(identity, &self);
    kith_graph_author author = {.seed = seed, .self = &self, .now_ms = now_ms};
    kith_err err = kith_graph_new(&graph);
    if (!err) err = found(graph, &author, pair, rng);
    if (err) kith__say_plain(problem, err);
    if (!err) err = write_graph(home, graph, NULL, 0, problem);
    kith_graph_free(graph);
    return err;
}

/* How often this device has said what it is called. */
static size_t count_said(const kith_graph *graph, const uint8_t self[static KITH_FINGERPRINT_SIZE])
{
    kith_record record;
    size_t count = 0;
    for (size_t i = 0; i < kith_graph_count(graph); i++) {
        kith_graph_record(graph, i, &record);
        count += record.kind == KITH_RECORD_DESCRIBE && memcmp(record.signer, self, sizeof record.signer) == 0;
    }
    return count;
}

/* What this device has to say of itself: its name as it is now, and its key for the recovery pair in force. */
static kith_err speak(kith_graph *graph, const kith_graph_author *author, kith_rng *rng)
{
    kith_verdict verdict;
    uint8_t deposit[KITH_DEPOSIT_SIZE];
    kith_err err = kith_graph_judge(graph, &verdict);
    if (err) return err;
    const kith_member *me = kith_verdict_find(&verdict, author->self->fingerprint);
    bool in = me && me->state == KITH_MEMBER;
    bool as_is = in && strcmp(me->entry.name, author->self->name) == 0 && strcmp(me->entry.os, author->self->os) == 0 &&
                 strcmp(me->entry.hardware_model, author->self->hardware_model) == 0;
    bool due = in && verdict.pair != KITH_GRAPH_NONE && me->deposit == KITH_GRAPH_NONE;
    if (in && !as_is && count_said(graph, author->self->fingerprint) < KITH_HOME_NAMES_MAX)
        err = kith_graph_describe(graph, author);
    if (!err && due) err = deposit_for(&verdict.recovery, author, rng, deposit);
    if (!err && due) err = kith_graph_deposit(graph, author, kith_graph_id(graph, verdict.pair), deposit);
    kith_verdict_done(&verdict);
    return err == KITH_ERR_LIMIT ? KITH_OK : err; /* a full graph is no reason not to start */
}

kith_err kith_home_tend_graph(kith_home *home, const uint8_t *seed, kith_rng *rng, int64_t now_ms, bool *founded,
                              kith_problem *problem)
{
    kith_identity identity = {0};
    kith_graph_entry self;
    kith_file *lock = NULL;
    kith_graph *graph = NULL;
    uint8_t *old = NULL;
    size_t old_size = 0;
    *problem = (kith_problem){0};
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = kith__home_need_identity(home, &identity, problem);
    if (!err) err = read_graph(home, false, &graph, &old, &old_size, problem);
    bool none = !err && kith_graph_count(graph) == 0;
    if (!err) {
        own_entry(&identity, &self);
        kith_graph_author author = {.seed = seed, .self = &self, .now_ms = now_ms};
        err = none ? found(graph, &author, NULL, rng) : speak(graph, &author, rng);
        if (err) kith__say_plain(problem, err);
    }
    if (!err) err = write_graph(home, graph, old, old_size, problem);
    if (!err) *founded = none;
    kith_graph_free(graph);
    kith_free(old);
    kith__identity_done(&identity);
    home->env->file->close(lock);
    return err;
}
