#include "node/lan.h"

#include "base/mem.h"
#include "node/dial.h"
#include "node/relay.h"
#include "node/roam.h"
#include "node/session.h"

#include <stdio.h>
#include <string.h>

#define WANTED_MAX     128                     /* devices we know that are followed before strangers in a flood */
#define INTERFACES_MAX 32                      /* addresses of this machine that are compared */
#define FOUND_MAX      KITH_SIGHTINGS_SAME_MAX /* running nodes of one device, or with one tag, that are tried */

struct lan {
    kith_core *core;
    kith_lan *lan; /* NULL: mDNS does not work here, or was not wanted */
    kith_sightings *sightings;
    char instance[KITH_INSTANCE_OWN_SIZE];
    kith_lan_record announced;
    bool announcing;
    char trial[KITH_INSTANCE_OWN_SIZE]; /* "": none */
    bool twin_told;                     /* that this identity is on another machine, too */
    uint64_t asked_ns;                  /* since when the network is asked who is there */
};

/* A node is called after its instance, so that those in a session with it know whose addresses these are. */
static void instance_name(const uint8_t uuid[static KITH_UUID_SIZE],
                          const uint8_t instance[static KITH_HELLO_INSTANCE_SIZE], char *out)
{
    kith_instance_name(uuid, (uint16_t)(instance[0] << 8 | instance[1]), out);
}

bool kith__lan_is_named(const session *s, const char *name)
{
    char theirs[KITH_INSTANCE_OWN_SIZE];
    if (!s->greeted) return false;
    instance_name(s->peer.uuid, s->peer.instance, theirs);
    return strcmp(name, theirs) == 0;
}

/* Whether none of its addresses is this machine's. */
static bool is_elsewhere(kith_core *core, const kith_sighting *sighting)
{
    kith_interface_addr own[INTERFACES_MAX];
    size_t count = core->env->net->addresses(core->env, own, INTERFACES_MAX);
    for (size_t i = 0; i < count && i < INTERFACES_MAX; i++)
        for (size_t j = 0; j < sighting->addr_count; j++)
            if (kith_addr_same_ip(&own[i].addr, &sighting->addrs[j])) return false;
    return sighting->addr_count > 0;
}

/* Somebody announces this device's own id: another node here, as there may be, or a copy of this home on another
 * machine. (Or a liar: who is with us on a network can announce anything.) */
static bool is_twin(const struct lan *l, const kith_sighting *s)
{
    bool other = strcmp(s->instance, l->instance) != 0 && strcmp(s->instance, l->trial) != 0;
    return other && s->own && s->source == KITH_SIGHTING_LAN && is_elsewhere(l->core, s);
}

bool kith_core_twin(kith_core *core, kith_addr *where)
{
    const struct lan *l = core->lan;
    for (size_t i = 0; l && i < kith_sightings_count(l->sightings); i++) {
        const kith_sighting *s = kith_sightings_at(l->sightings, i);
        if (!is_twin(l, s)) continue;
        *where = s->addrs[0];
        return true;
    }
    return false;
}

/* Once: with each change of an announcement it would be too often. */
static void tell_twin(struct lan *l)
{
    char text[KITH_ADDR_TEXT_SIZE];
    kith_addr where;
    if (l->twin_told || !kith_core_twin(l->core, &where)) return;
    l->twin_told = true;
    kith__core_log(
        l->core, KITH_LOG_WARN,
        "%s announces this device's own id: one identity must run on one machine only (`kith doctor` says more)",
        kith_addr_text(&where, text));
    l->core->hooks->twin(l->core);
}

static void on_seen(void *user, const kith_lan_record *record)
{
    struct lan *l = user;
    kith_txt txt;
    kith_peer peer;
    bool changed = false, known = false;
    if (kith_txt_parse(record->txt, record->txt_size, &txt)) return;
    for (size_t i = 0; !known && kith__core_peer_at(l->core, i, &peer); i++)
        known = memcmp(peer.uuid, txt.id, sizeof txt.id) == 0;
    kith_sighting_note note = {.instance = record->instance,
                               .source = KITH_SIGHTING_LAN,
                               .txt = &txt,
                               .addrs = record->addrs,
                               .addr_count = record->addr_count,
                               .priority = known,
                               .expires_ns = NEVER};
    if (kith_sightings_note(l->sightings, &note, kith__core_now(l->core), &changed) || !changed) return;
    kith__core_log(l->core, KITH_LOG_DEBUG, "seen: %s at %zu addresses%s", record->instance, record->addr_count,
                   txt.pairing ? ", pairing" : "");
    if (memcmp(txt.id, l->core->signer.uuid, sizeof txt.id) == 0) tell_twin(l);
    if (known) kith__roam_seen(l->core, txt.id);
    if (known) kith__session_doubt(l->core, txt.id, record->instance);
    kith__dial_look_again(l->core);
    l->core->hooks->lan_changed(l->core);
    kith__core_pump(l->core);
}

void kith__lan_want_known(kith_core *core)
{
    struct lan *l = core->lan;
    char ids[WANTED_MAX][KITH_UUID_TEXT_SIZE];
    const char *prefixes[WANTED_MAX];
    size_t count = 0;
    kith_peer peer;
    if (!l || !l->lan || !core->env->lan->want) return;
    while (count < WANTED_MAX && kith__core_peer_at(core, count, &peer)) {
        prefixes[count] = kith_uuid_text(peer.uuid, ids[count]);
        count++;
    }
    core->env->lan->want(l->lan, prefixes, count);
}

static void on_gone(void *user, const char *instance)
{
    struct lan *l = user;
    if (kith_sightings_gone(l->sightings, instance)) kith__core_log(l->core, KITH_LOG_DEBUG, "gone: %s", instance);
}

kith_err kith__lan_start(kith_core *core)
{
    static const kith_lan_events events = {.seen = on_seen, .gone = on_gone};
    struct lan *l = kith_calloc(1, sizeof *l);
    if (!l) return KITH_ERR_NOMEM;
    kith_err err = kith_sightings_new(core->signer.uuid, &l->sightings);
    if (err) {
        kith_free(l);
        return err;
    }
    l->core = core;
    l->asked_ns = kith__core_now(core);
    core->lan = l;
    instance_name(core->signer.uuid, core->self.instance, l->instance);
    kith_err started = core->env->lan->start(core->env, NULL, &events, l, &l->lan);
    if (!started) kith__lan_want_known(core);
    return started;
}

uint64_t kith__lan_answered_ns(const kith_core *core)
{
    const struct lan *l = core->lan;
    return l && l->lan ? l->asked_ns + LAN_ANSWERS_NS : 0;
}

void kith__lan_changed(kith_core *core)
{
    if (core->lan) core->lan->asked_ns = kith__core_now(core);
}

void kith__lan_stop(kith_core *core)
{
    struct lan *l = core->lan;
    if (!l) return;
    core->lan = NULL;
    if (l->lan) core->env->lan->stop(l->lan);
    kith_sightings_free(l->sightings);
    kith_free(l);
}

void kith__lan_announce(kith_core *core)
{
    struct lan *l = core->lan;
    kith__relays_serve(core);
    if (!l || !l->lan || !core->datagrams) return;
    kith_lan_record record = {.port = kith_core_local(core).port};
    kith_txt txt = {0};
    txt.pairing = core->hooks->pairing(core, &txt.tag);
    bool wanted = (txt.pairing || core->receiver || core->serving) && !core->closing;
    if (!wanted) {
        if (l->announcing && core->env->lan->update(l->lan, NULL))
            kith__core_log(core, KITH_LOG_WARN, "still announced");
        l->announcing = false;
        return;
    }
    memcpy(txt.id, core->signer.uuid, sizeof txt.id);
    memcpy(txt.fingerprint, core->signer.fingerprint, sizeof txt.fingerprint);
    snprintf(record.instance, sizeof record.instance, "%s", l->instance);
    record.txt_size = kith_txt_write(&txt, record.txt, sizeof record.txt);
    if (l->announcing && record.port == l->announced.port && record.txt_size == l->announced.txt_size &&
        memcmp(record.txt, l->announced.txt, record.txt_size) == 0)
        return;
    if (core->env->lan->update(l->lan, &record)) {
        kith__core_log(core, KITH_LOG_WARN, "cannot announce this device on the local network");
        return;
    }
    l->announced = record;
    l->announcing = true;
}

/* What stands for a node here: a hash of its instance name (FNV-1a; nothing depends on it being hard to forge). */
static uint64_t node_number(const kith_sighting *sighting)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = sighting->instance; *at; at++) hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    return hash;
}

/* Addresses of these sightings: the first of each, then the second of each ..., since one is enough.  How many; at most
 * `cap` are given. */
static size_t interleave(const kith_sighting **found, size_t count, kith_addr *out, uint64_t *nodes, size_t cap)
{
    size_t n = 0;
    for (size_t rank = 0; rank < KITH_SIGHTING_ADDRS_MAX; rank++)
        for (size_t i = 0; i < count && n < cap; i++) {
            if (rank >= found[i]->addr_count) continue;
            out[n] = found[i]->addrs[rank];
            if (nodes) nodes[n] = node_number(found[i]);
            n++;
        }
    return n;
}

/* A node that only pairs takes no files: those that do come first. */
static size_t pairing_last(const kith_sighting **found, size_t count)
{
    const kith_sighting *sorted[FOUND_MAX];
    size_t n = 0;
    for (int pairing = 0; pairing < 2; pairing++)
        for (size_t i = 0; i < count; i++)
            if (found[i]->txt.pairing == pairing) sorted[n++] = found[i];
    memcpy(found, sorted, n * sizeof *found);
    return n;
}

static size_t find(kith_core *core, const kith_peer *peer, kith_addr *out, size_t cap)
{
    const kith_sighting *found[FOUND_MAX];
    if (!core->lan) return 0;
    size_t count = kith_sightings_find_device(core->lan->sightings, peer->uuid, found, FOUND_MAX);
    if (count > FOUND_MAX) count = FOUND_MAX;
    return interleave(found, pairing_last(found, count), out, NULL, cap);
}

size_t kith__lan_find_device(kith_core *core, const kith_peer *peer, kith_addr *out, size_t cap)
{
    size_t n = find(core, peer, out, cap);
    return n + kith__core_seen_addresses(core, peer, out + n, cap - n);
}

size_t kith__lan_find_tag(kith_core *core, uint32_t tag, kith_addr *out, uint64_t *nodes, size_t cap)
{
    const kith_sighting *found[FOUND_MAX];
    if (!core->lan) return 0;
    kith_sightings_want_tag(core->lan->sightings, &tag);
    size_t count = kith_sightings_find_tag(core->lan->sightings, tag, found, FOUND_MAX);
    return interleave(found, count < FOUND_MAX ? count : FOUND_MAX, out, nodes, cap);
}

static bool same_device(const lan_device *d, const kith_sighting *s)
{
    return memcmp(d->uuid, s->txt.id, sizeof d->uuid) == 0 &&
           memcmp(d->fingerprint, s->txt.fingerprint, sizeof d->fingerprint) == 0;
}

size_t kith__lan_devices(kith_core *core, lan_device *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; core->lan && i < kith_sightings_count(core->lan->sightings); i++) {
        const kith_sighting *s = kith_sightings_at(core->lan->sightings, i);
        bool before = s->own || s->source != KITH_SIGHTING_LAN;
        for (size_t j = 0; j < n && !before; j++) before = same_device(&out[j], s);
        if (before || n == cap) continue;
        memcpy(out[n].uuid, s->txt.id, sizeof out[n].uuid);
        memcpy(out[n].fingerprint, s->txt.fingerprint, sizeof out[n].fingerprint);
        memcpy(out[n].addrs, s->addrs, sizeof s->addrs);
        out[n++].addr_count = s->addr_count;
    }
    return n;
}

/* ---- how well it works ---- */

void kith__lan_trial(kith_core *core, uint16_t port)
{
    struct lan *l = core->lan;
    kith_lan_record record = {.port = port};
    kith_txt txt = {0};
    if (!l || !l->lan || l->announcing) return;
    kith_rng_bytes(&core->rng, txt.id, sizeof txt.id);
    kith_instance_name(txt.id, 0, l->trial);
    snprintf(record.instance, sizeof record.instance, "%s", l->trial);
    record.txt_size = kith_txt_write(&txt, record.txt, sizeof record.txt);
    if (core->env->lan->update(l->lan, &record)) l->trial[0] = 0;
}

void kith__lan_trial_end(kith_core *core)
{
    struct lan *l = core->lan;
    if (!l || !l->trial[0]) return;
    (void)kith_sightings_gone(l->sightings, l->trial);
    l->trial[0] = 0;
    if (!l->announcing && core->env->lan->update(l->lan, NULL))
        kith__core_log(core, KITH_LOG_WARN, "a trial is still announced");
}

void kith__lan_census(kith_core *core, lan_census *out)
{
    const struct lan *l = core->lan;
    *out = (lan_census){.usable = l && l->lan};
    for (size_t i = 0; l && i < kith_sightings_count(l->sightings); i++) {
        const kith_sighting *s = kith_sightings_at(l->sightings, i);
        if (s->source != KITH_SIGHTING_LAN) continue;
        if (strcmp(s->instance, l->instance) == 0 || strcmp(s->instance, l->trial) == 0) {
            out->own = true;
            continue;
        }
        out->others++;
    }
    out->twin = kith_core_twin(core, &out->twin_at);
}

bool kith__lan_sees_device(kith_core *core, const kith_peer *peer, kith_addr *where)
{
    return find(core, peer, where, 1) > 0;
}
