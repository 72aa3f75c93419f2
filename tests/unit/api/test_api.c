/* Two nodes of kith.h in one process, on the real env, in a network of their own: what an application does. */
#include "base/mem.h"
#include "nodes.h"

#include <fcntl.h>
#include <sys/stat.h>

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
    assert_int_equal(await(two, KITH_EVENT_READY).op, receiving);
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

/* Each file is asked about, and goes where the answer says. */
static void each_to_its_place(void **state)
{
    (void)state;
    need_network();
    kith_node *one = start("one"), *two = start("two");
    kith_device_info device;
    kith_problem problem;
    kith_op op, receiving;
    if (kith_find(path("one"), "two", &device, &problem)) fail_msg("%s", problem.message);
    kith_receive_options receive = {.size = sizeof receive, .ask = true};
    assert_ok(kith_receive(two, &receive, &receiving));
    assert_int_equal(await(two, KITH_EVENT_READY).op, receiving);
    make_file("film", 3000000);
    assert_int_equal(mkdir(path("own"), 0700), 0);
    for (int i = 0; i < 2; i++) {
        char place[256];
        snprintf(place, sizeof place, "%s", path("own/renamed"));
        assert_ok(kith_send_file(one, device.id, path("film"), NULL, &op));
        kith_event offer = await(two, KITH_EVENT_OFFER);
        assert_int_equal(offer.op, receiving);
        assert_string_equal(offer.name, "film");
        assert_string_equal(offer.device.name, "one");
        assert_ok(kith_receive_file(two, offer.transfer, place, KITH_CONFLICT_OVERWRITE));
        memset(place, 'x', sizeof place - 1);
        kith_event file = await(two, KITH_EVENT_FILE);
        assert_int_equal(file.transfer, offer.transfer);
        assert_string_equal(file.path_name, path("own/renamed"));
        assert_int_equal(await(one, KITH_EVENT_END).err, KITH_OK);
        same_file("film", "own/renamed");
        make_file("film", 2000000); /* the next one replaces it */
    }
    assert_ok(kith_send_file(one, device.id, path("film"), NULL, &op));
    kith_op transfer = await(two, KITH_EVENT_OFFER).transfer;
    assert_ok(kith_answer(two, transfer, true)); /* where to? */
    assert_int_equal(await(two, KITH_EVENT_FAILED).err, KITH_ERR_DECLINED);
    assert_int_equal(await(one, KITH_EVENT_END).err, KITH_ERR_DECLINED);
    kith_close(one);
    kith_close(two);
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
    kith_problem problem;
    kith_node *node = NULL;
    assert_ok(init("three", &problem));
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
        TEST(each_to_its_place),
        TEST(wrong_calls_are_said),
        TEST(a_wrong_password_opens_nothing),
    };
    return cmocka_run_group_tests_name("api/calls", tests, set_up, tear_down);
}
