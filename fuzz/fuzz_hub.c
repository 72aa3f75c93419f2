/* The hub under clients and datagrams that do anything: no crash, memory within its bounds, and nothing left in the
 * end.  The input is a program: each step an opcode, a client, and bytes. */
#include "relay/hub.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/keys.h"
#include "identity/fingerprint.h"

#include <stdlib.h>
#include <string.h>

#define CLIENTS   4
#define AUTHORITY "r"

typedef struct client {
    kith_hub_client *hub;
    uint8_t nonce[KITH_RELAY_NONCE_SIZE], udp_key[KITH_RELAY_UDP_KEY_SIZE], udp_id[KITH_RELAY_UDP_ID_SIZE];
} client;

static kith_hub *hub;
static uint64_t now;

static void take(client *c)
{
    uint8_t *data;
    size_t size;
    kith_relay_message m;
    while (kith_hub_output(c->hub, &data, &size)) {
        if (kith_relay_read(data, size, &m)) abort(); /* whatever it says is well formed */
        if (m.type == KITH_RELAY_CHALLENGE) memcpy(c->nonce, m.challenge.nonce, sizeof c->nonce);
        if (m.type == KITH_RELAY_REGISTERED) memcpy(c->udp_key, m.registered.udp_key, sizeof c->udp_key);
        if (m.type == KITH_RELAY_CONNECTED) memcpy(c->udp_id, m.connected.udp_id, sizeof c->udp_id);
        if (m.type == KITH_RELAY_INCOMING) memcpy(c->udp_id, m.incoming.udp_id, sizeof c->udp_id);
        kith_hub_sent(c->hub, now);
    }
}

static void enter(client *c, uint8_t number)
{
    uint8_t seed[32] = {number}, uuid[16] = {number}, key[32], text[KITH_RELAY_SIGNED_MAX], signature[64];
    uint8_t out[KITH_RELAY_CONTROL_MAX];
    kith_ed25519_public(seed, key);
    size_t size = kith_relay_signed(c->nonce, AUTHORITY, uuid, uuid, text);
    kith_ed25519_sign(seed, text, size, signature);
    size = kith_relay_write(
        &(kith_relay_message){.type = KITH_RELAY_REGISTER, .reg = {uuid, key, uuid, signature, NULL, 0}}, out,
        sizeof out);
    kith_hub_input(c->hub, out, size, 0, true, now);
}

/* To whichever instance, but those of `but` (as many as are whole). */
static void connect_to(client *c, uint8_t number, uint32_t session, const uint8_t *but, size_t but_size)
{
    uint8_t seed[32] = {number}, uuid[16] = {number}, key[32], target[32], out[KITH_RELAY_CONTROL_MAX];
    size_t count = but_size / KITH_RELAY_INSTANCE_SIZE;
    if (count > KITH_RELAY_BUT_MAX) count = KITH_RELAY_BUT_MAX;
    kith_ed25519_public(seed, key);
    kith_fingerprint(uuid, key, target);
    size_t size = kith_relay_write(&(kith_relay_message){.type = KITH_RELAY_CONNECT,
                                                         .session = session,
                                                         .connect = {.target = target, .but = but, .but_count = count}},
                                   out, sizeof out);
    kith_hub_input(c->hub, out, size, 0, true, now);
}

static void datagram(client *c, uint8_t how, const uint8_t *data, size_t size)
{
    static uint8_t run[KITH_PACKET_RUN_MAX];
    kith_packet out,
        p = {.remote = {.family = KITH_FAMILY_IPV4, .port = 1, .ip = {how & 1}}, .data = run, .size = size};
    if (size == 0) return;
    memcpy(run, data, size);
    p.segment = 1 + how % size;
    if ((p.size - 1) / p.segment >= KITH_PACKET_RUN_SEGMENTS) p.segment = p.size;
    if (how & 2 && size >= KITH_RELAY_BIND_SIZE) memcpy(run + 1, c->udp_key, sizeof c->udp_key);
    if (how & 4 && size > KITH_RELAY_PACKET_HEAD)
        for (size_t at = 0; at + KITH_RELAY_PACKET_HEAD < size; at += p.segment) {
            if (p.segment > KITH_RELAY_PACKET_HEAD) kith_relay_write_packet_head(c->udp_id, run + at);
        }
    kith_hub_datagrams(hub, &p, now);
    while (kith_hub_datagram(hub, &out))
        if (out.size == 0 || out.size > KITH_PACKET_RUN_MAX || out.segment == 0 || out.segment > out.size) abort();
}

static void step(client *c, uint8_t number, uint8_t op, uint8_t value, const uint8_t *data, size_t size)
{
    static const kith_addr from = {.family = KITH_FAMILY_IPV4, .port = 1, .ip = {192, 0, 2, 1}};
    if (!c->hub && kith_hub_accept(hub, &from, c, now, &c->hub)) return;
    switch (op % 9) {
    case 0: kith_hub_start(c->hub, AUTHORITY, now); break;
    case 1: kith_hub_input(c->hub, data, size, value, value == 0, now); break;
    case 2: take(c); break;
    case 3: enter(c, number); break;
    case 4: connect_to(c, value % CLIENTS, value, data, size); break;
    case 5: datagram(c, value, data, size); break;
    case 6:
        now += (uint64_t)value * value * 1000000;
        kith_hub_expire(hub, now);
        if (kith_hub_deadline_ns(hub) <= now) abort();
        break;
    case 7:
        kith_hub_closed(c->hub, now);
        c->hub = NULL;
        break;
    default: /* the usual beginning at once, so that more comes after it */
        kith_hub_start(c->hub, AUTHORITY, now);
        take(c);
        enter(c, number);
        take(c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[KITH_HUB_SEED_SIZE] = {3};
    client clients[CLIENTS] = {{0}};
    kith_relay_settings settings;
    if (kith_crypto_init()) return 0;
    kith_relay_settings_default(&settings);
    settings.queue_bytes = 2 * KITH_RELAY_MESSAGE_MAX;
    settings.control_bytes = 4 * KITH_RELAY_CONTROL_MAX;
    settings.memory_bytes = 1 << 20;
    settings.sessions_per_client = 5;
    now = 1000000000;
    if (kith_hub_new(&(kith_hub_config){.settings = &settings, .seed = seed, .software = "f"}, &hub)) return 0;
    kith_reader r = kith_reader_of(data, size);
    while (kith_reader_left(&r) >= 4) {
        uint8_t op = kith_read_u8(&r), who = kith_read_u8(&r), value = kith_read_u8(&r);
        size_t length = kith_read_u8(&r);
        if (length > kith_reader_left(&r)) length = kith_reader_left(&r);
        step(&clients[who % CLIENTS], who % CLIENTS, op, value, kith_read_view(&r, length), length);
        while (kith_hub_ready(hub)) {
        }
        if (kith_hub_stats_of(hub)->memory_bytes > settings.memory_bytes) abort();
    }
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].hub) kith_hub_closed(clients[i].hub, now);
    const kith_hub_stats *s = kith_hub_stats_of(hub);
    if (s->connections || s->registrations || s->mailboxes || s->sessions || s->paused || s->memory_bytes) abort();
    kith_hub_free(hub);
    if (kith_mem_live() != 0) abort();
    return 0;
}
