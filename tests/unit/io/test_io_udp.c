/* Datagrams over loopback, in a network of the test's own where the system allows one. */
#include "io_test.h"

#include <netinet/udp.h>
#include <poll.h>

#define NETWORK_MTU 9000

static bool isolated; /* in a network of our own, with loopback's MTU at NETWORK_MTU */
static bool has_v6;

/* ---- a pair of sockets, and what arrives at one ---- */

typedef struct end {
    struct pair *pair;
    kith_udp *udp;
    kith_addr at;
    uint8_t data[200000];
    size_t size, runs, datagrams, segment, last_segment;
    kith_addr remote, local;
    uint8_t ecn;
    int writable;
} end;

typedef struct pair {
    io_test t;
    end a, b;
    size_t expected; /* stop when b has this many bytes, or a as many when `echo` */
    bool echo, close_at_first;
} pair;

static void pair_close(pair *p)
{
    p->t.env->udp->close(p->a.udp);
    p->t.env->udp->close(p->b.udp);
    p->t.env->udp->close(NULL);
    p->a.udp = p->b.udp = NULL;
    kith_io_stop(p->t.io);
}

static void on_received(void *user, const kith_packet *packets, size_t count)
{
    end *e = user;
    pair *p = e->pair;
    assert_non_null(e->udp);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        const kith_packet *at = &packets[i];
        assert_in_range(at->size, 1, KITH_PACKET_RUN_MAX);
        assert_in_range(at->segment, 1, at->size);
        size_t datagrams = (at->size + at->segment - 1) / at->segment;
        assert_in_range(datagrams, 1, KITH_PACKET_RUN_SEGMENTS);
        assert_true(e->size + at->size <= sizeof e->data);
        memcpy(e->data + e->size, at->data, at->size);
        e->size += at->size;
        e->runs++;
        e->datagrams += datagrams;
        e->segment = at->segment;
        e->last_segment = at->size - (datagrams - 1) * at->segment;
        e->remote = at->remote;
        e->local = at->local;
        e->ecn = at->ecn;
    }
    if (p->close_at_first) {
        pair_close(p);
    } else if (e == &p->b && p->echo) {
        kith_packet back = packets[count - 1];
        assert_ok(p->t.env->udp->send(e->udp, &back));
    } else if (e->size >= p->expected) {
        pair_close(p);
    }
}

static void on_writable(void *user)
{
    end *e = user;
    e->writable++;
}

static const kith_udp_events events = {on_received, on_writable};

static void end_open(pair *p, end *e, const char *at)
{
    kith_addr bind;
    e->pair = p;
    assert_ok(kith_addr_parse(at, &bind));
    assert_ok(p->t.env->udp->open(p->t.env, &bind, &events, e, &e->udp));
    e->at = p->t.env->udp->local(e->udp);
    assert_int_not_equal(e->at.port, 0);
}

static pair *pair_new(const char *a, const char *b)
{
    pair *p = calloc(1, sizeof *p);
    p->t = io_test_new();
    end_open(p, &p->a, a);
    end_open(p, &p->b, b);
    return p;
}

static void pair_end(pair *p)
{
    io_test_end(&p->t);
    free(p);
}

static uint8_t payload[KITH_PACKET_RUN_MAX];

static kith_packet packet_to(const char *ip, uint16_t port, size_t size, size_t segment)
{
    kith_packet out = {.data = payload, .size = size, .segment = segment};
    assert_ok(kith_addr_parse(ip, &out.remote));
    out.remote.port = port;
    return out;
}

static kith_err send_from(const end *e, const kith_packet *packet) { return e->pair->t.env->udp->send(e->udp, packet); }

/* Send one packet from a to b at `ip`, run until it is there, and check all that is told of it. */
static void exchange(const char *bind_a, const char *bind_b, const char *ip, size_t size, size_t segment, uint8_t ecn)
{
    pair *p = pair_new(bind_a, bind_b);
    kith_packet packet = packet_to(ip, p->b.at.port, size, segment);
    packet.ecn = ecn;
    p->expected = size;
    assert_ok(send_from(&p->a, &packet));
    kith_io_run(p->t.io);
    assert_int_equal(p->b.size, size);
    assert_memory_equal(p->b.data, payload, size);
    assert_int_equal(p->b.datagrams, (size + segment - 1) / segment);
    if (p->b.runs == 1) assert_int_equal(p->b.segment, segment);
    assert_int_equal(p->b.last_segment, (size - 1) % segment + 1);
    assert_int_equal(p->b.ecn, ecn);
    /* Both are that one address of ours, in its plain form also on a dual-stack socket. */
    assert_true(kith_addr_equal(&p->b.local, &packet.remote));
    assert_true(kith_addr_same_ip(&p->b.remote, &packet.remote));
    assert_int_equal(p->b.remote.port, p->a.at.port);
    pair_end(p);
}

static void need_v6(void)
{
    if (has_v6) return;
    print_message("no IPv6 here\n");
    skip();
}

static void need_isolation(void)
{
    if (isolated) return;
    print_message("needs a network namespace\n");
    skip();
}

/* ---- sending and receiving ---- */

static void test_v4(void **state)
{
    (void)state;
    exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 1200, 1200, 0);
    exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 1, 1, 0);
}

static void test_v6(void **state)
{
    (void)state;
    need_v6();
    exchange("[::1]:0", "[::1]:0", "::1", 1200, 1200, 0);
}

static void test_dual_stack(void **state)
{
    (void)state;
    need_v6();
    exchange("[::]:0", "[::]:0", "127.0.0.1", 1200, 1200, 0);
    exchange("[::]:0", "[::]:0", "::1", 1200, 1200, 0);
    exchange("0.0.0.0:0", "0.0.0.0:0", "::1", 1200, 1200, 0); /* either any-address means both families */
    exchange("0.0.0.0:0", "127.0.0.1:0", "127.0.0.1", 1200, 1200, 0);
}

/* A socket bound to one family's address is reached over that family alone. */
static void test_one_family(void **state)
{
    (void)state;
    need_v6();
    pair *p = pair_new("127.0.0.1:0", "[::1]:0");
    kith_packet six = packet_to("::1", p->b.at.port, 10, 10), four = packet_to("127.0.0.1", p->a.at.port, 10, 10);
    assert_int_equal(send_from(&p->a, &six), KITH_ERR_UNREACHABLE);
    assert_int_equal(send_from(&p->b, &four), KITH_ERR_UNREACHABLE);
    pair_close(p);
    kith_io_run(p->t.io);
    pair_end(p);
}

static void test_ecn(void **state)
{
    (void)state;
    for (uint8_t ecn = 0; ecn < 4; ecn++) {
        exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 3000, 1200, ecn);
        if (!has_v6) continue;
        exchange("[::1]:0", "[::1]:0", "::1", 3000, 1200, ecn);
        exchange("[::]:0", "[::]:0", "127.0.0.1", 3000, 1200, ecn); /* IPv4's TOS on an IPv6 socket */
        exchange("[::]:0", "[::]:0", "::1", 1200, 1200, ecn);
    }
}

/* The source asked for is used, and the address it was sent to is told: by it the answer finds its way back. */
static void local_address(const char *bind, const char *source, const char *destination)
{
    pair *p = pair_new(bind, bind);
    kith_packet packet = packet_to(destination, p->b.at.port, 2400, 1200);
    assert_ok(kith_addr_parse(source, &packet.local));
    p->echo = true;
    p->expected = 2400;
    assert_ok(send_from(&p->a, &packet));
    kith_io_run(p->t.io);
    assert_true(kith_addr_same_ip(&p->b.remote, &packet.local));
    assert_true(kith_addr_equal(&p->b.local, &packet.remote));
    assert_true(kith_addr_equal(&p->a.remote, &packet.remote)); /* the echo came from there */
    assert_true(kith_addr_same_ip(&p->a.local, &packet.local));
    assert_memory_equal(p->a.data, payload, 2400);
    pair_end(p);
}

static void test_local_address(void **state)
{
    (void)state;
    local_address("0.0.0.0:0", "127.0.0.7", "127.0.0.9");
    local_address("127.0.0.1:0", "127.0.0.1", "127.0.0.1");
    if (has_v6) local_address("[::]:0", "::1", "::1");
    /* A source that is no address of ours (any more). */
    pair *p = pair_new("0.0.0.0:0", "0.0.0.0:0");
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, 2400, 1200);
    assert_ok(kith_addr_parse("192.0.2.77", &packet.local));
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_UNREACHABLE);
    if (has_v6) {
        packet = packet_to("::1", p->b.at.port, 2400, 1200);
        assert_ok(kith_addr_parse("2001:db8::77", &packet.local));
        assert_int_equal(send_from(&p->a, &packet), KITH_ERR_UNREACHABLE);
    }
    assert_true(kith_io_udp_uses_gso(p->a.udp)); /* which does not speak against sending runs */
    pair_close(p);
    kith_io_run(p->t.io);
    pair_end(p);
}

static void test_runs(void **state)
{
    (void)state;
    static const size_t segments[] = {1200, 1452, 100, 1};
    for (size_t i = 0; i < sizeof segments / sizeof *segments; i++) {
        size_t s = segments[i];
        exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 40 * s, s, 0);
        exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 39 * s + (s + 1) / 2, s, 2);
        if (has_v6) exchange("[::]:0", "[::]:0", "::1", 39 * s + 1, s, 1);
    }
    exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 64 * 1000, 1000, 0);
    exchange("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1", 54 * 1200 + 200, 1200, 0); /* a run's limit in bytes */
}

/* Runs stay runs: that the bytes arrive at all would not show that GSO and GRO are at work. */
static void test_runs_stay_whole(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, 40 * 1200, 1200);
    p->expected = 3 * packet.size;
    for (int i = 0; i < 3; i++) assert_ok(send_from(&p->a, &packet));
    kith_io_run(p->t.io);
    assert_int_equal(p->b.datagrams, 120);
    if (p->b.runs > 30) {
        print_message("the kernel split the runs\n");
        skip();
    }
    assert_int_equal(p->b.runs, 3);
    pair_end(p);
}

/* The kernel may join more datagrams than a run holds: they are handed over as several. */
static void test_long_train_is_cut(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    struct sockaddr_storage name;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), segment = 100;
    socklen_t size = kith_addr_to_sockaddr(&p->b.at, false, &name);
    assert_ok(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment));
    size_t bytes = 128 * 100;
    ssize_t sent = sendto(fd, payload, bytes, 0, (struct sockaddr *)&name, size);
    if (sent < 0) bytes = 64 * 100, sent = sendto(fd, payload, bytes, 0, (struct sockaddr *)&name, size);
    close(fd);
    assert_int_equal(sent, bytes);
    p->expected = bytes;
    kith_io_run(p->t.io);
    assert_int_equal(p->b.datagrams, bytes / 100);
    assert_memory_equal(p->b.data, payload, bytes);
    pair_end(p);
}

/* A kernel refuses to cut runs for sockets that send without checksums: the socket goes on with single datagrams. */
static void test_without_gso(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    int on = 1;
    assert_ok(setsockopt(kith_io_udp_fd(p->a.udp), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on));
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, 39 * 1200 + 17, 1200);
    packet.ecn = 1;
    p->expected = 2 * packet.size;
    assert_true(kith_io_udp_uses_gso(p->a.udp));
    assert_ok(send_from(&p->a, &packet));
    assert_false(kith_io_udp_uses_gso(p->a.udp));
    assert_ok(send_from(&p->a, &packet)); /* and at once the second time */
    kith_io_run(p->t.io);
    assert_int_equal(p->b.datagrams, 80);
    assert_int_equal(p->b.ecn, 1);
    assert_memory_equal(p->b.data, payload, packet.size);
    assert_memory_equal(p->b.data + packet.size, payload, packet.size);
    pair_end(p);
}

/* ---- errors ---- */

static void test_too_large(void **state)
{
    (void)state;
    need_isolation();
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    size_t fits = NETWORK_MTU - 28;
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, fits + 1, fits + 1);
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_LIMIT);
    packet = packet_to("127.0.0.1", p->b.at.port, 3 * (fits + 1), fits + 1); /* as a run as well, */
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_LIMIT);
    assert_true(kith_io_udp_uses_gso(p->a.udp)); /* without taking it for a refusal */
    packet = packet_to("127.0.0.1", p->b.at.port, fits, fits);
    p->expected = fits;
    assert_ok(send_from(&p->a, &packet));
    kith_io_run(p->t.io);
    assert_int_equal(p->b.datagrams, 1);
    pair_end(p);
    if (!has_v6) return;
    p = pair_new("[::]:0", "[::]:0");
    packet = packet_to("::1", p->b.at.port, NETWORK_MTU - 47, NETWORK_MTU - 47);
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_LIMIT);
    packet = packet_to("127.0.0.1", p->b.at.port, fits + 1, fits + 1); /* IPv4's setting on an IPv6 socket */
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_LIMIT);
    pair_close(p);
    kith_io_run(p->t.io);
    pair_end(p);
}

static void test_bad_packets(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    kith_packet good = packet_to("127.0.0.1", p->b.at.port, 100, 100), bad = good;
    bad.size = 0;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    bad = good, bad.segment = 0;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    bad = good, bad.segment = 101;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    bad = good, bad.segment = 1;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG); /* 100 datagrams */
    bad = good, bad.size = KITH_PACKET_RUN_MAX + 1, bad.segment = 1200;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    bad = good, bad.remote.port = 0;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    bad = good, bad.remote.family = KITH_FAMILY_NONE;
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    bad = good;
    assert_ok(kith_addr_parse("::1", &bad.local));
    assert_int_equal(send_from(&p->a, &bad), KITH_ERR_ARG);
    pair_close(p);
    kith_io_run(p->t.io);
    assert_int_equal(p->b.size, 0);
    pair_end(p);
}

static void test_open_errors(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    kith_udp *udp = (kith_udp *)p;
    kith_addr at = p->a.at;
    assert_int_equal(p->t.env->udp->open(p->t.env, &at, &events, p, &udp), KITH_ERR_ADDRESS_IN_USE);
    assert_ok(kith_addr_parse("192.0.2.77:0", &at));
    assert_int_equal(p->t.env->udp->open(p->t.env, &at, &events, p, &udp), KITH_ERR_NETWORK);
    assert_ptr_equal(udp, p);
    pair_close(p);
    kith_io_run(p->t.io);
    pair_end(p);
}

static void test_no_route(void **state)
{
    (void)state;
    need_isolation();
    pair *p = pair_new("0.0.0.0:0", "0.0.0.0:0");
    kith_packet packet = packet_to("192.0.2.77", 4433, 100, 100);
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_UNREACHABLE);
    packet = packet_to("192.0.2.77", 4433, 2400, 1200);
    assert_int_equal(send_from(&p->a, &packet), KITH_ERR_UNREACHABLE);
    assert_true(kith_io_udp_uses_gso(p->a.udp));
    pair_close(p);
    kith_io_run(p->t.io);
    pair_end(p);
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
    exchange("[::]:0", "0.0.0.0:0", "127.0.0.1", 2400, 1200, 1);
    write_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0");
}

/* An error the kernel kept for the socket (an answer to something sent earlier) neither fails a send nor stops
 * receiving. */
static void test_kept_error(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    pair *closed = pair_new("127.0.0.1:0", "127.0.0.1:0");
    kith_addr nobody = closed->a.at;
    pair_close(closed);
    kith_io_run(closed->t.io);
    pair_end(closed);
    struct sockaddr_storage name;
    socklen_t size = kith_addr_to_sockaddr(&nobody, false, &name);
    end *both[] = {&p->a, &p->b};
    for (size_t i = 0; i < 2; i++) {
        int fd = kith_io_udp_fd(both[i]->udp);
        struct pollfd wait = {.fd = fd};
        assert_ok(connect(fd, (struct sockaddr *)&name, size));
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_int_equal(poll(&wait, 1, -1), 1); /* until the ICMP error is there */
        assert_true(wait.revents & POLLERR);
        struct sockaddr_storage other; /* where datagrams may come from again; the error stays */
        size = kith_addr_to_sockaddr(&both[1 - i]->at, false, &other);
        assert_ok(connect(fd, (struct sockaddr *)&other, size));
    }
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, 1200, 1200);
    p->expected = 1200;
    assert_ok(send_from(&p->a, &packet));
    kith_io_run(p->t.io); /* b has one, too, and libuv stops at it */
    assert_int_equal(p->b.size, 1200);
    pair_end(p);
}

/* ---- strange datagrams ---- */

static void test_empty_and_huge(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    struct sockaddr_storage name;
    static uint8_t huge[65507];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), most = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
    socklen_t size = kith_addr_to_sockaddr(&p->b.at, false, &name);
    assert_int_equal(sendto(fd, "", 0, 0, (struct sockaddr *)&name, size), 0);
    assert_int_equal(sendto(fd, huge, sizeof huge, 0, (struct sockaddr *)&name, size), sizeof huge);
    assert_int_equal(sendto(fd, "end", 3, 0, (struct sockaddr *)&name, size), 3);
    close(fd);
    p->expected = 3;
    kith_io_run(p->t.io);
    assert_int_equal(p->b.size, 3); /* the others were left out */
    pair_end(p);
}

/* ---- closing ---- */

static void test_close_in_callback(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, 1000, 1000);
    p->close_at_first = true;
    for (int i = 0; i < 30; i++) { /* several recvmmsg calls' worth */
        packet.segment = packet.size = 1000 - (size_t)i;
        assert_ok(send_from(&p->a, &packet));
    }
    kith_io_run(p->t.io);
    assert_true(p->b.size <= 8 * 1000); /* nothing after the first call */
    pair_end(p);
}

static void test_close_without_run(void **state)
{
    (void)state;
    pair *p = pair_new("127.0.0.1:0", "127.0.0.1:0");
    kith_packet packet = packet_to("127.0.0.1", p->b.at.port, 1000, 1000);
    assert_ok(send_from(&p->a, &packet));
    pair_close(p);
    assert_int_equal(p->b.size, 0); /* never from inside a call */
    pair_end(p);
}

/* ---- a full socket ---- */

typedef struct flood {
    io_test t;
    kith_udp *from, *to;
    kith_addr target;
    kith_packet packet;
    size_t sent, blocked, writable, received, next;
    size_t wanted; /* runs */
    bool bad;
} flood;

/* Each run starts with its number, so that lost, doubled and reordered pieces show. */
static void flood_more(flood *f)
{
    while (f->sent < f->wanted) {
        for (size_t at = 0; at < f->packet.size; at += f->packet.segment) {
            uint32_t number = (uint32_t)(f->sent * 50 + at / f->packet.segment);
            memcpy(payload + at, &number, sizeof number);
        }
        kith_err err = f->t.env->udp->send(f->from, &f->packet);
        if (err == KITH_ERR_AGAIN) {
            assert_int_equal(f->t.env->udp->send(f->from, &f->packet), KITH_ERR_AGAIN); /* until writable */
            f->blocked++;
            return;
        }
        assert_ok(err);
        f->sent++;
    }
}

static void flood_writable(void *user)
{
    flood *f = user;
    f->writable++;
    flood_more(f);
}

static void flood_received(void *user, const kith_packet *packets, size_t count)
{
    flood *f = user;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < packets[i].size; at += packets[i].segment) {
            uint32_t number;
            memcpy(&number, packets[i].data + at, sizeof number);
            if (number != f->next++) f->bad = true;
        }
        f->received += packets[i].size;
    }
    if (f->received < f->wanted * f->packet.size) return;
    f->t.env->udp->close(f->from);
    f->t.env->udp->close(f->to);
    kith_io_stop(f->t.io);
}

static void flood_nothing(void *user, const kith_packet *packets, size_t count)
{
    (void)user, (void)packets, (void)count;
}

/* Through a slow link with a small buffer: AGAIN comes, `writable` follows, and everything arrives once and in order.
 */
static void full_socket(bool gso)
{
    static const kith_udp_events from_events = {flood_nothing, flood_writable},
                                 to_events = {flood_received, flood_writable};
    flood f = {.t = io_test_new(), .wanted = 60};
    kith_addr at;
    int small = 100000, on = 1, large = 64 << 20;
    assert_ok(kith_addr_parse("127.0.0.1:0", &at));
    assert_ok(f.t.env->udp->open(f.t.env, &at, &from_events, &f, &f.from));
    assert_ok(f.t.env->udp->open(f.t.env, &at, &to_events, &f, &f.to));
    assert_ok(setsockopt(kith_io_udp_fd(f.from), SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    /* A receiver that does not run for a while loses nothing: this is about the sender. */
    assert_ok(setsockopt(kith_io_udp_fd(f.to), SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large));
    if (!gso) assert_ok(setsockopt(kith_io_udp_fd(f.from), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on));
    f.packet = packet_to("127.0.0.1", f.t.env->udp->local(f.to).port, 50 * 1200, 1200);
    flood_more(&f);
    assert_true(f.blocked > 0);
    assert_int_equal(f.writable, 0);
    kith_io_run(f.t.io);
    assert_false(f.bad);
    assert_int_equal(f.next, 60 * 50);
    assert_true(f.writable >= f.blocked);
    printf("%s: AGAIN %zu times, writable %zu times\n", gso ? "runs" : "single datagrams", f.blocked, f.writable);
    io_test_end(&f.t);
}

static void test_full_socket(void **state)
{
    (void)state;
    need_isolation();
    if (system("tc qdisc replace dev lo root tbf rate 100mbit burst 100k limit 32m 2>/dev/null")) {
        print_message("no token bucket in this kernel, or no tc\n");
        skip();
    }
    full_socket(true);
    full_socket(false);
    if (system("tc qdisc del dev lo root")) fail_msg("tc qdisc del");
}

int main(void)
{
    isolated = own_network();
    if (isolated) link_up("lo", NETWORK_MTU);
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    has_v6 = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0) close(fd);
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (uint8_t)(i * 31 + i / 251);
    const struct CMUnitTest tests[] = {
        TEST(test_v4),
        TEST(test_v6),
        TEST(test_dual_stack),
        TEST(test_one_family),
        TEST(test_ecn),
        TEST(test_local_address),
        TEST(test_runs),
        TEST(test_runs_stay_whole),
        TEST(test_long_train_is_cut),
        TEST(test_without_gso),
        TEST(test_too_large),
        TEST(test_bad_packets),
        TEST(test_open_errors),
        TEST(test_no_route),
        TEST(test_kept_error),
        TEST(test_empty_and_huge),
        TEST(test_close_in_callback),
        TEST(test_close_without_run),
        TEST(test_full_socket),
        TEST(test_without_v6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
