/* HTTP, as far as opening a WebSocket needs it. */
#include "wire/websocket.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SHA1_SIZE     20
#define USER_MAX      512 /* bytes of a proxy's "name:password" */
#define BASE64(size)  (((size) + 2) / 3 * 4 + 1)
#define STATUS_DIGITS 3

void kith_websocket_key(const uint8_t nonce[static KITH_WEBSOCKET_NONCE_SIZE], char out[static KITH_WEBSOCKET_KEY_SIZE])
{
    EVP_EncodeBlock((uint8_t *)out, nonce, KITH_WEBSOCKET_NONCE_SIZE);
}

/* A hash that cannot be made (no memory for OpenSSL) ends the program, as in crypto/hash.c. */
void kith_websocket_accept(const char *key, char out[static KITH_WEBSOCKET_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t hash[SHA1_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha1(), NULL) != 1 ||
        EVP_DigestUpdate(context, key, strlen(key)) != 1 || EVP_DigestUpdate(context, guid, sizeof guid - 1) != 1 ||
        EVP_DigestFinal_ex(context, hash, NULL) != 1)
        abort();
    EVP_MD_CTX_free(context);
    EVP_EncodeBlock((uint8_t *)out, hash, sizeof hash);
}

/* ---- requests ---- */

static void authority(const kith_url *url, bool with_port, char *out)
{
    const char *form = url->is_ipv6 ? (with_port ? "[%s]:%u" : "[%s]") : (with_port ? "%s:%u" : "%s");
    snprintf(out, KITH_WEBSOCKET_HOST_SIZE, form, url->host, (unsigned)url->port);
}

void kith_websocket_host(const kith_url *url, char out[static KITH_WEBSOCKET_HOST_SIZE])
{
    authority(url, url->port != (url->secure ? 443 : 80), out);
}

__attribute__((format(printf, 2, 3))) static kith_err write_request(char *out, const char *form, ...)
{
    char text[KITH_WEBSOCKET_REQUEST_MAX];
    va_list list;
    va_start(list, form);
    int size = vsnprintf(text, sizeof text, form, list);
    va_end(list);
    if (size < 0 || (size_t)size >= sizeof text) return KITH_ERR_LIMIT;
    memcpy(out, text, (size_t)size + 1);
    return KITH_OK;
}

kith_err kith_websocket_request(const kith_url *url, const char *key, const char *subprotocol,
                                char out[static KITH_WEBSOCKET_REQUEST_MAX])
{
    char host[KITH_WEBSOCKET_HOST_SIZE];
    kith_websocket_host(url, host);
    return write_request(out,
                         "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                         url->path, host, key, subprotocol ? "Sec-WebSocket-Protocol: " : "",
                         subprotocol ? subprotocol : "", subprotocol ? "\r\n" : "");
}

kith_err kith_websocket_tunnel_request(const kith_url *url, const char *user,
                                       char out[static KITH_WEBSOCKET_REQUEST_MAX])
{
    char host[KITH_WEBSOCKET_HOST_SIZE], secret[BASE64(USER_MAX)] = "";
    size_t size = strlen(user);
    if (size > USER_MAX) return KITH_ERR_LIMIT;
    authority(url, true, host);
    if (size) EVP_EncodeBlock((uint8_t *)secret, (const uint8_t *)user, (int)size);
    return write_request(out, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", host, host,
                         size ? "Proxy-Authorization: Basic " : "", secret, size ? "\r\n" : "");
}

/* ---- answers ---- */

kith_err kith_websocket_head(const void *data, size_t size, size_t *head, unsigned *status)
{
    static const char start[] = "HTTP/1."; /* digit, blank, status */
    const char *text = data;
    const char *code = text + sizeof start + 1;
    unsigned number = 0;
    if (memcmp(text, start, size < sizeof start - 1 ? size : sizeof start - 1) != 0) return KITH_ERR_FORMAT;
    const char *end = memmem(text, size < KITH_WEBSOCKET_HEAD_MAX ? size : KITH_WEBSOCKET_HEAD_MAX, "\r\n\r\n", 4);
    if (!end) {
        *head = 0;
        return size < KITH_WEBSOCKET_HEAD_MAX ? KITH_OK : KITH_ERR_LIMIT;
    }
    if (end < code + STATUS_DIGITS || code[-1] != ' ') return KITH_ERR_FORMAT;
    for (size_t i = 0; i < STATUS_DIGITS; i++) {
        if (code[i] < '0' || code[i] > '9') return KITH_ERR_FORMAT;
        number = number * 10 + (unsigned)(code[i] - '0');
    }
    *head = (size_t)(end + 4 - text);
    *status = number;
    return KITH_OK;
}

typedef struct span { /* of a head */
    const char *at;
    size_t size;
} span;

static bool is(span s, const char *text) { return s.size == strlen(text) && memcmp(s.at, text, s.size) == 0; }
static bool is_ignoring_case(span s, const char *text)
{
    return s.size == strlen(text) && strncasecmp(s.at, text, s.size) == 0;
}

static span trim(span s)
{
    while (s.size && (s.at[0] == ' ' || s.at[0] == '\t')) {
        s.at++;
        s.size--;
    }
    while (s.size && (s.at[s.size - 1] == ' ' || s.at[s.size - 1] == '\t')) s.size--;
    return s;
}

/* Cut from `list` what is before the next `between`; false at its end. */
static bool cut(span *list, const char *between, span *out)
{
    if (!list->at) return false;
    const char *found = memmem(list->at, list->size, between, strlen(between));
    *out = (span){list->at, found ? (size_t)(found - list->at) : list->size};
    size_t taken = out->size + (found ? strlen(between) : 0);
    *list = found ? (span){list->at + taken, list->size - taken} : (span){0};
    return true;
}

static bool has_token(span list, const char *token)
{
    for (span item; cut(&list, ",", &item);)
        if (is_ignoring_case(trim(item), token)) return true;
    return false;
}

typedef struct answer { /* how often each thing was said, and whether it was right */
    unsigned upgrade, accept, protocol;
    bool connection, good;
} answer;

static void read_line(span line, const char *accept, const char *subprotocol, answer *a)
{
    span name, value = line;
    cut(&value, ":", &name);
    if (!value.at || !name.size || name.at[0] == ' ' || name.at[0] == '\t') { /* no header, or a folded one */
        a->good = false;
        return;
    }
    value = trim(value);
    if (is_ignoring_case(name, "Upgrade")) {
        a->upgrade++;
        a->good = a->good && is_ignoring_case(value, "websocket");
    } else if (is_ignoring_case(name, "Connection")) {
        a->connection = a->connection || has_token(value, "upgrade");
    } else if (is_ignoring_case(name, "Sec-WebSocket-Accept")) {
        a->accept++;
        a->good = a->good && is(value, accept);
    } else if (is_ignoring_case(name, "Sec-WebSocket-Protocol")) {
        a->protocol++;
        a->good = a->good && subprotocol && is(value, subprotocol);
    } else if (is_ignoring_case(name, "Sec-WebSocket-Extensions")) {
        a->good = a->good && !value.size;
    }
}

kith_err kith_websocket_agreed(const void *head, size_t size, const char *key, const char *subprotocol)
{
    char accept[KITH_WEBSOCKET_ACCEPT_SIZE];
    answer a = {.good = true};
    size_t found;
    unsigned status;
    if (kith_websocket_head(head, size, &found, &status) || found != size || status != KITH_WEBSOCKET_STATUS_SWITCHING)
        return KITH_ERR_DECLINED;
    kith_websocket_accept(key, accept);
    span lines = {head, size - 4}, line;
    cut(&lines, "\r\n", &line); /* the status */
    while (cut(&lines, "\r\n", &line)) read_line(line, accept, subprotocol, &a);
    bool all = a.upgrade == 1 && a.connection && a.accept == 1 && a.protocol == (subprotocol ? 1 : 0);
    return all && a.good ? KITH_OK : KITH_ERR_DECLINED;
}
