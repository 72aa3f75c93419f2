/* The control streams of a session: hello for hello, and after it the messages of service/control.h. */
#ifndef KITH_NODE_GREETING_H
#define KITH_NODE_GREETING_H

#include "node/session.h"

KITH_MUST_CHECK kith_err kith__greeting_say(session *s); /* open our control stream, and hello on it */
void kith__greeting_readable(session *s);                /* the peer's control stream; the session may be closed */
kith_standing kith__greeting_standing(const kith_peer *peer);
/* A device that was refused at its hello may be in the book again: is it?  Then the session begins, with what came over
 * it meanwhile. */
bool kith__greeting_again(session *s);

#endif
