/* Addresses and their changes, in a network of the test's own: loopback alone at first. */
#include "io_test.h"

#include <linux/if_addr.h>

typedef struct seen {
    io_test t;
    kith_watch *watch;
    kith_timer *timer;
    int changes;
    uint64_t began_ns, changed_ns;
    void (*step)(struct seen *s); /* what `changed` does */
} seen;

static void ip(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof command, "ip %s", arguments);
    if (system(command)) fail_msg("%s", command);
}

/* The entry for `text`, or NULL; and whether all entries are sound. */
static const kith_interface_addr *find(kith_env *env, const char *text)
{
    static kith_interface_addr list[64];
    kith_addr want;
    size_t count = env->net->addresses(env, list, 64);
    assert_ok(kith_addr_parse(text, &want));
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(list[i].index, 0);
        assert_int_equal(list[i].addr.port, 0);
        assert_int_equal(if_nametoindex(list[i].name), list[i].index);
    }
    for (size_t i = 0; i < count; i++) {
        list[i].addr.scope = 0;
        if (kith_addr_same_ip(&list[i].addr, &want)) return &list[i];
    }
    return NULL;
}

static void wait_for(kith_env *env, const char *text)
{
    while (!find(env, text)) usleep(10000);
}

static void test_only_loopback(void **state)
{
    (void)state;
    io_test t = io_test_new();
    kith_interface_addr list[8];
    memset(list, 0xaa, sizeof list);
    size_t count = t.env->net->addresses(t.env, list, 1);
    assert_true(count >= 1);                     /* 127.0.0.1, ::1 */
    assert_int_equal(list[1].index, 0xaaaaaaaa); /* not past the cap, although there may be more */
    assert_int_equal(t.env->net->addresses(t.env, NULL, 0), count);
    const kith_interface_addr *lo = find(t.env, "127.0.0.1");
    assert_non_null(lo);
    assert_string_equal(lo->name, "lo");
    io_test_end(&t);
}

static void stop(seen *s)
{
    s->t.env->net->unwatch(s->watch);
    s->t.env->net->unwatch(NULL);
    s->t.env->timers->close(s->timer);
    kith_io_stop(s->t.io);
}

static void on_changed(void *user)
{
    seen *s = user;
    s->changes++;
    s->changed_ns = s->t.env->base->now_ns(s->t.env);
    s->step(s);
}

static void begin(seen *s, void (*step)(seen *))
{
    *s = (seen){.t = io_test_new(), .step = step};
    assert_ok(s->t.env->net->watch(s->t.env, on_changed, s, &s->watch));
    s->began_ns = s->t.env->base->now_ns(s->t.env);
}

static void end(seen *s)
{
    kith_io_run(s->t.io);
    io_test_end(&s->t);
}

/* A pair of links, one of them used by the tests that follow.  The kernel may take a second to find that the cable is
 * in. */
static void test_links(void **state)
{
    (void)state;
    io_test t = io_test_new();
    ip("link add d0 type veth peer name d9");
    ip("link set d0 addrgenmode none"); /* no address comes later by itself */
    ip("link set d9 addrgenmode none");
    ip("link set d9 up");
    write_text("/proc/sys/net/ipv6/conf/d0/keep_addr_on_down", "1");
    ip("addr add 10.1.0.9/24 dev d0");
    assert_null(find(t.env, "10.1.0.9")); /* down yet */
    ip("link set d0 up");
    wait_for(t.env, "10.1.0.9");
    io_test_end(&t);
}

/* A burst of changes is told once, 200 ms later, when the list is what it became; loopback is left out now. */
static void test_added(void **state)
{
    (void)state;
    seen s;
    begin(&s, stop);
    ip("addr add 10.1.0.1/24 dev d0");
    ip("addr add 10.1.0.2/24 dev d0 label d0:second");
    ip("addr add fd00:1::1/64 dev d0 nodad");
    end(&s);
    assert_int_equal(s.changes, 1);
    assert_true(s.changed_ns - s.began_ns >= 200 * MS);
    io_test t = io_test_new();
    const kith_interface_addr *a = find(t.env, "10.1.0.1");
    assert_non_null(a);
    assert_string_equal(a->name, "d0");
    a = find(t.env, "10.1.0.2");
    assert_non_null(a);
    assert_string_equal(a->name, "d0"); /* the interface, not the label */
    assert_non_null(find(t.env, "fd00:1::1"));
    assert_null(find(t.env, "127.0.0.1"));
    assert_null(find(t.env, "::1"));
    io_test_end(&t);
}

/* A link-local address says on which interface it is. */
static void test_link_local(void **state)
{
    (void)state;
    io_test t = io_test_new();
    ip("addr add fe80::77/64 dev d0 nodad");
    kith_interface_addr list[64];
    size_t count = t.env->net->addresses(t.env, list, 64), found = 0;
    for (size_t i = 0; i < count; i++) {
        bool local = list[i].addr.family == KITH_FAMILY_IPV6 && kith_addr_is_link_local(&list[i].addr);
        if (local) assert_int_equal(list[i].addr.scope, list[i].index);
        found += local;
    }
    assert_true(found >= 1);
    io_test_end(&t);
}

/* While duplicates are looked for (for ever here, with so many probes) the address is not listed. */
static void test_tentative(void **state)
{
    (void)state;
    io_test t = io_test_new();
    ip("link add v0 type veth peer name v1");
    write_text("/proc/sys/net/ipv6/conf/v0/dad_transmits", "1000");
    write_text("/proc/sys/net/ipv6/conf/v0/accept_dad", "1");
    ip("link set v1 up");
    ip("link set v0 up");
    ip("addr add 10.2.0.1/24 dev v0");
    ip("addr add fd00:2::1/64 dev v0");
    ip("addr add fd00:2::2/64 dev v0 nodad");
    wait_for(t.env, "10.2.0.1");
    assert_non_null(find(t.env, "fd00:2::2"));
    assert_null(find(t.env, "fd00:2::1"));
    /* Up, but nothing at the other end of the cable. */
    ip("link set v1 down");
    while (find(t.env, "10.2.0.1")) usleep(10000);
    ip("link del v0");
    io_test_end(&t);
}

static void test_removed(void **state)
{
    (void)state;
    seen s;
    begin(&s, stop);
    ip("addr del 10.1.0.2/24 dev d0");
    end(&s);
    assert_int_equal(s.changes, 1);
}

/* The list ends as it was, but what used the link was cut off meanwhile. */
static void test_flapping(void **state)
{
    (void)state;
    seen s;
    begin(&s, stop);
    ip("link set d0 down");
    ip("link set d0 up");
    end(&s);
    assert_int_equal(s.changes, 1);
    io_test t = io_test_new();
    wait_for(t.env, "10.1.0.1");
    io_test_end(&t);
}

static void stop_seen(void *user) { stop(user); }

/* An address announced again (as routers make it happen every few seconds) is no news. */
static void test_refreshed(void **state)
{
    (void)state;
    seen s;
    begin(&s, stop);
    s.timer = s.t.env->timers->open(s.t.env, stop_seen, &s);
    s.t.env->timers->set(s.timer, s.began_ns + 400 * MS);
    ip("addr change fd00:1::1/64 dev d0 preferred_lft 1000 valid_lft 2000");
    ip("addr change fd00:1::1/64 dev d0 preferred_lft 1001 valid_lft 2001");
    end(&s);
    assert_int_equal(s.changes, 0);
}

/* No call after unwatch, even with a change noted already. */
static void unwatch_early(void *user)
{
    seen *s = user;
    s->t.env->net->unwatch(s->watch);
    s->watch = NULL;
    s->t.env->timers->close(s->timer);
    s->timer = s->t.env->timers->open(s->t.env, stop_seen, s);
    s->t.env->timers->set(s->timer, s->began_ns + 400 * MS);
}

static void test_unwatch(void **state)
{
    (void)state;
    seen s;
    begin(&s, stop);
    s.timer = s.t.env->timers->open(s.t.env, unwatch_early, &s);
    ip("addr add 10.1.0.3/24 dev d0");
    s.t.env->timers->set(s.timer, s.began_ns + 50 * MS);
    end(&s);
    assert_int_equal(s.changes, 0);
}

/* More events than the netlink socket holds, before the loop runs: still one call, and later changes are told, too. */
static void second_change(seen *s)
{
    if (s->changes == 1) {
        ip("addr add 10.1.0.4/24 dev d0");
    } else {
        stop(s);
    }
}

static void test_overflow(void **state)
{
    (void)state;
    seen s;
    FILE *batch = popen("ip -batch -", "w");
    assert_non_null(batch);
    begin(&s, second_change);
    for (int i = 0; i < 400; i++) fprintf(batch, "addr add 10.9.%d.%d/32 dev d0\n", i / 200, i % 200 + 1);
    for (int i = 0; i < 400; i++) fprintf(batch, "addr del 10.9.%d.%d/32 dev d0\n", i / 200, i % 200 + 1);
    assert_ok(pclose(batch));
    end(&s);
    assert_int_equal(s.changes, 2);
}

/* Without a namespace: that asking and watching work at all. */
static void test_here(void **state)
{
    (void)state;
    seen s;
    kith_interface_addr list[64];
    begin(&s, stop);
    assert_true(s.t.env->net->addresses(s.t.env, list, 64) >= 1);
    stop(&s);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest anywhere[] = {TEST(test_here)};
    const struct CMUnitTest isolated[] = {
        TEST(test_only_loopback), TEST(test_here),      TEST(test_links),    TEST(test_added),
        TEST(test_link_local),    TEST(test_tentative), TEST(test_removed),  TEST(test_flapping),
        TEST(test_refreshed),     TEST(test_unwatch),   TEST(test_overflow),
    };
    if (!own_network() || system("ip link show lo >/dev/null 2>&1")) {
        print_message("needs a network namespace and ip(8): most is left out\n");
        return cmocka_run_group_tests(anywhere, NULL, NULL);
    }
    link_up("lo", 0);
    return cmocka_run_group_tests(isolated, NULL, NULL);
}
