/* Byte streams: one non-blocking socket each under uv_poll.  Bytes go straight between the kernel and the user's
 * memory. A socket is polled only for what is wanted now, and not at all when nothing is: a peer that is gone would
 * wake the loop for ever otherwise.  What is wanted settles at the end of a turn, so that a stream that stays busy
 * costs no epoll_ctl. */
#include "base/mem.h"
#include "io/io_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG         512 /* connections complete and not yet accepted; the system may allow fewer (somaxconn) */
#define ACCEPT_ROUNDS   16  /* connections accepted in one wake-up */
#define ACCEPT_PAUSE_NS UINT64_C(100000000) /* without descriptors or memory: until they are asked for again */
#define RECEIVE_ROUNDS  16                  /* recv calls in one wake-up, and */
#define RECEIVE_BYTES   ((size_t)256 << 10) /* what they may bring before the loop's other work gets its turn */
#define DISCARD_SIZE    ((size_t)16 << 10)
#define DISCARD_ROUNDS  64
#define LINGER_MAX      64 /* closed streams that wait for bytes to arrive; more are let go of at once */
#define LINGER_TICK_NS  UINT64_C(50000000) /* how often they are looked at, and */
#define LINGER_TICKS    6                  /* how many times: 0.3 s, of the second that closing a node may take */

struct kith_tcp {
    kith_io *io;
    uv_poll_t poll;
    int fd;
    int polled; /* what the loop waits for: UV_READABLE, UV_WRITABLE */
    kith_tcp_events events;
    void *user;
    kith_addr remote;
    kith_err why;    /* it is over and this is the reason; bytes may still wait to be received */
    bool in_turn;    /* on_poll is under way and settles what to poll for when it ends */
    bool connecting; /* until `connected` */
    bool reading;    /* the user was not asked for room yet, or had some */
    bool held;       /* over, but bytes wait for `resume`, and the end with them */
    bool blocked;    /* send took less than it was given: `writable` is owed */
    bool ended;      /* and told */
    bool closed;     /* no more callbacks; maybe by one of them: stop what is under way */
    kith_link lingering;
    kith_timer *tick;
    unsigned ticks;
};

/* ---- what to poll for ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_for(kith_tcp *tcp, int events)
{
    if (tcp->polled == events) return;
    tcp->polled = events;
    if (events) {
        uv_poll_start(&tcp->poll, events, on_poll);
    } else {
        uv_poll_stop(&tcp->poll);
    }
}

static int wanted(const kith_tcp *tcp)
{
    if (tcp->ended) return 0;
    if (tcp->connecting) return UV_WRITABLE;
    if (tcp->why) return tcp->held ? 0 : UV_READABLE; /* which it is at once */
    return (tcp->reading ? UV_READABLE : 0) | (tcp->blocked ? UV_WRITABLE : 0);
}

static void settle(kith_tcp *tcp)
{
    if (!tcp->in_turn) poll_for(tcp, wanted(tcp));
}

/* ---- the end ---- */

/* Of a connection that was there, for its errno. */
static kith_err end_reason(int error)
{
    switch (error) {
    case 0: return KITH_OK;
    case ECONNRESET:
    case EPIPE: return KITH_ERR_CLOSED;
    default: /* ETIMEDOUT, or what ICMP said meanwhile: EHOSTUNREACH ... */ return KITH_ERR_LOST;
    }
}

static void end(kith_tcp *tcp, kith_err why)
{
    tcp->ended = true;
    tcp->events.ended(tcp->user, why);
}

/* It is over while no bytes are wanted: the end is told unless there are some. */
static void end_unless_held(kith_tcp *tcp)
{
    int waiting = 0;
    tcp->held = ioctl(tcp->fd, SIOCINQ, &waiting) == 0 && waiting > 0;
    if (!tcp->held) end(tcp, tcp->why);
}

/* ---- receiving ---- */

static void receive(kith_tcp *tcp)
{
    size_t bytes = 0;
    for (int round = 0; round < RECEIVE_ROUNDS && bytes < RECEIVE_BYTES; round++) {
        size_t size = 0;
        uint8_t *room = tcp->events.room(tcp->user, &size);
        if (tcp->closed) return;
        if (!room || size == 0) {
            tcp->reading = false;
            return;
        }
        if (size > RECEIVE_BYTES - bytes) size = RECEIVE_BYTES - bytes;
        ssize_t got = recv(tcp->fd, room, size, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) {
            kith_err now = got < 0 ? end_reason(errno) : KITH_ERR_CLOSED;
            end(tcp, tcp->why ? tcp->why : now);
            return;
        }
        bytes += (size_t)got;
        tcp->events.received(tcp->user, (size_t)got);
        if (tcp->closed || (size_t)got < size) return; /* less than asked for: that was all there is */
    }
}

/* ---- sending ---- */

/* The errno, or 0 with what was taken: nothing or less than given when TCP_NOTSENT_LOWAT's mark is reached. */
static int send_some(int fd, const struct iovec *pieces, size_t count, size_t *taken)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    ssize_t status;
    do {
        status = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (status < 0 && errno == EINTR);
    *taken = status < 0 ? 0 : (size_t)status;
    return status < 0 && errno != EAGAIN ? errno : 0;
}

static kith_err tcp_send(kith_tcp *tcp, const struct iovec *pieces, size_t count, size_t *sent)
{
    if (tcp->ended || tcp->why) return KITH_ERR_CLOSED;
    size_t total = 0;
    while (count && !tcp->blocked) {
        size_t some = count < IOV_MAX ? count : IOV_MAX, given = 0, taken = 0;
        for (size_t i = 0; i < some; i++) given += pieces[i].iov_len;
        int error = given && !tcp->connecting ? send_some(tcp->fd, pieces, some, &taken) : 0;
        if (error) {
            tcp->why = end_reason(error);
            settle(tcp);
            return KITH_ERR_CLOSED;
        }
        tcp->blocked = taken < given;
        total += taken;
        pieces += some;
        count -= some;
    }
    settle(tcp);
    *sent = total;
    return KITH_OK;
}

/* ---- the loop's word ---- */

/* Without a listener a connect to a port of the system's own range can meet itself (RFC 9293 3.5: simultaneous open).
 */
static bool met_itself(const kith_tcp *tcp)
{
    kith_addr local = kith_io_socket_local(tcp->fd);
    return kith_addr_equal(&local, &tcp->remote);
}

static void finish_connect(kith_tcp *tcp)
{
    int error = kith_io_take_socket_error(tcp->fd);
    /* A peer that accepted, and reset before we looked, was there; it may have sent something. */
    bool was_there = error == ECONNRESET || error == EPIPE;
    tcp->connecting = false;
    if ((error && !was_there) || met_itself(tcp)) {
        end(tcp, KITH_ERR_UNREACHABLE);
        return;
    }
    tcp->why = end_reason(error);
    tcp->reading = true;
    tcp->events.connected(tcp->user);
}

static void serve(kith_tcp *tcp, bool failed, int events)
{
    if (failed && !tcp->why) tcp->why = end_reason(kith_io_take_socket_error(tcp->fd));
    if (events & UV_WRITABLE && tcp->blocked && !tcp->why) {
        tcp->blocked = false;
        tcp->events.writable(tcp->user);
        if (tcp->closed) return;
    }
    if (tcp->why && !tcp->reading) {
        end_unless_held(tcp);
    } else if (tcp->reading && (failed || events & UV_READABLE)) {
        receive(tcp);
    }
}

static void linger_more(kith_tcp *tcp);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    kith_tcp *tcp = poll->data;
    /* The socket has an error for us (epoll's EPOLLERR), at which libuv stops polling. */
    if (status < 0) tcp->polled = 0;
    if (tcp->closed) {
        linger_more(tcp);
        return;
    }
    tcp->in_turn = true;
    if (tcp->connecting) {
        finish_connect(tcp);
    } else {
        serve(tcp, status < 0, events);
    }
    tcp->in_turn = false;
    if (!tcp->closed) settle(tcp);
}

/* ---- opening ---- */

/* Takes the descriptor over, also when there is no memory (NULL). */
static kith_tcp *stream_new(kith_io *io, int fd, const kith_addr *remote)
{
    kith_tcp *tcp = kith_calloc(1, sizeof *tcp);
    if (!tcp || uv_poll_init(&io->loop, &tcp->poll, fd)) {
        kith_free(tcp);
        close(fd);
        return NULL;
    }
    tcp->io = io;
    tcp->fd = fd;
    tcp->remote = *remote;
    tcp->poll.data = tcp;
    io->objects++;
    kith_io_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    kith_io_set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, KITH_TCP_UNSENT_MAX);
    /* On Linux a peer that acknowledges and keeps its window shut for so long counts as silent, too. */
    kith_io_set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, KITH_TCP_SILENCE_MS);
    return tcp;
}

static void tcp_attach(kith_tcp *tcp, const kith_tcp_events *events, void *user)
{
    tcp->events = *events;
    tcp->user = user;
    tcp->reading = true;
    settle(tcp);
}

static kith_err connect_error(int error)
{
    kith_err err = kith_io_open_error(error);
    return err == KITH_ERR_NOMEM || err == KITH_ERR_LIMIT ? err : KITH_ERR_UNREACHABLE;
}

static kith_err tcp_connect(kith_env *env, const kith_addr *remote, const kith_tcp_events *events, void *user,
                            kith_tcp **out)
{
    if (remote->family == KITH_FAMILY_NONE) return KITH_ERR_UNREACHABLE;
    bool v6 = remote->family == KITH_FAMILY_IPV6;
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return connect_error(errno);
    kith_tcp *tcp = stream_new(kith_io_of(env), fd, remote);
    if (!tcp) return KITH_ERR_NOMEM;
    tcp->events = *events;
    tcp->user = user;
    struct sockaddr_storage name;
    socklen_t size = kith_addr_to_sockaddr(remote, v6, &name);
    if (connect(fd, (struct sockaddr *)&name, size) && errno != EINPROGRESS && errno != EINTR) {
        kith_err err = connect_error(errno);
        kith_io_tcp_table.close(tcp);
        return err;
    }
    tcp->connecting = true; /* also when it is done already: `connected` comes from the loop */
    settle(tcp);
    *out = tcp;
    return KITH_OK;
}

static void tcp_resume(kith_tcp *tcp)
{
    tcp->reading = true;
    tcp->held = false;
    settle(tcp);
}

static kith_addr tcp_local(const kith_tcp *tcp) { return kith_io_socket_local(tcp->fd); }
static kith_addr tcp_remote(const kith_tcp *tcp) { return tcp->remote; }

/* ---- closing ---- */

/* True when nothing can come any more. */
static bool discard(int fd)
{
    uint8_t bytes[DISCARD_SIZE];
    for (int round = 0; round < DISCARD_ROUNDS; round++) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got == 0) return true;
        if (got < 0 && errno != EINTR) return errno != EAGAIN;
    }
    return false;
}

static bool all_arrived(int fd)
{
    int left = 0; /* not acknowledged, the FIN among them */
    return ioctl(fd, SIOCOUTQ, &left) || left == 0;
}

static void on_closed(uv_handle_t *handle)
{
    kith_tcp *tcp = handle->data;
    tcp->io->objects--;
    kith_free(tcp);
}

static void let_go(kith_tcp *tcp)
{
    if (tcp->tick) {
        kith_io_timer_table.close(tcp->tick);
        kith_list_remove(&tcp->lingering);
        tcp->io->lingering_count--;
    }
    uv_close((uv_handle_t *)&tcp->poll, on_closed);
    /* Input that nobody read would make the system reset the connection instead of ending it. */
    shutdown(tcp->fd, SHUT_WR);
    discard(tcp->fd);
    close(tcp->fd);
    tcp->fd = -1; /* the number may be another's in the same turn of the loop */
}

static void linger_more(kith_tcp *tcp)
{
    if (discard(tcp->fd) || all_arrived(tcp->fd)) {
        let_go(tcp);
    } else {
        poll_for(tcp, UV_READABLE);
    }
}

static void tick_later(kith_tcp *tcp)
{
    kith_io_timer_table.set(tcp->tick, kith_io_base.now_ns(&tcp->io->env) + LINGER_TICK_NS);
}

static void on_tick(void *user)
{
    kith_tcp *tcp = user;
    if (all_arrived(tcp->fd) || ++tcp->ticks == LINGER_TICKS) {
        let_go(tcp);
    } else {
        tick_later(tcp);
    }
}

/* What the peer sends to a socket that is closed is answered with a reset, and bytes of ours still under way are lost
 * with it.  So while there are some, and the peer has not ended, the socket stays and what comes is thrown away.  The
 * system goes on delivering after that, too, for as long as the peer keeps quiet. */
static bool linger(kith_tcp *tcp)
{
    kith_io *io = tcp->io;
    if (tcp->connecting || tcp->ended || tcp->why || io->lingering_count == LINGER_MAX) return false;
    if (all_arrived(tcp->fd)) return false;
    tcp->tick = kith_io_timer_table.open(&io->env, on_tick, tcp);
    if (!tcp->tick) return false;
    kith_list_append(&io->lingering, &tcp->lingering);
    io->lingering_count++;
    shutdown(tcp->fd, SHUT_WR);
    poll_for(tcp, UV_READABLE);
    tick_later(tcp);
    return true;
}

static void tcp_close(kith_tcp *tcp)
{
    if (!tcp) return;
    tcp->closed = true;
    if (!linger(tcp)) let_go(tcp);
}

void kith_io_tcp_done(kith_io *io)
{
    KITH_EACH (at, &io->lingering) let_go(KITH_OF(at, kith_tcp, lingering));
}

/* ---- listening ---- */

struct kith_listener {
    kith_io *io;
    uv_poll_t poll;
    int fd;
    void (*accepted)(void *user, kith_tcp *tcp);
    void *user;
    kith_timer *again; /* set while there are no descriptors */
    kith_addr local;
    bool closed; /* by a callback: stop what is under way */
};

/* accept(2): what went wrong with that one connection; the next may be fine. */
static bool is_of_one(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM: /* a packet filter */ return true;
    default: return false;
    }
}

/* 0 or an errno. */
static int accept_one(kith_listener *listener)
{
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    int fd = accept4(listener->fd, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return errno;
    kith_addr remote = kith_addr_from_sockaddr((struct sockaddr *)&name);
    kith_tcp *tcp = stream_new(listener->io, fd, &remote);
    if (!tcp) return ENOMEM;
    listener->accepted(listener->user, tcp);
    return 0;
}

/* The connection that could not be had stays with the system, and the socket readable: polling would spin. */
static void pause_accepting(kith_listener *listener)
{
    uv_poll_stop(&listener->poll);
    kith_io_timer_table.set(listener->again, kith_io_base.now_ns(&listener->io->env) + ACCEPT_PAUSE_NS);
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    (void)events;
    kith_listener *listener = poll->data;
    if (status < 0) { /* libuv stopped polling */
        (void)kith_io_take_socket_error(listener->fd);
        pause_accepting(listener);
        return;
    }
    for (int round = 0; round < ACCEPT_ROUNDS; round++) {
        int error = accept_one(listener);
        if (listener->closed || error == EAGAIN) return;
        if (error && !is_of_one(error)) {
            pause_accepting(listener);
            return;
        }
    }
}

static void accept_again(void *user)
{
    kith_listener *listener = user;
    uv_poll_start(&listener->poll, UV_READABLE, on_connections);
}

static void on_listener_closed(uv_handle_t *handle)
{
    kith_listener *listener = handle->data;
    listener->io->objects--;
    kith_free(listener);
}

static kith_err tcp_listen(kith_env *env, const kith_addr *at, void (*accepted)(void *user, kith_tcp *tcp), void *user,
                           kith_listener **out)
{
    kith_io *io = kith_io_of(env);
    kith_listener *listener = kith_calloc(1, sizeof *listener);
    if (!listener) return KITH_ERR_NOMEM;
    kith_io_socket bound = {.fd = -1};
    kith_err err = KITH_ERR_NOMEM;
    *listener = (kith_listener){.io = io, .accepted = accepted, .user = user};
    listener->again = kith_io_timer_table.open(env, accept_again, listener);
    if (!listener->again) goto fail;
    int error = kith_io_bind(SOCK_STREAM, at, &bound);
    if (!error && listen(bound.fd, BACKLOG)) error = errno;
    if (!error) error = -uv_poll_init(&io->loop, &listener->poll, bound.fd);
    if (error) {
        err = kith_io_open_error(error);
        goto fail;
    }
    listener->fd = bound.fd;
    listener->local = bound.local;
    listener->poll.data = listener;
    uv_poll_start(&listener->poll, UV_READABLE, on_connections);
    io->objects++;
    *out = listener;
    return KITH_OK;
fail:
    if (bound.fd >= 0) close(bound.fd);
    kith_io_timer_table.close(listener->again);
    kith_free(listener);
    return err;
}

static void tcp_unlisten(kith_listener *listener)
{
    if (!listener) return;
    listener->closed = true;
    kith_io_timer_table.close(listener->again);
    uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
    close(listener->fd);
    listener->fd = -1;
}

int kith_io_tcp_fd(const kith_tcp *tcp) { return tcp->fd; }
kith_addr kith_io_listener_local(const kith_listener *listener) { return listener->local; }

const kith_env_tcp kith_io_tcp_table = {
    .listen = tcp_listen,
    .unlisten = tcp_unlisten,
    .attach = tcp_attach,
    .connect = tcp_connect,
    .send = tcp_send,
    .resume = tcp_resume,
    .local = tcp_local,
    .remote = tcp_remote,
    .close = tcp_close,
};
