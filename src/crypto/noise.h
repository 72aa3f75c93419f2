/* The Noise Protocol Framework, revision 34, for the suite 25519_ChaChaPoly_BLAKE2s: every fundamental, one-way and
 * deferred pattern, with any psk modifiers (section 9).  A state machine: no I/O, no clock; ephemeral keys come from
 * the caller. */
#ifndef KITH_CRYPTO_NOISE_H
#define KITH_CRYPTO_NOISE_H

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/keys.h"

#include <kith/error.h>
#include <stdbool.h>

#define KITH_NOISE_MESSAGE_MAX 65535 /* section 3 */
#define KITH_NOISE_PSK_SIZE    32
#define KITH_NOISE_PSKS_MAX    5 /* psk0 .. psk4 */

typedef struct kith_noise kith_noise;

typedef struct kith_noise_config {
    const char *protocol; /* e.g. "Noise_XX_25519_ChaChaPoly_BLAKE2s", "Noise_XXpsk0+psk2_..." */
    bool initiator;
    kith_bytes prologue;
    const uint8_t *static_secret;    /* 32 bytes, or NULL where the pattern needs none */
    const uint8_t *ephemeral_secret; /* 32 fresh random bytes, never used again; NULL where the pattern needs none */
    const uint8_t *remote_static;    /* 32 bytes known beforehand (K and psk patterns), or NULL */
    const uint8_t (*psks)[KITH_NOISE_PSK_SIZE]; /* in the order of the modifiers */
    size_t psk_count;
} kith_noise_config;

/* Copies everything it needs.  ARG for an unknown protocol (psk modifiers in ascending order, section 8.2), a missing
 * key or another number of psks; NOMEM.  Keys the pattern has no use for are ignored: `remote_static` pins nothing
 * where the pattern sends it, compare kith_noise_remote_static yourself. */
KITH_MUST_CHECK kith_err kith_noise_new(const kith_noise_config *config, kith_noise **out);
void kith_noise_free(kith_noise *noise); /* wipes */

/* Write the next handshake message with this payload into out[0..cap); its size into *out_size.  STATE when it is not
 * our turn, LIMIT when it does not fit (or would be over KITH_NOISE_MESSAGE_MAX).  A failure of any kind is final:
 * secrets are wiped, then all is STATE; only after the last message STATE changes nothing.  `out` and `payload` do not
 * overlap, nor do they in kith_noise_read. */
KITH_MUST_CHECK kith_err kith_noise_write(kith_noise *noise, const void *payload, size_t size, uint8_t *out, size_t cap,
                                          size_t *out_size);
/* Read the peer's; the payload (at most message size) into out[0..cap).  CRYPTO when it is not authentic or a DH gives
 * zero (`out` then holds nothing useful), TRUNCATED, LIMIT (over KITH_NOISE_MESSAGE_MAX, or the payload does not fit),
 * STATE. */
KITH_MUST_CHECK kith_err kith_noise_read(kith_noise *noise, const void *message, size_t size, uint8_t *out, size_t cap,
                                         size_t *out_size);
bool kith_noise_my_turn(const kith_noise *noise);
bool kith_noise_finished(const kith_noise *noise);
/* The pattern's number of messages, for layers that act between them; messages done so far. */
size_t kith_noise_messages(const kith_noise *noise);
size_t kith_noise_done_messages(const kith_noise *noise);

/* The symmetric state right now: h (after the last message: the handshake hash) and ck (secret: for key derivation in
 * layers above). */
void kith_noise_hash(const kith_noise *noise, uint8_t out[static KITH_HASH_SIZE]);
void kith_noise_chaining_key(const kith_noise *noise, uint8_t out[static KITH_HASH_SIZE]);
/* The peer's static key, once known: false before. */
bool kith_noise_remote_static(const kith_noise *noise, uint8_t out[static KITH_X25519_SIZE]);

/* After the handshake: Split() (section 5.2).  `send` and `receive` are 32-byte keys for this side; one-way patterns
 * use the initiator's direction only. */
KITH_MUST_CHECK kith_err kith_noise_split(kith_noise *noise, uint8_t send[static 32], uint8_t receive[static 32]);
/* The nonce of message n under a Noise key: 4 zero bytes || LE64(n) (section 12.3). */
void kith_noise_nonce(uint64_t n, uint8_t out[static KITH_AEAD_NONCE_SIZE]);

#endif
