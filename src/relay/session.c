/* Sessions: two clients' sides, or one whose other is absent or unwilling. */
#include "relay/hub_internal.h"

#include "base/mem.h"

#include <string.h>

/* ---- sides ---- */

static uint64_t number_hash(const kith_hub *hub, const kith_hub_client *client, uint32_t number)
{
    uint64_t key[2] = {client->number, number};
    return kith_table_hash(&hub->numbers, key, sizeof key);
}

static side *side_find(const kith_hub_client *client, uint32_t number)
{
    const kith_hub *hub = client->hub;
    for (kith_table_link *at = kith_table_first(&hub->numbers, number_hash(hub, client, number)); at;
         at = kith_table_next(at)) {
        side *found = KITH_OF(at, side, by_number);
        if (found->client == client && found->number == number) return found;
    }
    return NULL;
}

side *session_by_udp(const kith_hub *hub, const uint8_t *udp_id)
{
    uint64_t hash = kith_table_hash(&hub->udp_ids, udp_id, KITH_RELAY_UDP_ID_SIZE);
    for (kith_table_link *at = kith_table_first(&hub->udp_ids, hash); at; at = kith_table_next(at)) {
        side *found = KITH_OF(at, side, by_udp);
        if (memcmp(found->udp_id, udp_id, sizeof found->udp_id) == 0) return found;
    }
    return NULL;
}

static bool is_dialler(const side *s) { return s == &s->session->dialler; }
side *session_other(side *from) { return is_dialler(from) ? &from->session->target : &from->session->dialler; }

static void side_begin(side *s, kith_hub_client *client, uint32_t number)
{
    kith_hub *hub = client->hub;
    s->client = client;
    s->number = number;
    kith_rng_bytes(&hub->rng, s->udp_id, sizeof s->udp_id);
    kith_list_append(&client->sides, &s->in_client);
    kith_table_add(&hub->numbers, &s->by_number, number_hash(hub, client, number));
    kith_table_add(&hub->udp_ids, &s->by_udp, kith_table_hash(&hub->udp_ids, s->udp_id, sizeof s->udp_id));
    if (is_dialler(s))
        client->opened++;
    else
        client->incoming++;
}

static void side_end(side *s)
{
    kith_hub_client *client = s->client;
    if (!client) return;
    if (is_dialler(s))
        client->opened--;
    else
        client->incoming--;
    kith_table_remove(&client->hub->numbers, &s->by_number);
    kith_table_remove(&client->hub->udp_ids, &s->by_udp);
    kith_list_remove(&s->in_client);
    s->client = NULL;
}

/* ---- ending ---- */

static void say_gone(kith_hub_client *client, uint32_t number, kith_relay_gone reason, uint64_t now_ns)
{
    if (!client) return;
    queue_message(client, &(kith_relay_message){.type = KITH_RELAY_GONE, .session = number, .gone = {reason}}, now_ns);
}

/* Those who are told hear it when it is gone already: telling may close one of them, and end others of its sessions. */
static void session_end(kith_hub *hub, session *s, bool tell_dialler, bool tell_target, kith_relay_gone reason,
                        uint64_t now_ns)
{
    kith_hub_client *dialler = tell_dialler ? s->dialler.client : NULL, *target = tell_target ? s->target.client : NULL;
    uint32_t dialler_number = s->dialler.number, target_number = s->target.number;
    side_end(&s->dialler);
    side_end(&s->target);
    kith_list_remove(&s->refusing);
    kith_list_remove(&s->idle);
    hub->stats.sessions--;
    message_free(hub, s->offer);
    kith_free(s);
    say_gone(dialler, dialler_number, reason, now_ns);
    say_gone(target, target_number, reason, now_ns);
}

/* One side leaves.  A target that never answered looks as if it had not been there. */
static void leave(side *s, uint64_t now_ns)
{
    session *of = s->session;
    kith_hub *hub = s->client->hub;
    if (is_dialler(s))
        session_end(hub, of, false, true, KITH_RELAY_GONE_ENDED, now_ns);
    else if (of->refusing.next)
        side_end(s);
    else
        session_end(hub, of, true, false, KITH_RELAY_GONE_ENDED, now_ns);
}

void session_end_all(kith_hub_client *client, uint64_t now_ns)
{
    for (kith_link *at; (at = kith_list_first(&client->sides));) leave(KITH_OF(at, side, in_client), now_ns);
}

/* ---- beginning ---- */

static void limited(kith_hub_client *client, const kith_relay_message *m, kith_relay_limit limit, uint64_t *counter,
                    uint64_t retry_after_ms, uint64_t now_ns)
{
    ++*counter;
    queue_message(client,
                  &(kith_relay_message){.type = KITH_RELAY_RATE_LIMITED,
                                        .session = m->session,
                                        .rate_limited = {limit, retry_after_ms, .has_session = true}},
                  now_ns);
}

/* A number of the relay's that this client does not use. */
static uint32_t free_number(kith_hub_client *client)
{
    uint32_t number;
    do number = client->next_number++ | KITH_RELAY_SESSION_OF_RELAY;
    while (side_find(client, number));
    return number;
}

static void say_incoming(session *s, const kith_relay_run *offer, uint64_t now_ns)
{
    const kith_hub_client *from = s->dialler.client;
    uint8_t udp_id[KITH_RELAY_UDP_ID_SIZE];
    memcpy(udp_id, s->target.udp_id, sizeof udp_id);
    queue_message(s->target.client,
                  &(kith_relay_message){.type = KITH_RELAY_INCOMING,
                                        .session = s->target.number,
                                        .run = *offer,
                                        .incoming = {from->device->fingerprint, from->instance, udp_id}},
                  now_ns);
}

/* Any instance of the device will do: what this one refuses, one that registered before it may take. */
static void keep_offer(session *s, const kith_relay_run *offer)
{
    kith_hub *hub = s->dialler.client->hub;
    if (s->target.client->device->count < 2 || !(s->offer = message_new(hub, offer->size))) return;
    s->offer->size = offer->size;
    s->offer_segment = offer->segment;
    if (offer->size) memcpy(message_data(hub, s->offer), offer->data, offer->size);
}

static void begin(kith_hub_client *client, kith_hub_client *target, bool any_instance, const kith_relay_message *m,
                  uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    size_t but_count = any_instance ? m->connect.but_count : 0;
    session *s = kith_calloc(1, sizeof *s + but_count * sizeof *s->but);
    if (!s) {
        hub->stats.memory_overflows++;
        hub_close(client, KITH_HUB_CLOSE_INTERNAL, 0, NULL, now_ns);
        return;
    }
    s->dialler.session = s->target.session = s;
    s->made_ns = s->used_ns = now_ns;
    s->but_count = but_count;
    if (but_count) memcpy(s->but, m->connect.but, but_count * sizeof *s->but);
    side_begin(&s->dialler, client, m->session);
    if (target) side_begin(&s->target, target, free_number(target));
    kith_list_append(&hub->refusing, &s->refusing);
    kith_list_append(&hub->idle_sessions, &s->idle);
    hub->stats.sessions++;
    if (target && any_instance) keep_offer(s, &m->run);
    queue_message(
        client,
        &(kith_relay_message){.type = KITH_RELAY_CONNECTED, .session = m->session, .connected = {s->dialler.udp_id}},
        now_ns);
    if (target && client->stage == REGISTERED) say_incoming(s, &m->run, now_ns); /* else the session is over */
}

/* What CONNECT and MAILBOX_CONNECT share; false: it was answered. */
static bool may_begin(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    uint64_t each_ns = NS_PER_MINUTE / hub->settings.connects_per_minute;
    hub->stats.connects++;
    if (m->session & KITH_RELAY_SESSION_OF_RELAY || side_find(client, m->session)) {
        hub_protocol_error(client, "a session's number is in use, or not one of a client", now_ns);
    } else if (client->opened >= hub->settings.sessions_per_client) {
        limited(client, m, KITH_RELAY_LIMIT_SESSIONS, &hub->stats.sessions_limited, hub->settings.refuse_ms, now_ns);
    } else if (!meter_take(&client->connects, each_ns, NS_PER_MINUTE, now_ns)) {
        limited(client, m, KITH_RELAY_LIMIT_SESSIONS, &hub->stats.connects_limited, each_ns / NS_PER_MS + 1, now_ns);
    } else {
        return true;
    }
    return false;
}

/* Whom it reaches: nobody while the relay goes away, nobody who has too many sessions already, and not itself. */
static kith_hub_client *reachable(const kith_hub_client *client, kith_hub_client *target)
{
    kith_hub *hub = client->hub;
    if (!target || target == client || hub->draining) return NULL;
    if (target->incoming < hub->settings.incoming_per_client) return target;
    hub->stats.incoming_limited++;
    return NULL;
}

static bool excluded(const uint8_t (*but)[KITH_RELAY_INSTANCE_SIZE], size_t count, const kith_hub_client *target)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(but[i], target->instance, sizeof but[i]) == 0) return true;
    return false;
}

void session_connect(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    if (!may_begin(client, m, now_ns)) return;
    const uint8_t(*but)[KITH_RELAY_INSTANCE_SIZE] = (const void *)m->connect.but;
    bool any = !m->connect.target_instance;
    kith_hub_client *target = register_find(client->hub, m->connect.target, m->connect.target_instance);
    while (any && target && (target == client || excluded(but, m->connect.but_count, target)))
        target = register_before(target);
    begin(client, reachable(client, target), any, m, now_ns);
}

/* The next instance is asked; false: there is none. */
static bool pass_on(side *s, uint64_t now_ns)
{
    session *of = s->session;
    kith_hub *hub = s->client->hub;
    kith_hub_client *next = s->client;
    if (is_dialler(s) || !of->refusing.next || !of->offer) return false;
    do next = register_before(next);
    while (next && (excluded((const void *)of->but, of->but_count, next) || !reachable(of->dialler.client, next)));
    if (!next) return false;
    kith_relay_run offer = {of->offer->size ? message_data(hub, of->offer) : NULL, of->offer->size, of->offer_segment};
    side_end(s);
    side_begin(s, next, free_number(next));
    say_incoming(of, &offer, now_ns);
    return true;
}

/* Who says nothing is told that it is over; the next one has as much time.  False: there is none. */
static bool ask_next(session *s, uint64_t now_ns)
{
    kith_hub *hub = s->dialler.client->hub;
    kith_hub_client *silent = s->target.client;
    uint32_t number = s->target.number;
    s->made_ns = now_ns;
    kith_list_remove(&s->refusing);
    kith_list_append(&hub->refusing, &s->refusing);
    bool asked = pass_on(&s->target, now_ns);
    if (asked) say_gone(silent, number, KITH_RELAY_GONE_ENDED, now_ns);
    return asked;
}

void session_gone(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    side *s = side_find(client, m->session);
    if (s && !pass_on(s, now_ns)) leave(s, now_ns);
}

void session_mailbox_connect(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    uint64_t each_ns = NS_PER_MINUTE / hub->settings.guesses_per_minute;
    if (!may_begin(client, m, now_ns)) return;
    if (!meter_take(&client->source->guesses, each_ns, NS_PER_MINUTE, now_ns)) {
        limited(client, m, KITH_RELAY_LIMIT_GUESSES, &hub->stats.guesses_limited, each_ns / NS_PER_MS + 1, now_ns);
        return;
    }
    hub->stats.guesses++;
    mailbox *box = mailbox_find(hub, m->tag);
    begin(client, reachable(client, box ? box->client : NULL), false, m, now_ns);
}

/* ---- packets ---- */

void session_touch(side *from, uint64_t now_ns)
{
    session *s = from->session;
    s->used_ns = now_ns;
    kith_list_remove(&s->idle);
    kith_list_append(&from->client->hub->idle_sessions, &s->idle);
    if (is_dialler(from) || s->answered) return;
    s->answered = true;
    kith_list_remove(&s->refusing);
    message_free(from->client->hub, s->offer);
    s->offer = NULL;
}

void session_data(kith_hub_client *client, message *data, const kith_relay_message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    side *from = side_find(client, m->session), *to = from ? session_other(from) : NULL;
    client->udp_doubted = true;
    if (from) session_touch(from, now_ns);
    if (!to || !to->client) {
        hub->stats.dropped_session_bytes += data->size;
        message_free(hub, data);
    } else if (datagram_bound(to->client, now_ns)) {
        datagram_send(to, &m->run);
        message_free(hub, data);
    } else {
        kith_relay_write_data_head(to->number, m->run.segment, message_data(hub, data));
        queue_packets(to->client, data, now_ns);
    }
}

/* ---- time ---- */

uint64_t session_deadline(const kith_hub *hub)
{
    uint64_t refuse_ns = UINT64_MAX, idle_ns = UINT64_MAX;
    if (!kith_list_empty(&hub->refusing))
        refuse_ns = KITH_OF(hub->refusing.head.next, session, refusing)->made_ns + hub->settings.refuse_ms * NS_PER_MS;
    if (!kith_list_empty(&hub->idle_sessions))
        idle_ns =
            KITH_OF(hub->idle_sessions.head.next, session, idle)->used_ns + hub->settings.session_idle_ms * NS_PER_MS;
    return refuse_ns < idle_ns ? refuse_ns : idle_ns;
}

void session_expire(kith_hub *hub, uint64_t now_ns)
{
    while (!kith_list_empty(&hub->refusing)) {
        session *s = KITH_OF(kith_list_first(&hub->refusing), session, refusing);
        if (s->made_ns + hub->settings.refuse_ms * NS_PER_MS > now_ns) break;
        if (s->target.client && ask_next(s, now_ns)) continue;
        kith_list_remove(&s->refusing);
        if (s->target.client) continue; /* it may take its time, but will be seen to be there */
        hub->stats.connects_unreachable++;
        session_end(hub, s, true, false, KITH_RELAY_GONE_UNREACHABLE, now_ns);
    }
    while (!kith_list_empty(&hub->idle_sessions)) {
        session *s = KITH_OF(kith_list_first(&hub->idle_sessions), session, idle);
        if (s->used_ns + hub->settings.session_idle_ms * NS_PER_MS > now_ns) break;
        hub->stats.session_idle_timeouts++;
        session_end(hub, s, true, true, KITH_RELAY_GONE_IDLE, now_ns);
    }
}
