#include "identity/backup.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/blake3.h"
#include "identity/envelope.h"
#include "identity/json.h"
#include "wire/cbor.h"

#include <stdio.h>
#include <string.h>

#define MAGIC            "kithbak\n"
#define MAGIC_SIZE       8
#define FLAG_RECOVERY    1u
#define BOUND_SIZE       60 /* what the slots are bound to */
#define RECOVERY_AT      120
#define CONTEXT_PASSWORD "kith 2026-11 backup: password slot"
#define CONTEXT_BODY     "kith 2026-11 backup: body"
#define CONTEXT_SUM      "kith 2026-11 backup: checksum"
#define CONTEXT_SIGNED   "kith 2026-11 backup: signed"
#define SIGN_LABEL       "kith backup v1"
#define WHAT             "kith backup"
#define NAME_MAX_SIZE    24 /* bytes of a part's name and the heads around it */
#define BODY_EXTRA       (16 + KITH_BACKUP_PARTS * NAME_MAX_SIZE + 2 + KITH_ED25519_SIGNATURE_SIZE)
#define DIGEST_SIZE      KITH_BACKUP_KEY_SIZE

static const char *const names[KITH_BACKUP_PARTS] = KITH_BACKUP_NAMES;
static const uint8_t no_nonce[KITH_AEAD_NONCE_SIZE];

_Static_assert(RECOVERY_AT == BOUND_SIZE + KITH_AEAD_NONCE_SIZE + KITH_BACKUP_KEY_SIZE + KITH_AEAD_TAG_SIZE, "slots");
_Static_assert(KITH_BACKUP_KEY_SIZE == KITH_RECOVERY_SECRET, "the file key is what is sealed");

static void subkey(const char *context, const uint8_t *key, uint8_t out[static KITH_AEAD_KEY_SIZE])
{
    kith_blake3_derive(context, key, KITH_BACKUP_KEY_SIZE, out, KITH_AEAD_KEY_SIZE);
}

/* The key of the password slot.  ARG, FORMAT (parameters), NOMEM. */
static kith_err password_key(const kith_kdf_params *kdf, kith_bytes password, const uint8_t *salt,
                             uint8_t out[static KITH_AEAD_KEY_SIZE])
{
    const kith_bytes none = {NULL, 0};
    uint8_t key[KITH_BACKUP_KEY_SIZE];
    if (!password.size) return KITH_ERR_ARG;
    kith_err err = kith_kdf(kdf, password, (kith_bytes){salt, KITH_KDF_SALT_SIZE}, none, none, key, sizeof key);
    if (!err) subkey(CONTEXT_PASSWORD, key, out);
    kith_wipe(key, sizeof key);
    return err;
}

/* ---- the body ---- */

static bool must_be(size_t part) { return part == KITH_BACKUP_DEVICE || part == KITH_BACKUP_KEYS; }

/* What is signed: the label and the digest of what the array has before the signature. */
static void to_sign(const uint8_t *digest, uint8_t out[static sizeof SIGN_LABEL + DIGEST_SIZE])
{
    memcpy(out, SIGN_LABEL, sizeof SIGN_LABEL);
    memcpy(out + sizeof SIGN_LABEL, digest, DIGEST_SIZE);
}

static void write_signature(kith_writer *w, const uint8_t *begin, const uint8_t *seed)
{
    uint8_t digest[DIGEST_SIZE], message[sizeof SIGN_LABEL + DIGEST_SIZE], signature[KITH_ED25519_SIGNATURE_SIZE];
    if (w->bad) return;
    kith_blake3_derive(CONTEXT_SIGNED, begin, (size_t)(w->at - begin), digest, sizeof digest);
    to_sign(digest, message);
    kith_ed25519_sign(seed, message, sizeof message, signature);
    kith_cbor_write_bytes(w, signature, sizeof signature);
}

static void write_body(kith_writer *w, const kith_backup_content *backup)
{
    size_t count = 0;
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) count += backup->parts[i].data != NULL;
    kith_cbor_write_array(w, backup->seed ? 3 : 2);
    const uint8_t *begin = w->at;
    kith_cbor_write_int(w, backup->made_at_ms);
    kith_cbor_write_array(w, count);
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        if (!backup->parts[i].data) continue;
        kith_cbor_write_array(w, 2);
        kith_cbor_write_text(w, names[i], strlen(names[i]));
        kith_cbor_write_bytes(w, backup->parts[i].data, backup->parts[i].size);
    }
    if (backup->seed) write_signature(w, begin, backup->seed);
}

/* What was authenticated: wrong only when a Kith that is not this one wrote it. */
static kith_err read_body(kith_backup_content *out, kith_reason *reason)
{
    kith_cbor_reader r = kith_cbor_reader_of(out->memory, out->memory_size);
    size_t items = kith_cbor_read_array(&r);
    const uint8_t *begin = r.at;
    out->made_at_ms = kith_cbor_read_int(&r);
    size_t count = kith_cbor_read_array(&r), part = 0;
    for (size_t i = 0; i < count && !r.bad; i++) {
        size_t size, row = kith_cbor_read_array(&r);
        const char *name = kith_cbor_read_text(&r, &size);
        if (r.bad || row != 2) return kith_envelope_bad(&r, out->memory, "not what a backup holds", reason);
        while (part < KITH_BACKUP_PARTS && (strlen(names[part]) != size || memcmp(names[part], name, size) != 0))
            part++;
        if (part == KITH_BACKUP_PARTS) return kith_envelope_bad(&r, out->memory, "a file that is not known", reason);
        out->parts[part].data = kith_cbor_read_bytes(&r, &out->parts[part].size);
        part++; /* each once, in their order */
    }
    if (!r.bad) kith_blake3_derive(CONTEXT_SIGNED, begin, (size_t)(r.at - begin), out->digest, sizeof out->digest);
    out->has_signature = items == 3;
    if (out->has_signature) kith_cbor_read_copy(&r, out->signature, sizeof out->signature);
    if ((items != 2 && items != 3) || !kith_cbor_done(&r))
        return kith_envelope_bad(&r, out->memory, "not what a backup holds", reason);
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++)
        if (must_be(i) && !out->parts[i].data) return kith__json_bad(reason, names[i], "is not in it");
    return KITH_OK;
}

/* ---- sealing ---- */

static kith_err seal_slots(kith_writer *w, const kith_kdf_params *kdf, kith_bytes password,
                           const kith_recovery_public *recovery, const kith_backup_random *random)
{
    uint8_t key[KITH_AEAD_KEY_SIZE];
    kith_write_bytes(w, MAGIC, MAGIC_SIZE);
    kith_write_u32(w, KITH_BACKUP_VERSION);
    kith_write_u32(w, recovery ? FLAG_RECOVERY : 0);
    kith_write_u32(w, kdf->memory_kib);
    kith_write_u32(w, kdf->passes);
    kith_write_u32(w, kdf->lanes);
    kith_write_bytes(w, random->salt, sizeof random->salt);
    kith_write_bytes(w, random->nonce, sizeof random->nonce);
    uint8_t *slot = kith_write_room(w, KITH_BACKUP_KEY_SIZE + KITH_AEAD_TAG_SIZE);
    uint8_t *recovery_slot = kith_write_room(w, KITH_RECOVERY_SEALED);
    kith_err err = password_key(kdf, password, random->salt, key);
    if (!err)
        err = kith_aead_seal_once(key, random->nonce, w->start, BOUND_SIZE, random->key, sizeof random->key, slot);
    kith_wipe(key, sizeof key);
    if (err == KITH_ERR_FORMAT) return KITH_ERR_ARG;
    memset(recovery_slot, 0, KITH_RECOVERY_SEALED);
    if (err || !recovery) return err;
    return kith_recovery_seal(recovery, WHAT, w->start, BOUND_SIZE, random->key, random->ephemeral, recovery_slot);
}

/* The body is written where it is to be, and sealed in place. */
static kith_err seal_body(kith_writer *w, const kith_backup_content *backup, const uint8_t *file_key)
{
    uint8_t key[KITH_AEAD_KEY_SIZE], *size_at = kith_write_room(w, 8), *body = w->at;
    write_body(w, backup);
    size_t size = (size_t)(w->at - body);
    if (w->bad || size + KITH_AEAD_TAG_SIZE > KITH_BACKUP_BODY_MAX) return KITH_ERR_LIMIT;
    kith_write_room(w, KITH_AEAD_TAG_SIZE);
    kith_writer head = kith_writer_of(size_at, 8);
    kith_write_u64(&head, size + KITH_AEAD_TAG_SIZE);
    subkey(CONTEXT_BODY, file_key, key);
    kith_err err = kith_aead_seal_once(key, no_nonce, w->start, KITH_BACKUP_HEAD, body, size, body);
    kith_wipe(key, sizeof key);
    return err;
}

kith_err kith_backup_seal(const kith_backup_content *backup, const kith_kdf_params *kdf, kith_bytes password,
                          const kith_recovery_public *recovery, const kith_backup_random *random, uint8_t **out,
                          size_t *size)
{
    size_t cap = KITH_BACKUP_HEAD + BODY_EXTRA + KITH_AEAD_TAG_SIZE + KITH_BLAKE3_SIZE;
    for (size_t i = 0; i < KITH_BACKUP_PARTS; i++) {
        if (must_be(i) && !backup->parts[i].data) return KITH_ERR_ARG;
        if (backup->parts[i].size > KITH_BACKUP_BODY_MAX) return KITH_ERR_LIMIT;
        cap += backup->parts[i].size;
    }
    uint8_t *data = kith_malloc(cap), *sum = NULL;
    if (!data) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(data, cap);
    kith_err err = seal_slots(&w, kdf, password, recovery, random);
    if (!err) err = seal_body(&w, backup, random->key);
    if (!err && !(sum = kith_write_room(&w, KITH_BLAKE3_SIZE))) err = KITH_ERR_INTERNAL;
    if (err) {
        kith_wipe(data, cap);
        kith_free(data);
        return err;
    }
    kith_blake3_derive(CONTEXT_SUM, data, (size_t)(sum - data), sum, KITH_BLAKE3_SIZE);
    *out = data;
    *size = kith_writer_size(&w);
    return KITH_OK;
}

/* ---- opening ---- */

typedef struct head {
    uint32_t flags;
    kith_kdf_params kdf;
    const uint8_t *salt, *password_slot, *recovery_slot, *body;
    size_t body_size;
} head;

static kith_err damaged(kith_reason *reason, const char *what)
{
    snprintf(reason->text, sizeof reason->text, "%s", what);
    return KITH_ERR_DAMAGED;
}

static kith_err read_head(const uint8_t *data, size_t size, head *out, kith_reason *reason)
{
    kith_reader r = kith_reader_of(data, size);
    uint8_t sum[KITH_BLAKE3_SIZE];
    const uint8_t *magic = kith_read_view(&r, MAGIC_SIZE);
    uint32_t version = kith_read_u32(&r);
    if (r.bad || memcmp(magic, MAGIC, MAGIC_SIZE) != 0) return damaged(reason, "not a backup of Kith");
    if (version > KITH_BACKUP_VERSION) return kith__newer(reason, version, KITH_BACKUP_VERSION);
    out->flags = kith_read_u32(&r);
    out->kdf.memory_kib = kith_read_u32(&r);
    out->kdf.passes = kith_read_u32(&r);
    out->kdf.lanes = kith_read_u32(&r);
    out->salt = kith_read_view(&r, KITH_KDF_SALT_SIZE);
    out->password_slot = kith_read_view(&r, RECOVERY_AT - BOUND_SIZE);
    out->recovery_slot = kith_read_view(&r, KITH_RECOVERY_SEALED);
    uint64_t body_size = kith_read_u64(&r);
    if (r.bad || body_size < KITH_AEAD_TAG_SIZE || body_size > KITH_BACKUP_BODY_MAX)
        return damaged(reason, "cut short");
    out->body_size = (size_t)body_size;
    out->body = kith_read_view(&r, out->body_size);
    const uint8_t *found = kith_read_view(&r, sizeof sum);
    if (!kith_reader_done(&r)) return damaged(reason, "cut short, or more than there should be");
    kith_blake3_derive(CONTEXT_SUM, data, (size_t)(found - data), sum, sizeof sum);
    if (memcmp(found, sum, sizeof sum) != 0) return damaged(reason, "the checksum does not fit");
    if (version == 0 || out->flags & ~FLAG_RECOVERY) return damaged(reason, "not a form that is known");
    return KITH_OK;
}

static kith_err open_body(const uint8_t *data, const head *h, const uint8_t *file_key, kith_backup_content *out,
                          kith_reason *reason)
{
    uint8_t key[KITH_AEAD_KEY_SIZE];
    kith_backup_content opened = {.memory = kith_malloc(h->body_size),
                                  .memory_size = h->body_size - KITH_AEAD_TAG_SIZE};
    if (!opened.memory) return KITH_ERR_NOMEM;
    subkey(CONTEXT_BODY, file_key, key);
    kith_err err = kith_aead_open_once(key, no_nonce, data, KITH_BACKUP_HEAD, h->body, h->body_size, opened.memory);
    kith_wipe(key, sizeof key);
    if (err == KITH_ERR_CRYPTO) err = damaged(reason, "it was changed");
    if (!err) err = read_body(&opened, reason);
    if (!err)
        *out = opened;
    else
        kith_backup_done(&opened);
    return err;
}

kith_err kith_backup_open(const void *data, size_t size, kith_bytes password, kith_backup_content *out,
                          kith_reason *reason)
{
    head h;
    uint8_t key[KITH_AEAD_KEY_SIZE], file_key[KITH_BACKUP_KEY_SIZE];
    kith_err err = read_head(data, size, &h, reason);
    if (!err) err = password_key(&h.kdf, password, h.salt, key);
    if (err == KITH_ERR_FORMAT) err = damaged(reason, "its key derivation asks for too much or too little");
    if (err) return err;
    err = kith_aead_open_once(key, h.password_slot, data, BOUND_SIZE, h.password_slot + KITH_AEAD_NONCE_SIZE,
                              sizeof file_key + KITH_AEAD_TAG_SIZE, file_key);
    kith_wipe(key, sizeof key);
    if (!err) err = open_body(data, &h, file_key, out, reason);
    kith_wipe(file_key, sizeof file_key);
    return err == KITH_ERR_CRYPTO ? KITH_ERR_PASSWORD : err;
}

kith_err kith_backup_open_code(const void *data, size_t size, const uint8_t code[static KITH_RECOVERY_CODE_SIZE],
                               kith_backup_content *out, kith_reason *reason)
{
    head h;
    uint8_t file_key[KITH_BACKUP_KEY_SIZE];
    kith_err err = read_head(data, size, &h, reason);
    if (!err && !(h.flags & FLAG_RECOVERY)) err = KITH_ERR_STATE;
    if (!err) err = kith_recovery_open(code, WHAT, data, BOUND_SIZE, h.recovery_slot, file_key);
    if (err) return err;
    err = open_body(data, &h, file_key, out, reason);
    kith_wipe(file_key, sizeof file_key);
    return err;
}

kith_err kith_backup_verify(const kith_backup_content *backup,
                            const uint8_t public_key[static KITH_ED25519_PUBLIC_SIZE])
{
    uint8_t message[sizeof SIGN_LABEL + DIGEST_SIZE];
    if (!backup->has_signature) return KITH_ERR_SIGNATURE;
    if (kith_crypto_init()) return KITH_ERR_CRYPTO;
    to_sign(backup->digest, message);
    return kith_ed25519_verify(public_key, message, sizeof message, backup->signature);
}

void kith_backup_done(kith_backup_content *backup)
{
    if (backup->memory) kith_wipe(backup->memory, backup->memory_size);
    kith_free(backup->memory);
    *backup = (kith_backup_content){0};
}
