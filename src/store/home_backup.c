/* A home's files into one that is sealed. */
#include "store/home_internal.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "identity/backup.h"
#include "identity/graph.h"
#include "store/atomic.h"

#include <string.h>

static const kith_home_file sources[KITH_BACKUP_PARTS] = {
    [KITH_BACKUP_GRAPH] = {KITH_GRAPH_NAME, KITH_GRAPH_FILE_MAX, KITH_OTHERS_ANY},
    [KITH_BACKUP_TRUST] = {KITH_TRUST_NAME, KITH_TRUST_FILE_MAX, KITH_OTHERS_ANY},
    [KITH_BACKUP_CONFIG] = {KITH_CONFIG_NAME, KITH_CONFIG_FILE_MAX, KITH_OTHERS_ANY},
};

/* What is going in; each part's memory is its own. */
typedef struct content {
    uint8_t *parts[KITH_BACKUP_PARTS];
    size_t sizes[KITH_BACKUP_PARTS];
    uint8_t *seed; /* the device's: it signs */
    bool has_recovery;
    kith_recovery_public recovery;
} content;

static void content_done(content *c)
{
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) kith_free(c->parts[i]);
    kith_secret_free(c->seed);
}

/* device.json without keys that are inside it, and network_keys.json. */
static kith_err take_identity(const kith_home *home, kith_identity *identity, content *out, kith_problem *problem)
{
    kith_reason reason;
    kith_err err = kith_keys_strip_flattened(identity->device_data, identity->device_size,
                                             &out->parts[KITH_BACKUP_DEVICE], &out->sizes[KITH_BACKUP_DEVICE], &reason);
    if (err) return kith__say_decode(home, KITH_DEVICE_NAME, err, &reason, problem);
    err = kith_keys_encode(&identity->keys, identity->keys_data, identity->keys_size, &out->parts[KITH_BACKUP_KEYS],
                           &out->sizes[KITH_BACKUP_KEYS], &reason);
    return err ? kith__say_decode(home, KITH_KEYS_NAME, err, &reason, problem) : KITH_OK;
}

/* master_key.json, with this device's own deposit if that is not in it yet: so that the code opens the backup whole. */
static kith_err take_master(const kith_home *home, const kith_identity *identity, const uint8_t *seed, kith_rng *rng,
                            content *out, kith_problem *problem)
{
    kith_master *master = NULL;
    kith_err err = kith__home_read_master(home, &master, problem);
    if (err) return err;
    if (master->has_recovery) {
        err = kith__home_deposit(identity, seed, rng, master);
        out->has_recovery = true;
        out->recovery = master->recovery;
        if (!err) err = kith_master_encode(master, &out->parts[KITH_BACKUP_MASTER], &out->sizes[KITH_BACKUP_MASTER]);
        if (err) err = kith__say_plain(problem, err);
    }
    kith_master_free(master);
    return err;
}

/* What is damaged now would be so when it is needed. */
static kith_err check_files(const kith_home *home, const content *c, kith_problem *problem)
{
    const uint8_t *graph_data = c->parts[KITH_BACKUP_GRAPH], *trust_data = c->parts[KITH_BACKUP_TRUST],
                  *config_data = c->parts[KITH_BACKUP_CONFIG];
    kith_graph *graph = NULL;
    kith_trust *trust = NULL;
    kith_config config = {{NULL}};
    kith_reason reason;
    kith_err err =
        graph_data ? kith_graph_decode(graph_data, c->sizes[KITH_BACKUP_GRAPH], false, &graph, &reason) : KITH_OK;
    kith_graph_free(graph);
    if (err) return kith__say_decode(home, KITH_GRAPH_NAME, err, &reason, problem);
    if (trust_data) err = kith_trust_decode(trust_data, c->sizes[KITH_BACKUP_TRUST], &trust, &reason);
    kith_trust_free(trust);
    if (err) return kith__say_decode(home, KITH_TRUST_NAME, err, &reason, problem);
    if (config_data) err = kith_config_decode(config_data, c->sizes[KITH_BACKUP_CONFIG], &config, &reason);
    kith_config_done(&config);
    return err ? kith__say_decode(home, KITH_CONFIG_NAME, err, &reason, problem) : KITH_OK;
}

static kith_err take_files(const kith_home *home, content *out, kith_problem *problem)
{
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        if (!sources[i].name) continue;
        kith_err err = kith__home_read(home, &sources[i], &out->parts[i], &out->sizes[i], problem);
        if (err && err != KITH_ERR_NO_FILE) return err;
    }
    return check_files(home, out, problem);
}

/* All of it, as it is at one moment. */
static kith_err take_all(kith_home *home, kith_bytes password, kith_rng *rng, content *out, kith_problem *problem)
{
    kith_identity found = {0};
    kith_file *lock = NULL;
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = kith__home_need_identity(home, &found, problem);
    if (!err) err = kith__home_open_keys(home, &found.keys, password, &out->seed, problem);
    if (!err) err = take_identity(home, &found, out, problem);
    if (!err) err = take_master(home, &found, out->seed, rng, out, problem);
    if (!err) err = take_files(home, out, problem);
    kith__identity_done(&found);
    home->env->file->close(lock);
    return err;
}

static kith_err seal(const content *c, kith_bytes password, kith_kdf_params kdf, kith_rng *rng, int64_t now_ms,
                     uint8_t **out, size_t *size, kith_problem *problem)
{
    kith_backup_content backup = {.made_at_ms = now_ms, .seed = c->seed};
    kith_backup_random random;
    if (kith__no_kdf(&kdf)) kdf = (kith_kdf_params){KITH_KDF_MEMORY_KIB, KITH_KDF_PASSES, KITH_KDF_LANES};
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        backup.parts[i].data = c->parts[i];
        backup.parts[i].size = c->sizes[i];
    }
    kith_rng_bytes(rng, &random, sizeof random);
    kith_err err = kith_backup_seal(&backup, &kdf, password, c->has_recovery ? &c->recovery : NULL, &random, out, size);
    kith_wipe(&random, sizeof random);
    return err ? kith__say_plain(problem, err) : KITH_OK;
}

/* A new file at `path`, whose folder must exist. */
static kith_err write_new(const kith_home *home, const char *path, const void *data, size_t size, kith_problem *problem)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? kith_strdup("/") : kith_strdup(slash ? path : ".");
    const char *name = slash ? slash + 1 : path;
    if (!folder) return kith__say_plain(problem, KITH_ERR_NOMEM);
    if (slash && slash != path) folder[slash - path] = 0;
    kith_err err =
        *name ? kith_atomic_write_new(home->env, folder, name, KITH_HOME_FILE_MODE, data, size) : KITH_ERR_ARG;
    kith_free(folder);
    kith_path_text shown = kith__path_text(path, "");
    if (err == KITH_ERR_EXISTS)
        return kith__say(problem, err, "%s is there already, and a backup overwrites nothing: choose another name",
                         shown.text);
    if (err == KITH_ERR_NO_FILE)
        return kith__say(problem, err, "the folder of %s is not there: make it, or choose another place", shown.text);
    if (err == KITH_ERR_ARG) return kith__say(problem, err, "%s is no name for a file", shown.text);
    if (err == KITH_ERR_PERMISSION)
        return kith__say(problem, err, "nothing may be written at %s, or its disk is read-only: choose another place",
                         shown.text);
    return err ? kith__say(problem, err, "writing %s: %s", shown.text, kith_err_text(err)) : KITH_OK;
}

kith_err kith_home_backup(kith_home *home, const char *path, kith_bytes password, kith_kdf_params kdf, kith_rng *rng,
                          int64_t now_ms, kith_problem *problem)
{
    content c = {0};
    uint8_t *data = NULL;
    size_t size = 0;
    *problem = (kith_problem){0};
    kith_err err = take_all(home, password, rng, &c, problem);
    if (!err) err = seal(&c, password, kdf, rng, now_ms, &data, &size, problem);
    if (!err) err = write_new(home, path, data, size, problem);
    kith_free(data);
    content_done(&c);
    return err;
}
