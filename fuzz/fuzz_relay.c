/* The relay's messages and datagrams: no crash; what is read is within its limits, is written, and read again is
 * written as the same bytes. */
#include "wire/relay.h"

#include <stdlib.h>
#include <string.h>

static void datagram(const uint8_t *data, size_t size)
{
    uint64_t counter;
    kith_addr addr;
    uint8_t out[KITH_RELAY_BOUND_MAX > KITH_RELAY_BIND_SIZE ? KITH_RELAY_BOUND_MAX : KITH_RELAY_BIND_SIZE];
    if (kith_relay_read_bound(data, size, &counter, &addr)) {
        if (kith_relay_write_bound(counter, &addr, out) != size || memcmp(out, data, size) != 0) abort();
    }
    const uint8_t *key = kith_relay_read_bind(data, size, &counter);
    if (key) {
        kith_relay_write_bind(key, counter, out);
        if (size != KITH_RELAY_BIND_SIZE || memcmp(out, data, size) != 0) abort();
    }
    const uint8_t *id = kith_relay_read_packet_head(data, size);
    if (id && id + KITH_RELAY_UDP_ID_SIZE >= data + size) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t first[KITH_RELAY_MESSAGE_MAX], second[KITH_RELAY_MESSAGE_MAX];
    char authority[KITH_RELAY_AUTHORITY_MAX + 1];
    kith_relay_message m, again;
    datagram(data, size);
    if (kith_relay_authority((const char *)data, size, authority) == KITH_OK &&
        (!*authority || strlen(authority) > size))
        abort();
    if (kith_relay_read(data, size, &m)) return 0;
    if (m.run.data && (!kith_relay_run_good(&m.run) || m.run.data + m.run.size > data + size)) abort();
    size_t written = kith_relay_write(&m, first, sizeof first); /* without members that are not known */
    if (written == 0 || written > size || kith_relay_read(first, written, &again)) abort();
    if (kith_relay_write(&again, second, sizeof second) != written || memcmp(first, second, written) != 0) abort();
    return 0;
}
