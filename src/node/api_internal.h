/* What the files behind kith.h's node share: api.c (calls in, beginning and end), api_events.c (events out), api_talk.c
 * (connections).  A core on the real env in a thread of its own; calls go in through one queue, events come out through
 * another; one lock is for both, and for what any thread may ask about connections. */
#ifndef KITH_NODE_API_INTERNAL_H
#define KITH_NODE_API_INTERNAL_H

#include "base/list.h"
#include "io/io.h"
#include "node/node.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct queued_event {
    struct queued_event *next;
    kith_talk_message *message; /* a MESSAGE or DATAGRAM: `event` is not there; else NULL */
    bool datagram;
    kith_op op;
    pthread_t reader; /* the message was given to this thread */
    kith_event event[];
} queued_event;

/* One call on its way to the loop.  `text` are copies of its strings. */
typedef struct command {
    struct command *next;
    void (*run)(kith_node *node, struct command *c);
    kith_op op;
    bool yes;
    uint32_t count;
    kith_pair_options pair;
    kith_send_options send;
    kith_receive_options receive;
    kith_conflict conflict;
    kith_connect_options connect;
    kith_serve_options serve;
    kith_doctor_options doctor;
    kith_talk_message *message;
    char *text[KITH_DOCTOR_STUN_MAX];
    queued_event *end; /* for the operation's END, until the command is issued */
    bool embedded;     /* in the node itself: not to be freed */
} command;

/* A connection as any thread sees it: from kith_connect or INCOMING until its END is queued. */
typedef struct view {
    kith_link link;
    kith_op op;
    kith_remote_device_info info;
    bool known;     /* info is filled in */
    bool finishing; /* no message is taken any more */
    size_t undelivered;
    queued_event *writable;             /* to be queued when half of that was taken; NULL: nobody waits for it */
    size_t datagrams_out, datagrams_in; /* waiting: for the loop, for the application */
    uint64_t taken; /* messages the application has, and their bytes, that the core was not told of */
    size_t taken_bytes;
} view;

struct kith_node {
    kith_io *io;
    kith_env *env;
    kith_home *home;
    kith_core *core;
    uint8_t *seed;
    void *post;
    pthread_t thread;
    bool running;
    atomic_uint_least64_t last_op;

    pthread_mutex_t lock; /* of the rest */
    command *commands, **commands_end;
    queued_event *events, *last_event;
    queued_event *reserve; /* one for each operation under way: its END must not depend on memory being left */
    queued_event *given;   /* messages applications look at */
    size_t event_count;    /* without those that connections bring */
    kith_list views;
    bool taken;  /* some view has it, and the loop was asked to look */
    int wake[2]; /* a pipe: a byte is in it while there are events */
    kith_addr local;
    char *relays[KITH_OPTIONS_RELAYS_MAX], *relay_token, *relay_ca_file;
    command closing; /* ending must not depend on memory being left */
};

/* ---- api.c ---- */
command *kith__command_new(kith_node *node, void (*run)(kith_node *, command *));
command *kith__command_starting(kith_node *node, void (*run)(kith_node *, command *)); /* an operation */
/* Copy a string into the command (NULL stays NULL); false when out of memory. */
bool kith__command_keep(command *c, size_t place, const char *text);
/* Hand it over; the command is the queue's from here on.  NOMEM when it is NULL or not complete. */
KITH_MUST_CHECK kith_err kith__command_issue(kith_node *node, command *c, bool complete, kith_op *op);
/* The caller's options into ours, which may know more members or fewer: what it did not say is zero, what we do not
 * know must be. */
bool kith__options_take(void *out, size_t out_size, const void *in);

/* ---- api_events.c ---- */
void kith__api_event(void *user, const kith_event *event); /* the core's emit */
queued_event *kith__queued_new(void);                      /* with room for an event; NULL: no memory */
void kith__queued_free(queued_event *q);
void kith__queue(kith_node *node, queued_event *q);          /* the lock is held */
void kith__queue_drop_datagram(kith_node *node, kith_op op); /* the oldest of it; the lock is held */
void kith__events_free(kith_node *node);

/* ---- api_talk.c ---- */
extern const kith_core_talk kith__api_talk;
view *kith__view_find(kith_node *node, kith_op op);  /* the lock is held; NULL: none */
void kith__view_remove(kith_node *node, kith_op op); /* the lock is held; harmless when there is none */
void kith__views_free(kith_node *node);
void kith__views_tell_taken(kith_node *node); /* on the loop */

#endif
