/* What waits for a client: packets, of which the oldest make way, and other messages, which must arrive. */
#include "relay/hub_internal.h"

#include "base/mem.h"

#include <string.h>

void queue_init(queue *q)
{
    kith_list_init(&q->all);
    kith_list_init(&q->packets);
}

uint8_t *message_data(const kith_hub *hub, message *m) { return m->bytes + hub->headroom; }

static bool is_packets(const message *m) { return m->packets.next != NULL; }

static void unlink_message(message *m)
{
    queue *q = &m->client->queue;
    if (is_packets(m))
        q->packet_bytes -= m->room;
    else
        q->control_bytes -= m->room;
    kith_list_remove(&m->link);
    kith_list_remove(&m->packets);
    kith_list_remove(&m->all);
    if (kith_list_empty(&q->all)) kith_list_remove(&m->client->stalling);
    m->client = NULL;
}

void message_free(kith_hub *hub, message *m)
{
    if (!m) return;
    if (m->client) unlink_message(m);
    hub->stats.memory_bytes -= m->room;
    kith_free(m);
}

/* Too much waits in all: what waits longest, anywhere, makes way, and that is with those who do not read. */
message *message_new(kith_hub *hub, size_t size)
{
    while (hub->stats.memory_bytes + size > hub->settings.memory_bytes) {
        kith_link *oldest = kith_list_first(&hub->packets);
        if (!oldest) return NULL;
        message *m = KITH_OF(oldest, message, all);
        hub->stats.dropped_memory_bytes += m->size;
        message_free(hub, m);
    }
    message *m = kith_malloc(sizeof *m + hub->headroom + size);
    if (!m) return NULL;
    memset(m, 0, sizeof *m);
    m->room = size;
    hub->stats.memory_bytes += size;
    return m;
}

static void put(kith_hub_client *client, message *m, uint64_t now_ns)
{
    if (kith_list_empty(&client->queue.all)) {
        client->progress_ns = now_ns;
        kith_list_append(&client->hub->stalling, &client->stalling);
        hub_ready(client);
    }
    m->client = client;
    kith_list_append(&client->queue.all, &m->link);
}

void queue_packets(kith_hub_client *client, message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    queue *q = &client->queue;
    if (client->stage != REGISTERED) {
        hub->stats.dropped_session_bytes += m->size;
        message_free(hub, m);
        return;
    }
    while (q->packet_bytes + m->room > hub->settings.queue_bytes && !kith_list_empty(&q->packets)) {
        message *oldest = KITH_OF(kith_list_first(&q->packets), message, packets);
        hub->stats.dropped_queue_bytes += oldest->size;
        message_free(hub, oldest);
    }
    put(client, m, now_ns);
    kith_list_append(&q->packets, &m->packets);
    kith_list_append(&hub->packets, &m->all);
    q->packet_bytes += m->room;
}

void queue_message(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    uint8_t bytes[KITH_RELAY_CONTROL_MAX];
    if (client->stage == CLOSING) return;
    size_t size = kith_relay_write(m, bytes, sizeof bytes);
    message *made = size ? message_new(hub, size) : NULL;
    if (!made) {
        hub->stats.memory_overflows++;
        hub_close(client, KITH_HUB_CLOSE_INTERNAL, 0, NULL, now_ns);
        return;
    }
    memcpy(message_data(hub, made), bytes, size);
    made->size = size;
    if (client->queue.control_bytes + size > hub->settings.control_bytes) {
        message_free(hub, made);
        hub->stats.control_overflows++;
        hub_close(client, KITH_HUB_CLOSE_POLICY, 0, NULL, now_ns);
        return;
    }
    put(client, made, now_ns);
    client->queue.control_bytes += made->room;
}

void queue_drop_packets(kith_hub_client *client)
{
    while (!kith_list_empty(&client->queue.packets))
        message_free(client->hub, KITH_OF(kith_list_first(&client->queue.packets), message, packets));
}

void queue_clear(kith_hub_client *client)
{
    while (!kith_list_empty(&client->queue.all))
        message_free(client->hub, KITH_OF(kith_list_first(&client->queue.all), message, link));
}

bool kith_hub_output(const kith_hub_client *client, uint8_t **data, size_t *size)
{
    if (kith_list_empty(&client->queue.all)) return false;
    message *m = KITH_OF(client->queue.all.head.next, message, link);
    *data = message_data(client->hub, m);
    *size = m->size;
    return true;
}

void kith_hub_sent(kith_hub_client *client, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    if (kith_list_empty(&client->queue.all)) return;
    message *m = KITH_OF(kith_list_first(&client->queue.all), message, link);
    hub->stats.websocket_sent_messages++;
    hub->stats.websocket_sent_bytes += m->size;
    message_free(hub, m);
    if (kith_list_empty(&client->queue.all)) return;
    client->progress_ns = now_ns;
    kith_list_remove(&client->stalling);
    kith_list_append(&hub->stalling, &client->stalling);
}
