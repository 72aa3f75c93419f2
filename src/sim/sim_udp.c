/* Datagrams: sockets, and what happens to each datagram on its way. */
#include "base/mem.h"
#include "sim/sim_internal.h"

#define IPV4_HEADERS     28u /* IP and UDP */
#define IPV6_HEADERS     48u
#define LOCAL_DELAY_NS   10000u
#define WRITABLE_NS      KITH_SIM_MS
#define EPHEMERAL_FIRST  32768u
#define EPHEMERAL_COUNT  28232u
#define DELIVERY_PACKETS 16u

struct kith_udp {
    kith_link link, host_link;
    sim_process *process;
    kith_udp_events events;
    void *user;
    kith_addr local;
    bool any;           /* bound to all addresses of both families */
    sim_event writable; /* scheduled: sends answer AGAIN */
};

typedef struct sim_flight { /* one datagram under way */
    kith_link link;
    sim_event event;
    kith_sim_host *from, *via, *to; /* who sent it, and whose interface it left last */
    const kith_sim_lan *lan;        /* where it arrives; NULL: inside the host */
    kith_addr source, target;
    uint8_t ecn;
    size_t size;
    uint8_t data[];
} sim_flight;

/* ---- arriving ---- */

static void flight_free(kith_sim *sim, sim_flight *flight)
{
    kith__sim_event_done(sim, &flight->event);
    kith_list_remove(&flight->link);
    kith_free(flight);
}

void kith__sim_flights_done(kith_sim *sim)
{
    while (!kith_list_empty(&sim->flights)) flight_free(sim, KITH_OF(kith_list_first(&sim->flights), sim_flight, link));
}

static kith_udp *socket_at(const kith_sim_host *host, const kith_addr *addr)
{
    KITH_EACH (link, &host->sockets) {
        kith_udp *udp = KITH_OF(link, kith_udp, host_link);
        if (udp->local.port != addr->port) continue;
        if (udp->any || (udp->local.family == addr->family && memcmp(udp->local.ip, addr->ip, sizeof addr->ip) == 0))
            return udp;
    }
    return NULL;
}

static bool is_cut(kith_sim *sim, const kith_sim_host *from, const kith_sim_host *via, const kith_sim_host *to)
{
    return kith__sim_is_cut(sim, from, to, SIM_UDP) || (via != from && kith__sim_is_cut(sim, via, to, SIM_UDP));
}

/* Who gets it now; things have changed since it was sent. */
static kith_udp *receiver(kith_sim *sim, const sim_flight *flight)
{
    if (flight->lan) {
        const sim_iface *iface = kith__sim_lan_find(flight->lan, &flight->target);
        if (!iface || iface->host != flight->to || is_cut(sim, flight->from, flight->via, flight->to)) return NULL;
    } else if (!kith__sim_host_has(flight->to, &flight->target)) {
        return NULL;
    }
    return socket_at(flight->to, &flight->target);
}

typedef struct delivery {
    kith_packet packets[DELIVERY_PACKETS];
    size_t count, size, segments; /* segments: of the last packet */
} delivery;

static bool joins(const delivery *d, const kith_packet *packet)
{
    if (!d->count || d->segments == KITH_PACKET_RUN_SEGMENTS) return false;
    const kith_packet *last = &d->packets[d->count - 1];
    return last->size % last->segment == 0 && packet->size <= last->segment && last->ecn == packet->ecn &&
           kith_addr_equal(&last->local, &packet->local) && kith_addr_equal(&last->remote, &packet->remote);
}

/* With the packet's scope that of the interface it came by. */
static kith_addr scoped(kith_addr addr, const sim_flight *flight)
{
    const sim_iface *iface = flight->lan ? kith__sim_iface_on(flight->to, flight->lan) : NULL;
    bool local = addr.family == KITH_FAMILY_IPV6 && kith_addr_is_link_local(&addr);
    addr.scope = local && iface ? iface->index : 0;
    return addr;
}

/* False when there is no room any more. */
static bool add(kith_sim *sim, delivery *d, const sim_flight *flight, bool join)
{
    kith_packet packet = {.local = scoped(flight->target, flight),
                          .remote = scoped(flight->source, flight),
                          .ecn = flight->ecn,
                          .data = sim->rx + d->size,
                          .size = flight->size,
                          .segment = flight->size};
    if (flight->size > KITH_PACKET_RUN_MAX - d->size) return false;
    if (join && joins(d, &packet)) {
        d->packets[d->count - 1].size += flight->size;
        d->segments++;
    } else {
        if (d->count == DELIVERY_PACKETS) return false;
        d->packets[d->count++] = packet;
        d->segments = 1;
    }
    memcpy(sim->rx + d->size, flight->data, flight->size);
    d->size += flight->size;
    kith__sim_note(sim, "recv", flight->to, flight->size, flight->data, flight->size);
    return true;
}

static void launch(kith_sim_host *from, kith_sim_host *via, const sim_way *way, const kith_packet *packet,
                   const uint8_t *data, size_t size);

/* A NAT has it: it goes on, as somebody else's to somebody else, or ends here. */
static void cross(kith_sim *sim, sim_flight *flight)
{
    sim_crossing crossing = {.by = flight->lan, .source = flight->source, .target = flight->target};
    bool cut = is_cut(sim, flight->from, flight->via, flight->to);
    if (cut || kith__sim_nat_cross(flight->to->nat, &crossing) != SIM_FORWARD) {
        kith__sim_note(sim, "filtered", flight->to, flight->size, flight->data, flight->size);
        return;
    }
    kith_packet packet = {.local = crossing.source, .remote = crossing.target, .ecn = flight->ecn};
    kith__sim_note(sim, "cross", flight->to, flight->size, flight->data, flight->size);
    launch(flight->from, flight->to, &crossing.way, &packet, flight->data, flight->size);
}

/* Datagrams that arrive at one instant come, by chance, one by one, several in a call, or joined to runs again. */
static void flight_run(kith_sim *sim, sim_event *event)
{
    sim_flight *flight = KITH_OF(event, sim_flight, event);
    if (flight->lan && flight->to->nat) {
        cross(sim, flight);
        flight_free(sim, flight);
        return;
    }
    kith_udp *udp = receiver(sim, flight);
    if (!udp) {
        kith__sim_note(sim, "unheard", flight->to, flight->size, flight->data, flight->size);
        flight_free(sim, flight);
        return;
    }
    uint64_t how = kith__sim_rng_below(&sim->rng, 4);
    delivery d = {0};
    (void)add(sim, &d, flight, false); /* the first has room */
    flight_free(sim, flight);
    while (how != 0) {
        sim_event *next = kith__sim_event_first(sim);
        if (!next || next->run != flight_run || next->at_ns != sim->now_ns) break;
        flight = KITH_OF(next, sim_flight, event);
        if (receiver(sim, flight) != udp || !add(sim, &d, flight, how >= 2)) break;
        flight_free(sim, flight);
    }
    udp->events.received(udp->user, d.packets, d.count);
}

/* ---- leaving ---- */

static size_t headers(const kith_addr *addr) { return addr->family == KITH_FAMILY_IPV4 ? IPV4_HEADERS : IPV6_HEADERS; }

typedef struct fate {
    uint64_t at_ns;
    bool twice, corrupt;
} fate;

static void fly(kith_sim_host *from, kith_sim_host *via, const sim_way *way, const kith_packet *packet,
                const uint8_t *data, size_t size, const fate *f, uint64_t more_ns)
{
    kith_sim *sim = from->sim;
    sim_flight *flight = kith_calloc(1, sizeof *flight + size);
    if (!flight) return; /* lost, as datagrams may be */
    if (kith__sim_event_init(sim, &flight->event, flight_run)) {
        kith_free(flight);
        return;
    }
    flight->from = from;
    flight->via = via;
    flight->to = way->to ? way->to->host : from;
    flight->lan = way->to ? way->to->lan : NULL;
    flight->source = packet->local;
    flight->target = packet->remote;
    flight->ecn = packet->ecn & 3;
    flight->size = size;
    memcpy(flight->data, data, size);
    if (f->corrupt) {
        uint64_t bit = kith__sim_rng_below(&sim->rng, 8 * size);
        flight->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    kith_list_append(&sim->flights, &flight->link);
    kith__sim_event_at(sim, &flight->event, f->at_ns + more_ns);
}

/* Past one hop; false: it ends there. */
static bool pass(kith_sim *sim, const struct sim_hop *hop, size_t size, fate *f)
{
    const kith_sim_link *link = hop->link;
    struct sim_pipe *pipe = hop->pipe;
    if (link->mtu && size > link->mtu) return false;
    if (link->rate) {
        uint64_t start = pipe->free_ns > f->at_ns ? pipe->free_ns : f->at_ns, wait = start - f->at_ns;
        bool bounded = link->queue && link->queue < UINT64_MAX / KITH_SIM_S;
        if (bounded && wait > link->queue * KITH_SIM_S / link->rate) return false;
        f->at_ns = pipe->free_ns = start + size * KITH_SIM_S / link->rate;
    }
    if (kith__sim_rng_chance(&sim->rng, link->loss)) return false;
    if (kith__sim_rng_chance(&sim->rng, link->duplicate)) f->twice = true;
    if (kith__sim_rng_chance(&sim->rng, link->corrupt)) f->corrupt = true;
    f->at_ns += link->delay_ns;
    if (link->jitter_ns) f->at_ns += kith__sim_rng_below(&sim->rng, link->jitter_ns + 1);
    if (f->at_ns < pipe->last_ns) f->at_ns = pipe->last_ns;
    pipe->last_ns = f->at_ns;
    if (kith__sim_rng_chance(&sim->rng, link->reorder)) {
        uint64_t most = link->reorder_ns ? link->reorder_ns : KITH_SIM_MS + link->delay_ns / 4;
        f->at_ns += 1 + kith__sim_rng_below(&sim->rng, most);
    }
    return true;
}

static void launch(kith_sim_host *from, kith_sim_host *via, const sim_way *way, const kith_packet *packet,
                   const uint8_t *data, size_t size)
{
    kith_sim *sim = from->sim;
    fate f = {.at_ns = sim->now_ns + (way->from ? 0 : LOCAL_DELAY_NS)};
    bool lost = way->from && (!way->to || is_cut(sim, from, via, way->to->host));
    for (size_t i = 0; !lost && i < way->hop_count; i++)
        lost = !pass(sim, &way->hops[i], size + headers(&packet->remote), &f);
    if (lost) {
        kith__sim_note(sim, "lost", via, size, NULL, 0);
        return;
    }
    fly(from, via, way, packet, data, size, &f, 0);
    if (f.twice) fly(from, via, way, packet, data, size, &f, kith__sim_rng_below(&sim->rng, KITH_SIM_MS));
}

static bool valid(const kith_packet *p)
{
    if (p->size == 0 || p->size > KITH_PACKET_RUN_MAX || p->segment == 0 || p->segment > p->size) return false;
    if ((p->size - 1) / p->segment >= KITH_PACKET_RUN_SEGMENTS) return false;
    if (p->remote.family == KITH_FAMILY_NONE || p->remote.port == 0 || kith_addr_is_any(&p->remote)) return false;
    return p->local.family == KITH_FAMILY_NONE || p->local.family == p->remote.family || kith_addr_is_any(&p->local);
}

static kith_err udp_send(kith_udp *udp, const kith_packet *packet)
{
    kith_sim_host *host = udp->process->host;
    kith_sim *sim = host->sim;
    if (!valid(packet)) return KITH_ERR_ARG;
    if (udp->process->dead) return KITH_ERR_UNREACHABLE;
    if (udp->writable.slot) return KITH_ERR_AGAIN;
    if (kith__sim_rng_chance(&sim->rng, host->send_again)) {
        kith__sim_event_at(sim, &udp->writable, sim->now_ns + kith__sim_rng_below(&sim->rng, WRITABLE_NS));
        return KITH_ERR_AGAIN;
    }
    kith_packet p = *packet;
    sim_way way;
    if (!udp->any && p.remote.family != udp->local.family) return KITH_ERR_UNREACHABLE;
    if (!udp->any && (p.local.family == KITH_FAMILY_NONE || kith_addr_is_any(&p.local))) p.local = udp->local;
    kith_err err = kith__sim_way(host, &p.local, &p.remote, &way);
    if (err) return err;
    if (p.segment + headers(&p.remote) > way.mtu) return KITH_ERR_LIMIT;
    p.local.port = udp->local.port;
    kith__sim_note(sim, "send", host, p.size, p.data, p.size);
    for (size_t at = 0; at < p.size; at += p.segment)
        launch(host, host, &way, &p, p.data + at, p.size - at < p.segment ? p.size - at : p.segment);
    return KITH_OK;
}

void kith_sim_set_send_again(kith_sim_host *host, double chance) { host->send_again = chance; }

/* ---- sockets ---- */

static void writable_run(kith_sim *sim, sim_event *event)
{
    kith_udp *udp = KITH_OF(event, kith_udp, writable);
    kith__sim_note(sim, "writable", udp->process->host, udp->local.port, NULL, 0);
    udp->events.writable(udp->user);
}

static bool taken(const kith_sim_host *host, const kith_udp *wanted, unsigned port)
{
    KITH_EACH (link, &host->sockets) {
        const kith_udp *udp = KITH_OF(link, kith_udp, host_link);
        if (udp->local.port != port) continue;
        if (udp->any || wanted->any || kith_addr_same_ip(&udp->local, &wanted->local)) return true;
    }
    return false;
}

static bool pick_port(kith_sim_host *host, kith_udp *udp)
{
    uint64_t start = kith__sim_rng_below(&host->sim->rng, EPHEMERAL_COUNT);
    for (unsigned i = 0; i < EPHEMERAL_COUNT; i++) {
        unsigned port = EPHEMERAL_FIRST + (unsigned)((start + i) % EPHEMERAL_COUNT);
        if (taken(host, udp, port)) continue;
        udp->local.port = (uint16_t)port;
        return true;
    }
    return false;
}

static kith_err bind_to(kith_udp *udp, const kith_addr *at)
{
    kith_sim_host *host = udp->process->host;
    udp->any = at->family == KITH_FAMILY_NONE || kith_addr_is_any(at);
    udp->local = udp->any ? (kith_addr){.family = KITH_FAMILY_IPV6, .port = at->port} : *at;
    if (!udp->any && !kith__sim_host_has(host, at)) return KITH_ERR_NETWORK;
    if (at->port) return taken(host, udp, at->port) ? KITH_ERR_ADDRESS_IN_USE : KITH_OK;
    return pick_port(host, udp) ? KITH_OK : KITH_ERR_ADDRESS_IN_USE;
}

static kith_err udp_open(kith_env *env, const kith_addr *at, const kith_udp_events *events, void *user, kith_udp **out)
{
    sim_process *process = sim_process_of(env);
    if (process->dead) return KITH_ERR_NETWORK;
    kith_udp *udp = kith_calloc(1, sizeof *udp);
    if (!udp) return KITH_ERR_NOMEM;
    udp->process = process;
    udp->events = *events;
    udp->user = user;
    kith_err err = bind_to(udp, at);
    if (!err) err = kith__sim_event_init(process->sim, &udp->writable, writable_run);
    if (err) {
        kith_free(udp);
        return err;
    }
    kith_list_append(&process->sockets, &udp->link);
    kith_list_append(&process->host->sockets, &udp->host_link);
    kith__sim_note(process->sim, "bind", process->host, udp->local.port, NULL, 0);
    *out = udp;
    return KITH_OK;
}

static kith_addr udp_local(const kith_udp *udp) { return udp->local; }

static void udp_close(kith_udp *udp)
{
    if (!udp) return;
    kith__sim_event_done(udp->process->sim, &udp->writable);
    kith_list_remove(&udp->link);
    kith_list_remove(&udp->host_link);
    kith_free(udp);
}

const kith_env_udp kith__sim_udp = {udp_open, udp_local, udp_send, udp_close};

void kith__sim_udp_kill(sim_process *process)
{
    KITH_EACH (link, &process->sockets) {
        kith_udp *udp = KITH_OF(link, kith_udp, link);
        kith__sim_event_cancel(process->sim, &udp->writable);
        kith_list_remove(&udp->host_link); /* the port is free again */
    }
}

void kith__sim_udp_free(sim_process *process)
{
    while (!kith_list_empty(&process->sockets)) udp_close(KITH_OF(kith_list_first(&process->sockets), kith_udp, link));
}
