/* What the system's ways of writing and reading a file of 1 MiB chunks cost, as the store uses them or could: a line
 * for each with wall time and CPU seconds per GB.  The file is new each time and on the disk at the end (fsync).
 *
 *     bench_disk FOLDER [megabytes]       1,000 unless given; run it several times, others' writing shows */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t)1 << 20) /* the store's */
#define ALIGN 4096

enum { DIRECT = 1, RESERVED = 2, BEGUN = 4 };

static char path[4096];
static uint8_t *data;
static size_t chunks = 1000;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void check(int status, const char *what)
{
    if (status >= 0) return;
    perror(what);
    exit(1);
}

static void say(const char *name, double wall, double used)
{
    const double gb = (double)chunks * (double)CHUNK / 1e9;
    printf("%-44s %6.2f s/GB, %5.2f CPU s/GB\n", name, (seconds() - wall) / gb, (cpu() - used) / gb);
}

static void write_file(const char *name, int how)
{
    const double wall = seconds(), used = cpu();
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | (how & DIRECT ? O_DIRECT : 0), 0600);
    check(fd, path);
    if (how & RESERVED) check(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(chunks * CHUNK)), "fallocate");
    for (size_t i = 0; i < chunks; i++) {
        const off_t at = (off_t)(i * CHUNK);
        if (pwrite(fd, data, CHUNK, at) != (ssize_t)CHUNK) check(-1, "pwrite");
        if (how & BEGUN) check(sync_file_range(fd, at, (off_t)CHUNK, SYNC_FILE_RANGE_WRITE), "sync_file_range");
    }
    check(fsync(fd), "fsync");
    close(fd);
    say(name, wall, used);
}

/* From the page cache, into which it is read first. */
static void read_file(const char *name, size_t piece)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd, path);
    double wall = 0, used = 0;
    for (int turn = 0; turn < 2; turn++) {
        wall = seconds();
        used = cpu();
        for (size_t at = 0; at < chunks * CHUNK; at += piece)
            if (pread(fd, data, piece, (off_t)at) != (ssize_t)piece) check(-1, "pread");
    }
    close(fd);
    say(name, wall, used);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_disk FOLDER [megabytes]\n");
        return 2;
    }
    if (argc > 2) chunks = strtoul(argv[2], NULL, 10);
    snprintf(path, sizeof path, "%s/bench_disk.%d", argv[1], (int)getpid());
    data = aligned_alloc(ALIGN, CHUNK);
    if (!data || !chunks) return 1;
    memset(data, 1, CHUNK);
    write_file("page cache", 0);
    write_file("page cache, reserved", RESERVED);
    write_file("page cache, reserved, begun at once", RESERVED | BEGUN);
    write_file("direct", DIRECT);
    write_file("direct, reserved", DIRECT | RESERVED);
    write_file("page cache, for reading", 0);
    read_file("reading, 64 KiB a call", (size_t)64 << 10);
    read_file("reading, 1 MiB a call", CHUNK);
    unlink(path);
    return 0;
}
