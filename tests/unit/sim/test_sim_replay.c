/* The same seed gives the same world, to the last byte; another seed another one. */
#include "base/list.h"
#include "sim_test.h"

#include <stdlib.h>

/* ---- a lively world ---- */

#define HOSTS 24

typedef struct citizen {
    struct city *city;
    kith_sim_host *host;
    kith_env *env;
    kith_udp *udp;
    kith_timer *timer;
    kith_lan *lan;
    kith_watch *watch;
    kith_job job;
    bool busy;
    unsigned number, received, seen, jobs, lives;
} citizen;

typedef struct city {
    kith_sim *sim;
    kith_sim_lan *lans[2];
    citizen all[HOSTS];
} city;

static void received(void *user, const kith_packet *packets, size_t count)
{
    citizen *c = user;
    for (size_t i = 0; i < count; i++) {
        c->received++;
        if (packets[i].size < 2 || packets[i].data[0] == 0) continue;
        kith_packet answer = packets[i]; /* until its first byte has counted down */
        uint8_t bytes[1500];
        answer.size = answer.segment = packets[i].segment;
        memcpy(bytes, packets[i].data, answer.size);
        bytes[0]--;
        answer.data = bytes;
        (void)c->env->udp->send(c->udp, &answer);
    }
}

static void writable(void *user) { ((citizen *)user)->received++; }
static void seen(void *user, const kith_lan_record *record) { ((citizen *)user)->seen += 1u + record->port; }
static void gone(void *user, const char *instance) { ((citizen *)user)->seen += (uint8_t)instance[0]; }
static void changed(void *user) { ((citizen *)user)->seen++; }

static void job_run(kith_job *job)
{
    citizen *c = KITH_OF(job, citizen, job);
    const kith_env_file *fs = c->env->file;
    kith_file *file = NULL;
    uint8_t data[3000];
    c->env->base->random(c->env, data, sizeof data);
    if (fs->open(c->env, "/log", KITH_FILE_WRITE | KITH_FILE_CREATE, 0600, &file)) return;
    (void)fs->write(file, data[0] * 100u, data, sizeof data);
    if (data[1] < 100) (void)fs->sync(file);
    fs->close(file);
    if (data[2] < 100) (void)fs->rename(c->env, "/log", "/log.old");
    if (data[3] < 50) (void)fs->sync_folder(c->env, "/");
}

static void job_done(kith_job *job)
{
    citizen *c = KITH_OF(job, citizen, job);
    c->busy = false;
    c->jobs++;
}

static void tick(void *user)
{
    citizen *c = user;
    uint8_t random[1200], bytes[12000] = {0};
    char to[32];
    c->env->base->random(c->env, random, sizeof random);
    snprintf(to, sizeof to, "10.0.%u.%u:7", random[0] % 2, 1 + random[1] % HOSTS);
    memcpy(bytes, random, sizeof random);
    bytes[0] = random[2] % 8;
    kith_packet packet = {.remote = addr_of(to), .data = bytes, .size = 200 + random[3] * 40u, .segment = 1000};
    if (packet.segment > packet.size) packet.segment = packet.size;
    (void)c->env->udp->send(c->udp, &packet);
    if (!c->busy && random[4] < 60) {
        c->busy = true;
        c->env->work->submit(c->env, &c->job);
    }
    c->env->timers->set(c->timer, c->env->base->now_ns(c->env) + (1 + random[5]) * KITH_SIM_MS);
}

static void live(citizen *c)
{
    static const kith_udp_events udp = {received, writable};
    static const kith_lan_events lan = {seen, gone};
    kith_addr any = addr_of("[::]:7");
    kith_lan_record record = {.port = (uint16_t)(c->number + 1)};
    snprintf(record.instance, sizeof record.instance, "c%u", c->number);
    c->env = process_on(c->host);
    c->busy = false;
    c->job = (kith_job){.run = job_run, .done = job_done};
    c->lives++;
    assert_ok(c->env->udp->open(c->env, &any, &udp, c, &c->udp));
    assert_ok(c->env->lan->start(c->env, &record, &lan, c, &c->lan));
    assert_ok(c->env->net->watch(c->env, changed, c, &c->watch));
    c->timer = c->env->timers->open(c->env, tick, c);
    c->env->timers->set(c->timer, 0);
    kith_sim_fail_file_at(c->env, 40 + c->number, KITH_ERR_IO, c->number % 2 ? KITH_SIM_FAIL_KILL : KITH_SIM_FAIL_ONCE);
}

static void disturb(city *y)
{
    kith_sim *sim = y->sim;
    citizen *c = &y->all[kith_sim_random(sim) % HOSTS], *d = &y->all[kith_sim_random(sim) % HOSTS];
    kith_sim_link bad = {.delay_ns = kith_sim_random(sim) % (50 * KITH_SIM_MS), .loss = 0.1, .corrupt = 0.05};
    char addr[32];
    for (unsigned i = 0; i < HOSTS; i++) {
        if (!kith_sim_alive(y->all[i].env)) live(&y->all[i]);
    }
    switch (kith_sim_random(sim) % 7) {
    case 0: kith_sim_kill(c->env); break;
    case 1: kith_sim_power_fail(c->host); break;
    case 2:
        if (c != d) assert_ok(kith_sim_partition(c->host, d->host, kith_sim_random(sim) % 2));
        break;
    case 3: assert_ok(kith_sim_pair_link(c->host, d->host, &bad)); break;
    case 4:
        kith_sim_detach(c->host, y->lans[c->number % 2]);
        snprintf(addr, sizeof addr, "10.0.%u.%u", c->number % 2, c->number + 1);
        assert_ok(kith_sim_attach(c->host, y->lans[c->number % 2], addr));
        break;
    case 5: (void)c->env->lan->update(c->lan, NULL); break;
    default: kith_sim_set_send_again(c->host, 0.1);
    }
}

typedef struct result {
    uint64_t trace, received, seen, jobs, lives;
} result;

static result live_and_end(uint64_t seed, FILE *text)
{
    static city y;
    result r = {0};
    y = (city){.sim = world(seed)};
    kith_sim_trace_to(y.sim, text);
    kith_sim_set_timer_lateness(y.sim, KITH_SIM_MS);
    kith_sim_link way = {.delay_ns = 300000,
                         .jitter_ns = 100000,
                         .rate = 10000000,
                         .queue = 100000,
                         .loss = 0.02,
                         .duplicate = 0.02,
                         .reorder = 0.02,
                         .corrupt = 0.01};
    for (unsigned i = 0; i < 2; i++) {
        y.lans[i] = lan_in(y.sim, i ? "office" : "home");
        kith_sim_lan_set_link(y.lans[i], &way);
        kith_sim_lan_set_discovery(y.lans[i], 100 * KITH_SIM_MS, 0.2);
    }
    assert_ok(kith_sim_route(y.lans[0], y.lans[1], &(kith_sim_link){.delay_ns = 10 * KITH_SIM_MS}));
    for (unsigned i = 0; i < HOSTS; i++) {
        char name[32];
        y.all[i] = (citizen){.city = &y, .number = i, .host = host_in(y.sim, "citizen")};
        snprintf(name, sizeof name, "10.0.%u.%u", i % 2, i + 1);
        assert_ok(kith_sim_attach(y.all[i].host, y.lans[i % 2], name));
        live(&y.all[i]);
    }
    for (unsigned i = 0; i < 60; i++) {
        kith_sim_run_for(y.sim, 100 * KITH_SIM_MS);
        disturb(&y);
    }
    for (unsigned i = 0; i < HOSTS; i++) {
        r.received += y.all[i].received;
        r.seen += y.all[i].seen;
        r.jobs += y.all[i].jobs;
        r.lives += y.all[i].lives;
    }
    r.trace = kith_sim_trace(y.sim);
    end(y.sim);
    return r;
}

static void same_seed_same_world(void **state)
{
    (void)state;
    char *texts[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    result r[2];
    void *ballast = malloc(12345);
    for (unsigned i = 0; i < 2; i++) {
        FILE *text = open_memstream(&texts[i], &sizes[i]);
        assert_non_null(text);
        r[i] = live_and_end(99, text);
        fclose(text);
        free(ballast); /* the second run finds memory elsewhere */
        ballast = NULL;
    }
    assert_memory_equal(&r[0], &r[1], sizeof r[0]);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(texts[0], texts[1], sizes[0]);
    /* It was lively. */
    assert_true(r[0].received > 5000 && r[0].jobs > 100 && r[0].lives > HOSTS + 5 && r[0].seen > 100);
    static const char *const kinds[] = {"send",   "recv", "lost",  "unheard", "timer", "job",
                                        "done",   "kill", "power", "attach",  "seen",  "write",
                                        "rename", "sync", "gone",  "talk",    "watch", "writable"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char word[16];
        snprintf(word, sizeof word, " %s ", kinds[i]);
        if (!strstr(texts[0], word)) fail_msg("no %s", kinds[i]);
    }
    /* Text or not makes no difference. */
    result silent = live_and_end(99, NULL);
    assert_memory_equal(&r[0], &silent, sizeof silent);
    free(texts[0]);
    free(texts[1]);
}

static void other_seed_other_world(void **state)
{
    (void)state;
    uint64_t a = live_and_end(1, NULL).trace, b = live_and_end(2, NULL).trace;
    assert_true(a != b);
}

/* The trace notices a single bit of a datagram, and a nanosecond. */
static void the_trace_is_fine(void **state)
{
    (void)state;
    uint64_t traces[4];
    for (unsigned i = 0; i < 4; i++) {
        kith_sim *sim = world(1);
        kith_sim_lan *lan = lan_in(sim, "home");
        kith_sim_host *a = host_in(sim, "a"), *b = host_in(sim, "b");
        kith_env *env = process_on(a);
        sink s;
        assert_ok(kith_sim_attach(a, lan, "10.0.0.1"));
        assert_ok(kith_sim_attach(b, lan, "10.0.0.2"));
        sink_open(&s, env, "[::]:1");
        kith_sim_run_for(sim, i == 2 ? 1001 : 1000);
        assert_ok(send_numbered(env, s.udp, "10.0.0.2:9", i == 1 ? 1 : 0, 1, 100));
        traces[i] = kith_sim_trace(sim);
        end(sim);
    }
    assert_true(traces[0] != traces[1] && traces[0] != traces[2] && traces[0] == traces[3]);
}

/* ---- many ---- */

static void count_one(void *user, const kith_packet *packets, size_t count)
{
    for (size_t i = 0; i < count; i++) *(size_t *)user += packets[i].size / packets[i].segment;
}

static void thousands_of_hosts(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static kith_env *envs[MANY];
    static kith_udp *sockets[MANY];
    static const kith_udp_events events = {count_one, writable};
    size_t heard = 0;
    kith_sim *sim = world(4);
    kith_sim_lan *lan = lan_in(sim, "stadium");
    kith_addr any = addr_of("[::]:7");
    for (unsigned i = 0; i < MANY; i++) {
        char addr[32];
        snprintf(addr, sizeof addr, "10.0.%u.%u", i / 250, 1 + i % 250);
        kith_sim_host *host = host_in(sim, addr);
        assert_ok(kith_sim_attach(host, lan, addr));
        envs[i] = process_on(host);
        assert_ok(envs[i]->udp->open(envs[i], &any, &events, &heard, &sockets[i]));
        assert_ok(kith_sim_put_file(host, "/home/device.json", "{}", 2, 0600));
    }
    for (unsigned i = 0; i < 10 * MANY; i++) {
        char to[32];
        unsigned j = (unsigned)(kith_sim_random(sim) % MANY);
        snprintf(to, sizeof to, "10.0.%u.%u:7", j / 250, 1 + j % 250);
        assert_ok(send_numbered(envs[i % MANY], sockets[i % MANY], to, i, 1, 1200));
    }
    kith_sim_run_for(sim, KITH_SIM_S);
    assert_int_equal(heard, 10 * MANY);
    end(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_world),
        cmocka_unit_test(other_seed_other_world),
        cmocka_unit_test(the_trace_is_fine),
        cmocka_unit_test(thousands_of_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
