/* Byte streams: how one segment travels.  It leaves over the hops of the way that there is now, through NATs as they
 * are now, and comes to whoever has its target's address when it arrives. */
#include "base/mem.h"
#include "sim/sim_tcp.h"

#define SEGMENT_MAX     65536u
#define SEGMENT_LEAST   1448u /* of payload in one packet: Ethernet, IPv4 and TCP with time stamps */
#define IPV4_HEADERS    52u   /* the same */
#define IPV6_HEADERS    72u
#define SEGMENT_RATE_NS (10 * KITH_SIM_MS) /* a segment holds a slow link no longer than that; */
#define QUEUE_SHARE     4u                 /* nor takes a larger part of its queue */
#define LOCAL_DELAY_NS  10000u
#define HOPS_MAX        (3 * (2 * KITH_SIM_NAT_DEPTH + 1)) /* up, down, and what lies between */
#define LOST_ROUNDS_MAX 8u /* more retransmissions in a row are not drawn, so that all loss below 1 lets bytes pass */

typedef struct sim_segment {
    kith_link link;
    sim_event event;
    kith_sim_host *from, *via, *to; /* who sent it, and whose interface it leaves last */
    const kith_sim_lan *lan;        /* where it arrives; NULL: inside the host */
    sim_head head;
    uint8_t data[];
} sim_segment;

static const char *const kinds[] = {"syn", "syn-ack", "segment", "ack", "reset"};

/* ---- arriving ---- */

static void segment_free(kith_sim *sim, sim_segment *segment)
{
    kith__sim_event_done(sim, &segment->event);
    kith_list_remove(&segment->link);
    kith_free(segment);
}

void kith__sim_segments_done(kith_sim *sim)
{
    while (!kith_list_empty(&sim->segments))
        segment_free(sim, KITH_OF(kith_list_first(&sim->segments), sim_segment, link));
}

static bool is_cut(kith_sim *sim, const kith_sim_host *from, const kith_sim_host *via, const kith_sim_host *to)
{
    return kith__sim_is_cut(sim, from, to, SIM_TCP) || (via != from && kith__sim_is_cut(sim, via, to, SIM_TCP));
}

/* Things have changed since it was sent. */
static bool reaches(kith_sim *sim, const sim_segment *segment)
{
    if (segment->to->down) return false;
    if (!segment->lan) return kith__sim_host_has(segment->to, &segment->head.target);
    const sim_iface *iface = kith__sim_lan_find(segment->lan, &segment->head.target);
    return iface && iface->host == segment->to && !is_cut(sim, segment->from, segment->via, segment->to);
}

/* As the receiver sees it: with the scope of the interface it came by. */
static void set_scope(kith_addr *addr, const sim_segment *segment)
{
    if (!segment->lan || addr->family != KITH_FAMILY_IPV6) return;
    addr->scope = kith_addr_is_link_local(addr) ? kith__sim_iface_on(segment->to, segment->lan)->index : 0;
}

static void segment_run(kith_sim *sim, sim_event *event)
{
    sim_segment *segment = KITH_OF(event, sim_segment, event);
    sim_head *head = &segment->head;
    if (!reaches(sim, segment)) {
        kith__sim_note(sim, "unheard", segment->to, head->size, segment->data, head->size);
        segment_free(sim, segment);
        return;
    }
    set_scope(&head->source, segment);
    set_scope(&head->target, segment);
    kith__sim_note(sim, "arrive", segment->to, head->size, segment->data, head->size);
    kith_tcp *tcp = kith__sim_tcp_find(segment->to, head->id, head->to_accepted);
    if (tcp) {
        kith__sim_tcp_arrived(tcp, head, segment->data);
    } else {
        kith__sim_tcp_stray(segment->to, head);
    }
    segment_free(sim, segment);
}

/* ---- leaving ---- */

typedef struct journey { /* from interface to interface */
    struct sim_hop hops[HOPS_MAX];
    size_t hop_count;
    sim_way first, last;
    kith_sim_host *via;       /* whose interface `last` leaves */
    kith_addr source, target; /* there */
    bool refused;             /* by the NAT that `last` goes to */
} journey;

/* Find the way, through all NATs on it.  False: there is none, or a NAT does not want it. */
static bool plan(kith_sim_host *host, const sim_head *head, journey *j)
{
    kith_sim *sim = host->sim;
    bool last = head->fin || head->kind == SIM_RESET;
    *j = (journey){.via = host, .source = head->source, .target = head->target};
    kith_addr source = head->source; /* its port stays */
    if (kith__sim_way(host, &source, &head->target, &j->last)) return false;
    for (j->first = j->last;;) {
        sim_way *way = &j->last;
        if (!way->from) return true;
        if (j->hop_count + way->hop_count > HOPS_MAX) return false;
        memcpy(j->hops + j->hop_count, way->hops, way->hop_count * sizeof *way->hops);
        j->hop_count += way->hop_count;
        if (!way->to || is_cut(sim, host, j->via, way->to->host)) return false;
        kith_sim_host *to = way->to->host;
        if (!to->nat) return true;
        sim_crossing c = {.by = way->to->lan, .tcp = true, .first = head->kind == SIM_SYN, .last = last};
        c.source = j->source;
        c.target = j->target;
        sim_verdict verdict = kith__sim_nat_cross(to->nat, &c);
        j->refused = verdict == SIM_REFUSE;
        if (verdict != SIM_FORWARD) return false;
        j->via = to;
        j->source = c.source;
        j->target = c.target;
        j->last = c.way;
    }
}

static void cut_to_fit(sim_head *head, const journey *j)
{
    uint64_t most = SEGMENT_MAX;
    for (size_t i = 0; i < j->hop_count; i++) {
        const kith_sim_link *link = j->hops[i].link;
        if (!link->rate) continue;
        if (link->rate / (KITH_SIM_S / SEGMENT_RATE_NS) < most) most = link->rate / (KITH_SIM_S / SEGMENT_RATE_NS);
        if (link->queue && link->queue / QUEUE_SHARE < most) most = link->queue / QUEUE_SHARE;
    }
    if (most < SEGMENT_LEAST) most = SEGMENT_LEAST;
    if (head->size <= most) return;
    head->size = (size_t)most;
    head->fin = false;
}

typedef struct travel {
    uint64_t at_ns;
    uint64_t longest_ns; /* that a hop's rate and queue took */
    unsigned lost;       /* rounds of retransmission */
} travel;

/* How often some of these packets have to be sent again until all are there. */
static unsigned lost_rounds(sim_rng *rng, double chance, size_t packets)
{
    unsigned rounds = 0;
    while (packets && rounds < LOST_ROUNDS_MAX) {
        size_t again = 0;
        for (size_t i = 0; i < packets; i++) again += kith__sim_rng_chance(rng, chance);
        packets = again;
        rounds += again > 0;
    }
    return rounds;
}

/* Past one hop; false: it ends there. */
static bool pass(kith_sim *sim, const struct sim_hop *hop, const sim_head *head, travel *t)
{
    const kith_sim_link *link = hop->link;
    struct sim_pipe *pipe = hop->pipe;
    if (link->loss >= 1) return false;
    size_t packets = head->size ? (head->size + SEGMENT_LEAST - 1) / SEGMENT_LEAST : 1;
    size_t size = head->size + packets * (head->target.family == KITH_FAMILY_IPV4 ? IPV4_HEADERS : IPV6_HEADERS);
    if (link->rate) {
        uint64_t came = t->at_ns, start = pipe->free_ns > came ? pipe->free_ns : came;
        bool bounded = link->queue && link->queue < UINT64_MAX / KITH_SIM_S;
        if (bounded && start - came > link->queue * KITH_SIM_S / link->rate) return false;
        t->at_ns = pipe->free_ns = start + size * KITH_SIM_S / link->rate;
        if (t->at_ns - came > t->longest_ns) t->longest_ns = t->at_ns - came;
    }
    /* One acknowledgement stands in for another. */
    if (head->kind != SIM_ACK && head->kind != SIM_RESET) t->lost += lost_rounds(&sim->rng, link->loss, packets);
    t->at_ns += link->delay_ns;
    if (link->jitter_ns) t->at_ns += kith__sim_rng_below(&sim->rng, link->jitter_ns + 1);
    if (t->at_ns < pipe->last_ns) t->at_ns = pipe->last_ns;
    pipe->last_ns = t->at_ns;
    return true;
}

/* `to` NULL: inside the host. */
static bool fly(kith_sim_host *from, kith_sim_host *via, const sim_iface *to, const sim_head *head, const uint8_t *data,
                uint64_t at_ns)
{
    kith_sim *sim = from->sim;
    sim_segment *segment = kith_malloc(sizeof *segment + head->size);
    if (!segment) return false;
    *segment = (sim_segment){.from = from, .via = via, .to = to ? to->host : from, .lan = to ? to->lan : NULL};
    segment->head = *head;
    if (head->size) memcpy(segment->data, data, head->size);
    if (kith__sim_event_init(sim, &segment->event, segment_run)) {
        kith_free(segment);
        return false;
    }
    kith_list_append(&sim->segments, &segment->link);
    kith__sim_event_at(sim, &segment->event, at_ns);
    return true;
}

static sim_head reset_for(const sim_head *head)
{
    return (sim_head){.kind = SIM_RESET,
                      .id = head->id,
                      .to_accepted = !head->to_accepted,
                      .source = head->target,
                      .target = head->source};
}

/* A NAT that it reaches then answers in the target's name; the way back takes as long. */
static void refused(kith_sim_host *from, const journey *j, const sim_head *head, uint64_t at_ns)
{
    kith_sim *sim = from->sim;
    sim_head answer = reset_for(head);
    kith__sim_note(sim, "refused", j->last.to->host, head->size, NULL, 0);
    if (head->kind != SIM_RESET)
        (void)fly(j->last.to->host, j->last.to->host, j->first.from, &answer, NULL, at_ns + (at_ns - sim->now_ns));
}

bool kith__sim_tcp_launch(kith_sim_host *host, sim_head *head, const uint8_t *data, sim_passage *passage)
{
    kith_sim *sim = host->sim;
    journey j;
    bool there = plan(host, head, &j), passed = there || j.refused;
    cut_to_fit(head, &j);
    travel t = {.at_ns = sim->now_ns + (j.last.from ? 0 : LOCAL_DELAY_NS)};
    for (size_t i = 0; passed && i < j.hop_count; i++) passed = pass(sim, &j.hops[i], head, &t);
    there = there && passed;
    t.at_ns += t.lost * passage->retry_ns;
    passage->clean = !t.lost && t.at_ns >= passage->not_before;
    passage->clear_ns = sim->now_ns + t.longest_ns;
    if (t.at_ns < passage->not_before) t.at_ns = passage->not_before;
    if (passed && j.refused) refused(host, &j, head, t.at_ns);
    if (there) {
        sim_head arriving = *head;
        arriving.source = j.source;
        arriving.target = j.target;
        there = fly(host, j.via, j.last.to, &arriving, data, t.at_ns);
    }
    passage->at_ns = there ? t.at_ns : sim->now_ns;
    kith__sim_note(sim, there ? kinds[head->kind] : "lost", host, head->size, data, head->size);
    return there;
}

void kith__sim_tcp_refuse(kith_sim_host *host, const sim_head *head)
{
    if (head->kind == SIM_RESET) return;
    sim_passage passage = {0};
    sim_head answer = reset_for(head);
    (void)kith__sim_tcp_launch(host, &answer, NULL, &passage);
}
