/* Which of several relays to live at: the nearest by measured latency, and not another one each time a measurement
 * differs.  A state machine of numbers; the connections are the caller's. */
#ifndef KITH_PATH_RELAYS_H
#define KITH_PATH_RELAYS_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_RELAYS_MAX  8
#define KITH_RELAYS_NONE SIZE_MAX
/* Another one is moved to when it was nearer by both for all of HOLD, and none was moved to for DWELL before. */
#define KITH_RELAYS_NEARER_SHARE 4 /* a quarter of the round trip, and */
#define KITH_RELAYS_NEARER_NS    UINT64_C(5000000)
#define KITH_RELAYS_HOLD_NS      UINT64_C(30000000000)
#define KITH_RELAYS_DWELL_NS     UINT64_C(120000000000)
/* One that fell is not moved to, while there is another, until it was up for so long; twice as long after each fall in
 * a row, until it stood for MAX. */
#define KITH_RELAYS_PROBATION_NS     UINT64_C(30000000000)
#define KITH_RELAYS_PROBATION_MAX_NS UINT64_C(960000000000)

typedef struct kith_relays_member {
    bool used, up;
    unsigned falls;     /* in a row */
    uint64_t up_ns;     /* since when */
    uint64_t rtt_ns;    /* 0: not known */
    uint64_t nearer_ns; /* since when it is nearer than the chosen one; UINT64_MAX: it is not */
} kith_relays_member;

typedef struct kith_relays {
    kith_relays_member members[KITH_RELAYS_MAX];
    size_t chosen;     /* or KITH_RELAYS_NONE */
    uint64_t moved_ns; /* by choice; 0: never */
} kith_relays;

void kith_relays_init(kith_relays *relays);
KITH_MUST_CHECK kith_err kith_relays_add(kith_relays *relays, size_t *index); /* LIMIT */
void kith_relays_remove(kith_relays *relays, size_t index, uint64_t now_ns);
void kith_relays_up(kith_relays *relays, size_t index, uint64_t now_ns);
void kith_relays_down(kith_relays *relays, size_t index, uint64_t now_ns);
/* Its round trip, smoothed; only of one that is up. */
void kith_relays_rtt(kith_relays *relays, size_t index, uint64_t rtt_ns, uint64_t now_ns);
/* The one to live at; it may be another after each call above and after expire. */
size_t kith_relays_chosen(const kith_relays *relays);
uint64_t kith_relays_deadline_ns(const kith_relays *relays); /* UINT64_MAX: none */
void kith_relays_expire(kith_relays *relays, uint64_t now_ns);

#endif
