/* Byte streams: addresses, connecting, listening, moving bytes, and many of them. */
#include "io_tcp_test.h"

/* ---- addresses ---- */

static void exchange(const char *bind, const char *ip)
{
    world *w = world_new(bind);
    const kith_env_tcp *tcp = w->t.env->tcp;
    kith_addr to;
    assert_ok(kith_addr_parse(ip, &to));
    to.port = w->at.port;
    w->a.to_send = 1000, w->b.to_send = 2000;
    world_connect(w, ip);
    UNTIL(w, w->a.connected && w->b.tcp);
    send_more(&w->b);
    UNTIL(w, w->b.received == 1000 && w->a.received == 2000);
    kith_addr a_local = tcp->local(w->a.tcp), a_remote = tcp->remote(w->a.tcp);
    kith_addr b_local = tcp->local(w->b.tcp), b_remote = tcp->remote(w->b.tcp);
    assert_true(kith_addr_equal(&a_remote, &to));
    assert_true(kith_addr_equal(&b_local, &to)); /* IPv4 in its plain form also on a dual-stack socket */
    assert_true(kith_addr_equal(&b_remote, &a_local));
    world_end(w);
}

static void test_addresses(void **state)
{
    (void)state;
    exchange("127.0.0.1:0", "127.0.0.1");
    exchange("0.0.0.0:0", "127.0.0.1");
    exchange("[::]:0", "127.0.0.1");
    need_v6();
    exchange("[::1]:0", "::1");
    exchange("[::]:0", "::1");
    exchange("0.0.0.0:0", "::1"); /* either any-address means both families */
}

static void expect_unreachable(world *w, const char *ip)
{
    kith_addr to;
    assert_ok(kith_addr_parse(ip, &to));
    to.port = w->at.port;
    assert_ok(w->t.env->tcp->connect(w->t.env, &to, &events, &w->a, &w->a.tcp));
    UNTIL(w, w->a.ended);
    assert_int_equal(w->a.why, KITH_ERR_UNREACHABLE);
    assert_int_equal(w->a.connected, 0);
    close_end(&w->a);
    w->a.ended = 0;
}

static void test_one_family(void **state)
{
    (void)state;
    need_v6();
    world *w = world_new("[::1]:0");
    expect_unreachable(w, "127.0.0.1");
    world_end(w);
    w = world_new("127.0.0.1:0");
    expect_unreachable(w, "::1");
    world_end(w);
}

/* The scope of a link-local address stays with it on both ends. */
static void test_link_local(void **state)
{
    (void)state;
    need_isolation();
    need_v6();
    /* The kernel makes it usable a moment later. */
    if (system("ip addr add fe80::7/64 dev lo nodad && timeout 10 sh -c "
               "'until ip -6 route show table local | grep -q \"^local fe80::7 \"; do sleep 0.01; done'")) {
        print_message("no ip command\n");
        skip();
    }
    exchange("[::]:0", "fe80::7%lo");
    exchange("[fe80::7%lo]:0", "fe80::7%lo");
    world *w = world_new("[::]:0");
    kith_addr to;
    assert_ok(kith_addr_parse("fe80::7", &to)); /* on which link? */
    to.port = w->at.port;
    assert_int_equal(w->t.env->tcp->connect(w->t.env, &to, &events, &w->a, &w->a.tcp), KITH_ERR_UNREACHABLE);
    world_end(w);
    if (system("ip addr del fe80::7/64 dev lo")) fail_msg("ip addr del");
}

/* Without IPv6 an any-address of either family is IPv4's. */
static void test_without_v6(void **state)
{
    (void)state;
    need_isolation();
    if (!write_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")) {
        print_message("cannot switch IPv6 off\n");
        skip();
    }
    exchange("[::]:0", "127.0.0.1");
    exchange("0.0.0.0:0", "127.0.0.1");
    world *w = world_new("[::]:0");
    kith_addr to;
    assert_ok(kith_addr_parse("::1", &to));
    to.port = w->at.port;
    assert_int_equal(w->t.env->tcp->connect(w->t.env, &to, &events, &w->a, &w->a.tcp), KITH_ERR_UNREACHABLE);
    world_end(w);
    write_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0");
}

/* ---- moving bytes ---- */

static void test_both_ways(void **state)
{
    (void)state;
    for (unsigned pause = 0; pause <= 3; pause += 3) {
        world *w = world_new("[::]:0");
        w->a.to_send = 16 * MIB + 12345, w->b.to_send = 12 * MIB + 1;
        w->a.pause_every = w->b.pause_every = pause;
        world_connect(w, "127.0.0.1");
        UNTIL(w, w->b.tcp);
        send_more(&w->b);
        UNTIL(w, w->a.received == w->b.to_send && w->b.received == w->a.to_send);
        assert_true(w->a.writable > 0 && w->b.writable > 0);
        close_end(&w->a);
        UNTIL(w, w->b.ended);
        assert_int_equal(w->b.why, KITH_ERR_CLOSED);
        world_end(w);
    }
}

/* More pieces than the system takes in one call, and empty ones among them. */
static void test_many_pieces(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    world *w = world_pair();
    static uint8_t bytes[COUNT];
    static struct iovec pieces[COUNT];
    size_t bytes_count = 0, sent;
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = (struct iovec){&bytes[bytes_count], i % 3 ? 1 : 0};
        if (i % 3) bytes[bytes_count] = byte_at(1, bytes_count), bytes_count++;
    }
    assert_ok(w->t.env->tcp->send(w->a.tcp, pieces, COUNT, &sent));
    assert_int_equal(sent, bytes_count);
    UNTIL(w, w->b.received == sent);
    assert_ok(w->t.env->tcp->send(w->a.tcp, pieces, 0, &sent)); /* nothing is no reason for `writable` */
    assert_int_equal(sent, 0);
    assert_ok(w->t.env->tcp->send(w->a.tcp, pieces, 1, &sent));
    assert_in_range(idle_turns(w), 0, IDLE_TURNS);
    assert_int_equal(w->a.writable, 0);
    world_end(w);
}

static void test_send_early(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    struct iovec piece = {"x", 1};
    size_t sent = 7;
    world_connect(w, "127.0.0.1");
    assert_ok(w->t.env->tcp->send(w->a.tcp, &piece, 1, &sent));
    assert_int_equal(sent, 0);
    UNTIL(w, w->a.writable);
    assert_int_equal(w->a.connected, 1);
    assert_in_range(idle_turns(w), 0, IDLE_TURNS);
    assert_int_equal(w->a.writable, 1);
    world_end(w);
}

static void test_back_pressure(void **state)
{
    (void)state;
    int fd;
    world *w = world_raw(&fd);
    int own = kith_io_tcp_fd(w->b.tcp);
    w->b.to_send = 64 * MIB;
    send_more(&w->b);
    uint64_t taken = 0;
    while (taken != w->b.sent) { /* until nothing moves any more */
        taken = w->b.sent;
        assert_in_range(idle_turns(w), 0, 1000);
        assert_in_range(queued(own, SIOCOUTQNSD), 0, KITH_TCP_UNSENT_MAX + SKB_SLACK);
    }
    assert_true(taken < w->b.to_send);
    unsigned writable = w->b.writable;
    struct iovec piece = {"x", 1};
    size_t sent = 7;
    assert_ok(w->t.env->tcp->send(w->b.tcp, &piece, 1, &sent));
    assert_int_equal(sent, 0);
    assert_in_range(idle_turns(w), 0, IDLE_TURNS);
    uint64_t got = 0;
    static uint8_t bytes[1 << 16];
    while (got < w->b.to_send) { /* it goes on when the peer reads */
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++) assert_true(bytes[i] == byte_at(2, got + (uint64_t)i));
        if (n > 0) got += (uint64_t)n;
        if (n < 0) uv_run(&w->t.io->loop, UV_RUN_NOWAIT);
    }
    assert_true(w->b.writable > writable);
    close(fd);
    world_end(w);
}

/* ---- how connections fail to be ---- */

static void test_refused(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    w->t.env->tcp->unlisten(w->listener);
    w->listener = NULL;
    expect_unreachable(w, "127.0.0.1");
    w->a.close_in = IN_ENDED;
    world_connect(w, "127.0.0.1");
    UNTIL(w, w->a.ended);
    world_end(w);
}

/* Where nobody listens, a port of the range the system takes its own from: it may join the two ends of one socket. */
static void test_meets_itself(void **state)
{
    (void)state;
    need_isolation();
    static const char path[] = "/proc/sys/net/ipv4/ip_local_port_range";
    world *w = world_new("127.0.0.1:0");
    if (!write_text(path, "45000 45001")) {
        print_message("cannot choose the range of ports\n");
        world_end(w);
        skip();
    }
    for (w->at.port = 45000; w->at.port <= 45001; w->at.port++) expect_unreachable(w, "127.0.0.1");
    write_text(path, "32768 60999");
    world_end(w);
}

static void test_no_route(void **state)
{
    (void)state;
    need_isolation();
    world *w = world_new("127.0.0.1:0");
    kith_addr to;
    static const char *const nowhere[] = {"192.0.2.77:4433", "[2001:db8::77]:4433", "none"};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        to = (kith_addr){0};
        if (i < 2) assert_ok(kith_addr_parse(nowhere[i], &to));
        w->a.tcp = (kith_tcp *)w;
        assert_int_equal(w->t.env->tcp->connect(w->t.env, &to, &events, &w->a, &w->a.tcp), KITH_ERR_UNREACHABLE);
        assert_ptr_equal(w->a.tcp, w);
        w->a.tcp = NULL;
    }
    world_end(w);
}

static int silence_of(const kith_tcp *tcp)
{
    int ms = 0;
    socklen_t size = sizeof ms;
    assert_ok(getsockopt(kith_io_tcp_fd(tcp), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &size));
    return ms;
}

/* Nobody answers: a listener whose queue is full drops what comes. */
static void test_no_answer(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_ok(bind(fd, (struct sockaddr *)&name, size));
    assert_ok(listen(fd, 0));
    assert_ok(getsockname(fd, (struct sockaddr *)&name, &size));
    kith_addr to = kith_addr_from_sockaddr((struct sockaddr *)&name);
    int filler = raw_connect(&to);
    assert_ok(w->t.env->tcp->connect(w->t.env, &to, &events, &w->a, &w->a.tcp));
    assert_int_equal(silence_of(w->a.tcp), KITH_TCP_SILENCE_MS);
    set_silence(w->a.tcp, 300);
    UNTIL(w, w->a.ended || w->a.connected);
    assert_int_equal(w->a.why, KITH_ERR_UNREACHABLE);
    close(filler);
    close(fd);
    world_end(w);
}

static void test_listen_errors(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    kith_listener *listener = (kith_listener *)w;
    kith_addr at = w->at;
    assert_int_equal(w->t.env->tcp->listen(w->t.env, &at, on_accepted, w, &listener), KITH_ERR_ADDRESS_IN_USE);
    assert_ok(kith_addr_parse("192.0.2.77:0", &at));
    assert_int_equal(w->t.env->tcp->listen(w->t.env, &at, on_accepted, w, &listener), KITH_ERR_NETWORK);
    assert_ptr_equal(listener, w);
    world_end(w);
}

/* A port is free again at once, though connections that came to it are still being forgotten (TIME_WAIT). */
static void test_listen_again(void **state)
{
    (void)state;
    world *w = world_pair();
    close_end(&w->b);
    UNTIL(w, w->a.ended);
    close_end(&w->a);
    w->t.env->tcp->unlisten(w->listener);
    assert_ok(w->t.env->tcp->listen(w->t.env, &w->at, on_accepted, w, &w->listener));
    world_end(w);
}

static int open_and_close(void *arg)
{
    world *w = arg;
    kith_addr any = {.family = KITH_FAMILY_IPV4};
    kith_listener *listener;
    kith_tcp *tcp;
    size_t before = kith_io_objects(w->t.io);
    kith_err err = w->t.env->tcp->listen(w->t.env, &any, on_accepted, w, &listener);
    if (err) return err;
    w->t.env->tcp->unlisten(listener);
    err = w->t.env->tcp->connect(w->t.env, &w->at, &events, &w->a, &tcp);
    if (!err) w->t.env->tcp->close(tcp);
    while (kith_io_objects(w->t.io) > before) uv_run(&w->t.io->loop, UV_RUN_NOWAIT);
    return err;
}

static void test_no_memory(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    w->t.env->tcp->unlisten(w->listener);
    w->listener = NULL;
    UNTIL(w, kith_io_objects(w->t.io) == 2); /* the posts */
    test_every_allocation(open_and_close, w);
    world_end(w);
}

/* One that came while there was no memory is turned away; accepting goes on. */
static void test_accept_without_memory(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    int fd = raw_connect(&w->at), next;
    char byte;
    kith_mem_fail_at(1, false);
    UNTIL(w, kith_mem_failed());
    kith_mem_fail_at(0, false);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    next = raw_connect(&w->at);
    UNTIL(w, w->b.tcp);
    assert_int_equal(w->accepted, 1);
    close(fd);
    close(next);
    world_end(w);
}

/* ---- many ---- */

enum { CROWD = 500 };

typedef struct crowd {
    io_test t;
    kith_listener *listener;
    kith_tcp *out[CROWD], *in[CROWD];
    size_t accepted, connected, received;
    uint8_t room[64];
} crowd;

static void crowd_connected(void *user) { ((crowd *)user)->connected++; }
static void crowd_nothing(void *user) { (void)user; }
static void crowd_received(void *user, size_t size) { ((crowd *)user)->received += size; }
static void crowd_ended(void *user, kith_err why)
{
    (void)user;
    fail_msg("ended: %s", kith_err_name(why));
}

static uint8_t *crowd_room(void *user, size_t *size)
{
    crowd *c = user;
    *size = sizeof c->room;
    return c->room;
}

static const kith_tcp_events crowd_events = {crowd_connected, crowd_room, crowd_received, crowd_nothing, crowd_ended};

static void crowd_accepted(void *user, kith_tcp *tcp)
{
    crowd *c = user;
    c->in[c->accepted++] = tcp;
    c->t.env->tcp->attach(tcp, &crowd_events, c);
}

static void test_crowd(void **state)
{
    (void)state;
    crowd *c = calloc(1, sizeof *c);
    c->t = io_test_new();
    const kith_env_tcp *tcp = c->t.env->tcp;
    struct rlimit limit, more;
    assert_ok(getrlimit(RLIMIT_NOFILE, &limit));
    more = limit;
    if (more.rlim_cur < 2 * CROWD + 50) more.rlim_cur = 2 * CROWD + 50;
    if (more.rlim_cur > more.rlim_max) skip();
    assert_ok(setrlimit(RLIMIT_NOFILE, &more));
    kith_addr at;
    size_t sent;
    assert_ok(kith_addr_parse("127.0.0.1:0", &at));
    assert_ok(tcp->listen(c->t.env, &at, crowd_accepted, c, &c->listener));
    at = kith_io_listener_local(c->listener);
    for (size_t i = 0; i < CROWD; i++) assert_ok(tcp->connect(c->t.env, &at, &crowd_events, c, &c->out[i]));
    UNTIL(c, c->connected == CROWD && c->accepted == CROWD);
    for (size_t i = 0; i < CROWD; i++) {
        assert_ok(tcp->send(c->out[i], &(struct iovec){"hello", 5}, 1, &sent));
        assert_ok(tcp->send(c->in[i], &(struct iovec){"hi", 2}, 1, &sent));
    }
    UNTIL(c, c->received == CROWD * 7);
    for (size_t i = 0; i < CROWD; i++) tcp->close(c->out[i]), tcp->close(c->in[i]);
    tcp->unlisten(c->listener);
    kith_io_stop(c->t.io);
    kith_io_run(c->t.io);
    assert_int_equal(kith_io_objects(c->t.io), 0);
    io_test_end(&c->t);
    assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
    free(c);
}

/* Out of descriptors: the loop rests, and accepting goes on when there are some again. */
static void test_no_descriptors(void **state)
{
    (void)state;
    world *w = world_new("127.0.0.1:0");
    int first = raw_connect(&w->at), second = raw_connect(&w->at);
    struct rlimit limit, none;
    assert_ok(getrlimit(RLIMIT_NOFILE, &limit));
    none = limit;
    none.rlim_cur = 3; /* fewer than there are */
    assert_ok(setrlimit(RLIMIT_NOFILE, &none));
    unsigned turns = idle_turns(w);
    kith_err connect = w->t.env->tcp->connect(w->t.env, &w->at, &events, &w->a, &w->a.tcp);
    kith_listener *listener;
    kith_addr any = {.family = KITH_FAMILY_IPV4};
    kith_err listen = w->t.env->tcp->listen(w->t.env, &any, on_accepted, w, &listener);
    assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
    assert_in_range(turns, 0, IDLE_TURNS);
    assert_int_equal(w->accepted, 0);
    assert_int_equal(connect, KITH_ERR_LIMIT);
    assert_int_equal(listen, KITH_ERR_LIMIT);
    UNTIL(w, w->accepted == 2);
    w->t.env->tcp->close(w->b.tcp);
    w->b.tcp = NULL;
    world_connect(w, "127.0.0.1"); /* and later */
    UNTIL(w, w->a.connected && w->b.tcp);
    close(first);
    close(second);
    world_end(w);
    w = world_new("127.0.0.1:0");
    first = raw_connect(&w->at);
    assert_ok(setrlimit(RLIMIT_NOFILE, &none));
    idle_turns(w);
    world_close(w); /* while it rests */
    assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
    kith_io_run(w->t.io);
    io_test_end(&w->t);
    free(w);
    close(first);
}

int main(void)
{
    find_network();
    const struct CMUnitTest tests[] = {
        TEST(test_addresses),     TEST(test_one_family),     TEST(test_link_local),
        TEST(test_both_ways),     TEST(test_many_pieces),    TEST(test_send_early),
        TEST(test_back_pressure), TEST(test_refused),        TEST(test_meets_itself),
        TEST(test_no_route),      TEST(test_no_answer),      TEST(test_listen_errors),
        TEST(test_listen_again),  TEST(test_no_memory),      TEST(test_accept_without_memory),
        TEST(test_crowd),         TEST(test_no_descriptors), TEST(test_without_v6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
