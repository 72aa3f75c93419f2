#include "quic/frames.h"

#include "base/buf.h"

enum {
    PADDING = 0x00,
    PING = 0x01,
    ACK = 0x02,
    ACK_ECN = 0x03,
    RESET_STREAM = 0x04,
    STOP_SENDING = 0x05,
    CRYPTO = 0x06,
    NEW_TOKEN = 0x07,
    STREAM = 0x08, /* to 0x0f */
    STREAM_HAS_LENGTH = 0x02,
    STREAM_HAS_OFFSET = 0x04,
    MAX_DATA = 0x10,
    MAX_STREAM_DATA = 0x11,
    MAX_STREAMS_BIDI = 0x12,
    MAX_STREAMS_UNI = 0x13,
    DATA_BLOCKED = 0x14,
    STREAM_DATA_BLOCKED = 0x15,
    STREAMS_BLOCKED_BIDI = 0x16,
    STREAMS_BLOCKED_UNI = 0x17,
    NEW_CONNECTION_ID = 0x18,
    RETIRE_CONNECTION_ID = 0x19,
    PATH_CHALLENGE = 0x1a,
    PATH_RESPONSE = 0x1b,
    HANDSHAKE_DONE = 0x1e,
    DATAGRAM = 0x30,
    DATAGRAM_WITH_LENGTH = 0x31,
};

static void skip_varints(kith_reader *r, uint64_t n)
{
    while (n-- && !r->bad) kith_read_varint(r);
}

static void skip_bytes(kith_reader *r, uint64_t size)
{
    if (size > kith_reader_left(r)) size = kith_reader_left(r);
    kith_read_view(r, (size_t)size);
}

static void skip_ack(kith_reader *r, bool ecn)
{
    skip_varints(r, 2);
    uint64_t ranges = kith_read_varint(r);
    skip_varints(r, 1);
    for (; ranges && !r->bad; ranges--) skip_varints(r, 2);
    if (ecn) skip_varints(r, 3);
}

static void skip_stream(kith_reader *r, uint64_t type)
{
    skip_varints(r, type & STREAM_HAS_OFFSET ? 2 : 1);
    skip_bytes(r, type & STREAM_HAS_LENGTH ? kith_read_varint(r) : kith_reader_left(r));
}

/* False: unknown. */
static bool skip(kith_reader *r, uint64_t type)
{
    if (type >= STREAM && type < MAX_DATA) {
        skip_stream(r, type);
        return true;
    }
    switch (type) {
    case PADDING:
    case PING:
    case HANDSHAKE_DONE: return true;
    case ACK:
    case ACK_ECN: skip_ack(r, type == ACK_ECN); return true;
    case RESET_STREAM: skip_varints(r, 3); return true;
    case CRYPTO:
        skip_varints(r, 1);
        skip_bytes(r, kith_read_varint(r));
        return true;
    case NEW_TOKEN: skip_bytes(r, kith_read_varint(r)); return true;
    case MAX_STREAM_DATA:
    case STREAM_DATA_BLOCKED: skip_varints(r, 2); return true;
    case MAX_DATA:
    case MAX_STREAMS_BIDI:
    case MAX_STREAMS_UNI:
    case DATA_BLOCKED:
    case STREAMS_BLOCKED_BIDI:
    case STREAMS_BLOCKED_UNI:
    case RETIRE_CONNECTION_ID: skip_varints(r, 1); return true;
    case NEW_CONNECTION_ID:
        skip_varints(r, 2);
        skip_bytes(r, kith_read_u8(r));
        skip_bytes(r, 16);
        return true;
    case PATH_CHALLENGE:
    case PATH_RESPONSE: skip_bytes(r, 8); return true;
    case DATAGRAM: skip_bytes(r, kith_reader_left(r)); return true;
    case DATAGRAM_WITH_LENGTH: skip_bytes(r, kith_read_varint(r)); return true;
    default: return false;
    }
}

void kith_frames_find_stops(const uint8_t *payload, size_t size, void (*stop)(void *user, const kith_frame_stop *),
                            void *user)
{
    kith_reader r = kith_reader_of(payload, size);
    while (kith_reader_left(&r)) {
        uint64_t type = kith_read_varint(&r);
        if (type == STOP_SENDING) {
            kith_frame_stop found;
            found.stream_id = kith_read_varint(&r);
            found.code = kith_read_varint(&r);
            if (!r.bad) stop(user, &found);
        } else if (!skip(&r, type)) {
            return;
        }
    }
}
