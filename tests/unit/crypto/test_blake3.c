#include "crypto/blake3.h"

#include "base/mem.h"
#include "testlib.h"

#include <blake3.h>
#include <blake3_impl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)KITH_GROUP_SIZE)

/* The root by way of groups: each group's CV from the whole group at once. */
static void tree_of(const uint8_t *data, size_t size, uint8_t root[KITH_BLAKE3_SIZE])
{
    kith_tree tree;
    kith_tree_init(&tree);
    uint64_t index = 0;
    do {
        size_t n = size < MIB ? size : MIB;
        uint8_t cv[KITH_BLAKE3_SIZE];
        kith_group_cv(data, n, index, index == 0 && n == size, cv);
        kith_tree_add(&tree, cv);
        data += n;
        size -= n;
        index++;
    } while (size);
    kith_tree_root(&tree, root);
}

/* The same with groups that arrive in pieces: sizes taken from `steps` in turn. */
static void tree_in_steps(const uint8_t *data, size_t size, const size_t *steps, size_t n,
                          uint8_t root[KITH_BLAKE3_SIZE])
{
    kith_tree tree;
    kith_group_hasher *hasher = NULL;
    kith_tree_init(&tree);
    assert_ok(kith_group_hasher_new(&hasher));
    size_t whole = size, turn = 0;
    uint64_t index = 0;
    do {
        size_t left = size < MIB ? size : MIB;
        uint8_t cv[KITH_BLAKE3_SIZE];
        kith_group_hasher_start(hasher, index);
        size -= left;
        while (left) {
            size_t step = steps[turn++ % n];
            if (step > left) step = left;
            kith_group_hasher_update(hasher, data, step);
            data += step;
            left -= step;
        }
        kith_group_hasher_final(hasher, whole <= MIB, cv);
        kith_tree_add(&tree, cv);
        index++;
    } while (size);
    kith_group_hasher_free(hasher);
    kith_tree_root(&tree, root);
}

static uint8_t *pattern(size_t size)
{
    uint8_t *data = malloc(size ? size : 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i % 251);
    return data;
}

/* Longer than Kith's 32 bytes, and keyed, which it never is: nothing of ours to call, so what is below. */
static void check_library(const json_t *item, const char *key, const uint8_t *data, size_t size)
{
    const char *values[] = {"hash", "keyed_hash"};
    for (size_t i = 0; i < 2; i++) {
        test_bytes want = test_hex_of(item, values[i]);
        uint8_t *out = malloc(want.size);
        blake3_hasher hasher;
        assert_non_null(out);
        if (i)
            blake3_hasher_init_keyed(&hasher, (const uint8_t *)key);
        else
            blake3_hasher_init(&hasher);
        blake3_hasher_update(&hasher, data, size);
        blake3_hasher_finalize(&hasher, out, want.size);
        assert_memory_equal(out, want.data, want.size);
        free(out);
        test_bytes_free(&want);
    }
}

static void blake3(void **state)
{
    (void)state;
    json_t *root = test_vectors("blake3.json"), *item;
    const char *context = test_str(root, "context_string"), *fixed = test_str(root, "key");
    size_t i;
    assert_non_null(context);
    assert_true(fixed && strlen(fixed) == BLAKE3_KEY_LEN);
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        size_t size = (size_t)json_integer_value(json_object_get(item, "input_len"));
        uint8_t *data = pattern(size), out[KITH_BLAKE3_SIZE];
        test_bytes want = test_hex_of(item, "hash"), derived = test_hex_of(item, "derive_key");
        assert_true(want.size >= sizeof out && derived.size >= 32);
        kith_blake3(data, size, out);
        assert_memory_equal(out, want.data, sizeof out);
        tree_of(data, size, out);
        assert_memory_equal(out, want.data, sizeof out);
        uint8_t *key = malloc(derived.size);
        assert_non_null(key);
        kith_blake3_derive(context, data, size, key, derived.size);
        assert_memory_equal(key, derived.data, derived.size);
        free(key);
        check_library(item, fixed, data, size);
        free(data);
        test_bytes_free(&want);
        test_bytes_free(&derived);
    }
    test_ran("blake3.json", i);
    json_decref(root);
}

static void check_bao_hash(const json_t *item)
{
    size_t size = (size_t)json_integer_value(json_object_get(item, "input_len"));
    uint8_t *data = malloc(size + 4), out[KITH_BLAKE3_SIZE];
    assert_non_null(data);
    for (size_t at = 0; at < size; at += 4) store32(data + at, (uint32_t)(at / 4 + 1));
    kith_blake3(data, size, out);
    test_equal_hex(out, sizeof out, test_str(item, "bao_hash"));
    tree_of(data, size, out);
    test_equal_hex(out, sizeof out, test_str(item, "bao_hash"));
    free(data);
}

/* The hash of each input; Bao's own encodings, with chunks of 1 KiB, are not Kith's. */
static void bao(void **state)
{
    (void)state;
    static const char *const parts[] = {"hash", "encode", "outboard", "slice"};
    json_t *root = test_vectors("bao.json"), *item;
    size_t i, ran = 0;
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++) {
        json_array_foreach (json_object_get(root, parts[part]), i, item) check_bao_hash(item);
        ran += i;
    }
    test_ran("bao.json", ran);
    json_decref(root);
}

static void the_tree_of_groups_is_the_plain_hash(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0,
        1,
        63,
        64,
        65,
        1023,
        1024,
        1025,
        2047,
        2048,
        2049,
        16 * 1024 - 1,
        16 * 1024,
        16 * 1024 + 1,
        17 * 1024 + 7,
        64 * 1024,
        64 * 1024 + 1,
        MIB - 1025,
        MIB - 1024,
        MIB - 1,
        MIB,
        MIB + 1,
        MIB + 1024,
        MIB + 1025,
        2 * MIB - 1,
        2 * MIB,
        2 * MIB + 1,
        3 * MIB + 5,
        5 * MIB,
        7 * MIB + 1023,
        16 * MIB + 1,
    };
    static const size_t odd[] = {1, 1350, 7, 16383, 16385, 1024, 64, 65537, 40000, 300000};
    static const size_t packets[] = {1350}, whole[] = {16 * 1024}, one[] = {1};
    uint8_t *data = malloc(16 * MIB + 1);
    assert_non_null(data);
    for (size_t i = 0, x = 1; i < 16 * MIB + 1; i++, x = x * 1103515245 + 12345) data[i] = (uint8_t)(x >> 16);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t want[KITH_BLAKE3_SIZE], got[KITH_BLAKE3_SIZE];
        kith_blake3(data, sizes[i], want);
        tree_of(data, sizes[i], got);
        assert_memory_equal(got, want, sizeof got);
        tree_in_steps(data, sizes[i], odd, sizeof odd / sizeof *odd, got);
        assert_memory_equal(got, want, sizeof got);
        tree_in_steps(data, sizes[i], packets, 1, got);
        assert_memory_equal(got, want, sizeof got);
        tree_in_steps(data, sizes[i], whole, 1, got);
        assert_memory_equal(got, want, sizeof got);
        if (sizes[i] > 65537) continue;
        tree_in_steps(data, sizes[i], one, 1, got);
        assert_memory_equal(got, want, sizeof got);
    }
    free(data);
}

static void a_group_depends_on_its_place_and_on_being_alone(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 1024, 1025, 4096};
    uint8_t *data = pattern(4096);
    for (size_t i = 0; i < 4; i++) {
        uint8_t first[KITH_BLAKE3_SIZE], second[KITH_BLAKE3_SIZE], only[KITH_BLAKE3_SIZE], far[KITH_BLAKE3_SIZE];
        kith_group_cv(data, sizes[i], 0, false, first);
        kith_group_cv(data, sizes[i], 1, false, second);
        kith_group_cv(data, sizes[i], UINT64_C(1) << 40, false, far); /* needs the counter's upper half */
        kith_group_cv(data, sizes[i], 0, true, only);
        assert_memory_not_equal(first, second, sizeof first);
        assert_memory_not_equal(first, only, sizeof first);
        assert_memory_not_equal(first, far, sizeof first);
    }
    free(data);
}

/* The paper's definition, by recursion over CVs. */
static void fold(uint8_t (*cvs)[KITH_BLAKE3_SIZE], size_t n, uint8_t root, uint8_t out[KITH_BLAKE3_SIZE])
{
    if (n == 1) {
        memcpy(out, cvs[0], KITH_BLAKE3_SIZE);
        return;
    }
    size_t left = 1;
    while (left * 2 < n) left *= 2;
    uint8_t pair[2 * KITH_BLAKE3_SIZE];
    fold(cvs, left, 0, pair);
    fold(cvs + left, n - left, 0, pair + KITH_BLAKE3_SIZE);
    uint32_t cv[8];
    memcpy(cv, IV, sizeof cv);
    blake3_compress_in_place(cv, pair, BLAKE3_BLOCK_LEN, 0, (uint8_t)(PARENT | root));
    store_cv_words(out, cv);
}

static void any_number_of_groups(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static uint8_t cvs[MANY][KITH_BLAKE3_SIZE];
    kith_tree tree;
    kith_tree_init(&tree);
    for (size_t i = 0; i < MANY; i++) {
        uint8_t want[KITH_BLAKE3_SIZE], got[KITH_BLAKE3_SIZE];
        kith_blake3(&i, sizeof i, cvs[i]);
        kith_tree_add(&tree, cvs[i]);
        assert_int_equal(tree.groups, i + 1);
        fold(cvs, i + 1, ROOT, want);
        kith_tree_root(&tree, got); /* and it goes on afterwards */
        assert_memory_equal(got, want, sizeof got);
    }
}

static void the_stack_holds_the_largest_input(void **state)
{
    (void)state;
    kith_tree tree;
    kith_tree_init(&tree);
    tree.groups = (UINT64_C(1) << 44) - 1; /* as if all but the last group were there */
    tree.depth = 44;
    uint8_t cv[KITH_BLAKE3_SIZE] = {1}, root[KITH_BLAKE3_SIZE];
    kith_tree_add(&tree, cv);
    assert_true(tree.depth <= KITH_TREE_DEPTH_MAX);
    assert_int_equal(tree.groups, UINT64_C(1) << 44);
    kith_tree_root(&tree, root);
}

static void a_copied_tree_goes_on_by_itself(void **state)
{
    (void)state;
    size_t size = 6 * MIB + 77;
    uint8_t *data = pattern(size), cv[KITH_BLAKE3_SIZE], want[KITH_BLAKE3_SIZE], got[KITH_BLAKE3_SIZE];
    kith_tree tree, saved;
    kith_tree_init(&tree);
    for (uint64_t i = 0; i < 3; i++) {
        kith_group_cv(data + i * MIB, MIB, i, false, cv);
        kith_tree_add(&tree, cv);
    }
    saved = tree;
    for (uint64_t i = 3; i < 7; i++) {
        kith_group_cv(data + i * MIB, i < 6 ? MIB : 77, i, false, cv);
        kith_tree_add(&tree, cv);
    }
    kith_blake3(data, size, want);
    kith_tree_root(&tree, got);
    assert_memory_equal(got, want, sizeof got);
    kith_tree_root(&saved, got); /* untouched by what the other took */
    kith_blake3(data, 3 * MIB, want);
    assert_memory_equal(got, want, sizeof got);
    kith_group_cv(data, 5, 3, false, cv); /* other bytes after the same three */
    kith_tree_add(&saved, cv);
    kith_tree_root(&saved, got);
    memmove(data + 3 * MIB, data, 5);
    kith_blake3(data, 3 * MIB + 5, want);
    assert_memory_equal(got, want, sizeof got);
    free(data);
}

static void a_hasher_is_reused_and_final_repeats(void **state)
{
    (void)state;
    uint8_t *data = pattern(50000), want[KITH_BLAKE3_SIZE], got[KITH_BLAKE3_SIZE];
    kith_group_hasher *hasher = NULL;
    assert_ok(kith_group_hasher_new(&hasher));
    for (size_t size = 50000; size; size /= 3) { /* shrinking: nothing is left over from the longer one */
        kith_group_hasher_start(hasher, 2);
        kith_group_hasher_update(hasher, data, size);
        kith_group_cv(data, size, 2, false, want);
        kith_group_hasher_final(hasher, false, got);
        assert_memory_equal(got, want, sizeof got);
    }
    kith_group_hasher_free(hasher);
    kith_group_hasher_free(NULL);
    free(data);
}

static int make_hasher(void *arg)
{
    (void)arg;
    kith_group_hasher *hasher = NULL;
    kith_err err = kith_group_hasher_new(&hasher);
    kith_group_hasher_free(hasher);
    return err;
}

static void without_memory(void **state)
{
    (void)state;
    test_every_allocation(make_hasher, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blake3),
        TEST(bao),
        TEST(the_tree_of_groups_is_the_plain_hash),
        TEST(a_group_depends_on_its_place_and_on_being_alone),
        TEST(any_number_of_groups),
        TEST(the_stack_holds_the_largest_input),
        TEST(a_copied_tree_goes_on_by_itself),
        TEST(a_hasher_is_reused_and_final_repeats),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
