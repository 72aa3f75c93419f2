/* A device's fingerprint: what names it on the wire and to people.  It binds the persistent device UUID to the device's
 * key, so neither can be swapped for another without the fingerprint changing. */
#ifndef KITH_IDENTITY_FINGERPRINT_H
#define KITH_IDENTITY_FINGERPRINT_H

#include "base/text.h"
#include "crypto/keys.h"

#include <kith/error.h>
#include <stdint.h>

#define KITH_FINGERPRINT_SIZE       32
#define KITH_FINGERPRINT_SHORT_SIZE 9  /* "9f86d081" and a NUL */
#define KITH_FINGERPRINT_LONG_SIZE  80 /* 16 groups of 4 digits, 15 dashes, a NUL */

/* BLAKE3(16 UUID bytes || 32 Ed25519 public key bytes). */
void kith_fingerprint(const uint8_t uuid[static KITH_UUID_SIZE],
                      const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                      uint8_t out[static KITH_FINGERPRINT_SIZE]);
/* For lists: the first 8 hex digits.  Not enough to compare by (32 bits can be searched).  Returns `out`. */
char *kith_fingerprint_short(const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                             char out[static KITH_FINGERPRINT_SHORT_SIZE]);
/* For comparing: all 64 hex digits as "9f86-d081-...".  Returns `out`. */
char *kith_fingerprint_long(const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                            char out[static KITH_FINGERPRINT_LONG_SIZE]);
/* 64 hex digits, either case, with dashes anywhere between them.  FORMAT. */
KITH_MUST_CHECK kith_err kith_fingerprint_parse(const char *text, uint8_t out[static KITH_FINGERPRINT_SIZE]);

#endif
