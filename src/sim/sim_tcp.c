/* Byte streams: listeners and connections as a process sees them. */
#include "sim/sim_tcp.h"

#include "base/mem.h"

#define EPHEMERAL_FIRST 32768u
#define EPHEMERAL_COUNT 28232u
#define TELL_DELAY_NS   50000u      /* at most, until an owner hears; more bytes may join those that are there */
#define WRITABLE_NS     KITH_SIM_MS /* at most, after a send that took less than it could */

/* ---- ports ---- */

kith_listener *kith__sim_listener_at(const kith_sim_host *host, const kith_addr *addr)
{
    KITH_EACH (link, &host->listeners) {
        kith_listener *listener = KITH_OF(link, kith_listener, host_link);
        if (listener->local.port != addr->port) continue;
        if (listener->any || kith_addr_same_ip(&listener->local, addr)) return listener;
    }
    return NULL;
}

static bool taken(const kith_sim_host *host, bool any, const kith_addr *local, unsigned port)
{
    KITH_EACH (link, &host->listeners) {
        const kith_listener *listener = KITH_OF(link, kith_listener, host_link);
        if (listener->local.port != port) continue;
        if (listener->any || any || kith_addr_same_ip(&listener->local, local)) return true;
    }
    return false;
}

/* Connections do not bar a port from being listened on (SO_REUSEADDR), but from being picked. */
static uint16_t pick_port(const kith_sim_host *host)
{
    uint64_t start = kith__sim_rng_below(&host->sim->rng, EPHEMERAL_COUNT);
    for (unsigned i = 0; i < EPHEMERAL_COUNT; i++) {
        unsigned port = EPHEMERAL_FIRST + (unsigned)((start + i) % EPHEMERAL_COUNT);
        bool used = taken(host, true, NULL, port);
        KITH_EACH (link, &host->tcps) used = used || KITH_OF(link, kith_tcp, host_link)->local.port == port;
        if (!used) return (uint16_t)port;
    }
    return 0;
}

/* ---- listening ---- */

static kith_err tcp_listen(kith_env *env, const kith_addr *bind, void (*accepted)(void *user, kith_tcp *tcp),
                           void *user, kith_listener **out)
{
    sim_process *process = sim_process_of(env);
    kith_sim_host *host = process->host;
    bool any = bind->family == KITH_FAMILY_NONE || kith_addr_is_any(bind);
    if (process->dead || (!any && !kith__sim_host_has(host, bind))) return KITH_ERR_NETWORK;
    kith_addr local = any ? (kith_addr){.family = KITH_FAMILY_IPV6, .port = bind->port} : *bind;
    if (!local.port) local.port = pick_port(host);
    if (!local.port || taken(host, any, &local, local.port)) return KITH_ERR_ADDRESS_IN_USE;
    kith_listener *listener = kith_calloc(1, sizeof *listener);
    if (!listener) return KITH_ERR_NOMEM;
    listener->process = process;
    listener->local = local;
    listener->any = any;
    listener->accepted = accepted;
    listener->user = user;
    kith_list_append(&process->listeners, &listener->link);
    kith_list_append(&host->listeners, &listener->host_link);
    kith__sim_note(process->sim, "listen", host, local.port, NULL, 0);
    *out = listener;
    return KITH_OK;
}

/* Nobody will take those that wait to be accepted. */
static void deafen(kith_listener *listener)
{
    KITH_EACH (link, &listener->process->host->tcps) {
        kith_tcp *tcp = KITH_OF(link, kith_tcp, host_link);
        if (tcp->listener == listener) kith__sim_tcp_abort(tcp);
    }
    kith_list_remove(&listener->host_link);
}

static void tcp_unlisten(kith_listener *listener)
{
    if (!listener) return;
    deafen(listener);
    kith_list_remove(&listener->link);
    kith_free(listener);
}

/* ---- what the owner hears ---- */

typedef enum sim_news { SIM_NOTHING, SIM_ACCEPTED, SIM_CONNECTED, SIM_BYTES, SIM_WRITABLE, SIM_ENDED } sim_news;

static sim_news news(const kith_tcp *tcp)
{
    bool gone = tcp->state == SIM_GONE, bytes = tcp->in.size && !tcp->stalled, writable;
    if (tcp->process->dead || tcp->told) return SIM_NOTHING;
    if (tcp->listener && tcp->state == SIM_OPEN) return SIM_ACCEPTED;
    if (!tcp->held || !tcp->attached) return SIM_NOTHING;
    if (tcp->tell_connected) return SIM_CONNECTED;
    if (!tcp->in.size && (gone || tcp->in_fin)) return SIM_ENDED;
    /* Once gone: to be told so by the next send. */
    writable = tcp->want_writable && tcp->writable_ns <= tcp->process->sim->now_ns;
    if (!gone) writable = writable && tcp->state == SIM_OPEN && kith__sim_tcp_unsent(tcp) <= KITH_TCP_UNSENT_MAX / 2;
    if (bytes && writable) return kith__sim_rng_below(&tcp->process->sim->rng, 2) ? SIM_BYTES : SIM_WRITABLE;
    return bytes ? SIM_BYTES : writable ? SIM_WRITABLE : SIM_NOTHING;
}

void kith__sim_tcp_tell_at(kith_tcp *tcp, uint64_t at_ns)
{
    if (tcp->tell.slot && tcp->tell.at_ns <= at_ns) return;
    kith__sim_event_at(tcp->process->sim, &tcp->tell, at_ns);
}

void kith__sim_tcp_tell(kith_tcp *tcp)
{
    kith_sim *sim = tcp->process->sim;
    bool later = kith__sim_rng_below(&sim->rng, 4) == 0;
    kith__sim_tcp_tell_at(tcp, sim->now_ns + (later ? kith__sim_rng_below(&sim->rng, TELL_DELAY_NS) : 0));
}

/* From a single byte to all of them. */
static size_t piece(sim_rng *rng, size_t most)
{
    switch (kith__sim_rng_below(rng, 8)) {
    case 0: return 1;
    case 1: return 1 + (size_t)kith__sim_rng_below(rng, most < 100 ? most : 100);
    case 2:
    case 3: return 1 + (size_t)kith__sim_rng_below(rng, most);
    default: return most;
    }
}

static void tell_bytes(kith_sim *sim, kith_tcp *tcp)
{
    size_t size = 0;
    sim->asked = tcp;
    uint8_t *room = tcp->events.room(tcp->user, &size);
    bool here = sim->asked == tcp && !tcp->process->dead;
    sim->asked = NULL;
    if (!here) return;
    if (!room || !size) {
        tcp->stalled = true;
        kith__sim_note(sim, "stall", tcp->process->host, tcp->in.size, NULL, 0);
        kith__sim_tcp_tell(tcp); /* there may be other news */
        return;
    }
    size = piece(&sim->rng, size < tcp->in.size ? size : tcp->in.size);
    memcpy(room, tcp->in.data + tcp->in.start, size);
    kith__sim_note(sim, "bytes", tcp->process->host, size, room, size);
    kith__sim_tcp_was_read(tcp, size);
    kith__sim_tcp_tell(tcp);
    tcp->events.received(tcp->user, size);
}

static void tell_accepted(kith_sim *sim, kith_tcp *tcp)
{
    kith_listener *listener = tcp->listener;
    tcp->listener = NULL;
    tcp->held = true;
    kith_list_append(&tcp->process->tcps, &tcp->link);
    kith__sim_note(sim, "accept", tcp->process->host, tcp->remote.port, NULL, 0);
    listener->accepted(listener->user, tcp);
}

/* One piece of news at a time, because it may be closed in any. */
void kith__sim_tcp_tell_run(kith_sim *sim, sim_event *event)
{
    kith_tcp *tcp = KITH_OF(event, kith_tcp, tell);
    if (tcp->want_writable && tcp->writable_ns > sim->now_ns) kith__sim_tcp_tell_at(tcp, tcp->writable_ns);
    switch (news(tcp)) {
    case SIM_NOTHING: break;
    case SIM_ACCEPTED: tell_accepted(sim, tcp); break;
    case SIM_BYTES: tell_bytes(sim, tcp); break;
    case SIM_CONNECTED:
        tcp->tell_connected = false;
        kith__sim_note(sim, "connect", tcp->process->host, tcp->local.port, NULL, 0);
        kith__sim_tcp_tell(tcp);
        tcp->events.connected(tcp->user);
        break;
    case SIM_WRITABLE:
        tcp->want_writable = false;
        kith__sim_note(sim, "writable", tcp->process->host, tcp->local.port, NULL, 0);
        kith__sim_tcp_tell(tcp);
        tcp->events.writable(tcp->user);
        break;
    case SIM_ENDED:
        kith__sim_tcp_over(tcp, KITH_ERR_CLOSED);
        tcp->told = true;
        kith__sim_note(sim, "ended", tcp->process->host, (uint64_t)-tcp->why, NULL, 0);
        tcp->events.ended(tcp->user, tcp->why);
        break;
    }
}

/* ---- what the owner does ---- */

static void tcp_attach(kith_tcp *tcp, const kith_tcp_events *events, void *user)
{
    tcp->events = *events;
    tcp->user = user;
    tcp->attached = true;
    kith__sim_tcp_tell(tcp);
}

static kith_err tcp_connect(kith_env *env, const kith_addr *remote, const kith_tcp_events *events, void *user,
                            kith_tcp **out)
{
    sim_process *process = sim_process_of(env);
    kith_addr local = {0};
    sim_way way;
    if (remote->family == KITH_FAMILY_NONE || !remote->port || kith_addr_is_any(remote)) return KITH_ERR_ARG;
    if (process->dead) return KITH_ERR_UNREACHABLE;
    kith_err err = kith__sim_way(process->host, &local, remote, &way);
    if (err) return err;
    bool scoped = local.family == KITH_FAMILY_IPV6 && kith_addr_is_link_local(&local);
    if (way.from) local.scope = scoped ? way.from->index : 0;
    local.port = pick_port(process->host);
    if (!local.port) return KITH_ERR_LIMIT;
    kith_tcp *tcp = kith__sim_tcp_new(process, &local, remote);
    if (!tcp) return KITH_ERR_NOMEM;
    tcp->id = ++process->sim->next_tcp;
    tcp->events = *events;
    tcp->user = user;
    tcp->held = tcp->attached = true;
    tcp->state = SIM_CONNECTING;
    kith_list_append(&process->tcps, &tcp->link);
    kith__sim_tcp_begin(tcp);
    *out = tcp;
    return KITH_OK;
}

/* How many of `size` bytes to take now. */
static size_t would_take(kith_tcp *tcp, size_t size)
{
    kith_sim *sim = tcp->process->sim;
    uint64_t unsent = kith__sim_tcp_unsent(tcp);
    size_t most = unsent < KITH_TCP_UNSENT_MAX ? KITH_TCP_UNSENT_MAX - (size_t)unsent : 0;
    if (size < most) most = size;
    if (tcp->state != SIM_OPEN || tcp->tell_connected) return 0;
    if (kith__sim_rng_chance(&sim->rng, tcp->process->host->send_again))
        most = (size_t)kith__sim_rng_below(&sim->rng, most);
    return kith__sim_bytes_reserve(&tcp->out, most) ? most : 0;
}

static kith_err tcp_send(kith_tcp *tcp, const struct iovec *pieces, size_t count, size_t *sent)
{
    kith_sim *sim = tcp->process->sim;
    size_t size = 0;
    if (tcp->process->dead || tcp->state == SIM_GONE) return KITH_ERR_CLOSED;
    for (size_t i = 0; i < count; i++) size += pieces[i].iov_len;
    size_t taken_now = would_take(tcp, size), left = taken_now;
    for (size_t i = 0; left; i++) {
        size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
        if (part) kith__sim_bytes_put(&tcp->out, pieces[i].iov_base, part);
        left -= part;
    }
    tcp->end += taken_now;
    kith__sim_note(sim, "put", tcp->process->host, taken_now, NULL, 0);
    if (taken_now) kith__sim_tcp_push(tcp);
    if (taken_now < size) {
        tcp->want_writable = true;
        tcp->writable_ns = sim->now_ns + kith__sim_rng_below(&sim->rng, WRITABLE_NS);
        kith__sim_tcp_tell_at(tcp, tcp->writable_ns);
    }
    *sent = taken_now;
    return KITH_OK;
}

static void tcp_resume(kith_tcp *tcp)
{
    if (!tcp->stalled) return;
    tcp->stalled = false;
    kith__sim_tcp_tell(tcp);
}

static kith_addr tcp_local(const kith_tcp *tcp) { return tcp->local; }
static kith_addr tcp_remote(const kith_tcp *tcp) { return tcp->remote; }

static void tcp_close(kith_tcp *tcp)
{
    if (!tcp) return;
    kith_sim *sim = tcp->process->sim;
    if (sim->asked == tcp) sim->asked = NULL;
    kith__sim_event_cancel(sim, &tcp->tell);
    kith_list_remove(&tcp->link);
    tcp->held = false;
    if (tcp->state == SIM_GONE) {
        kith__sim_tcp_delete(tcp);
    } else {
        kith__sim_tcp_shut(tcp); /* it is the system's now */
    }
}

const kith_env_tcp kith__sim_tcp = {tcp_listen, tcp_unlisten, tcp_attach, tcp_connect, tcp_send,
                                    tcp_resume, tcp_local,    tcp_remote, tcp_close};

/* ---- the process's end ---- */

void kith__sim_tcp_kill(sim_process *process)
{
    KITH_EACH (link, &process->listeners) deafen(KITH_OF(link, kith_listener, link));
    KITH_EACH (at, &process->tcps) {
        kith_tcp *tcp = KITH_OF(at, kith_tcp, link);
        kith__sim_event_cancel(process->sim, &tcp->tell);
        kith__sim_tcp_shut(tcp);
    }
}

void kith__sim_tcp_free(sim_process *process)
{
    while (!kith_list_empty(&process->listeners))
        tcp_unlisten(KITH_OF(kith_list_first(&process->listeners), kith_listener, link));
    while (!kith_list_empty(&process->tcps))
        kith__sim_tcp_delete(KITH_OF(kith_list_first(&process->tcps), kith_tcp, link));
}
