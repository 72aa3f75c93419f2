#include "op/op.h"

#include "node/core.h"
#include "op/hooks.h"

static const core_hooks hooks = {.serve_pair = kith__pair_serve,
                                 .serve_ping = kith__ping_serve,
                                 .serve_file = kith__receive_serve,
                                 .serve_talk = kith__talk_serve,
                                 .pairing = kith__pair_tag,
                                 .lan_changed = kith__look_again,
                                 .twin = kith__receive_twin,
                                 .revoked = kith__receive_revoked,
                                 .forget = kith__talk_forget_all};

kith_err kith_core_new(const kith_core_config *config, kith_core **out, kith_problem *problem)
{
    return kith__core_new(config, &hooks, out, problem);
}
