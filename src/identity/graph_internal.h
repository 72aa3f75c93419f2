/* What the files of the trust graph share. */
#ifndef KITH_IDENTITY_GRAPH_INTERNAL_H
#define KITH_IDENTITY_GRAPH_INTERNAL_H

#include "identity/graph.h"

/* A set of record numbers below some number: bit i of word i / 64. */
static inline bool kith__bit(const uint64_t *set, size_t index) { return set[index / 64] >> (index % 64) & 1; }
static inline void kith__bit_set(uint64_t *set, size_t index) { set[index / 64] |= UINT64_C(1) << (index % 64); }
static inline size_t kith__words(size_t bits) { return (bits + 63) / 64; }

typedef struct kith__node {
    uint8_t id[KITH_GRAPH_ID_SIZE];
    uint8_t *bytes;
    size_t size;
    uint64_t *past; /* of the records before this one: kith__words(its number) words */
    uint32_t depth;
    bool named; /* as a parent by another */
    bool kept;  /* a reset that has a place kept for it */
    kith_record_kind kind;
    size_t signer; /* a device */
    size_t device; /* admit, revoke: whom; else NONE */
    size_t target; /* accept, deposit, reset: the record they are about; else NONE */
} kith__node;

/* A device that records name, and which do: found, admit or reset (with its place in the roster). */
typedef struct kith__device {
    kith_graph_entry entry; /* as the first of them has it */
    struct kith__naming {
        size_t record, place;
    } * in;
    size_t count, room;
} kith__device;

struct kith_graph {
    kith__node *nodes;
    size_t count, room;
    size_t resets, resets_bytes; /* of these: resets with a place kept for them */
    size_t plain, plain_bytes;   /* ... and neither revocations nor resets */
    size_t bytes;                /* of all */
    kith__device *devices;
    size_t device_count, device_room;
};

/* The signature and the recovery signature over a record's body, into what kith_record_parse accepts: out[cap].  `code`
 * NULL: no recovery signature.  LIMIT when it does not fit; NOMEM. */
KITH_MUST_CHECK kith_err kith__record_seal(const void *body, size_t body_size, const uint8_t *seed, const uint8_t *code,
                                           uint8_t *out, size_t cap, size_t *out_size);
/* The body of a record; the roster's devices are given apart.  0: it does not fit. */
size_t kith__record_body(const kith_record *record, const kith_graph_entry *roster, uint8_t *out, size_t cap);
/* SIGNATURE; FORMAT when a device in it has a key of low order; NOMEM. */
KITH_MUST_CHECK kith_err kith__record_verify(const kith_record *record, const uint8_t *public_key);
KITH_MUST_CHECK kith_err kith__record_verify_reset(const kith_record *record, const kith_recovery_public *pair);

/* Of a record's past (kith__words(before) words for the records below `before`): whether this record is in it. */
static inline bool kith__past_has(const kith__node *node, size_t before, size_t index)
{
    return index < before && kith__bit(node->past, index);
}
size_t kith__graph_device(const kith_graph *graph, const uint8_t *fingerprint); /* NONE: never named */
int kith__graph_compare(const kith_graph *graph, size_t a, size_t b);           /* < 0, 0, > 0: by depth, then id */
/* kith_graph_add; `verify` false: the signatures are not looked at. */
KITH_MUST_CHECK kith_err kith__graph_put(kith_graph *graph, const void *data, size_t size, bool verify);

#endif
