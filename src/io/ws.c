/* One WebSocket: looked up, connected, address after address, and its two queues.  The library's handle (`wsi`) may end
 * at any time, from the loop; ours lives until the user closed it and the library let go.
 *
 * Known of the library (4.1.6): a proxy's answer to CONNECT has to come in one piece; close codes 1012 to 1015 are told
 * as 1002; once connected it wakes the loop every 30 s. */
#include "base/mem.h"
#include "io/ws_internal.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS        UINT64_C(1000000)
#define PROXIED_HOST_MAX 96 /* the library writes a tunnel's request, with the host twice, into 256 bytes */
#define ADDRESS_NS       UINT64_C(4000000000) /* for one address, while there are others to try */
#define CLOSE_NORMAL     1000                 /* RFC 6455 section 7.4.1 */
#define CLOSE_TEXT       1003
#define CLOSE_TOO_BIG    1009
#define CLOSE_INTERNAL   1011
#define WRITE_CLOSE                                                                                                    \
    ((enum lws_write_protocol)4) /* LWS_WRITE_CLOSE, which the library has and its header only mentions */
#define WRITE_ROUNDS 16          /* messages handed over in one wake-up */

typedef struct outgoing {
    kith_link link;
    size_t size;
    uint8_t bytes[]; /* LWS_PRE of the library's, then the message */
} outgoing;

static uint64_t now(const kith_ws *ws) { return kith_io_base.now_ns(&ws->io->env); }

/* ---- its life ---- */

static void drop_messages(kith_ws *ws)
{
    for (kith_link *link; (link = kith_list_take_first(&ws->out));) kith_free(KITH_OF(link, outgoing, link));
    ws->out_size = 0;
    kith_free(ws->in);
    ws->in = NULL;
    ws->in_size = ws->in_cap = 0;
}

static void free_ws(kith_ws *ws)
{
    drop_messages(ws);
    kith_io_resolve_cancel(ws->lookup);
    kith_io_timer_table.close(ws->timer);
    kith_free(ws->ca_file);
    kith_free(ws->subprotocol);
    ws->io->objects--;
    kith_free(ws);
}

static void set_timer(kith_ws *ws)
{
    uint64_t at = ws->again ? 0 : ws->connect_by_ns;
    if (ws->wsi && !ws->tcp && ws->address_by_ns < at) at = ws->address_by_ns;
    if (ws->close_by_ns < at) at = ws->close_by_ns;
    kith_io_timer_table.set(ws->timer, at);
}

static void end(kith_ws *ws, kith_err why, unsigned status)
{
    if (ws->ended || ws->closing) return;
    ws->ended = true;
    ws->connect_by_ns = ws->address_by_ns = UINT64_MAX;
    set_timer(ws);
    drop_messages(ws);
    ws->events.ended(ws->user, why, status); /* may close it */
}

/* The library lets go of its handle at once, and says so to our callback: it may be gone afterwards.  Not from a
 * callback for this handle. */
static void kill_wsi(kith_ws *ws) { lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC); }

/* ---- connecting ---- */

static bool has_more(const kith_ws *ws) { return ws->addr_next < ws->addr_count; }

static void host_header(const kith_ws *ws, char *out, size_t size)
{
    const char *open = ws->url.is_ipv6 ? "[" : "", *close = ws->url.is_ipv6 ? "]" : "";
    if (ws->url.port == (ws->url.secure ? 443 : 80)) {
        snprintf(out, size, "%s%s%s", open, ws->url.host, close);
    } else {
        snprintf(out, size, "%s%s%s:%u", open, ws->url.host, close, ws->url.port);
    }
}

/* An address as getaddrinfo reads it without asking anybody. */
static void address_text(const kith_addr *addr, char *out, size_t size)
{
    struct sockaddr_storage name;
    unsigned length = kith_addr_to_sockaddr(addr, false, &name);
    if (getnameinfo((struct sockaddr *)&name, length, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST)) out[0] = 0;
}

/* Try the next address. */
static kith_err start(kith_ws *ws)
{
    const kith_addr *addr = &ws->addrs[ws->addr_next++];
    bool proxied = ws->proxy.host[0];
    char address[KITH_URL_HOST_SIZE + 3], host[KITH_URL_HOST_SIZE + 10];
    host_header(ws, host, sizeof host);
    if (proxied) { /* what it is asked for */
        snprintf(address, sizeof address, ws->url.is_ipv6 ? "[%s]" : "%s", ws->url.host);
    } else {
        address_text(addr, address, sizeof address);
    }
    int tls = ws->url.secure ? LCCSCF_USE_SSL : 0;
    if (ws->url.is_ipv6) tls |= LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK; /* ours is in ws_context.c */
    struct lws_client_connect_info info = {
        .address = address,
        .port = ws->url.port,
        .path = ws->url.path,
        .host = host,
        .alpn = "http/1.1",
        .ssl_connection = tls | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .protocol = ws->subprotocol,
        .local_protocol_name = KITH_WS_LOCAL_PROTOCOL,
        .opaque_user_data = ws,
    };
    kith_err err = kith_io_ws_place(ws, proxied ? addr : NULL, &info);
    if (err) return err;
    ws->tcp = ws->established = false;
    ws->certificate = KITH_WS_CERTIFICATE_GOOD;
    ws->address_by_ns = has_more(ws) ? now(ws) + ADDRESS_NS : UINT64_MAX;
    ws->wsi = lws_client_connect_via_info(&info);
    return ws->wsi ? KITH_OK : KITH_ERR_UNREACHABLE;
}

/* The next address that there is a way to at all. */
static void start_next(kith_ws *ws)
{
    kith_err err = KITH_ERR_UNREACHABLE;
    ws->again = false;
    while (err == KITH_ERR_UNREACHABLE && has_more(ws)) err = start(ws);
    if (err) {
        end(ws, err, 0);
    } else {
        set_timer(ws);
    }
}

static void on_resolved(void *user, const kith_addr *addrs, size_t count)
{
    kith_ws *ws = user;
    ws->lookup = NULL;
    memcpy(ws->addrs, addrs, count * sizeof *addrs);
    ws->addr_count = count;
    start_next(ws);
}

static void on_connect_timeout(kith_ws *ws)
{
    kith_io_resolve_cancel(ws->lookup);
    ws->lookup = NULL;
    ws->timed_out = true;
    if (ws->wsi) {
        kill_wsi(ws);
    } else {
        end(ws, KITH_ERR_TIMEOUT, 0);
    }
}

static void on_timer(void *user)
{
    kith_ws *ws = user;
    uint64_t at = now(ws);
    bool close = ws->close_by_ns <= at, connect = ws->connect_by_ns <= at, address = ws->address_by_ns <= at;
    if (close) ws->close_by_ns = UINT64_MAX;
    if (connect) ws->connect_by_ns = UINT64_MAX;
    if (address) ws->address_by_ns = UINT64_MAX;
    set_timer(ws);
    if (close) {
        if (ws->wsi) kill_wsi(ws);
    } else if (connect) {
        on_connect_timeout(ws);
    } else if (ws->again) {
        start_next(ws);
    } else if (address && ws->wsi && !ws->tcp) {
        kill_wsi(ws);
    }
}

/* ---- what the library says ---- */

/* The handle is gone. */
static void let_go(kith_ws *ws)
{
    ws->wsi = NULL;
    if (ws->closing) free_ws(ws);
}

static void on_failed(struct lws *wsi, kith_ws *ws, const char *what)
{
    int status = (int)lws_http_client_http_response(wsi);
    bool tcp = ws->tcp;
    lws_set_opaque_user_data(wsi, NULL);
    if (ws->closing || ws->ended) {
        let_go(ws);
        return;
    }
    ws->wsi = NULL;
    if (ws->timed_out) {
        end(ws, KITH_ERR_TIMEOUT, 0);
    } else if (ws->certificate) {
        end(ws, KITH_ERR_CERTIFICATE, ws->certificate);
    } else if (!tcp && has_more(ws)) {
        ws->again = true;
        set_timer(ws);
    } else if (!tcp) {
        end(ws, KITH_ERR_UNREACHABLE, 0);
    } else if (what && strncmp(what, "proxy", 5) == 0) {
        end(ws, KITH_ERR_NETWORK, 0);
    } else {
        end(ws, KITH_ERR_DECLINED, status > 0 ? (unsigned)status : 0);
    }
}

static bool agreed(struct lws *wsi, const kith_ws *ws)
{
    char protocol[64] = "";
    if (!ws->subprotocol) return true;
    int size = lws_hdr_copy(wsi, protocol, sizeof protocol, WSI_TOKEN_PROTOCOL);
    return size > 0 && strcmp(protocol, ws->subprotocol) == 0;
}

static void on_established(struct lws *wsi, kith_ws *ws)
{
    int fd = lws_get_socket_fd(wsi);
    kith_io_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    kith_io_set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, KITH_TCP_UNSENT_MAX);
    kith_io_set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, KITH_TCP_SILENCE_MS);
    ws->established = true;
    if (ws->closing) return;
    ws->connect_by_ns = ws->address_by_ns = UINT64_MAX;
    set_timer(ws);
    ws->events.connected(ws->user);
}

/* The callback for received bytes must not ask for the end itself: the library would go on to fill its buffer where it
 * stopped, past its end.  What comes meanwhile is dropped. */
static void refuse(struct lws *wsi, kith_ws *ws, kith_err why, unsigned code)
{
    ws->why = why;
    ws->code = code;
    lws_callback_on_writable(wsi);
}

/* Add to the message that has begun; false when out of memory. */
static bool gather(kith_ws *ws, const uint8_t *data, size_t size, size_t more)
{
    size_t want = ws->in_size + size + more;
    if (want > ws->in_cap) {
        uint8_t *in = kith_realloc(ws->in, want);
        if (!in) return false;
        ws->in = in;
        ws->in_cap = want;
    }
    if (size) memcpy(ws->in + ws->in_size, data, size);
    ws->in_size += size;
    return true;
}

/* A frame, or a part of one. */
static void on_receive(struct lws *wsi, kith_ws *ws, uint8_t *data, size_t size)
{
    size_t more = lws_remaining_packet_payload(wsi);
    bool whole = more == 0 && lws_is_final_fragment(wsi);
    if (ws->closing || ws->ended || ws->why) return;
    if (!lws_frame_is_binary(wsi)) {
        refuse(wsi, ws, KITH_ERR_PROTOCOL, CLOSE_TEXT);
    } else if (more > KITH_WS_MESSAGE_MAX || ws->in_size + size + more > KITH_WS_MESSAGE_MAX) {
        refuse(wsi, ws, KITH_ERR_PROTOCOL, CLOSE_TOO_BIG);
    } else if (whole && !ws->in_size) {
        ws->events.message(ws->user, data, size);
    } else if (!gather(ws, data, size, more)) {
        refuse(wsi, ws, KITH_ERR_NOMEM, CLOSE_INTERNAL);
    } else if (whole) {
        uint8_t *message = ws->in; /* the user may close us */
        size = ws->in_size;
        ws->in = NULL;
        ws->in_size = ws->in_cap = 0;
        ws->events.message(ws->user, message, size);
        kith_free(message);
    }
}

static int write_some(struct lws *wsi, kith_ws *ws)
{
    for (int round = 0; round < WRITE_ROUNDS && !lws_send_pipe_choked(wsi); round++) {
        kith_link *link = kith_list_take_first(&ws->out);
        if (!link) return 0;
        outgoing *message = KITH_OF(link, outgoing, link);
        size_t size = message->size;
        int sent = lws_write(wsi, message->bytes + LWS_PRE, size, LWS_WRITE_BINARY);
        kith_free(message);
        ws->out_size -= size;
        if (sent < 0 || (size_t)sent < size) return -1; /* what the socket does not take the library keeps */
    }
    return 0;
}

/* The frame is ours: what lws_close_reason leaves to be sent does not always go out.  The peer's answer, or the end of
 * our patience, ends it. */
static int say_close(struct lws *wsi, kith_ws *ws, unsigned code)
{
    uint8_t frame[LWS_PRE + 2] = {[LWS_PRE] = (uint8_t)(code >> 8), (uint8_t)code};
    if (ws->said_close) return 0;
    ws->said_close = true;
    ws->close_by_ns = now(ws) + KITH_WS_CLOSE_NS;
    set_timer(ws);
    return lws_write(wsi, frame + LWS_PRE, 2, WRITE_CLOSE) < 0 ? -1 : 0;
}

static int on_writable(struct lws *wsi, kith_ws *ws)
{
    if (ws->ended) return -1;
    if (ws->why) return say_close(wsi, ws, ws->code);
    if (write_some(wsi, ws)) return -1;
    if (!kith_list_empty(&ws->out)) {
        lws_callback_on_writable(wsi);
    } else if (ws->closing) {
        return say_close(wsi, ws, CLOSE_NORMAL);
    }
    if (ws->owed && !ws->closing && ws->out_size <= KITH_WS_QUEUE_MAX / 2) {
        ws->owed = false;
        ws->events.writable(ws->user);
    }
    return 0;
}

static void on_peer_close(kith_ws *ws, const uint8_t *code, size_t size)
{
    ws->closed_by_peer = true;
    if (size >= 2) ws->status = (unsigned)code[0] << 8 | code[1];
}

static void on_closed(struct lws *wsi, kith_ws *ws)
{
    if (!ws->established) {
        on_failed(wsi, ws, NULL);
        return;
    }
    lws_set_opaque_user_data(wsi, NULL);
    if (ws->closing || ws->ended) {
        let_go(ws);
        return;
    }
    ws->wsi = NULL;
    end(ws, ws->why ? ws->why : ws->closed_by_peer ? KITH_ERR_CLOSED : KITH_ERR_LOST, ws->status);
}

static int check_certificate(struct lws *wsi, void *store_context, bool chain_good)
{
    kith_ws *ws = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (!ws) return 1;
    ws->certificate = kith_io_ws_certificate(ws, store_context, chain_good);
    return ws->certificate != KITH_WS_CERTIFICATE_GOOD;
}

int kith_io_ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *unused, void *in, size_t size)
{
    (void)unused;
    /* Here `size` is whether the certificate's chain is good. */
    if (reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION) return check_certificate(wsi, unused, size);
    bool ours = reason == LWS_CALLBACK_WSI_CREATE || reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR ||
                reason == LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH || reason == LWS_CALLBACK_CLIENT_ESTABLISHED ||
                reason == LWS_CALLBACK_CLIENT_RECEIVE || reason == LWS_CALLBACK_CLIENT_WRITEABLE ||
                reason == LWS_CALLBACK_WS_PEER_INITIATED_CLOSE || reason == LWS_CALLBACK_CLIENT_CLOSED ||
                reason == LWS_CALLBACK_WSI_DESTROY;
    kith_ws *ws = ours && wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (!ws || ws->io->ws_over) return 0;
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE: ws->tcp = true; break;
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH: return agreed(wsi, ws) ? 0 : -1;
    case LWS_CALLBACK_CLIENT_ESTABLISHED: on_established(wsi, ws); break;
    case LWS_CALLBACK_CLIENT_RECEIVE: on_receive(wsi, ws, in, size); break;
    case LWS_CALLBACK_CLIENT_WRITEABLE: return ws->established ? on_writable(wsi, ws) : 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: on_peer_close(ws, in, size); break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: on_failed(wsi, ws, in); break;
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WSI_DESTROY: on_closed(wsi, ws); break;
    default: break;
    }
    return 0;
}

/* ---- what the user does ---- */

static char *copy(const char *text) { return text ? kith_strdup(text) : NULL; }

static kith_err begin(kith_ws *ws, const kith_ws_options *options)
{
    kith_err err = kith_url_parse(options->url, &ws->url);
    if (!err) err = kith_io_proxy_for(&ws->url, getenv, &ws->proxy);
    if (err) return err;
    ws->ca_file = copy(options->ca_file);
    ws->subprotocol = copy(options->subprotocol);
    if ((options->ca_file && !ws->ca_file) || (options->subprotocol && !ws->subprotocol)) return KITH_ERR_NOMEM;
    if (options->ca_file && access(options->ca_file, R_OK)) return KITH_ERR_FORMAT;
    bool proxied = ws->proxy.host[0];
    if (proxied && strlen(ws->url.host) > PROXIED_HOST_MAX) return KITH_ERR_LIMIT;
    ws->timer = kith_io_timer_table.open(&ws->io->env, on_timer, ws);
    if (!ws->timer) return KITH_ERR_NOMEM;
    uint64_t timeout_ms = options->timeout_ms ? options->timeout_ms : KITH_WS_CONNECT_MS;
    ws->connect_by_ns = now(ws) + timeout_ms * NS_PER_MS;
    return kith_io_resolve(ws->io, proxied ? ws->proxy.host : ws->url.host, proxied ? ws->proxy.port : ws->url.port,
                           on_resolved, ws, &ws->lookup);
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
    set_timer(ws);
    *out = ws;
    return KITH_OK;
}

static kith_err ws_send(kith_ws *ws, const void *data, size_t size)
{
    if (size > KITH_WS_MESSAGE_MAX) return KITH_ERR_LIMIT;
    if (ws->ended) return KITH_ERR_CLOSED;
    if (!ws->established) return KITH_ERR_STATE;
    if (!ws->wsi) return KITH_ERR_CLOSED;
    if (!kith_list_empty(&ws->out) && ws->out_size + size > KITH_WS_QUEUE_MAX) {
        ws->owed = true;
        return KITH_ERR_AGAIN;
    }
    outgoing *message = kith_malloc(sizeof *message + LWS_PRE + size);
    if (!message) return KITH_ERR_NOMEM;
    message->link = (kith_link){0};
    message->size = size;
    if (size) memcpy(message->bytes + LWS_PRE, data, size);
    kith_list_append(&ws->out, &message->link);
    ws->out_size += size;
    lws_callback_on_writable(ws->wsi);
    return KITH_OK;
}

static size_t ws_queued(const kith_ws *ws) { return ws->out_size; }

static void hold(kith_ws *ws, bool on)
{
    if (ws->paused == on) return;
    ws->paused = on;
    if (ws->wsi && ws->established) lws_rx_flow_control(ws->wsi, !on);
}

static void ws_pause(kith_ws *ws) { hold(ws, true); }
static void ws_resume(kith_ws *ws) { hold(ws, false); }

static kith_addr ws_remote(const kith_ws *ws)
{
    if (!ws->established || ws->proxy.host[0]) return (kith_addr){0};
    return ws->addrs[ws->addr_next - 1];
}

static void ws_close(kith_ws *ws)
{
    if (!ws) return;
    ws->closing = true;
    ws->again = false;
    kith_io_resolve_cancel(ws->lookup);
    ws->lookup = NULL;
    if (!ws->wsi) {
        free_ws(ws);
        return;
    }
    ws->connect_by_ns = ws->address_by_ns = UINT64_MAX;
    if (!ws->established || ws->ended) {
        kill_wsi(ws);
        return;
    }
    ws->close_by_ns = now(ws) + KITH_WS_CLOSE_NS;
    set_timer(ws);
    lws_callback_on_writable(ws->wsi);
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
