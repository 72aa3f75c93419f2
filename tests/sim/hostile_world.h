/* A node in virtual time, and peers that are no nodes: each speaks QUIC and Kith's bytes itself, so that it can break
 * every rule. */
#ifndef KITH_TEST_HOSTILE_WORLD_H
#define KITH_TEST_HOSTILE_WORLD_H

#include "../support/quic_env.h"
#include "base/buf.h"
#include "crypto/secret.h"
#include "discovery/txt.h"
#include "op/op.h"
#include "service/hello.h"
#include "service/wire_error.h"
#include "sim/sim.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNS_MAX  64
#define EVENTS_MAX 512

/* ---- the node under test ---- */

typedef struct victim {
    kith_sim *sim;
    kith_sim_host *host;
    kith_env *env;
    kith_home *home;
    uint8_t *seed;
    kith_home_self self;
    kith_core *core;
    const kith_core_talk *talk; /* NULL: it knows no connections */
    const char *relay, *relay2; /* URLs; NULL: none */
    kith_op last_op;
    kith_event events[EVENTS_MAX];
    size_t count;
    bool closed;
} victim;

static inline void victim_event(void *user, const kith_event *event)
{
    victim *v = user;
    if (v->count < EVENTS_MAX) v->events[v->count++] = *event;
}

static inline void victim_log(void *user, kith_level level, const char *line)
{
    const victim *v = user;
    if (getenv("KITH_TRACE")) fprintf(stderr, "%s %d %s\n", kith_sim_host_name(v->host), (int)level, line);
}

static inline size_t count_events(const victim *v, kith_event_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++) n += v->events[i].kind == kind;
    return n;
}

/* The last one of this kind; NULL: none came. */
static inline const kith_event *last_event(const victim *v, kith_event_kind kind)
{
    for (size_t i = v->count; i-- > 0;)
        if (v->events[i].kind == kind) return &v->events[i];
    return NULL;
}

static inline void victim_open(victim *v)
{
    kith_problem problem = {0};
    const char *const relays[] = {v->relay, v->relay2};
    kith_core_config config = {.env = v->env,
                               .home = v->home,
                               .seed = v->seed,
                               .emit = victim_event,
                               .emit_user = v,
                               .talk = v->talk,
                               .relays = relays,
                               .relay_count = v->relay2  ? 2
                                              : v->relay ? 1
                                                         : 0,
                               .log = victim_log,
                               .log_user = v,
                               .log_level = KITH_LOG_DEBUG};
    if (kith_core_new(&config, &v->core, &problem)) fail_msg("%s", problem.message);
}

static inline void victim_home(victim *v, const char *name)
{
    uint8_t seed[KITH_RNG_SEED_SIZE] = {0};
    kith_problem problem = {0};
    kith_rng rng;
    bool created;
    assert_ok(kith_sim_env_new(v->host, &v->env));
    assert_ok(kith_home_open(v->env, "/home", &v->home));
    snprintf((char *)seed, sizeof seed, "%s", name);
    kith_rng_init(&rng, seed);
    kith_home_init_options options = {.name = name,
                                      .os = "Linux",
                                      .hardware_model = "",
                                      .password = {"pw", 2},
                                      .kdf = {.memory_kib = 8, .passes = 1, .lanes = 1},
                                      .rng = &rng,
                                      .now_ms = KITH_SIM_START_WALL_MS};
    if (kith_home_init(v->home, &options, &v->self, &created, &problem)) fail_msg("%s", problem.message);
    if (kith_home_unlock(v->home, (kith_bytes){"pw", 2}, &v->seed, &problem)) fail_msg("%s", problem.message);
    assert_ok(kith_sim_put_folder(v->host, "/in", 0755));
}

static inline void victim_make(victim *v, kith_sim *sim, kith_sim_lan *lan, const char *name, const char *addr)
{
    memset(v, 0, sizeof *v);
    v->sim = sim;
    assert_ok(kith_sim_host_new(sim, name, &v->host));
    assert_ok(kith_sim_attach(v->host, lan, addr));
    victim_home(v, name);
    victim_open(v);
}

static inline void victim_release(victim *v)
{
    kith_core_free(v->core);
    kith_home_close(v->home);
    kith_secret_free(v->seed);
    v->core = NULL;
}

static inline void victim_closed(void *user) { ((victim *)user)->closed = true; }
static inline bool victim_is_closed(void *user) { return ((victim *)user)->closed; }

static inline void victim_close(victim *v)
{
    kith_core_close(v->core, victim_closed, v);
    if (!kith_sim_run_until(v->sim, victim_is_closed, v, 60 * KITH_SIM_S)) fail_msg("the node does not close");
    victim_release(v);
}

/* ---- who speaks to it ---- */

typedef struct hostile hostile;
typedef struct line { /* one connection of his */
    hostile *owner;
    kith_conn *conn; /* NULL: over */
    kith_stream *control;
    bool dialler, connected, greeted;
    bool heard;         /* the node said hello */
    size_t heard_bytes; /* on its control stream */
    kith_err err;
    uint64_t code;
    void *user;
} line;

struct hostile {
    kith_sim_host *host;
    kith_env *env;
    uint8_t seed[32];
    kith_signer signer;
    kith_hello hello;
    quic_env quic;
    line lines[CONNS_MAX];
    size_t count;
    bool silent;                                                   /* says no hello by himself */
    void (*on)(hostile *h, line *l, const kith_quic_event *event); /* what else he does; NULL: nothing */
    void (*hear)(line *l, const uint8_t *data, size_t size);       /* the node's control stream; NULL: no interest */
    uint64_t resets[64], stops[64];
    size_t reset_count, stop_count;
    void *user;
};

static inline void say_hello(hostile *h, line *l)
{
    uint8_t hash[KITH_BINDING_SIZE], message[KITH_MESSAGE_MAX], prefix[8];
    size_t size;
    kith_conn_handshake_hash(l->conn, hash);
    assert_ok(kith_hello_write(&h->signer, &h->hello, l->dialler, hash, message, sizeof message, &size));
    if (kith_stream_open(l->conn, false, &l->control)) return;
    kith_writer w = kith_writer_of(prefix, sizeof prefix);
    kith_write_varint(&w, 1);
    kith_write_varint(&w, size);
    assert_ok(kith_stream_write(l->control, prefix, kith_writer_size(&w)));
    assert_ok(kith_stream_write(l->control, message, size));
    l->greeted = true;
}

static inline line *new_line(hostile *h, kith_conn *conn, bool dialler)
{
    assert_true(h->count < CONNS_MAX);
    line *l = &h->lines[h->count++];
    *l = (line){.owner = h, .conn = conn, .dialler = dialler};
    kith_conn_set_user(conn, l);
    return l;
}

static inline void hostile_event(void *user, const kith_quic_event *event)
{
    hostile *h = user;
    const uint8_t *data;
    size_t size;
    bool fin;
    line *l = event->kind == KITH_QUIC_ACCEPTED ? new_line(h, event->conn, false) : kith_conn_user(event->conn);
    if (event->kind == KITH_QUIC_ACCEPTED || event->kind == KITH_QUIC_CONNECTED) l->connected = true;
    if (event->kind == KITH_QUIC_CONNECTED && !h->silent) say_hello(h, l);
    if (event->kind == KITH_QUIC_READABLE && kith_stream_id(event->stream) & 2) {
        for (; kith_stream_peek(event->stream, &data, &size, &fin); l->heard_bytes += size) {
            if (h->hear) h->hear(l, data, size);
            kith_stream_consume(event->stream, size);
        }
        l->heard = true;
        if (!l->greeted && !h->silent) say_hello(h, l);
    }
    if (event->kind == KITH_QUIC_RESET && h->reset_count < 64) h->resets[h->reset_count++] = event->code;
    if (event->kind == KITH_QUIC_STOPPED && h->stop_count < 64) h->stops[h->stop_count++] = event->code;
    if (h->on) h->on(h, l, event);
    if (event->kind != KITH_QUIC_CLOSED) return;
    l->err = event->err;
    l->code = event->code;
    kith_conn_free(l->conn);
    l->conn = NULL;
}

static inline void hostile_make(hostile *h, kith_sim *sim, kith_sim_lan *lan, const char *name, const char *addr)
{
    uint8_t secret[KITH_X25519_SIZE];
    kith_quic_config config = {.static_secret = secret, .accept = true};
    kith_addr any = {.family = KITH_FAMILY_IPV6};
    memset(h, 0, sizeof *h);
    assert_ok(kith_sim_host_new(sim, name, &h->host));
    assert_ok(kith_sim_attach(h->host, lan, addr));
    assert_ok(kith_sim_env_new(h->host, &h->env));
    snprintf((char *)h->seed, sizeof h->seed, "seed of %.8s", name);
    h->signer.seed = h->seed;
    snprintf((char *)h->signer.uuid, sizeof h->signer.uuid, "%.15s", name);
    kith_ed25519_public(h->seed, h->signer.public_key);
    kith_fingerprint(h->signer.uuid, h->signer.public_key, h->signer.fingerprint);
    memcpy(h->hello.uuid, h->signer.uuid, sizeof h->hello.uuid);
    memcpy(h->hello.fingerprint, h->signer.fingerprint, sizeof h->hello.fingerprint);
    memcpy(h->hello.public_key, h->signer.public_key, sizeof h->hello.public_key);
    snprintf(h->hello.name, sizeof h->hello.name, "%s", name);
    kith_ed25519_seed_to_x25519(h->seed, secret);
    assert_ok(quic_env_open(&h->quic, h->env, &any, &config, hostile_event, h));
}

static inline void hostile_free(hostile *h)
{
    if (kith_sim_alive(h->env)) quic_env_close(&h->quic);
}

static inline line *dial_node(hostile *h, const victim *v, const char *addr)
{
    kith_conn *conn;
    kith_addr to;
    assert_ok(kith_addr_parse(addr, &to));
    to.port = kith_core_local(v->core).port;
    assert_ok(kith_quic_dial(h->quic.quic, &to, NULL, h->env->base->now_ns(h->env), &conn));
    line *l = new_line(h, conn, true);
    quic_env_flush(&h->quic);
    return l;
}

static inline void hang_up(hostile *h, line *l, uint64_t code)
{
    if (!l->conn) return;
    kith_conn_close(l->conn, code, "", h->env->base->now_ns(h->env));
    quic_env_flush(&h->quic);
}

/* A stream to a service; what is in `data` follows its number. */
static inline kith_stream *ask(hostile *h, line *l, uint8_t service, const void *data, size_t size)
{
    kith_stream *stream;
    if (kith_stream_open(l->conn, true, &stream)) return NULL;
    assert_ok(kith_stream_write(stream, &service, 1));
    if (size) assert_ok(kith_stream_write(stream, data, size));
    quic_env_flush(&h->quic);
    return stream;
}

static inline size_t open_lines(const hostile *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++) n += h->lines[i].conn && h->lines[i].connected;
    return n;
}

static inline size_t closed_with(const hostile *h, uint64_t code)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++) n += !h->lines[i].conn && h->lines[i].code == code;
    return n;
}

/* ---- who knows whom ---- */

typedef struct trusting {
    kith_peer peer;
    bool forget;
} trusting;

static inline kith_err change_trust(kith_trust *trust, void *user)
{
    const trusting *t = user;
    return t->forget ? kith_trust_remove(trust, t->peer.fingerprint) : kith_trust_replace(trust, &t->peer, NULL);
}

static inline void trust(victim *v, const hostile *h, kith_peer_kind kind, bool forget)
{
    trusting t = {.forget = forget};
    kith_problem problem = {0};
    assert_ok(kith_peer_make(h->signer.uuid, h->signer.public_key, h->hello.name, "", "", kind, KITH_SIM_START_WALL_MS,
                             &t.peer));
    if (kith_home_update_trust(v->home, change_trust, &t, &problem)) fail_msg("%s", problem.message);
}

/* The same between two nodes: an own device. */
static inline void know(victim *v, const victim *other)
{
    trusting t = {0};
    kith_problem problem = {0};
    assert_ok(kith_peer_make(other->self.device.id, other->self.public_key, kith_sim_host_name(other->host), "", "",
                             KITH_PEER_OWN, KITH_SIM_START_WALL_MS, &t.peer));
    if (kith_home_update_trust(v->home, change_trust, &t, &problem)) fail_msg("%s", problem.message);
}

/* Have him announced on the network; `tag` 0: as one who takes files. */
static inline void announce(hostile *h, kith_sim_lan *lan, const char *addr, uint32_t tag)
{
    kith_lan_record record = {.port = h->quic.env->udp->local(h->quic.udp).port, .addr_count = 1};
    kith_txt txt = {.pairing = tag != 0, .tag = tag};
    memcpy(txt.id, h->signer.uuid, sizeof txt.id);
    memcpy(txt.fingerprint, h->signer.fingerprint, sizeof txt.fingerprint);
    kith_instance_name(txt.id, 7, record.instance);
    record.txt_size = kith_txt_write(&txt, record.txt, sizeof record.txt);
    assert_ok(kith_addr_parse(addr, &record.addrs[0]));
    record.addrs[0].port = record.port;
    assert_ok(kith_sim_lan_inject(lan, &record));
}

#endif
