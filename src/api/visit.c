#include "api/visit.h"

#include "crypto/keys.h"

#include <stdio.h>
#include <string.h>

void kith__visit_leave(kith_visit *v)
{
    kith_home_close(v->home);
    kith_io_free(v->io);
}

kith_err kith__visit_enter(const char *folder, kith_visit *v, kith_problem *problem)
{
    *v = (kith_visit){0};
    *problem = (kith_problem){0};
    kith_err err = kith_crypto_init();
    if (!err) err = kith_io_new(&v->io);
    if (!err) v->env = kith_io_env(v->io);
    if (!err) err = kith_home_open(v->env, folder, &v->home);
    if (err) kith__visit_leave(v);
    return err;
}

kith_err kith__visit_report(kith_err err, kith_problem *problem)
{
    problem->err = err;
    if (err && !*problem->message) snprintf(problem->message, sizeof problem->message, "%s", kith_err_text(err));
    return err;
}

kith_err kith__visit_refuse(kith_problem *problem)
{
    if (!problem) return KITH_ERR_ARG;
    *problem = (kith_problem){0};
    return kith__visit_report(KITH_ERR_ARG, problem);
}

void kith__visit_give(void *out, const void *ours, size_t ours_size)
{
    size_t size;
    memcpy(&size, out, sizeof size);
    const size_t known = size < ours_size ? size : ours_size;
    memset(out, 0, size);
    memcpy(out, ours, known);
    memcpy(out, &size, sizeof size);
}

void kith__visit_self(const kith_home_self *self, kith_device_info *out)
{
    *out = (kith_device_info){.added_ms = self->created_at_ms};
    kith_uuid_text(self->device.id, out->id);
    kith_hex(self->fingerprint, sizeof self->fingerprint, out->fingerprint);
    snprintf(out->name, sizeof out->name, "%s", self->device.name);
    snprintf(out->os, sizeof out->os, "%s", self->device.os);
    snprintf(out->hardware_model, sizeof out->hardware_model, "%s", self->device.hardware_model);
}
