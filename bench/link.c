/* An Ethernet cable between two network namespaces, with delay, a rate, a queue and loss: for kernels without netem.
 *     link [--delay MS] [--rate MBIT] [--queue KIB] [--loss PERCENT] [--mtu BYTES] [--seed N] NS_A IF_A NS_B IF_B
 * makes a TAP device in each namespace, says "up", carries frames between the two until SIGTERM or SIGINT, and then
 * says what it did.  Each direction has what the options say: frames wait for the rate (0: none), at most so many KiB
 * of them (more are dropped), then are lost by chance, then take the delay.  As with real cables order stays, and
 * address resolution, multicast and so service discovery work.
 *
 * One thread.  Linux, root. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define FRAME_HEADER 14                  /* Ethernet: two addresses and a type */
#define READ_BATCH   64                  /* frames of one direction before the other gets its turn */
#define WIRE_MAX     ((size_t)256 << 20) /* bytes under way in one direction; more are dropped, and counted */
#define DEVICE_QUEUE 10000               /* frames in the kernel before us, so that none is dropped but by our queue */
#define SECOND_NS    1000000000

typedef struct options {
    int64_t delay_ns, rate; /* bits a second */
    int64_t queue;          /* bytes */
    double loss;            /* 0 to 1 */
    size_t mtu;
    uint64_t seed;
} options;

typedef struct frame {
    struct frame *next;
    int64_t due_ns;
    size_t size;
    uint8_t data[];
} frame;

typedef struct direction {
    int from, to;
    uint64_t random;
    int64_t free_ns; /* when the rate has room again */
    frame *first, **last;
    size_t wire; /* bytes under way */
    uint64_t carried, bytes, dropped, lost;
} direction;

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

static void fail(const char *what)
{
    fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

/* ---- the two ends ---- */

/* A TAP device in that namespace; this process stays there. */
static int end_new(const char *namespace, const char *name, size_t mtu)
{
    char path[256];
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET)) fail(path);
    close(space);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (fd < 0 || any < 0 || ioctl(fd, TUNSETIFF, &request)) fail("/dev/net/tun");
    request.ifr_mtu = (int)mtu;
    if (ioctl(any, SIOCSIFMTU, &request)) fail("MTU");
    request.ifr_qlen = DEVICE_QUEUE;
    if (ioctl(any, SIOCSIFTXQLEN, &request)) fail("queue of the device");
    close(any);
    return fd;
}

/* ---- one direction ---- */

/* xorshift64 (Marsaglia 2003). */
static bool chance(direction *d, double p)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return (double)(d->random >> 11) * 0x1p-53 < p;
}

static void enter(direction *d, const options *o, const uint8_t *data, size_t size, int64_t now)
{
    int64_t leaves = now;
    if (o->rate) {
        int64_t waiting_ns = d->free_ns > now ? d->free_ns - now : 0;
        if ((double)waiting_ns * (double)o->rate / 8e9 > (double)o->queue || d->wire > WIRE_MAX) {
            d->dropped++;
            return;
        }
        leaves = d->free_ns = now + waiting_ns + (int64_t)size * 8 * SECOND_NS / o->rate;
    } else if (d->wire > WIRE_MAX) {
        d->dropped++;
        return;
    }
    if (chance(d, o->loss)) {
        d->lost++;
        return;
    }
    frame *f = malloc(sizeof *f + size);
    if (!f) fail("memory");
    *f = (frame){.due_ns = leaves + o->delay_ns, .size = size};
    memcpy(f->data, data, size);
    *d->last = f;
    d->last = &f->next;
    d->wire += size;
}

/* True when there may be more to read. */
static bool take(direction *d, const options *o, uint8_t *room, size_t room_size)
{
    for (int i = 0; i < READ_BATCH; i++) {
        ssize_t size = read(d->from, room, room_size);
        if (size <= 0) return false;
        enter(d, o, room, (size_t)size, now_ns());
    }
    return true;
}

static void deliver(direction *d)
{
    for (frame *f; (f = d->first) && f->due_ns <= now_ns();) {
        if (write(d->to, f->data, f->size) < 0) {
            if (errno == EAGAIN) return;
            d->dropped++; /* the interface is not up */
        } else {
            d->carried++;
            d->bytes += f->size;
        }
        d->first = f->next;
        if (!d->first) d->last = &d->first;
        d->wire -= f->size;
        free(f);
    }
}

static void carry(direction d[static 2], const options *o)
{
    size_t room_size = FRAME_HEADER + o->mtu;
    uint8_t *room = malloc(room_size);
    if (!room) fail("memory");
    while (!stopping) {
        bool more = false;
        int64_t due = INT64_MAX;
        for (int i = 0; i < 2; i++) {
            more |= take(&d[i], o, room, room_size);
            deliver(&d[i]);
            if (d[i].first && d[i].first->due_ns < due) due = d[i].first->due_ns;
        }
        if (more) continue;
        int64_t wait = due == INT64_MAX ? SECOND_NS : due - now_ns();
        if (wait < 0) wait = 0;
        struct timespec t = {.tv_sec = wait / SECOND_NS, .tv_nsec = wait % SECOND_NS};
        struct pollfd ends[] = {{.fd = d[0].from, .events = POLLIN}, {.fd = d[1].from, .events = POLLIN}};
        ppoll(ends, 2, &t, NULL);
    }
    free(room);
}

/* ---- the program ---- */

static int usage(void)
{
    fputs(
        "usage: link [--delay MS] [--rate MBIT] [--queue KIB] [--loss PERCENT] [--mtu BYTES] [--seed N] NS_A IF_A NS_B "
        "IF_B\n",
        stderr);
    return 2;
}

static bool read_options(int argc, char **argv, options *o)
{
    static const struct option names[] = {{"delay", required_argument, NULL, 'd'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"queue", required_argument, NULL, 'q'},
                                          {"loss", required_argument, NULL, 'l'},
                                          {"mtu", required_argument, NULL, 'm'},
                                          {"seed", required_argument, NULL, 's'},
                                          {0}};
    *o = (options){.queue = 1 << 20, .mtu = 1500, .seed = 1};
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        char *end = optarg;
        double value = name == '?' ? -1 : strtod(optarg, &end);
        if (name == '?' || *end || !*optarg || !(value >= 0 && value < 1e9)) return false;
        switch (name) {
        case 'd': o->delay_ns = (int64_t)(value * 1e6); break;
        case 'r': o->rate = (int64_t)(value * 1e6); break;
        case 'q': o->queue = (int64_t)(value * 1024); break;
        case 'l': o->loss = value / 100; break;
        case 'm': o->mtu = (size_t)value; break;
        default: o->seed = (uint64_t)value; break;
        }
    }
    return argc - optind == 4 && o->mtu >= 68 && o->mtu <= 65521; /* IPv4's least; a TAP device's most */
}

static void say(const char *way, const direction *d)
{
    printf("%s: %llu frames, %llu bytes; %llu lost, %llu dropped\n", way, (unsigned long long)d->carried,
           (unsigned long long)d->bytes, (unsigned long long)d->lost, (unsigned long long)d->dropped);
}

int main(int argc, char **argv)
{
    options o;
    struct sigaction action = {.sa_handler = stop};
    if (!read_options(argc, argv, &o)) return usage();
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1000ul);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int a = end_new(argv[optind], argv[optind + 1], o.mtu), b = end_new(argv[optind + 2], argv[optind + 3], o.mtu);
    direction ways[2] = {{.from = a, .to = b, .random = 2 * o.seed + 1}, {.from = b, .to = a, .random = ~o.seed}};
    for (int i = 0; i < 2; i++) {
        ways[i].last = &ways[i].first;
        for (int n = 0; n < 64; n++) chance(&ways[i], 0); /* small seeds begin with zeros */
    }
    puts("up");
    fflush(stdout);
    carry(ways, &o);
    say("a to b", &ways[0]);
    say("b to a", &ways[1]);
    return 0;
}
