/* Byte streams, what their parts know of each other: what a process sees (sim_tcp.c), what the two ends of a connection
 * do to get its bytes across (sim_tcp_flow.c), and how one segment travels (sim_tcp_wire.c). */
#ifndef KITH_SIM_TCP_H
#define KITH_SIM_TCP_H

#include "sim/sim_internal.h"

/* ---- segments ---- */
typedef enum sim_segment_kind { SIM_SYN, SIM_SYN_ACK, SIM_DATA, SIM_ACK, SIM_RESET } sim_segment_kind;

typedef struct sim_head {
    sim_segment_kind kind;
    uint64_t id; /* of the connection, unique in the world, and */
    bool to_accepted, fin;
    kith_addr source, target;
    uint64_t offset; /* DATA: of the first byte.  ACK: of the next one expected; the end counts as a byte */
    uint64_t edge;   /* ACK: bytes before this one are welcome */
    size_t size;
} sim_head;

typedef struct sim_passage {
    uint64_t retry_ns;   /* in: how much later what is lost comes; */
    uint64_t not_before; /* in: when what was sent before arrives */
    uint64_t at_ns;      /* out: when it arrives; now, when it does not; */
    uint64_t clear_ns;   /* out: when it has left, at the rate of the slowest hop; */
    bool clean;          /* out: it was not made late by loss */
} sim_passage;

/* Send it on its way.  Its size (and with it `fin`) is first cut to what one segment carries there.  False: it will not
 * arrive. */
bool kith__sim_tcp_launch(kith_sim_host *host, sim_head *head, const uint8_t *data, sim_passage *passage);
void kith__sim_tcp_refuse(kith_sim_host *host, const sim_head *head); /* with a reset; never a reset itself */

/* ---- bytes in a row ---- */
typedef struct sim_bytes {
    uint8_t *data;
    size_t start, size, cap;
} sim_bytes;

bool kith__sim_bytes_reserve(sim_bytes *bytes, size_t more);               /* false when out of memory */
void kith__sim_bytes_put(sim_bytes *bytes, const void *data, size_t size); /* reserved before */
void kith__sim_bytes_drop(sim_bytes *bytes, size_t size);                  /* the first; empty, it takes no memory */

/* ---- connections ---- */
struct kith_listener {
    kith_link link, host_link;
    sim_process *process;
    kith_addr local;
    bool any;
    void (*accepted)(void *user, kith_tcp *tcp);
    void *user;
};

typedef enum sim_tcp_state { SIM_CONNECTING, SIM_ANSWERING, SIM_OPEN, SIM_GONE } sim_tcp_state;

/* One end.  It is its owner's until closed, and the host's until it is over (GONE); then it is freed. */
struct kith_tcp {
    kith_link link, host_link;
    sim_process *process;
    uint64_t id;
    bool is_accepted; /* else it connected */
    sim_tcp_state state;
    kith_addr local, remote;
    /* towards the owner */
    kith_listener *listener; /* not handed over yet */
    kith_tcp_events events;
    void *user;
    bool held, attached, tell_connected, stalled, want_writable, told;
    kith_err why;         /* GONE */
    uint64_t writable_ns; /* not before then */
    sim_event tell;
    /* towards the other end: offsets of bytes */
    sim_bytes out;                      /* from `acked` to `end` */
    uint64_t acked, next, high, end;    /* next to be sent; sent at most */
    uint64_t edge;                      /* the other end takes what is before */
    bool shut;                          /* nothing comes after `end` */
    bool stuck;                         /* what was sent last will not arrive: wait */
    bool probing, probed;               /* the window is closed; asked, and no answer yet */
    uint64_t clear_ns, last_ns;         /* the last segment has left; arrives */
    uint64_t due_ns, silent_ns;         /* all has arrived; since when something is unanswered */
    uint64_t rtt_ns, sample_ns, sample; /* `sample` was sent at sample_ns; 0: none is taken */
    unsigned backoff;
    sim_event pump, retry;
    /* from the other end */
    sim_bytes in; /* not read yet, up to `in_next` */
    uint64_t in_next, in_edge;
    bool in_fin;
};

/* A new end on this host; NULL when out of memory. */
kith_tcp *kith__sim_tcp_new(sim_process *process, const kith_addr *local, const kith_addr *remote);
void kith__sim_tcp_delete(kith_tcp *tcp);
kith_tcp *kith__sim_tcp_find(kith_sim_host *host, uint64_t id, bool accepted); /* or NULL */
void kith__sim_tcp_begin(kith_tcp *tcp);                                       /* to connect or to answer */
void kith__sim_tcp_over(kith_tcp *tcp, kith_err why);                          /* frees it when nobody holds it */
void kith__sim_tcp_abort(kith_tcp *tcp); /* the same, and the other end hears it */
void kith__sim_tcp_shut(kith_tcp *tcp);  /* nobody reads or writes any more; may free it when not held */
void kith__sim_tcp_push(kith_tcp *tcp);  /* send what there is, soon */
void kith__sim_tcp_was_read(kith_tcp *tcp, size_t size);
void kith__sim_tcp_arrived(kith_tcp *tcp, const sim_head *head, const uint8_t *data); /* may free it */
void kith__sim_tcp_stray(kith_sim_host *host, const sim_head *head);                  /* for no connection here */
uint64_t kith__sim_tcp_unsent(const kith_tcp *tcp);

kith_listener *kith__sim_listener_at(const kith_sim_host *host, const kith_addr *addr); /* or NULL */
/* There may be something to tell the owner: at this time, or soon. */
void kith__sim_tcp_tell_at(kith_tcp *tcp, uint64_t at_ns);
void kith__sim_tcp_tell(kith_tcp *tcp);
void kith__sim_tcp_tell_run(kith_sim *sim, sim_event *event);

#endif
