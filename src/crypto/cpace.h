/* CPace, the balanced PAKE of draft-irtf-cfrg-cpace, group ristretto255 with SHA-512, in its initiator-responder form,
 * with explicit key confirmation (section 9.4 of the draft: MACs over each side's share and associated data). */
#ifndef KITH_CRYPTO_CPACE_H
#define KITH_CRYPTO_CPACE_H

#include "crypto/hash.h"

#include <kith/error.h>
#include <stdbool.h>

#define KITH_CPACE_SHARE_SIZE 32
#define KITH_CPACE_ISK_SIZE   64
#define KITH_CPACE_TAG_SIZE   64 /* HMAC-SHA-512 */

typedef struct kith_cpace kith_cpace;

typedef struct kith_cpace_config {
    bool initiator;
    kith_bytes prs;        /* the password-related string */
    kith_bytes ci;         /* channel identifier: both parties' identities */
    kith_bytes sid;        /* session identifier: unique, e.g. a handshake hash */
    kith_bytes ad;         /* this side's associated data */
    const uint8_t *scalar; /* 64 fresh random bytes, reduced mod the group order (or, for vectors, 32 bytes via
                              kith_cpace_new_scalar) */
} kith_cpace_config;

/* LIMIT: a field above 64 KiB; CRYPTO: a scalar of 0. */
KITH_MUST_CHECK kith_err kith_cpace_new(const kith_cpace_config *config, kith_cpace **out);
/* The same with the 32-byte little-endian scalar itself: for test vectors. */
KITH_MUST_CHECK kith_err kith_cpace_new_scalar(const kith_cpace_config *config, const uint8_t scalar[static 32],
                                               kith_cpace **out);
void kith_cpace_free(kith_cpace *cpace); /* wipes */

void kith_cpace_share(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_SHARE_SIZE]);
/* Take the peer's share and associated data and derive the key.  CRYPTO for an invalid or neutral element, or our own
 * share reflected; this is final, and only after NOMEM may it be called again. */
KITH_MUST_CHECK kith_err kith_cpace_finish(kith_cpace *cpace, const uint8_t peer[static KITH_CPACE_SHARE_SIZE],
                                           kith_bytes peer_ad);
/* After finish: this side's confirmation tag; check the peer's in constant time (CODE when wrong: another password).
 * There is one check: after a wrong tag the key is gone and everything answers STATE. */
KITH_MUST_CHECK kith_err kith_cpace_tag(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_TAG_SIZE]);
KITH_MUST_CHECK kith_err kith_cpace_check(kith_cpace *cpace, const uint8_t tag[static KITH_CPACE_TAG_SIZE]);
/* The intermediate session key; STATE before the peer's tag was checked (kith_cpace_isk_unconfirmed is for test
 * vectors; zeroes when there is no key). */
KITH_MUST_CHECK kith_err kith_cpace_isk(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_ISK_SIZE]);
void kith_cpace_isk_unconfirmed(const kith_cpace *cpace, uint8_t out[static KITH_CPACE_ISK_SIZE]);

#endif
