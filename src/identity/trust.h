/* The other devices that this one has pinned: who they are, what we call them, and how far they are trusted.
 *
 * A device is its UUID and its key together.  The set never holds a UUID twice, an X25519 key twice (two Ed25519 keys
 * share one), or a local name twice.  A known UUID with another key, or a known key with another UUID, is never taken
 * silently: KEY_CHANGED, ID_CHANGED.
 *
 * trust.cbor: the envelope of identity/envelope.h around an array, in the order the devices were added, of maps
 *   { 1: UUID (16 bytes), 2: Ed25519 public key (32 bytes), 3: name, 4: local name, 5: os, 6: hardware model, 7: kind,
 * 8: verified (bool), 9: added (ms since 1970), 10: how, 11: overrides (bytes) } all members present, no others.  The
 * overrides are identity/permit.h's, by the service's number, without zeros at the end.  One set has one encoding.
 * Version 1, which is still read, had no member 11 and knew one `how`. */
#ifndef KITH_IDENTITY_TRUST_H
#define KITH_IDENTITY_TRUST_H

#include "base/text.h"
#include "crypto/keys.h"
#include "identity/fingerprint.h"
#include "identity/name.h"
#include "identity/permit.h"
#include "identity/reason.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_TRUST_VERSION     2
#define KITH_TRUST_CONTEXT     "kith 2026-11 trust.cbor: checksum"
#define KITH_PEERS_MAX         4096
#define KITH_PEER_ENCODED_MAX  372 /* bytes of one device in the file, at most */
#define KITH_TRUST_FILE_MAX    (KITH_PEERS_MAX * KITH_PEER_ENCODED_MAX + 128)
#define KITH_DEVICE_PREFIX_MIN 4 /* hex digits of a UUID or fingerprint that may name a device */

typedef enum kith_peer_kind { KITH_PEER_OWN = 1, KITH_PEER_CONTACT = 2 } kith_peer_kind;
typedef enum kith_peer_how {                       /* how it came to be trusted */
                             KITH_PEER_PAIRED = 1, /* by a code: the words proved its key to both people, so it is
                                                      verified from the start */
                             KITH_PEER_TOFU = 2    /* a contact; its key is the one that was seen first.  Not verified
                                                      until people compare */
} kith_peer_how;

typedef struct kith_peer { /* a plain value */
    uint8_t uuid[KITH_UUID_SIZE];
    uint8_t ed25519[KITH_ED25519_PUBLIC_SIZE];
    uint8_t x25519[KITH_X25519_SIZE];           /* derived from ed25519: the Noise static key */
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE]; /* derived from uuid and ed25519 */
    char name[KITH_NAME_SIZE];                  /* what it calls itself */
    char local_name[KITH_NAME_SIZE];            /* what it is called here; unique here */
    char os[KITH_NAME_SIZE], hardware_model[KITH_NAME_SIZE];
    kith_peer_kind kind;
    bool verified; /* a code proved its key, or people compared the digits */
    kith_peer_how how;
    kith_overrides overrides;
    int64_t added_at_ms; /* since 1970 UTC */
} kith_peer;

/* Fill in a peer from what it says of itself: texts are cleaned (identity/name.h), an empty name becomes "device";
 * local_name is the name; x25519 and fingerprint are derived.  Paired, not verified.  CRYPTO when the key is no usable
 * point.
 */
KITH_MUST_CHECK kith_err kith_peer_make(const uint8_t uuid[static KITH_UUID_SIZE],
                                        const uint8_t ed25519[static KITH_ED25519_PUBLIC_SIZE], const char *name,
                                        const char *os, const char *hardware_model, kith_peer_kind kind, int64_t now_ms,
                                        kith_peer *out);

typedef struct kith_trust kith_trust;
KITH_MUST_CHECK kith_err kith_trust_new(kith_trust **out); /* empty; NOMEM */
void kith_trust_free(kith_trust *trust);                   /* NULL is fine */

/* Peers in the order they were added.  A pointer to one is good until the set changes. */
size_t kith_trust_count(const kith_trust *trust);
const kith_peer *kith_trust_at(const kith_trust *trust, size_t index); /* NULL from count on */
const kith_peer *kith_trust_by_uuid(const kith_trust *trust,
                                    const uint8_t uuid[static KITH_UUID_SIZE]); /* these: NULL when unknown */
const kith_peer *kith_trust_by_x25519(const kith_trust *trust, const uint8_t x25519[static KITH_X25519_SIZE]);
const kith_peer *kith_trust_by_fingerprint(const kith_trust *trust,
                                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE]);
/* The beginning of a UUID or a fingerprint as people write it: hex digits, in lower case without dashes and blanks in
 * `out`; false when they are too few (KITH_DEVICE_PREFIX_MIN) or too many, or there is something else. */
#define KITH_PREFIX_TEXT_SIZE (2 * KITH_FINGERPRINT_SIZE + 1)
bool kith_prefix_read(const char *text, char out[static KITH_PREFIX_TEXT_SIZE]);
/* The device that `text` means: a UUID; else a local name; else a prefix, of 4 or more hex digits (dashes are skipped),
 * of exactly one device's UUID or fingerprint.  NOT_FOUND; AMBIGUOUS.  The first `cap` of those that fit go to found[],
 * how many there are to *count. */
KITH_MUST_CHECK kith_err kith_trust_find(const kith_trust *trust, const char *text, const kith_peer **found, size_t cap,
                                         size_t *count);
/* How a device that names itself so stands to the set: OK = known, just so; NOT_FOUND; KEY_CHANGED = the UUID is known
 * with another key; ID_CHANGED = the key is known with another UUID (KEY_CHANGED when both). */
KITH_MUST_CHECK kith_err kith_trust_check(const kith_trust *trust, const kith_peer *peer);

/* Add a device.  Its local_name, when taken, becomes "name-2" (see *added).  EXISTS when it is there already,
 * KEY_CHANGED, ID_CHANGED, LIMIT, NOMEM; ARG for a peer that breaks a rule; CRYPTO.  `added` may be NULL. */
KITH_MUST_CHECK kith_err kith_trust_add(kith_trust *trust, const kith_peer *peer, const kith_peer **added);
/* Add it whatever was known: those with its UUID or its key go.  What is known about the same UUID stays: the local
 * name; and of the same device (UUID and key) also the verified mark, the overrides and when it was added.  Only where
 * people have confirmed it.  Errors as above without EXISTS and the CHANGED ones; then the set is as it was. */
KITH_MUST_CHECK kith_err kith_trust_replace(kith_trust *trust, const kith_peer *peer, const kith_peer **added);
KITH_MUST_CHECK kith_err kith_trust_remove(kith_trust *trust,
                                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE]); /* NOT_FOUND */
/* A new local name; one that is taken becomes "name-2" (see *renamed, which may be NULL).  NOT_FOUND; ARG. */
KITH_MUST_CHECK kith_err kith_trust_rename(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                                           const char *name, const kith_peer **renamed);
/* What the device calls itself now, cleaned as for kith_peer_make.  Its local name follows if it was the same as its
 * name.  NOT_FOUND. */
KITH_MUST_CHECK kith_err kith_trust_describe(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                                             const char *name, const char *os, const char *hardware_model);
KITH_MUST_CHECK kith_err kith_trust_verify(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                                           bool verified); /* NOT_FOUND */
/* What this service may do for the device, in place of the table's answer; `set` false: the table's again.  NOT_FOUND;
 * ARG: that cannot be said (kith_permit_settable). */
KITH_MUST_CHECK kith_err kith_trust_override(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                                             kith_service service, bool set, kith_access verdict);

/* The file's bytes; release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith_trust_encode(const kith_trust *trust, uint8_t **out, size_t *size);
/* DAMAGED, VERSION (both with a reason), NOMEM. */
KITH_MUST_CHECK kith_err kith_trust_decode(const void *data, size_t size, kith_trust **out, kith_reason *reason);

#endif
