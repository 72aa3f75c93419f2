/* The address of a WebSocket: ws://host[:port][/path], wss:// likewise (RFC 6455 section 3; the host as in RFC 3986).
 */
#ifndef KITH_BASE_URL_H
#define KITH_BASE_URL_H

#include <kith/error.h>
#include <stdbool.h>
#include <stdint.h>

#define KITH_URL_HOST_SIZE 254 /* a name of 253 characters (RFC 1035) and a NUL */
#define KITH_URL_PATH_SIZE 256
#define KITH_URL_TEXT_SIZE (KITH_URL_HOST_SIZE + KITH_URL_PATH_SIZE + 16)

typedef struct kith_url {
    bool secure;                   /* wss */
    bool is_ipv6;                  /* the host is an IPv6 address, here without its brackets */
    uint16_t port;                 /* 80 or 443 when none was given */
    char host[KITH_URL_HOST_SIZE]; /* letters in lower case */
    char path[KITH_URL_PATH_SIZE]; /* begins with "/"; a query belongs to it */
} kith_url;

/* ARG: another scheme, user names, fragments, characters that do not belong there, a port that is none, or too long. */
KITH_MUST_CHECK kith_err kith_url_parse(const char *text, kith_url *out);

#endif
