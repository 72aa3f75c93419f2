/* The names of devices, and other short text about them that people read: UTF-8 on one line, nothing that hides or
 * reorders. */
#ifndef KITH_IDENTITY_NAME_H
#define KITH_IDENTITY_NAME_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>

#define KITH_NAME_MAX  63 /* bytes: also what a DNS-SD instance can hold */
#define KITH_NAME_SIZE 64 /* with a NUL */

/* The rule for a device's name: well-formed UTF-8, 1..63 bytes once white space (ASCII) at both ends is removed,
 * without control, bidirectional, zero-width or line-separating characters.  The trimmed name goes to `out`; ARG when
 * it breaks the rule. */
KITH_MUST_CHECK kith_err kith_name_check(const char *text, size_t size, char out[static KITH_NAME_SIZE]);
/* Whether `name` follows the rule as it stands, trimmed already. */
bool kith_name_valid(const char *name);
/* What the rule allows of `text` (a host name, another program's file): such characters and bad bytes left out,
 * trimmed, and cut at a character's end to out_size - 1 bytes.  May be empty.  The rest of `out` is zero; returns
 * `out`. out_size > 0. */
char *kith_name_clean(const char *text, size_t size, char *out, size_t out_size);
/* Bytes of the longest prefix of well-formed `text` that is at most `max` bytes and ends with a whole character. */
size_t kith_name_cut(const char *text, size_t max);

#endif
