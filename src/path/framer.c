#include "path/framer.h"

#include "base/mem.h"

#include <string.h>

#define SMALL_CAP (2 * (KITH_FRAME_PREFIX + KITH_FRAME_SMALL_MAX))
/* Three packets: one that is not whole yet is moved to the front seldom, and the system gives much in a call. */
#define LARGE_CAP (3 * (KITH_FRAME_PREFIX + KITH_FRAME_PACKET_MAX))

void kith_framer_init(kith_framer *framer) { *framer = (kith_framer){.packet_max = KITH_FRAME_SMALL_MAX}; }

void kith_framer_done(kith_framer *framer)
{
    kith_free(framer->buffer);
    *framer = (kith_framer){0};
}

void kith_framer_trust(kith_framer *framer) { framer->packet_max = KITH_FRAME_PACKET_MAX; }

static size_t wanted_cap(const kith_framer *framer)
{
    return framer->packet_max > KITH_FRAME_SMALL_MAX ? LARGE_CAP : SMALL_CAP;
}

/* Bytes of the packet that has begun, as far as its length is known. */
static size_t begun(const kith_framer *framer)
{
    const uint8_t *at = framer->buffer + framer->start;
    if (framer->end - framer->start < KITH_FRAME_PREFIX) return KITH_FRAME_PREFIX;
    return KITH_FRAME_PREFIX + ((size_t)at[0] << 8 | at[1]);
}

uint8_t *kith_framer_room(kith_framer *framer, size_t *size)
{
    size_t waiting = framer->end - framer->start;
    if (framer->cap < wanted_cap(framer)) {
        uint8_t *buffer = kith_malloc(wanted_cap(framer));
        if (!buffer) return NULL;
        if (waiting) memcpy(buffer, framer->buffer + framer->start, waiting);
        kith_free(framer->buffer);
        framer->buffer = buffer;
        framer->cap = wanted_cap(framer);
        framer->start = 0;
        framer->end = waiting;
    } else if (!waiting) {
        framer->start = framer->end = 0;
    } else if (framer->start + begun(framer) > framer->cap || framer->end == framer->cap) {
        memmove(framer->buffer, framer->buffer + framer->start, waiting);
        framer->start = 0;
        framer->end = waiting;
    }
    *size = framer->cap - framer->end;
    return framer->buffer + framer->end;
}

void kith_framer_filled(kith_framer *framer, size_t size) { framer->end += size; }

kith_err kith_framer_next(kith_framer *framer, uint8_t **packet, size_t *size)
{
    size_t waiting = framer->end - framer->start;
    if (waiting < KITH_FRAME_PREFIX) return KITH_ERR_AGAIN;
    size_t whole = begun(framer), length = whole - KITH_FRAME_PREFIX;
    if (length == 0 || length > framer->packet_max) return KITH_ERR_PROTOCOL;
    if (waiting < whole) return KITH_ERR_AGAIN;
    *packet = framer->buffer + framer->start + KITH_FRAME_PREFIX;
    *size = length;
    framer->start += whole;
    return KITH_OK;
}

/* Add what is left of `size` bytes after skipping. */
static void add_piece(struct iovec *pieces, size_t *count, size_t *skip, uint8_t *data, size_t size)
{
    size_t gone = *skip < size ? *skip : size;
    *skip -= gone;
    if (size > gone) pieces[(*count)++] = (struct iovec){data + gone, size - gone};
}

size_t kith_frame_run(const kith_packet *run, size_t skip, uint8_t prefixes[static KITH_FRAME_PIECES_MAX],
                      struct iovec pieces[static KITH_FRAME_PIECES_MAX], size_t *left)
{
    size_t count = 0;
    for (size_t at = 0; at < run->size; at += run->segment, prefixes += KITH_FRAME_PREFIX) {
        size_t size = run->size - at < run->segment ? run->size - at : run->segment;
        prefixes[0] = (uint8_t)(size >> 8);
        prefixes[1] = (uint8_t)size;
        add_piece(pieces, &count, &skip, prefixes, KITH_FRAME_PREFIX);
        add_piece(pieces, &count, &skip, run->data + at, size);
    }
    *left = 0;
    for (size_t i = 0; i < count; i++) *left += pieces[i].iov_len;
    return count;
}
