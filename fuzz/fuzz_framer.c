/* A byte stream from a stranger, in pieces cut where the input says: the framer gives whole packets of it, in order,
 * and nothing else, and never takes more memory than it has named. */
#include "path/framer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t piece = (size_t)data[0] + 1, trust_at = data[1], at = 2, read = 2;
    kith_framer f;
    kith_framer_init(&f);
    for (kith_err err = KITH_OK; at < size && err != KITH_ERR_PROTOCOL;) {
        size_t room, packet_size;
        uint8_t *to = kith_framer_room(&f, &room), *packet;
        if (!to || room == 0) abort();
        size_t give = piece < room ? piece : room;
        if (give > size - at) give = size - at;
        memcpy(to, data + at, give);
        kith_framer_filled(&f, give);
        at += give;
        while (!(err = kith_framer_next(&f, &packet, &packet_size))) {
            if (packet_size != (size_t)(data[read] << 8 | data[read + 1])) abort();
            if (memcmp(packet, data + read + 2, packet_size) != 0) abort();
            memset(packet, 0xff, packet_size); /* as opening it in place does */
            read += 2 + packet_size;
        }
        if (at >= trust_at) kith_framer_trust(&f);
    }
    kith_framer_done(&f);
    return 0;
}
