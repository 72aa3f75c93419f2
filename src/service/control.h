/* What follows hello on a control stream: messages, each  varint length || CBOR map,  of which key 1 says the kind.
 * Kinds that are not known, and messages longer than KITH_CONTROL_MAX, are skipped: later versions may send them.
 *
 *   { 1: 1, 2: [ address ... ], ? 3: bool }
 *       candidates: where this node may be reached over UDP, all of them; what was said before counts no more.  An
 *       address is an IPv4 (4 bytes) or IPv6 address (16), then the port (2 bytes, big-endian).  3: it listens for TCP
 *       at the same ports, and wants to be dialled there (absent: it does not). */
#ifndef KITH_SERVICE_CONTROL_H
#define KITH_SERVICE_CONTROL_H

#include "base/addr.h"

#define KITH_CONTROL_MAX        1024 /* bytes of a message that is looked at */
#define KITH_CANDIDATES_MAX     16
#define KITH_CANDIDATES_ENCODED (10 + KITH_CANDIDATES_MAX * 19)

typedef struct kith_candidates {
    kith_addr addrs[KITH_CANDIDATES_MAX];
    size_t count;
    bool tcp; /* they may be dialled over TCP as well */
} kith_candidates;

/* The message without its length.  Only IPv4 and IPv6 addresses may be in it. */
KITH_MUST_CHECK kith_err kith_candidates_write(const kith_candidates *candidates, void *out, size_t cap, size_t *size);
/* UNSUPPORTED: another kind of message; FORMAT.  More addresses than KITH_CANDIDATES_MAX are left out. */
KITH_MUST_CHECK kith_err kith_candidates_read(const void *data, size_t size, kith_candidates *out);

/* Finds the messages in a stream of bytes. */
typedef struct kith_control_reader {
    uint8_t bytes[8 + KITH_CONTROL_MAX];
    size_t size;
    uint64_t skip; /* bytes of a long message still to come */
    bool given;    /* what is in `bytes` was a whole message, and is done with */
} kith_control_reader;
/* How many of these bytes were taken; *message: a whole one (valid until the next call), or NULL: all were taken and
 * more are needed. */
size_t kith_control_add(kith_control_reader *r, const void *data, size_t size, const uint8_t **message,
                        size_t *message_size);

#endif
