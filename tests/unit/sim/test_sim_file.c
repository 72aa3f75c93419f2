/* The disk: what file systems promise, what they do not, and every fault. */
#include "sim_test.h"

#include <stdlib.h>

static kith_sim *sim;
static kith_sim_host *host;
static kith_env *env;
static const kith_env_file *fs;

static int set_up(void **state)
{
    (void)state;
    sim = world(3);
    host = host_in(sim, "a");
    env = process_on(host);
    fs = env->file;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end(sim);
    return 0;
}

#define T(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define RW          (KITH_FILE_READ | KITH_FILE_WRITE)
#define NEW         (RW | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE)

static kith_file *open_ok(const char *path, unsigned flags)
{
    kith_file *file = NULL;
    assert_ok(fs->open(env, path, flags, 0666, &file));
    return file;
}

static kith_err open_err(const char *path, unsigned flags)
{
    kith_file *file = NULL;
    kith_err err = fs->open(env, path, flags, 0666, &file);
    fs->close(file);
    return err;
}

static void save(const char *path, const char *text, bool sync)
{
    kith_file *file = open_ok(path, RW | KITH_FILE_CREATE | KITH_FILE_TRUNCATE);
    assert_ok(fs->write(file, 0, text, strlen(text)));
    if (sync) assert_ok(fs->sync(file));
    fs->close(file);
}

/* Whether the file has this text; NULL: whether it is not there. */
static bool holds(const char *path, const char *text)
{
    uint8_t *data;
    size_t size;
    kith_err err = kith_sim_get_file(host, path, &data, &size);
    if (err) return !text && err == KITH_ERR_NO_FILE;
    bool same = text && size == strlen(text) && memcmp(data, text, size) == 0;
    kith_free(data);
    return same;
}

static kith_file_info info_at(const char *path)
{
    kith_file_info info;
    assert_ok(fs->stat(env, path, false, &info));
    return info;
}

static void power_failure(void)
{
    kith_sim_power_fail(host);
    env = process_on(host);
}

/* ---- one file ---- */

static void opening(void **state)
{
    (void)state;
    assert_int_equal(open_err("/f", RW), KITH_ERR_NO_FILE);
    assert_int_equal(open_err("/no/f", NEW), KITH_ERR_NO_FILE);
    assert_int_equal(open_err("/f", KITH_FILE_CREATE), KITH_ERR_ARG);
    assert_int_equal(open_err("/f", KITH_FILE_READ | KITH_FILE_TRUNCATE), KITH_ERR_ARG);
    assert_int_equal(open_err("/f", RW | KITH_FILE_EXCLUSIVE), KITH_ERR_ARG);
    assert_ok(open_err("/f", NEW));
    assert_int_equal(open_err("/f", NEW), KITH_ERR_EXISTS);
    assert_ok(open_err("/f", RW | KITH_FILE_CREATE));
    assert_int_equal(open_err("/f/g", NEW), KITH_ERR_NO_FILE);
    assert_int_equal(open_err("/", KITH_FILE_READ), KITH_ERR_NOT_REGULAR);
    assert_ok(fs->make_folder(env, "/d", 0777));
    assert_int_equal(open_err("/d", RW | KITH_FILE_CREATE), KITH_ERR_NOT_REGULAR);
    assert_int_equal(open_err("/d", NEW), KITH_ERR_EXISTS);
    assert_ok(open_err("//d/./../d//g", NEW));
    assert_int_equal(info_at("/d/g").mode, 0644); /* less the umask */
    assert_int_equal(info_at("/d").mode, 0755);
    assert_int_equal(info_at("/d").kind, KITH_FILE_FOLDER);
    assert_int_equal(info_at("/f").owner, KITH_SIM_OWNER);
    assert_int_not_equal(info_at("/f").inode, info_at("/d/g").inode);
    char longest[300] = "/";
    memset(longest + 1, 'x', 255);
    assert_ok(open_err(longest, NEW));
    longest[256] = 'x';
    assert_int_equal(open_err(longest, NEW), KITH_ERR_ARG);
    kith_file *file = open_ok("/f", KITH_FILE_READ);
    assert_int_equal(fs->write(file, 0, "x", 1), KITH_ERR_IO);
    fs->close(file);
    file = open_ok("/f", KITH_FILE_WRITE);
    size_t got;
    char byte;
    assert_int_equal(fs->read(file, 0, &byte, 1, &got), KITH_ERR_IO);
    fs->close(file);
    fs->close(NULL);
}

/* Against an array: writes, truncations and reads at random places, over pages' borders. */
static void contents_are_what_was_written(void **state)
{
    (void)state;
    enum { MOST = 300000 };
    uint8_t *model = calloc(1, MOST), *got = malloc(MOST), *data = malloc(MOST);
    size_t size = 0;
    kith_file *file = open_ok("/f", NEW);
    for (unsigned i = 0; i < 400; i++) {
        size_t at = kith_sim_random(sim) % MOST,
               n = kith_sim_random(sim) % 3 ? kith_sim_random(sim) % 5000 : kith_sim_random(sim) % MOST;
        size_t read;
        if (n > MOST - at) n = MOST - at;
        switch (kith_sim_random(sim) % 5) {
        case 0:
            assert_ok(fs->truncate(file, at));
            if (at < size) memset(model + at, 0, size - at);
            size = at;
            break;
        case 1: assert_ok(fs->sync(file)); break;
        default:
            memset(data, (int)i, n);
            assert_ok(fs->write(file, at, data, n));
            memcpy(model + at, data, n);
            if (n && at + n > size) size = at + n;
        }
        memset(got, 0xee, MOST);
        assert_ok(fs->read(file, 0, got, MOST, &read));
        assert_int_equal(read, size);
        assert_memory_equal(got, model, size);
        at = size ? kith_sim_random(sim) % size : 0;
        assert_ok(fs->read(file, at, got, 100, &read));
        assert_int_equal(read, size - at < 100 ? size - at : 100);
        assert_memory_equal(got, model + at, read);
        assert_ok(fs->read(file, size + 5, got, 100, &read));
        assert_int_equal(read, 0);
    }
    fs->close(file);
    free(model), free(got), free(data);
}

static void times_and_modes(void **state)
{
    (void)state;
    kith_file_info before, after;
    kith_file *file = open_ok("/f", NEW);
    assert_ok(fs->info(file, &before));
    assert_true(before.modified_ns / 1000000 == KITH_SIM_START_WALL_MS);
    kith_sim_run_for(sim, KITH_SIM_S);
    assert_ok(fs->info(file, &after));
    assert_true(after.modified_ns == before.modified_ns);
    assert_ok(fs->write(file, 0, "x", 1));
    assert_ok(fs->info(file, &after));
    assert_true(after.modified_ns == before.modified_ns + (int64_t)KITH_SIM_S && after.changed_ns == after.modified_ns);
    kith_sim_run_for(sim, 1000); /* too short for file times to tell */
    assert_ok(fs->write(file, 0, "y", 1));
    assert_true(info_at("/f").modified_ns == after.modified_ns);
    kith_sim_set_wall_skew(host, -3000);
    assert_ok(fs->truncate(file, 0));
    assert_true(info_at("/f").modified_ns == before.modified_ns - 2 * (int64_t)KITH_SIM_S);
    assert_ok(fs->set_mode_time(file, 0777, 12345));
    assert_int_equal(info_at("/f").mode, 0755);
    assert_int_equal(info_at("/f").modified_ns, 12345);
    assert_true(info_at("/f").changed_ns != 12345);
    fs->close(file);
}

static void permissions(void **state)
{
    (void)state;
    assert_ok(kith_sim_put_file(host, "/d/f", "x", 1, 0400));
    assert_ok(open_err("/d/f", KITH_FILE_READ));
    assert_int_equal(open_err("/d/f", RW), KITH_ERR_PERMISSION);
    assert_ok(kith_sim_set_mode(host, "/d/f", 0200));
    assert_int_equal(open_err("/d/f", KITH_FILE_READ), KITH_ERR_PERMISSION);
    assert_ok(kith_sim_set_mode(host, "/d", 0500));
    assert_int_equal(open_err("/d/g", NEW), KITH_ERR_PERMISSION);
    assert_int_equal(fs->remove(env, "/d/f"), KITH_ERR_PERMISSION);
    assert_int_equal(fs->rename(env, "/d/f", "/f"), KITH_ERR_PERMISSION);
    assert_int_equal(fs->make_folder(env, "/d/e", 0777), KITH_ERR_PERMISSION);
    assert_ok(open_err("/d/f", KITH_FILE_WRITE));
    assert_ok(kith_sim_set_mode(host, "/d", 0600));
    assert_int_equal(open_err("/d/f", KITH_FILE_WRITE), KITH_ERR_PERMISSION);
    assert_true(holds("/nothing", NULL));
}

static void locks(void **state)
{
    (void)state;
    kith_env *other = process_on(host);
    kith_file *a = open_ok("/f", NEW), *b = open_ok("/f", RW), *c;
    assert_ok(other->file->open(other, "/f", RW, 0, &c));
    assert_ok(fs->lock(a, false));
    assert_ok(fs->lock(a, true));
    assert_int_equal(fs->lock(b, false), KITH_ERR_AGAIN); /* of the same process, but another handle */
    assert_int_equal(fs->lock(c, false), KITH_ERR_AGAIN);
    assert_int_equal(fs->lock(c, true), KITH_ERR_LOCKED);
    fs->close(a);
    assert_ok(fs->lock(c, true));
    assert_int_equal(fs->lock(b, false), KITH_ERR_AGAIN);
    kith_sim_kill(other);
    assert_ok(fs->lock(b, false));
    other->file->close(c);
    fs->close(b);
}

/* ---- names ---- */

static void renaming(void **state)
{
    (void)state;
    save("/a", "A", false);
    save("/b", "B", false);
    assert_ok(fs->make_folder(env, "/d", 0755));
    assert_ok(fs->make_folder(env, "/d/e", 0755));
    assert_ok(fs->make_folder(env, "/empty", 0755));
    assert_int_equal(fs->rename(env, "/none", "/a"), KITH_ERR_NO_FILE);
    assert_int_equal(fs->rename(env, "/a", "/none/a"), KITH_ERR_NO_FILE);
    assert_int_equal(fs->rename_new(env, "/a", "/b"), KITH_ERR_EXISTS);
    assert_int_equal(fs->rename(env, "/a", "/d"), KITH_ERR_NOT_REGULAR);
    assert_int_equal(fs->rename(env, "/d", "/a"), KITH_ERR_NO_FILE);
    assert_int_equal(fs->rename(env, "/empty", "/d"), KITH_ERR_EXISTS);
    assert_int_equal(fs->rename(env, "/d", "/d/e/d"), KITH_ERR_IO);
    assert_true(holds("/a", "A") && holds("/b", "B"));
    uint64_t inode = info_at("/a").inode;
    kith_file *open = open_ok("/b", KITH_FILE_READ);
    assert_ok(fs->rename(env, "/a", "/b"));
    assert_true(holds("/a", NULL) && holds("/b", "A"));
    assert_true(info_at("/b").inode == inode);
    char byte;
    size_t got;
    assert_ok(fs->read(open, 0, &byte, 1, &got)); /* who had it open still has it */
    assert_int_equal(byte, 'B');
    fs->close(open);
    assert_ok(fs->rename(env, "/b", "/b"));
    assert_ok(fs->rename_new(env, "/b", "/d/e/f"));
    assert_true(holds("/b", NULL) && holds("/d/e/f", "A"));
    assert_ok(fs->rename(env, "/d", "/empty"));
    assert_true(holds("/empty/e/f", "A"));
    assert_int_equal(fs->remove(env, "/empty"), KITH_ERR_EXISTS);
    assert_int_equal(fs->remove(env, "/none"), KITH_ERR_NO_FILE);
    assert_int_equal(fs->remove(env, "/"), KITH_ERR_IO);
    assert_ok(fs->remove(env, "/empty/e/f"));
    assert_ok(fs->remove(env, "/empty/e"));
    assert_ok(fs->remove(env, "/empty"));
    assert_int_equal(fs->make_folder(env, "/x/y", 0755), KITH_ERR_NO_FILE);
    assert_ok(fs->make_folder(env, "/x", 0755));
    assert_int_equal(fs->make_folder(env, "/x", 0755), KITH_ERR_EXISTS);
    assert_int_equal(fs->sync_folder(env, "/y"), KITH_ERR_NO_FILE);
}

static unsigned listed;
static void remove_each(void *user, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", (const char *)user, name);
    listed |= 1u << (name[0] - 'a');
    assert_ok(fs->remove(env, path));
}

static void count_names(void *user, const char *name) { *(size_t *)user += strlen(name); }

static void listing(void **state)
{
    (void)state;
    assert_ok(fs->make_folder(env, "/d", 0755));
    assert_ok(fs->list(env, "/d", remove_each, (void *)(uintptr_t) "/d"));
    save("/d/a", "", true);
    save("/d/b", "", false);
    save("/d/c", "", false);
    assert_ok(fs->make_folder(env, "/d/e", 0755));
    assert_ok(fs->remove(env, "/d/b"));
    listed = 0;
    assert_ok(fs->list(env, "/d", remove_each, (void *)(uintptr_t) "/d"));
    assert_int_equal(listed, 1 | 4 | 16);
    assert_ok(fs->remove(env, "/d"));
    assert_int_equal(fs->list(env, "/d", remove_each, NULL), KITH_ERR_NO_FILE);
    save("/f", "", false);
    assert_int_equal(fs->list(env, "/f", remove_each, NULL), KITH_ERR_NO_FILE);
}

/* ---- space ---- */

static void space_runs_out(void **state)
{
    (void)state;
    static uint8_t data[100000];
    size_t got;
    kith_sim_set_capacity(host, 5 * 16 * 4096);
    kith_file *a = open_ok("/a", NEW), *b = open_ok("/b", NEW);
    memset(data, 7, sizeof data);
    assert_ok(fs->write(a, 0, data, sizeof data));
    assert_int_equal(kith_sim_disk_used(host), 25 * 4096);
    assert_ok(fs->write(a, 50, data, 1000)); /* over what is there */
    assert_int_equal(kith_sim_disk_used(host), 25 * 4096);
    assert_ok(fs->write(a, 1 << 20, data, 1)); /* far away: a hole between */
    assert_int_equal(kith_sim_disk_used(host), 26 * 4096);
    assert_int_equal(fs->reserve(b, 55 * 4096), KITH_ERR_NO_SPACE);
    assert_ok(fs->reserve(b, 50 * 4096));
    assert_int_equal(kith_sim_disk_used(host), 76 * 4096);
    assert_ok(fs->write(b, 0, data, sizeof data)); /* in what is reserved */
    assert_int_equal(kith_sim_disk_used(host), 76 * 4096);
    kith_file_info info;
    assert_ok(fs->info(b, &info));
    assert_int_equal(info.size, sizeof data);
    assert_int_equal(fs->write(a, 2 << 20, data, sizeof data), KITH_ERR_NO_SPACE);
    assert_ok(fs->truncate(b, 8000)); /* gives back what was reserved beyond */
    assert_int_equal(kith_sim_disk_used(host), 28 * 4096);
    assert_ok(fs->reserve(b, 50 * 4096));
    assert_ok(fs->truncate(a, 1000));
    assert_int_equal(kith_sim_disk_used(host), 51 * 4096);
    assert_ok(fs->remove(env, "/b"));
    assert_int_equal(kith_sim_disk_used(host), 51 * 4096); /* still open */
    fs->close(b);
    assert_int_equal(kith_sim_disk_used(host), 4096);
    assert_ok(fs->write(a, 0, data, sizeof data));
    assert_ok(fs->read(a, 99999, data, 10, &got));
    assert_int_equal(got, 1);
    fs->close(a);
    assert_ok(fs->remove(env, "/a"));
    assert_int_equal(kith_sim_disk_used(host), 0);
    kith_sim_set_capacity(host, 0);
    assert_ok(kith_sim_put_file(host, "/a", data, 5000, 0644)); /* past the limit, as said */
    assert_int_equal(kith_sim_disk_used(host), 8192);
    assert_int_equal(open_err("/c", NEW), KITH_OK); /* names are free */
}

/* ---- faults ---- */

/* Each operation there is, once; the error of the one that failed. */
static kith_err everything(unsigned *passed)
{
    kith_file *file = NULL;
    kith_err err;
    *passed = 0;
#define STEP(call)                                                                                                     \
    do {                                                                                                               \
        if ((err = (call)) != KITH_OK) goto done;                                                                      \
        ++*passed;                                                                                                     \
    } while (0)
    STEP(fs->make_folder(env, "/d", 0755));
    STEP(fs->open(env, "/d/f", NEW, 0600, &file));
    STEP(fs->reserve(file, 10000));
    STEP(fs->write(file, 0, "0123456789", 10));
    STEP(fs->truncate(file, 8));
    STEP(fs->set_mode_time(file, 0640, 1000));
    STEP(fs->sync(file));
    STEP(fs->rename(env, "/d/f", "/d/g"));
    STEP(fs->rename_new(env, "/d/g", "/d/h"));
    STEP(fs->sync_folder(env, "/d"));
    STEP(fs->remove(env, "/d/h"));
#undef STEP
done:
    fs->close(file);
    return err;
}

static void operations_fail_one_by_one(void **state)
{
    (void)state;
    unsigned n = 1, passed;
    for (;; n++) {
        (void)fs->remove(env, "/d/f"), (void)fs->remove(env, "/d/g"), (void)fs->remove(env, "/d/h");
        (void)fs->remove(env, "/d");
        kith_sim_fail_file_at(env, n, KITH_ERR_NO_SPACE, KITH_SIM_FAIL_ONCE);
        uint64_t before = kith_sim_file_ops(env);
        kith_err err = everything(&passed);
        if (!err) break;
        assert_int_equal(err, KITH_ERR_NO_SPACE);
        assert_int_equal(passed, n - 1);
        assert_int_equal(kith_sim_file_ops(env) - before, n);
        if (n == 1) assert_true(holds("/d", NULL));
        if (n == 2) assert_true(holds("/d/f", NULL));
        if (n == 4) assert_true(holds("/d/f", ""));
        if (n == 5) assert_true(holds("/d/f", "0123456789"));
        if (n == 8) assert_true(holds("/d/f", "01234567"));
        if (n == 9) assert_true(holds("/d/g", "01234567"));
        if (n == 11) assert_true(holds("/d/h", "01234567"));
        assert_ok(kith_sim_put_folder(host, "/after", 0755)); /* the next operation works */
    }
    assert_int_equal(n, 12);
    kith_sim_fail_file_at(env, 0, KITH_ERR_IO, KITH_SIM_FAIL_ONCE);
    assert_ok(fs->remove(env, "/d"));
    assert_ok(everything(&passed));
}

static void a_disk_dies(void **state)
{
    (void)state;
    save("/f", "x", false);
    kith_sim_fail_file_at(env, 2, KITH_ERR_IO, KITH_SIM_FAIL_ON);
    assert_ok(fs->make_folder(env, "/a", 0755));
    for (unsigned i = 0; i < 3; i++) assert_int_equal(fs->make_folder(env, "/b", 0755), KITH_ERR_IO);
    assert_int_equal(fs->remove(env, "/f"), KITH_ERR_IO);
    assert_ok(open_err("/f", KITH_FILE_READ)); /* does not modify */
    kith_sim_fail_file_at(env, 0, KITH_ERR_IO, KITH_SIM_FAIL_ONCE);
    assert_ok(fs->make_folder(env, "/b", 0755));
}

static void killed_at_each_operation(void **state)
{
    (void)state;
    unsigned n = 1, passed, torn = 0, whole = 0, nothing = 0;
    for (unsigned round = 0; round < 40; round++) {
        for (n = 1;; n++) {
            kith_sim_fail_file_at(env, n, KITH_ERR_IO, KITH_SIM_FAIL_KILL);
            kith_err err = everything(&passed);
            if (!err) break;
            assert_int_equal(err, KITH_ERR_IO);
            assert_int_equal(passed, n - 1);
            assert_false(kith_sim_alive(env));
            assert_int_equal(open_err("/d/f", KITH_FILE_READ), KITH_ERR_IO); /* it is dead */
            if (n == 4) {
                uint8_t *data;
                size_t size;
                assert_ok(kith_sim_get_file(host, "/d/f", &data, &size));
                assert_memory_equal(data, "0123456789", size);
                nothing += size == 0;
                torn += size > 0 && size < 10;
                whole += size == 10;
                kith_free(data);
            }
            env = process_on(host);
            (void)fs->remove(env, "/d/f"), (void)fs->remove(env, "/d/g"), (void)fs->remove(env, "/d/h");
            (void)fs->remove(env, "/d");
        }
        kith_sim_fail_file_at(env, 0, KITH_OK, KITH_SIM_FAIL_ONCE);
        assert_ok(fs->remove(env, "/d"));
    }
    assert_int_equal(n, 12);
    assert_true(torn > 0 && whole > 0 && nothing > 0);
}

static void kill_keeps_what_was_written(void **state)
{
    (void)state;
    kith_file *file = open_ok("/f", NEW);
    kith_file_info info;
    size_t got;
    char byte;
    assert_ok(fs->write(file, 0, "abc", 3));
    kith_sim_kill(env);
    assert_true(holds("/f", "abc"));
    assert_int_equal(fs->write(file, 0, "x", 1), KITH_ERR_IO);
    assert_int_equal(fs->read(file, 0, &byte, 1, &got), KITH_ERR_IO);
    assert_int_equal(fs->info(file, &info), KITH_ERR_IO);
    assert_int_equal(fs->sync(file), KITH_ERR_IO);
    assert_int_equal(fs->lock(file, false), KITH_ERR_IO);
    assert_int_equal(fs->flush_begin(file, 0, 1), KITH_ERR_IO);
    assert_int_equal(fs->rename(env, "/f", "/g"), KITH_ERR_IO);
    assert_int_equal(fs->stat(env, "/f", true, &info), KITH_ERR_IO);
    assert_int_equal(fs->list(env, "/", remove_each, NULL), KITH_ERR_IO);
    fs->close(file);
    assert_true(holds("/f", "abc"));
    env = process_on(host);
    file = open_ok("/f", RW);
    assert_ok(fs->flush_begin(file, 0, 3));
    fs->close(file);
}

/* ---- power ---- */

static void synced_is_kept(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof text, "version %u", i);
        save("/new", text, true);
        assert_ok(fs->rename(env, "/new", "/f"));
        assert_ok(fs->sync_folder(env, "/"));
        power_failure();
        assert_true(holds("/f", text));
        assert_true(holds("/new", NULL));
        save("/f", "garbage", false); /* and this may or may not be: an open with TRUNCATE and a write */
        power_failure();
        assert_false(holds("/f", NULL));
    }
}

static void unsynced_is_a_gamble(void **state)
{
    (void)state;
    enum { BLOCKS = 40 };
    static uint8_t old[BLOCKS * 4096], new[BLOCKS * 4096];
    unsigned all_old = 0, all_new = 0, mixed = 0, grown = 0;
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    for (unsigned i = 0; i < 100; i++) {
        assert_ok(kith_sim_put_file(host, "/f", old, 30 * 4096, 0644));
        kith_file *file = open_ok("/f", RW);
        assert_ok(fs->write(file, 0, new, sizeof new));
        power_failure();
        fs->close(file);
        uint8_t *data;
        size_t size, olds = 0, news = 0;
        assert_ok(kith_sim_get_file(host, "/f", &data, &size));
        assert_true(size == 30 * 4096 || size == sizeof new);
        grown += size == sizeof new;
        for (size_t at = 0; at < size; at += 4096) {
            bool is_old = memcmp(data + at, old, 4096) == 0, is_new = memcmp(data + at, new, 4096) == 0;
            bool is_zero = data[at] == 0 && memcmp(data + at, data + at + 1, 4095) == 0;
            assert_true(is_old || is_new || (is_zero && at >= 30 * 4096));
            olds += is_old;
            news += is_new;
        }
        kith_free(data);
        all_old += news == 0 && size == 30 * 4096;
        all_new += news == BLOCKS;
        mixed += olds && news;
    }
    assert_true(all_old > 5 && all_new > 5 && mixed > 20 && grown > 20);
    /* Small ones, too: it is the contents that go, not the name. */
    unsigned empty = 0, kept = 0;
    for (unsigned i = 0; i < 100; i++) {
        save("/g", "text", false);
        assert_ok(fs->sync_folder(env, "/"));
        power_failure();
        empty += holds("/g", "");
        kept += holds("/g", "text");
        assert_ok(fs->remove(env, "/g"));
        assert_ok(fs->sync_folder(env, "/"));
    }
    assert_true(empty > 10 && kept > 10);
}

static void unsynced_names_are_undone(void **state)
{
    (void)state;
    unsigned kept = 0, undone = 0, part = 0, removed = 0;
    assert_ok(kith_sim_put_folder(host, "/d", 0755));
    for (unsigned i = 0; i < 200; i++) {
        assert_ok(kith_sim_put_file(host, "/d/f", "old", 3, 0644));
        save("/d/a", "new", true);
        assert_ok(fs->rename(env, "/d/a", "/d/f"));
        save("/d/b", "b", true);
        power_failure();
        bool is_new = holds("/d/f", "new"), has_a = holds("/d/a", "new"), has_b = holds("/d/b", "b");
        assert_true(is_new || holds("/d/f", "old")); /* never neither */
        assert_false(is_new && has_a);
        assert_true(is_new || !has_b); /* in their order */
        kept += is_new && has_b;
        part += is_new && !has_b;
        undone += !is_new;
        (void)fs->remove(env, "/d/a");
        (void)fs->remove(env, "/d/b");
        assert_ok(fs->sync_folder(env, "/d"));
        assert_ok(fs->remove(env, "/d/f"));
        power_failure();
        removed += holds("/d/f", NULL);
    }
    assert_true(kept > 20 && undone > 20 && part > 5);
    assert_in_range(removed, 20, 180);
}

static void a_rename_between_folders_is_one_thing(void **state)
{
    (void)state;
    unsigned moved = 0;
    for (unsigned i = 0; i < 100; i++) {
        assert_ok(kith_sim_put_folder(host, "/x", 0755));
        assert_ok(kith_sim_put_folder(host, "/y", 0755));
        save("/x/f", "text", true);
        if (i % 3 == 0) assert_ok(fs->sync_folder(env, "/x"));
        assert_ok(fs->rename(env, "/x/f", "/y/f"));
        if (i % 3 == 1) assert_ok(fs->sync_folder(env, "/x"));
        if (i % 3 == 2) assert_ok(fs->sync_folder(env, "/y"));
        power_failure();
        assert_true(holds("/x/f", NULL) != holds("/y/f", NULL));
        if (i % 3) assert_true(holds("/y/f", "text"));
        moved += i % 3 == 0 && holds("/y/f", "text");
        (void)fs->remove(env, "/y/f");
        (void)fs->remove(env, "/x/f");
        assert_ok(fs->sync_folder(env, "/y"));
        assert_ok(fs->sync_folder(env, "/x"));
    }
    assert_in_range(moved, 4, 30);
}

/* Syncing a file, or another folder, says nothing of its name. */
static void a_name_needs_its_own_folder_synced(void **state)
{
    (void)state;
    unsigned lost = 0, folder_lost = 0;
    assert_ok(kith_sim_put_folder(host, "/other", 0755));
    for (unsigned i = 0; i < 60; i++) {
        save("/f", "text", true);
        assert_ok(fs->sync_folder(env, "/other"));
        power_failure();
        lost += holds("/f", NULL);
        (void)fs->remove(env, "/f");
        assert_ok(fs->make_folder(env, "/deep", 0755));
        save("/deep/f", "text", true);
        assert_ok(fs->sync_folder(env, "/deep"));
        power_failure();
        folder_lost += holds("/deep/f", NULL);
        if (fs->remove(env, "/deep/f") == KITH_OK) assert_ok(fs->sync_folder(env, "/deep"));
        (void)fs->remove(env, "/deep");
        assert_ok(fs->sync_folder(env, "/"));
    }
    assert_true(lost > 5 && folder_lost > 5);
}

static void power_fails_while_files_are_open(void **state)
{
    (void)state;
    kith_file *gone = open_ok("/gone", NEW), *locked = open_ok("/locked", NEW);
    assert_ok(fs->write(gone, 0, "x", 1));
    assert_ok(fs->lock(locked, false));
    assert_ok(fs->sync_folder(env, "/"));
    assert_ok(fs->remove(env, "/gone"));
    power_failure();
    fs->close(gone);
    fs->close(locked);
    locked = open_ok("/locked", RW);
    assert_ok(fs->lock(locked, false));
    fs->close(locked);
    for (unsigned i = 0; i < 30; i++) { /* folders moved about */
        (void)fs->make_folder(env, "/p", 0755), (void)fs->make_folder(env, "/p/q", 0755);
        (void)fs->make_folder(env, "/r", 0755);
        save("/r/f", "x", i % 2);
        (void)fs->rename(env, "/p/q", "/r/q");
        (void)fs->rename(env, "/p", "/r/q/p");
        power_failure();
        if (i % 4 == 0) (void)fs->sync_folder(env, "/");
        (void)fs->rename(env, "/r/q/p", "/p");
        (void)fs->rename(env, "/r/q", "/p/q");
        (void)fs->rename(env, "/r", "/p/q/r");
    }
}

static void large_files_are_quick(void **state)
{
    (void)state;
    static uint8_t data[1 << 20];
    kith_file *file = open_ok("/large", NEW);
    for (uint64_t i = 0; i < 64; i++) {
        memset(data, (int)i, sizeof data);
        assert_ok(fs->write(file, i << 20, data, sizeof data));
        assert_ok(fs->sync(file));
    }
    kith_file_info info;
    assert_ok(fs->info(file, &info));
    assert_int_equal(info.size, 64 << 20);
    assert_int_equal(kith_sim_disk_used(host), 64 << 20);
    fs->close(file);
}

static kith_err work_on_files(void)
{
    unsigned passed;
    size_t size = 0, length = 0;
    uint8_t *data = NULL;
    kith_err err = everything(&passed);
    if (!err) err = fs->list(env, "/", count_names, &length);
    bool failed = kith_mem_failed();
    kith_sim_power_fail(host); /* for want of memory, the old contents are what is left */
    if (!failed && kith_mem_failed()) err = KITH_ERR_NOMEM;
    if (!err) err = kith_sim_put_file(host, "/p/f", "0123456789", 10, 0644);
    if (!err) err = kith_sim_get_file(host, "/p/f", &data, &size);
    kith_free(data);
    return err;
}

static int files_in_a_world(void *arg)
{
    (void)arg;
    kith_sim *made = NULL;
    kith_err err = kith_sim_new(5, &made);
    if (!err) err = kith_sim_host_new(made, "a", &host);
    if (!err) err = kith_sim_env_new(host, &env);
    if (!err) {
        kith_file *file = NULL;
        err = fs->open(env, "/big", NEW, 0600, &file);
        static uint8_t data[200000];
        if (!err) err = fs->write(file, 0, data, sizeof data);
        if (!err) err = fs->sync(file);
        if (!err) err = fs->write(file, 1000, data, 100000);
        if (!err) err = fs->truncate(file, 70000);
        fs->close(file);
        if (!err) err = fs->remove(env, "/big");
    }
    if (!err) err = work_on_files();
    kith_sim_free(made);
    return err;
}

static void memory_runs_out(void **state)
{
    (void)state;
    test_every_allocation(files_in_a_world, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(opening),
        T(contents_are_what_was_written),
        T(times_and_modes),
        T(permissions),
        T(locks),
        T(renaming),
        T(listing),
        T(space_runs_out),
        T(operations_fail_one_by_one),
        T(a_disk_dies),
        T(killed_at_each_operation),
        T(kill_keeps_what_was_written),
        T(synced_is_kept),
        T(unsynced_is_a_gamble),
        T(unsynced_names_are_undone),
        T(a_rename_between_folders_is_one_thing),
        T(a_name_needs_its_own_folder_synced),
        T(power_fails_while_files_are_open),
        T(large_files_are_quick),
        T(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
