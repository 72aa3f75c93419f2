/* A session, inside: session.c has its life, greeting.c its beginning, session_serve.c what its peer may do, and
 * session_find.c which is with whom. */
#ifndef KITH_NODE_SESSION_INTERNAL_H
#define KITH_NODE_SESSION_INTERNAL_H

#include "node/session.h"

/* ---- session.c ---- */
void kith__session_become_ready(session *s); /* whoever dialled it hears so */
void kith__session_idle_out(session *s);     /* nobody uses it: it ends after a while, if that is ours to do */

/* ---- session_serve.c ---- */
/* A stream that the peer opened, until its first byte says which service it is for. */
extern const channel_events kith__session_undecided;
void kith__session_serve_waiting(session *s); /* hello was heard: streams that came before it */
/* Sessions that waited for it: of the same device, which is a member by now or may not appeal again so soon. */
void kith__sessions_after_appeal(kith_core *core);

#endif
