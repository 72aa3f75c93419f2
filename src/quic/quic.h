/* QUIC (RFC 9000, 9002) between devices, with the Hyphae v1 Noise handshake in place of TLS, on ngtcp2.  A state
 * machine over datagrams: no I/O, no clock, no callbacks to the user; randomness from the seed given.
 *
 * One kith_quic ("endpoint") serves any number of connections in both roles over one socket.  The owner hands in what
 * arrives (input), sends what comes out (output, until it says false), takes events (event, until it says false) after
 * every input/expire/call, and calls expire at the deadline.
 *
 * Handles: a kith_conn lives from dial or its ACCEPTED event until kith_conn_free, which is due once its CLOSED event
 * came (or at any time before: then it is closed abruptly).  A kith_stream lives until kith_stream_free or
 * kith_conn_free.  Events that were queued for a freed handle are dropped. */
#ifndef KITH_QUIC_QUIC_H
#define KITH_QUIC_QUIC_H

#include "base/packet.h"

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_QUIC_CONNS_MAX         4096 /* of one endpoint; the next Initial is not answered */
#define KITH_QUIC_RETRY_ABOVE       64   /* half-open accepted connections; above: a Retry (RFC 9000 section 8.1.2) */
#define KITH_QUIC_STREAMS_MAX       64   /* that a peer may have open at once, of each kind */
#define KITH_QUIC_REASON_MAX        128  /* bytes of a close's reason text */
#define KITH_QUIC_STREAM_WINDOW_MAX (3u << 20) /* receive window of a stream, auto-tuned up to this */
#define KITH_QUIC_TCP_WINDOW_MAX    (3u << 19) /* over TCP, beneath which there are buffers, too */
#define KITH_QUIC_CONN_WINDOW_MAX   (4u << 20)
#define KITH_QUIC_WINDOW_EXTRA_MAX  (60u << 20) /* and what both get more where much is under way for long */
#define KITH_QUIC_IDLE_NS           UINT64_C(30000000000)
#define KITH_QUIC_KEEP_ALIVE_NS     UINT64_C(10000000000)

typedef struct kith_quic kith_quic;
typedef struct kith_conn kith_conn;
typedef struct kith_stream kith_stream;

typedef struct kith_quic_config {
    const uint8_t *static_secret; /* 32 bytes, X25519; copied into guarded memory */
    uint8_t seed[32];             /* fresh random bytes, never used for another endpoint */
    bool accept;                  /* answer those who dial us */
    bool always_retry;            /* prove every address first */
    uint64_t idle_ns;             /* 0: KITH_QUIC_IDLE_NS.  max_idle_timeout of our transport parameters */
    uint64_t keep_alive_ns; /* 0: KITH_QUIC_KEEP_ALIVE_NS, under half the idle time-out of both; UINT64_MAX: none */
    size_t conns_max;       /* 0: KITH_QUIC_CONNS_MAX */
    size_t retry_above;     /* 0: KITH_QUIC_RETRY_ABOVE */
    bool over_tcp;          /* what carries the packets loses none and minds congestion itself: CUBIC, else BBR */
    size_t packet_max;      /* 0: 1,452.  Largest datagram tried; up to KITH_PACKET_RUN_MAX on paths without an MTU */
} kith_quic_config;

KITH_MUST_CHECK kith_err kith_quic_new(const kith_quic_config *config, kith_quic **out);
void kith_quic_free(kith_quic *quic); /* with all its connections, saying nothing to peers; NULL is fine */

/* ---- packets and time ---- */
/* A run that arrived.  Anything at all may be in it; what is not for us is dropped.  The bytes may be overwritten. */
void kith_quic_input(kith_quic *quic, const kith_packet *packet, uint64_t now_ns);
/* The next run to send into out->data[0..KITH_PACKET_RUN_MAX), memory of the caller's.  False: nothing to send now. */
bool kith_quic_output(kith_quic *quic, kith_packet *out, uint64_t now_ns);
/* The kernel said that a datagram of this size does not fit the route to `remote` (a path MTU probe, usually).  Packets
 * that are lost tell us the same, later. */
void kith_quic_too_big(kith_quic *quic, const kith_addr *remote, size_t size);
uint64_t kith_quic_deadline_ns(const kith_quic *quic); /* UINT64_MAX: none */
void kith_quic_expire(kith_quic *quic, uint64_t now_ns);

/* ---- events ---- */
typedef enum kith_quic_event_kind {
    KITH_QUIC_ACCEPTED = 1, /* conn: somebody dialled us and the handshake is complete */
    KITH_QUIC_CONNECTED,    /* conn: our dial's handshake is complete */
    KITH_QUIC_OPENED,       /* stream: the peer opened it (data may be there already; a READABLE follows) */
    KITH_QUIC_READABLE, /* stream: bytes or the end are there; comes again only after kith_stream_peek said "nothing" */
    KITH_QUIC_WRITABLE, /* stream: kith_stream_unsent fell below the low mark after it was above the high mark */
    KITH_QUIC_RETURNED, /* stream: lent memory was acknowledged (kith_stream_returned), or all of it and the end */
    KITH_QUIC_RESET,    /* stream: the peer gave up sending (code); what was not consumed yet is gone */
    KITH_QUIC_STOPPED,  /* stream: the peer does not want more (code); our side was reset with that code */
    KITH_QUIC_PATH, /* conn: a probe asked for by kith_conn_probe was answered (path, rtt_ns), or not (err = TIMEOUT) */
    KITH_QUIC_MOVED,  /* conn: it now runs over `path` (we migrated, or the peer's address changed and was proved) */
    KITH_QUIC_ASKED,  /* conn: the peer's probe came from `remote`, which is not where packets go now */
    KITH_QUIC_SILENT, /* conn: nothing came since what was sent KITH_CONN_SILENT_* ago, which wants an answer; once for
                         each silence */
    KITH_QUIC_DATAGRAM, /* conn: datagrams are there; comes again only after kith_conn_datagram_take said "none" */
    KITH_QUIC_CLOSED,   /* conn: over.  err, code, reason, by_peer.  kith_conn_free is due */
} kith_quic_event_kind;

typedef struct kith_quic_event {
    kith_quic_event_kind kind;
    kith_conn *conn;
    kith_stream *stream; /* or NULL */
    kith_err err; /* CLOSED: OK (clean, code says), TIMEOUT (handshake), LOST (idle), WRONG_DEVICE, CLOSED (by the peer,
                     code says), CRYPTO, PROTOCOL, UNSUPPORTED (version), NOMEM, INTERNAL */
    uint64_t code; /* application error code of a reset, stop or close */
    bool by_peer;
    char reason[KITH_QUIC_REASON_MAX + 1]; /* as the peer sent it: not to be shown unescaped */
    uint32_t path;
    uint64_t rtt_ns;
    kith_addr remote; /* PATH, MOVED: what the path stands for; ASKED */
} kith_quic_event;

bool kith_quic_event_take(kith_quic *quic, kith_quic_event *out);

/* ---- connections ---- */
/* Dial.  `expected_static` (32 bytes) names who must answer: if another key answers the attempt ends before our own key
 * was shown, with WRONG_DEVICE; NULL takes anyone (pairing).  LIMIT, NOMEM. */
KITH_MUST_CHECK kith_err kith_quic_dial(kith_quic *quic, const kith_addr *remote, const uint8_t *expected_static,
                                        uint64_t now_ns, kith_conn **out);
void kith_conn_set_user(kith_conn *conn, void *user);
void *kith_conn_user(const kith_conn *conn);
bool kith_conn_is_dialler(const kith_conn *conn);
/* Once ACCEPTED/CONNECTED (the first also when CLOSED says WRONG_DEVICE: its owner proved it by message 2): the peer's
 * Noise static key, and the final handshake hash h. */
void kith_conn_remote_static(const kith_conn *conn, uint8_t out[static 32]);
void kith_conn_handshake_hash(const kith_conn *conn, uint8_t out[static 32]);
kith_addr kith_conn_remote_addr(const kith_conn *conn); /* of the current path, the real one */
typedef struct kith_conn_stats {
    uint64_t rtt_ns, min_rtt_ns; /* smoothed; smallest */
    uint64_t sent_bytes, received_bytes, lost_packets, key_updates;
    uint64_t in_flight; /* bytes of packets not acknowledged yet */
    uint64_t last_received_ns;
    bool retried; /* the peer asked us to prove our address first */
    size_t mtu;   /* bytes of our datagrams now */
    uint32_t path;
    uint64_t silent_since_ns; /* when the first was sent that wants an answer, of what was sent since the last packet
                                 came; 0: nothing is owed */
    uint64_t window_extra;    /* what our receive windows have beyond the usual */
    uint64_t buffered_bytes;  /* of streams, that found no memory of the user's and were copied once more */
} kith_conn_stats;
void kith_conn_get_stats(const kith_conn *conn, kith_conn_stats *out);
/* A connection is silent when so many round trips, within these bounds, brought nothing; or one and a half where that
 * is longer. */
#define KITH_CONN_SILENT_RTTS   3
#define KITH_CONN_SILENT_MIN_NS UINT64_C(250000000)
#define KITH_CONN_SILENT_MAX_NS UINT64_C(1000000000)
/* Say goodbye (CONNECTION_CLOSE with this application code and text, at most KITH_QUIC_REASON_MAX bytes).  CLOSED
 * follows at once with err OK; the packet is in the next output; stragglers are answered as RFC 9000 section 10.2 says
 * until kith_conn_free or 3 PTO. */
void kith_conn_close(kith_conn *conn, uint64_t code, const char *reason, uint64_t now_ns);
/* What carried it is gone for good: CLOSED follows at once with this error, and nothing is said to the peer. */
void kith_conn_abandon(kith_conn *conn, kith_err why, uint64_t now_ns);
void kith_conn_free(kith_conn *conn);
/* Start a key update (RFC 9001 section 6); AGAIN while the last one is not confirmed. */
KITH_MUST_CHECK kith_err kith_conn_update_keys(kith_conn *conn, uint64_t now_ns);

/* ---- paths ---- */
/* Paths have numbers from 0 (the dialled one) up to KITH_CONN_PATHS_MAX, agreed by probes.  Ask whether the peer is
 * reached at `remote` (from `local`, or whatever the system picks): a PATH event answers.  Only on connections that are
 * established. */
#define KITH_CONN_PATHS_MAX 24
#define KITH_CONN_PROBE_NS                                                                                             \
    UINT64_C(3000000000) /* unanswered after this: TIMEOUT; sent again meanwhile with back-off                         \
                          */
KITH_MUST_CHECK kith_err kith_conn_probe(kith_conn *conn, const kith_addr *local, const kith_addr *remote,
                                         uint64_t now_ns, uint32_t *path);
/* The host's addresses are these now (ports do not matter): paths whose local address is gone go from whichever the
 * system picks. */
void kith_conn_rebind(kith_conn *conn, const kith_addr *ours, size_t count);
/* The number of the path to there, if there is one. */
bool kith_conn_path_to(const kith_conn *conn, const kith_addr *remote, uint32_t *path);
/* Go over to a probed path; only the dialler can (STATE).  `dead`: the old one is silent, do not wait for validation.
 * AGAIN while another move is under way or KITH_CONN_MOVE_GAP_NS has not passed. */
#define KITH_CONN_MOVE_GAP_NS UINT64_C(500000000)
KITH_MUST_CHECK kith_err kith_conn_move(kith_conn *conn, uint32_t path, bool dead, uint64_t now_ns);

/* It stays where it was dialled to: whatever the peer proves of other addresses changes nothing. */
void kith_conn_pin(kith_conn *conn);
/* After a silence the current path works again (a probe was answered): begin anew on it, as if moving there, rather
 * than wait for timers that have doubled all the while.  The dialler's, and it makes the other side do the same; STATE,
 * LIMIT. */
KITH_MUST_CHECK kith_err kith_conn_restart(kith_conn *conn, uint64_t now_ns);

/* ---- datagrams (RFC 9221): unreliable, unordered, whole ---- */
/* Waiting to be sent, and to be taken, of a connection: the oldest goes when there are more. */
#define KITH_CONN_DATAGRAMS_MAX       64
#define KITH_CONN_DATAGRAMS_BYTES_MAX (256u << 10)
/* The largest that this path carries now; 0: the peer takes none, or the connection is not established. */
size_t kith_conn_datagram_room(const kith_conn *conn);
/* Queue one, in two parts that follow each other (copied; it goes before stream bytes).  LIMIT: larger than the room;
 * UNSUPPORTED: the peer takes none; STATE: not established, or over; NOMEM. */
KITH_MUST_CHECK kith_err kith_conn_datagram_send(kith_conn *conn, const void *head, size_t head_size, const void *data,
                                                 size_t size);
/* The next that arrived: memory to release with kith_free; NULL: none. */
uint8_t *kith_conn_datagram_take(kith_conn *conn, size_t *size);

/* ---- streams ---- */
/* AGAIN when the peer allows no more now. */
KITH_MUST_CHECK kith_err kith_stream_open(kith_conn *conn, bool bidirectional, kith_stream **out);
kith_conn *kith_stream_conn(const kith_stream *stream);
uint64_t kith_stream_id(const kith_stream *stream); /* RFC 9000 section 2.1 */
void kith_stream_set_user(kith_stream *stream, void *user);
void *kith_stream_user(const kith_stream *stream);

/* Queue bytes (copied).  Always takes all of them: mind kith_stream_unsent.  STATE after fin, reset or close; NOMEM. */
KITH_MUST_CHECK kith_err kith_stream_write(kith_stream *stream, const void *data, size_t size);
/* Queue bytes that stay where they are: the memory must not change until `kith_stream_returned` passed the stream
 * offset of its end, or the stream was reset (by us or by STOPPED) or freed, or the connection ended (CLOSED) or was
 * freed. */
KITH_MUST_CHECK kith_err kith_stream_lend(kith_stream *stream, const void *data, size_t size);
KITH_MUST_CHECK kith_err kith_stream_finish(kith_stream *stream); /* no more bytes; STATE when finished before */
#define KITH_STREAM_HIGH_MARK (1u << 20)
#define KITH_STREAM_LOW_MARK  (256u << 10)
uint64_t kith_stream_written(const kith_stream *stream);  /* offset: bytes queued so far */
uint64_t kith_stream_unsent(const kith_stream *stream);   /* queued and never sent yet */
uint64_t kith_stream_returned(const kith_stream *stream); /* offset: all before it is acknowledged */
/* What congestion and the peer's windows would take now beyond all that is queued. */
uint64_t kith_stream_room(const kith_stream *stream);
bool kith_stream_all_acked(const kith_stream *stream); /* all, and the end */

/* What arrived, in order: a view of the bytes at hand (false: none now, and *fin says whether the stream ended there).
 * The view is valid until consume or the next input. */
bool kith_stream_peek(kith_stream *stream, const uint8_t **data, size_t *size, bool *fin);
void kith_stream_consume(kith_stream *stream, size_t size); /* gives the peer as much credit */
/* Put the next `size` bytes straight into this memory as they arrive, one copy less than by peek; the peer has credit
 * for them as if they were consumed.  READABLE comes when all are there, or the stream ended.  STATE while bytes are at
 * hand: consume them first. */
KITH_MUST_CHECK kith_err kith_stream_into(kith_stream *stream, void *memory, size_t size);
size_t kith_stream_into_end(kith_stream *stream); /* the memory is the caller's again: how many bytes are there */
/* Of all bytes consumed or put into memory so far the user still has `size`, in memory for `room` bytes (2 MiB or
 * more): the peer has credit on this stream for what fits beside them, and more when this is called with less.  From
 * the first call on what is put into memory counts at once.  Credit on the connection is not held back. */
void kith_stream_hold(kith_stream *stream, uint64_t size, uint64_t room);
void kith_stream_reset(kith_stream *stream, uint64_t code); /* give up sending */
void kith_stream_stop(kith_stream *stream, uint64_t code);  /* ask the peer to give up */
/* Done with it: what is unfinished is reset/stopped with code 0, and so is a finished sending side of which lent memory
 * has not all come back (so after this the memory is the caller's again); one without is still delivered. */
void kith_stream_free(kith_stream *stream);

#endif
