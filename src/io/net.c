/* The machine's addresses, and word of their changes from rtnetlink(7). */
#include "base/mem.h"
#include "base/text.h"
#include "io/io_internal.h"
#include "io/resolve.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEBOUNCE_NS     UINT64_C(200000000)
#define ADDRESSES_MAX   128 /* how many are compared to find a change; a machine with more is told of every event */
#define NOT_READY_MAX   64
#define READS_A_WAKE_UP 64

/* ---- the list ---- */

typedef struct not_ready { /* IPv6 addresses in duplicate address detection, or that failed it */
    struct {
        uint8_t ip[16];
        uint32_t index;
    } entries[NOT_READY_MAX];
    size_t count;
} not_ready;

/* getifaddrs does not tell an address's flags; this file does.  Of this thread: a thread may have a network namespace
 * of its own.  Where it is missing, no address counts as tentative. */
static void read_not_ready(not_ready *out)
{
    char line[128];
    out->count = 0;
    FILE *file = fopen("/proc/thread-self/net/if_inet6", "re");
    if (!file) return;
    while (out->count < NOT_READY_MAX && fgets(line, sizeof line, file)) {
        /* address, interface index, prefix length, scope, flags (all hexadecimal), name */
        char *at = strchr(line, ' ');
        if (!at) continue;
        *at++ = 0;
        unsigned long index = strtoul(at, &at, 16);
        (void)strtoul(at, &at, 16);
        (void)strtoul(at, &at, 16);
        unsigned long flags = strtoul(at, &at, 16);
        bool optimistic = flags & IFA_F_OPTIMISTIC; /* RFC 4429: tentative, and usable */
        if (!(flags & IFA_F_DADFAILED) && (!(flags & IFA_F_TENTATIVE) || optimistic)) continue;
        if (kith_unhex(line, out->entries[out->count].ip, 16)) continue;
        out->entries[out->count++].index = (uint32_t)index;
    }
    fclose(file);
}

static bool is_ready(const not_ready *list, const kith_interface_addr *a)
{
    if (a->addr.family != KITH_FAMILY_IPV6) return true;
    for (size_t i = 0; i < list->count; i++) {
        if (list->entries[i].index == a->index && memcmp(list->entries[i].ip, a->addr.ip, 16) == 0) return false;
    }
    return true;
}

/* The usable addresses, of loopback interfaces alone or of the others alone. */
static size_t collect(const struct ifaddrs *all, bool loopback, const not_ready *list, kith_interface_addr *out,
                      size_t cap)
{
    size_t count = 0;
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        if (!at->ifa_addr || !(at->ifa_flags & IFF_UP) || !(at->ifa_flags & IFF_RUNNING)) continue;
        if (loopback != !!(at->ifa_flags & IFF_LOOPBACK)) continue;
        kith_interface_addr a = {.addr = kith_addr_from_sockaddr(at->ifa_addr)};
        if (a.addr.family == KITH_FAMILY_NONE) continue;
        size_t length = strcspn(at->ifa_name, ":"); /* an IPv4 label: "eth0:1" is on eth0 */
        if (length >= sizeof a.name) continue;
        memcpy(a.name, at->ifa_name, length);
        a.index = if_nametoindex(a.name);
        if (a.index == 0 || !is_ready(list, &a)) continue;
        if (count < cap) out[count] = a;
        count++;
    }
    return count;
}

static size_t net_addresses(kith_env *env, kith_interface_addr *out, size_t cap)
{
    (void)env;
    struct ifaddrs *all = NULL;
    not_ready list;
    if (getifaddrs(&all)) return 0;
    read_not_ready(&list);
    size_t count = collect(all, false, &list, out, cap);
    if (count == 0) count = collect(all, true, &list, out, cap);
    freeifaddrs(all);
    return count;
}

/* ---- changes ---- */

struct kith_watch {
    kith_io *io;
    uv_poll_t poll;
    int fd;
    kith_timer *debounce;
    bool waiting;  /* the timer is set */
    bool certain;  /* something went away or came up, even if the list ends as it was */
    uint64_t seen; /* a hash of the list */
    void (*changed)(void *user);
    void *user;
};

/* FNV-1a over the list: telling "the same" from "another" is all it is for. */
static uint64_t hash_addresses(kith_io *io, bool *all)
{
    kith_interface_addr list[ADDRESSES_MAX];
    size_t count = net_addresses(&io->env, list, ADDRESSES_MAX);
    *all = count <= ADDRESSES_MAX;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count && i < ADDRESSES_MAX; i++) {
        for (size_t j = 0; j < 20; j++) {
            uint32_t index = list[i].index;
            uint32_t byte = j < 16 ? list[i].addr.ip[j] : index >> (8 * (j - 16)) & 0xff;
            hash = (hash ^ byte) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

/* A router's advertisements announce the same addresses again every few seconds: no change. */
static void on_debounced(void *user)
{
    kith_watch *watch = user;
    bool all, certain = watch->certain;
    uint64_t hash = hash_addresses(watch->io, &all);
    watch->waiting = watch->certain = false;
    if (all && !certain && hash == watch->seen) return;
    watch->seen = hash;
    watch->changed(watch->user); /* may unwatch */
}

static void note(kith_watch *watch, bool certain)
{
    watch->certain |= certain;
    if (watch->waiting) return;
    watch->waiting = true;
    const kith_env *env = &watch->io->env;
    env->timers->set(watch->debounce, env->base->now_ns(&watch->io->env) + DEBOUNCE_NS);
}

static void read_events(kith_watch *watch, const uint8_t *data, size_t size)
{
    struct nlmsghdr head;
    while (size >= sizeof head) {
        memcpy(&head, data, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > size) return;
        if (head.nlmsg_type == RTM_DELADDR || head.nlmsg_type == RTM_DELLINK) note(watch, true);
        if (head.nlmsg_type == RTM_NEWADDR) note(watch, false);
        if (head.nlmsg_type == RTM_NEWLINK && head.nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
            struct ifinfomsg info;
            memcpy(&info, data + NLMSG_HDRLEN, sizeof info);
            note(watch, !(info.ifi_flags & IFF_UP) || !(info.ifi_flags & IFF_RUNNING));
        }
        size_t step = NLMSG_ALIGN(head.nlmsg_len);
        if (step >= size) return;
        data += step;
        size -= step;
    }
}

static void on_netlink(uv_poll_t *poll, int status, int events)
{
    (void)events;
    kith_watch *watch = poll->data;
    uint8_t data[16384]; /* the kernel's messages are smaller than this; a cut one is skipped by read_events */
    for (int i = 0; i < READS_A_WAKE_UP; i++) {
        ssize_t got = recv(watch->fd, data, sizeof data, MSG_DONTWAIT);
        if (got > 0) {
            read_events(watch, data, (size_t)got);
        } else if (got < 0 && errno == ENOBUFS) {
            note(watch, true); /* the kernel had more to say than the socket holds */
        } else if (got >= 0 || errno != EINTR) {
            break;
        }
    }
    if (status < 0)
        uv_poll_start(&watch->poll, UV_READABLE, on_netlink); /* libuv stops at a socket's error, such as ENOBUFS */
}

static int open_netlink(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl name = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof name)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static kith_err net_watch(kith_env *env, void (*changed)(void *user), void *user, kith_watch **out)
{
    kith_io *io = kith_io_of(env);
    kith_watch *watch = kith_calloc(1, sizeof *watch);
    if (!watch) return KITH_ERR_NOMEM;
    kith_err err = KITH_ERR_NOMEM;
    bool all;
    *watch = (kith_watch){.io = io, .changed = changed, .user = user, .fd = -1};
    watch->debounce = env->timers->open(env, on_debounced, watch);
    if (!watch->debounce) goto fail;
    err = KITH_ERR_NETWORK;
    watch->fd = open_netlink();
    if (watch->fd < 0 || uv_poll_init(&io->loop, &watch->poll, watch->fd)) goto fail;
    watch->poll.data = watch;
    uv_poll_start(&watch->poll, UV_READABLE, on_netlink);
    watch->seen = hash_addresses(io, &all); /* after subscribing: nothing is missed in between */
    io->objects++;
    *out = watch;
    return KITH_OK;
fail:
    if (watch->fd >= 0) close(watch->fd);
    env->timers->close(watch->debounce);
    kith_free(watch);
    return err;
}

static void on_closed(uv_handle_t *handle)
{
    kith_watch *watch = handle->data;
    watch->io->objects--;
    kith_free(watch);
}

static void net_unwatch(kith_watch *watch)
{
    if (!watch) return;
    watch->io->env.timers->close(watch->debounce);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
    close(watch->fd);
}

/* ---- names ---- */

static kith_err net_resolve(kith_env *env, const char *host, uint16_t port, kith_resolved_fn *done, void *user,
                            kith_lookup **out)
{
    kith_io_lookup *lookup;
    kith_err err = kith_io_resolve(kith_io_of(env), host, port, done, user, &lookup);
    if (!err) *out = (kith_lookup *)lookup;
    return err;
}

static void net_cancel(kith_lookup *lookup) { kith_io_resolve_cancel((kith_io_lookup *)lookup); }

const kith_env_net kith_io_net_table = {net_addresses, net_watch, net_unwatch, net_resolve, net_cancel};
