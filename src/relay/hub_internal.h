/* What the parts of the hub share.  Nothing outside src/relay includes this. */
#ifndef KITH_RELAY_HUB_INTERNAL_H
#define KITH_RELAY_HUB_INTERNAL_H

#include "base/list.h"
#include "crypto/rng.h"
#include "relay/hub.h"
#include "relay/table.h"

#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_S      UINT64_C(1000000000)
#define NS_PER_MINUTE (60 * NS_PER_S)
#define ANSWER_SLOTS  4096            /* counters of answers, by hash of the address: a power of two */
#define PAUSE_LEAST   (5 * NS_PER_MS) /* a pause is at least so long: each costs the owner two calls of the system */
#define INSTANCE_SIZE KITH_RELAY_INSTANCE_SIZE

/* A rate, as the time until which it is used up (the generic cell rate algorithm, ITU-T I.371): what is taken moves the
 * time on, and it may be ahead of now by as much as may come at once. */
typedef uint64_t meter;
/* Takes `cost_ns` unless that goes more than `ahead_ns` ahead. */
static inline bool meter_take(meter *m, uint64_t cost_ns, uint64_t ahead_ns, uint64_t now_ns)
{
    uint64_t at = *m > now_ns ? *m : now_ns;
    if (at + cost_ns > now_ns + ahead_ns) return false;
    *m = at + cost_ns;
    return true;
}

/* What the hub remembers of an address: an IPv4 address or an IPv6 /64. */
typedef struct source {
    kith_table_link link;
    kith_link unused; /* in hub->unused while there are no connections, the longest unused first */
    uint8_t key[9];
    uint64_t connections, registrations, mailboxes;
    meter accepts, registers, guesses;
} source;

typedef struct message { /* that waits for a client, or is being put together */
    kith_link link;      /* in the client's queue */
    kith_link packets;   /* DATA: in the client's packets, */
    kith_link all;       /* and in the hub's, the oldest first */
    kith_hub_client *client;
    size_t size, room;
    uint8_t bytes[]; /* the headroom, then the message */
} message;

typedef struct queue {
    kith_list all, packets;
    size_t packet_bytes, control_bytes;
} queue;

struct session;
typedef struct side { /* of a session: what it is to one client */
    struct session *session;
    kith_hub_client *client; /* NULL: nobody (any more) */
    kith_link in_client;
    kith_table_link by_number, by_udp;
    uint32_t number;
    uint8_t udp_id[KITH_RELAY_UDP_ID_SIZE];
} side;

typedef struct session {
    side dialler, target;
    bool answered;         /* the target has sent something */
    struct message *offer; /* for the device's other instances, while this one may refuse; NULL: there are none */
    size_t offer_segment;
    kith_link refusing; /* in hub->refusing while it is not answered and the dialler was told nothing */
    kith_link idle;     /* in hub->idle_sessions, the longest idle first */
    uint64_t made_ns, used_ns;
    size_t but_count; /* instances that the dialler does not mean */
    uint8_t but[][KITH_RELAY_INSTANCE_SIZE];
} session;

typedef struct mailbox {
    kith_table_link link;
    kith_link in_client, aging; /* in hub->mailboxes, the oldest first */
    kith_hub_client *client;
    uint32_t tag;
    uint64_t made_ns;
} mailbox;

typedef struct device { /* of which one or more instances are registered */
    kith_table_link link;
    kith_list instances; /* clients, the one that registered last at the end */
    size_t count;
    uint8_t fingerprint[KITH_RELAY_FINGERPRINT_SIZE];
} device;

typedef enum stage { ACCEPTED, CHALLENGED, REGISTERED, CLOSING } stage;

struct kith_hub_client {
    kith_hub *hub;
    void *user;
    kith_link in_hub;
    kith_link aging;    /* in hub->unregistered or hub->registered, the one with the oldest `heard_ns` first */
    kith_link stalling; /* in hub->stalling while something waits for it */
    kith_link pausing;  /* in hub->paused */
    kith_link ready;
    stage stage;
    uint16_t close_code;
    uint64_t number; /* no other client had it */
    source *source;
    kith_addr from;
    uint64_t heard_ns, progress_ns, resume_ns;
    queue queue;
    message *inbound; /* incomplete */
    uint8_t nonce[KITH_RELAY_NONCE_SIZE];
    char *authority; /* until it is registered; NULL: it is not ours */

    device *device;
    kith_link in_device;
    uint8_t instance[INSTANCE_SIZE];
    kith_token *token;
    meter bytes, connects;
    kith_list sides, mailboxes;
    uint64_t opened, incoming, mailbox_count; /* sessions of each kind */
    uint32_t next_number;                     /* for INCOMING */
    kith_table_link by_udp_key;
    uint8_t udp_key[KITH_RELAY_UDP_KEY_SIZE];
    uint64_t udp_counter, udp_bound_ns; /* of the last BIND; 0: there was none */
    kith_addr udp_remote, udp_local;
    bool udp_doubted; /* its packets came as messages since: so go those to it */
};

struct kith_hub {
    kith_relay_settings settings;
    kith_hub_stats stats;
    kith_rng rng;
    char *software;
    size_t headroom;
    kith_tokens *tokens;
    bool draining;
    bool clock_set;
    int64_t unix_at_zero_ms; /* the wall clock's time when `now` was 0 */
    uint64_t next_client;
    kith_table sources, devices, numbers, udp_ids, udp_keys, tags;
    kith_list clients, unused, unregistered, registered, stalling, paused, ready, refusing, idle_sessions, mailboxes,
        packets;
    struct {
        uint64_t second;
        uint64_t count;
    } answers[ANSWER_SLOTS];
    uint64_t resume_ns;                            /* the first of the paused goes on then; UINT64_MAX: none */
    kith_packet out[KITH_PACKET_RUN_SEGMENTS + 2]; /* datagrams to take */
    bool elsewhere[KITH_PACKET_RUN_SEGMENTS + 2];  /* of each: from the other port */
    bool has_other_port;
    size_t out_count, out_taken;
    uint8_t scratch[2 * KITH_PACKET_RUN_MAX]; /* bytes of those that are not where they came */
    size_t scratch_used;
};

/* ---- hub.c ---- */
void hub_ready(kith_hub_client *client);
/* It is to be closed with this code, after what waits that is not packets and, unless 0, an ERROR. */
void hub_close(kith_hub_client *client, uint16_t code, kith_relay_error error, const char *text, uint64_t now_ns);
void hub_protocol_error(kith_hub_client *client, const char *text, uint64_t now_ns);
uint64_t hub_unix_ms(const kith_hub *hub, uint64_t now_ns); /* 0: not known */
/* So many bytes came from it.  False: it may not send them (the token's quota), and is being closed. */
bool hub_charge(kith_hub_client *client, size_t bytes, uint64_t now_ns);
bool hub_too_fast(const kith_hub_client *client, uint64_t now_ns);

/* ---- source.c ---- */
/* The source of this address, made if need be; NULL: no memory. */
source *source_of(kith_hub *hub, const kith_addr *from);
void source_use(source *s);
void source_unuse(kith_hub *hub, source *s);
void sources_done(kith_hub *hub);
/* Whether another datagram may be answered to there. */
bool source_answer(kith_hub *hub, const kith_addr *from, uint64_t now_ns);

/* ---- queue.c ---- */
void queue_init(queue *q);
/* Room for a message of at most `size` bytes, counted in the hub's memory; NULL: there is none. */
message *message_new(kith_hub *hub, size_t size);
uint8_t *message_data(const kith_hub *hub, message *m);
void message_free(kith_hub *hub, message *m); /* NULL is fine */
/* A message of packets to a client, the client's (and maybe dropped) from here on. */
void queue_packets(kith_hub_client *client, message *m, uint64_t now_ns);
/* Any other; when it cannot be it closes the client. */
void queue_message(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
void queue_drop_packets(kith_hub_client *client);
void queue_clear(kith_hub_client *client);

/* ---- register.c ---- */
void register_message(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
void register_end(kith_hub_client *client, uint64_t now_ns); /* take it out of all tables */
kith_hub_client *register_find(const kith_hub *hub, const uint8_t *fingerprint, const uint8_t *instance);
/* The instance of its device that registered before it; NULL: none. */
kith_hub_client *register_before(const kith_hub_client *client);

/* ---- session.c ---- */
void session_connect(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
void session_mailbox_connect(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
void session_gone(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
/* DATA, in the memory it came in: the hub's from here on. */
void session_data(kith_hub_client *client, message *data, const kith_relay_message *m, uint64_t now_ns);
/* Its sides' sessions end. */
void session_end_all(kith_hub_client *client, uint64_t now_ns);
void session_expire(kith_hub *hub, uint64_t now_ns);
uint64_t session_deadline(const kith_hub *hub);
side *session_by_udp(const kith_hub *hub, const uint8_t *udp_id);
side *session_other(side *from);
void session_touch(side *from, uint64_t now_ns); /* something came from this side */

/* ---- mailbox.c ---- */
void mailbox_open(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
void mailbox_close(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns);
void mailbox_end_all(kith_hub_client *client);
mailbox *mailbox_find(const kith_hub *hub, uint32_t tag);
void mailbox_expire(kith_hub *hub, uint64_t now_ns);
uint64_t mailbox_deadline(const kith_hub *hub);

/* ---- datagram.c ---- */
/* Whether packets for this client go over UDP now. */
bool datagram_bound(const kith_hub_client *client, uint64_t now_ns);
/* Packets of a message, to this side's client over UDP. */
void datagram_send(side *to, const kith_relay_run *run);
void datagram_reset(kith_hub *hub); /* what was not taken is not valid any more */

#endif
