/* The walk over coalesced long headers that exchanges version bytes: it changes nothing else, and back again gives what
 * was there. */
#include "quic/version.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (!copy) return 0;
    memcpy(copy, data, size);
    size_t good = kith_version_inbound(copy, size);
    if (good > size) abort();
    if (size >= 5 && data[0] & 0x80 &&
        !(data[1] | data[2] | data[3] | data[4])) { /* Version Negotiation: only its list */
        if (good != size || memcmp(copy, data, 5) != 0) abort();
        free(copy);
        return 0;
    }
    if (memcmp(copy + good, data + good, size - good) != 0) abort(); /* the rest is as it was */
    if (good && data[0] & 0x80 && memcmp(copy + 1, "\0\0\0\1", 4) != 0) abort();
    kith_version_outbound(copy, good);
    if (memcmp(copy, data, good) != 0) abort();
    free(copy);
    return 0;
}
