/* What the devices of five_world.h do, and what must not come of it. */
#ifndef KITH_TEST_FIVE_ACTS_H
#define KITH_TEST_FIVE_ACTS_H

#include "five_world.h"

/* ---- operations of a node ---- */

static inline bool is_over(void *user)
{
    const victim *v = user;
    return !kith_sim_alive(v->env) || last_event(v, KITH_EVENT_END) != NULL;
}

/* How it ended; LOST: its process died. */
static inline kith_err outcome(world *w, size_t i)
{
    victim *v = &w->s[i].v;
    if (!kith_sim_run_until(w->sim, is_over, v, 400 * KITH_SIM_S)) FAIL(w, "an operation of %zu does not end", i);
    const kith_event *end = last_event(v, KITH_EVENT_END);
    return end ? end->err : KITH_ERR_LOST;
}

/* The device that `to` is now is pinged, or sent a file named after the operation. */
static inline kith_err reach(world *w, size_t from, size_t to, bool file)
{
    char id[KITH_UUID_TEXT_SIZE], path[64], got[64];
    uint8_t bytes[3000], *data;
    size_t size;
    victim *v = &w->s[from].v;
    kith_op op = w->op++;
    const kith_send_options options = {.size = sizeof options, .patience_s = 5};
    v->count = 0;
    kith_uuid_text(w->s[to].v.self.device.id, id);
    if (!file) {
        kith_core_ping(v->core, op, id, 1);
        return outcome(w, from);
    }
    snprintf(path, sizeof path, "/out/%llu", (unsigned long long)op);
    snprintf(got, sizeof got, "/in/%llu", (unsigned long long)op);
    memset(bytes, (int)op, sizeof bytes);
    assert_ok(kith_sim_put_file(v->host, path, bytes, sizeof bytes, 0644));
    kith_core_send_file(v->core, op, id, path, &options);
    kith_err err = outcome(w, from);
    bool there = kith_sim_get_file(w->s[to].v.host, got, &data, &size) == KITH_OK;
    if (there && (size != sizeof bytes || memcmp(data, bytes, size) != 0)) FAIL(w, "%s is another file", got);
    if (there) kith_free(data);
    if (!err && !there) FAIL(w, "%s was sent and is not there", got);
    return there ? KITH_OK : err;
}

/* ---- who may be served ---- */

static inline void check_friend(world *w, size_t from, size_t to, kith_err err)
{
    const slot *own = &w->s[from == FRIEND ? to : from];
    bool may = own->known_to_friend != KNOWS_NOT && own->knows_friend != KNOWS_NOT;
    if (!err && !may) FAIL(w, "%zu was served by %zu, which does not know it", from, to);
}

/* Two own devices that both are in for both have met: each has what the other had. */
static inline void have_met(world *w, size_t a, size_t b, const ids *a_had, const ids *b_had)
{
    kith_sim_run_for(w->sim, MEETING_NS);
    if (w->faulty || !alive(w, a) || !alive(w, b)) return;
    add_ids(&w->s[a].must, b_had);
    add_ids(&w->s[b].must, a_had);
    has_its_news(w, a, "after a meeting");
    has_its_news(w, b, "after a meeting");
}

/* `from` reaches `to`, if it may. */
static inline kith_err visit(world *w, size_t from, size_t to)
{
    static view from_had, to_had, from_has, to_has;
    bool file = dice(w, 4) == 0;
    look(w, from, &from_had);
    look(w, to, &to_had);
    kith_err err = reach(w, from, to, file);
    look(w, from, &from_has);
    look(w, to, &to_has);
    TELL("%zu %s %zu: %s\n", from, file ? "sends to" : "pings", to, kith_err_name(err));
    if (from == FRIEND || to == FRIEND) {
        check_friend(w, from, to, err);
        return err;
    }
    bool serves = to_had.there && from_had.there && is_in(&to_had, who(w, from)), before = serves;
    serves = serves || !to_had.there; /* let in by half: all it knows is whom it paired with */
    bool dials = from_had.there && is_in(&from_had, who(w, to));
    /* Who is out by its own graph keeps its pins. */
    bool looks = is_in(&from_had, who(w, from)) && is_in(&from_has, who(w, from));
    bool follows = is_in(&to_had, who(w, to)) && is_in(&to_has, who(w, to));
    serves = serves || (to_has.there && is_in(&to_has, who(w, from)));
    if (!err && follows && !serves) FAIL(w, "%zu was served by %zu, which has heard that it is out", from, to);
    if (!err && looks && !dials && !is_in(&from_has, who(w, to)))
        FAIL(w, "%zu went to %zu, which is out for it", from, to);
    bool both = before && follows && looks && dials && is_in(&to_has, who(w, from)) && is_in(&from_has, who(w, to));
    bool denied = err == KITH_ERR_REVOKED || err == KITH_ERR_UNTRUSTED || err == KITH_ERR_NOT_FOUND;
    if (both && denied) FAIL(w, "%zu was not served by %zu: %s", from, to, kith_err_name(err));
    w->served += !err;
    w->refused += err == KITH_ERR_REVOKED;
    if (!err && both) have_met(w, from, to, &from_had.has, &to_had.has);
    return err;
}

/* ---- pairing ---- */

static inline bool pair(world *w, size_t host, size_t joiner, bool contact)
{
    victim *h = &w->s[host].v, *j = &w->s[joiner].v;
    kith_pair_options options = {.size = sizeof options, .yes = true, .contact = contact};
    kith_op op = w->op;
    w->op += 2;
    h->count = j->count = 0;
    kith_core_pair(h->core, op, &options);
    const kith_event *code = last_event(h, KITH_EVENT_CODE);
    if (!code) return false;
    kith_core_join(j->core, op + 1, code->words, &options);
    kith_err err = outcome(w, joiner);
    if (err && alive(w, host)) kith_core_cancel(h->core, op);
    kith_err other = alive(w, host) ? outcome(w, host) : KITH_ERR_LOST;
    TELL("%zu %s %zu: %s, %s\n", host, contact ? "befriends" : "admits", joiner, kith_err_name(other),
         kith_err_name(err));
    return !err && !other;
}

static inline void admit(world *w, size_t host, size_t joiner)
{
    static view had, has, host_has;
    look(w, host, &had);
    bool done = pair(w, host, joiner, false);
    if (done) kith_sim_run_for(w->sim, MEETING_NS);
    if (!done || w->faulty) return;
    look(w, host, &host_has);
    look(w, joiner, &has);
    if (!is_in(&host_has, who(w, joiner)) || !is_in(&has, who(w, joiner)))
        FAIL(w, "%zu let %zu in, and it is not", host, joiner);
    add_ids(&w->s[joiner].must, &had.has);
    has_its_news(w, joiner, "after it was let in");
    w->admitted++;
}

static inline void befriend(world *w, size_t own)
{
    slot *s = &w->s[own];
    bool host = dice(w, 2);
    bool done = pair(w, host ? own : FRIEND, host ? FRIEND : own, true);
    if (done)
        s->knows_friend = s->known_to_friend = KNOWS;
    else if (s->knows_friend != KNOWS || s->known_to_friend != KNOWS)
        s->knows_friend = s->known_to_friend = MAY_KNOW;
}

/* ---- what is done at one device ---- */

/* The person tries its papers, the newest first. */
static inline kith_err with_paper(world *w, kith_err (*use)(command *c, const uint8_t *code, void *user), command *c,
                                  void *user)
{
    kith_err err = KITH_ERR_CODE;
    for (size_t n = w->papers; n-- > 0 && err == KITH_ERR_CODE;) err = use(c, w->paper[n], user);
    return err;
}

typedef struct change { /* of the graph */
    const uint8_t *uuid;
    kith_recovery_public pair;
} change;

static inline kith_err revoke_with(command *c, const uint8_t *code, void *user)
{
    const change *r = user;
    kith_graph_entry whom;
    kith_home_author a = author(c);
    return kith_home_revoke(c->home, &a, r->uuid, "lost", code, &r->pair, &whom, &c->problem);
}

static inline kith_err renew_with(command *c, const uint8_t *code, void *user)
{
    const change *r = user;
    kith_recovery_change out = {0};
    kith_home_author a = author(c);
    return kith_home_new_recovery(c->home, &a, code, &r->pair, &out, &c->problem);
}

/* Does what was said it was done hold, and is it the device's from now on? */
static inline void was_done(world *w, size_t by, const uint8_t *out)
{
    static view has;
    look(w, by, &has);
    if (out && is_in(&has, out)) FAIL(w, "%zu revoked who is in", by);
    add_ids(&w->s[by].must, &has.has);
    w->revoked += out != NULL;
}

static inline void revoke(world *w, size_t by, size_t whom, bool code, bool fault)
{
    command c;
    change r = {.uuid = w->s[whom].v.self.device.id};
    if (code) pair_of(w, new_paper(w), &r.pair);
    command_begin(w, by, true, fault, &c);
    kith_err err = code ? with_paper(w, revoke_with, &c, &r) : revoke_with(&c, NULL, &r);
    TELL("%zu revokes %zu%s: %s\n", by, whom, code ? " with the code" : "", kith_err_name(err));
    command_end(w, by, &c);
    if (!err) was_done(w, by, who(w, whom));
}

static inline void renew(world *w, size_t by, bool fault)
{
    command c;
    change r = {0};
    pair_of(w, new_paper(w), &r.pair);
    command_begin(w, by, true, fault, &c);
    kith_err err = with_paper(w, renew_with, &c, &r);
    TELL("%zu has a new code: %s\n", by, kith_err_name(err));
    command_end(w, by, &c);
    if (!err) was_done(w, by, NULL);
}

static inline void rename_self(world *w, size_t i, bool fault)
{
    command c;
    char name[KITH_NAME_SIZE];
    snprintf(name, sizeof name, "name %u", w->next_name++);
    command_begin(w, i, false, fault, &c);
    kith_err err = kith_home_set_name(c.home, name, &c.problem);
    TELL("%zu is called %s: %s\n", i, name, kith_err_name(err));
    command_end(w, i, &c);
}

typedef struct naming {
    const uint8_t *whom;
    const char *name;
} naming;

static inline kith_err name_other(kith_trust *trust, void *user)
{
    const naming *n = user;
    return kith_trust_rename(trust, n->whom, n->name, NULL);
}

static inline void rename_other(world *w, size_t i, size_t other, bool fault)
{
    command c;
    slot *s = &w->s[i];
    char name[KITH_NAME_SIZE];
    snprintf(name, sizeof name, "local %u", w->next_name++);
    naming n = {who(w, other), name};
    command_begin(w, i, false, fault, &c);
    kith_err err = kith_home_update_trust(c.home, name_other, &n, &c.problem);
    TELL("%zu calls %zu %s: %s\n", i, other, name, kith_err_name(err));
    command_end(w, i, &c);
    *s->local[other] = 0; /* after an error it is called so, or not */
    if (err) return;
    snprintf(s->local[other], sizeof s->local[other], "%s", name);
    memcpy(s->local_of[other], who(w, other), 32);
}

/* ---- backups ---- */

static inline void back_up(world *w, size_t i, bool fault)
{
    command c;
    slot *s = &w->s[i];
    char path[32];
    snprintf(path, sizeof path, "/out/b%llu", (unsigned long long)w->op++);
    command_begin(w, i, true, fault, &c);
    kith_err err = kith_home_backup(c.home, path, pw, cheap, &c.rng, KITH_SIM_START_WALL_MS, &c.problem);
    TELL("%zu is backed up: %s\n", i, kith_err_name(err));
    command_end(w, i, &c);
    if (err) return;
    size_t at = s->backups < KEPT ? s->backups++ : (size_t)dice(w, KEPT); /* the oldest may stay for ever */
    backup *b = &s->kept[at];
    kith_free(b->data);
    assert_ok(kith_sim_get_file(s->v.host, path, &b->data, &b->size));
    memcpy(b->of, who(w, i), 32);
    b->knows_friend = s->knows_friend;
}

typedef struct restoring {
    const char *device; /* NULL: the backup's own */
    kith_home_self self;
} restoring;

static inline kith_err restore_with(command *c, const uint8_t *code, void *user)
{
    restoring *r = user;
    const kith_home_restore_options options = {.path = "/out/restore",
                                               .password = pw,
                                               .code = code,
                                               .device = r->device,
                                               .kdf = cheap,
                                               .rng = &c->rng,
                                               .now_ms = KITH_SIM_START_WALL_MS};
    return kith_home_restore(c->home, &options, &r->self, &c->problem);
}

/* The disk of `i` is lost; it comes back from a backup, if this one does it: else nothing happens. */
static inline bool restore(world *w, size_t i, size_t from, bool fault)
{
    slot *s = &w->s[i];
    const slot *source = &w->s[from];
    if (source->backups == 0) return false;
    const backup *b = &source->kept[dice(w, source->backups)];
    bool own = memcmp(b->of, who(w, i), 32) == 0, code = !own || dice(w, 2);
    char id[KITH_UUID_TEXT_SIZE];
    uint8_t fingerprint[32];
    restoring r = {.device = own ? NULL : kith_uuid_text(s->v.self.device.id, id)};
    command c;
    memcpy(fingerprint, who(w, i), 32);
    assert_ok(kith_sim_put_file(s->v.host, "/out/restore", b->data, b->size, 0600));
    command_begin(w, i, false, false, &c); /* does it open? */
    kith_home_close(c.home);
    char place[48];
    snprintf(place, sizeof place, "/try%llu", (unsigned long long)w->op++);
    assert_ok(kith_home_open(c.env, place, &c.home));
    kith_err err = code ? with_paper(w, restore_with, &c, &r) : restore_with(&c, NULL, &r);
    command_end(w, i, &c);
    if (err || memcmp(r.self.fingerprint, fingerprint, 32) != 0) return false;
    lose_home(w, i);
    for (unsigned tries = 0; tries == 0 || err; tries++) {
        command_begin(w, i, false, fault && tries == 0, &c);
        err = code ? with_paper(w, restore_with, &c, &r) : restore_with(&c, NULL, &r);
        if (err == KITH_ERR_EXISTS && tries) err = KITH_OK; /* it was done all the same */
        if (err && tries) FAIL(w, "%zu cannot be restored: %s", i, c.problem.message);
        command_end(w, i, &c);
    }
    TELL("%zu is restored from a backup of %zu%s\n", i, from, code ? " with the code" : "");
    start(w, i);
    assert_memory_equal(who(w, i), fingerprint, 32);
    was_done(w, i, NULL);
    s->knows_friend = own ? b->knows_friend : KNOWS_NOT;
    if (s->known_to_friend == KNOWS && s->knows_friend == KNOWS_NOT) s->known_to_friend = MAY_KNOW;
    w->restored++;
    return true;
}

/* ---- disasters ---- */

static inline void crash(world *w, size_t i)
{
    static view has;
    bool power = dice(w, 2);
    slot *s = &w->s[i];
    TELL("%zu %s\n", i, power ? "has no power" : "is killed");
    w->crashed++;
    if (!power) {
        kill_node(w, i);
        return;
    }
    bool torn = s->torn;
    kith_sim_power_fail(s->v.host);
    if (s->v.core) release(w, i);
    s->torn = false;
    look(w, i, &has);
    if (torn) /* what was cut off may have been heard of, and be gone */
        for (size_t k = 0; k < ORACLE_MAX; k++) s->must.has[k] &= has.has.has[k];
    has_its_news(w, i, "after a power failure");
}

#endif
