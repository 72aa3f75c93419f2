/* Ed25519 (RFC 8032) and X25519 (RFC 7748) on libsodium; keys always from the caller's bytes, never from the system. */
#ifndef KITH_CRYPTO_KEYS_H
#define KITH_CRYPTO_KEYS_H

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_ED25519_SEED_SIZE      32
#define KITH_ED25519_PUBLIC_SIZE    32
#define KITH_ED25519_SIGNATURE_SIZE 64
#define KITH_X25519_SIZE            32

/* libsodium wants this before anything else; safe to call often and from any thread. */
KITH_MUST_CHECK kith_err kith_crypto_init(void);

void kith_ed25519_public(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                         uint8_t out[static KITH_ED25519_PUBLIC_SIZE]);
void kith_ed25519_sign(const uint8_t seed[static KITH_ED25519_SEED_SIZE], const void *message, size_t size,
                       uint8_t out[static KITH_ED25519_SIGNATURE_SIZE]);
/* SIGNATURE when it does not verify. */
KITH_MUST_CHECK kith_err kith_ed25519_verify(const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                             const void *message, size_t size,
                                             const uint8_t signature[static KITH_ED25519_SIGNATURE_SIZE]);

/* The X25519 form of an Ed25519 key.  The public conversion loses the sign bit, so two Ed25519 keys share one X25519
 * key: a signature must bind which (our hello does).  CRYPTO for a point of low order. */
void kith_ed25519_seed_to_x25519(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                                 uint8_t out[static KITH_X25519_SIZE]);
KITH_MUST_CHECK kith_err kith_ed25519_public_to_x25519(const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                                       uint8_t out[static KITH_X25519_SIZE]);

void kith_x25519_public(const uint8_t secret[static KITH_X25519_SIZE], uint8_t out[static KITH_X25519_SIZE]);
/* CRYPTO when the result is all zero (a low-order point). */
KITH_MUST_CHECK kith_err kith_x25519(const uint8_t secret[static KITH_X25519_SIZE],
                                     const uint8_t public_key[static KITH_X25519_SIZE],
                                     uint8_t out[static KITH_X25519_SIZE]);

#endif
