/* Nodes at a relay that keeps to no rule, and with peers that do not: whatever it says, loses, repeats, makes up or
 * claims, nobody gets in, what can arrive does, and memory and work have bounds.  KITH_SEEDS / 20 says how many worlds
 * (default 20) where there are many. */
#include "evil_relay.h"
#include "hostile_world.h"
#include "node/roam.h"
#include "path/chooser.h"
#include "service/control.h"

#define SIZE       (1u << 20)
#define BLOCKS_MAX 3000 /* of memory, beyond what there was: packets under way, connections */

static uint8_t content[SIZE];

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *net;
    kith_sim_host *relay;
    victim v[2]; /* the first sends to the second; they reach each other over the relay alone */
    int64_t live;
} world;

static size_t world_count(void)
{
    const char *text = getenv("KITH_SEEDS");
    size_t n = text ? strtoull(text, NULL, 10) / 20 : 20;
    return n ? n : 1;
}

static void world_make(world *w, uint64_t seed)
{
    const kith_sim_link link = {.delay_ns = 10 * KITH_SIM_MS, .jitter_ns = KITH_SIM_MS, .mtu = 1500};
    static const char *const names[] = {"a", "b"}, *const addrs[] = {"203.0.113.10", "203.0.113.20"};
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(seed, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "net", &w->net));
    kith_sim_lan_set_link(w->net, &link);
    kith_sim_lan_set_discovery(w->net, 0, 1);
    assert_ok(kith_sim_host_new(w->sim, "relay", &w->relay));
    assert_ok(kith_sim_attach(w->relay, w->net, "203.0.113.1"));
    assert_ok(kith_sim_name(w->sim, "relay.example", "203.0.113.1"));
    evil_start(w->sim, w->relay);
    for (int i = 0; i < 2; i++) {
        victim *v = &w->v[i];
        v->sim = w->sim;
        v->relay = "wss://relay.example/";
        assert_ok(kith_sim_host_new(w->sim, names[i], &v->host));
        assert_ok(kith_sim_attach(v->host, w->net, addrs[i]));
        victim_home(v, names[i]);
    }
    assert_ok(kith_sim_partition(w->v[0].host, w->v[1].host, true));
    for (int i = 0; i < 2; i++) know(&w->v[i], &w->v[!i]);
    for (int i = 0; i < 2; i++) victim_open(&w->v[i]);
    assert_ok(kith_sim_put_file(w->v[0].host, "/file", content, SIZE, 0644));
}

/* Both close as they should, and nothing is left of them. */
static void world_free(world *w)
{
    for (int i = 0; i < 2; i++)
        if (w->v[i].core) victim_close(&w->v[i]);
    evil_free();
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static void run(world *w, uint64_t ns)
{
    uint64_t end = kith_sim_now_ns(w->sim) + ns;
    kith_sim_run_for(w->sim, ns);
    assert_true(kith_sim_now_ns(w->sim) >= end); /* time goes on */
}

static void receive(victim *v)
{
    kith_receive_options options = {.size = sizeof options, .folder = "/in", .conflict = KITH_CONFLICT_KEEP};
    kith_core_receive(v->core, ++v->last_op, &options);
}

static void send(world *w)
{
    kith_send_options options = {.size = sizeof options};
    char id[KITH_UUID_TEXT_SIZE];
    kith_core_send_file(w->v[0].core, ++w->v[0].last_op, kith_uuid_text(w->v[1].self.device.id, id), "/file", &options);
}

static bool ended(void *user) { return last_event(user, KITH_EVENT_END) != NULL; }

static void check_arrived(world *w, uint64_t limit_ns)
{
    uint8_t *data;
    size_t size;
    if (!kith_sim_run_until(w->sim, ended, &w->v[0], limit_ns)) fail_msg("it does not end");
    const kith_event *end = last_event(&w->v[0], KITH_EVENT_END);
    if (end->err) fail_msg("%s", end->message);
    assert_ok(kith_sim_get_file(w->v[1].host, "/in/file", &data, &size));
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, content, size);
    kith_free(data);
}

static evil_client *at_relay(const victim *v)
{
    evil_client *c = evil_find(v->self.fingerprint);
    assert_non_null(c);
    return c;
}

static void check_bounded(const world *w, int64_t before)
{
    (void)w;
    if (kith_mem_live() > before + BLOCKS_MAX) fail_msg("%lld blocks of memory", (long long)(kith_mem_live() - before));
}

/* ---- packets ---- */

static void packets_are_lost_late_doubled_and_made_up(void **state)
{
    (void)state;
    unsigned flaws = 0;
    for (uint64_t seed = 1; seed <= world_count(); seed++) {
        static world w;
        world_make(&w, seed);
        evil.habits = (evil_habits){.drop = 20, .twice = 30, .late = 30, .flip = 20, .elsewhere = 10, .invent = 20};
        receive(&w.v[1]);
        run(&w, 2 * KITH_SIM_S);
        send(&w);
        check_arrived(&w, 300 * KITH_SIM_S);
        flaws += evil.flaws;
        world_free(&w);
    }
    assert_true(flaws > 10 * world_count());
}

/* ---- messages ---- */

static uint32_t some_session(void)
{
    uint32_t relays = kith_sim_random(evil.sim) % 2 ? KITH_RELAY_SESSION_OF_RELAY : 0;
    if (evil.session_count && kith_sim_random(evil.sim) % 2)
        return evil.sessions[kith_sim_random(evil.sim) % evil.session_count].id[kith_sim_random(evil.sim) % 2];
    return relays | (uint32_t)(kith_sim_random(evil.sim) % 40);
}

static void say_anything(world *w, evil_client *c, bool lawful)
{
    static uint8_t bytes[600];
    uint64_t dice = kith_sim_random(evil.sim);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)kith_sim_random(evil.sim);
    kith_relay_message m = {.session = some_session(), .tag = (uint32_t)dice & KITH_RELAY_TAG_MAX};
    kith_relay_run packets = {bytes, 1 + dice % sizeof bytes, 1};
    packets.segment = packets.size;
    bytes[0] = (uint8_t[]){0x40, 0xc0, KITH_RELAY_UDP_PACKET, 5, 0, 0xff}[dice / 1000 % 6];
    switch (dice % (lawful ? 9 : 14)) {
    case 0:
    case 1: (void)evil_incoming(c, w->v[dice / 7 % 2].self.fingerprint, dice / 3 % 3 ? &packets : NULL); return;
    case 2: (void)evil_incoming(c, bytes, &packets); return;
    case 3: evil_gone(c, m.session, 1 + dice / 5 % 4); return;
    case 4: m.type = KITH_RELAY_DATA, m.run = packets; break;
    case 5:
        m.type = KITH_RELAY_RATE_LIMITED;
        m.rate_limited.limit = dice / 11 % 9;
        m.rate_limited.retry_after_ms = dice / 13 % 3 ? dice / 17 % 5000 : dice;
        m.rate_limited.has_session = dice / 19 % 2;
        m.rate_limited.has_tag = dice / 23 % 2;
        break;
    case 6: m.type = KITH_RELAY_PING, m.ping.bytes = bytes; break;
    case 7: m.type = KITH_RELAY_PONG, m.ping.bytes = bytes; break;
    case 8: m.type = KITH_RELAY_MAILBOX, m.mailbox.state = dice / 29 % 5; break;
    case 9: m.type = KITH_RELAY_CONNECTED, m.connected.udp_id = bytes; break;
    case 10: m.type = KITH_RELAY_CHALLENGE, m.challenge.nonce = bytes, m.challenge.version = 1 + dice / 31 % 2; break;
    case 11: m.type = KITH_RELAY_ERROR, m.error.code = dice / 37 % 10; break;
    case 12: m.type = KITH_RELAY_RESTARTING, m.restarting.after_ms = dice / 41 % 3 ? dice / 43 % 3000 : dice; break;
    default: evil_bytes(c, bytes, dice / 47 % sizeof bytes); return;
    }
    evil_say(c, &m);
}

static void a_relay_that_says_anything(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= world_count(); seed++) {
        static world w;
        world_make(&w, seed);
        kith_pair_options pair = {.size = sizeof pair, .yes = true};
        receive(&w.v[1]);
        kith_core_pair(w.v[1].core, ++w.v[1].last_op, &pair);
        run(&w, 2 * KITH_SIM_S);
        int64_t before = kith_mem_live();
        send(&w);
        for (int i = 0; i < 3000; i++) {
            size_t count = evil.client_count;
            evil_client *c = &evil.clients[kith_sim_random(w.sim) % count];
            if (c->ws) say_anything(&w, c, kith_sim_random(w.sim) % 50 != 0);
            run(&w, kith_sim_random(w.sim) % (20 * KITH_SIM_MS));
            if (evil.client_count >= EVIL_CLIENTS_MAX - 2) break;
        }
        check_bounded(&w, before);
        world_free(&w);
    }
}

static void flood(world *w, evil_client *c)
{
    uint8_t garbage[1200] = {0xc0};
    const kith_relay_run offer = {garbage, sizeof garbage, sizeof garbage};
    for (int i = 0; i < 10000; i++) {
        garbage[20] = (uint8_t)i;
        (void)evil_incoming(c, w->v[0].self.fingerprint, &offer);
        if (i % 20 == 0) run(w, 5 * KITH_SIM_MS);
    }
}

/* As many as it likes, in the name of whom we know: who serves can still be dialled, and dial. */
static void incoming_without_an_end(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 3);
    for (int i = 0; i < 2; i++) receive(&w.v[i]);
    run(&w, 2 * KITH_SIM_S);
    int64_t before = kith_mem_live();
    evil_client *b = at_relay(&w.v[1]);
    flood(&w, b);
    check_bounded(&w, before);
    assert_non_null(b->ws);
    send(&w);
    check_arrived(&w, 60 * KITH_SIM_S);
    run(&w, SESSION_IDLE_NS + KITH_SIM_S);
    flood(&w, b);
    char id[KITH_UUID_TEXT_SIZE];
    unsigned connects = b->connects;
    kith_core_ping(w.v[1].core, ++w.v[1].last_op, kith_uuid_text(w.v[0].self.device.id, id), 1);
    if (!kith_sim_run_until(w.sim, ended, &w.v[1], 20 * KITH_SIM_S)) fail_msg("no answer");
    assert_ok(last_event(&w.v[1], KITH_EVENT_END)->err);
    assert_true(b->connects > connects);
    world_free(&w);
}

static void gone_without_an_end(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 4);
    receive(&w.v[1]);
    run(&w, 2 * KITH_SIM_S);
    send(&w);
    int64_t before = kith_mem_live();
    evil_client *b = at_relay(&w.v[1]);
    for (int i = 0; i < 20000; i++) {
        uint32_t id = evil_incoming(b, w.v[0].self.fingerprint, NULL);
        evil_gone(b, id, KITH_RELAY_GONE_ENDED);
        evil_gone(b, id, KITH_RELAY_GONE_ENDED);
        if (i % 20 == 0) run(&w, 5 * KITH_SIM_MS);
    }
    check_bounded(&w, before);
    check_arrived(&w, 60 * KITH_SIM_S);
    world_free(&w);
}

/* ---- who the relay says it is ---- */

static struct {
    kith_quic *quic;
    evil_client *to;
    const uint8_t *claims; /* a fingerprint */
    uint32_t id;
    bool heard, over;
    uint64_t code;
} impostor;

static void impostor_speaks(void)
{
    static uint8_t memory[KITH_PACKET_RUN_MAX];
    kith_packet packet = {.data = memory};
    kith_quic_event event;
    while (kith_quic_event_take(impostor.quic, &event)) {
        impostor.heard |= event.kind == KITH_QUIC_READABLE;
        if (event.kind != KITH_QUIC_CLOSED) continue;
        impostor.over = true;
        impostor.code = event.code;
    }
    for (; kith_quic_output(impostor.quic, &packet, evil_now()); packet.data = memory) {
        kith_relay_run run = {packet.data, packet.size, packet.segment};
        if (impostor.id)
            evil_data(impostor.to, impostor.id, &run);
        else
            impostor.id = evil_incoming(impostor.to, impostor.claims, &run);
    }
}

static bool impostor_hears(evil_client *c, const kith_relay_message *m)
{
    static uint8_t memory[KITH_PACKET_RUN_MAX];
    kith_addr place;
    if (c != impostor.to || m->type != KITH_RELAY_DATA || m->session != impostor.id) return false;
    assert_ok(kith_addr_parse("192.0.2.1:1", &place));
    memcpy(memory, m->run.data, m->run.size);
    kith_packet packet = {.remote = place, .data = memory, .size = m->run.size, .segment = m->run.segment};
    kith_quic_input(impostor.quic, &packet, evil_now());
    impostor_speaks();
    return true;
}

/* A fingerprint in INCOMING is the relay's word: it opens the door to the handshake, and to nothing else. */
static void a_relay_that_claims_others_fingerprints(void **state)
{
    (void)state;
    static world w;
    static const uint8_t secret[32] = {77};
    kith_quic_config config = {.static_secret = secret, .seed = {5}};
    kith_conn *conn;
    kith_addr place;
    world_make(&w, 5);
    for (int i = 0; i < 2; i++) receive(&w.v[i]);
    run(&w, 2 * KITH_SIM_S);
    memset(&impostor, 0, sizeof impostor);
    assert_ok(kith_quic_new(&config, &impostor.quic));
    impostor.to = at_relay(&w.v[1]);
    impostor.claims = w.v[0].self.fingerprint;
    evil.on = impostor_hears;
    assert_ok(kith_addr_parse("192.0.2.1:1", &place));
    assert_ok(kith_quic_dial(impostor.quic, &place, NULL, evil_now(), &conn));
    impostor_speaks();
    for (int i = 0; i < 300 && !impostor.over; i++) {
        run(&w, 50 * KITH_SIM_MS);
        kith_quic_expire(impostor.quic, evil_now());
        impostor_speaks();
    }
    assert_true(impostor.over); /* he says no hello that would do: it ends after SESSION_HELLO_NS */
    assert_false(impostor.heard);
    assert_int_equal(impostor.code, KITH_WIRE_TIMEOUT);
    kith_quic_free(impostor.quic);
    world_free(&w);
}

#define LATER (8 * KITH_SIM_S)

static uint64_t asked_ns[64];
static size_t asked;
static bool limits_sessions(evil_client *c, const kith_relay_message *m)
{
    if (m->type != KITH_RELAY_CONNECT) return false;
    if (asked < 64) asked_ns[asked++] = evil_now();
    evil_say(c, &(kith_relay_message){.type = KITH_RELAY_RATE_LIMITED,
                                      .session = m->session,
                                      .rate_limited = {.limit = KITH_RELAY_LIMIT_SESSIONS,
                                                       .retry_after_ms = LATER / KITH_SIM_MS,
                                                       .has_session = true}});
    return true;
}

/* One that says when a session may be asked for again is not asked before, nor much later. */
static void a_relay_that_limits_sessions(void **state)
{
    (void)state;
    static world w;
    world_make(&w, 9);
    receive(&w.v[1]);
    run(&w, 2 * KITH_SIM_S);
    asked = 0;
    evil.on = limits_sessions;
    send(&w);
    run(&w, 25 * KITH_SIM_S);
    assert_in_range(asked, 2, 4);
    for (size_t i = 1; i < asked; i++)
        assert_in_range(asked_ns[i] - asked_ns[i - 1], LATER, 2 * LATER + KITH_SIM_S / 2);
    evil.on = NULL;
    world_free(&w);
}

/* ---- what peers say, and hear ---- */

static void say_candidates(hostile *h, line *l, const kith_candidates *candidates)
{
    uint8_t message[KITH_CANDIDATES_ENCODED], prefix[8];
    size_t size;
    kith_writer w = kith_writer_of(prefix, sizeof prefix);
    assert_ok(kith_candidates_write(candidates, message, sizeof message, &size));
    kith_write_varint(&w, size);
    assert_ok(kith_stream_write(l->control, prefix, kith_writer_size(&w)));
    assert_ok(kith_stream_write(l->control, message, size));
    quic_env_flush(&h->quic);
}

/* Who pairs, or only tries to, hears a hello and never where we may be reached; a contact does. */
static void strangers_learn_no_addresses(void **state)
{
    (void)state;
    size_t total[2];
    for (int contact = 0; contact < 2; contact++) {
        static world w;
        static hostile h;
        kith_pair_options pair = {.size = sizeof pair};
        world_make(&w, 6);
        hostile_make(&h, w.sim, w.net, "stranger", "203.0.113.66");
        if (contact) trust(&w.v[1], &h, KITH_PEER_CONTACT, false);
        kith_core_pair(w.v[1].core, ++w.v[1].last_op, &pair);
        line *l = dial_node(&h, &w.v[1], "203.0.113.20");
        run(&w, KITH_SIM_S / 10);
        assert_true(l->heard);
        size_t heard = l->heard_bytes;
        kith_candidates mine = {.count = 1};
        assert_ok(kith_addr_parse("203.0.113.66:5000", &mine.addrs[0]));
        say_candidates(&h, l, &mine);
        assert_ok(kith_sim_attach(w.v[1].host, w.net, "203.0.113.21"));
        run(&w, 10 * KITH_SIM_S);
        assert_non_null(l->conn);
        if (!contact) assert_int_equal(l->heard_bytes, heard);
        total[contact] = l->heard_bytes;
        hang_up(&h, l, 0);
        run(&w, KITH_SIM_S);
        hostile_free(&h);
        world_free(&w);
    }
    assert_true(total[1] > total[0]);
}

#define PORTS 16
static size_t bystander_heard;
static void bystander_datagrams(void *user, const kith_packet *packets, size_t count)
{
    (void)user;
    for (size_t i = 0; i < count; i++)
        bystander_heard += (packets[i].size + packets[i].segment - 1) / packets[i].segment;
}
static void bystander_writable(void *user) { (void)user; }

/* A contact who names somebody else's address, ever again: what that one gets of it has a bound. */
static void nobody_is_shot_at_by_proxy(void **state)
{
    (void)state;
    static world w;
    static hostile h;
    static const kith_udp_events events = {bystander_datagrams, bystander_writable};
    kith_sim_host *host;
    kith_env *env;
    kith_udp *sockets[PORTS];
    kith_candidates claims[2] = {{.count = PORTS / 2}, {.count = PORTS / 2}};
    const uint64_t seconds = 120;
    world_make(&w, 7);
    receive(&w.v[1]);
    hostile_make(&h, w.sim, w.net, "contact", "203.0.113.66");
    trust(&w.v[1], &h, KITH_PEER_CONTACT, false);
    assert_ok(kith_sim_host_new(w.sim, "bystander", &host));
    assert_ok(kith_sim_attach(host, w.net, "10.0.0.99")); /* a local network's, which is worth asking */
    assert_ok(kith_sim_attach(w.v[1].host, w.net, "10.0.0.20"));
    assert_ok(kith_sim_env_new(host, &env));
    for (unsigned i = 0; i < PORTS; i++) {
        kith_addr *at = &claims[i % 2].addrs[i / 2];
        assert_ok(kith_addr_parse("10.0.0.99:5000", at));
        at->port = (uint16_t)(5000 + i);
        assert_ok(env->udp->open(env, at, &events, NULL, &sockets[i]));
    }
    bystander_heard = 0;
    line *l = dial_node(&h, &w.v[1], "203.0.113.20");
    run(&w, KITH_SIM_S);
    int64_t before = kith_mem_live();
    for (unsigned i = 0; i < seconds * 10; i++) {
        say_candidates(&h, l, &claims[i % 2]);
        run(&w, KITH_SIM_S / 10);
    }
    check_bounded(&w, before);
    assert_non_null(l->conn);
    /* Each ASK is repeated until KITH_CONN_PROBE_NS have passed: after 100, 200, 400, 400 ... ms. */
    size_t asks = KITH_ROUTE_ASKS_BURST + seconds * KITH_SIM_S / KITH_ROUTE_ASK_EVERY_NS;
    printf("%zu datagrams in %llu s\n", bystander_heard, (unsigned long long)seconds);
    assert_in_range(bystander_heard, 1, asks * 9);
    hang_up(&h, l, 0);
    run(&w, KITH_SIM_S);
    hostile_free(&h);
    kith_sim_kill(env);
    world_free(&w);
}

/* ---- the end of things ---- */

/* Both close at any moment of finding each other, talking, and losing the relay. */
static void closing_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2 * world_count(); seed++) {
        static world w;
        world_make(&w, seed);
        evil.habits = (evil_habits){.drop = 50, .late = 100, .twice = 50};
        receive(&w.v[1]);
        run(&w, kith_sim_random(w.sim) % (KITH_SIM_S / 5));
        send(&w);
        run(&w, kith_sim_random(w.sim) % KITH_SIM_S);
        for (size_t i = 0; seed % 2 && i < evil.client_count; i++) evil_hang_up(&evil.clients[i]);
        run(&w, kith_sim_random(w.sim) % (seed % 3 ? KITH_SIM_S / 10 : 15 * KITH_SIM_S));
        if (seed % 4 == 0) {
            kith_sim_kill(w.v[0].env);
            victim_release(&w.v[0]);
        }
        world_free(&w);
    }
}

/* The relay goes while a dial over it is under way, and comes back: the dial goes on. */
static void a_relay_that_goes_in_the_middle_of_a_dial(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= world_count(); seed++) {
        static world w;
        world_make(&w, seed);
        receive(&w.v[1]);
        run(&w, 2 * KITH_SIM_S);
        send(&w);
        run(&w, 60 * KITH_SIM_MS + kith_sim_random(w.sim) % (KITH_SIM_S / 5));
        for (size_t i = 0; i < evil.client_count; i++) evil_hang_up(&evil.clients[i]);
        check_arrived(&w, 120 * KITH_SIM_S);
        world_free(&w);
    }
}

/* Memory runs out at any allocation of a transfer over the relay, once: it gets through, or ends and says why. */
static void without_memory(void **state)
{
    (void)state;
    size_t worlds = 0, arrived = 0;
    for (uint64_t n = 1;; n += 1 + n / (world_count() > 5 ? 24 : 4)) {
        static world w;
        world_make(&w, 9);
        receive(&w.v[1]);
        run(&w, 2 * KITH_SIM_S);
        kith_mem_fail_at(n, false);
        send(&w);
        run(&w, 2 * KITH_SIM_S);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        if (!kith_sim_run_until(w.sim, ended, &w.v[0], 200 * KITH_SIM_S))
            fail_msg("%llu: no end", (unsigned long long)n);
        kith_err err = last_event(&w.v[0], KITH_EVENT_END)->err;
        arrived += !err;
        worlds++;
        world_free(&w);
        if (!failed) break;
    }
    printf("%zu of %zu arrived\n", arrived, worlds);
    assert_true(arrived > worlds / 2);
}

int main(void)
{
    if (getenv("KITH_TEST")) cmocka_set_test_filter(getenv("KITH_TEST"));
    for (size_t i = 0; i < SIZE; i += 61) content[i] = (uint8_t)(i >> 7);
    const struct CMUnitTest tests[] = {
        TEST(packets_are_lost_late_doubled_and_made_up),
        TEST(a_relay_that_says_anything),
        TEST(incoming_without_an_end),
        TEST(gone_without_an_end),
        TEST(a_relay_that_limits_sessions),
        TEST(a_relay_that_claims_others_fingerprints),
        TEST(strangers_learn_no_addresses),
        TEST(nobody_is_shot_at_by_proxy),
        TEST(closing_at_any_moment),
        TEST(a_relay_that_goes_in_the_middle_of_a_dial),
        TEST(without_memory),
    };
    return cmocka_run_group_tests_name("sim/node_relay_hostile", tests, NULL, NULL);
}
