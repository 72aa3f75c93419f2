#include "wire/cbor.h"

#include "base/mem.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether one whole item at *at uses only what wire/cbor.h says it reads: written apart from it, on the RFC's table 1.
 */
static bool scan_subset(const uint8_t **at, const uint8_t *end)
{
    if (*at == end) return false;
    unsigned major = **at >> 5, info = **at & 31;
    if (major == 7) {
        (*at)++;
        return info == 20 || info == 21 || info == 22;
    }
    if (major == 6 || info > 27) return false;
    (*at)++;
    uint64_t n = info;
    if (info >= 24) {
        n = 0;
        for (size_t i = 0; i < (size_t)1 << (info - 24); i++) n = n << 8 | *(*at)++;
    }
    if (major == 2 || major == 3) *at += n;
    if (major == 5) n *= 2;
    for (uint64_t i = 0; major >= 4 && i < n; i++)
        if (!scan_subset(at, end)) return false;
    return true;
}

static void copy_item(kith_cbor_reader *r, kith_writer *w, const json_t *want);

static void copy_map(kith_cbor_reader *r, kith_writer *w, const json_t *want)
{
    size_t n = kith_cbor_read_map(r);
    if (want) assert_int_equal(n, json_object_size(want));
    kith_cbor_write_map(w, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = NULL;
        if (want) { /* JSON's keys are texts */
            kith_cbor_reader ahead = *r;
            char key[64];
            kith_cbor_read_string(&ahead, key, sizeof key);
            value = json_object_get(want, key);
            assert_non_null(value);
        }
        copy_item(r, w, NULL);
        copy_item(r, w, value);
    }
}

/* Read an item and write it again, comparing with its JSON when there is one. */
static void copy_item(kith_cbor_reader *r, kith_writer *w, const json_t *want)
{
    size_t size;
    switch (kith_cbor_peek(r)) {
    case KITH_CBOR_UINT: {
        uint64_t n = kith_cbor_read_uint(r);
        if (want) assert_true((double)n == json_number_value(want));
        kith_cbor_write_uint(w, n);
        break;
    }
    case KITH_CBOR_NEGATIVE: {
        kith_cbor_reader before = *r;
        int64_t n = kith_cbor_read_int(r);
        if (r->bad) { /* below INT64_MIN: well-formed, but not an int64_t */
            *r = before;
            const uint8_t *item = kith_cbor_read_item(r, &size);
            assert_non_null(item);
            if (want) assert_true(json_number_value(want) < (double)INT64_MIN);
            kith_write_bytes(w, item, size);
            break;
        }
        if (want) assert_true((double)n == json_number_value(want));
        kith_cbor_write_int(w, n);
        break;
    }
    case KITH_CBOR_BYTES: {
        const uint8_t *data = kith_cbor_read_bytes(r, &size);
        if (data) kith_cbor_write_bytes(w, data, size);
        break;
    }
    case KITH_CBOR_TEXT: {
        const char *text = kith_cbor_read_text(r, &size);
        if (!text) break;
        if (want) {
            assert_int_equal(size, json_string_length(want));
            assert_memory_equal(text, json_string_value(want), size);
        }
        kith_cbor_write_text(w, text, size);
        break;
    }
    case KITH_CBOR_ARRAY: {
        size_t n = kith_cbor_read_array(r);
        if (want) assert_int_equal(n, json_array_size(want));
        kith_cbor_write_array(w, n);
        for (size_t i = 0; i < n; i++) copy_item(r, w, want ? json_array_get(want, i) : NULL);
        break;
    }
    case KITH_CBOR_MAP: copy_map(r, w, want); break;
    case KITH_CBOR_BOOL: {
        bool value = kith_cbor_read_bool(r);
        if (want) assert_true(value == json_is_true(want));
        kith_cbor_write_bool(w, value);
        break;
    }
    case KITH_CBOR_NULL:
        kith_cbor_read_null(r);
        if (want) assert_true(json_is_null(want));
        kith_cbor_write_null(w);
        break;
    default: r->bad = true;
    }
}

static bool accepts(const uint8_t *data, size_t size)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_skip(&r);
    return kith_cbor_done(&r);
}

static bool accepts_hex(const char *hex)
{
    test_bytes b = test_unhex(hex);
    bool answer = accepts(b.data, b.size);
    test_bytes_free(&b);
    return answer;
}

/* Every proper prefix is refused.  Each is on the heap in its own block, so that a sanitizer sees a read past its end.
 */
static void refuses_prefixes(const uint8_t *data, size_t size)
{
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *prefix = malloc(cut ? cut : 1);
        assert_non_null(prefix);
        if (cut) memcpy(prefix, data, cut);
        assert_false(accepts(prefix, cut));
        free(prefix);
    }
}

static void cbor_rfc8949_appendix_a(void **state)
{
    (void)state;
    const char *name = "cbor_rfc8949_appendix_a.json";
    char path[4096];
    json_error_t error;
    /* Integers as reals: the vectors hold some that a json_int_t cannot. */
    json_t *root = json_load_file(test_vectors_path(name, path, sizeof path), JSON_DECODE_INT_AS_REAL, &error), *item;
    if (!root) fail_msg("%s:%d: %s", path, error.line, error.text);
    size_t i, taken = 0, refused = 0;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes b = test_hex_of(item, "hex");
        const uint8_t *at = b.data;
        bool want = scan_subset(&at, b.data + b.size) && json_is_true(json_object_get(item, "roundtrip"));
        if (accepts(b.data, b.size) != want) fail_msg("%s: %s", test_str(item, "hex"), want ? "refused" : "taken");
        if (want) {
            uint8_t memory[512];
            kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
            kith_writer w = kith_writer_of(memory, sizeof memory);
            copy_item(&r, &w, json_object_get(item, "decoded"));
            assert_true(kith_cbor_done(&r));
            test_equal_hex(memory, kith_writer_size(&w), test_str(item, "hex"));
            taken++;
        } else {
            uint8_t memory[512];
            kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
            kith_writer w = kith_writer_of(memory, sizeof memory);
            for (size_t step = 0; step <= b.size && !r.bad; step++) copy_item(&r, &w, NULL);
            assert_false(kith_cbor_done(&r));
            refused++;
        }
        refuses_prefixes(b.data, b.size);
        test_bytes_free(&b);
    }
    printf("%zu decoded and written again, %zu outside the subset refused\n", taken, refused);
    assert_true(taken > 0);
    test_ran(name, i);
    json_decref(root);
}

/* {1: 7, 2: h'a1a2', 3: "é", 5: [true, null, -3], 9: {10: 1}} */
static size_t write_sample(uint8_t *memory, size_t size)
{
    kith_writer w = kith_writer_of(memory, size);
    kith_cbor_write_map(&w, 5);
    kith_cbor_write_uint(&w, 1);
    kith_cbor_write_uint(&w, 7);
    kith_cbor_write_uint(&w, 2);
    uint8_t *room = kith_cbor_write_bytes_room(&w, 2);
    if (room) memcpy(room, "\xa1\xa2", 2);
    kith_cbor_write_uint(&w, 3);
    kith_cbor_write_text(&w, "\xc3\xa9", 2);
    kith_cbor_write_uint(&w, 5);
    kith_cbor_write_array(&w, 3);
    kith_cbor_write_bool(&w, true);
    kith_cbor_write_null(&w);
    kith_cbor_write_int(&w, -3);
    kith_cbor_write_uint(&w, 9);
    kith_cbor_write_map(&w, 1);
    kith_cbor_write_uint(&w, 10);
    kith_cbor_write_int(&w, 1);
    return w.bad ? 0 : kith_writer_size(&w);
}
#define SAMPLE_HEX "a501070242a1a20362c3a90583f5f62209a10a01"

static void a_map_is_walked_by_key(void **state)
{
    (void)state;
    uint8_t memory[64], copy[2];
    size_t size = write_sample(memory, sizeof memory), text_size;
    test_equal_hex(memory, size, SAMPLE_HEX);
    kith_mem_fail_at(1, true); /* nothing is allocated */
    kith_cbor_reader r = kith_cbor_reader_of(memory, size);
    kith_cbor_walk walk = kith_cbor_enter(&r), inner;
    assert_false(kith_cbor_find(&r, &walk, 0));
    assert_true(kith_cbor_need(&r, &walk, 1));
    assert_int_equal(kith_cbor_read_uint(&r), 7);
    assert_true(kith_cbor_find(&r, &walk, 2));
    kith_cbor_read_copy(&r, copy, sizeof copy);
    assert_memory_equal(copy, "\xa1\xa2", 2);
    assert_false(kith_cbor_find(&r, &walk, 4)); /* steps over 3 */
    assert_true(kith_cbor_find(&r, &walk, 5));
    assert_int_equal(kith_cbor_read_array(&r), 3);
    assert_true(kith_cbor_read_bool(&r));
    assert_int_equal(kith_cbor_peek(&r), KITH_CBOR_NULL);
    kith_cbor_read_null(&r);
    assert_int_equal(kith_cbor_read_int(&r), -3);
    assert_true(kith_cbor_need(&r, &walk, 9));
    inner = kith_cbor_enter(&r);
    assert_true(kith_cbor_need(&r, &inner, 10));
    assert_int_equal(kith_cbor_read_int(&r), 1);
    kith_cbor_leave(&r, &inner);
    assert_false(kith_cbor_done(&(kith_cbor_reader){.bad = true}));
    kith_cbor_leave(&r, &walk);
    assert_true(kith_cbor_done(&r));
    assert_int_equal(kith_mem_calls(), 0);
    kith_mem_fail_at(0, false);

    r = kith_cbor_reader_of(memory, size); /* one key alone, the rest is skipped */
    walk = kith_cbor_enter(&r);
    assert_true(kith_cbor_need(&r, &walk, 3));
    const char *text = kith_cbor_read_text(&r, &text_size);
    assert_int_equal(text_size, 2);
    assert_memory_equal(text, "\xc3\xa9", 2);
    assert_false(kith_cbor_find(&r, &walk, 1)); /* behind us */
    kith_cbor_leave(&r, &walk);
    assert_true(kith_cbor_done(&r));

    r = kith_cbor_reader_of(memory, size);
    walk = kith_cbor_enter(&r);
    assert_false(kith_cbor_need(&r, &walk, 4)); /* absent */
    assert_true(r.bad);
}

static void a_value_left_half_read_is_wrong(void **state)
{
    (void)state;
    test_bytes b = test_unhex("a2018202030405"); /* {1: [2, 3], 4: 5} */
    kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    assert_true(kith_cbor_find(&r, &walk, 1));
    assert_int_equal(kith_cbor_read_array(&r), 2);
    assert_int_equal(kith_cbor_read_uint(&r), 2);
    assert_false(kith_cbor_find(&r, &walk, 3)); /* the array's second item must not pass for a key */
    assert_true(r.bad);
    r = kith_cbor_reader_of(b.data, b.size);
    walk = kith_cbor_enter(&r);
    assert_true(kith_cbor_find(&r, &walk, 1)); /* and a value not read at all */
    assert_false(kith_cbor_find(&r, &walk, 4));
    assert_true(r.bad);
    test_bytes_free(&b);
}

static void duplicate_and_descending_keys_are_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"a0",
                                       "a20102"
                                       "0304",
                                       "a2178018"
                                       "1880",
                                       "a2616100"
                                       "62616200",
                                       "a203004101"
                                       "00",
                                       "a4"
                                       "0000"
                                       "2000"
                                       "4100"
                                       "00"
                                       "f400"};
    static const char *const bad[] = {
        "a201020103",                   /* 1 twice */
        "a202020103",                   /* 2, 1 */
        "a3010202030203",               /* 1, 2, 2 */
        "a21818001700",                 /* 24, 23 */
        "a262616200616100",             /* "ab", "a" */
        "a24101000300",                 /* h'01', 3: bytes sort after integers */
        "8101a201020103",               /* trailing */
        "81a201020103",                 /* nested */
        "a101a201020103",               /* nested in a map's value */
        "a1810100",         "a1a00000", /* an array, a map as key */
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!accepts_hex(good[i])) fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (accepts_hex(bad[i])) fail_msg("%s", bad[i]);
    test_bytes b = test_unhex("a20102"
                              "0103");
    kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    assert_true(kith_cbor_find(&r, &walk, 1));
    kith_cbor_skip(&r);
    kith_cbor_leave(&r, &walk);
    assert_true(r.bad);
    test_bytes_free(&b);
    b = test_unhex("a2616100616200"); /* text keys: well-formed, but no map to walk by number */
    assert_true(accepts(b.data, b.size));
    r = kith_cbor_reader_of(b.data, b.size);
    walk = kith_cbor_enter(&r);
    kith_cbor_leave(&r, &walk);
    assert_true(r.bad);
    test_bytes_free(&b);
}

static void only_the_shortest_form_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *good, *bad;
    } table[] = {
        {"17", "1817"},
        {"1818", "190018"},
        {"18ff", "1900ff"},
        {"190100", "1a00000100"},
        {"19ffff", "1a0000ffff"},
        {"1a00010000", "1b0000000000010000"},
        {"1affffffff", "1b00000000ffffffff"},
        {"00", "1b0000000000000000"},
        {"37", "3817"},
        {"38ff", "3900ff"},
        {"39ffff", "3a0000ffff"},
        {"3affffffff", "3b00000000ffffffff"},
        {"40", "5800"},
        {"4101", "580101"},
        {"4101", "59000101"},
        {"4101", "5a0000000101"},
        {"4101", "5b000000000000000101"},
        {"6161", "780161"},
        {"6161", "79000161"},
        {"6161", "7b000000000000000161"},
        {"6161", "7f6161ff"},
        {"4101", "5f4101ff"},
        {"8101", "980101"},
        {"8101", "99000101"},
        {"8101", "9b000000000000000101"},
        {"8101", "9f01ff"},
        {"a10102", "b8010102"},
        {"a10102", "bb00000000000000010102"},
        {"a10102", "bf0102ff"},
        {"f4", "f814"},
        {"f5", "f815"},
        {"f6", "f816"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!accepts_hex(table[i].good)) fail_msg("%s", table[i].good);
        if (accepts_hex(table[i].bad)) fail_msg("%s", table[i].bad);
    }
    for (unsigned first = 0; first < 256; first++) { /* reserved additional information 28..30 and "break" alone */
        uint8_t bytes[9] = {(uint8_t)first};
        if ((first & 31) >= 28) assert_false(accepts(bytes, 9) || accepts(bytes, 1));
    }
}

static void floats_tags_and_bad_text_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "f90000",   "fa00000000", "fb0000000000000000", "f7",   "e0",     "f820",     "c000", "d81800",
        "81f90000", "a101f7",     "a1f70100",           "61ff", "62c0af", "63eda080", "6100", "8161ff",
        "a161ff00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (accepts_hex(bad[i])) fail_msg("%s", bad[i]);
    assert_false(accepts_hex("0000")); /* trailing byte */
    assert_false(accepts_hex(""));
    uint8_t memory[8];
    kith_writer w = kith_writer_of(memory, sizeof memory);
    kith_cbor_write_text(&w, "\xff", 1);
    assert_true(w.bad);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    uint8_t bomb[4096];
    for (size_t depth = 1; depth <= sizeof bomb - 1; depth = depth < 16 ? depth + 1 : depth * 2) {
        memset(bomb, 0x81, depth); /* [[[...0...]]] */
        bomb[depth] = 0x00;
        assert_true(accepts(bomb, depth + 1) == (depth <= KITH_CBOR_DEPTH_MAX));
    }
    memset(bomb, 0x81, sizeof bomb);
    assert_false(accepts(bomb, sizeof bomb));
    for (size_t i = 0; i < sizeof bomb; i++) bomb[i] = i % 2 ? 0x00 : 0xa1; /* {0: {0: ... */
    assert_false(accepts(bomb, sizeof bomb));
    /* The cap is on what is open, not on how many there were: 1,000 empty arrays in one. */
    kith_writer w = kith_writer_of(bomb, sizeof bomb);
    kith_cbor_write_array(&w, 1000);
    for (size_t i = 0; i < 1000; i++) kith_cbor_write_array(&w, 0);
    assert_true(accepts(bomb, kith_writer_size(&w)));
}

static void huge_counts_are_refused_at_once(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "9bffffffffffffffff",
        "9b7fffffffffffffff00",
        "bbffffffffffffffff",
        "bb8000000000000000",
        "bb8000000000000001"
        "0000",
        "5bffffffffffffffff",
        "7bffffffffffffffff",
        "5b7fffffffffffffff",
        "5a80000000",
        "9a80000000"
        "00",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_bytes b = test_unhex(bad[i]);
        kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
        size_t count = kith_cbor_peek(&r) == KITH_CBOR_MAP ? kith_cbor_read_map(&r) : kith_cbor_read_array(&r);
        assert_int_equal(count, 0);
        assert_true(r.bad);
        assert_false(accepts(b.data, b.size));
        test_bytes_free(&b);
    }
    test_bytes b = test_unhex("8201"); /* one more than there are bytes */
    kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
    assert_int_equal(kith_cbor_read_array(&r), 0);
    assert_true(r.bad);
    test_bytes_free(&b);
}

static void every_truncation_and_small_room(void **state)
{
    (void)state;
    uint8_t memory[64];
    size_t size = write_sample(memory, sizeof memory);
    assert_true(size > 0);
    refuses_prefixes(memory, size);
    for (size_t room = 0; room < size; room++) assert_int_equal(write_sample(memory, room), 0);
}

static void integers_at_their_edges(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *hex;
    } table[] = {
        {0, "00"},
        {23, "17"},
        {24, "1818"},
        {255, "18ff"},
        {256, "190100"},
        {65535, "19ffff"},
        {65536, "1a00010000"},
        {UINT32_MAX, "1affffffff"},
        {INT64_C(1) << 32, "1b0000000100000000"},
        {INT64_MAX, "1b7fffffffffffffff"},
        {-1, "20"},
        {-24, "37"},
        {-25, "3818"},
        {-256, "38ff"},
        {-257, "390100"},
        {INT64_MIN, "3b7fffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t memory[9];
        kith_writer w = kith_writer_of(memory, sizeof memory);
        kith_cbor_write_int(&w, table[i].value);
        test_equal_hex(memory, kith_writer_size(&w), table[i].hex);
        kith_cbor_reader r = kith_cbor_reader_of(memory, kith_writer_size(&w));
        assert_int_equal(kith_cbor_read_int(&r), table[i].value);
        assert_true(kith_cbor_done(&r));
    }
    static const char *const outside[] = {"1b8000000000000000", "3b8000000000000000", "40", "f4"};
    for (size_t i = 0; i < 4; i++) {
        test_bytes b = test_unhex(outside[i]);
        kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
        assert_int_equal(kith_cbor_read_int(&r), 0);
        assert_true(r.bad);
        test_bytes_free(&b);
    }
}

static void the_wrong_type_is_refused_and_sticks(void **state)
{
    (void)state;
    test_bytes b = test_unhex("83"
                              "01"
                              "4101"
                              "6161");
    kith_cbor_reader start = kith_cbor_reader_of(b.data, b.size), r;
    size_t size = 9;
    char name[2] = "x";
    uint8_t out[2] = {9, 9};
    kith_cbor_read_array(&start);
    r = start;
    assert_null(kith_cbor_read_bytes(&r, &size));
    assert_int_equal(size, 0);
    assert_true(r.bad);
    assert_int_equal(kith_cbor_read_uint(&r), 0); /* it was there */
    assert_int_equal(kith_cbor_peek(&r), KITH_CBOR_END);
    r = start;
    assert_false(kith_cbor_read_bool(&r));
    assert_true(r.bad);
    r = start;
    kith_cbor_skip(&r);
    kith_cbor_read_copy(&r, out, 2); /* one byte, not two */
    assert_true(r.bad && out[0] == 0 && out[1] == 0);
    r = start;
    kith_cbor_skip(&r);
    kith_cbor_skip(&r);
    kith_cbor_read_string(&r, name, 1); /* no room for the NUL */
    assert_true(r.bad && name[0] == '\0');
    r = start;
    kith_cbor_skip(&r);
    kith_cbor_skip(&r);
    kith_cbor_read_string(&r, name, 2);
    assert_true(kith_cbor_done(&r));
    assert_string_equal(name, "a");
    kith_cbor_read_uint(&r); /* past the message's one item */
    assert_true(r.bad);
    r = start;
    kith_cbor_read_uint(&r);
    assert_false(kith_cbor_done(&r)); /* array not finished */
    test_bytes_free(&b);
}

static void an_item_is_viewed_as_it_stands(void **state)
{
    (void)state;
    test_bytes b = test_unhex("8300a1018203"
                              "0405"); /* [0, {1: [3, 4]}, 5] */
    kith_cbor_reader r = kith_cbor_reader_of(b.data, b.size);
    size_t size;
    kith_cbor_read_array(&r);
    kith_cbor_skip(&r);
    const uint8_t *item = kith_cbor_read_item(&r, &size);
    test_equal_hex(item, size, "a101820304");
    assert_int_equal(kith_cbor_read_uint(&r), 5);
    assert_true(kith_cbor_done(&r));
    test_bytes_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cbor_rfc8949_appendix_a),
        TEST(a_map_is_walked_by_key),
        TEST(a_value_left_half_read_is_wrong),
        TEST(duplicate_and_descending_keys_are_refused),
        TEST(only_the_shortest_form_is_read),
        TEST(floats_tags_and_bad_text_are_refused),
        TEST(depth_is_bounded),
        TEST(huge_counts_are_refused_at_once),
        TEST(every_truncation_and_small_room),
        TEST(integers_at_their_edges),
        TEST(the_wrong_type_is_refused_and_sticks),
        TEST(an_item_is_viewed_as_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
