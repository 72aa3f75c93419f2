#include "quic/state.h"

#include "base/mem.h"

#include <string.h>

static bool usable(const kith_stream *stream) { return stream->conn->state == KITH_CONN_LIVE && !stream->closed; }

/* ---- making and ending ---- */

kith_err kith__stream_new(kith_conn *conn, int64_t id, kith_stream **out)
{
    kith_stream *stream = kith_calloc(1, sizeof *stream);
    if (!stream) return KITH_ERR_NOMEM;
    bool bidirectional = ngtcp2_is_bidi_stream(id), ours = ngtcp2_conn_is_local_stream(conn->ng, id);
    stream->conn = conn;
    stream->id = id;
    stream->can_send = bidirectional || ours;
    stream->can_receive = bidirectional || !ours;
    kith_sendbuf_init(&stream->out);
    kith_recvbuf_init(&stream->in, &conn->quic->spares);
    kith_list_append(&conn->streams, &stream->in_conn);
    *out = stream;
    return KITH_OK;
}

void kith__stream_destroy(kith_stream *stream)
{
    kith_list_remove(&stream->in_conn);
    kith_list_remove(&stream->in_sendable);
    kith_list_remove(&stream->in_events);
    kith_sendbuf_clear(&stream->out);
    kith_recvbuf_clear(&stream->in);
    kith_free(stream);
}

kith_err kith_stream_open(kith_conn *conn, bool bidirectional, kith_stream **out)
{
    kith_stream *stream;
    int64_t id;
    if (conn->state != KITH_CONN_LIVE || !conn->established) return KITH_ERR_STATE;
    int rv = bidirectional ? ngtcp2_conn_open_bidi_stream(conn->ng, &id, NULL)
                           : ngtcp2_conn_open_uni_stream(conn->ng, &id, NULL);
    if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED) return KITH_ERR_AGAIN;
    if (rv) return KITH_ERR_NOMEM;
    kith_err err = kith__stream_new(conn, id, &stream);
    if (err) {
        ngtcp2_conn_shutdown_stream(conn->ng, 0, id, 0);
        return err;
    }
    ngtcp2_conn_set_stream_user_data(conn->ng, id, stream);
    *out = stream;
    return KITH_OK;
}

kith_stream *kith__stream_find(kith_conn *conn, uint64_t id)
{
    KITH_EACH (link, &conn->streams) {
        kith_stream *stream = KITH_OF(link, kith_stream, in_conn);
        if ((uint64_t)stream->id == id && !stream->closed) return stream;
    }
    return NULL;
}

/* Bytes that arrived and will not be read: their credit goes back to the connection (the stream's own does not matter
 * any more). */
static void discard_received(kith_stream *stream)
{
    if (stream->conn->state == KITH_CONN_LIVE) {
        ngtcp2_conn_extend_max_offset(stream->conn->ng, stream->in.size);
        kith__conn_dirty(stream->conn);
    }
    kith_recvbuf_clear(&stream->in);
}

static void discard_unsent(kith_stream *stream)
{
    stream->reset = true;
    kith_list_remove(&stream->in_sendable);
    kith_sendbuf_clear(&stream->out);
}

/* Neither the user nor ngtcp2 knows it any more: the peer may open another. */
static void leave(kith_stream *stream)
{
    kith_conn *conn = stream->conn;
    if (conn->state == KITH_CONN_LIVE && !ngtcp2_conn_is_local_stream(conn->ng, stream->id)) {
        if (ngtcp2_is_bidi_stream(stream->id))
            ngtcp2_conn_extend_max_streams_bidi(conn->ng, 1);
        else
            ngtcp2_conn_extend_max_streams_uni(conn->ng, 1);
        kith__conn_dirty(conn);
    }
    kith__stream_destroy(stream);
}

void kith_stream_free(kith_stream *stream)
{
    if (!stream) return;
    stream->freed = true;
    stream->into = NULL;
    stream->pending = 0;
    kith_list_remove(&stream->in_events);
    if (usable(stream)) {
        if (stream->can_receive && !stream->fin_received) kith_stream_stop(stream, 0);
        if (stream->can_send && (!stream->fin || stream->out.lent)) kith_stream_reset(stream, 0);
        discard_received(stream);
        return;
    }
    if (stream->closed) discard_received(stream);
    leave(stream);
}

/* ---- what one asks ---- */

kith_conn *kith_stream_conn(const kith_stream *stream) { return stream->conn; }
uint64_t kith_stream_id(const kith_stream *stream) { return (uint64_t)stream->id; }
void kith_stream_set_user(kith_stream *stream, void *user) { stream->user = user; }
void *kith_stream_user(const kith_stream *stream) { return stream->user; }
uint64_t kith_stream_written(const kith_stream *stream) { return stream->out.written; }
uint64_t kith_stream_unsent(const kith_stream *stream) { return stream->out.written - stream->out.sent; }
uint64_t kith_stream_returned(const kith_stream *stream) { return stream->out.acked; }
bool kith_stream_all_acked(const kith_stream *stream)
{
    return stream->fin_acked && stream->out.acked == stream->out.written;
}

uint64_t kith_stream_room(const kith_stream *stream)
{
    ngtcp2_conn *ng = stream->conn->ng;
    if (!usable(stream) || !stream->can_send) return 0;
    uint64_t room = ngtcp2_conn_get_cwnd_left(ng), all = ngtcp2_conn_get_max_data_left(ng),
             own = ngtcp2_conn_get_max_stream_data_left(ng, stream->id), unsent = kith_stream_unsent(stream);
    if (all < room) room = all;
    if (own < room) room = own;
    return room > unsent ? room - unsent : 0;
}

/* ---- sending ---- */

void kith__stream_want_send(kith_stream *stream)
{
    bool something = stream->out.sent < stream->out.written || (stream->fin && !stream->fin_sent);
    if (!something || stream->reset || !usable(stream)) return;
    if (!stream->in_sendable.next) kith_list_append(&stream->conn->sendable, &stream->in_sendable);
    kith__conn_dirty(stream->conn);
}

static bool may_write(const kith_stream *stream)
{
    return stream->can_send && usable(stream) && !stream->fin && !stream->reset;
}

static void written(kith_stream *stream)
{
    if (kith_stream_unsent(stream) > KITH_STREAM_HIGH_MARK) stream->above_high = true;
    kith__stream_want_send(stream);
}

kith_err kith_stream_write(kith_stream *stream, const void *data, size_t size)
{
    if (!may_write(stream)) return KITH_ERR_STATE;
    kith_err err = kith_sendbuf_write(&stream->out, data, size);
    if (!err) written(stream);
    return err;
}

kith_err kith_stream_lend(kith_stream *stream, const void *data, size_t size)
{
    if (!may_write(stream)) return KITH_ERR_STATE;
    kith_err err = kith_sendbuf_lend(&stream->out, data, size);
    if (!err) written(stream);
    return err;
}

kith_err kith_stream_finish(kith_stream *stream)
{
    if (!may_write(stream)) return KITH_ERR_STATE;
    stream->fin = true;
    kith__stream_want_send(stream);
    return KITH_OK;
}

void kith__stream_check_mark(kith_stream *stream)
{
    if (!stream->above_high || kith_stream_unsent(stream) >= KITH_STREAM_LOW_MARK) return;
    stream->above_high = false;
    kith__event_stream(stream, KITH_QUIC_WRITABLE);
}

void kith_stream_reset(kith_stream *stream, uint64_t code)
{
    if (!stream->can_send || stream->reset || !usable(stream) || kith_stream_all_acked(stream)) return;
    ngtcp2_conn_shutdown_stream_write(stream->conn->ng, 0, stream->id, code & NGTCP2_MAX_VARINT);
    discard_unsent(stream);
    kith__conn_dirty(stream->conn);
}

void kith__stream_acked(kith_stream *stream, uint64_t offset, size_t size)
{
    uint64_t upto = offset + size;
    stream->conn->unanswered_ns = 0;
    if (stream->reset) return;
    if (size == 0 || (stream->fin_sent && !stream->fin_alone && upto == stream->out.written)) stream->fin_acked = true;
    if (kith_sendbuf_acked(&stream->out, upto) || (stream->fin_acked && kith_stream_all_acked(stream)))
        kith__event_stream(stream, KITH_QUIC_RETURNED);
}

void kith__stream_was_stopped(kith_stream *stream, uint64_t code)
{
    if (!stream->can_send || stream->reset || kith_stream_all_acked(stream)) return;
    stream->stop_code = code;
    discard_unsent(stream);
    kith__event_stream(stream, KITH_QUIC_STOPPED);
}

/* ---- receiving ---- */

/* Of the bytes taken, those that do not keep others out. */
static uint64_t out_of_the_way(const kith_stream *stream)
{
    uint64_t beyond = stream->held > stream->spare ? stream->held - stream->spare : 0;
    return stream->taken > beyond ? stream->taken - beyond : 0;
}

/* The user took `size` bytes more. */
static void credit(kith_stream *stream, size_t size)
{
    stream->taken += size;
    uint64_t due = out_of_the_way(stream), own = due > stream->credited ? due - stream->credited : 0;
    if ((!size && !own) || stream->conn->state != KITH_CONN_LIVE) return;
    stream->credited += own;
    kith__window_consumed(stream, size, own);
    kith__conn_dirty(stream->conn);
}

/* What the user's memory takes of these bytes. */
static size_t put_into(kith_stream *stream, const uint8_t *data, size_t size)
{
    size_t room = stream->into ? stream->into_size - stream->into_filled : 0, n = size < room ? size : room;
    if (!n) return 0;
    memcpy(stream->into + stream->into_filled, data, n);
    stream->into_filled += n;
    if (stream->holds) stream->held += n;
    credit(stream, n);
    return n;
}

kith_err kith__stream_received(kith_stream *stream, const uint8_t *data, size_t size, bool fin)
{
    if (fin) stream->fin_received = true;
    if (stream->freed || stream->gone) { /* arrived between our STOP_SENDING and its effect */
        ngtcp2_conn_extend_max_offset(stream->conn->ng, size);
        return KITH_OK;
    }
    size_t direct = put_into(stream, data, size);
    stream->conn->buffered_bytes += size - direct;
    bool full = direct && stream->into_filled == stream->into_size;
    kith_err err = size > direct ? kith_recvbuf_add(&stream->in, data + direct, size - direct) : KITH_OK;
    if (err) return err;
    if ((size > direct || full || fin) && !stream->quiet) {
        stream->quiet = true;
        kith__event_stream(stream, KITH_QUIC_READABLE);
    }
    return KITH_OK;
}

bool kith_stream_peek(kith_stream *stream, const uint8_t **data, size_t *size, bool *fin)
{
    *fin = stream->fin_received && !stream->gone;
    *size = kith_recvbuf_peek(&stream->in, data);
    if (*size) {
        *fin = *fin && *size == stream->in.size;
        return true;
    }
    stream->quiet = false;
    return false;
}

void kith_stream_consume(kith_stream *stream, size_t size)
{
    if (size > stream->in.size) size = stream->in.size;
    kith_recvbuf_consume(&stream->in, size);
    credit(stream, size);
}

kith_err kith_stream_into(kith_stream *stream, void *memory, size_t size)
{
    if (stream->in.size || stream->into || !size) return KITH_ERR_STATE;
    stream->into = memory;
    stream->into_size = size;
    stream->into_filled = 0;
    stream->quiet = false;
    return KITH_OK;
}

size_t kith_stream_into_end(kith_stream *stream)
{
    size_t filled = stream->into ? stream->into_filled : 0;
    stream->into = NULL;
    return filled;
}

void kith_stream_hold(kith_stream *stream, uint64_t size, uint64_t room)
{
    uint64_t window = kith__window_max(stream->conn->quic);
    stream->holds = true;
    stream->held = size;
    stream->spare = room > window ? room - window : 0;
    credit(stream, 0);
}

void kith_stream_stop(kith_stream *stream, uint64_t code)
{
    if (!stream->can_receive || stream->gone || !usable(stream)) return;
    if (!stream->fin_received)
        ngtcp2_conn_shutdown_stream_read(stream->conn->ng, 0, stream->id, code & NGTCP2_MAX_VARINT);
    stream->gone = true;
    discard_received(stream);
    kith__conn_dirty(stream->conn);
}

void kith__stream_was_reset(kith_stream *stream, uint64_t code)
{
    if (!stream->can_receive || stream->gone) return;
    stream->gone = true;
    stream->reset_code = code;
    discard_received(stream);
    kith__event_stream(stream, KITH_QUIC_RESET);
}

void kith__stream_was_closed(kith_stream *stream)
{
    stream->closed = true;
    kith_list_remove(&stream->in_sendable);
    if (stream->freed) leave(stream);
}
