/* Pairing, inside: the operation (pair.c: a host that shows a code, a joiner that looks for hosts) has attempts
 * (pair_run.c), each a stream with service/pair's state machine at its end. */
#ifndef KITH_OP_PAIR_H
#define KITH_OP_PAIR_H

#include "node/book.h"
#include "node/dial.h"
#include "node/session.h"
#include "service/pairing.h"

#define JOIN_HOSTS_MAX 32 /* that show the tag and are connected to */

typedef struct pair_op pair_op;

/* One attempt, on one stream. */
typedef struct pair_run {
    kith_link link;
    pair_op *op;
    channel *channel; /* NULL once it is over */
    session_hold hold;
    kith_pairing *machine;
    kith_addr source, remote; /* as attempts are counted; where it is */
    kith_hello peer;
    bool counted; /* host: kith_code_begin said yes and kith_code_end was not called */
    bool proven, done;
    bool refused; /* the joiner has own devices, and the host is none of them */
    bool joined;  /* the other's network is to be entered (kith__own_join) */
    bool pinning; /* the job is out: the run stays, and what happens meanwhile waits */
    kith_timer *timer;
    uint64_t linger_until, entered_until;
    pin_job pin;
} pair_run;

struct pair_op {
    op op;
    bool host, yes, over, replace;
    kith_pairing_kind kind;
    kith_words words;
    kith_code code; /* host */
    kith_timer *timer;
    uint64_t warn_ns;
    kith_list runs;
    dial *dial;                                           /* joiner */
    uint8_t tried[JOIN_HOSTS_MAX][KITH_FINGERPRINT_SIZE]; /* joiner: hosts, in the order of connecting */
    size_t tried_count;
    kith_err tried_err; /* how it went with the last of them */
    char tried_message[640];
    kith_err end_err;
    char end_message[640];
};

/* ---- pair.c ---- */
/* Over: attempts end, and so does the operation once their jobs are done.  `message` NULL: the error's own. */
void kith__pair_finish(pair_op *p, kith_err err, const char *message);
void kith__pair_try_end(pair_op *p); /* over, and the last attempt is gone: the operation is freed */
/* The joiner's attempt failed with one who need not be who shows the code: on to the next one with the same tag. */
void kith__pair_try_next(pair_op *p, kith_err err, const char *message);
bool kith__pair_somebody_proven(const pair_op *p); /* an attempt's peer knew the code */

/* ---- pair_run.c ---- */
extern const channel_events kith__pair_run_events;
pair_run *kith__pair_run_new(pair_op *p, session *s); /* NULL: no memory; its channel is the caller's to give */
void kith__pair_run_step(pair_run *r);                /* everything that is due; it may be gone on return */
void kith__pair_run_complete(pair_run *r);            /* both have stored it: that is said, and the operation is over */
void kith__pair_run_stop(pair_run *r, kith_err why);  /* told why if it is not done; gone, unless its job is out */
void kith__pair_run_free(pair_run *r);

#endif
