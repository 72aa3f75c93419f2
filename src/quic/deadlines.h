/* The earliest of many deadlines: a binary heap of nodes that live inside their owners. */
#ifndef KITH_QUIC_DEADLINES_H
#define KITH_QUIC_DEADLINES_H

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kith_deadline {
    uint64_t at_ns; /* UINT64_MAX: none */
    size_t place;
} kith_deadline;

typedef struct kith_deadlines {
    kith_deadline **heap;
    size_t count, room;
} kith_deadlines;

void kith_deadlines_done(kith_deadlines *all);
/* Join with no deadline.  NOMEM; nothing after it fails. */
KITH_MUST_CHECK kith_err kith_deadlines_add(kith_deadlines *all, kith_deadline *node);
void kith_deadlines_remove(kith_deadlines *all, kith_deadline *node);
void kith_deadlines_set(kith_deadlines *all, kith_deadline *node, uint64_t at_ns);
kith_deadline *kith_deadlines_first(const kith_deadlines *all); /* NULL when empty */

#endif
