#include "crypto/keys.h"

#include "base/mem.h"

#include <sodium.h>
#include <string.h>

kith_err kith_crypto_init(void) { return sodium_init() < 0 ? KITH_ERR_INTERNAL : KITH_OK; }

/* libsodium's secret key: the seed and the public key. */
static void expand(const uint8_t seed[static KITH_ED25519_SEED_SIZE], uint8_t secret[static crypto_sign_SECRETKEYBYTES])
{
    uint8_t public_key[KITH_ED25519_PUBLIC_SIZE];
    crypto_sign_seed_keypair(public_key, secret, seed);
}

void kith_ed25519_public(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                         uint8_t out[static KITH_ED25519_PUBLIC_SIZE])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    crypto_sign_seed_keypair(out, secret, seed);
    kith_wipe(secret, sizeof secret);
}

void kith_ed25519_sign(const uint8_t seed[static KITH_ED25519_SEED_SIZE], const void *message, size_t size,
                       uint8_t out[static KITH_ED25519_SIGNATURE_SIZE])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    expand(seed, secret);
    crypto_sign_detached(out, NULL, message, size, secret);
    kith_wipe(secret, sizeof secret);
}

kith_err kith_ed25519_verify(const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE], const void *message,
                             size_t size, const uint8_t signature[static KITH_ED25519_SIGNATURE_SIZE])
{
    return crypto_sign_verify_detached(signature, message, size, public_key) ? KITH_ERR_SIGNATURE : KITH_OK;
}

void kith_ed25519_seed_to_x25519(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                                 uint8_t out[static KITH_X25519_SIZE])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    expand(seed, secret);
    crypto_sign_ed25519_sk_to_curve25519(out, secret);
    kith_wipe(secret, sizeof secret);
}

kith_err kith_ed25519_public_to_x25519(const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                       uint8_t out[static KITH_X25519_SIZE])
{
    uint8_t converted[KITH_X25519_SIZE];
    if (crypto_sign_ed25519_pk_to_curve25519(converted, public_key)) return KITH_ERR_CRYPTO;
    memcpy(out, converted, sizeof converted);
    return KITH_OK;
}

void kith_x25519_public(const uint8_t secret[static KITH_X25519_SIZE], uint8_t out[static KITH_X25519_SIZE])
{
    crypto_scalarmult_curve25519_base(out, secret);
}

kith_err kith_x25519(const uint8_t secret[static KITH_X25519_SIZE], const uint8_t public_key[static KITH_X25519_SIZE],
                     uint8_t out[static KITH_X25519_SIZE])
{
    uint8_t shared[KITH_X25519_SIZE];
    /* refuses the points of low order, and an all-zero result in case it knew not all of them */
    if (crypto_scalarmult_curve25519(shared, secret, public_key)) return KITH_ERR_CRYPTO;
    memcpy(out, shared, sizeof shared);
    kith_wipe(shared, sizeof shared);
    return KITH_OK;
}
