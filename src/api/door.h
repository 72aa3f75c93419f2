/* The door of a daemon: a local socket (io/local.h) at which programs of this user ask the desk.  Where it is depends
 * on the home alone: docs/protocol-daemon.md. */
#ifndef KITH_API_DOOR_H
#define KITH_API_DOOR_H

#include "api/desk.h"
#include "io/local.h"

#define DOOR_PLACES_MAX  3
#define DOOR_HELLO_NS    UINT64_C(5000000000) /* a program that has not said hello by then is sent away */
#define DOOR_PROGRESS_AT (256u << 10)         /* bytes a program has not read, from which on it gets no PROGRESS */

/* Where the door of a home may be, the best first; how many.  None: the home is not there. */
size_t kith__door_places(const char *home, kith_local_place out[static DOOR_PLACES_MAX]);

typedef struct door door;
typedef struct door_config {
    kith_env *env;
    desk *desk;
    const char *home;
    void (*describe)(void *user, kith_daemon_hello *out); /* everything but protocol and version */
    void *user;
} door_config;

/* STATE: a daemon of this home runs; the problem says its process.  Else as kith_local_listen. */
KITH_MUST_CHECK kith_err kith__door_open(const door_config *config, door **out, kith_problem *problem);
/* What EXPOSED and PERMISSION mean of the folder of a door. */
void kith__door_refused(kith_err err, const char *folder, kith_problem *problem);
void kith__door_socket(const door *d, char out[static KITH_PATH_NAME_MAX]); /* its path; "": longer than that */
void kith__door_shut(door *d);                                              /* nobody comes in any more */
void kith__door_free(door *d); /* everybody leaves, and the place is free; NULL is fine */

#endif
