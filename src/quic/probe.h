/* The datagram by which two ends of a connection try an address and prove who is there, on the same socket as QUIC:
 *
 *     5 | receiver's probe id, 8 | number, 8 | sealed { kind, path, echo 16, token 16, zeros } | tag 16
 *
 * KITH_PROBE_SIZE bytes, so that a path that carries one carries QUIC; a CHALLENGE may be smaller, where its address
 * has not sent enough yet for a large one (RFC 9000 section 8.2.1).  An answer is as large as what asked for it, and
 * never larger.  Ids and keys come from the handshake's final chaining key (label "kith path probe v1"), one of each
 * per direction; the number is the nonce and never used twice. */
#ifndef KITH_QUIC_PROBE_H
#define KITH_QUIC_PROBE_H

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_PROBE_BYTE       5 /* neither QUIC, STUN, DTLS, TURN nor RTP (RFC 9443) */
#define KITH_PROBE_SIZE       1200
#define KITH_PROBE_ID_SIZE    8
#define KITH_PROBE_TOKEN_SIZE 16
#define KITH_PROBE_SIZE_MIN   (1 + KITH_PROBE_ID_SIZE + 8 + 2 + 2 * KITH_PROBE_TOKEN_SIZE + 16)

typedef enum kith_probe_kind {
    KITH_PROBE_ASK = 1,   /* "are you there?", with a token */
    KITH_PROBE_ANSWER,    /* echoes it, with a token of the answerer's */
    KITH_PROBE_CHALLENGE, /* "is this you?", with a token: to an address from which packets came */
    KITH_PROBE_CONFIRM,   /* echoes the token of an ANSWER or CHALLENGE: from now on `path` is this address */
} kith_probe_kind;

typedef struct kith_probe {
    kith_probe_kind kind;
    uint8_t path;
    uint8_t echo[KITH_PROBE_TOKEN_SIZE], token[KITH_PROBE_TOKEN_SIZE];
} kith_probe;

/* `size`: of the datagram, KITH_PROBE_SIZE_MIN to KITH_PROBE_SIZE. */
KITH_MUST_CHECK kith_err kith_probe_seal(const uint8_t key[static 32], const uint8_t id[static KITH_PROBE_ID_SIZE],
                                         uint64_t number, const kith_probe *probe, size_t size, uint8_t *out);
/* The receiver's id, at a fixed place; NULL when it cannot be a probe. */
const uint8_t *kith_probe_id(const uint8_t *datagram, size_t size);
/* Of a datagram for which kith_probe_id gave an id.  CRYPTO when it is not authentic, PROTOCOL when the sealed part
 * makes no sense or is too small for its kind. */
KITH_MUST_CHECK kith_err kith_probe_open(const uint8_t key[static 32], const uint8_t *datagram, size_t size,
                                         uint64_t *number, kith_probe *out);

#endif
