#include "crypto/noise.h"

#include "base/mem.h"

#include <string.h>

#define SUITE               "_25519_ChaChaPoly_BLAKE2s"
#define DH_SIZE             KITH_X25519_SIZE
#define MESSAGES_MAX        4
#define TOKENS_MAX          5 /* in one message, psk tokens apart */
#define PATTERN_LETTERS_MAX 4

/* The tokens of section 7.1; in a two-letter one the first letter is the initiator's key.  NONE ends a message. */
enum token { NONE, E, S, EE, ES, SE, SS };

/* Public keys known before the first message (section 7.2). */
enum { INITIATOR = 1, RESPONDER = 2 };

/* Sections 7.4, 7.5 and 18.1.  A message is the initiator's when its index is even. */
static const struct pattern {
    char name[PATTERN_LETTERS_MAX + 1];
    uint8_t known;
    uint8_t messages[MESSAGES_MAX][TOKENS_MAX];
} patterns[] = {
    {"N", RESPONDER, {{E, ES}}},
    {"K", INITIATOR | RESPONDER, {{E, ES, SS}}},
    {"X", RESPONDER, {{E, ES, S, SS}}},

    {"NN", 0, {{E}, {E, EE}}},
    {"NK", RESPONDER, {{E, ES}, {E, EE}}},
    {"NX", 0, {{E}, {E, EE, S, ES}}},
    {"XN", 0, {{E}, {E, EE}, {S, SE}}},
    {"XK", RESPONDER, {{E, ES}, {E, EE}, {S, SE}}},
    {"XX", 0, {{E}, {E, EE, S, ES}, {S, SE}}},
    {"KN", INITIATOR, {{E}, {E, EE, SE}}},
    {"KK", INITIATOR | RESPONDER, {{E, ES, SS}, {E, EE, SE}}},
    {"KX", INITIATOR, {{E}, {E, EE, SE, S, ES}}},
    {"IN", 0, {{E, S}, {E, EE, SE}}},
    {"IK", RESPONDER, {{E, ES, S, SS}, {E, EE, SE}}},
    {"IX", 0, {{E, S}, {E, EE, SE, S, ES}}},

    {"NK1", RESPONDER, {{E}, {E, EE, ES}}},
    {"NX1", 0, {{E}, {E, EE, S}, {ES}}},
    {"X1N", 0, {{E}, {E, EE}, {S}, {SE}}},
    {"X1K", RESPONDER, {{E, ES}, {E, EE}, {S}, {SE}}},
    {"XK1", RESPONDER, {{E}, {E, EE, ES}, {S, SE}}},
    {"X1K1", RESPONDER, {{E}, {E, EE, ES}, {S}, {SE}}},
    {"X1X", 0, {{E}, {E, EE, S, ES}, {S}, {SE}}},
    {"XX1", 0, {{E}, {E, EE, S}, {ES, S, SE}}},
    {"X1X1", 0, {{E}, {E, EE, S}, {ES, S}, {SE}}},
    {"K1N", INITIATOR, {{E}, {E, EE}, {SE}}},
    {"K1K", INITIATOR | RESPONDER, {{E, ES}, {E, EE}, {SE}}},
    {"KK1", INITIATOR | RESPONDER, {{E}, {E, EE, SE, ES}}},
    {"K1K1", INITIATOR | RESPONDER, {{E}, {E, EE, ES}, {SE}}},
    {"K1X", INITIATOR, {{E}, {E, EE, S, ES}, {SE}}},
    {"KX1", INITIATOR, {{E}, {E, EE, SE, S}, {ES}}},
    {"K1X1", INITIATOR, {{E}, {E, EE, S}, {SE, ES}}},
    {"I1N", 0, {{E, S}, {E, EE}, {SE}}},
    {"I1K", RESPONDER, {{E, ES, S}, {E, EE}, {SE}}},
    {"IK1", RESPONDER, {{E, S}, {E, EE, SE, ES}}},
    {"I1K1", RESPONDER, {{E, S}, {E, EE, ES}, {SE}}},
    {"I1X", 0, {{E, S}, {E, EE, S, ES}, {SE}}},
    {"IX1", 0, {{E, S}, {E, EE, SE, S}, {ES}}},
    {"I1X1", 0, {{E, S}, {E, EE, S}, {SE, ES}}},
};

struct kith_noise {
    const struct pattern *pattern;
    bool initiator, failed;
    unsigned psk_places; /* bit n: a psk token before message 0 (n = 0), else at the end of message n - 1 */
    size_t messages, done;

    /* CipherState and SymmetricState (sections 5.1, 5.2) */
    bool has_key;
    uint64_t n;
    uint8_t k[KITH_AEAD_KEY_SIZE], ck[KITH_HASH_SIZE], h[KITH_HASH_SIZE];

    /* HandshakeState (section 5.3): own secrets with their public keys, the peer's public keys */
    bool has_rs;
    uint8_t s[DH_SIZE], s_public[DH_SIZE], e[DH_SIZE], e_public[DH_SIZE], rs[DH_SIZE], re[DH_SIZE];
    uint8_t psks[KITH_NOISE_PSKS_MAX][KITH_NOISE_PSK_SIZE];
};

void kith_noise_nonce(uint64_t n, uint8_t out[static KITH_AEAD_NONCE_SIZE])
{
    memset(out, 0, 4);
    for (size_t i = 0; i < 8; i++) out[4 + i] = (uint8_t)(n >> 8 * i);
}

/* ---- the symmetric state ---- */

static void mix_hash(kith_noise *noise, const void *data, size_t size)
{
    kith_blake2s((kith_bytes[]){{noise->h, sizeof noise->h}, {data, size}}, 2, noise->h);
}

static void set_key(kith_noise *noise, const uint8_t key[static KITH_AEAD_KEY_SIZE])
{
    memcpy(noise->k, key, sizeof noise->k);
    noise->n = 0;
    noise->has_key = true;
}

static void mix_key(kith_noise *noise, const uint8_t ikm[static DH_SIZE])
{
    uint8_t made[2][KITH_HASH_SIZE];
    kith_hkdf_blake2s(noise->ck, ikm, DH_SIZE, NULL, 0, 2, made);
    memcpy(noise->ck, made[0], sizeof noise->ck);
    set_key(noise, made[1]);
    kith_wipe(made, sizeof made);
}

static void mix_key_and_hash(kith_noise *noise, const uint8_t psk[static KITH_NOISE_PSK_SIZE])
{
    uint8_t made[3][KITH_HASH_SIZE];
    kith_hkdf_blake2s(noise->ck, psk, KITH_NOISE_PSK_SIZE, NULL, 0, 3, made);
    memcpy(noise->ck, made[0], sizeof noise->ck);
    mix_hash(noise, made[1], sizeof made[1]);
    set_key(noise, made[2]);
    kith_wipe(made, sizeof made);
}

static size_t tag_size(const kith_noise *noise) { return noise->has_key ? KITH_AEAD_TAG_SIZE : 0; }

/* out[size + tag_size] */
static kith_err encrypt_and_hash(kith_noise *noise, const void *plain, size_t size, uint8_t *out)
{
    if (noise->has_key) {
        uint8_t nonce[KITH_AEAD_NONCE_SIZE];
        kith_noise_nonce(noise->n++, nonce);
        kith_err err = kith_aead_seal_once(noise->k, nonce, noise->h, sizeof noise->h, plain, size, out);
        if (err) return err;
    } else if (size > 0) {
        memcpy(out, plain, size);
    }
    mix_hash(noise, out, size + tag_size(noise));
    return KITH_OK;
}

/* in[size + tag_size] -> out[size] */
static kith_err decrypt_and_hash(kith_noise *noise, const uint8_t *in, size_t size, uint8_t *out)
{
    if (noise->has_key) {
        uint8_t nonce[KITH_AEAD_NONCE_SIZE];
        kith_noise_nonce(noise->n++, nonce);
        size_t sealed = size + KITH_AEAD_TAG_SIZE;
        kith_err err = kith_aead_open_once(noise->k, nonce, noise->h, sizeof noise->h, in, sealed, out);
        if (err) return err;
    } else if (size > 0) {
        memcpy(out, in, size);
    }
    mix_hash(noise, in, size + tag_size(noise));
    return KITH_OK;
}

/* ---- tokens ---- */

static kith_err mix_dh(kith_noise *noise, const uint8_t secret[static DH_SIZE],
                       const uint8_t public_key[static DH_SIZE])
{
    uint8_t shared[DH_SIZE];
    kith_err err = kith_x25519(secret, public_key, shared);
    if (err) return err;
    mix_key(noise, shared);
    kith_wipe(shared, sizeof shared);
    return KITH_OK;
}

static kith_err mix_dh_token(kith_noise *noise, enum token token)
{
    bool own_static = token == SS || token == (noise->initiator ? SE : ES);
    bool their_static = token == SS || token == (noise->initiator ? ES : SE);
    return mix_dh(noise, own_static ? noise->s : noise->e, their_static ? noise->rs : noise->re);
}

static bool psk_at(const kith_noise *noise, size_t place) { return noise->psk_places >> place & 1; }

static void mix_psk(kith_noise *noise, size_t place)
{
    size_t before = 0; /* psk tokens that came earlier: psks are listed in the order of their use */
    for (size_t i = 0; i < place; i++) before += psk_at(noise, i);
    mix_key_and_hash(noise, noise->psks[before]);
}

/* An ephemeral public key, sent or received; section 9.2 has it mixed into the key too when there are psks. */
static void mix_ephemeral(kith_noise *noise, const uint8_t public_key[static DH_SIZE])
{
    mix_hash(noise, public_key, DH_SIZE);
    if (noise->psk_places) mix_key(noise, public_key);
}

/* Bytes of the next message beside its payload. */
static size_t overhead(const kith_noise *noise)
{
    const uint8_t *tokens = noise->pattern->messages[noise->done];
    bool has_key = noise->has_key; /* psk0 changes nothing here: e comes right after it */
    size_t size = 0;
    for (size_t i = 0; i < TOKENS_MAX && tokens[i] != NONE; i++) {
        if (tokens[i] == E) size += DH_SIZE;
        if (tokens[i] == S) size += DH_SIZE + (has_key ? (size_t)KITH_AEAD_TAG_SIZE : 0);
        if (tokens[i] == E ? noise->psk_places != 0 : tokens[i] != S) has_key = true;
    }
    if (psk_at(noise, noise->done + 1)) has_key = true;
    return size + (has_key ? (size_t)KITH_AEAD_TAG_SIZE : 0);
}

static kith_err write_token(kith_noise *noise, enum token token, uint8_t **at)
{
    kith_err err = KITH_OK;
    switch (token) {
    case E:
        memcpy(*at, noise->e_public, DH_SIZE);
        mix_ephemeral(noise, *at);
        *at += DH_SIZE;
        break;
    case S:
        err = encrypt_and_hash(noise, noise->s_public, DH_SIZE, *at);
        *at += DH_SIZE + tag_size(noise);
        break;
    default: err = mix_dh_token(noise, token);
    }
    return err;
}

static kith_err read_token(kith_noise *noise, enum token token, const uint8_t **at)
{
    kith_err err = KITH_OK;
    switch (token) {
    case E:
        memcpy(noise->re, *at, DH_SIZE);
        mix_ephemeral(noise, *at);
        *at += DH_SIZE;
        break;
    case S:
        err = decrypt_and_hash(noise, *at, DH_SIZE, noise->rs);
        noise->has_rs = err == KITH_OK;
        *at += DH_SIZE + tag_size(noise);
        break;
    default: err = mix_dh_token(noise, token);
    }
    return err;
}

/* ---- messages ---- */

bool kith_noise_finished(const kith_noise *noise) { return !noise->failed && noise->done == noise->messages; }

static bool writes(const kith_noise *noise, size_t message) { return noise->initiator == (message % 2 == 0); }

bool kith_noise_my_turn(const kith_noise *noise)
{
    return !noise->failed && noise->done < noise->messages && writes(noise, noise->done);
}

size_t kith_noise_messages(const kith_noise *noise) { return noise->messages; }
size_t kith_noise_done_messages(const kith_noise *noise) { return noise->done; }

/* Whatever went wrong, the state is of no more use: keep no secret and no key of a peer who did not prove it.  A call
 * too many after the last message undoes nothing, though. */
static kith_err fail(kith_noise *noise, kith_err err)
{
    if (kith_noise_finished(noise)) return err;
    size_t messages = noise->messages, done = noise->done;
    kith_wipe(noise, sizeof *noise);
    noise->failed = true;
    noise->messages = messages;
    noise->done = done;
    return err;
}

static void message_done(kith_noise *noise)
{
    if (++noise->done < noise->messages) return;
    kith_wipe(noise->k, sizeof noise->k); /* ck and h remain, for the split and the layers above */
    kith_wipe(noise->s, sizeof noise->s);
    kith_wipe(noise->e, sizeof noise->e);
    kith_wipe(noise->psks, sizeof noise->psks);
}

kith_err kith_noise_write(kith_noise *noise, const void *payload, size_t size, uint8_t *out, size_t cap,
                          size_t *out_size)
{
    if (!kith_noise_my_turn(noise)) return fail(noise, KITH_ERR_STATE);
    size_t room = cap < KITH_NOISE_MESSAGE_MAX ? cap : KITH_NOISE_MESSAGE_MAX, extra = overhead(noise);
    if (room < extra || room - extra < size) return fail(noise, KITH_ERR_LIMIT);

    const uint8_t *tokens = noise->pattern->messages[noise->done];
    uint8_t *at = out;
    if (noise->done == 0 && psk_at(noise, 0)) mix_psk(noise, 0);
    for (size_t i = 0; i < TOKENS_MAX && tokens[i] != NONE; i++) {
        kith_err err = write_token(noise, tokens[i], &at);
        if (err) return fail(noise, err);
    }
    if (psk_at(noise, noise->done + 1)) mix_psk(noise, noise->done + 1);
    kith_err err = encrypt_and_hash(noise, payload, size, at);
    if (err) return fail(noise, err);
    *out_size = extra + size;
    message_done(noise);
    return KITH_OK;
}

kith_err kith_noise_read(kith_noise *noise, const void *message, size_t size, uint8_t *out, size_t cap,
                         size_t *out_size)
{
    if (noise->failed || noise->done == noise->messages || writes(noise, noise->done))
        return fail(noise, KITH_ERR_STATE);
    size_t extra = overhead(noise);
    if (size < extra) return fail(noise, KITH_ERR_TRUNCATED);
    if (size > KITH_NOISE_MESSAGE_MAX || size - extra > cap) return fail(noise, KITH_ERR_LIMIT);

    const uint8_t *tokens = noise->pattern->messages[noise->done], *at = message;
    if (noise->done == 0 && psk_at(noise, 0)) mix_psk(noise, 0);
    for (size_t i = 0; i < TOKENS_MAX && tokens[i] != NONE; i++) {
        kith_err err = read_token(noise, tokens[i], &at);
        if (err) return fail(noise, err);
    }
    if (psk_at(noise, noise->done + 1)) mix_psk(noise, noise->done + 1);
    kith_err err = decrypt_and_hash(noise, at, size - extra, out);
    if (err) return fail(noise, err);
    *out_size = size - extra;
    message_done(noise);
    return KITH_OK;
}

/* ---- set-up ---- */

/* "psk0+psk2" into bits; in ascending order, as section 8.2 has them.  Nothing at all is fine. */
static bool parse_psks(const char *text, size_t size, size_t messages, unsigned *places)
{
    unsigned found = 0;
    const char *end = text + size;
    while (text < end) {
        if (found && *text++ != '+') return false;
        if (end - text < 4 || memcmp(text, "psk", 3) != 0) return false;
        if (text[3] < '0' || text[3] > '9') return false;
        unsigned place = (unsigned)(text[3] - '0');
        if (place > messages || found >> place) return false;
        found |= 1u << place;
        text += 4;
    }
    *places = found;
    return true;
}

/* The pattern, its number of messages and its psk places from "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s". */
static bool parse_protocol(kith_noise *noise, const char *protocol)
{
    static const char begin[] = "Noise_";
    size_t size = strlen(protocol), begin_size = sizeof begin - 1, suite_size = sizeof SUITE - 1;
    if (size < begin_size + suite_size || memcmp(protocol, begin, begin_size) != 0) return false;
    if (strcmp(protocol + size - suite_size, SUITE) != 0) return false;
    const char *name = protocol + begin_size;
    size_t name_size = size - begin_size - suite_size, letters = 0;
    while (letters < name_size && name[letters] != 'p') letters++; /* no pattern has a small letter */
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (strlen(patterns[i].name) == letters && memcmp(patterns[i].name, name, letters) == 0)
            noise->pattern = &patterns[i];
    }
    if (!noise->pattern) return false;
    while (noise->messages < MESSAGES_MAX && noise->pattern->messages[noise->messages][0] != NONE) noise->messages++;
    return parse_psks(name + letters, name_size - letters, noise->messages, &noise->psk_places);
}

/* Whether this side, or the other, sends `token`. */
static bool sends(const kith_noise *noise, bool own, enum token token)
{
    for (size_t m = 0; m < noise->messages; m++) {
        if (writes(noise, m) == own && memchr(noise->pattern->messages[m], (int)token, TOKENS_MAX)) return true;
    }
    return false;
}

static kith_err take_keys(kith_noise *noise, const kith_noise_config *config)
{
    bool own_known = noise->pattern->known & (noise->initiator ? INITIATOR : RESPONDER);
    bool their_known = noise->pattern->known & (noise->initiator ? RESPONDER : INITIATOR);
    size_t psks = 0;
    for (size_t i = 0; i < KITH_NOISE_PSKS_MAX; i++) psks += psk_at(noise, i);
    if (config->psk_count != psks || (psks > 0 && !config->psks)) return KITH_ERR_ARG;
    if (psks > 0) memcpy(noise->psks, config->psks, psks * KITH_NOISE_PSK_SIZE);
    if (own_known || sends(noise, true, S)) {
        if (!config->static_secret) return KITH_ERR_ARG;
        memcpy(noise->s, config->static_secret, DH_SIZE);
        kith_x25519_public(noise->s, noise->s_public);
    }
    if (sends(noise, true, E)) {
        if (!config->ephemeral_secret) return KITH_ERR_ARG;
        memcpy(noise->e, config->ephemeral_secret, DH_SIZE);
        kith_x25519_public(noise->e, noise->e_public);
    }
    if (their_known) {
        if (!config->remote_static) return KITH_ERR_ARG;
        memcpy(noise->rs, config->remote_static, DH_SIZE);
        noise->has_rs = true;
    }
    return KITH_OK;
}

/* Initialize() of section 5.3. */
static void begin(kith_noise *noise, const char *protocol, kith_bytes prologue)
{
    size_t size = strlen(protocol);
    if (size <= sizeof noise->h)
        memcpy(noise->h, protocol, size); /* the rest is zero */
    else
        kith_blake2s(&(kith_bytes){protocol, size}, 1, noise->h);
    memcpy(noise->ck, noise->h, sizeof noise->ck);
    mix_hash(noise, prologue.data, prologue.size);
    if (noise->pattern->known & INITIATOR) mix_hash(noise, noise->initiator ? noise->s_public : noise->rs, DH_SIZE);
    if (noise->pattern->known & RESPONDER) mix_hash(noise, noise->initiator ? noise->rs : noise->s_public, DH_SIZE);
}

kith_err kith_noise_new(const kith_noise_config *config, kith_noise **out)
{
    kith_err err = kith_crypto_init();
    if (err) return err;
    kith_noise *noise = kith_calloc(1, sizeof *noise);
    if (!noise) return KITH_ERR_NOMEM;
    noise->initiator = config->initiator;
    err = parse_protocol(noise, config->protocol) ? take_keys(noise, config) : KITH_ERR_ARG;
    if (err) {
        kith_noise_free(noise);
        return err;
    }
    begin(noise, config->protocol, config->prologue);
    *out = noise;
    return KITH_OK;
}

void kith_noise_free(kith_noise *noise)
{
    if (!noise) return;
    kith_wipe(noise, sizeof *noise);
    kith_free(noise);
}

/* ---- what it gives ---- */

void kith_noise_hash(const kith_noise *noise, uint8_t out[static KITH_HASH_SIZE])
{
    memcpy(out, noise->h, KITH_HASH_SIZE);
}

void kith_noise_chaining_key(const kith_noise *noise, uint8_t out[static KITH_HASH_SIZE])
{
    memcpy(out, noise->ck, KITH_HASH_SIZE);
}

bool kith_noise_remote_static(const kith_noise *noise, uint8_t out[static KITH_X25519_SIZE])
{
    if (noise->has_rs) memcpy(out, noise->rs, KITH_X25519_SIZE);
    return noise->has_rs;
}

kith_err kith_noise_split(kith_noise *noise, uint8_t send[static 32], uint8_t receive[static 32])
{
    if (!kith_noise_finished(noise)) return KITH_ERR_STATE;
    uint8_t made[2][KITH_HASH_SIZE];
    kith_hkdf_blake2s(noise->ck, NULL, 0, NULL, 0, 2, made);
    memcpy(send, made[noise->initiator ? 0 : 1], KITH_HASH_SIZE);
    memcpy(receive, made[noise->initiator ? 1 : 0], KITH_HASH_SIZE);
    kith_wipe(made, sizeof made);
    return KITH_OK;
}
