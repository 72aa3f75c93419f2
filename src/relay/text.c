#include "relay/text.h"

#include <string.h>

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static size_t split(const char *at, const char *end, kith_relay_word *words, size_t cap)
{
    size_t count = 0;
    while (at < end && *at != '#') {
        if (blank(*at)) {
            at++;
            continue;
        }
        const char *begin = at;
        while (at < end && !blank(*at) && *at != '#') at++;
        if (count < cap) words[count] = (kith_relay_word){begin, (size_t)(at - begin)};
        count++;
    }
    return count;
}

bool kith__relay_line(const char **at, const char *end, kith_relay_word *words, size_t cap, size_t *count,
                      size_t *number)
{
    while (*at < end) {
        const char *begin = *at, *stop = memchr(begin, '\n', (size_t)(end - begin));
        if (!stop) stop = end;
        *at = stop < end ? stop + 1 : end;
        (*number)++;
        *count = split(begin, stop, words, cap);
        if (*count) return true;
    }
    return false;
}

bool kith__relay_word_is(const kith_relay_word *word, const char *text)
{
    return word->size == strlen(text) && memcmp(word->at, text, word->size) == 0;
}

bool kith__relay_number(const char *text, size_t size, bool bytes, uint64_t *out)
{
    uint64_t value = 0, factor = 1;
    if (size && bytes) {
        switch (text[size - 1]) {
        case 'K': factor = UINT64_C(1) << 10; break;
        case 'M': factor = UINT64_C(1) << 20; break;
        case 'G': factor = UINT64_C(1) << 30; break;
        default: break;
        }
        if (factor > 1) size--;
    }
    if (size == 0) return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || value > (uint64_t)INT64_MAX / 10 - 1) return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (value > (uint64_t)INT64_MAX / factor) return false;
    *out = value * factor;
    return true;
}
