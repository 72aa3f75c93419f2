/* Making records of the trust graph. */
#include "identity/graph_internal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int by_id(const void *a, const void *b) { return memcmp(a, b, KITH_GRAPH_ID_SIZE); }

static void name_parent(const kith_graph *graph, size_t index, kith_record *record)
{
    memcpy(record->parents[record->parent_count++], kith_graph_id(graph, index), KITH_GRAPH_ID_SIZE);
}

/* The first heads, as many as a record can name. */
static void name_heads(const kith_graph *graph, kith_record *record)
{
    size_t heads[KITH_GRAPH_PARENTS_MAX], count = kith_graph_heads(graph, heads, KITH_GRAPH_PARENTS_MAX);
    for (size_t i = 0; i < count && i < KITH_GRAPH_PARENTS_MAX; i++) name_parent(graph, heads[i], record);
}

/* Does what leads to `head`, or it, name this device? */
static bool knows(const kith_graph *graph, size_t head, const uint8_t *fingerprint)
{
    size_t device = kith__graph_device(graph, fingerprint);
    const kith__device *d = device == KITH_GRAPH_NONE ? NULL : &graph->devices[device];
    for (size_t i = 0; d && i < d->count; i++)
        if (d->in[i].record == head || kith_graph_in_past(graph, d->in[i].record, head)) return true;
    return false;
}

/* A revocation that cannot know everything: of the heads those that have what it needs, and rather not those by whom it
 * revokes.  What it does not know of his does not count. */
static void name_some(const kith_graph *graph, const kith_graph_author *author, kith_record *record)
{
    size_t heads[KITH_GRAPH_RECORDS_MAX], count = kith_graph_heads(graph, heads, KITH_GRAPH_RECORDS_MAX);
    const size_t whom = kith__graph_device(graph, record->target);
    for (size_t turn = 0; turn < 4; turn++) {
        for (size_t i = count; i-- > 0 && record->parent_count < KITH_GRAPH_PARENTS_MAX;) {
            bool useful = knows(graph, heads[i], record->target) && knows(graph, heads[i], author->self->fingerprint);
            bool his = graph->nodes[heads[i]].signer == whom;
            if (turn == (useful ? 0u : 2u) + his) name_parent(graph, heads[i], record);
        }
    }
}

/* Sign what the caller filled in, with its parents, and add it. */
static kith_err put(kith_graph *graph, const kith_graph_author *author, kith_record *record,
                    const kith_graph_entry *roster, const uint8_t *code)
{
    size_t cap = record->kind == KITH_RECORD_RESET ? KITH_GRAPH_RECORD_MAX : KITH_GRAPH_SMALL_MAX, size = 0;
    uint8_t *body = kith_malloc(cap), *whole = kith_malloc(cap);
    kith_err err = body && whole ? kith_crypto_init() : KITH_ERR_NOMEM;
    if (!err) {
        qsort(record->parents, record->parent_count, sizeof record->parents[0], by_id);
        record->time_ms = author->now_ms;
        memcpy(record->signer, author->self->fingerprint, sizeof record->signer);
        size_t body_size = kith__record_body(record, roster, body, cap);
        err = body_size ? kith__record_seal(body, body_size, author->seed, code, whole, cap, &size) : KITH_ERR_LIMIT;
    }
    if (!err) err = kith_graph_add(graph, whole, size);
    kith_free(body);
    kith_free(whole);
    return err;
}

/* While there are more heads than a record can name, descriptions join them. */
static kith_err join_heads(kith_graph *graph, const kith_graph_author *author)
{
    kith_err err = KITH_OK;
    while (!err && kith_graph_heads(graph, NULL, 0) > KITH_GRAPH_PARENTS_MAX) {
        kith_record joining = {.kind = KITH_RECORD_DESCRIBE, .entry = *author->self};
        name_heads(graph, &joining);
        err = put(graph, author, &joining, NULL, NULL);
    }
    return err;
}

/* A record that knows everything.  Where a flood has left no room for that, what ends it is made all the same. */
static kith_err make(kith_graph *graph, const kith_graph_author *author, kith_record *record,
                     const kith_graph_entry *roster, const uint8_t *code)
{
    kith_err err = KITH_OK;
    size_t pair = record->kind == KITH_RECORD_RESET ? kith_graph_find(graph, record->target) : KITH_GRAPH_NONE;
    if (pair != KITH_GRAPH_NONE && graph->plain >= KITH_GRAPH_CROWDED) {
        name_parent(graph, pair, record);
    } else if ((err = join_heads(graph, author)) == KITH_OK) {
        name_heads(graph, record);
    } else if (err == KITH_ERR_LIMIT && record->kind == KITH_RECORD_REVOKE) {
        name_some(graph, author, record);
        err = KITH_OK;
    }
    return err ? err : put(graph, author, record, roster, code);
}

kith_err kith_graph_found(kith_graph *graph, const kith_graph_author *author, const kith_recovery_public *pair,
                          const uint8_t deposit[KITH_DEPOSIT_SIZE])
{
    kith_record record = {.kind = KITH_RECORD_FOUND, .entry = *author->self, .has_pair = pair != NULL};
    if (pair) record.pair = *pair;
    record.has_deposit = pair && deposit;
    if (record.has_deposit) memcpy(record.deposit, deposit, sizeof record.deposit);
    return graph->count ? KITH_ERR_STATE : put(graph, author, &record, NULL, NULL);
}

kith_err kith_graph_admit(kith_graph *graph, const kith_graph_author *author, const kith_graph_entry *device)
{
    kith_record record = {.kind = KITH_RECORD_ADMIT, .entry = *device};
    return make(graph, author, &record, NULL, NULL);
}

kith_err kith_graph_revoke(kith_graph *graph, const kith_graph_author *author,
                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], const char *why)
{
    kith_record record = {.kind = KITH_RECORD_REVOKE};
    memcpy(record.target, fingerprint, sizeof record.target);
    if (why) kith_name_clean(why, strlen(why), record.why, sizeof record.why);
    return make(graph, author, &record, NULL, NULL);
}

kith_err kith_graph_describe(kith_graph *graph, const kith_graph_author *author)
{
    kith_record record = {.kind = KITH_RECORD_DESCRIBE, .entry = *author->self};
    return make(graph, author, &record, NULL, NULL);
}

kith_err kith_graph_deposit(kith_graph *graph, const kith_graph_author *author,
                            const uint8_t pair_id[static KITH_GRAPH_ID_SIZE],
                            const uint8_t deposit[static KITH_DEPOSIT_SIZE])
{
    kith_record record = {.kind = KITH_RECORD_DEPOSIT};
    memcpy(record.target, pair_id, sizeof record.target);
    memcpy(record.deposit, deposit, sizeof record.deposit);
    return make(graph, author, &record, NULL, NULL);
}

kith_err kith_graph_reset(kith_graph *graph, const kith_graph_author *author,
                          const uint8_t pair_id[static KITH_GRAPH_ID_SIZE],
                          const uint8_t code[static KITH_RECOVERY_CODE_SIZE], const kith_recovery_public *pair,
                          const kith_graph_entry *roster, size_t roster_count)
{
    kith_record record = {.kind = KITH_RECORD_RESET, .pair = *pair, .roster_count = roster_count};
    if (roster_count > KITH_GRAPH_ROSTER_MAX) return KITH_ERR_LIMIT;
    memcpy(record.target, pair_id, sizeof record.target);
    return make(graph, author, &record, roster, code);
}

kith_err kith_graph_replace(kith_graph *graph, const kith_graph_author *author, const kith_recovery_public *pair)
{
    kith_record record = {.kind = KITH_RECORD_REPLACE, .pair = *pair};
    return make(graph, author, &record, NULL, NULL);
}

kith_err kith_graph_accept(kith_graph *graph, const kith_graph_author *author,
                           const uint8_t replace_id[static KITH_GRAPH_ID_SIZE])
{
    kith_record record = {.kind = KITH_RECORD_ACCEPT};
    memcpy(record.target, replace_id, sizeof record.target);
    return make(graph, author, &record, NULL, NULL);
}
