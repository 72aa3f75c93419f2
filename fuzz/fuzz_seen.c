/* seen.cbor: what decodes encodes to the same bytes; each input also as the body of an envelope whose checksum fits. */
#include "base/mem.h"
#include "identity/envelope.h"
#include "identity/seen.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size)
{
    kith_seen *seen;
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size;
    kith_err err = kith_seen_decode(data, size, &seen, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return;
    }
    if (kith_seen_encode(seen, &out, &out_size) || out_size != size || memcmp(out, data, size) != 0) abort();
    kith_free(out);
    kith_seen_free(seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *whole;
    size_t whole_size;
    check(data, size);
    if (kith_envelope_make(KITH_SEEN_CONTEXT, KITH_SEEN_VERSION, data, size, &whole, &whole_size)) abort();
    check(whole, whole_size);
    kith_free(whole);
    return 0;
}
