/* Noise against the published vectors. */
#include "noise_test.h"

/* ---- the published vectors ---- */

typedef struct party {
    test_bytes prologue, static_secret, ephemeral, remote_static;
    uint8_t psks[KITH_NOISE_PSKS_MAX][KITH_NOISE_PSK_SIZE];
    size_t psk_count;
    uint8_t static_public[KITH_X25519_SIZE];
} party;

static test_bytes member(const json_t *vector, const char *side, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "%s_%s", side, name);
    return test_hex_of(vector, key);
}

static void load_party(const json_t *vector, const char *side, party *p)
{
    char key[64];
    memset(p, 0, sizeof *p);
    p->prologue = member(vector, side, "prologue");
    p->static_secret = member(vector, side, "static");
    p->ephemeral = member(vector, side, "ephemeral");
    p->remote_static = member(vector, side, "remote_static");
    assert_true(p->static_secret.size == 0 || p->static_secret.size == KITH_X25519_SIZE);
    assert_true(p->ephemeral.size == 0 || p->ephemeral.size == KITH_X25519_SIZE);
    assert_true(p->remote_static.size == 0 || p->remote_static.size == KITH_X25519_SIZE);
    if (p->static_secret.size) kith_x25519_public(p->static_secret.data, p->static_public);
    snprintf(key, sizeof key, "%s_psks", side);
    json_t *psk, *psks = json_object_get(vector, key);
    size_t i;
    assert_true(json_array_size(psks) <= KITH_NOISE_PSKS_MAX);
    json_array_foreach (psks, i, psk) {
        test_bytes bytes = test_unhex(json_string_value(psk));
        assert_int_equal(bytes.size, KITH_NOISE_PSK_SIZE);
        memcpy(p->psks[i], bytes.data, bytes.size);
        test_bytes_free(&bytes);
    }
    p->psk_count = i;
}

static void free_party(party *p)
{
    test_bytes_free(&p->prologue);
    test_bytes_free(&p->static_secret);
    test_bytes_free(&p->ephemeral);
    test_bytes_free(&p->remote_static);
}

/* Some files leave out what each side knows of the other beforehand: it is the other's public key. */
static kith_noise *start_party(const json_t *vector, const party *p, const party *other, bool initiator)
{
    const uint8_t *remote = p->remote_static.size ? p->remote_static.data : NULL;
    if (!remote && other->static_secret.size) remote = other->static_public;
    kith_noise_config config = {
        .protocol = test_str(vector, "protocol_name"),
        .initiator = initiator,
        .prologue = {p->prologue.data, p->prologue.size},
        .static_secret = p->static_secret.size ? p->static_secret.data : NULL,
        .ephemeral_secret = p->ephemeral.size ? p->ephemeral.data : NULL,
        .remote_static = remote,
        .psks = p->psks,
        .psk_count = p->psk_count,
    };
    kith_noise *noise = NULL;
    kith_err err = kith_noise_new(&config, &noise);
    if (err) fail_msg("%s: %s", config.protocol, kith_err_name(err));
    return noise;
}

static unsigned sender(const json_t *message)
{
    const char *from = test_str(message, "from");
    assert_non_null(from);
    return strcmp(from, "init") == 0 ? 0 : 1;
}

static void run_handshake_message(sides *both, const json_t *message)
{
    unsigned from = sender(message);
    test_bytes payload = test_hex_of(message, "payload"), ciphertext = test_hex_of(message, "ciphertext");
    uint8_t *out = exact(ciphertext.size), *read = exact(payload.size);
    size_t size = 0;
    assert_true(kith_noise_my_turn(both->noise[from]));
    assert_false(kith_noise_my_turn(both->noise[!from]));
    assert_ok(kith_noise_write(both->noise[from], payload.data, payload.size, out, ciphertext.size, &size));
    assert_int_equal(size, ciphertext.size);
    assert_memory_equal(out, ciphertext.data, size);
    assert_ok(kith_noise_read(both->noise[!from], ciphertext.data, ciphertext.size, read, payload.size, &size));
    assert_int_equal(size, payload.size);
    assert_memory_equal(read, payload.data, size);
    free(out);
    free(read);
    test_bytes_free(&payload);
    test_bytes_free(&ciphertext);
}

static void run_transport(sides *both, const json_t *messages, size_t first)
{
    uint8_t keys[2][2][32], nonce[KITH_AEAD_NONCE_SIZE]; /* [side][send, receive] */
    uint64_t count[2] = {0};
    for (size_t i = 0; i < 2; i++) assert_ok(kith_noise_split(both->noise[i], keys[i][0], keys[i][1]));
    for (size_t i = first; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        unsigned from = sender(message);
        test_bytes payload = test_hex_of(message, "payload"), ciphertext = test_hex_of(message, "ciphertext");
        uint8_t *out = exact(payload.size + KITH_AEAD_TAG_SIZE);
        assert_int_equal(ciphertext.size, payload.size + KITH_AEAD_TAG_SIZE);
        kith_noise_nonce(count[from]++, nonce);
        assert_ok(kith_aead_seal_once(keys[from][0], nonce, NULL, 0, payload.data, payload.size, out));
        assert_memory_equal(out, ciphertext.data, ciphertext.size);
        assert_ok(kith_aead_open_once(keys[!from][1], nonce, NULL, 0, ciphertext.data, ciphertext.size, out));
        assert_memory_equal(out, payload.data, payload.size);
        free(out);
        test_bytes_free(&payload);
        test_bytes_free(&ciphertext);
    }
}

static void run_vector(const json_t *vector)
{
    party parties[2];
    sides both;
    uint8_t hash[KITH_HASH_SIZE];
    const json_t *messages = json_object_get(vector, "messages");
    load_party(vector, "init", &parties[0]);
    load_party(vector, "resp", &parties[1]);
    both.noise[0] = start_party(vector, &parties[0], &parties[1], true);
    both.noise[1] = start_party(vector, &parties[1], &parties[0], false);
    size_t count = kith_noise_messages(both.noise[0]);
    assert_true(count <= json_array_size(messages));
    for (size_t i = 0; i < count; i++) {
        assert_false(kith_noise_finished(both.noise[0]));
        run_handshake_message(&both, json_array_get(messages, i));
        assert_int_equal(kith_noise_done_messages(both.noise[0]), i + 1);
        assert_int_equal(kith_noise_done_messages(both.noise[1]), i + 1);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_true(kith_noise_finished(both.noise[i]));
        assert_false(kith_noise_my_turn(both.noise[i]));
        kith_noise_hash(both.noise[i], hash);
        test_equal_hex(hash, sizeof hash, test_str(vector, "handshake_hash"));
        if (kith_noise_remote_static(both.noise[i], hash))
            assert_memory_equal(hash, parties[!i].static_public, sizeof hash);
    }
    run_transport(&both, messages, count);
    sides_free(&both);
    free_party(&parties[0]);
    free_party(&parties[1]);
}

static void run_file(const char *name)
{
    json_t *root = test_vectors(name), *vector;
    size_t i;
    json_array_foreach (json_object_get(root, "vectors"), i, vector) run_vector(vector);
    test_ran(name, i);
    json_decref(root);
}

static void noise_cacophony_json(void **state)
{
    (void)state;
    run_file("noise_cacophony.json");
}

static void noise_snow_json(void **state)
{
    (void)state;
    run_file("noise_snow.json");
}

static void noise_flynn_json(void **state)
{
    (void)state;
    run_file("noise_flynn.json");
}

static void noise_noise_c_json(void **state)
{
    (void)state;
    run_file("noise_noise-c.json");
}

/* ---- h and ck after every message, which the handshake in QUIC builds on ---- */

static void check_state(const sides *both, const json_t *out, const char *h_name, const char *ck_name)
{
    uint8_t value[KITH_HASH_SIZE];
    for (size_t i = 0; i < 2; i++) {
        kith_noise_hash(both->noise[i], value);
        test_equal_hex(value, sizeof value, test_str(out, h_name));
        if (!ck_name) continue;
        kith_noise_chaining_key(both->noise[i], value);
        test_equal_hex(value, sizeof value, test_str(out, ck_name));
    }
}

static kith_noise *start_hyphae(const json_t *in, const json_t *out, bool initiator)
{
    const char *side = initiator ? "initiator" : "responder";
    char key[64];
    snprintf(key, sizeof key, "%s.static_private", side);
    test_bytes secret = test_hex_of(in, key);
    snprintf(key, sizeof key, "%s.ephemeral_private", side);
    test_bytes ephemeral = test_hex_of(in, key), prologue = test_hex_of(out, "noise_prologue");
    test_bytes remote = test_hex_of(out, initiator ? "responder.static_public" : "initiator.static_public");
    kith_noise_config config = {
        .protocol = test_str(in, "noise_protocol"),
        .initiator = initiator,
        .prologue = {prologue.data, prologue.size},
        .static_secret = secret.size ? secret.data : NULL,
        .ephemeral_secret = ephemeral.data,
        .remote_static = remote.size ? remote.data : NULL,
    };
    kith_noise *noise = NULL;
    assert_ok(kith_noise_new(&config, &noise));
    test_bytes *all[] = {&secret, &ephemeral, &prologue, &remote};
    for (size_t i = 0; i < 4; i++) test_bytes_free(all[i]);
    return noise;
}

static void run_hyphae(const json_t *in, const json_t *out)
{
    sides both = {{start_hyphae(in, out, true), start_hyphae(in, out, false)}};
    check_state(&both, out, "h.start", NULL);
    for (size_t i = 0; i < kith_noise_messages(both.noise[0]); i++) {
        char h_name[64], ck_name[64], payload_name[64];
        uint8_t message[4096], read[4096];
        size_t size;
        snprintf(h_name, sizeof h_name, "h.after_message_%zu", i + 1);
        snprintf(ck_name, sizeof ck_name, "ck.after_message_%zu", i + 1);
        snprintf(payload_name, sizeof payload_name, "payload.%zu", i + 1);
        /* section 4: from message 3 on the payload is the application's bytes */
        test_bytes payload = i < 2 ? test_hex_of(out, payload_name) : test_hex_of(in, "initiator.app3");
        assert_ok(kith_noise_write(both.noise[i % 2], payload.data, payload.size, message, sizeof message, &size));
        assert_ok(kith_noise_read(both.noise[!(i % 2)], message, size, read, sizeof read, &size));
        check_state(&both, out, h_name, ck_name);
        test_bytes_free(&payload);
    }
    check_state(&both, out, "handshake_hash", NULL);
    sides_free(&both);
}

static void hyphae_v1_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("hyphae_v1.json"), *group, *item;
    const char *group_name, *name;
    size_t ran = 0;
    json_object_foreach (root, group_name, group) {
        json_object_foreach (group, name, item) {
            const json_t *in = json_object_get(item, "in"), *out = json_object_get(item, "out");
            const char *protocol = test_str(in, "noise_protocol");
            if (!protocol || !strstr(protocol, SUITE)) continue;
            run_hyphae(in, out);
            ran++;
        }
    }
    test_ran_kind("hyphae_v1.json", SUITE, ran);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(noise_cacophony_json), TEST(noise_snow_json), TEST(noise_flynn_json),
        TEST(noise_noise_c_json),   TEST(hyphae_v1_json),
    };
    if (kith_crypto_init()) return 1;
    return cmocka_run_group_tests_name("crypto/noise: vectors", tests, NULL, NULL);
}
