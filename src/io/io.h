/* The real world for a node: `kith_env` on a libuv loop of its own, with sockets, netlink, mDNS, files and two disk
 * workers. Used by the programs and the default node constructor alone. */
#ifndef KITH_IO_IO_H
#define KITH_IO_IO_H

#include "env/env.h"

typedef struct kith_io kith_io;

/* Not running yet; objects may be opened before kith_io_run by the thread that will run it.  NOMEM, LIMIT (descriptors,
 * threads). */
KITH_MUST_CHECK kith_err kith_io_new(kith_io **out);
kith_env *kith_io_env(kith_io *io);
/* The loop itself, for a library that wants one; what it puts there it takes away before kith_io_free. */
struct uv_loop_s *kith_io_loop(kith_io *io);
/* On the calling thread, until kith_io_stop was called and every object (timer, socket, watch, post, accepted job) is
 * closed. */
void kith_io_run(kith_io *io);
/* From any thread, once or more, also before kith_io_run. */
void kith_io_stop(kith_io *io);
bool kith_io_stopping(const kith_io *io); /* for who turns the loop himself */
/* After kith_io_run returned, or without it.  Jobs in flight are waited for and get their `done` here; objects still
 * open are counted in kith_io_leaked and their memory is lost.  NULL is fine. */
void kith_io_free(kith_io *io);

/* Objects open now, on the loop's thread; those being closed count until the loop has let go of them. */
size_t kith_io_objects(const kith_io *io);
/* Objects that kith_io_free found open, in all of the process's life: anything but 0 is a bug of the caller. */
size_t kith_io_leaked(void);

#endif
