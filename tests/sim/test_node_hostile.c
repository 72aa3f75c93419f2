/* A node against strangers and against paired devices gone bad: connections, hello, streams, pairing. */
#include "hostile_world.h"
#include "node/session.h"
#include "service/pairing.h"

#define NODE "192.168.1.10"

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim node;
    hostile bad[6];
    size_t bad_count;
    int64_t live;
} world;

static void world_make(world *w, size_t bad)
{
    char name[32], addr[48];
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(7, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    victim_make(&w->node, w->sim, w->lan, "node", NODE);
    for (w->bad_count = 0; w->bad_count < bad; w->bad_count++) {
        snprintf(name, sizeof name, "bad%zu", w->bad_count);
        snprintf(addr, sizeof addr, "192.168.1.%zu", 100 + w->bad_count);
        hostile_make(&w->bad[w->bad_count], w->sim, w->lan, name, addr);
    }
}

/* The node still closes as it should, and nothing is left of it. */
static void world_free(world *w)
{
    victim_close(&w->node);
    for (size_t i = 0; i < w->bad_count; i++) hostile_free(&w->bad[i]);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static void run(world *w, uint64_t ns) { kith_sim_run_for(w->sim, ns); }

static kith_op pair_on(victim *v)
{
    kith_pair_options options = {.size = sizeof options};
    kith_core_pair(v->core, ++v->last_op, &options);
    return v->last_op;
}

/* ---- connections ---- */

static void strangers_are_few_and_go(void **state)
{
    (void)state;
    world w;
    world_make(&w, 6);
    for (size_t i = 0; i < w.bad_count; i++) {
        w.bad[i].silent = true;
        for (size_t n = 0; n < SESSIONS_SOURCE_MAX + 3; n++) dial_node(&w.bad[i], &w.node, NODE);
        run(&w, KITH_SIM_S / 10);
        assert_in_range(open_lines(&w.bad[i]), 1, SESSIONS_SOURCE_MAX);
    }
    run(&w, KITH_SIM_S);
    size_t open = 0, busy = 0;
    for (size_t i = 0; i < w.bad_count; i++) {
        open += open_lines(&w.bad[i]);
        busy += closed_with(&w.bad[i], KITH_WIRE_BUSY);
    }
    assert_int_equal(open, SESSIONS_STRANGERS_MAX);
    assert_int_equal(busy, 6 * (SESSIONS_SOURCE_MAX + 3) - SESSIONS_STRANGERS_MAX);
    run(&w, SESSION_HELLO_NS);
    for (size_t i = 0; i < w.bad_count; i++) assert_int_equal(open_lines(&w.bad[i]), 0);
    world_free(&w);
}

/* Said hello while a code was open, and then nothing. */
static void a_stranger_does_not_stay(void **state)
{
    (void)state;
    world w;
    world_make(&w, 1);
    pair_on(&w.node);
    line *l = dial_node(&w.bad[0], &w.node, NODE);
    run(&w, KITH_SIM_S);
    assert_true(l->heard);
    run(&w, SESSION_STRANGER_NS + KITH_SIM_S);
    assert_null(l->conn);
    world_free(&w);
}

static void one_device_has_few_sessions(void **state)
{
    (void)state;
    world w;
    world_make(&w, 1);
    hostile *h = &w.bad[0];
    trust(&w.node, h, KITH_PEER_OWN, false);
    for (size_t i = 0; i < SESSIONS_DEVICE_MAX + 5; i++) {
        dial_node(h, &w.node, NODE);
        run(&w, KITH_SIM_S / 10);
    }
    assert_int_equal(open_lines(h), SESSIONS_DEVICE_MAX);
    assert_int_equal(closed_with(h, KITH_WIRE_SUPERSEDED), 5);
    for (size_t i = 0; i < 5; i++) assert_null(h->lines[i].conn); /* the oldest */
    world_free(&w);
}

static void the_untrusted_learn_nothing(void **state)
{
    (void)state;
    world w;
    world_make(&w, 1);
    line *l = dial_node(&w.bad[0], &w.node, NODE);
    run(&w, KITH_SIM_S);
    assert_null(l->conn);
    assert_false(l->heard);
    assert_int_equal(l->code, KITH_WIRE_UNTRUSTED);
    world_free(&w);
}

/* ---- the control stream ---- */

static void control_twice(hostile *h, line *l, const kith_quic_event *event)
{
    if (event->kind != KITH_QUIC_CONNECTED) return;
    kith_stream *first = l->control;
    say_hello(h, l); /* another control stream: not wanted, and no harm */
    l->control = first;
}

static void a_second_control_stream_is_stopped(void **state)
{
    (void)state;
    world w;
    world_make(&w, 1);
    hostile *h = &w.bad[0];
    trust(&w.node, h, KITH_PEER_OWN, false);
    h->on = control_twice;
    line *l = dial_node(h, &w.node, NODE);
    run(&w, KITH_SIM_S);
    assert_non_null(l->conn);
    assert_int_equal(h->stop_count, 1);
    uint8_t more[3000] = {0};
    assert_ok(kith_stream_write(l->control, more, sizeof more)); /* reserved: read and ignored */
    quic_env_flush(&h->quic);
    run(&w, KITH_SIM_S);
    assert_non_null(l->conn);
    assert_ok(kith_stream_finish(l->control));
    quic_env_flush(&h->quic);
    run(&w, KITH_SIM_S);
    assert_null(l->conn);
    assert_int_equal(l->code, KITH_WIRE_PROTOCOL);
    world_free(&w);
}

static void broken_hellos_end_it(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[8];
        size_t size;
        uint64_t code;
    } cases[] = {
        {{2, 5}, 2, KITH_WIRE_PROTOCOL},                     /* not the control stream */
        {{1, 0x7f, 0xff}, 3, KITH_WIRE_PROTOCOL},            /* too long */
        {{1, 0}, 2, KITH_WIRE_INTERNAL},                     /* nothing in it */
        {{1, 1, 0xff}, 3, KITH_WIRE_INTERNAL},               /* no CBOR */
        {{0xc0, 0, 0, 0, 0, 0, 0, 1}, 8, KITH_WIRE_TIMEOUT}, /* and no more */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        world_make(&w, 1);
        hostile *h = &w.bad[0];
        h->silent = true;
        line *l = dial_node(h, &w.node, NODE);
        run(&w, KITH_SIM_S);
        assert_ok(kith_stream_open(l->conn, false, &l->control));
        assert_ok(kith_stream_write(l->control, cases[i].bytes, cases[i].size));
        quic_env_flush(&h->quic);
        run(&w, SESSION_HELLO_NS + KITH_SIM_S);
        assert_null(l->conn);
        assert_int_equal(l->code, cases[i].code);
        world_free(&w);
    }
}

/* ---- streams ---- */

static void unknown_services_are_refused(void **state)
{
    (void)state;
    static const uint8_t numbers[] = {0, 1, 5, 63, 64, 0x80, 0xff};
    world w;
    world_make(&w, 1);
    hostile *h = &w.bad[0];
    trust(&w.node, h, KITH_PEER_OWN, false);
    line *l = dial_node(h, &w.node, NODE);
    for (size_t i = 0; i < sizeof numbers; i++) {
        run(&w, KITH_SIM_S);
        assert_non_null(ask(h, l, numbers[i], "xyz", 3));
    }
    kith_stream *empty;
    run(&w, KITH_SIM_S);
    assert_ok(kith_stream_open(l->conn, true, &empty));
    assert_ok(kith_stream_finish(empty));
    quic_env_flush(&h->quic);
    run(&w, KITH_SIM_S);
    assert_int_equal(h->reset_count, sizeof numbers + 1);
    for (size_t i = 0; i < sizeof numbers; i++) assert_int_equal(h->resets[i], KITH_WIRE_NOT_ALLOWED);
    assert_int_equal(h->resets[sizeof numbers], KITH_WIRE_PROTOCOL);
    assert_non_null(l->conn);
    world_free(&w);
}

/* Streams before hello wait; those of somebody who turns out to be nobody are gone with him. */
static void early_streams(hostile *h, line *l, const kith_quic_event *event)
{
    uint8_t ping[9] = {3};
    if (event->kind != KITH_QUIC_CONNECTED) return;
    for (size_t i = 0; i < 20; i++) {
        kith_stream *stream;
        assert_ok(kith_stream_open(l->conn, true, &stream));
        assert_ok(kith_stream_write(stream, ping, sizeof ping));
        assert_ok(kith_stream_finish(stream));
    }
    if (h->user) say_hello(h, l);
}

static void streams_wait_for_hello(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        world w;
        world_make(&w, 1);
        hostile *h = &w.bad[0];
        h->silent = true;
        h->on = early_streams;
        h->user = known ? h : NULL;
        if (known) trust(&w.node, h, KITH_PEER_OWN, false);
        line *l = dial_node(h, &w.node, NODE);
        run(&w, KITH_SIM_S);
        assert_int_equal(h->reset_count, 0);
        assert_non_null(l->conn);
        run(&w, SESSION_HELLO_NS);
        assert_int_equal(l->conn != NULL, known);
        world_free(&w);
    }
}

static void the_forgotten_are_sent_away(void **state)
{
    (void)state;
    world w;
    world_make(&w, 1);
    hostile *h = &w.bad[0];
    trust(&w.node, h, KITH_PEER_OWN, false);
    line *l = dial_node(h, &w.node, NODE);
    run(&w, KITH_SIM_S);
    trust(&w.node, h, KITH_PEER_OWN, true);
    assert_non_null(ask(h, l, STREAM_PING, "12345678", 8)); /* at once; test_node_permit waits */
    run(&w, KITH_SIM_S / 10);
    assert_null(l->conn);
    assert_int_equal(l->code, KITH_WIRE_UNTRUSTED);
    world_free(&w);
}

/* What an own device may do without asking, one that has become a contact may not. */
static void standing_follows_the_book(void **state)
{
    (void)state;
    world w;
    world_make(&w, 1);
    hostile *h = &w.bad[0];
    session *s;
    trust(&w.node, h, KITH_PEER_OWN, false);
    line *l = dial_node(h, &w.node, NODE);
    run(&w, KITH_SIM_S);
    s = KITH_OF(kith_list_first(&w.node.core->sessions), session, link);
    assert_int_equal(s->standing, KITH_STANDING_OWN);
    trust(&w.node, h, KITH_PEER_OWN, true);
    trust(&w.node, h, KITH_PEER_CONTACT, false);
    run(&w, KITH_SIM_S);
    assert_non_null(ask(h, l, STREAM_PING, "12345678", 8));
    run(&w, KITH_SIM_S);
    assert_int_equal(s->standing, KITH_STANDING_CONTACT);
    world_free(&w);
}

/* ---- pairing with the node as host ---- */

typedef struct attempt {
    kith_pairing *machine;
    kith_stream *stream;
    line *line;
    bool hold;  /* keeps to himself what he would send */
    bool mute;  /* says nothing of having stored */
    bool asked; /* host: the service's number was read */
    bool proven;
    kith_err err;
} attempt;

static void attempt_flush(attempt *a)
{
    uint8_t out[KITH_PAIR_OUTPUT_MAX];
    bool fin;
    if (a->hold || !a->stream) return;
    size_t size = kith_pairing_output(a->machine, out, sizeof out, &fin);
    if (size && kith_stream_write(a->stream, out, size)) return;
    if (fin && kith_stream_finish(a->stream)) return;
}

static void attempt_on(hostile *h, line *l, const kith_quic_event *event)
{
    attempt *a = l->user;
    (void)h;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    if (event->kind == KITH_QUIC_CLOSED && a) a->stream = NULL;
    if (!a || event->kind != KITH_QUIC_READABLE || event->stream != a->stream) return;
    while (kith_stream_peek(a->stream, &data, &size, &fin)) {
        kith_pairing_input(a->machine, data, size, false);
        kith_stream_consume(a->stream, size);
    }
    for (kith_pairing_event e; (e = kith_pairing_take_event(a->machine)) != KITH_PAIR_NOTHING;) {
        if (e == KITH_PAIR_STARTED) kith_pairing_go(a->machine);
        if (e == KITH_PAIR_PROVEN) {
            a->proven = true;
            kith_pairing_answer(a->machine, true);
        }
        if (e == KITH_PAIR_PIN && !a->mute) kith_pairing_stored(a->machine, KITH_OK);
        if (e == KITH_PAIR_FAILED) a->err = kith_pairing_error(a->machine);
    }
    attempt_flush(a);
}

/* Nothing that comes later finds it. */
static void attempt_end(attempt *a)
{
    kith_pairing_free(a->machine);
    a->machine = NULL;
    a->stream = NULL;
}

static void attempt_begin(attempt *a, hostile *h, line *l, const kith_hello *peer, const char *text, bool host)
{
    uint8_t hash[KITH_BINDING_SIZE], random[64];
    kith_words words;
    char why[256];
    assert_ok(kith_words_parse(text, &words, why, sizeof why));
    kith_conn_handshake_hash(l->conn, hash);
    h->env->base->random(h->env, random, sizeof random);
    a->line = l;
    assert_ok(kith_pairing_new(&(kith_pairing_config){.host = host,
                                                      .kind = KITH_PAIR_OWN,
                                                      .words = &words,
                                                      .signer = &h->signer,
                                                      .self = &h->hello,
                                                      .peer = peer,
                                                      .handshake_hash = hash,
                                                      .random = random},
                               &a->machine));
    l->user = a;
}

static void join_as(attempt *a, world *w, hostile *h, const char *text)
{
    h->on = attempt_on;
    line *l = dial_node(h, &w->node, NODE);
    run(w, KITH_SIM_S / 2);
    assert_non_null(l->conn);
    attempt_begin(a, h, l, &w->node.core->self, text, false);
    a->stream = ask(h, l, STREAM_PAIR, NULL, 0);
    attempt_flush(a);
    quic_env_flush(&h->quic);
}

/* Words that begin as these do and end in another one. */
static const char *spoil(const char *words, char out[KITH_WORDS_TEXT])
{
    snprintf(out, KITH_WORDS_TEXT, "%s", words);
    char *last = strrchr(out, ' ');
    strcpy(last, strcmp(last, " able") == 0 ? " zoo" : " able");
    return out;
}

/* He goes away while his device is being stored: on a worker, which writes to the attempt. */
static void hanging_up_while_being_pinned(void **state)
{
    (void)state;
    world w;
    attempt a = {.mute = true};
    world_make(&w, 1);
    kith_sim_set_work_delay(w.sim, KITH_SIM_S);
    kith_op pairing = pair_on(&w.node);
    join_as(&a, &w, &w.bad[0], last_event(&w.node, KITH_EVENT_CODE)->words);
    run(&w, KITH_SIM_S / 2);
    assert_int_equal(count_events(&w.node, KITH_EVENT_ASK), 1);
    kith_core_answer(w.node.core, pairing, true);
    run(&w, KITH_SIM_S / 100);
    assert_int_equal(w.node.core->jobs, 1);
    hang_up(&w.bad[0], a.line, 0);
    run(&w, 5 * KITH_SIM_S);
    const kith_event *end = last_event(&w.node, KITH_EVENT_END);
    assert_non_null(end);
    assert_int_equal(end->err, KITH_ERR_CLOSED);
    assert_non_null(strstr(end->message, "knows it now"));
    attempt_end(&a);
    world_free(&w);
}

static void closing_while_pinning(void **state)
{
    (void)state;
    world w;
    attempt a = {.mute = true};
    world_make(&w, 1);
    kith_sim_set_work_delay(w.sim, KITH_SIM_S);
    kith_op pairing = pair_on(&w.node);
    join_as(&a, &w, &w.bad[0], last_event(&w.node, KITH_EVENT_CODE)->words);
    run(&w, KITH_SIM_S / 2);
    kith_core_answer(w.node.core, pairing, true);
    run(&w, KITH_SIM_S / 100);
    assert_int_equal(w.node.core->jobs, 1);
    attempt_end(&a);
    w.bad[0].lines[0].user = NULL;
    world_free(&w);
}

/* Two who know the words: the person is asked about one, and answers for that one. */
static void the_second_who_knows_the_code(void **state)
{
    (void)state;
    world w;
    attempt a = {0}, b = {0};
    world_make(&w, 2);
    kith_op pairing = pair_on(&w.node);
    char words[KITH_WORDS_TEXT];
    strcpy(words, last_event(&w.node, KITH_EVENT_CODE)->words);
    join_as(&a, &w, &w.bad[0], words);
    a.hold = true; /* the START is out; not the proof */
    join_as(&b, &w, &w.bad[1], words);
    run(&w, KITH_SIM_S);
    assert_true(b.proven);
    a.hold = false;
    attempt_flush(&a);
    quic_env_flush(&w.bad[0].quic);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_ASK), 1);
    assert_string_equal(last_event(&w.node, KITH_EVENT_ASK)->device.name, "bad1");
    assert_int_equal(a.err, KITH_ERR_AGAIN);
    kith_core_answer(w.node.core, pairing, true);
    run(&w, 12 * KITH_SIM_S); /* it does not ask for the network that it was let into, and does not hold this up */
    assert_string_equal(last_event(&w.node, KITH_EVENT_PAIRED)->device.name, "bad1");
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_OK);
    attempt_end(&a);
    attempt_end(&b);
    world_free(&w);
}

static void wrong_guesses_burn_the_code(void **state)
{
    (void)state;
    world w;
    attempt a[KITH_CODE_FAILURES_SOURCE] = {{0}};
    char words[KITH_WORDS_TEXT];
    world_make(&w, 1);
    pair_on(&w.node);
    for (size_t i = 0; i < KITH_CODE_FAILURES_SOURCE; i++) {
        assert_null(last_event(&w.node, KITH_EVENT_END));
        join_as(&a[i], &w, &w.bad[0], spoil(last_event(&w.node, KITH_EVENT_CODE)->words, words));
        run(&w, KITH_SIM_S);
        assert_int_equal(a[i].err, KITH_ERR_CODE);
        attempt_end(&a[i]);
        w.bad[0].lines[i].user = NULL;
    }
    assert_int_equal(count_events(&w.node, KITH_EVENT_ATTEMPT), KITH_CODE_FAILURES_SOURCE);
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_ERR_CODE_BURNT);
    assert_null(w.node.core->host);
    world_free(&w);
}

/* Streams that never say START do not keep others from pairing. */
static void idle_attempts_leave_room(void **state)
{
    (void)state;
    world w;
    attempt a = {0};
    world_make(&w, 2);
    hostile *h = &w.bad[0];
    pair_on(&w.node);
    line *l = dial_node(h, &w.node, NODE);
    run(&w, KITH_SIM_S);
    for (size_t i = 0; i < 30; i++) assert_non_null(ask(h, l, STREAM_PAIR, NULL, 0));
    run(&w, KITH_SIM_S);
    assert_int_equal(h->reset_count, 26);
    for (size_t i = 0; i < h->reset_count; i++) assert_int_equal(h->resets[i], KITH_WIRE_BUSY);
    join_as(&a, &w, &w.bad[1], last_event(&w.node, KITH_EVENT_CODE)->words);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_ASK), 1);
    attempt_end(&a);
    world_free(&w);
}

/* One whose key is another now: people are told what to do. */
static void a_device_set_up_anew(void **state)
{
    (void)state;
    world w;
    attempt a = {0};
    world_make(&w, 2);
    hostile *h = &w.bad[0];
    trust(&w.node, h, KITH_PEER_OWN, false);
    /* The same id, a new key. */
    uint8_t secret[KITH_X25519_SIZE];
    kith_addr any = {.family = KITH_FAMILY_IPV6};
    kith_quic_config config = {.static_secret = secret};
    quic_env_close(&h->quic);
    h->seed[0] ^= 1;
    kith_ed25519_public(h->seed, h->signer.public_key);
    kith_fingerprint(h->signer.uuid, h->signer.public_key, h->signer.fingerprint);
    memcpy(h->hello.fingerprint, h->signer.fingerprint, sizeof h->hello.fingerprint);
    memcpy(h->hello.public_key, h->signer.public_key, sizeof h->hello.public_key);
    kith_ed25519_seed_to_x25519(h->seed, secret);
    assert_ok(quic_env_open(&h->quic, h->env, &any, &config, hostile_event, h));
    kith_op pairing = pair_on(&w.node);
    join_as(&a, &w, h, last_event(&w.node, KITH_EVENT_CODE)->words);
    run(&w, KITH_SIM_S);
    kith_core_answer(w.node.core, pairing, true);
    run(&w, KITH_SIM_S);
    const kith_event *end = last_event(&w.node, KITH_EVENT_END);
    assert_int_equal(end->err, KITH_ERR_KEY_CHANGED);
    assert_non_null(strstr(end->message, "kith forget \"bad0\""));
    assert_int_equal(a.err, KITH_ERR_KEY_CHANGED);
    attempt_end(&a);
    world_free(&w);
}

/* ---- pairing with the node as joiner ---- */

typedef struct impostor {
    attempt attempts[8];
    size_t count;
    bool stalls;
    world *world;
} impostor;

static void impostor_on(hostile *h, line *l, const kith_quic_event *event)
{
    impostor *i = h->user;
    if (event->kind == KITH_QUIC_OPENED && !(kith_stream_id(event->stream) & 2) && !i->stalls) {
        kith_stream *stream = event->stream;
        assert_true(i->count < 8);
        attempt *a = &i->attempts[i->count++];
        /* He knows who joins from mDNS or earlier: here from the world. */
        attempt_begin(a, h, l, &i->world->node.core->self, "abandon ability able about above absent", true);
        a->stream = stream;
    }
    if (event->kind == KITH_QUIC_READABLE && l->user) {
        attempt *a = l->user;
        if (event->stream == a->stream && !a->asked) {
            const uint8_t *data;
            size_t size;
            bool fin;
            a->asked = true;
            if (kith_stream_peek(a->stream, &data, &size, &fin)) kith_stream_consume(a->stream, 1);
        }
        attempt_on(h, l, event);
    }
    if (event->kind == KITH_QUIC_CLOSED && l->user) ((attempt *)l->user)->stream = NULL;
}

/* Impostors with the same tag answer first, wrongly or never; the true host is tried as well, and nobody twice. */
static void a_joiner_passes_impostors(void **state)
{
    (void)state;
    world w;
    victim host;
    impostor liars[3] = {{.stalls = false}, {.stalls = false}, {.stalls = true}};
    world_make(&w, 3);
    for (size_t i = 0; i < 3; i++) {
        liars[i].world = &w;
        w.bad[i].user = &liars[i];
        w.bad[i].on = impostor_on;
    }
    victim_make(&host, w.sim, w.lan, "host", "192.168.1.50");
    kith_pair_options options = {.size = sizeof options, .yes = true};
    kith_core_pair(host.core, 1, &options);
    const char *words = last_event(&host, KITH_EVENT_CODE)->words;
    char why[256];
    kith_words parsed;
    assert_ok(kith_words_parse(words, &parsed, why, sizeof why));
    for (size_t i = 0; i < 3; i++) {
        char addr[48];
        snprintf(addr, sizeof addr, "192.168.1.%zu", 100 + i);
        announce(&w.bad[i], w.lan, addr, kith_words_tag(&parsed));
        run(&w, KITH_SIM_S / 5);
    }
    kith_core_join(w.node.core, ++w.node.last_op, words, &options);
    run(&w, 25 * KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_PAIRED), 1);
    assert_string_equal(last_event(&w.node, KITH_EVENT_PAIRED)->device.name, "host");
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(liars[i].count, 0, 1);
        for (size_t n = 0; n < liars[i].count; n++) attempt_end(&liars[i].attempts[n]);
    }
    victim_close(&host);
    world_free(&w);
}

/* With impostors alone it is a wrong code, said soon. */
static void impostors_alone(void **state)
{
    (void)state;
    world w;
    impostor liar = {.stalls = false};
    kith_words parsed;
    char why[256];
    static const char *words = "zoo ability able about above absent";
    world_make(&w, 1);
    liar.world = &w;
    w.bad[0].user = &liar;
    w.bad[0].on = impostor_on;
    assert_ok(kith_words_parse(words, &parsed, why, sizeof why));
    announce(&w.bad[0], w.lan, "192.168.1.100", kith_words_tag(&parsed));
    kith_pair_options options = {.size = sizeof options, .yes = true};
    kith_core_join(w.node.core, ++w.node.last_op, words, &options);
    run(&w, 5 * KITH_SIM_S);
    assert_non_null(last_event(&w.node, KITH_EVENT_END));
    assert_int_equal(last_event(&w.node, KITH_EVENT_END)->err, KITH_ERR_CODE);
    assert_int_equal(liar.count, 1);
    attempt_end(&liar.attempts[0]);
    world_free(&w);
}

/* ---- the end ---- */

/* The process is killed with everything under way: freeing what is left of it leaks nothing and says nothing. */
static void a_core_is_freed_with_all_open(void **state)
{
    (void)state;
    world w;
    attempt a = {0};
    world_make(&w, 2);
    victim *v = &w.node;
    kith_sim_set_work_delay(w.sim, KITH_SIM_S);
    trust(v, &w.bad[1], KITH_PEER_OWN, false);
    kith_op pairing = pair_on(v);
    join_as(&a, &w, &w.bad[0], last_event(v, KITH_EVENT_CODE)->words);
    run(&w, KITH_SIM_S / 2);
    kith_core_answer(v->core, pairing, true);
    kith_receive_options receive = {.size = sizeof receive, .folder = "/in"};
    kith_send_options send = {.size = sizeof send};
    char id[KITH_UUID_TEXT_SIZE];
    kith_uuid_text(w.bad[1].signer.uuid, id);
    assert_ok(kith_sim_put_file(v->host, "/file", "hello", 5, 0644));
    kith_core_receive(v->core, ++v->last_op, &receive);
    kith_core_look(v->core, ++v->last_op, false);
    kith_core_ping(v->core, ++v->last_op, id, 0);
    kith_core_send_file(v->core, ++v->last_op, id, "/file", &send);
    run(&w, KITH_SIM_S / 10);
    size_t events = v->count;
    assert_int_equal(count_events(v, KITH_EVENT_END), 0);
    kith_sim_kill(v->env);
    victim_release(v);
    assert_int_equal(v->count, events);
    attempt_end(&a);
    for (size_t i = 0; i < w.bad_count; i++) hostile_free(&w.bad[i]);
    kith_sim_free(w.sim);
    assert_int_equal(kith_mem_live(), w.live);
}

/* Memory runs out at every allocation of a core's beginning. */
static void a_core_without_memory(void **state)
{
    (void)state;
    world w;
    world_make(&w, 0);
    victim_close(&w.node);
    for (uint64_t n = 1;; n++) {
        kith_problem problem = {0};
        kith_core *core = NULL;
        kith_core_config config = {.env = w.node.env, .home = w.node.home, .emit = victim_event, .emit_user = &w.node};
        assert_ok(kith_home_open(w.node.env, "/home", &w.node.home));
        assert_ok(kith_home_unlock(w.node.home, (kith_bytes){"pw", 2}, &w.node.seed, &problem));
        config.home = w.node.home;
        config.seed = w.node.seed;
        int64_t live = kith_mem_live();
        kith_mem_fail_at(n, false);
        kith_err err = kith_core_new(&config, &core, &problem);
        bool failed = kith_mem_failed();
        kith_mem_fail_at(0, false);
        if (err) {
            assert_int_equal(err, KITH_ERR_NOMEM);
            assert_null(core);
            assert_true(*problem.message);
            assert_int_equal(kith_mem_live(), live);
        }
        w.node.core = core;
        victim_release(&w.node);
        if (!failed) break;
    }
    kith_sim_free(w.sim);
    assert_int_equal(kith_mem_live(), w.live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(strangers_are_few_and_go),           TEST(a_stranger_does_not_stay),
        TEST(one_device_has_few_sessions),        TEST(the_untrusted_learn_nothing),
        TEST(a_second_control_stream_is_stopped), TEST(broken_hellos_end_it),
        TEST(unknown_services_are_refused),       TEST(streams_wait_for_hello),
        TEST(the_forgotten_are_sent_away),        TEST(standing_follows_the_book),
        TEST(hanging_up_while_being_pinned),      TEST(closing_while_pinning),
        TEST(the_second_who_knows_the_code),      TEST(wrong_guesses_burn_the_code),
        TEST(idle_attempts_leave_room),           TEST(a_device_set_up_anew),
        TEST(a_joiner_passes_impostors),          TEST(impostors_alone),
        TEST(a_core_is_freed_with_all_open),      TEST(a_core_without_memory),
    };
    return cmocka_run_group_tests_name("sim/node_hostile", tests, NULL, NULL);
}
