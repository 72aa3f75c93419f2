/* The 60 digits that two people compare: both screens show the same ones when each device has the other's right key.
 *
 *     stream = BLAKE3 derive_key("kith 2026-11 verification digits v1", the lower fingerprint || the higher), 60 bytes
 *     group i of 12 = bytes 5i..5i+4 of it as a big-endian number, mod 100,000, as 5 decimal digits
 *
 * Fingerprints are ordered as bytes.  Who stands in the middle has to find two keys of his own that give the same 199
 * bits with two devices' fingerprints: about 2^100 tries, whichever half he may choose; so nothing is made slow. */
#ifndef KITH_IDENTITY_DIGITS_H
#define KITH_IDENTITY_DIGITS_H

#include "identity/fingerprint.h"

#define KITH_DIGITS_CONTEXT   "kith 2026-11 verification digits v1"
#define KITH_DIGITS_GROUPS    12
#define KITH_DIGITS_GROUP     5
#define KITH_DIGITS_TEXT_SIZE (KITH_DIGITS_GROUPS * (KITH_DIGITS_GROUP + 1)) /* blanks between, a NUL */

/* "12345 67890 ...": the same for (a, b) and (b, a).  Returns `out`. */
char *kith_digits(const uint8_t a[static KITH_FINGERPRINT_SIZE], const uint8_t b[static KITH_FINGERPRINT_SIZE],
                  char out[static KITH_DIGITS_TEXT_SIZE]);

#endif
