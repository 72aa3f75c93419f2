/* Receive windows as large as the path needs.  ngtcp2 tunes them up to what a local network takes; where much is under
 * way for long (200 ms at 1 Gbit/s: 25 MB) that would be the limit.  So once a round trip we look at what was consumed
 * in it, as TCP's dynamic right-sizing does (Fisk and Feng 2001): a window of WINDOW_ROUNDS times that lets the sender
 * double its rate in each round, and go on while a lost packet is mended.
 *
 * The smallest round trip counts, not the present one: what stands in a queue does not need a window.  On a local
 * network the product is below what ngtcp2 gives anyway, and nothing happens here.  What is not needed any more (the
 * path is another, the rate fell) is taken back, slowly, by giving less credit than was consumed. */
#include "quic/state.h"

#define WINDOW_ROUNDS 3  /* round trips' worth: on the way; until a loss is known; until it is mended */
#define SHRINK        16 /* of the extra, this part goes in a round that does not need it */

uint64_t kith__window_max(const kith_quic *quic)
{
    return quic->over_tcp ? KITH_QUIC_TCP_WINDOW_MAX : KITH_QUIC_STREAM_WINDOW_MAX;
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* A round is over: how much more than the usual do the windows have to have? */
static uint64_t extra_wanted(const kith_conn *conn, const ngtcp2_conn_info *info, uint64_t elapsed_ns)
{
    double product = (double)conn->window.consumed * (double)info->min_rtt / (double)elapsed_ns;
    double wanted = WINDOW_ROUNDS * product - KITH_QUIC_STREAM_WINDOW_MAX;
    if (wanted >= KITH_QUIC_WINDOW_EXTRA_MAX) return KITH_QUIC_WINDOW_EXTRA_MAX;
    return wanted > 0 ? (uint64_t)wanted : 0;
}

static void round_over(kith_conn *conn)
{
    kith_window *w = &conn->window;
    ngtcp2_conn_info info;
    uint64_t elapsed_ns = conn->quic->now - w->round_ns;
    ngtcp2_conn_get_conn_info(conn->ng, &info);
    if (elapsed_ns == 0 || elapsed_ns < info.smoothed_rtt) return;
    if (info.min_rtt != UINT64_MAX)
        w->extra = larger(extra_wanted(conn, &info, elapsed_ns), w->extra - (w->extra + SHRINK - 1) / SHRINK);
    w->round_ns = conn->quic->now;
    w->consumed = 0;
}

/* The credit for `size` consumed bytes of a window that has `*granted` more than the usual and should have `extra`. */
static uint64_t credit(uint64_t *granted, uint64_t extra, uint64_t size)
{
    uint64_t back = *granted > extra ? *granted - extra : 0, more = extra > *granted ? extra - *granted : 0;
    if (back > size) back = size;
    *granted += more;
    *granted -= back;
    return size + more - back;
}

void kith__window_consumed(kith_stream *stream, uint64_t size, uint64_t own)
{
    kith_conn *conn = stream->conn;
    kith_window *w = &conn->window;
    w->consumed += size;
    round_over(conn);
    if (!stream->closed)
        ngtcp2_conn_extend_max_stream_offset(conn->ng, stream->id, credit(&stream->extra_granted, w->extra, own));
    ngtcp2_conn_extend_max_offset(conn->ng, credit(&w->granted, w->extra, size));
}
