/* A connection to a relay: packets, and what the relay says. */
#include "node/relay_internal.h"

#include "identity/sibling.h"
#include "node/carrier.h"
#include "node/dial.h"
#include "node/lan.h"
#include "node/roam.h"

#include <stdio.h>
#include <string.h>

static kith_err send_some(relay_link *l, uint32_t number, const kith_packet *run, size_t *taken);

uint64_t kith__relay_link_now(const relay_link *l) { return kith__core_now(l->all->core); }
bool kith__relay_link_is_up(const relay_link *l) { return l->client && kith_relay_client_is_registered(l->client); }

/* ---- what comes ---- */

static void packets_in(relay_link *l, const place *p, uint8_t *data, size_t size, size_t segment)
{
    kith_core *core = l->all->core;
    kith_packet packet = {.remote = kith__place_address(l, p), .data = data, .size = size, .segment = segment};
    kith_quic_input(core->datagrams->quic, &packet, kith__core_now(core));
}

static void data_in(relay_link *l, const kith_relay_data *data)
{
    const place *p = data->data ? kith__place_of_session(l, data->session) : NULL;
    if (p) packets_in(l, p, data->data, data->size, data->segment);
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
    if (wanted) kith__places_make_room(l, event->from);
    place *p = wanted ? kith__place_new(l) : NULL;
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
    kith_relay_client_connected(l->client, &l->udp, kith__relay_link_now(l));
    kith__relay_link_flush(l);
    kith__core_pump(l->all->core);
}

static void on_message(void *user, uint8_t *bytes, size_t size)
{
    relay_link *l = user;
    kith_relay_data data;
    kith_relay_client_input(l->client, bytes, size, kith__relay_link_now(l), &data);
    data_in(l, &data);
    kith__relay_link_flush(l);
    kith__core_pump(l->all->core);
}

static void on_writable(void *user)
{
    relay_link *l = user;
    kith__relay_link_flush(l);
    kith__core_pump(l->all->core);
}

static void on_ended(void *user, kith_err why, unsigned status)
{
    relay_link *l = user;
    kith_core *core = l->all->core;
    kith__core_log(core, KITH_LOG_INFO, "relay %s: %s (status %u)", l->url, kith_err_text(why), status);
    core->env->ws->close(l->ws);
    l->ws = NULL;
    kith_relay_client_ended(l->client, why, kith__relay_link_now(l));
    kith__relay_link_flush(l);
    kith__core_pump(core);
}

static void open_socket(relay_link *l)
{
    static const kith_ws_events events = {on_connected, on_message, on_writable, on_ended};
    kith_core *core = l->all->core;
    kith_ws_options options = {
        .url = l->url, .subprotocol = KITH_RELAY_SUBPROTOCOL, .ca_file = core->config.relay_ca_file};
    kith_err err = core->env->ws->connect(core->env, &options, &events, l, &l->ws);
    if (err) kith_relay_client_ended(l->client, err, kith__relay_link_now(l));
}

/* ---- mailboxes ---- */

void kith__relay_link_mailbox(relay_link *l)
{
    uint32_t tag = 0;
    bool wanted = l->all->core->hooks->pairing(l->all->core, &tag);
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
        kith_relays_rtt(&all->choice, l->index, rtt, kith__relay_link_now(l));
    kith_relays_expire(&all->choice, kith__relay_link_now(l));
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

bool kith__relays_refused(const kith_core *core)
{
    const struct relays *all = core->relays;
    for (size_t i = 0; all && i < all->count; i++)
        if (!all->links[i].client || !kith_relay_client_is_refused(all->links[i].client)) return false;
    return all && all->count;
}

static void registered(relay_link *l, const kith_addr *seen)
{
    kith_core *core = l->all->core;
    l->why = KITH_OK;
    l->code = 0;
    l->seen = *seen;
    core->ours_known = false;
    kith__core_log(core, KITH_LOG_INFO, "registered at relay %s", l->url);
    kith_relays_up(&l->all->choice, l->index, kith__relay_link_now(l));
    l->has_mailbox = false;
    kith__relay_link_mailbox(l);
    kith__dial_look_again(core);
    kith__roam_relays(core);
}

/* Somebody waits for it: a dial that knows nowhere else to look, or a session in use whose packets go there. */
static bool is_needed(const relay_link *l)
{
    kith_core *core = l->all->core;
    KITH_EACH (at, &core->sessions) {
        const session *s = KITH_OF(at, const session, link);
        bool here = s->remote.family == KITH_FAMILY_RELAY && kith__place_link(&s->remote) == l->index;
        if (here && s->uses.head.next != &s->uses.head) return true;
    }
    return !kith_list_empty(&core->dials);
}

static void lost(relay_link *l, const kith_relay_event *event)
{
    bool needed = is_needed(l);
    l->why = event->why;
    l->code = event->code;
    kith__core_log(l->all->core, event->code ? KITH_LOG_WARN : KITH_LOG_INFO, "not at relay %s: %s", l->url, fault(l));
    kith_relays_down(&l->all->choice, l->index, kith__relay_link_now(l));
    l->superseded = l->superseded || event->code == KITH_RELAY_ERROR_SUPERSEDED;
    l->has_mailbox = false;
    l->observed = l->seen = (kith_addr){0};
    l->all->core->ours_known = false;
    kith__places_all_gone(l);
    if (needed) kith_relay_client_need(l->client, kith__relay_link_now(l));
    /* It may have been a dial's last hope. */
    if (kith_relay_client_is_refused(l->client)) kith__dial_look_again(l->all->core);
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
    case KITH_RELAY_EVENT_REGISTERED: registered(l, &event->observed); break;
    case KITH_RELAY_EVENT_LOST: lost(l, event); break;
    case KITH_RELAY_EVENT_INCOMING: incoming(l, event); break;
    case KITH_RELAY_EVENT_GONE: kith__place_over(l, event->session, event->code == KITH_RELAY_GONE_ENDED); break;
    case KITH_RELAY_EVENT_LIMITED:
        kith__core_log(core, KITH_LOG_WARN, "relay %s limits us", l->url);
        if (event->has_session) kith__place_limited(l, event->session, event->at_ns);
        if (event->has_tag && event->tag == l->mailbox) l->has_mailbox = false;
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

void kith__relay_link_set_timer(relay_link *l)
{
    uint64_t at = kith_relay_client_deadline_ns(l->client), places = kith__places_deadline(l);
    if (l->again_ns && l->again_ns < at) at = l->again_ns;
    l->all->core->env->timers->set(l->timer, places < at ? places : at);
}

/* After every call to the client. */
void kith__relay_link_flush(relay_link *l)
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
    kith__relay_link_set_timer(l);
    l->flushing = false;
}

void kith__relay_link_timer(void *user)
{
    relay_link *l = user;
    kith_core *core = l->all->core;
    kith_relay_client_expire(l->client, kith__relay_link_now(l));
    kith__places_end_unused(l);
    bool again = l->again_ns && kith__relay_link_now(l) >= l->again_ns;
    if (again) kith__places_set_again(l);
    kith__relay_link_flush(l);
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
                             : kith_relay_client_connect(l->client, p->fingerprint, NULL, p->but[0], p->but_count,
                                                         &offer, &p->session);
    if (err) return KITH_ERR_UNREACHABLE;
    p->state = PLACE_OPEN;
    p->since_ns = kith__relay_link_now(l);
    kith__relay_link_flush(l);
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
    place *p = kith__place_at(core->relays, &run->remote, &l);
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
            kith_relay_client_datagram(l->client, run->data + at, left < run->segment ? left : run->segment,
                                       kith__relay_link_now(l), &data);
            data_in(l, &data);
        }
        kith__relay_link_flush(l);
        return true;
    }
    return false;
}

size_t kith__relays_observed(const kith_core *core, bool over_udp, kith_addr *out, size_t cap)
{
    const struct relays *all = core->relays;
    size_t n = 0;
    for (size_t i = 0; all && i < all->count && n < cap; i++) {
        const kith_addr *seen = over_udp ? &all->links[i].observed : &all->links[i].seen;
        if (seen->family != KITH_FAMILY_NONE) out[n++] = *seen;
    }
    return n;
}

bool kith__relays_at(const kith_core *core, size_t index, const char **url, bool *up)
{
    const struct relays *all = core->relays;
    if (!all || index >= all->count) return false;
    *url = all->links[index].url;
    *up = kith__relay_link_is_up(&all->links[index]);
    return true;
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
    if (!kith__place_at(core->relays, addr, &l) || !l->client) return;
    kith_relay_client_doubt(l->client, kith__relay_link_now(l));
    kith__relay_link_flush(l);
}
