/* WebSockets, what their parts know of each other: how one comes to be (ws_open.c), the bytes below its messages
 * (ws_bytes.c), and messages, ends, and the table (ws.c). */
#ifndef KITH_IO_WS_INTERNAL_H
#define KITH_IO_WS_INTERNAL_H

#include "io/io_internal.h"
#include "io/proxy.h"
#include "io/resolve.h"
#include "io/tls.h"
#include "wire/websocket.h"

#define KITH_WS_IN_SIZE ((size_t)256 << 10) /* of a reader: a wake-up of the loop brings no more (io/tcp.c) */
#define KITH_WS_MASKS   64                  /* drawn at once: asking the system costs as much as a message */

typedef enum kith_ws_phase {
    KITH_WS_LOOKUP,
    KITH_WS_CONNECTING, /* to an address */
    KITH_WS_TUNNEL,     /* a proxy was asked */
    KITH_WS_HANDSHAKE,  /* TLS's */
    KITH_WS_UPGRADE,    /* the server was asked */
    KITH_WS_OPEN,
    KITH_WS_FAILING, /* the peer broke the rules: our close frame is on its way, and what comes is dropped */
    KITH_WS_CLOSING, /* the user closed: what is queued is on its way, with a close frame behind it */
    KITH_WS_ENDED,
} kith_ws_phase;

typedef struct kith_ws_chunk { /* bytes that wait to be sent */
    kith_link link;
    size_t size, sent;
    size_t counted; /* bytes of a message in it */
    uint8_t bytes[];
} kith_ws_chunk;

struct kith_ws {
    kith_io *io;
    kith_ws_events events;
    void *user;
    kith_ws_phase phase;
    /* ---- where to ---- */
    kith_url url;
    kith_io_proxy proxy; /* host "": none */
    char *subprotocol;
    char key[KITH_WEBSOCKET_KEY_SIZE];
    kith_io_lookup *lookup;
    kith_addr addrs[KITH_RESOLVE_ADDRS]; /* of the server or the proxy, to be tried in this order */
    size_t addr_count, addr_next;
    kith_addr remote; /* as env->ws->remote gives it */
    /* ---- when ---- */
    kith_timer *timer;
    uint64_t connect_by_ns, address_by_ns, close_by_ns; /* UINT64_MAX: not yet, or no more */
    bool again;                                         /* look at it again, from the loop */
    /* ---- bytes ---- */
    kith_tcp *tcp;    /* NULL: none */
    kith_io_tls *tls; /* NULL: plain */
    bool was_cut_off; /* the stream ended, while messages that came before wait for `resume` */
    kith_websocket_reader in;
    kith_list out;     /* of kith_ws_chunk */
    size_t out_size;   /* bytes of messages in it */
    kith_link unsent;  /* in io->ws_unsent: until the end of this turn of the loop */
    size_t masks_left; /* of `masks` */
    uint8_t masks[KITH_WS_MASKS][KITH_WEBSOCKET_MASK_SIZE];
    /* ---- state ---- */
    bool paused, owed; /* `writable` is owed */
    bool pong_owed;    /* to the last ping, whose payload this is */
    uint8_t pong_size;
    uint8_t pong[KITH_WEBSOCKET_CONTROL_MAX];
    bool closed; /* by the user, who hears nothing any more */
};

static inline bool kith_io_ws_is_held(const kith_ws *ws) { return ws->paused && ws->phase == KITH_WS_OPEN; }

/* ---- ws.c ---- */
/* It is over, and the user is told, who may close it: it may be gone afterwards.  One that the user closed already is
 * let go of instead. */
void kith_io_ws_end(kith_ws *ws, kith_err why, unsigned status);
/* The stream ended, for this reason; PROTOCOL: TLS found that it was not the peer's.  It may be gone afterwards. */
void kith_io_ws_cut_off(kith_ws *ws, kith_err why);
void kith_io_ws_set_timer(kith_ws *ws);
void kith_io_ws_look_again(kith_ws *ws);      /* from the loop */
void kith_io_ws_opened(kith_ws *ws);          /* it is a WebSocket now: tell the user */
bool kith_io_ws_messages(kith_ws *ws);        /* those that were received; false: it ended, and may be gone */
bool kith_io_ws_may_write(const kith_ws *ws); /* `writable` is due, and to say so: */
void kith_io_ws_tell_writable(kith_ws *ws);

/* ---- ws_open.c: it may be gone after each of these, and is when they return false ---- */
kith_resolved_fn kith_io_ws_resolved;
void kith_io_ws_connected(kith_ws *ws);   /* the stream is there */
bool kith_io_ws_shake_hands(kith_ws *ws); /* go on with TLS */
bool kith_io_ws_answered(kith_ws *ws);    /* look at what the server, or the proxy, said */
void kith_io_ws_not_opened(kith_ws *ws);  /* the stream is no more, or this address has taken too long: the next one */

/* ---- ws_bytes.c ---- */
KITH_MUST_CHECK kith_err kith_io_ws_dial(kith_ws *ws, const kith_addr *addr); /* as env->tcp->connect */
void kith_io_ws_hang_up(kith_ws *ws); /* what the stream took is still delivered */
/* Queue a masked frame, or HTTP's text; NOMEM. */
KITH_MUST_CHECK kith_err kith_io_ws_queue_frame(kith_ws *ws, kith_websocket_opcode opcode, const void *data,
                                                size_t size);
KITH_MUST_CHECK kith_err kith_io_ws_queue_text(kith_ws *ws, const char *text);
/* Forget what is queued; unless `all`, not the rest of a frame that began to be sent. */
void kith_io_ws_drop_queue(kith_ws *ws, bool all);
void kith_io_ws_flush(kith_ws *ws);       /* send what the stream takes */
void kith_io_ws_flush_later(kith_ws *ws); /* at the end of the loop's turn */
bool kith_io_ws_has_unread(const kith_ws *ws);
void kith_io_ws_read_on(kith_ws *ws); /* what was received and not yet looked at, and more; it may be gone afterwards */

#endif
