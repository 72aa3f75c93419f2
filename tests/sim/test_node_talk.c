/* Connections with messages between whole nodes in virtual time: networks that lose, repeat and are cut, addresses that
 * change, sessions that are closed beneath them, nodes that are killed and started anew.  While both nodes live each
 * message comes once and in order, what waits has its bounds, and the end is heard on both sides.  KITH_SEEDS says how
 * many worlds (default 250); KITH_SEED runs one, with its log in KITH_TRACE. */
#include "base/mem.h"
#include "crypto/secret.h"
#include "op/op.h"
#include "op/talk.h"
#include "sim/sim.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_NS   (60 * KITH_SIM_S)
#define DEVICES_MAX 17
#define TALKS_MAX   16

static struct {
    size_t messages, returns, waits, killed, held_back, closed_beneath, bytes, datagrams, datagrams_got;
} seen;
static uint64_t current_seed;

typedef struct world world;

typedef struct device {
    world *world;
    char name[32], address[32];
    kith_sim_host *host;
    kith_env *env;
    kith_home *home;
    uint8_t *seed;
    kith_home_self self;
    kith_core *core;
    kith_op last_op;
    bool closed;
} device;

/* One side of a connection, as its application sees it. */
typedef struct side {
    device *device;
    kith_op op; /* 0: not connected to yet */
    uint64_t sent, got, goal, datagrams;
    size_t undelivered, waiting, waiting_bytes;     /* not confirmed; not taken: messages, bytes */
    bool ended, connected, finishing, dead, doomed; /* its node was killed; the other's was */
    kith_err err;
} side;

typedef struct datagram {
    uint64_t from, number;
} datagram;

struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    device devices[DEVICES_MAX];
    size_t device_count;
    side talks[TALKS_MAX][2]; /* opener, acceptor */
    size_t talk_count;
    bool incoming_is_wrong; /* nobody connects any more */
    unsigned next_address;
};

static uint64_t dice(world *w, uint64_t sides) { return kith_sim_random(w->sim) % sides; }

static void wrong(const char *what) { fail_msg("seed %llu: %s", (unsigned long long)current_seed, what); }

static side *side_of(device *d, kith_op id)
{
    world *w = d->world;
    for (size_t i = 0; i < w->talk_count; i++)
        for (size_t j = 0; j < 2; j++)
            if (w->talks[i][j].device == d && w->talks[i][j].op == id) return &w->talks[i][j];
    return NULL;
}

static side *other_side(side *s)
{
    world *w = s->device->world;
    size_t n = (size_t)(s - &w->talks[0][0]);
    return &w->talks[n / 2][1 - n % 2];
}

/* ---- what the application is told ---- */

static void on_event(void *user, const kith_event *event)
{
    device *d = user;
    side *s = side_of(d, event->op);
    if (!s) return;
    if (event->kind == KITH_EVENT_CONNECTED) seen.returns++;
    if (event->kind == KITH_EVENT_WAITING) seen.waits++;
    if (event->kind != KITH_EVENT_END) return;
    if (s->ended) wrong("two ends");
    s->ended = true;
    s->err = event->err;
}

static bool on_incoming(void *user, const kith_event *event)
{
    device *d = user;
    world *w = d->world;
    size_t n = (size_t)(event->name[0] - '0');
    if (w->incoming_is_wrong) wrong("a connection took the place of one that was lost");
    if (n >= w->talk_count || w->talks[n][1].device != d) wrong("the wrong topic");
    if (w->talks[n][1].op) wrong("the same connection came twice");
    w->talks[n][1].op = event->transfer;
    w->talks[n][1].connected = true;
    return true;
}

static size_t size_of(uint64_t n, bool opener)
{
    uint64_t x = (n + 1 + opener * 7u) * 0x9e3779b97f4a7c15u;
    x ^= x >> 31;
    return x % 40 == 0 ? KITH_MESSAGE_SIZE_MAX - x % 5 : x % 5 < 2 ? x % 60000 : x % 900;
}

static uint8_t byte_of(uint64_t n, size_t at, const side *from) { return (uint8_t)(n * 131 + at * 7 + from->op); }

static bool on_message(void *user, kith_op connection, kith_talk_message *m)
{
    side *s = side_of(user, connection), *from = s ? other_side(s) : NULL;
    if (!s || s->ended) wrong("a message of no connection");
    bool from_opener = from < s;
    if (m->size != size_of(s->got, from_opener)) wrong("not the message that is next");
    for (size_t at = 0; at < m->size; at += 1 + m->size / 16)
        if (m->data[at] != byte_of(s->got, at, from)) wrong("a message with other bytes");
    s->got++;
    s->waiting++;
    s->waiting_bytes += m->size;
    if (s->waiting_bytes + s->waiting * KITH_TALK_COST > KITH_TALK_WINDOW) wrong("more came than may wait");
    if (s->waiting_bytes > KITH_TALK_WINDOW / 4) seen.held_back++;
    seen.messages++;
    seen.bytes += m->size;
    kith_free(m);
    return true;
}

static void on_confirmed(void *user, kith_op connection, size_t costs)
{
    side *s = side_of(user, connection);
    if (!s || costs > s->undelivered) wrong("more was confirmed than sent");
    s->undelivered -= costs;
}

static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    side *s = side_of(user, connection);
    if (!s) return;
    s->connected = info->connected;
    s->finishing |= finishing;
    if (info->connected && (!info->rtt_ns || strcmp(info->scope, "lan") != 0)) wrong("a bad status");
}

static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    side *s = side_of(user, connection);
    datagram d;
    if (!s || s->ended || size < sizeof d) wrong("a datagram of no connection");
    memcpy(&d, data, sizeof d);
    if (d.from != other_side(s)->op || d.number >= other_side(s)->datagrams) wrong("not a datagram that was sent");
    for (size_t i = sizeof d; i < size; i++)
        if (((const uint8_t *)data)[i] != (uint8_t)(d.number + i)) wrong("a datagram with other bytes");
    seen.datagrams_got++;
}

static const kith_core_talk talk_events = {.incoming = on_incoming,
                                           .message = on_message,
                                           .confirmed = on_confirmed,
                                           .datagram = on_datagram,
                                           .status = on_status};

#define CROWD       (DEVICES_MAX - 1)
#define STEP_NS     (100 * KITH_SIM_MS)
#define STEPS       1200
#define LOST_STEPS  290 /* silent ones are given up about then, and before that others of the device looked for */
#define FIRST_STEPS 80  /* when it happens the first pauses are short, so that who only stumbled is back at once */

static struct {
    bool counting;
    uint64_t from_ns;
    unsigned dials[STEPS]; /* first ones of each look */
    uint64_t last_ns[DEVICES_MAX];
} crowd;

static void count_dials(const device *d, const char *line)
{
    uint64_t now = kith_sim_now_ns(d->world->sim);
    if (!crowd.counting || !strstr(line, " dialling ")) return;
    size_t n = (size_t)(d - d->world->devices);
    bool same = crowd.last_ns[n] && now - crowd.last_ns[n] < STEP_NS; /* another address, the other carrier */
    crowd.last_ns[n] = now;
    if (!same && (now - crowd.from_ns) / STEP_NS < STEPS) crowd.dials[(now - crowd.from_ns) / STEP_NS]++;
}

static void show_log(void *user, kith_level level, const char *line)
{
    const device *d = user;
    count_dials(d, line);
    if (getenv("KITH_TRACE"))
        fprintf(stderr, "%.3f %s %d %s\n", (double)kith_sim_now_ns(d->world->sim) / 1e9, d->name, (int)level, line);
}

/* ---- nodes ---- */

static void start(device *d)
{
    kith_problem problem = {0};
    assert_ok(kith_sim_env_new(d->host, &d->env));
    assert_ok(kith_home_open(d->env, "/home", &d->home));
    if (kith_home_unlock(d->home, (kith_bytes){"pw", 2}, &d->seed, &problem)) fail_msg("%s", problem.message);
    kith_core_config config = {.env = d->env,
                               .home = d->home,
                               .seed = d->seed,
                               .emit = on_event,
                               .emit_user = d,
                               .talk = &talk_events,
                               .log = show_log,
                               .log_user = d,
                               .log_level = KITH_LOG_DEBUG};
    if (kith_core_new(&config, &d->core, &problem)) fail_msg("%s", problem.message);
}

static void release(device *d)
{
    kith_core_free(d->core);
    kith_home_close(d->home);
    kith_secret_free(d->seed);
    d->core = NULL;
}

static void on_closed(void *user) { ((device *)user)->closed = true; }
static bool is_closed(void *user) { return ((device *)user)->closed; }

static void stop(device *d)
{
    kith_core_close(d->core, on_closed, d);
    if (!kith_sim_run_until(d->world->sim, is_closed, d, MINUTE_NS)) wrong("a node does not close");
    release(d);
}

static void make_home(device *d)
{
    uint8_t seed[KITH_RNG_SEED_SIZE] = {0};
    kith_problem problem = {0};
    kith_rng rng;
    bool created;
    memcpy(seed, d->name, sizeof d->name);
    kith_rng_init(&rng, seed);
    assert_ok(kith_sim_env_new(d->host, &d->env));
    assert_ok(kith_home_open(d->env, "/home", &d->home));
    kith_home_init_options options = {.name = d->name,
                                      .os = "Linux",
                                      .hardware_model = "Virtual",
                                      .password = {"pw", 2},
                                      .kdf = {.memory_kib = 8, .passes = 1, .lanes = 1},
                                      .rng = &rng,
                                      .now_ms = KITH_SIM_START_WALL_MS};
    if (kith_home_init(d->home, &options, &d->self, &created, &problem)) fail_msg("%s", problem.message);
}

static kith_err add_peer(kith_trust *trust, void *user) { return kith_trust_replace(trust, user, NULL); }

static void know(device *d, const device *other, kith_peer_kind kind)
{
    kith_problem problem = {0};
    kith_peer peer;
    assert_ok(kith_peer_make(other->self.device.id, other->self.public_key, other->name, "Linux", "Virtual", kind,
                             KITH_SIM_START_WALL_MS, &peer));
    if (kith_home_update_trust(d->home, add_peer, &peer, &problem)) fail_msg("%s", problem.message);
}

static void choose_network(world *w)
{
    kith_sim_link link = {.delay_ns = KITH_SIM_MS / 5, .jitter_ns = KITH_SIM_MS / 50, .mtu = 1500};
    if (dice(w, 3)) {
        link.delay_ns += dice(w, 20 * KITH_SIM_MS);
        link.jitter_ns = dice(w, 5 * KITH_SIM_MS);
        link.loss = (double)dice(w, 50) / 1000;
        link.duplicate = (double)dice(w, 50) / 1000;
        link.reorder = (double)dice(w, 50) / 1000;
        link.rate = (1 + dice(w, 8)) << 20;
        link.queue = 256 << 10;
    }
    kith_sim_lan_set_link(w->lan, &link);
    kith_sim_lan_set_discovery(w->lan, 200 * KITH_SIM_MS, 0);
}

static void world_make(world *w, uint64_t seed, size_t devices)
{
    static const char *const names[] = {"desktop", "laptop", "tablet"};
    memset(w, 0, sizeof *w);
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    choose_network(w);
    w->next_address = 50;
    w->device_count = devices;
    for (size_t i = 0; i < devices; i++) {
        device *d = &w->devices[i];
        d->world = w;
        if (i < sizeof names / sizeof *names)
            snprintf(d->name, sizeof d->name, "%s", names[i]);
        else
            snprintf(d->name, sizeof d->name, "device %zu", i);
        snprintf(d->address, sizeof d->address, "192.168.1.%zu", 10 + i);
        assert_ok(kith_sim_host_new(w->sim, d->name, &d->host));
        assert_ok(kith_sim_attach(d->host, w->lan, d->address));
        make_home(d);
    }
    for (size_t i = 0; i < devices; i++) {
        device *d = &w->devices[i];
        for (size_t j = 0; j < devices; j++)
            if (j != i) know(d, &w->devices[j], KITH_PEER_OWN);
        kith_home_close(d->home);
        kith_sim_kill(d->env);
        start(d);
    }
}

static void world_free(world *w)
{
    for (size_t i = 0; i < w->device_count; i++)
        if (w->devices[i].core) stop(&w->devices[i]);
    kith_sim_free(w->sim);
}

/* ---- connections ---- */

static void serve(world *w, device *d)
{
    for (size_t i = 0; i < w->talk_count; i++) {
        char topic[] = {(char)('0' + i), 0};
        kith_serve_options options = {.size = sizeof options};
        if (w->talks[i][1].device == d) kith_core_serve(d->core, ++d->last_op, topic, &options);
    }
}

static void open_talk(world *w, size_t n)
{
    char id[KITH_UUID_TEXT_SIZE], topic[] = {(char)('0' + n), 0};
    side *s = &w->talks[n][0];
    kith_connect_options options = {.size = sizeof options, .topic = topic};
    s->op = ++s->device->last_op;
    s->ended = false;
    kith_core_connect(s->device->core, s->op, kith_uuid_text(other_side(s)->device->self.device.id, id), &options);
}

static bool all_connected(void *user)
{
    world *w = user;
    for (size_t i = 0; i < w->talk_count; i++)
        if (!w->talks[i][0].connected && !w->talks[i][0].ended) return false;
    return true;
}

static void open_all(world *w, size_t count)
{
    w->talk_count = count;
    for (size_t i = 0; i < count; i++) {
        size_t from = dice(w, w->device_count), to = (from + 1 + dice(w, w->device_count - 1)) % w->device_count;
        w->talks[i][0] = (side){.device = &w->devices[from], .goal = dice(w, dice(w, 6) ? 60 : 300)};
        w->talks[i][1] = (side){.device = &w->devices[to], .goal = dice(w, dice(w, 6) ? 60 : 300)};
    }
    for (size_t i = 0; i < w->device_count; i++) serve(w, &w->devices[i]);
    for (size_t i = 0; i < count; i++) open_talk(w, i);
    kith_sim_run_until(w->sim, all_connected, w, 2 * MINUTE_NS);
    for (size_t i = 0; i < count; i++)
        if (!w->talks[i][0].connected || w->talks[i][0].ended) wrong("it never connected");
}

static bool try_send(side *s)
{
    size_t size = size_of(s->sent, s < other_side(s));
    if (s->ended || s->finishing || !s->op || s->undelivered + size + KITH_TALK_COST > KITH_UNDELIVERED_MAX)
        return false;
    kith_talk_message *m = kith_talk_message_new(NULL, size);
    for (size_t at = 0; at < size; at++) m->data[at] = byte_of(s->sent, at, s);
    s->undelivered += size + KITH_TALK_COST;
    s->sent++;
    kith_core_send_message(s->device->core, s->op, m);
    return true;
}

static void take(side *s)
{
    size_t waiting = s->waiting, bytes = s->waiting_bytes;
    if (!waiting || s->ended) return;
    s->waiting = s->waiting_bytes = 0;
    kith_core_taken(s->device->core, s->op, waiting, bytes);
}

static void send_datagram(side *s, size_t size)
{
    uint8_t bytes[1200];
    datagram d = {s->op, s->datagrams++};
    for (size_t i = sizeof d; i < size; i++) bytes[i] = (uint8_t)(d.number + i);
    memcpy(bytes, &d, sizeof d);
    seen.datagrams++;
    kith_core_send_datagram(s->device->core, s->op, bytes, size);
}

static void close_a_session(world *w, device *d)
{
    KITH_EACH (at, &d->core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (s->over || !s->greeted || dice(w, 2)) continue;
        seen.closed_beneath++;
        kith__session_close(s, KITH_OK);
        kith__core_pump(d->core);
        return;
    }
}

static void change_address(world *w, device *d)
{
    char to[32];
    snprintf(to, sizeof to, "192.168.1.%u", w->next_address++);
    assert_ok(kith_sim_change_addr(d->host, d->address, to));
    memcpy(d->address, to, sizeof to);
}

static device graveyard[1024]; /* what the dead leave stays reachable: only true leaks are reported */
static size_t graves;

static void kill_one(world *w, device *d)
{
    seen.killed++;
    kith_sim_kill(d->env);
    graveyard[graves++ % (sizeof graveyard / sizeof *graveyard)] = *d;
    for (size_t i = 0; i < w->talk_count; i++)
        for (size_t j = 0; j < 2; j++) {
            side *s = &w->talks[i][j];
            if (s->device == d) {
                s->ended = s->dead = true; /* with its application */
                other_side(s)->doomed = true;
            }
        }
    kith_sim_run_for(w->sim, dice(w, 5 * KITH_SIM_S));
    start(d);
    d->last_op += 1000; /* what is told of the old ones is not */
    w->incoming_is_wrong = true;
    serve(w, d);
}

static void disaster(world *w)
{
    device *a = &w->devices[dice(w, w->device_count)], *b = &w->devices[dice(w, w->device_count)];
    uint64_t pause = dice(w, 12 * KITH_SIM_S);
    switch (dice(w, 6)) {
    case 0:
        if (a == b) break;
        assert_ok(kith_sim_partition(a->host, b->host, true));
        kith_sim_run_for(w->sim, dice(w, 4) ? pause : 6 * pause);
        assert_ok(kith_sim_partition(a->host, b->host, false));
        break;
    case 1: change_address(w, a); break;
    case 2:
    case 3: close_a_session(w, a); break;
    default: break;
    }
}

static bool all_over(void *user)
{
    world *w = user;
    for (size_t i = 0; i < w->talk_count; i++)
        for (size_t j = 0; j < 2; j++) {
            side *s = &w->talks[i][j];
            take(s);
            while (s->sent < s->goal && try_send(s)) {
            }
        }
    for (size_t i = 0; i < w->talk_count; i++)
        for (size_t j = 0; j < 2; j++)
            if (!w->talks[i][j].ended) return false;
    return true;
}

static bool all_sent(void *user)
{
    world *w = user;
    if (all_over(w)) return true;
    for (size_t i = 0; i < w->talk_count; i++)
        for (size_t j = 0; j < 2; j++)
            if (w->talks[i][j].sent < w->talks[i][j].goal && !w->talks[i][j].ended && !w->talks[i][j].doomed)
                return false;
    return true;
}

static void check_ends(world *w)
{
    for (size_t i = 0; i < w->talk_count; i++)
        for (size_t j = 0; j < 2; j++) {
            side *s = &w->talks[i][j];
            if (!s->ended) wrong("it never ended");
            bool as_told = s->err == KITH_ERR_CLOSED || s->err == KITH_ERR_LOST;
            if (s->doomed ? !as_told : s->err && !s->dead)
                fail_msg("seed %llu: talk %zu side %zu ended: %s", (unsigned long long)current_seed, i, j,
                         kith_err_name(s->err));
            if (s->doomed || s->dead) continue;
            if (s->got != other_side(s)->sent || s->undelivered) wrong("a message is missing");
        }
}

static void converse(world *w, unsigned disasters, bool killing)
{
    for (unsigned step = 0; step < 60 + 200 * disasters; step++) {
        side *s = &w->talks[dice(w, w->talk_count)][dice(w, 2)];
        bool lazy = (size_t)(s - &w->talks[0][0]) % 3 == 0; /* takes seldom */
        for (uint64_t n = dice(w, 4); n && s->sent < s->goal; n--) (void)try_send(s);
        if (dice(w, lazy ? 400 : 3) == 0) take(s);
        if (dice(w, 3) == 0 && !s->ended) send_datagram(s, sizeof(datagram) + dice(w, 1000));
        if (disasters && dice(w, 150) == 0) {
            disasters--;
            disaster(w);
        }
        kith_sim_run_for(w->sim, dice(w, 40 * KITH_SIM_MS));
    }
    if (killing) kill_one(w, &w->devices[dice(w, w->device_count)]);
    if (!kith_sim_run_until(w->sim, all_sent, w, 200 * MINUTE_NS)) wrong("it does not get on");
    for (size_t i = 0; i < w->talk_count; i++) {
        side *s = &w->talks[i][dice(w, 2)];
        if (!s->ended) kith_core_finish(s->device->core, s->op);
        if (!other_side(s)->ended && dice(w, 3) == 0) kith_core_finish(other_side(s)->device->core, other_side(s)->op);
        if (dice(w, 4) == 0) close_a_session(w, s->device);
    }
    kith_sim_run_until(w->sim, all_over, w, 200 * MINUTE_NS);
    check_ends(w);
}

static uint64_t live_through(uint64_t seed)
{
    world w;
    int64_t live = kith_mem_live();
    bool killing = seed % 4 == 3;
    world_make(&w, seed, seed % 3 == 0 ? 3 : 2);
    open_all(&w, 1 + dice(&w, TALKS_MAX));
    converse(&w, seed % 4 == 0 ? 0 : 1 + (unsigned)dice(&w, 4), killing);
    uint64_t trace = kith_sim_trace(w.sim);
    world_free(&w);
    if (!killing && kith_mem_live() != live) wrong("blocks leak");
    return trace;
}

static void many_worlds(void **state)
{
    (void)state;
    const char *text = getenv("KITH_SEEDS"), *one = getenv("KITH_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : text ? strtoull(text, NULL, 10) : 250;
    for (uint64_t seed = first; seed <= last; seed++) {
        current_seed = seed;
        live_through(seed);
    }
    printf(
        "%llu worlds: %zu messages (%zu MB), %zu times lost, %zu sessions closed beneath, %zu nodes killed, %zu times "
        "held back\n",
        (unsigned long long)(last - first + 1), seen.messages, seen.bytes >> 20, seen.waits, seen.closed_beneath,
        seen.killed, seen.held_back);
    printf("%zu of %zu datagrams came\n", seen.datagrams_got, seen.datagrams);
    if (last - first >= 100) {
        assert_true(seen.waits > 100 && seen.killed > 20 && seen.held_back > 20);
        assert_true(seen.datagrams_got > seen.datagrams / 2 && seen.datagrams_got < seen.datagrams);
    }
}

/* ---- one thing at a time ---- */

static world *calm_world(size_t devices)
{
    static world w;
    kith_sim_link link = {.delay_ns = KITH_SIM_MS / 5, .mtu = 1500};
    world_make(&w, 7, devices);
    kith_sim_lan_set_link(w.lan, &link);
    return &w;
}

static void add_talk(world *w, size_t from, size_t to)
{
    w->talks[w->talk_count][0] = (side){.device = &w->devices[from]};
    w->talks[w->talk_count++][1] = (side){.device = &w->devices[to]};
}

/* Whose application takes nothing stops his own connection, at its bounds, and no other over the same session. */
static void a_stalled_one_holds_back_no_other(void **state)
{
    (void)state;
    world *w = calm_world(2);
    for (int i = 0; i < 4; i++) add_talk(w, 0, 1);
    serve(w, &w->devices[1]);
    for (size_t i = 0; i < 4; i++) open_talk(w, i);
    kith_sim_run_until(w->sim, all_connected, w, MINUTE_NS);
    for (size_t i = 0; i < 3; i++) { /* three are never taken */
        side *s = &w->talks[i][0];
        while (try_send(s)) {
        }
        assert_true(s->undelivered > 3 * KITH_UNDELIVERED_MAX / 4);
    }
    kith_sim_run_for(w->sim, 10 * KITH_SIM_S);
    for (size_t n = 0; n < 300; n++) {
        assert_true(try_send(&w->talks[3][0]));
        kith_sim_run_for(w->sim, 200 * KITH_SIM_MS);
        take(&w->talks[3][1]);
        assert_int_equal(w->talks[3][1].got, n + 1);
    }
    for (size_t i = 0; i < 3; i++) {
        side *s = &w->talks[i][1];
        assert_true(s->got < w->talks[i][0].sent && s->waiting_bytes > KITH_TALK_WINDOW / 4);
        assert_true(w->talks[i][0].connected && !w->talks[i][0].ended);
    }
    kith_core_finish(w->talks[0][0].device->core, w->talks[0][0].op); /* all goes once it is taken */
    kith_sim_run_until(w->sim, all_over, w, MINUTE_NS);
    assert_true(w->talks[0][0].ended && w->talks[0][1].ended);
    assert_ok(w->talks[0][0].err);
    assert_int_equal(w->talks[0][1].got, w->talks[0][0].sent);
    kith_core_cancel(w->talks[1][0].device->core, w->talks[1][0].op);
    kith_core_cancel(w->talks[2][1].device->core, w->talks[2][1].op);
    kith_sim_run_for(w->sim, KITH_SIM_S);
    assert_int_equal(w->talks[1][0].err, KITH_ERR_CANCELLED);
    assert_int_equal(w->talks[1][1].err, KITH_ERR_CLOSED);
    assert_int_equal(w->talks[2][0].err, KITH_ERR_CLOSED);
    assert_int_equal(w->talks[2][1].err, KITH_ERR_CANCELLED);
    world_free(w);
}

/* ---- not in step ---- */

/* Many lose the same device at the same moment, and it stays away: they do not dial it in step. */
static void a_crowd_does_not_come_back_in_step(void **state)
{
    (void)state;
    world *w = calm_world(DEVICES_MAX);
    unsigned most = 0, all = 0;
    for (size_t i = 1; i <= CROWD; i++) add_talk(w, i, 0);
    serve(w, &w->devices[0]);
    for (size_t i = 0; i < CROWD; i++) open_talk(w, i);
    kith_sim_run_until(w->sim, all_connected, w, MINUTE_NS);
    for (size_t i = 0; i < CROWD; i++) assert_true(w->talks[i][0].connected);
    kith_sim_run_for(w->sim, 10 * KITH_SIM_S);
    memset(&crowd, 0, sizeof crowd);
    crowd.counting = true;
    crowd.from_ns = kith_sim_now_ns(w->sim);
    kith_sim_kill(w->devices[0].env); /* all hear at once that nobody listens */
    graveyard[graves++ % (sizeof graveyard / sizeof *graveyard)] = w->devices[0];
    w->devices[0].core = NULL;
    kith_sim_run_for(w->sim, STEPS * STEP_NS);
    crowd.counting = false;
    for (size_t i = 0; i < STEPS; i++) {
        bool burst = i < FIRST_STEPS || (i >= LOST_STEPS && i < LOST_STEPS + FIRST_STEPS);
        all += crowd.dials[i];
        if (!burst && crowd.dials[i] > most) most = crowd.dials[i];
    }
    printf("%u dials, at most %u of %d devices in a step\n", all, most, CROWD);
    assert_true(all >= 3 * CROWD);
    assert_true(most <= CROWD / 2);
    world_free(w);
}

static kith_err how_connecting_ends(world *w, uint64_t patience_ns)
{
    open_talk(w, 0);
    kith_sim_run_until(w->sim, all_connected, w, patience_ns);
    if (w->talks[0][0].connected) return KITH_OK;
    assert_true(w->talks[0][0].ended);
    return w->talks[0][0].err;
}

static void who_may(void **state)
{
    (void)state;
    world *w = calm_world(3);
    add_talk(w, 0, 1);
    device *d = &w->devices[1];
    kith_serve_options options = {.size = sizeof options}, contacts = {.size = sizeof contacts, .contacts = true};
    kith_core_serve(d->core, ++d->last_op, "another topic", &options); /* so that it is found */
    assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_ERR_NOT_ALLOWED);
    know(d, &w->devices[0], KITH_PEER_CONTACT);
    kith_op serving = ++d->last_op;
    kith_core_serve(d->core, serving, "0", &options);
    assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_ERR_NOT_ALLOWED);
    kith_core_cancel(d->core, serving);
    kith_core_serve(d->core, ++d->last_op, "0", &contacts);
    assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_OK);
    kith_core_cancel(d->core, d->last_op); /* those taken go on */
    assert_true(try_send(&w->talks[0][0]));
    kith_sim_run_for(w->sim, KITH_SIM_S);
    assert_int_equal(w->talks[0][1].got, 1);
    assert_ok(kith_sim_partition(w->devices[0].host, w->devices[1].host, true)); /* nobody there at all */
    w->talks[0][0].connected = false;
    assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_ERR_UNREACHABLE);
    world_free(w);
}

/* What is lost is kept for its time, and then ends on the side that kept it; who comes back later is told. */
static void what_is_lost_is_kept_for_a_while(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        world *w = calm_world(2);
        add_talk(w, 0, 1);
        serve(w, &w->devices[1]);
        assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_OK);
        assert_ok(kith_sim_partition(w->devices[0].host, w->devices[1].host, true));
        kith_sim_run_for(w->sim, KITH_CONNECTION_KEPT_S * KITH_SIM_S - MINUTE_NS + (uint64_t)late * 2 * MINUTE_NS);
        assert_int_equal(w->talks[0][1].ended, late);
        assert_false(w->talks[0][0].ended || w->talks[0][0].connected);
        assert_true(try_send(&w->talks[0][0]));
        assert_ok(kith_sim_partition(w->devices[0].host, w->devices[1].host, false));
        kith_sim_run_for(w->sim, MINUTE_NS);
        assert_int_equal(w->talks[0][0].ended, late);
        assert_int_equal(w->talks[0][1].got, !late);
        if (late) assert_int_equal(w->talks[0][1].err, KITH_ERR_LOST);
        if (late) assert_int_equal(w->talks[0][0].err, KITH_ERR_CLOSED);
        world_free(w);
    }
}

/* A way that is cut without a word is noticed by bytes that are not acknowledged, long before the session idles out. */
static void silence_is_noticed_by_data(void **state)
{
    (void)state;
    world *w = calm_world(2);
    add_talk(w, 0, 1);
    serve(w, &w->devices[1]);
    assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_OK);
    kith_sim_run_for(w->sim, 5 * KITH_SIM_S);
    assert_ok(kith_sim_partition(w->devices[0].host, w->devices[1].host, true));
    assert_true(try_send(&w->talks[0][0]));
    kith_sim_run_for(w->sim, 2 * TALK_SILENT_NS);
    assert_false(w->talks[0][0].connected);
    assert_true(w->talks[0][1].connected); /* who says nothing may wait */
    assert_ok(kith_sim_partition(w->devices[0].host, w->devices[1].host, false));
    kith_sim_run_for(w->sim, MINUTE_NS);
    assert_int_equal(w->talks[0][1].got, 1);
    world_free(w);
}

/* What is lost goes over the session that is left; when that is dead as well it waits as any other, and is not held to
 * how long its first dial would have waited. */
static void what_loses_both_sessions_is_kept(void **state)
{
    (void)state;
    world *w = calm_world(2);
    device *d = &w->devices[0];
    add_talk(w, 0, 1);
    serve(w, &w->devices[1]);
    const kith_send_options options = {.size = sizeof options};
    const kith_receive_options in = {.size = sizeof in, .folder = "/in"};
    static uint8_t data[2 << 20]; /* so much goes over TCP */
    char id[KITH_UUID_TEXT_SIZE];
    kith_core_receive(w->devices[1].core, ++w->devices[1].last_op, &in);
    assert_ok(kith_sim_put_file(d->host, "/file", data, sizeof data, 0600));
    kith_core_send_file(d->core, ++d->last_op, kith_uuid_text(w->devices[1].self.device.id, id), "/file", &options);
    kith_sim_run_for(w->sim, 5 * KITH_SIM_S);
    assert_int_equal(how_connecting_ends(w, MINUTE_NS), KITH_OK);
    assert_ok(kith_sim_partition(d->host, w->devices[1].host, true));
    assert_true(try_send(&w->talks[0][0]));
    kith_sim_run_for(w->sim, MINUTE_NS);
    assert_false(w->talks[0][0].ended || w->talks[0][0].connected);
    assert_ok(kith_sim_partition(d->host, w->devices[1].host, false));
    kith_sim_run_for(w->sim, MINUTE_NS);
    assert_int_equal(w->talks[0][1].got, 1);
    world_free(w);
}

/* A device that opens more than its share. */
static void one_device_has_its_bounds(void **state)
{
    (void)state;
    world *w = calm_world(2);
    add_talk(w, 0, 1);
    serve(w, &w->devices[1]);
    device *d = &w->devices[0];
    kith_connect_options options = {.size = sizeof options, .topic = "0", .patience_s = 5};
    char id[KITH_UUID_TEXT_SIZE];
    size_t ends = 0;
    kith_uuid_text(w->devices[1].self.device.id, id);
    for (size_t i = 0; i < TALKS_DEVICE_MAX + 3; i++) {
        w->talks[0][1].op = 0; /* another one each time */
        w->talks[0][0] = (side){.device = d, .op = ++d->last_op};
        kith_core_connect(d->core, d->last_op, id, &options);
        kith_sim_run_for(w->sim, 10 * KITH_SIM_S);
        ends += w->talks[0][0].ended;
        if (w->talks[0][0].ended) assert_int_equal(w->talks[0][0].err, KITH_ERR_UNREACHABLE);
        assert_true(w->talks[0][0].ended || w->talks[0][0].connected);
    }
    assert_int_equal(ends, 3);
    world_free(w);
}

static void the_same_seed_is_the_same_run(void **state)
{
    (void)state;
    for (current_seed = 1; current_seed <= 6; current_seed++) {
        uint64_t first = live_through(current_seed);
        assert_true(first == live_through(current_seed));
    }
}

/* As in test_node.c. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_worlds),
        TEST(the_same_seed_is_the_same_run),
        TEST(a_stalled_one_holds_back_no_other),
        TEST(who_may),
        TEST(what_is_lost_is_kept_for_a_while),
        TEST(silence_is_noticed_by_data),
        TEST(what_loses_both_sessions_is_kept),
        TEST(one_device_has_its_bounds),
        TEST(a_crowd_does_not_come_back_in_step),
    };
    return cmocka_run_group_tests_name("sim/node_talk", tests, NULL, NULL);
}
