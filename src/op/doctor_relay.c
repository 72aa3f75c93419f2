#include "op/doctor.h"

#include <stdio.h>
#include <string.h>

static uint64_t now_of(const doctor_relay *r) { return kith__core_now(r->doctor->op.core); }
static kith_env *env_of(const doctor_relay *r) { return r->doctor->op.core->env; }

void kith__doctor_relay_end(doctor_relay *r)
{
    env_of(r)->ws->close(r->ws);
    kith_relay_client_free(r->client);
    r->ws = NULL;
    r->client = NULL;
    r->over = true;
}

static void fail(doctor_relay *r, kith_err why)
{
    r->why = why;
    kith__doctor_relay_end(r);
}

/* ---- the WebSocket ---- */

static void on_connected(void *user)
{
    doctor_relay *r = user;
    r->connected = true;
    r->remote = env_of(r)->ws->remote(r->ws);
    if (r->client) kith_relay_client_connected(r->client, &r->remote, now_of(r));
    kith__doctor_step(r->doctor);
}

/* What an own node says; others cannot, since the session is with our own fingerprint. */
static void take_data(doctor_relay *r, const kith_relay_data *data)
{
    kith_core *core = r->doctor->op.core;
    uint8_t boot[KITH_SIBLING_BOOT_SIZE];
    if (!data->data || data->session != r->sibling_session || r->sibling_over) return;
    core->env->base->boot_id(core->env, boot);
    r->sibling = kith_sibling_read(core->config.seed, boot, r->instance, data->data, data->size);
    r->sibling_over = r->sibling != KITH_SIBLING_NONE;
}

static void on_message(void *user, uint8_t *bytes, size_t size)
{
    doctor_relay *r = user;
    kith_relay_message message;
    kith_relay_data data;
    if (!r->challenged && !kith_relay_read(bytes, size, &message)) r->challenged = message.type == KITH_RELAY_CHALLENGE;
    if (r->client) {
        kith_relay_client_input(r->client, bytes, size, now_of(r), &data);
        take_data(r, &data);
    } else if (r->challenged) {
        kith__doctor_relay_end(r); /* to go on takes keys */
    } else {
        fail(r, KITH_ERR_PROTOCOL);
    }
    kith__doctor_step(r->doctor);
}

static void on_writable(void *user) { kith__doctor_step(((doctor_relay *)user)->doctor); }

static void on_ended(void *user, kith_err why, unsigned status)
{
    doctor_relay *r = user;
    r->status = status;
    fail(r, why);
    kith__doctor_step(r->doctor);
}

static void dial(doctor_relay *r)
{
    static const kith_ws_events events = {on_connected, on_message, on_writable, on_ended};
    kith_ws_options options = {.url = r->url,
                               .subprotocol = KITH_RELAY_SUBPROTOCOL,
                               .ca_file = r->doctor->op.core->config.relay_ca_file,
                               .timeout_ms = DOCTOR_CONNECT_MS};
    kith_err err = env_of(r)->ws->connect(env_of(r), &options, &events, r, &r->ws);
    if (err) fail(r, err);
}

/* ---- registering ---- */

static kith_err client_new(doctor_relay *r)
{
    kith_core *core = r->doctor->op.core;
    kith_relay_client_config config = {0};
    char authority[KITH_RELAY_AUTHORITY_MAX + 1], host[KITH_URL_HOST_SIZE + 16];
    bool is_ipv6 = strchr(r->server->host, ':') != NULL;
    snprintf(host, sizeof host, is_ipv6 ? "[%s]:%u" : "%s:%u", r->server->host, (unsigned)r->server->port);
    kith_err err = kith_relay_authority(host, strlen(host), authority);
    if (err) return err;
    config.authority = authority;
    memcpy(config.device_id, core->signer.uuid, sizeof config.device_id);
    memcpy(config.public_key, core->signer.public_key, sizeof config.public_key);
    kith_rng_bytes(&core->rng, r->instance, sizeof r->instance);
    memcpy(config.instance, r->instance, sizeof config.instance);
    config.token = (const uint8_t *)core->config.relay_token;
    config.token_size = core->config.relay_token ? strlen(core->config.relay_token) : 0;
    kith_rng_bytes(&core->rng, (uint8_t *)&config.seed, sizeof config.seed);
    return kith_relay_client_new(&config, &r->client);
}

static void ask_sibling(doctor_relay *r)
{
    const uint8_t *own = r->doctor->op.core->signer.fingerprint;
    if (r->sibling_tries++) kith_relay_client_end(r->client, r->sibling_session, false);
    r->sibling_asked_ns = now_of(r);
    if (r->sibling_tries > DOCTOR_SIBLING_TRIES ||
        kith_relay_client_connect(r->client, own, NULL, NULL, 0, NULL, &r->sibling_session))
        r->sibling_over = true;
}

static void registered(doctor_relay *r, const kith_relay_event *event)
{
    kith_env *env = env_of(r);
    r->registered = true;
    r->registered_ns = now_of(r);
    if (event->unix_ms && event->unix_ms <= INT64_MAX) {
        r->has_clock = true;
        r->skew_ms = env->base->wall_ms(env) - (int64_t)event->unix_ms;
    }
    kith_printable((const char *)event->software.data, event->software.size, r->software, sizeof r->software);
    ask_sibling(r);
}

static void react(doctor_relay *r, const kith_relay_event *event)
{
    uint8_t signature[KITH_RELAY_SIGNATURE_SIZE];
    switch (event->kind) {
    case KITH_RELAY_EVENT_DIAL: dial(r); break;
    case KITH_RELAY_EVENT_SIGN:
        kith_ed25519_sign(r->doctor->op.core->config.seed, event->bytes, event->size, signature);
        kith_relay_client_signed(r->client, signature);
        break;
    case KITH_RELAY_EVENT_REGISTERED: registered(r, event); break;
    case KITH_RELAY_EVENT_LOST:
        r->code = event->code;
        fail(r, event->why);
        break;
    case KITH_RELAY_EVENT_INCOMING: kith_relay_client_end(r->client, event->session, true); break;
    case KITH_RELAY_EVENT_GONE:
    case KITH_RELAY_EVENT_LIMITED: r->sibling_over = r->sibling_over || event->session == r->sibling_session; break;
    case KITH_RELAY_EVENT_UDP: r->udp = r->udp || event->on; break;
    default: break;
    }
}

static bool is_done(const doctor_relay *r)
{
    if (!r->registered || !r->sibling_over || !kith_relay_client_rtt_ns(r->client)) return false;
    bool waits = r->doctor->has_sockets && r->remote.family != KITH_FAMILY_NONE;
    return r->udp || !waits || now_of(r) >= r->registered_ns + DOCTOR_BIND_NS;
}

static void send(doctor_relay *r)
{
    kith_env *env = env_of(r);
    uint8_t bind[KITH_RELAY_BIND_SIZE];
    const uint8_t *message;
    size_t size;
    while (r->ws && (message = kith_relay_client_output(r->client, &size))) {
        if (env->ws->send(r->ws, message, size)) break; /* AGAIN: writable comes */
        kith_relay_client_sent(r->client);
    }
    while (r->doctor->has_sockets && kith_relay_client_bind(r->client, bind)) {
        kith_packet packet = {.remote = r->remote, .data = bind, .size = sizeof bind, .segment = sizeof bind};
        if (env->udp->send(r->doctor->sockets[0], &packet)) break; /* lost: it is sent again */
    }
}

void kith__doctor_relay_flush(doctor_relay *r)
{
    kith_relay_event event;
    if (r->over || r->flushing) return;
    r->flushing = true;
    if (r->client) kith_relay_client_expire(r->client, now_of(r));
    while (r->client && kith_relay_client_event(r->client, &event)) react(r, &event);
    if (r->client && r->registered && !r->sibling_over && now_of(r) >= r->sibling_asked_ns + DOCTOR_SIBLING_NS)
        ask_sibling(r);
    if (r->client) send(r);
    if (r->client && is_done(r)) {
        r->rtt_ns = kith_relay_client_rtt_ns(r->client);
        kith__doctor_relay_end(r);
    }
    if (!r->over && now_of(r) >= r->began_ns + DOCTOR_RELAY_NS) fail(r, KITH_ERR_TIMEOUT);
    r->flushing = false;
}

bool kith__doctor_relay_datagram(doctor_relay *r, const kith_addr *from, uint8_t *data, size_t size)
{
    kith_relay_data packets;
    if (!r->client || !kith_addr_equal(&r->remote, from)) return false;
    kith_relay_client_datagram(r->client, data, size, now_of(r), &packets);
    take_data(r, &packets);
    return true;
}

uint64_t kith__doctor_relay_deadline(const doctor_relay *r)
{
    uint64_t at = r->began_ns + DOCTOR_RELAY_NS;
    if (r->over) return NEVER;
    if (r->client && kith_relay_client_deadline_ns(r->client) < at) at = kith_relay_client_deadline_ns(r->client);
    uint64_t bound = r->registered_ns + DOCTOR_BIND_NS;
    if (r->registered && bound > now_of(r) && bound < at) at = bound;
    if (r->registered && !r->sibling_over && r->sibling_asked_ns + DOCTOR_SIBLING_NS < at)
        at = r->sibling_asked_ns + DOCTOR_SIBLING_NS;
    return at;
}

void kith__doctor_relay_start(doctor_relay *r)
{
    kith_env *env = env_of(r);
    r->began_ns = now_of(r);
    kith_err err = env->ws->proxy ? env->ws->proxy(env, r->url, r->proxy, sizeof r->proxy) : KITH_OK;
    if (err) {
        r->bad_proxy = true;
        fail(r, err);
    } else if (!r->doctor->op.core->config.seed) {
        dial(r);
    } else if ((err = client_new(r))) {
        fail(r, err);
    }
}
