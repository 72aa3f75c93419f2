/* BLAKE3 on one thread: the plain hasher against CVs of 1 MiB groups, at once and from pieces of several sizes. */
#include "crypto/blake3.h"

#include <blake3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE  ((size_t)64 << 20)
#define TURNS 5 /* the best is printed */

static uint8_t *data;
static kith_group_hasher *hasher;
static uint8_t root[KITH_BLAKE3_SIZE];

static void plain(size_t step)
{
    blake3_hasher h;
    blake3_hasher_init(&h);
    for (size_t at = 0; at < SIZE; at += step) blake3_hasher_update(&h, data + at, SIZE - at < step ? SIZE - at : step);
    blake3_hasher_finalize(&h, root, sizeof root);
}

static void groups(size_t step)
{
    kith_tree tree;
    kith_tree_init(&tree);
    for (size_t at = 0; at < SIZE; at += KITH_GROUP_SIZE) {
        uint8_t cv[KITH_BLAKE3_SIZE];
        if (step == 0) {
            kith_group_cv(data + at, KITH_GROUP_SIZE, at / KITH_GROUP_SIZE, false, cv);
        } else {
            kith_group_hasher_start(hasher, at / KITH_GROUP_SIZE);
            for (size_t done = 0, n; done < KITH_GROUP_SIZE; done += n) {
                n = KITH_GROUP_SIZE - done < step ? KITH_GROUP_SIZE - done : step;
                kith_group_hasher_update(hasher, data + at + done, n);
            }
            kith_group_hasher_final(hasher, false, cv);
        }
        kith_tree_add(&tree, cv);
    }
    kith_tree_root(&tree, root);
}

static void measure(const char *name, void (*run)(size_t), size_t step)
{
    double best = 1e9;
    for (int turn = 0; turn < TURNS; turn++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        run(step);
        clock_gettime(CLOCK_MONOTONIC, &to);
        double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        if (seconds < best) best = seconds;
    }
    printf("%-28s %8zu B steps %8.0f MB/s  root %02x%02x%02x%02x\n", name, step, (double)SIZE / best / 1e6, root[0],
           root[1], root[2], root[3]);
}

int main(void)
{
    data = malloc(SIZE);
    if (!data || kith_group_hasher_new(&hasher)) return 1;
    for (size_t i = 0; i < SIZE; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    measure("blake3_hasher", plain, 64 * 1024);
    measure("blake3_hasher", plain, 1350);
    measure("group CVs, whole", groups, 0);
    measure("group CVs, in pieces", groups, 64 * 1024);
    measure("group CVs, in pieces", groups, 16 * 1024);
    measure("group CVs, in pieces", groups, 1350);
    kith_group_hasher_free(hasher);
    free(data);
    return 0;
}
