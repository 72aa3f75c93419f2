/* Long-lived secrets: libsodium's guarded pages (locked, wiped on release).  20 µs each and few thousand at most: never
 * per packet. */
#ifndef KITH_CRYPTO_SECRET_H
#define KITH_CRYPTO_SECRET_H

#include <stddef.h>

void *kith_secret_new(size_t size); /* NULL when out of memory; fails with kith_malloc's injected failures too */
void kith_secret_free(void *secret);

#endif
