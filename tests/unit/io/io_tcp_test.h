/* What the tests of byte streams share: two ends over loopback that check every byte and every rule of the callbacks,
 * in a network of the test's own where the system allows one.  Most tests step the loop themselves until what they wait
 * for is there, which also lets them count its turns. */
#ifndef KITH_IO_TCP_TEST_H
#define KITH_IO_TCP_TEST_H

#include "io_test.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>

#define MIB        ((uint64_t)1 << 20)
#define SKB_SLACK  (64u << 10) /* the kernel fills the buffer it has begun when the mark is reached */
#define IDLE_NS    (200 * MS)
#define IDLE_TURNS 20 /* of the loop while nothing happens: one that spins makes thousands */
#define UNTIL(w, yes)                                                                                                  \
    while (!(yes)) uv_run(&(w)->t.io->loop, UV_RUN_ONCE)

static bool isolated; /* in a network of our own */
static bool has_v6;

/* ---- two ends, and what happens at them ---- */

typedef enum moment { NEVER, IN_CONNECTED, IN_ROOM, IN_RECEIVED, IN_WRITABLE, IN_ENDED } moment;

typedef struct end {
    struct world *w;
    kith_tcp *tcp;
    uint8_t salt; /* of the bytes it sends */
    uint64_t to_send, sent, received;
    unsigned connected, writable, ended, rooms, pieces;
    kith_err why;
    bool closed_to_bytes; /* room says NULL until `resume` */
    unsigned pause_every; /* room says NULL at each n-th call, and a post resumes */
    size_t room_size;     /* 0: of many sizes */
    void *again;          /* the post */
    moment close_in;
    bool unlisten_too;
    uint8_t room[70000];
} end;

typedef struct world {
    io_test t;
    kith_listener *listener;
    kith_addr at;
    end a, b; /* who connected, who was accepted */
    unsigned accepted;
    bool close_accepted;
} world;

static inline uint8_t byte_at(uint8_t salt, uint64_t offset) { return (uint8_t)(offset * 31 + (offset >> 9) + salt); }

static inline end *other(end *e) { return e == &e->w->a ? &e->w->b : &e->w->a; }

static inline void close_end(end *e)
{
    e->w->t.env->tcp->close(e->tcp);
    e->tcp = NULL;
    if (e->unlisten_too) {
        e->w->t.env->tcp->unlisten(e->w->listener);
        e->w->listener = NULL;
    }
}

static inline bool closes_in(end *e, moment m)
{
    assert_non_null(e->tcp); /* no callback after close */
    assert_int_equal(e->ended, m == IN_ENDED);
    if (e->close_in == m) close_end(e);
    return e->close_in == m;
}

/* In pieces of odd sizes, several at once, as long as they are taken. */
static inline void send_more(end *e)
{
    static const size_t sizes[] = {1, 4099, 17, 65537, 0, 16384, 333};
    static uint8_t bytes[5][65537];
    while (e->sent < e->to_send) {
        struct iovec pieces[5];
        uint64_t at = e->sent;
        size_t count = 1 + e->pieces % 5, total = 0, sent = SIZE_MAX;
        for (size_t i = 0; i < count; i++) {
            size_t size = sizes[e->pieces++ % 7];
            if (size > e->to_send - at) size = (size_t)(e->to_send - at);
            for (size_t j = 0; j < size; j++) bytes[i][j] = byte_at(e->salt, at + j);
            pieces[i] = (struct iovec){bytes[i], size};
            at += size;
            total += size;
        }
        kith_err err = e->w->t.env->tcp->send(e->tcp, pieces, count, &sent);
        if (err == KITH_ERR_CLOSED && !other(e)->tcp) return;
        assert_ok(err);
        assert_true(sent <= total);
        e->sent += sent;
        if (sent < total) return;
    }
}

static inline void on_connected(void *user)
{
    end *e = user;
    e->connected++;
    if (!closes_in(e, IN_CONNECTED)) send_more(e);
}

static inline uint8_t *on_room(void *user, size_t *size)
{
    static const size_t sizes[] = {70000, 1, 9000, 65536, 7};
    end *e = user;
    if (closes_in(e, IN_ROOM)) return NULL;
    e->rooms++;
    if (e->closed_to_bytes) return NULL;
    if (e->pause_every && e->rooms % e->pause_every == 0) {
        e->w->t.env->post->post(e->again);
        return e->rooms % 2 ? NULL : (*size = 0, e->room); /* either way of saying it */
    }
    *size = e->room_size ? e->room_size : sizes[e->rooms % 5];
    return e->room;
}

static inline void on_received(void *user, size_t size)
{
    end *e = user;
    if (closes_in(e, IN_RECEIVED)) return;
    assert_in_range(size, 1, sizeof e->room);
    bool same = true;
    for (size_t i = 0; i < size; i++) same &= e->room[i] == byte_at(other(e)->salt, e->received + i);
    assert_true(same);
    e->received += size;
}

static inline void on_writable(void *user)
{
    end *e = user;
    e->writable++;
    if (!closes_in(e, IN_WRITABLE)) send_more(e);
}

static inline void on_ended(void *user, kith_err why)
{
    end *e = user;
    e->ended++;
    e->why = why;
    closes_in(e, IN_ENDED);
}

static const kith_tcp_events events = {on_connected, on_room, on_received, on_writable, on_ended};

static inline void on_accepted(void *user, kith_tcp *tcp)
{
    world *w = user;
    w->accepted++;
    if (w->close_accepted || w->b.tcp) {
        w->t.env->tcp->close(tcp);
    } else {
        w->b.tcp = tcp;
        w->t.env->tcp->attach(tcp, &events, &w->b);
    }
    if (w->close_accepted && w->b.unlisten_too) close_end(&w->b);
}

static inline void end_resume(void *user)
{
    end *e = user;
    if (e->tcp) e->w->t.env->tcp->resume(e->tcp);
}

static inline world *world_new(const char *at)
{
    world *w = calloc(1, sizeof *w);
    kith_addr bind;
    w->t = io_test_new();
    w->a.w = w->b.w = w;
    w->a.salt = 1, w->b.salt = 2;
    w->a.again = w->t.env->post->open(w->t.env, end_resume, &w->a);
    w->b.again = w->t.env->post->open(w->t.env, end_resume, &w->b);
    assert_ok(kith_addr_parse(at, &bind));
    assert_ok(w->t.env->tcp->listen(w->t.env, &bind, on_accepted, w, &w->listener));
    w->at = kith_io_listener_local(w->listener);
    assert_int_not_equal(w->at.port, 0);
    return w;
}

static inline void world_connect(world *w, const char *ip)
{
    kith_addr to;
    assert_ok(kith_addr_parse(ip, &to));
    to.port = w->at.port;
    assert_ok(w->t.env->tcp->connect(w->t.env, &to, &events, &w->a, &w->a.tcp));
    assert_int_equal(w->a.connected, 0); /* never from inside a call */
}

static inline world *world_pair(void)
{
    world *w = world_new("127.0.0.1:0");
    world_connect(w, "127.0.0.1");
    UNTIL(w, w->a.connected && w->b.tcp);
    return w;
}

static inline void world_close(world *w)
{
    w->t.env->tcp->close(w->a.tcp);
    w->t.env->tcp->close(w->b.tcp);
    w->t.env->tcp->close(NULL);
    w->t.env->tcp->unlisten(w->listener);
    w->t.env->tcp->unlisten(NULL);
    w->t.env->post->close(w->a.again);
    w->t.env->post->close(w->b.again);
    kith_io_stop(w->t.io);
}

static inline void world_end(world *w)
{
    world_close(w);
    kith_io_run(w->t.io);
    assert_int_equal(kith_io_objects(w->t.io), 0);
    io_test_end(&w->t);
    free(w);
}

static inline void set_flag(void *user) { *(bool *)user = true; }

/* The loop's turns while nothing happens. */
static inline unsigned idle_turns(world *w)
{
    bool over = false;
    unsigned turns = 0;
    kith_timer *timer = w->t.env->timers->open(w->t.env, set_flag, &over);
    w->t.env->timers->set(timer, w->t.env->base->now_ns(w->t.env) + IDLE_NS);
    for (; !over; turns++) uv_run(&w->t.io->loop, UV_RUN_ONCE);
    w->t.env->timers->close(timer);
    return turns;
}

/* ---- a peer without the table: a blocking socket ---- */

static inline int raw_connect(const kith_addr *to)
{
    struct sockaddr_storage name;
    bool v6 = to->family == KITH_FAMILY_IPV6;
    socklen_t size = kith_addr_to_sockaddr(to, v6, &name);
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_ok(connect(fd, (struct sockaddr *)&name, size));
    return fd;
}

/* b's peer is such a one, in a's place. */
static inline world *world_raw(int *fd)
{
    world *w = world_new("127.0.0.1:0");
    *fd = raw_connect(&w->at);
    UNTIL(w, w->b.tcp);
    return w;
}

static inline void raw_send(int fd, uint8_t salt, uint64_t from, size_t size)
{
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i++) bytes[i] = byte_at(salt, from + i);
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
    free(bytes);
}

static inline void raw_reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    assert_ok(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(fd);
}

static inline size_t queued(int fd, unsigned long what)
{
    int bytes = 0;
    assert_ok(ioctl(fd, what, &bytes));
    return (size_t)bytes;
}

static inline void need_v6(void)
{
    if (has_v6) return;
    print_message("no IPv6 here\n");
    skip();
}

static inline void need_isolation(void)
{
    if (isolated) return;
    print_message("needs a network namespace\n");
    skip();
}

static inline void set_silence(const kith_tcp *tcp, int ms)
{
    assert_ok(setsockopt(kith_io_tcp_fd(tcp), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms));
}

static inline void find_network(void)
{
    isolated = own_network();
    if (isolated) link_up("lo", 0);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    has_v6 = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0) close(fd);
}

#endif
