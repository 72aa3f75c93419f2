#include "identity/name.h"

#include "base/text.h"

#include <string.h>

static bool space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void trim(const char **text, size_t *size)
{
    while (*size && space((*text)[*size - 1])) (*size)--;
    while (*size && space((*text)[0])) (*text)++, (*size)--;
}

/* What can be printed is what kith_printable leaves as it is: one list of hidden characters for all of Kith. */
static bool printable(const char *text, size_t size)
{
    char out[KITH_NAME_SIZE + 8]; /* with room for the "..." it never needs */
    return kith_utf8_valid(text, size) && strlen(kith_printable(text, size, out, sizeof out)) == size &&
           memcmp(text, out, size) == 0;
}

kith_err kith_name_check(const char *text, size_t size, char out[static KITH_NAME_SIZE])
{
    trim(&text, &size);
    if (size == 0 || size > KITH_NAME_MAX || !printable(text, size)) return KITH_ERR_ARG;
    memcpy(out, text, size);
    out[size] = 0;
    return KITH_OK;
}

bool kith_name_valid(const char *name)
{
    char out[KITH_NAME_SIZE];
    return strlen(name) <= KITH_NAME_MAX && kith_name_check(name, strlen(name), out) == KITH_OK &&
           strcmp(name, out) == 0;
}

/* Bytes of the character that begins with `lead`, by its lead byte alone. */
static size_t length_of(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

char *kith_name_clean(const char *text, size_t size, char *out, size_t out_size)
{
    size_t n = 0;
    trim(&text, &size);
    for (size_t i = 0; i < size;) {
        size_t length = length_of((unsigned char)text[i]);
        if (length > size - i || !printable(text + i, length)) {
            i++; /* a bad byte, or a hidden character's first one: what follows of it is not well-formed by itself */
            continue;
        }
        if (n + length >= out_size) break;
        memcpy(out + n, text + i, length);
        n += length;
        i += length;
    }
    const char *start = out;
    trim(&start, &n);
    memmove(out, start, n);
    memset(out + n, 0, out_size - n); /* so that structures of equal names compare as equal */
    return out;
}

size_t kith_name_cut(const char *text, size_t max)
{
    size_t size = strlen(text);
    if (size <= max) return size;
    while (max && ((unsigned char)text[max] & 0xc0) == 0x80) max--;
    return max;
}
