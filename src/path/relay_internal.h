/* What the parts of a relay's client know of each other: its life (relay_client.c), its sessions (relay_session.c) and
 * its UDP leg (relay_udp.c). */
#ifndef KITH_PATH_RELAY_INTERNAL_H
#define KITH_PATH_RELAY_INTERNAL_H

#include "base/list.h"
#include "path/relay_client.h"

typedef enum relay_state {
    RELAY_AWAY,       /* until come_back_ns */
    RELAY_DIALLING,   /* DIAL was said */
    RELAY_CHALLENGED, /* connected: CHALLENGE, a signature or REGISTERED is waited for */
    RELAY_REGISTERED,
} relay_state;

typedef struct relay_session {
    uint32_t id; /* 0: free */
    bool has_udp_id;
    uint8_t udp_id[KITH_RELAY_UDP_ID_SIZE];
} relay_session;

typedef struct relay_udp {
    kith_addr remote; /* NONE: not to be used */
    uint8_t key[KITH_RELAY_UDP_KEY_SIZE];
    bool on; /* it answered, and packets go over it */
    kith_addr observed;
    bool due;         /* a BIND is to be sent */
    uint64_t counter; /* of the last BIND; they begin anywhere, so that nobody who has not seen one can answer it */
    uint64_t first;   /* of those whose answer counts: sent since we ask */
    unsigned tries;   /* unanswered, since we ask; 0: we do not */
    uint64_t at_ns;   /* the next try, or the next time to ask */
    uint64_t retry_ns;
} relay_udp;

struct kith_relay_client {
    char authority[KITH_RELAY_AUTHORITY_MAX + 1];
    uint8_t device_id[KITH_RELAY_DEVICE_SIZE], public_key[KITH_RELAY_KEY_SIZE], instance[KITH_RELAY_INSTANCE_SIZE];
    uint8_t token[KITH_RELAY_TOKEN_MAX];
    size_t token_size;
    uint64_t random; /* splitmix64's state */
    relay_state state;
    unsigned attempts; /* in a row that failed, or did not last */
    uint64_t come_back_ns, register_by_ns, registered_ns;
    uint64_t window_end_ns; /* of the last attempt's spread */
    unsigned needs;         /* attempts in a row that were needed, */
    uint64_t need_end_ns;   /* and where the last one's window ends */
    uint64_t asked_ns;      /* the relay asked us to be away until then; 0: no */
    bool restarting;        /* and goes away itself */
    bool kicked;            /* and the relay was not heard since */
    unsigned quick;         /* attempts to come that need not be spread */
    bool refused;           /* for what will not change by itself */
    uint64_t code;          /* its last kith_relay_error */
    uint8_t to_sign[KITH_RELAY_SIGNED_MAX];
    size_t to_sign_size; /* 0: no challenge yet, or signed */
    kith_relay_limits limits;
    uint64_t ping_at_ns, pinged_ns; /* the next; when the one under way was sent, 0: none is */
    uint64_t pong_by_ns;            /* something has to be heard by then, while one is under way */
    uint64_t last_ping_ns;
    bool doubted; /* since when it has not answered */
    uint64_t heard_ns;
    uint8_t ping[KITH_RELAY_PING_SIZE];
    uint64_t rtt_ns, min_rtt_ns;
    relay_session sessions[KITH_RELAY_CLIENT_SESSIONS];
    /* By number and by UDP id, modulo: the one found last, which is looked at first. */
    uint8_t by_number[KITH_RELAY_CLIENT_SESSIONS], by_udp_id[KITH_RELAY_CLIENT_SESSIONS];
    uint32_t next_session;
    relay_udp udp;
    kith_list out;
    size_t out_size;
    kith_relay_event events[KITH_RELAY_CLIENT_EVENTS];
    size_t event_first, event_count;
};

uint64_t kith__relay_random(kith_relay_client *client, uint64_t below); /* in [0, below); 0 for 0 */
/* How often to say something of which the relay's limits want it so often (0: they do not say). */
uint64_t kith__relay_often(uint64_t wanted_ns, uint64_t usual_ns);
void kith__relay_say(kith_relay_client *client, const kith_relay_event *event);
/* Queue a message.  LIMIT, NOMEM. */
kith_err kith__relay_put(kith_relay_client *client, const kith_relay_message *message);
void kith__relay_hang_up(kith_relay_client *client, kith_err why, uint64_t now_ns);

/* ---- sessions ---- */
relay_session *kith__relay_session(kith_relay_client *client, uint32_t id); /* NULL: none */
void kith__relay_sessions_forget(kith_relay_client *client);
/* What the relay says of them.  False: it broke the protocol. */
bool kith__relay_session_input(kith_relay_client *client, const kith_relay_message *message, kith_relay_data *data);

/* ---- UDP ---- */
void kith__relay_udp_start(kith_relay_client *client, uint64_t now_ns); /* registered, or asked to try again */
void kith__relay_udp_stop(kith_relay_client *client);
uint64_t kith__relay_udp_deadline(const kith_relay_client *client);
void kith__relay_udp_doubt(kith_relay_client *client, uint64_t now_ns);
void kith__relay_udp_expire(kith_relay_client *client, uint64_t now_ns);

#endif
