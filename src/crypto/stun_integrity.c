#include "crypto/stun_integrity.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <string.h>

#define ATTRIBUTE_HEAD 4

kith_err kith_stun_integrity(const void *message, size_t at, const void *key, size_t key_size,
                             uint8_t out[static KITH_STUN_INTEGRITY_SIZE])
{
    uint8_t copy[KITH_STUN_MESSAGE_MAX];
    if (at < KITH_STUN_HEADER || at > sizeof copy || key_size > KITH_STUN_MESSAGE_MAX) return KITH_ERR_ARG;
    size_t length = at - KITH_STUN_HEADER + ATTRIBUTE_HEAD + KITH_STUN_INTEGRITY_SIZE;
    memcpy(copy, message, at);
    copy[2] = (uint8_t)(length >> 8);
    copy[3] = (uint8_t)length;
    return HMAC(EVP_sha1(), key, (int)key_size, copy, at, out, NULL) ? KITH_OK : KITH_ERR_NOMEM;
}

kith_err kith_stun_integrity_check(const void *message, const kith_stun_message *read, const void *key, size_t key_size)
{
    uint8_t right[KITH_STUN_INTEGRITY_SIZE];
    if (!read->integrity_at) return KITH_ERR_NOT_FOUND;
    kith_err err = kith_stun_integrity(message, read->integrity_at, key, key_size, right);
    if (err) return err;
    const uint8_t *found = (const uint8_t *)message + read->integrity_at + ATTRIBUTE_HEAD;
    return sodium_memcmp(found, right, sizeof right) == 0 ? KITH_OK : KITH_ERR_CRYPTO;
}
