/* Lines of the relay's files: "#" begins a comment, blanks do not matter. */
#ifndef KITH_RELAY_TEXT_H
#define KITH_RELAY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kith_relay_word {
    const char *at;
    size_t size;
} kith_relay_word;

/* The next line's words, up to `cap`; *count is how many it has, which may be more.  False at the end.  Lines without
 * words are passed over.  *number counts all lines, from 1. */
bool kith__relay_line(const char **at, const char *end, kith_relay_word *words, size_t cap, size_t *count,
                      size_t *number);
bool kith__relay_word_is(const kith_relay_word *word, const char *text);
/* A decimal number, and behind it K, M or G (1,024) when `bytes`.  False: not one, or above 2^63. */
bool kith__relay_number(const char *text, size_t size, bool bytes, uint64_t *out);

#endif
