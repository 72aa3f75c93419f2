/* What a person, or a file, gives for a pairing code or an address. */
#include "base/addr.h"
#include "service/code.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512], why[64], back[KITH_CODE_TEXT_SIZE], address[KITH_ADDR_TEXT_SIZE];
    kith_words words, again;
    kith_addr a, b;
    if (size >= sizeof text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (kith_words_parse(text, &words, why, sizeof why) == KITH_OK) {
        if (kith_words_parse(kith_words_text(&words, back), &again, why, sizeof why)) abort();
        if (memcmp(&words, &again, sizeof words) != 0) abort();
    } else if (strlen(why) >= sizeof why) {
        abort();
    }
    if (kith_addr_parse(text, &a) == KITH_OK &&
        (kith_addr_parse(kith_addr_text(&a, address), &b) || !kith_addr_equal(&a, &b)))
        abort();
    return 0;
}
