/* A load for a relay, or for another program that passes bytes on: pairs of connections, of which one sends batches of
 * packets as fast as they are taken and the other counts what comes.
 *     bench_relay relay HOST PORT PAIRS SECONDS PID [tls]    through `kith relay`, 64,000 bytes a message
 *     bench_relay proxy PORT LISTEN PAIRS SECONDS PID        the same bytes through a TCP proxy at PORT that connects
 *                                                            to LISTEN
 * PID is the process (or the first of several, its children counted) whose CPU time is told.  One line: delivered
 * MB/s, CPU seconds a GB, and what part of what was sent was dropped.
 *     bench_relay idle PORT CLIENTS PER_ADDRESS
 * registers so many clients from 127.1.0.1 on, PER_ADDRESS from each address, says how many there are, and keeps them
 * until its standard input ends. */
#include "base/mem.h"
#include "crypto/keys.h"
#include "identity/fingerprint.h"
#include "wire/relay.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 64
#define IDLE_FROM UINT32_C(0x7f010001) /* 127.1.0.1 */
#define IDLE_MAX  (UINT16_MAX - 2 * PAIRS_MAX)
#define PACKETS   64000
#define SEGMENT   1000
#define WARM_UP_S 1
#define READ_SIZE (256 << 10)

typedef struct end {
    int fd;
    SSL *tls;
    uint8_t fingerprint[KITH_FINGERPRINT_SIZE];
} end;

typedef struct pair {
    end from, to;
    pthread_t sending, receiving;
} pair;

static atomic_bool stop;
static atomic_ullong sent_bytes, received_bytes;
static SSL_CTX *tls;
static const char *host;
static uint16_t port;
static struct sockaddr_in source = {.sin_family = AF_INET}; /* 0.0.0.0: the system's choice */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int dial(uint16_t to)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(to)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    inet_pton(AF_INET, host, &at.sin_addr);
    if (source.sin_addr.s_addr && bind(fd, (struct sockaddr *)&source, sizeof source)) die("bind");
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static bool put(end *e, const void *data, size_t size)
{
    for (const uint8_t *at = data; size;) {
        ssize_t n = e->tls ? SSL_write(e->tls, at, (int)size) : send(e->fd, at, size, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static ssize_t get(end *e, void *data, size_t size)
{
    return e->tls ? SSL_read(e->tls, data, (int)size) : recv(e->fd, data, size, 0);
}

static void get_all(end *e, void *data, size_t size)
{
    for (uint8_t *at = data; size;) {
        ssize_t n = get(e, at, size);
        if (n <= 0) die("the relay closed");
        at += n;
        size -= (size_t)n;
    }
}

/* A masked binary frame, with a mask of zeros. */
static size_t frame_head(size_t size, uint8_t out[static 14])
{
    size_t at = 0;
    out[at++] = 0x82;
    if (size < 126) {
        out[at++] = (uint8_t)(0x80 | size);
    } else {
        out[at++] = 0x80 | 126;
        out[at++] = (uint8_t)(size >> 8);
        out[at++] = (uint8_t)size;
    }
    memset(out + at, 0, 4);
    return at + 4;
}

static void say(end *e, const kith_relay_message *m)
{
    static uint8_t out[14 + KITH_RELAY_CONTROL_MAX];
    size_t size = kith_relay_write(m, out + 14, KITH_RELAY_CONTROL_MAX);
    uint8_t head[14];
    if (!put(e, head, frame_head(size, head)) || !put(e, out + 14, size)) die("send");
}

static void hear(end *e, kith_relay_type type, uint8_t *out, kith_relay_message *m)
{
    uint8_t head[4];
    get_all(e, head, 2);
    size_t size = head[1];
    if (size == 126) {
        get_all(e, head + 2, 2);
        size = (size_t)(head[2] << 8 | head[3]);
    }
    get_all(e, out, size);
    if (kith_relay_read(out, size, m) || m->type != type) {
        fprintf(stderr, "message %d where %d is due\n", out[0], type);
        exit(1);
    }
}

static void register_end(end *e, unsigned number)
{
    char request[512], authority[64];
    uint8_t buffer[KITH_RELAY_CONTROL_MAX], seed[32] = {(uint8_t)number, (uint8_t)(number >> 8), 7};
    uint8_t uuid[16] = {(uint8_t)number, (uint8_t)(number >> 8)}, key[32];
    uint8_t instance[8] = {(uint8_t)getpid()}, text[KITH_RELAY_SIGNED_MAX], signature[64];
    kith_relay_message m;
    e->fd = dial(port);
    if (tls) {
        e->tls = SSL_new(tls);
        SSL_set_fd(e->tls, e->fd);
        if (SSL_connect(e->tls) != 1) die("TLS");
    }
    snprintf(authority, sizeof authority, "%s:%u", host, port);
    int size = snprintf(request, sizeof request,
                        "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Protocol: " KITH_RELAY_SUBPROTOCOL "\r\n\r\n",
                        authority);
    if (!put(e, request, (size_t)size)) die("send");
    for (uint32_t last = 0; last != 0x0d0a0d0a;) { /* to the end of the answer's head */
        uint8_t byte;
        get_all(e, &byte, 1);
        last = last << 8 | byte;
    }
    hear(e, KITH_RELAY_CHALLENGE, buffer, &m);
    kith_ed25519_public(seed, key);
    kith_fingerprint(uuid, key, e->fingerprint);
    size_t text_size = kith_relay_signed(m.challenge.nonce, authority, uuid, instance, text);
    kith_ed25519_sign(seed, text, text_size, signature);
    say(e, &(kith_relay_message){.type = KITH_RELAY_REGISTER, .reg = {uuid, key, instance, signature, NULL, 0}});
    hear(e, KITH_RELAY_REGISTERED, buffer, &m);
}

static void meet(pair *p, unsigned number)
{
    uint8_t buffer[KITH_RELAY_CONTROL_MAX];
    kith_relay_message m;
    register_end(&p->from, 2 * number + 1);
    register_end(&p->to, 2 * number + 2);
    say(&p->from,
        &(kith_relay_message){.type = KITH_RELAY_CONNECT, .session = 1, .connect = {p->to.fingerprint, NULL}});
    hear(&p->from, KITH_RELAY_CONNECTED, buffer, &m);
    hear(&p->to, KITH_RELAY_INCOMING, buffer, &m);
}

static void *sending(void *arg)
{
    static uint8_t message[14 + KITH_RELAY_DATA_HEAD + PACKETS];
    pair *p = arg;
    size_t head = frame_head(KITH_RELAY_DATA_HEAD + PACKETS, message);
    kith_relay_write_data_head(1, SEGMENT, message + head);
    size_t size = head + KITH_RELAY_DATA_HEAD + PACKETS;
    while (!atomic_load(&stop) && put(&p->from, message, size)) atomic_fetch_add(&sent_bytes, size);
    return NULL;
}

/* Plain bytes are counted where they are (MSG_TRUNC), so that the load is as small as it can be. */
static void *receiving(void *arg)
{
    pair *p = arg;
    uint8_t *buffer = malloc(READ_SIZE);
    while (buffer && !atomic_load(&stop)) {
        ssize_t n = p->to.tls ? SSL_read(p->to.tls, buffer, READ_SIZE) : recv(p->to.fd, buffer, READ_SIZE, MSG_TRUNC);
        if (n <= 0) break;
        atomic_fetch_add(&received_bytes, (unsigned long long)n);
    }
    free(buffer);
    return NULL;
}

/* Of the process and, as nginx has them, its children that run. */
static double cpu_seconds(long pid)
{
    char command[256];
    double total = 0;
    snprintf(command, sizeof command,
             "cat /proc/%ld/stat $(for c in $(cat /proc/%ld/task/*/children); do echo /proc/$c/stat; done) | "
             "sed 's/.*) //' | awk '{ s += $12 + $13 } END { print s }'",
             pid, pid);
    FILE *f = popen(command, "r");
    if (!f || fscanf(f, "%lf", &total) != 1) total = 0;
    if (f) pclose(f);
    return total / (double)sysconf(_SC_CLK_TCK);
}

static void proxy_pairs(pair *pairs, unsigned count, uint16_t listen_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(listen_port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, PAIRS_MAX)) die("listen");
    for (unsigned i = 0; i < count; i++) {
        pairs[i].from.fd = dial(port);
        pairs[i].to.fd = accept(listener, NULL, NULL);
    }
    close(listener);
}

/* Its exit ends the connections. */
static int idle(unsigned count, unsigned per_address)
{
    static end e; /* a registered one needs nothing but its descriptor */
    struct rlimit files;
    if (count > IDLE_MAX || per_address == 0 || getrlimit(RLIMIT_NOFILE, &files)) return 1;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files)) die("setrlimit");
    for (unsigned i = 0; i < count; i++) {
        source.sin_addr.s_addr = htonl(IDLE_FROM + i / per_address);
        register_end(&e, 2 * PAIRS_MAX + i);
    }
    printf("%u registered\n", count);
    fflush(stdout);
    while (getchar() != EOF) continue;
    return 0;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench_relay relay HOST PORT PAIRS SECONDS PID [tls] | proxy PORT LISTEN PAIRS SECONDS PID | "
            "idle PORT CLIENTS PER_ADDRESS\n");
    return 2;
}

int main(int argc, char **argv)
{
    static pair pairs[PAIRS_MAX];
    bool proxy = argc == 7 && !strcmp(argv[1], "proxy");
    if (kith_crypto_init()) return 1;
    if (argc == 5 && !strcmp(argv[1], "idle")) {
        host = "127.0.0.1";
        port = (uint16_t)atoi(argv[2]);
        return idle((unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
    }
    if (!proxy && !(argc >= 7 && !strcmp(argv[1], "relay"))) return usage();
    host = proxy ? "127.0.0.1" : argv[2];
    port = (uint16_t)atoi(proxy ? argv[2] : argv[3]);
    unsigned count = (unsigned)atoi(argv[4]), seconds = (unsigned)atoi(argv[5]);
    long pid = atol(argv[6]);
    if (count == 0 || count > PAIRS_MAX) return 1;
    if (!proxy && argc > 7) tls = SSL_CTX_new(TLS_client_method());
    if (proxy)
        proxy_pairs(pairs, count, (uint16_t)atoi(argv[3]));
    else
        for (unsigned i = 0; i < count; i++) meet(&pairs[i], i);
    for (unsigned i = 0; i < count; i++) {
        pthread_create(&pairs[i].receiving, NULL, receiving, &pairs[i]);
        pthread_create(&pairs[i].sending, NULL, sending, &pairs[i]);
    }
    sleep(WARM_UP_S);
    struct timespec from, to;
    double cpu = cpu_seconds(pid);
    unsigned long long sent = atomic_load(&sent_bytes), received = atomic_load(&received_bytes);
    clock_gettime(CLOCK_MONOTONIC, &from);
    sleep(seconds);
    received = atomic_load(&received_bytes) - received;
    sent = atomic_load(&sent_bytes) - sent;
    clock_gettime(CLOCK_MONOTONIC, &to);
    cpu = cpu_seconds(pid) - cpu;
    double took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("%s%s, %u pairs: %.0f MB/s, %.2f CPU s/GB, %.1f %% dropped\n", argv[1], tls ? " tls" : "", count,
           (double)received / took / 1e6, cpu / ((double)received / 1e9),
           sent > received ? 100.0 * (double)(sent - received) / (double)sent : 0.0);
    fflush(stdout);
    _exit(0);
}
