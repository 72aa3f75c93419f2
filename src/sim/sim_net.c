/* Networks, the hosts' interfaces on them, routers between them, and exceptions for pairs of hosts; which way to go. */
#include "base/mem.h"
#include "sim/sim_internal.h"

#define INTERFACE_MTU 1500u
#define LOOPBACK_MTU  65536u

typedef struct sim_route {
    kith_link link;
    kith_sim_lan *lans[2];
    kith_sim_link way;
    struct sim_pipe pipes[2][2]; /* from lans[0], from lans[1]: the router's, and its interface's on the other side */
} sim_route;

struct kith_watch {
    kith_link link, host_link;
    sim_process *process;
    sim_event event;
    void (*changed)(void *user);
    void *user;
};

static bool is_v6_link_local(const kith_addr *a) { return a->family == KITH_FAMILY_IPV6 && kith_addr_is_link_local(a); }

static int compare_ip(const kith_addr *a, const kith_addr *b)
{
    if (a->family != b->family) return a->family < b->family ? -1 : 1;
    return memcmp(a->ip, b->ip, sizeof a->ip);
}

/* ---- networks ---- */

kith_err kith_sim_lan_new(kith_sim *sim, const char *name, kith_sim_lan **out)
{
    kith_sim_lan *lan = kith_calloc(1, sizeof *lan);
    if (!lan) return KITH_ERR_NOMEM;
    lan->sim = sim;
    lan->id = ++sim->network_count;
    snprintf(lan->name, sizeof lan->name, "%s", name);
    lan->way = (kith_sim_link){.delay_ns = 200000, .jitter_ns = 20000, .mtu = INTERFACE_MTU};
    lan->discovery_delay_ns = 120 * KITH_SIM_MS;
    kith_list_append(&sim->networks, &lan->link);
    *out = lan;
    return KITH_OK;
}

void kith_sim_lan_set_link(kith_sim_lan *lan, const kith_sim_link *link)
{
    lan->way = *link;
    if (!lan->way.mtu) lan->way.mtu = INTERFACE_MTU;
}

void kith_sim_lan_set_discovery(kith_sim_lan *lan, uint64_t delay_ns, double loss)
{
    lan->discovery_delay_ns = delay_ns;
    lan->discovery_loss = loss;
}

/* The place of an address in the table, whether it is there or would have to be put there. */
static size_t addr_place(const kith_sim_lan *lan, const kith_addr *addr)
{
    size_t low = 0, high = lan->addr_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_ip(&lan->addrs[middle].addr, addr) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

sim_iface *kith__sim_lan_find(const kith_sim_lan *lan, const kith_addr *addr)
{
    size_t place = addr_place(lan, addr);
    return place < lan->addr_count && compare_ip(&lan->addrs[place].addr, addr) == 0 ? lan->addrs[place].iface : NULL;
}

static sim_prefix prefix_of(const kith_addr *addr)
{
    sim_prefix p = {.family = addr->family};
    memcpy(p.ip, addr->ip, addr->family == KITH_FAMILY_IPV4 ? 3 : 8);
    return p;
}

static bool has_prefix(const kith_sim_lan *lan, const kith_addr *addr)
{
    sim_prefix p = prefix_of(addr);
    for (size_t i = 0; i < lan->prefix_count; i++) {
        if (memcmp(&lan->prefixes[i], &p, sizeof p) == 0) return true;
    }
    return false;
}

static kith_err lan_reserve(kith_sim_lan *lan, const kith_addr *addr)
{
    if (lan->addr_count == lan->addr_cap) {
        size_t cap = lan->addr_cap ? 2 * lan->addr_cap : 16;
        sim_lan_addr *grown = kith_realloc(lan->addrs, cap * sizeof *grown);
        if (!grown) return KITH_ERR_NOMEM;
        lan->addrs = grown;
        lan->addr_cap = cap;
    }
    if (!has_prefix(lan, addr)) {
        sim_prefix *grown = kith_realloc(lan->prefixes, (lan->prefix_count + 1) * sizeof *grown);
        if (!grown) return KITH_ERR_NOMEM;
        lan->prefixes = grown;
        lan->prefixes[lan->prefix_count++] = prefix_of(addr);
    }
    return KITH_OK;
}

static void lan_insert(kith_sim_lan *lan, const kith_addr *addr, sim_iface *iface)
{
    size_t place = addr_place(lan, addr);
    memmove(&lan->addrs[place + 1], &lan->addrs[place], (lan->addr_count++ - place) * sizeof *lan->addrs);
    lan->addrs[place] = (sim_lan_addr){*addr, iface};
}

static void lan_remove(kith_sim_lan *lan, const kith_addr *addr)
{
    size_t place = addr_place(lan, addr);
    memmove(&lan->addrs[place], &lan->addrs[place + 1], (--lan->addr_count - place) * sizeof *lan->addrs);
}

void kith__sim_networks_done(kith_sim *sim)
{
    while (!kith_list_empty(&sim->routes)) kith_free(KITH_OF(kith_list_take_first(&sim->routes), sim_route, link));
    while (!kith_list_empty(&sim->networks)) {
        kith_sim_lan *lan = KITH_OF(kith_list_take_first(&sim->networks), kith_sim_lan, link);
        kith_free(lan->addrs);
        kith_free(lan->prefixes);
        kith_free(lan);
    }
    kith_free(sim->pairs);
}

/* ---- interfaces ---- */

sim_iface *kith__sim_iface_on(const kith_sim_host *host, const kith_sim_lan *lan)
{
    KITH_EACH (link, &host->ifaces) {
        sim_iface *iface = KITH_OF(link, sim_iface, link);
        if (iface->lan == lan) return iface;
    }
    return NULL;
}

static sim_iface *iface_having(const kith_sim_host *host, const kith_addr *addr)
{
    KITH_EACH (link, &host->ifaces) {
        sim_iface *iface = KITH_OF(link, sim_iface, link);
        if (addr->scope && addr->scope != iface->index) continue;
        for (size_t i = 0; i < iface->addr_count; i++) {
            if (compare_ip(&iface->addrs[i], addr) == 0) return iface;
        }
    }
    return NULL;
}

bool kith__sim_host_has(const kith_sim_host *host, const kith_addr *addr)
{
    return kith_addr_is_loopback(addr) || iface_having(host, addr);
}

sim_iface *kith__sim_iface_new(kith_sim_host *host, kith_sim_lan *lan)
{
    sim_iface *iface = kith_calloc(1, sizeof *iface);
    if (!iface) return NULL;
    iface->host = host;
    iface->lan = lan;
    iface->index = host->next_iface++;
    snprintf(iface->name, sizeof iface->name, "eth%u", (unsigned)(iface->index - 2));
    kith_list_append(&host->ifaces, &iface->link);
    return iface;
}

static kith_err parse_plain(const char *text, kith_addr *out)
{
    kith_err err = kith_addr_parse(text, out);
    if (err || out->port || out->scope || kith_addr_is_any(out) || kith_addr_is_loopback(out)) return KITH_ERR_ARG;
    return KITH_OK;
}

kith_err kith_sim_attach(kith_sim_host *host, kith_sim_lan *lan, const char *text)
{
    kith_addr addr;
    kith_err err = parse_plain(text, &addr);
    if (err) return err;
    if (kith__sim_lan_find(lan, &addr)) return KITH_ERR_ADDRESS_IN_USE;
    sim_iface *iface = kith__sim_iface_on(host, lan);
    if (iface && iface->addr_count == sizeof iface->addrs / sizeof *iface->addrs) return KITH_ERR_LIMIT;
    err = lan_reserve(lan, &addr);
    if (err) return err;
    if (!iface) iface = kith__sim_iface_new(host, lan);
    if (!iface) return KITH_ERR_NOMEM;
    iface->addrs[iface->addr_count++] = addr;
    lan_insert(lan, &addr, iface);
    kith__sim_note(host->sim, "attach", host, lan->id, text, strlen(text));
    kith__sim_net_changed(host);
    return KITH_OK;
}

static void iface_free(sim_iface *iface)
{
    while (iface->addr_count) lan_remove(iface->lan, &iface->addrs[--iface->addr_count]);
    kith_list_remove(&iface->link);
    kith_free(iface);
}

void kith_sim_detach(kith_sim_host *host, kith_sim_lan *lan)
{
    sim_iface *iface = kith__sim_iface_on(host, lan);
    if (!iface) return;
    iface_free(iface);
    kith__sim_note(host->sim, "detach", host, lan->id, NULL, 0);
    kith__sim_net_changed(host);
}

kith_err kith_sim_change_addr(kith_sim_host *host, const char *from, const char *to)
{
    kith_addr old, new;
    kith_err err = parse_plain(from, &old);
    if (!err) err = parse_plain(to, &new);
    if (err) return err;
    sim_iface *iface = iface_having(host, &old);
    if (!iface) return KITH_ERR_NOT_FOUND;
    if (kith__sim_lan_find(iface->lan, &new)) return KITH_ERR_ADDRESS_IN_USE;
    err = lan_reserve(iface->lan, &new);
    if (err) return err;
    for (size_t i = 0; i < iface->addr_count; i++) {
        if (compare_ip(&iface->addrs[i], &old) == 0) iface->addrs[i] = new;
    }
    lan_remove(iface->lan, &old);
    lan_insert(iface->lan, &new, iface);
    kith__sim_note(host->sim, "readdr", host, iface->lan->id, to, strlen(to));
    kith__sim_net_changed(host);
    return KITH_OK;
}

void kith__sim_host_net_done(kith_sim_host *host)
{
    while (!kith_list_empty(&host->ifaces)) iface_free(KITH_OF(kith_list_first(&host->ifaces), sim_iface, link));
}

/* ---- routers and exceptions ---- */

static sim_route *route_between(const kith_sim_lan *a, const kith_sim_lan *b)
{
    KITH_EACH (link, &a->sim->routes) {
        sim_route *route = KITH_OF(link, sim_route, link);
        if ((route->lans[0] == a && route->lans[1] == b) || (route->lans[0] == b && route->lans[1] == a)) return route;
    }
    return NULL;
}

kith_err kith_sim_route(kith_sim_lan *lan_a, kith_sim_lan *lan_b, const kith_sim_link *link)
{
    sim_route *route = route_between(lan_a, lan_b);
    if (lan_a == lan_b) return KITH_ERR_ARG;
    if (!link) {
        if (route) kith_list_remove(&route->link);
        kith_free(route);
        return KITH_OK;
    }
    if (!route) {
        route = kith_calloc(1, sizeof *route);
        if (!route) return KITH_ERR_NOMEM;
        route->lans[0] = lan_a;
        route->lans[1] = lan_b;
        kith_list_append(&lan_a->sim->routes, &route->link);
    }
    route->way = *link;
    return KITH_OK;
}

static size_t pair_place(const kith_sim *sim, uint64_t key)
{
    size_t low = 0, high = sim->pair_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sim->pairs[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint64_t pair_key(const kith_sim_host *from, const kith_sim_host *to)
{
    return (uint64_t)from->id << 32 | to->id;
}

sim_pair *kith__sim_pair_find(kith_sim *sim, const kith_sim_host *from, const kith_sim_host *to)
{
    uint64_t key = pair_key(from, to);
    size_t place = pair_place(sim, key);
    return place < sim->pair_count && sim->pairs[place].key == key ? &sim->pairs[place] : NULL;
}

static kith_err pair_of(kith_sim_host *from, kith_sim_host *to, sim_pair **out)
{
    kith_sim *sim = from->sim;
    *out = kith__sim_pair_find(sim, from, to);
    if (*out) return KITH_OK;
    if (sim->pair_count == sim->pair_cap) {
        size_t cap = sim->pair_cap ? 2 * sim->pair_cap : 16;
        sim_pair *grown = kith_realloc(sim->pairs, cap * sizeof *grown);
        if (!grown) return KITH_ERR_NOMEM;
        sim->pairs = grown;
        sim->pair_cap = cap;
    }
    uint64_t key = pair_key(from, to);
    size_t place = pair_place(sim, key);
    *out = &sim->pairs[place];
    memmove(*out + 1, *out, (sim->pair_count++ - place) * sizeof **out);
    **out = (sim_pair){.key = key};
    return KITH_OK;
}

kith_err kith_sim_oneway_link(kith_sim_host *from, kith_sim_host *to, const kith_sim_link *link)
{
    sim_pair *pair;
    kith_err err = pair_of(from, to, &pair);
    if (err) return err;
    pair->has_link = link != NULL;
    if (link) pair->way = *link;
    return KITH_OK;
}

kith_err kith_sim_pair_link(kith_sim_host *a, kith_sim_host *b, const kith_sim_link *link)
{
    sim_pair *back;
    kith_err err = pair_of(b, a, &back); /* room for both first: all or nothing */
    if (!err) err = kith_sim_oneway_link(a, b, link);
    return err ? err : kith_sim_oneway_link(b, a, link);
}

bool kith__sim_is_cut(kith_sim *sim, const kith_sim_host *a, const kith_sim_host *b, sim_kind kind)
{
    const sim_pair *pair = sim->pair_count ? kith__sim_pair_find(sim, a, b) : NULL;
    return pair && (pair->cut || (kind == SIM_UDP && pair->cut_udp) || (kind == SIM_TCP && pair->cut_tcp));
}

static kith_err both_ways(kith_sim_host *a, kith_sim_host *b, sim_pair **there, sim_pair **back)
{
    if (a == b) return KITH_ERR_ARG;
    kith_err err = pair_of(a, b, there);
    if (!err) err = pair_of(b, a, back);
    if (!err) *there = kith__sim_pair_find(a->sim, a, b); /* the second may have moved the first */
    return err;
}

kith_err kith_sim_partition(kith_sim_host *a, kith_sim_host *b, bool on)
{
    sim_pair *there, *back;
    kith_err err = both_ways(a, b, &there, &back);
    if (err) return err;
    there->cut = back->cut = on;
    kith__sim_note(a->sim, on ? "cut" : "heal", a, b->id, NULL, 0);
    kith__sim_lan_moved(a);
    kith__sim_lan_moved(b);
    return KITH_OK;
}

kith_err kith_sim_firewall(kith_sim_host *a, kith_sim_host *b, bool udp, bool tcp)
{
    sim_pair *there, *back;
    kith_err err = both_ways(a, b, &there, &back);
    if (err) return err;
    there->cut_udp = back->cut_udp = udp;
    there->cut_tcp = back->cut_tcp = tcp;
    kith__sim_note(a->sim, (const char *[]){"all passes", "no TCP", "no UDP", "neither"}[2 * udp + tcp], a, b->id, NULL,
                   0);
    return KITH_OK;
}

/* ---- ways ---- */

/* An address of this interface to send from: the one wanted, or one of the target's kind. */
static const kith_addr *source_on(const sim_iface *iface, const kith_addr *wanted, const kith_addr *target)
{
    const kith_addr *other = NULL;
    bool any = wanted->family == KITH_FAMILY_NONE || kith_addr_is_any(wanted);
    if (!any && wanted->scope && wanted->scope != iface->index) return NULL;
    for (size_t i = 0; i < iface->addr_count; i++) {
        const kith_addr *a = &iface->addrs[i];
        if (!any) {
            if (compare_ip(a, wanted) == 0) return a;
        } else if (a->family == target->family) {
            if (is_v6_link_local(a) == is_v6_link_local(target)) return a;
            other = a;
        }
    }
    return other;
}

static void set_way(sim_way *way, kith_sim *sim, sim_iface *from, sim_iface *to, sim_route *route)
{
    sim_pair *pair = kith__sim_pair_find(sim, from->host, to->host);
    *way = (sim_way){.from = from, .to = to, .mtu = from->lan->way.mtu};
    if (pair && pair->has_link) {
        way->hops[way->hop_count++] = (struct sim_hop){&pair->way, &pair->pipe};
        return;
    }
    way->hops[way->hop_count++] = (struct sim_hop){&from->lan->way, &from->pipe};
    if (!route) return;
    struct sim_pipe *pipes = route->pipes[route->lans[0] == from->lan ? 0 : 1];
    way->hops[way->hop_count++] = (struct sim_hop){&route->way, &pipes[0]};
    way->hops[way->hop_count++] = (struct sim_hop){&to->lan->way, &pipes[1]};
}

/* The ways out of an interface, best first.  NOBODY: it is known who would have the address, but nobody does. */
typedef enum way_kind { NEIGHBOUR, ROUTED, NOBODY, GATEWAY, KINDS } way_kind;

static bool way_through_nat(sim_iface *iface, const kith_addr *target, sim_way *out)
{
    const kith_sim_nat *nat = iface->lan->gateway;
    if (!nat || target->family != KITH_FAMILY_IPV4) return false;
    sim_iface *to = kith__sim_iface_on(kith_sim_nat_host(nat), iface->lan);
    if (to) set_way(out, iface->host->sim, iface, to, NULL);
    return to != NULL;
}

static bool way_from(sim_iface *iface, const kith_addr *target, way_kind kind, sim_way *out)
{
    kith_sim *sim = iface->host->sim;
    sim_iface *to = kind == NEIGHBOUR ? kith__sim_lan_find(iface->lan, target) : NULL;
    if (to) set_way(out, sim, iface, to, NULL);
    if (kind == NEIGHBOUR) return to != NULL;
    if (kind == GATEWAY) return way_through_nat(iface, target, out);
    if (kind == NOBODY && has_prefix(iface->lan, target)) {
        *out = (sim_way){.from = iface, .mtu = iface->lan->way.mtu};
        return true;
    }
    if (is_v6_link_local(target)) return false;
    KITH_EACH (link, &sim->routes) {
        sim_route *route = KITH_OF(link, sim_route, link);
        if (route->lans[0] != iface->lan && route->lans[1] != iface->lan) continue;
        const kith_sim_lan *far = route->lans[route->lans[0] == iface->lan ? 1 : 0];
        if (target->family == KITH_FAMILY_IPV4 && kith__sim_nat_between(iface->lan, far)) continue;
        to = kith__sim_lan_find(far, target);
        if (kind == ROUTED && to) {
            set_way(out, sim, iface, to, route);
            return true;
        }
        if (kind == NOBODY && has_prefix(far, target)) {
            *out = (sim_way){.from = iface, .mtu = iface->lan->way.mtu};
            return true;
        }
    }
    return false;
}

bool kith__sim_way_by(sim_iface *iface, const kith_addr *target, sim_way *out)
{
    for (way_kind kind = NEIGHBOUR; kind < KINDS; kind++) {
        if (way_from(iface, target, kind, out)) return true;
    }
    return false;
}

kith_err kith__sim_way(kith_sim_host *host, kith_addr *source, const kith_addr *target, sim_way *out)
{
    bool any = source->family == KITH_FAMILY_NONE || kith_addr_is_any(source);
    if (!any && (source->family != target->family || !kith__sim_host_has(host, source))) return KITH_ERR_UNREACHABLE;
    if (kith__sim_host_has(host, target)) {
        if (any) *source = *target;
        source->port = 0;
        *out = (sim_way){.mtu = LOOPBACK_MTU};
        return KITH_OK;
    }
    for (way_kind kind = NEIGHBOUR; kind < KINDS; kind++) {
        KITH_EACH (link, &host->ifaces) {
            sim_iface *iface = KITH_OF(link, sim_iface, link);
            const kith_addr *from = source_on(iface, source, target);
            if (!from || (is_v6_link_local(target) && target->scope != iface->index)) continue;
            if (!way_from(iface, target, kind, out)) continue;
            *source = *from;
            return KITH_OK;
        }
    }
    return KITH_ERR_UNREACHABLE;
}

/* ---- what a process sees of it ---- */

static size_t add_loopback(kith_interface_addr *out, size_t cap)
{
    static const kith_interface_addr both[2] = {
        {.index = 1, .name = "lo", .addr = {.family = KITH_FAMILY_IPV4, .ip = {127, 0, 0, 1}}},
        {.index = 1, .name = "lo", .addr = {.family = KITH_FAMILY_IPV6, .ip = {[15] = 1}}},
    };
    for (size_t i = 0; i < 2 && i < cap; i++) out[i] = both[i];
    return 2;
}

static size_t net_addresses(kith_env *env, kith_interface_addr *out, size_t cap)
{
    size_t count = 0;
    KITH_EACH (link, &sim_process_of(env)->host->ifaces) {
        const sim_iface *iface = KITH_OF(link, sim_iface, link);
        for (size_t i = 0; i < iface->addr_count; i++, count++) {
            if (count >= cap) continue;
            out[count] = (kith_interface_addr){.index = iface->index, .addr = iface->addrs[i]};
            if (is_v6_link_local(&iface->addrs[i])) out[count].addr.scope = iface->index;
            memcpy(out[count].name, iface->name, sizeof out[count].name);
        }
    }
    return count ? count : add_loopback(out, cap);
}

static void watch_run(kith_sim *sim, sim_event *event)
{
    kith_watch *watch = KITH_OF(event, kith_watch, event);
    kith__sim_note(sim, "watch", watch->process->host, watch->process->number, NULL, 0);
    watch->changed(watch->user);
}

void kith__sim_net_changed(kith_sim_host *host)
{
    KITH_EACH (link, &host->watches) {
        kith_watch *watch = KITH_OF(link, kith_watch, host_link);
        if (!watch->event.slot) kith__sim_event_at(host->sim, &watch->event, host->sim->now_ns + KITH_SIM_WATCH_NS);
    }
    kith__sim_lan_moved(host);
}

static kith_err net_watch(kith_env *env, void (*changed)(void *user), void *user, kith_watch **out)
{
    sim_process *process = sim_process_of(env);
    if (process->dead) return KITH_ERR_NETWORK;
    kith_watch *watch = kith_calloc(1, sizeof *watch);
    if (!watch) return KITH_ERR_NOMEM;
    kith_err err = kith__sim_event_init(process->sim, &watch->event, watch_run);
    if (err) {
        kith_free(watch);
        return err;
    }
    watch->process = process;
    watch->changed = changed;
    watch->user = user;
    kith_list_append(&process->watches, &watch->link);
    kith_list_append(&process->host->watches, &watch->host_link);
    *out = watch;
    return KITH_OK;
}

static void net_unwatch(kith_watch *watch)
{
    if (!watch) return;
    kith__sim_event_done(watch->process->sim, &watch->event);
    kith_list_remove(&watch->link);
    kith_list_remove(&watch->host_link);
    kith_free(watch);
}

const kith_env_net kith__sim_net = {net_addresses, net_watch, net_unwatch, kith__sim_resolve, kith__sim_cancel};

void kith__sim_watches_kill(sim_process *process)
{
    KITH_EACH (link, &process->watches) {
        kith_watch *watch = KITH_OF(link, kith_watch, link);
        kith__sim_event_cancel(process->sim, &watch->event);
        kith_list_remove(&watch->host_link);
    }
}

void kith__sim_watches_free(sim_process *process)
{
    while (!kith_list_empty(&process->watches))
        net_unwatch(KITH_OF(kith_list_first(&process->watches), kith_watch, link));
}
