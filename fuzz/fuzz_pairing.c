/* A hostile other side of a pairing: the first byte chooses the role, the rest are its stream bytes in pieces. */
#include "identity/fingerprint.h"
#include "service/pairing.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t seed[32] = {1}, hash[32] = {2}, random[64] = {3}, out[KITH_PAIR_OUTPUT_MAX];
    kith_signer signer = {.seed = seed};
    kith_hello self = {.name = "self"}, peer = {.name = "peer"};
    kith_words words = {.index = {1, 2, 3, 4, 5, 6}};
    kith_pairing *pairing;
    bool fin;
    if (size < 1 || kith_crypto_init()) return 0;
    kith_ed25519_public(seed, signer.public_key);
    kith_fingerprint(signer.uuid, signer.public_key, signer.fingerprint);
    if (kith_pairing_new(&(kith_pairing_config){.host = data[0] & 1,
                                                .kind = KITH_PAIR_OWN,
                                                .words = &words,
                                                .signer = &signer,
                                                .self = &self,
                                                .peer = &peer,
                                                .handshake_hash = hash,
                                                .random = random},
                         &pairing))
        return 0;
    for (size_t at = 1; at < size;) {
        size_t piece = 1 + data[at] % 97;
        if (piece > size - at) piece = size - at;
        kith_pairing_input(pairing, data + at, piece, false);
        at += piece;
        for (kith_pairing_event event; (event = kith_pairing_take_event(pairing)) != KITH_PAIR_NOTHING;) {
            if (event == KITH_PAIR_STARTED) kith_pairing_go(pairing);
            if (event == KITH_PAIR_PROVEN || event == KITH_PAIR_PIN || event == KITH_PAIR_DONE)
                abort(); /* it cannot know the words */
        }
        kith_pairing_output(pairing, out, sizeof out, &fin);
    }
    kith_pairing_input(pairing, NULL, 0, true);
    kith_pairing_free(pairing);
    return 0;
}
