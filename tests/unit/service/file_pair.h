/* A sender and a receiver with a byte stream between them, and bytes made by hand for either. */
#ifndef KITH_TEST_FILE_PAIR_H
#define KITH_TEST_FILE_PAIR_H

#include "service/file.h"
#include "service/file_message.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

#define UNUSED    __attribute__((unused))
#define MIB       ((size_t)KITH_GROUP_SIZE)
#define LARGEST   (3 * MIB + 7)
#define GROUP_MAX 4

/* Two sides and what is on the way between them.  `forward` starts at forward_at: what rx has not taken yet. */
typedef struct pair {
    kith_file_tx *tx;
    kith_file_rx *rx;
    kith_file_header header;
    const uint8_t *content;
    uint8_t *forward, *received, *buffer;
    size_t forward_at, forward_size, split;
    bool forward_fin;
    kith_file_resume resume;
    unsigned tx_done, tx_failed, tx_accepted, rx_done, rx_failed, offered, whole;
    size_t hashed; /* groups the sender read */
    uint64_t progress;
} pair;

static UNUSED uint8_t content[LARGEST];

static UNUSED int make_content(void **state)
{
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return 0;
}

static UNUSED void group_cv(const uint8_t *data, size_t size, uint64_t index, uint8_t out[KITH_BLAKE3_SIZE])
{
    kith_group_cv(data + kith_file_group_offset(index), kith_file_group_size(size, index), index,
                  kith_file_groups(size) == 1, out);
}

static UNUSED kith_file_resume resume_at(size_t size, uint64_t groups)
{
    kith_file_resume resume = {.groups = groups};
    uint8_t cv[KITH_BLAKE3_SIZE];
    kith_tree_init(&resume.tree);
    for (uint64_t i = 0; i < groups; i++) {
        group_cv(content, size, i, cv);
        kith_tree_add(&resume.tree, cv);
    }
    return resume;
}

static UNUSED kith_file_header header_of(size_t size)
{
    kith_file_header h = {.name = "a \xc3\xa9\n.txt", .size = size, .modified_ms = -5, .executable = true};
    memset(h.tag, 7, sizeof h.tag);
    return h;
}

static UNUSED pair pair_of(size_t size, uint64_t resume_groups, size_t split)
{
    pair p = {.header = header_of(size), .content = content, .split = split, .resume = resume_at(size, resume_groups)};
    p.forward = malloc(size + 65536);
    p.received = calloc(1, size + 1);
    p.buffer = malloc(MIB);
    memcpy(p.received, content, resume_groups * MIB < size ? resume_groups * MIB : size);
    assert_ok(kith_file_tx_new(&p.header, &p.tx));
    assert_ok(kith_file_rx_new(&p.rx));
    return p;
}

static UNUSED void pair_done(pair *p)
{
    kith_file_tx_free(p->tx);
    kith_file_rx_free(p->rx);
    free(p->forward);
    free(p->received);
    free(p->buffer);
}

static UNUSED bool tx_step(pair *p)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX], cv[KITH_BLAKE3_SIZE];
    uint64_t index, offset;
    size_t size, head;
    bool fin, did = false;
    for (kith_file_event e; (e = kith_file_tx_event(p->tx)); did = true) {
        p->tx_done += e == KITH_FILE_DONE;
        p->tx_failed += e == KITH_FILE_FAILED;
        p->tx_accepted += e == KITH_FILE_ACCEPTED;
    }
    size = kith_file_tx_output(p->tx, out, sizeof out, &fin);
    memcpy(p->forward + p->forward_size, out, size);
    p->forward_size += size;
    if (fin) assert_false(p->forward_fin);
    p->forward_fin |= fin;
    if (size || fin || !kith_file_tx_next(p->tx, &index, &offset, &size)) return did || size || fin;
    p->hashed++;
    group_cv(p->content, p->header.size, index, cv);
    assert_ok(kith_file_tx_chunk(p->tx, index, cv, out, sizeof out, &head));
    memcpy(p->forward + p->forward_size, out, head);
    memcpy(p->forward + p->forward_size + head, p->content + offset, size);
    p->forward_size += head + size;
    return true;
}

static UNUSED void check_header(const kith_file_header *got, const kith_file_header *want)
{
    assert_string_equal(got->name, want->name);
    assert_memory_equal(got->tag, want->tag, sizeof got->tag);
    assert_int_equal(got->has_hash, want->has_hash);
    if (want->has_hash) assert_memory_equal(got->hash, want->hash, sizeof got->hash);
    assert_true(got->size == want->size && got->modified_ms == want->modified_ms &&
                got->executable == want->executable);
}

static UNUSED void rx_event(pair *p, kith_file_event event)
{
    kith_file_chunk chunk;
    uint8_t cv[KITH_BLAKE3_SIZE];
    switch (event) {
    case KITH_FILE_OFFERED:
        p->offered++;
        check_header(kith_file_rx_header(p->rx), &p->header);
        assert_ok(kith_file_rx_accept(p->rx, p->resume.groups ? &p->resume : NULL));
        break;
    case KITH_FILE_CHUNK:
        kith_file_rx_chunk(p->rx, &chunk);
        assert_ptr_equal(chunk.data, p->buffer);
        kith_group_cv(chunk.data, chunk.size, chunk.index, chunk.only, cv);
        bool good = memcmp(cv, chunk.cv, sizeof cv) == 0;
        memcpy(p->received + chunk.offset, chunk.data, chunk.size);
        kith_file_rx_kept(p->rx, &chunk, good ? KITH_OK : KITH_ERR_CORRUPT);
        assert_true(!good || kith_file_rx_progress(p->rx) >= p->progress);
        p->progress = kith_file_rx_progress(p->rx);
        break;
    case KITH_FILE_WHOLE:
        p->whole++;
        kith_file_rx_finish(p->rx, KITH_OK);
        break;
    case KITH_FILE_DONE: p->rx_done++; break;
    case KITH_FILE_FAILED: p->rx_failed++; break;
    default: fail_msg("event %d", event);
    }
}

static UNUSED bool rx_step(pair *p)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool fin, did = false;
    size_t left = p->forward_size - p->forward_at, n = left < p->split ? left : p->split;
    bool last = n == left && p->forward_fin;
    size_t taken = kith_file_rx_input(p->rx, p->forward + p->forward_at, n, last);
    assert_true(taken <= n);
    p->forward_at += taken;
    if (p->forward_at == p->forward_size) p->forward_at = p->forward_size = 0;
    if (kith_file_rx_wants_buffer(p->rx)) {
        kith_file_rx_give_buffer(p->rx, p->buffer);
        did = true;
    }
    for (kith_file_event e; (e = kith_file_rx_event(p->rx)); did = true) rx_event(p, e);
    size_t size = kith_file_rx_output(p->rx, out, sizeof out, &fin);
    for (size_t i = 0; i < size; i += n) {
        n = size - i < p->split ? size - i : p->split;
        kith_file_tx_input(p->tx, out + i, n, fin && i + n == size);
    }
    if (fin && !size) kith_file_tx_input(p->tx, NULL, 0, true);
    return did || taken || size || fin;
}

/* Until nothing moves any more, or `steps` are done. */
static UNUSED bool run(pair *p, size_t steps)
{
    for (; steps; steps--) {
        bool t = tx_step(p), r = rx_step(p);
        if (!t && !r) return true;
    }
    return false;
}

/* ---- bytes made by hand ---- */
typedef struct script {
    uint8_t bytes[4096 * 2 + 4096];
    size_t size;
    size_t offer; /* where the offer ends: a sender waits for the answer there */
} script;

static UNUSED void add_bytes(script *s, const void *data, size_t size)
{
    memcpy(s->bytes + s->size, data, size);
    s->size += size;
}

static UNUSED void add_offer(script *s, const kith_file_header *h)
{
    size_t n = kith_file_write_offer(h, s->bytes + s->size, KITH_FILE_OUTPUT_MAX);
    assert_true(n > 0);
    s->size += n;
    if (!s->offer) s->offer = s->size;
}

static UNUSED void add_chunk_of(script *s, uint32_t said, const uint8_t cv[KITH_BLAKE3_SIZE], const void *data,
                                size_t size)
{
    s->size += kith_file_write_chunk_head(said, cv, s->bytes + s->size, KITH_FILE_CHUNK_HEAD);
    add_bytes(s, data, size);
}

static UNUSED void add_root(script *s, kith_file_message type, const uint8_t root[KITH_BLAKE3_SIZE])
{
    s->size += kith_file_write_root(type, root, s->bytes + s->size, KITH_FILE_OUTPUT_MAX);
}

/* Chunk and end of a file of `size` <= 1 MiB bytes. */
static UNUSED void add_rest(script *s, size_t size)
{
    uint8_t root[KITH_BLAKE3_SIZE];
    kith_blake3(content, size, root);
    add_chunk_of(s, (uint32_t)size, root, content, size);
    add_root(s, KITH_FILE_MESSAGE_END, root);
}

/* What a receiver that accepts anything makes of these bytes, cut in pieces; *rest: what it says in the end. */
static UNUSED kith_err receive(const script *s, size_t split, bool fin, bool *by_peer, script *said)
{
    static uint8_t buffer[KITH_GROUP_SIZE];
    kith_file_rx *rx;
    kith_file_chunk chunk;
    uint8_t cv[KITH_BLAKE3_SIZE];
    bool out_fin = false, one, again = true;
    assert_ok(kith_file_rx_new(&rx));
    for (size_t at = 0; again || at < s->size;) {
        size_t end = at < s->offer ? s->offer : s->size, n = end - at < split ? end - at : split;
        at += kith_file_rx_input(rx, s->bytes + at, n, fin && at + n == s->size);
        again = false;
        if (kith_file_rx_wants_buffer(rx)) {
            kith_file_rx_give_buffer(rx, buffer);
            again = true;
        }
        for (kith_file_event e; (e = kith_file_rx_event(rx)); again = true) {
            assert_true(e != KITH_FILE_OFFERED || kith_file_rx_accept(rx, NULL) == KITH_OK);
            if (e == KITH_FILE_WHOLE) kith_file_rx_finish(rx, KITH_OK);
            if (e != KITH_FILE_CHUNK) continue;
            kith_file_rx_chunk(rx, &chunk);
            kith_group_cv(chunk.data, chunk.size, chunk.index, chunk.only, cv);
            kith_file_rx_kept(rx, &chunk, memcmp(cv, chunk.cv, sizeof cv) ? KITH_ERR_CORRUPT : KITH_OK);
        }
        size_t size = kith_file_rx_output(rx, said->bytes + said->size, KITH_FILE_OUTPUT_MAX, &one);
        said->size += size;
        again |= size || one;
        assert_false(out_fin && (one || size)); /* nothing after our end */
        out_fin |= one;
    }
    kith_err err = kith_file_rx_error(rx);
    *by_peer = kith_file_rx_by_peer(rx);
    assert_true(!err || out_fin);
    kith_file_rx_free(rx);
    return err;
}

static UNUSED void expect_receive(const char *what, const script *s, bool fin, kith_err want, bool want_by_peer)
{
    static const size_t splits[] = {1, 2, 3, 7, 100, SIZE_MAX};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        bool by_peer;
        script said = {0};
        kith_err err = receive(s, splits[i], fin, &by_peer, &said);
        if (err != want || by_peer != want_by_peer)
            fail_msg("%s: %s by_peer %d with split %zu", what, kith_err_name(err), by_peer, splits[i]);
        uint8_t abort_bytes[64];
        size_t n = kith_file_write_abort(err, abort_bytes, sizeof abort_bytes);
        bool says_why = said.size >= n && memcmp(said.bytes + said.size - n, abort_bytes, n) == 0;
        if (says_why != (err && !by_peer)) fail_msg("%s: the peer is not told", what);
    }
}

/* An ANSWER; returns its size. */
static UNUSED size_t answer_of(uint64_t groups, const uint8_t *stack, size_t entries, uint8_t *out)
{
    kith_file_resume r = {.groups = groups, .tree = {.groups = groups, .depth = entries}};
    if (entries) memcpy(r.tree.stack, stack, entries * KITH_BLAKE3_SIZE);
    return kith_file_write_answer(&r, out, KITH_FILE_OUTPUT_MAX);
}

#endif
