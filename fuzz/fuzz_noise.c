/* Reads arbitrary bytes as a message of a Noise XX handshake whose keys are fixed.  The first byte chooses which
 * message (mod 3), how much room there is for the payload, and whether the bytes are the message itself or are laid
 * over a good one (XOR): a seal of random bytes never opens, and what lies behind it should be reached too. */
#include "crypto/noise.h"

#include <stdlib.h>
#include <string.h>

#define PROTOCOL "Noise_XX_25519_ChaChaPoly_BLAKE2s"

static const uint8_t secrets[2][2][KITH_X25519_SIZE] = {{{0, 1}, {0, 2}},
                                                        {{0, 3}, {0, 4}}}; /* [side][static, ephemeral] */

static void check(bool good)
{
    if (!good) abort();
}

static kith_noise *start(bool initiator)
{
    kith_noise_config config = {
        .protocol = PROTOCOL,
        .initiator = initiator,
        .static_secret = secrets[initiator ? 0 : 1][0],
        .ephemeral_secret = secrets[initiator ? 0 : 1][1],
    };
    kith_noise *noise = NULL;
    check(kith_noise_new(&config, &noise) == KITH_OK);
    return noise;
}

/* Bring both sides to the point where message `n` is written to `message`, of which the size is given back. */
static size_t advance(kith_noise *const sides[static 2], size_t n, uint8_t message[static 256])
{
    for (size_t i = 0;; i++) {
        uint8_t read[256];
        size_t size;
        check(kith_noise_write(sides[i % 2], "payload", 7, message, 256, &size) == KITH_OK);
        if (i == n) return size;
        check(kith_noise_read(sides[!(i % 2)], message, size, read, sizeof read, &size) == KITH_OK);
    }
}

/* What has to hold whatever was read. */
static void check_after(kith_noise *noise, size_t n, kith_err err, bool changed)
{
    uint8_t keys[64];
    if (err) {
        check(!kith_noise_finished(noise) && !kith_noise_my_turn(noise) && !kith_noise_remote_static(noise, keys));
        check(kith_noise_split(noise, keys, keys + 32) == KITH_ERR_STATE);
        return;
    }
    check(n == 0 || !changed); /* nobody can forge */
    check(kith_noise_done_messages(noise) == n + 1);
    check(kith_noise_finished(noise) == (n == 2) && kith_noise_remote_static(noise, keys) == (n > 0));
    if (n != 0) return;
    uint8_t answer[256];
    size_t size;
    err = kith_noise_write(noise, NULL, 0, answer, sizeof answer, &size);
    check(err == KITH_OK || err == KITH_ERR_CRYPTO); /* the latter for a point of low order */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    uint8_t choice = *data++, good[256];
    size_t n = choice % 3, room = choice & 0x40 ? 8 : KITH_NOISE_MESSAGE_MAX, read_size;
    kith_noise *sides[2] = {start(true), start(false)};
    size_t good_size = advance(sides, n, good);

    bool over = choice & 0x80;
    size_t message_size = over ? good_size : size - 1;
    uint8_t *message = malloc(message_size ? message_size : 1), *out = malloc(room);
    check(message && out);
    memcpy(message, over ? good : data, message_size);
    for (size_t i = 0; over && i < message_size && i < size - 1; i++) message[i] ^= data[i];
    bool changed = message_size != good_size || memcmp(message, good, good_size) != 0;

    kith_err err = kith_noise_read(sides[!(n % 2)], message, message_size, out, room, &read_size);
    check(err || read_size <= room);
    check_after(sides[!(n % 2)], n, err, changed);
    free(message);
    free(out);
    kith_noise_free(sides[0]);
    kith_noise_free(sides[1]);
    return 0;
}
