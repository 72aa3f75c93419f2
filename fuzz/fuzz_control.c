/* A control stream after hello: however it is cut the same messages come, none is too long, and what is read of one is
 * in bounds and stays itself when written again. */
#include "service/control.h"

#include <stdlib.h>
#include <string.h>

static uint64_t read_all(const uint8_t *data, size_t size, size_t piece)
{
    kith_control_reader r = {0};
    uint64_t sum = 0;
    for (size_t at = 0; at < size;) {
        const uint8_t *message;
        size_t length, n = size - at < piece ? size - at : piece;
        size_t taken = kith_control_add(&r, data + at, n, &message, &length);
        if (!taken || taken > n || (!message && taken != n)) abort();
        at += taken;
        if (!message) continue;
        if (length > KITH_CONTROL_MAX) abort();
        for (size_t i = 0; i < length; i++) sum = sum * 31 + message[i];
        sum = sum * 31 + length;
        kith_candidates c, again;
        uint8_t bytes[KITH_CANDIDATES_ENCODED];
        size_t written;
        if (kith_candidates_read(message, length, &c)) continue;
        if (c.count > KITH_CANDIDATES_MAX || kith_candidates_write(&c, bytes, sizeof bytes, &written)) abort();
        if (kith_candidates_read(bytes, written, &again) || again.count != c.count) abort();
        for (size_t i = 0; i < c.count; i++)
            if (!kith_addr_equal(&c.addrs[i], &again.addrs[i])) abort();
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    if (read_all(data + 1, size - 1, SIZE_MAX) != read_all(data + 1, size - 1, 1u + data[0])) abort();
    return 0;
}
