#include "service/file_message.h"

#include "base/mem.h"

#include <string.h>

typedef enum state {
    AWAIT_ANSWER,
    SENDING,
    AWAIT_DONE, /* every chunk was handed out with its head */
    FINISHED,
    FAILED,
} state;

#define EVENTS_MAX 2 /* ACCEPTED, then DONE or FAILED */

struct kith_file_tx {
    kith_file_header header;
    uint64_t groups;    /* of the whole file */
    uint64_t next_read; /* the group tx_next gives out */
    uint64_t next_sent; /* the group tx_chunk takes */
    uint64_t resumed;   /* groups the receiver had */
    kith_tree tree;
    uint8_t root[KITH_BLAKE3_SIZE];

    state state;
    bool offer_due, end_due, abort_due, fin_due, by_peer;
    kith_err error, storage;

    kith_file_inbox inbox;
    kith_file_event events[EVENTS_MAX];
    size_t event_count;
};

static void emit(kith_file_tx *tx, kith_file_event event)
{
    if (tx->event_count < EVENTS_MAX) tx->events[tx->event_count++] = event;
}

static void fail(kith_file_tx *tx, kith_err why, bool by_peer)
{
    if (tx->state == FINISHED || tx->state == FAILED) return;
    bool ended = tx->state == AWAIT_DONE && !tx->end_due; /* our side of the stream */
    tx->state = FAILED;
    tx->error = why;
    tx->by_peer = by_peer;
    tx->offer_due = tx->end_due = false;
    tx->abort_due = !by_peer && !ended;
    tx->fin_due = !ended;
    tx->event_count = 0;
    emit(tx, KITH_FILE_FAILED);
}

kith_err kith_file_tx_new(const kith_file_header *header, kith_file_tx **out)
{
    if (!kith_file_header_good(header)) return KITH_ERR_ARG;
    kith_file_tx *tx = kith_calloc(1, sizeof *tx);
    if (!tx) return KITH_ERR_NOMEM;
    tx->header = *header;
    tx->groups = kith_file_groups(header->size);
    tx->offer_due = true;
    kith_tree_init(&tx->tree);
    *out = tx;
    return KITH_OK;
}

void kith_file_tx_free(kith_file_tx *tx) { kith_free(tx); }

/* When the last chunk's CV is known: our root.  That it is not the hash we offered means that the file is another one
 * by now, or that the receiver's account of its beginning is wrong. */
static void finish_chunks(kith_file_tx *tx)
{
    kith_tree_root(&tx->tree, tx->root);
    tx->state = AWAIT_DONE;
    tx->end_due = true;
    if (!tx->header.has_hash || memcmp(tx->root, tx->header.hash, sizeof tx->root) == 0) return;
    fail(tx, tx->resumed ? KITH_ERR_CORRUPT : KITH_ERR_CHANGED, false);
}

static bool take_answer(kith_file_tx *tx)
{
    kith_file_resume resume;
    if (tx->state != AWAIT_ANSWER || tx->offer_due || !kith_file_read_answer(&tx->inbox, tx->header.size, &resume))
        return false;
    tx->tree = resume.tree;
    tx->resumed = tx->next_read = tx->next_sent = resume.groups;
    tx->state = SENDING;
    emit(tx, KITH_FILE_ACCEPTED);
    if (tx->next_sent == tx->groups) finish_chunks(tx);
    return true;
}

static bool take_done(kith_file_tx *tx)
{
    uint8_t root[KITH_BLAKE3_SIZE];
    if (tx->state != AWAIT_DONE || tx->end_due || !kith_file_read_root(&tx->inbox, root)) return false;
    if (memcmp(root, tx->root, sizeof root) != 0) {
        fail(tx, KITH_ERR_CORRUPT, false);
        return true;
    }
    tx->state = FINISHED;
    emit(tx, KITH_FILE_DONE);
    return true;
}

static bool take_abort(kith_file_tx *tx)
{
    kith_err why, storage;
    if (!kith_file_read_abort(&tx->inbox, &why, &storage)) return false;
    tx->storage = storage;
    fail(tx, why, true);
    return true;
}

static bool take_message(kith_file_tx *tx)
{
    switch (kith_file_inbox_type(&tx->inbox)) {
    case KITH_FILE_MESSAGE_ANSWER: return take_answer(tx);
    case KITH_FILE_MESSAGE_DONE: return take_done(tx);
    case KITH_FILE_MESSAGE_ABORT: return take_abort(tx);
    default: return false;
    }
}

void kith_file_tx_input(kith_file_tx *tx, const void *data, size_t size, bool fin)
{
    const uint8_t *at = data;
    while (size && tx->state != FINISHED && tx->state != FAILED) {
        kith_file_inbox_state got;
        size_t taken = kith_file_inbox_add(&tx->inbox, at, size, &got);
        at += taken;
        size -= taken;
        if (got == KITH_FILE_INBOX_MORE) break;
        if (got == KITH_FILE_INBOX_BAD || !take_message(tx)) fail(tx, KITH_ERR_PROTOCOL, false);
        kith_file_inbox_clear(&tx->inbox);
    }
    if (fin) fail(tx, KITH_ERR_CLOSED, true); /* does nothing after the end */
}

size_t kith_file_tx_output(kith_file_tx *tx, uint8_t *out, size_t cap, bool *fin)
{
    size_t size = 0;
    *fin = false;
    if (cap < KITH_FILE_OUTPUT_MAX) return 0;
    if (tx->offer_due) {
        tx->offer_due = false;
        return kith_file_write_offer(&tx->header, out, cap);
    }
    if (tx->end_due) {
        tx->end_due = false;
        tx->fin_due = true;
        size = kith_file_write_root(KITH_FILE_MESSAGE_END, tx->root, out, cap);
    } else if (tx->abort_due) {
        tx->abort_due = false;
        size = kith_file_write_abort(tx->error, out, cap);
    }
    *fin = tx->fin_due;
    tx->fin_due = false;
    return size;
}

kith_file_event kith_file_tx_event(kith_file_tx *tx)
{
    if (tx->event_count == 0) return KITH_FILE_NOTHING;
    kith_file_event event = tx->events[0];
    tx->events[0] = tx->events[1];
    tx->event_count--;
    return event;
}

bool kith_file_tx_next(kith_file_tx *tx, uint64_t *index, uint64_t *offset, size_t *size)
{
    if (tx->state != SENDING || tx->next_read == tx->groups) return false;
    *index = tx->next_read++;
    *offset = kith_file_group_offset(*index);
    *size = kith_file_group_size(tx->header.size, *index);
    return true;
}

kith_err kith_file_tx_chunk(kith_file_tx *tx, uint64_t index, const uint8_t cv[static KITH_BLAKE3_SIZE], uint8_t *out,
                            size_t cap, size_t *out_size)
{
    if (tx->state != SENDING) return KITH_ERR_STATE;
    if (index != tx->next_sent || index >= tx->next_read) return KITH_ERR_ARG;
    size_t size = kith_file_write_chunk_head(kith_file_group_size(tx->header.size, index), cv, out, cap);
    if (size == 0) return KITH_ERR_LIMIT;
    kith_tree_add(&tx->tree, cv);
    *out_size = size;
    if (++tx->next_sent == tx->groups) finish_chunks(tx);
    return KITH_OK;
}

void kith_file_tx_abort(kith_file_tx *tx, kith_err why) { fail(tx, why, false); }
kith_err kith_file_tx_error(const kith_file_tx *tx) { return tx->error; }
bool kith_file_tx_by_peer(const kith_file_tx *tx) { return tx->by_peer; }
kith_err kith_file_tx_storage(const kith_file_tx *tx) { return tx->storage; }

uint64_t kith_file_tx_resumed(const kith_file_tx *tx)
{
    uint64_t bytes = tx->resumed * KITH_GROUP_SIZE;
    return bytes < tx->header.size ? bytes : tx->header.size;
}

bool kith_file_tx_root(const kith_file_tx *tx, uint8_t out[static KITH_BLAKE3_SIZE])
{
    if (tx->tree.groups != tx->groups) return false;
    memcpy(out, tx->root, sizeof tx->root);
    return true;
}
