/* A hash table of elements that carry their own link, keyed by bytes under SipHash with a secret key, so that strangers
 * cannot make it slow.  It never fails: without memory to grow it is only slower. */
#ifndef KITH_RELAY_TABLE_H
#define KITH_RELAY_TABLE_H

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_TABLE_KEY_SIZE 16

typedef struct kith_table_link {
    struct kith_table_link *next; /* in its slot */
    uint64_t hash;
} kith_table_link;

typedef struct kith_table {
    kith_table_link **slots;
    size_t slot_count, count;
    uint8_t key[KITH_TABLE_KEY_SIZE];
} kith_table;

/* NOMEM. */
KITH_MUST_CHECK kith_err kith_table_init(kith_table *table, const uint8_t key[static KITH_TABLE_KEY_SIZE]);
void kith_table_done(kith_table *table); /* the elements are their owners'; zeroed is fine */
uint64_t kith_table_hash(const kith_table *table, const void *data, size_t size);
/* The first element of this hash, and the next one: the caller compares. */
kith_table_link *kith_table_first(const kith_table *table, uint64_t hash);
kith_table_link *kith_table_next(const kith_table_link *link);
void kith_table_add(kith_table *table, kith_table_link *link, uint64_t hash);
void kith_table_remove(kith_table *table, kith_table_link *link); /* which is in it */

#endif
