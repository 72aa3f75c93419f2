/* A file's receiver, given anything a sender may say.  The first byte says where it resumes (if it can) and whether
 * chunks are kept at once, late, or fail; the second how the rest is cut.  No crash, one end, nothing after the end of
 * our stream, and WHOLE only for chunks that have the CVs that make the root. */
#include "service/file_message.h"

#include <stdlib.h>
#include <string.h>

typedef struct side {
    kith_file_rx *rx;
    uint8_t *buffer;
    uint8_t mode;
    unsigned ends;
    bool fin, whole;
    kith_file_chunk late[4];
    size_t late_count;
} side;

static void take_chunk(side *s)
{
    kith_file_chunk chunk;
    uint8_t cv[KITH_BLAKE3_SIZE];
    const kith_file_header *header = kith_file_rx_header(s->rx);
    kith_file_rx_chunk(s->rx, &chunk);
    if (chunk.data != s->buffer || chunk.offset + chunk.size > header->size || chunk.size > KITH_GROUP_SIZE) abort();
    if (chunk.only != (header->size <= KITH_GROUP_SIZE)) abort();
    kith_group_cv(chunk.data, chunk.size, chunk.index, chunk.only, cv);
    kith_err err = memcmp(cv, chunk.cv, sizeof cv) && !(s->mode & 1) ? KITH_ERR_CORRUPT : KITH_OK;
    if (s->mode & 2 && s->late_count < 4)
        s->late[s->late_count++] = chunk;
    else
        kith_file_rx_kept(s->rx, &chunk, err);
}

static void take_event(side *s, kith_file_event event)
{
    kith_file_resume resume = {0};
    uint8_t root[KITH_BLAKE3_SIZE], cv[KITH_BLAKE3_SIZE] = {0};
    switch (event) {
    case KITH_FILE_OFFERED:
        kith_tree_init(&resume.tree);
        for (uint8_t i = 0; i < s->mode >> 6; i++) kith_tree_add(&resume.tree, cv);
        resume.groups = resume.tree.groups;
        if (kith_file_rx_accept(s->rx, &resume) && kith_file_rx_accept(s->rx, NULL)) abort();
        break;
    case KITH_FILE_CHUNK: take_chunk(s); break;
    case KITH_FILE_WHOLE:
        if (s->whole || kith_file_rx_progress(s->rx) != kith_file_rx_header(s->rx)->size) abort();
        s->whole = true;
        kith_file_rx_root(s->rx, root);
        kith_file_rx_finish(s->rx, s->mode & 4 ? KITH_ERR_NO_SPACE : KITH_OK);
        break;
    case KITH_FILE_DONE:
        if (!s->whole) abort();
        s->ends++;
        break;
    case KITH_FILE_FAILED:
        if (!kith_file_rx_error(s->rx)) abort();
        s->ends++;
        break;
    default: abort();
    }
}

static void step(side *s)
{
    static uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool end;
    if (kith_file_rx_wants_buffer(s->rx)) kith_file_rx_give_buffer(s->rx, s->buffer);
    for (kith_file_event e; (e = kith_file_rx_event(s->rx));) take_event(s, e);
    size_t size = kith_file_rx_output(s->rx, out, sizeof out, &end);
    if (s->fin && (size || end)) abort();
    s->fin |= end;
    if (s->late_count == 4 || (s->late_count && s->mode & 8))
        while (s->late_count) kith_file_rx_kept(s->rx, &s->late[--s->late_count], KITH_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    side s = {0};
    if (size < 2) return 0;
    s.mode = data[0];
    size_t split = data[1] ? data[1] : SIZE_MAX, at = 2;
    s.buffer = malloc(KITH_GROUP_SIZE);
    if (!s.buffer || kith_file_rx_new(&s.rx)) abort();
    for (int idle = 0; at < size && idle < 8; idle++) {
        size_t n = size - at < split ? size - at : split;
        /* An honest sender waits for the answer to its offer: so that a corpus gets beyond it, cut there. */
        if (at == 2 && size > 5 && data[2] == KITH_FILE_MESSAGE_OFFER && data[3] >> 6 == 0 && n > data[3] + 2u)
            n = data[3] + 2u;
        size_t taken = kith_file_rx_input(s.rx, data + at, n, false);
        if (taken > n) abort();
        if (taken) idle = 0;
        at += taken;
        step(&s);
    }
    while (s.late_count) kith_file_rx_kept(s.rx, &s.late[--s.late_count], KITH_OK);
    if (at == size) kith_file_rx_input(s.rx, NULL, 0, true);
    for (int i = 0; i < 4; i++) step(&s);
    if (s.ends == 0) kith_file_rx_abort(s.rx, KITH_ERR_CANCELLED);
    step(&s);
    if (s.ends != 1 || !s.fin) abort();
    kith_file_rx_free(s.rx);
    free(s.buffer);
    return 0;
}
