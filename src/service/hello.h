/* Hello: the first thing each side says on its control stream, a signed NetworkMessage (service/message.h) whose
 * payload is
 *
 *   { 1: protocol version, 2: Ed25519 public key (32 bytes), 3: name, 4: os, 5: hardware model,
 *     6: instance (8 bytes) }                                            (CBOR; names at most 64 bytes)
 *
 * The instance is drawn at start and tells the running nodes of one device apart; who does not say one may be any.
 *
 * It ties together what the connection proved (the Noise static key, the handshake hash) and who that is (id,
 * fingerprint, signing key).  Whether that device is trusted is the caller's question. */
#ifndef KITH_SERVICE_HELLO_H
#define KITH_SERVICE_HELLO_H

#include "service/message.h"

#include <stdbool.h>

#define KITH_PROTOCOL_VERSION    1
#define KITH_HELLO_TEXT_MAX      64
#define KITH_HELLO_INSTANCE_SIZE 8

typedef struct kith_hello {
    uint8_t uuid[KITH_UUID_SIZE], fingerprint[32], public_key[KITH_ED25519_PUBLIC_SIZE], noise_static[KITH_X25519_SIZE];
    char name[KITH_HELLO_TEXT_MAX + 1], os[KITH_HELLO_TEXT_MAX + 1], hardware_model[KITH_HELLO_TEXT_MAX + 1];
    uint8_t instance[KITH_HELLO_INSTANCE_SIZE]; /* zeros: not said */
} kith_hello;

/* What we say; `self` gives the texts (its keys are the signer's).  At most KITH_MESSAGE_MAX bytes. */
KITH_MUST_CHECK kith_err kith_hello_write(const kith_signer *signer, const kith_hello *self, bool dialler,
                                          const uint8_t handshake_hash[static KITH_BINDING_SIZE], uint8_t *out,
                                          size_t cap, size_t *out_size);
/* What the peer says, checked against the connection: FORMAT; VERSION (a newer protocol); SIGNATURE (fingerprint or
 * signature wrong); WRONG_DEVICE (the signing key is not the one whose Noise form the handshake proved). */
KITH_MUST_CHECK kith_err kith_hello_read(const void *data, size_t size, bool from_dialler,
                                         const uint8_t handshake_hash[static KITH_BINDING_SIZE],
                                         const uint8_t noise_static[static KITH_X25519_SIZE], kith_hello *out);

/* The payload alone, also carried by pairing: at most KITH_MESSAGE_PAYLOAD_MAX bytes.  Reading fills public_key,
 * noise_static and texts. */
KITH_MUST_CHECK kith_err kith_hello_payload_write(const kith_hello *self,
                                                  const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                                  uint8_t *out, size_t cap, size_t *out_size);
KITH_MUST_CHECK kith_err kith_hello_payload_read(const void *data, size_t size, kith_hello *out);

#endif
