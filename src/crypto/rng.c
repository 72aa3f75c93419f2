#include "crypto/rng.h"

#include "base/mem.h"

#include <sodium.h>
#include <string.h>

void kith_rng_init(kith_rng *rng, const uint8_t seed[static KITH_RNG_SEED_SIZE])
{
    memset(rng, 0, sizeof *rng);
    memcpy(rng->key, seed, sizeof rng->key);
}

/* The keystream's first bytes replace the key, so what was given cannot be computed from what is left.  Each key makes
 * one keystream, hence the fixed nonce. */
static void refill(kith_rng *rng)
{
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    uint8_t stream[sizeof rng->key + sizeof rng->pool];
    crypto_stream_chacha20_ietf(stream, sizeof stream, nonce, rng->key);
    memcpy(rng->key, stream, sizeof rng->key);
    memcpy(rng->pool, stream + sizeof rng->key, sizeof rng->pool);
    rng->left = sizeof rng->pool;
    kith_wipe(stream, sizeof stream);
}

void kith_rng_bytes(kith_rng *rng, void *out, size_t size)
{
    uint8_t *to = out;
    while (size > 0) {
        if (rng->left == 0) refill(rng);
        size_t n = size < rng->left ? size : rng->left;
        uint8_t *from = rng->pool + sizeof rng->pool - rng->left;
        memcpy(to, from, n);
        kith_wipe(from, n);
        rng->left -= n;
        to += n;
        size -= n;
    }
}

uint64_t kith_rng_below(kith_rng *rng, uint64_t bound)
{
    /* 2^64 mod bound: the values below it are the surplus that would make some remainders likelier. */
    uint64_t surplus = (0 - bound) % bound, value;
    do {
        uint8_t bytes[8];
        kith_rng_bytes(rng, bytes, sizeof bytes);
        value = 0; /* little-endian on every machine: a run replays anywhere */
        for (size_t i = sizeof bytes; i > 0; i--) value = value << 8 | bytes[i - 1];
    } while (value < surplus);
    return value % bound;
}

void kith_rng_fork(kith_rng *rng, kith_rng *child)
{
    uint8_t seed[KITH_RNG_SEED_SIZE];
    kith_rng_bytes(rng, seed, sizeof seed);
    kith_rng_init(child, seed);
    kith_wipe(seed, sizeof seed);
}

void kith_rng_done(kith_rng *rng) { kith_wipe(rng, sizeof *rng); }
