/* Names to addresses, without holding up the loop: each look-up has a thread for as long as it takes.  The system's
 * resolver cannot be interrupted, so who no longer wants an answer leaves the thread behind, and the loop can end. */
#ifndef KITH_IO_RESOLVE_H
#define KITH_IO_RESOLVE_H

#include "io/io.h"

#define KITH_RESOLVE_ADDRS KITH_RESOLVED_MAX /* taken of an answer */
#define KITH_RESOLVE_MAX   16 /* threads at once, in the process: those left behind count until they end */

typedef struct kith_io_lookup kith_io_lookup;
/* None: no such name, or nobody could be asked.  On the loop; the look-up is over and may not be cancelled any more. */
typedef kith_resolved_fn kith_io_resolved;
/* The host is a name or an address; `port` is put into the answers.  NOMEM; LIMIT: too many at once. */
KITH_MUST_CHECK kith_err kith_io_resolve(kith_io *io, const char *host, uint16_t port, kith_io_resolved *done,
                                         void *user, kith_io_lookup **out);
void kith_io_resolve_cancel(kith_io_lookup *lookup); /* `done` is not called; NULL is fine */
unsigned kith_io_resolve_threads(void);              /* for tests: how many are at work or left behind */

#endif
