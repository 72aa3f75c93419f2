/* Datagrams of a connection: bounded queues, of which the oldest gives way. */
#include "quic/state.h"

#include "base/mem.h"

#include <string.h>

#define OVERHEAD (1 + NGTCP2_MAX_CIDLEN + 4 + 16 + 1 + 4) /* of a packet with one: short header, tag; type, length */

typedef struct datagram {
    kith_link link;
    size_t size;
    uint8_t data[];
} datagram;

static datagram *first_of(kith_datagrams *d)
{
    kith_link *link = kith_list_first(&d->list);
    return link ? KITH_OF(link, datagram, link) : NULL;
}

static void drop_first(kith_datagrams *d)
{
    datagram *first = first_of(d);
    kith_list_remove(&first->link);
    d->count--;
    d->bytes -= first->size;
    kith_free(first);
}

static bool add(kith_datagrams *d, const void *head, size_t head_size, const void *data, size_t size)
{
    datagram *new = kith_malloc(sizeof *new + head_size + size);
    if (!new) return false;
    *new = (datagram){.size = head_size + size};
    if (head_size) memcpy(new->data, head, head_size);
    if (size) memcpy(new->data + head_size, data, size);
    kith_list_append(&d->list, &new->link);
    d->count++;
    d->bytes += new->size;
    while (d->count > KITH_CONN_DATAGRAMS_MAX || d->bytes > KITH_CONN_DATAGRAMS_BYTES_MAX) drop_first(d);
    return true;
}

void kith__datagrams_init(kith_conn *conn)
{
    kith_list_init(&conn->datagrams_out.list);
    kith_list_init(&conn->datagrams_in.list);
}

void kith__datagrams_done(kith_conn *conn)
{
    while (conn->datagrams_out.count) drop_first(&conn->datagrams_out);
    while (conn->datagrams_in.count) drop_first(&conn->datagrams_in);
}

static bool usable(const kith_conn *conn) { return conn->state == KITH_CONN_LIVE && conn->established; }

size_t kith_conn_datagram_room(const kith_conn *conn)
{
    if (!usable(conn)) return 0;
    size_t packet = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn->ng), cap = conn->paths[conn->path].cap;
    uint64_t theirs = ngtcp2_conn_get_remote_transport_params(conn->ng)->max_datagram_frame_size;
    if (cap && cap < packet) packet = cap;
    if (packet < OVERHEAD || theirs <= 1 + 4) return 0;
    return packet - OVERHEAD < theirs - 5 ? packet - OVERHEAD : (size_t)theirs - 5;
}

kith_err kith_conn_datagram_send(kith_conn *conn, const void *head, size_t head_size, const void *data, size_t size)
{
    if (!usable(conn)) return KITH_ERR_STATE;
    size_t room = kith_conn_datagram_room(conn);
    if (room == 0) return KITH_ERR_UNSUPPORTED;
    if (head_size > room || size > room - head_size) return KITH_ERR_LIMIT;
    if (!add(&conn->datagrams_out, head, head_size, data, size)) return KITH_ERR_NOMEM;
    kith__conn_dirty(conn);
    return KITH_OK;
}

const uint8_t *kith__datagram_first(kith_conn *conn, size_t *size)
{
    datagram *first;
    size_t room = conn->datagrams_out.count ? kith_conn_datagram_room(conn) : 0;
    while ((first = first_of(&conn->datagrams_out)) && first->size > room)
        drop_first(&conn->datagrams_out); /* the path carries less than when it was queued */
    if (first) *size = first->size;
    return first ? first->data : NULL;
}

void kith__datagram_sent(kith_conn *conn) { drop_first(&conn->datagrams_out); }

void kith__datagram_received(kith_conn *conn, const uint8_t *data, size_t size)
{
    kith_datagrams *d = &conn->datagrams_in;
    if (!add(d, NULL, 0, data, size) || d->quiet || !conn->established) return; /* no memory: it is lost */
    d->quiet = true;
    kith__event_conn(conn, KITH_QUIC_DATAGRAM);
}

uint8_t *kith_conn_datagram_take(kith_conn *conn, size_t *size)
{
    kith_datagrams *d = &conn->datagrams_in;
    datagram *first = first_of(d);
    if (!first) {
        d->quiet = false;
        return NULL;
    }
    kith_list_remove(&first->link);
    d->count--;
    d->bytes -= first->size;
    *size = first->size;
    /* The memory itself is given, its bytes moved to the front. */
    uint8_t *out = (uint8_t *)first;
    memmove(out, first->data, *size);
    return out;
}
