#include "wire/relay.h"

#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static uint8_t bytes[256]; /* 0, 1, 2 ... */
static uint8_t packets[KITH_PACKET_RUN_MAX + 1];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof packets; i++) packets[i] = (uint8_t)(i * 7);
    return 0;
}

static kith_relay_message connect_message(void)
{
    return (kith_relay_message){.type = KITH_RELAY_CONNECT,
                                .session = 5,
                                .run = {packets, 2500, 1200},
                                .connect = {.target = bytes, .target_instance = bytes + 100}};
}

/* What the layout says, byte for byte. */
static void known_bytes(void **state)
{
    (void)state;
    uint8_t out[KITH_RELAY_CONTROL_MAX];
    kith_relay_message ping = {.type = KITH_RELAY_PING, .ping = {bytes}};
    test_equal_hex(out, kith_relay_write(&ping, out, sizeof out), "0ba101480001020304050607");
    kith_relay_message gone = {.type = KITH_RELAY_GONE, .session = UINT32_C(0x80000001), .gone = {2}};
    test_equal_hex(out, kith_relay_write(&gone, out, sizeof out), "07a2011a800000010202");
    kith_relay_message data = {.type = KITH_RELAY_DATA, .session = 0x01020304, .run = {bytes, 5, 2}};
    test_equal_hex(out, kith_relay_write(&data, out, sizeof out), "080102030400020001020304");
    kith_relay_message offer = {
        .type = KITH_RELAY_MAILBOX_CONNECT, .tag = 0x3fffff, .session = 1, .run = {bytes, 3, 3}};
    test_equal_hex(out, kith_relay_write(&offer, out, sizeof out), "10a3011a003fffff020103450003000102");
    kith_relay_message limited = {
        .type = KITH_RELAY_RATE_LIMITED, .tag = 9, .rate_limited = {KITH_RELAY_LIMIT_MAILBOXES, 1000, .has_tag = true}};
    test_equal_hex(out, kith_relay_write(&limited, out, sizeof out), "0aa30104021903e80409");
    kith_relay_write_data_head(0x01020304, 2, out);
    test_equal_hex(out, KITH_RELAY_DATA_HEAD, "08010203040002");
}

static void registered_survives(void **state)
{
    (void)state;
    uint8_t out[KITH_RELAY_CONTROL_MAX];
    kith_relay_message got, m = {.type = KITH_RELAY_REGISTERED,
                                 .registered = {.udp_key = bytes + 1,
                                                .limits = {1, UINT64_MAX, 3, 4, 5, 6, UINT32_MAX, 8704},
                                                .software = {"kith 1", 6},
                                                .unix_ms = 12}};
    assert_int_equal(kith_relay_write(&m, out, sizeof out), 0); /* no address */
    assert_ok(kith_addr_parse("[2001:db8::1]:443", &m.registered.observed));
    assert_ok(kith_relay_read(out, kith_relay_write(&m, out, sizeof out), &got));
    assert_true(kith_addr_equal(&got.registered.observed, &m.registered.observed));
    assert_memory_equal(got.registered.udp_key, bytes + 1, KITH_RELAY_UDP_KEY_SIZE);
    assert_memory_equal(&got.registered.limits, &m.registered.limits, sizeof m.registered.limits);
    assert_int_equal(got.registered.unix_ms, 12);
    assert_int_equal(got.registered.software.size, 6);
    /* Room for less than any message, or for more than there can be, is no limit. */
    static const uint32_t no_limits[] = {0, 6, 7, 8, KITH_RELAY_CONTROL_MAX - 1, KITH_RELAY_MESSAGE_MAX + 1};
    size_t size = kith_relay_write(&m, out, sizeof out),
           at = size - 3 - (2 + 6) - 2; /* 8,704 stands before two more members */
    assert_memory_equal(out + at, "\x19\x22\x00", 3);
    memcpy(out + at, "\x19\x21\xff", 3);
    assert_int_equal(kith_relay_read(out, size, &got), KITH_ERR_FORMAT);
    for (size_t i = 0; i < sizeof no_limits / sizeof *no_limits; i++) {
        m.registered.limits.message_bytes = no_limits[i];
        assert_int_equal(kith_relay_write(&m, out, sizeof out), 0);
    }
    m.registered.limits.message_bytes = KITH_RELAY_MESSAGE_MAX;
    m.registered.software.size = KITH_RELAY_TEXT_MAX + 1;
    m.registered.software.data = (const char *)memset(out, 'x', KITH_RELAY_TEXT_MAX + 1);
    uint8_t other[KITH_RELAY_CONTROL_MAX];
    assert_int_equal(kith_relay_write(&m, other, sizeof other), 0);
}

static void connect_survives(void **state)
{
    (void)state;
    uint8_t out[KITH_RELAY_CONTROL_MAX];
    kith_relay_message got, m = connect_message();
    assert_ok(kith_relay_read(out, kith_relay_write(&m, out, sizeof out), &got));
    assert_int_equal(got.session, 5);
    assert_memory_equal(got.connect.target, bytes, KITH_RELAY_FINGERPRINT_SIZE);
    assert_memory_equal(got.connect.target_instance, bytes + 100, KITH_RELAY_INSTANCE_SIZE);
    assert_int_equal(got.run.size, 2500);
    assert_int_equal(got.run.segment, 1200);
    assert_memory_equal(got.run.data, packets, 2500);
    m.connect.target_instance = NULL;
    m.run.data = NULL;
    assert_ok(kith_relay_read(out, kith_relay_write(&m, out, sizeof out), &got));
    assert_null(got.connect.target_instance);
    assert_null(got.run.data);
    assert_int_equal(got.connect.but_count, 0);
    m.connect.but = bytes + 120;
    for (m.connect.but_count = 1; m.connect.but_count <= KITH_RELAY_BUT_MAX; m.connect.but_count++) {
        assert_ok(kith_relay_read(out, kith_relay_write(&m, out, sizeof out), &got));
        assert_int_equal(got.connect.but_count, m.connect.but_count);
        assert_memory_equal(got.connect.but, bytes + 120, m.connect.but_count * KITH_RELAY_INSTANCE_SIZE);
    }
    assert_int_equal(kith_relay_write(&m, out, sizeof out), 0); /* one too many */
    m.connect.but_count = 1;
    size_t size = kith_relay_write(&m, out, sizeof out), at = size - KITH_RELAY_INSTANCE_SIZE - 1;
    assert_int_equal(out[at], 0x40 + KITH_RELAY_INSTANCE_SIZE);
    out[at]--; /* no whole number of them */
    assert_int_equal(kith_relay_read(out, size - 1, &got), KITH_ERR_FORMAT);
    out[at] = 0x40; /* none */
    assert_int_equal(kith_relay_read(out, at + 1, &got), KITH_ERR_FORMAT);
    m.connect.but_count = 0;
    m.connect.target = NULL;
    assert_int_equal(kith_relay_write(&m, out, sizeof out), 0);
}

/* Every shorter piece of a message, and it with a byte behind, is no message. */
static void cut_or_longer(void **state)
{
    (void)state;
    static uint8_t out[KITH_RELAY_CONTROL_MAX + 1];
    kith_relay_message got, m = connect_message();
    size_t size = kith_relay_write(&m, out, sizeof out);
    for (size_t cut = 0; cut < size; cut++) assert_int_equal(kith_relay_read(out, cut, &got), KITH_ERR_FORMAT);
    assert_int_equal(kith_relay_read(out, size + 1, &got), KITH_ERR_FORMAT);
    for (size_t cap = 0; cap < size; cap++) assert_int_equal(kith_relay_write(&m, out, cap), 0);
}

static void runs_have_bounds(void **state)
{
    (void)state;
    static uint8_t out[KITH_RELAY_MESSAGE_MAX + 1];
    kith_relay_message got, m = {.type = KITH_RELAY_DATA, .session = 1};
    static const struct {
        size_t size, segment;
        bool good;
    } cases[] = {
        {1, 1, true},
        {0, 1, false},
        {1, 0, false},
        {1, 2, false},
        {64, 1, true},
        {65, 1, false},
        {KITH_PACKET_RUN_MAX, KITH_PACKET_RUN_MAX, true},
        {KITH_PACKET_RUN_MAX + 1, KITH_PACKET_RUN_MAX, false},
        {KITH_PACKET_RUN_MAX, 1016, true},
        {KITH_PACKET_RUN_MAX, 1015, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        m.run = (kith_relay_run){packets, cases[i].size, cases[i].segment};
        size_t size = kith_relay_write(&m, out, sizeof out);
        assert_int_equal(size != 0, cases[i].good);
        kith_relay_write_data_head(1, cases[i].segment, out);
        memcpy(out + KITH_RELAY_DATA_HEAD, packets, cases[i].size);
        kith_err err = kith_relay_read(out, KITH_RELAY_DATA_HEAD + cases[i].size, &got);
        assert_int_equal(err, cases[i].good ? KITH_OK : KITH_ERR_FORMAT);
    }
    m = connect_message();
    m.run = (kith_relay_run){packets, KITH_RELAY_OFFER_MAX, 1200};
    assert_true(kith_relay_write(&m, out, sizeof out) > 0);
    m.run.size++;
    assert_int_equal(kith_relay_write(&m, out, sizeof out), 0);
}

static void from_hex(const char *hex, kith_err want)
{
    kith_relay_message got = {.session = 77};
    test_bytes b = test_unhex(hex);
    kith_err err = kith_relay_read(b.data, b.size, &got);
    if (err != want) fail_msg("%s: %s", hex, kith_err_name(err));
    if (err && err != KITH_ERR_UNSUPPORTED) assert_int_equal(got.session, 77); /* untouched */
    test_bytes_free(&b);
}

static void strict(void **state)
{
    (void)state;
    from_hex("0ba101480001020304050607", KITH_OK);             /* */
    from_hex("0ba20148000102030405060709f6", KITH_OK);         /* an unknown member is skipped */
    from_hex("0ba2014800010203040506070180", KITH_ERR_FORMAT); /* a key twice */
    from_hex("0ba1014700010203040506", KITH_ERR_FORMAT);       /* 7 bytes */
    from_hex("0ba10158080001020304050607", KITH_ERR_FORMAT);   /* a length not in its shortest form */
    from_hex("0bbf01480001020304050607ff", KITH_ERR_FORMAT);   /* of indefinite length */
    from_hex("0ba1016800010203040506", KITH_ERR_FORMAT);       /* text */
    from_hex("0ba0", KITH_ERR_FORMAT);                         /* a member is missing */
    from_hex("0b", KITH_ERR_FORMAT);                           /* no map */
    from_hex("", KITH_ERR_FORMAT);                             /* nothing */
    from_hex("63a101f6", KITH_ERR_UNSUPPORTED);                /* a later version's */
    from_hex("63f6", KITH_ERR_FORMAT);                         /* whose form is not ours */
    from_hex("00a0", KITH_ERR_UNSUPPORTED);                    /* */
    from_hex("0ea1011a00400000", KITH_ERR_FORMAT);             /* a tag of 23 bits */
    from_hex("07a2011b00000001000000000202", KITH_ERR_FORMAT); /* a session of 33 bits */
    from_hex("10a301010201034200ff", KITH_ERR_FORMAT);         /* an offer of no packets */
    from_hex("10a30101020103430002ff", KITH_ERR_FORMAT);       /* whose packet is shorter than it says */
    from_hex("10a30101020103430001ff", KITH_OK);               /* */
    from_hex("08000000010001", KITH_ERR_FORMAT);               /* data of no packets */
}

static void authorities(void **state)
{
    (void)state;
    static const struct {
        const char *host, *want;
    } cases[] = {{"Relay.Example:4433", "relay.example:4433"},
                 {"relay.example:443", "relay.example"},
                 {"relay.example:80", "relay.example"},
                 {"[2001:DB8::1]:8080", "[2001:db8::1]:8080"},
                 {"relay.example:8443", "relay.example:8443"},
                 {"", NULL},
                 {"a b", NULL},
                 {"\xc3\xa4", NULL},
                 {":80", ":80"}};
    char out[KITH_RELAY_AUTHORITY_MAX + 1], name[KITH_RELAY_AUTHORITY_MAX + 2];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_err err = kith_relay_authority(cases[i].host, strlen(cases[i].host), out);
        assert_int_equal(err, cases[i].want ? KITH_OK : KITH_ERR_FORMAT);
        if (!err) assert_string_equal(out, cases[i].want);
    }
    memset(name, 'a', sizeof name);
    assert_ok(kith_relay_authority(name, KITH_RELAY_AUTHORITY_MAX, out));
    assert_int_equal(kith_relay_authority(name, KITH_RELAY_AUTHORITY_MAX + 1, out), KITH_ERR_LIMIT);
    name[KITH_RELAY_AUTHORITY_MAX] = '\0';
    uint8_t text[KITH_RELAY_SIGNED_MAX];
    assert_int_equal(kith_relay_signed(bytes, name, bytes, bytes, text), KITH_RELAY_SIGNED_MAX);
    test_equal_hex(text, kith_relay_signed(bytes, "r:1", bytes + 40, bytes + 60, text),
                   "6b6974682072656c61792072656769737465722076310"
                   "0000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                   "03723a3128292a2b2c2d2e2f30313233343536373c3d3e3f40414243");
}

static void datagrams(void **state)
{
    (void)state;
    uint8_t out[64];
    uint64_t counter = 0;
    kith_addr addr, got;
    kith_relay_write_bind(bytes, 0x0102, out);
    test_equal_hex(out, KITH_RELAY_BIND_SIZE, "05000102030405060708090a0b0c0d0e0f0000000000000102");
    assert_ptr_equal(kith_relay_read_bind(out, KITH_RELAY_BIND_SIZE, &counter), out + 1);
    assert_int_equal(counter, 0x0102);
    assert_null(kith_relay_read_bind(out, KITH_RELAY_BIND_SIZE - 1, &counter));
    assert_null(kith_relay_read_bind(out, KITH_RELAY_BIND_SIZE + 1, &counter));
    assert_null(kith_relay_read_packet_head(out, KITH_RELAY_BIND_SIZE));
    for (int v6 = 0; v6 < 2; v6++) {
        assert_ok(kith_addr_parse(v6 ? "[2001:db8::7]:9" : "192.0.2.7:9", &addr));
        size_t size = kith_relay_write_bound(7, &addr, out);
        assert_int_equal(size, v6 ? 27 : 15);
        assert_true(kith_relay_read_bound(out, size, &counter, &got));
        assert_true(counter == 7 && kith_addr_equal(&got, &addr));
        assert_false(kith_relay_read_bound(out, size - 1, &counter, &got));
        assert_false(kith_relay_read_bound(out, size + 1, &counter, &got));
        assert_null(kith_relay_read_bind(out, size, &counter));
    }
    assert_int_equal(kith_relay_write_bound(7, &(kith_addr){0}, out), 0);
    kith_relay_write_packet_head(bytes, out);
    assert_null(kith_relay_read_packet_head(out, KITH_RELAY_PACKET_HEAD));
    assert_ptr_equal(kith_relay_read_packet_head(out, KITH_RELAY_PACKET_HEAD + 1), out + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(known_bytes),      TEST(registered_survives),
                                       TEST(connect_survives), TEST(cut_or_longer),
                                       TEST(runs_have_bounds), TEST(strict),
                                       TEST(authorities),      TEST(datagrams)};
    return cmocka_run_group_tests_name("wire/relay", tests, setup, NULL);
}
