/* From a connection id (or reset token, or probe id) to its connection.  A hash table under a secret key (SipHash), so
 * that peers cannot aim collisions; each entry is also in a list of its owner, so that an owner's entries go with it.
 */
#ifndef KITH_QUIC_IDMAP_H
#define KITH_QUIC_IDMAP_H

#include "base/list.h"

#include <kith/error.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_ID_MAX 20 /* RFC 9000 section 17.2 */

typedef struct kith_idmap kith_idmap;

KITH_MUST_CHECK kith_err kith_idmap_new(const uint8_t key[static 16], kith_idmap **out);
void kith_idmap_free(kith_idmap *map); /* entries must be gone; NULL is fine */
/* `owner` is what find gives.  The entry joins `list`.  EXISTS when the id is taken, NOMEM. */
KITH_MUST_CHECK kith_err kith_idmap_add(kith_idmap *map, const void *id, size_t size, void *owner, kith_list *list);
void *kith_idmap_find(const kith_idmap *map, const void *id, size_t size); /* NULL: unknown */
void kith_idmap_remove(kith_idmap *map, const void *id, size_t size);
void kith_idmap_remove_all(kith_list *list); /* every entry of one owner, whatever map it is in */
size_t kith_idmap_count(const kith_idmap *map);

#endif
