/* What the doctor's tests share: a device, perhaps behind a NAT, a relay, and a STUN server that is nothing else. */
#ifndef KITH_TEST_DOCTOR_WORLD_H
#define KITH_TEST_DOCTOR_WORLD_H

#include "hostile_world.h"
#include "path/relays.h"
#include "relay_station.h"
#include "wire/stun.h"

#define RELAY  "wss://relay.example/"
#define STUN_A "203.0.113.2"
#define STUN_B "203.0.113.3"

/* ---- a STUN server, and nothing else: it has two addresses, and two ports ---- */

typedef struct stun {
    kith_env *env;
    kith_udp *udp[2];
    bool lies; /* with another transaction id first */
    size_t asked;
} stun;

static stun server;

static inline void stun_answer(void *user, const kith_packet *packets, size_t count)
{
    kith_udp *udp = *(kith_udp **)user;
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < packets[i].size; at += packets[i].segment) {
            uint8_t out[KITH_STUN_ANSWER_MAX];
            kith_stun_message m;
            size_t left = packets[i].size - at, size = left < packets[i].segment ? left : packets[i].segment;
            assert_ok(kith_stun_read(packets[i].data + at, size, &m));
            kith_packet answer = {.local = packets[i].local, .remote = packets[i].remote, .data = out};
            kith_addr seen = packets[i].remote;
            server.asked++;
            if (server.lies) {
                seen.ip[0] ^= 1;
                answer.size = answer.segment = kith_stun_answer(&m, &seen, out);
                out[9] ^= 1;
                (void)!server.env->udp->send(udp, &answer);
                seen.ip[0] ^= 1;
            }
            answer.size = answer.segment = kith_stun_answer(&m, &seen, out);
            (void)!server.env->udp->send(udp, &answer);
        }
}

static inline void stun_writable(void *user) { (void)user; }

static inline void stun_start(kith_sim *sim, kith_sim_lan *net)
{
    static const kith_udp_events events = {stun_answer, stun_writable};
    kith_sim_host *host;
    server = (stun){0};
    assert_ok(kith_sim_host_new(sim, "stun", &host));
    assert_ok(kith_sim_attach(host, net, STUN_A));
    assert_ok(kith_sim_attach(host, net, STUN_B));
    assert_ok(kith_sim_attach(host, net, "2001:db8::2"));
    assert_ok(kith_sim_env_new(host, &server.env));
    for (uint16_t i = 0; i < 2; i++) {
        kith_addr at = {.family = KITH_FAMILY_IPV6, .port = (uint16_t)(3478 + i)};
        assert_ok(server.env->udp->open(server.env, &at, &events, &server.udp[i], &server.udp[i]));
    }
}

/* ---- the world ---- */

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *net, *home;
    kith_sim_host *relay;
    kith_sim_nat *nat; /* NULL: the device is on the internet itself */
    victim v;
    kith_core_config config;
    const char *relays[KITH_RELAYS_MAX];
    int64_t live;
} world;

static inline void world_make(world *w, uint64_t seed, const kith_sim_nat_config *nat)
{
    const kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS, .mtu = 1500};
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "net", &w->net));
    kith_sim_lan_set_link(w->net, &link);
    assert_ok(kith_sim_host_new(w->sim, "relay", &w->relay));
    assert_ok(kith_sim_attach(w->relay, w->net, "203.0.113.1"));
    assert_ok(kith_sim_name(w->sim, "relay.example", "203.0.113.1"));
    station_start(w->relay);
    kith_hub_set_clock(hub.hub, KITH_SIM_START_WALL_MS, station_now(&hub));
    stun_start(w->sim, w->net);
    w->v.sim = w->sim;
    assert_ok(kith_sim_host_new(w->sim, "a", &w->v.host));
    w->home = w->net;
    if (nat) {
        assert_ok(kith_sim_lan_new(w->sim, "home", &w->home));
        assert_ok(kith_sim_nat_new(w->sim, w->home, w->net, "203.0.113.10", nat, &w->nat));
    }
    assert_ok(kith_sim_attach(w->v.host, w->home, nat ? "192.168.1.10" : "203.0.113.10"));
    victim_home(&w->v, "a");
    w->relays[0] = RELAY;
    w->config = (kith_core_config){.env = w->v.env,
                                   .home = w->v.home,
                                   .seed = w->v.seed,
                                   .emit = victim_event,
                                   .emit_user = &w->v,
                                   .relays = w->relays,
                                   .relay_count = 1,
                                   .log = victim_log,
                                   .log_user = &w->v,
                                   .log_level = KITH_LOG_DEBUG};
}

static inline void world_free(world *w)
{
    if (w->v.core) victim_close(&w->v);
    if (hub.hub) station_kill();
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static inline bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }

static inline void begin(world *w, const char *const *servers)
{
    kith_problem problem = {0};
    kith_doctor_options options = {.size = sizeof options, .stun = servers};
    while (servers && servers[options.stun_count]) options.stun_count++;
    if (!w->v.core && kith_core_new(&w->config, &w->v.core, &problem)) fail_msg("%s", problem.message);
    w->v.count = 0;
    kith_core_doctor(w->v.core, ++w->v.last_op, &options);
}

/* How long it took, in virtual seconds. */
static inline double examine(world *w, const char *const *servers)
{
    uint64_t start = kith_sim_now_ns(w->sim);
    begin(w, servers);
    if (!kith_sim_run_until(w->sim, ended, &w->v, 60 * KITH_SIM_S)) fail_msg("it does not end");
    assert_ok(last_event(&w->v, KITH_EVENT_END)->err);
    for (size_t i = 0; i < w->v.count && getenv("KITH_SHOW"); i++) {
        const kith_event *e = &w->v.events[i];
        if (e->kind == KITH_EVENT_FINDING)
            printf("  %d %-10s [%s] %s\n     -> %s\n", e->state, e->check, e->result, e->message, e->cure);
    }
    return (double)(kith_sim_now_ns(w->sim) - start) / 1e9;
}

static inline const kith_event *find(const world *w, const char *check)
{
    for (size_t i = 0; i < w->v.count; i++)
        if (w->v.events[i].kind == KITH_EVENT_FINDING && strcmp(w->v.events[i].check, check) == 0)
            return &w->v.events[i];
    return NULL;
}

/* The one finding of this check; each that is not good has a cause and a cure. */
static inline const kith_event *expect(const world *w, const char *check, kith_finding state, const char *result)
{
    const kith_event *e = find(w, check);
    if (!e) fail_msg("nothing is said of %s", check);
    if (e->state != state || strcmp(e->result, result) != 0)
        fail_msg("%s: %d \"%s\", not %d \"%s\": %s", check, e->state, e->result, state, result, e->message);
    if (!*e->message || (state != KITH_FINDING_GOOD && !*e->cure)) fail_msg("%s: no cause, or no cure", check);
    return e;
}

static inline void expect_no_more_bad(const world *w, size_t known)
{
    size_t n = 0;
    for (size_t i = 0; i < w->v.count; i++) {
        const kith_event *e = &w->v.events[i];
        n += e->kind == KITH_EVENT_FINDING && e->state == KITH_FINDING_BAD;
    }
    if (n != known) fail_msg("%zu findings are bad, not %zu", n, known);
}

static const char *const two_servers[] = {STUN_A, STUN_B ":3478", NULL};
static const char *const three_servers[] = {STUN_A, STUN_A ":3479", STUN_B ":3478", NULL};

#endif
