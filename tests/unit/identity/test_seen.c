#include "base/mem.h"
#include "identity/envelope.h"
#include "identity/seen.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t *number(unsigned n)
{
    static uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    memset(fingerprint, 0, sizeof fingerprint);
    memcpy(fingerprint, &n, sizeof n);
    return fingerprint;
}

static kith_addr at(const char *text)
{
    kith_addr addr;
    assert_ok(kith_addr_parse(text, &addr));
    return addr;
}

static kith_seen *some(void)
{
    kith_seen *seen;
    kith_addr a = at("192.0.2.1:443"), b = at("[2001:db8::1]:7000"), c = at("[fe80::1%3]:7000");
    assert_ok(kith_seen_new(&seen));
    assert_ok(kith_seen_note(seen, number(1), &a, 1000));
    assert_ok(kith_seen_note(seen, number(1), &b, 2000));
    assert_ok(kith_seen_note(seen, number(2), NULL, 500));
    assert_ok(kith_seen_note(seen, number(3), &c, 1795490963123));
    return seen;
}

static void the_latest_four(void **state)
{
    (void)state;
    kith_seen *seen;
    static const char *addrs[] = {"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4", "192.0.2.1:5"};
    assert_ok(kith_seen_new(&seen));
    assert_null(kith_seen_find(seen, number(1)));
    for (size_t i = 0; i < 5; i++) {
        kith_addr addr = at(addrs[i]);
        assert_ok(kith_seen_note(seen, number(1), &addr, 100 + (int64_t)i));
    }
    const kith_seen_peer *peer = kith_seen_find(seen, number(1));
    assert_int_equal(peer->last_seen_ms, 104);
    assert_int_equal(peer->addr_count, 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(peer->addrs[i].port, 5 - i);
    kith_addr again = at("192.0.2.1:3"); /* known: comes first, nothing is lost */
    assert_ok(kith_seen_note(seen, number(1), &again, 50));
    assert_int_equal(peer->last_seen_ms, 104); /* time does not go back */
    assert_int_equal(peer->addr_count, 4);
    static const uint16_t order[] = {3, 5, 4, 2};
    for (size_t i = 0; i < 4; i++) assert_int_equal(peer->addrs[i].port, order[i]);
    static const char *useless[] = {"192.0.2.9:0", "0.0.0.0:5", "[::]:5"};
    for (size_t i = 0; i < 3; i++) {
        kith_addr addr = at(useless[i]);
        assert_ok(kith_seen_note(seen, number(1), &addr, 105));
    }
    kith_addr none = {.port = 5};
    assert_ok(kith_seen_note(seen, number(1), &none, 106));
    assert_int_equal(peer->addrs[0].port, 3);
    assert_int_equal(peer->last_seen_ms, 106);
    kith_seen_forget(seen, number(1));
    kith_seen_forget(seen, number(1));
    assert_null(kith_seen_find(seen, number(1)));
    assert_int_equal(kith_seen_count(seen), 0);
    kith_seen_free(seen);
}

static void the_oldest_makes_room(void **state)
{
    (void)state;
    kith_seen *seen, *again;
    kith_reason reason;
    uint8_t *data;
    size_t size;
    assert_ok(kith_seen_new(&seen));
    for (unsigned n = 0; n < KITH_SEEN_PEERS_MAX; n++) {
        for (unsigned a = 0; a < 4; a++) {
            kith_addr addr = at("[fe80::1%4294967295]:65535");
            addr.ip[15] = (uint8_t)(a + 1);
            assert_ok(kith_seen_note(seen, number(n), &addr, INT64_MAX - (n == 77 ? 10 : 1)));
        }
    }
    assert_ok(kith_seen_encode(seen, &data, &size)); /* the largest there can be */
    assert_true(size <= KITH_SEEN_FILE_MAX);
    assert_ok(kith_seen_decode(data, size, &again, &reason));
    assert_int_equal(kith_seen_count(again), KITH_SEEN_PEERS_MAX);
    assert_int_equal(kith_seen_find(again, number(5))->addr_count, 4);
    kith_seen_free(again);
    kith_free(data);
    assert_ok(kith_seen_note(seen, number(100000), NULL, 5));
    assert_int_equal(kith_seen_count(seen), KITH_SEEN_PEERS_MAX);
    assert_null(kith_seen_find(seen, number(77)));
    assert_non_null(kith_seen_find(seen, number(78)));
    assert_int_equal(kith_seen_find(seen, number(100000))->addr_count, 0);
    kith_seen_free(seen);
}

static void there_and_back(void **state)
{
    (void)state;
    kith_seen *seen = some(), *again;
    uint8_t *data, *second;
    size_t size, second_size;
    kith_reason reason;
    assert_ok(kith_seen_encode(seen, &data, &size));
    assert_ok(kith_seen_decode(data, size, &again, &reason));
    assert_int_equal(kith_seen_count(again), 3);
    for (unsigned n = 1; n <= 3; n++) {
        const kith_seen_peer *p = kith_seen_find(seen, number(n)), *q = kith_seen_find(again, number(n));
        assert_int_equal(p->last_seen_ms, q->last_seen_ms);
        assert_int_equal(p->addr_count, q->addr_count);
        for (size_t i = 0; i < p->addr_count; i++) {
            assert_true(kith_addr_equal(&p->addrs[i], &q->addrs[i]));
            assert_int_equal(p->addrs[i].scope, q->addrs[i].scope);
        }
    }
    assert_ok(kith_seen_encode(again, &second, &second_size));
    assert_int_equal(size, second_size);
    assert_memory_equal(data, second, size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = kith_memdup(data, cut);
        assert_int_equal(kith_seen_decode(part, cut, &seen, &reason), KITH_ERR_DAMAGED);
        kith_free(part);
    }
    for (size_t i = 0; i < size * 8; i++) {
        data[i / 8] ^= (uint8_t)(1 << i % 8);
        kith_err err = kith_seen_decode(data, size, &seen, &reason);
        assert_true(err == KITH_ERR_DAMAGED || (err == KITH_ERR_VERSION && i / 8 == 1));
        data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    kith_free(data);
    kith_free(second);
    kith_seen_free(seen);
    kith_seen_free(again);
}

/* One peer with these addresses in hex, in a body whose checksum fits. */
static kith_err with_addrs(const char *count_hex, const char *hex)
{
    uint8_t body[256], *data;
    size_t size;
    kith_seen *seen = NULL;
    kith_reason reason;
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_array(&w, 1);
    kith_cbor_write_array(&w, 3);
    kith_cbor_write_bytes(&w, number(1), 32);
    kith_cbor_write_int(&w, 5);
    test_bytes count = test_unhex(count_hex), rest = test_unhex(hex);
    kith_write_bytes(&w, count.data, count.size);
    kith_write_bytes(&w, rest.data, rest.size);
    assert_ok(kith_envelope_make(KITH_SEEN_CONTEXT, 1, body, kith_writer_size(&w), &data, &size));
    kith_err err = kith_seen_decode(data, size, &seen, &reason);
    test_bytes_free(&count);
    test_bytes_free(&rest);
    kith_seen_free(seen);
    kith_free(data);
    return err;
}

static void addresses_that_break_a_rule(void **state)
{
    (void)state;
    assert_ok(with_addrs("80", ""));
    assert_ok(with_addrs("81", "83010044c0000201"));
    assert_ok(with_addrs("81", "8319ffff0250fe800000000000000000000000000001"));
    static const char *bad[][2] = {
        {"81", "83000044c0000201"},         /* port 0 */
        {"81", "831a000100000044c0000201"}, /* port 65,536 */
        {"81", "83010244c0000201"},         /* a scope for IPv4 */
        {"81", "8301024420010db8"},         /* the same */
        {"81", "83010250"
               "20010db8000000000000000000000001"}, /* a scope for a global address */
        {"81", "83011b0000000100000000"
               "50fe800000000000000000000000000001"}, /* a scope beyond 32 bits */
        {"81", "83010050"
               "00000000000000000000ffffc0000201"}, /* mapped */
        {"81", "83010045c000020101"},               /* 5 bytes */
        {"81", "83010040"},                         /* none */
        {"81", "83010044"
               "00000000"},                                                                         /* any */
        {"81", "820100"},                                                                           /* too few items */
        {"82", "83010044c000020183010044c0000201"},                                                 /* twice the same */
        {"85", "83010044c000020183020044c000020183030044c000020183040044c000020183050044c0000201"}, /* five */
        {"81", "83010044c0000201"
               "00"}, /* something behind */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (with_addrs(bad[i][0], bad[i][1]) != KITH_ERR_DAMAGED) fail_msg("accepted: %s", bad[i][1]);
}

static int all_of_it(void *arg)
{
    (void)arg;
    kith_seen *seen = NULL, *again = NULL;
    uint8_t *data = NULL;
    size_t size;
    kith_reason reason;
    kith_err err = kith_seen_new(&seen);
    for (unsigned n = 0; !err && n < 20; n++) err = kith_seen_note(seen, number(n), NULL, 5);
    if (!err) err = kith_seen_encode(seen, &data, &size);
    if (!err) err = kith_seen_decode(data, size, &again, &reason);
    kith_free(data);
    kith_seen_free(seen);
    kith_seen_free(again);
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    test_every_allocation(all_of_it, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_latest_four),     TEST(the_oldest_makes_room), TEST(there_and_back), TEST(addresses_that_break_a_rule),
        TEST(failing_allocations),
    };
    return cmocka_run_group_tests_name("identity/seen", tests, NULL, NULL);
}
