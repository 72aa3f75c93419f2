/* One file over one bidirectional stream, both sides as state machines: no disk, no network.  docs/protocol.md has the
 * bytes.
 *
 *   sender                                   receiver
 *   OFFER {name, size, version tag, ...}  ->
 *                                         <- ANSWER {how far it got before}
 *   CHUNK {cv} + up to 1 MiB of bytes     ->   (one for each group from there on, in order)
 *   END {root}, end of stream             ->
 *                                         <- DONE {root}, end of stream
 * Either side may say ABORT {why}, end of stream, instead of what is due next: the receiver declines an offer, or says
 * that the file could not be put in place, in this way too.
 *
 * The version tag names this content of this file on the sender's disk (it changes when the file is touched), so that a
 * receiver knows whether what it kept from an earlier attempt is the beginning of the same thing.  A chunk is one group
 * of the BLAKE3 tree (crypto/blake3.h); its CV travels before it and is checked before the chunk is kept.  An empty
 * file has one chunk of no bytes.
 *
 * When a side has failed, by itself or by the peer, it takes what still comes and does nothing with it; one more output
 * says ABORT where that is due and ends the stream. */
#ifndef KITH_SERVICE_FILE_H
#define KITH_SERVICE_FILE_H

#include "base/buf.h"
#include "crypto/blake3.h"

#include <kith/error.h>
#include <stdbool.h>

#define KITH_FILE_NAME_MAX    1024            /* bytes of a name in an offer */
#define KITH_FILE_SIZE_MAX    KITH_VARINT_MAX /* 4 EiB - 1; a larger offer breaks the protocol */
#define KITH_FILE_TAG_SIZE    32
#define KITH_FILE_MESSAGE_MAX 4096 /* bytes of any message but a chunk's data */
#define KITH_FILE_OUTPUT_MAX  (KITH_FILE_MESSAGE_MAX + 16)
#define KITH_FILE_WINDOW      64 /* chunks taken from an rx and not answered with kept */

typedef struct kith_file_header {
    char name[KITH_FILE_NAME_MAX + 1]; /* as the sender said it: UTF-8 without NUL is checked, nothing else */
    uint64_t size;
    uint8_t tag[KITH_FILE_TAG_SIZE];
    bool has_hash; /* the sender knows it already */
    uint8_t hash[KITH_BLAKE3_SIZE];
    int64_t modified_ms; /* since 1970 UTC */
    bool executable;
} kith_file_header;

/* Where an earlier attempt stopped: groups that were checked and kept, and the tree over them. */
typedef struct kith_file_resume {
    uint64_t groups; /* 0: from the start */
    kith_tree tree;
} kith_file_resume;

typedef enum kith_file_event {
    KITH_FILE_NOTHING,
    KITH_FILE_OFFERED,  /* rx: read kith_file_rx_header, then accept or refuse */
    KITH_FILE_ACCEPTED, /* tx: chunks may go: kith_file_tx_next */
    KITH_FILE_CHUNK,    /* rx: a chunk is whole: take it with kith_file_rx_chunk */
    KITH_FILE_WHOLE,    /* rx: every chunk was kept, the root fits: put it in place, then kith_file_rx_finish */
    KITH_FILE_DONE,     /* tx: the receiver has it; rx: DONE was output, nothing more to do */
    KITH_FILE_FAILED, /* either: kith_file_*_error says why, *_by_peer whether the other side said so; an output may be
                         due */
} kith_file_event;

/* ---- sender ---- */
typedef struct kith_file_tx kith_file_tx;
/* ARG: the name is not UTF-8, or the size above KITH_FILE_SIZE_MAX.  NOMEM. */
KITH_MUST_CHECK kith_err kith_file_tx_new(const kith_file_header *header, kith_file_tx **out);
void kith_file_tx_free(kith_file_tx *tx);
/* Bytes from the peer; all are taken.  fin: the peer's stream ended after them. */
void kith_file_tx_input(kith_file_tx *tx, const void *data, size_t size, bool fin);
/* Messages due, into out[0..cap) with cap >= KITH_FILE_OUTPUT_MAX: bytes to write to the stream now.  0: none. *fin:
 * end our side. */
size_t kith_file_tx_output(kith_file_tx *tx, uint8_t *out, size_t cap, bool *fin);
kith_file_event kith_file_tx_event(kith_file_tx *tx);
/* The next chunk to read from the file and to hash: false when all were given out.  May run ahead of sending. */
bool kith_file_tx_next(kith_file_tx *tx, uint64_t *index, uint64_t *offset, size_t *size);
/* The chunk read in order (index = the lowest not yet sent): gives the bytes that go before its data; the owner writes
 * both to the stream. After the last one output gives END. */
KITH_MUST_CHECK kith_err
kith_file_tx_chunk(kith_file_tx *tx, uint64_t index, const uint8_t cv[static KITH_BLAKE3_SIZE], uint8_t *out,
                   size_t cap, size_t *out_size); /* STATE: not sending; ARG: not this chunk's turn; LIMIT: cap */
/* Give up (CHANGED, IO, CANCELLED ...): the next output tells the peer. */
void kith_file_tx_abort(kith_file_tx *tx, kith_err why);
kith_err kith_file_tx_error(const kith_file_tx *tx); /* KITH_OK unless failed */
bool kith_file_tx_by_peer(const kith_file_tx *tx);
/* With the error REMOTE_STORAGE: what the peer's disk said: NO_SPACE, PERMISSION, EXISTS, NO_FILE, or IO for anything
 * else. */
kith_err kith_file_tx_storage(const kith_file_tx *tx);
uint64_t kith_file_tx_resumed(const kith_file_tx *tx);                                /* bytes the receiver had */
bool kith_file_tx_root(const kith_file_tx *tx, uint8_t out[static KITH_BLAKE3_SIZE]); /* false before the last chunk */

/* ---- receiver ---- */
typedef struct kith_file_rx kith_file_rx;
KITH_MUST_CHECK kith_err kith_file_rx_new(kith_file_rx **out);
void kith_file_rx_free(kith_file_rx *rx);
/* Bytes from the peer; returns how many were taken: fewer than given while a chunk waits for a buffer (back-pressure:
 * do not credit the rest).  fin: the stream ended after these bytes (say so again until all are taken). */
size_t kith_file_rx_input(kith_file_rx *rx, const void *data, size_t size, bool fin);
size_t kith_file_rx_output(kith_file_rx *rx, uint8_t *out, size_t cap, bool *fin);
kith_file_event kith_file_rx_event(kith_file_rx *rx);
const kith_file_header *kith_file_rx_header(const kith_file_rx *rx);
/* NULL: from the start.  STATE: no offer waits (it may have been taken back); ARG: not a state this file can be in. */
KITH_MUST_CHECK kith_err kith_file_rx_accept(kith_file_rx *rx, const kith_file_resume *resume);
void kith_file_rx_refuse(kith_file_rx *rx, kith_err why); /* DECLINED, NOT_ALLOWED, NO_SPACE, PERMISSION ... */
/* Where the next chunk's bytes go: memory of KITH_GROUP_SIZE bytes, the owner's, until CHUNK gave it back, the rx
 * failed or is freed.  It is wanted when a chunk's head has arrived, so an idle transfer holds none, and not while
 * KITH_FILE_WINDOW chunks are unanswered. */
bool kith_file_rx_wants_buffer(const kith_file_rx *rx);
void kith_file_rx_give_buffer(kith_file_rx *rx, uint8_t *buffer);
/* Where the next bytes of the chunk that arrives go, for an owner who puts them there himself instead of by input;
 * NULL: nowhere now. */
uint8_t *kith_file_rx_room(kith_file_rx *rx, size_t *size);
void kith_file_rx_filled(kith_file_rx *rx, size_t size); /* so many are there now */
typedef struct kith_file_chunk {
    uint64_t index, offset;
    uint8_t *data; /* the buffer given */
    size_t size;
    bool only;                    /* the file is this one group (for kith_group_cv) */
    uint8_t cv[KITH_BLAKE3_SIZE]; /* what it must hash to */
} kith_file_chunk;
/* After the event CHUNK.  The owner hashes, compares, stores, in any order, and answers each with kept (in any order).
 */
void kith_file_rx_chunk(kith_file_rx *rx, kith_file_chunk *out);
void kith_file_rx_kept(kith_file_rx *rx, const kith_file_chunk *chunk,
                       kith_err result); /* OK, CORRUPT, NO_SPACE, IO ... */
/* Bytes in the owner's buffers: of the chunk that arrives, and of those not answered yet. */
uint64_t kith_file_rx_held(const kith_file_rx *rx);
/* Bytes kept in order from the start, resumed ones included. */
uint64_t kith_file_rx_progress(const kith_file_rx *rx);
void kith_file_rx_root(const kith_file_rx *rx, uint8_t out[static KITH_BLAKE3_SIZE]); /* after WHOLE */
void kith_file_rx_finish(kith_file_rx *rx, kith_err result); /* it is in place (OK) or could not be put there */
void kith_file_rx_abort(kith_file_rx *rx, kith_err why);
kith_err kith_file_rx_error(const kith_file_rx *rx);
bool kith_file_rx_by_peer(const kith_file_rx *rx);

#endif
