/* The desk: where requests (service/daemon.h) of any number of clients become calls of one core, and what the core says
 * goes to the client whose operation it is.  A client is the application of this process (calls.c) or a program at the
 * daemon's door (door.c); each numbers its operations itself, the desk gives the core numbers of its own.  A client
 * that goes has its operations cancelled.  All of it is on the loop. */
#ifndef KITH_API_DESK_H
#define KITH_API_DESK_H

#include "base/list.h"
#include "op/op.h"
#include "service/daemon.h"

#define DESK_FOLDERS_MAX 64 /* that one receive of a program may put files into */

typedef struct desk desk;
typedef struct desk_client desk_client;

/* Where a client hears; all of it with the client's own numbers.  Nothing here may call the desk or the core. */
typedef struct desk_sink {
    void (*event)(void *user, const kith_event *event); /* END is never lost */
    const kith_core_talk *talk;
} desk_sink;

/* What being a daemon needs of the process. */
typedef struct desk_host {
    /* Let programs in from here on, at this socket. */
    KITH_MUST_CHECK kith_err (*open)(void *user, char socket[static KITH_PATH_NAME_MAX], kith_problem *problem);
    /* ... and no more; `keep`: those inside stay, and so does the place that nobody else can take meanwhile */
    void (*close)(void *user, bool keep);
} desk_host;

KITH_MUST_CHECK kith_err kith__desk_new(const desk_host *host, void *host_user, desk **out);
void kith__desk_free(desk *d); /* after its core and its clients; NULL is fine */
/* For the core's configuration: `emit` and its `talk`, with the desk as their user; then tell it the core. */
void kith__desk_event(void *user, const kith_event *event);
extern const kith_core_talk kith__desk_talk;
void kith__desk_set_core(desk *d, kith_core *core); /* NULL: it is gone; a desk of NULL is fine */

/* `own`: the application of this process, which may be the daemon and names files by their paths.  NULL: no memory. */
desk_client *kith__desk_join(desk *d, const desk_sink *sink, void *user, bool own);
void kith__desk_leave(desk_client *c); /* its operations are cancelled, and it hears no more; NULL is fine */

/* Do what is asked; texts are borrowed for the call.  `fd` (-1: none) and `message` (of MESSAGE and DATAGRAM; else
 * NULL) are the desk's from here on.  PROTOCOL: the client breaks the rules, and is to leave; all else is said by
 * events. */
KITH_MUST_CHECK kith_err kith__desk_execute(desk_client *c, const kith_daemon_request *r, int fd,
                                            kith_talk_message *message);
/* Where the application of this process receives into; "": nowhere. */
const char *kith__desk_folder(const desk *d);

#endif
