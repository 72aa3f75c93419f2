/* Examples of every CBOR message, as our code writes them and reads them again: "message RULE HEX" on standard output.
 * script/check-cddl compares them with docs/kith.cddl. */
#include "service/control.h"
#include "service/daemon.h"
#include "service/file_message.h"
#include "service/pairing.h"
#include "service/talk.h"
#include "service/trust_message.h"
#include "wire/cbor.h"
#include "wire/relay.h"

#include "base/buf.h"
#include "base/mem.h"
#include "identity/backup.h"
#include "identity/fingerprint.h"
#include "identity/graph.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS 7 /* of pairing messages */
static const char *const pair_rules[KINDS + 1] = {
    "", "pair-start", "pair-share", "pair-proof", "pair-answer", "pair-identity", "pair-stored", "pair-fail"};
static const char *const trust_rules[] = {"",
                                          "trust-found",
                                          "trust-admit",
                                          "trust-revoke",
                                          "trust-describe",
                                          "trust-deposit",
                                          "trust-reset",
                                          "trust-replace",
                                          "trust-accept"};
static const uint8_t seeds[2][32] = {{1}, {2}}, hash[32] = {3}, random_bytes[2][64] = {{4}, {5}};
static kith_signer signers[2];
static kith_hello hellos[2];

static void say(const char *rule, const uint8_t *data, size_t size)
{
    char *hex = malloc(2 * size + 1);
    assert_non_null(hex);
    printf("message %s %s\n", rule, kith_hex(data, size, hex));
    free(hex);
}

static int setup(void **state)
{
    (void)state;
    assert_ok(kith_crypto_init());
    for (int i = 0; i < 2; i++) {
        signers[i].seed = seeds[i];
        signers[i].uuid[0] = (uint8_t)(i + 1);
        kith_ed25519_public(seeds[i], signers[i].public_key);
        kith_fingerprint(signers[i].uuid, signers[i].public_key, signers[i].fingerprint);
        memcpy(hellos[i].uuid, signers[i].uuid, sizeof hellos[i].uuid);
        memcpy(hellos[i].fingerprint, signers[i].fingerprint, sizeof hellos[i].fingerprint);
        memcpy(hellos[i].public_key, signers[i].public_key, sizeof hellos[i].public_key);
        assert_ok(kith_ed25519_public_to_x25519(hellos[i].public_key, hellos[i].noise_static));
        strcpy(hellos[i].name, i ? "laptop" : "\xc3\x84pfel");
        strcpy(hellos[i].os, "Linux");
    }
    return 0;
}

static void hello(void **state)
{
    (void)state;
    uint8_t out[KITH_MESSAGE_MAX], payload[KITH_MESSAGE_PAYLOAD_MAX];
    size_t size;
    for (int with = 0; with < 2; with++) {
        kith_hello self = hellos[0], got = {0};
        if (with) self.instance[7] = 1;
        memset(self.hardware_model, 'm', with ? KITH_HELLO_TEXT_MAX : 0);
        assert_ok(kith_hello_payload_write(&self, signers[0].public_key, payload, sizeof payload, &size));
        say("hello", payload, size);
        assert_ok(kith_hello_payload_read(payload, size, &got));
        assert_ok(kith_hello_write(&signers[0], &self, true, hash, out, sizeof out, &size));
        say("network-message", out, size);
        assert_ok(kith_hello_read(out, size, true, hash, self.noise_static, &got));
        assert_string_equal(got.name, self.name);
    }
}

/* type || length || map, any number of them */
static void say_pair(const uint8_t *data, size_t size, unsigned seen[KINDS + 1])
{
    kith_reader r = kith_reader_of(data, size);
    while (kith_reader_left(&r)) {
        uint64_t type = kith_read_varint(&r), length = kith_read_varint(&r);
        assert_in_range(type, 1, KINDS);
        const uint8_t *body = kith_read_view(&r, (size_t)length);
        assert_non_null(body);
        say(pair_rules[type], body, (size_t)length);
        seen[type]++;
    }
}

static void step(kith_pairing *pair)
{
    for (kith_pairing_event e; (e = kith_pairing_take_event(pair)) != KITH_PAIR_NOTHING;) {
        if (e == KITH_PAIR_STARTED) kith_pairing_go(pair);
        if (e == KITH_PAIR_PROVEN) kith_pairing_answer(pair, true);
        if (e == KITH_PAIR_PIN) kith_pairing_stored(pair, KITH_OK);
    }
}

static void pairing(void **state)
{
    (void)state;
    unsigned seen[KINDS + 1] = {0};
    char why[256];
    kith_words words;
    assert_ok(kith_words_parse("abandon ability able about above absent", &words, why, sizeof why));
    for (int fails = 0; fails < 2; fails++) {
        kith_pairing *pair[2];
        for (int i = 0; i < 2; i++)
            assert_ok(kith_pairing_new(&(kith_pairing_config){.host = i == 0,
                                                              .kind = fails ? KITH_PAIR_CONTACT : KITH_PAIR_OWN,
                                                              .words = &words,
                                                              .signer = &signers[i],
                                                              .self = &hellos[i],
                                                              .peer = &hellos[!i],
                                                              .handshake_hash = hash,
                                                              .random = random_bytes[i]},
                                       &pair[i]));
        if (fails) kith_pairing_fail(pair[0], KITH_ERR_CODE_EXPIRED);
        for (int turn = 0; turn < 12; turn++) {
            uint8_t out[KITH_PAIR_OUTPUT_MAX];
            bool fin;
            step(pair[(turn + 1) % 2]);
            size_t size = kith_pairing_output(pair[(turn + 1) % 2], out, sizeof out, &fin);
            say_pair(out, size, seen);
            kith_pairing_input(pair[turn % 2], out, size, fin);
            step(pair[turn % 2]);
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(kith_pairing_error(pair[i]), fails ? KITH_ERR_CODE_EXPIRED : KITH_OK);
            kith_pairing_free(pair[i]);
        }
    }
    for (int type = 1; type <= KINDS; type++) assert_true(seen[type] > 0);
}

/* What own devices say to each other of it; what is read of that is what was written. */
static void say_exchange(const kith_graph *g)
{
    static uint8_t out[KITH_TRUST_OUTPUT_MAX];
    kith_trust_message m;
    uint8_t ids[2][KITH_GRAPH_ID_SIZE];
    size_t list[2] = {0, 1}, taken, size;
    memcpy(ids[0], kith_graph_id(g, 0), sizeof ids[0]);
    memcpy(ids[1], kith_graph_id(g, 1), sizeof ids[1]);
    for (size_t count = 0; count < 3; count++) {
        size = kith_trust_write_heads(ids[0], (const uint8_t(*)[KITH_GRAPH_ID_SIZE])ids, count, out, sizeof out);
        say("trust-heads", out + 4, size - 4);
        assert_ok(kith_trust_parse(out + 4, size - 4, &m));
        assert_int_equal(m.kind, KITH_TRUST_HEADS);
        assert_int_equal(m.head_count, count);
        assert_memory_equal(m.heads, ids, count * sizeof ids[0]);
    }
    size = kith_trust_write_records(g, list, 2, out, &taken);
    say("trust-records", out + 4, size - 4);
    assert_ok(kith_trust_parse(out + 4, size - 4, &m));
    assert_int_equal(m.record_count, 2);
    assert_false(m.more);
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *want = kith_graph_bytes(g, i, &taken), *got = kith_trust_next_record(&m, &size);
        assert_non_null(got);
        assert_int_equal(size, taken);
        assert_memory_equal(got, want, size);
    }
    assert_null(kith_trust_next_record(&m, &size));
}

/* One of each kind, with what may be absent and without. */
static void graphs(void **state)
{
    (void)state;
    uint8_t code[KITH_RECOVERY_CODE_SIZE] = {6}, deposit[KITH_DEPOSIT_SIZE] = {7}, *file;
    size_t size;
    kith_recovery_public pair;
    kith_recovery_derive(code, &pair);
    kith_graph_entry entry[2];
    for (int i = 0; i < 2; i++)
        kith_graph_entry_make(signers[i].uuid, signers[i].public_key, hellos[i].name, "Linux", "", &entry[i]);
    for (int with = 0; with < 3; with++) {
        kith_graph *g;
        kith_graph_author a = {.seed = seeds[0], .self = &entry[0], .now_ms = with ? 1795000000000 : -1};
        assert_ok(kith_graph_new(&g));
        assert_ok(kith_graph_found(g, &a, with ? &pair : NULL, with > 1 ? deposit : NULL));
        assert_ok(kith_graph_admit(g, &a, &entry[1]));
        assert_ok(kith_graph_describe(g, &a));
        assert_ok(kith_graph_replace(g, &a, &pair));
        assert_ok(kith_graph_accept(g, &a, kith_graph_id(g, 3)));
        assert_ok(kith_graph_deposit(g, &a, kith_graph_id(g, 3), deposit));
        assert_ok(kith_graph_reset(g, &a, kith_graph_id(g, 3), code, &pair, entry, 2));
        assert_ok(kith_graph_revoke(g, &a, entry[1].fingerprint, with ? "sold" : ""));
        for (size_t i = 0; i < kith_graph_count(g); i++) {
            kith_record record;
            const uint8_t *bytes = kith_graph_bytes(g, i, &size);
            kith_graph_record(g, i, &record);
            say(record.kind == KITH_RECORD_RESET ? "trust-record-of-reset" : "trust-record", bytes, size);
            say(trust_rules[record.kind], record.body, record.body_size);
            if (record.kind != KITH_RECORD_RESET) continue;
            kith_cbor_reader r = kith_cbor_reader_of(record.roster, record.roster_size);
            for (size_t left = kith_cbor_read_array(&r); left > 0; left--) {
                const uint8_t *item = kith_cbor_read_item(&r, &size);
                say("trust-device", item, size);
            }
        }
        say_exchange(g);
        assert_ok(kith_graph_encode(g, &file, &size));
        say("graph-file", file, size);
        kith_free(file);
        kith_graph_free(g);
    }
}

/* The body of one message; what it is read into must be there. */
static void say_file(const char *rule, const uint8_t *data, size_t size, kith_file_inbox *inbox)
{
    kith_file_inbox_state state;
    kith_reader r = kith_reader_of(data, size);
    assert_true(size > 0);
    kith_read_varint(&r);
    size_t length = (size_t)kith_read_varint(&r);
    say(rule, kith_read_view(&r, length), length);
    assert_true(kith_reader_done(&r));
    kith_file_inbox_clear(inbox);
    assert_int_equal(kith_file_inbox_add(inbox, data, size, &state), size);
    assert_int_equal(state, KITH_FILE_INBOX_WHOLE);
}

static void files(void **state)
{
    (void)state;
    static kith_file_inbox inbox;
    static const int64_t times[] = {0, 1700000000000, -1, INT64_MIN, INT64_MAX};
    uint8_t out[KITH_FILE_OUTPUT_MAX], root[32] = {9}, got[32];
    kith_file_header header = {.tag = {7}, .hash = {8}}, header_got;
    kith_file_resume resume = {0}, resume_got;
    for (size_t i = 0; i < 5; i++) {
        memset(header.name, 'n', i == 4 ? KITH_FILE_NAME_MAX : i);
        header.modified_ms = times[i];
        header.executable = header.has_hash = i % 2;
        header.size = i == 3 ? KITH_FILE_SIZE_MAX : i;
        say_file("file-offer", out, kith_file_write_offer(&header, out, sizeof out), &inbox);
        assert_true(kith_file_read_offer(&inbox, &header_got));
        assert_true(header_got.modified_ms == times[i]);
    }
    kith_tree_init(&resume.tree);
    for (resume.groups = 0; resume.groups < 4; resume.groups++, kith_tree_add(&resume.tree, root)) {
        say_file("file-answer", out, kith_file_write_answer(&resume, out, sizeof out), &inbox);
        assert_true(kith_file_read_answer(&inbox, UINT64_C(9) << 20, &resume_got));
        assert_int_equal(resume_got.groups, resume.groups);
    }
    say_file("file-end", out, kith_file_write_root(KITH_FILE_MESSAGE_END, root, out, sizeof out), &inbox);
    assert_true(kith_file_read_root(&inbox, got));
    say_file("file-done", out, kith_file_write_root(KITH_FILE_MESSAGE_DONE, root, out, sizeof out), &inbox);
    assert_true(kith_file_read_root(&inbox, got));
    static const kith_err errors[] = {KITH_ERR_DECLINED, KITH_ERR_IO, KITH_ERR_NO_SPACE, KITH_ERR_EXISTS};
    for (size_t i = 0; i < 4; i++) {
        kith_err why, storage;
        say_file("file-abort", out, kith_file_write_abort(errors[i], out, sizeof out), &inbox);
        assert_true(kith_file_read_abort(&inbox, &why, &storage));
    }
}

/* One end's messages, said and handed to the other. */
static void talk_over(kith_talk *from, kith_talk *to, unsigned seen[7])
{
    static const char *const rules[7] = {"",   "talk-open",    "talk-accept", "talk-ended",
                                         NULL, "talk-confirm", "talk-finish"};
    const uint8_t *data;
    size_t size, rest = 0; /* of a MESSAGE, whose bytes follow its head */
    bool fin;
    while (kith_talk_output(from, &data, &size, &fin)) {
        if (rest) {
            assert_true(size <= rest);
            rest -= size;
            kith_talk_input(to, data, size, fin);
            continue;
        }
        if (size == 0) {
            kith_talk_input(to, data, size, fin);
            continue;
        }
        kith_reader r = kith_reader_of(data, size);
        uint64_t type = kith_read_varint(&r), length = kith_read_varint(&r);
        assert_true(!r.bad && type >= 1 && type <= 6);
        if (type == 4) rest = (size_t)length;
        const uint8_t *body = kith_read_view(&r, (size_t)length);
        if (rules[type] && body) {
            say(rules[type], body, (size_t)length);
            seen[type]++;
        }
        kith_talk_open open;
        kith_talk_inbox inbox = {.size = 0};
        size_t taken;
        if (type == 1) {
            assert_ok(kith_talk_open_read(&inbox, data, size, &taken, &open));
            assert_ok(kith_talk_begin(to, &open));
        } else {
            kith_talk_input(to, data, size, fin);
        }
    }
}

static void talks(void **state)
{
    (void)state;
    static const uint8_t id[KITH_TALK_ID_SIZE] = {7};
    uint8_t ended[KITH_TALK_CONTROL_MAX];
    unsigned seen[7] = {0};
    kith_talk *ends[2];
    for (int i = 0; i < 2; i++) assert_ok(kith_talk_new(i == 0, id, "chat", &ends[i]));
    assert_ok(kith_talk_begin(ends[0], NULL));
    kith_talk_message *message = kith_talk_message_new("hello", 5);
    assert_non_null(message);
    assert_ok(kith_talk_send(ends[0], message));
    kith_talk_finish(ends[0]);
    for (int turn = 0; turn < 10; turn++) {
        talk_over(ends[turn % 2], ends[!(turn % 2)], seen);
        kith_talk_message *got = kith_talk_take(ends[!(turn % 2)]);
        if (got) kith_talk_taken(ends[!(turn % 2)], 1, got->size);
        kith_free(got);
    }
    size_t size = kith_talk_ended_write(KITH_ERR_CLOSED, ended, sizeof ended);
    kith_reader r = kith_reader_of(ended, size);
    assert_int_equal(kith_read_varint(&r), 3);
    size_t length = (size_t)kith_read_varint(&r);
    say("talk-ended", kith_read_view(&r, length), length);
    assert_true(seen[1] && seen[2] && seen[5] && seen[6]);
    for (int i = 0; i < 2; i++) kith_talk_free(ends[i]);
}

static void relay_message(const char *rule, const kith_relay_message *m)
{
    uint8_t out[KITH_RELAY_CONTROL_MAX];
    kith_relay_message got;
    size_t size = kith_relay_write(m, out, sizeof out);
    assert_true(size > 1);
    say(rule, out + 1, size - 1);
    if (m->type == KITH_RELAY_REGISTERED) {
        kith_cbor_reader r = kith_cbor_reader_of(out + 1, size - 1);
        kith_cbor_walk walk = kith_cbor_enter(&r);
        size_t limits_size;
        assert_true(kith_cbor_need(&r, &walk, 3));
        const uint8_t *limits = kith_cbor_read_item(&r, &limits_size);
        say("relay-limits", limits, limits_size);
    }
    assert_ok(kith_relay_read(out, size, &got));
    assert_int_equal(got.type, m->type);
}

/* With all optional members, and without. */
static void relay(void **state)
{
    (void)state;
    static const uint8_t some[64] = {1, 2, 3};
    for (int with = 0; with < 2; with++) {
        const uint8_t *maybe = with ? some : NULL;
        kith_relay_run offer = {maybe, with ? 40 : 0, 40};
        kith_relay_message m[] = {
            {.type = KITH_RELAY_CHALLENGE, .challenge = {some, KITH_RELAY_VERSION}},
            {.type = KITH_RELAY_REGISTER, .reg = {some, some, some, some, maybe, 5}},
            {.type = KITH_RELAY_REGISTERED,
             .registered = {.observed = {.family = with ? KITH_FAMILY_IPV6 : KITH_FAMILY_IPV4, .port = 1},
                            .udp_key = some,
                            .limits = {1, 2, 3, 4, 5, 6, 7, 65007},
                            .software = {"kith", 4},
                            .unix_ms = (uint64_t)with}},
            {.type = KITH_RELAY_CONNECT, .session = 1, .run = offer, .connect = {some, maybe, some, 2}},
            {.type = KITH_RELAY_CONNECTED, .session = 1, .connected = {some}},
            {.type = KITH_RELAY_INCOMING, .session = UINT32_MAX, .run = offer, .incoming = {some, some, some}},
            {.type = KITH_RELAY_GONE, .session = 1, .gone = {KITH_RELAY_GONE_ENDED}},
            {.type = KITH_RELAY_RESTARTING, .restarting = {1000}},
            {.type = KITH_RELAY_RATE_LIMITED,
             .rate_limited = {KITH_RELAY_LIMIT_GUESSES, 9, .has_session = with, .has_tag = with}},
            {.type = KITH_RELAY_PING, .ping = {some}},
            {.type = KITH_RELAY_PONG, .ping = {some}},
            {.type = KITH_RELAY_ERROR, .error = {KITH_RELAY_ERROR_TOKEN, {"no", 2}}},
            {.type = KITH_RELAY_MAILBOX_OPEN, .tag = KITH_RELAY_TAG_MAX},
            {.type = KITH_RELAY_MAILBOX, .tag = 1, .mailbox = {KITH_RELAY_MAILBOX_STATE_TAKEN}},
            {.type = KITH_RELAY_MAILBOX_CONNECT, .tag = 1, .session = 1, .run = offer},
            {.type = KITH_RELAY_MAILBOX_CLOSE, .tag = 0},
        };
        static const char *const rules[] = {
            "relay-challenge", "relay-register", "relay-registered", "relay-connect",       "relay-connected",
            "relay-incoming",  "relay-gone",     "relay-restarting", "relay-limited",       "relay-ping",
            "relay-ping",      "relay-error",    "relay-mailbox",    "relay-mailbox-state", "relay-mailbox-connect",
            "relay-mailbox"};
        for (size_t i = 0; i < sizeof m / sizeof *m; i++) relay_message(rules[i], &m[i]);
    }
}

static void candidates(void **state)
{
    (void)state;
    kith_candidates some = {.count = 0}, got;
    uint8_t bytes[KITH_CANDIDATES_ENCODED];
    size_t size;
    for (; some.count <= KITH_CANDIDATES_MAX; some.count += KITH_CANDIDATES_MAX) {
        for (size_t i = 0; i < some.count; i++)
            some.addrs[i] = (kith_addr){.family = i % 2 ? KITH_FAMILY_IPV6 : KITH_FAMILY_IPV4, .port = 5000};
        assert_ok(kith_candidates_write(&some, bytes, sizeof bytes, &size));
        say("candidates", bytes, size);
        some.tcp = true;
        assert_ok(kith_candidates_write(&some, bytes, sizeof bytes, &size));
        say("candidates", bytes, size);
        assert_ok(kith_candidates_read(bytes, size, &got));
    }
}

static void ask(const char *rule, kith_daemon_request r)
{
    static uint8_t out[KITH_DAEMON_FIXED_MAX + 1], again[KITH_DAEMON_FIXED_MAX];
    size_t size = kith_daemon_request_write(&r, out, KITH_DAEMON_FIXED_MAX);
    assert_true(size > 0);
    say(rule, out, size);
    assert_ok(kith_daemon_request_read(out, size, &r));
    assert_int_equal(kith_daemon_request_write(&r, again, sizeof again), size);
}

static void answer(const char *rule, const kith_daemon_answer *a)
{
    static uint8_t out[KITH_DAEMON_FIXED_MAX + 1], again[KITH_DAEMON_FIXED_MAX];
    static kith_daemon_answer got;
    size_t size = kith_daemon_answer_write(a, out, KITH_DAEMON_FIXED_MAX);
    assert_true(size > 0);
    say(rule, out, size);
    assert_ok(kith_daemon_answer_read(out, size, &got));
    assert_int_equal(kith_daemon_answer_write(&got, again, sizeof again), size);
}

#define ID "01890000-0000-7000-8000-0000000000aa"

static void daemon_requests(void **state)
{
    kith_op part = UINT64_C(7) << 32 | 1;
    (void)state;
    ask("daemon-hello-ask", (kith_daemon_request){.kind = KITH_DAEMON_HELLO, .text = "0.1.0", .count = 1});
    ask("daemon-pair",
        (kith_daemon_request){.kind = KITH_DAEMON_PAIR, .op = 1, .yes = true, .contact = true, .seconds = 60});
    ask("daemon-join", (kith_daemon_request){.kind = KITH_DAEMON_JOIN, .op = 1, .text = "a b c d e f", .yes = true});
    ask("daemon-ping", (kith_daemon_request){.kind = KITH_DAEMON_PING, .op = 1, .device = ID, .count = 3});
    ask("daemon-join",
        (kith_daemon_request){.kind = KITH_DAEMON_JOIN, .op = 1, .text = "a b c d e f", .yes = true, .replace = true});
    ask("daemon-look", (kith_daemon_request){.kind = KITH_DAEMON_LOOK, .op = UINT32_MAX});
    ask("daemon-look", (kith_daemon_request){.kind = KITH_DAEMON_LOOK, .op = 1, .strangers = true});
    ask("daemon-pin",
        (kith_daemon_request){.kind = KITH_DAEMON_PIN, .op = 1, .text = "0189", .name = "theirs", .yes = true});
    ask("daemon-doctor", (kith_daemon_request){.kind = KITH_DAEMON_DOCTOR, .op = 1, .stun = {"a:1", "b", "c", "d"}});
    ask("daemon-send", (kith_daemon_request){
                           .kind = KITH_DAEMON_SEND, .op = 1, .device = ID, .name = "\xff", .seconds = 1, .choice = 3});
    ask("daemon-receive", (kith_daemon_request){.kind = KITH_DAEMON_RECEIVE,
                                                .op = 1,
                                                .device = ID,
                                                .text = "/a",
                                                .yes = true,
                                                .once = true,
                                                .ask = true,
                                                .inbox = true,
                                                .choice = 2});
    ask("daemon-connect",
        (kith_daemon_request){.kind = KITH_DAEMON_CONNECT, .op = 1, .device = ID, .text = "t", .seconds = 9});
    ask("daemon-serve", (kith_daemon_request){.kind = KITH_DAEMON_SERVE, .op = 1, .text = "t", .contact = true});
    ask("daemon-inbox", (kith_daemon_request){.kind = KITH_DAEMON_INBOX, .op = 1});
    ask("daemon-inbox-answer",
        (kith_daemon_request){.kind = KITH_DAEMON_INBOX_ANSWER, .op = 1, .yes = true, .number = 4});
    ask("daemon-down", (kith_daemon_request){.kind = KITH_DAEMON_DOWN, .op = 1});
    ask("daemon-answer", (kith_daemon_request){.kind = KITH_DAEMON_ANSWER, .op = part, .yes = true});
    ask("daemon-receive-file",
        (kith_daemon_request){.kind = KITH_DAEMON_RECEIVE_FILE, .op = part, .text = "", .name = "x", .choice = 1});
    ask("daemon-message",
        (kith_daemon_request){.kind = KITH_DAEMON_MESSAGE, .op = part, .data = hash, .data_size = 32});
    ask("daemon-datagram",
        (kith_daemon_request){.kind = KITH_DAEMON_DATAGRAM, .op = part, .data = hash, .data_size = 0});
    ask("daemon-finish", (kith_daemon_request){.kind = KITH_DAEMON_FINISH, .op = part});
    ask("daemon-taken", (kith_daemon_request){.kind = KITH_DAEMON_TAKEN, .op = part, .number = 2, .bytes = 3});
    ask("daemon-cancel", (kith_daemon_request){.kind = KITH_DAEMON_CANCEL, .op = part});
}

static void daemon_answers(void **state)
{
    static kith_daemon_answer a;
    (void)state;
    a = (kith_daemon_answer){.kind = KITH_DAEMON_HELLO};
    a.hello = (kith_daemon_hello){.protocol = 1,
                                  .version = "0.1.0",
                                  .pid = 9,
                                  .since_ms = -1,
                                  .folder = "/in",
                                  .addresses = {"[::1]:1", "::2"},
                                  .relays = {"ws://x"},
                                  .relays_up = 1,
                                  .twin = "[::3]:3",
                                  .revoked = "by a"};
    answer("daemon-hello", &a);
    a = (kith_daemon_answer){.kind = KITH_DAEMON_EVENT};
    a.event = (kith_event){.kind = KITH_EVENT_FILE,
                           .op = 1,
                           .transfer = 2,
                           .err = KITH_ERR_LOST,
                           .message = "m",
                           .words = "w",
                           .expires_ms = -5,
                           .already = true,
                           .rtt_ns = 1,
                           .path = "udp",
                           .scope = "lan",
                           .address = "x",
                           .name = "n",
                           .path_name = "/p",
                           .bytes = 1,
                           .bytes_total = UINT64_MAX,
                           .seconds = 0.25,
                           .hash = "h",
                           .state = KITH_FINDING_BAD,
                           .check = "udp",
                           .result = "r",
                           .cure = "c",
                           .skew_ms = -1};
    a.event.device = (kith_device_info){.id = ID,
                                        .name = "n",
                                        .fingerprint = "f",
                                        .os = "o",
                                        .hardware_model = "m",
                                        .trust = KITH_RELATION_OWN,
                                        .verified = true,
                                        .first_use = true,
                                        .added_ms = 1,
                                        .last_seen_ms = 2};
    answer("daemon-event", &a);
    a = (kith_daemon_answer){.kind = KITH_DAEMON_MESSAGE, .op = 5, .data = hash, .data_size = 32};
    answer("daemon-message", &a);
    a.kind = KITH_DAEMON_DATAGRAM;
    answer("daemon-datagram", &a);
    a = (kith_daemon_answer){.kind = KITH_DAEMON_CONFIRMED, .op = 5, .costs = 70};
    answer("daemon-confirmed", &a);
    a = (kith_daemon_answer){.kind = KITH_DAEMON_STATUS, .op = 5, .finishing = true};
    a.info = (kith_remote_device_info){.id = ID,
                                       .name = "n",
                                       .os = "o",
                                       .hardware_model = "h",
                                       .public_key = "k",
                                       .fingerprint = "f",
                                       .trust = KITH_RELATION_CONTACT,
                                       .connected = true,
                                       .path = "tcp",
                                       .scope = "lan",
                                       .rtt_ns = 4,
                                       .datagram_size = 1200};
    answer("daemon-status", &a);
}

static void backups(void **state)
{
    (void)state;
    const kith_kdf_params cheap = {.memory_kib = 8, .passes = 1, .lanes = 1};
    const kith_backup_random random = {.key = {1}};
    kith_backup_content backup = {.made_at_ms = 1795000000000}, opened;
    kith_reason reason;
    uint8_t *data;
    size_t size;
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        backup.parts[i].data = (const uint8_t *)"{}";
        backup.parts[i].size = 2;
    }
    for (int i = 0; i < 2; i++) {
        backup.seed = i ? random.key : NULL;
        assert_ok(kith_backup_seal(&backup, &cheap, (kith_bytes){"x", 1}, NULL, &random, &data, &size));
        assert_ok(kith_backup_open(data, size, (kith_bytes){"x", 1}, &opened, &reason));
        say(i ? "backup-body" : "backup-body-unsigned", opened.memory, opened.memory_size);
        kith_backup_done(&opened);
        kith_free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hello),      TEST(pairing), TEST(files),   TEST(talks),           TEST(relay),
        TEST(candidates), TEST(graphs),  TEST(backups), TEST(daemon_requests), TEST(daemon_answers),
    };
    return cmocka_run_group_tests_name("service/schema", tests, setup, NULL);
}
