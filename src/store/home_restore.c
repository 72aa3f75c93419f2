/* A backup's files into a home. */
#include "store/home_internal.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "identity/backup.h"
#include "identity/graph.h"
#include "store/atomic.h"

#include <stdio.h>
#include <string.h>

static const char *const names[KITH_BACKUP_PARTS] = KITH_BACKUP_NAMES;
static const kith_home_file marker_file = {KITH_RESTORE_NAME, 1024, KITH_OTHERS_ANY};

/* What is in a backup, taken apart; and what becomes of it. */
typedef struct restore {
    const kith_home *home;
    const kith_home_restore_options *options;
    kith_problem *problem;
    kith_backup_content backup;
    kith_device device;
    kith_keys_file keys;
    kith_trust *trust; /* NULL: none */
    kith_master *master;
    uint8_t *written[KITH_BACKUP_PARTS]; /* in place of the backup's */
    size_t written_sizes[KITH_BACKUP_PARTS];
    uint8_t *marker; /* what an interrupted restore left; NULL: none */
    size_t marker_size;
    bool making[KITH_BACKUP_PARTS]; /* files of the home that this makes */
} restore;

static void restore_done(restore *r)
{
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) kith_free(r->written[i]);
    kith_free(r->marker);
    kith_trust_free(r->trust);
    kith_master_free(r->master);
    kith_backup_done(&r->backup);
}

/* ---- opening ---- */

static kith_err say_backup(const restore *r, kith_err err, const kith_reason *reason)
{
    kith_path_text shown = kith__path_text(r->options->path, "");
    switch (err) {
    case KITH_ERR_DAMAGED:
    case KITH_ERR_LIMIT:
    case KITH_ERR_NOT_REGULAR:
        return kith__say(r->problem, KITH_ERR_DAMAGED,
                         "%s cannot be restored (%s): use another backup. Nothing was changed.", shown.text,
                         err == KITH_ERR_DAMAGED ? reason->text : "it is no backup of Kith");
    case KITH_ERR_VERSION:
        return kith__say(r->problem, err, "%s was written by a newer version of Kith (%s): upgrade Kith on this device",
                         shown.text, reason->text);
    case KITH_ERR_PASSWORD:
        return kith__say(r->problem, err,
                         "wrong password: %s is sealed with the one that its device had when it was made", shown.text);
    case KITH_ERR_CODE:
        return kith__say(r->problem, err,
                         "wrong recovery code: %s opens with the one that was in force when it was made", shown.text);
    case KITH_ERR_STATE:
        return kith__say(r->problem, err, "%s was made when there was no recovery code: only its password opens it",
                         shown.text);
    case KITH_ERR_ARG: return kith__say(r->problem, err, "the password is empty");
    case KITH_ERR_NO_FILE:
        return kith__say(r->problem, err, "there is no file %s: say where the backup is", shown.text);
    default: return kith__say(r->problem, err, "reading %s: %s", shown.text, kith_err_text(err));
    }
}

static kith_err open_backup(restore *r)
{
    kith_reason reason = {""};
    uint8_t *data = NULL;
    size_t size = 0;
    const kith_home_restore_options *o = r->options;
    kith_err err = kith_read_whole(r->home->env, o->path, KITH_BACKUP_FILE_MAX, &data, &size, NULL);
    if (!err)
        err = o->code ? kith_backup_open_code(data, size, o->code, &r->backup, &reason)
                      : kith_backup_open(data, size, o->password, &r->backup, &reason);
    kith_free(data);
    return err ? say_backup(r, err, &reason) : KITH_OK;
}

/* Every part has to be what it should, before anything is written. */
static kith_err take_apart(restore *r)
{
    kith_reason reason = {""};
    kith_graph *graph = NULL;
    kith_config config = {{NULL}};
    const kith_backup_content *b = &r->backup;
    kith_err err =
        kith_device_decode(b->parts[KITH_BACKUP_DEVICE].data, b->parts[KITH_BACKUP_DEVICE].size, &r->device, &reason);
    if (!err)
        err = kith_keys_decode(b->parts[KITH_BACKUP_KEYS].data, b->parts[KITH_BACKUP_KEYS].size, &r->keys, &reason);
    if (!err && b->parts[KITH_BACKUP_TRUST].data)
        err = kith_trust_decode(b->parts[KITH_BACKUP_TRUST].data, b->parts[KITH_BACKUP_TRUST].size, &r->trust, &reason);
    if (!err && b->parts[KITH_BACKUP_MASTER].data)
        err = kith_master_decode(b->parts[KITH_BACKUP_MASTER].data, b->parts[KITH_BACKUP_MASTER].size, &r->master,
                                 &reason);
    if (!err && b->parts[KITH_BACKUP_GRAPH].data)
        err = kith_graph_decode(b->parts[KITH_BACKUP_GRAPH].data, b->parts[KITH_BACKUP_GRAPH].size, true, &graph,
                                &reason);
    if (!err && b->parts[KITH_BACKUP_CONFIG].data)
        err =
            kith_config_decode(b->parts[KITH_BACKUP_CONFIG].data, b->parts[KITH_BACKUP_CONFIG].size, &config, &reason);
    kith_config_done(&config);
    kith_graph_free(graph);
    if (!err && memcmp(r->keys.device_id, r->device.id, sizeof r->device.id) != 0) {
        snprintf(reason.text, sizeof reason.text, "its files are of two different devices");
        err = KITH_ERR_DAMAGED;
    }
    if (!err && (err = kith_backup_verify(b, r->keys.public_key)) != KITH_OK) {
        snprintf(reason.text, sizeof reason.text, "it was not made by the device that it is of");
        err = err == KITH_ERR_SIGNATURE ? KITH_ERR_DAMAGED : err;
    }
    return err ? say_backup(r, err, &reason) : KITH_OK;
}

/* ---- which device, and its keys ---- */

/* With the code: the seed from the deposit, sealed under the new password. */
static kith_err seal_anew(restore *r)
{
    uint8_t *seed = NULL;
    kith_reason reason;
    if (!r->master)
        return kith__say(r->problem, KITH_ERR_STATE, "that backup was made when there was no recovery code");
    kith_err err =
        kith__home_open_deposit(r->master, r->device.id, r->keys.public_key, r->options->code, &seed, r->problem);
    if (err) return err;
    if (!kith__no_kdf(&r->options->kdf)) r->keys.kdf = r->options->kdf;
    if (!r->options->check)
        err = kith__home_seal_keys(&r->keys, r->options->password, seed, r->options->rng, r->problem);
    kith_secret_free(seed);
    if (err || r->options->check) return err;
    err = kith_keys_encode(&r->keys, NULL, 0, &r->written[KITH_BACKUP_KEYS], &r->written_sizes[KITH_BACKUP_KEYS],
                           &reason);
    return err ? kith__say_plain(r->problem, err) : KITH_OK;
}

/* The backup's device becomes one of the others, and the one that is restored leaves them.  Contacts stay with the
 * device that paired with them. */
static kith_err exchange_trust(restore *r, const kith_peer *chosen)
{
    kith_peer was;
    kith_trust *others = NULL;
    kith_err err = kith_trust_new(&others);
    for (size_t i = 0; i < kith_trust_count(r->trust) && !err; i++) {
        kith_peer peer = *kith_trust_at(r->trust, i);
        if (peer.kind != KITH_PEER_OWN || memcmp(peer.uuid, chosen->uuid, sizeof peer.uuid) == 0) continue;
        peer.verified = false; /* that was between the other two */
        err = kith_trust_add(others, &peer, NULL);
    }
    if (!err)
        err = kith_peer_make(r->device.id, r->keys.public_key, r->device.name, r->device.os, r->device.hardware_model,
                             KITH_PEER_OWN, r->options->now_ms, &was);
    if (!err) was.how = KITH_PEER_PAIRED;
    if (!err) err = kith_trust_add(others, &was, NULL);
    if (!err) err = kith_trust_encode(others, &r->written[KITH_BACKUP_TRUST], &r->written_sizes[KITH_BACKUP_TRUST]);
    kith_trust_free(others);
    return err ? kith__say_plain(r->problem, err) : KITH_OK;
}

static kith_err become(restore *r, const kith_peer *chosen)
{
    kith_reason reason;
    kith_err err = exchange_trust(r, chosen);
    if (err) return err;
    r->device = (kith_device){0};
    memcpy(r->device.id, chosen->uuid, sizeof r->device.id);
    memcpy(r->device.name, chosen->name, sizeof r->device.name);
    memcpy(r->device.os, chosen->os, sizeof r->device.os);
    memcpy(r->device.hardware_model, chosen->hardware_model, sizeof r->device.hardware_model);
    memcpy(r->keys.device_id, chosen->uuid, sizeof r->keys.device_id);
    memcpy(r->keys.public_key, chosen->ed25519, sizeof r->keys.public_key);
    r->keys.created_at_ms = r->options->now_ms;
    err = kith_device_encode(&r->device, NULL, 0, &r->written[KITH_BACKUP_DEVICE],
                             &r->written_sizes[KITH_BACKUP_DEVICE], &reason);
    return err ? kith__say_plain(r->problem, err) : KITH_OK;
}

static bool means_itself(const restore *r, const char *text)
{
    uint8_t id[KITH_UUID_SIZE];
    if (kith_uuid_parse(text, id) == KITH_OK) return memcmp(id, r->device.id, sizeof id) == 0;
    return strcmp(text, r->device.name) == 0;
}

static kith_err choose_device(restore *r)
{
    const kith_peer *found[1];
    const char *text = r->options->device;
    size_t count = 0;
    char shown[256];
    if (!text || means_itself(r, text)) return KITH_OK;
    kith_err err = r->trust ? kith_trust_find(r->trust, text, found, 1, &count) : KITH_ERR_NOT_FOUND;
    if (!err && found[0]->kind != KITH_PEER_OWN) err = KITH_ERR_NOT_FOUND;
    if (!err) return become(r, found[0]);
    kith_printable(text, strlen(text), shown, sizeof shown);
    if (err == KITH_ERR_AMBIGUOUS)
        return kith__say(r->problem, err, "\"%s\" fits several devices of that backup: say more of its name or id",
                         shown);
    return kith__say(r->problem, err, "that backup knows no own device \"%s\"", shown);
}

/* ---- writing ---- */

static bool marked(const restore *r, const char *name)
{
    size_t size = strlen(name);
    for (const uint8_t *at = r->marker, *end = at ? at + r->marker_size : at; at && at < end;) {
        const uint8_t *line = memchr(at, '\n', (size_t)(end - at));
        if (!line) return false;
        if ((size_t)(line - at) == size && memcmp(at, name, size) == 0) return true;
        at = line + 1;
    }
    return false;
}

static const uint8_t *part_of(const restore *r, size_t part, size_t *size)
{
    *size = r->written[part] ? r->written_sizes[part] : r->backup.parts[part].size;
    return r->written[part] ? r->written[part] : r->backup.parts[part].data;
}

/* Which files are to be made: those that are missing, and those that an interrupted restore has made. */
static kith_err plan(restore *r)
{
    kith_file_info info;
    size_t size;
    kith_err err = kith__home_read(r->home, &marker_file, &r->marker, &r->marker_size, r->problem);
    if (err && err != KITH_ERR_NO_FILE) return err;
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        err = kith__home_stat(r->home, names[i], &info);
        if (err && err != KITH_ERR_NO_FILE) return kith__say_disk(r->home, names[i], "looking at", err, r->problem);
        r->making[i] = part_of(r, i, &size) && (err == KITH_ERR_NO_FILE || marked(r, names[i]));
    }
    return KITH_OK;
}

static kith_err say_there(const restore *r, const char *name)
{
    return kith__say(
        r->problem, KITH_ERR_EXISTS,
        "%s is there already, and with it an identity: move it away first, or restore into another folder. "
        "Nothing was changed.",
        kith__home_path(r->home, name).text);
}

/* A device.json that stays has to be this device's, and without keys of its own. */
static kith_err check_device(const restore *r)
{
    kith_identity found = {0};
    kith_keys_file inside;
    kith_reason reason;
    kith_err err = kith__home_read_device(r->home, &found, r->problem);
    if (!err &&
        kith_keys_decode_flattened(found.device_data, found.device_size, &inside, &reason) != KITH_ERR_NOT_FOUND)
        err = say_there(r, KITH_DEVICE_NAME);
    if (!err && memcmp(found.device.id, r->device.id, sizeof r->device.id) != 0)
        err = kith__say(r->problem, KITH_ERR_EXISTS, "%s is of another device than the backup: move it away first",
                        kith__home_path(r->home, KITH_DEVICE_NAME).text);
    kith__identity_done(&found);
    return err;
}

static kith_err check_home(const restore *r)
{
    kith_file_info info;
    kith_err err = kith__home_stat(r->home, KITH_KEYS_NAME, &info);
    if (!err) return say_there(r, KITH_KEYS_NAME);
    if (err != KITH_ERR_NO_FILE) return kith__say_disk(r->home, KITH_KEYS_NAME, "looking at", err, r->problem);
    return r->making[KITH_BACKUP_DEVICE] ? KITH_OK : check_device(r);
}

static kith_err write_marker(const restore *r)
{
    char text[KITH_BACKUP_PARTS * 32] = "";
    size_t n = 0;
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++)
        if (r->making[i]) n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", names[i]);
    return kith__home_write(r->home, KITH_RESTORE_NAME, text, n, r->problem);
}

/* Best effort: the error to report is the one that led here. */
static void take_back(const restore *r)
{
    kith_env *env = r->home->env;
    for (size_t i = 0; i <= KITH_BACKUP_PARTS; i++) {
        const char *name = i < KITH_BACKUP_PARTS ? names[i] : KITH_RESTORE_NAME;
        char *path = i == KITH_BACKUP_PARTS || r->making[i] ? kith_path_join(r->home->folder, name) : NULL;
        if (path) (void)env->file->remove(env, path);
        kith_free(path);
    }
    (void)env->file->sync_folder(env, r->home->folder);
}

/* The keys come last (KITH_BACKUP_KEYS is the last part): with them the identity is there. */
static kith_err write_all(const restore *r)
{
    char *marker = kith_path_join(r->home->folder, KITH_RESTORE_NAME);
    kith_err err = marker ? write_marker(r) : kith__say_plain(r->problem, KITH_ERR_NOMEM);
    for (size_t i = 0; i < KITH_BACKUP_PARTS && !err; i++) {
        size_t size;
        const uint8_t *data = part_of(r, i, &size);
        if (r->making[i]) err = kith__home_write(r->home, names[i], data, size, r->problem);
    }
    if (err)
        take_back(r);
    else
        (void)r->home->env->file->remove(r->home->env, marker); /* harmless once the keys are there */
    kith_free(marker);
    return err;
}

static kith_err run(restore *r, kith_home_self *self)
{
    kith_file *lock = NULL;
    kith_identity made = {.has_device = true, .has_keys = true};
    if (r->options->device && !r->options->code)
        return kith__say(r->problem, KITH_ERR_ARG, "another device than the backup's own needs the recovery code");
    kith_err err = open_backup(r);
    if (!err) err = take_apart(r);
    if (!err) err = choose_device(r);
    if (!err && r->options->code) err = seal_anew(r);
    if (!err && r->options->check) {
        err = plan(r);
        return err ? err : check_home(r);
    }
    if (!err) err = kith__home_folders(r->home, r->problem);
    if (!err) err = kith__home_lock(r->home, &lock, r->problem);
    if (!err) err = plan(r);
    if (!err) err = check_home(r);
    if (!err) err = write_all(r);
    r->home->env->file->close(lock);
    if (err) return err;
    made.device = r->device;
    made.keys = r->keys;
    kith__describe(&made, self);
    return KITH_OK;
}

kith_err kith_home_restore(kith_home *home, const kith_home_restore_options *options, kith_home_self *self,
                           kith_problem *problem)
{
    restore r = {.home = home, .options = options, .problem = problem};
    *problem = (kith_problem){0};
    kith_err err = run(&r, self);
    restore_done(&r);
    return err;
}
