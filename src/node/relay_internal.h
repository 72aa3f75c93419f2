/* What the files behind relay.h share: relay.c (packets and events of a connection), relay_place.c (sessions at a
 * relay, and finding them), relay_open.c (which relays, beginning and end). */
#ifndef KITH_NODE_RELAY_INTERNAL_H
#define KITH_NODE_RELAY_INTERNAL_H

#include "node/relay.h"
#include "path/relay_client.h"
#include "path/relays.h"

typedef enum place_state {
    PLACE_FREE,
    PLACE_ASKED_FOR, /* nothing was sent there yet */
    PLACE_OPEN,
    PLACE_GONE /* not there: remembered until absent_until_ns */
} place_state;

typedef struct place {
    place_state state;
    uint32_t id, session; /* in addresses (modulo RELAY_PLACES_MAX: which place it is); the relay's */
    bool by_tag, theirs;  /* theirs: they connected */
    uint32_t tag;
    uint8_t fingerprint[32];
    uint8_t but[NODES_MAX][KITH_HELLO_INSTANCE_SIZE]; /* nodes of it that are not meant */
    size_t but_count;
    uint64_t since_ns, absent_until_ns;
    unsigned absences; /* in a row */
    uint64_t ends_ns;  /* nobody uses it: it ends then; 0: somebody does */
} place;

_Static_assert(NODES_MAX <= KITH_RELAY_BUT_MAX && KITH_HELLO_INSTANCE_SIZE == KITH_RELAY_INSTANCE_SIZE, "in a CONNECT");

typedef struct relay_link {
    struct relays *all;
    size_t index; /* in all->links and all->choice */
    char *url;
    kith_relay_client *client; /* NULL: not wanted yet */
    kith_ws *ws;
    kith_timer *timer;
    kith_addr udp, observed; /* the relay's; ours as it sees it, over UDP, */
    kith_addr seen;          /* and over the WebSocket: of it only the IP address means something */
    bool flushing;
    kith_err why;    /* we are not registered there; OK: not told yet */
    uint64_t code;   /* and what the relay said of it (kith_relay_error), 0: nothing */
    bool superseded; /* once, by somebody else who is this node */
    bool has_mailbox;
    uint32_t mailbox;
    uint64_t again_ns; /* somebody who was not there may be looked for again */
    place places[RELAY_PLACES_MAX];
    uint8_t of_session[RELAY_PLACES_MAX]; /* by the relay's number, modulo: the place that had it last */
} relay_link;

struct relays {
    kith_core *core;
    kith_relays choice;
    size_t count;
    uint32_t last_id;
    uint8_t buffer[KITH_RELAY_CLIENT_BUFFER];
    relay_link links[KITH_RELAYS_MAX];
};

/* ---- relay.c ---- */
uint64_t kith__relay_link_now(const relay_link *l);
bool kith__relay_link_is_up(const relay_link *l);
void kith__relay_link_flush(relay_link *l);   /* after every call to its client */
void kith__relay_link_mailbox(relay_link *l); /* open or close it, as the pairing code that is open wants it */
void kith__relay_link_timer(void *user);
void kith__relay_link_set_timer(relay_link *l);

/* ---- relay_place.c ---- */
size_t kith__place_link(const kith_addr *addr); /* whose it is: the link's index */
kith_addr kith__place_address(const relay_link *l, const place *p);
place *kith__place_at(struct relays *all, const kith_addr *addr, relay_link **of); /* NULL: none, or it is gone */
place *kith__place_of_session(relay_link *l, uint32_t number);
place *kith__place_new(relay_link *l); /* a free one, or in the place of one of no use; NULL: none */
/* The relay says so: it ended, or was never there; or it may not be asked for again before then. */
void kith__place_over(relay_link *l, uint32_t number, bool was_there);
void kith__place_limited(relay_link *l, uint32_t number, uint64_t until_ns);
void kith__places_make_room(relay_link *l, const uint8_t from[static 32]); /* for one more of this device's */
void kith__places_all_gone(relay_link *l);
void kith__places_end_unused(relay_link *l);
void kith__places_set_again(relay_link *l); /* the next time that somebody who was not there may be looked for again */
uint64_t kith__places_deadline(const relay_link *l); /* of end_unused; UINT64_MAX: none */

#endif
