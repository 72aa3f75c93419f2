/* Which session is with whom: nodes of a device told apart, sessions found, twins. */
#include "node/session.h"

#include "node/dial.h"

#include <string.h>

static const uint8_t no_instance[KITH_HELLO_INSTANCE_SIZE];

/* Where its node listens; 0: not known.  Over TCP the port of who dialled us is any. */
static uint16_t listening_port(const session *s)
{
    return s->dialler || s->carrier->kind == CARRIER_DATAGRAM ? s->remote.port : 0;
}

bool kith__nodes_have_port(const node_set *set, uint16_t port)
{
    for (size_t i = 0; i < set->count; i++)
        if (port && set->nodes[i].port == port) return true;
    return false;
}

bool kith__nodes_have(const node_set *set, const session *s)
{
    bool known = s->greeted && memcmp(s->peer.instance, no_instance, sizeof no_instance) != 0;
    for (size_t i = 0; known && i < set->count; i++)
        if (memcmp(set->nodes[i].instance, s->peer.instance, sizeof no_instance) == 0) return true;
    return kith__nodes_have_port(set, listening_port(s));
}

bool kith__nodes_add(node_set *set, const session *s)
{
    if (set->asked_again || set->count == NODES_MAX || kith__nodes_have(set, s)) return false;
    set->nodes[set->count].port = listening_port(s);
    memcpy(set->nodes[set->count].instance, s->greeted ? s->peer.instance : no_instance, sizeof no_instance);
    set->count++;
    return true;
}

bool kith__nodes_ask_again(node_set *set)
{
    if (set->asked_again || !set->count) return false;
    *set = (node_set){.asked_again = true};
    return true;
}

session *kith__session_find(kith_core *core, carrier_kind kind, const uint8_t fingerprint[static 32],
                            const node_set *but)
{
    session *best = NULL;
    KITH_EACH (at, &core->sessions) {
        session *s = KITH_OF(at, session, link);
        const uint8_t *theirs = s->known.fingerprint;
        if (!s->ready || s->for_pairing || s->carrier->kind != kind || memcmp(theirs, fingerprint, 32) != 0) continue;
        if (but && kith__nodes_have(but, s)) continue;
        if (!best || s->dialler == kith__session_lower_is_ours(s)) best = s;
    }
    return best;
}

bool kith__session_lower_is_ours(const session *s)
{
    return memcmp(s->core->signer.fingerprint, s->known.fingerprint, sizeof s->known.fingerprint) < 0;
}

bool kith__session_is_near(const session *s)
{
    kith_conn_stats stats;
    kith_conn_get_stats(s->conn, &stats);
    return stats.min_rtt_ns < DIAL_BULK_RTT_NS && s->remote.family != KITH_FAMILY_RELAY;
}

bool kith__session_same_node(const session *a, const session *b)
{
    if (memcmp(a->known.fingerprint, b->known.fingerprint, sizeof a->known.fingerprint) != 0) return false;
    if (a->dialler && b->dialler && kith_addr_equal(&a->remote, &b->remote)) return true;
    return a->greeted && b->greeted && memcmp(a->peer.instance, no_instance, sizeof no_instance) != 0 &&
           memcmp(a->peer.instance, b->peer.instance, sizeof no_instance) == 0;
}

session *kith__session_twin(const session *s)
{
    session *found = NULL;
    KITH_EACH (at, &s->core->sessions) {
        session *other = KITH_OF(at, session, link);
        if (!other->ready || other->for_pairing || other->carrier->kind == s->carrier->kind) continue;
        if (!kith__session_same_node(s, other)) continue;
        if (!found || other->dialler == kith__session_lower_is_ours(other)) found = other;
    }
    return found;
}

void kith__session_path(const session *s, char path[static 8], char scope[static 16],
                        char address[static KITH_ADDR_TEXT_SIZE])
{
    kith_addr remote = kith_conn_remote_addr(s->conn);
    bool relayed = remote.family == KITH_FAMILY_RELAY;
    strcpy(path, relayed ? "relay" : s->carrier->kind == CARRIER_STREAM ? "tcp" : "udp");
    strcpy(scope, relayed ? "relay" : kith_addr_is_local(&remote) ? "lan" : "internet");
    kith_addr_text(&remote, address);
}
