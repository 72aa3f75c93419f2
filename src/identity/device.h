/* device.json: what this device is, apart from keys.  It may be the file of the application that embeds Kith, so it is
 * read leniently (only `id` and `name` are needed) and what is in it beyond our members is kept.
 *
 *     {
 *       "version": 1,                                          ours; absent or not a number: the host application's
 *       "id": "0192f3c1-9d0b-4c36-8a52-7f3c1d2e4b5a",          the persistent device UUID: never changes
 *       "name": "laptop",                                      identity/name.h has the rule
 *       "os": "Linux", "hardware_model": "ThinkPad X1",        text; may be absent or null
 *       "created_at": "2026-11-24T03:29:23.123Z"               RFC 3339; may be absent or null
 *     }
 *
 * or, where the application's own is in another place, only where: {"version": 1, "file": "/home/me/app/device.json"}.
 */
#ifndef KITH_IDENTITY_DEVICE_H
#define KITH_IDENTITY_DEVICE_H

#include "base/text.h"
#include "identity/name.h"
#include "identity/reason.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_DEVICE_VERSION  1
#define KITH_DEVICE_FILE_MAX 65536 /* bytes of the largest file that is read */

typedef struct kith_device { /* a plain value */
    uint8_t id[KITH_UUID_SIZE];
    char name[KITH_NAME_SIZE];
    char os[KITH_NAME_SIZE]; /* these two: what kith_name_clean leaves of the file's; "" when absent */
    char hardware_model[KITH_NAME_SIZE];
    int64_t created_at_ms; /* since 1970 UTC; 0: not known */
} kith_device;

/* A new device: the id is a version 4 UUID made from 16 random bytes (RFC 9562 section 5.4).  ARG when the name breaks
 * the rule; `os` and `hardware_model` (NULL: "") are cleaned. */
KITH_MUST_CHECK kith_err kith_device_make(const uint8_t random[static KITH_UUID_SIZE], const char *name, const char *os,
                                          const char *hardware_model, int64_t now_ms, kith_device *out);
/* DAMAGED (syntax, a member missing or wrong), VERSION (a newer format), NOMEM; then *out is untouched, and for the
 * first two *reason says why. */
KITH_MUST_CHECK kith_err kith_device_decode(const void *data, size_t size, kith_device *out, kith_reason *reason);
/* The file's new bytes.  `old` (NULL: none) is the file that is to be replaced: members we do not know, and the
 * spelling of those that did not change, stay as they are there.  Release *out with kith_free.  NOMEM; of `old` the
 * errors of decode. */
KITH_MUST_CHECK kith_err kith_device_encode(const kith_device *device, const void *old, size_t old_size, uint8_t **out,
                                            size_t *out_size, kith_reason *reason);
/* The path where another program's device.json is, and no more: release *out with kith_free.  NOT_FOUND when the file
 * is a device's own; else as decode, DAMAGED also for a path that does not begin with "/". */
KITH_MUST_CHECK kith_err kith_device_decode_reference(const void *data, size_t size, char **out, kith_reason *reason);
/* Such a file's bytes; release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith_device_encode_reference(const char *path, uint8_t **out, size_t *size);

#endif
