#include "io/tls.h"

#include "base/addr.h"
#include "base/mem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define ROOM       ((size_t)32 << 10)  /* bytes of one receive from the socket: two records */
#define OUTPUT_MAX ((size_t)256 << 10) /* bytes for the socket at which a peer's demands (KeyUpdate) end it */

struct kith_io_tls {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out; /* the SSL's: what the socket gave, and is to take */
    size_t sent;   /* of what is in `out`, which keeps it until all is */
    uint8_t room[ROOM];
};

/* ---- whom to trust ---- */

static kith_err make_context(const char *ca_file, SSL_CTX **out)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) return KITH_ERR_NOMEM;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_verify_paths(context); /* that may be empty: then nobody is trusted */
    if (ca_file && SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1) {
        SSL_CTX_free(context);
        return KITH_ERR_FORMAT;
    }
    *out = context;
    return KITH_OK;
}

static bool expect_host(SSL *ssl, const kith_url *url)
{
    kith_addr addr;
    if (url->is_ipv6 || kith_addr_parse(url->host, &addr) == KITH_OK)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), url->host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, url->host) == 1 && SSL_set_tlsext_host_name(ssl, url->host) == 1;
}

static bool make_ssl(kith_io_tls *tls, const kith_url *url)
{
    static const uint8_t http[] = "\x08http/1.1";
    tls->ssl = SSL_new(tls->context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) return false;
    BIO_set_mem_eof_return(tls->in, -1); /* empty is not the end */
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    return expect_host(tls->ssl, url) && SSL_set_alpn_protos(tls->ssl, http, sizeof http - 1) == 0;
}

kith_err kith_io_tls_new(const kith_url *url, const char *ca_file, kith_io_tls **out)
{
    kith_io_tls *tls = kith_calloc(1, sizeof *tls);
    if (!tls) return KITH_ERR_NOMEM;
    ERR_clear_error();
    kith_err err = make_context(ca_file, &tls->context);
    if (!err && !make_ssl(tls, url)) err = KITH_ERR_NOMEM;
    if (err) {
        kith_io_tls_free(tls);
        return err;
    }
    *out = tls;
    return KITH_OK;
}

void kith_io_tls_free(kith_io_tls *tls)
{
    if (!tls) return;
    if (!tls->ssl || !SSL_get_rbio(tls->ssl)) { /* not its own yet */
        BIO_free(tls->in);
        BIO_free(tls->out);
    }
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->context);
    kith_free(tls);
}

/* ---- the socket's side ---- */

uint8_t *kith_io_tls_room(kith_io_tls *tls, size_t *size)
{
    *size = sizeof tls->room;
    return tls->room;
}

kith_err kith_io_tls_received(kith_io_tls *tls, size_t size)
{
    return BIO_write(tls->in, tls->room, (int)size) == (int)size ? KITH_OK : KITH_ERR_NOMEM;
}

size_t kith_io_tls_output(const kith_io_tls *tls, const uint8_t **out)
{
    char *data = NULL;
    long size = BIO_get_mem_data(tls->out, &data);
    *out = (const uint8_t *)data + tls->sent;
    return size < 0 ? 0 : (size_t)size - tls->sent;
}

void kith_io_tls_sent(kith_io_tls *tls, size_t size)
{
    const uint8_t *data;
    bool all = size == kith_io_tls_output(tls, &data);
    tls->sent = all ? 0 : tls->sent + size;
    if (all) (void)BIO_reset(tls->out);
}

/* ---- the other side ---- */

static kith_ws_certificate fault_of(long result)
{
    switch (result) {
    case X509_V_OK: return KITH_WS_CERTIFICATE_GOOD;
    case X509_V_ERR_CERT_HAS_EXPIRED: return KITH_WS_CERTIFICATE_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID: return KITH_WS_CERTIFICATE_EARLY;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return KITH_WS_CERTIFICATE_NAME;
    default: return KITH_WS_CERTIFICATE_UNTRUSTED;
    }
}

kith_err kith_io_tls_handshake(kith_io_tls *tls, kith_ws_certificate *fault)
{
    ERR_clear_error();
    int status = SSL_do_handshake(tls->ssl);
    if (status == 1) return KITH_OK;
    if (SSL_get_error(tls->ssl, status) == SSL_ERROR_WANT_READ) return KITH_ERR_AGAIN;
    kith_ws_certificate found = fault_of(SSL_get_verify_result(tls->ssl));
    if (found == KITH_WS_CERTIFICATE_GOOD) return KITH_ERR_PROTOCOL;
    *fault = found;
    return KITH_ERR_CERTIFICATE;
}

kith_err kith_io_tls_read(kith_io_tls *tls, void *out, size_t room, size_t *got)
{
    const uint8_t *output;
    ERR_clear_error();
    int status = SSL_read_ex(tls->ssl, out, room, got);
    if (kith_io_tls_output(tls, &output) > OUTPUT_MAX) return KITH_ERR_PROTOCOL;
    if (status == 1) return KITH_OK;
    switch (SSL_get_error(tls->ssl, status)) {
    case SSL_ERROR_WANT_READ: return KITH_ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return KITH_ERR_CLOSED;
    default: return KITH_ERR_PROTOCOL;
    }
}

bool kith_io_tls_has_unread(const kith_io_tls *tls) { return BIO_pending(tls->in) > 0 || SSL_has_pending(tls->ssl); }

kith_err kith_io_tls_write(kith_io_tls *tls, const void *data, size_t size)
{
    size_t written;
    ERR_clear_error();
    return SSL_write_ex(tls->ssl, data, size, &written) == 1 ? KITH_OK : KITH_ERR_NOMEM;
}

void kith_io_tls_end(kith_io_tls *tls)
{
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
}
