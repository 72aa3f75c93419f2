/* WebSockets, what their parts know of each other: the connection (sim_ws.c), and how the two ends come to be one
 * (sim_ws_open.c).  Both are made of the process's own TCP and timers. */
#ifndef KITH_SIM_WS_H
#define KITH_SIM_WS_H

#include "base/url.h"
#include "sim/sim_internal.h"
#include "sim/sim_ws_server.h"

#define SIM_WS_HEAD     5 /* kind, length (4) */
#define SIM_WS_TEXT_MAX (KITH_URL_HOST_SIZE + 16)

typedef enum sim_ws_kind {
    SIM_WS_HELLO = 'h',  /* TLS: the client; a host */
    SIM_WS_CERT = 't',   /* and the server: bad (1), a name */
    SIM_WS_ASK = 'a',    /* HTTP: Host, 0, subprotocol */
    SIM_WS_ANSWER = 'r', /* status (2), subprotocol */
    SIM_WS_MESSAGE = 'm',
    SIM_WS_CLOSE = 'c', /* code (2) */
} sim_ws_kind;

typedef enum sim_ws_state { SIM_WS_NAMING, SIM_WS_OPENING, SIM_WS_OPEN, SIM_WS_OVER } sim_ws_state;

struct kith_ws {
    kith_link link;
    sim_process *process;
    kith_sim_ws_server *server; /* of an accepted one, until it is handed over */
    bool is_server;
    sim_ws_state state;
    kith_ws_events events;
    void *user;
    bool attached, closed, paused, owed, ending; /* ending: `ended` is due, from the loop */
    unsigned depth;                              /* of calls from the world below: it is not freed in them */
    kith_tcp *tcp;
    kith_timer *timer;
    uint64_t name_ns, open_by_ns, close_by_ns, writable_ns, end_ns; /* UINT64_MAX: not */
    kith_err why;
    unsigned status;
    kith_url url;
    char subprotocol[64];       /* asked for; "": none */
    char host[SIM_WS_TEXT_MAX]; /* Host */
    uint8_t head[SIM_WS_HEAD];  /* of what comes in */
    size_t head_size, in_size, in_length;
    uint8_t *in;
    kith_list out;
    size_t out_size, out_sent; /* bytes of messages that wait; of the first of all records that are sent */
};

/* NULL when out of memory. */
kith_ws *kith__sim_ws_new(sim_process *process);
extern const kith_tcp_events kith__sim_ws_tcp_events;
void kith__sim_ws_end(kith_ws *ws, kith_err why, unsigned status);                   /* told from the loop, soon */
bool kith__sim_ws_put(kith_ws *ws, sim_ws_kind kind, const void *data, size_t size); /* false: out of memory */
void kith__sim_ws_pump(kith_ws *ws);
void kith__sim_ws_settle(kith_ws *ws); /* its timer */
void kith__sim_ws_drop(kith_ws *ws);   /* without a word */
/* A record of opening.  It may end it. */
void kith__sim_ws_opening(kith_ws *ws, sim_ws_kind kind, const uint8_t *data, size_t size);
void kith__sim_ws_find(kith_ws *ws);  /* the name, and connect */
void kith__sim_ws_begin(kith_ws *ws); /* TCP is connected */

#endif
