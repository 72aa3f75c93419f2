/* The UDP port: STUN, clients' addresses, and packets. */
#include "relay/hub_internal.h"

#include "wire/stun.h"

#include <string.h>

void datagram_reset(kith_hub *hub) { hub->out_count = hub->out_taken = hub->scratch_used = 0; }

bool kith_hub_datagram(kith_hub *hub, kith_packet *out)
{
    if (hub->out_taken == hub->out_count) return false;
    *out = hub->out[hub->out_taken++];
    return true;
}

static void put(kith_hub *hub, const kith_packet *packet)
{
    if (hub->out_count == sizeof hub->out / sizeof *hub->out) return; /* a run has no more, and no call makes more */
    hub->stats.udp_sent_bytes += packet->size;
    hub->stats.udp_sent_packets += (packet->size - 1) / packet->segment + 1;
    hub->elsewhere[hub->out_count] = false;
    hub->out[hub->out_count++] = *packet;
}

static uint8_t *scratch(kith_hub *hub, size_t size)
{
    if (sizeof hub->scratch - hub->scratch_used < size) return NULL;
    uint8_t *at = hub->scratch + hub->scratch_used;
    hub->scratch_used += size;
    return at;
}

bool kith_hub_elsewhere(const kith_hub *hub) { return hub->elsewhere[hub->out_taken - 1]; }
void kith_hub_set_other_port(kith_hub *hub, bool there) { hub->has_other_port = there; }

bool datagram_bound(const kith_hub_client *client, uint64_t now_ns)
{
    return client->udp_remote.family != KITH_FAMILY_NONE && !client->udp_doubted &&
           now_ns - client->udp_bound_ns <= client->hub->settings.udp_stale_ms * NS_PER_MS;
}

/* ---- answers ---- */

/* False: there was nothing, or no room. */
static bool answer(kith_hub *hub, const kith_packet *asked, const uint8_t *data, size_t size)
{
    uint8_t *at = size ? scratch(hub, size) : NULL;
    size_t before = hub->out_count;
    if (!at) return false;
    memcpy(at, data, size);
    put(hub, &(kith_packet){.local = asked->local, .remote = asked->remote, .data = at, .size = size, .segment = size});
    return hub->out_count > before;
}

/* Where RFC 5780 would have it, as far as there is a way: there is one address.  The answer is no larger than what
 * asked for it, and goes to the address that asked. */
static void answer_stun(kith_hub *hub, const kith_packet *datagram, kith_stun_message *m)
{
    uint8_t out[KITH_STUN_ANSWER_MAX];
    kith_packet asked = *datagram;
    bool other_port = m->change == KITH_STUN_CHANGE_PORT && hub->has_other_port;
    kith_stun_understand(m, KITH_STUN_RESPONSE_PORT);
    if (!m->change || other_port) kith_stun_understand(m, KITH_STUN_CHANGE_REQUEST);
    size_t size = kith_stun_answer(m, &datagram->remote, out);
    bool elsewhere = !m->unknown_count && (m->response_port || other_port);
    if (elsewhere && m->response_port) asked.remote.port = m->response_port;
    if (!answer(hub, &asked, out, size) || !elsewhere) return;
    hub->elsewhere[hub->out_count - 1] = other_port;
    hub->stats.stun_elsewhere++;
}

static void stun(kith_hub *hub, const kith_packet *datagram, uint64_t now_ns)
{
    kith_stun_message m;
    if (kith_stun_read(datagram->data, datagram->size, &m) || m.type != KITH_STUN_REQUEST) {
        hub->stats.dropped_datagrams++;
        return;
    }
    if (!source_answer(hub, &datagram->remote, now_ns)) return;
    hub->stats.stun_answered++;
    answer_stun(hub, datagram, &m);
}

static kith_hub_client *by_udp_key(const kith_hub *hub, const uint8_t *key)
{
    uint64_t hash = kith_table_hash(&hub->udp_keys, key, KITH_RELAY_UDP_KEY_SIZE);
    for (kith_table_link *at = kith_table_first(&hub->udp_keys, hash); at; at = kith_table_next(at)) {
        kith_hub_client *client = KITH_OF(at, kith_hub_client, by_udp_key);
        if (memcmp(client->udp_key, key, KITH_RELAY_UDP_KEY_SIZE) == 0) return client;
    }
    return NULL;
}

static void bind_address(kith_hub *hub, const kith_packet *datagram, uint64_t now_ns)
{
    uint8_t out[KITH_RELAY_BOUND_MAX];
    uint64_t counter = 0;
    const uint8_t *key = kith_relay_read_bind(datagram->data, datagram->size, &counter);
    kith_hub_client *client = key ? by_udp_key(hub, key) : NULL;
    bool first = client && client->udp_remote.family == KITH_FAMILY_NONE;
    if (!client || (!first && counter <= client->udp_counter)) {
        hub->stats.binds_wrong++;
        return;
    }
    if (!source_answer(hub, &datagram->remote, now_ns)) return;
    if (first) client->udp_doubted = false;
    client->udp_counter = counter;
    client->udp_bound_ns = now_ns;
    client->udp_remote = datagram->remote;
    client->udp_local = datagram->local;
    hub->stats.binds++;
    (void)answer(hub, datagram, out, kith_relay_write_bound(counter, &datagram->remote, out));
}

/* ---- packets ---- */

static size_t count_of(const kith_packet *run) { return (run->size - 1) / run->segment + 1; }

/* Each datagram's id is replaced by the receiver's, where it stands. */
static void to_datagrams(kith_hub *hub, const kith_packet *run, const side *to)
{
    for (size_t at = 0; at < run->size; at += run->segment)
        memcpy(run->data + at + 1, to->udp_id, KITH_RELAY_UDP_ID_SIZE);
    put(hub, &(kith_packet){.local = to->client->udp_local,
                            .remote = to->client->udp_remote,
                            .ecn = run->ecn,
                            .data = run->data,
                            .size = run->size,
                            .segment = run->segment});
}

static void to_message(kith_hub *hub, const kith_packet *run, const side *to, uint64_t now_ns)
{
    size_t payload = run->size - count_of(run) * KITH_RELAY_PACKET_HEAD;
    message *m = message_new(hub, KITH_RELAY_DATA_HEAD + payload);
    if (!m) {
        hub->stats.dropped_memory_bytes += run->size;
        return;
    }
    uint8_t *out = message_data(hub, m);
    kith_relay_write_data_head(to->number, run->segment - KITH_RELAY_PACKET_HEAD, out);
    out += KITH_RELAY_DATA_HEAD;
    for (size_t at = 0; at < run->size; at += run->segment) {
        size_t size = run->size - at < run->segment ? run->size - at : run->segment;
        memcpy(out, run->data + at + KITH_RELAY_PACKET_HEAD, size - KITH_RELAY_PACKET_HEAD);
        out += size - KITH_RELAY_PACKET_HEAD;
    }
    m->size = m->room;
    queue_packets(to->client, m, now_ns);
}

/* Packets that begin with the same udp id, from its client's address: whoever saw an id cannot use it from elsewhere
 * unless he can forge addresses, too. */
static void packets(kith_hub *hub, const kith_packet *run, uint64_t now_ns)
{
    side *from = session_by_udp(hub, run->data + 1);
    kith_hub_client *client = from ? from->client : NULL;
    if (!client || !kith_addr_equal(&client->udp_remote, &run->remote)) {
        hub->stats.dropped_session_bytes += run->size;
        return;
    }
    if (hub_too_fast(client, now_ns)) {
        hub->stats.dropped_rate_bytes += run->size;
        return;
    }
    if (!hub_charge(client, run->size, now_ns)) return;
    side *to = session_other(from);
    client->udp_doubted = false;
    session_touch(from, now_ns);
    if (!to->client)
        hub->stats.dropped_session_bytes += run->size;
    else if (datagram_bound(to->client, now_ns))
        to_datagrams(hub, run, to);
    else
        to_message(hub, run, to, now_ns);
}

/* How many bytes of `run`, from `at` on, are packets with the same id; 0: there is none. */
static size_t same_id(const kith_packet *run, size_t at)
{
    const uint8_t *id = NULL;
    size_t end = at;
    while (end < run->size) {
        size_t size = run->size - end < run->segment ? run->size - end : run->segment;
        const uint8_t *found = kith_relay_read_packet_head(run->data + end, size);
        if (!found || (id && memcmp(id, found, KITH_RELAY_UDP_ID_SIZE) != 0)) break;
        if (!id) id = found;
        end += size;
    }
    return end - at;
}

static void other(kith_hub *hub, const kith_packet *datagram, uint64_t now_ns)
{
    if (datagram->data[0] == KITH_RELAY_UDP_BIND)
        bind_address(hub, datagram, now_ns);
    else if (kith_stun_is(datagram->data, datagram->size))
        stun(hub, datagram, now_ns);
    else
        hub->stats.dropped_datagrams++;
}

void kith_hub_datagrams(kith_hub *hub, const kith_packet *run, uint64_t now_ns)
{
    datagram_reset(hub);
    hub->stats.udp_received_bytes += run->size;
    hub->stats.udp_received_packets += count_of(run);
    for (size_t at = 0; at < run->size;) {
        kith_packet part = *run;
        part.data = run->data + at;
        part.size = same_id(run, at);
        bool found = part.size > 0;
        if (!found) part.size = run->size - at < run->segment ? run->size - at : run->segment;
        if (part.segment > part.size) part.segment = part.size;
        at += part.size;
        if (found)
            packets(hub, &part, now_ns);
        else
            other(hub, &part, now_ns);
    }
}

/* ---- from messages ---- */

/* The heads make a run longer: it may become two. */
void datagram_send(side *to, const kith_relay_run *run)
{
    kith_hub *hub = to->client->hub;
    size_t segment = run->segment + KITH_RELAY_PACKET_HEAD, most = KITH_PACKET_RUN_MAX / segment;
    for (size_t at = 0; most && at < run->size;) {
        size_t left = (run->size - at - 1) / run->segment + 1, count = left < most ? left : most;
        size_t payload = run->size - at < count * run->segment ? run->size - at : count * run->segment;
        size_t size = payload + count * KITH_RELAY_PACKET_HEAD;
        uint8_t *out = scratch(hub, size), *to_at = out;
        if (!out) return;
        for (size_t end = at + payload; at < end;) {
            size_t packet = end - at < run->segment ? end - at : run->segment;
            kith_relay_write_packet_head(to->udp_id, to_at);
            memcpy(to_at + KITH_RELAY_PACKET_HEAD, run->data + at, packet);
            to_at += KITH_RELAY_PACKET_HEAD + packet;
            at += packet;
        }
        put(hub, &(kith_packet){.local = to->client->udp_local,
                                .remote = to->client->udp_remote,
                                .data = out,
                                .size = size,
                                .segment = size < segment ? size : segment});
    }
}
