/* Packets on a byte stream (TCP): each is  length (2 bytes, big-endian) || packet,  as RFC 4571 frames datagrams.  A
 * state machine: bytes go in where `room` says, packets come out in place. */
#ifndef KITH_PATH_FRAMER_H
#define KITH_PATH_FRAMER_H

#include "base/packet.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define KITH_FRAME_PREFIX     2
#define KITH_FRAME_SMALL_MAX  4096                /* bytes of a packet from who has not proved anything yet */
#define KITH_FRAME_PACKET_MAX KITH_PACKET_RUN_MAX /* and from who has */
#define KITH_FRAME_PIECES_MAX (2 * KITH_PACKET_RUN_SEGMENTS)

typedef struct kith_framer {
    uint8_t *buffer;
    size_t cap, start, end, packet_max;
} kith_framer;

void kith_framer_init(kith_framer *framer); /* takes small packets, and little memory, until kith_framer_trust */
void kith_framer_done(kith_framer *framer);
void kith_framer_trust(kith_framer *framer);
/* Where the next bytes go; NULL when out of memory.  Packets given out before are gone. */
uint8_t *kith_framer_room(kith_framer *framer, size_t *size);
void kith_framer_filled(kith_framer *framer, size_t size);
/* The next whole packet, valid until the next `room`.  AGAIN: not there yet.  PROTOCOL: a length that is 0 or above
 * what is taken: nothing of what follows makes sense. */
KITH_MUST_CHECK kith_err kith_framer_next(kith_framer *framer, uint8_t **packet, size_t *size);

/* What to send for a run, its first `skip` framed bytes gone already: pieces of `run->data` and prefixes, which are
 * written to `prefixes`.  How many pieces; *left: bytes of them together. */
size_t kith_frame_run(const kith_packet *run, size_t skip, uint8_t prefixes[static KITH_FRAME_PIECES_MAX],
                      struct iovec pieces[static KITH_FRAME_PIECES_MAX], size_t *left);

#endif
