/* Which HTTP proxy the environment wants between us and a WebSocket, as curl and most programs read it. */
#ifndef KITH_IO_PROXY_H
#define KITH_IO_PROXY_H

#include "base/url.h"

#define KITH_PROXY_USER_MAX 95 /* bytes of "user:password", as they are in the variable */

typedef struct kith_io_proxy {
    char host[KITH_URL_HOST_SIZE]; /* an IPv6 address without brackets; "" = none */
    uint16_t port;
    char user[KITH_PROXY_USER_MAX + 1]; /* "user:password", %-decoded; "" = none */
} kith_io_proxy;

/* wss: https_proxy, HTTPS_PROXY; ws: http_proxy (HTTP_PROXY may be a client's header where a program is a CGI, so it is
 * not read); then all_proxy, ALL_PROXY.  None when no_proxy, NO_PROXY is "*" or has the host, or a domain it is in, or
 * its address.  `get` is getenv, or a test's.  FORMAT: the variable names no HTTP proxy that can be understood. */
KITH_MUST_CHECK kith_err kith_io_proxy_for(const kith_url *url, char *(*get)(const char *name), kith_io_proxy *out);

#endif
