/* Messages on a control stream after hello. */
#include "base/buf.h"
#include "service/control.h"
#include "testlib.h"

#include <string.h>

static kith_candidates some(size_t count)
{
    kith_candidates c = {.count = count, .tcp = count % 3 == 2};
    for (size_t i = 0; i < count; i++) {
        assert_ok(kith_addr_parse(i % 2 ? "[2001:db8::1]:6000" : "203.0.113.7:5000", &c.addrs[i]));
        c.addrs[i].port = (uint16_t)(5000 + i);
    }
    return c;
}

static void candidates_round_trip(void **state)
{
    (void)state;
    for (size_t count = 0; count <= KITH_CANDIDATES_MAX; count++) {
        kith_candidates in = some(count), out;
        uint8_t bytes[KITH_CANDIDATES_ENCODED];
        size_t size;
        assert_ok(kith_candidates_write(&in, bytes, sizeof bytes, &size));
        assert_ok(kith_candidates_read(bytes, size, &out));
        assert_int_equal(out.count, count);
        assert_int_equal(out.tcp, in.tcp);
        for (size_t i = 0; i < count; i++) assert_true(kith_addr_equal(&in.addrs[i], &out.addrs[i]));
        for (size_t cut = 0; cut < size; cut++) assert_int_not_equal(kith_candidates_read(bytes, cut, &out), KITH_OK);
    }
}

static void the_bytes(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0xa2, 0x01, 0x01, 0x02, 0x81, 0x46, 203, 0, 113, 7, 0x13, 0x88};
    kith_candidates in = some(1);
    uint8_t bytes[KITH_CANDIDATES_ENCODED];
    size_t size;
    assert_ok(kith_candidates_write(&in, bytes, sizeof bytes, &size));
    assert_int_equal(size, sizeof expected);
    assert_memory_equal(bytes, expected, size);
    static const uint8_t with_tcp[] = {0xa3, 0x01, 0x01, 0x02, 0x81, 0x46, 203, 0, 113, 7, 0x13, 0x88, 0x03, 0xf5};
    in.tcp = true;
    assert_ok(kith_candidates_write(&in, bytes, sizeof bytes, &size));
    assert_int_equal(size, sizeof with_tcp);
    assert_memory_equal(bytes, with_tcp, size);
    in.addrs[0].family = KITH_FAMILY_RELAY;
    assert_int_equal(kith_candidates_write(&in, bytes, sizeof bytes, &size), KITH_ERR_LIMIT);
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[16];
        size_t size;
        kith_err err;
    } cases[] = {
        {{0xa1, 0x01, 0x02}, 3, KITH_ERR_UNSUPPORTED},                              /* another kind */
        {{0xa2, 0x01, 0x07, 0x02, 0xf6}, 5, KITH_ERR_UNSUPPORTED},                  /* with anything in it */
        {{0xa1, 0x01, 0x01}, 3, KITH_ERR_FORMAT},                                   /* no addresses */
        {{0xa2, 0x01, 0x01, 0x02, 0x81, 0x45, 1, 2, 3, 4, 5}, 11, KITH_ERR_FORMAT}, /* 5 bytes */
        {{0xa2, 0x01, 0x01, 0x02, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 13, KITH_ERR_FORMAT},
        {{0xa2, 0x01, 0x01, 0x02, 0x81, 0x01}, 6, KITH_ERR_FORMAT},       /* a number */
        {{0xa2, 0x01, 0x01, 0x02, 0x80, 0x00}, 6, KITH_ERR_FORMAT},       /* something behind */
        {{0xa3, 0x01, 0x01, 0x02, 0x80, 0x03, 0x01}, 7, KITH_ERR_FORMAT}, /* a number for a truth */
        {{0}, 0, KITH_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_candidates out;
        assert_int_equal(kith_candidates_read(cases[i].bytes, cases[i].size, &out), cases[i].err);
    }
}

/* However the stream is cut, the same messages come, and long ones are passed over. */
static void any_cut_gives_the_same(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 63, 64, KITH_CONTROL_MAX, KITH_CONTROL_MAX + 1, 5000, 2, 70000, 3};
    static uint8_t stream[100000];
    kith_writer w = kith_writer_of(stream, sizeof stream);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        kith_write_varint(&w, lengths[i]);
        for (size_t k = 0; k < lengths[i]; k++) kith_write_u8(&w, (uint8_t)(lengths[i] + k));
    }
    assert_false(w.bad);
    for (size_t piece = 1; piece < 3000; piece = piece * 3 / 2 + 1) {
        kith_control_reader r = {0};
        size_t next = 0, total = kith_writer_size(&w);
        for (size_t at = 0; at < total;) {
            const uint8_t *message;
            size_t size, n = total - at < piece ? total - at : piece;
            at += kith_control_add(&r, stream + at, n, &message, &size);
            if (!message) continue;
            while (lengths[next] > KITH_CONTROL_MAX) next++;
            assert_int_equal(size, lengths[next]);
            for (size_t k = 0; k < size; k++) assert_int_equal(message[k], (uint8_t)(lengths[next] + k));
            next++;
        }
        assert_int_equal(next, sizeof lengths / sizeof *lengths);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(candidates_round_trip),
        TEST(the_bytes),
        TEST(what_is_refused),
        TEST(any_cut_gives_the_same),
    };
    return cmocka_run_group_tests_name("service/control", tests, NULL, NULL);
}
