/* The handshake against hyphae_v1.json, value for value and byte for byte, and against everything a peer can do wrong.
 */
#include "quic/hyphae.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/keys.h"
#include "crypto/noise.h"
#include "quic/keys.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUR_SUITE "_25519_ChaChaPoly_BLAKE2s"
#define OUR_NAME  "Noise_XX_25519_ChaChaPoly_BLAKE2s"

/* ---- vectors ---- */

static void equal_vector(const void *data, size_t size, const json_t *out, const char *format, const char *level)
{
    char key[64];
    snprintf(key, sizeof key, format, level);
    if (!test_str(out, key)) fail_msg("no value %s", key);
    test_equal_hex(data, size, test_str(out, key));
}

static void check_subkeys(const uint8_t secret[static 32], const json_t *out, const char *level, bool header)
{
    kith_level_keys keys;
    equal_vector(secret, 32, out, "%s.level_secret", level);
    kith_keys_of_level(secret, &keys);
    equal_vector(keys.init_data, 32, out, "%s.init_data", level);
    equal_vector(keys.resp_data, 32, out, "%s.resp_data", level);
    if (!header) return;
    equal_vector(keys.init_hp, 32, out, "%s.init_hp", level);
    equal_vector(keys.resp_hp, 32, out, "%s.resp_hp", level);
}

/* RFC 9001 section 5.4, both ways, with Hyphae's nonce. */
static void mask_header(uint8_t *packet, size_t pn_offset, const uint8_t hp[static 32], size_t pn_size)
{
    uint8_t mask[KITH_HP_MASK_SIZE];
    kith_hp_mask(hp, packet + pn_offset + 4, mask);
    packet[0] ^= mask[0] & (packet[0] & 0x80 ? 0x0f : 0x1f);
    for (size_t i = 0; i < pn_size; i++) packet[pn_offset + i] ^= mask[1 + i];
}

static void check_sample(const uint8_t secret[static 32], const json_t *c, const char *level, bool from_client)
{
    const json_t *in = json_object_get(c, "in"), *out = json_object_get(c, "out");
    char key[64];
    kith_level_keys keys;
    kith_keys_of_level(secret, &keys);
    const uint8_t *data_key = from_client ? keys.init_data : keys.resp_data,
                  *hp = from_client ? keys.init_hp : keys.resp_hp;
    snprintf(key, sizeof key, "%s.sample.header", level);
    test_bytes header = test_hex_of(in, key);
    snprintf(key, sizeof key, "%s.sample.plaintext", level);
    test_bytes plain = test_hex_of(in, key);
    snprintf(key, sizeof key, "%s.sample.pn_offset", level);
    size_t pn_offset = (size_t)json_integer_value(json_object_get(in, key));
    snprintf(key, sizeof key, "%s.sample.packet_number", level);
    uint64_t pn = (uint64_t)json_integer_value(json_object_get(in, key));
    uint8_t packet[2048], nonce[12], opened[2048];
    size_t pn_size = (size_t)(header.data[0] & 3) + 1, size = header.size + plain.size + 16;
    assert_true(size <= sizeof packet);
    memcpy(packet, header.data, header.size);
    kith_noise_nonce(pn, nonce);
    assert_ok(
        kith_aead_seal_once(data_key, nonce, header.data, header.size, plain.data, plain.size, packet + header.size));
    mask_header(packet, pn_offset, hp, pn_size);
    equal_vector(packet, size, out, "%s.sample.packet", level);
    mask_header(packet, pn_offset, hp, pn_size);
    assert_memory_equal(packet, header.data, header.size);
    assert_ok(kith_aead_open_once(data_key, nonce, packet, header.size, packet + header.size, plain.size + 16, opened));
    assert_memory_equal(opened, plain.data, plain.size);
    test_bytes_free(&header);
    test_bytes_free(&plain);
}

/* Independent of the suite. */
static void check_initial_and_retry(const json_t *c)
{
    const json_t *in = json_object_get(c, "in"), *out = json_object_get(c, "out");
    test_bytes dcid = test_hex_of(in, "client_dcid"), retry = test_hex_of(in, "retry.packet_without_tag");
    uint8_t secret[32], key[32], tag[16];
    kith_keys_initial(dcid.data, dcid.size, secret);
    check_subkeys(secret, out, "initial", true);
    check_sample(secret, c, "initial", true);
    kith_keys_retry(dcid.data, dcid.size, key);
    test_equal_hex(key, 32, test_str(out, "retry.key"));
    assert_ok(kith_keys_retry_tag(key, retry.data, retry.size, tag));
    test_equal_hex(tag, 16, test_str(out, "retry.tag"));
    test_bytes_free(&dcid);
    test_bytes_free(&retry);
}

static kith_noise *noise_of(const json_t *c, bool initiator)
{
    const json_t *in = json_object_get(c, "in"), *out = json_object_get(c, "out");
    test_bytes s = test_hex_of(in, initiator ? "initiator.static_private" : "responder.static_private");
    test_bytes e = test_hex_of(in, initiator ? "initiator.ephemeral_private" : "responder.ephemeral_private");
    test_bytes rs = test_hex_of(in, "initiator.rs"), prologue = test_hex_of(out, "noise_prologue");
    kith_noise *noise = NULL;
    assert_ok(kith_noise_new(&(kith_noise_config){.protocol = test_str(in, "noise_protocol"),
                                                  .initiator = initiator,
                                                  .prologue = {prologue.data, prologue.size},
                                                  .static_secret = s.size ? s.data : NULL,
                                                  .ephemeral_secret = e.data,
                                                  .remote_static = initiator && rs.size ? rs.data : NULL},
                             &noise));
    test_bytes_free(&s);
    test_bytes_free(&e);
    test_bytes_free(&rs);
    test_bytes_free(&prologue);
    return noise;
}

/* Section 2: varint length || message, whatever the suite. */
static void check_framing(const json_t *out)
{
    const json_t *m;
    size_t i;
    json_array_foreach (json_object_get(out, "messages"), i, m) {
        uint8_t framed[4096];
        test_bytes message = test_hex_of(m, "message");
        kith_writer w = kith_writer_of(framed, sizeof framed);
        kith_write_varint(&w, message.size);
        kith_write_bytes(&w, message.data, message.size);
        assert_false(w.bad);
        test_equal_hex(framed, kith_writer_size(&w), test_str(m, "crypto_bytes"));
        test_bytes_free(&message);
    }
}

static void check_publics(const json_t *in, const json_t *out)
{
    static const char *const keys[] = {"initiator.static", "initiator.ephemeral", "responder.static",
                                       "responder.ephemeral"};
    for (size_t i = 0; i < 4; i++) {
        char name[40];
        uint8_t public_key[32];
        snprintf(name, sizeof name, "%s_private", keys[i]);
        test_bytes secret = test_hex_of(in, name);
        if (secret.size) {
            assert_int_equal(secret.size, 32);
            kith_x25519_public(secret.data, public_key);
            equal_vector(public_key, 32, out, "%s_public", keys[i]);
        }
        test_bytes_free(&secret);
    }
}

/* Section 4: 01 || 02 || varint || parameters || [01 || application bytes]. */
static void check_compound(const json_t *in, const char *params_key, const char *app_key, const char *want)
{
    uint8_t payload[4096];
    test_bytes params = test_hex_of(in, params_key), app = test_hex_of(in, app_key);
    kith_writer w = kith_writer_of(payload, sizeof payload);
    kith_write_u8(&w, 1);
    kith_write_u8(&w, 2);
    kith_write_varint(&w, params.size);
    kith_write_bytes(&w, params.data, params.size);
    if (app.size) kith_write_u8(&w, 1);
    kith_write_bytes(&w, app.data, app.size);
    assert_false(w.bad);
    test_equal_hex(payload, kith_writer_size(&w), want);
    test_bytes_free(&params);
    test_bytes_free(&app);
}

static void check_payloads(const json_t *in, const json_t *out)
{
    uint8_t hash[32], second[2 + 32] = {1, 3};
    test_bytes deferred = test_hex_of(out, "deferred_payload");
    check_compound(in, "initiator.transport_params", "initiator.app1", test_str(out, "payload.1"));
    check_compound(in, "responder.transport_params", "responder.app2", test_str(out, "deferred_payload"));
    kith_blake2s(&(kith_bytes){deferred.data, deferred.size}, 1, hash);
    test_equal_hex(hash, sizeof hash, test_str(out, "deferred_hash"));
    memcpy(second + 2, hash, sizeof hash);
    test_equal_hex(second, sizeof second, test_str(out, "payload.2"));
    test_bytes_free(&deferred);
}

/* Whether it is the next of the vector's messages, with this id before it; *next moves on. */
static void check_message(const json_t *out, size_t *next, uint8_t id, const uint8_t *body, size_t size)
{
    const json_t *messages = json_object_get(out, "messages"), *m = json_array_get(messages, *next);
    if (*next == 0 && strcmp(test_str(m, "kind"), "preamble") == 0) m = json_array_get(messages, ++*next);
    test_bytes message = test_hex_of(m, "message");
    assert_int_equal(message.size, size + 1);
    assert_int_equal(message.data[0], id);
    assert_memory_equal(message.data + 1, body, size);
    test_bytes_free(&message);
    ++*next;
}

/* The transcript and every secret after each message, from Noise and the key schedule alone: any pattern of our suite.
 */
static void check_transcript(const json_t *c)
{
    const json_t *in = json_object_get(c, "in"), *out = json_object_get(c, "out");
    kith_noise *sides[2] = {noise_of(c, true), noise_of(c, false)};
    uint8_t h[32], ck[32], secret[32], message[4096], payload[4096];
    size_t messages = kith_noise_messages(sides[0]), size, payload_size, next = 0;
    kith_ask ask = {{0}};
    test_bytes deferred = test_hex_of(out, "deferred_payload");
    check_publics(in, out);
    check_payloads(in, out);
    kith_noise_hash(sides[0], h);
    test_equal_hex(h, 32, test_str(out, "h.start"));
    for (size_t i = 1; i <= messages; i++) {
        char key[32], number[4];
        snprintf(key, sizeof key, "payload.%zu", i);
        snprintf(number, sizeof number, "%zu", i);
        test_bytes p = i < 3 ? test_hex_of(out, key) : test_hex_of(in, "initiator.app3");
        assert_ok(kith_noise_write(sides[(i + 1) % 2], p.data, p.size, message, sizeof message, &size));
        assert_ok(kith_noise_read(sides[i % 2], message, size, payload, sizeof payload, &payload_size));
        assert_int_equal(payload_size, p.size);
        check_message(out, &next, i < 3 ? 2 : 4, message, size);
        if (i == 2) check_message(out, &next, 3, deferred.data, deferred.size);
        for (size_t side = 0; side < 2; side++) {
            kith_noise_hash(sides[side], h);
            equal_vector(h, 32, out, "h.after_message_%s", number);
            kith_noise_chaining_key(sides[side], ck);
            equal_vector(ck, 32, out, "ck.after_message_%s", number);
        }
        test_bytes_free(&p);
        if (i == 1) continue;
        kith_ask_start(&ask, ck, h);
        equal_vector(ask.chain, 32, out, "ask.chain_0_after_message_%s", number);
        kith_ask_next(&ask, secret);
        if (i == 2) {
            equal_vector(ask.chain, 32, out, "ask.chain_1_after_message_%s", number);
            check_subkeys(secret, out, "handshake", true);
            check_sample(secret, c, "handshake", false);
        }
    }
    if (messages == 2) kith_ask_next(&ask, secret); /* the 1-RTT secret is the second of the same chain */
    check_subkeys(secret, out, "one_rtt", true);
    check_sample(secret, c, "one_rtt", false);
    for (int update = 1; update <= 3; update++) {
        char level[24];
        snprintf(level, sizeof level, "key_update_%d", update);
        kith_ask_next(&ask, secret);
        check_subkeys(secret, out, level, false);
    }
    test_equal_hex(h, 32, test_str(out, "handshake_hash"));
    test_bytes_free(&deferred);
    kith_noise_free(sides[0]);
    kith_noise_free(sides[1]);
}

typedef struct side {
    test_bytes s, e, preamble, prologue, first, third, final, params;
    kith_hyphae *h;
} side;

static void side_new(side *x, const json_t *in, bool initiator)
{
    const char *names[2][7] = {{"responder.static_private", "responder.ephemeral_private", "responder.app2",
                                "responder.app3", "responder.appf", "responder.transport_params"},
                               {"initiator.static_private", "initiator.ephemeral_private", "initiator.app1",
                                "initiator.app3", "initiator.appf", "initiator.transport_params"}};
    const char **n = names[initiator];
    x->s = test_hex_of(in, n[0]);
    x->e = test_hex_of(in, n[1]);
    x->first = test_hex_of(in, n[2]);
    x->third = test_hex_of(in, n[3]);
    x->final = test_hex_of(in, n[4]);
    x->params = test_hex_of(in, n[5]);
    x->preamble = test_hex_of(in, "preamble");
    x->prologue = test_hex_of(in, "prologue");
    assert_ok(kith_hyphae_new(&(kith_hyphae_config){.initiator = initiator,
                                                    .static_secret = x->s.data,
                                                    .ephemeral_secret = x->e.data,
                                                    .params = {x->params.data, initiator ? x->params.size : 0},
                                                    .preamble = {x->preamble.data, x->preamble.size},
                                                    .prologue = {x->prologue.data, x->prologue.size},
                                                    .first_app = {x->first.data, x->first.size},
                                                    .message_3_app = {x->third.data, x->third.size},
                                                    .final_app = {x->final.data, x->final.size}},
                              &x->h));
}

static void side_free(side *x)
{
    kith_hyphae_free(x->h);
    test_bytes *all[] = {&x->s, &x->e, &x->preamble, &x->prologue, &x->first, &x->third, &x->final, &x->params};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_bytes_free(all[i]);
}

static kith_level level_of(const char *space)
{
    return strcmp(space, "Initial") == 0     ? KITH_LEVEL_INITIAL
           : strcmp(space, "Handshake") == 0 ? KITH_LEVEL_HANDSHAKE
                                             : KITH_LEVEL_ONE_RTT;
}

static void check_after_handshake(side sides[2], const json_t *in, const json_t *out)
{
    const char *levels[] = {"", "handshake", "one_rtt"}, *updates[] = {"key_update_1", "key_update_2", "key_update_3"};
    const char *statics[] = {"initiator.static_public", "responder.static_public"};
    uint8_t value[32];
    for (size_t i = 0; i < 2; i++) {
        kith_hyphae *h = sides[i].h;
        assert_true(kith_hyphae_complete(h) && kith_hyphae_final_received(h));
        for (kith_level level = KITH_LEVEL_HANDSHAKE; level <= KITH_LEVEL_ONE_RTT; level++) {
            assert_true(kith_hyphae_secret(h, level, value));
            check_subkeys(value, out, levels[level], true);
        }
        kith_hyphae_hash(h, value);
        test_equal_hex(value, 32, test_str(out, "handshake_hash"));
        kith_hyphae_remote_static(h, value);
        test_equal_hex(value, 32, test_str(out, statics[i]));
        const uint8_t *params;
        size_t size;
        assert_true(kith_hyphae_remote_params(h, &params, &size));
        test_equal_hex(params, size,
                       test_str(in, i == 1 ? "responder.transport_params" : "initiator.transport_params"));
        for (size_t u = 0; u < 3; u++) {
            kith_hyphae_next_secret(h, value);
            check_subkeys(value, out, updates[u], false);
        }
    }
}

/* sides[0] responder, [1] initiator: each message must be exactly what the vector says, in its space and order. */
static size_t check_messages(const json_t *c)
{
    const json_t *in = json_object_get(c, "in"), *out = json_object_get(c, "out"), *m;
    side sides[2];
    size_t i;
    for (size_t s = 0; s < 2; s++) side_new(&sides[s], in, s == 1);
    json_array_foreach (json_object_get(out, "messages"), i, m) {
        size_t from = strcmp(test_str(m, "sender"), "initiator") == 0, size;
        kith_level level;
        const uint8_t *data;
        if (kith_hyphae_wants_params(sides[0].h))
            assert_ok(kith_hyphae_set_params(sides[0].h, sides[0].params.data, sides[0].params.size));
        if (!kith_hyphae_output(sides[from].h, &level, &data, &size)) fail_msg("message %zu is missing", i);
        assert_int_equal(level, level_of(test_str(m, "space")));
        test_equal_hex(data, size, test_str(m, "crypto_bytes"));
        assert_ok(kith_hyphae_input(sides[!from].h, level, data, size));
    }
    check_after_handshake(sides, in, out);
    for (size_t s = 0; s < 2; s++) side_free(&sides[s]);
    return i;
}

typedef struct ran {
    size_t generic, transcript, whole;
} ran_t;

static void run_case(const char *name, const json_t *c, ran_t *ran)
{
    const char *protocol = test_str(json_object_get(c, "in"), "noise_protocol");
    check_initial_and_retry(c);
    check_framing(json_object_get(c, "out"));
    ran->generic++;
    if (!strstr(protocol, OUR_SUITE)) {
        printf("%s: not applicable beyond Initial and Retry keys (%s)\n", name, protocol);
        return;
    }
    check_transcript(c);
    ran->transcript++;
    if (strcmp(protocol, OUR_NAME) != 0) {
        printf("%s: messages not applicable (%s)\n", name, protocol);
        return;
    }
    check_messages(c);
    ran->whole++;
}

static void hyphae_v1_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("hyphae_v1.json"), *group, *c;
    const char *group_name, *name;
    ran_t ran = {0};
    json_object_foreach (root, group_name, group) {
        json_object_foreach (group, name, c) {
            if (json_object_get(c, "in")) run_case(name, c, &ran);
        }
    }
    test_ran("hyphae_v1.json", ran.generic);
    test_ran_kind("hyphae_v1.json", "transcripts of our suite", ran.transcript);
    test_ran_kind("hyphae_v1.json", "both roles, message by message", ran.whole);
    json_decref(root);
}

/* ---- two of ours, for what the vectors do not say ---- */

static const uint8_t secrets[2][32] = {{2, 2, 2}, {1, 1, 1}}, ephemerals[2][32] = {{4, 4}, {3, 3}};
static const uint8_t params[2][40] = {"the responder's parameters", "the initiator's parameters"};

typedef struct pair {
    kith_hyphae *h[2]; /* [1] the initiator */
    int stop_after;    /* messages; -1: all */
    int hit;           /* change this message ... */
    size_t at;         /* ... at this byte */
    size_t piece;      /* bytes at a time; 0: whole messages */
    size_t total[8];   /* sizes of the messages seen */
    int count;
    kith_err err;
} pair;

static kith_err pair_new(pair *p, const uint8_t *expected)
{
    kith_err err = KITH_OK;
    for (int i = 0; i < 2 && !err; i++)
        err = kith_hyphae_new(&(kith_hyphae_config){.initiator = i == 1,
                                                    .static_secret = secrets[i],
                                                    .ephemeral_secret = ephemerals[i],
                                                    .expected_static = i == 1 ? expected : NULL,
                                                    .params = {params[i], i == 1 ? sizeof params[i] : 0}},
                              &p->h[i]);
    return err;
}

static void pair_free(pair *p)
{
    kith_hyphae_free(p->h[0]);
    kith_hyphae_free(p->h[1]);
}

static kith_err feed(pair *p, kith_hyphae *to, kith_level level, const uint8_t *data, size_t size)
{
    if (!p->piece) return kith_hyphae_input(to, level, data, size);
    for (size_t at = 0; at < size; at += p->piece) {
        kith_err err = kith_hyphae_input(to, level, data + at, size - at < p->piece ? size - at : p->piece);
        if (err) return err;
    }
    return KITH_OK;
}

/* Exchange until nothing moves.  The error of the first failure. */
static kith_err run(pair *p)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int from = 1; from >= 0; from--) {
            kith_level level;
            const uint8_t *data;
            size_t size;
            if (kith_hyphae_wants_params(p->h[0])) {
                kith_err err = kith_hyphae_set_params(p->h[0], params[0], sizeof params[0]);
                if (err) return err;
            }
            while (kith_hyphae_output(p->h[from], &level, &data, &size)) {
                uint8_t copy[8192];
                if (p->stop_after == p->count) return KITH_OK;
                memcpy(copy, data, size);
                if (p->hit == p->count && p->at < size) copy[p->at] ^= 0x55;
                p->total[p->count++] = size;
                moved = true;
                kith_err err = feed(p, p->h[!from], level, copy, size);
                if (err) return err;
            }
        }
    }
    return KITH_OK;
}

static bool both_done(const pair *p)
{
    return kith_hyphae_final_received(p->h[0]) && kith_hyphae_final_received(p->h[1]);
}

static pair fresh(void) { return (pair){.stop_after = -1, .hit = -1}; }

static void any_pieces_will_do(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 140; piece++) {
        pair p = fresh();
        p.piece = piece;
        assert_ok(pair_new(&p, NULL));
        assert_ok(run(&p));
        assert_true(both_done(&p));
        assert_int_equal(p.count, 6);
        uint8_t a[3][32], b[3][32];
        kith_hyphae_export(p.h[0], "some label", a);
        kith_hyphae_export(p.h[1], "some label", b);
        assert_memory_equal(a, b, sizeof a);
        kith_hyphae_export(p.h[1], "another label", b);
        assert_memory_not_equal(a, b, sizeof a);
        pair_free(&p);
    }
}

/* Every byte of every message.  A change may go unnoticed nowhere: either someone fails with an alert, or a length was
 * made longer and both wait; never are both complete with different secrets, and never does the victim of a changed
 * message become complete, but for the final message, which is not authenticated by Noise (it is by its packet). */
static void every_flipped_byte(void **state)
{
    (void)state;
    size_t sizes[8], flips = 0;
    pair p = fresh();
    assert_ok(pair_new(&p, NULL));
    assert_ok(run(&p));
    memcpy(sizes, p.total, sizeof sizes);
    int messages = p.count;
    pair_free(&p);
    for (int m = 0; m < messages; m++) {
        for (size_t at = 0; at < sizes[m]; at++, flips++) {
            p = fresh();
            p.hit = m;
            p.at = at;
            assert_ok(pair_new(&p, NULL));
            kith_err err = run(&p);
            assert_false(both_done(&p));
            if (err)
                assert_int_equal(kith_hyphae_alert(p.h[0]) | kith_hyphae_alert(p.h[1]),
                                 KITH_HYPHAE_ALERT_HANDSHAKE_FAILURE);
            if (m < 3) assert_false(kith_hyphae_complete(p.h[1]));
            if (m < 4) assert_false(kith_hyphae_complete(p.h[0]));
            pair_free(&p);
        }
    }
    printf("%d messages, %zu flipped bytes\n", messages, flips);
}

static void wrong_device_keeps_our_key(void **state)
{
    (void)state;
    uint8_t expected[32], other[32];
    kith_x25519_public(secrets[0], expected);
    memcpy(other, expected, 32);
    other[31] ^= 1;
    pair p = fresh();
    assert_ok(pair_new(&p, other));
    assert_int_equal(run(&p), KITH_ERR_WRONG_DEVICE);
    assert_int_equal(p.count, 2); /* messages 1 and 2: nothing was sent after */
    kith_level level;
    const uint8_t *data;
    size_t size;
    assert_false(kith_hyphae_output(p.h[1], &level, &data, &size));
    assert_int_equal(kith_hyphae_alert(p.h[1]), 40);
    assert_false(kith_hyphae_complete(p.h[0]));
    pair_free(&p);
    p = fresh();
    assert_ok(pair_new(&p, expected));
    assert_ok(run(&p));
    assert_true(both_done(&p));
    pair_free(&p);
}

/* Feed raw CRYPTO bytes to a fresh responder and say what happens. */
static void responder_says(kith_err want, kith_level level, const void *data, size_t size)
{
    pair p = fresh();
    assert_ok(pair_new(&p, NULL));
    assert_int_equal(kith_hyphae_input(p.h[0], level, data, size), want);
    if (want) assert_int_equal(kith_hyphae_alert(p.h[0]), 40);
    if (want) assert_int_equal(kith_hyphae_input(p.h[0], level, data, size), KITH_ERR_STATE);
    pair_free(&p);
}

/* Message 1 with this compound payload. */
static void payload_says(kith_err want, const void *payload, size_t size)
{
    uint8_t message[8192] = {0}, framed[8200];
    size_t message_size;
    kith_noise *noise;
    static const char prologue[] = "hyphae-h-v1.quic-v1.\0";
    assert_ok(kith_noise_new(&(kith_noise_config){.protocol = OUR_NAME,
                                                  .initiator = true,
                                                  .prologue = {prologue, sizeof prologue},
                                                  .static_secret = secrets[1],
                                                  .ephemeral_secret = ephemerals[1]},
                             &noise));
    message[0] = 2;
    assert_ok(kith_noise_write(noise, payload, size, message + 1, sizeof message - 1, &message_size));
    framed[0] = (uint8_t)(0x40 | (message_size + 1) >> 8);
    framed[1] = (uint8_t)(message_size + 1);
    memcpy(framed + 2, message, message_size + 1);
    responder_says(want, KITH_LEVEL_INITIAL, framed, message_size + 3);
    kith_noise_free(noise);
}

static void malformed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } framing[] = {
        {"\0", 1},               /* length 0 */
        {"\x50\x01", 2},         /* 4,097 bytes */
        {"\xbf\xff\xff\xff", 4}, /* a gigabyte */
        {"\x01\xff", 2},         /* Failed */
        {"\x02\x01\x2a", 3},     /* a preamble nobody asked for */
        {"\x01\x7f", 2},         /* final, now */
        {"\x01\x04", 2},         /* message 3, now */
        {"\x02\x02\x00", 3},     /* message 1, too short */
        {"\x01\x05", 2},         /* no such message */
    };
    for (size_t i = 0; i < sizeof framing / sizeof *framing; i++)
        responder_says(KITH_ERR_PROTOCOL + (i == 7 ? KITH_ERR_CRYPTO - KITH_ERR_PROTOCOL : 0), KITH_LEVEL_INITIAL,
                       framing[i].bytes, framing[i].size);
    responder_says(KITH_OK, KITH_LEVEL_INITIAL, "\x40", 1); /* half a length */
    responder_says(KITH_OK, KITH_LEVEL_INITIAL, "", 0);
    responder_says(KITH_ERR_PROTOCOL, KITH_LEVEL_HANDSHAKE, "\x01\x02", 2);
    static const struct {
        kith_err want;
        const char *bytes;
        size_t size;
    } payloads[] = {
        {KITH_OK, "\x01\x02\x01x", 4},
        {KITH_OK, "\x01\x02\x00", 3},
        {KITH_OK, "\x01\x00\x00\x02\x01x\x00", 7},        /* padding around */
        {KITH_OK, "\x01\x80\x02zz\xff\x00\x02\x01x", 10}, /* optional frames, unknown */
        {KITH_OK,
         "\x01\x02\x01x\x01"
         "app",
         8},
        {KITH_ERR_PROTOCOL, "", 0},
        {KITH_ERR_PROTOCOL, "\x02\x02\x01x", 4},          /* another version */
        {KITH_ERR_PROTOCOL, "\x01", 1},                   /* no parameters */
        {KITH_ERR_PROTOCOL, "\x01\x02\x01x\x02\x01x", 7}, /* twice */
        {KITH_ERR_PROTOCOL, "\x01\x02\x05x", 4},          /* past the end */
        {KITH_ERR_PROTOCOL, "\x01\x02\x44\x01x", 5},      /* more than our limit */
        {KITH_ERR_PROTOCOL, "\x01\x02\x01x\x40", 5},      /* 0-RTT accepted */
        {KITH_ERR_PROTOCOL, "\x01\x02\x01x\x7f", 5},      /* unknown, mandatory */
        {KITH_ERR_PROTOCOL, "\x01\x02\x01x\x03", 5},      /* a hash does not belong here */
        {KITH_ERR_PROTOCOL, "\x01\x80\x05zz", 5},         /* an optional frame past the end */
        {KITH_ERR_PROTOCOL, "\x01\x02", 2},
    };
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
        payload_says(payloads[i].want, payloads[i].bytes, payloads[i].size);
    uint8_t flood[4000] = {1};
    payload_says(KITH_ERR_PROTOCOL, flood, sizeof flood); /* padding and nothing else */
    memcpy(flood + sizeof flood - 3, "\x02\x01x", 3);
    payload_says(KITH_OK, flood, sizeof flood);
    uint8_t huge[4080] = {1};
    payload_says(KITH_ERR_PROTOCOL, huge, sizeof huge); /* with key and id over our limit of 4,096 */
}

static void order(void **state)
{
    (void)state;
    static const uint8_t final[] = {1, 127}, empty_app[] = {3, 126, 1, 1}, no_app[] = {2, 126, 1},
                         long_final[] = {2, 127, 0};
    pair p = fresh();
    assert_ok(pair_new(&p, NULL));
    assert_ok(run(&p));
    assert_int_equal(kith_hyphae_input(p.h[0], KITH_LEVEL_ONE_RTT, final, 2), KITH_ERR_PROTOCOL); /* a second one */
    assert_int_equal(kith_hyphae_alert(p.h[0]), 40);
    assert_int_equal(kith_hyphae_input(p.h[1], KITH_LEVEL_HANDSHAKE, final, 2),
                     KITH_ERR_PROTOCOL); /* back to a lower level */
    pair_free(&p);
    static const struct {
        kith_err want;
        const uint8_t *bytes;
        size_t size;
    } finals[] = {{KITH_OK, final, 2},
                  {KITH_OK, empty_app, 4},
                  {KITH_ERR_PROTOCOL, no_app, 3},
                  {KITH_ERR_PROTOCOL, long_final, 3}};
    for (size_t i = 0; i < 4; i++) {
        p = fresh();
        p.stop_after = 4; /* all but the finals */
        assert_ok(pair_new(&p, NULL));
        assert_ok(run(&p));
        assert_true(kith_hyphae_complete(p.h[0]) && !kith_hyphae_final_received(p.h[0]));
        assert_int_equal(kith_hyphae_input(p.h[0], KITH_LEVEL_ONE_RTT, finals[i].bytes, finals[i].size),
                         finals[i].want);
        pair_free(&p);
    }
    /* Message 1 again while we wait for our own parameters; then in place of message 3. */
    for (int late = 0; late < 2; late++) {
        kith_level level;
        const uint8_t *data;
        size_t size;
        p = fresh();
        assert_ok(pair_new(&p, NULL));
        assert_true(kith_hyphae_output(p.h[1], &level, &data, &size));
        assert_ok(kith_hyphae_input(p.h[0], level, data, size));
        if (late) assert_ok(kith_hyphae_set_params(p.h[0], params[0], sizeof params[0]));
        assert_int_equal(kith_hyphae_input(p.h[0], level, data, size), KITH_ERR_PROTOCOL);
        assert_int_equal(kith_hyphae_set_params(p.h[0], params[0], sizeof params[0]), KITH_ERR_STATE);
        pair_free(&p);
    }
    /* A message must not straddle levels. */
    p = fresh();
    assert_ok(pair_new(&p, NULL));
    assert_ok(kith_hyphae_input(p.h[0], KITH_LEVEL_INITIAL, "\x40\x80\x02", 3));
    assert_int_equal(kith_hyphae_input(p.h[0], KITH_LEVEL_HANDSHAKE, "\x01", 1), KITH_ERR_PROTOCOL);
    pair_free(&p);
}

static void too_long(void **state)
{
    (void)state;
    static const uint8_t big[4096];
    kith_hyphae *h = NULL;
    kith_hyphae_config config = {
        .initiator = true, .static_secret = secrets[1], .ephemeral_secret = ephemerals[1], .params = {big, 1025}};
    assert_int_equal(kith_hyphae_new(&config, &h), KITH_ERR_ARG);
    config.params.size = 10;
    config.preamble = (kith_bytes){big, 513};
    assert_int_equal(kith_hyphae_new(&config, &h), KITH_ERR_ARG);
    assert_null(h);
    pair p = fresh();
    kith_level level;
    const uint8_t *data;
    size_t size;
    assert_ok(pair_new(&p, NULL));
    assert_true(kith_hyphae_output(p.h[1], &level, &data, &size));
    assert_ok(kith_hyphae_input(p.h[0], level, data, size));
    assert_true(kith_hyphae_wants_params(p.h[0]));
    assert_int_equal(kith_hyphae_set_params(p.h[0], big, 1025), KITH_ERR_ARG);
    assert_int_equal(kith_hyphae_alert(p.h[0]), 80);
    pair_free(&p);
}

static int whole_handshake(void *arg)
{
    (void)arg;
    pair p = fresh();
    kith_err err = pair_new(&p, NULL);
    if (!err) err = run(&p);
    if (err == KITH_ERR_NOMEM && p.count) assert_int_equal(kith_hyphae_alert(p.h[0]) | kith_hyphae_alert(p.h[1]), 80);
    pair_free(&p);
    return err;
}

static void no_memory(void **state)
{
    (void)state;
    test_every_allocation(whole_handshake, NULL);
}

static int setup(void **state)
{
    (void)state;
    return kith_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hyphae_v1_json),     TEST(any_pieces_will_do),
        TEST(every_flipped_byte), TEST(wrong_device_keeps_our_key),
        TEST(malformed),          TEST(order),
        TEST(too_long),           TEST(no_memory),
    };
    return cmocka_run_group_tests_name("quic/hyphae", tests, setup, NULL);
}
