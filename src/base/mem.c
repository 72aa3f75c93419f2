#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Counting costs an uncontended atomic per allocation; hot paths do not allocate. */
static atomic_uint_least64_t calls, fail_at;
static atomic_bool fail_forever, failed;
static atomic_int_least64_t live;

static bool refused(void)
{
    uint64_t call = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (at == 0 || call < at) return false;
    if (call > at && !atomic_load(&fail_forever)) return false;
    atomic_store(&failed, true);
    return true;
}

static void *counted(void *memory)
{
    if (memory) atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return memory;
}

void *kith_malloc(size_t size)
{
    if (size > PTRDIFF_MAX || refused()) return NULL;
    return counted(malloc(size ? size : 1));
}

static void *malloc_at(size_t page, size_t size)
{
    if (size == 0 || size > PTRDIFF_MAX - page || refused()) return NULL;
    return counted(aligned_alloc(page, (size + page - 1) / page * page));
}

void *kith_malloc_pages(size_t size) { return malloc_at(4096, size); }

void *kith_malloc_huge(size_t size)
{
    void *memory = malloc_at((size_t)2 << 20, size);
#ifdef MADV_HUGEPAGE
    if (memory) (void)madvise(memory, size, MADV_HUGEPAGE); /* a wish */
#endif
    return memory;
}

void *kith_calloc(size_t count, size_t size)
{
    if ((size && count > PTRDIFF_MAX / size) || refused()) return NULL;
    return counted(calloc(count ? count : 1, size ? size : 1));
}

void *kith_realloc(void *old, size_t size)
{
    if (size > PTRDIFF_MAX || refused()) return NULL;
    void *memory = realloc(old, size ? size : 1);
    return old ? memory : counted(memory);
}

void *kith_memdup(const void *data, size_t size)
{
    void *copy = kith_malloc(size);
    if (copy && size) memcpy(copy, data, size);
    return copy;
}

char *kith_strdup(const char *text) { return kith_memdup(text, strlen(text) + 1); }

void kith_free(void *memory)
{
    if (!memory) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(memory);
}

void kith_mem_fail_at(uint64_t n, bool forever)
{
    atomic_store(&calls, 0);
    atomic_store(&fail_forever, forever);
    atomic_store(&failed, false);
    atomic_store(&fail_at, n);
}

uint64_t kith_mem_calls(void) { return atomic_load(&calls); }
bool kith_mem_failed(void) { return atomic_load(&failed); }
int64_t kith_mem_live(void) { return atomic_load(&live); }

void kith_wipe(void *memory, size_t size)
{
    if (size) explicit_bzero(memory, size);
}
