/* WebSockets: messages, how they end, and what the user does.  A message that is sent goes out at the end of the loop's
 * turn, with those sent after it. */
#include "base/mem.h"
#include "io/ws_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)

_Static_assert(KITH_WS_IN_SIZE >= KITH_WEBSOCKET_READER_MIN(KITH_WS_MESSAGE_MAX), "no room for a message");

static uint64_t now(const kith_ws *ws) { return kith_io_base.now_ns(&ws->io->env); }

/* ---- its life ---- */

static void free_ws(kith_ws *ws)
{
    kith_io_ws_drop_queue(ws, true);
    kith_io_ws_hang_up(ws);
    kith_io_resolve_cancel(ws->lookup);
    kith_io_timer_table.close(ws->timer);
    kith_io_tls_free(ws->tls);
    kith_free(ws->in.bytes);
    kith_free(ws->subprotocol);
    ws->io->objects--;
    kith_free(ws);
}

void kith_io_ws_set_timer(kith_ws *ws)
{
    uint64_t at = ws->again ? 0 : ws->connect_by_ns;
    if (ws->address_by_ns < at) at = ws->address_by_ns;
    if (ws->close_by_ns < at) at = ws->close_by_ns;
    kith_io_timer_table.set(ws->timer, at);
}

void kith_io_ws_look_again(kith_ws *ws)
{
    ws->again = true;
    kith_io_ws_set_timer(ws);
}

void kith_io_ws_end(kith_ws *ws, kith_err why, unsigned status)
{
    if (ws->closed) {
        free_ws(ws);
        return;
    }
    kith_io_resolve_cancel(ws->lookup);
    ws->lookup = NULL;
    kith_io_ws_drop_queue(ws, true);
    kith_io_ws_hang_up(ws);
    ws->phase = KITH_WS_ENDED;
    ws->connect_by_ns = ws->address_by_ns = ws->close_by_ns = UINT64_MAX;
    ws->again = false;
    kith_io_ws_set_timer(ws);
    ws->events.ended(ws->user, why, status); /* may close it */
}

void kith_io_ws_cut_off(kith_ws *ws, kith_err why)
{
    if (ws->phase < KITH_WS_OPEN) {
        kith_io_ws_not_opened(ws);
    } else if ((ws->again || kith_io_ws_is_held(ws)) && kith_io_ws_has_unread(ws)) {
        ws->was_cut_off = true;
    } else {
        bool broke_rules = ws->phase == KITH_WS_FAILING || why == KITH_ERR_PROTOCOL;
        kith_io_ws_end(ws, broke_rules ? KITH_ERR_PROTOCOL : KITH_ERR_LOST, 0);
    }
}

/* ---- messages ---- */

void kith_io_ws_opened(kith_ws *ws)
{
    ws->phase = KITH_WS_OPEN;
    if (!ws->proxy.host[0]) ws->remote = ws->addrs[ws->addr_next - 1];
    ws->connect_by_ns = UINT64_MAX;
    kith_io_ws_set_timer(ws);
    ws->events.connected(ws->user);
}

/* Say with which code we close, behind what is queued; what the peer says to that is waited for. */
static kith_err say_close(kith_ws *ws, kith_ws_phase phase, unsigned code)
{
    uint8_t payload[KITH_WEBSOCKET_CLOSE_CODE_SIZE];
    kith_websocket_write_code(payload, code);
    kith_err err = kith_io_ws_queue_frame(ws, KITH_WEBSOCKET_CLOSE, payload, sizeof payload);
    if (err) return err;
    ws->phase = phase;
    ws->close_by_ns = now(ws) + KITH_WS_CLOSE_NS;
    kith_io_ws_set_timer(ws);
    kith_io_ws_flush(ws);
    return KITH_OK;
}

/* The peer broke the rules.  A stream closed at once might take our reason with it: nobody reads what it goes on to
 * send, and the system answers that with a reset. */
static bool refuse(kith_ws *ws, unsigned code)
{
    size_t unread;
    (void)kith_websocket_unread(&ws->in, &unread);
    kith_websocket_skip(&ws->in, unread);
    kith_io_ws_drop_queue(ws, false);
    if (ws->phase == KITH_WS_OPEN && !say_close(ws, KITH_WS_FAILING, code)) return true;
    kith_io_ws_end(ws, KITH_ERR_PROTOCOL, 0);
    return false;
}

static bool on_peer_close(kith_ws *ws, unsigned code)
{
    uint8_t payload[KITH_WEBSOCKET_CLOSE_CODE_SIZE];
    if (ws->phase == KITH_WS_OPEN) { /* what is queued would not be read any more */
        kith_websocket_write_code(payload, code);
        kith_io_ws_drop_queue(ws, false);
        if (!kith_io_ws_queue_frame(ws, KITH_WEBSOCKET_CLOSE, payload, code ? sizeof payload : 0)) kith_io_ws_flush(ws);
    }
    kith_io_ws_end(ws, KITH_ERR_CLOSED, code);
    return false;
}

/* The answer to the last of several is enough (RFC 6455 section 5.5.3). */
static void on_ping(kith_ws *ws, const kith_websocket_item *ping)
{
    if (ws->phase != KITH_WS_OPEN) return;
    memcpy(ws->pong, ping->data, ping->size);
    ws->pong_size = (uint8_t)ping->size;
    ws->pong_owed = true;
    kith_io_ws_flush_later(ws);
}

bool kith_io_ws_messages(kith_ws *ws)
{
    while (ws->phase != KITH_WS_FAILING && !kith_io_ws_is_held(ws)) {
        kith_websocket_item item;
        switch (kith_websocket_next(&ws->in, &item)) {
        case KITH_WEBSOCKET_MORE: return true;
        case KITH_WEBSOCKET_MESSAGE:
            if (ws->phase == KITH_WS_OPEN) ws->events.message(ws->user, item.data, item.size);
            break;
        case KITH_WEBSOCKET_PINGED: on_ping(ws, &item); break;
        case KITH_WEBSOCKET_CLOSED: return on_peer_close(ws, item.code);
        case KITH_WEBSOCKET_BROKEN: return refuse(ws, item.code);
        }
    }
    return true;
}

bool kith_io_ws_may_write(const kith_ws *ws)
{
    return ws->owed && ws->phase == KITH_WS_OPEN && ws->out_size <= KITH_WS_QUEUE_MAX / 2;
}

void kith_io_ws_tell_writable(kith_ws *ws)
{
    if (!kith_io_ws_may_write(ws)) return;
    ws->owed = false;
    ws->events.writable(ws->user);
}

/* ---- in time ---- */

static void on_timer(void *user)
{
    kith_ws *ws = user;
    uint64_t at = now(ws);
    if (ws->close_by_ns <= at) {
        kith_io_ws_end(ws, KITH_ERR_PROTOCOL, 0);
    } else if (ws->connect_by_ns <= at) {
        kith_io_ws_end(ws, KITH_ERR_TIMEOUT, 0);
    } else if (ws->address_by_ns <= at) {
        kith_io_ws_not_opened(ws);
    } else {
        bool again = ws->again;
        ws->again = false;
        kith_io_ws_set_timer(ws);
        if (!again) return;
        kith_io_ws_tell_writable(ws);
        kith_io_ws_read_on(ws);
    }
}

/* ---- what the user does ---- */

static kith_err begin(kith_ws *ws, const kith_ws_options *options)
{
    kith_err err = kith_url_parse(options->url, &ws->url);
    if (!err) err = kith_io_proxy_for(&ws->url, getenv, &ws->proxy);
    if (err) return err;
    if (options->ca_file && access(options->ca_file, R_OK)) return KITH_ERR_FORMAT;
    void *memory = kith_malloc(KITH_WS_IN_SIZE);
    if (!memory) return KITH_ERR_NOMEM;
    kith_websocket_reader_init(&ws->in, memory, KITH_WS_IN_SIZE, KITH_WS_MESSAGE_MAX, false);
    if (options->subprotocol && !(ws->subprotocol = kith_strdup(options->subprotocol))) return KITH_ERR_NOMEM;
    ws->timer = kith_io_timer_table.open(&ws->io->env, on_timer, ws);
    if (!ws->timer) return KITH_ERR_NOMEM;
    if (ws->url.secure) err = kith_io_tls_new(&ws->url, options->ca_file, &ws->tls);
    if (err) return err;
    uint64_t timeout_ms = options->timeout_ms ? options->timeout_ms : KITH_WS_CONNECT_MS;
    ws->connect_by_ns = now(ws) + timeout_ms * NS_PER_MS;
    bool proxied = ws->proxy.host[0];
    return kith_io_resolve(ws->io, proxied ? ws->proxy.host : ws->url.host, proxied ? ws->proxy.port : ws->url.port,
                           kith_io_ws_resolved, ws, &ws->lookup);
}

static kith_err ws_connect(kith_env *env, const kith_ws_options *options, const kith_ws_events *events, void *user,
                           kith_ws **out)
{
    kith_ws *ws = kith_calloc(1, sizeof *ws);
    if (!ws) return KITH_ERR_NOMEM;
    ws->io = kith_io_of(env);
    ws->io->objects++;
    ws->events = *events;
    ws->user = user;
    ws->connect_by_ns = ws->address_by_ns = ws->close_by_ns = UINT64_MAX;
    kith_list_init(&ws->out);
    kith_err err = begin(ws, options);
    if (err) {
        free_ws(ws);
        return err;
    }
    kith_io_ws_set_timer(ws);
    *out = ws;
    return KITH_OK;
}

static kith_err ws_send(kith_ws *ws, const void *data, size_t size)
{
    if (size > KITH_WS_MESSAGE_MAX) return KITH_ERR_LIMIT;
    if (ws->phase < KITH_WS_OPEN) return KITH_ERR_STATE;
    if (ws->phase > KITH_WS_OPEN || ws->was_cut_off) return KITH_ERR_CLOSED;
    if (ws->out_size && ws->out_size + size > KITH_WS_QUEUE_MAX) {
        ws->owed = true;
        return KITH_ERR_AGAIN;
    }
    kith_err err = kith_io_ws_queue_frame(ws, KITH_WEBSOCKET_BINARY, data, size);
    if (!err) kith_io_ws_flush_later(ws);
    return err;
}

static size_t ws_queued(const kith_ws *ws) { return ws->out_size; }

static void ws_pause(kith_ws *ws) { ws->paused = true; }

static void ws_resume(kith_ws *ws)
{
    if (!ws->paused) return;
    ws->paused = false;
    if (ws->phase == KITH_WS_OPEN) kith_io_ws_look_again(ws);
}

static kith_addr ws_remote(const kith_ws *ws) { return ws->remote; }

static void ws_close(kith_ws *ws)
{
    if (!ws) return;
    ws->closed = true;
    if (ws->phase == KITH_WS_FAILING) return; /* its close is on its way */
    if (ws->phase != KITH_WS_OPEN) {
        free_ws(ws);
        return;
    }
    if (ws->was_cut_off || say_close(ws, KITH_WS_CLOSING, KITH_WEBSOCKET_CODE_NORMAL)) {
        ws->phase = KITH_WS_CLOSING;
        ws->close_by_ns = 0; /* at once, but not within a callback */
    }
    ws->paused = false;
    kith_io_ws_look_again(ws); /* for the peer's answer */
}

static kith_err ws_proxy(kith_env *env, const char *text, char *out, size_t size)
{
    kith_io_proxy proxy;
    kith_url url;
    (void)env;
    kith_err err = kith_url_parse(text, &url);
    if (!err) err = kith_io_proxy_for(&url, getenv, &proxy);
    if (err) return err;
    const char *form = !proxy.host[0] ? "" : strchr(proxy.host, ':') ? "[%s]:%u" : "%s:%u";
    snprintf(out, size, form, proxy.host, (unsigned)proxy.port);
    return KITH_OK;
}

const kith_env_ws kith_io_ws_table = {
    .connect = ws_connect,
    .send = ws_send,
    .queued = ws_queued,
    .pause = ws_pause,
    .resume = ws_resume,
    .remote = ws_remote,
    .close = ws_close,
    .proxy = ws_proxy,
};
