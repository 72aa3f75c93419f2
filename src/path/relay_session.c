#include "base/mem.h"
#include "path/relay_internal.h"

#include <string.h>

relay_session *kith__relay_session(kith_relay_client *client, uint32_t id)
{
    uint8_t *last = &client->by_number[id % KITH_RELAY_CLIENT_SESSIONS];
    for (size_t i = 0; id && i < KITH_RELAY_CLIENT_SESSIONS; i++) {
        size_t at = (*last + i) % KITH_RELAY_CLIENT_SESSIONS;
        if (client->sessions[at].id != id) continue;
        *last = (uint8_t)at;
        return &client->sessions[at];
    }
    return NULL;
}

void kith__relay_sessions_forget(kith_relay_client *client) { memset(client->sessions, 0, sizeof client->sessions); }

/* NULL: there are too many, of ours or of theirs. */
static relay_session *free_place(kith_relay_client *client, bool theirs)
{
    relay_session *found = NULL;
    size_t used = 0, most = theirs ? KITH_RELAY_CLIENT_INCOMING : client->limits.sessions;
    for (size_t i = 0; i < KITH_RELAY_CLIENT_SESSIONS; i++) {
        if (!client->sessions[i].id) {
            found = &client->sessions[i];
        } else if (((client->sessions[i].id & KITH_RELAY_SESSION_OF_RELAY) != 0) == theirs) {
            used++;
        }
    }
    return used < most ? found : NULL;
}

/* ---- opening ---- */

/* A number that was not used for as long as possible: packets of the last one that had it may be under way. */
static uint32_t next_id(kith_relay_client *client)
{
    uint32_t id;
    do {
        id = client->next_session;
        client->next_session = id + 1 == KITH_RELAY_SESSION_OF_RELAY ? 1 : id + 1;
    } while (kith__relay_session(client, id));
    return id;
}

static kith_err open_session(kith_relay_client *client, kith_relay_message *message, const kith_packet *offer,
                             uint32_t *session)
{
    if (client->state != RELAY_REGISTERED || client->restarting) return KITH_ERR_STATE;
    if (offer) {
        message->run = (kith_relay_run){offer->data, offer->size, offer->segment};
        if (offer->size > KITH_RELAY_OFFER_MAX || !kith_relay_run_good(&message->run)) return KITH_ERR_ARG;
    }
    relay_session *place = free_place(client, false);
    if (!place) return KITH_ERR_LIMIT;
    message->session = next_id(client);
    kith_err err = kith__relay_put(client, message);
    if (err) return err;
    *place = (relay_session){.id = message->session};
    *session = message->session;
    return KITH_OK;
}

kith_err kith_relay_client_connect(kith_relay_client *client, const uint8_t target[static KITH_RELAY_FINGERPRINT_SIZE],
                                   const uint8_t *instance, const uint8_t *but, size_t but_count,
                                   const kith_packet *offer, uint32_t *session)
{
    kith_relay_message message = {
        .type = KITH_RELAY_CONNECT,
        .connect = {.target = target, .target_instance = instance, .but = but, .but_count = but_count}};
    return open_session(client, &message, offer, session);
}

kith_err kith_relay_client_mailbox_connect(kith_relay_client *client, uint32_t tag, const kith_packet *offer,
                                           uint32_t *session)
{
    kith_relay_message message = {.type = KITH_RELAY_MAILBOX_CONNECT, .tag = tag};
    if (tag > KITH_RELAY_TAG_MAX) return KITH_ERR_ARG;
    return open_session(client, &message, offer, session);
}

static kith_err say_of_mailbox(kith_relay_client *client, kith_relay_type type, uint32_t tag)
{
    if (tag > KITH_RELAY_TAG_MAX) return KITH_ERR_ARG;
    if (client->state != RELAY_REGISTERED) return KITH_ERR_STATE;
    return kith__relay_put(client, &(kith_relay_message){.type = type, .tag = tag});
}

kith_err kith_relay_client_mailbox_open(kith_relay_client *client, uint32_t tag)
{
    return say_of_mailbox(client, KITH_RELAY_MAILBOX_OPEN, tag);
}

kith_err kith_relay_client_mailbox_close(kith_relay_client *client, uint32_t tag)
{
    return say_of_mailbox(client, KITH_RELAY_MAILBOX_CLOSE, tag);
}

/* ---- ending ---- */

static void say_gone(kith_relay_client *client, uint32_t session, kith_relay_gone reason)
{
    kith_relay_message message = {.type = KITH_RELAY_GONE, .session = session, .gone = {.reason = reason}};
    (void)kith__relay_put(client, &message); /* else the relay finds out by itself, when it is idle */
}

void kith_relay_client_end(kith_relay_client *client, uint32_t session, bool refused)
{
    relay_session *s = kith__relay_session(client, session);
    if (!s) return;
    *s = (relay_session){0};
    say_gone(client, session, refused ? KITH_RELAY_GONE_UNREACHABLE : KITH_RELAY_GONE_ENDED);
}

/* ---- what the relay says ---- */

static bool on_incoming(kith_relay_client *client, const kith_relay_message *message)
{
    if (!(message->session & KITH_RELAY_SESSION_OF_RELAY) || kith__relay_session(client, message->session))
        return false;
    relay_session *place = free_place(client, true);
    if (!place) {
        say_gone(client, message->session, KITH_RELAY_GONE_UNREACHABLE);
        return true;
    }
    *place = (relay_session){.id = message->session, .has_udp_id = true};
    memcpy(place->udp_id, message->incoming.udp_id, sizeof place->udp_id);
    kith__relay_say(client, &(kith_relay_event){.kind = KITH_RELAY_EVENT_INCOMING,
                                                .session = message->session,
                                                .from = message->incoming.from,
                                                .from_instance = message->incoming.from_instance,
                                                .offer = message->run});
    return true;
}

static void on_gone(kith_relay_client *client, const kith_relay_message *message)
{
    relay_session *s = kith__relay_session(client, message->session);
    if (!s) return; /* both ended it at once */
    *s = (relay_session){0};
    kith__relay_say(
        client,
        &(kith_relay_event){.kind = KITH_RELAY_EVENT_GONE, .session = message->session, .code = message->gone.reason});
}

bool kith__relay_session_input(kith_relay_client *client, const kith_relay_message *message, kith_relay_data *data)
{
    relay_session *s = kith__relay_session(client, message->session);
    switch (message->type) {
    case KITH_RELAY_INCOMING: return on_incoming(client, message);
    case KITH_RELAY_GONE: on_gone(client, message); return true;
    case KITH_RELAY_CONNECTED:
        if (!s) return true; /* ended meanwhile */
        if (s->has_udp_id || (s->id & KITH_RELAY_SESSION_OF_RELAY)) return false;
        memcpy(s->udp_id, message->connected.udp_id, sizeof s->udp_id);
        return s->has_udp_id = true;
    default:
        if (!s) return true;
        *data = (kith_relay_data){.session = s->id,
                                  .data = (uint8_t *)(uintptr_t)message->run.data, /* the caller's own bytes */
                                  .size = message->run.size,
                                  .segment = message->run.segment};
        return true;
    }
}

/* ---- packets ---- */

/* One message holds what the relay takes of one. */
static void as_message(const kith_relay_client *client, uint32_t session, const kith_packet *run, uint8_t *buffer,
                       kith_relay_send *out)
{
    size_t most = client->limits.message_bytes - KITH_RELAY_DATA_HEAD, size = run->size;
    if (size > most) size = most / run->segment * run->segment;
    kith_relay_write_data_head(session, run->segment < size ? run->segment : size, buffer);
    memcpy(buffer + KITH_RELAY_DATA_HEAD, run->data, size);
    *out = (kith_relay_send){.data = buffer, .size = KITH_RELAY_DATA_HEAD + size, .taken = size};
    out->segment = out->size;
}

static void as_datagrams(const relay_session *session, const kith_packet *run, uint8_t *buffer, kith_relay_send *out)
{
    uint8_t *to = buffer;
    size_t at = 0, sent = 0;
    for (; at < run->size; at += run->segment) {
        size_t size = run->size - at < run->segment ? run->size - at : run->segment;
        if (sent + KITH_RELAY_PACKET_HEAD + size > KITH_PACKET_RUN_MAX) break;
        kith_relay_write_packet_head(session->udp_id, to);
        memcpy(to + KITH_RELAY_PACKET_HEAD, run->data + at, size);
        to += KITH_RELAY_PACKET_HEAD + size;
        sent += KITH_RELAY_PACKET_HEAD + size;
    }
    *out = (kith_relay_send){.udp = true, .data = buffer, .size = sent, .taken = at < run->size ? at : run->size};
    out->segment = KITH_RELAY_PACKET_HEAD + run->segment < sent ? KITH_RELAY_PACKET_HEAD + run->segment : sent;
}

kith_err kith_relay_client_data(kith_relay_client *client, uint32_t session, const kith_packet *run,
                                uint8_t buffer[static KITH_RELAY_CLIENT_BUFFER], kith_relay_send *out)
{
    kith_relay_run packets = {run->data, run->size, run->segment};
    relay_session *s = kith__relay_session(client, session);
    if (!kith_relay_run_good(&packets)) return KITH_ERR_ARG;
    if (!s) return KITH_ERR_NOT_FOUND;
    bool fits = run->segment <= KITH_PACKET_RUN_MAX - KITH_RELAY_PACKET_HEAD;
    if (client->udp.on && s->has_udp_id && fits) {
        as_datagrams(s, run, buffer, out);
    } else if (run->segment > client->limits.message_bytes - KITH_RELAY_DATA_HEAD) {
        return KITH_ERR_LIMIT;
    } else {
        as_message(client, session, run, buffer, out);
    }
    return KITH_OK;
}
