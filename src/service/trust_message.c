#include "service/trust_message.h"

#include "base/buf.h"
#include "wire/cbor.h"

#include <string.h>

#define LENGTH_SIZE 4  /* of a message's length, as a varint of that size */
#define HEAD_ROOM   32 /* what a message of records has beside them, at most */
#define ITEM_HEAD   5
#define LENGTH_BITS UINT32_C(0x80000000) /* a varint of four bytes (RFC 9000 section 16) */

enum { KIND = 1, NETWORK = 2, RECORDS = 2, HEADS = 3, MORE = 3 };

/* The length before what was written behind it. */
static size_t finish(kith_writer *w, uint8_t *out)
{
    size_t size = kith_writer_size(w);
    if (w->bad || size - LENGTH_SIZE > KITH_TRUST_MESSAGE_MAX) return 0;
    kith_writer head = kith_writer_of(out, LENGTH_SIZE);
    kith_write_u32(&head, (uint32_t)(size - LENGTH_SIZE) | LENGTH_BITS);
    return size;
}

size_t kith_trust_write_heads(const uint8_t network[static KITH_GRAPH_ID_SIZE],
                              const uint8_t (*heads)[KITH_GRAPH_ID_SIZE], size_t count, uint8_t *out, size_t cap)
{
    kith_writer w = kith_writer_of(out, cap);
    kith_write_room(&w, LENGTH_SIZE);
    kith_cbor_write_map(&w, 3);
    kith_cbor_write_uint(&w, KIND);
    kith_cbor_write_uint(&w, KITH_TRUST_HEADS);
    kith_cbor_write_uint(&w, NETWORK);
    kith_cbor_write_bytes(&w, network, KITH_GRAPH_ID_SIZE);
    kith_cbor_write_uint(&w, HEADS);
    kith_cbor_write_array(&w, count);
    for (size_t i = 0; i < count; i++) kith_cbor_write_bytes(&w, heads[i], KITH_GRAPH_ID_SIZE);
    return finish(&w, out);
}

size_t kith_trust_write_records(const kith_graph *graph, const size_t *list, size_t count, uint8_t *out, size_t *taken)
{
    size_t room = KITH_TRUST_MESSAGE_MAX - HEAD_ROOM, size, fits = 0;
    for (; fits < count; fits++) {
        (void)kith_graph_bytes(graph, list[fits], &size);
        if (size + ITEM_HEAD > room) break;
        room -= size + ITEM_HEAD;
    }
    kith_writer w = kith_writer_of(out, KITH_TRUST_OUTPUT_MAX);
    kith_write_room(&w, LENGTH_SIZE);
    kith_cbor_write_map(&w, 3);
    kith_cbor_write_uint(&w, KIND);
    kith_cbor_write_uint(&w, KITH_TRUST_RECORDS);
    kith_cbor_write_uint(&w, RECORDS);
    kith_cbor_write_array(&w, fits);
    for (size_t i = 0; i < fits; i++) {
        const uint8_t *bytes = kith_graph_bytes(graph, list[i], &size);
        kith_cbor_write_bytes(&w, bytes, size);
    }
    kith_cbor_write_uint(&w, MORE);
    kith_cbor_write_bool(&w, fits < count);
    *taken = fits;
    return finish(&w, out);
}

static void read_heads(kith_cbor_reader *r, kith_cbor_walk *walk, kith_trust_message *out)
{
    if (kith_cbor_need(r, walk, NETWORK)) kith_cbor_read_copy(r, out->network, sizeof out->network);
    out->head_count = kith_cbor_need(r, walk, HEADS) ? kith_cbor_read_array(r) : 0;
    if (out->head_count > KITH_TRUST_HEADS_MAX) r->bad = true;
    for (size_t i = 0; i < out->head_count && !r->bad; i++) kith_cbor_read_copy(r, out->heads[i], KITH_GRAPH_ID_SIZE);
}

static void read_records(kith_cbor_reader *r, kith_cbor_walk *walk, kith_trust_message *out)
{
    size_t ignored;
    bool there = kith_cbor_need(r, walk, RECORDS);
    out->record_count = there ? kith_cbor_read_array(r) : 0;
    out->records = r->at;
    for (size_t i = 0; i < out->record_count && !r->bad; i++) (void)kith_cbor_read_bytes(r, &ignored);
    if (!r->bad) out->records_size = (size_t)(r->at - out->records);
    out->more = kith_cbor_need(r, walk, MORE) && kith_cbor_read_bool(r);
}

kith_err kith_trust_parse(const void *data, size_t size, kith_trust_message *out)
{
    kith_trust_message m = {0};
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    uint64_t kind = kith_cbor_need(&r, &walk, KIND) ? kith_cbor_read_uint(&r) : 0;
    if (kind == KITH_TRUST_HEADS) read_heads(&r, &walk, &m);
    if (kind == KITH_TRUST_RECORDS) read_records(&r, &walk, &m);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r) || kind == 0) return KITH_ERR_FORMAT;
    if (kind > KITH_TRUST_RECORDS) return KITH_ERR_UNSUPPORTED;
    m.kind = (kith_trust_kind)kind;
    *out = m;
    return KITH_OK;
}

const uint8_t *kith_trust_next_record(kith_trust_message *message, size_t *size)
{
    if (message->record_count == 0) return NULL;
    kith_cbor_reader r = kith_cbor_reader_of(message->records, message->records_size);
    const uint8_t *record = kith_cbor_read_bytes(&r, size);
    message->records_size -= (size_t)(r.at - message->records);
    message->records = r.at;
    message->record_count--;
    return record;
}
