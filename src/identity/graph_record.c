/* Records of the trust graph: their bytes. */
#include "identity/graph_internal.h"

#include "base/mem.h"
#include "crypto/blake3.h"
#include "wire/cbor.h"

#include <string.h>

#define ENTRY_MEMBERS 5
#define PAIR_SIZE     sizeof(kith_recovery_public)
#define UNNAMED       "device"

enum { KIND = 1, PARENTS, TIME, SIGNER, ENTRY, PAIR, DEPOSIT, TARGET, WHY, TEXTS, ROSTER }; /* of a body */
enum { UUID = 1, ED25519, NAME, OS, HARDWARE_MODEL };                                       /* of a device */

_Static_assert(PAIR_SIZE == KITH_ED25519_PUBLIC_SIZE + KITH_X25519_SIZE, "a pair is written as it stands");

static void clean(const char *text, char out[static KITH_NAME_SIZE])
{
    kith_name_clean(text ? text : "", text ? strlen(text) : 0, out, KITH_NAME_SIZE);
}

void kith_graph_entry_make(const uint8_t uuid[static KITH_UUID_SIZE],
                           const uint8_t ed25519[static KITH_ED25519_PUBLIC_SIZE], const char *name, const char *os,
                           const char *hardware_model, kith_graph_entry *out)
{
    kith_graph_entry made = {0};
    memcpy(made.uuid, uuid, sizeof made.uuid);
    memcpy(made.ed25519, ed25519, sizeof made.ed25519);
    kith_fingerprint(uuid, ed25519, made.fingerprint);
    clean(name, made.name);
    if (!made.name[0]) memcpy(made.name, UNNAMED, sizeof UNNAMED);
    clean(os, made.os);
    clean(hardware_model, made.hardware_model);
    *out = made;
}

/* ---- writing ---- */

static void write_text(kith_writer *w, const char *text) { kith_cbor_write_text(w, text, strlen(text)); }

static void write_entry(kith_writer *w, const kith_graph_entry *entry)
{
    kith_cbor_write_map(w, ENTRY_MEMBERS);
    kith_cbor_write_uint(w, UUID);
    kith_cbor_write_bytes(w, entry->uuid, sizeof entry->uuid);
    kith_cbor_write_uint(w, ED25519);
    kith_cbor_write_bytes(w, entry->ed25519, sizeof entry->ed25519);
    kith_cbor_write_uint(w, NAME);
    write_text(w, entry->name);
    kith_cbor_write_uint(w, OS);
    write_text(w, entry->os);
    kith_cbor_write_uint(w, HARDWARE_MODEL);
    write_text(w, entry->hardware_model);
}

/* Which members each kind has beside the first four, in the order of their keys. */
static size_t members_of(const kith_record *r, uint8_t out[static 4])
{
    size_t n = 0;
    switch (r->kind) {
    case KITH_RECORD_FOUND:
        out[n++] = ENTRY;
        if (r->has_pair) out[n++] = PAIR;
        if (r->has_deposit) out[n++] = DEPOSIT;
        break;
    case KITH_RECORD_ADMIT: out[n++] = ENTRY; break;
    case KITH_RECORD_REVOKE:
        out[n++] = TARGET;
        out[n++] = WHY;
        break;
    case KITH_RECORD_DESCRIBE: out[n++] = TEXTS; break;
    case KITH_RECORD_DEPOSIT:
        out[n++] = DEPOSIT;
        out[n++] = TARGET;
        break;
    case KITH_RECORD_RESET:
        out[n++] = PAIR;
        out[n++] = TARGET;
        out[n++] = ROSTER;
        break;
    case KITH_RECORD_REPLACE: out[n++] = PAIR; break;
    case KITH_RECORD_ACCEPT: out[n++] = TARGET; break;
    }
    return n;
}

static void write_member(kith_writer *w, const kith_record *r, const kith_graph_entry *roster, uint8_t key)
{
    kith_cbor_write_uint(w, key);
    switch (key) {
    case ENTRY: write_entry(w, &r->entry); break;
    case PAIR: kith_cbor_write_bytes(w, &r->pair, PAIR_SIZE); break;
    case DEPOSIT: kith_cbor_write_bytes(w, r->deposit, sizeof r->deposit); break;
    case TARGET: kith_cbor_write_bytes(w, r->target, sizeof r->target); break;
    case WHY: write_text(w, r->why); break;
    case TEXTS:
        kith_cbor_write_array(w, 3);
        write_text(w, r->entry.name);
        write_text(w, r->entry.os);
        write_text(w, r->entry.hardware_model);
        break;
    default:
        kith_cbor_write_array(w, r->roster_count);
        for (size_t i = 0; i < r->roster_count; i++) write_entry(w, &roster[i]);
    }
}

size_t kith__record_body(const kith_record *record, const kith_graph_entry *roster, uint8_t *out, size_t cap)
{
    uint8_t keys[4];
    size_t members = members_of(record, keys);
    kith_writer w = kith_writer_of(out, cap);
    kith_cbor_write_map(&w, SIGNER + members);
    kith_cbor_write_uint(&w, KIND);
    kith_cbor_write_uint(&w, (uint64_t)record->kind);
    kith_cbor_write_uint(&w, PARENTS);
    kith_cbor_write_array(&w, record->parent_count);
    for (size_t i = 0; i < record->parent_count; i++) kith_cbor_write_bytes(&w, record->parents[i], KITH_GRAPH_ID_SIZE);
    kith_cbor_write_uint(&w, TIME);
    kith_cbor_write_int(&w, record->time_ms);
    kith_cbor_write_uint(&w, SIGNER);
    kith_cbor_write_bytes(&w, record->signer, sizeof record->signer);
    for (size_t i = 0; i < members; i++) write_member(&w, record, roster, keys[i]);
    return w.bad ? 0 : kith_writer_size(&w);
}

/* label || 00 || body: what a signature covers; release. */
static uint8_t *covered(const char *label, const void *body, size_t size, size_t *out_size)
{
    size_t head = strlen(label) + 1;
    uint8_t *out = kith_malloc(head + size);
    if (!out) return NULL;
    memcpy(out, label, head);
    memcpy(out + head, body, size);
    *out_size = head + size;
    return out;
}

kith_err kith__record_seal(const void *body, size_t body_size, const uint8_t *seed, const uint8_t *code, uint8_t *out,
                           size_t cap, size_t *out_size)
{
    uint8_t signature[KITH_ED25519_SIGNATURE_SIZE], reset[KITH_ED25519_SIGNATURE_SIZE];
    size_t size;
    uint8_t *message = covered(KITH_GRAPH_SIGN_LABEL, body, body_size, &size);
    if (!message) return KITH_ERR_NOMEM;
    kith_ed25519_sign(seed, message, size, signature);
    kith_free(message);
    if (code) {
        message = covered(KITH_GRAPH_RESET_LABEL, body, body_size, &size);
        if (!message) return KITH_ERR_NOMEM;
        kith_recovery_sign(code, message, size, reset);
        kith_free(message);
    }
    kith_writer w = kith_writer_of(out, cap);
    kith_cbor_write_array(&w, code ? 3 : 2);
    kith_cbor_write_bytes(&w, body, body_size);
    kith_cbor_write_bytes(&w, signature, sizeof signature);
    if (code) kith_cbor_write_bytes(&w, reset, sizeof reset);
    if (w.bad) return KITH_ERR_LIMIT;
    *out_size = kith_writer_size(&w);
    return KITH_OK;
}

static kith_err verify(const char *label, const kith_record *record, const uint8_t *public_key,
                       const uint8_t *signature)
{
    size_t size;
    uint8_t *message = covered(label, record->body, record->body_size, &size);
    if (!message) return KITH_ERR_NOMEM;
    kith_err err = kith_ed25519_verify(public_key, message, size, signature);
    kith_free(message);
    return err;
}

/* Whether the devices that a record names have keys that a session can have. */
static bool usable(const kith_record *record)
{
    uint8_t x25519[KITH_X25519_SIZE];
    kith_graph_entry entry;
    if (record->kind == KITH_RECORD_FOUND || record->kind == KITH_RECORD_ADMIT)
        return kith_ed25519_public_to_x25519(record->entry.ed25519, x25519) == KITH_OK;
    for (size_t i = 0; i < record->roster_count; i++) {
        kith_record_roster(record, i, &entry);
        if (kith_ed25519_public_to_x25519(entry.ed25519, x25519)) return false;
    }
    return true;
}

kith_err kith__record_verify(const kith_record *record, const uint8_t *public_key)
{
    if (kith_crypto_init()) return KITH_ERR_CRYPTO;
    if (!usable(record)) return KITH_ERR_FORMAT;
    return verify(KITH_GRAPH_SIGN_LABEL, record, public_key, record->signature);
}

kith_err kith__record_verify_reset(const kith_record *record, const kith_recovery_public *pair)
{
    return verify(KITH_GRAPH_RESET_LABEL, record, pair->sign, record->recovery_signature);
}

/* ---- reading ---- */

static void read_text(kith_cbor_reader *r, char out[static KITH_NAME_SIZE])
{
    memset(out, 0, KITH_NAME_SIZE);
    kith_cbor_read_string(r, out, KITH_NAME_SIZE);
    if (out[0] && !kith_name_valid(out)) r->bad = true;
}

static void read_entry(kith_cbor_reader *r, kith_graph_entry *out)
{
    *out = (kith_graph_entry){0};
    kith_cbor_walk walk = kith_cbor_enter(r);
    if (walk.left != ENTRY_MEMBERS) r->bad = true;
    if (kith_cbor_need(r, &walk, UUID)) kith_cbor_read_copy(r, out->uuid, sizeof out->uuid);
    if (kith_cbor_need(r, &walk, ED25519)) kith_cbor_read_copy(r, out->ed25519, sizeof out->ed25519);
    if (kith_cbor_need(r, &walk, NAME)) read_text(r, out->name);
    if (kith_cbor_need(r, &walk, OS)) read_text(r, out->os);
    if (kith_cbor_need(r, &walk, HARDWARE_MODEL)) read_text(r, out->hardware_model);
    kith_cbor_leave(r, &walk);
    if (!out->name[0]) r->bad = true;
    if (!r->bad) kith_fingerprint(out->uuid, out->ed25519, out->fingerprint);
}

static void read_texts(kith_cbor_reader *r, kith_graph_entry *out)
{
    if (kith_cbor_read_array(r) != 3) r->bad = true;
    read_text(r, out->name);
    read_text(r, out->os);
    read_text(r, out->hardware_model);
    if (!out->name[0]) r->bad = true;
}

static void read_parents(kith_cbor_reader *r, kith_record *out)
{
    out->parent_count = kith_cbor_read_array(r);
    if (out->parent_count > KITH_GRAPH_PARENTS_MAX) r->bad = true;
    for (size_t i = 0; i < out->parent_count && !r->bad; i++) {
        kith_cbor_read_copy(r, out->parents[i], KITH_GRAPH_ID_SIZE);
        if (i > 0 && memcmp(out->parents[i - 1], out->parents[i], KITH_GRAPH_ID_SIZE) >= 0) r->bad = true;
    }
    if ((out->parent_count == 0) != (out->kind == KITH_RECORD_FOUND)) r->bad = true;
}

/* Each device is read here, so that reading one later cannot fail.  A device is there once. */
static void read_roster(kith_cbor_reader *r, kith_record *out)
{
    uint8_t seen[KITH_GRAPH_ROSTER_MAX][KITH_FINGERPRINT_SIZE];
    kith_graph_entry entry;
    out->roster = r->at;
    out->roster_count = kith_cbor_read_array(r);
    if (out->roster_count == 0 || out->roster_count > KITH_GRAPH_ROSTER_MAX) r->bad = true;
    bool author = false;
    for (size_t i = 0; i < out->roster_count && !r->bad; i++) {
        read_entry(r, &entry);
        for (size_t k = 0; k < i; k++)
            if (memcmp(seen[k], entry.fingerprint, sizeof seen[k]) == 0) r->bad = true;
        memcpy(seen[i], entry.fingerprint, sizeof seen[i]);
        author |= memcmp(entry.fingerprint, out->signer, sizeof out->signer) == 0;
    }
    if (!author) r->bad = true; /* who makes it goes on */
    if (!r->bad) out->roster_size = (size_t)(r->at - out->roster);
}

static void read_member(kith_cbor_reader *r, kith_record *out, uint8_t key)
{
    switch (key) {
    case ENTRY: read_entry(r, &out->entry); break;
    case PAIR: kith_cbor_read_copy(r, &out->pair, PAIR_SIZE); break;
    case DEPOSIT: kith_cbor_read_copy(r, out->deposit, sizeof out->deposit); break;
    case TARGET: kith_cbor_read_copy(r, out->target, sizeof out->target); break;
    case WHY: read_text(r, out->why); break;
    case TEXTS: read_texts(r, &out->entry); break;
    default: read_roster(r, out);
    }
}

/* What a kind has besides, and nothing else. */
static void read_members(kith_cbor_reader *r, kith_cbor_walk *walk, kith_record *out)
{
    uint8_t keys[4];
    if (out->kind == KITH_RECORD_FOUND) { /* the only one with members that may be absent: they are counted */
        size_t left = walk->left;
        out->has_pair = left > 1;
        out->has_deposit = left > 2;
    }
    size_t members = members_of(out, keys);
    if (walk->left != members) r->bad = true;
    for (size_t i = 0; i < members && !r->bad; i++)
        if (kith_cbor_need(r, walk, keys[i])) read_member(r, out, keys[i]);
}

static bool parse_body(kith_record *out)
{
    kith_cbor_reader r = kith_cbor_reader_of(out->body, out->body_size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    uint64_t kind = kith_cbor_need(&r, &walk, KIND) ? kith_cbor_read_uint(&r) : 0;
    if (kind < KITH_RECORD_FOUND || kind > KITH_RECORD_ACCEPT) return false;
    out->kind = (kith_record_kind)kind;
    if (kith_cbor_need(&r, &walk, PARENTS)) read_parents(&r, out);
    if (kith_cbor_need(&r, &walk, TIME)) out->time_ms = kith_cbor_read_int(&r);
    if (kith_cbor_need(&r, &walk, SIGNER)) kith_cbor_read_copy(&r, out->signer, sizeof out->signer);
    if (!r.bad) read_members(&r, &walk, out);
    kith_cbor_leave(&r, &walk);
    if (out->kind != KITH_RECORD_RESET && out->body_size > KITH_GRAPH_SMALL_MAX) return false;
    return kith_cbor_done(&r);
}

kith_err kith_record_parse(const void *data, size_t size, kith_record *out)
{
    kith_record record = {0};
    if (size > KITH_GRAPH_RECORD_MAX) return KITH_ERR_FORMAT;
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    size_t items = kith_cbor_read_array(&r);
    record.body = kith_cbor_read_bytes(&r, &record.body_size);
    kith_cbor_read_copy(&r, record.signature, sizeof record.signature);
    if (items == 3) kith_cbor_read_copy(&r, record.recovery_signature, sizeof record.recovery_signature);
    if (!kith_cbor_done(&r) || (items != 2 && items != 3) || !parse_body(&record)) return KITH_ERR_FORMAT;
    if ((items == 3) != (record.kind == KITH_RECORD_RESET)) return KITH_ERR_FORMAT;
    if (record.kind == KITH_RECORD_FOUND && memcmp(record.signer, record.entry.fingerprint, sizeof record.signer) != 0)
        return KITH_ERR_FORMAT;
    if ((record.kind == KITH_RECORD_ADMIT || record.kind == KITH_RECORD_REVOKE) &&
        memcmp(record.signer, record.kind == KITH_RECORD_ADMIT ? record.entry.fingerprint : record.target,
               sizeof record.signer) == 0)
        return KITH_ERR_FORMAT; /* nobody admits or revokes itself */
    *out = record;
    return KITH_OK;
}

void kith_record_roster(const kith_record *record, size_t index, kith_graph_entry *out)
{
    kith_cbor_reader r = kith_cbor_reader_of(record->roster, record->roster_size);
    kith_cbor_read_array(&r);
    for (size_t i = 0; i < index; i++) kith_cbor_skip(&r);
    read_entry(&r, out);
}

void kith_record_id(const void *data, size_t size, uint8_t out[static KITH_GRAPH_ID_SIZE])
{
    kith_blake3_derive(KITH_GRAPH_ID_CONTEXT, data, size, out, KITH_GRAPH_ID_SIZE);
}
