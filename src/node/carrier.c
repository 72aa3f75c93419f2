#include "node/carrier.h"

#include "base/mem.h"
#include "node/relay.h"
#include "node/session.h"
#include "service/code.h"

#include <stdio.h>
#include <string.h>

#define RUNS_A_PUMP                                                                                                    \
    16 /* packet runs a carrier sends before the sockets are read again: acknowledgements must get their turn */
#define LISTEN_TRIES 8 /* ports picked, until one is free for UDP and TCP alike */
#define STREAM_PACKET_MAX                                                                                              \
    12000 /* over TCP: copied, sealed and handed on while it is in a core's first cache; larger costs more a byte */
#define PORT_FIRST 49152u /* of those that nobody registers (RFC 6335) */
#define PORT_COUNT 16384u

/* ---- sending ---- */

/* True when something was sent (or given up): there may be more. */
static bool send_datagrams(carrier *c)
{
    kith_env *env = c->core->env;
    kith_err err = c->held.remote.family == KITH_FAMILY_RELAY ? kith__relays_send(c->core, &c->held)
                                                              : env->udp->send(c->udp, &c->held);
    if (err == KITH_ERR_AGAIN) {
        c->blocked = true;
        return false;
    }
    if (err == KITH_ERR_LIMIT) kith_quic_too_big(c->quic, &c->held.remote, c->held.segment);
    if (err && err != KITH_ERR_LIMIT && err != KITH_ERR_UNREACHABLE)
        kith__core_log(c->core, KITH_LOG_WARN, "sending failed: %s", kith_err_text(err));
    c->held.size = 0; /* what could not be sent is a lost packet: QUIC repairs it */
    return true;
}

static bool send_framed(carrier *c)
{
    uint8_t prefixes[KITH_FRAME_PIECES_MAX];
    struct iovec pieces[KITH_FRAME_PIECES_MAX];
    size_t left, sent = 0;
    if (!c->tcp) { /* nobody will read it */
        c->held.size = 0;
        return true;
    }
    size_t count = kith_frame_run(&c->held, c->held_sent, prefixes, pieces, &left);
    kith_err err = c->core->env->tcp->send(c->tcp, pieces, count, &sent);
    if (err) sent = left; /* `ended` says why */
    c->held_sent += sent;
    if (sent == left)
        c->held.size = c->held_sent = 0;
    else
        c->blocked = true;
    return sent > 0;
}

static bool send_one(carrier *c)
{
    if (c->blocked || c->core->offline) return false;
    if (!c->held.size) {
        c->held.data = c->held_memory;
        if (!kith_quic_output(c->quic, &c->held, kith__core_now(c->core))) {
            c->held.size = 0;
            return false;
        }
    }
    return c->kind == CARRIER_DATAGRAM ? send_datagrams(c) : send_framed(c);
}

static bool take_events(carrier *c)
{
    kith_quic_event event;
    bool some = false;
    while (kith_quic_event_take(c->quic, &event)) {
        kith__session_event(c, &event);
        some = true;
    }
    return some;
}

bool kith__carrier_step(carrier *c)
{
    bool some = take_events(c);
    if (c->runs >= RUNS_A_PUMP || !send_one(c)) return some;
    c->runs++;
    return true;
}

static void carrier_free(carrier *c)
{
    kith_env *env = c->core->env;
    kith_list_remove(&c->link);
    env->udp->close(c->udp);
    if (c->tcp) env->tcp->close(c->tcp);
    env->timers->close(c->timer);
    kith_quic_free(c->quic);
    kith_framer_done(&c->framer);
    kith_free(c->held_memory);
    kith_free(c);
}

static bool is_done(const carrier *c, uint64_t now)
{
    if (c->kind == CARRIER_DATAGRAM) return false;
    if (now >= c->limit_ns) return true;
    return c->ending ? !c->unsent : !c->tcp && !c->has_session;
}

void kith__carrier_settle(carrier *c)
{
    uint64_t now = kith__core_now(c->core), deadline = kith_quic_deadline_ns(c->quic);
    bool more = c->runs >= RUNS_A_PUMP;
    c->runs = 0;
    c->unsent = more || c->held.size;
    if (is_done(c, now)) {
        carrier_free(c);
        return;
    }
    if (more) deadline = now;
    c->core->env->timers->set(c->timer, deadline < c->limit_ns ? deadline : c->limit_ns);
}

kith_addr kith__carrier_local(const carrier *c)
{
    if (c->kind == CARRIER_DATAGRAM) return c->core->env->udp->local(c->udp);
    return c->tcp ? c->core->env->tcp->local(c->tcp) : c->local;
}

void kith__carrier_taken(carrier *c)
{
    c->has_session = true;
    c->limit_ns = NEVER;
    if (c->kind == CARRIER_STREAM) kith_framer_trust(&c->framer);
}

void kith__carrier_release(carrier *c)
{
    if (c->kind == CARRIER_DATAGRAM || c->ending) return;
    c->ending = true;
    c->limit_ns = kith__core_now(c->core) + CARRIER_LINGER_NS;
    c->core->again = true;
}

/* ---- making ---- */

static void on_timer(void *user)
{
    carrier *c = user;
    kith_core *core = c->core;
    kith_quic_expire(c->quic, kith__core_now(core));
    kith__core_pump(core);
}

static kith_err carrier_new(kith_core *core, carrier_kind kind, bool accept, carrier **out)
{
    kith_quic_config config = {.accept = accept};
    uint8_t secret[KITH_X25519_SIZE];
    carrier *c = kith_calloc(1, sizeof *c);
    if (!c) return KITH_ERR_NOMEM;
    c->core = core;
    c->kind = kind;
    c->limit_ns = NEVER;
    kith_list_append(&core->carriers, &c->link);
    if (kind == CARRIER_STREAM) {
        kith_framer_init(&c->framer);
        config.over_tcp = true;
        config.packet_max = STREAM_PACKET_MAX;
        config.conns_max = 1;
    }
    c->held_memory = kith_malloc(KITH_PACKET_RUN_MAX);
    c->timer = core->env->timers->open(core->env, on_timer, c);
    kith_err err = c->held_memory && c->timer ? KITH_OK : KITH_ERR_NOMEM;
    if (!err) {
        kith_ed25519_seed_to_x25519(core->config.seed, secret);
        config.static_secret = secret;
        kith_rng_bytes(&core->rng, config.seed, sizeof config.seed);
        err = kith_quic_new(&config, &c->quic);
        kith_wipe(secret, sizeof secret);
        kith_wipe(config.seed, sizeof config.seed);
    }
    if (err) {
        carrier_free(c);
        return err;
    }
    *out = c;
    return KITH_OK;
}

/* ---- datagrams ---- */

static void on_datagrams(void *user, const kith_packet *packets, size_t count)
{
    carrier *c = user;
    uint64_t now = kith__core_now(c->core);
    for (size_t i = 0; i < count; i++)
        if (!kith__relays_datagrams(c->core, &packets[i])) kith_quic_input(c->quic, &packets[i], now);
    kith__core_pump(c->core);
}

static void on_writable(void *user)
{
    carrier *c = user;
    c->blocked = false;
    kith__core_pump(c->core);
}

/* ---- TCP ---- */

static void on_connected(void *user) { on_writable(user); }

static uint8_t *on_room(void *user, size_t *size)
{
    carrier *c = user;
    uint8_t *room = kith_framer_room(&c->framer, size);
    if (!room) *size = 0; /* no memory: it stays with the system until the session idles out */
    return room;
}

/* What carried them is gone: the carrier's session with it. */
static void gone(carrier *c, kith_err why)
{
    c->core->env->tcp->close(c->tcp);
    c->tcp = NULL;
    c->blocked = false;
    kith__session_carrier_gone(c, why);
}

static void on_received(void *user, size_t size)
{
    carrier *c = user;
    kith_core *core = c->core;
    uint64_t now = kith__core_now(core);
    kith_packet packet = {.local = c->local, .remote = c->remote};
    kith_err err;
    kith_framer_filled(&c->framer, size);
    while (!(err = kith_framer_next(&c->framer, &packet.data, &packet.size))) {
        packet.segment = packet.size;
        kith_quic_input(c->quic, &packet, now);
        /* It may have a session now, and a large packet may follow; or a chunk is whole, and what follows belongs
         * straight into the next one's memory. */
        core->pumping = true; /* nothing is freed meanwhile */
        (void)take_events(c);
        core->pumping = false;
    }
    if (err == KITH_ERR_PROTOCOL) gone(c, err);
    kith__core_pump(core);
}

static void on_ended(void *user, kith_err why)
{
    carrier *c = user;
    kith_core *core = c->core;
    gone(c, why == KITH_ERR_CLOSED ? KITH_ERR_LOST : why);
    kith__core_pump(core);
}

static const kith_tcp_events tcp_events = {
    .connected = on_connected, .room = on_room, .received = on_received, .writable = on_writable, .ended = on_ended};

/* Room for one more that proved nothing yet?  The oldest of many makes way. */
static bool room_for_stranger(kith_core *core, const kith_addr *remote)
{
    carrier *oldest = NULL;
    size_t all = 0, strangers = 0, same = 0;
    kith_addr source = kith_code_source(remote);
    KITH_EACH (at, &core->carriers) {
        carrier *c = KITH_OF(at, carrier, link);
        all++;
        if (!c->accepted || c->has_session) continue;
        kith_addr theirs = kith_code_source(&c->remote);
        strangers++;
        same += kith_addr_same_ip(&source, &theirs);
        if (!oldest) oldest = c;
    }
    if (all >= CARRIERS_MAX || same >= CARRIERS_SOURCE_MAX) return false;
    if (strangers >= CARRIERS_STRANGERS_MAX) carrier_free(oldest);
    return true;
}

static void on_accepted(void *user, kith_tcp *tcp)
{
    kith_core *core = user;
    const kith_env_tcp *table = core->env->tcp;
    kith_addr remote = table->remote(tcp);
    carrier *c;
    if (core->closing || !room_for_stranger(core, &remote) || carrier_new(core, CARRIER_STREAM, true, &c)) {
        table->close(tcp);
        return;
    }
    c->accepted = true;
    c->tcp = tcp;
    c->local = table->local(tcp);
    c->remote = remote;
    c->limit_ns = kith__core_now(core) + CARRIER_HANDSHAKE_NS;
    core->env->timers->set(c->timer, c->limit_ns);
    table->attach(tcp, &tcp_events, c);
}

kith_err kith__carrier_dial(kith_core *core, const kith_addr *remote, carrier **out)
{
    carrier *c;
    size_t count = 0;
    KITH_EACH (at, &core->carriers) count++;
    if (!core->env->tcp) return KITH_ERR_UNSUPPORTED;
    if (count >= CARRIERS_MAX) return KITH_ERR_LIMIT;
    kith_err err = carrier_new(core, CARRIER_STREAM, false, &c);
    if (err) return err;
    kith__carrier_taken(c);
    c->remote = *remote;
    c->blocked = true; /* until `connected` */
    err = core->env->tcp->connect(core->env, remote, &tcp_events, c, &c->tcp);
    if (err) {
        carrier_free(c);
        return err;
    }
    core->again = true;
    *out = c;
    return KITH_OK;
}

/* ---- all of them ---- */

/* Both sockets at one port number.  ADDRESS_IN_USE when either has it not free. */
static kith_err listen_both(kith_core *core, carrier *c, kith_addr at)
{
    static const kith_udp_events udp_events = {.received = on_datagrams, .writable = on_writable};
    kith_env *env = core->env;
    kith_err err = env->udp->open(env, &at, &udp_events, c, &c->udp);
    if (err || !env->tcp) return err;
    at.port = env->udp->local(c->udp).port;
    err = env->tcp->listen(env, &at, on_accepted, core, &core->listener);
    if (!err || err != KITH_ERR_ADDRESS_IN_USE) {
        if (err) kith__core_log(core, KITH_LOG_WARN, "not listening for TCP: %s", kith_err_text(err));
        return KITH_OK;
    }
    env->udp->close(c->udp);
    c->udp = NULL;
    return err;
}

/* Where this device listens when it may: after a restart others find it at the address they remember, without looking.
 */
static uint16_t usual_port(const kith_core *core)
{
    const uint8_t *f = core->signer.fingerprint;
    return (uint16_t)(PORT_FIRST + ((unsigned)f[30] << 8 | f[31]) % PORT_COUNT);
}

static kith_err listen_on(kith_core *core, carrier *c, kith_addr at)
{
    kith_addr usual = at;
    if (at.port) {
        kith_err err = listen_both(core, c, at);
        if (err != KITH_ERR_ADDRESS_IN_USE || !core->config.listen_is_wish) return err;
        kith__core_log(core, KITH_LOG_WARN, "port %u is taken: listening on another one", (unsigned)at.port);
        at.port = 0;
    }
    usual.port = usual_port(core);
    kith_err err = listen_both(core, c, usual);
    for (int tries = LISTEN_TRIES; err == KITH_ERR_ADDRESS_IN_USE && tries; tries--) err = listen_both(core, c, at);
    return err;
}

kith_err kith__carriers_open(kith_core *core, kith_problem *problem)
{
    kith_addr listen = core->config.listen;
    char address[KITH_ADDR_TEXT_SIZE];
    carrier *c;
    if (listen.family == KITH_FAMILY_NONE) listen.family = KITH_FAMILY_IPV6; /* the any-address: both families */
    kith_err err = carrier_new(core, CARRIER_DATAGRAM, true, &c);
    if (err) return err;
    core->datagrams = c;
    err = listen_on(core, c, listen);
    if (err)
        snprintf(problem->message, sizeof problem->message, "cannot listen on %s: %s", kith_addr_text(&listen, address),
                 err == KITH_ERR_NETWORK ? "this machine has no such address now" : kith_err_text(err));
    return err;
}

void kith__carriers_close(kith_core *core)
{
    kith_env *env = core->env;
    core->offline = true;
    if (core->listener) env->tcp->unlisten(core->listener);
    core->listener = NULL;
    KITH_EACH (at, &core->carriers) {
        carrier *c = KITH_OF(at, carrier, link);
        env->udp->close(c->udp);
        if (c->tcp) env->tcp->close(c->tcp);
        env->timers->set(c->timer, NEVER);
        c->udp = NULL;
        c->tcp = NULL;
    }
}

void kith__carriers_free(kith_core *core)
{
    kith__carriers_close(core);
    for (kith_link *at; (at = kith_list_first(&core->carriers));) carrier_free(KITH_OF(at, carrier, link));
    core->datagrams = NULL;
}
