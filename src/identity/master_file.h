/* master_key.json: what a person's devices have deposited for the holder of the recovery code.
 *
 *     {
 *       "version": 1,
 *       "recovery": {                                      null: there is no recovery code
 *         "sign": 64 hex digits, "open": 64 hex digits     the public halves (identity/recovery.h)
 *         "epoch": 0,                                      how many resets came before
 *         "created_at": RFC 3339 time                      when the code was made, as its maker's clock said
 *       },
 *       "device_private_keys": {                           by UUID, ascending; none without a code
 *         UUID: {"public_key": 64 digits, "sealed": 160 digits}      a deposit, and the Ed25519 key it belongs to
 *       },
 *       "checksum": 32 digits                              BLAKE3 over all of the above: finds damage, no more
 *     }
 *
 * It is derived from the trust graph, and written anew whenever that says something else: nothing but damage makes the
 * two differ, and members we do not know are not kept.  Nothing in it is secret as long as the code is. */
#ifndef KITH_IDENTITY_MASTER_FILE_H
#define KITH_IDENTITY_MASTER_FILE_H

#include "identity/reason.h"
#include "identity/recovery.h"

#define KITH_MASTER_VERSION     1
#define KITH_MASTER_DEVICES_MAX 1024
#define KITH_MASTER_FILE_MAX    (1u << 20) /* bytes of the largest file that is read; 1,024 devices take 400 KiB */

typedef struct kith_master_device { /* no padding */
    uint8_t uuid[KITH_UUID_SIZE];
    uint8_t public_key[KITH_ED25519_PUBLIC_SIZE];
    uint8_t deposit[KITH_DEPOSIT_SIZE];
} kith_master_device;

typedef struct kith_master {
    bool has_recovery; /* else nothing below is set */
    kith_recovery_public recovery;
    uint64_t epoch;
    int64_t created_at_ms; /* since 1970 UTC */
    size_t count;
    kith_master_device devices[KITH_MASTER_DEVICES_MAX]; /* by UUID, ascending */
} kith_master;

KITH_MUST_CHECK kith_err kith_master_new(kith_master **out); /* no code, no devices.  NOMEM */
void kith_master_free(kith_master *master);                  /* NULL is fine */
/* Put in a deposit, in place of one of the same UUID.  LIMIT; STATE without a code. */
KITH_MUST_CHECK kith_err kith_master_put(kith_master *master, const kith_master_device *device);
const kith_master_device *kith_master_find(const kith_master *master,
                                           const uint8_t uuid[static KITH_UUID_SIZE]); /* NULL: none */

/* The file's bytes; release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith_master_encode(const kith_master *master, uint8_t **out, size_t *size);
/* DAMAGED, VERSION (both with a reason), NOMEM. */
KITH_MUST_CHECK kith_err kith_master_decode(const void *data, size_t size, kith_master **out, kith_reason *reason);

#endif
