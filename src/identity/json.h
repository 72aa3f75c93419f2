/* What the JSON files of an identity share: strict reading with a reason, and writing.  Internal to this layer. */
#ifndef KITH_IDENTITY_JSON_H
#define KITH_IDENTITY_JSON_H

#include "identity/reason.h"

#include <jansson.h>
#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One JSON object, duplicate members refused.  DAMAGED with the position; NOMEM.  Release with json_decref.
 * (Jansson calls some of its own failed allocations a syntax error; DAMAGED is then untrue but harmless, as no file is
 * touched on it.) */
KITH_MUST_CHECK kith_err kith__json_load(const void *data, size_t size, json_t **out, kith_reason *reason);
/* Indented, with a newline at the end, members in their order.  Release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith__json_dump(const json_t *object, uint8_t **out, size_t *size);

/* DAMAGED, with "NAME: " and this text as the reason. */
kith_err kith__json_bad(kith_reason *reason, const char *name, const char *what);
/* DAMAGED unless member `name` is a string of exactly `size` bytes in hex. */
KITH_MUST_CHECK kith_err kith__json_hex(const json_t *object, const char *name, void *out, size_t size,
                                        kith_reason *reason);
/* DAMAGED unless member `name` is an RFC 3339 time. */
KITH_MUST_CHECK kith_err kith__json_time(const json_t *object, const char *name, int64_t *ms, kith_reason *reason);
/* DAMAGED unless member `name` is an integer within min..max. */
KITH_MUST_CHECK kith_err kith__json_number(const json_t *object, const char *name, int64_t min, int64_t max,
                                           int64_t *out, kith_reason *reason);
/* Member `name` as this layer's format number: VERSION when it is above `known`, DAMAGED below 1. */
KITH_MUST_CHECK kith_err kith__json_version(const json_t *object, const char *name, int64_t known, kith_reason *reason);
/* The same reason for formats that are not JSON. */
kith_err kith__newer(kith_reason *reason, uint64_t found, uint64_t known);

/* Setting members; each gives false when there was no memory. */
bool kith__json_set_hex(json_t *object, const char *name, const void *data, size_t size);
bool kith__json_set_text(json_t *object, const char *name, const char *text);
bool kith__json_set_time(json_t *object, const char *name, int64_t ms);
bool kith__json_set_number(json_t *object, const char *name, int64_t value);

#endif
