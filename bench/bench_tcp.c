/* What carrying bytes over a stream costs: two real envs, each with its loop on a thread of its own, over loopback,
 * without any protocol.  One line per size of message (what one send is given, and the room of one receive): MB/s and
 * the CPU seconds per GB of each end.  The system does most of loopback's work in the sender's time.
 *
 *     bench_tcp [megabytes]       how much each measurement carries; 2,000 unless given */
#include "io/io.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FIRST_PORT  42000 /* to look for a free one from */
#define LAST_PORT   42999
#define MESSAGE_MAX ((size_t)256 << 10)
#define A_TURN      (1u << 20) /* bytes sent before the loop's other work gets its turn */

typedef struct side {
    struct bench *bench;
    kith_io *io;
    kith_env *env;
    kith_tcp *tcp;
    void *more; /* the sender's post: go on in the next turn of the loop */
    uint64_t bytes;
    uint64_t calls;
    double cpu;
    uint8_t data[MESSAGE_MAX];
} side;

typedef struct bench {
    size_t message;
    uint64_t total, began_ns, took_ns;
    kith_addr at;
    kith_listener *listener;
    sem_t listening;
    side sender, receiver;
} bench;

static void check(kith_err err)
{
    if (!err) return;
    fprintf(stderr, "bench_tcp: %s\n", kith_err_text(err));
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_THREAD, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void close_side(side *s)
{
    s->env->tcp->close(s->tcp);
    s->tcp = NULL;
    s->env->post->close(s->more);
    s->more = NULL;
    kith_io_stop(s->io);
}

static void send_more(void *user)
{
    side *s = user;
    bench *b = s->bench;
    for (uint64_t end = s->bytes + A_TURN; s->bytes < b->total;) {
        if (s->bytes >= end) {
            s->env->post->post(s->more);
            return;
        }
        uint64_t left = b->total - s->bytes;
        struct iovec piece = {s->data, left < b->message ? (size_t)left : b->message};
        size_t sent;
        check(s->env->tcp->send(s->tcp, &piece, 1, &sent));
        s->calls++;
        s->bytes += sent;
        if (sent < piece.iov_len) return;
    }
    close_side(s);
}

static uint8_t *on_room(void *user, size_t *size)
{
    side *s = user;
    *size = s->bench->message;
    return s->data;
}

static void on_received(void *user, size_t size)
{
    side *s = user;
    s->bytes += size;
    s->calls++;
}

static void on_ended(void *user, kith_err why)
{
    side *s = user;
    bench *b = s->bench;
    if (s != &b->receiver || s->bytes != b->total) check(why);
    b->took_ns = s->env->base->now_ns(s->env) - b->began_ns;
    close_side(s);
}

static const kith_tcp_events events = {send_more, on_room, on_received, send_more, on_ended};

static void on_accepted(void *user, kith_tcp *tcp)
{
    side *s = user;
    s->tcp = tcp;
    s->env->tcp->attach(tcp, &events, s);
    s->env->tcp->unlisten(s->bench->listener);
}

static void side_new(side *s)
{
    check(kith_io_new(&s->io));
    s->env = kith_io_env(s->io);
    memset(s->data, 'k', sizeof s->data);
}

static void side_run(side *s)
{
    s->cpu = cpu_seconds();
    kith_io_run(s->io);
    s->cpu = cpu_seconds() - s->cpu;
    kith_io_free(s->io);
}

static void *receive_all(void *user)
{
    bench *b = user;
    side *s = &b->receiver;
    side_new(s);
    kith_err err = KITH_ERR_ADDRESS_IN_USE;
    for (b->at.port = FIRST_PORT; err == KITH_ERR_ADDRESS_IN_USE && b->at.port < LAST_PORT;) {
        b->at.port++;
        err = s->env->tcp->listen(s->env, &b->at, on_accepted, s, &b->listener);
    }
    check(err);
    sem_post(&b->listening);
    side_run(s);
    return NULL;
}

static void *send_all(void *user)
{
    bench *b = user;
    side *s = &b->sender;
    side_new(s);
    s->more = s->env->post->open(s->env, send_more, s);
    check(s->more ? KITH_OK : KITH_ERR_NOMEM);
    sem_wait(&b->listening);
    b->began_ns = s->env->base->now_ns(s->env);
    check(s->env->tcp->connect(s->env, &b->at, &events, s, &s->tcp));
    side_run(s);
    return NULL;
}

static void measure(const char *ip, size_t message, uint64_t bytes)
{
    bench *b = calloc(1, sizeof *b);
    pthread_t threads[2];
    check(b ? KITH_OK : KITH_ERR_NOMEM);
    b->message = message;
    b->total = bytes;
    b->sender.bench = b->receiver.bench = b;
    check(kith_addr_parse(ip, &b->at));
    sem_init(&b->listening, 0, 0);
    if (pthread_create(&threads[0], NULL, receive_all, b) || pthread_create(&threads[1], NULL, send_all, b))
        check(KITH_ERR_NOMEM);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    double gb = (double)bytes / 1e9;
    printf(
        "tcp %-9s %3zu KiB: %7.0f MB/s  CPU s/GB: sender %6.3f, receiver %6.3f, both %6.3f  (%.0f and %.0f B a call)\n",
        ip, message >> 10, (double)bytes / 1e6 / ((double)b->took_ns / 1e9), b->sender.cpu / gb, b->receiver.cpu / gb,
        (b->sender.cpu + b->receiver.cpu) / gb, (double)bytes / (double)b->sender.calls,
        (double)bytes / (double)b->receiver.calls);
    sem_destroy(&b->listening);
    free(b);
}

int main(int argc, char **argv)
{
    static const size_t messages[] = {16 << 10, 64 << 10, 256 << 10};
    uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 2000) * 1000000;
    if (bytes == 0) {
        fprintf(stderr, "bench_tcp: how many megabytes?\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) measure("127.0.0.1", messages[i], bytes);
    measure("::1", messages[2], bytes);
    return 0;
}
