/* A file's sender, given anything a receiver may say: no crash, it ends once, and says nothing after its end of the
 * stream.  The first byte picks the file's size and whether its hash is known, the second how the rest is cut. */
#include "service/file_message.h"

#include <stdlib.h>
#include <string.h>

static void step(kith_file_tx *tx, unsigned *ends, bool *fin)
{
    static uint8_t out[KITH_FILE_OUTPUT_MAX];
    uint8_t cv[KITH_BLAKE3_SIZE] = {0};
    uint64_t index, offset;
    size_t size;
    for (kith_file_event e; (e = kith_file_tx_event(tx));) *ends += e == KITH_FILE_DONE || e == KITH_FILE_FAILED;
    if (kith_file_tx_next(tx, &index, &offset, &size)) {
        size_t head;
        if (offset != index * KITH_GROUP_SIZE || size > KITH_GROUP_SIZE) abort();
        if (kith_file_tx_chunk(tx, index, cv, out, sizeof out, &head) || head != KITH_FILE_CHUNK_HEAD) abort();
    }
    bool end;
    size = kith_file_tx_output(tx, out, sizeof out, &end);
    if (*fin && (size || end)) abort();
    *fin |= end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t sizes[] = {
        0, 1, KITH_GROUP_SIZE, KITH_GROUP_SIZE + 1, 5 * KITH_GROUP_SIZE, KITH_FILE_SIZE_MAX};
    kith_file_header header = {.name = "name"};
    kith_file_tx *tx;
    unsigned ends = 0;
    bool fin = false;
    if (size < 2) return 0;
    header.size = sizes[(data[0] & 0x7f) % (sizeof sizes / sizeof *sizes)];
    header.has_hash = data[0] & 0x80;
    size_t split = data[1] ? data[1] : SIZE_MAX;
    if (kith_file_tx_new(&header, &tx)) return 0;
    data += 2;
    size -= 2;
    step(tx, &ends, &fin);
    while (size) {
        size_t n = size < split ? size : split;
        kith_file_tx_input(tx, data, n, false);
        data += n;
        size -= n;
        for (int i = 0; i < 8; i++) step(tx, &ends, &fin);
    }
    kith_file_tx_input(tx, NULL, 0, true);
    step(tx, &ends, &fin);
    if (ends != 1 || !fin) abort();
    kith_file_tx_free(tx);
    return 0;
}
