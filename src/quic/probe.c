#include "quic/probe.h"

#include "base/buf.h"
#include "crypto/aead.h"
#include "crypto/noise.h"

#include <stdbool.h>

#define HEADER (1 + KITH_PROBE_ID_SIZE + 8)
#define PLAIN  (KITH_PROBE_SIZE - HEADER - KITH_AEAD_TAG_SIZE) /* at most */

kith_err kith_probe_seal(const uint8_t key[static 32], const uint8_t id[static KITH_PROBE_ID_SIZE], uint64_t number,
                         const kith_probe *probe, size_t size, uint8_t *out)
{
    uint8_t plain[PLAIN] = {0}, nonce[KITH_AEAD_NONCE_SIZE];
    if (size < KITH_PROBE_SIZE_MIN || size > KITH_PROBE_SIZE) return KITH_ERR_ARG;
    kith_writer w = kith_writer_of(out, HEADER);
    kith_write_u8(&w, KITH_PROBE_BYTE);
    kith_write_bytes(&w, id, KITH_PROBE_ID_SIZE);
    kith_write_u64(&w, number);
    w = kith_writer_of(plain, sizeof plain);
    kith_write_u8(&w, (uint8_t)probe->kind);
    kith_write_u8(&w, probe->path);
    kith_write_bytes(&w, probe->echo, sizeof probe->echo);
    kith_write_bytes(&w, probe->token, sizeof probe->token);
    kith_noise_nonce(number, nonce);
    return kith_aead_seal_once(key, nonce, out, HEADER, plain, size - HEADER - KITH_AEAD_TAG_SIZE, out + HEADER);
}

const uint8_t *kith_probe_id(const uint8_t *datagram, size_t size)
{
    bool fits = size >= KITH_PROBE_SIZE_MIN && size <= KITH_PROBE_SIZE;
    return fits && datagram[0] == KITH_PROBE_BYTE ? datagram + 1 : NULL;
}

/* Only who is asked whether this is them may be asked, and answer, in few bytes. */
static bool size_fits(unsigned kind, size_t size)
{
    return size == KITH_PROBE_SIZE || kind == KITH_PROBE_CHALLENGE || kind == KITH_PROBE_CONFIRM;
}

kith_err kith_probe_open(const uint8_t key[static 32], const uint8_t *datagram, size_t size, uint64_t *number,
                         kith_probe *out)
{
    uint8_t plain[PLAIN], nonce[KITH_AEAD_NONCE_SIZE];
    kith_probe probe;
    kith_reader r = kith_reader_of(datagram + 1 + KITH_PROBE_ID_SIZE, 8);
    uint64_t n = kith_read_u64(&r);
    kith_noise_nonce(n, nonce);
    kith_err err = kith_aead_open_once(key, nonce, datagram, HEADER, datagram + HEADER, size - HEADER, plain);
    if (err) return err;
    r = kith_reader_of(plain, size - HEADER - KITH_AEAD_TAG_SIZE);
    unsigned kind = kith_read_u8(&r);
    if (kind < KITH_PROBE_ASK || kind > KITH_PROBE_CONFIRM || !size_fits(kind, size)) return KITH_ERR_PROTOCOL;
    probe.kind = (kith_probe_kind)kind;
    probe.path = kith_read_u8(&r);
    kith_read_copy(&r, probe.echo, sizeof probe.echo);
    kith_read_copy(&r, probe.token, sizeof probe.token);
    *number = n;
    *out = probe;
    return KITH_OK;
}
