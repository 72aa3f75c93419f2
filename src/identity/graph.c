/* The trust graph as a set of records: what may be in it, what one set has that another lacks, the file. */
#include "identity/graph_internal.h"

#include "base/mem.h"
#include "identity/envelope.h"

#include <string.h>

#define FIRST_ROOM    16
#define BODY_HEAD_MAX 9 /* the array's head */
#define ITEM_HEAD_MAX 5 /* a record's */

kith_err kith_graph_new(kith_graph **out)
{
    kith_graph *graph = kith_calloc(1, sizeof *graph);
    if (!graph) return KITH_ERR_NOMEM;
    *out = graph;
    return KITH_OK;
}

void kith_graph_free(kith_graph *graph)
{
    if (!graph) return;
    for (size_t i = 0; i < graph->count; i++) {
        kith_free(graph->nodes[i].bytes);
        kith_free(graph->nodes[i].past);
    }
    for (size_t i = 0; i < graph->device_count; i++) kith_free(graph->devices[i].in);
    kith_free(graph->nodes);
    kith_free(graph->devices);
    kith_free(graph);
}

/* ---- looking ---- */

size_t kith_graph_count(const kith_graph *graph) { return graph->count; }

const uint8_t *kith_graph_bytes(const kith_graph *graph, size_t index, size_t *size)
{
    *size = graph->nodes[index].size;
    return graph->nodes[index].bytes;
}

const uint8_t *kith_graph_id(const kith_graph *graph, size_t index) { return graph->nodes[index].id; }
uint32_t kith_graph_depth(const kith_graph *graph, size_t index) { return graph->nodes[index].depth; }

void kith_graph_record(const kith_graph *graph, size_t index, kith_record *out)
{
    const kith__node *node = &graph->nodes[index];
    if (kith_record_parse(node->bytes, node->size, out)) *out = (kith_record){0}; /* cannot be: it was parsed before */
}

size_t kith_graph_find(const kith_graph *graph, const uint8_t id[static KITH_GRAPH_ID_SIZE])
{
    for (size_t i = graph->count; i-- > 0;)
        if (memcmp(graph->nodes[i].id, id, KITH_GRAPH_ID_SIZE) == 0) return i;
    return KITH_GRAPH_NONE;
}

bool kith_graph_in_past(const kith_graph *graph, size_t index, size_t of)
{
    return kith__past_has(&graph->nodes[of], of, index);
}

int kith__graph_compare(const kith_graph *graph, size_t a, size_t b)
{
    const kith__node *x = &graph->nodes[a], *y = &graph->nodes[b];
    if (x->depth != y->depth) return x->depth < y->depth ? -1 : 1;
    return memcmp(x->id, y->id, sizeof x->id);
}

/* By insertion: what was loaded is in order already, and what came since is little. */
static void sort(const kith_graph *graph, size_t *out, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        size_t moved = out[i], at = i;
        for (; at > 0 && kith__graph_compare(graph, out[at - 1], moved) > 0; at--) out[at] = out[at - 1];
        out[at] = moved;
    }
}

void kith_graph_order(const kith_graph *graph, size_t *out)
{
    for (size_t i = 0; i < graph->count; i++) out[i] = i;
    sort(graph, out, graph->count);
}

size_t kith_graph_heads(const kith_graph *graph, size_t *out, size_t cap)
{
    size_t heads[KITH_GRAPH_RECORDS_MAX], count = 0;
    for (size_t i = 0; i < graph->count; i++)
        if (!graph->nodes[i].named) heads[count++] = i;
    sort(graph, heads, count);
    if (cap) memcpy(out, heads, (count < cap ? count : cap) * sizeof *out);
    return count;
}

size_t kith_graph_lacks(const kith_graph *graph, const uint8_t (*heads)[KITH_GRAPH_ID_SIZE], size_t head_count,
                        size_t *out)
{
    uint64_t has[(KITH_GRAPH_RECORDS_MAX + 63) / 64] = {0};
    size_t count = 0;
    for (size_t i = 0; i < head_count; i++) {
        size_t index = kith_graph_find(graph, heads[i]);
        if (index == KITH_GRAPH_NONE) continue;
        kith__bit_set(has, index);
        for (size_t w = 0; w < kith__words(index); w++) has[w] |= graph->nodes[index].past[w];
    }
    for (size_t i = 0; i < graph->count; i++)
        if (!kith__bit(has, i)) out[count++] = i;
    return count;
}

size_t kith__graph_device(const kith_graph *graph, const uint8_t *fingerprint)
{
    for (size_t i = 0; i < graph->device_count; i++)
        if (memcmp(graph->devices[i].entry.fingerprint, fingerprint, KITH_FINGERPRINT_SIZE) == 0) return i;
    return KITH_GRAPH_NONE;
}

/* ---- what a record's past must have ---- */

/* A record on its way in: what is found out of it before it is taken. */
typedef struct arrival {
    kith_record record;
    kith__node node;
    const uint8_t *key; /* the signer's */
    kith_graph_entry own;
    kith_recovery_public pair; /* a reset's: whose key must have signed */
    size_t parents[KITH_GRAPH_PARENTS_MAX];
} arrival;

/* Is the device named by something in the arrival's past? */
static bool named_in_past(const kith_graph *graph, const arrival *a, size_t device)
{
    if (device == KITH_GRAPH_NONE) return false;
    const kith__device *d = &graph->devices[device];
    for (size_t i = 0; i < d->count; i++)
        if (kith__past_has(&a->node, graph->count, d->in[i].record)) return true;
    return false;
}

static kith_err find_signer(const kith_graph *graph, arrival *a)
{
    const kith_record *r = &a->record;
    a->node.signer = kith__graph_device(graph, r->signer);
    if (r->kind == KITH_RECORD_FOUND) {
        a->key = r->entry.ed25519;
        return KITH_OK;
    }
    if (named_in_past(graph, a, a->node.signer)) {
        a->key = graph->devices[a->node.signer].entry.ed25519;
        return KITH_OK;
    }
    for (size_t i = 0; i < r->roster_count; i++) {
        kith_record_roster(r, i, &a->own);
        if (memcmp(a->own.fingerprint, r->signer, sizeof r->signer) != 0) continue;
        a->key = a->own.ed25519;
        return KITH_OK;
    }
    return KITH_ERR_FORMAT;
}

/* Whether a record's kind is one that makes a recovery pair, and this one did: then *pair is it (may be NULL). */
static bool made_pair(const kith_graph *graph, size_t index, kith_recovery_public *pair)
{
    kith_record record;
    kith_record_kind kind = graph->nodes[index].kind;
    if (kind != KITH_RECORD_FOUND && kind != KITH_RECORD_RESET && kind != KITH_RECORD_REPLACE) return false;
    kith_graph_record(graph, index, &record);
    *pair = record.pair;
    return kind != KITH_RECORD_FOUND || record.has_pair;
}

/* What it is about must be in its past. */
static kith_err find_target(const kith_graph *graph, arrival *a)
{
    const kith_record *r = &a->record;
    kith_record_kind kind = r->kind;
    a->node.device = a->node.target = KITH_GRAPH_NONE;
    if (kind == KITH_RECORD_REVOKE) {
        a->node.device = kith__graph_device(graph, r->target);
        return named_in_past(graph, a, a->node.device) ? KITH_OK : KITH_ERR_FORMAT;
    }
    if (kind != KITH_RECORD_DEPOSIT && kind != KITH_RECORD_RESET && kind != KITH_RECORD_ACCEPT) return KITH_OK;
    size_t target = kith_graph_find(graph, r->target);
    if (target == KITH_GRAPH_NONE || !kith__past_has(&a->node, graph->count, target)) return KITH_ERR_FORMAT;
    a->node.target = target;
    if (kind == KITH_RECORD_ACCEPT) return graph->nodes[target].kind == KITH_RECORD_REPLACE ? KITH_OK : KITH_ERR_FORMAT;
    return made_pair(graph, target, &a->pair) ? KITH_OK : KITH_ERR_FORMAT;
}

/* Its past and depth. */
static kith_err find_past(const kith_graph *graph, arrival *a)
{
    const kith_record *r = &a->record;
    if (r->kind == KITH_RECORD_FOUND && graph->count) return KITH_ERR_STATE;
    a->node.past = kith_calloc(kith__words(graph->count) + 1, sizeof *a->node.past);
    if (!a->node.past) return KITH_ERR_NOMEM;
    for (size_t i = 0; i < r->parent_count; i++) {
        size_t parent = a->parents[i] = kith_graph_find(graph, r->parents[i]);
        if (parent == KITH_GRAPH_NONE) return KITH_ERR_NOT_FOUND;
        const kith__node *node = &graph->nodes[parent];
        for (size_t w = 0; w < kith__words(parent); w++) a->node.past[w] |= node->past[w];
        kith__bit_set(a->node.past, parent);
        if (node->depth >= a->node.depth) a->node.depth = node->depth + 1;
    }
    /* A parent that another parent leads to says nothing, and would let one say the same in many ways. */
    for (size_t i = 0; i < r->parent_count; i++)
        for (size_t k = 0; k < r->parent_count; k++)
            if (kith_graph_in_past(graph, a->parents[i], a->parents[k])) return KITH_ERR_FORMAT;
    return KITH_OK;
}

/* A replacement that only the founder can have made: there was nobody else, and no code. */
static bool made_alone(const kith_graph *graph, size_t index)
{
    kith_recovery_public ignored;
    if (graph->nodes[index].signer != graph->nodes[0].signer || made_pair(graph, 0, &ignored)) return false;
    for (size_t i = 0; i < index; i++) {
        kith_record_kind kind = graph->nodes[i].kind;
        bool others = kind == KITH_RECORD_ADMIT || kind == KITH_RECORD_RESET;
        if (others && kith_graph_in_past(graph, i, index)) return false;
    }
    return true;
}

/* Its code is none that a member makes for itself. */
static bool is_kept(const kith_graph *graph, const arrival *a)
{
    if (a->record.kind != KITH_RECORD_RESET) return false;
    const kith__node *target = &graph->nodes[a->node.target];
    switch (target->kind) {
    case KITH_RECORD_RESET: return target->kept;
    case KITH_RECORD_REPLACE: return made_alone(graph, a->node.target);
    default: return true;
    }
}

static bool is_plain(kith_record_kind kind) { return kind != KITH_RECORD_REVOKE && kind != KITH_RECORD_RESET; }

/* Each class has a limit of its own and one with those below it, so that no order of arrival fills another's places. */
static bool room_for(const kith_graph *graph, const arrival *a, size_t size)
{
    size_t others = graph->count - graph->resets, others_bytes = graph->bytes - graph->resets_bytes;
    if (graph->count == KITH_GRAPH_RECORDS_MAX) return false;
    if (a->node.kept) return graph->resets_bytes + size <= KITH_GRAPH_RESETS_BYTES;
    if (others >= KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_RESET) return false;
    if (others_bytes + size > KITH_GRAPH_OTHERS_BYTES) return false;
    if (!is_plain(a->record.kind)) return true;
    return graph->plain < KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_REVOKE &&
           graph->plain_bytes + size <= KITH_GRAPH_PLAIN_BYTES;
}

/* ---- taking ---- */

/* `list` with room for one more. */
static bool grow(void **list, size_t *room, size_t count, size_t item)
{
    if (count < *room) return true;
    size_t wanted = *room ? 2 * *room : FIRST_ROOM;
    void *grown = kith_realloc(*list, wanted * item);
    if (!grown) return false;
    *list = grown;
    *room = wanted;
    return true;
}

/* `index` names this device.  NOMEM: then no list shows it. */
static kith_err note_named(kith_graph *graph, const kith_graph_entry *entry, size_t index, size_t place)
{
    size_t at = kith__graph_device(graph, entry->fingerprint);
    if (at == KITH_GRAPH_NONE) {
        if (!grow((void **)&graph->devices, &graph->device_room, graph->device_count, sizeof *graph->devices))
            return KITH_ERR_NOMEM;
        at = graph->device_count++;
        graph->devices[at] = (kith__device){.entry = *entry};
    }
    kith__device *d = &graph->devices[at];
    if (!grow((void **)&d->in, &d->room, d->count, sizeof *d->in)) return KITH_ERR_NOMEM;
    d->in[d->count++] = (struct kith__naming){index, place};
    return KITH_OK;
}

static void forget_named(kith_graph *graph, size_t index)
{
    for (size_t i = 0; i < graph->device_count; i++) {
        kith__device *d = &graph->devices[i];
        if (d->count && d->in[d->count - 1].record == index) d->count--;
    }
    while (graph->device_count && graph->devices[graph->device_count - 1].count == 0)
        kith_free(graph->devices[--graph->device_count].in);
}

static kith_err note_devices(kith_graph *graph, const kith_record *r, size_t index)
{
    kith_err err = KITH_OK;
    kith_graph_entry entry;
    if (r->kind == KITH_RECORD_FOUND || r->kind == KITH_RECORD_ADMIT) err = note_named(graph, &r->entry, index, 0);
    for (size_t i = 0; !err && i < r->roster_count; i++) {
        kith_record_roster(r, i, &entry);
        err = note_named(graph, &entry, index, i);
    }
    if (err) forget_named(graph, index);
    return err;
}

/* What was found out becomes part of the graph. */
static kith_err take(kith_graph *graph, arrival *a, const void *data, size_t size)
{
    size_t index = graph->count;
    a->node.bytes = kith_memdup(data, size);
    if (!a->node.bytes || !grow((void **)&graph->nodes, &graph->room, index, sizeof *graph->nodes))
        return KITH_ERR_NOMEM;
    kith_err err = note_devices(graph, &a->record, index);
    if (err) return err;
    if (a->node.signer == KITH_GRAPH_NONE) a->node.signer = kith__graph_device(graph, a->record.signer);
    if (a->record.kind == KITH_RECORD_ADMIT) a->node.device = kith__graph_device(graph, a->record.entry.fingerprint);
    a->node.size = size;
    a->node.kind = a->record.kind;
    for (size_t i = 0; i < a->record.parent_count; i++) graph->nodes[a->parents[i]].named = true;
    graph->nodes[graph->count++] = a->node;
    graph->bytes += size;
    if (a->node.kept) graph->resets++, graph->resets_bytes += size;
    if (is_plain(a->node.kind)) graph->plain++, graph->plain_bytes += size;
    return KITH_OK;
}

kith_err kith__graph_put(kith_graph *graph, const void *data, size_t size, bool verify)
{
    arrival a = {0};
    if (size > KITH_GRAPH_RECORD_MAX) return KITH_ERR_FORMAT;
    kith_record_id(data, size, a.node.id);
    if (kith_graph_find(graph, a.node.id) != KITH_GRAPH_NONE) return KITH_ERR_EXISTS;
    kith_err err = kith_record_parse(data, size, &a.record);
    if (!err) err = find_past(graph, &a);
    if (!err) err = find_signer(graph, &a);
    if (!err) err = find_target(graph, &a);
    if (!err && verify) err = kith__record_verify(&a.record, a.key);
    if (!err && verify && a.record.kind == KITH_RECORD_RESET) err = kith__record_verify_reset(&a.record, &a.pair);
    if (!err) a.node.kept = is_kept(graph, &a);
    if (!err && !room_for(graph, &a, size)) err = KITH_ERR_LIMIT;
    if (!err) err = take(graph, &a, data, size);
    if (err) {
        kith_free(a.node.past);
        kith_free(a.node.bytes);
    }
    return err;
}

kith_err kith_graph_add(kith_graph *graph, const void *data, size_t size)
{
    return kith__graph_put(graph, data, size, true);
}

/* ---- the file ---- */

kith_err kith_graph_encode(const kith_graph *graph, uint8_t **out, size_t *size)
{
    size_t room = graph->bytes + graph->count * ITEM_HEAD_MAX + BODY_HEAD_MAX;
    uint8_t *body = kith_malloc(room);
    size_t *order = kith_calloc(graph->count + 1, sizeof *order);
    kith_err err = body && order ? KITH_OK : KITH_ERR_NOMEM;
    if (!err) {
        kith_writer w = kith_writer_of(body, room);
        kith_graph_order(graph, order);
        kith_cbor_write_array(&w, graph->count);
        for (size_t i = 0; i < graph->count; i++)
            kith_cbor_write_bytes(&w, graph->nodes[order[i]].bytes, graph->nodes[order[i]].size);
        err = w.bad ? KITH_ERR_INTERNAL
                    : kith_envelope_make(KITH_GRAPH_CONTEXT, KITH_GRAPH_VERSION, body, kith_writer_size(&w), out, size);
    }
    kith_free(order);
    kith_free(body);
    return err;
}

static kith_err read_records(kith_graph *graph, const uint8_t *body, size_t size, bool verify, kith_reason *reason)
{
    kith_cbor_reader r = kith_cbor_reader_of(body, size);
    size_t count = kith_cbor_read_array(&r);
    if (count > KITH_GRAPH_RECORDS_MAX) return kith_envelope_bad(&r, body, "more records than there can be", reason);
    for (size_t i = 0; i < count; i++) {
        size_t record_size;
        const uint8_t *record = kith_cbor_read_bytes(&r, &record_size);
        if (r.bad) break;
        kith_err err = kith__graph_put(graph, record, record_size, verify);
        if (err == KITH_ERR_NOMEM) return err;
        if (err) return kith_envelope_bad(&r, body, "a record that cannot be", reason);
        if (i > 0 && kith__graph_compare(graph, i - 1, i) >= 0)
            return kith_envelope_bad(&r, body, "records out of order", reason);
    }
    return kith_cbor_done(&r) ? KITH_OK : kith_envelope_bad(&r, body, "not a list of records", reason);
}

kith_err kith_graph_decode(const void *data, size_t size, bool verify, kith_graph **out, kith_reason *reason)
{
    const uint8_t *body;
    size_t body_size;
    kith_graph *graph = NULL;
    kith_err err = kith_envelope_open(KITH_GRAPH_CONTEXT, KITH_GRAPH_VERSION, data, size, &body, &body_size, reason);
    if (!err) err = kith_graph_new(&graph);
    if (!err) err = read_records(graph, body, body_size, verify, reason);
    if (err)
        kith_graph_free(graph);
    else
        *out = graph;
    return err;
}
