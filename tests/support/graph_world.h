/* Devices and trust graphs for tests: device n has the UUID n n n ..., and the key of the seed n n n ... */
#ifndef KITH_TESTS_GRAPH_WORLD_H
#define KITH_TESTS_GRAPH_WORLD_H

#include "base/mem.h"
#include "identity/graph.h"
#include "testlib.h"

#include <stdio.h>
#include <string.h>

typedef struct world_device {
    uint8_t seed[32];
    kith_graph_entry entry;
} world_device;

static inline world_device world_device_of(uint8_t n)
{
    world_device d;
    uint8_t uuid[KITH_UUID_SIZE], key[32];
    char name[16];
    memset(d.seed, n, sizeof d.seed);
    memset(uuid, n, sizeof uuid);
    snprintf(name, sizeof name, "device %u", n);
    assert_ok(kith_crypto_init());
    kith_ed25519_public(d.seed, key);
    kith_graph_entry_make(uuid, key, name, "Linux", "X1", &d.entry);
    return d;
}

static inline kith_graph_author world_author(const world_device *d)
{
    return (kith_graph_author){.seed = d->seed, .self = &d->entry, .now_ms = 1000};
}

static inline kith_graph *world_copy(const kith_graph *graph)
{
    kith_graph *copy;
    kith_reason reason = {""};
    uint8_t *data;
    size_t size;
    assert_ok(kith_graph_encode(graph, &data, &size));
    if (kith_graph_decode(data, size, false, &copy, &reason)) fail_msg("%s", reason.text);
    kith_free(data);
    return copy;
}

/* All that `from` has and `to` lacks. */
static inline void world_merge(kith_graph *to, const kith_graph *from)
{
    for (size_t i = 0; i < kith_graph_count(from); i++) {
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(from, i, &size);
        kith_err err = kith_graph_add(to, bytes, size);
        if (err && err != KITH_ERR_EXISTS) fail_msg("merging: %s", kith_err_name(err));
    }
}

#endif
