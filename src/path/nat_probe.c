#include "path/nat_probe.h"

#include <string.h>

/* Where each kind of question has its place. */
enum {
    SOCKETS_AT = KITH_NAT_SERVERS_MAX, /* of the second socket on */
    PROOFS_AT = SOCKETS_AT + KITH_NAT_SOCKETS - 1,
    STRANGERS_AT = PROOFS_AT + KITH_NAT_PROOFS,
    OTHER_PORT = STRANGERS_AT, /* of an address that was written to */
    OTHER_ADDRESS,             /* which was not */
    SIZES_AT = STRANGERS_AT + KITH_NAT_STRANGERS,
    KNOCKS_AT = SIZES_AT + KITH_NAT_SIZES
};
_Static_assert(KNOCKS_AT + KITH_NAT_KNOCKS == KITH_NAT_QUESTIONS, "each question has a place");

/* What is asked with first: packets as networks have them.  QUIC's least, IPv6's, tunnels, WireGuard, PPPoE, Ethernet,
 * the next larger, jumbo frames. */
static const size_t first_mtus[KITH_NAT_SIZES] = {1228, 1280, 1400, 1420, 1492, 1500, 1504, 9000};
#define STEP 4 /* bytes between two sizes: what STUN's padding makes of it */

/* Bytes of a packet that are not the datagram's: the IP header and UDP's. */
static size_t overhead(unsigned family) { return family == KITH_FAMILY_IPV4 ? 28 : 48; }

/* The first, knocking or not, is socket 0, and so on: who knocks, and where it should be heard. */
static const struct {
    size_t by, at;
} knocks[KITH_NAT_KNOCKS] = {{0, 1}, {1, 0}, {2, 1}};

void kith_nat_probe_init(kith_nat_probe *probe, const kith_addr *own, size_t own_count,
                         const uint16_t ports[static KITH_NAT_SOCKETS],
                         const uint8_t random[static KITH_NAT_RANDOM_SIZE])
{
    *probe = (kith_nat_probe){.own_count = own_count < KITH_NAT_OWN_MAX ? own_count : KITH_NAT_OWN_MAX,
                              .size_silent = SIZE_MAX};
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

static bool answered(const kith_nat_probe *probe, size_t place)
{
    return probe->questions[place].state == KITH_NAT_ANSWERED;
}

static bool silent(const kith_nat_probe *probe, size_t place)
{
    return probe->questions[place].state == KITH_NAT_SILENT;
}

static bool heard(const kith_nat_probe *probe, size_t knock) { return answered(probe, KNOCKS_AT + knock); }
static bool unheard(const kith_nat_probe *probe, size_t knock) { return silent(probe, KNOCKS_AT + knock); }

/* Where the mapping is not known, the knocks may have had another outside address than the filter was opened for. */
kith_nat_answer kith_nat_probe_hairpin(const kith_nat_probe *probe)
{
    if (heard(probe, 0) || heard(probe, 1)) return KITH_NAT_YES;
    bool known = kith_nat_probe_mapping(probe, KITH_FAMILY_IPV4) == KITH_NAT_BY_NOTHING;
    return known && unheard(probe, 0) && unheard(probe, 1) ? KITH_NAT_NO : KITH_NAT_UNKNOWN;
}

/* Servers tell it best: what the NAT itself turns around may be let in as nobody else is. */
kith_nat_by kith_nat_probe_filtering(const kith_nat_probe *probe)
{
    if (answered(probe, OTHER_ADDRESS)) return KITH_NAT_BY_NOTHING;
    if (silent(probe, OTHER_PORT)) return KITH_NAT_BY_ADDRESS_AND_PORT;
    if (answered(probe, OTHER_PORT) && silent(probe, OTHER_ADDRESS)) return KITH_NAT_BY_ADDRESS;
    if (heard(probe, 0)) return KITH_NAT_BY_NOTHING;
    if (answered(probe, OTHER_PORT)) return heard(probe, 1) ? KITH_NAT_BY_ADDRESS : KITH_NAT_BY_ADDRESS_OR_NOTHING;
    if (!heard(probe, 1)) return KITH_NAT_BY_UNKNOWN;
    if (heard(probe, 2)) return KITH_NAT_BY_ADDRESS;
    return unheard(probe, 2) ? KITH_NAT_BY_ADDRESS_AND_PORT : KITH_NAT_BY_UNKNOWN;
}

/* Whom sizes are asked of: a server that was proved to be one of ours, else any. */
static const kith_nat_question *sizes_of(const kith_nat_probe *probe)
{
    for (size_t i = 0; i < KITH_NAT_PROOFS; i++)
        if (answered(probe, PROOFS_AT + i)) return &probe->questions[PROOFS_AT + i];
    const kith_nat_question *four = kith_nat_probe_first(probe, KITH_FAMILY_IPV4);
    return four ? four : kith_nat_probe_first(probe, KITH_FAMILY_IPV6);
}

kith_nat_sizes kith_nat_probe_sizes(const kith_nat_probe *probe)
{
    kith_nat_sizes found = {0};
    const kith_nat_question *to = sizes_of(probe);
    if (!to) return found;
    found.largest = probe->size_answered > to->size ? probe->size_answered : to->size;
    found.mtu = found.largest + overhead(to->to.family);
    found.exact = probe->size_silent == found.largest + STEP;
    return found;
}

/* ---- asking ---- */

static void ask(kith_nat_probe *probe, size_t place, size_t socket, const kith_addr *to, size_t size, uint64_t at_ns)
{
    probe->questions[place] = (kith_nat_question){
        .state = KITH_NAT_ASKING, .socket = socket, .answers_at = socket, .to = *to, .size = size, .next_ns = at_ns};
}

/* The same in the form of RFC 5780, to be answered to this port. */
static void ask_elsewhere(kith_nat_probe *probe, size_t place, const kith_addr *to, uint16_t port, uint64_t now_ns)
{
    ask(probe, place, 0, to, KITH_STUN_ELSEWHERE_SIZE, now_ns);
    probe->questions[place].response_port = port;
}

/* ---- who may come in ---- */

/* Each asks for what is as usual: who answers that knows how to be asked for more.  Each address once, IPv4 first. */
static void ask_proofs(kith_nat_probe *probe, uint64_t now_ns)
{
    static const unsigned families[] = {KITH_FAMILY_IPV4, KITH_FAMILY_IPV6};
    size_t count = 0;
    for (size_t f = 0; f < 2; f++)
        for (size_t i = 0; i < probe->servers && count < KITH_NAT_PROOFS; i++) {
            const kith_nat_question *q = &probe->questions[i];
            bool again = false;
            for (size_t j = 0; j < count; j++)
                again = again || kith_addr_same_ip(&probe->questions[PROOFS_AT + j].to, &q->to);
            if (q->state != KITH_NAT_ANSWERED || q->to.family != families[f] || again) continue;
            ask_elsewhere(probe, PROOFS_AT + count++, &q->to, q->mapped.port, now_ns);
        }
}

/* A proved server over IPv4, at another address than this one (NULL: any); NULL: none. */
static const kith_nat_question *proved(const kith_nat_probe *probe, const kith_addr *but)
{
    for (size_t i = 0; i < KITH_NAT_PROOFS; i++) {
        const kith_nat_question *q = &probe->questions[PROOFS_AT + i];
        if (q->state == KITH_NAT_ANSWERED && q->to.family == KITH_FAMILY_IPV4 &&
            !(but && kith_addr_same_ip(&q->to, but)))
            return q;
    }
    return NULL;
}

/* Whom the other sockets write to: if possible not the only one that could be their stranger. */
static const kith_nat_question *opener(const kith_nat_probe *probe)
{
    for (size_t i = 0; i < probe->servers; i++) {
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ANSWERED && q->to.family == KITH_FAMILY_IPV4 && proved(probe, &q->to)) return q;
    }
    return kith_nat_probe_first(probe, KITH_FAMILY_IPV4);
}

/* One port for all, as far as is known: else what was learnt of a socket's port is worth nothing for others. */
static bool steady(const kith_nat_probe *probe)
{
    kith_nat_by mapping = kith_nat_probe_mapping(probe, KITH_FAMILY_IPV4);
    return mapping == KITH_NAT_BY_NOTHING || mapping == KITH_NAT_BY_UNKNOWN;
}

static void ask_strangers(kith_nat_probe *probe, uint64_t now_ns)
{
    const kith_nat_question *any = proved(probe, NULL), *second = &probe->questions[SOCKETS_AT];
    if (!any || kith_nat_probe_translated(probe, KITH_FAMILY_IPV4) != KITH_NAT_YES) return;
    ask_elsewhere(probe, OTHER_PORT, &any->to, any->mapped.port, now_ns);
    probe->questions[OTHER_PORT].other_port = true;
    if (second->state != KITH_NAT_ANSWERED) return;
    const kith_nat_question *stranger = proved(probe, &second->to);
    if (!stranger || !kith_addr_same_ip(&stranger->mapped, &second->mapped)) return;
    ask_elsewhere(probe, OTHER_ADDRESS, &stranger->to, second->mapped.port, now_ns);
    probe->questions[OTHER_ADDRESS].answers_at = second->socket;
}

/* ---- sizes ---- */

static bool is_size(size_t place) { return place >= SIZES_AT && place < KNOCKS_AT; }

static void ask_size(kith_nat_probe *probe, size_t number, const kith_addr *to, size_t size, uint64_t now_ns)
{
    probe->ids[SIZES_AT + number][KITH_STUN_ID_SIZE - 1]++; /* an answer of the round before is none */
    ask(probe, SIZES_AT + number, 0, to, size, now_ns);
}

/* Those of the round that is over. */
static void sum_up_sizes(kith_nat_probe *probe)
{
    for (size_t i = SIZES_AT; i < KNOCKS_AT; i++) {
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_ANSWERED && q->size > probe->size_answered) probe->size_answered = q->size;
    }
    for (size_t i = SIZES_AT; i < KNOCKS_AT; i++) { /* one that was lost is no limit, if a larger one got through */
        const kith_nat_question *q = &probe->questions[i];
        if (q->state == KITH_NAT_SILENT && q->size > probe->size_answered && q->size < probe->size_silent)
            probe->size_silent = q->size;
    }
    if (probe->size_silent <= probe->size_answered) probe->size_silent = SIZE_MAX;
}

/* The next round, of what is between the largest answered and the least that was not.  False: there is none. */
static bool ask_sizes(kith_nat_probe *probe, uint64_t now_ns)
{
    const kith_nat_question *of = sizes_of(probe);
    kith_addr to;
    if (!of) return false;
    to = of->to;
    size_t over = overhead(to.family), least = of->size;
    bool ours = of->response_port != 0;
    if (probe->size_rounds++ == 0) {
        for (size_t i = 0; i < KITH_NAT_SIZES; i++)
            if (ours || first_mtus[i] <= KITH_NAT_MTU_ANY) ask_size(probe, i, &to, first_mtus[i] - over, now_ns);
        return true;
    }
    sum_up_sizes(probe);
    if (probe->size_rounds > KITH_NAT_SIZE_ROUNDS) return false;
    if (probe->size_answered > least) least = probe->size_answered;
    if (!ours || probe->size_silent == SIZE_MAX) return false;
    size_t between = (probe->size_silent - least - 1) / STEP;
    size_t count = between < KITH_NAT_SIZES ? between : KITH_NAT_SIZES;
    for (size_t i = 0; i < KITH_NAT_SIZES; i++) probe->questions[SIZES_AT + i].state = KITH_NAT_UNASKED;
    for (size_t i = 1; i <= count; i++)
        ask_size(probe, i - 1, &to, least + (between + 1) * i / (count + 1) * STEP, now_ns);
    return count > 0;
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
    if (!steady(probe) || kith_nat_probe_translated(probe, KITH_FAMILY_IPV4) != KITH_NAT_YES) return;
    kith_addr to = opener(probe)->to;
    for (size_t i = 1; i < KITH_NAT_SOCKETS; i++)
        ask(probe, SOCKETS_AT + i - 1, i, &to, KITH_STUN_REQUEST_SIZE, now_ns);
}

/* Sizes are asked beside the rest. */
static bool asking(const kith_nat_probe *probe, bool sizes)
{
    for (size_t i = 0; i < KITH_NAT_QUESTIONS; i++)
        if (probe->questions[i].state == KITH_NAT_ASKING && is_size(i) == sizes) return true;
    return false;
}

static void go_on(kith_nat_probe *probe, uint64_t now_ns)
{
    if (!probe->complete) return;
    while (probe->phase != KITH_NAT_PHASE_OVER && !asking(probe, false)) {
        bool goes_on = true;
        switch (probe->phase) {
        case KITH_NAT_PHASE_SERVERS: ask_proofs(probe, now_ns); break;
        case KITH_NAT_PHASE_PROOFS: ask_more(probe, now_ns); break;
        case KITH_NAT_PHASE_MORE: ask_strangers(probe, now_ns); break;
        case KITH_NAT_PHASE_STRANGERS: goes_on = knock(probe, 0, now_ns); break;
        case KITH_NAT_PHASE_KNOCK: goes_on = !heard(probe, 0) && knock(probe, 1, now_ns); break;
        case KITH_NAT_PHASE_BACK: goes_on = heard(probe, 1) && knock(probe, 2, now_ns); break;
        default: goes_on = false; break;
        }
        probe->phase = goes_on ? probe->phase + 1 : KITH_NAT_PHASE_OVER;
    }
    while (probe->phase > KITH_NAT_PHASE_PROOFS && !probe->sizes_over && !asking(probe, true))
        probe->sizes_over = !ask_sizes(probe, now_ns);
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

/* From where it was asked, or from another port of it, as was asked for. */
static bool comes_from(const kith_nat_question *q, const kith_addr *from)
{
    if (q->other_port) return kith_addr_same_ip(from, &q->to) && from->port != q->to.port;
    return kith_addr_equal(from, &q->to);
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
    } else if (m.type == KITH_STUN_ERROR) {
        if (!q->response_port || socket != q->socket || !kith_addr_equal(from, &q->to)) return;
        q->state = KITH_NAT_REFUSED;
        go_on(probe, now_ns);
        return;
    } else {
        bool answers = m.type == KITH_STUN_SUCCESS && m.mapped.family == q->to.family && m.mapped.port;
        if (!answers || socket != q->answers_at || !comes_from(q, from)) return;
        q->mapped = m.mapped;
    }
    q->state = KITH_NAT_ANSWERED;
    if (q->tries == 1) q->rtt_ns = now_ns > q->sent_ns ? now_ns - q->sent_ns : 1;
    go_on(probe, now_ns);
}

/* What may well stay unanswered, of somebody who is there. */
static bool is_trial(size_t place) { return place >= STRANGERS_AT; }
static unsigned most_tries(size_t place) { return is_trial(place) ? KITH_NAT_KNOCK_TRIES : KITH_NAT_TRIES; }

static uint64_t wait_after(size_t place, unsigned tries)
{
    uint64_t wait = KITH_NAT_RTO_NS << (tries - 1);
    if (is_trial(place)) return KITH_NAT_KNOCK_NS;
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
        if (q->response_port)
            kith_stun_write_elsewhere(probe->ids[i], q->other_port, q->response_port, out->data);
        else
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

bool kith_nat_probe_over(const kith_nat_probe *probe)
{
    return probe->phase == KITH_NAT_PHASE_OVER && probe->sizes_over;
}
