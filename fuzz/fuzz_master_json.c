/* master_key.json: what is accepted is written and read again as the same.  The checksum would stop nearly every input,
 * so what is JSON is tried a second time over a file of ours, whose checksum only that which leaves its meaning passes.
 */
#include "base/mem.h"
#include "identity/master_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const void *data, size_t size)
{
    kith_master *master, *again;
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size;
    kith_err err = kith_master_decode(data, size, &master, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return;
    }
    if (kith_master_encode(master, &out, &out_size)) abort();
    if (kith_master_decode(out, out_size, &again, &reason) || memcmp(master, again, sizeof *master) != 0) abort();
    kith_free(out);
    kith_master_free(again);
    kith_master_free(master);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    json_t *file = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    kith_master *master = NULL;
    uint8_t *out;
    size_t out_size;
    if (json_is_object(file) && kith_master_new(&master) == KITH_OK &&
        kith_master_encode(master, &out, &out_size) == KITH_OK) {
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
    kith_master_free(master);
    json_decref(file);
    return 0;
}
