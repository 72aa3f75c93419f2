/* A pairing code: six BIP 39 words.  The first two (22 bits) are the public *tag* by which the other device finds us;
 * all six are the secret of a CPace exchange.  This counts what may be tried: a code lives until it expires, is good
 * for one success, and is burnt after KITH_CODE_FAILURES_SOURCE wrong attempts from one source or
 * KITH_CODE_FAILURES_ALL in all.
 *
 * Sources behind relays are identities, which cost nothing: one of them that failed KITH_CODE_FAILURES_SOURCE times is
 * refused and burns nothing for others, and all of them together cannot fail more than KITH_CODE_FAILURES_RELAY times,
 * so that those nearby keep their attempts whatever comes over relays. */
#ifndef KITH_SERVICE_CODE_H
#define KITH_SERVICE_CODE_H

#include "base/addr.h"
#include "crypto/rng.h"

#include <kith/error.h>
#include <stdbool.h>

#define KITH_CODE_WORDS           6
#define KITH_CODE_TEXT_SIZE       (KITH_CODE_WORDS * 9) /* words of at most 8 letters, blanks, NUL */
#define KITH_CODE_TAG_BITS        22
#define KITH_CODE_LIFE_NS         UINT64_C(300000000000)
#define KITH_CODE_FAILURES_SOURCE 3
#define KITH_CODE_FAILURES_ALL    10
#define KITH_CODE_FAILURES_RELAY  (KITH_CODE_FAILURES_ALL - KITH_CODE_FAILURES_SOURCE)
#define KITH_CODE_SOURCES         KITH_CODE_FAILURES_ALL /* more cannot have failed */

/* ---- words ---- */
typedef struct kith_words {
    uint16_t index[KITH_CODE_WORDS]; /* 0..2047 each */
} kith_words;

void kith_words_draw(kith_rng *rng, kith_words *out);
char *kith_words_text(const kith_words *words, char out[static KITH_CODE_TEXT_SIZE]); /* "a b c d e f" */
uint32_t kith_words_tag(const kith_words *words);                                     /* 22 bits */
/* What a person typed: any case; blanks, line ends, punctuation and numbers separate; whole words or beginnings of four
 * letters and more. CODE otherwise, with `why` naming each wrong word and the nearest right one, or the count. */
KITH_MUST_CHECK kith_err kith_words_parse(const char *text, kith_words *out, char *why, size_t why_size);

/* ---- attempts ---- */
typedef struct kith_code {
    kith_words words;
    uint64_t expires_ns;
    unsigned failures, open; /* wrong attempts so far; under way now */
    bool used;
    struct {
        kith_addr source; /* port 0; IPv6: the /64; of a relay's: who it is */
        unsigned failures, open;
    } sources[KITH_CODE_SOURCES];
    size_t source_count;
} kith_code;

/* Who is behind an address: its owner has every port, and in IPv6 at least the whole /64.  An address of a relay stays:
 * only its owner knows who is behind it (node/relay.h, kith__relays_source). */
kith_addr kith_code_source(const kith_addr *addr);
void kith_code_init(kith_code *code, const kith_words *words, uint64_t expires_ns);
/* May this source make one attempt now?  CODE_EXPIRED, CODE_BURNT (also when only this source, or all behind relays,
 * may try no more), STATE (used), AGAIN (as many attempts as failures are left are under way). */
KITH_MUST_CHECK kith_err kith_code_begin(kith_code *code, const kith_addr *source, uint64_t now_ns);
typedef enum kith_attempt { KITH_ATTEMPT_ABANDONED, KITH_ATTEMPT_WRONG, KITH_ATTEMPT_RIGHT } kith_attempt;
void kith_code_end(kith_code *code, const kith_addr *source, kith_attempt result);
/* Nobody can succeed with it any more: CODE_EXPIRED, CODE_BURNT, STATE (used); KITH_OK while it is alive. */
KITH_MUST_CHECK kith_err kith_code_state(const kith_code *code, uint64_t now_ns);

#endif
