/* Devices that move in the middle of a transfer: the same session goes on.  Whole nodes in virtual time. */
#include "hostile_world.h"

#define A     "192.168.1.10"
#define B     "192.168.1.11"
#define SIZE  (24u << 20)
#define STALL (2 * KITH_SIM_S) /* bytes flow again within this, of a usable network */

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *home, *cafe;
    victim a, b; /* a sends to b */
    int64_t live;
    uint64_t last_bytes, last_ns, longest_ns;
} world;

static uint8_t content[SIZE];

static void make_host(world *w, victim *v, const char *name, const char *addr)
{
    v->sim = w->sim;
    assert_ok(kith_sim_host_new(w->sim, name, &v->host));
    assert_ok(kith_sim_attach(v->host, w->home, addr));
    victim_home(v, name);
}

/* Two networks, and a way between them.  8 MB/s, so that the file takes three seconds. */
static void world_make(world *w, uint64_t seed)
{
    kith_sim_link link = {.delay_ns = 2 * KITH_SIM_MS, .jitter_ns = KITH_SIM_MS, .rate = 8000000, .queue = 100000};
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "home", &w->home));
    assert_ok(kith_sim_lan_new(w->sim, "cafe", &w->cafe));
    link.mtu = 1500;
    kith_sim_lan_set_link(w->home, &link);
    kith_sim_lan_set_link(w->cafe, &link);
    link.rate = 0;
    link.delay_ns = 5 * KITH_SIM_MS;
    assert_ok(kith_sim_route(w->home, w->cafe, &link));
    make_host(w, &w->a, "a", A);
    make_host(w, &w->b, "b", B);
    know(&w->a, &w->b);
    know(&w->b, &w->a);
    victim_open(&w->a);
    victim_open(&w->b);
    assert_ok(kith_sim_put_file(w->a.host, "/film", content, SIZE, 0644));
}

static void world_free(world *w)
{
    victim_close(&w->a);
    victim_close(&w->b);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static bool flows(void *user)
{
    const kith_event *e = last_event(user, KITH_EVENT_PROGRESS);
    return e && e->bytes > SIZE / 10;
}

static void begin(world *w, kith_path path)
{
    kith_receive_options in = {.size = sizeof in, .folder = "/in", .conflict = KITH_CONFLICT_KEEP};
    kith_send_options out = {.size = sizeof out, .path = path};
    char id[KITH_UUID_TEXT_SIZE];
    kith_core_receive(w->b.core, ++w->b.last_op, &in);
    kith_core_send_file(w->a.core, ++w->a.last_op, kith_uuid_text(w->b.self.device.id, id), "/film", &out);
    if (!kith_sim_run_until(w->sim, flows, &w->a, 20 * KITH_SIM_S)) fail_msg("it does not begin");
    w->last_ns = kith_sim_now_ns(w->sim);
}

static bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }

/* Until it is through; the longest time without progress. */
static void finish(world *w)
{
    for (int i = 0; !ended(&w->a); i++) {
        const kith_event *e = last_event(&w->a, KITH_EVENT_PROGRESS);
        uint64_t now = kith_sim_now_ns(w->sim);
        if (e->bytes != w->last_bytes) w->last_ns = now;
        w->last_bytes = e->bytes;
        if (now - w->last_ns > w->longest_ns) w->longest_ns = now - w->last_ns;
        kith_sim_run_for(w->sim, 20 * KITH_SIM_MS);
        assert_true(i < 60 * 50);
    }
    assert_ok(last_event(&w->a, KITH_EVENT_END)->err);
    uint8_t *data;
    size_t size;
    assert_ok(kith_sim_get_file(w->b.host, "/in/film", &data, &size));
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, content, size);
    kith_free(data);
}

static void assert_same_session(world *w)
{
    assert_int_equal(count_events(&w->a, KITH_EVENT_CONNECTED), 1);
    assert_int_equal(count_events(&w->a, KITH_EVENT_WAITING), 0);
    if (w->longest_ns > STALL) fail_msg("nothing came for %.2f s", (double)w->longest_ns / 1e9);
}

/* ---- */

/* KITH_SEEDS (default 1,000): a hundredth of it, at least three. */
static uint64_t seeds(void)
{
    uint64_t n = (getenv("KITH_SEEDS") ? strtoull(getenv("KITH_SEEDS"), NULL, 10) : 1000) / 100;
    return n < 3 ? 3 : n;
}

static void story(void (*happens)(world *w))
{
    for (uint64_t seed = 1; seed <= seeds(); seed++) {
        static world w;
        world_make(&w, seed);
        begin(&w, KITH_PATH_UDP);
        happens(&w);
        finish(&w);
        assert_same_session(&w);
        world_free(&w);
    }
}

static void sender_moves(world *w) { assert_ok(kith_sim_change_addr(w->a.host, A, "192.168.1.50")); }
static void receiver_moves(world *w) { assert_ok(kith_sim_change_addr(w->b.host, B, "192.168.1.51")); }
static void both_move(world *w) { sender_moves(w), receiver_moves(w); }

static void moves_to_the_cafe(world *w, victim *v, const char *addr)
{
    kith_sim_detach(v->host, w->home);
    kith_sim_run_for(w->sim, 300 * KITH_SIM_MS); /* between the networks */
    assert_ok(kith_sim_attach(v->host, w->cafe, addr));
}
static void sender_goes_out(world *w) { moves_to_the_cafe(w, &w->a, "198.51.100.5"); }
static void receiver_goes_out(world *w) { moves_to_the_cafe(w, &w->b, "198.51.100.6"); }
static void both_to_the_cafe(world *w)
{
    kith_sim_detach(w->a.host, w->home);
    moves_to_the_cafe(w, &w->b, "198.51.100.6");
    assert_ok(kith_sim_attach(w->a.host, w->cafe, "198.51.100.5"));
}

/* The receiver has a second way, and the first one goes without a word. */
static void one_of_two_dies(world *w)
{
    const kith_sim_link dead = {.loss = 1};
    assert_ok(kith_sim_attach(w->b.host, w->cafe, "198.51.100.6"));
    kith_sim_run_for(w->sim, KITH_SIM_S);
    kith_sim_lan_set_link(w->home, &dead);
    assert_ok(kith_sim_attach(w->a.host, w->cafe, "198.51.100.5"));
}

static void the_sender_moves(void **state) { (void)state, story(sender_moves); }
static void the_receiver_moves(void **state) { (void)state, story(receiver_moves); }
static void both_move_at_once(void **state) { (void)state, story(both_move); }
static void the_sender_goes_to_another_network(void **state) { (void)state, story(sender_goes_out); }
static void the_receiver_goes_to_another_network(void **state) { (void)state, story(receiver_goes_out); }
static void both_go_to_another_network(void **state) { (void)state, story(both_to_the_cafe); }
static void a_way_that_dies_silently(void **state) { (void)state, story(one_of_two_dies); }

/* Of a network with no word of its going: what was under way goes on when it is back. */
static void a_cable_out_for_five_seconds(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 3);
    begin(&w, KITH_PATH_UDP);
    assert_ok(kith_sim_partition(w.a.host, w.b.host, true));
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_ok(kith_sim_partition(w.a.host, w.b.host, false));
    w.last_ns = kith_sim_now_ns(w.sim);
    finish(&w);
    assert_same_session(&w);
    world_free(&w);
}

/* Over TCP a session cannot move; the transfer goes on over another one, as soon as the address is gone. */
static void over_tcp_the_transfer_goes_on(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= seeds(); seed++) {
        static world w;
        world_make(&w, seed);
        begin(&w, KITH_PATH_ANY);
        if (seed % 2)
            sender_moves(&w);
        else
            receiver_moves(&w);
        finish(&w);
        assert_in_range(count_events(&w.a, KITH_EVENT_CONNECTED), 1, 3);
        if (w.longest_ns > 2 * STALL) fail_msg("nothing came for %.2f s", (double)w.longest_ns / 1e9);
        world_free(&w);
    }
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    for (size_t i = 0; i < SIZE; i += 61) content[i] = (uint8_t)(i >> 7);
    const struct CMUnitTest tests[] = {
        TEST(the_sender_moves),
        TEST(the_receiver_moves),
        TEST(both_move_at_once),
        TEST(the_sender_goes_to_another_network),
        TEST(the_receiver_goes_to_another_network),
        TEST(both_go_to_another_network),
        TEST(a_way_that_dies_silently),
        TEST(a_cable_out_for_five_seconds),
        TEST(over_tcp_the_transfer_goes_on),
    };
    return cmocka_run_group_tests_name("sim/roam", tests, NULL, NULL);
}
