#include "crypto/kdf.h"

#include "base/mem.h"
#include "testlib.h"

#include <string.h>

static kith_bytes text(const char *s) { return (kith_bytes){s, strlen(s)}; }

/* Member `name` in hex, or `name`_ascii as it stands. */
static kith_bytes field(const json_t *item, const char *name, const char *ascii_name, test_bytes *hex)
{
    const char *ascii = test_str(item, ascii_name);
    *hex = test_hex_of(item, name);
    return ascii ? text(ascii) : (kith_bytes){hex->data, hex->size};
}

static void argon2id(void **state)
{
    (void)state;
    json_t *root = test_vectors("argon2id.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes hex[4], tag = test_hex_of(item, "tag");
        kith_bytes password = field(item, "password", "password_ascii", &hex[0]);
        kith_bytes salt = field(item, "salt", "salt_ascii", &hex[1]);
        kith_bytes secret = field(item, "secret", "secret_ascii", &hex[2]), ad = field(item, "ad", "ad_ascii", &hex[3]);
        kith_kdf_params params = {
            .memory_kib = (uint32_t)json_integer_value(json_object_get(item, "m_kib")),
            .passes = (uint32_t)json_integer_value(json_object_get(item, "t")),
            .lanes = (uint32_t)json_integer_value(json_object_get(item, "p")),
        };
        uint8_t out[64];
        assert_int_equal(json_integer_value(json_object_get(item, "version")), 19); /* 1.3 */
        assert_true(tag.size <= sizeof out);
        assert_ok(kith_kdf(&params, password, salt, secret, ad, out, tag.size));
        assert_memory_equal(out, tag.data, tag.size);
        for (size_t j = 0; j < 4; j++) test_bytes_free(&hex[j]);
        test_bytes_free(&tag);
    }
    test_ran("argon2id.json", i);
    json_decref(root);
}

static kith_err derive(uint32_t memory_kib, uint32_t passes, uint32_t lanes, const char *salt, size_t out_size)
{
    kith_kdf_params params = {memory_kib, passes, lanes};
    uint8_t out[65], before[65];
    memset(out, 0xee, sizeof out);
    memcpy(before, out, sizeof out);
    kith_err err = kith_kdf(&params, text("password"), text(salt), (kith_bytes){0}, (kith_bytes){0}, out, out_size);
    if (err) assert_memory_equal(out, before, sizeof out);
    return err;
}

static void parameters_out_of_bounds_are_refused(void **state)
{
    (void)state;
    static const char salt[] = "saltsalt";
    assert_ok(derive(8, 1, 1, salt, 4));
    assert_ok(derive(64, 1, 8, salt, 64)); /* more lanes than threads of ours */
    assert_int_equal(derive(7, 1, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(0, 1, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(15, 1, 2, salt, 32), KITH_ERR_FORMAT); /* 8 KiB for each lane */
    assert_int_equal(derive(KITH_KDF_MEMORY_MAX_KIB + 1, 1, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(UINT32_MAX, 1, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(64, 0, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(64, KITH_KDF_PASSES_MAX + 1, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(64, UINT32_MAX, 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(64, 1, 0, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(8 * (KITH_KDF_LANES_MAX + 1), 1, KITH_KDF_LANES_MAX + 1, salt, 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(64, 1, UINT32_C(1) << 29, salt, 32), KITH_ERR_FORMAT); /* 8 * lanes wraps to 0 */
    assert_int_equal(derive(64, 1, 1, "saltsal", 32), KITH_ERR_FORMAT);
    assert_int_equal(derive(64, 1, 1, salt, 3), KITH_ERR_ARG);
    assert_int_equal(derive(64, 1, 1, salt, 65), KITH_ERR_ARG);
}

static void every_input_matters(void **state)
{
    (void)state;
    static const struct {
        uint32_t m, t, p;
        const char *password, *salt, *secret, *ad;
    } table[] = {
        {64, 1, 1, "a", "saltsalt", "", ""},  {72, 1, 1, "a", "saltsalt", "", ""},  {64, 2, 1, "a", "saltsalt", "", ""},
        {64, 1, 2, "a", "saltsalt", "", ""},  {64, 1, 1, "b", "saltsalt", "", ""},  {64, 1, 1, "a", "saltsalu", "", ""},
        {64, 1, 1, "a", "saltsalt", "x", ""}, {64, 1, 1, "a", "saltsalt", "", "x"}, {64, 1, 1, "", "saltsalt", "", ""},
    };
    enum { N = sizeof table / sizeof *table };
    uint8_t out[N][32];
    for (size_t i = 0; i < N; i++) {
        kith_kdf_params params = {table[i].m, table[i].t, table[i].p};
        assert_ok(kith_kdf(&params, text(table[i].password), text(table[i].salt), text(table[i].secret),
                           text(table[i].ad), out[i], 32));
        for (size_t j = 0; j < i; j++) assert_memory_not_equal(out[i], out[j], 32);
    }
}

static int one(void *arg)
{
    (void)arg;
    return derive(64, 1, 2, "saltsalt", 32);
}

static void without_memory(void **state)
{
    (void)state;
    test_every_allocation(one, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(argon2id),
        TEST(parameters_out_of_bounds_are_refused),
        TEST(every_input_matters),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
