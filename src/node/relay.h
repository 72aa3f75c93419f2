/* The relays of this node: connections to them, and sessions over them as places that packets go to.
 *
 * A session at a relay is an address of KITH_FAMILY_RELAY: QUIC sends to it and hears from it as from any other, tells
 * nobody, and moves to and from it.  Asking for an address costs nothing; the first packets to it are the offer with
 * which the relay is asked to connect.
 *
 * A node that serves something, and one with a session over a relay, is connected to all of them; others connect when
 * somebody is dialled who does not answer nearby. */
#ifndef KITH_NODE_RELAY_H
#define KITH_NODE_RELAY_H

#include "node/core.h"
#include "node/session.h"
#include "service/code.h"

#define RELAY_PLACES_MAX 64              /* sessions at one relay, asked for or in use */
#define RELAY_THEIRS_MAX 40              /* of these opened by others: the oldest that no session uses gives way, and */
#define RELAY_DEVICE_MAX 16              /* of one device's */
#define RELAY_LINGER_NS  (SECOND_NS / 5) /* one that nobody uses ends after this: the last words go over it */
#define RELAY_BACK_NS    (SECOND_NS / 4) /* a device that was not there is asked for again after this, doubling */
#define RELAY_AGAIN_NS   (3 * SECOND_NS) /* up to this: after a relay was away not all come back to it at once */

/* Read the URLs, connect to nobody yet.  ARG, with a sentence in *problem; NOMEM. */
KITH_MUST_CHECK kith_err kith__relays_open(kith_core *core, kith_problem *problem);
void kith__relays_close(kith_core *core); /* the connections go without a word to peers */
void kith__relays_free(kith_core *core);
void kith__relays_want(kith_core *core);  /* somebody needs them: connect */
void kith__relays_serve(kith_core *core); /* what the node serves has changed: be reachable, open or close mailboxes */
void kith__relays_changed(kith_core *core); /* this device's addresses have */

/* Where the device may be reached, but not those of its nodes whose instances are in `but` (NULL: any): at most cap
 * addresses, the nearest relay first; how many.  `tag`: who has a pairing
 * code with this tag open; nodes as in kith__lan_find_tag. */
size_t kith__relays_find_device(kith_core *core, const uint8_t fingerprint[static 32], const node_set *but,
                                kith_addr *out, size_t cap);
size_t kith__relays_find_tag(kith_core *core, uint32_t tag, kith_addr *out, uint64_t *nodes, size_t cap);
/* Where relays see our datagrams come from, or our WebSockets; how many, at most cap. */
size_t kith__relays_observed(const kith_core *core, bool over_udp, kith_addr *out, size_t cap);

/* Is it relays that stand in the way: there are some, and none serves us?  Then why, of the first, as a sentence's
 * part. */
bool kith__relays_problem(const kith_core *core, char *out, size_t size);

/* Will none of them serve us: has each refused us for what does not change by itself?  False: there are none. */
bool kith__relays_refused(const kith_core *core);
/* The relay of this number as it was configured, and whether it serves us; false: there are not so many. */
bool kith__relays_at(const kith_core *core, size_t index, const char **url, bool *up);

/* Send a run to an address of that family.  AGAIN, LIMIT as udp->send; UNREACHABLE: the session is over. */
KITH_MUST_CHECK kith_err kith__relays_send(kith_core *core, const kith_packet *run);
/* Datagrams that came: true when they are a relay's, and dealt with. */
bool kith__relays_datagrams(kith_core *core, const kith_packet *run);
void kith__relays_done_with(kith_core *core, const kith_addr *addr); /* no session uses it any more: it ends soon */
/* What who comes from this address is counted by (kith_code_source): behind a relay that is whom the relay says it is,
 * since each further identity costs a registration there, which relays count by the address it came from. */
kith_addr kith__relays_source(kith_core *core, const kith_addr *addr);
/* Somebody else registered as this very node (fingerprint and instance) at one of them. */
bool kith__relays_superseded(const kith_core *core);
/* Nothing comes over this one although packets went there: perhaps it is the datagrams to the relay, or the relay. */
void kith__relays_doubt(kith_core *core, const kith_addr *addr);

#endif
