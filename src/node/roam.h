/* Where a session over datagrams is reached: it tells the peer our addresses, hears the peer's, and goes over to
 * another way when that is better or the one in use is dead (path/chooser.h), in the middle of whatever is under way.
 * Networks come and go beneath it.
 *
 * Sessions over TCP do not move: one whose local address is gone is lost at once, and what went over it goes on over
 * its twin or another session. */
#ifndef KITH_NODE_ROAM_H
#define KITH_NODE_ROAM_H

#include "node/session.h"

#define ROAM_FIRST_NS      (SECOND_NS / 5) /* a session on a local network that is over before was in no need of this */
#define ROAM_MESSAGES_MAX  8               /* candidates of the peer's at once, and one more each */
#define ROAM_MESSAGE_EVERY (SECOND_NS / 2) /* of these; others are ignored */
/* Probes of ways that are not in use, of all sessions together: so many at once, and one more each.  What peers claim
 * of their addresses does not make a node flood anybody. */
#define ROAM_PROBES_MAX  256
#define ROAM_PROBE_EVERY (SECOND_NS / 16)
#define ROAM_UNSENT_MAX  8192 /* bytes for a peer that takes none: it is told no more */

void kith__roam_begin(session *s); /* greeted, and not a stranger's: from now on it looks after itself */
void kith__roam_end(session *s);   /* NULL inside is fine */
void kith__roam_event(session *s, const kith_quic_event *event); /* PATH, MOVED, ASKED, SILENT */
/* Bytes of the peer's control stream after hello. */
void kith__roam_control(session *s, const uint8_t *data, size_t size);
void kith__roam_used(session *s); /* who holds it is another, or whether it has a twin */
void kith__roam_seen(kith_core *core, const uint8_t uuid[static KITH_UUID_SIZE]); /* its addresses may have changed */
void kith__roam_relays(kith_core *core);         /* there are relays that there were not */
void kith__roam_told_addresses(kith_core *core); /* what peers are to be told has changed */
/* Nothing gets there any more. */
void kith__roam_gone(kith_core *core, const kith_addr *addr, kith_err why);
/* Watch the system's addresses, for all sessions. */
KITH_MUST_CHECK kith_err kith__roam_watch(kith_core *core);
void kith__roam_unwatch(kith_core *core);

#endif
