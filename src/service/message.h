/* The NetworkMessage: a signed envelope for what must stand alone (hello, the identity in pairing).
 *
 *   NetworkMessage = { 1: device_id (16 bytes), 2: network_fingerprint (32), 3: payload (bytes), 4: signature (64) }
 * (CBOR)
 *
 * The Ed25519 signature covers  "kith network message v1" 00 || context (1 byte) || binding (32) || device_id ||
 * fingerprint || payload. The context says what kind of message and whose part it is, so that none can be taken for
 * another or sent back to its author; the binding is the final Noise handshake hash, so that none can be used on
 * another connection. */
#ifndef KITH_SERVICE_MESSAGE_H
#define KITH_SERVICE_MESSAGE_H

#include "base/text.h"
#include "crypto/keys.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_MESSAGE_PAYLOAD_MAX 1024
#define KITH_MESSAGE_MAX         (KITH_MESSAGE_PAYLOAD_MAX + 160)
#define KITH_BINDING_SIZE        32

typedef enum kith_message_context {
    KITH_MESSAGE_HELLO_DIALLER = 1,
    KITH_MESSAGE_HELLO_ACCEPTOR = 2,
    KITH_MESSAGE_PAIR_HOST = 3,
    KITH_MESSAGE_PAIR_JOINER = 4,
} kith_message_context;

/* Who signs.  Borrowed: the seed stays in guarded memory. */
typedef struct kith_signer {
    const uint8_t *seed; /* 32 bytes */
    uint8_t uuid[KITH_UUID_SIZE], fingerprint[32], public_key[KITH_ED25519_PUBLIC_SIZE];
} kith_signer;

typedef struct kith_message {
    uint8_t uuid[KITH_UUID_SIZE], fingerprint[32], signature[KITH_ED25519_SIGNATURE_SIZE];
    const uint8_t *payload; /* a view into the bytes parsed */
    size_t payload_size;
} kith_message;

/* LIMIT when it does not fit. */
KITH_MUST_CHECK kith_err kith_message_sign(const kith_signer *signer, kith_message_context context,
                                           const uint8_t binding[static KITH_BINDING_SIZE], const void *payload,
                                           size_t size, uint8_t *out, size_t cap, size_t *out_size);
KITH_MUST_CHECK kith_err kith_message_parse(const void *data, size_t size, kith_message *out); /* FORMAT */
/* The fingerprint fits id and key, and the signature holds: else SIGNATURE. */
KITH_MUST_CHECK kith_err kith_message_verify(const kith_message *message, kith_message_context context,
                                             const uint8_t binding[static KITH_BINDING_SIZE],
                                             const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE]);

#endif
