/* device.json: what decodes keeps the rules, and is what encoding it again, alone or over the same file, decodes to. */
#include "base/mem.h"
#include "identity/device.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const kith_device *device, const void *old, size_t old_size)
{
    kith_device again;
    kith_reason reason;
    uint8_t *out;
    size_t out_size;
    if (kith_device_encode(device, old, old_size, &out, &out_size, &reason)) abort();
    if (kith_device_decode(out, out_size, &again, &reason) || memcmp(device, &again, sizeof again) != 0) abort();
    kith_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_device device;
    kith_reason reason = {""};
    kith_err err = kith_device_decode(data, size, &device, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return 0;
    }
    if (!kith_name_valid(device.name)) abort();
    check(&device, NULL, 0);
    check(&device, data, size);
    memcpy(device.name, "another", sizeof "another");
    memset(device.name + sizeof "another", 0, sizeof device.name - sizeof "another");
    check(&device, data, size);
    return 0;
}
