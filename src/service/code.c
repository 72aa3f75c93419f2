#include "service/code.h"

#include "crypto/bip39.h"

#include <stdio.h>
#include <string.h>

#define WORD_BITS 11

void kith_words_draw(kith_rng *rng, kith_words *out)
{
    for (size_t i = 0; i < KITH_CODE_WORDS; i++) out->index[i] = (uint16_t)kith_rng_below(rng, KITH_BIP39_WORDS);
}

char *kith_words_text(const kith_words *words, char out[static KITH_CODE_TEXT_SIZE])
{
    size_t n = 0;
    for (size_t i = 0; i < KITH_CODE_WORDS; i++)
        n += (size_t)snprintf(out + n, KITH_CODE_TEXT_SIZE - n, "%s%s", i ? " " : "", kith_bip39_word(words->index[i]));
    return out;
}

uint32_t kith_words_tag(const kith_words *words) { return (uint32_t)words->index[0] << WORD_BITS | words->index[1]; }

kith_err kith_words_parse(const char *text, kith_words *out, char *why, size_t why_size)
{
    return kith_bip39_parse(text, "a code", out->index, KITH_CODE_WORDS, why, why_size);
}

void kith_code_init(kith_code *code, const kith_words *words, uint64_t expires_ns)
{
    *code = (kith_code){.words = *words, .expires_ns = expires_ns};
}

kith_addr kith_code_source(const kith_addr *addr)
{
    kith_addr source = *addr;
    source.port = 0;
    if (source.family == KITH_FAMILY_IPV6) memset(source.ip + 8, 0, 8);
    return source;
}

static bool relayed(const kith_addr *source) { return source->family == KITH_FAMILY_RELAY; }

/* Of the failures that sources behind relays may have: may one more be at stake? */
static kith_err room_behind_relays(const kith_code *code)
{
    unsigned failures = 0, open = 0;
    for (size_t i = 0; i < code->source_count; i++) {
        if (!relayed(&code->sources[i].source)) continue;
        failures += code->sources[i].failures;
        open += code->sources[i].open;
    }
    if (failures >= KITH_CODE_FAILURES_RELAY) return KITH_ERR_CODE_BURNT;
    return failures + open >= KITH_CODE_FAILURES_RELAY ? KITH_ERR_AGAIN : KITH_OK;
}

/* The place of this source in the table, or one past the end. */
static size_t find_source(const kith_code *code, const kith_addr *source)
{
    size_t i = 0;
    while (i < code->source_count && !kith_addr_same_ip(&code->sources[i].source, source)) i++;
    return i;
}

kith_err kith_code_state(const kith_code *code, uint64_t now_ns)
{
    if (code->used) return KITH_ERR_STATE;
    if (code->failures >= KITH_CODE_FAILURES_ALL) return KITH_ERR_CODE_BURNT;
    for (size_t i = 0; i < code->source_count; i++)
        if (code->sources[i].failures >= KITH_CODE_FAILURES_SOURCE && !relayed(&code->sources[i].source))
            return KITH_ERR_CODE_BURNT;
    return now_ns >= code->expires_ns ? KITH_ERR_CODE_EXPIRED : KITH_OK;
}

/* An attempt under way may turn out wrong, so it holds one of the failures that are left: parallel attempts gain
 * nothing. */
kith_err kith_code_begin(kith_code *code, const kith_addr *addr, uint64_t now_ns)
{
    kith_addr source = kith_code_source(addr);
    kith_err err = kith_code_state(code, now_ns);
    if (!err && relayed(&source)) err = room_behind_relays(code);
    if (err) return err;
    size_t i = find_source(code, &source);
    if (code->failures + code->open >= KITH_CODE_FAILURES_ALL) return KITH_ERR_AGAIN;
    if (i == code->source_count) {
        /* A source that neither failed nor tries is forgotten when room is needed. */
        for (i = 0; i < code->source_count && (code->sources[i].failures || code->sources[i].open);) i++;
        if (i == KITH_CODE_SOURCES) return KITH_ERR_AGAIN;
        if (i == code->source_count) code->source_count++;
        code->sources[i].source = source;
        code->sources[i].failures = code->sources[i].open = 0;
    }
    if (code->sources[i].failures >= KITH_CODE_FAILURES_SOURCE) return KITH_ERR_CODE_BURNT; /* relayed: for this one */
    if (code->sources[i].failures + code->sources[i].open >= KITH_CODE_FAILURES_SOURCE) return KITH_ERR_AGAIN;
    code->sources[i].open++;
    code->open++;
    return KITH_OK;
}

void kith_code_end(kith_code *code, const kith_addr *addr, kith_attempt result)
{
    kith_addr source = kith_code_source(addr);
    size_t i = find_source(code, &source);
    if (i == code->source_count || !code->sources[i].open) return;
    code->sources[i].open--;
    code->open--;
    if (result == KITH_ATTEMPT_WRONG) {
        code->failures++;
        code->sources[i].failures++;
    }
    if (result == KITH_ATTEMPT_RIGHT) code->used = true;
}
