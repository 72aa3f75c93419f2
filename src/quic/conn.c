#include "quic/state.h"

#include "base/mem.h"
#include "quic/version.h"

#include <string.h>

#define HANDSHAKE_NS       (10 * NGTCP2_SECONDS)
#define INITIAL_RTT_NS     (50 * NGTCP2_MILLISECONDS) /* moves among paths stall less than with RFC 9002's 333 ms */
#define ACTIVE_IDS_KEPT    8                          /* ngtcp2 asserts on more */
#define ACK_PACKETS        4 /* for so many one acknowledgement; BBR does not need one for each two, and wakes less */
#define STREAM_WINDOW      (1u << 20)
#define DATAGRAM_FRAME_MAX 65535 /* whatever fits a packet: RFC 9221 section 3 */
#define CONN_WINDOW        (3u << 19)

/* Sizes to try, best first: Ethernet (IPv6, then with PPPoE and a tunnel), 1,280-byte links.  Jumbo and more only where
 * asked for. */
static const uint16_t mtu_probes[] = {0 /* packet_max */, 8932, 1452, 1404, 1342, 1232};

void kith__conn_dirty(kith_conn *conn)
{
    if (!conn->in_dirty.next) kith_list_append(&conn->quic->dirty, &conn->in_dirty);
}

/* When it counts as silent; UINT64_MAX: it owes nothing, or that was said. */
static uint64_t silent_at(const kith_conn *conn, const ngtcp2_conn_info *info)
{
    uint64_t limit = KITH_CONN_SILENT_RTTS * info->smoothed_rtt;
    if (limit < KITH_CONN_SILENT_MIN_NS) limit = KITH_CONN_SILENT_MIN_NS;
    if (limit > KITH_CONN_SILENT_MAX_NS) limit = KITH_CONN_SILENT_MAX_NS;
    if (info->min_rtt != UINT64_MAX && limit < info->min_rtt + info->min_rtt / 2) /* it may still be on its way */
        limit = info->min_rtt + info->min_rtt / 2;
    return conn->owed_ns && conn->established && !conn->silent_said ? conn->owed_ns + limit : UINT64_MAX;
}

static void check_silence(kith_conn *conn)
{
    ngtcp2_conn_info info;
    if (!conn->owed_ns || !conn->established || conn->silent_said) return;
    ngtcp2_conn_get_conn_info(conn->ng, &info);
    if (!info.bytes_in_flight || silent_at(conn, &info) > conn->quic->now) return;
    conn->silent_said = true;
    kith__event_conn(conn, KITH_QUIC_SILENT);
}

void kith__conn_set_deadline(kith_conn *conn)
{
    uint64_t at = UINT64_MAX;
    if (conn->state == KITH_CONN_CLOSING || conn->state == KITH_CONN_DRAINING) at = conn->closing_until;
    if (conn->state == KITH_CONN_LIVE) {
        ngtcp2_conn_info info;
        ngtcp2_conn_get_conn_info(conn->ng, &info);
        if (!info.bytes_in_flight) conn->unanswered_ns = conn->owed_ns = 0;
        if (info.bytes_in_flight && !conn->owed_ns) conn->owed_ns = conn->quic->now;
        uint64_t paths = kith__paths_deadline(conn), silent = silent_at(conn, &info);
        at = ngtcp2_conn_get_expiry(conn->ng);
        if (paths < at) at = paths;
        if (silent < at) at = silent;
    }
    /* ngtcp2 may name a time that has come although it just had its turn. */
    if (at <= conn->quic->now) at = conn->quic->now + 1;
    kith_deadlines_set(&conn->quic->deadlines, &conn->deadline, at);
}

/* ---- making ---- */

static kith_err conn_new(kith_quic *quic, kith_conn **out)
{
    if (quic->conn_count >= quic->conns_max) return KITH_ERR_LIMIT;
    kith_conn *conn = kith_calloc(1, sizeof *conn);
    if (!conn) return KITH_ERR_NOMEM;
    kith_err err = kith_deadlines_add(&quic->deadlines, &conn->deadline);
    if (err) {
        kith_free(conn);
        return err;
    }
    conn->quic = quic;
    conn->last_received_ns = quic->now;
    kith_list_init(&conn->ids);
    kith_list_init(&conn->keys);
    kith_list_init(&conn->streams);
    kith_list_init(&conn->sendable);
    kith__datagrams_init(conn);
    kith_list_append(&quic->conns, &conn->in_conns);
    quic->conn_count++;
    *out = conn;
    return KITH_OK;
}

typedef struct setup {
    ngtcp2_callbacks callbacks;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    const ngtcp2_path *path;
    ngtcp2_cid dcid, scid;
    uint16_t probes[sizeof mtu_probes / sizeof *mtu_probes];
} setup;

static void set_up(kith_conn *conn, setup *s)
{
    kith_quic *quic = conn->quic;
    *s = (setup){0};
    kith__callbacks_common(&s->callbacks);
    kith__callbacks_handshake(&s->callbacks);
    kith__callbacks_protect(&s->callbacks);
    s->path = &quic->made_up[0].path;
    s->scid.datalen = KITH_CID_SIZE;
    kith_rng_bytes(&quic->rng, s->scid.data, s->scid.datalen);
    conn->scid = s->scid;
    ngtcp2_settings_default(&s->settings);
    s->settings.initial_ts = quic->now;
    s->settings.initial_rtt = INITIAL_RTT_NS;
    s->settings.handshake_timeout = HANDSHAKE_NS;
    s->settings.cc_algo = quic->over_tcp ? NGTCP2_CC_ALGO_CUBIC : NGTCP2_CC_ALGO_BBR;
    s->settings.ack_thresh = ACK_PACKETS;
    s->settings.rand_ctx.native_handle = &quic->rng;
    s->settings.max_stream_window = kith__window_max(quic);
    s->settings.max_window = KITH_QUIC_CONN_WINDOW_MAX;
    s->settings.max_tx_udp_payload_size = quic->packet_max;
    if (quic->packet_max > KITH_INITIAL_SIZE_MIN) { /* else there is nothing to probe for */
        memcpy(s->probes, mtu_probes, sizeof s->probes);
        s->probes[0] = (uint16_t)quic->packet_max;
        s->settings.pmtud_probes = s->probes;
        s->settings.pmtud_probeslen = sizeof s->probes / sizeof *s->probes;
    }
    ngtcp2_transport_params_default(&s->params);
    s->params.initial_max_stream_data_bidi_local = STREAM_WINDOW;
    s->params.initial_max_stream_data_bidi_remote = STREAM_WINDOW;
    s->params.initial_max_stream_data_uni = STREAM_WINDOW;
    s->params.initial_max_data = CONN_WINDOW;
    s->params.initial_max_streams_bidi = KITH_QUIC_STREAMS_MAX;
    s->params.initial_max_streams_uni = KITH_QUIC_STREAMS_MAX;
    s->params.max_idle_timeout = quic->idle_ns;
    s->params.max_datagram_frame_size = DATAGRAM_FRAME_MAX;
    s->params.active_connection_id_limit = ACTIVE_IDS_KEPT;
}

kith_err kith__conn_dial(kith_quic *quic, const kith_addr *remote, const uint8_t *expected, kith_conn **out)
{
    kith_conn *conn;
    setup s;
    kith_err err = conn_new(quic, &conn);
    if (err) return err;
    conn->dialler = conn->held_by_user = true;
    conn->paths[0] = (kith_path){.used = true, .good = true, .remote = *remote};
    conn->path_end = 1;
    if (expected) {
        conn->has_expected = true;
        memcpy(conn->expected, expected, sizeof conn->expected);
    }
    set_up(conn, &s);
    s.dcid.datalen = KITH_DIAL_CID_SIZE;
    kith_rng_bytes(&quic->rng, s.dcid.data, s.dcid.datalen);
    err = kith_idmap_add(quic->cids, s.scid.data, s.scid.datalen, conn, &conn->ids);
    if (!err && ngtcp2_conn_client_new(&conn->ng, &s.dcid, &s.scid, s.path, KITH_VERSION_INSIDE, &s.callbacks,
                                       &s.settings, &s.params, kith__mem(), conn) != 0) {
        conn->ng = NULL;
        err = KITH_ERR_NOMEM;
    }
    if (!err) err = kith__conn_retry_key(conn, &s.dcid);
    if (err) {
        kith__conn_destroy(conn);
        return err;
    }
    kith__conn_dirty(conn);
    *out = conn;
    return KITH_OK;
}

static void copy_cid(ngtcp2_cid *out, const kith_cid *cid) { ngtcp2_cid_init(out, cid->bytes, cid->size); }

kith_err kith__conn_accept(kith_quic *quic, const kith_accepted *from, kith_conn **out)
{
    kith_conn *conn;
    setup s;
    const ngtcp2_pkt_hd *hd = from->initial;
    kith_err err = conn_new(quic, &conn);
    if (err) return err;
    conn->half_open = true;
    quic->half_open++;
    conn->paths[0] = (kith_path){.used = true, .good = true, .local = *from->local, .remote = *from->remote};
    conn->path_end = 1;
    set_up(conn, &s);
    s.params.original_dcid = hd->dcid;
    s.params.original_dcid_present = 1;
    if (from->original) {
        copy_cid(&s.params.original_dcid, from->original);
        s.params.retry_scid = hd->dcid;
        s.params.retry_scid_present = 1;
        s.settings.token = hd->token;
        s.settings.tokenlen = hd->tokenlen;
        s.settings.token_type = NGTCP2_TOKEN_TYPE_RETRY;
    }
    kith_token_reset(kith__quic_reset_key(quic), s.scid.data, s.scid.datalen, s.params.stateless_reset_token);
    s.params.stateless_reset_token_present = 1;
    err = kith_idmap_add(quic->cids, s.scid.data, s.scid.datalen, conn, &conn->ids);
    if (!err) err = kith_idmap_add(quic->cids, hd->dcid.data, hd->dcid.datalen, conn, &conn->ids);
    if (!err && ngtcp2_conn_server_new(&conn->ng, &hd->scid, &s.scid, s.path, KITH_VERSION_INSIDE, &s.callbacks,
                                       &s.settings, &s.params, kith__mem(), conn) != 0) {
        conn->ng = NULL;
        err = KITH_ERR_NOMEM;
    }
    if (err) {
        kith__conn_destroy(conn);
        return err;
    }
    *out = conn;
    return KITH_OK;
}

void kith__conn_destroy(kith_conn *conn)
{
    kith_quic *quic = conn->quic;
    kith_link *link;
    conn->state = KITH_CONN_DEAD;
    kith__reply_forget(conn);
    while ((link = kith_list_first(&conn->streams))) kith__stream_destroy(KITH_OF(link, kith_stream, in_conn));
    kith__datagrams_done(conn);
    ngtcp2_conn_del(conn->ng);
    kith__keys_free(conn);
    kith_hyphae_free(conn->hyphae);
    kith_idmap_remove_all(&conn->ids);
    kith_deadlines_remove(&quic->deadlines, &conn->deadline);
    kith_list_remove(&conn->in_conns);
    kith_list_remove(&conn->in_dirty);
    kith_list_remove(&conn->in_events);
    kith_list_remove(&conn->in_closed);
    if (conn->half_open) quic->half_open--;
    quic->conn_count--;
    kith_wipe(conn, sizeof *conn);
    kith_free(conn);
}

/* The smaller of both sides' idle time-outs counts (RFC 9000 section 10.1). */
void kith__conn_established(kith_conn *conn)
{
    uint64_t idle = conn->quic->idle_ns, keep = conn->quic->keep_alive_ns;
    uint64_t theirs = ngtcp2_conn_get_remote_transport_params(conn->ng)->max_idle_timeout;
    if (keep == UINT64_MAX) return;
    if (theirs && theirs < idle) idle = theirs;
    if (keep > idle / 2 - idle / 16) keep = idle / 2 - idle / 16;
    ngtcp2_conn_set_keep_alive_timeout(conn->ng, keep);
}

/* ---- ending ---- */

static void over(kith_conn *conn, kith_err err, uint64_t code, bool by_peer, const void *reason, size_t size)
{
    if (size > KITH_QUIC_REASON_MAX) size = KITH_QUIC_REASON_MAX;
    conn->closed_err = err;
    conn->closed_code = code;
    conn->closed_by_peer = by_peer;
    memset(conn->reason, 0, sizeof conn->reason);
    if (size) memcpy(conn->reason, reason, size);
    if (conn->half_open) {
        conn->half_open = false;
        conn->quic->half_open--;
    }
    if (conn->held_by_user)
        kith__event_conn(conn, KITH_QUIC_CLOSED);
    else
        conn->doomed = true;
    kith__conn_dirty(conn);
}

static void linger(kith_conn *conn, kith_conn_state state)
{
    conn->state = state;
    conn->closing_until = conn->quic->now + KITH_CLOSE_PTOS * ngtcp2_conn_get_pto(conn->ng);
}

static void send_goodbye_as_reply(kith_conn *conn)
{
    if (!conn->goodbye_due) return;
    const kith_path *path = &conn->paths[conn->path];
    kith_reply *reply = kith__reply_new(conn->quic, conn->held_by_user ? KITH_REPLY_GOODBYE : KITH_REPLY_STRANGER, NULL,
                                        &path->local, &path->remote);
    if (!reply) return;
    memcpy(reply->data, conn->goodbye, conn->goodbye_size);
    reply->size = conn->goodbye_size;
}

static void say_goodbye(kith_conn *conn, const ngtcp2_ccerr *why)
{
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(conn->ng, NULL, NULL, conn->goodbye, sizeof conn->goodbye, why,
                                                        conn->quic->now);
    if (n <= 0) {
        conn->state = KITH_CONN_DEAD;
        return;
    }
    kith_version_outbound(conn->goodbye, (size_t)n);
    conn->goodbye_size = (size_t)n;
    conn->goodbye_due = true;
    linger(conn, KITH_CONN_CLOSING);
    if (!conn->held_by_user) send_goodbye_as_reply(conn);
}

/* The peer closed, or reset. */
static void drained(kith_conn *conn)
{
    const ngtcp2_ccerr *why = ngtcp2_conn_get_ccerr(conn->ng);
    kith_err err = KITH_ERR_PROTOCOL;
    linger(conn, KITH_CONN_DRAINING);
    if (conn->was_reset) {
        over(conn, KITH_ERR_LOST, 0, true, NULL, 0);
        return;
    }
    if (why->type == NGTCP2_CCERR_TYPE_APPLICATION || why->error_code == NGTCP2_NO_ERROR ||
        why->error_code == NGTCP2_APPLICATION_ERROR)
        err = KITH_ERR_CLOSED;
    else if (why->error_code >= NGTCP2_CRYPTO_ERROR && why->error_code < 2 * NGTCP2_CRYPTO_ERROR)
        err = KITH_ERR_CRYPTO;
    over(conn, err, why->type == NGTCP2_CCERR_TYPE_APPLICATION ? why->error_code : 0, true, why->reason,
         why->reasonlen);
}

/* Something of ours, or the peer broke the protocol: say so and end. */
static void broken(kith_conn *conn, int rv)
{
    ngtcp2_ccerr why;
    kith_err err = KITH_ERR_PROTOCOL;
    if (rv == NGTCP2_ERR_NOMEM)
        err = KITH_ERR_NOMEM;
    else if (conn->err)
        err = conn->err;
    else if (rv == NGTCP2_ERR_CALLBACK_FAILURE || rv == NGTCP2_ERR_INTERNAL || rv == NGTCP2_ERR_INVALID_ARGUMENT)
        err = KITH_ERR_INTERNAL;
    if (rv == NGTCP2_ERR_CRYPTO)
        ngtcp2_ccerr_set_tls_alert(&why, ngtcp2_conn_get_tls_alert(conn->ng), NULL, 0);
    else
        ngtcp2_ccerr_set_liberr(&why, rv, NULL, 0);
    say_goodbye(conn, &why);
    over(conn, err, 0, false, NULL, 0);
}

/* Nothing is said to the peer.  Its packets are strangers' from now on: if it still thinks of us it is told by a reset.
 */
static void silent_end(kith_conn *conn, kith_err err, bool by_peer)
{
    conn->state = KITH_CONN_DEAD;
    kith_idmap_remove_all(&conn->ids);
    over(conn, err, 0, by_peer, NULL, 0);
}

void kith__conn_failed(kith_conn *conn, int rv)
{
    if (conn->state != KITH_CONN_LIVE) return;
    switch (rv) {
    case NGTCP2_ERR_DRAINING: drained(conn); return;
    case NGTCP2_ERR_CLOSING: return;
    case NGTCP2_ERR_IDLE_CLOSE: silent_end(conn, KITH_ERR_LOST, false); return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT: silent_end(conn, KITH_ERR_TIMEOUT, false); return;
    case NGTCP2_ERR_DROP_CONN: silent_end(conn, KITH_ERR_PROTOCOL, false); return;
    case NGTCP2_ERR_RETRY:
        conn->wants_retry = true;
        silent_end(conn, KITH_ERR_PROTOCOL, false);
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION: silent_end(conn, KITH_ERR_UNSUPPORTED, true); return;
    default: broken(conn, rv); return;
    }
}

void kith_conn_close(kith_conn *conn, uint64_t code, const char *reason, uint64_t now_ns)
{
    ngtcp2_ccerr why;
    size_t size = reason ? strnlen(reason, KITH_QUIC_REASON_MAX) : 0;
    kith__quic_clock(conn->quic, now_ns);
    if (conn->state != KITH_CONN_LIVE) return;
    ngtcp2_ccerr_set_application_error(&why, code & NGTCP2_MAX_VARINT, (const uint8_t *)reason, size);
    say_goodbye(conn, &why);
    over(conn, KITH_OK, code, false, reason, size);
}

void kith_conn_abandon(kith_conn *conn, kith_err why, uint64_t now_ns)
{
    kith__quic_clock(conn->quic, now_ns);
    if (conn->state == KITH_CONN_LIVE) silent_end(conn, why, false);
}

void kith_conn_free(kith_conn *conn)
{
    if (!conn) return;
    if (conn->state == KITH_CONN_CLOSING) send_goodbye_as_reply(conn);
    kith__conn_destroy(conn);
}

/* ---- packets and time ---- */

static void apply_stops(kith_conn *conn)
{
    for (size_t i = 0; i < conn->stop_count; i++) {
        kith_stream *stream = kith__stream_find(conn, conn->stops[i].stream_id);
        if (stream) kith__stream_was_stopped(stream, conn->stops[i].code);
    }
    conn->stop_count = 0;
}

/* Who still speaks to us is told again, at the 1st, 2nd, 4th, 8th ... packet. */
static void answer_straggler(kith_conn *conn)
{
    conn->closing_heard++;
    if (conn->closing_heard & (conn->closing_heard - 1)) return;
    conn->goodbye_due = true;
    kith__conn_dirty(conn);
}

void kith__conn_read(kith_conn *conn, const kith_packet *packet, const uint8_t *datagram, size_t size)
{
    if (conn->state == KITH_CONN_CLOSING) answer_straggler(conn);
    if (conn->state != KITH_CONN_LIVE) return;
    int known = kith__path_find(conn, &packet->local, &packet->remote);
    if (known < 0 && !conn->established) return; /* nobody moves during the handshake (RFC 9000 section 9) */
    ngtcp2_pkt_info info = {.ecn = packet->ecn & NGTCP2_ECN_MASK};
    ngtcp2_path_storage memory;
    uint64_t authentic = conn->authentic, newest = conn->newest;
    uint32_t as = known < 0 ? kith__follow_as(conn, &packet->local, &packet->remote) : (uint32_t)known;
    const ngtcp2_path *path = kith__path_made_up(conn, as, &memory);
    int rv = ngtcp2_conn_read_pkt(conn->ng, path, &info, datagram, size, conn->quic->now);
    bool there = known >= 0 || kith__follow_tried(conn, as);
    if (conn->authentic != authentic) {
        conn->received_bytes += size;
        conn->last_received_ns = conn->quic->now;
        conn->owed_ns = 0;
        conn->silent_said = false;
        if (there)
            conn->paths[as].used_ns = conn->paths[as].heard_ns = conn->quic->now;
        else if (conn->newest != newest)
            kith__paths_stranger(conn, &packet->local, &packet->remote, size);
    }
    apply_stops(conn);
    kith__conn_dirty(conn);
    if (rv)
        kith__conn_failed(conn, rv);
    else
        kith__paths_follow(conn);
}

void kith__conn_expire(kith_conn *conn)
{
    uint64_t now = conn->quic->now;
    kith_deadlines_set(&conn->quic->deadlines, &conn->deadline, UINT64_MAX);
    kith__conn_dirty(conn);
    if (conn->state == KITH_CONN_CLOSING || conn->state == KITH_CONN_DRAINING) {
        conn->state = KITH_CONN_DEAD;
        kith_idmap_remove_all(&conn->ids);
    }
    if (conn->state != KITH_CONN_LIVE) return;
    kith__paths_expire(conn);
    check_silence(conn);
    int rv = ngtcp2_conn_get_expiry(conn->ng) <= now ? ngtcp2_conn_handle_expiry(conn->ng, now) : 0;
    if (rv) kith__conn_failed(conn, rv);
}

/* ---- what one asks ---- */

void kith_conn_set_user(kith_conn *conn, void *user) { conn->user = user; }
void *kith_conn_user(const kith_conn *conn) { return conn->user; }
bool kith_conn_is_dialler(const kith_conn *conn) { return conn->dialler; }
void kith_conn_remote_static(const kith_conn *conn, uint8_t out[static 32]) { memcpy(out, conn->remote_static, 32); }
void kith_conn_handshake_hash(const kith_conn *conn, uint8_t out[static 32]) { memcpy(out, conn->hash, 32); }
kith_addr kith_conn_remote_addr(const kith_conn *conn) { return conn->paths[conn->path].remote; }

void kith_conn_get_stats(const kith_conn *conn, kith_conn_stats *out)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(conn->ng, &info);
    size_t mtu = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng), cap = conn->paths[conn->path].cap;
    *out = (kith_conn_stats){.rtt_ns = info.smoothed_rtt,
                             .min_rtt_ns = info.min_rtt == UINT64_MAX ? 0 : info.min_rtt,
                             .sent_bytes = conn->sent_bytes,
                             .received_bytes = conn->received_bytes,
                             .in_flight = info.bytes_in_flight,
                             .lost_packets = conn->lost_before,
                             .key_updates = conn->key_steps ? conn->key_steps - 1 : 0, /* the first is kept ready */
                             .last_received_ns = conn->last_received_ns,
                             .retried = conn->dialler && ngtcp2_conn_after_retry(conn->ng),
                             .mtu = cap && cap < mtu ? cap : mtu,
                             .path = conn->path,
                             .silent_since_ns = conn->owed_ns,
                             .window_extra = conn->window.extra,
                             .buffered_bytes = conn->buffered_bytes};
    KITH_EACH (link, &conn->streams) {
        const kith_stream *stream = KITH_OF(link, kith_stream, in_conn);
        if (!stream->closed) out->lost_packets += ngtcp2_conn_get_stream_loss_count(conn->ng, stream->id);
    }
}

kith_err kith_conn_update_keys(kith_conn *conn, uint64_t now_ns)
{
    kith__quic_clock(conn->quic, now_ns);
    if (conn->state != KITH_CONN_LIVE || !conn->established) return KITH_ERR_STATE;
    if (!conn->confirmed) return KITH_ERR_AGAIN; /* ngtcp2 asserts that */
    int rv = ngtcp2_conn_initiate_key_update(conn->ng, conn->quic->now);
    if (rv == NGTCP2_ERR_INVALID_STATE) return KITH_ERR_AGAIN;
    if (rv) {
        kith__conn_failed(conn, rv);
        return rv == NGTCP2_ERR_NOMEM ? KITH_ERR_NOMEM : KITH_ERR_INTERNAL;
    }
    kith__conn_dirty(conn);
    return KITH_OK;
}
