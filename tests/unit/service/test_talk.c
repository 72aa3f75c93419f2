/* Two ends of a connection with a pipe that breaks; and peers that do not keep to the protocol. */
#include "base/mem.h"
#include "service/talk_bytes.h"
#include "testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPE_ROOM (4u << 20)

static uint64_t random_state;
static uint64_t dice(uint64_t sides)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % sides;
}

/* ---- a pair ---- */

typedef struct end {
    kith_talk *talk;
    uint8_t *pipe; /* from the other end */
    size_t at, size;
    bool fin, fin_given;
    uint64_t sent, got, not_taken; /* messages */
    size_t bytes_not_taken, confirmed, sent_bytes;
    bool over, finished;
    kith_err err;
} end;

typedef struct pair {
    end ends[2]; /* the opener, the acceptor */
    bool connected, closed;
    kith_talk_inbox inbox;
    bool known, gone; /* who the stream is of; that it was over already */
} pair;

static const uint8_t id[KITH_TALK_ID_SIZE] = {7};

static void pair_make(pair *p)
{
    *p = (pair){0};
    for (int i = 0; i < 2; i++) {
        p->ends[i].pipe = malloc(PIPE_ROOM);
        assert_ok(kith_talk_new(i == 0, id, "topic", &p->ends[i].talk));
    }
}

static void pair_done(pair *p)
{
    for (int i = 0; i < 2; i++) {
        kith_talk_free(p->ends[i].talk);
        free(p->ends[i].pipe);
    }
}

static void connect_pair(pair *p)
{
    for (int i = 0; i < 2; i++) {
        p->ends[i].at = p->ends[i].size = 0;
        p->ends[i].fin = p->ends[i].fin_given = false;
    }
    p->inbox = (kith_talk_inbox){0};
    p->known = p->gone = false;
    p->connected = true;
    assert_ok(kith_talk_begin(p->ends[0].talk, NULL));
}

static void break_pair(pair *p)
{
    p->connected = false;
    kith_talk_apart(p->ends[0].talk);
    kith_talk_apart(p->ends[1].talk);
}

/* The n-th message of a side: its size and bytes follow from the number. */
static size_t size_of(int side, uint64_t n)
{
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u + (uint64_t)side;
    x ^= x >> 29;
    if (x % 50 == 0) return KITH_TALK_MESSAGE_MAX - x % 3;
    return x % 7 == 0 ? 0 : x % 3000;
}

static kith_talk_message *make_message(int side, uint64_t n)
{
    kith_talk_message *m = kith_talk_message_new(NULL, size_of(side, n));
    if (m && m->size) memset(m->data, (int)(n * 31 + (unsigned)side), m->size);
    return m;
}

static void events(pair *p, int i)
{
    end *e = &p->ends[i];
    for (kith_talk_event event; (event = kith_talk_event_take(e->talk));) {
        assert_false(e->over);
        if (event == KITH_TALK_CONFIRMED) e->confirmed += kith_talk_confirmed(e->talk);
        if (event == KITH_TALK_FINISHED) e->finished = true;
        if (event == KITH_TALK_OVER) {
            e->over = true;
            e->err = kith_talk_error(e->talk);
        }
        if (event != KITH_TALK_MESSAGE) continue;
        kith_talk_message *m = kith_talk_take(e->talk);
        assert_non_null(m);
        assert_int_equal(m->size, size_of(1 - i, e->got));
        for (size_t at = 0; at<m->size; at += m->size> 64 ? m->size / 64 : 1)
            assert_int_equal(m->data[at], (uint8_t)(e->got * 31 + (unsigned)(1 - i)));
        e->got++;
        e->not_taken++;
        e->bytes_not_taken += m->size;
        assert_true(e->bytes_not_taken + e->not_taken * KITH_TALK_COST <= KITH_TALK_WINDOW);
        kith_free(m);
    }
}

static bool write_side(pair *p, int i, size_t most)
{
    end *to = &p->ends[1 - i];
    const uint8_t *data;
    size_t size;
    bool fin, did = false;
    if (i == 1 && (!p->known || p->gone)) return false;
    while (to->size < most && kith_talk_output(p->ends[i].talk, &data, &size, &fin)) {
        assert_false(to->fin);
        assert_true(to->size + size <= PIPE_ROOM);
        memcpy(to->pipe + to->size, data, size);
        to->size += size;
        to->fin = fin;
        did = true;
    }
    return did;
}

static bool read_side(pair *p, int i, size_t most)
{
    end *e = &p->ends[i];
    size_t n = e->size - e->at < most ? e->size - e->at : most, taken = n;
    bool fin = e->fin && e->at + n == e->size && !e->fin_given;
    if (!n && !fin) return false;
    if (i == 1 && !p->known) {
        kith_talk_open open;
        kith_err err = kith_talk_open_read(&p->inbox, e->pipe + e->at, n, &taken, &open);
        if (!err) {
            p->known = true;
            assert_memory_equal(open.id, id, sizeof id);
            if (!e->over)
                assert_ok(kith_talk_begin(e->talk, &open));
            else { /* what an owner that kept the id answers */
                end *to = &p->ends[0];
                to->size += kith_talk_ended_write(KITH_OK, to->pipe + to->size, KITH_TALK_CONTROL_MAX);
                to->fin = p->gone = true;
            }
        } else {
            assert_int_equal(err, KITH_ERR_AGAIN);
        }
    } else {
        e->fin_given |= fin;
        kith_talk_input(e->talk, e->pipe + e->at, n, fin);
    }
    e->at += taken;
    if (e->at == e->size) e->at = e->size = 0;
    events(p, i);
    return true;
}

/* The application takes all there is. */
static void take_all(end *e)
{
    if (!e->not_taken) return;
    kith_talk_taken(e->talk, e->not_taken, e->bytes_not_taken);
    e->not_taken = e->bytes_not_taken = 0;
}

static void send_one(pair *p, int i)
{
    end *e = &p->ends[i];
    kith_talk_message *m = make_message(i, e->sent);
    if (kith_talk_send(e->talk, m)) {
        kith_free(m);
        return;
    }
    e->sent++;
    e->sent_bytes += m->size + KITH_TALK_COST;
}

static bool quiet(pair *p)
{
    bool did = false;
    for (int i = 0; i < 2; i++) {
        did |= write_side(p, i, PIPE_ROOM / 2);
        did |= read_side(p, i, SIZE_MAX);
        did |= p->ends[i].not_taken > 0;
        take_all(&p->ends[i]);
        events(p, i);
    }
    return !did;
}

static void settle(pair *p)
{
    for (int i = 0; !quiet(p); i++) assert_true(i < 100000);
}

/* ---- what should be ---- */

static void messages_both_ways(void **state)
{
    pair p;
    (void)state;
    pair_make(&p);
    for (int n = 0; n < 20; n++) send_one(&p, n % 2);
    connect_pair(&p);
    settle(&p);
    assert_int_equal(p.ends[0].got, 10);
    assert_int_equal(p.ends[1].got, 10);
    assert_int_equal(kith_talk_undelivered(p.ends[0].talk), 0);
    assert_int_equal(p.ends[0].confirmed, p.ends[0].sent_bytes);
    kith_talk_finish(p.ends[0].talk);
    send_one(&p, 1); /* before it hears: it is still delivered */
    settle(&p);
    for (int i = 0; i < 2; i++) {
        assert_true(p.ends[i].over);
        assert_ok(p.ends[i].err);
        kith_talk_message *m = make_message(i, 0);
        assert_int_equal(kith_talk_send(p.ends[i].talk, m), KITH_ERR_STATE);
        kith_free(m);
    }
    assert_true(p.ends[0].finished && p.ends[1].finished);
    assert_int_equal(p.ends[0].got, 11);
    pair_done(&p);
}

/* However the stream breaks, each message comes once and in order; and the end comes well on both sides. */
static void any_number_of_breaks(void **state)
{
    (void)state;
    size_t breaks = 0, large = 0;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        pair p;
        random_state = seed * 0x2545f4914f6cdd1du;
        pair_make(&p);
        uint64_t goal[2] = {dice(60), dice(60)};
        for (int step = 0; step < 100000 && !(p.ends[0].over && p.ends[1].over); step++) {
            int i = (int)dice(2);
            end *e = &p.ends[i];
            if (!p.connected && dice(3) == 0) connect_pair(&p);
            switch (dice(p.connected ? 8 : 3)) {
            case 0:
                if (e->sent < goal[i]) send_one(&p, i);
                break;
            case 1:
                if (e->sent == goal[i] && dice(8) == 0) kith_talk_finish(e->talk);
                break;
            case 2: take_all(e); break;
            case 3: (void)write_side(&p, i, 1 + dice(100000)); break;
            case 7:
                if (dice(12)) break;
                break_pair(&p);
                breaks++;
                break;
            default: (void)read_side(&p, i, 1 + dice(dice(4) ? 300000 : 7)); break;
            }
            events(&p, i);
        }
        for (int i = 0; i < 2; i++) {
            if (!p.ends[i].over || p.ends[i].err)
                fail_msg("seed %llu: side %d: %s", (unsigned long long)seed, i, kith_err_name(p.ends[i].err));
            assert_int_equal(p.ends[i].got, p.ends[1 - i].sent);
            assert_int_equal(p.ends[i].confirmed, p.ends[i].sent_bytes);
            large += p.ends[i].sent > 50;
        }
        pair_done(&p);
    }
    assert_true(breaks > 2000 && large > 50);
}

/* Whoever does not take holds the other back, at a bound. */
static void the_window_holds(void **state)
{
    pair p;
    (void)state;
    pair_make(&p);
    connect_pair(&p);
    for (int n = 0; n < 3; n++) {
        kith_talk_message *m = kith_talk_message_new(NULL, KITH_TALK_MESSAGE_MAX);
        memset(m->data, 1, m->size);
        assert_ok(kith_talk_send(p.ends[0].talk, m));
    }
    size_t whole = 0;
    for (int n = 0; n < 50; n++) {
        (void)write_side(&p, 0, PIPE_ROOM / 4);
        (void)write_side(&p, 1, PIPE_ROOM / 4);
        end *e = &p.ends[1];
        if (!p.known) {
            (void)read_side(&p, 1, SIZE_MAX);
        } else {
            kith_talk_input(e->talk, e->pipe + e->at, e->size - e->at, false);
            e->at = e->size = 0;
            while (kith_talk_event_take(e->talk) == KITH_TALK_MESSAGE) {
                kith_free(kith_talk_take(e->talk));
                whole++;
            }
        }
        (void)read_side(&p, 0, SIZE_MAX);
    }
    assert_int_equal(whole, 2);
    kith_talk_taken(p.ends[1].talk, 1, KITH_TALK_MESSAGE_MAX);
    (void)write_side(&p, 1, PIPE_ROOM / 4);
    (void)read_side(&p, 0, SIZE_MAX);
    assert_int_equal(p.ends[0].confirmed, KITH_TALK_MESSAGE_MAX + KITH_TALK_COST);
    assert_int_equal(kith_talk_undelivered(p.ends[0].talk), 2 * (KITH_TALK_MESSAGE_MAX + KITH_TALK_COST));
    assert_true(write_side(&p, 0, PIPE_ROOM / 4));
    kith_talk_input(p.ends[1].talk, p.ends[1].pipe, p.ends[1].size, false);
    assert_int_equal(kith_talk_event_take(p.ends[1].talk), KITH_TALK_MESSAGE);
    pair_done(&p);
}

/* ---- what peers may say ---- */

typedef struct saying {
    uint8_t bytes[1024];
    size_t size;
} saying;

static void say(saying *s, const void *data, size_t size)
{
    memcpy(s->bytes + s->size, data, size);
    s->size += size;
}

static void say_message(saying *s, const char *text)
{
    s->size += kith_talk_write_head(strlen(text), s->bytes + s->size);
    say(s, text, strlen(text));
}

/* An opener that has sent OPEN and two messages of its own if the answer lets it; what it makes of these bytes. */
static kith_err opener_hears(const saying *s, size_t split, bool fin, bool *ended)
{
    kith_talk *t;
    const uint8_t *data;
    size_t size;
    bool out_fin;
    assert_ok(kith_talk_new(true, id, "t", &t));
    for (int i = 0; i < 2; i++) assert_ok(kith_talk_send(t, kith_talk_message_new("hello", 5)));
    assert_ok(kith_talk_begin(t, NULL));
    while (kith_talk_output(t, &data, &size, &out_fin)) {
    }
    for (size_t at = 0; at < s->size;) {
        size_t n = s->size - at < split ? s->size - at : split;
        kith_talk_input(t, s->bytes + at, n, fin && at + n == s->size);
        at += n;
        while (kith_talk_output(t, &data, &size, &out_fin)) {
        }
    }
    *ended = false;
    for (kith_talk_event e; (e = kith_talk_event_take(t));) {
        *ended |= e == KITH_TALK_OVER;
        if (e == KITH_TALK_MESSAGE) kith_free(kith_talk_take(t));
    }
    kith_err err = kith_talk_error(t);
    kith_talk_free(t);
    return err;
}

static void expect(const char *what, const saying *s, bool fin, kith_err want)
{
    static const size_t splits[] = {1, 2, 3, 7, SIZE_MAX};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        bool ended;
        kith_err err = opener_hears(s, splits[i], fin, &ended);
        if (err != want || ended != (want != KITH_OK))
            fail_msg("%s: %s (over: %d) with split %zu", what, kith_err_name(err), ended, splits[i]);
    }
}

static saying accepted(uint64_t received, uint64_t taken)
{
    saying s = {0};
    s.size = kith_talk_write_accept(received, taken, s.bytes);
    return s;
}

static void wrong_order(void **state)
{
    uint8_t out[512];
    (void)state;
    saying s = accepted(0, 0);
    expect("good", &s, false, KITH_OK);
    say(&s, out, kith_talk_write_confirm(0, out));
    say_message(&s, "yes");
    expect("good, with a confirmation and a message", &s, false, KITH_OK);
    s = accepted(0, 0);
    expect("an end in the midst", &s, true, KITH_ERR_PROTOCOL);
    say(&s, out, kith_talk_write_accept(0, 0, out));
    expect("accepted twice", &s, false, KITH_ERR_PROTOCOL);
    s = accepted(1, 1);
    expect("received what was not sent", &s, false, KITH_ERR_PROTOCOL);
    s = accepted(0, 0);
    say(&s, out, kith_talk_write_confirm(3, out));
    expect("took what was not sent", &s, false, KITH_ERR_PROTOCOL);
    s = accepted(0, 0);
    say(&s, out, kith_talk_write_confirm(2, out));
    say(&s, out, kith_talk_write_confirm(1, out));
    expect("took less than before", &s, false, KITH_ERR_PROTOCOL);
    s = accepted(0, 0);
    say(&s, out, kith_talk_write_finish(out));
    say_message(&s, "and");
    expect("a message after the last", &s, false, KITH_ERR_PROTOCOL);
    s = accepted(0, 0);
    say(&s, out, kith_talk_write_finish(out));
    say(&s, out, kith_talk_write_finish(out));
    expect("finished twice", &s, false, KITH_ERR_PROTOCOL);
    s = (saying){0};
    say_message(&s, "first");
    expect("a message before the answer", &s, false, KITH_ERR_PROTOCOL);
    s = (saying){0};
    say(&s, out, kith_talk_write_finish(out));
    expect("an end before the answer", &s, false, KITH_ERR_PROTOCOL);
    s = (saying){0};
    say(&s, out, kith_talk_ended_write(KITH_ERR_CLOSED, out, sizeof out));
    expect("not known there", &s, true, KITH_ERR_CLOSED);
    s = (saying){0};
    say(&s, out, kith_talk_ended_write(KITH_ERR_CANCELLED, out, sizeof out));
    expect("ended there", &s, true, KITH_ERR_CLOSED);
    s = (saying){0};
    say(&s, out, kith_talk_ended_write(KITH_OK, out, sizeof out));
    expect("ended well, though nothing was finished", &s, true, KITH_ERR_PROTOCOL);
    s = accepted(0, 0);
    kith_talk_open open = {.topic = "t"};
    say(&s, out, kith_talk_write_open(&open, out));
    expect("an opening from the acceptor", &s, false, KITH_ERR_PROTOCOL);
}

static void wrong_form(void **state)
{
    static const struct {
        const char *what, *hex;
    } cases[] = {
        {"type 0", "0000"},
        {"type 7", "0700"},
        {"a long type", "4002"},
        {"a control message of 257 bytes", "054101"},
        {"a message above the limit", "0480100001"},
        {"a length in 8 bytes", "04c000000000000001"},
        {"an empty body", "0500"},
        {"no map", "050180"},
        {"a member missing", "0501a0"},
        {"a member twice", "0505a201000100"},
        {"a trailing byte", "0602a000"},
        {"text for a number", "0504a1016130"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_bytes b = test_unhex(cases[i].hex);
        saying s = accepted(0, 0);
        say(&s, b.data, b.size);
        expect(cases[i].what, &s, false, KITH_ERR_PROTOCOL);
        test_bytes_free(&b);
    }
}

/* A sender that does not wait for its messages to be taken. */
static void a_flood_is_cut(void **state)
{
    kith_talk *t;
    kith_talk_open open = {.topic = "t"};
    uint8_t *megabyte = calloc(1, KITH_TALK_MESSAGE_MAX), head[KITH_TALK_HEAD_MAX];
    (void)state;
    for (size_t size = 0; size <= KITH_TALK_MESSAGE_MAX; size = size ? size * 1024 : 1) {
        assert_ok(kith_talk_new(false, id, "t", &t));
        assert_ok(kith_talk_begin(t, &open));
        size_t n = 0;
        for (; !kith_talk_error(t); n++) {
            kith_talk_input(t, head, kith_talk_write_head(size, head), false);
            kith_talk_input(t, megabyte, size, false);
        }
        assert_int_equal(n - 1, KITH_TALK_WINDOW / (size + KITH_TALK_COST));
        assert_int_equal(kith_talk_error(t), KITH_ERR_PROTOCOL);
        kith_talk_free(t);
    }
    free(megabyte);
}

static kith_err read_open(const uint8_t *bytes, size_t size, size_t split, kith_talk_open *out, size_t *used)
{
    kith_talk_inbox inbox = {0};
    kith_err err = KITH_ERR_AGAIN;
    *used = 0;
    while (err == KITH_ERR_AGAIN && *used < size) {
        size_t n = size - *used < split ? size - *used : split, taken;
        err = kith_talk_open_read(&inbox, bytes + *used, n, &taken, out);
        *used += taken;
    }
    return err;
}

static void openings(void **state)
{
    uint8_t bytes[512];
    size_t used;
    kith_talk_open open = {.topic = "chess", .received = 5, .taken = 3, .again = true}, got;
    (void)state;
    memset(open.id, 9, sizeof open.id);
    size_t size = kith_talk_write_open(&open, bytes);
    memcpy(bytes + size, "more", 4);
    for (size_t split = 1; split < size + 4; split++) {
        assert_ok(read_open(bytes, size + 4, split, &got, &used));
        assert_int_equal(used, size);
        assert_memory_equal(got.id, open.id, sizeof got.id);
        assert_string_equal(got.topic, "chess");
        assert_true(got.received == 5 && got.taken == 3 && got.again);
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(read_open(bytes, cut, SIZE_MAX, &got, &used), KITH_ERR_AGAIN);
    open.taken = 6;
    size = kith_talk_write_open(&open, bytes);
    assert_int_equal(read_open(bytes, size, SIZE_MAX, &got, &used), KITH_ERR_PROTOCOL);
    size = kith_talk_write_accept(0, 0, bytes);
    assert_int_equal(read_open(bytes, size, 1, &got, &used), KITH_ERR_PROTOCOL);
    static const char *const bad[] = {"", "a\nb", "\xff", "\xe2\x80\xae",
                                      "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(kith_talk_topic_good(bad[i]));
    assert_true(kith_talk_topic_good("org.example.notes/1"));
    assert_true(kith_talk_topic_good("012345678901234567890123456789012345678901234567890123456789012"));
    kith_talk *t;
    open = (kith_talk_open){.topic = "chess"};
    assert_ok(kith_talk_new(false, open.id, "draughts", &t));
    assert_int_equal(kith_talk_begin(t, &open), KITH_ERR_PROTOCOL);
    kith_talk_free(t);
}

/* ---- without memory ---- */

static int a_short_life(void *unused)
{
    pair p = {0};
    uint8_t *pipes[2] = {malloc(PIPE_ROOM), malloc(PIPE_ROOM)};
    int err = 0;
    (void)unused;
    for (int i = 0; i < 2 && !err; i++) {
        p.ends[i].pipe = pipes[i];
        err = kith_talk_new(i == 0, id, "topic", &p.ends[i].talk);
    }
    for (int i = 0; i < 6 && !err; i++) {
        kith_talk_message *m = make_message(i % 2, (uint64_t)(i / 2));
        err = m ? kith_talk_send(p.ends[i % 2].talk, m) : KITH_ERR_NOMEM;
    }
    if (!err) {
        connect_pair(&p);
        settle(&p);
        break_pair(&p);
        if (!p.ends[0].over && !p.ends[1].over) connect_pair(&p);
        kith_talk_finish(p.ends[0].talk);
        settle(&p);
        for (int i = 0; i < 2 && !err; i++) err = p.ends[i].over ? p.ends[i].err : 0;
    }
    for (int i = 0; i < 2; i++) {
        kith_talk_free(p.ends[i].talk);
        free(pipes[i]);
    }
    return err;
}

static void without_memory(void **state)
{
    (void)state;
    test_every_allocation(a_short_life, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_both_ways), TEST(any_number_of_breaks), TEST(the_window_holds), TEST(wrong_order),
        TEST(wrong_form),         TEST(a_flood_is_cut),       TEST(openings),         TEST(without_memory),
    };
    return cmocka_run_group_tests_name("service/talk", tests, NULL, NULL);
}
