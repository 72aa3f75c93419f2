/* What is counted for an address. */
#include "relay/hub_internal.h"

#include "base/mem.h"

#include <string.h>

#define V6_NETWORK 8 /* bytes of an IPv6 address that one subscriber has, at least */

static void key_of(const kith_addr *from, uint8_t out[static 9])
{
    memset(out, 0, 9);
    out[0] = from->family;
    memcpy(out + 1, from->ip, from->family == KITH_FAMILY_IPV4 ? 4 : V6_NETWORK);
}

static void forget(kith_hub *hub, source *s)
{
    kith_list_remove(&s->unused);
    kith_table_remove(&hub->sources, &s->link);
    hub->stats.sources--;
    kith_free(s);
}

source *source_of(kith_hub *hub, const kith_addr *from)
{
    uint8_t key[9];
    key_of(from, key);
    uint64_t hash = kith_table_hash(&hub->sources, key, sizeof key);
    for (kith_table_link *at = kith_table_first(&hub->sources, hash); at; at = kith_table_next(at)) {
        source *s = KITH_OF(at, source, link);
        if (memcmp(s->key, key, sizeof key) == 0) return s;
    }
    while (hub->stats.sources >= hub->settings.sources && !kith_list_empty(&hub->unused))
        forget(hub, KITH_OF(kith_list_first(&hub->unused), source, unused));
    source *s = kith_calloc(1, sizeof *s);
    if (!s) return NULL;
    memcpy(s->key, key, sizeof key);
    kith_table_add(&hub->sources, &s->link, hash);
    kith_list_append(&hub->unused, &s->unused);
    hub->stats.sources++;
    return s;
}

void source_use(source *s)
{
    s->connections++;
    kith_list_remove(&s->unused);
}

/* It is remembered for a while: what it used up of its guesses is not given back by connecting again. */
void source_unuse(kith_hub *hub, source *s)
{
    if (--s->connections == 0) kith_list_append(&hub->unused, &s->unused);
}

void sources_done(kith_hub *hub)
{
    while (!kith_list_empty(&hub->unused)) forget(hub, KITH_OF(kith_list_first(&hub->unused), source, unused));
}

/* Addresses of datagrams can be forged, so they get no memory of their own: a counter they share with few others. */
bool source_answer(kith_hub *hub, const kith_addr *from, uint64_t now_ns)
{
    uint8_t key[9];
    key_of(from, key);
    size_t slot = kith_table_hash(&hub->sources, key, sizeof key) % ANSWER_SLOTS;
    uint64_t second = now_ns / NS_PER_S;
    if (hub->answers[slot].second != second) {
        hub->answers[slot].second = second;
        hub->answers[slot].count = 0;
    }
    if (hub->answers[slot].count >= hub->settings.answers_per_second) {
        hub->stats.answers_limited++;
        return false;
    }
    hub->answers[slot].count++;
    return true;
}
