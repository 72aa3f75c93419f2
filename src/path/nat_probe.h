/* What is between this device and the internet, found out by asking STUN servers (RFC 8489) from three sockets: whether
 * datagrams get out, whether there is a NAT and how it behaves (the words are RFC 4787's), and how large datagrams may
 * be.  Who may come in is told by servers that answer from another port, or to another one (RFC 5780), as our relays
 * do, and, where the NAT turns packets around, by our own sockets: they are then the strangers that it lets in, or does
 * not.
 *
 * A state machine: datagrams and a time go in, datagrams and a deadline come out.  What the servers say counts only as
 * an answer to a question that was asked, from where it was asked; they may still lie. */
#ifndef KITH_PATH_NAT_PROBE_H
#define KITH_PATH_NAT_PROBE_H

#include "base/packet.h"
#include "wire/stun.h"

#define KITH_NAT_SERVERS_MAX 24 /* addresses */
#define KITH_NAT_SOCKETS     3
#define KITH_NAT_PROOFS      4 /* servers that are asked whether they know RFC 5780 */
#define KITH_NAT_STRANGERS   2 /* who may answer: another port, another address */
#define KITH_NAT_SIZES       8 /* at once */
#define KITH_NAT_SIZE_ROUNDS 6 /* each takes the rest for an eighth: enough for what is between none and SIZE_MAX */
#define KITH_NAT_KNOCKS      3
#define KITH_NAT_OWN_MAX     32 /* addresses of this device that are looked at */
#define KITH_NAT_QUESTIONS                                                                                             \
    (KITH_NAT_SERVERS_MAX + KITH_NAT_SOCKETS - 1 + KITH_NAT_PROOFS + KITH_NAT_STRANGERS + KITH_NAT_SIZES +             \
     KITH_NAT_KNOCKS)
#define KITH_NAT_RANDOM_SIZE (KITH_NAT_QUESTIONS * KITH_STUN_ID_SIZE)

#define KITH_NAT_QUIC_SIZE 1200                  /* bytes: less is no way for QUIC (RFC 9000 section 14) */
#define KITH_NAT_SIZE_MAX  KITH_STUN_MESSAGE_MAX /* what a relay reads */
#define KITH_NAT_MTU_ANY   1280                  /* what any server may be asked with: IPv6's least MTU (RFC 8200) */

/* RFC 8489 section 6.2.1, with fewer tries than its seven, so that people need not wait for 40 s: 5.5 s in all. */
#define KITH_NAT_RTO_NS      UINT64_C(500000000) /* doubled each time, up to */
#define KITH_NAT_RTO_MAX_NS  UINT64_C(2000000000)
#define KITH_NAT_TRIES       4
#define KITH_NAT_KNOCK_NS    UINT64_C(400000000) /* between knocks, of which a filter, or a loss, swallows each */
#define KITH_NAT_KNOCK_TRIES 3
#define KITH_NAT_BETWEEN_NS  UINT64_C(20000000) /* servers are not asked all at one moment */

typedef enum kith_nat_answer { KITH_NAT_UNKNOWN, KITH_NAT_YES, KITH_NAT_NO } kith_nat_answer;
/* What of the remote side counts, for a mapping or a filter. */
typedef enum kith_nat_by {
    KITH_NAT_BY_UNKNOWN,
    KITH_NAT_BY_NOTHING, /* endpoint-independent */
    KITH_NAT_BY_ADDRESS,
    KITH_NAT_BY_ADDRESS_AND_PORT,
    KITH_NAT_BY_ADDRESS_MAYBE_PORT, /* mapping: the address does, and nobody could tell about the port */
    KITH_NAT_BY_ADDRESS_OR_NOTHING, /* filter: the port does not, and nobody could tell about the address */
} kith_nat_by;

typedef enum kith_nat_state {
    KITH_NAT_UNASKED,
    KITH_NAT_ASKING,
    KITH_NAT_ANSWERED,
    KITH_NAT_SILENT,
    KITH_NAT_REFUSED /* of proofs and strangers: the server cannot do that */
} kith_nat_state;
typedef struct kith_nat_question {
    kith_nat_state state;
    size_t socket; /* that asks */
    kith_addr to;
    size_t size;            /* of the datagram */
    size_t answers_at;      /* the socket where the answer should be heard */
    bool other_port;        /* it should come from another port */
    uint16_t response_port; /* it should go to this one; 0: to where it was asked */
    unsigned tries;
    uint64_t sent_ns, next_ns; /* the next try, or the end */
    kith_addr mapped;          /* ANSWERED: as what the server saw us; NONE for knocks */
    uint64_t rtt_ns;           /* 0: not known, since more than one question was on the way */
} kith_nat_question;

typedef enum kith_nat_phase {
    KITH_NAT_PHASE_SERVERS, /* each from the first socket; more may be added */
    KITH_NAT_PHASE_PROOFS,  /* which of them know RFC 5780 */
    KITH_NAT_PHASE_MORE,    /* the other sockets; and from here on larger questions */
    KITH_NAT_PHASE_STRANGERS,
    KITH_NAT_PHASE_KNOCK, /* the first socket at the second's outside address, which never sent there */
    KITH_NAT_PHASE_BACK,  /* the second at the first's, which has */
    KITH_NAT_PHASE_THIRD, /* the third at the second's, which has sent to that address, but not to that port */
    KITH_NAT_PHASE_OVER
} kith_nat_phase;

/* To be read through the functions below. */
typedef struct kith_nat_probe {
    kith_addr own[KITH_NAT_OWN_MAX];
    size_t own_count;
    uint16_t ports[KITH_NAT_SOCKETS];
    uint8_t ids[KITH_NAT_QUESTIONS][KITH_STUN_ID_SIZE];
    kith_nat_question questions[KITH_NAT_QUESTIONS];
    size_t servers;
    bool complete;
    kith_nat_phase phase;
    unsigned size_rounds;              /* that were begun */
    size_t size_answered, size_silent; /* the largest of those before; the least above it that was not, or SIZE_MAX */
    bool sizes_over;
} kith_nat_probe;

typedef struct kith_nat_send {
    size_t question, socket;
    kith_addr to;
    size_t size;
    uint8_t data[KITH_NAT_SIZE_MAX];
} kith_nat_send;

/* `own`: this device's addresses (the first OWN_MAX count); `ports`: the sockets', each bound to any address;
 * `random`: nobody can guess it. */
void kith_nat_probe_init(kith_nat_probe *probe, const kith_addr *own, size_t own_count,
                         const uint16_t ports[static KITH_NAT_SOCKETS],
                         const uint8_t random[static KITH_NAT_RANDOM_SIZE]);
/* One more server's address; *index of it, which is another's when it is there already.  LIMIT; STATE: _complete was
 * called; ARG: no address and port. */
KITH_MUST_CHECK kith_err kith_nat_probe_add(kith_nat_probe *probe, const kith_addr *server, uint64_t now_ns,
                                            size_t *index);
void kith_nat_probe_complete(kith_nat_probe *probe, uint64_t now_ns); /* there are no more servers */
/* One datagram that came to this socket; what is no answer is ignored. */
void kith_nat_probe_input(kith_nat_probe *probe, size_t socket, const kith_addr *from, const void *data, size_t size,
                          uint64_t now_ns);
/* The next datagram to be sent; false: none now. */
bool kith_nat_probe_output(kith_nat_probe *probe, kith_nat_send *out, uint64_t now_ns);
/* The system said that it cannot be sent there, or is too large: not asked again. */
void kith_nat_probe_unsendable(kith_nat_probe *probe, size_t question, uint64_t now_ns);
uint64_t kith_nat_probe_deadline_ns(const kith_nat_probe *probe); /* UINT64_MAX: none */
void kith_nat_probe_expire(kith_nat_probe *probe, uint64_t now_ns);
bool kith_nat_probe_over(const kith_nat_probe *probe);

/* ---- what was found ---- */
/* The n-th server: its question's state, `to` (its address), `mapped`, `rtt_ns`.  NULL beyond the last. */
const kith_nat_question *kith_nat_probe_server(const kith_nat_probe *probe, size_t index);
/* The first server of this family (kith_family) that answered; NULL: none. */
const kith_nat_question *kith_nat_probe_first(const kith_nat_probe *probe, unsigned family);
/* Is there a NAT: does a server see an address that is none of this device's? */
kith_nat_answer kith_nat_probe_translated(const kith_nat_probe *probe, unsigned family);
/* UNKNOWN also when all servers that answered are at one address. */
kith_nat_by kith_nat_probe_mapping(const kith_nat_probe *probe, unsigned family);
/* Of IPv4, where there is a NAT: does each socket keep its port, do packets to our own outside address come back, and
 * who may answer. */
kith_nat_answer kith_nat_probe_keeps_ports(const kith_nat_probe *probe);
kith_nat_answer kith_nat_probe_hairpin(const kith_nat_probe *probe);
kith_nat_by kith_nat_probe_filtering(const kith_nat_probe *probe);
/* How large datagrams may be on the way to a server, to 4 bytes, as STUN's questions are. */
typedef struct kith_nat_sizes {
    size_t largest; /* bytes of the largest that was answered; 0: none at all */
    size_t mtu;     /* of the packet it was in */
    bool exact;     /* the next larger one was not: it is the path's MTU */
} kith_nat_sizes;
kith_nat_sizes kith_nat_probe_sizes(const kith_nat_probe *probe);

#endif
