/* Cursors over bytes.  A reader or writer never passes its end: the first step that would sets `bad` and every later
 * step does nothing, so a parser reads straight through and checks once.  Integers are big-endian; a varint is RFC 9000
 * section 16. */
#ifndef KITH_BASE_BUF_H
#define KITH_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_VARINT_MAX ((UINT64_C(1) << 62) - 1)

typedef struct kith_reader {
    const uint8_t *at, *end;
    bool bad;
} kith_reader;

kith_reader kith_reader_of(const void *data, size_t size);
size_t kith_reader_left(const kith_reader *r);
uint8_t kith_read_u8(kith_reader *r); /* these give 0 (NULL) once bad */
uint16_t kith_read_u16(kith_reader *r);
uint32_t kith_read_u32(kith_reader *r);
uint64_t kith_read_u64(kith_reader *r);
uint64_t kith_read_varint(kith_reader *r);
/* A view of the next `size` bytes inside the reader's memory. */
const uint8_t *kith_read_view(kith_reader *r, size_t size);
void kith_read_copy(kith_reader *r, void *out, size_t size); /* zeroes `out` when bad */
bool kith_reader_done(const kith_reader *r);                 /* not bad and nothing left */

typedef struct kith_writer {
    uint8_t *start, *at, *end;
    bool bad;
} kith_writer;

kith_writer kith_writer_of(void *memory, size_t size);
size_t kith_writer_size(const kith_writer *w); /* bytes written */
void kith_write_u8(kith_writer *w, uint8_t value);
void kith_write_u16(kith_writer *w, uint16_t value);
void kith_write_u32(kith_writer *w, uint32_t value);
void kith_write_u64(kith_writer *w, uint64_t value);
void kith_write_varint(kith_writer *w, uint64_t value); /* shortest form; above KITH_VARINT_MAX is bad */
void kith_write_bytes(kith_writer *w, const void *data, size_t size);
uint8_t *kith_write_room(kith_writer *w, size_t size); /* skip `size` bytes to be filled in; NULL once bad */

/* Bytes a varint of this value takes: 1, 2, 4 or 8. */
size_t kith_varint_size(uint64_t value);

#endif
