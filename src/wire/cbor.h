/* CBOR (RFC 8949) for small signed messages.  Signed bytes must have one form, so the Core Deterministic Encoding of
 * section 4.2.1 is what is written, and anything else is refused when read: heads are shortest, lengths definite, map
 * keys strictly ascending (bytewise, which for unsigned integers is by value), and nothing trails.
 *
 * The subset: unsigned and negative integers, byte and text strings, arrays, maps, booleans and null.  Floats, tags,
 * undefined and other simple values, arrays and maps as keys, and text with a NUL are refused, also inside what is
 * skipped.
 *
 * Like the cursors of base/buf.h, the first wrong step sets `bad` and every later one does nothing, so a parser reads
 * straight through and checks kith_cbor_done once.  The reader knows how many items each open array and map has left:
 * reading past the end of one is wrong, and so is finishing early.  Nothing is allocated; the views point into the
 * reader's memory. */
#ifndef KITH_WIRE_CBOR_H
#define KITH_WIRE_CBOR_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_CBOR_DEPTH_MAX 8 /* arrays and maps within each other */

typedef enum kith_cbor_type {
    KITH_CBOR_END, /* nothing left, or bad */
    KITH_CBOR_UINT,
    KITH_CBOR_NEGATIVE,
    KITH_CBOR_BYTES,
    KITH_CBOR_TEXT,
    KITH_CBOR_ARRAY,
    KITH_CBOR_MAP,
    KITH_CBOR_BOOL,
    KITH_CBOR_NULL,
    KITH_CBOR_OTHER, /* outside the subset: reading it is wrong */
} kith_cbor_type;

typedef struct kith_cbor_frame {
    uint64_t left;      /* items still to come: a pair of a map is two */
    const uint8_t *key; /* the last key of a map as encoded; NULL before the first */
    size_t key_size;
    bool map;
} kith_cbor_frame;

typedef struct kith_cbor_reader {
    const uint8_t *at, *end;
    kith_cbor_frame frames[KITH_CBOR_DEPTH_MAX + 1]; /* [0] is the message: one item */
    size_t depth;
    bool bad;
} kith_cbor_reader;

kith_cbor_reader kith_cbor_reader_of(const void *data, size_t size);
kith_cbor_type kith_cbor_peek(const kith_cbor_reader *r);
bool kith_cbor_done(const kith_cbor_reader *r); /* not bad, one whole item read, and nothing left */

/* These give 0 (false, NULL) once bad. */
uint64_t kith_cbor_read_uint(kith_cbor_reader *r);
int64_t kith_cbor_read_int(kith_cbor_reader *r); /* either sign; what int64_t cannot hold is wrong */
bool kith_cbor_read_bool(kith_cbor_reader *r);
void kith_cbor_read_null(kith_cbor_reader *r);
const uint8_t *kith_cbor_read_bytes(kith_cbor_reader *r, size_t *size); /* *size is 0 once bad */
const char *kith_cbor_read_text(kith_cbor_reader *r, size_t *size);     /* valid UTF-8 without a NUL; not terminated */
/* A byte string of exactly `size` bytes; zeroes `out` when it is not one. */
void kith_cbor_read_copy(kith_cbor_reader *r, void *out, size_t size);
/* A text of at most out_size - 1 bytes, NUL-terminated; "" when it is not one. */
void kith_cbor_read_string(kith_cbor_reader *r, char *out, size_t out_size);
/* The next item, whatever it is; the second gives a view of its encoding (to verify or keep it as it stands). */
void kith_cbor_skip(kith_cbor_reader *r);
const uint8_t *kith_cbor_read_item(kith_cbor_reader *r, size_t *size);

/* The number of items, or of pairs.  A count that the bytes left cannot hold is wrong, so it bounds what a caller
 * allocates. */
size_t kith_cbor_read_array(kith_cbor_reader *r);
size_t kith_cbor_read_map(kith_cbor_reader *r);

/* Walk a map whose keys are unsigned integers, asking for keys in ascending order; those not asked for are skipped:
 *     kith_cbor_walk walk = kith_cbor_enter(&r);
 *     if (kith_cbor_need(&r, &walk, 1)) id = kith_cbor_read_uint(&r);
 *     if (kith_cbor_find(&r, &walk, 5)) kith_cbor_read_copy(&r, key, sizeof key);
 *     kith_cbor_leave(&r, &walk);
 * A key found must have its value read whole before the next call. */
typedef struct kith_cbor_walk {
    size_t left;  /* pairs whose key is not read yet */
    size_t depth; /* the map's frame */
    uint64_t key; /* read, its value still to come, if pending */
    bool pending;
} kith_cbor_walk;

kith_cbor_walk kith_cbor_enter(kith_cbor_reader *r);
bool kith_cbor_find(kith_cbor_reader *r, kith_cbor_walk *walk, uint64_t key);
bool kith_cbor_need(kith_cbor_reader *r, kith_cbor_walk *walk, uint64_t key); /* absent is wrong */
void kith_cbor_leave(kith_cbor_reader *r, kith_cbor_walk *walk);              /* skips the rest */

/* Writing.  The counts must be right and map keys ascending: that is the caller's part.  Text that is not valid UTF-8,
 * or has a NUL, makes the writer bad. */
void kith_cbor_write_uint(kith_writer *w, uint64_t value);
void kith_cbor_write_int(kith_writer *w, int64_t value);
void kith_cbor_write_bytes(kith_writer *w, const void *data, size_t size);
void kith_cbor_write_text(kith_writer *w, const char *text, size_t size);
void kith_cbor_write_bool(kith_writer *w, bool value);
void kith_cbor_write_null(kith_writer *w);
void kith_cbor_write_array(kith_writer *w, size_t items);
void kith_cbor_write_map(kith_writer *w, size_t pairs);
/* A byte string whose `size` bytes are filled in by the caller; NULL once bad. */
uint8_t *kith_cbor_write_bytes_room(kith_writer *w, size_t size);

#endif
