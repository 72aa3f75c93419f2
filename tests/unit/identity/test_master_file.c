#include "identity/master_file.h"

#include "base/mem.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kith_master_device device(uint8_t n)
{
    kith_master_device d;
    memset(&d, n, sizeof d);
    return d;
}

static kith_master *sample(void)
{
    kith_master *master;
    kith_master_device two = device(2), one = device(1);
    assert_ok(kith_master_new(&master));
    master->has_recovery = true;
    memset(&master->recovery, 7, sizeof master->recovery);
    master->epoch = 3;
    master->created_at_ms = 1795490963123;
    assert_ok(kith_master_put(master, &two));
    assert_ok(kith_master_put(master, &one));
    return master;
}

/* The error of decoding this text; *reason is of a failure. */
static kith_err decode(const char *text, kith_master **out, kith_reason *reason)
{
    *out = NULL;
    *reason = (kith_reason){""};
    kith_err err = kith_master_decode(text, strlen(text), out, reason);
    if (err) assert_true(reason->text[0]);
    return err;
}

static char *encoded(const kith_master *master)
{
    uint8_t *data;
    size_t size;
    assert_ok(kith_master_encode(master, &data, &size));
    char *text = kith_malloc(size + 1);
    assert_non_null(text);
    memcpy(text, data, size);
    text[size] = 0;
    kith_free(data);
    return text;
}

static void there_and_back(void **state)
{
    (void)state;
    kith_reason reason;
    kith_master *master = sample(), *again;
    char *text = encoded(master);
    assert_ok(decode(text, &again, &reason));
    assert_memory_equal(master, again, sizeof *master);
    assert_int_equal(again->devices[0].uuid[0], 1);
    assert_non_null(strstr(text, "\"01010101-0101-0101-0101-010101010101\""));
    assert_non_null(strstr(text, "\"created_at\": \"2026-11-24T03:29:23.123Z\""));
    kith_free(text);
    kith_master_free(again);
    kith_master_free(master);
}

static void without_a_code(void **state)
{
    (void)state;
    kith_reason reason;
    kith_master *none, *again;
    kith_master_device one = device(1);
    assert_ok(kith_master_new(&none));
    assert_int_equal(kith_master_put(none, &one), KITH_ERR_STATE);
    char *text = encoded(none);
    assert_ok(decode(text, &again, &reason));
    assert_memory_equal(none, again, sizeof *none);
    assert_false(again->has_recovery);
    kith_free(text);
    kith_master_free(again);
    kith_master_free(none);
}

static void putting_replaces_and_ends(void **state)
{
    (void)state;
    kith_master *master = sample();
    kith_master_device two = device(2), more = device(0);
    two.deposit[0] = 99;
    assert_ok(kith_master_put(master, &two));
    assert_int_equal(master->count, 2);
    assert_int_equal(kith_master_find(master, two.uuid)->deposit[0], 99);
    more.uuid[0] = 9;
    assert_null(kith_master_find(master, more.uuid));
    for (size_t i = 2; i < KITH_MASTER_DEVICES_MAX; i++) {
        more.uuid[1] = (uint8_t)(i >> 8), more.uuid[2] = (uint8_t)i;
        assert_ok(kith_master_put(master, &more));
    }
    more.uuid[0] = 10;
    assert_int_equal(kith_master_put(master, &more), KITH_ERR_LIMIT);
    char *text = encoded(master); /* the most there can be is read again */
    kith_master *again;
    kith_reason reason;
    assert_true(strlen(text) < KITH_MASTER_FILE_MAX);
    assert_ok(decode(text, &again, &reason));
    assert_memory_equal(master, again, sizeof *master);
    kith_master_free(again);
    kith_free(text);
    kith_master_free(master);
}

/* `text` with its first `from` as `to`. */
static char *with(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    size_t size = strlen(text) + strlen(to) + 1;
    char *out = kith_malloc(size);
    assert_non_null(out);
    snprintf(out, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *why;
        kith_err err;
    } bad[] = {
        {"\"version\": 1", "\"version\": 2", "format 2", KITH_ERR_VERSION},
        {"\"version\": 1", "\"version\": \"1\"", "version", KITH_ERR_DAMAGED},
        {"\"recovery\"", "\"recover\"", "recovery: missing", KITH_ERR_DAMAGED},
        {"\"epoch\": 3", "\"epoch\": 4", "checksum", KITH_ERR_DAMAGED},
        {"\"epoch\": 3", "\"epoch\": -1", "epoch", KITH_ERR_DAMAGED},
        {"\"created_at\": \"2026", "\"created_at\": \"x", "created_at", KITH_ERR_DAMAGED},
        {"\"sign\": \"07", "\"sign\": \"", "sign", KITH_ERR_DAMAGED},
        {"\"sealed\": \"01", "\"sealed\": \"02", "checksum", KITH_ERR_DAMAGED},
        {"\"sealed\": \"01", "\"sealed\": \"zz", "sealed", KITH_ERR_DAMAGED},
        {"01010101-0101", "01010101+0101", "not a UUID", KITH_ERR_DAMAGED},
        {"\"device_private_keys\": {", "\"device_private_keys\": [], \"x\": {", "device_private_keys",
         KITH_ERR_DAMAGED},
        {"\"checksum\"", "\"sum\"", "checksum", KITH_ERR_DAMAGED},
        {"{", "[", "line 2", KITH_ERR_DAMAGED},
    };
    kith_reason reason;
    kith_master *master = sample(), *out;
    char *text = encoded(master);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *changed = with(text, bad[i].from, bad[i].to);
        assert_int_equal(decode(changed, &out, &reason), bad[i].err);
        if (!strstr(reason.text, bad[i].why)) fail_msg("%zu: %s", i, reason.text);
        kith_free(changed);
    }
    /* Keys of nobody's code; and one UUID in two spellings. */
    const char *start = strstr(text, "\"recovery\": {"), *end = strstr(text, "},");
    char *part = kith_malloc((size_t)(end - start) + 2);
    snprintf(part, (size_t)(end - start) + 2, "%s", start);
    char *changed = with(text, part, "\"recovery\": null");
    assert_int_equal(decode(changed, &out, &reason), KITH_ERR_DAMAGED);
    assert_non_null(strstr(reason.text, "without a recovery code"));
    kith_free(changed);
    kith_free(part);
    master->devices[0].uuid[0] = 0xab, master->devices[1].uuid[0] = 0xac;
    memset(master->devices[1].uuid + 1, 1, 15);
    char *two = encoded(master), *twice = with(two, "\"ac0101", "\"AB0101");
    assert_int_equal(decode(twice, &out, &reason), KITH_ERR_DAMAGED);
    assert_non_null(strstr(reason.text, "twice"));
    kith_free(twice);
    kith_free(two);
    kith_free(text);
    kith_master_free(master);
}

/* Cut or changed anywhere it is refused, or says the same. */
static void damage_is_found(void **state)
{
    (void)state;
    kith_reason reason;
    kith_master *master = sample(), *out;
    char *text = encoded(master);
    size_t size = strlen(text);
    for (size_t cut = 0; cut + 2 < size; cut += 3) {
        reason = (kith_reason){""};
        assert_int_equal(kith_master_decode(text, cut, &out, &reason), KITH_ERR_DAMAGED);
    }
    for (size_t bit = 0; bit < 8 * size; bit += 5) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        if (decode(text, &out, &reason) == KITH_OK) {
            assert_memory_equal(master, out, sizeof *out);
            kith_master_free(out);
        }
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    kith_free(text);
    kith_master_free(master);
}

static int all_of_it(void *arg)
{
    const char *text = arg;
    kith_reason reason;
    kith_master *master = NULL;
    uint8_t *out = NULL;
    size_t size;
    kith_err err = kith_master_decode(text, strlen(text), &master, &reason);
    if (!err) err = kith_master_encode(master, &out, &size);
    kith_free(out);
    kith_master_free(master);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    kith_master *master = sample();
    char *text = encoded(master);
    kith_master_free(master);
    test_every_allocation(all_of_it, text);
    kith_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(there_and_back), TEST(without_a_code),  TEST(putting_replaces_and_ends),
        TEST(bad_files),      TEST(damage_is_found), TEST(failing_allocations),
    };
    return cmocka_run_group_tests_name("identity/master_file", tests, NULL, NULL);
}
