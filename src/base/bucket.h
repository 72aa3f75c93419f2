/* A token bucket: so many at once, and one more each so often.  All zeros: full. */
#ifndef KITH_BASE_BUCKET_H
#define KITH_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kith_bucket {
    uint64_t level, filled_ns; /* filled_ns 0: nothing was taken yet */
} kith_bucket;

/* Take one; false: there is none now.  every_ns and burst are at least 1, and the same in each call; time is never 0.
 */
bool kith_bucket_take(kith_bucket *bucket, uint64_t every_ns, uint64_t burst, uint64_t now_ns);
/* When there is one again; 0: there is one. */
uint64_t kith_bucket_next_ns(const kith_bucket *bucket, uint64_t every_ns);

#endif
