/* Connections with messages through kith.h, between two nodes on a real network of their own. */
#include "base/mem.h"
#include "nodes.h"

#include <kith/uv.h>

#include <pthread.h>
#include <stdatomic.h>

#define TOPIC "org.example.test/1"

static kith_node *one, *two;
static kith_device_info device_two;

static void open_two(void)
{
    kith_problem problem;
    one = start("one");
    two = start("two");
    if (kith_find(path("one"), "two", &device_two, &problem)) { /* the homes stay from case to case */
        pair_two(one, two);
        if (kith_find(path("one"), "two", &device_two, &problem)) fail_msg("%s", problem.message);
    }
}

static void close_two(void)
{
    kith_close(one);
    kith_close(two);
    one = two = NULL;
}

/* A case that failed leaves them: the next one's connections would go to them, and none of its events would come. */
static int close_what_is_left(void **state)
{
    (void)state;
    close_two();
    return 0;
}

static kith_op serve(kith_node *node)
{
    kith_op op;
    assert_ok(kith_serve(node, TOPIC, NULL, &op));
    kith_event start = await(node, KITH_EVENT_READY);
    assert_int_equal(start.op, op);
    assert_string_equal(start.name, TOPIC);
    return op;
}

/* Connected: the handles of both sides. */
static kith_op connect_two(kith_op *there)
{
    kith_connect_options options = {.size = sizeof options, .topic = TOPIC};
    kith_op here;
    assert_ok(kith_connect(one, device_two.id, &options, &here));
    kith_event incoming = await(two, KITH_EVENT_INCOMING);
    assert_string_equal(incoming.name, TOPIC);
    assert_string_equal(incoming.device.name, "one");
    *there = incoming.transfer;
    kith_event connected = await(one, KITH_EVENT_CONNECTED);
    assert_int_equal(connected.op, here);
    assert_string_equal(connected.device.name, "two");
    return here;
}

static void fill(uint8_t *data, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 7 + (i >> 9) + seed);
}

static void messages_both_ways(void **state)
{
    static uint8_t data[KITH_MESSAGE_SIZE_MAX + 1], want[KITH_MESSAGE_SIZE_MAX];
    static const size_t sizes[] = {0, 1, 1000, 65536, KITH_MESSAGE_SIZE_MAX};
    kith_remote_device_info info;
    kith_op there;
    (void)state;
    need_network();
    int64_t live = kith_mem_live();
    open_two();
    kith_op serving = serve(two), here = connect_two(&there);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill(data, sizes[i], i);
        assert_ok(kith_send_message(one, here, data, sizes[i]));
        assert_ok(kith_send_message(two, there, data, sizes[i]));
        memset(data, 0, sizes[i]); /* it was copied */
    }
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fill(want, sizes[i], i);
        kith_event a = await(two, KITH_EVENT_MESSAGE);
        assert_int_equal(a.op, there);
        assert_non_null(a.data);
        assert_int_equal(a.data_size, sizes[i]);
        assert_memory_equal(a.data, want, sizes[i]);
        kith_event b = await(one, KITH_EVENT_MESSAGE);
        assert_int_equal(b.op, here);
        assert_int_equal(b.data_size, sizes[i]);
        assert_memory_equal(b.data, want, sizes[i]);
    }
    assert_int_equal(kith_send_message(one, here, data, sizeof data), KITH_ERR_LIMIT);
    assert_int_equal(kith_send_message(one, here, NULL, 1), KITH_ERR_ARG);
    assert_ok(kith_remote_device(one, here, &info));
    assert_string_equal(info.id, device_two.id);
    assert_string_equal(info.name, "two");
    assert_string_equal(info.fingerprint, device_two.fingerprint);
    assert_int_equal(strlen(info.public_key), 64);
    assert_string_equal(info.scope, "lan");
    assert_true(info.connected && info.rtt_ns && info.trust == KITH_RELATION_OWN);
    assert_true(kith_is_connected(two, there));

    assert_ok(kith_finish(one, here));
    assert_int_equal(kith_send_message(one, here, "late", 4), KITH_ERR_STATE);
    assert_int_equal(await(one, KITH_EVENT_END).err, KITH_OK);
    kith_event end = await(two, KITH_EVENT_END);
    assert_int_equal(end.op, there);
    assert_int_equal(end.err, KITH_OK);
    assert_int_equal(kith_send_message(one, here, "late", 4), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_finish(two, there), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_remote_device(one, here, &info), KITH_ERR_NOT_FOUND);
    assert_false(kith_is_connected(one, here));
    kith_cancel(two, serving);
    assert_int_equal(await(two, KITH_EVENT_END).err, KITH_ERR_CANCELLED);
    close_two();
    assert_int_equal(kith_mem_live(), live);
}

/* Datagrams come whole or not at all; here, on a loopback, sooner or later one does. */
static void datagrams(void **state)
{
    kith_op there;
    kith_event event = {0};
    kith_remote_device_info info;
    uint8_t data[1500];
    (void)state;
    need_network();
    open_two();
    serve(two);
    kith_op here = connect_two(&there);
    fill(data, sizeof data, 5);
    for (int i = 0; i < 100 && event.kind != KITH_EVENT_DATAGRAM; i++) {
        assert_ok(kith_send_datagram(one, here, data, KITH_DATAGRAM_SIZE_SAFE));
        (void)kith_wait_event(two, 50, &event);
    }
    assert_int_equal(event.kind, KITH_EVENT_DATAGRAM);
    assert_int_equal(event.op, there);
    assert_int_equal(event.data_size, KITH_DATAGRAM_SIZE_SAFE);
    assert_memory_equal(event.data, data, event.data_size);
    assert_ok(kith_remote_device(one, here, &info));
    assert_true(info.datagram_size >= KITH_DATAGRAM_SIZE_SAFE);
    static uint8_t large[70000];
    assert_int_equal(kith_send_datagram(one, here, large, sizeof large), KITH_ERR_LIMIT);
    assert_int_equal(kith_send_datagram(one, 12345, data, 1), KITH_ERR_NOT_FOUND);
    for (int i = 0; i < 1000; i++) { /* many that nobody takes: the bound holds */
        kith_err err;
        while ((err = kith_send_datagram(one, here, &i, sizeof i)) == KITH_ERR_LOST) poll(NULL, 0, 1);
        assert_ok(err);
    }
    poll(NULL, 0, 300);
    assert_ok(kith_send_message(one, here, "end", 3));
    size_t count = 0;
    do {
        assert_true(kith_wait_event(two, PATIENCE_MS, &event));
        count += event.kind == KITH_EVENT_DATAGRAM;
    } while (event.kind != KITH_EVENT_MESSAGE);
    assert_true(count > 0 && count <= 4 * KITH_DATAGRAMS_MAX); /* at four places at most */
    close_two();
}

/* Who does not take is not sent more than the bounds; all comes when he does. */
static void who_does_not_take_is_waited_for(void **state)
{
    static uint8_t data[100000];
    kith_op there;
    size_t sent = 0, got = 0, counted = 0;
    kith_err err;
    kith_event event;
    (void)state;
    need_network();
    open_two();
    serve(two);
    kith_op here = connect_two(&there);
    do {
        fill(data, sizeof data, (unsigned)sent);
        err = kith_send_message(one, here, data, sizeof data);
        sent += !err;
    } while (!err);
    assert_int_equal(err, KITH_ERR_AGAIN);
    assert_int_equal(sent, KITH_UNDELIVERED_MAX / (sizeof data + 64));
    assert_false(kith_wait_event(one, 300, &event));
    while (got < sent) {
        event = await(two, KITH_EVENT_MESSAGE);
        fill(data, sizeof data, (unsigned)got++);
        assert_memory_equal(event.data, data, sizeof data);
        while (kith_next_event(one, &event)) counted += event.kind == KITH_EVENT_WRITABLE;
    }
    if (!counted) counted += await(one, KITH_EVENT_WRITABLE).op == here;
    assert_int_equal(counted, 1);
    assert_ok(kith_send_message(one, here, "more", 4));
    assert_int_equal(await(two, KITH_EVENT_MESSAGE).data_size, 4);
    kith_cancel(one, here);
    assert_int_equal(await(one, KITH_EVENT_END).err, KITH_ERR_CANCELLED);
    event = await(two, KITH_EVENT_END);
    assert_int_equal(event.err, KITH_ERR_CLOSED);
    assert_true(*event.message);
    close_two();
}

/* With messages nobody took, connections under way, and one that looks for a device. */
static void closing_in_the_midst(void **state)
{
    kith_op there, lonely;
    kith_event event;
    (void)state;
    need_network();
    int64_t live = kith_mem_live();
    open_two();
    serve(two);
    kith_op here = connect_two(&there);
    for (int i = 0; i < 50; i++) {
        assert_ok(kith_send_message(one, here, "message", 8));
        assert_ok(kith_send_message(two, there, "message", 8));
    }
    event = await(one, KITH_EVENT_MESSAGE); /* and looks at it still */
    kith_close(two);
    two = NULL;
    do assert_true(kith_wait_event(one, PATIENCE_MS, &event));
    while (event.kind != KITH_EVENT_END);
    assert_int_equal(event.err, KITH_ERR_CLOSED);
    kith_connect_options options = {.size = sizeof options, .topic = TOPIC};
    assert_ok(kith_connect(one, device_two.id, &options, &lonely));
    assert_ok(kith_send_message(one, lonely, "hello", 5));
    assert_false(kith_is_connected(one, lonely));
    kith_close(one);
    one = NULL;
    assert_int_equal(kith_mem_live(), live);
}

static void wrong_calls(void **state)
{
    kith_op op = 0;
    kith_event event;
    kith_remote_device_info info;
    static const char long_topic[] = "0123456789012345678901234567890123456789012345678901234567890123";
    (void)state;
    need_network();
    open_two();
    kith_connect_options options = {.size = sizeof options};
    assert_int_equal(kith_connect(one, device_two.id, NULL, &op), KITH_ERR_ARG);
    assert_int_equal(kith_connect(one, device_two.id, &options, &op), KITH_ERR_ARG);
    options.topic = long_topic;
    assert_int_equal(kith_connect(one, device_two.id, &options, &op), KITH_ERR_ARG);
    options.topic = "a\nb";
    assert_int_equal(kith_connect(one, device_two.id, &options, &op), KITH_ERR_ARG);
    options.topic = TOPIC;
    assert_int_equal(kith_connect(one, NULL, &options, &op), KITH_ERR_ARG);
    assert_int_equal(kith_serve(one, "", NULL, &op), KITH_ERR_ARG);
    assert_int_equal(kith_send_message(one, 77, "x", 1), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_remote_device(one, 77, &info), KITH_ERR_NOT_FOUND);
    assert_ok(kith_connect(one, "00000000-0000-4000-8000-000000000000", &options, &op));
    event = await(one, KITH_EVENT_END);
    assert_int_equal(event.err, KITH_ERR_NOT_FOUND);
    assert_non_null(strstr(event.message, "00000000-0000-4000-8000-000000000000 is paired here"));
    assert_ok(kith_connect(one, "no id\n", &options, &op));
    event = await(one, KITH_EVENT_END);
    assert_int_equal(event.err, KITH_ERR_ARG);
    assert_string_equal(event.message, "\"no id\\x0a\" is not the id of a device");
    serve(one);
    assert_ok(kith_serve(one, TOPIC, NULL, &op));
    event = await(one, KITH_EVENT_END);
    assert_int_equal(event.op, op);
    assert_int_equal(event.err, KITH_ERR_STATE);
    assert_ok(kith_serve(two, "another", NULL, &op)); /* so that it is found */
    (void)await(two, KITH_EVENT_READY);
    assert_ok(kith_connect(one, device_two.id, &options, &op));
    event = await(one, KITH_EVENT_END);
    assert_int_equal(event.err, KITH_ERR_NOT_ALLOWED);
    assert_non_null(strstr(event.message, TOPIC));
    close_two();
}

/* ---- threads ---- */

#define READERS  3
#define MESSAGES 3000

static atomic_size_t read_count;
static atomic_uint_least8_t read_once[MESSAGES];
static atomic_bool stop_reading;

static void *read_messages(void *user)
{
    kith_event event;
    (void)user;
    while (!atomic_load(&stop_reading)) {
        uint32_t number;
        if (!kith_wait_event(two, 20, &event) || event.kind != KITH_EVENT_MESSAGE) continue;
        memcpy(&number, event.data, sizeof number);
        for (size_t i = sizeof number; i < event.data_size; i++)
            if (((const uint8_t *)event.data)[i] != (uint8_t)number) return NULL;
        atomic_fetch_add(&read_once[number % MESSAGES], 1);
        atomic_fetch_add(&read_count, 1);
    }
    return &read_count;
}

static void many_readers(void **state)
{
    pthread_t threads[READERS];
    kith_op there;
    uint8_t message[2000];
    void *result;
    (void)state;
    need_network();
    open_two();
    serve(two);
    kith_op here = connect_two(&there);
    atomic_store(&stop_reading, false);
    for (size_t i = 0; i < READERS; i++) assert_ok(pthread_create(&threads[i], NULL, read_messages, NULL));
    for (uint32_t n = 0; n < MESSAGES; n++) {
        memset(message, (int)n, sizeof message);
        memcpy(message, &n, sizeof n);
        kith_err err;
        while ((err = kith_send_message(one, here, message, 4 + n % 1990)) == KITH_ERR_AGAIN)
            (void)await(one, KITH_EVENT_WRITABLE);
        assert_ok(err);
    }
    for (int waited = 0; atomic_load(&read_count) < MESSAGES && waited < PATIENCE_MS; waited += 10) poll(NULL, 0, 10);
    atomic_store(&stop_reading, true);
    for (size_t i = 0; i < READERS; i++) {
        assert_ok(pthread_join(threads[i], &result));
        assert_non_null(result);
    }
    for (size_t i = 0; i < MESSAGES; i++) assert_int_equal(atomic_load(&read_once[i]), 1);
    close_two();
}

/* ---- libuv ---- */

typedef struct echo {
    kith_uv adaptor[2];
    kith_op here;
    size_t echoed, stopped;
} echo;

static void on_stopped(kith_uv *adaptor) { ((echo *)adaptor->user)->stopped++; }

static void uv_event(kith_uv *adaptor, const kith_event *event)
{
    echo *e = adaptor->user;
    if (event->kind == KITH_EVENT_END) assert_int_equal(event->err, KITH_OK);
    if (adaptor->node == two && event->kind == KITH_EVENT_MESSAGE)
        assert_ok(kith_send_message(two, event->op, event->data, event->data_size));
    if (adaptor->node == one && event->kind == KITH_EVENT_CONNECTED) assert_ok(kith_send_message(one, e->here, "0", 1));
    if (adaptor->node == one && event->kind == KITH_EVENT_MESSAGE) {
        if (++e->echoed < 100)
            assert_ok(kith_send_message(one, e->here, event->data, event->data_size));
        else
            assert_ok(kith_finish(one, e->here));
    }
    if (event->kind == KITH_EVENT_END) kith_uv_stop(adaptor, on_stopped);
}

static void in_a_libuv_loop(void **state)
{
    echo e = {0};
    uv_loop_t loop;
    (void)state;
    need_network();
    open_two();
    serve(two);
    kith_connect_options options = {.size = sizeof options, .topic = TOPIC};
    assert_ok(uv_loop_init(&loop));
    assert_ok(kith_uv_start(&e.adaptor[0], &loop, one, uv_event, &e));
    assert_ok(kith_uv_start(&e.adaptor[1], &loop, two, uv_event, &e));
    assert_ok(kith_connect(one, device_two.id, &options, &e.here));
    assert_ok(uv_run(&loop, UV_RUN_DEFAULT));
    assert_int_equal(e.echoed, 100);
    assert_int_equal(e.stopped, 2);
    assert_ok(uv_loop_close(&loop));
    close_two();
}

#define TALK_TEST(function) cmocka_unit_test_teardown(function, close_what_is_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(messages_both_ways),   TALK_TEST(datagrams),   TALK_TEST(who_does_not_take_is_waited_for),
        TALK_TEST(closing_in_the_midst), TALK_TEST(wrong_calls), TALK_TEST(many_readers),
        TALK_TEST(in_a_libuv_loop),
    };
    alarm(300); /* a libuv loop waits without a limit */
    return cmocka_run_group_tests_name("api/talk", tests, set_up, tear_down);
}
