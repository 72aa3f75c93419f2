/* kith.h's functions about the home need no node: each opens the home on an env of its own, does its work and lets go.
 */
#ifndef KITH_API_VISIT_H
#define KITH_API_VISIT_H

#include "io/io.h"
#include "store/home.h"

typedef struct kith_visit {
    kith_io *io;
    kith_env *env;
    kith_home *home;
} kith_visit;

/* On an error nothing is open, and kith__visit_report completes the problem. */
KITH_MUST_CHECK kith_err kith__visit_enter(const char *folder, kith_visit *visit, kith_problem *problem);
void kith__visit_leave(kith_visit *visit);
/* Gives the error back, with a sentence in the problem whatever happened. */
kith_err kith__visit_report(kith_err err, kith_problem *problem);
/* A call that lacks something: ARG, said in the problem if there is one. */
kith_err kith__visit_refuse(kith_problem *problem);
/* What a structure of the caller gets of ours: the members that it has, zero in those that we do not know, and its
 * `size` as it was.  Who shows that it is at least as long as the first one there was: the caller of this. */
void kith__visit_give(void *out, const void *ours, size_t ours_size);
void kith__visit_self(const kith_home_self *self, kith_device_info *out);

#endif
