/* Senders and receivers that do not keep to the protocol. */
#include "file_pair.h"

#include <stdio.h>

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
    s = (script){0};
    add_chunk_of(&s, 0, root, content, 0);
    expect_receive("empty chunk without an offer", &s, false, KITH_ERR_PROTOCOL, false);
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
    add_chunk_of(&s, MIB, root, content, 5);
    expect_receive("a whole chunk too many", &s, false, KITH_ERR_PROTOCOL, false);
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
        {"length that would be good in 2 bytes", "068003a1010b"},
        {"length in 8 bytes", "01c000000000000001a0"},
        {"empty body", "0100"},
        {"not a map", "010180"},
        {"no members", "0101a0"},
        {"trailing byte", "0602a0a0"},
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
/* Hex with blanks, and T for the member tag. */
static void spell_out(const char *pattern, char *out)
{
    for (; *pattern; pattern++) {
        if (*pattern == 'T')
            out += sprintf(out, "035820%064d", 0);
        else if (*pattern != ' ')
            *out++ = *pattern;
    }
    *out = '\0';
}

static void test_offers(void **state)
{
    static const struct {
        const char *pattern; /* T: a tag */
        kith_err want;
    } cases[] = {
        {"a5 016161 0200 T 0500 06f4", KITH_OK},
        {"a6 0001 016161 0200 T 0500 06f4", KITH_OK},          /* unknown keys before ... */
        {"a7 016161 0200 T 0500 06f4 0701 18648101", KITH_OK}, /* ... and after */
        {"a5 0160 0200 T 0500 06f4", KITH_OK},
        {"a4 0200 T 0500 06f4", KITH_ERR_PROTOCOL},
        {"a4 016161 T 0500 06f4", KITH_ERR_PROTOCOL},
        {"a4 016161 0200 0500 06f4", KITH_ERR_PROTOCOL},
        {"a4 016161 0200 T 06f4", KITH_ERR_PROTOCOL},
        {"a4 016161 0200 T 0500", KITH_ERR_PROTOCOL},
        {"a5 0161ff 0200 T 0500 06f4", KITH_ERR_PROTOCOL}, /* not UTF-8 */
        {"a5 016100 0200 T 0500 06f4", KITH_ERR_PROTOCOL}, /* a NUL */
        {"a5 014161 0200 T 0500 06f4", KITH_ERR_PROTOCOL}, /* bytes, not text */
        {"a5 016161 0220 T 0500 06f4", KITH_ERR_PROTOCOL}, /* size -1 */
        {"a5 016161 021b3fffffffffffffff T 0500 06f4", KITH_OK},
        {"a5 016161 021b4000000000000000 T 0500 06f4", KITH_ERR_PROTOCOL},
        {"a5 016161 021bffffffffffffffff T 0500 06f4", KITH_ERR_PROTOCOL},
        {"a5 016161 0200 034100 0500 06f4", KITH_ERR_PROTOCOL},
        {"a6 016161 0200 T 044100 0500 06f4", KITH_ERR_PROTOCOL}, /* a hash of one byte */
        {"a5 016161 0200 T 053b7fffffffffffffff 06f4", KITH_OK},
        {"a5 016161 0200 T 053b8000000000000000 06f4", KITH_ERR_PROTOCOL},
        {"a5 016161 0200 T 0500 0601", KITH_ERR_PROTOCOL},
        {"a5 016161 0200 T 06f4 0500", KITH_ERR_PROTOCOL},      /* order */
        {"a6 016161 0200 0200 T 0500 06f4", KITH_ERR_PROTOCOL}, /* twice */
        {"a5 016161 180200 T 0500 06f4", KITH_ERR_PROTOCOL},    /* not the shortest form */
        {"a5 016161 0200 T 0500 06f4 00", KITH_ERR_PROTOCOL},   /* trailing */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[512];
        spell_out(cases[i].pattern, hex);
        test_bytes b = test_unhex(hex);
        script s = {.bytes = {1, (uint8_t)(0x40 | b.size >> 8), (uint8_t)b.size}, .size = 3};
        add_bytes(&s, b.data, b.size);
        expect_receive(cases[i].pattern, &s, false, cases[i].want, false);
        test_bytes_free(&b);
    }
}

/* A name as long as it may be, and one longer. */
static void test_name_length(void **state)
{
    (void)state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_order), TEST(test_wrong_content), TEST(test_wrong_form),    TEST(test_offers),
        TEST(test_name_length), TEST(test_answers),       TEST(test_wrong_replies), TEST(test_wrong_stack),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
