/* Receiving files: while the operation runs (receive.c: who may send, what is asked, when it ends) trusted devices'
 * file streams are served; each becomes a transfer (transfer.c: one file on its way from a stream to the disk). */
#ifndef KITH_OP_RECEIVE_H
#define KITH_OP_RECEIVE_H

#include "node/session.h"
#include "op/chunks.h"
#include "service/file.h"
#include "store/incoming.h"

#define TRANSFER_SLOTS       4  /* of a transfer: a chunk arriving, others being checked and written */
#define BUFFERS_MAX          12 /* chunks in memory (1 MiB each), of all transfers */
#define TRANSFERS_MAX        64
#define TRANSFERS_DEVICE_MAX 8  /* from one device: fewer than BUFFERS_MAX, so none can take them all */
#define TRANSFERS_ASKING_MAX 48 /* that wait for a person: others may send meanwhile */
#define RECEIVERS_MAX        16

typedef struct receive_op receive_op;
typedef struct transfer transfer;

typedef struct transfer_slot {
    kith_job job;
    transfer *transfer;
    bool busy;
    uint8_t *data; /* KITH_GROUP_SIZE; while busy */
    kith_file_chunk chunk;
    kith_err err;
} transfer_slot;

typedef enum transfer_stage {
    OFFERING, /* the offer is still arriving */
    ASKING,   /* a person is asked */
    WAITING,  /* for an older transfer of the same file to let go */
    OPENING,
    RECEIVING,
    PLACING,   /* whole: being given its name */
    LINGERING, /* our last message is not acknowledged yet */
    ENDING,    /* waits for its jobs, then closes */
    MOVED,     /* closed; the sender goes on over another stream, which is to come */
} transfer_stage;

struct transfer {
    kith_link link;
    receive_op *op;
    kith_op id;
    transfer_stage stage;
    channel *channel;
    session_hold hold;
    kith_device_info device;
    kith_standing standing;
    kith_access verdict; /* when the stream came */
    bool verdict_said;
    kith_file_rx *rx;
    /* Chosen for this one; NULL: the receive's folder, the sender's name. */
    char *folder; /* as it stands in a path, with its "/"; "": the one the process works in */
    char *name;
    kith_incoming_config config;
    kith_incoming_place place;
    kith_incoming_result result;
    kith_incoming *incoming;
    kith_file_resume resume;
    kith_job job; /* open, place, close: one at a time */
    kith_err job_err;
    transfer_slot slots[TRANSFER_SLOTS];
    size_t jobs;
    bool hungry;    /* a chunk waits for a buffer */
    bool useless;   /* what arrived is of a content that is no more */
    bool continues; /* what the application knows as this transfer began over another stream, which is over */
    bool moving;    /* its sender ended the stream to go on over another */
    bool replaced;  /* that has come: nothing is said of this one's end */
    atomic_bool cancel;
    kith_timer *timer;
    uint64_t started_ns, last_progress_ns, last_trust_ns, linger_until;
    char path[8], scope[16], address[KITH_ADDR_TEXT_SIZE];
};

struct receive_op {
    op op;
    receive_op *older; /* takes what this one does not; NULL: there is none */
    char *folder;      /* NULL: none */
    uint8_t from[KITH_UUID_SIZE];
    bool has_from, yes, ask, once, over;
    kith_incoming_conflict conflict;
    kith_list transfers; /* all of them; `count` */
    size_t count;
    chunk_pool chunks; /* of all transfers; none while there are no transfers */
    uint64_t last_id;
    kith_err end_err;
};

/* ---- transfer.c ---- */
/* A transfer of the file that comes on this channel, which is the transfer's from here on unless this fails: NOMEM. */
KITH_MUST_CHECK kith_err kith__transfer_new(receive_op *r, kith_op id, channel *c);
/* Without a word to anybody; no job of it may be out. */
void kith__transfer_free(transfer *t);
/* The members of an event that say which transfer, of what, from whom and over which way. */
void kith__transfer_describe(const transfer *t, kith_event *event);
/* The offer is taken: find or make its files and let it come.  There must be a folder. */
void kith__transfer_begin(transfer *t);
/* The same, into this place. */
void kith__transfer_begin_at(transfer *t, const char *path, kith_incoming_conflict conflict);
/* The sender goes on with `before` on this one's stream: the application knows both as one. */
void kith__transfer_continue(transfer *t, transfer *before);
/* It is not taken.  The sender is told `said`, the application `why` with this message (NULL: the error's own). */
void kith__transfer_refuse(transfer *t, kith_err said, kith_err why, const char *message);
/* Accepted and not complete: may another stream go on with it? */
bool kith__transfer_can_continue(const transfer *t);
/* End it, not by the sender: he is told `said` (CLOSED: he may try again; DECLINED).  One about to be complete goes
 * on. */
void kith__transfer_stop(transfer *t, kith_err said);

/* ---- receive.c ---- */
void kith__receive_offered(transfer *t);   /* the offer is whole, and its name no attack: what is to become of it? */
void kith__receive_ended(receive_op *r);   /* a transfer ended, well or not */
void kith__receive_try_end(receive_op *r); /* a transfer is gone */

#endif
