/* What a relay and its clients say to each other, as bytes (docs/protocol-relay.md): WebSocket messages, and datagrams
 * at the relay's UDP port.  Pure codec: views point into the bytes that were read, nothing is allocated.
 *
 * A WebSocket message is one type byte and a CBOR map in deterministic encoding; only DATA is not:
 *     08 || session (4) || segment (2) || packets, each `segment` bytes long but the last, which may be shorter
 * A datagram's first byte tells what it is: 0 to 3 STUN (wire/stun.h), else one of KITH_RELAY_UDP_*. */
#ifndef KITH_WIRE_RELAY_H
#define KITH_WIRE_RELAY_H

#include "base/addr.h"
#include "base/packet.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_RELAY_SUBPROTOCOL "kith-relay.v1"
#define KITH_RELAY_VERSION     1

#define KITH_RELAY_NONCE_SIZE       32
#define KITH_RELAY_DEVICE_SIZE      16 /* a device's UUID */
#define KITH_RELAY_KEY_SIZE         32 /* an Ed25519 public key */
#define KITH_RELAY_FINGERPRINT_SIZE 32
#define KITH_RELAY_INSTANCE_SIZE    8
#define KITH_RELAY_SIGNATURE_SIZE   64
#define KITH_RELAY_UDP_KEY_SIZE     16
#define KITH_RELAY_UDP_ID_SIZE      8
#define KITH_RELAY_PING_SIZE        8

#define KITH_RELAY_TOKEN_MAX     256                       /* bytes of an operator's token, at least 1 */
#define KITH_RELAY_TEXT_MAX      200                       /* bytes of a text for people */
#define KITH_RELAY_AUTHORITY_MAX 255                       /* bytes of "host:port" */
#define KITH_RELAY_OFFER_MAX     8192                      /* bytes of an offer's packets */
#define KITH_RELAY_BUT_MAX       16                        /* instances that a CONNECT does not mean */
#define KITH_RELAY_TAG_MAX       ((UINT32_C(1) << 22) - 1) /* a pairing tag: two words of 11 bits */
#define KITH_RELAY_DATA_HEAD     7
#define KITH_RELAY_CONTROL_MAX   (KITH_RELAY_OFFER_MAX + 512)                 /* bytes of any message but DATA */
#define KITH_RELAY_MESSAGE_MAX   (KITH_RELAY_DATA_HEAD + KITH_PACKET_RUN_MAX) /* bytes of any message */

/* Session ids are per client.  Those that the client names (CONNECT) are below this bit, those that the relay names
 * (INCOMING) have it set, so the two never meet. */
#define KITH_RELAY_SESSION_OF_RELAY (UINT32_C(1) << 31)

typedef enum kith_relay_type {
    KITH_RELAY_CHALLENGE = 1,
    KITH_RELAY_REGISTER = 2,
    KITH_RELAY_REGISTERED = 3,
    KITH_RELAY_CONNECT = 4,
    KITH_RELAY_CONNECTED = 5,
    KITH_RELAY_INCOMING = 6,
    KITH_RELAY_GONE = 7,
    KITH_RELAY_DATA = 8,
    KITH_RELAY_RESTARTING = 9,
    KITH_RELAY_RATE_LIMITED = 10,
    KITH_RELAY_PING = 11,
    KITH_RELAY_PONG = 12,
    KITH_RELAY_ERROR = 13,
    KITH_RELAY_MAILBOX_OPEN = 14,
    KITH_RELAY_MAILBOX = 15,
    KITH_RELAY_MAILBOX_CONNECT = 16,
    KITH_RELAY_MAILBOX_CLOSE = 17,
} kith_relay_type;

/* Numbers that are not known are read as they are: later versions may add some. */
typedef enum kith_relay_gone {
    KITH_RELAY_GONE_UNREACHABLE = 1, /* absent, or unwilling: nobody can tell which.  From a client: refused */
    KITH_RELAY_GONE_ENDED = 2,       /* the other side ended it, or is gone from the relay */
    KITH_RELAY_GONE_IDLE = 3,        /* nothing was said for long */
} kith_relay_gone;

typedef enum kith_relay_limit {
    KITH_RELAY_LIMIT_CONNECTIONS = 1,
    KITH_RELAY_LIMIT_REGISTRATIONS = 2,
    KITH_RELAY_LIMIT_SESSIONS = 3,
    KITH_RELAY_LIMIT_MAILBOXES = 4,
    KITH_RELAY_LIMIT_GUESSES = 5,
    KITH_RELAY_LIMIT_QUOTA = 6,
} kith_relay_limit;

typedef enum kith_relay_error {
    KITH_RELAY_ERROR_PROTOCOL = 1,
    KITH_RELAY_ERROR_VERSION = 2,
    KITH_RELAY_ERROR_SIGNATURE = 3,
    KITH_RELAY_ERROR_AUTHORITY = 4, /* the relay does not go by the name the client dialled */
    KITH_RELAY_ERROR_TOKEN = 5,     /* none where one is needed, a wrong or an expired one */
    KITH_RELAY_ERROR_TIMEOUT = 6,
    KITH_RELAY_ERROR_SUPERSEDED = 7, /* the same instance registered again over another connection */
    KITH_RELAY_ERROR_INTERNAL = 8,
} kith_relay_error;

typedef enum kith_relay_mailbox_state {
    KITH_RELAY_MAILBOX_STATE_OPEN = 1,
    KITH_RELAY_MAILBOX_STATE_TAKEN = 2, /* another client has it: draw another tag */
    KITH_RELAY_MAILBOX_STATE_CLOSED = 3,
} kith_relay_mailbox_state;

/* Packets of one size, as in kith_packet. */
typedef struct kith_relay_run {
    const uint8_t *data; /* NULL: none */
    size_t size;         /* bytes of all packets, at most KITH_PACKET_RUN_MAX and KITH_PACKET_RUN_SEGMENTS packets */
    size_t segment;      /* 1 to size */
} kith_relay_run;

typedef struct kith_relay_text {
    const char *data; /* UTF-8, not terminated */
    size_t size;
} kith_relay_text;

typedef struct kith_relay_limits { /* what a client has to know of a relay's limits */
    uint32_t sessions;             /* at once */
    uint64_t bytes_per_second;     /* that the relay reads from this client, over WebSocket and UDP together */
    uint32_t idle_ms;              /* a client that says nothing for so long is closed */
    uint32_t session_idle_ms;      /* a session over which nothing goes is forgotten */
    uint32_t udp_stale_ms;         /* a UDP address that was not bound again for so long is not used */
    uint32_t mailboxes;            /* open at once */
    uint32_t mailbox_ms;           /* how long one stays open */
    uint32_t message_bytes;        /* of DATA; at least KITH_RELAY_CONTROL_MAX, at most KITH_RELAY_MESSAGE_MAX */
} kith_relay_limits;

typedef struct kith_relay_message {
    kith_relay_type type;
    uint32_t session;   /* CONNECT, CONNECTED, INCOMING, GONE, DATA, MAILBOX_CONNECT; RATE_LIMITED: see has_session */
    uint32_t tag;       /* MAILBOX_OPEN, MAILBOX, MAILBOX_CONNECT, MAILBOX_CLOSE */
    kith_relay_run run; /* DATA: the packets; CONNECT, INCOMING, MAILBOX_CONNECT: the offer, maybe none */
    union {
        struct {
            const uint8_t *nonce;
            uint64_t version;
        } challenge;
        struct {
            const uint8_t *device_id, *public_key, *instance, *signature;
            const uint8_t *token; /* NULL: none */
            size_t token_size;
        } reg;
        struct {
            kith_addr observed; /* where the relay sees this connection come from */
            const uint8_t *udp_key;
            kith_relay_limits limits;
            kith_relay_text software;
            uint64_t unix_ms; /* the relay's clock; 0: it does not say */
        } registered;
        struct {
            const uint8_t *target;          /* a fingerprint */
            const uint8_t *target_instance; /* NULL: whichever registered last, */
            const uint8_t *but;             /* but none of these, one after the other */
            size_t but_count;
        } connect;
        struct {
            const uint8_t *udp_id;
        } connected;
        struct {
            const uint8_t *from, *from_instance, *udp_id;
        } incoming;
        struct {
            uint64_t reason; /* kith_relay_gone */
        } gone;
        struct {
            uint64_t after_ms; /* come back then, spread over as long again */
        } restarting;
        struct {
            uint64_t limit; /* kith_relay_limit */
            uint64_t retry_after_ms;
            bool has_session, has_tag; /* which CONNECT or MAILBOX_OPEN it answers */
        } rate_limited;
        struct {
            const uint8_t *bytes;
        } ping; /* and PONG, which echoes them */
        struct {
            uint64_t code; /* kith_relay_error */
            kith_relay_text text;
        } error;
        struct {
            uint64_t state; /* kith_relay_mailbox_state */
        } mailbox;
    };
} kith_relay_message;

/* FORMAT: not a message in its one form, or against a limit above; UNSUPPORTED: a type that is not known (*out has it),
 * which a client skips.  Views in *out are into `data`. */
KITH_MUST_CHECK kith_err kith_relay_read(const void *data, size_t size, kith_relay_message *out);
/* Bytes written; 0 when it does not fit into `cap` or the message is not one that could be read. */
size_t kith_relay_write(const kith_relay_message *message, uint8_t *out, size_t cap);
/* The head of a DATA message, for who has the packets behind it already. */
void kith_relay_write_data_head(uint32_t session, size_t segment, uint8_t out[static KITH_RELAY_DATA_HEAD]);
/* Whether its sizes are those of a run. */
bool kith_relay_run_good(const kith_relay_run *run);

/* ---- what REGISTER's signature covers ----
 * "kith relay register v1" || 00 || nonce || length of authority (1) || authority || device_id || instance */
#define KITH_RELAY_SIGNED_MAX                                                                                          \
    (23 + KITH_RELAY_NONCE_SIZE + 1 + KITH_RELAY_AUTHORITY_MAX + KITH_RELAY_DEVICE_SIZE + KITH_RELAY_INSTANCE_SIZE)
/* A Host header (or host[:port] of a URL) in the form that is signed: lower case, without the default ports :80 and
 * :443.  LIMIT: longer than KITH_RELAY_AUTHORITY_MAX; FORMAT: empty, or not printable ASCII. */
KITH_MUST_CHECK kith_err kith_relay_authority(const char *host, size_t size,
                                              char out[static KITH_RELAY_AUTHORITY_MAX + 1]);
/* `authority` is in that form.  The size of what is to be signed. */
size_t kith_relay_signed(const uint8_t nonce[static KITH_RELAY_NONCE_SIZE], const char *authority,
                         const uint8_t device_id[static KITH_RELAY_DEVICE_SIZE],
                         const uint8_t instance[static KITH_RELAY_INSTANCE_SIZE],
                         uint8_t out[static KITH_RELAY_SIGNED_MAX]);

/* ---- datagrams ---- */
#define KITH_RELAY_UDP_PACKET                                                                                          \
    4                          /* 04 || udp id (8) || a QUIC packet; both directions, each with its client's own id    \
                                */
#define KITH_RELAY_UDP_BIND  5 /* 05 || udp key (16) || counter (8): client to relay */
#define KITH_RELAY_UDP_BOUND 6 /* 06 || counter (8) || observed address (6 or 18): relay to client */

#define KITH_RELAY_PACKET_HEAD (1 + KITH_RELAY_UDP_ID_SIZE)
#define KITH_RELAY_BIND_SIZE   (1 + KITH_RELAY_UDP_KEY_SIZE + 8)
#define KITH_RELAY_BOUND_MAX   (1 + 8 + 18)

/* The head that stands before a packet. */
void kith_relay_write_packet_head(const uint8_t udp_id[static KITH_RELAY_UDP_ID_SIZE],
                                  uint8_t out[static KITH_RELAY_PACKET_HEAD]);
/* The id in a PACKET datagram, whose packet is what follows KITH_RELAY_PACKET_HEAD; NULL when it is none, or empty. */
const uint8_t *kith_relay_read_packet_head(const void *data, size_t size);
/* `counter` is above every one this client used before with this key: others are taken for repeated and dropped. */
void kith_relay_write_bind(const uint8_t udp_key[static KITH_RELAY_UDP_KEY_SIZE], uint64_t counter,
                           uint8_t out[static KITH_RELAY_BIND_SIZE]);
/* The key, a view; NULL when it is no BIND. */
const uint8_t *kith_relay_read_bind(const void *data, size_t size, uint64_t *counter);
size_t kith_relay_write_bound(uint64_t counter, const kith_addr *observed, uint8_t out[static KITH_RELAY_BOUND_MAX]);
bool kith_relay_read_bound(const void *data, size_t size, uint64_t *counter, kith_addr *observed);

#endif
