/* One file on its way in: its chunks are checked and written by workers while more arrive, and what arrived outlives
 * the transfer. */
#include "base/mem.h"
#include "op/receive.h"
#include "service/wire_error.h"

#include <stdio.h>
#include <string.h>

#define OFFER_NS          (10 * SECOND_NS) /* from the stream's first byte to a whole offer */
#define TRUST_EVERY_NS    SECOND_NS        /* is the sender still in the book? */
#define PROGRESS_EVERY_NS (SECOND_NS / 10)
#define MOVED_NS          (10 * SECOND_NS) /* for the stream over which its sender goes on to come */

static const char *explain(kith_err err);
static void feed(transfer *t);
static void step(transfer *t);
static void linger(transfer *t);
static void start_waiting(receive_op *r);
static void feed_hungry(receive_op *r);

/* ---- ending ---- */

static void release_buffer(transfer_slot *b)
{
    kith__chunks_give(&b->transfer->op->chunks, b->data);
    b->data = NULL;
    b->busy = false;
}

void kith__transfer_free(transfer *t)
{
    receive_op *r = t->op;
    kith_incoming_close(t->incoming);
    kith__channel_free(t->channel);
    kith__session_unuse(&t->hold);
    kith_file_rx_free(t->rx);
    for (size_t i = 0; i < TRANSFER_SLOTS; i++)
        if (t->slots[i].data) release_buffer(&t->slots[i]);
    r->op.core->env->timers->close(t->timer);
    kith_list_remove(&t->link);
    if (--r->count == 0) kith__chunks_free(&r->chunks);
    kith_free(t->folder);
    kith_free(t->name);
    kith_free(t);
}

/* No other stream has come. */
static void left_behind(transfer *t)
{
    kith_event event = {.kind = KITH_EVENT_FAILED, .err = KITH_ERR_LOST};
    kith__transfer_describe(t, &event);
    snprintf(event.message, sizeof event.message, "%s", explain(event.err));
    kith__core_emit(t->op->op.core, &event);
    kith__transfer_free(t);
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

/* A receiver that ends with this transfer stays until the sender has heard why it failed. */
static bool must_linger(const transfer *t)
{
    return t->op->once && !t->op->end_err && t->channel && !t->linger_until &&
           !kith_stream_all_acked(t->channel->stream);
}

static void close_done(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    receive_op *r = t->op;
    kith_core *core = r->op.core;
    if ((!t->moving || t->replaced) && must_linger(t)) {
        t->jobs = 0;
        linger(t);
    } else if (!t->moving || t->replaced) {
        kith__transfer_free(t);
    } else if (r->over) {
        left_behind(t);
    } else {
        t->stage = MOVED;
        core->env->timers->set(t->timer, kith__core_now(core) + MOVED_NS);
    }
    start_waiting(r);
    feed_hungry(r);
    kith__receive_try_end(r);
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

void kith__transfer_describe(const transfer *t, kith_event *event)
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
    case KITH_ERR_NO_FILE: return "the folder it should go into is not there";
    case KITH_ERR_DECLINED: return "declined";
    case KITH_ERR_NOT_ALLOWED: return "refused: its name could be an attack";
    case KITH_ERR_UNTRUSTED: return "the sender was forgotten here";
    case KITH_ERR_REVOKED: return "the sender is revoked"; /* who is it ourselves is told so once, by REVOKED */
    case KITH_ERR_CHANGED: return "the file changed at the sender while it was sent: it has to be sent anew";
    default: return kith_err_text(err);
    }
}

/* Tell the peer what the rx has to say, and the application; `message` NULL: the error's sentence. */
static void fail(transfer *t, kith_err err, const char *message)
{
    kith_event event = {.kind = KITH_EVENT_FAILED, .err = err};
    bool known = t->stage != OFFERING, by_sender = !message && err == KITH_ERR_CANCELLED;
    if (t->stage == ENDING) return;
    if (by_sender) event.err = KITH_ERR_CLOSED; /* cancelled there: here nobody did */
    /* CORRUPT: with what we have of it the sender gets another hash than it knew. */
    t->useless = err == KITH_ERR_CHANGED || (err == KITH_ERR_CORRUPT && kith_file_rx_by_peer(t->rx));
    kith__transfer_describe(t, &event);
    snprintf(event.message, sizeof event.message, "%s", message ? message : explain(err));
    event.bytes = t->stage >= RECEIVING ? kith_file_rx_progress(t->rx) : 0;
    atomic_store(&t->cancel, true);
    flush(t);
    /* The ABORT may be overtaken by the end of the other direction: that says why, too. */
    if (t->channel) kith_stream_stop(t->channel->stream, kith_wire_error_of(kith_file_rx_error(t->rx)));
    wind_up(t);
    if (!known || t->replaced || t->moving) return;
    kith__core_emit(t->op->op.core, &event);
    if (err != KITH_ERR_STATE) kith__receive_ended(t->op); /* else the file is still coming */
}

static void failed(transfer *t, kith_err err) { fail(t, err, NULL); }

bool kith__transfer_can_continue(const transfer *t)
{
    return !t->replaced && (t->moving || (t->stage >= WAITING && t->stage <= RECEIVING));
}

/* By its sender's end. */
static void ended_there(transfer *t, kith_err why)
{
    t->moving = why == KITH_ERR_STATE && kith__transfer_can_continue(t);
    failed(t, why);
}

/* ---- beginning ---- */

void kith__transfer_refuse(transfer *t, kith_err said, kith_err why, const char *message)
{
    kith_file_rx_refuse(t->rx, said);
    flush(t);
    fail(t, why, message);
}

static void refuse(transfer *t, kith_err err) { kith__transfer_refuse(t, err, err, NULL); }

/* With the hash in the offer, a file that is here already need not come.  Only for own devices: anybody else could ask
 * by offers what is in the folder. */
static void open_run(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    t->job_err = kith_incoming_open(&t->config, &t->resume.tree, &t->incoming);
    if (t->job_err == KITH_ERR_ARG) t->job_err = KITH_ERR_NO_FILE; /* too long a name: nothing can be there */
    const kith_file_header *header = kith_file_rx_header(t->rx);
    bool found = false;
    if (!t->job_err && header->has_hash && t->standing == KITH_STANDING_OWN)
        t->job_err = kith_incoming_find(t->incoming, &t->place, header->hash, &t->resume.tree, &found);
    if (!t->job_err && !found) t->job_err = kith_incoming_reserve(t->incoming);
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
        if (!t->started_ns) t->started_ns = kith__core_now(core);
        kith_event event = {.kind = t->continues ? KITH_EVENT_PROGRESS : KITH_EVENT_START};
        kith__transfer_describe(t, &event);
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

/* Another transfer of the same file from the same device into the same folder.  The newer one wins. */
static bool same_file(const transfer *a, const transfer *b)
{
    return memcmp(&a->config.id, &b->config.id, sizeof a->config.id) == 0 &&
           strcmp(a->config.folder, b->config.folder) == 0;
}

void kith__transfer_begin(transfer *t)
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

/* One is over whose connection we may still take for alive: the sender has gone over to another, or started anew. */
void kith__transfer_continue(transfer *t, transfer *before)
{
    if (before->folder) {
        t->folder = kith_strdup(before->folder);
        t->name = kith_strdup(before->name);
        if (!t->folder || !t->name) {
            refuse(t, KITH_ERR_NOMEM);
            return;
        }
        t->config.folder = *t->folder ? t->folder : ".";
        t->place.name = t->name;
    }
    t->place.conflict = before->place.conflict;
    t->id = before->id;
    t->continues = before->started_ns != 0; /* its START was said */
    t->started_ns = before->started_ns;
    before->id = 0;
    before->replaced = true;
    if (before->stage == MOVED) kith__transfer_free(before);
    kith__transfer_begin(t);
}

void kith__transfer_begin_at(transfer *t, const char *path, kith_incoming_conflict conflict)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char clean[KITH_FILE_NAME_SIZE];
    if (kith_file_name_clean(name, strlen(name), clean) || strcmp(clean, name) != 0) {
        kith__transfer_refuse(t, KITH_ERR_DECLINED, KITH_ERR_NOT_ALLOWED,
                              "no file can have the name chosen for it here");
        return;
    }
    t->folder = kith_strdup(path);
    t->name = kith_strdup(name);
    if (!t->folder || !t->name) {
        refuse(t, KITH_ERR_NOMEM);
        return;
    }
    t->folder[name - path] = '\0';
    t->config.folder = *t->folder ? t->folder : ".";
    t->place.name = t->name;
    t->place.conflict = conflict;
    kith__transfer_begin(t);
}

static void start_waiting(receive_op *r)
{
    KITH_EACH (at, &r->transfers) {
        transfer *t = KITH_OF(at, transfer, link);
        if (t->stage == WAITING) kith__transfer_begin(t);
    }
}

static void offered(transfer *t)
{
    const kith_file_header *header = kith_file_rx_header(t->rx);
    char clean[KITH_FILE_NAME_SIZE];
    memcpy(t->config.id.tag, header->tag, sizeof t->config.id.tag);
    t->config.id.size = header->size;
    t->place = (kith_incoming_place){.name = header->name,
                                     .conflict = t->op->conflict,
                                     .modified_ms = header->modified_ms,
                                     .executable = header->executable};
    if (t->hold.session) kith__session_want_beside(&t->hold, NULL, header->size > KITH_GROUP_SIZE);
    t->stage = ASKING; /* from here on it is known to the application */
    t->op->op.core->env->timers->set(t->timer, NEVER);
    kith_err refused = kith_file_name_clean(header->name, strlen(header->name), clean);
    if (refused)
        refuse(t, refused);
    else
        kith__receive_offered(t);
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
    kith__transfer_describe(t, &event);
    event.bytes = kith_file_rx_progress(t->rx);
    kith__core_emit(core, &event);
}

static void keep_run(kith_job *job)
{
    transfer_slot *b = KITH_OF(job, transfer_slot, job);
    const kith_file_chunk *c = &b->chunk;
    b->err = kith_incoming_keep(b->transfer->incoming, c->index, c->data, c->size, c->cv);
}

static void keep_done(kith_job *job)
{
    transfer_slot *b = KITH_OF(job, transfer_slot, job);
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
    for (size_t i = 0; i < TRANSFER_SLOTS; i++) {
        transfer_slot *b = &t->slots[i];
        if (b->data != chunk.data) continue;
        b->chunk = chunk;
        b->job = (kith_job){.run = keep_run, .done = keep_done};
        t->jobs++;
        kith__core_submit(t->op->op.core, &b->job);
        return;
    }
}

/* True when a chunk that begins got a buffer.  Else it gets one when one is given back: this transfer's own, or
 * anybody's. */
static bool give_buffer(transfer *t)
{
    transfer_slot *b = NULL;
    if (!kith_file_rx_wants_buffer(t->rx)) return false;
    for (size_t i = 0; i < TRANSFER_SLOTS && !b; i++)
        if (!t->slots[i].busy) b = &t->slots[i];
    if (!b) return false;
    b->transfer = t;
    b->data = kith__chunks_take(&t->op->chunks, BUFFERS_MAX, kith_file_rx_header(t->rx)->size);
    b->busy = b->data != NULL;
    t->hungry = !b->busy;
    if (b->busy) {
        kith_file_rx_give_buffer(t->rx, b->data);
    } else if (t->op->chunks.used == 0) { /* there are none to wait for */
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
        if (r->chunks.used == BUFFERS_MAX) return;
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

static void say_where(const transfer *t, kith_event *event)
{
    const char *folder = t->folder ? t->folder : t->op->folder, *between = t->folder ? "" : "/";
    int n = snprintf(event->path_name, sizeof event->path_name, "%s%s%s", folder, between, t->result.name);
    if (n < 0 || (size_t)n >= sizeof event->path_name) *event->path_name = '\0'; /* too long to be said */
}

static void place_done(kith_job *job)
{
    transfer *t = KITH_OF(job, transfer, job);
    kith_core *core = t->op->op.core;
    uint8_t root[KITH_BLAKE3_SIZE];
    t->jobs--;
    bool changed = t->job_err == KITH_ERR_CHANGED; /* what was found here: the sender, told so, offers it again */
    kith_file_rx_finish(t->rx, changed ? KITH_ERR_CLOSED : t->job_err);
    if (changed) {
        fail(t, KITH_ERR_STATE, "the same file was here, and has changed meanwhile: it comes as another transfer");
    } else if (t->job_err) {
        failed(t, t->job_err);
    } else {
        kith_event event = {.kind = KITH_EVENT_FILE, .already = t->result.already};
        kith__transfer_describe(t, &event);
        kith_file_rx_root(t->rx, root);
        kith_hex(root, sizeof root, event.hash);
        event.bytes = event.bytes_total;
        event.seconds = (double)(kith__core_now(core) - t->started_ns) / (double)SECOND_NS;
        snprintf(event.name, sizeof event.name, "%s", t->result.name);
        say_where(t, &event);
        kith__core_emit(core, &event);
        flush(t);
        linger(t);
        kith__receive_ended(t->op);
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
        case KITH_FILE_FAILED: ended_there(t, kith_file_rx_error(t->rx)); return;
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

/* The peer may send what there are buffers for, and no more: that would be copied twice. */
static void hold(transfer *t)
{
    if (t->channel) kith_stream_hold(t->channel->stream, kith_file_rx_held(t->rx), TRANSFER_SLOTS * KITH_GROUP_SIZE);
}

/* Take what the stream has, as far as there are buffers for it. */
static void feed(transfer *t)
{
    const uint8_t *data;
    size_t size, taken;
    bool fin = false;
    if (t->channel) kith_file_rx_filled(t->rx, kith_stream_into_end(t->channel->stream));
    hold(t);
    step(t);
    while (t->channel && t->stage != ENDING && kith_stream_peek(t->channel->stream, &data, &size, &fin)) {
        taken = kith_file_rx_input(t->rx, data, size, false);
        hold(t);
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
    why = kith__session_why_over(c->session, why);
    kith__channel_free(t->channel);
    t->channel = NULL;
    if (t->stage >= PLACING) return;
    kith_file_rx_abort(t->rx, why);
    ended_there(t, why);
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
    } else if (t->stage == MOVED) {
        receive_op *r = t->op;
        left_behind(t);
        kith__receive_ended(r);
        kith__receive_try_end(r);
    }
    kith__core_pump(core);
}

kith_err kith__transfer_new(receive_op *r, kith_op id, channel *c)
{
    static const channel_events events = {.readable = on_readable, .gone = on_gone};
    session *s = c->session;
    kith_core *core = s->core;
    transfer *t = kith_calloc(1, sizeof *t);
    if (t) t->timer = core->env->timers->open(core->env, on_timer, t);
    if (!t || !t->timer || kith_file_rx_new(&t->rx)) {
        if (t) core->env->timers->close(t->timer);
        kith_free(t);
        return KITH_ERR_NOMEM;
    }
    t->op = r;
    t->id = id;
    t->channel = c;
    t->standing = s->standing;
    t->verdict = kith__session_verdict(s, KITH_SERVICE_FILE, &t->verdict_said);
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

static void stop(transfer *t, kith_err said)
{
    kith_file_rx_abort(t->rx, said);
    fail(t, KITH_ERR_CANCELLED, "stopped: what arrived is kept, and goes on when it is sent again");
}

void kith__transfer_stop(transfer *t, kith_err said)
{
    if (t->stage == MOVED)
        left_behind(t);
    else if (t->stage < PLACING) /* else it is about to be complete */
        stop(t, said);
}
