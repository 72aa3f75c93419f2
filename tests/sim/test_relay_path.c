/* Two clients and the relay's hub in virtual time: packets over it, by WebSocket and by UDP; a hub that falls and one
 * that says so before. */
#include "identity/fingerprint.h"
#include "relay_env.h"
#include "relay_station.h"
#include "testlib.h"

#define PACKET 1200

/* ---- two clients ---- */

typedef struct device {
    relay_env relay;
    uint8_t id[16], fingerprint[32];
    kith_env *env;
    unsigned registered, lost, incoming, gone, udp_on, udp_off;
    uint32_t session;
    size_t packets, bytes;
    uint8_t last[PACKET];
} device;

static kith_sim *sim;
static kith_sim_host *hosts[3]; /* the relay's, and the devices' */
static device a, b;

static void on_event(void *user, const kith_relay_event *event)
{
    device *d = user;
    d->registered += event->kind == KITH_RELAY_EVENT_REGISTERED;
    d->lost += event->kind == KITH_RELAY_EVENT_LOST;
    d->gone += event->kind == KITH_RELAY_EVENT_GONE;
    if (event->kind == KITH_RELAY_EVENT_UDP) (*(event->on ? &d->udp_on : &d->udp_off))++;
    if (event->kind != KITH_RELAY_EVENT_INCOMING) return;
    d->incoming++;
    d->session = event->session;
    assert_memory_equal(event->from, (d == &a ? &b : &a)->fingerprint, 32);
    d->packets += event->offer.data ? 1 : 0;
    d->bytes += event->offer.size;
}

static void on_packets(void *user, const kith_relay_data *data)
{
    device *d = user;
    assert_int_equal(data->session, d->session);
    d->packets += (data->size + data->segment - 1) / data->segment;
    d->bytes += data->size;
    memcpy(d->last, data->data, data->size < PACKET ? data->size : PACKET);
}

static void device_start(device *d, kith_sim_host *host, uint8_t name, bool with_udp)
{
    uint8_t public_key[32];
    memset(d, 0, sizeof *d);
    memset(d->id, name, sizeof d->id);
    assert_ok(kith_sim_env_new(host, &d->env));
    d->relay.event = on_event;
    d->relay.packets = on_packets;
    d->relay.user = d;
    assert_ok(relay_env_open(&d->relay, d->env, "wss://relay.example/", d->id, with_udp));
    kith_ed25519_public(d->relay.seed, public_key);
    kith_fingerprint(d->id, public_key, d->fingerprint);
}

static void run_s(uint64_t seconds) { kith_sim_run_for(sim, seconds * KITH_SIM_S); }

static void world(uint64_t seed, bool a_udp, bool b_udp)
{
    static const char *const addrs[] = {"203.0.113.1", "198.51.100.1", "198.51.100.2"};
    kith_sim_lan *lan;
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &sim));
    assert_ok(kith_sim_lan_new(sim, "net", &lan));
    kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS, .jitter_ns = KITH_SIM_MS};
    kith_sim_lan_set_link(lan, &link);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(kith_sim_host_new(sim, addrs[i], &hosts[i]));
        assert_ok(kith_sim_attach(hosts[i], lan, addrs[i]));
    }
    for (size_t i = 1; i < 3; i++) assert_ok(kith_sim_pair_link(hosts[0], hosts[i], &link));
    assert_ok(kith_sim_name(sim, "relay.example", addrs[0]));
    station_start(hosts[0]);
    device_start(&a, hosts[1], 0xa1, a_udp);
    device_start(&b, hosts[2], 0xb2, b_udp);
    run_s(5);
    assert_int_equal(a.registered, 1);
    assert_int_equal(b.registered, 1);
}

static void end_world(void)
{
    relay_env_close(&a.relay);
    relay_env_close(&b.relay);
    station_free();
    kith_sim_free(sim);
}

static void meet(void)
{
    uint8_t offer[PACKET] = {1};
    kith_packet first = {.data = offer, .size = sizeof offer, .segment = sizeof offer};
    assert_ok(kith_relay_client_connect(a.relay.client, b.fingerprint, NULL, NULL, 0, &first, &a.session));
    relay_env_flush(&a.relay);
    run_s(1);
}

/* `count` packets in one run. */
static void send_run(device *from, size_t count)
{
    static uint8_t data[64 * PACKET];
    memset(data, 0x5a, sizeof data);
    kith_packet run = {.data = data, .size = count * PACKET, .segment = PACKET};
    assert_ok(relay_env_send(&from->relay, from->session, run));
}

static void packets_go_both_ways(bool a_udp, bool b_udp)
{
    world(1, a_udp, b_udp);
    assert_int_equal(a.udp_on, a_udp);
    assert_int_equal(b.udp_on, b_udp);
    meet();
    assert_int_equal(b.incoming, 1);
    assert_int_equal(b.bytes, PACKET);
    uint64_t before = kith_hub_stats_of(hub.hub)->udp_received_packets;
    for (int i = 0; i < 20; i++) {
        send_run(&a, 10);
        send_run(&b, 7);
        kith_sim_run_for(sim, 10 * KITH_SIM_MS);
    }
    run_s(1);
    assert_int_equal(b.packets, 1 + 20 * 10);
    assert_int_equal(a.packets, 20 * 7);
    assert_int_equal(a.last[0], 0x5a);
    uint64_t datagrams = kith_hub_stats_of(hub.hub)->udp_received_packets - before;
    assert_in_range(datagrams, (a_udp ? 200 : 0) + (b_udp ? 140 : 0), (a_udp ? 210 : 0) + (b_udp ? 150 : 0));
    kith_relay_client_end(a.relay.client, a.session, false);
    relay_env_flush(&a.relay);
    run_s(1);
    assert_int_equal(b.gone, 1);
    uint64_t rtt = kith_relay_client_rtt_ns(a.relay.client);
    assert_in_range(rtt, 20 * KITH_SIM_MS, 23 * KITH_SIM_MS);
    end_world();
}

static void over_websockets(void **state)
{
    (void)state;
    packets_go_both_ways(false, false);
}
static void over_udp(void **state)
{
    (void)state;
    packets_go_both_ways(true, true);
}
static void over_one_of_each(void **state)
{
    (void)state;
    packets_go_both_ways(true, false);
}

static void nobody_there(void **state)
{
    (void)state;
    world(2, false, false);
    b.fingerprint[0] ^= 1;
    meet();
    run_s(3);
    assert_int_equal(a.gone, 1);
    assert_int_equal(b.incoming, 0);
    end_world();
}

static void idle_clients_stay(void **state)
{
    (void)state;
    world(3, true, false);
    run_s(3600);
    assert_int_equal(a.lost + b.lost + a.udp_off, 0);
    end_world();
}

/* UDP is blocked in the middle: packets find their way again. */
static void udp_that_is_blocked(void **state)
{
    (void)state;
    world(4, true, true);
    meet();
    kith_udp *socket = a.relay.udp; /* what it sends is lost from now on, and so is what comes */
    a.env->udp->close(socket);
    a.relay.udp = NULL;
    run_s(30);
    assert_int_equal(a.udp_off, 1);
    size_t before = b.packets;
    send_run(&a, 10);
    run_s(1);
    assert_int_equal(b.packets, before + 10);
    run_s(60); /* the relay has noticed, too */
    before = a.packets;
    send_run(&b, 10);
    run_s(1);
    assert_int_equal(a.packets, before + 10);
    end_world();
}

static void a_relay_that_falls(void **state)
{
    (void)state;
    world(5, true, true);
    meet();
    station_kill();
    run_s(3);
    assert_int_equal(a.lost, 1);
    station_start(hosts[0]);
    run_s(60);
    assert_true(a.registered >= 2 && b.registered >= 2);
    meet();
    assert_int_equal(b.incoming, 2);
    end_world();
}

/* Nobody comes back before it has ended and is there again. */
static void a_relay_that_says_so_before(void **state)
{
    (void)state;
    for (uint64_t seed = 6; seed < 16; seed++) {
        kith_relay_settings settings;
        kith_relay_settings_default(&settings);
        world(seed, false, false);
        meet();
        kith_hub_drain(hub.hub, station_now(&hub));
        station_flush(&hub);
        run_s(1);
        size_t before = b.packets;
        send_run(&a, 10); /* sessions go on for the moment */
        run_s(1);
        assert_int_equal(b.packets, before + 10);
        run_s(settings.drain_ms / 1000 - 2);
        station_kill();
        station_start(hosts[0]);
        run_s(25);
        assert_int_equal(a.registered, 2);
        assert_int_equal(b.registered, 2);
        assert_int_equal(a.lost, 1); /* at the first try */
        assert_int_equal(b.lost, 1);
        end_world();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(over_websockets),    TEST(over_udp),
        TEST(over_one_of_each),   TEST(nobody_there),
        TEST(idle_clients_stay),  TEST(udp_that_is_blocked),
        TEST(a_relay_that_falls), TEST(a_relay_that_says_so_before),
    };
    return cmocka_run_group_tests_name("sim/relay_path", tests, NULL, NULL);
}
