/* Memory for chunks of files under way (KITH_GROUP_SIZE bytes each), made two at a time: that is a huge page.  One of
 * these is one page fault, one entry of the processor's address cache and one piece of direct I/O where pages of 4 KiB
 * are 512, which is a tenth of what a large file costs.  A file that does not fill the buffers twice gets small pages,
 * and memory for what it touches. */
#ifndef KITH_OP_CHUNKS_H
#define KITH_OP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#define CHUNKS_MAX 64 /* in a pool */

typedef struct chunk_pool {
    uint8_t *pairs[CHUNKS_MAX / 2]; /* all there are */
    uint8_t *spare[CHUNKS_MAX];     /* not in use */
    size_t pair_count, spares, used;
} chunk_pool; /* all zero: empty */

/* KITH_GROUP_SIZE bytes at a multiple of KITH_FILE_BLOCK, for a file of this size; NULL: so many are in use already
 * (`most`, at most CHUNKS_MAX, even), or there is no memory. */
uint8_t *kith__chunks_take(chunk_pool *pool, size_t most, uint64_t file_size);
void kith__chunks_give(chunk_pool *pool, uint8_t *chunk);
void kith__chunks_free(chunk_pool *pool); /* all of them, also those in use: the pool is empty again */

#endif
