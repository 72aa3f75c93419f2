/* Own devices as whole nodes: pairing brings a device into the network of the one that shows the code, what each has to
 * say of itself comes to all, and one that has gone bad does no harm. */
#include "own_world.h"
#include "store/atomic.h"
#include "wire/cbor.h"

/* ---- pairing ---- */

/* 1 joins 0, 2 joins 1: 2 knows 0, and 0 gets to know 2 as soon as it meets one of them. */
static void pairing_makes_one_network(void **state)
{
    (void)state;
    static world w; /* events take megabytes */
    make_world(&w, 1, 3);
    assert_int_equal(state_of(&w, 1, 1), KITH_MEMBER); /* of a network of its own */
    assert_ok(pair(&w, 0, 1, false));
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER); /* when the command ends it is in */
    assert_int_equal(state_of(&w, 0, 1), KITH_MEMBER);
    assert_ok(pair(&w, 1, 2, false));
    assert_int_equal(state_of(&w, 2, 0), KITH_MEMBER);
    assert_true(pinned_as_own(&w, 2, 0));
    assert_ok(ping(&w, 1, 0)); /* one session, and the news is there */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_true(pinned_as_own(&w, 0, 2));
    assert_ok(ping(&w, 0, 2)); /* who never paired */
    assert_ok(ping(&w, 2, 0));
    for (size_t i = 0; i < 3; i++) assert_int_equal(records_of(&w, i), 3);
    /* Again: nothing new. */
    assert_ok(pair(&w, 0, 1, true));
    assert_true(last_event(&w.v[0], KITH_EVENT_PAIRED)->already);
    assert_int_equal(records_of(&w, 0), 3);
    end_world(&w);
}

static void called(world *w, size_t i, size_t whom, const char *name)
{
    kith_trust *trust;
    kith_problem problem;
    if (kith_home_load_trust(w->v[i].home, &trust, &problem)) fail_msg("%s", problem.message);
    const kith_peer *peer = kith_trust_by_fingerprint(trust, w->v[whom].self.fingerprint);
    assert_non_null(peer);
    assert_string_equal(peer->local_name, name);
    kith_trust_free(trust);
}

/* Another process of the home gives the device a new name while its node runs: a device that it is connected with
 * hears it then, one that it meets later then, and its hello has it, too. */
static void a_new_name_is_said(void **state)
{
    (void)state;
    static world w;
    kith_problem problem;
    make_world(&w, 5, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    char id[KITH_UUID_TEXT_SIZE];
    forget_events(&w.v[0]);
    kith_core_ping(w.v[0].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), 10); /* ten seconds */
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_ok(kith_home_set_name(w.v[1].home, "renamed", &problem));
    kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
    called(&w, 0, 1, "renamed");
    called(&w, 2, 1, "device1");
    assert_ok(ended(&w, &w.v[0]));
    assert_ok(ping(&w, 1, 2));
    kith_sim_run_for(w.sim, KITH_SIM_S);
    called(&w, 2, 1, "renamed");
    size_t records = records_of(&w, 1);
    kith_sim_run_for(w.sim, 10 * KITH_SIM_S);
    assert_int_equal(records_of(&w, 1), records); /* said once */
    end_world(&w);
}

/* News comes while the disk is full, over a session that goes on: it is stored when there is room again, though who
 * sent it will not send it again. */
static void what_the_disk_did_not_take_is_not_lost(void **state)
{
    (void)state;
    static world w;
    kith_problem problem;
    char id[KITH_UUID_TEXT_SIZE];
    make_world(&w, 6, 2);
    assert_ok(pair(&w, 0, 1, false));
    forget_events(&w.v[0]);
    kith_core_ping(w.v[0].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), 20); /* twenty seconds */
    kith_sim_run_for(w.sim, KITH_SIM_S);
    kith_sim_set_capacity(w.v[1].host, 0);
    assert_ok(kith_home_set_name(w.v[0].home, "renamed", &problem));
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_int_equal(records_of(&w, 0), records_of(&w, 1) + 1);
    kith_sim_set_capacity(w.v[1].host, UINT64_MAX);
    kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
    assert_int_equal(records_of(&w, 0), records_of(&w, 1));
    called(&w, 1, 0, "renamed");
    assert_ok(ended(&w, &w.v[0])); /* all over one session */
    end_world(&w);
}

static kith_err admit_by_another_name(kith_graph *graph, void *user)
{
    const world *w = user;
    kith_graph_entry self, entry;
    kith_graph_entry_make(w->v[0].self.device.id, w->v[0].self.public_key, "device0", "Linux", "", &self);
    kith_graph_entry_make(w->v[1].self.device.id, w->v[1].self.public_key, "as it was", "Linux", "", &entry);
    kith_graph_author a = {.seed = w->v[0].seed, .self = &self, .now_ms = KITH_SIM_START_WALL_MS};
    return kith_graph_admit(graph, &a, &entry);
}

/* A device that was let in and did not hear of it enters at the next meeting; what it has to say of itself then comes
 * to the other over the same session, at whichever moment the home is looked at meanwhile. */
static void who_enters_late_is_heard(void **state)
{
    (void)state;
    static world w;
    kith_problem problem;
    kith_peer peer;
    char id[KITH_UUID_TEXT_SIZE];
    make_world(&w, 7, 2);
    assert_ok(kith_home_update_graph(w.v[0].home, admit_by_another_name, &w, &problem));
    know(&w.v[1], &w.v[0]);
    forget_events(&w.v[0]);
    kith_core_ping(w.v[0].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), 5);
    while (!last_event(&w.v[0], KITH_EVENT_END)) { /* as when a stream is opened */
        assert_true(kith_sim_step(w.sim));
        assert_true(kith__core_find_peer(w.v[1].core, w.v[0].self.fingerprint, &peer));
    }
    assert_int_equal(records_of(&w, 1), 3);
    assert_int_equal(records_of(&w, 0), 3);
    end_world(&w);
}

static void write_app_file(victim *v, const char *name)
{
    char id[KITH_UUID_TEXT_SIZE], text[200];
    int size =
        snprintf(text, sizeof text, "{\"id\": \"%s\", \"name\": \"%s\"}", kith_uuid_text(v->self.device.id, id), name);
    assert_ok(kith_atomic_write(v->env, kith_home_folder(v->home), "app.json", 0600, text, (size_t)size));
}

/* The same in the device.json of an application: while the node runs its home begins to refer to that, and then the
 * application gives the device another name, twice. */
static void a_new_name_in_an_applications_file_is_said(void **state)
{
    (void)state;
    static world w;
    kith_problem problem;
    char id[KITH_UUID_TEXT_SIZE], path[256];
    make_world(&w, 5, 2);
    assert_ok(pair(&w, 0, 1, false));
    forget_events(&w.v[0]);
    kith_core_ping(w.v[0].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), 20);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    write_app_file(&w.v[1], "theirs");
    snprintf(path, sizeof path, "%s/app.json", kith_home_folder(w.v[1].home));
    assert_ok(kith_home_refer(w.v[1].home, path, &problem));
    kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
    called(&w, 0, 1, "theirs");
    write_app_file(&w.v[1], "renamed");
    kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
    called(&w, 0, 1, "renamed");
    write_app_file(&w.v[1], "again");
    kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
    called(&w, 0, 1, "again");
    end_world(&w);
}

/* An application that gives its device another name all the time fills no graph. */
static void names_have_an_end(void **state)
{
    (void)state;
    static world w;
    kith_rng rng;
    kith_problem problem;
    const uint8_t seed[KITH_RNG_SEED_SIZE] = {5};
    char name[32];
    bool founded;
    make_world(&w, 8, 1);
    victim *v = &w.v[0];
    kith_rng_init(&rng, seed);
    size_t records = records_of(&w, 0);
    for (size_t i = 0; i < KITH_HOME_NAMES_MAX + 20; i++) {
        snprintf(name, sizeof name, "name %zu", i);
        assert_ok(kith_home_set_name(v->home, name, &problem));
        assert_ok(kith_home_tend_graph(v->home, v->seed, &rng, KITH_SIM_START_WALL_MS, &founded, &problem));
    }
    assert_int_equal(records_of(&w, 0), records + KITH_HOME_NAMES_MAX);
    kith_rng_done(&rng);
    end_world(&w);
}

/* A device with others of its own stays with them, unless it is told to leave. */
static void who_has_others_stays(void **state)
{
    (void)state;
    static world w; /* events take megabytes */
    make_world(&w, 2, 4);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 2, 3, false));
    assert_int_equal(pair(&w, 0, 3, false), KITH_ERR_STATE);
    assert_non_null(strstr(last_event(&w.v[3], KITH_EVENT_END)->message, "--replace-master"));
    assert_int_equal(state_of(&w, 3, 2), KITH_MEMBER);
    assert_ok(pair(&w, 0, 3, true));
    assert_int_equal(state_of(&w, 3, 0), KITH_MEMBER);
    assert_int_equal(state_of(&w, 3, 2), 0);
    assert_false(pinned_as_own(&w, 3, 2));
    assert_true(pinned_as_own(&w, 3, 1)); /* through 0 */
    end_world(&w);
}

/* The joiner's disk fails from its n-th write on: it says so, or it is in, in what its files say, too; and joining
 * again, once there is a disk again, brings it in.  False: it made fewer writes. */
static bool join_with_a_failing_disk(bool replace, uint64_t n)
{
    static world w;
    make_world(&w, 8, replace ? 3 : 2);
    victim *joiner = &w.v[1];
    if (replace) assert_ok(pair(&w, 2, 1, false));
    uint64_t before = kith_sim_file_ops(joiner->env);
    kith_sim_fail_file_at(joiner->env, n, KITH_ERR_NO_SPACE, KITH_SIM_FAIL_ON);
    kith_err err = pair(&w, 0, 1, replace);
    bool failed = kith_sim_file_ops(joiner->env) - before >= n;
    kith_sim_fail_file_at(joiner->env, 0, KITH_OK, KITH_SIM_FAIL_ONCE);
    if (err) {
        assert_int_equal(err, KITH_ERR_NO_SPACE);
        if (last_event(joiner, KITH_EVENT_PAIRED)) fail_msg("write %u: paired, and then not", (unsigned)n);
        assert_true(*last_event(joiner, KITH_EVENT_END)->message);
        kith_sim_run_for(w.sim, 20 * KITH_SIM_S);
        assert_ok(pair(&w, 0, 1, replace));
    }
    if (state_of(&w, 1, 0) != KITH_MEMBER || state_of(&w, 1, 1) != KITH_MEMBER)
        fail_msg("write %u: not in it, after %s", (unsigned)n, kith_err_name(err));
    if (replace) assert_int_equal(state_of(&w, 1, 2), 0);
    assert_ok(ping(&w, 1, 0));
    end_world(&w);
    return failed;
}

static void joining_with_a_failing_disk(void **state)
{
    (void)state;
    uint64_t n = 1, m = 1;
    while (join_with_a_failing_disk(false, n)) n++;
    while (join_with_a_failing_disk(true, m)) m++;
    printf("%u and %u writes of a joiner failed\n", (unsigned)n - 1, (unsigned)m - 1);
    assert_true(n > 10 && m > 10);
}

/* ---- own devices gone bad ---- */

typedef struct said {
    uint8_t bytes[256];
    size_t size;
    bool ends; /* the session, for breaking the protocol */
} said;

static const said bad_words[] = {
    {{0xbf, 0xff, 0xff, 0xff}, 4, true},                                             /* a length of a gigabyte */
    {{0x80, 0x01, 0x00, 0x01}, 4, true},                                             /* one byte too many */
    {{0x01, 0x00}, 2, true},                                                         /* no map */
    {{0x03, 0xa1, 0x01, 0x01}, 4, true},                                             /* heads of no network */
    {{0x03, 0xa1, 0x01, 0x18}, 4, true},                                             /* cut in the middle */
    {{0x06, 0xa3, 0x01, 0x02, 0x02, 0x80, 0x03}, 7, true},                           /* records, and no word on more */
    {{0x04, 0xa1, 0x01, 0x18, 0x63}, 5, false},                                      /* a kind of a later version */
    {{0x07, 0xa3, 0x01, 0x02, 0x02, 0x80, 0x03, 0xf4}, 8, false},                    /* no records */
    {{0x0a, 0xa3, 0x01, 0x02, 0x02, 0x82, 0x40, 0x41, 0x00, 0x03, 0xf4}, 11, false}, /* records that are none */
    {{0x40}, 1, false},                                                              /* the beginning of a length */
};

/* Whatever an own device says of the graph, the node goes on, with the graph as it was. */
static void bad_words_do_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_words / sizeof *bad_words; i++) {
        static world w;
        static hostile bad;
        make_world(&w, 10 + i, 2);
        assert_ok(pair(&w, 0, 1, false));
        size_t records = records_of(&w, 0);
        hostile_make(&bad, w.sim, w.lan, "bad", "192.168.1.66");
        trust(&w.v[0], &bad, KITH_PEER_OWN, false);
        line *l = dial_node(&bad, &w.v[0], "192.168.1.10");
        kith_sim_run_for(w.sim, KITH_SIM_S);
        assert_true(l->heard);
        assert_non_null(ask(&bad, l, 6, bad_words[i].bytes, bad_words[i].size));
        kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
        if ((closed_with(&bad, KITH_WIRE_PROTOCOL) == 1) != bad_words[i].ends) fail_msg("words %zu", i);
        if (!bad_words[i].ends) { /* a second stream for it is refused */
            assert_non_null(ask(&bad, l, 6, NULL, 0));
            kith_sim_run_for(w.sim, KITH_SIM_S);
            assert_true(bad.resets[bad.reset_count - 1] == KITH_WIRE_NOT_ALLOWED);
        }
        assert_ok(ping(&w, 0, 1));
        assert_int_equal(records_of(&w, 0), records);
        hostile_free(&bad);
        end_world(&w);
    }
}

/* ---- an own device that goes on and on ---- */

typedef struct nagging {
    uint8_t bytes[KITH_TRUST_OUTPUT_MAX];
    size_t size, asked; /* how often the node said its heads */
} nagging;

/* Whatever the node says: the same again. */
static void nag(hostile *h, line *l, const kith_quic_event *event)
{
    nagging *n = h->user;
    const uint8_t *data;
    size_t size;
    bool fin;
    (void)l;
    if (event->kind != KITH_QUIC_READABLE || kith_stream_id(event->stream) & 2) return;
    while (kith_stream_peek(event->stream, &data, &size, &fin)) {
        n->asked++;
        kith_stream_consume(event->stream, size);
        assert_ok(kith_stream_write(event->stream, n->bytes, n->size));
    }
}

/* Records that come before what they need, again and again: as between two devices whose graphs are full of other
 * things. */
static void what_cannot_be_taken_is_not_asked_for_again(void **state)
{
    (void)state;
    static world w;
    static hostile bad;
    static nagging n;
    kith_graph *graph;
    kith_graph_entry self, other;
    const uint8_t seed[32] = {7}, other_seed[32] = {8}, uuid[KITH_UUID_SIZE] = {7}, other_uuid[KITH_UUID_SIZE] = {8};
    uint8_t public_key[32];
    size_t one = 1, taken;
    make_world(&w, 40, 1);
    n = (nagging){.asked = 0};
    kith_ed25519_public(seed, public_key);
    kith_graph_entry_make(uuid, public_key, "x", "", "", &self);
    kith_ed25519_public(other_seed, public_key);
    kith_graph_entry_make(other_uuid, public_key, "y", "", "", &other);
    kith_graph_author a = {.seed = seed, .self = &self};
    assert_ok(kith_graph_new(&graph));
    assert_ok(kith_graph_found(graph, &a, NULL, NULL));
    assert_ok(kith_graph_admit(graph, &a, &other));
    n.size = kith_trust_write_records(graph, &one, 1, n.bytes, &taken);
    assert_true(n.size && taken == 1);
    kith_graph_free(graph);
    hostile_make(&bad, w.sim, w.lan, "bad", "192.168.1.66");
    bad.user = &n;
    bad.on = nag;
    trust(&w.v[0], &bad, KITH_PEER_OWN, false);
    line *l = dial_node(&bad, &w.v[0], "192.168.1.10");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_non_null(ask(&bad, l, 6, n.bytes, n.size));
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_true(n.asked >= 1 && n.asked <= 2);
    hostile_free(&bad);
    end_world(&w);
}

#define RUBBISH_SIZE 60000

/* Messages of `count` records of `each` bytes, as many as fit. */
static size_t write_rubbish(size_t count, size_t each, uint8_t *out)
{
    kith_writer w = kith_writer_of(out, RUBBISH_SIZE);
    size_t size = 0;
    while (!w.bad) {
        size = kith_writer_size(&w);
        uint8_t *length = kith_write_room(&w, 4);
        kith_cbor_write_map(&w, 3);
        kith_cbor_write_uint(&w, 1);
        kith_cbor_write_uint(&w, KITH_TRUST_RECORDS);
        kith_cbor_write_uint(&w, 2);
        kith_cbor_write_array(&w, count);
        for (size_t i = 0; i < count; i++) (void)kith_cbor_write_bytes_room(&w, each);
        kith_cbor_write_uint(&w, 3);
        kith_cbor_write_bool(&w, true);
        if (w.bad) break;
        kith_writer head = kith_writer_of(length, 4);
        kith_write_u32(&head, (uint32_t)(kith_writer_size(&w) - size - 4) | UINT32_C(0x80000000));
    }
    return size;
}

/* Records without end while the graph's file cannot be used, very small ones and large ones: what waits does not grow
 * with time. */
static void what_waits_for_the_disk_is_bounded(void **state)
{
    (void)state;
    static const struct {
        size_t count, each;
    } rubbish[] = {{RUBBISH_SIZE - 100, 0}, {1, 200}};
    for (size_t i = 0; i < 2; i++) {
        static world w;
        static hostile bad;
        static uint8_t message[RUBBISH_SIZE];
        char path[256];
        uint8_t *graph;
        size_t graph_size;
        make_world(&w, 42 + i, 1);
        hostile_make(&bad, w.sim, w.lan, "bad", "192.168.1.66");
        trust(&w.v[0], &bad, KITH_PEER_OWN, false);
        line *l = dial_node(&bad, &w.v[0], "192.168.1.10");
        kith_sim_run_for(w.sim, KITH_SIM_S);
        const char *home = kith_home_folder(w.v[0].home);
        snprintf(path, sizeof path, "%s/graph.cbor", home);
        assert_ok(kith_read_whole(w.v[0].env, path, KITH_GRAPH_FILE_MAX, &graph, &graph_size, NULL));
        assert_ok(kith_atomic_write(w.v[0].env, home, "graph.cbor", 0600, "x", 1));
        size_t size = write_rubbish(rubbish[i].count, rubbish[i].each, message);
        int64_t most = (int64_t)OWN_PENDING_BYTES / (int64_t)(rubbish[i].each + sizeof(void *));
        kith_stream *stream = ask(&bad, l, 6, message, size);
        assert_non_null(stream);
        int64_t before = kith_mem_live();
        for (size_t n = 0; n < 100; n++) {
            assert_ok(kith_stream_write(stream, message, size));
            quic_env_flush(&bad.quic);
            kith_sim_run_for(w.sim, KITH_SIM_S / 4);
            assert_true(l->conn != NULL);
            assert_true(kith_mem_live() < before + most + 1000);
        }
        assert_ok(kith_atomic_write(w.v[0].env, home, "graph.cbor", 0600, graph, graph_size));
        kith_free(graph);
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        assert_true(kith_mem_live() < before + 1000); /* looked at, and dropped */
        hostile_free(&bad);
        end_world(&w);
    }
}

/* Who asks for everything, again and again, and takes none of it. */
static void who_asks_and_does_not_take(void **state)
{
    (void)state;
    static world w;
    static hostile bad;
    kith_graph *graph;
    kith_problem problem;
    uint8_t heads[128];
    size_t record = 0;
    make_world(&w, 41, 1);
    if (kith_home_load_graph(w.v[0].home, &graph, &problem)) fail_msg("%s", problem.message);
    (void)kith_graph_bytes(graph, 0, &record);
    size_t size = kith_trust_write_heads(kith_graph_id(graph, 0), NULL, 0, heads, sizeof heads);
    kith_graph_free(graph);
    assert_true(size);
    hostile_make(&bad, w.sim, w.lan, "bad", "192.168.1.66");
    trust(&w.v[0], &bad, KITH_PEER_OWN, false);
    line *l = dial_node(&bad, &w.v[0], "192.168.1.10");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    kith_stream *stream = ask(&bad, l, 6, heads, size);
    assert_non_null(stream);
    size_t enough = 2 * (OWN_UNSENT_MAX / record);
    for (size_t i = 0; i < enough && l->conn; i++) {
        assert_ok(kith_stream_write(stream, heads, size));
        if (i % 1000) continue;
        quic_env_flush(&bad.quic);
        kith_sim_run_for(w.sim, KITH_SIM_S / 10);
    }
    quic_env_flush(&bad.quic);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_int_equal(closed_with(&bad, KITH_WIRE_PROTOCOL), 1);
    hostile_free(&bad);
    end_world(&w);
}

/* A contact does not get to hear of it. */
static void contacts_are_not_told(void **state)
{
    (void)state;
    static world w;
    static hostile bad;
    make_world(&w, 30, 1);
    hostile_make(&bad, w.sim, w.lan, "bad", "192.168.1.66");
    trust(&w.v[0], &bad, KITH_PEER_CONTACT, false);
    line *l = dial_node(&bad, &w.v[0], "192.168.1.10");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_non_null(ask(&bad, l, 6, NULL, 0));
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(bad.reset_count, 1);
    assert_true(bad.resets[0] == KITH_WIRE_NOT_ALLOWED);
    /* Nor can one tell this device what only its own can. */
    char text[256];
    kith_conn_close(l->conn, KITH_WIRE_REVOKED, "1\nyour bank\ncall this number", bad.env->base->now_ns(bad.env));
    quic_env_flush(&bad.quic);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    kith__own_told_text(w.v[0].core, text, sizeof text);
    assert_string_equal(text, kith_err_text(KITH_ERR_REVOKED));
    hostile_free(&bad);
    end_world(&w);
}

/* When it was last there, as other commands of the home read it. */
static int64_t seen_at(world *w, size_t i, size_t whom)
{
    kith_seen *seen;
    assert_ok(kith_home_load_seen(w->v[i].home, &seen));
    const kith_seen_peer *peer = kith_seen_find(seen, w->v[whom].self.fingerprint);
    int64_t at = peer ? peer->last_seen_ms : 0;
    kith_seen_free(seen);
    return at;
}

/* It is written once a minute, and once more when the last device has gone. */
static void when_the_last_was_seen_is_written(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 65, 2);
    assert_ok(pair(&w, 0, 1, false));
    kith_sim_run_for(w.sim, 20 * KITH_SIM_S);
    int64_t first = seen_at(&w, 0, 1), now = w.v[0].core->env->base->wall_ms(w.v[0].core->env);
    assert_true(first > 0 && now - first >= 15000);
    assert_ok(ping(&w, 1, 0)); /* within the minute */
    victim_close(&w.v[1]);
    w.v[1].core = NULL;
    kith_sim_run_for(w.sim, 70 * KITH_SIM_S);
    assert_true(seen_at(&w, 0, 1) >= now);
    end_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(pairing_makes_one_network),
                                       TEST(a_new_name_is_said),
                                       TEST(a_new_name_in_an_applications_file_is_said),
                                       TEST(names_have_an_end),
                                       TEST(who_has_others_stays),
                                       TEST(joining_with_a_failing_disk),
                                       TEST(bad_words_do_nothing),
                                       TEST(contacts_are_not_told),
                                       TEST(what_cannot_be_taken_is_not_asked_for_again),
                                       TEST(what_waits_for_the_disk_is_bounded),
                                       TEST(who_asks_and_does_not_take),
                                       TEST(what_the_disk_did_not_take_is_not_lost),
                                       TEST(who_enters_late_is_heard),
                                       TEST(when_the_last_was_seen_is_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
