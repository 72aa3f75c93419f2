#include "quic/token.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/hash.h"

#include <string.h>

#define NONCE KITH_AEAD_NONCE_SIZE
#define PLAIN (8 + 1 + KITH_ID_MAX)
_Static_assert(NONCE + PLAIN + KITH_AEAD_TAG_SIZE <= KITH_RETRY_TOKEN_MAX, "a token fits");

typedef struct binding {
    uint8_t bytes[64];
    size_t size;
} binding;

static binding bind_to(const kith_addr *address, const kith_cid *retry_source)
{
    binding b = {0};
    kith_writer w = kith_writer_of(b.bytes, sizeof b.bytes);
    kith_write_u8(&w, address->family);
    kith_write_u16(&w, address->port);
    kith_write_u32(&w, address->scope);
    kith_write_bytes(&w, address->ip, sizeof address->ip);
    kith_write_u8(&w, retry_source->size);
    kith_write_bytes(&w, retry_source->bytes, retry_source->size);
    b.size = kith_writer_size(&w);
    return b;
}

kith_err kith_token_make(const uint8_t key[static 32], const uint8_t nonce[static 12], const kith_addr *address,
                         const kith_cid *original, const kith_cid *retry_source, uint64_t now_ns,
                         uint8_t out[static KITH_RETRY_TOKEN_MAX], size_t *size)
{
    uint8_t plain[PLAIN] = {0};
    kith_writer w = kith_writer_of(plain, sizeof plain);
    binding ad = bind_to(address, retry_source);
    kith_write_u64(&w, now_ns);
    kith_write_u8(&w, original->size);
    kith_write_bytes(&w, original->bytes, original->size);
    memcpy(out, nonce, NONCE);
    kith_err err = kith_aead_seal_once(key, nonce, ad.bytes, ad.size, plain, sizeof plain, out + NONCE);
    if (!err) *size = NONCE + sizeof plain + KITH_AEAD_TAG_SIZE;
    return err;
}

kith_err kith_token_check(const uint8_t key[static 32], const void *token, size_t size, const kith_addr *address,
                          const kith_cid *retry_source, uint64_t now_ns, kith_cid *original)
{
    uint8_t plain[PLAIN];
    const uint8_t *bytes = token;
    binding ad = bind_to(address, retry_source);
    if (size != NONCE + PLAIN + KITH_AEAD_TAG_SIZE) return KITH_ERR_CRYPTO;
    kith_err err = kith_aead_open_once(key, bytes, ad.bytes, ad.size, bytes + NONCE, size - NONCE, plain);
    if (err) return err;
    kith_reader r = kith_reader_of(plain, sizeof plain);
    uint64_t made_ns = kith_read_u64(&r);
    if (made_ns > now_ns || now_ns - made_ns > KITH_RETRY_TOKEN_NS) return KITH_ERR_TIMEOUT;
    kith_cid id = {.size = kith_read_u8(&r)};
    if (id.size > KITH_ID_MAX) return KITH_ERR_CRYPTO;
    kith_read_copy(&r, id.bytes, id.size);
    *original = id;
    return KITH_OK;
}

void kith_token_reset(const uint8_t key[static 32], const void *cid, size_t size,
                      uint8_t out[static KITH_RESET_TOKEN_SIZE])
{
    uint8_t mac[KITH_HASH_SIZE];
    kith_hmac_blake2s(key, 32, &(kith_bytes){cid, size}, 1, mac);
    memcpy(out, mac, KITH_RESET_TOKEN_SIZE);
}
