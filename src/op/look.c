/* Look: which devices of this home are on the local network, as far as announcements go. */
#include "base/mem.h"
#include "node/dial.h"
#include "node/lan.h"
#include "node/session.h"
#include "op/hooks.h"
#include "op/op.h"

#include <string.h>

#define STRANGERS_MAX 256                  /* reported; who announces more than that is not believed */
#define DEVICES_MAX   64                   /* of those announced now that are looked at */
#define LOOKED_MAX_NS (3 * LAN_ANSWERS_NS) /* however often the network changes meanwhile */

typedef struct look_op {
    op op;
    bool strangers;
    kith_timer *timer; /* until who is there has answered */
    uint64_t until_ns; /* or this */
    size_t stranger_count;
    uint8_t (*reported)[32]; /* fingerprints */
    size_t count, room;
} look_op;

static void look_free(op *o)
{
    look_op *l = (look_op *)o;
    o->core->env->timers->close(l->timer);
    kith_free(l->reported);
    kith_free(l);
}

static void look_cancel(op *o, kith_err why)
{
    kith__op_end(o, why, NULL);
    look_free(o);
}

static bool reported_before(look_op *l, const uint8_t fingerprint[static 32])
{
    for (size_t i = 0; i < l->count; i++)
        if (memcmp(l->reported[i], fingerprint, 32) == 0) return true;
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        void *more = kith_realloc(l->reported, room * sizeof *l->reported);
        if (!more) return true; /* said once too seldom rather than over and over */
        l->reported = more;
        l->room = room;
    }
    memcpy(l->reported[l->count++], fingerprint, 32);
    return false;
}

static const op_kind look_kind = {.name = "look", .cancel = look_cancel, .free = look_free};

static bool is_known(kith_core *core, const lan_device *d)
{
    kith_peer peer;
    for (size_t i = 0; kith__core_peer_at(core, i, &peer); i++)
        if (memcmp(peer.uuid, d->uuid, sizeof d->uuid) == 0 &&
            memcmp(peer.fingerprint, d->fingerprint, sizeof d->fingerprint) == 0)
            return true;
    return false;
}

static void look_for_strangers(look_op *l)
{
    lan_device devices[DEVICES_MAX];
    size_t count = kith__lan_devices(l->op.core, devices, DEVICES_MAX);
    for (size_t i = 0; i < count; i++) {
        const lan_device *d = &devices[i];
        uint8_t key[32] = {0};
        memcpy(key, d->fingerprint, sizeof d->fingerprint);
        memcpy(key + sizeof d->fingerprint, d->uuid, sizeof d->uuid);
        if (is_known(l->op.core, d) || !d->addr_count || l->stranger_count == STRANGERS_MAX) continue;
        if (reported_before(l, key)) continue;
        l->stranger_count++;
        kith_event event = {.kind = KITH_EVENT_SIGHTED, .op = l->op.id, .path = "udp", .scope = "lan"};
        kith_uuid_text(d->uuid, event.device.id);
        kith_hex(d->fingerprint, sizeof d->fingerprint, event.device.fingerprint);
        kith_addr_text(&d->addrs[0], event.address);
        kith__core_emit(l->op.core, &event);
    }
}

static void look_around(look_op *l)
{
    kith_peer peer;
    for (size_t i = 0; kith__core_peer_at(l->op.core, i, &peer); i++) {
        kith_addr where;
        if (!kith__lan_sees_device(l->op.core, &peer, &where) || reported_before(l, peer.fingerprint)) continue;
        kith_event event = {.kind = KITH_EVENT_SIGHTED, .op = l->op.id};
        kith__core_describe(&peer, &event.device);
        strcpy(event.path, "udp");
        strcpy(event.scope, "lan");
        kith_addr_text(&where, event.address);
        kith__core_emit(l->op.core, &event);
    }
    if (l->strangers) look_for_strangers(l);
}

/* Who is connected with this node: that proves who it is. */
static void tell_live(look_op *l)
{
    KITH_EACH (at, &l->op.core->sessions) {
        const session *s = KITH_OF(at, session, link);
        kith_conn_stats stats;
        if (!s->greeted || s->for_pairing || s->over) continue;
        kith_event event = {.kind = KITH_EVENT_LIVE, .op = l->op.id};
        kith__core_describe(&s->known, &event.device);
        kith__session_path(s, event.path, event.scope, event.address);
        kith_conn_get_stats(s->conn, &stats);
        event.rtt_ns = stats.rtt_ns;
        kith__core_emit(l->op.core, &event);
    }
}

/* Now, or when it is so. */
static void tell_looked(look_op *l)
{
    kith_core *core = l->op.core;
    uint64_t at_ns = kith__lan_answered_ns(core);
    if (at_ns > l->until_ns) at_ns = l->until_ns;
    if (kith__core_now(core) < at_ns) {
        core->env->timers->set(l->timer, at_ns);
        return;
    }
    const kith_event event = {.kind = KITH_EVENT_LOOKED, .op = l->op.id};
    kith__core_emit(core, &event);
}

static void on_timer(void *user)
{
    look_op *l = user;
    tell_looked(l);
    kith__core_pump(l->op.core);
}

void kith__look_again(kith_core *core)
{
    KITH_EACH (at, &core->ops) {
        op *o = KITH_OF(at, op, link);
        if (o->kind == &look_kind) look_around((look_op *)o);
    }
}

void kith_core_look(kith_core *core, kith_op id, bool strangers)
{
    look_op *l = kith_calloc(1, sizeof *l);
    if (l) l->timer = core->env->timers->open(core->env, on_timer, l);
    if (!l || !l->timer) {
        kith_free(l);
        kith__core_refuse(core, id, KITH_ERR_NOMEM, NULL);
        return;
    }
    l->strangers = strangers;
    l->until_ns = kith__core_now(core) + LOOKED_MAX_NS;
    if (!kith__core_begin(core, &l->op, id, &look_kind)) {
        core->env->timers->close(l->timer);
        kith_free(l);
        return;
    }
    tell_live(l);
    look_around(l);
    tell_looked(l);
}
