/* Which way a connection's packets go.  Of one connection: the addresses its peer may be reached at (routes), what
 * probes found of them, and from that what is to be done next: tell the peer our addresses, probe a route, move to it.
 * A state machine: it sends nothing, and knows QUIC only as "probe" and "move".
 *
 * - A route is used when a probe was answered over it, never before.  A local network beats the internet, that beats a
 *   relay; among equals the shorter round trip by a clear margin, twice in a row, and not again soon.
 * - Probing goes in rounds.  The dialler begins one when there is something new, when the current route is silent, and
 *   with back-off while there are better routes that did not answer; it tells the peer its addresses at each, who then
 *   probes as well, so that both sides' NATs see packets go out at the same time.
 * - A connection that is silent is not moved on suspicion: its route is probed with the others, and loses when it does
 *   not answer and another did.
 * - Only the dialler moves (RFC 9000 section 9).  The other side's probes from elsewhere make the dialler look.
 *
 * What a peer says of its addresses is data: at most KITH_ROUTES_SAID_MAX, plausible ones, and KITH_ROUTE_ASKS_BURST of
 * probes at once, then one each KITH_ROUTE_ASK_EVERY_NS: no scanning and no reflection worth the name.  What one source
 * says never keeps another's routes out, and where there is much to probe what worked before comes first. */
#ifndef KITH_PATH_CHOOSER_H
#define KITH_PATH_CHOOSER_H

#include "base/addr.h"
#include "base/bucket.h"

#define KITH_ROUTES_MAX         36 /* in all; of what each source says no more than: */
#define KITH_ROUTES_SAID_MAX    16
#define KITH_ROUTES_SEEN_MAX    8
#define KITH_ROUTES_RELAY_MAX   8
#define KITH_ROUTE_ASKS_BURST   24
#define KITH_ROUTE_ASK_EVERY_NS UINT64_C(500000000)
#define KITH_ROUTE_PORT_MIN     1024 /* a peer's claims below are ignored: no node listens there, other services do */

#define KITH_ROUTE_MEASURE_NS  UINT64_C(30000000000)  /* between measurements while the connection is in use */
#define KITH_ROUTE_FRESH_NS    UINT64_C(10000000000)  /* an answer counts for so long */
#define KITH_ROUTE_RETRY_NS    UINT64_C(5000000000)   /* until what did not answer is probed again, doubling */
#define KITH_ROUTE_RETRY_MAX   UINT64_C(600000000000) /* up to this */
#define KITH_ROUTE_SUSPECT_NS  UINT64_C(50000000)     /* a suspected route has two round trips and at least this */
#define KITH_ROUTE_AGAIN_NS    UINT64_C(1000000000)   /* all are silent: the next round, doubling */
#define KITH_ROUTE_AGAIN_MAX   UINT64_C(2000000000)   /* up to this; the one in use is probed all the while */
#define KITH_ROUTE_LOST_NS     UINT64_C(5000000000) /* a probe or a move of which nothing was heard for so long failed */
#define KITH_ROUTE_RESTART_NS  UINT64_C(1000000000)  /* after a longer silence QUIC begins anew on its route */
#define KITH_ROUTE_MARGIN_NS   UINT64_C(2000000)     /* among equals: this and a quarter shorter */
#define KITH_ROUTE_MARGIN_TURN 2                     /* measurements in a row */
#define KITH_ROUTE_HOLD_NS     UINT64_C(10000000000) /* after a move none for comfort, doubling when it goes back */
#define KITH_ROUTE_HOLD_MAX    UINT64_C(300000000000)

typedef enum kith_tier { KITH_TIER_LAN, KITH_TIER_INTERNET, KITH_TIER_RELAY } kith_tier;
kith_tier kith_tier_of(const kith_addr *addr);

/* Who says that the peer is there. */
typedef enum kith_route_source {
    KITH_ROUTE_SAID,  /* the peer, over the connection */
    KITH_ROUTE_SEEN,  /* the local network, or our memory */
    KITH_ROUTE_RELAY, /* relays that both are at */
    KITH_ROUTE_ASKED, /* a probe came from there */
    KITH_ROUTE_USED   /* packets go there, or did */
} kith_route_source;

typedef struct kith_route {
    kith_addr addr;
    kith_tier tier;
    unsigned sources; /* bits: 1 << kith_route_source */
    bool due;         /* to be probed */
    bool asking, good;
    uint64_t asked_ns, answered_ns, rtt_ns; /* of the last probe, of the last answer */
    uint64_t deaths, shunned_until_ns;      /* it fell silent while in use: not soon again for comfort */
    uint64_t compared_ns;                   /* with the current one */
    unsigned better;                        /* measurements in a row */
} kith_route;

typedef struct kith_chooser {
    bool dialler, active, announce, restart;
    kith_route routes[KITH_ROUTES_MAX];
    size_t count, current;
    bool suspect, changed; /* changed: because our own network is another */
    uint64_t suspect_ns, again_ns, again_after_ns;
    uint64_t retry_ns, retry_after_ns, measure_ns;
    bool moving;
    kith_addr moving_to;
    uint64_t moving_ns;                             /* since when */
    uint64_t no_probe_before_ns, no_move_before_ns; /* one was refused */
    uint64_t looked_ns;                             /* kith_chooser_next was asked last */
    uint64_t held_until_ns, hold_ns, moved_ns;
    kith_addr moved_from;
    kith_bucket asks;
} kith_chooser;

void kith_chooser_init(kith_chooser *c, bool dialler, const kith_addr *current, uint64_t now_ns);
/* This source (SAID, SEEN or RELAY) says: these, and no others.  Those that nobody names any more go, except the
 * current one. */
void kith_chooser_offer(kith_chooser *c, kith_route_source source, const kith_addr *addrs, size_t count,
                        uint64_t now_ns);
/* The peer told us its addresses (after kith_chooser_offer): it is probing now. */
void kith_chooser_told(kith_chooser *c, uint64_t now_ns);
void kith_chooser_asked(kith_chooser *c, const kith_addr *from, uint64_t now_ns); /* its probe came from elsewhere */
void kith_chooser_silent(kith_chooser *c, uint64_t now_ns);                       /* the current route */
void kith_chooser_heard(kith_chooser *c, uint64_t at_ns); /* packets of the connection came, at that time */
void kith_chooser_gone(kith_chooser *c, const kith_addr *addr, uint64_t now_ns); /* nothing gets there any more */
void kith_chooser_announce(kith_chooser *c);                                     /* what is to be told has changed */
void kith_chooser_changed(kith_chooser *c, uint64_t now_ns);                     /* our own addresses did */
void kith_chooser_use(kith_chooser *c, bool active, uint64_t now_ns); /* somebody needs the connection, or nobody */
void kith_chooser_probed(kith_chooser *c, const kith_addr *addr, kith_err err, uint64_t rtt_ns, uint64_t now_ns);
void kith_chooser_moved(kith_chooser *c, const kith_addr *to, uint64_t now_ns); /* or the peer did */

typedef enum kith_choice_kind {
    KITH_CHOOSE_ANNOUNCE = 1,
    KITH_CHOOSE_PROBE,
    KITH_CHOOSE_MOVE,
    KITH_CHOOSE_RESTART
} kith_choice_kind;
typedef struct kith_choice {
    kith_choice_kind kind;
    kith_addr addr; /* PROBE, MOVE */
    bool dead;      /* MOVE: the current route is silent.  RESTART: it was, and works again */
} kith_choice;
/* What to do now; false: nothing more. */
bool kith_chooser_next(kith_chooser *c, kith_choice *out, uint64_t now_ns);
/* A PROBE or MOVE that could not be done now: it is tried again in half a second. */
void kith_chooser_refused(kith_chooser *c, const kith_choice *choice, uint64_t now_ns);
uint64_t kith_chooser_deadline_ns(const kith_chooser *c); /* UINT64_MAX: none */
/* Where the peer may be dialled over TCP for a way that is better by kind: what it said and what was seen, the local
 * network first, of equals what was seen.  How many, at most cap. */
size_t kith_chooser_better(const kith_chooser *c, kith_addr *out, size_t cap);

/* May a peer say that it is there?  Unicast, a port from KITH_ROUTE_PORT_MIN, no loopback, not link-local (which means
 * nothing elsewhere); of IPv6 what is global (2000::/3) or of a local network (fc00::/7), so that no IPv4 address hides
 * in it. */
bool kith_route_plausible(const kith_addr *addr);

#endif
