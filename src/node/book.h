/* What the home's address book says, for the loop: pinning happens on a worker (it waits for the disk), looking up
 * reads the small file again when it has changed, so that what another process of this home does (forget, pair) counts
 * here at once. */
#ifndef KITH_NODE_BOOK_H
#define KITH_NODE_BOOK_H

#include "node/core.h"

/* Read the home: who we are (core->signer, core->self) and whom we know.  A missing or damaged file is an error with a
 * sentence. */
KITH_MUST_CHECK kith_err kith__book_open(kith_core *core, kith_problem *problem);
void kith__book_close(kith_core *core); /* writes what was seen */

typedef struct pin_job {
    kith_job job;
    kith_core *core;
    bool first_use;                /* take it as it is seen first, never in the place of what is known */
    kith_peer peer;                /* done: as it is in the book now, with its local name */
    bool already;                  /* done: it was there before, just so */
    kith_err err;                  /* done: OK, KEY_CHANGED, ID_CHANGED, LIMIT, or what the disk did */
    bool stored;                   /* done: it is in the book on disk */
    char known_as[KITH_NAME_TEXT]; /* done with KEY_CHANGED, ID_CHANGED: what that other one is called here */
    char message[640];             /* what the disk said, for people */
    bool admit;                    /* as an own device, into the trust graph */
    kith_graph_entry self;
    void (*done)(struct pin_job *job);
} pin_job;

/* Pin a device that people have confirmed; `admit`: it becomes a member of this device's network, too (REVOKED: it was
 * one, or this device is none any more); `job` is the caller's until `done` was called on the loop. */
void kith__book_pin(kith_core *core, pin_job *job, const kith_hello *hello, kith_peer_kind kind, bool admit,
                    void (*done)(pin_job *job));
/* The same for one that is seen here at first: a contact, not verified.  One that is known stays what it is. */
void kith__book_pin_first(kith_core *core, pin_job *job, const kith_peer *peer, void (*done)(pin_job *job));

#endif
