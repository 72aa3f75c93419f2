/* ChaCha20-Poly1305 (RFC 8439, 96-bit nonces) on OpenSSL's EVP with one context per key and direction, which is what
 * makes it fast; and the ChaCha20 header-protection mask of RFC 9001 section 5.4.4 on libsodium. */
#ifndef KITH_CRYPTO_AEAD_H
#define KITH_CRYPTO_AEAD_H

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_AEAD_KEY_SIZE   32
#define KITH_AEAD_NONCE_SIZE 12
#define KITH_AEAD_TAG_SIZE   16
#define KITH_HP_SAMPLE_SIZE  16
#define KITH_HP_MASK_SIZE    5

/* One key, for sealing and opening by one thread. */
typedef struct kith_aead kith_aead;

KITH_MUST_CHECK kith_err kith_aead_new(const uint8_t key[static KITH_AEAD_KEY_SIZE], kith_aead **out);
void kith_aead_free(kith_aead *aead); /* wipes the key; NULL is fine */

/* out[size + 16] = ciphertext || tag.  `out` may be `plain` itself, else they do not overlap. */
KITH_MUST_CHECK kith_err kith_aead_seal(kith_aead *aead, const uint8_t nonce[static KITH_AEAD_NONCE_SIZE],
                                        const void *ad, size_t ad_size, const void *plain, size_t size, uint8_t *out);
/* `size` counts the tag; out[size - 16].  CRYPTO when it is not authentic (then `out` holds nothing useful). In place
 * as above. */
KITH_MUST_CHECK kith_err kith_aead_open(kith_aead *aead, const uint8_t nonce[static KITH_AEAD_NONCE_SIZE],
                                        const void *ad, size_t ad_size, const void *sealed, size_t size, uint8_t *out);

/* One-shot forms for what happens once per handshake or file. */
KITH_MUST_CHECK kith_err kith_aead_seal_once(const uint8_t key[static KITH_AEAD_KEY_SIZE],
                                             const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *ad,
                                             size_t ad_size, const void *plain, size_t size, uint8_t *out);
KITH_MUST_CHECK kith_err kith_aead_open_once(const uint8_t key[static KITH_AEAD_KEY_SIZE],
                                             const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *ad,
                                             size_t ad_size, const void *sealed, size_t size, uint8_t *out);

/* ChaCha20 keystream bytes 0..4 with counter = LE32 of sample[0..4], nonce = sample[4..16]. */
void kith_hp_mask(const uint8_t key[static 32], const uint8_t sample[static KITH_HP_SAMPLE_SIZE],
                  uint8_t mask[static KITH_HP_MASK_SIZE]);

#endif
