#include "store/home.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "store/atomic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEVICE       "device.json"
#define KEYS         "network_keys.json"
#define TRUST        "trust.cbor"
#define SEEN         "seen.cbor"
#define LOCK         "kith.lock"
#define LONGEST_NAME "network_keys.json"
#define MASTER_KEY   "master_key.json" /* not ours to read here, but a sign that there was an identity */

#define OTHERS_ANY    077u /* permission bits */
#define OTHERS_WRITE  022u
#define FILE_MODE     0600u
#define FOLDER_MODE   0700u
#define PATH_TEXT_MAX 280 /* bytes of a path in a message: two fit */

struct kith_home {
    kith_env *env;
    char *folder;
};

/* A file of the home, and what must hold for it to be used. */
typedef struct home_file {
    const char *name;
    size_t max;
    uint32_t forbidden; /* permission bits */
} home_file;

static const home_file device_file = {DEVICE, KITH_DEVICE_FILE_MAX, OTHERS_ANY};
static const home_file keys_file = {KEYS, KITH_KEYS_FILE_MAX, OTHERS_ANY};
static const home_file trust_file = {TRUST, KITH_TRUST_FILE_MAX, OTHERS_ANY};
static const home_file seen_file = {SEEN, KITH_SEEN_FILE_MAX, OTHERS_ANY};

kith_err kith_home_open(kith_env *env, const char *folder, kith_home **out)
{
    if (!*folder) return KITH_ERR_ARG;
    kith_home *home = kith_calloc(1, sizeof *home);
    if (home) home->folder = kith_strdup(folder);
    if (!home || !home->folder) {
        kith_free(home);
        return KITH_ERR_NOMEM;
    }
    size_t size = strlen(home->folder);
    while (size > 1 && home->folder[size - 1] == '/') home->folder[--size] = 0;
    home->env = env;
    *out = home;
    return KITH_OK;
}

void kith_home_close(kith_home *home)
{
    if (!home) return;
    kith_free(home->folder);
    kith_free(home);
}

const char *kith_home_folder(const kith_home *home) { return home->folder; }

/* ---- saying what is wrong ---- */

__attribute__((format(printf, 3, 4))) static kith_err say(kith_problem *problem, kith_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem->err = err;
    vsnprintf(problem->message, sizeof problem->message, format, args);
    va_end(args);
    return err;
}

/* An error about no file in particular. */
static kith_err say_plain(kith_problem *problem, kith_err err) { return say(problem, err, "%s", kith_err_text(err)); }

typedef struct path_text {
    char text[PATH_TEXT_MAX];
} path_text;

/* The path of a file of the home for a message and as a word for a shell: in quotes where it has to be, and where it is
 * too long its end. */
static path_text path_of(const kith_home *home, const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-@%:,=";
    const size_t room = PATH_TEXT_MAX - sizeof "'...'" - sizeof LONGEST_NAME;
    char path[PATH_TEXT_MAX];
    path_text out;
    size_t size = strlen(home->folder);
    const char *mark = size > room ? "..." : "", *folder = home->folder + (size > room ? size - room : 0);
    kith_printable(folder, strlen(folder), path, sizeof path);
    const char *quote = strspn(path, plain) == strlen(path) ? "" : strchr(path, '\'') ? "\"" : "'";
    snprintf(out.text, sizeof out.text, "%s%s%.*s%s%s%s", quote, mark, (int)room, path, *name ? "/" : "", name, quote);
    return out;
}

/* What the disk said, with the name of the file it said it of. */
static kith_err say_disk(const kith_home *home, const char *name, const char *doing, kith_err err,
                         kith_problem *problem)
{
    path_text path = path_of(home, name);
    switch (err) {
    case KITH_ERR_NOMEM: return say_plain(problem, err);
    case KITH_ERR_PERMISSION:
        return say(problem, err,
                   "no permission while %s %s: run as the user it belongs to, or give it back with `chown`", doing,
                   path.text);
    case KITH_ERR_NOT_REGULAR:
        return say(problem, KITH_ERR_DAMAGED, "%s is not a regular file: move it away", path.text);
    default: return say(problem, err, "%s %s: %s", doing, path.text, kith_err_text(err));
    }
}

static kith_err say_decode(const kith_home *home, const char *name, kith_err err, const kith_reason *reason,
                           kith_problem *problem)
{
    path_text path = path_of(home, name);
    if (err == KITH_ERR_DAMAGED)
        return say(problem, err, "%s is damaged (%s): put back a copy from a backup. Nothing was changed.", path.text,
                   reason->text);
    if (err == KITH_ERR_VERSION)
        return say(problem, err, "%s was written by a newer version of Kith (%s): upgrade Kith on this device",
                   path.text, reason->text);
    return say_plain(problem, err);
}

/* ---- reading ---- */

static kith_err stat_file(const kith_home *home, const char *name, kith_file_info *info)
{
    char *path = kith_path_join(home->folder, name);
    kith_err err = path ? home->env->file->stat(home->env, path, true, info) : KITH_ERR_NOMEM;
    kith_free(path);
    return err;
}

/* Whose home it is.  The env does not say who we are; the lock file tells, which is made by whoever used the home
 * first. */
static kith_err owner_of(const kith_home *home, uint32_t *owner)
{
    kith_file_info info;
    kith_err err = stat_file(home, LOCK, &info);
    if (err && err != KITH_ERR_NOMEM) err = home->env->file->stat(home->env, home->folder, true, &info);
    if (!err) *owner = info.owner;
    return err;
}

static kith_err check_access(const kith_home *home, const home_file *file, const kith_file_info *info,
                             kith_problem *problem)
{
    path_text path = path_of(home, file->name);
    uint32_t owner, others = info->mode & file->forbidden;
    kith_err err = owner_of(home, &owner);
    if (err) return say_disk(home, "", "looking at", err, problem);
    if (file->forbidden && info->owner != owner)
        return say(problem, KITH_ERR_PERMISSION,
                   "%s belongs to another user (%u) than the folder it is in (%u): run `chown %u %s`", path.text,
                   (unsigned)info->owner, (unsigned)owner, (unsigned)owner, path.text);
    if (others)
        return say(problem, KITH_ERR_EXPOSED, "other users can %s %s (mode %03o): run `chmod 600 %s`",
                   others & OTHERS_WRITE ? "change" : "read", path.text, (unsigned)(info->mode & 0777), path.text);
    return KITH_OK;
}

/* NO_FILE without a message: what that means is the caller's to say. */
static kith_err read_file(const kith_home *home, const home_file *file, uint8_t **data, size_t *size,
                          kith_problem *problem)
{
    kith_file_info info;
    uint8_t *found = NULL;
    char *path = kith_path_join(home->folder, file->name);
    if (!path) return say_plain(problem, KITH_ERR_NOMEM);
    kith_err err = kith_read_whole(home->env, path, file->max, &found, size, &info);
    kith_free(path);
    if (err == KITH_ERR_NO_FILE) return err;
    if (err == KITH_ERR_LIMIT || err == KITH_ERR_CHANGED) {
        kith_reason reason = {"larger than any such file"};
        return say_decode(home, file->name, KITH_ERR_DAMAGED, &reason, problem);
    }
    if (err) return say_disk(home, file->name, "reading", err, problem);
    if ((err = check_access(home, file, &info, problem))) {
        kith_free(found);
        return err;
    }
    *data = found;
    return KITH_OK;
}

/* Nothing must be made anew where something shows that there was an identity.  AGAIN when the file that was missing is
 * there now. */
static kith_err check_remains(const kith_home *home, const char *missing, const char *const *remains, size_t count,
                              kith_problem *problem)
{
    kith_file_info info;
    for (size_t i = 0; i < count; i++) {
        kith_err err = stat_file(home, remains[i], &info);
        if (err == KITH_ERR_NO_FILE) continue;
        if (!err) err = stat_file(home, missing, &info);
        if (!err) return KITH_ERR_AGAIN;
        if (err != KITH_ERR_NO_FILE) return say_disk(home, remains[i], "looking at", err, problem);
        return say(problem, KITH_ERR_DAMAGED,
                   "%s is missing although %s is there: put it back from a backup. To give this device a new identity "
                   "instead, move %s away first; then every device has to be paired again.",
                   path_of(home, missing).text, remains[i], remains[i]);
    }
    return KITH_OK;
}

/* What the two files of an identity say.  Missing ones are told by *has_device, *has_keys; then the rest of *out is not
 * set. */
typedef struct identity {
    bool has_device, has_keys;
    kith_device device;
    kith_keys_file keys;
    uint8_t *keys_data; /* as it is on disk; release */
    size_t keys_size;
} identity;

static kith_err read_device(const kith_home *home, kith_device *out, uint8_t **data, size_t *size,
                            kith_problem *problem)
{
    kith_reason reason;
    kith_err err = read_file(home, &device_file, data, size, problem);
    if (err) return err;
    err = kith_device_decode(*data, *size, out, &reason);
    return err ? say_decode(home, DEVICE, err, &reason, problem) : KITH_OK;
}

static kith_err read_both(const kith_home *home, identity *out, kith_problem *problem)
{
    static const char *const after_device[] = {KEYS, TRUST, MASTER_KEY}, *const after_keys[] = {TRUST, MASTER_KEY};
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = read_device(home, &out->device, &data, &size, problem);
    kith_free(data);
    if (err == KITH_ERR_NO_FILE) return check_remains(home, DEVICE, after_device, 3, problem);
    if (err) return err;
    out->has_device = true;
    err = read_file(home, &keys_file, &out->keys_data, &out->keys_size, problem);
    if (err == KITH_ERR_NO_FILE) return check_remains(home, KEYS, after_keys, 2, problem);
    if (err) return err;
    if ((err = kith_keys_decode(out->keys_data, out->keys_size, &out->keys, &reason)))
        return say_decode(home, KEYS, err, &reason, problem);
    out->has_keys = true;
    if (memcmp(out->keys.device_id, out->device.id, sizeof out->device.id) != 0)
        return say(problem, KITH_ERR_DAMAGED,
                   "%s and %s are of two different devices: put back the two that belong together",
                   path_of(home, DEVICE).text, KEYS);
    return KITH_OK;
}

/* Without the lock another process may be making the identity between our two looks; it does that once. */
static kith_err read_identity(const kith_home *home, identity *out, kith_problem *problem)
{
    kith_err err = KITH_ERR_AGAIN;
    for (int attempt = 0; err == KITH_ERR_AGAIN && attempt < 3; attempt++) {
        *out = (identity){0};
        err = read_both(home, out, problem);
    }
    return err == KITH_ERR_AGAIN ? say_plain(problem, err) : err;
}

/* The same where an identity is needed. */
static kith_err need_identity(const kith_home *home, identity *out, kith_problem *problem)
{
    kith_err err = read_identity(home, out, problem);
    if (err || out->has_keys) return err;
    return say(problem, KITH_ERR_NO_IDENTITY, "%s (looked in %s)", kith_err_text(KITH_ERR_NO_IDENTITY),
               path_of(home, "").text);
}

static void describe(const identity *found, kith_home_self *out)
{
    out->device = found->device;
    memcpy(out->public_key, found->keys.public_key, sizeof out->public_key);
    kith_fingerprint(found->device.id, found->keys.public_key, out->fingerprint);
    out->created_at_ms = found->keys.created_at_ms;
}

kith_err kith_home_load(kith_home *home, kith_home_self *self, kith_problem *problem)
{
    identity found;
    *problem = (kith_problem){0};
    kith_err err = need_identity(home, &found, problem);
    if (!err) describe(&found, self);
    kith_free(found.keys_data);
    return err;
}

/* Open the keys into guarded memory. */
static kith_err open_keys(const kith_home *home, const kith_keys_file *keys, kith_bytes password, uint8_t **out,
                          kith_problem *problem)
{
    uint8_t *seed = kith_secret_new(KITH_ED25519_SEED_SIZE);
    kith_err err = seed ? kith_keys_open(keys, password, seed) : KITH_ERR_NOMEM;
    if (!err) {
        *out = seed;
        return KITH_OK;
    }
    kith_secret_free(seed);
    if (err == KITH_ERR_DAMAGED) {
        kith_reason reason = {"the private key is not that of the public key"};
        return say_decode(home, KEYS, err, &reason, problem);
    }
    return err == KITH_ERR_ARG ? say(problem, err, "the password is empty") : say_plain(problem, err);
}

kith_err kith_home_unlock(kith_home *home, kith_bytes password, uint8_t **seed, kith_problem *problem)
{
    identity found;
    *problem = (kith_problem){0};
    kith_err err = need_identity(home, &found, problem);
    if (!err) err = open_keys(home, &found.keys, password, seed, problem);
    kith_free(found.keys_data);
    return err;
}

/* ---- changing ---- */

/* Wait for the lock; close *out to let it go. */
static kith_err lock_home(const kith_home *home, kith_file **out, kith_problem *problem)
{
    kith_env *env = home->env;
    kith_file *file = NULL;
    char *path = kith_path_join(home->folder, LOCK);
    if (!path) return say_plain(problem, KITH_ERR_NOMEM);
    kith_err err = env->file->open(env, path, KITH_FILE_READ | KITH_FILE_WRITE | KITH_FILE_CREATE, FILE_MODE, &file);
    kith_free(path);
    if (err == KITH_ERR_NO_FILE)
        return say(problem, KITH_ERR_NO_IDENTITY, "%s (there is no folder %s)", kith_err_text(KITH_ERR_NO_IDENTITY),
                   path_of(home, "").text);
    if (!err) err = env->file->lock(file, true);
    if (err) {
        env->file->close(file);
        return say_disk(home, LOCK, "locking", err == KITH_ERR_AGAIN ? KITH_ERR_LOCKED : err, problem);
    }
    *out = file;
    return KITH_OK;
}

/* Under the lock. */
static kith_err write_file(const kith_home *home, const char *name, const void *data, size_t size,
                           kith_problem *problem)
{
    kith_err err = kith_atomic_clean(home->env, home->folder, name);
    if (!err) err = kith_atomic_write(home->env, home->folder, name, FILE_MODE, data, size);
    return err ? say_disk(home, name, "writing", err, problem) : KITH_OK;
}

/* Make one folder, durable in the one above it. */
static kith_err make_folder(kith_env *env, const char *path)
{
    kith_err err = env->file->make_folder(env, path, FOLDER_MODE);
    if (err) return err == KITH_ERR_EXISTS ? KITH_OK : err; /* another process was faster */
    char *above = kith_strdup(path), *last = above ? strrchr(above, '/') : NULL;
    if (!above) return KITH_ERR_NOMEM;
    if (last) last[last == above] = 0; /* "/" stays for what is directly below it */
    err = env->file->sync_folder(env, last ? above : ".");
    kith_free(above);
    return err;
}

static kith_err make_folders(const kith_home *home, kith_problem *problem)
{
    kith_env *env = home->env;
    char *path = kith_strdup(home->folder);
    kith_err err = path ? KITH_OK : KITH_ERR_NOMEM;
    kith_file_info info;
    for (char *at = path; !err && at;) {
        char *slash = strchr(at + 1, '/');
        if (slash) *slash = 0;
        err = env->file->stat(env, path, true, &info);
        if (err == KITH_ERR_NO_FILE)
            err = make_folder(env, path);
        else if (!err && info.kind != KITH_FILE_FOLDER)
            err = KITH_ERR_NOT_REGULAR;
        if (slash) *slash = '/';
        at = slash;
    }
    kith_free(path);
    if (err == KITH_ERR_NOT_REGULAR)
        return say(problem, KITH_ERR_EXISTS, "%s is not a folder: move it away, or choose another home",
                   path_of(home, "").text);
    return err ? say_disk(home, "", "making the folder", err, problem) : KITH_OK;
}

/* Seal `seed` for these keys (device id, creation time and KDF are set) with a fresh salt and nonce. */
static kith_err seal_keys(kith_keys_file *keys, kith_bytes password, const uint8_t *seed, kith_rng *rng,
                          kith_problem *problem)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    if (password.size == 0) return say(problem, KITH_ERR_ARG, "the password is empty");
    kith_rng_bytes(rng, keys->salt, sizeof keys->salt);
    kith_rng_bytes(rng, nonce, sizeof nonce);
    kith_err err = kith_keys_seal(keys, password, seed, nonce);
    return err == KITH_ERR_ARG
               ? say(problem, err, "the password's key derivation was asked to do too much or too little")
           : err ? say_plain(problem, err)
                 : KITH_OK;
}

static kith_err write_keys(const kith_home *home, const identity *found, kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_keys_encode(&found->keys, found->keys_data, found->keys_size, &data, &size, &reason);
    if (err) return say_decode(home, KEYS, err, &reason, problem);
    err = write_file(home, KEYS, data, size, problem);
    kith_free(data);
    return err;
}

static kith_err write_device(const kith_home *home, const kith_device *device, const void *old, size_t old_size,
                             kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_device_encode(device, old, old_size, &data, &size, &reason);
    if (err) return say_decode(home, DEVICE, err, &reason, problem);
    err = write_file(home, DEVICE, data, size, problem);
    kith_free(data);
    return err;
}

static bool no_kdf(const kith_kdf_params *kdf) { return kdf->memory_kib == 0 && kdf->passes == 0 && kdf->lanes == 0; }

/* Make what is missing.  The slow and fallible part comes before the first write; device.json comes before the keys, so
 * that an interruption leaves what the next attempt completes. */
static kith_err complete(const kith_home *home, const kith_home_init_options *options, identity *found,
                         kith_problem *problem)
{
    static const kith_kdf_params defaults = {KITH_KDF_MEMORY_KIB, KITH_KDF_PASSES, KITH_KDF_LANES};
    uint8_t random[KITH_UUID_SIZE], *seed = NULL;
    kith_err err = KITH_OK;
    if (!found->has_device) {
        kith_rng_bytes(options->rng, random, sizeof random);
        err = kith_device_make(random, options->name, options->os, options->hardware_model, options->now_ms,
                               &found->device);
        if (err) return say(problem, err, "a device's name is 1 to %d bytes of plain text on one line", KITH_NAME_MAX);
    }
    seed = kith_secret_new(KITH_ED25519_SEED_SIZE);
    if (!seed) return say_plain(problem, KITH_ERR_NOMEM);
    kith_rng_bytes(options->rng, seed, KITH_ED25519_SEED_SIZE);
    found->keys =
        (kith_keys_file){.created_at_ms = options->now_ms, .kdf = no_kdf(&options->kdf) ? defaults : options->kdf};
    memcpy(found->keys.device_id, found->device.id, sizeof found->device.id);
    err = seal_keys(&found->keys, options->password, seed, options->rng, problem);
    kith_secret_free(seed);
    if (!err && !found->has_device) err = write_device(home, &found->device, NULL, 0, problem);
    if (!err) err = write_keys(home, found, problem);
    return err;
}

kith_err kith_home_init(kith_home *home, const kith_home_init_options *options, kith_home_self *self, bool *created,
                        kith_problem *problem)
{
    identity found = {0};
    kith_file *lock = NULL;
    bool made = false;
    *problem = (kith_problem){0};
    kith_err err = make_folders(home, problem);
    if (!err) err = lock_home(home, &lock, problem);
    if (!err) err = read_identity(home, &found, problem);
    if (!err && !found.has_keys) {
        made = true;
        err = complete(home, options, &found, problem);
    }
    if (!err) {
        describe(&found, self);
        *created = made;
    }
    kith_free(found.keys_data);
    home->env->file->close(lock);
    return err;
}

kith_err kith_home_change_password(kith_home *home, kith_bytes old_password, kith_bytes new_password,
                                   kith_kdf_params kdf, kith_rng *rng, kith_problem *problem)
{
    identity found = {0};
    kith_file *lock = NULL;
    uint8_t *seed = NULL;
    *problem = (kith_problem){0};
    kith_err err = lock_home(home, &lock, problem);
    if (!err) err = need_identity(home, &found, problem);
    if (!err) err = open_keys(home, &found.keys, old_password, &seed, problem);
    if (!err && !no_kdf(&kdf)) found.keys.kdf = kdf;
    if (!err) err = seal_keys(&found.keys, new_password, seed, rng, problem);
    if (!err) err = write_keys(home, &found, problem);
    kith_secret_free(seed);
    kith_free(found.keys_data);
    home->env->file->close(lock);
    return err;
}

kith_err kith_home_set_name(kith_home *home, const char *name, kith_problem *problem)
{
    kith_device device;
    kith_file *lock = NULL;
    char checked[KITH_NAME_SIZE];
    uint8_t *old = NULL;
    size_t old_size = 0;
    *problem = (kith_problem){0};
    if (kith_name_check(name, strlen(name), checked))
        return say(problem, KITH_ERR_ARG, "a device's name is 1 to %d bytes of plain text on one line", KITH_NAME_MAX);
    kith_err err = lock_home(home, &lock, problem);
    if (!err) err = read_device(home, &device, &old, &old_size, problem);
    if (err == KITH_ERR_NO_FILE) err = say_plain(problem, KITH_ERR_NO_IDENTITY);
    if (!err) {
        memcpy(device.name, checked, sizeof checked);
        err = write_device(home, &device, old, old_size, problem);
    }
    kith_free(old);
    home->env->file->close(lock);
    return err;
}

/* ---- the others ---- */

/* The set and the bytes it was read from (NULL when there is no file; release). */
static kith_err read_trust(const kith_home *home, kith_trust **out, uint8_t **data, size_t *size, kith_problem *problem)
{
    kith_reason reason;
    kith_err err = read_file(home, &trust_file, data, size, problem);
    if (err == KITH_ERR_NO_FILE) {
        err = kith_trust_new(out);
        return err ? say_plain(problem, err) : KITH_OK;
    }
    if (err) return err;
    err = kith_trust_decode(*data, *size, out, &reason);
    return err ? say_decode(home, TRUST, err, &reason, problem) : KITH_OK;
}

kith_err kith_home_load_trust(kith_home *home, kith_trust **out, kith_problem *problem)
{
    uint8_t *data = NULL;
    size_t size = 0;
    *problem = (kith_problem){0};
    kith_err err = read_trust(home, out, &data, &size, problem);
    kith_free(data);
    return err;
}

kith_err kith_home_update_trust(kith_home *home, kith_home_trust_fn *fn, void *user, kith_problem *problem)
{
    kith_file *lock = NULL;
    kith_trust *trust = NULL;
    uint8_t *old = NULL, *data = NULL;
    size_t old_size = 0, size = 0;
    *problem = (kith_problem){0};
    kith_err err = lock_home(home, &lock, problem);
    if (!err) err = read_trust(home, &trust, &old, &old_size, problem);
    if (!err && (err = fn(trust, user)))
        problem->err = err;
    else if (!err && (err = kith_trust_encode(trust, &data, &size)))
        say_plain(problem, err);
    bool same = !err && old && old_size == size && memcmp(old, data, size) == 0;
    if (!err && !same) err = write_file(home, TRUST, data, size, problem);
    kith_free(data);
    kith_free(old);
    kith_trust_free(trust);
    home->env->file->close(lock);
    return err;
}

bool kith_home_trust_changed(kith_home *home, kith_home_stamp *stamp)
{
    kith_file_info info;
    kith_home_stamp now = {.asked = true};
    if (stat_file(home, TRUST, &info) == KITH_OK) {
        now.inode = info.inode;
        now.size = info.size;
        now.modified_ns = info.modified_ns;
        now.changed_ns = info.changed_ns;
    }
    bool same = stamp->asked && stamp->inode == now.inode && stamp->size == now.size &&
                stamp->modified_ns == now.modified_ns && stamp->changed_ns == now.changed_ns;
    *stamp = now;
    return !same;
}

kith_err kith_home_load_seen(kith_home *home, kith_seen **out)
{
    kith_problem ignored = {0};
    kith_reason reason;
    kith_seen *seen = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = read_file(home, &seen_file, &data, &size, &ignored);
    if (!err) err = kith_seen_decode(data, size, &seen, &reason);
    if (err && err != KITH_ERR_NOMEM) err = kith_seen_new(&seen);
    kith_free(data);
    if (!err) *out = seen;
    return err;
}

kith_err kith_home_update_seen(kith_home *home, kith_home_seen_fn *fn, void *user, kith_problem *problem)
{
    kith_file *lock = NULL;
    kith_seen *seen = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    *problem = (kith_problem){0};
    kith_err err = lock_home(home, &lock, problem);
    if (!err && (err = kith_home_load_seen(home, &seen))) say_plain(problem, err);
    if (!err && (err = fn(seen, user))) problem->err = err;
    if (!err && (err = kith_seen_encode(seen, &data, &size))) say_plain(problem, err);
    if (!err) err = write_file(home, SEEN, data, size, problem);
    kith_free(data);
    kith_seen_free(seen);
    home->env->file->close(lock);
    return err;
}
