/* The parts beneath connections: the id map, deadlines, stream buffers, tokens, frames. */
#include "quic/deadlines.h"
#include "quic/frames.h"
#include "quic/idmap.h"
#include "quic/streambuf.h"
#include "quic/token.h"

#include "base/mem.h"
#include "crypto/keys.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static void ids(void **state)
{
    (void)state;
    static const uint8_t key[16] = {1};
    kith_idmap *map, *second;
    kith_list owners[3];
    int people[3];
    assert_ok(kith_idmap_new(key, &map));
    assert_ok(kith_idmap_new(key, &second));
    for (int i = 0; i < 3; i++) kith_list_init(&owners[i]);
    for (uint32_t i = 0; i < 3000; i++) assert_ok(kith_idmap_add(map, &i, sizeof i, &people[i % 3], &owners[i % 3]));
    uint32_t id = 5;
    assert_int_equal(kith_idmap_add(map, &id, sizeof id, &people[0], &owners[0]), KITH_ERR_EXISTS);
    assert_ok(kith_idmap_add(second, &id, sizeof id, &people[2], &owners[2])); /* two maps, one list */
    assert_null(kith_idmap_find(map, &id, 3));                                 /* the size counts */
    assert_null(kith_idmap_find(map, &id, 0));
    assert_int_equal(kith_idmap_add(map, &id, 0, NULL, &owners[0]), KITH_ERR_ARG);
    for (uint32_t i = 0; i < 3000; i++) assert_ptr_equal(kith_idmap_find(map, &i, sizeof i), &people[i % 3]);
    for (uint32_t i = 0; i < 3000; i += 6) kith_idmap_remove(map, &i, sizeof i);
    kith_idmap_remove(map, &(uint32_t){0}, 4); /* again: nothing */
    for (uint32_t i = 0; i < 3000; i++)
        assert_ptr_equal(kith_idmap_find(map, &i, sizeof i), i % 6 ? &people[i % 3] : NULL);
    kith_idmap_remove_all(&owners[2]);
    assert_int_equal(kith_idmap_count(second), 0);
    assert_int_equal(kith_idmap_count(map), 1500);
    assert_null(kith_idmap_find(map, &id, sizeof id));
    kith_idmap_remove_all(&owners[0]);
    kith_idmap_remove_all(&owners[1]);
    assert_int_equal(kith_idmap_count(map), 0);
    kith_idmap_free(map);
    kith_idmap_free(second);
}

static void heap(void **state)
{
    (void)state;
    kith_deadlines all = {0};
    kith_deadline nodes[200];
    bool in[200] = {0};
    uint64_t x = 88172645463325252ull;
    assert_null(kith_deadlines_first(&all));
    for (int step = 0; step < 20000; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t i = x % 200;
        if (!in[i]) {
            assert_ok(kith_deadlines_add(&all, &nodes[i]));
            assert_true(nodes[i].at_ns == UINT64_MAX);
            in[i] = true;
        } else if (x >> 20 & 3) {
            kith_deadlines_set(&all, &nodes[i], x >> 40 & 0xff);
        } else {
            kith_deadlines_remove(&all, &nodes[i]);
            in[i] = false;
        }
        uint64_t least = UINT64_MAX;
        size_t count = 0;
        for (size_t k = 0; k < 200; k++) {
            if (!in[k]) continue;
            count++;
            if (nodes[k].at_ns < least) least = nodes[k].at_ns;
        }
        kith_deadline *first = kith_deadlines_first(&all);
        assert_int_equal(all.count, count);
        if (count) assert_true(first->at_ns == least);
    }
    kith_deadlines_done(&all);
}

/* Against a plain array: writes and loans of all sizes, sent and acknowledged in any steps. */
static void sending(void **state)
{
    (void)state;
    static uint8_t model[400000], source[400000];
    kith_sendbuf b;
    uint64_t x = 12345678901ull;
    size_t returns = 0, loans = 0;
    for (size_t i = 0; i < sizeof source; i++) source[i] = (uint8_t)(i * 2654435761u >> 13);
    kith_sendbuf_init(&b);
    while (b.acked < 390000) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t size = x % (x >> 60 ? 300 : 9000);
        if (b.written + size <= 390000 || (size = 390000 - b.written)) {
            memcpy(model + b.written, source + b.written, size);
            const uint8_t *from = source + b.written;
            if (x >> 33 & 1) {
                loans += size > 0;
                assert_ok(kith_sendbuf_lend(&b, from, size));
            } else {
                uint8_t copy[9000];
                memcpy(copy, from, size);
                assert_ok(kith_sendbuf_write(&b, copy, size));
                memset(copy, 0, sizeof copy);
            }
        }
        for (int round = 0; round < 3; round++) {
            kith_piece pieces[3];
            bool all;
            uint64_t at = b.sent;
            size_t n = kith_sendbuf_gather(&b, pieces, 3, &all), total = 0;
            for (size_t i = 0; i < n; i++) {
                assert_true(pieces[i].size > 0);
                assert_memory_equal(pieces[i].data, model + at, pieces[i].size);
                at += pieces[i].size;
                total += pieces[i].size;
            }
            assert_int_equal(all, at == b.written);
            if (total) kith_sendbuf_sent(&b, (x >> 8) % total + 1);
        }
        if (b.sent > b.acked) returns += kith_sendbuf_acked(&b, b.acked + (x >> 16) % (b.sent - b.acked + 1));
    }
    assert_true(returns > 0 && returns <= loans);
    assert_int_equal(b.lent, 0);
    kith_sendbuf_clear(&b);
}

static void receiving(void **state)
{
    (void)state;
    kith_spares spares;
    kith_recvbuf b;
    uint64_t x = 777, in = 0, out = 0;
    uint8_t data[3000];
    int64_t live = kith_mem_live();
    kith_spares_init(&spares);
    kith_recvbuf_init(&b, &spares);
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        size_t size = x % sizeof data;
        for (size_t k = 0; k < size; k++) data[k] = (uint8_t)((in + k) * 31);
        assert_ok(kith_recvbuf_add(&b, data, size));
        in += size;
        if (x >> 30 & 1) continue;
        const uint8_t *view;
        size_t got;
        for (int round = 0; round < 3 && (got = kith_recvbuf_peek(&b, &view)); round++) {
            for (size_t k = 0; k < got; k += 97) assert_int_equal(view[k], (uint8_t)((out + k) * 31));
            size_t take = x >> 31 & 1 ? got : got / 2 + 1;
            kith_recvbuf_consume(&b, take);
            out += take;
        }
        assert_int_equal(b.size, in - out);
    }
    kith_recvbuf_consume(&b, SIZE_MAX);
    assert_int_equal(b.size, 0);
    const uint8_t *view;
    assert_int_equal(kith_recvbuf_peek(&b, &view), 0);
    assert_true(spares.count <= KITH_SPARE_BLOCKS_MAX);
    kith_recvbuf_clear(&b);
    kith_spares_done(&spares);
    assert_int_equal(kith_mem_live(), live);
}

static void retry_tokens(void **state)
{
    (void)state;
    const uint8_t key[32] = {1}, other_key[32] = {2}, nonce[12] = {3};
    static const char *const others[] = {"192.0.2.1:6", "192.0.2.2:5", "193.0.2.1:5", "[2001:db8::1]:5",
                                         "[c000:201::]:5"};
    kith_addr a, b, link_local;
    kith_cid original = {8, {1, 2, 3, 4, 5, 6, 7, 8}}, source = {8, {9}}, other_source = {8, {10}}, got = {0};
    uint8_t token[KITH_RETRY_TOKEN_MAX];
    size_t size;
    uint64_t now = UINT64_C(100000000000);
    assert_ok(kith_addr_parse("192.0.2.1:5", &a));
    assert_ok(kith_token_make(key, nonce, &a, &original, &source, now, token, &size));
    assert_true(size <= sizeof token);
    assert_ok(kith_token_check(key, token, size, &a, &source, now + 1, &got));
    assert_memory_equal(&got, &original, sizeof got);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_ok(kith_addr_parse(others[i], &b));
        assert_int_equal(kith_token_check(key, token, size, &b, &source, now + 1, &got), KITH_ERR_CRYPTO);
    }
    b = a;
    b.family = KITH_FAMILY_IPV6; /* the same bytes, but for the family */
    assert_int_equal(kith_token_check(key, token, size, &b, &source, now + 1, &got), KITH_ERR_CRYPTO);
    assert_int_equal(kith_token_check(key, token, size, &a, &other_source, now + 1, &got), KITH_ERR_CRYPTO);
    assert_int_equal(kith_token_check(other_key, token, size, &a, &source, now + 1, &got), KITH_ERR_CRYPTO);
    assert_ok(kith_token_check(key, token, size, &a, &source, now + KITH_RETRY_TOKEN_NS, &got));
    assert_int_equal(kith_token_check(key, token, size, &a, &source, now + KITH_RETRY_TOKEN_NS + 1, &got),
                     KITH_ERR_TIMEOUT);
    assert_int_equal(kith_token_check(key, token, size, &a, &source, now - 1, &got), KITH_ERR_TIMEOUT);
    for (size_t i = 0; i < size; i++) {
        token[i] ^= 1;
        assert_int_equal(kith_token_check(key, token, size, &a, &source, now, &got), KITH_ERR_CRYPTO);
        token[i] ^= 1;
        assert_int_equal(kith_token_check(key, token, i, &a, &source, now, &got), KITH_ERR_CRYPTO);
    }
    assert_ok(kith_addr_parse("[fe80::1]:5", &link_local));
    link_local.scope = 2;
    assert_ok(kith_token_make(key, nonce, &link_local, &original, &source, now, token, &size));
    assert_ok(kith_token_check(key, token, size, &link_local, &source, now, &got));
    link_local.scope = 3; /* the same address on another link */
    assert_int_equal(kith_token_check(key, token, size, &link_local, &source, now, &got), KITH_ERR_CRYPTO);
    uint8_t r1[16], r2[16];
    kith_token_reset(key, "12345678", 8, r1);
    kith_token_reset(key, "12345678", 8, r2);
    assert_memory_equal(r1, r2, 16);
    kith_token_reset(other_key, "12345678", 8, r2);
    assert_memory_not_equal(r1, r2, 16);
    kith_token_reset(key, "12345679", 8, r2);
    assert_memory_not_equal(r1, r2, 16);
}

typedef struct found {
    kith_frame_stop stops[4];
    size_t count;
} found;

static void add(void *user, const kith_frame_stop *stop)
{
    found *f = user;
    if (f->count < 4) f->stops[f->count++] = *stop;
}

static void stops_among_frames(void **state)
{
    (void)state;
    static const uint8_t payload[] =
        {
            0x00, 0x00, 0x01,                                     /* padding, ping */
            0x02, 0x10, 0x00, 0x01, 0x02, 0x01, 0x01,             /* ACK with one more range */
            0x03, 0x10, 0x00, 0x00, 0x02, 0x01, 0x01, 0x01,       /* ACK with ECN */
            0x05, 0x04, 0x40, 0x63,                               /* STOP_SENDING of 4, code 99 */
            0x04, 0x08, 0x01, 0x05,                               /* RESET_STREAM */
            0x06, 0x00, 0x02, 0x05, 0x05,                         /* CRYPTO that looks like one */
            0x0e, 0x00, 0x05, 0x02, 0x05, 0x05,                   /* STREAM with offset and length */
            0x10, 0x05, 0x11, 0x04, 0x05, 0x12, 0x05, 0x13, 0x05, /* MAX_ frames */
            0x14, 0x05, 0x15, 0x04, 0x05, 0x16, 0x05, 0x17, 0x05, /* BLOCKED frames */
            0x18, 0x01, 0x00, 0x02, 0x05, 0x05, 1,    2,    3,    4,    5,    6,    7,
            8,    9,    10,   11,   12,   13,   14,   15,   16, /* NEW_CONNECTION_ID */
            0x19, 0x05, 0x1a, 0x05, 0x05, 0x05, 0x05, 5,    5,    5,    5,    0x1b, 5,
            5,    5,    5,    5,    5,    5,    5,    0x1e, 0x07, 0x02, 0x05, 0x05, /* NEW_TOKEN */
            0x31, 0x03, 0x05, 0x01, 0x01,                                           /* DATAGRAM that looks like one */
            0x05, 0x08, 0x00,                                                       /* STOP_SENDING of 8 */
            0x08, 0x00, 0x05, 0x05, 0x05,                                           /* STREAM to the end */
        };
    found f = {0};
    kith_frames_find_stops(payload, sizeof payload, add, &f);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.stops[0].stream_id, 4);
    assert_int_equal(f.stops[0].code, 99);
    assert_int_equal(f.stops[1].stream_id, 8);
    for (size_t cut = 0; cut < sizeof payload; cut++) {
        uint8_t *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, payload, cut);
        kith_frames_find_stops(copy, cut, add, &f);
        free(copy);
    }
    f.count = 0;
    kith_frames_find_stops((const uint8_t *)"\x30\x05\x04\x01", 4, add, &f); /* DATAGRAM to the end */
    kith_frames_find_stops((const uint8_t *)"\x3f\x05\x04\x01", 4, add, &f); /* unknown: what follows cannot be known */
    assert_int_equal(f.count, 0);
}

static int setup(void **state)
{
    (void)state;
    return kith_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids), TEST(heap), TEST(sending), TEST(receiving), TEST(retry_tokens), TEST(stops_among_frames),
    };
    return cmocka_run_group_tests_name("quic/parts", tests, setup, NULL);
}
