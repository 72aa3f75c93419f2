/* A backup: the files of an identity in one, sealed.  All integers big-endian.
 *
 *      0   8  "kithbak\n"
 *      8   4  version: 1
 *     12   4  flags: 1 = the recovery slot is filled; the other bits are 0
 *     16  12  Argon2id: memory in KiB, passes, lanes (4 each)
 *     28  32  salt
 *     60  60  password slot: nonce (12) || ChaCha20-Poly1305 of the file key (32) || tag (16)
 *                 key    BLAKE3 derive_key("kith 2026-11 backup: password slot", Argon2id(password, salt), 32 bytes)
 *                 bound  bytes 0 to 59
 *    120  80  recovery slot: the file key sealed to the recovery opening key (identity/recovery.h) as "kith backup",
 *             bound to bytes 0 to 59; zeros without
 *    200   8  size of the body, n
 *    208   n  body: ChaCha20-Poly1305 with the key derive_key("kith 2026-11 backup: body", file key), a nonce of zeros
 *             (the file key is random and used once), bound to bytes 0 to 207; its tag is the last 16 bytes
 *  208+n  32  checksum: derive_key("kith 2026-11 backup: checksum", all before): tells damage from a wrong password
 *
 * The body is deterministic CBOR: [ made (ms since 1970), [ [ name, bytes ], ... ], ? signature ], the names being of
 * KITH_BACKUP_NAMES, each at most once and in that order (docs/kith.cddl: backup-body).  The signature (Ed25519) is the
 * device's whose backup it is, over "kith backup v1" with its NUL || derive_key("kith 2026-11 backup: signed", what is
 * before it in the array): anybody can seal to a recovery code, and to open it with that proves nothing.
 * Nothing outside of it says whose backup it is. */
#ifndef KITH_IDENTITY_BACKUP_H
#define KITH_IDENTITY_BACKUP_H

#include "crypto/kdf.h"
#include "identity/reason.h"
#include "identity/recovery.h"

#define KITH_BACKUP_VERSION  1
#define KITH_BACKUP_KEY_SIZE 32
#define KITH_BACKUP_BODY_MAX (16u << 20) /* bytes; the largest graph and trust file there can be take 6 MiB */
#define KITH_BACKUP_HEAD     208
#define KITH_BACKUP_FILE_MAX (KITH_BACKUP_HEAD + KITH_BACKUP_BODY_MAX + 32)

/* What is in it, in this order; the two marked must be. */
typedef enum kith_backup_part {
    KITH_BACKUP_GRAPH,
    KITH_BACKUP_TRUST,
    KITH_BACKUP_CONFIG,
    KITH_BACKUP_DEVICE, /* must */
    KITH_BACKUP_MASTER,
    KITH_BACKUP_KEYS, /* must */
    KITH_BACKUP_PARTS
} kith_backup_part;
#define KITH_BACKUP_NAMES                                                                                              \
    {                                                                                                                  \
        "graph.cbor", "trust.cbor", "config.json", "device.json", "master_key.json", "network_keys.json"               \
    }

typedef struct kith_backup_content {
    int64_t made_at_ms; /* since 1970 UTC */
    struct {
        const uint8_t *data; /* NULL: not in it */
        size_t size;
    } parts[KITH_BACKUP_PARTS];
    const uint8_t *seed; /* to be sealed: the device's, which signs; NULL: nobody does */
    bool has_signature;  /* of an opened one: kith_backup_verify says whose it is */
    uint8_t signature[KITH_ED25519_SIGNATURE_SIZE], digest[KITH_BACKUP_KEY_SIZE];
    uint8_t *memory; /* of an opened one, which the parts are views of */
    size_t memory_size;
} kith_backup_content;

/* Fresh random bytes. */
typedef struct kith_backup_random {
    uint8_t key[KITH_BACKUP_KEY_SIZE], salt[KITH_KDF_SALT_SIZE], nonce[KITH_AEAD_NONCE_SIZE];
    uint8_t ephemeral[KITH_X25519_SIZE];
} kith_backup_random;

/* The file's bytes: release *out with kith_free.  `recovery` NULL: no recovery slot.  Slow: one Argon2id run.  ARG for
 * an empty password, parameters out of bounds, or a part missing that must be; LIMIT: too large; CRYPTO: `recovery` is
 * no key; NOMEM. */
KITH_MUST_CHECK kith_err kith_backup_seal(const kith_backup_content *backup, const kith_kdf_params *kdf,
                                          kith_bytes password, const kith_recovery_public *recovery,
                                          const kith_backup_random *random, uint8_t **out, size_t *size);
/* Open it with the password, or with the recovery code; release with kith_backup_done.  DAMAGED, VERSION (both with a
 * reason); PASSWORD, ARG (empty); CODE; STATE: there is no recovery slot; NOMEM. */
KITH_MUST_CHECK kith_err kith_backup_open(const void *data, size_t size, kith_bytes password, kith_backup_content *out,
                                          kith_reason *reason);
KITH_MUST_CHECK kith_err kith_backup_open_code(const void *data, size_t size,
                                               const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                                               kith_backup_content *out, kith_reason *reason);
/* SIGNATURE: it was not made by who has this key. */
KITH_MUST_CHECK kith_err kith_backup_verify(const kith_backup_content *backup,
                                            const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE]);
void kith_backup_done(kith_backup_content *backup); /* wiped; zeroed is fine */

#endif
