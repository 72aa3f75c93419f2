#include "wire/cbor.h"

#include "base/text.h"

#include <cbor.h>
#include <string.h>

/* RFC 8949 section 3: the major type is the first byte's upper three bits. */
enum { MAJOR_UINT, MAJOR_NEGATIVE, MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG, MAJOR_SIMPLE };
#define BYTE_FALSE 0xf4
#define BYTE_TRUE  0xf5
#define BYTE_NULL  0xf6

/* One token as libcbor's callbacks report it.  `type` stays OTHER for what is outside the subset, since their callbacks
 * are the empty ones. */
typedef struct token {
    kith_cbor_type type;
    uint64_t argument; /* value, length or count; for NEGATIVE the value is -1 - argument */
    const uint8_t *data;
    size_t size;
} token;

static void on_number(token *t, kith_cbor_type type, uint64_t argument)
{
    t->type = type;
    t->argument = argument;
}

static void on_string(token *t, kith_cbor_type type, const uint8_t *data, size_t size)
{
    on_number(t, type, size);
    t->data = data;
    t->size = size;
}

static void on_uint8(void *t, uint8_t n) { on_number(t, KITH_CBOR_UINT, n); }
static void on_uint16(void *t, uint16_t n) { on_number(t, KITH_CBOR_UINT, n); }
static void on_uint32(void *t, uint32_t n) { on_number(t, KITH_CBOR_UINT, n); }
static void on_uint64(void *t, uint64_t n) { on_number(t, KITH_CBOR_UINT, n); }
static void on_negint8(void *t, uint8_t n) { on_number(t, KITH_CBOR_NEGATIVE, n); }
static void on_negint16(void *t, uint16_t n) { on_number(t, KITH_CBOR_NEGATIVE, n); }
static void on_negint32(void *t, uint32_t n) { on_number(t, KITH_CBOR_NEGATIVE, n); }
static void on_negint64(void *t, uint64_t n) { on_number(t, KITH_CBOR_NEGATIVE, n); }
static void on_bytes(void *t, cbor_data data, size_t size) { on_string(t, KITH_CBOR_BYTES, data, size); }
static void on_text(void *t, cbor_data data, size_t size) { on_string(t, KITH_CBOR_TEXT, data, size); }
static void on_array(void *t, size_t count) { on_number(t, KITH_CBOR_ARRAY, count); }
static void on_map(void *t, size_t count) { on_number(t, KITH_CBOR_MAP, count); }
static void on_bool(void *t, bool value) { on_number(t, KITH_CBOR_BOOL, value); }
static void on_null(void *t) { on_number(t, KITH_CBOR_NULL, 0); }

/* Bytes of the shortest head for this argument. */
static size_t head_size(uint64_t argument)
{
    return argument < 24 ? 1 : argument <= UINT8_MAX ? 2 : argument <= UINT16_MAX ? 3 : argument <= UINT32_MAX ? 5 : 9;
}

/* Decode the token at r->at without moving.  Returns its size, or 0 when it is cut short, malformed, outside the subset
 * or not in its shortest form. */
static size_t decode(const kith_cbor_reader *r, token *t)
{
    struct cbor_callbacks callbacks = cbor_empty_callbacks;
    callbacks.uint8 = on_uint8, callbacks.uint16 = on_uint16;
    callbacks.uint32 = on_uint32, callbacks.uint64 = on_uint64;
    callbacks.negint8 = on_negint8, callbacks.negint16 = on_negint16;
    callbacks.negint32 = on_negint32, callbacks.negint64 = on_negint64;
    callbacks.byte_string = on_bytes, callbacks.string = on_text;
    callbacks.array_start = on_array, callbacks.map_start = on_map;
    callbacks.boolean = on_bool, callbacks.null = on_null;
    *t = (token){.type = KITH_CBOR_OTHER};
    size_t left = (size_t)(r->end - r->at);
    if (left == 0) return 0;
    struct cbor_decoder_result result = cbor_stream_decode(r->at, left, &callbacks, t);
    if (result.status != CBOR_DECODER_FINISHED || t->type == KITH_CBOR_OTHER) return 0;
    size_t head = t->type == KITH_CBOR_BOOL || t->type == KITH_CBOR_NULL ? 1 : head_size(t->argument);
    return result.read == head + t->size ? result.read : 0;
}

/* A key must be a single token and come after the one before it (bytewise, as encoded). */
static bool key_follows(const kith_cbor_frame *map, const token *t, const uint8_t *key, size_t size)
{
    if (t->type == KITH_CBOR_ARRAY || t->type == KITH_CBOR_MAP) return false;
    if (!map->key) return true;
    size_t common = map->key_size < size ? map->key_size : size;
    int order = memcmp(map->key, key, common);
    return order < 0 || (order == 0 && map->key_size < size);
}

static bool open_container(kith_cbor_reader *r, const token *t)
{
    bool map = t->type == KITH_CBOR_MAP;
    /* Every item is at least one byte, which also keeps 2 * count from overflowing. */
    if (r->depth == KITH_CBOR_DEPTH_MAX || t->argument > (size_t)(r->end - r->at) / (map ? 2 : 1)) return false;
    r->frames[++r->depth] = (kith_cbor_frame){.left = map ? 2 * t->argument : t->argument, .map = map};
    return true;
}

/* Take the next token whatever its type; false and bad when it is wrong. */
static bool take(kith_cbor_reader *r, token *t)
{
    if (r->bad) return false;
    kith_cbor_frame *frame = &r->frames[r->depth];
    size_t size = frame->left ? decode(r, t) : 0;
    bool good = size > 0 && (t->type != KITH_CBOR_TEXT || kith_utf8_valid((const char *)t->data, t->size));
    if (good && frame->map && frame->left % 2 == 0) {
        good = key_follows(frame, t, r->at, size);
        frame->key = r->at;
        frame->key_size = size;
    }
    if (good) {
        frame->left--;
        r->at += size;
        if (t->type == KITH_CBOR_ARRAY || t->type == KITH_CBOR_MAP) good = open_container(r, t);
    }
    r->bad = !good;
    while (good && r->depth && r->frames[r->depth].left == 0) r->depth--;
    return good;
}

static bool take_type(kith_cbor_reader *r, kith_cbor_type type, token *t)
{
    if (kith_cbor_peek(r) != type) r->bad = true;
    return take(r, t);
}

kith_cbor_reader kith_cbor_reader_of(const void *data, size_t size)
{
    const uint8_t *at = data;
    return (kith_cbor_reader){.at = at, .end = size ? at + size : at, .frames = {{.left = 1}}};
}

kith_cbor_type kith_cbor_peek(const kith_cbor_reader *r)
{
    static const kith_cbor_type of_major[] = {
        [MAJOR_UINT] = KITH_CBOR_UINT, [MAJOR_NEGATIVE] = KITH_CBOR_NEGATIVE, [MAJOR_BYTES] = KITH_CBOR_BYTES,
        [MAJOR_TEXT] = KITH_CBOR_TEXT, [MAJOR_ARRAY] = KITH_CBOR_ARRAY,       [MAJOR_MAP] = KITH_CBOR_MAP,
        [MAJOR_TAG] = KITH_CBOR_OTHER, [MAJOR_SIMPLE] = KITH_CBOR_OTHER,
    };
    if (r->bad || r->at == r->end || r->frames[r->depth].left == 0) return KITH_CBOR_END;
    switch (*r->at) {
    case BYTE_FALSE:
    case BYTE_TRUE: return KITH_CBOR_BOOL;
    case BYTE_NULL: return KITH_CBOR_NULL;
    default: return of_major[*r->at >> 5];
    }
}

bool kith_cbor_done(const kith_cbor_reader *r)
{
    return !r->bad && r->depth == 0 && r->frames[0].left == 0 && r->at == r->end;
}

uint64_t kith_cbor_read_uint(kith_cbor_reader *r)
{
    token t;
    return take_type(r, KITH_CBOR_UINT, &t) ? t.argument : 0;
}

int64_t kith_cbor_read_int(kith_cbor_reader *r)
{
    token t;
    bool negative = kith_cbor_peek(r) == KITH_CBOR_NEGATIVE;
    if (!take_type(r, negative ? KITH_CBOR_NEGATIVE : KITH_CBOR_UINT, &t)) return 0;
    if (t.argument > INT64_MAX) {
        r->bad = true;
        return 0;
    }
    return negative ? -1 - (int64_t)t.argument : (int64_t)t.argument;
}

bool kith_cbor_read_bool(kith_cbor_reader *r)
{
    token t;
    return take_type(r, KITH_CBOR_BOOL, &t) && t.argument;
}

void kith_cbor_read_null(kith_cbor_reader *r)
{
    token t;
    take_type(r, KITH_CBOR_NULL, &t);
}

static const uint8_t *read_string(kith_cbor_reader *r, kith_cbor_type type, size_t *size)
{
    token t;
    bool good = take_type(r, type, &t);
    *size = good ? t.size : 0;
    return good ? t.data : NULL;
}

const uint8_t *kith_cbor_read_bytes(kith_cbor_reader *r, size_t *size) { return read_string(r, KITH_CBOR_BYTES, size); }

const char *kith_cbor_read_text(kith_cbor_reader *r, size_t *size)
{
    return (const char *)read_string(r, KITH_CBOR_TEXT, size);
}

void kith_cbor_read_copy(kith_cbor_reader *r, void *out, size_t size)
{
    size_t found;
    const uint8_t *data = kith_cbor_read_bytes(r, &found);
    if (data && found == size) {
        if (size) memcpy(out, data, size);
        return;
    }
    r->bad = true;
    if (size) memset(out, 0, size);
}

void kith_cbor_read_string(kith_cbor_reader *r, char *out, size_t out_size)
{
    size_t size;
    const char *text = kith_cbor_read_text(r, &size);
    if (!text || size >= out_size) {
        r->bad = true;
        size = 0;
    }
    if (size) memcpy(out, text, size);
    if (out_size) out[size] = '\0';
}

void kith_cbor_skip(kith_cbor_reader *r)
{
    token t;
    size_t depth = r->depth;
    take(r, &t);
    while (!r->bad && r->depth > depth) take(r, &t);
}

const uint8_t *kith_cbor_read_item(kith_cbor_reader *r, size_t *size)
{
    const uint8_t *start = r->at;
    kith_cbor_skip(r);
    *size = r->bad ? 0 : (size_t)(r->at - start);
    return r->bad ? NULL : start;
}

size_t kith_cbor_read_array(kith_cbor_reader *r)
{
    token t;
    return take_type(r, KITH_CBOR_ARRAY, &t) ? (size_t)t.argument : 0;
}

size_t kith_cbor_read_map(kith_cbor_reader *r)
{
    token t;
    return take_type(r, KITH_CBOR_MAP, &t) ? (size_t)t.argument : 0;
}

kith_cbor_walk kith_cbor_enter(kith_cbor_reader *r)
{
    size_t pairs = kith_cbor_read_map(r);
    return (kith_cbor_walk){.left = pairs, .depth = r->depth};
}

/* Read the next key unless one is pending; false at the map's end.  When the caller left a value half read, the reader
 * is not where this map's next key is: better wrong than misread. */
static bool walk_on(kith_cbor_reader *r, kith_cbor_walk *walk)
{
    if (walk->pending || walk->left == 0) return walk->pending;
    if (r->depth != walk->depth || r->frames[r->depth].left != 2 * (uint64_t)walk->left) r->bad = true;
    walk->key = kith_cbor_read_uint(r);
    if (r->bad) return false;
    walk->left--;
    walk->pending = true;
    return true;
}

bool kith_cbor_find(kith_cbor_reader *r, kith_cbor_walk *walk, uint64_t key)
{
    while (!r->bad && walk_on(r, walk) && walk->key <= key) {
        walk->pending = false;
        if (walk->key == key) return true;
        kith_cbor_skip(r);
    }
    return false;
}

bool kith_cbor_need(kith_cbor_reader *r, kith_cbor_walk *walk, uint64_t key)
{
    if (kith_cbor_find(r, walk, key)) return true;
    r->bad = true;
    return false;
}

void kith_cbor_leave(kith_cbor_reader *r, kith_cbor_walk *walk)
{
    while (!r->bad && walk_on(r, walk)) {
        walk->pending = false;
        kith_cbor_skip(r);
    }
}

static void write_head(kith_writer *w, unsigned major, uint64_t argument)
{
    uint8_t first = (uint8_t)(major << 5);
    switch (head_size(argument)) {
    case 1: kith_write_u8(w, (uint8_t)(first | argument)); break;
    case 2:
        kith_write_u8(w, first | 24);
        kith_write_u8(w, (uint8_t)argument);
        break;
    case 3:
        kith_write_u8(w, first | 25);
        kith_write_u16(w, (uint16_t)argument);
        break;
    case 5:
        kith_write_u8(w, first | 26);
        kith_write_u32(w, (uint32_t)argument);
        break;
    default:
        kith_write_u8(w, first | 27);
        kith_write_u64(w, argument);
        break;
    }
}

void kith_cbor_write_uint(kith_writer *w, uint64_t value) { write_head(w, MAJOR_UINT, value); }

void kith_cbor_write_int(kith_writer *w, int64_t value)
{
    if (value >= 0)
        write_head(w, MAJOR_UINT, (uint64_t)value);
    else
        write_head(w, MAJOR_NEGATIVE, (uint64_t)(-1 - value));
}

uint8_t *kith_cbor_write_bytes_room(kith_writer *w, size_t size)
{
    write_head(w, MAJOR_BYTES, size);
    return kith_write_room(w, size);
}

void kith_cbor_write_bytes(kith_writer *w, const void *data, size_t size)
{
    write_head(w, MAJOR_BYTES, size);
    kith_write_bytes(w, data, size);
}

void kith_cbor_write_text(kith_writer *w, const char *text, size_t size)
{
    if (!kith_utf8_valid(text, size)) w->bad = true;
    write_head(w, MAJOR_TEXT, size);
    kith_write_bytes(w, text, size);
}

void kith_cbor_write_bool(kith_writer *w, bool value) { kith_write_u8(w, value ? BYTE_TRUE : BYTE_FALSE); }
void kith_cbor_write_null(kith_writer *w) { kith_write_u8(w, BYTE_NULL); }
void kith_cbor_write_array(kith_writer *w, size_t items) { write_head(w, MAJOR_ARRAY, items); }
void kith_cbor_write_map(kith_writer *w, size_t pairs) { write_head(w, MAJOR_MAP, pairs); }
