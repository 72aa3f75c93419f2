/* Whom we see.  The service browser tells names, once for each interface and family; each is followed by browsers for
 * its SRV and TXT records and for all addresses of the host the SRV record names.  A resolver would be simpler and give
 * one address. What is found is kept as it came, as facts with their interface and family, since each of these has a
 * cache of its own: a fact is over when no cache has it.  An instance is reported when its facts have been quiet for a
 * moment. */
#include "base/mem.h"
#include "io/mdns_internal.h"

#include <avahi-common/domain.h>
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <string.h>

#define REPORT_MS  30   /* records of one answer come in several callbacks */
#define SWEEP_MS   1000 /* between two turns of the sweep */
#define SWEEP_HELD 120  /* turns that do not count because this thread was busy, at most */
#define DOUBT_S    10   /* for who is in doubt to be heard again: others are asked after 0, 1, 3 and 7 s */
#define FACTS_MAX  64   /* 2 of SRV and TXT and 16 addresses, on one interface or two */
#define PLACES_MAX 32
#define BROWSERS   4

typedef struct place {
    AvahiIfIndex interface;
    AvahiProtocol protocol;
} place;

typedef struct fact {
    place where;
    AvahiRecord *record;
} fact;

typedef struct peer {
    kith_link link;
    mdns_thread *t;
    bool wanted, dirty, reported;
    place places[PLACES_MAX]; /* where its name was seen */
    size_t place_count;
    AvahiSRecordBrowser *browsers[BROWSERS]; /* SRV, TXT, A, AAAA */
    char *host;                              /* whose addresses are followed */
    fact facts[FACTS_MAX];                   /* latest last */
    size_t fact_count;
    kith_lan_record last; /* what was reported; its instance is always set */
} peer;

static bool same_place(place a, place b) { return a.interface == b.interface && a.protocol == b.protocol; }

static bool is_wanted(const mdns_thread *t, const char *name)
{
    const mdns_wanted *wanted = &t->wish.wanted;
    for (size_t i = 0; i < wanted->count; i++) {
        if (strncmp(name, wanted->prefixes[i], strlen(wanted->prefixes[i])) == 0) return true;
    }
    return false;
}

static peer *find_peer(mdns_thread *t, const char *name)
{
    KITH_EACH (at, &t->peers) {
        peer *p = KITH_OF(at, peer, link);
        if (strcmp(p->last.instance, name) == 0) return p;
    }
    return NULL;
}

/* ---- facts ---- */

static void mark(peer *p)
{
    p->dirty = true;
    if (p->t->report_set) return;
    p->t->report_set = true;
    kith__mdns_timeout(p->t, p->t->report, REPORT_MS);
}

static void remove_fact(peer *p, size_t i)
{
    avahi_record_unref(p->facts[i].record);
    memmove(p->facts + i, p->facts + i + 1, (--p->fact_count - i) * sizeof *p->facts);
}

static size_t find_fact(const peer *p, place where, const AvahiRecord *record)
{
    size_t i = 0;
    while (i < p->fact_count &&
           !(same_place(p->facts[i].where, where) && avahi_record_equal_no_ttl(p->facts[i].record, record)))
        i++;
    return i;
}

/* Whether the facts changed.  Too many are somebody's forgery; those there first stay. */
static bool note_fact(peer *p, place where, AvahiBrowserEvent event, AvahiRecord *record)
{
    size_t i = find_fact(p, where, record);
    if (event == AVAHI_BROWSER_REMOVE) {
        if (i == p->fact_count) return false;
        remove_fact(p, i);
        return true;
    }
    if (i < p->fact_count || p->fact_count == FACTS_MAX) return false;
    p->facts[p->fact_count++] = (fact){where, avahi_record_ref(record)};
    return true;
}

static const AvahiRecord *latest(const peer *p, uint16_t type)
{
    for (size_t i = p->fact_count; i-- > 0;) {
        if (p->facts[i].record->key->type == type) return p->facts[i].record;
    }
    return NULL;
}

static bool is_address(const AvahiRecord *record)
{
    return record->key->type == AVAHI_DNS_TYPE_A || record->key->type == AVAHI_DNS_TYPE_AAAA;
}

static void forget_facts(peer *p, bool addresses_only)
{
    for (size_t i = p->fact_count; i-- > 0;) {
        if (!addresses_only || is_address(p->facts[i].record)) remove_fact(p, i);
    }
}

/* ---- following ---- */

static void on_record(AvahiSRecordBrowser *browser, AvahiIfIndex interface, AvahiProtocol protocol,
                      AvahiBrowserEvent event, AvahiRecord *record, AvahiLookupResultFlags flags, void *user);

static AvahiSRecordBrowser *follow(peer *p, const char *name, uint16_t type)
{
    AvahiKey *key = avahi_key_new(name, AVAHI_DNS_CLASS_IN, type);
    if (!key) return NULL;
    AvahiSRecordBrowser *browser = avahi_s_record_browser_new(p->t->server, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, key,
                                                              AVAHI_LOOKUP_USE_MULTICAST, on_record, p);
    avahi_key_unref(key);
    return browser;
}

static void stop_following(peer *p, size_t from)
{
    for (size_t i = from; i < BROWSERS; i++) {
        if (p->browsers[i]) avahi_s_record_browser_free(p->browsers[i]);
        p->browsers[i] = NULL;
    }
}

/* Follow the host the latest SRV record names.  Without one we stay with the host we have. */
static void follow_host(peer *p)
{
    const AvahiRecord *srv = latest(p, AVAHI_DNS_TYPE_SRV);
    if (!srv || (p->host && avahi_domain_equal(p->host, srv->data.srv.name))) return;
    stop_following(p, 2);
    forget_facts(p, true);
    kith_free(p->host);
    p->host = kith_strdup(srv->data.srv.name);
    if (!p->host) return;
    p->browsers[2] = follow(p, p->host, AVAHI_DNS_TYPE_A);
    p->browsers[3] = follow(p, p->host, AVAHI_DNS_TYPE_AAAA);
}

static void on_record(AvahiSRecordBrowser *browser, AvahiIfIndex interface, AvahiProtocol protocol,
                      AvahiBrowserEvent event, AvahiRecord *record, AvahiLookupResultFlags flags, void *user)
{
    peer *p = user;
    (void)browser;
    (void)flags;
    if (event != AVAHI_BROWSER_NEW && event != AVAHI_BROWSER_REMOVE) return;
    if (!note_fact(p, (place){interface, protocol}, event, record)) return;
    if (record->key->type == AVAHI_DNS_TYPE_SRV) follow_host(p);
    mark(p);
}

static void start_following(peer *p)
{
    char name[AVAHI_DOMAIN_NAME_MAX];
    if (avahi_service_name_join(name, sizeof name, p->last.instance, KITH_LAN_SERVICE_TYPE, MDNS_DOMAIN) != AVAHI_OK)
        return;
    if (!p->browsers[0]) p->browsers[0] = follow(p, name, AVAHI_DNS_TYPE_SRV);
    if (!p->browsers[1]) p->browsers[1] = follow(p, name, AVAHI_DNS_TYPE_TXT);
}

/* ---- reporting ---- */

static bool usable(const mdns_thread *t, const kith_addr *a)
{
    bool multicast = a->family == KITH_FAMILY_IPV4 ? a->ip[0] >= 224 : a->ip[0] == 0xff;
    return !multicast && !kith_addr_is_any(a) && (t->on_loopback || !kith_addr_is_loopback(a));
}

static void add_address(const mdns_thread *t, const fact *f, kith_lan_record *out)
{
    kith_addr a = {.family = KITH_FAMILY_IPV4, .port = out->port};
    if (f->record->key->type == AVAHI_DNS_TYPE_AAAA) {
        a.family = KITH_FAMILY_IPV6;
        memcpy(a.ip, f->record->data.aaaa.address.address, 16);
        if (kith_addr_is_link_local(&a)) a.scope = (uint32_t)f->where.interface;
    } else {
        memcpy(a.ip, &f->record->data.a.address.address, 4);
    }
    if (!usable(t, &a) || out->addr_count == KITH_LAN_ADDRS_MAX) return;
    for (size_t i = 0; i < out->addr_count; i++) {
        if (kith_addr_equal(&out->addrs[i], &a)) return;
    }
    out->addrs[out->addr_count++] = a;
}

/* What the facts say; false while SRV or TXT is missing, or the text is too long to be one of ours. */
static bool describe(const peer *p, kith_lan_record *out)
{
    const AvahiRecord *srv = latest(p, AVAHI_DNS_TYPE_SRV), *txt = latest(p, AVAHI_DNS_TYPE_TXT);
    if (!srv || !txt) return false;
    memcpy(out->instance, p->last.instance, sizeof out->instance);
    out->port = srv->data.srv.port;
    size_t size = avahi_string_list_serialize(txt->data.txt.string_list, NULL, 0);
    if (size > KITH_LAN_TXT_MAX) return false;
    out->txt_size = avahi_string_list_serialize(txt->data.txt.string_list, out->txt, sizeof out->txt);
    for (size_t i = 0; i < p->fact_count; i++) {
        if (is_address(p->facts[i].record)) add_address(p->t, &p->facts[i], out);
    }
    return true;
}

static bool same_record(const kith_lan_record *a, const kith_lan_record *b)
{
    if (a->port != b->port || a->txt_size != b->txt_size || memcmp(a->txt, b->txt, a->txt_size) != 0) return false;
    if (a->addr_count != b->addr_count) return false;
    for (size_t i = 0; i < a->addr_count; i++) {
        size_t j = 0;
        while (j < b->addr_count && !kith_addr_equal(&a->addrs[i], &b->addrs[j])) j++;
        if (j == b->addr_count) return false;
    }
    return true;
}

/* That we are heard is worth knowing once.  To follow ourselves further would have us ask and answer ourselves for
 * ever, whenever what we said of us grows old: most of the wake-ups of a node that is alone. */
static bool is_known_self(const peer *p)
{
    return p->reported && p->t->wish.announce && strcmp(p->last.instance, p->t->name) == 0;
}

static void report(peer *p)
{
    kith_lan_record record = {0};
    p->dirty = false;
    if (is_known_self(p) || !describe(p, &record) || (!p->reported && record.addr_count == 0)) return;
    if (p->reported && same_record(&record, &p->last)) return;
    p->last = record;
    p->reported = true;
    kith__mdns_box_tell(p->t->box, &record, true, p->wanted);
    if (is_known_self(p)) stop_following(p, 0);
}

static void on_report(AvahiTimeout *timeout, void *user)
{
    mdns_thread *t = user;
    (void)timeout;
    t->report_set = false;
    KITH_EACH (at, &t->peers) {
        peer *p = KITH_OF(at, peer, link);
        if (p->dirty) report(p);
    }
}

/* ---- names that come and go ---- */

static void free_peer(peer *p)
{
    if (p->t->server) stop_following(p, 0);
    forget_facts(p, false);
    kith_list_remove(&p->link);
    p->t->peer_count--;
    kith_free(p->host);
    kith_free(p);
}

static void tell_gone(mdns_thread *t, const char *name)
{
    kith_lan_record record = {0};
    memcpy(record.instance, name, strlen(name) + 1);
    kith__mdns_box_tell(t->box, &record, false, is_wanted(t, name));
}

/* In a flood the oldest stranger is followed no longer; it was reported, and that it is gone will be told. */
static peer *add_peer(mdns_thread *t, const char *name)
{
    bool wanted = is_wanted(t, name);
    if (t->peer_count == KITH_LAN_INSTANCES_MAX) {
        peer *victim = NULL;
        KITH_EACH (at, &t->peers) {
            peer *p = KITH_OF(at, peer, link);
            if (!victim && !p->wanted) victim = p;
        }
        if (!victim && !wanted) return NULL;
        free_peer(victim ? victim : KITH_OF(kith_list_first(&t->peers), peer, link));
    }
    peer *p = kith_calloc(1, sizeof *p);
    if (!p) return NULL;
    p->t = t;
    p->wanted = wanted;
    memcpy(p->last.instance, name, strlen(name) + 1);
    kith_list_append(&t->peers, &p->link);
    t->peer_count++;
    return p;
}

static void sweep_for(mdns_thread *t, unsigned seconds)
{
    const unsigned turns = seconds * 1000 / SWEEP_MS;
    if (t->sweep_left < turns) t->sweep_left = turns;
    t->sweep_held = 0;
    kith__mdns_timeout(t, t->sweep, SWEEP_MS);
}

static void on_appeared(mdns_thread *t, const char *name, place where)
{
    peer *p = find_peer(t, name);
    if (!p) p = add_peer(t, name);
    if (!p) return;
    size_t i = 0;
    while (i < p->place_count && !same_place(p->places[i], where)) i++;
    if (i == p->place_count && i < PLACES_MAX) p->places[p->place_count++] = where;
    if (!is_known_self(p)) start_following(p);
}

static void on_disappeared(mdns_thread *t, const char *name, place where)
{
    peer *p = find_peer(t, name);
    for (size_t i = 0; p && i < p->place_count; i++) {
        if (same_place(p->places[i], where)) p->places[i--] = p->places[--p->place_count];
    }
    if (p && p->place_count) return;
    if (p && p->reported &&
        kith__mdns_thread_is_busy(t)) { /* whoever it was that was asked in time, we did not hear it */
        t->ask = t->ask || !t->sweep_left;
        if (!t->sweep_left) sweep_for(t, DOUBT_S);
        return;
    }
    if (!p || p->reported) tell_gone(t, name); /* one that is not followed may have been reported */
    if (p) free_peer(p);
}

static void on_browser(AvahiSServiceBrowser *browser, AvahiIfIndex interface, AvahiProtocol protocol,
                       AvahiBrowserEvent event, const char *name, const char *type, const char *domain,
                       AvahiLookupResultFlags flags, void *user)
{
    mdns_thread *t = user;
    (void)browser;
    (void)type;
    (void)domain;
    (void)flags;
    if (event == AVAHI_BROWSER_FAILURE) t->rebuild = true;
    if (event != AVAHI_BROWSER_NEW && event != AVAHI_BROWSER_REMOVE) return;
    if (!name || !name[0] || strlen(name) >= KITH_LAN_INSTANCE_SIZE) return;
    place where = {interface, protocol};
    if (event == AVAHI_BROWSER_NEW)
        on_appeared(t, name, where);
    else
        on_disappeared(t, name, where);
}

/* ---- beginning and end ---- */

/* A turn a second, of which only those count in which this thread was through with all it had to do: a thread that had
 * no CPU does not take its own silence for the others'. */
static void on_sweep(AvahiTimeout *timeout, void *user)
{
    mdns_thread *t = user;
    bool held = kith__mdns_thread_is_busy(t) && t->sweep_held < SWEEP_HELD;
    t->sweep_held += held;
    if (held || (t->sweep_left && --t->sweep_left)) {
        kith__mdns_timeout(t, timeout, SWEEP_MS);
        return;
    }
    KITH_EACH (at, &t->peers) {
        peer *p = KITH_OF(at, peer, link);
        if (p->place_count) continue;
        if (p->reported) tell_gone(t, p->last.instance);
        free_peer(p);
    }
}

bool kith__mdns_browse_init(mdns_thread *t)
{
    t->report = t->poll->timeout_new(t->poll, NULL, on_report, t);
    t->sweep = t->poll->timeout_new(t->poll, NULL, on_sweep, t);
    return t->report && t->sweep;
}

bool kith__mdns_browse_start(mdns_thread *t)
{
    t->browser = avahi_s_service_browser_new(t->server, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, KITH_LAN_SERVICE_TYPE,
                                             MDNS_DOMAIN, AVAHI_LOOKUP_USE_MULTICAST, on_browser, t);
    return t->browser != NULL;
}

bool kith__mdns_browse_again(mdns_thread *t)
{
    if (t->browser) avahi_s_service_browser_free(t->browser);
    return kith__mdns_browse_start(t);
}

void kith__mdns_browse_forget(mdns_thread *t, unsigned seconds)
{
    KITH_EACH (at, &t->peers) {
        peer *p = KITH_OF(at, peer, link);
        memset(p->browsers, 0, sizeof p->browsers);
        p->place_count = 0;
        forget_facts(p, false);
        kith_free(p->host);
        p->host = NULL;
    }
    if (t->sweep) sweep_for(t, seconds);
}

void kith__mdns_browse_wanted(mdns_thread *t)
{
    KITH_EACH (at, &t->peers) {
        peer *p = KITH_OF(at, peer, link);
        p->wanted = is_wanted(t, p->last.instance);
    }
}

void kith__mdns_browse_done(mdns_thread *t)
{
    while (!kith_list_empty(&t->peers)) free_peer(KITH_OF(kith_list_first(&t->peers), peer, link));
}
