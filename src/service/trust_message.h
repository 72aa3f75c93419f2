/* What own devices say to each other of the trust graph (identity/graph.h), on a stream of its own: messages, each
 * varint length || CBOR map,  of which key 1 says the kind.  docs/protocol.md has the course of it.
 *
 *   { 1: 1, 2: network (32), 3: [ id (32) ... ] }    heads: what leads to these I have; send me what I lack
 *   { 1: 2, 2: [ record (bytes) ... ], 3: more }     records, parents first; more: further ones follow at once
 */
#ifndef KITH_SERVICE_TRUST_MESSAGE_H
#define KITH_SERVICE_TRUST_MESSAGE_H

#include "identity/graph.h"

#define KITH_TRUST_HEADS_MAX   64    /* named in one message; of more the first */
#define KITH_TRUST_MESSAGE_MAX 65536 /* bytes of a map */
#define KITH_TRUST_OUTPUT_MAX  (KITH_TRUST_MESSAGE_MAX + 8)

typedef enum kith_trust_kind { KITH_TRUST_HEADS = 1, KITH_TRUST_RECORDS = 2 } kith_trust_kind;

typedef struct kith_trust_message {
    kith_trust_kind kind;
    uint8_t network[KITH_GRAPH_ID_SIZE]; /* heads: the id of its first record */
    uint8_t heads[KITH_TRUST_HEADS_MAX][KITH_GRAPH_ID_SIZE];
    size_t head_count;
    const uint8_t *records; /* those that kith_trust_next_record has not given yet; a view */
    size_t records_size;
    size_t record_count;
    bool more;
} kith_trust_message;

/* With the length before it; 0: it does not fit into out[cap]. */
size_t kith_trust_write_heads(const uint8_t network[static KITH_GRAPH_ID_SIZE],
                              const uint8_t (*heads)[KITH_GRAPH_ID_SIZE], size_t count, uint8_t *out, size_t cap);
/* As many of list[0..count), numbers of the graph's records, as fit into one message of out[KITH_TRUST_OUTPUT_MAX];
 * *taken: how many; more: say so when some are left. */
size_t kith_trust_write_records(const kith_graph *graph, const size_t *list, size_t count, uint8_t *out, size_t *taken);
/* The map, without its length: FORMAT.  UNSUPPORTED: a kind of a later version. */
KITH_MUST_CHECK kith_err kith_trust_parse(const void *data, size_t size, kith_trust_message *out);
/* The next record, a view; NULL: there are no more.  A message may have tens of thousands, of no bytes. */
const uint8_t *kith_trust_next_record(kith_trust_message *message, size_t *size);

#endif
