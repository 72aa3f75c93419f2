/* Receiving: while this operation runs, trusted devices' file streams are served.  Each becomes a transfer: its chunks
 * are checked and written by workers while more arrive, and what arrived outlives the transfer. */
#include "base/mem.h"
#include "node/lan.h"
#include "node/session.h"
#include "service/file.h"
#include "service/wire_error.h"
#include "store/incoming.h"

#include <stdio.h>
#include <string.h>

#define SLOTS                3  /* of a transfer: a chunk arriving, others being checked and written */
#define BUFFERS_MAX          12 /* chunks in memory (1 MiB each), of all transfers */
#define TRANSFERS_MAX        64
#define TRANSFERS_DEVICE_MAX 8                /* from one device: fewer than BUFFERS_MAX, so none can take them all */
#define OFFER_NS             (10 * SECOND_NS) /* from the stream's first byte to a whole offer */
#define TRUST_EVERY_NS       SECOND_NS        /* is the sender still in the book? */
#define PROGRESS_EVERY_NS    (SECOND_NS / 10)
#define TRANSFER_ID_BASE     (UINT64_C(1) << 32) /* apart from the operations' own numbers */

typedef struct receive_op receive_op;
typedef struct transfer transfer;

typedef struct slot {
    kith_job job;
    transfer *transfer;
    bool busy;
    uint8_t *data; /* KITH_GROUP_SIZE; while busy */
    kith_file_chunk chunk;
    kith_err err;
} slot;

typedef enum stage {
    OFFERING, /* the offer is still arriving */
    ASKING,   /* a person is asked */
    WAITING,  /* for an older transfer of the same file to let go */
    OPENING,
    RECEIVING,
    PLACING,   /* whole: being given its name */
    LINGERING, /* our last message is not acknowledged yet */
    ENDING,    /* waits for its jobs, then closes */
} stage;

struct transfer {
    kith_link link;
    receive_op *op;
    kith_op id;
    stage stage;
    channel *channel;
    session_hold hold;
    kith_device_info device;
    kith_standing standing;
    kith_file_rx *rx;
    kith_incoming_config config;
    kith_incoming_place place;
    kith_incoming_result result;
    kith_incoming *incoming;
    kith_file_resume resume;
    kith_job job; /* open, place, close: one at a time */
    kith_err job_err;
    slot slots[SLOTS];
    size_t jobs;
    bool hungry;  /* a chunk waits for a buffer */
    bool useless; /* what arrived is of a content that is no more */
    atomic_bool cancel;
    kith_timer *timer;
    uint64_t started_ns, last_progress_ns, last_trust_ns, linger_until;
    char path[8], scope[16], address[KITH_ADDR_TEXT_SIZE];
};

struct receive_op {
    op op;
    char *folder;
    uint8_t from[KITH_UUID_SIZE];
    bool has_from, yes, once, over;
    kith_incoming_conflict conflict;
    kith_list transfers;
    size_t count;
    uint8_t *spare[BUFFERS_MAX];
    size_t spares, buffers; /* not in use; all there are */
    uint64_t last_id;
    kith_err end_err;
};

static void feed(transfer *t);
static void step(transfer *t);

/* ---- ending ---- */

static void transfer_free(transfer *t);

static void receive_free(op *o)
{
    receive_op *r = (receive_op *)o;
    KITH_EACH (at, &r->transfers) {
        transfer *t = KITH_OF(at, transfer, link);
        kith_incoming_close(t->incoming);
        transfer_free(t);
    }
    while (r->spares) kith_free(r->spare[--r->spares]);
    kith_free(r->folder);
    kith_free(r);
}

static void try_end(receive_op *r)
{
    kith_core *core = r->op.core;
    if (!r->over || r->count) return;
    if (core->receiver == r) core->receiver = NULL;
    kith__lan_announce(core);
    kith__op_end(&r->op, r->end_err,
                 r->end_err == KITH_ERR_CANCELLED ? "stopped: what arrived is kept, and goes on when it is sent again"
                                                  : NULL);
    receive_free(&r->op);
}

static void start_waiting(receive_op *r);
static void feed_hungry(receive_op *r);
static void stop(transfer *t, kith_err said);

static void release_buffer(slot *b)
{
    receive_op *r = b->transfer->op;
    r->spare[r->spares++] = b->data;
    b->data = NULL;
    b->busy = false;
}

/* No job of it may be out. */
static void transfer_free(transfer *t)
{
    receive_op *r = t->op;
    kith__channel_free(t->channel);
    kith__session_unuse(&t->hold);
    kith_file_rx_free(t->rx);
    for (size_t i = 0; i < SLOTS; i++)
        if (t->slots[i].data) release_buffer(&t->slots[i]);
    r->op.core->env->timers->close(t->timer);
    kith_list_remove(&t->link);
    r->count--;
    kith_free(t);
}

static void close_run(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    if (t->useless)
        kith_incoming_discard(t->incoming);
    else
        kith_incoming_close(t->incoming);
    t->incoming = NULL;
}

static void close_done(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    receive_op *r = t->op;
    kith_core *core = r->op.core;
    transfer_free(t);
    start_waiting(r);
    feed_hungry(r);
    try_end(r);
    kith__core_job_done(core);
    kith__core_pump(core);
}

static void submit(transfer *t, void (*run)(kith_job *), void (*done)(kith_job *))
{
    t->job = (kith_job){.run = run, .done = done};
    kith__core_submit(t->op->op.core, &t->job);
}

/* Let go of everything, when nothing is at work on it any more. */
static void wind_up(transfer *t)
{
    t->stage = ENDING;
    if (t->jobs) return;
    t->jobs = 1; /* nothing but close_done comes after this */
    submit(t, close_run, close_done);
}

static void flush(transfer *t)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool fin = false;
    kith_err err = KITH_OK;
    for (size_t size; t->channel && !err && ((size = kith_file_rx_output(t->rx, out, sizeof out, &fin)) || fin);
         fin = false) {
        if (size) err = kith_stream_write(t->channel->stream, out, size);
        if (!err && fin) err = kith_stream_finish(t->channel->stream);
    }
}

static void describe_event(const transfer *t, kith_event *event)
{
    const kith_file_header *header = kith_file_rx_header(t->rx);
    event->op = t->op->op.id;
    event->transfer = t->id;
    event->device = t->device;
    event->bytes_total = header->size;
    snprintf(event->name, sizeof event->name, "%s", header->name);
    memcpy(event->path, t->path, sizeof event->path);
    memcpy(event->scope, t->scope, sizeof event->scope);
    memcpy(event->address, t->address, sizeof t->address);
}

static const char *explain(kith_err err)
{
    switch (err) {
    case KITH_ERR_LOST:
    case KITH_ERR_CLOSED: return "the sender went away: what arrived is kept, and goes on when it is sent again";
    case KITH_ERR_CANCELLED: return "the sender stopped: what arrived is kept, and goes on when it is sent again";
    case KITH_ERR_AGAIN: return "another `kith receive` is taking this file into this folder";
    case KITH_ERR_STATE: return "the sender began anew: it goes on as another transfer";
    case KITH_ERR_NOT_ALLOWED: return "refused: its name could be an attack";
    case KITH_ERR_UNTRUSTED: return "the sender was forgotten here";
    case KITH_ERR_CHANGED: return "the file changed at the sender while it was sent: it has to be sent anew";
    default: return kith_err_text(err);
    }
}

/* A transfer ended, well or not: with `once` that was it. */
static void ended(receive_op *r)
{
    if (!r->once || r->over) return;
    r->over = true;
    KITH_EACH (at, &r->transfers) stop(KITH_OF(at, transfer, link), KITH_ERR_CLOSED);
}

/* Tell the peer what the rx has to say, and the application; `message` NULL: the error's sentence. */
static void fail(transfer *t, kith_err err, const char *message)
{
    kith_event event = {.kind = KITH_EVENT_FAILED, .err = err};
    bool known = t->stage != OFFERING, by_sender = !message && err == KITH_ERR_CANCELLED;
    if (t->stage == ENDING) return;
    if (by_sender) event.err = KITH_ERR_CLOSED; /* cancelled there: here nobody did */
    t->useless = err == KITH_ERR_CHANGED;
    describe_event(t, &event);
    snprintf(event.message, sizeof event.message, "%s", message ? message : explain(err));
    event.bytes = t->stage >= RECEIVING ? kith_file_rx_progress(t->rx) : 0;
    atomic_store(&t->cancel, true);
    flush(t);
    /* The ABORT may be overtaken by the end of the other direction: that says why, too. */
    if (t->channel) kith_stream_stop(t->channel->stream, kith_wire_error_of(kith_file_rx_error(t->rx)));
    wind_up(t);
    if (!known) return;
    kith__core_emit(t->op->op.core, &event);
    if (err != KITH_ERR_STATE) ended(t->op); /* else the file is still coming */
}

static void failed(transfer *t, kith_err err) { fail(t, err, NULL); }

/* ---- beginning ---- */

static void refuse(transfer *t, kith_err err)
{
    kith_file_rx_refuse(t->rx, err);
    flush(t);
    failed(t, err);
}

static void open_run(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    t->job_err = kith_incoming_open(&t->config, &t->resume.tree, &t->incoming);
    if (!t->job_err) t->job_err = kith_incoming_reserve(t->incoming);
    t->resume.groups = t->resume.tree.groups;
}

static void open_done(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    kith_core *core = t->op->op.core;
    t->jobs--;
    if (t->stage == ENDING) {
        wind_up(t);
    } else if (t->job_err) {
        refuse(t, t->job_err);
    } else {
        kith_err err = kith_file_rx_accept(t->rx, &t->resume);
        t->stage = RECEIVING;
        t->started_ns = kith__core_now(core);
        kith_event event = {.kind = KITH_EVENT_START};
        describe_event(t, &event);
        event.bytes = kith_file_rx_progress(t->rx);
        kith__core_emit(core, &event);
        if (err) {
            kith_file_rx_abort(t->rx, KITH_ERR_INTERNAL);
            failed(t, err);
        } else {
            step(t);
        }
    }
    kith__core_job_done(core);
    kith__core_pump(core);
}

/* Another transfer of the same file from the same device: one whose connection we still take for alive, while the
 * sender has started anew.  The newer one wins. */
static bool same_file(const transfer *a, const transfer *b)
{
    return memcmp(&a->config.id, &b->config.id, sizeof a->config.id) == 0;
}

static void open_or_wait(transfer *t)
{
    bool wait = false;
    KITH_EACH (at, &t->op->transfers) {
        transfer *other = KITH_OF(at, transfer, link);
        if (other == t || other->stage < OPENING || !same_file(other, t)) continue;
        wait = true;
        if (other->stage == LINGERING) wind_up(other);
        if (other->stage >= PLACING) continue;
        kith_file_rx_abort(other->rx, KITH_ERR_STATE); /* superseded */
        failed(other, KITH_ERR_STATE);
    }
    t->stage = wait ? WAITING : OPENING;
    if (wait) return;
    t->jobs++;
    submit(t, open_run, open_done);
}

static void start_waiting(receive_op *r)
{
    KITH_EACH (at, &r->transfers) {
        transfer *t = KITH_OF(at, transfer, link);
        if (t->stage == WAITING) open_or_wait(t);
    }
}

static void offered(transfer *t)
{
    const kith_file_header *header = kith_file_rx_header(t->rx);
    receive_op *r = t->op;
    char clean[KITH_FILE_NAME_SIZE];
    memcpy(t->config.id.tag, header->tag, sizeof t->config.id.tag);
    t->config.id.size = header->size;
    t->place = (kith_incoming_place){.name = header->name,
                                     .conflict = r->conflict,
                                     .modified_ms = header->modified_ms,
                                     .executable = header->executable};
    t->stage = ASKING; /* from here on it is known to the application */
    r->op.core->env->timers->set(t->timer, NEVER);
    kith_err refused = kith_file_name_clean(header->name, strlen(header->name), clean);
    if (refused) {
        refuse(t, refused);
        return;
    }
    if (r->yes || kith_permit_of(KITH_SERVICE_FILE, t->standing) == KITH_ALLOW) {
        open_or_wait(t);
        return;
    }
    kith_event event = {.kind = KITH_EVENT_OFFER};
    describe_event(t, &event);
    kith__core_emit(r->op.core, &event);
}

/* ---- receiving ---- */

/* Somebody may have been forgotten since the offer; the session's end tells the transfer. */
static bool still_trusted(transfer *t) { return !t->hold.session || kith__session_check(t->hold.session) == KITH_OK; }

static void progress(transfer *t)
{
    kith_core *core = t->op->op.core;
    uint64_t now = kith__core_now(core);
    if (now - t->last_progress_ns < PROGRESS_EVERY_NS) return;
    t->last_progress_ns = now;
    if (now - t->last_trust_ns >= TRUST_EVERY_NS) {
        t->last_trust_ns = now;
        if (!still_trusted(t)) return;
    }
    kith_event event = {.kind = KITH_EVENT_PROGRESS};
    describe_event(t, &event);
    event.bytes = kith_file_rx_progress(t->rx);
    kith__core_emit(core, &event);
}

static void keep_run(kith_job *job)
{
    slot *b = KITH_OF(job, slot, job);
    const kith_file_chunk *c = &b->chunk;
    b->err = kith_incoming_keep(b->transfer->incoming, c->index, c->data, c->size, c->cv);
}

static void keep_done(kith_job *job)
{
    slot *b = KITH_OF(job, slot, job);
    transfer *t = b->transfer;
    receive_op *r = t->op;
    kith_core *core = r->op.core;
    t->jobs--;
    release_buffer(b);
    if (t->stage == ENDING) {
        wind_up(t);
    } else {
        kith_file_rx_kept(t->rx, &b->chunk, b->err);
        if (!b->err) progress(t);
        feed_hungry(r); /* others first: they have waited */
        feed(t);
    }
    kith__core_job_done(core);
    kith__core_pump(core);
}

static void keep_chunk(transfer *t)
{
    kith_file_chunk chunk;
    kith_file_rx_chunk(t->rx, &chunk);
    for (size_t i = 0; i < SLOTS; i++) {
        slot *b = &t->slots[i];
        if (b->data != chunk.data) continue;
        b->chunk = chunk;
        b->job = (kith_job){.run = keep_run, .done = keep_done};
        t->jobs++;
        kith__core_submit(t->op->op.core, &b->job);
        return;
    }
}

static uint8_t *take_buffer(receive_op *r)
{
    if (r->spares) return r->spare[--r->spares];
    uint8_t *data = r->buffers < BUFFERS_MAX ? kith_malloc_pages(KITH_GROUP_SIZE) : NULL;
    if (data) r->buffers++;
    return data;
}

/* True when a chunk that begins got a buffer.  Else it gets one when one is given back: this transfer's own, or
 * anybody's. */
static bool give_buffer(transfer *t)
{
    slot *b = NULL;
    if (!kith_file_rx_wants_buffer(t->rx)) return false;
    for (size_t i = 0; i < SLOTS && !b; i++)
        if (!t->slots[i].busy) b = &t->slots[i];
    if (!b) return false;
    b->transfer = t;
    b->data = take_buffer(t->op);
    b->busy = b->data != NULL;
    t->hungry = !b->busy;
    if (b->busy) {
        kith_file_rx_give_buffer(t->rx, b->data);
    } else if (t->op->buffers == 0) { /* there are none to wait for */
        kith_file_rx_abort(t->rx, KITH_ERR_NOMEM);
        failed(t, KITH_ERR_NOMEM);
    }
    return b->busy;
}

static void feed_hungry(receive_op *r)
{
    KITH_EACH (at, &r->transfers) {
        transfer *t = KITH_OF(at, transfer, link);
        if (!t->hungry) continue;
        if (r->spares == 0 && r->buffers == BUFFERS_MAX) return;
        t->hungry = false;
        feed(t);
    }
}

/* ---- whole ---- */

static void linger(transfer *t)
{
    kith_core *core = t->op->op.core;
    uint64_t now = kith__core_now(core);
    if (t->stage != LINGERING) {
        t->stage = LINGERING;
        t->linger_until = now + LINGER_NS;
    }
    if (t->channel && !kith_stream_all_acked(t->channel->stream) && now < t->linger_until)
        core->env->timers->set(t->timer, now + LINGER_STEP_NS);
    else
        wind_up(t);
}

static void place_run(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    t->job_err = kith_incoming_finish(t->incoming, &t->place, &t->result);
}

static void place_done(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    kith_core *core = t->op->op.core;
    uint8_t root[KITH_BLAKE3_SIZE];
    t->jobs--;
    kith_file_rx_finish(t->rx, t->job_err);
    if (t->job_err) {
        failed(t, t->job_err);
    } else {
        kith_event event = {.kind = KITH_EVENT_FILE, .already = t->result.already};
        describe_event(t, &event);
        kith_file_rx_root(t->rx, root);
        kith_hex(root, sizeof root, event.hash);
        event.bytes = event.bytes_total;
        event.seconds = (double)(kith__core_now(core) - t->started_ns) / (double)SECOND_NS;
        snprintf(event.name, sizeof event.name, "%s", t->result.name);
        int n = snprintf(event.path_name, sizeof event.path_name, "%s/%s", t->op->folder, t->result.name);
        if (n < 0 || (size_t)n >= sizeof event.path_name) *event.path_name = 0;
        kith__core_emit(core, &event);
        flush(t);
        linger(t);
        ended(t->op);
    }
    kith__core_job_done(core);
    kith__core_pump(core);
}

static void place(transfer *t)
{
    if (!still_trusted(t)) {
        kith_file_rx_abort(t->rx, KITH_ERR_UNTRUSTED);
        failed(t, KITH_ERR_UNTRUSTED);
        return;
    }
    t->stage = PLACING;
    t->jobs++;
    submit(t, place_run, place_done);
}

/* ---- the machine ---- */

/* Everything that is due.  The transfer may be gone on return. */
static void step(transfer *t)
{
    if (t->stage == ENDING) return;
    for (kith_file_event event; (event = kith_file_rx_event(t->rx)) != KITH_FILE_NOTHING;) {
        switch (event) {
        case KITH_FILE_OFFERED: offered(t); break;
        case KITH_FILE_CHUNK: keep_chunk(t); break;
        case KITH_FILE_WHOLE: place(t); break;
        case KITH_FILE_FAILED: failed(t, kith_file_rx_error(t->rx)); return;
        default: break;
        }
        if (t->stage == ENDING) return;
    }
    flush(t);
}

/* The rest of a chunk goes where it belongs as it arrives. */
static void let_land(transfer *t)
{
    size_t size;
    uint8_t *room = t->channel ? kith_file_rx_room(t->rx, &size) : NULL;
    if (room && kith_stream_into(t->channel->stream, room, size))
        kith__core_log(t->op->op.core, KITH_LOG_DEBUG, "a chunk is copied"); /* bytes are at hand: input takes them */
}

/* Take what the stream has, as far as there are buffers for it. */
static void feed(transfer *t)
{
    const uint8_t *data;
    size_t size, taken;
    bool fin = false;
    if (t->channel) kith_file_rx_filled(t->rx, kith_stream_into_end(t->channel->stream));
    step(t);
    while (t->channel && t->stage != ENDING && kith_stream_peek(t->channel->stream, &data, &size, &fin)) {
        taken = kith_file_rx_input(t->rx, data, size, false);
        kith_stream_consume(t->channel->stream, taken);
        step(t);
        if (t->stage == ENDING || (taken < size && !give_buffer(t))) return;
    }
    if (fin && t->stage != ENDING) {
        kith_file_rx_input(t->rx, NULL, 0, true);
        step(t);
    } else if (t->stage == RECEIVING) {
        let_land(t);
    }
}

static void on_readable(channel *c) { feed(c->owner); }

/* The stream is over.  Once whole nothing of it is missing. */
static void on_gone(channel *c, kith_err why)
{
    transfer *t = c->owner;
    kith__channel_free(t->channel);
    t->channel = NULL;
    if (t->stage == PLACING || t->stage == LINGERING || t->stage == ENDING) return;
    kith_file_rx_abort(t->rx, why);
    failed(t, why);
}

static void on_lost(void *user, kith_err why)
{
    (void)user;
    (void)why; /* the channel has heard it, or there was none */
}

static void on_timer(void *user)
{
    transfer *t = user;
    kith_core *core = t->op->op.core;
    if (t->stage == LINGERING) {
        linger(t);
    } else if (t->stage == OFFERING) {
        kith_file_rx_abort(t->rx, KITH_ERR_TIMEOUT);
        failed(t, KITH_ERR_TIMEOUT);
    }
    kith__core_pump(core);
}

static kith_err may_begin(const receive_op *r, const session *s)
{
    size_t same = 0;
    if (!r || r->over) return KITH_ERR_NOT_ALLOWED;
    if (r->has_from && memcmp(r->from, s->peer.uuid, sizeof r->from) != 0) return KITH_ERR_NOT_ALLOWED;
    for (const kith_link *at = r->transfers.head.next; at != &r->transfers.head; at = at->next) {
        const transfer *t = KITH_OF(at, const transfer, link);
        same += memcmp(t->config.id.sender, s->peer.fingerprint, sizeof t->config.id.sender) == 0;
    }
    return r->count < TRANSFERS_MAX && same < TRANSFERS_DEVICE_MAX ? KITH_OK : KITH_ERR_AGAIN;
}

kith_err kith__receive_serve(channel *c)
{
    static const channel_events events = {.readable = on_readable, .gone = on_gone};
    session *s = c->session;
    kith_core *core = s->core;
    receive_op *r = core->receiver;
    kith_err err = may_begin(r, s);
    if (err) return err;
    transfer *t = kith_calloc(1, sizeof *t);
    if (t) t->timer = core->env->timers->open(core->env, on_timer, t);
    if (!t || !t->timer || kith_file_rx_new(&t->rx)) {
        if (t) core->env->timers->close(t->timer);
        kith_free(t);
        return KITH_ERR_NOMEM;
    }
    t->op = r;
    t->id = TRANSFER_ID_BASE * r->op.id + ++r->last_id;
    t->channel = c;
    t->standing = s->standing;
    t->config = (kith_incoming_config){.env = core->env, .folder = r->folder, .cancel = &t->cancel};
    memcpy(t->config.id.sender, s->peer.fingerprint, sizeof t->config.id.sender);
    core->env->base->boot_id(core->env, t->config.boot_id);
    kith__core_describe(&s->known, &t->device);
    kith__session_path(s, t->path, t->scope, t->address);
    kith__session_use(s, &t->hold, on_lost, t);
    kith_list_append(&r->transfers, &t->link);
    r->count++;
    c->owner = t;
    c->events = &events;
    core->env->timers->set(t->timer, kith__core_now(core) + OFFER_NS);
    return KITH_OK;
}

/* ---- the operation ---- */

/* Not by the sender: it is told `said` (CLOSED: it may try again; DECLINED). */
static void stop(transfer *t, kith_err said)
{
    if (t->stage >= PLACING) return; /* it is about to be complete */
    kith_file_rx_abort(t->rx, said);
    fail(t, KITH_ERR_CANCELLED, "stopped: what arrived is kept, and goes on when it is sent again");
}

static void receive_cancel(op *o, kith_err why)
{
    receive_op *r = (receive_op *)o;
    r->over = true;
    r->end_err = why;
    KITH_EACH (at, &r->transfers) stop(KITH_OF(at, transfer, link), KITH_ERR_CLOSED);
    try_end(r);
}

static transfer *find_transfer(receive_op *r, kith_op id)
{
    KITH_EACH (at, &r->transfers) {
        transfer *t = KITH_OF(at, transfer, link);
        if (t->id == id) return t;
    }
    return NULL;
}

static bool receive_answer(op *o, kith_op question, bool yes)
{
    transfer *t = find_transfer((receive_op *)o, question);
    if (!t || t->stage != ASKING) return t != NULL;
    if (yes)
        open_or_wait(t);
    else
        refuse(t, KITH_ERR_DECLINED);
    return true;
}

static bool receive_cancel_part(op *o, kith_op part)
{
    transfer *t = find_transfer((receive_op *)o, part);
    if (t) stop(t, KITH_ERR_DECLINED);
    return t != NULL;
}

void kith_core_receive(kith_core *core, kith_op id, const kith_receive_options *options)
{
    static const op_kind kind = {.name = "receive",
                                 .needs_keys = true,
                                 .cancel = receive_cancel,
                                 .free = receive_free,
                                 .answer = receive_answer,
                                 .cancel_part = receive_cancel_part};
    if (core->receiver) {
        kith__core_refuse(core, id, KITH_ERR_STATE, "this node is receiving already");
        return;
    }
    receive_op *r = kith_calloc(1, sizeof *r);
    if (r) kith_list_init(&r->transfers);
    if (r && options->folder) r->folder = kith_strdup(options->folder);
    kith_err err = !options->folder ? KITH_ERR_ARG : r && r->folder ? KITH_OK : KITH_ERR_NOMEM;
    if (!err && options->from && kith_uuid_parse(options->from, r->from)) err = KITH_ERR_ARG;
    if (err) {
        kith__core_refuse(core, id, err, NULL);
        if (r) receive_free(&r->op);
        return;
    }
    r->has_from = options->from != NULL;
    r->yes = options->yes;
    r->once = options->once;
    r->conflict = options->conflict == KITH_CONFLICT_SKIP        ? KITH_INCOMING_SKIP
                  : options->conflict == KITH_CONFLICT_OVERWRITE ? KITH_INCOMING_OVERWRITE
                                                                 : KITH_INCOMING_KEEP;
    if (!kith__core_begin(core, &r->op, id, &kind)) {
        receive_free(&r->op);
        return;
    }
    core->receiver = r;
    kith__lan_announce(core);
    kith__core_pump(core);
}
