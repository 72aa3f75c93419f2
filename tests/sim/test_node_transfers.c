/* Sending to and receiving from paired devices that break every rule of a transfer, or keep none. */
#include "hostile_world.h"
#include "node/session.h"
#include "service/file_message.h"

#define NODE    "192.168.1.10"
#define FILE_4M (4u << 20)

typedef struct world {
    kith_sim *sim;
    kith_sim_lan *lan;
    victim node;
    hostile bad;
    int64_t live;
} world;

static void world_make(world *w, kith_peer_kind kind)
{
    memset(w, 0, sizeof *w);
    w->live = kith_mem_live();
    assert_ok(kith_crypto_init());
    assert_ok(kith_sim_new(11, &w->sim));
    if (getenv("KITH_TRACE")) kith_sim_trace_to(w->sim, stderr);
    assert_ok(kith_sim_lan_new(w->sim, "lan", &w->lan));
    victim_make(&w->node, w->sim, w->lan, "node", NODE);
    hostile_make(&w->bad, w->sim, w->lan, "bad", "192.168.1.100");
    trust(&w->node, &w->bad, kind, false);
}

static void world_free(world *w)
{
    victim_close(&w->node);
    hostile_free(&w->bad);
    kith_sim_free(w->sim);
    assert_int_equal(kith_mem_live(), w->live);
}

static void run(world *w, uint64_t ns) { kith_sim_run_for(w->sim, ns); }

/* ---- the node sends ---- */

static void put_file(world *w, size_t size)
{
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_ok(kith_sim_put_file(w->node.host, "/file", data, size, 0644));
    free(data);
}

static kith_op send_file(world *w)
{
    kith_send_options options = {.size = sizeof options};
    char id[KITH_UUID_TEXT_SIZE];
    announce(&w->bad, w->lan, "192.168.1.100", 0);
    kith_core_send_file(w->node.core, ++w->node.last_op, kith_uuid_text(w->bad.signer.uuid, id), "/file", &options);
    return w->node.last_op;
}

static kith_err how_it_ended(world *w)
{
    assert_int_equal(count_events(&w->node, KITH_EVENT_END), 1);
    assert_true(*last_event(&w->node, KITH_EVENT_END)->message);
    return last_event(&w->node, KITH_EVENT_END)->err;
}

/* Takes an offer and then does what `act` says. */
typedef struct taker {
    size_t offers;
    uint64_t resume_groups;
    enum { ANSWER, RESET, REFUSE, CLOSE_AFTER_ANSWER, RESET_AFTER_ANSWER, FIN_AFTER_ANSWER, REFUSE_LATER } act;
    uint64_t code;
    kith_err why;
    bool once; /* then answers as it should, and takes what comes */
    kith_stream *stream;
    uint64_t got;
} taker;

static void write_answer(taker *t)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    static kith_file_resume resume;
    resume = (kith_file_resume){.groups = 0};
    kith_tree_init(&resume.tree);
    size_t size = kith_file_write_answer(&resume, out, sizeof out);
    assert_ok(kith_stream_write(t->stream, out, size));
}

static void write_abort(taker *t)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    size_t size = kith_file_write_abort(t->why, out, sizeof out);
    assert_ok(kith_stream_write(t->stream, out, size));
    assert_ok(kith_stream_finish(t->stream));
}

static void offered(hostile *h, line *l, taker *t)
{
    switch (t->act) {
    case ANSWER: write_answer(t); break;
    case REFUSE_LATER: write_answer(t); break;
    case REFUSE: write_abort(t); break;
    case RESET:
        kith_stream_reset(t->stream, t->code);
        kith_stream_stop(t->stream, t->code);
        kith_stream_free(t->stream);
        t->stream = NULL;
        break;
    case RESET_AFTER_ANSWER:
    case FIN_AFTER_ANSWER:
    case CLOSE_AFTER_ANSWER: write_answer(t); break;
    }
    (void)h;
    (void)l;
}

static void taker_on(hostile *h, line *l, const kith_quic_event *event)
{
    taker *t = h->user;
    const uint8_t *data;
    size_t size;
    bool fin;
    if (event->kind == KITH_QUIC_CLOSED) t->stream = NULL;
    if (event->kind == KITH_QUIC_OPENED && !(kith_stream_id(event->stream) & 2)) {
        t->stream = event->stream;
        t->offers++;
        t->got = 0;
        return;
    }
    if (event->kind != KITH_QUIC_READABLE || event->stream != t->stream) return;
    bool first = t->got == 0;
    while (kith_stream_peek(t->stream, &data, &size, &fin)) {
        t->got += size;
        kith_stream_consume(t->stream, size);
    }
    if (first) {
        offered(h, l, t);
    } else if (t->act == CLOSE_AFTER_ANSWER) {
        kith_conn_close(l->conn, t->code, "", h->env->base->now_ns(h->env));
    } else if (t->act == RESET_AFTER_ANSWER) {
        kith_stream_reset(t->stream, t->code);
        kith_stream_stop(t->stream, t->code);
    } else if (t->act == FIN_AFTER_ANSWER) {
        if (kith_stream_finish(t->stream)) return;
    } else if (t->act == REFUSE_LATER && t->got > FILE_4M / 2) {
        write_abort(t);
        t->act = ANSWER;
    }
}

static void take(world *w, taker *t)
{
    w->bad.on = taker_on;
    w->bad.user = t;
    put_file(w, FILE_4M);
    send_file(w);
}

/* The receiver breaks off while chunks are being read and others are lent to the stream. */
static void the_receiver_closes_while_chunks_are_read(void **state)
{
    (void)state;
    static const struct {
        uint64_t code;
        kith_err err;
    } cases[] = {{KITH_WIRE_PROTOCOL, KITH_ERR_PROTOCOL},
                 {KITH_WIRE_UNTRUSTED, KITH_ERR_UNTRUSTED},
                 {KITH_WIRE_INTERNAL, KITH_ERR_INTERNAL},
                 {12345, KITH_ERR_PROTOCOL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int how = 0; how < 2; how++) {
            world w;
            taker t = {.act = how ? RESET_AFTER_ANSWER : CLOSE_AFTER_ANSWER, .code = cases[i].code};
            world_make(&w, KITH_PEER_CONTACT);
            kith_sim_set_work_delay(w.sim, KITH_SIM_S); /* some reads are done late */
            take(&w, &t);
            run(&w, 20 * KITH_SIM_S);
            assert_int_equal(how_it_ended(&w), cases[i].err);
            world_free(&w);
        }
    }
}

static void cancelled_while_chunks_are_read(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 3000; ms += 150) {
        world w;
        taker t = {.act = ANSWER};
        world_make(&w, KITH_PEER_CONTACT);
        kith_sim_set_work_delay(w.sim, KITH_SIM_S);
        take(&w, &t);
        run(&w, ms * KITH_SIM_MS);
        kith_core_cancel(w.node.core, w.node.last_op);
        if (ms % 300) hang_up(&w.bad, &w.bad.lines[0], 0);
        run(&w, 5 * KITH_SIM_S);
        assert_int_equal(how_it_ended(&w), KITH_ERR_CANCELLED);
        world_free(&w);
    }
}

/* One that ends every stream at once is not asked for ever, nor in a tight loop. */
static void a_receiver_that_ends_every_stream(void **state)
{
    (void)state;
    static const uint64_t codes[] = {0, KITH_WIRE_GOING_AWAY, KITH_WIRE_TIMEOUT};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        world w;
        taker t = {.act = RESET, .code = codes[i]};
        world_make(&w, KITH_PEER_CONTACT);
        take(&w, &t);
        run(&w, KITH_SIM_S);
        assert_in_range(t.offers, 1, 3);
        run(&w, 60 * KITH_SIM_S);
        assert_int_equal(how_it_ended(&w), KITH_ERR_LOST);
        assert_int_equal(t.offers, 9); /* BREAKS_MAX and one */
        world_free(&w);
    }
}

static void a_receiver_that_ends_its_side(void **state)
{
    (void)state;
    world w;
    taker t = {.act = FIN_AFTER_ANSWER};
    world_make(&w, KITH_PEER_CONTACT);
    take(&w, &t);
    run(&w, 60 * KITH_SIM_S);
    assert_int_equal(how_it_ended(&w), KITH_ERR_LOST);
    world_free(&w);
}

/* What the receiver says is what the sender's person reads, also in the middle. */
static void refusals_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        kith_err why, err;
        bool reset;
        const char *says;
    } cases[] = {
        {KITH_ERR_DECLINED, KITH_ERR_DECLINED, false, "declined"},
        {KITH_ERR_NOT_ALLOWED, KITH_ERR_NOT_ALLOWED, false, "of this name"},
        {KITH_ERR_NOT_ALLOWED, KITH_ERR_NOT_ALLOWED, true, "is not receiving now"},
        {KITH_ERR_AGAIN, KITH_ERR_AGAIN, false, "already"},
        {KITH_ERR_STATE, KITH_ERR_STATE, false, "another command"},
        {KITH_ERR_NO_SPACE, KITH_ERR_REMOTE_STORAGE, false, "no space left"},
        {KITH_ERR_IO, KITH_ERR_REMOTE_STORAGE, false, "could not store"},
        {KITH_ERR_CORRUPT, KITH_ERR_CORRUPT, false, ""},
        {KITH_ERR_CANCELLED, KITH_ERR_DECLINED, false, "declined"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int later = 0; later < 2; later++) {
            world w;
            taker t = {.act = cases[i].reset ? RESET : later ? REFUSE_LATER : REFUSE, .why = cases[i].why};
            t.code = kith_wire_error_of(cases[i].why);
            world_make(&w, KITH_PEER_CONTACT);
            take(&w, &t);
            run(&w, 20 * KITH_SIM_S);
            assert_int_equal(how_it_ended(&w), cases[i].err);
            if (!strstr(last_event(&w.node, KITH_EVENT_END)->message, cases[i].says))
                fail_msg("case %zu: %s", i, last_event(&w.node, KITH_EVENT_END)->message);
            assert_int_equal(t.offers, cases[i].reset ? 2 : 1); /* a node may have just been started */
            world_free(&w);
        }
    }
}

/* Busy is no refusal. */
static void a_busy_receiver_is_waited_for(void **state)
{
    (void)state;
    world w;
    taker t = {.act = RESET, .code = KITH_WIRE_BUSY};
    world_make(&w, KITH_PEER_CONTACT);
    take(&w, &t);
    run(&w, 60 * KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 0);
    assert_in_range(t.offers, 20, 31);
    t.act = REFUSE;
    t.why = KITH_ERR_DECLINED;
    run(&w, 5 * KITH_SIM_S);
    assert_int_equal(how_it_ended(&w), KITH_ERR_DECLINED);
    world_free(&w);
}

/* The answer to a ping must be what was asked. */
static void pong_on(hostile *h, line *l, const kith_quic_event *event)
{
    (void)h;
    (void)l;
    if (event->kind != KITH_QUIC_OPENED || kith_stream_id(event->stream) & 2) return;
    assert_ok(kith_stream_write(event->stream, "01234567", 8));
}

static void a_forged_pong(void **state)
{
    (void)state;
    world w;
    char id[KITH_UUID_TEXT_SIZE];
    world_make(&w, KITH_PEER_OWN);
    w.bad.on = pong_on;
    announce(&w.bad, w.lan, "192.168.1.100", 0);
    kith_core_ping(w.node.core, ++w.node.last_op, kith_uuid_text(w.bad.signer.uuid, id), 1);
    run(&w, 20 * KITH_SIM_S);
    assert_int_equal(how_it_ended(&w), KITH_ERR_PROTOCOL);
    assert_int_equal(count_events(&w.node, KITH_EVENT_PONG), 0);
    world_free(&w);
}

/* ---- the node receives ---- */

static kith_op receive(world *w, bool once)
{
    kith_receive_options options = {.size = sizeof options, .folder = "/in", .once = once};
    kith_core_receive(w->node.core, ++w->node.last_op, &options);
    return w->node.last_op;
}

static size_t make_offer(const char *name, uint64_t size, uint8_t tag, uint8_t *out)
{
    static kith_file_header header;
    header = (kith_file_header){.size = size};
    snprintf(header.name, sizeof header.name, "%s", name);
    memset(header.tag, tag, sizeof header.tag);
    return kith_file_write_offer(&header, out, KITH_FILE_OUTPUT_MAX);
}

static kith_stream *offer(world *w, line *l, const char *name, uint64_t size, uint8_t tag)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    return ask(&w->bad, l, STREAM_FILE, out, make_offer(name, size, tag, out));
}

static line *connect_and_wait(world *w)
{
    line *l = dial_node(&w->bad, &w->node, NODE);
    run(w, KITH_SIM_S);
    assert_non_null(l->conn);
    return l;
}

/* A person is asked about few files of one device; an answer after the sender has gone does nothing. */
static void offers_that_wait(void **state)
{
    (void)state;
    world w;
    world_make(&w, KITH_PEER_CONTACT);
    kith_op receiving = receive(&w, false);
    line *l = connect_and_wait(&w);
    for (uint8_t i = 0; i < 20; i++) assert_non_null(offer(&w, l, "file", 10, i));
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_OFFER), 8); /* TRANSFERS_DEVICE_MAX */
    assert_int_equal(w.bad.reset_count, 12);
    for (size_t i = 0; i < 12; i++) assert_int_equal(w.bad.resets[i], KITH_WIRE_BUSY);
    assert_int_equal(w.node.events[0].kind, KITH_EVENT_READY);
    kith_op first = w.node.events[1].transfer;
    assert_int_equal(w.node.events[1].kind, KITH_EVENT_OFFER);
    kith_core_cancel(w.node.core, first);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 1);
    kith_core_answer(w.node.core, first, true);
    hang_up(&w.bad, l, 0);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 8);
    for (size_t i = 0; i < w.node.count; i++) kith_core_answer(w.node.core, w.node.events[i].transfer, true);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 0);
    kith_core_cancel(w.node.core, receiving);
    run(&w, KITH_SIM_S);
    assert_int_equal(how_it_ended(&w), KITH_ERR_CANCELLED);
    world_free(&w);
}

static void half_an_offer(void **state)
{
    (void)state;
    world w;
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    world_make(&w, KITH_PEER_OWN);
    receive(&w, true);
    line *l = connect_and_wait(&w);
    size_t size = make_offer("file", 10, 1, out);
    assert_non_null(ask(&w.bad, l, STREAM_FILE, out, size - 1));
    run(&w, 9 * KITH_SIM_S);
    assert_int_equal(w.bad.stop_count, 0);
    run(&w, 2 * KITH_SIM_S);
    assert_int_equal(w.bad.stop_count, 1);
    assert_int_equal(w.bad.stops[0], KITH_WIRE_TIMEOUT);
    assert_int_equal(w.node.count, 1); /* READY: it is not worth a word, and not the one transfer of `once` */
    world_free(&w);
}

static void a_refused_name(void **state)
{
    (void)state;
    world w;
    world_make(&w, KITH_PEER_OWN);
    receive(&w, false);
    line *l = connect_and_wait(&w);
    assert_non_null(offer(&w, l, "../../.bashrc", 10, 1));
    run(&w, KITH_SIM_S);
    assert_int_equal(w.bad.stops[0], KITH_WIRE_NOT_ALLOWED);
    assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->err, KITH_ERR_NOT_ALLOWED);
    assert_non_null(strstr(last_event(&w.node, KITH_EVENT_FAILED)->message, "name"));
    world_free(&w);
}

/* Begins as many chunks as he may and ends none: what others send arrives all the same. */
static void begun_chunks_do_not_starve_others(void **state)
{
    (void)state;
    world w;
    victim other;
    uint8_t chunk[KITH_FILE_CHUNK_HEAD + 1], cv[KITH_BLAKE3_SIZE] = {0};
    trusting t = {.forget = false};
    kith_problem problem = {0};
    char id[KITH_UUID_TEXT_SIZE];
    world_make(&w, KITH_PEER_OWN);
    receive(&w, false);
    line *l = connect_and_wait(&w);
    size_t head = kith_file_write_chunk_head(KITH_GROUP_SIZE, cv, chunk, sizeof chunk);
    for (uint8_t i = 0; i < 30; i++) {
        kith_stream *stream = offer(&w, l, "file", FILE_4M, i);
        run(&w, KITH_SIM_S / 2);
        if (i >= 8) continue;
        assert_ok(kith_stream_write(stream, chunk, head + 1));
        quic_env_flush(&w.bad.quic);
    }
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 8);

    victim_make(&other, w.sim, w.lan, "other", "192.168.1.20");
    assert_ok(kith_peer_make(other.self.device.id, other.self.public_key, "other", "", "", KITH_PEER_OWN, 1, &t.peer));
    assert_ok(kith_home_update_trust(w.node.home, change_trust, &t, &problem));
    assert_ok(kith_peer_make(w.node.self.device.id, w.node.self.public_key, "node", "", "", KITH_PEER_OWN, 1, &t.peer));
    assert_ok(kith_home_update_trust(other.home, change_trust, &t, &problem));
    uint8_t *data = calloc(1, FILE_4M);
    for (int i = 0; i < 8; i++) { /* side by side: more chunks than there are buffers left */
        char path[32];
        kith_send_options options = {.size = sizeof options};
        snprintf(path, sizeof path, "/other%d", i);
        memset(data, i, FILE_4M);
        assert_ok(kith_sim_put_file(other.host, path, data, FILE_4M, 0644));
        kith_core_send_file(other.core, ++other.last_op, kith_uuid_text(w.node.self.device.id, id), path, &options);
    }
    free(data);
    run(&w, 60 * KITH_SIM_S);
    assert_int_equal(count_events(&other, KITH_EVENT_SENT), 8);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FILE), 8);
    victim_close(&other);
    world_free(&w);
}

/* The same file twice: the later one goes on, the earlier one is told, and is no failure of `once`. */
static void the_same_file_again(void **state)
{
    (void)state;
    world w;
    world_make(&w, KITH_PEER_OWN);
    receive(&w, true);
    line *l = connect_and_wait(&w);
    for (int i = 0; i < 3; i++) assert_non_null(offer(&w, l, "file", FILE_4M, 1));
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 0);
    assert_int_equal(w.bad.stop_count, 2);
    for (size_t i = 0; i < 2; i++) assert_int_equal(w.bad.stops[i], KITH_WIRE_SUPERSEDED);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 1); /* to the application it is one */
    hang_up(&w.bad, l, 0);
    run(&w, KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 1);
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 1); /* that was the one */
    world_free(&w);
}

/* A sender goes over to another stream, and the end of the first comes before the second: it is one transfer, about
 * which nobody is asked again.  One that does not come after all failed. */
static void one_that_goes_over(void **state)
{
    (void)state;
    for (int comes = 0; comes < 3; comes++) { /* the last: under a name that nobody was asked about */
        world w;
        world_make(&w, KITH_PEER_CONTACT);
        receive(&w, false);
        line *l = connect_and_wait(&w);
        kith_stream *first = offer(&w, l, "file", FILE_4M, 1);
        assert_non_null(first);
        run(&w, KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_OFFER), 1);
        kith_core_answer(w.node.core, last_event(&w.node, KITH_EVENT_OFFER)->transfer, true);
        run(&w, KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_START), 1);
        kith_op transfer = last_event(&w.node, KITH_EVENT_START)->transfer;
        kith_stream_reset(first, KITH_WIRE_SUPERSEDED);
        kith_stream_stop(first, KITH_WIRE_SUPERSEDED);
        quic_env_flush(&w.bad.quic);
        run(&w, KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 0);
        if (comes) assert_non_null(offer(&w, l, comes == 1 ? "file" : ".profile", FILE_4M, 1));
        run(&w, 20 * KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_OFFER), comes == 2 ? 2 : 1);
        assert_int_equal(count_events(&w.node, KITH_EVENT_START), 1);
        assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), comes == 1 ? 0 : 1);
        if (comes != 1) assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->transfer, transfer);
        hang_up(&w.bad, l, 0);
        run(&w, KITH_SIM_S);
        assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), comes == 2 ? 2 : 1);
        if (comes == 1) assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->transfer, transfer);
        world_free(&w);
    }
}

/* It goes on where it began, also when another receive has come since, which takes what is new. */
static void one_that_goes_over_stays_with_its_receive(void **state)
{
    (void)state;
    world w;
    world_make(&w, KITH_PEER_OWN);
    assert_ok(kith_sim_put_folder(w.node.host, "/else", 0755));
    kith_op first_receive = receive(&w, false);
    line *l = connect_and_wait(&w);
    kith_stream *first = offer(&w, l, "file", FILE_4M, 1);
    assert_non_null(first);
    run(&w, KITH_SIM_S);
    kith_receive_options other = {.size = sizeof other, .folder = "/else"};
    kith_core_receive(w.node.core, ++w.node.last_op, &other);
    kith_stream_reset(first, KITH_WIRE_SUPERSEDED);
    kith_stream_stop(first, KITH_WIRE_SUPERSEDED);
    quic_env_flush(&w.bad.quic);
    run(&w, KITH_SIM_S);
    assert_non_null(offer(&w, l, "file", FILE_4M, 1));
    run(&w, 20 * KITH_SIM_S);
    assert_int_equal(count_events(&w.node, KITH_EVENT_START), 1);
    assert_int_equal(count_events(&w.node, KITH_EVENT_FAILED), 0);
    hang_up(&w.bad, l, 0);
    run(&w, KITH_SIM_S);
    assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->op, first_receive);
    world_free(&w);
}

/* Nothing more is taken from somebody who was forgotten meanwhile. */
static void forgotten_while_sending(void **state)
{
    (void)state;
    world w;
    uint8_t chunk[KITH_FILE_CHUNK_HEAD], cv[KITH_BLAKE3_SIZE];
    uint8_t *data = calloc(1, KITH_GROUP_SIZE);
    world_make(&w, KITH_PEER_OWN);
    receive(&w, false);
    line *l = connect_and_wait(&w);
    kith_stream *stream = offer(&w, l, "file", 64 * (uint64_t)KITH_GROUP_SIZE, 1);
    run(&w, KITH_SIM_S);
    for (uint64_t i = 0; i < 20 && l->conn; i++) {
        if (i == 5) trust(&w.node, &w.bad, KITH_PEER_OWN, true);
        kith_group_cv(data, KITH_GROUP_SIZE, i, false, cv);
        size_t head = kith_file_write_chunk_head(KITH_GROUP_SIZE, cv, chunk, sizeof chunk);
        assert_ok(kith_stream_write(stream, chunk, head));
        assert_ok(kith_stream_write(stream, data, KITH_GROUP_SIZE));
        quic_env_flush(&w.bad.quic);
        run(&w, KITH_SIM_S / 2);
    }
    free(data);
    assert_null(l->conn);
    assert_int_equal(l->code, KITH_WIRE_UNTRUSTED);
    assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->err, KITH_ERR_UNTRUSTED);
    assert_true(last_event(&w.node, KITH_EVENT_PROGRESS)->bytes < 10 * (uint64_t)KITH_GROUP_SIZE);
    world_free(&w);
}

/* At every moment of a transfer: the person stops it, the sender vanishes or breaks off, the disk fails. */
static void ended_at_every_moment(void **state)
{
    (void)state;
    for (int how = 0; how < 6; how++) {
        for (uint64_t ms = 0; ms < 700; ms += 23) {
            world w;
            uint8_t chunk[KITH_FILE_CHUNK_HEAD], cv[KITH_BLAKE3_SIZE], root[KITH_BLAKE3_SIZE];
            uint8_t end[KITH_FILE_OUTPUT_MAX], *data = calloc(1, 3 * KITH_GROUP_SIZE);
            kith_tree tree;
            world_make(&w, KITH_PEER_OWN);
            kith_sim_set_work_delay(w.sim, 100 * KITH_SIM_MS);
            receive(&w, how & 1);
            line *l = connect_and_wait(&w);
            kith_stream *stream = offer(&w, l, "file", 3 * KITH_GROUP_SIZE, 1);
            kith_tree_init(&tree);
            for (uint64_t i = 0; i < 3; i++) {
                kith_group_cv(data, KITH_GROUP_SIZE, i, false, cv);
                kith_tree_add(&tree, cv);
                size_t head = kith_file_write_chunk_head(KITH_GROUP_SIZE, cv, chunk, sizeof chunk);
                run(&w, 200 * KITH_SIM_MS * (i == 0)); /* until it is answered */
                assert_ok(kith_stream_write(stream, chunk, head));
                assert_ok(kith_stream_write(stream, data, KITH_GROUP_SIZE));
            }
            kith_tree_root(&tree, root);
            size_t size = kith_file_write_root(KITH_FILE_MESSAGE_END, root, end, sizeof end);
            assert_ok(kith_stream_write(stream, end, size));
            assert_ok(kith_stream_finish(stream));
            quic_env_flush(&w.bad.quic);
            run(&w, ms * KITH_SIM_MS);
            switch (how) {
            case 0:
            case 1: kith_core_cancel(w.node.core, w.node.last_op); break;
            case 2: kith_core_cancel(w.node.core, (UINT64_C(1) << 32) * w.node.last_op + 1); break;
            case 3: hang_up(&w.bad, l, 0); break;
            case 4:
                kith_stream_reset(stream, KITH_WIRE_CANCELLED);
                kith_stream_stop(stream, KITH_WIRE_CANCELLED);
                kith_stream_free(stream);
                quic_env_flush(&w.bad.quic);
                break;
            default: kith_sim_fail_file_at(w.node.env, 1, KITH_ERR_NO_SPACE, KITH_SIM_FAIL_ON); break;
            }
            run(&w, 5 * KITH_SIM_S);
            size_t whole = count_events(&w.node, KITH_EVENT_FILE), bad = count_events(&w.node, KITH_EVENT_FAILED);
            if (whole + bad != 1)
                fail_msg("%d, %llu ms: %zu whole, %zu failed", how, (unsigned long long)ms, whole, bad);
            kith_sim_fail_file_at(w.node.env, 0, KITH_OK, KITH_SIM_FAIL_ONCE);
            free(data);
            world_free(&w);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_receiver_closes_while_chunks_are_read),
        TEST(cancelled_while_chunks_are_read),
        TEST(a_receiver_that_ends_every_stream),
        TEST(a_receiver_that_ends_its_side),
        TEST(refusals_are_told_apart),
        TEST(a_busy_receiver_is_waited_for),
        TEST(a_forged_pong),
        TEST(offers_that_wait),
        TEST(half_an_offer),
        TEST(a_refused_name),
        TEST(begun_chunks_do_not_starve_others),
        TEST(the_same_file_again),
        TEST(one_that_goes_over),
        TEST(one_that_goes_over_stays_with_its_receive),
        TEST(forgotten_while_sending),
        TEST(ended_at_every_moment),
    };
    return cmocka_run_group_tests_name("sim/node_transfers", tests, NULL, NULL);
}
