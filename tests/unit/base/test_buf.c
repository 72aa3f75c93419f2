#include "base/buf.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static void quic_rfc9000_9001_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("quic_rfc9000_9001.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "varint_decode"), i, item) {
        test_bytes b = test_unhex(json_string_value(json_array_get(item, 0)));
        kith_reader r = kith_reader_of(b.data, b.size);
        assert_int_equal(kith_read_varint(&r), strtoull(json_string_value(json_array_get(item, 1)), NULL, 10));
        assert_true(kith_reader_done(&r));
        for (size_t cut = 0; cut < b.size; cut++) {
            r = kith_reader_of(b.data, cut);
            kith_read_varint(&r);
            assert_true(r.bad);
        }
        test_bytes_free(&b);
    }
    test_ran_kind("quic_rfc9000_9001.json", "varint_decode", i);
    json_decref(root);
}

static void varints_round_trip_in_shortest_form(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        size_t size;
    } table[] = {
        {0, 1}, {63, 1}, {64, 2}, {16383, 2}, {16384, 4}, {(1u << 30) - 1, 4}, {1u << 30, 8}, {KITH_VARINT_MAX, 8},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t memory[8];
        kith_writer w = kith_writer_of(memory, sizeof memory);
        kith_write_varint(&w, table[i].value);
        assert_false(w.bad);
        assert_int_equal(kith_writer_size(&w), table[i].size);
        kith_reader r = kith_reader_of(memory, table[i].size);
        assert_int_equal(kith_read_varint(&r), table[i].value);
    }
    uint8_t memory[8];
    kith_writer w = kith_writer_of(memory, sizeof memory);
    kith_write_varint(&w, KITH_VARINT_MAX + 1);
    assert_true(w.bad);
}

static void nothing_passes_the_end(void **state)
{
    (void)state;
    uint8_t memory[4] = {1, 2, 3, 4}, out[8];
    kith_reader r = kith_reader_of(memory, 4);
    assert_int_equal(kith_read_u32(&r), 0x01020304);
    assert_int_equal(kith_read_u8(&r), 0);
    assert_true(r.bad);
    r = kith_reader_of(memory, 4);
    memset(out, 0xff, sizeof out);
    kith_read_copy(&r, out, 5);
    assert_int_equal(out[0] | out[4], 0);
    assert_int_equal(kith_reader_left(&r), 0);
    kith_writer w = kith_writer_of(memory, 3);
    kith_write_u16(&w, 0xaabb);
    kith_write_u16(&w, 0xccdd);
    assert_true(w.bad);
    assert_int_equal(kith_writer_size(&w), 2);
    assert_int_equal(memory[3], 4);
    r = kith_reader_of(NULL, 0);
    assert_true(kith_reader_done(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(quic_rfc9000_9001_json),
        TEST(varints_round_trip_in_shortest_form),
        TEST(nothing_passes_the_end),
    };
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
