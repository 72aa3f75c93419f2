/* How a WebSocket comes to be: address after address, a proxy's tunnel, TLS, HTTP. */
#include "io/ws_internal.h"

#include <string.h>

#define ADDRESS_NS         UINT64_C(4000000000) /* for one address, while there are others to try */
#define BAD_GATEWAY        502                  /* RFC 9110 section 15.6: a proxy found no way, and */
#define UNAVAILABLE        503
#define GATEWAY_TIMEOUT    504
#define IS_SUCCESS(status) ((status) / 100 == 2)

static bool over(kith_ws *ws, kith_err why, unsigned status)
{
    kith_io_ws_end(ws, why, status);
    return false;
}

static bool has_more(const kith_ws *ws) { return ws->addr_next < ws->addr_count; }

static void next_address(kith_ws *ws)
{
    kith_err err = KITH_ERR_UNREACHABLE;
    while (err == KITH_ERR_UNREACHABLE && has_more(ws)) err = kith_io_ws_dial(ws, &ws->addrs[ws->addr_next++]);
    if (err) {
        kith_io_ws_end(ws, err, 0);
        return;
    }
    ws->phase = KITH_WS_CONNECTING;
    ws->address_by_ns = has_more(ws) ? kith_io_base.now_ns(&ws->io->env) + ADDRESS_NS : UINT64_MAX;
    kith_io_ws_set_timer(ws);
}

void kith_io_ws_resolved(void *user, const kith_addr *addrs, size_t count)
{
    kith_ws *ws = user;
    ws->lookup = NULL;
    memcpy(ws->addrs, addrs, count * sizeof *addrs);
    ws->addr_count = count;
    next_address(ws);
}

/* ---- with the server, or through the tunnel ---- */

static bool ask_server(kith_ws *ws)
{
    char request[KITH_WEBSOCKET_REQUEST_MAX];
    uint8_t nonce[KITH_WEBSOCKET_NONCE_SIZE];
    kith_io_base.random(&ws->io->env, nonce, sizeof nonce);
    kith_websocket_key(nonce, ws->key);
    kith_err err = kith_websocket_request(&ws->url, ws->key, ws->subprotocol, request);
    if (!err) err = kith_io_ws_queue_text(ws, request);
    if (err) return over(ws, err, 0);
    ws->phase = KITH_WS_UPGRADE;
    kith_io_ws_flush(ws);
    return true;
}

bool kith_io_ws_shake_hands(kith_ws *ws)
{
    kith_ws_certificate fault;
    kith_err err = kith_io_tls_handshake(ws->tls, &fault);
    kith_io_ws_flush(ws); /* an alert, too */
    if (err == KITH_ERR_AGAIN) return true;
    if (err == KITH_ERR_CERTIFICATE) return over(ws, err, fault);
    return err ? over(ws, KITH_ERR_DECLINED, 0) : ask_server(ws);
}

static bool begin(kith_ws *ws)
{
    if (!ws->tls) return ask_server(ws);
    ws->phase = KITH_WS_HANDSHAKE;
    return kith_io_ws_shake_hands(ws);
}

static bool on_server_answer(kith_ws *ws)
{
    size_t size, head;
    unsigned status;
    const uint8_t *data = kith_websocket_unread(&ws->in, &size);
    if (kith_websocket_head(data, size, &head, &status)) return over(ws, KITH_ERR_DECLINED, 0);
    if (!head) return true;
    if (kith_websocket_agreed(data, head, ws->key, ws->subprotocol)) return over(ws, KITH_ERR_DECLINED, status);
    kith_websocket_skip(&ws->in, head);
    kith_io_ws_opened(ws);
    return kith_io_ws_messages(ws); /* some may have come with it */
}

/* ---- with a proxy ---- */

static void ask_proxy(kith_ws *ws)
{
    char request[KITH_WEBSOCKET_REQUEST_MAX];
    kith_err err = kith_websocket_tunnel_request(&ws->url, ws->proxy.user, request);
    if (!err) err = kith_io_ws_queue_text(ws, request);
    if (err) {
        kith_io_ws_end(ws, err, 0);
        return;
    }
    ws->phase = KITH_WS_TUNNEL;
    kith_io_ws_flush(ws);
}

static kith_err refusal(unsigned status)
{
    bool no_way = status == BAD_GATEWAY || status == UNAVAILABLE || status == GATEWAY_TIMEOUT;
    return no_way ? KITH_ERR_UNREACHABLE : KITH_ERR_NETWORK;
}

static bool on_proxy_answer(kith_ws *ws)
{
    size_t size, head;
    unsigned status;
    const uint8_t *data = kith_websocket_unread(&ws->in, &size);
    if (kith_websocket_head(data, size, &head, &status)) return over(ws, KITH_ERR_NETWORK, 0);
    if (!head) return true;
    if (!IS_SUCCESS(status)) return over(ws, refusal(status), 0);
    if (size > head) return over(ws, KITH_ERR_NETWORK, 0); /* who is behind it does not speak first */
    kith_websocket_skip(&ws->in, head);
    return begin(ws);
}

/* ---- what the stream says ---- */

void kith_io_ws_connected(kith_ws *ws)
{
    ws->address_by_ns = UINT64_MAX;
    kith_io_ws_set_timer(ws);
    if (ws->proxy.host[0]) {
        ask_proxy(ws);
    } else {
        (void)begin(ws);
    }
}

bool kith_io_ws_answered(kith_ws *ws)
{
    return ws->phase == KITH_WS_TUNNEL ? on_proxy_answer(ws) : on_server_answer(ws);
}

void kith_io_ws_not_opened(kith_ws *ws)
{
    if (ws->phase == KITH_WS_CONNECTING) {
        kith_io_ws_hang_up(ws);
        next_address(ws);
    } else {
        kith_io_ws_end(ws, ws->phase == KITH_WS_TUNNEL ? KITH_ERR_NETWORK : KITH_ERR_DECLINED, 0);
    }
}
