/* network_keys.json: as fuzz_device_json.  The checksum would stop nearly every input, so what is JSON is tried a
 * second time with the right one put in. */
#include "base/mem.h"
#include "identity/keys_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const void *data, size_t size)
{
    kith_keys_file keys, again;
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size;
    kith_err err = kith_keys_decode(data, size, &keys, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return;
    }
    for (int over = 0; over < 2; over++) {
        if (kith_keys_encode(&keys, over ? data : NULL, over ? size : 0, &out, &out_size, &reason)) abort();
        if (kith_keys_decode(out, out_size, &again, &reason) || memcmp(&keys, &again, sizeof keys) != 0) abort();
        kith_free(out);
    }
}

/* As if it were a device.json with keys in it. */
static void check_flattened(const void *data, size_t size)
{
    kith_keys_file keys;
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size;
    kith_err err = kith_keys_decode_flattened(data, size, &keys, &reason);
    if (err && err != KITH_ERR_DAMAGED && err != KITH_ERR_NOT_FOUND) abort();
    if (err == KITH_ERR_DAMAGED) return;
    if (kith_keys_strip_flattened(data, size, &out, &out_size, &reason)) abort();
    if (kith_keys_decode_flattened(out, out_size, &keys, &reason) != KITH_ERR_NOT_FOUND) abort();
    kith_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    check_flattened(data, size);
    json_t *file = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    kith_keys_file keys = {.kdf = {8, 1, 1}};
    kith_reason reason;
    uint8_t *out;
    size_t out_size;
    /* A file of ours, with the members of the input over it and the checksum of ours: only those that leave its meaning
     * pass. */
    if (json_is_object(file) && kith_keys_encode(&keys, NULL, 0, &out, &out_size, &reason) == KITH_OK) {
        json_t *ours = json_loadb((const char *)out, out_size, 0, NULL);
        json_t *sum = json_incref(json_object_get(ours, "checksum"));
        json_object_update(ours, file);
        json_object_set_new(ours, "checksum", sum);
        char *text = json_dumps(ours, 0);
        if (text) check(text, strlen(text));
        free(text);
        json_decref(ours);
        kith_free(out);
    }
    json_decref(file);
    return 0;
}
