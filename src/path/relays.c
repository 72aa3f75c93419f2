#include "path/relays.h"

static uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

static uint64_t probation(const kith_relays_member *m)
{
    uint64_t ns = KITH_RELAYS_PROBATION_NS;
    if (!m->falls) return 0;
    for (unsigned i = 1; i < m->falls && ns < KITH_RELAYS_PROBATION_MAX_NS; i++) ns *= 2;
    return ns < KITH_RELAYS_PROBATION_MAX_NS ? ns : KITH_RELAYS_PROBATION_MAX_NS;
}

static bool is_sound(const kith_relays_member *m, uint64_t now_ns)
{
    return m->up && sum(m->up_ns, probation(m)) <= now_ns;
}

static bool is_nearer(const kith_relays_member *m, const kith_relays_member *than)
{
    if (!m->rtt_ns || !than->rtt_ns || m->rtt_ns >= than->rtt_ns) return false;
    uint64_t gain = than->rtt_ns - m->rtt_ns;
    return gain >= KITH_RELAYS_NEARER_NS && gain >= than->rtt_ns / KITH_RELAYS_NEARER_SHARE;
}

/* ---- choosing ---- */

/* With none chosen: a sound one before others, a measured one before others, the nearest. */
static bool is_better(const kith_relays_member *a, const kith_relays_member *b, uint64_t now_ns)
{
    if (is_sound(a, now_ns) != is_sound(b, now_ns)) return is_sound(a, now_ns);
    if (!a->rtt_ns || !b->rtt_ns) return a->rtt_ns && !b->rtt_ns;
    return a->rtt_ns < b->rtt_ns;
}

static void choose(kith_relays *relays, size_t index)
{
    relays->chosen = index;
    for (size_t i = 0; i < KITH_RELAYS_MAX; i++) relays->members[i].nearer_ns = UINT64_MAX;
}

static void choose_any(kith_relays *relays, uint64_t now_ns)
{
    size_t best = KITH_RELAYS_NONE;
    for (size_t i = 0; i < KITH_RELAYS_MAX; i++) {
        const kith_relays_member *m = &relays->members[i];
        if (m->up && (best == KITH_RELAYS_NONE || is_better(m, &relays->members[best], now_ns))) best = i;
    }
    choose(relays, best);
}

/* When it may be moved to: nearer for long enough, sound, and after the last move has lasted. */
static uint64_t move_at(const kith_relays *relays, const kith_relays_member *m)
{
    if (m->nearer_ns == UINT64_MAX || !m->up) return UINT64_MAX;
    uint64_t at = sum(m->nearer_ns, KITH_RELAYS_HOLD_NS), sound = sum(m->up_ns, probation(m));
    uint64_t dwelt = relays->moved_ns ? sum(relays->moved_ns, KITH_RELAYS_DWELL_NS) : 0;
    if (sound > at) at = sound;
    return dwelt > at ? dwelt : at;
}

static void settle(kith_relays *relays, uint64_t now_ns)
{
    if (relays->chosen == KITH_RELAYS_NONE || !relays->members[relays->chosen].up) {
        choose_any(relays, now_ns);
        return;
    }
    const kith_relays_member *here = &relays->members[relays->chosen];
    size_t best = KITH_RELAYS_NONE;
    for (size_t i = 0; i < KITH_RELAYS_MAX; i++) {
        kith_relays_member *m = &relays->members[i];
        if (!m->up || !is_nearer(m, here)) {
            m->nearer_ns = UINT64_MAX;
        } else if (m->nearer_ns == UINT64_MAX) {
            m->nearer_ns = now_ns;
        }
        if (move_at(relays, m) > now_ns) continue;
        if (best == KITH_RELAYS_NONE || m->rtt_ns < relays->members[best].rtt_ns) best = i;
    }
    if (best == KITH_RELAYS_NONE) return;
    choose(relays, best);
    relays->moved_ns = now_ns;
}

/* ---- what is heard ---- */

void kith_relays_init(kith_relays *relays) { *relays = (kith_relays){.chosen = KITH_RELAYS_NONE}; }

kith_err kith_relays_add(kith_relays *relays, size_t *index)
{
    for (size_t i = 0; i < KITH_RELAYS_MAX; i++) {
        if (relays->members[i].used) continue;
        relays->members[i] = (kith_relays_member){.used = true, .nearer_ns = UINT64_MAX};
        *index = i;
        return KITH_OK;
    }
    return KITH_ERR_LIMIT;
}

void kith_relays_remove(kith_relays *relays, size_t index, uint64_t now_ns)
{
    relays->members[index] = (kith_relays_member){.nearer_ns = UINT64_MAX};
    settle(relays, now_ns);
}

void kith_relays_up(kith_relays *relays, size_t index, uint64_t now_ns)
{
    kith_relays_member *m = &relays->members[index];
    if (!m->used || m->up) return;
    m->up = true;
    m->up_ns = now_ns;
    m->rtt_ns = 0;
    settle(relays, now_ns);
}

void kith_relays_down(kith_relays *relays, size_t index, uint64_t now_ns)
{
    kith_relays_member *m = &relays->members[index];
    if (!m->up) return;
    if (now_ns - m->up_ns >= KITH_RELAYS_PROBATION_MAX_NS) m->falls = 0;
    m->up = false;
    m->falls++;
    settle(relays, now_ns);
}

void kith_relays_rtt(kith_relays *relays, size_t index, uint64_t rtt_ns, uint64_t now_ns)
{
    if (!relays->members[index].up) return;
    relays->members[index].rtt_ns = rtt_ns;
    settle(relays, now_ns);
}

size_t kith_relays_chosen(const kith_relays *relays) { return relays->chosen; }

uint64_t kith_relays_deadline_ns(const kith_relays *relays)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < KITH_RELAYS_MAX; i++) {
        uint64_t move = move_at(relays, &relays->members[i]);
        if (move < at) at = move;
    }
    return at;
}

void kith_relays_expire(kith_relays *relays, uint64_t now_ns) { settle(relays, now_ns); }
