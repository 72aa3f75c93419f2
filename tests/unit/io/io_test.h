/* What the tests of the real env share: an io that must end with nothing open, and a network of the test's own. */
#ifndef KITH_IO_TEST_H
#define KITH_IO_TEST_H

#include "base/mem.h"
#include "io/io.h"
#include "io/io_internal.h"
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

typedef struct io_test {
    kith_io *io;
    kith_env *env;
    int64_t live;
    size_t leaked;
} io_test;

static inline io_test io_test_new(void)
{
    io_test t = {.live = kith_mem_live(), .leaked = kith_io_leaked()};
    assert_ok(kith_io_new(&t.io));
    t.env = kith_io_env(t.io);
    return t;
}

/* After kith_io_run. */
static inline void io_test_end(io_test *t)
{
    kith_io_free(t->io);
    assert_int_equal(kith_io_leaked(), t->leaked);
    assert_int_equal(kith_mem_live(), t->live);
}

static inline bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool fine = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return fine;
}

/* Move this thread (and those it starts) into a network namespace of its own, where it is root; false when the system
 * does not let us. */
static inline bool own_network(void)
{
    uid_t uid = getuid();
    char map[32];
    if (unshare(CLONE_NEWNET) == 0) return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) return false;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    write_text("/proc/self/setgroups", "deny");
    return write_text("/proc/self/uid_map", map);
}

/* Set the interface's MTU (0: leave it) and bring it up. */
static inline void link_up(const char *name, int mtu)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    request.ifr_mtu = mtu;
    if (mtu) assert_ok(ioctl(fd, SIOCSIFMTU, &request));
    assert_ok(ioctl(fd, SIOCGIFFLAGS, &request));
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    assert_ok(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

#endif
