/* Datagrams: one non-blocking socket under uv_poll.  Runs of datagrams cross the kernel's border as one (UDP_SEGMENT,
 * UDP_GRO), which is where most of the time of a UDP transfer goes otherwise. */
#include "base/mem.h"
#include "io/io_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BUFFER   (4 << 20) /* bytes asked for; the system may give less */
#define RECEIVE_BATCH   8     /* messages in one recvmmsg; 512 KiB of buffers, touched only as far as runs are long */
#define RECEIVE_SIZE    65536 /* no UDP payload, and no run GRO makes, is larger */
#define RECEIVE_ROUNDS  4     /* recvmmsg calls in one wake-up, and */
#define RECEIVE_BYTES   (256 << 10) /* what they may bring before the loop's other work gets its turn */
#define RECEIVE_CONTROL 128         /* IPV6_PKTINFO 40, traffic class 24, UDP_GRO 24 bytes */

struct kith_io_rx {
    uint8_t data[RECEIVE_BATCH][RECEIVE_SIZE];
    alignas(struct cmsghdr) uint8_t control[RECEIVE_BATCH][RECEIVE_CONTROL];
    struct sockaddr_storage names[RECEIVE_BATCH];
    struct iovec parts[RECEIVE_BATCH];
    struct mmsghdr messages[RECEIVE_BATCH];
};

struct kith_udp {
    kith_io *io;
    uv_poll_t poll;
    int fd;
    kith_udp_events events;
    void *user;
    kith_addr local;
    bool v6;       /* the socket's family; IPv4 addresses are v4-mapped on it */
    bool closed;   /* by a callback: stop what is under way */
    bool blocked;  /* send said AGAIN, or has to: `writable` is owed */
    bool gso_bad;  /* the kernel or a device refused: single datagrams from now on */
    uint8_t *rest; /* what a partly sent run left, with its packet: it goes out first */
    kith_packet rest_packet;
};

/* ---- receiving ---- */

typedef struct batch {
    kith_packet packets[2 * RECEIVE_BATCH];
    size_t count;
} batch;

static void hand_over(kith_udp *udp, batch *b)
{
    if (b->count && !udp->closed) udp->events.received(udp->user, b->packets, b->count);
    b->count = 0;
}

/* The kernel may have joined more than a run holds. */
static void add_run(kith_udp *udp, batch *b, kith_packet run)
{
    size_t most = KITH_PACKET_RUN_MAX / run.segment;
    if (most == 0) return; /* one datagram larger than any run: none of ours */
    if (most > KITH_PACKET_RUN_SEGMENTS) most = KITH_PACKET_RUN_SEGMENTS;
    most *= run.segment;
    while (run.size) {
        kith_packet *part = &b->packets[b->count++];
        *part = run;
        if (part->size > most) part->size = most;
        if (part->segment > part->size) part->segment = part->size;
        run.data += part->size;
        run.size -= part->size;
        if (b->count == sizeof b->packets / sizeof *b->packets) hand_over(udp, b);
    }
}

static kith_addr addr_of_v4(const struct in_addr *in)
{
    kith_addr a = {.family = KITH_FAMILY_IPV4};
    memcpy(a.ip, in, 4);
    return a;
}

static kith_addr addr_of_v6(const struct in6_pktinfo *info)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = info->ipi6_addr};
    in6.sin6_scope_id = info->ipi6_ifindex;
    return kith_addr_from_sockaddr((const struct sockaddr *)&in6);
}

static void read_control(struct msghdr *message, kith_packet *p)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        const void *data = CMSG_DATA(c);
        int value = 0;
        if (c->cmsg_len >= CMSG_LEN(sizeof value)) memcpy(&value, data, sizeof value);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, data, sizeof info);
            p->local = addr_of_v4(&info.ipi_addr);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            p->ecn = *(const uint8_t *)data & 3; /* one byte when received, unlike the others */
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, data, sizeof info);
            p->local = addr_of_v6(&info);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            p->ecn = (uint8_t)(value & 3);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO && value > 0) {
            p->segment = (size_t)value;
        }
    }
}

/* Empty datagrams carry nothing, and cut ones nothing to be relied on. */
static void take_message(kith_udp *udp, batch *b, size_t index)
{
    struct kith_io_rx *rx = udp->io->rx;
    struct msghdr *message = &rx->messages[index].msg_hdr;
    kith_packet p = {.data = rx->data[index], .size = rx->messages[index].msg_len, .local = udp->local};
    if (p.size == 0 || message->msg_flags & MSG_TRUNC) return;
    p.segment = p.size;
    p.remote = kith_addr_from_sockaddr((const struct sockaddr *)&rx->names[index]);
    read_control(message, &p);
    p.local.port = udp->local.port;
    add_run(udp, b, p);
}

/* How many messages there were; 0 for none or an error.  A first error may be one kept for the socket, about a datagram
 * sent earlier (ICMP): reporting it has cleared it. */
static size_t receive_batch(kith_udp *udp)
{
    struct kith_io_rx *rx = udp->io->rx;
    for (size_t i = 0; i < RECEIVE_BATCH; i++) {
        rx->parts[i] = (struct iovec){rx->data[i], RECEIVE_SIZE};
        rx->messages[i].msg_hdr = (struct msghdr){.msg_name = &rx->names[i],
                                                  .msg_namelen = sizeof rx->names[i],
                                                  .msg_iov = &rx->parts[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = rx->control[i],
                                                  .msg_controllen = RECEIVE_CONTROL};
    }
    bool failed_before = false;
    for (;;) {
        int got = recvmmsg(udp->fd, rx->messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
        if (got >= 0) return (size_t)got;
        if (errno == EINTR) continue;
        if (errno == EAGAIN || failed_before) return 0;
        failed_before = true;
    }
}

static void receive(kith_udp *udp)
{
    size_t bytes = 0, count = RECEIVE_BATCH;
    for (int round = 0; round < RECEIVE_ROUNDS && count == RECEIVE_BATCH && bytes < RECEIVE_BYTES; round++) {
        batch b;
        b.count = 0;
        count = receive_batch(udp);
        for (size_t i = 0; i < count; i++) {
            bytes += udp->io->rx->messages[i].msg_len;
            take_message(udp, &b, i);
        }
        hand_over(udp, &b);
        if (udp->closed) return;
    }
}

/* ---- sending ---- */

typedef struct frame { /* what all datagrams of a run have in common */
    struct msghdr message;
    struct sockaddr_storage name;
    alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int))];
} frame;

static void add_control(frame *f, int level, int type, const void *data, size_t size)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(f->control + f->message.msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
    f->message.msg_control = f->control;
    f->message.msg_controllen += CMSG_SPACE(size);
}

static void make_frame(const kith_udp *udp, const kith_packet *p, frame *f)
{
    memset(f, 0, sizeof *f);
    f->message.msg_namelen = kith_addr_to_sockaddr(&p->remote, udp->v6, &f->name);
    f->message.msg_name = &f->name;
    bool v4 = p->remote.family == KITH_FAMILY_IPV4;
    if (p->local.family != KITH_FAMILY_NONE && !kith_addr_is_any(&p->local)) {
        struct in_pktinfo info4 = {0};
        struct in6_pktinfo info6 = {.ipi6_ifindex = p->local.scope};
        memcpy(&info4.ipi_spec_dst, p->local.ip, 4);
        memcpy(&info6.ipi6_addr, p->local.ip, 16);
        if (v4) {
            add_control(f, IPPROTO_IP, IP_PKTINFO, &info4, sizeof info4);
        } else {
            add_control(f, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof info6);
        }
    }
    if (p->ecn) {
        int ecn = p->ecn & 3;
        add_control(f, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &ecn, sizeof ecn);
    }
}

static kith_err send_error(int error)
{
    switch (error) {
    case EAGAIN: return KITH_ERR_AGAIN;
    case EMSGSIZE: return KITH_ERR_LIMIT;
    case ENOBUFS: /* a full queue on the way: as lost as one dropped further on */
    case ENOMEM: return KITH_OK;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EPERM:  /* a packet filter */
    case EACCES: /* a route that prohibits, or a broadcast address */
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ENODEV:
    case ENXIO:
    case EINVAL: /* of what we pass, only a source address that is not ours (any more) can be meant */
        return KITH_ERR_UNREACHABLE;
    default: return KITH_ERR_NETWORK;
    }
}

static bool is_kept_error(int error) { return error == ECONNREFUSED || error == ECONNRESET || error == EPROTO; }

static void on_poll(uv_poll_t *poll, int status, int events);

static void block(kith_udp *udp)
{
    udp->blocked = true;
    uv_poll_start(&udp->poll, UV_READABLE | UV_WRITABLE, on_poll);
}

/* The datagrams one by one.  *sent: bytes that went out; the rest did not, for the reason returned. */
static kith_err send_each(kith_udp *udp, frame *f, const kith_packet *p, size_t *sent)
{
    struct mmsghdr messages[KITH_PACKET_RUN_SEGMENTS];
    struct iovec parts[KITH_PACKET_RUN_SEGMENTS];
    unsigned count = 0, done = 0;
    for (size_t at = 0; at < p->size; at += p->segment, count++) {
        size_t left = p->size - at;
        parts[count] = (struct iovec){p->data + at, left < p->segment ? left : p->segment};
        messages[count] = (struct mmsghdr){.msg_hdr = f->message};
        messages[count].msg_hdr.msg_iov = &parts[count];
        messages[count].msg_hdr.msg_iovlen = 1;
    }
    kith_err err = KITH_OK;
    bool failed_before = false;
    *sent = 0;
    while (done < count) {
        int status = sendmmsg(udp->fd, messages + done, count - done, MSG_DONTWAIT);
        if (status > 0) {
            for (unsigned end = done + (unsigned)status; done < end; done++) *sent += parts[done].iov_len;
        } else if (is_kept_error(errno) && !failed_before) {
            failed_before = true;
        } else if (errno != EINTR) {
            err = send_error(errno);
            if (err) break;
            *sent += parts[done++].iov_len;
        }
    }
    return err;
}

/* Part of a run went out and the socket is full: the rest waits here, since AGAIN says that nothing was sent. */
static void keep_rest(kith_udp *udp, const kith_packet *p, size_t sent)
{
    if (!udp->rest) udp->rest = kith_malloc(KITH_PACKET_RUN_MAX);
    if (!udp->rest) return; /* lost, as datagrams may be */
    udp->rest_packet = *p;
    udp->rest_packet.data = udp->rest;
    udp->rest_packet.size = p->size - sent;
    memmove(udp->rest, p->data + sent, p->size - sent);
}

static kith_err send_singly(kith_udp *udp, frame *f, const kith_packet *p)
{
    size_t sent;
    kith_err err = send_each(udp, f, p, &sent);
    if (err != KITH_ERR_AGAIN) return err;
    block(udp);
    if (sent == 0) return KITH_ERR_AGAIN;
    keep_rest(udp, p, sent);
    return KITH_OK;
}

/* *refused: not sent, maybe because runs are not possible here. */
static kith_err send_run(kith_udp *udp, const frame *common, const kith_packet *p, bool *refused)
{
    frame f = *common;
    struct iovec part = {p->data, p->size};
    uint16_t segment = (uint16_t)p->segment;
    f.message.msg_name = &f.name;
    f.message.msg_iov = &part;
    f.message.msg_iovlen = 1;
    add_control(&f, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    bool failed_before = false;
    for (;;) {
        if (sendmsg(udp->fd, &f.message, MSG_DONTWAIT) >= 0) return KITH_OK;
        if (errno == EINTR) continue;
        if (!is_kept_error(errno) || failed_before) break;
        failed_before = true;
    }
    *refused = errno == EIO || errno == EINVAL;
    kith_err err = send_error(errno);
    if (err == KITH_ERR_AGAIN) block(udp);
    return err;
}

static bool valid(const kith_packet *p)
{
    if (p->size == 0 || p->size > KITH_PACKET_RUN_MAX || p->segment == 0 || p->segment > p->size) return false;
    if ((p->size - 1) / p->segment >= KITH_PACKET_RUN_SEGMENTS) return false;
    if (p->remote.family == KITH_FAMILY_NONE || p->remote.port == 0) return false;
    return p->local.family == KITH_FAMILY_NONE || p->local.family == p->remote.family || kith_addr_is_any(&p->local);
}

static kith_err udp_send(kith_udp *udp, const kith_packet *p)
{
    if (!valid(p)) return KITH_ERR_ARG;
    if (p->remote.family == KITH_FAMILY_IPV6 && !udp->v6) return KITH_ERR_UNREACHABLE;
    if (udp->blocked) return KITH_ERR_AGAIN;
    frame f;
    make_frame(udp, p, &f);
    if (p->size == p->segment || udp->gso_bad) return send_singly(udp, &f, p);
    bool refused = false;
    kith_err err = send_run(udp, &f, p, &refused);
    if (!refused) return err;
    /* Something else may have been wrong with it: only if it goes out singly the run was to blame. */
    err = send_singly(udp, &f, p);
    if (!err) udp->gso_bad = true;
    return err;
}

/* ---- the socket ---- */

/* True when nothing is left waiting. */
static bool send_rest(kith_udp *udp)
{
    kith_packet *p = &udp->rest_packet;
    if (!p->size) return true;
    frame f;
    size_t sent;
    make_frame(udp, p, &f);
    if (send_each(udp, &f, p, &sent) == KITH_ERR_AGAIN) {
        kith_packet left = *p;
        if (sent) keep_rest(udp, &left, sent);
        return false;
    }
    p->size = 0;
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    kith_udp *udp = poll->data;
    if (status < 0) {
        /* The socket has an error for us (epoll's EPOLLERR), at which libuv stops polling: clear it and go on. */
        (void)kith_io_take_socket_error(udp->fd);
        uv_poll_start(&udp->poll, udp->blocked ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_poll);
        return;
    }
    if (events & UV_WRITABLE && udp->blocked && send_rest(udp)) {
        udp->blocked = false;
        uv_poll_start(&udp->poll, UV_READABLE, on_poll);
        udp->events.writable(udp->user);
    }
    if (!udp->closed && events & UV_READABLE) receive(udp);
}

/* None of these has to work: without one a feature is missing, and datagrams still flow. */
static void set_options(const kith_udp *udp)
{
    int fd = udp->fd;
    if (udp->v6) {
        kith_io_set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        kith_io_set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        kith_io_set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    } else {
        kith_io_set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    kith_io_set_option(fd, IPPROTO_IP, IP_RECVTOS, 1); /* also on an IPv6 socket, for the IPv4 it carries */
    /* Never fragment, and let probes larger than the kernel's idea of the path go out: finding the MTU is QUIC's (RFC
     * 8899). */
    kith_io_set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    kith_io_set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
    kith_io_set_option(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER); /* up to the system's limit, */
    kith_io_set_option(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
    kith_io_set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER); /* beyond it where we may */
    kith_io_set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER);
}

static kith_err udp_open(kith_env *env, const kith_addr *at, const kith_udp_events *events, void *user, kith_udp **out)
{
    kith_io *io = kith_io_of(env);
    if (!io->rx) io->rx = kith_malloc(sizeof *io->rx);
    if (!io->rx) return KITH_ERR_NOMEM;
    kith_udp *udp = kith_calloc(1, sizeof *udp);
    if (!udp) return KITH_ERR_NOMEM;
    udp->io = io;
    udp->events = *events;
    udp->user = user;
    kith_io_socket bound;
    int error = kith_io_bind(SOCK_DGRAM, at, &bound);
    if (!error) {
        error = -uv_poll_init(&io->loop, &udp->poll, bound.fd);
        if (error) close(bound.fd);
    }
    if (error) {
        kith_free(udp);
        return kith_io_open_error(error);
    }
    udp->fd = bound.fd;
    udp->v6 = bound.v6;
    udp->local = bound.local;
    set_options(udp);
    udp->poll.data = udp;
    uv_poll_start(&udp->poll, UV_READABLE, on_poll);
    io->objects++;
    *out = udp;
    return KITH_OK;
}

static kith_addr udp_local(const kith_udp *udp) { return udp->local; }

static void on_closed(uv_handle_t *handle)
{
    kith_udp *udp = handle->data;
    udp->io->objects--;
    kith_free(udp->rest);
    kith_free(udp);
}

static void udp_close(kith_udp *udp)
{
    if (!udp) return;
    udp->closed = true;
    uv_close((uv_handle_t *)&udp->poll, on_closed);
    close(udp->fd);
    udp->fd = -1; /* the number may be another's in the same turn of the loop */
}

int kith_io_udp_fd(const kith_udp *udp) { return udp->fd; }
bool kith_io_udp_uses_gso(const kith_udp *udp) { return !udp->gso_bad; }

const kith_env_udp kith_io_udp_table = {udp_open, udp_local, udp_send, udp_close};
