/* The Hyphae v1 key schedule for ChaChaPoly and BLAKE2s: what protects packets at each level, the chain ("ASK") that
 * 1-RTT keys and their updates come from, and the Retry integrity tag.  Labels: "init" is the client (dialler), "resp"
 * the server. */
#ifndef KITH_QUIC_KEYS_H
#define KITH_QUIC_KEYS_H

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_HYPHAE_LABEL      "hyphae-h-v1.quic-v1." /* what the handshake and its keys are bound to */
#define KITH_LEVEL_SECRET_SIZE 32
#define KITH_RETRY_TAG_SIZE    16

typedef struct kith_level_keys {
    uint8_t init_data[32], resp_data[32]; /* AEAD keys; there is no IV, the nonce is the packet number */
    uint8_t init_hp[32], resp_hp[32];     /* header protection; these never change at an update */
} kith_level_keys;

/* The Initial level's secret, from the destination connection id of the client's first Initial (or the Retry's source
 * id). */
void kith_keys_initial(const void *dcid, size_t size, uint8_t secret[static KITH_LEVEL_SECRET_SIZE]);
void kith_keys_of_level(const uint8_t secret[static KITH_LEVEL_SECRET_SIZE], kith_level_keys *out);

void kith_keys_retry(const void *odcid, size_t size, uint8_t key[static 32]);
/* The tag of a Retry packet (all its bytes before the tag, with the version as it is on the wire). */
KITH_MUST_CHECK kith_err kith_keys_retry_tag(const uint8_t key[static 32], const void *packet, size_t size,
                                             uint8_t tag[static KITH_RETRY_TAG_SIZE]);

/* Additional symmetric keys: a chain started from Noise's chaining key and hash right after a message. */
typedef struct kith_ask {
    uint8_t chain[32];
} kith_ask;
void kith_ask_start(kith_ask *ask, const uint8_t chaining_key[static 32], const uint8_t hash[static 32]);
void kith_ask_next(kith_ask *ask, uint8_t secret[static KITH_LEVEL_SECRET_SIZE]);

#endif
