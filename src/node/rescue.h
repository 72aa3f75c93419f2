/* A session that has fallen silent, in use, may be with a node that was killed.  From then on other nodes of the device
 * are dialled beside it, those that appear meanwhile too.  When one of them has answered and the session has been
 * silent for SESSION_SILENT_NS it ends as LOST, and whoever uses it goes on with that one as after any loss: it is
 * there already.  When the session is heard again first, nothing has happened.
 *
 * One that is silent because the network is away is left alone: nobody else answers then.  Nor does another connection
 * with the same node mean anything: moving is the session's own work (roam.h).  It is closed, and others are looked for
 * less and less often. */
#ifndef KITH_NODE_RESCUE_H
#define KITH_NODE_RESCUE_H

#include "node/session.h"

#define RESCUE_LOOK_NS (SECOND_NS / 4) /* how often is looked whether it is heard again, while it is silent */

struct rescue;

void kith__rescue_silent(session *s); /* nothing comes over it (KITH_QUIC_SILENT) */
void kith__rescue_end(session *s);    /* none is fine */

#endif
