/* What a hostile relay says to a client, in messages and datagrams cut as the input says: it never has more in its
 * queue than its limit, says nothing of sessions that there are not, and comes back no earlier than now. */
#include "path/relay_client.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIECE_MAX 4096

static uint64_t now = 1;

static void take_events(kith_relay_client *client)
{
    static const uint8_t signature[KITH_RELAY_SIGNATURE_SIZE] = {1};
    static uint8_t buffer[KITH_RELAY_CLIENT_BUFFER];
    kith_addr udp = {.family = KITH_FAMILY_IPV4, .port = 443, .ip = {203, 0, 113, 1}};
    kith_relay_event event;
    while (kith_relay_client_event(client, &event)) {
        uint8_t packet[100] = {1};
        kith_packet run = {.data = packet, .size = sizeof packet, .segment = 30};
        kith_relay_send send;
        if (event.kind == KITH_RELAY_EVENT_DIAL) kith_relay_client_connected(client, &udp, now);
        if (event.kind == KITH_RELAY_EVENT_SIGN) kith_relay_client_signed(client, signature);
        if (event.kind == KITH_RELAY_EVENT_LOST && event.at_ns < now) abort();
        if (event.kind == KITH_RELAY_EVENT_GONE && !kith_relay_client_data(client, event.session, &run, buffer, &send))
            abort();
        if (event.kind != KITH_RELAY_EVENT_INCOMING) continue;
        kith_err err = kith_relay_client_data(client, event.session, &run, buffer, &send);
        if (!err && (send.taken == 0 || send.size > sizeof buffer)) abort();
        if (event.offer.data && event.offer.data[0] & 1) kith_relay_client_end(client, event.session, true);
    }
}

/* op, length (2), bytes: one thing after another. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t piece[PIECE_MAX];
    kith_relay_client_config config = {.authority = "relay.example", .seed = 1};
    kith_relay_client *client;
    kith_relay_data got;
    uint32_t session;
    now = 1;
    if (kith_relay_client_new(&config, &client)) abort();
    take_events(client);
    while (size >= 3) {
        uint8_t op = data[0];
        size_t length = ((size_t)data[1] << 8 | data[2]) % PIECE_MAX, queued = 0, one;
        data += 3;
        size -= 3;
        if (length > size) length = size;
        if (length) memcpy(piece, data, length);
        data += length;
        size -= length;
        now += (uint64_t)op << 20;
        switch (op % 8) {
        case 0: kith_relay_client_expire(client, now); break;
        case 1: kith_relay_client_datagram(client, piece, length, now, &got); break;
        case 2: (void)!kith_relay_client_connect(client, config.public_key, NULL, NULL, 0, NULL, &session); break;
        case 3:
            while (kith_relay_client_output(client, &one) && (queued += one)) kith_relay_client_sent(client);
            if (queued > KITH_RELAY_CLIENT_QUEUE_MAX) abort();
            break;
        case 4:
            if (kith_relay_client_deadline_ns(client) == UINT64_MAX) break;
            if (kith_relay_client_deadline_ns(client) > now) now = kith_relay_client_deadline_ns(client);
            kith_relay_client_expire(client, now);
            break;
        default:
            kith_relay_client_input(client, piece, length, now, &got);
            if (got.data && (got.data < piece || got.data + got.size > piece + length)) abort();
        }
        take_events(client);
    }
    kith_relay_client_free(client);
    return 0;
}
