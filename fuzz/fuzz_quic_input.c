/* An endpoint and a hostile peer.  The peer is a true one at first, so that every state is reached; then the input says
 * what it does: sealed packets with frames from the input at any level (a peer that holds the keys can send anything),
 * raw datagrams, probes, its true packets in any order or not at all, from several addresses, while time passes and the
 * victim's application does things, too.
 *
 *     input: mode (bit 0: the victim dialled; bit 1: established to begin with; bit 2: with streams; bit 3: Retry),
 * operations
 *
 * Nothing may abort, leak or loop, and what is sent must not exceed limits. */
#include "quic/state.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/keys.h"
#include "crypto/noise.h"
#include "quic/version.h"

#include <stdlib.h>
#include <string.h>

#define MS           UINT64_C(1000000)
#define QUEUE_MAX    64
#define STREAMS_MOST 8
#define STEPS_MAX    400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct datagram {
    kith_addr from, to;
    size_t size;
    uint8_t data[2048];
} datagram;

typedef struct world {
    kith_quic *victim, *peer;
    kith_conn *victim_conn, *peer_conn;
    bool victim_dialled;
    uint64_t now, pn;
    kith_addr victim_addr, peer_addrs[3];
    datagram *queues[2]; /* [0] to the victim, [1] to the peer */
    size_t counts[2];
    kith_stream *streams[2 * STREAMS_MOST];
    size_t stream_count;
    ngtcp2_cid first_dcid;
    bool has_first;
    uint8_t *memory;
} world;

static kith_addr address(uint8_t last)
{
    return (kith_addr){.family = KITH_FAMILY_IPV4, .port = 1000, .ip = {10, 0, 0, last}};
}

static void keep(world *w, int to, const kith_addr *from, const kith_addr *at, const uint8_t *data, size_t size)
{
    if (w->counts[to] == QUEUE_MAX || size > sizeof w->queues[0]->data) return;
    datagram *d = &w->queues[to][w->counts[to]++];
    *d = (datagram){.from = *from, .to = *at, .size = size};
    memcpy(d->data, data, size);
}

static void take_events(world *w, bool of_victim)
{
    kith_quic_event e;
    kith_quic *q = of_victim ? w->victim : w->peer;
    while (kith_quic_event_take(q, &e)) {
        if (e.kind == KITH_QUIC_ACCEPTED) {
            if (of_victim)
                w->victim_conn = e.conn;
            else
                w->peer_conn = e.conn;
        }
        if (of_victim && e.kind == KITH_QUIC_OPENED && w->stream_count < 2 * STREAMS_MOST)
            w->streams[w->stream_count++] = e.stream;
        size_t size;
        if (e.kind == KITH_QUIC_DATAGRAM)
            for (uint8_t *d; (d = kith_conn_datagram_take(e.conn, &size));) kith_free(d);
    }
}

static void take_output(world *w, bool of_victim)
{
    kith_packet p = {.data = w->memory};
    kith_quic *q = of_victim ? w->victim : w->peer;
    for (int runs = 0; kith_quic_output(q, &p, w->now); runs++) {
        if (runs > 2000 || !p.segment || p.size > KITH_PACKET_RUN_MAX) abort();
        for (size_t at = 0; at < p.size; at += p.segment) {
            size_t size = p.size - at < p.segment ? p.size - at : p.segment;
            const kith_addr *from = of_victim ? &w->victim_addr : p.local.family ? &p.local : &w->peer_addrs[0];
            keep(w, of_victim, from, &p.remote, p.data + at, size);
        }
    }
    take_events(w, of_victim);
}

static void give(world *w, bool to_victim, const kith_addr *from, const kith_addr *at, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (!copy || !size) {
        free(copy);
        return;
    }
    memcpy(copy, data, size);
    kith_packet p = {.local = *at, .remote = *from, .data = copy, .size = size, .segment = size};
    kith_quic_input(to_victim ? w->victim : w->peer, &p, w->now);
    free(copy);
    take_events(w, to_victim);
}

static void deliver_queue(world *w, bool to_victim)
{
    int queue = !to_victim;
    size_t count = w->counts[queue];
    datagram *all = w->queues[queue];
    for (size_t i = 0; i < count; i++) give(w, to_victim, &all[i].from, &all[i].to, all[i].data, all[i].size);
    w->counts[queue] = 0;
}

static void pass_time(world *w, uint64_t ns)
{
    w->now += ns;
    if (kith_quic_deadline_ns(w->victim) <= w->now) kith_quic_expire(w->victim, w->now);
    if (kith_quic_deadline_ns(w->peer) <= w->now) kith_quic_expire(w->peer, w->now);
    take_events(w, true);
    take_events(w, false);
}

static void exchange(world *w)
{
    take_output(w, true);
    take_output(w, false);
    pass_time(w, 10 * MS);
    deliver_queue(w, true);
    deliver_queue(w, false);
    take_output(w, true);
    take_output(w, false);
}

/* ---- sealed packets with frames of our own ---- */

static bool secret_of(world *w, kith_level level, uint8_t out[static 32])
{
    if (level == KITH_LEVEL_INITIAL) {
        kith_keys_initial(w->first_dcid.data, w->first_dcid.datalen, out);
        return w->has_first;
    }
    return w->peer_conn && w->peer_conn->hyphae && kith_hyphae_secret(w->peer_conn->hyphae, level, out);
}

static size_t write_header(world *w, kith_level level, size_t payload, uint8_t bits, uint8_t *out, size_t room)
{
    kith_writer h = kith_writer_of(out, room);
    const ngtcp2_cid *dcid = ngtcp2_conn_get_dcid(w->peer_conn->ng);
    ngtcp2_cid scid = w->peer_conn->scid;
    if (level == KITH_LEVEL_ONE_RTT) {
        kith_write_u8(&h, (uint8_t)(0x43 | (bits & 0x24)));
        kith_write_bytes(&h, dcid->data, dcid->datalen);
    } else {
        kith_write_u8(&h, level == KITH_LEVEL_INITIAL ? 0xc3 : 0xe3);
        kith_write_u32(&h, KITH_VERSION_WIRE);
        kith_write_u8(&h, (uint8_t)dcid->datalen);
        kith_write_bytes(&h, dcid->data, dcid->datalen);
        kith_write_u8(&h, (uint8_t)scid.datalen);
        kith_write_bytes(&h, scid.data, scid.datalen);
        if (level == KITH_LEVEL_INITIAL) kith_write_u8(&h, 0);
        kith_write_u16(&h, (uint16_t)(0x4000 | (payload + 16 + 4)));
    }
    kith_write_u32(&h, (uint32_t)w->pn);
    return h.bad ? 0 : kith_writer_size(&h);
}

static void send_frames(world *w, kith_level level, uint8_t bits, const kith_addr *from, const uint8_t *frames,
                        size_t size)
{
    uint8_t packet[1500] = {0}, secret[32], nonce[12], mask[5], padded[1300] = {0};
    kith_level_keys keys;
    if (!w->peer_conn || !w->peer_conn->ng || !secret_of(w, level, secret)) return;
    size_t whole = size;
    if (level == KITH_LEVEL_INITIAL && !w->victim_dialled && whole < 1162)
        whole = 1162; /* the datagram must be 1,200 long */
    if (whole < 4) whole = 4;
    if (whole > 1300 || size > 1300) return;
    if (size) memcpy(padded, frames, size);
    kith_keys_of_level(secret, &keys);
    size_t header = write_header(w, level, whole, bits, packet, sizeof packet);
    if (!header) return;
    kith_noise_nonce(w->pn, nonce);
    const uint8_t *key = w->victim_dialled ? keys.resp_data : keys.init_data,
                  *hp = w->victim_dialled ? keys.resp_hp : keys.init_hp;
    if (kith_aead_seal_once(key, nonce, packet, header, padded, whole, packet + header)) return;
    kith_hp_mask(hp, packet + header, mask);
    packet[0] ^= mask[0] & (packet[0] & 0x80 ? 0x0f : 0x1f);
    for (size_t i = 0; i < 4; i++) packet[header - 4 + i] ^= mask[1 + i];
    w->pn++;
    give(w, true, from, &w->victim_addr, packet, header + whole + 16);
}

static void send_probe(world *w, kith_reader *r, const kith_addr *from)
{
    uint8_t out[KITH_PROBE_SIZE];
    kith_probe probe = {.kind = (kith_probe_kind)(kith_read_u8(r) % 5), .path = kith_read_u8(r)};
    if (!w->peer_conn || !w->peer_conn->established) return;
    kith_read_copy(r, probe.echo, 2);
    size_t size = probe.kind % 2 ? sizeof out : KITH_PROBE_SIZE_MIN + probe.path;
    if (kith_probe_seal(w->peer_conn->probe_keys[0], w->peer_conn->probe_ids[0], w->peer_conn->probe_sent++, &probe,
                        size, out))
        return;
    give(w, true, from, &w->victim_addr, out, size);
}

/* ---- the victim's application ---- */

static void application(world *w, kith_reader *r)
{
    static const uint8_t bytes[5000];
    uint8_t what = kith_read_u8(r), which = kith_read_u8(r);
    kith_stream *s = w->stream_count ? w->streams[which % w->stream_count] : NULL;
    const uint8_t *data;
    size_t size;
    bool fin;
    uint32_t path;
    kith_err err = KITH_OK;
    if (!w->victim_conn) return;
    switch (what % 12) {
    case 0:
        if (w->stream_count < 2 * STREAMS_MOST && kith_stream_open(w->victim_conn, which & 1, &s) == KITH_OK)
            w->streams[w->stream_count++] = s;
        break;
    case 1: err = s ? kith_stream_write(s, bytes, sizeof bytes) : KITH_OK; break;
    case 2: err = s ? kith_stream_lend(s, bytes, sizeof bytes) : KITH_OK; break;
    case 3: err = s ? kith_stream_finish(s) : KITH_OK; break;
    case 4:
        while (s && kith_stream_peek(s, &data, &size, &fin)) kith_stream_consume(s, size);
        break;
    case 5:
        if (s) kith_stream_reset(s, 7);
        break;
    case 6:
        if (s) kith_stream_stop(s, 8);
        break;
    case 7:
        if (s) {
            w->streams[which % w->stream_count] = w->streams[w->stream_count - 1];
            w->stream_count--;
            kith_stream_free(s);
        }
        break;
    case 8: err = kith_conn_update_keys(w->victim_conn, w->now); break;
    case 9: err = kith_conn_probe(w->victim_conn, NULL, &w->peer_addrs[which % 3], w->now, &path); break;
    case 10: err = kith_conn_move(w->victim_conn, which % KITH_CONN_PATHS_MAX, which & 0x80, w->now); break;
    default:
        if (which < 16) kith_conn_close(w->victim_conn, which, "bye", w->now);
    }
    (void)err;
}

static void one_step(world *w, kith_reader *r)
{
    uint8_t op = kith_read_u8(r);
    const kith_addr *from = &w->peer_addrs[(op >> 6) % 3];
    size_t size;
    switch (op & 0x0f) {
    case 0: exchange(w); break;
    case 1: take_output(w, true); break;
    case 2: pass_time(w, (uint64_t)kith_read_u8(r) * kith_read_u8(r) * MS); break;
    case 3: deliver_queue(w, true); break;
    case 4: deliver_queue(w, false); break;
    case 5: w->counts[0] = w->counts[1] = 0; break;
    case 6: application(w, r); break;
    case 7: send_probe(w, r, from); break;
    case 8: w->pn += (uint64_t)kith_read_u8(r) << (kith_read_u8(r) % 20); break;
    case 9:
        size = kith_read_u16(r) % 1400;
        if (size > kith_reader_left(r)) size = kith_reader_left(r);
        give(w, true, from, &w->victim_addr, kith_read_view(r, size), size);
        break;
    default: {
        kith_level level = (op & 0x0f) == 10   ? KITH_LEVEL_INITIAL
                           : (op & 0x0f) == 11 ? KITH_LEVEL_HANDSHAKE
                                               : KITH_LEVEL_ONE_RTT;
        uint8_t bits = (op & 0x0f) == 15 ? kith_read_u8(r) : 0;
        size = kith_read_u8(r);
        if (size == 255) size = 1200;
        if (size > kith_reader_left(r)) size = kith_reader_left(r);
        send_frames(w, level, bits, from, kith_read_view(r, size), size);
    }
    }
}

static void begin(world *w, unsigned mode)
{
    static const uint8_t secrets[2][32] = {{1}, {2}};
    kith_quic_config config = {.static_secret = secrets[0], .accept = true, .seed = {1}, .always_retry = mode & 8};
    *w = (world){.victim_addr = address(1), .victim_dialled = mode & 1, .now = 1000 * 1000 * MS, .pn = 1000};
    for (uint8_t i = 0; i < 3; i++) w->peer_addrs[i] = address((uint8_t)(2 + i));
    w->memory = malloc(KITH_PACKET_RUN_MAX);
    for (int i = 0; i < 2; i++) w->queues[i] = malloc(QUEUE_MAX * sizeof(datagram));
    if (!w->memory || !w->queues[0] || !w->queues[1] || kith_quic_new(&config, &w->victim)) abort();
    config.static_secret = secrets[1];
    config.seed[0] = 2;
    if (kith_quic_new(&config, &w->peer)) abort();
    kith_err err = w->victim_dialled ? kith_quic_dial(w->victim, &w->peer_addrs[0], NULL, w->now, &w->victim_conn)
                                     : kith_quic_dial(w->peer, &w->victim_addr, NULL, w->now, &w->peer_conn);
    if (err) abort();
    w->first_dcid = *ngtcp2_conn_get_dcid((w->victim_dialled ? w->victim_conn : w->peer_conn)->ng);
    w->has_first = !(mode & 8);
    if (!(mode & 2)) return;
    for (int i = 0; i < 6; i++) exchange(w);
    if (!w->victim_conn || !w->peer_conn) abort();
    if (!(mode & 4)) return;
    for (int i = 0; i < 4; i++) {
        kith_stream *s;
        static const uint8_t bytes[3000];
        if (kith_stream_open(i & 1 ? w->peer_conn : w->victim_conn, i & 2, &s)) abort();
        if (kith_stream_write(s, bytes, sizeof bytes)) abort();
        if (!(i & 1)) w->streams[w->stream_count++] = s;
    }
    for (int i = 0; i < 3; i++) exchange(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world w;
    kith_reader r = kith_reader_of(data, size);
    int64_t live = kith_mem_live();
    begin(&w, kith_read_u8(&r));
    for (int steps = 0; kith_reader_left(&r) && steps < STEPS_MAX; steps++) one_step(&w, &r);
    exchange(&w);
    for (int i = 0; i < 40; i++) { /* all comes to an end, by time-outs if need be */
        take_output(&w, true);
        pass_time(&w, 1000 * MS);
        w.counts[0] = w.counts[1] = 0;
    }
    kith_quic_free(w.victim);
    kith_quic_free(w.peer);
    free(w.memory);
    free(w.queues[0]);
    free(w.queues[1]);
    if (kith_mem_live() != live) abort();
    return 0;
}
