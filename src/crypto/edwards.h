/* From a device's Noise key back to its signing key: the birational map of RFC 7748 section 4.1, y = (u - 1) / (u + 1),
 * in the other direction than crypto/keys.h.  Public values only: not in constant time. */
#ifndef KITH_CRYPTO_EDWARDS_H
#define KITH_CRYPTO_EDWARDS_H

#include "crypto/keys.h"

/* The two Ed25519 public keys that have this X25519 form; they differ in the sign bit alone.  CRYPTO: there are none,
 * or no memory. */
KITH_MUST_CHECK kith_err kith_x25519_to_ed25519(const uint8_t x25519[static KITH_X25519_SIZE],
                                                uint8_t out[static 2][KITH_ED25519_PUBLIC_SIZE]);

#endif
