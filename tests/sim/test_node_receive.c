/* Files that are asked about one by one, and taken to a place of the application's choice. */
#include "receive_world.h"

/* An own device's file waits for the answer, then goes where it says, under the name it says. */
static void to_a_place_of_its_own(void **state)
{
    (void)state;
    world w;
    world_make(&w);
    put(w.sender.host, "/film", 1, FILE_4M);
    assert_ok(kith_sim_put_folder(w.node.host, "/chosen/by me", 0755));
    kith_op receiving = receive(&w, &asking), transfer = offered(&w);
    const kith_event *offer = last_event(&w.node, KITH_EVENT_OFFER);
    assert_int_equal(offer->op, receiving);
    assert_string_equal(offer->name, "film");
    assert_string_equal(offer->device.name, "sender");
    assert_int_equal(offer->bytes_total, FILE_4M);
    run(&w, 60 * KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 0);
    assert_int_equal(count_events(&w.sender, KITH_EVENT_END), 0);

    char path[] = "/chosen/by me/holiday.mkv";
    kith_core_receive_file(w.node.core, transfer, path, KITH_CONFLICT_KEEP);
    memset(path, 'x', sizeof path - 1); /* the caller's again */
    run(&w, 10 * KITH_SIM_S);
    const kith_event *start = last_event(&w.node, KITH_EVENT_START), *file = last_event(&w.node, KITH_EVENT_FILE);
    assert_non_null(start);
    assert_int_equal(start->transfer, transfer);
    assert_non_null(file);
    assert_int_equal(file->op, receiving);
    assert_int_equal(file->transfer, transfer);
    assert_string_equal(file->name, "holiday.mkv");
    assert_string_equal(file->path_name, "/chosen/by me/holiday.mkv");
    assert_false(file->already);
    assert_ok(sending_ended(&w));
    assert_string_equal(last_event(&w.sender, KITH_EVENT_SENT)->hash, file->hash);
    check_file(&w, "/chosen/by me/holiday.mkv", 1, FILE_4M);
    assert_int_equal(files_in(&w, "/chosen/by me"), 1);
    assert_int_equal(files_in(&w, "/in"), 0);
    world_free(&w);
}

/* Paths of every form, and what is there already. */
static void places(void **state)
{
    (void)state;
    static const struct {
        const char *path, *where;
        kith_conflict conflict;
        bool already;
        uint8_t kept; /* what /in/taken is afterwards */
    } cases[] = {
        {"/in/free", "/in/free", KITH_CONFLICT_KEEP, false, 2},
        {"/in//free", "/in//free", KITH_CONFLICT_KEEP, false, 2},
        {"/in/../in/./free", "/in/../in/./free", KITH_CONFLICT_KEEP, false, 2},
        {"/free", "/free", KITH_CONFLICT_KEEP, false, 2},
        {"free", "free", KITH_CONFLICT_KEEP, false, 2},
        {"/in/-rf *\n\x1b[2J", "/in/-rf *\n\x1b[2J", KITH_CONFLICT_KEEP, false, 2},
        {"/in/taken", "/in/taken (2)", KITH_CONFLICT_KEEP, false, 2},
        {"/in/same", "/in/same", KITH_CONFLICT_KEEP, true, 2},
        {"/in/taken", "/in/taken", KITH_CONFLICT_SKIP, true, 2},
        {"/in/taken", "/in/taken", KITH_CONFLICT_OVERWRITE, false, 1},
        {"/in/folder", "/in/folder (2)", KITH_CONFLICT_OVERWRITE, false, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        world_make(&w);
        put(w.sender.host, "/film", 1, MIB + 1);
        put(w.node.host, "/in/taken", 2, MIB + 1);
        put(w.node.host, "/in/same", 1, MIB + 1);
        assert_ok(kith_sim_put_folder(w.node.host, "/in/folder", 0755));
        kith_receive_options options = {.ask = true, .folder = i % 2 ? "/elsewhere" : NULL, .yes = i % 3 == 0};
        receive(&w, &options);
        kith_core_receive_file(w.node.core, offered(&w), cases[i].path, cases[i].conflict);
        run(&w, 10 * KITH_SIM_S);
        const kith_event *file = last_event(&w.node, KITH_EVENT_FILE);
        if (!file) fail_msg("%s: it did not come", cases[i].path);
        assert_string_equal(file->path_name, cases[i].where);
        assert_string_equal(file->name, strrchr(cases[i].where, '/') ? strrchr(cases[i].where, '/') + 1 : "free");
        assert_int_equal(file->already, cases[i].already);
        if (cases[i].conflict != KITH_CONFLICT_SKIP) check_file(&w, cases[i].where, 1, MIB + 1);
        check_file(&w, "/in/taken", cases[i].kept, MIB + 1);
        assert_ok(sending_ended(&w));
        world_free(&w);
    }
}

/* Places where nothing can be: this transfer has failed, nothing is left behind, and the next one is asked about. */
static void no_place_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        kith_err err, told;
    } cases[] = {
        {"/nowhere/film", KITH_ERR_NO_FILE, KITH_ERR_REMOTE_STORAGE},
        {"/in/file/film", KITH_ERR_NO_FILE, KITH_ERR_REMOTE_STORAGE},
        {"/locked/film", KITH_ERR_PERMISSION, KITH_ERR_REMOTE_STORAGE},
        {"/in/film", KITH_ERR_NO_SPACE, KITH_ERR_REMOTE_STORAGE},
        {"/in/.", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {"/in/..", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {"..", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {"/in/.kith-0123456789abcdef.part", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {"/in/.KITH-journal", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {"/in/\xff\xfe", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {"/in/", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED}, /* kith_receive_file says ARG before */
        {"", KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED},
        {NULL, KITH_ERR_NOT_ALLOWED, KITH_ERR_DECLINED}, /* 256 bytes */
        {"long", KITH_ERR_NO_FILE, KITH_ERR_REMOTE_STORAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        char long_name[4 + 256 + 1], long_folder[4 + 300 + 6];
        const char *path = cases[i].path;
        memset(long_name, 'n', sizeof long_name);
        memcpy(long_name, "/in/", 4);
        long_name[sizeof long_name - 1] = 0;
        memset(long_folder, 'n', sizeof long_folder);
        memcpy(long_folder, "/in/", 4);
        memcpy(long_folder + sizeof long_folder - 6, "/film", 6);
        if (!path) path = long_name;
        if (strcmp(path, "long") == 0) path = long_folder;
        world_make(&w);
        put(w.sender.host, "/film", 1, FILE_4M);
        put(w.node.host, "/in/file", 2, 1);
        assert_ok(kith_sim_put_folder(w.node.host, "/locked", 0755));
        assert_ok(kith_sim_set_mode(w.node.host, "/locked", 0500));
        receive(&w, &asking);
        kith_op transfer = offered(&w);
        if (cases[i].err == KITH_ERR_NO_SPACE)
            kith_sim_set_capacity(w.node.host, kith_sim_disk_used(w.node.host) + FILE_4M / 2);
        kith_core_receive_file(w.node.core, transfer, path, KITH_CONFLICT_KEEP);
        run(&w, 2 * KITH_SIM_S);
        const kith_event *failed = last_event(&w.node, KITH_EVENT_FAILED);
        if (!failed) fail_msg("%s: it did not fail", path);
        if (failed->err != cases[i].err) fail_msg("%s: %s", path, kith_err_name(failed->err));
        assert_int_equal(failed->transfer, transfer);
        assert_true(*failed->message);
        assert_int_equal(sending_ended(&w), cases[i].told);
        assert_int_equal(files_in(&w, "/in"), 1);

        kith_sim_set_capacity(w.node.host, UINT64_MAX);
        kith_core_receive_file(w.node.core, offered(&w), "/in/film", KITH_CONFLICT_KEEP);
        run(&w, 10 * KITH_SIM_S);
        check_file(&w, "/in/film", 1, FILE_4M);
        world_free(&w);
    }
}

/* The other answer, with and without a folder; `once` is over after it. */
static void yes_and_no(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        world w;
        bool yes = how & 1, folder = how & 2;
        world_make(&w);
        put(w.sender.host, "/film", 1, FILE_4M);
        kith_receive_options options = {.ask = true, .once = true, .folder = folder ? "/in" : NULL};
        kith_op receiving = receive(&w, &options), transfer = offered(&w);
        kith_core_answer(w.node.core, transfer, yes);
        run(&w, 10 * KITH_SIM_S);
        if (yes && folder) {
            assert_string_equal(last_event(&w.node, KITH_EVENT_FILE)->path_name, "/in/film");
            assert_ok(sending_ended(&w));
        } else {
            const kith_event *failed = last_event(&w.node, KITH_EVENT_FAILED);
            assert_int_equal(failed->err, KITH_ERR_DECLINED);
            assert_int_equal(strstr(failed->message, "no folder") != NULL, yes);
            assert_int_equal(sending_ended(&w), KITH_ERR_DECLINED);
            assert_int_equal(files_in(&w, "/in"), 0);
        }
        assert_int_equal(last_event(&w.node, KITH_EVENT_END)->op, receiving);
        assert_ok(last_event(&w.node, KITH_EVENT_END)->err);
        world_free(&w);
    }
}

/* Neither a folder nor `ask`: the core says so, too. */
static void nowhere_to_go(void **state)
{
    (void)state;
    world w;
    kith_receive_options options = {.yes = true};
    world_make(&w);
    receive(&w, &options);
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_ERR_ARG);
    world_free(&w);
}

/* Contacts are asked about although `yes` is set. */
static void contacts_too(void **state)
{
    (void)state;
    world w;
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    static kith_file_header header = {.name = "film", .size = 10};
    kith_receive_options options = {.ask = true, .yes = true, .folder = "/in"};
    world_make(&w);
    trust(&w.node, &w.bad, KITH_PEER_CONTACT, false);
    receive(&w, &options);
    line *l = dial_node(&w.bad, &w.node, NODE);
    run(&w, KITH_SIM_S);
    assert_non_null(ask(&w.bad, l, STREAM_FILE, out, kith_file_write_offer(&header, out, sizeof out)));
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_OFFER), 1);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 0);
    world_free(&w);
}

/* Answers to what is not asked do nothing, and neither do second answers. */
static void nothing_to_answer(void **state)
{
    (void)state;
    world w;
    world_make(&w);
    put(w.sender.host, "/film", 1, FILE_4M);
    kith_core_receive_file(w.node.core, 7, "/in/film", KITH_CONFLICT_KEEP); /* nobody receives */
    kith_op receiving = receive(&w, &asking);
    kith_core_receive_file(w.node.core, receiving, "/in/film", KITH_CONFLICT_KEEP);
    kith_core_receive_file(w.node.core, 0, "/in/film", KITH_CONFLICT_KEEP);

    kith_op transfer = offered(&w);
    kith_core_receive_file(w.node.core, transfer + 1, "/in/film", KITH_CONFLICT_KEEP);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 0);
    kith_core_cancel(w.sender.core, w.sender.last_op); /* it is gone */
    run(&w, KITH_SIM_S);
    kith_core_receive_file(w.node.core, transfer, "/in/film", KITH_CONFLICT_KEEP);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 1);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 0);
    assert_int_equal(files_in(&w, "/in"), 0);

    transfer = offered(&w); /* the first answer counts */
    kith_core_receive_file(w.node.core, transfer, "/in/first", KITH_CONFLICT_KEEP);
    kith_core_receive_file(w.node.core, transfer, "/in/second", KITH_CONFLICT_KEEP);
    kith_core_answer(w.node.core, transfer, false);
    run(&w, 10 * KITH_SIM_S);
    kith_core_receive_file(w.node.core, transfer, "/in/third", KITH_CONFLICT_KEEP);
    run(&w, 10 * KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FILE), 1);
    assert_int_equal(files_in(&w, "/in"), 1);
    check_file(&w, "/in/first", 1, FILE_4M);
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 0);
    world_free(&w);
}

static void kill_and_start(victim *v)
{
    kith_sim_kill(v->env);
    kith_core_free(v->core);
    kith_home_close(v->home);
    kith_secret_free(v->seed);
    kith_problem problem = {0};
    assert_ok(kith_sim_env_new(v->host, &v->env));
    assert_ok(kith_home_open(v->env, "/home", &v->home));
    if (kith_home_unlock(v->home, (kith_bytes){"pw", 2}, &v->seed, &problem)) fail_msg("%s", problem.message);
    victim_open(v);
}

/* What came before the process was killed is not sent again when the answer names the same folder, by whatever name;
 * into another folder it begins anew. */
static void interrupted(void **state)
{
    (void)state;
    static const kith_sim_link slow = {.delay_ns = KITH_SIM_MS, .rate = 1 << 20, .queue = 64 << 10, .mtu = 1500};
    static const struct {
        const char *path;
        bool continued;
    } cases[] = {{"/in/film", true}, {"/in/other name", true}, {"/else/film", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        world_make(&w);
        put(w.sender.host, "/film", 1, FILE_4M);
        assert_ok(kith_sim_put_folder(w.node.host, "/else", 0755));
        receive(&w, &asking);
        kith_op transfer = offered(&w);
        kith_sim_lan_set_link(w.lan, &slow);
        kith_core_receive_file(w.node.core, transfer, "/in/film", KITH_CONFLICT_KEEP);
        run(&w, 5 * KITH_SIM_S / 2);
        assert_int_equal(count_events(&w.node, KITH_EVENT_FILE), 0);
        kill_and_start(&w.node);
        w.node.count = 0;
        receive(&w, &asking);
        run(&w, 30 * KITH_SIM_S); /* the sender finds it again by itself */
        const kith_event *offer = last_event(&w.node, KITH_EVENT_OFFER);
        assert_non_null(offer);
        kith_core_receive_file(w.node.core, offer->transfer, cases[i].path, KITH_CONFLICT_KEEP);
        run(&w, 30 * KITH_SIM_S);
        const kith_event *start = last_event(&w.node, KITH_EVENT_START);
        assert_non_null(start);
        if (cases[i].continued)
            assert_in_range(start->bytes, MIB, 3 * MIB);
        else
            assert_int_equal(start->bytes, 0);
        assert_ok(sending_ended(&w));
        assert_string_equal(last_event(&w.node, KITH_EVENT_FILE)->path_name, cases[i].path);
        check_file(&w, cases[i].path, 1, FILE_4M);
        assert_int_equal(files_in(&w, "/in"), cases[i].continued ? 1 : 2); /* the part and its journal stay */
        world_free(&w);
    }
}

/* One file offered twice: into two folders it comes twice; into one the later one goes on, which is no failure. */
static void twice_at_once(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        world w;
        kith_op transfers[2];
        world_make(&w);
        kith_sim_set_work_delay(w.sim, 200 * KITH_SIM_MS);
        put(w.sender.host, "/film", 1, FILE_4M);
        assert_ok(kith_sim_put_folder(w.node.host, "/else", 0755));
        receive(&w, &asking);
        for (size_t i = 0; i < 2; i++) transfers[i] = offered(&w);
        kith_core_receive_file(w.node.core, transfers[0], "/in/one", KITH_CONFLICT_KEEP);
        run(&w, 100 * KITH_SIM_MS);
        kith_core_receive_file(w.node.core, transfers[1], same ? "/in/two" : "/else/two", KITH_CONFLICT_KEEP);
        run(&w, 60 * KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_FILE), same ? 1 : 2);
        if (same) {
            assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->transfer, transfers[0]);
            assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->err, KITH_ERR_STATE);
        } else {
            check_file(&w, "/in/one", 1, FILE_4M);
        }
        check_file(&w, same ? "/in/two" : "/else/two", 1, FILE_4M);
        world_free(&w);
    }
}

/* Each allocation of the answer fails once: the file comes, or the event says why not, and nothing is lost. */
static void without_memory(void **state)
{
    (void)state;
    size_t refused = 0;
    for (uint64_t n = 1;; n++) {
        world w;
        world_make(&w);
        put(w.sender.host, "/film", 1, 10);
        receive(&w, &asking);
        kith_op transfer = offered(&w);
        kith_mem_fail_at(n, false);
        kith_core_receive_file(w.node.core, transfer, "/in/film", KITH_CONFLICT_KEEP);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        run(&w, 10 * KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_FILE) + count_events(&w.node, KITH_EVENT_FAILED), 1);
        const kith_event *why = last_event(&w.node, KITH_EVENT_FAILED);
        if (why) assert_int_equal(why->err, KITH_ERR_NOMEM);
        refused += why != NULL;
        world_free(&w);
        if (!failed) break;
    }
    assert_true(refused >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(to_a_place_of_its_own), TEST(places),         TEST(no_place_at_all),   TEST(yes_and_no),
        TEST(nowhere_to_go),         TEST(contacts_too),   TEST(nothing_to_answer), TEST(interrupted),
        TEST(twice_at_once),         TEST(without_memory),
    };
    return cmocka_run_group_tests_name("sim/node_receive", tests, NULL, NULL);
}
