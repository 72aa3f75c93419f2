#include "node/beside.h"

#include "base/mem.h"
#include "node/roam.h"

#include <string.h>

typedef struct attempt {
    struct beside *of;
    session *session; /* NULL: none */
    kith_addr addr;
} attempt;

struct beside {
    session *session;
    kith_beside machine;
    kith_timer *timer;
    attempt attempts[KITH_BESIDE_AT_ONCE];
};

static uint64_t now_of(const struct beside *b) { return kith__core_now(b->session->core); }
static void set_timer(struct beside *b)
{
    b->session->core->env->timers->set(b->timer, kith_beside_deadline_ns(&b->machine));
}

/* ---- attempts ---- */

/* It may have been the twin, or never have become one.  Others are not begun from here: everything may be going. */
static void attempt_over(void *user, session *s, kith_err why)
{
    attempt *a = user;
    (void)s, (void)why;
    a->session = NULL;
    kith_beside_over(&a->of->machine, &a->addr, now_of(a->of));
    set_timer(a->of);
}

static attempt *free_attempt(struct beside *b)
{
    for (size_t i = 0; i < KITH_BESIDE_AT_ONCE; i++)
        if (!b->attempts[i].session) return &b->attempts[i];
    return NULL;
}

static void begin_attempt(struct beside *b, const kith_addr *addr)
{
    session *s = b->session;
    kith_core *core = s->core;
    char text[KITH_ADDR_TEXT_SIZE];
    attempt *a = free_attempt(b);
    session_watch watch = {.failed = attempt_over, .user = a};
    if (!a || !kith_bucket_take(&core->besides, BESIDE_ATTEMPT_EVERY, BESIDE_ATTEMPTS_MAX, now_of(b))) {
        kith_beside_refused(&b->machine, addr, now_of(b));
        return;
    }
    kith__core_log(core, KITH_LOG_DEBUG, "dialling %s over TCP beside it", kith_addr_text(addr, text));
    *a = (attempt){.of = b, .addr = *addr};
    if (kith__session_dial(core, CARRIER_STREAM, addr, &s->known, &watch, &a->session)) {
        a->session = NULL;
        kith_beside_over(&b->machine, addr, now_of(b));
        return;
    }
    core->env->timers->set(a->session->timer, now_of(b) + KITH_BESIDE_TRY_NS); /* until it is connected */
}

/* Those that have not come to anything yet. */
static void stop_attempts(struct beside *b)
{
    for (size_t i = 0; i < KITH_BESIDE_AT_ONCE; i++) {
        attempt *a = &b->attempts[i];
        session *s = a->session;
        if (!s || s->greeted) continue;
        a->session = NULL;
        kith__session_unwatch(s);
        kith__session_close(s, KITH_OK);
        kith_beside_over(&b->machine, &a->addr, now_of(b));
    }
}

/* With a twin that the other side dialled, which may have one of ours at this moment and give up its own for it, ours
 * are not given up by the one whose is to be kept: else both might be. */
static bool are_needless(const struct beside *b)
{
    const session *twin = kith__session_twin(b->session);
    return !b->machine.wanted || (twin && (twin->dialler || !kith__session_lower_is_ours(twin)));
}

static void go_on(struct beside *b)
{
    kith_addr addr;
    if (are_needless(b)) stop_attempts(b);
    while (kith_beside_next(&b->machine, &addr, now_of(b))) begin_attempt(b, &addr);
    set_timer(b);
}

static void on_timer(void *user)
{
    struct beside *b = user;
    kith_core *core = b->session->core;
    go_on(b);
    kith__core_pump(core);
}

/* ---- its life ---- */

kith_err kith__beside_new(session *s, struct beside **out)
{
    struct beside *b = kith_calloc(1, sizeof *b);
    if (b) b->timer = s->core->env->timers->open(s->core->env, on_timer, b);
    if (!b || !b->timer) {
        kith_free(b);
        return KITH_ERR_NOMEM;
    }
    b->session = s;
    kith_beside_init(&b->machine, memcmp(s->core->signer.fingerprint, s->known.fingerprint, 32) < 0);
    *out = b;
    return KITH_OK;
}

void kith__beside_free(struct beside *b)
{
    if (!b) return;
    stop_attempts(b);
    for (size_t i = 0; i < KITH_BESIDE_AT_ONCE; i++)
        if (b->attempts[i].session) kith__session_unwatch(b->attempts[i].session);
    b->session->core->env->timers->close(b->timer);
    kith_free(b);
}

static bool bulk_is_wanted(const session *s)
{
    for (const kith_link *at = s->uses.head.next; at != &s->uses.head; at = at->next)
        if (KITH_OF(at, const session_hold, link)->bulk) return true;
    return false;
}

void kith__beside_look(struct beside *b, const kith_chooser *known, bool welcome)
{
    session *s = b->session;
    kith_addr found[KITH_BESIDE_MAX];
    bool used = !s->over && (!s->dialler || !kith_list_empty(&s->uses)); /* else who dialled it would close it */
    size_t count = kith_chooser_better(known, found, KITH_BESIDE_MAX);
    if (count < KITH_BESIDE_MAX && bulk_is_wanted(s) && kith__session_is_near(s)) found[count++] = s->remote;
    kith_beside_offer(&b->machine, found, count, now_of(b));
    kith_beside_there(&b->machine, kith__session_twin(s) != NULL, now_of(b));
    kith_beside_want(&b->machine, welcome && used && s->core->env->tcp);
    if (are_needless(b)) stop_attempts(b);
    set_timer(b);
}

void kith__beside_anew(struct beside *b)
{
    kith_beside_anew(&b->machine, now_of(b));
    set_timer(b);
}

/* ---- twins that come and go ---- */

/* Of two over TCP with one node the one to keep is not this one. */
static bool is_to_go(const session *s, const session *other)
{
    if (s->dialler == other->dialler) return s->number > other->number;
    return s->dialler != kith__session_lower_is_ours(s);
}

static void settle(session *s)
{
    KITH_EACH (at, &s->core->sessions) {
        session *other = KITH_OF(at, session, link);
        if (other == s || other->carrier->kind != CARRIER_STREAM || !other->ready || !other->greeted) continue;
        if (!kith__session_same_node(s, other)) continue;
        session *goes = is_to_go(s, other) ? s : other;
        if (!goes->dialler || !kith_list_empty(&goes->uses) || !kith_list_empty(&goes->channels)) continue;
        kith__session_close(goes, KITH_OK);
        if (goes == s) return;
    }
}

void kith__beside_greeted(session *s)
{
    kith_core *core = s->core;
    if (s->carrier->kind != CARRIER_STREAM || s->for_pairing) return;
    settle(s);
    KITH_EACH (at, &core->sessions) {
        session *d = KITH_OF(at, session, link);
        if (d->carrier->kind != CARRIER_DATAGRAM || !d->ready || !s->ready || !kith__session_same_node(d, s)) continue;
        kith__roam_used(d);
        KITH_EACH (held, &d->uses) {
            session_hold *hold = KITH_OF(held, session_hold, link);
            if (hold->beside) hold->beside(hold->user, s);
        }
    }
}

void kith__beside_ended(session *s)
{
    if (s->carrier->kind != CARRIER_STREAM || s->for_pairing) return;
    KITH_EACH (at, &s->core->sessions) {
        session *d = KITH_OF(at, session, link);
        if (d->carrier->kind == CARRIER_DATAGRAM && d->ready && kith__session_same_node(d, s)) kith__roam_used(d);
    }
}

bool kith__beside_is_better(const session *other, const session *than, bool bulk)
{
    kith_tier its = kith_tier_of(&other->remote), ours = kith_tier_of(&than->remote);
    if (other->carrier->kind != CARRIER_STREAM || than->carrier->kind != CARRIER_DATAGRAM) return false;
    return its < ours || (bulk && its == ours && kith__session_is_near(than));
}
