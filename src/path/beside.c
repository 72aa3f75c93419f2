#include "path/beside.h"

#define NEVER UINT64_MAX

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

void kith_beside_init(kith_beside *b, bool first)
{
    *b = (kith_beside){.first = first, .again_ns = NEVER, .again_after_ns = KITH_BESIDE_AGAIN_NS};
}

static bool any_due(const kith_beside *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->places[i].due) return true;
    return false;
}

static void begin_after(kith_beside *b, uint64_t now)
{
    b->again_ns = NEVER;
    b->not_before_ns = now + (b->first ? KITH_BESIDE_FIRST_NS : KITH_BESIDE_SECOND_NS);
}

/* The next round, when nothing of this one is left. */
static void set_again(kith_beside *b, uint64_t now)
{
    if (b->there || b->trying || any_due(b) || b->again_ns != NEVER || !b->count) return;
    b->again_ns = now + b->again_after_ns;
    b->again_after_ns *= 2;
    if (b->again_after_ns > KITH_BESIDE_AGAIN_MAX) b->again_after_ns = KITH_BESIDE_AGAIN_MAX;
}

static size_t find(const kith_beside *b, const kith_addr *addr)
{
    for (size_t i = 0; i < b->count; i++)
        if (kith_addr_equal(&b->places[i].addr, addr)) return i;
    return KITH_BESIDE_MAX;
}

/* Those under way stay until they are over. */
static void forget_unnamed(kith_beside *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++) {
        if (!b->places[i].named) b->places[i].due = false;
        if (b->places[i].named || b->places[i].trying) b->places[kept++] = b->places[i];
    }
    b->count = kept;
}

void kith_beside_offer(kith_beside *b, const kith_addr *addrs, size_t count, uint64_t now)
{
    bool news = false, busy = any_due(b) || b->trying;
    for (size_t i = 0; i < b->count; i++) b->places[i].named = false;
    for (size_t i = 0; i < count; i++) {
        size_t at = find(b, &addrs[i]);
        if (at < KITH_BESIDE_MAX) b->places[at].named = true;
    }
    forget_unnamed(b);
    for (size_t i = 0; i < count && b->count < KITH_BESIDE_MAX; i++) {
        if (find(b, &addrs[i]) < KITH_BESIDE_MAX) continue;
        b->places[b->count].addr = addrs[i];
        b->places[b->count].named = b->places[b->count].due = true;
        b->places[b->count++].trying = false;
        news = true;
    }
    if (!b->count) b->again_ns = NEVER;
    if (!news) return;
    b->again_after_ns = KITH_BESIDE_AGAIN_NS;
    if (!busy) begin_after(b, now);
}

static void all_due(kith_beside *b)
{
    for (size_t i = 0; i < b->count; i++) b->places[i].due = b->places[i].named && !b->places[i].trying;
}

void kith_beside_anew(kith_beside *b, uint64_t now)
{
    all_due(b);
    b->again_after_ns = KITH_BESIDE_AGAIN_NS;
    begin_after(b, now);
}

void kith_beside_want(kith_beside *b, bool wanted) { b->wanted = wanted; }

void kith_beside_there(kith_beside *b, bool there, uint64_t now)
{
    if (there == b->there) return;
    b->there = there;
    b->again_ns = NEVER;
    if (there) {
        b->there_ns = now;
        for (size_t i = 0; i < b->count; i++) b->places[i].due = false;
        return;
    }
    if (now - b->there_ns >= KITH_BESIDE_STEADY_NS) b->again_after_ns = KITH_BESIDE_AGAIN_NS;
    set_again(b, now);
}

bool kith_beside_next(kith_beside *b, kith_addr *out, uint64_t now)
{
    if (!b->wanted || b->there) return false;
    if (now >= b->again_ns) {
        b->again_ns = NEVER;
        all_due(b);
    }
    if (b->trying == KITH_BESIDE_AT_ONCE || now < b->not_before_ns) return false;
    if (b->begun_ns && now < b->begun_ns + KITH_BESIDE_STAGGER_NS) return false;
    for (size_t i = 0; i < b->count; i++) {
        if (!b->places[i].due) continue;
        b->places[i].due = false;
        b->places[i].trying = true;
        b->trying++;
        b->begun_ns = now;
        *out = b->places[i].addr;
        return true;
    }
    return false;
}

static void end_attempt(kith_beside *b, const kith_addr *addr, bool again)
{
    size_t at = find(b, addr);
    if (at == KITH_BESIDE_MAX || !b->places[at].trying) return;
    b->places[at].trying = false;
    b->places[at].due = again && b->places[at].named;
    b->trying--;
    forget_unnamed(b);
}

void kith_beside_refused(kith_beside *b, const kith_addr *addr, uint64_t now)
{
    end_attempt(b, addr, true);
    b->not_before_ns = now + KITH_BESIDE_REFUSED_NS;
}

void kith_beside_over(kith_beside *b, const kith_addr *addr, uint64_t now)
{
    end_attempt(b, addr, false);
    set_again(b, now);
}

uint64_t kith_beside_deadline_ns(const kith_beside *b)
{
    if (!b->wanted || b->there) return NEVER;
    if (!any_due(b) || b->trying == KITH_BESIDE_AT_ONCE) return b->again_ns;
    uint64_t at = b->begun_ns ? b->begun_ns + KITH_BESIDE_STAGGER_NS : 0;
    return larger(at, b->not_before_ns);
}
