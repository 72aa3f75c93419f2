/* A dialler that is not Kith answers no probes of ours, and may be somewhere else from one packet to the next: its NAT
 * forgot it, or it goes by another network.  RFC 9000 section 9.3 wants it followed by who permits that, and ngtcp2
 * does it: at once, with PATH_CHALLENGE, at most three times what came from there until it is answered, and back where
 * it was when it is not.  Here it is decided when ngtcp2 is shown another address at all:
 *
 *   - the peer has never sent a probe of ours (who can prove an address by them does, within a round trip);
 *   - packets newer than all before came from there for a while, and nothing from where the peer was.  Who copies
 * packets and is quicker than they are moves nothing while the peer itself is heard (section 9.3.3), not even for a
 * moment.
 *
 * The made-up local address stays the same, so that no connection id is spent on a NAT that rebinds; and so does the
 * peer's IP when only its port changed: then congestion control goes on as it was (section 9.4). */
#include "quic/state.h"

#define FOLLOW_MIN_NS UINT64_C(250000000)
#define FOLLOW_RTTS   2 /* a probe would have been answered */

static bool may_follow(const kith_conn *conn)
{
    return !conn->dialler && !conn->pinned && !conn->unproven && !conn->probe_highest;
}

static bool went_there(kith_conn *conn, kith_rebind *r)
{
    ngtcp2_conn_info info;
    uint64_t now = conn->quic->now, wait = FOLLOW_MIN_NS;
    if (conn->paths[conn->path].heard_ns >= r->first_ns) { /* both are heard: from now on, then */
        r->first_ns = now;
        return false;
    }
    ngtcp2_conn_get_conn_info(conn->ng, &info);
    if (wait < FOLLOW_RTTS * info.smoothed_rtt) wait = FOLLOW_RTTS * info.smoothed_rtt;
    return now - r->first_ns >= wait;
}

/* While one address is asked, news from yet another one end that: read as of the path before, to which ngtcp2 then
 * returns. */
uint32_t kith__follow_as(kith_conn *conn, const kith_addr *local, const kith_addr *remote)
{
    uint32_t proven = conn->unproven ? conn->followed : conn->path;
    kith_rebind *r = may_follow(conn) ? kith__rebind_find(conn, local, remote) : NULL;
    int number = r && went_there(conn, r) ? kith__path_pick(conn) : -1;
    if (number < 0) return proven;
    conn->paths[number] = (kith_path){.used = true, .local = *local, .remote = *remote};
    kith__path_share(conn, (uint32_t)number, proven, kith_addr_same_ip(remote, &conn->paths[proven].remote));
    kith__path_in_use(conn, (uint32_t)number);
    return (uint32_t)number;
}

bool kith__follow_tried(kith_conn *conn, uint32_t number)
{
    if (number == conn->path || (conn->unproven && number == conn->followed)) return false;
    if (kith__path_number(ngtcp2_conn_get_path(conn->ng)) == number) return true;
    conn->paths[number].used = false; /* it was not newer, a probing packet, or no packet */
    return false;
}

/* When it failed, ngtcp2 is back where it was.  When it did not, what is heard from there is a stranger's. */
void kith__follow_validated(kith_conn *conn, uint32_t number, bool ok)
{
    kith_path *path = &conn->paths[number];
    if (!conn->unproven || number != conn->path) return;
    conn->unproven = false;
    if (ok) path->good = true;
    if (!path->local_of) return;
    conn->paths[ok ? conn->followed : number].used = false;
    kith_rebind *r = ok ? kith__rebind_find(conn, &path->local, &path->remote) : NULL;
    if (r) r->used = false;
}
