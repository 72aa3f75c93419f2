/* What the desk's files share: desk.c (clients, and what the core says), desk_execute.c (what clients ask). */
#ifndef KITH_API_DESK_INTERNAL_H
#define KITH_API_DESK_INTERNAL_H

#include "api/desk.h"

/* A folder whose descriptor a client gave, and what the client calls it, as it stands before a name in it. */
typedef struct desk_folder {
    struct desk_folder *next;
    int fd;
    uint64_t device, inode;
    char called[];
} desk_folder;

/* An operation of the core, or a connection that was taken, and whose it is. */
typedef struct route {
    kith_link link;
    desk *desk;
    desk_client *client; /* NULL: it is gone */
    kith_daemon_kind kind;
    kith_op theirs, core;
    bool connection; /* the rest of it goes by this very number */
    bool cancelled;  /* by the client */
    int fd;          /* of a file that is sent; -1 */
    desk_folder *folders;
    bool inbox;
    char *folder;       /* of the application's own receive */
    size_t undelivered; /* connections: cost of what was sent and not confirmed */
    uint64_t given;     /* messages the client got and has not said that it took, and their bytes */
    size_t given_bytes;
} route;

/* An offer that anybody may answer. */
typedef struct desk_offer {
    kith_link link;
    kith_op op, transfer; /* the core's */
    kith_event event;
} desk_offer;

struct desk_client {
    kith_link link;
    desk *desk;
    const desk_sink *sink;
    void *user;
    bool own, gone;
};

struct desk {
    kith_core *core;
    const desk_host *host;
    void *host_user;
    kith_list clients, routes, offers;
    kith_op last_op;
    kith_event event; /* being translated */
};

#define PART_BITS   32 /* an operation's part is its number, shifted, and a number of its own */
#define PART_OF(op) ((op) >> PART_BITS)
#define PART_MASK   ((UINT64_C(1) << PART_BITS) - 1)

/* ---- desk.c ---- */
route *kith__route_new(desk_client *c, kith_daemon_kind kind, kith_op theirs); /* NULL: no memory */
void kith__route_free(route *r);
route *kith__route_of_core(desk *d, kith_op core);                  /* that very number; NULL: none */
route *kith__route_of_client(const desk_client *c, kith_op theirs); /* the same for the client's numbers */
/* Say that the operation is over, and forget it; `message` NULL: the error's own sentence. */
void kith__route_end(route *r, kith_err err, const char *message);
void kith__offer_free(desk_offer *o);
/* A kith_event to the client; its numbers are the client's already. */
void kith__desk_tell(desk_client *c, const kith_event *event);

/* ---- desk_execute.c ---- */
void kith__route_cancel(route *r); /* END follows, now or later */

#endif
