#include "service/daemon.h"

#include "wire/cbor.h"

#include <string.h>

/* ---- tables: where a member is, how it is written, and its limit ---- */

typedef enum form {
    FLAG, /* bool */
    U32,  /* or an enum */
    U64,  /* or kith_op */
    ERR,  /* kith_err */
    I64,
    SECONDS, /* double, as microseconds */
    CHARS,   /* an array with room for `limit` */
    LIST,    /* of arrays of `element`, `limit` of them, up to the first empty one */
    POINTER, /* const char *, at most `limit` bytes */
    BYTES,   /* const uint8_t * and size_t after it */
} form;

typedef struct field {
    uint64_t key;
    form form;
    size_t offset;
    uint64_t limit;
    size_t element;
} field;

#define FIELDS(table) (table), sizeof(table) / sizeof *(table)
#define AT(type, key, form, member, limit)                                                                             \
    {                                                                                                                  \
        (key), (form), offsetof(type, member), (limit), 0                                                              \
    }
#define ARRAY(type, key, member) AT(type, key, CHARS, member, sizeof(((type *)0)->member))
#define TEXTS(type, key, member)                                                                                       \
    {                                                                                                                  \
        (key), LIST, offsetof(type, member), sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]),             \
            sizeof(((type *)0)->member[0])                                                                             \
    }

#define REQUEST kith_daemon_request
#define KEY_OP  1
static const field request_fields[] = {
    AT(REQUEST, KEY_OP, U64, op, UINT64_MAX),
    AT(REQUEST, 2, POINTER, device, KITH_ID_TEXT - 1),
    AT(REQUEST, 3, POINTER, text, KITH_PATH_NAME_MAX - 1),
    AT(REQUEST, 4, POINTER, name, KITH_FILE_NAME_TEXT - 1),
    AT(REQUEST, 5, FLAG, yes, 0),
    AT(REQUEST, 6, FLAG, contact, 0),
    AT(REQUEST, 7, FLAG, once, 0),
    AT(REQUEST, 8, FLAG, ask, 0),
    AT(REQUEST, 9, FLAG, inbox, 0),
    AT(REQUEST, 10, U32, count, UINT32_MAX),
    AT(REQUEST, 11, U32, seconds, UINT32_MAX),
    AT(REQUEST, 12, U32, choice, KITH_PATH_RELAY),
    AT(REQUEST, 13, U64, number, UINT64_MAX),
    AT(REQUEST, 14, U64, bytes, UINT64_MAX),
    AT(REQUEST, 15, BYTES, data, KITH_TALK_MESSAGE_MAX),
    AT(REQUEST, 16, POINTER, stun[0], KITH_DAEMON_URL - 1),
    AT(REQUEST, 17, POINTER, stun[1], KITH_DAEMON_URL - 1),
    AT(REQUEST, 18, POINTER, stun[2], KITH_DAEMON_URL - 1),
    AT(REQUEST, 19, POINTER, stun[3], KITH_DAEMON_URL - 1),
    AT(REQUEST, 20, FLAG, replace, 0),
    AT(REQUEST, 21, FLAG, strangers, 0),
};

#define EVENT kith_event
static const field event_fields[] = {
    AT(EVENT, KEY_OP, U64, op, UINT64_MAX),
    AT(EVENT, 2, U32, kind, UINT8_MAX),
    AT(EVENT, 3, U64, transfer, UINT64_MAX),
    AT(EVENT, 4, ERR, err, 0),
    ARRAY(EVENT, 5, message),
    ARRAY(EVENT, 6, device.id),
    ARRAY(EVENT, 7, device.name),
    ARRAY(EVENT, 8, device.fingerprint),
    ARRAY(EVENT, 9, device.os),
    ARRAY(EVENT, 10, device.hardware_model),
    AT(EVENT, 11, U32, device.trust, KITH_RELATION_CONTACT),
    AT(EVENT, 12, FLAG, device.verified, 0),
    AT(EVENT, 13, I64, device.added_ms, 0),
    AT(EVENT, 14, I64, device.last_seen_ms, 0),
    ARRAY(EVENT, 15, words),
    AT(EVENT, 16, I64, expires_ms, 0),
    AT(EVENT, 17, FLAG, already, 0),
    AT(EVENT, 18, U64, rtt_ns, UINT64_MAX),
    ARRAY(EVENT, 19, path),
    ARRAY(EVENT, 20, scope),
    ARRAY(EVENT, 21, address),
    ARRAY(EVENT, 22, name),
    ARRAY(EVENT, 23, path_name),
    AT(EVENT, 24, U64, bytes, UINT64_MAX),
    AT(EVENT, 25, U64, bytes_total, UINT64_MAX),
    AT(EVENT, 26, SECONDS, seconds, 0),
    ARRAY(EVENT, 27, hash),
    AT(EVENT, 28, U32, state, KITH_FINDING_UNKNOWN),
    ARRAY(EVENT, 29, check),
    ARRAY(EVENT, 30, result),
    ARRAY(EVENT, 31, cure),
    AT(EVENT, 32, I64, skew_ms, 0),
    AT(EVENT, 33, FLAG, device.first_use, 0),
};

#define ANSWER kith_daemon_answer
static const field data_fields[] = {
    AT(ANSWER, KEY_OP, U64, op, UINT64_MAX),
    AT(ANSWER, 15, BYTES, data, KITH_TALK_MESSAGE_MAX),
};
static const field confirmed_fields[] = {
    AT(ANSWER, KEY_OP, U64, op, UINT64_MAX),
    AT(ANSWER, 2, U64, costs, KITH_UNDELIVERED_MAX),
};
static const field status_fields[] = {
    AT(ANSWER, KEY_OP, U64, op, UINT64_MAX),
    AT(ANSWER, 2, FLAG, finishing, 0),
    ARRAY(ANSWER, 3, info.id),
    ARRAY(ANSWER, 4, info.name),
    ARRAY(ANSWER, 5, info.os),
    ARRAY(ANSWER, 6, info.hardware_model),
    ARRAY(ANSWER, 7, info.public_key),
    ARRAY(ANSWER, 8, info.fingerprint),
    AT(ANSWER, 9, U32, info.trust, KITH_RELATION_CONTACT),
    AT(ANSWER, 10, FLAG, info.connected, 0),
    ARRAY(ANSWER, 11, info.path),
    ARRAY(ANSWER, 12, info.scope),
    AT(ANSWER, 13, U64, info.rtt_ns, UINT64_MAX),
    AT(ANSWER, 14, U64, info.datagram_size, UINT32_MAX),
};
/* The first two are the same in all versions, and where a client's hello has them. */
static const field hello_fields[] = {
    AT(ANSWER, 3, CHARS, hello.version, KITH_DAEMON_VERSION),
    AT(ANSWER, 10, U32, hello.protocol, UINT32_MAX),
    AT(ANSWER, 11, U64, hello.pid, INT32_MAX),
    AT(ANSWER, 12, I64, hello.since_ms, 0),
    ARRAY(ANSWER, 13, hello.folder),
    TEXTS(ANSWER, 14, hello.addresses),
    TEXTS(ANSWER, 15, hello.relays),
    AT(ANSWER, 16, U32, hello.relays_up, UINT32_MAX),
    ARRAY(ANSWER, 17, hello.twin),
    ARRAY(ANSWER, 18, hello.revoked),
};
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "a size is written as 64 bits");

/* What a request of each kind may have besides `op` (bits are keys), and what it must have. */
#define BIT(key) (UINT32_C(1) << (key))
static const struct rule {
    uint32_t may, must;
} rules[] = {
    [KITH_DAEMON_HELLO] = {BIT(3) | BIT(10), BIT(3) | BIT(10)},
    [KITH_DAEMON_PAIR] = {BIT(5) | BIT(6) | BIT(11), 0},
    [KITH_DAEMON_JOIN] = {BIT(3) | BIT(5) | BIT(6) | BIT(11) | BIT(20), BIT(3)},
    [KITH_DAEMON_PING] = {BIT(2) | BIT(10), BIT(2)},
    [KITH_DAEMON_LOOK] = {BIT(21), 0},
    [KITH_DAEMON_DOCTOR] = {BIT(16) | BIT(17) | BIT(18) | BIT(19), 0},
    [KITH_DAEMON_SEND] = {BIT(2) | BIT(4) | BIT(11) | BIT(12), BIT(2) | BIT(4)},
    [KITH_DAEMON_RECEIVE] = {BIT(2) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(12), 0},
    [KITH_DAEMON_CONNECT] = {BIT(2) | BIT(3) | BIT(11), BIT(2) | BIT(3)},
    [KITH_DAEMON_SERVE] = {BIT(3) | BIT(6), BIT(3)},
    [KITH_DAEMON_INBOX] = {0, 0},
    [KITH_DAEMON_INBOX_ANSWER] = {BIT(5) | BIT(13), BIT(13)},
    [KITH_DAEMON_DOWN] = {0, 0},
    [KITH_DAEMON_ANSWER] = {BIT(5), 0},
    [KITH_DAEMON_RECEIVE_FILE] = {BIT(3) | BIT(4) | BIT(12), BIT(3) | BIT(4)},
    [KITH_DAEMON_MESSAGE] = {BIT(15), BIT(15)},
    [KITH_DAEMON_DATAGRAM] = {BIT(15), BIT(15)},
    [KITH_DAEMON_FINISH] = {0, 0},
    [KITH_DAEMON_TAKEN] = {BIT(13) | BIT(14), BIT(13)},
    [KITH_DAEMON_CANCEL] = {0, 0},
    [KITH_DAEMON_PIN] = {BIT(3) | BIT(4) | BIT(5), BIT(3)},
};
#define RULES (sizeof rules / sizeof *rules)

bool kith_daemon_begins(kith_daemon_kind kind)
{
    return (kind > KITH_DAEMON_HELLO && kind < KITH_DAEMON_ANSWER) || kind == KITH_DAEMON_PIN || kind == KITH_DAEMON_UP;
}

bool kith_daemon_has_fd(const kith_daemon_request *r)
{
    return r->kind == KITH_DAEMON_SEND || r->kind == KITH_DAEMON_RECEIVE_FILE ||
           (r->kind == KITH_DAEMON_RECEIVE && r->text);
}

/* ---- writing ---- */

static uint64_t load_u64(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t load_u32(const void *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static const char *load_pointer(const void *at)
{
    const char *value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t load_micros(const void *at)
{
    double value;
    memcpy(&value, at, sizeof value);
    return value > 0 && value < 1e12 ? (uint64_t)(value * 1e6) : 0;
}

static bool is_set(const field *f, const uint8_t *at)
{
    switch (f->form) {
    case FLAG:
    case CHARS:
    case LIST: return *at != 0;
    case U32:
    case ERR: return load_u32(at) != 0;
    case U64:
    case I64: return load_u64(at) != 0;
    case SECONDS: return load_micros(at) != 0;
    case POINTER:
    case BYTES: return load_pointer(at) != NULL;
    }
    return false;
}

static size_t list_count(const field *f, const char *at)
{
    size_t count = 0;
    while (count < f->limit && at[count * f->element]) count++;
    return count;
}

static void write_value(kith_writer *w, const field *f, const uint8_t *at)
{
    const char *text = (const char *)at;
    switch (f->form) {
    case FLAG: kith_cbor_write_bool(w, true); break;
    case U32: kith_cbor_write_uint(w, load_u32(at)); break;
    case ERR: kith_cbor_write_int(w, (int32_t)load_u32(at)); break;
    case U64: kith_cbor_write_uint(w, load_u64(at)); break;
    case I64: kith_cbor_write_int(w, (int64_t)load_u64(at)); break;
    case SECONDS: kith_cbor_write_uint(w, load_micros(at)); break;
    case CHARS: kith_cbor_write_bytes(w, text, strnlen(text, f->limit)); break;
    case LIST:
        kith_cbor_write_array(w, list_count(f, text));
        for (size_t i = 0; i < list_count(f, text); i++)
            kith_cbor_write_bytes(w, text + i * f->element, strnlen(text + i * f->element, f->element));
        break;
    case POINTER:
        text = load_pointer(at);
        if (strlen(text) > f->limit) w->bad = true;
        if (!w->bad) kith_cbor_write_bytes(w, text, strlen(text));
        break;
    case BYTES: kith_cbor_write_bytes(w, load_pointer(at), (size_t)load_u64(at + sizeof(uint8_t *))); break;
    }
}

static size_t write_map(kith_daemon_kind kind, const void *base, const field *fields, size_t count, void *out,
                        size_t cap)
{
    kith_writer w = kith_writer_of(out, cap);
    size_t pairs = 1;
    for (size_t i = 0; i < count; i++) pairs += is_set(&fields[i], (const uint8_t *)base + fields[i].offset);
    kith_cbor_write_map(&w, pairs);
    kith_cbor_write_uint(&w, 0);
    kith_cbor_write_uint(&w, kind);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = (const uint8_t *)base + fields[i].offset;
        if (!is_set(&fields[i], at)) continue;
        kith_cbor_write_uint(&w, fields[i].key);
        write_value(&w, &fields[i], at);
    }
    return w.bad ? 0 : kith_writer_size(&w);
}

size_t kith_daemon_request_write(const kith_daemon_request *r, void *out, size_t cap)
{
    return write_map(r->kind, r, FIELDS(request_fields), out, cap);
}

/* The members of an answer of this kind, and where they are in. */
static const field *fields_of(kith_daemon_kind kind, size_t *count, size_t *offset)
{
#define GIVE(table, at) return *count = sizeof(table) / sizeof *(table), *offset = (at), (table)
    switch (kind) {
    case KITH_DAEMON_EVENT: GIVE(event_fields, offsetof(kith_daemon_answer, event));
    case KITH_DAEMON_MESSAGE:
    case KITH_DAEMON_DATAGRAM: GIVE(data_fields, 0);
    case KITH_DAEMON_CONFIRMED: GIVE(confirmed_fields, 0);
    case KITH_DAEMON_STATUS: GIVE(status_fields, 0);
    case KITH_DAEMON_HELLO: GIVE(hello_fields, 0);
    default: return NULL;
    }
#undef GIVE
}

size_t kith_daemon_answer_write(const kith_daemon_answer *a, void *out, size_t cap)
{
    size_t count, offset;
    const field *fields = fields_of(a->kind, &count, &offset);
    return fields ? write_map(a->kind, (const uint8_t *)a + offset, fields, count, out, cap) : 0;
}

/* ---- reading ---- */

typedef struct ends { /* where strings end, in the memory that is read: NULs go there at last */
    uint8_t *at[8];
    size_t count;
} ends;

static void read_text(kith_cbor_reader *r, char *out, size_t room)
{
    size_t size;
    const uint8_t *bytes = kith_cbor_read_bytes(r, &size);
    if (!bytes || size == 0 || size >= room || memchr(bytes, 0, size)) {
        r->bad = true;
        return;
    }
    memcpy(out, bytes, size);
    out[size] = 0;
}

static void read_list(kith_cbor_reader *r, const field *f, char *at)
{
    size_t count = kith_cbor_read_array(r);
    if (count == 0 || count > f->limit) r->bad = true;
    for (size_t i = 0; i < count && !r->bad; i++) read_text(r, at + i * f->element, f->element);
}

static void read_pointer(kith_cbor_reader *r, const field *f, uint8_t *at, ends *e)
{
    size_t size;
    const uint8_t *bytes = kith_cbor_read_bytes(r, &size);
    if (!bytes || size > f->limit || memchr(bytes, 0, size) || e->count == sizeof e->at / sizeof *e->at) {
        r->bad = true;
        return;
    }
    memcpy(at, &bytes, sizeof bytes);
    e->at[e->count++] = (uint8_t *)(uintptr_t)bytes + size;
}

static uint64_t read_number(kith_cbor_reader *r, const field *f)
{
    uint64_t value = kith_cbor_read_uint(r);
    if (value == 0 || value > f->limit) r->bad = true; /* 0 would have been left out */
    return value;
}

static void read_value(kith_cbor_reader *r, const field *f, uint8_t *at, ends *e)
{
    uint64_t value;
    int64_t whole;
    double seconds;
    size_t size;
    switch (f->form) {
    case FLAG:
        if (!kith_cbor_read_bool(r)) r->bad = true;
        *at = !r->bad;
        break;
    case U32:
        value = read_number(r, f);
        if (value > UINT32_MAX) r->bad = true;
        memcpy(at, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
        break;
    case U64:
        value = read_number(r, f);
        memcpy(at, &value, sizeof value);
        break;
    case ERR:
        whole = kith_cbor_read_int(r);
        if (whole >= 0 || whole < INT16_MIN) r->bad = true;
        memcpy(at, &(int32_t){(int32_t)whole}, sizeof(int32_t));
        break;
    case I64:
        whole = kith_cbor_read_int(r);
        if (whole == 0) r->bad = true;
        memcpy(at, &whole, sizeof whole);
        break;
    case SECONDS:
        value = kith_cbor_read_uint(r);
        if (value == 0 || value > UINT64_C(1000000000000000000)) r->bad = true;
        seconds = (double)value / 1e6;
        memcpy(at, &seconds, sizeof seconds);
        break;
    case CHARS: read_text(r, (char *)at, f->limit); break;
    case LIST: read_list(r, f, (char *)at); break;
    case POINTER: read_pointer(r, f, at, e); break;
    case BYTES: {
        const uint8_t *bytes = kith_cbor_read_bytes(r, &size);
        if (size > f->limit) r->bad = true;
        memcpy(at, &bytes, sizeof bytes);
        memcpy(at + sizeof bytes, &size, sizeof size);
        break;
    }
    }
}

static kith_daemon_kind read_kind(kith_cbor_reader *r, size_t *pairs)
{
    *pairs = kith_cbor_read_map(r);
    uint64_t key = *pairs ? kith_cbor_read_uint(r) : 1, kind = kith_cbor_read_uint(r);
    if (key != 0 || kind > KITH_DAEMON_STATUS) r->bad = true;
    return r->bad ? 0 : (kith_daemon_kind)kind;
}

/* The pairs after the first; keys ascend, as the table's do.  Bits of *seen are the keys. */
static void read_map(kith_cbor_reader *r, size_t pairs, const field *fields, size_t count, void *base, ends *e,
                     uint64_t *seen)
{
    size_t at = 0;
    for (size_t i = 1; i < pairs && !r->bad; i++) {
        uint64_t key = kith_cbor_read_uint(r);
        while (at < count && fields[at].key < key) at++;
        if (at == count || fields[at].key != key) {
            r->bad = true;
            return;
        }
        read_value(r, &fields[at], (uint8_t *)base + fields[at].offset, e);
        *seen |= UINT64_C(1) << key;
    }
    if (!kith_cbor_done(r)) r->bad = true;
}

static void finish_texts(const ends *e)
{
    for (size_t i = 0; i < e->count; i++) *e->at[i] = 0;
}

/* A hello of another version may have more members, and other values of those that follow the first two. */
static bool is_foreign(const uint8_t *data, size_t size, uint32_t *protocol, char version[KITH_DAEMON_VERSION])
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    char text[KITH_DAEMON_VERSION] = "";
    uint64_t number = 0;
    bool hello = kith_cbor_need(&r, &walk, 0) && kith_cbor_read_uint(&r) == KITH_DAEMON_HELLO;
    if (kith_cbor_need(&r, &walk, 3)) read_text(&r, text, sizeof text);
    if (kith_cbor_need(&r, &walk, 10)) number = kith_cbor_read_uint(&r);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r) || !hello || number == KITH_DAEMON_PROTOCOL) return false;
    *protocol = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    memcpy(version, text, sizeof text);
    return true;
}

kith_err kith_daemon_request_read(uint8_t *data, size_t size, kith_daemon_request *out)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_daemon_request got = {0};
    char version[KITH_DAEMON_VERSION];
    ends e = {.count = 0};
    uint64_t seen = 0;
    size_t pairs;
    if (is_foreign(data, size, &got.count, version)) {
        *out = (kith_daemon_request){.kind = KITH_DAEMON_HELLO, .count = got.count};
        return KITH_ERR_VERSION;
    }
    got.kind = read_kind(&r, &pairs);
    read_map(&r, pairs, FIELDS(request_fields), &got, &e, &seen);
    if (r.bad || got.kind >= RULES || !got.kind) return KITH_ERR_PROTOCOL;
    const struct rule *rule = &rules[got.kind];
    bool hello = got.kind == KITH_DAEMON_HELLO, begins = kith_daemon_begins(got.kind);
    if (seen & ~(uint64_t)(rule->may | (hello ? 0 : BIT(KEY_OP)))) return KITH_ERR_PROTOCOL;
    if ((seen & rule->must) != rule->must || (!hello && !got.op)) return KITH_ERR_PROTOCOL;
    if (begins && got.op > KITH_DAEMON_OP_MAX) return KITH_ERR_PROTOCOL;
    finish_texts(&e);
    *out = got;
    return KITH_OK;
}

kith_err kith_daemon_answer_read(uint8_t *data, size_t size, kith_daemon_answer *out)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    ends e = {.count = 0};
    uint64_t seen = 0;
    size_t pairs, count, offset;
    memset(out, 0, sizeof *out);
    if (is_foreign(data, size, &out->hello.protocol, out->hello.version)) {
        out->kind = KITH_DAEMON_HELLO;
        return KITH_ERR_VERSION;
    }
    out->kind = read_kind(&r, &pairs);
    const field *fields = fields_of(out->kind, &count, &offset);
    if (!fields) return KITH_ERR_PROTOCOL;
    read_map(&r, pairs, fields, count, (uint8_t *)out + offset, &e, &seen);
    if (r.bad) return KITH_ERR_PROTOCOL;
    bool about = out->kind == KITH_DAEMON_HELLO || seen & BIT(KEY_OP);
    bool whole = (out->kind != KITH_DAEMON_MESSAGE && out->kind != KITH_DAEMON_DATAGRAM) || seen & BIT(15);
    if (out->kind == KITH_DAEMON_EVENT && !out->event.kind) whole = false;
    return about && whole ? KITH_OK : KITH_ERR_PROTOCOL;
}
