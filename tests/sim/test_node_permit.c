/* Who may do what, tried: every service, for every standing, with whatever was said of the device, on a session with a
 * peer who opens the stream anyway; and what is said while streams are under way. */
#include "base/mem.h"
#include "hostile_world.h"
#include "node/book.h"
#include "node/session.h"
#include "service/file_message.h"
#include "service/talk_bytes.h"

#define NODE  "192.168.1.10"
#define TOPIC "topic"

typedef enum whose { UNKNOWN, UNKNOWN_WITH_CODE, CONTACT, OWN, WHOS } whose;
typedef enum said { NOTHING, SAID_DENY, SAID_ASK, SAID_ALLOW, SAIDS } said;
typedef enum outcome { REFUSED, ASKED, SERVED } outcome;
static const kith_service services[] = {KITH_SERVICE_PING, KITH_SERVICE_FILE, KITH_SERVICE_TALK};
static const uint8_t ping[] = {1, 2, 3, 4, 5, 6, 7, 8};

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim node;
    hostile bad;
    line *line;
    size_t echoed, incoming;
    int64_t live;
} world;

static world *the_world;

static bool on_incoming(void *user, const kith_event *event)
{
    (void)user, (void)event;
    the_world->incoming++;
    return true;
}
static bool on_message(void *user, kith_op connection, kith_talk_message *m)
{
    (void)user, (void)connection;
    kith_free(m);
    return true;
}
static void on_confirmed(void *user, kith_op connection, size_t costs) { (void)user, (void)connection, (void)costs; }
static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    (void)user, (void)connection, (void)data, (void)size;
}
static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    (void)user, (void)connection, (void)info, (void)finishing;
}
static const kith_core_talk talk = {on_incoming, on_message, on_confirmed, on_datagram, on_status};

static void on_hostile(hostile *h, line *l, const kith_quic_event *event)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    (void)h, (void)l;
    if (event->kind != KITH_QUIC_READABLE || kith_stream_id(event->stream) & 2) return;
    for (; kith_stream_peek(event->stream, &data, &size, &fin); kith_stream_consume(event->stream, size))
        the_world->echoed += size;
}

typedef struct saying {
    const hostile *h;
    kith_service service;
    said what;
} saying;

static kith_err apply(kith_trust *trust, void *user)
{
    const saying *s = user;
    return kith_trust_override(trust, s->h->signer.fingerprint, s->service, s->what != NOTHING,
                               s->what == SAID_ALLOW ? KITH_ALLOW
                               : s->what == SAID_ASK ? KITH_ASK
                                                     : KITH_DENY);
}

static void say(world *w, kith_service service, said what)
{
    kith_problem problem = {0};
    saying s = {&w->bad, service, what};
    if (kith_home_update_trust(w->node.home, apply, &s, &problem)) fail_msg("%s", problem.message);
}

/* The node takes files and serves the topic. */
static void world_make(world *w, whose who, bool contacts)
{
    kith_pair_options pair = {.size = sizeof pair};
    kith_receive_options receive = {.size = sizeof receive, .folder = "/in"};
    kith_serve_options serve = {.size = sizeof serve, .contacts = contacts};
    victim *v = &w->node;
    memset(w, 0, sizeof *w);
    the_world = w;
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(3, &w->sim));
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    v->sim = w->sim;
    v->talk = &talk;
    assert_ok(kith_sim_host_new(w->sim, "node", &v->host));
    assert_ok(kith_sim_attach(v->host, w->lan, NODE));
    victim_home(v, "node");
    victim_open(v);
    kith_core_serve(v->core, ++v->last_op, TOPIC, &serve);
    kith_core_receive(v->core, ++v->last_op, &receive);
    if (who == UNKNOWN_WITH_CODE) kith_core_pair(v->core, ++v->last_op, &pair);
    hostile_make(&w->bad, w->sim, w->lan, "bad", "192.168.1.100");
    w->bad.on = on_hostile;
    if (who >= CONTACT) trust(v, &w->bad, who == OWN ? KITH_PEER_OWN : KITH_PEER_CONTACT, false);
}

static void world_free(world *w)
{
    victim_close(&w->node);
    hostile_free(&w->bad);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static void try(world *w, kith_service service)
{
    uint8_t bytes[1024];
    size_t size = sizeof ping;
    uint8_t number = service == KITH_SERVICE_PING   ? STREAM_PING
                     : service == KITH_SERVICE_FILE ? STREAM_FILE
                                                    : STREAM_TALK;
    memcpy(bytes, ping, sizeof ping);
    if (service == KITH_SERVICE_FILE) {
        kith_file_header header = {.name = "film", .size = 5000};
        size = kith_file_write_offer(&header, bytes, sizeof bytes);
    }
    if (service == KITH_SERVICE_TALK) {
        kith_talk_open open = {.id = {9}, .topic = TOPIC};
        size = kith_talk_write_open(&open, bytes);
    }
    assert_true(size > 0);
    ask(&w->bad, w->line, number, bytes, size);
    kith_sim_run_for(w->sim, 3 * KITH_SIM_S);
}

/* A topic that is served STARTs, too. */
static size_t files_begun(const victim *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++) n += v->events[i].kind == KITH_EVENT_START && v->events[i].transfer;
    return n;
}

static outcome what_came_of_it(const world *w, kith_service service)
{
    bool refused = w->bad.reset_count > 0 || !w->line->conn, served = false, asked = false;
    uint64_t code = w->bad.reset_count ? w->bad.resets[0] : w->line->code;
    if (service == KITH_SERVICE_PING) served = w->echoed == sizeof ping;
    if (service == KITH_SERVICE_FILE) served = files_begun(&w->node) > 0;
    if (service == KITH_SERVICE_FILE) asked = count_events(&w->node, KITH_EVENT_OFFER) > 0;
    if (service == KITH_SERVICE_TALK) served = w->incoming > 0;
    assert_int_equal(served + asked + refused, 1); /* one of them, and nothing else with it */
    if (!refused) return served ? SERVED : ASKED;
    assert_int_equal(code, w->line->conn ? KITH_WIRE_NOT_ALLOWED : KITH_WIRE_UNTRUSTED);
    return REFUSED;
}

/* The table once more, and what is said in its place. */
static outcome wanted(kith_service service, whose who, said what, bool contacts)
{
    outcome table = service == KITH_SERVICE_PING || who == OWN ? SERVED : ASKED;
    if (who < CONTACT) return REFUSED;
    outcome of[SAIDS] = {table, REFUSED, ASKED, SERVED};
    if (service == KITH_SERVICE_TALK && of[what] == ASKED) return contacts ? SERVED : REFUSED;
    return of[what];
}

static void the_whole_matrix(void **state)
{
    static world w;
    size_t tried = 0;
    (void)state;
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        for (whose who = UNKNOWN; who < WHOS; who++)
            for (said what = NOTHING; what < SAIDS; what++)
                for (int contacts = 0; contacts < 2; contacts++) {
                    kith_service service = services[i];
                    bool can_be_said = service != KITH_SERVICE_PING || what != SAID_ASK;
                    if ((who < CONTACT && what != NOTHING) || !can_be_said) continue;
                    world_make(&w, who, contacts);
                    if (what != NOTHING) say(&w, service, what);
                    w.line = dial_node(&w.bad, &w.node, NODE);
                    kith_sim_run_for(w.sim, KITH_SIM_S);
                    if (w.line->conn) try(&w, service);
                    outcome came = what_came_of_it(&w, service);
                    if (came != wanted(service, who, what, contacts))
                        fail_msg("service %d, who %d, said %d, contacts %d: %d", service, who, what, contacts, came);
                    tried++;
                    world_free(&w);
                }
    assert_int_equal(tried, 2 * (3 * 2 + 2 * (3 + 4 + 4)));
}

/* Numbers of no service, and of every other, from somebody trusted. */
static void services_that_there_are_not(void **state)
{
    static world w;
    (void)state;
    world_make(&w, OWN, true);
    w.line = dial_node(&w.bad, &w.node, NODE);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    size_t asked = 0;
    for (uint8_t number = 0; number < 64; number++) {
        if (number >= STREAM_PAIR && number <= STREAM_TRUST) continue;
        ask(&w.bad, w.line, number, ping, sizeof ping);
        kith_sim_run_for(w.sim, KITH_SIM_S / 10);
        assert_int_equal(w.bad.reset_count, ++asked);
        assert_int_equal(w.bad.resets[asked - 1], KITH_WIRE_NOT_ALLOWED);
        if (asked == 60) break; /* as many as are kept */
    }
    assert_non_null(w.line->conn);
    world_free(&w);
}

/* "yes to all" is for contacts of whom nothing else was said. */
static void ask_is_stronger_than_yes(void **state)
{
    static world w;
    kith_receive_options receive = {.size = sizeof receive, .folder = "/in", .yes = true};
    (void)state;
    for (int said_so = 0; said_so < 2; said_so++) {
        world_make(&w, CONTACT, false);
        kith_core_cancel(w.node.core, w.node.last_op);
        kith_core_receive(w.node.core, ++w.node.last_op, &receive);
        if (said_so) say(&w, KITH_SERVICE_FILE, SAID_ASK);
        w.line = dial_node(&w.bad, &w.node, NODE);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        try(&w, KITH_SERVICE_FILE);
        assert_int_equal(what_came_of_it(&w, KITH_SERVICE_FILE), said_so ? ASKED : SERVED);
        world_free(&w);
    }
}

static size_t resets_with(const hostile *h, uint64_t code)
{
    size_t n = 0;
    for (size_t i = 0; i < h->reset_count; i++) n += h->resets[i] == code;
    return n;
}

/* What is under way ends, that alone, and within a moment; a new stream is refused; and it can be taken back. */
static void what_is_denied_ends(void **state)
{
    static world w;
    (void)state;
    world_make(&w, OWN, false);
    w.line = dial_node(&w.bad, &w.node, NODE);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    for (size_t i = 0; i < 3; i++) try(&w, services[i]);
    assert_int_equal(w.incoming, 1);
    assert_int_equal(files_begun(&w.node), 1);
    assert_int_equal(w.bad.reset_count, 0);
    for (size_t i = 0; i < 3; i++) {
        say(&w, services[i], SAID_DENY);
        kith_sim_run_for(w.sim, BOOK_WATCH_NS + KITH_SIM_S / 10);
        assert_int_equal(w.bad.reset_count, i + 1);
        assert_int_equal(resets_with(&w.bad, KITH_WIRE_NOT_ALLOWED), i + 1);
    }
    assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 1);
    assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->err, KITH_ERR_NOT_ALLOWED);
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_ERR_NOT_ALLOWED); /* the connection */
    try(&w, KITH_SERVICE_PING);
    assert_int_equal(w.bad.reset_count, 4);
    say(&w, KITH_SERVICE_PING, NOTHING);
    w.echoed = 0;
    try(&w, KITH_SERVICE_PING);
    assert_int_equal(w.echoed, sizeof ping);
    assert_non_null(w.line->conn);
    world_free(&w);
}

/* Forgetting ends what is under way, too. */
static void who_is_forgotten_goes(void **state)
{
    static world w;
    (void)state;
    world_make(&w, OWN, false);
    w.line = dial_node(&w.bad, &w.node, NODE);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    try(&w, KITH_SERVICE_FILE);
    trust(&w.node, &w.bad, KITH_PEER_OWN, true);
    kith_sim_run_for(w.sim, BOOK_WATCH_NS + KITH_SIM_S / 2);
    assert_null(w.line->conn);
    assert_int_equal(w.line->code, KITH_WIRE_UNTRUSTED);
    world_free(&w);
}

/* No memory, or no descriptor, just when the file changed: it is read as soon as there is some. */
static void what_could_not_be_read_is_read_again(void **state)
{
    static world w;
    kith_peer peer;
    (void)state;
    world_make(&w, CONTACT, false);
    const uint8_t *whom = w.bad.signer.fingerprint;
    uint64_t n = 0;
    for (bool failed = true; failed; n++) {
        bool was = kith__core_find_peer(w.node.core, whom, &peer);
        trust(&w.node, &w.bad, KITH_PEER_CONTACT, was);
        kith_mem_fail_at(n + 1, true);
        (void)kith__core_find_peer(w.node.core, whom, &peer);
        failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        if (kith__core_find_peer(w.node.core, whom, &peer) == was) fail_msg("allocation %d", (int)n);
    }
    assert_true(n > 3);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_could_not_be_read_is_read_again),
        TEST(the_whole_matrix),
        TEST(services_that_there_are_not),
        TEST(ask_is_stronger_than_yes),
        TEST(what_is_denied_ends),
        TEST(who_is_forgotten_goes),
    };
    return cmocka_run_group_tests_name("sim/node_permit", tests, NULL, NULL);
}
