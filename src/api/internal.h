/* What the files behind kith.h's node share: calls.c (calls in), open.c (beginning and end), daemon.c (being one,
 * and asking one), config.c (settings), events.c (events out), talk.c (connections).  On a thread of its
 * own there is the real env with a desk and its core, or with a line to the desk of a daemon; calls go in through one
 * queue, as requests to either, events come out through another; one lock is for both, and for what any thread may ask
 * about connections. */
#ifndef KITH_API_INTERNAL_H
#define KITH_API_INTERNAL_H

#include "api/desk.h"
#include "api/door.h"
#include "api/line.h"
#include "base/list.h"
#include "io/io.h"
#include "op/op.h"

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

#define COMMAND_TEXTS_MAX (3 + KITH_DOCTOR_STUN_MAX)

/* One call on its way to the loop.  `texts` are the copies that the request points to. */
typedef struct command {
    struct command *next;
    kith_daemon_request request;
    kith_talk_message *message;
    char *texts[COMMAND_TEXTS_MAX];
    size_t text_count;
    queued_event *end; /* for the operation's END, until the command is issued */
    bool closing;      /* no request: the node ends; in the node itself, not to be freed */
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
    desk *desk; /* NULL: attached */
    kith_core *core;
    desk_client *self;
    door *door;                /* NULL: no daemon */
    line *line;                /* NULL: not attached */
    kith_daemon_hello *daemon; /* attached: what it said of itself */
    int64_t since_ms;
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

/* ---- calls.c ---- */
/* A request; one that begins an operation has its number and memory for its END.  NULL: no memory. */
command *kith__command_new(kith_node *node, kith_daemon_kind kind);
/* Copy a string for the request's member (NULL stays NULL); false when out of memory. */
bool kith__command_keep(command *c, const char **member, const char *text);
/* Hand it over; the command is the queue's from here on.  NOMEM when it is NULL or not complete; ARG: no node, or no
 * `op` for the number of what begins. */
KITH_MUST_CHECK kith_err kith__command_issue(kith_node *node, command *c, bool complete, kith_op *op);
/* The caller's options into ours, which may know more members or fewer: what it did not say is zero, what we do not
 * know must be. */
bool kith__options_take(void *out, size_t out_size, const void *in);
/* On the loop: ask the desk, or the daemon's.  The message is theirs. */
void kith__api_ask(kith_node *node, const kith_daemon_request *r, kith_talk_message *message);
void kith__commands_free(kith_node *node);
void kith__commands_run(void *node); /* on the loop */

/* ---- config.c ---- */
/* What the home's config.json says in place of what an application left out; zeroed at first. */
typedef struct api_settings {
    kith_config config;
    const char *relays[KITH_OPTIONS_RELAYS_MAX];
    char *relay_memory, *token;
    bool listen_is_wish; /* its address: where it is taken another port will do */
} api_settings;
/* Fill in the options, which borrow from *out: release with kith__settings_done, also after an error, when they are
 * not needed any more.  The home's errors. */
KITH_MUST_CHECK kith_err kith__settings_take(kith_node *node, kith_options *options, api_settings *out,
                                             kith_problem *problem);
void kith__settings_done(api_settings *settings);

/* ---- open.c ---- */
void kith__api_close(kith_node *node); /* on the loop */

/* ---- daemon.c ---- */
extern const desk_host kith__api_host;

/* ---- events.c ---- */
void kith__api_event(void *user, const kith_event *event); /* the core's emit */
queued_event *kith__queued_new(void);                      /* with room for an event; NULL: no memory */
void kith__queued_free(queued_event *q);
void kith__queue(kith_node *node, queued_event *q);          /* the lock is held */
void kith__queue_drop_datagram(kith_node *node, kith_op op); /* the oldest of it; the lock is held */
void kith__events_free(kith_node *node);

/* ---- talk.c ---- */
extern const kith_core_talk kith__api_talk;
view *kith__view_find(kith_node *node, kith_op op);  /* the lock is held; NULL: none */
void kith__view_remove(kith_node *node, kith_op op); /* the lock is held; harmless when there is none */
void kith__views_free(kith_node *node);
void kith__views_tell_taken(kith_node *node);                /* on the loop */
void kith__views_datagram_sent(kith_node *node, kith_op op); /* on the loop: it has one fewer to send */

#endif
