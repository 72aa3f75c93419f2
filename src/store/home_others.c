/* What the home knows of the others: trust.cbor and seen.cbor. */
#include "store/home_internal.h"

#include "base/mem.h"

#include <string.h>

static const kith_home_file trust_file = {KITH_TRUST_NAME, KITH_TRUST_FILE_MAX, KITH_OTHERS_ANY};
static const kith_home_file seen_file = {KITH_SEEN_NAME, KITH_SEEN_FILE_MAX, KITH_OTHERS_ANY};

/* The set and the bytes it was read from (NULL when there is no file; release). */
static kith_err read_trust(const kith_home *home, kith_trust **out, uint8_t **data, size_t *size, kith_problem *problem)
{
    kith_reason reason;
    kith_err err = kith__home_read(home, &trust_file, data, size, problem);
    if (err == KITH_ERR_NO_FILE) {
        err = kith_trust_new(out);
        return err ? kith__say_plain(problem, err) : KITH_OK;
    }
    if (err) return err;
    err = kith_trust_decode(*data, *size, out, &reason);
    return err ? kith__say_decode(home, KITH_TRUST_NAME, err, &reason, problem) : KITH_OK;
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
    kith_err err = kith__home_lock(home, &lock, problem);
    if (!err) err = read_trust(home, &trust, &old, &old_size, problem);
    if (!err && (err = fn(trust, user)))
        problem->err = err;
    else if (!err && (err = kith_trust_encode(trust, &data, &size)))
        kith__say_plain(problem, err);
    bool same = !err && old && old_size == size && memcmp(old, data, size) == 0;
    if (!err && !same) err = kith__home_write(home, KITH_TRUST_NAME, data, size, problem);
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
    if (kith__home_stat(home, KITH_TRUST_NAME, &info) == KITH_OK) {
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
