/* The one allocator.  Tests make it fail: at the n-th call, once or from there on (SQLite's way of testing
 * out-of-memory). Everything it gives is released with kith_free, which accepts NULL. */
#ifndef KITH_BASE_MEM_H
#define KITH_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when there is no memory, or when size (count * size) overflows or is larger than PTRDIFF_MAX.  Size 0 gives a
 * unique pointer. */
void *kith_malloc(size_t size);
void *kith_calloc(size_t count, size_t size);
void *kith_malloc_pages(size_t size); /* begins at a multiple of 4,096, as direct I/O wants it */
/* Large and used often, so on huge pages (2 MiB) as far as the system has them: it begins at a multiple of one. */
void *kith_malloc_huge(size_t size);
void *kith_realloc(void *old, size_t size); /* on failure old is untouched */
void *kith_memdup(const void *data, size_t size);
char *kith_strdup(const char *text);
void kith_free(void *memory);

/* For tests: fail the n-th allocation from now (1 = the next; 0 = never), and if `forever` all after it too. */
void kith_mem_fail_at(uint64_t n, bool forever);
/* Allocations asked for since the last kith_mem_fail_at; whether one was made to fail; blocks not yet freed. */
uint64_t kith_mem_calls(void);
bool kith_mem_failed(void);
int64_t kith_mem_live(void);

/* Overwrite with zeroes in a way the compiler keeps. */
void kith_wipe(void *memory, size_t size);

#endif
