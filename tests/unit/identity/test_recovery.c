#include "identity/recovery.h"

#include "base/mem.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

/* RFC 8032 section 7.1, test 1. */
static const char seed_hex[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
static const char words_of_counting[] =
    "abandon amount liar amount expire adjust cage candy arch gather drum bullet absurd math era live bid rhythm alien "
    "crouch range attend journey unaware";

static uint8_t code[KITH_RECOVERY_CODE_SIZE], other_code[KITH_RECOVERY_CODE_SIZE], seed[32], uuid[16], eph[32], pub[32];
static kith_recovery_public keys;

static int setup(void **state)
{
    (void)state;
    if (kith_crypto_init() || kith_unhex(seed_hex, seed, sizeof seed)) return -1;
    for (size_t i = 0; i < sizeof code; i++) code[i] = (uint8_t)i, other_code[i] = (uint8_t)(255 - i);
    memset(uuid, 0xd1, sizeof uuid);
    memset(eph, 0x77, sizeof eph);
    kith_ed25519_public(seed, pub);
    kith_recovery_derive(code, &keys);
    return 0;
}

static void words_and_back(void **state)
{
    (void)state;
    char text[KITH_RECOVERY_TEXT_SIZE], loud[KITH_RECOVERY_TEXT_SIZE], why[640];
    uint8_t got[KITH_RECOVERY_CODE_SIZE];
    assert_string_equal(kith_recovery_text(code, text), words_of_counting);
    assert_ok(kith_recovery_parse(text, got, why, sizeof why));
    assert_memory_equal(got, code, sizeof code);
    /* As somebody types it: numbered lines' words, capitals, beginnings. */
    snprintf(loud, sizeof loud, "%s", text);
    for (char *c = loud; *c; c++) *c = *c == ' ' ? '\n' : *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    memset(got, 0, sizeof got);
    assert_ok(kith_recovery_parse(loud, got, why, sizeof why));
    assert_memory_equal(got, code, sizeof code);
    /* The longest words there are fit. */
    memset(got, 0xff, sizeof got);
    assert_true(strlen(kith_recovery_text(got, text)) < sizeof text);
    assert_string_equal(text + strlen(text) - 5, " vote");
}

static void mistakes_are_named(void **state)
{
    (void)state;
    char why[640], text[400];
    uint8_t got[KITH_RECOVERY_CODE_SIZE] = {9}, before[KITH_RECOVERY_CODE_SIZE] = {9};
    assert_int_equal(kith_recovery_parse("abandon amount", got, why, sizeof why), KITH_ERR_CODE);
    assert_string_equal(why, "a recovery code has 24 words, not 2");
    snprintf(text, sizeof text, "%s abandon", words_of_counting);
    assert_int_equal(kith_recovery_parse(text, got, why, sizeof why), KITH_ERR_CODE);
    assert_string_equal(why, "a recovery code has 24 words, not 25");
    snprintf(text, sizeof text, "abandom %s", words_of_counting + 8);
    assert_int_equal(kith_recovery_parse(text, got, why, sizeof why), KITH_ERR_CODE);
    assert_string_equal(why, "\"abandom\" is not a word of the list: did you mean \"abandon\"?");
    snprintf(text, sizeof text, "amount abandon%s", words_of_counting + 14); /* two exchanged */
    assert_int_equal(kith_recovery_parse(text, got, why, sizeof why), KITH_ERR_CODE);
    assert_non_null(strstr(why, "together they are no recovery code"));
    /* 24 wrong words: whole sentences, as many as fit. */
    text[0] = 0;
    for (size_t i = 0; i < KITH_RECOVERY_WORDS; i++) strcat(text, "zzzzzzz ");
    assert_int_equal(kith_recovery_parse(text, got, why, sizeof why), KITH_ERR_CODE);
    assert_int_equal(why[strlen(why) - 1], '.');
    assert_memory_equal(got, before, sizeof got);
}

/* Computed by another implementation: b3sum --derive-key, and Python's cryptography for Ed25519, X25519 and
 * ChaCha20-Poly1305, from the header's description. */
static void known_answers(void **state)
{
    (void)state;
    uint8_t out[KITH_DEPOSIT_SIZE], signature[KITH_ED25519_SIGNATURE_SIZE], got[32];
    test_equal_hex(keys.sign, sizeof keys.sign, "c383d48e16f8a86e9278c2575c6fa1f70830dba1b0456b22eaa8a582705a65fb");
    test_equal_hex(keys.open, sizeof keys.open, "922fe8bcc97fc7f61ba1931c4700607b12fe9fe0a4dd9577a9d285bf4d27357b");
    assert_ok(kith_deposit_seal(&keys, uuid, seed, eph, out));
    test_equal_hex(
        out, sizeof out,
        "1cf579aba45a10ba1d1ef06d91fca2aa9ed0a1150515653155405d0b18cb9a677acee01821b2bae7b1c72d01fad8920c92ea"
        "51aca6ea51a2a5afef628ce909e8c1c07555ddeb94ee7add2d4d514ab01f");
    assert_ok(kith_deposit_open(code, uuid, pub, out, got));
    assert_memory_equal(got, seed, sizeof seed);
    kith_recovery_sign(code, "message", 7, signature);
    test_equal_hex(
        signature, sizeof signature,
        "ff4044d4044d853bfb800a924525e95c9d92bb32d0695983acd11654302467df5b279a0426c4f095ba313b9ef263ead662a6"
        "72c174ecd048ce684ada17e9b70d");
    assert_ok(kith_ed25519_verify(keys.sign, "message", 7, signature));
}

static void only_the_code_opens_it(void **state)
{
    (void)state;
    uint8_t out[KITH_DEPOSIT_SIZE], got[32] = {3}, before[32] = {3}, changed[32];
    assert_ok(kith_deposit_seal(&keys, uuid, seed, eph, out));
    assert_int_equal(kith_deposit_open(other_code, uuid, pub, out, got), KITH_ERR_CODE);
    memcpy(changed, uuid, 16);
    changed[15] ^= 1;
    assert_int_equal(kith_deposit_open(code, changed, pub, out, got), KITH_ERR_CODE);
    memcpy(changed, pub, 32);
    changed[0] ^= 1;
    assert_int_equal(kith_deposit_open(code, uuid, changed, out, got), KITH_ERR_CODE);
    /* Sealed for something else to the same key. */
    assert_int_equal(kith_recovery_open(code, "kith other thing", uuid, 16, out, got), KITH_ERR_CODE);
    for (size_t bit = 0; bit < 8 * sizeof out; bit++) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(kith_deposit_open(code, uuid, pub, out, got), KITH_ERR_CODE);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_memory_equal(got, before, sizeof got);
}

/* What somebody who has only the public half can make: a deposit that opens, but is no seed of that device. */
static void a_forged_deposit_is_refused(void **state)
{
    (void)state;
    uint8_t out[KITH_DEPOSIT_SIZE], bound[48], wrong[32] = {1}, got[32];
    memcpy(bound, uuid, 16);
    memcpy(bound + 16, pub, 32);
    assert_ok(kith_recovery_seal(&keys, "kith deposit", bound, sizeof bound, wrong, eph, out));
    assert_ok(kith_recovery_open(code, "kith deposit", bound, sizeof bound, out, got));
    assert_int_equal(kith_deposit_open(code, uuid, pub, out, got), KITH_ERR_CODE);
}

static void bad_keys(void **state)
{
    (void)state;
    uint8_t out[KITH_DEPOSIT_SIZE] = {5}, bound[KITH_RECOVERY_BOUND_MAX + 1] = {0}, got[32];
    kith_recovery_public low = keys;
    memset(low.open, 0, sizeof low.open);
    assert_int_equal(kith_deposit_seal(&low, uuid, seed, eph, out), KITH_ERR_CRYPTO);
    assert_int_equal(out[0], 5);
    memset(out, 0, sizeof out); /* an ephemeral key of low order */
    assert_int_equal(kith_deposit_open(code, uuid, pub, out, got), KITH_ERR_CODE);
    assert_int_equal(kith_recovery_seal(&keys, "kith x", bound, sizeof bound, seed, eph, out), KITH_ERR_ARG);
    assert_int_equal(kith_recovery_open(code, "kith x", bound, sizeof bound, out, got), KITH_ERR_ARG);
    assert_false(kith_recovery_same(&keys, &low));
    assert_true(kith_recovery_same(&keys, &keys));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_and_back),         TEST(mistakes_are_named),          TEST(known_answers),
        TEST(only_the_code_opens_it), TEST(a_forged_deposit_is_refused), TEST(bad_keys),
    };
    return cmocka_run_group_tests_name("identity/recovery", tests, setup, NULL);
}
