/* A client's connection to one relay (docs/protocol-relay.md): registering, sessions, packets over WebSocket or UDP,
 * latency, and when to come back.  A state machine: messages, datagrams and a time go in, messages, datagrams, events
 * and a deadline come out.
 *
 * After every call: take the events, then the output; set a timer to the deadline and then call
 * kith_relay_client_expire. Views in an event are into the bytes that were given, so take it before those go. */
#ifndef KITH_PATH_RELAY_CLIENT_H
#define KITH_PATH_RELAY_CLIENT_H

#include "base/packet.h"
#include "wire/relay.h"

#include <kith/error.h>

#define KITH_RELAY_CLIENT_SESSIONS  64          /* at once; of those opened here no more than the relay allows */
#define KITH_RELAY_CLIENT_INCOMING  48          /* of them opened by others, who so cannot keep us from opening any */
#define KITH_RELAY_CLIENT_QUEUE_MAX (96u << 10) /* bytes of messages, DATA aside, that wait to be sent */
#define KITH_RELAY_CLIENT_EVENTS    16          /* not taken yet; one call makes at most three */
#define KITH_RELAY_CLIENT_BUFFER    (KITH_RELAY_DATA_HEAD + KITH_PACKET_RUN_MAX) /* what kith_relay_client_data fills */

#define KITH_RELAY_REGISTER_NS UINT64_C(10000000000) /* from `connected` to registered */
#define KITH_RELAY_PING_NS     UINT64_C(20000000000) /* between pings; less where the relay's idle time asks for it */
#define KITH_RELAY_OFTEN_NS    UINT64_C(300000000)   /* but nothing is said oftener, whatever limits a relay names */
#define KITH_RELAY_PONG_NS     UINT64_C(10000000000) /* nothing heard for so long after a ping: lost */
/* After a kick, or where there is a reason to doubt it: or four round trips. */
#define KITH_RELAY_SOON_PONG_NS UINT64_C(1000000000)
/* After a kick, without an answer, or when the connection ends before one, it is dialled again at once: it was our
 * network that changed, not the relay that went, so nobody else does the same now. */
/* And that failing, so many times more after QUICK, twice that ...: a network that has an address may need a moment. */
#define KITH_RELAY_QUICK_TRIES 3
#define KITH_RELAY_QUICK_NS    UINT64_C(1000000000)
#define KITH_RELAY_STABLE_NS   UINT64_C(60000000000) /* registered for so long: failures before do not count */
/* The n-th attempt in a row comes at a random time within a window of SPREAD * 2^n, at most SPREAD_MAX, that begins
 * where the window before ended: clients that lost their relay at once come back spread out evenly. */
#define KITH_RELAY_SPREAD_NS     UINT64_C(10000000000)
#define KITH_RELAY_SPREAD_MAX_NS UINT64_C(120000000000)
/* But whose packets wait for it come back within NEED, and then within 2 * NEED, 4 * NEED ...: of all clients those are
 * few at any time. */
#define KITH_RELAY_NEED_NS UINT64_C(1000000000)
/* Refused for what will not change by itself: not before LEAST, and the spread then. */
#define KITH_RELAY_REFUSED_LEAST_NS UINT64_C(60000000000)
#define KITH_RELAY_REFUSED_NS       UINT64_C(600000000000)
#define KITH_RELAY_COME_BACK_MAX_NS UINT64_C(3600000000000) /* of what a relay may ask for */
/* UDP: tried when registered, and again after RETRY, 2 * RETRY ... RETRY_MAX when it did not answer. */
#define KITH_RELAY_BIND_TRIES        4
#define KITH_RELAY_BIND_WAIT_NS      UINT64_C(400000000)   /* for an answer, doubled each time: 6 s in all */
#define KITH_RELAY_BIND_KEEP_NS      UINT64_C(15000000000) /* NATs forget a mapping after 30 s at the earliest */
#define KITH_RELAY_BIND_RETRY_NS     UINT64_C(60000000000)
#define KITH_RELAY_BIND_RETRY_MAX_NS UINT64_C(900000000000)

typedef struct kith_relay_client kith_relay_client;

typedef struct kith_relay_client_config { /* copied */
    const char *authority;                /* as kith_relay_authority gives it for what the WebSocket sends as Host */
    uint8_t device_id[KITH_RELAY_DEVICE_SIZE];
    uint8_t public_key[KITH_RELAY_KEY_SIZE];
    uint8_t instance[KITH_RELAY_INSTANCE_SIZE];
    const uint8_t *token; /* the operator's; NULL: none */
    size_t token_size;
    uint64_t seed; /* random: for when to come back, and what pings hold */
} kith_relay_client_config;

typedef enum kith_relay_event_kind {
    KITH_RELAY_EVENT_DIAL,   /* open a WebSocket to the relay, then call _connected or _ended */
    KITH_RELAY_EVENT_HANGUP, /* close it; LOST is behind this */
    KITH_RELAY_EVENT_SIGN,   /* sign `bytes`, then call kith_relay_client_signed */
    KITH_RELAY_EVENT_REGISTERED,
    KITH_RELAY_EVENT_LOST,       /* all sessions and mailboxes are gone; `at_ns` is when it comes back by itself */
    KITH_RELAY_EVENT_INCOMING,   /* somebody connects: send data, or kith_relay_client_end */
    KITH_RELAY_EVENT_GONE,       /* `session` is over */
    KITH_RELAY_EVENT_LIMITED,    /* `session` (then it is over), `tag`, or neither */
    KITH_RELAY_EVENT_MAILBOX,    /* of `tag` */
    KITH_RELAY_EVENT_RESTARTING, /* sessions go on until `at_ns`; others may take their place over another relay */
    KITH_RELAY_EVENT_UDP, /* packets go over UDP from now on, or (`on` is false) no more; or come from elsewhere now */
} kith_relay_event_kind;

typedef struct kith_relay_event {
    kith_relay_event_kind kind;
    uint32_t session, tag;
    uint64_t at_ns;
    kith_err why;  /* LOST: CLOSED, LOST, TIMEOUT, PROTOCOL, UNREACHABLE ..., what _ended was told among others */
    uint64_t code; /* LOST: kith_relay_error, 0: none.  GONE, LIMITED, MAILBOX: its reason, limit, state */
    bool has_session, has_tag, on;
    const uint8_t *bytes; /* SIGN */
    size_t size;
    kith_addr observed; /* REGISTERED, UDP: where the relay sees us come from */
    kith_relay_limits limits;
    uint64_t unix_ms;
    kith_relay_text software;
    const uint8_t *from, *from_instance; /* INCOMING: a fingerprint; it proved that key to the relay, not to us */
    kith_relay_run offer;
} kith_relay_event;

typedef struct kith_relay_data { /* packets that came: a kith_packet's data, size and segment */
    uint32_t session;
    uint8_t *data; /* in what was given; NULL: none */
    size_t size, segment;
} kith_relay_data;

typedef struct kith_relay_send { /* what to send for a run, in the caller's buffer */
    bool udp;                    /* as one run of datagrams to the relay's UDP address; else as one message */
    uint8_t *data;
    size_t size, segment;
    size_t taken; /* bytes of the run; what is left goes into another */
} kith_relay_send;

/* It dials at once.  ARG: the authority, the token; NOMEM. */
KITH_MUST_CHECK kith_err kith_relay_client_new(const kith_relay_client_config *config, kith_relay_client **out);
void kith_relay_client_free(kith_relay_client *client); /* NULL is fine */

/* ---- the WebSocket ---- */
/* `udp`: the relay's address and UDP port, as a datagram can reach it; FAMILY_NONE: there is none (a proxy, --path). */
void kith_relay_client_connected(kith_relay_client *client, const kith_addr *udp, uint64_t now_ns);
void kith_relay_client_ended(kith_relay_client *client, kith_err why, uint64_t now_ns);
/* A message; packets in it are in *data. */
void kith_relay_client_input(kith_relay_client *client, uint8_t *message, size_t size, uint64_t now_ns,
                             kith_relay_data *data);
/* The message to be sent next, valid until _sent or another call; NULL: none. */
const uint8_t *kith_relay_client_output(const kith_relay_client *client, size_t *size);
void kith_relay_client_sent(kith_relay_client *client);
void kith_relay_client_signed(kith_relay_client *client, const uint8_t signature[static KITH_RELAY_SIGNATURE_SIZE]);

/* ---- datagrams ---- */
/* One datagram from the relay's UDP address whose first byte is KITH_RELAY_UDP_PACKET or _BOUND. */
void kith_relay_client_datagram(kith_relay_client *client, uint8_t *bytes, size_t size, uint64_t now_ns,
                                kith_relay_data *data);
/* A datagram to be sent to the relay's UDP address (BIND).  False: none. */
bool kith_relay_client_bind(kith_relay_client *client, uint8_t out[static KITH_RELAY_BIND_SIZE]);

/* ---- sessions ----  STATE: not registered; LIMIT: too many, or too much waits; NOMEM. */
/* `instance` NULL: any but those of `but`, but_count (at most KITH_RELAY_BUT_MAX) of them one after the other, which a
 * relay of an earlier version does not look at.  The offer: the first packets, at most KITH_RELAY_OFFER_MAX bytes
 * (ARG), or NULL. */
KITH_MUST_CHECK kith_err kith_relay_client_connect(kith_relay_client *client,
                                                   const uint8_t target[static KITH_RELAY_FINGERPRINT_SIZE],
                                                   const uint8_t *instance, const uint8_t *but, size_t but_count,
                                                   const kith_packet *offer, uint32_t *session);
KITH_MUST_CHECK kith_err kith_relay_client_mailbox_connect(kith_relay_client *client, uint32_t tag,
                                                           const kith_packet *offer, uint32_t *session);
KITH_MUST_CHECK kith_err kith_relay_client_mailbox_open(kith_relay_client *client, uint32_t tag);
KITH_MUST_CHECK kith_err kith_relay_client_mailbox_close(kith_relay_client *client, uint32_t tag);
/* Packets of a run, as many as go into one send, written to `buffer`.  NOT_FOUND: no such session (any more); ARG: not
 * a run.  There is no flow control and no order between these and _output: QUIC repairs what is lost. */
KITH_MUST_CHECK kith_err kith_relay_client_data(kith_relay_client *client, uint32_t session, const kith_packet *run,
                                                uint8_t buffer[static KITH_RELAY_CLIENT_BUFFER], kith_relay_send *out);
/* It is over; with `refused` nobody shall see that we are here.  Sessions that are not there are fine. */
void kith_relay_client_end(kith_relay_client *client, uint32_t session, bool refused);

/* ---- time ---- */
uint64_t kith_relay_client_deadline_ns(const kith_relay_client *client); /* UINT64_MAX: none */
void kith_relay_client_expire(kith_relay_client *client, uint64_t now_ns);
bool kith_relay_client_event(kith_relay_client *client, kith_relay_event *out);
/* The network changed: come back at once where it waits to, or was about to be dialled; where it is registered, ask
 * whether the relay still answers, come back at once if not (KITH_RELAY_KICK_PONG_NS), and bind UDP again. */
void kith_relay_client_kick(kith_relay_client *client, uint64_t now_ns);

/* Somebody needs it now: where it waits for longer than the first window it comes back within that, so that however
 * many are needed at once they come as spread out as those who lost it at once. */
void kith_relay_client_want(kith_relay_client *client, uint64_t now_ns);

/* After it was LOST: there are packets under way that only it carries (KITH_RELAY_NEED_NS). */
void kith_relay_client_need(kith_relay_client *client, uint64_t now_ns);

/* Nothing seems to get through, as the packets above tell sooner than we: over the WebSocket from now on, until the
 * relay answers to a datagram again; and it is asked at once whether it is still there, with SOON_PONG_NS to say
 * anything. */
void kith_relay_client_doubt(kith_relay_client *client, uint64_t now_ns);

bool kith_relay_client_is_registered(const kith_relay_client *client);
bool kith_relay_client_is_refused(const kith_relay_client *client); /* and waits until it may ask again */
bool kith_relay_client_uses_udp(const kith_relay_client *client);
/* Round trip to the relay over the WebSocket, smoothed as RFC 6298 does, and its least; 0: not known. */
uint64_t kith_relay_client_rtt_ns(const kith_relay_client *client);
uint64_t kith_relay_client_min_rtt_ns(const kith_relay_client *client);

#endif
