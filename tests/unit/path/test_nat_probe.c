/* The questions themselves: when they are asked and what counts as an answer.  Against NATs: sim/test_doctor_nats.c. */
#include "path/nat_probe.h"

#include "testlib.h"

#include <stdio.h>
#include <string.h>

#define MS  UINT64_C(1000000)
#define OWN "192.168.1.10"

static kith_nat_probe p;
static uint64_t now;

static kith_addr at(const char *text)
{
    kith_addr addr;
    assert_ok(kith_addr_parse(text, &addr));
    return addr;
}

static int set_up(void **state)
{
    static uint8_t random[KITH_NAT_RANDOM_SIZE];
    const uint16_t ports[KITH_NAT_SOCKETS] = {5000, 5001, 5002};
    const kith_addr own = at(OWN);
    (void)state;
    now = 1000 * MS;
    for (size_t i = 0; i < sizeof random; i++) random[i] = (uint8_t)(i / KITH_STUN_ID_SIZE + 1);
    kith_nat_probe_init(&p, &own, 1, ports, random);
    return 0;
}

static size_t add(const char *server)
{
    size_t index;
    kith_addr addr = at(server);
    assert_ok(kith_nat_probe_add(&p, &addr, now, &index));
    return index;
}

/* What is due now must be just one. */
static kith_nat_send next(void)
{
    static kith_nat_send none;
    kith_nat_send send;
    assert_true(kith_nat_probe_output(&p, &send, now));
    assert_false(kith_nat_probe_output(&p, &none, now));
    return send;
}

static void wait_for_deadline(void)
{
    assert_true(kith_nat_probe_deadline_ns(&p) != UINT64_MAX);
    now = kith_nat_probe_deadline_ns(&p);
    kith_nat_probe_expire(&p, now);
}

static size_t answer_to(const kith_nat_send *send, const char *seen, uint8_t out[static KITH_STUN_ANSWER_MAX])
{
    kith_stun_message request;
    kith_addr from = at(seen);
    assert_ok(kith_stun_read(send->data, send->size, &request));
    assert_int_equal(request.type, KITH_STUN_REQUEST);
    assert_int_equal(request.unknown_count, 0);
    return kith_stun_answer(&request, &from, out);
}

static void answer(const kith_nat_send *send, const char *seen)
{
    uint8_t out[KITH_STUN_ANSWER_MAX];
    size_t size = answer_to(send, seen, out);
    kith_nat_probe_input(&p, send->socket, &send->to, out, size, now);
}

/* Ask all, and have each answered as seen there. */
static void ask_all(const char *const (*servers)[2])
{
    (void)set_up(NULL);
    for (size_t i = 0; servers[i][0]; i++) (void)add(servers[i][0]);
    for (size_t i = 0; servers[i][0]; i++) {
        now = kith_nat_probe_deadline_ns(&p);
        kith_nat_send send = next();
        kith_addr to = at(servers[i][0]);
        assert_true(kith_addr_equal(&send.to, &to));
        answer(&send, servers[i][1]);
    }
}

/* ---- */

static void asked_again_and_given_up(void **state)
{
    static const uint64_t waits[KITH_NAT_TRIES] = {500 * MS, 1000 * MS, 2000 * MS, 2000 * MS};
    (void)state;
    size_t index = add("203.0.113.1:3478");
    kith_nat_probe_complete(&p, now);
    uint8_t id[KITH_STUN_ID_SIZE];
    for (size_t i = 0; i < KITH_NAT_TRIES; i++) {
        kith_nat_send send = next();
        assert_int_equal(send.size, KITH_STUN_REQUEST_SIZE);
        if (!i) memcpy(id, send.data + 8, sizeof id);
        assert_memory_equal(send.data + 8, id, sizeof id); /* RFC 8489 section 6.2.1: the same question */
        assert_true(kith_nat_probe_deadline_ns(&p) == now + waits[i]);
        assert_false(kith_nat_probe_over(&p));
        wait_for_deadline();
    }
    assert_true(kith_nat_probe_over(&p));
    assert_true(kith_nat_probe_deadline_ns(&p) == UINT64_MAX);
    assert_int_equal(kith_nat_probe_server(&p, index)->state, KITH_NAT_SILENT);
    assert_int_equal(kith_nat_probe_translated(&p, KITH_FAMILY_IPV4), KITH_NAT_UNKNOWN);
    assert_int_equal(kith_nat_probe_sizes(&p).largest, 0);
}

static void what_is_no_answer(void **state)
{
    uint8_t out[KITH_STUN_ANSWER_MAX + 1];
    (void)state;
    size_t index = add("203.0.113.1:3478");
    kith_nat_send send = next();
    size_t size = answer_to(&send, "198.51.100.7:5000", out);
    kith_addr other_port = at("203.0.113.1:3479"), other = at("203.0.113.2:3478");
    kith_nat_probe_input(&p, 0, &other_port, out, size, now);
    kith_nat_probe_input(&p, 0, &other, out, size, now);
    kith_nat_probe_input(&p, 1, &send.to, out, size, now); /* another socket */
    kith_nat_probe_input(&p, 0, &send.to, out, size - 4, now);
    kith_nat_probe_input(&p, 0, &send.to, send.data, send.size, now); /* the question, come back */
    kith_nat_probe_input(&p, 0, &send.to, out, 0, now);
    out[8] ^= 1; /* another id */
    kith_nat_probe_input(&p, 0, &send.to, out, size, now);
    out[8] ^= 1;
    uint8_t six[KITH_STUN_ANSWER_MAX];
    size_t size_six = answer_to(&send, "[2001:db8::7]:5000", six);
    kith_nat_probe_input(&p, 0, &send.to, six, size_six, now); /* a family that was not asked over */
    size_t size_zero = answer_to(&send, "198.51.100.7:0", six);
    kith_nat_probe_input(&p, 0, &send.to, six, size_zero, now);
    assert_int_equal(kith_nat_probe_server(&p, index)->state, KITH_NAT_ASKING);
    now += 7 * MS;
    kith_nat_probe_input(&p, 0, &send.to, out, size, now);
    assert_int_equal(kith_nat_probe_server(&p, index)->state, KITH_NAT_ANSWERED);
    assert_true(kith_nat_probe_server(&p, index)->rtt_ns == 7 * MS);
    size = answer_to(&send, "198.51.100.8:5000", out); /* a second answer changes nothing */
    kith_nat_probe_input(&p, 0, &send.to, out, size, now);
    kith_addr seen = at("198.51.100.7:5000");
    assert_true(kith_addr_equal(&kith_nat_probe_server(&p, index)->mapped, &seen));
}

/* Which of two questions was answered cannot be told. */
static void no_round_trip_of_a_repeated_question(void **state)
{
    (void)state;
    size_t index = add("203.0.113.1:3478");
    (void)next();
    wait_for_deadline();
    kith_nat_send send = next();
    answer(&send, OWN ":5000");
    assert_int_equal(kith_nat_probe_server(&p, index)->state, KITH_NAT_ANSWERED);
    assert_true(kith_nat_probe_server(&p, index)->rtt_ns == 0);
    assert_int_equal(kith_nat_probe_translated(&p, KITH_FAMILY_IPV4), KITH_NAT_NO);
}

static void mapping_by_what_servers_saw(void **state)
{
    static const struct {
        kith_nat_by is;
        const char *servers[4][2];
    } cases[] = {
        {KITH_NAT_BY_UNKNOWN, {{"203.0.113.1:1", "198.51.100.7:9"}}},
        {KITH_NAT_BY_UNKNOWN, {{"203.0.113.1:1", "198.51.100.7:9"}, {"203.0.113.1:2", "198.51.100.7:9"}}},
        {KITH_NAT_BY_NOTHING, {{"203.0.113.1:1", "198.51.100.7:9"}, {"203.0.113.2:1", "198.51.100.7:9"}}},
        {KITH_NAT_BY_ADDRESS_MAYBE_PORT, {{"203.0.113.1:1", "198.51.100.7:9"}, {"203.0.113.2:1", "198.51.100.7:8"}}},
        {KITH_NAT_BY_ADDRESS_AND_PORT, {{"203.0.113.1:1", "198.51.100.7:9"}, {"203.0.113.1:2", "198.51.100.7:8"}}},
        {KITH_NAT_BY_ADDRESS,
         {{"203.0.113.1:1", "198.51.100.7:9"},
          {"203.0.113.1:2", "198.51.100.7:9"},
          {"203.0.113.2:1", "198.51.100.7:8"}}},
        {KITH_NAT_BY_ADDRESS_AND_PORT,
         {{"203.0.113.1:1", "198.51.100.7:9"},
          {"203.0.113.1:2", "198.51.100.7:8"},
          {"203.0.113.2:1", "198.51.100.7:7"}}},
        {KITH_NAT_BY_UNKNOWN, {{"203.0.113.1:1", "198.51.100.7:9"}, {"[2001:db8::1]:1", "[2001:db8::7]:8"}}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask_all(cases[i].servers);
        if (kith_nat_probe_mapping(&p, KITH_FAMILY_IPV4) != cases[i].is) fail_msg("case %zu", i);
    }
}

/* What a server of ours says to a question in RFC 5780's form; one that knows nothing of it, to `ignorant`. */
static void answer_elsewhere(const kith_nat_send *send, const char *seen, size_t socket, const char *from,
                             bool ignorant)
{
    uint8_t out[KITH_STUN_ANSWER_MAX];
    kith_stun_message request;
    kith_addr mapped = at(seen), source = at(from);
    assert_ok(kith_stun_read(send->data, send->size, &request));
    assert_int_equal(request.unknown_count, 2);
    if (!ignorant) {
        kith_stun_understand(&request, KITH_STUN_CHANGE_REQUEST);
        kith_stun_understand(&request, KITH_STUN_RESPONSE_PORT);
    }
    size_t size = kith_stun_answer(&request, &mapped, out);
    kith_nat_probe_input(&p, socket, &source, out, size, now);
}

static const char *const two_servers[][2] = {
    {"203.0.113.1:1", "198.51.100.7:5000"}, {"203.0.113.2:1", "198.51.100.7:5000"}, {NULL, NULL}};

/* Up to where the strangers are asked for: both servers know RFC 5780, or none does. */
static void prove(bool ours)
{
    kith_nat_send send;
    ask_all(two_servers);
    kith_nat_probe_complete(&p, now);
    for (size_t i = 0; i < 2; i++) {
        assert_true(kith_nat_probe_output(&p, &send, now));
        assert_int_equal(send.size, KITH_STUN_ELSEWHERE_SIZE);
        answer_elsewhere(&send, "198.51.100.7:5000", 0, two_servers[i][0], !ours);
    }
}

static void sizes_and_sockets(void **state)
{
    size_t sizes = 0, others = 0;
    kith_nat_send send;
    (void)state;
    prove(false);
    while (kith_nat_probe_output(&p, &send, now)) {
        others += send.socket != 0;
        if (send.size == KITH_STUN_REQUEST_SIZE) {
            answer(&send, send.socket == 1 ? "198.51.100.7:5001" : "198.51.100.7:5002");
            continue;
        }
        assert_int_equal(send.socket, 0);
        assert_true(send.size + 28 <= KITH_NAT_MTU_ANY); /* whoever that is, it need not take more */
        sizes++;
        if (send.size == KITH_NAT_QUIC_SIZE) answer(&send, "198.51.100.7:5000");
    }
    assert_int_equal(sizes, 2);
    assert_int_equal(others, KITH_NAT_SOCKETS - 1);
    assert_int_equal(kith_nat_probe_keeps_ports(&p), KITH_NAT_YES);
    assert_int_equal(kith_nat_probe_filtering(&p), KITH_NAT_BY_UNKNOWN);
    assert_false(kith_nat_probe_over(&p)); /* the larger one is asked again */
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++) kith_nat_probe_unsendable(&p, i, now);
    assert_int_equal(kith_nat_probe_hairpin(&p), KITH_NAT_NO); /* ... and then all of the knocks were */
    assert_true(kith_nat_probe_over(&p));
    kith_nat_sizes found = kith_nat_probe_sizes(&p);
    assert_true(found.largest == KITH_NAT_QUIC_SIZE && found.mtu == 1228 && !found.exact);
}

/* Each size, by which way is it found, and with how many questions. */
static void every_size_is_found(void **state)
{
    (void)state;
    for (size_t most = KITH_STUN_ELSEWHERE_SIZE; most <= KITH_NAT_SIZE_MAX; most += most < 1600 ? 4 : 508) {
        size_t asked = 0;
        kith_nat_send send;
        prove(true);
        while (!kith_nat_probe_over(&p)) {
            while (kith_nat_probe_output(&p, &send, now)) {
                if (send.size > KITH_STUN_ELSEWHERE_SIZE) asked++;
                if (send.socket == 0 && send.size > KITH_STUN_ELSEWHERE_SIZE && send.size <= most)
                    answer(&send, "198.51.100.7:5000");
            }
            wait_for_deadline();
        }
        kith_nat_sizes found = kith_nat_probe_sizes(&p);
        if (found.largest != most || found.mtu != most + 28 || found.exact != (most < KITH_NAT_SIZE_MAX))
            fail_msg("%zu: %zu, %d", most, found.largest, found.exact);
        assert_true(asked <= (size_t)KITH_NAT_SIZE_ROUNDS * KITH_NAT_SIZES * KITH_NAT_KNOCK_TRIES);
    }
}

/* Who is let in, by what two servers of ours tell. */
static void strangers(void **state)
{
    static const struct {
        bool port, address;
        kith_nat_by is;
    } cases[] = {{false, false, KITH_NAT_BY_ADDRESS_AND_PORT},
                 {true, false, KITH_NAT_BY_ADDRESS},
                 {true, true, KITH_NAT_BY_NOTHING}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kith_nat_send send;
        size_t seen = 0;
        prove(true);
        while (!kith_nat_probe_over(&p)) {
            while (kith_nat_probe_output(&p, &send, now)) {
                kith_stun_message m;
                if (send.socket && send.size == KITH_STUN_REQUEST_SIZE && send.to.port == 1) {
                    answer(&send, send.socket == 1 ? "198.51.100.7:5001" : "198.51.100.7:5002");
                } else if (send.size == KITH_STUN_ELSEWHERE_SIZE) {
                    assert_ok(kith_stun_read(send.data, send.size, &m));
                    bool port = m.change == KITH_STUN_CHANGE_PORT;
                    assert_int_equal(m.response_port, port ? 5000 : 5001);
                    seen++;
                    /* from where it was asked it proves nothing, nor at another socket */
                    if (port) answer_elsewhere(&send, "198.51.100.7:5000", 0, "203.0.113.1:1", false);
                    if (port) answer_elsewhere(&send, "198.51.100.7:5000", 0, "203.0.113.3:9", false);
                    if (!port) answer_elsewhere(&send, "198.51.100.7:5000", 0, "203.0.113.2:1", false);
                    if (port && cases[i].port) answer_elsewhere(&send, "198.51.100.7:5000", 0, "203.0.113.1:9", false);
                    if (!port && cases[i].address)
                        answer_elsewhere(&send, "198.51.100.7:5000", 1,
                                         kith_addr_same_ip(
                                             &send.to, &(kith_addr){.family = KITH_FAMILY_IPV4, .ip = {203, 0, 113, 1}})
                                             ? "203.0.113.1:1"
                                             : "203.0.113.2:1",
                                         false);
                }
            }
            if (!kith_nat_probe_over(&p)) wait_for_deadline();
        }
        assert_true(seen >= 2);
        assert_int_equal(kith_nat_probe_filtering(&p), cases[i].is);
    }
}

static void servers_have_a_limit(void **state)
{
    char text[32];
    size_t index;
    (void)state;
    for (unsigned i = 0; i < KITH_NAT_SERVERS_MAX; i++) {
        snprintf(text, sizeof text, "203.0.113.%u:1", i + 1);
        assert_int_equal(add(text), i);
    }
    assert_int_equal(add("203.0.113.2:1"), 1); /* there already */
    kith_addr more = at("203.0.113.200:1"), any = at("0.0.0.0:1"), portless = at("203.0.113.200");
    assert_int_equal(kith_nat_probe_add(&p, &more, now, &index), KITH_ERR_LIMIT);
    assert_int_equal(kith_nat_probe_add(&p, &any, now, &index), KITH_ERR_ARG);
    assert_int_equal(kith_nat_probe_add(&p, &portless, now, &index), KITH_ERR_ARG);
    kith_nat_probe_complete(&p, now);
    assert_int_equal(kith_nat_probe_add(&p, &more, now, &index), KITH_ERR_STATE);
}

int main(void)
{
#define PROBE(function) cmocka_unit_test_setup_teardown(function, set_up, NULL)
    const struct CMUnitTest tests[] = {
        PROBE(asked_again_and_given_up),
        PROBE(what_is_no_answer),
        PROBE(no_round_trip_of_a_repeated_question),
        PROBE(mapping_by_what_servers_saw),
        PROBE(sizes_and_sockets),
        PROBE(every_size_is_found),
        PROBE(strangers),
        PROBE(servers_have_a_limit),
    };
    return cmocka_run_group_tests_name("path/nat_probe", tests, NULL, NULL);
}
