/* Proofs that need no memory: Retry tokens (RFC 9000 section 8.1.2) and stateless reset tokens (section 10.3). */
#ifndef KITH_QUIC_TOKEN_H
#define KITH_QUIC_TOKEN_H

#include "base/addr.h"
#include "quic/idmap.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_RETRY_TOKEN_MAX  128
#define KITH_RETRY_TOKEN_NS   UINT64_C(10000000000) /* a token's life */
#define KITH_RESET_TOKEN_SIZE 16

typedef struct kith_cid {
    uint8_t size, bytes[KITH_ID_MAX];
} kith_cid;

/* Seals {time, original destination id} for the address and the source id that the Retry gives.  `nonce`: 12 random
 * bytes. */
KITH_MUST_CHECK kith_err kith_token_make(const uint8_t key[static 32], const uint8_t nonce[static 12],
                                         const kith_addr *address, const kith_cid *original,
                                         const kith_cid *retry_source, uint64_t now_ns,
                                         uint8_t out[static KITH_RETRY_TOKEN_MAX], size_t *size);
/* CRYPTO when it was not made by us for this address and id, TIMEOUT when it is older than KITH_RETRY_TOKEN_NS. */
KITH_MUST_CHECK kith_err kith_token_check(const uint8_t key[static 32], const void *token, size_t size,
                                          const kith_addr *address, const kith_cid *retry_source, uint64_t now_ns,
                                          kith_cid *original);

/* A keyed hash of the connection id. */
void kith_token_reset(const uint8_t key[static 32], const void *cid, size_t size,
                      uint8_t out[static KITH_RESET_TOKEN_SIZE]);

#endif
