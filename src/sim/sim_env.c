/* Processes: clock, randomness, timers, jobs and posts of one, and its end. */
#include "base/mem.h"
#include "sim/sim_internal.h"

#define DONE_DELAY_NS 50000u /* at most, from a job's end to its `done` */
#define POST_DELAY_NS 20000u /* at most, from a post to its call */

/* ---- clock and randomness ---- */

static uint64_t base_now_ns(kith_env *env) { return sim_process_of(env)->sim->now_ns; }

static int64_t base_wall_ms(kith_env *env)
{
    const sim_process *process = sim_process_of(env);
    uint64_t passed_ms = (process->sim->now_ns - KITH_SIM_START_NS) / KITH_SIM_MS;
    return KITH_SIM_START_WALL_MS + (int64_t)passed_ms + process->host->skew_ms;
}

static void base_random(kith_env *env, void *out, size_t size)
{
    sim_process *process = sim_process_of(env);
    uint8_t *bytes = out;
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++, word >>= 8) {
        if (i % 8 == 0) word = kith__sim_rng_next(&process->rng);
        bytes[i] = (uint8_t)word;
    }
}

static void base_boot_id(kith_env *env, uint8_t out[16]) { memcpy(out, sim_process_of(env)->host->boot_id, 16); }

static const kith_env_base base_table = {base_now_ns, base_wall_ms, base_random, base_boot_id};

/* ---- timers ---- */

struct kith_timer {
    kith_link link;
    sim_process *process;
    sim_event event;
    kith_timer_fn *fn;
    void *user;
};

static void timer_run(kith_sim *sim, sim_event *event)
{
    kith_timer *timer = KITH_OF(event, kith_timer, event);
    kith__sim_note(sim, "timer", timer->process->host, timer->process->number, NULL, 0);
    timer->fn(timer->user);
}

static kith_timer *timer_open(kith_env *env, kith_timer_fn *fn, void *user)
{
    sim_process *process = sim_process_of(env);
    if (process->dead) return NULL;
    kith_timer *timer = kith_calloc(1, sizeof *timer);
    if (!timer) return NULL;
    if (kith__sim_event_init(process->sim, &timer->event, timer_run)) {
        kith_free(timer);
        return NULL;
    }
    timer->process = process;
    timer->fn = fn;
    timer->user = user;
    kith_list_append(&process->timers, &timer->link);
    return timer;
}

static void timer_set(kith_timer *timer, uint64_t at_ns)
{
    sim_process *process = timer->process;
    kith_sim *sim = process->sim;
    if (at_ns == UINT64_MAX || process->dead) {
        kith__sim_event_cancel(sim, &timer->event);
        return;
    }
    uint64_t late = sim->timer_lateness_ns ? kith__sim_rng_below(&sim->rng, sim->timer_lateness_ns + 1) : 0;
    kith__sim_event_at(sim, &timer->event, at_ns > UINT64_MAX - late ? UINT64_MAX : at_ns + late);
}

static void timer_close(kith_timer *timer)
{
    if (!timer) return;
    kith__sim_event_done(timer->process->sim, &timer->event);
    kith_list_remove(&timer->link);
    kith_free(timer);
}

static const kith_env_timers timer_table = {timer_open, timer_set, timer_close};

/* ---- jobs ---- */

/* In reserved: the next job; when this one is due, in two words, since a word may be 32 bits; whether it has run. */
static uint64_t job_due(const kith_job *job)
{
    uint64_t due;
    memcpy(&due, &job->reserved[1], sizeof due);
    return due;
}

static void job_insert(sim_process *process, kith_job *job, uint64_t delay_ns, bool has_run)
{
    uint64_t due = process->sim->now_ns + delay_ns;
    kith_job *before = NULL, *after = process->jobs;
    for (; after && job_due(after) <= due; after = after->reserved[0]) before = after;
    memcpy(&job->reserved[1], &due, sizeof due);
    job->reserved[0] = after;
    job->reserved[3] = has_run ? job : NULL;
    if (before) {
        before->reserved[0] = job;
    } else {
        process->jobs = job;
    }
    kith__sim_event_at(process->sim, &process->work, job_due(process->jobs));
}

static void work_run(kith_sim *sim, sim_event *event)
{
    sim_process *process = KITH_OF(event, sim_process, work);
    kith_job *job = process->jobs;
    bool has_run = job->reserved[3] != NULL;
    process->jobs = job->reserved[0];
    if (process->jobs) kith__sim_event_at(sim, &process->work, job_due(process->jobs));
    kith__sim_note(sim, has_run ? "done" : "job", process->host, process->number, NULL, 0);
    if (has_run) {
        job->done(job); /* the job is its owner's again */
        return;
    }
    job->run(job);
    if (!process->dead) job_insert(process, job, kith__sim_rng_below(&sim->rng, DONE_DELAY_NS), true);
}

static void work_submit(kith_env *env, kith_job *job)
{
    sim_process *process = sim_process_of(env);
    if (process->dead) return;
    job_insert(process, job, 1 + kith__sim_rng_below(&process->sim->rng, process->sim->work_delay_ns), false);
}

static const kith_env_work work_table = {work_submit};

/* ---- posts ---- */

typedef struct sim_post {
    kith_link link;
    sim_process *process;
    sim_event event;
    void (*fn)(void *user);
    void *user;
} sim_post;

static void post_run(kith_sim *sim, sim_event *event)
{
    sim_post *post = KITH_OF(event, sim_post, event);
    kith__sim_note(sim, "post", post->process->host, post->process->number, NULL, 0);
    post->fn(post->user);
}

static void *post_open(kith_env *env, void (*fn)(void *user), void *user)
{
    sim_process *process = sim_process_of(env);
    if (process->dead) return NULL;
    sim_post *post = kith_calloc(1, sizeof *post);
    if (!post) return NULL;
    if (kith__sim_event_init(process->sim, &post->event, post_run)) {
        kith_free(post);
        return NULL;
    }
    post->process = process;
    post->fn = fn;
    post->user = user;
    kith_list_append(&process->posts, &post->link);
    return post;
}

static void post_post(void *handle)
{
    sim_post *post = handle;
    kith_sim *sim = post->process->sim;
    if (post->process->dead || post->event.slot) return; /* one call answers several */
    kith__sim_event_at(sim, &post->event, sim->now_ns + kith__sim_rng_below(&sim->rng, POST_DELAY_NS));
}

static void post_close(void *handle)
{
    sim_post *post = handle;
    if (!post) return;
    kith__sim_event_done(post->process->sim, &post->event);
    kith_list_remove(&post->link);
    kith_free(post);
}

static const kith_env_post post_table = {post_open, post_post, post_close};

/* ---- a process's life ---- */

kith_err kith_sim_env_new(kith_sim_host *host, kith_env **out)
{
    if (host->nat) return KITH_ERR_ARG;
    sim_process *process = kith_calloc(1, sizeof *process);
    if (!process) return KITH_ERR_NOMEM;
    if (kith__sim_event_init(host->sim, &process->work, work_run)) {
        kith_free(process);
        return KITH_ERR_NOMEM;
    }
    process->env = (kith_env){.base = &base_table,
                              .timers = &timer_table,
                              .udp = &kith__sim_udp,
                              .tcp = &kith__sim_tcp,
                              .ws = &kith__sim_ws,
                              .net = &kith__sim_net,
                              .lan = &kith__sim_lan,
                              .file = &kith__sim_file,
                              .work = &work_table,
                              .post = &post_table};
    process->host = host;
    process->sim = host->sim;
    process->number = ++host->process_count;
    kith__sim_rng_init(&process->rng, host->sim->seed, (uint64_t)host->id << 32 | process->number);
    kith_list_init(&process->timers);
    kith_list_init(&process->sockets);
    kith_list_init(&process->listeners);
    kith_list_init(&process->tcps);
    kith_list_init(&process->websockets);
    kith_list_init(&process->ws_servers);
    kith_list_init(&process->watches);
    kith_list_init(&process->browsers);
    kith_list_init(&process->files);
    kith_list_init(&process->posts);
    kith_list_append(&host->processes, &process->link);
    host->down = false;
    kith__sim_note(host->sim, "start", host, process->number, NULL, 0);
    *out = &process->env;
    return KITH_OK;
}

/* Nothing is freed: the caller may be on the stack, called from here, and its owner may want to close what it had. */
void kith__sim_process_kill(sim_process *process)
{
    kith_sim *sim = process->sim;
    if (process->dead) return;
    process->dead = true;
    kith__sim_note(sim, "kill", process->host, process->number, NULL, 0);
    KITH_EACH (link, &process->timers) kith__sim_event_cancel(sim, &KITH_OF(link, kith_timer, link)->event);
    KITH_EACH (post, &process->posts) kith__sim_event_cancel(sim, &KITH_OF(post, sim_post, link)->event);
    process->jobs = NULL;
    kith__sim_event_done(sim, &process->work);
    kith__sim_udp_kill(process);
    kith__sim_tcp_kill(process);
    kith__sim_watches_kill(process);
    kith__sim_lan_kill(process);
    kith__sim_file_kill(process);
}

void kith__sim_process_free(sim_process *process)
{
    kith__sim_ws_free(process);
    while (!kith_list_empty(&process->timers))
        timer_close(KITH_OF(kith_list_first(&process->timers), kith_timer, link));
    while (!kith_list_empty(&process->posts)) post_close(KITH_OF(kith_list_first(&process->posts), sim_post, link));
    kith__sim_udp_free(process);
    kith__sim_tcp_free(process);
    kith__sim_watches_free(process);
    kith__sim_lan_free(process);
    kith__sim_file_free(process);
    kith__sim_event_done(process->sim, &process->work);
    kith_list_remove(&process->link);
    kith_free(process);
}

void kith_sim_kill(kith_env *env) { kith__sim_process_kill(sim_process_of(env)); }
bool kith_sim_alive(const kith_env *env) { return !((const sim_process *)(const void *)env)->dead; }
