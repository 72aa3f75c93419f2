/* Pairing: six words, said by one person to another (or to themselves), become pinned trust on both devices.  Both
 * sides as a state machine over one bidirectional stream that the joiner opens; docs/protocol.md has the bytes.
 *
 *   joiner                                    host (shows the code)
 *   START {kind, Ya}                      ->
 *                                         <-  SHARE {Yb}
 *   PROOF {Ta}                            ->
 *                                         <-  PROOF {Tb}              both know the code
 *   ANSWER {yes}                          <>  ANSWER {yes}            both people saw the other device's name and
 * fingerprint IDENTITY {sealed}                     <>  IDENTITY {sealed}       under a key of the exchange STORED <>
 * STORED                  pinned on disk or FAIL {why} from either at any time.
 *
 * CPace (crypto/cpace.h): password = the six words, sid = the Noise handshake hash, ci = both fingerprints (joiner's
 * first), associated data = the kind.  So a man in the middle, who has two handshakes with two hashes, gets one guess
 * and is seen to have guessed.  The joiner proves first: the host gives nothing that a guess could be checked against
 * before the guess is on the table. */
#ifndef KITH_SERVICE_PAIRING_H
#define KITH_SERVICE_PAIRING_H

#include "service/code.h"
#include "service/hello.h"

#define KITH_PAIR_MESSAGE_MAX 2048
#define KITH_PAIR_OUTPUT_MAX  (2 * KITH_PAIR_MESSAGE_MAX)
#define KITH_PAIR_STEP_NS     UINT64_C(20000000000) /* the machine answers within this; people get KITH_PAIR_PEOPLE_NS */
#define KITH_PAIR_PEOPLE_NS   UINT64_C(300000000000)

typedef enum kith_pairing_kind { KITH_PAIR_OWN = 1, KITH_PAIR_CONTACT = 2 } kith_pairing_kind;

typedef struct kith_pairing_config {
    bool host;
    kith_pairing_kind kind;
    const kith_words *words;
    const kith_signer *signer;     /* borrowed for the pairing's life */
    const kith_hello *self, *peer; /* the peer's as verified on this connection */
    const uint8_t *handshake_hash; /* 32 bytes */
    const uint8_t *random;         /* 64 fresh random bytes: the CPace scalar */
} kith_pairing_config;

typedef enum kith_pairing_event {
    KITH_PAIR_NOTHING,
    KITH_PAIR_STARTED, /* host: an attempt begins: kith_code_begin, then kith_pairing_go or kith_pairing_fail */
    KITH_PAIR_PROVEN,  /* the other side knows the code: ask the person, then kith_pairing_answer */
    KITH_PAIR_AGREED,  /* both said yes: from here on the machines are waited for, not people */
    KITH_PAIR_PIN,  /* both said yes and the identity is authentic: store the peer durably, then kith_pairing_stored */
    KITH_PAIR_DONE, /* both have stored */
    KITH_PAIR_FAILED, /* kith_pairing_error: CODE = the other side used other words; DECLINED; CODE_EXPIRED, CODE_BURNT,
                         ... */
} kith_pairing_event;

typedef struct kith_pairing kith_pairing;
KITH_MUST_CHECK kith_err kith_pairing_new(const kith_pairing_config *config, kith_pairing **out);
void kith_pairing_free(kith_pairing *pair); /* wipes */
/* Bytes of the stream; all are taken.  fin: the peer's side ended after them. */
void kith_pairing_input(kith_pairing *pair, const void *data, size_t size, bool fin);
/* Messages due into out[0..cap), cap >= KITH_PAIR_OUTPUT_MAX; returns the bytes, 0 when none; *fin: end our side after
 * them. */
size_t kith_pairing_output(kith_pairing *pair, uint8_t *out, size_t cap, bool *fin);
/* Each event comes once. */
kith_pairing_event kith_pairing_take_event(kith_pairing *pair);
void kith_pairing_go(kith_pairing *pair);
void kith_pairing_answer(kith_pairing *pair, bool yes);
void kith_pairing_stored(kith_pairing *pair, kith_err result);
/* Give up and tell the peer: CODE_EXPIRED, CODE_BURNT, AGAIN, CANCELLED, TIMEOUT, DECLINED ... */
void kith_pairing_fail(kith_pairing *pair, kith_err why);
/* The stream is over, and this is what that said: nothing can be told to the peer any more. */
void kith_pairing_gone(kith_pairing *pair, kith_err why);
kith_err kith_pairing_error(const kith_pairing *pair);
bool kith_pairing_failed_by_peer(const kith_pairing *pair);
/* Host: how the attempt is to be counted. */
kith_attempt kith_pairing_attempt(const kith_pairing *pair);
/* The peer asked for the other kind of pairing (own / contact): why it FAILED with ARG. */
bool kith_pairing_kind_differs(const kith_pairing *pair);

#endif
