/* kith.h's functions about this device's identity: making it, its password, its recovery code, backups. */
#include "api/internal.h"
#include "api/visit.h"
#include "base/mem.h"
#include "crypto/secret.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

_Static_assert(KITH_RECOVERY_TEXT == KITH_RECOVERY_TEXT_SIZE, "a recovery code's text fits");

/* How long the structures that results go into were in the first version that had them: what is added later an older
 * caller does not have. */
#define END_OF(type, member)  (offsetof(type, member) + sizeof((type *)NULL)->member)
#define INIT_RESULT_LEAST     END_OF(kith_init_result, recovery_code)
#define RECOVERY_INFO_LEAST   END_OF(kith_recovery_info, ended_ms)
#define RECOVERY_RESULT_LEAST END_OF(kith_recovery_result, in_force)

/* A generator of our own, seeded by the system. */
static void seed_rng(const kith_visit *v, kith_rng *rng)
{
    uint8_t seed[KITH_RNG_SEED_SIZE];
    v->env->base->random(v->env, seed, sizeof seed);
    kith_rng_init(rng, seed);
    kith_wipe(seed, sizeof seed);
}

/* A recovery code as a person typed it.  CODE; the problem says what is wrong. */
static kith_err take_code(const char *text, uint8_t code[static KITH_RECOVERY_CODE_SIZE], kith_problem *problem)
{
    *problem = (kith_problem){0};
    problem->err = kith_recovery_parse(text, code, problem->message, sizeof problem->message);
    return problem->err;
}

kith_err kith_recovery_check(const char *text, char out[KITH_RECOVERY_TEXT], kith_problem *problem)
{
    uint8_t code[KITH_RECOVERY_CODE_SIZE];
    if (!text || !out || !problem) return kith__visit_refuse(problem);
    kith_err err = take_code(text, code, problem);
    if (!err) kith_recovery_text(code, out);
    kith_wipe(code, sizeof code);
    return err;
}

/* ---- making it ---- */

/* The first line of a small system file; "" when there is none. */
static void first_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    *out = 0;
    if (!f) return;
    if (!fgets(out, (int)size, f)) *out = 0;
    out[strcspn(out, "\n")] = 0;
    fclose(f);
}

/* What a new device says of itself. */
typedef struct self_description {
    struct utsname system;
    char host[256], model[128];
} self_description;

static void describe(self_description *out)
{
    if (gethostname(out->host, sizeof out->host - 1)) strcpy(out->host, "device");
    out->host[sizeof out->host - 1] = 0;
    if (uname(&out->system)) out->system.sysname[0] = 0;
    first_line("/sys/devices/virtual/dmi/id/product_name", out->model, sizeof out->model);
}

static kith_err make(kith_visit *v, const kith_init_options *o, kith_init_result *result, kith_problem *problem)
{
    self_description description;
    uint8_t code[KITH_RECOVERY_CODE_SIZE];
    kith_recovery_public recovery;
    kith_rng rng;
    kith_home_self made;
    describe(&description);
    seed_rng(v, &rng);
    kith_rng_bytes(&rng, code, sizeof code);
    kith_recovery_derive(code, &recovery);
    const kith_home_init_options options = {
        .name = o->name ? o->name : description.host,
        .os = description.system.sysname,
        .hardware_model = description.model,
        .password = {o->password, o->password_size},
        .rng = &rng,
        .now_ms = v->env->base->wall_ms(v->env),
        .recovery = o->no_recovery ? NULL : &recovery,
    };
    kith_err err = o->device_file ? kith_home_refer(v->home, o->device_file, problem) : KITH_OK;
    if (!err) err = kith_home_init(v->home, &options, &made, &result->created, problem);
    if (!err) {
        kith__visit_self(&made, &result->self);
        *result->recovery_code = 0;
        if (result->created && !o->no_recovery) kith_recovery_text(code, result->recovery_code);
    }
    kith_wipe(code, sizeof code);
    kith_rng_done(&rng);
    return err;
}

kith_err kith_init(const char *home, const kith_init_options *options, kith_init_result *result, kith_problem *problem)
{
    kith_visit v;
    kith_init_options taken = {0};
    if (!home || !result || !problem) return kith__visit_refuse(problem);
    kith_init_result made = {0};
    if (!kith__options_take(&taken, sizeof taken, options) || result->size < INIT_RESULT_LEAST)
        return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (!err) {
        err = make(&v, &taken, &made, problem);
        kith__visit_leave(&v);
    }
    if (!err) kith__visit_give(result, &made, sizeof made);
    kith_wipe(&made, sizeof made);
    return kith__visit_report(err, problem);
}

kith_err kith_self(const char *home, kith_device_info *self, kith_problem *problem)
{
    kith_visit v;
    kith_home_self loaded;
    if (!home || !self || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_load(v.home, &loaded, problem);
    kith__visit_leave(&v);
    if (!err) kith__visit_self(&loaded, self);
    return kith__visit_report(err, problem);
}

/* ---- its password and its recovery code ---- */

kith_err kith_change_password(const char *home, const kith_password_change *change, kith_problem *problem)
{
    kith_visit v;
    kith_password_change c = {0};
    uint8_t code[KITH_RECOVERY_CODE_SIZE];
    kith_rng rng;
    const kith_kdf_params as_before = {0};
    if (!home || !problem || !kith__options_take(&c, sizeof c, change)) return kith__visit_refuse(problem);
    if (c.recovery_code && take_code(c.recovery_code, code, problem)) return problem->err;
    kith_err err = kith__visit_enter(home, &v, problem);
    if (!err) {
        const kith_bytes old = {c.old_password, c.old_password_size}, fresh = {c.new_password, c.new_password_size};
        seed_rng(&v, &rng);
        if (c.check)
            err = kith_home_check_password(v.home, old, c.recovery_code ? code : NULL, problem);
        else
            err = c.recovery_code ? kith_home_reset_password(v.home, code, fresh, as_before, &rng, problem)
                                  : kith_home_change_password(v.home, old, fresh, as_before, &rng, problem);
        kith_rng_done(&rng);
        kith__visit_leave(&v);
    }
    kith_wipe(code, sizeof code);
    return kith__visit_report(err, problem);
}

kith_err kith_recovery(const char *home, kith_recovery_info *info, kith_problem *problem)
{
    kith_visit v;
    kith_home_self self;
    kith_master *master = NULL;
    kith_recovery_change waiting;
    if (!home || !info || !problem) return kith__visit_refuse(problem);
    kith_recovery_info found = {0};
    if (info->size < RECOVERY_INFO_LEAST) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_load(v.home, &self, problem);
    if (!err) err = kith_home_load_master(v.home, &master, problem);
    if (!err) err = kith_home_waiting_recovery(v.home, &waiting, problem);
    if (!err) {
        const kith_master_device *own = kith_master_find(master, self.device.id);
        found.exists = master->has_recovery;
        found.deposited = own && memcmp(own->public_key, self.public_key, sizeof self.public_key) == 0;
        found.created_ms = master->created_at_ms;
        found.devices = (uint32_t)master->count;
        found.waiting = waiting.waiting;
        found.waiting_ms = waiting.waiting_ms;
        snprintf(found.waiting_by, sizeof found.waiting_by, "%s", waiting.waiting_by);
        if (waiting.waiting) kith_hex(waiting.waiting_id, sizeof waiting.waiting_id, found.waiting_id);
        found.waiting_several = waiting.several;
        found.ended = waiting.ended;
        found.ended_waits = waiting.ended_code.waits;
        found.ended_ms = waiting.ended_code.time_ms;
        snprintf(found.ended_by, sizeof found.ended_by, "%s", waiting.ended_code.by);
        kith__visit_give(info, &found, sizeof found);
    }
    kith_master_free(master);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

/* The graph changed by this device, whose keys `password` opens. */
static kith_err
with_author(const char *home, kith_bytes password, kith_problem *problem,
            kith_err (*fn)(kith_visit *v, const kith_home_author *who, void *user, kith_problem *problem), void *user)
{
    kith_visit v;
    kith_rng rng;
    uint8_t *seed = NULL;
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    seed_rng(&v, &rng);
    err = kith_home_unlock(v.home, password, &seed, problem);
    if (!err) {
        const kith_home_author who = {.seed = seed, .rng = &rng, .now_ms = v.env->base->wall_ms(v.env)};
        err = fn(&v, &who, user, problem);
    }
    kith_secret_free(seed);
    kith_rng_done(&rng);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

typedef struct new_code {
    const uint8_t *old;   /* NULL: none given */
    const uint8_t *fresh; /* NULL: to be drawn */
    bool lost, check;
    kith_recovery_result *result;
} new_code;

static void give_code(kith_recovery_result *out, const uint8_t code[static KITH_RECOVERY_CODE_SIZE], bool in_force)
{
    kith_recovery_result made = {.in_force = in_force};
    kith_recovery_text(code, made.recovery_code);
    kith__visit_give(out, &made, sizeof made);
    kith_wipe(&made, sizeof made);
}

/* The code that is to be, and its pair. */
static void choose_code(kith_rng *rng, const uint8_t *given, uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                        kith_recovery_public *pair)
{
    if (given)
        memcpy(code, given, KITH_RECOVERY_CODE_SIZE);
    else
        kith_rng_bytes(rng, code, KITH_RECOVERY_CODE_SIZE);
    kith_recovery_derive(code, pair);
}

static kith_err make_code(kith_visit *v, const kith_home_author *who, void *user, kith_problem *problem)
{
    new_code *c = user;
    uint8_t code[KITH_RECOVERY_CODE_SIZE];
    kith_recovery_public pair;
    kith_recovery_change change;
    kith_master *master = NULL;
    kith_err err = kith_home_load_master(v->home, &master, problem);
    bool needed = !err && master->has_recovery && !c->old && !c->lost;
    kith_master_free(master);
    if (needed) {
        snprintf(problem->message, sizeof problem->message,
                 "there is a recovery code: give it, or say that it is lost (then your other devices have to agree)");
        return KITH_ERR_CODE;
    }
    if (err) return err;
    choose_code(who->rng, c->fresh, code, &pair);
    const kith_home_author author = {.seed = who->seed, .rng = who->rng, .now_ms = who->now_ms, .check = c->check};
    err = kith_home_new_recovery(v->home, &author, c->old, &pair, &change, problem);
    if (!err) give_code(c->result, code, change.in_force);
    kith_wipe(code, sizeof code);
    return err;
}

kith_err kith_recovery_new(const char *home, const kith_recovery_options *options, kith_recovery_result *result,
                           kith_problem *problem)
{
    kith_recovery_options o = {0};
    uint8_t old[KITH_RECOVERY_CODE_SIZE], fresh[KITH_RECOVERY_CODE_SIZE];
    if (!home || !result || !problem) return kith__visit_refuse(problem);
    if (!kith__options_take(&o, sizeof o, options) || result->size < RECOVERY_RESULT_LEAST)
        return kith__visit_refuse(problem);
    new_code c = {.old = o.old_code ? old : NULL,
                  .fresh = o.new_code ? fresh : NULL,
                  .lost = o.lost,
                  .check = o.check,
                  .result = result};
    kith_err err = o.old_code ? take_code(o.old_code, old, problem) : KITH_OK;
    if (!err && o.new_code) err = take_code(o.new_code, fresh, problem);
    if (!err) err = with_author(home, (kith_bytes){o.password, o.password_size}, problem, make_code, &c);
    kith_wipe(old, sizeof old);
    kith_wipe(fresh, sizeof fresh);
    return err;
}

typedef struct consent {
    uint8_t id[KITH_GRAPH_ID_SIZE];
    kith_recovery_change change;
} consent;

static kith_err agree(kith_visit *v, const kith_home_author *who, void *user, kith_problem *problem)
{
    consent *c = user;
    return kith_home_accept_recovery(v->home, who, c->id, &c->change, problem);
}

kith_err kith_recovery_accept(const char *home, const char *id, const void *password, size_t password_size,
                              bool *in_force, kith_problem *problem)
{
    consent c = {.change.in_force = false};
    if (!home || !id || !in_force || !problem) return kith__visit_refuse(problem);
    if (kith_unhex(id, c.id, sizeof c.id)) return kith__visit_refuse(problem);
    kith_err err = with_author(home, (kith_bytes){password, password_size}, problem, agree, &c);
    if (!err) *in_force = c.change.in_force;
    return err;
}

/* ---- who is one's own no more ---- */

typedef struct revocation {
    const char *why;
    const uint8_t *code;  /* NULL: without */
    const uint8_t *fresh; /* NULL: to be drawn */
    bool check;
    uint8_t uuid[KITH_UUID_SIZE];
    kith_recovery_result *result;
} revocation;

static kith_err revoke_device(kith_visit *v, const kith_home_author *who, void *user, kith_problem *problem)
{
    revocation *r = user;
    uint8_t code[KITH_RECOVERY_CODE_SIZE];
    kith_recovery_public pair;
    kith_graph_entry whom;
    choose_code(who->rng, r->fresh, code, &pair);
    const kith_home_author author = {.seed = who->seed, .rng = who->rng, .now_ms = who->now_ms, .check = r->check};
    kith_err err = kith_home_revoke(v->home, &author, r->uuid, r->why, r->code, &pair, &whom, problem);
    if (!err && r->code) give_code(r->result, code, true);
    kith_wipe(code, sizeof code);
    return err;
}

kith_err kith_revoke(const char *home, const char *id, const kith_revoke_options *options, kith_recovery_result *result,
                     kith_problem *problem)
{
    kith_revoke_options o = {0};
    uint8_t code[KITH_RECOVERY_CODE_SIZE], fresh[KITH_RECOVERY_CODE_SIZE];
    revocation r = {.result = result};
    if (!home || !id || !problem) return kith__visit_refuse(problem);
    if (!kith__options_take(&o, sizeof o, options)) return kith__visit_refuse(problem);
    if (o.recovery_code && (!result || result->size < RECOVERY_RESULT_LEAST)) return kith__visit_refuse(problem);
    if (kith_uuid_parse(id, r.uuid)) return kith__visit_refuse(problem);
    r.why = o.why;
    r.code = o.recovery_code ? code : NULL;
    r.fresh = o.new_code ? fresh : NULL;
    r.check = o.check;
    kith_err err = o.recovery_code ? take_code(o.recovery_code, code, problem) : KITH_OK;
    if (!err && o.new_code) err = take_code(o.new_code, fresh, problem);
    if (!err) err = with_author(home, (kith_bytes){o.password, o.password_size}, problem, revoke_device, &r);
    kith_wipe(code, sizeof code);
    kith_wipe(fresh, sizeof fresh);
    return err;
}

/* ---- backups ---- */

kith_err kith_backup(const char *home, const char *path, const void *password, size_t password_size,
                     kith_problem *problem)
{
    kith_visit v;
    kith_rng rng;
    const kith_kdf_params usual = {0};
    if (!home || !path || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    seed_rng(&v, &rng);
    err = kith_home_backup(v.home, path, (kith_bytes){password, password_size}, usual, &rng,
                           v.env->base->wall_ms(v.env), problem);
    kith_rng_done(&rng);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

kith_err kith_restore(const char *home, const kith_restore_options *options, kith_device_info *self,
                      kith_problem *problem)
{
    kith_visit v;
    kith_restore_options o = {0};
    uint8_t code[KITH_RECOVERY_CODE_SIZE];
    kith_rng rng;
    kith_home_self restored;
    if (!home || !self || !problem) return kith__visit_refuse(problem);
    if (!kith__options_take(&o, sizeof o, options) || !o.path) return kith__visit_refuse(problem);
    if (o.recovery_code && take_code(o.recovery_code, code, problem)) return problem->err;
    kith_err err = kith__visit_enter(home, &v, problem);
    if (!err) {
        seed_rng(&v, &rng);
        const kith_home_restore_options how = {.path = o.path,
                                               .password = {o.password, o.password_size},
                                               .code = o.recovery_code ? code : NULL,
                                               .device = o.device,
                                               .rng = &rng,
                                               .now_ms = v.env->base->wall_ms(v.env),
                                               .check = o.check};
        err = kith_home_restore(v.home, &how, &restored, problem);
        kith_rng_done(&rng);
        kith__visit_leave(&v);
    }
    kith_wipe(code, sizeof code);
    if (!err && !o.check) kith__visit_self(&restored, self);
    return kith__visit_report(err, problem);
}
