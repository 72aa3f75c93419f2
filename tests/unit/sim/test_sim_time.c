/* Clocks, timers, jobs, posts, and the death of a process among them. */
#include "sim_test.h"

static kith_sim *sim;
static kith_sim_host *host;
static kith_env *env;

static int set_up(void **state)
{
    (void)state;
    sim = world(7);
    host = host_in(sim, "a");
    env = process_on(host);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end(sim);
    return 0;
}

#define T(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* ---- timers ---- */

typedef struct alarm {
    kith_timer *timer;
    unsigned fired;
    uint64_t at_ns;
    char name;
    uint64_t again_ns; /* set it again so much later */
    bool closes;
} alarm;

static char order[32];

static void ring(void *user)
{
    alarm *a = user;
    a->fired++;
    a->at_ns = env->base->now_ns(env);
    strncat(order, &a->name, 1);
    if (a->again_ns) env->timers->set(a->timer, a->at_ns + a->again_ns);
    if (a->closes) {
        env->timers->close(a->timer);
        a->timer = NULL;
    }
}

static void alarm_set(alarm *a, char name, uint64_t in_ns)
{
    *a = (alarm){.name = name};
    a->timer = env->timers->open(env, ring, a);
    assert_non_null(a->timer);
    if (in_ns != UINT64_MAX) env->timers->set(a->timer, env->base->now_ns(env) + in_ns);
}

static void timers_fire_in_their_order(void **state)
{
    (void)state;
    alarm a[5];
    order[0] = 0;
    alarm_set(&a[0], 'a', 30);
    alarm_set(&a[1], 'b', 10);
    alarm_set(&a[2], 'c', 20);
    alarm_set(&a[3], 'd', 10); /* the same instant: as they were set */
    alarm_set(&a[4], 'e', UINT64_MAX);
    kith_sim_run_for(sim, 1000);
    assert_string_equal(order, "bdca");
    assert_int_equal(a[0].at_ns, KITH_SIM_START_NS + 30);
    assert_int_equal(a[1].at_ns, KITH_SIM_START_NS + 10);
    assert_int_equal(a[4].fired, 0);
    assert_int_equal(kith_sim_now_ns(sim), KITH_SIM_START_NS + 1000);
    assert_false(kith_sim_step(sim));
}

static void timers_are_set_anew_unset_and_closed(void **state)
{
    (void)state;
    alarm a[4];
    order[0] = 0;
    alarm_set(&a[0], 'a', 10);
    alarm_set(&a[1], 'b', 10);
    alarm_set(&a[2], 'c', 10);
    alarm_set(&a[3], 'd', 5);
    env->timers->set(a[0].timer, KITH_SIM_START_NS + 50);
    env->timers->set(a[1].timer, UINT64_MAX);
    env->timers->close(a[2].timer);
    a[3].closes = true;
    kith_sim_run_for(sim, 40);
    assert_string_equal(order, "d");
    env->timers->set(a[1].timer, 1); /* long past: at once, but not from here */
    assert_string_equal(order, "d");
    kith_sim_run_for(sim, 5);
    assert_string_equal(order, "db");
    assert_int_equal(a[1].at_ns, KITH_SIM_START_NS + 40);
    kith_sim_run_for(sim, 100);
    assert_string_equal(order, "dba");
    env->timers->close(NULL);
}

static void many_timers_are_a_heap(void **state)
{
    (void)state;
    static alarm a[500];
    uint64_t last = 0;
    for (size_t i = 0; i < 500; i++) alarm_set(&a[i], 'x', kith_sim_random(sim) % 1000);
    for (size_t i = 0; i < 2000; i++) {
        alarm *some = &a[kith_sim_random(sim) % 500];
        uint64_t what = kith_sim_random(sim) % 1200;
        env->timers->set(some->timer, what >= 1000 ? UINT64_MAX : KITH_SIM_START_NS + what);
        some->again_ns = what >= 1000; /* here: "unset" */
    }
    size_t unset = 0, fired = 0;
    for (size_t i = 0; i < 500; i++) {
        unset += a[i].again_ns != 0;
        a[i].again_ns = 0;
    }
    while (kith_sim_step(sim)) {
        assert_true(kith_sim_now_ns(sim) >= last);
        last = kith_sim_now_ns(sim);
        order[0] = 0;
    }
    for (size_t i = 0; i < 500; i++) fired += a[i].fired;
    assert_int_equal(fired, 500 - unset);
    assert_true(unset > 0);
}

static void lateness_is_bounded(void **state)
{
    (void)state;
    alarm a[50];
    size_t late = 0;
    order[0] = 0;
    kith_sim_set_timer_lateness(sim, 1000);
    for (size_t i = 0; i < 30; i++) alarm_set(&a[i], 'x', 5000);
    kith_sim_run_for(sim, KITH_SIM_S);
    for (size_t i = 0; i < 30; i++) {
        assert_in_range(a[i].at_ns, KITH_SIM_START_NS + 5000, KITH_SIM_START_NS + 6000);
        late += a[i].at_ns > KITH_SIM_START_NS + 5000;
    }
    assert_true(late > 20);
}

static bool fired_thrice(void *user) { return ((alarm *)user)->fired == 3; }
static bool never(void *user) { return user == NULL; }

static void running_until(void **state)
{
    (void)state;
    alarm a;
    order[0] = 0;
    alarm_set(&a, 'x', 100);
    a.again_ns = 100;
    assert_true(kith_sim_run_until(sim, fired_thrice, &a, KITH_SIM_S));
    assert_int_equal(kith_sim_now_ns(sim), KITH_SIM_START_NS + 300);
    assert_true(kith_sim_run_until(sim, fired_thrice, &a, 0)); /* asked before the first event */
    assert_int_equal(a.fired, 3);
    order[0] = 0;
    assert_false(kith_sim_run_until(sim, never, &a, 1000));
    assert_int_equal(kith_sim_now_ns(sim), KITH_SIM_START_NS + 1300);
    assert_int_equal(a.fired, 13);
    env->timers->set(a.timer, UINT64_MAX);
}

static void forever_now(void *user) { env->timers->set(*(kith_timer **)user, 0); }

static void standstill_is_noticed(void **state)
{
    (void)state;
    kith_timer *timer = env->timers->open(env, forever_now, &timer);
    env->timers->set(timer, 0);
    assert_false(kith_sim_run_until(sim, never, &timer, KITH_SIM_S));
    assert_int_equal(kith_sim_now_ns(sim), KITH_SIM_START_NS);
}

/* ---- clocks and randomness ---- */

static void wall_clocks(void **state)
{
    (void)state;
    kith_sim_host *other = host_in(sim, "b");
    kith_env *there = process_on(other);
    assert_int_equal(env->base->wall_ms(env), KITH_SIM_START_WALL_MS);
    kith_sim_set_wall_skew(other, -5000);
    kith_sim_run_for(sim, 3 * KITH_SIM_S);
    assert_int_equal(env->base->wall_ms(env), KITH_SIM_START_WALL_MS + 3000);
    assert_int_equal(there->base->wall_ms(there), KITH_SIM_START_WALL_MS - 2000);
    assert_int_equal(env->base->now_ns(env), there->base->now_ns(there));
    assert_string_equal(kith_sim_host_name(other), "b");
}

static void randomness_is_each_process_its_own(void **state)
{
    (void)state;
    uint8_t a[64], b[64], c[64], again[64];
    kith_env *same_host = process_on(host), *other_host = process_on(host_in(sim, "b"));
    env->base->random(env, a, sizeof a);
    same_host->base->random(same_host, b, sizeof b);
    other_host->base->random(other_host, c, sizeof c);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_memory_not_equal(b, c, sizeof a);
    kith_sim *twin;
    assert_ok(kith_sim_new(7, &twin));
    kith_env *first = process_on(host_in(twin, "a"));
    (void)kith_sim_random(twin); /* what others draw changes nothing */
    first->base->random(first, again, sizeof again);
    assert_memory_equal(a, again, sizeof a);
    env->base->random(env, again, sizeof again);
    assert_memory_not_equal(a, again, sizeof a);
    kith_sim_free(twin);
}

static void boot_ids(void **state)
{
    (void)state;
    uint8_t before[16], after[16], other[16];
    kith_env *there = process_on(host_in(sim, "b"));
    env->base->boot_id(env, before);
    there->base->boot_id(there, other);
    assert_memory_not_equal(before, other, 16);
    kith_sim_kill(env);
    env = process_on(host);
    env->base->boot_id(env, after);
    assert_memory_equal(before, after, 16);
    kith_sim_power_fail(host);
    assert_false(kith_sim_alive(env));
    assert_true(kith_sim_alive(there));
    env = process_on(host);
    env->base->boot_id(env, after);
    assert_memory_not_equal(before, after, 16);
}

/* ---- jobs and posts ---- */

typedef struct work {
    kith_job job;
    unsigned ran, finished, place;
    bool kills;
    struct work *next; /* submitted by done */
} work;

static unsigned places;

static void work_run(kith_job *job)
{
    work *w = (work *)(void *)job;
    assert_int_equal(w->ran, w->finished);
    w->ran++;
    w->place = places++;
    if (w->kills) kith_sim_kill(env);
}

static void work_done(kith_job *job)
{
    work *w = (work *)(void *)job;
    w->finished++;
    memset(&job->reserved, 0xee, sizeof job->reserved); /* the job is ours again */
    assert_int_equal(w->ran, w->finished);
    if (w->next) env->work->submit(env, &w->next->job);
}

static void jobs_run_once_in_any_order(void **state)
{
    (void)state;
    static work w[100], later;
    unsigned out_of_order = 0;
    places = 0;
    later = (work){.job = {.run = work_run, .done = work_done}};
    for (unsigned i = 0; i < 100; i++) {
        w[i] = (work){.job = {.run = work_run, .done = work_done}, .next = i == 50 ? &later : NULL};
        env->work->submit(env, &w[i].job);
    }
    assert_int_equal(w[0].ran, 0);
    kith_sim_run_for(sim, 10 * KITH_SIM_MS);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(w[i].ran, 1);
        assert_int_equal(w[i].finished, 1);
        out_of_order += w[i].place != i;
    }
    assert_true(out_of_order > 50);
    assert_int_equal(later.finished, 1);
    kith_sim_set_work_delay(sim, 0);
    env->work->submit(env, &w[0].job);
    kith_sim_run_for(sim, 60000);
    assert_int_equal(w[0].finished, 2);
}

static void dead_in_a_job(void **state)
{
    (void)state;
    work w = {.job = {.run = work_run, .done = work_done}, .kills = true};
    work other = {.job = {.run = work_run, .done = work_done}};
    env->work->submit(env, &w.job);
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(w.ran, 1);
    assert_int_equal(w.finished, 0);
    env->work->submit(env, &other.job);
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(other.ran, 0);
}

static unsigned posts;
static void posted(void *user)
{
    (void)user;
    posts++;
}

static void posts_are_merged(void **state)
{
    (void)state;
    posts = 0;
    void *post = env->post->open(env, posted, NULL);
    env->post->post(post);
    env->post->post(post);
    assert_int_equal(posts, 0);
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(posts, 1);
    env->post->post(post);
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(posts, 2);
    env->post->post(post);
    env->post->close(post);
    kith_sim_run_for(sim, KITH_SIM_MS);
    assert_int_equal(posts, 2);
}

static void the_dead_are_silent(void **state)
{
    (void)state;
    alarm a;
    work w = {.job = {.run = work_run, .done = work_done}};
    order[0] = 0;
    posts = 0;
    alarm_set(&a, 'a', 1000);
    void *post = env->post->open(env, posted, NULL);
    env->post->post(post);
    env->work->submit(env, &w.job);
    kith_sim_kill(env);
    kith_sim_kill(env);
    env->timers->set(a.timer, 5);
    env->post->post(post);
    assert_null(env->timers->open(env, ring, &a));
    assert_null(env->post->open(env, posted, NULL));
    kith_sim_run_for(sim, KITH_SIM_S);
    assert_int_equal(a.fired + posts + w.ran, 0);
    env->timers->close(a.timer); /* what is left may be freed */
    env->post->close(post);
    assert_int_equal(env->base->now_ns(env), kith_sim_now_ns(sim));
}

static int build_world(void *arg)
{
    (void)arg;
    kith_sim *made = NULL;
    kith_sim_host *a;
    kith_sim_lan *lan;
    kith_env *e;
    kith_err err = kith_sim_new(1, &made);
    if (!err) err = kith_sim_host_new(made, "a", &a);
    if (!err) err = kith_sim_lan_new(made, "home", &lan);
    if (!err) err = kith_sim_attach(a, lan, "10.0.0.1");
    if (!err) err = kith_sim_env_new(a, &e);
    if (!err && !e->timers->open(e, posted, NULL)) err = KITH_ERR_NOMEM;
    if (!err && !e->post->open(e, posted, NULL)) err = KITH_ERR_NOMEM;
    kith_sim_free(made);
    return err;
}

static void memory_runs_out(void **state)
{
    (void)state;
    test_every_allocation(build_world, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(timers_fire_in_their_order),
        T(timers_are_set_anew_unset_and_closed),
        T(many_timers_are_a_heap),
        T(lateness_is_bounded),
        T(running_until),
        T(standstill_is_noticed),
        T(wall_clocks),
        T(randomness_is_each_process_its_own),
        T(boot_ids),
        T(jobs_run_once_in_any_order),
        T(dead_in_a_job),
        T(posts_are_merged),
        T(the_dead_are_silent),
        T(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
