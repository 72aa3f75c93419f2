#include "identity/backup.h"

#include "base/mem.h"
#include "crypto/blake3.h"
#include "testlib.h"

#include <string.h>

#define PASSWORD ((kith_bytes){"correct horse", 13})

static const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};
static uint8_t code[KITH_RECOVERY_CODE_SIZE];
static kith_recovery_public recovery;
static kith_backup_random randoms;

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof code; i++) code[i] = (uint8_t)i;
    memset(&randoms, 0x33, sizeof randoms);
    memset(randoms.ephemeral, 0x77, sizeof randoms.ephemeral);
    if (kith_crypto_init()) return -1;
    kith_recovery_derive(code, &recovery);
    return 0;
}

static void set(kith_backup_content *backup, kith_backup_part part, const char *text)
{
    backup->parts[part].data = (const uint8_t *)text;
    backup->parts[part].size = strlen(text);
}

static kith_backup_content sample(void)
{
    kith_backup_content backup = {.made_at_ms = 1795490963123};
    set(&backup, KITH_BACKUP_TRUST, "trust");
    set(&backup, KITH_BACKUP_DEVICE, "{\"id\": 1}");
    set(&backup, KITH_BACKUP_KEYS, "{}");
    return backup;
}

static uint8_t *sealed(const kith_recovery_public *to, size_t *size)
{
    kith_backup_content backup = sample();
    uint8_t *data;
    assert_ok(kith_backup_seal(&backup, &cheap, PASSWORD, to, &randoms, &data, size));
    return data;
}

static void check(kith_backup_content *opened)
{
    kith_backup_content want = sample();
    assert_int_equal(opened->made_at_ms, want.made_at_ms);
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        assert_int_equal(opened->parts[i].data != NULL, want.parts[i].data != NULL);
        assert_int_equal(opened->parts[i].size, want.parts[i].size);
        if (want.parts[i].data) assert_memory_equal(opened->parts[i].data, want.parts[i].data, want.parts[i].size);
    }
    kith_backup_done(opened);
}

static void both_ways(void **state)
{
    (void)state;
    size_t size;
    kith_reason reason;
    kith_backup_content opened;
    uint8_t *data = sealed(&recovery, &size), wrong[32] = {1};
    assert_ok(kith_backup_open(data, size, PASSWORD, &opened, &reason));
    check(&opened);
    assert_ok(kith_backup_open_code(data, size, code, &opened, &reason));
    check(&opened);
    assert_int_equal(kith_backup_open(data, size, (kith_bytes){"wrong", 5}, &opened, &reason), KITH_ERR_PASSWORD);
    assert_int_equal(kith_backup_open(data, size, (kith_bytes){"", 0}, &opened, &reason), KITH_ERR_ARG);
    assert_int_equal(kith_backup_open_code(data, size, wrong, &opened, &reason), KITH_ERR_CODE);
    kith_free(data);
    data = sealed(NULL, &size);
    assert_ok(kith_backup_open(data, size, PASSWORD, &opened, &reason));
    check(&opened);
    assert_int_equal(kith_backup_open_code(data, size, code, &opened, &reason), KITH_ERR_STATE);
    kith_free(data);
}

/* Made by another implementation: Python's cryptography (Argon2id, too) and b3sum, from the header's description. */
static void the_format_is_as_documented(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = sealed(&recovery, &size);
    test_equal_hex(
        data, size,
        "6b69746862616b0a000000010000000100000008000000010000000133333333333333333333333333333333333333333333"
        "33333333333333333333333333333333333333333333dc24237f6667850d21d8e4aacdaa81882e709db9d7317ef409728e0c"
        "aafb254436a8c1f411d49e2c416c1351b0b0ef851cf579aba45a10ba1d1ef06d91fca2aa9ed0a1150515653155405d0b18cb"
        "9a67d49c62b6fd7cd3b4387054c65b078dfbe590a7f6eeeb0b88e6a77052a37445bb664cda90716630794c15227a6c979d1f"
        "000000000000005a8401f53324d8e8695e119138addf3a3aeafbfc9be4f554f9bd94f1213363d45715b9958daa81979d66b0"
        "475012ca5a840a508e34891d8e392ab0110b4a9f02a82caf88980f48844449f9db0c42e3d8b31cf7d47fe1f3fbcfb981ffc7"
        "3e12671ed2cf78698616b0f080faee6363554ea625264cc203e9ecd3d375");
    kith_free(data);
}

/* Every byte counts, and what is wrong is told from a wrong password. */
static void damage(void **state)
{
    (void)state;
    size_t size;
    kith_reason reason;
    kith_backup_content opened;
    uint8_t *data = sealed(&recovery, &size), *longer = kith_calloc(1, size + 1);
    assert_non_null(longer);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        if (bit / 8 >= 8 && bit / 8 < 12) continue; /* the version: below */
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        reason = (kith_reason){""};
        assert_int_equal(kith_backup_open(data, size, PASSWORD, &opened, &reason), KITH_ERR_DAMAGED);
        assert_true(reason.text[0]);
        assert_int_equal(kith_backup_open_code(data, size, code, &opened, &reason), KITH_ERR_DAMAGED);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(kith_backup_open(data, cut, PASSWORD, &opened, &reason), KITH_ERR_DAMAGED);
    memcpy(longer, data, size);
    assert_int_equal(kith_backup_open(longer, size + 1, PASSWORD, &opened, &reason), KITH_ERR_DAMAGED);
    data[11] = 2;
    assert_int_equal(kith_backup_open(data, size, PASSWORD, &opened, &reason), KITH_ERR_VERSION);
    assert_string_equal(reason.text, "format 2, this version of Kith knows up to 1");
    kith_free(longer);
    kith_free(data);
}

/* Somebody who mends the checksum gets no further: everything is authenticated. */
static void changed_on_purpose(void **state)
{
    (void)state;
    size_t size;
    kith_reason reason;
    kith_backup_content opened;
    uint8_t *data = sealed(&recovery, &size);
    for (size_t at = 12; at < size - 32; at++) {
        data[at] ^= 1;
        kith_blake3_derive("kith 2026-11 backup: checksum", data, size - 32, data + size - 32, 32);
        if (at < 120 || at >= 200) {
            kith_err err = kith_backup_open(data, size, PASSWORD, &opened, &reason);
            assert_true(err == KITH_ERR_DAMAGED || err == KITH_ERR_PASSWORD);
        }
        if (at < 60 || at >= 120) {
            kith_err err = kith_backup_open_code(data, size, code, &opened, &reason);
            assert_true(err == KITH_ERR_DAMAGED || err == KITH_ERR_CODE || err == KITH_ERR_STATE);
        }
        data[at] ^= 1;
    }
    /* A slot changed spoils the other way in, too: the body is bound to both. */
    data[130] ^= 1;
    kith_blake3_derive("kith 2026-11 backup: checksum", data, size - 32, data + size - 32, 32);
    assert_int_equal(kith_backup_open(data, size, PASSWORD, &opened, &reason), KITH_ERR_DAMAGED);
    kith_free(data);
}

static void what_cannot_be(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data;
    kith_backup_content backup = sample();
    const kith_kdf_params absurd = {.memory_kib = 1, .passes = 1, .lanes = 1};
    assert_int_equal(kith_backup_seal(&backup, &cheap, (kith_bytes){"", 0}, NULL, &randoms, &data, &size),
                     KITH_ERR_ARG);
    assert_int_equal(kith_backup_seal(&backup, &absurd, PASSWORD, NULL, &randoms, &data, &size), KITH_ERR_ARG);
    backup.parts[KITH_BACKUP_TRUST].size = KITH_BACKUP_BODY_MAX + 1;
    assert_int_equal(kith_backup_seal(&backup, &cheap, PASSWORD, NULL, &randoms, &data, &size), KITH_ERR_LIMIT);
    backup = sample();
    backup.parts[KITH_BACKUP_KEYS].data = NULL;
    assert_int_equal(kith_backup_seal(&backup, &cheap, PASSWORD, NULL, &randoms, &data, &size), KITH_ERR_ARG);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_backup_content backup = sample(), opened = {0};
    kith_reason reason;
    uint8_t *data = NULL;
    size_t size;
    kith_err err = kith_backup_seal(&backup, &cheap, PASSWORD, &recovery, &randoms, &data, &size);
    if (!err) err = kith_backup_open(data, size, PASSWORD, &opened, &reason);
    kith_backup_done(&opened);
    if (!err) err = kith_backup_open_code(data, size, code, &opened, &reason);
    kith_backup_done(&opened);
    kith_free(data);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_ways),      TEST(the_format_is_as_documented), TEST(damage), TEST(changed_on_purpose),
        TEST(what_cannot_be), TEST(failing_allocations),
    };
    return cmocka_run_group_tests_name("identity/backup", tests, setup, NULL);
}
