/* The UDP leg: whether datagrams get through is found out by asking (BIND, BOUND), and asked again all the time, which
 * also keeps NATs' mappings.  When it stops answering packets go over the WebSocket again, whose messages tell the
 * relay the same. */
#include "base/mem.h"
#include "path/relay_internal.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

static uint64_t keep(const kith_relay_client *client)
{
    return kith__relay_often(client->limits.udp_stale_ms * NS_PER_MS / 3, KITH_RELAY_BIND_KEEP_NS);
}

static void ask(kith_relay_client *client, uint64_t now_ns)
{
    relay_udp *udp = &client->udp;
    udp->due = true;
    udp->at_ns = now_ns + (KITH_RELAY_BIND_WAIT_NS << udp->tries);
    udp->tries++;
}

static void tell(kith_relay_client *client, bool on, const kith_addr *observed)
{
    client->udp.on = on;
    client->udp.observed = observed ? *observed : (kith_addr){0};
    kith_relay_event event = {.kind = KITH_RELAY_EVENT_UDP, .on = on};
    if (observed) event.observed = *observed;
    kith__relay_say(client, &event);
}

void kith__relay_udp_start(kith_relay_client *client, uint64_t now_ns)
{
    relay_udp *udp = &client->udp;
    if (udp->remote.family == KITH_FAMILY_NONE) return;
    udp->tries = 0;
    udp->retry_ns = KITH_RELAY_BIND_RETRY_NS;
    udp->first = udp->counter + 1;
    ask(client, now_ns);
}

void kith__relay_udp_stop(kith_relay_client *client)
{
    kith_wipe(client->udp.key, sizeof client->udp.key);
    client->udp = (relay_udp){0};
}

void kith__relay_udp_doubt(kith_relay_client *client, uint64_t now_ns)
{
    if (!client->udp.on) return;
    tell(client, false, NULL);
    kith__relay_udp_start(client, now_ns);
}

uint64_t kith__relay_udp_deadline(const kith_relay_client *client)
{
    const relay_udp *udp = &client->udp;
    return udp->remote.family == KITH_FAMILY_NONE ? UINT64_MAX : udp->at_ns;
}

void kith__relay_udp_expire(kith_relay_client *client, uint64_t now_ns)
{
    relay_udp *udp = &client->udp;
    if (udp->remote.family == KITH_FAMILY_NONE || udp->at_ns > now_ns) return;
    if (udp->tries < KITH_RELAY_BIND_TRIES) {
        if (!udp->tries) udp->first = udp->counter + 1;
        ask(client, now_ns);
        return;
    }
    udp->tries = 0; /* it does not get through */
    udp->at_ns = now_ns + udp->retry_ns;
    udp->retry_ns = udp->retry_ns < KITH_RELAY_BIND_RETRY_MAX_NS / 2 ? 2 * udp->retry_ns : KITH_RELAY_BIND_RETRY_MAX_NS;
    if (udp->on) tell(client, false, NULL);
}

bool kith_relay_client_bind(kith_relay_client *client, uint8_t out[static KITH_RELAY_BIND_SIZE])
{
    if (!client->udp.due) return false;
    client->udp.due = false;
    kith_relay_write_bind(client->udp.key, ++client->udp.counter, out);
    return true;
}

static void on_bound(kith_relay_client *client, const uint8_t *bytes, size_t size, uint64_t now_ns)
{
    relay_udp *udp = &client->udp;
    uint64_t counter;
    kith_addr observed;
    if (!kith_relay_read_bound(bytes, size, &counter, &observed)) return;
    if (!udp->tries || counter < udp->first || counter > udp->counter) return; /* late, or of nobody's asking */
    udp->tries = 0;
    udp->due = false;
    udp->at_ns = now_ns + keep(client);
    udp->retry_ns = KITH_RELAY_BIND_RETRY_NS;
    if (!udp->on || !kith_addr_equal(&udp->observed, &observed)) tell(client, true, &observed);
}

void kith_relay_client_datagram(kith_relay_client *client, uint8_t *bytes, size_t size, uint64_t now_ns,
                                kith_relay_data *data)
{
    *data = (kith_relay_data){0};
    if (client->state != RELAY_REGISTERED || client->udp.remote.family == KITH_FAMILY_NONE) return;
    const uint8_t *id = kith_relay_read_packet_head(bytes, size);
    if (!id) {
        on_bound(client, bytes, size, now_ns);
        return;
    }
    uint8_t *last = &client->by_udp_id[id[KITH_RELAY_UDP_ID_SIZE - 1] % KITH_RELAY_CLIENT_SESSIONS];
    for (size_t i = 0; i < KITH_RELAY_CLIENT_SESSIONS; i++) {
        size_t at = (*last + i) % KITH_RELAY_CLIENT_SESSIONS;
        const relay_session *s = &client->sessions[at];
        if (!s->id || !s->has_udp_id || memcmp(s->udp_id, id, sizeof s->udp_id) != 0) continue;
        *last = (uint8_t)at;
        data->session = s->id;
        data->data = bytes + KITH_RELAY_PACKET_HEAD;
        data->size = data->segment = size - KITH_RELAY_PACKET_HEAD;
        return;
    }
}
