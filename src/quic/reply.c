/* What is sent besides ngtcp2's packets, until output takes it. */
#include "quic/state.h"

#include "base/mem.h"

#include <string.h>

kith_reply *kith__reply_new(kith_quic *quic, kith_reply_kind kind, kith_conn *conn, const kith_addr *local,
                            const kith_addr *remote)
{
    if (kind == KITH_REPLY_STRANGER && quic->strangers_waiting == KITH_STRANGERS_MAX) return NULL;
    if (kind == KITH_REPLY_PROBE && conn->probes_waiting == KITH_PROBES_MAX) return NULL;
    kith_reply *reply = kith_malloc(sizeof *reply);
    if (!reply) return NULL;
    *reply = (kith_reply){.kind = kind, .conn = conn, .local = *local, .remote = *remote};
    kith_list_append(&quic->replies, &reply->in_replies);
    if (kind == KITH_REPLY_STRANGER) quic->strangers_waiting++;
    if (kind == KITH_REPLY_PROBE) conn->probes_waiting++;
    return reply;
}

static void reply_free(kith_quic *quic, kith_reply *reply)
{
    kith_list_remove(&reply->in_replies);
    if (reply->kind == KITH_REPLY_STRANGER) quic->strangers_waiting--;
    if (reply->kind == KITH_REPLY_PROBE) reply->conn->probes_waiting--;
    kith_free(reply);
}

bool kith__reply_output(kith_quic *quic, kith_packet *out)
{
    kith_link *link;
    while ((link = kith_list_first(&quic->replies))) {
        kith_reply *reply = KITH_OF(link, kith_reply, in_replies);
        size_t size = reply->size;
        if (size) {
            out->local = reply->local;
            out->remote = reply->remote;
            out->ecn = 0;
            out->size = out->segment = size;
            memcpy(out->data, reply->data, size);
        }
        reply_free(quic, reply);
        if (size) return true;
    }
    return false;
}

void kith__reply_forget(kith_conn *conn)
{
    if (!conn->probes_waiting) return;
    KITH_EACH (link, &conn->quic->replies) {
        kith_reply *reply = KITH_OF(link, kith_reply, in_replies);
        if (reply->conn == conn) reply_free(conn->quic, reply);
    }
}

void kith__reply_done(kith_quic *quic)
{
    kith_link *link;
    while ((link = kith_list_first(&quic->replies))) reply_free(quic, KITH_OF(link, kith_reply, in_replies));
}
