#include "crypto/bip39.h"

#include "base/mem.h"
#include "base/text.h"
#include "crypto/bip39_words.h"

#include <ctype.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define WORD_BITS      11
#define UNIQUE_LETTERS 4  /* BIP 39: the first four letters tell any two words apart */
#define NEAREST_MAX    2  /* edits */
#define SHOWN_MAX      24 /* bytes of a wrong word in a message */
#define WORDS_MAX      24
#define NUMBER_MAX     2                                   /* digits of 24 */
#define TYPED_MAX      (KITH_BIP39_WORD_MAX + NEAREST_MAX) /* longer is further than that from every word */

/* The list takes half the room in the program as it does here, where the first who asks for a word unpacks it. */
static char unpacked[KITH_BIP39_WORDS][KITH_BIP39_WORD_MAX + 1];

static void unpack(void)
{
    const char *at = bip39_words;
    for (unsigned i = 0; i < KITH_BIP39_WORDS; i++) {
        size_t same = (size_t)(*at++ - '0'), more = strspn(at, "abcdefghijklmnopqrstuvwxyz");
        if (same) memcpy(unpacked[i], unpacked[i - 1], same);
        memcpy(unpacked[i] + same, at, more);
        at += more;
    }
}

static const char *word_at(size_t index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, unpack);
    return unpacked[index];
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* The order of `text` against the word's first `size` letters; a shorter word comes first. */
static int compare_prefix(const char *text, size_t size, const char *word)
{
    for (size_t i = 0; i < size; i++) {
        char c = lower(text[i]);
        if (c != word[i]) return (uint8_t)c < (uint8_t)word[i] ? -1 : 1;
        if (c == '\0') return 1; /* a NUL in the text is no end of a word */
    }
    return 0;
}

const char *kith_bip39_word(unsigned index) { return index < KITH_BIP39_WORDS ? word_at(index) : NULL; }

size_t kith_bip39_prefix(const char *prefix, size_t size, unsigned *first)
{
    unsigned low = 0, high = KITH_BIP39_WORDS;
    if (size > KITH_BIP39_WORD_MAX) return 0;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (compare_prefix(prefix, size, word_at(middle)) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t count = 0;
    while (low + count < KITH_BIP39_WORDS && compare_prefix(prefix, size, word_at(low + count)) == 0) count++;
    if (count) *first = low;
    return count;
}

int kith_bip39_find(const char *text, size_t size)
{
    unsigned first;
    size_t count = size ? kith_bip39_prefix(text, size, &first) : 0;
    if (count == 0) return -1;
    /* A word that is a prefix of others comes first among them. */
    bool whole = word_at(first)[size] == '\0';
    return whole || (count == 1 && size >= UNIQUE_LETTERS) ? (int)first : -1;
}

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

/* Damerau-Levenshtein: insertions, deletions, substitutions and swaps of neighbours, a swapped pair being open to
 * further edits (Lowrance and Wagner, 1975).  Row and column 0 hold a bound that no edit script reaches, 1 the empty
 * prefixes. */
static unsigned edits(const char *a, size_t a_size, const char *b, size_t b_size)
{
    unsigned d[TYPED_MAX + 2][KITH_BIP39_WORD_MAX + 2];
    uint8_t last_row[256] = {0}; /* where each letter was last seen in `a`, 0 = not yet */
    unsigned bound = (unsigned)(a_size + b_size);
    d[0][0] = bound;
    for (size_t i = 0; i <= a_size; i++) d[i + 1][0] = bound, d[i + 1][1] = (unsigned)i;
    for (size_t j = 0; j <= b_size; j++) d[0][j + 1] = bound, d[1][j + 1] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t last_column = 0; /* where a's letter was last seen in `b` */
        for (size_t j = 1; j <= b_size; j++) {
            size_t row = last_row[(uint8_t)b[j - 1]], column = last_column;
            bool same = a[i - 1] == b[j - 1];
            if (same) last_column = j;
            unsigned swap = d[row][column] + (unsigned)(i - row - 1) + 1 + (unsigned)(j - column - 1);
            unsigned change = d[i][j] + (same ? 0 : 1);
            d[i + 1][j + 1] = least(least(change, swap), least(d[i + 1][j], d[i][j + 1]) + 1);
        }
        last_row[(uint8_t)a[i - 1]] = (uint8_t)i;
    }
    return d[a_size + 1][b_size + 1];
}

int kith_bip39_nearest(const char *text, size_t size)
{
    char typed[TYPED_MAX];
    unsigned best = NEAREST_MAX + 1;
    int nearest = -1;
    if (size > TYPED_MAX) return -1;
    for (size_t i = 0; i < size; i++) typed[i] = lower(text[i]);
    for (unsigned i = 0; i < KITH_BIP39_WORDS && best > 0; i++) {
        unsigned distance = edits(typed, size, word_at(i), strlen(word_at(i)));
        if (distance < best) best = distance, nearest = (int)i;
    }
    return nearest;
}

/* What stands between words, in bytes: anything of ASCII but letters and digits, and what a text that was copied brings
 * along (a no-break space, an ideographic one, a byte order mark). */
static size_t between(const char *at)
{
    static const char *const copied[] = {"\xc2\xa0", "\xe3\x80\x80", "\xef\xbb\xbf"};
    unsigned char c = (unsigned char)*at;
    if (c && c < 0x80) return !isalnum(c);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (strncmp(at, copied[i], strlen(copied[i])) == 0) return strlen(copied[i]);
    return 0;
}

/* "3", as words that are shown one a line are numbered. */
static bool is_number(const char *word, size_t length)
{
    size_t digits = strspn(word, "0123456789");
    return digits >= length && length <= NUMBER_MAX;
}

/* One more sentence into `why`, unless it does not fit any more. */
static void explain(char *why, size_t size, const char *word, size_t length)
{
    size_t n = strlen(why);
    int nearest = kith_bip39_nearest(word, length);
    char shown[64], sentence[160];
    kith_printable(word, length, shown, sizeof shown);
    size_t wants = (size_t)snprintf(sentence, sizeof sentence, "%s\"%.*s\" is not a word of the list", n ? " " : "",
                                    SHOWN_MAX, shown);
    if (nearest < 0)
        wants += (size_t)snprintf(sentence + wants, sizeof sentence - wants, ".");
    else
        wants += (size_t)snprintf(sentence + wants, sizeof sentence - wants, ": did you mean \"%s\"?",
                                  word_at((size_t)nearest));
    if (n == 0 || wants < size - n) snprintf(why + n, size - n, "%s", sentence);
    kith_wipe(shown, sizeof shown);
    kith_wipe(sentence, sizeof sentence);
}

kith_err kith_bip39_parse(const char *text, const char *what, uint16_t *words, size_t want, char *why, size_t why_size)
{
    uint16_t found[WORDS_MAX] = {0};
    size_t count = 0, wrong = 0;
    *why = 0;
    for (const char *at = text; *at;) {
        size_t length = 0, gap = between(at);
        while (!gap && at[length] && !between(at + length)) length++;
        if (gap || is_number(at, length)) {
            at += gap + length;
            continue;
        }
        int index = kith_bip39_find(at, length);
        if (index < 0) {
            explain(why, why_size, at, length);
            wrong++;
        } else if (count < want && count < WORDS_MAX) {
            found[count] = (uint16_t)index;
        }
        count++;
        at += length;
    }
    if (count != want && !wrong) snprintf(why, why_size, "%s has %zu words, not %zu", what, want, count);
    bool good = count == want && want <= WORDS_MAX && !wrong;
    if (good) memcpy(words, found, want * sizeof *words);
    kith_wipe(found, sizeof found);
    return good ? KITH_OK : KITH_ERR_CODE;
}

kith_err kith_bip39_encode(const uint8_t *entropy, size_t size, uint16_t words[static 24], size_t *count)
{
    if (size < 16 || size > 32 || size % 4) return KITH_ERR_ARG;
    uint8_t
        bytes[32 + crypto_hash_sha256_BYTES]; /* entropy, then its hash: the checksum is the hash's first size/4 bits */
    memcpy(bytes, entropy, size);
    crypto_hash_sha256(bytes + size, entropy, size);
    *count = size * 3 / 4;
    uint32_t bits = 0;
    size_t have = 0, at = 0;
    for (size_t i = 0; i < *count; i++) {
        for (; have < WORD_BITS; have += 8) bits = bits << 8 | bytes[at++];
        have -= WORD_BITS;
        words[i] = (uint16_t)(bits >> have & (KITH_BIP39_WORDS - 1));
    }
    kith_wipe(bytes, sizeof bytes);
    kith_wipe(&bits, sizeof bits);
    return KITH_OK;
}

kith_err kith_bip39_decode(const uint16_t *words, size_t count, uint8_t entropy[static 32], size_t *size)
{
    if (count < 12 || count > 24 || count % 3) return KITH_ERR_FORMAT;
    uint8_t bytes[24 * WORD_BITS / 8], hash[crypto_hash_sha256_BYTES];
    uint32_t bits = 0;
    size_t have = 0, at = 0, found = count * 4 / 3;
    kith_err err = KITH_OK;
    for (size_t i = 0; i < count && !err; i++) {
        if (words[i] >= KITH_BIP39_WORDS) err = KITH_ERR_FORMAT;
        bits = bits << WORD_BITS | words[i];
        for (have += WORD_BITS; have >= 8 && at < found; have -= 8) bytes[at++] = (uint8_t)(bits >> (have - 8));
    }
    if (!err) { /* what is left is the checksum: count / 3 bits, 4..8 */
        crypto_hash_sha256(hash, bytes, found);
        uint32_t checksum = bits & ((UINT32_C(1) << have) - 1);
        if (checksum != (uint32_t)hash[0] >> (8 - have)) err = KITH_ERR_CODE;
    }
    if (!err) {
        memcpy(entropy, bytes, found);
        *size = found;
    }
    kith_wipe(bytes, sizeof bytes);
    kith_wipe(hash, sizeof hash);
    kith_wipe(&bits, sizeof bits);
    return err;
}
