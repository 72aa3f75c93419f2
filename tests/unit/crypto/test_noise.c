/* Noise: what the published vectors (test_noise_vectors.c) do not say. */
#include "noise_test.h"

/* ---- handshakes of our own ---- */

/* [side][static, ephemeral]; not in the first byte, whose low bits X25519 clears */
static const uint8_t secrets[2][2][32] = {{{0, 1}, {0, 2}}, {{0, 3}, {0, 4}}};
static const uint8_t psks[KITH_NOISE_PSKS_MAX][KITH_NOISE_PSK_SIZE] = {{11}, {12}, {13}, {14}, {15}};
static const char XX[] = "Noise_XX" SUITE;

static kith_noise_config config_of(const char *protocol, bool initiator, uint8_t remote[static 32])
{
    kith_x25519_public(secrets[initiator ? 1 : 0][0], remote);
    return (kith_noise_config){
        .protocol = protocol,
        .initiator = initiator,
        .prologue = {"prologue", 8},
        .static_secret = secrets[initiator ? 0 : 1][0],
        .ephemeral_secret = secrets[initiator ? 0 : 1][1],
        .remote_static = remote,
        .psks = psks,
    };
}

static sides sides_of(const char *protocol, size_t psk_count)
{
    sides both = {{NULL, NULL}};
    for (size_t i = 0; i < 2; i++) {
        uint8_t remote[32];
        kith_noise_config config = config_of(protocol, i == 0, remote);
        config.psk_count = psk_count;
        kith_err err = kith_noise_new(&config, &both.noise[i]);
        if (err) fail_msg("%s: %s", protocol, kith_err_name(err));
    }
    return both;
}

/* The payload of message n is n + 5 times its number. */
static size_t write_next(sides *both, uint8_t *out, size_t cap)
{
    size_t n = kith_noise_done_messages(both->noise[0]), size;
    if (kith_noise_done_messages(both->noise[1]) < n) n = kith_noise_done_messages(both->noise[1]);
    uint8_t payload[16];
    memset(payload, (int)n, sizeof payload);
    assert_ok(kith_noise_write(both->noise[n % 2], payload, n + 5, out, cap, &size));
    return size;
}

/* Run messages up to, not including, number `until`. */
static void run_until(sides *both, size_t until)
{
    for (size_t n = 0; n < until; n++) {
        uint8_t message[512], read[16];
        size_t size = write_next(both, message, sizeof message), got;
        assert_ok(kith_noise_read(both->noise[!(n % 2)], message, size, read, sizeof read, &got));
        assert_int_equal(got, n + 5);
        assert_int_equal(read[0], n);
    }
}

static void run_to_the_end(sides *both)
{
    uint8_t keys[2][2][32], hash[2][KITH_HASH_SIZE];
    run_until(both, kith_noise_messages(both->noise[0]));
    for (size_t i = 0; i < 2; i++) {
        assert_true(kith_noise_finished(both->noise[i]));
        assert_ok(kith_noise_split(both->noise[i], keys[i][0], keys[i][1]));
        kith_noise_hash(both->noise[i], hash[i]);
    }
    assert_memory_equal(keys[0][0], keys[1][1], 32);
    assert_memory_equal(keys[0][1], keys[1][0], 32);
    assert_memory_not_equal(keys[0][0], keys[0][1], 32);
    assert_memory_equal(hash[0], hash[1], sizeof hash[0]);
}

static void every_pattern_with_every_set_of_psks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned messages;
    } table[] = {
        {"N", 1},   {"K", 1},   {"X", 1},    {"NN", 2},   {"NK", 2},   {"NX", 2},   {"XN", 3},   {"XK", 3},
        {"XX", 3},  {"KN", 2},  {"KK", 2},   {"KX", 2},   {"IN", 2},   {"IK", 2},   {"IX", 2},   {"NK1", 2},
        {"NX1", 3}, {"X1N", 4}, {"X1K", 4},  {"XK1", 3},  {"X1K1", 4}, {"X1X", 4},  {"XX1", 3},  {"X1X1", 4},
        {"K1N", 3}, {"K1K", 3}, {"KK1", 2},  {"K1K1", 3}, {"K1X", 3},  {"KX1", 3},  {"K1X1", 3}, {"I1N", 3},
        {"I1K", 3}, {"IK1", 2}, {"I1K1", 3}, {"I1X", 3},  {"IX1", 3},  {"I1X1", 3},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (unsigned set = 0; set < 2u << table[i].messages; set++) {
            char name[80];
            size_t count = 0, at = (size_t)snprintf(name, sizeof name, "Noise_%s", table[i].name);
            for (unsigned place = 0; place <= table[i].messages; place++) {
                if (!(set >> place & 1)) continue;
                at += (size_t)snprintf(name + at, sizeof name - at, "%spsk%u", count++ ? "+" : "", place);
            }
            snprintf(name + at, sizeof name - at, SUITE);
            sides both = sides_of(name, count);
            assert_int_equal(kith_noise_messages(both.noise[0]), table[i].messages);
            run_to_the_end(&both);
            sides_free(&both);
        }
    }
}

/* The handshake hash of patterns that no published vector we hold has, with these keys and payloads: computed with an
 * implementation in Python (hashlib, cryptography) from another project's list of the patterns. */
static void patterns_without_published_vectors(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"Noise_KX" SUITE, "20acf1cf8c2724d75fc598e9600955d4fd3ea9816c81a2aa21e3c112d16c453b"},
        {"Noise_X1N" SUITE, "26c8a57eb9b4c31cbc97b7d7c9835f292ab4d84fc08062db10880ec7c13365cf"},
        {"Noise_X1K1" SUITE, "108e9419429cbd04caa17f734b2296ed882076d27b18eabd23d13e3148e73195"},
        {"Noise_X1X1" SUITE, "3151de1a7e1c69070eba3f95530fd8d7295e2a7381fbfb548d9915fb385a5456"},
        {"Noise_KK1" SUITE, "7d4ca30028a37e49a283d13eece9eeee1770de9204de21420a4defa59c9f5d50"},
        {"Noise_KX1" SUITE, "9f625c64af834f098172998f3bf59fbd5f78adcb9fa0c1e7eb01eef261d8590f"},
        {"Noise_I1K" SUITE, "d6c4dd3c16c3fea0cb9f9b09557d926959519d731583e3361eea513275c14ef6"},
        {"Noise_I1X" SUITE, "814a8e4b62b700803fc4569b6310bbb7627f8890100dfea436620a1ee3efd651"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t hash[KITH_HASH_SIZE];
        sides both = sides_of(table[i][0], 0);
        run_to_the_end(&both);
        kith_noise_hash(both.noise[0], hash);
        test_equal_hex(hash, sizeof hash, table[i][1]);
        sides_free(&both);
    }
}

/* After a failure nothing works, and nothing secret or unproven is left. */
static void assert_dead(kith_noise *noise)
{
    uint8_t out[512], zeroes[KITH_HASH_SIZE] = {0}, hash[KITH_HASH_SIZE];
    size_t size = 77;
    assert_false(kith_noise_my_turn(noise));
    assert_false(kith_noise_finished(noise));
    assert_false(kith_noise_remote_static(noise, out));
    assert_int_equal(kith_noise_write(noise, NULL, 0, out, sizeof out, &size), KITH_ERR_STATE);
    assert_int_equal(kith_noise_read(noise, zeroes, sizeof zeroes, out, sizeof out, &size), KITH_ERR_STATE);
    assert_int_equal(kith_noise_split(noise, out, out + 32), KITH_ERR_STATE);
    assert_int_equal(size, 77);
    kith_noise_chaining_key(noise, hash);
    assert_memory_equal(hash, zeroes, sizeof hash);
}

/* Message 1 of XX is in the clear: a change passes, shows, and is found at message 2. */
static void check_first_message_changed(sides *both, const uint8_t *message, size_t size, size_t at)
{
    uint8_t read[16], want[5] = {0}, answer[512];
    size_t got;
    assert_ok(kith_noise_read(both->noise[1], message, size, read, sizeof read, &got));
    assert_int_equal(got, 5);
    assert_int_equal(memcmp(read, want, 5) != 0, at >= 32);
    assert_ok(kith_noise_write(both->noise[1], NULL, 0, answer, sizeof answer, &got));
    assert_int_equal(kith_noise_read(both->noise[0], answer, got, read, sizeof read, &got), KITH_ERR_CRYPTO);
    assert_dead(both->noise[0]);
}

static void every_byte_of_every_message_counts(void **state)
{
    (void)state;
    for (size_t n = 0; n < 3; n++) {
        for (size_t at = 0, size = 1; at < size; at++) {
            uint8_t message[512], read[16];
            size_t got = 77;
            sides both = sides_of(XX, 0);
            run_until(&both, n);
            size = write_next(&both, message, sizeof message);
            message[at] ^= (uint8_t)(1 << at % 8); /* byte 31: the bit of a public key that X25519 ignores */
            if (n == 0) {
                check_first_message_changed(&both, message, size, at);
            } else {
                kith_noise *reader = both.noise[!(n % 2)];
                kith_err err = kith_noise_read(reader, message, size, read, sizeof read, &got);
                assert_int_equal(err, KITH_ERR_CRYPTO);
                assert_int_equal(got, 77);
                assert_dead(reader);
            }
            sides_free(&both);
        }
    }
}

static void every_length_counts(void **state)
{
    (void)state;
    static const size_t least[] = {32, 32 + 48 + 16, 48 + 16};
    for (size_t n = 0; n < 3; n++) {
        for (size_t cut = 0, size = 1; cut < size; cut++) {
            uint8_t message[512], read[16];
            size_t got;
            sides both = sides_of(XX, 0);
            run_until(&both, n);
            size = write_next(&both, message, sizeof message);
            uint8_t *shorter = exact(cut);
            memcpy(shorter, message, cut);
            kith_err err = kith_noise_read(both.noise[!(n % 2)], shorter, cut, read, sizeof read, &got);
            assert_int_equal(err, cut < least[n] ? KITH_ERR_TRUNCATED : n == 0 ? KITH_OK : KITH_ERR_CRYPTO);
            free(shorter);
            sides_free(&both);
        }
    }
}

/* Both sides run until one refuses; gives the number of the message that was refused, or 99. */
static size_t refused_at(const kith_noise_config configs[static 2])
{
    sides both;
    size_t refused = 99;
    for (size_t i = 0; i < 2; i++) assert_ok(kith_noise_new(&configs[i], &both.noise[i]));
    for (size_t n = 0; n < kith_noise_messages(both.noise[0]); n++) {
        uint8_t message[512], read[16];
        size_t size = write_next(&both, message, sizeof message);
        kith_err err = kith_noise_read(both.noise[!(n % 2)], message, size, read, sizeof read, &size);
        if (err == KITH_OK) continue;
        assert_int_equal(err, KITH_ERR_CRYPTO);
        refused = n;
        break;
    }
    sides_free(&both);
    return refused;
}

static size_t refused_with(const char *protocol, const kith_noise_config *changed)
{
    uint8_t remotes[2][32];
    kith_noise_config configs[2] = {config_of(protocol, true, remotes[0]), config_of(protocol, false, remotes[1])};
    if (changed->psks) configs[1].psks = changed->psks;
    if (changed->prologue.data) configs[1].prologue = changed->prologue;
    if (changed->remote_static) configs[0].remote_static = changed->remote_static;
    if (changed->protocol) configs[1].protocol = changed->protocol;
    configs[0].psk_count = configs[1].psk_count = changed->psk_count;
    return refused_at(configs);
}

static void sides_that_disagree(void **state)
{
    (void)state;
    uint8_t other_psks[KITH_NOISE_PSKS_MAX][KITH_NOISE_PSK_SIZE], other_static[32];
    static const struct {
        const char *protocol;
        size_t refused;
    } table[] = {
        {"Noise_XXpsk0" SUITE, 0}, {"Noise_XXpsk1" SUITE, 0}, {"Noise_XXpsk2" SUITE, 1}, {"Noise_XXpsk3" SUITE, 2}};
    memcpy(other_psks, psks, sizeof psks);
    other_psks[0][31] ^= 1;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        kith_noise_config psk = {.psks = (const uint8_t(*)[KITH_NOISE_PSK_SIZE])other_psks, .psk_count = 1};
        assert_int_equal(refused_with(table[i].protocol, &psk), table[i].refused);
        psk.psks = psks;
        assert_int_equal(refused_with(table[i].protocol, &psk), 99);
    }
    memcpy(other_psks, psks, sizeof psks);
    memcpy(other_psks[0], psks[1], 32); /* the right ones, in the wrong order */
    memcpy(other_psks[1], psks[0], 32);
    kith_noise_config two = {.psks = (const uint8_t(*)[KITH_NOISE_PSK_SIZE])other_psks, .psk_count = 2};
    assert_int_equal(refused_with("Noise_XXpsk0+psk3" SUITE, &two), 0);
    assert_int_equal(refused_with(XX, &(kith_noise_config){.prologue = {"prologuE", 8}}), 1);
    assert_int_equal(refused_with(XX, &(kith_noise_config){.protocol = "Noise_XX1" SUITE}), 1);
    kith_x25519_public(secrets[0][1], other_static);
    assert_int_equal(refused_with("Noise_IK" SUITE, &(kith_noise_config){.remote_static = other_static}), 0);
    assert_int_equal(refused_with("Noise_NK" SUITE, &(kith_noise_config){.remote_static = other_static}), 0);
}

static void a_low_order_key_is_refused(void **state)
{
    (void)state;
    uint8_t message[512] = {0}, read[16], remote[32];
    size_t size;
    sides both = sides_of(XX, 0);
    assert_ok(kith_noise_read(both.noise[1], message, 32, read, sizeof read, &size)); /* e = 0: no DH yet */
    assert_int_equal(kith_noise_write(both.noise[1], NULL, 0, message, sizeof message, &size), KITH_ERR_CRYPTO);
    assert_dead(both.noise[1]);
    sides_free(&both);
    both = sides_of(XX, 0);
    write_next(&both, message, sizeof message);
    memset(message, 0, sizeof message);
    message[0] = 1;
    assert_int_equal(kith_noise_read(both.noise[0], message, 96, read, sizeof read, &size), KITH_ERR_CRYPTO);
    sides_free(&both);
    memset(message, 0, sizeof message);
    kith_noise_config config = config_of("Noise_IK" SUITE, true, remote);
    memset(remote, 0, sizeof remote);
    kith_noise *noise;
    assert_ok(kith_noise_new(&config, &noise));
    assert_int_equal(kith_noise_write(noise, NULL, 0, message, sizeof message, &size), KITH_ERR_CRYPTO);
    kith_noise_free(noise);
}

static void out_of_turn(void **state)
{
    (void)state;
    uint8_t message[512], read[16], keys[64];
    for (size_t n = 0; n < 3; n++) {
        size_t size = 77;
        sides both = sides_of(XX, 0);
        run_until(&both, n);
        kith_noise *writer = both.noise[n % 2], *reader = both.noise[!(n % 2)];
        assert_int_equal(kith_noise_split(writer, keys, keys + 32), KITH_ERR_STATE);
        assert_int_equal(kith_noise_read(writer, message, 200, read, sizeof read, &size), KITH_ERR_STATE);
        assert_int_equal(kith_noise_write(reader, NULL, 0, message, sizeof message, &size), KITH_ERR_STATE);
        assert_int_equal(size, 77);
        assert_dead(writer);
        assert_dead(reader);
        sides_free(&both);
    }
    /* after the last message there is no turn, and what was agreed stays */
    sides both = sides_of(XX, 0);
    run_until(&both, 3);
    for (size_t i = 0; i < 2; i++) {
        size_t size;
        assert_int_equal(kith_noise_read(both.noise[i], message, 200, read, sizeof read, &size), KITH_ERR_STATE);
        assert_int_equal(kith_noise_write(both.noise[i], NULL, 0, message, 200, &size), KITH_ERR_STATE);
        assert_true(kith_noise_finished(both.noise[i]));
        assert_true(kith_noise_remote_static(both.noise[i], keys));
        assert_ok(kith_noise_split(both.noise[i], keys, keys + 32));
    }
    sides_free(&both);
}

static void room_for_each_message(void **state)
{
    (void)state;
    static const size_t sizes[] = {32 + 5, 32 + 48 + 16 + 6, 48 + 16 + 7};
    for (size_t n = 0; n < 3; n++) {
        for (size_t less = 0; less < 2; less++) {
            sides both = sides_of(XX, 0);
            run_until(&both, n);
            uint8_t payload[16] = {0}, *out = exact(sizes[n]), *read = exact(n + 5);
            size_t size = 77, cap = sizes[n] - less;
            memset(out, 0xaa, sizes[n]);
            kith_noise *writer = both.noise[n % 2], *reader = both.noise[!(n % 2)];
            assert_int_equal(kith_noise_write(writer, payload, n + 5, out, cap, &size),
                             less ? KITH_ERR_LIMIT : KITH_OK);
            assert_int_equal(size, less ? 77 : sizes[n]);
            for (size_t i = 0; less && i < sizes[n]; i++) assert_int_equal(out[i], 0xaa);
            if (!less) assert_ok(kith_noise_read(reader, out, size, read, n + 5, &size));
            if (less) assert_dead(writer);
            sides_free(&both);

            both = sides_of(XX, 0);
            run_until(&both, n);
            uint8_t message[512];
            size = write_next(&both, message, sizeof message);
            kith_err err = kith_noise_read(both.noise[!(n % 2)], message, size, read, n + 5 - less, &size);
            assert_int_equal(err, less ? KITH_ERR_LIMIT : KITH_OK);
            sides_free(&both);
            free(out);
            free(read);
        }
    }
}

/* Section 3: 65,535 bytes with everything. */
static void the_longest_message(void **state)
{
    (void)state;
    static uint8_t payload[70000], message[70000], read[70000];
    size_t size, most = KITH_NOISE_MESSAGE_MAX - 32;
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (uint8_t)(i * 11);
    sides both = sides_of(XX, 0);
    assert_ok(kith_noise_write(both.noise[0], payload, most, message, sizeof message, &size));
    assert_int_equal(size, KITH_NOISE_MESSAGE_MAX);
    assert_ok(kith_noise_read(both.noise[1], message, size, read, sizeof read, &size));
    assert_int_equal(size, most);
    assert_memory_equal(read, payload, most);
    most = KITH_NOISE_MESSAGE_MAX - 96;
    assert_ok(kith_noise_write(both.noise[1], payload, most, message, sizeof message, &size));
    assert_ok(kith_noise_read(both.noise[0], message, size, read, sizeof read, &size));
    assert_memory_equal(read, payload, most);
    sides_free(&both);
    both = sides_of(XX, 0);
    size_t over = KITH_NOISE_MESSAGE_MAX + 1;
    assert_int_equal(kith_noise_write(both.noise[0], payload, over - 32, message, sizeof message, &size),
                     KITH_ERR_LIMIT);
    assert_int_equal(kith_noise_read(both.noise[1], message, over, read, sizeof read, &size), KITH_ERR_LIMIT);
    sides_free(&both);
}

/* A static key is known once a message that holds it has been read whole: not before, and not when it fails. */
static void when_the_peer_is_known(void **state)
{
    (void)state;
    uint8_t key[32], want[32];
    for (size_t n = 0; n <= 3; n++) {
        sides both = sides_of(XX, 0);
        run_until(&both, n);
        for (size_t i = 0; i < 2; i++) {
            kith_x25519_public(secrets[!i][0], want);
            bool known = n >= (i == 0 ? 2 : 3);
            assert_int_equal(kith_noise_remote_static(both.noise[i], key), known);
            if (known) assert_memory_equal(key, want, sizeof key);
        }
        sides_free(&both);
    }
    sides both = sides_of("Noise_NN" SUITE, 0);
    run_until(&both, 2);
    assert_false(kith_noise_remote_static(both.noise[0], key));
    sides_free(&both);
}

static void names_that_are_none(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "Noise_",
        "Noise" SUITE,
        "Noise_" SUITE,
        "Noise_XY" SUITE,
        "Noise_X" SUITE "x",
        "noise_XX" SUITE,
        "Noise_XX_25519_AESGCM_BLAKE2s",
        "Noise_XX_448_ChaChaPoly_BLAKE2s",
        "Noise_XX_25519_ChaChaPoly_BLAKE2b",
        "Noise_XXfallback" SUITE,
        "Noise_XXpsk" SUITE,
        "Noise_XXpsk4" SUITE,
        "Noise_NNpsk3" SUITE,
        "Noise_Npsk2" SUITE,
        "Noise_XXpsk0+" SUITE,
        "Noise_XX+psk0" SUITE,
        "Noise_XXpsk0psk1" SUITE,
        "Noise_XXpsk0+psk0" SUITE,
        "Noise_XXpsk1+psk0" SUITE,
        "Noise_XXpsk10" SUITE,
        "Noise_XXpskx" SUITE,
        "Noise_psk0" SUITE,
        "Noise_XX1X1" SUITE,
        "Noise_XXXXX" SUITE,
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t remote[32];
        kith_noise_config config = config_of(names[i], true, remote);
        for (config.psk_count = 0; config.psk_count <= 2; config.psk_count++) {
            kith_noise *noise = NULL;
            if (kith_noise_new(&config, &noise) != KITH_ERR_ARG || noise) fail_msg("taken: %s", names[i]);
        }
    }
}

static kith_err try(kith_noise_config config)
{
    kith_noise *noise = NULL;
    kith_err err = kith_noise_new(&config, &noise);
    kith_noise_free(noise);
    return err;
}

static void keys_that_are_missing(void **state)
{
    (void)state;
    static const struct {
        const char *protocol;
        bool initiator, wants_static, wants_ephemeral, wants_remote;
    } table[] = {
        {"Noise_XX" SUITE, true, true, true, false},  {"Noise_XX" SUITE, false, true, true, false},
        {"Noise_NN" SUITE, true, false, true, false}, {"Noise_NN" SUITE, false, false, true, false},
        {"Noise_IK" SUITE, true, true, true, true},   {"Noise_IK" SUITE, false, true, true, false},
        {"Noise_NK1" SUITE, true, false, true, true}, {"Noise_NK1" SUITE, false, true, true, false},
        {"Noise_KN" SUITE, true, true, true, false},  {"Noise_KN" SUITE, false, false, true, true},
        {"Noise_X" SUITE, true, true, true, true},    {"Noise_X" SUITE, false, true, false, false},
        {"Noise_K" SUITE, false, true, false, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t remote[32];
        kith_noise_config config = config_of(table[i].protocol, table[i].initiator, remote), less = config;
        assert_ok(try(config));
        less.static_secret = NULL;
        assert_int_equal(try(less), table[i].wants_static ? KITH_ERR_ARG : KITH_OK);
        less = config;
        less.ephemeral_secret = NULL;
        assert_int_equal(try(less), table[i].wants_ephemeral ? KITH_ERR_ARG : KITH_OK);
        less = config;
        less.remote_static = NULL;
        assert_int_equal(try(less), table[i].wants_remote ? KITH_ERR_ARG : KITH_OK);
        config.psk_count = 1;
        assert_int_equal(try(config), KITH_ERR_ARG);
    }
    uint8_t remote[32];
    kith_noise_config config = config_of("Noise_XXpsk0+psk2" SUITE, true, remote);
    for (config.psk_count = 0; config.psk_count <= 3; config.psk_count++)
        assert_int_equal(try(config), config.psk_count == 2 ? KITH_OK : KITH_ERR_ARG);
    config.psk_count = 2;
    config.psks = NULL;
    assert_int_equal(try(config), KITH_ERR_ARG);
}

static void the_nonce_of_a_message(void **state)
{
    (void)state;
    uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    kith_noise_nonce(UINT64_C(0x0102030405060708), nonce);
    test_equal_hex(nonce, sizeof nonce, "000000000807060504030201");
}

static int make_and_free(void *arg)
{
    (void)arg;
    uint8_t remote[32];
    kith_noise_config config = config_of(XX, true, remote);
    return try(config);
}

static void no_memory(void **state)
{
    (void)state;
    test_every_allocation(make_and_free, NULL);
    kith_noise_free(NULL);
    /* and once it is made it asks for none */
    sides both = sides_of(XX, 0);
    kith_mem_fail_at(1, true);
    run_to_the_end(&both);
    assert_int_equal(kith_mem_calls(), 0);
    kith_mem_fail_at(0, false);
    sides_free(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_pattern_with_every_set_of_psks),
        TEST(patterns_without_published_vectors),
        TEST(every_byte_of_every_message_counts),
        TEST(every_length_counts),
        TEST(sides_that_disagree),
        TEST(a_low_order_key_is_refused),
        TEST(out_of_turn),
        TEST(room_for_each_message),
        TEST(the_longest_message),
        TEST(when_the_peer_is_known),
        TEST(names_that_are_none),
        TEST(keys_that_are_missing),
        TEST(the_nonce_of_a_message),
        TEST(no_memory),
    };
    if (kith_crypto_init()) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
