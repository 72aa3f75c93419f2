/* When each peer was last seen and where: a cache of addresses that worked, so that a device can be tried before the
 * network has announced it.  Losing it harms nothing: a file that is missing or damaged is an empty cache.
 *
 * seen.cbor: the envelope of identity/envelope.h around an array of [fingerprint (32 bytes), last seen (ms since 1970),
 * addresses], and each address is [port, scope, IP (4 or 16 bytes)]. */
#ifndef KITH_IDENTITY_SEEN_H
#define KITH_IDENTITY_SEEN_H

#include "base/addr.h"
#include "identity/fingerprint.h"
#include "identity/reason.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_SEEN_VERSION     1
#define KITH_SEEN_CONTEXT     "kith 2026-11 seen.cbor: checksum"
#define KITH_SEEN_PEERS_MAX   4096
#define KITH_SEEN_ADDRS_MAX   4
#define KITH_SEEN_ENCODED_MAX 160 /* bytes of one peer in the file, at most */
#define KITH_SEEN_FILE_MAX    (KITH_SEEN_PEERS_MAX * KITH_SEEN_ENCODED_MAX + 128)

typedef struct kith_seen_peer {
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    int64_t last_seen_ms;                 /* since 1970 UTC */
    kith_addr addrs[KITH_SEEN_ADDRS_MAX]; /* the latest first */
    size_t addr_count;
} kith_seen_peer;

typedef struct kith_seen kith_seen;
KITH_MUST_CHECK kith_err kith_seen_new(kith_seen **out); /* empty; NOMEM */
void kith_seen_free(kith_seen *seen);                    /* NULL is fine */

size_t kith_seen_count(const kith_seen *seen);
/* What is known of a peer; NULL: nothing.  Good until the cache changes. */
const kith_seen_peer *kith_seen_find(const kith_seen *seen, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE]);
/* The peer was there at `now_ms`, and `addr` worked (NULL: not at an address that can be tried again; one without
 * family or port is ignored).  The time never goes back.  In a full cache the peer that was not seen for longest makes
 * room.  NOMEM. */
KITH_MUST_CHECK kith_err kith_seen_note(kith_seen *seen, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                                        const kith_addr *addr, int64_t now_ms);
/* Nothing when it is not there. */
void kith_seen_forget(kith_seen *seen, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE]);

/* The file's bytes; release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith_seen_encode(const kith_seen *seen, uint8_t **out, size_t *size);
/* DAMAGED, VERSION (both with a reason), NOMEM. */
KITH_MUST_CHECK kith_err kith_seen_decode(const void *data, size_t size, kith_seen **out, kith_reason *reason);

#endif
