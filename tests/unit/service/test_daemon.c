/* Requests and answers between a program and a daemon: what is no such message is refused, and what is read is what was
 * written.  (test_schema.c has an example of each.) */
#include "service/daemon.h"

#include "testlib.h"
#include "wire/cbor.h"

#include <string.h>

#define ID "01890000-0000-7000-8000-0000000000aa"

static uint8_t bytes[KITH_DAEMON_FIXED_MAX + 1];
static kith_daemon_answer answer;

/* What was written of it reads as this. */
static kith_err again(const kith_daemon_request *r, kith_daemon_request *out)
{
    size_t size = kith_daemon_request_write(r, bytes, KITH_DAEMON_FIXED_MAX);
    assert_true(size > 0);
    return kith_daemon_request_read(bytes, size, out);
}

static void strings_end_where_they_end(void **state)
{
    kith_daemon_request r = {.kind = KITH_DAEMON_CONNECT, .op = 3, .device = ID, .text = "topic", .seconds = 4}, got;
    (void)state;
    assert_ok(again(&r, &got));
    assert_string_equal(got.device, ID);
    assert_string_equal(got.text, "topic");
    assert_int_equal(got.seconds, 4);
    r = (kith_daemon_request){.kind = KITH_DAEMON_JOIN, .op = 3, .text = "the last of all"};
    assert_ok(again(&r, &got));
    assert_string_equal(got.text, "the last of all");
    assert_null(got.device);
}

static void members_of_other_kinds_are_refused(void **state)
{
    kith_daemon_request got;
    (void)state;
    const kith_daemon_request bad[] = {
        {.kind = KITH_DAEMON_LOOK, .op = 1, .yes = true},
        {.kind = KITH_DAEMON_LOOK},                          /* no number */
        {.kind = KITH_DAEMON_LOOK, .op = UINT64_C(1) << 32}, /* a part cannot begin */
        {.kind = KITH_DAEMON_PING, .op = 1},                 /* whom? */
        {.kind = KITH_DAEMON_JOIN, .op = 1},
        {.kind = KITH_DAEMON_SEND, .op = 1, .device = ID}, /* as what? */
        {.kind = KITH_DAEMON_SEND,
         .op = 1,
         .device = ID,
         .name = "n",
         .text = "/etc/passwd"}, /* paths are the program's */
        {.kind = KITH_DAEMON_CONNECT, .op = 1, .device = ID},
        {.kind = KITH_DAEMON_MESSAGE, .op = 1},
        {.kind = KITH_DAEMON_TAKEN, .op = 1},
        {.kind = KITH_DAEMON_INBOX_ANSWER, .op = 1, .yes = true},
        {.kind = KITH_DAEMON_UP, .op = 1},
        {.kind = KITH_DAEMON_EVENT, .op = 1},
        {.kind = 21, .op = 1},
        {.kind = KITH_DAEMON_HELLO, .text = "1", .count = 1, .op = 1},
        {.kind = KITH_DAEMON_HELLO, .count = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(again(&bad[i], &got), KITH_ERR_PROTOCOL);
}

static void what_is_too_long_is_not_written(void **state)
{
    static char text[KITH_PATH_NAME_MAX + 1];
    kith_daemon_request r = {.kind = KITH_DAEMON_JOIN, .op = 1, .text = text}, got;
    (void)state;
    memset(text, 'x', KITH_PATH_NAME_MAX - 1);
    assert_ok(again(&r, &got));
    assert_int_equal(strlen(got.text), KITH_PATH_NAME_MAX - 1);
    text[KITH_PATH_NAME_MAX - 1] = 'x';
    assert_int_equal(kith_daemon_request_write(&r, bytes, KITH_DAEMON_FIXED_MAX), 0);
    r.text = "x";
    assert_int_equal(kith_daemon_request_write(&r, bytes, 4), 0);
}

static void another_version_is_recognised(void **state)
{
    kith_daemon_request got;
    kith_writer w = kith_writer_of(bytes, sizeof bytes);
    (void)state;
    kith_cbor_write_map(&w, 4);
    kith_cbor_write_uint(&w, 0);
    kith_cbor_write_uint(&w, KITH_DAEMON_HELLO);
    kith_cbor_write_uint(&w, 3);
    kith_cbor_write_bytes(&w, "2.0", 3);
    kith_cbor_write_uint(&w, 10);
    kith_cbor_write_uint(&w, 2);
    kith_cbor_write_uint(&w, 77);
    kith_cbor_write_array(&w, 0);
    size_t size = kith_writer_size(&w);
    assert_int_equal(kith_daemon_request_read(bytes, size, &got), KITH_ERR_VERSION);
    assert_int_equal(got.count, 2);
    assert_int_equal(kith_daemon_answer_read(bytes, size, &answer), KITH_ERR_VERSION);
    assert_string_equal(answer.hello.version, "2.0");
    assert_int_equal(answer.hello.protocol, 2);
    bytes[size - 5] = KITH_DAEMON_PROTOCOL; /* with ours nothing else may be there */
    assert_int_equal(kith_daemon_request_read(bytes, size, &got), KITH_ERR_PROTOCOL);
}

/* Every bit of every message changed, and every message cut: nothing crashes, and what is still read writes as itself.
 */
static void hostile_bytes(void **state)
{
    static uint8_t whole[KITH_DAEMON_FIXED_MAX], changed[KITH_DAEMON_FIXED_MAX + 1], written[KITH_DAEMON_FIXED_MAX];
    static kith_daemon_answer a;
    kith_daemon_request r = {
        .kind = KITH_DAEMON_RECEIVE, .op = 1, .device = ID, .text = "/a", .yes = true, .choice = 2};
    (void)state;
    a = (kith_daemon_answer){.kind = KITH_DAEMON_EVENT};
    a.event = (kith_event){.kind = KITH_EVENT_FILE,
                           .op = 1,
                           .transfer = 2,
                           .err = KITH_ERR_LOST,
                           .message = "m",
                           .path_name = "/p",
                           .bytes = 1,
                           .seconds = 0.25,
                           .skew_ms = -1};
    for (int which = 0; which < 2; which++) {
        size_t size = which ? kith_daemon_answer_write(&a, whole, sizeof whole)
                            : kith_daemon_request_write(&r, whole, sizeof whole);
        for (size_t bit = 0; bit < 9 * size; bit++) {
            size_t cut = bit < 8 * size ? size : bit - 8 * size;
            memcpy(changed, whole, size);
            if (bit < 8 * size) changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            kith_daemon_request got;
            if (which == 0 && kith_daemon_request_read(changed, cut, &got) == KITH_OK)
                assert_int_equal(kith_daemon_request_write(&got, written, sizeof written), cut);
            if (which == 1 && kith_daemon_answer_read(changed, cut, &answer) == KITH_OK)
                assert_in_range(kith_daemon_answer_write(&answer, written, sizeof written), 1, cut);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(strings_end_where_they_end), TEST(members_of_other_kinds_are_refused),
                                       TEST(what_is_too_long_is_not_written), TEST(another_version_is_recognised),
                                       TEST(hostile_bytes)};
    return cmocka_run_group_tests_name("service/daemon", tests, NULL, NULL);
}
