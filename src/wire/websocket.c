/* Frames. */
#include "wire/websocket.h"

#include "base/buf.h"

#include <string.h>

#define FIN         0x80
#define RESERVED    0x70
#define OPCODE      0x0f
#define CONTROL     0x08 /* of an opcode */
#define MASKED      0x80
#define LENGTH      0x7f
#define LENGTH_16   126 /* the length is in the next two bytes */
#define LENGTH_64   127 /* in the next eight */
#define LENGTH_TOP  (UINT64_C(1) << 63)
#define CODE_MIN    1000
#define CODE_OWN    3000 /* from here on: libraries' and applications' */
#define CODE_MAX    4999
#define LENGTH_TINY (LENGTH_16 - 1)

/* ---- writing ---- */

size_t kith_websocket_write_head(uint8_t out[static KITH_WEBSOCKET_FRAME_HEAD_MAX], kith_websocket_opcode opcode,
                                 size_t payload_size, const uint8_t *mask)
{
    kith_writer w = kith_writer_of(out, KITH_WEBSOCKET_FRAME_HEAD_MAX);
    uint8_t masked = mask ? MASKED : 0;
    kith_write_u8(&w, (uint8_t)(FIN | opcode));
    if (payload_size <= LENGTH_TINY) {
        kith_write_u8(&w, (uint8_t)(masked | payload_size));
    } else if (payload_size <= UINT16_MAX) {
        kith_write_u8(&w, masked | LENGTH_16);
        kith_write_u16(&w, (uint16_t)payload_size);
    } else {
        kith_write_u8(&w, masked | LENGTH_64);
        kith_write_u64(&w, payload_size);
    }
    if (mask) kith_write_bytes(&w, mask, KITH_WEBSOCKET_MASK_SIZE);
    return kith_writer_size(&w);
}

void kith_websocket_write_code(uint8_t out[static KITH_WEBSOCKET_CLOSE_CODE_SIZE], unsigned code)
{
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
}

void kith_websocket_mask(uint8_t *out, const uint8_t *in, size_t size,
                         const uint8_t mask[static KITH_WEBSOCKET_MASK_SIZE], uint64_t offset)
{
    uint8_t turned[sizeof(uint64_t)];
    uint64_t mask_word, word;
    for (size_t i = 0; i < sizeof turned; i++) turned[i] = mask[(offset + i) % KITH_WEBSOCKET_MASK_SIZE];
    memcpy(&mask_word, turned, sizeof mask_word);
    size_t at = 0;
    for (; at + sizeof word <= size; at += sizeof word) {
        memcpy(&word, in + at, sizeof word);
        word ^= mask_word;
        memcpy(out + at, &word, sizeof word);
    }
    for (size_t i = 0; at < size; at++, i++) out[at] = in[at] ^ turned[i];
}

/* ---- a reader's memory ---- */

void kith_websocket_reader_init(kith_websocket_reader *r, void *memory, size_t size, size_t message_max, bool masked)
{
    *r = (kith_websocket_reader){.bytes = memory, .size = size, .message_max = message_max, .masked = masked};
}

/* What is kept goes to the start: at most once for each message, since it is there then. */
uint8_t *kith_websocket_room(kith_websocket_reader *r, size_t *size)
{
    size_t kept = r->held_size;
    if (kept && r->held_at) memmove(r->bytes, r->bytes + r->held_at, kept);
    if (r->begin != kept && r->end > r->begin) memmove(r->bytes + kept, r->bytes + r->begin, r->end - r->begin);
    r->held_at = 0;
    r->end -= r->begin - kept;
    r->begin = kept;
    *size = r->size - r->end;
    return r->bytes + r->end;
}

void kith_websocket_received(kith_websocket_reader *r, size_t size) { r->end += size; }

const uint8_t *kith_websocket_unread(const kith_websocket_reader *r, size_t *size)
{
    *size = r->end - r->begin;
    return r->bytes + r->begin;
}

void kith_websocket_skip(kith_websocket_reader *r, size_t size) { r->begin += size; }

/* ---- reading ---- */

typedef struct frame {
    unsigned opcode;
    bool is_last, is_masked;
    uint64_t size; /* of the payload */
    uint8_t mask[KITH_WEBSOCKET_MASK_SIZE];
    size_t head; /* bytes before it */
} frame;

/* 0, or the code to close with; f->head is 0 when more bytes are needed.  What is wrong with the first two bytes shows
 * without the rest. */
static unsigned check_start(const kith_websocket_reader *r, const uint8_t *bytes)
{
    unsigned opcode = bytes[0] & OPCODE, length = bytes[1] & LENGTH;
    bool is_control = opcode & CONTROL, is_last = bytes[0] & FIN, is_masked = bytes[1] & MASKED;
    if (bytes[0] & RESERVED || is_masked != r->masked) return KITH_WEBSOCKET_CODE_PROTOCOL;
    if (is_control)
        return opcode > KITH_WEBSOCKET_PONG || !is_last || length > LENGTH_TINY ? KITH_WEBSOCKET_CODE_PROTOCOL : 0;
    if (opcode > KITH_WEBSOCKET_BINARY) return KITH_WEBSOCKET_CODE_PROTOCOL;
    if ((opcode == KITH_WEBSOCKET_CONTINUE) != r->in_message) return KITH_WEBSOCKET_CODE_PROTOCOL;
    return opcode == KITH_WEBSOCKET_TEXT ? KITH_WEBSOCKET_CODE_TYPE : 0;
}

static unsigned read_length(kith_reader *in, unsigned length, uint64_t *out)
{
    *out = length == LENGTH_64 ? kith_read_u64(in) : length == LENGTH_16 ? kith_read_u16(in) : length;
    bool too_short = length == LENGTH_64 ? *out <= UINT16_MAX : length == LENGTH_16 && *out <= LENGTH_TINY;
    return !in->bad && (too_short || *out & LENGTH_TOP) ? KITH_WEBSOCKET_CODE_PROTOCOL : 0;
}

static unsigned read_head(const kith_websocket_reader *r, frame *f)
{
    const uint8_t *bytes = r->bytes + r->begin;
    kith_reader in = kith_reader_of(bytes, r->end - r->begin);
    *f = (frame){0};
    if (!kith_read_view(&in, 2)) return 0;
    unsigned code = check_start(r, bytes);
    if (code) return code;
    f->opcode = bytes[0] & OPCODE;
    f->is_last = bytes[0] & FIN;
    code = read_length(&in, bytes[1] & LENGTH, &f->size);
    if (r->masked) kith_read_copy(&in, f->mask, sizeof f->mask);
    if (code) return code;
    if (!(f->opcode & CONTROL) && f->size > r->message_max - r->held_size) return KITH_WEBSOCKET_CODE_TOO_BIG;
    if (!in.bad) f->head = (size_t)(in.at - bytes);
    return 0;
}

static kith_websocket_event broken(kith_websocket_reader *r, unsigned code, kith_websocket_item *out)
{
    r->broken = true;
    *out = (kith_websocket_item){.code = code};
    return KITH_WEBSOCKET_BROKEN;
}

/* Sections 7.4.1 and 7.4.2; 1012 to 1014 were registered since. */
static bool may_be_said(unsigned code)
{
    return (code >= CODE_OWN && code <= CODE_MAX) || (code >= CODE_MIN && code <= 1014 && (code < 1004 || code > 1006));
}

/* The payload is all there. */
static kith_websocket_event on_control(kith_websocket_reader *r, const frame *f, kith_websocket_item *out)
{
    kith_websocket_item item = {.data = r->bytes + r->begin + f->head, .size = (size_t)f->size};
    if (r->masked) kith_websocket_mask(item.data, item.data, item.size, f->mask, 0);
    r->begin += f->head + item.size;
    if (f->opcode == KITH_WEBSOCKET_CLOSE && item.size) {
        if (item.size >= KITH_WEBSOCKET_CLOSE_CODE_SIZE) item.code = (unsigned)item.data[0] << 8 | item.data[1];
        if (!may_be_said(item.code)) return broken(r, KITH_WEBSOCKET_CODE_PROTOCOL, out);
    }
    if (f->opcode == KITH_WEBSOCKET_PONG) return KITH_WEBSOCKET_MORE;
    *out = item;
    return f->opcode == KITH_WEBSOCKET_CLOSE ? KITH_WEBSOCKET_CLOSED : KITH_WEBSOCKET_PINGED;
}

/* What is there of the frame's payload goes to what is held of the message, from which heads and control frames may
 * part it. */
static void take_payload(kith_websocket_reader *r)
{
    size_t there = r->end - r->begin, size = r->left < there ? (size_t)r->left : there;
    uint8_t *from = r->bytes + r->begin;
    if (!r->held_size) r->held_at = r->begin;
    uint8_t *to = r->bytes + r->held_at + r->held_size;
    if (to != from) memmove(to, from, size);
    if (r->masked) kith_websocket_mask(to, to, size, r->mask, r->offset);
    r->held_size += size;
    r->begin += size;
    r->left -= size;
    r->offset += size;
}

/* After a frame's payload: whether that was the message. */
static bool end_frame(kith_websocket_reader *r, kith_websocket_item *out)
{
    r->in_frame = false;
    if (!r->is_last) return false;
    *out = (kith_websocket_item){.data = r->bytes + r->held_at, .size = r->held_size};
    r->in_message = false;
    r->held_size = 0;
    return true;
}

static void begin_frame(kith_websocket_reader *r, const frame *f)
{
    r->in_message = r->in_frame = true;
    r->is_last = f->is_last;
    r->left = f->size;
    r->offset = 0;
    memcpy(r->mask, f->mask, sizeof r->mask);
    r->begin += f->head;
}

kith_websocket_event kith_websocket_next(kith_websocket_reader *r, kith_websocket_item *out)
{
    while (!r->broken) {
        frame f;
        if (r->in_frame) {
            take_payload(r);
            if (r->left) return KITH_WEBSOCKET_MORE;
            if (end_frame(r, out)) return KITH_WEBSOCKET_MESSAGE;
        }
        unsigned code = read_head(r, &f);
        if (code) return broken(r, code, out);
        if (!f.head) return KITH_WEBSOCKET_MORE;
        if (!(f.opcode & CONTROL)) {
            begin_frame(r, &f);
        } else if (f.head + f.size > r->end - r->begin) {
            return KITH_WEBSOCKET_MORE;
        } else {
            kith_websocket_event event = on_control(r, &f, out);
            if (event != KITH_WEBSOCKET_MORE) return event;
        }
    }
    return KITH_WEBSOCKET_MORE;
}
