/* The hot paths with a fixed amount of work each, for bench/instructions to count what they execute.
 *     bench_instructions [STEP]
 * prints what the counts depend on ("about ..."), and for each step "step NAME UNITS UNIT".  Nothing in it depends on
 * time or chance; the two endpoints of QUIC are in one thread, with virtual time and no system calls between them. */
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/blake3.h"
#include "identity/fingerprint.h"
#include "io/io.h"
#include "path/framer.h"
#include "quic/quic.h"
#include "service/file.h"
#include "service/hello.h"
#include "service/talk.h"
#include "store/incoming.h"
#include "store/outgoing.h"

#include <ngtcp2/ngtcp2.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#define GROUPS       4
#define FILE_SIZE    (GROUPS * KITH_GROUP_SIZE)
#define MB           1e6
#define DATAGRAM     1350
#define RECORD       12000 /* a packet on a stream path */
#define SEALED_BYTES (1u << 20)
#define HEADER       20 /* associated data of a QUIC packet, about */
#define QUIC_BYTES   ((uint64_t)8 << 20)
#define QUIC_AHEAD   ((uint64_t)4 << 20) /* lent and not yet acknowledged */
#define QUIC_RUN_NS  20000               /* virtual time that a run of packets takes */
#define HELLOS       20
#define HELLOS_CBOR  1000
#define MESSAGES     1000
#define MESSAGE_SIZE 100

typedef struct step {
    const char *name;
    double units;
    const char *unit;
    bool (*prepare)(void);
    bool (*run)(void);
    void (*done)(void);
} step;

static uint8_t content[FILE_SIZE], scratch[FILE_SIZE];

/* ---- AEAD ---- */
static kith_aead *aead;

static bool aead_prepare(void)
{
    uint8_t key[KITH_AEAD_KEY_SIZE] = {1};
    return kith_aead_new(key, &aead) == KITH_OK;
}

static void aead_done(void)
{
    kith_aead_free(aead);
    aead = NULL;
}

static bool seal(size_t size)
{
    uint8_t header[HEADER] = {0x40}, nonce[KITH_AEAD_NONCE_SIZE] = {0};
    for (size_t i = 0; i < SEALED_BYTES / size; i++) {
        memcpy(nonce + 4, &i, sizeof i);
        if (kith_aead_seal(aead, nonce, header, sizeof header, content, size, scratch)) return false;
    }
    return true;
}

/* The same record again and again. */
static bool unseal(size_t size)
{
    uint8_t header[HEADER] = {0x40}, nonce[KITH_AEAD_NONCE_SIZE] = {0};
    if (kith_aead_seal(aead, nonce, header, sizeof header, content, size, scratch)) return false;
    for (size_t i = 0; i < SEALED_BYTES / size; i++)
        if (kith_aead_open(aead, nonce, header, sizeof header, scratch, size + KITH_AEAD_TAG_SIZE,
                           scratch + FILE_SIZE / 2))
            return false;
    return true;
}

static bool seal_datagrams(void) { return seal(DATAGRAM); }
static bool seal_records(void) { return seal(RECORD); }
static bool open_datagrams(void) { return unseal(DATAGRAM); }
static bool open_records(void) { return unseal(RECORD); }

/* ---- chunks of a file: off the disk and hashed, checked and onto it ---- */
static kith_io *io;
static char folder[64], file_name[128];
static kith_outgoing *outgoing;
static kith_incoming *incoming;
static uint8_t cvs[GROUPS][KITH_BLAKE3_SIZE];

static bool hash_groups(void)
{
    for (size_t i = 0; i < GROUPS; i++) kith_group_cv(content + i * KITH_GROUP_SIZE, KITH_GROUP_SIZE, i, false, cvs[i]);
    return true;
}

static bool folder_prepare(void)
{
    snprintf(folder, sizeof folder, "/tmp/kith-instructions-XXXXXX");
    if (!mkdtemp(folder) || kith_io_new(&io)) return false;
    snprintf(file_name, sizeof file_name, "%s/file", folder);
    return true;
}

static bool outgoing_prepare(void)
{
    kith_outgoing_facts facts;
    if (!folder_prepare()) return false;
    FILE *f = fopen(file_name, "we");
    if (!f) return false;
    bool written = fwrite(content, sizeof content, 1, f) == 1;
    if (fclose(f) || !written) return false;
    return kith_outgoing_open(kith_io_env(io), file_name, false, &facts, &outgoing) == KITH_OK;
}

static bool read_chunks(void)
{
    for (uint64_t i = 0; i < GROUPS; i++) {
        if (kith_outgoing_read(outgoing, i * KITH_GROUP_SIZE, scratch, KITH_GROUP_SIZE)) return false;
        kith_group_cv(scratch, KITH_GROUP_SIZE, i, false, cvs[i]);
    }
    return true;
}

static bool incoming_prepare(void)
{
    kith_tree resume;
    if (!folder_prepare() || !hash_groups()) return false;
    kith_incoming_config config = {.env = kith_io_env(io), .folder = folder, .id = {.size = FILE_SIZE}};
    return kith_incoming_open(&config, &resume, &incoming) == KITH_OK;
}

static bool keep_chunks(void)
{
    kith_incoming_place place = {.name = "file"};
    kith_incoming_result result;
    for (uint64_t i = 0; i < GROUPS; i++)
        if (kith_incoming_keep(incoming, i, content + i * KITH_GROUP_SIZE, KITH_GROUP_SIZE, cvs[i])) return false;
    return kith_incoming_finish(incoming, &place, &result) == KITH_OK;
}

static void folder_done(void)
{
    kith_outgoing_close(outgoing);
    kith_incoming_close(incoming);
    outgoing = NULL;
    incoming = NULL;
    kith_io_free(io);
    if (unlink(file_name) || rmdir(folder)) perror(folder);
}

/* ---- packets on a byte stream ---- */
static kith_framer framer;

static bool framer_prepare(void)
{
    size_t room;
    kith_framer_init(&framer);
    kith_framer_trust(&framer);
    return kith_framer_room(&framer, &room) != NULL;
}

static void framer_done(void) { kith_framer_done(&framer); }

/* A run's pieces are put together where the framer takes bytes, as a socket would. */
static bool frame_packets(void)
{
    size_t runs = FILE_SIZE / KITH_PACKET_RUN_MAX, got = 0;
    for (size_t i = 0; i < runs; i++) {
        kith_packet run = {.data = content + i * KITH_PACKET_RUN_MAX, .size = KITH_PACKET_RUN_MAX, .segment = RECORD};
        uint8_t prefixes[KITH_FRAME_PIECES_MAX], *packet;
        struct iovec pieces[KITH_FRAME_PIECES_MAX];
        size_t left, room, size, count = kith_frame_run(&run, 0, prefixes, pieces, &left);
        for (size_t p = 0, at = 0; p < count; at == pieces[p].iov_len ? (at = 0, p++) : 0) {
            uint8_t *to = kith_framer_room(&framer, &room);
            size_t n = pieces[p].iov_len - at < room ? pieces[p].iov_len - at : room;
            if (!to) return false;
            memcpy(to, (const uint8_t *)pieces[p].iov_base + at, n);
            kith_framer_filled(&framer, n);
            for (at += n; kith_framer_next(&framer, &packet, &size) == KITH_OK;) got += size;
        }
    }
    return got == runs * KITH_PACKET_RUN_MAX;
}

/* ---- the file's protocol, without hashing and disk ---- */
static kith_file_tx *tx;
static kith_file_rx *rx;

static bool file_prepare(void)
{
    kith_file_header header = {.name = "file", .size = FILE_SIZE};
    return hash_groups() && kith_file_tx_new(&header, &tx) == KITH_OK && kith_file_rx_new(&rx) == KITH_OK;
}

static void file_done(void)
{
    kith_file_tx_free(tx);
    kith_file_rx_free(rx);
}

static bool file_answer(void)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool fin = false;
    for (size_t size; (size = kith_file_rx_output(rx, out, sizeof out, &fin));) kith_file_tx_input(tx, out, size, fin);
    if (fin) kith_file_tx_input(tx, NULL, 0, true);
    return kith_file_rx_error(rx) == KITH_OK && kith_file_tx_error(tx) == KITH_OK;
}

static bool file_messages(void)
{
    uint8_t out[KITH_FILE_OUTPUT_MAX];
    bool fin = false;
    for (size_t size; (size = kith_file_tx_output(tx, out, sizeof out, &fin));)
        if (kith_file_rx_input(rx, out, size, fin) != size) return false;
    if (fin) (void)kith_file_rx_input(rx, NULL, 0, true);
    return true;
}

static bool file_chunk(uint64_t index, size_t size)
{
    uint8_t head[KITH_FILE_OUTPUT_MAX];
    size_t head_size, room;
    kith_file_chunk chunk;
    if (kith_file_tx_chunk(tx, index, cvs[index], head, sizeof head, &head_size)) return false;
    if (kith_file_rx_input(rx, head, head_size, false) != head_size || !kith_file_rx_wants_buffer(rx)) return false;
    kith_file_rx_give_buffer(rx, scratch);
    for (size_t at = 0; at < size; at += room) { /* as packets bring it */
        uint8_t *to = kith_file_rx_room(rx, &room);
        if (!to) return false;
        room = room < RECORD ? room : RECORD;
        memcpy(to, content + index * KITH_GROUP_SIZE + at, room);
        kith_file_rx_filled(rx, room);
    }
    if (kith_file_rx_event(rx) != KITH_FILE_CHUNK) return false;
    kith_file_rx_chunk(rx, &chunk);
    kith_file_rx_kept(rx, &chunk, memcmp(chunk.cv, cvs[index], sizeof chunk.cv) ? KITH_ERR_CORRUPT : KITH_OK);
    return true;
}

static bool send_file(void)
{
    uint64_t index, offset;
    size_t size;
    if (!file_messages() || kith_file_rx_event(rx) != KITH_FILE_OFFERED || kith_file_rx_accept(rx, NULL)) return false;
    if (!file_answer() || kith_file_tx_event(tx) != KITH_FILE_ACCEPTED) return false;
    while (kith_file_tx_next(tx, &index, &offset, &size))
        if (!file_chunk(index, size)) return false;
    if (!file_messages() || kith_file_rx_event(rx) != KITH_FILE_WHOLE) return false;
    kith_file_rx_finish(rx, KITH_OK);
    return file_answer() && kith_file_tx_event(tx) == KITH_FILE_DONE;
}

/* ---- hello ---- */
static kith_signer signer;
static kith_hello self;
static uint8_t seed[32] = {3}, binding[KITH_BINDING_SIZE] = {9};

static bool hello_prepare(void)
{
    memset(signer.uuid, 4, sizeof signer.uuid);
    signer.seed = seed;
    kith_ed25519_public(seed, signer.public_key);
    kith_fingerprint(signer.uuid, signer.public_key, signer.fingerprint);
    memcpy(self.public_key, signer.public_key, sizeof self.public_key);
    snprintf(self.name, sizeof self.name, "laptop of somebody");
    snprintf(self.os, sizeof self.os, "Linux");
    return kith_ed25519_public_to_x25519(self.public_key, self.noise_static) == KITH_OK;
}

static bool hellos(void)
{
    uint8_t out[KITH_MESSAGE_MAX];
    size_t size;
    kith_hello got;
    for (size_t i = 0; i < HELLOS; i++) {
        if (kith_hello_write(&signer, &self, true, binding, out, sizeof out, &size)) return false;
        if (kith_hello_read(out, size, true, binding, self.noise_static, &got)) return false;
    }
    return true;
}

/* What of it is CBOR: its payload written, and its envelope read. */
static uint8_t whole_hello[KITH_MESSAGE_MAX];
static size_t whole_hello_size;

static bool hello_cbor_prepare(void)
{
    return hello_prepare() && kith_hello_write(&signer, &self, true, binding, whole_hello, sizeof whole_hello,
                                               &whole_hello_size) == KITH_OK;
}

static bool hello_cbor(void)
{
    uint8_t out[KITH_MESSAGE_PAYLOAD_MAX];
    size_t size;
    kith_message got;
    for (size_t i = 0; i < HELLOS_CBOR; i++) {
        if (kith_hello_payload_write(&self, signer.public_key, out, sizeof out, &size)) return false;
        if (kith_message_parse(whole_hello, whole_hello_size, &got)) return false;
    }
    return true;
}

/* ---- messages of a connection ---- */
static kith_talk *opener, *acceptor;

static void talk_done(void)
{
    kith_talk_free(opener);
    kith_talk_free(acceptor);
}

static void talk_move(kith_talk *from, kith_talk *to)
{
    const uint8_t *data;
    size_t size;
    bool fin;
    while (kith_talk_output(from, &data, &size, &fin)) kith_talk_input(to, data, size, fin);
}

static bool talk_prepare(void)
{
    uint8_t id[KITH_TALK_ID_SIZE] = {5};
    const uint8_t *data;
    size_t size, taken;
    bool fin;
    kith_talk_inbox inbox = {0};
    kith_talk_open open;
    if (kith_talk_new(true, id, "bench", &opener) || kith_talk_new(false, id, "bench", &acceptor)) return false;
    if (kith_talk_begin(opener, NULL) || !kith_talk_output(opener, &data, &size, &fin)) return false;
    if (kith_talk_open_read(&inbox, data, size, &taken, &open) || kith_talk_begin(acceptor, &open)) return false;
    talk_move(acceptor, opener);
    return kith_talk_event_take(opener) == KITH_TALK_ACCEPTED;
}

static bool talk_messages(void)
{
    size_t got = 0;
    for (size_t i = 0; i < MESSAGES; i++) {
        kith_talk_message *m = kith_talk_message_new(content, MESSAGE_SIZE);
        if (!m || kith_talk_send(opener, m)) return false;
        talk_move(opener, acceptor);
        while (kith_talk_event_take(acceptor) == KITH_TALK_MESSAGE) {
            if (!(m = kith_talk_take(acceptor))) return false;
            kith_talk_taken(acceptor, 1, m->size);
            kith_free(m);
            got++;
        }
        talk_move(acceptor, opener);
        while (kith_talk_event_take(opener)) continue;
        (void)kith_talk_confirmed(opener);
    }
    return got == MESSAGES;
}

/* ---- QUIC, from one endpoint to the other ---- */
typedef struct end {
    kith_quic *quic;
    kith_addr addr;
    kith_conn *conn;
    kith_stream *stream; /* sender's */
    uint64_t received;
    bool over; /* all has arrived; or the connection has ended */
} end;

static end ends[2]; /* [0] dials and sends */
static uint64_t now_ns;

static bool quic_start(size_t packet_max)
{
    static const uint8_t secrets[2][32] = {{0xa0, 1}, {0xb0, 2}};
    static const char *const addresses[2] = {"10.0.0.1:1000", "10.0.0.2:2000"};
    now_ns = UINT64_C(1000000000);
    for (int i = 0; i < 2; i++) {
        kith_quic_config config = {.static_secret = secrets[i], .accept = i == 1, .packet_max = packet_max};
        memset(config.seed, 17 + i, sizeof config.seed);
        ends[i] = (end){0};
        if (kith_addr_parse(addresses[i], &ends[i].addr) || kith_quic_new(&config, &ends[i].quic)) return false;
    }
    return true;
}

static void quic_done(void)
{
    for (int i = 0; i < 2; i++) kith_quic_free(ends[i].quic);
}

static bool lend(kith_stream *s)
{
    while (kith_stream_written(s) < QUIC_BYTES && kith_stream_written(s) - kith_stream_returned(s) < QUIC_AHEAD)
        if (kith_stream_lend(s, content, KITH_GROUP_SIZE)) return false;
    return kith_stream_written(s) < QUIC_BYTES || kith_stream_finish(s) != KITH_ERR_NOMEM;
}

/* As the node does: chunks go straight to their memory. */
static bool quic_read(end *e, kith_stream *s)
{
    const uint8_t *data;
    size_t size;
    bool fin = false;
    e->received += kith_stream_into_end(s);
    while (kith_stream_peek(s, &data, &size, &fin)) {
        e->received += size;
        kith_stream_consume(s, size);
    }
    e->over = fin;
    return fin || kith_stream_into(s, scratch, KITH_GROUP_SIZE) == KITH_OK;
}

static bool quic_events(end *e)
{
    kith_quic_event event;
    bool good = true;
    while (good && kith_quic_event_take(e->quic, &event)) {
        if (event.kind == KITH_QUIC_CONNECTED || event.kind == KITH_QUIC_ACCEPTED) e->conn = event.conn;
        if (event.kind == KITH_QUIC_RETURNED) good = lend(event.stream);
        if (event.kind == KITH_QUIC_READABLE) good = quic_read(e, event.stream);
        if (event.kind == KITH_QUIC_CLOSED) good = false;
    }
    return good;
}

/* What both have to send now is there at once; then time goes on. */
static bool quic_turn(void)
{
    static uint8_t memory[KITH_PACKET_RUN_MAX];
    bool moved = false;
    for (int i = 0; i < 2; i++) {
        kith_packet p = {.data = memory};
        while (kith_quic_output(ends[i].quic, &p, now_ns)) {
            kith_packet arrived = p;
            arrived.local = ends[1 - i].addr;
            arrived.remote = ends[i].addr;
            kith_quic_input(ends[1 - i].quic, &arrived, now_ns);
            if (!quic_events(&ends[0]) || !quic_events(&ends[1])) return false;
            now_ns += QUIC_RUN_NS;
            moved = true;
        }
    }
    for (int i = 0; !moved && i < 2; i++) {
        uint64_t at = kith_quic_deadline_ns(ends[i].quic), other = kith_quic_deadline_ns(ends[1 - i].quic);
        if (at < other && at > now_ns) now_ns = at;
    }
    for (int i = 0; i < 2; i++)
        if (kith_quic_deadline_ns(ends[i].quic) <= now_ns) kith_quic_expire(ends[i].quic, now_ns);
    return quic_events(&ends[0]) && quic_events(&ends[1]);
}

static bool shake_hands(void)
{
    kith_conn *conn;
    if (kith_quic_dial(ends[0].quic, &ends[1].addr, NULL, now_ns, &conn)) return false;
    while (!ends[0].conn || !ends[1].conn)
        if (!quic_turn()) return false;
    return true;
}

static bool transfer(void)
{
    if (kith_stream_open(ends[0].conn, false, &ends[0].stream) || !lend(ends[0].stream)) return false;
    while (!ends[1].over)
        if (!quic_turn()) return false;
    return ends[1].received == QUIC_BYTES;
}

static bool endpoints_prepare(void) { return quic_start(0); }
static bool datagrams_prepare(void) { return quic_start(0) && shake_hands(); }
static bool records_prepare(void) { return quic_start(RECORD) && shake_hands(); }

/* ---- all of them ---- */
static const step steps[] = {
    {"seal-1350", SEALED_BYTES / MB, "MB", aead_prepare, seal_datagrams, aead_done},
    {"open-1350", SEALED_BYTES / MB, "MB", aead_prepare, open_datagrams, aead_done},
    {"seal-12000", SEALED_BYTES / MB, "MB", aead_prepare, seal_records, aead_done},
    {"open-12000", SEALED_BYTES / MB, "MB", aead_prepare, open_records, aead_done},
    {"hash-groups", FILE_SIZE / MB, "MB", NULL, hash_groups, NULL},
    {"read-chunks", FILE_SIZE / MB, "MB", outgoing_prepare, read_chunks, folder_done},
    {"keep-chunks", FILE_SIZE / MB, "MB", incoming_prepare, keep_chunks, folder_done},
    {"frame-packets", FILE_SIZE / MB, "MB", framer_prepare, frame_packets, framer_done},
    {"file-protocol", FILE_SIZE / MB, "MB", file_prepare, send_file, file_done},
    {"hello", HELLOS, "hello", hello_prepare, hellos, NULL},
    {"hello-cbor", HELLOS_CBOR, "hello", hello_cbor_prepare, hello_cbor, NULL},
    {"talk", MESSAGES, "message", talk_prepare, talk_messages, talk_done},
    {"handshake", 1, "handshake", endpoints_prepare, shake_hands, quic_done},
    {"quic-datagrams", (double)QUIC_BYTES / MB, "MB", datagrams_prepare, transfer, quic_done},
    {"quic-12000", (double)QUIC_BYTES / MB, "MB", records_prepare, transfer, quic_done},
};

/* bench/instructions has callgrind collect in this function alone, and write a profile at each of its ends.  Not
 * static, so that it keeps its name. */
bool measured(const step *s);

__attribute__((noinline)) bool measured(const step *s)
{
    bool good = s->run();
    __asm__ volatile("" ::: "memory"); /* no tail call */
    return good;
}

/* Which code the libraries pick for this processor, and their versions: the counts are comparable where these agree. */
static void about(void)
{
    const char *cpu = "?", *libc = "?";
#if defined(__x86_64__)
    cpu = __builtin_cpu_supports("avx512vl") ? "x86-64 avx512"
          : __builtin_cpu_supports("avx2")   ? "x86-64 avx2"
          : __builtin_cpu_supports("sse4.1") ? "x86-64 sse4.1"
                                             : "x86-64";
#elif defined(__aarch64__)
    cpu = "arm64";
#endif
#ifdef __GLIBC__
    libc = gnu_get_libc_version();
#endif
    printf("about cpu %s, compiler %s, libc %s, openssl %s, sodium %s, ngtcp2 %s\n", cpu, __VERSION__, libc,
           OpenSSL_version(OPENSSL_VERSION_STRING), sodium_version_string(), ngtcp2_version(0)->version_str);
}

int main(int argc, char **argv)
{
    int failed = kith_crypto_init() != KITH_OK;
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)(i * 2654435761u >> 13);
    about();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const step *s = &steps[i];
        if (argc > 1 && strcmp(argv[1], s->name) != 0) continue;
        bool good = (!s->prepare || s->prepare()) && measured(s);
        if (s->done) s->done();
        printf("%s %s %.9g %s\n", good ? "step" : "failed", s->name, s->units, s->unit);
        failed |= !good;
    }
    return failed;
}
