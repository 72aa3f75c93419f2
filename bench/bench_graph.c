/* A trust graph of 1,000 records: seconds to take them from a stranger (every signature is verified), to load them from
 * the home (none is), to judge, and to take one more. */
#include "base/mem.h"
#include "identity/graph.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RECORDS 1000
#define DEVICES 20
#define RUNS    5

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef struct device {
    uint8_t seed[32];
    kith_graph_entry entry;
} device;

static void make_device(device *d, uint8_t n)
{
    uint8_t uuid[KITH_UUID_SIZE], key[32];
    memset(d->seed, n, sizeof d->seed);
    memset(uuid, n, sizeof uuid);
    kith_ed25519_public(d->seed, key);
    kith_graph_entry_make(uuid, key, "a device's name", "Linux", "ThinkPad X1", &d->entry);
}

/* A person's devices over the years: each admits the next, some are revoked, all describe themselves. */
static kith_graph *make_graph(void)
{
    static device devices[DEVICES];
    kith_graph *g;
    if (kith_crypto_init() || kith_graph_new(&g)) return NULL;
    for (uint8_t n = 0; n < DEVICES; n++) make_device(&devices[n], (uint8_t)(n + 1));
    kith_graph_author first = {devices[0].seed, &devices[0].entry, 0};
    kith_err err = kith_graph_found(g, &first, NULL, NULL);
    for (size_t n = 1; !err && n < DEVICES; n++) {
        kith_graph_author a = {devices[n - 1].seed, &devices[n - 1].entry, 0};
        err = kith_graph_admit(g, &a, &devices[n].entry);
    }
    for (size_t n = DEVICES; !err && n < RECORDS; n++) {
        bool sold = n % 100 == 99;
        const device *d = &devices[sold ? 0 : n % DEVICES];
        kith_graph_author a = {d->seed, &d->entry, (int64_t)n};
        err = sold ? kith_graph_revoke(g, &a, devices[DEVICES - 1 - n / 100].entry.fingerprint, "sold")
                   : kith_graph_describe(g, &a);
    }
    return err ? NULL : g;
}

int main(void)
{
    double best[4] = {1e9, 1e9, 1e9, 1e9};
    kith_graph *g = make_graph();
    uint8_t *data;
    size_t size;
    kith_reason reason;
    if (!g || kith_graph_encode(g, &data, &size)) return 1;
    for (int run = 0; run < RUNS; run++) {
        kith_graph *copy;
        kith_verdict verdict;
        double t[5], last = now();
        size_t record_size = 0;
        t[0] = last;
        if (kith_graph_new(&copy)) return 1;
        for (size_t i = 0; i < RECORDS; i++) {
            const uint8_t *bytes = kith_graph_bytes(g, i, &record_size);
            if (i + 1 == RECORDS) last = now();
            if (kith_graph_add(copy, bytes, record_size)) return 1;
        }
        t[1] = now();
        kith_graph_free(copy);
        t[2] = now();
        if (kith_graph_decode(data, size, false, &copy, &reason)) return 1;
        t[3] = now();
        if (kith_graph_judge(copy, &verdict)) return 1;
        t[4] = now();
        kith_verdict_done(&verdict);
        kith_graph_free(copy);
        double took[4] = {t[1] - t[0], t[3] - t[2], t[4] - t[3], t[1] - last};
        for (int i = 0; i < 4; i++)
            if (took[i] < best[i]) best[i] = took[i];
    }
    printf("trust graph, %d records of %d devices, %zu bytes: verified %.1f ms, loaded %.1f ms, judged %.1f ms, "
           "one more %.0f us\n",
           RECORDS, DEVICES, size, best[0] * 1e3, best[1] * 1e3, best[2] * 1e3, best[3] * 1e6);
    kith_free(data);
    kith_graph_free(g);
    return 0;
}
