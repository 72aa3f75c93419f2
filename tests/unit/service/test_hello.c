/* Hello binds device, keys and connection: each disagreement has an error of its own. */
#include "identity/fingerprint.h"
#include "service/hello.h"
#include "testlib.h"

#include <string.h>

static uint8_t seed[32];
static kith_signer signer;
static kith_hello self;
static uint8_t hash[32];
static uint8_t message[KITH_MESSAGE_MAX];
static size_t size;

static int make(void **state)
{
    (void)state;
    assert_ok(kith_crypto_init());
    memset(seed, 3, sizeof seed);
    memset(hash, 9, sizeof hash);
    memset(signer.uuid, 4, sizeof signer.uuid);
    signer.seed = seed;
    kith_ed25519_public(seed, signer.public_key);
    kith_fingerprint(signer.uuid, signer.public_key, signer.fingerprint);
    memcpy(self.public_key, signer.public_key, sizeof self.public_key);
    assert_ok(kith_ed25519_public_to_x25519(self.public_key, self.noise_static));
    strcpy(self.name, "Ärzte-Laptop");
    strcpy(self.os, "Linux");
    strcpy(self.hardware_model, "");
    assert_ok(kith_hello_write(&signer, &self, true, hash, message, sizeof message, &size));
    return 0;
}

static void a_hello_says_who_it_is(void **state)
{
    (void)state;
    kith_hello got;
    assert_ok(kith_hello_read(message, size, true, hash, self.noise_static, &got));
    assert_string_equal(got.name, self.name);
    assert_memory_equal(got.fingerprint, signer.fingerprint, 32);
    assert_memory_equal(got.uuid, signer.uuid, 16);
}

static void it_is_good_for_one_side_of_one_connection(void **state)
{
    (void)state;
    kith_hello got;
    uint8_t other[32] = {1};
    assert_int_equal(kith_hello_read(message, size, false, hash, self.noise_static, &got), KITH_ERR_SIGNATURE);
    assert_int_equal(kith_hello_read(message, size, true, other, self.noise_static, &got), KITH_ERR_SIGNATURE);
    assert_int_equal(kith_hello_read(message, size, true, hash, other, &got), KITH_ERR_WRONG_DEVICE);
}

/* The sign bit that the X25519 form loses: another Ed25519 key with the same Noise key is another fingerprint and
 * another signature. */
static void the_other_key_of_the_same_noise_key_is_refused(void **state)
{
    (void)state;
    kith_hello got;
    uint8_t changed[KITH_MESSAGE_MAX];
    memcpy(changed, message, size);
    for (size_t i = 0; i + 32 <= size; i++)
        if (memcmp(changed + i, signer.public_key, 32) == 0) changed[i + 31] ^= 0x80;
    assert_memory_not_equal(changed, message, size);
    assert_int_equal(kith_hello_read(changed, size, true, hash, self.noise_static, &got), KITH_ERR_SIGNATURE);
}

static void no_changed_or_missing_byte_passes(void **state)
{
    (void)state;
    kith_hello got;
    for (size_t i = 0; i < size; i++) {
        assert_true(kith_hello_read(message, i, true, hash, self.noise_static, &got) != KITH_OK);
        for (int bit = 0; bit < 8; bit++) {
            message[i] ^= (uint8_t)(1 << bit);
            assert_true(kith_hello_read(message, size, true, hash, self.noise_static, &got) != KITH_OK);
            message[i] ^= (uint8_t)(1 << bit);
        }
    }
    assert_ok(kith_hello_read(message, size, true, hash, self.noise_static, &got));
}

static void names_that_hide_something_are_refused(void **state)
{
    (void)state;
    static const char *bad[] = {"", "a\033[2J", "a\nb", "left\xe2\x80\xaeright", "zero\xe2\x80\x8bwidth", "\xc2\x85"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kith_hello liar = self, got = {0};
        uint8_t bytes[KITH_MESSAGE_MAX];
        size_t n;
        strcpy(liar.name, bad[i]);
        assert_ok(kith_hello_write(&signer, &liar, true, hash, bytes, sizeof bytes, &n));
        assert_int_equal(kith_hello_read(bytes, n, true, hash, self.noise_static, &got), KITH_ERR_FORMAT);
    }
}

static void it_never_overruns_its_memory(void **state)
{
    (void)state;
    uint8_t small[KITH_MESSAGE_MAX];
    size_t n = 0;
    for (size_t cap = 0; cap < size; cap++)
        assert_int_equal(kith_hello_write(&signer, &self, true, hash, small, cap, &n), KITH_ERR_LIMIT);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hello_says_who_it_is),
        TEST(it_is_good_for_one_side_of_one_connection),
        TEST(the_other_key_of_the_same_noise_key_is_refused),
        TEST(no_changed_or_missing_byte_passes),
        TEST(names_that_hide_something_are_refused),
        TEST(it_never_overruns_its_memory),
    };
    return cmocka_run_group_tests_name("service/hello", tests, make, NULL);
}
