#include "node/roam.h"

#include "base/buf.h"
#include "base/mem.h"
#include "node/beside.h"
#include "node/lan.h"
#include "node/relay.h"
#include "path/chooser.h"
#include "path/relays.h"
#include "service/control.h"

#include <string.h>

#define INTERFACES_MAX 64

struct roam {
    session *session;
    kith_chooser chooser;
    kith_control_reader control;
    kith_timer *timer;
    uint64_t first_ns; /* nothing is done before */
    kith_bucket messages;
    struct beside *beside;
    bool tcp; /* the peer said that it may be dialled over TCP */
};

static void step(struct roam *r);

static uint64_t now_of(const struct roam *r) { return kith__core_now(r->session->core); }

/* ---- our own addresses ---- */

static void add_candidate(kith_candidates *out, const kith_addr *addr)
{
    if (out->count == KITH_CANDIDATES_MAX || !kith_route_plausible(addr)) return;
    for (size_t i = 0; i < out->count; i++)
        if (kith_addr_equal(&out->addrs[i], addr)) return;
    out->addrs[out->count++] = *addr;
}

/* What relays see first: a device with very many addresses would otherwise not tell the one that works from outside.
 * Where a router forwards our port it is that port at the address that relays see, whatever else they see. */
static void find_candidates(const kith_core *core, kith_candidates *out)
{
    kith_interface_addr found[INTERFACES_MAX];
    kith_addr local = kith_core_local(core), observed[KITH_RELAYS_MAX];
    out->count = 0;
    if (!kith_addr_is_any(&local)) { /* one address alone was asked for */
        add_candidate(out, &local);
        return;
    }
    size_t count = kith__relays_observed(core, true, observed, KITH_RELAYS_MAX);
    for (size_t i = 0; i < count; i++) add_candidate(out, &observed[i]);
    count = kith__relays_observed(core, false, observed, KITH_RELAYS_MAX);
    for (size_t i = 0; i < count; i++) {
        observed[i].port = local.port;
        add_candidate(out, &observed[i]);
    }
    count = core->env->net->addresses(core->env, found, INTERFACES_MAX);
    for (size_t i = 0; i < count && i < INTERFACES_MAX; i++) {
        kith_addr a = found[i].addr;
        a.port = local.port;
        if (a.family == KITH_FAMILY_IPV6 && local.family == KITH_FAMILY_IPV4) continue;
        add_candidate(out, &a);
    }
}

/* Asked for once for all sessions; without a word of changes each time. */
static const kith_candidates *our_candidates(kith_core *core)
{
    if (!core->ours_known || !core->watch) find_candidates(core, &core->ours);
    core->ours_known = true;
    return &core->ours;
}

static void announce(struct roam *r)
{
    session *s = r->session;
    kith_candidates ours;
    uint8_t message[KITH_CANDIDATES_ENCODED], prefix[8];
    size_t size;
    if (!s->control_out || kith_stream_unsent(s->control_out) > ROAM_UNSENT_MAX) return;
    ours = *our_candidates(s->core);
    ours.tcp = s->core->listener && !s->no_relay;
    if (kith_candidates_write(&ours, message, sizeof message, &size)) return;
    kith_writer w = kith_writer_of(prefix, sizeof prefix);
    kith_write_varint(&w, size);
    kith_err err = kith_stream_write(s->control_out, prefix, kith_writer_size(&w));
    if (!err) err = kith_stream_write(s->control_out, message, size);
    if (err) kith__core_log(s->core, KITH_LOG_DEBUG, "addresses not told: %s", kith_err_text(err));
}

/* ---- doing what the chooser chooses ---- */

static bool may_probe(kith_core *core)
{
    return kith_bucket_take(&core->probes, ROAM_PROBE_EVERY, ROAM_PROBES_MAX, kith__core_now(core));
}

static kith_err carry_out(struct roam *r, const kith_choice *choice)
{
    session *s = r->session;
    char address[KITH_ADDR_TEXT_SIZE];
    uint32_t number;
    kith_err err;
    switch (choice->kind) {
    case KITH_CHOOSE_ANNOUNCE: announce(r); return KITH_OK;
    case KITH_CHOOSE_PROBE:
        if (!kith_addr_equal(&choice->addr, &s->remote) && !may_probe(s->core)) return KITH_ERR_AGAIN;
        return kith_conn_probe(s->conn, NULL, &choice->addr, now_of(r), &number);
    case KITH_CHOOSE_MOVE:
        if (!kith_conn_path_to(s->conn, &choice->addr, &number)) return KITH_ERR_STATE;
        err = kith_conn_move(s->conn, number, choice->dead, now_of(r));
        kith__core_log(s->core, KITH_LOG_INFO, "moving to %s%s: %s", kith_addr_text(&choice->addr, address),
                       choice->dead ? ", nothing comes over the way used before" : "", kith_err_name(err));
        return err;
    case KITH_CHOOSE_RESTART:
        kith__core_log(s->core, KITH_LOG_INFO, "the way works again");
        return kith_conn_restart(s->conn, now_of(r));
    }
    return KITH_OK;
}

static void set_timer(struct roam *r)
{
    uint64_t at = kith_chooser_deadline_ns(&r->chooser);
    r->session->core->env->timers->set(r->timer, at < r->first_ns ? r->first_ns : at);
}

static void look_beside(struct roam *r) { kith__beside_look(r->beside, &r->chooser, r->tcp && !r->session->no_relay); }

static void step(struct roam *r)
{
    kith_choice choice;
    look_beside(r);
    if (now_of(r) < r->first_ns) return;
    while (kith_chooser_next(&r->chooser, &choice, now_of(r)))
        if (carry_out(r, &choice)) kith_chooser_refused(&r->chooser, &choice, now_of(r));
    set_timer(r);
}

/* Something is urgent: no waiting for the first look. */
static void at_once(struct roam *r) { r->first_ns = 0; }

static void on_timer(void *user)
{
    struct roam *r = user;
    kith_core *core = r->session->core;
    kith_conn_stats stats;
    kith_conn_get_stats(r->session->conn, &stats);
    kith_chooser_heard(&r->chooser, stats.last_received_ns);
    step(r);
    kith__core_pump(core);
}

/* ---- the session's life ---- */

static void offer_seen(struct roam *r)
{
    session *s = r->session;
    kith_addr found[KITH_ROUTES_MAX];
    size_t count = kith__lan_find_device(s->core, &s->known, found, KITH_ROUTES_MAX);
    kith_chooser_offer(&r->chooser, KITH_ROUTE_SEEN, found, count, now_of(r));
}

static void offer_relays(struct roam *r)
{
    session *s = r->session;
    kith_addr found[KITH_ROUTES_MAX];
    if (!s->dialler || s->no_relay) return;
    size_t count = kith__relays_find_device(s->core, s->known.fingerprint, NULL, found, KITH_ROUTES_MAX);
    kith_chooser_offer(&r->chooser, KITH_ROUTE_RELAY, found, count, now_of(r));
}

void kith__roam_begin(session *s)
{
    kith_core *core = s->core;
    if (s->carrier->kind != CARRIER_DATAGRAM || s->for_pairing || s->relay_only || s->roam) return;
    struct roam *r = kith_calloc(1, sizeof *r);
    if (r) r->timer = core->env->timers->open(core->env, on_timer, r);
    if (!r || !r->timer || kith__beside_new(s, &r->beside)) { /* it stays where it is */
        if (r) core->env->timers->close(r->timer);
        kith_free(r);
        return;
    }
    uint64_t now = kith__core_now(core);
    kith_addr remote = kith_conn_remote_addr(s->conn);
    r->session = s;
    s->roam = r;
    kith_chooser_init(&r->chooser, s->dialler, &remote, now);
    kith_chooser_use(&r->chooser, !kith_list_empty(&s->uses), now);
    if (kith_tier_of(&remote) == KITH_TIER_LAN) r->first_ns = now + ROAM_FIRST_NS;
    if (r->first_ns)
        set_timer(r);
    else
        step(r);
}

void kith__roam_end(session *s)
{
    struct roam *r = s->roam;
    if (!r) return;
    s->roam = NULL;
    kith__beside_free(r->beside);
    s->core->env->timers->close(r->timer);
    kith_free(r);
}

void kith__roam_used(session *s)
{
    struct roam *r = s->roam;
    if (!r) return;
    kith_chooser_use(&r->chooser, !kith_list_empty(&s->uses), now_of(r));
    look_beside(r);
    set_timer(r);
}

static void moved(struct roam *r, const kith_addr *to)
{
    session *s = r->session;
    char address[KITH_ADDR_TEXT_SIZE];
    s->remote = *to;
    kith_chooser_moved(&r->chooser, to, now_of(r));
    kith__core_log(s->core, KITH_LOG_INFO, "now at %s", kith_addr_text(to, address));
    if (kith_tier_of(to) != KITH_TIER_RELAY) kith__core_seen(s->core, &s->known, to);
}

void kith__roam_event(session *s, const kith_quic_event *event)
{
    struct roam *r = s->roam;
    if (!r) return;
    uint64_t now = now_of(r);
    switch (event->kind) {
    case KITH_QUIC_PATH: kith_chooser_probed(&r->chooser, &event->remote, event->err, event->rtt_ns, now); break;
    case KITH_QUIC_MOVED: moved(r, &event->remote); break;
    case KITH_QUIC_ASKED: kith_chooser_asked(&r->chooser, &event->remote, now); break;
    case KITH_QUIC_SILENT:
        if (!s->no_relay) kith__relays_want(s->core);
        kith__relays_doubt(s->core, &s->remote);
        offer_seen(r);
        offer_relays(r);
        kith_chooser_silent(&r->chooser, now);
        break;
    default: break;
    }
    at_once(r);
    step(r);
}

/* ---- what the peer says ---- */

static void told(struct roam *r, const uint8_t *message, size_t size)
{
    kith_candidates said;
    size_t good = 0;
    if (!kith_bucket_take(&r->messages, ROAM_MESSAGE_EVERY, ROAM_MESSAGES_MAX, now_of(r))) return;
    if (kith_candidates_read(message, size, &said)) return;
    for (size_t i = 0; i < said.count; i++)
        if (kith_route_plausible(&said.addrs[i])) said.addrs[good++] = said.addrs[i];
    r->tcp = said.tcp;
    kith_chooser_offer(&r->chooser, KITH_ROUTE_SAID, said.addrs, good, now_of(r));
    kith_chooser_told(&r->chooser, now_of(r));
}

void kith__roam_control(session *s, const uint8_t *data, size_t size)
{
    struct roam *r = s->roam;
    if (!r) return;
    while (size) {
        const uint8_t *message;
        size_t length, n = kith_control_add(&r->control, data, size, &message, &length);
        data += n;
        size -= n;
        if (message) told(r, message, length);
    }
    step(r);
}

/* ---- networks ---- */

void kith__roam_seen(kith_core *core, const uint8_t uuid[static KITH_UUID_SIZE])
{
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!s->roam || memcmp(s->known.uuid, uuid, KITH_UUID_SIZE) != 0) continue;
        offer_seen(s->roam);
        step(s->roam);
    }
}

void kith__roam_relays(kith_core *core)
{
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!s->roam) continue;
        offer_relays(s->roam);
        step(s->roam);
    }
}

void kith__roam_told_addresses(kith_core *core)
{
    core->ours_known = false;
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!s->roam) continue;
        kith_chooser_announce(&s->roam->chooser);
        step(s->roam);
    }
}

void kith__roam_gone(kith_core *core, const kith_addr *addr, kith_err why)
{
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (s->roam) {
            bool in_use = kith_addr_equal(&s->remote, addr);
            if (in_use) offer_seen(s->roam);
            if (in_use) offer_relays(s->roam);
            kith_chooser_gone(&s->roam->chooser, addr, kith__core_now(core));
            step(s->roam);
        } else if (!s->over && kith_addr_equal(&s->remote, addr)) {
            kith_conn_abandon(s->conn, why, kith__core_now(core));
        }
    }
}

/* What a connection goes over or from is not ours any more. */
static void network_changed(session *s, const kith_addr *ours, size_t count)
{
    struct roam *r = s->roam;
    kith_addr local = kith__carrier_local(s->carrier);
    bool there = local.family == KITH_FAMILY_NONE || kith_addr_is_loopback(&local);
    for (size_t i = 0; i < count && !there; i++) there = memcmp(ours[i].ip, local.ip, sizeof local.ip) == 0;
    if (s->carrier->kind == CARRIER_STREAM && !there)
        kith_conn_abandon(s->conn, KITH_ERR_LOST, kith__core_now(s->core));
    if (s->carrier->kind == CARRIER_DATAGRAM) kith_conn_rebind(s->conn, ours, count);
    if (!r) return;
    at_once(r);
    offer_seen(r);
    kith_chooser_changed(&r->chooser, now_of(r));
    kith__beside_anew(r->beside);
    step(r);
}

static void on_changed(void *user)
{
    kith_core *core = user;
    kith_interface_addr found[INTERFACES_MAX];
    kith_addr ours[INTERFACES_MAX];
    size_t count = core->env->net->addresses(core->env, found, INTERFACES_MAX);
    kith__core_log(core, KITH_LOG_INFO, "this device's addresses have changed");
    core->ours_known = false;
    if (count > INTERFACES_MAX) count = INTERFACES_MAX;
    for (size_t i = 0; i < count; i++) ours[i] = found[i].addr;
    kith__relays_changed(core);
    kith__lan_changed(core);
    KITH_EACH (at, &core->sessions) network_changed(KITH_OF(at, session, link), ours, count);
    kith__core_pump(core);
}

kith_err kith__roam_watch(kith_core *core) { return core->env->net->watch(core->env, on_changed, core, &core->watch); }

void kith__roam_unwatch(kith_core *core)
{
    core->env->net->unwatch(core->watch);
    core->watch = NULL;
}
