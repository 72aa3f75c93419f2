/* The journal beside a file on its way in: which groups are there.
 *
 *   header  "kith.jnl" || version (u32) || sender (32) || tag (32) || size (u64) || boot id (16) || check (32)     132
 * bytes record  CV (32) || check (8)                             one for each group, in order, written after its data
 * 40 bytes
 *
 * Nothing is synced on the way: what a process wrote is in the page cache and outlives it.  Only a restart of the
 * machine can lose it, and then the boot id differs: the groups listed must be read and hashed again before they count.
 * The checks are BLAKE3 (of what is before them in the header; keyed with the transfer's identity and the group's
 * number in a record), so a journal that is torn, damaged or another transfer's is good as far as its first wrong byte.
 */
#ifndef KITH_STORE_INCOMING_JOURNAL_H
#define KITH_STORE_INCOMING_JOURNAL_H

#include "crypto/blake3.h"
#include "env/env.h"
#include "store/incoming.h"

#define KITH_JOURNAL_HEADER_SIZE 132
#define KITH_JOURNAL_RECORD_SIZE (KITH_BLAKE3_SIZE + 8)

typedef struct kith_journal {
    const kith_env_file *disk;
    kith_file *file; /* open, locked */
    kith_incoming_id id;
    uint8_t key[KITH_BLAKE3_SIZE];
} kith_journal;

void kith_journal_init(kith_journal *journal, const kith_env_file *disk, kith_file *file, const kith_incoming_id *id);
/* Whether the header is ours; then the boot id in it. */
bool kith_journal_read_header(const kith_journal *journal, uint8_t boot_id[static KITH_BOOT_ID_SIZE]);
/* The CVs of groups first ... first + count - 1; returns how many of them are there and good.  What cannot be read is
 * not there. */
size_t kith_journal_read(const kith_journal *journal, uint64_t first, size_t count, uint8_t (*cvs)[KITH_BLAKE3_SIZE]);
KITH_MUST_CHECK kith_err kith_journal_write_header(const kith_journal *journal,
                                                   const uint8_t boot_id[static KITH_BOOT_ID_SIZE]);
KITH_MUST_CHECK kith_err kith_journal_write(const kith_journal *journal, uint64_t index,
                                            const uint8_t cv[static KITH_BLAKE3_SIZE]);
/* Forget all but the first `groups` records. */
KITH_MUST_CHECK kith_err kith_journal_cut(const kith_journal *journal, uint64_t groups);

#endif
