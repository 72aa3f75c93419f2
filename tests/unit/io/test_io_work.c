/* The workers: jobs run beside the loop, `done` comes on it, once each. */
#include "io_test.h"

#include <pthread.h>
#include <signal.h>

#define JOBS 10000

typedef struct jobs jobs;
typedef struct task {
    kith_job job;
    jobs *all;
    uint64_t result; /* written by the worker, read on the loop: what the queues must order */
    unsigned number;
    int dones;
} task;
struct jobs {
    io_test t;
    task tasks[JOBS];
    size_t done, submitted;
    pthread_t loop_thread;
    atomic_int running, most_running;
    pthread_barrier_t together;
};

static void run_sum(kith_job *job)
{
    task *k = KITH_OF(job, task, job);
    assert_false(pthread_equal(pthread_self(), k->all->loop_thread));
    for (unsigned i = 0; i <= k->number; i++) k->result += i;
}

static void count_done(task *k)
{
    jobs *all = k->all;
    assert_true(pthread_equal(pthread_self(), all->loop_thread));
    assert_int_equal(k->dones++, 0);
    all->done++;
}

static void done_sum(kith_job *job)
{
    task *k = KITH_OF(job, task, job);
    count_done(k);
    assert_true(k->result == (uint64_t)k->number * (k->number + 1) / 2);
    if (k->all->done == JOBS) kith_io_stop(k->all->t.io);
}

static jobs *jobs_new(void)
{
    jobs *all = calloc(1, sizeof *all);
    all->t = io_test_new();
    all->loop_thread = pthread_self();
    return all;
}

static void submit(jobs *all, void (*run)(kith_job *), void (*done)(kith_job *))
{
    task *k = &all->tasks[all->submitted];
    *k = (task){.job = {.run = run, .done = done}, .all = all, .number = (unsigned)all->submitted++};
    all->t.env->work->submit(all->t.env, &k->job);
}

static void jobs_end(jobs *all, size_t expected)
{
    assert_int_equal(all->done, expected);
    for (size_t i = 0; i < expected; i++) assert_int_equal(all->tasks[i].dones, 1);
    io_test_end(&all->t);
    free(all);
}

static void test_many(void **state)
{
    (void)state;
    jobs *all = jobs_new();
    for (int i = 0; i < JOBS; i++) submit(all, run_sum, done_sum);
    assert_int_equal(all->done, 0); /* never from inside submit */
    kith_io_run(all->t.io);
    jobs_end(all, JOBS);
}

/* Two jobs that wait for each other: with one worker this would hang. */
static void run_together(kith_job *job)
{
    task *k = KITH_OF(job, task, job);
    pthread_barrier_wait(&k->all->together);
}

static void done_stop(kith_job *job)
{
    task *k = KITH_OF(job, task, job);
    count_done(k);
    if (k->all->done == k->all->submitted) kith_io_stop(k->all->t.io);
}

static void test_side_by_side(void **state)
{
    (void)state;
    jobs *all = jobs_new();
    pthread_barrier_init(&all->together, NULL, 2);
    submit(all, run_together, done_stop);
    submit(all, run_together, done_stop);
    kith_io_run(all->t.io);
    pthread_barrier_destroy(&all->together);
    jobs_end(all, 2);
}

static void run_slow(kith_job *job)
{
    (void)job;
    usleep(2000);
}

static void done_plain(kith_job *job) { count_done(KITH_OF(job, task, job)); }

static void *stop_at_once(void *argument)
{
    kith_io_stop(argument);
    return NULL;
}

/* Stop comes from another thread while most jobs wait: each still gets its `done`, before run returns. */
static void test_stop_in_flight(void **state)
{
    (void)state;
    jobs *all = jobs_new();
    pthread_t thread;
    for (int i = 0; i < 30; i++) submit(all, run_slow, done_plain);
    pthread_create(&thread, NULL, stop_at_once, all->t.io);
    kith_io_run(all->t.io);
    pthread_join(thread, NULL);
    jobs_end(all, 30);
}

/* And when the io is freed without having run. */
static void test_free_in_flight(void **state)
{
    (void)state;
    jobs *all = jobs_new();
    for (int i = 0; i < 10; i++) submit(all, run_slow, done_plain);
    kith_io_free(all->t.io);
    assert_int_equal(all->done, 10);
    assert_int_equal(kith_io_leaked(), all->t.leaked);
    assert_int_equal(kith_mem_live(), all->t.live);
    free(all);
}

/* The job is the caller's again in `done`: it may submit it anew, and the last one frees it. */
typedef struct chain {
    kith_job job;
    io_test *t;
    int left;
} chain;

static void run_nothing(kith_job *job) { (void)job; }

static void done_again(kith_job *job)
{
    chain *c = KITH_OF(job, chain, job);
    if (c->left-- > 0) {
        c->t->env->work->submit(c->t->env, job);
        return;
    }
    kith_io_stop(c->t->io);
    free(c);
}

static void test_again_from_done(void **state)
{
    (void)state;
    io_test t = io_test_new();
    chain *c = calloc(1, sizeof *c);
    *c = (chain){.job = {.run = run_nothing, .done = done_again}, .t = &t, .left = 200};
    t.env->work->submit(t.env, &c->job);
    kith_io_run(t.io);
    io_test_end(&t);
}

static void run_mask(kith_job *job)
{
    task *k = KITH_OF(job, task, job);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    k->result = (uint64_t)sigismember(&mask, SIGTERM);
}

/* A signal to the process must not be delivered to a worker, and the caller's own mask stays as it was. */
static void test_signals(void **state)
{
    (void)state;
    jobs *all = jobs_new();
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
    submit(all, run_mask, done_stop);
    kith_io_run(all->t.io);
    assert_int_equal(all->tasks[0].result, 1);
    jobs_end(all, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_many),           TEST(test_side_by_side),    TEST(test_stop_in_flight),
        TEST(test_free_in_flight), TEST(test_again_from_done), TEST(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
