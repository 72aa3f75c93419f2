#include "service/file.h"

#include "base/mem.h"
#include "service/file_message.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static uint8_t content[LARGEST];

static int make_content(void **state)
{
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return 0;
}

static void group_cv(const uint8_t *data, size_t size, uint64_t index, uint8_t out[KITH_BLAKE3_SIZE])
{
    kith_group_cv(data + kith_file_group_offset(index), kith_file_group_size(size, index), index,
                  kith_file_groups(size) == 1, out);
}

static kith_file_resume resume_at(size_t size, uint64_t groups)
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

static kith_file_header header_of(size_t size)
{
    kith_file_header h = {.name = "a \xc3\xa9\n.txt", .size = size, .modified_ms = -5, .executable = true};
    memset(h.tag, 7, sizeof h.tag);
    return h;
}

static pair pair_of(size_t size, uint64_t resume_groups, size_t split)
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

static void pair_done(pair *p)
{
    kith_file_tx_free(p->tx);
    kith_file_rx_free(p->rx);
    free(p->forward);
    free(p->received);
    free(p->buffer);
}

static bool tx_step(pair *p)
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

static void check_header(const kith_file_header *got, const kith_file_header *want)
{
    assert_string_equal(got->name, want->name);
    assert_memory_equal(got->tag, want->tag, sizeof got->tag);
    assert_int_equal(got->has_hash, want->has_hash);
    if (want->has_hash) assert_memory_equal(got->hash, want->hash, sizeof got->hash);
    assert_true(got->size == want->size && got->modified_ms == want->modified_ms &&
                got->executable == want->executable);
}

static void rx_event(pair *p, kith_file_event event)
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

static bool rx_step(pair *p)
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
static bool run(pair *p, size_t steps)
{
    for (; steps; steps--) {
        bool t = tx_step(p), r = rx_step(p);
        if (!t && !r) return true;
    }
    return false;
}

static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, LARGEST};

static void check_success(pair *p)
{
    uint8_t want[KITH_BLAKE3_SIZE], root[KITH_BLAKE3_SIZE];
    size_t size = (size_t)p->header.size;
    assert_int_equal(kith_file_tx_error(p->tx), KITH_OK);
    assert_int_equal(kith_file_rx_error(p->rx), KITH_OK);
    assert_true(p->tx_done == 1 && p->rx_done == 1 && p->whole == 1 && p->offered == 1 && p->tx_accepted == 1);
    assert_true(p->tx_failed == 0 && p->rx_failed == 0 && p->forward_fin);
    assert_memory_equal(p->received, content, size);
    kith_blake3(content, size, want);
    assert_true(kith_file_tx_root(p->tx, root));
    assert_memory_equal(root, want, sizeof root);
    kith_file_rx_root(p->rx, root);
    assert_memory_equal(root, want, sizeof root);
    assert_int_equal(kith_file_rx_progress(p->rx), size);
}

static void test_transfer(void **state)
{
    static const size_t splits[] = {1, 36, 37, 1000, SIZE_MAX};
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t k = 0; k < sizeof splits / sizeof *splits; k++)
            for (uint64_t from = 0; from <= kith_file_groups(sizes[s]); from++) {
                if (splits[k] == 1 && sizes[s] > MIB + 1) continue; /* slow, and MIB + 1 has it all */
                pair p = pair_of(sizes[s], from, splits[k]);
                if (k % 2) {
                    p.header.has_hash = true;
                    kith_blake3(content, sizes[s], p.header.hash);
                    kith_file_tx_free(p.tx);
                    assert_ok(kith_file_tx_new(&p.header, &p.tx));
                }
                assert_true(run(&p, SIZE_MAX));
                check_success(&p);
                assert_int_equal(p.hashed, kith_file_groups(sizes[s]) - from);
                uint64_t bytes = from * MIB < sizes[s] ? from * MIB : sizes[s];
                assert_int_equal(kith_file_tx_resumed(p.tx), bytes);
                pair_done(&p);
            }
}

/* ---- bytes made by hand ---- */
typedef struct script {
    uint8_t bytes[4096 * 2 + 4096];
    size_t size;
    size_t offer; /* where the offer ends: a sender waits for the answer there */
} script;

static void add_bytes(script *s, const void *data, size_t size)
{
    memcpy(s->bytes + s->size, data, size);
    s->size += size;
}

static void add_offer(script *s, const kith_file_header *h)
{
    size_t n = kith_file_write_offer(h, s->bytes + s->size, KITH_FILE_OUTPUT_MAX);
    assert_true(n > 0);
    s->size += n;
    if (!s->offer) s->offer = s->size;
}

static void add_chunk_of(script *s, uint32_t said, const uint8_t cv[KITH_BLAKE3_SIZE], const void *data, size_t size)
{
    s->size += kith_file_write_chunk_head(said, cv, s->bytes + s->size, KITH_FILE_CHUNK_HEAD);
    add_bytes(s, data, size);
}

static void add_root(script *s, kith_file_message type, const uint8_t root[KITH_BLAKE3_SIZE])
{
    s->size += kith_file_write_root(type, root, s->bytes + s->size, KITH_FILE_OUTPUT_MAX);
}

/* Chunk and end of a file of `size` <= 1 MiB bytes. */
static void add_rest(script *s, size_t size)
{
    uint8_t root[KITH_BLAKE3_SIZE];
    kith_blake3(content, size, root);
    add_chunk_of(s, (uint32_t)size, root, content, size);
    add_root(s, KITH_FILE_MESSAGE_END, root);
}

/* What a receiver that accepts anything makes of these bytes, cut in pieces; *rest: what it says in the end. */
static kith_err receive(const script *s, size_t split, bool fin, bool *by_peer, script *said)
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

static void expect_receive(const char *what, const script *s, bool fin, kith_err want, bool want_by_peer)
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

static void test_every_split(void **state)
{
    (void)state;
    kith_file_header h = header_of(5);
    script s = {0}, said = {0};
    bool by_peer;
    add_offer(&s, &h);
    add_rest(&s, 5);
    for (size_t split = 1; split <= s.size; split++) {
        said.size = 0;
        assert_int_equal(receive(&s, split, true, &by_peer, &said), KITH_OK);
        assert_true(said.size > 0);
    }
    /* The receiver's bytes into a sender, cut once at every place.  ANSWER and DONE come apart: DONE before END is an
     * error. */
    for (size_t cut = 0; cut <= said.size; cut++) {
        pair p = pair_of(5, 0, SIZE_MAX);
        size_t answer = said.size - (2 + 1 + 1 + 2 + 32);
        tx_step(&p);
        for (size_t i = 0; i < answer; i++)
            if (i == 0 || i == cut)
                kith_file_tx_input(p.tx, said.bytes + i, (i < cut && cut < answer ? cut : answer) - i, false);
        while (tx_step(&p)) {
        }
        assert_true(p.forward_fin);
        for (size_t i = answer; i < said.size; i++)
            if (i == answer || i == cut)
                kith_file_tx_input(p.tx, said.bytes + i, (i < cut && cut < said.size ? cut : said.size) - i, false);
        kith_file_tx_input(p.tx, NULL, 0, true);
        tx_step(&p);
        assert_int_equal(p.tx_done, 1);
        pair_done(&p);
    }
}

/* The example of the protocol document. */
static void test_example(void **state)
{
    (void)state;
    static const char root[] = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
    kith_file_header h = {.name = "a", .size = 5};
    uint8_t cv[KITH_BLAKE3_SIZE];
    char hex[512];
    script s = {0}, said = {0};
    bool by_peer;
    memset(h.tag, 0x77, sizeof h.tag);
    add_offer(&s, &h);
    kith_group_cv("hello", 5, 0, true, cv);
    add_chunk_of(&s, 5, cv, "hello", 5);
    add_root(&s, KITH_FILE_MESSAGE_END, cv);
    snprintf(hex, sizeof hex,
             "012da501616102050358207777777777777777777777777777777777777777777777777777777777777777050006f4"
             "0300000005%s68656c6c6f0424a1015820%s",
             root, root);
    test_equal_hex(s.bytes, s.size, hex);
    assert_int_equal(receive(&s, SIZE_MAX, true, &by_peer, &said), KITH_OK);
    snprintf(hex, sizeof hex,
             "0205a20100"
             "02400524a1015820%s",
             root);
    test_equal_hex(said.bytes, said.size, hex);
}

/* ---- hostile senders ---- */
static void test_wrong_order(void **state)
{
    (void)state;
    kith_file_header h = header_of(5);
    uint8_t root[KITH_BLAKE3_SIZE];
    kith_blake3(content, 5, root);
    script s = {0};
    add_offer(&s, &h);
    script good = s;
    expect_receive("nothing after the offer", &good, true, KITH_ERR_CLOSED, true);
    add_offer(&s, &h);
    expect_receive("second offer", &s, false, KITH_ERR_PROTOCOL, false);
    s = good;
    add_root(&s, KITH_FILE_MESSAGE_END, root);
    expect_receive("end without the chunk", &s, true, KITH_ERR_PROTOCOL, false);
    s = (script){0};
    add_rest(&s, 5);
    expect_receive("chunk without an offer", &s, false, KITH_ERR_PROTOCOL, false);
    s = good;
    add_rest(&s, 5);
    script whole = s;
    expect_receive("good", &whole, true, KITH_OK, false);
    expect_receive("good, the end of the stream not yet seen", &whole, false, KITH_OK, false);
    for (size_t cut = 0; cut < whole.size; cut++) {
        s = whole;
        s.size = cut;
        if (s.offer > cut) s.offer = cut;
        expect_receive("early fin", &s, true, KITH_ERR_CLOSED, true);
    }
    s = good;
    add_chunk_of(&s, 5, root, content, 5);
    add_chunk_of(&s, 0, root, content, 0);
    expect_receive("too many chunks", &s, false, KITH_ERR_PROTOCOL, false);
    s = good;
    add_chunk_of(&s, 5, root, content, 5);
    add_root(&s, KITH_FILE_MESSAGE_DONE, root);
    expect_receive("the receiver's message", &s, false, KITH_ERR_PROTOCOL, false);
}

static void test_wrong_content(void **state)
{
    (void)state;
    kith_file_header h = header_of(5);
    uint8_t root[KITH_BLAKE3_SIZE], wrong[KITH_BLAKE3_SIZE];
    kith_blake3(content, 5, root);
    memcpy(wrong, root, sizeof wrong);
    wrong[31] ^= 1;
    script offer = {0}, s;
    add_offer(&offer, &h);
    static const uint32_t sizes_said[] = {0, 4, 6, 0x100000, 0x100001, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes_said / sizeof *sizes_said; i++) {
        s = offer;
        add_chunk_of(&s, sizes_said[i], root, content, 5);
        expect_receive("chunk size", &s, false, KITH_ERR_PROTOCOL, false);
    }
    s = offer;
    add_chunk_of(&s, 5, wrong, content, 5);
    expect_receive("wrong CV", &s, false, KITH_ERR_CORRUPT, false);
    s = offer;
    add_chunk_of(&s, 5, root, content + 1, 5);
    expect_receive("wrong data", &s, false, KITH_ERR_CORRUPT, false);
    s = offer;
    add_chunk_of(&s, 5, root, content, 5);
    add_root(&s, KITH_FILE_MESSAGE_END, wrong);
    expect_receive("wrong root", &s, true, KITH_ERR_CORRUPT, false);
    h.has_hash = true;
    memcpy(h.hash, wrong, sizeof wrong);
    s = (script){0};
    add_offer(&s, &h);
    add_rest(&s, 5);
    expect_receive("not what was offered", &s, true, KITH_ERR_CORRUPT, false);
}

static void test_wrong_form(void **state)
{
    static const struct {
        const char *what, *hex;
    } cases[] = {
        {"type 0", "0001a0"},
        {"type 7", "0701a0"},
        {"long type", "400101a0"},
        {"length 4097", "015001"},
        {"length in 4 bytes", "0180000001a0"},
        {"length in 8 bytes", "01c000000000000001a0"},
        {"empty body", "0100"},
        {"not a map", "010180"},
        {"no members", "0101a0"},
        {"trailing byte", "0602a0"
                          "a0"},
        {"abort without why", "0601a0"},
        {"abort with no error", "0603a10100"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_bytes b = test_unhex(cases[i].hex);
        script s = {0};
        add_bytes(&s, b.data, b.size);
        expect_receive(cases[i].what, &s, false, KITH_ERR_PROTOCOL, false);
        kith_file_header h = header_of(5);
        s = (script){0};
        add_offer(&s, &h);
        add_bytes(&s, b.data, b.size);
        expect_receive(cases[i].what, &s, false, KITH_ERR_PROTOCOL, false);
        test_bytes_free(&b);
    }
}

/* The members of an offer, one at a time: left out, of another type or length, and unknown ones that are skipped. */
static void test_offers(void **state)
{
#define T "0358200000000000000000000000000000000000000000000000000000000000000000"
    static const struct {
        const char *hex;
        kith_err want;
    } cases[] = {
        {"a5"
         "016161"
         "0200" T "0500"
         "06f4",
         KITH_OK},
        {"a6"
         "0001"
         "016161"
         "0200" T "0500"
         "06f4",
         KITH_OK}, /* unknown keys before ... */
        {"a7"
         "016161"
         "0200" T "0500"
         "06f4"
         "0701"
         "18648101",
         KITH_OK}, /* ... and after */
        {"a5"
         "0160"
         "0200" T "0500"
         "06f4",
         KITH_OK},
        {"a4"
         "0200" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a4"
         "016161" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a4"
         "016161"
         "0200"
         "0500"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a4"
         "016161"
         "0200" T "06f4",
         KITH_ERR_PROTOCOL},
        {"a4"
         "016161"
         "0200" T "0500",
         KITH_ERR_PROTOCOL},
        {"a5"
         "0161ff"
         "0200" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* not UTF-8 */
        {"a5"
         "016100"
         "0200" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* a NUL */
        {"a5"
         "014161"
         "0200" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* bytes, not text */
        {"a5"
         "016161"
         "0220" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* size -1 */
        {"a5"
         "016161"
         "021b3fffffffffffffff" T "0500"
         "06f4",
         KITH_OK},
        {"a5"
         "016161"
         "021b4000000000000000" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a5"
         "016161"
         "021bffffffffffffffff" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a5"
         "016161"
         "0200"
         "034100"
         "0500"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a6"
         "016161"
         "0200" T "044100"
         "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* hash of one byte */
        {"a5"
         "016161"
         "0200" T "053b7fffffffffffffff"
         "06f4",
         KITH_OK},
        {"a5"
         "016161"
         "0200" T "053b8000000000000000"
         "06f4",
         KITH_ERR_PROTOCOL},
        {"a5"
         "016161"
         "0200" T "0500"
         "0601",
         KITH_ERR_PROTOCOL},
        {"a5"
         "016161"
         "0200" T "06f4"
         "0500",
         KITH_ERR_PROTOCOL}, /* order */
        {"a6"
         "016161"
         "0200"
         "0200" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* twice */
        {"a5"
         "016161"
         "1802"
         "00" T "0500"
         "06f4",
         KITH_ERR_PROTOCOL}, /* not the shortest form */
        {"a5"
         "016161"
         "0200" T "0500"
         "06f4"
         "00",
         KITH_ERR_PROTOCOL}, /* trailing */
    };
#undef T
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_bytes b = test_unhex(cases[i].hex);
        script s = {.bytes = {1, (uint8_t)(0x40 | b.size >> 8), (uint8_t)b.size}, .size = 3};
        add_bytes(&s, b.data, b.size);
        expect_receive(cases[i].hex, &s, false, cases[i].want, false);
        test_bytes_free(&b);
    }
    /* A name as long as it may be, and one longer. */
    kith_file_header h = header_of(5);
    memset(h.name, 'n', KITH_FILE_NAME_MAX);
    h.name[KITH_FILE_NAME_MAX] = 0;
    script s = {0};
    add_offer(&s, &h);
    expect_receive("longest name", &s, false, KITH_OK, false);
    uint8_t longer[KITH_FILE_OUTPUT_MAX];
    size_t head = 3 + 1 + 1 + 3, n = s.size; /* prefix, map, key, text's head */
    memcpy(longer, s.bytes, head);
    longer[head] = 'n';
    memcpy(longer + head + 1, s.bytes + head, n - head);
    longer[2]++, longer[7]++;
    s = (script){0};
    add_bytes(&s, longer, n + 1);
    expect_receive("longer name", &s, false, KITH_ERR_PROTOCOL, false);
}

/* ---- hostile receivers ---- */
static size_t answer_of(uint64_t groups, const uint8_t *stack, size_t entries, uint8_t *out)
{
    kith_file_resume r = {.groups = groups, .tree = {.groups = groups, .depth = entries}};
    if (entries) memcpy(r.tree.stack, stack, entries * KITH_BLAKE3_SIZE);
    return kith_file_write_answer(&r, out, KITH_FILE_OUTPUT_MAX);
}

static void expect_answer(size_t file_size, uint64_t groups, size_t entries, kith_err want)
{
    static const uint8_t zeroes[KITH_TREE_DEPTH_MAX * KITH_BLAKE3_SIZE];
    uint8_t bytes[KITH_FILE_OUTPUT_MAX];
    bool fin = false;
    kith_file_tx *tx;
    kith_file_header h = header_of(file_size);
    assert_ok(kith_file_tx_new(&h, &tx));
    kith_file_tx_output(tx, bytes, sizeof bytes, &fin);
    size_t n = answer_of(groups, zeroes, entries, bytes);
    for (size_t i = 0; i < n; i++) kith_file_tx_input(tx, bytes + i, 1, false);
    if (kith_file_tx_error(tx) != want)
        fail_msg("answer %llu with %zu entries: %s", (unsigned long long)groups, entries,
                 kith_err_name(kith_file_tx_error(tx)));
    assert_int_equal(kith_file_tx_event(tx), want ? KITH_FILE_FAILED : KITH_FILE_ACCEPTED);
    if (want) {
        n = kith_file_tx_output(tx, bytes, sizeof bytes, &fin);
        assert_true(n > 0 && bytes[0] == KITH_FILE_MESSAGE_ABORT && fin);
        assert_int_equal(kith_file_tx_output(tx, bytes, sizeof bytes, &fin), 0);
        assert_false(fin);
    }
    kith_file_tx_free(tx);
}

static void test_answers(void **state)
{
    (void)state;
    expect_answer(LARGEST, 4, 3, KITH_OK);
    expect_answer(LARGEST, 4, 1, KITH_ERR_PROTOCOL); /* merged further than it may be: the end could be the root */
    expect_answer(LARGEST, 5, 2, KITH_ERR_PROTOCOL); /* beyond the end */
    expect_answer(LARGEST, UINT64_MAX, 44, KITH_ERR_PROTOCOL);
    expect_answer(LARGEST, 3, 1, KITH_ERR_PROTOCOL);
    expect_answer(LARGEST, 3, 3, KITH_ERR_PROTOCOL);
    expect_answer(LARGEST, 3, 2, KITH_OK);
    expect_answer(LARGEST, 0, 1, KITH_ERR_PROTOCOL);
    expect_answer(0, 1, 1, KITH_OK);
    expect_answer(0, 2, 2, KITH_ERR_PROTOCOL);
    expect_answer(KITH_FILE_SIZE_MAX, UINT64_C(1) << 42, 43, KITH_OK);
    expect_answer(KITH_FILE_SIZE_MAX, (UINT64_C(1) << 42) - 1, 42, KITH_OK);
    expect_answer(KITH_FILE_SIZE_MAX, (UINT64_C(1) << 42) - 1, 43, KITH_ERR_PROTOCOL);
    expect_answer(KITH_FILE_SIZE_MAX, (UINT64_C(1) << 42) + 1, 2, KITH_ERR_PROTOCOL);
}

/* Messages to a sender that are not due: each at each stage. */
static void test_wrong_replies(void **state)
{
    enum { ANSWER, DONE, WRONG_DONE, OFFER, END, CHUNK, FIN, KINDS };
    (void)state;
    for (int stage = 0; stage < 3; stage++) { /* offered; accepted; everything sent */
        for (int kind = 0; kind < KINDS; kind++) {
            pair p = pair_of(5, 0, SIZE_MAX);
            script s = {0};
            uint8_t root[KITH_BLAKE3_SIZE], answer[KITH_FILE_OUTPUT_MAX];
            kith_blake3(content, 5, root);
            size_t answer_size = answer_of(0, NULL, 0, answer);
            tx_step(&p);
            if (stage > 0) kith_file_tx_input(p.tx, answer, answer_size, false);
            if (stage > 1)
                while (tx_step(&p)) {
                }
            if (kind == WRONG_DONE) root[0] ^= 1;
            if (kind == ANSWER) add_bytes(&s, answer, answer_size);
            if (kind == DONE || kind == WRONG_DONE) add_root(&s, KITH_FILE_MESSAGE_DONE, root);
            if (kind == OFFER) add_offer(&s, &p.header);
            if (kind == END) add_root(&s, KITH_FILE_MESSAGE_END, root);
            if (kind == CHUNK) add_chunk_of(&s, 5, root, content, 5);
            kith_file_tx_input(p.tx, s.bytes, s.size, kind == FIN);
            kith_err want = kind == FIN ? KITH_ERR_CLOSED : KITH_ERR_PROTOCOL;
            if (stage == 0 && kind == ANSWER) want = KITH_OK;
            if (stage == 2 && kind == DONE) want = KITH_OK;
            if (stage == 2 && kind == WRONG_DONE) want = KITH_ERR_CORRUPT;
            if (kith_file_tx_error(p.tx) != want)
                fail_msg("stage %d kind %d: %s", stage, kind, kith_err_name(kith_file_tx_error(p.tx)));
            assert_int_equal(kith_file_tx_by_peer(p.tx), kind == FIN);
            uint64_t index, offset;
            size_t size;
            if (want) assert_false(kith_file_tx_next(p.tx, &index, &offset, &size));
            if (want) assert_int_equal(kith_file_tx_chunk(p.tx, 0, root, answer, sizeof answer, &size), KITH_ERR_STATE);
            /* Swallowed from here on. */
            kith_file_tx_input(p.tx, s.bytes, s.size, true);
            if (want) assert_int_equal(kith_file_tx_error(p.tx), want);
            pair_done(&p);
        }
    }
}

/* A receiver's account of the beginning that is not that of this file. */
static void test_wrong_stack(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        pair p = pair_of(LARGEST, 3, SIZE_MAX);
        p.header.has_hash = known;
        if (known) kith_blake3(content, LARGEST, p.header.hash);
        kith_file_tx_free(p.tx);
        assert_ok(kith_file_tx_new(&p.header, &p.tx));
        p.resume.tree.stack[1][3] ^= 4;
        assert_true(run(&p, SIZE_MAX));
        if (known) { /* the sender sees that it is not its file */
            assert_int_equal(kith_file_tx_error(p.tx), KITH_ERR_CORRUPT);
            assert_true(p.tx_failed == 1 && p.rx_failed == 1 && kith_file_rx_by_peer(p.rx));
        } else { /* both continue the same wrong tree: only the receiver is the worse for it */
            assert_int_equal(p.tx_done, 1);
        }
        pair_done(&p);
    }
}

static void test_changed_file(void **state)
{
    (void)state;
    pair p = pair_of(5, 0, SIZE_MAX);
    p.header.has_hash = true;
    kith_blake3("other", 5, p.header.hash);
    kith_file_tx_free(p.tx);
    assert_ok(kith_file_tx_new(&p.header, &p.tx));
    assert_true(run(&p, SIZE_MAX));
    assert_int_equal(kith_file_tx_error(p.tx), KITH_ERR_CHANGED);
    assert_int_equal(kith_file_rx_error(p.rx), KITH_ERR_CHANGED);
    assert_true(kith_file_rx_by_peer(p.rx) && p.whole == 0);
    pair_done(&p);
}

/* ---- giving up ---- */
static void test_abort_everywhere(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        size_t steps = 0;
        for (bool over = false; !over; steps++) {
            pair p = pair_of(MIB + 1, 0, 300000);
            over = run(&p, steps);
            if (side == 0)
                kith_file_tx_abort(p.tx, KITH_ERR_CANCELLED);
            else
                kith_file_rx_abort(p.rx, KITH_ERR_CANCELLED);
            assert_true(run(&p, SIZE_MAX));
            kith_err tx_err = kith_file_tx_error(p.tx), rx_err = kith_file_rx_error(p.rx);
            assert_true(p.tx_done + p.tx_failed == 1 && p.rx_done + p.rx_failed == 1);
            assert_true(tx_err == KITH_OK || tx_err == KITH_ERR_CANCELLED);
            assert_true(rx_err == KITH_OK || rx_err == KITH_ERR_CANCELLED);
            if (p.tx_done) assert_int_equal(p.rx_done, 1); /* the sender never thinks too well of it */
            if (side == 0 && p.rx_failed) assert_true(kith_file_rx_by_peer(p.rx));
            if (side == 1 && p.tx_failed) assert_true(kith_file_tx_by_peer(p.tx));
            if (over) assert_true(p.tx_done && p.rx_done);
            pair_done(&p);
        }
        assert_true(steps > 8);
    }
}

static void refuse_with(kith_err why, kith_err want, kith_err storage, bool at_the_end)
{
    pair p = pair_of(5, 0, SIZE_MAX);
    bool fin;
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    tx_step(&p);
    assert_int_equal(kith_file_rx_input(p.rx, p.forward, p.forward_size, false), p.forward_size);
    assert_int_equal(kith_file_rx_event(p.rx), KITH_FILE_OFFERED);
    if (at_the_end)
        kith_file_rx_abort(p.rx, why);
    else
        kith_file_rx_refuse(p.rx, why);
    assert_int_equal(kith_file_rx_accept(p.rx, NULL), KITH_ERR_STATE);
    size_t n = kith_file_rx_output(p.rx, out, sizeof out, &fin);
    assert_true(fin);
    kith_file_tx_input(p.tx, out, n, fin);
    assert_int_equal(kith_file_tx_error(p.tx), want);
    assert_int_equal(kith_file_tx_storage(p.tx), storage);
    assert_true(kith_file_tx_by_peer(p.tx));
    pair_done(&p);
}

static void test_reasons(void **state)
{
    (void)state;
    for (int end = 0; end < 2; end++) {
        refuse_with(KITH_ERR_DECLINED, KITH_ERR_DECLINED, KITH_OK, end);
        refuse_with(KITH_ERR_NOT_ALLOWED, KITH_ERR_NOT_ALLOWED, KITH_OK, end);
        refuse_with(KITH_ERR_AGAIN, KITH_ERR_AGAIN, KITH_OK, end);
        refuse_with(KITH_ERR_NOMEM, KITH_ERR_INTERNAL, KITH_OK, end);
        refuse_with(KITH_ERR_NO_SPACE, KITH_ERR_REMOTE_STORAGE, KITH_ERR_NO_SPACE, end);
        refuse_with(KITH_ERR_PERMISSION, KITH_ERR_REMOTE_STORAGE, KITH_ERR_PERMISSION, end);
        refuse_with(KITH_ERR_EXISTS, KITH_ERR_REMOTE_STORAGE, KITH_ERR_EXISTS, end);
        refuse_with(KITH_ERR_NO_FILE, KITH_ERR_REMOTE_STORAGE, KITH_ERR_NO_FILE, end);
        refuse_with(KITH_ERR_IO, KITH_ERR_REMOTE_STORAGE, KITH_ERR_IO, end);
        refuse_with(KITH_ERR_LOCKED, KITH_ERR_REMOTE_STORAGE, KITH_ERR_IO, end);
    }
    static const struct {
        const char *hex;
        kith_err err, storage;
    } cases[] = {
        {"0604a1011863", KITH_ERR_PROTOCOL, KITH_OK},                   /* error 99: none we know */
        {"0603a1010d", KITH_ERR_REMOTE_STORAGE, KITH_ERR_IO},           /* without detail */
        {"0606a2010d021863", KITH_ERR_REMOTE_STORAGE, KITH_ERR_IO},     /* detail 99 */
        {"0605a201030202", KITH_ERR_DECLINED, KITH_OK},                 /* a detail where none belongs */
        {"060ca201020b6878206c6f6e673021", KITH_ERR_PROTOCOL, KITH_OK}, /* an unknown member */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pair p = pair_of(5, 0, SIZE_MAX);
        test_bytes b = test_unhex(cases[i].hex);
        tx_step(&p);
        kith_file_tx_input(p.tx, b.data, b.size, false);
        assert_int_equal(kith_file_tx_error(p.tx), cases[i].err);
        assert_int_equal(kith_file_tx_storage(p.tx), cases[i].storage);
        if (i < 4) assert_true(kith_file_tx_by_peer(p.tx));
        test_bytes_free(&b);
        pair_done(&p);
    }
}

/* ---- chunks kept out of order, and not at once ---- */
static void test_window(void **state)
{
    (void)state;
    static uint8_t buffer[KITH_GROUP_SIZE];
    kith_file_chunk chunks[KITH_FILE_WINDOW + 2];
    kith_file_rx *rx;
    uint8_t out[KITH_FILE_OUTPUT_MAX], head[KITH_FILE_CHUNK_HEAD], cv[KITH_BLAKE3_SIZE] = {0};
    size_t groups = KITH_FILE_WINDOW + 2, n;
    bool fin;
    kith_file_header h = header_of(groups * MIB);
    n = kith_file_write_offer(&h, out, sizeof out);
    assert_ok(kith_file_rx_new(&rx));
    assert_int_equal(kith_file_rx_input(rx, out, n, false), n);
    assert_ok(kith_file_rx_accept(rx, NULL));
    assert_true(kith_file_rx_output(rx, out, sizeof out, &fin) > 0);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_OFFERED);
    assert_false(kith_file_rx_wants_buffer(rx)); /* not before a chunk has begun */
    n = kith_file_write_chunk_head(MIB, cv, head, sizeof head);
    for (size_t i = 0; i < KITH_FILE_WINDOW; i++) {
        assert_int_equal(kith_file_rx_input(rx, head, n, false), n);
        assert_int_equal(kith_file_rx_input(rx, buffer, 1, false), 0); /* waits for a buffer */
        assert_true(kith_file_rx_wants_buffer(rx));
        kith_file_rx_give_buffer(rx, buffer);
        assert_false(kith_file_rx_wants_buffer(rx));
        assert_int_equal(kith_file_rx_input(rx, content, MIB, false), MIB);
        assert_int_equal(kith_file_rx_input(rx, head, n, false), 0); /* waits until the chunk is taken */
        assert_int_equal(kith_file_rx_event(rx), KITH_FILE_CHUNK);
        kith_file_rx_chunk(rx, &chunks[i]);
        assert_true(chunks[i].index == i && chunks[i].offset == i * MIB && chunks[i].size == MIB && !chunks[i].only);
    }
    assert_int_equal(kith_file_rx_input(rx, head, n, false), n);
    assert_false(kith_file_rx_wants_buffer(rx)); /* the window is full */
    for (size_t i = KITH_FILE_WINDOW; --i > 0;) {
        kith_file_rx_kept(rx, &chunks[i], KITH_OK);
        kith_file_rx_kept(rx, &chunks[i], KITH_OK); /* a second time changes nothing */
        assert_int_equal(kith_file_rx_progress(rx), 0);
        assert_false(kith_file_rx_wants_buffer(rx));
    }
    kith_file_rx_kept(rx, &chunks[0], KITH_OK);
    assert_int_equal(kith_file_rx_progress(rx), KITH_FILE_WINDOW * MIB);
    assert_true(kith_file_rx_wants_buffer(rx));
    /* An error of one chunk is the transfer's; what still comes back is ignored. */
    kith_file_rx_give_buffer(rx, buffer);
    assert_int_equal(kith_file_rx_input(rx, content, MIB, false), MIB);
    kith_file_rx_chunk(rx, &chunks[KITH_FILE_WINDOW]);
    kith_file_rx_kept(rx, &chunks[KITH_FILE_WINDOW], KITH_ERR_NO_SPACE);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_FAILED);
    kith_file_rx_kept(rx, &chunks[KITH_FILE_WINDOW], KITH_OK);
    assert_int_equal(kith_file_rx_error(rx), KITH_ERR_NO_SPACE);
    assert_int_equal(kith_file_rx_input(rx, head, n, true), n);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_NOTHING);
    kith_file_rx_free(rx);
}

/* WHOLE waits for the last chunk to be stored, not only to have arrived. */
static void test_whole_waits(void **state)
{
    (void)state;
    static uint8_t buffer[KITH_GROUP_SIZE];
    kith_file_rx *rx;
    kith_file_chunk chunk;
    kith_file_header h = header_of(5);
    script s = {0};
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool fin;
    add_offer(&s, &h);
    size_t offer = s.size;
    add_rest(&s, 5);
    assert_ok(kith_file_rx_new(&rx));
    kith_file_rx_finish(rx, KITH_OK); /* not yet: nothing happens */
    assert_int_equal(kith_file_rx_input(rx, s.bytes, offer, false), offer);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_OFFERED);
    kith_file_resume bad = resume_at(5, 1);
    bad.tree.depth = 2;
    assert_int_equal(kith_file_rx_accept(rx, &bad), KITH_ERR_ARG);
    bad = resume_at(LARGEST, 2);
    assert_int_equal(kith_file_rx_accept(rx, &bad), KITH_ERR_ARG);
    assert_ok(kith_file_rx_accept(rx, NULL));
    assert_int_equal(kith_file_rx_accept(rx, NULL), KITH_ERR_STATE);
    size_t at = offer + kith_file_rx_input(rx, s.bytes + offer, s.size - offer, true);
    kith_file_rx_give_buffer(rx, buffer);
    at += kith_file_rx_input(rx, s.bytes + at, s.size - at, true);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_CHUNK);
    kith_file_rx_chunk(rx, &chunk);
    at += kith_file_rx_input(rx, s.bytes + at, s.size - at, true);
    assert_int_equal(at, s.size);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_NOTHING);
    kith_file_rx_kept(rx, &chunk, KITH_OK);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_WHOLE);
    kith_file_rx_finish(rx, KITH_ERR_EXISTS);
    assert_int_equal(kith_file_rx_event(rx), KITH_FILE_FAILED);
    size_t n = kith_file_rx_output(rx, out, sizeof out, &fin); /* the answer was never sent: only why not */
    test_equal_hex(out, n, "0605a2010d0204");
    assert_true(fin);
    kith_file_rx_free(rx);
}

static void test_sender_order(void **state)
{
    (void)state;
    pair p = pair_of(LARGEST, 0, SIZE_MAX);
    uint8_t out[KITH_FILE_OUTPUT_MAX], cv[KITH_BLAKE3_SIZE];
    uint64_t index, offset;
    size_t size, n = answer_of(0, NULL, 0, out);
    assert_false(kith_file_tx_next(p.tx, &index, &offset, &size)); /* not before the answer */
    tx_step(&p);
    kith_file_tx_input(p.tx, out, n, false);
    group_cv(content, LARGEST, 0, cv);
    assert_int_equal(kith_file_tx_chunk(p.tx, 0, cv, out, sizeof out, &n), KITH_ERR_ARG); /* not given out yet */
    for (uint64_t i = 0; i < 4; i++) { /* reading runs ahead of sending */
        assert_true(kith_file_tx_next(p.tx, &index, &offset, &size));
        assert_true(index == i && offset == i * MIB && size == (i < 3 ? MIB : 7));
    }
    assert_false(kith_file_tx_next(p.tx, &index, &offset, &size));
    assert_int_equal(kith_file_tx_chunk(p.tx, 1, cv, out, sizeof out, &n), KITH_ERR_ARG);
    assert_int_equal(kith_file_tx_chunk(p.tx, 0, cv, out, KITH_FILE_CHUNK_HEAD - 1, &n), KITH_ERR_LIMIT);
    assert_ok(kith_file_tx_chunk(p.tx, 0, cv, out, KITH_FILE_CHUNK_HEAD, &n));
    assert_int_equal(n, KITH_FILE_CHUNK_HEAD);
    assert_int_equal(kith_file_tx_chunk(p.tx, 0, cv, out, sizeof out, &n), KITH_ERR_ARG);
    assert_false(kith_file_tx_root(p.tx, cv));
    pair_done(&p);
}

static int allocate(void *unused)
{
    kith_file_tx *tx = NULL;
    kith_file_rx *rx = NULL;
    kith_file_header h = header_of(5);
    (void)unused;
    int err = kith_file_tx_new(&h, &tx);
    if (!err) err = kith_file_rx_new(&rx);
    kith_file_tx_free(tx);
    kith_file_rx_free(rx);
    return err;
}

static void test_new(void **state)
{
    (void)state;
    kith_file_tx *tx;
    kith_file_header h = header_of(5);
    test_every_allocation(allocate, NULL);
    h.name[0] = '\xff';
    assert_int_equal(kith_file_tx_new(&h, &tx), KITH_ERR_ARG);
    h = header_of(5);
    memset(h.name, 'a', sizeof h.name); /* not terminated */
    assert_int_equal(kith_file_tx_new(&h, &tx), KITH_ERR_ARG);
    h = header_of(5);
    h.size = KITH_FILE_SIZE_MAX + 1;
    assert_int_equal(kith_file_tx_new(&h, &tx), KITH_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_transfer),      TEST(test_every_split), TEST(test_example),      TEST(test_wrong_order),
        TEST(test_wrong_content), TEST(test_wrong_form),  TEST(test_offers),       TEST(test_answers),
        TEST(test_wrong_replies), TEST(test_wrong_stack), TEST(test_changed_file), TEST(test_abort_everywhere),
        TEST(test_reasons),       TEST(test_window),      TEST(test_whole_waits),  TEST(test_sender_order),
        TEST(test_new),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
