/* Own devices that are revoked, as whole nodes: the others refuse it at once, whoever hears it from whom, and tell it
 * why; it knows it by its own files from then on; it is heard when it appeals; and worlds of five devices with
 * partitions in which nobody serves a revoked device that could have heard.  KITH_SEEDS / 50 says how many worlds
 * (default 8). */
#include "crypto/blake3.h"
#include "own_world.h"
#include "service/code.h"

#include <stdlib.h>

/* ---- revoking ---- */

static void a_revoked_device_is_refused_and_told(void **state)
{
    (void)state;
    static world w; /* events take megabytes */
    make_world(&w, 3, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    /* A session that is alive: 2 pings 1 without end. */
    char id[KITH_UUID_TEXT_SIZE];
    assert_ok(ping(&w, 1, 0)); /* both have the news of each other, and sessions with 0 */
    assert_ok(ping(&w, 2, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    forget_events(&w.v[2]);
    kith_core_ping(w.v[2].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), 0);
    kith_sim_run_for(w.sim, 5 * KITH_SIM_S);
    assert_non_null(last_event(&w.v[2], KITH_EVENT_PONG));
    assert_null(last_event(&w.v[2], KITH_EVENT_END));
    revoke(&w, 0, 2); /* 1 hears it from 0, over the session that is there */
    assert_int_equal(ended(&w, &w.v[2]), KITH_ERR_REVOKED);
    const char *told = last_event(&w.v[2], KITH_EVENT_END)->message;
    if (strcmp(told, "this device was revoked by device0 on 2026-11-24: stolen on the train") != 0 &&
        !strstr(told, "this device was revoked by device0 on 20"))
        fail_msg("%s", told);
    assert_non_null(strstr(told, ": stolen on the train"));
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER_REVOKED);
    assert_false(pinned_as_own(&w, 1, 2));
    assert_int_equal(ping(&w, 2, 0), KITH_ERR_REVOKED);
    assert_int_equal(ping(&w, 2, 1), KITH_ERR_REVOKED);
    assert_int_equal(ping(&w, 1, 2), KITH_ERR_NOT_FOUND);
    assert_ok(ping(&w, 1, 0));
    /* Nor can it be let in again, there or by itself. */
    assert_int_equal(pair(&w, 1, 2, true), KITH_ERR_REVOKED);
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER_REVOKED);
    end_world(&w);
}

/* What the node of `i` says of itself: that it is revoked, and why; "": it is not. */
static const char *says(world *w, size_t i)
{
    static char text[KITH_REVOCATION_TEXT_SIZE];
    kith_core_revoked(w->v[i].core, text, sizeof text);
    return text;
}

static void restart(world *w, size_t i)
{
    victim *v = &w->v[i];
    v->closed = false;
    kith_core_close(v->core, victim_closed, v);
    if (!kith_sim_run_until(w->sim, victim_is_closed, v, 60 * KITH_SIM_S)) fail_msg("the node does not close");
    kith_core_free(v->core);
    victim_open(v);
}

/* It knows by its own files, whoever tells it and however: over a session that was alive, or when it comes again later,
 * to the one that revoked it or to one that heard of it; also after its node was started anew. */
static void a_revoked_device_remembers(void **state)
{
    (void)state;
    for (size_t way = 0; way < 4; way++) {
        static world w;
        make_world(&w, 50 + way, 3);
        assert_ok(pair(&w, 0, 1, false));
        assert_ok(pair(&w, 0, 2, false));
        assert_ok(ping(&w, 1, 0));
        assert_ok(ping(&w, 2, 0)); /* and that session stays */
        if (way) kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
        const bool later = way > 0;
        size_t from = way == 2 ? 1 : 0;
        if (way == 2) assert_ok(ping(&w, 1, 0)); /* 1 hears of it over that */
        revoke(&w, 0, 2);
        kith_sim_run_for(w.sim, 3 * KITH_SIM_S);
        if (later) assert_int_equal(state_of(&w, 2, 2), KITH_MEMBER);
        assert_string_equal(says(&w, 0), "");
        if (way == 3) assert_int_equal(pair(&w, 0, 2, true), KITH_ERR_REVOKED); /* it wants to join again */
        if (way == 1 || way == 2) assert_int_equal(ping(&w, 2, from), KITH_ERR_REVOKED);
        kith_sim_run_for(w.sim, KITH_SIM_S);
        assert_int_equal(state_of(&w, 2, 2), KITH_MEMBER_REVOKED);
        assert_non_null(strstr(says(&w, 2), "this device was revoked by device0 on 20"));
        assert_non_null(strstr(says(&w, 2), ": stolen on the train"));
        restart(&w, 2);
        assert_non_null(strstr(says(&w, 2), ": stolen on the train"));
        const kith_receive_options options = {.size = sizeof options, .folder = "/in"};
        forget_events(&w.v[2]);
        kith_core_receive(w.v[2].core, w.op++, &options);
        assert_string_equal(last_event(&w.v[2], KITH_EVENT_REVOKED)->message, says(&w, 2));
        /* It shows nobody a code; those that it knows as its own are still there to be asked. */
        const kith_pair_options own = {.size = sizeof own, .yes = true};
        kith_core_pair(w.v[2].core, w.op++, &own);
        assert_int_equal(last_event(&w.v[2], KITH_EVENT_END)->err, KITH_ERR_REVOKED);
        assert_int_equal(ping(&w, 2, 0), KITH_ERR_REVOKED);
        end_world(&w);
    }
}

/* It is handed what its revoker knew, and nothing that came after. */
static void a_revoked_device_learns_no_more(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 60, 4);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
    revoke(&w, 0, 1);
    assert_ok(pair(&w, 0, 3, false)); /* later */
    assert_int_equal(ping(&w, 1, 0), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 1), KITH_MEMBER_REVOKED);
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER);
    assert_int_equal(state_of(&w, 1, 3), 0);
    assert_int_equal(state_of(&w, 0, 3), KITH_MEMBER);
    end_world(&w);
}

/* A thief of a device that was let in later revokes one before it, and tells it so.  One that has not heard of the
 * thief cannot know better, and says it until it meets one that does; one that has believes nothing. */
static void a_thief_silences_nobody(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 61, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    assert_ok(ping(&w, 2, 1));
    kith_sim_run_for(w.sim, 40 * KITH_SIM_S);
    revoke(&w, 0, 2);
    revoke(&w, 2, 1); /* the thief */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(ping(&w, 1, 2), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_non_null(strstr(says(&w, 1), "this device was revoked by device2"));
    assert_ok(ping(&w, 1, 0)); /* which lets it in */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_string_equal(says(&w, 1), "");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(state_of(&w, i, 1), KITH_MEMBER);
        assert_int_equal(state_of(&w, i, 2), KITH_MEMBER_REVOKED);
    }
    assert_int_equal(ping(&w, 2, 0), KITH_ERR_REVOKED);
    assert_string_equal(says(&w, 0), "");
    kith_sim_run_for(w.sim, KITH_SIM_S);
    assert_non_null(strstr(says(&w, 2), "this device was revoked by device0"));
    end_world(&w);
}

/* ---- appeals ---- */

/* The thief, let in last, is quicker: the others hear that it has revoked the first device before they hear that this
 * one has revoked it.  They let the first one say so. */
static void who_was_let_in_earlier_is_heard(void **state)
{
    (void)state;
    static world w;
    make_world(&w, 8, 3);
    assert_ok(pair(&w, 0, 1, false));
    assert_ok(pair(&w, 0, 2, false));
    assert_ok(ping(&w, 1, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, true));
    assert_ok(kith_sim_partition(w.v[0].host, w.v[2].host, true));
    revoke(&w, 2, 0);
    revoke(&w, 0, 2);
    assert_ok(ping(&w, 1, 2));
    kith_sim_run_for(w.sim, 60 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER_REVOKED);
    assert_ok(kith_sim_partition(w.v[0].host, w.v[1].host, false));
    assert_ok(kith_sim_partition(w.v[0].host, w.v[2].host, false));
    assert_ok(ping(&w, 0, 1));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER);
    assert_int_equal(state_of(&w, 1, 2), KITH_MEMBER_REVOKED);
    assert_int_equal(records_of(&w, 0), records_of(&w, 1));
    assert_int_equal(ping(&w, 2, 1), KITH_ERR_REVOKED);
    assert_ok(ping(&w, 1, 0));
    end_world(&w);
}

/* 0 founds its network with a code, and is revoked by a thief who was let in later; so 1 hears it. */
static void make_thrown_out(world *w, uint64_t seed, const uint8_t *code)
{
    kith_problem problem;
    kith_recovery_public pair_of;
    kith_graph_entry self;
    kith_graph *graph;
    make_world(w, seed, 3);
    kith_recovery_derive(code, &pair_of);
    kith_graph_entry_make(w->v[0].self.device.id, w->v[0].self.public_key, "device0", "Linux", "", &self);
    const kith_graph_author a = {.seed = w->v[0].seed, .self = &self, .now_ms = KITH_SIM_START_WALL_MS};
    assert_ok(kith_graph_new(&graph));
    assert_ok(kith_graph_found(graph, &a, &pair_of, NULL));
    assert_ok(kith_home_replace_graph(w->v[0].home, graph, &problem));
    kith_graph_free(graph);
    kith_sim_run_for(w->sim, KITH_SIM_S);
    assert_ok(pair(w, 0, 1, false));
    assert_ok(pair(w, 0, 2, false));
    assert_ok(ping(w, 1, 0));
    kith_sim_run_for(w->sim, 40 * KITH_SIM_S);
    revoke(w, 2, 0);
    assert_ok(ping(w, 1, 2));
    kith_sim_run_for(w->sim, 2 * KITH_SIM_S);
}

static void use_code(world *w, size_t by, size_t whom, const uint8_t *code, const uint8_t *next)
{
    kith_problem problem;
    kith_rng rng;
    kith_recovery_public pair_of;
    kith_graph_entry gone;
    const uint8_t rng_seed[KITH_RNG_SEED_SIZE] = {2};
    kith_rng_init(&rng, rng_seed);
    kith_recovery_derive(next, &pair_of);
    const kith_home_author who = {.seed = w->v[by].seed, .rng = &rng, .now_ms = KITH_SIM_START_WALL_MS};
    assert_ok(
        kith_home_revoke(w->v[by].home, &who, w->v[whom].self.device.id, "a thief", code, &pair_of, &gone, &problem));
    kith_rng_done(&rng);
}

/* It appealed in vain and says so itself; then it has a reason why not, and is heard: it says so no more. */
static void who_was_told_is_a_member_again(void **state)
{
    (void)state;
    static world w;
    char text[KITH_REVOCATION_TEXT_SIZE];
    kith_problem problem;
    const uint8_t code[KITH_RECOVERY_CODE_SIZE] = {1}, next[KITH_RECOVERY_CODE_SIZE] = {2};
    make_thrown_out(&w, 70, code);
    size_t records = records_of(&w, 1);
    assert_ok(kith_home_set_name(w.v[0].home, "renamed", &problem)); /* a record that 1 has not heard of */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(ping(&w, 0, 1), KITH_ERR_REVOKED);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_non_null(strstr(says(&w, 0), "this device was revoked by device2 on 20"));
    assert_int_equal(records_of(&w, 1), records);
    restart(&w, 0);
    assert_non_null(strstr(says(&w, 0), "this device was revoked by device2 on 20"));
    assert_int_equal(ping(&w, 0, 1), KITH_ERR_REVOKED);
    kith__own_told_text(w.v[0].core, text, sizeof text);
    assert_non_null(strstr(text, "device2"));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    use_code(&w, 0, 2, code, next);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_ok(ping(&w, 0, 1)); /* the first thing that 1 hears of it */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_string_equal(says(&w, 0), "");
    kith__own_told_text(w.v[0].core, text, sizeof text);
    assert_string_equal(text, kith_err_text(KITH_ERR_REVOKED));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(state_of(&w, i, 0), KITH_MEMBER);
        assert_int_equal(state_of(&w, i, 1), KITH_MEMBER);
        assert_int_equal(state_of(&w, i, 2), KITH_MEMBER_REVOKED);
    }
    assert_int_equal(records_of(&w, 0), records_of(&w, 1));
    assert_ok(ping(&w, 1, 0));
    end_world(&w);
}

#define FILE_SIZE (KITH_GROUP_SIZE + 1) /* from so much on TCP is better */

/* A file goes over a second connection beside the one that is heard: that waits, and is served. */
static void a_file_of_who_appeals_is_taken(void **state)
{
    (void)state;
    static world w;
    char id[KITH_UUID_TEXT_SIZE];
    const uint8_t code[KITH_RECOVERY_CODE_SIZE] = {1}, next[KITH_RECOVERY_CODE_SIZE] = {2};
    const kith_send_options options = {.size = sizeof options};
    make_thrown_out(&w, 71, code);
    use_code(&w, 0, 2, code, next);
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    uint8_t *data = calloc(1, FILE_SIZE);
    assert_non_null(data);
    assert_ok(kith_sim_put_file(w.v[0].host, "/file", data, FILE_SIZE, 0600));
    free(data);
    kith_sim_set_work_delay(w.sim, KITH_SIM_S); /* so long a device is heard: for both connections to be there */
    forget_events(&w.v[0]), forget_events(&w.v[1]);
    kith_core_send_file(w.v[0].core, w.op++, kith_uuid_text(w.v[1].self.device.id, id), "/file", &options);
    assert_ok(ended(&w, &w.v[0]));
    assert_string_equal(last_event(&w.v[0], KITH_EVENT_SENT)->path, "tcp");
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    assert_int_equal(count_events(&w.v[1], KITH_EVENT_FILE), 1);
    assert_int_equal(state_of(&w, 1, 0), KITH_MEMBER);
    end_world(&w);
}

/* ---- those who appeal in bad faith ---- */

typedef struct appeal {
    kith_graph *known; /* up to his admission, and then what he says of himself */
    uint8_t bytes[KITH_TRUST_OUTPUT_MAX];
    size_t size;
    uint8_t heard[KITH_TRUST_OUTPUT_MAX]; /* that the node said on streams */
    size_t heard_size;
} appeal;

static void note_words(hostile *h, line *l, const kith_quic_event *event)
{
    appeal *a = h->user;
    const uint8_t *data;
    size_t size;
    bool fin;
    (void)l;
    if (event->kind != KITH_QUIC_READABLE || kith_stream_id(event->stream) & 2) return;
    while (kith_stream_peek(event->stream, &data, &size, &fin)) {
        assert_true(size <= sizeof a->heard - a->heard_size);
        memcpy(a->heard + a->heard_size, data, size);
        a->heard_size += size;
        kith_stream_consume(event->stream, size);
    }
}

/* He heard this, and nothing else: how often he was asked for all he has, and how many records he was told. */
static void heard(const appeal *a, size_t asked, size_t told)
{
    size_t heads = 0, records = 0;
    kith_reader r = kith_reader_of(a->heard, a->heard_size);
    while (kith_reader_left(&r)) {
        kith_trust_message m;
        uint64_t length = kith_read_varint(&r);
        const uint8_t *message = kith_read_view(&r, (size_t)length);
        assert_non_null(message);
        assert_ok(kith_trust_parse(message, (size_t)length, &m));
        assert_int_equal(m.head_count, 0);
        heads += m.kind == KITH_TRUST_HEADS;
        records += m.record_count;
    }
    assert_int_equal(heads, asked);
    assert_int_equal(records, told);
}

static kith_err let_in_and_revoke(kith_graph *graph, void *user)
{
    void **both = user;
    const victim *v = both[0];
    const hostile *h = both[1];
    appeal *a = h->user;
    kith_graph_entry self, his;
    kith_graph_entry_make(v->self.device.id, v->self.public_key, v->self.device.name, "Linux", "", &self);
    kith_graph_entry_make(h->signer.uuid, h->signer.public_key, h->hello.name, "", "", &his);
    const kith_graph_author by = {.seed = v->seed, .self = &self}, him = {.seed = h->seed, .self = &his};
    assert_ok(kith_graph_admit(graph, &by, &his));
    assert_ok(kith_graph_new(&a->known));
    for (size_t i = 0; i < kith_graph_count(graph); i++) {
        size_t size;
        const uint8_t *bytes = kith_graph_bytes(graph, i, &size);
        assert_ok(kith_graph_add(a->known, bytes, size));
    }
    assert_ok(kith_graph_describe(a->known, &him));
    return kith_graph_revoke(graph, &by, his.fingerprint, "gone bad");
}

/* The first `count` records he knows, after what he says already; `more`: and others, he says. */
static void show(appeal *a, size_t from, size_t count, bool more)
{
    static uint8_t out[KITH_TRUST_OUTPUT_MAX];
    size_t list[8], taken;
    for (size_t i = 0; i < count; i++) list[i] = from + i;
    size_t size = kith_trust_write_records(a->known, list, count, out, &taken);
    assert_true(size && taken == count && a->size + size < 1200);
    if (more) out[size - 1] = 0xf5; /* true */
    memcpy(a->bytes + a->size, out, size);
    a->size += size;
}

/* The newest that he knows; or, as who asks for all, nothing. */
static void show_heads(appeal *a, bool none)
{
    const uint8_t *last = kith_graph_id(a->known, kith_graph_count(a->known) - 1);
    size_t size = kith_trust_write_heads(kith_graph_id(a->known, 0), (const uint8_t(*)[KITH_GRAPH_ID_SIZE])last, !none,
                                         a->bytes + a->size, sizeof a->bytes - a->size);
    assert_true(size);
    a->size += size;
}

static void bad_make(world *w, hostile *h, appeal *a, const char *name, const char *addr)
{
    kith_problem problem;
    *a = (appeal){.known = NULL};
    hostile_make(h, w->sim, w->lan, name, addr);
    h->user = a;
    h->on = note_words;
    void *both[] = {&w->v[0], h};
    assert_ok(kith_home_update_graph(w->v[0].home, let_in_and_revoke, both, &problem));
}

static void bad_free(hostile *h)
{
    appeal *a = h->user;
    kith_graph_free(a->known);
    hostile_free(h);
}

static line *connect_bad(world *w, hostile *h)
{
    line *l = dial_node(h, &w->v[0], "192.168.1.10");
    kith_sim_run_for(w->sim, KITH_SIM_S);
    assert_true(l->conn && l->heard);
    return l;
}

enum { SHOWS_ALL, SHOWS_TWICE, SHOWS_HALF, GIVES_UP, PINGS, PAIRS, WAYS };

/* Whatever he shows and asks for, none of it is kept and he is not served; he is told why he is refused, what he lacks
 * for that and no more, and it does not take longer than it may. */
static void an_appeal_that_comes_to_nothing(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        static world w;
        static hostile bad;
        static appeal a;
        make_world(&w, 50, 1);
        bad_make(&w, &bad, &a, "bad", "192.168.1.66");
        size_t records = records_of(&w, 0);
        line *l = connect_bad(&w, &bad); /* a second of its time */
        bool slow = way == SHOWS_HALF || way == PINGS || way == PAIRS;
        if (way == SHOWS_ALL) show(&a, 0, 3, false);
        if (way == SHOWS_TWICE) show(&a, 0, 3, true), show(&a, 0, 3, false);
        if (way == SHOWS_HALF) show_heads(&a, false), show(&a, 0, 1, true);
        if (way == PINGS || way == PAIRS) assert_non_null(ask(&bad, l, way == PINGS ? 3 : 2, "12345678", 8));
        kith_stream *stream = slow && way != SHOWS_HALF ? NULL : ask(&bad, l, 6, a.bytes, a.size);
        if (way == GIVES_UP) {
            kith_sim_run_for(w.sim, KITH_SIM_S / 10);
            kith_stream_reset(stream, 0);
            quic_env_flush(&bad.quic);
        }
        if (slow) {
            kith_sim_run_for(w.sim, OWN_APPEAL_NS - 2 * KITH_SIM_S);
            assert_non_null(l->conn);
            heard(&a, way == SHOWS_HALF, 0);
            kith_sim_run_for(w.sim, KITH_SIM_S);
        }
        kith_sim_run_for(w.sim, KITH_SIM_S / 2);
        assert_int_equal(closed_with(&bad, KITH_WIRE_REVOKED), 1);
        assert_int_equal(records_of(&w, 0), records);
        static const size_t told[WAYS] = {[SHOWS_ALL] = 1, [SHOWS_TWICE] = 1, [SHOWS_HALF] = 2};
        heard(&a, way != PINGS && way != PAIRS, told[way]);
        bad_free(&bad);
        end_world(&w);
    }
}

/* While one is heard another device is told at once, and more connections of the same one wait; after it nobody is
 * heard for a while. */
static void appeals_are_heard_one_at_a_time(void **state)
{
    (void)state;
    static world w;
    static hostile bad, worse;
    static appeal a, b;
    make_world(&w, 51, 1);
    bad_make(&w, &bad, &a, "bad", "192.168.1.66");
    bad_make(&w, &worse, &b, "worse", "192.168.1.67");
    size_t records = records_of(&w, 0);
    line *first = connect_bad(&w, &bad), *second = connect_bad(&w, &bad), *other = connect_bad(&w, &worse);
    show(&a, 0, 1, true);
    assert_non_null(ask(&bad, first, 6, a.bytes, a.size));
    kith_sim_run_for(w.sim, KITH_SIM_S / 4);
    a.size = 0;
    show_heads(&a, true);
    assert_non_null(ask(&bad, second, 6, a.bytes, a.size));
    show_heads(&b, true);
    assert_non_null(ask(&worse, other, 6, b.bytes, b.size));
    kith_sim_run_for(w.sim, KITH_SIM_S / 4);
    heard(&a, 1, 0);
    heard(&b, 0, 5); /* found, bad let in and revoked, he let in and revoked */
    assert_true(first->conn && second->conn && !other->conn);
    kith_sim_run_for(w.sim, 3 * KITH_SIM_S); /* the first one's time is over, and the second may not begin anew */
    assert_true(!first->conn && !second->conn);
    assert_int_equal(closed_with(&bad, KITH_WIRE_REVOKED), 2);
    heard(&a, 1, 2 + 3);
    kith_sim_run_for(w.sim, OWN_APPEAL_PAUSE_NS);
    a.size = a.heard_size = 0;
    show(&a, 0, 3, false);
    for (int again = 0; again < 2; again++) { /* the second time within the pause */
        line *l = dial_node(&bad, &w.v[0], "192.168.1.10");
        kith_sim_run_for(w.sim, KITH_SIM_S / 4);
        assert_non_null(ask(&bad, l, 6, a.bytes, a.size));
        kith_sim_run_for(w.sim, KITH_SIM_S / 4);
        heard(&a, 1, 1);
    }
    kith_sim_run_for(w.sim, OWN_TELL_NS);
    assert_int_equal(closed_with(&bad, KITH_WIRE_REVOKED), 4);
    assert_int_equal(records_of(&w, 0), records);
    bad_free(&bad), bad_free(&worse);
    end_world(&w);
}

/* To who dials him: the same, over a stream of his own and over one that he is asked on. */
static void show_to_dialler(hostile *h, line *l, const kith_quic_event *event)
{
    appeal *a = h->user;
    bool asked = event->kind == KITH_QUIC_READABLE && !(kith_stream_id(event->stream) & 2) && a->heard_size == 0;
    note_words(h, l, event);
    if (event->kind == KITH_QUIC_READABLE && kith_stream_id(event->stream) & 2 && !l->user)
        l->user = ask(h, l, 6, a->bytes, a->size);
    if (asked) assert_ok(kith_stream_write(event->stream, a->bytes, a->size));
}

/* He announces the code that the person types, and is dialled; he says who he is, or does not. */
static void a_revoked_device_adds_nothing_to_a_joiners_graph(void **state)
{
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        static world w;
        static hostile bad;
        static appeal a;
        kith_words words;
        char why[256];
        const char *text = "zoo ability able about above absent";
        make_world(&w, 62, 1);
        bad_make(&w, &bad, &a, "bad", "192.168.1.66");
        kith_peer peer;
        assert_false(kith__core_find_peer(w.v[0].core, bad.signer.fingerprint, &peer)); /* it looks at its files */
        kith_sim_run_for(w.sim, KITH_SIM_S);
        size_t records = records_of(&w, 0);
        show(&a, 0, 3, false);
        bad.silent = silent;
        bad.on = show_to_dialler;
        assert_ok(kith_words_parse(text, &words, why, sizeof why));
        announce(&bad, w.lan, "192.168.1.66", kith_words_tag(&words));
        const kith_pair_options options = {.size = sizeof options, .yes = true};
        forget_events(&w.v[0]);
        kith_core_join(w.v[0].core, w.op++, text, &options);
        (void)ended(&w, &w.v[0]);
        assert_true(bad.count && bad.lines[0].user);
        assert_true((a.heard_size > 0) == !silent);
        assert_int_equal(closed_with(&bad, KITH_WIRE_REVOKED) > 0, !silent);
        assert_int_equal(records_of(&w, 0), records);
        bad_free(&bad);
        end_world(&w);
    }
}

/* ---- worlds ---- */

/* Which devices have heard of a revocation, as far as they could: news travels with every session. */
static void live(uint64_t seed)
{
    static world w; /* events take megabytes */
    make_world(&w, seed, DEVICES);
    for (size_t i = 1; i < DEVICES; i++) assert_ok(pair(&w, (size_t)kith_sim_random(w.sim) % i, i, false));
    for (size_t i = 1; i < DEVICES; i++) assert_ok(ping(&w, i, 0));
    for (size_t i = 1; i < DEVICES; i++) assert_ok(ping(&w, i, 0));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    for (size_t i = 0; i < DEVICES; i++)
        for (size_t k = 0; k < DEVICES; k++)
            if (state_of(&w, i, k) != KITH_MEMBER)
                fail_msg("seed %llu: %zu is not in for %zu", (unsigned long long)seed, k, i);
    /* One is stolen; another, admitted earlier or the first, revokes it while one more is cut off. */
    size_t thief = 1 + (size_t)kith_sim_random(w.sim) % (DEVICES - 1), by = 0, cut = thief;
    while (cut == thief || cut == by) cut = (size_t)kith_sim_random(w.sim) % DEVICES;
    for (size_t i = 0; i < DEVICES; i++)
        if (i != cut && i != thief) assert_ok(kith_sim_partition(w.v[cut].host, w.v[i].host, true));
    revoke(&w, by, thief);
    for (size_t i = 0; i < DEVICES; i++)
        if (i != by && i != cut && i != thief) assert_ok(ping(&w, i, by));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    for (size_t i = 0; i < DEVICES; i++) {
        if (i == thief) continue;
        kith_err err = ping(&w, thief, i);
        if (err != (i == cut ? KITH_OK : KITH_ERR_REVOKED))
            fail_msg("seed %llu: the thief at %zu: %s", (unsigned long long)seed, i, kith_err_name(err));
    }
    /* The cut is over: it meets anybody, and has heard; also when its session with the thief lives on. */
    for (size_t i = 0; i < DEVICES; i++)
        if (i != cut && i != thief) assert_ok(kith_sim_partition(w.v[cut].host, w.v[i].host, false));
    size_t other = cut;
    while (other == cut || other == thief) other = (size_t)kith_sim_random(w.sim) % DEVICES;
    kith_sim_run_for(w.sim, 40 * KITH_SIM_S); /* dead sessions are given up */
    assert_ok(ping(&w, cut, other));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    if (ping(&w, thief, cut) != KITH_ERR_REVOKED)
        fail_msg("seed %llu: the thief is still served", (unsigned long long)seed);
    for (size_t i = 0; i < DEVICES; i++)
        if (i != thief && (state_of(&w, i, thief) != KITH_MEMBER_REVOKED || pinned_as_own(&w, i, thief)))
            fail_msg("seed %llu: it is still in at %zu", (unsigned long long)seed, i);
    end_world(&w);
}

static void nobody_serves_a_revoked_device(void **state)
{
    (void)state;
    const char *one = getenv("KITH_SEED"), *text = getenv("KITH_SEEDS");
    uint64_t seeds = text ? strtoull(text, NULL, 10) / 50 + 1 : 8;
    if (one) {
        live(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++) live(seed);
    printf("%llu worlds\n", (unsigned long long)seeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_revoked_device_is_refused_and_told), TEST(a_revoked_device_remembers),
        TEST(a_revoked_device_learns_no_more),      TEST(a_thief_silences_nobody),
        TEST(who_was_let_in_earlier_is_heard),      TEST(who_was_told_is_a_member_again),
        TEST(a_file_of_who_appeals_is_taken),       TEST(an_appeal_that_comes_to_nothing),
        TEST(appeals_are_heard_one_at_a_time),      TEST(a_revoked_device_adds_nothing_to_a_joiners_graph),
        TEST(nobody_serves_a_revoked_device)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
