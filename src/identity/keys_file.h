/* network_keys.json: this device's Ed25519 key pair, the private half sealed under the password.
 *
 *     {
 *       "version": 1,
 *       "device_id": UUID                      whose keys these are: must be device.json's
 *       "public_key": 64 hex digits            Ed25519
 *       "encrypted_private_key": 120 digits    nonce (12) || ChaCha20-Poly1305 of the 32-byte seed || tag (16)
 *       "salt": 64 digits
 *       "kdf_params": {"algorithm": "argon2id", "memory_kib": 65536, "passes": 3, "lanes": 4},
 *       "network_identity_created_at": RFC 3339 time,
 *       "checksum": 32 digits                  BLAKE3 over all of the above: tells damage from a wrong password,
 * nothing more
 *     }
 *
 * One Argon2id run gives the *password key*.  It encrypts nothing itself: each thing sealed in this file has a sub-key
 * of its own, made from the password key by BLAKE3's derive_key mode with a context that names the thing
 * (KITH_KEYS_SEED is the first; the master key's slots will be further ones).  What is sealed is bound (associated
 * data) to the version, the device id, the public key, the salt, the KDF parameters and the creation time: none of them
 * can be changed by someone without the password.
 *
 * Changing the password seals everything anew, so a file with slots that this code does not know must carry a higher
 * version. */
#ifndef KITH_IDENTITY_KEYS_FILE_H
#define KITH_IDENTITY_KEYS_FILE_H

#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/keys.h"
#include "identity/reason.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_KEYS_VERSION      1
#define KITH_KEYS_FILE_MAX     65536 /* bytes of the largest file that is read */
#define KITH_KEYS_OVERHEAD     (KITH_AEAD_NONCE_SIZE + KITH_AEAD_TAG_SIZE)
#define KITH_KEYS_SEALED_SIZE  (KITH_ED25519_SEED_SIZE + KITH_KEYS_OVERHEAD)
#define KITH_PASSWORD_KEY_SIZE 32

/* The context of the sub-key that seals the Ed25519 seed. */
#define KITH_KEYS_SEED "kith 2026-11 network_keys.json: Ed25519 seed"

typedef struct kith_keys_file { /* a plain value without padding; no secret is in the clear */
    uint8_t device_id[KITH_UUID_SIZE];
    uint8_t public_key[KITH_ED25519_PUBLIC_SIZE];
    uint8_t salt[KITH_KDF_SALT_SIZE];
    int64_t created_at_ms; /* since 1970 UTC */
    kith_kdf_params kdf;
    uint8_t sealed[KITH_KEYS_SEALED_SIZE];
} kith_keys_file;

/* Seal `seed`.  The caller has set device_id, salt (32 fresh random bytes), kdf and created_at_ms; this fills in
 * public_key and sealed. `nonce`: 12 fresh random bytes.  Slow: one Argon2id run of keys->kdf.  ARG for an empty
 * password or parameters out of bounds; NOMEM. */
KITH_MUST_CHECK kith_err kith_keys_seal(kith_keys_file *keys, kith_bytes password,
                                        const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                                        const uint8_t nonce[static KITH_AEAD_NONCE_SIZE]);
/* Open it.  As slow.  ARG for an empty password; PASSWORD when it is wrong; DAMAGED when the KDF's parameters are out
 * of bounds or the seed does not give the public key; NOMEM. */
KITH_MUST_CHECK kith_err kith_keys_open(const kith_keys_file *keys, kith_bytes password,
                                        uint8_t seed[static KITH_ED25519_SEED_SIZE]);

/* The parts of the above, for what else is sealed under the same password.  The password key: errors as kith_keys_open,
 * without PASSWORD, which only opening something can tell.  Wipe `key` after use. */
KITH_MUST_CHECK kith_err kith_keys_password_key(const kith_keys_file *keys, kith_bytes password,
                                                uint8_t key[static KITH_PASSWORD_KEY_SIZE]);
/* out[size + KITH_KEYS_OVERHEAD] = nonce || sealed || tag under the sub-key of this context. */
KITH_MUST_CHECK kith_err kith_keys_slot_seal(const kith_keys_file *keys,
                                             const uint8_t key[static KITH_PASSWORD_KEY_SIZE], const char *context,
                                             const uint8_t nonce[static KITH_AEAD_NONCE_SIZE], const void *secret,
                                             size_t size, uint8_t *out);
/* `size` counts the overhead; out[size - KITH_KEYS_OVERHEAD].  PASSWORD when it does not open. */
KITH_MUST_CHECK kith_err kith_keys_slot_open(const kith_keys_file *keys,
                                             const uint8_t key[static KITH_PASSWORD_KEY_SIZE], const char *context,
                                             const uint8_t *sealed, size_t size, uint8_t *out);

/* DAMAGED (syntax, a member missing or wrong, the checksum), VERSION, NOMEM; then *out is untouched, and for the first
 * two *reason says why. */
KITH_MUST_CHECK kith_err kith_keys_decode(const void *data, size_t size, kith_keys_file *out, kith_reason *reason);
/* ---- keys inside device.json ----
 * An application may have its device's keys flattened into the device's own file ("ExtendedDeviceConfig"):
 *
 *     "network_keys": {"encrypted_private_key": 60 bytes, "public_key": 32, "salt": 32, "kdf_params": {as above}},
 *     "network_identity_created_at": RFC 3339 time
 *
 * sealed as above for the device's `id`.  Bytes are hex digits, or an array of numbers, as Rust's serde writes them.
 * They are moved into a file of their own at the first use. */
/* NOT_FOUND when there are none (or null); DAMAGED, NOMEM as decode. */
KITH_MUST_CHECK kith_err kith_keys_decode_flattened(const void *device_file, size_t size, kith_keys_file *out,
                                                    kith_reason *reason);
/* device.json without the two members; the rest stays.  Release *out with kith_free.  Errors as decode. */
KITH_MUST_CHECK kith_err kith_keys_strip_flattened(const void *device_file, size_t size, uint8_t **out,
                                                   size_t *out_size, kith_reason *reason);

/* The file's new bytes; `old` and *out as for kith_device_encode. */
KITH_MUST_CHECK kith_err kith_keys_encode(const kith_keys_file *keys, const void *old, size_t old_size, uint8_t **out,
                                          size_t *out_size, kith_reason *reason);

#endif
