/* Revoked devices that appeal in bad faith: again and again, by halves, slowly, over several connections, with records
 * that prove nothing, and to who dials them. */
#include "graph_world.h"
#include "own_world.h"
#include "service/code.h"

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

/* ---- long ones ---- */

/* He says much of himself: `count` records of about 400 bytes. */
static void say_much(const hostile *h, appeal *a, size_t count)
{
    char text[KITH_NAME_SIZE];
    kith_graph_entry his;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    kith_graph_entry_make(h->signer.uuid, h->signer.public_key, text, text, text, &his);
    const kith_graph_author him = {.seed = h->seed, .self = &his};
    for (size_t i = 0; i < count; i++) assert_ok(kith_graph_describe(a->known, &him));
}

/* He shows what he knows from record `*at` on, up to about so many bytes more; `all` of it is the last. */
static void show_some(hostile *h, appeal *a, kith_stream *s, size_t *at, size_t bytes)
{
    static uint8_t out[KITH_TRUST_OUTPUT_MAX];
    size_t list[KITH_GRAPH_RECORDS_MAX], taken, count = kith_graph_count(a->known), size;
    for (size_t said = 0; *at < count && said < bytes; said += size, *at += taken) {
        size_t some = count - *at < 8 ? count - *at : 8;
        for (size_t i = 0; i < some; i++) list[i] = *at + i;
        size = kith_trust_write_records(a->known, list, some, out, &taken);
        assert_true(size && taken == some);
        if (*at + taken < count) out[size - 1] = 0xf5; /* more */
        if (kith_stream_write(s, out, size)) return;   /* it is over */
    }
    quic_env_flush(&h->quic);
}

/* Someone let in later had it revoked, and it answers: so it is a member by what it knows. */
static kith_err revoke_wrongly(kith_graph *graph, void *user)
{
    void **both = user;
    const victim *v = both[0];
    const hostile *h = both[1];
    appeal *a = h->user;
    const world_device third = world_device_of(9);
    kith_graph_entry self, his;
    kith_graph_entry_make(v->self.device.id, v->self.public_key, v->self.device.name, "Linux", "", &self);
    kith_graph_entry_make(h->signer.uuid, h->signer.public_key, h->hello.name, "", "", &his);
    const kith_graph_author by = {.seed = v->seed, .self = &self}, him = {.seed = h->seed, .self = &his};
    const kith_graph_author other = world_author(&third);
    assert_ok(kith_graph_admit(graph, &by, &his));
    assert_ok(kith_graph_admit(graph, &by, &third.entry));
    a->known = world_copy(graph);
    say_much(h, a, 200);
    assert_ok(kith_graph_revoke(a->known, &him, third.entry.fingerprint, "stolen"));
    return kith_graph_revoke(graph, &other, his.fingerprint, "ha");
}

/* All it knows takes longer than a silence may: 80 KB at 6 KB/s. */
static void an_appeal_over_a_slow_link(void **state)
{
    (void)state;
    static world w;
    static hostile good;
    static appeal a;
    kith_problem problem;
    const kith_sim_link slow = {.delay_ns = 20 * KITH_SIM_MS, .rate = 6000, .queue = 20000, .mtu = 1500};
    size_t at = 0;
    make_world(&w, 71, 1);
    a = (appeal){.known = NULL};
    hostile_make(&good, w.sim, w.lan, "good", "192.168.1.66");
    good.user = &a;
    good.on = note_words;
    void *both[] = {&w.v[0], &good};
    assert_ok(kith_home_update_graph(w.v[0].home, revoke_wrongly, both, &problem));
    line *l = connect_bad(&w, &good);
    kith_sim_lan_set_link(w.lan, &slow);
    kith_stream *stream = ask(&good, l, 6, a.bytes, 0);
    assert_non_null(stream);
    show_some(&good, &a, stream, &at, SIZE_MAX);
    kith_sim_run_for(w.sim, 8 * KITH_SIM_S);
    assert_non_null(l->conn);
    kith_sim_run_for(w.sim, 20 * KITH_SIM_S);
    assert_non_null(l->conn);
    assert_true(records_of(&w, 0) > kith_graph_count(a.known)); /* and that it was revoked, which is void */
    bad_free(&good);
    end_world(&w);
}

/* Who drips is heard for as long as nobody else comes, and for two minutes at most; who was heard does not interrupt.
 */
static void who_drips_keeps_nobody_out(void **state)
{
    (void)state;
    static world w;
    static hostile bad, other;
    static appeal a, b;
    size_t at = 0;
    uint64_t seconds = 0;
    make_world(&w, 72, 1);
    bad_make(&w, &bad, &a, "bad", "192.168.1.66");
    bad_make(&w, &other, &b, "other", "192.168.1.67");
    say_much(&bad, &a, 2200);
    line *l = connect_bad(&w, &bad);
    kith_stream *stream = ask(&bad, l, 6, a.bytes, 0);
    for (; l->conn && seconds < 200; seconds++) {
        show_some(&bad, &a, stream, &at, 4500);
        kith_sim_run_for(w.sim, KITH_SIM_S);
    }
    assert_in_range(seconds, OWN_APPEAL_MOST_NS / KITH_SIM_S - 2, OWN_APPEAL_MOST_NS / KITH_SIM_S + 2);
    assert_true(at < kith_graph_count(a.known));
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);

    at = 0;
    a.heard_size = 0;
    line *his = NULL;
    l = connect_bad(&w, &bad);
    stream = ask(&bad, l, 6, a.bytes, 0);
    for (seconds = 0; seconds < 9; seconds++) {
        if (l->conn) show_some(&bad, &a, stream, &at, 4500);
        if (seconds == 5) his = connect_bad(&w, &other); /* a second */
        if (seconds == 6) {
            show(&b, 0, 3, false);
            assert_non_null(ask(&other, his, 6, b.bytes, b.size));
        }
        kith_sim_run_for(w.sim, KITH_SIM_S);
    }
    assert_false(l->conn);
    heard(&b, 1, 2); /* asked, and told what it lacks: that it was let in and revoked */
    kith_sim_run_for(w.sim, 2 * KITH_SIM_S);
    bad_free(&bad), bad_free(&other);
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

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(an_appeal_that_comes_to_nothing), TEST(appeals_are_heard_one_at_a_time),
                                       TEST(an_appeal_over_a_slow_link), TEST(who_drips_keeps_nobody_out),
                                       TEST(a_revoked_device_adds_nothing_to_a_joiners_graph)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
