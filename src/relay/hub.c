/* Connections: from the first byte to the last; and time. */
#include "relay/hub_internal.h"

#include "base/mem.h"

#include <string.h>

/* ---- making ---- */

static kith_err init_tables(kith_hub *hub)
{
    kith_table *tables[] = {&hub->sources, &hub->devices, &hub->numbers, &hub->udp_ids, &hub->udp_keys, &hub->tags};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        uint8_t key[KITH_TABLE_KEY_SIZE];
        kith_rng_bytes(&hub->rng, key, sizeof key);
        kith_err err = kith_table_init(tables[i], key);
        if (err) return err;
    }
    return KITH_OK;
}

kith_err kith_hub_new(const kith_hub_config *config, kith_hub **out)
{
    kith_hub *hub = kith_calloc(1, sizeof *hub);
    if (!hub) return KITH_ERR_NOMEM;
    kith_list *lists[] = {&hub->clients,       &hub->unused,    &hub->unregistered, &hub->registered,
                          &hub->stalling,      &hub->paused,    &hub->ready,        &hub->refusing,
                          &hub->idle_sessions, &hub->mailboxes, &hub->packets};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) kith_list_init(lists[i]);
    hub->settings = *config->settings;
    hub->headroom = config->headroom;
    hub->resume_ns = UINT64_MAX;
    kith_rng_init(&hub->rng, config->seed);
    hub->software = kith_strdup(config->software);
    kith_err err = hub->software ? init_tables(hub) : KITH_ERR_NOMEM;
    if (err) {
        kith_hub_free(hub);
        return err;
    }
    *out = hub;
    return KITH_OK;
}

void kith_hub_free(kith_hub *hub)
{
    if (!hub) return;
    while (!kith_list_empty(&hub->clients))
        kith_hub_closed(KITH_OF(kith_list_first(&hub->clients), kith_hub_client, in_hub), 0);
    sources_done(hub);
    kith_table *tables[] = {&hub->sources, &hub->devices, &hub->numbers, &hub->udp_ids, &hub->udp_keys, &hub->tags};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) kith_table_done(tables[i]);
    kith_tokens_free(hub->tokens);
    kith_free(hub->software);
    kith_rng_done(&hub->rng);
    kith_free(hub);
}

void kith_hub_configure(kith_hub *hub, const kith_relay_settings *settings) { hub->settings = *settings; }

void kith_hub_set_clock(kith_hub *hub, int64_t unix_ms, uint64_t now_ns)
{
    hub->unix_at_zero_ms = unix_ms - (int64_t)(now_ns / NS_PER_MS);
    hub->clock_set = true;
}

uint64_t hub_unix_ms(const kith_hub *hub, uint64_t now_ns)
{
    int64_t ms = hub->unix_at_zero_ms + (int64_t)(now_ns / NS_PER_MS);
    return hub->clock_set && ms > 0 ? (uint64_t)ms : 0;
}

static kith_token *same_token(kith_tokens *tokens, const kith_token *old)
{
    kith_token *found = tokens && old ? kith_tokens_named(tokens, old->name) : NULL;
    return found && memcmp(found->hash, old->hash, sizeof found->hash) == 0 ? found : NULL;
}

/* What a token has used is kept by its name; its clients go on with the new row. */
void kith_hub_set_tokens(kith_hub *hub, kith_tokens *tokens, uint64_t now_ns)
{
    for (size_t i = 0; tokens && hub->tokens && i < kith_tokens_count(tokens); i++) {
        kith_token *row = kith_tokens_at(tokens, i), *old = kith_tokens_named(hub->tokens, row->name);
        if (!old) continue;
        row->used_bytes = old->used_bytes;
        row->used_since_ns = old->used_since_ns;
    }
    KITH_EACH (at, &hub->registered) {
        kith_hub_client *client = KITH_OF(at, kith_hub_client, aging);
        client->token = same_token(tokens, client->token);
    }
    kith_tokens_free(hub->tokens);
    hub->tokens = tokens;
    if (!tokens) return;
    kith_list losing = {0}; /* closing one may close others: no walk over the list meanwhile */
    kith_list_init(&losing);
    KITH_EACH (at, &hub->registered) {
        if (KITH_OF(at, kith_hub_client, aging)->token) continue;
        kith_list_remove(at);
        kith_list_append(&losing, at);
    }
    for (kith_link *at; (at = kith_list_first(&losing));) {
        hub->stats.tokens_wrong++;
        hub_close(KITH_OF(at, kith_hub_client, aging), KITH_HUB_CLOSE_POLICY, KITH_RELAY_ERROR_TOKEN,
                  "the token is not good any more", now_ns);
    }
}

/* ---- a connection's life ---- */

static kith_err admit(kith_hub *hub, source *s, uint64_t now_ns)
{
    if (hub->draining || hub->stats.connections >= hub->settings.connections) {
        hub->stats.connections_limited++;
        return KITH_ERR_LIMIT;
    }
    if (s->connections >= hub->settings.connections_per_address) {
        hub->stats.connections_address_limited++;
        return KITH_ERR_LIMIT;
    }
    if (!meter_take(&s->accepts, NS_PER_MINUTE / hub->settings.accepts_per_minute, NS_PER_MINUTE, now_ns)) {
        hub->stats.accepts_limited++;
        return KITH_ERR_LIMIT;
    }
    return KITH_OK;
}

kith_err kith_hub_accept(kith_hub *hub, const kith_addr *from, void *user, uint64_t now_ns, kith_hub_client **out)
{
    source *s = source_of(hub, from);
    if (!s) return KITH_ERR_NOMEM;
    kith_err err = admit(hub, s, now_ns);
    if (err) return err;
    kith_hub_client *client = kith_calloc(1, sizeof *client);
    if (!client) return KITH_ERR_NOMEM;
    client->hub = hub;
    client->user = user;
    client->from = *from;
    client->source = s;
    client->number = hub->next_client++;
    client->heard_ns = now_ns;
    queue_init(&client->queue);
    kith_list_init(&client->sides);
    kith_list_init(&client->mailboxes);
    kith_list_append(&hub->clients, &client->in_hub);
    kith_list_append(&hub->unregistered, &client->aging);
    source_use(s);
    hub->stats.connections++;
    hub->stats.connections_accepted++;
    *out = client;
    return KITH_OK;
}

void kith_hub_start(kith_hub_client *client, const char *authority, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    if (client->stage != ACCEPTED || client->close_code) return;
    client->stage = CHALLENGED;
    if (authority) client->authority = kith_strdup(authority);
    kith_rng_bytes(&hub->rng, client->nonce, sizeof client->nonce);
    queue_message(client,
                  &(kith_relay_message){.type = KITH_RELAY_CHALLENGE, .challenge = {client->nonce, KITH_RELAY_VERSION}},
                  now_ns);
}

void hub_ready(kith_hub_client *client)
{
    kith_list_remove(&client->ready);
    kith_list_append(&client->hub->ready, &client->ready);
}

static void go_on(kith_hub_client *client)
{
    if (!client->pausing.next) return;
    kith_list_remove(&client->pausing);
    client->hub->stats.paused--;
    hub_ready(client);
}

void hub_close(kith_hub_client *client, uint16_t code, kith_relay_error error, const char *text, uint64_t now_ns)
{
    if (client->close_code) return;
    client->close_code = code;
    register_end(client, now_ns);
    queue_drop_packets(client);
    message_free(client->hub, client->inbound);
    client->inbound = NULL;
    if (error && client->stage != ACCEPTED)
        queue_message(client, &(kith_relay_message){.type = KITH_RELAY_ERROR, .error = {error, {text, strlen(text)}}},
                      now_ns);
    client->stage = CLOSING;
    kith_list_remove(&client->aging);
    go_on(client);
    hub_ready(client);
}

void hub_protocol_error(kith_hub_client *client, const char *text, uint64_t now_ns)
{
    client->hub->stats.protocol_errors++;
    hub_close(client, KITH_HUB_CLOSE_PROTOCOL, KITH_RELAY_ERROR_PROTOCOL, text, now_ns);
}

void kith_hub_refuse(kith_hub_client *client, uint16_t code, uint64_t now_ns)
{
    if (!client->close_code) client->hub->stats.protocol_errors++;
    hub_close(client, code, 0, NULL, now_ns);
}

void kith_hub_closed(kith_hub_client *client, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    hub_close(client, KITH_HUB_CLOSE_AWAY, 0, NULL, now_ns);
    queue_clear(client);
    kith_list_remove(&client->ready);
    kith_list_remove(&client->in_hub);
    source_unuse(hub, client->source);
    hub->stats.connections--;
    kith_free(client->authority);
    kith_wipe(client, sizeof *client);
    kith_free(client);
}

void *kith_hub_user(const kith_hub_client *client) { return client->user; }
bool kith_hub_reading(const kith_hub_client *client) { return !client->pausing.next; }
uint16_t kith_hub_closing(const kith_hub_client *client) { return client->close_code; }

kith_hub_client *kith_hub_ready(kith_hub *hub)
{
    kith_link *first = kith_list_take_first(&hub->ready);
    return first ? KITH_OF(first, kith_hub_client, ready) : NULL;
}

/* ---- what comes ---- */

static uint64_t cost_ns(const kith_hub *hub, uint64_t bytes)
{
    return bytes * NS_PER_S / hub->settings.bytes_per_second;
}

bool hub_too_fast(const kith_hub_client *client, uint64_t now_ns)
{
    return client->bytes > now_ns + cost_ns(client->hub, client->hub->settings.burst_bytes);
}

static void pause_client(kith_hub_client *client, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    uint64_t at_ns = client->bytes - cost_ns(hub, hub->settings.burst_bytes);
    client->resume_ns = at_ns > now_ns + PAUSE_LEAST ? at_ns : now_ns + PAUSE_LEAST;
    if (client->resume_ns < hub->resume_ns) hub->resume_ns = client->resume_ns;
    if (client->pausing.next) return;
    kith_list_append(&hub->paused, &client->pausing);
    hub->stats.paused++;
    hub->stats.pauses++;
    hub_ready(client);
}

static bool charge_token(kith_hub_client *client, size_t bytes, uint64_t now_ns)
{
    kith_token *token = client->token;
    uint64_t unix_ms = hub_unix_ms(client->hub, now_ns);
    if (!token) return true;
    if (token->expires_ms != INT64_MAX && unix_ms > (uint64_t)token->expires_ms) {
        client->hub->stats.tokens_wrong++;
        hub_close(client, KITH_HUB_CLOSE_POLICY, KITH_RELAY_ERROR_TOKEN, "the token has expired", now_ns);
        return false;
    }
    if (now_ns - token->used_since_ns >= KITH_TOKEN_QUOTA_MS * NS_PER_MS) {
        token->used_since_ns = now_ns;
        token->used_bytes = 0;
    }
    if (token->used_bytes >= token->quota_bytes) {
        uint64_t left_ns = token->used_since_ns + KITH_TOKEN_QUOTA_MS * NS_PER_MS - now_ns;
        client->hub->stats.quotas_exceeded++;
        queue_message(client,
                      &(kith_relay_message){
                          .type = KITH_RELAY_RATE_LIMITED,
                          .rate_limited = {.limit = KITH_RELAY_LIMIT_QUOTA, .retry_after_ms = left_ns / NS_PER_MS}},
                      now_ns);
        hub_close(client, KITH_HUB_CLOSE_TRY_LATER, 0, NULL, now_ns);
        return false;
    }
    token->used_bytes += bytes;
    return true;
}

bool hub_charge(kith_hub_client *client, size_t bytes, uint64_t now_ns)
{
    if (!charge_token(client, bytes, now_ns)) return false;
    if (client->bytes < now_ns) client->bytes = now_ns;
    client->bytes += cost_ns(client->hub, bytes);
    return true;
}

static void registered_message(kith_hub_client *client, message *raw, const kith_relay_message *m, uint64_t now_ns)
{
    switch (m->type) {
    case KITH_RELAY_DATA: session_data(client, raw, m, now_ns); return; /* which has `raw` now */
    case KITH_RELAY_CONNECT: session_connect(client, m, now_ns); break;
    case KITH_RELAY_GONE: session_gone(client, m, now_ns); break;
    case KITH_RELAY_PING:
        queue_message(client, &(kith_relay_message){.type = KITH_RELAY_PONG, .ping = m->ping}, now_ns);
        break;
    case KITH_RELAY_PONG: break;
    case KITH_RELAY_MAILBOX_OPEN: mailbox_open(client, m, now_ns); break;
    case KITH_RELAY_MAILBOX_CONNECT: session_mailbox_connect(client, m, now_ns); break;
    case KITH_RELAY_MAILBOX_CLOSE: mailbox_close(client, m, now_ns); break;
    default: hub_protocol_error(client, "not a message for a relay", now_ns);
    }
    message_free(client->hub, raw);
}

static void whole(kith_hub_client *client, message *raw, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    kith_relay_message m;
    bool registered = client->stage == REGISTERED;
    hub->stats.websocket_received_messages++;
    hub->stats.websocket_received_bytes += raw->size;
    if (registered) {
        client->heard_ns = now_ns;
        kith_list_remove(&client->aging);
        kith_list_append(&hub->registered, &client->aging);
    }
    kith_err err = kith_relay_read(message_data(hub, raw), raw->size, &m);
    if (err || (!registered && m.type != KITH_RELAY_REGISTER)) {
        hub_protocol_error(client, err ? "not a message" : "not registered", now_ns);
        message_free(hub, raw);
    } else if (!registered) {
        register_message(client, &m, now_ns);
        message_free(hub, raw);
    } else if (!hub_charge(client, raw->size, now_ns)) {
        message_free(hub, raw);
    } else {
        if (hub_too_fast(client, now_ns)) pause_client(client, now_ns);
        registered_message(client, raw, &m, now_ns);
    }
}

/* Room for `want` bytes in the incomplete message, which will not have more than `limit`.  Twice the room each time: a
 * message of many small frames is not copied for each.  False: the client is being closed. */
static bool make_room(kith_hub_client *client, size_t want, size_t limit, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    message *old = client->inbound;
    if (old && old->room >= want) return true;
    if (old && 2 * old->room > want) want = 2 * old->room < limit ? 2 * old->room : limit;
    message *m = message_new(hub, want);
    if (!m) {
        hub->stats.memory_overflows++;
        hub_close(client, KITH_HUB_CLOSE_INTERNAL, 0, NULL, now_ns);
        return false;
    }
    if (old) {
        memcpy(message_data(hub, m), message_data(hub, old), old->size);
        m->size = old->size;
        message_free(hub, old);
    }
    client->inbound = m;
    return true;
}

void kith_hub_input(kith_hub_client *client, const void *data, size_t size, size_t more, bool end, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    datagram_reset(hub);
    if (client->stage == ACCEPTED || client->close_code) return;
    size_t limit = client->stage == REGISTERED ? (size_t)hub->settings.message_bytes : KITH_RELAY_CONTROL_MAX;
    size_t left = limit - (client->inbound ? client->inbound->size : 0);
    if (size > left || more > left - size) {
        hub->stats.messages_too_large++;
        hub_close(client, KITH_HUB_CLOSE_TOO_BIG, 0, NULL, now_ns);
        return;
    }
    if (!make_room(client, limit - left + size + more, limit, now_ns)) return;
    message *m = client->inbound;
    if (size) memcpy(message_data(hub, m) + m->size, data, size);
    m->size += size;
    if (!end) return;
    client->inbound = NULL;
    whole(client, m, now_ns);
}

/* ---- time ---- */

/* When the first of a list in order of time is due; UINT64_MAX: none is. */
#define FIRST_DUE(list, type, link, time, after_ms)                                                                    \
    (kith_list_empty(list) ? UINT64_MAX : KITH_OF((list)->head.next, type, link)->time + (after_ms)*NS_PER_MS)

uint64_t kith_hub_deadline_ns(const kith_hub *hub)
{
    const kith_relay_settings *s = &hub->settings;
    const uint64_t due[] = {
        FIRST_DUE(&hub->unregistered, kith_hub_client, aging, heard_ns, s->authenticate_ms),
        FIRST_DUE(&hub->registered, kith_hub_client, aging, heard_ns, s->idle_ms),
        FIRST_DUE(&hub->stalling, kith_hub_client, stalling, progress_ns, s->stall_ms),
        hub->resume_ns,
        session_deadline(hub),
        mailbox_deadline(hub),
    };
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < sizeof due / sizeof *due; i++)
        if (due[i] < first) first = due[i];
    return first;
}

static void resume(kith_hub *hub, uint64_t now_ns)
{
    if (hub->resume_ns > now_ns) return;
    hub->resume_ns = UINT64_MAX;
    KITH_EACH (at, &hub->paused) {
        kith_hub_client *client = KITH_OF(at, kith_hub_client, pausing);
        if (client->resume_ns <= now_ns)
            go_on(client);
        else if (client->resume_ns < hub->resume_ns)
            hub->resume_ns = client->resume_ns;
    }
}

/* It takes nothing: what waits is lost, and if it was told to go already, the owner hears of it again. */
static void give_up(kith_hub_client *client, uint64_t now_ns)
{
    queue_clear(client);
    if (!client->close_code) client->hub->stats.stall_timeouts++;
    hub_close(client, KITH_HUB_CLOSE_POLICY, 0, NULL, now_ns);
    hub_ready(client);
}

void kith_hub_expire(kith_hub *hub, uint64_t now_ns)
{
    const kith_relay_settings *s = &hub->settings;
    while (FIRST_DUE(&hub->unregistered, kith_hub_client, aging, heard_ns, s->authenticate_ms) <= now_ns) {
        hub->stats.authenticate_timeouts++;
        hub_close(KITH_OF(kith_list_first(&hub->unregistered), kith_hub_client, aging), KITH_HUB_CLOSE_POLICY,
                  KITH_RELAY_ERROR_TIMEOUT, "not registered in time", now_ns);
    }
    while (FIRST_DUE(&hub->registered, kith_hub_client, aging, heard_ns, s->idle_ms) <= now_ns) {
        hub->stats.idle_timeouts++;
        hub_close(KITH_OF(kith_list_first(&hub->registered), kith_hub_client, aging), KITH_HUB_CLOSE_POLICY,
                  KITH_RELAY_ERROR_TIMEOUT, "silent for too long", now_ns);
    }
    while (FIRST_DUE(&hub->stalling, kith_hub_client, stalling, progress_ns, s->stall_ms) <= now_ns)
        give_up(KITH_OF(kith_list_first(&hub->stalling), kith_hub_client, stalling), now_ns);
    resume(hub, now_ns);
    session_expire(hub, now_ns);
    mailbox_expire(hub, now_ns);
}

bool kith_hub_draining(const kith_hub *hub) { return hub->draining; }

void kith_hub_drain(kith_hub *hub, uint64_t now_ns)
{
    hub->draining = true;
    KITH_EACH (at, &hub->clients) /* where one may be closed, but none is freed */
    {
        kith_hub_client *client = KITH_OF(at, kith_hub_client, in_hub);
        if (client->stage == REGISTERED)
            queue_message(
                client, &(kith_relay_message){.type = KITH_RELAY_RESTARTING, .restarting = {hub->settings.restart_ms}},
                now_ns);
    }
}

void kith_hub_shut(kith_hub *hub, uint64_t now_ns)
{
    hub->draining = true;
    KITH_EACH (at, &hub->clients) hub_close(KITH_OF(at, kith_hub_client, in_hub), KITH_HUB_CLOSE_AWAY, 0, NULL, now_ns);
}

const kith_hub_stats *kith_hub_stats_of(const kith_hub *hub) { return &hub->stats; }
