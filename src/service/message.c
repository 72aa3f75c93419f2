#include "service/message.h"

#include "base/buf.h"
#include "crypto/blake3.h"
#include "wire/cbor.h"

#include <string.h>

static const char label[] = "kith network message v1"; /* its NUL is part of what is signed */

#define SIGNED_MAX (sizeof label + 1 + KITH_BINDING_SIZE + KITH_UUID_SIZE + 32 + KITH_MESSAGE_PAYLOAD_MAX)

/* The bytes the signature covers, into out[SIGNED_MAX]; their count. */
static size_t signed_bytes(uint8_t *out, kith_message_context context, const uint8_t *binding, const uint8_t *uuid,
                           const uint8_t *fingerprint, const void *payload, size_t size)
{
    kith_writer w = kith_writer_of(out, SIGNED_MAX);
    kith_write_bytes(&w, label, sizeof label);
    kith_write_u8(&w, (uint8_t)context);
    kith_write_bytes(&w, binding, KITH_BINDING_SIZE);
    kith_write_bytes(&w, uuid, KITH_UUID_SIZE);
    kith_write_bytes(&w, fingerprint, 32);
    kith_write_bytes(&w, payload, size);
    return kith_writer_size(&w);
}

kith_err kith_message_sign(const kith_signer *signer, kith_message_context context,
                           const uint8_t binding[static KITH_BINDING_SIZE], const void *payload, size_t size,
                           uint8_t *out, size_t cap, size_t *out_size)
{
    uint8_t covered[SIGNED_MAX], signature[KITH_ED25519_SIGNATURE_SIZE];
    if (size > KITH_MESSAGE_PAYLOAD_MAX) return KITH_ERR_LIMIT;
    size_t n = signed_bytes(covered, context, binding, signer->uuid, signer->fingerprint, payload, size);
    kith_ed25519_sign(signer->seed, covered, n, signature);

    kith_writer w = kith_writer_of(out, cap);
    kith_cbor_write_map(&w, 4);
    kith_cbor_write_uint(&w, 1);
    kith_cbor_write_bytes(&w, signer->uuid, KITH_UUID_SIZE);
    kith_cbor_write_uint(&w, 2);
    kith_cbor_write_bytes(&w, signer->fingerprint, 32);
    kith_cbor_write_uint(&w, 3);
    kith_cbor_write_bytes(&w, payload, size);
    kith_cbor_write_uint(&w, 4);
    kith_cbor_write_bytes(&w, signature, sizeof signature);
    if (w.bad) return KITH_ERR_LIMIT;
    *out_size = kith_writer_size(&w);
    return KITH_OK;
}

kith_err kith_message_parse(const void *data, size_t size, kith_message *out)
{
    kith_message m = {0};
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (kith_cbor_need(&r, &walk, 1)) kith_cbor_read_copy(&r, m.uuid, sizeof m.uuid);
    if (kith_cbor_need(&r, &walk, 2)) kith_cbor_read_copy(&r, m.fingerprint, sizeof m.fingerprint);
    if (kith_cbor_need(&r, &walk, 3)) m.payload = kith_cbor_read_bytes(&r, &m.payload_size);
    if (kith_cbor_need(&r, &walk, 4)) kith_cbor_read_copy(&r, m.signature, sizeof m.signature);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r) || m.payload_size > KITH_MESSAGE_PAYLOAD_MAX) return KITH_ERR_FORMAT;
    *out = m;
    return KITH_OK;
}

kith_err kith_message_verify(const kith_message *message, kith_message_context context,
                             const uint8_t binding[static KITH_BINDING_SIZE],
                             const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE])
{
    uint8_t named[KITH_UUID_SIZE + KITH_ED25519_PUBLIC_SIZE], fingerprint[KITH_BLAKE3_SIZE], covered[SIGNED_MAX];
    memcpy(named, message->uuid, KITH_UUID_SIZE);
    memcpy(named + KITH_UUID_SIZE, public_key, KITH_ED25519_PUBLIC_SIZE);
    kith_blake3(named, sizeof named, fingerprint);
    if (memcmp(fingerprint, message->fingerprint, sizeof fingerprint) != 0) return KITH_ERR_SIGNATURE;
    size_t n = signed_bytes(covered, context, binding, message->uuid, message->fingerprint, message->payload,
                            message->payload_size);
    return kith_ed25519_verify(public_key, covered, n, message->signature);
}
