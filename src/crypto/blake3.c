#include "crypto/blake3.h"

#include "base/mem.h"

#include <assert.h>
#include <blake3.h>
#include <blake3_impl.h> /* the subtree interface: blake3_hash_many and blake3_compress_in_place */
#include <string.h>

#define CHUNK        BLAKE3_CHUNK_LEN
#define BLOCK        BLAKE3_BLOCK_LEN
#define GROUP_CHUNKS (KITH_GROUP_SIZE / CHUNK)
/* Inputs handed to blake3_hash_many at once.  It cuts them into vectors of 16, 8 or 4 itself; more than that only saves
 * calls. */
#define BATCH 64
/* What an incremental hasher collects: a whole vector of the widest instruction set, and more than one chunk (see
 * below). */
#define COLLECT_CHUNKS 16

void kith_blake3(const void *data, size_t size, uint8_t out[static KITH_BLAKE3_SIZE])
{
    blake3_hasher hasher;
    blake3_hasher_init(&hasher);
    if (size) blake3_hasher_update(&hasher, data, size);
    blake3_hasher_finalize(&hasher, out, KITH_BLAKE3_SIZE);
    kith_wipe(&hasher, sizeof hasher); /* small inputs may be secrets */
}

void kith_blake3_derive(const char *context, const void *data, size_t size, uint8_t *out, size_t out_size)
{
    blake3_hasher hasher;
    blake3_hasher_init_derive_key(&hasher, context);
    if (size) blake3_hasher_update(&hasher, data, size);
    blake3_hasher_finalize(&hasher, out, out_size);
    kith_wipe(&hasher, sizeof hasher);
}

/* The CVs of `count` whole chunks, none of them the root. */
static void hash_chunks(const uint8_t *data, size_t count, uint64_t counter, uint8_t (*cvs)[KITH_BLAKE3_SIZE])
{
    const uint8_t *inputs[BATCH];
    while (count) {
        size_t n = count < BATCH ? count : BATCH;
        for (size_t i = 0; i < n; i++) inputs[i] = data + i * CHUNK;
        blake3_hash_many(inputs, n, CHUNK / BLOCK, IV, counter, true, 0, CHUNK_START, CHUNK_END, cvs[0]);
        data += n * CHUNK;
        counter += n;
        cvs += n;
        count -= n;
    }
}

/* One chunk of 0..CHUNK bytes block by block; `root` is ROOT when it is the whole input, else 0. */
static void hash_chunk(const uint8_t *data, size_t size, uint64_t counter, uint8_t root, uint8_t out[KITH_BLAKE3_SIZE])
{
    uint32_t cv[8];
    memcpy(cv, IV, sizeof cv);
    uint8_t flags = CHUNK_START;
    for (; size > BLOCK; data += BLOCK, size -= BLOCK, flags = 0)
        blake3_compress_in_place(cv, data, BLOCK, counter, flags);
    uint8_t last[BLOCK] = {0};
    if (size) memcpy(last, data, size);
    blake3_compress_in_place(cv, last, (uint8_t)size, counter, (uint8_t)(flags | CHUNK_END | root));
    store_cv_words(out, cv);
}

/* `pair` is two CVs in a row; out may be the first of them. */
static void hash_parent(uint8_t (*pair)[KITH_BLAKE3_SIZE], uint8_t root, uint8_t out[KITH_BLAKE3_SIZE])
{
    uint32_t cv[8];
    memcpy(cv, IV, sizeof cv);
    blake3_compress_in_place(cv, pair[0], BLOCK, 0, (uint8_t)(PARENT | root));
    store_cv_words(out, cv);
}

/* Fold the CVs of a group's chunks level by level, in place: neighbours pair up and an odd last one moves up as it is,
 * which is the tree of the paper's section 2.1 (a left subtree is the largest power of two that leaves something to its
 * right).  A batch's results lie below the inputs of the batches after it, and within a batch go through `parents`,
 * since blake3_hash_many may write before it has read all. */
static void fold_group(uint8_t (*cvs)[KITH_BLAKE3_SIZE], size_t count, uint8_t root, uint8_t out[KITH_BLAKE3_SIZE])
{
    const uint8_t *inputs[BATCH];
    uint8_t parents[BATCH][KITH_BLAKE3_SIZE];
    while (count > 2) {
        size_t pairs = count / 2;
        for (size_t done = 0, n; done < pairs; done += n) {
            n = pairs - done < BATCH ? pairs - done : BATCH;
            for (size_t i = 0; i < n; i++) inputs[i] = cvs[2 * (done + i)];
            blake3_hash_many(inputs, n, 1, IV, 0, false, PARENT, 0, 0, parents[0]);
            memcpy(cvs[done], parents, n * KITH_BLAKE3_SIZE);
        }
        if (count % 2) memcpy(cvs[pairs], cvs[count - 1], KITH_BLAKE3_SIZE);
        count = pairs + count % 2;
    }
    if (count == 2)
        hash_parent(cvs, root, out);
    else
        memcpy(out, cvs[0], KITH_BLAKE3_SIZE);
}

/* The end of a group: `count` CVs are there and `size` bytes, at most COLLECT_CHUNKS chunks, are still to be hashed. */
static void finish_group(uint8_t (*cvs)[KITH_BLAKE3_SIZE], size_t count, const uint8_t *data, size_t size,
                         uint64_t index, bool only, uint8_t out[KITH_BLAKE3_SIZE])
{
    uint64_t counter = index * GROUP_CHUNKS;
    if (count == 0 && size <= CHUNK) {
        hash_chunk(data, size, counter, only ? ROOT : 0, out);
        return;
    }
    size_t whole = size / CHUNK, rest = size % CHUNK;
    hash_chunks(data, whole, counter + count, cvs + count);
    count += whole;
    if (rest) {
        hash_chunk(data + whole * CHUNK, rest, counter + count, 0, cvs[count]);
        count++;
    }
    fold_group(cvs, count, only ? ROOT : 0, out);
}

void kith_group_cv(const void *data, size_t size, uint64_t index, bool only, uint8_t out[static KITH_BLAKE3_SIZE])
{
    uint8_t cvs[GROUP_CHUNKS][KITH_BLAKE3_SIZE];
    finish_group(cvs, 0, data, size, index, only, out);
}

struct kith_group_hasher {
    uint64_t index;
    size_t count;     /* CVs there */
    size_t collected; /* bytes in `collect` */
    uint8_t collect[COLLECT_CHUNKS * CHUNK];
    uint8_t cvs[GROUP_CHUNKS][KITH_BLAKE3_SIZE];
};

kith_err kith_group_hasher_new(kith_group_hasher **out)
{
    kith_group_hasher *hasher = kith_malloc(sizeof *hasher);
    if (!hasher) return KITH_ERR_NOMEM;
    kith_group_hasher_start(hasher, 0);
    *out = hasher;
    return KITH_OK;
}

void kith_group_hasher_free(kith_group_hasher *hasher) { kith_free(hasher); }

void kith_group_hasher_start(kith_group_hasher *hasher, uint64_t index)
{
    hasher->index = index;
    hasher->count = hasher->collected = 0;
}

static void add_chunks(kith_group_hasher *h, const uint8_t *data, size_t count)
{
    hash_chunks(data, count, h->index * GROUP_CHUNKS + h->count, h->cvs + h->count);
    h->count += count;
}

/* Chunks may be hashed as soon as there is more than one of them: only an input of a single chunk is its own root, and
 * that is known at the end.  Collecting several before hashing any sees to it. */
void kith_group_hasher_update(kith_group_hasher *hasher, const void *data, size_t size)
{
    const uint8_t *at = data;
    size_t before = hasher->count * CHUNK + hasher->collected;
    assert(size <= KITH_GROUP_SIZE - before);
    if (size > KITH_GROUP_SIZE - before) size = (size_t)KITH_GROUP_SIZE - before; /* never past the CVs */
    while (size) {
        if (hasher->collected == 0 && size >= sizeof hasher->collect) {
            size_t direct = size / sizeof hasher->collect * COLLECT_CHUNKS;
            add_chunks(hasher, at, direct);
            at += direct * CHUNK;
            size -= direct * CHUNK;
            continue;
        }
        size_t room = sizeof hasher->collect - hasher->collected, n = size < room ? size : room;
        memcpy(hasher->collect + hasher->collected, at, n);
        hasher->collected += n;
        at += n;
        size -= n;
        if (hasher->collected < sizeof hasher->collect) break;
        add_chunks(hasher, hasher->collect, COLLECT_CHUNKS);
        hasher->collected = 0;
    }
}

void kith_group_hasher_final(kith_group_hasher *hasher, bool only, uint8_t out[static KITH_BLAKE3_SIZE])
{
    finish_group(hasher->cvs, hasher->count, hasher->collect, hasher->collected, hasher->index, only, out);
}

void kith_tree_init(kith_tree *tree) { memset(tree, 0, sizeof *tree); }

/* Merging is lazy, as in the paper's section 5.1.2: two subtrees are merged when a group comes after them, because
 * until then their parent might be the root, which is hashed with a flag.  So before group number n (from 0) is pushed,
 * the stack is merged down to one subtree per one bit of n. */
void kith_tree_add(kith_tree *tree, const uint8_t cv[static KITH_BLAKE3_SIZE])
{
    while (tree->depth > popcnt(tree->groups)) {
        hash_parent(&tree->stack[tree->depth - 2], 0, tree->stack[tree->depth - 2]);
        tree->depth--;
    }
    assert(tree->depth < KITH_TREE_DEPTH_MAX);
    memcpy(tree->stack[tree->depth++], cv, KITH_BLAKE3_SIZE);
    tree->groups++;
}

void kith_tree_root(const kith_tree *tree, uint8_t out[static KITH_BLAKE3_SIZE])
{
    assert(tree->depth > 0);
    uint8_t pair[2][KITH_BLAKE3_SIZE];
    memcpy(pair[1], tree->stack[tree->depth - 1], KITH_BLAKE3_SIZE);
    for (size_t i = tree->depth - 1; i-- > 0;) {
        memcpy(pair[0], tree->stack[i], KITH_BLAKE3_SIZE);
        hash_parent(pair, i == 0 ? ROOT : 0, pair[1]);
    }
    memcpy(out, pair[1], KITH_BLAKE3_SIZE);
}
