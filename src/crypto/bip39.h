/* BIP 39's English words: 11 bits each.  Pairing codes are plain word lists (no checksum); recovery codes are mnemonics
 * with one. */
#ifndef KITH_CRYPTO_BIP39_H
#define KITH_CRYPTO_BIP39_H

#include <kith/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KITH_BIP39_WORDS    2048
#define KITH_BIP39_WORD_MAX 8 /* letters of the longest word */

const char *kith_bip39_word(unsigned index); /* index < 2048 */
/* The index of a word, any letter case, or its first four letters or more where that is unique (BIP 39 guarantees it);
 * -1 if none. */
int kith_bip39_find(const char *text, size_t size);
/* The word nearest to a mistyped one (smallest Damerau-Levenshtein distance, first in the list among equals); -1 when
 * none is within two edits. */
int kith_bip39_nearest(const char *text, size_t size);
/* Indexes of the words that begin with `prefix`: *first and how many (they are adjacent: the list is sorted). */
size_t kith_bip39_prefix(const char *prefix, size_t size, unsigned *first);

/* Exactly `want` words that a person typed: any case; blanks, line ends and punctuation separate, and so do the numbers
 * that words are shown with; whole words or beginnings of four letters and more.  CODE otherwise, with `why` naming
 * each wrong word and the nearest right one, as many as it holds whole, or how many words `what` ("a code") has. */
KITH_MUST_CHECK kith_err kith_bip39_parse(const char *text, const char *what, uint16_t *words, size_t want, char *why,
                                          size_t why_size);

/* Entropy of 16, 20, 24, 28 or 32 bytes -> 12..24 word indexes with checksum; the reverse (FORMAT: count; CODE:
 * checksum). */
KITH_MUST_CHECK kith_err kith_bip39_encode(const uint8_t *entropy, size_t size, uint16_t words[static 24],
                                           size_t *count);
KITH_MUST_CHECK kith_err kith_bip39_decode(const uint16_t *words, size_t count, uint8_t entropy[static 32],
                                           size_t *size);

#endif
