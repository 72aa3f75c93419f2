/* Times as the identity files write them: RFC 3339, in UTC, with milliseconds. */
#ifndef KITH_IDENTITY_RFC3339_H
#define KITH_IDENTITY_RFC3339_H

#include <kith/error.h>
#include <stdint.h>

#define KITH_RFC3339_SIZE   25                       /* "2026-11-24T03:29:23.123Z" and a NUL */
#define KITH_RFC3339_MAX_MS INT64_C(253402300799999) /* the end of the year 9999 */

/* `ms` since 1970, brought into 0..KITH_RFC3339_MAX_MS.  Returns `out`. */
char *kith_rfc3339_text(int64_t ms, char out[static KITH_RFC3339_SIZE]);
/* Any RFC 3339 date-time from 1970 on: 'T' or 't' or a space between, any number of fraction digits (cut to
 * milliseconds), 'Z' or an offset; a leap second counts as the next second.  FORMAT. */
KITH_MUST_CHECK kith_err kith_rfc3339_parse(const char *text, int64_t *ms);

#endif
