/* `kith relay`: the hub (src/relay) on libwebsockets and a UDP socket.  What the command sees of it. */
#ifndef KITH_RELAY_SERVE_H
#define KITH_RELAY_SERVE_H

#include <kith/error.h>
#include <stdbool.h>

#define KITH_RELAY_ADMIN_DEFAULT "127.0.0.1:9475"
#define KITH_RELAY_WHY_SIZE      256

typedef struct kith_relay_options { /* NULL: not given */
    const char *listen;             /* ADDR:PORT */
    const char *admin_listen;       /* [ADDR:]PORT, loopback without; NULL: the default, where it is free */
    const char *cert, *key;         /* both or none */
    const char *token_file, *limits;
    const char *user; /* whom to become when started as root; NULL: nobody */
    bool check;       /* read all files, say what is wrong, and stop */
} kith_relay_options;

typedef struct kith_relay_said {
    /* It listens: the addresses with the ports picked; `admin` is NULL without. */
    void (*listening)(void *user, const char *address, const char *admin);
    void (*log)(void *user, bool warning, const char *line);
    bool (*stopped)(void *user); /* a signal to stop came before the relay looked after signals itself */
    void *user;
} kith_relay_said;

/* Runs until SIGTERM or SIGINT; a second one ends it at once.  OK, or why it could not with a sentence. */
KITH_MUST_CHECK kith_err kith_relay_serve(const kith_relay_options *options, const kith_relay_said *said,
                                          char why[static KITH_RELAY_WHY_SIZE]);

#endif
