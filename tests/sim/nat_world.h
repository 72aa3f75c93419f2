/* Two devices, each at home behind a NAT of some kind or none, and a relay between them.  Whole nodes and the relay's
 * own hub, in virtual time. */
#ifndef KITH_TEST_NAT_WORLD_H
#define KITH_TEST_NAT_WORLD_H

#include "hostile_world.h"
#include "relay_station.h"

#define SIZE    (3u << 20)
#define BIG     (12u << 20)
#define RELAYED KITH_SIM_S /* a direct way is found within this where there is one */

static uint8_t content[BIG];

/* NO_UDP: nothing but TCP to port 443 goes out; TCP_ONLY: any TCP does. */
typedef enum kind { OPEN, FULL_CONE, ADDRESS, PORT, SYMMETRIC, NO_UDP, KINDS, TCP_ONLY } kind;

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *net, *homes[2];
    kith_sim_nat *nats[2];
    kith_sim_host *relay;
    victim v[2]; /* the first sends to the second */
    size_t size; /* of the file */
    int64_t live;
} world;

static inline kith_sim_nat_config nat_of(kind k)
{
    kith_sim_nat_config config = k == FULL_CONE   ? KITH_SIM_NAT_FULL_CONE
                                 : k == ADDRESS   ? KITH_SIM_NAT_ADDRESS_RESTRICTED
                                 : k == SYMMETRIC ? KITH_SIM_NAT_SYMMETRIC
                                                  : KITH_SIM_NAT_PORT_RESTRICTED;
    config.udp_blocked = k == NO_UDP || k == TCP_ONLY;
    config.tcp_blocked = k == NO_UDP;
    config.tcp_ports[0] = 443;
    return config;
}

static inline void make_home(world *w, int i, kind k)
{
    static const char *const outside[] = {"203.0.113.10", "203.0.113.20"}, *const names[] = {"a", "b"};
    victim *v = &w->v[i];
    v->sim = w->sim;
    v->relay = "wss://relay.example/";
    assert_ok(kith_sim_host_new(w->sim, names[i], &v->host));
    if (k == OPEN) {
        assert_ok(kith_sim_attach(v->host, w->net, outside[i]));
    } else {
        kith_sim_nat_config config = nat_of(k);
        assert_ok(kith_sim_lan_new(w->sim, i ? "home of b" : "home of a", &w->homes[i]));
        assert_ok(kith_sim_attach(v->host, w->homes[i], "192.168.1.10")); /* both: as homes are */
        assert_ok(kith_sim_nat_new(w->sim, w->homes[i], w->net, outside[i], &config, &w->nats[i]));
    }
    victim_home(v, names[i]);
}

static inline void put_file(world *w, size_t size)
{
    w->size = size;
    assert_ok(kith_sim_put_file(w->v[0].host, "/file", content, size, 0644));
}

static inline void world_make(world *w, uint64_t seed, kind a, kind b)
{
    const kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS, .jitter_ns = KITH_SIM_MS, .mtu = 1500};
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "net", &w->net));
    kith_sim_lan_set_link(w->net, &link);
    kith_sim_lan_set_discovery(w->net, 0, 1); /* nobody hears announcements on the internet */
    assert_ok(kith_sim_host_new(w->sim, "relay", &w->relay));
    assert_ok(kith_sim_attach(w->relay, w->net, "203.0.113.1"));
    assert_ok(kith_sim_name(w->sim, "relay.example", "203.0.113.1"));
    station_start(w->relay);
    make_home(w, 0, a);
    make_home(w, 1, b);
    put_file(w, SIZE);
}

static inline void open_both(world *w)
{
    for (int i = 0; i < 2; i++) know(&w->v[i], &w->v[!i]);
    for (int i = 0; i < 2; i++) victim_open(&w->v[i]);
}

static inline void world_free(world *w)
{
    for (int i = 0; i < 2; i++)
        if (w->v[i].core) victim_close(&w->v[i]);
    kith_sim_kill(hub.env);
    station_free();
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static inline void receive(world *w)
{
    kith_receive_options options = {.size = sizeof options, .folder = "/in", .conflict = KITH_CONFLICT_KEEP};
    kith_core_receive(w->v[1].core, ++w->v[1].last_op, &options);
    kith_sim_run_for(w->sim, 2 * KITH_SIM_S);
}

static inline void send(world *w, kith_path path)
{
    kith_send_options options = {.size = sizeof options, .path = path};
    char id[KITH_UUID_TEXT_SIZE];
    kith_core_send_file(w->v[0].core, ++w->v[0].last_op, kith_uuid_text(w->v[1].self.device.id, id), "/file", &options);
}

static inline bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }

static inline void check_arrived(world *w)
{
    uint8_t *data;
    size_t size;
    if (!kith_sim_run_until(w->sim, ended, &w->v[0], 120 * KITH_SIM_S)) fail_msg("it does not end");
    const kith_event *end = last_event(&w->v[0], KITH_EVENT_END);
    if (end->err) fail_msg("%s", end->message);
    assert_ok(kith_sim_get_file(w->v[1].host, "/in/file", &data, &size));
    assert_int_equal(size, w->size);
    assert_memory_equal(data, content, size);
    kith_free(data);
}

/* ---- */

static const kith_event *pong(world *w, uint32_t count)
{
    char id[KITH_UUID_TEXT_SIZE];
    w->v[0].count = 0;
    kith_core_ping(w->v[0].core, ++w->v[0].last_op, kith_uuid_text(w->v[1].self.device.id, id), count);
    if (!kith_sim_run_until(w->sim, ended, &w->v[0], 60 * KITH_SIM_S)) fail_msg("no answer");
    assert_ok(last_event(&w->v[0], KITH_EVENT_END)->err);
    return last_event(&w->v[0], KITH_EVENT_PONG);
}

#endif
