#include "path/nat_probe.h"

#include <string.h>

/* Where each kind of question has its place. */
enum {
    SOCKETS_AT = KITH_NAT_SERVERS_MAX, /* of the second socket on */
    SIZES_AT = SOCKETS_AT + KITH_NAT_SOCKETS - 1,
    KNOCKS_AT = SIZES_AT + KITH_NAT_SIZES
};
_Static_assert(KNOCKS_AT + KITH_NAT_KNOCKS == KITH_NAT_QUESTIONS, "each question has a place");

static const size_t sizes[KITH_NAT_SIZES] = {KITH_NAT_QUIC_SIZE, KITH_NAT_SIZE_MAX};

/* The first, knocking or not, is socket 0, and so on: who knocks, and where it should be heard. */
static const struct {
    size_t by, at;
} knocks[KITH_NAT_KNOCKS] = {{0, 1}, {1, 0}, {2, 1}};

void kith_nat_probe_init(kith_nat_probe *probe, const kith_addr *own, size_t own_count,
                         const uint16_t ports[static KITH_NAT_SOCKETS],
                         const uint8_t random[static KITH_NAT_RANDOM_SIZE])
{
    *probe = (kith_nat_probe){.own_count = own_count < KITH_NAT_OWN_MAX ? own_count : KITH_NAT_OWN_MAX};
    memcpy(probe->own, own, probe->own_count * sizeof *own);
    memcpy(probe->ports, ports, sizeof probe->ports);
    memcpy(probe->ids, random, sizeof probe->ids);
}

/* ---- what was found ---- */

const kith_nat_question *kith_nat_probe_server(const kith_nat_probe *probe, size_t index)
{
    return index < probe->servers ? &probe->questions[index] : NULL;
}

const kith_nat_question *kith_nat_probe_first(const kith_nat_probe *probe, unsigned family)
{
    for (size_t i = 0; i < probe->servers; i++) {
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ANSWERED && q->to.family == family) return q;
    }
    return NULL;
}

static bool is_own(const kith_nat_probe *probe, const kith_addr *addr)
{
    for (size_t i = 0; i < probe->own_count; i++)
        if (kith_addr_same_ip(&probe->own[i], addr)) return true;
    return false;
}

kith_nat_answer kith_nat_probe_translated(const kith_nat_probe *probe, unsigned family)
{
    if (!kith_nat_probe_first(probe, family)) return KITH_NAT_UNKNOWN;
    for (size_t i = 0; i < probe->servers; i++) {
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ANSWERED && q->to.family == family && !is_own(probe, &q->mapped)) return KITH_NAT_YES;
    }
    return KITH_NAT_NO;
}

kith_nat_by kith_nat_probe_mapping(const kith_nat_probe *probe, unsigned family)
{
    bool same[2] = {false, false}, other[2] = {false, false}; /* for two ports of one address; for two addresses */
    for (size_t i = 0; i < probe->servers; i++) {
        const kith_nat_question *a = &probe->questions[i];
        if (a->state != KITH_NAT_ANSWERED || a->to.family != family) continue;
        for (size_t j = 0; j < i; j++) {
            const kith_nat_question *b = &probe->questions[j];
            if (b->state != KITH_NAT_ANSWERED || b->to.family != family) continue;
            bool addresses = !kith_addr_same_ip(&a->to, &b->to);
            *(kith_addr_equal(&a->mapped, &b->mapped) ? &same[addresses] : &other[addresses]) = true;
        }
    }
    if (other[0]) return KITH_NAT_BY_ADDRESS_AND_PORT;
    if (other[1]) return same[0] ? KITH_NAT_BY_ADDRESS : KITH_NAT_BY_ADDRESS_MAYBE_PORT;
    return same[1] ? KITH_NAT_BY_NOTHING : KITH_NAT_BY_UNKNOWN;
}

kith_nat_answer kith_nat_probe_keeps_ports(const kith_nat_probe *probe)
{
    const kith_nat_question *first = kith_nat_probe_first(probe, KITH_FAMILY_IPV4);
    if (!first || kith_nat_probe_translated(probe, KITH_FAMILY_IPV4) != KITH_NAT_YES) return KITH_NAT_UNKNOWN;
    if (first->mapped.port != probe->ports[0]) return KITH_NAT_NO;
    for (size_t i = 1; i < KITH_NAT_SOCKETS; i++) {
        const kith_nat_question *q = &probe->questions[SOCKETS_AT + i - 1];
        if (q->state == KITH_NAT_ANSWERED && q->mapped.port != probe->ports[i]) return KITH_NAT_NO;
    }
    return KITH_NAT_YES;
}

static bool heard(const kith_nat_probe *probe, size_t knock)
{
    return probe->questions[KNOCKS_AT + knock].state == KITH_NAT_ANSWERED;
}

static bool unheard(const kith_nat_probe *probe, size_t knock)
{
    return probe->questions[KNOCKS_AT + knock].state == KITH_NAT_SILENT;
}

/* Where the mapping is not known, the knocks may have had another outside address than the filter was opened for. */
kith_nat_answer kith_nat_probe_hairpin(const kith_nat_probe *probe)
{
    if (heard(probe, 0) || heard(probe, 1)) return KITH_NAT_YES;
    bool known = kith_nat_probe_mapping(probe, KITH_FAMILY_IPV4) == KITH_NAT_BY_NOTHING;
    return known && unheard(probe, 0) && unheard(probe, 1) ? KITH_NAT_NO : KITH_NAT_UNKNOWN;
}

kith_nat_by kith_nat_probe_filtering(const kith_nat_probe *probe)
{
    if (heard(probe, 0)) return KITH_NAT_BY_NOTHING;
    if (!heard(probe, 1)) return KITH_NAT_BY_UNKNOWN;
    if (heard(probe, 2)) return KITH_NAT_BY_ADDRESS;
    return unheard(probe, 2) ? KITH_NAT_BY_ADDRESS_AND_PORT : KITH_NAT_BY_UNKNOWN;
}

size_t kith_nat_probe_largest(const kith_nat_probe *probe)
{
    size_t largest = 0;
    for (size_t i = 0; i < KNOCKS_AT; i++) {
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ANSWERED && q->size > largest) largest = q->size;
    }
    return largest;
}

/* ---- asking ---- */

static void ask(kith_nat_probe *probe, size_t place, size_t socket, const kith_addr *to, size_t size, uint64_t at_ns)
{
    probe->questions[place] =
        (kith_nat_question){.state = KITH_NAT_ASKING, .socket = socket, .to = *to, .size = size, .next_ns = at_ns};
}

/* The knock's target: the outside address of the socket where it should be heard.  False: nobody told it. */
static bool knock(kith_nat_probe *probe, size_t number, uint64_t now_ns)
{
    const kith_nat_question *first = kith_nat_probe_first(probe, KITH_FAMILY_IPV4);
    size_t by = knocks[number].by, at = knocks[number].at;
    const kith_nat_question *target = at ? &probe->questions[SOCKETS_AT + at - 1] : first;
    bool mapped = !by || probe->questions[SOCKETS_AT + by - 1].state == KITH_NAT_ANSWERED;
    if (!mapped || !target || target->state != KITH_NAT_ANSWERED) return false;
    ask(probe, KNOCKS_AT + number, by, &target->mapped, KITH_STUN_REQUEST_SIZE, now_ns);
    return true;
}

static void ask_more(kith_nat_probe *probe, uint64_t now_ns)
{
    const kith_nat_question *four = kith_nat_probe_first(probe, KITH_FAMILY_IPV4),
                            *any = four ? four : kith_nat_probe_first(probe, KITH_FAMILY_IPV6);
    kith_nat_by mapping = kith_nat_probe_mapping(probe, KITH_FAMILY_IPV4);
    bool steady = mapping == KITH_NAT_BY_NOTHING || mapping == KITH_NAT_BY_UNKNOWN;
    for (size_t i = 0; any && i < KITH_NAT_SIZES; i++) ask(probe, SIZES_AT + i, 0, &any->to, sizes[i], now_ns);
    if (!steady || kith_nat_probe_translated(probe, KITH_FAMILY_IPV4) != KITH_NAT_YES) return;
    for (size_t i = 1; i < KITH_NAT_SOCKETS; i++)
        ask(probe, SOCKETS_AT + i - 1, i, &four->to, KITH_STUN_REQUEST_SIZE, now_ns);
}

static bool asking(const kith_nat_probe *probe)
{
    if (probe->phase == KITH_NAT_PHASE_SERVERS && !probe->complete) return true;
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++)
        if (probe->questions[i].state == KITH_NAT_ASKING) return true;
    return false;
}

static void go_on(kith_nat_probe *probe, uint64_t now_ns)
{
    while (probe->phase != KITH_NAT_PHASE_OVER && !asking(probe)) {
        bool goes_on = true;
        switch (probe->phase) {
        case KITH_NAT_PHASE_SERVERS: ask_more(probe, now_ns); break;
        case KITH_NAT_PHASE_MORE: goes_on = knock(probe, 0, now_ns); break;
        case KITH_NAT_PHASE_KNOCK: goes_on = !heard(probe, 0) && knock(probe, 1, now_ns); break;
        case KITH_NAT_PHASE_BACK: goes_on = heard(probe, 1) && knock(probe, 2, now_ns); break;
        default: goes_on = false; break;
        }
        probe->phase = goes_on ? probe->phase + 1 : KITH_NAT_PHASE_OVER;
    }
}

kith_err kith_nat_probe_add(kith_nat_probe *probe, const kith_addr *server, uint64_t now_ns, size_t *index)
{
    if (server->family != KITH_FAMILY_IPV4 && server->family != KITH_FAMILY_IPV6) return KITH_ERR_ARG;
    if (!server->port || kith_addr_is_any(server)) return KITH_ERR_ARG;
    for (size_t i = 0; i < probe->servers; i++)
        if (kith_addr_equal(&probe->questions[i].to, server)) {
            *index = i;
            return KITH_OK;
        }
    if (probe->complete) return KITH_ERR_STATE;
    if (probe->servers == KITH_NAT_SERVERS_MAX) return KITH_ERR_LIMIT;
    ask(probe, probe->servers, 0, server, KITH_STUN_REQUEST_SIZE, now_ns + probe->servers * KITH_NAT_BETWEEN_NS);
    *index = probe->servers++;
    return KITH_OK;
}

void kith_nat_probe_complete(kith_nat_probe *probe, uint64_t now_ns)
{
    probe->complete = true;
    go_on(probe, now_ns);
}

/* ---- in and out ---- */

static size_t question_of(const kith_nat_probe *probe, const uint8_t *id)
{
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++)
        if (probe->questions[i].state == KITH_NAT_ASKING && memcmp(probe->ids[i], id, KITH_STUN_ID_SIZE) == 0) return i;
    return KITH_NAT_QUESTIONS;
}

/* An answer is one from there to here.  A knock is its own answer, by which way ever it came. */
void kith_nat_probe_input(kith_nat_probe *probe, size_t socket, const kith_addr *from, const void *data, size_t size,
                          uint64_t now_ns)
{
    kith_stun_message m;
    if (kith_stun_read(data, size, &m)) return;
    size_t place = question_of(probe, m.id);
    if (place == KITH_NAT_QUESTIONS) return;
    kith_nat_question *q = &probe->questions[place];
    if (place >= KNOCKS_AT) {
        if (m.type != KITH_STUN_REQUEST || socket != knocks[place - KNOCKS_AT].at) return;
    } else {
        bool answers = m.type == KITH_STUN_SUCCESS && m.mapped.family == q->to.family && m.mapped.port;
        if (!answers || socket != q->socket || !kith_addr_equal(from, &q->to)) return;
        q->mapped = m.mapped;
    }
    q->state = KITH_NAT_ANSWERED;
    if (q->tries == 1) q->rtt_ns = now_ns > q->sent_ns ? now_ns - q->sent_ns : 1;
    go_on(probe, now_ns);
}

static bool is_knock(size_t place) { return place >= KNOCKS_AT; }
static unsigned most_tries(size_t place) { return is_knock(place) ? KITH_NAT_KNOCK_TRIES : KITH_NAT_TRIES; }

static uint64_t wait_after(size_t place, unsigned tries)
{
    uint64_t wait = KITH_NAT_RTO_NS << (tries - 1);
    if (is_knock(place)) return KITH_NAT_KNOCK_NS;
    return wait < KITH_NAT_RTO_MAX_NS ? wait : KITH_NAT_RTO_MAX_NS;
}

bool kith_nat_probe_output(kith_nat_probe *probe, kith_nat_send *out, uint64_t now_ns)
{
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++) {
        kith_nat_question *q = &probe->questions[i];
        if (q->state != KITH_NAT_ASKING || q->next_ns > now_ns || q->tries == most_tries(i)) continue;
        out->question = i;
        out->socket = q->socket;
        out->to = q->to;
        out->size = q->size;
        kith_stun_write_padded(probe->ids[i], out->data, q->size);
        q->tries++;
        q->sent_ns = now_ns;
        q->next_ns = now_ns + wait_after(i, q->tries);
        return true;
    }
    return false;
}

void kith_nat_probe_unsendable(kith_nat_probe *probe, size_t question, uint64_t now_ns)
{
    if (probe->questions[question].state != KITH_NAT_ASKING) return;
    probe->questions[question].state = KITH_NAT_SILENT;
    go_on(probe, now_ns);
}

uint64_t kith_nat_probe_deadline_ns(const kith_nat_probe *probe)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++) {
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ASKING && q->next_ns < at) at = q->next_ns;
    }
    return at;
}

void kith_nat_probe_expire(kith_nat_probe *probe, uint64_t now_ns)
{
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++) {
        kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ASKING && q->next_ns <= now_ns && q->tries == most_tries(i))
            q->state = KITH_NAT_SILENT;
    }
    go_on(probe, now_ns);
}

bool kith_nat_probe_over(const kith_nat_probe *probe) { return probe->phase == KITH_NAT_PHASE_OVER; }
