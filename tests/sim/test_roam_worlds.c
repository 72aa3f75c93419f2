/* Random worlds for devices that move: homes behind NATs of any kind, a relay that is killed and started anew, moves
 * from home to home, addresses that change, ways that are cut and lose, in the middle of a file (sent by who dialled,
 * or by who was dialled) or of a connection on which both talk.  Whatever happens, every byte arrives once, and soon
 * after the world is whole again.  KITH_SEEDS / 4 says how many worlds (default 60); KITH_SEED runs one. */
#include "hostile_world.h"
#include "relay_station.h"
#include "service/talk.h"

#define HOMES      4
#define KINDS      5
#define DEVICES    2
#define SIZE       (8u << 20)
#define MESSAGES   400 /* each way */
#define OUTAGE_MAX (6 * KITH_SIM_S)
/* From a whole world to the end of it all.  What takes long is a relay that was away: clients come back to it spread
 * over 10 s. */
#define WHOLE_NS (80 * KITH_SIM_S)

typedef enum story { DIALLER_SENDS, DIALLED_SENDS, BOTH_TALK, STORIES } story;

typedef struct side { /* of a talk */
    kith_op op;
    unsigned sent, got;
    size_t undelivered;
} side;

typedef struct world {
    uint64_t seed;
    kith_sim *sim;
    kith_sim_lan *net, *homes[HOMES]; /* the first is the internet itself */
    kith_sim_nat *nats[HOMES];
    kith_sim_host *relay;
    victim v[DEVICES];
    size_t at[DEVICES];
    unsigned addresses; /* given out */
    char addr[DEVICES][32];
    bool relay_up;
    story story;
    side sides[DEVICES];
    int64_t live;
} world;

static uint8_t content[SIZE];
static world *one;

static uint64_t dice(world *w, uint64_t below) { return kith_sim_random(w->sim) % below; }

/* ---- talks ---- */

static size_t size_of(unsigned n) { return n % 17 == 0 ? 60000 : 1 + n * 7919u % 9000; }
static uint8_t byte_of(unsigned n, size_t at, size_t from) { return (uint8_t)(n * 131 + at * 7 + from); }
static size_t index_of(const victim *v) { return (size_t)(v - one->v); }

static bool on_incoming(void *user, const kith_event *event)
{
    side *s = &one->sides[index_of(user)];
    if (s->op) fail_msg("seed %llu: the same connection came twice", (unsigned long long)one->seed);
    s->op = event->transfer;
    return true;
}

typedef struct to_take {
    size_t device, bytes;
} to_take;
static to_take taken[DEVICES];

static bool on_message(void *user, kith_op connection, kith_talk_message *m)
{
    size_t here = index_of(user);
    side *s = &one->sides[here];
    assert_int_equal(connection, s->op);
    if (m->size != size_of(s->got)) fail_msg("seed %llu: not the next message", (unsigned long long)one->seed);
    for (size_t at = 0; at < m->size; at++) assert_int_equal(m->data[at], byte_of(s->got, at, !here));
    s->got++;
    taken[here].device++;
    taken[here].bytes += m->size;
    kith_free(m);
    return true;
}

static void on_confirmed(void *user, kith_op connection, size_t costs)
{
    side *s = &one->sides[index_of(user)];
    (void)connection;
    assert_true(costs <= s->undelivered);
    s->undelivered -= costs;
}

static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    (void)user, (void)connection, (void)info, (void)finishing;
}
static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    (void)user, (void)connection, (void)data, (void)size;
}

static const kith_core_talk talk_events = {on_incoming, on_message, on_confirmed, on_datagram, on_status};

static void talk_on(world *w)
{
    for (size_t i = 0; i < DEVICES; i++) {
        side *s = &w->sides[i];
        if (taken[i].device) kith_core_taken(w->v[i].core, s->op, taken[i].device, taken[i].bytes);
        taken[i] = (to_take){0};
        for (int n = 0; n < 3 && s->op && s->sent < MESSAGES; n++) {
            size_t size = size_of(s->sent);
            if (s->undelivered + size + KITH_TALK_COST > KITH_UNDELIVERED_MAX) break;
            kith_talk_message *m = kith_talk_message_new(NULL, size);
            for (size_t at = 0; at < size; at++) m->data[at] = byte_of(s->sent, at, i);
            s->undelivered += size + KITH_TALK_COST;
            s->sent++;
            kith_core_send_message(w->v[i].core, s->op, m);
        }
    }
}

/* ---- the world ---- */

static void settle_in(world *w, size_t i, size_t home)
{
    w->at[i] = home;
    snprintf(w->addr[i], sizeof w->addr[i], home ? "192.168.1.%u" : "203.0.113.%u", 100 + w->addresses++ % 100);
    assert_ok(kith_sim_attach(w->v[i].host, home ? w->homes[home] : w->net, w->addr[i]));
}

static void make_homes(world *w)
{
    const kith_sim_nat_config kinds[KINDS] = {KITH_SIM_NAT_FULL_CONE, KITH_SIM_NAT_ADDRESS_RESTRICTED,
                                              KITH_SIM_NAT_PORT_RESTRICTED, KITH_SIM_NAT_SYMMETRIC,
                                              KITH_SIM_NAT_PORT_RESTRICTED};
    for (size_t i = 1; i < HOMES; i++) {
        char name[16], addr[32];
        size_t kind = dice(w, KINDS);
        kith_sim_nat_config config = kinds[kind];
        config.udp_blocked = kind == KINDS - 1;
        config.hairpin = dice(w, 2);
        snprintf(name, sizeof name, "home %zu", i);
        snprintf(addr, sizeof addr, "203.0.113.%zu", 10 + i);
        assert_ok(kith_sim_lan_new(w->sim, name, &w->homes[i]));
        assert_ok(kith_sim_nat_new(w->sim, w->homes[i], w->net, addr, &config, &w->nats[i]));
    }
}

static void world_make(world *w, uint64_t seed)
{
    const kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS,
                                .jitter_ns = 2 * KITH_SIM_MS,
                                .rate = 1000000,
                                .queue = 200000,
                                .loss = seed % 4 ? 0 : 0.01,
                                .mtu = 1500};
    static const char *const names[] = {"a", "b"};
    *w = (world){.seed = seed, .live = kith_mem_live(), .story = seed % STORIES};
    one = w;
    memset(taken, 0, sizeof taken);
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "net", &w->net));
    kith_sim_lan_set_link(w->net, &link);
    kith_sim_lan_set_discovery(w->net, 0, 1);
    assert_ok(kith_sim_host_new(w->sim, "relay", &w->relay));
    assert_ok(kith_sim_attach(w->relay, w->net, "203.0.113.1"));
    assert_ok(kith_sim_name(w->sim, "relay.example", "203.0.113.1"));
    station_start(w->relay);
    w->relay_up = true;
    make_homes(w);
    for (size_t i = 0; i < DEVICES; i++) {
        victim *v = &w->v[i];
        v->sim = w->sim;
        v->relay = "wss://relay.example/";
        v->talk = &talk_events;
        assert_ok(kith_sim_host_new(w->sim, names[i], &v->host));
        settle_in(w, i, dice(w, HOMES));
        victim_home(v, names[i]);
        assert_ok(kith_sim_put_file(v->host, "/file", content, SIZE, 0644));
    }
    for (size_t i = 0; i < DEVICES; i++) know(&w->v[i], &w->v[!i]);
    for (size_t i = 0; i < DEVICES; i++) victim_open(&w->v[i]);
}

static void world_free(world *w)
{
    for (size_t i = 0; i < DEVICES; i++) victim_close(&w->v[i]);
    kith_sim_kill(hub.env);
    station_free();
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static void run(world *w, uint64_t ns)
{
    for (uint64_t end = kith_sim_now_ns(w->sim) + ns; kith_sim_now_ns(w->sim) < end;) {
        uint64_t before = kith_sim_now_ns(w->sim);
        if (w->story == BOTH_TALK) talk_on(w);
        kith_sim_run_for(w->sim, 50 * KITH_SIM_MS);
        if (kith_sim_now_ns(w->sim) == before) fail_msg("seed %llu: time stands still", (unsigned long long)w->seed);
    }
}

/* ---- what happens ---- */

static void moves(world *w, size_t i)
{
    kith_sim_detach(w->v[i].host, w->at[i] ? w->homes[w->at[i]] : w->net);
    if (dice(w, 2)) run(w, dice(w, 2 * KITH_SIM_S));
    settle_in(w, i, dice(w, HOMES));
}

static void new_address(world *w, size_t i)
{
    char addr[32];
    snprintf(addr, sizeof addr, w->at[i] ? "192.168.1.%u" : "203.0.113.%u", 100 + w->addresses++ % 100);
    assert_ok(kith_sim_change_addr(w->v[i].host, w->addr[i], addr));
    memcpy(w->addr[i], addr, sizeof addr);
}

static void cut(world *w)
{
    kith_sim_host *a = w->v[dice(w, 2)].host, *b = dice(w, 2) ? w->relay : w->v[a == w->v[0].host].host;
    assert_ok(kith_sim_partition(a, b, true));
    run(w, dice(w, OUTAGE_MAX));
    assert_ok(kith_sim_partition(a, b, false));
}

static void relay_falls(world *w)
{
    station_kill();
    run(w, dice(w, OUTAGE_MAX));
    station_start(w->relay);
}

static void bad_air(world *w)
{
    const kith_sim_link bad = {.delay_ns = 30 * KITH_SIM_MS, .loss = 0.3, .reorder = 0.1, .mtu = 1500},
                        good = {.delay_ns = KITH_SIM_MS, .mtu = 1500};
    size_t home = 1 + dice(w, HOMES - 1);
    kith_sim_lan_set_link(w->homes[home], &bad);
    run(w, dice(w, OUTAGE_MAX));
    kith_sim_lan_set_link(w->homes[home], &good);
}

static void something_happens(world *w)
{
    size_t who = dice(w, DEVICES);
    switch (dice(w, 8)) {
    case 0:
    case 1: moves(w, who); break;
    case 2: moves(w, who), moves(w, !who); break;
    case 3: new_address(w, who); break;
    case 4: kith_sim_nat_restart(w->nats[1 + dice(w, HOMES - 1)]); break;
    case 5: cut(w); break;
    case 6: relay_falls(w); break;
    default: bad_air(w); break;
    }
}

/* ---- stories ---- */

static void begin(world *w)
{
    victim *from = &w->v[w->story == DIALLED_SENDS], *to = &w->v[w->story != DIALLED_SENDS];
    char id[KITH_UUID_TEXT_SIZE], other[KITH_UUID_TEXT_SIZE];
    kith_receive_options in = {.size = sizeof in, .folder = "/in", .conflict = KITH_CONFLICT_KEEP};
    kith_send_options out = {.size = sizeof out, .patience_s = 600};
    kith_serve_options serve = {.size = sizeof serve};
    kith_connect_options connect = {.size = sizeof connect, .topic = "t", .patience_s = 600};
    kith_uuid_text(to->self.device.id, id);
    kith_uuid_text(from->self.device.id, other);
    if (w->story == BOTH_TALK) {
        kith_core_serve(to->core, ++to->last_op, "t", &serve);
        run(w, 2 * KITH_SIM_S);
        kith_core_connect(from->core, ++from->last_op, id, &connect);
        w->sides[index_of(from)].op = from->last_op;
        return;
    }
    kith_core_receive(to->core, ++to->last_op, &in);
    if (w->story == DIALLED_SENDS) kith_core_receive(from->core, ++from->last_op, &in);
    run(w, 2 * KITH_SIM_S);
    if (w->story == DIALLED_SENDS) { /* the other dials, and its session is used */
        kith_core_ping(to->core, ++to->last_op, other, 1);
        run(w, 3 * KITH_SIM_S);
    }
    from->count = 0;
    kith_core_send_file(from->core, ++from->last_op, id, "/file", &out);
}

static bool is_done(world *w)
{
    const victim *from = &w->v[w->story == DIALLED_SENDS];
    if (w->story != BOTH_TALK) return last_event(from, KITH_EVENT_END) != NULL;
    for (size_t i = 0; i < DEVICES; i++)
        if (w->sides[i].got < MESSAGES) return false;
    return true;
}

static void check(world *w)
{
    uint8_t *data;
    size_t size;
    const victim *from = &w->v[w->story == DIALLED_SENDS], *to = &w->v[w->story != DIALLED_SENDS];
    if (w->story == BOTH_TALK) return;
    const kith_event *end = last_event(from, KITH_EVENT_END);
    if (end->err) fail_msg("seed %llu: %s", (unsigned long long)w->seed, end->message);
    assert_ok(kith_sim_get_file(to->host, "/in/file", &data, &size));
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, content, size);
    kith_free(data);
}

static uint64_t longest;

static void world_runs(uint64_t seed)
{
    static world w;
    world_make(&w, seed);
    begin(&w);
    run(&w, dice(&w, 3 * KITH_SIM_S));
    for (uint64_t n = 3 + dice(&w, 8); n && !is_done(&w); n--) {
        something_happens(&w);
        run(&w, dice(&w, 3 * KITH_SIM_S));
    }
    uint64_t whole = kith_sim_now_ns(w.sim);
    while (!is_done(&w)) {
        run(&w, KITH_SIM_S / 5);
        if (kith_sim_now_ns(w.sim) - whole > WHOLE_NS)
            fail_msg("seed %llu (story %d): nothing goes on; %u and %u messages", (unsigned long long)seed,
                     (int)w.story, w.sides[0].got, w.sides[1].got);
    }
    uint64_t took = kith_sim_now_ns(w.sim) - whole;
    if (took > longest) longest = took;
    if (getenv("KITH_SHOW"))
        printf("%llu: story %d, %.1f s\n", (unsigned long long)seed, (int)w.story, (double)took / 1e9);
    check(&w);
    world_free(&w);
}

static void whatever_happens_it_goes_on(void **state)
{
    (void)state;
    static const uint64_t slow_once[] = {255, 363, 512}; /* that waited minutes for a relay which was there */
    const char *text = getenv("KITH_SEEDS"), *only = getenv("KITH_SEED");
    uint64_t seeds = text ? strtoull(text, NULL, 10) / 4 : 60;
    if (only) world_runs(strtoull(only, NULL, 10));
    for (size_t i = 0; !only && i < sizeof slow_once / sizeof *slow_once; i++) world_runs(slow_once[i]);
    for (uint64_t seed = 1; !only && seed <= (seeds ? seeds : 1); seed++) world_runs(seed);
    printf("the longest took %.1f s from a whole world on\n", (double)longest / 1e9);
}

int main(void)
{
    for (size_t i = 0; i < SIZE; i += 61) content[i] = (uint8_t)(i >> 7);
    const struct CMUnitTest tests[] = {TEST(whatever_happens_it_goes_on)};
    return cmocka_run_group_tests_name("sim/roam_worlds", tests, NULL, NULL);
}
