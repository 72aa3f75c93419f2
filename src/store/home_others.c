/* What the home knows of the others: trust.cbor and seen.cbor. */
#include "store/home_internal.h"

#include "base/mem.h"

#include <string.h>

static const kith_home_file trust_file = {KITH_TRUST_NAME, KITH_TRUST_FILE_MAX, KITH_OTHERS_ANY};
static const kith_home_file seen_file = {KITH_SEEN_NAME, KITH_SEEN_FILE_MAX, KITH_OTHERS_ANY};

/* The set and the bytes it was read from (NULL when there is no file; release), with what the trust graph says. */
static kith_err read_trust(const kith_home *home, kith_trust **out, uint8_t **data, size_t *size, kith_problem *problem)
{
    kith_reason reason;
    kith_trust *trust = NULL;
    kith_err err = kith__home_read(home, &trust_file, data, size, problem);
    if (!err && (err = kith_trust_decode(*data, *size, &trust, &reason)) != KITH_OK)
        err = kith__say_decode(home, KITH_TRUST_NAME, err, &reason, problem);
    if (err == KITH_ERR_NO_FILE && (err = kith_trust_new(&trust)) != KITH_OK) kith__say_plain(problem, err);
    if (!err) err = kith__home_derive_trust(home, trust, problem);
    if (err)
        kith_trust_free(trust);
    else
        *out = trust;
    return err;
}

kith_err kith__home_read_trust(const kith_home *home, kith_trust **out, kith_problem *problem)
{
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = read_trust(home, out, &data, &size, problem);
    kith_free(data);
    return err;
}

kith_err kith_home_load_trust(kith_home *home, kith_trust **out, kith_problem *problem)
{
    *problem = (kith_problem){0};
    return kith__home_read_trust(home, out, problem);
}

/* In place of `old` (NULL: no file). */
static kith_err write_trust(const kith_home *home, const kith_trust *trust, const uint8_t *old, size_t old_size,
                            kith_problem *problem)
{
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_trust_encode(trust, &data, &size);
    if (err) return kith__say_plain(problem, err);
    bool same = old && old_size == size && memcmp(old, data, size) == 0;
    if (!same) err = kith__home_write(home, KITH_TRUST_NAME, data, size, problem);
    kith_free(data);
    return err;
}

kith_err kith__home_write_trust(const kith_home *home, const kith_trust *trust, kith_problem *problem)
{
    uint8_t *old = NULL;
    size_t size = 0;
    kith_err err = kith__home_read(home, &trust_file, &old, &size, problem);
    if (!err || err == KITH_ERR_NO_FILE)
        err = err && kith_trust_count(trust) == 0 ? KITH_OK : write_trust(home, trust, old, size, problem);
    kith_free(old);
    return err;
}

kith_err kith_home_update_trust(kith_home *home, kith_home_trust_fn *fn, void *user, kith_problem *problem)
{
    kith_file *lock = NULL;
    kith_trust *trust = NULL;
    uint8_t *old = NULL;
    size_t old_size = 0;
    *problem = (kith_problem){0};
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = read_trust(home, &trust, &old, &old_size, problem);
    if (!err && (err = fn(trust, user)))
        problem->err = err;
    else if (!err)
        err = write_trust(home, trust, old, old_size, problem);
    kith_free(old);
    kith_trust_free(trust);
    home->env->file->close(lock);
    return err;
}

/* Is it another file than before? */
static bool stamp_one(const kith_home *home, const char *name, kith_file_stamp *stamp)
{
    kith_file_stamp now = {0};
    kith_file_info info;
    if (*name && kith__home_stat(home, name, &info) == KITH_OK)
        now = (kith_file_stamp){info.inode, info.size, info.modified_ns, info.changed_ns};
    bool same = memcmp(stamp, &now, sizeof now) == 0;
    *stamp = now;
    return !same;
}

/* One that cannot be told is not watched. */
static void find_elsewhere(const kith_home *home, kith_home_stamp *stamp)
{
    kith_problem ignored;
    char *path = NULL;
    *stamp->elsewhere = 0;
    if (kith__home_find_device(home, &path, &ignored) == KITH_OK && path && strlen(path) < sizeof stamp->elsewhere)
        strcpy(stamp->elsewhere, path);
    kith_free(path);
}

bool kith_home_trust_changed(kith_home *home, kith_home_stamp *stamp)
{
    bool changed = !stamp->asked;
    changed |= stamp_one(home, KITH_TRUST_NAME, &stamp->trust);
    changed |= stamp_one(home, KITH_GRAPH_NAME, &stamp->graph);
    if (stamp_one(home, KITH_DEVICE_NAME, &stamp->device) || !stamp->asked) {
        find_elsewhere(home, stamp);
        changed = true;
    }
    changed |= stamp_one(home, stamp->elsewhere, &stamp->theirs);
    stamp->asked = true;
    return changed;
}

kith_err kith_home_load_seen(kith_home *home, kith_seen **out)
{
    kith_problem ignored = {0};
    kith_reason reason;
    kith_seen *seen = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith__home_read(home, &seen_file, &data, &size, &ignored);
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
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err && (err = kith_home_load_seen(home, &seen))) kith__say_plain(problem, err);
    if (!err && (err = fn(seen, user))) problem->err = err;
    if (!err && (err = kith_seen_encode(seen, &data, &size))) kith__say_plain(problem, err);
    if (!err) err = kith__home_write(home, KITH_SEEN_NAME, data, size, problem);
    kith_free(data);
    kith_seen_free(seen);
    home->env->file->close(lock);
    return err;
}
