#include "quic/keys.h"

#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "quic/idmap.h"

#include <string.h>

static const uint8_t empty_salt[KITH_HASH_SIZE];

static void expand(const void *ikm, size_t size, const char *label, uint8_t out[static 32])
{
    kith_hkdf_blake2s(empty_salt, ikm, size, label, strlen(label), 1, (uint8_t(*)[KITH_HASH_SIZE])out);
}

static void expand_from_cid(const void *cid, size_t size, const char *label, uint8_t out[static 32])
{
    uint8_t ikm[sizeof KITH_HYPHAE_LABEL - 1 + KITH_ID_MAX];
    if (size > KITH_ID_MAX) size = KITH_ID_MAX;
    memcpy(ikm, KITH_HYPHAE_LABEL, sizeof KITH_HYPHAE_LABEL - 1);
    if (size) memcpy(ikm + sizeof KITH_HYPHAE_LABEL - 1, cid, size);
    expand(ikm, sizeof KITH_HYPHAE_LABEL - 1 + size, label, out);
}

void kith_keys_initial(const void *dcid, size_t size, uint8_t secret[static KITH_LEVEL_SECRET_SIZE])
{
    expand_from_cid(dcid, size, "hyphae initial", secret);
}

void kith_keys_of_level(const uint8_t secret[static KITH_LEVEL_SECRET_SIZE], kith_level_keys *out)
{
    expand(secret, KITH_LEVEL_SECRET_SIZE, "init data", out->init_data);
    expand(secret, KITH_LEVEL_SECRET_SIZE, "resp data", out->resp_data);
    expand(secret, KITH_LEVEL_SECRET_SIZE, "init hp", out->init_hp);
    expand(secret, KITH_LEVEL_SECRET_SIZE, "resp hp", out->resp_hp);
}

void kith_keys_retry(const void *odcid, size_t size, uint8_t key[static 32])
{
    expand_from_cid(odcid, size, "hyphae retry", key);
}

kith_err kith_keys_retry_tag(const uint8_t key[static 32], const void *packet, size_t size,
                             uint8_t tag[static KITH_RETRY_TAG_SIZE])
{
    static const uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    uint8_t *sealed = kith_malloc(size + KITH_AEAD_TAG_SIZE);
    if (!sealed) return KITH_ERR_NOMEM;
    kith_err err = kith_aead_seal_once(key, nonce, NULL, 0, packet, size, sealed);
    if (!err) memcpy(tag, sealed + size, KITH_RETRY_TAG_SIZE);
    kith_free(sealed);
    return err;
}

void kith_ask_start(kith_ask *ask, const uint8_t chaining_key[static 32], const uint8_t hash[static 32])
{
    static const char label[] = "hyphae key";
    uint8_t ikm[KITH_HASH_SIZE + sizeof label - 1];
    memcpy(ikm, hash, KITH_HASH_SIZE);
    memcpy(ikm + KITH_HASH_SIZE, label, sizeof label - 1);
    kith_hkdf_blake2s(chaining_key, ikm, sizeof ikm, "ask", 3, 1, (uint8_t(*)[KITH_HASH_SIZE])ask->chain);
}

void kith_ask_next(kith_ask *ask, uint8_t secret[static KITH_LEVEL_SECRET_SIZE])
{
    uint8_t out[2][KITH_HASH_SIZE];
    kith_hkdf_blake2s(ask->chain, NULL, 0, NULL, 0, 2, out);
    memcpy(ask->chain, out[0], KITH_HASH_SIZE);
    memcpy(secret, out[1], KITH_HASH_SIZE);
    kith_wipe(out, sizeof out);
}
