/* A WebSocket server for tests: a thread with a blocking socket that follows a script, plain or over TLS with
 * certificates made by the openssl command.  It speaks bytes, so that it can say what no library would. */
#ifndef KITH_IO_WS_SERVER_H
#define KITH_IO_WS_SERVER_H

#include "io_test.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

typedef struct peer { /* one connection, as the script sees it */
    int fd;
    SSL *ssl;
    char request[4096]; /* the client's, from its first line on */
} peer;

typedef struct server {
    int fd;
    uint16_t port;
    SSL_CTX *tls; /* NULL: plain */
    void (*script)(peer *p);
    unsigned connections; /* to serve, one after another */
    pthread_t thread;
} server;

/* ---- bytes ---- */

static inline bool peer_read(peer *p, void *out, size_t size)
{
    for (uint8_t *at = out; size;) {
        ssize_t got = p->ssl ? SSL_read(p->ssl, at, (int)size) : recv(p->fd, at, size, 0);
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static inline bool peer_write(peer *p, const void *data, size_t size)
{
    for (const uint8_t *at = data; size;) {
        ssize_t put = p->ssl ? SSL_write(p->ssl, at, (int)size) : send(p->fd, at, size, MSG_NOSIGNAL);
        if (put <= 0) return false;
        at += put;
        size -= (size_t)put;
    }
    return true;
}

static inline bool peer_say(peer *p, const char *text) { return peer_write(p, text, strlen(text)); }

/* Up to and with the empty line. */
static inline bool peer_head(peer *p)
{
    for (size_t size = 0; size < sizeof p->request - 1; size++) {
        if (!peer_read(p, p->request + size, 1)) return false;
        p->request[size + 1] = 0;
        if (size >= 3 && memcmp(p->request + size - 3, "\r\n\r\n", 4) == 0) return true;
    }
    return false;
}

/* ---- RFC 6455 ---- */

static inline void peer_accept_key(const peer *p, char out[64])
{
    char text[128];
    uint8_t hash[20];
    const char *key = strstr(p->request, "Sec-WebSocket-Key: ");
    if (!key) abort();
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    EVP_Digest(text, strlen(text), hash, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((uint8_t *)out, hash, sizeof hash);
}

static inline bool peer_upgrade_as(peer *p, const char *subprotocol)
{
    char key[64], answer[512];
    if (!peer_head(p)) return false;
    peer_accept_key(p, key);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
             key, subprotocol ? "Sec-WebSocket-Protocol: " : "", subprotocol ? subprotocol : "",
             subprotocol ? "\r\n" : "");
    return peer_say(p, answer);
}

static inline bool peer_upgrade(peer *p) { return peer_upgrade_as(p, "kith-test"); }

/* One frame; `first` is its first byte: 0x82 a whole binary message, 0x02 its first frame, 0x00, 0x80 the next, last.
 */
static inline bool peer_frame(peer *p, uint8_t first, const void *data, size_t size)
{
    uint8_t head[10] = {first};
    size_t head_size = 2;
    if (size < 126) {
        head[1] = (uint8_t)size;
    } else if (size < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
        head_size = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++) head[2 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
        head_size = 10;
    }
    return peer_write(p, head, head_size) && peer_write(p, data, size);
}

/* The client's next frame, unmasked; its first byte, or -1.  At most cap bytes. */
static inline int peer_next(peer *p, uint8_t *out, size_t cap, size_t *size)
{
    uint8_t head[2], more[8], mask[4];
    if (!peer_read(p, head, 2)) return -1;
    if (!(head[1] & 0x80)) abort(); /* a client masks */
    uint64_t length = head[1] & 0x7f;
    size_t extra = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (!peer_read(p, more, extra)) return -1;
    for (size_t i = 0; i < extra; i++) length = (i ? length << 8 : 0) | more[i];
    if (length > cap || !peer_read(p, mask, 4) || !peer_read(p, out, (size_t)length)) return -1;
    for (size_t i = 0; i < length; i++) out[i] ^= mask[i % 4];
    *size = (size_t)length;
    return head[0];
}

/* Send back what comes, until the client closes; and answer that. */
static inline void peer_echo(peer *p)
{
    static _Thread_local uint8_t data[1 << 17];
    size_t size;
    for (;;) {
        int first = peer_next(p, data, sizeof data, &size);
        if (first < 0) return;
        if (!peer_frame(p, (uint8_t)first, data, size) || (first & 0xf) == 8) return;
    }
}

/* ---- the thread ---- */

static inline void serve_one(server *s, int fd)
{
    peer p = {.fd = fd};
    if (s->tls) {
        p.ssl = SSL_new(s->tls);
        SSL_set_fd(p.ssl, fd);
    }
    if (!p.ssl || SSL_accept(p.ssl) == 1) s->script(&p);
    if (p.ssl) SSL_shutdown(p.ssl);
    SSL_free(p.ssl);
    close(fd);
}

static inline void *serve(void *argument)
{
    server *s = argument;
    sigset_t pipe; /* of OpenSSL's writes here; the client may not need this */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    for (unsigned i = 0; i < s->connections; i++) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd >= 0) serve_one(s, fd);
    }
    return NULL;
}

/* At this address, and a port that the system picks. */
static inline server *server_start_at(const char *address, void (*script)(peer *p), SSL_CTX *tls, unsigned connections)
{
    server *s = calloc(1, sizeof *s);
    kith_addr at;
    struct sockaddr_storage name;
    assert_ok(kith_addr_parse(address, &at));
    bool v6 = at.family == KITH_FAMILY_IPV6;
    socklen_t size = kith_addr_to_sockaddr(&at, v6, &name);
    *s = (server){.fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .tls = tls, .script = script};
    s->connections = connections;
    assert_int_equal(bind(s->fd, (struct sockaddr *)&name, size), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    s->port = kith_io_socket_local(s->fd).port;
    pthread_create(&s->thread, NULL, serve, s);
    return s;
}

static inline server *server_start(void (*script)(peer *p), SSL_CTX *tls, unsigned connections)
{
    return server_start_at("127.0.0.1", script, tls, connections);
}

/* Waits for the script: what it waits for has to be over. */
static inline void server_end(server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    SSL_CTX_free(s->tls);
    free(s);
}

/* ---- certificates ---- */

static char certificates[64]; /* the folder */

/* In that folder. */
static inline void shell(const char *format, ...)
{
    char command[1024], line[1200];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    snprintf(line, sizeof line, "cd %s && { %s; } >log 2>&1", certificates, command);
    if (system(line)) fail_msg("%s", command);
}

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

static inline void make_ca(const char *name)
{
    shell("openssl req -x509 " NEW_KEY " -keyout %s.key -out %s.pem -days 30 -subj /CN=%s", name, name, name);
    shell("touch index; printf "
          "'[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nserial=serial\n"
          "unique_subject=no\n[p]\ncommonName=supplied\n' >ca.cnf");
}

/* `name`.pem and .key, for this subjectAltName, signed by `ca`; `when` are options of "openssl ca". */
static inline void make_certificate(const char *name, const char *alt_name, const char *ca, const char *when)
{
    shell("openssl req -new " NEW_KEY " -keyout %s.key -out csr -subj /CN=%s; echo subjectAltName=%s >ext", name, name,
          alt_name);
    shell("openssl ca -batch -config ca.cnf -rand_serial -cert %s.pem -keyfile %s.key -in csr -out %s.pem -extfile ext "
          "-notext %s",
          ca, ca, name, when);
}

static inline SSL_CTX *server_tls(const char *name)
{
    char pem[128], key[128];
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    snprintf(pem, sizeof pem, "%s/%s.pem", certificates, name);
    snprintf(key, sizeof key, "%s/%s.key", certificates, name);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(tls, pem), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM), 1);
    return tls;
}

#endif
