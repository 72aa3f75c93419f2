/* A backup: the input as a file, and as what is sealed in one (the seal would stop nearly every input). */
#include "base/mem.h"
#include "identity/backup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const kith_bytes password = {"x", 1};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t code[KITH_RECOVERY_CODE_SIZE] = {1};
    const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};
    const kith_backup_random random = {.key = {1}};
    kith_backup_content opened, backup = {.made_at_ms = 1};
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size, cut = size ? data[0] % (size + 1) : 0;
    if (!size) return 0;
    if (kith_backup_open_code(data, size, code, &opened, &reason) == KITH_OK) abort(); /* nobody sealed it */
    backup.parts[KITH_BACKUP_DEVICE].data = data;
    backup.parts[KITH_BACKUP_DEVICE].size = cut;
    backup.parts[KITH_BACKUP_KEYS].data = data + cut;
    backup.parts[KITH_BACKUP_KEYS].size = size - cut;
    if (kith_crypto_init() || kith_backup_seal(&backup, &cheap, password, NULL, &random, &out, &out_size)) abort();
    if (kith_backup_open(out, out_size, password, &opened, &reason)) abort();
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++)
        if (opened.parts[i].size != backup.parts[i].size ||
            (opened.parts[i].size && memcmp(opened.parts[i].data, backup.parts[i].data, opened.parts[i].size) != 0))
            abort();
    kith_backup_done(&opened);
    if (size > 8) { /* the head, changed as the input says */
        memcpy(out + 8, data, size < 200 ? size : 200);
        if (out[16] == 0 && out[17] == 0 && out[20] == 0 && out[21] == 0 && out[22] == 0 && out[23] < 4 && out[24] == 0)
            if (kith_backup_open(out, out_size, password, &opened, &reason) == KITH_OK) kith_backup_done(&opened);
    }
    kith_free(out);
    return 0;
}
