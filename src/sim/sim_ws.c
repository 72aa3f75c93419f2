/* WebSockets: records on a byte stream, a queue, and an end. */
#include "sim/sim_ws.h"

#include "base/mem.h"

#define WRITABLE_NS KITH_SIM_MS

typedef struct record {
    kith_link link;
    size_t size, counts; /* counts: bytes of a message */
    uint8_t bytes[];
} record;

static void on_timer(void *user);
static uint64_t now(const kith_ws *ws) { return ws->process->sim->now_ns; }
static kith_env *env_of(const kith_ws *ws) { return &ws->process->env; }

/* ---- its life ---- */

kith_ws *kith__sim_ws_new(sim_process *process)
{
    kith_ws *ws = kith_calloc(1, sizeof *ws);
    if (!ws) return NULL;
    ws->process = process;
    ws->name_ns = ws->open_by_ns = ws->close_by_ns = ws->writable_ns = ws->end_ns = UINT64_MAX;
    kith_list_init(&ws->out);
    ws->timer = process->env.timers->open(&process->env, on_timer, ws);
    if (!ws->timer) {
        kith_free(ws);
        return NULL;
    }
    kith_list_append(&process->websockets, &ws->link);
    return ws;
}

static void free_memory(kith_ws *ws)
{
    for (kith_link *link; (link = kith_list_take_first(&ws->out));) kith_free(KITH_OF(link, record, link));
    kith_free(ws->in);
    kith_list_remove(&ws->link);
    kith_free(ws);
}

/* Nothing comes any more. */
void kith__sim_ws_drop(kith_ws *ws)
{
    ws->state = SIM_WS_OVER;
    ws->closed = true;
    env_of(ws)->tcp->close(ws->tcp);
    env_of(ws)->timers->close(ws->timer);
    ws->tcp = NULL;
    ws->timer = NULL;
    if (!ws->depth) free_memory(ws);
}

static void enter(kith_ws *ws) { ws->depth++; }

/* False: it is gone. */
static bool leave(kith_ws *ws)
{
    if (--ws->depth || ws->timer) return true;
    free_memory(ws);
    return false;
}

void kith__sim_ws_settle(kith_ws *ws)
{
    const uint64_t all[] = {ws->name_ns, ws->open_by_ns, ws->close_by_ns, ws->writable_ns, ws->end_ns};
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < at) at = all[i];
    if (ws->timer) env_of(ws)->timers->set(ws->timer, at);
}

void kith__sim_ws_end(kith_ws *ws, kith_err why, unsigned status)
{
    if (ws->state == SIM_WS_OVER) return;
    if (ws->closed || ws->server) { /* nobody is there to hear it */
        kith__sim_ws_drop(ws);
        return;
    }
    ws->state = SIM_WS_OVER;
    ws->why = why;
    ws->status = status;
    ws->name_ns = ws->open_by_ns = ws->writable_ns = UINT64_MAX;
    ws->end_ns = now(ws);
    env_of(ws)->tcp->close(ws->tcp);
    ws->tcp = NULL;
    kith__sim_ws_settle(ws);
}

static void tell_end(kith_ws *ws)
{
    ws->end_ns = UINT64_MAX;
    kith__sim_note(ws->process->sim, "ws end", ws->process->host, (uint64_t)-ws->why, NULL, 0);
    ws->events.ended(ws->user, ws->why, ws->status);
}

static void on_timer(void *user)
{
    kith_ws *ws = user;
    uint64_t at = now(ws);
    enter(ws);
    if (ws->close_by_ns <= at) {
        kith__sim_ws_drop(ws);
    } else if (ws->end_ns <= at && ws->attached) {
        tell_end(ws);
    } else if (ws->open_by_ns <= at) {
        kith__sim_ws_end(ws, KITH_ERR_TIMEOUT, 0);
    } else if (ws->name_ns <= at) {
        ws->name_ns = UINT64_MAX;
        kith__sim_ws_find(ws);
    } else if (ws->writable_ns <= at) {
        ws->writable_ns = UINT64_MAX;
        ws->owed = false;
        ws->events.writable(ws->user);
    }
    if (leave(ws)) kith__sim_ws_settle(ws);
}

/* ---- sending ---- */

bool kith__sim_ws_put(kith_ws *ws, sim_ws_kind kind, const void *data, size_t size)
{
    record *r = kith_malloc(sizeof *r + SIM_WS_HEAD + size);
    if (!r) return false;
    *r = (record){.size = SIM_WS_HEAD + size, .counts = kind == SIM_WS_MESSAGE ? size : 0};
    r->bytes[0] = (uint8_t)kind;
    for (unsigned i = 0; i < 4; i++) r->bytes[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    if (size) memcpy(r->bytes + SIM_WS_HEAD, data, size);
    kith_list_append(&ws->out, &r->link);
    ws->out_size += r->counts;
    return true;
}

void kith__sim_ws_pump(kith_ws *ws)
{
    while (ws->tcp && !kith_list_empty(&ws->out)) {
        record *r = KITH_OF(kith_list_first(&ws->out), record, link);
        struct iovec piece = {r->bytes + ws->out_sent, r->size - ws->out_sent};
        size_t sent = 0;
        if (env_of(ws)->tcp->send(ws->tcp, &piece, 1, &sent)) return; /* its end will be told */
        ws->out_sent += sent;
        if (ws->out_sent < r->size) return;
        ws->out_sent = 0;
        ws->out_size -= r->counts;
        kith_list_remove(&r->link);
        kith_free(r);
    }
    if (ws->closed && kith_list_empty(&ws->out)) kith__sim_ws_drop(ws);
}

static void maybe_writable(kith_ws *ws)
{
    if (!ws->owed || ws->closed || ws->out_size > KITH_WS_QUEUE_MAX / 2 || ws->writable_ns != UINT64_MAX) return;
    ws->writable_ns = now(ws) + kith__sim_rng_below(&ws->process->sim->rng, WRITABLE_NS);
    kith__sim_ws_settle(ws);
}

static void on_writable(void *user)
{
    kith_ws *ws = user;
    enter(ws);
    kith__sim_ws_pump(ws);
    maybe_writable(ws);
    (void)leave(ws);
}

/* ---- receiving ---- */

static void on_connected(void *user) { kith__sim_ws_begin(user); }

static uint8_t *on_room(void *user, size_t *size)
{
    kith_ws *ws = user;
    if (ws->paused || (ws->state == SIM_WS_OPEN && !ws->attached && !ws->closed)) return NULL;
    if (ws->head_size < SIM_WS_HEAD) {
        *size = SIM_WS_HEAD - ws->head_size;
        return ws->head + ws->head_size;
    }
    *size = ws->in_length - ws->in_size;
    return ws->in + ws->in_size;
}

/* A whole record. */
static void dispatch(kith_ws *ws, uint8_t *data, size_t size)
{
    sim_ws_kind kind = (sim_ws_kind)ws->head[0];
    if (ws->state == SIM_WS_OPENING) {
        kith__sim_ws_opening(ws, kind, data, size);
    } else if (ws->closed || ws->state == SIM_WS_OVER) {
        return;
    } else if (kind == SIM_WS_MESSAGE && size <= KITH_WS_MESSAGE_MAX) {
        kith__sim_note(ws->process->sim, "message", ws->process->host, size, data, size);
        ws->events.message(ws->user, data, size);
    } else if (kind == SIM_WS_CLOSE && size == 2) {
        kith__sim_ws_end(ws, KITH_ERR_CLOSED, (unsigned)data[0] << 8 | data[1]);
    } else {
        kith__sim_ws_end(ws, KITH_ERR_PROTOCOL, 0);
    }
}

/* The head of a record is there. */
static void begin_record(kith_ws *ws)
{
    ws->in_length = 0;
    for (unsigned i = 0; i < 4; i++) ws->in_length = ws->in_length << 8 | ws->head[1 + i];
    ws->in_size = 0;
    if (ws->in_length > KITH_WS_MESSAGE_MAX) {
        kith__sim_ws_end(ws, KITH_ERR_PROTOCOL, 0);
        return;
    }
    ws->in = kith_malloc(ws->in_length);
    if (!ws->in) kith__sim_ws_end(ws, KITH_ERR_NOMEM, 0);
}

static void on_received(void *user, size_t size)
{
    kith_ws *ws = user;
    enter(ws);
    if (ws->head_size < SIM_WS_HEAD) {
        ws->head_size += size;
        if (ws->head_size == SIM_WS_HEAD) begin_record(ws);
    } else {
        ws->in_size += size;
    }
    if (ws->in && ws->in_size == ws->in_length) {
        uint8_t *data = ws->in;
        ws->in = NULL;
        ws->head_size = 0;
        dispatch(ws, data, ws->in_length);
        kith_free(data);
    }
    (void)leave(ws);
}

static void on_ended(void *user, kith_err why)
{
    kith_ws *ws = user;
    enter(ws);
    bool opening = ws->state == SIM_WS_OPENING && why == KITH_ERR_CLOSED;
    kith__sim_ws_end(ws, opening ? KITH_ERR_DECLINED : why == KITH_ERR_UNREACHABLE ? why : KITH_ERR_LOST, 0);
    (void)leave(ws);
}

const kith_tcp_events kith__sim_ws_tcp_events = {on_connected, on_room, on_received, on_writable, on_ended};

/* ---- what the user does ---- */

static kith_err ws_connect(kith_env *env, const kith_ws_options *options, const kith_ws_events *events, void *user,
                           kith_ws **out)
{
    sim_process *process = sim_process_of(env);
    kith_url url;
    kith_err err = kith_url_parse(options->url, &url);
    if (err) return err;
    if (process->dead) return KITH_ERR_UNREACHABLE;
    kith_ws *ws = kith__sim_ws_new(process);
    if (!ws) return KITH_ERR_NOMEM;
    ws->url = url;
    ws->events = *events;
    ws->user = user;
    ws->attached = true;
    snprintf(ws->subprotocol, sizeof ws->subprotocol, "%s", options->subprotocol ? options->subprotocol : "");
    uint64_t timeout_ms = options->timeout_ms ? options->timeout_ms : KITH_WS_CONNECT_MS;
    ws->open_by_ns = now(ws) + timeout_ms * KITH_SIM_MS;
    ws->name_ns = now(ws) + kith__sim_rng_below(&process->sim->rng, KITH_SIM_NAME_NS);
    kith__sim_ws_settle(ws);
    *out = ws;
    return KITH_OK;
}

static kith_err ws_send(kith_ws *ws, const void *data, size_t size)
{
    kith_sim *sim = ws->process->sim;
    if (size > KITH_WS_MESSAGE_MAX) return KITH_ERR_LIMIT;
    if (ws->process->dead || ws->state == SIM_WS_OVER) return KITH_ERR_CLOSED;
    if (ws->state != SIM_WS_OPEN) return KITH_ERR_STATE;
    bool full = ws->out_size && ws->out_size + size > KITH_WS_QUEUE_MAX;
    if (full || ws->owed || kith__sim_rng_chance(&sim->rng, ws->process->host->send_again)) {
        ws->owed = true;
        maybe_writable(ws);
        return KITH_ERR_AGAIN;
    }
    if (!kith__sim_ws_put(ws, SIM_WS_MESSAGE, data, size)) return KITH_ERR_NOMEM;
    kith__sim_ws_pump(ws);
    return KITH_OK;
}

static size_t ws_queued(const kith_ws *ws) { return ws->out_size; }
static void ws_pause(kith_ws *ws) { ws->paused = true; }

static void ws_resume(kith_ws *ws)
{
    ws->paused = false;
    if (ws->tcp) env_of(ws)->tcp->resume(ws->tcp);
}

static kith_addr ws_remote(const kith_ws *ws)
{
    return ws->tcp && ws->state == SIM_WS_OPEN ? env_of(ws)->tcp->remote(ws->tcp) : (kith_addr){0};
}

void kith_sim_ws_close_with(kith_ws *ws, unsigned code)
{
    if (!ws) return;
    uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    bool polite = ws->state == SIM_WS_OPEN && !ws->process->dead;
    ws->closed = true;
    if (!polite || !kith__sim_ws_put(ws, SIM_WS_CLOSE, bytes, sizeof bytes)) {
        kith__sim_ws_drop(ws);
        return;
    }
    ws->paused = false;
    ws->writable_ns = UINT64_MAX;
    ws->close_by_ns = now(ws) + KITH_WS_CLOSE_NS;
    kith__sim_ws_settle(ws);
    enter(ws);
    kith__sim_ws_pump(ws);
    if (ws->tcp) env_of(ws)->tcp->resume(ws->tcp);
    (void)leave(ws);
}

static void ws_close(kith_ws *ws) { kith_sim_ws_close_with(ws, 1000); }

void kith_sim_ws_attach(kith_ws *ws, const kith_ws_events *events, void *user)
{
    ws->events = *events;
    ws->user = user;
    ws->attached = true;
    if (ws->tcp) env_of(ws)->tcp->resume(ws->tcp);
    kith__sim_ws_settle(ws);
}

const char *kith_sim_ws_host(const kith_ws *ws) { return ws->host; }

const kith_env_ws kith__sim_ws = {.connect = ws_connect,
                                  .send = ws_send,
                                  .queued = ws_queued,
                                  .pause = ws_pause,
                                  .resume = ws_resume,
                                  .remote = ws_remote,
                                  .close = ws_close};

/* Its TCP and its timer are the process's, too, and end with that. */
void kith__sim_ws_free(sim_process *process)
{
    KITH_EACH (link, &process->websockets) free_memory(KITH_OF(link, kith_ws, link));
    KITH_EACH (link, &process->ws_servers) {
        kith_list_remove(link);
        kith__sim_ws_server_free(link);
    }
}
