/* What a session's peer may do: who it is in the book now, what that permits, and the services that its streams are
 * for. */
#include "node/session_internal.h"

#include "node/book.h"
#include "node/greeting.h"
#include "node/own.h"

/* ---- incoming streams ---- */

static void undecided_readable(channel *c);
static void undecided_gone(channel *c, kith_err why)
{
    (void)why;
    kith__channel_free(c);
}
const channel_events kith__session_undecided = {.readable = undecided_readable, .gone = undecided_gone};

kith_err kith__session_check(session *s)
{
    kith_peer peer;
    if (s->refused) return s->refused;
    if (s->standing == KITH_STANDING_UNKNOWN) return KITH_ERR_UNTRUSTED;
    if (!kith__core_find_peer(s->core, s->peer.fingerprint, &peer)) {
        kith_err why = kith__own_refusal(s->core, s->peer.fingerprint);
        kith__core_log(s->core, KITH_LOG_WARN, "\"%s\" was %s: its session ends", s->known.local_name,
                       why == KITH_ERR_REVOKED ? "revoked" : "forgotten");
        kith__session_refuse(s, why);
        return why;
    }
    s->standing = kith__greeting_standing(&peer);
    s->known = peer;
    return KITH_OK;
}

kith_err kith__session_why_over(const session *s, kith_err why)
{
    kith_peer peer;
    if (s->refused) return s->refused;
    bool known = s->greeted && s->standing != KITH_STANDING_UNKNOWN;
    bool gone = known && !kith__core_find_peer(s->core, s->peer.fingerprint, &peer);
    return gone ? kith__own_refusal(s->core, s->peer.fingerprint) : why;
}

bool kith__session_is_known(const session *s)
{
    return s->greeted && !s->over && !s->refused && s->standing != KITH_STANDING_UNKNOWN;
}

kith_access kith__session_verdict(const session *s, kith_service service, bool *said)
{
    bool pinned = s->standing == KITH_STANDING_OWN || s->standing == KITH_STANDING_CONTACT;
    if (said) *said = pinned && kith_permit_overridden(service, &s->known.overrides);
    return kith_permit_for(service, s->standing, &s->known.overrides);
}

void kith__session_paired(session *s)
{
    kith_peer peer;
    if (!s->for_pairing || !kith__core_find_peer(s->core, s->peer.fingerprint, &peer)) return;
    s->standing = kith__greeting_standing(&peer); /* what it is for stays: nothing else is to come over it */
    s->known = peer;
    kith__book_watch(s->core);
}

/* The service that a stream begins with, and who takes it; NULL: nobody. */
static kith_err (*service_of(const core_hooks *hooks, uint64_t number, kith_service *service))(channel *c)
{
    switch (number) {
    case STREAM_PAIR: *service = KITH_SERVICE_PAIR; return hooks->serve_pair;
    case STREAM_PING: *service = KITH_SERVICE_PING; return hooks->serve_ping;
    case STREAM_FILE: *service = KITH_SERVICE_FILE; return hooks->serve_file;
    case STREAM_TALK: *service = KITH_SERVICE_TALK; return hooks->serve_talk;
    case STREAM_TRUST: *service = KITH_SERVICE_TRUST; return kith__own_serve;
    default: return NULL;
    }
}

static kith_err serve(channel *c, uint64_t number)
{
    session *s = c->session;
    kith_err err = s->refused || s->standing == KITH_STANDING_UNKNOWN ? KITH_OK : kith__session_check(s);
    if (err) return err;
    kith_service service;
    kith_err (*take)(channel *) = service_of(s->core->hooks, number, &service);
    if (!take) return KITH_ERR_NOT_ALLOWED;
    /* When it is refused it is for an appeal (must_wait). */
    if (!s->refused && !kith__session_verdict(s, service, NULL)) return KITH_ERR_NOT_ALLOWED;
    c->service = service;
    return take(c);
}

/* A stream of the peer's for what it may not do any more. */
static channel *denied(session *s)
{
    KITH_EACH (at, &s->channels) {
        channel *c = KITH_OF(at, channel, link);
        if (c->service != KITH_SERVICE_HELLO && !kith__session_verdict(s, c->service, NULL)) return c;
    }
    return NULL;
}

void kith__sessions_recheck(kith_core *core)
{
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!kith__session_is_known(s) || kith__session_check(s)) continue;
        for (channel *c; (c = denied(s));) {
            kith__core_log(core, KITH_LOG_INFO, "%s ended: it is denied now", kith_permit_name(c->service));
            c->service = KITH_SERVICE_HELLO; /* done with */
            kith__channel_give_up(c, KITH_ERR_NOT_ALLOWED);
            c->events->gone(c, KITH_ERR_NOT_ALLOWED);
        }
    }
}

static bool begins_with(const channel *c, stream_number number)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    return kith_stream_peek(c->stream, &data, &size, &fin) && data[0] == number;
}

/* Not known who it is; or it is revoked, and the stream is for what comes after its appeal, or for that while the
 * device is heard over another session. */
static bool must_wait(const channel *c)
{
    const session *s = c->session;
    if (!s->refused) return !s->greeted;
    return !begins_with(c, STREAM_TRUST) || kith__own_is_heard(s->core, s->peer.fingerprint);
}

/* The first byte of a stream the peer opened; it waits until we know who that is. */
static void undecided_readable(channel *c)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    c->waiting = must_wait(c);
    if (c->waiting) return;
    bool there = kith_stream_peek(c->stream, &data, &size, &fin);
    if (!there && !fin) return;
    unsigned number =
        there ? data[0] : 0; /* services we know have numbers of one byte; others are refused all the same */
    kith_err err = KITH_ERR_PROTOCOL;
    if (there) {
        kith_stream_consume(c->stream, 1);
        err = serve(c, number);
    }
    if (!err) {
        c->events->readable(c);
        return;
    }
    if (err == c->session->refused) return; /* when the session is closed the peer hears why */
    kith__core_log(c->session->core, KITH_LOG_INFO, "stream for service %u refused: %s", number, kith_err_text(err));
    kith__channel_give_up(c, err);
    kith__channel_free(c);
}

/* After hello: streams that came before it.  Serving one may end others. */
void kith__session_serve_waiting(session *s)
{
    for (bool found = true; found;) {
        found = false;
        KITH_EACH (at, &s->channels) {
            channel *c = KITH_OF(at, channel, link);
            if (!c->waiting || must_wait(c)) continue;
            c->waiting = false;
            found = true;
            undecided_readable(c);
            break;
        }
    }
}

void kith__sessions_after_appeal(kith_core *core)
{
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        if (!s->refused || s->greeted || s->over || kith__own_has_stream(s)) continue;
        if (!kith__greeting_again(s)) kith__session_serve_waiting(s);
    }
}
