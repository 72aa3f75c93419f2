/* What a connection sends: packets of ngtcp2's, gathered into runs of equal size for one address (what GSO sends in one
 * call). */
#include "quic/state.h"

#include "quic/version.h"

#include <string.h>

#define PIECES          4                    /* of a stream, offered for one packet */
#define BLACK_HOLE_NS   UINT64_C(1500000000) /* a move among paths may stall for a few hundred milliseconds */
#define BLACK_HOLE_PTOS 6                    /* two probe time-outs, backing off, were not answered either */

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ---- one packet ---- */

typedef struct offer {
    kith_stream *stream;
    ngtcp2_vec pieces[PIECES];
    size_t count;
    bool fin;
} offer;

static void make_offer(kith_stream *stream, offer *o)
{
    kith_piece pieces[PIECES];
    bool all;
    o->stream = stream;
    o->count = kith_sendbuf_gather(&stream->out, pieces, PIECES, &all);
    for (size_t i = 0; i < o->count; i++)
        o->pieces[i] = (ngtcp2_vec){(uint8_t *)(uintptr_t)pieces[i].data, pieces[i].size};
    o->fin = stream->fin && all;
}

static void offer_taken(const offer *o, ngtcp2_ssize size)
{
    kith_stream *stream = o->stream;
    if (size < 0) return;
    bool empty = stream->out.sent == stream->out.written;
    kith_sendbuf_sent(&stream->out, (size_t)size);
    if (o->fin && stream->out.sent == stream->out.written) {
        stream->fin_sent = true;
        stream->fin_alone = empty;
    }
    kith_list_remove(&stream->in_sendable);
    if (stream->out.sent < stream->out.written || (stream->fin && !stream->fin_sent))
        kith_list_append(&stream->conn->sendable, &stream->in_sendable); /* behind the others */
    kith__stream_check_mark(stream);
}

typedef struct packet {
    ngtcp2_path_storage path;
    ngtcp2_pkt_info info;
    uint8_t *data;
    size_t room;
} packet;

/* Datagrams into a packet, as many as fit.  WRITE_MORE: there is room for something else; otherwise as write_packet. */
static ngtcp2_ssize write_datagrams(kith_conn *conn, packet *p)
{
    for (;;) {
        size_t size = 0;
        int taken = 0;
        const uint8_t *data = kith__datagram_first(conn, &size);
        if (!data) return NGTCP2_ERR_WRITE_MORE;
        ngtcp2_vec piece = {(uint8_t *)(uintptr_t)data, size};
        ngtcp2_ssize n = ngtcp2_conn_writev_datagram(conn->ng, &p->path.path, &p->info, p->data, p->room, &taken,
                                                     NGTCP2_WRITE_DATAGRAM_FLAG_MORE, 0, &piece, 1, conn->quic->now);
        if (taken || n == NGTCP2_ERR_INVALID_STATE || n == NGTCP2_ERR_INVALID_ARGUMENT) kith__datagram_sent(conn);
        if (n == 0) return NGTCP2_ERR_WRITE_MORE; /* not now: perhaps something else */
        if (n != NGTCP2_ERR_WRITE_MORE && n != NGTCP2_ERR_INVALID_STATE && n != NGTCP2_ERR_INVALID_ARGUMENT) return n;
    }
}

/* The next packet: datagrams, then bytes of as many streams as fit, one after the other.  0: nothing (now), < 0:
 * ngtcp2's error. */
static ngtcp2_ssize write_packet(kith_conn *conn, packet *p)
{
    ngtcp2_ssize first = write_datagrams(conn, p);
    if (first != NGTCP2_ERR_WRITE_MORE) return first;
    for (bool streams = true;;) {
        kith_link *link = streams ? kith_list_first(&conn->sendable) : NULL;
        offer o;
        o.count = 0;
        ngtcp2_ssize taken = -1;
        uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
        if (link) {
            make_offer(KITH_OF(link, kith_stream, in_sendable), &o);
            flags = NGTCP2_WRITE_STREAM_FLAG_MORE | (o.fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0u);
        }
        ngtcp2_ssize n = ngtcp2_conn_writev_stream(conn->ng, &p->path.path, &p->info, p->data, p->room, &taken, flags,
                                                   link ? o.stream->id : -1, o.pieces, o.count, conn->quic->now);
        if (link && (n > 0 || n == NGTCP2_ERR_WRITE_MORE)) offer_taken(&o, taken);
        switch (n) {
        case NGTCP2_ERR_WRITE_MORE: continue;
        case NGTCP2_ERR_STREAM_DATA_BLOCKED:
            if (ngtcp2_conn_get_max_data_left(conn->ng) == 0)
                streams = false; /* the whole connection: every input makes us try again */
            else
                kith_list_remove(&o.stream->in_sendable); /* until MAX_STREAM_DATA comes */
            continue;
        case NGTCP2_ERR_STREAM_SHUT_WR: kith__stream_was_stopped(o.stream, 0); continue;
        case NGTCP2_ERR_STREAM_NOT_FOUND: kith_list_remove(&o.stream->in_sendable); continue;
        default: return n;
        }
    }
}

/* ---- a run ---- */

/* Stream bytes in packets over the minimum are not acknowledged for long: they may be vanishing (the path's MTU became
 * smaller and nobody said so). */
static bool seems_black_hole(kith_conn *conn)
{
    if (!conn->unanswered_ns) return false;
    uint64_t silence = conn->quic->now - conn->unanswered_ns;
    return silence > BLACK_HOLE_NS && silence > BLACK_HOLE_PTOS * ngtcp2_conn_get_pto(conn->ng) &&
           ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng) > KITH_INITIAL_SIZE_MIN;
}

/* `size` of the packets just made.  A probe for the MTU is larger than the path's packets and does not count. */
static void note_unanswered(kith_conn *conn, size_t size)
{
    if (conn->unanswered_ns || size <= KITH_INITIAL_SIZE_MIN ||
        size > ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng))
        return;
    conn->unanswered_ns = conn->quic->now;
}

static size_t room_of(kith_conn *conn)
{
    kith_path *path = &conn->paths[conn->path];
    if (!path->cap && seems_black_hole(conn)) path->cap = KITH_INITIAL_SIZE_MIN;
    return path->cap ? smaller(path->cap, conn->quic->packet_max) : conn->quic->packet_max;
}

/* Keep what belongs to another run for the next call. */
static void hold(kith_conn *conn, const packet *p, size_t size, uint32_t path)
{
    kith_quic *quic = conn->quic;
    quic->held.there = true;
    quic->held.ecn = p->info.ecn;
    quic->held.local = conn->paths[path].local;
    quic->held.remote = conn->paths[path].remote;
    quic->held.size = size;
    memcpy(quic->held.data, p->data, size);
}

typedef struct run {
    size_t used, segment, count;
    uint32_t path;
    uint8_t ecn;
} run;

/* Add the packet of `size` bytes; false: the run ends. */
static bool add(kith_conn *conn, run *r, const packet *p, size_t size, size_t full)
{
    uint32_t path = kith__path_number(&p->path.path);
    if (p->data[0] & 0x80) kith_version_outbound(p->data, size);
    conn->sent_bytes += size;
    if (r->count && (path != r->path || p->info.ecn != r->ecn)) {
        hold(conn, p, size, path);
        return false;
    }
    if (!r->count) *r = (run){.segment = size, .path = path, .ecn = p->info.ecn};
    r->used += size;
    r->count++;
    /* Later ones of a run may not be larger than the first, so a small first one stands alone. */
    return size == r->segment && size >= full && r->count < KITH_PACKET_RUN_SEGMENTS &&
           r->used + r->segment <= KITH_PACKET_RUN_MAX;
}

static bool gather(kith_conn *conn, kith_packet *out)
{
    run r = {0};
    size_t quantum = ngtcp2_conn_get_send_quantum(conn->ng), room = room_of(conn);
    int failure = 0;
    for (;;) {
        packet p = {.data = out->data + r.used, .room = r.count ? r.segment : room};
        ngtcp2_path_storage_zero(&p.path);
        size_t full = smaller(room, ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng));
        ngtcp2_ssize n = write_packet(conn, &p);
        if (n < 0) failure = (int)n;
        if (n <= 0 || !add(conn, &r, &p, (size_t)n, full) || r.used >= quantum) break;
    }
    if (r.count) ngtcp2_conn_update_pkt_tx_time(conn->ng, conn->quic->now);
    if (r.count) {
        note_unanswered(conn, r.segment);
        out->local = conn->paths[r.path].local;
        out->remote = conn->paths[r.path].remote;
        out->ecn = r.ecn;
        out->size = r.used;
        out->segment = r.segment;
    }
    if (failure) kith__conn_failed(conn, failure);
    return r.count > 0;
}

static bool goodbye(kith_conn *conn, kith_packet *out)
{
    if (!conn->goodbye_due) return false;
    conn->goodbye_due = false;
    memcpy(out->data, conn->goodbye, conn->goodbye_size);
    out->local = conn->paths[conn->path].local;
    out->remote = conn->paths[conn->path].remote;
    out->ecn = 0;
    out->size = out->segment = conn->goodbye_size;
    conn->sent_bytes += conn->goodbye_size;
    return true;
}

bool kith__conn_output(kith_conn *conn, kith_packet *out)
{
    if (conn->state == KITH_CONN_CLOSING) return goodbye(conn, out);
    if (conn->state != KITH_CONN_LIVE) return false;
    bool some = gather(conn, out);
    kith__paths_follow(conn);
    return some;
}
