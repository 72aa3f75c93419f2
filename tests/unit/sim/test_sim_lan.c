/* Service discovery: seen soon, gone in the end, whatever is lost on the way. */
#include "sim_test.h"

static kith_sim *sim;
static kith_sim_lan *lan;
static kith_sim_host *a, *b;
static kith_env *ea, *eb;

typedef struct browser {
    kith_lan *lan;
    unsigned seen, gone; /* of others than itself */
    kith_lan_record last;
    char last_gone[KITH_LAN_INSTANCE_SIZE];
    const char *self;
    uint64_t at_ns;
    bool stops; /* in the next callback */
} browser;

static void on_seen(void *user, const kith_lan_record *record)
{
    browser *w = user;
    if (w->self && strcmp(record->instance, w->self) == 0) return;
    w->seen++;
    w->last = *record;
    w->at_ns = kith_sim_now_ns(sim);
    if (w->stops) ea->lan->stop(w->lan);
}

static void on_gone(void *user, const char *instance)
{
    browser *w = user;
    w->gone++;
    snprintf(w->last_gone, sizeof w->last_gone, "%s", instance);
    w->at_ns = kith_sim_now_ns(sim);
    if (w->stops) ea->lan->stop(w->lan);
}

static kith_lan_record record_of(const char *instance, uint16_t port)
{
    kith_lan_record record = {.port = port, .txt = "\x03v=1", .txt_size = 4};
    snprintf(record.instance, sizeof record.instance, "%s", instance);
    return record;
}

static kith_err try_start(browser *w, kith_env *env, const char *instance, uint16_t port)
{
    static const kith_lan_events events = {on_seen, on_gone};
    kith_lan_record record = instance ? record_of(instance, port) : (kith_lan_record){0};
    *w = (browser){.self = instance};
    return env->lan->start(env, instance ? &record : NULL, &events, w, &w->lan);
}

static void start(browser *w, kith_env *env, const char *instance, uint16_t port)
{
    assert_ok(try_start(w, env, instance, port));
}

static int set_up(void **state)
{
    (void)state;
    sim = world(23);
    lan = lan_in(sim, "home");
    a = host_in(sim, "a");
    b = host_in(sim, "b");
    assert_ok(kith_sim_attach(a, lan, "192.168.1.1"));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2"));
    ea = process_on(a);
    eb = process_on(b);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end(sim);
    return 0;
}

#define T(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

static void seconds(unsigned n) { kith_sim_run_for(sim, n * KITH_SIM_S); }

static void seen_and_gone(void **state)
{
    (void)state;
    browser one, two;
    start(&one, ea, NULL, 0);
    start(&two, eb, "two", 4000);
    assert_int_equal(one.seen, 0); /* not from inside the call */
    kith_sim_run_for(sim, 140 * KITH_SIM_MS);
    assert_int_equal(one.seen, 1);
    assert_string_equal(one.last.instance, "two");
    assert_int_equal(one.last.port, 4000);
    assert_int_equal(one.last.txt_size, 4);
    assert_memory_equal(one.last.txt, "\x03v=1", 4);
    assert_int_equal(one.last.addr_count, 1);
    kith_addr where = addr_of("192.168.1.2:4000");
    assert_true(kith_addr_equal(&one.last.addrs[0], &where));
    seconds(200);
    assert_int_equal(one.seen, 1); /* repeated, but no news */
    assert_int_equal(one.gone, 0);
    eb->lan->stop(two.lan);
    eb->lan->stop(NULL);
    seconds(1);
    assert_int_equal(one.gone, 1);
    assert_string_equal(one.last_gone, "two");
    assert_int_equal(two.seen, 0);
}

static void who_comes_later_sees_who_is_there(void **state)
{
    (void)state;
    browser one, two, third;
    start(&one, ea, "one", 1);
    seconds(100);
    start(&two, eb, "two", 2);
    start(&third, process_on(b), NULL, 0); /* another process of that host */
    seconds(1);
    assert_int_equal(one.seen, 1);
    assert_int_equal(two.seen, 1);
    assert_int_equal(third.seen, 2);
}

static void updates(void **state)
{
    (void)state;
    browser one, two;
    start(&one, ea, NULL, 0);
    start(&two, eb, NULL, 0);
    seconds(5);
    assert_int_equal(one.seen + two.seen, 0);
    kith_lan_record record = record_of("two", 2);
    assert_ok(eb->lan->update(two.lan, &record));
    seconds(1);
    assert_int_equal(one.seen, 1);
    record.txt[3] = '2';
    assert_ok(eb->lan->update(two.lan, &record));
    seconds(1);
    assert_int_equal(one.seen, 2);
    assert_int_equal(one.last.txt[3], '2');
    assert_ok(eb->lan->update(two.lan, &record)); /* the same: no news */
    seconds(1);
    assert_int_equal(one.seen, 2);
    kith_lan_record renamed = record_of("zwei", 2);
    assert_ok(eb->lan->update(two.lan, &renamed));
    seconds(1);
    assert_int_equal(one.seen, 3);
    assert_string_equal(one.last_gone, "two");
    assert_ok(eb->lan->update(two.lan, NULL));
    assert_ok(eb->lan->update(two.lan, &renamed)); /* the goodbye is not to this one */
    seconds(30);
    assert_int_equal(one.gone, 1);
    assert_ok(eb->lan->update(two.lan, NULL));
    seconds(1);
    assert_int_equal(one.gone, 2);
    record.instance[0] = 0;
    assert_int_equal(eb->lan->update(two.lan, &record), KITH_ERR_ARG);
    memset(record.instance, 'x', sizeof record.instance);
    assert_int_equal(eb->lan->update(two.lan, &record), KITH_ERR_ARG);
    renamed.txt_size = KITH_LAN_TXT_MAX + 1;
    assert_int_equal(eb->lan->update(two.lan, &renamed), KITH_ERR_ARG);
}

static void the_killed_expire(void **state)
{
    (void)state;
    browser one, two, none;
    start(&one, ea, NULL, 0);
    start(&two, eb, "two", 2);
    seconds(5);
    uint64_t killed = kith_sim_now_ns(sim);
    kith_sim_kill(eb);
    seconds(10);
    assert_ok(kith_sim_change_addr(a, "192.168.1.1", "192.168.1.3")); /* does not make it live longer */
    kith_sim_run_for(sim, KITH_SIM_EXPIRY_NS - 10 * KITH_SIM_S - 1);
    assert_int_equal(one.gone, 0);
    kith_sim_run_for(sim, 1);
    assert_int_equal(one.gone, 1);
    assert_true(one.at_ns == killed + KITH_SIM_EXPIRY_NS);
    assert_int_equal(eb->lan->update(two.lan, NULL), KITH_ERR_NETWORK);
    assert_int_equal(try_start(&none, eb, NULL, 0), KITH_ERR_NETWORK);
    eb->lan->stop(two.lan);
    /* Back before it has expired, as another process under the same name: never gone. */
    kith_env *again = process_on(b), *third = process_on(b);
    start(&two, again, "two", 2);
    seconds(5);
    assert_int_equal(one.seen, 2);
    kith_sim_kill(again);
    seconds(5);
    start(&two, third, "two", 3);
    seconds(60);
    assert_int_equal(one.gone, 1);
    assert_int_equal(one.seen, 3);
    assert_int_equal(one.last.port, 3);
}

/* Each message is lost with a chance of one half: repetition gets nearly all through. */
static void loss_is_made_up_for(void **state)
{
    (void)state;
    static browser w[20];
    unsigned early = 0, late = 0, gone = 0;
    kith_sim_lan_set_discovery(lan, 120 * KITH_SIM_MS, 0.5);
    for (unsigned i = 0; i < 20; i++) {
        char name[2][16];
        snprintf(name[0], sizeof name[0], "h%u", i);
        snprintf(name[1], sizeof name[1], "192.168.1.%u", 10 + i);
        kith_sim_host *host = host_in(sim, name[0]);
        assert_ok(kith_sim_attach(host, lan, name[1]));
        start(&w[i], process_on(host), name[0], 1);
        w[i].self = NULL; /* its name is on this stack; so count itself as well */
    }
    kith_sim_run_for(sim, 140 * KITH_SIM_MS);
    for (unsigned i = 0; i < 20; i++) early += w[i].seen;
    seconds(100);
    for (unsigned i = 0; i < 20; i++) late += w[i].seen;
    assert_in_range(early, 250, 370); /* both tell, at once: three quarters of 380, and 20 themselves */
    assert_int_equal(late, 400);
    ea->lan->stop(w[0].lan);
    seconds(1);
    for (unsigned i = 1; i < 20; i++) gone += w[i].gone;
    assert_in_range(gone, 4, 15); /* goodbyes are said once, */
    seconds(20);
    for (unsigned i = 1, all = 0; i < 20; i++) {
        all += w[i].gone;
        if (i == 19) assert_int_equal(all, 19); /* and silence tells the others */
    }
}

static void partitions(void **state)
{
    (void)state;
    browser one, two;
    start(&one, ea, "one", 1);
    start(&two, eb, "two", 2);
    seconds(1);
    assert_ok(kith_sim_partition(a, b, true));
    seconds(19);
    assert_int_equal(one.gone, 0);
    seconds(2);
    assert_int_equal(one.gone, 1);
    assert_int_equal(two.gone, 1);
    seconds(100);
    assert_ok(kith_sim_partition(a, b, false));
    seconds(1);
    assert_int_equal(one.seen, 2);
    assert_int_equal(two.seen, 2);
    assert_ok(kith_sim_partition(a, b, true)); /* a short one is not noticed */
    seconds(10);
    assert_ok(kith_sim_partition(a, b, false));
    seconds(60);
    assert_int_equal(one.gone, 1);
    assert_int_equal(one.seen, 2);
}

static void networks(void **state)
{
    (void)state;
    browser one, two;
    kith_sim_lan *far = lan_in(sim, "office");
    kith_sim_detach(b, lan);
    assert_ok(kith_sim_attach(b, far, "192.168.1.3"));
    kith_sim_detach(b, far);
    assert_ok(kith_sim_attach(b, far, "192.168.1.2")); /* the 4th interface there, */
    start(&one, ea, NULL, 0);
    start(&two, eb, "two", 2);
    seconds(30);
    assert_int_equal(one.seen, 0);
    assert_ok(kith_sim_route(lan, far, &(kith_sim_link){.delay_ns = 1})); /* a router does not pass it on */
    seconds(30);
    assert_int_equal(one.seen, 0);
    assert_ok(kith_sim_attach(a, far, "192.168.1.9"));
    assert_ok(kith_sim_attach(b, far, "fe80::2"));
    seconds(1);
    assert_int_equal(one.seen, 1);
    assert_int_equal(one.last.addr_count, 2);
    kith_addr where = addr_of("[fe80::2%3]:2"); /* by the interface of who sees it, the 3rd here */
    assert_true(kith_addr_equal(&one.last.addrs[1], &where));
    assert_ok(kith_sim_change_addr(b, "192.168.1.2", "192.168.1.7"));
    seconds(1);
    assert_int_equal(one.seen, 2);
    where = addr_of("192.168.1.7:2");
    assert_true(kith_addr_equal(&one.last.addrs[0], &where));
    assert_ok(kith_sim_attach(b, lan, "192.168.1.2")); /* they share both now */
    seconds(1);
    assert_int_equal(one.last.addr_count, 3);
    kith_sim_detach(a, far);
    seconds(1);
    assert_int_equal(one.last.addr_count, 1);
    assert_int_equal(one.gone, 0);
    kith_sim_detach(b, lan);
    seconds(21);
    assert_int_equal(one.gone, 1);
}

static void spoofed_records(void **state)
{
    (void)state;
    browser one, two;
    start(&one, ea, NULL, 0);
    start(&two, eb, "two", 2);
    seconds(40); /* between repetitions */
    kith_lan_record forged = record_of("ghost", 66);
    forged.addrs[0] = addr_of("10.6.6.6:66");
    forged.addr_count = 1;
    assert_ok(kith_sim_lan_inject(lan, &forged));
    seconds(1);
    assert_int_equal(one.seen, 2);
    assert_string_equal(one.last.instance, "ghost");
    assert_true(kith_addr_equal(&one.last.addrs[0], &forged.addrs[0]));
    seconds(20);
    assert_int_equal(one.gone, 1);
    assert_string_equal(one.last_gone, "ghost");
    snprintf(forged.instance, sizeof forged.instance, "two"); /* another's name: until that one says it again */
    assert_ok(kith_sim_lan_inject(lan, &forged));
    kith_sim_run_for(sim, 130 * KITH_SIM_MS);
    assert_int_equal(one.last.port, 66);
    seconds(20);
    assert_int_equal(one.last.port, 2);
    assert_int_equal(one.gone, 1);
    kith_sim_lan *empty = lan_in(sim, "empty");
    assert_ok(kith_sim_lan_inject(empty, &forged));
    seconds(1);
    assert_int_equal(one.last.port, 2);
}

static void stopping_in_a_callback(void **state)
{
    (void)state;
    browser one, two;
    start(&one, ea, NULL, 0);
    start(&two, eb, "two", 2);
    one.stops = true;
    seconds(5);
    assert_int_equal(one.seen, 1);
    start(&one, ea, NULL, 0);
    seconds(5);
    one.stops = true;
    kith_sim_kill(eb);
    seconds(30);
    assert_int_equal(one.gone, 1);
}

static int discover(void *arg)
{
    browser one = {0}, two = {0};
    kith_sim_free(sim);
    (void)set_up(NULL);
    kith_mem_fail_at(*(uint64_t *)arg, false);
    kith_err err = try_start(&one, ea, "one", 1);
    if (!err) err = try_start(&two, eb, "two", 2);
    seconds(100); /* what is not heard for want of memory is as good as lost, and said again */
    if (!err && (one.seen != 1 || two.seen != 1)) fail_msg("seen %u, %u", one.seen, two.seen);
    bool failed = kith_mem_failed();
    kith_mem_fail_at(0, false);
    if (one.lan) ea->lan->stop(one.lan);
    if (two.lan) eb->lan->stop(two.lan);
    return failed;
}

static void memory_runs_out(void **state)
{
    (void)state;
    uint64_t n = 1;
    while (discover(&n)) n++;
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(seen_and_gone),
        T(who_comes_later_sees_who_is_there),
        T(updates),
        T(the_killed_expire),
        T(loss_is_made_up_for),
        T(partitions),
        T(networks),
        T(spoofed_records),
        T(stopping_in_a_callback),
        T(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
