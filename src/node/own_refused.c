/* With a device that is revoked here: it appeals, if it may, and is told why it is refused (own.h). */
#include "base/mem.h"
#include "node/greeting.h"
#include "node/own_internal.h"
#include "node/roam.h"
#include "node/session_internal.h"

#include <string.h>

static void set_timer(session *s, uint64_t after_ns)
{
    s->core->env->timers->set(s->timer, kith__core_now(s->core) + after_ns);
}

/* How long its appeal has been heard. */
static uint64_t lasted(const own_link *l) { return kith__core_now(l->own->core) - l->appeal_ns; }

/* ---- telling ---- */

static void tell(own_link *l)
{
    struct own *own = l->own;
    session *s = l->channel->session;
    kith_revocation r;
    l->phase = OWN_LINK_TOLD;
    if (kith__own_is_member(own->core, s->peer.fingerprint)) { /* it is this device that is none */
        kith__session_close(s, KITH_ERR_UNTRUSTED);
        return;
    }
    if (kith_graph_revocation(own->graph, &own->verdict, s->peer.fingerprint, &r) && r.record != KITH_GRAPH_NONE)
        memcpy(l->verdict, kith_graph_id(own->graph, r.record), sizeof l->verdict);
    kith__roam_end(s);
    set_timer(s, OWN_TELL_NS);
    if (l->heard) kith__own_say_records(l); /* else when its heads come */
}

/* Has enough of an appeal come since it was looked at last, and may it go on? */
static bool comes_along(const own_link *l)
{
    bool all = !l->other; /* and is being stored */
    return (all || l->shown >= OWN_APPEAL_LEAST) && lasted(l) < OWN_APPEAL_MOST_NS;
}

static void wait_on(own_link *l)
{
    uint64_t left = OWN_APPEAL_MOST_NS - lasted(l);
    l->shown = 0;
    set_timer(l->channel->session, left < OWN_APPEAL_NS ? left : OWN_APPEAL_NS);
}

void kith__own_refused_due(session *s)
{
    const struct own *own = s->core->own;
    own_link *l = kith__own_link_of(s);
    bool opens = !l && s->dialler && !s->over && own && own->graph;
    if (!l && !s->dialler && !s->over && kith__own_is_heard(s->core, s->peer.fingerprint)) {
        set_timer(s, OWN_APPEAL_NS); /* over another session */
        return;
    }
    if (opens) l = kith__own_link_open(s);
    if (!l || s->over || l->phase == OWN_LINK_TOLD)
        kith__session_close(s, KITH_ERR_REVOKED);
    else if (opens)
        kith__own_meet_refused(l);
    else if (l->phase == OWN_LINK_APPEALS && comes_along(l))
        wait_on(l);
    else if (l->phase == OWN_LINK_APPEALS)
        (void)kith__own_end_appeal(l, false);
    else
        tell(l);
}

/* ---- appealing ---- */

bool kith__own_is_heard(const kith_core *core, const uint8_t fingerprint[static 32])
{
    const own_link *l = core->own ? core->own->appeal : NULL;
    return l && memcmp(l->channel->session->peer.fingerprint, fingerprint, KITH_FINGERPRINT_SIZE) == 0;
}

/* Is the one that is being heard slow, and its time over now that this one comes? */
static bool may_interrupt(const own_link *l)
{
    const struct own *own = l->own;
    return own->appeal && own->appeal->other && lasted(own->appeal) >= OWN_APPEAL_NS &&
           memcmp(l->channel->session->peer.fingerprint, own->unheard, sizeof own->unheard) != 0;
}

/* It came to nothing. */
static void pause_appeals(struct own *own, const own_link *l)
{
    own->appeals_ns = kith__core_now(own->core) + OWN_APPEAL_PAUSE_NS;
    memcpy(own->unheard, l->channel->session->peer.fingerprint, sizeof own->unheard);
}

void kith__own_meet_refused(own_link *l)
{
    struct own *own = l->own;
    bool now = may_interrupt(l);
    if (now) (void)kith__own_end_appeal(own->appeal, false);
    now = now || (!own->appeal && kith__core_now(own->core) >= own->appeals_ns);
    if (!now || kith_graph_new(&l->other)) {
        tell(l);
        return;
    }
    l->phase = OWN_LINK_APPEALS;
    l->appeal_ns = kith__core_now(own->core);
    own->appeal = l;
    if (l->channel->session->dialler) set_timer(l->channel->session, OWN_APPEAL_NS); /* else since its hello */
    kith__own_say_heads(l, kith_graph_id(own->graph, 0), true);
}

void kith__own_drop_appeal(own_link *l)
{
    struct own *own = l->own;
    if (own->appeal != l) return;
    own->appeal = NULL;
    pause_appeals(own, l);
}

/* It has what it has shown: of that it need not be told. */
static void note_shown(own_link *l)
{
    size_t count = l->other ? kith_graph_count(l->other) : 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *id = kith_graph_id(l->other, i);
        if (kith_graph_find(l->own->graph, id) != KITH_GRAPH_NONE) kith__own_link_has(l, id);
    }
    l->heard |= count > 0;
    kith_graph_free(l->other);
    l->other = NULL;
}

bool kith__own_end_appeal(own_link *l, bool restored)
{
    struct own *own = l->own;
    session *s = l->channel->session;
    own->appeal = NULL;
    l->phase = OWN_LINK_MEMBER;
    bool in = restored && kith__greeting_again(s);
    if (in) {
        kith__own_say_heads(l, kith_graph_id(own->graph, 0), false); /* as to any member */
    } else {
        pause_appeals(own, l);
        note_shown(l);
        tell(l);
    }
    kith__sessions_after_appeal(own->core);
    return in;
}

kith_err kith__own_merge(kith_graph *graph, const kith_graph *from)
{
    for (size_t i = 0; i < kith_graph_count(from); i++) {
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(from, i, &size);
        if (kith_graph_add(graph, bytes, size) == KITH_ERR_NOMEM) return KITH_ERR_NOMEM;
    }
    return KITH_OK;
}

/* Would this graph, with what the other has, have the device as a member? */
static bool is_restored(const kith_graph *graph, const kith_graph *other, const uint8_t *fingerprint)
{
    kith_graph *both = NULL;
    kith_verdict v = {0};
    kith_reason ignored;
    uint8_t *data = NULL;
    size_t size = 0;
    kith_err err = kith_graph_encode(graph, &data, &size);
    if (!err) err = kith_graph_decode(data, size, false, &both, &ignored);
    if (!err) err = kith__own_merge(both, other);
    if (!err) err = kith_graph_judge(both, &v);
    const kith_member *m = err ? NULL : kith_verdict_find(&v, fingerprint);
    bool in = m && m->state == KITH_MEMBER;
    kith_verdict_done(&v);
    kith_graph_free(both);
    kith_free(data);
    return in;
}

/* All that it knows is here. */
static void consider(own_link *l)
{
    struct own *own = l->own;
    kith_graph *other = l->other;
    if (own->job || !is_restored(own->graph, other, l->channel->session->peer.fingerprint)) {
        (void)kith__own_end_appeal(l, false);
        return;
    }
    l->other = NULL;
    kith__own_start_job(own, other, l);
}

void kith__own_hear_appeal(own_link *l, kith_trust_message *m)
{
    if (!l->other) return; /* it was heard */
    size_t size;
    for (const uint8_t *bytes; (bytes = kith_trust_next_record(m, &size)) != NULL;) {
        if (kith_graph_add(l->other, bytes, size) == KITH_OK) continue;
        (void)kith__own_end_appeal(l, false);
        return;
    }
    if (!m->more) consider(l);
}
