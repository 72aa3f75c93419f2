#include "quic/state.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/secret.h"
#include "quic/version.h"

#include <string.h>

#define PACKET_DEFAULT 1452 /* Ethernet less IPv6 and UDP headers */
#define SECRET_SIZE    32

enum { SECRET_STATIC, SECRET_RESET, SECRET_TOKEN, SECRETS };

void kith__quic_clock(kith_quic *quic, uint64_t now_ns)
{
    if (now_ns > quic->now) quic->now = now_ns;
}

const uint8_t *kith__quic_static_secret(const kith_quic *quic) { return quic->secrets + SECRET_STATIC * SECRET_SIZE; }
const uint8_t *kith__quic_reset_key(const kith_quic *quic) { return quic->secrets + SECRET_RESET * SECRET_SIZE; }
const uint8_t *kith__quic_token_key(const kith_quic *quic) { return quic->secrets + SECRET_TOKEN * SECRET_SIZE; }

/* ---- making ---- */

static void derive(const uint8_t *from, const char *label, uint8_t *out)
{
    static const uint8_t salt[KITH_HASH_SIZE];
    kith_hkdf_blake2s(salt, from, SECRET_SIZE, label, strlen(label), 1, (uint8_t(*)[KITH_HASH_SIZE])out);
}

static kith_err make_secrets(kith_quic *quic, const kith_quic_config *config)
{
    quic->secrets = kith_secret_new(SECRETS * SECRET_SIZE);
    if (!quic->secrets) return KITH_ERR_NOMEM;
    memcpy(quic->secrets, config->static_secret, SECRET_SIZE);
    /* From the static key: so that after a restart we can still reset what we have forgotten. */
    derive(config->static_secret, "kith stateless reset", quic->secrets + SECRET_RESET * SECRET_SIZE);
    derive(config->seed, "kith retry token", quic->secrets + SECRET_TOKEN * SECRET_SIZE);
    return KITH_OK;
}

static kith_err make_maps(kith_quic *quic)
{
    uint8_t key[16];
    kith_idmap **maps[] = {&quic->cids, &quic->resets, &quic->probes};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        kith_rng_bytes(&quic->rng, key, sizeof key);
        kith_err err = kith_idmap_new(key, maps[i]);
        if (err) return err;
    }
    quic->held.data = kith_malloc(quic->packet_max);
    return quic->held.data ? KITH_OK : KITH_ERR_NOMEM;
}

kith_err kith_quic_new(const kith_quic_config *config, kith_quic **out)
{
    if (!config->static_secret || (config->packet_max && config->packet_max < KITH_INITIAL_SIZE_MIN) ||
        config->packet_max > KITH_PACKET_RUN_MAX)
        return KITH_ERR_ARG;
    kith_err err = kith_crypto_init();
    if (err) return err;
    kith_quic *quic = kith_calloc(1, sizeof *quic);
    if (!quic) return KITH_ERR_NOMEM;
    kith_list *lists[] = {&quic->conns,         &quic->dirty,  &quic->conn_events,
                          &quic->stream_events, &quic->closed, &quic->replies};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) kith_list_init(lists[i]);
    quic->accept = config->accept;
    quic->always_retry = config->always_retry;
    quic->over_tcp = config->over_tcp;
    quic->idle_ns = config->idle_ns ? config->idle_ns : KITH_QUIC_IDLE_NS;
    quic->keep_alive_ns = config->keep_alive_ns ? config->keep_alive_ns : KITH_QUIC_KEEP_ALIVE_NS;
    quic->conns_max = config->conns_max ? config->conns_max : KITH_QUIC_CONNS_MAX;
    quic->retry_above = config->retry_above ? config->retry_above : KITH_QUIC_RETRY_ABOVE;
    quic->packet_max = config->packet_max ? config->packet_max : PACKET_DEFAULT;
    kith_spares_init(&quic->spares);
    kith__paths_make_up(quic);
    kith_rng_init(&quic->rng, config->seed);
    err = make_secrets(quic, config);
    if (!err) err = make_maps(quic);
    if (err) {
        kith_quic_free(quic);
        return err;
    }
    *out = quic;
    return KITH_OK;
}

void kith_quic_free(kith_quic *quic)
{
    kith_link *link;
    if (!quic) return;
    while ((link = kith_list_first(&quic->conns))) kith__conn_destroy(KITH_OF(link, kith_conn, in_conns));
    kith_spares_done(&quic->spares);
    kith_deadlines_done(&quic->deadlines);
    kith_idmap_free(quic->cids);
    kith_idmap_free(quic->resets);
    kith_idmap_free(quic->probes);
    kith__reply_done(quic);
    kith_free(quic->held.data);
    kith_secret_free(quic->secrets);
    kith_rng_done(&quic->rng);
    kith_free(quic);
}

kith_err kith_quic_dial(kith_quic *quic, const kith_addr *remote, const uint8_t *expected_static, uint64_t now_ns,
                        kith_conn **out)
{
    kith__quic_clock(quic, now_ns);
    return kith__conn_dial(quic, remote, expected_static, out);
}

/* ---- input ---- */

static void long_packet(kith_quic *quic, const kith_packet *packet, uint8_t *datagram, size_t size)
{
    if (size < 7 || size < 6 + (size_t)datagram[5] + 1) return;
    bool negotiation = !(datagram[1] | datagram[2] | datagram[3] | datagram[4]);
    kith_conn *conn = kith_idmap_find(quic->cids, datagram + 6, datagram[5]);
    if (!conn) {
        kith__quic_stranger(quic, packet, datagram, size);
        return;
    }
    if (negotiation && !conn->dialler) return;
    size = kith_version_inbound(datagram, size);
    if (size) kith__conn_read(conn, packet, datagram, size);
}

/* The packets of a run are nearly always one connection's: whose the last id was. */
typedef struct last_found {
    kith_conn *conn;
    uint8_t cid[KITH_CID_SIZE];
} last_found;

static kith_conn *find_short(kith_quic *quic, const uint8_t *cid, last_found *last)
{
    if (last->conn && memcmp(last->cid, cid, KITH_CID_SIZE) == 0) return last->conn;
    last->conn = kith_idmap_find(quic->cids, cid, KITH_CID_SIZE);
    memcpy(last->cid, cid, KITH_CID_SIZE);
    return last->conn;
}

static void short_packet(kith_quic *quic, const kith_packet *packet, uint8_t *datagram, size_t size, last_found *last)
{
    if (!(datagram[0] & 0x40) || size < 1 + KITH_CID_SIZE) return;
    kith_conn *conn = find_short(quic, datagram + 1, last);
    if (!conn && size >= 1 + 4 + KITH_RESET_TOKEN_SIZE)
        conn = kith_idmap_find(quic->resets, datagram + size - KITH_RESET_TOKEN_SIZE, KITH_RESET_TOKEN_SIZE);
    if (conn)
        kith__conn_read(conn, packet, datagram, size);
    else
        kith__quic_stranger(quic, packet, datagram, size);
}

void kith_quic_input(kith_quic *quic, const kith_packet *packet, uint64_t now_ns)
{
    last_found last = {0};
    kith__quic_clock(quic, now_ns);
    for (size_t at = 0; at < packet->size;) {
        size_t size = packet->size - at;
        uint8_t *datagram = packet->data + at;
        if (packet->segment && packet->segment < size) size = packet->segment;
        at += size;
        if (datagram[0] == KITH_PROBE_BYTE)
            kith__paths_input(quic, packet, datagram, size);
        else if (datagram[0] & 0x80)
            long_packet(quic, packet, datagram, size);
        else
            short_packet(quic, packet, datagram, size, &last);
    }
}

void kith_quic_too_big(kith_quic *quic, const kith_addr *remote, size_t size)
{
    if (size <= KITH_INITIAL_SIZE_MIN) return;
    KITH_EACH (link, &quic->conns) {
        kith_conn *conn = KITH_OF(link, kith_conn, in_conns);
        kith_path *path = &conn->paths[conn->path];
        /* A probe for a larger MTU is lost by itself; a size that was good before is not any more. */
        if (kith_addr_equal(&path->remote, remote) && size <= ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng))
            path->cap = KITH_INITIAL_SIZE_MIN;
    }
}

/* ---- output ---- */

static bool output_held(kith_quic *quic, kith_packet *out)
{
    if (!quic->held.there) return false;
    quic->held.there = false;
    out->local = quic->held.local;
    out->remote = quic->held.remote;
    out->ecn = quic->held.ecn;
    out->size = out->segment = quic->held.size;
    memcpy(out->data, quic->held.data, quic->held.size);
    return true;
}

bool kith_quic_output(kith_quic *quic, kith_packet *out, uint64_t now_ns)
{
    kith_link *link;
    kith__quic_clock(quic, now_ns);
    if (kith__reply_output(quic, out) || output_held(quic, out)) return true;
    while ((link = kith_list_first(&quic->dirty))) {
        kith_conn *conn = KITH_OF(link, kith_conn, in_dirty);
        bool some = !conn->doomed && kith__conn_output(conn, out);
        kith_list_remove(&conn->in_dirty);
        if (some) {
            kith_list_append(&quic->dirty, &conn->in_dirty); /* behind the others: a run each */
            return true;
        }
        if (conn->doomed)
            kith__conn_destroy(conn);
        else
            kith__conn_set_deadline(conn);
    }
    /* The last ones may have left goodbyes. */
    return kith__reply_output(quic, out);
}

/* ---- time ---- */

uint64_t kith_quic_deadline_ns(const kith_quic *quic)
{
    const kith_deadline *first = kith_deadlines_first(&quic->deadlines);
    return first ? first->at_ns : UINT64_MAX;
}

void kith_quic_expire(kith_quic *quic, uint64_t now_ns)
{
    kith_deadline *first;
    kith__quic_clock(quic, now_ns);
    while ((first = kith_deadlines_first(&quic->deadlines)) && first->at_ns <= quic->now)
        kith__conn_expire(KITH_OF(first, kith_conn, deadline));
}
