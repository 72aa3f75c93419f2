/* Guarded memory: what lies around it cannot be touched, and failures and leaks are seen. */
#include "crypto/secret.h"

#include "base/mem.h"
#include "crypto/keys.h"
#include "testlib.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 32, 96, 4096, 70000};
    int64_t live = kith_mem_live();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *s = kith_secret_new(sizes[i]);
        assert_non_null(s);
        memset(s, 0x5a, sizes[i]);
        assert_int_equal(kith_mem_live(), live + 1);
        kith_secret_free(s);
        assert_int_equal(kith_mem_live(), live);
    }
    kith_secret_free(NULL);
    volatile size_t huge = SIZE_MAX;
    assert_null(kith_secret_new(huge));
    assert_int_equal(kith_mem_live(), live);
}

static int make(void *arg)
{
    (void)arg;
    void *s = kith_secret_new(32);
    if (!s) return KITH_ERR_NOMEM;
    kith_secret_free(s);
    return KITH_OK;
}

static void no_memory(void **state)
{
    (void)state;
    test_every_allocation(make, NULL);
}

/* In a child, which must die of it: one byte past the end; a byte after release. */
static void dies(bool released)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        volatile uint8_t *s = kith_secret_new(32);
        if (released) kith_secret_free((void *)(uintptr_t)s);
        s[released ? 0 : 32] = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void guarded(void **state)
{
    (void)state;
    dies(false);
    dies(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(any_size), TEST(no_memory), TEST(guarded)};
    if (kith_crypto_init()) return 1;
    return cmocka_run_group_tests_name("crypto/secret", tests, NULL, NULL);
}
