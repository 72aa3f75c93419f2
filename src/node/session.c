#include "node/session_internal.h"

#include "base/buf.h"
#include "base/mem.h"
#include "node/beside.h"
#include "node/book.h"
#include "node/dial.h"
#include "node/greeting.h"
#include "node/lan.h"
#include "node/own.h"
#include "node/relay.h"
#include "node/rescue.h"
#include "node/roam.h"
#include "service/code.h"
#include "service/wire_error.h"

#include <string.h>

static void on_timer(void *user);

/* ---- channels ---- */

static channel *channel_new(session *s, kith_stream *stream, const channel_events *events, void *owner)
{
    channel *c = kith_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->session = s;
    c->stream = stream;
    c->events = events;
    c->owner = owner;
    s->streams_ns = kith__core_now(s->core);
    kith_stream_set_user(stream, c);
    kith_list_append(&s->channels, &c->link);
    return c;
}

kith_err kith__channel_open(session *s, stream_number service, const channel_events *events, void *owner, channel **out)
{
    kith_stream *stream = NULL;
    uint8_t number = (uint8_t)service; /* a one-byte varint */
    kith_err err = kith_stream_open(s->conn, true, &stream);
    if (err) return err;
    channel *c = NULL;
    err = kith_stream_write(stream, &number, 1);
    if (!err && !(c = channel_new(s, stream, events, owner))) err = KITH_ERR_NOMEM;
    if (err) {
        kith_stream_free(stream);
        return err;
    }
    *out = c;
    return KITH_OK;
}

void kith__channel_free(channel *c)
{
    if (!c) return;
    kith_list_remove(&c->link);
    if (c->stream) kith_stream_free(c->stream);
    kith_free(c);
}

void kith__channel_give_up(channel *c, kith_err why)
{
    kith_stream_reset(c->stream, kith_wire_error_of(why));
    kith_stream_stop(c->stream, kith_wire_error_of(why));
}

/* A datagram begins with the number of its stream, as a varint. */
kith_err kith__channel_datagram(channel *c, const void *data, size_t size)
{
    uint8_t head[8];
    kith_writer w = kith_writer_of(head, sizeof head);
    kith_write_varint(&w, kith_stream_id(c->stream));
    return kith_conn_datagram_send(c->session->conn, head, kith_writer_size(&w), data, size);
}

size_t kith__channel_datagram_room(const channel *c)
{
    size_t room = kith_conn_datagram_room(c->session->conn), head = kith_varint_size(kith_stream_id(c->stream));
    return room > head ? room - head : 0;
}

static void datagrams(session *s)
{
    size_t size;
    for (uint8_t *bytes; (bytes = kith_conn_datagram_take(s->conn, &size)); kith_free(bytes)) {
        kith_reader r = kith_reader_of(bytes, size);
        uint64_t number = kith_read_varint(&r);
        channel *of = NULL;
        KITH_EACH (at, &s->channels) {
            channel *c = KITH_OF(at, channel, link);
            if (!r.bad && kith_stream_id(c->stream) == number) of = c;
        }
        if (of && of->events->datagram) of->events->datagram(of, r.at, kith_reader_left(&r));
    }
}

/* ---- sessions ---- */

static session *session_new(kith_core *core, bool dialler)
{
    session *s = kith_calloc(1, sizeof *s);
    if (!s) return NULL;
    s->timer = core->env->timers->open(core->env, on_timer, s);
    if (!s->timer) {
        kith_free(s);
        return NULL;
    }
    s->core = core;
    s->number = ++core->last_session;
    s->dialler = dialler;
    kith_list_init(&s->channels);
    kith_list_init(&s->uses);
    kith_list_append(&core->sessions, &s->link);
    return s;
}

kith_err kith__session_dial(kith_core *core, carrier_kind kind, const kith_addr *remote, const kith_peer *peer,
                            const session_watch *watch, session **out)
{
    if (core->closing) return KITH_ERR_CANCELLED;
    session *s = session_new(core, true);
    if (!s) return KITH_ERR_NOMEM;
    kith_err err = KITH_OK;
    s->carrier = core->datagrams;
    if (kind == CARRIER_STREAM) err = kith__carrier_dial(core, remote, &s->carrier);
    const uint8_t *expected = peer ? peer->x25519 : NULL;
    if (!err) {
        err = kith_quic_dial(s->carrier->quic, remote, expected, kith__core_now(core), &s->conn);
        if (err) kith__carrier_release(s->carrier);
    }
    if (err) {
        core->env->timers->close(s->timer);
        kith_list_remove(&s->link);
        kith_free(s);
        return err;
    }
    kith_conn_set_user(s->conn, s);
    s->remote = *remote;
    s->watch = *watch;
    s->for_pairing = !peer;
    if (peer) {
        s->expected = true;
        memcpy(s->expected_fingerprint, peer->fingerprint, sizeof s->expected_fingerprint);
        s->known = *peer;
    }
    *out = s;
    return KITH_OK;
}

/* The relay is told that nobody needs its session any more. */
static void leave_place(session *s)
{
    bool shared = false;
    KITH_EACH (at, &s->core->sessions) shared |= kith_addr_equal(&KITH_OF(at, session, link)->remote, &s->remote);
    if (s->remote.family == KITH_FAMILY_RELAY && !shared) kith__relays_done_with(s->core, &s->remote);
}

/* Take it apart: everyone is told, nothing of it remains. */
static void session_end(session *s, kith_err why)
{
    kith_err said = why ? why : KITH_ERR_CLOSED;
    s->ready = false;
    s->over = true;
    if (s->core->about == s) s->core->about = NULL;
    kith_list_remove(&s->link); /* nobody finds it from here on */
    while (!kith_list_empty(&s->channels)) {
        channel *c = KITH_OF(kith_list_take_first(&s->channels), channel, link);
        c->events->gone(c, said);
    }
    while (!kith_list_empty(&s->uses)) {
        session_hold *hold = KITH_OF(kith_list_take_first(&s->uses), session_hold, link);
        hold->session = NULL;
        hold->lost(hold->user, said);
    }
    if (s->watch.failed) s->watch.failed(s->watch.user, s, said); /* unless unwatched by one of those */
    kith__rescue_end(s);
    kith__roam_end(s);
    s->core->env->timers->close(s->timer);
    kith_conn_free(s->conn);
    kith__carrier_release(s->carrier);
    leave_place(s);
    kith__beside_ended(s);
    kith_free(s);
}

void kith__session_carrier_gone(carrier *c, kith_err why)
{
    KITH_EACH (at, &c->core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (s->carrier == c) kith_conn_abandon(s->conn, why, kith__core_now(c->core));
    }
}

void kith__session_close(session *s, kith_err why)
{
    char reason[OWN_REASON_MAX] = "";
    if (why == KITH_ERR_REVOKED) kith__own_reason(s->core, s->peer.fingerprint, reason);
    kith_conn_close(s->conn, kith_wire_error_of(why), reason, kith__core_now(s->core));
    /* Its CLOSED event brings session_end; until then nobody finds it. */
    s->ready = false;
    s->over = true;
    s->why = why;
}

/* Who asks may be in the middle of something, so it is told from the loop. */
void kith__session_refuse(session *s, kith_err why)
{
    if (s->refused) return;
    if (why != KITH_ERR_REVOKED) {
        kith__session_close(s, why);
        return;
    }
    bool appeals = !s->dialler && !s->greeted;
    s->ready = false;
    s->refused = why;
    s->core->env->timers->set(s->timer, kith__core_now(s->core) + (appeals ? OWN_APPEAL_NS : 0));
}

void kith__session_free_all(kith_core *core)
{
    for (kith_link *at; (at = kith_list_first(&core->sessions));)
        session_end(KITH_OF(at, session, link), KITH_ERR_CLOSED);
}

void kith__session_unwatch(session *s) { s->watch = (session_watch){0}; }
void kith__session_use(session *s, session_hold *hold, void (*lost)(void *user, kith_err why), void *user)
{
    *hold = (session_hold){.session = s, .lost = lost, .user = user};
    kith_list_append(&s->uses, &hold->link);
    kith__roam_used(s);
}

void kith__session_want_beside(session_hold *hold, void (*beside)(void *user, session *twin), bool bulk)
{
    hold->beside = beside;
    hold->bulk = bulk;
    if (hold->session) kith__roam_used(hold->session);
}

static uint64_t idle_ns(const session *s)
{
    if (!s->dialler) return s->for_pairing ? SESSION_STRANGER_NS : NEVER;
    return s->for_pairing ? SESSION_PAIR_NS : SESSION_IDLE_NS;
}

/* One that we dialled is closed when nobody used it for a while; one that dialled us is the other side's to close,
 * unless that is a stranger. */
void kith__session_idle_out(session *s)
{
    if (!kith_list_empty(&s->uses) || !s->greeted || s->refused || idle_ns(s) == NEVER) return;
    s->core->env->timers->set(s->timer, kith__core_now(s->core) + idle_ns(s));
}

void kith__session_unuse(session_hold *hold)
{
    session *s = hold->session;
    if (!s) return;
    kith_list_remove(&hold->link);
    hold->session = NULL;
    kith__roam_used(s);
    kith__session_idle_out(s);
}

static void on_timer(void *user)
{
    session *s = user;
    kith_core *core = s->core;
    if (s->refused)
        kith__own_refused_due(s);
    else if (!s->greeted)
        kith__session_close(s, KITH_ERR_TIMEOUT);
    else if (kith__core_now(core) - s->streams_ns < idle_ns(s)) /* the peer uses it: pings, say */
        core->env->timers->set(s->timer, s->streams_ns + idle_ns(s));
    else if (kith_list_empty(&s->uses))
        kith__session_close(s, KITH_OK);
    kith__core_pump(core);
}

void kith__session_become_ready(session *s)
{
    s->ready = true;
    if (s->watch.ready) s->watch.ready(s->watch.user, s);
}

static bool unacknowledged(session *s)
{
    KITH_EACH (at, &s->channels) {
        kith_stream *stream = KITH_OF(at, channel, link)->stream;
        if (kith_stream_written(stream) != kith_stream_returned(stream)) return true;
    }
    return false;
}

void kith__session_doubt_one(session *s, uint64_t silent_ns)
{
    kith_conn_stats stats;
    kith_conn_get_stats(s->conn, &stats);
    uint64_t way_ns = stats.rtt_ns + stats.rtt_ns / 2; /* what may still be on it is not silence */
    if (silent_ns < way_ns) silent_ns = way_ns;
    if (kith__core_now(s->core) < stats.last_received_ns + silent_ns || !unacknowledged(s)) return;
    kith__session_close(s, KITH_ERR_LOST);
}

void kith__session_doubt(kith_core *core, const uint8_t uuid[static KITH_UUID_SIZE], const char *name)
{
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!s->ready || s->for_pairing || memcmp(s->known.uuid, uuid, KITH_UUID_SIZE) != 0) continue;
        if (s->roam && kith__lan_is_named(s, name)) continue;
        kith__session_doubt_one(s, SESSION_SILENT_NS);
    }
}

/* ---- QUIC's events ---- */

static void opened(session *s, kith_stream *stream)
{
    bool bidirectional = !(kith_stream_id(stream) & 2);
    if (!bidirectional && !s->control_in) {
        s->control_in = stream;
        return;
    }
    if (!bidirectional || !channel_new(s, stream, &kith__session_undecided, NULL)) kith_stream_free(stream);
}

static bool is_stranger(const session *s) { return !s->dialler && !s->over && (!s->greeted || s->for_pairing); }

/* Room for one more stranger at this address? */
static bool room_for_stranger(kith_core *core, const kith_addr *remote)
{
    session *oldest = NULL;
    size_t count = 0, same = 0;
    kith_addr source = kith__relays_source(core, remote);
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!is_stranger(s)) continue;
        kith_addr theirs = kith__relays_source(core, &s->remote);
        count++;
        same += kith_addr_same_ip(&source, &theirs);
        if (!oldest && kith_list_empty(&s->uses)) oldest = s;
    }
    if (same >= SESSIONS_SOURCE_MAX || (count >= SESSIONS_STRANGERS_MAX && !oldest)) return false;
    if (count >= SESSIONS_STRANGERS_MAX) kith__session_close(oldest, KITH_ERR_AGAIN);
    return true;
}

static void accepted(carrier *from, kith_conn *conn)
{
    kith_core *core = from->core;
    kith_addr remote = kith_conn_remote_addr(conn);
    session *s = core->closing || !room_for_stranger(core, &remote) ? NULL : session_new(core, false);
    if (!s) {
        kith_conn_close(conn, KITH_WIRE_BUSY, "", kith__core_now(core));
        kith_conn_free(conn);
        kith__carrier_release(from);
        return;
    }
    s->carrier = from;
    kith__carrier_taken(from);
    s->conn = conn;
    s->remote = remote;
    kith_conn_set_user(conn, s);
    core->env->timers->set(s->timer, kith__core_now(core) + SESSION_HELLO_NS);
}

static void connected(session *s)
{
    kith_err err = kith__greeting_say(s);
    if (err) {
        kith__session_close(s, err);
        return;
    }
    s->core->env->timers->set(s->timer, kith__core_now(s->core) + SESSION_HELLO_NS);
    uint8_t key[KITH_X25519_SIZE];
    kith_conn_remote_static(s->conn, key);
    if (s->for_pairing) s->answered_as = kith__own_state_of(s->core, key);
    /* The expected key answered, so what we send reaches the right device: no need to wait for its hello. */
    if (s->expected) kith__session_become_ready(s);
}

/* Does the other end know whether this device was revoked?  Own devices do, and those that were: who lets this one join
 * may be one.  Anybody else may say what he likes. */
static bool may_tell(const session *s)
{
    return s->answered_as || (s->known.kind == KITH_PEER_OWN && (s->expected || s->greeted));
}

static void closed(session *s, const kith_quic_event *event)
{
    kith_err why = s->why ? s->why : event->err;
    if (!s->why && event->by_peer && event->code != KITH_WIRE_OK) why = kith_wire_error_read(event->code);
    if (why == KITH_ERR_CANCELLED || why == KITH_ERR_STATE) why = KITH_ERR_CLOSED;
    if (why == KITH_ERR_REVOKED && !s->why && may_tell(s)) kith__own_told(s->core, event->reason);
    if (!s->why) why = kith__session_why_over(s, why);
    kith__core_log(s->core, KITH_LOG_DEBUG, "connection over: %s", kith_err_name(why));
    session_end(s, why);
}

/* Of a session that is refused only the stream of the trust graph, and which one that is when it has just come. */
static bool is_heard(const session *s, const channel *c)
{
    return !s->refused || kith__own_is_stream(c) || (!s->greeted && c->events == &kith__session_undecided);
}

static void stream_event(session *s, const kith_quic_event *event)
{
    if (event->stream == s->control_in) {
        bool before = s->greeted;
        if (event->kind == KITH_QUIC_READABLE) kith__greeting_readable(s);
        if (event->kind == KITH_QUIC_RESET) kith__session_close(s, KITH_ERR_PROTOCOL);
        if (!before && (s->greeted || s->refused)) kith__session_serve_waiting(s);
        return;
    }
    channel *c = event->stream == s->control_out ? NULL : kith_stream_user(event->stream);
    if (!c || !is_heard(s, c)) return;
    switch (event->kind) {
    case KITH_QUIC_READABLE:
        s->streams_ns = kith__core_now(s->core);
        c->events->readable(c);
        break;
    case KITH_QUIC_WRITABLE:
        if (c->events->writable) c->events->writable(c);
        break;
    case KITH_QUIC_RETURNED:
        if (c->events->returned) c->events->returned(c);
        break;
    case KITH_QUIC_RESET:
    case KITH_QUIC_STOPPED:
        c->events->gone(c, event->code ? kith_wire_error_read(event->code) : KITH_ERR_CLOSED);
        break;
    default: break;
    }
}

void kith__session_event(carrier *from, const kith_quic_event *event)
{
    session *s = kith_conn_user(event->conn);
    from->core->about = s;
    switch (event->kind) {
    case KITH_QUIC_ACCEPTED: accepted(from, event->conn); break;
    case KITH_QUIC_CONNECTED: connected(s); break;
    case KITH_QUIC_CLOSED: closed(s, event); break;
    case KITH_QUIC_OPENED: opened(s, event->stream); break;
    case KITH_QUIC_DATAGRAM:
        if (!s->refused) datagrams(s);
        break;
    case KITH_QUIC_SILENT:
        kith__roam_event(s, event);
        kith__rescue_silent(s);
        break;
    case KITH_QUIC_PATH:
    case KITH_QUIC_ASKED:
    case KITH_QUIC_MOVED: kith__roam_event(s, event); break;
    default: stream_event(s, event); break;
    }
    from->core->about = NULL;
}
