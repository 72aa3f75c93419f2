/* What the unit tests share: cmocka, vectors from KITH_VECTORS, hex, and a loop over failing allocations. */
#ifndef KITH_TESTLIB_H
#define KITH_TESTLIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>
#include <jansson.h>
#include <stdbool.h>

#define TEST(function)        cmocka_unit_test_setup_teardown(function, NULL, NULL)
#define assert_ok(expression) assert_int_equal((expression), 0)

typedef struct test_bytes {
    uint8_t *data; /* release with test_bytes_free */
    size_t size;
} test_bytes;

/* The file `name` of the folder KITH_VECTORS (default: the project's tests/vectors); fails the test when it cannot be
 * read, but skips it when the caller's own folder has no such file: some sets of vectors hold a part of them. Release
 * with json_decref. */
json_t *test_vectors(const char *name);
/* Its path, likewise. */
char *test_vectors_path(const char *name, char *out, size_t size);
/* Say "name: N cases" on standard output; fails when n is 0. */
void test_ran(const char *name, size_t n);
/* Likewise for one kind of case in a file of several: a file in the caller's own folder may have none of them. */
void test_ran_kind(const char *name, const char *kind, size_t n);
test_bytes test_unhex(const char *hex);                   /* fails the test on bad hex; NULL is empty */
test_bytes test_hex_of(const json_t *o, const char *key); /* member `key`, hex; empty when absent */
const char *test_str(const json_t *o, const char *key);   /* member `key` or NULL */
void test_bytes_free(test_bytes *b);
/* Fails unless `data` has the hex value. */
void test_equal_hex(const void *data, size_t size, const char *hex);

/* Run `body` with its 1st, 2nd, 3rd ... allocation failing until it runs without reaching the failure.  `body` returns
 * the kith_err it got; it must be KITH_ERR_NOMEM whenever an allocation failed, and nothing may leak. */
void test_every_allocation(int (*body)(void *), void *arg);

#endif
