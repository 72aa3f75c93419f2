#include "base/buf.h"

#include <string.h>

kith_reader kith_reader_of(const void *data, size_t size)
{
    const uint8_t *at = data;
    return (kith_reader){.at = at, .end = size ? at + size : at};
}

size_t kith_reader_left(const kith_reader *r) { return r->bad ? 0 : (size_t)(r->end - r->at); }
bool kith_reader_done(const kith_reader *r) { return !r->bad && r->at == r->end; }

const uint8_t *kith_read_view(kith_reader *r, size_t size)
{
    if (r->bad || (size_t)(r->end - r->at) < size) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *view = r->at;
    r->at += size;
    return view;
}

static uint64_t read_big_endian(kith_reader *r, size_t size)
{
    const uint8_t *p = kith_read_view(r, size);
    uint64_t value = 0;
    for (size_t i = 0; p && i < size; i++) value = value << 8 | p[i];
    return value;
}

uint8_t kith_read_u8(kith_reader *r) { return (uint8_t)read_big_endian(r, 1); }
uint16_t kith_read_u16(kith_reader *r) { return (uint16_t)read_big_endian(r, 2); }
uint32_t kith_read_u32(kith_reader *r) { return (uint32_t)read_big_endian(r, 4); }
uint64_t kith_read_u64(kith_reader *r) { return read_big_endian(r, 8); }

uint64_t kith_read_varint(kith_reader *r)
{
    if (r->bad || r->at == r->end) {
        r->bad = true;
        return 0;
    }
    size_t size = (size_t)1 << (*r->at >> 6);
    uint64_t mask = (UINT64_C(1) << (8 * size - 2)) - 1;
    return read_big_endian(r, size) & mask;
}

void kith_read_copy(kith_reader *r, void *out, size_t size)
{
    const uint8_t *p = kith_read_view(r, size);
    if (size == 0) return;
    if (p)
        memcpy(out, p, size);
    else
        memset(out, 0, size);
}

kith_writer kith_writer_of(void *memory, size_t size)
{
    uint8_t *at = memory;
    return (kith_writer){.start = at, .at = at, .end = size ? at + size : at};
}

size_t kith_writer_size(const kith_writer *w) { return (size_t)(w->at - w->start); }

uint8_t *kith_write_room(kith_writer *w, size_t size)
{
    if (w->bad || (size_t)(w->end - w->at) < size) {
        w->bad = true;
        return NULL;
    }
    uint8_t *room = w->at;
    w->at += size;
    return room;
}

static void write_big_endian(kith_writer *w, uint64_t value, size_t size)
{
    uint8_t *p = kith_write_room(w, size);
    for (size_t i = 0; p && i < size; i++) p[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}

void kith_write_u8(kith_writer *w, uint8_t value) { write_big_endian(w, value, 1); }
void kith_write_u16(kith_writer *w, uint16_t value) { write_big_endian(w, value, 2); }
void kith_write_u32(kith_writer *w, uint32_t value) { write_big_endian(w, value, 4); }
void kith_write_u64(kith_writer *w, uint64_t value) { write_big_endian(w, value, 8); }

size_t kith_varint_size(uint64_t value)
{
    return value < 1u << 6 ? 1 : value < 1u << 14 ? 2 : value < 1u << 30 ? 4 : 8;
}

void kith_write_varint(kith_writer *w, uint64_t value)
{
    if (value > KITH_VARINT_MAX) {
        w->bad = true;
        return;
    }
    size_t size = kith_varint_size(value);
    uint64_t prefix = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    write_big_endian(w, value | prefix << (8 * size - 2), size);
}

void kith_write_bytes(kith_writer *w, const void *data, size_t size)
{
    uint8_t *p = kith_write_room(w, size);
    if (p && size) memcpy(p, data, size);
}
