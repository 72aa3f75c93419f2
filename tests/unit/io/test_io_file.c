/* Files, in a folder of the test's own. */
#include "io_test.h"

#include <ftw.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

static io_test t;
static const kith_env_file *files;
static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[4][4096];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static kith_file *open_file(const char *name, unsigned flags)
{
    kith_file *file = NULL;
    assert_ok(files->open(t.env, in_folder(name), flags, 0600, &file));
    return file;
}

static void make(const char *name, const char *text)
{
    kith_file *file = open_file(name, KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_TRUNCATE);
    assert_ok(files->write(file, 0, text, strlen(text)));
    files->close(file);
}

static void has(const char *name, const char *text)
{
    char data[64];
    size_t got = 99;
    kith_file *file = open_file(name, KITH_FILE_READ);
    assert_ok(files->read(file, 0, data, sizeof data, &got));
    assert_int_equal(got, strlen(text));
    assert_memory_equal(data, text, got);
    files->close(file);
}

static kith_err try_open(const char *name, unsigned flags)
{
    kith_file *file = (kith_file *)&t, *const untouched = file;
    kith_err err = files->open(t.env, in_folder(name), flags, 0600, &file);
    if (!err) {
        files->close(file);
    } else {
        assert_ptr_equal(file, untouched);
    }
    return err;
}

static bool exists(const char *name)
{
    kith_file_info info;
    return files->stat(t.env, in_folder(name), false, &info) == KITH_OK;
}

static int set_up(void **state)
{
    (void)state;
    t = io_test_new();
    files = t.env->file;
    snprintf(folder, sizeof folder, "/tmp/kith-file-XXXXXX");
    umask(022);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    io_test_end(&t);
    return 0;
}

static void test_read_write(void **state)
{
    (void)state;
    uint8_t data[10000], back[10000];
    size_t got = 0;
    t.env->base->random(t.env, data, sizeof data);
    kith_file *file = open_file("a", KITH_FILE_READ | KITH_FILE_WRITE | KITH_FILE_CREATE);
    assert_ok(files->write(file, 5000, data, sizeof data)); /* leaves a hole before it */
    assert_ok(files->read(file, 5000, back, sizeof back, &got));
    assert_int_equal(got, sizeof back);
    assert_memory_equal(data, back, sizeof back);
    assert_ok(files->read(file, 14000, back, sizeof back, &got));
    assert_int_equal(got, 1000);
    assert_memory_equal(data + 9000, back, 1000);
    assert_ok(files->read(file, 15000, back, sizeof back, &got));
    assert_int_equal(got, 0);
    assert_ok(files->read(file, 0, back, 1, &got));
    assert_int_equal(back[0], 0);
    assert_ok(files->write(file, 0, NULL, 0));
    assert_int_equal(files->read(file, UINT64_MAX, back, 1, &got), KITH_ERR_ARG);
    assert_int_equal(files->write(file, UINT64_MAX, back, 1), KITH_ERR_LIMIT);
    assert_int_equal(files->write(file, INT64_MAX, back, 1), KITH_ERR_LIMIT);
    files->close(file);
    files->close(NULL);
}

/* Writes past the page cache and through it, aligned and not, are one file, whatever the file system can; without a
 * place for the descriptors it is an ordinary one. */
static void test_direct(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        size_t from, size;
    } writes[] = {{0, 0, 1 << 20},    {1 << 20, 0, 4096},  {(1 << 20) + 4096, 1, 4096}, {5000, 0, 8192},
                  {8192, 100, 12288}, {3 << 20, 0, 65536}, {(3 << 20) + 65536, 0, 777}};
    const size_t whole = (3 << 20) + 65536 + 777;
    uint8_t *data = kith_malloc_pages((1 << 20) + 4096), *expected = calloc(1, whole), *back = malloc(whole + 1);
    size_t got;
    assert_true(data && expected && back);
    assert_int_equal((uintptr_t)data % KITH_FILE_BLOCK, 0);
    for (int turn = 0; turn < 2; turn++) {
        struct rlimit before, few;
        kith_file *file;
        assert_ok(getrlimit(RLIMIT_NOFILE, &before));
        few = before;
        few.rlim_cur = (rlim_t)dup(0);
        close((int)few.rlim_cur++);
        if (turn) assert_ok(setrlimit(RLIMIT_NOFILE, &few)); /* for one more, not two */
        file =
            open_file("d", KITH_FILE_READ | KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_TRUNCATE | KITH_FILE_DIRECT);
        assert_ok(setrlimit(RLIMIT_NOFILE, &before));
        assert_ok(files->reserve(file, whole));
        memset(expected, 0, whole);
        for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
            t.env->base->random(t.env, data, (1 << 20) + 4096);
            assert_ok(files->write(file, writes[i].offset, data + writes[i].from, writes[i].size));
            memcpy(expected + writes[i].offset, data + writes[i].from, writes[i].size);
        }
        assert_ok(files->read(file, 0, back, whole + 1, &got));
        assert_int_equal(got, whole);
        assert_memory_equal(back, expected, whole);
        assert_ok(files->sync(file));
        files->close(file);
    }
    kith_free(data);
    free(expected);
    free(back);
}

static void test_flags(void **state)
{
    (void)state;
    assert_int_equal(try_open("a", KITH_FILE_READ), KITH_ERR_NO_FILE);
    assert_int_equal(try_open("a", KITH_FILE_CREATE), KITH_ERR_ARG);
    assert_int_equal(try_open("a", KITH_FILE_READ | KITH_FILE_TRUNCATE), KITH_ERR_ARG);
    assert_int_equal(try_open("a", KITH_FILE_WRITE | KITH_FILE_EXCLUSIVE), KITH_ERR_ARG);
    assert_false(exists("a"));
    make("a", "some text");
    assert_int_equal(try_open("a", KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE), KITH_ERR_EXISTS);
    assert_ok(try_open("b", KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE));
    assert_ok(try_open("a", KITH_FILE_WRITE | KITH_FILE_CREATE));
    has("a", "some text");
    assert_ok(try_open("a", KITH_FILE_WRITE | KITH_FILE_TRUNCATE));
    has("a", "");
    /* Handles are as wide as asked for, and not inherited by programs. */
    size_t got;
    char byte;
    kith_file *file = open_file("a", KITH_FILE_READ);
    assert_int_not_equal(files->write(file, 0, "x", 1), KITH_OK);
    files->close(file);
    file = open_file("a", KITH_FILE_WRITE);
    assert_int_not_equal(files->read(file, 0, &byte, 1, &got), KITH_OK);
    assert_int_equal(fcntl(*(int *)(void *)file, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    files->close(file);
}

static void test_info(void **state)
{
    (void)state;
    kith_file_info info, other;
    struct stat st;
    make("a", "12345");
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1700000000, .tv_nsec = 123456789}};
    assert_ok(utimensat(AT_FDCWD, in_folder("a"), times, 0));
    assert_ok(chmod(in_folder("a"), 02751));
    assert_ok(stat(in_folder("a"), &st));
    kith_file *file = open_file("a", KITH_FILE_READ);
    assert_ok(files->info(file, &info));
    files->close(file);
    assert_int_equal(info.kind, KITH_FILE_REGULAR);
    assert_int_equal(info.mode, 02751);
    assert_int_equal(info.owner, getuid());
    assert_int_equal(info.size, 5);
    assert_true(info.device == st.st_dev && info.inode == st.st_ino);
    assert_true(info.modified_ns == INT64_C(1700000000123456789));
    assert_true(info.changed_ns == (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
    assert_ok(files->stat(t.env, in_folder("a"), true, &other));
    assert_true(other.kind == info.kind && other.mode == info.mode && other.owner == info.owner);
    assert_true(other.size == info.size && other.device == info.device && other.inode == info.inode);
    assert_true(other.modified_ns == info.modified_ns && other.changed_ns == info.changed_ns);

    assert_ok(symlink("a", in_folder("link")));
    assert_ok(files->stat(t.env, in_folder("link"), false, &other));
    assert_int_equal(other.kind, KITH_FILE_LINK);
    assert_ok(files->stat(t.env, in_folder("link"), true, &other));
    assert_int_equal(other.inode, info.inode);
    assert_ok(files->stat(t.env, folder, false, &other));
    assert_int_equal(other.kind, KITH_FILE_FOLDER);
    assert_ok(files->stat(t.env, "/dev/null", false, &other));
    assert_int_equal(other.kind, KITH_FILE_OTHER);
    other.size = 77;
    assert_int_equal(files->stat(t.env, in_folder("none"), false, &other), KITH_ERR_NO_FILE);
    assert_int_equal(files->stat(t.env, in_folder("a/b"), false, &other), KITH_ERR_NO_FILE);
    assert_int_equal(other.size, 77);
}

static void test_mode_and_umask(void **state)
{
    (void)state;
    kith_file *file;
    kith_file_info info;
    umask(027);
    assert_ok(files->open(t.env, in_folder("a"), KITH_FILE_WRITE | KITH_FILE_CREATE, 0666, &file));
    assert_ok(files->info(file, &info));
    files->close(file);
    assert_int_equal(info.mode, 0640);
    assert_ok(files->make_folder(t.env, in_folder("d"), 0777));
    assert_ok(files->stat(t.env, in_folder("d"), false, &info));
    assert_int_equal(info.mode, 0750);
    umask(022);
}

static void test_set_mode_time(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_C(1700000000123456789), 0, -1, INT64_C(-1500000000)};
    kith_file_info info;
    kith_file *file = open_file("a", KITH_FILE_WRITE | KITH_FILE_CREATE);
    umask(027);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        assert_ok(files->set_mode_time(file, i % 2 ? 0444 : 07777, times[i]));
        assert_ok(files->info(file, &info));
        assert_int_equal(info.mode, i % 2 ? 0440 : 0750);
        assert_true(info.modified_ns == times[i]);
    }
    assert_int_equal(umask(022), 027); /* read, not changed */
    files->close(file);
}

static void test_symlinks(void **state)
{
    (void)state;
    make("a", "text");
    assert_ok(symlink("a", in_folder("link")));
    assert_ok(symlink("loop", in_folder("loop")));
    assert_ok(symlink("nowhere", in_folder("dangling")));
    assert_ok(try_open("link", KITH_FILE_READ));
    assert_int_equal(try_open("link", KITH_FILE_READ | KITH_FILE_NOFOLLOW), KITH_ERR_NOT_REGULAR);
    assert_int_equal(try_open("loop", KITH_FILE_READ), KITH_ERR_NOT_REGULAR);
    assert_int_equal(try_open("dangling", KITH_FILE_READ), KITH_ERR_NO_FILE);
    assert_int_equal(try_open("dangling", KITH_FILE_WRITE | KITH_FILE_CREATE | KITH_FILE_EXCLUSIVE), KITH_ERR_EXISTS);
    assert_false(exists("nowhere")); /* was not created through the link */
    assert_ok(files->remove(t.env, in_folder("link")));
    has("a", "text");
}

static void test_not_regular(void **state)
{
    (void)state;
    kith_file *file;
    kith_file_info info;
    char byte;
    size_t got;
    assert_ok(files->make_folder(t.env, in_folder("d"), 0700));
    assert_int_equal(try_open("d", KITH_FILE_READ), KITH_ERR_NOT_REGULAR);
    assert_int_equal(try_open("d", KITH_FILE_WRITE), KITH_ERR_NOT_REGULAR);
    /* A FIFO without anybody at its other end: none of these may wait. */
    assert_ok(mkfifo(in_folder("fifo"), 0600));
    assert_int_equal(try_open("fifo", KITH_FILE_WRITE), KITH_ERR_NOT_REGULAR);
    assert_ok(files->open(t.env, in_folder("fifo"), KITH_FILE_READ, 0, &file));
    assert_ok(files->info(file, &info));
    assert_int_equal(info.kind, KITH_FILE_OTHER);
    assert_int_equal(files->read(file, 0, &byte, 1, &got), KITH_ERR_NOT_REGULAR);
    files->close(file);

    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s/socket", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_ok(bind(fd, (struct sockaddr *)&name, sizeof name));
    assert_int_equal(try_open("socket", KITH_FILE_READ), KITH_ERR_NOT_REGULAR);
    close(fd);
}

static void test_truncate_reserve_sync(void **state)
{
    (void)state;
    kith_file_info info;
    struct stat st;
    kith_file *file = open_file("a", KITH_FILE_READ | KITH_FILE_WRITE | KITH_FILE_CREATE);
    assert_ok(files->write(file, 0, "12345", 5));
    assert_ok(files->truncate(file, 3));
    has("a", "123");
    assert_ok(files->truncate(file, 5));
    assert_ok(files->info(file, &info));
    assert_int_equal(info.size, 5);
    assert_int_equal(files->truncate(file, UINT64_MAX), KITH_ERR_LIMIT);
    assert_ok(files->reserve(file, 1 << 20));
    assert_ok(files->info(file, &info));
    assert_int_equal(info.size, 5);
    assert_ok(stat(in_folder("a"), &st));
    printf("reserved %ld KiB\n", (long)st.st_blocks / 2);
    assert_ok(files->reserve(file, 0));
    assert_int_equal(files->reserve(file, UINT64_MAX), KITH_ERR_LIMIT);
    assert_ok(files->flush_begin(file, 0, 5));
    assert_ok(files->flush_begin(file, 0, 0));
    assert_int_equal(files->flush_begin(file, UINT64_MAX, 1), KITH_ERR_ARG);
    assert_ok(files->sync(file));
    files->close(file);
    assert_ok(files->sync_folder(t.env, folder));
    assert_int_equal(files->sync_folder(t.env, in_folder("none")), KITH_ERR_NO_FILE);
    assert_int_equal(files->sync_folder(t.env, in_folder("a")), KITH_ERR_NO_FILE);
}

static void test_names(void **state)
{
    (void)state;
    make("a", "A");
    make("b", "B");
    assert_ok(files->rename(t.env, in_folder("a"), in_folder("b")));
    assert_false(exists("a"));
    has("b", "A");
    assert_int_equal(files->rename(t.env, in_folder("a"), in_folder("c")), KITH_ERR_NO_FILE);
    assert_ok(files->make_folder(t.env, in_folder("d"), 0700));
    assert_int_equal(files->make_folder(t.env, in_folder("d"), 0700), KITH_ERR_EXISTS);
    assert_int_equal(files->make_folder(t.env, in_folder("x/y"), 0700), KITH_ERR_NO_FILE);
    assert_int_equal(files->rename(t.env, in_folder("b"), in_folder("d")), KITH_ERR_NOT_REGULAR);
    assert_ok(files->rename(t.env, in_folder("b"), in_folder("d/b")));
    assert_int_equal(files->remove(t.env, in_folder("d")), KITH_ERR_EXISTS);
    assert_ok(files->remove(t.env, in_folder("d/b")));
    assert_ok(files->remove(t.env, in_folder("d")));
    assert_int_equal(files->remove(t.env, in_folder("d")), KITH_ERR_NO_FILE);
    char name[300];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(try_open(name, KITH_FILE_WRITE | KITH_FILE_CREATE), KITH_ERR_ARG);
}

static void check_rename_new(void)
{
    make("a", "A");
    make("b", "B");
    assert_int_equal(files->rename_new(t.env, in_folder("a"), in_folder("b")), KITH_ERR_EXISTS);
    has("a", "A");
    has("b", "B");
    assert_ok(files->rename_new(t.env, in_folder("a"), in_folder("c")));
    assert_false(exists("a"));
    has("c", "A");
    assert_int_equal(files->rename_new(t.env, in_folder("a"), in_folder("e")), KITH_ERR_NO_FILE);
    assert_false(exists("e"));
    assert_int_equal(files->rename_new(t.env, in_folder("c"), in_folder("x/c")), KITH_ERR_NO_FILE);
    has("c", "A");
    assert_ok(files->make_folder(t.env, in_folder("d"), 0700));
    make("d/in", "I");
    assert_ok(files->make_folder(t.env, in_folder("taken"), 0700));
    assert_int_equal(files->rename_new(t.env, in_folder("d"), in_folder("taken")), KITH_ERR_EXISTS);
    assert_ok(files->rename_new(t.env, in_folder("d"), in_folder("moved")));
    has("moved/in", "I");
    assert_ok(symlink("nowhere", in_folder("dangling")));
    assert_int_equal(files->rename_new(t.env, in_folder("c"), in_folder("dangling")), KITH_ERR_EXISTS);
}

static void test_rename_new(void **state)
{
    (void)state;
    check_rename_new();
}

/* Have the kernel refuse a system call in this process, as a file system that does not know it would. */
static bool refuse(unsigned call, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a process of its own; its exit status says how it went (77: not possible here). */
static void in_child(void (*body)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("no seccomp here\n");
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void by_links(void)
{
    if (!refuse(SYS_renameat2, EINVAL)) _exit(77);
    check_rename_new();
}

static void by_claims(void)
{
    if (!refuse(SYS_renameat2, ENOSYS) || !refuse(SYS_linkat, EPERM)) _exit(77);
#ifdef SYS_link
    if (!refuse(SYS_link, EPERM)) _exit(77);
#endif
    check_rename_new();
}

static void test_rename_new_by_links(void **state)
{
    (void)state;
    in_child(by_links);
}

static void test_rename_new_by_claims(void **state)
{
    (void)state;
    in_child(by_claims);
}

static void count_name(void *user, const char *name)
{
    int *seen = user;
    char copy[16];
    snprintf(copy, sizeof copy, "%s", name);
    if (strcmp(copy, ".hidden") == 0) {
        seen[100]++;
    } else {
        assert_int_equal(copy[0], 'f');
        seen[atoi(copy + 1)]++;
    }
}

static void test_list(void **state)
{
    (void)state;
    int seen[101] = {0};
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        make(name, "");
    }
    make(".hidden", "");
    assert_ok(files->list(t.env, folder, count_name, seen));
    for (int i = 0; i < 101; i++) assert_int_equal(seen[i], 1);
    assert_int_equal(files->list(t.env, in_folder("none"), count_name, seen), KITH_ERR_NO_FILE);
    assert_int_equal(files->list(t.env, in_folder("f1"), count_name, seen), KITH_ERR_NO_FILE);
}

/* ---- errors the system gives ---- */

static void as_nobody(void)
{
    kith_file_info info;
    if (getuid() == 0 && (setgid(65534) || setuid(65534))) _exit(1);
    assert_int_equal(try_open("d/a", KITH_FILE_READ), KITH_ERR_PERMISSION);
    assert_int_equal(try_open("secret", KITH_FILE_READ), KITH_ERR_PERMISSION);
    assert_int_equal(files->stat(t.env, in_folder("d/a"), false, &info), KITH_ERR_PERMISSION);
    assert_int_equal(files->remove(t.env, in_folder("d/a")), KITH_ERR_PERMISSION);
}

static void test_permission(void **state)
{
    (void)state;
    assert_ok(files->make_folder(t.env, in_folder("d"), 0700));
    make("d/a", "");
    make("secret", "");
    assert_ok(chmod(folder, 0755));
    assert_ok(chmod(in_folder("secret"), 0));
    assert_ok(chmod(in_folder("d"), 0));
    in_child(as_nobody);
    assert_ok(chmod(in_folder("d"), 0700));
}

static void too_many_files(void)
{
    struct rlimit limit = {0, 0};
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(try_open("a", KITH_FILE_READ), KITH_ERR_LIMIT);
    kith_io *io;
    assert_int_equal(kith_io_new(&io), KITH_ERR_LIMIT);
}

static void test_too_many_files(void **state)
{
    (void)state;
    make("a", "");
    in_child(too_many_files);
}

static void too_large(void)
{
    struct rlimit limit = {1000, 1000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    kith_file *file = open_file("a", KITH_FILE_WRITE | KITH_FILE_CREATE);
    char data[2000] = {0};
    assert_int_equal(files->write(file, 0, data, sizeof data), KITH_ERR_LIMIT); /* after a part of it */
    assert_int_equal(files->truncate(file, 5000), KITH_ERR_LIMIT);
    files->close(file);
}

static void test_too_large(void **state)
{
    (void)state;
    in_child(too_large);
}

static void test_full_disk(void **state)
{
    (void)state;
    assert_ok(files->make_folder(t.env, in_folder("full"), 0700));
    if (mount("tmpfs", in_folder("full"), "tmpfs", 0, "size=64k,nr_inodes=4")) {
        print_message("mounting a file system needs root\n");
        skip();
    }
    static char data[100000];
    kith_file *file = open_file("full/a", KITH_FILE_WRITE | KITH_FILE_CREATE);
    kith_err reserved = files->reserve(file, sizeof data);
    kith_err written = files->write(file, 0, data, sizeof data);
    kith_err emptied = files->truncate(file, 0);
    kith_err again = files->write(file, 0, data, 1000); /* there is room again */
    files->close(file);
    kith_err inodes = KITH_OK;
    for (int i = 0; i < 5 && !inodes; i++) {
        char name[32];
        snprintf(name, sizeof name, "full/d%d", i);
        inodes = files->make_folder(t.env, in_folder(name), 0700);
    }
    kith_err read_only = KITH_OK;
    if (mount(NULL, in_folder("full"), NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
        read_only = try_open("full/new", KITH_FILE_WRITE | KITH_FILE_CREATE);
    umount(in_folder("full"));
    assert_int_equal(reserved, KITH_ERR_NO_SPACE);
    assert_int_equal(written, KITH_ERR_NO_SPACE);
    assert_int_equal(emptied, KITH_OK);
    assert_int_equal(again, KITH_OK);
    assert_int_equal(inodes, KITH_ERR_NO_SPACE);
    assert_int_equal(read_only, KITH_ERR_PERMISSION);
}

static void test_error_table(void **state)
{
    (void)state;
    static const struct {
        int error;
        kith_err err;
    } rows[] = {
        {ENOSPC, KITH_ERR_NO_SPACE},   {EDQUOT, KITH_ERR_NO_SPACE},
        {ENOENT, KITH_ERR_NO_FILE},    {ENOTDIR, KITH_ERR_NO_FILE},
        {EACCES, KITH_ERR_PERMISSION}, {EPERM, KITH_ERR_PERMISSION},
        {EROFS, KITH_ERR_PERMISSION},  {EEXIST, KITH_ERR_EXISTS},
        {ELOOP, KITH_ERR_NOT_REGULAR}, {EISDIR, KITH_ERR_NOT_REGULAR},
        {ENOMEM, KITH_ERR_NOMEM},      {EMFILE, KITH_ERR_LIMIT},
        {ENFILE, KITH_ERR_LIMIT},      {EIO, KITH_ERR_IO},
        {EBADF, KITH_ERR_IO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(kith_io_file_error(rows[i].error), rows[i].err);
}

/* ---- locks ---- */

static void test_lock_in_process(void **state)
{
    (void)state;
    kith_file *one = open_file("lock", KITH_FILE_WRITE | KITH_FILE_CREATE), *two = open_file("lock", KITH_FILE_READ);
    assert_ok(files->lock(one, false));
    assert_ok(files->lock(one, false)); /* mine already */
    assert_int_equal(files->lock(two, false), KITH_ERR_AGAIN);
    /* Opening and closing the file elsewhere must not drop the lock, as POSIX record locks would. */
    assert_ok(try_open("lock", KITH_FILE_READ));
    assert_int_equal(files->lock(two, false), KITH_ERR_AGAIN);
    files->close(one);
    assert_ok(files->lock(two, true));
    files->close(two);
}

static void test_lock_between_processes(void **state)
{
    (void)state;
    int ready[2], go[2];
    char byte = 0;
    make("lock", "");
    assert_ok(pipe(ready));
    assert_ok(pipe(go));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        kith_file *file = open_file("lock", KITH_FILE_WRITE);
        if (files->lock(file, false) || write(ready[1], "r", 1) != 1 || read(go[0], &byte, 1) != 1) _exit(1);
        _exit(0); /* without closing: the kernel lets go for a process that ends, however it ends */
    }
    kith_file *file = open_file("lock", KITH_FILE_WRITE);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(files->lock(file, false), KITH_ERR_AGAIN);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_ok(files->lock(file, true)); /* waits for the child's end */
    files->close(file);
    int status = 0;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_read_write),
        CASE(test_direct),
        CASE(test_flags),
        CASE(test_info),
        CASE(test_mode_and_umask),
        CASE(test_set_mode_time),
        CASE(test_symlinks),
        CASE(test_not_regular),
        CASE(test_truncate_reserve_sync),
        CASE(test_names),
        CASE(test_rename_new),
        CASE(test_rename_new_by_links),
        CASE(test_rename_new_by_claims),
        CASE(test_list),
        CASE(test_permission),
        CASE(test_too_many_files),
        CASE(test_too_large),
        CASE(test_full_disk),
        CASE(test_error_table),
        CASE(test_lock_in_process),
        CASE(test_lock_between_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
