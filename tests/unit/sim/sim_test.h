/* What the tests of the simulator share: a world, hosts in it, and a socket that writes down what it gets. */
#ifndef KITH_SIM_TEST_H
#define KITH_SIM_TEST_H

#include "base/mem.h"
#include "sim/sim.h"
#include "testlib.h"

#include <string.h>

static inline kith_sim *world(uint64_t seed)
{
    kith_sim *sim;
    assert_ok(kith_sim_new(seed, &sim));
    return sim;
}

static inline kith_sim_host *host_in(kith_sim *sim, const char *name)
{
    kith_sim_host *host;
    assert_ok(kith_sim_host_new(sim, name, &host));
    return host;
}

static inline kith_env *process_on(kith_sim_host *host)
{
    kith_env *env;
    assert_ok(kith_sim_env_new(host, &env));
    return env;
}

static inline kith_sim_lan *lan_in(kith_sim *sim, const char *name)
{
    kith_sim_lan *lan;
    assert_ok(kith_sim_lan_new(sim, name, &lan));
    return lan;
}

static inline kith_addr addr_of(const char *text)
{
    kith_addr addr;
    assert_ok(kith_addr_parse(text, &addr));
    return addr;
}

/* The world ends, and with it all it had. */
static inline void end(kith_sim *sim)
{
    kith_sim_free(sim);
    assert_int_equal(kith_mem_live(), 0);
}

#define SINK_MAX 20000
typedef struct sink {
    kith_udp *udp;
    size_t count, bytes, calls, runs, several, writable; /* datagrams; ... ; packets of many; calls with many packets */
    uint32_t numbers[SINK_MAX];                          /* the first four bytes of each */
    uint16_t sizes[SINK_MAX];
    kith_packet last;
    uint8_t last_data[2048];
    size_t flipped; /* bits of the last bytes that are not 0x5a */
} sink;

static inline void sink_received(void *user, const kith_packet *packets, size_t count)
{
    sink *s = user;
    s->calls++;
    s->several += count > 1;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        const kith_packet *p = &packets[i];
        assert_true(p->size > 0 && p->size <= KITH_PACKET_RUN_MAX && p->segment > 0 && p->segment <= p->size);
        assert_true((p->size - 1) / p->segment < KITH_PACKET_RUN_SEGMENTS);
        s->runs += p->size > p->segment;
        for (size_t at = 0; at < p->size; at += p->segment) {
            size_t size = p->size - at < p->segment ? p->size - at : p->segment;
            s->last = *p;
            s->bytes += size;
            if (s->count < SINK_MAX) s->sizes[s->count] = (uint16_t)size;
            if (size >= 4 && s->count < SINK_MAX) memcpy(&s->numbers[s->count], p->data + at, 4);
            if (size <= sizeof s->last_data) memcpy(s->last_data, p->data + at, size);
            for (size_t j = 4; j < size; j++) s->flipped += (size_t)__builtin_popcount(p->data[at + j] ^ 0x5au);
            s->count++;
        }
    }
}

static inline void sink_writable(void *user) { ((sink *)user)->writable++; }

static inline kith_err sink_try(sink *s, kith_env *env, const char *at)
{
    static const kith_udp_events events = {sink_received, sink_writable};
    kith_addr addr = addr_of(at);
    memset(s, 0, sizeof *s);
    return env->udp->open(env, &addr, &events, s, &s->udp);
}

static inline void sink_open(sink *s, kith_env *env, const char *at) { assert_ok(sink_try(s, env, at)); }

/* `count` datagrams of `size` bytes in one run, numbered from `first`. */
static inline kith_err send_numbered(kith_env *env, kith_udp *udp, const char *to, uint32_t first, size_t count,
                                     size_t size)
{
    static uint8_t data[KITH_PACKET_RUN_MAX];
    memset(data, 0x5a, sizeof data);
    for (size_t i = 0; i < count; i++, first++) memcpy(data + i * size, &first, 4);
    kith_packet packet = {.remote = addr_of(to), .data = data, .size = count * size, .segment = size};
    return env->udp->send(udp, &packet);
}

#endif
