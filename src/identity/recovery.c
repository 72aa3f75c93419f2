#include "identity/recovery.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/blake3.h"

#include <stdio.h>
#include <string.h>

#define CONTEXT_SIGN "kith 2026-11 recovery code: Ed25519 seed"
#define CONTEXT_OPEN "kith 2026-11 recovery code: X25519 secret"
#define CONTEXT_SEAL "kith 2026-11 recovery: sealed to the opening key"
#define DEPOSIT      "kith deposit"
#define WHAT_MAX     32 /* bytes of `what`, with its NUL */
#define AD_MAX       (WHAT_MAX + KITH_RECOVERY_BOUND_MAX + sizeof(kith_recovery_public))

_Static_assert(sizeof(kith_recovery_public) == KITH_ED25519_PUBLIC_SIZE + KITH_X25519_SIZE, "no padding");

/* ---- words ---- */

char *kith_recovery_text(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], char out[static KITH_RECOVERY_TEXT_SIZE])
{
    uint16_t words[KITH_RECOVERY_WORDS];
    size_t count = 0, n = 0;
    *out = 0;
    if (kith_bip39_encode(code, KITH_RECOVERY_CODE_SIZE, words, &count)) return out; /* 32 bytes are always fine */
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(out + n, KITH_RECOVERY_TEXT_SIZE - n, "%s%s", i ? " " : "", kith_bip39_word(words[i]));
    kith_wipe(words, sizeof words);
    return out;
}

kith_err kith_recovery_parse(const char *text, uint8_t code[static KITH_RECOVERY_CODE_SIZE], char *why, size_t why_size)
{
    uint16_t words[KITH_RECOVERY_WORDS];
    uint8_t found[32];
    size_t size = 0;
    kith_err err = kith_bip39_parse(text, "a recovery code", words, KITH_RECOVERY_WORDS, why, why_size);
    if (!err && (err = kith_bip39_decode(words, KITH_RECOVERY_WORDS, found, &size)) != KITH_OK)
        snprintf(why, why_size,
                 "these are words of the list, but together they are no recovery code: one is another word, or two are "
                 "in the wrong order");
    if (!err) memcpy(code, found, KITH_RECOVERY_CODE_SIZE);
    kith_wipe(words, sizeof words);
    kith_wipe(found, sizeof found);
    return err;
}

/* ---- keys ---- */

static void opening_secret(const uint8_t *code, uint8_t out[static KITH_X25519_SIZE])
{
    kith_blake3_derive(CONTEXT_OPEN, code, KITH_RECOVERY_CODE_SIZE, out, KITH_X25519_SIZE);
}

static void signing_seed(const uint8_t *code, uint8_t out[static KITH_ED25519_SEED_SIZE])
{
    kith_blake3_derive(CONTEXT_SIGN, code, KITH_RECOVERY_CODE_SIZE, out, KITH_ED25519_SEED_SIZE);
}

void kith_recovery_derive(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], kith_recovery_public *out)
{
    uint8_t secret[32];
    signing_seed(code, secret);
    kith_ed25519_public(secret, out->sign);
    opening_secret(code, secret);
    kith_x25519_public(secret, out->open);
    kith_wipe(secret, sizeof secret);
}

bool kith_recovery_same(const kith_recovery_public *a, const kith_recovery_public *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

void kith_recovery_sign(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], const void *message, size_t size,
                        uint8_t out[static KITH_ED25519_SIGNATURE_SIZE])
{
    uint8_t seed[KITH_ED25519_SEED_SIZE];
    signing_seed(code, seed);
    kith_ed25519_sign(seed, message, size, out);
    kith_wipe(seed, sizeof seed);
}

/* ---- sealing ---- */

/* The associated data's size; 0 when it does not fit. */
static size_t associate(const kith_recovery_public *to, const char *what, const void *bound, size_t bound_size,
                        uint8_t out[static AD_MAX])
{
    kith_writer w = kith_writer_of(out, AD_MAX);
    if (strlen(what) >= WHAT_MAX || bound_size > KITH_RECOVERY_BOUND_MAX) return 0;
    kith_write_bytes(&w, what, strlen(what) + 1);
    kith_write_bytes(&w, bound, bound_size);
    kith_write_bytes(&w, to->sign, sizeof to->sign);
    kith_write_bytes(&w, to->open, sizeof to->open);
    return kith_writer_size(&w);
}

/* CRYPTO: `theirs` is a point of low order. */
static kith_err seal_key(const uint8_t *secret, const uint8_t *theirs, const uint8_t *ephemeral_public,
                         const uint8_t *open, uint8_t key[static KITH_AEAD_KEY_SIZE])
{
    uint8_t all[3 * KITH_X25519_SIZE];
    kith_err err = kith_x25519(secret, theirs, all);
    memcpy(all + KITH_X25519_SIZE, ephemeral_public, KITH_X25519_SIZE);
    memcpy(all + 2 * KITH_X25519_SIZE, open, KITH_X25519_SIZE);
    if (!err) kith_blake3_derive(CONTEXT_SEAL, all, sizeof all, key, KITH_AEAD_KEY_SIZE);
    kith_wipe(all, sizeof all);
    return err;
}

static const uint8_t no_nonce[KITH_AEAD_NONCE_SIZE];

kith_err kith_recovery_seal(const kith_recovery_public *to, const char *what, const void *bound, size_t bound_size,
                            const uint8_t secret[static KITH_RECOVERY_SECRET],
                            const uint8_t ephemeral[static KITH_X25519_SIZE], uint8_t out[static KITH_RECOVERY_SEALED])
{
    uint8_t ad[AD_MAX], key[KITH_AEAD_KEY_SIZE], made[KITH_RECOVERY_SEALED];
    size_t ad_size = associate(to, what, bound, bound_size, ad);
    if (!ad_size) return KITH_ERR_ARG;
    kith_x25519_public(ephemeral, made);
    kith_err err = seal_key(ephemeral, to->open, made, to->open, key);
    if (!err)
        err = kith_aead_seal_once(key, no_nonce, ad, ad_size, secret, KITH_RECOVERY_SECRET, made + KITH_X25519_SIZE);
    kith_wipe(key, sizeof key);
    if (!err) memcpy(out, made, sizeof made);
    return err;
}

kith_err kith_recovery_open(const uint8_t code[static KITH_RECOVERY_CODE_SIZE], const char *what, const void *bound,
                            size_t bound_size, const uint8_t sealed[static KITH_RECOVERY_SEALED],
                            uint8_t secret[static KITH_RECOVERY_SECRET])
{
    uint8_t ad[AD_MAX], key[KITH_AEAD_KEY_SIZE], opening[KITH_X25519_SIZE], opened[KITH_RECOVERY_SECRET];
    kith_recovery_public ours;
    kith_recovery_derive(code, &ours);
    size_t ad_size = associate(&ours, what, bound, bound_size, ad);
    if (!ad_size) return KITH_ERR_ARG;
    opening_secret(code, opening);
    kith_err err = seal_key(opening, sealed, sealed, ours.open, key);
    if (!err)
        err = kith_aead_open_once(key, no_nonce, ad, ad_size, sealed + KITH_X25519_SIZE,
                                  KITH_RECOVERY_SEALED - KITH_X25519_SIZE, opened);
    if (!err) memcpy(secret, opened, sizeof opened);
    kith_wipe(opening, sizeof opening);
    kith_wipe(key, sizeof key);
    kith_wipe(opened, sizeof opened);
    return err == KITH_ERR_CRYPTO ? KITH_ERR_CODE : err;
}

/* ---- deposits ---- */

#define OWNER_SIZE (KITH_UUID_SIZE + KITH_ED25519_PUBLIC_SIZE)

static void owner(const uint8_t *uuid, const uint8_t *public_key, uint8_t out[static OWNER_SIZE])
{
    memcpy(out, uuid, KITH_UUID_SIZE);
    memcpy(out + KITH_UUID_SIZE, public_key, KITH_ED25519_PUBLIC_SIZE);
}

kith_err kith_deposit_seal(const kith_recovery_public *to, const uint8_t uuid[static KITH_UUID_SIZE],
                           const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                           const uint8_t ephemeral[static KITH_X25519_SIZE], uint8_t out[static KITH_DEPOSIT_SIZE])
{
    uint8_t public_key[KITH_ED25519_PUBLIC_SIZE], bound[OWNER_SIZE];
    kith_ed25519_public(seed, public_key);
    owner(uuid, public_key, bound);
    return kith_recovery_seal(to, DEPOSIT, bound, sizeof bound, seed, ephemeral, out);
}

kith_err kith_deposit_open(const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                           const uint8_t uuid[static KITH_UUID_SIZE],
                           const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE],
                           const uint8_t deposit[static KITH_DEPOSIT_SIZE], uint8_t seed[static KITH_ED25519_SEED_SIZE])
{
    uint8_t bound[OWNER_SIZE], opened[KITH_ED25519_SEED_SIZE], derived[KITH_ED25519_PUBLIC_SIZE];
    owner(uuid, public_key, bound);
    kith_err err = kith_recovery_open(code, DEPOSIT, bound, sizeof bound, deposit, opened);
    if (err) return err;
    kith_ed25519_public(opened, derived);
    if (memcmp(derived, public_key, sizeof derived) != 0) err = KITH_ERR_CODE;
    if (!err) memcpy(seed, opened, sizeof opened);
    kith_wipe(opened, sizeof opened);
    return err;
}
