#include "path/relay_client.h"

#include "base/mem.h"
#include "path/relay_internal.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)
#define RTT_SHARE 8 /* RFC 6298: a sample's weight is an eighth */

typedef struct queued {
    kith_link link;
    size_t size;
    uint8_t bytes[];
} queued;

/* splitmix64 (Steele, Lea and Flood 2014): it spreads clients out, and nothing depends on its being secret. */
uint64_t kith__relay_random(kith_relay_client *client, uint64_t below)
{
    uint64_t z = client->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return below ? z % below : 0;
}

static uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- what comes out ---- */

void kith__relay_say(kith_relay_client *client, const kith_relay_event *event)
{
    if (client->event_count == KITH_RELAY_CLIENT_EVENTS) return; /* against the rule in the header */
    client->events[(client->event_first + client->event_count++) % KITH_RELAY_CLIENT_EVENTS] = *event;
}

bool kith_relay_client_event(kith_relay_client *client, kith_relay_event *out)
{
    if (!client->event_count) return false;
    *out = client->events[client->event_first];
    client->event_first = (client->event_first + 1) % KITH_RELAY_CLIENT_EVENTS;
    client->event_count--;
    return true;
}

kith_err kith__relay_put(kith_relay_client *client, const kith_relay_message *message)
{
    uint8_t bytes[KITH_RELAY_CONTROL_MAX];
    size_t size = kith_relay_write(message, bytes, sizeof bytes);
    if (!size) return KITH_ERR_ARG;
    if (client->out_size + size > KITH_RELAY_CLIENT_QUEUE_MAX) return KITH_ERR_LIMIT;
    queued *q = kith_malloc(sizeof *q + size);
    if (!q) return KITH_ERR_NOMEM;
    q->link = (kith_link){0};
    q->size = size;
    memcpy(q->bytes, bytes, size);
    kith_list_append(&client->out, &q->link);
    client->out_size += size;
    return KITH_OK;
}

const uint8_t *kith_relay_client_output(const kith_relay_client *client, size_t *size)
{
    if (client->out.head.next == &client->out.head) return NULL;
    const queued *q = KITH_OF(client->out.head.next, queued, link);
    *size = q->size;
    return q->bytes;
}

void kith_relay_client_sent(kith_relay_client *client)
{
    kith_link *link = kith_list_take_first(&client->out);
    if (!link) return;
    queued *q = KITH_OF(link, queued, link);
    client->out_size -= q->size;
    kith_free(q);
}

/* ---- its life ---- */

static void dial(kith_relay_client *client)
{
    client->state = RELAY_DIALLING;
    client->asked_ns = 0;
    client->restarting = client->refused = false;
    client->code = 0;
    kith__relay_say(client, &(kith_relay_event){.kind = KITH_RELAY_EVENT_DIAL});
}

kith_err kith_relay_client_new(const kith_relay_client_config *config, kith_relay_client **out)
{
    size_t size = config->authority ? strlen(config->authority) : 0;
    if (!size || size > KITH_RELAY_AUTHORITY_MAX || config->token_size > KITH_RELAY_TOKEN_MAX) return KITH_ERR_ARG;
    kith_relay_client *client = kith_calloc(1, sizeof *client);
    if (!client) return KITH_ERR_NOMEM;
    memcpy(client->authority, config->authority, size + 1);
    memcpy(client->device_id, config->device_id, sizeof client->device_id);
    memcpy(client->public_key, config->public_key, sizeof client->public_key);
    memcpy(client->instance, config->instance, sizeof client->instance);
    if (config->token) {
        memcpy(client->token, config->token, config->token_size);
        client->token_size = config->token_size;
    }
    client->random = config->seed;
    client->next_session = 1;
    kith_list_init(&client->out);
    dial(client);
    *out = client;
    return KITH_OK;
}

void kith_relay_client_free(kith_relay_client *client)
{
    if (!client) return;
    while (!kith_list_empty(&client->out)) kith_relay_client_sent(client);
    kith_wipe(client->token, sizeof client->token);
    kith_free(client);
}

/* ---- coming back ---- */

static uint64_t spread(const kith_relay_client *client)
{
    uint64_t most = KITH_RELAY_SPREAD_NS;
    if (client->refused) return KITH_RELAY_REFUSED_NS;
    for (unsigned i = 0; i < client->attempts && most < KITH_RELAY_SPREAD_MAX_NS; i++) most *= 2;
    return least(most, KITH_RELAY_SPREAD_MAX_NS);
}

/* When.  A window begins where the one before ended, so that of all who lost their relay at once no more come in a
 * second than an even spread over the first window makes, whenever it is there again. */
static uint64_t when_back(kith_relay_client *client, uint64_t now_ns)
{
    uint64_t from = client->asked_ns > now_ns ? client->asked_ns : now_ns;
    if (client->restarting) return from; /* it was drawn when the relay said so */
    if (client->kicked && !client->refused) return from;
    if (client->quick && from == now_ns && !client->refused)
        return sum(now_ns, KITH_RELAY_QUICK_NS << (KITH_RELAY_QUICK_TRIES - client->quick--));
    if (client->refused) from = sum(from, KITH_RELAY_REFUSED_LEAST_NS);
    if (client->window_end_ns > from) from = client->window_end_ns;
    client->window_end_ns = sum(from, spread(client));
    return sum(from, kith__relay_random(client, spread(client)));
}

static void forgive(kith_relay_client *client)
{
    client->attempts = 0;
    client->window_end_ns = 0;
    client->needs = 0;
    client->need_end_ns = 0;
}

static void go_away(kith_relay_client *client, kith_err why, uint64_t now_ns)
{
    bool stable = client->state == RELAY_REGISTERED && now_ns - client->registered_ns >= KITH_RELAY_STABLE_NS;
    if (stable) forgive(client);
    bool counts = !client->kicked && !client->quick;
    client->state = RELAY_AWAY;
    client->come_back_ns = when_back(client, now_ns);
    client->kicked = client->doubted = false;
    if (counts && client->attempts < UINT16_MAX) client->attempts++;
    client->to_sign_size = 0;
    client->pinged_ns = 0;
    kith__relay_sessions_forget(client);
    kith__relay_udp_stop(client);
    while (!kith_list_empty(&client->out)) kith_relay_client_sent(client);
    kith__relay_say(
        client, &(kith_relay_event){
                    .kind = KITH_RELAY_EVENT_LOST, .why = why, .code = client->code, .at_ns = client->come_back_ns});
}

void kith__relay_hang_up(kith_relay_client *client, kith_err why, uint64_t now_ns)
{
    kith__relay_say(client, &(kith_relay_event){.kind = KITH_RELAY_EVENT_HANGUP});
    go_away(client, why, now_ns);
}

void kith_relay_client_connected(kith_relay_client *client, const kith_addr *udp, uint64_t now_ns)
{
    if (client->state != RELAY_DIALLING) return;
    client->state = RELAY_CHALLENGED;
    client->register_by_ns = sum(now_ns, KITH_RELAY_REGISTER_NS);
    client->heard_ns = now_ns;
    client->udp = (relay_udp){.remote = *udp, .counter = kith__relay_random(client, UINT64_C(1) << 62)};
}

void kith_relay_client_ended(kith_relay_client *client, kith_err why, uint64_t now_ns)
{
    if (client->state != RELAY_AWAY) go_away(client, why, now_ns);
}

/* ---- registering ---- */

static bool on_challenge(kith_relay_client *client, const kith_relay_message *message)
{
    if (client->state != RELAY_CHALLENGED || client->to_sign_size) return false;
    if (message->challenge.version != KITH_RELAY_VERSION) return false;
    client->to_sign_size = kith_relay_signed(message->challenge.nonce, client->authority, client->device_id,
                                             client->instance, client->to_sign);
    kith__relay_say(client, &(kith_relay_event){
                                .kind = KITH_RELAY_EVENT_SIGN, .bytes = client->to_sign, .size = client->to_sign_size});
    return client->to_sign_size > 0;
}

/* A REGISTER that could not be queued shows as a time-out. */
void kith_relay_client_signed(kith_relay_client *client, const uint8_t signature[static KITH_RELAY_SIGNATURE_SIZE])
{
    if (client->state != RELAY_CHALLENGED || !client->to_sign_size) return;
    kith_relay_message message = {.type = KITH_RELAY_REGISTER,
                                  .reg = {.device_id = client->device_id,
                                          .public_key = client->public_key,
                                          .instance = client->instance,
                                          .signature = signature,
                                          .token = client->token_size ? client->token : NULL,
                                          .token_size = client->token_size}};
    (void)kith__relay_put(client, &message);
}

static uint64_t pong_soon(const kith_relay_client *client)
{
    uint64_t rtts = 4 * client->rtt_ns;
    return rtts > KITH_RELAY_SOON_PONG_NS ? least(rtts, KITH_RELAY_PONG_NS) : KITH_RELAY_SOON_PONG_NS;
}

static void ping(kith_relay_client *client, uint64_t now_ns)
{
    uint64_t bytes = kith__relay_random(client, UINT64_MAX);
    memcpy(client->ping, &bytes, sizeof client->ping);
    kith_relay_message message = {.type = KITH_RELAY_PING, .ping = {.bytes = client->ping}};
    client->pinged_ns = client->last_ping_ns = now_ns;
    client->pong_by_ns = sum(now_ns, client->doubted ? pong_soon(client) : KITH_RELAY_PONG_NS);
    (void)kith__relay_put(client, &message); /* else it counts as lost */
}

uint64_t kith__relay_often(uint64_t wanted_ns, uint64_t usual_ns)
{
    if (!wanted_ns || wanted_ns > usual_ns) return usual_ns;
    return wanted_ns < KITH_RELAY_OFTEN_NS ? KITH_RELAY_OFTEN_NS : wanted_ns;
}

/* Half of what the relay allows, so that one that is lost does not end it. */
static uint64_t ping_every(const kith_relay_client *client)
{
    return kith__relay_often(client->limits.idle_ms * NS_PER_MS / 2, KITH_RELAY_PING_NS);
}

static bool on_registered(kith_relay_client *client, const kith_relay_message *message, uint64_t now_ns)
{
    if (client->state != RELAY_CHALLENGED || !client->to_sign_size) return false;
    client->state = RELAY_REGISTERED;
    client->quick = 0;
    client->to_sign_size = 0;
    client->registered_ns = now_ns;
    client->limits = message->registered.limits;
    client->rtt_ns = client->min_rtt_ns = 0;
    memcpy(client->udp.key, message->registered.udp_key, sizeof client->udp.key);
    kith__relay_say(client, &(kith_relay_event){.kind = KITH_RELAY_EVENT_REGISTERED,
                                                .observed = message->registered.observed,
                                                .limits = client->limits,
                                                .unix_ms = message->registered.unix_ms,
                                                .software = message->registered.software});
    ping(client, now_ns);
    client->ping_at_ns = sum(now_ns, ping_every(client));
    kith__relay_udp_start(client, now_ns);
    return true;
}

/* ---- the rest of what it says ---- */

static void on_pong(kith_relay_client *client, const kith_relay_message *message, uint64_t now_ns)
{
    if (!client->pinged_ns || memcmp(message->ping.bytes, client->ping, sizeof client->ping) != 0) return;
    uint64_t sample = now_ns - client->pinged_ns;
    if (!sample) sample = 1;
    client->pinged_ns = 0;
    client->quick = 0;
    client->kicked = client->doubted = false;
    client->rtt_ns = client->rtt_ns ? client->rtt_ns - client->rtt_ns / RTT_SHARE + sample / RTT_SHARE : sample;
    if (!client->min_rtt_ns || sample < client->min_rtt_ns) client->min_rtt_ns = sample;
}

/* A time to wait until, and a random part of as much again, or of `spread` if that is more: a relay need not know how
 * many clients it has. */
static uint64_t asked_until(kith_relay_client *client, uint64_t after_ms, uint64_t spread_ns, uint64_t now_ns)
{
    uint64_t after =
        after_ms > KITH_RELAY_COME_BACK_MAX_NS / NS_PER_MS ? KITH_RELAY_COME_BACK_MAX_NS : after_ms * NS_PER_MS;
    return sum(now_ns, after + kith__relay_random(client, after > spread_ns ? after : spread_ns));
}

static void on_restarting(kith_relay_client *client, const kith_relay_message *message, uint64_t now_ns)
{
    client->restarting = true;
    client->asked_ns = asked_until(client, message->restarting.after_ms, KITH_RELAY_SPREAD_NS, now_ns);
    kith__relay_say(client, &(kith_relay_event){.kind = KITH_RELAY_EVENT_RESTARTING, .at_ns = client->asked_ns});
}

/* Of a session or a mailbox, or of the whole connection, which the relay ends then. */
static void on_limited(kith_relay_client *client, const kith_relay_message *message, uint64_t now_ns)
{
    bool of_all = !message->rate_limited.has_session && !message->rate_limited.has_tag;
    uint64_t spread_ns = of_all ? KITH_RELAY_SPREAD_NS : KITH_RELAY_OFTEN_NS;
    uint64_t until = asked_until(client, message->rate_limited.retry_after_ms, spread_ns, now_ns);
    kith_relay_event event = {.kind = KITH_RELAY_EVENT_LIMITED,
                              .code = message->rate_limited.limit,
                              .at_ns = until,
                              .has_session = message->rate_limited.has_session,
                              .has_tag = message->rate_limited.has_tag,
                              .session = message->session,
                              .tag = message->tag};
    if (event.has_session) {
        relay_session *session = kith__relay_session(client, message->session);
        if (!session) return;
        *session = (relay_session){0};
    } else if (!event.has_tag) {
        client->asked_ns = until;
    }
    kith__relay_say(client, &event);
}

static kith_err error_reason(uint64_t code)
{
    switch (code) {
    case KITH_RELAY_ERROR_TOKEN: return KITH_ERR_NOT_ALLOWED;
    case KITH_RELAY_ERROR_VERSION: return KITH_ERR_VERSION;
    case KITH_RELAY_ERROR_SIGNATURE: return KITH_ERR_SIGNATURE;
    case KITH_RELAY_ERROR_AUTHORITY: return KITH_ERR_WRONG_DEVICE;
    case KITH_RELAY_ERROR_TIMEOUT: return KITH_ERR_TIMEOUT;
    case KITH_RELAY_ERROR_PROTOCOL: return KITH_ERR_PROTOCOL;
    default: return KITH_ERR_CLOSED;
    }
}

/* Its last message.  Two nodes of one instance would throw each other out for ever: who was superseded waits, too. */
static void on_error(kith_relay_client *client, const kith_relay_message *message, uint64_t now_ns)
{
    client->code = message->error.code;
    client->refused = client->code == KITH_RELAY_ERROR_VERSION || client->code == KITH_RELAY_ERROR_SIGNATURE ||
                      client->code == KITH_RELAY_ERROR_AUTHORITY || client->code == KITH_RELAY_ERROR_TOKEN ||
                      client->code == KITH_RELAY_ERROR_SUPERSEDED;
    kith__relay_hang_up(client, error_reason(client->code), now_ns);
}

static bool on_ping(kith_relay_client *client, const kith_relay_message *message)
{
    kith_relay_message pong = {.type = KITH_RELAY_PONG, .ping = message->ping};
    (void)kith__relay_put(client, &pong); /* a relay that asks more than it reads gets no answer */
    return true;
}

static bool dispatch(kith_relay_client *client, const kith_relay_message *message, uint64_t now_ns,
                     kith_relay_data *data)
{
    switch (message->type) {
    case KITH_RELAY_CHALLENGE: return on_challenge(client, message);
    case KITH_RELAY_REGISTERED: return on_registered(client, message, now_ns);
    case KITH_RELAY_PING: return on_ping(client, message);
    case KITH_RELAY_PONG: on_pong(client, message, now_ns); return true;
    case KITH_RELAY_RESTARTING: on_restarting(client, message, now_ns); return true;
    case KITH_RELAY_RATE_LIMITED: on_limited(client, message, now_ns); return true;
    case KITH_RELAY_ERROR: on_error(client, message, now_ns); return true;
    case KITH_RELAY_MAILBOX:
        kith__relay_say(
            client,
            &(kith_relay_event){.kind = KITH_RELAY_EVENT_MAILBOX, .tag = message->tag, .code = message->mailbox.state});
        return client->state == RELAY_REGISTERED;
    case KITH_RELAY_CONNECTED:
    case KITH_RELAY_INCOMING:
    case KITH_RELAY_GONE:
    case KITH_RELAY_DATA: return client->state == RELAY_REGISTERED && kith__relay_session_input(client, message, data);
    default: return false; /* a client's own messages */
    }
}

void kith_relay_client_input(kith_relay_client *client, uint8_t *bytes, size_t size, uint64_t now_ns,
                             kith_relay_data *data)
{
    kith_relay_message message;
    *data = (kith_relay_data){0};
    if (client->state < RELAY_CHALLENGED) return;
    client->heard_ns = now_ns;
    kith_err err = kith_relay_read(bytes, size, &message);
    if (err == KITH_ERR_UNSUPPORTED) return;
    if ((err || !dispatch(client, &message, now_ns, data)) && client->state != RELAY_AWAY)
        kith__relay_hang_up(client, KITH_ERR_PROTOCOL, now_ns);
}

/* ---- time ---- */

uint64_t kith_relay_client_deadline_ns(const kith_relay_client *client)
{
    uint64_t at = client->ping_at_ns;
    switch (client->state) {
    case RELAY_AWAY: return client->come_back_ns;
    case RELAY_DIALLING: return UINT64_MAX;
    case RELAY_CHALLENGED: return client->register_by_ns;
    case RELAY_REGISTERED: break;
    }
    if (client->pinged_ns) at = least(at, client->pong_by_ns);
    if (client->restarting) at = least(at, client->asked_ns);
    return least(at, kith__relay_udp_deadline(client));
}

static void expire_registered(kith_relay_client *client, uint64_t now_ns)
{
    if (client->restarting && client->asked_ns <= now_ns) {
        kith__relay_hang_up(client, KITH_ERR_CLOSED, now_ns);
        return;
    }
    if (client->pinged_ns && client->pong_by_ns <= now_ns) {
        if (client->heard_ns <= client->pinged_ns) {
            kith__relay_hang_up(client, KITH_ERR_LOST, now_ns);
            return;
        }
        client->pinged_ns = 0; /* it talks, and answers late or not at all: no sample */
        client->kicked = client->doubted = false;
    }
    if (client->ping_at_ns <= now_ns) {
        ping(client, now_ns);
        client->ping_at_ns = sum(now_ns, ping_every(client));
    }
    kith__relay_udp_expire(client, now_ns);
}

void kith_relay_client_expire(kith_relay_client *client, uint64_t now_ns)
{
    if (client->state == RELAY_CHALLENGED && client->register_by_ns <= now_ns) {
        kith__relay_hang_up(client, KITH_ERR_TIMEOUT, now_ns);
    } else if (client->state == RELAY_REGISTERED) {
        expire_registered(client, now_ns);
    }
    if (client->state == RELAY_AWAY && client->come_back_ns <= now_ns) dial(client);
}

void kith_relay_client_kick(kith_relay_client *client, uint64_t now_ns)
{
    forgive(client);
    client->quick = KITH_RELAY_QUICK_TRIES;
    if (client->state == RELAY_AWAY && !client->asked_ns && !client->refused) {
        client->come_back_ns = now_ns;
    } else if (client->state == RELAY_DIALLING || client->state == RELAY_CHALLENGED) {
        client->kicked = true;
        kith__relay_hang_up(client, KITH_ERR_LOST, now_ns); /* it was dialled from what may be gone */
    } else if (client->state == RELAY_REGISTERED) {
        client->kicked = true;
        ping(client, now_ns);
        client->pong_by_ns = sum(now_ns, pong_soon(client));
        client->ping_at_ns = sum(now_ns, ping_every(client));
        kith__relay_udp_start(client, now_ns);
    }
}

void kith_relay_client_want(kith_relay_client *client, uint64_t now_ns)
{
    if (client->state != RELAY_AWAY || client->asked_ns > now_ns || client->refused) return;
    if (client->come_back_ns > sum(now_ns, KITH_RELAY_SPREAD_NS))
        client->come_back_ns = sum(now_ns, kith__relay_random(client, KITH_RELAY_SPREAD_NS));
}

/* Windows as in when_back, but narrower. */
void kith_relay_client_need(kith_relay_client *client, uint64_t now_ns)
{
    if (client->state != RELAY_AWAY || client->asked_ns > now_ns || client->refused) return;
    uint64_t from = client->need_end_ns > now_ns ? client->need_end_ns : now_ns, wide = KITH_RELAY_NEED_NS;
    for (unsigned i = 0; i < client->needs && wide < KITH_RELAY_SPREAD_NS; i++) wide *= 2;
    wide = least(wide, KITH_RELAY_SPREAD_NS);
    client->needs++;
    client->need_end_ns = sum(from, wide);
    client->come_back_ns = least(client->come_back_ns, sum(from, kith__relay_random(client, wide)));
}

void kith_relay_client_doubt(kith_relay_client *client, uint64_t now_ns)
{
    if (client->state != RELAY_REGISTERED) return;
    kith__relay_udp_doubt(client, now_ns);
    if (client->pinged_ns && client->heard_ns > client->pinged_ns) return; /* it talks */
    if (!client->rtt_ns) return; /* the first ping is under way, and how long it takes is not known */
    client->doubted = true;
    if (client->pinged_ns)
        client->pong_by_ns = least(client->pong_by_ns, sum(now_ns, pong_soon(client)));
    else if (sum(client->last_ping_ns, KITH_RELAY_OFTEN_NS) <= now_ns)
        ping(client, now_ns);
    else
        client->ping_at_ns = least(client->ping_at_ns, sum(client->last_ping_ns, KITH_RELAY_OFTEN_NS));
}

bool kith_relay_client_is_registered(const kith_relay_client *client) { return client->state == RELAY_REGISTERED; }
bool kith_relay_client_is_refused(const kith_relay_client *client)
{
    return client->state == RELAY_AWAY && client->refused;
}
bool kith_relay_client_uses_udp(const kith_relay_client *client) { return client->udp.on; }
uint64_t kith_relay_client_rtt_ns(const kith_relay_client *client) { return client->rtt_ns; }
uint64_t kith_relay_client_min_rtt_ns(const kith_relay_client *client) { return client->min_rtt_ns; }
