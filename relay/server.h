/* What the parts of the server share. */
#ifndef KITH_RELAY_SERVER_H
#define KITH_RELAY_SERVER_H

#include "notify.h"
#include "serve.h"

#include "io/io.h"
#include "relay/hub.h"

#include <libwebsockets.h>
#include <uv.h>

typedef struct server server;

typedef struct listener {
    server *of;
    uv_poll_t poll;
    uv_timer_t again; /* after the process had no descriptors left */
    int fd;
    int open_handles;
    bool admin;
    kith_addr local;
} listener;

typedef struct files { /* as they were read last */
    kith_relay_settings settings;
    kith_tokens *tokens; /* NULL: none are wanted; taken by who uses them */
    struct x509_st *certificate;
} files;

struct server {
    const kith_relay_options *options;
    const kith_relay_said *said;
    kith_io *io;
    kith_env *env;
    kith_hub *hub;
    struct lws_context *lws;
    struct lws_vhost *vhosts[2]; /* public, admin */
    listener listeners[2];
    size_t admin_connections;
    kith_udp *udp, *udp_other; /* the second is for STUN's answers from another port; NULL: it could not be had */
    kith_timer *timer, *drain;
    uint64_t timer_ns; /* what `timer` is set to */
    uv_signal_t signals[3];
    files files;
    uint64_t connections_most; /* what the descriptors are enough for, whatever the settings say */
    bool stopping;             /* SIGTERM came */
    uint64_t full_said_ns;     /* when the log had it last that there are too many connections; 0: never */
    char *metrics;             /* the text, made when it is asked for */
    size_t metrics_size;
};

/* ---- serve.c ---- */
void server_log(server *s, bool warning, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Take what the hub has: to be called after each call into it. */
void server_flush(server *s);
uint64_t server_now(const server *s);

/* ---- files.c ---- */
/* All that the options name; on failure *out is untouched and `why` has a sentence. */
KITH_MUST_CHECK kith_err files_read(const kith_relay_options *options, files *out,
                                    char why[static KITH_RELAY_WHY_SIZE]);
void files_done(files *f);
/* Whether this is what the relay is called: a name of the settings; without such a name of the certificate, or, without
 * one, the address the connection came to, or localhost. */
bool files_name_is_ours(const files *f, const char *authority, const kith_addr *local);

/* ---- listen.c ---- */
KITH_MUST_CHECK kith_err listen_open(server *s, listener *l, const kith_addr *at, bool admin);
void listen_close(listener *l); /* not opened is fine; the loop has a turn to come */

/* ---- websocket.c ---- */
KITH_MUST_CHECK kith_err websocket_open(server *s, char why[static KITH_RELAY_WHY_SIZE]);
void websocket_close(server *s);
void websocket_adopt(server *s, int fd, const kith_addr *from, const kith_addr *local, bool admin);
/* A client of the hub's has something new. */
void websocket_look(void *user);

/* ---- system.c ---- */
KITH_MUST_CHECK kith_err system_become(const char *user, char why[static KITH_RELAY_WHY_SIZE]);
/* What a relay never needs is refused from here on: other programs, other namespaces, the kernel's rarer doors. */
bool system_confine(void);
/* So many descriptors, numbered from 0 on, may be open from here on, not more; or, where the system allows fewer,
 * those. How many. */
uint64_t system_set_files(uint64_t wanted);

#endif
