/* Connections with messages over local sockets, on the loop. */
#include "io/local.h"

#include "base/mem.h"
#include "io/io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN  16
#define ACCEPT_PAUSE_NS UINT64_C(100000000) /* without any descriptor: until they are asked for again */
#define READS_A_TURN    16
#define READ_SIZE       (64u << 10)

/* ---- accepting ---- */

struct kith_local_door {
    kith_io *io;
    uv_poll_t poll;
    int fd;
    int spare;         /* a descriptor for when there are no more; -1: even that is gone */
    kith_timer *again; /* set while there are none */
    void (*accepted)(void *user, int fd);
    void *user;
    bool closed;
};

static void on_knock(uv_poll_t *poll, int status, int events);

static void take_spare(kith_local_door *d)
{
    if (d->spare < 0) d->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void knock_again(void *user)
{
    kith_local_door *d = user;
    take_spare(d);
    uv_poll_start(&d->poll, UV_READABLE, on_knock);
}

/* Who waits at the door would keep the loop awake. */
static void rest(kith_local_door *d)
{
    uv_poll_stop(&d->poll);
    kith_io_timer_table.set(d->again, kith_io_base.now_ns(&d->io->env) + ACCEPT_PAUSE_NS);
}

static void on_knock(uv_poll_t *poll, int status, int events)
{
    kith_local_door *d = poll->data;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && !d->closed; i++) {
        int fd = accept4(d->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        const bool none = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
        if (none && d->spare >= 0) { /* he is let in, and out, so that he knows */
            close(d->spare);
            d->spare = -1;
            fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0) close(fd);
            take_spare(d);
            continue;
        }
        if (none) rest(d);
        if (fd < 0) return;
        if (kith_local_is_own(fd))
            d->accepted(d->user, fd);
        else
            close(fd);
    }
}

kith_err kith_local_accept(kith_env *env, int fd, void (*accepted)(void *user, int fd), void *user,
                           kith_local_door **out)
{
    kith_local_door *d = kith_calloc(1, sizeof *d);
    if (!d) return KITH_ERR_NOMEM;
    *d = (kith_local_door){.io = kith_io_of(env), .fd = fd, .accepted = accepted, .user = user};
    d->spare = -1;
    d->poll.data = d;
    d->again = kith_io_timer_table.open(env, knock_again, d);
    if (!d->again || uv_poll_init(&d->io->loop, &d->poll, fd)) {
        kith_io_timer_table.close(d->again);
        kith_free(d);
        return KITH_ERR_NOMEM;
    }
    take_spare(d);
    uv_poll_start(&d->poll, UV_READABLE, on_knock);
    d->io->objects++;
    *out = d;
    return KITH_OK;
}

static void door_closed(uv_handle_t *handle)
{
    kith_local_door *d = handle->data;
    d->io->objects--;
    kith_free(d);
}

void kith_local_accept_end(kith_local_door *d)
{
    if (!d || d->closed) return;
    d->closed = true;
    kith_io_timer_table.close(d->again);
    if (d->spare >= 0) close(d->spare);
    uv_close((uv_handle_t *)&d->poll, door_closed);
}

/* ---- a connection ---- */

typedef struct packet {
    struct packet *next;
    size_t size, sent;
    int fd; /* -1: none, or sent */
    uint8_t data[];
} packet;

struct kith_local {
    kith_io *io;
    uv_poll_t poll;
    int fd;
    const kith_local_events *events;
    void *user;
    size_t message_max;
    packet *queue, **queue_end;
    size_t queued;
    kith_err why; /* it has failed, and that was not told yet */
    bool writing, told, closed;
    uint8_t head[KITH_LOCAL_HEAD];
    size_t head_size;
    uint8_t *body; /* of the message that comes; NULL: none */
    size_t body_size, body_room, body_got;
    int fds[KITH_LOCAL_FDS_MAX];
    size_t fd_count;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(kith_local *l)
{
    if (!l->closed) uv_poll_start(&l->poll, UV_READABLE | (l->writing ? UV_WRITABLE : 0), on_ready);
}

/* A socket that is shut down is readable: that brings the loop here. */
void kith_local_fail(kith_local *l, kith_err why)
{
    if (!l->why) l->why = why;
    shutdown(l->fd, SHUT_RDWR);
}

static void tell(kith_local *l)
{
    if (l->told || l->closed) return;
    l->told = true;
    uv_poll_stop(&l->poll);
    l->events->ended(l->user, l->why);
}

/* ---- out ---- */

uint8_t *kith_local_room(size_t size)
{
    packet *p = kith_malloc(sizeof *p + KITH_LOCAL_HEAD + size);
    return p ? p->data + KITH_LOCAL_HEAD : NULL;
}

static ssize_t send_some(kith_local *l, packet *p)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec piece = {.iov_base = p->data + p->sent, .iov_len = p->size - p->sent};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (p->fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &p->fd, sizeof p->fd);
    }
    ssize_t n;
    do {
        n = sendmsg(l->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* It may have been a pairing code, or what applications say to each other: nothing of it stays. */
static void packet_free(packet *p)
{
    if (p->fd >= 0) close(p->fd);
    kith_wipe(p->data, p->size);
    kith_free(p);
}

static void flush(kith_local *l)
{
    while (l->queue) {
        packet *p = l->queue;
        ssize_t n = send_some(l, p);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n < 0) {
            kith_local_fail(l, KITH_ERR_CLOSED);
            return;
        }
        if (p->fd >= 0) close(p->fd);
        p->fd = -1;
        p->sent += (size_t)n;
        l->queued -= (size_t)n;
        if (p->sent < p->size) continue;
        l->queue = p->next;
        if (!l->queue) l->queue_end = &l->queue;
        packet_free(p);
    }
    bool writing = l->queue != NULL;
    if (writing == l->writing) return;
    l->writing = writing;
    watch(l);
}

void kith_local_send(kith_local *l, uint8_t *room, size_t size, int fd)
{
    packet *p = room ? (packet *)(void *)(room - KITH_LOCAL_HEAD - offsetof(packet, data)) : NULL;
    if (p) *p = (packet){.size = KITH_LOCAL_HEAD + size, .fd = fd};
    if (!p || l->why || l->told || size > l->message_max || l->queued + size > KITH_LOCAL_QUEUE_MAX) {
        if (!l->why && !l->told) kith_local_fail(l, p ? KITH_ERR_LIMIT : KITH_ERR_NOMEM);
        if (p)
            packet_free(p);
        else if (fd >= 0)
            close(fd);
        return;
    }
    for (int i = 0; i < KITH_LOCAL_HEAD; i++) p->data[i] = (uint8_t)(size >> (24 - 8 * i));
    *l->queue_end = p;
    l->queue_end = &p->next;
    l->queued += p->size;
    if (!l->writing) flush(l);
}

size_t kith_local_queued(const kith_local *l) { return l->queued; }

/* ---- in ---- */

static void take_fds(kith_local *l, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (l->fd_count < KITH_LOCAL_FDS_MAX) {
                l->fds[l->fd_count++] = fd;
            } else {
                close(fd);
                kith_local_fail(l, KITH_ERR_PROTOCOL);
            }
        }
    }
    if (message->msg_flags & MSG_CTRUNC) kith_local_fail(l, KITH_ERR_PROTOCOL);
}

/* Room for more of the message, as it comes: who announces much has to send it, too. */
static bool grow(kith_local *l)
{
    size_t room = l->body_room ? 2 * l->body_room : READ_SIZE;
    if (l->body_got < l->body_room) return true;
    if (room > l->body_size) room = l->body_size;
    uint8_t *more = kith_realloc(l->body, room + 1);
    if (!more) return false;
    l->body = more;
    l->body_room = room;
    return true;
}

int kith_local_take_fd(kith_local *l)
{
    if (!l->fd_count) return -1;
    int fd = l->fds[0];
    memmove(l->fds, l->fds + 1, --l->fd_count * sizeof *l->fds);
    return fd;
}

static void deliver(kith_local *l)
{
    uint8_t *body = l->body;
    size_t size = l->body_size;
    l->body = NULL;
    l->body_size = l->body_room = l->body_got = l->head_size = 0;
    if (!l->events->message(l->user, body, size) && !l->closed) kith_local_fail(l, KITH_ERR_PROTOCOL);
    kith_wipe(body, size);
    kith_free(body);
}

static void take_bytes(kith_local *l, const uint8_t *data, size_t size)
{
    while (size && !l->why && !l->closed) {
        if (l->head_size < KITH_LOCAL_HEAD) {
            l->head[l->head_size++] = *data++;
            size--;
            if (l->head_size < KITH_LOCAL_HEAD) continue;
            l->body_size = (size_t)l->head[0] << 24 | (size_t)l->head[1] << 16 | (size_t)l->head[2] << 8 | l->head[3];
            if (l->body_size == 0 || l->body_size > l->message_max) kith_local_fail(l, KITH_ERR_PROTOCOL);
            continue;
        }
        if (!grow(l)) {
            kith_local_fail(l, KITH_ERR_NOMEM);
            return;
        }
        size_t n = l->body_room - l->body_got;
        if (n > size) n = size;
        memcpy(l->body + l->body_got, data, n);
        l->body_got += n;
        data += n;
        size -= n;
        if (l->body_got == l->body_size) deliver(l);
    }
}

/* False: there is no more now. */
static bool read_some(kith_local *l)
{
    static _Thread_local uint8_t bytes[READ_SIZE];
    union {
        char bytes[CMSG_SPACE(KITH_LOCAL_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes};
    message.msg_controllen = sizeof control.bytes;
    ssize_t n = recvmsg(l->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) kith_local_fail(l, KITH_ERR_CLOSED);
        return errno == EINTR;
    }
    take_fds(l, &message);
    if (n == 0) kith_local_fail(l, KITH_ERR_CLOSED);
    take_bytes(l, bytes, (size_t)n);
    kith_wipe(bytes, (size_t)n);
    return n > 0;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    kith_local *l = poll->data;
    if (status) kith_local_fail(l, KITH_ERR_CLOSED);
    if (events & UV_WRITABLE && !l->why) flush(l);
    for (int i = 0; i < READS_A_TURN && !l->why && !l->closed; i++)
        if (!read_some(l)) break;
    if (l->why) tell(l);
}

/* ---- beginning and end ---- */

kith_err kith_local_open(kith_env *env, int fd, size_t message_max, const kith_local_events *events, void *user,
                         kith_local **out)
{
    kith_local *l = kith_calloc(1, sizeof *l);
    if (!l) return KITH_ERR_NOMEM;
    *l = (kith_local){.io = kith_io_of(env), .fd = fd, .events = events, .user = user, .message_max = message_max};
    l->queue_end = &l->queue;
    l->poll.data = l;
    if (uv_poll_init(&l->io->loop, &l->poll, fd)) {
        kith_free(l);
        return KITH_ERR_NOMEM;
    }
    l->io->objects++;
    watch(l);
    *out = l;
    return KITH_OK;
}

static void local_closed(uv_handle_t *handle)
{
    kith_local *l = handle->data;
    close(l->fd);
    l->io->objects--;
    kith_free(l);
}

void kith_local_close(kith_local *l)
{
    if (!l || l->closed) return;
    if (!l->why) flush(l); /* the last words, if they find room */
    l->closed = true;
    while (l->queue) {
        packet *p = l->queue;
        l->queue = p->next;
        packet_free(p);
    }
    while (l->fd_count) close(l->fds[--l->fd_count]);
    if (l->body) kith_wipe(l->body, l->body_got);
    kith_free(l->body);
    l->body = NULL;
    uv_close((uv_handle_t *)&l->poll, local_closed);
}
