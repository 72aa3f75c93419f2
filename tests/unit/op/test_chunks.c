/* Memory for chunks (op/chunks). */
#include "base/mem.h"
#include "crypto/blake3.h"
#include "env/env.h"
#include "op/chunks.h"
#include "testlib.h"

#define MANY (6 * (uint64_t)KITH_GROUP_SIZE) /* a file that fills buffers again and again */

/* Each its own memory, where direct I/O can use it; as many as asked for and no more; what was given back is given out
 * again before there is more. */
static void as_many_as_asked_for(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= MANY; size += MANY - 1) {
        chunk_pool pool = {0};
        uint8_t *chunks[CHUNKS_MAX];
        int64_t live = kith_mem_live();
        for (size_t i = 0; i < CHUNKS_MAX; i++) {
            assert_non_null(chunks[i] = kith__chunks_take(&pool, CHUNKS_MAX, size));
            assert_int_equal((uintptr_t)chunks[i] % KITH_FILE_BLOCK, 0);
            chunks[i][0] = chunks[i][KITH_GROUP_SIZE - 1] = (uint8_t)i;
        }
        assert_int_equal(kith_mem_live(), live + CHUNKS_MAX / 2);
        for (size_t i = 0; i < CHUNKS_MAX; i++) assert_true(chunks[i][0] == i && chunks[i][KITH_GROUP_SIZE - 1] == i);
        assert_null(kith__chunks_take(&pool, CHUNKS_MAX, size));
        for (size_t i = 10; i < 20; i++) kith__chunks_give(&pool, chunks[i]);
        assert_null(kith__chunks_take(&pool, CHUNKS_MAX - 10, size));
        for (size_t i = 20; i-- > 10;) assert_ptr_equal(kith__chunks_take(&pool, CHUNKS_MAX, size), chunks[i]);
        kith__chunks_free(&pool); /* although they are in use */
        assert_int_equal(kith_mem_live(), live);
        assert_non_null(kith__chunks_take(&pool, 2, size));
        kith__chunks_free(&pool);
        kith__chunks_free(&pool);
    }
}

/* Of a large file two are one huge page, if the system has them: they are beside each other, and begin where one does.
 */
static void two_are_a_huge_page(void **state)
{
    (void)state;
    chunk_pool pool = {0};
    uint8_t *a = kith__chunks_take(&pool, 2, MANY), *b = kith__chunks_take(&pool, 2, MANY);
    assert_int_equal((uintptr_t)a % (2 * KITH_GROUP_SIZE), 0);
    assert_ptr_equal(b, a + KITH_GROUP_SIZE);
    kith__chunks_free(&pool);
}

static void no_memory(void **state)
{
    (void)state;
    chunk_pool pool = {0};
    for (uint64_t size = 1; size <= MANY; size += MANY - 1) {
        kith_mem_fail_at(1, true);
        assert_null(kith__chunks_take(&pool, 4, size));
        kith_mem_fail_at(0, false);
        assert_int_equal(pool.used, 0);
        assert_non_null(kith__chunks_take(&pool, 4, size));
        kith_mem_fail_at(1, true);
        assert_non_null(kith__chunks_take(&pool, 4, size)); /* the other of the two */
        assert_null(kith__chunks_take(&pool, 4, size));
        kith_mem_fail_at(0, false);
        assert_int_equal(pool.used, 2);
        kith__chunks_free(&pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(as_many_as_asked_for), TEST(two_are_a_huge_page), TEST(no_memory)};
    return cmocka_run_group_tests_name("op/chunks", tests, NULL, NULL);
}
