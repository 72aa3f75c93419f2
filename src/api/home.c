/* kith.h's functions about the other devices of a home, which need no node. */
#include "api/visit.h"
#include "base/mem.h"
#include "identity/digits.h"

#include <stdio.h>
#include <string.h>

#define CANDIDATES_MAX 8 /* named when a text fits several devices */

_Static_assert(KITH_DIGITS_TEXT == KITH_DIGITS_TEXT_SIZE, "one size");
_Static_assert(KITH_PERMITS_MAX >= KITH_SERVICES, "all fit");

static void describe_peer(const kith_peer *peer, const kith_seen *seen, kith_device_info *out)
{
    const kith_seen_peer *last = seen ? kith_seen_find(seen, peer->fingerprint) : NULL;
    *out = (kith_device_info){
        .verified = peer->verified, .first_use = peer->how == KITH_PEER_TOFU, .added_ms = peer->added_at_ms};
    out->trust = peer->kind == KITH_PEER_OWN ? KITH_RELATION_OWN : KITH_RELATION_CONTACT;
    out->last_seen_ms = last ? last->last_seen_ms : 0;
    kith_uuid_text(peer->uuid, out->id);
    kith_hex(peer->fingerprint, sizeof peer->fingerprint, out->fingerprint);
    snprintf(out->name, sizeof out->name, "%s", peer->local_name);
    snprintf(out->os, sizeof out->os, "%s", peer->os);
    snprintf(out->hardware_model, sizeof out->hardware_model, "%s", peer->hardware_model);
}

/* ---- the others ---- */

static kith_err load(kith_visit *v, kith_trust **trust, kith_seen **seen, kith_problem *problem)
{
    kith_home_self self;
    kith_err err = kith_home_load(v->home, &self, problem); /* a home without an identity is said to be one */
    if (!err) err = kith_home_load_trust(v->home, trust, problem);
    if (!err) err = kith_home_load_seen(v->home, seen);
    return err;
}

kith_err kith_devices(const char *home, kith_device_info **devices, size_t *count, kith_problem *problem)
{
    kith_visit v;
    kith_trust *trust = NULL;
    kith_seen *seen = NULL;
    kith_device_info *list = NULL;
    if (!home || !devices || !count || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = load(&v, &trust, &seen, problem);
    if (!err && !(list = kith_calloc(kith_trust_count(trust), sizeof *list))) err = KITH_ERR_NOMEM;
    if (!err) {
        *count = kith_trust_count(trust);
        for (size_t i = 0; i < *count; i++) describe_peer(kith_trust_at(trust, i), seen, &list[i]);
        *devices = list;
    }
    kith_trust_free(trust);
    kith_seen_free(seen);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

void kith_free_devices(kith_device_info *devices) { kith_free(devices); }

static void name_candidates(const char *text, const kith_peer **found, size_t count, kith_problem *problem)
{
    char shown[256];
    size_t n =
        (size_t)snprintf(problem->message, sizeof problem->message,
                         "\"%s\" fits several devices:", kith_printable(text, strlen(text), shown, sizeof shown));
    for (size_t i = 0; i < count && i < CANDIDATES_MAX && n < sizeof problem->message; i++) {
        char id[KITH_UUID_TEXT_SIZE];
        n += (size_t)snprintf(problem->message + n, sizeof problem->message - n, "%s %s (%s)", i ? "," : "",
                              found[i]->local_name, kith_uuid_text(found[i]->uuid, id));
    }
}

kith_err kith_find(const char *home, const char *text, kith_device_info *device, kith_problem *problem)
{
    kith_visit v;
    kith_trust *trust = NULL;
    kith_seen *seen = NULL;
    const kith_peer *found[CANDIDATES_MAX];
    size_t count = 0;
    char shown[256];
    if (!home || !text || !device || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = load(&v, &trust, &seen, problem);
    if (!err) {
        err = kith_trust_find(trust, text, found, CANDIDATES_MAX, &count);
        if (err == KITH_ERR_AMBIGUOUS) name_candidates(text, found, count, problem);
        if (err == KITH_ERR_NOT_FOUND)
            snprintf(problem->message, sizeof problem->message,
                     "no device \"%s\" is paired here: `kith devices` lists them",
                     kith_printable(text, strlen(text), shown, sizeof shown));
    }
    if (!err) describe_peer(found[0], seen, device);
    kith_trust_free(trust);
    kith_seen_free(seen);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

typedef struct change {
    enum { RENAME, FORGET, VERIFY, PERMIT } what;
    uint8_t uuid[KITH_UUID_SIZE];
    const char *name;
    bool verified;
    kith_service service;
    kith_permission permission;
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    kith_device_info *device;
} change;

static kith_access access_of(kith_permission permission)
{
    return permission == KITH_PERMISSION_ALLOW ? KITH_ALLOW : permission == KITH_PERMISSION_ASK ? KITH_ASK : KITH_DENY;
}

static kith_permission permission_of(kith_access access)
{
    return access == KITH_ALLOW ? KITH_PERMISSION_ALLOW
           : access == KITH_ASK ? KITH_PERMISSION_ASK
                                : KITH_PERMISSION_DENY;
}

static kith_err apply(kith_trust *trust, void *user)
{
    change *c = user;
    const kith_peer *peer = kith_trust_by_uuid(trust, c->uuid), *renamed = NULL;
    if (!peer) return KITH_ERR_NOT_FOUND;
    memcpy(c->fingerprint, peer->fingerprint, sizeof c->fingerprint);
    if (c->what == FORGET) return kith_trust_remove(trust, c->fingerprint);
    if (c->what == VERIFY) return kith_trust_verify(trust, c->fingerprint, c->verified);
    if (c->what == PERMIT)
        return kith_trust_override(trust, c->fingerprint, c->service, c->permission != KITH_PERMISSION_DEFAULT,
                                   access_of(c->permission));
    kith_err err = kith_trust_rename(trust, c->fingerprint, c->name, &renamed);
    if (!err) describe_peer(renamed, NULL, c->device);
    return err;
}

/* Is the device of this id a member of the trust graph?  Then it cannot be forgotten. */
static kith_err check_contact(kith_home *home, const uint8_t *uuid, kith_problem *problem)
{
    kith_graph *graph = NULL;
    kith_verdict verdict = {0};
    kith_err err = kith_home_load_graph(home, &graph, problem);
    if (!err && kith_graph_count(graph)) err = kith_graph_judge(graph, &verdict);
    for (size_t i = 0; !err && i < verdict.count; i++) {
        const kith_member *m = &verdict.members[i];
        if (m->state != KITH_MEMBER || memcmp(m->entry.uuid, uuid, KITH_UUID_SIZE) != 0) continue;
        err = KITH_ERR_STATE;
        snprintf(problem->message, sizeof problem->message,
                 "%s is one of your own devices: `kith revoke` takes it out, on all of them", m->entry.name);
    }
    kith_verdict_done(&verdict);
    kith_graph_free(graph);
    return err;
}

static kith_err apply_to_home(const char *home, const char *id, change *c, kith_problem *problem)
{
    kith_visit v;
    if (!home || !id || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_uuid_parse(id, c->uuid) ? KITH_ERR_ARG : KITH_OK;
    if (!err && c->what == FORGET) err = check_contact(v.home, c->uuid, problem);
    if (!err) err = kith_home_update_trust(v.home, apply, c, problem);
    if (err == KITH_ERR_ARG && !*problem->message && c->what == RENAME)
        snprintf(problem->message, sizeof problem->message,
                 "a device's name is 1 to 63 bytes of text without control characters");
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

static kith_err rename_self(const char *home, const char *name, kith_device_info *device, kith_problem *problem)
{
    kith_visit v;
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_home_set_name(v.home, name, problem);
    kith__visit_leave(&v);
    return err ? kith__visit_report(err, problem) : kith_self(home, device, problem);
}

kith_err kith_rename(const char *home, const char *id, const char *name, kith_device_info *device,
                     kith_problem *problem)
{
    change c = {.what = RENAME, .name = name, .device = device};
    if (!home || !id || !name || !device || !problem) return kith__visit_refuse(problem);
    kith_device_info self;
    kith_err err = kith_self(home, &self, problem);
    if (err || strcmp(self.id, id) != 0) return err ? err : apply_to_home(home, id, &c, problem);
    return rename_self(home, name, device, problem);
}

static kith_err forget_seen(kith_seen *seen, void *user)
{
    const change *c = user;
    kith_seen_forget(seen, c->fingerprint);
    return KITH_OK;
}

kith_err kith_forget(const char *home, const char *id, kith_problem *problem)
{
    kith_visit v;
    change c = {.what = FORGET};
    kith_problem ignored;
    kith_err err = apply_to_home(home, id, &c, problem);
    if (err) return err;
    /* The cache of addresses follows; it trusts nobody, so failing here is no failure. */
    if (kith__visit_enter(home, &v, &ignored)) return KITH_OK;
    if (kith_home_update_seen(v.home, forget_seen, &c, &ignored)) ignored.err = KITH_OK;
    kith__visit_leave(&v);
    return KITH_OK;
}

/* ---- digits and permits ---- */

kith_err kith_mark_verified(const char *home, const char *id, bool verified, kith_problem *problem)
{
    change c = {.what = VERIFY, .verified = verified};
    return apply_to_home(home, id, &c, problem);
}

kith_err kith_permit(const char *home, const char *id, const char *service, kith_permission permission,
                     kith_problem *problem)
{
    change c = {.what = PERMIT, .permission = permission};
    if (!service || !problem) return kith__visit_refuse(problem);
    bool known = kith_permit_find(service, &c.service);
    *problem = (kith_problem){0};
    if (known && (unsigned)permission <= KITH_PERMISSION_ALLOW &&
        kith_permit_settable(c.service, access_of(permission)))
        return apply_to_home(home, id, &c, problem);
    if (known && permission == KITH_PERMISSION_ASK)
        snprintf(problem->message, sizeof problem->message, "nobody is asked about a %s: allow it or deny it", service);
    else if (!known)
        snprintf(problem->message, sizeof problem->message, "there is no such service: say ping, file or talk");
    return kith__visit_report(KITH_ERR_ARG, problem);
}

/* The device of this id, and this one. */
static kith_err look_up(const char *home, const char *id, kith_peer *peer, kith_home_self *self, kith_problem *problem)
{
    kith_visit v;
    kith_trust *trust = NULL;
    uint8_t uuid[KITH_UUID_SIZE];
    if (!home || !id || !problem) return kith__visit_refuse(problem);
    kith_err err = kith__visit_enter(home, &v, problem);
    if (err) return kith__visit_report(err, problem);
    err = kith_uuid_parse(id, uuid) ? KITH_ERR_ARG : kith_home_load(v.home, self, problem);
    if (!err) err = kith_home_load_trust(v.home, &trust, problem);
    const kith_peer *found = err ? NULL : kith_trust_by_uuid(trust, uuid);
    if (found) *peer = *found;
    if (!err && !found) err = KITH_ERR_NOT_FOUND;
    kith_trust_free(trust);
    kith__visit_leave(&v);
    return kith__visit_report(err, problem);
}

kith_err kith_verify_digits(const char *home, const char *id, char digits[KITH_DIGITS_TEXT], kith_problem *problem)
{
    kith_peer peer;
    kith_home_self self;
    if (!digits) return kith__visit_refuse(problem);
    kith_err err = look_up(home, id, &peer, &self, problem);
    if (!err) kith_digits(self.fingerprint, peer.fingerprint, digits);
    return err;
}

kith_err kith_permits(const char *home, const char *id, kith_permit_info *out, size_t cap, size_t *count,
                      kith_problem *problem)
{
    kith_peer peer;
    kith_home_self self;
    size_t n = 0;
    if ((!out && cap) || !count) return kith__visit_refuse(problem);
    kith_err err = look_up(home, id, &peer, &self, problem);
    if (err) return err;
    for (int i = 0; i < KITH_SERVICES; i++) {
        kith_service service = (kith_service)i;
        if (!kith_permit_name(service)) continue;
        kith_standing standing = peer.kind == KITH_PEER_OWN ? KITH_STANDING_OWN : KITH_STANDING_CONTACT;
        kith_access access = kith_permit_for(service, standing, &peer.overrides);
        kith_permit_info info = {.effective = permission_of(access)};
        if (kith_permit_overridden(service, &peer.overrides)) info.said = info.effective;
        snprintf(info.service, sizeof info.service, "%s", kith_permit_name(service));
        if (n < cap) out[n] = info;
        n++;
    }
    *count = n;
    return KITH_OK;
}
