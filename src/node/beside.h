/* A session over TCP beside one over datagrams, with the same node (its twin, session.h), where datagrams have no
 * direct way, or bulk would rather not use them (path/beside.h: which addresses, and when).  Who dialled the session
 * over datagrams dials while somebody holds it, the other side as long as it is there; whose work it is better for goes
 * over to it (session_hold's `beside`).
 *
 * Both sides may dial.  Of two that came of it both keep the one that the lower fingerprint dialled: the other one's
 * dialler closes it as soon as nobody uses it. */
#ifndef KITH_NODE_BESIDE_H
#define KITH_NODE_BESIDE_H

#include "node/session.h"
#include "path/beside.h"
#include "path/chooser.h"

/* Attempts of all sessions together: so many at once, and one more each. */
#define BESIDE_ATTEMPTS_MAX  16
#define BESIDE_ATTEMPT_EVERY (SECOND_NS / 4)

struct beside;

KITH_MUST_CHECK kith_err kith__beside_new(session *s, struct beside **out); /* of one over datagrams.  NOMEM */
void kith__beside_free(struct beside *b);                                   /* with its attempts; NULL is fine */
/* What is known of the peer's addresses, who holds the session, or whether it has a twin may have changed.  `welcome`:
 * the peer wants to be dialled, and so do we. */
void kith__beside_look(struct beside *b, const kith_chooser *known, bool welcome);
void kith__beside_anew(struct beside *b); /* the network is another */
/* A session over TCP begins (it is greeted), or has ended: those over datagrams with the same node take notice. */
void kith__beside_greeted(session *s);
void kith__beside_ended(session *s);
/* Is what goes over this session better off with that one?  `bulk`: much of it. */
bool kith__beside_is_better(const session *other, const session *than, bool bulk);

#endif
