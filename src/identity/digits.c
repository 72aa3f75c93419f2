#include "identity/digits.h"

#include "crypto/blake3.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GROUP_BYTES  5
#define GROUP_MODULO 100000u

char *kith_digits(const uint8_t a[static KITH_FINGERPRINT_SIZE], const uint8_t b[static KITH_FINGERPRINT_SIZE],
                  char out[static KITH_DIGITS_TEXT_SIZE])
{
    uint8_t both[2 * KITH_FINGERPRINT_SIZE], stream[KITH_DIGITS_GROUPS * GROUP_BYTES];
    bool ordered = memcmp(a, b, KITH_FINGERPRINT_SIZE) <= 0;
    memcpy(both, ordered ? a : b, KITH_FINGERPRINT_SIZE);
    memcpy(both + KITH_FINGERPRINT_SIZE, ordered ? b : a, KITH_FINGERPRINT_SIZE);
    kith_blake3_derive(KITH_DIGITS_CONTEXT, both, sizeof both, stream, sizeof stream);
    size_t n = 0;
    for (size_t i = 0; i < KITH_DIGITS_GROUPS; i++) {
        uint64_t value = 0;
        for (size_t j = 0; j < GROUP_BYTES; j++) value = value << 8 | stream[GROUP_BYTES * i + j];
        n += (size_t)snprintf(out + n, KITH_DIGITS_TEXT_SIZE - n, "%s%0*" PRIu64, i ? " " : "", KITH_DIGITS_GROUP,
                              value % GROUP_MODULO);
    }
    return out;
}
