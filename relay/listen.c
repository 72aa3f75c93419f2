/* Taking TCP connections ourselves, so that those above a limit cost a close and nothing more. */
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG       4096
#define ACCEPT_ROUNDS 64 /* before the loop's other work gets its turn */
#define AGAIN_MS      100

static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

static kith_addr local_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &size)) return (kith_addr){0};
    return kith_addr_from_sockaddr((const struct sockaddr *)&name);
}

/* Little that was not sent yet waits in the kernel: it waits in the hub, where the oldest makes way. */
static void set_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, KITH_TCP_UNSENT_MAX);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, KITH_TCP_SILENCE_MS);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_again(uv_timer_t *timer)
{
    listener *l = timer->data;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    listener *l = poll->data;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPT_ROUNDS; i++) {
        struct sockaddr_storage name;
        socklen_t size = sizeof name;
        int fd = accept4(l->fd, (struct sockaddr *)&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            uv_poll_stop(&l->poll); /* it would be readable all the time */
            uv_timer_start(&l->again, on_again, AGAIN_MS, 0);
        }
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0) break;
        kith_addr from = kith_addr_from_sockaddr((const struct sockaddr *)&name), local = local_of(fd);
        set_options(fd);
        websocket_adopt(l->of, fd, &from, &local, l->admin);
    }
    server_flush(l->of);
}

static int bound_socket(const kith_addr *at, int *out)
{
    struct sockaddr_storage name;
    bool v6 = at->family == KITH_FAMILY_IPV6;
    socklen_t size = kith_addr_to_sockaddr(at, v6, &name);
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (v6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !kith_addr_is_any(at));
    if (bind(fd, (struct sockaddr *)&name, size) || listen(fd, BACKLOG)) {
        int error = errno;
        close(fd);
        return error;
    }
    *out = fd;
    return 0;
}

kith_err listen_open(server *s, listener *l, const kith_addr *at, bool admin)
{
    uv_loop_t *loop = kith_io_loop(s->io);
    int fd = -1, error = bound_socket(at, &fd);
    if (error)
        return error == EADDRINUSE      ? KITH_ERR_ADDRESS_IN_USE
               : error == EADDRNOTAVAIL ? KITH_ERR_ARG
               : error == EACCES        ? KITH_ERR_PERMISSION
                                        : KITH_ERR_NETWORK;
    if (uv_poll_init(loop, &l->poll, fd)) {
        close(fd);
        return KITH_ERR_NETWORK;
    }
    uv_timer_init(loop, &l->again); /* cannot fail */
    l->of = s;
    l->fd = fd;
    l->admin = admin;
    l->local = local_of(fd);
    l->poll.data = l->again.data = l;
    l->open_handles = 2;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    return KITH_OK;
}

static void on_closed(uv_handle_t *handle)
{
    listener *l = handle->data;
    l->open_handles--;
}

void listen_close(listener *l)
{
    if (!l->of) return;
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->again, on_closed);
    close(l->fd);
    l->of = NULL;
}
