/* Packet protection for ngtcp2: sealing and opening with Hyphae's nonce (the packet number and nothing else), version
 * bytes and Retry tag. */
#include "quic/state.h"

#include "base/mem.h"
#include "crypto/aead.h"
#include "quic/version.h"

#include <string.h>

#define HEADER_MAX 2048 /* additional data; a long header holds a token, which a peer may make long */

static void put_wire_version(uint8_t *long_header)
{
    for (int i = 0; i < 4; i++) long_header[1 + i] = (uint8_t)(KITH_VERSION_WIRE >> (24 - 8 * i));
}

/* The header as it is on the wire; `copy` holds it when it had to be changed.  NULL: too long. */
static const uint8_t *wire_header(const uint8_t *header, size_t size, uint8_t copy[static HEADER_MAX])
{
    if (size < 5 || !(header[0] & 0x80)) return header;
    if (size > HEADER_MAX) return NULL;
    memcpy(copy, header, size);
    put_wire_version(copy);
    return copy;
}

/* ngtcp2 gives IV xor packet number, big-endian, and our IV is zero; Noise wants it little-endian. */
static void noise_nonce(const uint8_t *ngtcp2_nonce, uint8_t out[static KITH_AEAD_NONCE_SIZE])
{
    memset(out, 0, 4);
    for (int i = 0; i < 8; i++) out[4 + i] = ngtcp2_nonce[11 - i];
}

static uint64_t packet_number(const uint8_t *ngtcp2_nonce)
{
    uint64_t number = 0;
    for (int i = 4; i < 12; i++) number = number << 8 | ngtcp2_nonce[i];
    return number;
}

/* Integrity of a Retry: ngtcp2 asks us to seal nothing with {id size, original id, packet} as additional data. */
static int retry_tag(const kith_packet_key *key, const uint8_t *data, size_t size, uint8_t *tag)
{
    size_t skip = size ? 1 + (size_t)data[0] : 0;
    uint8_t packet[HEADER_MAX];
    if (!size || size < skip + 5 || size - skip > sizeof packet) return NGTCP2_ERR_CALLBACK_FAILURE;
    memcpy(packet, data + skip, size - skip);
    put_wire_version(packet);
    return kith_keys_retry_tag(key->bytes, packet, size - skip, tag) ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *aead_ctx,
                   const uint8_t *plaintext, size_t plaintextlen, const uint8_t *nonce, size_t noncelen,
                   const uint8_t *aad, size_t aadlen)
{
    const kith_packet_key *key = aead_ctx->native_handle;
    uint8_t copy[HEADER_MAX], n[KITH_AEAD_NONCE_SIZE];
    (void)aead;
    (void)noncelen;
    if (key->kind == KITH_KEY_RETRY) return retry_tag(key, aad, aadlen, dest);
    const uint8_t *header = wire_header(aad, aadlen, copy);
    if (!header) return NGTCP2_ERR_CALLBACK_FAILURE;
    noise_nonce(nonce, n);
    return kith_aead_seal(key->aead, n, header, aadlen, plaintext, plaintextlen, dest) ? NGTCP2_ERR_CALLBACK_FAILURE
                                                                                       : 0;
}

static void note_stop(void *user, const kith_frame_stop *stop)
{
    kith_conn *conn = user;
    if (conn->stop_count < KITH_STOPS_MAX) conn->stops[conn->stop_count++] = *stop;
}

static int decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *aead_ctx,
                   const uint8_t *ciphertext, size_t ciphertextlen, const uint8_t *nonce, size_t noncelen,
                   const uint8_t *aad, size_t aadlen)
{
    const kith_packet_key *key = aead_ctx->native_handle;
    uint8_t copy[HEADER_MAX], n[KITH_AEAD_NONCE_SIZE];
    (void)aead;
    (void)noncelen;
    const uint8_t *header = wire_header(aad, aadlen, copy);
    if (!header || ciphertextlen < KITH_AEAD_TAG_SIZE) return NGTCP2_ERR_DECRYPT;
    noise_nonce(nonce, n);
    if (kith_aead_open(key->aead, n, header, aadlen, ciphertext, ciphertextlen, dest)) return NGTCP2_ERR_DECRYPT;
    key->conn->authentic++;
    if (key->level != KITH_LEVEL_ONE_RTT) return 0;
    uint64_t number = packet_number(nonce);
    if (number >= key->conn->newest) key->conn->newest = number + 1;
    kith_frames_find_stops(dest, ciphertextlen - KITH_AEAD_TAG_SIZE, note_stop, key->conn);
    return 0;
}

static int hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp, const ngtcp2_crypto_cipher_ctx *hp_ctx,
                   const uint8_t *sample)
{
    const kith_packet_key *key = hp_ctx->native_handle;
    (void)hp;
    kith_hp_mask(key->bytes, sample, dest);
    return 0;
}

/* ---- keys ---- */

static kith_packet_key *key_new(kith_conn *conn, kith_key_kind kind, kith_level level)
{
    kith_packet_key *key = kith_calloc(1, sizeof *key);
    if (!key) return NULL;
    key->kind = kind;
    key->level = level;
    key->conn = conn;
    kith_list_append(&conn->keys, &key->in_conn);
    return key;
}

static void key_free(kith_packet_key *key)
{
    if (!key) return;
    kith_list_remove(&key->in_conn);
    kith_aead_free(key->aead);
    kith_wipe(key, sizeof *key);
    kith_free(key);
}

kith_err kith__key_packet(kith_conn *conn, kith_level level, const uint8_t bytes[static 32],
                          ngtcp2_crypto_aead_ctx *out)
{
    kith_packet_key *key = key_new(conn, KITH_KEY_PACKET, level);
    if (!key) return KITH_ERR_NOMEM;
    kith_err err = kith_aead_new(bytes, &key->aead);
    if (err)
        key_free(key);
    else
        out->native_handle = key;
    return err;
}

kith_err kith__key_header(kith_conn *conn, const uint8_t bytes[static 32], ngtcp2_crypto_cipher_ctx *out)
{
    kith_packet_key *key = key_new(conn, KITH_KEY_HEADER, KITH_LEVEL_INITIAL);
    if (!key) return KITH_ERR_NOMEM;
    memcpy(key->bytes, bytes, sizeof key->bytes);
    out->native_handle = key;
    return KITH_OK;
}

kith_err kith__conn_retry_key(kith_conn *conn, const ngtcp2_cid *odcid)
{
    static const ngtcp2_crypto_aead aead = {.max_overhead = KITH_AEAD_TAG_SIZE};
    kith_packet_key *key = key_new(conn, KITH_KEY_RETRY, KITH_LEVEL_INITIAL);
    if (!key) return KITH_ERR_NOMEM;
    kith_keys_retry(odcid->data, odcid->datalen, key->bytes);
    ngtcp2_conn_set_retry_aead(conn->ng, &aead, &(ngtcp2_crypto_aead_ctx){.native_handle = key});
    return KITH_OK;
}

void kith__keys_free(kith_conn *conn)
{
    kith_link *link;
    while ((link = kith_list_first(&conn->keys))) key_free(KITH_OF(link, kith_packet_key, in_conn));
}

static void delete_aead(ngtcp2_conn *ng, ngtcp2_crypto_aead_ctx *ctx, void *user)
{
    (void)ng;
    (void)user;
    key_free(ctx->native_handle);
    ctx->native_handle = NULL;
}

static void delete_cipher(ngtcp2_conn *ng, ngtcp2_crypto_cipher_ctx *ctx, void *user)
{
    (void)ng;
    (void)user;
    key_free(ctx->native_handle);
    ctx->native_handle = NULL;
}

void kith__callbacks_protect(ngtcp2_callbacks *callbacks)
{
    callbacks->encrypt = encrypt;
    callbacks->decrypt = decrypt;
    callbacks->hp_mask = hp_mask;
    callbacks->delete_crypto_aead_ctx = delete_aead;
    callbacks->delete_crypto_cipher_ctx = delete_cipher;
}

/* ---- memory ---- */

static void *ng_malloc(size_t size, void *user)
{
    (void)user;
    return kith_malloc(size);
}

static void ng_free(void *memory, void *user)
{
    (void)user;
    kith_free(memory);
}

static void *ng_calloc(size_t count, size_t size, void *user)
{
    (void)user;
    return kith_calloc(count, size);
}

static void *ng_realloc(void *memory, size_t size, void *user)
{
    (void)user;
    return kith_realloc(memory, size);
}

/* ngtcp2 keeps the pointer. */
const ngtcp2_mem *kith__mem(void)
{
    static const ngtcp2_mem mem = {NULL, ng_malloc, ng_free, ng_calloc, ng_realloc};
    return &mem;
}
