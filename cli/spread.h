/* What this device's records have become, said to the person's other devices now. */
#ifndef KITH_CLI_SPREAD_H
#define KITH_CLI_SPREAD_H

#include "session.h"

/* With the session's node: meet all own devices at once, for at most SPREAD_NS, and say how many know now; those that
 * are not there hear of it when they meet one that does. */
#define SPREAD_NS UINT64_C(3000000000)
void spread_news(session *s);
/* The same with a node of its own, whose keys this password opens; wipes it. */
void spread_news_with(session *s, secret *password);

#endif
