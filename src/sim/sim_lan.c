/* Service discovery: who announces what, and who has heard it.  No packets of mDNS are made up; what a network would
 * carry is: an announcement or an answer that takes its time or is lost, and is repeated; a goodbye; silence. */
#include "base/mem.h"
#include "sim/sim_internal.h"

#define TALK_NS (20 * KITH_SIM_MS) /* at most, from a reason to speak to speaking */

typedef struct heard { /* one instance, as one browser knows it */
    char instance[KITH_LAN_INSTANCE_SIZE];
    uint64_t announcer;     /* 0: injected */
    uint64_t version, hash; /* of what was said last */
    uint64_t doubt_ns;      /* when to ask whether it is still so; UINT64_MAX = no reason to */
} heard;

struct kith_lan {
    kith_link link;
    sim_process *process;
    uint64_t id, version;
    kith_lan_events events;
    void *user;
    kith_lan_record record;
    bool announces;
    sim_event talk, doubt;
    unsigned rounds; /* of talking, since there was a reason */
    heard **known;   /* by instance */
    size_t known_count, known_cap;
};

typedef struct message { /* under way to one browser */
    kith_link link;
    sim_event event;
    uint64_t from, to;
    uint64_t version; /* of what a goodbye is said to: not to what came after it */
    bool goodbye;
    char instance[KITH_LAN_INSTANCE_SIZE];
    kith_lan_record injected[]; /* one, or none */
} message;

/* ---- tables ---- */

static size_t browser_place(const kith_sim *sim, uint64_t id)
{
    size_t low = 0, high = sim->browser_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sim->browsers[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static kith_lan *browser_find(const kith_sim *sim, uint64_t id)
{
    size_t place = browser_place(sim, id);
    return place < sim->browser_count && sim->browsers[place]->id == id ? sim->browsers[place] : NULL;
}

static kith_err browser_add(kith_sim *sim, kith_lan *lan)
{
    if (sim->browser_count == sim->browser_cap) {
        size_t cap = sim->browser_cap ? 2 * sim->browser_cap : 16;
        kith_lan **grown = kith_realloc(sim->browsers, cap * sizeof *grown);
        if (!grown) return KITH_ERR_NOMEM;
        sim->browsers = grown;
        sim->browser_cap = cap;
    }
    lan->id = sim->next_browser++;
    sim->browsers[sim->browser_count++] = lan;
    return KITH_OK;
}

static void browser_remove(kith_sim *sim, const kith_lan *lan)
{
    if (browser_find(sim, lan->id) != lan) return;
    size_t place = browser_place(sim, lan->id);
    memmove(&sim->browsers[place], &sim->browsers[place + 1], (--sim->browser_count - place) * sizeof *sim->browsers);
}

static size_t heard_place(const kith_lan *lan, const char *instance)
{
    size_t low = 0, high = lan->known_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(lan->known[middle]->instance, instance) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static heard *heard_find(const kith_lan *lan, const char *instance)
{
    size_t place = heard_place(lan, instance);
    return place < lan->known_count && strcmp(lan->known[place]->instance, instance) == 0 ? lan->known[place] : NULL;
}

/* NULL when out of memory: then it has not been heard. */
static heard *heard_add(kith_lan *lan, const char *instance)
{
    if (lan->known_count == lan->known_cap) {
        size_t cap = lan->known_cap ? 2 * lan->known_cap : 8;
        heard **grown = kith_realloc(lan->known, cap * sizeof *grown);
        if (!grown) return NULL;
        lan->known = grown;
        lan->known_cap = cap;
    }
    heard *h = kith_calloc(1, sizeof *h);
    if (!h) return NULL;
    size_t place = heard_place(lan, instance);
    memmove(&lan->known[place + 1], &lan->known[place], (lan->known_count++ - place) * sizeof *lan->known);
    lan->known[place] = h;
    snprintf(h->instance, sizeof h->instance, "%s", instance);
    return h;
}

static void heard_remove(kith_lan *lan, heard *h)
{
    size_t place = heard_place(lan, h->instance);
    memmove(&lan->known[place], &lan->known[place + 1], (--lan->known_count - place) * sizeof *lan->known);
    kith_free(h);
}

/* ---- who hears whom ---- */

/* Whether there is a network for both now; with `delay_ns`, whether a message sent now arrives, and after how long. */
static bool reaches(kith_sim *sim, const kith_sim_host *from, const kith_sim_host *to, uint64_t *delay_ns)
{
    if (kith__sim_is_cut(sim, from, to, SIM_ANYTHING)) return false;
    KITH_EACH (link, &from->ifaces) {
        const kith_sim_lan *network = KITH_OF(link, sim_iface, link)->lan;
        if (!kith__sim_iface_on(to, network)) continue;
        if (!delay_ns) return true;
        if (from != to && kith__sim_rng_chance(&sim->rng, network->discovery_loss)) continue;
        *delay_ns = 1 + kith__sim_rng_below(&sim->rng, network->discovery_delay_ns);
        return true;
    }
    return false;
}

/* As `to` gets it: with the addresses on the networks they share. */
static void compose(const kith_lan *from, const kith_lan *to, kith_lan_record *out)
{
    *out = from->record;
    out->addr_count = 0;
    KITH_EACH (link, &from->process->host->ifaces) {
        const sim_iface *iface = KITH_OF(link, sim_iface, link);
        const sim_iface *theirs = kith__sim_iface_on(to->process->host, iface->lan);
        for (size_t i = 0; theirs && i < iface->addr_count && out->addr_count < KITH_LAN_ADDRS_MAX; i++) {
            kith_addr *addr = &out->addrs[out->addr_count++];
            *addr = iface->addrs[i];
            addr->port = out->port;
            if (addr->family == KITH_FAMILY_IPV6 && kith_addr_is_link_local(addr)) addr->scope = theirs->index;
        }
    }
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_of(const kith_lan_record *record)
{
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), &record->port, sizeof record->port);
    hash = hash_bytes(hash, record->txt, record->txt_size);
    for (size_t i = 0; i < record->addr_count; i++) {
        hash = hash_bytes(hash, record->addrs[i].ip, sizeof record->addrs[i].ip);
        hash = hash_bytes(hash, &record->addrs[i].scope, sizeof record->addrs[i].scope);
    }
    return hash;
}

/* ---- hearing ---- */

static void set_doubt_event(kith_lan *lan)
{
    kith_sim *sim = lan->process->sim;
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < lan->known_count; i++) {
        if (lan->known[i]->doubt_ns < first) first = lan->known[i]->doubt_ns;
    }
    if (first == UINT64_MAX) {
        kith__sim_event_cancel(sim, &lan->doubt);
    } else {
        kith__sim_event_at(sim, &lan->doubt, first);
    }
}

static void start_doubt(kith_lan *lan, heard *h)
{
    uint64_t at_ns = lan->process->sim->now_ns + KITH_SIM_EXPIRY_NS;
    if (h->doubt_ns > at_ns) h->doubt_ns = at_ns;
    if (!lan->doubt.slot || lan->doubt.at_ns > h->doubt_ns)
        kith__sim_event_at(lan->process->sim, &lan->doubt, h->doubt_ns);
}

/* May free `lan`, since it calls its owner. */
static void hear(kith_lan *lan, const kith_lan_record *record, uint64_t announcer, uint64_t version)
{
    uint64_t hash = hash_of(record);
    heard *h = heard_find(lan, record->instance);
    bool changed = !h || h->hash != hash;
    if (!h) h = heard_add(lan, record->instance);
    if (!h) return;
    h->announcer = announcer;
    h->version = version;
    h->hash = hash;
    h->doubt_ns = UINT64_MAX;
    if (!announcer) start_doubt(lan, h);
    if (!changed) return;
    kith__sim_note(lan->process->sim, "seen", lan->process->host, record->txt_size, record->instance,
                   strlen(record->instance));
    lan->events.seen(lan->user, record);
}

static void forget(kith_lan *lan, heard *h)
{
    char instance[KITH_LAN_INSTANCE_SIZE];
    memcpy(instance, h->instance, sizeof instance);
    heard_remove(lan, h);
    kith__sim_note(lan->process->sim, "gone", lan->process->host, 0, instance, strlen(instance));
    lan->events.gone(lan->user, instance);
}

static void message_free(kith_sim *sim, message *m)
{
    kith__sim_event_done(sim, &m->event);
    kith_list_remove(&m->link);
    kith_free(m);
}

static void message_run(kith_sim *sim, sim_event *event)
{
    message *m = KITH_OF(event, message, event);
    kith_lan *from = browser_find(sim, m->from), *to = browser_find(sim, m->to);
    kith_lan_record record;
    bool goodbye = m->goodbye;
    heard *h = to && goodbye ? heard_find(to, m->instance) : NULL;
    uint64_t announcer = m->from, version = m->version;
    if (!announcer) record = m->injected[0];
    message_free(sim, m);
    if (!to) return;
    if (goodbye) {
        if (h && h->announcer == announcer && h->version <= version) forget(to, h);
    } else if (!announcer) {
        hear(to, &record, 0, 0);
    } else if (from && from->announces && reaches(sim, from->process->host, to->process->host, NULL)) {
        compose(from, to, &record);
        hear(to, &record, from->id, from->version);
    }
}

/* Out of memory is as good as lost. */
static message *message_new(kith_sim *sim, uint64_t from, uint64_t to, uint64_t delay_ns, bool injected)
{
    message *m = kith_calloc(1, sizeof *m + (injected ? sizeof m->injected[0] : 0));
    if (!m) return NULL;
    if (kith__sim_event_init(sim, &m->event, message_run)) {
        kith_free(m);
        return NULL;
    }
    m->from = from;
    m->to = to;
    kith_list_append(&sim->messages, &m->link);
    kith__sim_event_at(sim, &m->event, sim->now_ns + delay_ns);
    return m;
}

void kith__sim_lan_done(kith_sim *sim)
{
    while (!kith_list_empty(&sim->messages)) message_free(sim, KITH_OF(kith_list_first(&sim->messages), message, link));
}

/* ---- speaking ---- */

/* What is known already is not said again (RFC 6762 section 7.1). */
static void tell(kith_sim *sim, const kith_lan *from, const kith_lan *to)
{
    if (!from->announces) return;
    const heard *h = heard_find(to, from->record.instance);
    if (h && h->announcer == from->id && h->version == from->version && h->doubt_ns == UINT64_MAX) return;
    uint64_t delay_ns;
    if (!reaches(sim, from->process->host, to->process->host, &delay_ns)) return;
    (void)message_new(sim, from->id, to->id, delay_ns, false);
}

/* Announce, and ask; again after 1, 2, 6 and 18 seconds, and then every minute. */
static void talk_run(kith_sim *sim, sim_event *event)
{
    static const unsigned gaps_s[] = {1, 2, 6, 18, 60};
    kith_lan *lan = KITH_OF(event, kith_lan, talk);
    kith__sim_note(sim, "talk", lan->process->host, lan->rounds, lan->record.instance, strlen(lan->record.instance));
    for (size_t i = 0; i < sim->browser_count; i++) {
        kith_lan *other = sim->browsers[i];
        tell(sim, lan, other);
        if (other != lan) tell(sim, other, lan);
    }
    unsigned last = sizeof gaps_s / sizeof *gaps_s - 1, round = lan->rounds < last ? lan->rounds++ : last;
    kith__sim_event_at(sim, &lan->talk, sim->now_ns + gaps_s[round] * KITH_SIM_S);
}

static void talk_soon(kith_lan *lan)
{
    kith_sim *sim = lan->process->sim;
    lan->version++;
    lan->rounds = 0;
    kith__sim_event_at(sim, &lan->talk, sim->now_ns + kith__sim_rng_below(&sim->rng, TALK_NS));
}

/* To all who know it; who misses it finds out later. */
static void say_goodbye(kith_lan *lan)
{
    kith_sim *sim = lan->process->sim;
    if (!lan->announces) return;
    for (size_t i = 0; i < sim->browser_count; i++) {
        kith_lan *other = sim->browsers[i];
        heard *h = heard_find(other, lan->record.instance);
        uint64_t delay_ns;
        if (other == lan || !h || h->announcer != lan->id) continue;
        message *m = reaches(sim, lan->process->host, other->process->host, &delay_ns)
                         ? message_new(sim, lan->id, other->id, delay_ns, false)
                         : NULL;
        if (m) {
            m->goodbye = true;
            m->version = lan->version;
            memcpy(m->instance, lan->record.instance, sizeof m->instance);
        } else {
            start_doubt(other, h);
        }
    }
}

/* Who announces this name where `to` can hear it. */
static kith_lan *announcer_of(kith_sim *sim, const char *instance, const kith_lan *to)
{
    for (size_t i = 0; i < sim->browser_count; i++) {
        kith_lan *lan = sim->browsers[i];
        if (lan->announces && strcmp(lan->record.instance, instance) == 0 &&
            reaches(sim, lan->process->host, to->process->host, NULL))
            return lan;
    }
    return NULL;
}

/* One at a time: the owner who is told may do anything. */
static void doubt_run(kith_sim *sim, sim_event *event)
{
    kith_lan *lan = KITH_OF(event, kith_lan, doubt);
    heard *due = NULL;
    for (size_t i = 0; !due && i < lan->known_count; i++) {
        if (lan->known[i]->doubt_ns <= sim->now_ns) due = lan->known[i];
    }
    if (due) due->doubt_ns = UINT64_MAX;
    set_doubt_event(lan);
    if (!due) return;
    const kith_lan *announcer = announcer_of(sim, due->instance, lan);
    if (!announcer) {
        forget(lan, due);
    } else if (announcer->id != due->announcer || announcer->version != due->version) {
        (void)message_new(sim, announcer->id, lan->id, 1 + kith__sim_rng_below(&sim->rng, TALK_NS), false);
    }
}

static void doubt_announcer(kith_sim *sim, uint64_t id)
{
    for (size_t i = 0; i < sim->browser_count; i++) {
        kith_lan *lan = sim->browsers[i];
        for (size_t j = 0; j < lan->known_count; j++) {
            if (lan->known[j]->announcer == id) start_doubt(lan, lan->known[j]);
        }
    }
}

void kith__sim_lan_moved(kith_sim_host *host)
{
    kith_sim *sim = host->sim;
    for (size_t i = 0; i < sim->browser_count; i++) {
        kith_lan *lan = sim->browsers[i];
        if (lan->process->host != host) continue;
        talk_soon(lan);
        doubt_announcer(sim, lan->id);
        for (size_t j = 0; j < lan->known_count; j++) {
            lan->known[j]->version = 0; /* other addresses of it may be what counts here now */
            start_doubt(lan, lan->known[j]);
        }
    }
}

kith_err kith_sim_lan_inject(kith_sim_lan *lan, const kith_lan_record *record)
{
    kith_sim *sim = lan->sim;
    for (size_t i = 0; i < sim->browser_count; i++) {
        const kith_lan *to = sim->browsers[i];
        if (!kith__sim_iface_on(to->process->host, lan)) continue;
        message *m = message_new(sim, 0, to->id, 1 + kith__sim_rng_below(&sim->rng, lan->discovery_delay_ns), true);
        if (!m) return KITH_ERR_NOMEM;
        m->injected[0] = *record;
    }
    return KITH_OK;
}

/* ---- what a process has of it ---- */

static bool valid(const kith_lan_record *record)
{
    size_t length = strnlen(record->instance, sizeof record->instance);
    return length > 0 && length < sizeof record->instance && record->txt_size <= sizeof record->txt;
}

static void free_lan(kith_lan *lan)
{
    kith_sim *sim = lan->process->sim;
    browser_remove(sim, lan);
    kith__sim_event_done(sim, &lan->talk);
    kith__sim_event_done(sim, &lan->doubt);
    while (lan->known_count) kith_free(lan->known[--lan->known_count]);
    kith_free(lan->known);
    kith_list_remove(&lan->link);
    kith_free(lan);
}

static kith_err lan_start(kith_env *env, const kith_lan_record *record, const kith_lan_events *events, void *user,
                          kith_lan **out)
{
    sim_process *process = sim_process_of(env);
    if (record && !valid(record)) return KITH_ERR_ARG;
    if (process->dead) return KITH_ERR_NETWORK;
    kith_lan *lan = kith_calloc(1, sizeof *lan);
    if (!lan) return KITH_ERR_NOMEM;
    lan->process = process;
    lan->events = *events;
    lan->user = user;
    lan->announces = record != NULL;
    if (record) lan->record = *record;
    kith_err err = kith__sim_event_init(process->sim, &lan->talk, talk_run);
    if (!err) err = kith__sim_event_init(process->sim, &lan->doubt, doubt_run);
    if (!err) err = browser_add(process->sim, lan);
    if (err) {
        free_lan(lan);
        return err;
    }
    kith_list_append(&process->browsers, &lan->link);
    talk_soon(lan);
    *out = lan;
    return KITH_OK;
}

static kith_err lan_update(kith_lan *lan, const kith_lan_record *record)
{
    if (record && !valid(record)) return KITH_ERR_ARG;
    if (lan->process->dead) return KITH_ERR_NETWORK;
    if (!record || strcmp(record->instance, lan->record.instance) != 0) say_goodbye(lan);
    lan->announces = record != NULL;
    if (record) lan->record = *record;
    talk_soon(lan);
    return KITH_OK;
}

static void lan_stop(kith_lan *lan)
{
    if (!lan) return;
    if (!lan->process->dead) say_goodbye(lan);
    free_lan(lan);
}

const kith_env_lan kith__sim_lan = {.start = lan_start, .update = lan_update, .stop = lan_stop};

void kith__sim_lan_kill(sim_process *process)
{
    KITH_EACH (link, &process->browsers) {
        kith_lan *lan = KITH_OF(link, kith_lan, link);
        kith__sim_event_cancel(process->sim, &lan->talk);
        kith__sim_event_cancel(process->sim, &lan->doubt);
        browser_remove(process->sim, lan);
        doubt_announcer(process->sim, lan->id);
    }
}

void kith__sim_lan_free(sim_process *process)
{
    while (!kith_list_empty(&process->browsers)) free_lan(KITH_OF(kith_list_first(&process->browsers), kith_lan, link));
}
