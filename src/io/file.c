/* Files: plain system calls.  They block, so jobs call them. */
#include "base/mem.h"
#include "io/io_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct kith_file {
    int fd;
    atomic_int direct; /* the same file past the page cache; -1: as good as not possible */
    int direct_fd;     /* what to close of it */
};

kith_err kith_io_file_error(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT: return KITH_ERR_NO_SPACE;
    case ENOENT:
    case ENOTDIR: return KITH_ERR_NO_FILE;
    case EACCES:
    case EPERM:
    case EROFS:
    case ETXTBSY: return KITH_ERR_PERMISSION;
    case EEXIST:
    case ENOTEMPTY: /* POSIX lets rmdir say either */ return KITH_ERR_EXISTS;
    case ELOOP:
    case EISDIR:
    case ENXIO: /* opening a FIFO nobody reads, a socket, a device that is not there */
    case ESPIPE: /* an offset in a FIFO */ return KITH_ERR_NOT_REGULAR;
    case ENOMEM: return KITH_ERR_NOMEM;
    case EMFILE:
    case ENFILE:
    case EFBIG: /* for the file system, such as FAT's 4 GiB, or for this process */ return KITH_ERR_LIMIT;
    case ENAMETOOLONG: return KITH_ERR_ARG;
    case EWOULDBLOCK: return KITH_ERR_AGAIN;
    default: return KITH_ERR_IO;
    }
}

static kith_err result(int status) { return status < 0 ? kith_io_file_error(errno) : KITH_OK; }
/* Whether a call is not known to the kernel or to this file system. */
static bool is_unsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL; }
/* Offsets and sizes are signed to the kernel. */
static bool fits(uint64_t offset, uint64_t size) { return offset <= INT64_MAX && size <= INT64_MAX - offset; }

/* ---- one file ---- */

static bool open_flags(unsigned flags, int *out)
{
    bool reads = flags & KITH_FILE_READ, writes = flags & KITH_FILE_WRITE;
    if (!reads && !writes) return false;
    if (flags & KITH_FILE_TRUNCATE && !writes) return false;
    if (flags & KITH_FILE_EXCLUSIVE && !(flags & KITH_FILE_CREATE)) return false;
    *out = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY);
    if (flags & KITH_FILE_CREATE) *out |= O_CREAT;
    if (flags & KITH_FILE_EXCLUSIVE) *out |= O_EXCL;
    if (flags & KITH_FILE_NOFOLLOW) *out |= O_NOFOLLOW;
    if (flags & KITH_FILE_TRUNCATE) *out |= O_TRUNC;
    return true;
}

/* The same open file once more, past the page cache; -1 where that is not possible. */
static int open_direct(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

/* A descriptor that this process was given, by the name that the system has for it (/proc/self/fd/N), is that very open
 * file: to open its name once more would ask whether this process may, and who gave it has settled that.  -1: it is no
 * such name. */
static int open_given(const char *path, unsigned flags)
{
    static const char given[] = "/proc/self/fd/";
    char *end = NULL;
    if (flags != KITH_FILE_READ || strncmp(path, given, sizeof given - 1) != 0) return -1;
    const char *digits = path + sizeof given - 1;
    long number = *digits >= '0' && *digits <= '9' ? strtol(digits, &end, 10) : -1;
    if (!end || *end || number > INT_MAX) return -1;
    return fcntl((int)number, F_DUPFD_CLOEXEC, 3);
}

static kith_err file_open(kith_env *env, const char *path, unsigned flags, uint32_t mode, kith_file **out)
{
    (void)env;
    int system_flags, fd;
    struct stat st;
    if (!open_flags(flags, &system_flags)) return KITH_ERR_ARG;
    kith_file *file = kith_malloc(sizeof *file);
    if (!file) return KITH_ERR_NOMEM;
    fd = open_given(path, flags);
    while (fd < 0) {
        fd = open(path, system_flags, (mode_t)mode);
        if (fd < 0 && errno != EINTR) break;
    }
    kith_err err = result(fd);
    if (!err) err = result(fstat(fd, &st));
    if (!err && S_ISDIR(st.st_mode)) err = KITH_ERR_NOT_REGULAR;
    if (err) {
        if (fd >= 0) close(fd);
        kith_free(file);
        return err;
    }
    file->fd = fd;
    file->direct_fd = flags & KITH_FILE_DIRECT && flags & KITH_FILE_WRITE && S_ISREG(st.st_mode) ? open_direct(fd) : -1;
    atomic_init(&file->direct, file->direct_fd);
    *out = file;
    return KITH_OK;
}

static kith_err file_read(kith_file *file, uint64_t offset, void *out, size_t size, size_t *got)
{
    size_t done = 0;
    if (!fits(offset, size)) return KITH_ERR_ARG;
    while (done < size) {
        ssize_t n = pread(file->fd, (uint8_t *)out + done, size - done, (off_t)(offset + done));
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return kith_io_file_error(errno);
        done += (size_t)n;
    }
    *got = done;
    return KITH_OK;
}

/* The descriptor for these bytes.  Direct I/O wants everything in blocks. */
static int fd_for(kith_file *file, uint64_t offset, const void *data, size_t size)
{
    int direct = atomic_load_explicit(&file->direct, memory_order_relaxed);
    return direct < 0 || (offset | (uintptr_t)data | size) % KITH_FILE_BLOCK ? file->fd : direct;
}

static kith_err file_write(kith_file *file, uint64_t offset, const void *data, size_t size)
{
    size_t done = 0;
    if (!fits(offset, size)) return KITH_ERR_LIMIT;
    while (done < size) {
        const uint8_t *at = (const uint8_t *)data + done;
        int fd = fd_for(file, offset + done, at, size - done);
        ssize_t n = pwrite(fd, at, size - done, (off_t)(offset + done));
        if (n == 0) return KITH_ERR_IO; /* not for a regular file; never turn for ever */
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && fd != file->fd && is_unsupported(errno)) { /* larger blocks, or a file system of many minds */
            atomic_store(&file->direct, -1);
            continue;
        }
        if (n < 0) return kith_io_file_error(errno);
        done += (size_t)n;
    }
    return KITH_OK;
}

/* Saturates: some file systems hold times beyond 2262, where 64 bits of nanoseconds end. */
static int64_t time_ns(struct timespec t)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)t.tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)t.tv_nsec, &ns))
        return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static kith_file_info info_of(const struct stat *st)
{
    return (kith_file_info){
        .kind = S_ISREG(st->st_mode)   ? KITH_FILE_REGULAR
                : S_ISDIR(st->st_mode) ? KITH_FILE_FOLDER
                : S_ISLNK(st->st_mode) ? KITH_FILE_LINK
                                       : KITH_FILE_OTHER,
        .mode = st->st_mode & 07777,
        .owner = st->st_uid,
        .size = (uint64_t)st->st_size,
        .device = st->st_dev,
        .inode = st->st_ino,
        .modified_ns = time_ns(st->st_mtim),
        .changed_ns = time_ns(st->st_ctim),
    };
}

static kith_err file_info(kith_file *file, kith_file_info *out)
{
    struct stat st;
    kith_err err = result(fstat(file->fd, &st));
    if (!err) *out = info_of(&st);
    return err;
}

static kith_err file_truncate(kith_file *file, uint64_t size)
{
    int status;
    if (!fits(0, size)) return KITH_ERR_LIMIT;
    do {
        status = ftruncate(file->fd, (off_t)size);
    } while (status < 0 && errno == EINTR);
    return result(status);
}

static kith_err file_reserve(kith_file *file, uint64_t size)
{
    int status;
    if (size == 0) return KITH_OK;
    if (!fits(0, size)) return KITH_ERR_LIMIT;
    do {
        status = fallocate(file->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
    } while (status < 0 && errno == EINTR);
    return status < 0 && is_unsupported(errno) ? KITH_OK : result(status);
}

static kith_err file_flush_begin(kith_file *file, uint64_t offset, uint64_t size)
{
    if (!fits(offset, size)) return KITH_ERR_ARG;
    int status = sync_file_range(file->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
    return status < 0 && is_unsupported(errno) ? KITH_OK : result(status);
}

static kith_err sync_fd(int fd)
{
    int status;
    do {
        status = fsync(fd);
    } while (status < 0 && errno == EINTR);
    return result(status);
}

/* Not fdatasync: that may leave out metadata callers compare later, such as the modification time. */
static kith_err file_sync(kith_file *file) { return sync_fd(file->fd); }

/* flock(2): it belongs to the open file, so that two handles of one process exclude each other as well, and needs no
 * right to write. */
static kith_err file_lock(kith_file *file, bool wait)
{
    int status;
    do {
        status = flock(file->fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
    } while (status < 0 && errno == EINTR);
    return result(status);
}

static void file_close(kith_file *file)
{
    if (!file) return;
    close(file->fd);
    if (file->direct_fd >= 0) close(file->direct_fd);
    kith_free(file);
}

/* umask(2) can only be read by changing it, under the feet of other threads that create files; this file tells it as
 * well. Where it does not, nothing is for others. */
static mode_t read_umask(void)
{
    static const char key[] = "Umask:";
    char line[128];
    unsigned long mask = 077;
    FILE *status = fopen("/proc/self/status", "re");
    if (!status) return (mode_t)mask;
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, key, sizeof key - 1) != 0) continue;
        mask = strtoul(line + sizeof key - 1, NULL, 8);
        break;
    }
    fclose(status);
    return (mode_t)mask;
}

/* Without the set-user-id, set-group-id and sticky bits: a mode may come from another device. */
static kith_err file_set_mode_time(kith_file *file, uint32_t mode, int64_t modified_ns)
{
    int64_t seconds = modified_ns / 1000000000, rest = modified_ns % 1000000000;
    if (rest < 0) seconds--, rest += 1000000000;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seconds, .tv_nsec = (long)rest}};
    kith_err err = result(fchmod(file->fd, (mode_t)mode & 0777 & ~read_umask()));
    return err ? err : result(futimens(file->fd, times));
}

/* ---- names ---- */

static kith_err file_stat(kith_env *env, const char *path, bool follow, kith_file_info *out)
{
    (void)env;
    struct stat st;
    kith_err err = result(follow ? stat(path, &st) : lstat(path, &st));
    if (!err) *out = info_of(&st);
    return err;
}

static kith_err file_rename(kith_env *env, const char *from, const char *to)
{
    (void)env;
    return result(rename(from, to));
}

/* Take the name `to` with an empty file or folder that must be new, then rename over it. */
static kith_err claim_and_rename(const char *from, const char *to, bool folder)
{
    int claimed = folder ? mkdir(to, 0700) : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (claimed < 0) return kith_io_file_error(errno);
    if (!folder) close(claimed);
    if (rename(from, to) == 0) return KITH_OK;
    int error = errno;
    if (folder) {
        rmdir(to);
    } else {
        unlink(to);
    }
    return kith_io_file_error(error);
}

static kith_err file_rename_new(kith_env *env, const char *from, const char *to)
{
    (void)env;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return KITH_OK;
    if (!is_unsupported(errno)) return kith_io_file_error(errno);
    struct stat st;
    if (lstat(from, &st)) return kith_io_file_error(errno);
    if (S_ISDIR(st.st_mode)) return claim_and_rename(from, to, true);
    if (link(from, to) == 0) return result(unlink(from));
    /* Hard links may be unknown here, too (EPERM says that), or too many. */
    if (errno != EPERM && errno != EMLINK && !is_unsupported(errno)) return kith_io_file_error(errno);
    return claim_and_rename(from, to, false);
}

static kith_err file_remove(kith_env *env, const char *path)
{
    (void)env;
    if (unlink(path) == 0) return KITH_OK;
    return errno == EISDIR ? result(rmdir(path)) : kith_io_file_error(errno);
}

static kith_err file_make_folder(kith_env *env, const char *path, uint32_t mode)
{
    (void)env;
    return result(mkdir(path, (mode_t)mode));
}

static kith_err file_sync_folder(kith_env *env, const char *path)
{
    (void)env;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return kith_io_file_error(errno);
    int status = fsync(fd), error = errno;
    close(fd);
    return status == 0 || is_unsupported(error) ? KITH_OK : kith_io_file_error(error);
}

static kith_err file_list(kith_env *env, const char *path, void (*each)(void *user, const char *name), void *user)
{
    (void)env;
    DIR *folder = opendir(path);
    if (!folder) return kith_io_file_error(errno);
    kith_err err = KITH_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno) err = kith_io_file_error(errno);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) each(user, entry->d_name);
    }
    closedir(folder);
    return err;
}

const kith_env_file kith_io_file_table = {
    .open = file_open,
    .read = file_read,
    .write = file_write,
    .info = file_info,
    .truncate = file_truncate,
    .reserve = file_reserve,
    .flush_begin = file_flush_begin,
    .sync = file_sync,
    .lock = file_lock,
    .close = file_close,
    .stat = file_stat,
    .rename = file_rename,
    .rename_new = file_rename_new,
    .remove = file_remove,
    .make_folder = file_make_folder,
    .sync_folder = file_sync_folder,
    .list = file_list,
    .set_mode_time = file_set_mode_time,
};
