#include "node/rescue.h"

#include "base/mem.h"
#include "node/dial.h"

#include <string.h>

#define RESCUE_PATIENCE_NS DIAL_OTHERS_NS /* of one dial, at most; then the next begins */
#define RESCUE_AGAIN_NS    DIAL_AGAIN_NS  /* after the session's own node answered; doubling */

struct rescue {
    session *session;
    dial *dial;
    session_hold spare; /* with another node */
    kith_timer *timer;
    uint64_t heard_ns;          /* the session, last */
    uint64_t next_ns, pause_ns; /* since its own node answered: when others are looked for again */
};

static uint64_t now_of(const struct rescue *r) { return kith__core_now(r->session->core); }

static kith_conn_stats stats_of(const session *s)
{
    kith_conn_stats stats;
    kith_conn_get_stats(s->conn, &stats);
    return stats;
}

static void lost(void *user, kith_err why) { (void)user, (void)why; }

static void connected(void *user, session *with)
{
    struct rescue *r = user;
    kith__session_use(with, &r->spare, lost, r);
}

static void failed(void *user, kith_err why) { (void)user, (void)why; }

/* Its own node is not meant, whatever port it listens at: one that is started anew has the same. */
static void look_for_others(struct rescue *r)
{
    static const dial_events events = {.connected = connected, .failed = failed};
    session *s = r->session;
    node_set but = {.count = 1};
    dial_want want = s->relay_only ? DIAL_RELAY : s->no_relay ? DIAL_DATAGRAM : DIAL_ANY;
    memcpy(but.nodes[0].instance, s->peer.instance, sizeof but.nodes[0].instance);
    /* Half of it is by chance: many that lost the same device would look for it in step. */
    uint64_t patience = RESCUE_PATIENCE_NS / 2 + kith_rng_below(&s->core->rng, RESCUE_PATIENCE_NS / 2);
    kith__dial_free(r->dial);
    r->dial = NULL;
    if (kith__dial_device(s->core, &s->known, want, &but, patience, &events, r, &r->dial)) r->dial = NULL;
}

static bool is_another(const struct rescue *r)
{
    const session *spare = r->spare.session;
    return spare && spare->ready && spare->greeted && !kith__session_same_node(spare, r->session);
}

/* The one that answered is the same node, or has ended. */
static bool is_of_no_use(const struct rescue *r)
{
    const session *spare = r->spare.session;
    return !spare || spare->over || (spare->greeted && !is_another(r));
}

/* Its own node lives, and may be all there is. */
static void let_go(struct rescue *r)
{
    session *spare = r->spare.session;
    bool same = !spare->over && spare->greeted;
    kith__session_unuse(&r->spare);
    if (!same) return;
    if (kith_list_empty(&spare->uses)) kith__session_close(spare, KITH_OK);
    r->pause_ns = r->pause_ns ? 2 * r->pause_ns : RESCUE_AGAIN_NS;
    r->next_ns = now_of(r) + r->pause_ns;
}

static void on_timer(void *user)
{
    struct rescue *r = user;
    session *s = r->session;
    kith_core *core = s->core;
    if (stats_of(s).last_received_ns > r->heard_ns || s->over || kith_list_empty(&s->uses)) {
        kith__rescue_end(s);
    } else if (is_another(r) && !stats_of(r->spare.session).silent_since_ns) {
        kith__session_doubt_one(s, SESSION_SILENT_NS);
        core->env->timers->set(r->timer, now_of(r) + RESCUE_LOOK_NS);
    } else {
        if (r->spare.session && is_of_no_use(r)) let_go(r);
        bool looking = r->spare.session || (r->dial && !kith__dial_is_over(r->dial));
        if (!looking && now_of(r) >= r->next_ns) look_for_others(r);
        core->env->timers->set(r->timer, now_of(r) + RESCUE_LOOK_NS);
    }
    kith__core_pump(core);
}

void kith__rescue_silent(session *s)
{
    static const uint8_t unknown[KITH_HELLO_INSTANCE_SIZE];
    if (s->rescue || !s->ready || !s->greeted || s->for_pairing || kith_list_empty(&s->uses)) return;
    if (memcmp(s->peer.instance, unknown, sizeof unknown) == 0) return;
    struct rescue *r = kith_calloc(1, sizeof *r);
    if (r) r->timer = s->core->env->timers->open(s->core->env, on_timer, r);
    if (!r || !r->timer) {
        kith_free(r);
        return; /* it is found dead later */
    }
    r->session = s;
    r->heard_ns = stats_of(s).last_received_ns;
    s->rescue = r;
    s->core->env->timers->set(r->timer, now_of(r));
}

void kith__rescue_end(session *s)
{
    struct rescue *r = s->rescue;
    if (!r) return;
    s->rescue = NULL;
    kith__dial_free(r->dial);
    kith__session_unuse(&r->spare);
    s->core->env->timers->close(r->timer);
    kith_free(r);
}
