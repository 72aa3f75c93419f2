/* The doctor: an operation that asks relays and STUN servers, this network and this home, and says what it found.
 *
 *   doctor.c        its life: sockets, names, what to wait for
 *   doctor_relay.c  one relay: connecting, registering, measuring
 *   doctor_say.c    the findings in words, when all is known; doctor_say_relay.c: those about relays
 *
 * It has sockets of its own: what the node's has sent before would have opened the filters that are to be looked at. It
 * registers as an instance of its own, so that the node's sessions at the same relay stay. */
#ifndef KITH_OP_DOCTOR_H
#define KITH_OP_DOCTOR_H

#include "base/url.h"
#include "identity/sibling.h"
#include "node/core.h"
#include "node/lan.h"
#include "path/nat_probe.h"
#include "path/relay_client.h"
#include "path/relays.h"

#define DOCTOR_NAME_NS    (8 * SECOND_NS)  /* for looking a name up */
#define DOCTOR_CONNECT_MS 8000u            /* for a WebSocket */
#define DOCTOR_RELAY_NS   (15 * SECOND_NS) /* for all of a relay */
#define DOCTOR_BIND_NS    (6 * SECOND_NS)  /* for its datagrams, once it is registered with */
/* For its own sibling's answer, or the relay's word that there is none; then it is asked again, since the answer is a
 * datagram, and may be lost. */
#define DOCTOR_SIBLING_NS    (3 * SECOND_NS)
#define DOCTOR_SIBLING_TRIES 3
#define DOCTOR_LAN_NS        (4 * SECOND_NS) /* for announcements: they are probed for 0.75 s first (RFC 6762 section 8.1) */
#define DOCTOR_LIMIT_NS      (25 * SECOND_NS) /* for everything: what is not known then is not known */
#define DOCTOR_SERVERS       (KITH_RELAYS_MAX + KITH_DOCTOR_STUN_MAX)
#define DOCTOR_SOFTWARE      KITH_RESULT_TEXT

typedef struct doctor_op doctor_op;

/* A name, and what STUN says at its addresses. */
typedef struct doctor_server {
    doctor_op *doctor;
    char host[KITH_URL_HOST_SIZE];
    uint16_t port;
    kith_lookup *lookup; /* NULL: it is over */
    bool late;           /* it was given up */
    size_t count;
    size_t asked[KITH_RESOLVED_MAX]; /* in the probe */
} doctor_server;

typedef struct doctor_relay {
    doctor_op *doctor;
    const char *url;
    doctor_server *server;
    char proxy[KITH_URL_HOST_SIZE + 16]; /* "": none */
    bool bad_proxy;
    kith_ws *ws;
    kith_relay_client *client; /* NULL: this node has no keys, or it is over */
    bool over;
    uint64_t began_ns, registered_ns;
    bool connected, challenged, registered;
    bool udp; /* its datagrams get here, and ours there */
    kith_addr remote;
    kith_err why; /* it ended */
    unsigned status;
    uint64_t code; /* kith_relay_error */
    uint64_t rtt_ns;
    int64_t skew_ms;
    bool has_clock;
    char software[DOCTOR_SOFTWARE];
    uint8_t instance[KITH_RELAY_INSTANCE_SIZE]; /* ours there */
    uint32_t sibling_session;                   /* with another node of this identity, if there is one; 0: not asked */
    uint64_t sibling_asked_ns;
    unsigned sibling_tries;
    bool sibling_over;    /* nobody is there, or nobody answered, or */
    kith_sibling sibling; /* somebody did */
    bool flushing;
} doctor_relay;

typedef struct doctor_home { /* a job; of the doctor that waits for it, or, when that is gone, of nobody */
    kith_job job;
    kith_core *core;
    doctor_op *doctor;
    kith_err err;
    kith_problem problem;
    bool has_info;
    kith_file_info info; /* the folder's */
    int64_t created_at_ms;
} doctor_home;

struct doctor_op {
    op op;
    kith_timer *timer;
    uint64_t began_ns;
    kith_udp *sockets[KITH_NAT_SOCKETS];
    struct doctor_socket {
        doctor_op *doctor;
        size_t number;
    } numbered[KITH_NAT_SOCKETS];
    bool has_sockets;
    bool has_ipv6;      /* an address of the internet */
    bool carrier_grade; /* an address that providers give out behind their own NAT (RFC 6598) */
    kith_nat_probe probe;
    doctor_server servers[DOCTOR_SERVERS];
    size_t server_count;
    doctor_relay relays[KITH_RELAYS_MAX];
    size_t relay_count;
    lan_census lan;
    bool lan_over;
    doctor_home *home; /* NULL: over */
    doctor_home at_home;
};

/* ---- doctor.c ---- */
void kith__doctor_step(doctor_op *d); /* send, wait, or end: `d` may be gone then */

/* ---- doctor_relay.c ---- */
void kith__doctor_relay_start(doctor_relay *r);
void kith__doctor_relay_flush(doctor_relay *r); /* does what is due, too */
bool kith__doctor_relay_datagram(doctor_relay *r, const kith_addr *from, uint8_t *data, size_t size);
uint64_t kith__doctor_relay_deadline(const doctor_relay *r);
void kith__doctor_relay_end(doctor_relay *r);

/* ---- doctor_say.c ---- */
/* A finding of which nothing varies. */
typedef struct doctor_words {
    kith_finding state;
    const char *result, *cure, *text;
} doctor_words;
void kith__doctor_words(doctor_op *d, const char *check, const doctor_words *words);
void kith__doctor_say(doctor_op *d);
/* Fill in and emit; `e` has what was measured. */
void kith__doctor_tell(doctor_op *d, kith_event *e, const char *check, kith_finding state, const char *result,
                       const char *cure, const char *format, ...) __attribute__((format(printf, 7, 8)));
/* The first address of it that answered over this family (0: any); NULL: none. */
const kith_nat_question *kith__doctor_answer(const doctor_op *d, const doctor_server *s, unsigned family);
const kith_nat_question *kith__doctor_any_answer(const doctor_op *d); /* of any server, IPv4 first; NULL: none */
size_t kith__doctor_connected(const doctor_op *d);                    /* relays reached over TCP */

/* ---- doctor_say_relay.c ---- */
void kith__doctor_say_relays(doctor_op *d);

#endif
