/* Two nodes of kith.h in one process, on the real env, in a network of their own: what an application does. */
#include "base/mem.h"
#include "crypto/kdf.h"
#include "testlib.h"

#include <kith/kith.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 60000 /* against a hang; nothing is measured */

static char base[64];
static bool network;

static char *path(const char *name)
{
    static char texts[8][256];
    static unsigned next;
    char *out = texts[next++ % 8];
    snprintf(out, sizeof texts[0], "%s/%s", base, name);
    return out;
}

/* A network with one interface that has multicast, where this is allowed. */
static int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/kith-api-XXXXXX");
    assert_non_null(mkdtemp(base));
    network = unshare(CLONE_NEWNET) == 0 && system("ip link set lo up && ip link add kith0 type veth peer name kith1 "
                                                   "&& ip addr add 10.9.8.7/24 dev kith0 && ip link set kith1 up "
                                                   "&& ip link set kith0 up multicast on") == 0;
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

static void need_network(void)
{
    if (network) return;
    printf("skip test_api: network namespaces are not allowed here\n");
    skip();
}

static void show(void *user, kith_level level, const char *line)
{
    if (getenv("KITH_TEST_LOG")) fprintf(stderr, "%s %d %s\n", (const char *)user, (int)level, line);
}

static kith_node *start(const char *home)
{
    kith_device_info self;
    kith_problem problem;
    kith_node *node = NULL;
    bool created;
    if (kith_init(path(home), home, "secret", 6, &self, &created, &problem)) fail_msg("%s", problem.message);
    kith_options options = {.size = sizeof options,
                            .home = path(home),
                            .password = "secret",
                            .password_size = 6,
                            .log = show,
                            .log_level = KITH_LOG_DEBUG};
    options.log_user = (void *)(uintptr_t)home;
    if (kith_open(&options, &node, &problem)) fail_msg("%s", problem.message);
    return node;
}

/* The next event of this kind; other kinds are passed over, an END in their place fails. */
static kith_event await(kith_node *node, kith_event_kind kind)
{
    kith_event event;
    for (int waited = 0; waited < PATIENCE_MS; waited += 50) {
        while (kith_next_event(node, &event)) {
            if (event.kind == kind) return event;
            if (event.kind == KITH_EVENT_END || event.kind == KITH_EVENT_FAILED)
                fail_msg("ended: %s: %s", kith_err_name(event.err), event.message);
        }
        struct pollfd p = {.fd = kith_fd(node), .events = POLLIN};
        poll(&p, 1, 50);
    }
    fail_msg("event %d did not come", (int)kind);
    return event;
}

static void pair_two(kith_node *a, kith_node *b)
{
    kith_op host, joiner;
    kith_pair_options options = {.size = sizeof options};
    assert_ok(kith_pair(a, &options, &host));
    kith_event code = await(a, KITH_EVENT_CODE);
    assert_ok(kith_join(b, code.words, &options, &joiner));
    kith_event ask_a = await(a, KITH_EVENT_ASK), ask_b = await(b, KITH_EVENT_ASK);
    assert_string_equal(ask_a.device.name, "two");
    assert_string_equal(ask_b.device.name, "one");
    assert_ok(kith_answer(a, host, true));
    assert_ok(kith_answer(b, joiner, true));
    assert_string_equal(await(a, KITH_EVENT_PAIRED).device.name, "two");
    assert_string_equal(await(b, KITH_EVENT_PAIRED).device.name, "one");
    assert_int_equal(await(a, KITH_EVENT_END).err, KITH_OK);
    assert_int_equal(await(b, KITH_EVENT_END).err, KITH_OK);
}

static void make_file(const char *name, size_t size)
{
    int fd = open(path(name), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    uint8_t block[65536];
    for (size_t at = 0; at < size; at += sizeof block) {
        for (size_t i = 0; i < sizeof block; i++) block[i] = (uint8_t)((at >> 12) * 31 + i * 7 + (i >> 8));
        size_t n = size - at < sizeof block ? size - at : sizeof block;
        assert_int_equal(write(fd, block, n), n);
    }
    close(fd);
}

static void same_file(const char *a, const char *b)
{
    char command[600];
    snprintf(command, sizeof command, "cmp %s %s", path(a), path(b));
    assert_int_equal(system(command), 0);
}

static void pair_ping_and_send(void **state)
{
    (void)state;
    need_network();
    int64_t live = kith_mem_live();
    kith_node *one = start("one"), *two = start("two");
    kith_op op, receiving;
    kith_device_info device;
    kith_problem problem;
    pair_two(one, two);
    if (kith_find(path("one"), "two", &device, &problem)) fail_msg("%s", problem.message);
    assert_int_equal(device.trust, KITH_RELATION_OWN);

    assert_int_equal(mkdir(path("in"), 0700), 0);
    kith_receive_options receive = {.size = sizeof receive, .folder = path("in")};
    assert_ok(kith_receive(two, &receive, &receiving));
    assert_ok(kith_ping(one, device.id, 1, &op));
    assert_true(await(one, KITH_EVENT_PONG).rtt_ns > 0);
    assert_int_equal(await(one, KITH_EVENT_END).err, KITH_OK);

    static const size_t sizes[] = {0, 1, 5000000, 40000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32], arrived[40];
        snprintf(name, sizeof name, "file%zu", i);
        snprintf(arrived, sizeof arrived, "in/%s", name);
        make_file(name, sizes[i]);
        assert_ok(kith_send_file(one, device.id, path(name), NULL, &op));
        kith_event got = await(two, KITH_EVENT_FILE), sent = await(one, KITH_EVENT_SENT);
        assert_int_equal(await(one, KITH_EVENT_END).err, KITH_OK);
        assert_string_equal(got.hash, sent.hash);
        assert_int_equal(got.bytes_total, sizes[i]);
        same_file(name, arrived);
    }
    kith_cancel(two, receiving);
    assert_int_equal(await(two, KITH_EVENT_END).err, KITH_ERR_CANCELLED);
    kith_close(one);
    kith_close(two);
    assert_int_equal(kith_mem_live(), live);
}

static void wrong_calls_are_said(void **state)
{
    (void)state;
    need_network();
    kith_node *one = start("one");
    kith_op op;
    assert_ok(kith_ping(one, "no uuid", 1, &op));
    kith_event end = await(one, KITH_EVENT_END);
    assert_int_equal(end.op, op);
    assert_int_equal(end.err, KITH_ERR_ARG);
    assert_ok(kith_ping(one, "00000000-0000-4000-8000-000000000000", 1, &op));
    assert_int_equal(await(one, KITH_EVENT_END).err, KITH_ERR_NOT_FOUND);
    assert_ok(kith_join(one, "just four words here", NULL, &op));
    end = await(one, KITH_EVENT_END);
    assert_int_equal(end.err, KITH_ERR_CODE);
    kith_close(one); /* with nothing under way, and below with much */
    one = start("one");
    kith_receive_options receive = {.size = sizeof receive, .folder = base};
    assert_ok(kith_receive(one, &receive, &op));
    assert_ok(kith_pair(one, NULL, &op));
    assert_ok(kith_look(one, &op));
    kith_close(one);
    kith_close(NULL);
}

static void a_wrong_password_opens_nothing(void **state)
{
    (void)state;
    kith_device_info self;
    kith_problem problem;
    kith_node *node = NULL;
    bool created;
    assert_ok(kith_init(path("three"), "three", "secret", 6, &self, &created, &problem));
    kith_options options = {.size = sizeof options, .home = path("three"), .password = "Secret", .password_size = 6};
    assert_int_equal(kith_open(&options, &node, &problem), KITH_ERR_PASSWORD);
    assert_null(node);
    options.home = path("nowhere");
    assert_int_equal(kith_open(&options, &node, &problem), KITH_ERR_NO_IDENTITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pair_ping_and_send),
        TEST(wrong_calls_are_said),
        TEST(a_wrong_password_opens_nothing),
    };
    return cmocka_run_group_tests_name("node/api", tests, set_up, tear_down);
}
