/* What a receiver has already does not come again. */
#include "receive_world.h"

#define HASHED_MAX (8 * MIB) /* HASH_FIRST_MAX of op/send.c */

static void send_as(world *w, const char *name)
{
    kith_send_options options = {.size = sizeof options, .name = name};
    w->node.count = w->sender.count = 0;
    kith_core_send_file(w->sender.core, ++w->sender.last_op, w->node_id, "/film", &options);
    run(w, 20 * KITH_SIM_S);
    assert_ok(sending_ended(w));
}

/* It was there before (`at` its path), as both ends say; or it came, every byte of it. */
static void was_there(const world *w, bool there, size_t size, const char *at)
{
    const kith_event *start = last_event(&w->node, KITH_EVENT_START), *file = last_event(&w->node, KITH_EVENT_FILE);
    const kith_event *sent = last_event(&w->sender, KITH_EVENT_SENT);
    assert_int_equal(start->bytes, there ? size : 0);
    assert_int_equal(last_event(&w->sender, KITH_EVENT_START)->bytes, there ? size : 0);
    assert_string_equal(file->path_name, at);
    assert_int_equal(file->bytes_total, size);
    assert_string_equal(file->hash, sent->hash);
    check_file(w, at, 1, size);
}

static void sent_again(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, MIB - 1, MIB, MIB + 1, HASHED_MAX - 1, HASHED_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        world w;
        size_t size = sizes[i];
        world_make(&w);
        put(w.sender.host, "/film", 1, size);
        kith_receive_options options = {.folder = "/in"};
        receive(&w, &options);
        send_as(&w, NULL);
        was_there(&w, false, size, "/in/film");
        assert_false(last_event(&w.node, KITH_EVENT_FILE)->already);
        for (int again = 0; again < 2; again++) {
            send_as(&w, NULL);
            was_there(&w, true, size, "/in/film");
            assert_true(last_event(&w.node, KITH_EVENT_FILE)->already);
            assert_int_equal(files_in(&w, "/in"), 1);
        }
        put(w.node.host, "/in/film", 2, size); /* not that any more */
        send_as(&w, NULL);
        was_there(&w, false, size, "/in/film (2)");
        send_as(&w, NULL);
        was_there(&w, true, size, "/in/film (2)");
        send_as(&w, "other");
        was_there(&w, false, size, "/in/other");
        assert_int_equal(files_in(&w, "/in"), 3);
        world_free(&w);
    }
}

/* The sender does not know the hash of a large one beforehand: it comes, and is then found to be there. */
static void a_large_one_comes(void **state)
{
    (void)state;
    world w;
    world_make(&w);
    put(w.sender.host, "/film", 1, HASHED_MAX + 1);
    kith_receive_options options = {.folder = "/in"};
    receive(&w, &options);
    for (int again = 0; again < 2; again++) {
        send_as(&w, NULL);
        was_there(&w, false, HASHED_MAX + 1, "/in/film");
        assert_int_equal(last_event(&w.node, KITH_EVENT_FILE)->already, again);
    }
    assert_int_equal(files_in(&w, "/in"), 1);
    world_free(&w);
}

static void by_policy(void **state)
{
    (void)state;
    for (int conflict = KITH_CONFLICT_KEEP; conflict <= KITH_CONFLICT_OVERWRITE; conflict++) {
        for (int chosen = 0; chosen < 2; chosen++) {
            world w;
            bool replaced = conflict == KITH_CONFLICT_OVERWRITE;
            const char *at = chosen ? "/else/chosen" : "/in/film";
            kith_file_info info;
            world_make(&w);
            put(w.sender.host, "/film", 1, MIB + 1);
            put(w.node.host, at, 1, MIB + 1);
            assert_ok(kith_sim_set_mode(w.node.host, at, 0600));
            kith_receive_options options = {.folder = "/in", .conflict = (kith_conflict)conflict, .ask = chosen};
            receive(&w, &options);
            if (chosen) kith_core_receive_file(w.node.core, offered(&w), at, (kith_conflict)conflict);
            if (chosen)
                run(&w, 10 * KITH_SIM_S);
            else
                send_as(&w, NULL);
            was_there(&w, !replaced, MIB + 1, at);
            assert_int_equal(last_event(&w.node, KITH_EVENT_FILE)->already, !replaced);
            assert_ok(w.node.env->file->stat(w.node.env, at, false, &info));
            assert_int_equal(info.mode & 0777, replaced ? 0644 : 0600); /* all of it is the sender's */
            world_free(&w);
        }
    }
}

/* ---- peers that are no nodes ---- */

/* What the node says on the stream that was opened last. */
typedef struct heard {
    kith_stream *stream;
    kith_file_inbox inbox;
    kith_file_inbox_state state;
} heard;

static void listen_on(hostile *h, line *l, const kith_quic_event *event)
{
    heard *got = h->user;
    const uint8_t *data;
    size_t size;
    bool fin;
    (void)l;
    if (event->kind != KITH_QUIC_READABLE || event->stream != got->stream) return;
    while (kith_stream_peek(event->stream, &data, &size, &fin)) {
        if (got->state == KITH_FILE_INBOX_MORE) kith_file_inbox_add(&got->inbox, data, size, &got->state);
        kith_stream_consume(event->stream, size);
    }
}

static const kith_file_header *header_of(size_t size, bool hash)
{
    static kith_file_header header;
    header = (kith_file_header){.name = "film", .size = size, .has_hash = hash};
    for (size_t i = 0; i < size; i++) content[i] = (uint8_t)((i * 2654435761u >> 13) + 1); /* kind 1 of put */
    kith_blake3(content, size, header.hash);
    return &header;
}

static void offer(world *w, line *l, heard *got, const kith_file_header *header)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    *got = (heard){.state = KITH_FILE_INBOX_MORE};
    w->bad.on = listen_on;
    w->bad.user = got;
    got->stream = ask(&w->bad, l, STREAM_FILE, out, kith_file_write_offer(header, out, sizeof out));
    assert_non_null(got->stream);
    run(w, KITH_SIM_S);
}

static uint64_t groups_answered(const heard *got, const kith_file_header *header)
{
    kith_file_resume resume;
    assert_int_equal(got->state, KITH_FILE_INBOX_WHOLE);
    assert_int_equal(kith_file_inbox_type(&got->inbox), KITH_FILE_MESSAGE_ANSWER);
    assert_true(kith_file_read_answer(&got->inbox, header->size, &resume));
    return resume.groups;
}

static line *meet(world *w, kith_peer_kind kind)
{
    trust(&w->node, &w->bad, kind, false);
    line *l = dial_node(&w->bad, &w->node, NODE);
    run(w, KITH_SIM_S);
    return l;
}

/* Somebody else's device does not learn by offering what is in the folder. */
static void contacts_learn_nothing(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        world w;
        heard got;
        world_make(&w);
        put(w.node.host, "/in/film", 1, MIB + 1);
        kith_receive_options options = {.folder = "/in", .yes = true};
        receive(&w, &options);
        line *l = meet(&w, own ? KITH_PEER_OWN : KITH_PEER_CONTACT);
        const kith_file_header *header = header_of(MIB + 1, true);
        offer(&w, l, &got, header);
        assert_int_equal(groups_answered(&got, header), own ? 2 : 0);
        world_free(&w);
    }
}

/* Between the answer and the end the file that was found changes: the sender is told that he may try again, and does.
 */
static void changed_after_the_answer(void **state)
{
    (void)state;
    world w;
    heard got;
    kith_err why, storage;
    uint8_t end[KITH_FILE_OUTPUT_MAX];
    world_make(&w);
    put(w.node.host, "/in/film", 1, MIB + 1);
    kith_receive_options options = {.folder = "/in", .once = true};
    receive(&w, &options);
    line *l = meet(&w, KITH_PEER_OWN);
    const kith_file_header *header = header_of(MIB + 1, true);
    offer(&w, l, &got, header);
    assert_int_equal(groups_answered(&got, header), 2);
    put(w.node.host, "/in/film", 2, MIB + 1);
    kith_file_inbox_clear(&got.inbox);
    got.state = KITH_FILE_INBOX_MORE;
    size_t size = kith_file_write_root(KITH_FILE_MESSAGE_END, header->hash, end, sizeof end);
    assert_ok(kith_stream_write(got.stream, end, size));
    assert_ok(kith_stream_finish(got.stream));
    quic_env_flush(&w.bad.quic);
    run(&w, KITH_SIM_S);
    assert_int_equal(got.state, KITH_FILE_INBOX_WHOLE);
    assert_int_equal(kith_file_inbox_type(&got.inbox), KITH_FILE_MESSAGE_ABORT);
    assert_true(kith_file_read_abort(&got.inbox, &why, &storage));
    assert_int_equal(why, KITH_ERR_CLOSED);
    assert_int_equal(last_event(&w.node, KITH_EVENT_FAILED)->err, KITH_ERR_STATE);
    assert_non_null(strstr(last_event(&w.node, KITH_EVENT_FAILED)->message, "changed"));
    assert_int_equal(count_events(&w.node, KITH_EVENT_END), 0); /* it is still to come */
    assert_int_equal(files_in(&w, "/in"), 1);
    offer(&w, l, &got, header_of(MIB + 1, true));
    assert_int_equal(groups_answered(&got, header), 0);
    world_free(&w);
}

/* With what is kept of an earlier attempt the sender gets another hash than he knew: that is not kept any longer. */
static void a_wrong_beginning_is_dropped(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        world w;
        heard got;
        uint8_t chunk[KITH_FILE_CHUNK_HEAD], cv[KITH_BLAKE3_SIZE], out[KITH_FILE_OUTPUT_MAX];
        world_make(&w);
        kith_receive_options options = {.folder = "/in"};
        receive(&w, &options);
        line *l = meet(&w, KITH_PEER_OWN);
        const kith_file_header *header = header_of(3 * MIB, false);
        offer(&w, l, &got, header);
        kith_group_cv(content, MIB, 0, false, cv);
        assert_ok(kith_stream_write(got.stream, chunk, kith_file_write_chunk_head(MIB, cv, chunk, sizeof chunk)));
        assert_ok(kith_stream_write(got.stream, content, MIB));
        quic_env_flush(&w.bad.quic);
        run(&w, KITH_SIM_S);
        offer(&w, l, &got, header);
        assert_int_equal(groups_answered(&got, header), 1);
        size_t size = kith_file_write_abort(how ? KITH_ERR_CORRUPT : KITH_ERR_CANCELLED, out, sizeof out);
        assert_ok(kith_stream_write(got.stream, out, size));
        assert_ok(kith_stream_finish(got.stream));
        quic_env_flush(&w.bad.quic);
        run(&w, KITH_SIM_S);
        offer(&w, l, &got, header);
        assert_int_equal(groups_answered(&got, header), how ? 0 : 1);
        world_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sent_again),
        TEST(a_large_one_comes),
        TEST(by_policy),
        TEST(contacts_learn_nothing),
        TEST(changed_after_the_answer),
        TEST(a_wrong_beginning_is_dropped),
    };
    return cmocka_run_group_tests_name("sim/node_identical", tests, NULL, NULL);
}
