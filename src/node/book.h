/* The home's address book, for the loop: who is known, from trust.cbor and graph.cbor.  Looking somebody up reads the
 * files again when they have changed, and while somebody is connected they are watched, so that what another process of
 * this home does (forget, pair, revoke, permit) counts here.  Pinning happens on a worker: it waits for the disk. */
#ifndef KITH_NODE_BOOK_H
#define KITH_NODE_BOOK_H

#include "node/core.h"

/* Read the home: who we are (core->signer, core->self) and whom we know.  A missing or damaged file is an error with a
 * sentence. */
KITH_MUST_CHECK kith_err kith__book_open(kith_core *core, kith_problem *problem);
void kith__book_close(kith_core *core); /* writes what was seen and is not written yet */

/* How often the files are looked at while somebody known is connected; nobody: never.  They are read, too, whenever
 * somebody is looked up.  What follows from a change is done from the loop then: the trust graph goes to one's own
 * devices (own.h), sessions with who is known no more end, and so do streams of what is denied. */
#define BOOK_WATCH_NS SECOND_NS
void kith__book_watch(kith_core *core); /* somebody known is connected: watch them while that is so */

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
/* What a device that was pinned at first sight is called until it says more of itself. */
void kith__book_placeholder(const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], char out[static KITH_NAME_SIZE]);
/* It has proved who it is: what it says of itself takes the placeholder's place, once. */
void kith__book_learn(kith_core *core, const kith_peer *peer, const kith_hello *hello);

#endif
