/* The hub's UDP port. */
#include "hub_test.h"
#include "wire/stun.h"

static uint8_t buffer[KITH_PACKET_RUN_MAX];

/* One run of datagrams; the hub may change the bytes. */
static void send_run(const char *from, const uint8_t *data, size_t size, size_t segment)
{
    memmove(buffer, data, size);
    kith_packet p = {.local = addr_of("203.0.113.1:4433"),
                     .remote = addr_of(from),
                     .ecn = 2,
                     .data = buffer,
                     .size = size,
                     .segment = segment};
    kith_hub_datagrams(hub, &p, now);
}

static void bind_to(peer *p, const char *from, uint64_t counter)
{
    uint8_t out[KITH_RELAY_BIND_SIZE];
    kith_relay_write_bind(p->udp_key, counter, out);
    send_run(from, out, sizeof out, sizeof out);
}

static void bound(peer *p, const char *from, uint64_t counter)
{
    kith_packet out;
    kith_addr observed, want = addr_of(from);
    uint64_t number;
    bind_to(p, from, counter);
    assert_true(kith_hub_datagram(hub, &out));
    assert_true(kith_addr_equal(&out.remote, &want));
    assert_true(kith_relay_read_bound(out.data, out.size, &number, &observed));
    assert_true(number == counter && kith_addr_equal(&observed, &want));
    assert_false(kith_hub_datagram(hub, &out));
}

static void nothing_sent(void)
{
    kith_packet out;
    assert_false(kith_hub_datagram(hub, &out));
}

/* `count` packets of `size` bytes, the last `last`, each begun by what `id` says of it. */
static size_t make_run(uint8_t *out, const uint8_t *id, size_t count, size_t size, size_t last)
{
    uint8_t *at = out;
    for (size_t i = 0; i < count; i++) {
        size_t payload = i + 1 < count ? size : last;
        kith_relay_write_packet_head(id, at);
        memset(at + KITH_RELAY_PACKET_HEAD, (int)(i + 1), payload);
        at += KITH_RELAY_PACKET_HEAD + payload;
    }
    return (size_t)(at - out);
}

static void stun(void **state)
{
    (void)state;
    uint8_t request[KITH_STUN_REQUEST_SIZE], id[KITH_STUN_ID_SIZE] = {9};
    kith_packet out;
    kith_stun_message m;
    kith_addr want = addr_of("[2001:db8::5]:999");
    kith_stun_write_request(id, request);
    send_run("[2001:db8::5]:999", request, sizeof request, sizeof request);
    assert_true(kith_hub_datagram(hub, &out));
    assert_true(kith_addr_equal(&out.remote, &want));
    assert_ok(kith_stun_read(out.data, out.size, &m));
    assert_true(m.type == KITH_STUN_SUCCESS && kith_addr_equal(&m.mapped, &want));
    nothing_sent();
    send_run("192.0.2.1:1", out.data, out.size, out.size); /* an answer is not answered */
    nothing_sent();
    for (uint64_t i = 0; i < settings.answers_per_second + 5; i++)
        send_run("192.0.2.1:1", request, sizeof request, sizeof request);
    nothing_sent();
    assert_int_equal(stats()->answers_limited, 5);
    advance(1000);
    send_run("192.0.2.1:1", request, sizeof request, sizeof request);
    assert_true(kith_hub_datagram(hub, &out));
}

/* From another port, to another port, and what there is no way for. */
static void stun_elsewhere(void **state)
{
    (void)state;
    static const struct {
        bool has_port;
        uint8_t flags;
        uint16_t port;
        bool refused, elsewhere;
    } cases[] = {{true, 0, 7, false, false},
                 {true, KITH_STUN_CHANGE_PORT, 7, false, true},
                 {true, KITH_STUN_CHANGE_PORT, 0, false, true},
                 {false, KITH_STUN_CHANGE_PORT, 7, true, false},
                 {true, KITH_STUN_CHANGE_IP, 7, true, false},
                 {true, KITH_STUN_CHANGE_IP | KITH_STUN_CHANGE_PORT, 7, true, false}};
    uint8_t request[KITH_STUN_ELSEWHERE_SIZE], id[KITH_STUN_ID_SIZE] = {9};
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_packet out;
        kith_stun_message m;
        kith_addr from = addr_of("192.0.2.1:999"), want = from;
        kith_stun_write_elsewhere(id, false, cases[i].port, request);
        request[KITH_STUN_HEADER + 7] = cases[i].flags;
        kith_hub_set_other_port(hub, cases[i].has_port);
        send_run("192.0.2.1:999", request, sizeof request, sizeof request);
        assert_true(kith_hub_datagram(hub, &out));
        assert_int_equal(kith_hub_elsewhere(hub), cases[i].elsewhere);
        if (!cases[i].refused && cases[i].port) want.port = cases[i].port;
        assert_true(kith_addr_equal(&out.remote, &want));
        assert_true(out.size <= sizeof request);
        assert_ok(kith_stun_read(out.data, out.size, &m));
        assert_int_equal(m.error, cases[i].refused ? 420 : 0);
        if (!cases[i].refused) assert_true(kith_addr_equal(&m.mapped, &from));
        nothing_sent();
        count += !cases[i].refused;
    }
    assert_int_equal(stats()->stun_elsewhere, count);
}

static void only_known_things_are_answered(void **state)
{
    (void)state;
    uint8_t junk[1400], bind[KITH_RELAY_BIND_SIZE], key[16] = {1};
    for (unsigned first = 0; first < 256; first++) {
        memset(junk, (int)first, sizeof junk);
        for (size_t size = 1; size < sizeof junk; size += 97) send_run("192.0.2.1:1", junk, size, size);
        nothing_sent();
    }
    kith_relay_write_bind(key, 1, bind);
    send_run("192.0.2.1:1", bind, sizeof bind, sizeof bind);
    nothing_sent();
    assert_true(stats()->binds_wrong > 0);
    assert_int_equal(stats()->udp_sent_packets, 0);
}

static void binds(void **state)
{
    (void)state;
    peer a;
    enter(&a, 1, "192.0.2.1:1");
    bound(&a, "192.0.2.1:7", 5);
    bind_to(&a, "192.0.2.66:7", 5); /* repeated by somebody who saw it */
    nothing_sent();
    bind_to(&a, "192.0.2.66:7", 4);
    nothing_sent();
    bound(&a, "192.0.2.1:8", 6);
    assert_int_equal(stats()->binds, 2);
    leave(&a);
    bind_to(&a, "192.0.2.1:8", 7); /* the key is gone with its registration */
    nothing_sent();
}

/* Both over UDP: the id is exchanged, the rest untouched, and one run stays one. */
static void both_over_udp(void **state)
{
    (void)state;
    static uint8_t run[KITH_PACKET_RUN_MAX];
    peer a, b;
    kith_packet out;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    together(&a, &b, 7);
    bound(&a, "192.0.2.1:7", 1);
    bound(&b, "192.0.2.2:7", 1);
    size_t size = make_run(run, a.udp_id, 40, 1200, 300);
    send_run("192.0.2.1:7", run, size, 1200 + KITH_RELAY_PACKET_HEAD);
    assert_true(kith_hub_datagram(hub, &out));
    kith_addr want = addr_of("192.0.2.2:7");
    assert_true(kith_addr_equal(&out.remote, &want));
    assert_true(out.size == size && out.segment == 1200 + KITH_RELAY_PACKET_HEAD && out.ecn == 2);
    assert_int_equal(out.local.port, 4433);
    for (size_t i = 0; i < 40; i++) {
        const uint8_t *at = out.data + i * out.segment;
        assert_memory_equal(kith_relay_read_packet_head(at, 300), b.udp_id, sizeof b.udp_id);
        assert_int_equal(at[KITH_RELAY_PACKET_HEAD], i + 1);
    }
    nothing_sent();
    quiet(&a);
    quiet(&b);
    send_run("192.0.2.9:7", run, size, 1200 + KITH_RELAY_PACKET_HEAD); /* an id used from elsewhere */
    nothing_sent();
    send_run("192.0.2.2:7", run, size, 1200 + KITH_RELAY_PACKET_HEAD); /* or by the other side */
    nothing_sent();
}

/* Who is not bound, or was not for long, has them as a message. */
static void over_udp_to_a_message(void **state)
{
    (void)state;
    static uint8_t run[KITH_PACKET_RUN_MAX];
    peer a, b;
    kith_packet out;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    uint32_t number = together(&a, &b, 7);
    bound(&a, "192.0.2.1:7", 1);
    size_t size = make_run(run, a.udp_id, 3, 1200, 300);
    send_run("192.0.2.1:7", run, size, 1200 + KITH_RELAY_PACKET_HEAD);
    nothing_sent();
    expect(&b, KITH_RELAY_DATA);
    assert_true(b.m.session == number && b.m.run.segment == 1200 && b.m.run.size == 2700);
    assert_int_equal(b.m.run.data[1200], 2);
    assert_int_equal(b.m.run.data[2699], 3);
    bound(&b, "192.0.2.2:7", 1);
    send_run("192.0.2.1:7", run, size, 1200 + KITH_RELAY_PACKET_HEAD);
    assert_true(kith_hub_datagram(hub, &out));
    advance(settings.udp_stale_ms + 1);
    bound(&a, "192.0.2.1:7", 2);
    send_run("192.0.2.1:7", run, size, 1200 + KITH_RELAY_PACKET_HEAD);
    nothing_sent();
    expect(&b, KITH_RELAY_DATA);
}

/* Datagrams to a client are lost, which it alone can see: it sends messages, and so has messages. */
static void answers_come_as_the_client_speaks(void **state)
{
    (void)state;
    static uint8_t run[KITH_PACKET_RUN_MAX], data[300] = {1};
    peer a, b;
    kith_packet out;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    uint32_t number = together(&a, &b, 7);
    bound(&b, "192.0.2.2:7", 1);
    say_data(&a, 7, data, sizeof data, sizeof data);
    assert_true(kith_hub_datagram(hub, &out));
    say_data(&b, number, data, sizeof data, sizeof data);
    expect(&a, KITH_RELAY_DATA);
    bound(&b, "192.0.2.2:7", 2); /* its binding is kept alive all the same */
    say_data(&a, 7, data, sizeof data, sizeof data);
    nothing_sent();
    expect(&b, KITH_RELAY_DATA);
    size_t size = make_run(run, b.udp_id, 1, 300, 300);
    send_run("192.0.2.2:7", run, size, size);
    expect(&a, KITH_RELAY_DATA);
    say_data(&a, 7, data, sizeof data, sizeof data);
    assert_true(kith_hub_datagram(hub, &out));
    quiet(&b);
}

/* The heads make the largest run too large: it becomes two. */
static void a_message_to_udp(void **state)
{
    (void)state;
    static const struct {
        size_t size, segment, runs;
    } cases[] = {{1, 1, 1},
                 {3000, 1350, 1},
                 {KITH_PACKET_RUN_MAX, 1016, 2},
                 {64 * 1000, 1000, 1},
                 {64995, 64995, 0},
                 {KITH_PACKET_RUN_MAX - KITH_RELAY_PACKET_HEAD, KITH_PACKET_RUN_MAX - KITH_RELAY_PACKET_HEAD, 1}};
    static uint8_t data[KITH_PACKET_RUN_MAX];
    peer a, b;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    together(&a, &b, 7);
    bound(&b, "192.0.2.2:7", 1);
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t at = 0, runs = 0;
        kith_packet out;
        say_data(&a, 7, data, cases[i].size, cases[i].segment);
        for (; kith_hub_datagram(hub, &out); runs++) {
            assert_in_range(out.size, 1, KITH_PACKET_RUN_MAX);
            assert_true(out.segment <= out.size);
            for (size_t part = 0; part < out.size; part += out.segment) {
                size_t size = out.size - part < out.segment ? out.size - part : out.segment;
                assert_memory_equal(kith_relay_read_packet_head(out.data + part, size), b.udp_id, sizeof b.udp_id);
                size -= KITH_RELAY_PACKET_HEAD;
                assert_memory_equal(out.data + part + KITH_RELAY_PACKET_HEAD, data + at, size);
                at += size;
            }
        }
        assert_int_equal(runs, cases[i].runs);
        assert_int_equal(at, runs ? cases[i].size : 0); /* larger than a datagram can be: lost */
        assert_int_equal(stats()->memory_bytes, 0);
    }
}

/* A run that the kernel made of several sessions' packets, and of other things. */
static void mixed_run(void **state)
{
    (void)state;
    static uint8_t run[KITH_PACKET_RUN_MAX];
    peer a, b, c;
    kith_packet out;
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    enter(&c, 3, "192.0.2.3:1");
    together(&a, &b, 1);
    uint8_t to_b[8];
    memcpy(to_b, a.udp_id, 8);
    together(&a, &c, 2);
    bound(&a, "192.0.2.1:7", 1);
    bound(&b, "192.0.2.2:7", 1);
    bound(&c, "192.0.2.3:7", 1);
    enum { SEGMENT = 25 }; /* as long as a BIND */
    make_run(run, to_b, 2, SEGMENT - 9, SEGMENT - 9);
    make_run(run + 2 * SEGMENT, a.udp_id, 1, SEGMENT - 9, SEGMENT - 9);
    kith_relay_write_bind(a.udp_key, 2, run + 3 * SEGMENT);
    make_run(run + 4 * SEGMENT, to_b, 1, SEGMENT - 9, 5);
    send_run("192.0.2.1:7", run, 4 * SEGMENT + 14, SEGMENT);
    static const struct {
        uint8_t ip;
        size_t size;
    } want[] = {{2, 2 * SEGMENT}, {3, SEGMENT}, {1, 15}, {2, 14}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(kith_hub_datagram(hub, &out));
        assert_int_equal(out.remote.ip[3], want[i].ip);
        assert_int_equal(out.size, want[i].size);
    }
    nothing_sent();
}

static void too_fast_is_dropped(void **state)
{
    (void)state;
    static uint8_t run[KITH_PACKET_RUN_MAX];
    peer a, b;
    settings.bytes_per_second = 100000;
    settings.burst_bytes = 2 * KITH_RELAY_MESSAGE_MAX;
    again();
    enter(&a, 1, "192.0.2.1:1");
    enter(&b, 2, "192.0.2.2:1");
    together(&a, &b, 7);
    bound(&a, "192.0.2.1:7", 1);
    bound(&b, "192.0.2.2:7", 1);
    size_t size = make_run(run, a.udp_id, 50, 1200, 1200);
    uint64_t passed = 0;
    for (int i = 0; i < 1000; i++) {
        kith_packet out;
        send_run("192.0.2.1:7", run, size, 1209);
        while (kith_hub_datagram(hub, &out)) passed += out.size;
        advance(10);
        if (i % 100 == 0) bound(&a, "192.0.2.1:7", (uint64_t)i + 2), bound(&b, "192.0.2.2:7", (uint64_t)i + 2);
    }
    assert_in_range(passed, 1000000, 1000000 + 4 * KITH_RELAY_MESSAGE_MAX);
    assert_true(stats()->dropped_rate_bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(stun),
        HUB_TEST(stun_elsewhere),
        HUB_TEST(only_known_things_are_answered),
        HUB_TEST(binds),
        HUB_TEST(both_over_udp),
        HUB_TEST(over_udp_to_a_message),
        HUB_TEST(answers_come_as_the_client_speaks),
        HUB_TEST(a_message_to_udp),
        HUB_TEST(mixed_run),
        HUB_TEST(too_fast_is_dropped),
    };
    return cmocka_run_group_tests_name("relay/hub_udp", tests, NULL, NULL);
}
