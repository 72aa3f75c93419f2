#include "discovery/sightings.h"

#include "base/mem.h"

#include <string.h>

struct kith_sightings {
    uint8_t own_id[KITH_UUID_SIZE];
    bool wants_tag;
    uint32_t tag;
    size_t count;
    kith_sighting *entries[KITH_SIGHTINGS_MAX];
};

kith_err kith_sightings_new(const uint8_t own_id[static KITH_UUID_SIZE], kith_sightings **out)
{
    kith_sightings *s = kith_calloc(1, sizeof *s);
    if (!s) return KITH_ERR_NOMEM;
    memcpy(s->own_id, own_id, KITH_UUID_SIZE);
    *out = s;
    return KITH_OK;
}

void kith_sightings_free(kith_sightings *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->count; i++) kith_free(s->entries[i]);
    kith_free(s);
}

/* ---- the order to dial ---- */

typedef enum rank { RANK_IPV6, RANK_IPV4, RANK_LOOPBACK, RANK_LINK_LOCAL, RANK_USELESS } rank;

static bool is_multicast(const kith_addr *a)
{
    return a->family == KITH_FAMILY_IPV4 ? a->ip[0] >= 224 /* and class E, with the broadcast address */
                                         : a->ip[0] == 0xff;
}

static rank rank_of(const kith_addr *a)
{
    if ((a->family != KITH_FAMILY_IPV4 && a->family != KITH_FAMILY_IPV6) || a->port == 0) return RANK_USELESS;
    if (kith_addr_is_any(a) || is_multicast(a)) return RANK_USELESS;
    if (kith_addr_is_link_local(a)) return a->family == KITH_FAMILY_IPV6 && !a->scope ? RANK_USELESS : RANK_LINK_LOCAL;
    if (kith_addr_is_loopback(a)) return RANK_LOOPBACK;
    return a->family == KITH_FAMILY_IPV6 ? RANK_IPV6 : RANK_IPV4;
}

static bool is_repeat(const kith_addr *addrs, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (kith_addr_equal(&addrs[j], &addrs[i])) return true;
    }
    return false;
}

/* The first of this rank at or after `i`; `count` when there is none. */
static size_t next_of(const kith_addr *addrs, size_t count, size_t i, rank wanted)
{
    while (i < count && (rank_of(&addrs[i]) != wanted || is_repeat(addrs, i))) i++;
    return i;
}

/* The families take turns (RFC 8305 section 4), so that one that does not work costs one attempt, not all of them. */
size_t kith_sightings_order(const kith_addr *addrs, size_t count, kith_addr *out, size_t cap)
{
    size_t n = 0;
    size_t v6 = next_of(addrs, count, 0, RANK_IPV6), v4 = next_of(addrs, count, 0, RANK_IPV4);
    for (; (v6 < count || v4 < count) && n < cap;) {
        if (v6 < count) out[n++] = addrs[v6];
        if (v4 < count && n < cap) out[n++] = addrs[v4];
        if (v6 < count) v6 = next_of(addrs, count, v6 + 1, RANK_IPV6);
        if (v4 < count) v4 = next_of(addrs, count, v4 + 1, RANK_IPV4);
    }
    for (rank r = RANK_LOOPBACK; r <= RANK_LINK_LOCAL; r++) {
        for (size_t i = next_of(addrs, count, 0, r); i < count && n < cap; i = next_of(addrs, count, i + 1, r))
            out[n++] = addrs[i];
    }
    return n;
}

/* ---- making room ---- */

static bool has_priority(const kith_sightings *s, const kith_sighting *e)
{
    return e->priority || (s->wants_tag && e->txt.pairing && e->txt.tag == s->tag);
}

static bool same_id(const kith_sighting *a, const kith_sighting *b)
{
    return memcmp(a->txt.id, b->txt.id, KITH_UUID_SIZE) == 0;
}

static bool same_tag(const kith_sighting *a, const kith_sighting *b)
{
    return a->txt.pairing && b->txt.pairing && a->txt.tag == b->txt.tag;
}

static void remove_at(kith_sightings *s, size_t i)
{
    kith_free(s->entries[i]);
    s->entries[i] = s->entries[--s->count];
}

/* Room for `e`, which is not in the table: LIMIT, or the place to put it, at which an entry that must go may be. */
static kith_err find_room(const kith_sightings *s, const kith_sighting *e, size_t *place)
{
    size_t ids = 0, tags = 0, oldest_id = 0, oldest = KITH_SIGHTINGS_MAX;
    for (size_t i = 0; i < s->count; i++) {
        const kith_sighting *at = s->entries[i];
        if (at->source == KITH_SIGHTING_KNOWN) continue; /* whoever noted it keeps count */
        if (same_id(at, e) && (ids++ == 0 || at->seen_ns < s->entries[oldest_id]->seen_ns)) oldest_id = i;
        tags += same_tag(at, e);
        if (has_priority(s, at)) continue;
        if (oldest == KITH_SIGHTINGS_MAX || at->seen_ns < s->entries[oldest]->seen_ns) oldest = i;
    }
    if (e->source == KITH_SIGHTING_LAN) {
        if (tags >= KITH_SIGHTINGS_SAME_MAX) return KITH_ERR_LIMIT;
        if (ids >= KITH_SIGHTINGS_SAME_MAX) {
            *place = oldest_id;
            return KITH_OK;
        }
    }
    if (s->count == KITH_SIGHTINGS_MAX && oldest == KITH_SIGHTINGS_MAX) return KITH_ERR_LIMIT;
    *place = s->count < KITH_SIGHTINGS_MAX ? s->count : oldest;
    return KITH_OK;
}

/* ---- noting ---- */

static size_t index_of(const kith_sightings *s, const char *instance, kith_sighting_source source)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i]->source == source && strcmp(s->entries[i]->instance, instance) == 0) return i;
    }
    return KITH_SIGHTINGS_MAX;
}

static bool same_news(const kith_sighting *a, const kith_sighting *b)
{
    if (!kith_txt_equal(&a->txt, &b->txt) || a->priority != b->priority || a->addr_count != b->addr_count) return false;
    for (size_t i = 0; i < a->addr_count; i++) {
        if (!kith_addr_equal(&a->addrs[i], &b->addrs[i])) return false;
    }
    return true;
}

static kith_err add(kith_sightings *s, const kith_sighting *e)
{
    size_t place = 0;
    kith_err err = find_room(s, e, &place);
    if (err) return err;
    kith_sighting *copy = kith_memdup(e, sizeof *e);
    if (!copy) return KITH_ERR_NOMEM;
    if (place < s->count) kith_free(s->entries[place]);
    s->entries[place] = copy;
    if (place == s->count) s->count++;
    return KITH_OK;
}

kith_err kith_sightings_note(kith_sightings *s, const kith_sighting_note *note, uint64_t now_ns, bool *changed)
{
    size_t size = strlen(note->instance);
    if (size == 0 || size >= KITH_INSTANCE_SIZE) return KITH_ERR_ARG;
    kith_sighting e = {.source = note->source,
                       .txt = *note->txt,
                       .own = memcmp(note->txt->id, s->own_id, KITH_UUID_SIZE) == 0,
                       .priority = note->priority,
                       .seen_ns = now_ns,
                       .expires_ns = note->expires_ns};
    memcpy(e.instance, note->instance, size);
    e.addr_count = kith_sightings_order(note->addrs, note->addr_count, e.addrs, KITH_SIGHTING_ADDRS_MAX);
    size_t i = index_of(s, e.instance, e.source);
    bool news = true;
    if (i < s->count) {
        news = !same_news(s->entries[i], &e);
        *s->entries[i] = e;
    } else {
        kith_err err = add(s, &e);
        if (err) return err;
    }
    if (changed) *changed = news;
    return KITH_OK;
}

bool kith_sightings_gone(kith_sightings *s, const char *instance)
{
    size_t i = index_of(s, instance, KITH_SIGHTING_LAN);
    if (i >= s->count) return false;
    remove_at(s, i);
    return true;
}

void kith_sightings_want_tag(kith_sightings *s, const uint32_t *tag)
{
    s->wants_tag = tag != NULL;
    s->tag = tag ? *tag : 0;
}

/* ---- finding ---- */

const kith_sighting *kith_sightings_find(const kith_sightings *s, const char *instance, kith_sighting_source source)
{
    size_t i = index_of(s, instance, source);
    return i < s->count ? s->entries[i] : NULL;
}

/* Insert into `out`, which is kept latest first; what does not fit falls out at its end. */
static void put_sorted(const kith_sighting **out, size_t filled, size_t cap, const kith_sighting *e)
{
    size_t i = 0;
    while (i < filled && out[i]->seen_ns >= e->seen_ns) i++;
    if (i == cap) return;
    size_t moved = (filled < cap ? filled : cap - 1) - i;
    memmove(out + i + 1, out + i, moved * sizeof *out);
    out[i] = e;
}

size_t kith_sightings_find_device(const kith_sightings *s, const uint8_t id[static KITH_UUID_SIZE],
                                  const kith_sighting **out, size_t cap)
{
    size_t found = 0;
    for (size_t i = 0; i < s->count; i++) {
        const kith_sighting *e = s->entries[i];
        if (e->own || memcmp(e->txt.id, id, KITH_UUID_SIZE) != 0) continue;
        put_sorted(out, found < cap ? found : cap, cap, e);
        found++;
    }
    return found;
}

size_t kith_sightings_find_tag(const kith_sightings *s, uint32_t tag, const kith_sighting **out, size_t cap)
{
    size_t found = 0;
    for (size_t i = 0; i < s->count; i++) {
        const kith_sighting *e = s->entries[i];
        if (e->own || !e->txt.pairing || e->txt.tag != tag) continue;
        put_sorted(out, found < cap ? found : cap, cap, e);
        found++;
    }
    return found;
}

size_t kith_sightings_count(const kith_sightings *s) { return s->count; }
const kith_sighting *kith_sightings_at(const kith_sightings *s, size_t i)
{
    return i < s->count ? s->entries[i] : NULL;
}

/* ---- expiry ---- */

uint64_t kith_sightings_deadline_ns(const kith_sightings *s)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i]->expires_ns < first) first = s->entries[i]->expires_ns;
    }
    return first;
}

bool kith_sightings_expire(kith_sightings *s, uint64_t now_ns, kith_sighting *out)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i]->expires_ns == UINT64_MAX || s->entries[i]->expires_ns > now_ns) continue;
        *out = *s->entries[i];
        remove_at(s, i);
        return true;
    }
    return false;
}
