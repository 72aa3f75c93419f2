#include "wire/stun.h"

#include "testlib.h"

#include <string.h>

static const uint8_t id[KITH_STUN_ID_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

/* RFC 5769: every message is read, its fingerprint right; any changed byte is noticed where there is one. */
static void rfc5769(void **state)
{
    (void)state;
    json_t *root = test_vectors("stun_rfc5769.json"), *one;
    size_t i, ran = 0;
    json_array_foreach (json_object_get(root, "cases"), i, one) {
        test_bytes b = test_hex_of(one, "message"), want_id = test_hex_of(one, "transaction_id");
        kith_stun_message m;
        bool has = json_is_true(json_object_get(json_object_get(one, "checked"), "fingerprint"));
        json_t *mapped = json_object_get(one, "mapped");
        assert_ok(kith_stun_read(b.data, b.size, &m));
        assert_int_equal(m.fingerprint, has);
        assert_memory_equal(m.id, want_id.data, KITH_STUN_ID_SIZE);
        assert_true(m.integrity_at > 0);
        if (mapped) {
            kith_addr want;
            assert_ok(kith_addr_parse(test_str(mapped, "ip"), &want));
            want.port = (uint16_t)json_integer_value(json_object_get(mapped, "port"));
            assert_true(kith_addr_equal(&m.mapped, &want));
        }
        for (size_t at = 0; has && at < b.size; at++) {
            if (at == b.size - 8 || at == b.size - 7) continue; /* which make it another attribute */
            b.data[at] ^= 1;
            if (kith_stun_read(b.data, b.size, &m) != KITH_ERR_FORMAT) fail_msg("byte %zu changed, and taken", at);
            b.data[at] ^= 1;
        }
        for (size_t cut = 0; cut < b.size; cut++) assert_int_equal(kith_stun_read(b.data, cut, &m), KITH_ERR_FORMAT);
        test_bytes_free(&b);
        test_bytes_free(&want_id);
        ran++;
    }
    test_ran("stun_rfc5769.json", ran);
    json_decref(root);
}

/* RFC 5769 2.3's address, which the vectors above leave out. */
static void both_families(void **state)
{
    (void)state;
    static const char *const addrs[] = {"192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"};
    for (size_t i = 0; i < 2; i++) {
        uint8_t request[KITH_STUN_REQUEST_SIZE], out[KITH_STUN_ANSWER_MAX];
        kith_stun_message m, answer;
        kith_addr from;
        assert_ok(kith_addr_parse(addrs[i], &from));
        kith_stun_write_request(id, request);
        assert_ok(kith_stun_read(request, sizeof request, &m));
        size_t size = kith_stun_answer(&m, &from, out);
        assert_int_equal(size, i ? 44 : 32);
        assert_ok(kith_stun_read(out, size, &answer));
        assert_int_equal(answer.type, KITH_STUN_SUCCESS);
        assert_memory_equal(answer.id, id, sizeof id);
        assert_true(kith_addr_equal(&answer.mapped, &from));
        assert_int_equal(kith_stun_answer(&answer, &from, out), 0); /* an answer is not answered */
    }
}

static size_t with_attribute(uint16_t type, size_t length, uint8_t *out)
{
    kith_stun_write_request(id, out);
    size_t size = KITH_STUN_HEADER + 4 + ((length + 3) & ~(size_t)3);
    memset(out + KITH_STUN_HEADER, 0, size - KITH_STUN_HEADER);
    out[3] = (uint8_t)(size - KITH_STUN_HEADER);
    out[20] = (uint8_t)(type >> 8), out[21] = (uint8_t)type;
    out[22] = (uint8_t)(length >> 8), out[23] = (uint8_t)length;
    return size;
}

static void what_is_not_understood(void **state)
{
    (void)state;
    uint8_t request[128], out[KITH_STUN_ANSWER_MAX];
    kith_stun_message m;
    kith_addr from;
    assert_ok(kith_addr_parse("192.0.2.1:1", &from));
    assert_ok(kith_stun_read(request, with_attribute(0x0003, 4, request), &m)); /* CHANGE-REQUEST, RFC 5780 */
    assert_int_equal(m.unknown_count, 1);
    size_t size = kith_stun_answer(&m, &from, out);
    test_equal_hex(out, size, "011100102112a4420102030405060708090a0b0c0009000400000414000a000200030000");
    assert_ok(kith_stun_read(out, size, &m));
    assert_int_equal(m.error, 420);
    assert_ok(kith_stun_read(request, with_attribute(0x8022, 5, request), &m)); /* SOFTWARE may be ignored */
    assert_int_equal(m.unknown_count, 0);
}

/* RFC 5780's attributes: not understood but by who says so, byte for byte. */
static void elsewhere(void **state)
{
    static const uint8_t tail[] = {0, 3, 0, 4, 0, 0, 0, 2, 0, 0x27, 0, 4, 0x12, 0x34, 0, 0};
    const kith_addr from = {.family = KITH_FAMILY_IPV4, .ip = {192, 0, 2, 1}, .port = 9};
    uint8_t b[KITH_STUN_ELSEWHERE_SIZE], out[KITH_STUN_ANSWER_MAX];
    kith_stun_message m, said;
    (void)state;
    kith_stun_write_elsewhere(id, true, 0x1234, b);
    assert_memory_equal(b + KITH_STUN_HEADER, tail, sizeof tail);
    assert_ok(kith_stun_read(b, sizeof b, &m));
    assert_true(m.change == KITH_STUN_CHANGE_PORT && m.response_port == 0x1234 && m.unknown_count == 2);
    size_t size = kith_stun_answer(&m, &from, out);
    assert_true(size <= sizeof b); /* it makes no datagram larger */
    assert_ok(kith_stun_read(out, size, &said));
    assert_int_equal(said.error, 420);
    kith_stun_understand(&m, KITH_STUN_RESPONSE_PORT);
    assert_true(m.unknown_count == 1 && m.unknown[0] == KITH_STUN_CHANGE_REQUEST);
    kith_stun_understand(&m, KITH_STUN_CHANGE_REQUEST);
    size = kith_stun_answer(&m, &from, out);
    assert_ok(kith_stun_read(out, size, &said));
    assert_true(said.type == KITH_STUN_SUCCESS && size <= sizeof b);
    kith_stun_write_elsewhere(id, false, 1, b);
    assert_ok(kith_stun_read(b, sizeof b, &m));
    assert_true(m.change == 0 && m.response_port == 1);
    b[KITH_STUN_HEADER + 3] = 3; /* CHANGE-REQUEST of 3 bytes */
    assert_int_equal(kith_stun_read(b, sizeof b, &m), KITH_ERR_FORMAT);
}

static void damaged(void **state)
{
    (void)state;
    uint8_t b[128];
    kith_stun_message m;
    size_t size = with_attribute(KITH_STUN_XOR_MAPPED_ADDRESS, 8, b);
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* of no family */
    b[25] = 2;
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* IPv6 in four bytes */
    b[25] = 1;
    assert_ok(kith_stun_read(b, size, &m));
    b[23] = 200;
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* longer than the message */
    b[23] = 8;
    b[4] ^= 1;
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* no cookie */
    b[4] ^= 1;
    b[0] = 0x40;
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* QUIC's */
    b[0] = 0;
    b[1] = 3;
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* Allocate (TURN) */
    assert_false(kith_stun_is(b, KITH_STUN_HEADER - 1));
    size = with_attribute(KITH_STUN_FINGERPRINT, 4, b);
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* a wrong one */
    size = with_attribute(KITH_STUN_MESSAGE_INTEGRITY, 16, b);
    assert_int_equal(kith_stun_read(b, size, &m), KITH_ERR_FORMAT); /* not of its size */
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(rfc5769), TEST(both_families), TEST(what_is_not_understood),
                                       TEST(elsewhere), TEST(damaged)};
    return cmocka_run_group_tests_name("wire/stun", tests, NULL, NULL);
}
