/* Pairing between two machines in memory, and against those who would like to be one of them. */
#include "base/mem.h"
#include "identity/fingerprint.h"
#include "service/pairing.h"
#include "testlib.h"

#include <string.h>

typedef struct side {
    uint8_t seed[32];
    kith_signer signer;
    kith_hello hello;
    kith_pairing *pair;
    kith_pairing_event seen[16]; /* events in order */
    size_t count;
    bool refuse;    /* this person says no */
    kith_err store; /* what storing answers */
} side;

static kith_words words_of(const char *text)
{
    kith_words words;
    char why[256];
    assert_ok(kith_words_parse(text, &words, why, sizeof why));
    return words;
}

static const char *right = "abandon ability able about above absent",
                  *wrong = "abandon ability able about above absorb";

static void make_side(side *s, uint8_t n, const char *name)
{
    memset(s, 0, sizeof *s);
    assert_ok(kith_crypto_init());
    memset(s->seed, n, sizeof s->seed);
    s->signer.seed = s->seed;
    kith_ed25519_public(s->seed, s->signer.public_key);
    memset(s->signer.uuid, n, sizeof s->signer.uuid);
    kith_fingerprint(s->signer.uuid, s->signer.public_key, s->signer.fingerprint);
    memcpy(s->hello.uuid, s->signer.uuid, sizeof s->hello.uuid);
    memcpy(s->hello.fingerprint, s->signer.fingerprint, sizeof s->hello.fingerprint);
    memcpy(s->hello.public_key, s->signer.public_key, sizeof s->hello.public_key);
    strcpy(s->hello.name, name);
}

static kith_err open_side(side *s, const side *peer, bool host, kith_pairing_kind kind, const char *text,
                          uint8_t hash_byte)
{
    uint8_t hash[32], random[64];
    kith_words words = words_of(text);
    memset(hash, hash_byte, sizeof hash);
    memset(random, s->seed[0] ^ 0x5a, sizeof random);
    return kith_pairing_new(&(kith_pairing_config){.host = host,
                                                   .kind = kind,
                                                   .words = &words,
                                                   .signer = &s->signer,
                                                   .self = &s->hello,
                                                   .peer = &peer->hello,
                                                   .handshake_hash = hash,
                                                   .random = random},
                            &s->pair);
}

static void answer_events(side *s)
{
    for (kith_pairing_event event; (event = kith_pairing_take_event(s->pair)) != KITH_PAIR_NOTHING;) {
        s->seen[s->count++ % 16] = event;
        if (event == KITH_PAIR_STARTED) kith_pairing_go(s->pair);
        if (event == KITH_PAIR_PROVEN) kith_pairing_answer(s->pair, !s->refuse);
        if (event == KITH_PAIR_PIN) kith_pairing_stored(s->pair, s->store);
    }
}

/* Move what one has to say to the other in pieces of `piece` bytes; whether anything moved. */
static bool carry(side *from, side *to, size_t piece)
{
    uint8_t out[KITH_PAIR_OUTPUT_MAX];
    bool fin;
    answer_events(from);
    size_t size = kith_pairing_output(from->pair, out, sizeof out, &fin);
    for (size_t at = 0; at < size; at += piece)
        kith_pairing_input(to->pair, out + at, size - at < piece ? size - at : piece, fin && at + piece >= size);
    if (fin && !size) kith_pairing_input(to->pair, NULL, 0, true);
    answer_events(to);
    return size || fin;
}

static void run(side *a, side *b, size_t piece)
{
    for (bool more = true; more;) {
        more = carry(a, b, piece);
        more |= carry(b, a, piece);
    }
}

static bool saw(const side *s, kith_pairing_event event)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->seen[i] == event) return true;
    return false;
}

static void close_sides(side *a, side *b)
{
    kith_pairing_free(a->pair);
    kith_pairing_free(b->pair);
}

static void make_two(side *host, side *joiner)
{
    make_side(host, 1, "desktop");
    make_side(joiner, 2, "laptop");
}

static void the_right_words_pair_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 400; piece = piece * 3 + 1) {
        side host, joiner;
        make_two(&host, &joiner);
        assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
        assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
        run(&joiner, &host, piece);
        static const kith_pairing_event wants_host[] = {KITH_PAIR_STARTED, KITH_PAIR_PROVEN, KITH_PAIR_AGREED,
                                                        KITH_PAIR_PIN, KITH_PAIR_DONE};
        static const kith_pairing_event wants_joiner[] = {KITH_PAIR_PROVEN, KITH_PAIR_AGREED, KITH_PAIR_PIN,
                                                          KITH_PAIR_DONE};
        assert_int_equal(host.count, 5);
        assert_int_equal(joiner.count, 4);
        assert_memory_equal(host.seen, wants_host, sizeof wants_host);
        assert_memory_equal(joiner.seen, wants_joiner, sizeof wants_joiner);
        assert_int_equal(kith_pairing_attempt(host.pair), KITH_ATTEMPT_RIGHT);
        close_sides(&host, &joiner);
    }
}

static void one_wrong_word_is_refused_and_counted(void **state)
{
    (void)state;
    side host, joiner;
    make_two(&host, &joiner);
    assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, wrong, 7));
    run(&joiner, &host, 4096);
    assert_int_equal(kith_pairing_error(host.pair), KITH_ERR_CODE);
    assert_int_equal(kith_pairing_error(joiner.pair), KITH_ERR_CODE);
    assert_true(kith_pairing_failed_by_peer(joiner.pair));
    assert_false(saw(&host, KITH_PAIR_PROVEN) || saw(&joiner, KITH_PAIR_PROVEN));
    assert_int_equal(kith_pairing_attempt(host.pair), KITH_ATTEMPT_WRONG);
    close_sides(&host, &joiner);
}

/* He has a handshake with each, so two hashes, and carries the messages between them unchanged. */
static void a_man_in_the_middle_who_passes_messages_on_fails(void **state)
{
    (void)state;
    side host, joiner;
    make_two(&host, &joiner);
    assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 8));
    run(&joiner, &host, 4096);
    assert_int_equal(kith_pairing_error(host.pair), KITH_ERR_CODE);
    assert_int_equal(kith_pairing_attempt(host.pair), KITH_ATTEMPT_WRONG);
    close_sides(&host, &joiner);
}

/* The same hash, but each was told another identity of the other side. */
static void identities_are_part_of_the_secret(void **state)
{
    (void)state;
    side host, joiner, mallory;
    make_two(&host, &joiner);
    make_side(&mallory, 3, "laptop");
    assert_ok(open_side(&host, &mallory, true, KITH_PAIR_OWN, right, 7));
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
    run(&joiner, &host, 4096);
    assert_int_equal(kith_pairing_error(host.pair), KITH_ERR_CODE);
    close_sides(&host, &joiner);
}

static void our_own_messages_sent_back_prove_nothing(void **state)
{
    (void)state;
    side joiner, host;
    uint8_t out[KITH_PAIR_OUTPUT_MAX], share[] = {2, 0, 0xa1, 1, 0x58, 32};
    bool fin;
    make_two(&host, &joiner);
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
    size_t size = kith_pairing_output(joiner.pair, out, sizeof out, &fin);
    assert_true(size > 32);
    uint8_t reflected[sizeof share + 32];
    share[1] = (uint8_t)(sizeof reflected - 2);
    memcpy(reflected, share, sizeof share);
    memcpy(reflected + sizeof share, out + size - 32, 32); /* START ends with Ya */
    kith_pairing_input(joiner.pair, reflected, sizeof reflected, false);
    assert_int_equal(kith_pairing_error(joiner.pair), KITH_ERR_PROTOCOL);
    kith_pairing_free(joiner.pair);
}

/* Everything a joiner said in a pairing that succeeded, said again to the host on a new connection. */
static void a_replay_proves_nothing(void **state)
{
    (void)state;
    side host, joiner;
    uint8_t said[4 * KITH_PAIR_OUTPUT_MAX];
    size_t said_size = 0;
    make_two(&host, &joiner);
    assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
    for (bool more = true; more;) {
        bool fin;
        uint8_t *at = said + said_size;
        answer_events(&joiner);
        size_t size = kith_pairing_output(joiner.pair, at, KITH_PAIR_OUTPUT_MAX, &fin);
        said_size += size;
        kith_pairing_input(host.pair, at, size, fin);
        more = size || carry(&host, &joiner, 4096);
    }
    assert_true(saw(&host, KITH_PAIR_DONE));
    close_sides(&host, &joiner);
    for (uint8_t hash = 7; hash <= 9;
         hash += 2) { /* with a new hash it is refused; and with the same one, by a fresh scalar */
        side again;
        make_side(&again, 1, "desktop");
        uint8_t random[64] = {hash}, hashes[32];
        memset(hashes, hash, sizeof hashes);
        kith_words words = words_of(right);
        assert_ok(kith_pairing_new(&(kith_pairing_config){.host = true,
                                                          .kind = KITH_PAIR_OWN,
                                                          .words = &words,
                                                          .signer = &again.signer,
                                                          .self = &again.hello,
                                                          .peer = &joiner.hello,
                                                          .handshake_hash = hashes,
                                                          .random = random},
                                   &again.pair));
        size_t at = 0;
        while (at < said_size) { /* byte by byte, so that it can go on after each event */
            kith_pairing_input(again.pair, said + at++, 1, false);
            answer_events(&again);
        }
        assert_false(saw(&again, KITH_PAIR_PROVEN));
        assert_int_equal(kith_pairing_attempt(again.pair), KITH_ATTEMPT_WRONG);
        kith_pairing_free(again.pair);
    }
}

static void either_person_may_decline(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        side host, joiner;
        make_two(&host, &joiner);
        (who ? &host : &joiner)->refuse = true;
        assert_ok(open_side(&host, &joiner, true, KITH_PAIR_CONTACT, right, 7));
        assert_ok(open_side(&joiner, &host, false, KITH_PAIR_CONTACT, right, 7));
        run(&joiner, &host, 4096);
        assert_int_equal(kith_pairing_error(host.pair), KITH_ERR_DECLINED);
        assert_int_equal(kith_pairing_error(joiner.pair), KITH_ERR_DECLINED);
        assert_int_equal(kith_pairing_failed_by_peer(host.pair), !who);
        assert_false(saw(&host, KITH_PAIR_PIN) || saw(&joiner, KITH_PAIR_PIN));
        close_sides(&host, &joiner);
    }
}

static void kinds_must_agree_and_that_is_no_guess(void **state)
{
    (void)state;
    side host, joiner;
    make_two(&host, &joiner);
    assert_ok(open_side(&host, &joiner, true, KITH_PAIR_CONTACT, right, 7));
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
    run(&joiner, &host, 4096);
    assert_true(kith_pairing_kind_differs(host.pair));
    assert_int_equal(kith_pairing_error(joiner.pair), KITH_ERR_ARG);
    assert_int_equal(kith_pairing_attempt(host.pair), KITH_ATTEMPT_ABANDONED);
    close_sides(&host, &joiner);
}

static void what_cannot_be_stored_is_no_pairing(void **state)
{
    (void)state;
    side host, joiner;
    make_two(&host, &joiner);
    host.store = KITH_ERR_NO_SPACE;
    assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
    assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
    run(&joiner, &host, 4096);
    assert_false(saw(&host, KITH_PAIR_DONE) || saw(&joiner, KITH_PAIR_DONE));
    assert_int_equal(kith_pairing_error(host.pair), KITH_ERR_NO_SPACE);
    assert_int_equal(kith_pairing_error(joiner.pair), KITH_ERR_REMOTE_STORAGE);
    close_sides(&host, &joiner);
}

/* A guesser who stops before his proof learns nothing and costs nothing; the stream's end at any point fails both. */
static void ending_at_any_point_fails(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < 2000; cut += 7) {
        side host, joiner;
        uint8_t out[KITH_PAIR_OUTPUT_MAX];
        size_t given = 0;
        bool fin, over = false;
        make_two(&host, &joiner);
        assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
        assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
        for (bool more = true; more && !over;) {
            answer_events(&joiner);
            size_t size = kith_pairing_output(joiner.pair, out, sizeof out, &fin);
            over = given + size >= cut;
            kith_pairing_input(host.pair, out, over ? cut - given : size, over);
            given += size;
            answer_events(&host);
            more = (!over && carry(&host, &joiner, 4096)) || size;
        }
        if (over) assert_true(saw(&host, KITH_PAIR_DONE) || kith_pairing_error(host.pair) != KITH_OK);
        if (over && cut < 40) assert_int_equal(kith_pairing_attempt(host.pair), KITH_ATTEMPT_ABANDONED);
        close_sides(&host, &joiner);
    }
}

/* Any one byte changed on the way (as if QUIC did not protect it): never a pairing with somebody unproven. */
static void no_changed_byte_pairs_wrongly(void **state)
{
    (void)state;
    for (size_t flip = 0; flip < 700; flip += 3) {
        side host, joiner;
        uint8_t out[KITH_PAIR_OUTPUT_MAX];
        size_t given = 0;
        bool fin, flipped = false;
        make_two(&host, &joiner);
        assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
        assert_ok(open_side(&joiner, &host, false, KITH_PAIR_OWN, right, 7));
        for (bool more = true; more;) {
            answer_events(&joiner);
            size_t size = kith_pairing_output(joiner.pair, out, sizeof out, &fin);
            if (flip >= given && flip < given + size) {
                out[flip - given] ^= 1;
                flipped = true;
            }
            given += size;
            kith_pairing_input(host.pair, out, size, fin);
            answer_events(&host);
            more = carry(&host, &joiner, 4096) || size;
        }
        if (flipped) assert_false(saw(&host, KITH_PAIR_DONE));
        close_sides(&host, &joiner);
    }
}

static void messages_out_of_turn_end_it(void **state)
{
    (void)state;
    for (uint8_t type = 0; type < 64; type++) {
        side host, joiner;
        make_two(&host, &joiner);
        assert_ok(open_side(&host, &joiner, true, KITH_PAIR_OWN, right, 7));
        uint8_t message[] = {type, 3, 0xa1, 1, 1};
        kith_pairing_input(host.pair, message, sizeof message, false);
        assert_true(kith_pairing_error(host.pair) != KITH_OK);
        kith_pairing_free(host.pair);
    }
}

static int pair_once(void *arg)
{
    side *sides = arg;
    kith_err err = open_side(&sides[0], &sides[1], true, KITH_PAIR_OWN, right, 7);
    if (!err) err = open_side(&sides[1], &sides[0], false, KITH_PAIR_OWN, right, 7);
    if (!err) run(&sides[1], &sides[0], 4096);
    if (!err) {
        err = kith_pairing_error(sides[0].pair);
        /* An allocation may fail inside an exchange: it then ends as an internal error, which is what the peer is told.
         */
        if (err || kith_mem_failed()) err = KITH_ERR_NOMEM;
    }
    close_sides(&sides[0], &sides[1]);
    sides[0].pair = sides[1].pair = NULL;
    sides[0].count = sides[1].count = 0;
    return err;
}

static void failing_allocations(void **state)
{
    (void)state;
    side sides[2];
    make_two(&sides[0], &sides[1]);
    test_every_allocation(pair_once, sides);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_right_words_pair_in_pieces_of_any_size),
        TEST(one_wrong_word_is_refused_and_counted),
        TEST(a_man_in_the_middle_who_passes_messages_on_fails),
        TEST(identities_are_part_of_the_secret),
        TEST(our_own_messages_sent_back_prove_nothing),
        TEST(a_replay_proves_nothing),
        TEST(either_person_may_decline),
        TEST(kinds_must_agree_and_that_is_no_guess),
        TEST(what_cannot_be_stored_is_no_pairing),
        TEST(ending_at_any_point_fails),
        TEST(no_changed_byte_pairs_wrongly),
        TEST(messages_out_of_turn_end_it),
        TEST(failing_allocations),
    };
    return cmocka_run_group_tests_name("service/pairing", tests, NULL, NULL);
}
