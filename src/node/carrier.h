/* A carrier: a QUIC endpoint and the socket beneath it.  The node has one for datagrams, which carries any number of
 * connections, and one for each TCP connection, which carries one: packets there are up to 64 KiB large, since a byte
 * stream has no MTU, so that a byte costs half of what it costs over UDP, and each has its own back-pressure.
 *
 * A stream carrier ends with its session, or when the byte stream ends; its session then ends as LOST. */
#ifndef KITH_NODE_CARRIER_H
#define KITH_NODE_CARRIER_H

#include "node/core.h"
#include "path/framer.h"

/* TCP connections: in all, and those accepted that have not finished a handshake: in all, from one address (IPv6: one
 * /64), and for how long. */
#define CARRIERS_MAX           256
#define CARRIERS_STRANGERS_MAX 32
#define CARRIERS_SOURCE_MAX    8
#define CARRIER_HANDSHAKE_NS   (10 * SECOND_NS)
#define CARRIER_LINGER_NS      SECOND_NS /* for the last words of one whose session has ended */

typedef enum carrier_kind { CARRIER_DATAGRAM, CARRIER_STREAM } carrier_kind;
typedef struct carrier carrier;

struct carrier {
    kith_link link; /* in core->carriers */
    kith_core *core;
    carrier_kind kind;
    kith_quic *quic;
    kith_udp *udp; /* DATAGRAM */
    kith_tcp *tcp; /* STREAM; NULL once it has ended */
    kith_addr local, remote;
    kith_framer framer;
    bool accepted;     /* the other side dialled */
    bool has_session;  /* a handshake is complete, or we dialled */
    bool ending;       /* its session is over: close when the last words are out */
    uint64_t limit_ns; /* gone then, whatever is under way; NEVER: none */
    kith_timer *timer;
    kith_packet held;     /* to be sent next: size 0 when there is none */
    size_t held_sent;     /* STREAM: framed bytes of it that went out */
    uint8_t *held_memory; /* KITH_PACKET_RUN_MAX */
    bool blocked;         /* the socket takes nothing: `writable` will come */
    unsigned runs;        /* sent in this pump */
    bool unsent;          /* more than the last pump could send */
};

/* The datagram socket (core->datagrams), and the TCP one of the same port number where that is free.  A sentence in
 * *problem when the first cannot be had. */
KITH_MUST_CHECK kith_err kith__carriers_open(kith_core *core, kith_problem *problem);
void kith__carriers_close(kith_core *core); /* the sockets; nothing is sent or comes any more */
void kith__carriers_free(kith_core *core);  /* after their sessions */
/* A TCP connection to there, for one session of ours. */
KITH_MUST_CHECK kith_err kith__carrier_dial(kith_core *core, const kith_addr *remote, carrier **out);
kith_addr kith__carrier_local(const carrier *c); /* our end; FAMILY_NONE: not known */
void kith__carrier_taken(carrier *c);            /* a session goes over it: large packets may come */
void kith__carrier_release(carrier *c);          /* its session is over; does nothing to the datagram carrier */
/* Deal with what QUIC has to say, and send a run; true: there may be more to do. */
bool kith__carrier_step(carrier *c);
void kith__carrier_settle(carrier *c); /* after the last step of a pump: set the timer; the carrier may be gone */

#endif
