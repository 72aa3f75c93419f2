/* trust.cbor: what decodes encodes to the same bytes.  The checksum would stop nearly every input, so each is tried
 * also as the body of an envelope whose checksum fits; and its text as what names a device. */
#include "base/mem.h"
#include "identity/envelope.h"
#include "identity/trust.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const kith_trust *trust, const uint8_t *data, size_t size)
{
    const kith_peer *found[4];
    size_t count;
    char text[100];
    size_t length = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, length);
    text[length] = 0;
    kith_err err = kith_trust_find(trust, text, found, 4, &count);
    if ((err == KITH_OK) != (count == 1) || (err == KITH_ERR_NOT_FOUND) != (count == 0)) abort();
    for (size_t i = 0; i < kith_trust_count(trust); i++) {
        const kith_peer *peer = kith_trust_at(trust, i);
        if (kith_trust_find(trust, peer->local_name, found, 4, &count) == KITH_OK && count != 1) abort();
        if (kith_trust_by_fingerprint(trust, peer->fingerprint) != peer || kith_trust_check(trust, peer)) abort();
    }
}

static void check(const uint8_t *data, size_t size)
{
    kith_trust *trust;
    kith_reason reason = {""};
    uint8_t *out;
    size_t out_size;
    kith_err err = kith_trust_decode(data, size, &trust, &reason);
    if (err) {
        if ((err != KITH_ERR_DAMAGED && err != KITH_ERR_VERSION) || !reason.text[0]) abort();
        return;
    }
    if (kith_trust_encode(trust, &out, &out_size)) abort();
    bool newest = kith_envelope_version(data, size) == KITH_TRUST_VERSION; /* an older one is written as the newest */
    if (newest && (out_size != size || memcmp(out, data, size) != 0)) abort();
    look_up(trust, data, size);
    kith_free(out);
    kith_trust_free(trust);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *whole;
    size_t whole_size;
    check(data, size);
    for (uint64_t version = 1; version <= KITH_TRUST_VERSION; version++) {
        if (kith_envelope_make(KITH_TRUST_CONTEXT, version, data, size, &whole, &whole_size)) abort();
        check(whole, whole_size);
        kith_free(whole);
    }
    return 0;
}
