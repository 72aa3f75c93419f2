/* One's own devices: the trust graph as this node has it, the exchange of it with them, and what follows when it
 * changes.  Whoever changes it, here, in another process of this home or far away: within BOOK_WATCH_NS every live
 * session with an own device has the news, and sessions with those that are revoked are closed (book.h). */
#ifndef KITH_NODE_OWN_H
#define KITH_NODE_OWN_H

#include "identity/graph.h"
#include "node/core.h"
#include "node/session.h"

#define OWN_PENDING_BYTES (1u << 20) /* of records that wait for the disk or are there; more are asked for again */
#define OWN_UNSENT_MAX    (2u * KITH_GRAPH_FILE_MAX) /* that wait for a device which asks for more all the same */
#define OWN_REASON_MAX    128                        /* bytes of what a revoked device is told (quic.h's bound) */

/* With the device's keys: what it has to say of itself is said (kith_home_tend_graph), and the graph is read. */
KITH_MUST_CHECK kith_err kith__own_open(kith_core *core, kith_problem *problem);
void kith__own_close(kith_core *core); /* never opened is fine */
/* The book's files changed: read the graph again (on failure it is as it was); and then, from the loop, what follows:
 * it is told to one's own devices, and this one says what it has to say of itself. */
KITH_MUST_CHECK kith_err kith__own_reload(kith_core *core, kith_problem *problem);
void kith__own_changed(kith_core *core);
/* Every BOOK_WATCH_NS while somebody is connected: what the disk did not take is tried again. */
void kith__own_retry(kith_core *core);
/* A session with an own device has begun. */
void kith__own_greeted(session *s);
/* A stream that an own device opened, or one whose session is refused. */
KITH_MUST_CHECK kith_err kith__own_serve(channel *c);

/* Has the graph a device that is no member (any more)?  Then REVOKED, else UNTRUSTED: why one that is not in the book
 * is refused.  REVOKED also of a member where this device is none itself: it pins nobody any more, and by what the
 * other knows it may be in, so that is heard as an appeal is. */
kith_err kith__own_refusal(const kith_core *core, const uint8_t fingerprint[static 32]);
/* What the graph says of the device that has this Noise key; 0: it names none. */
kith_member_state kith__own_state_of(const kith_core *core, const uint8_t x25519[static KITH_X25519_SIZE]);
/* What a revoked device is told: time in ms since 1970, by whom, why, a line each. */
void kith__own_reason(const kith_core *core, const uint8_t fingerprint[static 32], char out[static OWN_REASON_MAX]);
/* Another device told us so, one of our own or, say, one that is paired with; and how that is said to people.  A word
 * for the message of what was refused, and no more; forgotten when one of our own speaks to this device as to a member.
 */
void kith__own_told(kith_core *core, const char *reason);
void kith__own_told_text(const kith_core *core, char *out, size_t size);
/* By its own graph, of records that it has verified: is this device no member any more?  Receivers hear of the change.
 */
#define OWN_CANNOT_ADMIT "this device was revoked: it cannot let another in"
bool kith__own_is_revoked(const kith_core *core);

/* ---- a device that is revoked here ----
 * Its session is refused (kith__session_refuse): nothing is served or heard but the stream of the trust graph, which
 * the dialler opens.  What is done over that is in own_refused.c:
 *
 * Who comes anew may *appeal*.  A revocation that was heard first does not count when the device that it revokes has
 * revoked its signer and was let in earlier, or when the code's holder has reset (graph.h); but whom it revokes is not
 * heard any more.  So it shows all it knows, and hears nothing.  If by that it is a member the records are taken and
 * its session begins; else they are forgotten, and it is told.
 *
 * Who is told is handed the record that revokes it, and what is needed to verify that, which is what the record's
 * author knew: it was a member then, so it learns nothing that was not for it.  When it has that, or after OWN_TELL_NS,
 * its session is closed as REVOKED.
 *
 * It goes on while it comes along: OWN_APPEAL_LEAST bytes in each OWN_APPEAL_NS, the first of which begins with its
 * hello, for OWN_APPEAL_MOST_NS at most.  So a graph of KITH_GRAPH_BYTES_MAX takes 350 kbit/s, one of 1,000 records
 * less than 30.
 *
 * Appeals are heard one at a time, also by a device that is out itself, since it may be in by them; and for
 * OWN_APPEAL_PAUSE_NS after one that came to nothing there is none.  Who cannot be heard is told at once.  One that
 * lasts longer than OWN_APPEAL_NS ends when another device comes to appeal, but for the one whose appeal came to
 * nothing last: who drips keeps nobody from being heard for longer than that, but for one whose own appeal it has
 * interrupted, and that one for OWN_APPEAL_MOST_NS once, since after that it may not interrupt it again.
 * Other sessions of who is being heard wait for what comes of it. */
#define OWN_APPEAL_NS       (5 * SECOND_NS)
#define OWN_APPEAL_LEAST    16384
#define OWN_APPEAL_MOST_NS  (120 * SECOND_NS)
#define OWN_APPEAL_PAUSE_NS SECOND_NS
#define OWN_TELL_NS         (3 * SECOND_NS)
/* The refused session's timer: what it has to do now, or has not done in time. */
void kith__own_refused_due(session *s);
bool kith__own_is_heard(const kith_core *core, const uint8_t fingerprint[static 32]); /* a device that appeals */
bool kith__own_has_stream(const session *s);
bool kith__own_is_stream(const channel *c);

/* ---- joining ---- */
/* Has this network other members than this device? */
bool kith__own_has_others(const kith_core *core);
bool kith__own_is_member(const kith_core *core, const uint8_t fingerprint[static 32]);
/* Enter the network of the device at the other end, which has admitted this one; `replace`: also when this one has
 * others.  Done, or not to be: kith__own_joining is false. */
void kith__own_join(session *s, bool replace);
bool kith__own_joining(const session *s);
/* Has the device at the other end asked for this one's records, and acknowledged all that there are? */
bool kith__own_has_all(const session *s);
/* The network is being written to the disk, whatever becomes of the session meanwhile. */
bool kith__own_entering(const kith_core *core);
/* Since kith__own_join: what the disk said of it; OK: nothing, or that did not come to pass. */
const kith_problem *kith__own_not_entered(const kith_core *core);

#endif
