/* A connection with messages between two applications, one end of it, as a state machine: no network, no clock.  It
 * lives through any number of streams (lost sessions); docs/protocol.md has the bytes.
 *
 *   opener                                             acceptor
 *   OPEN {id, topic, received, taken, again}       ->
 *                                                  <-  ACCEPT {received, taken}, or ENDED {why} and the end
 *   MESSAGE bytes ...   CONFIRM {taken}   FINISH   <->  the same, both ways, as they come
 *   end of stream when it has nothing to say any more
 *                                                  <-  end of stream when both have all
 *
 * Messages are numbered from 0 in each direction, and FINISH takes the number after the last.  `received`: so many are
 * whole at the receiver and never come again; `taken`: so many its application has.  What is not taken stays with the
 * sender.  It puts at most KITH_TALK_WINDOW on the way beyond what was taken (a message costs its size and
 * KITH_TALK_COST), so a receiver reads its stream always and holds no more than that: one whose application does not
 * take its messages stops only this connection, not the session beneath it.
 *
 * Who hears FINISH finishes too, after what was queued; so an orderly end loses nothing of either side.  The acceptor
 * is over once both FINISHes are taken and leaves word of it (its owner keeps the id); the opener is over when the
 * acceptor ends its stream after that, and asks again over another stream when it was lost before. */
#ifndef KITH_SERVICE_TALK_H
#define KITH_SERVICE_TALK_H

#include "base/buf.h"
#include "base/list.h"

#include <kith/error.h>

#define KITH_TALK_ID_SIZE     16
#define KITH_TALK_TOPIC_MAX   63         /* bytes, at least 1 */
#define KITH_TALK_MESSAGE_MAX (1u << 20) /* bytes */
#define KITH_TALK_COST        64u
#define KITH_TALK_WINDOW      (2 * (KITH_TALK_MESSAGE_MAX + KITH_TALK_COST))
#define KITH_TALK_CONTROL_MAX 256 /* bytes of any other message's body */
#define KITH_TALK_HEAD_MAX    5   /* a type, and the length as a varint */

typedef struct kith_talk_message {
    kith_link link;
    size_t size;
    uint8_t data[];
} kith_talk_message;

/* A copy of the data (NULL: room for `size` bytes); NULL when out of memory.  Release with kith_free. */
kith_talk_message *kith_talk_message_new(const void *data, size_t size);

/* ---- the first message of a stream, before it is known which connection it goes on with ---- */
typedef struct kith_talk_open {
    uint8_t id[KITH_TALK_ID_SIZE];
    char topic[KITH_TALK_TOPIC_MAX + 1];
    uint64_t received, taken;
    bool again; /* it was accepted before: who does not know the id must not begin another */
} kith_talk_open;

typedef struct kith_talk_inbox { /* of messages other than MESSAGE; zeroed: empty */
    uint8_t bytes[KITH_TALK_HEAD_MAX + KITH_TALK_CONTROL_MAX];
    size_t size;
} kith_talk_inbox;

/* Bytes of the stream from its start; *taken says how many were used.  OK: it is whole; AGAIN: more are needed;
 * PROTOCOL. */
KITH_MUST_CHECK kith_err kith_talk_open_read(kith_talk_inbox *inbox, const void *data, size_t size, size_t *taken,
                                             kith_talk_open *out);
/* The answer to an OPEN of a connection that is over (OK: in order, CANCELLED: by us, CLOSED: not known here any more),
 * after which the stream ends.  Its size; at most KITH_TALK_CONTROL_MAX. */
size_t kith_talk_ended_write(kith_err why, uint8_t *out, size_t cap);
/* 1 to KITH_TALK_TOPIC_MAX bytes of UTF-8 without control characters. */
bool kith_talk_topic_good(const char *topic);

/* ---- one end ---- */
typedef struct kith_talk kith_talk;

typedef enum kith_talk_event {
    KITH_TALK_NOTHING,
    KITH_TALK_ACCEPTED,  /* opener: the acceptor answered: together, at first or again */
    KITH_TALK_MESSAGE,   /* take it with kith_talk_take */
    KITH_TALK_CONFIRMED, /* the peer took more: kith_talk_confirmed says how much */
    KITH_TALK_FINISHED,  /* the peer finished: so do we; kith_talk_send is STATE from here on */
    KITH_TALK_OVER,      /* all is taken on both sides; or kith_talk_error says why not */
} kith_talk_event;

KITH_MUST_CHECK kith_err kith_talk_new(bool opener, const uint8_t id[static KITH_TALK_ID_SIZE], const char *topic,
                                       kith_talk **out);
void kith_talk_free(kith_talk *talk); /* NULL is fine */
/* A new stream.  Opener: OPEN is due, `open` is NULL; acceptor: this OPEN came over it, ACCEPT is due.  What was under
 * way over the one before goes again.  PROTOCOL (and it is over): the peer counts what cannot be. */
KITH_MUST_CHECK kith_err kith_talk_begin(kith_talk *talk, const kith_talk_open *open);
void kith_talk_apart(kith_talk *talk); /* the stream is lost; another may begin */
/* What the stream brought, all of it; fin: and its end. */
void kith_talk_input(kith_talk *talk, const void *data, size_t size, bool fin);
/* The next bytes to write to the stream: a view, valid until the next call of anything here; *fin: then end it.  False:
 * nothing now.  The owner may stop between two calls and go on later. */
bool kith_talk_output(kith_talk *talk, const uint8_t **data, size_t *size, bool *fin);
kith_talk_event kith_talk_event_take(kith_talk *talk);
/* The message is the talk's from here on, to be freed with it or when it is taken; STATE: finished or over, it remains
 * the caller's. */
KITH_MUST_CHECK kith_err kith_talk_send(kith_talk *talk, kith_talk_message *message);
void kith_talk_finish(kith_talk *talk);             /* nothing more of ours; harmless when done before */
kith_talk_message *kith_talk_take(kith_talk *talk); /* the caller's from here on; NULL: none is whole */
/* The application has this many more of those kith_talk_take gave, `bytes` large together. */
void kith_talk_taken(kith_talk *talk, uint64_t messages, size_t bytes);
size_t kith_talk_confirmed(kith_talk *talk);         /* what the peer took since the last call, as it costs */
size_t kith_talk_undelivered(const kith_talk *talk); /* what of ours the peer has not taken */
/* All that is left to hear is that the peer heard the end: who waits for it in vain lost nothing. */
bool kith_talk_settled(const kith_talk *talk);
bool kith_talk_is_over(const kith_talk *talk);
kith_err kith_talk_error(const kith_talk *talk); /* OK unless it is over badly: PROTOCOL, NOMEM, what ENDED said */
const char *kith_talk_topic(const kith_talk *talk);
const uint8_t *kith_talk_id(const kith_talk *talk);

#endif
