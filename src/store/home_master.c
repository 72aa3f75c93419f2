/* master_key.json on disk. */
#include "store/home_internal.h"

#include "base/mem.h"
#include "crypto/secret.h"

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

kith_err kith__home_open_deposit(const kith_master *master, const uint8_t uuid[static KITH_UUID_SIZE],
                                 const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                 const uint8_t code[static KITH_RECOVERY_CODE_SIZE], uint8_t **out,
                                 kith_problem *problem)
{
    const kith_master_device *device = kith_master_find(master, uuid);
    kith_recovery_public of_code;
    if (!master->has_recovery)
        return kith__say(problem, KITH_ERR_STATE,
                         "there is no recovery code for this device: `kith recovery new` makes one, with the password");
    kith_recovery_derive(code, &of_code);
    if (!kith_recovery_same(&of_code, &master->recovery))
        return kith__say(problem, KITH_ERR_CODE, "this is not the recovery code that is in force here");
    if (!device || memcmp(device->public_key, public_key, KITH_ED25519_PUBLIC_SIZE) != 0)
        return kith__say(problem, KITH_ERR_STATE, "that device has not deposited its key for this recovery code");
    uint8_t *seed = kith_secret_new(KITH_ED25519_SEED_SIZE);
    kith_err err = seed ? kith_deposit_open(code, uuid, public_key, device->deposit, seed) : KITH_ERR_NOMEM;
    if (!err)
        *out = seed;
    else
        kith_secret_free(seed);
    return err ? kith__say_plain(problem, err) : KITH_OK;
}

/* One that cannot be read is not replaced, although it is derived: nothing in a home goes unsaid. */
kith_err kith__home_write_master(const kith_home *home, const kith_master *master, kith_problem *problem)
{
    kith_master *was = NULL;
    uint8_t *old = NULL, *data = NULL;
    size_t old_size = 0, size = 0;
    kith_err err = read_master(home, &was, &old, &old_size, problem);
    if (!err && (err = kith_master_encode(master, &data, &size)) != KITH_OK) err = kith__say_plain(problem, err);
    bool same = !err && old && old_size == size && memcmp(old, data, size) == 0;
    if (!err && !same) err = kith__home_write(home, KITH_MASTER_NAME, data, size, problem);
    if (!err) *problem = (kith_problem){0};
    kith_master_free(was);
    kith_free(old);
    kith_free(data);
    return err;
}

kith_err kith__home_deposit(const kith_identity *identity, const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                            kith_rng *rng, kith_master *master)
{
    kith_master_device own;
    uint8_t ephemeral[KITH_X25519_SIZE];
    kith_rng_bytes(rng, ephemeral, sizeof ephemeral);
    memcpy(own.uuid, identity->device.id, sizeof own.uuid);
    memcpy(own.public_key, identity->keys.public_key, sizeof own.public_key);
    kith_err err = kith_deposit_seal(&master->recovery, own.uuid, seed, ephemeral, own.deposit);
    kith_wipe(ephemeral, sizeof ephemeral);
    return err ? err : kith_master_put(master, &own);
}
