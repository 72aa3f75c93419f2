/* The recovery code: 32 random bytes, which a person keeps on paper as 24 words of BIP 39 (with its checksum).  Two key
 * pairs are made from it by BLAKE3's derive_key mode, each with a context of its own:
 *
 *     signing key pair   Ed25519, its seed derived     says who belongs to the network when that is disputed
 *     opening key pair   X25519, its secret derived    opens what devices have deposited
 *
 * The public halves are known to every own device; the code, and the private halves, to paper only: nothing here keeps
 * them, and whoever holds the code wipes it when its command ends.
 *
 * What is sealed to the opening key is a secret of 32 bytes, and takes 80:
 *
 *     ephemeral X25519 public key (32) || ChaCha20-Poly1305 of the secret (32) || tag (16)
 *     key    BLAKE3 derive_key("kith 2026-11 recovery: sealed to the opening key", X25519(ephemeral, open) || ephemeral
 *            public key || open)
 *     nonce  12 zero bytes: the key is used once
 *     bound  (associated data) what it is, with a NUL || what its user binds it to || sign || open
 *
 * A *deposit* is a device's Ed25519 seed sealed so, bound to the 16 bytes of its UUID and its Ed25519 public key. */
#ifndef KITH_IDENTITY_RECOVERY_H
#define KITH_IDENTITY_RECOVERY_H

#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/bip39.h"
#include "crypto/keys.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_RECOVERY_CODE_SIZE 32
#define KITH_RECOVERY_WORDS     24
#define KITH_RECOVERY_TEXT_SIZE (KITH_RECOVERY_WORDS * (KITH_BIP39_WORD_MAX + 1)) /* with blanks and a NUL */
#define KITH_RECOVERY_SECRET    32                                                /* bytes of what is sealed */
#define KITH_RECOVERY_SEALED    (KITH_X25519_SIZE + KITH_RECOVERY_SECRET + KITH_AEAD_TAG_SIZE)
#define KITH_RECOVERY_BOUND_MAX 128 /* bytes that a seal's user binds it to */
#define KITH_DEPOSIT_SIZE       KITH_RECOVERY_SEALED

/* What every own device knows of the code in force.  A plain value without padding. */
typedef struct kith_recovery_public {
    uint8_t sign[KITH_ED25519_PUBLIC_SIZE];
    uint8_t open[KITH_X25519_SIZE];
} kith_recovery_public;

/* ---- words ---- */
/* "abandon abandon ... art".  Returns `out`; wipe it after use. */
char *kith_recovery_text(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], char out[static KITH_RECOVERY_TEXT_SIZE]);
/* What a person typed, as kith_bip39_parse takes it.  CODE otherwise, with `why` naming what is wrong: words, their
 * number, or that they do not belong together (the checksum: finds 255 of 256 mistakes). */
KITH_MUST_CHECK kith_err kith_recovery_parse(const char *text, uint8_t code[static KITH_RECOVERY_CODE_SIZE], char *why,
                                             size_t why_size);

/* ---- keys ---- */
void kith_recovery_derive(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], kith_recovery_public *out);
bool kith_recovery_same(const kith_recovery_public *a, const kith_recovery_public *b);
/* Ed25519 with the signing key; the message says what it is (its own domain). */
void kith_recovery_sign(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], const void *message, size_t size,
                        uint8_t out[static KITH_ED25519_SIGNATURE_SIZE]);

/* ---- what is sealed to the opening key ---- */
/* Seal `secret` to `to`.  `what` names the kind of thing; `bound` (at most KITH_RECOVERY_BOUND_MAX bytes, of one size
 * for each `what`) is what it belongs to; `ephemeral`: 32 fresh random bytes.  CRYPTO when `to` is no key (a point of
 * low order), NOMEM, ARG when `bound` is too large. */
KITH_MUST_CHECK kith_err kith_recovery_seal(const kith_recovery_public *to, const char *what, const void *bound,
                                            size_t bound_size, const uint8_t secret[static KITH_RECOVERY_SECRET],
                                            const uint8_t ephemeral[static KITH_X25519_SIZE],
                                            uint8_t out[static KITH_RECOVERY_SEALED]);
/* CODE when it was not sealed to this code, not so bound, or changed; NOMEM. */
KITH_MUST_CHECK kith_err kith_recovery_open(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], const char *what,
                                            const void *bound, size_t bound_size,
                                            const uint8_t sealed[static KITH_RECOVERY_SEALED],
                                            uint8_t secret[static KITH_RECOVERY_SECRET]);

/* A device's deposit: its seed for whoever has the code.  Errors as kith_recovery_seal. */
KITH_MUST_CHECK kith_err kith_deposit_seal(const kith_recovery_public *to, const uint8_t uuid[static KITH_UUID_SIZE],
                                           const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                                           const uint8_t ephemeral[static KITH_X25519_SIZE],
                                           uint8_t out[static KITH_DEPOSIT_SIZE]);
/* CODE as above, and when what is in it is not the seed of this public key; NOMEM.  Wipe `seed` after use. */
KITH_MUST_CHECK kith_err kith_deposit_open(const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                                           const uint8_t uuid[static KITH_UUID_SIZE],
                                           const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                                           const uint8_t deposit[static KITH_DEPOSIT_SIZE],
                                           uint8_t seed[static KITH_ED25519_SEED_SIZE]);

#endif
