/* Hyphae's version number on the wire, and QUIC v1's inside: ngtcp2 knows only the latter, so the four bytes are
 * exchanged at the boundary, in every long header of a datagram (they may be coalesced, RFC 9000 section 12.2; short
 * headers carry none). */
#ifndef KITH_QUIC_VERSION_H
#define KITH_QUIC_VERSION_H

#include <stddef.h>
#include <stdint.h>

#define KITH_VERSION_WIRE   UINT32_C(0x48510101)
#define KITH_VERSION_INSIDE UINT32_C(0x00000001)

/* Rewrites a datagram that arrived.  The result is how many bytes of it may be looked at: it ends before the first
 * packet of another version or of bad form.  A real QUIC v1 packet never passes as ours.  In a Version Negotiation
 * packet the list is translated: ours becomes v1, v1 becomes one that nobody has. */
size_t kith_version_inbound(uint8_t *datagram, size_t size);
/* Rewrites a datagram to be sent. */
void kith_version_outbound(uint8_t *datagram, size_t size);

#endif
