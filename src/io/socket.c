/* What datagram and stream sockets have in common: options, binding to one family or both, and errors of opening. */
#include "io/io_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

void kith_io_set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof value);
}

int kith_io_take_socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
}

kith_addr kith_io_socket_local(int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    getsockname(fd, (struct sockaddr *)&name, &size); /* a failure leaves AF_UNSPEC */
    return kith_addr_from_sockaddr((struct sockaddr *)&name);
}

kith_err kith_io_open_error(int error)
{
    switch (error) {
    case EADDRINUSE: return KITH_ERR_ADDRESS_IN_USE;
    case EACCES:
    case EPERM: return KITH_ERR_PERMISSION;
    case ENOMEM:
    case ENOBUFS: return KITH_ERR_NOMEM;
    case EMFILE:
    case ENFILE: return KITH_ERR_LIMIT;
    default: /* EAFNOSUPPORT, EADDRNOTAVAIL ... */ return KITH_ERR_NETWORK;
    }
}

static int bind_socket(int type, const kith_addr *at, bool v6, bool v6_only, kith_io_socket *out)
{
    struct sockaddr_storage name;
    socklen_t size = kith_addr_to_sockaddr(at, v6, &name);
    int only = v6_only, error;
    int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only)) goto fail;
    /* Connections that are over keep their listener's port for a while (TIME_WAIT); another listener still cannot share
     * it. */
    if (type == SOCK_STREAM) kith_io_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, (struct sockaddr *)&name, size)) goto fail;
    *out = (kith_io_socket){.fd = fd, .v6 = v6, .local = kith_io_socket_local(fd)};
    return 0;
fail:
    error = errno;
    close(fd);
    return error;
}

/* An any-address: both families on one socket; IPv4 alone where the system has no IPv6 (EAFNOSUPPORT: not built or
 * loaded, EADDRNOTAVAIL: switched off). */
static int bind_any(int type, uint16_t port, kith_io_socket *out)
{
    kith_addr any = {.family = KITH_FAMILY_IPV6, .port = port};
    int error = bind_socket(type, &any, true, false, out);
    if (error != EAFNOSUPPORT && error != EADDRNOTAVAIL) return error;
    any.family = KITH_FAMILY_IPV4;
    return bind_socket(type, &any, false, false, out);
}

int kith_io_bind(int type, const kith_addr *at, kith_io_socket *out)
{
    if (at->family == KITH_FAMILY_NONE || kith_addr_is_any(at)) return bind_any(type, at->port, out);
    return bind_socket(type, at, at->family == KITH_FAMILY_IPV6, true, out);
}
