/* libwebsockets on our loop and our listening sockets: HTTP for two small pages, WebSocket for the hub. */
#include "server.h"

#include "base/mem.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADMIN_CONNECTIONS_MAX 32
/* A whole message, and one turn of the loop for it.  Each client has this much address space, of which an idle one
 * touches a page. */
#define RX_BUFFER_SIZE (KITH_RELAY_MESSAGE_MAX + 512)
/* A TLS record and what is around it.  With less than 17,408 bytes 4.1.6 spins for ever on a paused TLS client. */
#define RX_BUFFER_TLS_SIZE 17408
#define SERV_BUFFER_SIZE   RX_BUFFER_SIZE /* one read of the socket: shared by all */
#define HEADERS_SIZE       2048           /* of a request */
#define HANDSHAKE_S        10
#define OUTPUT_ROUNDS      16                           /* messages for one client before others get their turn */
#define CLOSE_SIZE         2                            /* of a close frame: its code */
#define WRITE_CLOSE        ((enum lws_write_protocol)4) /* LWS_WRITE_CLOSE: of the library, but not of its header */
#define CLOSE_ACK_S        3                            /* for the client to answer it */
#define HTTP_HEAD_SIZE     512
#define FULL_SAID_NS       UINT64_C(60000000000) /* between two lines of the log about it */

typedef struct connection {
    server *of;
    struct lws *wsi;
    kith_hub_client *client; /* NULL: of the admin address */
    kith_addr local;
    bool websocket, paused;
    bool told; /* that it is over: what is left is that it closes */
} connection;

static connection *connection_of(struct lws *wsi) { return wsi ? lws_get_opaque_user_data(wsi) : NULL; }

static void kill_connection(connection *c) { lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC); }

/* ---- HTTP ---- */

static int answer(struct lws *wsi, unsigned status, const char *type, const char *body, size_t size)
{
    uint8_t head[LWS_PRE + HTTP_HEAD_SIZE], *begin = head + LWS_PRE, *at = begin, *end = head + sizeof head - 1;
    uint8_t *out = kith_malloc(LWS_PRE + size + 1);
    if (!out) return -1;
    memcpy(out + LWS_PRE, body, size);
    int failed = lws_add_http_common_headers(wsi, status, type, size, &at, end) ||
                 lws_finalize_write_http_header(wsi, begin, &at, end) ||
                 lws_write(wsi, out + LWS_PRE, size, LWS_WRITE_HTTP_FINAL) != (int)size;
    kith_free(out);
    if (failed) return -1;
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int answer_metrics(server *s, struct lws *wsi)
{
    size_t size = kith_hub_metrics(s->hub, s->metrics, s->metrics_size);
    if (size >= s->metrics_size) { /* with its NUL; tokens make it longer */
        char *larger = kith_realloc(s->metrics, size + 1);
        if (!larger) return -1;
        s->metrics = larger;
        s->metrics_size = size + 1;
        size = kith_hub_metrics(s->hub, s->metrics, s->metrics_size);
    }
    return answer(wsi, HTTP_STATUS_OK, "text/plain; version=0.0.4; charset=utf-8", s->metrics, size);
}

static int on_http(connection *c, const char *path)
{
    static const char none[] = "not found\n", ok[] = "ok\n";
    if (!c->client && strcmp(path, "/metrics") == 0) return answer_metrics(c->of, c->wsi);
    if (strcmp(path, "/healthz") == 0) return answer(c->wsi, HTTP_STATUS_OK, "text/plain", ok, strlen(ok));
    return answer(c->wsi, HTTP_STATUS_NOT_FOUND, "text/plain", none, strlen(none));
}

/* ---- WebSocket ---- */

static void on_established(connection *c)
{
    char host[KITH_RELAY_AUTHORITY_MAX + 1], authority[KITH_RELAY_AUTHORITY_MAX + 1];
    int size = lws_hdr_copy(c->wsi, host, sizeof host, WSI_TOKEN_HOST);
    bool ours = size > 0 && kith_relay_authority(host, (size_t)size, authority) == KITH_OK &&
                files_name_is_ours(&c->of->files, authority, &c->local);
    c->websocket = true;
    kith_hub_start(c->client, ours ? authority : NULL, server_now(c->of));
}

static void on_received(connection *c, const void *data, size_t size)
{
    uint64_t now_ns = server_now(c->of);
    size_t more = lws_remaining_packet_payload(c->wsi);
    if (!lws_frame_is_binary(c->wsi))
        kith_hub_refuse(c->client, KITH_HUB_CLOSE_TYPE, now_ns);
    else
        kith_hub_input(c->client, data, size, more, lws_is_final_fragment(c->wsi) && more == 0, now_ns);
}

/* The close frame is our own: Debian's 4.1.6 is built so that with libuv it closes what it closes a second time at once
 * ("uv repeat test"), before its own frame is out. */
static int say_close(connection *c)
{
    uint16_t code = kith_hub_closing(c->client);
    uint8_t frame[LWS_PRE + CLOSE_SIZE];
    frame[LWS_PRE] = (uint8_t)(code >> 8);
    frame[LWS_PRE + 1] = (uint8_t)code;
    c->told = true;
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, CLOSE_ACK_S);
    return lws_write(c->wsi, frame + LWS_PRE, CLOSE_SIZE, WRITE_CLOSE) < CLOSE_SIZE ? -1 : 0;
}

/* As much of what waits as the connection takes now; and to be called again if that is not all.  -1: it is broken. */
static int write_some(connection *c)
{
    uint8_t *data;
    size_t size;
    for (int i = 0; i < OUTPUT_ROUNDS && kith_hub_output(c->client, &data, &size); i++) {
        if (lws_send_pipe_choked(c->wsi)) break;
        if (lws_write(c->wsi, data, size, LWS_WRITE_BINARY) < (int)size) return -1;
        kith_hub_sent(c->client, server_now(c->of));
    }
    if (kith_hub_output(c->client, &data, &size)) lws_callback_on_writable(c->wsi);
    return 0;
}

/* -1: close it. */
static int on_writable(connection *c)
{
    uint8_t *data;
    size_t size;
    if (write_some(c)) return -1;
    if (kith_hub_output(c->client, &data, &size)) return 0;
    return kith_hub_closing(c->client) && !c->told ? say_close(c) : 0;
}

void websocket_look(void *user)
{
    connection *c = user;
    uint8_t *data;
    size_t size;
    if (!c->wsi || c->told) return;
    bool output = kith_hub_output(c->client, &data, &size), closing = kith_hub_closing(c->client) != 0;
    if (closing && !output && (!c->websocket || lws_send_pipe_choked(c->wsi))) {
        c->told = true;
        kill_connection(c);
        return;
    }
    if (!c->websocket) return;
    bool paused = !kith_hub_reading(c->client);
    if (paused != c->paused) lws_rx_flow_control(c->wsi, !paused);
    c->paused = paused;
    if (closing) {
        lws_callback_on_writable(c->wsi);
    } else if (output && write_some(c)) { /* at once: waiting for the loop to say that it may costs four system calls */
        c->told = true;
        kill_connection(c);
    }
}

static void on_destroyed(connection *c)
{
    server *s = c->of;
    if (c->client)
        kith_hub_closed(c->client, server_now(s));
    else
        s->admin_connections--;
    kith_free(c);
}

/* Only our own subprotocol: without one libwebsockets would take the first of the list. */
static int on_upgrade(const connection *c, struct lws *wsi)
{
    const struct lws_protocols *protocol = lws_get_protocol(wsi);
    return c->client && protocol && strcmp(protocol->name, KITH_RELAY_SUBPROTOCOL) == 0 ? 0 : -1;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
    connection *c = connection_of(wsi);
    int result = 0;
    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) { /* of a vhost: `user` is its SSL_CTX */
        SSL_CTX_set_mode(user, SSL_MODE_RELEASE_BUFFERS);
        return 0;
    }
    if (!c) return 0;
    switch (reason) {
    case LWS_CALLBACK_HTTP: result = on_http(c, in); break;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return on_upgrade(c, wsi);
    case LWS_CALLBACK_ESTABLISHED: on_established(c); break;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: return c->told ? -1 : 0; /* it is the answer to ours: no other one */
    case LWS_CALLBACK_RECEIVE: on_received(c, in, size); break;
    case LWS_CALLBACK_SERVER_WRITEABLE: result = on_writable(c); break;
    case LWS_CALLBACK_WSI_DESTROY: {
        server *s = c->of;
        lws_set_opaque_user_data(wsi, NULL);
        on_destroyed(c);
        server_flush(s);
        return 0;
    }
    default: return 0;
    }
    server_flush(c->of);
    return result;
}

/* ---- connections ---- */

/* In one system call, whatever the socket takes of it.  With TLS there is nobody yet who would understand. */
static void refuse(const server *s, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n"
                               "Connection: close\r\n\r\ntoo many connections\n";
    if (s->options->cert) return;
    ssize_t ignored = send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)ignored;
}

/* In the log, where an operator looks first; not for each. */
static void say_full(server *s)
{
    uint64_t now_ns = server_now(s), most = s->files.settings.connections;
    if (kith_hub_draining(s->hub) || kith_hub_stats_of(s->hub)->connections < most) return;
    if (s->full_said_ns && now_ns - s->full_said_ns < FULL_SAID_NS) return;
    s->full_said_ns = now_ns;
    server_log(s, true, "there are %llu connections, the limit: more are refused", (unsigned long long)most);
}

void websocket_adopt(server *s, int fd, const kith_addr *from, const kith_addr *local, bool admin)
{
    connection *c = kith_calloc(1, sizeof *c);
    kith_err err = c ? KITH_OK : KITH_ERR_NOMEM;
    if (!err && admin && s->admin_connections >= ADMIN_CONNECTIONS_MAX) err = KITH_ERR_LIMIT;
    if (!err && !admin) err = kith_hub_accept(s->hub, from, c, server_now(s), &c->client);
    if (err) {
        if (!admin) {
            refuse(s, fd);
            say_full(s);
        }
        kith_free(c);
        close(fd);
        return;
    }
    if (admin) s->admin_connections++;
    c->of = s;
    c->local = *local;
    c->wsi = lws_adopt_socket_vhost(s->vhosts[admin], fd);
    if (c->wsi)
        lws_set_opaque_user_data(c->wsi, c);
    else
        on_destroyed(c); /* and the descriptor is closed */
}

/* ---- opening and closing ---- */

#define PROTOCOL(protocol_name, rx_size)                                                                               \
    {                                                                                                                  \
        .name = (protocol_name), .callback = callback, .rx_buffer_size = (rx_size), .tx_packet_size = (rx_size)        \
    }
static const struct lws_protocols plain_protocols[] = {
    PROTOCOL("http", RX_BUFFER_SIZE),
    PROTOCOL(KITH_RELAY_SUBPROTOCOL, RX_BUFFER_SIZE),
    {.name = NULL},
};
static const struct lws_protocols tls_protocols[] = {
    PROTOCOL("http", RX_BUFFER_TLS_SIZE),
    PROTOCOL(KITH_RELAY_SUBPROTOCOL, RX_BUFFER_TLS_SIZE),
    {.name = NULL},
};

static void quiet(int level, const char *line) { (void)level, (void)line; }

kith_err websocket_open(server *s, char why[static KITH_RELAY_WHY_SIZE])
{
    void *loops[] = {kith_io_loop(s->io)};
    uint64_t headers = s->files.settings.connections + ADMIN_CONNECTIONS_MAX;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = s->options->cert ? tls_protocols : plain_protocols,
        .foreign_loops = loops,
        .gid = -1, /* privileges are dropped by us */
        .uid = -1,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_UV_NO_SIGSEGV_SIGFPE_SPIN | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .pt_serv_buf_size = SERV_BUFFER_SIZE,
        .max_http_header_data = HEADERS_SIZE,
        .max_http_header_pool = (unsigned short)(headers < UINT16_MAX ? headers : UINT16_MAX),
        .timeout_secs = HANDSHAKE_S,
        .timeout_secs_ah_idle = HANDSHAKE_S,
        .server_string = "kith",
        .alpn = "http/1.1",
    };
    lws_set_log_level(0, quiet);
    s->lws = lws_create_context(&info);
    if (s->lws) {
        info.vhost_name = "admin";
        s->vhosts[1] = lws_create_vhost(s->lws, &info);
        info.vhost_name = "relay";
        info.ssl_cert_filepath = s->options->cert;
        info.ssl_private_key_filepath = s->options->key;
        s->vhosts[0] = lws_create_vhost(s->lws, &info);
    }
    if (s->lws && s->vhosts[0] && s->vhosts[1]) return KITH_OK;
    snprintf(why, KITH_RELAY_WHY_SIZE, "libwebsockets cannot be started%s",
             s->options->cert ? ": is the certificate good?" : " (is libwebsockets-evlib-uv installed?)");
    return KITH_ERR_INTERNAL;
}

/* In two steps, between which the loop lets go of its handles (libwebsockets 4.1). */
void websocket_close(server *s)
{
    if (!s->lws) return;
    lws_context_destroy(s->lws);
    for (int i = 0; i < 8; i++) uv_run(kith_io_loop(s->io), UV_RUN_NOWAIT);
    lws_context_destroy(s->lws);
    s->lws = NULL;
}
