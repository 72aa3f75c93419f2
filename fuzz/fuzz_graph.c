/* graph.cbor, and records by themselves: what decodes encodes to the same bytes, and can be judged.  The checksum would
 * stop nearly every input, so each is tried also as the body of an envelope whose checksum fits. */
#include "base/mem.h"
#include "identity/envelope.h"
#include "identity/graph.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const kith_graph *graph)
{
    kith_verdict v;
    if (kith_graph_judge(graph, &v) != (kith_graph_count(graph) ? KITH_OK : KITH_ERR_STATE)) abort();
    if (kith_graph_count(graph) == 0) return;
    for (size_t i = 0; i < v.count; i++) {
        if (!v.members[i].state || v.members[i].admitted >= kith_graph_count(graph)) abort();
        if ((v.members[i].revoked != KITH_GRAPH_NONE) != (v.members[i].state == KITH_MEMBER_REVOKED)) abort();
    }
    for (size_t i = 0; i < kith_graph_count(graph); i++)
        if (!v.records[i].state) abort();
    kith_verdict_done(&v);
}

static void check(const uint8_t *data, size_t size)
{
    kith_graph *graph;
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size;
    kith_err err = kith_graph_decode(data, size, false, &graph, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return;
    }
    if (kith_graph_encode(graph, &out, &out_size) || out_size != size || memcmp(out, data, size) != 0) abort();
    kith_free(out);
    judge(graph);
    kith_graph_free(graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *whole;
    size_t whole_size;
    kith_record record;
    if (kith_record_parse(data, size, &record) == KITH_OK && record.parent_count > KITH_GRAPH_PARENTS_MAX) abort();
    check(data, size);
    if (kith_envelope_make(KITH_GRAPH_CONTEXT, KITH_GRAPH_VERSION, data, size, &whole, &whole_size)) abort();
    check(whole, whole_size);
    kith_free(whole);
    return 0;
}
