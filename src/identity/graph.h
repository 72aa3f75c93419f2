/* The trust graph: which devices are one person's own, as signed records that name the records their authors knew.
 * docs/identity.md argues the rules; docs/kith.cddl has the bytes.
 *
 *     record = [ body (a byte string), signature (64), ? recovery signature (64) ]          (deterministic CBOR)
 *     body   = { 1: kind, 2: [ parent id, ... ], 3: time (ms since 1970), 4: signer (fingerprint), what the kind has }
 *     id     = BLAKE3 derive_key(KITH_GRAPH_ID_CONTEXT, the record's bytes)
 *
 * The signature is Ed25519 over KITH_GRAPH_SIGN_LABEL with its NUL || body; the recovery signature, of a reset only,
 * over KITH_GRAPH_RESET_LABEL with its NUL || body.  Times are for people to read: nothing is decided by them.
 *
 * A record's *past* is what its parents lead to.  A graph holds only records whose past it holds, of one network, which
 * is what its one found record begins.  Graphs that have the same records are the same, in whatever order they came.
 *
 * What counts (kith_graph_judge), a function of the set of records:
 *  - A reset begins a new *epoch*: its roster are the members, and records that neither lead to it nor follow it are
 *    void.  It must be signed with the recovery key of a pair of the epoch it ends: the one the epoch began with, or a
 *    replacement in force.  One that has another such reset in its past is void; of several that do not know each other
 *    the one counts whose key is the older pair's, then whose co-signer was admitted earlier, then of the smaller id.
 *  - *Order of admission*: the epoch's first devices as listed, then by (depth, id) of the first record that admits it.
 *  - A record counts when its signer was admitted in the record's own past by a record that counts, and no revocation
 *    of its signer counts that does not have the record in its past.
 *  - A revocation is judged by those of devices admitted before its signer alone.  They make it void by the rule above,
 *    or by being the answer of the device it revokes: of two that revoke each other the earlier admitted wins, whatever
 *    the order.  So a ring of revocations has an end, and a revocation outlives that of its signer by somebody later.
 *  - A device is a member when a record that counts admits it and no revocation of it counts.  A revoked key does not
 *    come back but by a reset.
 *  - A replacement of the recovery pair is in force when it counts, every member agrees, and so did whoever revoked its
 *    maker, when it did so.  Its maker agrees; who accepted it does, or left its key for it; and who came with it: the
 *    epoch did not begin with it, and all records of the epoch that admit it, void or not, know of the replacement and
 *    are by devices that agree.  The last of those in force counts. */
#ifndef KITH_IDENTITY_GRAPH_H
#define KITH_IDENTITY_GRAPH_H

#include "identity/fingerprint.h"
#include "identity/name.h"
#include "identity/reason.h"
#include "identity/recovery.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_GRAPH_VERSION     1
#define KITH_GRAPH_CONTEXT     "kith 2026-11 graph.cbor: checksum"
#define KITH_GRAPH_ID_CONTEXT  "kith 2026-11 trust graph: record id"
#define KITH_GRAPH_SIGN_LABEL  "kith trust record v1"
#define KITH_GRAPH_RESET_LABEL "kith trust reset v1"

#define KITH_GRAPH_ID_SIZE     32
#define KITH_GRAPH_PARENTS_MAX 8
#define KITH_GRAPH_ROSTER_MAX  64 /* devices of a reset */
/* A network's records, at most.  A thief may fill a graph before it is revoked: the last places are kept for what ends
 * that: KITH_GRAPH_KEPT_REVOKE for revocations and resets, of which KITH_GRAPH_KEPT_RESET for resets alone; and those
 * only for resets with a code that no member can have made without the one before it: the founder's, when it founded
 * the network or while it was alone, and each that such a reset made. */
#define KITH_GRAPH_RECORDS_MAX 4096
#define KITH_GRAPH_KEPT_REVOKE 512
#define KITH_GRAPH_KEPT_RESET  64
/* From so many on a reset does not name all it knows: others, whom a thief gave other records, could not take it. */
#define KITH_GRAPH_CROWDED    (KITH_GRAPH_RECORDS_MAX / 2)
#define KITH_GRAPH_ENTRY_MAX  264 /* bytes of a device in a record, at most */
#define KITH_GRAPH_SMALL_MAX  1024
#define KITH_GRAPH_RECORD_MAX (KITH_GRAPH_SMALL_MAX + KITH_GRAPH_ROSTER_MAX * KITH_GRAPH_ENTRY_MAX) /* of a reset */
/* Of all records: as many as there may be of each class, each as large as it may be. */
#define KITH_GRAPH_RESETS_BYTES (KITH_GRAPH_KEPT_RESET * KITH_GRAPH_RECORD_MAX)
#define KITH_GRAPH_OTHERS_BYTES ((KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_RESET) * KITH_GRAPH_SMALL_MAX)
#define KITH_GRAPH_PLAIN_BYTES  ((KITH_GRAPH_RECORDS_MAX - KITH_GRAPH_KEPT_REVOKE) * KITH_GRAPH_SMALL_MAX)
#define KITH_GRAPH_BYTES_MAX    (KITH_GRAPH_RESETS_BYTES + KITH_GRAPH_OTHERS_BYTES)
#define KITH_GRAPH_FILE_MAX     (KITH_GRAPH_BYTES_MAX + KITH_GRAPH_RECORDS_MAX * 4 + 128)

typedef enum kith_record_kind {
    KITH_RECORD_FOUND = 1,    /* the first device admits itself; with the recovery pair, if there is a code */
    KITH_RECORD_ADMIT = 2,    /* a member admits a device */
    KITH_RECORD_REVOKE = 3,   /* a member revokes one */
    KITH_RECORD_DESCRIBE = 4, /* a device says what it is called now */
    KITH_RECORD_DEPOSIT = 5,  /* a device's sealed key, for the holder of the recovery code */
    KITH_RECORD_RESET = 6,    /* with the recovery code: the members are these, the code another from now on */
    KITH_RECORD_REPLACE = 7,  /* without it: another recovery pair, if all agree */
    KITH_RECORD_ACCEPT = 8,   /* a member agrees with that */
} kith_record_kind;

/* A device as a record names it: a plain value.  fingerprint is derived. */
typedef struct kith_graph_entry {
    uint8_t uuid[KITH_UUID_SIZE], ed25519[KITH_ED25519_PUBLIC_SIZE], fingerprint[KITH_FINGERPRINT_SIZE];
    char name[KITH_NAME_SIZE], os[KITH_NAME_SIZE], hardware_model[KITH_NAME_SIZE];
} kith_graph_entry;
/* The texts are cleaned (identity/name.h); an empty name becomes "device". */
void kith_graph_entry_make(const uint8_t uuid[static KITH_UUID_SIZE],
                           const uint8_t ed25519[static KITH_ED25519_PUBLIC_SIZE], const char *name, const char *os,
                           const char *hardware_model, kith_graph_entry *out);

/* What a record says: a plain value; the roster is a view of the record's bytes. */
typedef struct kith_record {
    kith_record_kind kind;
    uint8_t parents[KITH_GRAPH_PARENTS_MAX][KITH_GRAPH_ID_SIZE]; /* ascending */
    size_t parent_count;
    int64_t time_ms;
    uint8_t signer[KITH_FINGERPRINT_SIZE];
    kith_graph_entry entry;             /* found, admit: the device; describe: the three texts alone */
    bool has_pair, has_deposit;         /* found: whether it has these */
    kith_recovery_public pair;          /* found, reset, replace */
    uint8_t deposit[KITH_DEPOSIT_SIZE]; /* found, deposit */
    uint8_t target[32];       /* revoke: a fingerprint; else the id of the record that made the pair (deposit, reset)
                               * or of the replacement (accept) */
    char why[KITH_NAME_SIZE]; /* revoke; may be "" */
    const uint8_t *roster;    /* reset: kith_record_roster reads it */
    size_t roster_size, roster_count;
    uint8_t signature[KITH_ED25519_SIGNATURE_SIZE], recovery_signature[KITH_ED25519_SIGNATURE_SIZE];
    const uint8_t *body; /* what is signed: a view */
    size_t body_size;
} kith_record;

/* The form alone: FORMAT. */
KITH_MUST_CHECK kith_err kith_record_parse(const void *data, size_t size, kith_record *out);
/* Device number `index` of a reset's roster. */
void kith_record_roster(const kith_record *record, size_t index, kith_graph_entry *out);
void kith_record_id(const void *data, size_t size, uint8_t out[static KITH_GRAPH_ID_SIZE]);

/* ---- a set of records ---- */
typedef struct kith_graph kith_graph;
KITH_MUST_CHECK kith_err kith_graph_new(kith_graph **out); /* empty; NOMEM */
void kith_graph_free(kith_graph *graph);                   /* NULL is fine */

/* Records by number, in the order they came: parents before what names them. */
#define KITH_GRAPH_NONE SIZE_MAX
size_t kith_graph_count(const kith_graph *graph);
const uint8_t *kith_graph_bytes(const kith_graph *graph, size_t index, size_t *size);
const uint8_t *kith_graph_id(const kith_graph *graph, size_t index); /* 32 bytes */
void kith_graph_record(const kith_graph *graph, size_t index, kith_record *out);
size_t kith_graph_find(const kith_graph *graph, const uint8_t id[static KITH_GRAPH_ID_SIZE]); /* NONE: not there */
bool kith_graph_in_past(const kith_graph *graph, size_t index, size_t of);                    /* never of itself */
uint32_t kith_graph_depth(const kith_graph *graph, size_t index); /* records on the longest way to the first; 0: it */
/* The order records are shown and stored in, which all graphs with the same records share: by depth, then by id.
 * out[count]. */
void kith_graph_order(const kith_graph *graph, size_t *out);
/* Those that no other names as a parent, in that order: writes at most `cap`, returns how many there are. */
size_t kith_graph_heads(const kith_graph *graph, size_t *out, size_t cap);
/* What somebody lacks who has these heads (ids; unknown ones are skipped) and all that leads to them, in an order in
 * which it can be added: out[count]; how many. */
size_t kith_graph_lacks(const kith_graph *graph, const uint8_t (*heads)[KITH_GRAPH_ID_SIZE], size_t head_count,
                        size_t *out);

/* Take a record from anywhere (copied), checking form and signatures: EXISTS; NOT_FOUND, a parent is not here: ask for
 * it; FORMAT, also for what names things its past does not have; SIGNATURE; STATE, of another network; LIMIT; NOMEM. */
KITH_MUST_CHECK kith_err kith_graph_add(kith_graph *graph, const void *data, size_t size);

/* graph.cbor: the envelope of identity/envelope.h around an array of the records' bytes.  One set has one encoding.
 * Release *out with kith_free.  NOMEM. */
KITH_MUST_CHECK kith_err kith_graph_encode(const kith_graph *graph, uint8_t **out, size_t *size);
/* `verify`: check the signatures too.  What this device stored it has verified before, so that loading need not.
 * DAMAGED, VERSION (both with a reason), NOMEM. */
KITH_MUST_CHECK kith_err kith_graph_decode(const void *data, size_t size, bool verify, kith_graph **out,
                                           kith_reason *reason);

/* ---- making records: each signs one that names all heads (more than fit are joined first) and adds it ----
 * LIMIT; NOMEM; what kith_graph_add says of a record that cannot be; then the graph has at most joining records more.
 */
typedef struct kith_graph_author {
    const uint8_t *seed; /* 32 bytes, Ed25519; borrowed */
    const kith_graph_entry *self;
    int64_t now_ms;
} kith_graph_author;

/* Into an empty graph.  `pair`, `deposit` (for it) may be NULL. */
KITH_MUST_CHECK kith_err kith_graph_found(kith_graph *graph, const kith_graph_author *author,
                                          const kith_recovery_public *pair, const uint8_t deposit[KITH_DEPOSIT_SIZE]);
KITH_MUST_CHECK kith_err kith_graph_admit(kith_graph *graph, const kith_graph_author *author,
                                          const kith_graph_entry *device);
/* `why` is cleaned as names are; NULL: "". */
KITH_MUST_CHECK kith_err kith_graph_revoke(kith_graph *graph, const kith_graph_author *author,
                                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], const char *why);
/* The texts of author->self. */
KITH_MUST_CHECK kith_err kith_graph_describe(kith_graph *graph, const kith_graph_author *author);
KITH_MUST_CHECK kith_err kith_graph_deposit(kith_graph *graph, const kith_graph_author *author,
                                            const uint8_t pair_id[static KITH_GRAPH_ID_SIZE],
                                            const uint8_t deposit[static KITH_DEPOSIT_SIZE]);
/* `code`: of the pair that the record `pair_id` made; SIGNATURE when it is another's.  The roster has the author in it.
 */
KITH_MUST_CHECK kith_err kith_graph_reset(kith_graph *graph, const kith_graph_author *author,
                                          const uint8_t pair_id[static KITH_GRAPH_ID_SIZE],
                                          const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                                          const kith_recovery_public *pair, const kith_graph_entry *roster,
                                          size_t roster_count);
KITH_MUST_CHECK kith_err kith_graph_replace(kith_graph *graph, const kith_graph_author *author,
                                            const kith_recovery_public *pair);
KITH_MUST_CHECK kith_err kith_graph_accept(kith_graph *graph, const kith_graph_author *author,
                                           const uint8_t replace_id[static KITH_GRAPH_ID_SIZE]);

/* ---- what it all comes to ---- */
typedef enum kith_member_state {
    KITH_MEMBER = 1,
    KITH_MEMBER_REVOKED, /* by the record `revoked`: a revocation, or a reset that left it out */
    KITH_MEMBER_VOID,    /* no record that counts ever admitted it */
} kith_member_state;

typedef struct kith_member {
    kith_graph_entry entry; /* the texts as it said them last */
    kith_member_state state;
    size_t admitted; /* the record that admitted it: found, admit or reset */
    size_t revoked;  /* NONE unless REVOKED */
    size_t deposit;  /* the record with its key for the pair in force; NONE: none (yet) */
} kith_member;

typedef enum kith_record_state {
    KITH_RECORD_GOOD = 1,
    KITH_RECORD_WAITING,       /* a replacement that not all who must have agreed with */
    KITH_RECORD_VOID_STRANGER, /* its signer was no member in its past */
    KITH_RECORD_VOID_REVOKED,  /* its signer was revoked by `by`, which does not know of it; or, of a
                                * revocation, which is the earlier admitted device's answer, or, of a
                                * replacement, which is by one that had not agreed */
    KITH_RECORD_VOID_RESET,    /* the reset `by` neither knows of it nor is known to it, or came before */
    KITH_RECORD_VOID_KEY,      /* a reset signed with a recovery key that was not in force */
} kith_record_state;

typedef struct kith_verdict {
    kith_member *members; /* in order of admission; then those of earlier epochs alone */
    size_t count;
    struct {
        kith_record_state state;
        size_t by;                 /* NONE: nobody in particular */
    } * records;                   /* one for each record of the graph, by number */
    size_t base;                   /* the record that began the epoch: found, or the last reset */
    size_t epoch;                  /* 0: no reset yet */
    size_t pair;                   /* the record that made the recovery pair in force; NONE: there is none */
    kith_recovery_public recovery; /* its; zeros when there is none */
} kith_verdict;

/* NOMEM; STATE for an empty graph.  Release with kith_verdict_done. */
KITH_MUST_CHECK kith_err kith_graph_judge(const kith_graph *graph, kith_verdict *out);
void kith_verdict_done(kith_verdict *verdict); /* zeroed is fine */
const kith_member *kith_verdict_find(const kith_verdict *verdict,
                                     const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE]); /* NULL: never named */
size_t kith_verdict_members(const kith_verdict *verdict); /* those that are MEMBER */

#endif
