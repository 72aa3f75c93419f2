#include "service/talk_bytes.h"

#include "base/text.h"
#include "service/wire_error.h"
#include "wire/cbor.h"

#include <string.h>

/* Members of the messages' maps. */
enum { OPEN_ID = 1, OPEN_TOPIC, OPEN_RECEIVED, OPEN_TAKEN, OPEN_AGAIN };
enum { ACCEPT_RECEIVED = 1, ACCEPT_TAKEN };
enum { ENDED_CODE = 1 };
enum { CONFIRM_TAKEN = 1 };

bool kith_talk_topic_good(const char *topic)
{
    size_t size = strnlen(topic, KITH_TALK_TOPIC_MAX + 1);
    char shown[4 * KITH_TALK_TOPIC_MAX + 8];
    if (size == 0 || size > KITH_TALK_TOPIC_MAX || !kith_utf8_valid(topic, size)) return false;
    return strcmp(kith_printable(topic, size, shown, sizeof shown), topic) == 0;
}

/* ---- reading ---- */

/* The bytes of the head that is begun, as far as its first bytes say; 0: they are wrong. */
static size_t head_size(const kith_talk_inbox *inbox)
{
    const uint8_t *b = inbox->bytes;
    if (inbox->size == 0) return 1;
    if (b[0] < KITH_TALK_TYPE_OPEN || b[0] > KITH_TALK_TYPE_FINISH) return 0;
    if (inbox->size == 1) return 2;
    if (b[1] >> 6 == 3) return 0;
    return 1 + ((size_t)1 << (b[1] >> 6));
}

static size_t length_of(const kith_talk_inbox *inbox, size_t head)
{
    kith_reader r = kith_reader_of(inbox->bytes + 1, head - 1);
    return (size_t)kith_read_varint(&r);
}

/* Up to where the inbox wants bytes: the head, then the body of what is not a MESSAGE. */
static size_t goal_of(const kith_talk_inbox *inbox, size_t head)
{
    if (inbox->size < head) return head;
    size_t length = length_of(inbox, head);
    if (inbox->bytes[0] == KITH_TALK_TYPE_MESSAGE) return length > KITH_TALK_MESSAGE_MAX ? 0 : head;
    return length > KITH_TALK_CONTROL_MAX ? 0 : head + length;
}

size_t kith_talk_inbox_add(kith_talk_inbox *inbox, const void *data, size_t size, kith_talk_inbox_state *state)
{
    const uint8_t *at = data;
    size_t used = 0;
    for (;;) {
        size_t head = head_size(inbox), goal = head ? goal_of(inbox, head) : 0;
        if (goal == 0) {
            *state = KITH_TALK_INBOX_BAD;
            return used;
        }
        if (goal == inbox->size && inbox->size >= 2 && goal >= head) {
            bool message = inbox->bytes[0] == KITH_TALK_TYPE_MESSAGE;
            *state = message ? KITH_TALK_INBOX_HEAD : KITH_TALK_INBOX_WHOLE;
            return used;
        }
        if (used == size) {
            *state = KITH_TALK_INBOX_MORE;
            return used;
        }
        size_t want = goal - inbox->size, n = want < size - used ? want : size - used;
        memcpy(inbox->bytes + inbox->size, at + used, n);
        inbox->size += n;
        used += n;
    }
}

kith_talk_type kith_talk_inbox_type(const kith_talk_inbox *inbox) { return (kith_talk_type)inbox->bytes[0]; }
size_t kith_talk_inbox_length(const kith_talk_inbox *inbox) { return length_of(inbox, head_size(inbox)); }
void kith_talk_inbox_clear(kith_talk_inbox *inbox) { inbox->size = 0; }

static kith_cbor_reader body_of(const kith_talk_inbox *inbox)
{
    size_t head = head_size(inbox);
    return kith_cbor_reader_of(inbox->bytes + head, inbox->size - head);
}

bool kith_talk_read_open(const kith_talk_inbox *inbox, kith_talk_open *out)
{
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    *out = (kith_talk_open){0};
    if (kith_cbor_need(&r, &walk, OPEN_ID)) kith_cbor_read_copy(&r, out->id, sizeof out->id);
    if (kith_cbor_need(&r, &walk, OPEN_TOPIC)) kith_cbor_read_string(&r, out->topic, sizeof out->topic);
    if (kith_cbor_need(&r, &walk, OPEN_RECEIVED)) out->received = kith_cbor_read_uint(&r);
    if (kith_cbor_need(&r, &walk, OPEN_TAKEN)) out->taken = kith_cbor_read_uint(&r);
    if (kith_cbor_need(&r, &walk, OPEN_AGAIN)) out->again = kith_cbor_read_bool(&r);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r) && kith_talk_topic_good(out->topic) && out->taken <= out->received;
}

bool kith_talk_read_accept(const kith_talk_inbox *inbox, uint64_t *received, uint64_t *taken)
{
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    *received = *taken = 0;
    if (kith_cbor_need(&r, &walk, ACCEPT_RECEIVED)) *received = kith_cbor_read_uint(&r);
    if (kith_cbor_need(&r, &walk, ACCEPT_TAKEN)) *taken = kith_cbor_read_uint(&r);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r) && *taken <= *received;
}

/* { 1: number } */
static bool read_number(const kith_talk_inbox *inbox, uint64_t *out)
{
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    *out = 0;
    if (kith_cbor_need(&r, &walk, 1)) *out = kith_cbor_read_uint(&r);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r);
}

bool kith_talk_read_ended(const kith_talk_inbox *inbox, kith_err *why)
{
    uint64_t code;
    if (!read_number(inbox, &code)) return false;
    *why = kith_wire_error_read(code);
    return true;
}

bool kith_talk_read_confirm(const kith_talk_inbox *inbox, uint64_t *taken) { return read_number(inbox, taken); }

bool kith_talk_read_finish(const kith_talk_inbox *inbox)
{
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r);
}

kith_err kith_talk_open_read(kith_talk_inbox *inbox, const void *data, size_t size, size_t *taken, kith_talk_open *out)
{
    kith_talk_inbox_state state;
    *taken = kith_talk_inbox_add(inbox, data, size, &state);
    if (state == KITH_TALK_INBOX_MORE) {
        bool other = inbox->size && inbox->bytes[0] != KITH_TALK_TYPE_OPEN;
        return other ? KITH_ERR_PROTOCOL : KITH_ERR_AGAIN;
    }
    bool good = state == KITH_TALK_INBOX_WHOLE && kith_talk_inbox_type(inbox) == KITH_TALK_TYPE_OPEN;
    return good && kith_talk_read_open(inbox, out) ? KITH_OK : KITH_ERR_PROTOCOL;
}

/* ---- writing ---- */

static size_t wrap(kith_talk_type type, const kith_writer *body, uint8_t *out)
{
    kith_writer w = kith_writer_of(out, KITH_TALK_HEAD_MAX + KITH_TALK_CONTROL_MAX);
    kith_write_varint(&w, type);
    kith_write_varint(&w, kith_writer_size(body));
    kith_write_bytes(&w, body->start, kith_writer_size(body));
    return kith_writer_size(&w);
}

static size_t write_number(kith_talk_type type, uint64_t number, uint8_t *out)
{
    uint8_t body[16];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 1);
    kith_cbor_write_uint(&w, 1);
    kith_cbor_write_uint(&w, number);
    return wrap(type, &w, out);
}

size_t kith_talk_write_open(const kith_talk_open *open, uint8_t *out)
{
    uint8_t body[KITH_TALK_CONTROL_MAX];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 5);
    kith_cbor_write_uint(&w, OPEN_ID);
    kith_cbor_write_bytes(&w, open->id, sizeof open->id);
    kith_cbor_write_uint(&w, OPEN_TOPIC);
    kith_cbor_write_text(&w, open->topic, strlen(open->topic));
    kith_cbor_write_uint(&w, OPEN_RECEIVED);
    kith_cbor_write_uint(&w, open->received);
    kith_cbor_write_uint(&w, OPEN_TAKEN);
    kith_cbor_write_uint(&w, open->taken);
    kith_cbor_write_uint(&w, OPEN_AGAIN);
    kith_cbor_write_bool(&w, open->again);
    return wrap(KITH_TALK_TYPE_OPEN, &w, out);
}

size_t kith_talk_write_accept(uint64_t received, uint64_t taken, uint8_t *out)
{
    uint8_t body[32];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 2);
    kith_cbor_write_uint(&w, ACCEPT_RECEIVED);
    kith_cbor_write_uint(&w, received);
    kith_cbor_write_uint(&w, ACCEPT_TAKEN);
    kith_cbor_write_uint(&w, taken);
    return wrap(KITH_TALK_TYPE_ACCEPT, &w, out);
}

size_t kith_talk_ended_write(kith_err why, uint8_t *out, size_t cap)
{
    uint8_t whole[KITH_TALK_HEAD_MAX + KITH_TALK_CONTROL_MAX];
    size_t size = write_number(KITH_TALK_TYPE_ENDED, kith_wire_error_of(why), whole);
    if (size > cap) return 0;
    memcpy(out, whole, size);
    return size;
}

size_t kith_talk_write_confirm(uint64_t taken, uint8_t *out)
{
    return write_number(KITH_TALK_TYPE_CONFIRM, taken, out);
}

size_t kith_talk_write_finish(uint8_t *out)
{
    uint8_t body[4];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 0);
    return wrap(KITH_TALK_TYPE_FINISH, &w, out);
}

size_t kith_talk_write_head(size_t size, uint8_t *out)
{
    kith_writer w = kith_writer_of(out, KITH_TALK_HEAD_MAX);
    kith_write_varint(&w, KITH_TALK_TYPE_MESSAGE);
    kith_write_varint(&w, size);
    return kith_writer_size(&w);
}
