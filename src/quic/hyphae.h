/* The Hyphae v1 handshake (Noise XX, 25519_ChaChaPoly_BLAKE2s, in QUIC's CRYPTO streams) as a pure state machine:
 * CRYPTO bytes in and out per level, transport parameters, level secrets.  No I/O, no clock, no randomness: keys come
 * from the caller.
 *
 *     dialler                                   accepter
 *     Initial    [preamble]  message 1  ------>
 *                <------  message 2     Initial      then both have the Handshake secret
 *                <------  deferred      Handshake    (the accepter's transport parameters; their hash is sealed in
 * message 2) Handshake  message 3  ------>                  then both have the 1-RTT secret 1-RTT      final <----->
 * final
 *
 * Use: new; then whenever something happened take all of output; give what the peer sends to input.  The accepter, once
 * kith_hyphae_wants_params, is given its own parameters (they depend on what message 1 said).  A failure is final:
 * `alert` then says which TLS alert to close with. */
#ifndef KITH_QUIC_HYPHAE_H
#define KITH_QUIC_HYPHAE_H

#include "crypto/hash.h"
#include "quic/keys.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Our limits; the protocol itself allows 65,535 bytes a message. */
#define KITH_HYPHAE_MESSAGE_MAX 4096 /* received, id included */
#define KITH_HYPHAE_SENT_MAX    2048 /* sent */
#define KITH_HYPHAE_PARAMS_MAX  1024 /* transport parameters, either side */

#define KITH_HYPHAE_ALERT_HANDSHAKE_FAILURE 40
#define KITH_HYPHAE_ALERT_INTERNAL_ERROR    80

typedef enum kith_level { KITH_LEVEL_INITIAL, KITH_LEVEL_HANDSHAKE, KITH_LEVEL_ONE_RTT, KITH_LEVELS } kith_level;

typedef struct kith_hyphae kith_hyphae;

typedef struct kith_hyphae_config {
    bool initiator;
    const uint8_t *static_secret;    /* 32 bytes */
    const uint8_t *ephemeral_secret; /* 32 fresh random bytes, never used again */
    const uint8_t *expected_static;  /* initiator: who must answer, or NULL */
    kith_bytes params;               /* initiator: our transport parameters */
    /* Other users of the protocol have these; ours are empty.  What the peer sends in them is checked for form and
     * skipped. */
    kith_bytes preamble;      /* the initiator sends it, the responder insists on it */
    kith_bytes prologue;      /* of the application, equal on both sides */
    kith_bytes first_app;     /* application bytes in our first payload (message 1 or the deferred one) */
    kith_bytes message_3_app; /* initiator */
    kith_bytes final_app;
} kith_hyphae_config;

/* Copies what it needs.  ARG when something is too long; NOMEM. */
KITH_MUST_CHECK kith_err kith_hyphae_new(const kith_hyphae_config *config, kith_hyphae **out);
void kith_hyphae_free(kith_hyphae *h); /* wipes; NULL is fine */

/* Bytes of the CRYPTO stream of a level, in order, in any pieces.  CRYPTO, PROTOCOL (form or order), WRONG_DEVICE
 * (message 2 came from another key: message 3 is not made), NOMEM, INTERNAL. */
KITH_MUST_CHECK kith_err kith_hyphae_input(kith_hyphae *h, kith_level level, const void *data, size_t size);
uint8_t kith_hyphae_alert(const kith_hyphae *h); /* 0 while nothing failed */

/* Responder, after message 1.  Makes message 2 and the deferred payload. */
bool kith_hyphae_wants_params(const kith_hyphae *h);
KITH_MUST_CHECK kith_err kith_hyphae_set_params(kith_hyphae *h, const void *params, size_t size);

/* CRYPTO bytes to send, one message at a time with its length before it; valid until the next call with `h`. */
bool kith_hyphae_output(kith_hyphae *h, kith_level *level, const uint8_t **data, size_t *size);

/* The peer's transport parameters, once they are known (the responder's are authenticated then, the initiator's only
 * when message 2 was accepted); valid until `h` is freed. */
bool kith_hyphae_remote_params(const kith_hyphae *h, const uint8_t **data, size_t *size);
/* The secret of HANDSHAKE or ONE_RTT, once it is there. */
bool kith_hyphae_secret(const kith_hyphae *h, kith_level level, uint8_t out[static KITH_LEVEL_SECRET_SIZE]);
/* Both sides know each other: after message 3. */
bool kith_hyphae_complete(const kith_hyphae *h);
bool kith_hyphae_final_received(const kith_hyphae *h);

/* Once complete: */
void kith_hyphae_remote_static(const kith_hyphae *h, uint8_t out[static 32]);
void kith_hyphae_hash(const kith_hyphae *h, uint8_t out[static 32]);                      /* of the whole handshake */
void kith_hyphae_next_secret(kith_hyphae *h, uint8_t out[static KITH_LEVEL_SECRET_SIZE]); /* for the next key update */
/* Keys for something else, from the final chaining key: three independent ones for one label. */
void kith_hyphae_export(const kith_hyphae *h, const char *label, uint8_t out[static 3][32]);

#endif
