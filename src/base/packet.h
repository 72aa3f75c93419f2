/* A run of equal-size datagrams between two addresses, the unit in which the world and the protocols hand packets over
 * (what GSO sends and GRO receives).  A single datagram is a run of one. */
#ifndef KITH_BASE_PACKET_H
#define KITH_BASE_PACKET_H

#include "base/addr.h"

#define KITH_PACKET_RUN_MAX      65000 /* bytes in a run: below the kernel's limit of 65,507 for one UDP send */
#define KITH_PACKET_RUN_SEGMENTS 64    /* datagrams in a run: the kernel's UDP_MAX_SEGMENTS where GSO came in */

typedef struct kith_packet {
    kith_addr
        local; /* our side: on receiving, the address it was sent to; on sending, the source wanted or FAMILY_NONE */
    kith_addr remote; /* the other side */
    uint8_t ecn;      /* the two ECN bits of the IP header (RFC 3168) */
    uint8_t *data;    /* borrowed for the call; a receiver may change the bytes */
    size_t size;      /* of all datagrams together */
    size_t segment;   /* bytes of each datagram but the last, which may be shorter; = size for one */
} kith_packet;

#endif
