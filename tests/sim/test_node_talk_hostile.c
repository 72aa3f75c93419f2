/* Serving a topic to paired devices that keep no rule of it. */
#include "base/mem.h"
#include "hostile_world.h"
#include "op/talk.h"
#include "service/talk_bytes.h"

#define NODE "192.168.1.10"

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim node;
    hostile bad[2];
    line *lines[2];
    size_t incoming, messages, held;
    bool no_room, no_memory;
    int64_t live;
} world;

static world *the_world;

static bool on_incoming(void *user, const kith_event *event)
{
    (void)user;
    (void)event;
    the_world->incoming += !the_world->no_room;
    return !the_world->no_room;
}

static bool on_message(void *user, kith_op connection, kith_talk_message *m)
{
    (void)user;
    (void)connection;
    if (the_world->no_memory) return false;
    the_world->messages++;
    the_world->held += m->size + KITH_TALK_COST;
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

static void world_make(world *w)
{
    static const char *const addresses[2] = {"192.168.1.100", "192.168.1.101"};
    victim *v = &w->node;
    kith_problem problem = {0};
    memset(w, 0, sizeof *w);
    the_world = w;
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(5, &w->sim));
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    v->sim = w->sim;
    assert_ok(kith_sim_host_new(w->sim, "node", &v->host));
    assert_ok(kith_sim_attach(v->host, w->lan, NODE));
    victim_home(v, "node");
    kith_core_config config = {.env = v->env,
                               .home = v->home,
                               .seed = v->seed,
                               .emit = victim_event,
                               .emit_user = v,
                               .talk = &talk,
                               .log = victim_log,
                               .log_user = v,
                               .log_level = KITH_LOG_DEBUG};
    if (kith_core_new(&config, &v->core, &problem)) fail_msg("%s", problem.message);
    kith_serve_options options = {.size = sizeof options};
    kith_core_serve(v->core, ++v->last_op, "topic", &options);
    for (size_t i = 0; i < 2; i++) {
        hostile_make(&w->bad[i], w->sim, w->lan, i ? "worse" : "bad", addresses[i]);
        trust(v, &w->bad[i], KITH_PEER_OWN, false);
        w->lines[i] = dial_node(&w->bad[i], v, NODE);
    }
    kith_sim_run_for(w->sim, KITH_SIM_S);
    assert_true(w->lines[0]->heard && w->lines[1]->heard);
}

static void world_free(world *w)
{
    victim_close(&w->node);
    for (size_t i = 0; i < 2; i++) hostile_free(&w->bad[i]);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static kith_stream *open_stream(world *w, size_t who, uint8_t id, const char *topic, bool again)
{
    kith_talk_open open = {.again = again, .id = {id}};
    uint8_t bytes[512];
    strcpy(open.topic, topic);
    size_t size = kith_talk_write_open(&open, bytes);
    kith_stream *stream = ask(&w->bad[who], w->lines[who], STREAM_TALK, bytes, size);
    kith_sim_run_for(w->sim, KITH_SIM_S / 10);
    return stream;
}

static size_t resets_with(const world *w, size_t who, uint64_t code)
{
    size_t n = 0;
    for (size_t i = 0; i < w->bad[who].reset_count; i++) n += w->bad[who].resets[i] == code;
    return n;
}

/* What the node said first on this stream: a message's type, and the number in it. */
static uint8_t heard(kith_stream *stream, uint8_t *number)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    if (!kith_stream_peek(stream, &data, &size, &fin) || size < 2) return 0;
    *number = data[size - 1];
    uint8_t type = data[0];
    kith_stream_consume(stream, size);
    return type;
}

static void openings_of_all_kinds(void **state)
{
    world w;
    uint8_t number;
    (void)state;
    world_make(&w);
    kith_stream *good = open_stream(&w, 0, 1, "topic", false);
    assert_int_equal(heard(good, &number), KITH_TALK_TYPE_ACCEPT);
    assert_int_equal(w.incoming, 1);
    (void)open_stream(&w, 0, 2, "other", false); /* not served */
    assert_int_equal(resets_with(&w, 0, KITH_WIRE_NOT_ALLOWED), 1);
    kith_stream *s = open_stream(&w, 0, 3, "topic", true); /* as if it had been there */
    assert_int_equal(heard(s, &number), KITH_TALK_TYPE_ENDED);
    assert_int_equal(number, KITH_WIRE_GOING_AWAY);
    s = open_stream(&w, 1, 1, "topic", true); /* another device's */
    assert_int_equal(heard(s, &number), KITH_TALK_TYPE_ENDED);
    s = open_stream(&w, 1, 1, "topic", false); /* the same number of its own */
    assert_int_equal(heard(s, &number), KITH_TALK_TYPE_ACCEPT);
    assert_int_equal(w.incoming, 2);
    w.no_room = true;
    (void)open_stream(&w, 1, 4, "topic", false);
    assert_int_equal(resets_with(&w, 1, KITH_WIRE_BUSY), 1);
    (void)ask(&w.bad[1], w.lines[1], STREAM_TALK, "\x05\x00", 2); /* no OPEN at all */
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(resets_with(&w, 1, KITH_WIRE_PROTOCOL), 1);
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 0);
    world_free(&w);
}

/* All streams it may have, each with half an OPEN: nothing of it, and the other device is served. */
static void half_openings(void **state)
{
    world w;
    (void)state;
    world_make(&w);
    size_t n = 0;
    while (ask(&w.bad[0], w.lines[0], STREAM_TALK, "\x01", 1)) n++;
    kith_sim_run_for(w.sim, 10 * KITH_SIM_S);
    assert_true(n >= 60);
    (void)open_stream(&w, 1, 1, "topic", false);
    assert_int_equal(w.incoming, 1);
    hang_up(&w.bad[0], w.lines[0], 0);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    world_free(&w);
}

/* It does not wait for what it sent to be taken. */
static void a_flood(void **state)
{
    world w;
    static uint8_t message[60000];
    (void)state;
    world_make(&w);
    kith_stream *s = open_stream(&w, 0, 1, "topic", false);
    size_t head = kith_talk_write_head(sizeof message - 8, message);
    for (int i = 0; i < 100 && !count_events(&w.node, KITH_EVENT_END); i++) {
        if (kith_stream_write(s, message, sizeof message - 8 + head)) break;
        quic_env_flush(&w.bad[0].quic);
        kith_sim_run_for(w.sim, KITH_SIM_S / 10);
    }
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 1);
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_ERR_PROTOCOL);
    assert_true(w.held <= KITH_TALK_WINDOW && w.held > KITH_TALK_WINDOW / 2);
    assert_int_equal(resets_with(&w, 0, KITH_WIRE_PROTOCOL), 1);
    assert_non_null(w.lines[0]->conn); /* the session is as it was */
    world_free(&w);
}

static void a_message_without_memory(void **state)
{
    world w;
    (void)state;
    world_make(&w);
    kith_stream *s = open_stream(&w, 0, 1, "topic", false);
    w.no_memory = true;
    assert_ok(kith_stream_write(s, "\x04\x02hi", 4));
    quic_env_flush(&w.bad[0].quic);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_ERR_NOMEM);
    assert_int_equal(resets_with(&w, 0, KITH_WIRE_INTERNAL), 1);
    uint8_t number;
    s = open_stream(&w, 0, 1, "topic", true); /* what it was is remembered */
    assert_int_equal(heard(s, &number), KITH_TALK_TYPE_ENDED);
    world_free(&w);
}

/* Over and over: what is remembered has its bounds, and a connection goes on while its device does this. */
static void many_short_ones(void **state)
{
    world w;
    (void)state;
    world_make(&w);
    (void)open_stream(&w, 1, 1, "topic", false);
    for (unsigned i = 0; i < 3 * TALKS_ENDED_MAX; i++) {
        kith_stream *s = open_stream(&w, 0, (uint8_t)i, "topic", false);
        if (!s) break;
        kith_stream_reset(s, KITH_WIRE_CANCELLED);
        kith_stream_stop(s, KITH_WIRE_CANCELLED);
        kith_stream_free(s);
        quic_env_flush(&w.bad[0].quic);
        kith_sim_run_for(w.sim, KITH_SIM_S / 10);
    }
    assert_true(w.incoming > TALKS_ENDED_MAX);
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), w.incoming - 1);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(openings_of_all_kinds),    TEST(half_openings),   TEST(a_flood),
        TEST(a_message_without_memory), TEST(many_short_ones),
    };
    return cmocka_run_group_tests_name("sim/node_talk_hostile", tests, NULL, NULL);
}
