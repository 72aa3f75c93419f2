/* nquic-peer: one end of a QUIC connection with the Hyphae v1 handshake, for interoperability tests.
 *
 *     nquic-peer --listen ADDR [--key HEX] [--retry] [--once]
 *         Accept any peer and echo every bidirectional stream; with --once end when the first peer has gone.
 *     nquic-peer --connect ADDR [--key HEX] [--expect HEX] [--streams N] [--bytes N] [--key-updates N] [--hold]
 *         Open N (4) bidirectional streams, send N (262,144) pseudo-random bytes on each and check that they come back;
 * with --hold keep the connection afterwards until it ends.
 *     nquic-peer --help
 *
 * HEX are 32 bytes.  Prints "key HEX" (its public static key) and "listening ADDR"; then on --connect
 *     ok streams=N bytes=N rtt_ms=N retry=0|1 key_updates=N mtu=N lost=N
 * or "failed WHY", with "by peer" behind it when the peer said so (a close or a stateless reset).  Exit status 0 when
 * all is well, 1 else, 2 for wrong arguments. */
#include "../support/quic_env.h"
#include "base/text.h"
#include "crypto/keys.h"
#include "io/io.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAMS_MOST 64
#define BYTES_MOST   (UINT64_C(1) << 30) /* on each stream: they are all in memory */
#define UPDATES_MOST 1000000

typedef struct job {
    kith_stream *stream;
    uint64_t seed, got;
    bool done, wrong;
} job;

typedef struct peer {
    kith_io *io;
    quic_env e;
    bool listen, connect, retry, once, hold, expects, help, ok, failed;
    kith_addr addr;
    uint8_t secret[32], expected[32];
    int streams, finished;
    uint64_t bytes, updates_wanted, updates;
    kith_timer *updater;
    kith_stream *ticker; /* an update is confirmed by traffic: a byte each time */
    kith_conn *conn;
    job jobs[STREAMS_MOST];
} peer;

static uint64_t now_of(const peer *p) { return p->e.env->base->now_ns(p->e.env); }

static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
    uint64_t x = (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) + seed;
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (uint8_t)(x >> (offset % 8 * 8));
}

static void end(peer *p)
{
    if (p->updater) p->e.env->timers->close(p->updater);
    p->updater = NULL;
    quic_env_end(&p->e);
    kith_io_stop(p->io);
}

static void fail(peer *p, const char *why)
{
    if (p->failed) return;
    p->failed = true;
    p->ok = false;
    printf("failed %s\n", why);
    fflush(stdout);
    end(p);
}

static bool works(peer *p, kith_err err)
{
    if (err) fail(p, kith_err_name(err));
    return !err;
}

static void say_ok(peer *p)
{
    kith_conn_stats s;
    kith_conn_get_stats(p->conn, &s);
    printf("ok streams=%d bytes=%llu rtt_ms=%.2f retry=%d key_updates=%llu mtu=%zu lost=%llu\n", p->streams,
           (unsigned long long)(p->bytes * (uint64_t)p->streams), (double)s.rtt_ns / 1e6, s.retried,
           (unsigned long long)p->updates, s.mtu, (unsigned long long)s.lost_packets);
    fflush(stdout);
    p->ok = true;
    if (!p->hold) kith_conn_close(p->conn, 0, "done", now_of(p));
}

/* ---- connecting ---- */

static bool start_job(peer *p, int i)
{
    job *j = &p->jobs[i];
    uint8_t buffer[4096];
    j->seed = (uint64_t)i * 7919 + 1;
    if (!works(p, kith_stream_open(p->conn, true, &j->stream))) return false;
    kith_stream_set_user(j->stream, j);
    for (uint64_t at = 0; at < p->bytes;) {
        size_t n = p->bytes - at < sizeof buffer ? (size_t)(p->bytes - at) : sizeof buffer;
        for (size_t k = 0; k < n; k++) buffer[k] = byte_at(j->seed, at + k);
        if (!works(p, kith_stream_write(j->stream, buffer, n))) return false;
        at += n;
    }
    return works(p, kith_stream_finish(j->stream));
}

static void update(void *user)
{
    peer *p = user;
    if ((!p->ticker && !works(p, kith_stream_open(p->conn, false, &p->ticker))) ||
        !works(p, kith_stream_write(p->ticker, "t", 1))) {
        quic_env_flush(&p->e);
        return;
    }
    if (p->updates < p->updates_wanted && kith_conn_update_keys(p->conn, now_of(p)) == KITH_OK) p->updates++;
    if (p->finished == p->streams && p->updates >= p->updates_wanted && !p->ok)
        say_ok(p);
    else
        p->e.env->timers->set(p->updater, now_of(p) + 5000000);
    quic_env_flush(&p->e);
}

static void check(peer *p, kith_stream *stream)
{
    job *j = kith_stream_user(stream);
    const uint8_t *data;
    size_t size;
    bool fin;
    while (kith_stream_peek(stream, &data, &size, &fin)) {
        for (size_t i = 0; i < size; i++) j->wrong |= data[i] != byte_at(j->seed, j->got + i);
        j->got += size;
        kith_stream_consume(stream, size);
    }
    if (!fin || j->done) return;
    j->done = true;
    if (j->wrong || j->got != p->bytes) {
        char why[80];
        snprintf(why, sizeof why, "echo stream=%llu got=%llu", (unsigned long long)kith_stream_id(stream),
                 (unsigned long long)j->got);
        fail(p, why);
        return;
    }
    if (++p->finished == p->streams && p->updates >= p->updates_wanted) say_ok(p);
}

/* ---- listening ---- */

static void echo(kith_stream *stream)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    if (kith_stream_id(stream) & 2) { /* unidirectional: read and forgotten */
        while (kith_stream_peek(stream, &data, &size, &fin)) kith_stream_consume(stream, size);
        if (fin) kith_stream_free(stream);
        return;
    }
    while (kith_stream_unsent(stream) < KITH_STREAM_HIGH_MARK + 1 && kith_stream_peek(stream, &data, &size, &fin)) {
        if (kith_stream_write(stream, data, size)) break;
        kith_stream_consume(stream, size);
    }
    if (kith_stream_peek(stream, &data, &size, &fin)) return; /* WRITABLE goes on */
    if (!fin) return;
    if (kith_stream_finish(stream)) return;
    kith_stream_free(stream);
}

static void on_closed(peer *p, const kith_quic_event *event)
{
    char reason[4 * KITH_QUIC_REASON_MAX];
    bool good = event->err == KITH_OK || event->err == KITH_ERR_CLOSED;
    if (p->listen)
        printf("closed %s code=%llu %s\n", kith_err_name(event->err), (unsigned long long)event->code,
               kith_printable(event->reason, strlen(event->reason), reason, sizeof reason));
    else if ((!good || !p->ok) && !p->failed)
        printf("failed %s%s\n", kith_err_name(event->err), event->by_peer ? " by peer" : "");
    fflush(stdout);
    kith_conn_free(event->conn);
    if (!p->listen && p->hold) p->ok = p->ok && good;
    if (p->listen && p->once) p->ok = good;
    if (!p->listen || p->once) end(p);
}

static void on_event(void *user, const kith_quic_event *event)
{
    peer *p = user;
    switch (event->kind) {
    case KITH_QUIC_CONNECTED:
        p->conn = event->conn;
        for (int i = 0; i < p->streams; i++)
            if (!start_job(p, i)) return;
        if (p->updates_wanted) p->e.env->timers->set(p->updater, now_of(p) + 5000000);
        break;
    case KITH_QUIC_READABLE:
        if (p->listen)
            echo(event->stream);
        else if (kith_stream_user(event->stream))
            check(p, event->stream);
        break;
    case KITH_QUIC_WRITABLE:
        if (p->listen) echo(event->stream);
        break;
    case KITH_QUIC_RESET:
    case KITH_QUIC_STOPPED:
        if (p->listen) kith_stream_free(event->stream);
        break;
    case KITH_QUIC_CLOSED: on_closed(p, event); break;
    default: break;
    }
}

/* ---- starting ---- */

static int usage(FILE *out, int status)
{
    fputs("usage: nquic-peer --listen ADDR [--key HEX] [--retry] [--once]\n"
          "       nquic-peer --connect ADDR [--key HEX] [--expect HEX] [--streams N] [--bytes N] [--key-updates N]\n"
          "                  [--hold]\n"
          "One end of a QUIC connection with the Hyphae v1 handshake: echoes streams, or opens some and checks the "
          "echo.\n"
          "ADDR is 192.0.2.1:4433 or [2001:db8::1]:4433; --key is the X25519 secret, drawn unless given; --expect the\n"
          "public key that must answer.  Exit status 0: all is well, 1: not, 2: wrong arguments.\n",
          out);
    return status;
}

/* Digits alone, up to `most`. */
static bool number(const char *text, uint64_t most, uint64_t *out)
{
    uint64_t n = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        n = 10 * n + (uint64_t)(*text - '0');
        if (n > most) return false;
    }
    *out = n;
    return true;
}

static bool parse_key(const char *hex, uint8_t out[static 32])
{
    return strlen(hex) == 64 && kith_unhex(hex, out, 32) == KITH_OK;
}

static bool parse_one(peer *p, int option, bool *has_key)
{
    uint64_t streams;
    switch (option) {
    case 'l': p->listen = true; return kith_addr_parse(optarg, &p->addr) == KITH_OK;
    case 'c': p->connect = true; return kith_addr_parse(optarg, &p->addr) == KITH_OK;
    case 'k': *has_key = true; return parse_key(optarg, p->secret);
    case 'e': p->expects = true; return parse_key(optarg, p->expected);
    case 's':
        if (!number(optarg, STREAMS_MOST, &streams) || !streams) return false;
        p->streams = (int)streams;
        return true;
    case 'b': return number(optarg, BYTES_MOST, &p->bytes);
    case 'u': return number(optarg, UPDATES_MOST, &p->updates_wanted);
    case 'r': p->retry = true; return true;
    case 'o': p->once = true; return true;
    case 'h': p->hold = true; return true;
    case 'H': p->help = true; return true;
    default: return false;
    }
}

static bool parse(int argc, char **argv, peer *p, bool *has_key)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"connect", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},
        {"expect", required_argument, NULL, 'e'},
        {"streams", required_argument, NULL, 's'},
        {"bytes", required_argument, NULL, 'b'},
        {"key-updates", required_argument, NULL, 'u'},
        {"retry", no_argument, NULL, 'r'},
        {"once", no_argument, NULL, 'o'},
        {"hold", no_argument, NULL, 'h'},
        {"help", no_argument, NULL, 'H'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!parse_one(p, c, has_key)) return false;
    return optind == argc && (p->help || p->listen != p->connect);
}

static kith_err begin(peer *p, bool has_key)
{
    char text[KITH_ADDR_TEXT_SIZE], hex[65];
    uint8_t public_key[32];
    kith_addr bind = p->addr, local;
    kith_env *env = kith_io_env(p->io);
    if (!has_key) env->base->random(env, p->secret, sizeof p->secret);
    kith_x25519_public(p->secret, public_key);
    printf("key %s\n", kith_hex(public_key, sizeof public_key, hex));
    if (!p->listen) {
        memset(bind.ip, 0, sizeof bind.ip);
        bind.scope = 0;
        bind.port = 0;
    }
    kith_quic_config config = {.static_secret = p->secret, .accept = p->listen, .always_retry = p->retry};
    kith_err err = quic_env_open(&p->e, env, &bind, &config, on_event, p);
    if (err) return err;
    local = env->udp->local(p->e.udp);
    printf("listening %s\n", kith_addr_text(&local, text));
    fflush(stdout);
    if (p->listen) return KITH_OK;
    p->updater = env->timers->open(env, update, p);
    err = p->updater ? kith_quic_dial(p->e.quic, &p->addr, p->expects ? p->expected : NULL, now_of(p), &p->conn)
                     : KITH_ERR_NOMEM;
    if (!err) quic_env_flush(&p->e);
    return err;
}

int main(int argc, char **argv)
{
    static peer p = {.streams = 4, .bytes = 256 << 10};
    bool has_key = false;
    if (!parse(argc, argv, &p, &has_key)) return usage(stderr, 2);
    if (p.help) return usage(stdout, 0);
    if (kith_crypto_init() || kith_io_new(&p.io)) return 1;
    kith_err err = begin(&p, has_key);
    if (err) {
        printf("failed %s\n", kith_err_name(err));
        return 1;
    }
    kith_io_run(p.io);
    kith_io_free(p.io);
    return !p.ok;
}
