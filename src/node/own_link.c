/* The exchange of the trust graph over streams with own devices: heads are said, what the other lacks is sent, what
 * comes waits for the disk; and joining another network, whose records come in the same way. */
#include "base/buf.h"
#include "base/mem.h"
#include "node/own_internal.h"

#include <string.h>

/* ---- saying ---- */

static void send(own_link *l, const uint8_t *bytes, size_t size)
{
    if (size && kith_stream_write(l->channel->stream, bytes, size))
        kith__core_log(l->own->core, KITH_LOG_DEBUG, "trust: the stream takes nothing more");
}

#define HEADS_OUTPUT_MAX (64 + KITH_TRUST_HEADS_MAX * (KITH_GRAPH_ID_SIZE + 4))

/* What we have; of a network that is being joined: all of it is lacking. */
void kith__own_say_heads(own_link *l, const uint8_t *network, bool none)
{
    const kith_graph *graph = l->own->graph;
    size_t numbers[KITH_TRUST_HEADS_MAX], count = none ? 0 : kith_graph_heads(graph, numbers, KITH_TRUST_HEADS_MAX);
    uint8_t ids[KITH_TRUST_HEADS_MAX][KITH_GRAPH_ID_SIZE], out[HEADS_OUTPUT_MAX];
    l->asked = kith_graph_count(graph);
    if (count > KITH_TRUST_HEADS_MAX) count = KITH_TRUST_HEADS_MAX;
    for (size_t i = 0; i < count; i++) memcpy(ids[i], kith_graph_id(graph, numbers[i]), sizeof ids[i]);
    send(l, out, kith_trust_write_heads(network, (const uint8_t(*)[KITH_GRAPH_ID_SIZE])ids, count, out, sizeof out));
}

void kith__own_ask_again(own_link *l)
{
    const kith_graph *graph = l->own->graph;
    if (!l->wants || !graph || l->phase != OWN_LINK_MEMBER || l->channel->session->over ||
        kith_graph_count(graph) <= l->asked)
        return;
    l->wants = false;
    kith__own_say_heads(l, kith_graph_id(graph, 0), false);
}

void kith__own_link_has(own_link *l, const uint8_t *id)
{
    if (l->head_count == KITH_TRUST_HEADS_MAX) {
        l->head_count--;
        memmove(l->heads[0], l->heads[1], l->head_count * sizeof l->heads[0]);
    }
    memcpy(l->heads[l->head_count++], id, sizeof l->heads[0]);
}

/* Who is refused gets what says why. */
static size_t keep_verdict(const own_link *l, size_t *list, size_t count)
{
    const kith_graph *graph = l->own->graph;
    size_t verdict = kith_graph_find(graph, l->verdict), kept = 0;
    for (size_t i = 0; i < count && verdict != KITH_GRAPH_NONE; i++)
        if (list[i] == verdict || kith_graph_in_past(graph, list[i], verdict)) list[kept++] = list[i];
    return kept;
}

/* The records it lacks, as far as we know. */
void kith__own_say_records(own_link *l)
{
    const kith_graph *graph = l->own->graph;
    uint8_t *out = kith_malloc(KITH_TRUST_OUTPUT_MAX);
    size_t *list = kith_calloc(kith_graph_count(graph) + 1, sizeof *list), taken = 0;
    size_t count =
        out && list ? kith_graph_lacks(graph, (const uint8_t(*)[KITH_GRAPH_ID_SIZE])l->heads, l->head_count, list) : 0;
    if (l->phase == OWN_LINK_TOLD) count = keep_verdict(l, list, count);
    for (size_t at = 0; at < count; at += taken) {
        send(l, out, kith_trust_write_records(graph, list + at, count - at, out, &taken));
        if (taken == 0) break;
    }
    for (size_t i = 0; i < count; i++) kith__own_link_has(l, kith_graph_id(graph, list[i]));
    kith_free(list);
    kith_free(out);
    if (l->phase == OWN_LINK_TOLD && kith_stream_finish(l->channel->stream))
        kith__session_close(l->channel->session, KITH_ERR_REVOKED);
}

/* The device at the other end has this graph, since it came from there. */
void kith__own_link_entered(own_link *l, const kith_graph *graph)
{
    size_t numbers[KITH_TRUST_HEADS_MAX];
    l->joining = false;
    if (l->phase == OWN_LINK_TOLD) return; /* since then */
    if (l->phase == OWN_LINK_APPEALS && !kith__own_end_appeal(l, graph != NULL)) return;
    if (!graph) return;
    size_t count = kith_graph_heads(graph, numbers, KITH_TRUST_HEADS_MAX);
    l->heard = true;
    l->head_count = 0;
    for (size_t i = 0; i < count && i < KITH_TRUST_HEADS_MAX; i++)
        kith__own_link_has(l, kith_graph_id(graph, numbers[i]));
    kith__own_say_records(l); /* what follows from the change may have been done before */
}

/* ---- hearing ---- */

void kith__own_link_free(own_link *l)
{
    struct own *own = l->own;
    KITH_EACH (at, &own->pending)
        if (KITH_OF(at, own_record, link)->from == l) KITH_OF(at, own_record, link)->from = NULL;
    if (own->job) {
        KITH_EACH (at, &own->job->records)
            if (KITH_OF(at, own_record, link)->from == l) KITH_OF(at, own_record, link)->from = NULL;
        if (own->job->joining == l) own->job->joining = NULL;
    }
    kith__own_drop_appeal(l);
    kith_list_remove(&l->link);
    kith__channel_free(l->channel);
    kith_graph_free(l->other);
    kith_free(l->inbox);
    kith_free(l);
}

/* Of another network, l->network: it may be the one that has just admitted this device. */
static void ask_foreign(own_link *l)
{
    bool alone = !kith__own_has_others(l->own->core);
    if (l->phase != OWN_LINK_MEMBER) return;
    if (l->other || l->own->job || (!alone && !l->replace)) {
        if (!l->other) l->joining = false;
        return;
    }
    if (kith_graph_new(&l->other) == KITH_OK) kith__own_say_heads(l, l->network, true);
}

static void hear_heads(own_link *l, const kith_trust_message *m)
{
    const kith_graph *graph = l->own->graph;
    if (!graph) return;
    if (memcmp(m->network, kith_graph_id(graph, 0), sizeof m->network) != 0) {
        l->foreign = true;
        memcpy(l->network, m->network, sizeof l->network);
        ask_foreign(l);
        return;
    }
    const kith_stream *stream = l->channel->stream;
    if (kith_stream_written(stream) - kith_stream_returned(stream) > OWN_UNSENT_MAX) {
        kith__session_close(l->channel->session, KITH_ERR_PROTOCOL);
        return;
    }
    l->heard = true;
    l->joining = l->joining && l->own->job;
    l->head_count = m->head_count;
    memcpy(l->heads, m->heads, sizeof l->heads);
    if (l->phase == OWN_LINK_APPEALS) {
        /* Who appeals hears nothing.  But if this device is revoked there, too, it is the dialler that is told. */
        if (!m->head_count && !l->channel->session->dialler) (void)kith__own_end_appeal(l, false);
        return;
    }
    if (l->phase == OWN_LINK_MEMBER && m->head_count) *l->own->told = 0; /* that is said to members */
    kith__own_say_records(l);
}

/* All of it is here: is this device in it, and the one that says so? */
static void consider(own_link *l)
{
    kith_verdict v;
    kith_graph *other = l->other;
    l->other = NULL;
    bool in = false;
    if (kith_graph_judge(other, &v) == KITH_OK) {
        const kith_member *me = kith_verdict_find(&v, l->own->core->signer.fingerprint);
        const kith_member *them = kith_verdict_find(&v, l->channel->session->peer.fingerprint);
        in = me && them && me->state == KITH_MEMBER && them->state == KITH_MEMBER;
        kith_verdict_done(&v);
    }
    if (in) {
        l->joining = true;
        kith__own_start_job(l->own, other, l);
    } else {
        l->joining = false;
        kith_graph_free(other);
    }
}

static void hear_records(own_link *l, kith_trust_message *m)
{
    struct own *own = l->own;
    size_t size;
    for (const uint8_t *bytes; (bytes = kith_trust_next_record(m, &size)) != NULL;) {
        if (l->other) {
            if (kith_graph_add(l->other, bytes, size) == KITH_OK) continue;
            kith_graph_free(l->other);
            l->other = NULL;
            l->joining = false;
            return;
        }
        own_record *r =
            own->pending_bytes + sizeof *r + size > OWN_PENDING_BYTES ? NULL : kith_malloc(sizeof *r + size);
        if (!r) {
            l->wants = true;
            break;
        }
        *r = (own_record){.from = l, .size = size};
        memcpy(r->bytes, bytes, size);
        own->pending_bytes += sizeof *r + size;
        kith_list_append(&own->pending, &r->link);
    }
    if (l->other && !m->more) consider(l);
    if (!kith_list_empty(&own->pending)) kith__own_start_job(own, NULL, NULL);
}

static void hear(own_link *l, const uint8_t *data, size_t size)
{
    kith_trust_message m;
    if (l->channel->session->over) return; /* since the message before this one */
    kith_err err = kith_trust_parse(data, size, &m);
    if (err == KITH_ERR_UNSUPPORTED) return;
    bool needless = err || l->heard || m.kind != KITH_TRUST_HEADS; /* for telling */
    if (l->phase == OWN_LINK_TOLD && needless) return;
    if (err)
        kith__session_close(l->channel->session, KITH_ERR_PROTOCOL);
    else if (m.kind == KITH_TRUST_HEADS)
        hear_heads(l, &m);
    else if (l->phase == OWN_LINK_APPEALS)
        kith__own_hear_appeal(l, &m);
    else
        hear_records(l, &m);
}

/* Whole messages in the inbox are taken out of it.  False: it cannot be one. */
static bool hear_inbox(own_link *l)
{
    for (;;) {
        kith_reader r = kith_reader_of(l->inbox, l->inbox_size);
        uint64_t length = kith_read_varint(&r);
        if (r.bad) return true;
        if (length > KITH_TRUST_MESSAGE_MAX) return false;
        const uint8_t *message = kith_read_view(&r, (size_t)length);
        if (!message) return true;
        hear(l, message, (size_t)length);
        size_t used = (size_t)(r.at - l->inbox);
        l->inbox_size -= used;
        memmove(l->inbox, l->inbox + used, l->inbox_size);
    }
}

static void readable(channel *c)
{
    own_link *l = c->owner;
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (!c->session->over && kith_stream_peek(c->stream, &data, &size, &fin)) {
        size_t room = KITH_TRUST_OUTPUT_MAX - l->inbox_size, take = size < room ? size : room;
        memcpy(l->inbox + l->inbox_size, data, take);
        l->inbox_size += take;
        l->shown += take;
        kith_stream_consume(c->stream, take);
        if (hear_inbox(l)) continue;
        kith__session_close(c->session, KITH_ERR_PROTOCOL);
        return;
    }
}

/* Only of a stream that was finished: who is refused has all that it is told. */
static void returned(channel *c)
{
    const own_link *l = c->owner;
    if (l->phase == OWN_LINK_TOLD) kith__session_close(c->session, KITH_ERR_REVOKED);
}

static void gone(channel *c, kith_err why)
{
    own_link *l = c->owner;
    (void)why;
    if (l->phase != OWN_LINK_MEMBER && !c->session->over) kith__session_close(c->session, KITH_ERR_REVOKED);
    kith__own_link_free(l);
}

static const channel_events link_events = {.readable = readable, .returned = returned, .gone = gone};

static own_link *link_new(struct own *own)
{
    own_link *l = kith_calloc(1, sizeof *l);
    if (l) l->inbox = kith_malloc(KITH_TRUST_OUTPUT_MAX);
    if (!l || !l->inbox) {
        kith_free(l);
        return NULL;
    }
    l->own = own;
    kith_list_append(&own->links, &l->link);
    return l;
}

own_link *kith__own_link_of(const session *s)
{
    if (!s->core->own) return NULL;
    KITH_EACH (at, &s->core->own->links) {
        own_link *l = KITH_OF(at, own_link, link);
        if (l->channel && l->channel->session == s) return l;
    }
    return NULL;
}

kith_err kith__own_serve(channel *c)
{
    struct own *own = c->session->core->own;
    if (!own || !own->graph || kith__own_link_of(c->session)) return KITH_ERR_NOT_ALLOWED;
    own_link *l = link_new(own);
    if (!l) return KITH_ERR_NOMEM;
    l->channel = c;
    c->owner = l;
    c->events = &link_events;
    if (c->session->refused)
        kith__own_meet_refused(l);
    else
        kith__own_say_heads(l, kith_graph_id(own->graph, 0), false);
    return KITH_OK;
}

own_link *kith__own_link_open(session *s)
{
    own_link *l = link_new(s->core->own);
    if (l && kith__channel_open(s, STREAM_TRUST, &link_events, l, &l->channel)) {
        kith__own_link_free(l);
        return NULL;
    }
    return l;
}

void kith__own_greeted(session *s)
{
    struct own *own = s->core->own;
    if (!own || !own->graph || s->standing != KITH_STANDING_OWN) return;
    if (!s->dialler || kith__own_link_of(s)) return;
    own_link *l = kith__own_link_open(s);
    if (l) kith__own_say_heads(l, kith_graph_id(own->graph, 0), false);
}

bool kith__own_has_stream(const session *s) { return kith__own_link_of(s) != NULL; }
bool kith__own_is_stream(const channel *c) { return c->events == &link_events; }

void kith__own_join(session *s, bool replace)
{
    kith__own_greeted(s);
    own_link *l = kith__own_link_of(s);
    if (!l || !s->core->own->graph) return;
    l->joining = !kith__own_is_member(s->core, s->peer.fingerprint);
    l->replace = replace;
    l->own->entering = (kith_problem){0};
    if (l->foreign && l->joining) ask_foreign(l); /* over a session of before: it has said its heads */
}

static bool is_acknowledged(const own_link *l)
{
    return kith_stream_returned(l->channel->stream) == kith_stream_written(l->channel->stream);
}

bool kith__own_joining(const session *s)
{
    const own_link *l = kith__own_link_of(s);
    return l && (l->joining || l->own->job || l->own->changed || !is_acknowledged(l));
}

bool kith__own_has_all(const session *s)
{
    const own_link *l = kith__own_link_of(s);
    return l && l->heard && is_acknowledged(l);
}
