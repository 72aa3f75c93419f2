/* The other end of simulated WebSockets, which a test plugs a handler into; and names for them to be looked up by.
 *
 * They go over simulated TCP, so links, partitions, moved addresses, refusals and killed processes do to them what they
 * do there; a name takes up to 20 ms, TLS one round trip and its certificate's name (no cryptography is simulated), and
 * frames a few bytes.  The environment's proxies and ca_file mean nothing here.  kith_sim_set_send_again makes `send`
 * say AGAIN by chance, and `writable` comes within 1 ms. */
#ifndef KITH_SIM_SIM_WS_SERVER_H
#define KITH_SIM_SIM_WS_SERVER_H

#include "sim/sim.h"

#define KITH_SIM_NAME_NS (20 * KITH_SIM_MS)

typedef struct kith_sim_ws_server kith_sim_ws_server;
typedef struct kith_sim_ws_server_options {
    const char *subprotocol; /* agreed to when asked for; NULL: none is; kept as a pointer */
    const char *certificate; /* wss: the name it is for; NULL: ws.  As a pointer */
    bool bad_certificate;    /* of an unknown authority, or out of date */
    bool mute;               /* takes connections and never says anything */
    unsigned refuse;         /* an HTTP status instead of a WebSocket; 0: none */
} kith_sim_ws_server_options;

/* Serve there; in `accepted`, which comes when a client was answered, the WebSocket is attached to or closed.  It is
 * used with env->ws as the client's is: send, pause, resume, remote, close.  Errors as env->tcp->listen. */
KITH_MUST_CHECK kith_err kith_sim_ws_listen(kith_env *env, const kith_addr *bind,
                                            const kith_sim_ws_server_options *options,
                                            void (*accepted)(void *user, kith_ws *ws), void *user,
                                            kith_sim_ws_server **out);
void kith_sim_ws_set(kith_sim_ws_server *server, const kith_sim_ws_server_options *options); /* for those to come */
void kith_sim_ws_unlisten(kith_sim_ws_server *server); /* those accepted go on; NULL is fine */
void kith_sim_ws_attach(kith_ws *ws, const kith_ws_events *events, void *user);
const char *kith_sim_ws_host(const kith_ws *ws);         /* what the client sent as Host */
void kith_sim_ws_close_with(kith_ws *ws, unsigned code); /* as close */
/* This name is at that address ("192.0.2.1"), for all hosts; NULL: it is not any more.  ARG, NOMEM. */
KITH_MUST_CHECK kith_err kith_sim_name(kith_sim *sim, const char *name, const char *addr);
/* And at that one, too; WebSockets take the first.  ARG, NOMEM. */
KITH_MUST_CHECK kith_err kith_sim_name_too(kith_sim *sim, const char *name, const char *addr);

#endif
