/* master_key.json on disk. */
#include "store/home_internal.h"

#include "base/mem.h"

#include <string.h>

static const kith_home_file master_file = {KITH_MASTER_NAME, KITH_MASTER_FILE_MAX, KITH_OTHERS_ANY};

/* And the bytes it was read from (NULL when there is no file; release). */
static kith_err read_master(const kith_home *home, kith_master **out, uint8_t **data, size_t *size,
                            kith_problem *problem)
{
    kith_reason reason;
    kith_err err = kith__home_read(home, &master_file, data, size, problem);
    if (err == KITH_ERR_NO_FILE) {
        err = kith_master_new(out);
        return err ? kith__say_plain(problem, err) : KITH_OK;
    }
    if (err) return err;
    err = kith_master_decode(*data, *size, out, &reason);
    return err ? kith__say_decode(home, KITH_MASTER_NAME, err, &reason, problem) : KITH_OK;
}

kith_err kith__home_read_master(const kith_home *home, kith_master **out, kith_problem *problem)
{
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = read_master(home, out, &data, &size, problem);
    kith_free(data);
    return err;
}

kith_err kith_home_load_master(kith_home *home, kith_master **out, kith_problem *problem)
{
    *problem = (kith_problem){0};
    return kith__home_read_master(home, out, problem);
}

/* One of a newer version is not ours to replace; a damaged one is: it is derived. */
kith_err kith__home_write_master(const kith_home *home, const kith_master *master, kith_problem *problem)
{
    kith_master *was = NULL;
    uint8_t *old = NULL, *data = NULL;
    size_t old_size = 0, size = 0;
    kith_err err = read_master(home, &was, &old, &old_size, problem);
    if (err == KITH_ERR_DAMAGED) err = KITH_OK;
    if (!err && (err = kith_master_encode(master, &data, &size)) != KITH_OK) err = kith__say_plain(problem, err);
    bool same = !err && old && old_size == size && memcmp(old, data, size) == 0;
    if (!err && !same) err = kith__home_write(home, KITH_MASTER_NAME, data, size, problem);
    if (!err) *problem = (kith_problem){0};
    kith_master_free(was);
    kith_free(old);
    kith_free(data);
    return err;
}
