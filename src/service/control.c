#include "service/control.h"

#include "wire/cbor.h"

#include <string.h>

enum { MESSAGE_KIND = 1, CANDIDATES_ADDRESSES, CANDIDATES_TCP };
enum { KIND_CANDIDATES = 1 };

#define IPV4_SIZE 6
#define IPV6_SIZE 18

static void write_address(kith_writer *w, const kith_addr *a)
{
    size_t ip = a->family == KITH_FAMILY_IPV4 ? 4 : 16;
    uint8_t bytes[IPV6_SIZE];
    if (a->family != KITH_FAMILY_IPV4 && a->family != KITH_FAMILY_IPV6) w->bad = true;
    memcpy(bytes, a->ip, ip);
    bytes[ip] = (uint8_t)(a->port >> 8);
    bytes[ip + 1] = (uint8_t)a->port;
    kith_cbor_write_bytes(w, bytes, ip + 2);
}

kith_err kith_candidates_write(const kith_candidates *candidates, void *out, size_t cap, size_t *size)
{
    kith_writer w = kith_writer_of(out, cap);
    kith_cbor_write_map(&w, candidates->tcp ? 3 : 2);
    kith_cbor_write_uint(&w, MESSAGE_KIND);
    kith_cbor_write_uint(&w, KIND_CANDIDATES);
    kith_cbor_write_uint(&w, CANDIDATES_ADDRESSES);
    kith_cbor_write_array(&w, candidates->count);
    for (size_t i = 0; i < candidates->count; i++) write_address(&w, &candidates->addrs[i]);
    if (candidates->tcp) {
        kith_cbor_write_uint(&w, CANDIDATES_TCP);
        kith_cbor_write_bool(&w, true);
    }
    *size = kith_writer_size(&w);
    return w.bad ? KITH_ERR_LIMIT : KITH_OK;
}

static kith_addr address_of(const uint8_t *bytes, size_t size)
{
    kith_addr a = {.family = size == IPV4_SIZE ? KITH_FAMILY_IPV4 : KITH_FAMILY_IPV6};
    a.port = (uint16_t)(bytes[size - 2] << 8 | bytes[size - 1]);
    memcpy(a.ip, bytes, size - 2);
    return a;
}

kith_err kith_candidates_read(const void *data, size_t size, kith_candidates *out)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    *out = (kith_candidates){0};
    uint64_t kind = kith_cbor_need(&r, &walk, MESSAGE_KIND) ? kith_cbor_read_uint(&r) : 0;
    if (!r.bad && kind != KIND_CANDIDATES) return KITH_ERR_UNSUPPORTED;
    size_t left = kith_cbor_need(&r, &walk, CANDIDATES_ADDRESSES) ? kith_cbor_read_array(&r) : 0;
    for (; left && !r.bad; left--) {
        size_t length;
        const uint8_t *bytes = kith_cbor_read_bytes(&r, &length);
        if (!bytes || (length != IPV4_SIZE && length != IPV6_SIZE)) return KITH_ERR_FORMAT;
        if (out->count < KITH_CANDIDATES_MAX) out->addrs[out->count++] = address_of(bytes, length);
    }
    if (kith_cbor_find(&r, &walk, CANDIDATES_TCP)) out->tcp = kith_cbor_read_bool(&r);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r) ? KITH_OK : KITH_ERR_FORMAT;
}

/* How many bytes the message begun wants next: of its length one by one, then all the others, so that nothing of the
 * next message is here.  0: it is whole, or to be skipped. */
static size_t wanted(kith_control_reader *r, const uint8_t **message, size_t *message_size)
{
    kith_reader in = kith_reader_of(r->bytes, r->size);
    uint64_t length = kith_read_varint(&in);
    if (in.bad) return 1;
    if (length > KITH_CONTROL_MAX) {
        r->skip = length;
        r->size = 0;
        return 0;
    }
    if (kith_reader_left(&in) < length) return (size_t)length - kith_reader_left(&in);
    *message = r->bytes + r->size - length;
    *message_size = (size_t)length;
    return 0;
}

size_t kith_control_add(kith_control_reader *r, const void *data, size_t size, const uint8_t **message,
                        size_t *message_size)
{
    const uint8_t *at = data;
    size_t taken = 0;
    *message = NULL;
    if (r->given) r->size = 0;
    r->given = false;
    while (taken < size && !r->given) {
        size_t left = size - taken, n = left;
        if (r->skip) {
            if (n > r->skip) n = (size_t)r->skip;
            r->skip -= n;
        } else {
            size_t want = wanted(r, message, message_size);
            if (n > want) n = want;
            memcpy(r->bytes + r->size, at + taken, n);
            r->size += n;
            r->given = !r->skip && wanted(r, message, message_size) == 0 && *message;
        }
        taken += n;
    }
    return taken;
}
