#include "identity/envelope.h"

#include "base/mem.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static const char context[] = "kith 2026-11 test envelope v1";

static kith_err open_of(const char *what, uint64_t known, const uint8_t *data, size_t size, const uint8_t **body,
                        size_t *body_size)
{
    kith_reason reason = {{0}};
    kith_err err = kith_envelope_open(what, known, data, size, body, body_size, &reason);
    assert_int_equal(err != KITH_OK, *reason.text != 0); /* every refusal has its reason */
    return err;
}

static void what_was_put_in(void **state)
{
    (void)state;
    static uint8_t body[70000];
    static const size_t sizes[] = {0, 1, 23, 24, 255, 256, 65535, 65536, sizeof body};
    for (size_t i = 0; i < sizeof body; i++) body[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *data;
        const uint8_t *got;
        size_t size, got_size;
        assert_ok(kith_envelope_make(context, 3, body, sizes[i], &data, &size));
        assert_ok(open_of(context, 3, data, size, &got, &got_size));
        assert_int_equal(got_size, sizes[i]);
        assert_memory_equal(got, body, got_size);
        assert_ok(open_of(context, 4, data, size, &got, &got_size));
        assert_int_equal(open_of(context, 2, data, size, &got, &got_size), KITH_ERR_VERSION);
        assert_int_equal(open_of("another format", 3, data, size, &got, &got_size), KITH_ERR_DAMAGED);
        kith_free(data);
    }
}

/* A flipped bit anywhere, a byte less, a byte more: found.  (A flip may make the version one that is newer.) */
static void damage(void **state)
{
    (void)state;
    uint8_t *data;
    const uint8_t *got = NULL;
    size_t size, got_size = 77;
    assert_ok(kith_envelope_make(context, 1, "body", 4, &data, &size));
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1 << bit);
            kith_err err = open_of(context, 1, data, size, &got, &got_size);
            assert_true(err == KITH_ERR_DAMAGED || (i == 1 && err == KITH_ERR_VERSION));
            data[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, data, cut);
        assert_int_equal(open_of(context, 1, exact, cut, &got, &got_size), KITH_ERR_DAMAGED);
        free(exact);
    }
    uint8_t *longer = calloc(1, size + 1);
    assert_non_null(longer);
    memcpy(longer, data, size);
    assert_int_equal(open_of(context, 1, longer, size + 1, &got, &got_size), KITH_ERR_DAMAGED);
    assert_true(got == NULL && got_size == 77);
    free(longer);
    kith_free(data);
    /* Version 0 is none. */
    assert_ok(kith_envelope_make(context, 0, "body", 4, &data, &size));
    assert_int_equal(open_of(context, 1, data, size, &got, &got_size), KITH_ERR_DAMAGED);
    kith_free(data);
}

static int make(void *arg)
{
    (void)arg;
    uint8_t *data;
    size_t size;
    kith_err err = kith_envelope_make(context, 1, "body", 4, &data, &size);
    if (!err) kith_free(data);
    return err;
}

static void no_memory(void **state)
{
    (void)state;
    test_every_allocation(make, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(what_was_put_in), TEST(damage), TEST(no_memory)};
    return cmocka_run_group_tests_name("identity/envelope", tests, NULL, NULL);
}
