#include "incoming_world.h"
#include "io/io_internal.h"
#include "store/incoming_journal.h"
#include "store/outgoing.h"

#include <pthread.h>
#include <unistd.h>

static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, LARGEST};

static void test_receive(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        world w = world_new(s);
        kith_incoming_result r;
        kith_tree resume;
        kith_incoming_place place = {.name = "-a\nb", .modified_ms = 1234567890123, .executable = s % 2};
        assert_ok(attempt(&w, sizes[s], SIZE_MAX, &place, &resume, &r));
        assert_true(resume.groups == 0 && !r.already);
        assert_string_equal(r.name, "-a\nb");
        check_file(&w, "-a\nb", content, sizes[s]);
        check_folder(&w, 1, 0);
        kith_file_info info = info_of(&w, "-a\nb");
        assert_int_equal(info.mode, s % 2 ? 0755 : 0644);
        assert_int_equal(info.modified_ns, INT64_C(1234567890123000000));
        kith_sim_power_fail(w.host); /* it is durable */
        start(&w);
        check_file(&w, "-a\nb", content, sizes[s]);
        world_free(&w);
    }
}

static void test_resume(void **state)
{
    (void)state;
    for (size_t kept = 1; kept <= GROUP_MAX; kept++) {
        for (int other_boot = 0; other_boot < 2; other_boot++) {
            world w = world_new(kept);
            kith_incoming *in;
            kith_tree resume;
            kith_incoming_result r;
            kith_incoming_config c = config_of(&w, LARGEST);
            assert_ok(kith_incoming_open(&c, &resume, &in));
            for (size_t i = 0; i < kept; i++) assert_ok(keep(in, LARGEST, i));
            kith_incoming_close(in);
            assert_int_equal(info_of(&w, own_path(&w, ".part").path + strlen(FOLDER "/")).mode, 0600);
            assert_int_equal(info_of(&w, own_path(&w, ".journal").path + strlen(FOLDER "/")).mode, 0600);
            kith_sim_kill(w.p->real);
            start(&w);
            c = config_of(&w, LARGEST);
            c.boot_id[0] ^= (uint8_t)other_boot;
            assert_ok(kith_incoming_open(&c, &resume, &in));
            assert_int_equal(resume.groups, kept);
            check_tree(&resume, LARGEST);
            size_t bytes = kept < GROUP_MAX ? kept * MIB : LARGEST;
            assert_int_equal(counted.part_read, other_boot ? bytes : 0);
            for (size_t i = kept; i < GROUP_MAX; i++) assert_ok(keep(in, LARGEST, i));
            assert_ok(kith_incoming_finish(in, &plain, &r));
            assert_int_equal(counted.part_written, LARGEST - bytes);
            assert_int_equal(counted.part_read, other_boot ? bytes : 0);
            kith_incoming_close(in);
            check_file(&w, "file.bin", content, LARGEST);
            check_folder(&w, 1, 0);
            world_free(&w);
        }
    }
}

/* The boot that was read again counts as this one from then on; a wrong byte ends the good prefix. */
static void test_other_boot(void **state)
{
    (void)state;
    for (size_t wrong = 0; wrong < 3; wrong++) {
        world w = world_new(wrong);
        kith_incoming *in;
        kith_tree resume;
        atomic_bool cancel = true;
        assert_ok(attempt_plain(&w, LARGEST, 3, NULL));
        uint8_t *data;
        size_t size;
        search part = own_path(&w, ".part");
        assert_ok(kith_sim_get_file(w.host, part.path, &data, &size));
        data[wrong * MIB + 77] ^= 1;
        assert_ok(kith_sim_put_file(w.host, part.path, data, size, 0600));
        kith_free(data);
        kith_incoming_config c = config_of(&w, LARGEST);
        c.boot_id[3] ^= 1;
        c.cancel = &cancel;
        assert_int_equal(kith_incoming_open(&c, &resume, &in), KITH_ERR_CANCELLED);
        cancel = false;
        assert_ok(kith_incoming_open(&c, &resume, &in));
        assert_int_equal(resume.groups, wrong);
        check_tree(&resume, LARGEST);
        kith_incoming_close(in);
        counted.part_read = 0;
        assert_ok(kith_incoming_open(&c, &resume, &in));
        assert_int_equal(resume.groups, wrong);
        assert_int_equal(counted.part_read, 0);
        kith_incoming_discard(in);
        check_folder(&w, 0, 0);
        world_free(&w);
    }
}

/* ---- the n-th operation fails ---- */
enum { FAIL_ONCE, FAIL_ON, KILL, POWER, HOWS };

/* What an earlier attempt left before the one that is disturbed: nothing, two groups, or two groups of another boot. */
static void prepare(world *w, int before)
{
    if (before == 0) return;
    assert_ok(attempt_plain(w, LARGEST, 2, NULL));
    if (before == 1) return;
    search part = own_path(w, ".part"), journal = own_path(w, ".journal");
    uint8_t *data[2];
    size_t size[2];
    assert_ok(kith_sim_get_file(w->host, part.path, &data[0], &size[0]));
    assert_ok(kith_sim_get_file(w->host, journal.path, &data[1], &size[1]));
    assert_ok(kith_sim_put_file(w->host, part.path, data[0], size[0], 0600)); /* durable */
    assert_ok(kith_sim_put_file(w->host, journal.path, data[1], size[1], 0600));
    kith_free(data[0]);
    kith_free(data[1]);
    kith_sim_power_fail(w->host);
    start(w);
}

/* False when the attempt had no n-th operation. */
static bool disturb(int how, int before, uint64_t n, uint64_t seed)
{
    static const char other[] = "somebody's file that was there before";
    world w = world_new(seed);
    kith_incoming_result first = {0}, second = {0};
    assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", other, sizeof other, 0644));
    prepare(&w, before);
    uint64_t ops = kith_sim_file_ops(w.p->real);
    kith_sim_fail_file_at(w.p->real, n, KITH_ERR_IO,
                          how == FAIL_ONCE ? KITH_SIM_FAIL_ONCE
                          : how == FAIL_ON ? KITH_SIM_FAIL_ON
                                           : KITH_SIM_FAIL_KILL);
    kith_err err = attempt_plain(&w, LARGEST, SIZE_MAX, &first);
    bool reached = kith_sim_file_ops(w.p->real) - ops >= n;
    kith_sim_fail_file_at(w.p->real, 0, KITH_OK, KITH_SIM_FAIL_ONCE);
    if (how == KILL || how == POWER) {
        if (how == POWER)
            kith_sim_power_fail(w.host);
        else if (kith_sim_alive(w.p->real))
            kith_sim_kill(w.p->real);
        start(&w);
    }
    check_file(&w, "file.bin", other, sizeof other);
    uint8_t *data;
    size_t size;
    bool placed = !kith_sim_get_file(w.host, FOLDER "/file (2).bin", &data, &size);
    if (placed) { /* whole or not at all */
        assert_int_equal(size, LARGEST);
        assert_memory_equal(data, content, LARGEST);
        kith_free(data);
    }
    if (!err && !placed) fail_msg("how %d before %d n %llu: done, and lost", how, before, (unsigned long long)n);
    err = attempt_plain(&w, LARGEST, SIZE_MAX, &second);
    if (err) fail_msg("how %d before %d n %llu: then %s", how, before, (unsigned long long)n, kith_err_name(err));
    assert_string_equal(second.name, "file (2).bin");
    assert_int_equal(second.already, placed);
    check_file(&w, "file (2).bin", content, LARGEST);
    check_file(&w, "file.bin", other, sizeof other);
    check_folder(&w, 2, 0);
    world_free(&w);
    return reached;
}

static void test_faults(void **state)
{
    (void)state;
    size_t runs = 0;
    for (int how = 0; how < HOWS; how++)
        for (int before = 0; before < 3; before++)
            for (uint64_t n = 1;; n++) {
                bool reached = false;
                for (uint64_t seed = 0; seed < (how < KILL ? 1 : 3); seed++, runs++)
                    reached |= disturb(how, before, n, 100 * n + seed);
                if (!reached) {
                    assert_true(n > 10);
                    break;
                }
            }
    test_ran("disturbed attempts", runs);
}

/* After a sync that failed what was kept is read and written once more. */
static void test_failed_sync(void **state)
{
    (void)state;
    world w = world_new(1);
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_result r;
    kith_incoming_config c = config_of(&w, LARGEST);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    for (size_t i = 0; i < GROUP_MAX; i++) assert_ok(keep(in, LARGEST, i));
    counted.fail_sync = true;
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_IO);
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_IO); /* a second sync would say that all is well */
    kith_incoming_close(in);
    counted = (counts){0};
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, GROUP_MAX);
    assert_int_equal(counted.part_read, LARGEST);
    assert_int_equal(counted.part_written, LARGEST);
    assert_ok(kith_incoming_finish(in, &plain, &r));
    kith_incoming_close(in);
    check_file(&w, "file.bin", content, LARGEST);
    check_folder(&w, 1, 0);
    world_free(&w);
}

static void test_no_space(void **state)
{
    (void)state;
    world w = world_new(1);
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_config c = config_of(&w, LARGEST);
    kith_sim_set_capacity(w.host, 2 * MIB + MIB / 2);
    uint64_t used = kith_sim_disk_used(w.host);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(kith_incoming_reserve(in), KITH_ERR_NO_SPACE);
    kith_incoming_close(in); /* with nothing kept nothing stays */
    check_folder(&w, 0, 0);
    assert_int_equal(kith_sim_disk_used(w.host), used);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_ok(keep(in, LARGEST, 0));
    assert_ok(keep(in, LARGEST, 1));
    assert_int_equal(keep(in, LARGEST, 2), KITH_ERR_NO_SPACE);
    kith_incoming_close(in);
    check_folder(&w, 0, 2);
    kith_sim_set_capacity(w.host, UINT64_MAX);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, 2);
    kith_incoming_discard(in);
    check_folder(&w, 0, 0);
    world_free(&w);
}

/* ---- names ---- */
static void finish_as(world *w, kith_incoming_conflict conflict, const char *want, bool already)
{
    kith_tree resume;
    kith_incoming_result r;
    kith_incoming_place place = plain;
    place.conflict = conflict;
    assert_ok(attempt(w, MIB + 1, SIZE_MAX, &place, &resume, &r));
    assert_string_equal(r.name, want);
    assert_int_equal(r.already, already);
}

static void test_conflicts(void **state)
{
    (void)state;
    world w = world_new(1);
    uint8_t *similar = malloc(MIB + 1);
    memcpy(similar, content, MIB + 1);
    similar[MIB] ^= 1; /* same size */
    assert_ok(kith_sim_put_file(w.host, FOLDER "/file.bin", similar, MIB + 1, 0644));
    finish_as(&w, KITH_INCOMING_SKIP, "file.bin", true);
    check_folder(&w, 1, 0);
    finish_as(&w, KITH_INCOMING_KEEP, "file (2).bin", false);
    finish_as(&w, KITH_INCOMING_KEEP, "file (2).bin", true); /* identical, though not the first of that name */
    check_file(&w, "file.bin", similar, MIB + 1);
    check_file(&w, "file (2).bin", content, MIB + 1);
    assert_ok(kith_sim_put_file(w.host, FOLDER "/file (2).bin", "x", 1, 0644));
    finish_as(&w, KITH_INCOMING_KEEP, "file (3).bin", false);
    finish_as(&w, KITH_INCOMING_OVERWRITE, "file.bin", false);
    check_file(&w, "file.bin", content, MIB + 1);
    finish_as(&w, KITH_INCOMING_KEEP, "file.bin", true);
    check_folder(&w, 3, 0);
    world_free(&w);
    /* Somebody takes the name between our look and the renaming. */
    w = world_new(3);
    counted.take_name = "/file.bin";
    finish_as(&w, KITH_INCOMING_OVERWRITE, "file.bin", false); /* that is there now, so it is replaced */
    check_folder(&w, 1, 0);
    check_file(&w, "file.bin", content, MIB + 1);
    assert_ok(real_table->remove(w.p->real, FOLDER "/file.bin"));
    counted.take_name = "/file.bin";
    finish_as(&w, KITH_INCOMING_KEEP, "file (2).bin", false);
    check_file(&w, "file.bin", "mine", 4);
    check_file(&w, "file (2).bin", content, MIB + 1);
    world_free(&w);
    /* A folder of that name is neither replaced nor entered. */
    for (int policy = KITH_INCOMING_KEEP; policy <= KITH_INCOMING_OVERWRITE; policy++) {
        w = world_new(2);
        assert_ok(kith_sim_put_folder(w.host, FOLDER "/file.bin", 0755));
        bool skip = policy == KITH_INCOMING_SKIP;
        finish_as(&w, (kith_incoming_conflict)policy, skip ? "file.bin" : "file (2).bin", skip);
        assert_int_equal(info_of(&w, "file.bin").kind, KITH_FILE_FOLDER);
        world_free(&w);
    }
    free(similar);
}

static void test_hostile_names(void **state)
{
    static const char *const names[] = {"", ".", "..", "/x", "../x", "a/b", ".kith-0000000000000000.part", "\xff"};
    (void)state;
    world w = world_new(1);
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_result r;
    kith_incoming_config c = config_of(&w, 5);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_STATE); /* not whole */
    assert_ok(keep(in, 5, 0));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(kith_incoming_finish(in, &(kith_incoming_place){.name = names[i]}, &r), KITH_ERR_NOT_ALLOWED);
    check_folder(&w, 0, 2);
    assert_ok(kith_incoming_finish(in, &plain, &r));
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_STATE);
    kith_incoming_discard(in); /* of what is ours: nothing any more */
    check_file(&w, "file.bin", content, 5);
    world_free(&w);
}

/* ---- two receivers of the same thing ---- */
static void test_two(void **state)
{
    (void)state;
    world w = world_new(1);
    kith_incoming *a, *b, *other;
    kith_tree resume;
    kith_incoming_result r;
    kith_incoming_config c = config_of(&w, LARGEST), c2 = c;
    assert_ok(kith_incoming_open(&c, &resume, &a));
    assert_int_equal(kith_incoming_open(&c, &resume, &b), KITH_ERR_AGAIN);
    c2.id.tag[31] ^= 1;
    assert_ok(kith_incoming_open(&c2, &resume, &other)); /* another version is another file */
    kith_incoming_close(other);
    c2 = c;
    c2.id.sender[0] ^= 1;
    assert_ok(kith_incoming_open(&c2, &resume, &other));
    kith_incoming_close(other);
    for (size_t i = 0; i < 3; i++) assert_ok(keep(a, LARGEST, i));
    assert_int_equal(kith_incoming_open(&c, &resume, &b), KITH_ERR_AGAIN);
    kith_sim_kill(w.p->real); /* with it goes the lock */
    process *killed = w.p;
    w.p = NULL;
    start(&w);
    c = config_of(&w, LARGEST);
    assert_ok(kith_incoming_open(&c, &resume, &b));
    assert_int_equal(resume.groups, 3);
    kith_incoming_close(a);
    free(killed);
    assert_ok(keep(b, LARGEST, 3));
    /* b finishes, and so removes the journal, after a has opened it and before a has locked it. */
    counted.finish_on_open = b;
    assert_ok(kith_incoming_open(&c, &resume, &a));
    assert_int_equal(resume.groups, 0);
    assert_int_equal(kith_incoming_open(&c, &resume, &b), KITH_ERR_AGAIN); /* a's lock is on the file of that name */
    for (size_t i = 0; i < GROUP_MAX; i++) assert_ok(keep(a, LARGEST, i));
    assert_ok(kith_incoming_finish(a, &plain, &r));
    assert_true(r.already);
    /* As before, but somebody has made a new journal, and locked it, before b looks whether its own still has the name.
     */
    counted.finish_on_open = NULL;
    kith_incoming_close(a);
    assert_ok(kith_incoming_open(&c, &resume, &a));
    for (size_t i = 0; i < GROUP_MAX; i++) assert_ok(keep(a, LARGEST, i));
    counted.finish_on_open = a;
    counted.open_on_open = &c;
    assert_int_equal(kith_incoming_open(&c, &resume, &b), KITH_ERR_AGAIN);
    kith_incoming_discard(counted.opened);
    check_file(&w, "file.bin", content, LARGEST);
    check_folder(&w, 1, 0);
    world_free(&w);
}

/* ---- groups ---- */
static void test_keep(void **state)
{
    (void)state;
    world w = world_new(1);
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_result r;
    uint8_t wrong[KITH_BLAKE3_SIZE];
    kith_incoming_config c = config_of(&w, LARGEST);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    memcpy(wrong, cv_of(LARGEST, 0), sizeof wrong);
    wrong[0] ^= 1;
    assert_int_equal(kith_incoming_keep(in, 0, content, MIB, wrong), KITH_ERR_CORRUPT);
    assert_int_equal(kith_incoming_keep(in, 0, content + 1, MIB, cv_of(LARGEST, 0)), KITH_ERR_CORRUPT);
    assert_int_equal(kith_incoming_keep(in, 1, content, MIB, cv_of(LARGEST, 0)), KITH_ERR_CORRUPT); /* not its place */
    assert_int_equal(counted.part_written, 0);
    assert_int_equal(kith_incoming_keep(in, 0, content, MIB - 1, cv_of(LARGEST, 0)), KITH_ERR_ARG);
    assert_int_equal(kith_incoming_keep(in, 3, content, MIB, cv_of(LARGEST, 0)), KITH_ERR_ARG);
    assert_int_equal(kith_incoming_keep(in, 4, content, MIB, cv_of(LARGEST, 0)), KITH_ERR_ARG);
    /* Out of order: noted when those before it are there. */
    assert_ok(keep(in, LARGEST, 3));
    assert_int_equal(keep(in, LARGEST, 3), KITH_ERR_ARG);
    assert_ok(keep(in, LARGEST, 1));
    assert_int_equal(info_of(&w, own_path(&w, ".journal").path + strlen(FOLDER "/")).size, KITH_JOURNAL_HEADER_SIZE);
    kith_incoming_close(in);
    check_folder(&w, 0, 0);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_ok(keep(in, LARGEST, 3));
    assert_ok(keep(in, LARGEST, 1));
    assert_ok(keep(in, LARGEST, 0));
    assert_int_equal(keep(in, LARGEST, 0), KITH_ERR_ARG);
    assert_int_equal(kith_incoming_finish(in, &plain, &r), KITH_ERR_STATE);
    kith_incoming_close(in);
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, 2); /* 3 is there, but what is promised is a prefix */
    assert_ok(keep(in, LARGEST, 3));
    assert_ok(keep(in, LARGEST, 2));
    assert_ok(kith_incoming_finish(in, &plain, &r));
    kith_incoming_close(in);
    check_file(&w, "file.bin", content, LARGEST);
    c.id.size = 100 * MIB;
    assert_ok(kith_incoming_open(&c, &resume, &in));
    uint8_t cv[KITH_BLAKE3_SIZE];
    kith_group_cv(content, MIB, KITH_INCOMING_WINDOW - 1, false, cv);
    assert_ok(kith_incoming_keep(in, KITH_INCOMING_WINDOW - 1, content, MIB, cv));
    assert_int_equal(kith_incoming_keep(in, KITH_INCOMING_WINDOW, content, MIB, cv), KITH_ERR_LIMIT);
    kith_incoming_discard(in);
    world_free(&w);
}

static void test_folder_errors(void **state)
{
    (void)state;
    world w = world_new(1);
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_config c = config_of(&w, 5);
    c.folder = "/nowhere";
    assert_int_equal(kith_incoming_open(&c, &resume, &in), KITH_ERR_NO_FILE);
    c.folder = FOLDER;
    assert_ok(kith_sim_set_mode(w.host, FOLDER, 0500));
    assert_int_equal(kith_incoming_open(&c, &resume, &in), KITH_ERR_PERMISSION);
    world_free(&w);
}

/* Every allocation fails once: taking up with hashing, keeping, comparing with an identical file, placing beside
 * another. */
static int with_failing_memory(void *user)
{
    world *w = user;
    kith_incoming *in = NULL;
    kith_tree resume;
    kith_incoming_result r;
    kith_incoming_config c = config_of(w, MIB + 1);
    c.boot_id[0] ^= (uint8_t)kith_mem_calls();
    int err = kith_incoming_open(&c, &resume, &in);
    if (!err && resume.groups < 1) err = keep(in, MIB + 1, 0);
    if (!err && resume.groups < 2) err = keep(in, MIB + 1, 1);
    if (!err) err = kith_incoming_finish(in, &plain, &r);
    kith_incoming_close(in);
    return err;
}

static void test_memory(void **state)
{
    (void)state;
    world w = world_new(1);
    for (int there = 0; there < 2; there++) {
        for (uint64_t n = 1;; n++) {
            kith_mem_fail_at(n, false);
            int err = with_failing_memory(&w);
            bool failed = kith_mem_failed();
            kith_mem_fail_at(0, false);
            assert_true(err == KITH_OK || (failed && err == KITH_ERR_NOMEM));
            if (!failed) break;
        }
        check_file(&w, "file.bin", content, MIB + 1);
        check_folder(&w, 1, 0);
    }
    world_free(&w);
}

/* ---- several threads, on the real disk ---- */
#define THREADS       4
#define THREAD_GROUPS 24
typedef struct worker {
    pthread_t thread;
    kith_incoming *in;
    size_t first;
    kith_err err;
} worker;

static void *work(void *user)
{
    worker *me = user;
    uint8_t cv[KITH_BLAKE3_SIZE];
    for (size_t i = me->first; i < THREAD_GROUPS && !me->err; i += THREADS) {
        kith_group_cv(content + i, MIB, i, false, cv);
        me->err = kith_incoming_keep(me->in, i, content + i, MIB, cv);
    }
    return NULL;
}

static void test_threads(void **state)
{
    char folder[] = "/tmp/kith-test-XXXXXX", path[64];
    kith_env env = {.file = &kith_io_file_table};
    kith_incoming_config c = {.env = &env, .folder = folder, .id = {.size = THREAD_GROUPS * MIB}, .boot_id = {1}};
    worker workers[THREADS] = {0};
    kith_incoming *in;
    kith_tree resume;
    kith_incoming_result r;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_ok(kith_incoming_reserve(in));
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (worker){.in = in, .first = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].err, KITH_OK);
    }
    kith_incoming_close(in);
    c.boot_id[0] = 2; /* so that everything is read again */
    assert_ok(kith_incoming_open(&c, &resume, &in));
    assert_int_equal(resume.groups, THREAD_GROUPS);
    assert_ok(kith_incoming_finish(in, &plain, &r));
    kith_incoming_close(in);
    snprintf(path, sizeof path, "%s/file.bin", folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *group = malloc(MIB);
    for (size_t i = 0; i < THREAD_GROUPS; i++) {
        assert_int_equal(fread(group, 1, MIB, file), MIB);
        assert_memory_equal(group, content + i, MIB);
    }
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    free(group);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left */
}

/* ---- on the way out ---- */
static void test_outgoing(void **state)
{
    (void)state;
    world w = world_new(1);
    kith_env *env = w.p->real;
    kith_outgoing *out;
    kith_outgoing_facts a, b;
    uint8_t bytes[10];
    assert_ok(kith_sim_put_file(w.host, "/f", "0123456789", 10, 0744));
    assert_ok(kith_outgoing_open(env, "/f", false, &a, &out));
    assert_true(a.size == 10 && a.executable);
    assert_ok(kith_outgoing_read(out, 3, bytes, 4));
    assert_memory_equal(bytes, "3456", 4);
    assert_ok(kith_outgoing_read(out, 10, bytes, 0));
    assert_int_equal(kith_outgoing_read(out, 8, bytes, 3), KITH_ERR_CHANGED);
    assert_ok(kith_outgoing_unchanged(out));
    kith_outgoing_close(out);
    assert_ok(kith_outgoing_open(env, "/f", true, &b, &out));
    assert_memory_equal(a.tag, b.tag, sizeof a.tag);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    /* Written through another handle: the same inode and size, another time. */
    kith_file *file;
    assert_ok(env->file->open(env, "/f", KITH_FILE_WRITE, 0, &file));
    assert_ok(env->file->write(file, 0, "x", 1));
    assert_int_equal(kith_outgoing_unchanged(out), KITH_ERR_CHANGED);
    kith_outgoing_close(out);
    assert_ok(kith_outgoing_open(env, "/f", true, &b, &out));
    assert_memory_not_equal(a.tag, b.tag, sizeof a.tag);
    assert_ok(env->file->truncate(file, 5));
    assert_int_equal(kith_outgoing_read(out, 0, bytes, 10), KITH_ERR_CHANGED);
    assert_int_equal(kith_outgoing_unchanged(out), KITH_ERR_CHANGED);
    env->file->close(file);
    kith_outgoing_close(out);
    assert_int_equal(kith_outgoing_open(env, "/g", true, &b, &out), KITH_ERR_NO_FILE);
    assert_int_equal(kith_outgoing_open(env, FOLDER, true, &b, &out), KITH_ERR_NOT_REGULAR);
    assert_ok(kith_sim_put_file(w.host, "/secret", "x", 1, 0000));
    assert_int_equal(kith_outgoing_open(env, "/secret", true, &b, &out), KITH_ERR_PERMISSION);
    kith_mem_fail_at(1, false);
    assert_int_equal(kith_outgoing_open(env, "/f", true, &b, &out), KITH_ERR_NOMEM);
    kith_mem_fail_at(0, false);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_receive),     TEST(test_resume),   TEST(test_other_boot),    TEST(test_faults),
        TEST(test_failed_sync), TEST(test_no_space), TEST(test_conflicts),     TEST(test_hostile_names),
        TEST(test_two),         TEST(test_keep),     TEST(test_folder_errors), TEST(test_memory),
        TEST(test_threads),     TEST(test_outgoing),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
