/* How two ends come to be a WebSocket: names, TLS's certificate, HTTP's answer. */
#include "base/mem.h"
#include "sim/sim_ws.h"

#define STATUS_UPGRADE 101u

struct kith_sim_ws_server {
    kith_link link;
    sim_process *process;
    kith_listener *listener;
    kith_sim_ws_server_options options;
    void (*accepted)(void *user, kith_ws *ws);
    void *user;
};

/* ---- the client's side ---- */

void kith__sim_ws_find(kith_ws *ws)
{
    kith_env *env = &ws->process->env;
    kith_addr addr = {0};
    (void)kith__sim_name_find(ws->process->sim, ws->url.host, ws->url.port, &addr, 1);
    kith_err err = KITH_ERR_UNREACHABLE;
    ws->state = SIM_WS_OPENING;
    if (addr.family != KITH_FAMILY_NONE) err = env->tcp->connect(env, &addr, &kith__sim_ws_tcp_events, ws, &ws->tcp);
    if (err == KITH_ERR_ARG) err = KITH_ERR_UNREACHABLE;
    if (err) kith__sim_ws_end(ws, err, 0);
}

static void put(kith_ws *ws, sim_ws_kind kind, const void *data, size_t size)
{
    if (!kith__sim_ws_put(ws, kind, data, size)) {
        kith__sim_ws_end(ws, KITH_ERR_NOMEM, 0);
    } else {
        kith__sim_ws_pump(ws);
    }
}

static void ask(kith_ws *ws)
{
    char text[SIM_WS_TEXT_MAX + sizeof ws->subprotocol];
    const char *open = ws->url.is_ipv6 ? "[" : "", *close = ws->url.is_ipv6 ? "]" : "";
    bool usual = ws->url.port == (ws->url.secure ? 443 : 80);
    if (usual) {
        snprintf(ws->host, sizeof ws->host, "%s%s%s", open, ws->url.host, close);
    } else {
        snprintf(ws->host, sizeof ws->host, "%s%s%s:%u", open, ws->url.host, close, ws->url.port);
    }
    size_t host = strlen(ws->host) + 1;
    memcpy(text, ws->host, host);
    memcpy(text + host, ws->subprotocol, strlen(ws->subprotocol) + 1);
    put(ws, SIM_WS_ASK, text, host + strlen(ws->subprotocol) + 1);
}

void kith__sim_ws_begin(kith_ws *ws)
{
    if (ws->url.secure) {
        put(ws, SIM_WS_HELLO, ws->url.host, strlen(ws->url.host));
    } else {
        ask(ws);
    }
}

/* The host's own name, or "*": any. */
static bool is_ours(const kith_ws *ws, const uint8_t *certificate, size_t size)
{
    if (size == 1 && *certificate == '*') return true;
    return size == strlen(ws->url.host) && memcmp(certificate, ws->url.host, size) == 0;
}

static void client_opening(kith_ws *ws, sim_ws_kind kind, const uint8_t *data, size_t size)
{
    if (kind == SIM_WS_CERT && ws->url.secure && size >= 1) {
        if (data[0] || !is_ours(ws, data + 1, size - 1)) {
            kith__sim_ws_end(ws, KITH_ERR_CERTIFICATE,
                             data[0] ? KITH_WS_CERTIFICATE_UNTRUSTED : KITH_WS_CERTIFICATE_NAME);
        } else {
            ask(ws);
        }
        return;
    }
    if (kind != SIM_WS_ANSWER || size < 2) {
        kith__sim_ws_end(ws, KITH_ERR_DECLINED, 0);
        return;
    }
    unsigned status = (unsigned)data[0] << 8 | data[1];
    size_t wanted = strlen(ws->subprotocol);
    if (status != STATUS_UPGRADE || size - 2 != wanted || memcmp(data + 2, ws->subprotocol, wanted) != 0) {
        kith__sim_ws_end(ws, KITH_ERR_DECLINED, status);
        return;
    }
    ws->state = SIM_WS_OPEN;
    ws->open_by_ns = UINT64_MAX;
    kith__sim_ws_settle(ws);
    kith__sim_note(ws->process->sim, "ws open", ws->process->host, 0, NULL, 0);
    ws->events.connected(ws->user);
}

/* ---- the server's side ---- */

static void answer(kith_ws *ws, const char *asked)
{
    const kith_sim_ws_server_options *options = &ws->server->options;
    bool agreed = options->subprotocol && strcmp(options->subprotocol, asked) == 0;
    unsigned status = options->refuse ? options->refuse : STATUS_UPGRADE;
    char text[2 + sizeof ws->subprotocol] = {(char)(status >> 8), (char)status};
    int size = snprintf(text + 2, sizeof text - 2, "%s", agreed ? asked : "");
    put(ws, SIM_WS_ANSWER, text, 2 + (size_t)size);
    if (ws->state != SIM_WS_OPENING) return; /* out of memory */
    if (options->refuse) {
        kith__sim_ws_drop(ws); /* what was sent is delivered */
        return;
    }
    kith_sim_ws_server *server = ws->server;
    ws->state = SIM_WS_OPEN;
    ws->server = NULL;
    server->accepted(server->user, ws);
}

static void server_opening(kith_ws *ws, sim_ws_kind kind, const uint8_t *data, size_t size)
{
    const kith_sim_ws_server_options *options = &ws->server->options;
    if (options->mute) return;
    if (kind == SIM_WS_HELLO && options->certificate && !ws->url.secure) {
        char text[1 + SIM_WS_TEXT_MAX];
        ws->url.secure = true;
        int length = snprintf(text, sizeof text, "%c%s", options->bad_certificate ? 1 : 0, options->certificate);
        put(ws, SIM_WS_CERT, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
        return;
    }
    const uint8_t *host_end = size ? memchr(data, 0, size) : NULL;
    bool whole = host_end && data[size - 1] == 0 && (size_t)(host_end - data) < sizeof ws->host &&
                 (size_t)(data + size - host_end - 1) <= sizeof ws->subprotocol && host_end + 1 < data + size;
    if (kind != SIM_WS_ASK || !whole || ws->url.secure != (options->certificate != NULL)) {
        kith__sim_ws_drop(ws);
        return;
    }
    memcpy(ws->host, data, (size_t)(host_end - data) + 1);
    answer(ws, (const char *)host_end + 1);
}

void kith__sim_ws_opening(kith_ws *ws, sim_ws_kind kind, const uint8_t *data, size_t size)
{
    if (ws->is_server) {
        server_opening(ws, kind, data, size);
    } else {
        client_opening(ws, kind, data, size);
    }
}

static void on_accepted(void *user, kith_tcp *tcp)
{
    kith_sim_ws_server *server = user;
    kith_env *env = &server->process->env;
    kith_ws *ws = kith__sim_ws_new(server->process);
    if (!ws) {
        env->tcp->close(tcp);
        return;
    }
    ws->server = server;
    ws->is_server = true;
    ws->state = SIM_WS_OPENING;
    ws->tcp = tcp;
    env->tcp->attach(tcp, &kith__sim_ws_tcp_events, ws);
}

kith_err kith_sim_ws_listen(kith_env *env, const kith_addr *bind, const kith_sim_ws_server_options *options,
                            void (*accepted)(void *user, kith_ws *ws), void *user, kith_sim_ws_server **out)
{
    sim_process *process = sim_process_of(env);
    kith_sim_ws_server *server = kith_calloc(1, sizeof *server);
    if (!server) return KITH_ERR_NOMEM;
    server->process = process;
    server->options = *options;
    server->accepted = accepted;
    server->user = user;
    kith_err err = env->tcp->listen(env, bind, on_accepted, server, &server->listener);
    if (err) {
        kith_free(server);
        return err;
    }
    kith_list_append(&process->ws_servers, &server->link);
    *out = server;
    return KITH_OK;
}

void kith_sim_ws_set(kith_sim_ws_server *server, const kith_sim_ws_server_options *options)
{
    server->options = *options;
}

void kith_sim_ws_unlisten(kith_sim_ws_server *server)
{
    if (!server) return;
    KITH_EACH (link, &server->process->websockets) {
        kith_ws *ws = KITH_OF(link, kith_ws, link);
        if (ws->server == server) kith__sim_ws_drop(ws);
    }
    server->process->env.tcp->unlisten(server->listener);
    kith_list_remove(&server->link);
    kith_free(server);
}

void kith__sim_ws_server_free(kith_link *link) { kith_free(KITH_OF(link, kith_sim_ws_server, link)); }
