/* The line to a daemon, in a program attached to it: requests go there, and what comes back is queued as if a core in
 * this process had said it. */
#ifndef KITH_API_LINE_H
#define KITH_API_LINE_H

#include "api/desk.h"

#define LINE_PATIENCE_MS 5000 /* for each step of the first words, where nothing else is said */
#define LINE_TRIES       3    /* one that is just ending, or has no room, closes on us */
#define LINE_PAUSE_MS    50

typedef struct line line;

/* Find the daemon of this home and say hello: a socket, and what it said.  Blocks, with this patience (0:
 * LINE_PATIENCE_MS).  NOT_FOUND: none runs; UNSUPPORTED: of another version; PERMISSION, TIMEOUT, LOST, PROTOCOL,
 * LIMIT, IO: the problem says it. */
KITH_MUST_CHECK kith_err kith__line_find(const char *home, unsigned patience_ms, int *fd, kith_daemon_hello *hello,
                                         kith_problem *problem);

/* The socket is the line's from here on unless this fails: NOMEM. */
KITH_MUST_CHECK kith_err kith__line_open(kith_env *env, int fd, const desk_sink *sink, void *user, line **out);
/* Ask; what follows is on the loop.  `message` is the line's from here on. */
void kith__line_ask(line *l, const kith_daemon_request *r, kith_talk_message *message);
void kith__line_close(line *l); /* NULL is fine */

#endif
