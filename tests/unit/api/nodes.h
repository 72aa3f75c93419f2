/* Nodes of kith.h in one process, on the real env, in a network of their own. */
#ifndef KITH_TEST_NODES_H
#define KITH_TEST_NODES_H

#include "testlib.h"

#include <kith/kith.h>

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNUSED      __attribute__((unused))
#define PATIENCE_MS 60000 /* against a hang; nothing is measured */

static char base[64];
static bool network;

static UNUSED char *path(const char *name)
{
    static char texts[8][256];
    static unsigned next;
    char *out = texts[next++ % 8];
    snprintf(out, sizeof texts[0], "%s/%s", base, name);
    return out;
}

/* A network with one interface that has multicast, where this is allowed. */
static UNUSED int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/kith-api-XXXXXX");
    assert_non_null(mkdtemp(base));
    network = unshare(CLONE_NEWNET) == 0 && system("ip link set lo up && ip link add kith0 type veth peer name kith1 "
                                                   "&& ip addr add 10.9.8.7/24 dev kith0 && ip link set kith1 up "
                                                   "&& ip link set kith0 up multicast on") == 0;
    return 0;
}

static UNUSED int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

static UNUSED void need_network(void)
{
    if (network) return;
    printf("skip: network namespaces are not allowed here\n");
    skip();
}

static void show(void *user, kith_level level, const char *line)
{
    if (getenv("KITH_TEST_LOG")) fprintf(stderr, "%s %d %s\n", (const char *)user, (int)level, line);
}

static UNUSED kith_err init(const char *home, kith_problem *problem)
{
    const kith_init_options options = {.size = sizeof options, .name = home, .password = "secret", .password_size = 6};
    kith_init_result made = {.size = sizeof made};
    return kith_init(path(home), &options, &made, problem);
}

#ifdef THROUGH_DAEMON
/* Each node is a daemon, and the application a program attached to it. */
static struct pair_of_nodes {
    kith_node *program, *daemon;
} attached[16];

static kith_node *attach(const char *home, kith_node *daemon)
{
    kith_problem problem;
    kith_options options = {.size = sizeof options, .home = path(home), .daemon = KITH_DAEMON_ONLY};
    kith_err err = KITH_ERR_NOT_FOUND;
    kith_op op;
    size_t i = 0;
    while (attached[i].program) i++;
    assert_ok(kith_daemon(daemon, &op));
    attached[i].daemon = daemon;
    for (int waited = 0; err == KITH_ERR_NOT_FOUND && waited < PATIENCE_MS; waited += 10) {
        err = kith_open(&options, &attached[i].program, &problem);
        if (err) usleep(10000);
    }
    if (err) fail_msg("%s", problem.message);
    return attached[i].program;
}

static UNUSED void close_both(kith_node *node)
{
    kith_node *daemon = NULL;
    for (size_t i = 0; i < sizeof attached / sizeof *attached; i++) {
        if (!node || attached[i].program != node) continue;
        daemon = attached[i].daemon;
        attached[i].program = attached[i].daemon = NULL;
    }
    kith_close(node);
    kith_close(daemon);
}
#define kith_close close_both
#else
static kith_node *attach(const char *home, kith_node *node) { return home ? node : NULL; }
#endif

static UNUSED kith_node *start(const char *home)
{
    kith_problem problem;
    kith_node *node = NULL;
    if (init(home, &problem)) fail_msg("%s", problem.message);
    kith_options options = {.size = sizeof options,
                            .home = path(home),
                            .password = "secret",
                            .password_size = 6,
                            .log = show,
                            .log_level = KITH_LOG_DEBUG};
    options.log_user = (void *)(uintptr_t)home;
    if (kith_open(&options, &node, &problem)) fail_msg("%s", problem.message);
    return attach(home, node);
}

/* The next event of this kind; other kinds are passed over, an END in their place fails. */
static UNUSED kith_event await(kith_node *node, kith_event_kind kind)
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

/* What was asked of the node before is under way. */
static UNUSED void settle(kith_node *node)
{
    kith_op op;
    assert_ok(kith_inbox(node, &op));
    assert_int_equal(await(node, KITH_EVENT_END).op, op);
}

static UNUSED void pair_two(kith_node *a, kith_node *b)
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

#endif
