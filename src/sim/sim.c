/* Time, chance and the trace; hosts. */
#include "sim/sim.h"

#include "base/mem.h"
#include "sim/sim_internal.h"

#include <inttypes.h>

#define STANDSTILL  1000000u /* events at one instant: somebody sets a timer to the past for ever */
#define NOTED_BYTES 64u      /* of data, in the trace; and */
#define SHOWN_BYTES 16u      /* in its text */

/* ---- chance ---- */

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Streams of one seed are independent: what one part of the world draws does not change what another sees. */
void kith__sim_rng_init(sim_rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    state = splitmix(&state) ^ stream;
    for (size_t i = 0; i < 4; i++) rng->s[i] = splitmix(&state);
}

static uint64_t rotate(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

uint64_t kith__sim_rng_next(sim_rng *rng)
{
    uint64_t *s = rng->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* The remainder's bias, below 2^-24 for the bounds used here, is of no concern to a simulation. */
uint64_t kith__sim_rng_below(sim_rng *rng, uint64_t bound) { return bound ? kith__sim_rng_next(rng) % bound : 0; }

bool kith__sim_rng_chance(sim_rng *rng, double chance)
{
    if (!(chance > 0)) return false;
    return (double)(kith__sim_rng_next(rng) >> 11) * 0x1p-53 < chance;
}

uint64_t kith_sim_random(kith_sim *sim) { return kith__sim_rng_next(&sim->rng); }

/* ---- events: a binary heap that knows each event's place in it ---- */

static bool before(const sim_event *a, const sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void put(kith_sim *sim, size_t slot, sim_event *event)
{
    sim->heap[slot] = event;
    event->slot = slot + 1;
}

static void sift_up(kith_sim *sim, size_t slot, sim_event *event)
{
    for (; slot && before(event, sim->heap[(slot - 1) / 2]); slot = (slot - 1) / 2)
        put(sim, slot, sim->heap[(slot - 1) / 2]);
    put(sim, slot, event);
}

static void sift_down(kith_sim *sim, size_t slot, sim_event *event)
{
    for (size_t child; (child = 2 * slot + 1) < sim->heap_count; slot = child) {
        if (child + 1 < sim->heap_count && before(sim->heap[child + 1], sim->heap[child])) child++;
        if (!before(sim->heap[child], event)) break;
        put(sim, slot, sim->heap[child]);
    }
    put(sim, slot, event);
}

kith_err kith__sim_event_init(kith_sim *sim, sim_event *event, void (*run)(kith_sim *, sim_event *))
{
    if (sim->heap_promised == sim->heap_cap) {
        size_t cap = sim->heap_cap ? 2 * sim->heap_cap : 64;
        sim_event **heap = kith_realloc(sim->heap, cap * sizeof *heap);
        if (!heap) return KITH_ERR_NOMEM;
        sim->heap = heap;
        sim->heap_cap = cap;
    }
    sim->heap_promised++;
    *event = (sim_event){.run = run};
    return KITH_OK;
}

void kith__sim_event_cancel(kith_sim *sim, sim_event *event)
{
    if (!event->slot) return;
    size_t slot = event->slot - 1;
    sim_event *last = sim->heap[--sim->heap_count];
    event->slot = 0;
    if (last == event) return;
    if (slot && before(last, sim->heap[(slot - 1) / 2])) {
        sift_up(sim, slot, last);
    } else {
        sift_down(sim, slot, last);
    }
}

void kith__sim_event_at(kith_sim *sim, sim_event *event, uint64_t at_ns)
{
    kith__sim_event_cancel(sim, event);
    event->at_ns = at_ns > sim->now_ns ? at_ns : sim->now_ns;
    event->seq = sim->next_seq++;
    sift_up(sim, sim->heap_count++, event);
}

void kith__sim_event_done(kith_sim *sim, sim_event *event)
{
    if (!event->run) return;
    kith__sim_event_cancel(sim, event);
    event->run = NULL;
    sim->heap_promised--;
}

sim_event *kith__sim_event_first(kith_sim *sim) { return sim->heap_count ? sim->heap[0] : NULL; }

bool kith_sim_step(kith_sim *sim)
{
    sim_event *event = kith__sim_event_first(sim);
    if (!event) return false;
    if (event->at_ns != sim->now_ns) sim->at_this_instant = 0;
    sim->at_this_instant++;
    sim->now_ns = event->at_ns;
    kith__sim_event_cancel(sim, event);
    event->run(sim, event); /* may free it */
    return true;
}

bool kith_sim_run_until(kith_sim *sim, bool (*done)(void *user), void *user, uint64_t limit_ns)
{
    uint64_t end = limit_ns < UINT64_MAX - sim->now_ns ? sim->now_ns + limit_ns : UINT64_MAX;
    sim->at_this_instant = 0;
    for (;;) {
        if (done && done(user)) return true;
        const sim_event *next = kith__sim_event_first(sim);
        if (!next || next->at_ns > end) break;
        if (next->at_ns == sim->now_ns && sim->at_this_instant >= STANDSTILL) return false;
        kith_sim_step(sim);
    }
    if (end != UINT64_MAX) sim->now_ns = end;
    return false;
}

void kith_sim_run_for(kith_sim *sim, uint64_t ns) { (void)kith_sim_run_until(sim, NULL, NULL, ns); }

/* ---- the trace: FNV-1a, 64 bits ---- */

static void fold(kith_sim *sim, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) sim->trace = (sim->trace ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static void fold_u64(kith_sim *sim, uint64_t value)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    fold(sim, bytes, sizeof bytes);
}

void kith__sim_note(kith_sim *sim, const char *kind, const kith_sim_host *host, uint64_t size, const void *data,
                    size_t data_size)
{
    fold_u64(sim, sim->now_ns);
    fold(sim, kind, strlen(kind) + 1);
    fold_u64(sim, host ? host->id : 0);
    fold_u64(sim, size);
    fold(sim, data, data_size < NOTED_BYTES ? data_size : NOTED_BYTES);
    if (!sim->trace_file) return;
    fprintf(sim->trace_file, "%" PRIu64 ".%09" PRIu64 " %-8s %-12s %6" PRIu64 " ", sim->now_ns / KITH_SIM_S,
            sim->now_ns % KITH_SIM_S, kind, host ? host->name : "-", size);
    for (size_t i = 0; i < data_size && i < SHOWN_BYTES; i++)
        fprintf(sim->trace_file, "%02x", ((const uint8_t *)data)[i]);
    fputc('\n', sim->trace_file);
}

uint64_t kith_sim_trace(const kith_sim *sim) { return sim->trace; }
void kith_sim_trace_to(kith_sim *sim, FILE *file) { sim->trace_file = file; }

/* ---- the world ---- */

uint64_t kith_sim_now_ns(const kith_sim *sim) { return sim->now_ns; }
void kith_sim_set_timer_lateness(kith_sim *sim, uint64_t most_ns) { sim->timer_lateness_ns = most_ns; }
void kith_sim_set_work_delay(kith_sim *sim, uint64_t most_ns) { sim->work_delay_ns = most_ns; }

kith_err kith_sim_new(uint64_t seed, kith_sim **out)
{
    kith_sim *sim = kith_calloc(1, sizeof *sim);
    if (!sim) return KITH_ERR_NOMEM;
    sim->seed = seed;
    sim->now_ns = KITH_SIM_START_NS;
    sim->next_inode = 2; /* as on a real disk, 0 is none and 1 is odd */
    sim->next_browser = 1;
    sim->trace = UINT64_C(0xcbf29ce484222325);
    sim->work_delay_ns = 500000;
    kith__sim_rng_init(&sim->rng, seed, 0);
    kith_list_init(&sim->hosts);
    kith_list_init(&sim->networks);
    kith_list_init(&sim->flights);
    kith_list_init(&sim->routes);
    kith_list_init(&sim->messages);
    kith_list_init(&sim->segments);
    kith_list_init(&sim->names);
    sim->rx = kith_malloc(KITH_PACKET_RUN_MAX);
    if (!sim->rx) {
        kith_free(sim);
        return KITH_ERR_NOMEM;
    }
    *out = sim;
    return KITH_OK;
}

void kith__sim_host_free(kith_sim_host *host)
{
    kith__sim_host_tcp_done(host); /* some have outlived their owners, but need the process */
    while (!kith_list_empty(&host->processes))
        kith__sim_process_free(KITH_OF(kith_list_first(&host->processes), sim_process, link));
    kith__sim_nat_free(host->nat);
    kith__sim_host_net_done(host);
    kith__sim_disk_done(&host->disk);
    kith_list_remove(&host->link);
    kith_free(host);
}

void kith_sim_free(kith_sim *sim)
{
    if (!sim) return;
    kith__sim_flights_done(sim);
    kith__sim_segments_done(sim);
    kith__sim_lan_done(sim);
    while (!kith_list_empty(&sim->hosts))
        kith__sim_host_free(KITH_OF(kith_list_first(&sim->hosts), kith_sim_host, link));
    kith__sim_networks_done(sim);
    kith__sim_names_done(sim);
    kith_free(sim->browsers);
    kith_free(sim->rx);
    kith_free(sim->heap);
    kith_free(sim);
}

/* ---- hosts ---- */

static void new_boot_id(kith_sim_host *host)
{
    for (size_t i = 0; i < sizeof host->boot_id; i += 8) {
        uint64_t word = kith__sim_rng_next(&host->rng);
        for (unsigned j = 0; j < 8; j++) host->boot_id[i + j] = (uint8_t)(word >> (8 * j));
    }
}

kith_err kith_sim_host_new(kith_sim *sim, const char *name, kith_sim_host **out)
{
    kith_sim_host *host = kith_calloc(1, sizeof *host);
    if (!host) return KITH_ERR_NOMEM;
    host->sim = sim;
    host->id = sim->host_count + 1;
    snprintf(host->name, sizeof host->name, "%s", name);
    kith__sim_rng_init(&host->rng, sim->seed, (uint64_t)host->id << 32);
    kith_list_init(&host->processes);
    kith_list_init(&host->ifaces);
    kith_list_init(&host->sockets);
    kith_list_init(&host->watches);
    kith_list_init(&host->listeners);
    kith_list_init(&host->tcps);
    host->next_iface = 2; /* 1 is the loopback */
    new_boot_id(host);
    kith_err err = kith__sim_disk_init(&host->disk, host);
    if (err) {
        kith_free(host);
        return err;
    }
    sim->host_count++;
    kith_list_append(&sim->hosts, &host->link);
    kith__sim_note(sim, "host", host, 0, host->name, strlen(host->name));
    *out = host;
    return KITH_OK;
}

const char *kith_sim_host_name(const kith_sim_host *host) { return host->name; }
void kith_sim_set_wall_skew(kith_sim_host *host, int64_t skew_ms) { host->skew_ms = skew_ms; }

void kith_sim_power_fail(kith_sim_host *host)
{
    kith__sim_note(host->sim, "power", host, 0, NULL, 0);
    kith__sim_host_tcp_done(host);
    host->down = true;
    KITH_EACH (link, &host->processes) kith__sim_process_kill(KITH_OF(link, sim_process, link));
    kith__sim_disk_power_fail(&host->disk);
    new_boot_id(host);
}
