#include "crypto/bip39.h"

#include "testlib.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int find(const char *text) { return kith_bip39_find(text, strlen(text)); }

static const char *nearest(const char *text)
{
    int index = kith_bip39_nearest(text, strlen(text));
    return index < 0 ? "" : kith_bip39_word((unsigned)index);
}

static void bip39_english(void **state)
{
    (void)state;
    char path[4096], line[64];
    FILE *file = fopen(test_vectors_path("bip39_english.txt", path, sizeof path), "r");
    if (!file) fail_msg("%s", path);
    unsigned n = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        assert_true(n < KITH_BIP39_WORDS);
        assert_string_equal(kith_bip39_word(n), line);
        n++;
    }
    fclose(file);
    assert_int_equal(n, KITH_BIP39_WORDS);
    assert_null(kith_bip39_word(KITH_BIP39_WORDS));
    test_ran("bip39_english.txt", n);
}

/* The words of a mnemonic, in text as people write it. */
static size_t parse_mnemonic(const char *text, uint16_t words[24])
{
    size_t count = 0;
    while (*text) {
        size_t size = strcspn(text, " ");
        int index = kith_bip39_find(text, size);
        assert_true(index >= 0 && count < 24);
        words[count++] = (uint16_t)index;
        text += size;
        text += strspn(text, " ");
    }
    return count;
}

static void bip39_vectors_english(void **state)
{
    (void)state;
    json_t *root = test_vectors("bip39_vectors_english.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes entropy = test_hex_of(item, "entropy");
        uint16_t words[24], typed[24];
        uint8_t back[32];
        char mnemonic[24 * 9 + 1] = "";
        size_t count, size;
        assert_ok(kith_bip39_encode(entropy.data, entropy.size, words, &count));
        for (size_t j = 0; j < count; j++) {
            if (j) strcat(mnemonic, " ");
            strcat(mnemonic, kith_bip39_word(words[j]));
        }
        assert_string_equal(mnemonic, test_str(item, "mnemonic"));
        assert_int_equal(parse_mnemonic(test_str(item, "mnemonic"), typed), count);
        assert_ok(kith_bip39_decode(typed, count, back, &size));
        assert_int_equal(size, entropy.size);
        assert_memory_equal(back, entropy.data, size);
        test_bytes_free(&entropy);
    }
    test_ran("bip39_vectors_english.json", i);
    json_decref(root);
}

static void a_wrong_word_fails_the_checksum(void **state)
{
    (void)state;
    static const size_t sizes[] = {16, 20, 24, 28, 32};
    for (size_t s = 0; s < 5; s++) {
        uint8_t entropy[32], out[32];
        uint16_t words[24];
        size_t count, size = 99;
        for (size_t i = 0; i < 32; i++) entropy[i] = (uint8_t)(i * 37 + s);
        assert_ok(kith_bip39_encode(entropy, sizes[s], words, &count));
        assert_int_equal(count, 12 + 3 * s);
        /* Of the 2048 last words one in 2^(checksum bits) fits: 128, 64, 32, 16, 8. */
        unsigned good = 0;
        uint16_t last = words[count - 1];
        for (unsigned w = 0; w < KITH_BIP39_WORDS; w++) {
            words[count - 1] = (uint16_t)w;
            kith_err err = kith_bip39_decode(words, count, out, &size);
            assert_true(err == KITH_OK || err == KITH_ERR_CODE);
            good += err == KITH_OK;
        }
        assert_int_equal(good, 128u >> s);
        words[count - 1] = last;
        assert_ok(kith_bip39_decode(words, count, out, &size));
        assert_memory_equal(out, entropy, sizes[s]);
        words[3] = KITH_BIP39_WORDS;
        size = 99;
        assert_int_equal(kith_bip39_decode(words, count, out, &size), KITH_ERR_FORMAT);
        assert_int_equal(size, 99);
    }
}

static void wrong_sizes_are_refused(void **state)
{
    (void)state;
    uint8_t entropy[64] = {0}, out[32];
    uint16_t words[24] = {0};
    size_t n;
    for (size_t size = 0; size <= 64; size++) {
        bool good = size >= 16 && size <= 32 && size % 4 == 0;
        assert_int_equal(kith_bip39_encode(entropy, size, words, &n), good ? KITH_OK : KITH_ERR_ARG);
    }
    for (size_t count = 0; count <= 30; count++) {
        uint16_t zeroes[30] = {0};
        bool good = count >= 12 && count <= 24 && count % 3 == 0;
        kith_err err = kith_bip39_decode(zeroes, count, out, &n);
        assert_true(good ? err != KITH_ERR_FORMAT : err == KITH_ERR_FORMAT);
    }
}

static void four_letters_are_enough(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KITH_BIP39_WORDS; i++) {
        const char *word = kith_bip39_word(i);
        char upper[9] = {0};
        size_t size = strlen(word);
        assert_true(size >= 3 && size <= KITH_BIP39_WORD_MAX);
        for (size_t j = 0; j < size; j++) upper[j] = (char)toupper((unsigned char)word[j]);
        for (size_t n = size < 4 ? size : 4; n <= size; n++) {
            assert_int_equal(kith_bip39_find(word, n), i);
            assert_int_equal(kith_bip39_find(upper, n), i);
        }
    }
    assert_int_equal(find("zoo"), 2047);
    assert_int_equal(find("aba"), -1); /* three letters that are no word, though only "abandon" has them */
    assert_string_equal(kith_bip39_word((unsigned)find("act")), "act"); /* and not "action" */
    assert_string_equal(kith_bip39_word((unsigned)find("Acti")), "action");
    assert_int_equal(find(""), -1);
    assert_int_equal(find("abandone"), -1);
    assert_int_equal(find("abandonment"), -1);
    assert_int_equal(find("aband0n"), -1);
    assert_int_equal(find("zzzz"), -1);
    assert_int_equal(find("\xc3\xa9t\xc3\xa9"), -1);
    assert_int_equal(kith_bip39_find("zoo\0", 4), -1);
    assert_int_equal(kith_bip39_find("zoo\0\0\0\0\0", 8), -1);
}

static void prefixes_give_ranges(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"",   "a",  "ab", "aba", "z",   "zo", "zoo", "q",
                                           "th", "TH", "x",  "ac",  "act", "zz", "1",   "{"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t size = strlen(prefixes[i]), want = 0;
        unsigned first = 9999, want_first = 9999;
        for (unsigned w = 0; w < KITH_BIP39_WORDS; w++) {
            bool same = true;
            for (size_t j = 0; j < size; j++)
                same = same && kith_bip39_word(w)[j] == tolower((unsigned char)prefixes[i][j]);
            if (same && want++ == 0) want_first = w;
        }
        assert_int_equal(kith_bip39_prefix(prefixes[i], size, &first), want);
        assert_int_equal(first, want_first);
    }
    unsigned first = 0;
    assert_int_equal(kith_bip39_prefix("abandonmen", 10, &first), 0);
}

/* The distance by plain recursion, for words whose swapped pairs have nothing between them. */
static unsigned slow_edits(const char *a, const char *b)
{
    if (!*a || !*b) return (unsigned)(strlen(a) + strlen(b));
    if (*a == *b) return slow_edits(a + 1, b + 1);
    unsigned best = slow_edits(a + 1, b), other = slow_edits(a, b + 1);
    if (other < best) best = other;
    other = slow_edits(a + 1, b + 1);
    if (other < best) best = other;
    if (a[1] && b[1] && a[0] == b[1] && a[1] == b[0]) {
        other = slow_edits(a + 2, b + 2);
        if (other < best) best = other;
    }
    return best + 1;
}

static void the_nearest_word(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *word;
    } table[] = {
        {"abandon", "abandon"},
        {"ABADNON", "abandon"},
        {"abandn", "abandon"},
        {"abanddon", "abandon"},
        {"zebre", "zebra"},
        {"ezbra", "zebra"},
        {"zbera", "zebra"},
        {"elehpant", "elephant"},
        {"libarry", "library"},
        {"recieve", "receive"},
        {"freind", "friend"},
        {"langauge", "language"},
        {"vouage", "voyage"},
        {"aswsome", "assume"},
        {"abandonxx", "abandon"},
        {"abandonxxx", ""},
        {"wihtout", ""},
        {"xyzxyzxy", ""},
        {"abcdefghijk", ""},
        {"", ""},
        /* A letter between the two that are swapped: two edits, three if a swapped pair could not be edited further. */
        {"bxaandon", "abandon"},
        {"cxacident", "accident"},
        {"bxale", "able"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_string_equal(nearest(table[i].typed), table[i].word);
    for (unsigned i = 0; i < KITH_BIP39_WORDS; i++)
        assert_string_equal(nearest(kith_bip39_word(i)), kith_bip39_word(i));
}

static void the_nearest_is_the_first_of_the_smallest(void **state)
{
    (void)state;
    static const char *const typed[] = {"cak", "hte", "lxve", "tset", "wrod", "oone", "ocaen", "flwo"};
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i++) {
        unsigned best = 3;
        const char *want = "";
        for (unsigned w = 0; w < KITH_BIP39_WORDS; w++) {
            unsigned distance = slow_edits(typed[i], kith_bip39_word(w));
            if (distance < best) best = distance, want = kith_bip39_word(w);
        }
        assert_string_equal(nearest(typed[i]), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bip39_english),
        TEST(bip39_vectors_english),
        TEST(a_wrong_word_fails_the_checksum),
        TEST(wrong_sizes_are_refused),
        TEST(four_letters_are_enough),
        TEST(prefixes_give_ranges),
        TEST(the_nearest_word),
        TEST(the_nearest_is_the_first_of_the_smallest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
