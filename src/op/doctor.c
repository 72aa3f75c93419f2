#include "op/doctor.h"
#include "base/mem.h"
#include "op/op.h"

#include <stdio.h>
#include <string.h>

#define STUN_PORT 3478u /* RFC 8489 section 18.6 */

/* ---- end ---- */

static void release(doctor_op *d)
{
    kith_core *core = d->op.core;
    kith_env *env = core->env;
    core->doctor = NULL;
    kith__lan_trial_end(core);
    for (size_t i = 0; i < d->relay_count; i++) kith__doctor_relay_end(&d->relays[i]);
    for (size_t i = 0; i < d->server_count; i++) env->net->cancel(d->servers[i].lookup);
    for (size_t i = 0; i < KITH_NAT_SOCKETS; i++) env->udp->close(d->sockets[i]);
    env->timers->close(d->timer);
    kith_free(d);
}

static void doctor_free(op *o)
{
    doctor_op *d = (doctor_op *)o;
    kith_free(d->home);
    release(d);
}

/* Its job, if it is under way, goes on without it. */
static void doctor_cancel(op *o, kith_err why)
{
    doctor_op *d = (doctor_op *)o;
    if (d->home) d->home->doctor = NULL;
    kith__op_end(o, why, NULL);
    release(d);
}

/* ---- the home: a job ---- */

static void home_run(kith_job *job)
{
    doctor_home *h = (doctor_home *)job;
    kith_env *env = h->core->env;
    kith_home_self self = {0};
    kith_trust *trust = NULL;
    kith_master *master = NULL;
    h->err = kith_home_load(h->core->home, &self, &h->problem);
    if (!h->err) h->created_at_ms = self.created_at_ms;
    if (!h->err) h->err = kith_home_load_trust(h->core->home, &trust, &h->problem);
    if (!h->err) h->err = kith_home_load_master(h->core->home, &master, &h->problem);
    kith_trust_free(trust);
    kith_master_free(master);
    h->has_info = env->file->stat(env, kith_home_folder(h->core->home), true, &h->info) == KITH_OK;
}

static void home_done(kith_job *job)
{
    doctor_home *h = (doctor_home *)job;
    kith_core *core = h->core;
    doctor_op *d = h->doctor;
    if (d) {
        d->at_home = *h;
        d->home = NULL;
    }
    kith_free(h);
    if (d) kith__doctor_step(d);
    kith__core_job_done(core);
}

static kith_err home_begin(doctor_op *d)
{
    doctor_home *h = kith_calloc(1, sizeof *h);
    if (!h) return KITH_ERR_NOMEM;
    *h = (doctor_home){.job = {.run = home_run, .done = home_done}, .core = d->op.core, .doctor = d};
    d->home = h;
    kith__core_submit(d->op.core, &h->job);
    return KITH_OK;
}

/* ---- names ---- */

static void on_resolved(void *user, const kith_addr *addrs, size_t count)
{
    doctor_server *s = user;
    doctor_op *d = s->doctor;
    uint64_t now = kith__core_now(d->op.core);
    s->lookup = NULL;
    for (size_t i = 0; i < count; i++)
        if (!kith_nat_probe_add(&d->probe, &addrs[i], now, &s->asked[s->count])) s->count++;
    kith__doctor_step(d);
}

static doctor_server *server_add(doctor_op *d, const kith_url *url)
{
    doctor_server *s = &d->servers[d->server_count++];
    *s = (doctor_server){.doctor = d, .port = url->port};
    memcpy(s->host, url->host, sizeof s->host);
    return s;
}

/* "HOST", "HOST:PORT", "[IPV6]", "[IPV6]:PORT". */
static bool stun_parse(const char *text, kith_url *out)
{
    char url[KITH_URL_TEXT_SIZE];
    if (strlen(text) >= KITH_URL_HOST_SIZE || strchr(text, '/')) return false;
    snprintf(url, sizeof url, "ws://%s:%u", text, STUN_PORT);
    if (!kith_url_parse(url, out)) return true;
    snprintf(url, sizeof url, "ws://%s", text);
    return kith_url_parse(url, out) == KITH_OK;
}

static void look_up_all(doctor_op *d)
{
    kith_env *env = d->op.core->env;
    for (size_t i = 0; i < d->server_count; i++) {
        doctor_server *s = &d->servers[i];
        if (env->net->resolve(env, s->host, s->port, on_resolved, s, &s->lookup)) s->lookup = NULL;
    }
}

/* ---- sockets ---- */

static void on_datagram(doctor_op *d, size_t socket, const kith_addr *from, uint8_t *data, size_t size)
{
    if (kith_stun_is(data, size)) {
        kith_nat_probe_input(&d->probe, socket, from, data, size, kith__core_now(d->op.core));
        return;
    }
    for (size_t i = 0; i < d->relay_count && !socket; i++)
        if (kith__doctor_relay_datagram(&d->relays[i], from, data, size)) return;
}

static void on_received(void *user, const kith_packet *packets, size_t count)
{
    const struct doctor_socket *s = user;
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < packets[i].size; at += packets[i].segment) {
            size_t left = packets[i].size - at, size = left < packets[i].segment ? left : packets[i].segment;
            on_datagram(s->doctor, s->number, &packets[i].remote, packets[i].data + at, size);
        }
    kith__doctor_step(s->doctor);
}

static void on_writable(void *user) { kith__doctor_step(((struct doctor_socket *)user)->doctor); }

static bool is_carrier_grade(const kith_addr *a) /* 100.64.0.0/10 */
{
    return a->family == KITH_FAMILY_IPV4 && a->ip[0] == 100 && (a->ip[1] & 0xc0) == 64;
}

/* Ports are picked; the addresses are those the node listens on. */
static void open_sockets(doctor_op *d)
{
    static const kith_udp_events events = {.received = on_received, .writable = on_writable};
    kith_env *env = d->op.core->env;
    kith_interface_addr found[KITH_NAT_OWN_MAX];
    kith_addr own[KITH_NAT_OWN_MAX], at = d->op.core->config.listen;
    uint16_t ports[KITH_NAT_SOCKETS] = {0};
    uint8_t random[KITH_NAT_RANDOM_SIZE];
    if (at.family == KITH_FAMILY_NONE) at.family = KITH_FAMILY_IPV6; /* both */
    at.port = 0;
    d->has_sockets = true;
    for (size_t i = 0; i < KITH_NAT_SOCKETS; i++) {
        d->numbered[i] = (struct doctor_socket){.doctor = d, .number = i};
        if (env->udp->open(env, &at, &events, &d->numbered[i], &d->sockets[i]))
            d->has_sockets = false;
        else
            ports[i] = env->udp->local(d->sockets[i]).port;
    }
    size_t count = env->net->addresses(env, found, KITH_NAT_OWN_MAX);
    if (count > KITH_NAT_OWN_MAX) count = KITH_NAT_OWN_MAX;
    for (size_t i = 0; i < count; i++) {
        own[i] = found[i].addr;
        bool global = own[i].family == KITH_FAMILY_IPV6 && !kith_addr_is_local(&own[i]);
        d->has_ipv6 = d->has_ipv6 || global;
        d->carrier_grade = d->carrier_grade || is_carrier_grade(&own[i]);
    }
    kith_rng_bytes(&d->op.core->rng, random, sizeof random);
    kith_nat_probe_init(&d->probe, own, count, ports, random);
}

static void send_questions(doctor_op *d)
{
    kith_core *core = d->op.core;
    kith_nat_send send;
    uint64_t now = kith__core_now(core);
    while (kith_nat_probe_output(&d->probe, &send, now)) {
        kith_packet packet = {.remote = send.to, .data = send.data, .size = send.size, .segment = send.size};
        kith_err err = d->has_sockets ? core->env->udp->send(d->sockets[send.socket], &packet) : KITH_ERR_NETWORK;
        if (err && err != KITH_ERR_AGAIN) kith_nat_probe_unsendable(&d->probe, send.question, now);
    }
}

/* ---- waiting ---- */

static bool look_ups_over(doctor_op *d, uint64_t now)
{
    bool over = true;
    for (size_t i = 0; i < d->server_count; i++) {
        doctor_server *s = &d->servers[i];
        if (s->lookup && now >= d->began_ns + DOCTOR_NAME_NS) {
            d->op.core->env->net->cancel(s->lookup);
            s->lookup = NULL;
            s->late = true;
        }
        over = over && !s->lookup;
    }
    return over;
}

/* Others are waited for, since whether they are heard is what counts. */
static void look_at_lan(doctor_op *d, uint64_t now)
{
    if (d->lan_over) return;
    kith__lan_census(d->op.core, &d->lan);
    d->lan_over = !d->lan.usable || now >= d->began_ns + DOCTOR_LAN_NS;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void set_timer(doctor_op *d)
{
    uint64_t at = least(d->began_ns + DOCTOR_LIMIT_NS, kith_nat_probe_deadline_ns(&d->probe));
    for (size_t i = 0; i < d->server_count; i++)
        if (d->servers[i].lookup) at = least(at, d->began_ns + DOCTOR_NAME_NS);
    for (size_t i = 0; i < d->relay_count; i++) at = least(at, kith__doctor_relay_deadline(&d->relays[i]));
    if (!d->lan_over) at = least(at, d->began_ns + DOCTOR_LAN_NS);
    d->op.core->env->timers->set(d->timer, at);
}

void kith__doctor_step(doctor_op *d)
{
    kith_core *core = d->op.core;
    uint64_t now = kith__core_now(core);
    bool over = true;
    if (look_ups_over(d, now) && !d->probe.complete) kith_nat_probe_complete(&d->probe, now);
    kith_nat_probe_expire(&d->probe, now);
    send_questions(d);
    for (size_t i = 0; i < d->relay_count; i++) {
        kith__doctor_relay_flush(&d->relays[i]);
        over = over && d->relays[i].over;
    }
    look_at_lan(d, now);
    over = over && kith_nat_probe_over(&d->probe) && d->lan_over && !d->home;
    if (!over && now < d->began_ns + DOCTOR_LIMIT_NS) {
        set_timer(d);
        return;
    }
    kith__doctor_say(d);
    doctor_cancel(&d->op, KITH_OK);
}

static void on_timer(void *user)
{
    doctor_op *d = user;
    kith_core *core = d->op.core;
    kith__doctor_step(d);
    kith__core_pump(core);
}

/* ---- beginning ---- */

/* False, with the name: it is none. */
static bool take_servers(doctor_op *d, const kith_doctor_options *options, const char **wrong)
{
    const kith_core_config *config = &d->op.core->config;
    kith_url url;
    for (size_t i = 0; i < config->relay_count && i < KITH_RELAYS_MAX; i++) {
        *wrong = config->relays[i];
        if (kith_url_parse(config->relays[i], &url)) return false;
        d->relays[d->relay_count++] =
            (doctor_relay){.doctor = d, .url = config->relays[i], .server = server_add(d, &url)};
    }
    for (size_t i = 0; i < options->stun_count; i++) {
        *wrong = options->stun[i];
        if (!stun_parse(options->stun[i], &url)) return false;
        (void)server_add(d, &url);
    }
    return true;
}

static void begin(doctor_op *d)
{
    kith_core *core = d->op.core;
    d->began_ns = kith__core_now(core);
    open_sockets(d);
    if (d->has_sockets) kith__lan_trial(core, core->env->udp->local(d->sockets[0]).port);
    look_up_all(d);
    for (size_t i = 0; i < d->relay_count; i++) kith__doctor_relay_start(&d->relays[i]);
    kith__doctor_step(d);
}

void kith_core_doctor(kith_core *core, kith_op id, const kith_doctor_options *options)
{
    static const op_kind kind = {.name = "doctor", .cancel = doctor_cancel, .free = doctor_free};
    char message[sizeof((kith_event *)NULL)->message];
    const char *wrong;
    if (core->doctor) {
        kith__core_refuse(core, id, KITH_ERR_STATE, "an examination is under way already");
        return;
    }
    doctor_op *d = kith_calloc(1, sizeof *d);
    if (d) d->timer = core->env->timers->open(core->env, on_timer, d);
    if (!d || !d->timer) {
        kith_free(d);
        kith__core_refuse(core, id, KITH_ERR_NOMEM, NULL);
        return;
    }
    if (!kith__core_begin(core, &d->op, id, &kind)) {
        core->env->timers->close(d->timer);
        kith_free(d);
        return;
    }
    core->doctor = d;
    if (!take_servers(d, options, &wrong)) {
        snprintf(message, sizeof message, "not the address of a server: %.200s (write HOST:PORT)", wrong);
        kith__op_end(&d->op, KITH_ERR_ARG, message);
        release(d);
    } else if (home_begin(d)) {
        doctor_cancel(&d->op, KITH_ERR_NOMEM);
    } else {
        begin(d);
    }
}
