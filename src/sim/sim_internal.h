/* What the parts of the simulator know of each other. */
#ifndef KITH_SIM_INTERNAL_H
#define KITH_SIM_INTERNAL_H

#include "base/list.h"
#include "sim/sim.h"

#include <string.h>

/* ---- chance: xoshiro256** (Blackman and Vigna 2018) started by splitmix64 ---- */
typedef struct sim_rng {
    uint64_t s[4];
} sim_rng;

void kith__sim_rng_init(sim_rng *rng, uint64_t seed, uint64_t stream);
uint64_t kith__sim_rng_next(sim_rng *rng);
uint64_t kith__sim_rng_below(sim_rng *rng, uint64_t bound); /* in [0, bound); 0 for 0 */
bool kith__sim_rng_chance(sim_rng *rng, double chance);     /* draws nothing for 0 or less */

/* ---- events, ordered by time and then by the order in which they were scheduled ---- */
typedef struct sim_event sim_event;
struct sim_event {
    uint64_t at_ns, seq;
    size_t slot; /* in the heap, + 1; 0 = not scheduled */
    void (*run)(kith_sim *sim, sim_event *event);
};

/* Make room for one more event that may be scheduled at the same time, so that scheduling itself cannot fail.  Each is
 * given back with kith__sim_event_done. */
kith_err kith__sim_event_init(kith_sim *sim, sim_event *event, void (*run)(kith_sim *, sim_event *));
void kith__sim_event_at(kith_sim *sim, sim_event *event, uint64_t at_ns); /* in place of what was set */
void kith__sim_event_cancel(kith_sim *sim, sim_event *event);
void kith__sim_event_done(kith_sim *sim, sim_event *event); /* cancels; zeroed events are fine */
sim_event *kith__sim_event_first(kith_sim *sim);            /* or NULL */

struct kith_sim {
    uint64_t seed, now_ns, next_seq, next_inode;
    sim_event **heap;
    size_t heap_count, heap_cap, heap_promised;
    uint64_t at_this_instant; /* events run since time moved */
    uint64_t trace;
    FILE *trace_file;
    sim_rng rng;
    uint64_t timer_lateness_ns, work_delay_ns;
    kith_list hosts, networks, flights, routes;
    uint32_t host_count, network_count;
    struct sim_pair *pairs; /* by key */
    size_t pair_count, pair_cap;
    kith_lan **browsers; /* ascending ids */
    size_t browser_count, browser_cap;
    uint64_t next_browser;
    kith_list messages; /* of discovery, under way */
    kith_list segments; /* of byte streams, under way */
    uint64_t next_tcp;
    kith_list names; /* of hosts */
    kith_tcp *asked; /* whose owner is being asked for room; NULL when it was closed in that */
    uint8_t *rx;     /* where runs are joined */
};

/* Fold one happening into the trace.  `host` may be NULL. */
void kith__sim_note(kith_sim *sim, const char *kind, const kith_sim_host *host, uint64_t size, const void *data,
                    size_t data_size);

/* ---- disks ---- */
typedef struct sim_inode sim_inode;
typedef struct sim_disk {
    kith_sim_host *host;
    kith_list inodes, operations;
    sim_inode *root;
    uint64_t capacity, used;
    sim_rng rng;
} sim_disk;

kith_err kith__sim_disk_init(sim_disk *disk, kith_sim_host *host);
void kith__sim_disk_power_fail(sim_disk *disk);
void kith__sim_disk_done(sim_disk *disk);

/* ---- hosts ---- */
typedef struct sim_iface {
    kith_link link; /* in the host */
    kith_sim_host *host;
    kith_sim_lan *lan;
    uint32_t index;
    char name[16];
    struct sim_pipe {
        uint64_t free_ns, last_ns; /* when the wire is free; the last arrival */
    } pipe;
    kith_addr addrs[8];
    size_t addr_count;
} sim_iface;

struct kith_sim_host {
    kith_link link;
    kith_sim *sim;
    uint32_t id;
    char name[32];
    uint8_t boot_id[16];
    sim_rng rng;
    int64_t skew_ms;
    kith_list processes, ifaces, sockets, watches, listeners, tcps;
    uint32_t process_count, next_iface;
    bool down;         /* the plug was pulled, and no process was started since */
    kith_sim_nat *nat; /* whose host it is, or NULL */
    double send_again;
    sim_disk disk;
};

/* ---- processes ---- */
typedef struct sim_process {
    kith_env env; /* first: a kith_env * is a sim_process * */
    kith_link link;
    kith_sim_host *host;
    kith_sim *sim;
    uint32_t number;
    bool dead;
    sim_rng rng;
    kith_list timers, sockets, listeners, tcps, websockets, ws_servers, watches, browsers, files, posts;
    kith_job *jobs; /* by the time they are due, chained by reserved[0] */
    sim_event work;
    uint64_t file_ops, fail_at;
    kith_err fail_err;
    kith_sim_fail fail_how;
} sim_process;

static inline sim_process *sim_process_of(kith_env *env) { return (sim_process *)(void *)env; }

extern const kith_env_udp kith__sim_udp;
extern const kith_env_tcp kith__sim_tcp;
extern const kith_env_ws kith__sim_ws;
extern const kith_env_net kith__sim_net;
extern const kith_env_lan kith__sim_lan;
extern const kith_env_file kith__sim_file;

/* Each silences the part's handles of a process that dies, and frees what is left of them when the world ends. */
void kith__sim_udp_kill(sim_process *process);
void kith__sim_udp_free(sim_process *process);
void kith__sim_tcp_kill(sim_process *process);
void kith__sim_tcp_free(sim_process *process);
void kith__sim_ws_free(sim_process *process); /* its TCP and timers are silenced and freed as such */
void kith__sim_ws_server_free(kith_link *link);
void kith__sim_names_done(kith_sim *sim);
/* A name's addresses, or an address's own, with this port; how many. */
size_t kith__sim_name_find(kith_sim *sim, const char *host, uint16_t port, kith_addr *out, size_t cap);
kith_err kith__sim_resolve(kith_env *env, const char *host, uint16_t port, kith_resolved_fn *done, void *user,
                           kith_lookup **out);
void kith__sim_cancel(kith_lookup *lookup);
void kith__sim_watches_kill(sim_process *process);
void kith__sim_watches_free(sim_process *process);
void kith__sim_lan_kill(sim_process *process);
void kith__sim_lan_free(sim_process *process);
void kith__sim_file_kill(sim_process *process);
void kith__sim_file_free(sim_process *process);
void kith__sim_process_kill(sim_process *process);
void kith__sim_process_free(sim_process *process);

/* ---- networks ---- */
typedef struct sim_lan_addr {
    kith_addr addr;
    sim_iface *iface;
} sim_lan_addr;

typedef struct sim_prefix { /* a /24 or /64 that has been in use: who is not there is silence, not an error */
    uint8_t family, ip[8];
} sim_prefix;

struct kith_sim_lan {
    kith_link link;
    kith_sim *sim;
    uint32_t id;
    char name[32];
    kith_sim_link way;
    uint64_t discovery_delay_ns;
    double discovery_loss;
    sim_lan_addr *addrs; /* by address */
    size_t addr_count, addr_cap;
    sim_prefix *prefixes;
    size_t prefix_count;
    kith_sim_nat *gateway; /* the NAT this is inside of, or NULL */
};

typedef struct sim_pair { /* exceptions from one host to another */
    uint64_t key;         /* from's id << 32 | to's */
    bool cut, cut_udp, cut_tcp, has_link;
    kith_sim_link way;
    struct sim_pipe pipe;
} sim_pair;

sim_pair *kith__sim_pair_find(kith_sim *sim, const kith_sim_host *from, const kith_sim_host *to); /* or NULL */
typedef enum sim_kind { SIM_ANYTHING, SIM_UDP, SIM_TCP } sim_kind;
bool kith__sim_is_cut(kith_sim *sim, const kith_sim_host *a, const kith_sim_host *b, sim_kind kind);
sim_iface *kith__sim_lan_find(const kith_sim_lan *lan, const kith_addr *addr); /* who has it there, or NULL */
sim_iface *kith__sim_iface_on(const kith_sim_host *host, const kith_sim_lan *lan);
bool kith__sim_host_has(const kith_sim_host *host, const kith_addr *addr);
sim_iface *kith__sim_iface_new(kith_sim_host *host, kith_sim_lan *lan); /* without an address; NULL: out of memory */

/* Where a datagram goes from here, and over what. */
typedef struct sim_way {
    sim_iface *from, *to; /* both NULL: inside the host.  Only `to` NULL: nowhere, silently */
    struct sim_hop {
        const kith_sim_link *link;
        struct sim_pipe *pipe;
    } hops[3];
    size_t hop_count;
    size_t mtu; /* the interface's */
} sim_way;

/* UNREACHABLE when there is no way.  `source` may be NONE or any; then the first fitting interface's address is put
 * there. */
kith_err kith__sim_way(kith_sim_host *host, kith_addr *source, const kith_addr *target, sim_way *out);
bool kith__sim_way_by(sim_iface *iface, const kith_addr *target, sim_way *out); /* out of this interface; false: none */
void kith__sim_networks_done(kith_sim *sim);
void kith__sim_flights_done(kith_sim *sim);
void kith__sim_segments_done(kith_sim *sim);
void kith__sim_host_tcp_done(kith_sim_host *host); /* connections end without a word: power failure, end of the world */
void kith__sim_host_net_done(kith_sim_host *host);

/* ---- NATs ---- */
typedef enum sim_verdict { SIM_FORWARD, SIM_DROP, SIM_REFUSE } sim_verdict;

typedef struct sim_crossing { /* what came to a NAT, and as what it goes on */
    const kith_sim_lan *by;   /* where it came from */
    bool tcp;
    bool first, last;         /* of a connection's segments (SYN; FIN, RESET) */
    kith_addr source, target; /* in and out */
    sim_way way;              /* out: of FORWARD */
} sim_crossing;

sim_verdict kith__sim_nat_cross(kith_sim_nat *nat, sim_crossing *crossing);
bool kith__sim_nat_between(const kith_sim_lan *a,
                           const kith_sim_lan *b); /* one is inside, at any depth, of the other */
void kith__sim_nat_free(kith_sim_nat *nat);        /* not its host; NULL is fine */
void kith__sim_host_free(kith_sim_host *host);

/* Discovery hears that a host's addresses, or who can hear whom, changed. */
void kith__sim_lan_moved(kith_sim_host *host);
void kith__sim_lan_done(kith_sim *sim);
void kith__sim_net_changed(kith_sim_host *host); /* and so do those who watch */

#endif
