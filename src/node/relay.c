#include "node/relay.h"

#include "base/mem.h"
#include "base/url.h"
#include "identity/sibling.h"
#include "node/carrier.h"
#include "node/dial.h"
#include "node/lan.h"
#include "node/roam.h"
#include "path/relay_client.h"
#include "path/relays.h"

#include <stdio.h>
#include <string.h>

typedef enum place_state {
    PLACE_FREE,
    PLACE_ASKED_FOR, /* nothing was sent there yet */
    PLACE_OPEN,
    PLACE_GONE /* not there: remembered until absent_until_ns */
} place_state;

typedef struct place {
    place_state state;
    uint32_t id, session; /* in addresses; the relay's */
    bool by_tag, theirs;  /* theirs: they connected */
    uint32_t tag;
    uint8_t fingerprint[32];
    uint64_t since_ns, absent_until_ns;
    uint64_t ends_ns; /* nobody uses it: it ends then; 0: somebody does */
} place;

typedef struct relay_link {
    struct relays *all;
    size_t index; /* in all->links and all->choice */
    char *url;
    kith_relay_client *client; /* NULL: not wanted yet */
    kith_ws *ws;
    kith_timer *timer;
    kith_addr udp, observed; /* the relay's; ours as it sees it, over UDP */
    bool flushing;
    kith_err why;    /* we are not registered there; OK: not told yet */
    uint64_t code;   /* and what the relay said of it (kith_relay_error), 0: nothing */
    bool superseded; /* once, by somebody else who is this node */
    bool has_mailbox;
    uint32_t mailbox;
    uint64_t again_ns; /* somebody who was not there may be looked for again */
    place places[RELAY_PLACES_MAX];
} relay_link;

struct relays {
    kith_core *core;
    kith_relays choice;
    size_t count;
    uint32_t last_id;
    uint8_t buffer[KITH_RELAY_CLIENT_BUFFER];
    relay_link links[KITH_RELAYS_MAX];
};

static void flush(relay_link *l);
static kith_err send_some(relay_link *l, uint32_t number, const kith_packet *run, size_t *taken);

static uint64_t now_of(const relay_link *l) { return kith__core_now(l->all->core); }

/* ---- places ---- */

static kith_addr address_of(const relay_link *l, const place *p)
{
    kith_addr a = {.family = KITH_FAMILY_RELAY, .ip = {[3] = (uint8_t)l->index}};
    for (int i = 0; i < 4; i++) a.ip[4 + i] = (uint8_t)(p->id >> (24 - 8 * i));
    return a;
}

static place *place_at(struct relays *all, const kith_addr *addr, relay_link **of)
{
    if (!all || addr->family != KITH_FAMILY_RELAY || addr->ip[3] >= all->count) return NULL;
    uint32_t id = 0;
    for (int i = 0; i < 4; i++) id = id << 8 | addr->ip[4 + i];
    *of = &all->links[addr->ip[3]];
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &(*of)->places[i];
        if (p->id == id && (p->state == PLACE_ASKED_FOR || p->state == PLACE_OPEN)) return p;
    }
    return NULL;
}

static place *place_of_session(relay_link *l, uint32_t number)
{
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++)
        if (l->places[i].state == PLACE_OPEN && l->places[i].session == number) return &l->places[i];
    return NULL;
}

/* A free one, or else the oldest that nothing was sent to, or that is gone. */
static place *place_new(relay_link *l)
{
    place *found = NULL;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        if (p->state == PLACE_OPEN) continue;
        if (p->state == PLACE_FREE) {
            found = p;
            break;
        }
        if (!found || p->since_ns < found->since_ns) found = p;
    }
    if (!found) return NULL;
    *found = (place){.id = ++l->all->last_id, .since_ns = now_of(l)};
    return found;
}

/* Those with packets on the way there hear of it. */
static void place_gone(relay_link *l, place *p, kith_err why, uint64_t until_ns)
{
    kith_addr addr = address_of(l, p);
    p->state = p->theirs ? PLACE_FREE : PLACE_GONE;
    p->since_ns = now_of(l);
    p->absent_until_ns = until_ns;
    kith__roam_gone(l->all->core, &addr, why);
}

static void all_gone(relay_link *l)
{
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++)
        if (l->places[i].state == PLACE_OPEN) place_gone(l, &l->places[i], KITH_ERR_LOST, 0);
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) l->places[i].state = PLACE_FREE;
}

static bool in_use(kith_core *core, const kith_addr *addr)
{
    KITH_EACH (at, &core->sessions)
        if (kith_addr_equal(&KITH_OF(at, session, link)->remote, addr)) return true;
    return false;
}

static void end_place(relay_link *l, place *p)
{
    kith_relay_client_end(l->client, p->session, false);
    place_gone(l, p, KITH_ERR_CLOSED, 0);
    p->state = PLACE_FREE;
}

void kith__relays_done_with(kith_core *core, const kith_addr *addr)
{
    relay_link *l;
    place *p = place_at(core->relays, addr, &l);
    if (!p) return;
    if (p->state == PLACE_OPEN)
        p->ends_ns = now_of(l) + RELAY_LINGER_NS;
    else
        p->state = PLACE_FREE;
    flush(l);
}

/* The last words have gone; it may be in use again. */
static void end_unused(relay_link *l)
{
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        kith_addr addr = address_of(l, p);
        if (p->state != PLACE_OPEN || !p->ends_ns || p->ends_ns > now_of(l)) continue;
        p->ends_ns = 0;
        if (!in_use(l->all->core, &addr)) end_place(l, p);
    }
}

static uint64_t places_deadline(const relay_link *l)
{
    uint64_t at = NEVER;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        const place *p = &l->places[i];
        if (p->state == PLACE_OPEN && p->ends_ns && p->ends_ns < at) at = p->ends_ns;
    }
    return at;
}

/* ---- what comes ---- */

static void packets_in(relay_link *l, const place *p, uint8_t *data, size_t size, size_t segment)
{
    kith_core *core = l->all->core;
    kith_packet packet = {.remote = address_of(l, p), .data = data, .size = size, .segment = segment};
    kith_quic_input(core->datagrams->quic, &packet, kith__core_now(core));
}

static void data_in(relay_link *l, const kith_relay_data *data)
{
    const place *p = data->data ? place_of_session(l, data->session) : NULL;
    if (p) packets_in(l, p, data->data, data->size, data->segment);
}

/* Who opens many and uses none does not keep others out. */
static void make_room(relay_link *l, const uint8_t from[static 32])
{
    place *oldest = NULL, *of_device = NULL;
    size_t all = 0, same = 0;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        if (p->state != PLACE_OPEN || !p->theirs) continue;
        bool of_it = memcmp(p->fingerprint, from, sizeof p->fingerprint) == 0;
        kith_addr addr = address_of(l, p);
        all++;
        same += of_it;
        if (in_use(l->all->core, &addr)) continue;
        if (!oldest || p->since_ns < oldest->since_ns) oldest = p;
        if (of_it && (!of_device || p->since_ns < of_device->since_ns)) of_device = p;
    }
    place *p = same >= RELAY_DEVICE_MAX ? of_device : all >= RELAY_THEIRS_MAX ? oldest : NULL;
    if (p) end_place(l, p);
}

/* It is this device's own key that asks: a doctor, who wants to know whether we are on its machine. */
static void tell_sibling(relay_link *l, const kith_relay_event *event)
{
    kith_core *core = l->all->core;
    uint8_t boot[KITH_SIBLING_BOOT_SIZE], bytes[KITH_SIBLING_SIZE];
    kith_packet run = {.data = bytes, .size = sizeof bytes, .segment = sizeof bytes};
    size_t taken;
    core->env->base->boot_id(core->env, boot);
    kith_sibling_write(core->config.seed, boot, event->from_instance, bytes);
    if (send_some(l, event->session, &run, &taken)) return; /* it asks again another time */
}

/* Somebody connects.  Who serves nothing, or does not know them and has no code open, was never there. */
static void incoming(relay_link *l, const kith_relay_event *event)
{
    kith_core *core = l->all->core;
    kith_peer peer;
    if (memcmp(event->from, core->signer.fingerprint, sizeof core->signer.fingerprint) == 0) {
        tell_sibling(l, event);
        return;
    }
    bool serves = core->host || ((core->receiver || core->serving) && kith__core_find_peer(core, event->from, &peer));
    /* Or a session with them is looking for another way. */
    bool known = kith__session_find(core, CARRIER_DATAGRAM, event->from, NULL) ||
                 kith__session_find(core, CARRIER_STREAM, event->from, NULL);
    bool wanted = !core->closing && (serves || known);
    if (wanted) make_room(l, event->from);
    place *p = wanted ? place_new(l) : NULL;
    if (!p) {
        kith_relay_client_end(l->client, event->session, true);
        return;
    }
    p->state = PLACE_OPEN;
    p->theirs = true;
    p->session = event->session;
    memcpy(p->fingerprint, event->from, sizeof p->fingerprint);
    if (!event->offer.data) return;
    uint8_t *offer = l->all->buffer; /* the bytes may be overwritten */
    memcpy(offer, event->offer.data, event->offer.size);
    packets_in(l, p, offer, event->offer.size, event->offer.segment);
}

/* ---- the connection to a relay ---- */

static void on_connected(void *user)
{
    relay_link *l = user;
    l->udp = l->all->core->env->ws->remote(l->ws);
    kith_relay_client_connected(l->client, &l->udp, now_of(l));
    flush(l);
    kith__core_pump(l->all->core);
}

static void on_message(void *user, uint8_t *bytes, size_t size)
{
    relay_link *l = user;
    kith_relay_data data;
    kith_relay_client_input(l->client, bytes, size, now_of(l), &data);
    data_in(l, &data);
    flush(l);
    kith__core_pump(l->all->core);
}

static void on_writable(void *user)
{
    relay_link *l = user;
    flush(l);
    kith__core_pump(l->all->core);
}

static void on_ended(void *user, kith_err why, unsigned status)
{
    relay_link *l = user;
    kith_core *core = l->all->core;
    kith__core_log(core, KITH_LOG_INFO, "relay %s: %s%s", l->url, kith_err_text(why), status == 403 ? " (403)" : "");
    core->env->ws->close(l->ws);
    l->ws = NULL;
    kith_relay_client_ended(l->client, why, now_of(l));
    flush(l);
    kith__core_pump(core);
}

static void open_socket(relay_link *l)
{
    static const kith_ws_events events = {on_connected, on_message, on_writable, on_ended};
    kith_core *core = l->all->core;
    kith_ws_options options = {
        .url = l->url, .subprotocol = KITH_RELAY_SUBPROTOCOL, .ca_file = core->config.relay_ca_file};
    kith_err err = core->env->ws->connect(core->env, &options, &events, l, &l->ws);
    if (err) kith_relay_client_ended(l->client, err, now_of(l));
}

/* ---- mailboxes ---- */

static void set_mailbox(relay_link *l)
{
    uint32_t tag = 0;
    bool wanted = kith__pair_tag(l->all->core, &tag);
    if (!l->client || !kith_relay_client_is_registered(l->client)) return;
    if (l->has_mailbox && (!wanted || tag != l->mailbox)) {
        l->has_mailbox = false;
        if (kith_relay_client_mailbox_close(l->client, l->mailbox)) return; /* it closes by itself */
    }
    if (!wanted || l->has_mailbox) return;
    l->mailbox = tag;
    l->has_mailbox = !kith_relay_client_mailbox_open(l->client, tag);
}

static void on_mailbox(relay_link *l, const kith_relay_event *event)
{
    bool ours = l->has_mailbox && event->tag == l->mailbox; /* else we closed it */
    if (event->code == KITH_RELAY_MAILBOX_STATE_OPEN || !ours) return;
    l->has_mailbox = false;
    kith__core_log(l->all->core, KITH_LOG_WARN, "relay %s: the code cannot be used there: %s", l->url,
                   event->code == KITH_RELAY_MAILBOX_STATE_TAKEN ? "another one begins with the same words" : "closed");
}

/* ---- what a relay says ---- */

static void set_choice(relay_link *l)
{
    struct relays *all = l->all;
    uint64_t rtt = l->client ? kith_relay_client_rtt_ns(l->client) : 0;
    if (l->client && kith_relay_client_is_registered(l->client) && rtt)
        kith_relays_rtt(&all->choice, l->index, rtt, now_of(l));
    kith_relays_expire(&all->choice, now_of(l));
}

/* Why it does not serve us, for people. */
static const char *fault(const relay_link *l)
{
    switch (l->code) {
    case KITH_RELAY_ERROR_TOKEN: return "it wants its operator's token, and was shown none or a wrong one";
    case KITH_RELAY_ERROR_AUTHORITY: return "it goes by another name";
    case KITH_RELAY_ERROR_SIGNATURE: return "it does not accept this device's signature";
    case KITH_RELAY_ERROR_SUPERSEDED: return "another node of this device has taken our place";
    default: break;
    }
    switch (l->why) {
    case KITH_OK:
    case KITH_ERR_TIMEOUT:
    case KITH_ERR_LOST:
    case KITH_ERR_UNREACHABLE: return "it does not answer";
    default: return kith_err_text(l->why);
    }
}

bool kith__relays_problem(const kith_core *core, char *out, size_t size)
{
    const struct relays *all = core->relays;
    const relay_link *first = NULL;
    for (size_t i = 0; all && i < all->count; i++) {
        const relay_link *l = &all->links[i];
        if (!l->client) continue;
        if (kith_relay_client_is_registered(l->client)) return false;
        if (!first || (!first->why && l->why)) first = l;
    }
    if (first) snprintf(out, size, "the relay %s does not help: %s", first->url, fault(first));
    return first;
}

static void registered(relay_link *l)
{
    kith_core *core = l->all->core;
    l->why = KITH_OK;
    l->code = 0;
    kith__core_log(core, KITH_LOG_INFO, "registered at relay %s", l->url);
    kith_relays_up(&l->all->choice, l->index, now_of(l));
    l->has_mailbox = false;
    set_mailbox(l);
    kith__dial_look_again(core);
    kith__roam_relays(core);
}

static void lost(relay_link *l, const kith_relay_event *event)
{
    l->why = event->why;
    l->code = event->code;
    kith__core_log(l->all->core, event->code ? KITH_LOG_WARN : KITH_LOG_INFO, "not at relay %s: %s", l->url, fault(l));
    kith_relays_down(&l->all->choice, l->index, now_of(l));
    l->superseded = l->superseded || event->code == KITH_RELAY_ERROR_SUPERSEDED;
    l->has_mailbox = false;
    l->observed = (kith_addr){0};
    all_gone(l);
}

static void session_over(relay_link *l, uint32_t number, uint64_t again_after_ns)
{
    place *p = place_of_session(l, number);
    uint64_t at = now_of(l) + again_after_ns;
    if (!p) return;
    if (!l->again_ns || at < l->again_ns) l->again_ns = at;
    place_gone(l, p, KITH_ERR_UNREACHABLE, at);
}

/* The next time that somebody who was not there may be looked for again. */
static void set_again(relay_link *l)
{
    l->again_ns = 0;
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        const place *p = &l->places[i];
        if (p->state != PLACE_GONE || p->absent_until_ns <= now_of(l)) continue;
        if (!l->again_ns || p->absent_until_ns < l->again_ns) l->again_ns = p->absent_until_ns;
    }
}

static void react(relay_link *l, const kith_relay_event *event)
{
    kith_core *core = l->all->core;
    uint8_t signature[KITH_RELAY_SIGNATURE_SIZE];
    switch (event->kind) {
    case KITH_RELAY_EVENT_DIAL: open_socket(l); break;
    case KITH_RELAY_EVENT_HANGUP:
        core->env->ws->close(l->ws);
        l->ws = NULL;
        break;
    case KITH_RELAY_EVENT_SIGN:
        kith_ed25519_sign(core->config.seed, event->bytes, event->size, signature);
        kith_relay_client_signed(l->client, signature);
        break;
    case KITH_RELAY_EVENT_REGISTERED: registered(l); break;
    case KITH_RELAY_EVENT_LOST: lost(l, event); break;
    case KITH_RELAY_EVENT_INCOMING: incoming(l, event); break;
    case KITH_RELAY_EVENT_GONE:
        session_over(l, event->session, event->code == KITH_RELAY_GONE_ENDED ? RELAY_BACK_NS : RELAY_AGAIN_NS);
        break;
    case KITH_RELAY_EVENT_LIMITED:
        kith__core_log(core, KITH_LOG_WARN, "relay %s limits us", l->url);
        if (event->has_session) session_over(l, event->session, RELAY_AGAIN_NS);
        break;
    case KITH_RELAY_EVENT_MAILBOX: on_mailbox(l, event); break;
    case KITH_RELAY_EVENT_RESTARTING: break; /* LOST follows */
    case KITH_RELAY_EVENT_UDP:
        if (event->on && !kith_addr_equal(&l->observed, &event->observed)) {
            l->observed = event->observed;
            kith__roam_told_addresses(core);
        }
        break;
    }
}

static void set_timer(relay_link *l)
{
    uint64_t at = kith_relay_client_deadline_ns(l->client), places = places_deadline(l);
    if (l->again_ns && l->again_ns < at) at = l->again_ns;
    l->all->core->env->timers->set(l->timer, places < at ? places : at);
}

/* After every call to the client. */
static void flush(relay_link *l)
{
    kith_core *core = l->all->core;
    kith_relay_event event;
    uint8_t bind[KITH_RELAY_BIND_SIZE];
    const uint8_t *message;
    size_t size;
    if (l->flushing || !l->client) return;
    l->flushing = true;
    while (kith_relay_client_event(l->client, &event)) react(l, &event);
    while (l->ws && (message = kith_relay_client_output(l->client, &size))) {
        if (core->env->ws->send(l->ws, message, size)) break; /* AGAIN: writable comes */
        kith_relay_client_sent(l->client);
    }
    while (core->datagrams->udp && kith_relay_client_bind(l->client, bind)) {
        kith_packet packet = {.remote = l->udp, .data = bind, .size = sizeof bind, .segment = sizeof bind};
        if (core->env->udp->send(core->datagrams->udp, &packet)) break; /* lost: it is sent again */
    }
    set_choice(l);
    set_timer(l);
    l->flushing = false;
}

static void on_timer(void *user)
{
    relay_link *l = user;
    kith_core *core = l->all->core;
    kith_relay_client_expire(l->client, now_of(l));
    end_unused(l);
    bool again = l->again_ns && now_of(l) >= l->again_ns;
    if (again) set_again(l);
    flush(l);
    if (again) kith__dial_look_again(core);
    if (again) kith__roam_relays(core);
    kith__core_pump(core);
}

/* ---- what goes ---- */

/* The first packets to a place are what the relay is asked to connect with. */
static kith_err connect_to(relay_link *l, place *p, const kith_packet *run)
{
    kith_packet offer = *run;
    size_t fits = KITH_RELAY_OFFER_MAX / offer.segment * offer.segment;
    if (!fits) return KITH_ERR_LIMIT;
    if (offer.size > fits) offer.size = fits; /* the rest is lost: QUIC repairs it */
    kith_err err = p->by_tag ? kith_relay_client_mailbox_connect(l->client, p->tag, &offer, &p->session)
                             : kith_relay_client_connect(l->client, p->fingerprint, NULL, &offer, &p->session);
    if (err) return KITH_ERR_UNREACHABLE;
    p->state = PLACE_OPEN;
    p->since_ns = now_of(l);
    flush(l);
    return KITH_OK;
}

static kith_err send_some(relay_link *l, uint32_t number, const kith_packet *run, size_t *taken)
{
    kith_core *core = l->all->core;
    kith_relay_send out;
    kith_err err = kith_relay_client_data(l->client, number, run, l->all->buffer, &out);
    if (err) return KITH_ERR_UNREACHABLE;
    *taken = out.taken;
    if (!out.udp) { /* a full queue is a loss: it must not hold up what goes elsewhere */
        if (!l->ws || core->env->ws->send(l->ws, out.data, out.size)) return KITH_ERR_UNREACHABLE;
        return KITH_OK;
    }
    kith_packet packet = {.remote = l->udp, .data = out.data, .size = out.size, .segment = out.segment};
    return core->env->udp->send(core->datagrams->udp, &packet);
}

kith_err kith__relays_send(kith_core *core, const kith_packet *run)
{
    relay_link *l;
    place *p = place_at(core->relays, &run->remote, &l);
    if (!p || !l->client) return KITH_ERR_UNREACHABLE;
    if (p->state == PLACE_ASKED_FOR) return connect_to(l, p, run);
    kith_packet left = *run;
    while (left.size) {
        size_t taken;
        kith_err err = send_some(l, p->session, &left, &taken);
        if (err == KITH_ERR_AGAIN && left.size < run->size) return KITH_OK; /* what is left of the run is lost */
        if (err) return err;
        left.data += taken;
        left.size -= taken;
        if (left.segment > left.size) left.segment = left.size;
    }
    return KITH_OK;
}

bool kith__relays_datagrams(kith_core *core, const kith_packet *run)
{
    struct relays *all = core->relays;
    unsigned first = run->data[0];
    if (!all || (first != KITH_RELAY_UDP_PACKET && first != KITH_RELAY_UDP_BOUND)) return false;
    for (size_t i = 0; i < all->count; i++) {
        relay_link *l = &all->links[i];
        if (!l->client || !kith_addr_equal(&l->udp, &run->remote)) continue;
        for (size_t at = 0; at < run->size; at += run->segment) {
            size_t left = run->size - at;
            kith_relay_data data;
            kith_relay_client_datagram(l->client, run->data + at, left < run->segment ? left : run->segment, now_of(l),
                                       &data);
            data_in(l, &data);
        }
        flush(l);
        return true;
    }
    return false;
}

/* ---- finding ---- */

static bool is_up(const relay_link *l) { return l->client && kith_relay_client_is_registered(l->client); }

/* The place that stands for the target there; none while it is known to be absent. */
static place *place_for(relay_link *l, const uint8_t *fingerprint, uint32_t tag)
{
    for (size_t i = 0; i < RELAY_PLACES_MAX; i++) {
        place *p = &l->places[i];
        if (p->state == PLACE_FREE || p->theirs || p->by_tag != !fingerprint) continue;
        if (fingerprint ? memcmp(p->fingerprint, fingerprint, sizeof p->fingerprint) != 0 : p->tag != tag) continue;
        p->ends_ns = 0;
        if (p->state != PLACE_GONE) return p;
        if (now_of(l) < p->absent_until_ns) return NULL;
        p->state = PLACE_FREE;
    }
    place *p = place_new(l);
    if (!p) return NULL;
    p->state = PLACE_ASKED_FOR;
    p->by_tag = !fingerprint;
    p->tag = tag;
    if (fingerprint) memcpy(p->fingerprint, fingerprint, sizeof p->fingerprint);
    return p;
}

/* The nearest first, then the others in the order they were named. */
static size_t find(kith_core *core, const uint8_t *fingerprint, uint32_t tag, kith_addr *out, uint64_t *nodes,
                   size_t cap)
{
    struct relays *all = core->relays;
    size_t n = 0;
    if (!all) return 0;
    size_t first = kith_relays_chosen(&all->choice);
    for (size_t i = 0; i <= all->count && n < cap; i++) {
        size_t index = i == 0 ? first : i - 1;
        if (index >= all->count || (i && index == first) || !is_up(&all->links[index])) continue;
        place *p = place_for(&all->links[index], fingerprint, tag);
        if (!p) continue;
        out[n] = address_of(&all->links[index], p);
        if (nodes) nodes[n] = index; /* behind a tag there is one node at each relay */
        n++;
    }
    return n;
}

size_t kith__relays_find_device(kith_core *core, const uint8_t fingerprint[static 32], kith_addr *out, size_t cap)
{
    return find(core, fingerprint, 0, out, NULL, cap);
}

size_t kith__relays_find_tag(kith_core *core, uint32_t tag, kith_addr *out, uint64_t *nodes, size_t cap)
{
    return find(core, NULL, tag, out, nodes, cap);
}

size_t kith__relays_observed(const kith_core *core, kith_addr *out, size_t cap)
{
    const struct relays *all = core->relays;
    size_t n = 0;
    for (size_t i = 0; all && i < all->count && n < cap; i++)
        if (all->links[i].observed.family != KITH_FAMILY_NONE) out[n++] = all->links[i].observed;
    return n;
}

bool kith__relays_superseded(const kith_core *core)
{
    for (size_t i = 0; core->relays && i < core->relays->count; i++)
        if (core->relays->links[i].superseded) return true;
    return false;
}

void kith__relays_doubt(kith_core *core, const kith_addr *addr)
{
    relay_link *l;
    if (!place_at(core->relays, addr, &l) || !l->client) return;
    kith_relay_client_doubt(l->client, now_of(l));
    flush(l);
}

/* ---- beginning and end ---- */

static kith_err link_connect(relay_link *l)
{
    kith_core *core = l->all->core;
    kith_relay_client_config config = {0};
    kith_url url;
    char authority[KITH_RELAY_AUTHORITY_MAX + 1], host[KITH_URL_HOST_SIZE + 16];
    kith_err err = kith_url_parse(l->url, &url);
    if (err) return err;
    snprintf(host, sizeof host, url.is_ipv6 ? "[%s]:%u" : "%s:%u", url.host, (unsigned)url.port);
    err = kith_relay_authority(host, strlen(host), authority);
    if (err) return err;
    config.authority = authority;
    memcpy(config.device_id, core->signer.uuid, sizeof config.device_id);
    memcpy(config.public_key, core->signer.public_key, sizeof config.public_key);
    memcpy(config.instance, core->self.instance, sizeof config.instance);
    config.token = (const uint8_t *)core->config.relay_token;
    config.token_size = core->config.relay_token ? strlen(core->config.relay_token) : 0;
    kith_rng_bytes(&core->rng, (uint8_t *)&config.seed, sizeof config.seed);
    return kith_relay_client_new(&config, &l->client);
}

void kith__relays_want(kith_core *core)
{
    struct relays *all = core->relays;
    for (size_t i = 0; all && !core->closing && i < all->count; i++) {
        relay_link *l = &all->links[i];
        if (l->client) {
            kith_relay_client_want(l->client, now_of(l));
            set_timer(l);
            continue;
        }
        kith_err err = link_connect(l);
        if (err) kith__core_log(core, KITH_LOG_WARN, "relay %s: %s", l->url, kith_err_text(err));
        flush(l);
    }
}

void kith__relays_serve(kith_core *core)
{
    struct relays *all = core->relays;
    if (!all) return;
    if (core->host || core->receiver || core->serving) kith__relays_want(core);
    for (size_t i = 0; i < all->count; i++) {
        set_mailbox(&all->links[i]);
        flush(&all->links[i]);
    }
}

void kith__relays_changed(kith_core *core)
{
    struct relays *all = core->relays;
    for (size_t i = 0; all && i < all->count; i++) {
        if (!all->links[i].client) continue;
        kith_relay_client_kick(all->links[i].client, kith__core_now(core));
        flush(&all->links[i]);
    }
}

static kith_err link_open(struct relays *all, const char *text, kith_problem *problem)
{
    relay_link *l = &all->links[all->count];
    kith_url url;
    if (all->count == KITH_RELAYS_MAX) {
        snprintf(problem->message, sizeof problem->message, "at most %d relays can be used", KITH_RELAYS_MAX);
        return KITH_ERR_LIMIT;
    }
    if (kith_url_parse(text, &url)) {
        snprintf(problem->message, sizeof problem->message,
                 "not the address of a relay: %.200s (they look like wss://relay.example)", text);
        return KITH_ERR_ARG;
    }
    l->all = all;
    l->url = kith_strdup(text);
    l->timer = all->core->env->timers->open(all->core->env, on_timer, l);
    kith_err err = l->url && l->timer ? kith_relays_add(&all->choice, &l->index) : KITH_ERR_NOMEM;
    all->count++;
    return err;
}

kith_err kith__relays_open(kith_core *core, kith_problem *problem)
{
    if (!core->config.relay_count) return KITH_OK;
    if (!core->env->ws) return KITH_ERR_UNSUPPORTED;
    struct relays *all = kith_calloc(1, sizeof *all);
    if (!all) return KITH_ERR_NOMEM;
    all->core = core;
    kith_relays_init(&all->choice);
    core->relays = all;
    kith_err err = KITH_OK;
    for (size_t i = 0; i < core->config.relay_count && !err; i++) err = link_open(all, core->config.relays[i], problem);
    return err;
}

void kith__relays_close(kith_core *core)
{
    struct relays *all = core->relays;
    for (size_t i = 0; all && i < all->count; i++) {
        relay_link *l = &all->links[i];
        core->env->ws->close(l->ws);
        l->ws = NULL;
        kith_relay_client_free(l->client);
        l->client = NULL;
        if (l->timer) core->env->timers->set(l->timer, NEVER);
    }
}

void kith__relays_free(kith_core *core)
{
    struct relays *all = core->relays;
    if (!all) return;
    kith__relays_close(core);
    core->relays = NULL;
    for (size_t i = 0; i < all->count; i++) {
        core->env->timers->close(all->links[i].timer);
        kith_free(all->links[i].url);
    }
    kith_free(all);
}
