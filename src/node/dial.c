#include "node/dial.h"

#include "base/mem.h"
#include "node/lan.h"

#include <string.h>

typedef struct attempt {
    dial *dial;
    kith_addr addr;
    session *session; /* under way */
    uint64_t not_before, backoff_ns;
    uint64_t node; /* by tag: who announced it */
    bool shared;   /* by tag: others announced it as well */
    bool tried;    /* by tag: it was connected to, or could not be */
    bool still_there;
} attempt;

struct dial {
    kith_link link;
    kith_core *core;
    kith_peer peer;
    bool by_tag;
    uint32_t tag;
    const dial_events *events;
    void *user;
    uint64_t deadline, last_start;
    kith_timer *timer;
    attempt attempts[DIAL_ATTEMPTS_MAX];
    size_t count;
    uint64_t last_node; /* that was connected to */
    bool over;          /* connected or failed; dial_next starts it again */
    kith_err why;       /* the most telling failure so far */
};

static void go_on(dial *d);

static void stop_attempts(dial *d, const session *but)
{
    for (size_t i = 0; i < d->count; i++) {
        session *s = d->attempts[i].session;
        d->attempts[i].session = NULL;
        if (!s || s == but) continue;
        kith__session_unwatch(s);
        kith__session_close(s, KITH_OK);
    }
}

static void succeed(dial *d, session *s)
{
    if (d->over) return;
    d->over = true;
    kith__session_unwatch(s);
    stop_attempts(d, s);
    d->core->env->timers->set(d->timer, NEVER);
    d->events->connected(d->user, s);
}

static void fail(dial *d, kith_err why)
{
    if (d->over) return;
    d->over = true;
    stop_attempts(d, NULL);
    d->core->env->timers->set(d->timer, NEVER);
    d->events->failed(d->user, why);
}

static void attempt_ready(void *user, session *s)
{
    attempt *a = user;
    a->session = NULL;
    a->tried = true;
    a->dial->last_node = a->node;
    succeed(a->dial, s);
}

/* What the right device itself said is final; what a wrong or silent one did only ends this attempt. */
static void attempt_failed(void *user, session *s, kith_err why)
{
    attempt *a = user;
    dial *d = a->dial;
    (void)s;
    a->session = NULL;
    a->tried = true;
    a->backoff_ns = a->backoff_ns ? a->backoff_ns * 2 : DIAL_AGAIN_NS;
    if (a->backoff_ns > DIAL_AGAIN_MAX_NS) a->backoff_ns = DIAL_AGAIN_MAX_NS;
    a->not_before = kith__core_now(d->core) + a->backoff_ns;
    if (why == KITH_ERR_WRONG_DEVICE || why == KITH_ERR_VERSION) d->why = why;
    if (d->over) return;
    if (!d->by_tag && why == KITH_ERR_UNTRUSTED)
        fail(d, why);
    else
        go_on(d);
}

static const session_watch attempt_watch = {.ready = attempt_ready, .failed = attempt_failed};

static void note_address(dial *d, const kith_addr *addr, uint64_t node)
{
    for (size_t i = 0; i < d->count; i++) {
        if (!kith_addr_equal(&d->attempts[i].addr, addr)) continue;
        d->attempts[i].still_there = true;
        d->attempts[i].shared |= d->attempts[i].node != node;
        return;
    }
    size_t place = d->count;
    /* Full: an address that is not announced any more makes room. */
    for (size_t i = 0; d->count == DIAL_ATTEMPTS_MAX && i < d->count; i++)
        if (!d->attempts[i].session && !d->attempts[i].still_there) place = i;
    if (place == DIAL_ATTEMPTS_MAX) return;
    if (place == d->count) d->count++;
    d->attempts[place] = (attempt){.dial = d, .addr = *addr, .node = node, .still_there = true};
}

static void collect(dial *d)
{
    kith_addr found[DIAL_ATTEMPTS_MAX];
    uint64_t nodes[DIAL_ATTEMPTS_MAX] = {0};
    for (size_t i = 0; i < d->count; i++) d->attempts[i].still_there = false;
    size_t n = d->by_tag ? kith__lan_find_tag(d->core, d->tag, found, nodes, DIAL_ATTEMPTS_MAX)
                         : kith__lan_find_device(d->core, &d->peer, found, DIAL_ATTEMPTS_MAX);
    for (size_t i = 0; i < n; i++) note_address(d, &found[i], nodes[i]);
}

static void start(dial *d, attempt *a)
{
    char address[KITH_ADDR_TEXT_SIZE];
    session_watch watch = attempt_watch;
    watch.user = a;
    d->last_start = kith__core_now(d->core);
    kith__core_log(d->core, KITH_LOG_DEBUG, "dialling %s", kith_addr_text(&a->addr, address));
    if (kith__session_dial(d->core, &a->addr, d->by_tag ? NULL : &d->peer, &watch, &a->session)) {
        a->session = NULL;
        a->not_before = d->last_start + DIAL_AGAIN_NS;
    }
}

/* Start what is due, and set the timer for what comes next. */
static void go_on(dial *d)
{
    uint64_t now = kith__core_now(d->core), next = d->deadline;
    bool under_way = false;
    if (d->over) return;
    if (now >= d->deadline) {
        fail(d, d->why ? d->why : KITH_ERR_UNREACHABLE);
        return;
    }
    collect(d);
    for (size_t i = 0; i < d->count; i++) under_way |= d->attempts[i].session != NULL;
    for (size_t i = 0; i < d->count; i++) {
        attempt *a = &d->attempts[i];
        if (a->session || !a->still_there || (d->by_tag && a->tried)) continue;
        uint64_t due = a->not_before;
        if (under_way && d->last_start + DIAL_STAGGER_NS > due) due = d->last_start + DIAL_STAGGER_NS;
        if (due > now) {
            if (due < next) next = due;
            continue;
        }
        start(d, a);
        under_way |= a->session != NULL;
    }
    d->core->env->timers->set(d->timer, next);
}

static void on_timer(void *user)
{
    dial *d = user;
    kith_core *core = d->core;
    go_on(d);
    kith__core_pump(core);
}

static kith_err dial_new(kith_core *core, uint64_t patience_ns, const dial_events *events, void *user, dial **out)
{
    dial *d = kith_calloc(1, sizeof *d);
    if (!d) return KITH_ERR_NOMEM;
    d->timer = core->env->timers->open(core->env, on_timer, d);
    if (!d->timer) {
        kith_free(d);
        return KITH_ERR_NOMEM;
    }
    d->core = core;
    d->events = events;
    d->user = user;
    d->deadline = kith__core_now(core) + patience_ns;
    kith_list_append(&core->dials, &d->link);
    *out = d;
    return KITH_OK;
}

kith_err kith__dial_device(kith_core *core, const kith_peer *peer, uint64_t patience_ns, const dial_events *events,
                           void *user, dial **out)
{
    dial *d;
    kith_err err = dial_new(core, patience_ns, events, user, &d);
    if (err) return err;
    d->peer = *peer;
    *out = d;
    session *s = kith__session_find(core, peer->fingerprint);
    if (s)
        succeed(d, s);
    else
        go_on(d);
    return KITH_OK;
}

kith_err kith__dial_tag(kith_core *core, uint32_t tag, uint64_t patience_ns, const dial_events *events, void *user,
                        dial **out)
{
    dial *d;
    kith_err err = dial_new(core, patience_ns, events, user, &d);
    if (err) return err;
    d->by_tag = true;
    d->tag = tag;
    *out = d;
    go_on(d);
    return KITH_OK;
}

bool kith__dial_more(dial *d)
{
    bool more = false;
    collect(d);
    for (size_t i = 0; i < d->count; i++) {
        attempt *a = &d->attempts[i];
        if (a->node == d->last_node && !a->shared) a->tried = true; /* what a liar repeats is not his */
        more |= a->still_there && !a->tried;
    }
    return more;
}

void kith__dial_next(dial *d, uint64_t patience_ns)
{
    d->over = false;
    d->deadline = kith__core_now(d->core) + patience_ns;
    go_on(d);
}

void kith__dial_free(dial *d)
{
    if (!d) return;
    d->over = true;
    stop_attempts(d, NULL);
    kith_list_remove(&d->link);
    d->core->env->timers->close(d->timer);
    kith_free(d);
}

void kith__dial_look_again(kith_core *core)
{
    KITH_EACH (at, &core->dials) go_on(KITH_OF(at, dial, link));
}
