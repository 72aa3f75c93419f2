#include "base/mem.h"
#include "identity/device.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

#define ID "0192f3c1-9d0b-4c36-8a52-7f3c1d2e4b5a"

static kith_err decode(const char *text, kith_device *out, kith_reason *reason)
{
    return kith_device_decode(text, strlen(text), out, reason);
}

static void a_new_device(void **state)
{
    (void)state;
    uint8_t random[16];
    kith_device device;
    char text[KITH_UUID_TEXT_SIZE];
    memset(random, 0xff, sizeof random);
    assert_ok(kith_device_make(random, " laptop \n", "Linux", NULL, 1795490963123, &device));
    assert_string_equal(kith_uuid_text(device.id, text), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    memset(random, 0, sizeof random);
    assert_ok(kith_device_make(random, "laptop", "Lin\nux", "Think\xff\x1b[0mPad", 1, &device));
    assert_string_equal(kith_uuid_text(device.id, text), "00000000-0000-4000-8000-000000000000");
    assert_string_equal(device.name, "laptop");
    assert_string_equal(device.os, "Linux");
    assert_string_equal(device.hardware_model, "Think[0mPad");
    assert_int_equal(kith_device_make(random, "  ", "Linux", NULL, 1, &device), KITH_ERR_ARG);
}

static void names(void **state)
{
    (void)state;
    static const char *good[] = {"a", "Jamie's phone", "Büro", "電話", "👋", "a\\b", "-", "laptop-2"};
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {
        {"", 0},
        {"   ", 3},
        {"a\nb", 3},
        {"a\tb", 3},
        {"a\x7f", 2},
        {"a\x1b[1m", 5},
        {"a\0b", 3},
        {"a\xc2\x85"
         "b",
         4},
        {"\xe2\x80\xae"
         "x",
         4},
        {"\xe2\x81\xa6x", 4},
        {"x\xe2\x80\xa8y", 5},
        {"\xff", 1},
        {"\xc3", 1},
        {"\xed\xa0\x80", 3},
        {"a\xe2\x80\x8b", 4},
    };
    char out[KITH_NAME_SIZE], longest[80], cut[8];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(kith_name_check(good[i], strlen(good[i]), out));
        assert_string_equal(out, good[i]);
        assert_true(kith_name_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kith_name_check(bad[i].text, bad[i].size, out) != KITH_ERR_ARG) fail_msg("bad name %zu accepted", i);
    memset(longest, 'n', sizeof longest);
    assert_ok(kith_name_check(longest, 63, out));
    assert_int_equal(strlen(out), 63);
    assert_int_equal(kith_name_check(longest, 64, out), KITH_ERR_ARG);
    longest[63] = ' ';
    assert_ok(kith_name_check(longest, 64, out)); /* counted after trimming */
    assert_false(kith_name_valid(" a"));
    assert_false(kith_name_valid("a "));

    assert_string_equal(kith_name_clean("a\xe2\x82\xac\xe2\x82\xac", 7, cut, sizeof cut), "a\xe2\x82\xac\xe2\x82\xac");
    assert_string_equal(kith_name_clean("ab\xe2\x82\xac\xe2\x82\xac", 8, cut, sizeof cut), "ab\xe2\x82\xac");
    assert_string_equal(kith_name_clean(" \xe2\x80\xae\n\x01 x", 8, cut, sizeof cut), "x");
    assert_string_equal(kith_name_clean("\xe2\x82", 2, cut, sizeof cut), "");
    assert_string_equal(kith_name_clean("1234567 9", 9, cut, sizeof cut), "1234567");
    assert_memory_equal(cut, "1234567", sizeof cut);
    assert_string_equal(kith_name_clean("123456 89", 9, cut, sizeof cut), "123456");
    assert_memory_equal(cut, "123456\0", sizeof cut); /* nothing is left behind the end */
}

static void a_whole_file(void **state)
{
    (void)state;
    kith_device device;
    kith_reason reason;
    assert_ok(decode("{\"version\":1,\"id\":\"" ID "\",\"name\":\"laptop\",\"os\":\"Linux\",\"hardware_model\":\"X1\","
                     "\"created_at\":\"2026-11-24T03:29:23.123Z\"}",
                     &device, &reason));
    char text[KITH_UUID_TEXT_SIZE];
    assert_string_equal(kith_uuid_text(device.id, text), ID);
    assert_string_equal(device.name, "laptop");
    assert_string_equal(device.os, "Linux");
    assert_string_equal(device.hardware_model, "X1");
    assert_int_equal(device.created_at_ms, 1795490963123);
}

/* What the seed's own application writes: nanoseconds, a null, a version that is a text, members of its own. */
static const char host_file[] =
    "{\"id\":\"0192F3C1-9D0B-7C36-8A52-7F3C1D2E4B5A\",\"name\":\"Studio\","
    "\"created_at\":\"2025-06-01T10:00:00.123456789+02:00\",\"hardware_model\":null,\"os\":\"macOS\","
    "\"version\":\"0.1.0\",\"library\":{\"order\":[3,1,2],\"big\":9223372036854775807,\"f\":0.1},"
    "\"\\u00e9\":\"\\u00df\"}";

static void a_hosts_file_is_kept(void **state)
{
    (void)state;
    kith_device device;
    kith_reason reason;
    uint8_t *out;
    size_t size;
    assert_ok(decode(host_file, &device, &reason));
    assert_string_equal(device.hardware_model, "");
    assert_int_equal(device.created_at_ms, 1748764800123);
    assert_ok(kith_device_encode(&device, host_file, strlen(host_file), &out, &size, &reason));
    json_t *before = json_loads(host_file, 0, NULL), *after = json_loadb((char *)out, size, 0, NULL);
    assert_true(json_equal(before, after)); /* nothing changed: nothing changes */
    kith_free(out);
    json_decref(after);

    strcpy(device.name, "Studio 2");
    assert_ok(kith_device_encode(&device, host_file, strlen(host_file), &out, &size, &reason));
    after = json_loadb((char *)out, size, 0, NULL);
    json_object_set_new(before, "name", json_string("Studio 2"));
    assert_true(json_equal(before, after));
    kith_device again;
    assert_ok(kith_device_decode(out, size, &again, &reason));
    assert_memory_equal(again.id, device.id, 16);
    assert_string_equal(again.name, "Studio 2");
    json_decref(before);
    json_decref(after);
    kith_free(out);
}

static void there_and_back(void **state)
{
    (void)state;
    uint8_t random[16] = {1, 2, 3}, *out;
    size_t size;
    kith_device device, again;
    kith_reason reason;
    assert_ok(kith_device_make(random, "laptop", "Linux", "X1", 1795490963123, &device));
    assert_ok(kith_device_encode(&device, NULL, 0, &out, &size, &reason));
    assert_ok(kith_device_decode(out, size, &again, &reason));
    assert_memory_equal(&device, &again, sizeof device);
    assert_int_equal(out[size - 1], '\n');
    json_t *file = json_loadb((char *)out, size, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(file, "version")), 1);
    assert_string_equal(test_str(file, "created_at"), "2026-11-24T03:29:23.123Z");
    json_decref(file);
    kith_free(out);
}

static void damage_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        kith_err err;
        const char *says;
    } table[] = {
        {"", KITH_ERR_DAMAGED, "line 1"},
        {"{\n  \"id\": \"" ID "\",\n  \"name\": \"x", KITH_ERR_DAMAGED, "line 3"},
        {"[]", KITH_ERR_DAMAGED, "object"},
        {"{} x", KITH_ERR_DAMAGED, "line 1, column 4"},
        {"{\"name\":\"x\"}", KITH_ERR_DAMAGED, "id"},
        {"{\"id\":5,\"name\":\"x\"}", KITH_ERR_DAMAGED, "id"},
        {"{\"id\":\"0192f3c19d0b4c368a527f3c1d2e4b5a\",\"name\":\"x\"}", KITH_ERR_DAMAGED, "id"},
        {"{\"id\":\"00000000-0000-0000-0000-000000000000\",\"name\":\"x\"}", KITH_ERR_DAMAGED, "id"},
        {"{\"id\":\"" ID "\"}", KITH_ERR_DAMAGED, "name"},
        {"{\"id\":\"" ID "\",\"name\":\"\"}", KITH_ERR_DAMAGED, "name"},
        {"{\"id\":\"" ID "\",\"name\":\"a\\u202eb\"}", KITH_ERR_DAMAGED, "name"},
        {"{\"id\":\"" ID "\",\"name\":\"a\\u0000b\"}", KITH_ERR_DAMAGED, "line 1"},
        {"{\"id\":\"" ID "\",\"name\":\"a\",\"name\":\"b\"}", KITH_ERR_DAMAGED, "duplicate"},
        {"{\"id\":\"" ID "\",\"name\":\"a\",\"os\":7}", KITH_ERR_DAMAGED, "os"},
        {"{\"id\":\"" ID "\",\"name\":\"a\",\"created_at\":\"yesterday\"}", KITH_ERR_DAMAGED, "created_at"},
        {"{\"id\":\"" ID "\",\"name\":\"a\",\"created_at\":12}", KITH_ERR_DAMAGED, "created_at"},
        {"{\"version\":0,\"id\":\"" ID "\",\"name\":\"a\"}", KITH_ERR_DAMAGED, "version"},
        {"{\"version\":1.5,\"id\":\"" ID "\",\"name\":\"a\"}", KITH_ERR_DAMAGED, "version"},
        {"{\"version\":2,\"id\":\"" ID "\",\"name\":\"a\"}", KITH_ERR_VERSION, "format 2"},
        {"{\"version\":9223372036854775807}", KITH_ERR_VERSION, "format 9223372036854775807"},
        {"{\"id\":\"\x1b[31m\"", KITH_ERR_DAMAGED, "line 1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kith_device device, before;
        kith_reason reason = {""};
        memset(&device, 0x5a, sizeof device);
        before = device;
        kith_err err = decode(table[i].file, &device, &reason);
        if (err != table[i].err || !strstr(reason.text, table[i].says))
            fail_msg("%s: error %d, \"%s\"", table[i].file, err, reason.text);
        assert_memory_equal(&device, &before, sizeof device);
        for (const char *p = reason.text; *p; p++) assert_true((unsigned char)*p >= 0x20);
        uint8_t *out = NULL;
        size_t size;
        assert_int_equal(kith_device_encode(&device, table[i].file, strlen(table[i].file), &out, &size, &reason), err);
        assert_null(out);
    }
}

/* device.json has no checksum (an application may write it), so a flipped byte may give another device; never one that
 * breaks the rules, and never a crash. */
static void every_cut_and_every_flip(void **state)
{
    (void)state;
    const size_t size = strlen(host_file);
    kith_device whole, device;
    kith_reason reason;
    size_t accepted = 0;
    assert_ok(decode(host_file, &whole, &reason));
    for (size_t cut = 0; cut < size; cut++) {
        char *part = kith_memdup(host_file, cut); /* so that reading past it is seen */
        assert_int_equal(kith_device_decode(part, cut, &device, &reason), KITH_ERR_DAMAGED);
        kith_free(part);
    }
    for (size_t i = 0; i < size * 8; i++) {
        char *bad = kith_memdup(host_file, size);
        bad[i / 8] = (char)(bad[i / 8] ^ (1 << i % 8));
        kith_err err = kith_device_decode(bad, size, &device, &reason);
        if (!err) {
            accepted++;
            assert_true(kith_name_valid(device.name));
        } else {
            assert_true(err == KITH_ERR_DAMAGED || err == KITH_ERR_VERSION);
        }
        kith_free(bad);
    }
    assert_true(accepted < size * 8);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_device device;
    kith_reason reason;
    uint8_t *out = NULL, *fresh = NULL;
    size_t size;
    kith_err err = decode(host_file, &device, &reason);
    if (!err) {
        strcpy(device.name, "other");
        err = kith_device_encode(&device, host_file, strlen(host_file), &out, &size, &reason);
    }
    if (!err) err = kith_device_encode(&device, NULL, 0, &fresh, &size, &reason);
    kith_free(out);
    kith_free(fresh);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

/* Jansson's own allocations too: it may call a failed one a syntax error, but nothing crashes, leaks or comes out
 * wrong. */
static void failing_allocations_of_jansson(void **state)
{
    (void)state;
    json_set_alloc_funcs(kith_malloc, kith_free);
    for (uint64_t n = 1;; n++) {
        int64_t live = kith_mem_live();
        kith_mem_fail_at(n, false);
        int err = all_of_it(NULL);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        assert_int_equal(kith_mem_live(), live);
        assert_true(err == KITH_OK || err == KITH_ERR_NOMEM || err == KITH_ERR_DAMAGED);
        if (!failed) break;
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_device),
        TEST(names),
        TEST(a_whole_file),
        TEST(a_hosts_file_is_kept),
        TEST(there_and_back),
        TEST(damage_is_named),
        TEST(every_cut_and_every_flip),
        TEST(failing_allocations),
        TEST(failing_allocations_of_jansson),
    };
    return cmocka_run_group_tests_name("identity/device", tests, NULL, NULL);
}
