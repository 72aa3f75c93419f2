/* mDNS where no network is needed: what the guard lets through, the queue between the threads, starting and stopping.
 * tests/interop/mdns.sh has the rest. */
#include "io/mdns_internal.h"
#include "io_test.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- the guard ---- */

/* Whole ones pass, cut ones do not. */
static void mdns_dnssd_packets_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("mdns_dnssd_packets.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "packets"), i, item) {
        test_bytes packet = test_hex_of(item, "payload");
        assert_true(kith__mdns_guard_accepts(packet.data, packet.size));
        for (size_t cut = 0; cut < packet.size; cut++) {
            uint8_t *exact = malloc(cut ? cut : 1); /* so that a read past the end is noticed */
            memcpy(exact, packet.data, cut);
            assert_false(kith__mdns_guard_accepts(exact, cut));
            free(exact);
        }
        test_bytes_free(&packet);
    }
    test_ran("mdns_dnssd_packets.json", i);
    json_decref(root);
}

static void cnames_do_not_pass(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool passes;
    } table[] = {
        /* a response: x.local A 10.0.0.1 */
        {"0000840000000001000000000178056c6f63616c00000100010000007800040a000001", true},
        /* x.local CNAME y.local as answer, as authority, as additional record */
        {"0000840000000001000000000178056c6f63616c0000050001000000780004 0179c00e", false},
        {"0000840000000000000100000178056c6f63616c0000050001000000780004 0179c00e", false},
        {"0000840000000000000000010178056c6f63616c0000050001000000780004 0179c00e", false},
        /* after an A record, by a compressed name, with the cache flush bit */
        {"0000840000000002000000000178056c6f63616c00000100010000007800040a000001c00c000580010000007800040179c00e",
         false},
        /* a question of type CNAME does no harm */
        {"0000000000010000000000000178056c6f63616c0000050001", true},
        /* more records counted than there are; a label of a kind that does not exist; nothing at all */
        {"0000840000000002000000000178056c6f63616c00000100010000007800040a000001", false},
        {"0000840000000001000000008178056c6f63616c00000100010000007800040a000001", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char hex[256];
        size_t n = 0;
        for (const char *at = table[i].hex; *at; at++) {
            if (*at != ' ') hex[n++] = *at;
        }
        hex[n] = 0;
        test_bytes packet = test_unhex(hex);
        if (kith__mdns_guard_accepts(packet.data, packet.size) != table[i].passes) fail_msg("case %zu", i);
        test_bytes_free(&packet);
    }
}

/* ---- the queue ---- */

static size_t posts;
static void count_post(void *handle)
{
    (void)handle;
    posts++;
}

static void tell(mdns_box *box, const char *name, uint16_t port, bool seen, bool wanted)
{
    kith_lan_record record = {.port = port};
    snprintf(record.instance, sizeof record.instance, "%s", name);
    kith__mdns_box_tell(box, &record, seen, wanted);
}

static const mdns_news *news_of(mdns_box *box, const char *name)
{
    KITH_EACH (at, &box->news) {
        const mdns_news *news = KITH_OF(at, mdns_news, link);
        if (strcmp(news->record.instance, name) == 0) return news;
    }
    return NULL;
}

static void box_begin(mdns_box *box, const kith_env_post *post)
{
    *box = (mdns_box){.post_table = post, .post = box};
    pthread_mutex_init(&box->lock, NULL);
    kith_list_init(&box->news);
    posts = 0;
}

static void box_end(mdns_box *box)
{
    while (!kith_list_empty(&box->news)) kith_free(KITH_OF(kith_list_take_first(&box->news), mdns_news, link));
    pthread_mutex_destroy(&box->lock);
    kith_free(box);
}

static void the_latest_of_each_instance_waits(void **state)
{
    (void)state;
    static const kith_env_post post = {.post = count_post};
    mdns_box *box = kith_malloc(sizeof *box);
    box_begin(box, &post);
    tell(box, "a", 1, true, false);
    tell(box, "b", 1, true, false);
    tell(box, "a", 2, true, false);
    assert_int_equal(box->news_count, 2);
    assert_int_equal(news_of(box, "a")->record.port, 2);
    tell(box, "a", 0, false, false);
    assert_int_equal(box->news_count, 2);
    assert_false(news_of(box, "a")->seen);
    assert_int_equal(posts, 4);
    assert_int_equal(box->dropped, 0);
    box->post = NULL; /* the loop's side is closed */
    tell(box, "c", 1, true, false);
    assert_null(news_of(box, "c"));
    assert_int_equal(posts, 4);
    box_end(box);
}

static void a_full_queue_drops_strangers(void **state)
{
    (void)state;
    static const kith_env_post post = {.post = count_post};
    mdns_box *box = kith_malloc(sizeof *box);
    char name[32];
    box_begin(box, &post);
    tell(box, "friend", 1, true, true);
    for (unsigned i = 0; i < 2 * KITH_LAN_NEWS_MAX; i++) {
        snprintf(name, sizeof name, "stranger %u", i);
        tell(box, name, 1, true, false);
    }
    assert_int_equal(box->news_count, KITH_LAN_NEWS_MAX);
    assert_int_equal(box->dropped, KITH_LAN_NEWS_MAX + 1);
    assert_non_null(news_of(box, "friend"));
    assert_non_null(news_of(box, name)); /* the latest */
    assert_null(news_of(box, "stranger 0"));
    for (unsigned i = 0; i < KITH_LAN_NEWS_MAX; i++) {
        snprintf(name, sizeof name, "friend %u", i);
        tell(box, name, 1, true, true);
    }
    assert_int_equal(box->news_count, KITH_LAN_NEWS_MAX);
    assert_null(news_of(box, "friend")); /* among friends the oldest goes */
    uint64_t dropped = box->dropped;
    tell(box, "stranger", 1, true, false);
    assert_null(news_of(box, "stranger"));
    assert_int_equal(box->dropped, dropped + 1);
    box_end(box);
}

/* ---- starting and stopping ---- */

static void seen_nothing(void *user, const kith_lan_record *record)
{
    (void)user;
    (void)record;
}
static void gone_nothing(void *user, const char *instance)
{
    (void)user;
    (void)instance;
}
static const kith_lan_events no_events = {seen_nothing, gone_nothing};

static kith_lan_record some_record(void)
{
    return (kith_lan_record){.instance = "x", .port = 7000, .txt = "\3v=1", .txt_size = 4};
}

static int start_and_stop(void *arg)
{
    (void)arg;
    kith_io *io = NULL;
    kith_err err = kith_io_new(&io);
    if (err) return err;
    kith_env *env = kith_io_env(io);
    kith_lan_record record = some_record();
    kith_lan *lan = NULL;
    err = env->lan->start(env, &record, &no_events, NULL, &lan);
    env->lan->stop(lan);
    kith_io_stop(io);
    kith_io_run(io);
    kith_io_free(io);
    return err;
}

/* No interface is up: Avahi's thread has nothing to do, so that all allocations are those of the start. */
static void every_allocation_of_start(void **state)
{
    (void)state;
    if (!own_network()) skip();
    test_every_allocation(start_and_stop, NULL);
}

static void wrong_records(void **state)
{
    (void)state;
    io_test t = io_test_new();
    kith_lan *lan = NULL;
    kith_lan_record record = some_record();
    record.txt_size = KITH_LAN_TXT_MAX + 1;
    assert_int_equal(t.env->lan->start(t.env, &record, &no_events, NULL, &lan), KITH_ERR_ARG);
    record = some_record();
    record.instance[0] = 0;
    assert_int_equal(t.env->lan->start(t.env, &record, &no_events, NULL, &lan), KITH_ERR_ARG);
    memset(record.instance, 'x', sizeof record.instance);
    assert_int_equal(t.env->lan->start(t.env, &record, &no_events, NULL, &lan), KITH_ERR_ARG);
    assert_null(lan);
    t.env->lan->stop(NULL);
    kith_io_stop(t.io);
    kith_io_run(t.io);
    io_test_end(&t);
}

typedef struct pair {
    io_test t;
    kith_lan *first, *second;
    bool first_seen;
} pair;

/* Stops the one whose callback this is, and the other. */
static void stop_both(void *user, const kith_lan_record *record)
{
    pair *p = user;
    if (strcmp(record->instance, "y") != 0) return;
    p->first_seen = true;
    assert_int_equal(record->port, 7001);
    p->t.env->lan->stop(p->first);
    p->t.env->lan->stop(p->second);
    kith_io_stop(p->t.io);
}

static void two_in_one_process_and_stop_in_a_callback(void **state)
{
    (void)state;
    if (!own_network()) skip();
    link_up("lo", 0);
    pair p = {.t = io_test_new()};
    const kith_lan_events events = {stop_both, gone_nothing};
    kith_lan_record x = some_record(), y = some_record();
    y.instance[0] = 'y';
    y.port = 7001;
    assert_ok(p.t.env->lan->start(p.t.env, &x, &events, &p, &p.first));
    assert_ok(p.t.env->lan->start(p.t.env, &y, &no_events, NULL, &p.second));
    kith_io_run(p.t.io);
    assert_true(p.first_seen);
    io_test_end(&p.t);
}

/* ---- a server that is replaced, as when its cache is full ---- */

#define INTERFACE  1u /* lo in a network of one's own */
#define ROUND_MS   20
#define GOODBYE_MS 1500 /* a goodbye counts after a second (RFC 6762 section 10.1) */

/* Avahi's thread, but driven by hand: what it does not get here, it would not get on a busy machine. */
typedef struct driven {
    mdns_box *box;
    mdns_thread *thread;
} driven;

static driven driven_begin(const kith_env_post *post, const char *name)
{
    driven d = {.box = kith_malloc(sizeof *d.box)};
    kith_err err = KITH_OK;
    box_begin(d.box, post);
    d.box->holders = 1;
    d.box->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d.box->wish.announce = true;
    d.box->wish.record = some_record();
    snprintf(d.box->wish.record.instance, sizeof d.box->wish.record.instance, "%s", name);
    d.box->wish.addrs[0].index = INTERFACE;
    d.box->wish.addr_count = 1;
    assert_ok(kith_addr_parse("127.0.0.1", &d.box->wish.addrs[0].addr));
    d.thread = kith__mdns_thread_new(d.box, &err);
    assert_ok(err);
    kith__mdns_announce(d.thread);
    return d;
}

static void driven_end(driven *d)
{
    kith__mdns_thread_free(d->thread);
    close(d->box->wake);
    box_end(d->box);
}

static void drive(const driven *d)
{
    assert_int_equal(avahi_simple_poll_iterate(d->thread->simple, ROUND_MS), 0);
    kith__mdns_thread_turn(d->thread);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void drive_for(const driven *d, int64_t ms)
{
    for (int64_t until = now_ms() + ms; now_ms() < until;) drive(d);
}

static void replace_server(const driven *d)
{
    d->thread->rebuild = true;
    kith__mdns_thread_turn(d->thread);
    assert_false(d->thread->rebuild);
}

static void await(const driven *a, const driven *b, const char *name, bool seen)
{
    for (const mdns_news *news = NULL; !news || news->seen != seen; news = news_of(a->box, name)) {
        drive(a);
        if (b) drive(b);
    }
}

/* Neither who is replaced nor who replaces says that anybody is gone, though the other does not run. */
static void nobody_goes_with_a_server(void **state)
{
    (void)state;
    static const kith_env_post post = {.post = count_post};
    if (!own_network()) skip();
    link_up("lo", 0);
    driven a = driven_begin(&post, "a"), b = driven_begin(&post, "b");
    await(&a, &b, "b", true);
    await(&b, &a, "a", true);

    replace_server(&b); /* which has no CPU from now on */
    drive_for(&a, GOODBYE_MS);
    assert_true(news_of(a.box, "b")->seen);

    replace_server(&a);
    assert_int_equal(a.thread->sweep_left, MDNS_LIFE_S);
    while (a.thread->sweep_left > MDNS_LIFE_S - 2) drive(&a);
    assert_true(news_of(a.box, "b")->seen);
    a.thread->sweep_left = 1; /* the last turn */
    await(&a, NULL, "b", false);
    await(&a, &b, "b", true); /* once it has CPU again */
    driven_end(&a);
    driven_end(&b);
}

/* A thread that had no CPU when a record's life was over does not say that its owner is gone, before it has asked. */
static void who_is_late_says_nobody_is_gone(void **state)
{
    (void)state;
    static const kith_env_post post = {.post = count_post};
    if (!own_network()) skip();
    link_up("lo", 0);
    driven a = driven_begin(&post, "a"), b = driven_begin(&post, "b");
    await(&a, &b, "b", true);

    b.box->wish.announce = b.thread->wish.announce = false; /* its records have a second left */
    kith__mdns_announce(b.thread);
    for (int64_t until = now_ms() + GOODBYE_MS / 3; now_ms() < until; drive(&b)) drive(&a);
    struct timespec late = {.tv_sec = GOODBYE_MS / 1000, .tv_nsec = GOODBYE_MS % 1000 * 1000000L};
    nanosleep(&late, NULL);
    while (!a.thread->sweep_left) drive(&a);
    assert_true(news_of(a.box, "b")->seen);
    b.thread->wish.announce = true;
    kith__mdns_announce(b.thread);
    while (a.thread->sweep_left > 7) { /* long enough to be asked three times */
        drive(&a);
        drive(&b);
    }
    a.thread->sweep_left = 1;
    while (a.thread->sweep_left) drive(&a);
    assert_true(news_of(a.box, "b")->seen);

    b.thread->wish.announce = false;
    kith__mdns_announce(b.thread);
    await(&a, &b, "b", false);
    assert_int_equal(a.thread->sweep_left, 0); /* at once: it is not late */
    driven_end(&a);
    driven_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mdns_dnssd_packets_json),
        TEST(cnames_do_not_pass),
        TEST(the_latest_of_each_instance_waits),
        TEST(a_full_queue_drops_strangers),
        TEST(wrong_records),
        TEST(every_allocation_of_start),
        TEST(two_in_one_process_and_stop_in_a_callback),
        TEST(nobody_goes_with_a_server),
        TEST(who_is_late_says_nobody_is_gone),
    };
    return cmocka_run_group_tests_name("io/mdns", tests, NULL, NULL);
}
