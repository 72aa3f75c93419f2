/* CRYPTO bytes from a hostile peer, by level and in any pieces.  So that what is sealed is reached, too, the peer can
 * be one that speaks Noise rightly and puts the input's bytes into the payloads.
 *
 *     input: mode, then pieces { level 0-3 in the low bits of a byte, size, bytes } or payload bytes */
#include "quic/hyphae.h"

#include "base/buf.h"
#include "crypto/keys.h"
#include "crypto/noise.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t static_a[32] = {1, 2}, static_b[32] = {3, 4}, ephemeral_a[32] = {5, 6}, ephemeral_b[32] = {7, 8};
static const uint8_t params[16] = "some parameters";

static kith_hyphae *make(bool initiator)
{
    kith_hyphae *h = NULL;
    if (kith_hyphae_new(&(kith_hyphae_config){.initiator = initiator,
                                              .static_secret = initiator ? static_a : static_b,
                                              .ephemeral_secret = initiator ? ephemeral_a : ephemeral_b,
                                              .params = {params, initiator ? sizeof params : 0}},
                        &h))
        abort();
    return h;
}

/* Take what it says; complete means that it has secrets and knows the peer. */
static size_t drain(kith_hyphae *h, uint8_t *out, size_t room)
{
    kith_level level;
    const uint8_t *message;
    size_t size, last = 0;
    uint8_t secret[32];
    if (kith_hyphae_wants_params(h) && kith_hyphae_set_params(h, params, sizeof params) == KITH_OK &&
        !kith_hyphae_secret(h, KITH_LEVEL_HANDSHAKE, secret))
        abort();
    while (kith_hyphae_output(h, &level, &message, &size)) {
        if (kith_hyphae_alert(h) || size > room) abort();
        memcpy(out, message, size);
        last = size;
    }
    if (kith_hyphae_complete(h) != kith_hyphae_secret(h, KITH_LEVEL_ONE_RTT, secret)) abort();
    return last;
}

static void feed(kith_hyphae *h, kith_level level, const uint8_t *data, size_t size)
{
    bool failed = kith_hyphae_alert(h);
    kith_err err = kith_hyphae_input(h, level, data, size);
    uint8_t alert = kith_hyphae_alert(h);
    if ((err != KITH_OK) != (alert != 0)) abort();
    if (failed && err != KITH_ERR_STATE) abort();
}

static void raw(kith_hyphae *h, kith_reader *r)
{
    uint8_t out[8192];
    while (kith_reader_left(r)) {
        uint8_t head = kith_read_u8(r);
        size_t size = (size_t)(head >> 2) * 4;
        if (size > kith_reader_left(r)) size = kith_reader_left(r);
        feed(h, (kith_level)(head & 3) % KITH_LEVELS, kith_read_view(r, size), size);
        drain(h, out, sizeof out);
    }
}

static kith_noise *noise_as(bool initiator)
{
    static const char prologue[22] = "hyphae-h-v1.quic-v1.\0";
    kith_noise *noise = NULL;
    if (kith_noise_new(&(kith_noise_config){.protocol = "Noise_XX_25519_ChaChaPoly_BLAKE2s",
                                            .initiator = initiator,
                                            .prologue = {prologue, sizeof prologue},
                                            .static_secret = initiator ? static_a : static_b,
                                            .ephemeral_secret = initiator ? ephemeral_a : ephemeral_b},
                       &noise))
        abort();
    return noise;
}

static void send(kith_hyphae *h, kith_level level, uint8_t id, const uint8_t *body, size_t size)
{
    uint8_t framed[8192];
    kith_writer w = kith_writer_of(framed, sizeof framed);
    kith_write_varint(&w, size + 1);
    kith_write_u8(&w, id);
    kith_write_bytes(&w, body, size);
    if (!w.bad) feed(h, level, framed, kith_writer_size(&w));
}

/* The input is message 1's payload. */
static void to_responder(kith_hyphae *h, const uint8_t *payload, size_t size)
{
    uint8_t message[8192], out[8192];
    size_t message_size;
    kith_noise *noise = noise_as(true);
    if (kith_noise_write(noise, payload, size, message, sizeof message, &message_size) == KITH_OK)
        send(h, KITH_LEVEL_INITIAL, 2, message, message_size);
    drain(h, out, sizeof out);
    kith_noise_free(noise);
}

/* The first byte splits the rest: message 2's payload (with the right hash when it is 0), the deferred payload. */
static void to_initiator(kith_hyphae *h, kith_reader *r)
{
    uint8_t out[8192], message[8192], payload[8192], hash[34] = {1, 3};
    size_t size = drain(h, out, sizeof out), skip = out[0] & 0xc0 ? 3 : 2, payload_size, message_size,
           first = kith_read_u8(r);
    kith_noise *noise = noise_as(false);
    if (kith_noise_read(noise, out + skip, size - skip, payload, sizeof payload, &payload_size)) abort();
    if (first > kith_reader_left(r)) first = kith_reader_left(r);
    const uint8_t *two = kith_read_view(r, first), *deferred = r->at;
    size_t deferred_size = kith_reader_left(r);
    kith_blake2s(&(kith_bytes){deferred, deferred_size}, 1, hash + 2);
    if (kith_noise_write(noise, first ? two : hash, first ? first : sizeof hash, message, sizeof message,
                         &message_size))
        abort();
    send(h, KITH_LEVEL_INITIAL, 2, message, message_size);
    send(h, KITH_LEVEL_HANDSHAKE, 3, deferred, deferred_size);
    drain(h, out, sizeof out);
    kith_noise_free(noise);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_reader r = kith_reader_of(data, size);
    unsigned mode = kith_read_u8(&r);
    kith_hyphae *h = make(mode & 1);
    if (kith_crypto_init()) abort();
    if (mode & 2)
        raw(h, &r);
    else if (mode & 1)
        to_initiator(h, &r);
    else
        to_responder(h, r.at, size < 4000 ? kith_reader_left(&r) : 0);
    kith_hyphae_free(h);
    return 0;
}
