#include "relay/tokens.h"

#include "base/mem.h"
#include "crypto/blake3.h"
#include "identity/rfc3339.h"
#include "relay/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS     5 /* the most that a right line has is 4 */
#define TIME_SIZE 40

struct kith_tokens {
    size_t count;
    kith_token **by_hash, **by_name; /* sorted */
    kith_token rows[];
};

static int compare_hash(const void *a, const void *b)
{
    return memcmp((*(kith_token *const *)a)->hash, (*(kith_token *const *)b)->hash,
                  sizeof(*(kith_token *const *)a)->hash);
}

static int compare_name(const void *a, const void *b)
{
    return strcmp((*(kith_token *const *)a)->name, (*(kith_token *const *)b)->name);
}

static bool good_name(const kith_relay_word *word)
{
    if (word->size > KITH_TOKEN_NAME_MAX) return false;
    for (size_t i = 0; i < word->size; i++) {
        char c = word->at[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && !strchr("-_.@", c))
            return false;
    }
    return true;
}

static bool starts(const kith_relay_word *word, const char *with)
{
    return word->size > strlen(with) && memcmp(word->at, with, strlen(with)) == 0;
}

/* NULL, or what is wrong. */
static const char *read_option(const kith_relay_word *word, kith_token *out)
{
    static const char expires[] = "expires=", quota[] = "quota=";
    if (starts(word, expires)) {
        char time[TIME_SIZE];
        size_t size = word->size - strlen(expires);
        if (size >= sizeof time) return "expires is not a time such as 2027-01-31T00:00:00Z";
        memcpy(time, word->at + strlen(expires), size);
        time[size] = '\0';
        if (kith_rfc3339_parse(time, &out->expires_ms)) return "expires is not a time such as 2027-01-31T00:00:00Z";
        return NULL;
    }
    if (starts(word, quota)) {
        if (kith__relay_number(word->at + strlen(quota), word->size - strlen(quota), true, &out->quota_bytes))
            return NULL;
        return "quota is not a number of bytes, such as 10G";
    }
    return "an option is neither expires= nor quota=";
}

static const char *read_row(const kith_relay_word *words, size_t count, kith_token *out)
{
    *out = (kith_token){.expires_ms = INT64_MAX, .quota_bytes = UINT64_MAX};
    if (count < 2 || count > 4) return "not NAME TOKEN [expires=...] [quota=...]";
    if (!good_name(&words[0])) return "a name has at most 31 of A-Z a-z 0-9 - _ . @";
    if (words[1].size < KITH_TOKEN_LEAST || words[1].size > KITH_RELAY_TOKEN_MAX) return "a token has 16 to 256 bytes";
    memcpy(out->name, words[0].at, words[0].size);
    kith_blake3(words[1].at, words[1].size, out->hash);
    for (size_t i = 2; i < count; i++) {
        const char *wrong = read_option(&words[i], out);
        if (wrong) return wrong;
    }
    return NULL;
}

static const char *index_rows(kith_tokens *t)
{
    for (size_t i = 0; i < t->count; i++) t->by_hash[i] = t->by_name[i] = &t->rows[i];
    qsort(t->by_hash, t->count, sizeof(kith_token *), compare_hash);
    qsort(t->by_name, t->count, sizeof(kith_token *), compare_name);
    for (size_t i = 1; i < t->count; i++) {
        if (compare_hash(&t->by_hash[i - 1], &t->by_hash[i]) == 0) return "a token is there twice";
        if (compare_name(&t->by_name[i - 1], &t->by_name[i]) == 0) return "a name is there twice";
    }
    return NULL;
}

static kith_err tokens_new(size_t room, kith_tokens **out)
{
    kith_tokens *t = kith_calloc(1, sizeof *t + room * sizeof(kith_token));
    if (!t) return KITH_ERR_NOMEM;
    t->by_hash = kith_calloc(room ? room : 1, sizeof(kith_token *));
    t->by_name = kith_calloc(room ? room : 1, sizeof(kith_token *));
    if (t->by_hash && t->by_name) {
        *out = t;
        return KITH_OK;
    }
    kith_tokens_free(t);
    return KITH_ERR_NOMEM;
}

kith_err kith_tokens_read(const char *text, size_t size, kith_tokens **out, kith_relay_reason *reason)
{
    const char *at = text, *end = text + size, *wrong = NULL;
    kith_relay_word words[WORDS];
    kith_tokens *t = NULL;
    size_t count, number = 0, rows = 0;
    while (kith__relay_line(&at, end, words, WORDS, &count, &number)) rows++;
    if (rows > KITH_TOKENS_MAX) {
        snprintf(reason->text, sizeof reason->text, "more than %d tokens", KITH_TOKENS_MAX);
        return KITH_ERR_FORMAT;
    }
    kith_err err = tokens_new(rows, &t);
    if (err) return err;
    number = 0;
    for (at = text; !wrong && kith__relay_line(&at, end, words, WORDS, &count, &number); t->count++)
        wrong = read_row(words, count, &t->rows[t->count]);
    if (wrong) {
        snprintf(reason->text, sizeof reason->text, "line %zu: %s", number, wrong);
    } else {
        wrong = index_rows(t);
        if (wrong) snprintf(reason->text, sizeof reason->text, "%s", wrong);
    }
    if (wrong) {
        kith_tokens_free(t);
        return KITH_ERR_FORMAT;
    }
    *out = t;
    return KITH_OK;
}

void kith_tokens_free(kith_tokens *tokens)
{
    if (!tokens) return;
    kith_free(tokens->by_hash);
    kith_free(tokens->by_name);
    kith_free(tokens);
}

size_t kith_tokens_count(const kith_tokens *tokens) { return tokens->count; }
kith_token *kith_tokens_at(kith_tokens *tokens, size_t index) { return &tokens->rows[index]; }

/* By hash: what a search learns of a wrong token's time is nothing about a right one. */
kith_token *kith_tokens_find(kith_tokens *tokens, const void *token, size_t size)
{
    kith_token key, *wanted = &key;
    kith_blake3(token, size, key.hash);
    kith_token **found = bsearch(&wanted, tokens->by_hash, tokens->count, sizeof(kith_token *), compare_hash);
    return found ? *found : NULL;
}

kith_token *kith_tokens_named(kith_tokens *tokens, const char *name)
{
    kith_token key, *wanted = &key;
    snprintf(key.name, sizeof key.name, "%s", name);
    kith_token **found = bsearch(&wanted, tokens->by_name, tokens->count, sizeof(kith_token *), compare_name);
    return found ? *found : NULL;
}
