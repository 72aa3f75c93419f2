/* A file on its way out: what an offer says of it, its bytes, and whether it stayed the same meanwhile.  All functions
 * block and belong into jobs; reads may run side by side. */
#ifndef KITH_STORE_OUTGOING_H
#define KITH_STORE_OUTGOING_H

#include "env/env.h"

#define KITH_OUTGOING_TAG_SIZE 32

typedef struct kith_outgoing_facts {
    uint64_t size;
    /* Names this content of this file: BLAKE3 over device, inode, size and the two times, so it changes when the file
     * is touched. It says nothing of the content itself. */
    uint8_t tag[KITH_OUTGOING_TAG_SIZE];
    int64_t modified_ms;
    bool executable; /* by its owner */
} kith_outgoing_facts;

typedef struct kith_outgoing kith_outgoing;

/* NO_FILE, PERMISSION, IO ...; NOT_REGULAR: a folder, a device, or, unless `follow`, a symbolic link.  NOMEM. */
KITH_MUST_CHECK kith_err kith_outgoing_open(kith_env *env, const char *path, bool follow, kith_outgoing_facts *facts,
                                            kith_outgoing **out);
/* Exactly `size` bytes at `offset`; CHANGED: the file has become shorter. */
KITH_MUST_CHECK kith_err kith_outgoing_read(kith_outgoing *file, uint64_t offset, void *out, size_t size);
/* After the last byte: CHANGED when the file is not as it was at open, or has more than its size (as those of /proc
 * have, which say 0).  (The disk's clock ticks every few milliseconds: what is written within the tick of the last
 * change before open is not seen.) */
KITH_MUST_CHECK kith_err kith_outgoing_unchanged(kith_outgoing *file);
void kith_outgoing_close(kith_outgoing *file); /* NULL is fine */

#endif
