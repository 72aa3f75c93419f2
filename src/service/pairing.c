#include "service/pairing.h"

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/blake3.h"
#include "crypto/cpace.h"
#include "service/wire_error.h"
#include "wire/cbor.h"

#include <string.h>

enum message_type { START = 1, SHARE = 2, PROOF = 3, ANSWER = 4, IDENTITY = 5, STORED = 6, FAIL = 7 };

/* What may come next from the peer. */
typedef enum state {
    AWAIT_START, /* host */
    AWAIT_GO,    /* host: the owner decides whether the attempt may be made */
    AWAIT_SHARE, /* joiner */
    AWAIT_PROOF,
    AWAIT_ANSWER,
    AWAIT_IDENTITY,
    AWAIT_STORED,
    FINISHED,
    FAILED,
} state;

#define EVENTS_MAX  4
#define HEADER_SIZE 3 /* type, two-byte varint length at most */

struct kith_pairing {
    bool host;
    kith_pairing_kind kind;
    kith_signer signer;
    kith_hello self, peer;
    uint8_t handshake_hash[KITH_BINDING_SIZE];
    kith_cpace *cpace;
    uint8_t peer_share[KITH_CPACE_SHARE_SIZE];
    uint8_t seal_key[2][KITH_AEAD_KEY_SIZE]; /* [0] by the joiner, [1] by the host */

    state state;
    bool proven, answered, peer_answered, pinned_asked, self_stored, peer_stored;
    bool fin_due, fin_sent, peer_fin, by_peer, kind_differs;
    kith_attempt attempt;
    kith_err error;

    uint8_t in[KITH_PAIR_MESSAGE_MAX + HEADER_SIZE];
    size_t in_size;
    uint8_t out[KITH_PAIR_OUTPUT_MAX];
    size_t out_size;
    kith_pairing_event events[EVENTS_MAX];
    size_t event_count;
};

static const char seal_label[] = "kith 2026-11 pair identity seal v1";

static void emit(kith_pairing *p, kith_pairing_event event)
{
    if (p->event_count < EVENTS_MAX) p->events[p->event_count++] = event;
}

/* Queue one message.  The few messages of one side always fit; should one not, the pairing fails instead of losing it.
 */
static void send(kith_pairing *p, enum message_type type, const void *body, size_t size)
{
    kith_writer w = kith_writer_of(p->out + p->out_size, sizeof p->out - p->out_size);
    kith_write_varint(&w, type);
    kith_write_varint(&w, size);
    kith_write_bytes(&w, body, size);
    if (w.bad) {
        p->state = FAILED;
        p->error = KITH_ERR_INTERNAL;
        return;
    }
    p->out_size += kith_writer_size(&w);
}

/* { 1: bytes } */
static void send_bytes(kith_pairing *p, enum message_type type, const void *data, size_t size)
{
    uint8_t body[KITH_PAIR_MESSAGE_MAX];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, 1);
    kith_cbor_write_uint(&w, 1);
    kith_cbor_write_bytes(&w, data, size);
    send(p, type, body, kith_writer_size(&w));
}

/* { 1: unsigned [, 2: bytes] } */
static void send_number(kith_pairing *p, enum message_type type, uint64_t value, const void *data, size_t size)
{
    uint8_t body[KITH_PAIR_MESSAGE_MAX];
    kith_writer w = kith_writer_of(body, sizeof body);
    kith_cbor_write_map(&w, data ? 2 : 1);
    kith_cbor_write_uint(&w, 1);
    kith_cbor_write_uint(&w, value);
    if (data) {
        kith_cbor_write_uint(&w, 2);
        kith_cbor_write_bytes(&w, data, size);
    }
    send(p, type, body, kith_writer_size(&w));
}

static void end_with(kith_pairing *p, kith_err why, bool by_peer)
{
    if (p->state == FAILED || p->state == FINISHED) return;
    if (!by_peer) send_number(p, FAIL, kith_wire_error_of(why), NULL, 0);
    p->state = FAILED;
    p->error = why;
    p->by_peer = by_peer;
    p->fin_due = true;
    emit(p, KITH_PAIR_FAILED);
}

void kith_pairing_fail(kith_pairing *pair, kith_err why) { end_with(pair, why, false); }
void kith_pairing_gone(kith_pairing *pair, kith_err why) { end_with(pair, why, true); }

kith_err kith_pairing_new(const kith_pairing_config *config, kith_pairing **out)
{
    uint8_t ci[64], kind = (uint8_t)config->kind;
    char secret[KITH_CODE_TEXT_SIZE];
    kith_pairing *p = kith_calloc(1, sizeof *p);
    if (!p) return KITH_ERR_NOMEM;
    p->host = config->host;
    p->kind = config->kind;
    p->signer = *config->signer;
    p->self = *config->self;
    p->peer = *config->peer;
    p->state = config->host ? AWAIT_START : AWAIT_SHARE;
    memcpy(p->handshake_hash, config->handshake_hash, sizeof p->handshake_hash);
    memcpy(ci, config->host ? config->peer->fingerprint : config->signer->fingerprint, 32);
    memcpy(ci + 32, config->host ? config->signer->fingerprint : config->peer->fingerprint, 32);
    kith_words_text(config->words, secret);
    kith_err err = kith_cpace_new(&(kith_cpace_config){.initiator = !config->host,
                                                       .prs = {secret, strlen(secret)},
                                                       .ci = {ci, sizeof ci},
                                                       .sid = {config->handshake_hash, KITH_BINDING_SIZE},
                                                       .ad = {&kind, 1},
                                                       .scalar = config->random},
                                  &p->cpace);
    kith_wipe(secret, sizeof secret);
    if (err) {
        kith_pairing_free(p);
        return err;
    }
    if (!p->host) {
        uint8_t share[KITH_CPACE_SHARE_SIZE];
        kith_cpace_share(p->cpace, share);
        send_number(p, START, kind, share, sizeof share);
    }
    *out = p;
    return KITH_OK;
}

void kith_pairing_free(kith_pairing *pair)
{
    if (!pair) return;
    kith_cpace_free(pair->cpace);
    kith_wipe(pair, sizeof *pair);
    kith_free(pair);
}

static void prove(kith_pairing *p)
{
    uint8_t tag[KITH_CPACE_TAG_SIZE];
    if (kith_cpace_tag(p->cpace, tag))
        end_with(p, KITH_ERR_INTERNAL, false);
    else
        send_bytes(p, PROOF, tag, sizeof tag);
}

/* Take the peer's share: an invalid one is an attack, not a typing error. */
static bool finish_exchange(kith_pairing *p)
{
    uint8_t kind = (uint8_t)p->kind;
    if (!kith_cpace_finish(p->cpace, p->peer_share, (kith_bytes){&kind, 1})) return true;
    end_with(p, KITH_ERR_PROTOCOL, false);
    return false;
}

static void take_start(kith_pairing *p, uint64_t kind, const uint8_t *share)
{
    memcpy(p->peer_share, share, sizeof p->peer_share);
    if (kind != (uint64_t)p->kind) {
        p->kind_differs = true;
        end_with(p, KITH_ERR_ARG, false);
        return;
    }
    p->state = AWAIT_GO;
    emit(p, KITH_PAIR_STARTED);
}

void kith_pairing_go(kith_pairing *pair)
{
    uint8_t share[KITH_CPACE_SHARE_SIZE];
    if (pair->state != AWAIT_GO || !finish_exchange(pair)) return;
    kith_cpace_share(pair->cpace, share);
    send_bytes(pair, SHARE, share, sizeof share);
    pair->state = AWAIT_PROOF;
}

static void take_proof(kith_pairing *p, const uint8_t *tag)
{
    uint8_t isk[KITH_CPACE_ISK_SIZE], keys[sizeof p->seal_key];
    if (kith_cpace_check(p->cpace, tag)) {
        p->attempt = KITH_ATTEMPT_WRONG;
        end_with(p, KITH_ERR_CODE, false);
        return;
    }
    if (kith_cpace_isk(p->cpace, isk)) {
        end_with(p, KITH_ERR_INTERNAL, false);
        return;
    }
    p->attempt = KITH_ATTEMPT_RIGHT;
    kith_blake3_derive(seal_label, isk, sizeof isk, keys, sizeof keys);
    memcpy(p->seal_key, keys, sizeof keys);
    kith_wipe(isk, sizeof isk);
    kith_wipe(keys, sizeof keys);
    if (p->host) prove(p);
    p->state = AWAIT_ANSWER;
    emit(p, KITH_PAIR_PROVEN);
}

/* A payload like hello's, signed for this pairing, sealed under our direction's key: one message per key, so nonce 0.
 */
static void send_identity(kith_pairing *p)
{
    static const uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    uint8_t payload[KITH_MESSAGE_PAYLOAD_MAX], message[KITH_MESSAGE_MAX + KITH_AEAD_TAG_SIZE];
    kith_message_context context = p->host ? KITH_MESSAGE_PAIR_HOST : KITH_MESSAGE_PAIR_JOINER;
    size_t size;
    kith_err err = kith_hello_payload_write(&p->self, p->signer.public_key, payload, sizeof payload, &size);
    if (!err)
        err =
            kith_message_sign(&p->signer, context, p->handshake_hash, payload, size, message, KITH_MESSAGE_MAX, &size);
    if (!err) err = kith_aead_seal_once(p->seal_key[p->host], nonce, NULL, 0, message, size, message);
    if (err)
        end_with(p, err, false);
    else
        send_bytes(p, IDENTITY, message, size + KITH_AEAD_TAG_SIZE);
}

static kith_err check_identity(kith_pairing *p, const uint8_t *sealed, size_t size)
{
    static const uint8_t nonce[KITH_AEAD_NONCE_SIZE];
    uint8_t plain[KITH_PAIR_MESSAGE_MAX];
    kith_message message;
    kith_hello hello = {0};
    if (size < KITH_AEAD_TAG_SIZE || size > sizeof plain) return KITH_ERR_FORMAT;
    kith_err err = kith_aead_open_once(p->seal_key[!p->host], nonce, NULL, 0, sealed, size, plain);
    if (!err) err = kith_message_parse(plain, size - KITH_AEAD_TAG_SIZE, &message);
    if (!err) err = kith_hello_payload_read(message.payload, message.payload_size, &hello);
    kith_message_context context = p->host ? KITH_MESSAGE_PAIR_JOINER : KITH_MESSAGE_PAIR_HOST;
    if (!err) err = kith_message_verify(&message, context, p->handshake_hash, hello.public_key);
    if (!err && memcmp(message.fingerprint, p->peer.fingerprint, sizeof message.fingerprint) != 0)
        err = KITH_ERR_WRONG_DEVICE;
    return err;
}

/* Both said yes: identities go out. */
static void both_answered(kith_pairing *p)
{
    if (!p->answered || !p->peer_answered || p->state != AWAIT_ANSWER) return;
    p->state = AWAIT_IDENTITY;
    emit(p, KITH_PAIR_AGREED);
    send_identity(p);
}

void kith_pairing_answer(kith_pairing *pair, bool yes)
{
    if (pair->state != AWAIT_ANSWER || pair->answered) return;
    if (!yes) {
        end_with(pair, KITH_ERR_DECLINED, false);
        return;
    }
    pair->answered = true;
    send_number(pair, ANSWER, 1, NULL, 0);
    both_answered(pair);
}

static void both_stored(kith_pairing *p)
{
    if (!p->self_stored || !p->peer_stored || p->state != AWAIT_STORED) return;
    p->state = FINISHED;
    p->fin_due = true;
    emit(p, KITH_PAIR_DONE);
}

void kith_pairing_stored(kith_pairing *pair, kith_err result)
{
    if (pair->state != AWAIT_STORED || pair->self_stored) return;
    if (result) {
        end_with(pair, result, false);
        return;
    }
    pair->self_stored = true;
    send(pair, STORED, "\xa0", 1); /* an empty map */
    both_stored(pair);
}

/* One whole message.  Returns false when it is not what this state allows. */
static bool take_message(kith_pairing *p, uint64_t type, const uint8_t *body, size_t size)
{
    uint64_t number = 0;
    size_t bytes_size = 0;
    const uint8_t *bytes = NULL;
    bool numbered = type == START || type == ANSWER || type == FAIL;
    kith_cbor_reader r = kith_cbor_reader_of(body, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (numbered && kith_cbor_need(&r, &walk, 1)) number = kith_cbor_read_uint(&r);
    bool has_bytes = type == START || type == SHARE || type == PROOF || type == IDENTITY;
    if (has_bytes && kith_cbor_need(&r, &walk, numbered ? 2 : 1)) bytes = kith_cbor_read_bytes(&r, &bytes_size);
    kith_cbor_leave(&r, &walk);
    if (!kith_cbor_done(&r)) return false;

    switch (type) {
    case START:
        if (p->state != AWAIT_START || bytes_size != KITH_CPACE_SHARE_SIZE) return false;
        take_start(p, number, bytes);
        return true;
    case SHARE:
        if (p->state != AWAIT_SHARE || bytes_size != KITH_CPACE_SHARE_SIZE) return false;
        memcpy(p->peer_share, bytes, sizeof p->peer_share);
        if (!finish_exchange(p)) return true;
        p->state = AWAIT_PROOF;
        prove(p);
        return true;
    case PROOF:
        if (p->state != AWAIT_PROOF || bytes_size != KITH_CPACE_TAG_SIZE) return false;
        take_proof(p, bytes);
        return true;
    case ANSWER:
        if (p->state != AWAIT_ANSWER || p->peer_answered || number != 1) return false;
        p->peer_answered = true;
        both_answered(p);
        return true;
    case IDENTITY:
        if (p->state != AWAIT_IDENTITY || check_identity(p, bytes, bytes_size)) return false;
        p->state = AWAIT_STORED;
        emit(p, KITH_PAIR_PIN);
        return true;
    case STORED:
        if (p->state != AWAIT_STORED || p->peer_stored) return false;
        p->peer_stored = true;
        both_stored(p);
        return true;
    case FAIL:
        /* The host says CODE when our proof was wrong: our words or, with a man in the middle, his guess. */
        end_with(p, kith_wire_error_read(number), true);
        return true;
    default: return false;
    }
}

/* The next whole message at the start of `in`: its type, body and size; 0 when more bytes are needed; SIZE_MAX when it
 * is wrong. */
static size_t next_message(kith_pairing *p, uint64_t *type, const uint8_t **body, size_t *size)
{
    kith_reader r = kith_reader_of(p->in, p->in_size);
    *type = kith_read_varint(&r);
    uint64_t length = kith_read_varint(&r);
    if (r.bad) return 0;
    if (length > KITH_PAIR_MESSAGE_MAX || *type > FAIL) return SIZE_MAX;
    *body = kith_read_view(&r, (size_t)length);
    if (r.bad) return 0;
    *size = (size_t)length;
    return (size_t)(r.at - p->in);
}

void kith_pairing_input(kith_pairing *pair, const void *data, size_t size, bool fin)
{
    const uint8_t *at = data;
    while (pair->state != FAILED && pair->state != FINISHED) {
        size_t room = sizeof pair->in - pair->in_size, take = size < room ? size : room, body_size;
        uint64_t type;
        const uint8_t *body;
        if (take) {
            memcpy(pair->in + pair->in_size, at, take);
            pair->in_size += take;
            at += take;
            size -= take;
        }
        size_t used = next_message(pair, &type, &body, &body_size);
        if (used == 0) break;
        if (used == SIZE_MAX || !take_message(pair, type, body, body_size)) {
            end_with(pair, KITH_ERR_PROTOCOL, false);
            break;
        }
        pair->in_size -= used;
        memmove(pair->in, pair->in + used, pair->in_size);
    }
    if (fin) pair->peer_fin = true;
    if (pair->peer_fin) end_with(pair, KITH_ERR_CLOSED, true); /* does nothing once it has ended */
}

size_t kith_pairing_output(kith_pairing *pair, uint8_t *out, size_t cap, bool *fin)
{
    size_t size = pair->out_size < cap ? pair->out_size : cap;
    memcpy(out, pair->out, size);
    pair->out_size -= size;
    memmove(pair->out, pair->out + size, pair->out_size);
    *fin = pair->fin_due && !pair->fin_sent && pair->out_size == 0;
    if (*fin) pair->fin_sent = true;
    return size;
}

kith_pairing_event kith_pairing_take_event(kith_pairing *pair)
{
    if (!pair->event_count) return KITH_PAIR_NOTHING;
    kith_pairing_event event = pair->events[0];
    pair->event_count--;
    memmove(pair->events, pair->events + 1, pair->event_count * sizeof *pair->events);
    return event;
}

kith_err kith_pairing_error(const kith_pairing *pair) { return pair->error; }
bool kith_pairing_failed_by_peer(const kith_pairing *pair) { return pair->by_peer; }
kith_attempt kith_pairing_attempt(const kith_pairing *pair) { return pair->attempt; }
bool kith_pairing_kind_differs(const kith_pairing *pair) { return pair->kind_differs; }
