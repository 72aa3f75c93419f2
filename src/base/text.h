/* Small text forms: hexadecimal, UUIDs, and names made safe to print. */
#ifndef KITH_BASE_TEXT_H
#define KITH_BASE_TEXT_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_UUID_SIZE      16
#define KITH_UUID_TEXT_SIZE 37 /* 8-4-4-4-12 and a NUL (RFC 9562) */

/* Lower-case hex of `size` bytes and a NUL into out[2 * size + 1].  Returns `out`. */
char *kith_hex(const void *data, size_t size, char *out);
/* Exactly 2 * size hex digits, either case, and nothing after them. */
KITH_MUST_CHECK kith_err kith_unhex(const char *text, void *out, size_t size);
char *kith_uuid_text(const uint8_t uuid[static KITH_UUID_SIZE], char out[static KITH_UUID_TEXT_SIZE]);
KITH_MUST_CHECK kith_err kith_uuid_parse(const char *text, uint8_t out[static KITH_UUID_SIZE]);

/* Whether it is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF) without a NUL. */
bool kith_utf8_valid(const char *text, size_t size);
/* `text` with control characters (C0, DEL, C1, bidirectional and line/paragraph separators) and bad UTF-8 written as
 * \xHH or \u{H}; cut with "..." when out is full.  Always NUL-terminated. */
char *kith_printable(const char *text, size_t size, char *out, size_t out_size);

#endif
