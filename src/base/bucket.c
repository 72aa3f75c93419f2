#include "base/bucket.h"

bool kith_bucket_take(kith_bucket *bucket, uint64_t every_ns, uint64_t burst, uint64_t now_ns)
{
    if (!bucket->filled_ns) {
        bucket->level = burst;
        bucket->filled_ns = now_ns;
    }
    uint64_t refill = (now_ns - bucket->filled_ns) / every_ns;
    bucket->filled_ns += refill * every_ns;
    bucket->level = bucket->level + refill > burst ? burst : bucket->level + refill;
    if (!bucket->level) return false;
    bucket->level--;
    return true;
}

uint64_t kith_bucket_next_ns(const kith_bucket *bucket, uint64_t every_ns)
{
    return bucket->level || !bucket->filled_ns ? 0 : bucket->filled_ns + every_ns;
}
