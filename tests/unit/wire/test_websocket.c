/* WebSocket frames: RFC 6455's examples, Autobahn's close codes, and everything cut in all places. */
#include "testlib.h"
#include "wire/websocket.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 300
#define HEARD_MAX   8
#define END         2000 /* more bytes than the shorter cases have */

typedef struct heard {
    kith_websocket_event event;
    size_t size;
    uint8_t data[MESSAGE_MAX];
    unsigned code;
} heard;

/* What a reader says to these bytes when they come in two parts (and the second byte by byte when `slow`), as far as
 * its end; its memory is no larger than it has to be. */
static size_t read_all(const uint8_t *bytes, size_t size, bool masked, size_t cut, bool slow, heard *out)
{
    size_t memory_size = KITH_WEBSOCKET_READER_MIN(MESSAGE_MAX), count = 0, room;
    uint8_t *memory = malloc(memory_size); /* to its end: what reads past it shows with ASan */
    kith_websocket_reader r;
    kith_websocket_item item;
    kith_websocket_reader_init(&r, memory, memory_size, MESSAGE_MAX, masked);
    for (size_t at = 0; at < size && count < HEARD_MAX;) {
        size_t some = at < cut && cut < size ? cut - at : slow ? 1 : size - at;
        uint8_t *to = kith_websocket_room(&r, &room);
        assert_true(room > 0);
        if (some > room) some = room;
        memcpy(to, bytes + at, some);
        kith_websocket_received(&r, some);
        at += some;
        for (kith_websocket_event e;
             count < HEARD_MAX && (e = kith_websocket_next(&r, &item)) != KITH_WEBSOCKET_MORE;) {
            out[count] = (heard){.event = e, .size = item.size, .code = item.code};
            assert_true(item.size <= MESSAGE_MAX);
            if (item.size) memcpy(out[count].data, item.data, item.size);
            if (item.size) memset(item.data, 0xee, item.size); /* it may be changed */
            count++;
        }
    }
    free(memory);
    return count;
}

static void same(const heard *a, size_t count, const heard *b, size_t wanted)
{
    assert_int_equal(count, wanted);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a[i].event, b[i].event);
        assert_int_equal(a[i].code, b[i].code);
        if (a[i].event == KITH_WEBSOCKET_BROKEN || a[i].event == KITH_WEBSOCKET_CLOSED) continue;
        assert_int_equal(a[i].size, b[i].size);
        assert_memory_equal(a[i].data, b[i].data, a[i].size);
    }
}

/* The same wherever it is cut. */
static void expect_items(const uint8_t *bytes, size_t size, bool masked, const heard *want, size_t count)
{
    heard got[HEARD_MAX];
    for (size_t cut = 0; cut < size; cut++) {
        for (int slow = 0; slow < 2; slow++) {
            size_t n = read_all(bytes, size, masked, cut, slow, got);
            same(got, n, want, count);
        }
    }
}

static heard item_of(kith_websocket_event event, const void *data, size_t size, unsigned code)
{
    heard h = {.event = event, .size = size, .code = code};
    if (size) memcpy(h.data, data, size);
    return h;
}

/* ---- the RFC's examples ---- */

static void accept_key(void **state)
{
    (void)state;
    char out[KITH_WEBSOCKET_ACCEPT_SIZE], key[KITH_WEBSOCKET_KEY_SIZE];
    json_t *v = test_vectors("rfc6455_examples.json");
    const json_t *accept = json_object_get(v, "accept");
    kith_websocket_accept(test_str(accept, "key"), out);
    assert_string_equal(out, test_str(accept, "accept"));
    kith_websocket_key((const uint8_t *)"the sample nonce", key);
    assert_string_equal(key, "dGhlIHNhbXBsZSBub25jZQ==");
    json_decref(v);
}

/* Its payload, which we write again: the same bytes come out. */
static void write_again(const test_bytes *frame)
{
    uint8_t out[64] = {0}, payload[64];
    bool masked = frame->data[1] & 0x80;
    size_t size = frame->data[1] & 0x7f, at = masked ? 6 : 2;
    assert_true(size < 64 && at + size == frame->size);
    const uint8_t *mask = masked ? frame->data + 2 : NULL;
    memcpy(payload, frame->data + at, size);
    if (mask) kith_websocket_mask(payload, payload, size, mask, 0);
    if (!(frame->data[0] & 0x80) || !(frame->data[0] & 0x0f)) return; /* we write no fragments */
    assert_memory_equal(payload, "Hello", 5);
    size_t head = kith_websocket_write_head(out, frame->data[0] & 0x0f, size, mask);
    assert_int_equal(head, at);
    if (mask) {
        kith_websocket_mask(out + head, payload, size, mask, 0);
    } else {
        memcpy(out + head, payload, size);
    }
    assert_memory_equal(out, frame->data, frame->size);
}

static void read_example(const test_bytes *frame)
{
    heard got[HEARD_MAX];
    unsigned opcode = frame->data[0] & 0x0f;
    size_t count = read_all(frame->data, frame->size, frame->data[1] & 0x80, 0, false, got);
    if (opcode == KITH_WEBSOCKET_PONG) {
        assert_int_equal(count, 0);
        return;
    }
    assert_int_equal(count, 1);
    if (opcode == KITH_WEBSOCKET_PING) {
        assert_int_equal(got[0].event, KITH_WEBSOCKET_PINGED);
        assert_int_equal(got[0].size, 5);
        assert_memory_equal(got[0].data, "Hello", 5);
    } else { /* text, or a fragment with nothing before it */
        assert_int_equal(got[0].event, KITH_WEBSOCKET_BROKEN);
        assert_int_equal(got[0].code, opcode ? KITH_WEBSOCKET_CODE_TYPE : KITH_WEBSOCKET_CODE_PROTOCOL);
    }
}

static void examples(void **state)
{
    (void)state;
    size_t i, count = 0;
    json_t *v = test_vectors("rfc6455_examples.json"), *o;
    json_array_foreach (json_object_get(v, "frames"), i, o) {
        test_bytes frame = test_hex_of(o, "bytes");
        if (frame.size) {
            write_again(&frame);
            read_example(&frame);
        } else {
            uint8_t out[KITH_WEBSOCKET_FRAME_HEAD_MAX];
            size_t size = (size_t)json_integer_value(json_object_get(o, "payload_len"));
            size = kith_websocket_write_head(out, KITH_WEBSOCKET_BINARY, size, NULL);
            assert_int_equal(size * 2, strlen(test_str(o, "header")));
            test_equal_hex(out, size, test_str(o, "header"));
        }
        test_bytes_free(&frame);
        count++;
    }
    test_ran("rfc6455_examples.json", count);
    json_decref(v);
}

static void close_codes(void **state)
{
    (void)state;
    size_t i, count = 0;
    json_t *v = test_vectors("rfc6455_autobahn_cases.json"), *o;
    json_array_foreach (json_object_get(v, "cases"), i, o) {
        const json_t *number = json_object_get(o, "close_code"), *valid = json_object_get(o, "valid");
        if (!number || !valid) continue;
        unsigned code = (unsigned)json_integer_value(number);
        uint8_t frame[4] = {0x88, 2};
        kith_websocket_write_code(frame + 2, code);
        heard want = json_is_true(valid) ? item_of(KITH_WEBSOCKET_CLOSED, NULL, 0, code)
                                         : item_of(KITH_WEBSOCKET_BROKEN, NULL, 0, KITH_WEBSOCKET_CODE_PROTOCOL);
        expect_items(frame, sizeof frame, false, &want, 1);
        count++;
    }
    test_ran_kind("rfc6455_autobahn_cases.json", "close codes", count);
    json_decref(v);
}

/* ---- what is right, and what is not ---- */

typedef struct rule {
    const char *what, *hex;
    size_t filling; /* zero bytes after them */
    kith_websocket_event event;
    unsigned code;
    const char *data;
} rule;

#define BAD(what, hex, code)                                                                                           \
    {                                                                                                                  \
        what, hex, 0, KITH_WEBSOCKET_BROKEN, code, NULL                                                                \
    }
static const rule rules[] = {
    BAD("reserved bit 1", "c200", 1002),
    BAD("reserved bit 2", "a200", 1002),
    BAD("reserved bit 3", "9200", 1002),
    BAD("reserved bits of a close", "f800", 1002),
    BAD("opcode 3", "8300", 1002),
    BAD("opcode 7", "8700", 1002),
    BAD("opcode 11", "8b00", 1002),
    BAD("opcode 15", "8f00", 1002),
    BAD("a masked frame", "828100000000", 1002),
    BAD("text", "8100", 1003),
    BAD("text in fragments", "010161", 1003),
    BAD("nothing to continue", "800161", 1002),
    BAD("nothing to continue, and more to come", "000161", 1002),
    BAD("a message in a message", "020161820162", 1002),
    BAD("a ping in fragments", "0900", 1002),
    BAD("a ping of 126 bytes", "897e007e", 1002),
    BAD("a close of one byte", "880103", 1002),
    BAD("a length of 125 in two bytes", "827e007d", 1002),
    BAD("a length of 65535 in eight bytes", "827f000000000000ffff", 1002),
    BAD("a length of 2^63", "827f8000000000000000", 1002),
    BAD("a length of 2^63 - 1", "827f7fffffffffffffff", 1009),
    BAD("one byte too many", "827e012d", 1009),
    BAD("one byte too many, in fragments", "020161807e012c", 1009),
    {"an empty message", "8200", 0, KITH_WEBSOCKET_MESSAGE, 0, ""},
    {"a message", "82026869", 0, KITH_WEBSOCKET_MESSAGE, 0, "hi"},
    {"fragments", "0201610000000162800163", 0, KITH_WEBSOCKET_MESSAGE, 0, "abc"},
    {"empty fragments", "0200000000008000", 0, KITH_WEBSOCKET_MESSAGE, 0, ""},
    {"a pong before it", "8a03313233820168", 0, KITH_WEBSOCKET_MESSAGE, 0, "h"},
    {"a pong in it", "0201618a03313233800162", 0, KITH_WEBSOCKET_MESSAGE, 0, "ab"},
    {"a close without a code", "8800", 0, KITH_WEBSOCKET_CLOSED, 0, ""},
    {"a close with a reason", "880503e8627965", 0, KITH_WEBSOCKET_CLOSED, 1000, NULL},
    {"a close with the longest reason", "887d03e8", 123, KITH_WEBSOCKET_CLOSED, 1000, NULL},
    {"1014, registered since", "880203f6", 0, KITH_WEBSOCKET_CLOSED, 1014, NULL},
    BAD("1015, never said", "880203f7", 1002),
    BAD("5000", "88021388", 1002),
};

static void rules_are_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        uint8_t bytes[END] = {0};
        const rule *at = &rules[i];
        test_bytes start = test_unhex(at->hex);
        memcpy(bytes, start.data, start.size);
        print_message("  %s\n", at->what);
        heard want = item_of(at->event, at->data, at->data ? strlen(at->data) : 0, at->code);
        expect_items(bytes, start.size + at->filling, false, &want, 1);
        test_bytes_free(&start);
    }
}

/* Whole and in fragments of every size, pings between them, plain and masked: as large as may be. */
static size_t put_frame(uint8_t *out, uint8_t first, const uint8_t *data, size_t size, bool masked)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t head = kith_websocket_write_head(out, first & 0x0f, size, masked ? mask : NULL);
    out[0] = first;
    for (size_t i = 0; i < size; i++) out[head + i] = masked ? data[i] ^ mask[i % 4] : data[i];
    return head + size;
}

static void fragments(bool masked)
{
    uint8_t data[MESSAGE_MAX], bytes[4 * END];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + 3);
    static const size_t pieces[] = {1, 3, 64, 125, 126, 299, 300};
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
        size_t size = 0, count = 0;
        heard want[3], got[HEARD_MAX];
        for (size_t at = 0; at < sizeof data; at += pieces[k]) {
            size_t some = sizeof data - at < pieces[k] ? sizeof data - at : pieces[k];
            uint8_t first = (uint8_t)((at ? 0 : 2) | (at + some == sizeof data ? 0x80 : 0));
            size += put_frame(bytes + size, first, data + at, some, masked);
            if (at == 0 && some < sizeof data) {
                size += put_frame(bytes + size, 0x89, data, 125, masked);
                want[count++] = item_of(KITH_WEBSOCKET_PINGED, data, 125, 0);
            }
        }
        want[count++] = item_of(KITH_WEBSOCKET_MESSAGE, data, sizeof data, 0);
        size += put_frame(bytes + size, 0x82, data + 1, 200, masked);
        want[count++] = item_of(KITH_WEBSOCKET_MESSAGE, data + 1, 200, 0);
        for (size_t cut = 0; cut < size; cut++) same(got, read_all(bytes, size, masked, cut, false, got), want, count);
        same(got, read_all(bytes, size, masked, 0, true, got), want, count);
    }
}

static void fragments_from_a_server(void **state)
{
    (void)state;
    fragments(false);
}
static void fragments_from_a_client(void **state)
{
    (void)state;
    fragments(true);
}

static void a_client_has_to_mask(void **state)
{
    (void)state;
    static const uint8_t plain[] = {0x82, 1, 'x'};
    heard want = item_of(KITH_WEBSOCKET_BROKEN, NULL, 0, KITH_WEBSOCKET_CODE_PROTOCOL);
    expect_items(plain, sizeof plain, true, &want, 1);
}

static void nothing_comes_after_what_is_broken(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x83, 0, 0x82, 1, 'x'};
    heard want = item_of(KITH_WEBSOCKET_BROKEN, NULL, 0, KITH_WEBSOCKET_CODE_PROTOCOL);
    expect_items(bytes, sizeof bytes, false, &want, 1);
}

static void a_whole_message_is_not_copied(void **state)
{
    (void)state;
    uint8_t memory[KITH_WEBSOCKET_READER_MIN(MESSAGE_MAX)];
    kith_websocket_reader r;
    kith_websocket_item item;
    size_t room;
    kith_websocket_reader_init(&r, memory, sizeof memory, MESSAGE_MAX, false);
    memcpy(kith_websocket_room(&r, &room), "\x82\x02hi\x82\x03you", 9);
    kith_websocket_received(&r, 9);
    assert_int_equal(kith_websocket_next(&r, &item), KITH_WEBSOCKET_MESSAGE);
    assert_ptr_equal(item.data, memory + 2);
    assert_int_equal(kith_websocket_next(&r, &item), KITH_WEBSOCKET_MESSAGE);
    assert_ptr_equal(item.data, memory + 6);
}

static void masks_of_all_sizes(void **state)
{
    (void)state;
    static const uint8_t mask[4] = {1, 20, 77, 200};
    uint8_t in[80], out[80], want[80];
    for (size_t i = 0; i < sizeof in; i++) in[i] = (uint8_t)(i * 11);
    for (size_t offset = 0; offset < 9; offset++) {
        for (size_t size = 0; size + 1 < sizeof in; size++) {
            memset(out, 0xaa, sizeof out);
            memset(want, 0xaa, sizeof want);
            for (size_t i = 0; i < size; i++) want[1 + i] = in[i] ^ mask[(offset + i) % 4];
            kith_websocket_mask(out + 1, in, size, mask, offset);
            assert_memory_equal(out, want, sizeof out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(accept_key),
        TEST(examples),
        TEST(close_codes),
        TEST(rules_are_kept),
        TEST(fragments_from_a_server),
        TEST(fragments_from_a_client),
        TEST(a_client_has_to_mask),
        TEST(nothing_comes_after_what_is_broken),
        TEST(a_whole_message_is_not_copied),
        TEST(masks_of_all_sizes),
    };
    return cmocka_run_group_tests_name("wire/websocket", tests, NULL, NULL);
}
