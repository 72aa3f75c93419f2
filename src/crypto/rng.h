/* A deterministic random bit generator: ChaCha20 with fast key erasure (D. J. Bernstein, "Fast-key-erasure
 * random-number generators", 2017), seeded once with 32 bytes by whoever owns it, so that a whole node can be replayed
 * from its seed. */
#ifndef KITH_CRYPTO_RNG_H
#define KITH_CRYPTO_RNG_H

#include <stddef.h>
#include <stdint.h>

#define KITH_RNG_SEED_SIZE 32

typedef struct kith_rng {
    uint8_t key[32];
    uint8_t pool[512]; /* bytes not yet given are at its end; given ones are wiped */
    size_t left;
} kith_rng;

void kith_rng_init(kith_rng *rng, const uint8_t seed[static KITH_RNG_SEED_SIZE]);
void kith_rng_bytes(kith_rng *rng, void *out, size_t size);
uint64_t kith_rng_below(kith_rng *rng, uint64_t bound); /* uniform in [0, bound); bound > 0 */
void kith_rng_fork(kith_rng *rng, kith_rng *child);     /* seed `child` from `rng` */
void kith_rng_done(kith_rng *rng);                      /* wipe */

#endif
