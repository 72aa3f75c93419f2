/* kith.h on a daemon, at its edges: who may be one, what programs at it share and what not, and how each side's end, or
 * want of memory, looks from the other.  (test_api_attached.c runs the usual calls through one.) */
#include "base/mem.h"
#include "nodes.h"

#include "io/io.h"

#include <fcntl.h>
#include <sys/stat.h>

static kith_node *attach_to(const char *home, kith_daemon_use use, kith_err wanted)
{
    kith_problem problem = {0};
    kith_node *node = NULL;
    kith_options options = {.size = sizeof options, .home = path(home), .daemon = use, .no_lan = true};
    kith_err err = kith_open(&options, &node, &problem);
    if (err != wanted) fail_msg("%s: %s", kith_err_name(err), problem.message);
    if (err) assert_true(*problem.message);
    return node;
}

/* A node that programs can attach to. */
static kith_node *daemon_of(const char *home, kith_op *op)
{
    kith_node *node = start(home);
    assert_ok(kith_daemon(node, op));
    kith_event event = await(node, KITH_EVENT_START);
    assert_int_equal(event.op, *op);
    assert_int_equal(access(event.path_name, F_OK), 0);
    return node;
}

static kith_event ended(kith_node *node, kith_op op)
{
    kith_event event;
    do {
        assert_true(kith_wait_event(node, PATIENCE_MS, &event));
    } while (event.kind != KITH_EVENT_END || event.op != op);
    return event;
}

static void one_for_each_home(void **state)
{
    kith_op op, again;
    kith_daemon_info info;
    (void)state;
    assert_null(attach_to("one", KITH_DAEMON_ONLY, KITH_ERR_NOT_FOUND));
    kith_node *daemon = daemon_of("one", &op), *second = start("one");
    assert_false(kith_daemon_of(daemon, &info));
    assert_ok(kith_daemon(second, &again));
    kith_event event = ended(second, again);
    assert_int_equal(event.err, KITH_ERR_STATE);
    char pid[32];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_non_null(strstr(event.message, pid));
    kith_node *program = attach_to("one", KITH_DAEMON_IF_THERE, KITH_OK);
    assert_true(kith_daemon_of(program, &info));
    assert_int_equal(info.pid, getpid());
    assert_string_equal(info.version, kith_version());
    assert_string_equal(info.folder, "");
    assert_ok(kith_daemon(program, &again)); /* it is no node itself */
    assert_int_equal(ended(program, again).err, KITH_ERR_STATE);
    /* When it takes calls no longer, another may. */
    kith_cancel(daemon, op);
    assert_int_equal(ended(daemon, op).err, KITH_ERR_CANCELLED);
    assert_ok(kith_daemon(second, &again));
    assert_int_equal(await(second, KITH_EVENT_START).op, again);
    kith_close(program);
    kith_close(second);
    assert_null(attach_to("one", KITH_DAEMON_ONLY, KITH_ERR_NOT_FOUND));
    kith_close(daemon);
    /* None: a node of one's own, which without a password only looks around. */
    program = attach_to("one", KITH_DAEMON_IF_THERE, KITH_OK);
    assert_false(kith_daemon_of(program, &info));
    kith_close(program);
}

static void set(const char *key, const char *value)
{
    kith_problem problem;
    if (kith_config_set(path("five"), key, value, &problem)) fail_msg("%s", problem.message);
}

/* The relays of a node with these options, as who attaches to it is told; "": none. */
static void relays_of(kith_options options, const char *first, const char *second)
{
    kith_problem problem = {0};
    kith_daemon_info info;
    kith_node *daemon = NULL;
    kith_op op;
    options.size = sizeof options;
    options.home = path("five");
    options.password = "secret";
    options.password_size = 6;
    if (kith_open(&options, &daemon, &problem)) fail_msg("%s", problem.message);
    assert_ok(kith_daemon(daemon, &op));
    (void)await(daemon, KITH_EVENT_START);
    kith_node *program = attach_to("five", KITH_DAEMON_ONLY, KITH_OK);
    assert_true(kith_daemon_of(program, &info));
    assert_string_equal(info.relays[0].url, first);
    assert_string_equal(info.relays[1].url, second);
    kith_close(program);
    kith_close(daemon);
}

/* What is left out of kith_options is as config.json says. */
static void a_home_with_settings(void **state)
{
    static const char *const other[] = {"ws://127.0.0.1:9"};
    kith_problem problem = {0};
    kith_node *node = NULL, *second = NULL;
    char value[KITH_SETTING_TEXT], taken[2][KITH_ADDRESS_TEXT];
    bool is_set = true;
    (void)state;
    assert_ok(init("five", &problem));
    assert_ok(kith_config_get(path("five"), "relay", value, &is_set, &problem));
    assert_false(is_set);
    assert_string_equal(value, "none");
    assert_int_equal(kith_config_get(path("five"), "relays", value, &is_set, &problem), KITH_ERR_ARG);
    assert_non_null(strstr(problem.message, "relay-token-file"));
    assert_int_equal(kith_config_set(path("five"), "relays", "none", &problem), KITH_ERR_ARG);
    assert_int_equal(kith_config_set(path("five"), "relay", "x", &problem), KITH_ERR_ARG);
    assert_non_null(strstr(problem.message, "wss://"));
    relays_of((kith_options){.no_lan = true}, "", "");
    set("relay", "ws://127.0.0.1:7 ws://127.0.0.1:8");
    assert_ok(kith_config_get(path("five"), "relay", value, &is_set, &problem));
    assert_true(is_set);
    relays_of((kith_options){.no_lan = true}, "ws://127.0.0.1:7", "ws://127.0.0.1:8");
    relays_of((kith_options){.relays = other, .relay_count = 1}, "ws://127.0.0.1:9", "");
    relays_of((kith_options){.relays = other}, "", "");
    relays_of((kith_options){.no_config = true}, "", "");
    set("relay-token-file", path("no-token"));
    kith_options options = {
        .size = sizeof options, .home = path("five"), .password = "secret", .password_size = 6, .no_lan = true};
    assert_int_equal(kith_open(&options, &node, &problem), KITH_ERR_NO_FILE);
    assert_non_null(strstr(problem.message, "relay-token-file"));
    relays_of((kith_options){.relay_token = "t"}, "ws://127.0.0.1:7", "ws://127.0.0.1:8");
    relays_of((kith_options){.relays = other, .relay_count = 1}, "ws://127.0.0.1:9", ""); /* no others' token */
    set("relay", NULL);
    /* An address for good is taken by the first of several nodes; one that is asked for by it or nobody. */
    options.listen = "127.0.0.1:0";
    if (kith_open(&options, &node, &problem)) fail_msg("%s", problem.message);
    assert_int_equal(kith_addresses(node, taken, 1), 1);
    kith_close(node);
    set("listen", taken[0]);
    options.listen = NULL;
    if (kith_open(&options, &node, &problem)) fail_msg("%s", problem.message);
    if (kith_open(&options, &second, &problem)) fail_msg("%s", problem.message);
    assert_int_equal(kith_addresses(node, &taken[1], 1), 1);
    assert_string_equal(taken[0], taken[1]);
    assert_int_equal(kith_addresses(second, &taken[1], 1), 1);
    assert_string_not_equal(taken[0], taken[1]);
    assert_memory_equal(taken[1], "127.0.0.1:", 10);
    kith_close(second);
    options.listen = taken[0];
    assert_int_equal(kith_open(&options, &second, &problem), KITH_ERR_ADDRESS_IN_USE);
    kith_close(node);
    assert_int_equal(truncate(path("five/config.json"), 5), 0);
    assert_int_equal(kith_open(&options, &node, &problem), KITH_ERR_DAMAGED);
    assert_non_null(strstr(problem.message, "config.json"));
}

/* A runtime folder in which others may write is none. */
static void whose_folder_it_is_in(void **state)
{
    kith_op op;
    (void)state;
    char run[256], *before = getenv("XDG_RUNTIME_DIR");
    before = before ? strdup(before) : NULL;
    snprintf(run, sizeof run, "%s", path("run"));
    assert_int_equal(mkdir(run, 0700), 0);
    setenv("XDG_RUNTIME_DIR", run, 1);
    for (int others = 0; others < 2; others++) {
        kith_node *node = start("one");
        assert_int_equal(chmod(run, others ? 0777 : 0700), 0);
        assert_ok(kith_daemon(node, &op));
        kith_event event = await(node, KITH_EVENT_START);
        assert_int_equal(strncmp(event.path_name, run, strlen(run)) == 0, !others);
        kith_close(node);
    }
    if (before)
        setenv("XDG_RUNTIME_DIR", before, 1);
    else
        unsetenv("XDG_RUNTIME_DIR");
    free(before);
}

static void programs_do_not_see_each_other(void **state)
{
    kith_op op, ops[2], other;
    kith_event event;
    (void)state;
    kith_node *daemon = daemon_of("one", &op);
    kith_node *a = attach_to("one", KITH_DAEMON_ONLY, KITH_OK), *b = attach_to("one", KITH_DAEMON_ONLY, KITH_OK);
    kith_receive_options receive = {.size = sizeof receive, .folder = base};
    assert_ok(kith_receive(a, &receive, &ops[0]));
    assert_ok(kith_receive(b, &receive, &ops[1]));
    assert_int_equal(ops[0], ops[1]); /* each numbers its own */
    assert_ok(kith_receive(a, &receive, &other));
    assert_int_equal(ended(a, other).err, KITH_ERR_STATE); /* one at a time */
    kith_cancel(b, ops[1]);
    assert_int_equal(ended(b, ops[1]).err, KITH_ERR_CANCELLED);
    settle(a);
    assert_false(kith_next_event(a, &event));
    assert_false(kith_next_event(b, &event));
    /* One code at a time; who shows it goes, and with it the code. */
    assert_ok(kith_pair(a, NULL, &op));
    (void)await(a, KITH_EVENT_CODE);
    assert_ok(kith_pair(b, NULL, &op));
    assert_int_equal(ended(b, op).err, KITH_ERR_STATE);
    kith_close(a);
    kith_err err = KITH_ERR_STATE;
    for (int tries = 0; err == KITH_ERR_STATE && tries < 1000; tries++) {
        assert_ok(kith_pair(b, NULL, &op));
        assert_true(kith_wait_event(b, PATIENCE_MS, &event));
        err = event.kind == KITH_EVENT_END ? event.err : KITH_OK;
    }
    assert_ok(err);
    assert_int_equal(event.kind, KITH_EVENT_CODE);
    kith_close(b);
    kith_close(daemon);
}

static void too_many_operations(void **state)
{
    kith_op op, first = 0, over;
    (void)state;
    kith_node *daemon = daemon_of("one", &op), *program = attach_to("one", KITH_DAEMON_ONLY, KITH_OK);
    for (int i = 0; i < KITH_DAEMON_OPS_MAX; i++) assert_ok(kith_look(program, first ? &op : &first));
    assert_ok(kith_look(program, &over));
    assert_int_equal(ended(program, over).err, KITH_ERR_LIMIT);
    kith_cancel(program, first);
    assert_int_equal(ended(program, first).err, KITH_ERR_CANCELLED);
    assert_ok(kith_look(program, &over));
    settle(program); /* or it would END */
    kith_close(program);
    kith_close(daemon);
}

static void its_end_is_told(void **state)
{
    kith_op up, op, down, late;
    (void)state;
    kith_node *daemon = daemon_of("one", &up);
    kith_node *a = attach_to("one", KITH_DAEMON_ONLY, KITH_OK), *b = attach_to("one", KITH_DAEMON_ONLY, KITH_OK);
    assert_ok(kith_look(a, &op));
    settle(a);
    assert_ok(kith_down(b, &down));
    assert_int_equal(ended(daemon, up).err, KITH_OK);
    kith_close(daemon);
    kith_event event = ended(a, op);
    assert_int_equal(event.err, KITH_ERR_CLOSED);
    assert_non_null(strstr(event.message, "kith up"));
    assert_int_equal(ended(b, down).err, KITH_OK);
    assert_ok(kith_look(a, &late));
    assert_int_equal(ended(a, late).err, KITH_ERR_LOST);
    assert_ok(kith_down(a, &late));
    assert_int_equal(ended(a, late).err, KITH_OK); /* it is down */
    kith_close(a);
    kith_close(b);
    kith_node *alone = start("one");
    assert_ok(kith_down(alone, &down));
    assert_int_equal(ended(alone, down).err, KITH_ERR_STATE);
    assert_int_equal(kith_inbox_answer(alone, 0, true, &op), KITH_ERR_ARG);
    assert_ok(kith_inbox_answer(alone, 7, true, &op));
    assert_int_equal(ended(alone, op).err, KITH_ERR_NOT_FOUND);
    kith_close(alone);
}

/* Each allocation fails once, the program's or the daemon's: an error, or it goes well, and nothing is left over. */
static void attach_without_memory(void **state)
{
    kith_op up, op;
    size_t refused = 0;
    (void)state;
    kith_node *daemon = daemon_of("one", &up);
    kith_close(attach_to("one", KITH_DAEMON_ONLY, KITH_OK));
    size_t leaked = kith_io_leaked();
    for (uint64_t n = 1;; n++) {
        kith_problem problem;
        kith_node *program = NULL;
        kith_options options = {.size = sizeof options, .home = path("one"), .daemon = KITH_DAEMON_ONLY};
        kith_mem_fail_at(n, false);
        kith_err err = kith_open(&options, &program, &problem);
        if (!err) err = kith_look(program, &op);
        if (!err) {
            kith_cancel(program, op);
            kith_cancel(program, op); /* the first may have had no memory */
            err = ended(program, op).err;
            if (err == KITH_ERR_CANCELLED) err = KITH_OK;
        }
        kith_close(program);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        assert_true(!err || err == KITH_ERR_NOMEM || err == KITH_ERR_LOST);
        refused += err != KITH_OK;
        if (!failed) break;
    }
    assert_true(refused > 5);
    kith_close(daemon);
    assert_int_equal(kith_io_leaked(), leaked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_home_with_settings),  TEST(one_for_each_home),
                                       TEST(whose_folder_it_is_in), TEST(programs_do_not_see_each_other),
                                       TEST(too_many_operations),   TEST(its_end_is_told),
                                       TEST(attach_without_memory)};
    return cmocka_run_group_tests_name("api/daemon", tests, set_up, tear_down);
}
