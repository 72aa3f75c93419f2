/* The outside of our CBOR files: [version, body (a byte string), checksum], where the checksum is 32 bytes of BLAKE3 in
 * derive_key mode, with a context that names the format, over all that stands before it.  It finds damage; it proves
 * nothing about who wrote the file.  The body is deterministic CBOR (wire/cbor.h), too. */
#ifndef KITH_IDENTITY_ENVELOPE_H
#define KITH_IDENTITY_ENVELOPE_H

#include "identity/reason.h"
#include "wire/cbor.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

/* The file's bytes around this body.  Release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith_envelope_make(const char *context, uint64_t version, const void *body, size_t body_size,
                                            uint8_t **out, size_t *out_size);
/* The body, as a view into `data`.  VERSION when the version is above `known`; DAMAGED. */
KITH_MUST_CHECK kith_err kith_envelope_open(const char *context, uint64_t known, const void *data, size_t size,
                                            const uint8_t **body, size_t *body_size, kith_reason *reason);
/* The version in the head of an envelope that was opened; 0 for what is none. */
uint64_t kith_envelope_version(const void *data, size_t size);
/* DAMAGED, with `what` and the byte of the body where `r` stands as the reason. */
kith_err kith_envelope_bad(const kith_cbor_reader *r, const uint8_t *body, const char *what, kith_reason *reason);

#endif
