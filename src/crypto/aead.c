#include "crypto/aead.h"

#include "base/mem.h"

#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

/* Each context is keyed once; a record then sets its nonce alone, which neither allocates nor schedules the key again.
 */
struct kith_aead {
    EVP_CIPHER_CTX *seal, *open;
};

static EVP_CIPHER *cipher;

/* Looking an algorithm up takes OpenSSL longer than keying it.  The reference lasts as long as the process. */
static void fetch(void) { cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL); }

kith_err kith_aead_new(const uint8_t key[static KITH_AEAD_KEY_SIZE], kith_aead **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch);
    if (!cipher) return KITH_ERR_UNSUPPORTED;
    kith_aead *aead = kith_calloc(1, sizeof *aead);
    if (!aead) return KITH_ERR_NOMEM;
    aead->seal = EVP_CIPHER_CTX_new();
    aead->open = EVP_CIPHER_CTX_new();
    if (!aead->seal || !aead->open || !EVP_EncryptInit_ex(aead->seal, cipher, NULL, key, NULL) ||
        !EVP_DecryptInit_ex(aead->open, cipher, NULL, key, NULL)) {
        kith_aead_free(aead);
        return KITH_ERR_NOMEM;
    }
    *out = aead;
    return KITH_OK;
}

void kith_aead_free(kith_aead *aead)
{
    if (!aead) return;
    EVP_CIPHER_CTX_free(aead->seal); /* which wipes the key */
    EVP_CIPHER_CTX_free(aead->open);
    kith_free(aead);
}

kith_err kith_aead_seal(kith_aead *aead, const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *ad,
                        size_t ad_size, const void *plain, size_t size, uint8_t *out)
{
    int done, last;
    if (ad_size > INT_MAX || size > INT_MAX) return KITH_ERR_LIMIT;
    if (!EVP_EncryptInit_ex(aead->seal, NULL, NULL, NULL, nonce) ||
        (ad_size > 0 && !EVP_EncryptUpdate(aead->seal, NULL, &done, ad, (int)ad_size)) ||
        (size > 0 && !EVP_EncryptUpdate(aead->seal, out, &done, plain, (int)size)) ||
        !EVP_EncryptFinal_ex(aead->seal, out + size, &last) ||
        !EVP_CIPHER_CTX_ctrl(aead->seal, EVP_CTRL_AEAD_GET_TAG, KITH_AEAD_TAG_SIZE, out + size))
        return KITH_ERR_INTERNAL;
    return KITH_OK;
}

kith_err kith_aead_open(kith_aead *aead, const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *ad,
                        size_t ad_size, const void *sealed, size_t size, uint8_t *out)
{
    int done, last;
    uint8_t tag[KITH_AEAD_TAG_SIZE], end[1];
    if (size < sizeof tag) return KITH_ERR_CRYPTO;
    if (ad_size > INT_MAX || size > INT_MAX) return KITH_ERR_LIMIT;
    size -= sizeof tag;
    memcpy(tag, (const uint8_t *)sealed + size, sizeof tag); /* OpenSSL takes it from a pointer that is not const */
    if (!EVP_DecryptInit_ex(aead->open, NULL, NULL, NULL, nonce) ||
        !EVP_CIPHER_CTX_ctrl(aead->open, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) ||
        (ad_size > 0 && !EVP_DecryptUpdate(aead->open, NULL, &done, ad, (int)ad_size)) ||
        (size > 0 && !EVP_DecryptUpdate(aead->open, out, &done, sealed, (int)size)))
        return KITH_ERR_INTERNAL;
    if (EVP_DecryptFinal_ex(aead->open, end, &last)) return KITH_OK;
    if (size > 0) kith_wipe(out, size); /* nobody shall use what is not authentic */
    return KITH_ERR_CRYPTO;
}

/* libsodium's needs no context and does not allocate: better for one record, slower for many. */
kith_err kith_aead_seal_once(const uint8_t key[static KITH_AEAD_KEY_SIZE],
                             const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *ad, size_t ad_size,
                             const void *plain, size_t size, uint8_t *out)
{
    if (size > INT_MAX) return KITH_ERR_LIMIT;
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, size, ad, ad_size, NULL, nonce, key);
    return KITH_OK;
}

kith_err kith_aead_open_once(const uint8_t key[static KITH_AEAD_KEY_SIZE],
                             const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *ad, size_t ad_size,
                             const void *sealed, size_t size, uint8_t *out)
{
    if (size > INT_MAX) return KITH_ERR_LIMIT;
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, size, ad, ad_size, nonce, key))
        return KITH_ERR_CRYPTO;
    return KITH_OK;
}

void kith_hp_mask(const uint8_t key[static 32], const uint8_t sample[static KITH_HP_SAMPLE_SIZE],
                  uint8_t mask[static KITH_HP_MASK_SIZE])
{
    static const uint8_t zeroes[KITH_HP_MASK_SIZE];
    uint32_t counter = sample[0] | (uint32_t)sample[1] << 8 | (uint32_t)sample[2] << 16 | (uint32_t)sample[3] << 24;
    crypto_stream_chacha20_ietf_xor_ic(mask, zeroes, KITH_HP_MASK_SIZE, sample + 4, counter, key);
}
