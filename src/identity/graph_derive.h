/* What the home's other files have from the trust graph: pins of the person's own devices, and their deposits. */
#ifndef KITH_IDENTITY_GRAPH_DERIVE_H
#define KITH_IDENTITY_GRAPH_DERIVE_H

#include "identity/graph.h"
#include "identity/master_file.h"
#include "identity/trust.h"

/* New pins of own devices end here, in order of admission: a thief may admit thousands.  Those there are stay. */
#define KITH_GRAPH_PINNED_MAX 256

/* Members but `self` become own devices, called as they say; own devices that the graph names and that are no members
 * go.  What the graph does not name stays.  Where `self` is no member itself nothing changes: it is not told any more.
 * A member whose UUID or key is pinned as another's is left out.  LIMIT, NOMEM; then the set is half changed. */
KITH_MUST_CHECK kith_err kith_graph_derive_trust(const kith_graph *graph, const kith_verdict *verdict,
                                                 const uint8_t self[static KITH_FINGERPRINT_SIZE], kith_trust *trust);
/* Own devices that are no members go, all of them: those of a network that is left for this one.  Nobody is pinned. */
void kith_graph_leave_others(const kith_verdict *verdict, kith_trust *trust);
/* The pair in force and the members' deposits for it, in place of what is there; of more than there is room for, the
 * first in order of admission.  NOMEM. */
KITH_MUST_CHECK kith_err kith_graph_derive_master(const kith_graph *graph, const kith_verdict *verdict,
                                                  kith_master *master);

/* Why a device is no member, for its owner: whose record it was, when and why.  False: it is one, or was never named.
 */
typedef struct kith_revocation {
    size_t record;           /* that says so; NONE: none does, no record that counts ever let it in */
    char by[KITH_NAME_SIZE]; /* the name of who revoked; "" when it cannot be said */
    bool reset;              /* with the recovery code */
    int64_t time_ms;
    char why[KITH_NAME_SIZE];
} kith_revocation;
bool kith_graph_revocation(const kith_graph *graph, const kith_verdict *verdict,
                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], kith_revocation *out);
/* How that is said on the device itself: one sentence without its full stop; what is missing is left out. */
#define KITH_REVOCATION_TEXT_SIZE 256
void kith_revocation_text(const kith_revocation *revocation, char out[static KITH_REVOCATION_TEXT_SIZE]);

/* ---- the recovery code ---- */
/* A replacement that waits for consent.  Each maker's newest counts; of several makers the first let in is shown: a
 * thief may try to be taken for one's own. */
typedef struct kith_waiting_code {
    size_t record;
    bool several; /* makers */
} kith_waiting_code;
bool kith_graph_waiting_code(const kith_graph *graph, const kith_verdict *verdict, kith_waiting_code *out);

/* The newest replacement that was in force here (this device left its key for it), is not any more, and is newer than
 * what is: its paper says nothing of that. */
typedef struct kith_ended_code {
    char by[KITH_NAME_SIZE]; /* its maker's name */
    int64_t time_ms;
    bool waits; /* it can be in force again, when all agree */
} kith_ended_code;
bool kith_graph_ended_code(const kith_graph *graph, const kith_verdict *verdict,
                           const uint8_t self[static KITH_FINGERPRINT_SIZE], kith_ended_code *out);

#endif
