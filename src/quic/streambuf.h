/* The bytes of one stream: what we send, kept where it is until it is acknowledged (ngtcp2 keeps pointers into it), and
 * what arrived, until it is consumed. */
#ifndef KITH_QUIC_STREAMBUF_H
#define KITH_QUIC_STREAMBUF_H

#include "base/list.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- sending: offsets acked <= sent <= written ---- */
typedef struct kith_sendbuf {
    kith_list chunks; /* those not wholly acknowledged */
    kith_link *at;    /* the chunk of `sent`, NULL at the end */
    uint64_t written, sent, acked;
    size_t lent; /* chunks that are the caller's memory */
} kith_sendbuf;

typedef struct kith_piece {
    const uint8_t *data;
    size_t size;
} kith_piece;

void kith_sendbuf_init(kith_sendbuf *buf);
void kith_sendbuf_clear(kith_sendbuf *buf); /* forget all bytes; offsets stay */
KITH_MUST_CHECK kith_err kith_sendbuf_write(kith_sendbuf *buf, const void *data, size_t size);
KITH_MUST_CHECK kith_err kith_sendbuf_lend(kith_sendbuf *buf, const void *data, size_t size);
/* Up to `count` pieces from `sent` on; how many, and *all: they reach the end of what is written. */
size_t kith_sendbuf_gather(const kith_sendbuf *buf, kith_piece *pieces, size_t count, bool *all);
void kith_sendbuf_sent(kith_sendbuf *buf, size_t size);
/* All before `offset` is acknowledged.  True when lent memory came back by that. */
bool kith_sendbuf_acked(kith_sendbuf *buf, uint64_t offset);

/* ---- receiving ---- */
/* Large blocks that are empty, for all streams of an endpoint: without them bulk data would grow and shrink the heap
 * all the time. */
#define KITH_SPARE_BLOCKS_MAX 16
typedef struct kith_spares {
    kith_list blocks;
    size_t count;
} kith_spares;
void kith_spares_init(kith_spares *spares);
void kith_spares_done(kith_spares *spares);

typedef struct kith_recvbuf {
    kith_list blocks;
    kith_spares *spares;
    size_t size; /* not consumed yet */
    uint64_t received;
} kith_recvbuf;

void kith_recvbuf_init(kith_recvbuf *buf, kith_spares *spares);
void kith_recvbuf_clear(kith_recvbuf *buf);
KITH_MUST_CHECK kith_err kith_recvbuf_add(kith_recvbuf *buf, const void *data, size_t size);
size_t kith_recvbuf_peek(const kith_recvbuf *buf, const uint8_t **data); /* the first contiguous bytes; 0: nothing */
void kith_recvbuf_consume(kith_recvbuf *buf, size_t size);               /* at most buf->size */

#endif
