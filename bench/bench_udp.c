/* What carrying datagrams costs: both ends on one loop of the real env, over loopback, without any protocol.  One line
 * per way of handing them over: MB/s and CPU seconds (of both ends together) per GB.
 *
 *     bench_udp [megabytes]       how much each measurement carries; 1,000 unless given */
#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define DATAGRAM ((size_t)1200)
/* Well below what a receive buffer holds, with the kernel's overhead for each datagram. */
#define IN_FLIGHT (UINT64_C(256) << 10)
#define A_TURN    16 /* runs sent before the loop's other work gets its turn */

typedef struct bench {
    kith_io *io;
    kith_env *env;
    kith_udp *from, *to;
    void *more; /* a post: send again in the next turn of the loop */
    kith_packet packet;
    uint64_t total, sent, received, began_ns, took_ns;
    bool over;
} bench;

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void send_more(void *user)
{
    bench *b = user;
    if (b->over) return;
    for (int i = 0; i < A_TURN && b->sent < b->total && b->sent - b->received < IN_FLIGHT; i++) {
        kith_err err = b->env->udp->send(b->from, &b->packet);
        if (err == KITH_ERR_AGAIN) return;
        if (err) {
            fprintf(stderr, "bench_udp: send: %s\n", kith_err_text(err));
            exit(1);
        }
        b->sent += b->packet.size;
    }
    if (b->sent < b->total && b->sent - b->received < IN_FLIGHT) b->env->post->post(b->more);
}

static void on_received(void *user, const kith_packet *packets, size_t count)
{
    bench *b = user;
    for (size_t i = 0; i < count; i++) b->received += packets[i].size;
    if (b->received < b->total) {
        send_more(b);
        return;
    }
    b->took_ns = b->env->base->now_ns(b->env) - b->began_ns;
    b->over = true;
    b->env->udp->close(b->from);
    b->env->udp->close(b->to);
    b->env->post->close(b->more);
    kith_io_stop(b->io);
}

static void check(kith_err err)
{
    if (!err) return;
    fprintf(stderr, "bench_udp: %s\n", kith_err_text(err));
    exit(1);
}

static void measure(const char *bind, const char *to, size_t segments, uint64_t bytes)
{
    static uint8_t data[KITH_PACKET_RUN_MAX];
    static const kith_udp_events events = {on_received, send_more};
    bench b = {.packet = {.data = data, .size = segments * DATAGRAM, .segment = DATAGRAM}};
    kith_addr any;
    b.total = (bytes + b.packet.size - 1) / b.packet.size * b.packet.size;
    check(kith_io_new(&b.io));
    b.env = kith_io_env(b.io);
    check(kith_addr_parse(bind, &any));
    check(kith_addr_parse(to, &b.packet.remote));
    check(b.env->udp->open(b.env, &any, &events, &b, &b.from));
    check(b.env->udp->open(b.env, &any, &events, &b, &b.to));
    b.packet.remote.port = b.env->udp->local(b.to).port;
    b.more = b.env->post->open(b.env, send_more, &b);
    check(b.more ? KITH_OK : KITH_ERR_NOMEM);
    double cpu = cpu_seconds();
    b.began_ns = b.env->base->now_ns(b.env);
    b.env->post->post(b.more);
    kith_io_run(b.io);
    cpu = cpu_seconds() - cpu;
    printf("udp %-9s %2zu x %zu B: %7.0f MB/s  %6.3f CPU s/GB\n", to, segments, DATAGRAM,
           (double)b.received / 1e6 / ((double)b.took_ns / 1e9), cpu / ((double)b.received / 1e9));
    kith_io_free(b.io);
}

int main(int argc, char **argv)
{
    uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1000) * 1000000;
    if (bytes == 0) {
        fprintf(stderr, "bench_udp: how many megabytes?\n");
        return 2;
    }
    measure("127.0.0.1:0", "127.0.0.1", 1, bytes);
    measure("[::]:0", "127.0.0.1", 1, bytes);
    measure("127.0.0.1:0", "127.0.0.1", 50, bytes);
    measure("[::]:0", "127.0.0.1", 50, bytes);
    measure("[::]:0", "::1", 50, bytes);
    return 0;
}
