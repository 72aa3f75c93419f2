/* A file on its way in.  Beside where it will be there are, of mode 0600,
 *
 *   .kith-<16 hex>.part      the groups that arrived, each at its place
 *   .kith-<16 hex>.journal   which of them are there (store/incoming_journal.h); locked while somebody receives this
 * file
 *
 * named after the sender, its tag for this content, and the size, so that a later attempt finds them and goes on.
 * Whatever state a crash, a full disk or a stranger left them in, an attempt uses the part that is provably good, or
 * begins again.
 *
 * All functions block and belong into jobs.  An object is used by one job at a time, except that any number of
 * kith_incoming_keep may run side by side. */
#ifndef KITH_STORE_INCOMING_H
#define KITH_STORE_INCOMING_H

#include "crypto/blake3.h"
#include "env/env.h"
#include "store/file_name.h"

#include <stdatomic.h>

#define KITH_BOOT_ID_SIZE    16
#define KITH_INCOMING_DIRECT (UINT64_C(64) << 20) /* a file this large or larger goes past the page cache */
#define KITH_INCOMING_WINDOW 64                   /* how far a group kept may be ahead of the first that is not */

typedef struct kith_incoming_id {
    uint8_t sender[32]; /* fingerprint */
    uint8_t tag[32];    /* of this content, as the sender says */
    uint64_t size;
} kith_incoming_id;

typedef struct kith_incoming_config {
    kith_env *env;
    const char *folder; /* must exist */
    kith_incoming_id id;
    uint8_t boot_id[KITH_BOOT_ID_SIZE]; /* env->base->boot_id, asked on the loop's thread */
    const atomic_bool *cancel;          /* NULL, or: once true, reading a file again stops with CANCELLED */
} kith_incoming_config;

typedef struct kith_incoming kith_incoming;

/* Find or make the two files; *resume is the tree over what is there already (groups 0: nothing).  After a restart of
 * the machine that is read and hashed again.  AGAIN: somebody is receiving this very file into this folder.  NO_FILE,
 * PERMISSION, NO_SPACE, IO ...: the folder's.  CANCELLED.  NOMEM. */
KITH_MUST_CHECK kith_err kith_incoming_open(const kith_incoming_config *config, kith_tree *resume, kith_incoming **out);

/* Take the disk space for the whole file: NO_SPACE now instead of in the middle. */
KITH_MUST_CHECK kith_err kith_incoming_reserve(kith_incoming *in);

/* Check a group against its CV (CORRUPT), write it, and note it when all before it are.  ARG: its index or size is
 * wrong, or it was kept already; LIMIT: it is KITH_INCOMING_WINDOW or more ahead.  Safe to call from several threads.
 */
KITH_MUST_CHECK kith_err kith_incoming_keep(kith_incoming *in, uint64_t index, const void *data, size_t size,
                                            const uint8_t cv[static KITH_BLAKE3_SIZE]);

typedef enum kith_incoming_conflict {
    KITH_INCOMING_KEEP,      /* keep both: "name (2)" */
    KITH_INCOMING_SKIP,      /* keep what is there */
    KITH_INCOMING_OVERWRITE, /* replace a file or link; for anything else as KEEP */
} kith_incoming_conflict;

typedef struct kith_incoming_place {
    const char *name; /* as the sender said it */
    kith_incoming_conflict conflict;
    int64_t modified_ms;
    bool executable;
} kith_incoming_place;

typedef struct kith_incoming_result {
    char name[KITH_FILE_NAME_SIZE]; /* in the folder */
    bool already; /* that file was there before: an identical one (KEEP), or any (SKIP); what arrived is gone */
} kith_incoming_result;

/* Is the file in the folder already, byte for byte (its root is `root`), under the place's name, or with KEEP one that
 * this would become?  Then *found, *tree is the tree over all of it, and finish is due without a group being kept.
 * Every file of these names and of this size is read.  Never found with OVERWRITE: what was there would keep its time
 * and mode.  NOT_ALLOWED: the name, as in finish; STATE: it was found or done before; CANCELLED; NOMEM. */
KITH_MUST_CHECK kith_err kith_incoming_find(kith_incoming *in, const kith_incoming_place *place,
                                            const uint8_t root[static KITH_BLAKE3_SIZE], kith_tree *tree, bool *found);

/* With every group kept: make it durable and give it its name.  Where the file was found, nothing but looking whether
 * it is as it was then: CHANGED.  NOT_ALLOWED: the name is one that kith_file_name_clean
 * refuses.  EXISTS: too many of this name.  STATE: groups are missing, or it was done.  After an error it may be tried
 * again, except that what could not be synced needs a new attempt (close, and open again), and that when only the
 * folder could not be synced the file has its name. */
KITH_MUST_CHECK kith_err kith_incoming_finish(kith_incoming *in, const kith_incoming_place *place,
                                              kith_incoming_result *out);

/* Release it; what arrived stays for a later attempt, if anything did.  NULL is fine. */
void kith_incoming_close(kith_incoming *in);
/* Release it and remove what arrived. */
void kith_incoming_discard(kith_incoming *in);

#endif
