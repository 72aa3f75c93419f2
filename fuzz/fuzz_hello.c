/* Hello, the signed envelope, and its payload, from anybody. */
#include "service/hello.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hash[32] = {2};
    kith_hello hello = {0};
    kith_message message;
    if (kith_crypto_init()) return 0;
    if (kith_message_parse(data, size, &message) == KITH_OK)
        if (kith_hello_payload_read(message.payload, message.payload_size, &hello) == KITH_OK &&
            kith_hello_read(data, size, true, hash, hello.noise_static, &hello) == KITH_OK)
            abort(); /* no signature over this hash exists */
    if (kith_hello_payload_read(data, size, &hello) == KITH_OK) {
        uint8_t again[KITH_MESSAGE_PAYLOAD_MAX];
        size_t n;
        if (kith_hello_payload_write(&hello, hello.public_key, again, sizeof again, &n)) abort();
    }
    return 0;
}
