/* What a node says of itself on the local network: the strings of its TXT record (RFC 6763 section 6) and its instance
 * name. v=1  id=<device UUID>  fp=<first 8 bytes of the network fingerprint, hex>  pair=<tag of an open pairing code,
 * hex> Anybody on the network can say anything here: it tells where to dial, never who answers. */
#ifndef KITH_DISCOVERY_TXT_H
#define KITH_DISCOVERY_TXT_H

#include "base/text.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_TXT_VERSION          1
#define KITH_TXT_FINGERPRINT_SIZE 8
#define KITH_TXT_TAG_BITS         22
#define KITH_TXT_MAX              512 /* bytes of a whole record that are looked at; ours takes 89 */
#define KITH_INSTANCE_SIZE        64  /* any instance name with its NUL: a DNS label */
#define KITH_INSTANCE_OWN_SIZE    42  /* "<uuid>-<4 hex digits>" and a NUL */

typedef struct kith_txt {
    uint8_t id[KITH_UUID_SIZE];
    uint8_t fingerprint[KITH_TXT_FINGERPRINT_SIZE]; /* how it begins */
    bool pairing;                                   /* a pairing code is open, and this is its tag: */
    uint32_t tag;                                   /* 22 bits; 0 unless pairing */
} kith_txt;

bool kith_txt_equal(const kith_txt *a, const kith_txt *b);
/* Bytes written; 0 when they do not fit or the tag is too large. */
size_t kith_txt_write(const kith_txt *txt, void *out, size_t cap);
/* Unknown keys are skipped, of one key's strings the first counts, keys match in either case.  FORMAT: a key is missing
 * or its value bad, or the strings do not fill the bytes; VERSION: not a version known here. */
KITH_MUST_CHECK kith_err kith_txt_parse(const void *data, size_t size, kith_txt *out);

/* The instance name of one running node of a device; `node` is random, drawn at start.  Returns `out`. */
char *kith_instance_name(const uint8_t id[static KITH_UUID_SIZE], uint16_t node,
                         char out[static KITH_INSTANCE_OWN_SIZE]);

#endif
