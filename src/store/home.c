#include "store/home_internal.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <stdio.h>
#include <string.h>

static const kith_home_file device_file = {KITH_DEVICE_NAME, KITH_DEVICE_FILE_MAX, KITH_OTHERS_ANY};
static const kith_home_file keys_file = {KITH_KEYS_NAME, KITH_KEYS_FILE_MAX, KITH_OTHERS_ANY};

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

/* ---- this device ---- */

/* Nothing must be made anew where something shows that there was an identity.  AGAIN when the file that was missing is
 * there now. */
static kith_err check_remains(const kith_home *home, const char *missing, const char *const *remains, size_t count,
                              kith_problem *problem)
{
    kith_file_info info;
    kith_err marker = kith__home_stat(home, KITH_RESTORE_NAME, &info);
    if (marker == KITH_ERR_NOMEM) return kith__say_plain(problem, marker);
    if (!marker && kith__home_stat(home, missing, &info) == KITH_ERR_NO_FILE)
        return kith__say(problem, KITH_ERR_DAMAGED,
                         "a restore into %s has not come to its end: if it was interrupted, run `kith restore` again",
                         kith__home_path(home, "").text);
    for (size_t i = 0; i < count; i++) {
        kith_err err = kith__home_stat(home, remains[i], &info);
        if (err == KITH_ERR_NO_FILE) continue;
        if (!err) err = kith__home_stat(home, missing, &info);
        if (!err) return KITH_ERR_AGAIN;
        if (err != KITH_ERR_NO_FILE) return kith__say_disk(home, remains[i], "looking at", err, problem);
        bool with_keys = strcmp(remains[i], KITH_KEYS_NAME) == 0; /* a restore makes both, or neither */
        return kith__say(
            problem, KITH_ERR_DAMAGED,
            "%s is missing although %s is there: put it back, or %s with `kith restore` from a backup. To give this "
            "device a new identity instead, move the whole folder away and run `kith init`; then every device has to "
            "be paired again.",
            kith__home_path(home, missing).text, remains[i],
            with_keys ? "move " KITH_KEYS_NAME " away, too, and bring both back" : "bring it back");
    }
    return KITH_OK;
}

kith_err kith__home_find_device(const kith_home *home, char **elsewhere, kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith__home_read(home, &device_file, &data, &size, problem);
    if (err) return err;
    err = kith_device_decode_reference(data, size, elsewhere, &reason);
    kith_free(data);
    if (!err || err == KITH_ERR_NOT_FOUND) return KITH_OK;
    return kith__say_decode(home, KITH_DEVICE_NAME, err, &reason, problem);
}

kith_err kith__home_read_device(const kith_home *home, kith_identity *out, kith_problem *problem)
{
    kith_reason reason;
    char *elsewhere = NULL;
    kith_err err = kith__home_find_device(home, &elsewhere, problem);
    if (err) return err;
    out->elsewhere = elsewhere;
    const char *name = elsewhere ? elsewhere : KITH_DEVICE_NAME;
    const kith_home_file file = {name, KITH_DEVICE_FILE_MAX, elsewhere ? KITH_OTHERS_WRITE : KITH_OTHERS_ANY};
    err = kith__home_read(home, &file, &out->device_data, &out->device_size, problem);
    if (err == KITH_ERR_NO_FILE && elsewhere)
        err = kith__say(
            problem, KITH_ERR_DAMAGED,
            "%s is missing, where the application's device file was: put it back, or let the application say where it "
            "is now",
            kith__home_path(home, name).text);
    if (!err && (err = kith_device_decode(out->device_data, out->device_size, &out->device, &reason)) != KITH_OK)
        err = kith__say_decode(home, name, err, &reason, problem);
    kith_free(elsewhere);
    out->has_device = !err;
    return err;
}

/* device.json and network_keys.json do not belong together. */
static kith_err say_mismatch(const kith_home *home, const kith_identity *found, const char *between, const char *after,
                             kith_problem *problem)
{
    const kith_path_text path = kith__home_path(home, KITH_DEVICE_NAME);
    return kith__say(problem, KITH_ERR_DAMAGED, "%s %s %s %s: put back the two that belong together%s",
                     found->elsewhere ? "the application's device file" : path.text, between, KITH_KEYS_NAME, after,
                     found->elsewhere ? ""
                                      : ", or move both away and bring them back with `kith restore` from a backup");
}

/* Keys that are inside device.json: alone, or left there when their removal was interrupted. */
static kith_err read_flattened(const kith_home *home, kith_identity *out, kith_problem *problem)
{
    kith_reason reason;
    kith_keys_file inside;
    kith_err err = kith_keys_decode_flattened(out->device_data, out->device_size, &inside, &reason);
    if (err == KITH_ERR_NOT_FOUND) return KITH_OK;
    if (err) return kith__say_decode(home, KITH_DEVICE_NAME, err, &reason, problem);
    if (out->has_keys && memcmp(inside.public_key, out->keys.public_key, sizeof inside.public_key) != 0)
        return say_mismatch(home, out, "has other keys in it than", "has", problem);
    if (!out->has_keys) out->keys = inside;
    out->flattened = !out->elsewhere || !out->has_keys; /* from elsewhere they are copied, once */
    out->has_keys = true;
    return KITH_OK;
}

static kith_err read_both(const kith_home *home, kith_identity *out, kith_problem *problem)
{
    static const char *const after_device[] = {KITH_KEYS_NAME, KITH_GRAPH_NAME, KITH_TRUST_NAME, KITH_MASTER_NAME};
    kith_reason reason;
    kith_err err = kith__home_read_device(home, out, problem);
    if (err == KITH_ERR_NO_FILE) return check_remains(home, KITH_DEVICE_NAME, after_device, 4, problem);
    if (err) return err;
    err = kith__home_read(home, &keys_file, &out->keys_data, &out->keys_size, problem);
    out->has_keys = !err;
    if (err && err != KITH_ERR_NO_FILE) return err;
    if (!err && (err = kith_keys_decode(out->keys_data, out->keys_size, &out->keys, &reason)) != KITH_OK)
        return kith__say_decode(home, KITH_KEYS_NAME, err, &reason, problem);
    if ((err = read_flattened(home, out, problem)) != KITH_OK) return err;
    if (!out->has_keys) return check_remains(home, KITH_KEYS_NAME, after_device + 1, 3, problem);
    if (memcmp(out->keys.device_id, out->device.id, sizeof out->device.id) != 0)
        return say_mismatch(home, out, "and", "are of two different devices", problem);
    return KITH_OK;
}

void kith__identity_done(kith_identity *identity)
{
    kith_free(identity->device_data);
    kith_free(identity->keys_data);
}

/* Without the lock another process may be making the identity between our two looks; it does that once. */
kith_err kith__home_read_identity(const kith_home *home, kith_identity *out, kith_problem *problem)
{
    kith_err err = KITH_ERR_AGAIN;
    for (int attempt = 0; err == KITH_ERR_AGAIN && attempt < 3; attempt++) {
        *out = (kith_identity){0};
        err = read_both(home, out, problem);
        if (err) kith__identity_done(out);
        if (err) *out = (kith_identity){0};
    }
    return err == KITH_ERR_AGAIN ? kith__say_plain(problem, err) : err;
}

/* The same where an identity is needed. */
kith_err kith__home_need_identity(const kith_home *home, kith_identity *out, kith_problem *problem)
{
    kith_err err = kith__home_read_identity(home, out, problem);
    if (err || out->has_keys) return err;
    return kith__say(problem, KITH_ERR_NO_IDENTITY, "%s (looked in %s)", kith_err_text(KITH_ERR_NO_IDENTITY),
                     kith__home_path(home, "").text);
}

void kith__describe(const kith_identity *found, kith_home_self *out)
{
    out->device = found->device;
    memcpy(out->public_key, found->keys.public_key, sizeof out->public_key);
    kith_fingerprint(found->device.id, found->keys.public_key, out->fingerprint);
    out->created_at_ms = found->keys.created_at_ms;
}

kith_err kith_home_load(kith_home *home, kith_home_self *self, kith_problem *problem)
{
    kith_identity found = {0};
    *problem = (kith_problem){0};
    kith_err err = kith__home_need_identity(home, &found, problem);
    if (!err) kith__describe(&found, self);
    kith__identity_done(&found);
    return err;
}

kith_err kith__home_open_keys(const kith_home *home, const kith_keys_file *keys, kith_bytes password, uint8_t **out,
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
        return kith__say_decode(home, KITH_KEYS_NAME, err, &reason, problem);
    }
    return err == KITH_ERR_ARG ? kith__say(problem, err, "the password is empty") : kith__say_plain(problem, err);
}

/* At the first use, once the password was right. */
static kith_err import_now(const kith_home *home, kith_problem *problem)
{
    kith_identity found = {0};
    kith_file *lock = NULL;
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = kith__home_need_identity(home, &found, problem);
    if (!err) err = kith__home_import(home, &found, problem);
    kith__identity_done(&found);
    home->env->file->close(lock);
    return err;
}

kith_err kith_home_unlock(kith_home *home, kith_bytes password, uint8_t **seed, kith_problem *problem)
{
    kith_identity found = {0};
    uint8_t *opened = NULL;
    *problem = (kith_problem){0};
    kith_err err = kith__home_need_identity(home, &found, problem);
    if (!err) err = kith__home_open_keys(home, &found.keys, password, &opened, problem);
    if (!err && found.flattened) err = import_now(home, problem);
    kith__identity_done(&found);
    if (err)
        kith_secret_free(opened);
    else
        *seed = opened;
    return err;
}

/* ---- changing ---- */

kith_err kith__home_seal_keys(kith_keys_file *keys, kith_bytes password, const uint8_t *seed, kith_rng *rng,
                              kith_problem *problem)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    if (password.size == 0) return kith__say(problem, KITH_ERR_ARG, "the password is empty");
    kith_rng_bytes(rng, keys->salt, sizeof keys->salt);
    kith_rng_bytes(rng, nonce, sizeof nonce);
    kith_err err = kith_keys_seal(keys, password, seed, nonce);
    return err == KITH_ERR_ARG
               ? kith__say(problem, err, "the password's key derivation was asked to do too much or too little")
           : err ? kith__say_plain(problem, err)
                 : KITH_OK;
}

kith_err kith__home_write_keys(const kith_home *home, const kith_identity *found, kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_keys_encode(&found->keys, found->keys_data, found->keys_size, &data, &size, &reason);
    if (err) return kith__say_decode(home, KITH_KEYS_NAME, err, &reason, problem);
    err = kith__home_write(home, KITH_KEYS_NAME, data, size, problem);
    kith_free(data);
    return err;
}

kith_err kith__home_write_device(const kith_home *home, const kith_device *device, const void *old, size_t old_size,
                                 kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_device_encode(device, old, old_size, &data, &size, &reason);
    if (err) return kith__say_decode(home, KITH_DEVICE_NAME, err, &reason, problem);
    err = kith__home_write(home, KITH_DEVICE_NAME, data, size, problem);
    kith_free(data);
    return err;
}

/* The copy comes first: whatever happens, the keys are in one of the two. */
kith_err kith__home_import(const kith_home *home, kith_identity *identity, kith_problem *problem)
{
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    if (!identity->flattened) return KITH_OK;
    kith_err err = identity->keys_data ? KITH_OK : kith__home_write_keys(home, identity, problem);
    if (err || identity->elsewhere) return err;
    err = kith_keys_strip_flattened(identity->device_data, identity->device_size, &data, &size, &reason);
    if (err) return kith__say_decode(home, KITH_DEVICE_NAME, err, &reason, problem);
    err = kith__home_write(home, KITH_DEVICE_NAME, data, size, problem);
    kith_free(data);
    return err;
}

bool kith__no_kdf(const kith_kdf_params *kdf) { return kdf->memory_kib == 0 && kdf->passes == 0 && kdf->lanes == 0; }

/* Make what is missing.  The slow and fallible part comes before the first write; device.json comes before the keys, so
 * that an interruption leaves what the next attempt completes. */
static kith_err complete(const kith_home *home, const kith_home_init_options *options, kith_identity *found,
                         kith_problem *problem)
{
    static const kith_kdf_params defaults = {KITH_KDF_MEMORY_KIB, KITH_KDF_PASSES, KITH_KDF_LANES};
    uint8_t random[KITH_UUID_SIZE], *seed = NULL;
    kith_err err = KITH_OK;
    if (!found->has_device) {
        kith_rng_bytes(options->rng, random, sizeof random);
        err = kith_device_make(random, options->name, options->os, options->hardware_model, options->now_ms,
                               &found->device);
        if (err)
            return kith__say(problem, err, "a device's name is 1 to %d bytes of plain text on one line", KITH_NAME_MAX);
    }
    seed = kith_secret_new(KITH_ED25519_SEED_SIZE);
    if (!seed) return kith__say_plain(problem, KITH_ERR_NOMEM);
    kith_rng_bytes(options->rng, seed, KITH_ED25519_SEED_SIZE);
    found->keys = (kith_keys_file){.created_at_ms = options->now_ms,
                                   .kdf = kith__no_kdf(&options->kdf) ? defaults : options->kdf};
    memcpy(found->keys.device_id, found->device.id, sizeof found->device.id);
    err = kith__home_seal_keys(&found->keys, options->password, seed, options->rng, problem);
    if (!err && !found->has_device) err = kith__home_write_device(home, &found->device, NULL, 0, problem);
    if (!err) err = kith__home_write_keys(home, found, problem);
    if (!err && options->recovery)
        err = kith__home_found_graph(home, found, seed, options->recovery, options->rng, options->now_ms, problem);
    kith_secret_free(seed);
    return err;
}

kith_err kith_home_init(kith_home *home, const kith_home_init_options *options, kith_home_self *self, bool *created,
                        kith_problem *problem)
{
    kith_identity found = {0};
    kith_file *lock = NULL;
    bool made = false;
    *problem = (kith_problem){0};
    kith_err err = kith__home_folders(home, problem);
    if (!err) err = kith__home_lock(home, &lock, problem);
    if (!err) err = kith__home_read_identity(home, &found, problem);
    if (!err && !found.has_keys) {
        made = true;
        err = complete(home, options, &found, problem);
    } else if (!err) {
        err = kith__home_import(home, &found, problem);
    }
    if (!err) {
        kith__describe(&found, self);
        *created = made;
    }
    kith__identity_done(&found);
    home->env->file->close(lock);
    return err;
}

/* The seed that this device deposited, in guarded memory: release with kith_secret_free. */
static kith_err open_own_deposit(const kith_home *home, const kith_identity *found, const uint8_t *code, uint8_t **out,
                                 kith_problem *problem)
{
    kith_master *master = NULL;
    uint8_t *seed = NULL;
    kith_err err = kith__home_read_master(home, &master, problem);
    if (!err) err = kith__home_open_deposit(master, found->device.id, found->keys.public_key, code, &seed, problem);
    kith_master_free(master);
    if (!err) *out = seed;
    return err;
}

/* The keys, opened with the recovery code, or with the password where that is NULL. */
static kith_err open_either(const kith_home *home, const kith_identity *found, kith_bytes password, const uint8_t *code,
                            uint8_t **seed, kith_problem *problem)
{
    return code ? open_own_deposit(home, found, code, seed, problem)
                : kith__home_open_keys(home, &found->keys, password, seed, problem);
}

/* The same, under a new password. */
static kith_err seal_anew(kith_home *home, kith_bytes old_password, const uint8_t *code, kith_bytes new_password,
                          kith_kdf_params kdf, kith_rng *rng, kith_problem *problem)
{
    kith_identity found = {0};
    kith_file *lock = NULL;
    uint8_t *seed = NULL;
    *problem = (kith_problem){0};
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = kith__home_need_identity(home, &found, problem);
    if (!err) err = open_either(home, &found, old_password, code, &seed, problem);
    if (!err && !kith__no_kdf(&kdf)) found.keys.kdf = kdf;
    if (!err) err = kith__home_seal_keys(&found.keys, new_password, seed, rng, problem);
    if (!err) err = kith__home_write_keys(home, &found, problem);
    kith_secret_free(seed);
    kith__identity_done(&found);
    home->env->file->close(lock);
    return err;
}

kith_err kith_home_check_password(kith_home *home, kith_bytes password, const uint8_t *code, kith_problem *problem)
{
    kith_identity found = {0};
    uint8_t *seed = NULL;
    *problem = (kith_problem){0};
    kith_err err = kith__home_need_identity(home, &found, problem);
    if (!err) err = open_either(home, &found, password, code, &seed, problem);
    kith_secret_free(seed);
    kith__identity_done(&found);
    return err;
}

kith_err kith_home_change_password(kith_home *home, kith_bytes old_password, kith_bytes new_password,
                                   kith_kdf_params kdf, kith_rng *rng, kith_problem *problem)
{
    return seal_anew(home, old_password, NULL, new_password, kdf, rng, problem);
}

kith_err kith_home_reset_password(kith_home *home, const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                                  kith_bytes new_password, kith_kdf_params kdf, kith_rng *rng, kith_problem *problem)
{
    return seal_anew(home, (kith_bytes){0}, code, new_password, kdf, rng, problem);
}

kith_err kith_home_set_name(kith_home *home, const char *name, kith_problem *problem)
{
    kith_identity found = {0};
    kith_file *lock = NULL;
    char checked[KITH_NAME_SIZE];
    *problem = (kith_problem){0};
    if (kith_name_check(name, strlen(name), checked))
        return kith__say(problem, KITH_ERR_ARG, "a device's name is 1 to %d bytes of plain text on one line",
                         KITH_NAME_MAX);
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = kith__home_read_device(home, &found, problem);
    if (err == KITH_ERR_NO_FILE) err = kith__say_plain(problem, KITH_ERR_NO_IDENTITY);
    if (!err && found.elsewhere)
        err = kith__say(problem, KITH_ERR_UNSUPPORTED,
                        "this device's name belongs to the application whose file it is in: change it there");
    if (!err) {
        memcpy(found.device.name, checked, sizeof checked);
        err = kith__home_write_device(home, &found.device, found.device_data, found.device_size, problem);
    }
    kith__identity_done(&found);
    home->env->file->close(lock);
    return err;
}

/* What is in the home must be of this device: its own device.json, and the keys. */
static kith_err check_referred(const kith_home *home, const char *path, const kith_device *device,
                               kith_problem *problem)
{
    kith_identity found = {0};
    kith_keys_file keys;
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith__home_read_device(home, &found, problem);
    bool other = !err && !found.elsewhere && memcmp(found.device.id, device->id, sizeof device->id) != 0;
    if (err == KITH_ERR_NO_FILE || (err == KITH_ERR_DAMAGED && found.elsewhere))
        err = KITH_OK; /* none yet, or it was moved away */
    if (!err) err = kith__home_read(home, &keys_file, &data, &size, problem);
    if (!err && (err = kith_keys_decode(data, size, &keys, &reason)) != KITH_OK)
        err = kith__say_decode(home, KITH_KEYS_NAME, err, &reason, problem);
    if (!err && memcmp(keys.device_id, device->id, sizeof device->id) != 0) other = true;
    if (err == KITH_ERR_NO_FILE) err = KITH_OK;
    kith_free(data);
    kith__identity_done(&found);
    if (err || !other) return err;
    return kith__say(problem, KITH_ERR_DAMAGED, "%s is another device than the one of %s: choose another home for it",
                     kith__home_path(home, path).text, kith__home_path(home, "").text);
}

kith_err kith_home_refer(kith_home *home, const char *path, kith_problem *problem)
{
    kith_device device;
    kith_reason reason;
    kith_file *lock = NULL;
    uint8_t *data = NULL, *reference = NULL;
    size_t size = 0, reference_size = 0;
    const kith_home_file file = {path, KITH_DEVICE_FILE_MAX, KITH_OTHERS_WRITE};
    *problem = (kith_problem){0};
    if (*path != '/') return kith__say(problem, KITH_ERR_ARG, "the path of a device file must begin with \"/\"");
    kith_err err = kith__home_folders(home, problem);
    if (!err) err = kith__home_lock(home, &lock, problem);
    if (!err && (err = kith__home_read(home, &file, &data, &size, problem)) == KITH_ERR_NO_FILE)
        err = kith__say_disk(home, path, "reading", err, problem);
    if (!err && (err = kith_device_decode(data, size, &device, &reason)) != KITH_OK)
        err = kith__say_decode(home, path, err, &reason, problem);
    if (!err) err = check_referred(home, path, &device, problem);
    if (!err && (err = kith_device_encode_reference(path, &reference, &reference_size)) != KITH_OK)
        err = kith__say_plain(problem, err);
    if (!err) err = kith__home_write(home, KITH_DEVICE_NAME, reference, reference_size, problem);
    if (!err) *problem = (kith_problem){0};
    kith_free(reference);
    kith_free(data);
    home->env->file->close(lock);
    return err;
}
