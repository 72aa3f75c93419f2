/* kith.h at its edges: memory that runs out, options of other sizes, NULL, calls from many threads. */
#include "base/mem.h"
#include "crypto/rng.h"
#include "io/io.h"
#include "store/home.h"
#include "testlib.h"

#include <kith/kith.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char base[64], home[96];

/* A home whose key costs nothing to derive. */
static int set_up(void **state)
{
    uint8_t seed[KITH_RNG_SEED_SIZE] = {1};
    kith_rng rng;
    kith_io *io;
    kith_home *h;
    kith_home_self self;
    kith_problem problem = {0};
    bool created;
    (void)state;
    strcpy(base, "/tmp/kith-edges-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(home, sizeof home, "%s/home", base);
    assert_ok(kith_crypto_init());
    assert_ok(kith_io_new(&io));
    assert_ok(kith_home_open(kith_io_env(io), home, &h));
    kith_rng_init(&rng, seed);
    kith_home_init_options options = {.name = "one",
                                      .os = "",
                                      .hardware_model = "",
                                      .password = {"pw", 2},
                                      .kdf = {.memory_kib = 8, .passes = 1, .lanes = 1},
                                      .rng = &rng,
                                      .now_ms = 1};
    if (kith_home_init(h, &options, &self, &created, &problem)) fail_msg("%s", problem.message);
    kith_home_close(h);
    kith_io_free(io);
    return 0;
}

/* Settings of which memory is needed. */
static void with_settings(void)
{
    kith_problem problem;
    char token[96];
    snprintf(token, sizeof token, "%s/token", base);
    FILE *f = fopen(token, "w");
    assert_non_null(f);
    fputs("secret\n", f);
    fclose(f);
    assert_ok(kith_config_set(home, "relay", "ws://127.0.0.1:9", &problem));
    assert_ok(kith_config_set(home, "relay-token-file", token, &problem));
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

static kith_options usual(void)
{
    return (kith_options){.size = sizeof(kith_options),
                          .home = home,
                          .password = "pw",
                          .password_size = 2,
                          .listen = "127.0.0.1:0",
                          .no_lan = true};
}

static kith_node *opened(void)
{
    kith_options options = usual();
    kith_problem problem;
    kith_node *node = NULL;
    if (kith_open(&options, &node, &problem)) fail_msg("%s", problem.message);
    return node;
}

/* Each allocation of kith_open fails once: an error with a sentence and nothing left over, or it did without. */
static void open_without_memory(void **state)
{
    (void)state;
    kith_problem problem;
    with_settings();
    kith_close(opened()); /* what libraries keep for good is there */
    size_t refused = 0;
    for (uint64_t n = 1;; n++) {
        kith_options options = usual();
        kith_node *node = NULL;
        int64_t live = kith_mem_live();
        size_t leaked = kith_io_leaked();
        kith_mem_fail_at(n, false);
        kith_err err = kith_open(&options, &node, &problem);
        if (err) {
            kith_mem_fail_at(0, false);
            assert_int_equal(err, KITH_ERR_NOMEM);
            assert_null(node);
            assert_true(*problem.message);
            refused++;
        }
        kith_close(node);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        assert_int_equal(kith_mem_live(), live);
        assert_int_equal(kith_io_leaked(), leaked);
        if (!err && !failed) break;
    }
    assert_true(refused > 20);
    assert_ok(kith_config_set(home, "relay", NULL, &problem));
}

static kith_event await_end(kith_node *node, kith_op op)
{
    kith_event event;
    for (;;) {
        while (kith_next_event(node, &event))
            if (event.kind == KITH_EVENT_END && event.op == op) return event;
        struct pollfd p = {.fd = kith_fd(node), .events = POLLIN};
        poll(&p, 1, 100);
    }
}

/* Once a call was taken its END comes, although no memory is left for anything. */
static void an_end_needs_no_memory(void **state)
{
    (void)state;
    kith_node *node = opened();
    kith_op ops[5];
    kith_receive_options receive = {.size = sizeof receive, .folder = base};
    for (int kind = 0; kind < 5; kind++) {
        kith_err err = KITH_ERR_NOMEM;
        if (kind == 0) err = kith_pair(node, NULL, &ops[kind]);
        if (kind == 1) err = kith_join(node, "zoo zoo zoo zoo zoo zoo", NULL, &ops[kind]);
        if (kind == 2) err = kith_look(node, &ops[kind]);
        if (kind == 3) err = kith_receive(node, &receive, &ops[kind]);
        if (kind == 4) err = kith_ping(node, "00000000-0000-4000-8000-000000000000", 1, &ops[kind]);
        assert_ok(err);
    }
    assert_int_equal(await_end(node, ops[4]).err, KITH_ERR_NOT_FOUND);
    for (int kind = 0; kind < 4; kind++) kith_cancel(node, ops[kind]);
    kith_mem_fail_at(1, true);
    for (int kind = 0; kind < 4; kind++) assert_int_equal(await_end(node, ops[kind]).err, KITH_ERR_CANCELLED);
    kith_op none = 0;
    assert_int_equal(kith_look(node, &none), KITH_ERR_NOMEM);
    assert_int_equal(none, 0);
    kith_close(node); /* needs none either */
    kith_mem_fail_at(0, false);
}

static void options_of_other_sizes(void **state)
{
    (void)state;
    struct {
        kith_options known;
        uint64_t unknown;
    } larger = {.known = usual()};
    kith_problem problem;
    kith_node *node = NULL;
    larger.known.size = sizeof larger;
    assert_ok(kith_open(&larger.known, &node, &problem));
    kith_close(node);
    node = NULL;
    larger.unknown = 1; /* something we could not do */
    assert_int_equal(kith_open(&larger.known, &node, &problem), KITH_ERR_ARG);
    assert_null(node);
    kith_options options = usual();
    options.size = 0; /* forgotten */
    assert_int_equal(kith_open(&options, &node, &problem), KITH_ERR_ARG);
    options = usual();
    options.home = NULL;
    assert_int_equal(kith_open(&options, &node, &problem), KITH_ERR_ARG);

    /* An older caller, whose options ended here: what follows in its memory is not looked at. */
    kith_op op;
    node = opened();
    kith_pair_options pair = {.size = offsetof(kith_pair_options, expires_s), .expires_s = 99999};
    assert_ok(kith_pair(node, &pair, &op));
    kith_event event;
    do {
        struct pollfd p = {.fd = kith_fd(node), .events = POLLIN};
        poll(&p, 1, 100);
    } while (!kith_next_event(node, &event));
    assert_int_equal(event.kind, KITH_EVENT_CODE);
    kith_receive_options receive = {.size = offsetof(kith_receive_options, ask), .ask = true};
    assert_int_equal(kith_receive(node, &receive, &op), KITH_ERR_ARG); /* it knows no `ask`: it needs a folder */
    receive.folder = base;
    assert_ok(kith_receive(node, &receive, &op));
    receive = (kith_receive_options){.size = sizeof receive, .ask = true};
    assert_ok(kith_receive(node, &receive, &op)); /* ... and this one does not: STATE comes as its END */
    kith_close(node);
}

static void null_is_an_argument_error(void **state)
{
    (void)state;
    kith_node *node = opened();
    kith_op op;
    kith_receive_options receive = {.size = sizeof receive};
    assert_int_equal(kith_ping(node, NULL, 1, &op), KITH_ERR_ARG);
    assert_int_equal(kith_join(node, NULL, NULL, &op), KITH_ERR_ARG);
    assert_int_equal(kith_send_file(node, NULL, "/file", NULL, &op), KITH_ERR_ARG);
    assert_int_equal(kith_send_file(node, "x", NULL, NULL, &op), KITH_ERR_ARG);
    assert_int_equal(kith_receive(node, NULL, &op), KITH_ERR_ARG);
    assert_int_equal(kith_receive(node, &receive, &op), KITH_ERR_ARG);
    static const char *const nameless[] = {NULL, "", "/", "folder/", "/a/folder/"};
    for (size_t i = 0; i < sizeof nameless / sizeof *nameless; i++)
        assert_int_equal(kith_receive_file(node, 1, nameless[i], KITH_CONFLICT_KEEP), KITH_ERR_ARG);
    char path[KITH_PATH_NAME_MAX + 1];
    memset(path, 'p', sizeof path);
    path[KITH_PATH_NAME_MAX] = 0;
    assert_int_equal(kith_receive_file(node, 1, path, KITH_CONFLICT_KEEP), KITH_ERR_ARG);
    assert_ok(kith_receive_file(node, 1, path + 1, KITH_CONFLICT_KEEP)); /* that it is no OFFER is no error */
    kith_mem_fail_at(1, true);
    assert_int_equal(kith_receive_file(node, 1, "file", KITH_CONFLICT_KEEP), KITH_ERR_NOMEM);
    kith_mem_fail_at(0, false);
    kith_close(node);
    kith_device_info device;
    kith_problem problem;
    const char *id = "00000000-0000-4000-8000-000000000000"; /* renaming to nothing is not forgetting */
    assert_int_equal(kith_rename(home, id, NULL, &device, &problem), KITH_ERR_ARG);
}

/* Every call of a node without one, or without a place for its number. */
static void no_node(void **state)
{
    (void)state;
    kith_node *node = opened();
    const char *id = "00000000-0000-4000-8000-000000000000";
    kith_connect_options connect = {.size = sizeof connect, .topic = "t"};
    kith_receive_options receive = {.size = sizeof receive, .folder = base};
    for (int without = 0; without < 2; without++) {
        kith_node *n = without ? node : NULL;
        kith_op op = 0, *at = without ? NULL : &op;
        assert_int_equal(kith_pair(n, NULL, at), KITH_ERR_ARG);
        assert_int_equal(kith_join(n, "zoo", NULL, at), KITH_ERR_ARG);
        assert_int_equal(kith_ping(n, id, 1, at), KITH_ERR_ARG);
        assert_int_equal(kith_pin(n, "abcd", NULL, at), KITH_ERR_ARG);
        assert_int_equal(kith_nearby(n, at), KITH_ERR_ARG);
        assert_int_equal(kith_look(n, at), KITH_ERR_ARG);
        assert_int_equal(kith_doctor(n, NULL, at), KITH_ERR_ARG);
        assert_int_equal(kith_send_file(n, id, "/file", NULL, at), KITH_ERR_ARG);
        assert_int_equal(kith_receive(n, &receive, at), KITH_ERR_ARG);
        assert_int_equal(kith_connect(n, id, &connect, at), KITH_ERR_ARG);
        assert_int_equal(kith_serve(n, "t", NULL, at), KITH_ERR_ARG);
        assert_int_equal(kith_daemon(n, at), KITH_ERR_ARG);
        assert_int_equal(kith_down(n, at), KITH_ERR_ARG);
        assert_int_equal(kith_inbox(n, at), KITH_ERR_ARG);
        assert_int_equal(kith_inbox_answer(n, 1, true, at), KITH_ERR_ARG);
        assert_int_equal(op, 0);
    }
    assert_int_equal(kith_answer(NULL, 1, true), KITH_ERR_ARG);
    assert_int_equal(kith_receive_file(NULL, 1, "/file", KITH_CONFLICT_KEEP), KITH_ERR_ARG);
    assert_int_equal(kith_send_message(NULL, 1, "x", 1), KITH_ERR_ARG);
    assert_int_equal(kith_send_datagram(NULL, 1, "x", 1), KITH_ERR_ARG);
    assert_int_equal(kith_finish(NULL, 1), KITH_ERR_ARG);
    kith_event event;
    kith_remote_device_info remote;
    kith_daemon_info daemon;
    char addresses[4][KITH_ADDRESS_TEXT];
    assert_int_equal(kith_remote_device(NULL, 1, &remote), KITH_ERR_ARG);
    assert_int_equal(kith_remote_device(node, 1, NULL), KITH_ERR_ARG);
    assert_false(kith_is_connected(NULL, 1));
    assert_false(kith_next_event(NULL, &event) || kith_next_event(node, NULL));
    assert_false(kith_wait_event(NULL, -1, &event) || kith_wait_event(node, -1, NULL));
    assert_false(kith_daemon_of(NULL, &daemon) || kith_daemon_of(node, NULL));
    assert_int_equal(kith_fd(NULL), -1);
    assert_int_equal(kith_addresses(NULL, addresses, 4), 0);
    assert_int_equal(kith_addresses(node, NULL, 4), 0);
    kith_cancel(NULL, 1);
    assert_false(kith_next_event(node, &event)); /* nothing of it began */
    kith_close(node);
    kith_close(NULL);
}

/* A function of the home without one of the things it needs: ARG, and a sentence where there is a place for it. */
#define LACKS(call)                                                                                                    \
    do {                                                                                                               \
        problem = (kith_problem){0};                                                                                   \
        assert_int_equal(call, KITH_ERR_ARG);                                                                          \
        said += problem.err == KITH_ERR_ARG && *problem.message;                                                       \
    } while (0)

/* ---- what is only checked ---- */

static bool has_code(void)
{
    kith_problem problem;
    kith_recovery_info info = {.size = sizeof info};
    assert_ok(kith_recovery(home, &info, &problem));
    return info.exists;
}

/* A code is drawn, shown, and only then put in force; the old one is asked for from then on. */
static void a_code_is_in_force_when_it_was_shown(void **state)
{
    (void)state;
    kith_problem problem;
    kith_recovery_result drawn = {.size = sizeof drawn}, made = {.size = sizeof made};
    kith_recovery_options how = {.size = sizeof how, .password = "no", .password_size = 2, .check = true};
    assert_int_equal(kith_recovery_new(home, &how, &drawn, &problem), KITH_ERR_PASSWORD);
    how.password = "pw";
    assert_ok(kith_recovery_new(home, &how, &drawn, &problem));
    assert_true(drawn.in_force);
    assert_false(has_code());
    how.check = false;
    how.new_code = "zoo zoo";
    assert_int_equal(kith_recovery_new(home, &how, &made, &problem), KITH_ERR_CODE);
    assert_false(has_code());
    how.new_code = drawn.recovery_code;
    assert_ok(kith_recovery_new(home, &how, &made, &problem));
    assert_string_equal(made.recovery_code, drawn.recovery_code);
    assert_true(has_code());
    kith_password_change change = {.size = sizeof change, .recovery_code = drawn.recovery_code, .check = true};
    assert_ok(kith_change_password(home, &change, &problem));
    how.check = true;
    assert_int_equal(kith_recovery_new(home, &how, &made, &problem), KITH_ERR_CODE); /* the old one was not given */
    how.old_code = drawn.recovery_code;
    how.new_code = NULL;
    assert_ok(kith_recovery_new(home, &how, &made, &problem));
    assert_string_not_equal(made.recovery_code, drawn.recovery_code);
    assert_ok(kith_change_password(home, &change, &problem)); /* it is in force still */
}

static void a_restore_that_is_only_checked(void **state)
{
    (void)state;
    kith_problem problem;
    kith_device_info self = {.name = "as before"};
    kith_recovery_result code = {.size = sizeof code}, other = {.size = sizeof other};
    kith_recovery_options how = {.size = sizeof how, .password = "pw", .password_size = 2, .lost = true};
    char file[128], into[128];
    snprintf(file, sizeof file, "%s/backup", base);
    snprintf(into, sizeof into, "%s/other", base);
    assert_ok(kith_recovery_new(home, &how, &code, &problem));
    how.check = true;
    assert_ok(kith_recovery_new(home, &how, &other, &problem));
    assert_ok(kith_backup(home, file, "pw", 2, &problem));
    kith_restore_options restore = {.size = sizeof restore, .path = file, .check = true};
    restore.recovery_code = other.recovery_code;
    assert_int_equal(kith_restore(into, &restore, &self, &problem), KITH_ERR_CODE);
    restore.recovery_code = code.recovery_code;
    assert_ok(kith_restore(into, &restore, &self, &problem));
    assert_int_equal(access(into, F_OK), -1);
    assert_string_equal(self.name, "as before");
    assert_int_equal(kith_restore(home, &restore, &self, &problem), KITH_ERR_EXISTS);
    restore.check = false;
    restore.password = "new";
    restore.password_size = 3;
    assert_ok(kith_restore(into, &restore, &self, &problem));
    assert_string_equal(self.name, "one");
}

static void who_is_not_revoked(void **state)
{
    (void)state;
    kith_problem problem;
    char message[KITH_REVOKED_TEXT] = "as before", nowhere[128];
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", base);
    assert_int_equal(kith_revoked(nowhere, message, &problem), KITH_ERR_NO_IDENTITY);
    assert_string_equal(message, "as before");
    assert_int_equal(kith_revoked(NULL, message, &problem), KITH_ERR_ARG);
    assert_int_equal(kith_revoked(home, NULL, &problem), KITH_ERR_ARG);
    assert_int_equal(kith_revoked(home, message, NULL), KITH_ERR_ARG);
    assert_ok(kith_revoked(home, message, &problem));
    assert_string_equal(message, "");
}

static void no_home(void **state)
{
    (void)state;
    const char *id = "00000000-0000-4000-8000-000000000000";
    unsigned said = 0;
    kith_problem problem, *p = &problem;
    kith_device_info device, *devices;
    kith_history_record *records;
    kith_init_options init = {.size = sizeof init, .password = "pw", .password_size = 2};
    kith_init_result made = {.size = sizeof made};
    kith_recovery_info info = {.size = sizeof info};
    kith_recovery_options code = {.size = sizeof code, .password = "pw", .password_size = 2, .lost = true};
    kith_recovery_result fresh = {.size = sizeof fresh};
    kith_revoke_options revoke = {.size = sizeof revoke, .password = "pw", .password_size = 2};
    kith_restore_options restore = {.size = sizeof restore, .path = "/backup", .password = "pw", .password_size = 2};
    kith_password_change change = {.size = sizeof change, .new_password = "x", .new_password_size = 1};
    kith_permit_info permits[KITH_PERMITS_MAX];
    kith_options options = usual();
    kith_node *node;
    size_t count;
    char text[KITH_RECOVERY_TEXT];
    char value[KITH_SETTING_TEXT];
    bool in_force, set;
    LACKS(kith_init(NULL, &init, &made, p));
    LACKS(kith_init(home, &init, NULL, p));
    LACKS(kith_self(NULL, &device, p));
    LACKS(kith_self(home, NULL, p));
    LACKS(kith_revoked(NULL, value, p));
    LACKS(kith_revoked(home, NULL, p));
    LACKS(kith_config_get(NULL, "lan", value, &set, p));
    LACKS(kith_config_get(home, NULL, value, &set, p));
    LACKS(kith_config_get(home, "lan", NULL, &set, p));
    LACKS(kith_config_get(home, "lan", value, NULL, p));
    LACKS(kith_config_set(NULL, "lan", "no", p));
    LACKS(kith_config_set(home, NULL, "no", p));
    LACKS(kith_devices(NULL, &devices, &count, p));
    LACKS(kith_devices(home, NULL, &count, p));
    LACKS(kith_devices(home, &devices, NULL, p));
    LACKS(kith_find(NULL, "x", &device, p));
    LACKS(kith_find(home, NULL, &device, p));
    LACKS(kith_find(home, "x", NULL, p));
    LACKS(kith_rename(NULL, id, "x", &device, p));
    LACKS(kith_rename(home, NULL, "x", &device, p));
    LACKS(kith_rename(home, id, NULL, &device, p));
    LACKS(kith_rename(home, id, "x", NULL, p));
    LACKS(kith_forget(NULL, id, p));
    LACKS(kith_forget(home, NULL, p));
    LACKS(kith_verify_digits(home, NULL, text, p));
    LACKS(kith_verify_digits(home, id, NULL, p));
    LACKS(kith_mark_verified(home, NULL, true, p));
    LACKS(kith_permit(home, NULL, "file", KITH_PERMISSION_DENY, p));
    LACKS(kith_permit(home, id, NULL, KITH_PERMISSION_DENY, p));
    LACKS(kith_permits(home, NULL, permits, KITH_PERMITS_MAX, &count, p));
    LACKS(kith_permits(home, id, NULL, 1, &count, p));
    LACKS(kith_permits(home, id, permits, KITH_PERMITS_MAX, NULL, p));
    LACKS(kith_change_password(NULL, &change, p));
    LACKS(kith_recovery(NULL, &info, p));
    LACKS(kith_recovery(home, NULL, p));
    LACKS(kith_recovery_new(NULL, &code, &fresh, p));
    LACKS(kith_recovery_new(home, &code, NULL, p));
    LACKS(kith_recovery_accept(NULL, id, "pw", 2, &in_force, p));
    LACKS(kith_recovery_accept(home, NULL, "pw", 2, &in_force, p));
    LACKS(kith_recovery_accept(home, id, "pw", 2, &in_force, p));
    LACKS(kith_recovery_accept(home, id, "pw", 2, NULL, p));
    LACKS(kith_revoke(home, NULL, &revoke, NULL, p));
    LACKS(kith_history(home, NULL, &count, p));
    LACKS(kith_history(home, &records, NULL, p));
    LACKS(kith_backup(home, NULL, "pw", 2, p));
    LACKS(kith_restore(NULL, &restore, &device, p));
    LACKS(kith_restore(home, &restore, NULL, p));
    LACKS(kith_words_check(NULL, text, p));
    LACKS(kith_words_check("zoo", NULL, p));
    LACKS(kith_recovery_check(NULL, text, p));
    LACKS(kith_recovery_check("zoo", NULL, p));
    LACKS(kith_open(NULL, &node, p));
    LACKS(kith_open(&options, NULL, p));
    assert_int_equal(said, 53);
    said = 0;
    LACKS(kith_init(home, &init, &made, NULL));
    LACKS(kith_self(home, &device, NULL));
    LACKS(kith_rename(home, id, "x", &device, NULL));
    LACKS(kith_forget(home, id, NULL));
    LACKS(kith_permits(home, id, permits, KITH_PERMITS_MAX, &count, NULL));
    LACKS(kith_revoked(home, value, NULL));
    LACKS(kith_config_get(home, "lan", value, &set, NULL));
    LACKS(kith_config_set(home, "lan", "no", NULL));
    LACKS(kith_change_password(home, &change, NULL));
    LACKS(kith_words_check("zoo", text, NULL));
    LACKS(kith_open(&options, &node, NULL));
    assert_int_equal(said, 0);
    kith_free_devices(NULL);
    kith_free_history(NULL);
    assert_null(kith_printable_name("x", NULL, 1));
}

/* Results: an older program's structure is shorter, a newer one's longer. */
static void results_of_other_sizes(void **state)
{
    (void)state;
    struct {
        kith_init_result known;
        uint64_t unknown;
    } made;
    struct {
        kith_recovery_info known;
        uint64_t unknown;
    } info;
    const kith_init_options options = {.size = sizeof options, .password = "pw", .password_size = 2};
    kith_problem problem;
    memset(&made, 0xaa, sizeof made);
    made.known.size = sizeof made;
    assert_ok(kith_init(home, &options, &made.known, &problem));
    assert_int_equal(made.unknown, 0); /* nothing is said of it */
    assert_int_equal(made.known.size, sizeof made);
    assert_string_equal(made.known.self.name, "one");
    const size_t first = offsetof(kith_init_result, recovery_code) + sizeof made.known.recovery_code;
    memset(&made, 0xaa, sizeof made);
    made.known.size = first;
    assert_ok(kith_init(home, &options, &made.known, &problem));
    assert_string_equal(made.known.self.name, "one");
    for (size_t i = first; i < sizeof made; i++) assert_int_equal(((const uint8_t *)&made)[i], 0xaa);
    made.known.size = first - 1;
    assert_int_equal(kith_init(home, &options, &made.known, &problem), KITH_ERR_ARG);
    memset(&info, 0xaa, sizeof info);
    info.known.size = sizeof info;
    assert_ok(kith_recovery(home, &info.known, &problem));
    assert_int_equal(info.unknown, 0);
    assert_false(info.known.waiting);
    info.known.size = offsetof(kith_recovery_info, ended_ms) + sizeof info.known.ended_ms - 1;
    assert_int_equal(kith_recovery(home, &info.known, &problem), KITH_ERR_ARG);
}

/* ---- threads ---- */

#define THREADS 4
#define CALLS   50

typedef struct caller {
    kith_node *node;
    pthread_t thread;
    kith_op ops[CALLS];
} caller;

static void *call(void *user)
{
    caller *c = user;
    for (size_t i = 0; i < CALLS; i++) {
        if (kith_look(c->node, &c->ops[i])) return NULL;
        kith_cancel(c->node, c->ops[i]);
    }
    return c;
}

/* Without servers nobody outside is asked. */
static void an_examination(void **state)
{
    (void)state;
    kith_node *node = opened();
    kith_op op;
    kith_event event;
    size_t findings = 0;
    char name[] = "no server/at all";
    const char *names[KITH_DOCTOR_STUN_MAX + 1] = {name, name, name, name, name};
    kith_doctor_options options = {.size = sizeof options, .stun = names, .stun_count = 5};
    assert_int_equal(kith_doctor(node, &options, &op), KITH_ERR_ARG);
    options.stun_count = 1;
    options.stun = NULL;
    assert_int_equal(kith_doctor(node, &options, &op), KITH_ERR_ARG);
    options.stun = names;
    assert_ok(kith_doctor(node, &options, &op));
    memset(name, '?', sizeof name - 1); /* it was copied */
    event = await_end(node, op);
    assert_int_equal(event.err, KITH_ERR_ARG);
    assert_non_null(strstr(event.message, "no server/at all"));
    assert_ok(kith_doctor(node, NULL, &op));
    for (;;) {
        assert_true(kith_wait_event(node, 30000, &event));
        assert_int_equal(event.op, op);
        if (event.kind == KITH_EVENT_END) break;
        assert_int_equal(event.kind, KITH_EVENT_FINDING);
        assert_true(event.state >= KITH_FINDING_GOOD && event.state <= KITH_FINDING_UNKNOWN && *event.check);
        if (strcmp(event.check, "home") == 0) assert_int_equal(event.state, KITH_FINDING_GOOD);
        findings++;
    }
    assert_ok(event.err);
    assert_true(findings >= 8);
    kith_close(node);
    node = opened();
    assert_ok(kith_doctor(node, NULL, &op)); /* closed in the middle */
    kith_close(node);
}

static atomic_size_t ends;

static void *read_events(void *user)
{
    caller *c = user;
    kith_event event;
    while (atomic_load(&ends) < THREADS * CALLS) {
        struct pollfd p = {.fd = kith_fd(c->node), .events = POLLIN};
        poll(&p, 1, 10);
        while (kith_next_event(c->node, &event))
            if (event.kind == KITH_EVENT_END) atomic_fetch_add(&ends, 1);
    }
    return c;
}

static void many_threads(void **state)
{
    (void)state;
    caller callers[THREADS] = {{0}}, readers[2] = {{0}};
    kith_node *node = opened();
    void *result;
    for (size_t i = 0; i < THREADS; i++) {
        callers[i].node = node;
        assert_ok(pthread_create(&callers[i].thread, NULL, call, &callers[i]));
    }
    for (size_t i = 0; i < 2; i++) {
        readers[i].node = node;
        assert_ok(pthread_create(&readers[i].thread, NULL, read_events, &readers[i]));
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_ok(pthread_join(callers[i].thread, &result));
        assert_non_null(result);
    }
    for (size_t i = 0; i < 2; i++) assert_ok(pthread_join(readers[i].thread, &result));
    assert_int_equal(atomic_load(&ends), THREADS * CALLS);
    kith_event event;
    assert_false(kith_next_event(node, &event));
    for (size_t i = 0; i < 8; i++) { /* and none that nobody reads */
        kith_op op;
        assert_ok(kith_look(node, &op));
    }
    kith_close(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open_without_memory),
        TEST(an_end_needs_no_memory),
        TEST(options_of_other_sizes),
        TEST(results_of_other_sizes),
        TEST(an_examination),
        TEST(null_is_an_argument_error),
        TEST(no_node),
        TEST(no_home),
        TEST(a_code_is_in_force_when_it_was_shown),
        TEST(a_restore_that_is_only_checked),
        TEST(who_is_not_revoked),
        TEST(many_threads),
    };
    return cmocka_run_group_tests_name("node/api_edges", tests, set_up, tear_down);
}
