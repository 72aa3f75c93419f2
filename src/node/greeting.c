/* The control streams: who is it, hello for hello; then what else is said there. */
#include "node/greeting.h"

#include "base/buf.h"
#include "node/beside.h"
#include "node/book.h"
#include "node/own.h"
#include "node/roam.h"
#include "node/session_internal.h"

#include <string.h>

kith_err kith__greeting_say(session *s)
{
    uint8_t message[KITH_MESSAGE_MAX], prefix[16], hash[KITH_BINDING_SIZE];
    size_t size;
    kith_conn_handshake_hash(s->conn, hash);
    kith_err err = kith_hello_write(&s->core->signer, &s->core->self, s->dialler, hash, message, sizeof message, &size);
    if (!err) err = kith_stream_open(s->conn, false, &s->control_out);
    kith_writer w = kith_writer_of(prefix, sizeof prefix);
    kith_write_varint(&w, STREAM_CONTROL);
    kith_write_varint(&w, size);
    if (!err) err = kith_stream_write(s->control_out, prefix, kith_writer_size(&w));
    if (!err) err = kith_stream_write(s->control_out, message, size);
    return err;
}

kith_standing kith__greeting_standing(const kith_peer *peer)
{
    return peer->kind == KITH_PEER_OWN ? KITH_STANDING_OWN : KITH_STANDING_CONTACT;
}

/* Room for one more session that this device dialled? */
static kith_err room_for_device(session *s)
{
    session *oldest = NULL;
    size_t count = 0;
    KITH_EACH (at, &s->core->sessions) {
        session *other = KITH_OF(at, session, link);
        if (other == s || other->dialler || other->over || !other->greeted || other->for_pairing) continue;
        if (memcmp(other->peer.fingerprint, s->peer.fingerprint, sizeof s->peer.fingerprint) != 0) continue;
        count++;
        if (!oldest && kith_list_empty(&other->uses)) oldest = other;
    }
    if (count < SESSIONS_DEVICE_MAX) return KITH_OK;
    if (!oldest) return KITH_ERR_AGAIN;
    kith__session_close(oldest, KITH_ERR_STATE); /* superseded */
    return KITH_OK;
}

/* Who is it, and what does our home say of them?  The standing, or the error that ends the session. */
static kith_err recognise(session *s)
{
    kith_peer peer;
    if (memcmp(s->peer.fingerprint, s->core->signer.fingerprint, 32) == 0) return KITH_ERR_WRONG_DEVICE; /* ourselves */
    if (s->expected && memcmp(s->peer.fingerprint, s->expected_fingerprint, 32) != 0) return KITH_ERR_WRONG_DEVICE;
    if (kith__core_find_peer(s->core, s->peer.fingerprint, &peer)) {
        s->standing = kith__greeting_standing(&peer);
        s->known = peer;
        return s->dialler ? KITH_OK : room_for_device(s);
    }
    if (kith__own_refusal(s->core, s->peer.fingerprint) == KITH_ERR_REVOKED) return KITH_ERR_REVOKED;
    if (!s->dialler && !s->core->host) return KITH_ERR_UNTRUSTED;
    if (s->expected) return KITH_ERR_UNTRUSTED; /* forgotten while we dialled */
    s->standing = KITH_STANDING_UNKNOWN;
    s->for_pairing = true;
    return KITH_OK;
}

/* It is known who it is, and how that one stands. */
static void begin(session *s)
{
    char address[KITH_ADDR_TEXT_SIZE];
    s->greeted = true;
    s->core->env->timers->set(s->timer, NEVER);
    /* Over datagrams a device dials from the port it listens on, over TCP from any. */
    bool dial_back = s->dialler || s->carrier->kind == CARRIER_DATAGRAM;
    if (!s->for_pairing) kith__core_seen(s->core, &s->known, dial_back ? &s->remote : NULL);
    if (!s->for_pairing) kith__book_watch(s->core);
    if (!s->for_pairing) kith__book_learn(s->core, &s->known, &s->peer);
    kith__core_log(s->core, KITH_LOG_INFO, "session with \"%s\" at %s", s->peer.name,
                   kith_addr_text(&s->remote, address));
    kith__roam_begin(s);
    if (!s->ready) kith__session_become_ready(s);
    kith__own_greeted(s);
    kith__session_idle_out(s);
    kith__beside_greeted(s);
}

static void hear_hello(session *s, const uint8_t *data, size_t size)
{
    uint8_t hash[KITH_BINDING_SIZE], key[KITH_X25519_SIZE];
    char address[KITH_ADDR_TEXT_SIZE];
    kith_conn_handshake_hash(s->conn, hash);
    kith_conn_remote_static(s->conn, key);
    kith_err err = kith_hello_read(data, size, !s->dialler, hash, key, &s->peer);
    if (!err) err = recognise(s);
    if (!s->dialler && (!err || err == KITH_ERR_REVOKED)) { /* who is revoked may appeal */
        kith_err said = kith__greeting_say(s);
        if (said) err = said;
    }
    if (err) {
        kith__core_log(s->core, KITH_LOG_WARN, "session with %s refused: %s", kith_addr_text(&s->remote, address),
                       kith_err_text(err));
        kith__session_refuse(s, err);
        return;
    }
    begin(s);
}

bool kith__greeting_again(session *s)
{
    kith_peer peer;
    if (s->over || !kith__core_find_peer(s->core, s->peer.fingerprint, &peer) || recognise(s)) return false;
    s->refused = KITH_OK;
    begin(s);
    kith__greeting_readable(s);
    kith__session_serve_waiting(s);
    return true;
}

/* The control stream: its number, one hello, and what follows. */
void kith__greeting_readable(session *s)
{
    const uint8_t *data;
    size_t size;
    bool fin = false;
    while (!s->refused && kith_stream_peek(s->control_in, &data, &size, &fin)) {
        size_t room = sizeof s->control - s->control_size, take = size < room ? size : room;
        if (s->greeted) {
            kith__roam_control(s, data, size);
            kith_stream_consume(s->control_in, size);
            continue;
        }
        memcpy(s->control + s->control_size, data, take);
        s->control_size += take;
        kith_stream_consume(s->control_in, take);
        kith_reader r = kith_reader_of(s->control, s->control_size);
        uint64_t number = kith_read_varint(&r), length = kith_read_varint(&r);
        if (!r.bad && (number != STREAM_CONTROL || length > KITH_MESSAGE_MAX)) {
            kith__session_close(s, KITH_ERR_PROTOCOL);
            return;
        }
        const uint8_t *message = kith_read_view(&r, (size_t)length);
        if (message) hear_hello(s, message, (size_t)length);
        if (message && !s->greeted) return;
        if (message) kith__roam_control(s, r.at, kith_reader_left(&r));
        if (!message && take == 0) return;
    }
    if (fin) kith__session_close(s, KITH_ERR_PROTOCOL);
}
