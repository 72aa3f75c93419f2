/* WebSockets on libwebsockets, what the two parts know of each other: one connection (ws.c), and the library's context
 * with its virtual hosts (ws_context.c). */
#ifndef KITH_IO_WS_INTERNAL_H
#define KITH_IO_WS_INTERNAL_H

#include "base/url.h"
#include "io/io_internal.h"
#include "io/proxy.h"
#include "io/resolve.h"

#include <libwebsockets.h>

#define KITH_WS_LOCAL_PROTOCOL "kith" /* what our callback is called inside the library */

struct kith_ws {
    kith_io *io;
    kith_ws_events events;
    void *user;
    kith_url url;
    kith_io_proxy proxy; /* host "": none */
    char *ca_file, *subprotocol;
    kith_io_lookup *lookup;
    kith_addr addrs[KITH_RESOLVE_ADDRS]; /* of the server or the proxy, to be tried in this order */
    size_t addr_count, addr_next;
    kith_timer *timer;
    uint64_t connect_by_ns, address_by_ns, close_by_ns; /* UINT64_MAX: not yet, or no more */
    struct lws *wsi;                                    /* NULL: none */
    bool tcp, established; /* of this attempt: the socket is connected; it is a WebSocket */
    kith_ws_certificate certificate;
    bool timed_out;
    bool again;                   /* start the next address, from the loop */
    bool paused, owed;            /* `writable` is owed */
    bool closing, closed_by_peer; /* by the user; with a close frame */
    bool ended;                   /* and told */
    kith_err why;                 /* what we found wrong; KITH_OK: nothing */
    bool said_close;
    unsigned code; /* to close with then */
    unsigned status;
    uint8_t *in; /* a message of which not all is there */
    size_t in_size, in_cap;
    kith_list out;
    size_t out_size;
};

/* The library's callback for everything (ws.c). */
int kith_io_ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *unused, void *in, size_t size);
/* Put into `info` the context, and the virtual host for this connection's proxy (NULL: none) and authorities; both are
 * made when they are not there.  NOMEM, LIMIT, FORMAT: the authorities' file cannot be read; UNSUPPORTED: the library
 * cannot run on our loop (its libuv plug-in is missing). */
KITH_MUST_CHECK kith_err kith_io_ws_place(kith_ws *ws, const kith_addr *proxy, struct lws_client_connect_info *info);
/* Asked for each certificate of a chain: `store_context` is OpenSSL's X509_STORE_CTX. */
kith_ws_certificate kith_io_ws_certificate(const kith_ws *ws, void *store_context, bool chain_good);

#endif
