/* Clock, randomness, timers, posts, and an io's life. */
#include "io_test.h"

#include <pthread.h>
#include <time.h>

/* ---- the base ---- */

static void test_base(void **state)
{
    (void)state;
    io_test t = io_test_new();
    const kith_env_base *base = t.env->base;
    uint64_t before = base->now_ns(t.env), after = base->now_ns(t.env);
    assert_true(before > 0);
    assert_true(after >= before);
    int64_t wall = base->wall_ms(t.env), now = (int64_t)time(NULL) * 1000;
    assert_true(wall >= now - 2000 && wall <= now + 2000);

    uint8_t one[4096] = {0}, two[4096] = {0}; /* more than getrandom gives uninterrupted */
    base->random(t.env, one, sizeof one);
    base->random(t.env, two, sizeof two);
    assert_memory_not_equal(one, two, sizeof one);
    assert_memory_not_equal(one + 4064, two + 4064, 32);

    /* The same as the file says, and the same for every io until the machine restarts. */
    uint8_t boot[16], again[16];
    char text[64] = "", hex[33] = "", *at = hex;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    base->boot_id(t.env, boot);
    if (file) {
        assert_non_null(fgets(text, sizeof text, file));
        fclose(file);
        for (const char *c = text; *c && *c != '\n'; c++) {
            if (*c != '-') *at++ = *c;
        }
        test_equal_hex(boot, 16, hex);
    }
    io_test other = io_test_new();
    other.env->base->boot_id(other.env, again);
    assert_memory_equal(boot, again, 16);
    io_test_end(&other);
    io_test_end(&t);
}

/* ---- order ---- */

#define TIMERS 500

typedef struct many many;
typedef struct one {
    many *all;
    kith_timer *timer;
    uint64_t at_ns;
    size_t number;
} one;
struct many {
    io_test t;
    one timers[TIMERS];
    size_t fired, expected;
    uint64_t last_at, start_ns;
    size_t last_number;
};

static void fired_in_order(void *user)
{
    one *o = user;
    many *m = o->all;
    assert_true(m->t.env->base->now_ns(m->t.env) >= o->at_ns);
    assert_true(o->at_ns >= m->last_at);
    if (o->at_ns == m->last_at) assert_true(o->number > m->last_number);
    m->last_at = o->at_ns;
    m->last_number = o->number;
    if (++m->fired < m->expected) return;
    for (size_t i = 0; i < TIMERS; i++) m->t.env->timers->close(m->timers[i].timer);
    kith_io_stop(m->t.io);
}

/* Deadlines in no order, many of them equal, some moved, some unset, some closed before they come. */
static void test_order(void **state)
{
    (void)state;
    static many m;
    m = (many){.t = io_test_new()};
    const kith_env_timers *timers = m.t.env->timers;
    uint64_t start = m.t.env->base->now_ns(m.t.env) + 2 * MS;
    uint32_t mix = 12345;
    for (size_t i = 0; i < TIMERS; i++) {
        one *o = &m.timers[i];
        mix = mix * 1664525 + 1013904223;
        *o = (one){.all = &m, .number = i, .at_ns = start + (mix >> 16) % 40 * (MS / 4)};
        o->timer = timers->open(m.t.env, fired_in_order, o);
        assert_non_null(o->timer);
        timers->set(o->timer, start + 1000 * MS); /* replaced by what follows */
    }
    for (size_t i = 0; i < TIMERS; i++) {
        timers->set(m.timers[i].timer, i % 5 == 0 ? UINT64_MAX : m.timers[i].at_ns);
        m.expected += i % 5 != 0;
    }
    for (size_t i = 1; i < TIMERS; i += 50) {
        timers->close(m.timers[i].timer);
        m.timers[i].timer = NULL;
        m.expected--;
    }
    kith_io_run(m.t.io);
    assert_int_equal(m.fired, m.expected);
    io_test_end(&m.t);
}

/* ---- from inside callbacks ---- */

typedef struct inside {
    io_test t;
    kith_timer *again, *other, *victim;
    int again_count, other_count;
    uint64_t set_at;
} inside;

static void on_victim(void *user)
{
    (void)user;
    fail_msg("a closed timer fired");
}

static void on_other(void *user)
{
    inside *in = user;
    in->other_count++;
}

/* Sets itself to the past again and again: the other timer and the loop must get their turn all the same. */
static void on_again(void *user)
{
    inside *in = user;
    const kith_env_timers *timers = in->t.env->timers;
    in->again_count++;
    if (in->again_count == 1) {
        timers->close(in->victim); /* due in this very turn */
        in->victim = NULL;
    }
    if (in->other_count == 0 || in->again_count < 100) {
        timers->set(in->again, 0);
        return;
    }
    timers->close(in->again); /* while it runs */
    timers->close(in->other);
    timers->close(NULL);
    kith_io_stop(in->t.io);
}

static void test_inside_callbacks(void **state)
{
    (void)state;
    inside in = {.t = io_test_new()};
    const kith_env_timers *timers = in.t.env->timers;
    in.again = timers->open(in.t.env, on_again, &in);
    in.victim = timers->open(in.t.env, on_victim, &in);
    in.other = timers->open(in.t.env, on_other, &in);
    uint64_t now = in.t.env->base->now_ns(in.t.env);
    timers->set(in.again, 1);
    timers->set(in.victim, 2);
    timers->set(in.other, now + 3 * MS);
    kith_io_run(in.t.io);
    assert_true(in.again_count >= 100);
    assert_int_equal(in.other_count, 1);
    io_test_end(&in.t);
}

/* A due timer that a callback before it moves away does not fire now. */
static void move_away(void *user)
{
    inside *in = user;
    in->set_at = in->t.env->base->now_ns(in->t.env) + 5 * MS;
    in->t.env->timers->set(in->other, in->set_at);
}

static void on_moved(void *user)
{
    inside *in = user;
    assert_true(in->set_at != 0);
    assert_true(in->t.env->base->now_ns(in->t.env) >= in->set_at);
    in->t.env->timers->close(in->again);
    in->t.env->timers->close(in->other);
    kith_io_stop(in->t.io);
}

static void test_moved_while_due(void **state)
{
    (void)state;
    inside in = {.t = io_test_new()};
    const kith_env_timers *timers = in.t.env->timers;
    in.again = timers->open(in.t.env, move_away, &in);
    in.other = timers->open(in.t.env, on_moved, &in);
    timers->set(in.again, 1);
    timers->set(in.other, 2);
    kith_io_run(in.t.io);
    io_test_end(&in.t);
}

/* ---- resolution ---- */

#define TICKS 100

typedef struct pace {
    io_test t;
    kith_timer *timer;
    uint64_t start, at, late[TICKS];
    int ticks;
} pace;

static void on_tick(void *user)
{
    pace *p = user;
    uint64_t now = p->t.env->base->now_ns(p->t.env);
    assert_true(now >= p->at);
    p->late[p->ticks++] = now - p->at;
    if (p->ticks < TICKS) {
        p->at = now + 200000;
        p->t.env->timers->set(p->timer, p->at);
        return;
    }
    p->t.env->timers->close(p->timer);
    kith_io_stop(p->t.io);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Steps of 0.2 ms, never early.  That they are not rounded up to milliseconds shows in the best of them: the load of
 * the machine can delay any, but a millisecond clock delays all by 0.8 ms. */
static void test_sub_millisecond(void **state)
{
    (void)state;
    pace p = {.t = io_test_new()};
    p.timer = p.t.env->timers->open(p.t.env, on_tick, &p);
    p.at = p.t.env->base->now_ns(p.t.env) + 200000;
    p.t.env->timers->set(p.timer, p.at);
    kith_io_run(p.t.io);
    qsort(p.late, TICKS, sizeof *p.late, compare);
    printf("late by: least %.3f ms, median %.3f ms\n", (double)p.late[0] / 1e6, (double)p.late[TICKS / 2] / 1e6);
    assert_true(p.late[0] < MS / 2);
    io_test_end(&p.t);
}

/* ---- posts ---- */

#define POSTS 20000

typedef struct posting {
    io_test t;
    void *first, *second, *self;
    atomic_int first_posts, second_posts; /* written by the threads before each post */
    int first_calls, second_calls, self_calls;
    kith_timer *timer;
    bool ticked;
    pthread_t loop_thread;
} posting;

static void maybe_stop(posting *p)
{
    if (atomic_load(&p->first_posts) < POSTS || atomic_load(&p->second_posts) < POSTS) return;
    if (!p->first || !p->ticked || !p->first_calls || !p->second_calls) return;
    p->t.env->post->close(p->first);
    p->t.env->post->close(p->second);
    p->t.env->post->close(p->self);
    p->t.env->timers->close(p->timer);
    p->first = NULL;
    kith_io_stop(p->t.io);
}

static void on_posting_timer(void *user)
{
    posting *p = user;
    p->ticked = true;
}

static void on_self(void *user)
{
    posting *p = user;
    p->self_calls++;
    p->t.env->post->post(p->self); /* for ever: the others and the timer come through all the same */
    maybe_stop(p);
}

static void on_first(void *user)
{
    posting *p = user;
    p->first_calls++;
    assert_true(pthread_equal(pthread_self(), p->loop_thread));
}

static void on_second(void *user)
{
    posting *p = user;
    p->second_calls++;
}

typedef struct poster {
    posting *p;
    void *handle;
    atomic_int *posts;
} poster;

static void *post_many(void *argument)
{
    poster *q = argument;
    for (int i = 0; i < POSTS; i++) {
        q->p->t.env->post->post(q->handle);
        if (i < POSTS - 1) atomic_fetch_add(q->posts, 1);
    }
    return NULL;
}

static void *post_both(void *argument)
{
    posting *p = argument;
    pthread_t threads[2];
    poster first = {p, p->first, &p->first_posts}, second = {p, p->second, &p->second_posts};
    pthread_create(&threads[0], NULL, post_many, &first);
    pthread_create(&threads[1], NULL, post_many, &second);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    /* No post is under way any more, so the handles may be closed from here on. */
    atomic_fetch_add(&p->first_posts, 1);
    atomic_fetch_add(&p->second_posts, 1);
    return NULL;
}

static void test_post(void **state)
{
    (void)state;
    posting p = {.t = io_test_new()};
    pthread_t thread;
    p.loop_thread = pthread_self();
    p.first = p.t.env->post->open(p.t.env, on_first, &p);
    p.second = p.t.env->post->open(p.t.env, on_second, &p);
    p.self = p.t.env->post->open(p.t.env, on_self, &p);
    p.timer = p.t.env->timers->open(p.t.env, on_posting_timer, &p);
    p.t.env->timers->set(p.timer, p.t.env->base->now_ns(p.t.env) + 2 * MS);
    p.t.env->post->post(p.self);
    pthread_create(&thread, NULL, post_both, &p);
    kith_io_run(p.t.io);
    pthread_join(thread, NULL);
    assert_in_range(p.first_calls, 1, POSTS);
    assert_in_range(p.second_calls, 1, POSTS);
    assert_true(p.self_calls > 0);
    io_test_end(&p.t);
}

/* Closing one that is posted takes the call back. */
static void close_first(void *user)
{
    posting *p = user;
    p->t.env->post->close(p->first);
    p->t.env->post->close(p->second);
    p->t.env->post->close(NULL);
    kith_io_stop(p->t.io);
}

static void test_post_closed(void **state)
{
    (void)state;
    posting p = {.t = io_test_new()};
    p.second = p.t.env->post->open(p.t.env, close_first, &p);
    p.first = p.t.env->post->open(p.t.env, on_victim, &p);
    p.t.env->post->post(p.second);
    p.t.env->post->post(p.first);
    kith_io_run(p.t.io);
    io_test_end(&p.t);
}

/* ---- an io's life ---- */

static void test_stop_before_run(void **state)
{
    (void)state;
    io_test t = io_test_new();
    kith_io_stop(t.io);
    kith_io_run(t.io);
    io_test_end(&t);
    kith_io_free(NULL);
}

/* Run goes on for what is open when stop comes: its callbacks still come. */
static void close_late(void *user)
{
    inside *in = user;
    in->other_count++;
    in->t.env->timers->close(in->other);
}

static void test_stop_waits(void **state)
{
    (void)state;
    inside in = {.t = io_test_new()};
    in.other = in.t.env->timers->open(in.t.env, close_late, &in);
    in.t.env->timers->set(in.other, in.t.env->base->now_ns(in.t.env) + 5 * MS);
    kith_io_stop(in.t.io);
    kith_io_run(in.t.io);
    assert_int_equal(in.other_count, 1);
    io_test_end(&in.t);
}

static void test_leak_is_counted(void **state)
{
    (void)state;
    io_test t = io_test_new();
    kith_timer *timer = t.env->timers->open(t.env, on_victim, NULL);
    assert_int_equal(kith_io_objects(t.io), 1);
    kith_io_free(t.io);
    assert_int_equal(kith_io_leaked(), t.leaked + 1);
    assert_int_equal(kith_mem_live(), t.live + 1);
    kith_free(timer); /* what the process would have lost */
}

static int everything(void *user)
{
    (void)user;
    kith_io *io;
    kith_err err = kith_io_new(&io);
    if (err) return err;
    kith_env *env = kith_io_env(io);
    kith_addr any = {.family = KITH_FAMILY_IPV4};
    kith_udp_events events = {0};
    kith_udp *udp = NULL;
    kith_watch *watch = NULL;
    kith_file *file = NULL;
    void *post = NULL;
    kith_timer *timer = env->timers->open(env, on_victim, NULL);
    if (!timer) err = KITH_ERR_NOMEM;
    if (!err && !(post = env->post->open(env, on_victim, NULL))) err = KITH_ERR_NOMEM;
    if (!err) err = env->udp->open(env, &any, &events, NULL, &udp);
    if (!err) err = env->net->watch(env, on_victim, NULL, &watch);
    if (!err) err = env->file->open(env, "/dev/null", KITH_FILE_READ, 0, &file);
    env->file->close(file);
    env->net->unwatch(watch);
    env->udp->close(udp);
    env->post->close(post);
    env->timers->close(timer);
    kith_io_free(io); /* without a turn of the loop since */
    return err;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    size_t leaked = kith_io_leaked();
    test_every_allocation(everything, NULL);
    assert_int_equal(kith_io_leaked(), leaked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_base),
        TEST(test_order),
        TEST(test_inside_callbacks),
        TEST(test_moved_while_due),
        TEST(test_sub_millisecond),
        TEST(test_post),
        TEST(test_post_closed),
        TEST(test_stop_before_run),
        TEST(test_stop_waits),
        TEST(test_leak_is_counted),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
