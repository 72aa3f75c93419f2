/* libwebsockets' context on our loop, made when the first WebSocket connects.  A virtual host stands for one way of
 * connecting: through this proxy, trusting these authorities; the library knows both only there.
 *
 * What it would do to the process is kept from it: it logs nothing, takes no signals and leaves SIGPIPE as it was
 * (which is why kith_io_run blocks that: OpenSSL writes to sockets with write(2)), does not read the environment, and
 * trusts no certificates in ../share. */
#include "base/mem.h"
#include "io/ws_internal.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define VHOSTS_MAX     32   /* ways of connecting, in the process's life */
#define LIBRARY_WAIT_S 120  /* its own time limits: ours come first */
#define TURNS          64   /* of the loop in which its handles close; it needs three */
#define KEY_MAX        2048 /* bytes of a path and a proxy */

typedef struct vhost {
    kith_link link;
    struct lws_vhost *lws;
    SSL_CTX *tls;
    char key[];
} vhost;

struct kith_io_ws_context {
    struct lws_context *lws;
    kith_list vhosts;
    size_t count;
};

static const struct lws_protocols protocols[] = {
    {KITH_WS_LOCAL_PROTOCOL, kith_io_ws_callback, 0, KITH_WS_MESSAGE_MAX, 0, NULL, KITH_WS_MESSAGE_MAX},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

/* ---- certificates ---- */

/* The system's authorities and those in the file; none for plain connections, which never ask. */
static kith_err make_tls(const kith_ws *ws, SSL_CTX **out)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls) return KITH_ERR_NOMEM;
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    if (ws->url.secure) SSL_CTX_set_default_verify_paths(tls); /* that may be empty: then nobody is trusted */
    if (ws->ca_file && SSL_CTX_load_verify_locations(tls, ws->ca_file, NULL) != 1) {
        SSL_CTX_free(tls);
        return KITH_ERR_FORMAT;
    }
    *out = tls;
    return KITH_OK;
}

static kith_ws_certificate chain_fault(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return KITH_WS_CERTIFICATE_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID: return KITH_WS_CERTIFICATE_EARLY;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return KITH_WS_CERTIFICATE_NAME;
    default: return KITH_WS_CERTIFICATE_UNTRUSTED;
    }
}

/* Asked for each certificate of a chain.  The name is checked here for all kinds of hosts, since the library does not
 * know IPv6 addresses. */
kith_ws_certificate kith_io_ws_certificate(const kith_ws *ws, void *store_context, bool chain_good)
{
    X509_STORE_CTX *context = store_context;
    if (!chain_good) return chain_fault(X509_STORE_CTX_get_error(context));
    if (X509_STORE_CTX_get_error_depth(context) > 0) return KITH_WS_CERTIFICATE_GOOD;
    X509 *certificate = X509_STORE_CTX_get_current_cert(context);
    kith_addr addr;
    if (!certificate) return KITH_WS_CERTIFICATE_UNTRUSTED;
    bool right = ws->url.is_ipv6 || kith_addr_parse(ws->url.host, &addr) == KITH_OK
                     ? X509_check_ip_asc(certificate, ws->url.host, 0) == 1
                     : X509_check_host(certificate, ws->url.host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
    return right ? KITH_WS_CERTIFICATE_GOOD : KITH_WS_CERTIFICATE_NAME;
}

/* ---- virtual hosts ---- */

static vhost *find(struct kith_io_ws_context *context, const char *key)
{
    KITH_EACH (link, &context->vhosts) {
        vhost *v = KITH_OF(link, vhost, link);
        if (strcmp(v->key, key) == 0) return v;
    }
    return NULL;
}

/* "user:password@192.0.2.1:3128", "" for none: what the library takes for a proxy, and for "do not ask getenv". */
static void proxy_text(const kith_ws *ws, const kith_addr *proxy, char *out, size_t size)
{
    char addr[KITH_ADDR_TEXT_SIZE];
    out[0] = 0;
    if (!proxy) return;
    const char *user = ws->proxy.user;
    snprintf(out, size, "%s%s%s", user, *user ? "@" : "", kith_addr_text(proxy, addr));
}

static kith_err add_vhost(struct kith_io_ws_context *context, const kith_ws *ws, const char *key, const char *proxy,
                          vhost **out)
{
    if (context->count == VHOSTS_MAX) return KITH_ERR_LIMIT;
    vhost *v = kith_calloc(1, sizeof *v + strlen(key) + 1);
    if (!v) return KITH_ERR_NOMEM;
    memcpy(v->key, key, strlen(key) + 1);
    kith_err err = make_tls(ws, &v->tls);
    if (err) goto fail;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .vhost_name = v->key,
        .http_proxy_address = proxy,
        .provided_client_ssl_ctx = v->tls,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .connect_timeout_secs = LIBRARY_WAIT_S,
    };
    err = KITH_ERR_NOMEM;
    v->lws = lws_create_vhost(context->lws, &info);
    if (!v->lws) goto fail;
    kith_list_append(&context->vhosts, &v->link);
    context->count++;
    *out = v;
    return KITH_OK;
fail:
    SSL_CTX_free(v->tls);
    kith_free(v);
    return err;
}

/* ---- the context ---- */

static kith_err make_context(kith_io *io)
{
    void *loop = &io->loop;
    struct sigaction pipe_before;
    struct kith_io_ws_context *context = kith_calloc(1, sizeof *context);
    if (!context) return KITH_ERR_NOMEM;
    kith_list_init(&context->vhosts);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .foreign_loops = &loop,
        .pt_serv_buf_size = KITH_WS_MESSAGE_MAX, /* below 17,408 pausing spins with TLS */
        .timeout_secs = LIBRARY_WAIT_S,
        .gid = -1, /* as we are */
        .uid = -1,
    };
    lws_set_log_level(0, NULL);
    sigaction(SIGPIPE, NULL, &pipe_before);
    context->lws = lws_create_context(&info);
    sigaction(SIGPIPE, &pipe_before, NULL);
    if (!context->lws) {
        kith_free(context);
        return KITH_ERR_UNSUPPORTED;
    }
    io->ws = context;
    return KITH_OK;
}

kith_err kith_io_ws_place(kith_ws *ws, const kith_addr *proxy, struct lws_client_connect_info *info)
{
    char key[KEY_MAX], proxy_name[KITH_PROXY_USER_MAX + KITH_ADDR_TEXT_SIZE + 2];
    vhost *v = NULL;
    kith_err err = ws->io->ws ? KITH_OK : make_context(ws->io);
    if (err) return err;
    proxy_text(ws, proxy, proxy_name, sizeof proxy_name);
    int size = snprintf(key, sizeof key, "%d %s %s", ws->url.secure, proxy_name, ws->ca_file ? ws->ca_file : "");
    if (size < 0 || (size_t)size >= sizeof key) return KITH_ERR_LIMIT;
    v = find(ws->io->ws, key);
    if (!v) err = add_vhost(ws->io->ws, ws, key, proxy_name, &v);
    if (err) return err;
    info->context = ws->io->ws->lws;
    info->vhost = v->lws;
    return KITH_OK;
}

/* The library closes its handles in the loop's next turns, and lets go of the rest when asked a second time. */
void kith_io_ws_done(kith_io *io)
{
    struct kith_io_ws_context *context = io->ws;
    if (!context) return;
    io->ws_over = true;
    lws_context_destroy(context->lws);
    for (int turn = 0; turn < TURNS; turn++) uv_run(&io->loop, UV_RUN_NOWAIT);
    lws_context_destroy(context->lws);
    for (kith_link *link; (link = kith_list_take_first(&context->vhosts));) {
        vhost *v = KITH_OF(link, vhost, link);
        SSL_CTX_free(v->tls);
        kith_free(v);
    }
    kith_free(context);
    io->ws = NULL;
}
