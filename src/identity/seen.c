#include "identity/seen.h"

#include "base/mem.h"
#include "identity/envelope.h"

#include <string.h>

#define PEER_ITEMS    3
#define ADDR_ITEMS    3
#define FIRST_ROOM    8
#define BODY_HEAD_MAX 9
#define IPV4_SIZE     4
#define IPV6_SIZE     16

struct kith_seen {
    kith_seen_peer *peers;
    size_t count, room;
};

kith_err kith_seen_new(kith_seen **out)
{
    kith_seen *seen = kith_calloc(1, sizeof *seen);
    if (!seen) return KITH_ERR_NOMEM;
    *out = seen;
    return KITH_OK;
}

void kith_seen_free(kith_seen *seen)
{
    if (!seen) return;
    kith_free(seen->peers);
    kith_free(seen);
}

size_t kith_seen_count(const kith_seen *seen) { return seen->count; }

static kith_seen_peer *find(const kith_seen *seen, const uint8_t *fingerprint)
{
    for (size_t i = 0; i < seen->count; i++)
        if (memcmp(seen->peers[i].fingerprint, fingerprint, KITH_FINGERPRINT_SIZE) == 0) return &seen->peers[i];
    return NULL;
}

const kith_seen_peer *kith_seen_find(const kith_seen *seen, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE])
{
    return find(seen, fingerprint);
}

static kith_seen_peer *oldest(kith_seen *seen)
{
    kith_seen_peer *found = seen->peers;
    for (size_t i = 1; i < seen->count; i++)
        if (seen->peers[i].last_seen_ms < found->last_seen_ms) found = &seen->peers[i];
    return found;
}

/* A place for one more peer; NULL when there is no memory. */
static kith_seen_peer *place_for_one(kith_seen *seen)
{
    if (seen->count == KITH_SEEN_PEERS_MAX) return oldest(seen);
    if (seen->count == seen->room) {
        size_t room = seen->room ? 2 * seen->room : FIRST_ROOM;
        kith_seen_peer *peers = kith_realloc(seen->peers, room * sizeof *peers);
        if (!peers) return NULL;
        seen->peers = peers;
        seen->room = room;
    }
    return &seen->peers[seen->count++];
}

/* Only an address that can be dialled, in the one form it has (see base/addr.h). */
static bool usable(const kith_addr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (addr->port == 0 || kith_addr_is_any(addr)) return false;
    if (addr->family == KITH_FAMILY_IPV4) return addr->scope == 0;
    return addr->family == KITH_FAMILY_IPV6 && memcmp(addr->ip, mapped, sizeof mapped) != 0 &&
           (addr->scope == 0 || kith_addr_is_link_local(addr));
}

static void put_first(kith_seen_peer *peer, const kith_addr *addr)
{
    size_t at = 0;
    while (at < peer->addr_count && !kith_addr_equal(&peer->addrs[at], addr)) at++;
    if (at == peer->addr_count && peer->addr_count < KITH_SEEN_ADDRS_MAX) peer->addr_count++;
    if (at == KITH_SEEN_ADDRS_MAX) at--; /* the one that worked longest ago goes */
    memmove(&peer->addrs[1], &peer->addrs[0], at * sizeof *addr);
    peer->addrs[0] = *addr;
}

kith_err kith_seen_note(kith_seen *seen, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE], const kith_addr *addr,
                        int64_t now_ms)
{
    kith_seen_peer *peer = find(seen, fingerprint);
    if (!peer) {
        if (!(peer = place_for_one(seen))) return KITH_ERR_NOMEM;
        *peer = (kith_seen_peer){.last_seen_ms = now_ms};
        memcpy(peer->fingerprint, fingerprint, sizeof peer->fingerprint);
    }
    if (now_ms > peer->last_seen_ms) peer->last_seen_ms = now_ms;
    if (addr && usable(addr)) put_first(peer, addr);
    return KITH_OK;
}

void kith_seen_forget(kith_seen *seen, const uint8_t fingerprint[static KITH_FINGERPRINT_SIZE])
{
    kith_seen_peer *peer = find(seen, fingerprint);
    if (peer) *peer = seen->peers[--seen->count];
}

static void write_addr(kith_writer *w, const kith_addr *addr)
{
    kith_cbor_write_array(w, ADDR_ITEMS);
    kith_cbor_write_uint(w, addr->port);
    kith_cbor_write_uint(w, addr->scope);
    kith_cbor_write_bytes(w, addr->ip, addr->family == KITH_FAMILY_IPV4 ? IPV4_SIZE : IPV6_SIZE);
}

kith_err kith_seen_encode(const kith_seen *seen, uint8_t **out, size_t *size)
{
    size_t room = seen->count * KITH_SEEN_ENCODED_MAX + BODY_HEAD_MAX;
    uint8_t *body = kith_malloc(room);
    if (!body) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(body, room);
    kith_cbor_write_array(&w, seen->count);
    for (size_t i = 0; i < seen->count; i++) {
        const kith_seen_peer *peer = &seen->peers[i];
        kith_cbor_write_array(&w, PEER_ITEMS);
        kith_cbor_write_bytes(&w, peer->fingerprint, sizeof peer->fingerprint);
        kith_cbor_write_int(&w, peer->last_seen_ms);
        kith_cbor_write_array(&w, peer->addr_count);
        for (size_t a = 0; a < peer->addr_count; a++) write_addr(&w, &peer->addrs[a]);
    }
    kith_err err =
        w.bad ? KITH_ERR_INTERNAL
              : kith_envelope_make(KITH_SEEN_CONTEXT, KITH_SEEN_VERSION, body, kith_writer_size(&w), out, size);
    kith_free(body);
    return err;
}

static void read_addr(kith_cbor_reader *r, kith_addr *out)
{
    size_t items = kith_cbor_read_array(r), size;
    uint64_t port = kith_cbor_read_uint(r), scope = kith_cbor_read_uint(r);
    const uint8_t *ip = kith_cbor_read_bytes(r, &size);
    *out = (kith_addr){.family = size == IPV4_SIZE ? KITH_FAMILY_IPV4 : KITH_FAMILY_IPV6};
    if (items != ADDR_ITEMS || port > UINT16_MAX || scope > UINT32_MAX || (size != IPV4_SIZE && size != IPV6_SIZE)) {
        r->bad = true;
        return;
    }
    out->port = (uint16_t)port;
    out->scope = (uint32_t)scope;
    memcpy(out->ip, ip, size);
    if (!usable(out)) r->bad = true;
}

static void read_peer(kith_cbor_reader *r, kith_seen_peer *out)
{
    *out = (kith_seen_peer){0};
    if (kith_cbor_read_array(r) != PEER_ITEMS) r->bad = true;
    kith_cbor_read_copy(r, out->fingerprint, sizeof out->fingerprint);
    out->last_seen_ms = kith_cbor_read_int(r);
    size_t addrs = kith_cbor_read_array(r);
    if (addrs > KITH_SEEN_ADDRS_MAX) r->bad = true;
    for (size_t i = 0; !r->bad && i < addrs; i++) {
        kith_addr addr;
        read_addr(r, &addr);
        for (size_t k = 0; k < out->addr_count; k++)
            if (kith_addr_equal(&out->addrs[k], &addr)) r->bad = true;
        out->addrs[out->addr_count++] = addr;
    }
}

static kith_err read_peers(kith_seen *seen, const uint8_t *body, size_t size, kith_reason *reason)
{
    kith_cbor_reader r = kith_cbor_reader_of(body, size);
    size_t count = kith_cbor_read_array(&r);
    if (count > KITH_SEEN_PEERS_MAX) return kith_envelope_bad(&r, body, "more peers than there can be", reason);
    for (size_t i = 0; i < count; i++) {
        kith_seen_peer peer, *place;
        read_peer(&r, &peer);
        if (r.bad) break;
        if (find(seen, peer.fingerprint)) return kith_envelope_bad(&r, body, "a peer is there twice", reason);
        if (!(place = place_for_one(seen))) return KITH_ERR_NOMEM;
        *place = peer;
    }
    return kith_cbor_done(&r) ? KITH_OK : kith_envelope_bad(&r, body, "not a list of peers", reason);
}

kith_err kith_seen_decode(const void *data, size_t size, kith_seen **out, kith_reason *reason)
{
    const uint8_t *body;
    size_t body_size;
    kith_seen *seen = NULL;
    kith_err err = kith_envelope_open(KITH_SEEN_CONTEXT, KITH_SEEN_VERSION, data, size, &body, &body_size, reason);
    if (!err) err = kith_seen_new(&seen);
    if (!err) err = read_peers(seen, body, body_size, reason);
    if (err)
        kith_seen_free(seen);
    else
        *out = seen;
    return err;
}
