#include "quic/streambuf.h"

#include "base/mem.h"

#include <string.h>

#define CHUNK_ROOM_MIN 4096        /* for small writes, which then share a chunk */
#define BLOCK_SMALL    4096        /* a stream's first blocks ... */
#define BLOCK_LARGE    (64u << 10) /* ... and those of one that has brought more than SMALL_UNTIL */
#define SMALL_UNTIL    (16u << 10)

/* ---- sending ---- */

typedef struct chunk {
    kith_link link;
    uint64_t offset; /* of its first byte */
    size_t size, room;
    const uint8_t *lent; /* NULL: the bytes are in `own` */
    uint8_t own[];
} chunk;

static chunk *chunk_of(kith_link *link) { return KITH_OF(link, chunk, link); }
static const uint8_t *bytes_of(const chunk *c) { return c->lent ? c->lent : c->own; }

void kith_sendbuf_init(kith_sendbuf *buf)
{
    *buf = (kith_sendbuf){0};
    kith_list_init(&buf->chunks);
}

void kith_sendbuf_clear(kith_sendbuf *buf)
{
    kith_link *link;
    while ((link = kith_list_take_first(&buf->chunks))) kith_free(chunk_of(link));
    buf->at = NULL;
    buf->lent = 0;
    buf->sent = buf->written;
}

static kith_err append(kith_sendbuf *buf, size_t size, size_t room, const uint8_t *lent, chunk **out)
{
    chunk *c = kith_malloc(sizeof *c + room);
    if (!c) return KITH_ERR_NOMEM;
    *c = (chunk){.offset = buf->written, .size = size, .room = room, .lent = lent};
    kith_list_append(&buf->chunks, &c->link);
    if (!buf->at) buf->at = &c->link;
    buf->written += size;
    *out = c;
    return KITH_OK;
}

kith_err kith_sendbuf_write(kith_sendbuf *buf, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t fits = 0;
    chunk *last = kith_list_empty(&buf->chunks) ? NULL : chunk_of(buf->chunks.head.prev), *c;
    if (!size) return KITH_OK;
    if (last && !last->lent) fits = last->room - last->size < size ? last->room - last->size : size;
    if (fits < size) {
        /* Allocate first, so that a failure leaves nothing half written. */
        size_t rest = size - fits;
        uint64_t written = buf->written;
        buf->written += fits;
        kith_err err = append(buf, rest, rest < CHUNK_ROOM_MIN ? CHUNK_ROOM_MIN : rest, NULL, &c);
        if (err) {
            buf->written = written;
            return err;
        }
        memcpy(c->own, bytes + fits, rest);
    } else {
        buf->written += fits;
    }
    if (fits) {
        memcpy(last->own + last->size, bytes, fits);
        last->size += fits;
        if (buf->sent < last->offset + last->size && buf->sent >= last->offset) buf->at = &last->link;
    }
    return KITH_OK;
}

kith_err kith_sendbuf_lend(kith_sendbuf *buf, const void *data, size_t size)
{
    chunk *c;
    if (!size) return KITH_OK;
    kith_err err = append(buf, size, 0, data, &c);
    if (!err) buf->lent++;
    return err;
}

size_t kith_sendbuf_gather(const kith_sendbuf *buf, kith_piece *pieces, size_t count, bool *all)
{
    size_t n = 0;
    kith_link *at = buf->at;
    uint64_t offset = buf->sent;
    for (; at && at != &buf->chunks.head && n < count; at = at->next) {
        const chunk *c = chunk_of(at);
        size_t skip = (size_t)(offset - c->offset);
        pieces[n++] = (kith_piece){bytes_of(c) + skip, c->size - skip};
        offset = c->offset + c->size;
    }
    *all = offset == buf->written;
    return n;
}

void kith_sendbuf_sent(kith_sendbuf *buf, size_t size)
{
    buf->sent += size;
    while (buf->at) {
        const chunk *c = chunk_of(buf->at);
        if (buf->sent < c->offset + c->size) return;
        buf->at = buf->at->next == &buf->chunks.head ? NULL : buf->at->next;
    }
}

bool kith_sendbuf_acked(kith_sendbuf *buf, uint64_t offset)
{
    bool returned = false;
    if (offset <= buf->acked) return false;
    buf->acked = offset;
    KITH_EACH (link, &buf->chunks) {
        chunk *c = chunk_of(link);
        if (c->offset + c->size > offset) break;
        /* The last own chunk stays while it has room: the next write goes there. */
        if (!c->lent && c->size < c->room && link->next == &buf->chunks.head) break;
        if (c->lent) {
            returned = true;
            buf->lent--;
        }
        kith_list_remove(link);
        kith_free(c);
    }
    return returned;
}

/* ---- receiving ---- */

typedef struct block {
    kith_link link;
    size_t begin, end, room;
    uint8_t bytes[];
} block;

static block *block_of(kith_link *link) { return KITH_OF(link, block, link); }

void kith_spares_init(kith_spares *spares)
{
    *spares = (kith_spares){0};
    kith_list_init(&spares->blocks);
}

void kith_spares_done(kith_spares *spares)
{
    kith_link *link;
    while ((link = kith_list_take_first(&spares->blocks))) kith_free(block_of(link));
    spares->count = 0;
}

static void retire(kith_recvbuf *buf, block *b)
{
    kith_list_remove(&b->link);
    if (b->room == BLOCK_LARGE && buf->spares->count < KITH_SPARE_BLOCKS_MAX) {
        kith_list_prepend(&buf->spares->blocks, &b->link); /* still in the cache */
        buf->spares->count++;
    } else {
        kith_free(b);
    }
}

void kith_recvbuf_init(kith_recvbuf *buf, kith_spares *spares)
{
    *buf = (kith_recvbuf){.spares = spares};
    kith_list_init(&buf->blocks);
}

void kith_recvbuf_clear(kith_recvbuf *buf)
{
    kith_link *link;
    while ((link = kith_list_first(&buf->blocks))) retire(buf, block_of(link));
    buf->size = 0;
}

static block *add_block(kith_recvbuf *buf)
{
    size_t room = buf->received < SMALL_UNTIL ? BLOCK_SMALL : BLOCK_LARGE;
    block *b;
    if (room == BLOCK_LARGE && buf->spares->count) {
        b = block_of(kith_list_take_first(&buf->spares->blocks));
        buf->spares->count--;
    } else {
        b = kith_malloc(sizeof *b + room);
        if (!b) return NULL;
    }
    b->link = (kith_link){0};
    b->begin = b->end = 0;
    b->room = room;
    kith_list_append(&buf->blocks, &b->link);
    return b;
}

kith_err kith_recvbuf_add(kith_recvbuf *buf, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    while (size) {
        block *b = kith_list_empty(&buf->blocks) ? NULL : block_of(buf->blocks.head.prev);
        if (!b || b->end == b->room) b = add_block(buf);
        if (!b) return KITH_ERR_NOMEM;
        size_t fits = b->room - b->end < size ? b->room - b->end : size;
        memcpy(b->bytes + b->end, bytes, fits);
        b->end += fits;
        bytes += fits;
        size -= fits;
        buf->size += fits;
        buf->received += fits;
    }
    return KITH_OK;
}

size_t kith_recvbuf_peek(const kith_recvbuf *buf, const uint8_t **data)
{
    if (!buf->size) return 0;
    const block *b = block_of(buf->blocks.head.next);
    *data = b->bytes + b->begin;
    return b->end - b->begin;
}

void kith_recvbuf_consume(kith_recvbuf *buf, size_t size)
{
    if (size > buf->size) size = buf->size;
    buf->size -= size;
    while (size) {
        block *b = block_of(buf->blocks.head.next);
        size_t here = b->end - b->begin < size ? b->end - b->begin : size;
        b->begin += here;
        size -= here;
        if (b->begin == b->end) retire(buf, b);
    }
}
