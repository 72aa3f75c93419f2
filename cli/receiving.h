/* Receiving, as `kith receive` and `kith up` show it: transfers, and who is asked about offers.  The session's `user`
 * is a pointer to a structure that begins with a `receiving *`. */
#ifndef KITH_CLI_RECEIVING_H
#define KITH_CLI_RECEIVING_H

#include "session.h"

typedef struct receiving receiving;

/* `inbox`: nobody is asked here, offers wait in the inbox.  `folder`: where to, borrowed, said when it is ready; NULL:
 * the caller says it.  NULL: no memory. */
receiving *receiving_new(bool once, bool inbox, const char *folder);
void receiving_free(receiving *r);
unsigned long receiving_files(const receiving *r); /* that came */

void receiving_event(session *s, const kith_event *event);
void receiving_line(session *s, const char *line);
bool receiving_end(session *s, const kith_event *event); /* with --once the operation's success is the transfer's */

/* A folder that can be received into, as a path from the root, to be freed; 0, or the exit status, said. */
int receiving_folder(const char *dir, char **folder);
/* What becomes of a file whose name is taken: as --conflict says, else the setting. */
int receiving_conflict(const session *s, kith_conflict *conflict);
void receiving_ready(const session *s, const char *folder); /* it begins */
/* An offer's number in the inbox. */
static inline unsigned long long receiving_number(kith_op transfer) { return transfer & 0xffffffffu; }

#endif
