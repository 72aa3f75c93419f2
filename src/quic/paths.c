/* Paths.  ngtcp2 sees one constant pair of made-up addresses per path number, so that it never sees an address change
 * that was not a migration; which real addresses a number stands for is decided here, by probes that prove who is
 * there.
 *
 *     us -> peer  ASK(path, token)            sent by kith_conn_probe, again with back-off
 *     peer -> us  ANSWER(path, echo, token')  to where ASK came from
 *     us -> peer  CONFIRM(path, echo')        only now the peer takes that address for the path
 *
 * A NAT that rebinds shows as authentic QUIC packets from an address that is no path's.  They count (under the current
 * path), and the address is sent a CHALLENGE, which the peer answers with CONFIRM.  A CHALLENGE is answered only when
 * it comes from an address we send to: who replays packets from elsewhere, or relays challenges, does not get our
 * traffic.  Whoever knows no probes is followed as RFC 9000 has it, by ngtcp2: follow.c. */
#include "quic/state.h"

#include "quic/probe.h"

#include <netinet/in.h>
#include <string.h>

#define VIRTUAL_PORT       1000
#define PROBE_AGAIN_NS     UINT64_C(100000000) /* the first repetition of an ASK; doubled each time up to */
#define PROBE_AGAIN_MAX_NS UINT64_C(400000000)
#define CHALLENGE_AGAIN_NS UINT64_C(250000000)
#define AMPLIFICATION      3  /* RFC 9000 section 8.1 */
#define ANSWERS_PER_SECOND 20 /* to one connection's ASKs and CHALLENGEs */
#define WINDOW             64

/* ---- made-up addresses ---- */

/* 192.0.2.0/24 and 198.51.100.0/24 are for documentation (RFC 5737): these never leave the process. */
void kith__paths_make_up(kith_quic *quic)
{
    for (uint32_t number = 0; number < KITH_CONN_PATHS_MAX; number++) {
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(VIRTUAL_PORT + number))},
                           remote = local;
        local.sin_addr.s_addr = htonl(UINT32_C(0xc0000200) + number);
        remote.sin_addr.s_addr = htonl(UINT32_C(0xc6336400) + number);
        ngtcp2_path_storage_init(&quic->made_up[number], (const struct sockaddr *)&local, sizeof local,
                                 (const struct sockaddr *)&remote, sizeof remote, NULL);
    }
}

uint32_t kith__path_number(const ngtcp2_path *path)
{
    struct sockaddr_in remote;
    memcpy(&remote, path->remote.addr, sizeof remote);
    uint32_t number = (uint32_t)ntohs(remote.sin_port) - VIRTUAL_PORT;
    return number < KITH_CONN_PATHS_MAX ? number : 0;
}

/* The number whose made-up local address, or the peer's IP, this one shares. */
static uint32_t shares(uint8_t with, uint32_t own) { return with ? with - 1u : own; }

const ngtcp2_path *kith__path_made_up(const kith_conn *conn, uint32_t number, ngtcp2_path_storage *memory)
{
    const kith_path *path = &conn->paths[number];
    const ngtcp2_path_storage *made_up = conn->quic->made_up;
    if (!path->local_of && !path->ip_of) return &made_up[number].path;
    struct sockaddr_in remote;
    const ngtcp2_addr *local = &made_up[shares(path->local_of, number)].path.local,
                      *ip = &made_up[shares(path->ip_of, number)].path.remote;
    memcpy(&remote, ip->addr, sizeof remote);
    remote.sin_port = htons((uint16_t)(VIRTUAL_PORT + number));
    ngtcp2_path_storage_init(memory, local->addr, local->addrlen, (const struct sockaddr *)&remote, sizeof remote,
                             NULL);
    return &memory->path;
}

void kith__path_share(kith_conn *conn, uint32_t number, uint32_t with, bool ip)
{
    kith_path *path = &conn->paths[number];
    path->local_of = (uint8_t)(shares(conn->paths[with].local_of, with) + 1);
    if (ip) path->ip_of = (uint8_t)(shares(conn->paths[with].ip_of, with) + 1);
}

/* ---- real ones ---- */

static bool same_place(const kith_addr *local, const kith_addr *remote, const kith_addr *local_b,
                       const kith_addr *remote_b)
{
    if (!kith_addr_equal(remote, remote_b)) return false;
    return local->family == KITH_FAMILY_NONE || local_b->family == KITH_FAMILY_NONE ||
           kith_addr_same_ip(local, local_b);
}

/* Two numbers may stand for the same place: both sides probed it, or the dialler begins anew.  The dialler knows which
 * one it uses, or goes over to; else its own (even) numbers count, and of these the later one, which it moves to. */
static unsigned claim(const kith_conn *conn, uint32_t number)
{
    if (conn->dialler && conn->moving && number == conn->moving_to) return 3;
    if (conn->dialler && number == conn->path) return 2;
    return number % 2 == 0;
}

static bool goes_before(const kith_conn *conn, uint32_t a, uint32_t b)
{
    unsigned of_a = claim(conn, a), of_b = claim(conn, b);
    if (of_a != of_b) return of_a > of_b;
    return !conn->dialler && conn->paths[a].since_ns > conn->paths[b].since_ns;
}

int kith__path_find(const kith_conn *conn, const kith_addr *local, const kith_addr *remote)
{
    int found = -1;
    for (uint32_t i = 0; i < conn->path_end; i++) {
        uint32_t number = (conn->path + i) % conn->path_end; /* the current one first */
        const kith_path *path = &conn->paths[number];
        if (!path->used || !same_place(&path->local, &path->remote, local, remote)) continue;
        if (found < 0 || goes_before(conn, number, (uint32_t)found)) found = (int)number;
    }
    return found;
}

static bool is_a_remote(const kith_conn *conn, const kith_addr *remote)
{
    for (uint32_t i = 0; i < conn->path_end; i++)
        if (conn->paths[i].used && kith_addr_equal(&conn->paths[i].remote, remote)) return true;
    return false;
}

static void moved(kith_conn *conn)
{
    conn->path_said = conn->path;
    kith__event_conn(conn, KITH_QUIC_MOVED);
}

void kith__paths_follow(kith_conn *conn)
{
    if (conn->state != KITH_CONN_LIVE) return;
    uint32_t now = kith__path_number(ngtcp2_conn_get_path(conn->ng));
    if (now != conn->path) {
        if (conn->paths[conn->path].good) conn->followed = conn->path;
        conn->path = now;
        conn->unanswered_ns = 0;
        conn->paths[now].used_ns = conn->quic->now;
        conn->unproven = !conn->dialler && !conn->paths[now].good;
    }
    /* Who only says to be there may be gone again. */
    if (!conn->unproven && conn->path != conn->path_said) moved(conn);
}

kith_err kith__paths_established(kith_conn *conn)
{
    uint8_t keys[3][32];
    size_t mine = conn->dialler ? 0 : 1; /* keys[0] and the first id go from the dialler to the other */
    kith_hyphae_export(conn->hyphae, "kith path probe v1", keys);
    memcpy(conn->probe_keys[0], keys[mine], 32);
    memcpy(conn->probe_keys[1], keys[!mine], 32);
    memcpy(conn->probe_ids[0], keys[2] + 8 * mine, KITH_PROBE_ID_SIZE);
    memcpy(conn->probe_ids[1], keys[2] + 8 * !mine, KITH_PROBE_ID_SIZE);
    kith_err err = kith_idmap_add(conn->quic->probes, conn->probe_ids[1], KITH_PROBE_ID_SIZE, conn, &conn->ids);
    return err == KITH_ERR_EXISTS ? KITH_ERR_INTERNAL : err;
}

/* ---- sending probes ---- */

static void send_probe(kith_conn *conn, const kith_addr *local, const kith_addr *remote, const kith_probe *probe,
                       size_t size)
{
    kith_reply *reply = kith__reply_new(conn->quic, KITH_REPLY_PROBE, conn, local, remote);
    if (!reply) return;
    if (kith_probe_seal(conn->probe_keys[0], conn->probe_ids[0], conn->probe_sent++, probe, size, reply->data) ==
        KITH_OK)
        reply->size = size;
}

static void ask(kith_conn *conn, uint32_t number)
{
    kith_path *path = &conn->paths[number];
    kith_probe probe = {.kind = KITH_PROBE_ASK, .path = (uint8_t)number};
    memcpy(probe.token, path->token, sizeof probe.token);
    path->asked_ns = conn->quic->now;
    path->again_ns = conn->quic->now + path->back_off_ns;
    if (path->back_off_ns < PROBE_AGAIN_MAX_NS) path->back_off_ns *= 2;
    send_probe(conn, &path->local, &path->remote, &probe, KITH_PROBE_SIZE);
}

int kith__path_pick(const kith_conn *conn)
{
    int best = -1;
    for (uint32_t i = conn->dialler ? 0 : 1; i < KITH_CONN_PATHS_MAX; i += 2) {
        const kith_path *path = &conn->paths[i];
        bool lately = path->used_ns && conn->quic->now - path->used_ns < KITH_CONN_PROBE_NS;
        if (i == conn->path || path->probing || lately) continue;
        if (!path->used) return (int)i;
        if (best < 0 || path->used_ns < conn->paths[best].used_ns) best = (int)i;
    }
    return best;
}

void kith__path_in_use(kith_conn *conn, uint32_t number)
{
    if (conn->path_end <= number) conn->path_end = number + 1;
}

void kith_conn_pin(kith_conn *conn) { conn->pinned = true; }

static void begin_probe(kith_conn *conn, uint32_t number)
{
    kith_path *path = &conn->paths[number];
    kith__path_in_use(conn, number);
    path->used_ns = path->first_ns = conn->quic->now;
    path->probing = true;
    path->back_off_ns = PROBE_AGAIN_NS;
    kith_rng_bytes(&conn->quic->rng, path->token, sizeof path->token);
    ask(conn, number);
    kith__conn_dirty(conn);
}

kith_err kith_conn_restart(kith_conn *conn, uint64_t now_ns)
{
    kith__quic_clock(conn->quic, now_ns);
    int number = kith__path_pick(conn);
    if (!conn->dialler || conn->state != KITH_CONN_LIVE || !conn->established) return KITH_ERR_STATE;
    if (number < 0) return KITH_ERR_LIMIT;
    const kith_path *now = &conn->paths[conn->path];
    conn->paths[number] = (kith_path){.used = true, .restart = true, .local = now->local, .remote = now->remote};
    begin_probe(conn, (uint32_t)number);
    return KITH_OK;
}

kith_err kith_conn_probe(kith_conn *conn, const kith_addr *local, const kith_addr *remote, uint64_t now_ns,
                         uint32_t *number)
{
    static const kith_addr any;
    kith_quic *quic = conn->quic;
    kith__quic_clock(quic, now_ns);
    if (!local) local = &any;
    if (conn->state != KITH_CONN_LIVE || !conn->established) return KITH_ERR_STATE;
    int found = kith__path_find(conn, local, remote);
    if (found < 0) {
        found = kith__path_pick(conn);
        if (found < 0) return KITH_ERR_LIMIT;
        conn->paths[found] = (kith_path){.used = true, .local = *local, .remote = *remote};
    }
    kith_path *path = &conn->paths[found];
    *number = (uint32_t)found;
    path->used_ns = quic->now;
    if (!path->probing) begin_probe(conn, (uint32_t)found);
    return KITH_OK;
}

bool kith_conn_path_to(const kith_conn *conn, const kith_addr *remote, uint32_t *number)
{
    static const kith_addr any;
    int found = kith__path_find(conn, &any, remote);
    if (found >= 0) *number = (uint32_t)found;
    return found >= 0;
}

void kith_conn_rebind(kith_conn *conn, const kith_addr *ours, size_t count)
{
    for (uint32_t i = 0; i < conn->path_end; i++) {
        kith_path *path = &conn->paths[i];
        bool there = path->local.family == KITH_FAMILY_NONE;
        for (size_t k = 0; k < count && !there; k++) there = kith_addr_same_ip(&path->local, &ours[k]);
        if (!there) path->local = (kith_addr){0};
    }
}

static void report(kith_conn *conn, kith_path *path, kith_err err)
{
    path->report = true;
    path->report_err = err;
    kith__event_conn(conn, KITH_QUIC_PATH);
}

uint64_t kith__paths_deadline(const kith_conn *conn)
{
    uint64_t at = UINT64_MAX;
    for (uint32_t i = 0; i < conn->path_end; i++)
        if (conn->paths[i].probing && conn->paths[i].again_ns < at) at = conn->paths[i].again_ns;
    return at;
}

void kith__paths_expire(kith_conn *conn)
{
    for (uint32_t i = 0; i < conn->path_end; i++) {
        kith_path *path = &conn->paths[i];
        if (!path->probing || path->again_ns > conn->quic->now) continue;
        if (conn->quic->now - path->first_ns < KITH_CONN_PROBE_NS) {
            ask(conn, i);
            continue;
        }
        path->probing = false;
        report(conn, path, KITH_ERR_TIMEOUT);
    }
}

/* ---- who proves an address ---- */

kith_rebind *kith__rebind_find(kith_conn *conn, const kith_addr *local, const kith_addr *remote)
{
    for (size_t i = 0; i < KITH_REBINDS_MAX; i++) {
        kith_rebind *r = &conn->rebinds[i];
        if (r->used && same_place(&r->local, &r->remote, local, remote)) return r;
    }
    return NULL;
}

/* The slot of this address, a free one, or the one that was quiet for longest; NULL: all are busy. */
static kith_rebind *rebind_slot(kith_conn *conn, const kith_addr *local, const kith_addr *remote)
{
    kith_rebind *r = kith__rebind_find(conn, local, remote), *best = NULL;
    for (size_t i = 0; i < KITH_REBINDS_MAX && !r; i++) {
        kith_rebind *other = &conn->rebinds[i];
        if (other->used && conn->quic->now - other->last_ns < CHALLENGE_AGAIN_NS) continue;
        if (!best || !other->used || (best->used && other->last_ns < best->last_ns)) best = other;
    }
    if (!r && !best) return NULL;
    if (!r) {
        r = best;
        *r = (kith_rebind){.used = true, .local = *local, .remote = *remote, .first_ns = conn->quic->now};
    }
    r->last_ns = conn->quic->now;
    return r;
}

static void draw_token(kith_conn *conn, kith_rebind *r, uint32_t path)
{
    r->path = path;
    r->asked_ns = conn->quic->now;
    kith_rng_bytes(&conn->quic->rng, r->token, sizeof r->token);
}

/* At most three times what came from there (RFC 9000 section 8.1), whatever the connection may send elsewhere. */
static size_t challenge_size(const kith_rebind *r)
{
    uint64_t left = AMPLIFICATION * r->received - r->sent;
    if (left < KITH_PROBE_SIZE_MIN) return 0;
    return left < KITH_PROBE_SIZE ? (size_t)left : KITH_PROBE_SIZE;
}

void kith__paths_stranger(kith_conn *conn, const kith_addr *local, const kith_addr *remote, size_t size)
{
    kith_rebind *r = rebind_slot(conn, local, remote);
    if (!r) return;
    r->received += size;
    size = challenge_size(r);
    if (!size || (r->asked_ns && conn->quic->now - r->asked_ns < CHALLENGE_AGAIN_NS)) return;
    draw_token(conn, r, conn->path);
    r->sent += size;
    kith_probe probe = {.kind = KITH_PROBE_CHALLENGE, .path = (uint8_t)r->path};
    memcpy(probe.token, r->token, sizeof probe.token);
    send_probe(conn, local, remote, &probe, size);
}

static void on_ask(kith_conn *conn, const kith_packet *packet, const kith_probe *in)
{
    if (!kith_bucket_take(&conn->probes_answered, NGTCP2_SECONDS / ANSWERS_PER_SECOND, ANSWERS_PER_SECOND,
                          conn->quic->now))
        return;
    kith_rebind *r = rebind_slot(conn, &packet->local, &packet->remote);
    if (r) draw_token(conn, r, in->path);
    kith_probe out = {.kind = KITH_PROBE_ANSWER, .path = in->path};
    memcpy(out.echo, in->token, sizeof out.echo);
    if (r) memcpy(out.token, r->token, sizeof out.token);
    send_probe(conn, &packet->local, &packet->remote, &out, KITH_PROBE_SIZE);
    if (kith_addr_equal(&packet->remote, &conn->paths[conn->path].remote)) return;
    conn->asked_from = packet->remote;
    kith__event_conn(conn, KITH_QUIC_ASKED);
}

/* As large as what it answers. */
static void confirm(kith_conn *conn, const kith_path *path, const kith_probe *in, size_t size)
{
    kith_probe out = {.kind = KITH_PROBE_CONFIRM, .path = in->path};
    memcpy(out.echo, in->token, sizeof out.echo);
    send_probe(conn, &path->local, &path->remote, &out, size);
}

static void on_answer(kith_conn *conn, const kith_packet *packet, const kith_probe *in)
{
    kith_path *path = &conn->paths[in->path];
    if (!path->used || !kith_addr_equal(&path->remote, &packet->remote) ||
        memcmp(path->token, in->echo, sizeof path->token) != 0)
        return;
    confirm(conn, path, in, KITH_PROBE_SIZE);
    if (!path->probing) return;
    path->probing = false;
    path->good = true;
    path->used_ns = conn->quic->now;
    path->rtt_ns = conn->quic->now - path->asked_ns;
    report(conn, path, KITH_OK);
    if (!path->restart) return;
    path->restart = false;
    if (kith_conn_move(conn, in->path, true, conn->quic->now)) path->used_ns = 0; /* then it waits for its timers */
}

static void on_challenge(kith_conn *conn, const kith_packet *packet, const kith_probe *in, size_t size)
{
    if (!is_a_remote(conn, &packet->remote)) return;
    if (!kith_bucket_take(&conn->probes_answered, NGTCP2_SECONDS / ANSWERS_PER_SECOND, ANSWERS_PER_SECOND,
                          conn->quic->now))
        return;
    int found = kith__path_find(conn, &packet->local, &packet->remote);
    kith_path any = {.remote = packet->remote};
    confirm(conn, found < 0 ? &any : &conn->paths[found], in, size);
}

static void on_confirm(kith_conn *conn, const kith_packet *packet, const kith_probe *in)
{
    for (size_t i = 0; i < KITH_REBINDS_MAX; i++) {
        kith_rebind *r = &conn->rebinds[i];
        if (!r->used || memcmp(r->token, in->echo, sizeof r->token) != 0) continue;
        if (!kith_addr_equal(&r->remote, &packet->remote)) continue;
        kith_path *path = &conn->paths[r->path];
        bool changed = !path->used || !same_place(&path->local, &path->remote, &r->local, &r->remote);
        r->used = false;
        path->used_ns = conn->quic->now;
        path->good = true;
        if (!changed || conn->pinned) return;
        path->used = true;
        kith__path_in_use(conn, r->path);
        path->since_ns = conn->quic->now;
        path->cap = 0;
        path->local = r->local;
        path->remote = r->remote;
        if (r->path == conn->path_said) moved(conn);
        kith__conn_dirty(conn);
        return;
    }
}

/* Each number once (RFC 6479's window, of one word). */
static bool fresh(kith_conn *conn, uint64_t number)
{
    uint64_t behind;
    number++; /* 0 means none yet */
    if (number > conn->probe_highest) {
        uint64_t ahead = number - conn->probe_highest;
        conn->probe_window = ahead >= WINDOW ? 1 : conn->probe_window << ahead | 1;
        conn->probe_highest = number;
        return true;
    }
    behind = conn->probe_highest - number;
    if (behind >= WINDOW || conn->probe_window >> behind & 1) return false;
    conn->probe_window |= UINT64_C(1) << behind;
    return true;
}

void kith__paths_input(kith_quic *quic, const kith_packet *packet, const uint8_t *datagram, size_t size)
{
    uint64_t number;
    kith_probe probe;
    const uint8_t *id = kith_probe_id(datagram, size);
    kith_conn *conn = id ? kith_idmap_find(quic->probes, id, KITH_PROBE_ID_SIZE) : NULL;
    if (!conn || conn->state != KITH_CONN_LIVE) return;
    if (kith_probe_open(conn->probe_keys[1], datagram, size, &number, &probe) || number == UINT64_MAX) return;
    if (probe.path >= KITH_CONN_PATHS_MAX || !fresh(conn, number)) return;
    switch (probe.kind) {
    case KITH_PROBE_ASK: on_ask(conn, packet, &probe); break;
    case KITH_PROBE_ANSWER: on_answer(conn, packet, &probe); break;
    case KITH_PROBE_CHALLENGE: on_challenge(conn, packet, &probe, size); break;
    case KITH_PROBE_CONFIRM: on_confirm(conn, packet, &probe); break;
    }
    kith__conn_dirty(conn);
}

/* ---- moving ---- */

kith_err kith_conn_move(kith_conn *conn, uint32_t number, bool dead, uint64_t now_ns)
{
    kith__quic_clock(conn->quic, now_ns);
    const ngtcp2_path *path = &conn->quic->made_up[number < KITH_CONN_PATHS_MAX ? number : 0].path;
    uint64_t now = conn->quic->now;
    if (!conn->dialler || conn->state != KITH_CONN_LIVE || number >= KITH_CONN_PATHS_MAX || !conn->paths[number].good)
        return KITH_ERR_STATE;
    if (number == conn->path) return conn->moving ? KITH_ERR_AGAIN : KITH_OK;
    if (conn->moved_ns && now - conn->moved_ns < KITH_CONN_MOVE_GAP_NS) return KITH_ERR_AGAIN;
    if (conn->moving && !dead) return KITH_ERR_AGAIN;
    int rv = dead ? ngtcp2_conn_initiate_immediate_migration(conn->ng, path, now)
                  : ngtcp2_conn_initiate_migration(conn->ng, path, now);
    if (rv == NGTCP2_ERR_CONN_ID_BLOCKED || rv == NGTCP2_ERR_INVALID_STATE) return KITH_ERR_AGAIN;
    if (rv) {
        kith__conn_failed(conn, rv);
        return rv == NGTCP2_ERR_NOMEM ? KITH_ERR_NOMEM : KITH_ERR_INTERNAL;
    }
    conn->moving = true;
    conn->moved_ns = now;
    conn->moving_to = number;
    conn->paths[number].used_ns = now;
    conn->paths[number].cap = 0;
    kith__paths_follow(conn);
    kith__conn_dirty(conn);
    return KITH_OK;
}

void kith__paths_validated(kith_conn *conn, const ngtcp2_path *validated, bool ok)
{
    uint32_t number = kith__path_number(validated);
    if (!conn->dialler) kith__follow_validated(conn, number, ok);
    if (!conn->moving || number != conn->moving_to) return;
    conn->moving = false;
    conn->paths[number].good = ok;
    if (!ok) report(conn, &conn->paths[number], KITH_ERR_TIMEOUT);
}
