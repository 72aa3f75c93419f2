/* What both sides of pairing do alike: show both devices, ask whether the other is the right one, say who is paired. */
#ifndef KITH_CLI_PAIRING_H
#define KITH_CLI_PAIRING_H

#include "session.h"

typedef struct pairing {
    kith_pair_options options;
    bool asking;
    bool first_use;      /* of "kith trust" */
    bool had_code;       /* this device had a recovery code before, */
    int64_t code_ms;     /* made then */
    uint64_t waiting_ns; /* since when for the other person's answer; 0: not, or it was said */
} pairing;

/* --contact, --yes; an exit status when a question will come that cannot be asked. */
int pairing_start(pairing *p, session *s);
void pairing_event(session *s, pairing *p, const kith_event *event);
void pairing_line(session *s, pairing *p, const char *line);
void pairing_tick(pairing *p); /* say what is waited for */

#endif
