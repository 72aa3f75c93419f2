/* The messages of one file transfer as bytes, shared by both sides (service/file.h has the order, docs/protocol.md
 * every byte):
 *
 *   message = type (varint) || length (varint) || body (CBOR)       OFFER, ANSWER, END, DONE, ABORT
 *   chunk   = type (varint) || size (u32) || CV (32 bytes) || data   CHUNK
 *
 * Types are below 64 and lengths at most KITH_FILE_MESSAGE_MAX, so a type takes one byte and a length one or two; a
 * longer form of either is refused before anything of the message is kept. */
#ifndef KITH_SERVICE_FILE_MESSAGE_H
#define KITH_SERVICE_FILE_MESSAGE_H

#include "service/file.h"
#include "service/wire_error.h"

typedef enum kith_file_message {
    KITH_FILE_MESSAGE_OFFER = 1,
    KITH_FILE_MESSAGE_ANSWER = 2,
    KITH_FILE_MESSAGE_CHUNK = 3,
    KITH_FILE_MESSAGE_END = 4,
    KITH_FILE_MESSAGE_DONE = 5,
    KITH_FILE_MESSAGE_ABORT = 6,
} kith_file_message;

/* What a STORAGE error was about: the ABORT's second member. */
#define KITH_FILE_STORAGE_ERRORS(X)                                                                                    \
    X(OTHER, 1, KITH_ERR_IO) /* first: what is not listed */                                                           \
    X(NO_SPACE, 2, KITH_ERR_NO_SPACE)                                                                                  \
    X(PERMISSION, 3, KITH_ERR_PERMISSION)                                                                              \
    X(EXISTS, 4, KITH_ERR_EXISTS)                                                                                      \
    X(NO_FILE, 5, KITH_ERR_NO_FILE)

#define KITH_FILE_PREFIX_MAX 3 /* type and length */
#define KITH_FILE_CHUNK_HEAD (1 + 4 + KITH_BLAKE3_SIZE)

/* Groups of a file of this size.  An empty file has one group of no bytes, so that every file has a chunk, a CV and a
 * root. */
uint64_t kith_file_groups(uint64_t size);
/* Where group `index` lies. */
uint64_t kith_file_group_offset(uint64_t index);
size_t kith_file_group_size(uint64_t file_size, uint64_t index);
/* Entries of a tree's stack after so many groups (crypto/blake3.c: merging is lazy). */
size_t kith_file_stack_depth(uint64_t groups);

/* Bytes from the stream, one message at a time. */
typedef struct kith_file_inbox {
    uint8_t bytes[KITH_FILE_PREFIX_MAX + KITH_FILE_MESSAGE_MAX];
    size_t size;
} kith_file_inbox;
typedef enum kith_file_inbox_state {
    KITH_FILE_INBOX_MORE,
    KITH_FILE_INBOX_WHOLE,
    KITH_FILE_INBOX_BAD
} kith_file_inbox_state;
/* Take bytes up to the end of one message (of a CHUNK: of its head); returns how many.  After WHOLE read it, then
 * clear. */
size_t kith_file_inbox_add(kith_file_inbox *inbox, const void *data, size_t size, kith_file_inbox_state *state);
kith_file_message kith_file_inbox_type(const kith_file_inbox *inbox);
void kith_file_inbox_clear(kith_file_inbox *inbox);

/* Writing gives the bytes written, 0 when they do not fit (they always do into KITH_FILE_OUTPUT_MAX, given a header
 * that kith_file_header_good accepts). */
bool kith_file_header_good(const kith_file_header *header);
size_t kith_file_write_offer(const kith_file_header *header, uint8_t *out, size_t cap);
size_t kith_file_write_answer(const kith_file_resume *resume, uint8_t *out, size_t cap);
size_t kith_file_write_root(kith_file_message type, const uint8_t root[static KITH_BLAKE3_SIZE], uint8_t *out,
                            size_t cap);
size_t kith_file_write_abort(kith_err why, uint8_t *out, size_t cap);
size_t kith_file_write_chunk_head(size_t size, const uint8_t cv[static KITH_BLAKE3_SIZE], uint8_t *out, size_t cap);

/* Reading what the inbox holds, of the type it says: false when the body is not of that form.  Outputs are then
 * undefined. */
bool kith_file_read_offer(const kith_file_inbox *inbox, kith_file_header *out);
bool kith_file_read_answer(const kith_file_inbox *inbox, uint64_t file_size, kith_file_resume *out);
bool kith_file_read_root(const kith_file_inbox *inbox, uint8_t out[static KITH_BLAKE3_SIZE]);
bool kith_file_read_abort(const kith_file_inbox *inbox, kith_err *why, kith_err *storage);
void kith_file_read_chunk_head(const kith_file_inbox *inbox, uint32_t *size, uint8_t cv[static KITH_BLAKE3_SIZE]);

#endif
