/* Byte streams: what the two ends of a connection do.  Go-back-N: what arrives out of order is dropped, and when an
 * acknowledgement does not come in time, all from there on is sent again.  Loss by chance needs none of that, since
 * sim_tcp_wire.c only makes what is hit late; partitions, addresses that move and full queues do. */
#include "base/mem.h"
#include "sim/sim_tcp.h"

#define SEGMENT_ASKED  65536u
#define PUSH_DELAY_NS  50000u              /* at most, until what is to be sent is; more may join it meanwhile */
#define RETRY_LEAST_NS (200 * KITH_SIM_MS) /* Linux' TCP_RTO_MIN */
#define RETRY_FIRST_NS KITH_SIM_S          /* before a round trip was seen (RFC 6298) */
#define BACKOFF_MAX    10u                 /* doublings: beyond the silence that is borne */
#define PROBE_MAX      5u                  /* the same, for asking whether the window is open: 6.4 s */
#define SILENCE_NS     (KITH_TCP_SILENCE_MS * KITH_SIM_MS)

static void pump_run(kith_sim *sim, sim_event *event);
static void retry_run(kith_sim *sim, sim_event *event);

static kith_sim_host *host_of(const kith_tcp *tcp) { return tcp->process->host; }
static kith_sim *sim_of(const kith_tcp *tcp) { return tcp->process->sim; }
static bool shaking(const kith_tcp *tcp) { return tcp->state == SIM_CONNECTING || tcp->state == SIM_ANSWERING; }

uint64_t kith__sim_tcp_unsent(const kith_tcp *tcp) { return tcp->end > tcp->high ? tcp->end - tcp->high : 0; }

/* ---- a connection's life ---- */

kith_tcp *kith__sim_tcp_new(sim_process *process, const kith_addr *local, const kith_addr *remote)
{
    kith_sim *sim = process->sim;
    kith_tcp *tcp = kith_calloc(1, sizeof *tcp);
    if (!tcp) return NULL;
    tcp->process = process;
    kith_err err = kith__sim_event_init(sim, &tcp->tell, kith__sim_tcp_tell_run);
    if (!err) err = kith__sim_event_init(sim, &tcp->pump, pump_run);
    if (!err) err = kith__sim_event_init(sim, &tcp->retry, retry_run);
    if (err) {
        kith__sim_tcp_delete(tcp);
        return NULL;
    }
    tcp->local = *local;
    tcp->remote = *remote;
    tcp->edge = tcp->in_edge = KITH_SIM_TCP_WINDOW;
    kith_list_prepend(&process->host->tcps, &tcp->host_link);
    return tcp;
}

void kith__sim_tcp_delete(kith_tcp *tcp)
{
    kith_sim *sim = sim_of(tcp);
    if (sim->asked == tcp) sim->asked = NULL;
    kith__sim_event_done(sim, &tcp->tell);
    kith__sim_event_done(sim, &tcp->pump);
    kith__sim_event_done(sim, &tcp->retry);
    kith_list_remove(&tcp->link);
    kith_list_remove(&tcp->host_link);
    kith_free(tcp->out.data);
    kith_free(tcp->in.data);
    kith_free(tcp);
}

/* Those used last are found first. */
kith_tcp *kith__sim_tcp_find(kith_sim_host *host, uint64_t id, bool accepted)
{
    KITH_EACH (link, &host->tcps) {
        kith_tcp *tcp = KITH_OF(link, kith_tcp, host_link);
        if (tcp->id != id || tcp->is_accepted != accepted) continue;
        kith_list_remove(link);
        kith_list_prepend(&host->tcps, link);
        return tcp;
    }
    return NULL;
}

void kith__sim_tcp_over(kith_tcp *tcp, kith_err why)
{
    if (tcp->state == SIM_GONE) return;
    kith__sim_event_cancel(sim_of(tcp), &tcp->pump);
    kith__sim_event_cancel(sim_of(tcp), &tcp->retry);
    kith_list_remove(&tcp->host_link);
    kith__sim_bytes_drop(&tcp->out, tcp->out.size);
    tcp->state = SIM_GONE;
    tcp->why = why;
    if (tcp->held) {
        kith__sim_tcp_tell(tcp);
    } else {
        kith__sim_tcp_delete(tcp);
    }
}

void kith__sim_host_tcp_done(kith_sim_host *host)
{
    KITH_EACH (link, &host->tcps) kith__sim_tcp_over(KITH_OF(link, kith_tcp, host_link), KITH_ERR_LOST);
}

static sim_head head_to_peer(const kith_tcp *tcp, sim_segment_kind kind)
{
    return (sim_head){
        .kind = kind, .id = tcp->id, .to_accepted = !tcp->is_accepted, .source = tcp->local, .target = tcp->remote};
}

static uint64_t retry_time(const kith_tcp *tcp)
{
    if (shaking(tcp)) return RETRY_FIRST_NS;
    return 2 * tcp->rtt_ns > RETRY_LEAST_NS ? 2 * tcp->rtt_ns : RETRY_LEAST_NS;
}

static bool launch(kith_tcp *tcp, sim_head *head, const uint8_t *data, sim_passage *passage)
{
    *passage = (sim_passage){.retry_ns = shaking(tcp) ? RETRY_FIRST_NS : RETRY_LEAST_NS};
    if (!shaking(tcp) && tcp->rtt_ns > RETRY_LEAST_NS) passage->retry_ns = tcp->rtt_ns;
    if (head->kind == SIM_DATA) passage->not_before = tcp->last_ns;
    return kith__sim_tcp_launch(host_of(tcp), head, data, passage);
}

void kith__sim_tcp_abort(kith_tcp *tcp)
{
    sim_head head = head_to_peer(tcp, SIM_RESET);
    sim_passage passage;
    (void)launch(tcp, &head, NULL, &passage);
    kith__sim_tcp_over(tcp, KITH_ERR_CLOSED);
}

/* ---- waiting for answers ---- */

static bool unanswered(const kith_tcp *tcp) { return shaking(tcp) || tcp->acked < tcp->next || tcp->probed; }

static uint64_t give_up_at(const kith_tcp *tcp)
{
    return tcp->silent_ns + (shaking(tcp) ? KITH_SIM_TCP_CONNECT_NS : SILENCE_NS);
}

/* After what happened: when to look whether there was an answer. */
static void arm(kith_tcp *tcp)
{
    if (!unanswered(tcp) && !tcp->probing) {
        kith__sim_event_cancel(sim_of(tcp), &tcp->retry);
        return;
    }
    uint64_t at = tcp->due_ns + (retry_time(tcp) << tcp->backoff);
    if (unanswered(tcp) && at > give_up_at(tcp)) at = give_up_at(tcp);
    kith__sim_event_at(sim_of(tcp), &tcp->retry, at);
}

static void send_shake(kith_tcp *tcp)
{
    sim_head head = head_to_peer(tcp, tcp->state == SIM_CONNECTING ? SIM_SYN : SIM_SYN_ACK);
    sim_passage passage;
    (void)launch(tcp, &head, NULL, &passage);
    tcp->due_ns = sim_of(tcp)->now_ns;
    arm(tcp);
}

void kith__sim_tcp_begin(kith_tcp *tcp)
{
    tcp->silent_ns = sim_of(tcp)->now_ns;
    send_shake(tcp);
}

static void send_probe(kith_tcp *tcp)
{
    kith_sim *sim = sim_of(tcp);
    sim_head head = head_to_peer(tcp, SIM_DATA);
    sim_passage passage;
    head.offset = tcp->next;
    if (!tcp->probed) tcp->silent_ns = sim->now_ns;
    tcp->probed = true;
    (void)launch(tcp, &head, NULL, &passage);
    tcp->due_ns = sim->now_ns;
    arm(tcp);
}

static void retry_run(kith_sim *sim, sim_event *event)
{
    kith_tcp *tcp = KITH_OF(event, kith_tcp, retry);
    kith__sim_note(sim, "retry", host_of(tcp), tcp->local.port, NULL, 0);
    if (unanswered(tcp) && sim->now_ns >= give_up_at(tcp)) {
        kith__sim_tcp_over(tcp, shaking(tcp) ? KITH_ERR_UNREACHABLE : KITH_ERR_LOST);
        return;
    }
    if (tcp->backoff < (tcp->probing ? PROBE_MAX : BACKOFF_MAX)) tcp->backoff++;
    tcp->stuck = false;
    tcp->sample = 0;
    if (shaking(tcp)) {
        send_shake(tcp);
    } else if (tcp->acked < tcp->next) {
        tcp->next = tcp->acked;
        tcp->last_ns = 0; /* what was sent before will not come */
        kith__sim_event_at(sim, &tcp->pump, sim->now_ns);
    } else {
        send_probe(tcp);
    }
}

/* ---- sending ---- */

void kith__sim_tcp_push(kith_tcp *tcp)
{
    kith_sim *sim = sim_of(tcp);
    if (tcp->state != SIM_OPEN || tcp->stuck || tcp->pump.slot) return;
    uint64_t at = sim->now_ns;
    if (kith__sim_rng_below(&sim->rng, 4) == 0) at += kith__sim_rng_below(&sim->rng, PUSH_DELAY_NS);
    kith__sim_event_at(sim, &tcp->pump, at > tcp->clear_ns ? at : tcp->clear_ns);
}

/* The window is closed: ask now and then whether it still is, since the word that it is not may get lost. */
static void begin_probing(kith_tcp *tcp)
{
    if (tcp->probing || tcp->next >= tcp->end || tcp->acked < tcp->next) return;
    tcp->probing = true;
    tcp->backoff = 0;
    tcp->due_ns = sim_of(tcp)->now_ns;
    arm(tcp);
}

/* One segment; the next when this one has left. */
static void pump_run(kith_sim *sim, sim_event *event)
{
    kith_tcp *tcp = KITH_OF(event, kith_tcp, pump);
    sim_head head = head_to_peer(tcp, SIM_DATA);
    sim_passage passage;
    uint64_t limit = tcp->end < tcp->edge ? tcp->end : tcp->edge, left = limit > tcp->next ? limit - tcp->next : 0;
    if (tcp->stuck || tcp->next > tcp->end) return;
    head.offset = tcp->next;
    head.size = left < SEGMENT_ASKED ? (size_t)left : SEGMENT_ASKED;
    head.fin = tcp->shut && tcp->next + head.size == tcp->end;
    if (!head.size && !head.fin) {
        begin_probing(tcp);
        return;
    }
    const uint8_t *data = head.size ? tcp->out.data + tcp->out.start + (tcp->next - tcp->acked) : NULL;
    tcp->stuck = !launch(tcp, &head, data, &passage);
    bool again = tcp->next < tcp->high;
    if (tcp->acked == tcp->next) {
        if (!again) tcp->silent_ns = sim->now_ns;
        tcp->due_ns = 0;
    }
    tcp->next += head.size + head.fin;
    if (tcp->next > tcp->high) tcp->high = tcp->next;
    if (passage.at_ns > tcp->due_ns) tcp->due_ns = passage.at_ns;
    if (!tcp->stuck) tcp->last_ns = passage.at_ns;
    tcp->clear_ns = passage.clear_ns;
    if (!tcp->sample && !again && !tcp->stuck && passage.clean) {
        tcp->sample = tcp->next;
        tcp->sample_ns = sim->now_ns;
    }
    arm(tcp);
    if (!tcp->stuck) kith__sim_event_at(sim, &tcp->pump, tcp->clear_ns);
    if (tcp->want_writable) kith__sim_tcp_tell(tcp);
}

void kith__sim_tcp_shut(kith_tcp *tcp)
{
    if (tcp->shut || tcp->state == SIM_GONE) return;
    tcp->shut = true;
    kith__sim_tcp_was_read(tcp, tcp->in.size); /* nobody does */
    if (tcp->state == SIM_OPEN) {
        kith__sim_tcp_push(tcp);
    } else {
        kith__sim_tcp_over(tcp, KITH_ERR_CLOSED); /* the answer to what comes yet is a reset */
    }
}

/* ---- acknowledgements ---- */

static uint64_t welcome(const kith_tcp *tcp) { return tcp->in_next + KITH_SIM_TCP_WINDOW - tcp->in.size; }

static void send_ack(kith_tcp *tcp)
{
    sim_head head = head_to_peer(tcp, SIM_ACK);
    sim_passage passage;
    if (welcome(tcp) > tcp->in_edge) tcp->in_edge = welcome(tcp);
    head.offset = tcp->in_next + tcp->in_fin;
    head.edge = tcp->in_edge;
    (void)launch(tcp, &head, NULL, &passage);
}

void kith__sim_tcp_was_read(kith_tcp *tcp, size_t size)
{
    kith__sim_bytes_drop(&tcp->in, size);
    if (tcp->state == SIM_OPEN && welcome(tcp) - tcp->in_edge >= KITH_SIM_TCP_WINDOW / 4) send_ack(tcp);
}

static void take_ack(kith_tcp *tcp, const sim_head *head)
{
    kith_sim *sim = sim_of(tcp);
    if (head->edge > tcp->edge) tcp->edge = head->edge;
    if (head->offset > tcp->acked && head->offset <= tcp->high) {
        uint64_t known = tcp->acked < tcp->end ? tcp->acked : tcp->end;
        uint64_t bytes = (head->offset < tcp->end ? head->offset : tcp->end) - known;
        kith__sim_bytes_drop(&tcp->out, (size_t)bytes);
        tcp->acked = head->offset;
        if (tcp->next < tcp->acked) tcp->next = tcp->acked;
        if (tcp->sample && tcp->acked >= tcp->sample) {
            tcp->rtt_ns = sim->now_ns - tcp->sample_ns;
            tcp->sample = 0;
        }
        tcp->backoff = 0;
        tcp->silent_ns = sim->now_ns;
    }
    if (tcp->shut && tcp->acked > tcp->end) {
        kith__sim_tcp_over(tcp, KITH_ERR_CLOSED); /* all that was sent is there, and the end */
        return;
    }
    tcp->probed = false;
    if (tcp->probing && tcp->edge > tcp->next) {
        tcp->probing = false;
        tcp->backoff = 0;
    }
    if (tcp->acked == tcp->next) tcp->stuck = false; /* an earlier copy was there in the end */
    arm(tcp);
    kith__sim_tcp_push(tcp);
}

/* ---- what arrives ---- */

static void opened(kith_tcp *tcp)
{
    kith_sim *sim = sim_of(tcp);
    tcp->tell_connected = tcp->state == SIM_CONNECTING;
    tcp->state = SIM_OPEN;
    if (!tcp->backoff) tcp->rtt_ns = sim->now_ns - tcp->silent_ns;
    tcp->backoff = 0;
    kith__sim_note(sim, "open", host_of(tcp), tcp->local.port, NULL, 0);
    arm(tcp);
    kith__sim_tcp_tell(tcp);
}

static void take_data(kith_tcp *tcp, const sim_head *head, const uint8_t *data)
{
    bool read = tcp->listener || (tcp->held && !tcp->process->dead);
    if (head->offset <= tcp->in_next && tcp->in_next - head->offset <= head->size && !tcp->in_fin) {
        size_t known = (size_t)(tcp->in_next - head->offset), fresh = head->size - known;
        bool all = fresh <= tcp->in_edge - tcp->in_next;
        if (!all) fresh = (size_t)(tcp->in_edge - tcp->in_next);
        if (read && !kith__sim_bytes_reserve(&tcp->in, fresh)) return; /* as if it had got lost */
        if (read && fresh) kith__sim_bytes_put(&tcp->in, data + known, fresh);
        tcp->in_next += fresh;
        tcp->in_fin = head->fin && all;
        kith__sim_tcp_tell(tcp);
    }
    send_ack(tcp);
}

void kith__sim_tcp_arrived(kith_tcp *tcp, const sim_head *head, const uint8_t *data)
{
    bool answered =
        tcp->state == SIM_CONNECTING ? head->kind == SIM_SYN_ACK : tcp->state == SIM_ANSWERING && head->kind != SIM_SYN;
    if (head->kind == SIM_RESET) {
        kith__sim_tcp_over(tcp, tcp->state == SIM_CONNECTING ? KITH_ERR_UNREACHABLE : KITH_ERR_CLOSED);
        return;
    }
    if (answered) opened(tcp);
    if (tcp->state == SIM_ANSWERING) {
        send_shake(tcp);
    } else if (tcp->state == SIM_OPEN && head->kind == SIM_DATA) {
        take_data(tcp, head, data);
    } else if (tcp->state == SIM_OPEN && head->kind == SIM_ACK) {
        take_ack(tcp, head);
    } else if (tcp->state == SIM_OPEN) {
        send_ack(tcp); /* a handshake's end got lost */
    }
}

void kith__sim_tcp_stray(kith_sim_host *host, const sim_head *head)
{
    kith_listener *listener = head->kind == SIM_SYN ? kith__sim_listener_at(host, &head->target) : NULL;
    if (!listener) {
        kith__sim_tcp_refuse(host, head);
        return;
    }
    kith_tcp *tcp = kith__sim_tcp_new(listener->process, &head->target, &head->source);
    if (!tcp) return; /* it will be asked again */
    tcp->listener = listener;
    tcp->id = head->id;
    tcp->is_accepted = true;
    tcp->state = SIM_ANSWERING;
    kith__sim_tcp_begin(tcp);
}

/* ---- bytes in a row ---- */

bool kith__sim_bytes_reserve(sim_bytes *bytes, size_t more)
{
    if (more <= bytes->cap - bytes->start - bytes->size) return true;
    if (bytes->size + more <= bytes->cap && bytes->start >= bytes->size) { /* each byte moves but once */
        memmove(bytes->data, bytes->data + bytes->start, bytes->size);
        bytes->start = 0;
        return true;
    }
    size_t cap = bytes->cap ? 2 * bytes->cap : 4096;
    while (cap < bytes->size + more) cap *= 2;
    uint8_t *data = kith_malloc(cap);
    if (!data) return false;
    if (bytes->size) memcpy(data, bytes->data + bytes->start, bytes->size);
    kith_free(bytes->data);
    *bytes = (sim_bytes){.data = data, .size = bytes->size, .cap = cap};
    return true;
}

void kith__sim_bytes_put(sim_bytes *bytes, const void *data, size_t size)
{
    memcpy(bytes->data + bytes->start + bytes->size, data, size);
    bytes->size += size;
}

void kith__sim_bytes_drop(sim_bytes *bytes, size_t size)
{
    bytes->start += size;
    bytes->size -= size;
    if (bytes->size) return;
    kith_free(bytes->data);
    *bytes = (sim_bytes){0};
}
