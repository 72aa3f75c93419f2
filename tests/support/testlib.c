#include "testlib.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the caller's own, or NULL. */
static const char *given_folder(void)
{
    const char *folder = getenv("KITH_VECTORS");
    return folder && *folder ? folder : NULL;
}

char *test_vectors_path(const char *name, char *out, size_t size)
{
    const char *folder = given_folder();
    bool own = !folder;
    if (own) folder = KITH_VECTORS_DEFAULT;
    if (access(folder, R_OK | X_OK)) fail_msg("%s: no such folder", folder);
    snprintf(out, size, "%s/%s", folder, name);
    if (!own && access(out, F_OK)) {
        printf("skip %s: KITH_VECTORS has no such file\n", name);
        fflush(stdout);
        skip();
    }
    return out;
}

json_t *test_vectors(const char *name)
{
    char path[4096];
    json_error_t error;
    json_t *root = json_load_file(test_vectors_path(name, path, sizeof path), JSON_REJECT_DUPLICATES, &error);
    if (!root) fail_msg("%s:%d: %s", path, error.line, error.text);
    return root;
}

void test_ran(const char *name, size_t n)
{
    printf("vectors %s: %zu cases\n", name, n);
    assert_true(n > 0);
}

void test_ran_kind(const char *name, const char *kind, size_t n)
{
    printf("vectors %s: %zu cases (%s)\n", name, n, kind);
    assert_true(n > 0 || given_folder());
}

test_bytes test_unhex(const char *hex)
{
    test_bytes b = {0};
    if (!hex) hex = "";
    b.size = strlen(hex) / 2;
    b.data = malloc(b.size + 1);
    assert_non_null(b.data);
    if (kith_unhex(hex, b.data, b.size)) fail_msg("bad hex: %s", hex);
    return b;
}

test_bytes test_hex_of(const json_t *o, const char *key) { return test_unhex(test_str(o, key)); }
const char *test_str(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

void test_bytes_free(test_bytes *b)
{
    free(b->data);
    *b = (test_bytes){0};
}

void test_equal_hex(const void *data, size_t size, const char *hex)
{
    test_bytes want = test_unhex(hex);
    assert_int_equal(size, want.size);
    assert_memory_equal(data, want.data, size);
    test_bytes_free(&want);
}

void test_every_allocation(int (*body)(void *), void *arg)
{
    for (uint64_t n = 1;; n++) {
        int64_t live = kith_mem_live();
        kith_mem_fail_at(n, false);
        int err = body(arg);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        if (failed && err != KITH_ERR_NOMEM) fail_msg("allocation %llu failed, result %d", (unsigned long long)n, err);
        if (kith_mem_live() != live) fail_msg("allocation %llu: leak", (unsigned long long)n);
        if (!failed) {
            assert_int_equal(err, 0);
            return;
        }
    }
}
