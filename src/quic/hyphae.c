#include "quic/hyphae.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/noise.h"
#include "quic/keys.h"

#include <string.h>

#define PROTOCOL   "Noise_XX_25519_ChaChaPoly_BLAKE2s"
#define VERSION    1   /* of the handshake: the first byte of a compound payload */
#define EXTRAS_MAX 512 /* bytes of each of the optional pieces of the configuration */
#define QUEUE_MAX  4   /* messages waiting to be sent: at most two at a time are made */

enum { /* messages: the byte after the length */
       MESSAGE_PREAMBLE = 1,
       MESSAGE_NOISE_INITIAL = 2,
       MESSAGE_DEFERRED = 3,
       MESSAGE_NOISE = 4,
       MESSAGE_FINAL_PAYLOAD = 126,
       MESSAGE_FINAL = 127,
};

enum { /* frames of a compound payload */
       FRAME_PADDING = 0,
       FRAME_APPLICATION = 1,
       FRAME_PARAMS = 2,
       FRAME_DEFERRED_HASH = 3,
       FRAME_OPTIONAL = 128, /* and above: skipped when unknown */
};
#define ALLOW(frame) (1u << (frame))

typedef enum step {
    STEP_PREAMBLE,  /* responder */
    STEP_MESSAGE_1, /* responder */
    STEP_PARAMS,    /* responder: waits for kith_hyphae_set_params */
    STEP_MESSAGE_2, /* initiator */
    STEP_DEFERRED,  /* initiator */
    STEP_MESSAGE_3, /* responder */
    STEP_FINAL,     /* both: complete, the peer's last message has not come */
    STEP_DONE,
} step;

typedef struct queued {
    kith_level level;
    uint8_t *data;
    size_t size;
} queued;

struct kith_hyphae {
    bool initiator, has_expected, has_params, has_handshake, complete;
    uint8_t alert;
    step step;
    kith_noise *noise; /* until the handshake is complete */
    uint8_t expected[32], remote[32], hash[32], chaining_key[32], deferred_hash[32];
    uint8_t secrets[KITH_LEVELS][KITH_LEVEL_SECRET_SIZE]; /* HANDSHAKE and ONE_RTT are used */
    kith_ask ask;
    uint8_t *preamble, *first_app, *message_3_app, *final_app;
    size_t preamble_size, first_app_size, message_3_app_size, final_app_size;
    uint8_t remote_params[KITH_HYPHAE_PARAMS_MAX];
    size_t remote_params_size;
    queued queue[QUEUE_MAX];
    size_t queue_first, queue_size;
    uint8_t *taken; /* what output gave last */
    /* The message that is arriving: its length, then its bytes. */
    kith_level level;
    uint8_t prefix[8];
    size_t prefix_size, message_size, message_got;
    uint8_t *message, *payload; /* KITH_HYPHAE_MESSAGE_MAX each, until the peer's last message */
};

typedef struct compound {
    const uint8_t *params, *hash;
    size_t params_size;
    bool has_params, has_hash, has_application;
} compound;

static kith_err fail(kith_hyphae *h, kith_err err)
{
    bool ours = err == KITH_ERR_NOMEM || err == KITH_ERR_INTERNAL || err == KITH_ERR_ARG;
    if (!h->alert) h->alert = ours ? KITH_HYPHAE_ALERT_INTERNAL_ERROR : KITH_HYPHAE_ALERT_HANDSHAKE_FAILURE;
    return err;
}

/* What Noise says about a message of the peer's: whatever is wrong with its bytes is one thing to us. */
static kith_err read_error(kith_err err)
{
    return err == KITH_ERR_NOMEM ? err : err == KITH_ERR_STATE ? KITH_ERR_INTERNAL : KITH_ERR_CRYPTO;
}

/* ---- payloads ---- */

static bool parse_frame(kith_reader *r, uint8_t id, compound *out)
{
    switch (id) {
    case FRAME_PADDING: return true;
    case FRAME_APPLICATION:
        kith_read_view(r, kith_reader_left(r));
        out->has_application = true;
        return true;
    case FRAME_PARAMS: {
        uint64_t size = kith_read_varint(r);
        if (out->has_params || r->bad || size > KITH_HYPHAE_PARAMS_MAX) return false;
        out->has_params = true;
        out->params_size = (size_t)size;
        out->params = kith_read_view(r, out->params_size);
        return !r->bad;
    }
    case FRAME_DEFERRED_HASH:
        if (out->has_hash || kith_reader_left(r) != KITH_HASH_SIZE) return false;
        out->has_hash = true;
        out->hash = kith_read_view(r, KITH_HASH_SIZE);
        return true;
    default: return false;
    }
}

/* `allowed` is a set of ALLOW(frame). */
static bool parse_compound(const uint8_t *data, size_t size, unsigned allowed, compound *out)
{
    kith_reader r = kith_reader_of(data, size);
    *out = (compound){0};
    if (kith_read_u8(&r) != VERSION) return false;
    while (kith_reader_left(&r)) {
        uint8_t id = kith_read_u8(&r);
        if (id >= FRAME_OPTIONAL) {
            uint64_t skip = kith_read_varint(&r);
            if (r.bad || skip > kith_reader_left(&r)) return false;
            kith_read_view(&r, (size_t)skip);
            continue;
        }
        if (id > FRAME_DEFERRED_HASH || !(allowed & ALLOW(id)) || !parse_frame(&r, id, out)) return false;
    }
    return !r.bad;
}

/* version || transport parameters [|| application bytes] */
static void write_compound(kith_writer *w, const void *params, size_t size, const uint8_t *app, size_t app_size)
{
    kith_write_u8(w, VERSION);
    kith_write_u8(w, FRAME_PARAMS);
    kith_write_varint(w, size);
    kith_write_bytes(w, params, size);
    if (!app_size) return;
    kith_write_u8(w, FRAME_APPLICATION);
    kith_write_bytes(w, app, app_size);
}

/* ---- sending ---- */

/* Queue length || id || body. */
static kith_err send(kith_hyphae *h, kith_level level, uint8_t id, const void *body, size_t size)
{
    if (size + 1 > KITH_HYPHAE_SENT_MAX || h->queue_first + h->queue_size == QUEUE_MAX) return KITH_ERR_INTERNAL;
    size_t whole = kith_varint_size(size + 1) + 1 + size;
    uint8_t *data = kith_malloc(whole);
    if (!data) return KITH_ERR_NOMEM;
    kith_writer w = kith_writer_of(data, whole);
    kith_write_varint(&w, size + 1);
    kith_write_u8(&w, id);
    kith_write_bytes(&w, body, size);
    h->queue[h->queue_first + h->queue_size++] = (queued){level, data, whole};
    return KITH_OK;
}

static kith_err send_noise(kith_hyphae *h, kith_level level, uint8_t id, const void *payload, size_t size)
{
    uint8_t message[KITH_HYPHAE_SENT_MAX];
    size_t message_size;
    kith_err err = kith_noise_write(h->noise, payload, size, message, sizeof message - 1, &message_size);
    return err ? err : send(h, level, id, message, message_size);
}

static kith_err send_final(kith_hyphae *h)
{
    uint8_t payload[2 + EXTRAS_MAX] = {VERSION, FRAME_APPLICATION};
    if (!h->final_app_size) return send(h, KITH_LEVEL_ONE_RTT, MESSAGE_FINAL, NULL, 0);
    memcpy(payload + 2, h->final_app, h->final_app_size);
    return send(h, KITH_LEVEL_ONE_RTT, MESSAGE_FINAL_PAYLOAD, payload, 2 + h->final_app_size);
}

bool kith_hyphae_output(kith_hyphae *h, kith_level *level, const uint8_t **data, size_t *size)
{
    kith_free(h->taken);
    h->taken = NULL;
    if (!h->queue_size || h->alert) return false;
    queued *q = &h->queue[h->queue_first++];
    if (--h->queue_size == 0) h->queue_first = 0;
    *level = q->level;
    *data = h->taken = q->data;
    *size = q->size;
    q->data = NULL;
    return true;
}

/* ---- secrets ---- */

static void take_secret(kith_hyphae *h, kith_level level)
{
    kith_noise_chaining_key(h->noise, h->chaining_key);
    kith_noise_hash(h->noise, h->hash);
    kith_ask_start(&h->ask, h->chaining_key, h->hash);
    kith_ask_next(&h->ask, h->secrets[level]);
}

/* After message 3: the Noise state has served. */
static kith_err completed(kith_hyphae *h)
{
    if (!kith_noise_remote_static(h->noise, h->remote)) return KITH_ERR_INTERNAL;
    take_secret(h, KITH_LEVEL_ONE_RTT);
    kith_noise_free(h->noise);
    h->noise = NULL;
    kith_err err = send_final(h);
    if (err) return err;
    h->complete = true;
    h->step = STEP_FINAL;
    return KITH_OK;
}

/* ---- receiving, one function per message ---- */

static void keep_params(kith_hyphae *h, const compound *c)
{
    if (c->params_size) memcpy(h->remote_params, c->params, c->params_size);
    h->remote_params_size = c->params_size;
    h->has_params = true;
}

static kith_err on_preamble(kith_hyphae *h, const uint8_t *body, size_t size)
{
    if (size != h->preamble_size || memcmp(body, h->preamble, size) != 0) return KITH_ERR_PROTOCOL;
    h->step = STEP_MESSAGE_1;
    return KITH_OK;
}

static kith_err on_message_1(kith_hyphae *h, const uint8_t *body, size_t size)
{
    compound c;
    size_t payload_size;
    kith_err err = kith_noise_read(h->noise, body, size, h->payload, KITH_HYPHAE_MESSAGE_MAX, &payload_size);
    if (err) return read_error(err);
    if (!parse_compound(h->payload, payload_size, ALLOW(FRAME_PADDING) | ALLOW(FRAME_APPLICATION) | ALLOW(FRAME_PARAMS),
                        &c) ||
        !c.has_params)
        return KITH_ERR_PROTOCOL;
    keep_params(h, &c);
    h->step = STEP_PARAMS;
    return KITH_OK;
}

static kith_err on_message_2(kith_hyphae *h, const uint8_t *body, size_t size)
{
    compound c;
    size_t payload_size;
    kith_err err = kith_noise_read(h->noise, body, size, h->payload, KITH_HYPHAE_MESSAGE_MAX, &payload_size);
    if (err) return read_error(err);
    if (!kith_noise_remote_static(h->noise, h->remote)) return KITH_ERR_INTERNAL;
    if (h->has_expected && memcmp(h->remote, h->expected, sizeof h->expected) != 0) return KITH_ERR_WRONG_DEVICE;
    if (!parse_compound(h->payload, payload_size, ALLOW(FRAME_PADDING) | ALLOW(FRAME_DEFERRED_HASH), &c) || !c.has_hash)
        return KITH_ERR_PROTOCOL;
    memcpy(h->deferred_hash, c.hash, sizeof h->deferred_hash);
    take_secret(h, KITH_LEVEL_HANDSHAKE);
    h->has_handshake = true;
    h->step = STEP_DEFERRED;
    return KITH_OK;
}

static kith_err on_deferred(kith_hyphae *h, const uint8_t *body, size_t size)
{
    compound c;
    uint8_t hash[KITH_HASH_SIZE];
    kith_blake2s(&(kith_bytes){body, size}, 1, hash);
    if (memcmp(hash, h->deferred_hash, sizeof hash) != 0) return KITH_ERR_CRYPTO;
    if (!parse_compound(body, size, ALLOW(FRAME_PADDING) | ALLOW(FRAME_APPLICATION) | ALLOW(FRAME_PARAMS), &c) ||
        !c.has_params)
        return KITH_ERR_PROTOCOL;
    keep_params(h, &c);
    kith_err err = send_noise(h, KITH_LEVEL_HANDSHAKE, MESSAGE_NOISE, h->message_3_app, h->message_3_app_size);
    return err ? err : completed(h);
}

static kith_err on_message_3(kith_hyphae *h, const uint8_t *body, size_t size)
{
    size_t payload_size;
    kith_err err = kith_noise_read(h->noise, body, size, h->payload, KITH_HYPHAE_MESSAGE_MAX, &payload_size);
    return err ? read_error(err) : completed(h);
}

static kith_err on_final(kith_hyphae *h, uint8_t id, const uint8_t *body, size_t size)
{
    compound c;
    if (id == MESSAGE_FINAL && size) return KITH_ERR_PROTOCOL;
    if (id == MESSAGE_FINAL_PAYLOAD &&
        (!parse_compound(body, size, ALLOW(FRAME_APPLICATION), &c) || !c.has_application))
        return KITH_ERR_PROTOCOL;
    h->step = STEP_DONE;
    return KITH_OK;
}

static void free_buffers(kith_hyphae *h)
{
    if (h->message) kith_wipe(h->message, 2 * KITH_HYPHAE_MESSAGE_MAX);
    kith_free(h->message);
    h->message = h->payload = NULL;
}

static kith_err on_message(kith_hyphae *h)
{
    uint8_t id = h->message[0];
    const uint8_t *body = h->message + 1;
    size_t size = h->message_size - 1;
    if (h->step == STEP_PREAMBLE && id == MESSAGE_PREAMBLE && h->level == KITH_LEVEL_INITIAL)
        return on_preamble(h, body, size);
    if (h->step == STEP_MESSAGE_1 && id == MESSAGE_NOISE_INITIAL && h->level == KITH_LEVEL_INITIAL)
        return on_message_1(h, body, size);
    if (h->step == STEP_MESSAGE_2 && id == MESSAGE_NOISE_INITIAL && h->level == KITH_LEVEL_INITIAL)
        return on_message_2(h, body, size);
    if (h->step == STEP_DEFERRED && id == MESSAGE_DEFERRED && h->level == KITH_LEVEL_HANDSHAKE)
        return on_deferred(h, body, size);
    if (h->step == STEP_MESSAGE_3 && id == MESSAGE_NOISE && h->level == KITH_LEVEL_HANDSHAKE)
        return on_message_3(h, body, size);
    if (h->step == STEP_FINAL && (id == MESSAGE_FINAL || id == MESSAGE_FINAL_PAYLOAD) && h->level == KITH_LEVEL_ONE_RTT)
        return on_final(h, id, body, size);
    return KITH_ERR_PROTOCOL;
}

/* ---- framing ---- */

/* Take bytes of the length; true once it is complete and within our limit (h->message_size), or *err. */
static bool take_length(kith_hyphae *h, kith_reader *r, kith_err *err)
{
    while (h->prefix_size == 0 || h->prefix_size < (size_t)1 << (h->prefix[0] >> 6)) {
        if (!kith_reader_left(r)) return false;
        h->prefix[h->prefix_size++] = kith_read_u8(r);
    }
    kith_reader prefix = kith_reader_of(h->prefix, h->prefix_size);
    uint64_t size = kith_read_varint(&prefix);
    if (size == 0 || size > KITH_HYPHAE_MESSAGE_MAX) {
        *err = KITH_ERR_PROTOCOL;
        return false;
    }
    h->message_size = (size_t)size;
    return true;
}

static kith_err take_bytes(kith_hyphae *h, kith_reader *r)
{
    kith_err err = KITH_OK;
    if (!h->message_size && !take_length(h, r, &err)) return err;
    size_t want = h->message_size - h->message_got;
    if (want > kith_reader_left(r)) want = kith_reader_left(r);
    kith_read_copy(r, h->message + h->message_got, want);
    h->message_got += want;
    if (h->message_got < h->message_size) return KITH_OK;
    err = on_message(h);
    h->prefix_size = h->message_size = h->message_got = 0;
    if (h->step == STEP_DONE) free_buffers(h);
    return err;
}

kith_err kith_hyphae_input(kith_hyphae *h, kith_level level, const void *data, size_t size)
{
    if (h->alert) return KITH_ERR_STATE;
    /* A message does not straddle levels, and levels only go up. */
    if (level != h->level && (h->prefix_size || level < h->level)) return fail(h, KITH_ERR_PROTOCOL);
    h->level = level;
    kith_reader r = kith_reader_of(data, size);
    while (kith_reader_left(&r)) {
        kith_err err = h->step == STEP_DONE ? KITH_ERR_PROTOCOL : take_bytes(h, &r);
        if (err) return fail(h, err);
    }
    return KITH_OK;
}

/* ---- the responder's half in between ---- */

bool kith_hyphae_wants_params(const kith_hyphae *h) { return h->step == STEP_PARAMS && !h->alert; }

kith_err kith_hyphae_set_params(kith_hyphae *h, const void *params, size_t size)
{
    if (!kith_hyphae_wants_params(h)) return KITH_ERR_STATE;
    if (size > KITH_HYPHAE_PARAMS_MAX) return fail(h, KITH_ERR_ARG);
    uint8_t deferred[KITH_HYPHAE_SENT_MAX], payload[2 + KITH_HASH_SIZE] = {VERSION, FRAME_DEFERRED_HASH};
    kith_writer w = kith_writer_of(deferred, sizeof deferred);
    write_compound(&w, params, size, h->first_app, h->first_app_size);
    size_t deferred_size = kith_writer_size(&w);
    if (w.bad) return fail(h, KITH_ERR_INTERNAL);
    kith_blake2s(&(kith_bytes){deferred, deferred_size}, 1, payload + 2);
    kith_err err = send_noise(h, KITH_LEVEL_INITIAL, MESSAGE_NOISE_INITIAL, payload, sizeof payload);
    if (err) return fail(h, err);
    take_secret(h, KITH_LEVEL_HANDSHAKE);
    h->has_handshake = true;
    err = send(h, KITH_LEVEL_HANDSHAKE, MESSAGE_DEFERRED, deferred, deferred_size);
    if (err) return fail(h, err);
    h->step = STEP_MESSAGE_3;
    return KITH_OK;
}

/* ---- making and ending ---- */

static kith_err copy_piece(kith_bytes piece, uint8_t **out, size_t *out_size)
{
    if (piece.size > EXTRAS_MAX) return KITH_ERR_ARG;
    if (!piece.size) return KITH_OK;
    *out = kith_memdup(piece.data, piece.size);
    *out_size = piece.size;
    return *out ? KITH_OK : KITH_ERR_NOMEM;
}

static kith_err make_noise(kith_hyphae *h, const kith_hyphae_config *config)
{
    uint8_t prologue[sizeof KITH_HYPHAE_LABEL - 1 + 2 + 2 * EXTRAS_MAX];
    if (config->prologue.size > EXTRAS_MAX) return KITH_ERR_ARG;
    kith_writer w = kith_writer_of(prologue, sizeof prologue);
    kith_write_bytes(&w, KITH_HYPHAE_LABEL, sizeof KITH_HYPHAE_LABEL - 1);
    kith_write_u8(&w, (uint8_t)h->preamble_size);
    kith_write_u8(&w, (uint8_t)(h->preamble_size >> 8));
    kith_write_bytes(&w, h->preamble, h->preamble_size);
    kith_write_bytes(&w, config->prologue.data, config->prologue.size);
    return kith_noise_new(&(kith_noise_config){.protocol = PROTOCOL,
                                               .initiator = config->initiator,
                                               .prologue = {prologue, kith_writer_size(&w)},
                                               .static_secret = config->static_secret,
                                               .ephemeral_secret = config->ephemeral_secret},
                          &h->noise);
}

static kith_err start_initiator(kith_hyphae *h, const kith_hyphae_config *config)
{
    uint8_t payload[KITH_HYPHAE_SENT_MAX];
    kith_err err = KITH_OK;
    if (config->params.size > KITH_HYPHAE_PARAMS_MAX) return KITH_ERR_ARG;
    if (h->preamble_size) err = send(h, KITH_LEVEL_INITIAL, MESSAGE_PREAMBLE, h->preamble, h->preamble_size);
    if (err) return err;
    kith_writer w = kith_writer_of(payload, sizeof payload);
    write_compound(&w, config->params.data, config->params.size, h->first_app, h->first_app_size);
    return send_noise(h, KITH_LEVEL_INITIAL, MESSAGE_NOISE_INITIAL, payload, kith_writer_size(&w));
}

kith_err kith_hyphae_new(const kith_hyphae_config *config, kith_hyphae **out)
{
    kith_hyphae *h = kith_calloc(1, sizeof *h);
    if (!h) return KITH_ERR_NOMEM;
    h->initiator = config->initiator;
    if (config->expected_static) {
        h->has_expected = true;
        memcpy(h->expected, config->expected_static, sizeof h->expected);
    }
    h->message = kith_malloc(2 * KITH_HYPHAE_MESSAGE_MAX);
    kith_err err = h->message ? KITH_OK : KITH_ERR_NOMEM;
    if (h->message) h->payload = h->message + KITH_HYPHAE_MESSAGE_MAX;
    if (!err) err = copy_piece(config->preamble, &h->preamble, &h->preamble_size);
    if (!err) err = copy_piece(config->first_app, &h->first_app, &h->first_app_size);
    if (!err) err = copy_piece(config->message_3_app, &h->message_3_app, &h->message_3_app_size);
    if (!err) err = copy_piece(config->final_app, &h->final_app, &h->final_app_size);
    if (!err) err = make_noise(h, config);
    if (!err && h->initiator) err = start_initiator(h, config);
    if (err) {
        kith_hyphae_free(h);
        return err;
    }
    h->step = h->initiator ? STEP_MESSAGE_2 : h->preamble_size ? STEP_PREAMBLE : STEP_MESSAGE_1;
    *out = h;
    return KITH_OK;
}

void kith_hyphae_free(kith_hyphae *h)
{
    if (!h) return;
    free_buffers(h);
    kith_noise_free(h->noise);
    for (size_t i = 0; i < QUEUE_MAX; i++) kith_free(h->queue[i].data);
    kith_free(h->taken);
    kith_free(h->preamble);
    kith_free(h->first_app);
    kith_free(h->message_3_app);
    kith_free(h->final_app);
    kith_wipe(h, sizeof *h);
    kith_free(h);
}

/* ---- what is known ---- */

uint8_t kith_hyphae_alert(const kith_hyphae *h) { return h->alert; }
bool kith_hyphae_complete(const kith_hyphae *h) { return h->complete; }
bool kith_hyphae_final_received(const kith_hyphae *h) { return h->step == STEP_DONE; }
void kith_hyphae_remote_static(const kith_hyphae *h, uint8_t out[static 32]) { memcpy(out, h->remote, 32); }
void kith_hyphae_hash(const kith_hyphae *h, uint8_t out[static 32]) { memcpy(out, h->hash, 32); }

bool kith_hyphae_remote_params(const kith_hyphae *h, const uint8_t **data, size_t *size)
{
    *data = h->remote_params;
    *size = h->remote_params_size;
    return h->has_params;
}

bool kith_hyphae_secret(const kith_hyphae *h, kith_level level, uint8_t out[static KITH_LEVEL_SECRET_SIZE])
{
    bool there = (level == KITH_LEVEL_HANDSHAKE && h->has_handshake) || (level == KITH_LEVEL_ONE_RTT && h->complete);
    if (there) memcpy(out, h->secrets[level], KITH_LEVEL_SECRET_SIZE);
    return there;
}

void kith_hyphae_next_secret(kith_hyphae *h, uint8_t out[static KITH_LEVEL_SECRET_SIZE])
{
    kith_ask_next(&h->ask, out);
}

void kith_hyphae_export(const kith_hyphae *h, const char *label, uint8_t out[static 3][32])
{
    kith_hkdf_blake2s(h->chaining_key, h->hash, sizeof h->hash, label, strlen(label), 3, out);
}
