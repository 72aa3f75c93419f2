/* Finding a device and racing its addresses.  A dial lasts until it succeeds, is given up, or its patience ends;
 * addresses that appear meanwhile (a sighting) join the race.  Attempts start DIAL_STAGGER_NS apart, the likeliest
 * first, as in RFC 8305: over datagrams, and DIAL_STREAM_AFTER_NS later, when none of them answered, over TCP.
 *
 * When all relays have refused us for good, and the device is not seen on the local network within DIAL_HOPELESS_NS, a
 * dial by device fails then, whatever its patience.
 *
 * A dial for bulk wants TCP, which costs half: it tries both at once, and when datagrams answer first, which take a
 * round trip less, waits a moment for the other at the same place. */
#ifndef KITH_NODE_DIAL_H
#define KITH_NODE_DIAL_H

#include "node/session.h"

#define DIAL_ADDRESSES_MAX   (2 * KITH_SIGHTINGS_SAME_MAX) /* one of each node, and as many more */
#define DIAL_STREAM_AFTER_NS (SECOND_NS / 4)
#define DIAL_RELAY_AFTER_NS  (SECOND_NS / 4)  /* when somebody may answer nearby; else relays are asked at once */
#define DIAL_BULK_WAIT_NS    (SECOND_NS / 20) /* and twice what datagrams took to answer */
#define DIAL_BULK_RTT_NS                                                                                               \
    (SECOND_NS / 50) /* further away than this bulk stays on datagrams: what TCP does there is the system's */
#define DIAL_HOPELESS_NS                                                                                               \
    (2 * SECOND_NS) /* with all relays refusing us, and nobody seen nearby: who is there has answered */
#define DIAL_STAGGER_NS (SECOND_NS / 40) /* 25 ms: a LAN answers within */
#define DIAL_OTHERS_NS  (2 * SECOND_NS)  /* for other nodes of a device whose first does not do what is wanted; and */
#define DIAL_OTHERS_RELAY_NS                                                                                           \
    (4 * SECOND_NS) /* where relays are asked for them: one waits 2 s (refuse_ms) for each that is silent */
#define DIAL_AGAIN_NS                                                                                                  \
    (2 * SECOND_NS) /* an address that failed is tried again after this, doubling; up to a half less, by chance        \
                     */
#define DIAL_AGAIN_MAX_NS (16 * SECOND_NS)

typedef struct dial_events {
    void (*connected)(void *user, session *s); /* the dial is over; s is ready */
    void (*failed)(void *user, kith_err why);  /* the dial is over */
} dial_events;

typedef struct dial dial;

typedef enum dial_want { DIAL_ANY, DIAL_BULK, DIAL_DATAGRAM, DIAL_STREAM, DIAL_RELAY /* only these */ } dial_want;

/* The device `peer`: any node of it that is not in `but` (copied; NULL: none is); with such nodes the patience is at
 * most DIAL_OTHERS_..., and when no other is found that is NOT_ALLOWED.  A session that is there already is used;
 * `connected` may come before this returns.  NOMEM. */
KITH_MUST_CHECK kith_err kith__dial_device(kith_core *core, const kith_peer *peer, dial_want want, const node_set *but,
                                           uint64_t patience_ns, const dial_events *events, void *user, dial **out);
/* Whoever announces this pairing tag, whichever of the addresses answers first.  After `connected`, dial_next goes on
 * with those not tried yet. */
KITH_MUST_CHECK kith_err kith__dial_tag(kith_core *core, uint32_t tag, uint64_t patience_ns, const dial_events *events,
                                        void *user, dial **out);
void kith__dial_next(dial *d, uint64_t patience_ns);
/* After `connected` of a dial by tag: is there another node with this tag that was not tried?  All addresses of the one
 * that was count as tried from here on. */
bool kith__dial_more(dial *d);
bool kith__dial_is_over(const dial *d); /* it has connected or failed */
void kith__dial_free(dial *d);          /* gives up; NULL is fine; also due after `connected` and `failed` */
/* Somebody new is on the network: look again. */
void kith__dial_look_again(kith_core *core);

#endif
