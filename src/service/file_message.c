#include "service/file_message.h"

#include "base/text.h"
#include "wire/cbor.h"

#include <string.h>

/* Members of the messages' maps. */
enum { OFFER_NAME = 1, OFFER_SIZE, OFFER_TAG, OFFER_HASH, OFFER_MODIFIED, OFFER_EXECUTABLE };
enum { ANSWER_GROUPS = 1, ANSWER_STACK };
enum { ROOT_ROOT = 1 };
enum { ABORT_ERROR = 1, ABORT_STORAGE };

uint64_t kith_file_groups(uint64_t size)
{
    return size == 0 ? 1 : size / KITH_GROUP_SIZE + (size % KITH_GROUP_SIZE != 0);
}

uint64_t kith_file_group_offset(uint64_t index) { return index * KITH_GROUP_SIZE; }

size_t kith_file_group_size(uint64_t file_size, uint64_t index)
{
    uint64_t left = file_size - kith_file_group_offset(index);
    return (size_t)(left < KITH_GROUP_SIZE ? left : KITH_GROUP_SIZE);
}

/* One subtree per one bit of the groups before the last, and the last, which is merged when another comes. */
size_t kith_file_stack_depth(uint64_t groups)
{
    size_t depth = groups > 0;
    for (uint64_t before = groups ? groups - 1 : 0; before; before &= before - 1) depth++;
    return depth;
}

/* How many bytes the message begun in the inbox has, as far as its first bytes say; 0 when they are wrong. */
static size_t inbox_goal(const kith_file_inbox *inbox, size_t *prefix)
{
    const uint8_t *b = inbox->bytes;
    *prefix = 0;
    if (inbox->size == 0) return 1;
    if (b[0] < KITH_FILE_MESSAGE_OFFER || b[0] > KITH_FILE_MESSAGE_ABORT) return 0;
    if (b[0] == KITH_FILE_MESSAGE_CHUNK) return KITH_FILE_CHUNK_HEAD;
    if (inbox->size == 1) return 2;
    *prefix = b[1] >> 6 == 0 ? 2 : 3;
    if (b[1] >> 6 > 1) return 0;
    if (inbox->size < *prefix) return *prefix;
    size_t length = *prefix == 2 ? b[1] : (size_t)(b[1] & 0x3f) << 8 | b[2];
    return length > KITH_FILE_MESSAGE_MAX ? 0 : *prefix + length;
}

size_t kith_file_inbox_add(kith_file_inbox *inbox, const void *data, size_t size, kith_file_inbox_state *state)
{
    const uint8_t *at = data;
    size_t taken = 0, prefix;
    for (;;) {
        size_t goal = inbox_goal(inbox, &prefix), want = goal - inbox->size;
        if (goal == 0) {
            *state = KITH_FILE_INBOX_BAD;
            return taken;
        }
        if (want == 0) {
            *state = KITH_FILE_INBOX_WHOLE;
            return taken;
        }
        if (taken == size) {
            *state = KITH_FILE_INBOX_MORE;
            return taken;
        }
        size_t n = want < size - taken ? want : size - taken;
        memcpy(inbox->bytes + inbox->size, at + taken, n);
        inbox->size += n;
        taken += n;
    }
}

kith_file_message kith_file_inbox_type(const kith_file_inbox *inbox) { return (kith_file_message)inbox->bytes[0]; }
void kith_file_inbox_clear(kith_file_inbox *inbox) { inbox->size = 0; }

static kith_cbor_reader body_of(const kith_file_inbox *inbox)
{
    size_t prefix;
    inbox_goal(inbox, &prefix);
    return kith_cbor_reader_of(inbox->bytes + prefix, inbox->size - prefix);
}

bool kith_file_header_good(const kith_file_header *header)
{
    size_t length = strnlen(header->name, sizeof header->name);
    return length < sizeof header->name && kith_utf8_valid(header->name, length) && header->size <= KITH_FILE_SIZE_MAX;
}

/* Type and length before a body written to the end of `out`'s room: the body is at most KITH_FILE_MESSAGE_MAX bytes. */
static size_t wrap(kith_file_message type, const uint8_t *body, const kith_writer *body_writer, uint8_t *out,
                   size_t cap)
{
    if (body_writer->bad) return 0;
    kith_writer w = kith_writer_of(out, cap);
    kith_write_varint(&w, type);
    kith_write_varint(&w, kith_writer_size(body_writer));
    kith_write_bytes(&w, body, kith_writer_size(body_writer));
    return w.bad ? 0 : kith_writer_size(&w);
}

size_t kith_file_write_offer(const kith_file_header *header, uint8_t *out, size_t cap)
{
    uint8_t body[KITH_FILE_MESSAGE_MAX];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, header->has_hash ? 6 : 5);
    kith_cbor_write_uint(&w, OFFER_NAME);
    kith_cbor_write_text(&w, header->name, strlen(header->name));
    kith_cbor_write_uint(&w, OFFER_SIZE);
    kith_cbor_write_uint(&w, header->size);
    kith_cbor_write_uint(&w, OFFER_TAG);
    kith_cbor_write_bytes(&w, header->tag, sizeof header->tag);
    if (header->has_hash) {
        kith_cbor_write_uint(&w, OFFER_HASH);
        kith_cbor_write_bytes(&w, header->hash, sizeof header->hash);
    }
    kith_cbor_write_uint(&w, OFFER_MODIFIED);
    kith_cbor_write_int(&w, header->modified_ms);
    kith_cbor_write_uint(&w, OFFER_EXECUTABLE);
    kith_cbor_write_bool(&w, header->executable);
    return wrap(KITH_FILE_MESSAGE_OFFER, body, &w, out, cap);
}

bool kith_file_read_offer(const kith_file_inbox *inbox, kith_file_header *out)
{
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    *out = (kith_file_header){0};
    if (kith_cbor_need(&r, &walk, OFFER_NAME)) kith_cbor_read_string(&r, out->name, sizeof out->name);
    if (kith_cbor_need(&r, &walk, OFFER_SIZE)) out->size = kith_cbor_read_uint(&r);
    if (kith_cbor_need(&r, &walk, OFFER_TAG)) kith_cbor_read_copy(&r, out->tag, sizeof out->tag);
    out->has_hash = kith_cbor_find(&r, &walk, OFFER_HASH);
    if (out->has_hash) kith_cbor_read_copy(&r, out->hash, sizeof out->hash);
    if (kith_cbor_need(&r, &walk, OFFER_MODIFIED)) out->modified_ms = kith_cbor_read_int(&r);
    if (kith_cbor_need(&r, &walk, OFFER_EXECUTABLE)) out->executable = kith_cbor_read_bool(&r);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r) && kith_file_header_good(out);
}

size_t kith_file_write_answer(const kith_file_resume *resume, uint8_t *out, size_t cap)
{
    uint8_t body[KITH_FILE_MESSAGE_MAX];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 2);
    kith_cbor_write_uint(&w, ANSWER_GROUPS);
    kith_cbor_write_uint(&w, resume->groups);
    kith_cbor_write_uint(&w, ANSWER_STACK);
    kith_cbor_write_bytes(&w, resume->tree.stack, resume->tree.depth * KITH_BLAKE3_SIZE);
    return wrap(KITH_FILE_MESSAGE_ANSWER, body, &w, out, cap);
}

bool kith_file_read_answer(const kith_file_inbox *inbox, uint64_t file_size, kith_file_resume *out)
{
    size_t size = 0;
    const uint8_t *stack = NULL;
    uint64_t groups = 0;
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (kith_cbor_need(&r, &walk, ANSWER_GROUPS)) groups = kith_cbor_read_uint(&r);
    if (kith_cbor_need(&r, &walk, ANSWER_STACK)) stack = kith_cbor_read_bytes(&r, &size);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r) || groups > kith_file_groups(file_size)) return false;
    size_t depth = kith_file_stack_depth(groups);
    if (size != depth * KITH_BLAKE3_SIZE) return false;
    out->groups = groups;
    kith_tree_init(&out->tree);
    out->tree.groups = groups;
    out->tree.depth = depth;
    if (size) memcpy(out->tree.stack, stack, size);
    return true;
}

size_t kith_file_write_root(kith_file_message type, const uint8_t root[static KITH_BLAKE3_SIZE], uint8_t *out,
                            size_t cap)
{
    uint8_t body[KITH_BLAKE3_SIZE + 8];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 1);
    kith_cbor_write_uint(&w, ROOT_ROOT);
    kith_cbor_write_bytes(&w, root, KITH_BLAKE3_SIZE);
    return wrap(type, body, &w, out, cap);
}

bool kith_file_read_root(const kith_file_inbox *inbox, uint8_t out[static KITH_BLAKE3_SIZE])
{
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (kith_cbor_need(&r, &walk, ROOT_ROOT)) kith_cbor_read_copy(&r, out, KITH_BLAKE3_SIZE);
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r);
}

static uint64_t storage_number(kith_err err)
{
    switch (err) {
#define KITH_X(name, number, ours)                                                                                     \
    case ours: return number;
        KITH_FILE_STORAGE_ERRORS(KITH_X)
#undef KITH_X
    default: return 1;
    }
}

static kith_err storage_error(uint64_t number)
{
    switch (number) {
#define KITH_X(name, value, ours)                                                                                      \
    case value: return ours;
        KITH_FILE_STORAGE_ERRORS(KITH_X)
#undef KITH_X
    default: return KITH_ERR_IO;
    }
}

size_t kith_file_write_abort(kith_err why, uint8_t *out, size_t cap)
{
    uint8_t body[32];
    uint64_t number = kith_wire_error_of(why);
    bool storage = number == KITH_WIRE_STORAGE;
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, storage ? 2 : 1);
    kith_cbor_write_uint(&w, ABORT_ERROR);
    kith_cbor_write_uint(&w, number);
    if (storage) {
        kith_cbor_write_uint(&w, ABORT_STORAGE);
        kith_cbor_write_uint(&w, storage_number(why));
    }
    return wrap(KITH_FILE_MESSAGE_ABORT, body, &w, out, cap);
}

bool kith_file_read_abort(const kith_file_inbox *inbox, kith_err *why, kith_err *storage)
{
    uint64_t number = 0, detail = 0;
    kith_cbor_reader r = body_of(inbox);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (kith_cbor_need(&r, &walk, ABORT_ERROR)) number = kith_cbor_read_uint(&r);
    if (kith_cbor_find(&r, &walk, ABORT_STORAGE)) detail = kith_cbor_read_uint(&r);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r) || number == KITH_WIRE_OK) return false;
    *why = kith_wire_error_read(number);
    *storage = number == KITH_WIRE_STORAGE ? storage_error(detail) : KITH_OK;
    return true;
}

size_t kith_file_write_chunk_head(size_t size, const uint8_t cv[static KITH_BLAKE3_SIZE], uint8_t *out, size_t cap)
{
    kith_writer w = kith_writer_of(out, cap);
    kith_write_varint(&w, KITH_FILE_MESSAGE_CHUNK);
    kith_write_u32(&w, (uint32_t)size);
    kith_write_bytes(&w, cv, KITH_BLAKE3_SIZE);
    return w.bad ? 0 : kith_writer_size(&w);
}

void kith_file_read_chunk_head(const kith_file_inbox *inbox, uint32_t *size, uint8_t cv[static KITH_BLAKE3_SIZE])
{
    kith_reader r = kith_reader_of(inbox->bytes + 1, KITH_FILE_CHUNK_HEAD - 1);
    *size = kith_read_u32(&r);
    kith_read_copy(&r, cv, KITH_BLAKE3_SIZE);
}
