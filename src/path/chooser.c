#include "path/chooser.h"

#include <string.h>

#define BIT(source)    (1u << (source))
#define REFUSED_NS     UINT64_C(500000000)    /* until what could not be done is tried again */
#define ASKED_GAP_NS   UINT64_C(1000000000)   /* the peer's probes make us probe that route once in so long */
#define RECENT_NS      UINT64_C(300000000000) /* going back to where one came from within this is flapping */
#define DEATH_SHUN_NS  UINT64_C(5000000000)   /* one that died is not for comfort for so long, doubling */
#define SAME_MOMENT_NS UINT64_C(1000000000)
#define DEATHS_COUNTED 5
#define NEVER          UINT64_MAX

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

kith_tier kith_tier_of(const kith_addr *addr)
{
    if (addr->family == KITH_FAMILY_RELAY) return KITH_TIER_RELAY;
    return kith_addr_is_local(addr) ? KITH_TIER_LAN : KITH_TIER_INTERNET;
}

bool kith_route_plausible(const kith_addr *addr)
{
    const uint8_t *ip = addr->ip;
    if (addr->family == KITH_FAMILY_NONE || addr->family == KITH_FAMILY_RELAY) return false;
    if (addr->port < KITH_ROUTE_PORT_MIN || addr->scope || kith_addr_is_any(addr)) return false;
    if (kith_addr_is_loopback(addr) || kith_addr_is_link_local(addr)) return false;
    if (addr->family == KITH_FAMILY_IPV6) return (ip[0] & 0xe0) == 0x20 || (ip[0] & 0xfe) == 0xfc;
    return ip[0] != 0 && ip[0] < 224; /* "this network"; multicast, reserved, broadcast */
}

/* ---- routes ---- */

static kith_route *find(kith_chooser *c, const kith_addr *addr)
{
    for (size_t i = 0; i < c->count; i++)
        if (kith_addr_equal(&c->routes[i].addr, addr)) return &c->routes[i];
    return NULL;
}

static kith_route *current(kith_chooser *c) { return &c->routes[c->current]; }

/* Its place; when all are taken that of the one which is the least use, if it is less than this one: NULL. */
static kith_route *add(kith_chooser *c, const kith_addr *addr)
{
    kith_route *place = NULL;
    if (c->count < KITH_ROUTES_MAX) {
        place = &c->routes[c->count++];
    } else {
        for (size_t i = 0; i < c->count; i++) {
            kith_route *r = &c->routes[i];
            if (i == c->current || r->asking || r->sources & ~BIT(KITH_ROUTE_ASKED)) continue;
            if (!place || !r->good) place = r;
        }
    }
    if (place) *place = (kith_route){.addr = *addr, .tier = kith_tier_of(addr)};
    return place;
}

static void drop(kith_chooser *c, size_t i)
{
    c->routes[i] = c->routes[--c->count];
    if (c->current == c->count) c->current = i;
}

void kith_chooser_init(kith_chooser *c, bool dialler, const kith_addr *addr, uint64_t now)
{
    *c = (kith_chooser){.dialler = dialler,
                        .announce = true,
                        .retry_ns = NEVER,
                        .measure_ns = NEVER,
                        .again_ns = NEVER,
                        .hold_ns = KITH_ROUTE_HOLD_NS};
    kith_route *r = add(c, addr);
    r->sources = BIT(KITH_ROUTE_USED);
    r->good = true;
    r->answered_ns = now;
}

/* ---- rounds ---- */

static uint64_t stale_at(const kith_route *r) { return r->answered_ns + KITH_ROUTE_FRESH_NS; }
static bool fresh(const kith_route *r, uint64_t now) { return r->good && now < stale_at(r); }

/* Is it better than the current one by kind, so that it is worth trying again and again? */
static bool promising(kith_chooser *c, const kith_route *r) { return r->tier < current(c)->tier; }

static bool any_promising(kith_chooser *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (promising(c, &c->routes[i])) return true;
    return false;
}

/* Every probe and every move has an answer, but for those that were overtaken by the peer's own moves. */
static void forget_lost(kith_chooser *c, uint64_t now)
{
    if (c->moving && now - c->moving_ns >= KITH_ROUTE_LOST_NS) c->moving = false;
    for (size_t i = 0; i < c->count; i++) {
        kith_route *r = &c->routes[i];
        if (!r->asking || now - r->asked_ns < KITH_ROUTE_LOST_NS) continue;
        r->asking = r->good = false;
    }
}

/* All routes, or those that are better by kind and not known to work. */
static void begin_round(kith_chooser *c, bool all, uint64_t now)
{
    forget_lost(c, now);
    for (size_t i = 0; i < c->count; i++) {
        kith_route *r = &c->routes[i];
        if (r->asking) continue;
        if (all || (i != c->current && promising(c, r) && !fresh(r, now))) r->due = true;
    }
}

/* Better ones that do not answer are tried again, ever more seldom. */
static void set_retry(kith_chooser *c, bool anew, uint64_t now)
{
    if (anew) c->retry_after_ns = KITH_ROUTE_RETRY_NS;
    c->retry_ns = c->dialler && any_promising(c) ? now + c->retry_after_ns : NEVER;
}

static void suspect(kith_chooser *c, uint64_t now)
{
    if (c->suspect) return;
    c->suspect = true;
    c->suspect_ns = now;
    c->again_after_ns = KITH_ROUTE_AGAIN_NS;
    c->again_ns = now + c->again_after_ns;
    c->announce |= c->dialler;
    begin_round(c, true, now);
}

static void trust(kith_chooser *c)
{
    c->suspect = c->changed = false;
    c->again_ns = NEVER;
}

/* ---- what is told ---- */

static const size_t most_of[] = {[KITH_ROUTE_SAID] = KITH_ROUTES_SAID_MAX,
                                 [KITH_ROUTE_SEEN] = KITH_ROUTES_SEEN_MAX,
                                 [KITH_ROUTE_RELAY] = KITH_ROUTES_RELAY_MAX};

void kith_chooser_offer(kith_chooser *c, kith_route_source source, const kith_addr *addrs, size_t count, uint64_t now)
{
    bool news = false;
    if (count > most_of[source]) count = most_of[source];
    for (size_t i = 0; i < c->count; i++) c->routes[i].sources &= ~BIT(source);
    for (size_t i = 0; i < count; i++) {
        kith_route *r = find(c, &addrs[i]);
        if (!r && (r = add(c, &addrs[i]))) news |= r->due = promising(c, r) || c->suspect;
        if (r) r->sources |= BIT(source);
    }
    for (size_t i = c->count; i-- > 0;)
        if (!c->routes[i].sources && i != c->current) drop(c, i);
    if (!news) return;
    c->announce |= c->dialler;
    set_retry(c, true, now);
}

void kith_chooser_told(kith_chooser *c, uint64_t now) { begin_round(c, c->suspect, now); }

void kith_chooser_asked(kith_chooser *c, const kith_addr *from, uint64_t now)
{
    forget_lost(c, now);
    kith_route *r = find(c, from);
    bool asked_before = r && r->asked_ns;
    if (!r && (r = add(c, from))) r->sources = BIT(KITH_ROUTE_ASKED);
    if (!r || r->asking || fresh(r, now) || (asked_before && now - r->asked_ns < ASKED_GAP_NS)) return;
    r->due = true;
    if (!c->dialler) return;
    kith_route *in_use = current(c); /* does it still do? */
    if (!in_use->asking && now - in_use->asked_ns >= ASKED_GAP_NS) in_use->due = true;
}

void kith_chooser_silent(kith_chooser *c, uint64_t now) { suspect(c, now); }

void kith_chooser_heard(kith_chooser *c, uint64_t at)
{
    if (!c->dialler && c->suspect && at > c->suspect_ns) trust(c); /* the dialler wants an answer over that route */
}

void kith_chooser_gone(kith_chooser *c, const kith_addr *addr, uint64_t now)
{
    kith_route *r = find(c, addr);
    if (!r) return;
    r->good = false;
    if (r == current(c))
        suspect(c, now);
    else
        drop(c, (size_t)(r - c->routes));
}

void kith_chooser_announce(kith_chooser *c) { c->announce = true; }

void kith_chooser_changed(kith_chooser *c, uint64_t now)
{
    for (size_t i = 0; i < c->count; i++) {
        c->routes[i].good = false;
        c->routes[i].deaths = c->routes[i].shunned_until_ns = 0;
    }
    c->held_until_ns = 0;
    c->announce = true;
    trust(c);
    suspect(c, now);
    c->changed = true;
    set_retry(c, true, now);
}

void kith_chooser_use(kith_chooser *c, bool active, uint64_t now)
{
    if (active == c->active) return;
    c->active = active;
    c->measure_ns = active && c->dialler ? now + KITH_ROUTE_MEASURE_NS : NEVER;
}

/* ---- what probes found ---- */

/* Is it as good by kind and clearly nearer?  Each answer counts once, beside one of the same moment. */
static void compare(kith_chooser *c, kith_route *r, uint64_t now)
{
    const kith_route *in_use = current(c);
    if (r == in_use || r->tier != in_use->tier || !r->good || !in_use->good || !in_use->rtt_ns) return;
    if (r->compared_ns >= r->answered_ns || now - smaller(r->answered_ns, in_use->answered_ns) > SAME_MOMENT_NS) return;
    r->compared_ns = now;
    bool clearly = r->rtt_ns + KITH_ROUTE_MARGIN_NS < in_use->rtt_ns - in_use->rtt_ns / 4;
    r->better = clearly ? r->better + 1 : 0;
    if (clearly && r->better < KITH_ROUTE_MARGIN_TURN && c->dialler)
        c->measure_ns = smaller(c->measure_ns, now + KITH_ROUTE_AGAIN_NS);
}

void kith_chooser_probed(kith_chooser *c, const kith_addr *addr, kith_err err, uint64_t rtt_ns, uint64_t now)
{
    kith_route *r = find(c, addr);
    if (!r) return;
    if (err && c->moving && kith_addr_equal(&c->moving_to, addr)) c->moving = false; /* it failed, or will */
    r->asking = false;
    r->good = !err;
    if (err) {
        r->better = 0;
        r->due = c->suspect && r == current(c);
        return;
    }
    r->answered_ns = now;
    r->rtt_ns = rtt_ns;
    if (r == current(c) && c->suspect) {
        c->restart = c->dialler && now - c->suspect_ns > KITH_ROUTE_RESTART_NS;
        trust(c);
    }
    for (size_t i = 0; i < c->count; i++) compare(c, &c->routes[i], now);
}

/* It was left because it was silent. */
static void died(kith_chooser *c, kith_route *r, uint64_t now)
{
    r->good = false;
    if (c->changed) return; /* that is not the route's fault: it may do again from where we are now */
    if (r->deaths < DEATHS_COUNTED) r->deaths++;
    r->shunned_until_ns = now + (DEATH_SHUN_NS << r->deaths);
}

void kith_chooser_moved(kith_chooser *c, const kith_addr *to, uint64_t now)
{
    kith_route *from = current(c), *r = find(c, to);
    kith_addr left = from->addr;
    if (r == from) {
        c->moving = false;
        return;
    }
    if (c->suspect) died(c, from, now);
    from->sources &= ~BIT(KITH_ROUTE_USED);
    if (!r) r = add(c, to);
    if (!r) { /* no place: it takes the old one's */
        r = from;
        *r = (kith_route){.addr = *to, .tier = kith_tier_of(to)};
    }
    r->sources |= BIT(KITH_ROUTE_USED);
    r->good = true;
    r->due = false;
    r->answered_ns = now;
    c->current = (size_t)(r - c->routes);
    for (size_t i = 0; i < c->count; i++) c->routes[i].better = 0;
    bool back = kith_addr_equal(&c->moved_from, to) && now - c->moved_ns < RECENT_NS;
    c->hold_ns = back ? smaller(2 * c->hold_ns, KITH_ROUTE_HOLD_MAX) : KITH_ROUTE_HOLD_NS;
    c->held_until_ns = now + c->hold_ns;
    c->moved_from = left;
    c->moved_ns = now;
    c->moving = false;
    trust(c);
    begin_round(c, false, now);
    set_retry(c, true, now);
}

/* ---- what is to be done ---- */

/* The best that answered since, by kind and then by round trip. */
static const kith_route *best(const kith_chooser *c, uint64_t since)
{
    const kith_route *found = NULL;
    for (size_t i = 0; i < c->count; i++) {
        const kith_route *r = &c->routes[i];
        if (i == c->current || !r->good || r->answered_ns < since) continue;
        if (!found || r->tier < found->tier || (r->tier == found->tier && r->rtt_ns < found->rtt_ns)) found = r;
    }
    return found;
}

/* How long the suspected route has to answer before another takes its place. */
static uint64_t grace_until(const kith_chooser *c)
{
    return c->suspect_ns + larger(2 * c->routes[c->current].rtt_ns, KITH_ROUTE_SUSPECT_NS);
}

static bool away(kith_chooser *c, kith_choice *out, uint64_t now)
{
    const kith_route *r = best(c, c->suspect_ns);
    if (!r || now < grace_until(c)) return false;
    *out = (kith_choice){.kind = KITH_CHOOSE_MOVE, .addr = r->addr, .dead = true};
    return true;
}

static bool for_comfort(kith_chooser *c, kith_choice *out, uint64_t now)
{
    kith_route *found = NULL;
    for (size_t i = 0; i < c->count; i++) {
        kith_route *r = &c->routes[i];
        bool higher = r->tier < current(c)->tier;
        bool nearer = r->tier == current(c)->tier && r->better >= KITH_ROUTE_MARGIN_TURN && now >= c->held_until_ns;
        if (i == c->current || !fresh(r, now) || now < r->shunned_until_ns || (!higher && !nearer)) continue;
        if (!found || r->tier < found->tier || (r->tier == found->tier && r->rtt_ns < found->rtt_ns)) found = r;
    }
    if (found) *out = (kith_choice){.kind = KITH_CHOOSE_MOVE, .addr = found->addr};
    return found;
}

static bool move(kith_chooser *c, kith_choice *out, uint64_t now)
{
    if (!c->dialler || c->moving || now < c->no_move_before_ns) return false;
    c->moving = c->suspect ? away(c, out, now) : for_comfort(c, out, now);
    if (!c->moving) return false;
    c->moving_to = out->addr;
    c->moving_ns = now;
    return true;
}

/* What worked before, then relays, which are nobody's mere claim, then the others. */
static unsigned hope(const kith_route *r) { return r->answered_ns ? 2 : r->tier == KITH_TIER_RELAY; }

/* In a silence each has its turn once, the most hopeful first; else the one that was not asked for longest. */
static bool goes_before(const kith_chooser *c, const kith_route *a, const kith_route *b)
{
    bool first_a = c->suspect && a->asked_ns < c->suspect_ns, first_b = c->suspect && b->asked_ns < c->suspect_ns;
    if (first_a != first_b) return first_a;
    if (first_a && hope(a) != hope(b)) return hope(a) > hope(b);
    return a->asked_ns < b->asked_ns;
}

size_t kith_chooser_better(const kith_chooser *c, kith_addr *out, size_t cap)
{
    size_t n = 0;
    for (kith_tier tier = KITH_TIER_LAN; tier < c->routes[c->current].tier; tier++)
        for (int said = 0; said < 2; said++)
            for (size_t i = 0; i < c->count && n < cap; i++) {
                const kith_route *r = &c->routes[i];
                bool seen = r->sources & BIT(KITH_ROUTE_SEEN);
                if (r->tier != tier || !(seen || r->sources & BIT(KITH_ROUTE_SAID)) || seen == said) continue;
                out[n++] = r->addr;
            }
    return n;
}

static bool probe(kith_chooser *c, kith_choice *out, uint64_t now)
{
    kith_route *next = NULL;
    if (now < c->no_probe_before_ns) return false;
    for (size_t i = 0; i < c->count; i++) {
        kith_route *r = &c->routes[i];
        if (r->due && (!next || goes_before(c, r, next))) next = r;
    }
    if (!next || !kith_bucket_take(&c->asks, KITH_ROUTE_ASK_EVERY_NS, KITH_ROUTE_ASKS_BURST, now)) return false;
    next->due = false;
    next->asking = true;
    next->asked_ns = now;
    *out = (kith_choice){.kind = KITH_CHOOSE_PROBE, .addr = next->addr};
    return true;
}

static void on_time(kith_chooser *c, uint64_t now)
{
    if (now >= c->again_ns) { /* still silent */
        c->again_after_ns = smaller(2 * c->again_after_ns, KITH_ROUTE_AGAIN_MAX);
        c->again_ns = now + c->again_after_ns;
        c->announce |= c->dialler;
        begin_round(c, true, now);
    }
    if (now >= c->retry_ns) {
        c->retry_after_ns = smaller(2 * c->retry_after_ns, KITH_ROUTE_RETRY_MAX);
        c->announce |= c->dialler;
        begin_round(c, false, now);
        set_retry(c, false, now);
    }
    if (now >= c->measure_ns) {
        c->measure_ns = now + KITH_ROUTE_MEASURE_NS;
        for (size_t i = 0; c->count > 1 && i < c->count; i++)
            c->routes[i].due |= !c->routes[i].asking && (c->routes[i].good || i == c->current);
    }
}

bool kith_chooser_next(kith_chooser *c, kith_choice *out, uint64_t now)
{
    c->looked_ns = now;
    forget_lost(c, now);
    on_time(c, now);
    if (c->announce) {
        c->announce = false;
        *out = (kith_choice){.kind = KITH_CHOOSE_ANNOUNCE};
        return true;
    }
    if (c->restart) {
        c->restart = false;
        *out = (kith_choice){.kind = KITH_CHOOSE_RESTART};
        return true;
    }
    return move(c, out, now) || probe(c, out, now);
}

void kith_chooser_refused(kith_chooser *c, const kith_choice *choice, uint64_t now)
{
    kith_route *r = find(c, &choice->addr);
    if (choice->kind == KITH_CHOOSE_MOVE) {
        c->no_move_before_ns = now + REFUSED_NS;
        c->moving = false;
    }
    if (choice->kind != KITH_CHOOSE_PROBE || !r) return;
    c->no_probe_before_ns = now + REFUSED_NS;
    r->asking = false;
    r->due = true;
}

uint64_t kith_chooser_deadline_ns(const kith_chooser *c)
{
    uint64_t at = c->announce || c->restart ? 0 : smaller(smaller(c->again_ns, c->retry_ns), c->measure_ns);
    kith_tier tier = c->routes[c->current].tier;
    if (c->moving) at = smaller(at, c->moving_ns + KITH_ROUTE_LOST_NS);
    if (c->suspect && c->dialler && !c->moving && best(c, c->suspect_ns))
        at = smaller(at, larger(grace_until(c), c->no_move_before_ns));
    for (size_t i = 0; i < c->count; i++) {
        const kith_route *r = &c->routes[i];
        uint64_t ask = kith_bucket_next_ns(&c->asks, KITH_ROUTE_ASK_EVERY_NS);
        if (r->due) at = smaller(at, larger(ask, c->no_probe_before_ns));
        bool comfort = c->dialler && !c->moving && !c->suspect && i != c->current && r->good &&
                       c->looked_ns < stale_at(r) && (r->tier < tier || r->better >= KITH_ROUTE_MARGIN_TURN);
        if (!comfort) continue;
        uint64_t when = larger(r->shunned_until_ns, c->no_move_before_ns);
        if (r->tier == tier) when = larger(when, c->held_until_ns);
        if (when < stale_at(r)) at = smaller(at, when);
    }
    return at;
}
