/* What of the operations the node below calls (core_hooks): each in the file of its name. */
#ifndef KITH_OP_HOOKS_H
#define KITH_OP_HOOKS_H

#include "node/session.h"

KITH_MUST_CHECK kith_err kith__pair_serve(channel *c);
KITH_MUST_CHECK kith_err kith__ping_serve(channel *c);
KITH_MUST_CHECK kith_err kith__receive_serve(channel *c);
KITH_MUST_CHECK kith_err kith__talk_serve(channel *c); /* serve.c */
bool kith__pair_tag(const kith_core *core, uint32_t *tag);
void kith__look_again(kith_core *core);
void kith__receive_twin(kith_core *core);
void kith__receive_revoked(kith_core *core);
void kith__talk_forget_all(kith_core *core); /* serve.c */

#endif
