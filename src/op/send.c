/* Sending one file: read and hash chunks ahead on workers, hand them to the stream without copying, and when the device
 * goes away look for it and go on where it stopped. */
#include "base/mem.h"
#include "node/beside.h"
#include "node/dial.h"
#include "node/relay.h"
#include "op/chunks.h"
#include "op/op.h"
#include "service/file_message.h"
#include "service/wire_error.h"
#include "store/outgoing.h"

#include <stdio.h>
#include <string.h>

#define SLOTS             4          /* chunks in memory: being read, waiting, or not yet acknowledged */
#define SLOTS_MAX         CHUNKS_MAX /* where much is under way for long: 200 ms at 1 Gbit/s are 25 MB, more after a loss */
#define SLOT_PREFIX_MAX   64
#define UNSENT_MAX        (3 * KITH_GROUP_SIZE / 2) /* queued on the stream beyond what was ever sent */
#define PATIENCE_S        30
#define PROGRESS_EVERY_NS (SECOND_NS / 10)
#define BREAKS_MAX        8               /* in a row without a chunk more at the receiver: then it is given up */
#define BREAK_PAUSE_NS    (SECOND_NS / 2) /* before the device is looked for again, times the breaks in a row */

#define HASH_FIRST_MAX (8 * KITH_GROUP_SIZE) /* a file up to this size is hashed before it is offered (some ms) */
#define BUSY_PAUSE_NS  (2 * SECOND_NS)
#define SPARE_NS       (2 * SECOND_NS) /* a twin that says nothing for so long is as gone as the session that was lost */

typedef enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY, SLOT_LENT } slot_state;

typedef struct send_op send_op;

typedef struct slot {
    kith_job job;
    send_op *op;
    slot_state state;
    uint8_t *data; /* KITH_GROUP_SIZE */
    uint64_t index, offset, lent_until;
    unsigned attempt; /* for which it was read */
    size_t size;
    bool only, last;
    uint8_t cv[KITH_BLAKE3_SIZE];
    kith_err err;
} slot;

struct send_op {
    op op;
    kith_peer peer;
    dial_want want; /* as the caller said; ANY: by the size */
    char *path, *name;
    uint64_t patience_ns;
    kith_job open_job;
    kith_err open_err;
    kith_outgoing *file;
    kith_file_header header;

    dial *dial;
    node_set refused;         /* nodes of the device that are not receiving */
    session_hold hold, spare; /* the session it goes over, and that one's twin */
    channel *channel;
    kith_file_tx *tx;
    slot slots[SLOTS_MAX];
    size_t slot_count; /* in use */
    chunk_pool chunks; /* the slots' memory */
    uint64_t next_index;
    size_t jobs; /* out on workers */
    bool connected_before, accepted;
    unsigned attempt, breaks;
    uint64_t reached;  /* bytes the receiver had at the last START */
    kith_timer *timer; /* the pause after a break */

    uint64_t started_ns, last_progress_ns;
    bool over; /* the END event is due when the jobs are done */
    kith_err end_err;
    char end_message[640];
};

static void step(send_op *s);
static void lost(send_op *s, kith_err why);
static void look_for_it(send_op *s);
static void connected(void *user, session *with);

/* ---- the end ---- */

/* Chunks that are being read belong to the attempt before from here on. */
static void drop_connection(send_op *s)
{
    kith__dial_free(s->dial);
    s->dial = NULL;
    kith__channel_free(s->channel);
    s->channel = NULL;
    kith__session_unuse(&s->hold);
    kith_file_tx_free(s->tx);
    s->tx = NULL;
    for (size_t i = 0; i < s->slot_count; i++)
        if (s->slots[i].state != SLOT_READING) s->slots[i].state = SLOT_FREE;
    s->accepted = false;
    s->attempt++;
}

static void send_free(op *o)
{
    send_op *s = (send_op *)o;
    kith_core *core = s->op.core;
    drop_connection(s);
    kith__session_unuse(&s->spare);
    kith_outgoing_close(s->file);
    core->env->timers->close(s->timer);
    kith__chunks_free(&s->chunks);
    kith_free(s->path);
    kith_free(s->name);
    kith_free(s);
}

static void try_end(send_op *s)
{
    if (!s->over || s->jobs) return;
    kith__op_end(&s->op, s->end_err, *s->end_message ? s->end_message : NULL);
    send_free(&s->op);
}

/* Jobs may still be out: the connection is let go of now, since it may be gone when they are done. */
static void finish(send_op *s, kith_err err, const char *message)
{
    if (s->over) return;
    s->over = true;
    s->end_err = err;
    snprintf(s->end_message, sizeof s->end_message, "%s", message ? message : "");
    /* Say why at once: an ABORT would wait behind what is queued. */
    if (s->channel && err) kith__channel_give_up(s->channel, err);
    s->op.core->env->timers->set(s->timer, NEVER);
    drop_connection(s);
    kith__session_unuse(&s->spare);
    try_end(s);
}

static void send_cancel(op *o, kith_err why)
{
    finish((send_op *)o, why, "stopped: run the same command again and it goes on from here");
}

static const op_kind send_kind = {.name = "send", .needs_keys = true, .cancel = send_cancel, .free = send_free};

static void explain_unreachable(const send_op *s, char *out, size_t size)
{
    const char *name = s->peer.local_name;
    char relay[400];
    bool direct = s->want == DIAL_DATAGRAM || s->want == DIAL_STREAM;
    if (s->connected_before)
        snprintf(out, size, "%s went away and did not come back: run the same command again and it goes on from here",
                 name);
    else if (direct && s->op.core->relays)
        snprintf(out, size, "%s cannot be found nearby, and --path forbids the way over the relay: leave it out", name);
    else if (kith__relays_problem(s->op.core, relay, sizeof relay))
        snprintf(out, size, "%s cannot be found nearby, and %s", name, relay);
    else
        snprintf(out, size, "%s cannot be found: is it on, %s, and is `kith receive` running there?", name,
                 s->op.core->relays ? "at the same relay" : "on this network");
}

/* What the other side or the network did, for people. */
static void explain(const send_op *s, kith_err err, char *out, size_t size)
{
    const char *name = s->peer.local_name;
    bool answered = s->tx && kith_file_tx_by_peer(s->tx); /* it took the offer and said so in the file's own words */
    *out = 0;
    switch (err) {
    case KITH_ERR_UNREACHABLE: explain_unreachable(s, out, size); break;
    case KITH_ERR_UNTRUSTED: snprintf(out, size, "%s does not know this device any more: pair them again", name); break;
    case KITH_ERR_NOT_ALLOWED:
        snprintf(out, size,
                 answered ? "%s does not take a file of this name: send it under another one (--name)"
                          : "%s is not receiving now, or not from this device: run `kith receive` or `kith up` there",
                 name);
        break;
    case KITH_ERR_DECLINED: snprintf(out, size, "%s declined", name); break;
    case KITH_ERR_AGAIN: snprintf(out, size, "%s is receiving this file already", name); break;
    case KITH_ERR_STATE: snprintf(out, size, "this file is being sent to %s by another command as well", name); break;
    case KITH_ERR_REMOTE_STORAGE:
        if (answered && kith_file_tx_storage(s->tx) == KITH_ERR_NO_SPACE)
            snprintf(out, size, "%s has no space left: make room there and run the same command again", name);
        else
            snprintf(out, size, "%s could not store it: see the message there, then run the same command again", name);
        break;
    default: break;
    }
}

static void fail(send_op *s, kith_err err)
{
    char message[sizeof s->end_message];
    explain(s, err, message, sizeof message);
    finish(s, err, *message ? message : NULL);
}

/* This node of the device does not receive: another may. */
static bool other_node(send_op *s, kith_err why)
{
    session *with = s->hold.session;
    if (why != KITH_ERR_NOT_ALLOWED || !with || kith_file_tx_by_peer(s->tx)) return false;
    if (!kith__nodes_add(&s->refused, with)) return false;
    drop_connection(s);
    return true;
}

/* The connection or the stream is over before the file was through. */
static void lost(send_op *s, kith_err why)
{
    bool may_return =
        why == KITH_ERR_LOST || why == KITH_ERR_CLOSED || why == KITH_ERR_TIMEOUT || why == KITH_ERR_AGAIN;
    if (s->over) return;
    if (other_node(s, why)) {
        look_for_it(s);
        return;
    }
    if (why == KITH_ERR_CANCELLED) why = KITH_ERR_DECLINED; /* by the person there: here nobody did */
    if (!may_return) {
        fail(s, why);
        return;
    }
    session *spare = s->spare.session;
    bool silent = why == KITH_ERR_LOST || why == KITH_ERR_TIMEOUT; /* nobody said that it should end */
    if (silent && spare && spare->ready) {
        kith__session_unuse(&s->spare);
        drop_connection(s);
        s->op.core->env->timers->set(s->timer, kith__core_now(s->op.core) + SPARE_NS);
        connected(s, spare); /* at the next chunk, over what is left */
        return;
    }
    if (why != KITH_ERR_AGAIN && ++s->breaks > BREAKS_MAX) {
        char message[sizeof s->end_message];
        snprintf(message, sizeof message, "%s went away again and again: run the same command again and it goes on",
                 s->peer.local_name);
        finish(s, KITH_ERR_LOST, message);
        return;
    }
    kith_event event = {.kind = KITH_EVENT_WAITING, .op = s->op.id, .err = why};
    snprintf(event.message, sizeof event.message,
             why == KITH_ERR_AGAIN ? "%s has too much to do: waiting" : "%s went away: waiting for it",
             s->peer.local_name);
    kith__core_describe(&s->peer, &event.device);
    kith__core_emit(s->op.core, &event);
    drop_connection(s);
    uint64_t pause = why == KITH_ERR_AGAIN ? BUSY_PAUSE_NS : s->breaks * BREAK_PAUSE_NS;
    s->op.core->env->timers->set(s->timer, kith__core_now(s->op.core) + pause);
}

/* ---- reading ahead ---- */

static void read_run(kith_job *job)
{
    slot *t = KITH_OF(job, slot, job);
    t->err = kith_outgoing_read(t->op->file, t->offset, t->data, t->size);
    if (!t->err) kith_group_cv(t->data, t->size, t->index, t->only, t->cv);
    if (!t->err && t->last) t->err = kith_outgoing_unchanged(t->op->file);
}

static void read_done(kith_job *job)
{
    slot *t = KITH_OF(job, slot, job);
    send_op *s = t->op;
    kith_core *core = s->op.core;
    s->jobs--;
    t->state = s->tx && t->attempt == s->attempt ? SLOT_READY : SLOT_FREE;
    if (s->over)
        try_end(s);
    else if (t->err)
        fail(s, t->err);
    else
        step(s);
    kith__core_job_done(core);
    kith__core_pump(core);
}

static void read_ahead(send_op *s)
{
    for (size_t i = 0; i < s->slot_count; i++) {
        slot *t = &s->slots[i];
        if (t->state != SLOT_FREE) continue;
        if (!t->data && !(t->data = kith__chunks_take(&s->chunks, SLOTS_MAX, s->header.size))) {
            if (s->jobs == 0 && i == 0) fail(s, KITH_ERR_NOMEM);
            return;
        }
        if (!kith_file_tx_next(s->tx, &t->index, &t->offset, &t->size)) return;
        t->only = s->header.size <= KITH_GROUP_SIZE;
        t->last = t->offset + t->size == s->header.size;
        t->state = SLOT_READING;
        t->attempt = s->attempt;
        t->op = s;
        t->job = (kith_job){.run = read_run, .done = read_done};
        s->jobs++;
        kith__core_submit(s->op.core, &t->job);
    }
}

/* ---- sending ---- */

static slot *ready_slot(send_op *s)
{
    for (size_t i = 0; i < s->slot_count; i++)
        if (s->slots[i].state == SLOT_READY && s->slots[i].index == s->next_index) return &s->slots[i];
    return NULL;
}

static kith_err lend_chunks(send_op *s)
{
    kith_stream *stream = s->channel->stream;
    for (slot *t; kith_stream_unsent(stream) < UNSENT_MAX && (t = ready_slot(s));) {
        uint8_t prefix[SLOT_PREFIX_MAX];
        size_t prefix_size;
        kith_err err = kith_file_tx_chunk(s->tx, t->index, t->cv, prefix, sizeof prefix, &prefix_size);
        if (!err) err = kith_stream_write(stream, prefix, prefix_size);
        if (!err && t->size) err = kith_stream_lend(stream, t->data, t->size);
        if (err) return err;
        t->lent_until = kith_stream_written(stream);
        t->state = SLOT_LENT;
        s->next_index++;
    }
    return KITH_OK;
}

/* Bytes of the file that were acknowledged, as far as the stream's order tells. */
static uint64_t acknowledged(const send_op *s)
{
    uint64_t returned = kith_stream_returned(s->channel->stream), bytes = s->next_index * KITH_GROUP_SIZE;
    for (size_t i = 0; i < s->slot_count; i++) {
        const slot *t = &s->slots[i];
        uint64_t from = t->lent_until - t->size; /* in the stream */
        if (t->state != SLOT_LENT || t->offset >= bytes) continue;
        bytes = t->offset + (returned > from ? returned - from : 0);
    }
    return bytes < s->header.size ? bytes : s->header.size;
}

static void progress(send_op *s)
{
    uint64_t now = kith__core_now(s->op.core);
    if (now - s->last_progress_ns < PROGRESS_EVERY_NS || !s->accepted) return;
    s->last_progress_ns = now;
    kith_event event = {.kind = KITH_EVENT_PROGRESS, .op = s->op.id, .bytes_total = s->header.size};
    event.bytes = acknowledged(s);
    kith__session_path(s->hold.session, event.path, event.scope, event.address);
    kith__core_emit(s->op.core, &event);
}

/* While there is a twin to go on over, silence is looked for early. */
static void watch(send_op *s)
{
    uint64_t at = s->spare.session ? kith__core_now(s->op.core) + SPARE_NS / 2 : NEVER;
    s->op.core->env->timers->set(s->timer, at);
}

/* The rest of the file goes over this session, from the next chunk on that the receiver has not. */
static void go_over(send_op *s, session *to)
{
    char address[KITH_ADDR_TEXT_SIZE];
    kith__core_log(s->op.core, KITH_LOG_INFO, "the file goes on over TCP, to %s", kith_addr_text(&to->remote, address));
    kith__channel_give_up(s->channel, KITH_ERR_STATE); /* begun anew */
    kith__session_unuse(&s->spare);
    drop_connection(s);
    connected(s, to);
}

/* There is a session over TCP beside the one that the file goes over: is the rest of it better off there? */
static bool is_better_off(const send_op *s, const session *twin)
{
    bool bulk = s->header.size > KITH_GROUP_SIZE, some_left = s->next_index < kith_file_groups(s->header.size);
    if (!s->accepted || s->over || s->want != DIAL_ANY || !some_left) return false;
    return kith__beside_is_better(twin, s->hold.session, bulk);
}

static void twin_came(void *user, session *twin)
{
    if (is_better_off(user, twin)) go_over(user, twin);
}

static void accepted(send_op *s)
{
    s->accepted = true;
    if (!s->started_ns) s->started_ns = kith__core_now(s->op.core); /* not while somebody there was asked */
    s->refused = (node_set){0};                                     /* what they do may change */
    watch(s);
    kith_event event = {
        .kind = KITH_EVENT_START, .op = s->op.id, .bytes_total = s->header.size, .bytes = kith_file_tx_resumed(s->tx)};
    s->next_index = event.bytes / KITH_GROUP_SIZE;
    if (event.bytes > s->reached) s->breaks = 0; /* it does get on */
    s->reached = event.bytes;
    kith__core_describe(&s->peer, &event.device);
    snprintf(event.name, sizeof event.name, "%s", s->header.name);
    kith__session_path(s->hold.session, event.path, event.scope, event.address);
    kith__core_emit(s->op.core, &event);
}

static void done(send_op *s)
{
    uint8_t root[KITH_BLAKE3_SIZE];
    kith_event event = {
        .kind = KITH_EVENT_SENT, .op = s->op.id, .bytes_total = s->header.size, .bytes = s->header.size};
    event.seconds = (double)(kith__core_now(s->op.core) - s->started_ns) / (double)SECOND_NS;
    if (kith_file_tx_root(s->tx, root)) kith_hex(root, sizeof root, event.hash);
    kith__core_describe(&s->peer, &event.device);
    snprintf(event.name, sizeof event.name, "%s", s->header.name);
    kith__session_path(s->hold.session, event.path, event.scope, event.address);
    kith__core_emit(s->op.core, &event);
    finish(s, KITH_OK, NULL);
}

/* What the tx has to say; false when the operation is over or waits for the device, and may be gone. */
static bool take_events(send_op *s)
{
    for (kith_file_event event; (event = kith_file_tx_event(s->tx)) != KITH_FILE_NOTHING;) {
        kith_err err = kith_file_tx_error(s->tx);
        if (event == KITH_FILE_ACCEPTED) accepted(s);
        if (event == KITH_FILE_DONE) done(s);
        if (event == KITH_FILE_FAILED && (err == KITH_ERR_CLOSED || err == KITH_ERR_CANCELLED))
            lost(s, err);
        else if (event == KITH_FILE_FAILED)
            fail(s, err);
        if (event != KITH_FILE_ACCEPTED) return false;
        session *twin = kith__session_twin(s->hold.session);
        if (!twin || !is_better_off(s, twin)) continue;
        go_over(s, twin);
        return false;
    }
    return true;
}

/* Everything that is due.  The operation may be gone on return. */
static void step(send_op *s)
{
    if (!s->tx || !s->channel || s->over || !take_events(s)) return;
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool fin = false;
    kith_err err = s->accepted ? lend_chunks(s) : KITH_OK;
    for (size_t size; !err && ((size = kith_file_tx_output(s->tx, out, sizeof out, &fin)) || fin); fin = false) {
        if (size) err = kith_stream_write(s->channel->stream, out, size);
        if (!err && fin) err = kith_stream_finish(s->channel->stream);
    }
    if (err == KITH_ERR_STATE) return; /* the stream is over: on_gone comes and says why */
    if (err) {
        fail(s, err);
        return;
    }
    if (s->accepted) read_ahead(s);
}

/* Chunks came back, of which all were lent, and the path takes more than these: as many again are used from now on.  On
 * a local network the receiver's window is the limit before that. */
static void grow(send_op *s, size_t came_back)
{
    if (kith_stream_room(s->channel->stream) <= came_back * KITH_GROUP_SIZE) return;
    s->slot_count += came_back;
    if (s->slot_count > SLOTS_MAX) s->slot_count = SLOTS_MAX;
}

static void on_returned(channel *c)
{
    send_op *s = c->owner;
    uint64_t returned = kith_stream_returned(c->stream);
    size_t lent = 0, back = 0;
    for (size_t i = 0; i < s->slot_count; i++) {
        slot *t = &s->slots[i];
        lent += t->state == SLOT_LENT;
        if (t->state != SLOT_LENT || t->lent_until > returned) continue;
        t->state = SLOT_FREE;
        back++;
    }
    if (back && lent == s->slot_count) grow(s, back);
    progress(s);
    step(s);
}

static void on_writable(channel *c) { step(c->owner); }

static void on_readable(channel *c)
{
    send_op *s = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (kith_stream_peek(c->stream, &data, &size, &fin)) {
        kith_file_tx_input(s->tx, data, size, false);
        kith_stream_consume(c->stream, size);
    }
    if (fin) kith_file_tx_input(s->tx, NULL, 0, true);
    step(s);
}

static void on_gone(channel *c, kith_err why) { lost(c->owner, why); }
static void on_lost(void *user, kith_err why) { lost(user, why); }
static void spare_lost(void *user, kith_err why) { (void)user, (void)why; }

/* ---- connecting ---- */

static void connected(void *user, session *with)
{
    static const channel_events events = {
        .readable = on_readable, .writable = on_writable, .returned = on_returned, .gone = on_gone};
    send_op *s = user;
    kith__dial_free(s->dial);
    s->dial = NULL;
    kith__session_use(with, &s->hold, on_lost, s);
    session *twin = kith__session_twin(with);
    if (twin && s->want == DIAL_ANY) kith__session_use(twin, &s->spare, spare_lost, s);
    if (s->want == DIAL_ANY) kith__session_want_beside(&s->hold, twin_came, s->header.size > KITH_GROUP_SIZE);
    kith_err err = kith__channel_open(with, STREAM_FILE, &events, s, &s->channel);
    if (!err) err = kith_file_tx_new(&s->header, &s->tx);
    if (err) {
        fail(s, err);
        return;
    }
    s->connected_before = true;
    kith_event event = {.kind = KITH_EVENT_CONNECTED, .op = s->op.id};
    kith__core_describe(&s->peer, &event.device);
    kith__session_path(with, event.path, event.scope, event.address);
    kith__core_emit(s->op.core, &event);
    step(s);
}

static void dial_failed(void *user, kith_err why)
{
    send_op *s = user;
    if (why != KITH_ERR_NOT_ALLOWED || !kith__nodes_ask_again(&s->refused)) {
        fail(s, why);
        return;
    }
    drop_connection(s);
    look_for_it(s);
}

static void look_for_it(send_op *s)
{
    static const dial_events events = {.connected = connected, .failed = dial_failed};
    dial_want want = s->want == DIAL_ANY && s->header.size > KITH_GROUP_SIZE ? DIAL_BULK : s->want;
    kith__session_unuse(&s->spare);
    kith_err err = kith__dial_device(s->op.core, &s->peer, want, &s->refused, s->patience_ns, &events, s, &s->dial);
    if (err) fail(s, err);
}

static void on_timer(void *user)
{
    send_op *s = user;
    kith_core *core = s->op.core;
    if (s->channel) kith__session_doubt_one(s->hold.session, SPARE_NS);
    if (s->channel && s->accepted)
        watch(s);
    else if (!s->over && !s->channel && !s->dial)
        look_for_it(s);
    kith__core_pump(core);
}

/* What to call it there: the name given, or the path's last part.  The wire wants UTF-8: bytes that are none are
 * escaped. */
static void choose_name(const send_op *s, char out[static KITH_FILE_NAME_MAX + 1])
{
    const char *slash = strrchr(s->path, '/'), *name = s->name ? s->name : slash ? slash + 1 : s->path;
    if (kith_utf8_valid(name, strlen(name)))
        snprintf(out, KITH_FILE_NAME_MAX + 1, "%s", name);
    else
        kith_printable(name, strlen(name), out, KITH_FILE_NAME_MAX + 1);
}

/* Where it is cheap the offer has the hash, so that a receiver who has the file need not be sent it.  What goes wrong
 * here is seen again when it is sent. */
static void hash_first(send_op *s)
{
    kith_tree tree;
    uint8_t cv[KITH_BLAKE3_SIZE];
    kith_err err = KITH_OK;
    uint8_t *data = s->header.size <= HASH_FIRST_MAX ? kith_malloc(KITH_GROUP_SIZE) : NULL;
    if (!data) return;
    uint64_t groups = kith_file_groups(s->header.size);
    kith_tree_init(&tree);
    for (uint64_t i = 0; !err && i < groups; i++) {
        size_t size = kith_file_group_size(s->header.size, i);
        err = kith_outgoing_read(s->file, kith_file_group_offset(i), data, size);
        if (!err) kith_group_cv(data, size, i, groups == 1, cv);
        if (!err) kith_tree_add(&tree, cv);
    }
    kith_free(data);
    s->header.has_hash = !err;
    if (!err) kith_tree_root(&tree, s->header.hash);
}

static void open_run(kith_job *job)
{
    send_op *s = KITH_OF(job, send_op, open_job);
    kith_outgoing_facts facts;
    s->open_err = kith_outgoing_open(s->op.core->env, s->path, true, &facts, &s->file);
    if (s->open_err) return;
    s->header.size = facts.size;
    s->header.modified_ms = facts.modified_ms;
    s->header.executable = facts.executable;
    memcpy(s->header.tag, facts.tag, sizeof s->header.tag);
    choose_name(s, s->header.name);
    hash_first(s);
}

static void open_done(kith_job *job)
{
    send_op *s = KITH_OF(job, send_op, open_job);
    kith_core *core = s->op.core;
    s->jobs--;
    if (s->over) {
        try_end(s);
    } else if (s->open_err) {
        char message[640], shown[512];
        snprintf(message, sizeof message, "%s: %s", kith_printable(s->path, strlen(s->path), shown, sizeof shown),
                 kith_err_text(s->open_err));
        finish(s, s->open_err, message);
    } else {
        look_for_it(s);
    }
    kith__core_job_done(core);
    kith__core_pump(core);
}

void kith_core_send_file(kith_core *core, kith_op id, const char *device_id, const char *path,
                         const kith_send_options *options)
{
    kith_peer peer;
    kith_err err = KITH_OK;
    if (!kith__core_find_peer_id(core, device_id, &peer, &err)) {
        kith__core_refuse_device(core, id, err, device_id);
        return;
    }
    send_op *s = kith_calloc(1, sizeof *s);
    if (s) {
        s->op.core = core;
        s->path = kith_strdup(path);
        s->name = options->name ? kith_strdup(options->name) : NULL;
        s->timer = core->env->timers->open(core->env, on_timer, s);
    }
    if (!s || !s->path || !s->timer || (options->name && !s->name)) {
        if (s) send_free(&s->op);
        kith__core_refuse(core, id, KITH_ERR_NOMEM, NULL);
        return;
    }
    s->peer = peer;
    s->slot_count = SLOTS;
    static const dial_want wants[] = {
        [KITH_PATH_UDP] = DIAL_DATAGRAM, [KITH_PATH_TCP] = DIAL_STREAM, [KITH_PATH_RELAY] = DIAL_RELAY};
    if (options->path <= KITH_PATH_RELAY) s->want = wants[options->path];
    s->patience_ns = (options->patience_s ? options->patience_s : PATIENCE_S) * SECOND_NS;
    if (!kith__core_begin(core, &s->op, id, &send_kind)) {
        send_free(&s->op);
        return;
    }
    s->open_job = (kith_job){.run = open_run, .done = open_done};
    s->jobs++;
    kith__core_submit(core, &s->open_job);
}
