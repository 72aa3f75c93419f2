/* Argon2id version 1.3 (RFC 9106) by libargon2, with bounds so that a file or a peer cannot ask for absurd work. */
#ifndef KITH_CRYPTO_KDF_H
#define KITH_CRYPTO_KDF_H

#include "crypto/hash.h"

#include <kith/error.h>

#define KITH_KDF_SALT_SIZE      32
#define KITH_KDF_MEMORY_KIB     65536u /* the default: 64 MiB, t = 3, p = 4 (RFC 9106 section 4, second choice) */
#define KITH_KDF_PASSES         3u
#define KITH_KDF_LANES          4u
#define KITH_KDF_MEMORY_MIN_KIB 8u
#define KITH_KDF_MEMORY_MAX_KIB (1024u * 1024u)
#define KITH_KDF_PASSES_MAX     64u
#define KITH_KDF_LANES_MAX      64u

typedef struct kith_kdf_params {
    uint32_t memory_kib, passes, lanes;
} kith_kdf_params;

/* FORMAT when the parameters are out of bounds (memory is at least 8 KiB a lane) or the salt is under 8 bytes, LIMIT
 * for a field above 1 MiB, NOMEM when the memory is not there, ARG unless out_size is 4..64.  At most KITH_KDF_LANES
 * threads work at once. */
KITH_MUST_CHECK kith_err kith_kdf(const kith_kdf_params *params, kith_bytes password, kith_bytes salt,
                                  kith_bytes secret, kith_bytes ad, uint8_t *out, size_t out_size);

#endif
