/* Inside the node: what its modules share.
 *
 *   core     operations, jobs, beginning and end                                core.c
 *   carrier  sockets <-> QUIC endpoints: one for datagrams, one a TCP connection carrier.{h,c}
 *   session  one connection with one device: hello, then streams to services    session.{h,c}
 *   book     who is known: the home's files, looked up, watched and added to    book.{h,c}
 *   own      one's own devices: the trust graph and its exchange                own.{h,c}
 *   greeting the control streams: hello for hello, and what is said after it    greeting.{h,c}
 *   roam     which way a session's packets go, and networks that come and go    roam.{h,c}
 *   beside   a session over TCP beside one over datagrams, where that is better beside.{h,c}
 *   dial     finding a device's addresses and racing them                       dial.{h,c}
 *   relay    connections to relays, and sessions over them as addresses         relay.h relay*.c
 *   lan      announcing ourselves, and who is seen                              lan.{h,c}
 *   rescue   other nodes of a device whose session falls silent                 rescue.{h,c}
 *
 * What the application asked for (src/op) is above, and heard through core_hooks.
 *
 * Nothing here is called from another thread, and every entry from the loop ends with core_pump. */
#ifndef KITH_NODE_CORE_H
#define KITH_NODE_CORE_H

#include "base/bucket.h"
#include "base/list.h"
#include "crypto/rng.h"
#include "discovery/sightings.h"
#include "identity/permit.h"
#include "identity/trust.h"
#include "node/node.h"
#include "quic/quic.h"
#include "service/control.h"
#include "service/hello.h"

#define OPS_MAX        256 /* under way at once */
#define SECOND_NS      UINT64_C(1000000000)
#define NEVER          UINT64_MAX
#define LINGER_NS      (4 * SECOND_NS) /* of an operation that is done: for its last message to be acknowledged */
#define LINGER_STEP_NS (SECOND_NS / 50)

typedef struct op op;
struct channel;

/* What the node below the operations has to ask or tell them (op/op.c). */
typedef struct core_hooks {
    /* Take an incoming stream (its service's number is read already), or say why not: NOT_ALLOWED (not served now),
     * AGAIN (too many), NOMEM. */
    kith_err (*serve_pair)(struct channel *c);
    kith_err (*serve_ping)(struct channel *c);
    kith_err (*serve_file)(struct channel *c);
    kith_err (*serve_talk)(struct channel *c);
    bool (*pairing)(const kith_core *core, uint32_t *tag); /* the tag of the pairing code that is open, if one is */
    void (*lan_changed)(kith_core *core);                  /* who is on the local network */
    void (*twin)(kith_core *core);                         /* another machine announces this device's identity */
    void (*revoked)(kith_core *core);                      /* this device is no member any more, by its own graph */
    void (*forget)(kith_core *core);                       /* the core goes */
} core_hooks;

/* What kinds of operations differ in. */
typedef struct op_kind {
    const char *name;
    bool needs_keys;                                   /* it talks to other devices */
    void (*cancel)(op *o, kith_err why);               /* end it: op_end follows, now or when its jobs are done */
    void (*free)(op *o);                               /* without a word, whatever is under way: the core goes */
    bool (*answer)(op *o, kith_op question, bool yes); /* false: not its question; NULL: asks none */
    bool (*cancel_part)(op *o, kith_op part);          /* false: not its part; NULL: has none */
} op_kind;

struct op { /* first member of each kind's own structure */
    kith_link link;
    kith_core *core;
    kith_op id;
    const op_kind *kind;
};

struct kith_core {
    kith_env *env;
    const core_hooks *hooks;
    kith_core_config config;
    kith_home *home;
    kith_rng rng;
    kith_signer signer;
    kith_hello self;

    kith_list carriers;
    struct carrier *datagrams; /* one of them; NULL: this node only looks around */
    kith_listener *listener;   /* of TCP; NULL: none */
    bool offline;              /* the sockets are closed */
    bool pumping, again;

    kith_list sessions, ops, dials;
    uint64_t last_session;       /* number given out */
    const struct session *about; /* whose events are being dealt with: log lines say so */
    struct lan *lan;
    struct relays *relays; /* NULL: none are used */
    kith_bucket probes;    /* of roam.c, */
    kith_bucket besides;   /* and of beside.c */
    kith_watch *watch;     /* of the system's addresses; NULL: none */
    kith_candidates ours;  /* what peers are told: */
    bool ours_known;       /* until the system or a relay says something else */
    struct book *book;
    struct own *own;             /* the trust graph; NULL: this node only looks around */
    struct receive_op *receiver; /* who takes files, the newest of them; NULL: nobody */
    struct pair_op *host;        /* whose pairing code is open; one at a time */
    struct doctor_op *doctor;    /* one at a time */
    size_t serving;              /* topics on which connections are taken */
    struct talk_ends *talk_ends; /* connections that others began and that are over; NULL: none */

    size_t jobs; /* submitted and not done */
    bool closing;
    kith_timer *closing_timer;
    uint64_t closing_until; /* the step under way has until then; 0: none is */
    bool goodbyes;
    void (*closed)(void *user);
    void *closed_user;
};

/* ---- core.c ---- */
/* As kith_core_new (op/op.h); `hooks` is borrowed for the core's life. */
KITH_MUST_CHECK kith_err kith__core_new(const kith_core_config *config, const core_hooks *hooks, kith_core **out,
                                        kith_problem *problem);
uint64_t kith__core_now(const kith_core *core);
/* Deal with what is due: QUIC's events to their sessions, packets to the socket, the timer.  Harmless when already
 * under way. */
void kith__core_pump(kith_core *core);
/* A line for the log: "trace=<this node's instance> device=<whose session> conn=<its number> text". */
void kith__core_log(kith_core *core, kith_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void kith__core_emit(kith_core *core, const kith_event *event);
/* Run a job on a worker, counted, so that closing waits for it. */
void kith__core_submit(kith_core *core, kith_job *job);
void kith__core_job_done(kith_core *core); /* due in each `done`, once nothing of the job is used any more */
/* Link a new operation in; false (and its END event says why) when there are too many or the core is closing. */
bool kith__core_begin(kith_core *core, op *o, kith_op id, const op_kind *kind);
/* The operation's END event; unlinks it.  `message` NULL: the error's own sentence. */
void kith__op_end(op *o, kith_err err, const char *message);
/* END for an operation that could not even begin. */
void kith__core_refuse(kith_core *core, kith_op id, kith_err err, const char *message);

/* What the home says of a device: reads trust.cbor again if it changed.  False: not known. */
bool kith__core_find_peer(kith_core *core, const uint8_t fingerprint[static 32], kith_peer *out);
bool kith__core_peer_at(kith_core *core, size_t index, kith_peer *out); /* in the order they were added */
bool kith__core_find_peer_id(kith_core *core, const char *device_id, kith_peer *out, kith_err *why);
/* END for an operation with a device that was not found by its id: `err` is why. */
void kith__core_refuse_device(kith_core *core, kith_op id, kith_err err, const char *device_id);
/* It was there (written when the core is freed), and is reached at this address (NULL: not known where). */
void kith__core_seen(kith_core *core, const kith_peer *peer, const kith_addr *addr);
size_t kith__core_seen_addresses(kith_core *core, const kith_peer *peer, kith_addr *out,
                                 size_t cap); /* the latest first */
void kith__core_describe(const kith_peer *peer, kith_device_info *out);
void kith__core_describe_hello(const kith_hello *hello, kith_device_info *out);

#endif
