#include "file_pair.h"

#include "base/mem.h"

#include <stdio.h>

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
    assert_int_equal(kith_file_tx_output(p.tx, out, sizeof out, &fin),
                     0); /* its ABORT is not answered, but by our end */
    assert_true(fin);
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
        assert_int_equal(kith_file_rx_held(rx), (i + 1) * MIB);
    }
    assert_int_equal(kith_file_rx_input(rx, head, n, false), n);
    assert_false(kith_file_rx_wants_buffer(rx)); /* the window is full */
    for (size_t i = KITH_FILE_WINDOW; --i > 0;) {
        kith_file_rx_kept(rx, &chunks[i], KITH_OK);
        kith_file_rx_kept(rx, &chunks[i], KITH_OK); /* a second time changes nothing */
        assert_int_equal(kith_file_rx_held(rx), i * MIB);
        assert_int_equal(kith_file_rx_progress(rx), 0);
        assert_false(kith_file_rx_wants_buffer(rx));
    }
    kith_file_rx_kept(rx, &chunks[0], KITH_OK);
    assert_int_equal(kith_file_rx_progress(rx), KITH_FILE_WINDOW * MIB);
    assert_true(kith_file_rx_wants_buffer(rx));
    kith_file_rx_kept(rx, &chunks[0], KITH_ERR_IO); /* answered long ago */
    chunks[KITH_FILE_WINDOW] = (kith_file_chunk){.index = KITH_FILE_WINDOW};
    kith_file_rx_kept(rx, &chunks[KITH_FILE_WINDOW], KITH_OK); /* not taken yet */
    assert_int_equal(kith_file_rx_progress(rx), KITH_FILE_WINDOW * MIB);
    /* An error of one chunk is the transfer's; what still comes back is ignored. */
    assert_int_equal(kith_file_rx_held(rx), 0);
    kith_file_rx_give_buffer(rx, buffer);
    assert_int_equal(kith_file_rx_input(rx, content, 3, false), 3);
    assert_int_equal(kith_file_rx_held(rx), 3);
    assert_int_equal(kith_file_rx_input(rx, content + 3, MIB - 3, false), MIB - 3);
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
        TEST(test_transfer),         TEST(test_every_split), TEST(test_example), TEST(test_changed_file),
        TEST(test_abort_everywhere), TEST(test_reasons),     TEST(test_window),  TEST(test_whole_waits),
        TEST(test_sender_order),     TEST(test_new),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
