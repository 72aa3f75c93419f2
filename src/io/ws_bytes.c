/* The bytes below a WebSocket's messages: a stream, with or without TLS in it, and the queue of what is to be sent. */
#include "base/mem.h"
#include "io/ws_internal.h"

#include <string.h>

#define PIECES_MAX 64                 /* chunks given to the stream at once */
#define TLS_BATCH  ((size_t)64 << 10) /* bytes sealed before they are sent */

static const kith_env_tcp *const tcp_table = &kith_io_tcp_table;

/* ---- what waits to be sent ---- */

static const uint8_t *next_mask(kith_ws *ws)
{
    if (!ws->masks_left) {
        kith_io_base.random(&ws->io->env, ws->masks, sizeof ws->masks);
        ws->masks_left = KITH_WS_MASKS;
    }
    return ws->masks[--ws->masks_left];
}

static kith_ws_chunk *chunk_new(size_t room)
{
    kith_ws_chunk *chunk = kith_malloc(sizeof *chunk + room);
    if (chunk) *chunk = (kith_ws_chunk){0};
    return chunk;
}

static kith_ws_chunk *frame_new(kith_ws *ws, kith_websocket_opcode opcode, const void *data, size_t size)
{
    kith_ws_chunk *chunk = chunk_new(KITH_WEBSOCKET_FRAME_HEAD_MAX + size);
    if (!chunk) return NULL;
    const uint8_t *mask = next_mask(ws);
    size_t head = kith_websocket_write_head(chunk->bytes, opcode, size, mask);
    kith_websocket_mask(chunk->bytes + head, data, size, mask, 0);
    chunk->size = head + size;
    return chunk;
}

kith_err kith_io_ws_queue_text(kith_ws *ws, const char *text)
{
    size_t size = strlen(text);
    kith_ws_chunk *chunk = chunk_new(size);
    if (!chunk) return KITH_ERR_NOMEM;
    memcpy(chunk->bytes, text, size);
    chunk->size = size;
    kith_list_append(&ws->out, &chunk->link);
    return KITH_OK;
}

kith_err kith_io_ws_queue_frame(kith_ws *ws, kith_websocket_opcode opcode, const void *data, size_t size)
{
    kith_ws_chunk *chunk = frame_new(ws, opcode, data, size);
    if (!chunk) return KITH_ERR_NOMEM;
    if (opcode == KITH_WEBSOCKET_BINARY) ws->out_size += chunk->counted = size;
    kith_list_append(&ws->out, &chunk->link);
    return KITH_OK;
}

static void drop(kith_ws *ws, kith_ws_chunk *chunk)
{
    kith_list_remove(&chunk->link);
    ws->out_size -= chunk->counted;
    kith_free(chunk);
}

void kith_io_ws_drop_queue(kith_ws *ws, bool all)
{
    KITH_EACH (link, &ws->out) {
        kith_ws_chunk *chunk = KITH_OF(link, kith_ws_chunk, link);
        if (all || !chunk->sent) drop(ws, chunk);
    }
}

/* Ahead of all but a frame of which a part is sent; without memory it waits. */
static void place_pong(kith_ws *ws)
{
    kith_link *first = kith_list_first(&ws->out);
    if (!ws->pong_owed || ws->phase != KITH_WS_OPEN || (first && KITH_OF(first, kith_ws_chunk, link)->sent)) return;
    kith_ws_chunk *chunk = frame_new(ws, KITH_WEBSOCKET_PONG, ws->pong, ws->pong_size);
    if (!chunk) return;
    kith_list_prepend(&ws->out, &chunk->link);
    ws->pong_owed = false;
}

/* ---- sending ---- */

static void sent(kith_ws *ws, size_t size)
{
    while (size) {
        kith_ws_chunk *chunk = KITH_OF(kith_list_first(&ws->out), kith_ws_chunk, link);
        size_t left = chunk->size - chunk->sent;
        if (size < left) {
            chunk->sent += size;
            return;
        }
        size -= left;
        drop(ws, chunk);
    }
}

/* Whether all of it was taken. */
static bool give(kith_ws *ws, const struct iovec *pieces, size_t count, size_t total, size_t *taken)
{
    *taken = 0;
    return tcp_table->send(ws->tcp, pieces, count, taken) == KITH_OK && *taken == total;
}

static void flush_plain(kith_ws *ws)
{
    struct iovec pieces[PIECES_MAX];
    bool more = true;
    while (more && !kith_list_empty(&ws->out)) {
        size_t count = 0, total = 0, taken;
        KITH_EACH (link, &ws->out) {
            kith_ws_chunk *chunk = KITH_OF(link, kith_ws_chunk, link);
            if (count == PIECES_MAX) break;
            pieces[count] = (struct iovec){chunk->bytes + chunk->sent, chunk->size - chunk->sent};
            total += pieces[count++].iov_len;
        }
        more = give(ws, pieces, count, total, &taken);
        sent(ws, taken);
    }
}

static void flush_tls(kith_ws *ws)
{
    for (bool more = true; more;) {
        const uint8_t *data;
        size_t taken, size = kith_io_tls_output(ws->tls, &data);
        kith_link *link = kith_list_first(&ws->out);
        if (ws->phase > KITH_WS_HANDSHAKE && link && size < TLS_BATCH) {
            kith_ws_chunk *chunk = KITH_OF(link, kith_ws_chunk, link);
            if (kith_io_tls_write(ws->tls, chunk->bytes, chunk->size)) return;
            drop(ws, chunk);
        } else if (size) {
            more = give(ws, &(struct iovec){(void *)data, size}, 1, size, &taken);
            kith_io_tls_sent(ws->tls, taken);
        } else {
            return;
        }
    }
}

void kith_io_ws_flush(kith_ws *ws)
{
    if (!ws->tcp || ws->phase <= KITH_WS_CONNECTING) return;
    place_pong(ws);
    if (ws->tls && ws->phase >= KITH_WS_HANDSHAKE) {
        flush_tls(ws);
    } else {
        flush_plain(ws);
    }
}

void kith_io_ws_flush_later(kith_ws *ws)
{
    if (!ws->unsent.next) kith_list_append(&ws->io->ws_unsent, &ws->unsent);
}

void kith_io_ws_flush_all(kith_io *io)
{
    for (kith_link *link; (link = kith_list_take_first(&io->ws_unsent));) {
        kith_ws *ws = KITH_OF(link, kith_ws, unsent);
        kith_io_ws_flush(ws);
        if (kith_io_ws_may_write(ws)) kith_io_ws_look_again(ws);
    }
}

/* ---- receiving ---- */

static bool in_tls(const kith_ws *ws) { return ws->tls && ws->phase >= KITH_WS_HANDSHAKE; }

/* What is in the reader. */
static bool take(kith_ws *ws)
{
    switch (ws->phase) {
    case KITH_WS_TUNNEL:
    case KITH_WS_UPGRADE: return kith_io_ws_answered(ws);
    case KITH_WS_OPEN:
    case KITH_WS_CLOSING: return kith_io_ws_messages(ws);
    default: return true;
    }
}

static bool wants_more(const kith_ws *ws)
{
    return ws->phase >= KITH_WS_UPGRADE && ws->phase != KITH_WS_FAILING && !kith_io_ws_is_held(ws);
}

static bool take_tls(kith_ws *ws)
{
    if (ws->phase == KITH_WS_HANDSHAKE && !kith_io_ws_shake_hands(ws)) return false;
    while (wants_more(ws)) {
        size_t room, got;
        uint8_t *at = kith_websocket_room(&ws->in, &room);
        kith_err err = kith_io_tls_read(ws->tls, at, room, &got);
        if (err == KITH_ERR_AGAIN) break;
        if (err) {
            kith_io_ws_cut_off(ws, err);
            return false;
        }
        kith_websocket_received(&ws->in, got);
        if (!take(ws)) return false;
    }
    kith_io_ws_flush(ws); /* what TLS itself has to say */
    return true;
}

static bool take_all(kith_ws *ws) { return take(ws) && (!in_tls(ws) || take_tls(ws)); }

bool kith_io_ws_has_unread(const kith_ws *ws)
{
    size_t size;
    (void)kith_websocket_unread(&ws->in, &size);
    return size || (in_tls(ws) && kith_io_tls_has_unread(ws->tls));
}

void kith_io_ws_read_on(kith_ws *ws)
{
    if (!take_all(ws) || kith_io_ws_is_held(ws)) return;
    if (ws->was_cut_off) {
        kith_io_ws_cut_off(ws, KITH_ERR_LOST);
    } else {
        tcp_table->resume(ws->tcp);
    }
}

/* ---- the stream's events ---- */

static void on_connected(void *user) { kith_io_ws_connected(user); }

static uint8_t *on_room(void *user, size_t *size)
{
    kith_ws *ws = user;
    if (ws->again || kith_io_ws_is_held(ws)) return NULL; /* what is there already comes first */
    return in_tls(ws) ? kith_io_tls_room(ws->tls, size) : kith_websocket_room(&ws->in, size);
}

static void on_received(void *user, size_t size)
{
    kith_ws *ws = user;
    if (ws->phase == KITH_WS_FAILING) return; /* nothing of it is looked at, and it is written over */
    if (!in_tls(ws)) {
        kith_websocket_received(&ws->in, size);
    } else if (kith_io_tls_received(ws->tls, size)) {
        kith_io_ws_end(ws, KITH_ERR_NOMEM, 0);
        return;
    }
    (void)take_all(ws);
}

static void on_writable(void *user)
{
    kith_ws *ws = user;
    kith_io_ws_flush(ws);
    kith_io_ws_tell_writable(ws);
}

static void on_ended(void *user, kith_err why) { kith_io_ws_cut_off(user, why); }

kith_err kith_io_ws_dial(kith_ws *ws, const kith_addr *addr)
{
    static const kith_tcp_events events = {on_connected, on_room, on_received, on_writable, on_ended};
    return tcp_table->connect(&ws->io->env, addr, &events, ws, &ws->tcp);
}

void kith_io_ws_hang_up(kith_ws *ws)
{
    if (ws->tcp && in_tls(ws)) {
        kith_io_tls_end(ws->tls);
        flush_tls(ws);
    }
    kith_list_remove(&ws->unsent);
    tcp_table->close(ws->tcp);
    ws->tcp = NULL;
}
