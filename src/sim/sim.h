/* The virtual world: `kith_env` in virtual time.  Any number of hosts (devices) with processes (each one a kith_env) on
 * networks and disks that can be told to fail, in one thread of one process.  Time passes only from event to event, and
 * everything that chance decides comes from the seed: the same seed and the same calls give the same run, to the last
 * byte (kith_sim_trace).
 *
 * What the contract in env.h leaves open is done here:
 * - File functions take no virtual time.
 * - A lock that would have to be waited for answers LOCKED: nobody else can run meanwhile.
 * - After kith_sim_kill the process's handles stay valid memory until closed, or until kith_sim_free, so that what it
 *   leaves behind can be freed: its calls find a world that answers with errors (IO, UNREACHABLE, NETWORK, NULL) and
 *   calls nobody back.
 * - kith_sim_free closes what is open; after it no handle may be used.
 *
 * Byte streams (TCP) go over the same networks.  Their bytes travel in segments with sequence numbers,
 * acknowledgements, a window and retransmission; a link's loss only makes them late, and its corruption, duplication,
 * reordering and MTU do not show.  Sending is paced by the slowest link of the way, so that no slow start and no
 * congestion control is simulated; a full queue costs a retransmission.  Reads are in pieces of any size, by chance.
 * Out of memory is as good as lost on the way.  Who closes, or is killed, still has what it sent delivered and reads no
 * more, and the other side's connection ends when it has read that: nothing is ever half closed.  Not simulated:
 * descriptor and backlog limits, keep-alive, TIME_WAIT.  As the real thing, a side with nothing to send does not notice
 * that the other is gone, and one whose peer does not read, but answers, waits for ever.
 *
 * Only one thread, the one that runs it, may use a kith_sim and its envs (post's `post` included). */
#ifndef KITH_SIM_SIM_H
#define KITH_SIM_SIM_H

#include "env/env.h"

#include <stdio.h>

typedef struct kith_sim kith_sim;
typedef struct kith_sim_host kith_sim_host;
typedef struct kith_sim_lan kith_sim_lan;

#define KITH_SIM_START_NS       UINT64_C(1000000000)   /* now_ns at first, and */
#define KITH_SIM_START_WALL_MS  INT64_C(1800000000000) /* the wall clock then: 2027-01-15 08:00 UTC */
#define KITH_SIM_MS             UINT64_C(1000000)      /* in nanoseconds */
#define KITH_SIM_S              UINT64_C(1000000000)
#define KITH_SIM_OWNER          1000u /* uid of every process and file */
#define KITH_SIM_UMASK          022u
#define KITH_SIM_WATCH_NS       (200 * KITH_SIM_MS) /* interfaces' changes are told so much later */
#define KITH_SIM_TCP_CONNECT_NS (5 * KITH_SIM_S)    /* nobody answered for so long: UNREACHABLE */
#define KITH_SIM_TCP_WINDOW     (256u << 10)        /* bytes under way or not read yet, at most, in one direction */
#define KITH_SIM_EXPIRY_NS      (20 * KITH_SIM_S)   /* a record is `gone` so long after its announcer vanished */

/* ---- the world and its time ---- */

KITH_MUST_CHECK kith_err kith_sim_new(uint64_t seed, kith_sim **out);
void kith_sim_free(kith_sim *sim); /* hosts, networks, disks, processes and all their handles; NULL is fine */
uint64_t kith_sim_now_ns(const kith_sim *sim);
/* Run the next event, however far away it is; false when there is none. */
bool kith_sim_step(kith_sim *sim);
/* Run until `done` says so (asked before the first event and after each) or for `limit_ns` of virtual time.  Whether it
 * is done. Gives up, too, when time stands still: a million events at one instant. */
bool kith_sim_run_until(kith_sim *sim, bool (*done)(void *user), void *user, uint64_t limit_ns);
void kith_sim_run_for(kith_sim *sim, uint64_t ns);
/* A hash of all that has happened: each event's time, kind, host, size and first bytes.  Equal runs, equal traces. */
uint64_t kith_sim_trace(const kith_sim *sim);
/* And a line of text for each, to the caller's file; NULL: no longer. */
void kith_sim_trace_to(kith_sim *sim, FILE *file);
/* For the test's own choices, from the same seed. */
uint64_t kith_sim_random(kith_sim *sim);
void kith_sim_set_timer_lateness(kith_sim *sim, uint64_t most_ns); /* timers fire up to so much late; 0 at first */
void kith_sim_set_work_delay(kith_sim *sim, uint64_t most_ns);     /* before a job runs; 500 us at first */

/* ---- hosts and processes ---- */

KITH_MUST_CHECK kith_err kith_sim_host_new(kith_sim *sim, const char *name, kith_sim_host **out);
const char *kith_sim_host_name(const kith_sim_host *host);
void kith_sim_set_wall_skew(kith_sim_host *host, int64_t skew_ms); /* against the world's wall clock */
/* Start a process; it ends with a kill or with the world. */
KITH_MUST_CHECK kith_err kith_sim_env_new(kith_sim_host *host, kith_env **out);
/* kill -9: sockets, timers, jobs, locks, announcements vanish without a callback; files stay as written. */
void kith_sim_kill(kith_env *env);
bool kith_sim_alive(const kith_env *env);
/* The plug is pulled: all processes are killed.  Of each file, what was written since its last sync is kept or lost by
 * chance, in blocks of 4 KiB, and so is its size; of each folder, the creations, renames and removals since its last
 * sync are undone from some point on.  The boot id changes.  The network is as before, but that TCP's peers hear
 * nothing until a process is started; then they hear that their connections are not there. */
void kith_sim_power_fail(kith_sim_host *host);

/* ---- networks ---- */

/* One direction of a way.  In this order: `mtu`, `queue` and `rate`, `loss`, `duplicate`, `corrupt`, `delay_ns` and
 * `jitter_ns`, `reorder`. */
typedef struct kith_sim_link {
    uint64_t delay_ns;
    uint64_t jitter_ns; /* up to so much more; does not reorder */
    uint64_t rate;      /* bytes per second, with IP and UDP headers; 0: unlimited */
    uint64_t queue;     /* bytes waiting for `rate` beyond which more are dropped; 0: unlimited */
    double loss;        /* chances, 0 to 1, for each datagram */
    double duplicate;
    double reorder;      /* being held back, so that later ones overtake it */
    uint64_t reorder_ns; /* held back for up to so long; 0: 1 ms + delay_ns / 4 */
    double corrupt;      /* one bit flipped */
    uint32_t mtu;        /* of IP packets; larger ones are dropped silently; 0: no limit */
} kith_sim_link;

/* 200 us, 20 us of jitter, no rate, an interface MTU of 1,500: what is larger is refused with LIMIT. */
KITH_MUST_CHECK kith_err kith_sim_lan_new(kith_sim *sim, const char *name, kith_sim_lan **out);
/* From every host's interface to this network; its mtu is the interfaces' (0 = 1,500). */
void kith_sim_lan_set_link(kith_sim_lan *lan, const kith_sim_link *link);
/* Give the host an address there ("192.0.2.1", "fe80::1"), on a new interface when it has none there yet.  ARG;
 * ADDRESS_IN_USE when somebody has it. */
KITH_MUST_CHECK kith_err kith_sim_attach(kith_sim_host *host, kith_sim_lan *lan, const char *addr);
/* The interface and its addresses go; a later one is another. */
void kith_sim_detach(kith_sim_host *host, kith_sim_lan *lan);
KITH_MUST_CHECK kith_err kith_sim_change_addr(kith_sim_host *host, const char *from, const char *to);
/* Join two networks both ways by a router: lan_a's link, `link` and lan_b's link follow each other.  Not transitive.
 * Again: change `link`; NULL: take the router away.  Where one is inside a NAT and the other outside of it, only IPv6
 * takes this way. */
KITH_MUST_CHECK kith_err kith_sim_route(kith_sim_lan *lan_a, kith_sim_lan *lan_b, const kith_sim_link *link);
/* What counts between two hosts, or from one to the other, in place of all links above (the interface's MTU stays);
 * NULL: those again. */
KITH_MUST_CHECK kith_err kith_sim_pair_link(kith_sim_host *a, kith_sim_host *b, const kith_sim_link *link);
KITH_MUST_CHECK kith_err kith_sim_oneway_link(kith_sim_host *from, kith_sim_host *to, const kith_sim_link *link);
/* Nothing passes between the two, including what is under way; no error tells. */
KITH_MUST_CHECK kith_err kith_sim_partition(kith_sim_host *a, kith_sim_host *b, bool on);
/* A firewall between the two: silently, no datagrams pass, or nothing of TCP.  Announcements do. */
KITH_MUST_CHECK kith_err kith_sim_firewall(kith_sim_host *a, kith_sim_host *b, bool udp, bool tcp);
/* The chance that a send answers AGAIN, or takes only a part of what it could (TCP); `writable` comes within 1 ms. */
void kith_sim_set_send_again(kith_sim_host *host, double chance);

/* ---- NATs (the terms are those of RFC 4787, and of RFC 5382 for TCP) ---- */

/* What of the remote side counts: for a mapping, where the same inside endpoint gets another outside port; for a
 * filter, who may answer through it: anybody, the addresses that it was used to send to, or only those endpoints. */
typedef enum kith_sim_nat_by {
    KITH_SIM_NAT_ENDPOINT_INDEPENDENT,
    KITH_SIM_NAT_ADDRESS_DEPENDENT,
    KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT,
} kith_sim_nat_by;

typedef enum kith_sim_nat_ports {
    KITH_SIM_NAT_PRESERVE,   /* the inside port, when it is free, and not below KITH_SIM_NAT_PORT_FIRST; else random */
    KITH_SIM_NAT_SEQUENTIAL, /* the next free one, from a random one on */
    KITH_SIM_NAT_RANDOM,
} kith_sim_nat_ports;

#define KITH_SIM_NAT_PORT_FIRST  1024u               /* outside ports are never below (RFC 4787, REQ-3 a) */
#define KITH_SIM_NAT_UDP_NS      (120 * KITH_SIM_S)  /* what REQ-5 wants at least */
#define KITH_SIM_NAT_TCP_NS      (7440 * KITH_SIM_S) /* a connection (RFC 5382, REQ-5) that is open, and */
#define KITH_SIM_NAT_TCP_EDGE_NS (240 * KITH_SIM_S)  /* one that begins or has ended */
#define KITH_SIM_NAT_MAPPINGS    4096u
#define KITH_SIM_NAT_FILTERS_MAX 1024u /* remotes a mapping remembers; a new one is put in the oldest's place */
#define KITH_SIM_NAT_TCP_PORTS   4u
#define KITH_SIM_NAT_DEPTH       4u /* NATs inside one another, at most */

typedef struct kith_sim_nat_config {
    kith_sim_nat_by mapping, filtering;
    kith_sim_nat_ports ports;
    bool hairpin;           /* inside hosts reach each other's outside addresses, and see outside addresses (REQ-9 a) */
    bool arbitrary_pooling; /* each mapping has any of the outside addresses; else all of one host have the same */
    bool inbound_refresh;   /* of UDP: what comes in keeps a mapping, and its filter, alive, too (REQ-6) */
    bool refuse_tcp;        /* unwanted segments are answered with a reset, not with silence */
    bool udp_blocked;       /* no datagram passes, either way */
    bool tcp_blocked;       /* nor do connections, but for those to the remote ports in `tcp_ports` */
    uint16_t tcp_ports[KITH_SIM_NAT_TCP_PORTS]; /* 0: none */
    uint64_t udp_lifetime_ns;                   /* since the last refresh; 0: KITH_SIM_NAT_UDP_NS */
    size_t max_mappings;                        /* no more are made; 0: KITH_SIM_NAT_MAPPINGS */
} kith_sim_nat_config;

/* The four kinds of RFC 3489, section 5, without hairpinning.  The first three preserve ports, the last has random
 * ones. */
extern const kith_sim_nat_config KITH_SIM_NAT_FULL_CONE;          /* independent, filtering too */
extern const kith_sim_nat_config KITH_SIM_NAT_ADDRESS_RESTRICTED; /* independent, filtering by address */
extern const kith_sim_nat_config KITH_SIM_NAT_PORT_RESTRICTED;    /* independent, filtering by address and port */
extern const kith_sim_nat_config KITH_SIM_NAT_SYMMETRIC;          /* both by address and port */

typedef struct kith_sim_nat kith_sim_nat;

/* The way out of `inside`, for IPv4, becomes a NAT that has the address `addr` on `outside`; it lives as long as the
 * world.  `outside` may itself be inside another one.  Datagrams are translated when they get there; segments of TCP
 * when they are sent, so that TCP's pace is that of the whole way.  IPv6 takes kith_sim_route's way, and what is
 * written for one of `inside`'s own prefixes stays there.  Links and partitions of pairs of hosts count between a host
 * and the NAT's host; partitions also between the hosts at the ends.  ARG: not of this world, another family, more than
 * KITH_SIM_NAT_DEPTH in a row, or `outside` is inside of `inside`.  EXISTS: `inside` has a way out.  ADDRESS_IN_USE. */
KITH_MUST_CHECK kith_err kith_sim_nat_new(kith_sim *sim, kith_sim_lan *inside, kith_sim_lan *outside, const char *addr,
                                          const kith_sim_nat_config *config, kith_sim_nat **out);
/* The host it is: for more outside addresses (kith_sim_attach), another one (kith_sim_change_addr: mappings of the old
 * one are gone), links and partitions.  It has no processes: kith_sim_env_new answers ARG. */
kith_sim_host *kith_sim_nat_host(const kith_sim_nat *nat);
void kith_sim_nat_configure(kith_sim_nat *nat, const kith_sim_nat_config *config); /* what is mapped stays so */
void kith_sim_nat_restart(kith_sim_nat *nat);                                      /* all mappings are gone */
size_t kith_sim_nat_mappings(kith_sim_nat *nat);                                   /* alive now */

/* ---- service discovery ---- */

/* Records take up to delay_ns (120 ms at first) and each of the repeated announcements is lost with this chance. */
void kith_sim_lan_set_discovery(kith_sim_lan *lan, uint64_t delay_ns, double loss);
/* A record nobody on that network announces, to all who browse there; it expires. */
KITH_MUST_CHECK kith_err kith_sim_lan_inject(kith_sim_lan *lan, const kith_lan_record *record);

/* ---- disks ---- */

typedef enum kith_sim_fail {
    KITH_SIM_FAIL_ONCE, /* the operation fails and does nothing */
    KITH_SIM_FAIL_ON,   /* so do all after it */
    KITH_SIM_FAIL_KILL, /* the process is killed in it, which has happened, or not, or in part */
} kith_sim_fail;

/* The n-th modifying file operation of the process from now (1 = the next; 0 = none any more) fails with `err`.
 * Modifying are: open with CREATE or TRUNCATE, write, truncate, reserve, sync, set_mode_time, rename, rename_new,
 * remove, make_folder, sync_folder. */
void kith_sim_fail_file_at(kith_env *env, uint64_t n, kith_err err, kith_sim_fail how);
uint64_t kith_sim_file_ops(const kith_env *env);                      /* modifying operations asked for so far */
void kith_sim_set_capacity(kith_sim_host *host, uint64_t size_bytes); /* NO_SPACE beyond; UINT64_MAX at first */
uint64_t kith_sim_disk_used(const kith_sim_host *host);               /* in blocks of 4 KiB, as capacity is */
/* From outside, past processes, permissions and capacity, durable at once.  `put` makes the folders above and replaces
 * what is there; `get` gives a copy to be freed with kith_free (never NULL, also when it is empty). */
KITH_MUST_CHECK kith_err kith_sim_put_file(kith_sim_host *host, const char *path, const void *data, size_t size,
                                           uint32_t mode);
KITH_MUST_CHECK kith_err kith_sim_get_file(kith_sim_host *host, const char *path, uint8_t **data, size_t *size);
KITH_MUST_CHECK kith_err kith_sim_put_folder(kith_sim_host *host, const char *path, uint32_t mode);
KITH_MUST_CHECK kith_err kith_sim_set_mode(kith_sim_host *host, const char *path, uint32_t mode);

#endif
