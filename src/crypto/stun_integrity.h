/* STUN's MESSAGE-INTEGRITY (RFC 8489 section 14.5): HMAC-SHA1 with a shared key.  Kith's own requests have no
 * credentials; it is for servers and peers that use them. */
#ifndef KITH_CRYPTO_STUN_INTEGRITY_H
#define KITH_CRYPTO_STUN_INTEGRITY_H

#include "wire/stun.h"

#define KITH_STUN_INTEGRITY_SIZE 20

/* The code over a message up to `at`, where the attribute begins, its length as if it ended with the attribute. */
KITH_MUST_CHECK kith_err kith_stun_integrity(const void *message, size_t at, const void *key, size_t key_size,
                                             uint8_t out[static KITH_STUN_INTEGRITY_SIZE]);
/* `read` is what kith_stun_read made of `message`.  NOT_FOUND: it has no MESSAGE-INTEGRITY; CRYPTO: a wrong one. */
KITH_MUST_CHECK kith_err kith_stun_integrity_check(const void *message, const kith_stun_message *read, const void *key,
                                                   size_t key_size);

#endif
