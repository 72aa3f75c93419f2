/* Between Avahi and the network.  Avahi 0.8 follows CNAME records and, when one goes away whose name it follows, fails
 * an assertion: anybody on the network could end the process with two packets.  No instance and no host of ours has
 * CNAMEs, so datagrams that hold one, and those that are no DNS message, are taken from the socket before Avahi sees
 * them.  Avahi's poll table is the place: it tells us the sockets, and is asked before each read. */
#include "base/buf.h"
#include "base/mem.h"
#include "io/mdns_internal.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define WATCHES_MAX   8     /* of a server: 2 sockets for multicast, 2 for queries to other ports, netlink */
#define DATAGRAM_SIZE 65536 /* larger than any */
#define TYPE_CNAME    5

typedef struct guarded {
    mdns_guard *guard;
    AvahiWatchCallback callback;
    void *user;
    int fd;
} guarded;

struct mdns_guard {
    AvahiPoll poll; /* the inner one's functions, but for watch_new */
    const AvahiPoll *inner;
    guarded watches[WATCHES_MAX];
    size_t count;
    uint8_t datagram[DATAGRAM_SIZE];
};

/* ---- the message (RFC 1035 section 4.1) ---- */

static void skip_name(kith_reader *r)
{
    for (;;) {
        uint8_t length = kith_read_u8(r);
        if (length == 0) return; /* the root, or the end of the bytes */
        if ((length & 0xc0) == 0xc0) {
            kith_read_u8(r); /* a pointer ends a name */
            return;
        }
        if (length & 0xc0) r->bad = true;
        kith_read_view(r, length);
    }
}

bool kith__mdns_guard_accepts(const void *data, size_t size)
{
    kith_reader r = kith_reader_of(data, size);
    kith_read_view(&r, 4); /* id, flags */
    unsigned questions = kith_read_u16(&r), records = kith_read_u16(&r);
    records += kith_read_u16(&r);
    records += kith_read_u16(&r);
    for (; questions && !r.bad; questions--) {
        skip_name(&r);
        kith_read_view(&r, 4); /* type, class */
    }
    for (; records && !r.bad; records--) {
        skip_name(&r);
        if (kith_read_u16(&r) == TYPE_CNAME) return false;
        kith_read_view(&r, 6); /* class, time to live */
        kith_read_view(&r, kith_read_u16(&r));
    }
    return !r.bad;
}

/* ---- the poll table ---- */

/* Look at the next datagram; take it away if it must not be seen.  An error is Avahi's to find. */
static bool may_read(mdns_guard *guard, int fd)
{
    ssize_t size = recv(fd, guard->datagram, sizeof guard->datagram, MSG_PEEK | MSG_DONTWAIT);
    if (size < 0 || kith__mdns_guard_accepts(guard->datagram, (size_t)size)) return true;
    return recv(fd, guard->datagram, sizeof guard->datagram, MSG_DONTWAIT) < 0;
}

static void on_event(AvahiWatch *watch, int fd, AvahiWatchEvent event, void *user)
{
    guarded *g = user;
    if (!(event & AVAHI_WATCH_IN) || may_read(g->guard, fd)) g->callback(watch, fd, event, g->user);
}

static bool is_udp(int fd)
{
    int family = 0, type = 0;
    socklen_t size = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size)) return false;
    size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size)) return false;
    return (family == AF_INET || family == AF_INET6) && type == SOCK_DGRAM;
}

static AvahiWatch *watch_new(const AvahiPoll *poll, int fd, AvahiWatchEvent event, AvahiWatchCallback callback,
                             void *user)
{
    mdns_guard *guard = KITH_OF(poll, mdns_guard, poll);
    if (!is_udp(fd)) return guard->inner->watch_new(guard->inner, fd, event, callback, user);
    if (guard->count == WATCHES_MAX) return NULL;
    guarded *g = &guard->watches[guard->count];
    *g = (guarded){.guard = guard, .callback = callback, .user = user, .fd = fd};
    AvahiWatch *watch = guard->inner->watch_new(guard->inner, fd, event, on_event, g);
    guard->count += watch != NULL;
    return watch;
}

mdns_guard *kith__mdns_guard_new(const AvahiPoll *inner)
{
    mdns_guard *guard = kith_malloc(sizeof *guard);
    if (!guard) return NULL;
    guard->poll = *inner;
    guard->poll.watch_new = watch_new;
    guard->inner = inner;
    guard->count = 0;
    return guard;
}

const AvahiPoll *kith__mdns_guard_poll(mdns_guard *guard) { return &guard->poll; }

/* In place of the sockets there is something that takes no datagrams; Avahi closes it as it would have closed them. */
void kith__mdns_guard_mute(const mdns_guard *guard)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (size_t i = 0; nothing >= 0 && i < guard->count; i++) (void)dup3(nothing, guard->watches[i].fd, O_CLOEXEC);
    if (nothing >= 0) close(nothing);
}

void kith__mdns_guard_free(mdns_guard *guard) { kith_free(guard); }
