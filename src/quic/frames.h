/* A look at the frames of a decrypted 1-RTT packet (RFC 9000 section 19) beside ngtcp2, which tells nobody that a
 * STOP_SENDING came. */
#ifndef KITH_QUIC_FRAMES_H
#define KITH_QUIC_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kith_frame_stop {
    uint64_t stream_id, code;
} kith_frame_stop;

/* Calls `stop` for each STOP_SENDING.  Ends quietly at what it does not understand: ngtcp2 judges. */
void kith_frames_find_stops(const uint8_t *payload, size_t size, void (*stop)(void *user, const kith_frame_stop *),
                            void *user);

#endif
