/* Codes: what people type, and how many guesses anybody gets. */
#include "service/code.h"
#include "testlib.h"

#include <string.h>

static kith_addr from(const char *text)
{
    kith_addr a;
    assert_ok(kith_addr_parse(text, &a));
    return a;
}

static kith_code fresh(void)
{
    kith_code code;
    kith_words words = {.index = {1, 2, 3, 4, 5, 6}};
    kith_code_init(&code, &words, 1000);
    return code;
}

static void words_as_people_type_them(void **state)
{
    (void)state;
    kith_words words;
    char why[256], text[KITH_CODE_TEXT_SIZE];
    static const char *same[] = {"abandon ability zoo zone youth young",
                                 "  ABANDON, ability - Zoo\tzone\nyouth. young\n",
                                 "aban abil zoo zone yout youn",
                                 "abandon-ability-zoo-zone-youth-young",
                                 "1. abandon 2. ability\n3 zoo\n4 zone\n(5) youth 06: young",
                                 "\"abandon; ability/zoo|zone_youth&young\"",
                                 "\xef\xbb\xbf"
                                 "abandon\xc2\xa0"
                                 "ability\xe3\x80\x80zoo zone youth young"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_ok(kith_words_parse(same[i], &words, why, sizeof why));
        assert_string_equal(kith_words_text(&words, text), same[0]);
        assert_int_equal(kith_words_tag(&words), 0u << 11 | 1u);
    }
    assert_int_equal(kith_words_parse("abandon ability zoo zone youth", &words, why, sizeof why), KITH_ERR_CODE);
    assert_string_equal(why, "a code has 6 words, not 5");
    assert_int_equal(kith_words_parse("abandon abilty zoo zone youth qqqqqqqq", &words, why, sizeof why),
                     KITH_ERR_CODE);
    assert_non_null(strstr(why, "\"abilty\" is not a word of the list: did you mean \"ability\"?"));
    assert_non_null(strstr(why, "\"qqqqqqqq\" is not a word of the list."));
    assert_int_equal(kith_words_parse("abandon abi1ity zoo zone youth 123", &words, why, sizeof why), KITH_ERR_CODE);
    assert_non_null(strstr(why, "\"abi1ity\" is not a word of the list: did you mean \"ability\"?"));
    assert_non_null(strstr(why, "\"123\" is not a word of the list."));
    assert_int_equal(kith_words_parse("", &words, why, sizeof why), KITH_ERR_CODE);
    assert_int_equal(kith_words_parse("a\033[2Jb c d e f g", &words, why, sizeof why), KITH_ERR_CODE);
    assert_null(strchr(why, '\033'));
    char small[16];
    assert_int_equal(kith_words_parse("qqqq qqqq qqqq qqqq qqqq qqqq", &words, small, sizeof small), KITH_ERR_CODE);
    assert_true(strlen(small) < sizeof small);
}

static void drawn_words_cover_the_list(void **state)
{
    (void)state;
    uint8_t seed[KITH_RNG_SEED_SIZE] = {1};
    bool seen[2048] = {false};
    size_t different = 0;
    kith_rng rng;
    kith_rng_init(&rng, seed);
    for (size_t i = 0; i < 4000; i++) {
        kith_words words;
        kith_words_draw(&rng, &words);
        for (size_t j = 0; j < KITH_CODE_WORDS; j++) {
            assert_in_range(words.index[j], 0, 2047);
            different += !seen[words.index[j]];
            seen[words.index[j]] = true;
        }
    }
    assert_true(different > 2040); /* 24,000 draws of 2,048: about 0.02 are expected to be missing */
}

static void three_wrong_from_one_source_burn_it(void **state)
{
    (void)state;
    kith_code code = fresh();
    kith_addr a = from("192.0.2.1:1000"), other_port = from("192.0.2.1:2000"), b = from("192.0.2.2:1");
    for (unsigned i = 0; i < KITH_CODE_FAILURES_SOURCE; i++) {
        assert_ok(kith_code_begin(&code, i % 2 ? &other_port : &a, 1));
        kith_code_end(&code, &a, KITH_ATTEMPT_WRONG);
    }
    assert_int_equal(kith_code_begin(&code, &a, 1), KITH_ERR_CODE_BURNT);
    assert_int_equal(kith_code_begin(&code, &b, 1), KITH_ERR_CODE_BURNT);
}

static void an_ipv6_network_is_one_source(void **state)
{
    (void)state;
    kith_code code = fresh();
    static const char *hosts[] = {"[2001:db8::1]:1", "[2001:db8::2]:2", "[2001:db8::ffff:1]:3"};
    for (size_t i = 0; i < 3; i++) {
        kith_addr a = from(hosts[i]);
        assert_ok(kith_code_begin(&code, &a, 1));
        kith_code_end(&code, &a, KITH_ATTEMPT_WRONG);
    }
    assert_int_equal(kith_code_state(&code, 1), KITH_ERR_CODE_BURNT);
}

static void ten_wrong_in_all_burn_it(void **state)
{
    (void)state;
    kith_code code = fresh();
    kith_addr a = from("192.0.2.1:1000");
    for (unsigned i = 0; i < KITH_CODE_FAILURES_ALL; i++) {
        a.ip[3] = (uint8_t)(1 + i / 2);
        assert_ok(kith_code_begin(&code, &a, 1));
        kith_code_end(&code, &a, KITH_ATTEMPT_WRONG);
    }
    a.ip[3] = 99;
    assert_int_equal(kith_code_begin(&code, &a, 1), KITH_ERR_CODE_BURNT);
}

/* An identity at a relay costs nothing: who fails burns the code for nobody else, but for a part of all attempts. */
static void behind_a_relay_each_identity_is_a_source(void **state)
{
    (void)state;
    kith_code code = fresh();
    kith_addr evil = {.family = KITH_FAMILY_RELAY, .ip = {[4] = 1}},
              good = {.family = KITH_FAMILY_RELAY, .ip = {[4] = 99}};
    kith_addr near = from("192.0.2.1:1000");
    for (unsigned i = 0; i < KITH_CODE_FAILURES_SOURCE; i++) {
        assert_ok(kith_code_begin(&code, &evil, 1));
        kith_code_end(&code, &evil, KITH_ATTEMPT_WRONG);
    }
    assert_int_equal(kith_code_begin(&code, &evil, 1), KITH_ERR_CODE_BURNT);
    assert_ok(kith_code_state(&code, 1));
    assert_ok(kith_code_begin(&code, &good, 1));
    kith_code_end(&code, &good, KITH_ATTEMPT_ABANDONED);
    unsigned begun = 0;
    for (uint8_t i = 2; i < 40; i++) { /* one attempt each: some under way, none of them the last of those nearby */
        evil.ip[4] = i;
        if (kith_code_begin(&code, &evil, 1)) continue;
        if (begun++ % 2) kith_code_end(&code, &evil, KITH_ATTEMPT_WRONG);
    }
    assert_int_equal(begun, KITH_CODE_FAILURES_RELAY - KITH_CODE_FAILURES_SOURCE);
    assert_int_equal(kith_code_begin(&code, &good, 1), KITH_ERR_AGAIN);
    for (uint8_t i = 2; i < 40; i++) {
        evil.ip[4] = i;
        kith_code_end(&code, &evil, KITH_ATTEMPT_WRONG);
    }
    assert_int_equal(code.failures, KITH_CODE_FAILURES_RELAY);
    assert_int_equal(kith_code_begin(&code, &good, 1), KITH_ERR_CODE_BURNT);
    assert_ok(kith_code_state(&code, 1));
    for (unsigned i = 0; i < KITH_CODE_FAILURES_SOURCE; i++) {
        assert_ok(kith_code_begin(&code, &near, 1));
        kith_code_end(&code, &near, KITH_ATTEMPT_WRONG);
    }
    assert_int_equal(code.failures, KITH_CODE_FAILURES_ALL);
    assert_int_equal(kith_code_state(&code, 1), KITH_ERR_CODE_BURNT);
}

/* Side by side nobody gets more guesses than one after the other; giving up gives the place back. */
static void parallel_attempts_gain_nothing(void **state)
{
    (void)state;
    kith_code code = fresh();
    kith_addr a = from("192.0.2.1:1");
    for (unsigned i = 0; i < KITH_CODE_FAILURES_SOURCE; i++) assert_ok(kith_code_begin(&code, &a, 1));
    assert_int_equal(kith_code_begin(&code, &a, 1), KITH_ERR_AGAIN);
    kith_code_end(&code, &a, KITH_ATTEMPT_ABANDONED);
    assert_ok(kith_code_begin(&code, &a, 1));
    unsigned begun = KITH_CODE_FAILURES_SOURCE;
    for (uint8_t i = 2; i < 40; i++) {
        a.ip[3] = i;
        begun += kith_code_begin(&code, &a, 1) == KITH_OK;
    }
    assert_int_equal(begun, KITH_CODE_FAILURES_ALL);
}

/* Sources that come, try nothing and go do not fill the table. */
static void a_crowd_that_gives_up_leaves_room(void **state)
{
    (void)state;
    kith_code code = fresh();
    kith_addr a = from("10.0.0.0:1");
    for (unsigned i = 0; i < 1000; i++) {
        a.ip[2] = (uint8_t)(i >> 8);
        a.ip[3] = (uint8_t)i;
        assert_ok(kith_code_begin(&code, &a, 1));
        kith_code_end(&code, &a, KITH_ATTEMPT_ABANDONED);
    }
}

static void good_for_one_success_and_its_time(void **state)
{
    (void)state;
    kith_code code = fresh();
    kith_addr a = from("192.0.2.1:1");
    assert_ok(kith_code_begin(&code, &a, 999));
    assert_int_equal(kith_code_begin(&code, &a, 1000), KITH_ERR_CODE_EXPIRED);
    kith_code_end(&code, &a, KITH_ATTEMPT_RIGHT);
    assert_int_equal(kith_code_begin(&code, &a, 1), KITH_ERR_STATE);
    kith_code_end(&code, &a, KITH_ATTEMPT_WRONG); /* of an attempt that is not: nothing */
    assert_int_equal(code.failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_as_people_type_them),
        TEST(drawn_words_cover_the_list),
        TEST(three_wrong_from_one_source_burn_it),
        TEST(an_ipv6_network_is_one_source),
        TEST(ten_wrong_in_all_burn_it),
        TEST(behind_a_relay_each_identity_is_a_source),
        TEST(parallel_attempts_gain_nothing),
        TEST(a_crowd_that_gives_up_leaves_room),
        TEST(good_for_one_success_and_its_time),
    };
    return cmocka_run_group_tests_name("service/code", tests, NULL, NULL);
}
