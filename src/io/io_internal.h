/* What the parts of the real env share.  Nothing outside src/io and its tests includes this. */
#ifndef KITH_IO_IO_INTERNAL_H
#define KITH_IO_IO_INTERNAL_H

#include "base/list.h"
#include "io/io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define KITH_IO_WORKERS 2 /* disks want a little parallelism, the memory budget little of anything */

/* Deadlines in a heap over one timerfd: libuv's own timers count milliseconds, QUIC's pacing needs less. */
typedef struct kith_io_timers {
    kith_timer **heap; /* room for every open timer, so that setting one cannot fail */
    size_t count, room, open;
    kith_list due;       /* expired in this turn of the loop, callback still to come */
    uint64_t next_order; /* equal deadlines fire in the order they were set */
    uint64_t armed_ns;   /* what the timerfd waits for; 0 = it has fired, UINT64_MAX = nothing */
    int fd;
    uv_poll_t poll;
    uv_prepare_t prepare;
} kith_io_timers;

typedef struct kith_io_posts {
    pthread_mutex_t lock;
    kith_list ready;
    size_t count; /* in `ready` */
} kith_io_posts;

typedef struct kith_io_queue { /* of jobs, first in first out, through reserved[0] */
    kith_job *first, *last;
} kith_io_queue;

typedef struct kith_io_work {
    pthread_mutex_t lock;
    pthread_cond_t more;
    kith_io_queue waiting, finished;
    bool quit;
    pthread_t threads[KITH_IO_WORKERS];
    size_t thread_count;
    size_t jobs; /* accepted, `done` not yet called; the loop's */
} kith_io_work;

struct kith_io {
    kith_env env;
    uv_loop_t loop;
    uv_async_t wake; /* another thread has something: a post, a finished job, stop */
    bool loop_made;
    atomic_bool stop;
    size_t objects;
    uint8_t boot_id[16];
    kith_io_timers timers;
    kith_io_posts posts;
    kith_io_work work;
    kith_list lingering; /* streams that were closed with bytes under way */
    size_t lingering_count;
    kith_list ws_unsent;   /* WebSockets with messages for the end of this turn */
    struct kith_io_rx *rx; /* all sockets' receive buffers: what they hold is borrowed for one callback only */
};

static inline kith_io *kith_io_of(kith_env *env) { return KITH_OF(env, kith_io, env); }

extern const kith_env_base kith_io_base;
extern const kith_env_timers kith_io_timer_table;
extern const kith_env_post kith_io_post_table;
extern const kith_env_udp kith_io_udp_table;
extern const kith_env_tcp kith_io_tcp_table;
extern const kith_env_ws kith_io_ws_table;
extern const kith_env_net kith_io_net_table;
extern const kith_env_file kith_io_file_table;
extern const kith_env_work kith_io_work_table;

/* The error for an errno of a file operation; also for those of making a loop. */
kith_err kith_io_file_error(int error);

typedef struct kith_io_socket {
    int fd;
    bool v6; /* its family; IPv4 addresses are v4-mapped on it */
    kith_addr local;
} kith_io_socket;
/* A non-blocking socket of this type (SOCK_DGRAM, SOCK_STREAM), bound as env->udp->open says; 0 or an errno. */
int kith_io_bind(int type, const kith_addr *at, kith_io_socket *out);
kith_err kith_io_open_error(int error);                            /* the error for an errno of that */
void kith_io_set_option(int fd, int level, int option, int value); /* which need not work */
int kith_io_take_socket_error(int fd);                             /* the errno kept for the socket, or 0; clears it */
kith_addr kith_io_socket_local(int fd);                            /* KITH_FAMILY_NONE when there is none */

void kith_io_read_boot_id(uint8_t out[16]);
kith_err kith_io_timers_init(kith_io *io);
void kith_io_timers_done(kith_io *io); /* after the loop has closed its handles */
kith_err kith_io_work_init(kith_io *io);
void kith_io_work_done(kith_io *io);     /* joins the workers; nothing may be waiting any more */
void kith_io_tcp_done(kith_io *io);      /* let go of what lingers; the loop has a turn to come */
void kith_io_ws_flush_all(kith_io *io);  /* before the timers are looked at and the loop sleeps; calls no user */
void kith_io_posts_deliver(kith_io *io); /* call those that were posted */
void kith_io_work_deliver(kith_io *io);  /* call `done` of the finished jobs */

/* For tests: the socket, and whether runs still go out as one (the kernel has not refused). */
int kith_io_udp_fd(const kith_udp *udp);
bool kith_io_udp_uses_gso(const kith_udp *udp);
int kith_io_tcp_fd(const kith_tcp *tcp);
kith_addr kith_io_listener_local(const kith_listener *listener); /* with the port picked */

#endif
