#include "wire/stun.h"

#include "base/buf.h"

#include <string.h>

#define COOKIE           UINT32_C(0x2112a442) /* RFC 8489 section 5 */
#define FINGERPRINT_XOR  UINT32_C(0x5354554e) /* section 14.7: "STUN" */
#define CRC32_POLYNOMIAL UINT32_C(0xedb88320) /* ITU V.42, reflected */
#define ATTRIBUTE_HEAD   4
#define FINGERPRINT_SIZE 4
#define INTEGRITY_SIZE   20
#define FAMILY_IPV4      1
#define FAMILY_IPV6      2
#define OPTIONAL         0x8000 /* attributes from here on may be ignored */
#define ERROR_UNKNOWN    420

static uint32_t crc32(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? CRC32_POLYNOMIAL : 0);
    }
    return ~crc;
}

static uint32_t fingerprint_of(const uint8_t *data, size_t size) { return crc32(data, size) ^ FINGERPRINT_XOR; }

static size_t padded(size_t size) { return (size + 3) & ~(size_t)3; }

bool kith_stun_is(const void *data, size_t size)
{
    kith_reader r = kith_reader_of(data, size);
    uint16_t type = kith_read_u16(&r), length = kith_read_u16(&r);
    return kith_read_u32(&r) == COOKIE && size >= KITH_STUN_HEADER && type < 0x4000 && length % 4 == 0 &&
           size == KITH_STUN_HEADER + (size_t)length;
}

/* ---- reading ---- */

/* Section 14.1 and 14.2; the mask is the cookie and the transaction id, or zeros. */
static bool read_mapped(const uint8_t *value, size_t size, const uint8_t *mask, kith_addr *out)
{
    kith_addr a = {0};
    size_t ip_size = size == 8 ? 4 : 16;
    if ((size != 8 && size != 20) || value[1] != (size == 8 ? FAMILY_IPV4 : FAMILY_IPV6)) return false;
    a.family = size == 8 ? KITH_FAMILY_IPV4 : KITH_FAMILY_IPV6;
    a.port = (uint16_t)((value[2] ^ mask[0]) << 8 | (value[3] ^ mask[1]));
    for (size_t i = 0; i < ip_size; i++) a.ip[i] = (uint8_t)(value[4 + i] ^ mask[i]);
    *out = a;
    return true;
}

/* What a server or client without credentials understands, or may pass over as RFC 8489 has it (section 18.3). */
static bool understood(uint16_t type)
{
    switch (type) {
    case KITH_STUN_MAPPED_ADDRESS:
    case 0x0006: /* USERNAME */
    case KITH_STUN_MESSAGE_INTEGRITY:
    case KITH_STUN_ERROR_CODE:
    case KITH_STUN_UNKNOWN_ATTRIBUTES:
    case 0x0014: /* REALM */
    case 0x0015: /* NONCE */
    case 0x001c: /* MESSAGE-INTEGRITY-SHA256 */
    case 0x001d: /* PASSWORD-ALGORITHM */
    case 0x001e: /* USERHASH */
    case KITH_STUN_XOR_MAPPED_ADDRESS: return true;
    default: return type >= OPTIONAL;
    }
}

static bool read_error(const uint8_t *value, size_t size, kith_stun_message *m)
{
    if (size < 4 || (value[2] & 7) < 3 || (value[2] & 7) > 6 || value[3] > 99) return false;
    m->error = (uint16_t)((value[2] & 7) * 100 + value[3]);
    return true;
}

static bool unknown(kith_stun_message *m, uint16_t type)
{
    if (m->unknown_count < KITH_STUN_UNKNOWN_MAX) m->unknown[m->unknown_count++] = type;
    return true;
}

static bool read_attribute(const uint8_t *bytes, uint16_t type, const uint8_t *value, size_t size, kith_stun_message *m)
{
    static const uint8_t zeros[16];
    kith_addr plain;
    switch (type) {
    case KITH_STUN_XOR_MAPPED_ADDRESS: return read_mapped(value, size, bytes + 4, &m->mapped);
    case KITH_STUN_MAPPED_ADDRESS: /* of old servers: the other one wins, wherever it stands */
        if (!read_mapped(value, size, zeros, &plain)) return false;
        if (m->mapped.family == KITH_FAMILY_NONE) m->mapped = plain;
        return true;
    case KITH_STUN_ERROR_CODE: return read_error(value, size, m);
    case KITH_STUN_MESSAGE_INTEGRITY:
        m->integrity_at = (size_t)(value - bytes) - ATTRIBUTE_HEAD;
        return size == INTEGRITY_SIZE;
    case KITH_STUN_CHANGE_REQUEST:
        if (size != 4) return false;
        m->change = (uint32_t)value[0] << 24 | (uint32_t)value[1] << 16 | (uint32_t)value[2] << 8 | value[3];
        return unknown(m, type);
    case KITH_STUN_RESPONSE_PORT: /* of two bytes, and in practice with its padding counted */
        if (size != 2 && size != 4) return false;
        m->response_port = (uint16_t)(value[0] << 8 | value[1]);
        return unknown(m, type);
    default: return understood(type) || unknown(m, type);
    }
}

static bool read_fingerprint(const uint8_t *bytes, const uint8_t *value, size_t size, size_t left)
{
    if (size != FINGERPRINT_SIZE || left != 0) return false;
    uint32_t found = (uint32_t)value[0] << 24 | (uint32_t)value[1] << 16 | (uint32_t)value[2] << 8 | value[3];
    return found == fingerprint_of(bytes, (size_t)(value - bytes) - ATTRIBUTE_HEAD);
}

kith_err kith_stun_read(const void *data, size_t size, kith_stun_message *out)
{
    const uint8_t *bytes = data;
    if (size > KITH_STUN_MESSAGE_MAX || !kith_stun_is(data, size)) return KITH_ERR_FORMAT;
    kith_stun_message m = {.type = (kith_stun_type)(bytes[0] << 8 | bytes[1]), .id = bytes + 8};
    if (m.type != KITH_STUN_REQUEST && m.type != KITH_STUN_INDICATION && m.type != KITH_STUN_SUCCESS &&
        m.type != KITH_STUN_ERROR)
        return KITH_ERR_FORMAT;
    kith_reader r = kith_reader_of(bytes + KITH_STUN_HEADER, size - KITH_STUN_HEADER);
    while (kith_reader_left(&r)) {
        uint16_t type = kith_read_u16(&r);
        size_t length = kith_read_u16(&r);
        const uint8_t *value = kith_read_view(&r, padded(length));
        if (!value) return KITH_ERR_FORMAT;
        if (type == KITH_STUN_FINGERPRINT) {
            m.fingerprint = read_fingerprint(bytes, value, length, kith_reader_left(&r));
            if (!m.fingerprint) return KITH_ERR_FORMAT;
        } else if (!m.integrity_at && !read_attribute(bytes, type, value, length, &m)) {
            return KITH_ERR_FORMAT;
        }
    }
    *out = m;
    return KITH_OK;
}

/* ---- writing ---- */

static void write_header(kith_writer *w, kith_stun_type type, const uint8_t *id)
{
    kith_write_u16(w, (uint16_t)type);
    kith_write_u16(w, 0); /* the length, when it is known */
    kith_write_u32(w, COOKIE);
    kith_write_bytes(w, id, KITH_STUN_ID_SIZE);
}

static void set_length(kith_writer *w, size_t more)
{
    size_t length = kith_writer_size(w) - KITH_STUN_HEADER + more;
    w->start[2] = (uint8_t)(length >> 8);
    w->start[3] = (uint8_t)length;
}

void kith_stun_write_request(const uint8_t id[static KITH_STUN_ID_SIZE], uint8_t out[static KITH_STUN_REQUEST_SIZE])
{
    kith_writer w = kith_writer_of(out, KITH_STUN_REQUEST_SIZE);
    write_header(&w, KITH_STUN_REQUEST, id);
}

void kith_stun_write_padded(const uint8_t id[static KITH_STUN_ID_SIZE], uint8_t *out, size_t size)
{
    kith_writer w = kith_writer_of(out, size);
    write_header(&w, KITH_STUN_REQUEST, id);
    if (size == KITH_STUN_REQUEST_SIZE) return;
    size_t filling = size - KITH_STUN_HEADER - ATTRIBUTE_HEAD;
    kith_write_u16(&w, KITH_STUN_FILLING);
    kith_write_u16(&w, (uint16_t)filling);
    memset(out + KITH_STUN_HEADER + ATTRIBUTE_HEAD, 0, filling);
    set_length(&w, filling);
}

void kith_stun_write_elsewhere(const uint8_t id[static KITH_STUN_ID_SIZE], bool other_port, uint16_t response_port,
                               uint8_t out[static KITH_STUN_ELSEWHERE_SIZE])
{
    kith_writer w = kith_writer_of(out, KITH_STUN_ELSEWHERE_SIZE);
    write_header(&w, KITH_STUN_REQUEST, id);
    kith_write_u16(&w, KITH_STUN_CHANGE_REQUEST);
    kith_write_u16(&w, 4);
    kith_write_u32(&w, other_port ? KITH_STUN_CHANGE_PORT : 0);
    kith_write_u16(&w, KITH_STUN_RESPONSE_PORT);
    kith_write_u16(&w, 4);
    kith_write_u32(&w, (uint32_t)response_port << 16);
    set_length(&w, 0);
}

void kith_stun_understand(kith_stun_message *request, kith_stun_attribute attribute)
{
    size_t kept = 0;
    for (size_t i = 0; i < request->unknown_count; i++)
        if (request->unknown[i] != attribute) request->unknown[kept++] = request->unknown[i];
    request->unknown_count = kept;
}

static void write_xor_mapped(kith_writer *w, const kith_addr *a)
{
    const uint8_t *mask = w->start + 4; /* the cookie and the transaction id */
    size_t ip_size = a->family == KITH_FAMILY_IPV4 ? 4 : 16;
    kith_write_u16(w, KITH_STUN_XOR_MAPPED_ADDRESS);
    kith_write_u16(w, (uint16_t)(4 + ip_size));
    kith_write_u16(w, a->family == KITH_FAMILY_IPV4 ? FAMILY_IPV4 : FAMILY_IPV6);
    kith_write_u16(w, (uint16_t)(a->port ^ COOKIE >> 16));
    for (size_t i = 0; i < ip_size; i++) kith_write_u8(w, (uint8_t)(a->ip[i] ^ mask[i]));
}

static void write_unknown(kith_writer *w, const kith_stun_message *request)
{
    kith_write_u16(w, KITH_STUN_ERROR_CODE);
    kith_write_u16(w, 4);
    kith_write_u32(w, ERROR_UNKNOWN / 100 << 8 | ERROR_UNKNOWN % 100); /* with an empty reason phrase */
    kith_write_u16(w, KITH_STUN_UNKNOWN_ATTRIBUTES);
    kith_write_u16(w, (uint16_t)(2 * request->unknown_count));
    for (size_t i = 0; i < request->unknown_count; i++) kith_write_u16(w, request->unknown[i]);
    if (request->unknown_count % 2) kith_write_u16(w, 0);
}

size_t kith_stun_answer(const kith_stun_message *request, const kith_addr *from,
                        uint8_t out[static KITH_STUN_ANSWER_MAX])
{
    if (request->type != KITH_STUN_REQUEST || from->family == KITH_FAMILY_NONE) return 0;
    kith_writer w = kith_writer_of(out, KITH_STUN_ANSWER_MAX);
    write_header(&w, request->unknown_count ? KITH_STUN_ERROR : KITH_STUN_SUCCESS, request->id);
    if (request->unknown_count)
        write_unknown(&w, request);
    else
        write_xor_mapped(&w, from);
    set_length(&w, request->fingerprint ? ATTRIBUTE_HEAD + FINGERPRINT_SIZE : 0);
    if (request->fingerprint) {
        uint32_t sum = fingerprint_of(out, kith_writer_size(&w));
        kith_write_u16(&w, KITH_STUN_FINGERPRINT);
        kith_write_u16(&w, FINGERPRINT_SIZE);
        kith_write_u32(&w, sum);
    }
    return w.bad ? 0 : kith_writer_size(&w);
}
