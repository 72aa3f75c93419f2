#include "relay/table.h"

#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define SLOTS_FIRST 64 /* a power of two */

kith_err kith_table_init(kith_table *table, const uint8_t key[static KITH_TABLE_KEY_SIZE])
{
    kith_table_link **slots = kith_calloc(SLOTS_FIRST, sizeof(kith_table_link *));
    if (!slots) return KITH_ERR_NOMEM;
    *table = (kith_table){.slots = slots, .slot_count = SLOTS_FIRST};
    memcpy(table->key, key, sizeof table->key);
    return KITH_OK;
}

void kith_table_done(kith_table *table)
{
    kith_free(table->slots);
    kith_wipe(table, sizeof *table);
}

uint64_t kith_table_hash(const kith_table *table, const void *data, size_t size)
{
    uint8_t out[crypto_shorthash_BYTES];
    uint64_t value;
    crypto_shorthash(out, data, size, table->key);
    memcpy(&value, out, sizeof value);
    return value;
}

static kith_table_link **slot_of(const kith_table *table, uint64_t hash)
{
    return &table->slots[hash & (table->slot_count - 1)];
}

static kith_table_link *with_hash(kith_table_link *link, uint64_t hash)
{
    while (link && link->hash != hash) link = link->next;
    return link;
}

kith_table_link *kith_table_first(const kith_table *table, uint64_t hash)
{
    return with_hash(*slot_of(table, hash), hash);
}

kith_table_link *kith_table_next(const kith_table_link *link) { return with_hash(link->next, link->hash); }

static void grow(kith_table *table)
{
    kith_table_link **old = table->slots, **slots = kith_calloc(table->slot_count * 2, sizeof(kith_table_link *));
    size_t old_count = table->slot_count;
    if (!slots) return;
    table->slots = slots;
    table->slot_count *= 2;
    for (size_t i = 0; i < old_count; i++) {
        for (kith_table_link *at = old[i], *next; at; at = next) {
            kith_table_link **slot = slot_of(table, at->hash);
            next = at->next;
            at->next = *slot;
            *slot = at;
        }
    }
    kith_free(old);
}

void kith_table_add(kith_table *table, kith_table_link *link, uint64_t hash)
{
    if (table->count >= table->slot_count) grow(table);
    kith_table_link **slot = slot_of(table, hash);
    link->hash = hash;
    link->next = *slot;
    *slot = link;
    table->count++;
}

void kith_table_remove(kith_table *table, kith_table_link *link)
{
    kith_table_link **at = slot_of(table, link->hash);
    while (*at != link) at = &(*at)->next;
    *at = link->next;
    table->count--;
}
