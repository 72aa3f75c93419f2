/* Sessions at a relay as places that packets go to, and who may be found at one. */
#include "node/relay_internal.h"

#include "node/roam.h"

#include <string.h>

kith_addr kith__place_address(const relay_link *l, const place *p)
{
    kith_addr a = {.family = KITH_FAMILY_RELAY, .ip = {[3] = (uint8_t)l->index}};
    for (int i = 0; i < 4; i++) a.ip[4 + i] = (uint8_t)(p->id >> (24 - 8 * i));
    return a;
}

size_t kith__place_link(const kith_addr *addr) { return addr->ip[3]; }

place *kith__place_at(struct relays *all, const kith_addr *addr, relay_link **of)
{
    if (!all || addr->family != KITH_FAMILY_RELAY || kith__place_link(addr) >= all->count) return NULL;
    uint32_t id = 0;
    for (int i = 0; i < 4; i++) id = id << 8 | addr->ip[4 + i];
    *of = &all->links[kith__place_link(addr)];
    place *p = &(*of)->places[id % RELAY_PLACES_MAX];
    return p->id == id && (p->state == PLACE_ASKED_FOR || p->state == PLACE_OPEN) ? p : NULL;
}

place *kith__place_of_session(relay_link *l, uint32_t number)
{
    uint8_t *last = &l->of_session[number % RELAY_PLACES_MAX];
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        size_t at = (*last + i) % RELAY_PLACES_MAX;
        if (l->places[at].state != PLACE_OPEN || l->places[at].session != number) continue;
        *last = (uint8_t)at;
        return &l->places[at];
    }
    return NULL;
}

/* A free one, or else the oldest that nothing was sent to, or that is gone. */
place *kith__place_new(relay_link *l)
{
    place *found = NULL;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        if (p->state == PLACE_OPEN) continue;
        if (p->state == PLACE_FREE) {
            found = p;
            break;
        }
        if (!found || p->since_ns < found->since_ns) found = p;
    }
    if (!found) return NULL;
    uint32_t index = (uint32_t)(found - l->places);
    *found = (place){.id = ++l->all->last_id * RELAY_PLACES_MAX + index, .since_ns = kith__relay_link_now(l)};
    return found;
}

/* Those with packets on the way there hear of it. */
static void place_gone(relay_link *l, place *p, kith_err why, uint64_t until_ns)
{
    kith_addr addr = kith__place_address(l, p);
    p->state = p->theirs ? PLACE_FREE : PLACE_GONE;
    p->since_ns = kith__relay_link_now(l);
    p->absent_until_ns = until_ns;
    kith__roam_gone(l->all->core, &addr, why);
}

void kith__places_all_gone(relay_link *l)
{
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++)
        if (l->places[i].state == PLACE_OPEN) place_gone(l, &l->places[i], KITH_ERR_LOST, 0);
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) l->places[i].state = PLACE_FREE;
}

static bool in_use(kith_core *core, const kith_addr *addr)
{
    KITH_EACH (at, &core->sessions)
        if (kith_addr_equal(&KITH_OF(at, session, link)->remote, addr)) return true;
    return false;
}

static void end_place(relay_link *l, place *p)
{
    kith_relay_client_end(l->client, p->session, false);
    place_gone(l, p, KITH_ERR_CLOSED, 0);
    p->state = PLACE_FREE;
}

void kith__relays_done_with(kith_core *core, const kith_addr *addr)
{
    relay_link *l;
    place *p = kith__place_at(core->relays, addr, &l);
    if (!p) return;
    if (p->state == PLACE_OPEN)
        p->ends_ns = kith__relay_link_now(l) + RELAY_LINGER_NS;
    else
        p->state = PLACE_FREE;
    kith__relay_link_flush(l);
}

/* The last words have gone; it may be in use again. */
void kith__places_end_unused(relay_link *l)
{
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        kith_addr addr = kith__place_address(l, p);
        if (p->state != PLACE_OPEN || !p->ends_ns || p->ends_ns > kith__relay_link_now(l)) continue;
        p->ends_ns = 0;
        if (!in_use(l->all->core, &addr)) end_place(l, p);
    }
}

uint64_t kith__places_deadline(const relay_link *l)
{
    uint64_t at = NEVER;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        const place *p = &l->places[i];
        if (p->state == PLACE_OPEN && p->ends_ns && p->ends_ns < at) at = p->ends_ns;
    }
    return at;
}

/* Who opens many and uses none does not keep others out. */
void kith__places_make_room(relay_link *l, const uint8_t from[static 32])
{
    place *oldest = NULL, *of_device = NULL;
    size_t all = 0, same = 0;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        if (p->state != PLACE_OPEN || !p->theirs) continue;
        bool of_it = memcmp(p->fingerprint, from, sizeof p->fingerprint) == 0;
        kith_addr addr = kith__place_address(l, p);
        all++;
        same += of_it;
        if (in_use(l->all->core, &addr)) continue;
        if (!oldest || p->since_ns < oldest->since_ns) oldest = p;
        if (of_it && (!of_device || p->since_ns < of_device->since_ns)) of_device = p;
    }
    place *p = same >= RELAY_DEVICE_MAX ? of_device : all >= RELAY_THEIRS_MAX ? oldest : NULL;
    if (p) end_place(l, p);
}

static void over_until(relay_link *l, place *p, uint64_t until_ns)
{
    if (!l->again_ns || until_ns < l->again_ns) l->again_ns = until_ns;
    place_gone(l, p, KITH_ERR_UNREACHABLE, until_ns);
}

void kith__place_over(relay_link *l, uint32_t number, bool was_there)
{
    place *p = kith__place_of_session(l, number);
    uint64_t after = RELAY_BACK_NS;
    if (!p) return;
    if (was_there) p->absences = 0;
    for (unsigned i = 0; i < p->absences && after < RELAY_AGAIN_NS; i++) after *= 2;
    if (!was_there) p->absences++;
    over_until(l, p, kith__relay_link_now(l) + (after < RELAY_AGAIN_NS ? after : RELAY_AGAIN_NS));
}

void kith__place_limited(relay_link *l, uint32_t number, uint64_t until_ns)
{
    place *p = kith__place_of_session(l, number);
    uint64_t least_ns = kith__relay_link_now(l) + RELAY_BACK_NS;
    if (p) over_until(l, p, until_ns > least_ns ? until_ns : least_ns);
}

/* The next time that somebody who was not there may be looked for again. */
void kith__places_set_again(relay_link *l)
{
    l->again_ns = 0;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        const place *p = &l->places[i];
        if (p->state != PLACE_GONE || p->absent_until_ns <= kith__relay_link_now(l)) continue;
        if (!l->again_ns || p->absent_until_ns < l->again_ns) l->again_ns = p->absent_until_ns;
    }
}

/* Whom a place is to lead to. */
typedef struct whom {
    const uint8_t *fingerprint; /* NULL: who has the tag */
    uint32_t tag;
    uint8_t but[NODES_MAX][KITH_HELLO_INSTANCE_SIZE];
    size_t but_count;
} whom;

static bool leads_to(const place *p, const whom *w)
{
    if (p->state == PLACE_FREE || p->theirs || p->by_tag != !w->fingerprint) return false;
    if (!w->fingerprint) return p->tag == w->tag;
    return memcmp(p->fingerprint, w->fingerprint, sizeof p->fingerprint) == 0 && p->but_count == w->but_count &&
           memcmp(p->but, w->but, w->but_count * sizeof *w->but) == 0;
}

/* The place that stands for the target there; none while it is known to be absent. */
static place *place_for(relay_link *l, const whom *w)
{
    unsigned absences = 0;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        if (!leads_to(p, w)) continue;
        p->ends_ns = 0;
        if (p->state != PLACE_GONE) return p;
        if (kith__relay_link_now(l) < p->absent_until_ns) return NULL;
        absences = p->absences;
        p->state = PLACE_FREE;
    }
    place *p = kith__place_new(l);
    if (!p) return NULL;
    p->absences = absences;
    p->state = PLACE_ASKED_FOR;
    p->by_tag = !w->fingerprint;
    p->tag = w->tag;
    if (w->fingerprint) memcpy(p->fingerprint, w->fingerprint, sizeof p->fingerprint);
    p->but_count = w->but_count;
    memcpy(p->but, w->but, sizeof p->but);
    return p;
}

/* The nearest first, then the others in the order they were named. */
static size_t find(kith_core *core, const whom *w, kith_addr *out, uint64_t *nodes, size_t cap)
{
    struct relays *all = core->relays;
    size_t n = 0;
    if (!all) return 0;
    size_t first = kith_relays_chosen(&all->choice);
    for (size_t i = 0; i <= all->count && n < cap; i++) {
        size_t index = i == 0 ? first : i - 1;
        if (index >= all->count || (i && index == first) || !kith__relay_link_is_up(&all->links[index])) continue;
        place *p = place_for(&all->links[index], w);
        if (!p) continue;
        out[n] = kith__place_address(&all->links[index], p);
        if (nodes) nodes[n] = index; /* behind a tag there is one node at each relay */
        n++;
    }
    return n;
}

/* Relay's number in ip[0..3] as before, then the beginning of the fingerprint; zeros when the place is gone. */
kith_addr kith__relays_source(kith_core *core, const kith_addr *addr)
{
    relay_link *l;
    kith_addr source = kith_code_source(addr);
    if (addr->family != KITH_FAMILY_RELAY) return source;
    const place *p = kith__place_at(core->relays, addr, &l);
    memset(source.ip + 4, 0, sizeof source.ip - 4);
    if (p) memcpy(source.ip + 4, p->fingerprint, sizeof source.ip - 4);
    return source;
}

size_t kith__relays_find_device(kith_core *core, const uint8_t fingerprint[static 32], const node_set *but,
                                kith_addr *out, size_t cap)
{
    static const uint8_t unknown[KITH_HELLO_INSTANCE_SIZE];
    whom w = {.fingerprint = fingerprint};
    for (size_t i = 0; but && i < but->count; i++)
        if (memcmp(but->nodes[i].instance, unknown, sizeof unknown) != 0)
            memcpy(w.but[w.but_count++], but->nodes[i].instance, sizeof *w.but);
    return find(core, &w, out, NULL, cap);
}

size_t kith__relays_find_tag(kith_core *core, uint32_t tag, kith_addr *out, uint64_t *nodes, size_t cap)
{
    const whom w = {.tag = tag};
    return find(core, &w, out, nodes, cap);
}
