#include "identity/fingerprint.h"

#include "crypto/blake3.h"

#include <string.h>

#define GROUP_BYTES ((size_t)2)

void kith_fingerprint(const uint8_t uuid[static KITH_UUID_SIZE],
                      const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                      uint8_t out[static KITH_FINGERPRINT_SIZE])
{
    uint8_t input[KITH_UUID_SIZE + KITH_ED25519_PUBLIC_SIZE];
    memcpy(input, uuid, KITH_UUID_SIZE);
    memcpy(input + KITH_UUID_SIZE, public_key, KITH_ED25519_PUBLIC_SIZE);
    kith_blake3(input, sizeof input, out);
}

char *kith_fingerprint_short(const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                             char out[static KITH_FINGERPRINT_SHORT_SIZE])
{
    return kith_hex(fingerprint, (KITH_FINGERPRINT_SHORT_SIZE - 1) / 2, out);
}

char *kith_fingerprint_long(const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                            char out[static KITH_FINGERPRINT_LONG_SIZE])
{
    char *at = out;
    for (size_t i = 0; i < KITH_FINGERPRINT_SIZE; i += GROUP_BYTES) {
        if (i) *at++ = '-';
        kith_hex(fingerprint + i, GROUP_BYTES, at);
        at += 2 * GROUP_BYTES;
    }
    return out;
}

kith_err kith_fingerprint_parse(const char *text, uint8_t out[static KITH_FINGERPRINT_SIZE])
{
    char plain[2 * KITH_FINGERPRINT_SIZE + 1];
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '-') continue;
        if (n == sizeof plain - 1) return KITH_ERR_FORMAT;
        plain[n++] = *text;
    }
    plain[n] = 0;
    return kith_unhex(plain, out, KITH_FINGERPRINT_SIZE);
}
