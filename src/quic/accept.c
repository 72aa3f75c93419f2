/* Packets of no connection: first Initials (answered, asked to prove their address, or ignored), other versions, and
 * packets of connections that we have forgotten. */
#include "quic/state.h"

#include "base/buf.h"
#include "quic/version.h"

#include <string.h>

#define GREASE             UINT32_C(0x0a1a2a3a) /* RFC 9000 section 15: a version that nobody has keeps others' parsers honest */
#define RESETS_PER_SECOND  100
#define ANSWERS_PER_SECOND 1000 /* of Version Negotiation and of Retry, each */
/* A stateless reset is shorter than what it answers, so that two endpoints cannot go on for ever (RFC 9000
 * section 10.3.3). */
#define RESET_SIZE_MIN 21
#define RESET_SIZE     43

typedef struct long_header {
    uint32_t version;
    const uint8_t *dcid, *scid;
    size_t dcid_size, scid_size;
} long_header;

/* The part that all versions share (RFC 8999). */
static bool parse_long(const uint8_t *datagram, size_t size, long_header *out)
{
    kith_reader r = kith_reader_of(datagram, size);
    kith_read_u8(&r);
    out->version = kith_read_u32(&r);
    out->dcid_size = kith_read_u8(&r);
    out->dcid = kith_read_view(&r, out->dcid_size);
    out->scid_size = kith_read_u8(&r);
    out->scid = kith_read_view(&r, out->scid_size);
    return !r.bad;
}

static void negotiate_version(kith_quic *quic, const kith_packet *packet, const long_header *hd)
{
    if (!kith_bucket_take(&quic->negotiations_sent, NGTCP2_SECONDS / ANSWERS_PER_SECOND, ANSWERS_PER_SECOND, quic->now))
        return;
    kith_reply *reply = kith__reply_new(quic, KITH_REPLY_STRANGER, NULL, &packet->local, &packet->remote);
    if (!reply) return;
    kith_writer w = kith_writer_of(reply->data, sizeof reply->data);
    uint8_t random;
    kith_rng_bytes(&quic->rng, &random, 1);
    kith_write_u8(&w, random | 0xc0);
    kith_write_u32(&w, 0);
    kith_write_u8(&w, (uint8_t)hd->scid_size);
    kith_write_bytes(&w, hd->scid, hd->scid_size);
    kith_write_u8(&w, (uint8_t)hd->dcid_size);
    kith_write_bytes(&w, hd->dcid, hd->dcid_size);
    kith_write_u32(&w, KITH_VERSION_WIRE);
    kith_write_u32(&w, GREASE);
    reply->size = kith_writer_size(&w);
}

static void send_retry(kith_quic *quic, const kith_packet *packet, const ngtcp2_pkt_hd *hd)
{
    uint8_t nonce[12], token[KITH_RETRY_TOKEN_MAX], key[32];
    size_t token_size;
    kith_cid original = {.size = (uint8_t)hd->dcid.datalen}, source = {.size = KITH_CID_SIZE};
    if (!kith_bucket_take(&quic->retries_sent, NGTCP2_SECONDS / ANSWERS_PER_SECOND, ANSWERS_PER_SECOND, quic->now))
        return;
    memcpy(original.bytes, hd->dcid.data, hd->dcid.datalen);
    kith_rng_bytes(&quic->rng, source.bytes, source.size);
    kith_rng_bytes(&quic->rng, nonce, sizeof nonce);
    if (kith_token_make(kith__quic_token_key(quic), nonce, &packet->remote, &original, &source, quic->now, token,
                        &token_size))
        return;
    kith_reply *reply = kith__reply_new(quic, KITH_REPLY_STRANGER, NULL, &packet->local, &packet->remote);
    if (!reply) return;
    kith_writer w = kith_writer_of(reply->data, sizeof reply->data);
    kith_write_u8(&w, 0xf0 | (nonce[0] & 0x0f));
    kith_write_u32(&w, KITH_VERSION_WIRE);
    kith_write_u8(&w, (uint8_t)hd->scid.datalen);
    kith_write_bytes(&w, hd->scid.data, hd->scid.datalen);
    kith_write_u8(&w, source.size);
    kith_write_bytes(&w, source.bytes, source.size);
    kith_write_bytes(&w, token, token_size);
    size_t size = kith_writer_size(&w);
    uint8_t *tag = kith_write_room(&w, KITH_RETRY_TAG_SIZE);
    kith_keys_retry(original.bytes, original.size, key);
    /* Without memory for the tag nothing is sent: a reply of size 0 is skipped. */
    if (tag && kith_keys_retry_tag(key, reply->data, size, tag) == KITH_OK) reply->size = kith_writer_size(&w);
}

static void first_initial(kith_quic *quic, const kith_packet *packet, const uint8_t *datagram, size_t size)
{
    ngtcp2_pkt_hd hd;
    kith_cid original, source;
    bool proven = false;
    kith_conn *conn;
    if (!quic->accept || size < KITH_INITIAL_SIZE_MIN || ngtcp2_accept(&hd, datagram, size) != 0) return;
    if (hd.scid.datalen > KITH_ID_MAX || hd.dcid.datalen > KITH_ID_MAX) return;
    source.size = (uint8_t)hd.dcid.datalen;
    memcpy(source.bytes, hd.dcid.data, hd.dcid.datalen);
    /* A token that is not good is as if there was none: it may be of another life of ours. */
    if (hd.tokenlen)
        proven = kith_token_check(kith__quic_token_key(quic), hd.token, hd.tokenlen, &packet->remote, &source,
                                  quic->now, &original) == KITH_OK;
    if (!proven && (quic->always_retry || quic->half_open >= quic->retry_above)) {
        send_retry(quic, packet, &hd);
        return;
    }
    kith_accepted from = {
        .local = &packet->local, .remote = &packet->remote, .initial = &hd, .original = proven ? &original : NULL};
    if (kith__conn_accept(quic, &from, &conn)) return;
    kith__conn_read(conn, packet, datagram, size);
    if (conn->wants_retry) send_retry(quic, packet, &hd);
}

static void reset_unknown(kith_quic *quic, const kith_packet *packet, const uint8_t *datagram, size_t size)
{
    if (size <= RESET_SIZE_MIN ||
        !kith_bucket_take(&quic->resets_sent, NGTCP2_SECONDS / RESETS_PER_SECOND, RESETS_PER_SECOND, quic->now))
        return;
    kith_reply *reply = kith__reply_new(quic, KITH_REPLY_STRANGER, NULL, &packet->local, &packet->remote);
    if (!reply) return;
    reply->size = size - 1 < RESET_SIZE ? size - 1 : RESET_SIZE;
    kith_rng_bytes(&quic->rng, reply->data, reply->size);
    reply->data[0] = (uint8_t)(0x40 | (reply->data[0] & 0x3f));
    kith_token_reset(kith__quic_reset_key(quic), datagram + 1, KITH_CID_SIZE,
                     reply->data + reply->size - KITH_RESET_TOKEN_SIZE);
}

void kith__quic_stranger(kith_quic *quic, const kith_packet *packet, uint8_t *datagram, size_t size)
{
    long_header hd;
    if (!(datagram[0] & 0x80)) {
        reset_unknown(quic, packet, datagram, size);
        return;
    }
    if (!parse_long(datagram, size, &hd) || hd.version == 0) return;
    if (hd.version != KITH_VERSION_WIRE) {
        if (quic->accept && size >= KITH_INITIAL_SIZE_MIN) negotiate_version(quic, packet, &hd);
        return;
    }
    size_t whole = size;
    size = kith_version_inbound(datagram, size);
    /* The datagram's size counts, not what is left of it: padding may follow as anything. */
    if (size && whole >= KITH_INITIAL_SIZE_MIN) first_initial(quic, packet, datagram, size);
}
