#include "discovery/txt.h"
#include "testlib.h"

#include <string.h>

#define ID "3e1f0c5a-7b7d-4c56-9d2e-0a1b2c3d4e5f"
#define FP "9f86d081884c7d65"

/* Strings of a record, written "v=1|id=..." */
static size_t record(const char *strings, uint8_t out[static 1024])
{
    size_t size = 0;
    for (;;) {
        size_t length = strcspn(strings, "|");
        out[size++] = (uint8_t)length;
        memcpy(out + size, strings, length);
        size += length;
        if (!strings[length]) return size;
        strings += length + 1;
    }
}

static kith_err parse(const char *strings, kith_txt *out)
{
    uint8_t data[1024];
    return kith_txt_parse(data, record(strings, data), out);
}

static kith_txt ours(bool pairing)
{
    kith_txt txt = {.pairing = pairing, .tag = pairing ? 0x2abcde : 0};
    assert_ok(kith_uuid_parse(ID, txt.id));
    assert_ok(kith_unhex(FP, txt.fingerprint, sizeof txt.fingerprint));
    return txt;
}

static void written_as_documented(void **state)
{
    (void)state;
    uint8_t expected[1024], out[KITH_TXT_MAX];
    kith_txt txt = ours(false), read;
    size_t size = record("v=1|id=" ID "|fp=" FP, expected);
    assert_int_equal(kith_txt_write(&txt, out, sizeof out), size);
    assert_memory_equal(out, expected, size);
    txt = ours(true);
    size = record("v=1|id=" ID "|fp=" FP "|pair=2abcde", expected);
    assert_int_equal(kith_txt_write(&txt, out, sizeof out), size);
    assert_memory_equal(out, expected, size);
    assert_ok(kith_txt_parse(out, size, &read));
    assert_true(kith_txt_equal(&txt, &read));
    for (size_t cap = 0; cap < size; cap++) assert_int_equal(kith_txt_write(&txt, out, cap), 0);
    txt.tag = 1u << KITH_TXT_TAG_BITS;
    assert_int_equal(kith_txt_write(&txt, out, sizeof out), 0);
}

static void what_is_understood(void **state)
{
    (void)state;
    static const struct {
        const char *strings;
        kith_err err;
        bool pairing;
        uint32_t tag;
    } table[] = {
        {"v=1|id=" ID "|fp=" FP, KITH_OK, false, 0},
        {"fp=" FP "|pair=3FFFFF|id=" ID "|v=1", KITH_OK, true, 0x3fffff},
        {"V=1|ID=" ID "|Fp=" FP "|PAIR=000000", KITH_OK, true, 0},
        {"v=1|id=" ID "|fp=" FP "|name=x|flag|=y|color=|v=2|pair=000001|pair=nonsense|id|", KITH_OK, true, 1},
        {"v=1||id=" ID "||fp=" FP, KITH_OK, false, 0}, /* empty strings say nothing */
        {"", KITH_ERR_FORMAT, false, 0},
        {"id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=1|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID, KITH_ERR_FORMAT, false, 0},
        {"v|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=0|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=01|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=1.1|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=-1|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=100000|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=2|id=" ID "|fp=" FP, KITH_ERR_VERSION, false, 0},
        {"v=11|something=else", KITH_ERR_VERSION, false, 0}, /* what that version says otherwise is not ours to judge */
        {"v=2|v=1|id=" ID "|fp=" FP, KITH_ERR_VERSION, false, 0},
        {"v=1|id=3e1f0c5a7b7d4c569d2e0a1b2c3d4e5f|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "0|fp=" FP, KITH_ERR_FORMAT, false, 0},
        {"v=1|id=x|id=" ID "|fp=" FP, KITH_ERR_FORMAT, false, 0}, /* the first counts */
        {"v=1|id=" ID "|fp=9f86d081884c7d6", KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "|fp=9f86d081884c7d6500", KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "|fp=9f86d081884c7dxx", KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "|fp=" FP "|pair", KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "|fp=" FP "|pair=", KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "|fp=" FP "|pair=400000", KITH_ERR_FORMAT, false, 0}, /* 23 bits */
        {"v=1|id=" ID "|fp=" FP "|pair=12345", KITH_ERR_FORMAT, false, 0},
        {"v=1|id=" ID "|fp=" FP "|pair=1234567", KITH_ERR_FORMAT, false, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kith_txt txt, untouched;
        memset(&txt, 0xaa, sizeof txt);
        untouched = txt;
        kith_err err = parse(table[i].strings, &txt);
        if (err != table[i].err) print_error("%s: %s\n", table[i].strings, kith_err_name(err));
        assert_int_equal(err, table[i].err);
        if (err) {
            assert_memory_equal(&txt, &untouched, sizeof txt);
            continue;
        }
        kith_txt expected = ours(false);
        assert_memory_equal(txt.id, expected.id, sizeof txt.id);
        assert_memory_equal(txt.fingerprint, expected.fingerprint, sizeof txt.fingerprint);
        assert_int_equal(txt.pairing, table[i].pairing);
        assert_int_equal(txt.tag, table[i].tag);
    }
}

static void strings_must_fill_the_bytes(void **state)
{
    (void)state;
    uint8_t data[1024];
    kith_txt txt, longer;
    size_t size = record("v=1|id=" ID "|fp=" FP "|pair=2abcde", data);
    assert_ok(kith_txt_parse(data, size, &longer));
    for (size_t cut = 0; cut < size; cut++) {
        kith_err err = kith_txt_parse(data, cut, &txt);
        /* cut at the last string's beginning it is whole, and says nothing of pairing */
        assert_int_equal(err, cut == size - strlen(" pair=2abcde") ? KITH_OK : KITH_ERR_FORMAT);
    }
    data[size] = 1;
    assert_int_equal(kith_txt_parse(data, size + 1, &txt), KITH_ERR_FORMAT);
    assert_int_equal(kith_txt_parse(NULL, 0, &txt), KITH_ERR_FORMAT);
}

static void a_nul_does_not_end_a_value(void **state)
{
    (void)state;
    uint8_t data[1024];
    kith_txt txt;
    size_t size = record("v=1#|id=" ID "|fp=" FP, data);
    *(uint8_t *)memchr(data, '#', size) = 0;
    assert_int_equal(kith_txt_parse(data, size, &txt), KITH_ERR_FORMAT);
    size = record("v=1|id=" ID "#|fp=" FP, data);
    *(uint8_t *)memchr(data, '#', size) = 0;
    assert_int_equal(kith_txt_parse(data, size, &txt), KITH_ERR_FORMAT);
}

static void size_is_capped(void **state)
{
    (void)state;
    uint8_t data[1024] = {0};
    kith_txt txt;
    record("v=1|id=" ID "|fp=" FP, data);
    assert_ok(kith_txt_parse(data, KITH_TXT_MAX, &txt)); /* followed by empty strings */
    assert_int_equal(kith_txt_parse(data, KITH_TXT_MAX + 1, &txt), KITH_ERR_FORMAT);
}

static void instance_names(void **state)
{
    (void)state;
    char name[KITH_INSTANCE_OWN_SIZE];
    kith_txt txt = ours(false);
    assert_string_equal(kith_instance_name(txt.id, 0x0a0f, name), ID "-0a0f");
    assert_string_equal(kith_instance_name(txt.id, 0xffff, name), ID "-ffff");
    assert_int_equal(strlen(name), 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(written_as_documented),      TEST(what_is_understood), TEST(strings_must_fill_the_bytes),
        TEST(a_nul_does_not_end_a_value), TEST(size_is_capped),     TEST(instance_names),
    };
    return cmocka_run_group_tests_name("discovery/txt", tests, NULL, NULL);
}
