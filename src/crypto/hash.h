/* BLAKE2s-256 (RFC 7693), HMAC and HKDF over it as Noise and Hyphae use them. */
#ifndef KITH_CRYPTO_HASH_H
#define KITH_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#define KITH_HASH_SIZE 32

typedef struct kith_bytes {
    const void *data;
    size_t size;
} kith_bytes;

/* BLAKE2s of the concatenation of `n` pieces. */
void kith_blake2s(const kith_bytes *pieces, size_t n, uint8_t out[static KITH_HASH_SIZE]);
/* HMAC-BLAKE2s (RFC 2104, block 64) of the concatenation. */
void kith_hmac_blake2s(const void *key, size_t key_size, const kith_bytes *pieces, size_t n,
                       uint8_t out[static KITH_HASH_SIZE]);
/* The RFC 5869 shape: prk = HMAC(salt, ikm); T1 = HMAC(prk, info || 1); T2 = HMAC(prk, T1 || info || 2); T3 likewise.
 * `count` (1..3) outputs of 32 bytes each into out[count][32].  Noise's HKDF has an empty info. */
void kith_hkdf_blake2s(const uint8_t salt[static KITH_HASH_SIZE], const void *ikm, size_t ikm_size, const void *info,
                       size_t info_size, size_t count, uint8_t out[][KITH_HASH_SIZE]);

#endif
