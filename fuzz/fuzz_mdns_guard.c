/* What comes from the network before Avahi sees it: no read past the end, and nothing without a header passes. */
#include "io/mdns_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (kith__mdns_guard_accepts(data, size) && size < 12) abort();
    return 0;
}
