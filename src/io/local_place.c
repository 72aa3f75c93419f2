/* Where local sockets are: made, found, and spoken to before there is a loop. */
#include "io/io_internal.h"
#include "io/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG    64
#define PID_TEXT   24
#define LOCK_TRIES 16 /* each lost to one who ended just then */

/* The folder: ours, and nobody else's to write in. */
static kith_err open_folder(const char *path, bool make, int *out)
{
    struct stat info;
    if (make && mkdir(path, 0700) && errno != EEXIST) return kith_io_file_error(errno);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return kith_io_file_error(errno);
    kith_err err = fstat(fd, &info) ? kith_io_file_error(errno) : KITH_OK;
    if (!err && info.st_uid != geteuid()) err = KITH_ERR_PERMISSION;
    if (!err && info.st_mode & (S_IWGRP | S_IWOTH)) err = KITH_ERR_EXPOSED;
    if (err)
        close(fd);
    else
        *out = fd;
    return err;
}

/* A socket's address is 107 bytes at most: by way of the folder's descriptor any folder will do. */
static void address_of(int folder, const char *name, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", folder, name);
}

static void lock_name(const kith_local_place *place, char out[static sizeof place->name + 8])
{
    snprintf(out, sizeof place->name + 8, "%s.lock", place->name);
}

static long read_pid(int fd)
{
    char text[PID_TEXT] = "";
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    return got > 0 ? strtol(text, NULL, 10) : 0;
}

/* Who ends removes the file: a lock on one that has lost its name excludes nobody, so look again. */
static kith_err take_lock(int folder, const kith_local_place *place, int *lock, long *pid)
{
    char name[sizeof place->name + 8], text[PID_TEXT];
    struct stat ours, named;
    lock_name(place, name);
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        int fd = openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) return kith_io_file_error(errno);
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            int error = errno;
            if (error == EWOULDBLOCK) *pid = read_pid(fd);
            close(fd);
            return error == EWOULDBLOCK ? KITH_ERR_LOCKED : kith_io_file_error(error);
        }
        bool same = !fstat(fd, &ours) && !fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) &&
                    ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
        int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (same && !ftruncate(fd, 0) && pwrite(fd, text, (size_t)size, 0) == size) {
            *lock = fd;
            return KITH_OK;
        }
        kith_err err = same ? kith_io_file_error(errno) : KITH_OK;
        if (same) (void)unlinkat(folder, name, 0);
        close(fd);
        if (err) return err;
    }
    return KITH_ERR_LOCKED;
}

kith_err kith_local_listen(const kith_local_place *place, int *out, int *lock, long *pid)
{
    struct sockaddr_un at;
    int folder = -1, fd = -1, held = -1;
    *pid = 0;
    kith_err err = open_folder(place->folder, true, &folder);
    if (!err) err = take_lock(folder, place, &held, pid);
    if (!err) {
        (void)unlinkat(folder, place->name, 0); /* of one who was killed */
        address_of(folder, place->name, &at);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&at, sizeof at)) err = kith_io_file_error(errno);
        if (!err && (fchmodat(folder, place->name, 0600, 0) || listen(fd, BACKLOG))) err = kith_io_file_error(errno);
    }
    if (folder >= 0) close(folder);
    if (err) {
        if (fd >= 0) close(fd);
        if (held >= 0) kith_local_unlock(place, held);
        return err;
    }
    *out = fd;
    *lock = held;
    return KITH_OK;
}

static void remove_name(const kith_local_place *place, const char *name)
{
    int folder = -1;
    if (open_folder(place->folder, false, &folder)) return;
    (void)unlinkat(folder, name, 0);
    close(folder);
}

void kith_local_unlisten(const kith_local_place *place, int fd)
{
    remove_name(place, place->name);
    close(fd);
}

void kith_local_unlock(const kith_local_place *place, int lock)
{
    char name[sizeof place->name + 8];
    lock_name(place, name);
    remove_name(place, name);
    close(lock);
}

bool kith_local_is_own(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.uid == geteuid();
}

long kith_local_process(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ? 0 : (long)peer.pid;
}

kith_err kith_local_connect(const kith_local_place *place, unsigned patience_ms, int *out)
{
    struct timeval patience = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};
    struct sockaddr_un at;
    char name[sizeof place->folder + sizeof place->name + 2];
    int folder = -1;
    snprintf(name, sizeof name, "%s/%s", place->folder, place->name);
    if (access(name, F_OK) && (errno == ENOENT || errno == ENOTDIR)) return KITH_ERR_NOT_FOUND;
    kith_err err = open_folder(place->folder, false, &folder);
    if (err) return err == KITH_ERR_NO_FILE ? KITH_ERR_NOT_FOUND : err;
    address_of(folder, place->name, &at);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err = kith_io_open_error(errno);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *)&at, sizeof at))
            err = errno == ENOENT || errno == ECONNREFUSED ? KITH_ERR_NOT_FOUND
                  : errno == EAGAIN                        ? KITH_ERR_TIMEOUT
                                                           : kith_io_file_error(errno);
        else if (!kith_local_is_own(fd))
            err = KITH_ERR_PERMISSION;
    }
    close(folder);
    if (err && fd >= 0) close(fd);
    if (!err) *out = fd;
    return err;
}

static kith_err step_error(ssize_t n)
{
    if (n == 0) return KITH_ERR_LOST;
    return errno == EAGAIN || errno == EWOULDBLOCK ? KITH_ERR_TIMEOUT : KITH_ERR_LOST;
}

static kith_err move_all(int fd, uint8_t *data, size_t size, bool out)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = out ? send(fd, data + done, size - done, MSG_NOSIGNAL) : recv(fd, data + done, size - done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return step_error(n);
        done += (size_t)n;
    }
    return KITH_OK;
}

kith_err kith_local_exchange(int fd, const void *data, size_t size, uint8_t *out, size_t cap, size_t *out_size)
{
    uint8_t head[KITH_LOCAL_HEAD] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    kith_err err = move_all(fd, head, sizeof head, true);
    if (!err) err = move_all(fd, (uint8_t *)(uintptr_t)data, size, true);
    if (!err) err = move_all(fd, head, sizeof head, false);
    size_t coming = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (!err && coming > cap) err = KITH_ERR_PROTOCOL;
    if (!err) err = move_all(fd, out, coming, false);
    if (!err) *out_size = coming;
    return err;
}
