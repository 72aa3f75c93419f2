#include "op/chunks.h"

#include "base/mem.h"
#include "crypto/blake3.h"

#define PAIR       (2 * (size_t)KITH_GROUP_SIZE)
#define HUGE_ABOVE (4 * KITH_GROUP_SIZE) /* bytes of a file: what its buffers hold at once */

static bool make_pair(chunk_pool *pool, uint64_t file_size)
{
    uint8_t *pair = file_size > HUGE_ABOVE ? kith_malloc_huge(PAIR) : kith_malloc_pages(PAIR);
    if (!pair) return false;
    pool->pairs[pool->pair_count++] = pair;
    pool->spare[pool->spares++] = pair + KITH_GROUP_SIZE;
    pool->spare[pool->spares++] = pair;
    return true;
}

uint8_t *kith__chunks_take(chunk_pool *pool, size_t most, uint64_t file_size)
{
    if (pool->used >= most || (!pool->spares && !make_pair(pool, file_size))) return NULL;
    pool->used++;
    return pool->spare[--pool->spares];
}

void kith__chunks_give(chunk_pool *pool, uint8_t *chunk)
{
    pool->spare[pool->spares++] = chunk;
    pool->used--;
}

void kith__chunks_free(chunk_pool *pool)
{
    while (pool->pair_count) kith_free(pool->pairs[--pool->pair_count]);
    *pool = (chunk_pool){0};
}
