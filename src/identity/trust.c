#include "identity/trust.h"

#include "base/mem.h"
#include "identity/envelope.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PEER_MEMBERS  11
#define V1            1
#define V1_MEMBERS    10
#define UNNAMED       "device"
#define FIRST_ROOM    8
#define BODY_HEAD_MAX 9 /* the array's head */

/* An array: a set is small, and looking through it costs less than the handshake that asks. */
struct kith_trust {
    kith_peer *peers;
    size_t count, room;
};

kith_err kith_trust_new(kith_trust **out)
{
    kith_trust *trust = kith_calloc(1, sizeof *trust);
    if (!trust) return KITH_ERR_NOMEM;
    *out = trust;
    return KITH_OK;
}

void kith_trust_free(kith_trust *trust)
{
    if (!trust) return;
    kith_free(trust->peers);
    kith_free(trust);
}

size_t kith_trust_count(const kith_trust *trust) { return trust->count; }

const kith_peer *kith_trust_at(const kith_trust *trust, size_t index)
{
    return index < trust->count ? &trust->peers[index] : NULL;
}

static kith_err derive(kith_peer *peer)
{
    kith_err err = kith_crypto_init();
    if (!err) err = kith_ed25519_public_to_x25519(peer->ed25519, peer->x25519);
    if (!err) kith_fingerprint(peer->uuid, peer->ed25519, peer->fingerprint);
    return err;
}

static void clean(const char *text, char out[static KITH_NAME_SIZE])
{
    kith_name_clean(text ? text : "", text ? strlen(text) : 0, out, KITH_NAME_SIZE);
}

kith_err kith_peer_make(const uint8_t uuid[static KITH_UUID_SIZE],
                        const uint8_t ed25519[static KITH_ED25519_PUBLIC_SIZE], const char *name, const char *os,
                        const char *hardware_model, kith_peer_kind kind, int64_t now_ms, kith_peer *out)
{
    kith_peer peer = {.kind = kind, .how = KITH_PEER_PAIRED, .added_at_ms = now_ms};
    memcpy(peer.uuid, uuid, sizeof peer.uuid);
    memcpy(peer.ed25519, ed25519, sizeof peer.ed25519);
    clean(name, peer.name);
    if (!peer.name[0]) memcpy(peer.name, UNNAMED, sizeof UNNAMED);
    memcpy(peer.local_name, peer.name, sizeof peer.local_name);
    clean(os, peer.os);
    clean(hardware_model, peer.hardware_model);
    kith_err err = derive(&peer);
    if (!err) *out = peer;
    return err;
}

/* ---- finding ---- */

/* The peer whose member at `offset` has these bytes; NULL when none has. */
static kith_peer *find_bytes(const kith_trust *trust, size_t offset, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < trust->count; i++)
        if (memcmp((const char *)&trust->peers[i] + offset, bytes, size) == 0) return &trust->peers[i];
    return NULL;
}

const kith_peer *kith_trust_by_uuid(const kith_trust *trust, const uint8_t uuid[static KITH_UUID_SIZE])
{
    return find_bytes(trust, offsetof(kith_peer, uuid), uuid, KITH_UUID_SIZE);
}

const kith_peer *kith_trust_by_x25519(const kith_trust *trust, const uint8_t x25519[static KITH_X25519_SIZE])
{
    return find_bytes(trust, offsetof(kith_peer, x25519), x25519, KITH_X25519_SIZE);
}

static kith_peer *by_fingerprint(const kith_trust *trust, const uint8_t *fingerprint)
{
    return find_bytes(trust, offsetof(kith_peer, fingerprint), fingerprint, KITH_FINGERPRINT_SIZE);
}

const kith_peer *kith_trust_by_fingerprint(const kith_trust *trust,
                                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE])
{
    return by_fingerprint(trust, fingerprint);
}

static kith_peer *by_local_name(const kith_trust *trust, const char *name)
{
    for (size_t i = 0; i < trust->count; i++)
        if (strcmp(trust->peers[i].local_name, name) == 0) return &trust->peers[i];
    return NULL;
}

bool kith_prefix_read(const char *text, char out[static KITH_PREFIX_TEXT_SIZE])
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '-' || *text == ' ') continue; /* as fingerprints are shown in groups */
        if (!isxdigit((unsigned char)*text) || n == KITH_PREFIX_TEXT_SIZE - 1) return false;
        out[n++] = (char)tolower((unsigned char)*text);
    }
    out[n] = 0;
    return n >= KITH_DEVICE_PREFIX_MIN;
}

static bool has_prefix(const uint8_t *bytes, size_t size, const char *digits)
{
    char text[KITH_PREFIX_TEXT_SIZE];
    return strncmp(kith_hex(bytes, size, text), digits, strlen(digits)) == 0;
}

kith_err kith_trust_find(const kith_trust *trust, const char *text, const kith_peer **found, size_t cap, size_t *count)
{
    uint8_t uuid[KITH_UUID_SIZE];
    char digits[KITH_PREFIX_TEXT_SIZE];
    const kith_peer *peer = NULL;
    size_t fits = 0;
    if (kith_uuid_parse(text, uuid) == KITH_OK) peer = kith_trust_by_uuid(trust, uuid);
    if (!peer) peer = by_local_name(trust, text);
    if (peer) {
        if (cap) found[0] = peer;
        fits = 1;
    } else if (kith_prefix_read(text, digits)) {
        for (size_t i = 0; i < trust->count; i++) {
            peer = &trust->peers[i];
            if (!has_prefix(peer->uuid, sizeof peer->uuid, digits) &&
                !has_prefix(peer->fingerprint, sizeof peer->fingerprint, digits))
                continue;
            if (fits < cap) found[fits] = peer;
            fits++;
        }
    }
    *count = fits;
    return fits == 0 ? KITH_ERR_NOT_FOUND : fits == 1 ? KITH_OK : KITH_ERR_AMBIGUOUS;
}

kith_err kith_trust_check(const kith_trust *trust, const kith_peer *peer)
{
    const kith_peer *known = kith_trust_by_uuid(trust, peer->uuid);
    if (known) return memcmp(known->ed25519, peer->ed25519, sizeof peer->ed25519) == 0 ? KITH_OK : KITH_ERR_KEY_CHANGED;
    return kith_trust_by_x25519(trust, peer->x25519) ? KITH_ERR_ID_CHANGED : KITH_ERR_NOT_FOUND;
}

/* ---- changing ---- */

/* `wanted`, or where another peer than `self` (may be NULL) has it the first of "wanted-2", "wanted-3" ... that is
 * free. */
static void unique_name(const kith_trust *trust, const kith_peer *self, const char *wanted,
                        char out[static KITH_NAME_SIZE])
{
    char name[KITH_NAME_SIZE + 16] = {0}, suffix[16];
    snprintf(name, sizeof name, "%s", wanted);
    for (unsigned n = 2;; n++) {
        const kith_peer *holder = by_local_name(trust, name);
        if (!holder || holder == self) break;
        size_t length = (size_t)snprintf(suffix, sizeof suffix, "-%u", n);
        snprintf(name, sizeof name, "%.*s%s", (int)kith_name_cut(wanted, KITH_NAME_MAX - length), wanted, suffix);
    }
    memcpy(out, name, KITH_NAME_SIZE);
}

static bool text_valid(const char text[static KITH_NAME_SIZE])
{
    return memchr(text, 0, KITH_NAME_SIZE) && (text[0] == 0 || kith_name_valid(text));
}

static bool valid(const kith_peer *peer)
{
    return text_valid(peer->name) && peer->name[0] && text_valid(peer->local_name) && peer->local_name[0] &&
           text_valid(peer->os) && text_valid(peer->hardware_model) &&
           (peer->kind == KITH_PEER_OWN || peer->kind == KITH_PEER_CONTACT) &&
           (peer->how == KITH_PEER_PAIRED || (peer->how == KITH_PEER_TOFU && peer->kind == KITH_PEER_CONTACT)) &&
           kith_overrides_valid(&peer->overrides);
}

static kith_err make_room(kith_trust *trust)
{
    if (trust->count == KITH_PEERS_MAX) return KITH_ERR_LIMIT;
    if (trust->count < trust->room) return KITH_OK;
    size_t room = trust->room ? 2 * trust->room : FIRST_ROOM;
    kith_peer *peers = kith_realloc(trust->peers, room * sizeof *peers);
    if (!peers) return KITH_ERR_NOMEM;
    trust->peers = peers;
    trust->room = room;
    return KITH_OK;
}

kith_err kith_trust_add(kith_trust *trust, const kith_peer *peer, const kith_peer **added)
{
    kith_peer made = *peer;
    if (!valid(peer)) return KITH_ERR_ARG;
    kith_err err = derive(&made);
    if (err) return err;
    err = kith_trust_check(trust, &made);
    if (err != KITH_ERR_NOT_FOUND) return err ? err : KITH_ERR_EXISTS;
    if ((err = make_room(trust))) return err;
    unique_name(trust, NULL, peer->local_name, made.local_name);
    trust->peers[trust->count] = made;
    if (added) *added = &trust->peers[trust->count];
    trust->count++;
    return KITH_OK;
}

static void remove_at(kith_trust *trust, const kith_peer *peer)
{
    size_t index = (size_t)(peer - trust->peers);
    trust->count--;
    memmove(&trust->peers[index], &trust->peers[index + 1], (trust->count - index) * sizeof *peer);
}

kith_err kith_trust_replace(kith_trust *trust, const kith_peer *peer, const kith_peer **added)
{
    kith_peer made = *peer;
    if (!valid(peer)) return KITH_ERR_ARG;
    kith_err err = derive(&made);
    if (err) return err;
    kith_peer *same_id = find_bytes(trust, offsetof(kith_peer, uuid), made.uuid, sizeof made.uuid);
    kith_peer *same_key = find_bytes(trust, offsetof(kith_peer, x25519), made.x25519, sizeof made.x25519);
    if (!same_id && !same_key) return kith_trust_add(trust, peer, added);
    /* One of them gives its place; when they are two, the other goes. */
    kith_peer *place = same_id ? same_id : same_key;
    if (same_id) memcpy(made.local_name, same_id->local_name, sizeof made.local_name);
    if (same_id && memcmp(same_id->ed25519, made.ed25519, sizeof made.ed25519) == 0) {
        made.verified = made.verified || same_id->verified;
        made.added_at_ms = same_id->added_at_ms;
        made.overrides = same_id->overrides;
    }
    if (!same_id) unique_name(trust, place, peer->local_name, made.local_name);
    *place = made;
    if (same_id && same_key && same_id != same_key) {
        remove_at(trust, same_key);
        if (same_key < place) place--;
    }
    if (added) *added = place;
    return KITH_OK;
}

kith_err kith_trust_remove(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE])
{
    kith_peer *peer = by_fingerprint(trust, fingerprint);
    if (!peer) return KITH_ERR_NOT_FOUND;
    remove_at(trust, peer);
    return KITH_OK;
}

kith_err kith_trust_rename(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], const char *name,
                           const kith_peer **renamed)
{
    char checked[KITH_NAME_SIZE];
    kith_err err = kith_name_check(name, strlen(name), checked);
    kith_peer *peer = by_fingerprint(trust, fingerprint);
    if (err) return err;
    if (!peer) return KITH_ERR_NOT_FOUND;
    unique_name(trust, peer, checked, peer->local_name);
    if (renamed) *renamed = peer;
    return KITH_OK;
}

kith_err kith_trust_describe(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                             const char *name, const char *os, const char *hardware_model)
{
    kith_peer *peer = by_fingerprint(trust, fingerprint);
    if (!peer) return KITH_ERR_NOT_FOUND;
    bool follows = strcmp(peer->name, peer->local_name) == 0;
    clean(name, peer->name);
    if (!peer->name[0]) memcpy(peer->name, UNNAMED, sizeof UNNAMED);
    clean(os, peer->os);
    clean(hardware_model, peer->hardware_model);
    if (follows) unique_name(trust, peer, peer->name, peer->local_name);
    return KITH_OK;
}

kith_err kith_trust_verify(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], bool verified)
{
    kith_peer *peer = by_fingerprint(trust, fingerprint);
    if (!peer) return KITH_ERR_NOT_FOUND;
    peer->verified = verified;
    return KITH_OK;
}

kith_err kith_trust_override(kith_trust *trust, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE],
                             kith_service service, bool set, kith_access verdict)
{
    kith_peer *peer = by_fingerprint(trust, fingerprint);
    if (!kith_permit_settable(service, set ? verdict : KITH_DENY)) return KITH_ERR_ARG;
    if (!peer) return KITH_ERR_NOT_FOUND;
    peer->overrides.of[service] = (uint8_t)(set ? 1 + (int)verdict : 0);
    return KITH_OK;
}

/* ---- the file ---- */

enum { UUID = 1, ED25519, NAME, LOCAL_NAME, OS, HARDWARE_MODEL, KIND, VERIFIED, ADDED, HOW, OVERRIDES };

static void write_text(kith_writer *w, uint64_t key, const char *text)
{
    kith_cbor_write_uint(w, key);
    kith_cbor_write_text(w, text, strlen(text));
}

static void write_peer(kith_writer *w, const kith_peer *peer)
{
    kith_cbor_write_map(w, PEER_MEMBERS);
    kith_cbor_write_uint(w, UUID);
    kith_cbor_write_bytes(w, peer->uuid, sizeof peer->uuid);
    kith_cbor_write_uint(w, ED25519);
    kith_cbor_write_bytes(w, peer->ed25519, sizeof peer->ed25519);
    write_text(w, NAME, peer->name);
    write_text(w, LOCAL_NAME, peer->local_name);
    write_text(w, OS, peer->os);
    write_text(w, HARDWARE_MODEL, peer->hardware_model);
    kith_cbor_write_uint(w, KIND);
    kith_cbor_write_uint(w, (uint64_t)peer->kind);
    kith_cbor_write_uint(w, VERIFIED);
    kith_cbor_write_bool(w, peer->verified);
    kith_cbor_write_uint(w, ADDED);
    kith_cbor_write_int(w, peer->added_at_ms);
    kith_cbor_write_uint(w, HOW);
    kith_cbor_write_uint(w, (uint64_t)peer->how);
    size_t said = sizeof peer->overrides.of;
    while (said && !peer->overrides.of[said - 1]) said--;
    kith_cbor_write_uint(w, OVERRIDES);
    kith_cbor_write_bytes(w, peer->overrides.of, said);
}

kith_err kith_trust_encode(const kith_trust *trust, uint8_t **out, size_t *size)
{
    size_t room = trust->count * KITH_PEER_ENCODED_MAX + BODY_HEAD_MAX;
    uint8_t *body = kith_malloc(room);
    if (!body) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(body, room);
    kith_cbor_write_array(&w, trust->count);
    for (size_t i = 0; i < trust->count; i++) write_peer(&w, &trust->peers[i]);
    kith_err err =
        w.bad ? KITH_ERR_INTERNAL
              : kith_envelope_make(KITH_TRUST_CONTEXT, KITH_TRUST_VERSION, body, kith_writer_size(&w), out, size);
    kith_free(body);
    return err;
}

static void read_text(kith_cbor_reader *r, kith_cbor_walk *walk, uint64_t key, char out[static KITH_NAME_SIZE])
{
    memset(out, 0, KITH_NAME_SIZE);
    if (kith_cbor_need(r, walk, key)) kith_cbor_read_string(r, out, KITH_NAME_SIZE);
}

static uint64_t read_small(kith_cbor_reader *r, kith_cbor_walk *walk, uint64_t key)
{
    uint64_t value = kith_cbor_need(r, walk, key) ? kith_cbor_read_uint(r) : 0;
    return value <= UINT8_MAX ? value : 0; /* no enumeration has a 0, so that is refused */
}

static void read_overrides(kith_cbor_reader *r, kith_overrides *out)
{
    size_t size;
    const uint8_t *bytes = kith_cbor_read_bytes(r, &size);
    if (r->bad || size > sizeof out->of || (size && !bytes[size - 1]))
        r->bad = true;
    else if (size)
        memcpy(out->of, bytes, size);
}

static void read_peer(kith_cbor_reader *r, uint64_t version, kith_peer *out)
{
    *out = (kith_peer){0};
    kith_cbor_walk walk = kith_cbor_enter(r);
    if (walk.left != (version == V1 ? V1_MEMBERS : PEER_MEMBERS)) r->bad = true;
    if (kith_cbor_need(r, &walk, UUID)) kith_cbor_read_copy(r, out->uuid, sizeof out->uuid);
    if (kith_cbor_need(r, &walk, ED25519)) kith_cbor_read_copy(r, out->ed25519, sizeof out->ed25519);
    read_text(r, &walk, NAME, out->name);
    read_text(r, &walk, LOCAL_NAME, out->local_name);
    read_text(r, &walk, OS, out->os);
    read_text(r, &walk, HARDWARE_MODEL, out->hardware_model);
    out->kind = (kith_peer_kind)read_small(r, &walk, KIND);
    out->verified = kith_cbor_need(r, &walk, VERIFIED) && kith_cbor_read_bool(r);
    out->added_at_ms = kith_cbor_need(r, &walk, ADDED) ? kith_cbor_read_int(r) : 0;
    out->how = (kith_peer_how)read_small(r, &walk, HOW);
    if (version == V1 && out->how != KITH_PEER_PAIRED) r->bad = true;
    if (version != V1 && kith_cbor_need(r, &walk, OVERRIDES)) read_overrides(r, &out->overrides);
    kith_cbor_leave(r, &walk);
}

static kith_err read_peers(kith_trust *trust, uint64_t version, const uint8_t *body, size_t size, kith_reason *reason)
{
    kith_cbor_reader r = kith_cbor_reader_of(body, size);
    size_t count = kith_cbor_read_array(&r);
    if (count > KITH_PEERS_MAX) return kith_envelope_bad(&r, body, "more devices than there can be", reason);
    for (size_t i = 0; i < count; i++) {
        kith_peer peer;
        const kith_peer *added;
        read_peer(&r, version, &peer);
        if (r.bad) break;
        kith_err err = kith_trust_add(trust, &peer, &added);
        if (err == KITH_ERR_NOMEM) return err;
        if (err) return kith_envelope_bad(&r, body, "a device that breaks a rule, or is there twice", reason);
        if (strcmp(added->local_name, peer.local_name) != 0)
            return kith_envelope_bad(&r, body, "a local name is there twice", reason);
    }
    return kith_cbor_done(&r) ? KITH_OK : kith_envelope_bad(&r, body, "not a list of devices", reason);
}

kith_err kith_trust_decode(const void *data, size_t size, kith_trust **out, kith_reason *reason)
{
    const uint8_t *body;
    size_t body_size;
    kith_trust *trust = NULL;
    kith_err err = kith_envelope_open(KITH_TRUST_CONTEXT, KITH_TRUST_VERSION, data, size, &body, &body_size, reason);
    if (!err) err = kith_trust_new(&trust);
    if (!err) err = read_peers(trust, kith_envelope_version(data, size), body, body_size, reason);
    if (err)
        kith_trust_free(trust);
    else
        *out = trust;
    return err;
}
