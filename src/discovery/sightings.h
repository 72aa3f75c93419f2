/* Who was seen where: one entry for each running node (instance) that announced itself on the local network, and one
 * for each device whose addresses are known from before.  An entry makes us dial, and proves nothing: everything in it
 * can be forged.  The table is bounded: when it is full a stranger's entry makes room, never one with priority. */
#ifndef KITH_DISCOVERY_SIGHTINGS_H
#define KITH_DISCOVERY_SIGHTINGS_H

#include "base/addr.h"
#include "discovery/txt.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_SIGHTINGS_MAX 256
/* With one device id (its running nodes), or one pairing tag: more of them are forged.  One more with an id replaces
 * the one seen longest ago, since a device that starts again comes last; one more with a tag is refused, since who
 * copies a tag comes after its owner. */
#define KITH_SIGHTINGS_SAME_MAX 16
#define KITH_SIGHTING_ADDRS_MAX 8

typedef enum kith_sighting_source { KITH_SIGHTING_LAN, KITH_SIGHTING_KNOWN } kith_sighting_source;

typedef struct kith_sighting {
    char
        instance[KITH_INSTANCE_SIZE]; /* one that is known from before is named by whoever notes it, such as its UUID */
    kith_sighting_source source;
    kith_txt txt;
    bool own;      /* the id is this device's own */
    bool priority; /* as noted: a device we know */
    uint64_t seen_ns, expires_ns;
    kith_addr addrs[KITH_SIGHTING_ADDRS_MAX]; /* the best to dial first */
    size_t addr_count;
} kith_sighting;

/* What to note of a sighting. */
typedef struct kith_sighting_note {
    const char *instance;
    kith_sighting_source source;
    const kith_txt *txt;
    const kith_addr *addrs; /* in any order; those that cannot be dialled are left out */
    size_t addr_count;
    bool priority;
    uint64_t expires_ns; /* UINT64_MAX: until it is gone */
} kith_sighting_note;

typedef struct kith_sightings kith_sightings;

/* NOMEM. */
KITH_MUST_CHECK kith_err kith_sightings_new(const uint8_t own_id[static KITH_UUID_SIZE], kith_sightings **out);
void kith_sightings_free(kith_sightings *s); /* NULL is fine */

/* Add, or replace what was noted of this instance from this source.  *changed (may be NULL): it is new, or more than
 * its times differ.  ARG: the name is empty or too long; LIMIT: no room (what is there stays); NOMEM. */
KITH_MUST_CHECK kith_err kith_sightings_note(kith_sightings *s, const kith_sighting_note *note, uint64_t now_ns,
                                             bool *changed);
/* Forget what the local network told of an instance.  Whether it was there. */
bool kith_sightings_gone(kith_sightings *s, const char *instance);
/* Entries with this pairing tag have priority, until another is wanted; NULL = none. */
void kith_sightings_want_tag(kith_sightings *s, const uint32_t *tag);

/* The entries are valid until the table is next changed.  Found ones are given latest seen first, our own never; how
 * many there are, of which at most `cap` are given. */
const kith_sighting *kith_sightings_find(const kith_sightings *s, const char *instance, kith_sighting_source source);
size_t kith_sightings_find_device(const kith_sightings *s, const uint8_t id[static KITH_UUID_SIZE],
                                  const kith_sighting **out, size_t cap);
size_t kith_sightings_find_tag(const kith_sightings *s, uint32_t tag, const kith_sighting **out, size_t cap);
size_t kith_sightings_count(const kith_sightings *s);
const kith_sighting *kith_sightings_at(const kith_sightings *s, size_t i); /* own ones too, in no order */

/* When the next one expires; UINT64_MAX = never. */
uint64_t kith_sightings_deadline_ns(const kith_sightings *s);
/* Take one that has expired out of the table into *out; false when there is none. */
bool kith_sightings_expire(kith_sightings *s, uint64_t now_ns, kith_sighting *out);

/* Leave out what cannot be dialled (no port, no address, multicast, IPv6 link-local without an interface) and repeats,
 * and put the rest in the order to dial: IPv6 and IPv4 in turn, loopback before link-local last.  How many of `out` are
 * filled; nothing when cap is 0. */
size_t kith_sightings_order(const kith_addr *addrs, size_t count, kith_addr *out, size_t cap);

#endif
