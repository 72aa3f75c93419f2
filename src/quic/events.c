/* Events wait as bits in the objects they are about, so that queueing one cannot fail and the queue cannot grow.  Three
 * lists of objects with bits: connections (a stream's events come after its connection's), streams, and connections
 * that ended, which are served last, since nothing about a connection comes after its end. */
#include "quic/state.h"

#include <string.h>

#define BIT(kind) (1u << (kind))

void kith__event_conn(kith_conn *conn, kith_quic_event_kind kind)
{
    conn->pending |= BIT(kind);
    if (kind == KITH_QUIC_CLOSED) {
        if (!conn->in_closed.next) kith_list_append(&conn->quic->closed, &conn->in_closed);
    } else if (!conn->in_events.next) {
        kith_list_append(&conn->quic->conn_events, &conn->in_events);
    }
}

void kith__event_stream(kith_stream *stream, kith_quic_event_kind kind)
{
    if (stream->freed) return;
    stream->pending |= BIT(kind);
    if (!stream->in_events.next) kith_list_append(&stream->conn->quic->stream_events, &stream->in_events);
}

/* The lowest bit: within an object, kinds come in the order of the enumeration. */
static kith_quic_event_kind take_bit(unsigned *pending)
{
    for (unsigned kind = 1; kind < 32; kind++) {
        if (*pending & BIT(kind)) {
            *pending &= ~BIT(kind);
            return kind;
        }
    }
    return 0;
}

static bool take_path(kith_conn *conn, kith_quic_event *out)
{
    bool more = false, found = false;
    for (uint32_t i = 0; i < conn->path_end; i++) {
        kith_path *path = &conn->paths[i];
        if (!path->report) continue;
        if (found) {
            more = true;
            continue;
        }
        found = true;
        path->report = false;
        out->path = i;
        out->err = path->report_err;
        out->rtt_ns = path->rtt_ns;
        out->remote = path->remote;
    }
    if (more) conn->pending |= BIT(KITH_QUIC_PATH);
    return found;
}

static bool take_conn(kith_conn *conn, kith_quic_event *out)
{
    *out = (kith_quic_event){.kind = take_bit(&conn->pending), .conn = conn, .path = conn->path};
    bool good = out->kind != KITH_QUIC_PATH || take_path(conn, out);
    if (out->kind == KITH_QUIC_MOVED) out->remote = conn->paths[conn->path].remote;
    if (out->kind == KITH_QUIC_ASKED) out->remote = conn->asked_from;
    if (!(conn->pending & ~BIT(KITH_QUIC_CLOSED))) kith_list_remove(&conn->in_events);
    return good;
}

static void take_stream(kith_stream *stream, kith_quic_event *out)
{
    *out = (kith_quic_event){.kind = take_bit(&stream->pending), .conn = stream->conn, .stream = stream};
    if (out->kind == KITH_QUIC_RESET) out->code = stream->reset_code;
    if (out->kind == KITH_QUIC_STOPPED) out->code = stream->stop_code;
    if (!stream->pending) kith_list_remove(&stream->in_events);
}

static void take_closed(kith_conn *conn, kith_quic_event *out)
{
    conn->pending = 0;
    kith_list_remove(&conn->in_closed);
    kith_list_remove(&conn->in_events);
    *out = (kith_quic_event){.kind = KITH_QUIC_CLOSED,
                             .conn = conn,
                             .err = conn->closed_err,
                             .code = conn->closed_code,
                             .by_peer = conn->closed_by_peer,
                             .path = conn->path};
    memcpy(out->reason, conn->reason, sizeof out->reason);
}

bool kith_quic_event_take(kith_quic *quic, kith_quic_event *out)
{
    kith_link *link;
    while ((link = kith_list_first(&quic->conn_events)))
        if (take_conn(KITH_OF(link, kith_conn, in_events), out)) return true;
    if ((link = kith_list_first(&quic->stream_events))) {
        take_stream(KITH_OF(link, kith_stream, in_events), out);
        return true;
    }
    if (!(link = kith_list_first(&quic->closed))) return false;
    take_closed(KITH_OF(link, kith_conn, in_closed), out);
    return true;
}
