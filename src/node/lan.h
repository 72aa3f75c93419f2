/* The node on the local network: what it announces of itself while it serves something, and whom it has seen. */
#ifndef KITH_NODE_LAN_H
#define KITH_NODE_LAN_H

#include "node/core.h"

/* Look around from now on; announce nothing yet.  NETWORK when mDNS cannot be used here. */
KITH_MUST_CHECK kith_err kith__lan_start(kith_core *core);
void kith__lan_stop(kith_core *core); /* says goodbye */
/* How long who is there may take to answer.  The first query has an answer within 0.3 s; where one of the two was lost,
 * or the answer was held back since it had just been given to another (RFC 6762 section 6), the second has, which comes
 * a second later (section 5.2).  To that, what a sleeping device's access point holds multicast back: 0.3 s each way.
 */
#define LAN_ANSWERS_NS (2 * SECOND_NS)
/* When that will have passed; 0: nobody is asked. */
uint64_t kith__lan_answered_ns(const kith_core *core);
/* This device's addresses have changed: it may be on another network. */
void kith__lan_changed(kith_core *core);
/* What the node serves has changed (nothing, files, topics, a pairing code): announce it, and be at the relays. */
void kith__lan_announce(kith_core *core);
/* The devices we know changed: they are followed first when there are too many announcements. */
void kith__lan_want_known(kith_core *core);
/* Where a device may be reached, the likeliest first; what was seen on the network, then addresses that worked before.
 * How many. */
size_t kith__lan_find_device(kith_core *core, const kith_peer *peer, kith_addr *out, size_t cap);
/* `nodes` gets, for each address, a number that stands for the running node that announced it. */
size_t kith__lan_find_tag(kith_core *core, uint32_t tag, kith_addr *out, uint64_t *nodes, size_t cap);
/* A device, as it announces itself: whoever may have said so. */
typedef struct lan_device {
    uint8_t uuid[KITH_UUID_SIZE], fingerprint[KITH_TXT_FINGERPRINT_SIZE]; /* how the fingerprint begins */
    kith_addr addrs[KITH_SIGHTING_ADDRS_MAX];
    size_t addr_count;
} lan_device;
/* All that are announced, but this one, each once (of its nodes the one first in the table): how many are given. */
size_t kith__lan_devices(kith_core *core, lan_device *out, size_t cap);
struct session;
bool kith__lan_is_named(const struct session *s,
                        const char *name); /* is this what the node at the other end is called? */
/* What can be said of multicast here. */
typedef struct lan_census {
    bool usable;   /* mDNS could be started */
    bool own;      /* our own announcement was heard */
    size_t others; /* other running nodes, of any device */
    bool twin;     /* one of them has this device's id, and is not on this machine: */
    kith_addr twin_at;
} lan_census;
/* Announce something that means nothing to others, unless this node is announced anyway, until it is told to stop: what
 * is heard of it shows whether announcements work. */
void kith__lan_trial(kith_core *core, uint16_t port);
void kith__lan_trial_end(kith_core *core);
void kith__lan_census(kith_core *core, lan_census *out);
bool kith__lan_sees_device(kith_core *core, const kith_peer *peer, kith_addr *where);

#endif
