#include "service/file_message.h"

#include "base/mem.h"

#include <string.h>

typedef enum state {
    AWAIT_OFFER,
    OFFERED, /* the owner decides */
    CHUNKS,
    AWAIT_END,
    AWAIT_KEPT, /* the root fits; chunks are still being stored */
    WHOLE,      /* the owner puts it in place */
    FINISHED,
    FAILED,
} state;

#define EVENTS_MAX 3 /* CHUNK (one at a time), WHOLE, DONE; FAILED replaces what was not taken */

struct kith_file_rx {
    kith_file_header header;
    uint64_t groups;  /* of the whole file */
    uint64_t arrived; /* groups whose chunk is whole, and whose CV is in the tree */
    uint64_t kept;    /* groups kept in order from the start */
    uint64_t ahead;   /* bit i: group kept + i is kept too (bit 0 is never set: `kept` moves instead) */
    uint64_t taken;   /* groups given to the owner */
    kith_tree tree;
    kith_file_resume resume;
    uint8_t root[KITH_BLAKE3_SIZE];

    kith_file_chunk chunk; /* the one arriving */
    bool chunk_begun;      /* its head is there */
    bool chunk_ready;      /* whole, and not taken yet */
    size_t chunk_filled;
    uint8_t *buffer;

    state state;
    bool answer_due, done_due, abort_due, fin_due, by_peer;
    kith_err error;

    kith_file_inbox inbox;
    kith_file_event events[EVENTS_MAX];
    size_t event_count;
};

static void emit(kith_file_rx *rx, kith_file_event event)
{
    if (rx->event_count < EVENTS_MAX) rx->events[rx->event_count++] = event;
}

static bool over(const kith_file_rx *rx) { return rx->state == FINISHED || rx->state == FAILED; }

static void fail(kith_file_rx *rx, kith_err why, bool by_peer)
{
    if (over(rx)) return;
    rx->state = FAILED;
    rx->error = why;
    rx->by_peer = by_peer;
    rx->answer_due = rx->done_due = false;
    rx->abort_due = !by_peer;
    rx->fin_due = true;
    rx->chunk_begun = rx->chunk_ready = false;
    rx->buffer = NULL;
    rx->event_count = 0;
    emit(rx, KITH_FILE_FAILED);
}

kith_err kith_file_rx_new(kith_file_rx **out)
{
    kith_file_rx *rx = kith_calloc(1, sizeof *rx);
    if (!rx) return KITH_ERR_NOMEM;
    kith_tree_init(&rx->tree);
    *out = rx;
    return KITH_OK;
}

void kith_file_rx_free(kith_file_rx *rx) { kith_free(rx); }

static bool take_offer(kith_file_rx *rx)
{
    if (rx->state != AWAIT_OFFER || !kith_file_read_offer(&rx->inbox, &rx->header)) return false;
    rx->groups = kith_file_groups(rx->header.size);
    rx->state = OFFERED;
    emit(rx, KITH_FILE_OFFERED);
    return true;
}

static bool begin_chunk(kith_file_rx *rx)
{
    uint32_t size;
    if (rx->state != CHUNKS) return false;
    uint64_t index = rx->arrived;
    rx->chunk = (kith_file_chunk){.index = index, .offset = kith_file_group_offset(index), .only = rx->groups == 1};
    rx->chunk.size = kith_file_group_size(rx->header.size, index);
    kith_file_read_chunk_head(&rx->inbox, &size, rx->chunk.cv);
    rx->chunk_filled = 0;
    rx->chunk_begun = size == rx->chunk.size;
    return rx->chunk_begun;
}

/* The tree takes each CV as its chunk arrives: it counts only when every chunk was kept, and then was hashed to that
 * CV. */
static void end_chunk(kith_file_rx *rx)
{
    rx->chunk.data = rx->buffer;
    rx->buffer = NULL;
    rx->chunk_begun = false;
    rx->chunk_ready = true;
    kith_tree_add(&rx->tree, rx->chunk.cv);
    if (++rx->arrived == rx->groups) rx->state = AWAIT_END;
    emit(rx, KITH_FILE_CHUNK);
}

uint8_t *kith_file_rx_room(kith_file_rx *rx, size_t *size)
{
    if (!rx->chunk_begun || !rx->buffer) return NULL;
    *size = rx->chunk.size - rx->chunk_filled;
    return rx->buffer + rx->chunk_filled;
}

void kith_file_rx_filled(kith_file_rx *rx, size_t size)
{
    size_t left;
    if (!kith_file_rx_room(rx, &left) || size > left) return;
    rx->chunk_filled += size;
    if (size == left) end_chunk(rx);
}

/* Bytes of the chunk; 0 while there is nowhere to put them. */
static size_t fill_chunk(kith_file_rx *rx, const uint8_t *data, size_t size)
{
    size_t left;
    uint8_t *room = kith_file_rx_room(rx, &left);
    if (!room) return 0;
    if (size > left) size = left;
    memcpy(room, data, size);
    kith_file_rx_filled(rx, size);
    return size;
}

static void become_whole(kith_file_rx *rx)
{
    if (rx->state != AWAIT_KEPT || rx->kept != rx->groups) return;
    rx->state = WHOLE;
    emit(rx, KITH_FILE_WHOLE);
}

static bool take_end(kith_file_rx *rx)
{
    uint8_t theirs[KITH_BLAKE3_SIZE];
    if (rx->state != AWAIT_END || !kith_file_read_root(&rx->inbox, theirs)) return false;
    kith_tree_root(&rx->tree, rx->root);
    bool as_offered = !rx->header.has_hash || memcmp(rx->root, rx->header.hash, sizeof rx->root) == 0;
    if (!as_offered || memcmp(rx->root, theirs, sizeof theirs) != 0) {
        fail(rx, KITH_ERR_CORRUPT, false);
        return true;
    }
    rx->state = AWAIT_KEPT;
    become_whole(rx);
    return true;
}

static bool take_abort(kith_file_rx *rx)
{
    kith_err why, storage;
    if (!kith_file_read_abort(&rx->inbox, &why, &storage)) return false;
    fail(rx, why, true);
    return true;
}

static bool take_message(kith_file_rx *rx)
{
    switch (kith_file_inbox_type(&rx->inbox)) {
    case KITH_FILE_MESSAGE_OFFER: return take_offer(rx);
    case KITH_FILE_MESSAGE_CHUNK: return begin_chunk(rx);
    case KITH_FILE_MESSAGE_END: return take_end(rx);
    case KITH_FILE_MESSAGE_ABORT: return take_abort(rx);
    default: return false;
    }
}

static size_t take_some(kith_file_rx *rx, const uint8_t *data, size_t size)
{
    kith_file_inbox_state got;
    if (rx->chunk_ready) return 0;
    if (rx->chunk_begun) return fill_chunk(rx, data, size);
    size_t taken = kith_file_inbox_add(&rx->inbox, data, size, &got);
    if (got == KITH_FILE_INBOX_MORE) return taken;
    if (got == KITH_FILE_INBOX_BAD || !take_message(rx)) fail(rx, KITH_ERR_PROTOCOL, false);
    kith_file_inbox_clear(&rx->inbox);
    return taken;
}

size_t kith_file_rx_input(kith_file_rx *rx, const void *data, size_t size, bool fin)
{
    const uint8_t *at = data;
    size_t taken = 0;
    while (taken < size && !over(rx)) {
        size_t n = take_some(rx, at + taken, size - taken);
        if (n == 0 && !over(rx)) return taken;
        taken += n;
    }
    if (fin && rx->state < AWAIT_KEPT) fail(rx, KITH_ERR_CLOSED, true);
    return size;
}

size_t kith_file_rx_output(kith_file_rx *rx, uint8_t *out, size_t cap, bool *fin)
{
    size_t size = 0;
    *fin = false;
    if (cap < KITH_FILE_OUTPUT_MAX) return 0;
    if (rx->answer_due) {
        rx->answer_due = false;
        size = kith_file_write_answer(&rx->resume, out, cap);
    } else if (rx->done_due) {
        rx->done_due = false;
        size = kith_file_write_root(KITH_FILE_MESSAGE_DONE, rx->root, out, cap);
        emit(rx, KITH_FILE_DONE);
    } else if (rx->abort_due) {
        rx->abort_due = false;
        size = kith_file_write_abort(rx->error, out, cap);
    }
    *fin = rx->fin_due && !rx->answer_due && !rx->done_due && !rx->abort_due;
    if (*fin) rx->fin_due = false;
    return size;
}

kith_file_event kith_file_rx_event(kith_file_rx *rx)
{
    if (rx->event_count == 0) return KITH_FILE_NOTHING;
    kith_file_event event = rx->events[0];
    rx->event_count--;
    memmove(rx->events, rx->events + 1, rx->event_count * sizeof *rx->events);
    return event;
}

const kith_file_header *kith_file_rx_header(const kith_file_rx *rx) { return &rx->header; }

kith_err kith_file_rx_accept(kith_file_rx *rx, const kith_file_resume *resume)
{
    if (rx->state != OFFERED) return KITH_ERR_STATE;
    if (resume) {
        const kith_tree *tree = &resume->tree;
        if (resume->groups > rx->groups || tree->groups != resume->groups ||
            tree->depth != kith_file_stack_depth(tree->groups))
            return KITH_ERR_ARG;
        rx->resume = *resume;
        rx->tree = resume->tree;
        rx->arrived = rx->taken = rx->kept = resume->groups;
    }
    rx->state = rx->arrived < rx->groups ? CHUNKS : AWAIT_END;
    rx->answer_due = true;
    return KITH_OK;
}

void kith_file_rx_refuse(kith_file_rx *rx, kith_err why)
{
    if (rx->state == OFFERED) fail(rx, why, false);
}

bool kith_file_rx_wants_buffer(const kith_file_rx *rx)
{
    return rx->chunk_begun && !rx->buffer && rx->arrived - rx->kept < KITH_FILE_WINDOW;
}

void kith_file_rx_give_buffer(kith_file_rx *rx, uint8_t *buffer)
{
    if (!kith_file_rx_wants_buffer(rx)) return;
    rx->buffer = buffer;
    if (rx->chunk.size == 0) end_chunk(rx);
}

void kith_file_rx_chunk(kith_file_rx *rx, kith_file_chunk *out)
{
    *out = rx->chunk;
    if (!rx->chunk_ready) return;
    rx->chunk_ready = false;
    rx->taken++;
}

void kith_file_rx_kept(kith_file_rx *rx, const kith_file_chunk *chunk, kith_err result)
{
    if (over(rx) || chunk->index < rx->kept || chunk->index >= rx->taken) return;
    if (result) {
        fail(rx, result, false);
        return;
    }
    rx->ahead |= UINT64_C(1) << (chunk->index - rx->kept);
    for (; rx->ahead & 1; rx->ahead >>= 1) rx->kept++;
    become_whole(rx);
}

uint64_t kith_file_rx_held(const kith_file_rx *rx)
{
    uint64_t unanswered = rx->arrived - rx->kept - (uint64_t)__builtin_popcountll(rx->ahead);
    return unanswered * KITH_GROUP_SIZE + (rx->buffer ? rx->chunk_filled : 0); /* the last chunk may be smaller */
}

uint64_t kith_file_rx_progress(const kith_file_rx *rx)
{
    uint64_t bytes = rx->kept * KITH_GROUP_SIZE;
    return bytes < rx->header.size ? bytes : rx->header.size;
}

void kith_file_rx_root(const kith_file_rx *rx, uint8_t out[static KITH_BLAKE3_SIZE])
{
    memcpy(out, rx->root, sizeof rx->root);
}

void kith_file_rx_finish(kith_file_rx *rx, kith_err result)
{
    if (rx->state != WHOLE) return;
    if (result) {
        fail(rx, result, false);
        return;
    }
    rx->state = FINISHED;
    rx->done_due = rx->fin_due = true;
}

void kith_file_rx_abort(kith_file_rx *rx, kith_err why) { fail(rx, why, false); }
kith_err kith_file_rx_error(const kith_file_rx *rx) { return rx->error; }
bool kith_file_rx_by_peer(const kith_file_rx *rx) { return rx->by_peer; }
