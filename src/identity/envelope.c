#include "identity/envelope.h"

#include "base/mem.h"
#include "crypto/blake3.h"
#include "identity/json.h"

#include <stdio.h>
#include <string.h>

#define ITEMS    3
#define OVERHEAD 64 /* above what the three heads and the checksum take */

kith_err kith_envelope_make(const char *context, uint64_t version, const void *body, size_t body_size, uint8_t **out,
                            size_t *out_size)
{
    uint8_t sum[KITH_BLAKE3_SIZE], *data = kith_malloc(body_size + OVERHEAD);
    if (!data) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(data, body_size + OVERHEAD);
    kith_cbor_write_array(&w, ITEMS);
    kith_cbor_write_uint(&w, version);
    kith_cbor_write_bytes(&w, body, body_size);
    kith_blake3_derive(context, data, kith_writer_size(&w), sum, sizeof sum);
    kith_cbor_write_bytes(&w, sum, sizeof sum);
    *out = data;
    *out_size = kith_writer_size(&w);
    return KITH_OK;
}

kith_err kith_envelope_bad(const kith_cbor_reader *r, const uint8_t *body, const char *what, kith_reason *reason)
{
    snprintf(reason->text, sizeof reason->text, "byte %zu: %s", (size_t)(r->at - body), what);
    return KITH_ERR_DAMAGED;
}

kith_err kith_envelope_open(const char *context, uint64_t known, const void *data, size_t size, const uint8_t **body,
                            size_t *body_size, kith_reason *reason)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    uint8_t found[KITH_BLAKE3_SIZE], right[KITH_BLAKE3_SIZE];
    size_t items = kith_cbor_read_array(&r), inner_size;
    uint64_t version = kith_cbor_read_uint(&r);
    if (!r.bad && version > known) return kith__newer(reason, version, known);
    const uint8_t *inner = kith_cbor_read_bytes(&r, &inner_size);
    if (r.bad || version == 0 || items != ITEMS)
        return kith_envelope_bad(&r, data, "cut short, or not a file of ours", reason);
    kith_blake3_derive(context, data, (size_t)(r.at - (const uint8_t *)data), right, sizeof right);
    kith_cbor_read_copy(&r, found, sizeof found);
    if (!kith_cbor_done(&r)) return kith_envelope_bad(&r, data, "cut short, or more than there should be", reason);
    if (memcmp(found, right, sizeof right) != 0)
        return kith_envelope_bad(&r, data, "the checksum does not fit", reason);
    *body = inner;
    *body_size = inner_size;
    return KITH_OK;
}

uint64_t kith_envelope_version(const void *data, size_t size)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    (void)kith_cbor_read_array(&r);
    uint64_t version = kith_cbor_read_uint(&r);
    return r.bad ? 0 : version;
}
