/* Connections with messages between applications (service/talk.h), in the node: talk.c keeps one alive over whatever
 * sessions there are, serve.c takes those that others begin.
 *
 * Lost is a connection whose session is: the opener looks for the device again, the acceptor waits for it. */
#ifndef KITH_OP_TALK_H
#define KITH_OP_TALK_H

#include "node/session.h"
#include "service/talk.h"

#define TALK_PATIENCE_S    30               /* for the first connection, unless told otherwise */
#define TALK_PAUSE_NS      (SECOND_NS / 4)  /* before a lost device is looked for, doubling with each loss in a row */
#define TALK_PAUSE_MAX_NS  (30 * SECOND_NS) /* ... up to this; a quarter more or less, by chance */
#define TALK_STEADY_NS     (10 * SECOND_NS) /* a loss after this is the first in a row */
#define TALK_SILENT_NS     (8 * SECOND_NS)  /* bytes unacknowledged and nothing heard: the session is gone */
#define TALK_UNANSWERED_NS (3 * SECOND_NS)  /* the same before the connection has begun */
#define TALK_LINGER_NS     (30 * SECOND_NS) /* to hear that the other side heard the end; then it ends well */
#define TALKS_ACCEPTED_MAX 128              /* at once, the lost ones included */
#define TALKS_DEVICE_MAX   16               /* of one device; a new one ends the longest lost */
#define TALKS_ENDED_MAX    128              /* ended ones whose ids are kept, as long as lost ones are */
#define TALKS_ENDED_DEVICE 32               /* of one device */
#define TALK_STATUS_NS     (SECOND_NS / 10) /* the round trip is told so often */
#define TALK_KEPT_NS       (KITH_CONNECTION_KEPT_S * SECOND_NS)

typedef struct talk_op talk_op;

/* ---- talk.c ---- */
/* The accepted connection of this device with this id, or NULL. */
talk_op *kith__talk_find(kith_core *core, const uint8_t fingerprint[static 32],
                         const uint8_t id[static KITH_TALK_ID_SIZE]);
/* One more from the device?  The longest lost one of it makes way; AGAIN when none is lost. */
KITH_MUST_CHECK kith_err kith__talk_room(kith_core *core, const uint8_t fingerprint[static 32]);
/* A new connection, begun by `open` on this channel, which is the connection's from here on unless this fails: AGAIN
 * (the owner has no room), NOMEM. */
KITH_MUST_CHECK kith_err kith__talk_accept(channel *c, const kith_talk_open *open, kith_op serve, kith_op id);
/* It goes on over this channel. */
void kith__talk_resume(talk_op *t, channel *c, const kith_talk_open *open);

/* ---- serve.c ---- */
/* This connection is over, for this reason: who asks for it again is told. */
void kith__talk_ended(kith_core *core, const uint8_t fingerprint[static 32], const uint8_t id[static KITH_TALK_ID_SIZE],
                      kith_err why);
/* All is said on this channel: it goes when the peer has ended its side. */
void kith__talk_linger(channel *c);

#endif
