/* What the tests of Noise share: the suite, the two sides of a handshake, memory of an exact size. */
#ifndef KITH_NOISE_TEST_H
#define KITH_NOISE_TEST_H

#include "base/mem.h"
#include "crypto/noise.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITE "_25519_ChaChaPoly_BLAKE2s"

/* [0] initiates. */
typedef struct sides {
    kith_noise *noise[2];
} sides;

static inline void sides_free(sides *both)
{
    kith_noise_free(both->noise[0]);
    kith_noise_free(both->noise[1]);
}

/* So that the address sanitizer sees a byte too many. */
static inline uint8_t *exact(size_t size)
{
    uint8_t *memory = malloc(size ? size : 1);
    assert_non_null(memory);
    return memory;
}

#endif
