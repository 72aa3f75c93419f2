#include "crypto/hash.h"

#include "base/mem.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE  64 /* of BLAKE2s, for HMAC */
#define OUTPUTS_MAX 3

static EVP_MD *blake2s;

/* Looking an algorithm up takes OpenSSL longer than hashing a short message.  The reference lasts as long as the
 * process. */
static void fetch(void) { blake2s = EVP_MD_fetch(NULL, "BLAKE2S-256", NULL); }

/* A hash that cannot be made (no memory for OpenSSL's context, or an OpenSSL without BLAKE2s) ends the program: going
 * on with a wrong one would be worse, and no caller could do better. */
static EVP_MD_CTX *begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch);
    EVP_MD_CTX *context = blake2s ? EVP_MD_CTX_new() : NULL;
    if (!context) abort();
    return context;
}

/* One message: an optional block before the pieces. The context can be used again. */
static void digest(EVP_MD_CTX *context, const uint8_t *block, const kith_bytes *pieces, size_t n,
                   uint8_t out[static KITH_HASH_SIZE])
{
    int good = EVP_DigestInit_ex(context, blake2s, NULL);
    if (block) good &= EVP_DigestUpdate(context, block, BLOCK_SIZE);
    for (size_t i = 0; i < n; i++)
        if (pieces[i].size > 0) good &= EVP_DigestUpdate(context, pieces[i].data, pieces[i].size);
    good &= EVP_DigestFinal_ex(context, out, NULL);
    if (good != 1) abort();
}

void kith_blake2s(const kith_bytes *pieces, size_t n, uint8_t out[static KITH_HASH_SIZE])
{
    EVP_MD_CTX *context = begin();
    digest(context, NULL, pieces, n, out);
    EVP_MD_CTX_free(context);
}

static void hmac(EVP_MD_CTX *context, const void *key, size_t key_size, const kith_bytes *pieces, size_t n,
                 uint8_t out[static KITH_HASH_SIZE])
{
    uint8_t pad[BLOCK_SIZE] = {0}, inner[KITH_HASH_SIZE];
    if (key_size > sizeof pad)
        digest(context, NULL, &(kith_bytes){key, key_size}, 1, pad);
    else if (key_size > 0)
        memcpy(pad, key, key_size);
    for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36;
    digest(context, pad, pieces, n, inner);
    for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5c;
    digest(context, pad, &(kith_bytes){inner, sizeof inner}, 1, out);
    kith_wipe(pad, sizeof pad);
    kith_wipe(inner, sizeof inner);
}

void kith_hmac_blake2s(const void *key, size_t key_size, const kith_bytes *pieces, size_t n,
                       uint8_t out[static KITH_HASH_SIZE])
{
    EVP_MD_CTX *context = begin();
    hmac(context, key, key_size, pieces, n, out);
    EVP_MD_CTX_free(context);
}

void kith_hkdf_blake2s(const uint8_t salt[static KITH_HASH_SIZE], const void *ikm, size_t ikm_size, const void *info,
                       size_t info_size, size_t count, uint8_t out[][KITH_HASH_SIZE])
{
    /* `salt` may be one of the outputs (a chaining key replaced by its successor): it is used up before they are
     * written. */
    uint8_t prk[KITH_HASH_SIZE], made[OUTPUTS_MAX][KITH_HASH_SIZE];
    if (count > OUTPUTS_MAX) abort();
    EVP_MD_CTX *context = begin();
    hmac(context, salt, KITH_HASH_SIZE, &(kith_bytes){ikm, ikm_size}, 1, prk);
    for (size_t i = 0; i < count; i++) {
        uint8_t number = (uint8_t)(i + 1);
        kith_bytes pieces[] = {
            {i > 0 ? made[i - 1] : NULL, i > 0 ? KITH_HASH_SIZE : 0}, {info, info_size}, {&number, 1}};
        hmac(context, prk, sizeof prk, pieces, 3, made[i]);
    }
    EVP_MD_CTX_free(context);
    memcpy(out, made, count * KITH_HASH_SIZE);
    kith_wipe(prk, sizeof prk);
    kith_wipe(made, sizeof made);
}
