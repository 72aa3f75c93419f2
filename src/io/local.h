/* Messages and file descriptors between processes of one user on one machine, over Unix sockets on the env's loop.  A
 * message is its length (4 bytes, big-endian) and as many bytes; a descriptor may travel with it (SCM_RIGHTS).  The
 * other end's user is asked of the kernel (SO_PEERCRED), never of him. */
#ifndef KITH_IO_LOCAL_H
#define KITH_IO_LOCAL_H

#include "io/io.h"

#define KITH_LOCAL_HEAD      4
#define KITH_LOCAL_PATH      4096
#define KITH_LOCAL_FDS_MAX   4           /* that came and belong to messages still arriving */
#define KITH_LOCAL_QUEUE_MAX (64u << 20) /* bytes that wait to be sent; more, and it fails */

/* Where a socket is: a name in a folder, and a file beside it that its owner keeps locked. */
typedef struct kith_local_place {
    char folder[KITH_LOCAL_PATH];
    char name[64];
} kith_local_place;

/* A socket listening there, non-blocking, mode 0600, in the place of one whose owner is gone; *lock is to be kept open
 * as long.  The folder is made (0700) if missing.  LOCKED: the owner lives, *pid is his process (0: not known).
 * PERMISSION: the folder is another user's; EXPOSED: others may write in it; IO, NO_SPACE, LIMIT, NETWORK, NOMEM. */
KITH_MUST_CHECK kith_err kith_local_listen(const kith_local_place *place, int *fd, int *lock, long *pid);
/* Remove the name and close the socket: who comes now finds nobody, and the place is still taken. */
void kith_local_unlisten(const kith_local_place *place, int fd);
/* ... and now it is free. */
void kith_local_unlock(const kith_local_place *place, int lock);
/* A socket connected to that place, blocking, and with this patience for each step.  NOT_FOUND: nobody is there;
 * PERMISSION: somebody who is another user; TIMEOUT, LIMIT, IO. */
KITH_MUST_CHECK kith_err kith_local_connect(const kith_local_place *place, unsigned patience_ms, int *fd);
/* One message there and one back, on such a socket: at most `cap` bytes.  TIMEOUT; LOST; PROTOCOL: too large. */
KITH_MUST_CHECK kith_err kith_local_exchange(int fd, const void *data, size_t size, uint8_t *out, size_t cap,
                                             size_t *out_size);
/* Does this socket lead to our own user? */
bool kith_local_is_own(int fd);
/* The process at its other end: who listened there, where we connected; 0: not known. */
long kith_local_process(int fd);

/* ---- on the loop ---- */
typedef struct kith_local_door kith_local_door;
/* Call `accepted` with each connection, non-blocking and the callee's, of our own user; others are closed.  The socket
 * is borrowed.  NOMEM. */
KITH_MUST_CHECK kith_err kith_local_accept(kith_env *env, int fd, void (*accepted)(void *user, int fd), void *user,
                                           kith_local_door **out);
void kith_local_accept_end(kith_local_door *door); /* NULL is fine */

typedef struct kith_local kith_local;
typedef struct kith_local_events {
    /* A whole message, in memory that may be changed, with one byte of room after it, until the call returns.  False:
     * it breaks the rules; `ended` with PROTOCOL follows, never from within. */
    bool (*message)(void *user, uint8_t *data, size_t size);
    /* CLOSED: the peer ended it, or is gone; PROTOCOL; LIMIT: it does not read; NOMEM.  Nothing else comes; `close` is
     * due. */
    void (*ended)(void *user, kith_err why);
} kith_local_events;
/* A connected socket, the object's from here on unless this fails: NOMEM.  A message is at most `message_max` bytes. */
KITH_MUST_CHECK kith_err kith_local_open(kith_env *env, int fd, size_t message_max, const kith_local_events *events,
                                         void *user, kith_local **out);
/* Memory for a message of at most `size` bytes, to be handed to kith_local_send; NULL: no memory. */
uint8_t *kith_local_room(size_t size);
/* Send the message: the first `size` bytes of such memory, which is the object's from here on, and wiped once it is
 * sent (so is what came, once it was taken); NULL: there was no memory, and the connection fails.  `fd` (-1: none) is
 * the object's, too.  What cannot be sent is told by `ended`. */
void kith_local_send(kith_local *l, uint8_t *room, size_t size, int fd);
/* In `message`, for one with which a descriptor comes: the caller's from here on; -1: none came. */
int kith_local_take_fd(kith_local *l);
size_t kith_local_queued(const kith_local *l);     /* bytes that wait to be sent */
void kith_local_fail(kith_local *l, kith_err why); /* `ended` follows with this, from the loop */
void kith_local_close(kith_local *l);              /* NULL is fine */

#endif
