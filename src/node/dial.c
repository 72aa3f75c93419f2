#include "node/dial.h"

#include "base/mem.h"
#include "node/lan.h"
#include "node/relay.h"

#include <string.h>

#define DIAL_RELAYS_MAX 8
#define ATTEMPTS_MAX    (2 * DIAL_ADDRESSES_MAX + DIAL_RELAYS_MAX)

typedef struct attempt {
    dial *dial;
    kith_addr addr;
    carrier_kind kind;
    session *session; /* under way */
    uint64_t started_ns, not_before, backoff_ns;
    uint64_t node; /* by tag: who announced it */
    bool shared;   /* by tag: others announced it as well */
    bool tried;    /* by tag: it was connected to, or could not be */
    bool still_there;
} attempt;

struct dial {
    kith_link link;
    kith_core *core;
    kith_peer peer;
    dial_want want;
    node_set but;
    bool by_tag;
    uint32_t tag;
    const dial_events *events;
    void *user;
    uint64_t deadline, last_start, begun_ns;
    kith_timer *timer;
    attempt attempts[ATTEMPTS_MAX];
    size_t count;
    session
        *second; /* bulk: ready over datagrams, and taken at `second_ns` unless TCP answers at the same place before */
    session_hold second_hold;
    uint64_t second_ns;
    uint64_t last_node; /* that was connected to */
    bool over;          /* connected or failed; dial_next starts it again */
    kith_err why;       /* the most telling failure so far */
};

static void go_on(dial *d);
static void start(dial *d, attempt *a);

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

static void drop_second(dial *d)
{
    kith__session_unuse(&d->second_hold);
    d->second = NULL;
}

static void succeed(dial *d, session *s)
{
    if (d->over) return;
    d->over = true;
    stop_attempts(d, s);
    drop_second(d);
    d->core->env->timers->set(d->timer, NEVER);
    d->events->connected(d->user, s);
}

static void fail(dial *d, kith_err why)
{
    if (d->over) return;
    d->over = true;
    stop_attempts(d, NULL);
    drop_second(d);
    d->core->env->timers->set(d->timer, NEVER);
    d->events->failed(d->user, why);
}

static void second_lost(void *user, kith_err why)
{
    dial *d = user;
    (void)why;
    d->second = NULL;
    go_on(d);
}

static attempt *find_attempt(dial *d, carrier_kind kind, const kith_addr *addr)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->attempts[i].kind == kind && kith_addr_equal(&d->attempts[i].addr, addr)) return &d->attempts[i];
    return NULL;
}

/* Is the same place being tried over TCP?  It is now, unless that failed. */
static bool stream_comes(dial *d, const kith_addr *addr)
{
    attempt *a = find_attempt(d, CARRIER_STREAM, addr);
    if (a && !a->session && !a->tried) start(d, a);
    return a && a->session;
}

/* It answered over datagrams: take it, or give TCP the moment it needs. */
static void answered(dial *d, session *s, uint64_t took_ns)
{
    if (d->over) return;
    if (d->second || d->want != DIAL_BULK || took_ns > DIAL_BULK_RTT_NS || !stream_comes(d, &s->remote)) {
        succeed(d, s);
        return;
    }
    kith__session_use(s, &d->second_hold, second_lost, d);
    d->second = s;
    d->second_ns = kith__core_now(d->core) + DIAL_BULK_WAIT_NS + 2 * took_ns;
    go_on(d);
}

static void attempt_ready(void *user, session *s)
{
    attempt *a = user;
    kith__session_unwatch(s);
    a->session = NULL;
    a->tried = true;
    a->dial->last_node = a->node;
    if (a->kind == CARRIER_STREAM)
        succeed(a->dial, s);
    else
        answered(a->dial, s, kith__core_now(a->dial->core) - a->started_ns);
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
    /* By chance: many that lost the same device at the same moment would dial it in step for as long as it is away. */
    a->not_before = kith__core_now(d->core) + a->backoff_ns / 2 + kith_rng_below(&d->core->rng, a->backoff_ns / 2);
    if (why == KITH_ERR_WRONG_DEVICE || why == KITH_ERR_VERSION || why == KITH_ERR_REVOKED) d->why = why;
    if (d->over) return;
    if (!d->by_tag && (why == KITH_ERR_UNTRUSTED || why == KITH_ERR_REVOKED))
        fail(d, why);
    else
        go_on(d);
}

static const session_watch attempt_watch = {.ready = attempt_ready, .failed = attempt_failed};

static void note(dial *d, carrier_kind kind, const kith_addr *addr, uint64_t node)
{
    for (size_t i = 0; i < d->count; i++) {
        attempt *a = &d->attempts[i];
        if (a->kind != kind || !kith_addr_equal(&a->addr, addr)) continue;
        a->still_there = true;
        a->shared |= a->node != node;
        return;
    }
    size_t place = d->count;
    /* Full: an address that is not announced any more makes room. */
    for (size_t i = 0; d->count == ATTEMPTS_MAX && i < d->count; i++)
        if (!d->attempts[i].session && !d->attempts[i].still_there) place = i;
    if (place == ATTEMPTS_MAX) return;
    if (place == d->count) d->count++;
    d->attempts[place] = (attempt){.dial = d, .kind = kind, .addr = *addr, .node = node, .still_there = true};
}

static void note_address(dial *d, const kith_addr *addr, uint64_t node)
{
    if (kith__nodes_have_port(&d->but, addr->port)) return;
    if (d->want != DIAL_STREAM) note(d, CARRIER_DATAGRAM, addr, node);
    if (d->want != DIAL_DATAGRAM && d->core->env->tcp) note(d, CARRIER_STREAM, addr, node);
}

static bool asks_relays(dial_want want) { return want != DIAL_DATAGRAM && want != DIAL_STREAM; }

/* Those behind relays: at once when nobody is known nearby, else when nobody answered for a while. */
static void collect_relays(dial *d)
{
    kith_addr found[DIAL_RELAYS_MAX];
    uint64_t nodes[DIAL_RELAYS_MAX] = {0};
    bool nearby = false;
    if (!d->core->relays || !asks_relays(d->want)) return;
    for (size_t i = 0; i < d->count; i++) nearby |= d->attempts[i].still_there;
    if (nearby && kith__core_now(d->core) < d->begun_ns + DIAL_RELAY_AFTER_NS) return;
    kith__relays_want(d->core);
    size_t n = d->by_tag ? kith__relays_find_tag(d->core, d->tag, found, nodes, DIAL_RELAYS_MAX)
                         : kith__relays_find_device(d->core, d->peer.fingerprint, &d->but, found, DIAL_RELAYS_MAX);
    for (size_t i = 0; i < n; i++) note(d, CARRIER_DATAGRAM, &found[i], nodes[i]);
}

static void collect(dial *d)
{
    kith_addr found[DIAL_ADDRESSES_MAX];
    uint64_t nodes[DIAL_ADDRESSES_MAX] = {0};
    for (size_t i = 0; i < d->count; i++) d->attempts[i].still_there = false;
    size_t n = d->by_tag ? kith__lan_find_tag(d->core, d->tag, found, nodes, DIAL_ADDRESSES_MAX)
                         : kith__lan_find_device(d->core, &d->peer, found, DIAL_ADDRESSES_MAX);
    for (size_t i = 0; i < n && d->want != DIAL_RELAY; i++) note_address(d, &found[i], nodes[i]);
    collect_relays(d);
}

static void start(dial *d, attempt *a)
{
    char address[KITH_ADDR_TEXT_SIZE];
    session_watch watch = attempt_watch;
    watch.user = a;
    a->started_ns = kith__core_now(d->core);
    if (a->kind == CARRIER_DATAGRAM || d->want == DIAL_STREAM) d->last_start = a->started_ns;
    kith__core_log(d->core, KITH_LOG_DEBUG, "dialling %s over %s", kith_addr_text(&a->addr, address),
                   a->kind == CARRIER_STREAM ? "TCP" : "UDP");
    if (kith__session_dial(d->core, a->kind, &a->addr, d->by_tag ? NULL : &d->peer, &watch, &a->session)) {
        a->session = NULL;
        a->tried = true;
        a->not_before = a->started_ns + DIAL_AGAIN_NS;
        return;
    }
    a->session->relay_only = d->want == DIAL_RELAY;
    if (a->session->relay_only) kith_conn_pin(a->session->conn);
    a->session->no_relay = d->want == DIAL_DATAGRAM;
}

/* When this attempt is due; NEVER: not before another one. */
static uint64_t due_ns(dial *d, const attempt *a, bool under_way)
{
    const attempt *first = a->kind == CARRIER_STREAM ? find_attempt(d, CARRIER_DATAGRAM, &a->addr) : NULL;
    uint64_t after = DIAL_STAGGER_NS, since = under_way ? d->last_start : 0;
    if (first) {
        if (!first->started_ns) return NEVER;
        after = d->want == DIAL_BULK ? 0 : DIAL_STREAM_AFTER_NS;
        since = first->started_ns;
    }
    return since && since + after > a->not_before ? since + after : a->not_before;
}

/* Start what is due; the time of what comes next. */
static uint64_t start_due(dial *d, uint64_t now)
{
    uint64_t next = d->begun_ns + DIAL_RELAY_AFTER_NS;
    bool under_way = false;
    if (!d->core->relays || now >= next) next = NEVER;
    collect(d);
    for (size_t i = 0; i < d->count; i++) under_way |= d->attempts[i].session != NULL;
    for (size_t i = 0; i < d->count; i++) {
        attempt *a = &d->attempts[i];
        if (a->session || !a->still_there || (d->by_tag && a->tried)) continue;
        uint64_t due = due_ns(d, a, under_way);
        if (due > now) {
            if (due < next) next = due;
            continue;
        }
        start(d, a);
        under_way |= a->session != NULL;
    }
    return next;
}

/* From when on waiting is of no use; NEVER: somebody may still appear. */
static uint64_t hopeless_ns(dial *d)
{
    kith_addr where;
    if (!asks_relays(d->want) || d->by_tag || !kith__relays_refused(d->core)) return NEVER;
    if (d->want != DIAL_RELAY && kith__lan_sees_device(d->core, &d->peer, &where)) return NEVER;
    return d->begun_ns + DIAL_HOPELESS_NS;
}

/* Go on with the race, and set the timer for what comes next. */
static void go_on(dial *d)
{
    uint64_t now = kith__core_now(d->core);
    if (d->over) return;
    if (d->second) {
        if (now >= d->second_ns || !stream_comes(d, &d->second->remote))
            succeed(d, d->second);
        else
            d->core->env->timers->set(d->timer, d->second_ns);
        return;
    }
    uint64_t end = hopeless_ns(d) < d->deadline ? hopeless_ns(d) : d->deadline;
    if (now >= end) {
        fail(d, d->why ? d->why : d->but.count ? KITH_ERR_NOT_ALLOWED : KITH_ERR_UNREACHABLE);
        return;
    }
    uint64_t next = start_due(d, now);
    d->core->env->timers->set(d->timer, next < end ? next : end);
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
    d->begun_ns = kith__core_now(core);
    d->deadline = d->begun_ns + patience_ns;
    kith_list_append(&core->dials, &d->link);
    *out = d;
    return KITH_OK;
}

static bool of_wanted_kind(const dial *d, const session *s)
{
    bool relayed = s->remote.family == KITH_FAMILY_RELAY;
    return d->want == DIAL_RELAY ? s->relay_only : d->want != DIAL_DATAGRAM || !relayed;
}

/* One that is there already and is what is wanted; only datagrams, where bulk is wanted, may gain TCP first. */
static void begin(dial *d)
{
    kith_core *core = d->core;
    session *datagram = NULL, *stream = NULL;
    if (d->want != DIAL_STREAM) datagram = kith__session_find(core, CARRIER_DATAGRAM, d->peer.fingerprint, &d->but);
    if (datagram && !of_wanted_kind(d, datagram)) datagram = NULL;
    if (d->want != DIAL_DATAGRAM && d->want != DIAL_RELAY)
        stream = kith__session_find(core, CARRIER_STREAM, d->peer.fingerprint, &d->but);
    if (stream && (d->want != DIAL_ANY || !datagram || datagram->remote.family == KITH_FAMILY_RELAY)) {
        succeed(d, stream);
    } else if (datagram && d->want == DIAL_BULK) {
        kith_conn_stats stats;
        kith_conn_get_stats(datagram->conn, &stats);
        if (kith__session_is_near(datagram)) note(d, CARRIER_STREAM, &datagram->remote, 0);
        answered(d, datagram, stats.min_rtt_ns);
    } else if (datagram) {
        succeed(d, datagram);
    } else {
        go_on(d);
    }
}

kith_err kith__dial_device(kith_core *core, const kith_peer *peer, dial_want want, const node_set *but,
                           uint64_t patience_ns, const dial_events *events, void *user, dial **out)
{
    dial *d;
    uint64_t others_ns = core->relays && asks_relays(want) ? DIAL_OTHERS_RELAY_NS : DIAL_OTHERS_NS;
    if (but && but->count && patience_ns > others_ns) patience_ns = others_ns;
    kith_err err = dial_new(core, patience_ns, events, user, &d);
    if (err) return err;
    d->peer = *peer;
    d->want = want;
    if (but) d->but = *but;
    *out = d;
    begin(d);
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

bool kith__dial_is_over(const dial *d) { return d->over; }

void kith__dial_free(dial *d)
{
    if (!d) return;
    d->over = true;
    stop_attempts(d, NULL);
    drop_second(d);
    kith_list_remove(&d->link);
    d->core->env->timers->close(d->timer);
    kith_free(d);
}

void kith__dial_look_again(kith_core *core)
{
    KITH_EACH (at, &core->dials) go_on(KITH_OF(at, dial, link));
}
