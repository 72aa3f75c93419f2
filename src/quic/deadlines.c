#include "quic/deadlines.h"

#include "base/mem.h"

static void put(kith_deadlines *all, size_t place, kith_deadline *node)
{
    all->heap[place] = node;
    node->place = place;
}

static void rise(kith_deadlines *all, kith_deadline *node)
{
    size_t place = node->place;
    while (place && all->heap[(place - 1) / 2]->at_ns > node->at_ns) {
        put(all, place, all->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(all, place, node);
}

static void sink(kith_deadlines *all, kith_deadline *node)
{
    size_t place = node->place;
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= all->count) break;
        if (child + 1 < all->count && all->heap[child + 1]->at_ns < all->heap[child]->at_ns) child++;
        if (all->heap[child]->at_ns >= node->at_ns) break;
        put(all, place, all->heap[child]);
        place = child;
    }
    put(all, place, node);
}

void kith_deadlines_done(kith_deadlines *all)
{
    kith_free(all->heap);
    *all = (kith_deadlines){0};
}

kith_err kith_deadlines_add(kith_deadlines *all, kith_deadline *node)
{
    if (all->count == all->room) {
        size_t room = all->room ? all->room * 2 : 16;
        kith_deadline **heap = kith_realloc(all->heap, room * sizeof(kith_deadline *));
        if (!heap) return KITH_ERR_NOMEM;
        all->heap = heap;
        all->room = room;
    }
    node->at_ns = UINT64_MAX;
    put(all, all->count++, node);
    return KITH_OK;
}

void kith_deadlines_remove(kith_deadlines *all, kith_deadline *node)
{
    kith_deadline *last = all->heap[--all->count];
    if (last == node) return;
    put(all, node->place, last);
    rise(all, last);
    sink(all, last);
}

void kith_deadlines_set(kith_deadlines *all, kith_deadline *node, uint64_t at_ns)
{
    uint64_t before = node->at_ns;
    node->at_ns = at_ns;
    if (at_ns < before) rise(all, node);
    if (at_ns > before) sink(all, node);
}

kith_deadline *kith_deadlines_first(const kith_deadlines *all) { return all->count ? all->heap[0] : NULL; }
