/* QUIC from memory to memory over loopback: two threads, an env each, one stream whose sender lends its memory.
 *     bench-quic [MEGABYTES [PACKET_MAX [STREAMS]]]
 * prints MB/s (10^6), CPU seconds per GB on each side, the packet size reached and the packets lost. */
#include "../tests/support/quic_env.h"
#include "crypto/keys.h"
#include "io/io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PIECE        ((size_t)4 << 20)
#define AHEAD        ((uint64_t)16 << 20) /* lent and not yet acknowledged */
#define STREAMS_MOST 16

static uint64_t total, packet_max;
static int stream_count = 1;
static _Atomic uint16_t port;

typedef struct half {
    bool source;
    kith_io *io;
    quic_env e;
    kith_stream *streams[STREAMS_MOST];
    uint8_t *piece;
    uint64_t bytes, sum, finished;
    double first, last, cpu;
    kith_conn_stats stats;
    kith_err err;
} half;

static double clock_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void lend_more(half *h, kith_stream *s)
{
    uint64_t each = total / (uint64_t)stream_count;
    while (kith_stream_written(s) < each && kith_stream_written(s) - kith_stream_returned(s) < AHEAD) {
        uint64_t size = each - kith_stream_written(s) < PIECE ? each - kith_stream_written(s) : PIECE;
        if (kith_stream_lend(s, h->piece, (size_t)size)) return;
        if (kith_stream_written(s) == each && kith_stream_finish(s)) return;
    }
}

static void start(half *h, kith_conn *conn)
{
    h->first = clock_s(CLOCK_MONOTONIC);
    for (int i = 0; i < stream_count; i++) {
        if (kith_stream_open(conn, false, &h->streams[i])) exit(1);
        kith_stream_set_user(h->streams[i], h);
        lend_more(h, h->streams[i]);
    }
}

/* Touch every byte, as whoever uses it would. */
static void drain(half *h, kith_stream *s)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    while (kith_stream_peek(s, &data, &size, &fin)) {
        for (size_t i = 0; i + 8 <= size; i += 64) h->sum += data[i];
        h->bytes += size;
        kith_stream_consume(s, size);
    }
    if (fin && ++h->finished == (uint64_t)stream_count) {
        h->last = clock_s(CLOCK_MONOTONIC);
        kith_conn_get_stats(kith_stream_conn(s), &h->stats);
        kith_conn_close(kith_stream_conn(s), 0, "thanks", h->e.env->base->now_ns(h->e.env));
    }
}

static void on_event(void *user, const kith_quic_event *event)
{
    half *h = user;
    switch (event->kind) {
    case KITH_QUIC_CONNECTED: start(h, event->conn); break;
    case KITH_QUIC_READABLE: drain(h, event->stream); break;
    case KITH_QUIC_RETURNED: lend_more(h, event->stream); break;
    case KITH_QUIC_CLOSED:
        if (h->source) kith_conn_get_stats(event->conn, &h->stats);
        h->err = event->err == KITH_ERR_CLOSED ? KITH_OK : event->err;
        h->cpu = clock_s(CLOCK_THREAD_CPUTIME_ID);
        quic_env_end(&h->e);
        kith_io_stop(h->io);
        break;
    default: break;
    }
}

static void *run(void *arg)
{
    half *h = arg;
    uint8_t secret[32] = {(uint8_t)(h->source + 1)};
    kith_addr any;
    kith_conn *conn;
    kith_quic_config config = {.static_secret = secret, .accept = !h->source, .packet_max = (size_t)packet_max};
    config.over_tcp = packet_max != 0; /* no path but TCP takes larger ones */
    h->piece = malloc(PIECE);
    memset(h->piece, 'k', PIECE);
    if (kith_addr_parse("127.0.0.1:0", &any) || kith_io_new(&h->io)) exit(1);
    if (quic_env_open(&h->e, kith_io_env(h->io), &any, &config, on_event, h)) exit(1);
    if (h->source) {
        while (!atomic_load(&port)) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        any.port = atomic_load(&port);
        if (kith_quic_dial(h->e.quic, &any, NULL, h->e.env->base->now_ns(h->e.env), &conn)) exit(1);
        quic_env_flush(&h->e);
    } else {
        atomic_store(&port, h->e.env->udp->local(h->e.udp).port);
    }
    kith_io_run(h->io);
    kith_io_free(h->io);
    free(h->piece);
    return NULL;
}

int main(int argc, char **argv)
{
    static half halves[2] = {{.source = false}, {.source = true}};
    pthread_t threads[2];
    total = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1024) * 1000000;
    packet_max = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    stream_count = argc > 3 ? atoi(argv[3]) : 1;
    if (stream_count < 1 || stream_count > STREAMS_MOST) return 2;
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, &halves[i])) return 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    const half *sink = &halves[0], *source = &halves[1];
    double gb = (double)sink->bytes / 1e9, seconds = sink->last - source->first;
    printf(
        "quic loopback, %d stream%s: %.0f MB/s, sender %.2f CPU s/GB, receiver %.2f, packets of %zu, lost %llu, %s\n",
        stream_count, stream_count == 1 ? "" : "s", gb * 1e3 / seconds, source->cpu / gb, sink->cpu / gb,
        source->stats.mtu, (unsigned long long)source->stats.lost_packets, kith_err_name(sink->err));
    return sink->err || source->err;
}
