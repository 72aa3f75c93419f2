/* One's own devices, inside: own.c has the graph and what is done with it, own_link.c the streams over which own
 * devices exchange it, own_refused.c what those hear that are revoked. */
#ifndef KITH_NODE_OWN_INTERNAL_H
#define KITH_NODE_OWN_INTERNAL_H

#include "node/own.h"

#include "identity/graph_derive.h"
#include "service/trust_message.h"

typedef struct own_job own_job;

struct own {
    kith_core *core;
    kith_graph *graph;
    kith_verdict verdict;
    kith_list links;
    bool changed;                           /* and what follows is not done yet (kith__own_changed) */
    kith_list pending;                      /* records that came and are not in the home yet */
    size_t pending_bytes;                   /* of these and of the job's, with what each takes beside */
    own_job *job;                           /* the one under way; NULL: none */
    bool tend;                              /* this device has something to say of itself */
    bool failed;                            /* the last job: it is done again (kith__own_retry) */
    kith_problem entering;                  /* why the network that was to be entered last is not stored; OK: it is */
    struct own_link *appeal;                /* a device that is revoked here is being heard; NULL: none is */
    uint64_t appeals_ns;                    /* none before this */
    uint8_t unheard[KITH_FINGERPRINT_SIZE]; /* whose appeal came to nothing last */
    char told[KITH_REVOCATION_TEXT_SIZE];   /* that this device is revoked; "": not told so, or since then otherwise */
    bool revoked;                           /* the graph says so */
    bool ended;                             /* the recovery code's paper is no good any more, and that was said */
};

typedef enum own_phase {
    OWN_LINK_MEMBER,  /* each says what it has */
    OWN_LINK_APPEALS, /* it is revoked here, and shows what it has (own.h) */
    OWN_LINK_TOLD     /* and is told why: of what we have it gets `verdict` and its past */
} own_phase;

/* A stream with one own device, or one that was. */
typedef struct own_link {
    kith_link link;
    struct own *own;
    channel *channel;
    uint8_t *inbox; /* a message that is not whole yet: KITH_TRUST_OUTPUT_MAX */
    size_t inbox_size;
    bool wants;                                              /* it has records that we could not take */
    size_t asked;                                            /* records we had when our heads were said last */
    bool heard;                                              /* its heads, of this network */
    uint8_t heads[KITH_TRUST_HEADS_MAX][KITH_GRAPH_ID_SIZE]; /* records it has, the latest last */
    size_t head_count;
    own_phase phase;
    uint8_t verdict[KITH_GRAPH_ID_SIZE]; /* the record that revokes it */
    bool foreign;                        /* its heads were of another network, which is */
    uint8_t network[KITH_GRAPH_ID_SIZE];
    bool joining, replace;
    kith_graph *other;  /* the network that is being joined, or what is shown, as far as it has come */
    uint64_t appeal_ns; /* when its appeal began */
    size_t shown;       /* bytes that came of it since the timer was set */
} own_link;

typedef struct own_record { /* that came */
    kith_link link;
    own_link *from; /* NULL: gone */
    size_t size;
    uint8_t bytes[];
} own_record;

struct own_job {
    kith_job job;
    struct own *own;
    kith_list records;
    kith_graph *adopt; /* become this network's, or (merge) take what it has */
    bool merge;
    own_link *joining; /* for it; NULL: gone */
    kith_rng rng;
    size_t missing; /* records whose parents are not here */
    kith_err err;
    char message[640];
};

/* ---- own.c ---- */
/* Store what came, and `adopt` (NULL: nothing; taken) in this network's place; `joining`: which link that is for (NULL:
 * none).  When one is under way, what came waits for its end and `adopt` is dropped: it is asked for again. */
void kith__own_start_job(struct own *own, kith_graph *adopt, own_link *joining);

/* ---- own_link.c ---- */
/* Which records are the newest here; `none`: that none are, so that all of `network` is sent. */
void kith__own_say_heads(own_link *l, const uint8_t *network, bool none);
/* Again for what was dropped, or came before what it needs: when there is more here than the last time, else the same
 * would come, for ever where the graph is full. */
void kith__own_ask_again(own_link *l);
void kith__own_say_records(own_link *l);                           /* that the other device lacks, as far as we know */
void kith__own_link_has(own_link *l, const uint8_t *id);           /* it has this record, too */
void kith__own_link_entered(own_link *l, const kith_graph *graph); /* its network is ours now; NULL: it could not be */
own_link *kith__own_link_of(const session *s);                     /* NULL: none */
own_link *kith__own_link_open(session *s);                         /* the peer's heads come over it; NULL: NOMEM */
void kith__own_link_free(own_link *l);

/* ---- own_refused.c ---- */
/* A new stream with a device that is revoked here: it appeals, or is told why. */
void kith__own_meet_refused(own_link *l);
void kith__own_hear_appeal(own_link *l, kith_trust_message *m); /* records */
/* It came to its end, and when it is `restored` the records are stored.  Is the device a member? */
bool kith__own_end_appeal(own_link *l, bool restored);
void kith__own_drop_appeal(own_link *l); /* the stream is gone; when there is none it is fine */
/* All that `from` has and there is room for.  NOMEM. */
KITH_MUST_CHECK kith_err kith__own_merge(kith_graph *graph, const kith_graph *from);

#endif
