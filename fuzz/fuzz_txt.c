/* A TXT record from the network: no crash, and what is understood is written and understood again as the same. */
#include "discovery/txt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_txt txt, again;
    uint8_t out[KITH_TXT_MAX];
    if (kith_txt_parse(data, size, &txt)) return 0;
    size_t written = kith_txt_write(&txt, out, sizeof out);
    if (written == 0 || kith_txt_parse(out, written, &again) || !kith_txt_equal(&txt, &again)) abort();
    return 0;
}
