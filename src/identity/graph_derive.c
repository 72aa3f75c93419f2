#include "identity/graph_derive.h"

#include "identity/rfc3339.h"

#include <stdio.h>
#include <string.h>

#define DATE_SIZE 10 /* of an RFC 3339 time */

static bool same(const uint8_t *a, const uint8_t *b) { return memcmp(a, b, KITH_FINGERPRINT_SIZE) == 0; }

static bool is_member(const kith_verdict *verdict, const uint8_t *fingerprint)
{
    const kith_member *m = kith_verdict_find(verdict, fingerprint);
    return m && m->state == KITH_MEMBER;
}

/* `unnamed`: also those that the graph does not name. */
static void remove_others(const kith_verdict *verdict, bool unnamed, kith_trust *trust)
{
    for (size_t i = kith_trust_count(trust); i-- > 0;) {
        const kith_peer *peer = kith_trust_at(trust, i);
        bool named = kith_verdict_find(verdict, peer->fingerprint) != NULL;
        if (peer->kind != KITH_PEER_OWN || is_member(verdict, peer->fingerprint) || (!named && !unnamed)) continue;
        if (kith_trust_remove(trust, peer->fingerprint)) return; /* cannot be: it was just seen */
    }
}

static bool describes(const kith_peer *peer, const kith_graph_entry *entry)
{
    return strcmp(peer->name, entry->name) == 0 && strcmp(peer->os, entry->os) == 0 &&
           strcmp(peer->hardware_model, entry->hardware_model) == 0;
}

static kith_err pin_member(const kith_graph *graph, const kith_member *m, kith_trust *trust)
{
    kith_peer peer;
    kith_record record;
    const kith_graph_entry *e = &m->entry;
    const kith_peer *known = kith_trust_by_fingerprint(trust, e->fingerprint);
    if (known && known->kind == KITH_PEER_OWN)
        return describes(known, e) ? KITH_OK
                                   : kith_trust_describe(trust, e->fingerprint, e->name, e->os, e->hardware_model);
    kith_graph_record(graph, m->admitted, &record);
    kith_err err =
        kith_peer_make(e->uuid, e->ed25519, e->name, e->os, e->hardware_model, KITH_PEER_OWN, record.time_ms, &peer);
    if (err) return KITH_OK; /* a key that no session can have */
    peer.verified = true;    /* the words proved it to who admitted it */
    err = kith_trust_check(trust, &peer);
    if (err == KITH_ERR_KEY_CHANGED || err == KITH_ERR_ID_CHANGED) return KITH_OK;
    return kith_trust_replace(trust, &peer, NULL);
}

static size_t count_own(const kith_trust *trust)
{
    size_t count = 0;
    for (size_t i = 0; i < kith_trust_count(trust); i++) count += kith_trust_at(trust, i)->kind == KITH_PEER_OWN;
    return count;
}

void kith_graph_leave_others(const kith_verdict *verdict, kith_trust *trust) { remove_others(verdict, true, trust); }

kith_err kith_graph_derive_trust(const kith_graph *graph, const kith_verdict *verdict,
                                 const uint8_t self[static KITH_FINGERPRINT_SIZE], kith_trust *trust)
{
    kith_err err = KITH_OK;
    if (!is_member(verdict, self)) return KITH_OK;
    remove_others(verdict, false, trust);
    size_t own = count_own(trust);
    for (size_t i = 0; !err && i < verdict->count; i++) {
        const kith_member *m = &verdict->members[i];
        if (m->state != KITH_MEMBER || same(m->entry.fingerprint, self)) continue;
        const kith_peer *known = kith_trust_by_fingerprint(trust, m->entry.fingerprint);
        bool is_own = known && known->kind == KITH_PEER_OWN;
        if (!is_own && own >= KITH_GRAPH_PINNED_MAX) continue;
        err = pin_member(graph, m, trust);
        known = kith_trust_by_fingerprint(trust, m->entry.fingerprint);
        own += !is_own && known && known->kind == KITH_PEER_OWN;
    }
    return err;
}

kith_err kith_graph_derive_master(const kith_graph *graph, const kith_verdict *verdict, kith_master *master)
{
    kith_record record;
    master->has_recovery = verdict->pair != KITH_GRAPH_NONE;
    master->count = 0;
    if (!master->has_recovery) return KITH_OK;
    kith_graph_record(graph, verdict->pair, &record);
    master->recovery = verdict->recovery;
    master->epoch = verdict->epoch;
    master->created_at_ms = record.time_ms;
    kith_err err = KITH_OK;
    for (size_t i = 0; !err && i < verdict->count; i++) {
        const kith_member *m = &verdict->members[i];
        kith_master_device device = {0};
        if (m->state != KITH_MEMBER || m->deposit == KITH_GRAPH_NONE) continue;
        kith_graph_record(graph, m->deposit, &record);
        memcpy(device.uuid, m->entry.uuid, sizeof device.uuid);
        memcpy(device.public_key, m->entry.ed25519, sizeof device.public_key);
        memcpy(device.deposit, record.deposit, sizeof device.deposit);
        if (!kith_master_find(master, device.uuid)) err = kith_master_put(master, &device);
    }
    return err == KITH_ERR_LIMIT ? KITH_OK : err;
}

bool kith_graph_revocation(const kith_graph *graph, const kith_verdict *verdict,
                           const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], kith_revocation *out)
{
    kith_record record;
    const kith_member *m = kith_verdict_find(verdict, fingerprint);
    if (!m || m->state == KITH_MEMBER) return false;
    size_t at = m->revoked != KITH_GRAPH_NONE ? m->revoked : verdict->records[m->admitted].by;
    *out = (kith_revocation){.record = at};
    if (at == KITH_GRAPH_NONE) return true;
    kith_graph_record(graph, at, &record);
    const kith_member *by = kith_verdict_find(verdict, record.signer);
    if (by) memcpy(out->by, by->entry.name, sizeof out->by);
    out->reset = record.kind == KITH_RECORD_RESET;
    out->time_ms = record.time_ms;
    memcpy(out->why, record.why, sizeof out->why);
    return true;
}

void kith_revocation_text(const kith_revocation *r, char out[static KITH_REVOCATION_TEXT_SIZE])
{
    char date[KITH_RFC3339_SIZE] = "";
    const char *why = r->reset ? "left out when the recovery code was used" : r->why;
    if (r->time_ms) kith_rfc3339_text(r->time_ms, date);
    if (r->time_ms) date[DATE_SIZE] = 0;
    snprintf(out, KITH_REVOCATION_TEXT_SIZE, "this device was revoked%s%s%s%s%s%s", *r->by ? " by " : "", r->by,
             *date ? " on " : "", date, *why ? ": " : "", why);
}

/* ---- the recovery code ---- */

static bool is_newer(const kith_graph *graph, size_t a, size_t b)
{
    uint32_t x = kith_graph_depth(graph, a), y = kith_graph_depth(graph, b);
    return x != y ? x > y : memcmp(kith_graph_id(graph, a), kith_graph_id(graph, b), KITH_GRAPH_ID_SIZE) > 0;
}

bool kith_graph_waiting_code(const kith_graph *graph, const kith_verdict *verdict, kith_waiting_code *out)
{
    *out = (kith_waiting_code){.record = KITH_GRAPH_NONE};
    kith_record record;
    const kith_member *maker = NULL;
    bool several = false;
    for (size_t i = 0; i < kith_graph_count(graph); i++) {
        if (verdict->records[i].state != KITH_RECORD_WAITING) continue;
        kith_graph_record(graph, i, &record);
        const kith_member *m = kith_verdict_find(verdict, record.signer);
        several |= maker && m != maker;
        bool earlier = !maker || m < maker; /* members are in order of admission */
        if (!earlier && (m > maker || !is_newer(graph, i, out->record))) continue;
        maker = m;
        out->record = i;
    }
    out->several = several;
    return maker != NULL;
}

bool kith_graph_ended_code(const kith_graph *graph, const kith_verdict *verdict,
                           const uint8_t self[static KITH_FINGERPRINT_SIZE], kith_ended_code *out)
{
    size_t newest = KITH_GRAPH_NONE;
    kith_record record;
    for (size_t i = 0; i < kith_graph_count(graph); i++) {
        kith_graph_record(graph, i, &record);
        if (record.kind != KITH_RECORD_DEPOSIT || !same(record.signer, self)) continue;
        size_t pair = kith_graph_find(graph, record.target);
        if (pair == KITH_GRAPH_NONE || !kith_graph_in_past(graph, verdict->base, pair)) continue;
        if (newest == KITH_GRAPH_NONE || is_newer(graph, pair, newest)) newest = pair;
    }
    if (newest == KITH_GRAPH_NONE || verdict->records[newest].state == KITH_RECORD_GOOD) return false;
    if (verdict->pair != KITH_GRAPH_NONE && is_newer(graph, verdict->pair, newest)) return false;
    kith_graph_record(graph, newest, &record);
    *out = (kith_ended_code){.time_ms = record.time_ms, .waits = verdict->records[newest].state == KITH_RECORD_WAITING};
    const kith_member *by = kith_verdict_find(verdict, record.signer);
    if (by) memcpy(out->by, by->entry.name, sizeof out->by);
    return true;
}
