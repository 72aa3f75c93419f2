/* What the files of this layer share: the objects behind quic.h's handles, and who offers what to whom.  Not for other
 * layers. */
#ifndef KITH_QUIC_STATE_H
#define KITH_QUIC_STATE_H

#include "base/bucket.h"
#include "base/list.h"
#include "crypto/rng.h"
#include "quic/deadlines.h"
#include "quic/frames.h"
#include "quic/hyphae.h"
#include "quic/idmap.h"
#include "quic/probe.h"
#include "quic/quic.h"
#include "quic/streambuf.h"
#include "quic/token.h"

#include <ngtcp2/ngtcp2.h>

#define KITH_CID_SIZE 8 /* of the connection ids we give out */
#define KITH_DIAL_CID_SIZE                                                                                             \
    16 /* random destination of a client's first Initial (RFC 9000 section 7.2 wants 8 or more) */
#define KITH_INITIAL_SIZE_MIN 1200 /* RFC 9000 section 14.1; also what every path must carry */
#define KITH_CLOSE_PTOS       3    /* RFC 9000 section 10.2 */
#define KITH_STRANGERS_MAX    32 /* answers to those who have no connection that wait to be sent; the next is dropped */
#define KITH_PROBES_MAX       32 /* probes of one connection that wait to be sent; likewise */
#define KITH_REPLY_SIZE_MAX   1200
#define KITH_STOPS_MAX        16 /* STOP_SENDING frames noted from one datagram; the rest is noticed when we write */
#define KITH_REBINDS_MAX      4  /* addresses being challenged at a time */

/* ---- the endpoint ---- */

/* A datagram that ngtcp2 did not make.  Strangers' have places of their own, and so has each connection: nobody can
 * take those of others. */
typedef enum kith_reply_kind {
    KITH_REPLY_STRANGER, /* to somebody without a connection, or whose handshake failed */
    KITH_REPLY_PROBE,
    KITH_REPLY_GOODBYE, /* of a connection that its owner freed before it went out: one each, never dropped */
} kith_reply_kind;

typedef struct kith_reply {
    kith_link in_replies;
    kith_reply_kind kind;
    kith_conn *conn; /* PROBE: whose */
    kith_addr local, remote;
    size_t size; /* 0: it came to nothing */
    uint8_t data[KITH_REPLY_SIZE_MAX];
} kith_reply;

/* A packet that ngtcp2 made while we gathered a run for another address: it is the next output. */
typedef struct kith_held {
    bool there;
    kith_addr local, remote;
    uint8_t ecn;
    size_t size;
    uint8_t *data;
} kith_held;

struct kith_quic {
    uint8_t *secrets; /* guarded: static secret, reset key, token key, 32 bytes each */
    bool accept, always_retry, over_tcp;
    uint64_t idle_ns, keep_alive_ns;
    size_t conns_max, retry_above, packet_max;
    uint64_t now; /* never goes back */
    kith_rng rng;
    kith_idmap *cids, *resets, *probes;
    kith_list conns, dirty, conn_events, stream_events, closed;
    size_t conn_count, half_open;
    kith_deadlines deadlines;
    kith_list replies; /* of kith_reply, in the order of their making */
    size_t strangers_waiting;
    kith_bucket resets_sent, negotiations_sent, retries_sent;
    kith_held held;
    kith_spares spares;
    ngtcp2_path_storage made_up[KITH_CONN_PATHS_MAX]; /* see paths.c */
};

/* ---- paths ---- */

/* ngtcp2 sees one constant pair of made-up addresses per path number; the real ones are here beneath it. */
typedef struct kith_path {
    bool used;
    kith_addr local, remote;
    size_t cap; /* largest datagram; 0: no limit of the path's own */
    /* The made-up local address is that of this number less one, and so is the peer's made-up IP; 0: its own. */
    uint8_t local_of, ip_of;
    /* a probe of ours */
    bool probing;
    bool good;         /* one was answered since the addresses are these */
    bool restart;      /* once it is answered the connection moves here: kith_conn_restart */
    uint64_t since_ns; /* when the addresses were found to be these */
    bool report;       /* a PATH event is due */
    kith_err report_err;
    uint64_t first_ns, asked_ns, again_ns, back_off_ns, rtt_ns;
    uint64_t used_ns;  /* last */
    uint64_t heard_ns; /* an authentic packet came from there */
    uint8_t token[KITH_PROBE_TOKEN_SIZE];
} kith_path;

/* An address from which authentic packets came, though it is no path's: it must prove that it is the peer. */
typedef struct kith_rebind {
    bool used;
    kith_addr local, remote;
    uint32_t path;                        /* that moves there */
    uint64_t first_ns, last_ns, asked_ns; /* heard from; asked who it is */
    uint64_t received, sent;              /* bytes, of packets that count and of challenges */
    uint8_t token[KITH_PROBE_TOKEN_SIZE];
} kith_rebind;

/* ---- connections ---- */

typedef enum kith_conn_state {
    KITH_CONN_LIVE,
    KITH_CONN_CLOSING,  /* we said goodbye: repeat it to who still speaks */
    KITH_CONN_DRAINING, /* the peer did: silence */
    KITH_CONN_DEAD,
} kith_conn_state;

/* What ngtcp2's aead and cipher contexts point to; all of a connection's are in a list of it, so that none is lost when
 * ngtcp2 fails half way. */
typedef enum kith_key_kind { KITH_KEY_PACKET, KITH_KEY_HEADER, KITH_KEY_RETRY } kith_key_kind;
typedef struct kith_packet_key {
    kith_link in_conn;
    kith_key_kind kind;
    kith_level level;
    kith_conn *conn;
    struct kith_aead *aead;
    uint8_t bytes[32]; /* HEADER, RETRY */
} kith_packet_key;

typedef struct kith_datagrams { /* waiting */
    kith_list list;
    size_t count, bytes;
    bool quiet; /* DATAGRAM was said, and take has not said "none" since */
} kith_datagrams;

/* How far the receive windows reach beyond ngtcp2's own (window.c). */
typedef struct kith_window {
    uint64_t extra, granted;     /* wanted; given, of the connection's window (each stream has its own) */
    uint64_t round_ns, consumed; /* the round's beginning; bytes consumed in it */
} kith_window;

struct kith_conn {
    kith_quic *quic;
    ngtcp2_conn *ng;
    void *user;
    kith_conn_state state;
    bool dialler;
    bool held_by_user; /* the handle was given out */
    bool established, confirmed /* RFC 9001 section 4.1.2 */, half_open;
    bool doomed;      /* over, and the user never knew of it: output clears it away */
    bool wants_retry; /* over since its first packet is not the beginning: kept only for who proves an address */
    kith_link in_conns, in_dirty, in_events, in_closed;
    kith_deadline deadline;
    kith_list ids;
    kith_list keys; /* of kith_packet_key */
    /* handshake */
    ngtcp2_cid scid; /* our first id */
    kith_hyphae *hyphae;
    bool params_set, level_installed[KITH_LEVELS];
    uint8_t expected[32];
    bool has_expected;
    kith_err err; /* why a callback failed */
    uint8_t remote_static[32], hash[32];
    uint64_t key_steps;
    /* events */
    unsigned pending; /* kith_quic_event_kind bits */
    kith_err closed_err;
    uint64_t closed_code;
    bool closed_by_peer, was_reset;
    char reason[KITH_QUIC_REASON_MAX + 1];
    /* closing */
    uint8_t goodbye[KITH_INITIAL_SIZE_MIN];
    size_t goodbye_size;
    bool goodbye_due;
    uint64_t closing_until, closing_heard;
    /* streams */
    kith_list streams, sendable;
    kith_frame_stop stops[KITH_STOPS_MAX];
    size_t stop_count;
    uint64_t lost_before; /* packets, of streams that are gone */
    kith_datagrams datagrams_out, datagrams_in;
    /* counters */
    uint64_t sent_bytes, received_bytes, buffered_bytes, last_received_ns, authentic;
    uint64_t newest;        /* 1-RTT packet number received, plus one */
    uint64_t unanswered_ns; /* the first large packet sent since stream bytes were acknowledged; 0: none */
    uint64_t owed_ns;       /* the first packet sent that wants an answer, since one came; 0: none */
    bool silent_said;
    kith_window window;
    /* paths */
    kith_addr asked_from; /* of the ASKED event */
    kith_path paths[KITH_CONN_PATHS_MAX];
    uint32_t path_end;  /* no number from here on is used */
    uint32_t path;      /* current */
    uint32_t path_said; /* the last that MOVED told of */
    bool unproven;      /* ngtcp2 went over to `path` and waits for an answer from there */
    uint32_t followed;  /* then: the path from which it went, and goes back when there is none */
    bool pinned;        /* kith_conn_pin */
    bool moving;
    uint32_t moving_to;
    uint64_t moved_ns;
    kith_rebind rebinds[KITH_REBINDS_MAX];
    uint8_t probe_keys[2][32];                /* to send, to receive */
    uint8_t probe_ids[2][KITH_PROBE_ID_SIZE]; /* the peer's, ours */
    uint64_t probe_sent, probe_highest,
        probe_window; /* numbers used; received: the highest and 64 below it (RFC 6479) */
    kith_bucket probes_answered;
    size_t probes_waiting; /* among the endpoint's replies */
};

/* ---- streams ---- */

struct kith_stream {
    kith_conn *conn;
    int64_t id;
    void *user;
    kith_link in_conn, in_sendable, in_events;
    bool freed;  /* the user let go of it; it lives on until `closed` */
    bool closed; /* ngtcp2 has forgotten it */
    bool can_send, can_receive;
    unsigned pending; /* kith_quic_event_kind bits */
    uint64_t reset_code, stop_code;
    /* sending */
    kith_sendbuf out;
    bool fin, fin_sent, fin_alone, fin_acked, reset, above_high;
    /* receiving */
    kith_recvbuf in;
    uint8_t *into; /* the user's memory for the next bytes, or NULL */
    size_t into_size, into_filled;
    uint64_t taken, credited; /* bytes consumed or put into memory; of these the peer has credit anew for */
    uint64_t held, spare;     /* kith_stream_hold: of its room what is beside the window */
    bool holds;               /* ... was called */
    uint64_t extra_granted;   /* window.c */
    bool fin_received, gone /* reset by the peer, or stopped by us */,
        quiet /* READABLE was said, peek has not said "nothing" since */;
};

/* ---- endpoint.c ---- */
void kith__quic_clock(kith_quic *quic, uint64_t now_ns);
const uint8_t *kith__quic_static_secret(const kith_quic *quic);
const uint8_t *kith__quic_reset_key(const kith_quic *quic);
const uint8_t *kith__quic_token_key(const kith_quic *quic);

/* ---- reply.c ---- */
/* Room for one more, to be filled in before anything else is asked of the endpoint; `conn`: whose probe it is.  NULL:
 * too many wait already, or there is no memory. */
kith_reply *kith__reply_new(kith_quic *quic, kith_reply_kind kind, kith_conn *conn, const kith_addr *local,
                            const kith_addr *remote);
bool kith__reply_output(kith_quic *quic, kith_packet *out);
void kith__reply_forget(kith_conn *conn); /* its probes */
void kith__reply_done(kith_quic *quic);

/* ---- accept.c: packets of no connection ---- */
void kith__quic_stranger(kith_quic *quic, const kith_packet *packet, uint8_t *datagram, size_t size);

/* ---- conn.c ---- */
KITH_MUST_CHECK kith_err kith__conn_dial(kith_quic *quic, const kith_addr *remote, const uint8_t *expected,
                                         kith_conn **out);
/* From a client's first Initial: its ids, and what a Retry token proved. */
typedef struct kith_accepted {
    const kith_addr *local, *remote;
    const ngtcp2_pkt_hd *initial;
    const kith_cid *original; /* NULL: no token */
} kith_accepted;
KITH_MUST_CHECK kith_err kith__conn_accept(kith_quic *quic, const kith_accepted *from, kith_conn **out);
void kith__conn_destroy(kith_conn *conn);
void kith__conn_dirty(kith_conn *conn); /* it may have something to send */
void kith__conn_read(kith_conn *conn, const kith_packet *packet, const uint8_t *datagram, size_t size);
void kith__conn_expire(kith_conn *conn);
void kith__conn_failed(kith_conn *conn, int rv); /* what ngtcp2 said */
void kith__conn_set_deadline(kith_conn *conn);
void kith__conn_established(kith_conn *conn);

/* ---- callbacks.c, handshake.c, protect.c: what ngtcp2 calls ---- */
void kith__callbacks_common(ngtcp2_callbacks *callbacks);
void kith__callbacks_handshake(ngtcp2_callbacks *callbacks);
void kith__callbacks_protect(ngtcp2_callbacks *callbacks);
/* Our error (or OK) as what a callback returns; the first is kept for the CLOSED event. */
int kith__callback_failed(kith_conn *conn, kith_err err);
KITH_MUST_CHECK kith_err kith__conn_retry_key(kith_conn *conn, const ngtcp2_cid *odcid);
KITH_MUST_CHECK kith_err kith__key_packet(kith_conn *conn, kith_level level, const uint8_t bytes[static 32],
                                          ngtcp2_crypto_aead_ctx *out);
KITH_MUST_CHECK kith_err kith__key_header(kith_conn *conn, const uint8_t bytes[static 32],
                                          ngtcp2_crypto_cipher_ctx *out);
void kith__keys_free(kith_conn *conn);
const ngtcp2_mem *kith__mem(void);

/* ---- datagram.c ---- */
void kith__datagrams_init(kith_conn *conn);
void kith__datagrams_done(kith_conn *conn);
void kith__datagram_received(kith_conn *conn, const uint8_t *data, size_t size);
/* The next to be put into a packet, which it fits now; NULL: none. */
const uint8_t *kith__datagram_first(kith_conn *conn, size_t *size);
void kith__datagram_sent(kith_conn *conn);

/* ---- output.c ---- */
bool kith__conn_output(kith_conn *conn, kith_packet *out);

/* ---- stream.c ---- */
KITH_MUST_CHECK kith_err kith__stream_new(kith_conn *conn, int64_t id, kith_stream **out);
void kith__stream_destroy(kith_stream *stream);
void kith__stream_want_send(kith_stream *stream);
kith_stream *kith__stream_find(kith_conn *conn, uint64_t id); /* among those not closed; NULL */
KITH_MUST_CHECK kith_err kith__stream_received(kith_stream *stream, const uint8_t *data, size_t size, bool fin);
void kith__stream_acked(kith_stream *stream, uint64_t offset, size_t size);
void kith__stream_was_reset(kith_stream *stream, uint64_t code);
void kith__stream_was_stopped(kith_stream *stream, uint64_t code);
void kith__stream_was_closed(kith_stream *stream);
void kith__stream_check_mark(kith_stream *stream); /* WRITABLE? */

/* ---- window.c ---- */
uint64_t kith__window_max(const kith_quic *quic); /* a stream's, without what a long path gets more */
/* The user took `size` bytes: give the peer credit for them on the connection, and for `own` on the stream. */
void kith__window_consumed(kith_stream *stream, uint64_t size, uint64_t own);

/* ---- events.c ---- */
void kith__event_conn(kith_conn *conn, kith_quic_event_kind kind);
void kith__event_stream(kith_stream *stream, kith_quic_event_kind kind);

/* ---- paths.c ---- */
void kith__paths_make_up(kith_quic *quic);
uint32_t kith__path_number(const ngtcp2_path *path);
/* What ngtcp2 is shown for a number; `memory` may hold it. */
const ngtcp2_path *kith__path_made_up(const kith_conn *conn, uint32_t number, ngtcp2_path_storage *memory);
/* From now on `number` has the made-up local address, and the IP of the peer when `ip`, that `with` has. */
void kith__path_share(kith_conn *conn, uint32_t number, uint32_t with, bool ip);
void kith__path_in_use(kith_conn *conn, uint32_t number);
/* A free number of ours (the dialler's are even), else the one that was of no use for longest; -1: none. */
int kith__path_pick(const kith_conn *conn);
int kith__path_find(const kith_conn *conn, const kith_addr *local, const kith_addr *remote); /* -1: none */
KITH_MUST_CHECK kith_err kith__paths_established(kith_conn *conn);
/* An authentic packet of so many bytes, newer than all before, came from an address that is no path's. */
void kith__paths_stranger(kith_conn *conn, const kith_addr *local, const kith_addr *remote, size_t size);
kith_rebind *kith__rebind_find(kith_conn *conn, const kith_addr *local, const kith_addr *remote); /* NULL: none */
void kith__paths_input(kith_quic *quic, const kith_packet *packet, const uint8_t *datagram, size_t size);
uint64_t kith__paths_deadline(const kith_conn *conn);
void kith__paths_expire(kith_conn *conn);
void kith__paths_validated(kith_conn *conn, const ngtcp2_path *path, bool ok);
void kith__paths_follow(kith_conn *conn); /* ngtcp2 may have gone over to another */

/* ---- follow.c ---- */
/* As which path a packet from an address that is no path's is to be read: the last proven one, or one of its own, when
 * this is where the dialler seems to have gone.  After the read: whether ngtcp2 went there. */
uint32_t kith__follow_as(kith_conn *conn, const kith_addr *local, const kith_addr *remote);
bool kith__follow_tried(kith_conn *conn, uint32_t number);
void kith__follow_validated(kith_conn *conn, uint32_t number, bool ok);

#endif
