#include "quic/version.h"

#include "base/buf.h"
#include "quic/idmap.h"

#include <stdbool.h>

#define NOBODYS UINT32_C(0x1a2a3a4a) /* reserved to exercise version negotiation (RFC 9000 section 15) */
#define LONG    0x80

enum { TYPE_INITIAL, TYPE_0RTT, TYPE_HANDSHAKE, TYPE_RETRY };

static uint32_t get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The size of the packet with a long header that begins here, or 0 when its form is bad. */
static size_t long_packet_size(const uint8_t *packet, size_t size)
{
    kith_reader r = kith_reader_of(packet, size);
    unsigned type = kith_read_u8(&r) >> 4 & 3;
    kith_read_view(&r, 4);
    for (int id = 0; id < 2; id++) {
        size_t length = kith_read_u8(&r);
        if (length > KITH_ID_MAX) return 0;
        kith_read_view(&r, length);
    }
    if (type == TYPE_RETRY) return r.bad ? 0 : size;
    if (type == TYPE_INITIAL) {
        uint64_t token = kith_read_varint(&r);
        if (token > kith_reader_left(&r)) return 0;
        kith_read_view(&r, (size_t)token);
    }
    uint64_t length = kith_read_varint(&r);
    if (r.bad || length > kith_reader_left(&r)) return 0;
    return (size_t)(r.at - packet) + (size_t)length;
}

static void translate_list(uint8_t *packet, size_t size)
{
    kith_reader r = kith_reader_of(packet, size);
    kith_read_view(&r, 5);
    kith_read_view(&r, kith_read_u8(&r));
    kith_read_view(&r, kith_read_u8(&r));
    if (r.bad) return;
    for (uint8_t *at = packet + (r.at - packet); at + 4 <= packet + size; at += 4) {
        uint32_t version = get(at);
        if (version == KITH_VERSION_WIRE) put(at, KITH_VERSION_INSIDE);
        if (version == KITH_VERSION_INSIDE) put(at, NOBODYS);
    }
}

/* Exchange `from` for `to` in each long header; where that ends. */
static size_t exchange(uint8_t *datagram, size_t size, uint32_t from, uint32_t to)
{
    size_t at = 0;
    while (at < size) {
        if (!(datagram[at] & LONG)) return size;
        if (size - at < 5 || get(datagram + at + 1) != from) return at;
        size_t packet = long_packet_size(datagram + at, size - at);
        if (!packet) return at;
        put(datagram + at + 1, to);
        at += packet;
    }
    return at;
}

size_t kith_version_inbound(uint8_t *datagram, size_t size)
{
    if (size >= 5 && datagram[0] & LONG && get(datagram + 1) == 0) {
        translate_list(datagram, size);
        return size;
    }
    return exchange(datagram, size, KITH_VERSION_WIRE, KITH_VERSION_INSIDE);
}

void kith_version_outbound(uint8_t *datagram, size_t size)
{
    exchange(datagram, size, KITH_VERSION_INSIDE, KITH_VERSION_WIRE);
}
