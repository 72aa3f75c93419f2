/* The world, as a node sees it: one table of small tables.  `io` makes the real one (libuv, sockets, Avahi, disk
 * workers), `sim` a virtual one (seeded, replayable).  Nothing above reads a clock, draws randomness, or touches
 * network or disk in another way.
 *
 * Threads: every function is called on the loop's thread, except `file` functions, which block and are called from jobs
 * (any worker) or, at start, from the loop's thread.  Callbacks come on the loop's thread, from the loop, never from
 * inside a call into this table.  After a close/stop/free function returned, its object's callbacks do not come any
 * more. */
#ifndef KITH_ENV_ENV_H
#define KITH_ENV_ENV_H

#include "base/packet.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct kith_env kith_env;

/* ---- clock and randomness ---- */
typedef struct kith_env_base {
    uint64_t (*now_ns)(kith_env *env);                     /* monotonic, from an arbitrary start that is never 0 */
    int64_t (*wall_ms)(kith_env *env);                     /* since 1970, UTC; may jump */
    void (*random)(kith_env *env, void *out, size_t size); /* from the system: for seeding a kith_rng */
    void (*boot_id)(
        kith_env *env,
        uint8_t out[16]); /* changes when the machine restarts: what is only in the page cache is lost then */
} kith_env_base;

/* ---- timers ---- */
typedef struct kith_timer kith_timer;
typedef void kith_timer_fn(void *user);
typedef struct kith_env_timers {
    kith_timer *(*open)(kith_env *env, kith_timer_fn *fn, void *user); /* NULL when out of memory; not set yet */
    void (*set)(
        kith_timer *timer,
        uint64_t at_ns); /* once, at or soon after; replaces what was set; UINT64_MAX = unset; a past time = at once */
    void (*close)(kith_timer *timer); /* NULL is fine */
} kith_env_timers;

/* ---- datagrams ---- */
typedef struct kith_udp kith_udp;
typedef struct kith_udp_events {
    /* Runs within KITH_PACKET_RUN_MAX and _SEGMENTS, never empty (empty and larger datagrams are dropped); bytes are
     * borrowed for the call. */
    void (*received)(void *user, const kith_packet *packets, size_t count);
    void (*writable)(void *user); /* after send said AGAIN; may also come when it did not */
} kith_udp_events;
typedef struct kith_env_udp {
    /* Bind.  An any-address of either family binds both families where the system can (one dual-stack socket); port 0
     * picks one. ADDRESS_IN_USE, PERMISSION, NETWORK (this family is not there), NOMEM. */
    kith_err (*open)(kith_env *env, const kith_addr *bind, const kith_udp_events *events, void *user, kith_udp **out);
    kith_addr (*local)(const kith_udp *udp); /* with the port picked */
    /* Send one run.  AGAIN: nothing was sent, `writable` will come, and until then AGAIN is the answer.  UNREACHABLE:
     * no route to there now, the source wanted is not an address of ours (any more), or not this socket's family (the
     * packet counts as lost). LIMIT: a datagram is larger than the route's MTU (counts as lost; path MTU discovery
     * relies on it).  ARG: not a run, or no remote address and port.  Other errors are final. */
    kith_err (*send)(kith_udp *udp, const kith_packet *packet);
    void (*close)(kith_udp *udp); /* NULL is fine */
} kith_env_udp;

/* ---- byte streams (TCP) ---- */
#define KITH_TCP_UNSENT_MAX (128u << 10) /* bytes a connection queues that were never sent (TCP_NOTSENT_LOWAT) */
#define KITH_TCP_SILENCE_MS 30000u       /* unacknowledged for so long: LOST (RFC 5482) */
typedef struct kith_tcp kith_tcp;
typedef struct kith_listener kith_listener;
typedef struct kith_tcp_events {
    void (*connected)(void *user); /* of connect: bytes can be sent from now on */
    /* Where the next bytes go, and how many at most: the user's memory, until the next call of it or `received`.  NULL
     * or no size: none are wanted now; they stay with the system until `resume`. */
    uint8_t *(*room)(void *user, size_t *size);
    void (*received)(void *user, size_t size); /* so many were put there, from the start of the room */
    void (*writable)(void *user);              /* after a send that took less than it was given */
    /* It is over: CLOSED (the peer ended it), UNREACHABLE (connect: nobody there, or no way), LOST (silence, or what is
     * between gave up).  Bytes that came before were received.  Nothing else comes; `close` is due. */
    void (*ended)(void *user, kith_err why);
} kith_tcp_events;
typedef struct kith_env_tcp {
    /* Accept connections at this address, which is as for udp->open.  ADDRESS_IN_USE, PERMISSION, NETWORK, NOMEM,
     * LIMIT. In `accepted` the connection is given events (`attach`) or closed.  Where the process has no descriptors
     * left, accepting goes on when there are some again; who waits meanwhile may be refused by the system. */
    kith_err (*listen)(kith_env *env, const kith_addr *bind, void (*accepted)(void *user, kith_tcp *tcp), void *user,
                       kith_listener **out);
    void (*unlisten)(kith_listener *listener); /* those accepted go on; NULL is fine */
    void (*attach)(kith_tcp *tcp, const kith_tcp_events *events, void *user);
    /* Begin to connect; `connected` or `ended` follows.  UNREACHABLE at once where there is no way, NOMEM, LIMIT. */
    kith_err (*connect)(kith_env *env, const kith_addr *remote, const kith_tcp_events *events, void *user,
                        kith_tcp **out);
    /* Send these bytes, in order; *sent says how many were taken: not all, when KITH_TCP_UNSENT_MAX is reached, and
     * none before `connected`; then `writable` will come.  CLOSED: it has ended, and `ended` came or will. */
    kith_err (*send)(kith_tcp *tcp, const struct iovec *pieces, size_t count, size_t *sent);
    void (*resume)(kith_tcp *tcp); /* ask for `room` again */
    kith_addr (*local)(const kith_tcp *tcp);
    kith_addr (*remote)(const kith_tcp *tcp);
    /* What was sent is still delivered, where the peer reads it.  NULL is fine. */
    void (*close)(kith_tcp *tcp);
} kith_env_tcp;

/* ---- WebSockets (RFC 6455), as a client ---- */
#define KITH_WS_MESSAGE_MAX (68u << 10)         /* bytes of one message, either way */
#define KITH_WS_QUEUE_MAX   (256u << 10)        /* bytes of messages that wait to be sent */
#define KITH_WS_CONNECT_MS  15000u              /* from `connect` to `connected`, unless the options say otherwise */
#define KITH_WS_CLOSE_NS    UINT64_C(300000000) /* so long what is queued at `close` may take */
typedef struct kith_ws kith_ws;
typedef struct kith_ws_options {
    const char *url;         /* base/url.h */
    const char *subprotocol; /* that the server has to agree to; NULL: none */
    const char *ca_file;     /* PEM: authorities trusted besides the system's; NULL: none */
    uint32_t timeout_ms;     /* 0: KITH_WS_CONNECT_MS */
} kith_ws_options;
/* What is wrong with a server's certificate. */
typedef enum kith_ws_certificate {
    KITH_WS_CERTIFICATE_GOOD,
    KITH_WS_CERTIFICATE_UNTRUSTED, /* not signed by who is trusted here */
    KITH_WS_CERTIFICATE_EXPIRED,
    KITH_WS_CERTIFICATE_EARLY, /* not valid yet */
    KITH_WS_CERTIFICATE_NAME   /* another name's */
} kith_ws_certificate;
/* How it ended.
 * UNREACHABLE: no such name, no way, nobody there (or the proxy says so).   CERTIFICATE: it is not signed by who is
 * trusted here, is out of date, or is another name's; `status` is a kith_ws_certificate.   DECLINED: an HTTP answer
 * that is not a WebSocket of this subprotocol; `status` is HTTP's.   NETWORK: the proxy declined.   TIMEOUT: not
 * connected in time.   CLOSED: the peer ended it; `status` is its close code (RFC 6455 section 7.4), 0 without one.
 * LOST: silence, or what is between gave up.   PROTOCOL: the peer broke the rules, with a message larger than
 * KITH_WS_MESSAGE_MAX among others.   NOMEM. */
typedef struct kith_ws_events {
    void (*connected)(void *user);
    void (*message)(void *user, uint8_t *data, size_t size); /* whole, binary, maybe empty; borrowed for the call */
    void (*writable)(void *user);                            /* after send said AGAIN: half of the queue is free */
    void (*ended)(void *user, kith_err why, unsigned status);
} kith_ws_events;
typedef struct kith_env_ws {
    /* Begin to connect; `connected` or `ended` follows.  The host's addresses are tried one after another.  With the
     * environment's https_proxy (wss), http_proxy (ws) or all_proxy, unless no_proxy names the host, a tunnel through
     * that HTTP proxy is asked for, and names are its to look up.  ARG: the URL; FORMAT: the proxy's, or the file of
     * authorities cannot be read; NOMEM; LIMIT. */
    kith_err (*connect)(kith_env *env, const kith_ws_options *options, const kith_ws_events *events, void *user,
                        kith_ws **out);
    /* Send one message; the bytes are copied.  AGAIN: the queue is full, nothing was taken, `writable` will come; an
     * empty queue takes any message.  LIMIT: larger than KITH_WS_MESSAGE_MAX.  STATE: not connected yet.  CLOSED: it
     * has ended, and `ended` came or will.  NOMEM. */
    kith_err (*send)(kith_ws *ws, const void *data, size_t size);
    size_t (*queued)(const kith_ws *ws);    /* bytes that wait to be sent */
    void (*pause)(kith_ws *ws);             /* no `message` until `resume`: what comes stays with the system */
    void (*resume)(kith_ws *ws);            /* `ended` by the peer waits, too, while messages do */
    kith_addr (*remote)(const kith_ws *ws); /* once connected; NONE before, and through a proxy */
    /* What is queued is still sent, for KITH_WS_CLOSE_NS, and then a close with code 1000.  NULL is fine. */
    void (*close)(kith_ws *ws);
    /* The proxy that `connect` would go through, "HOST:PORT" without user and password; "": none.  ARG: the URL;
     * FORMAT: the environment names one that cannot be understood.  A table may leave it NULL: there are none. */
    kith_err (*proxy)(kith_env *env, const char *url, char *out, size_t size);
} kith_env_ws;

/* ---- interfaces ---- */
typedef struct kith_interface_addr {
    uint32_t index; /* of the interface */
    char name[16];
    kith_addr addr; /* port 0 */
} kith_interface_addr;
typedef struct kith_watch kith_watch;
#define KITH_RESOLVED_MAX 8
typedef struct kith_lookup kith_lookup;
typedef void kith_resolved_fn(void *user, const kith_addr *addrs, size_t count); /* at most KITH_RESOLVED_MAX */
typedef struct kith_env_net {
    /* Addresses of interfaces that are up, loopback excluded unless there is nothing else; at most cap; returns how
     * many there are. */
    size_t (*addresses)(kith_env *env, kith_interface_addr *out, size_t cap);
    /* Call `changed` (debounced, 200 ms) when addresses or links come and go. */
    kith_err (*watch)(kith_env *env, void (*changed)(void *user), void *user, kith_watch **out);
    void (*unwatch)(kith_watch *watch); /* NULL is fine */
    /* A name's addresses, or an address's own, with this port; `done` comes once, and the look-up is over.  No
     * addresses: no such name, or nobody could be asked.  NOMEM; LIMIT: too many at once. */
    kith_err (*resolve)(kith_env *env, const char *host, uint16_t port, kith_resolved_fn *done, void *user,
                        kith_lookup **out);
    void (*cancel)(kith_lookup *lookup); /* of one that is not over; NULL is fine */
} kith_env_net;

/* ---- the local network's service discovery (DNS-SD over mDNS: RFC 6762, 6763) ---- */
#define KITH_LAN_INSTANCE_SIZE 64  /* 63 bytes and a NUL */
#define KITH_LAN_TXT_MAX       512 /* bytes of a TXT record's strings, each with its length byte */
#define KITH_LAN_ADDRS_MAX     16
typedef struct kith_lan_record { /* what is announced, and what is seen */
    char instance[KITH_LAN_INSTANCE_SIZE];
    uint16_t port;
    uint8_t txt[KITH_LAN_TXT_MAX]; /* RFC 6763 section 6: length byte, "key=value", ... */
    size_t txt_size;
    kith_addr addrs[KITH_LAN_ADDRS_MAX]; /* seen: with the port set; announced: ignored (the interfaces' own) */
    size_t addr_count;
} kith_lan_record;
typedef struct kith_lan kith_lan;
typedef struct kith_lan_events {
    void (*seen)(void *user, const kith_lan_record *record); /* new or changed; may include our own */
    void (*gone)(void *user, const char *instance);          /* goodbye or expiry */
} kith_lan_events;
typedef struct kith_env_lan {
    /* Browse for `_spacedrive._tcp`, and if `record` is not NULL announce it.  Returns at once; NETWORK when mDNS
     * cannot be used. */
    kith_err (*start)(kith_env *env, const kith_lan_record *record, const kith_lan_events *events, void *user,
                      kith_lan **out);
    kith_err (*update)(kith_lan *lan,
                       const kith_lan_record *record); /* replace what is announced; NULL: announce nothing */
    void (*stop)(kith_lan *lan);                       /* says goodbye; NULL is fine */
    /* When there are more instances than can be followed (a flood), those whose names begin with one of these come
     * first: what the devices known here are called.  Replaces what was said before.  A table may leave it NULL. */
    void (*want)(kith_lan *lan, const char *const *prefixes, size_t count);
} kith_env_lan;

/* ---- files (blocking) ---- */
typedef struct kith_file kith_file;
enum {
    KITH_FILE_READ = 1,
    KITH_FILE_WRITE = 2,
    KITH_FILE_CREATE = 4, /* if missing */
    KITH_FILE_EXCLUSIVE =
        8, /* with CREATE: EXISTS if it is there; never follows a symbolic link in the last component */
    KITH_FILE_NOFOLLOW = 16, /* a symbolic link in the last component is NOT_REGULAR */
    KITH_FILE_TRUNCATE = 32,
    /* A hint: writes whose offset, size and memory are multiples of KITH_FILE_BLOCK may go past the page cache.  For
     * what is too large to stay there anyway: it costs neither the copy nor the wait for the sync, and drives out
     * nothing. */
    KITH_FILE_DIRECT = 64,
};
#define KITH_FILE_BLOCK 4096
typedef enum kith_file_kind { KITH_FILE_REGULAR, KITH_FILE_FOLDER, KITH_FILE_LINK, KITH_FILE_OTHER } kith_file_kind;
typedef struct kith_file_info {
    kith_file_kind kind;
    uint32_t mode;  /* permission bits */
    uint32_t owner; /* uid */
    uint64_t size, device, inode;
    int64_t modified_ns, changed_ns; /* mtime, ctime */
} kith_file_info;
typedef struct kith_env_file {
    /* NO_FILE, PERMISSION, EXISTS, NO_SPACE, NOT_REGULAR (a folder), IO, NOMEM, LIMIT (descriptors), ARG (flags that do
     * not go together, a name too long) ...  `mode` for a created one, less the umask.  Opening never blocks on a FIFO
     * and never waits; a FIFO or device may open: `info` tells. */
    kith_err (*open)(kith_env *env, const char *path, unsigned flags, uint32_t mode, kith_file **out);
    /* Up to `size` bytes at `offset`; *got < size only at the end of the file. */
    kith_err (*read)(kith_file *file, uint64_t offset, void *out, size_t size, size_t *got);
    kith_err (*write)(kith_file *file, uint64_t offset, const void *data, size_t size); /* all of it, or an error */
    kith_err (*info)(kith_file *file, kith_file_info *out);
    kith_err (*truncate)(kith_file *file, uint64_t size);
    kith_err (*reserve)(
        kith_file *file,
        uint64_t size); /* disk space for this many bytes; the size stays; KITH_OK where not supported */
    kith_err (*flush_begin)(kith_file *file, uint64_t offset, uint64_t size); /* start writing these back; a hint */
    kith_err (*sync)(kith_file *file);                                        /* data and metadata are durable */
    /* An exclusive advisory lock for the handle's life; AGAIN when another holds it and !wait. */
    kith_err (*lock)(kith_file *file, bool wait);
    void (*close)(kith_file *file); /* NULL is fine */
    kith_err (*stat)(kith_env *env, const char *path, bool follow, kith_file_info *out);
    kith_err (*rename)(kith_env *env, const char *from, const char *to); /* replaces `to` */
    kith_err (*rename_new)(kith_env *env, const char *from,
                           const char *to);              /* EXISTS if `to` is there (RENAME_NOREPLACE) */
    kith_err (*remove)(kith_env *env, const char *path); /* a file, a link, an empty folder (else EXISTS) */
    kith_err (*make_folder)(kith_env *env, const char *path, uint32_t mode); /* one level; EXISTS */
    kith_err (*sync_folder)(kith_env *env, const char *path); /* creations, renames and removals in it are durable */
    /* Names in a folder, without "." and "..", in no order. */
    kith_err (*list)(kith_env *env, const char *path, void (*each)(void *user, const char *name), void *user);
    /* Permission bits, less the umask as at creation, and the modification time.  NULL where it cannot be done. */
    kith_err (*set_mode_time)(kith_file *file, uint32_t mode, int64_t modified_ns);
} kith_env_file;

/* ---- workers ---- */
typedef struct kith_job {
    void (*run)(struct kith_job *job); /* on a worker: may block; touches only what the job owns */
    void (*done)(
        struct kith_job *job); /* on the loop; exactly once for each accepted job, also when the env is closing */
    void *reserved[4];         /* the env's */
} kith_job;
typedef struct kith_env_work {
    void (*submit)(
        kith_env *env,
        kith_job *job); /* never fails: the job's memory is the caller's; jobs may run side by side, in any order */
} kith_env_work;

/* ---- calls from other threads ---- */
typedef struct kith_env_post {
    /* Have `fn` called on the loop soon; the only function here that any thread may call.  Calls may be merged: one
     * `fn` call can answer several posts.  `fn` is the one given at open. */
    void *(*open)(kith_env *env, void (*fn)(void *user), void *user); /* NULL when out of memory */
    void (*post)(void *handle);
    void (*close)(void *handle); /* on the loop; no post is under way or comes later; NULL is fine */
} kith_env_post;

struct kith_env {
    const kith_env_base *base;
    const kith_env_timers *timers;
    const kith_env_udp *udp;
    const kith_env_tcp *tcp;
    const kith_env_ws *ws;
    const kith_env_net *net;
    const kith_env_lan *lan;
    const kith_env_file *file;
    const kith_env_work *work;
    const kith_env_post *post;
};

#endif
