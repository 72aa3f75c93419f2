/* NATs.  A NAT is a host with an interface on either side: what comes to it by one leaves by the other, as an entry of
 * its table says.  Nothing here is an event: what has expired is found out, and thrown away, when somebody looks. */
#include "base/mem.h"
#include "sim/sim_internal.h"

#define PORT_COUNT (65536u - KITH_SIM_NAT_PORT_FIRST)

typedef struct sim_filter { /* a remote side that may answer; port 0: by address only */
    kith_addr remote;
    uint64_t used_ns;
} sim_filter;

typedef struct sim_mapping {
    kith_link link;
    bool tcp, closing;
    kith_addr inside, outside;
    kith_addr remote; /* as far as the mapping depends on it */
    uint64_t used_ns, lifetime_ns;
    sim_filter *filters;
    size_t filter_count, filter_cap;
} sim_mapping;

struct kith_sim_nat {
    kith_sim *sim;
    kith_sim_host *host;
    kith_sim_lan *inside, *outside;
    kith_sim_nat_config config;
    kith_list mappings; /* those used last come first */
    size_t count;
    unsigned next_port; /* SEQUENTIAL: counted from KITH_SIM_NAT_PORT_FIRST */
};

const kith_sim_nat_config KITH_SIM_NAT_FULL_CONE = {.mapping = KITH_SIM_NAT_ENDPOINT_INDEPENDENT,
                                                    .filtering = KITH_SIM_NAT_ENDPOINT_INDEPENDENT};
const kith_sim_nat_config KITH_SIM_NAT_ADDRESS_RESTRICTED = {.mapping = KITH_SIM_NAT_ENDPOINT_INDEPENDENT,
                                                             .filtering = KITH_SIM_NAT_ADDRESS_DEPENDENT};
const kith_sim_nat_config KITH_SIM_NAT_PORT_RESTRICTED = {.mapping = KITH_SIM_NAT_ENDPOINT_INDEPENDENT,
                                                          .filtering = KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT};
const kith_sim_nat_config KITH_SIM_NAT_SYMMETRIC = {.mapping = KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT,
                                                    .filtering = KITH_SIM_NAT_ADDRESS_AND_PORT_DEPENDENT,
                                                    .ports = KITH_SIM_NAT_RANDOM};

/* ---- the table ---- */

static void mapping_free(kith_sim_nat *nat, sim_mapping *m)
{
    kith_list_remove(&m->link);
    nat->count--;
    kith_free(m->filters);
    kith_free(m);
}

static bool is_ours(const kith_sim_nat *nat, const kith_addr *addr)
{
    const sim_iface *iface = kith__sim_lan_find(nat->outside, addr);
    return iface && iface->host == nat->host;
}

static bool is_alive(const kith_sim_nat *nat, const sim_mapping *m)
{
    return nat->sim->now_ns - m->used_ns < m->lifetime_ns && is_ours(nat, &m->outside);
}

static void sweep(kith_sim_nat *nat)
{
    KITH_EACH (link, &nat->mappings) {
        sim_mapping *m = KITH_OF(link, sim_mapping, link);
        if (!is_alive(nat, m)) mapping_free(nat, m);
    }
}

/* What of a remote side counts; port 0 and NONE stand for what does not. */
static kith_addr as_far_as(kith_sim_nat_by by, const kith_addr *remote)
{
    kith_addr seen = *remote;
    if (by == KITH_SIM_NAT_ENDPOINT_INDEPENDENT) return (kith_addr){0};
    if (by == KITH_SIM_NAT_ADDRESS_DEPENDENT) seen.port = 0;
    return seen;
}

/* By the inside endpoint (and the remote one) when it goes out, by the outside endpoint when it comes in.  NULL: none
 * that is alive. */
static sim_mapping *find(kith_sim_nat *nat, const sim_crossing *c, bool out)
{
    kith_addr remote = as_far_as(nat->config.mapping, &c->target);
    KITH_EACH (link, &nat->mappings) {
        sim_mapping *m = KITH_OF(link, sim_mapping, link);
        if (m->tcp != c->tcp || !kith_addr_equal(out ? &m->inside : &m->outside, out ? &c->source : &c->target))
            continue;
        if (out && !kith_addr_equal(&m->remote, &remote)) continue;
        if (!is_alive(nat, m)) {
            mapping_free(nat, m);
            continue;
        }
        kith_list_remove(link);
        kith_list_prepend(&nat->mappings, link);
        return m;
    }
    return NULL;
}

/* ---- new mappings ---- */

static bool is_free(const kith_sim_nat *nat, bool tcp, const kith_addr *outside)
{
    KITH_EACH (link, &nat->mappings) {
        const sim_mapping *m = KITH_OF(link, sim_mapping, link);
        if (m->tcp == tcp && kith_addr_equal(&m->outside, outside)) return false;
    }
    return true;
}

/* One of the NAT's IPv4 addresses; false when it has none (any more). */
static bool pick_address(kith_sim_nat *nat, const kith_addr *inside, kith_addr *out)
{
    const sim_iface *iface = kith__sim_iface_on(nat->host, nat->outside);
    kith_addr addrs[sizeof iface->addrs / sizeof *iface->addrs];
    size_t count = 0;
    KITH_EACH (link, &nat->mappings) {
        const sim_mapping *m = KITH_OF(link, sim_mapping, link);
        if (nat->config.arbitrary_pooling || !kith_addr_same_ip(&m->inside, inside)) continue;
        *out = m->outside;
        return true;
    }
    for (size_t i = 0; iface && i < iface->addr_count; i++) {
        if (iface->addrs[i].family == KITH_FAMILY_IPV4) addrs[count++] = iface->addrs[i];
    }
    if (!count) return false;
    *out = addrs[kith__sim_rng_below(&nat->host->rng, count)];
    return true;
}

static bool pick_port(kith_sim_nat *nat, bool tcp, const kith_addr *inside, kith_addr *outside)
{
    bool sequential = nat->config.ports == KITH_SIM_NAT_SEQUENTIAL;
    outside->port = inside->port;
    if (nat->config.ports == KITH_SIM_NAT_PRESERVE && inside->port >= KITH_SIM_NAT_PORT_FIRST &&
        is_free(nat, tcp, outside))
        return true;
    unsigned first = sequential ? nat->next_port : (unsigned)kith__sim_rng_below(&nat->host->rng, PORT_COUNT);
    for (unsigned i = 0; i < PORT_COUNT; i++) {
        unsigned at = (first + i) % PORT_COUNT;
        outside->port = (uint16_t)(KITH_SIM_NAT_PORT_FIRST + at);
        if (!is_free(nat, tcp, outside)) continue;
        if (sequential) nat->next_port = (at + 1) % PORT_COUNT;
        return true;
    }
    return false;
}

/* NULL: the table is full, or memory, addresses or ports have run out. */
static sim_mapping *mapping_new(kith_sim_nat *nat, const sim_crossing *c)
{
    size_t most = nat->config.max_mappings ? nat->config.max_mappings : KITH_SIM_NAT_MAPPINGS;
    kith_addr outside;
    sweep(nat);
    if (nat->count >= most || !pick_address(nat, &c->source, &outside)) return NULL;
    if (!pick_port(nat, c->tcp, &c->source, &outside)) return NULL;
    sim_mapping *m = kith_calloc(1, sizeof *m);
    if (!m) return NULL;
    m->tcp = c->tcp;
    m->inside = c->source;
    m->outside = outside;
    m->remote = as_far_as(nat->config.mapping, &c->target);
    kith_list_prepend(&nat->mappings, &m->link);
    nat->count++;
    kith__sim_note(nat->sim, "map", nat->host, outside.port, outside.ip, 4);
    return m;
}

/* ---- filters ---- */

static sim_filter *filter_find(sim_mapping *m, const kith_addr *remote)
{
    for (size_t i = 0; i < m->filter_count; i++) {
        if (kith_addr_equal(&m->filters[i].remote, remote)) return &m->filters[i];
    }
    return NULL;
}

static sim_filter *filter_new(sim_mapping *m)
{
    if (m->filter_count == KITH_SIM_NAT_FILTERS_MAX) {
        sim_filter *oldest = m->filters;
        for (size_t i = 1; i < m->filter_count; i++) {
            if (m->filters[i].used_ns < oldest->used_ns) oldest = &m->filters[i];
        }
        return oldest;
    }
    if (m->filter_count == m->filter_cap) {
        size_t cap = m->filter_cap ? 2 * m->filter_cap : 2;
        sim_filter *grown = kith_realloc(m->filters, cap * sizeof *grown);
        if (!grown) return NULL;
        m->filters = grown;
        m->filter_cap = cap;
    }
    return &m->filters[m->filter_count++];
}

/* From now on this remote side may answer; false: out of memory. */
static bool admit(const kith_sim_nat *nat, sim_mapping *m, const kith_addr *remote)
{
    kith_addr seen = as_far_as(nat->config.filtering, remote);
    sim_filter *filter = filter_find(m, &seen);
    if (!filter) filter = filter_new(m);
    if (!filter) return false;
    *filter = (sim_filter){.remote = seen, .used_ns = nat->sim->now_ns};
    return true;
}

/* Who was not written to for a mapping's lifetime is a stranger again; where everybody may come in, that is all. */
static bool is_admitted(const kith_sim_nat *nat, sim_mapping *m, const kith_addr *remote)
{
    kith_addr seen = as_far_as(nat->config.filtering, remote);
    const sim_filter *filter = filter_find(m, &seen);
    if (nat->config.filtering == KITH_SIM_NAT_ENDPOINT_INDEPENDENT) return true;
    return filter && nat->sim->now_ns - filter->used_ns < m->lifetime_ns;
}

/* ---- crossing ---- */

/* By the port of the remote side. */
static bool is_blocked(const kith_sim_nat *nat, bool tcp, uint16_t port)
{
    if (!tcp) return nat->config.udp_blocked;
    for (size_t i = 0; i < KITH_SIM_NAT_TCP_PORTS; i++) {
        if (nat->config.tcp_ports[i] && nat->config.tcp_ports[i] == port) return false;
    }
    return nat->config.tcp_blocked;
}

static sim_verdict unwanted(const kith_sim_nat *nat, const sim_crossing *c)
{
    return c->tcp && nat->config.refuse_tcp ? SIM_REFUSE : SIM_DROP;
}

static void refresh(const kith_sim_nat *nat, sim_mapping *m, const sim_crossing *c)
{
    m->used_ns = nat->sim->now_ns;
    m->closing = (m->closing && !c->first) || c->last;
    if (!c->tcp) {
        m->lifetime_ns = nat->config.udp_lifetime_ns ? nat->config.udp_lifetime_ns : KITH_SIM_NAT_UDP_NS;
    } else {
        m->lifetime_ns = c->first || m->closing ? KITH_SIM_NAT_TCP_EDGE_NS : KITH_SIM_NAT_TCP_NS;
    }
}

static sim_verdict go_in(kith_sim_nat *nat, sim_crossing *c)
{
    sim_iface *iface = kith__sim_iface_on(nat->host, nat->inside);
    if (is_blocked(nat, c->tcp, c->source.port)) return unwanted(nat, c);
    sim_mapping *m = is_ours(nat, &c->target) ? find(nat, c, false) : NULL;
    if (!m || !is_admitted(nat, m, &c->source)) return unwanted(nat, c);
    if (!iface || !kith__sim_way_by(iface, &m->inside, &c->way)) return SIM_DROP;
    if (c->tcp || nat->config.inbound_refresh) {
        refresh(nat, m, c);
        (void)admit(nat, m, &c->source); /* it is: this finds it */
    }
    c->target = m->inside;
    return SIM_FORWARD;
}

static sim_verdict go_out(kith_sim_nat *nat, sim_crossing *c)
{
    sim_iface *iface = kith__sim_iface_on(nat->host, nat->outside);
    if (is_blocked(nat, c->tcp, c->target.port)) return unwanted(nat, c);
    bool back = is_ours(nat, &c->target);
    if (!iface || c->target.family != KITH_FAMILY_IPV4 || kith__sim_host_has(nat->host, &c->target) != back)
        return SIM_DROP;
    if (back ? !nat->config.hairpin : !kith__sim_way_by(iface, &c->target, &c->way)) return SIM_DROP;
    sim_mapping *m = find(nat, c, true);
    if (!m && c->tcp && !c->first) return unwanted(nat, c); /* of a connection that is not known (any more) */
    if (!m) m = mapping_new(nat, c);
    if (!m) return SIM_DROP;
    refresh(nat, m, c);
    if (!admit(nat, m, &c->target)) return SIM_DROP;
    c->source = m->outside;
    return back ? go_in(nat, c) : SIM_FORWARD;
}

sim_verdict kith__sim_nat_cross(kith_sim_nat *nat, sim_crossing *c)
{
    if (!kith__sim_iface_on(nat->host, c->by)) return SIM_DROP; /* pulled meanwhile */
    c->source.scope = c->target.scope = 0;
    return c->by == nat->inside ? go_out(nat, c) : go_in(nat, c);
}

/* ---- NATs ---- */

static bool is_inside(const kith_sim_lan *lan, const kith_sim_lan *of)
{
    for (; lan->gateway; lan = lan->gateway->outside) {
        if (lan->gateway->outside == of) return true;
    }
    return false;
}

bool kith__sim_nat_between(const kith_sim_lan *a, const kith_sim_lan *b) { return is_inside(a, b) || is_inside(b, a); }

/* How many NATs one has to pass to get out of there, and how many there are below it on the longest way. */
static unsigned depth_above(const kith_sim_lan *lan)
{
    unsigned depth = 0;
    for (; lan->gateway; lan = lan->gateway->outside) depth++;
    return depth;
}

static unsigned depth_below(const kith_sim_lan *lan)
{
    unsigned most = 0, above = depth_above(lan);
    KITH_EACH (link, &lan->sim->networks) {
        const kith_sim_lan *other = KITH_OF(link, kith_sim_lan, link);
        if (is_inside(other, lan) && depth_above(other) - above > most) most = depth_above(other) - above;
    }
    return most;
}

static kith_err check(const kith_sim *sim, const kith_sim_lan *inside, const kith_sim_lan *outside, const char *text)
{
    kith_addr addr;
    if (inside->sim != sim || outside->sim != sim || inside == outside) return KITH_ERR_ARG;
    if (kith_addr_parse(text, &addr) || addr.family != KITH_FAMILY_IPV4 || is_inside(outside, inside))
        return KITH_ERR_ARG;
    if (inside->gateway) return KITH_ERR_EXISTS;
    return depth_below(inside) + 1 + depth_above(outside) > KITH_SIM_NAT_DEPTH ? KITH_ERR_ARG : KITH_OK;
}

kith_err kith_sim_nat_new(kith_sim *sim, kith_sim_lan *inside, kith_sim_lan *outside, const char *addr,
                          const kith_sim_nat_config *config, kith_sim_nat **out)
{
    char name[sizeof inside->name + sizeof "-nat"];
    kith_sim_host *host = NULL;
    kith_sim_nat *nat = NULL;
    kith_err err = check(sim, inside, outside, addr);
    if (err) return err;
    snprintf(name, sizeof name, "%s-nat", inside->name);
    err = kith_sim_host_new(sim, name, &host);
    if (!err) nat = kith_calloc(1, sizeof *nat);
    if (!err && (!nat || !kith__sim_iface_new(host, inside))) err = KITH_ERR_NOMEM;
    if (!err) err = kith_sim_attach(host, outside, addr);
    if (err) {
        kith_free(nat);
        if (host) kith__sim_host_free(host);
        return err;
    }
    nat->sim = sim;
    nat->host = host;
    nat->inside = inside;
    nat->outside = outside;
    nat->config = *config;
    nat->next_port = (unsigned)kith__sim_rng_below(&host->rng, PORT_COUNT);
    kith_list_init(&nat->mappings);
    host->nat = inside->gateway = nat;
    *out = nat;
    return KITH_OK;
}

kith_sim_host *kith_sim_nat_host(const kith_sim_nat *nat) { return nat->host; }
void kith_sim_nat_configure(kith_sim_nat *nat, const kith_sim_nat_config *config) { nat->config = *config; }

void kith_sim_nat_restart(kith_sim_nat *nat)
{
    while (!kith_list_empty(&nat->mappings))
        mapping_free(nat, KITH_OF(kith_list_first(&nat->mappings), sim_mapping, link));
    kith__sim_note(nat->sim, "restart", nat->host, 0, NULL, 0);
}

size_t kith_sim_nat_mappings(kith_sim_nat *nat)
{
    sweep(nat);
    return nat->count;
}

void kith__sim_nat_free(kith_sim_nat *nat)
{
    if (!nat) return;
    while (!kith_list_empty(&nat->mappings))
        mapping_free(nat, KITH_OF(kith_list_first(&nat->mappings), sim_mapping, link));
    kith_free(nat);
}
