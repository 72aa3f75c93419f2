#include "quic/idmap.h"

#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define SLOTS_FIRST 64 /* a power of two */

typedef struct entry {
    struct entry *next; /* in its slot */
    kith_link in_owner;
    kith_idmap *map;
    void *owner;
    uint8_t size, id[KITH_ID_MAX];
} entry;

struct kith_idmap {
    entry **slots;
    size_t slot_count, count;
    uint8_t key[crypto_shorthash_KEYBYTES];
};

static uint64_t hash_of(const kith_idmap *map, const void *id, size_t size)
{
    uint8_t out[crypto_shorthash_BYTES];
    uint64_t value;
    crypto_shorthash(out, id, size, map->key);
    memcpy(&value, out, sizeof value);
    return value;
}

static entry **slot_of(const kith_idmap *map, const void *id, size_t size)
{
    return &map->slots[hash_of(map, id, size) & (map->slot_count - 1)];
}

/* Where the entry hangs, or the end of its slot. */
static entry **place_of(const kith_idmap *map, const void *id, size_t size)
{
    entry **at = slot_of(map, id, size);
    while (*at && ((*at)->size != size || memcmp((*at)->id, id, size) != 0)) at = &(*at)->next;
    return at;
}

kith_err kith_idmap_new(const uint8_t key[static 16], kith_idmap **out)
{
    kith_idmap *map = kith_calloc(1, sizeof *map);
    if (!map) return KITH_ERR_NOMEM;
    map->slots = kith_calloc(SLOTS_FIRST, sizeof(entry *));
    if (!map->slots) {
        kith_free(map);
        return KITH_ERR_NOMEM;
    }
    map->slot_count = SLOTS_FIRST;
    memcpy(map->key, key, sizeof map->key);
    *out = map;
    return KITH_OK;
}

void kith_idmap_free(kith_idmap *map)
{
    if (!map) return;
    kith_free(map->slots);
    kith_wipe(map->key, sizeof map->key);
    kith_free(map);
}

/* Twice the slots.  Without memory the table stays as it is, only slower. */
static void grow(kith_idmap *map)
{
    entry **old = map->slots, **slots = kith_calloc(map->slot_count * 2, sizeof(entry *));
    size_t old_count = map->slot_count;
    if (!slots) return;
    map->slots = slots;
    map->slot_count *= 2;
    for (size_t i = 0; i < old_count; i++) {
        for (entry *e = old[i], *next; e; e = next) {
            entry **slot = slot_of(map, e->id, e->size);
            next = e->next;
            e->next = *slot;
            *slot = e;
        }
    }
    kith_free(old);
}

kith_err kith_idmap_add(kith_idmap *map, const void *id, size_t size, void *owner, kith_list *list)
{
    if (!size || size > KITH_ID_MAX) return KITH_ERR_ARG;
    if (*place_of(map, id, size)) return KITH_ERR_EXISTS;
    entry *e = kith_calloc(1, sizeof *e);
    if (!e) return KITH_ERR_NOMEM;
    if (map->count >= map->slot_count) grow(map);
    entry **slot = slot_of(map, id, size);
    e->next = *slot;
    *slot = e;
    e->map = map;
    e->owner = owner;
    e->size = (uint8_t)size;
    memcpy(e->id, id, size);
    kith_list_append(list, &e->in_owner);
    map->count++;
    return KITH_OK;
}

void *kith_idmap_find(const kith_idmap *map, const void *id, size_t size)
{
    if (!size || size > KITH_ID_MAX) return NULL;
    entry *e = *place_of(map, id, size);
    return e ? e->owner : NULL;
}

void kith_idmap_remove(kith_idmap *map, const void *id, size_t size)
{
    if (!size || size > KITH_ID_MAX) return;
    entry **at = place_of(map, id, size), *e = *at;
    if (!e) return;
    *at = e->next;
    kith_list_remove(&e->in_owner);
    kith_free(e);
    map->count--;
}

void kith_idmap_remove_all(kith_list *list)
{
    kith_link *link;
    while ((link = kith_list_first(list))) {
        entry *e = KITH_OF(link, entry, in_owner);
        kith_idmap_remove(e->map, e->id, e->size);
    }
}

size_t kith_idmap_count(const kith_idmap *map) { return map->count; }
