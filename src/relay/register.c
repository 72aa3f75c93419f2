/* Who is registered: devices, and their instances. */
#include "relay/hub_internal.h"

#include "base/mem.h"
#include "crypto/keys.h"
#include "identity/fingerprint.h"

#include <string.h>

static device *device_find(const kith_hub *hub, const uint8_t *fingerprint)
{
    uint64_t hash = kith_table_hash(&hub->devices, fingerprint, KITH_RELAY_FINGERPRINT_SIZE);
    for (kith_table_link *at = kith_table_first(&hub->devices, hash); at; at = kith_table_next(at)) {
        device *d = KITH_OF(at, device, link);
        if (memcmp(d->fingerprint, fingerprint, sizeof d->fingerprint) == 0) return d;
    }
    return NULL;
}

static kith_hub_client *instance_of(device *d, const uint8_t *instance)
{
    KITH_EACH (at, &d->instances) {
        kith_hub_client *client = KITH_OF(at, kith_hub_client, in_device);
        if (memcmp(client->instance, instance, INSTANCE_SIZE) == 0) return client;
    }
    return NULL;
}

kith_hub_client *register_find(const kith_hub *hub, const uint8_t *fingerprint, const uint8_t *instance)
{
    device *d = device_find(hub, fingerprint);
    if (!d) return NULL;
    return instance ? instance_of(d, instance) : KITH_OF(d->instances.head.prev, kith_hub_client, in_device);
}

kith_hub_client *register_before(const kith_hub_client *client)
{
    kith_link *before = client->in_device.prev;
    return before == &client->device->instances.head ? NULL : KITH_OF(before, kith_hub_client, in_device);
}

static device *device_make(kith_hub *hub, const uint8_t *fingerprint)
{
    device *d = kith_calloc(1, sizeof *d);
    if (!d) return NULL;
    memcpy(d->fingerprint, fingerprint, sizeof d->fingerprint);
    kith_list_init(&d->instances);
    kith_table_add(&hub->devices, &d->link, kith_table_hash(&hub->devices, fingerprint, sizeof d->fingerprint));
    return d;
}

static void refuse(kith_hub_client *client, uint64_t *counter, kith_relay_error error, const char *text,
                   uint64_t now_ns)
{
    ++*counter;
    hub_close(client, KITH_HUB_CLOSE_POLICY, error, text, now_ns);
}

static void limited(kith_hub_client *client, uint64_t *counter, uint64_t retry_after_ms, uint64_t now_ns)
{
    ++*counter;
    queue_message(client,
                  &(kith_relay_message){
                      .type = KITH_RELAY_RATE_LIMITED,
                      .rate_limited = {.limit = KITH_RELAY_LIMIT_REGISTRATIONS, .retry_after_ms = retry_after_ms}},
                  now_ns);
    hub_close(client, KITH_HUB_CLOSE_TRY_LATER, 0, NULL, now_ns);
}

static bool proves_key(const kith_hub_client *client, const kith_relay_message *m)
{
    uint8_t text[KITH_RELAY_SIGNED_MAX];
    size_t size = kith_relay_signed(client->nonce, client->authority, m->reg.device_id, m->reg.instance, text);
    return kith_ed25519_verify(m->reg.public_key, text, size, m->reg.signature) == KITH_OK;
}

/* NULL when none is needed; false when it is not good. */
static bool token_good(const kith_hub *hub, const kith_relay_message *m, kith_token **out, uint64_t now_ns)
{
    *out = NULL;
    if (!hub->tokens) return true;
    kith_token *token = m->reg.token ? kith_tokens_find(hub->tokens, m->reg.token, m->reg.token_size) : NULL;
    if (!token) return false;
    if (token->expires_ms != INT64_MAX && hub_unix_ms(hub, now_ns) > (uint64_t)token->expires_ms) return false;
    *out = token;
    return true;
}

static void say_registered(kith_hub_client *client, uint64_t now_ns)
{
    const kith_hub *hub = client->hub;
    const kith_relay_settings *s = &hub->settings;
    kith_relay_message m = {.type = KITH_RELAY_REGISTERED,
                            .registered = {.observed = client->from,
                                           .udp_key = client->udp_key,
                                           .limits = {.sessions = (uint32_t)s->sessions_per_client,
                                                      .bytes_per_second = s->bytes_per_second,
                                                      .idle_ms = (uint32_t)s->idle_ms,
                                                      .session_idle_ms = (uint32_t)s->session_idle_ms,
                                                      .udp_stale_ms = (uint32_t)s->udp_stale_ms,
                                                      .mailboxes = (uint32_t)s->mailboxes_per_client,
                                                      .mailbox_ms = (uint32_t)s->mailbox_ms,
                                                      .message_bytes = (uint32_t)s->message_bytes},
                                           .software = {hub->software, strlen(hub->software)},
                                           .unix_ms = hub_unix_ms(hub, now_ns)}};
    queue_message(client, &m, now_ns);
}

static void enter(kith_hub_client *client, device *d, const kith_relay_message *m, kith_token *token, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    client->stage = REGISTERED;
    client->device = d;
    client->token = token;
    client->heard_ns = now_ns;
    memcpy(client->instance, m->reg.instance, INSTANCE_SIZE);
    kith_list_append(&d->instances, &client->in_device);
    d->count++;
    kith_list_remove(&client->aging);
    kith_list_append(&hub->registered, &client->aging);
    client->source->registrations++;
    hub->stats.registrations++;
    hub->stats.registered++;
    kith_rng_bytes(&hub->rng, client->udp_key, sizeof client->udp_key);
    kith_table_add(&hub->udp_keys, &client->by_udp_key,
                   kith_table_hash(&hub->udp_keys, client->udp_key, sizeof client->udp_key));
    kith_free(client->authority);
    client->authority = NULL;
    say_registered(client, now_ns);
}

/* Whether there is place for one more of this device; what it takes the place of counts no more. */
static bool has_place(kith_hub_client *client, const device *d, const kith_hub_client *old, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    const kith_relay_settings *s = &hub->settings;
    bool same_source = old && old->source == client->source;
    if (hub->stats.registrations - (old != NULL) >= s->registrations)
        limited(client, &hub->stats.registrations_limited, s->idle_ms, now_ns);
    else if (client->source->registrations - same_source >= s->registrations_per_address)
        limited(client, &hub->stats.registrations_address_limited, s->idle_ms, now_ns);
    else if (d && d->count - (old != NULL) >= s->instances_per_device)
        limited(client, &hub->stats.registrations_device_limited, s->idle_ms, now_ns);
    else
        return true;
    return false;
}

void register_message(kith_hub_client *client, const kith_relay_message *m, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    kith_hub_stats *stats = &hub->stats;
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
    uint64_t each_ns = NS_PER_MINUTE / hub->settings.registers_per_minute;
    kith_token *token;
    if (!meter_take(&client->source->registers, each_ns, NS_PER_MINUTE, now_ns)) {
        limited(client, &stats->registers_limited, each_ns / NS_PER_MS + 1, now_ns);
        return;
    }
    if (!client->authority) {
        refuse(client, &stats->authorities_wrong, KITH_RELAY_ERROR_AUTHORITY,
               "this relay does not go by that name: its operator can name it (kith-relay(5))", now_ns);
        return;
    }
    if (!proves_key(client, m)) {
        refuse(client, &stats->signatures_wrong, KITH_RELAY_ERROR_SIGNATURE, "the signature is wrong", now_ns);
        return;
    }
    if (!token_good(hub, m, &token, now_ns)) {
        refuse(client, &stats->tokens_wrong, KITH_RELAY_ERROR_TOKEN,
               "this relay wants a token from its operator, and this is none", now_ns);
        return;
    }
    kith_fingerprint(m->reg.device_id, m->reg.public_key, fingerprint);
    device *d = device_find(hub, fingerprint);
    kith_hub_client *old = d ? instance_of(d, m->reg.instance) : NULL;
    if (!has_place(client, d, old, now_ns)) return;
    if (old) {
        stats->superseded++;
        hub_close(old, KITH_HUB_CLOSE_POLICY, KITH_RELAY_ERROR_SUPERSEDED, "the same instance registered again",
                  now_ns);
        if (client->close_code) return; /* it had a session with the old one, and its queue is full */
        d = device_find(hub, fingerprint);
    }
    if (!d) d = device_make(hub, fingerprint);
    if (d) {
        enter(client, d, m, token, now_ns);
    } else {
        stats->memory_overflows++;
        hub_close(client, KITH_HUB_CLOSE_INTERNAL, 0, NULL, now_ns);
    }
}

void register_end(kith_hub_client *client, uint64_t now_ns)
{
    kith_hub *hub = client->hub;
    device *d = client->device;
    if (client->stage != REGISTERED) return;
    client->device = NULL;
    kith_list_remove(&client->in_device);
    if (--d->count == 0) {
        kith_table_remove(&hub->devices, &d->link);
        kith_free(d);
    }
    kith_table_remove(&hub->udp_keys, &client->by_udp_key);
    client->source->registrations--;
    hub->stats.registrations--;
    mailbox_end_all(client);
    session_end_all(client, now_ns);
}
