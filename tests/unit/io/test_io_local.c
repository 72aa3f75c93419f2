/* Local sockets: who owns a place, messages and descriptors on the loop, and an end that does not behave. */
#include "base/mem.h"
#include "io/local.h"
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define MESSAGE_MAX (1u << 20)

static kith_local_place place;

static int set_up(void **state)
{
    (void)state;
    strcpy(place.folder, "/tmp/kith-local-XXXXXX");
    strcpy(place.name, "x.sock");
    return mkdtemp(place.folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(place.folder); /* nothing is left in it */
}

static void one_owner(void **state)
{
    int fd, lock, other, other_lock;
    long pid = 0;
    char path[sizeof place.folder + sizeof place.name + 2];
    struct stat info;
    (void)state;
    assert_int_equal(kith_local_connect(&place, 100, &other), KITH_ERR_NOT_FOUND);
    assert_ok(kith_local_listen(&place, &fd, &lock, &pid));
    snprintf(path, sizeof path, "%s/%s", place.folder, place.name);
    assert_ok(stat(path, &info));
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(kith_local_listen(&place, &other, &other_lock, &pid), KITH_ERR_LOCKED);
    assert_int_equal(pid, getpid());
    assert_ok(kith_local_connect(&place, 1000, &other));
    assert_true(kith_local_is_own(other));
    close(other);
    kith_local_unlisten(&place, fd);
    assert_int_equal(kith_local_connect(&place, 100, &other), KITH_ERR_NOT_FOUND);
    assert_int_equal(kith_local_listen(&place, &other, &other_lock, &pid), KITH_ERR_LOCKED); /* it has not ended yet */
    kith_local_unlock(&place, lock);
}

/* Killed: the names stay, and are of no use to anybody. */
static void stale_ones_are_replaced(void **state)
{
    int fd, lock, status;
    long pid;
    (void)state;
    pid_t child = fork();
    if (child == 0) _exit(kith_local_listen(&place, &fd, &lock, &pid) != KITH_OK);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(kith_local_connect(&place, 100, &fd), KITH_ERR_NOT_FOUND);
    assert_ok(kith_local_listen(&place, &fd, &lock, &pid));
    kith_local_unlisten(&place, fd);
    kith_local_unlock(&place, lock);
}

static void folders_of_others(void **state)
{
    int fd, lock;
    long pid;
    (void)state;
    assert_ok(chmod(place.folder, 0777));
    assert_int_equal(kith_local_listen(&place, &fd, &lock, &pid), KITH_ERR_EXPOSED);
    assert_ok(chmod(place.folder, 0700));
}

/* ---- on the loop ---- */

typedef struct end {
    kith_io *io;
    kith_local *local;
    size_t messages, bytes, wanted;
    int fd; /* the last that came; -1 */
    kith_err why;
    bool takes_fd, refuses;
} end;

static bool on_message(void *user, uint8_t *data, size_t size)
{
    end *e = user;
    if (e->refuses) return false;
    for (size_t i = 1; i < size; i++) assert_int_equal(data[i], data[0]);
    data[size] = 0; /* there is room */
    e->messages++;
    e->bytes += size;
    if (e->takes_fd) e->fd = kith_local_take_fd(e->local);
    if (e->messages == e->wanted) kith_io_stop(e->io);
    return true;
}

static void on_ended(void *user, kith_err why)
{
    end *e = user;
    e->why = why;
    kith_io_stop(e->io);
}

static const kith_local_events events = {.message = on_message, .ended = on_ended};

/* One end on a loop, the other a plain socket. */
static int open_end(end *e)
{
    int pair[2];
    *e = (end){.fd = -1, .wanted = SIZE_MAX};
    assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    assert_ok(kith_io_new(&e->io));
    assert_ok(kith_local_open(kith_io_env(e->io), pair[0], MESSAGE_MAX, &events, e, &e->local));
    return pair[1];
}

static void run_end(end *e)
{
    while (!kith_io_stopping(e->io)) uv_run(kith_io_loop(e->io), UV_RUN_ONCE);
}

static void close_end(end *e, int other)
{
    kith_local_close(e->local);
    kith_io_stop(e->io);
    kith_io_run(e->io);
    kith_io_free(e->io);
    if (other >= 0) close(other);
}

static void put(int fd, size_t announced, size_t sent, uint8_t byte)
{
    uint8_t *data = malloc(sent + 4);
    uint8_t head[4] = {(uint8_t)(announced >> 24), (uint8_t)(announced >> 16), (uint8_t)(announced >> 8),
                       (uint8_t)announced};
    memcpy(data, head, 4);
    memset(data + 4, byte, sent);
    for (size_t at = 0; at < sent + 4;) {
        ssize_t n = send(fd, data + at, sent + 4 - at, MSG_NOSIGNAL);
        assert_true(n > 0);
        at += (size_t)n;
    }
    free(data);
}

static void messages_of_all_sizes(void **state)
{
    static const size_t sizes[] = {1, 2, 65535, 65536, 65537, 150000};
    end e;
    size_t total = 0;
    (void)state;
    int other = open_end(&e);
    e.wanted = sizeof sizes / sizeof *sizes;
    pid_t child = fork(); /* who writes may have to wait for the reader */
    if (child == 0) {
        for (size_t i = 0; i < e.wanted; i++) put(other, sizes[i], sizes[i], (uint8_t)i);
        _exit(0);
    }
    for (size_t i = 0; i < e.wanted; i++) total += sizes[i];
    run_end(&e);
    assert_int_equal(e.bytes, total);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close_end(&e, other);
}

static void a_descriptor_is_its_messages(void **state)
{
    end e;
    uint8_t *room = kith_local_room(3);
    (void)state;
    int other = open_end(&e), file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    memset(room, 7, 3);
    kith_local_send(e.local, room, 3, file);
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char bytes[64];
    struct iovec piece = {bytes, sizeof bytes};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    assert_int_equal(recvmsg(other, &message, 0), 7);
    assert_memory_equal(bytes, "\0\0\0\3\7\7\7", 7);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    assert_non_null(c);
    memcpy(&file, CMSG_DATA(c), sizeof file);
    close(file);
    /* And back: what came is handed out with the message that asks for it. */
    e.takes_fd = true;
    e.wanted = 1;
    message.msg_controllen = sizeof control;
    piece.iov_len = 7;
    file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &file, sizeof file);
    assert_int_equal(sendmsg(other, &message, 0), 7);
    close(file);
    run_end(&e);
    char zero = 1;
    assert_true(e.fd >= 0);
    assert_int_equal(read(e.fd, &zero, 1), 1);
    assert_int_equal(zero, 0);
    close(e.fd);
    close_end(&e, other);
}

static void broken_rules(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        end e;
        int other = open_end(&e);
        e.refuses = which == 2;
        if (which == 0) put(other, 0, 0, 0);
        if (which == 1) put(other, MESSAGE_MAX + 1, 10, 0);
        if (which == 2) put(other, 10, 10, 0);
        if (which == 3) put(other, 100, 10, 0); /* half of one, and gone */
        if (which == 3) close(other);
        run_end(&e);
        assert_int_equal(e.why, which == 3 ? KITH_ERR_CLOSED : KITH_ERR_PROTOCOL);
        assert_int_equal(e.messages, 0);
        close_end(&e, which == 3 ? -1 : other);
    }
}

static void who_does_not_read_is_left(void **state)
{
    end e;
    size_t sent = 0;
    (void)state;
    int64_t live = kith_mem_live();
    int other = open_end(&e);
    for (; sent <= KITH_LOCAL_QUEUE_MAX + (8u << 20); sent += MESSAGE_MAX) {
        uint8_t *room = kith_local_room(MESSAGE_MAX);
        memset(room, 1, MESSAGE_MAX);
        kith_local_send(e.local, room, MESSAGE_MAX, -1);
        assert_true(kith_local_queued(e.local) <= KITH_LOCAL_QUEUE_MAX + KITH_LOCAL_HEAD);
    }
    run_end(&e);
    assert_int_equal(e.why, KITH_ERR_LIMIT);
    close_end(&e, other);
    assert_int_equal(kith_mem_live(), live);
}

/* ---- who knocks while there are no descriptors ---- */

#define TURNS_S 0.5
#define TURNS   60 /* of the loop in that time, at most: it rests, and looks again every 0.1 s */

static void let_in(void *user, int fd)
{
    (*(size_t *)user)++;
    close(fd);
}

static void over(uv_timer_t *timer) { *(bool *)timer->data = true; }

static unsigned turns(kith_io *io)
{
    bool enough = false;
    unsigned n = 0;
    uv_timer_t timer;
    uv_timer_init(kith_io_loop(io), &timer);
    timer.data = &enough;
    uv_timer_start(&timer, over, (uint64_t)(1000 * TURNS_S), 0);
    for (; !enough; n++) uv_run(kith_io_loop(io), UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(kith_io_loop(io), UV_RUN_NOWAIT);
    return n;
}

static int knock(void)
{
    int fd;
    assert_ok(kith_local_connect(&place, 1000, &fd));
    return fd;
}

/* 0: it was closed at the other end; EAGAIN: not yet. */
static int is_let_out(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
    return got < 0 ? errno : (int)got;
}

/* With the last descriptor in reserve they are let in, and out; without even that the loop rests; then all goes on. */
static void without_descriptors(void **state)
{
    kith_io *io;
    kith_local_door *door;
    struct rlimit limit, none;
    int fd, lock, outside[3];
    size_t in = 0;
    long pid;
    (void)state;
    assert_ok(kith_local_listen(&place, &fd, &lock, &pid));
    assert_ok(kith_io_new(&io));
    assert_ok(kith_local_accept(kith_io_env(io), fd, let_in, &in, &door));
    turns(io); /* whatever the loop opens is open */
    for (size_t i = 0; i < 3; i++) outside[i] = knock();
    assert_ok(getrlimit(RLIMIT_NOFILE, &limit));
    none = limit;
    /* As many as there are, then fewer. */
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    none.rlim_cur = (rlim_t)next;
    assert_ok(setrlimit(RLIMIT_NOFILE, &none));
    unsigned with_spare = turns(io);
    none.rlim_cur = 3;
    assert_ok(setrlimit(RLIMIT_NOFILE, &none));
    int let_out[] = {is_let_out(outside[0]), is_let_out(outside[1]), is_let_out(outside[2])};
    assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
    assert_int_equal(in, 0);
    assert_in_range(with_spare, 0, TURNS);
    for (size_t i = 0; i < 3; i++) assert_int_equal(let_out[i], 0);
    int waits = knock();
    assert_ok(setrlimit(RLIMIT_NOFILE, &none));
    unsigned without = turns(io);
    int waiting = is_let_out(waits);
    assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
    assert_in_range(without, 0, TURNS);
    assert_int_equal(waiting, EAGAIN);
    while (in < 1) uv_run(kith_io_loop(io), UV_RUN_ONCE);
    int later = knock();
    while (in < 2) uv_run(kith_io_loop(io), UV_RUN_ONCE);
    close(later);
    close(waits);
    for (size_t i = 0; i < 3; i++) close(outside[i]);
    kith_local_accept_end(door);
    kith_local_unlisten(&place, fd);
    kith_local_unlock(&place, lock);
    kith_io_stop(io);
    kith_io_run(io);
    kith_io_free(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(one_owner),
                                       TEST(stale_ones_are_replaced),
                                       TEST(folders_of_others),
                                       TEST(messages_of_all_sizes),
                                       TEST(a_descriptor_is_its_messages),
                                       TEST(broken_rules),
                                       TEST(who_does_not_read_is_left),
                                       TEST(without_descriptors)};
    return cmocka_run_group_tests_name("io/local", tests, set_up, tear_down);
}
