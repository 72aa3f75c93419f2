#include "wire/relay.h"

#include "base/buf.h"
#include "wire/cbor.h"

#include <string.h>

#define IPV4_SIZE    4
#define IPV6_SIZE    16
#define PORT_SIZE    2
#define SEGMENT_SIZE 2
#define LIMITS_ITEMS 8

static const char signed_context[] = "kith relay register v1"; /* with its NUL */

/* ---- pieces ---- */

static void write_addr(kith_writer *w, const kith_addr *a)
{
    kith_write_bytes(w, a->ip, a->family == KITH_FAMILY_IPV4 ? IPV4_SIZE : IPV6_SIZE);
    kith_write_u16(w, a->port);
}

/* An address has one form: what is v4-mapped is written as IPv4. */
static bool read_addr(const uint8_t *data, size_t size, kith_addr *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    kith_addr a = {.family = size == IPV4_SIZE + PORT_SIZE ? KITH_FAMILY_IPV4 : KITH_FAMILY_IPV6};
    if (!data || (size != IPV4_SIZE + PORT_SIZE && size != IPV6_SIZE + PORT_SIZE)) return false;
    if (a.family == KITH_FAMILY_IPV6 && memcmp(data, mapped, sizeof mapped) == 0) return false;
    memcpy(a.ip, data, size - PORT_SIZE);
    a.port = (uint16_t)(data[size - 2] << 8 | data[size - 1]);
    *out = a;
    return true;
}

static bool addr_good(const kith_addr *a) { return a->family == KITH_FAMILY_IPV4 || a->family == KITH_FAMILY_IPV6; }

bool kith_relay_run_good(const kith_relay_run *run)
{
    return run->data && run->size > 0 && run->size <= KITH_PACKET_RUN_MAX && run->segment > 0 &&
           run->segment <= run->size && (run->size - 1) / run->segment < KITH_PACKET_RUN_SEGMENTS;
}

static const uint8_t *read_fixed(kith_cbor_reader *r, size_t size)
{
    size_t found;
    const uint8_t *data = kith_cbor_read_bytes(r, &found);
    if (!data || found != size) r->bad = true;
    return r->bad ? NULL : data;
}

static uint64_t read_below(kith_cbor_reader *r, uint64_t most)
{
    uint64_t value = kith_cbor_read_uint(r);
    if (value > most) r->bad = true;
    return r->bad ? 0 : value;
}

static uint32_t read_u32(kith_cbor_reader *r) { return (uint32_t)read_below(r, UINT32_MAX); }
static uint32_t read_tag(kith_cbor_reader *r) { return (uint32_t)read_below(r, KITH_RELAY_TAG_MAX); }

/* Text for people: who prints it makes it printable. */
static kith_relay_text read_text(kith_cbor_reader *r)
{
    kith_relay_text text;
    text.data = kith_cbor_read_text(r, &text.size);
    if (text.size > KITH_RELAY_TEXT_MAX) r->bad = true;
    return text;
}

/* segment (2) || packets, in a byte string */
static void read_offer(kith_cbor_reader *r, kith_relay_run *run)
{
    size_t size;
    const uint8_t *data = kith_cbor_read_bytes(r, &size);
    if (!data || size <= SEGMENT_SIZE || size - SEGMENT_SIZE > KITH_RELAY_OFFER_MAX) {
        r->bad = true;
        return;
    }
    *run = (kith_relay_run){data + SEGMENT_SIZE, size - SEGMENT_SIZE, (size_t)(data[0] << 8 | data[1])};
    if (!kith_relay_run_good(run)) r->bad = true;
}

static void write_offer(kith_writer *w, uint64_t key, const kith_relay_run *run)
{
    if (!run->data) return;
    if (!kith_relay_run_good(run) || run->size > KITH_RELAY_OFFER_MAX) w->bad = true;
    kith_cbor_write_uint(w, key);
    uint8_t *room = kith_cbor_write_bytes_room(w, SEGMENT_SIZE + run->size);
    if (!room) return;
    room[0] = (uint8_t)(run->segment >> 8);
    room[1] = (uint8_t)run->segment;
    memcpy(room + SEGMENT_SIZE, run->data, run->size);
}

/* Instances, one after the other, in a byte string. */
static void read_but(kith_cbor_reader *r, kith_relay_message *m)
{
    size_t size;
    m->connect.but = kith_cbor_read_bytes(r, &size);
    m->connect.but_count = size / KITH_RELAY_INSTANCE_SIZE;
    if (!m->connect.but || size == 0 || size % KITH_RELAY_INSTANCE_SIZE || m->connect.but_count > KITH_RELAY_BUT_MAX)
        r->bad = true;
}

static void write_uint(kith_writer *w, uint64_t key, uint64_t value)
{
    kith_cbor_write_uint(w, key);
    kith_cbor_write_uint(w, value);
}

static void write_bytes(kith_writer *w, uint64_t key, const uint8_t *data, size_t size)
{
    kith_cbor_write_uint(w, key);
    if (data)
        kith_cbor_write_bytes(w, data, size);
    else
        w->bad = true;
}

static void write_text(kith_writer *w, uint64_t key, const kith_relay_text *text)
{
    if (text->size > KITH_RELAY_TEXT_MAX) w->bad = true;
    kith_cbor_write_uint(w, key);
    kith_cbor_write_text(w, text->size ? text->data : "", text->size);
}

/* ---- reading ---- */

static bool limits_good(const kith_relay_limits *l)
{
    return l->message_bytes >= KITH_RELAY_CONTROL_MAX && l->message_bytes <= KITH_RELAY_MESSAGE_MAX;
}

static void read_limits(kith_cbor_reader *r, kith_relay_limits *out)
{
    kith_cbor_walk walk = kith_cbor_enter(r);
    if (kith_cbor_need(r, &walk, 1)) out->sessions = read_u32(r);
    if (kith_cbor_need(r, &walk, 2)) out->bytes_per_second = kith_cbor_read_uint(r);
    if (kith_cbor_need(r, &walk, 3)) out->idle_ms = read_u32(r);
    if (kith_cbor_need(r, &walk, 4)) out->session_idle_ms = read_u32(r);
    if (kith_cbor_need(r, &walk, 5)) out->udp_stale_ms = read_u32(r);
    if (kith_cbor_need(r, &walk, 6)) out->mailboxes = read_u32(r);
    if (kith_cbor_need(r, &walk, 7)) out->mailbox_ms = read_u32(r);
    if (kith_cbor_need(r, &walk, 8)) out->message_bytes = read_u32(r);
    if (!limits_good(out)) r->bad = true;
    kith_cbor_leave(r, &walk);
}

static void read_register(kith_cbor_reader *r, kith_cbor_walk *walk, kith_relay_message *m)
{
    if (kith_cbor_need(r, walk, 1)) m->reg.device_id = read_fixed(r, KITH_RELAY_DEVICE_SIZE);
    if (kith_cbor_need(r, walk, 2)) m->reg.public_key = read_fixed(r, KITH_RELAY_KEY_SIZE);
    if (kith_cbor_need(r, walk, 3)) m->reg.instance = read_fixed(r, KITH_RELAY_INSTANCE_SIZE);
    if (kith_cbor_need(r, walk, 4)) m->reg.signature = read_fixed(r, KITH_RELAY_SIGNATURE_SIZE);
    if (kith_cbor_find(r, walk, 5)) {
        m->reg.token = kith_cbor_read_bytes(r, &m->reg.token_size);
        if (m->reg.token_size == 0 || m->reg.token_size > KITH_RELAY_TOKEN_MAX) r->bad = true;
    }
}

static void read_registered(kith_cbor_reader *r, kith_cbor_walk *walk, kith_relay_message *m)
{
    if (kith_cbor_need(r, walk, 1)) {
        size_t size;
        const uint8_t *data = kith_cbor_read_bytes(r, &size);
        if (!read_addr(data, size, &m->registered.observed)) r->bad = true;
    }
    if (kith_cbor_need(r, walk, 2)) m->registered.udp_key = read_fixed(r, KITH_RELAY_UDP_KEY_SIZE);
    if (kith_cbor_need(r, walk, 3)) read_limits(r, &m->registered.limits);
    if (kith_cbor_need(r, walk, 4)) m->registered.software = read_text(r);
    if (kith_cbor_find(r, walk, 5)) {
        m->registered.unix_ms = kith_cbor_read_uint(r);
        if (m->registered.unix_ms == 0) r->bad = true; /* absent is how to say nothing */
    }
}

static void read_rate_limited(kith_cbor_reader *r, kith_cbor_walk *walk, kith_relay_message *m)
{
    if (kith_cbor_need(r, walk, 1)) m->rate_limited.limit = kith_cbor_read_uint(r);
    if (kith_cbor_need(r, walk, 2)) m->rate_limited.retry_after_ms = kith_cbor_read_uint(r);
    m->rate_limited.has_session = kith_cbor_find(r, walk, 3);
    if (m->rate_limited.has_session) m->session = read_u32(r);
    m->rate_limited.has_tag = kith_cbor_find(r, walk, 4);
    if (m->rate_limited.has_tag) m->tag = read_tag(r);
}

/* The members of a map; UNSUPPORTED for a type that is not known. */
static kith_err read_members(kith_cbor_reader *r, kith_cbor_walk *walk, kith_relay_message *m)
{
    switch (m->type) {
    case KITH_RELAY_CHALLENGE:
        if (kith_cbor_need(r, walk, 1)) m->challenge.nonce = read_fixed(r, KITH_RELAY_NONCE_SIZE);
        if (kith_cbor_need(r, walk, 2)) m->challenge.version = kith_cbor_read_uint(r);
        break;
    case KITH_RELAY_REGISTER: read_register(r, walk, m); break;
    case KITH_RELAY_REGISTERED: read_registered(r, walk, m); break;
    case KITH_RELAY_CONNECT:
        if (kith_cbor_need(r, walk, 1)) m->connect.target = read_fixed(r, KITH_RELAY_FINGERPRINT_SIZE);
        if (kith_cbor_find(r, walk, 2)) m->connect.target_instance = read_fixed(r, KITH_RELAY_INSTANCE_SIZE);
        if (kith_cbor_need(r, walk, 3)) m->session = read_u32(r);
        if (kith_cbor_find(r, walk, 4)) read_offer(r, &m->run);
        if (kith_cbor_find(r, walk, 5)) read_but(r, m);
        break;
    case KITH_RELAY_CONNECTED:
        if (kith_cbor_need(r, walk, 1)) m->session = read_u32(r);
        if (kith_cbor_need(r, walk, 2)) m->connected.udp_id = read_fixed(r, KITH_RELAY_UDP_ID_SIZE);
        break;
    case KITH_RELAY_INCOMING:
        if (kith_cbor_need(r, walk, 1)) m->session = read_u32(r);
        if (kith_cbor_need(r, walk, 2)) m->incoming.from = read_fixed(r, KITH_RELAY_FINGERPRINT_SIZE);
        if (kith_cbor_need(r, walk, 3)) m->incoming.from_instance = read_fixed(r, KITH_RELAY_INSTANCE_SIZE);
        if (kith_cbor_need(r, walk, 4)) m->incoming.udp_id = read_fixed(r, KITH_RELAY_UDP_ID_SIZE);
        if (kith_cbor_find(r, walk, 5)) read_offer(r, &m->run);
        break;
    case KITH_RELAY_GONE:
        if (kith_cbor_need(r, walk, 1)) m->session = read_u32(r);
        if (kith_cbor_need(r, walk, 2)) m->gone.reason = kith_cbor_read_uint(r);
        break;
    case KITH_RELAY_RESTARTING:
        if (kith_cbor_need(r, walk, 1)) m->restarting.after_ms = kith_cbor_read_uint(r);
        break;
    case KITH_RELAY_RATE_LIMITED: read_rate_limited(r, walk, m); break;
    case KITH_RELAY_PING:
    case KITH_RELAY_PONG:
        if (kith_cbor_need(r, walk, 1)) m->ping.bytes = read_fixed(r, KITH_RELAY_PING_SIZE);
        break;
    case KITH_RELAY_ERROR:
        if (kith_cbor_need(r, walk, 1)) m->error.code = kith_cbor_read_uint(r);
        if (kith_cbor_need(r, walk, 2)) m->error.text = read_text(r);
        break;
    case KITH_RELAY_MAILBOX_OPEN:
    case KITH_RELAY_MAILBOX_CLOSE:
        if (kith_cbor_need(r, walk, 1)) m->tag = read_tag(r);
        break;
    case KITH_RELAY_MAILBOX:
        if (kith_cbor_need(r, walk, 1)) m->tag = read_tag(r);
        if (kith_cbor_need(r, walk, 2)) m->mailbox.state = kith_cbor_read_uint(r);
        break;
    case KITH_RELAY_MAILBOX_CONNECT:
        if (kith_cbor_need(r, walk, 1)) m->tag = read_tag(r);
        if (kith_cbor_need(r, walk, 2)) m->session = read_u32(r);
        if (kith_cbor_find(r, walk, 3)) read_offer(r, &m->run);
        break;
    default: return KITH_ERR_UNSUPPORTED;
    }
    return KITH_OK;
}

static kith_err read_data(const uint8_t *data, size_t size, kith_relay_message *m)
{
    kith_reader r = kith_reader_of(data, size);
    (void)kith_read_u8(&r);
    m->session = kith_read_u32(&r);
    m->run.segment = kith_read_u16(&r);
    m->run.size = kith_reader_left(&r);
    m->run.data = kith_read_view(&r, m->run.size);
    return !r.bad && kith_relay_run_good(&m->run) ? KITH_OK : KITH_ERR_FORMAT;
}

kith_err kith_relay_read(const void *data, size_t size, kith_relay_message *out)
{
    const uint8_t *bytes = data;
    if (size == 0) return KITH_ERR_FORMAT;
    kith_relay_message m = {.type = bytes[0]};
    kith_err err;
    if (m.type == KITH_RELAY_DATA) {
        err = read_data(bytes, size, &m);
    } else if (size > KITH_RELAY_CONTROL_MAX) {
        return KITH_ERR_FORMAT;
    } else {
        kith_cbor_reader r = kith_cbor_reader_of(bytes + 1, size - 1);
        kith_cbor_walk walk = kith_cbor_enter(&r);
        err = read_members(&r, &walk, &m);
        kith_cbor_leave(&r, &walk);
        if (!kith_cbor_done(&r)) return KITH_ERR_FORMAT;
    }
    if (!err || err == KITH_ERR_UNSUPPORTED) *out = m;
    return err;
}

/* ---- writing ---- */

static void write_registered(kith_writer *w, const kith_relay_message *m)
{
    const kith_relay_limits *l = &m->registered.limits;
    const uint64_t limits[LIMITS_ITEMS] = {l->sessions,     l->bytes_per_second, l->idle_ms,    l->session_idle_ms,
                                           l->udp_stale_ms, l->mailboxes,        l->mailbox_ms, l->message_bytes};
    kith_cbor_write_map(w, m->registered.unix_ms ? 5 : 4);
    uint8_t addr[IPV6_SIZE + PORT_SIZE];
    kith_writer a = kith_writer_of(addr, sizeof addr);
    write_addr(&a, &m->registered.observed);
    if (!addr_good(&m->registered.observed) || !limits_good(l)) w->bad = true;
    write_bytes(w, 1, addr, kith_writer_size(&a));
    write_bytes(w, 2, m->registered.udp_key, KITH_RELAY_UDP_KEY_SIZE);
    kith_cbor_write_uint(w, 3);
    kith_cbor_write_map(w, LIMITS_ITEMS);
    for (size_t i = 0; i < LIMITS_ITEMS; i++) write_uint(w, i + 1, limits[i]);
    write_text(w, 4, &m->registered.software);
    if (m->registered.unix_ms) write_uint(w, 5, m->registered.unix_ms);
}

static void write_register(kith_writer *w, const kith_relay_message *m)
{
    kith_cbor_write_map(w, m->reg.token ? 5 : 4);
    write_bytes(w, 1, m->reg.device_id, KITH_RELAY_DEVICE_SIZE);
    write_bytes(w, 2, m->reg.public_key, KITH_RELAY_KEY_SIZE);
    write_bytes(w, 3, m->reg.instance, KITH_RELAY_INSTANCE_SIZE);
    write_bytes(w, 4, m->reg.signature, KITH_RELAY_SIGNATURE_SIZE);
    if (!m->reg.token) return;
    if (m->reg.token_size == 0 || m->reg.token_size > KITH_RELAY_TOKEN_MAX) w->bad = true;
    write_bytes(w, 5, m->reg.token, m->reg.token_size);
}

static void write_connect(kith_writer *w, const kith_relay_message *m)
{
    size_t but = m->connect.but_count;
    kith_cbor_write_map(w, 2u + (m->connect.target_instance != NULL) + (m->run.data != NULL) + (but != 0));
    if (but > KITH_RELAY_BUT_MAX) w->bad = true;
    write_bytes(w, 1, m->connect.target, KITH_RELAY_FINGERPRINT_SIZE);
    if (m->connect.target_instance) write_bytes(w, 2, m->connect.target_instance, KITH_RELAY_INSTANCE_SIZE);
    write_uint(w, 3, m->session);
    write_offer(w, 4, &m->run);
    if (but && !w->bad) write_bytes(w, 5, m->connect.but, but * KITH_RELAY_INSTANCE_SIZE);
}

static void write_incoming(kith_writer *w, const kith_relay_message *m)
{
    kith_cbor_write_map(w, m->run.data ? 5 : 4);
    write_uint(w, 1, m->session);
    write_bytes(w, 2, m->incoming.from, KITH_RELAY_FINGERPRINT_SIZE);
    write_bytes(w, 3, m->incoming.from_instance, KITH_RELAY_INSTANCE_SIZE);
    write_bytes(w, 4, m->incoming.udp_id, KITH_RELAY_UDP_ID_SIZE);
    write_offer(w, 5, &m->run);
}

static void write_rate_limited(kith_writer *w, const kith_relay_message *m)
{
    kith_cbor_write_map(w, 2u + m->rate_limited.has_session + m->rate_limited.has_tag);
    write_uint(w, 1, m->rate_limited.limit);
    write_uint(w, 2, m->rate_limited.retry_after_ms);
    if (m->rate_limited.has_session) write_uint(w, 3, m->session);
    if (m->rate_limited.has_tag) write_uint(w, 4, m->tag);
}

static void write_two(kith_writer *w, uint64_t first, uint64_t second)
{
    kith_cbor_write_map(w, 2);
    write_uint(w, 1, first);
    write_uint(w, 2, second);
}

static void write_one(kith_writer *w, uint64_t value)
{
    kith_cbor_write_map(w, 1);
    write_uint(w, 1, value);
}

static void write_members(kith_writer *w, const kith_relay_message *m)
{
    switch (m->type) {
    case KITH_RELAY_CHALLENGE:
        kith_cbor_write_map(w, 2);
        write_bytes(w, 1, m->challenge.nonce, KITH_RELAY_NONCE_SIZE);
        write_uint(w, 2, m->challenge.version);
        break;
    case KITH_RELAY_REGISTER: write_register(w, m); break;
    case KITH_RELAY_REGISTERED: write_registered(w, m); break;
    case KITH_RELAY_CONNECT: write_connect(w, m); break;
    case KITH_RELAY_CONNECTED:
        kith_cbor_write_map(w, 2);
        write_uint(w, 1, m->session);
        write_bytes(w, 2, m->connected.udp_id, KITH_RELAY_UDP_ID_SIZE);
        break;
    case KITH_RELAY_INCOMING: write_incoming(w, m); break;
    case KITH_RELAY_GONE: write_two(w, m->session, m->gone.reason); break;
    case KITH_RELAY_DATA:
        if (!kith_relay_run_good(&m->run)) w->bad = true;
        kith_write_u32(w, m->session);
        kith_write_u16(w, (uint16_t)m->run.segment);
        kith_write_bytes(w, m->run.data, m->run.size);
        break;
    case KITH_RELAY_RESTARTING: write_one(w, m->restarting.after_ms); break;
    case KITH_RELAY_RATE_LIMITED: write_rate_limited(w, m); break;
    case KITH_RELAY_PING:
    case KITH_RELAY_PONG:
        kith_cbor_write_map(w, 1);
        write_bytes(w, 1, m->ping.bytes, KITH_RELAY_PING_SIZE);
        break;
    case KITH_RELAY_ERROR:
        kith_cbor_write_map(w, 2);
        write_uint(w, 1, m->error.code);
        write_text(w, 2, &m->error.text);
        break;
    case KITH_RELAY_MAILBOX_OPEN:
    case KITH_RELAY_MAILBOX_CLOSE: write_one(w, m->tag); break;
    case KITH_RELAY_MAILBOX: write_two(w, m->tag, m->mailbox.state); break;
    case KITH_RELAY_MAILBOX_CONNECT:
        kith_cbor_write_map(w, m->run.data ? 3 : 2);
        write_uint(w, 1, m->tag);
        write_uint(w, 2, m->session);
        write_offer(w, 3, &m->run);
        break;
    default: w->bad = true;
    }
}

size_t kith_relay_write(const kith_relay_message *message, uint8_t *out, size_t cap)
{
    kith_writer w = kith_writer_of(out, cap);
    if (message->tag > KITH_RELAY_TAG_MAX) return 0;
    kith_write_u8(&w, (uint8_t)message->type);
    write_members(&w, message);
    return w.bad ? 0 : kith_writer_size(&w);
}

void kith_relay_write_data_head(uint32_t session, size_t segment, uint8_t out[static KITH_RELAY_DATA_HEAD])
{
    kith_writer w = kith_writer_of(out, KITH_RELAY_DATA_HEAD);
    kith_write_u8(&w, KITH_RELAY_DATA);
    kith_write_u32(&w, session);
    kith_write_u16(&w, (uint16_t)segment);
}

/* ---- registering ---- */

kith_err kith_relay_authority(const char *host, size_t size, char out[static KITH_RELAY_AUTHORITY_MAX + 1])
{
    static const char *const defaults[] = {":80", ":443"};
    for (size_t i = 0; i < size; i++)
        if (host[i] <= ' ' || host[i] > '~') return KITH_ERR_FORMAT;
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(defaults[i]);
        if (size > length && memcmp(host + size - length, defaults[i], length) == 0) {
            size -= length;
            break;
        }
    }
    if (size == 0) return KITH_ERR_FORMAT;
    if (size > KITH_RELAY_AUTHORITY_MAX) return KITH_ERR_LIMIT;
    for (size_t i = 0; i < size; i++)
        out[i] = (char)(host[i] >= 'A' && host[i] <= 'Z' ? host[i] + ('a' - 'A') : host[i]);
    out[size] = '\0';
    return KITH_OK;
}

size_t kith_relay_signed(const uint8_t nonce[static KITH_RELAY_NONCE_SIZE], const char *authority,
                         const uint8_t device_id[static KITH_RELAY_DEVICE_SIZE],
                         const uint8_t instance[static KITH_RELAY_INSTANCE_SIZE],
                         uint8_t out[static KITH_RELAY_SIGNED_MAX])
{
    size_t length = strnlen(authority, KITH_RELAY_AUTHORITY_MAX);
    kith_writer w = kith_writer_of(out, KITH_RELAY_SIGNED_MAX);
    kith_write_bytes(&w, signed_context, sizeof signed_context);
    kith_write_bytes(&w, nonce, KITH_RELAY_NONCE_SIZE);
    kith_write_u8(&w, (uint8_t)length);
    kith_write_bytes(&w, authority, length);
    kith_write_bytes(&w, device_id, KITH_RELAY_DEVICE_SIZE);
    kith_write_bytes(&w, instance, KITH_RELAY_INSTANCE_SIZE);
    return kith_writer_size(&w);
}

/* ---- datagrams ---- */

void kith_relay_write_packet_head(const uint8_t udp_id[static KITH_RELAY_UDP_ID_SIZE],
                                  uint8_t out[static KITH_RELAY_PACKET_HEAD])
{
    out[0] = KITH_RELAY_UDP_PACKET;
    memcpy(out + 1, udp_id, KITH_RELAY_UDP_ID_SIZE);
}

const uint8_t *kith_relay_read_packet_head(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    return size > KITH_RELAY_PACKET_HEAD && bytes[0] == KITH_RELAY_UDP_PACKET ? bytes + 1 : NULL;
}

void kith_relay_write_bind(const uint8_t udp_key[static KITH_RELAY_UDP_KEY_SIZE], uint64_t counter,
                           uint8_t out[static KITH_RELAY_BIND_SIZE])
{
    kith_writer w = kith_writer_of(out, KITH_RELAY_BIND_SIZE);
    kith_write_u8(&w, KITH_RELAY_UDP_BIND);
    kith_write_bytes(&w, udp_key, KITH_RELAY_UDP_KEY_SIZE);
    kith_write_u64(&w, counter);
}

const uint8_t *kith_relay_read_bind(const void *data, size_t size, uint64_t *counter)
{
    kith_reader r = kith_reader_of(data, size);
    if (kith_read_u8(&r) != KITH_RELAY_UDP_BIND) return NULL;
    const uint8_t *key = kith_read_view(&r, KITH_RELAY_UDP_KEY_SIZE);
    uint64_t number = kith_read_u64(&r);
    if (!kith_reader_done(&r)) return NULL;
    *counter = number;
    return key;
}

size_t kith_relay_write_bound(uint64_t counter, const kith_addr *observed, uint8_t out[static KITH_RELAY_BOUND_MAX])
{
    kith_writer w = kith_writer_of(out, KITH_RELAY_BOUND_MAX);
    kith_write_u8(&w, KITH_RELAY_UDP_BOUND);
    kith_write_u64(&w, counter);
    write_addr(&w, observed);
    return w.bad || !addr_good(observed) ? 0 : kith_writer_size(&w);
}

bool kith_relay_read_bound(const void *data, size_t size, uint64_t *counter, kith_addr *observed)
{
    kith_reader r = kith_reader_of(data, size);
    kith_addr addr;
    if (kith_read_u8(&r) != KITH_RELAY_UDP_BOUND) return false;
    uint64_t number = kith_read_u64(&r);
    if (r.bad || !read_addr(r.at, kith_reader_left(&r), &addr)) return false;
    *counter = number;
    *observed = addr;
    return true;
}
