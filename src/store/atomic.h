/* Small files, read and replaced whole.  A file is replaced by writing a new one beside it and renaming that over it:
 * whatever happens in between (no space, a crash, power failure), the name holds the old bytes or the new, never a
 * part. */
#ifndef KITH_STORE_ATOMIC_H
#define KITH_STORE_ATOMIC_H

#include "env/env.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

/* "folder/name"; release with kith_free.  NULL when out of memory. */
char *kith_path_join(const char *folder, const char *name);

/* Make `folder/name` these bytes, durable when it returns OK.  The temporary file is "name.tmp-N", new and in the same
 * folder, and is removed on failure.  On an error the old file is there unless the very last step failed (making the
 * rename durable): then either may be after a power failure.  LIMIT when 64 temporary files are left over; else what
 * the disk says. */
KITH_MUST_CHECK kith_err kith_atomic_write(kith_env *env, const char *folder, const char *name, uint32_t mode,
                                           const void *data, size_t size);
/* The same where nothing may be replaced: EXISTS. */
KITH_MUST_CHECK kith_err kith_atomic_write_new(kith_env *env, const char *folder, const char *name, uint32_t mode,
                                               const void *data, size_t size);
/* Remove what crashes have left of temporary files for `name`.  Only while nobody else can be writing it (a lock). What
 * cannot be removed stays.  NOMEM. */
KITH_MUST_CHECK kith_err kith_atomic_clean(kith_env *env, const char *folder, const char *name);

/* The whole file; release *data with kith_free.  `info` (NULL: not wanted) is of the very file that was read.  NO_FILE,
 * NOT_REGULAR, LIMIT when it is larger than `max`, NOMEM; else what the disk says. */
KITH_MUST_CHECK kith_err kith_read_whole(kith_env *env, const char *path, size_t max, uint8_t **data, size_t *size,
                                         kith_file_info *info);

#endif
