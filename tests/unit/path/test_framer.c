#include "path/framer.h"

#include "base/mem.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

#define PACKETS 40

/* Packet i: its size, and bytes that tell which it is. */
static size_t size_of(unsigned i, size_t most) { return 1 + (size_t)i * 7919 * (i % 5 + 1) % most; }
static uint8_t byte_of(unsigned i, size_t at) { return (uint8_t)(i * 31 + at); }

static uint8_t *make_stream(size_t most, size_t *size)
{
    uint8_t *stream = malloc(PACKETS * (most + KITH_FRAME_PREFIX)), *at = stream;
    assert_non_null(stream);
    for (unsigned i = 0; i < PACKETS; i++) {
        size_t packet = size_of(i, most);
        *at++ = (uint8_t)(packet >> 8);
        *at++ = (uint8_t)packet;
        for (size_t k = 0; k < packet; k++) *at++ = byte_of(i, k);
    }
    *size = (size_t)(at - stream);
    return stream;
}

/* How many whole packets there were by the end; each is what was sent. */
static unsigned feed(kith_framer *f, const uint8_t *stream, size_t size, size_t piece, size_t most)
{
    unsigned count = 0;
    for (size_t at = 0; at < size;) {
        size_t room = 0, packet_size;
        uint8_t *to = kith_framer_room(f, &room), *packet;
        assert_non_null(to);
        assert_true(room > 0);
        size_t give = piece < room ? piece : room;
        if (give > size - at) give = size - at;
        memcpy(to, stream + at, give);
        kith_framer_filled(f, give);
        at += give;
        while (kith_framer_next(f, &packet, &packet_size) == KITH_OK) {
            assert_int_equal(packet_size, size_of(count, most));
            for (size_t k = 0; k < packet_size; k++) assert_int_equal(packet[k], byte_of(count, k));
            count++;
        }
    }
    return count;
}

static void packets_come_out_however_they_are_cut(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 3, 1000, 4097, 65002, 70001, 1 << 20};
    for (int large = 0; large < 2; large++) {
        size_t most = large ? KITH_FRAME_PACKET_MAX : KITH_FRAME_SMALL_MAX, size;
        uint8_t *stream = make_stream(most, &size);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            kith_framer f;
            kith_framer_init(&f);
            if (large) kith_framer_trust(&f);
            assert_int_equal(feed(&f, stream, size, pieces[i], most), PACKETS);
            kith_framer_done(&f);
        }
        free(stream);
    }
}

/* Trust comes in the middle: what waits stays in order. */
static void trust_in_the_middle(void **state)
{
    (void)state;
    uint8_t stream[2 * (KITH_FRAME_PREFIX + 100) + KITH_FRAME_PREFIX] = {[1] = 100, [KITH_FRAME_PREFIX + 101] = 100},
                                                   *packet;
    size_t room, size;
    kith_framer f;
    kith_framer_init(&f);
    stream[sizeof stream - 2] = 60000 >> 8;
    stream[sizeof stream - 1] = 60000 & 0xff;
    memcpy(kith_framer_room(&f, &room), stream, sizeof stream);
    kith_framer_filled(&f, sizeof stream);
    assert_ok(kith_framer_next(&f, &packet, &size));
    kith_framer_trust(&f);
    assert_ok(kith_framer_next(&f, &packet, &size));
    assert_int_equal(kith_framer_next(&f, &packet, &size), KITH_ERR_AGAIN);
    for (size_t left = 60000; left;) {
        uint8_t *to = kith_framer_room(&f, &room);
        size_t give = left < room ? left : room;
        memset(to, 7, give);
        kith_framer_filled(&f, give);
        left -= give;
    }
    assert_ok(kith_framer_next(&f, &packet, &size));
    assert_int_equal(size, 60000);
    assert_int_equal(packet[0] + packet[59999], 14);
    kith_framer_done(&f);
}

static kith_err length(unsigned value, bool trust)
{
    uint8_t *packet;
    size_t room, size;
    kith_framer f;
    kith_framer_init(&f);
    if (trust) kith_framer_trust(&f);
    uint8_t *to = kith_framer_room(&f, &room);
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
    kith_framer_filled(&f, 2);
    kith_err err = kith_framer_next(&f, &packet, &size);
    kith_framer_done(&f);
    return err;
}

static void lengths_have_limits(void **state)
{
    (void)state;
    assert_int_equal(length(0, false), KITH_ERR_PROTOCOL);
    assert_int_equal(length(0, true), KITH_ERR_PROTOCOL);
    assert_int_equal(length(KITH_FRAME_SMALL_MAX, false), KITH_ERR_AGAIN);
    assert_int_equal(length(KITH_FRAME_SMALL_MAX + 1, false), KITH_ERR_PROTOCOL);
    assert_int_equal(length(KITH_FRAME_PACKET_MAX, true), KITH_ERR_AGAIN);
    assert_int_equal(length(KITH_FRAME_PACKET_MAX + 1, true), KITH_ERR_PROTOCOL);
    assert_int_equal(length(0xffff, true), KITH_ERR_PROTOCOL);
}

static void strangers_get_little_memory(void **state)
{
    (void)state;
    size_t room;
    kith_framer f;
    kith_framer_init(&f);
    (void)kith_framer_room(&f, &room);
    assert_in_range(f.cap, KITH_FRAME_SMALL_MAX, 3 * KITH_FRAME_SMALL_MAX);
    kith_framer_done(&f);
}

/* What is framed, sent in pieces of every size, is the run's packets again. */
static void runs_are_framed(void **state)
{
    (void)state;
    uint8_t data[1000], prefixes[KITH_FRAME_PIECES_MAX], stream[sizeof data + KITH_FRAME_PIECES_MAX];
    struct iovec pieces[KITH_FRAME_PIECES_MAX];
    static const size_t segments[] = {1000, 999, 300, 100, 16};
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7);
    for (size_t s = 0; s < sizeof segments / sizeof *segments; s++) {
        kith_packet run = {.data = data, .size = sizeof data, .segment = segments[s]};
        for (size_t step = 1; step < sizeof stream; step += step < 20 ? 1 : 37) {
            size_t left, whole = 0, packet_size, room, at = 0;
            do {
                size_t count = kith_frame_run(&run, whole, prefixes, pieces, &left), given = 0;
                for (size_t i = 0; i < count && given < step; i++) {
                    size_t take = pieces[i].iov_len < step - given ? pieces[i].iov_len : step - given;
                    memcpy(stream + whole + given, pieces[i].iov_base, take);
                    given += take;
                }
                whole += given;
                left -= given;
            } while (left);
            kith_framer f;
            uint8_t *packet;
            kith_framer_init(&f);
            memcpy(kith_framer_room(&f, &room), stream, whole);
            kith_framer_filled(&f, whole);
            while (kith_framer_next(&f, &packet, &packet_size) == KITH_OK) {
                assert_memory_equal(packet, data + at, packet_size);
                assert_true(packet_size == run.segment || at + packet_size == run.size);
                at += packet_size;
            }
            assert_int_equal(at, run.size);
            kith_framer_done(&f);
        }
    }
}

static int no_memory(void *arg)
{
    (void)arg;
    size_t room;
    kith_framer f;
    kith_framer_init(&f);
    int err = kith_framer_room(&f, &room) ? 0 : KITH_ERR_NOMEM;
    kith_framer_trust(&f);
    if (!err && !kith_framer_room(&f, &room)) err = KITH_ERR_NOMEM;
    kith_framer_done(&f);
    return err;
}

static void every_allocation(void **state)
{
    (void)state;
    test_every_allocation(no_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packets_come_out_however_they_are_cut), TEST(trust_in_the_middle), TEST(lengths_have_limits),
        TEST(strangers_get_little_memory),           TEST(runs_are_framed),     TEST(every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
