#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/keys.h"
#include "crypto/rng.h"
#include "crypto/secret.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t seed[KITH_RNG_SEED_SIZE] = {1, 2, 3};

static void the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    /* however they are asked for */
    static const size_t steps[] = {1, 7, 511, 512, 513, 3000};
    static uint8_t want[10000], got[10000];
    kith_rng rng;
    kith_rng_init(&rng, seed);
    kith_rng_bytes(&rng, want, sizeof want);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        kith_rng_init(&rng, seed);
        for (size_t at = 0, n; at < sizeof got; at += n) {
            n = steps[i] < sizeof got - at ? steps[i] : sizeof got - at;
            kith_rng_bytes(&rng, got + at, n);
            kith_rng_bytes(&rng, NULL, 0);
        }
        assert_memory_equal(got, want, sizeof want);
    }
    uint8_t other[KITH_RNG_SEED_SIZE];
    memcpy(other, seed, sizeof other);
    other[31] ^= 1;
    kith_rng_init(&rng, other);
    kith_rng_bytes(&rng, got, 32);
    assert_memory_not_equal(got, want, 32);
}

/* The construction itself, so that recorded runs stay replayable: ChaCha20 under the seed, nonce 0, from block 0; the
 * first 32 bytes are the next key, 512 follow as output.  The header-protection mask shows the beginning of any block.
 */
static void chacha20_with_fast_key_erasure(void **state)
{
    (void)state;
    uint8_t out[512], sample[KITH_HP_SAMPLE_SIZE] = {0}, mask[KITH_HP_MASK_SIZE];
    kith_rng rng;
    kith_rng_init(&rng, seed);
    kith_rng_bytes(&rng, out, 1);
    kith_hp_mask(seed, sample, mask);
    assert_memory_equal(rng.key, mask, sizeof mask);
    kith_rng_bytes(&rng, out + 1, sizeof out - 1);
    for (sample[0] = 1; sample[0] <= 8; sample[0]++) {
        kith_hp_mask(seed, sample, mask);
        assert_memory_equal(out + sample[0] * 64 - 32, mask, sizeof mask);
    }
    uint8_t next_key[32];
    memcpy(next_key, rng.key, sizeof next_key);
    assert_int_equal(rng.left, 0);
    kith_rng_bytes(&rng, out, 33);
    sample[0] = 1;
    kith_hp_mask(next_key, sample, mask);
    assert_memory_equal(out + 32, mask, 1);
}

static bool is_zero(const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++)
        if (p[i]) return false;
    return true;
}

/* Nothing that was given, nor the seed, can be found in the state afterwards. */
static void what_was_given_is_wiped(void **state)
{
    (void)state;
    uint8_t out[200];
    kith_rng rng;
    kith_rng_init(&rng, seed);
    kith_rng_bytes(&rng, out, sizeof out);
    assert_true(is_zero(rng.pool, sizeof out));
    assert_false(is_zero(rng.pool + sizeof out, 32));
    assert_memory_not_equal(rng.key, seed, sizeof seed);
    kith_rng_done(&rng);
    assert_true(is_zero(&rng, sizeof rng));
}

static void below_is_within_and_even(void **state)
{
    (void)state;
    kith_rng rng;
    kith_rng_init(&rng, seed);
    unsigned counts[6] = {0};
    for (size_t i = 0; i < 60000; i++) {
        uint64_t value = kith_rng_below(&rng, 6);
        assert_true(value < 6);
        counts[value]++;
    }
    for (size_t i = 0; i < 6; i++) assert_in_range(counts[i], 9500, 10500); /* five standard deviations */
    assert_int_equal(kith_rng_below(&rng, 1), 0);
    /* Three quarters of 2^64: without rejection the first third would come twice as often as the others. */
    unsigned thirds[3] = {0};
    for (size_t i = 0; i < 30000; i++) {
        uint64_t value = kith_rng_below(&rng, UINT64_C(3) << 62);
        assert_true(value < UINT64_C(3) << 62);
        thirds[value >> 62]++;
    }
    for (size_t i = 0; i < 3; i++) assert_in_range(thirds[i], 9500, 10500);
}

/* The first 8 bytes, little-endian: replays do not depend on the machine. */
static void below_is_the_same_everywhere(void **state)
{
    (void)state;
    uint8_t bytes[8];
    kith_rng a, b;
    kith_rng_init(&a, seed);
    kith_rng_init(&b, seed);
    kith_rng_bytes(&a, bytes, sizeof bytes);
    assert_int_equal(kith_rng_below(&b, UINT64_C(1) << 8), bytes[0]);
    assert_memory_equal(&a, &b, sizeof a);
}

static void a_child_is_of_its_own(void **state)
{
    (void)state;
    kith_rng parent, twin, child, other;
    uint8_t one[64], two[64];
    kith_rng_init(&parent, seed);
    kith_rng_init(&twin, seed);
    kith_rng_fork(&parent, &child);
    kith_rng_fork(&twin, &other);
    assert_memory_equal(&child, &other, sizeof child); /* replayable */
    kith_rng_fork(&parent, &other);
    kith_rng_bytes(&child, one, sizeof one);
    kith_rng_bytes(&other, two, sizeof two);
    assert_memory_not_equal(one, two, sizeof one);
    kith_rng_bytes(&parent, two, sizeof two);
    assert_memory_not_equal(one, two, sizeof one);
}

static void secrets_can_be_written_and_are_counted(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 32, 4096, 5000};
    int64_t live = kith_mem_live();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *secret = kith_secret_new(sizes[i]);
        assert_non_null(secret);
        memset(secret, 0x77, sizes[i]);
        assert_int_equal(kith_mem_live(), live + 1);
        kith_secret_free(secret);
        assert_int_equal(kith_mem_live(), live);
    }
    kith_secret_free(NULL);
    assert_null(kith_secret_new(SIZE_MAX));
    struct {
        uint64_t number;
        void *pointer;
    } *aligned = kith_secret_new(sizeof *aligned);
    assert_int_equal((uintptr_t)aligned % _Alignof(uint64_t), 0);
    kith_secret_free(aligned);
}

static int make_secret(void *arg)
{
    (void)arg;
    void *secret = kith_secret_new(32);
    if (!secret) return KITH_ERR_NOMEM;
    kith_secret_free(secret);
    return KITH_OK;
}

static void no_memory_for_a_secret(void **state)
{
    (void)state;
    test_every_allocation(make_secret, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_seed_gives_the_same_bytes),
        TEST(chacha20_with_fast_key_erasure),
        TEST(what_was_given_is_wiped),
        TEST(below_is_within_and_even),
        TEST(below_is_the_same_everywhere),
        TEST(a_child_is_of_its_own),
        TEST(secrets_can_be_written_and_are_counted),
        TEST(no_memory_for_a_secret),
    };
    if (kith_crypto_init()) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
