/* BLAKE3 (its paper, section 2) as a tree of 1 MiB groups, so that a file can be checked piece by piece as it arrives.
 *
 * A group is 1,024 chunks of 1 KiB: a complete subtree at a fixed place.  The chaining values (CVs) of all groups,
 * folded in order, give exactly the plain BLAKE3 hash of the whole input (a test compares).  An input of one group or
 * less has no group CV: its "group CV" here is its root hash. */
#ifndef KITH_CRYPTO_BLAKE3_H
#define KITH_CRYPTO_BLAKE3_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_BLAKE3_SIZE 32
#define KITH_GROUP_SIZE  (UINT64_C(1) << 20)
/* 2^64 bytes are 2^44 groups: a subtree per one bit of the number before the last, and the last. */
#define KITH_TREE_DEPTH_MAX 45

void kith_blake3(const void *data, size_t size, uint8_t out[static KITH_BLAKE3_SIZE]);
/* Domain-separated derivation (BLAKE3 derive_key mode). */
void kith_blake3_derive(const char *context, const void *data, size_t size, uint8_t *out, size_t out_size);

/* The CV of group number `index` (0, 1, ...), 1..KITH_GROUP_SIZE bytes.  Only an input's last group may be shorter.
 * `only` when the whole input is this one group (index 0): then it is the root hash (size 0 is allowed). */
void kith_group_cv(const void *data, size_t size, uint64_t index, bool only, uint8_t out[static KITH_BLAKE3_SIZE]);

/* The same from pieces, in constant memory (a group that arrives in parts): init, update any sizes, final. */
typedef struct kith_group_hasher kith_group_hasher;
/* NOMEM. Reusable: kith_group_hasher_start begins the next group. */
KITH_MUST_CHECK kith_err kith_group_hasher_new(kith_group_hasher **out);
void kith_group_hasher_free(kith_group_hasher *hasher);
void kith_group_hasher_start(kith_group_hasher *hasher, uint64_t index);
/* At most KITH_GROUP_SIZE in all. */
void kith_group_hasher_update(kith_group_hasher *hasher, const void *data, size_t size);
void kith_group_hasher_final(kith_group_hasher *hasher, bool only, uint8_t out[static KITH_BLAKE3_SIZE]);

/* Folding group CVs into the root, in memory of the tree's height.  A plain value: copy it to save it. */
typedef struct kith_tree {
    uint64_t groups; /* CVs added */
    size_t depth;    /* of the stack: popcount(groups - 1) + 1, as merging is lazy; see blake3.c */
    uint8_t stack[KITH_TREE_DEPTH_MAX][KITH_BLAKE3_SIZE];
} kith_tree;

void kith_tree_init(kith_tree *tree);
void kith_tree_add(kith_tree *tree, const uint8_t cv[static KITH_BLAKE3_SIZE]);
/* The root over the groups added (at least one; with exactly one the CV itself, see above).  The tree may grow
 * afterwards. */
void kith_tree_root(const kith_tree *tree, uint8_t out[static KITH_BLAKE3_SIZE]);

#endif
