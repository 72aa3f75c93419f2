/* A session: one QUIC connection with one running node of a device, over datagrams or over TCP.  With a node there may
 * be one of each: they are each other's *twin*, share nothing but whom they are with, and each dies without the other.
 * A session begins with hello on a unidirectional control stream of each side; a device that is not pinned gets no
 * further than hello, and only while a pairing code is open.  After that, streams go to services: the first bytes of a
 * bidirectional stream are the service's number as a varint. */
#ifndef KITH_NODE_SESSION_H
#define KITH_NODE_SESSION_H

#include "identity/graph.h"
#include "node/carrier.h"

#define SESSION_HELLO_NS (10 * SECOND_NS) /* from the handshake to the peer's verified hello */
#define SESSION_IDLE_NS  (30 * SECOND_NS) /* a session we dialled and nobody uses is closed after this */
#define SESSION_PAIR_NS  SECOND_NS        /* and one that was for pairing after this */
/* Sessions that others dialled.  A stranger is who has not said hello yet, or is not pinned: a new one makes the oldest
 * of its kind go that nothing is under way with; when there is none the new one is refused. */
#define SESSIONS_STRANGERS_MAX 32
#define SESSIONS_SOURCE_MAX    8  /* strangers at one address (IPv6: in one /64; over a relay: of one identity) */
#define SESSIONS_DEVICE_MAX    16 /* with one pinned device: its nodes */
#define SESSION_STRANGER_NS    (30 * SECOND_NS) /* a stranger's that nobody uses is closed after this */

typedef enum stream_number {
    STREAM_CONTROL = 1,
    STREAM_PAIR = 2,
    STREAM_PING = 3,
    STREAM_FILE = 4,
    STREAM_TALK = 5,
    STREAM_TRUST = 6
} stream_number;

typedef struct session session;
typedef struct channel channel;

/* One stream of a session, and who it belongs to.  After `gone` the stream is over and the channel must be freed by its
 * owner. */
typedef struct channel_events {
    void (*readable)(channel *c);
    void (*writable)(channel *c);                                   /* NULL: not wanted */
    void (*returned)(channel *c);                                   /* NULL: nothing is lent */
    void (*datagram)(channel *c, const uint8_t *data, size_t size); /* one that names the stream; NULL: they are lost */
    void (*gone)(channel *c, kith_err why); /* reset or stopped by the peer, or the connection is over */
} channel_events;

struct channel {
    kith_link link;
    session *session;
    kith_stream *stream;
    const channel_events *events;
    void *owner;
    kith_service service; /* that the peer opened it for; HELLO: none, or not known yet */
    bool waiting;         /* what it is for was there to read before hello was */
};

/* Who waits for a session's beginning: who dialled it, and nobody else may change that. */
typedef struct session_watch {
    void (*ready)(void *user, session *s); /* usable: handshake done with the expected key, our hello is on its way */
    void (*failed)(void *user, session *s, kith_err why); /* it ended before or after; the session is gone on return */
    void *user;
} session_watch;

typedef struct session_hold {
    kith_link link;
    session *session; /* NULL: none */
    void (*lost)(void *user, kith_err why);
    void (*beside)(void *user, session *twin); /* NULL: not wanted */
    bool bulk;
    void *user;
} session_hold;

struct session {
    kith_link link;
    kith_core *core;
    uint64_t number; /* for the log */
    carrier *carrier;
    kith_conn *conn;
    bool dialler, ready, greeted; /* greeted: the peer's hello is verified */
    bool over;                    /* it is being closed: its CLOSED event is on its way */
    bool for_pairing;             /* the peer is not pinned: only pair is served */
    bool relay_only, no_relay;    /* which ways were asked for */
    bool expected;                /* dialled: which device must answer is known */
    uint8_t expected_fingerprint[32];
    kith_member_state answered_as; /* dialled to pair: what the graph says of who answered; 0: it does not name him */
    kith_hello peer;               /* once greeted */
    kith_peer known;               /* once greeted and not for_pairing; dialled with `expected`: from the start */
    kith_standing standing;
    kith_addr remote;      /* where it is now */
    struct roam *roam;     /* NULL: it stays where it is */
    struct rescue *rescue; /* it is silent; NULL: it is not */
    session_watch watch;
    kith_list channels;
    kith_stream *control_out, *control_in;
    uint8_t control[KITH_MESSAGE_MAX + 16];
    size_t control_size;
    kith_timer *timer;
    uint64_t streams_ns; /* when a stream began, or the peer last said something on one */
    kith_list uses;
    kith_err why;     /* session_close said so */
    kith_err refused; /* its peer is revoked: it appeals or is told why, and nothing else (kith__session_refuse) */
};

/* Dial one address over one kind of carrier.  `peer` NULL: anybody there, to pair. */
KITH_MUST_CHECK kith_err kith__session_dial(kith_core *core, carrier_kind kind, const kith_addr *remote,
                                            const kith_peer *peer, const session_watch *watch, session **out);
void kith__session_event(carrier *from, const kith_quic_event *event);
void kith__session_carrier_gone(carrier *c, kith_err why); /* the session over it ends, if there is one */
/* End it: its channels get `gone`, its watch `failed`, with this reason; the peer is told (OK: going away). */
void kith__session_close(session *s, kith_err why);
/* End it: who is refused as REVOKED is told why before it is closed, and heard when it comes anew (own.h).  Meanwhile
 * nothing else is served or heard; whoever uses it hears of it when it is closed. */
void kith__session_refuse(session *s, kith_err why);
/* Is the peer still in the home's book, as what, and under which name?  Looks again; when it was forgotten the session
 * is closed and the answer is UNTRUSTED, or REVOKED. */
KITH_MUST_CHECK kith_err kith__session_check(session *s);
/* Why a session or a stream of it is over, when `why` is what it looks like: its device may be revoked or forgotten by
 * the home's files already, and have heard of that before this node looked. */
kith_err kith__session_why_over(const session *s, kith_err why);
/* May the peer use this service, and was that *said for its device (may be NULL) or is it the table's answer? */
kith_access kith__session_verdict(const session *s, kith_service service, bool *said);
/* Is it with somebody who is in the book, or was when last looked at? */
bool kith__session_is_known(const session *s);
/* The book has changed: sessions with who was forgotten or revoked are closed, and streams of a service that its peer
 * may not use any more end with NOT_ALLOWED. */
void kith__sessions_recheck(kith_core *core);
/* A session that is for pairing has come to that: its device is in the book now, and may do what that allows. */
void kith__session_paired(session *s);
/* Hold it open.  `lost` is called when it ends before session_unuse (its channels hear `gone` first); use->session is
 * NULL from then on. */
void kith__session_use(session *s, session_hold *hold, void (*lost)(void *user, kith_err why), void *user);
void kith__session_unuse(
    session_hold *hold); /* the last one lets a dialled session idle out; harmless when not in use */
/* And have a twin over TCP where that is better (beside.h): `beside` is called with each that appears (NULL: not
 * wanted); with `bulk` where datagrams are near, too. */
void kith__session_want_beside(session_hold *hold, void (*beside)(void *user, session *twin), bool bulk);
void kith__session_free_all(kith_core *core); /* without a word to anybody: the core goes */
void kith__session_unwatch(session *s);
/* A node of this device has just appeared on the network: sessions with it that are silent for SESSION_SILENT_NS with
 * bytes of ours unacknowledged were with one that is gone (killed, started anew): they end as LOST now, not when they
 * idle out.  But those with the node of this name (of mDNS), which has moved, and so do they (roam.h). */
#define SESSION_SILENT_NS (3 * SECOND_NS / 2)
void kith__session_doubt(kith_core *core, const uint8_t uuid[static KITH_UUID_SIZE], const char *name);
/* The same for one: it ends as LOST if nothing came for `silent_ns`, or one and a half round trips where that is
 * longer.
 */
void kith__session_doubt_one(session *s, uint64_t silent_ns);
/* Nodes of a device that said they do not do what is wanted.  Those of one device are told apart by the port they
 * listen at, since they are on one machine, and once greeted by their instance. */
#define NODES_MAX KITH_SIGHTINGS_SAME_MAX
typedef struct node_set {
    struct {
        uint16_t port; /* 0: not known */
        uint8_t instance[KITH_HELLO_INSTANCE_SIZE];
    } nodes[NODES_MAX];
    size_t count;
    bool asked_again;
} node_set;
bool kith__nodes_add(node_set *set, const session *s); /* false: it is in already, the set is full, or asked again */
/* No other does it: they are asked once more, since one that has just been started listens before it does anything.
 * False: they were, or there are none. */
bool kith__nodes_ask_again(node_set *set);
bool kith__nodes_have(const node_set *set, const session *s);
bool kith__nodes_have_port(const node_set *set, uint16_t port);
/* A ready session over this kind of carrier with a node of this device that is not in `but` (NULL: any), or NULL. */
session *kith__session_find(kith_core *core, carrier_kind kind, const uint8_t fingerprint[static 32],
                            const node_set *but);
session *kith__session_twin(const session *s); /* the ready one over the other kind with the same node, or NULL */
/* The same node at the other end: by what both hellos said, or both were dialled at the same place. */
bool kith__session_same_node(const session *a, const session *b);
/* Of two that were dialled at the same time both sides keep the one that the lower fingerprint dialled. */
bool kith__session_lower_is_ours(const session *s);
bool kith__session_is_near(const session *s); /* directly, and within DIAL_BULK_RTT_NS: bulk is better off with TCP */

/* A new stream to the service. */
KITH_MUST_CHECK kith_err kith__channel_open(session *s, stream_number service, const channel_events *events,
                                            void *owner, channel **out);
void kith__channel_free(channel *c); /* gives up what is unfinished; NULL is fine */
/* A datagram that names the channel's stream; how large it may be now (0: none can be sent). */
KITH_MUST_CHECK kith_err kith__channel_datagram(channel *c, const void *data, size_t size);
size_t kith__channel_datagram_room(const channel *c);
/* Tell the peer in both directions why there will be no more of it; freeing is still due. */
void kith__channel_give_up(channel *c, kith_err why);
/* "udp" and "lan", "internet" ... of the session's path now. */
void kith__session_path(const session *s, char path[static 8], char scope[static 16],
                        char address[static KITH_ADDR_TEXT_SIZE]);

#endif
