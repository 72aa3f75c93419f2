#include "crypto/cpace.h"

#include "base/mem.h"
#include "crypto/cpace_internal.h"
#include "testlib.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static kith_bytes view(test_bytes b) { return (kith_bytes){b.data, b.size}; }

/* Both sides of a case: scalars given, shares and the key compared; returned finished. */
typedef struct pair {
    kith_cpace *a, *b;
} pair;

static void pair_free(pair *p)
{
    kith_cpace_free(p->a);
    kith_cpace_free(p->b);
}

static void check_intermediates(const json_t *item, const json_t *steps)
{
    test_bytes prs = test_hex_of(item, "PRS"), ci = test_hex_of(item, "CI"), sid = test_hex_of(item, "sid");
    test_bytes ada = test_hex_of(item, "ADa"), adb = test_hex_of(item, "ADb"), k = test_hex_of(item, "K");
    test_bytes ya = test_hex_of(item, "Ya"), yb = test_hex_of(item, "Yb"), a = test_hex_of(item, "ya"),
               b = test_hex_of(item, "yb");
    uint8_t memory[4096], hash[KITH_CPACE_HASH_SIZE], g[32], shared[32];
    kith_writer w = kith_writer_of(memory, sizeof memory);
    kith__cpace_write_generator_string(&w, view(prs), view(ci), view(sid));
    assert_false(w.bad);
    test_equal_hex(memory, kith_writer_size(&w), test_str(steps, "generator_string"));
    crypto_hash_sha512(hash, memory, kith_writer_size(&w));
    test_equal_hex(hash, sizeof hash, test_str(steps, "hash_result"));
    crypto_core_ristretto255_from_hash(g, hash);
    test_equal_hex(g, sizeof g, test_str(item, "g"));
    assert_true(kith__cpace_multiply(a.data, g, shared));
    assert_memory_equal(shared, ya.data, 32);
    assert_true(kith__cpace_multiply(a.data, yb.data, shared));
    assert_memory_equal(shared, k.data, 32);
    assert_true(kith__cpace_multiply(b.data, ya.data, shared));
    assert_memory_equal(shared, k.data, 32);
    if (test_str(steps, "ISK_input_ir")) {
        w = kith_writer_of(memory, sizeof memory);
        kith__cpace_write_isk_input(&w, view(sid), view(k), view(ya), view(ada), view(yb), view(adb));
        test_equal_hex(memory, kith_writer_size(&w), test_str(steps, "ISK_input_ir"));
    }
    test_bytes *all[] = {&prs, &ci, &sid, &ada, &adb, &k, &ya, &yb, &a, &b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_bytes_free(all[i]);
}

/* The confirmation tag, computed from the published ISK by another path: one-shot primitives over bytes put together
 * here. */
static void expected_tag(test_bytes sid, test_bytes isk, test_bytes share, test_bytes ad,
                         uint8_t tag[KITH_CPACE_TAG_SIZE])
{
    uint8_t memory[2048], key[64];
    size_t n = 0;
    memcpy(memory, "CPaceMac", 8);
    if (sid.size) memcpy(memory + 8, sid.data, sid.size);
    memcpy(memory + 8 + sid.size, isk.data, isk.size);
    crypto_hash_sha512(key, memory, 8 + sid.size + isk.size);
    memory[n++] = 32;
    memcpy(memory + n, share.data, 32);
    n += 32;
    assert_true(ad.size < 16384);
    if (ad.size >= 128)
        memory[n++] = (uint8_t)(ad.size | 0x80), memory[n++] = (uint8_t)(ad.size >> 7);
    else
        memory[n++] = (uint8_t)ad.size;
    if (ad.size) memcpy(memory + n, ad.data, ad.size);
    n += ad.size;
    crypto_auth_hmacsha512_state state;
    crypto_auth_hmacsha512_init(&state, key, sizeof key);
    crypto_auth_hmacsha512_update(&state, memory, n);
    crypto_auth_hmacsha512_final(&state, tag);
}

static void check_case(const json_t *item)
{
    test_bytes prs = test_hex_of(item, "PRS"), ci = test_hex_of(item, "CI"), sid = test_hex_of(item, "sid");
    test_bytes ada = test_hex_of(item, "ADa"), adb = test_hex_of(item, "ADb"), a = test_hex_of(item, "ya"),
               b = test_hex_of(item, "yb");
    test_bytes ya = test_hex_of(item, "Ya"), yb = test_hex_of(item, "Yb"), isk = test_hex_of(item, "ISK_IR");
    pair p = {NULL, NULL};
    uint8_t share[KITH_CPACE_SHARE_SIZE], key[KITH_CPACE_ISK_SIZE], tag_a[KITH_CPACE_TAG_SIZE],
        tag_b[KITH_CPACE_TAG_SIZE];
    uint8_t want[KITH_CPACE_TAG_SIZE];
    kith_cpace_config config = {.initiator = true, .prs = view(prs), .ci = view(ci), .sid = view(sid), .ad = view(ada)};
    assert_ok(kith_cpace_new_scalar(&config, a.data, &p.a));
    config.initiator = false;
    config.ad = view(adb);
    assert_ok(kith_cpace_new_scalar(&config, b.data, &p.b));
    kith_cpace_share(p.a, share);
    assert_memory_equal(share, ya.data, sizeof share);
    kith_cpace_share(p.b, share);
    assert_memory_equal(share, yb.data, sizeof share);
    assert_ok(kith_cpace_finish(p.a, yb.data, view(adb)));
    assert_ok(kith_cpace_finish(p.b, ya.data, view(ada)));
    kith_cpace_isk_unconfirmed(p.a, key);
    assert_memory_equal(key, isk.data, sizeof key);
    kith_cpace_isk_unconfirmed(p.b, key);
    assert_memory_equal(key, isk.data, sizeof key);
    assert_int_equal(kith_cpace_isk(p.a, key), KITH_ERR_STATE);
    assert_ok(kith_cpace_tag(p.a, tag_a));
    assert_ok(kith_cpace_tag(p.b, tag_b));
    expected_tag(sid, isk, ya, ada, want);
    assert_memory_equal(tag_a, want, sizeof want);
    expected_tag(sid, isk, yb, adb, want);
    assert_memory_equal(tag_b, want, sizeof want);
    assert_ok(kith_cpace_check(p.a, tag_b));
    assert_ok(kith_cpace_check(p.b, tag_a));
    assert_ok(kith_cpace_isk(p.a, key));
    assert_memory_equal(key, isk.data, sizeof key);
    assert_ok(kith_cpace_isk(p.b, key));
    assert_memory_equal(key, isk.data, sizeof key);
    pair_free(&p);
    test_bytes *all[] = {&prs, &ci, &sid, &ada, &adb, &a, &b, &ya, &yb, &isk};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) test_bytes_free(all[i]);
}

static pair two(const char *password_a, const char *password_b, const char *ad_a, const char *ad_b)
{
    uint8_t random_a[64], random_b[64];
    pair p = {NULL, NULL};
    memset(random_a, 0x5a, sizeof random_a);
    memset(random_b, 0xc3, sizeof random_b);
    kith_cpace_config config = {.initiator = true,
                                .prs = {password_a, strlen(password_a)},
                                .ci = {"both", 4},
                                .sid = {"session", 7},
                                .ad = {ad_a, strlen(ad_a)},
                                .scalar = random_a};
    assert_ok(kith_cpace_new(&config, &p.a));
    config.initiator = false;
    config.prs = (kith_bytes){password_b, strlen(password_b)};
    config.ad = (kith_bytes){ad_b, strlen(ad_b)};
    config.scalar = random_b;
    assert_ok(kith_cpace_new(&config, &p.b));
    return p;
}

static void cpace_ristretto255_sha512(void **state)
{
    (void)state;
    const char *name = "cpace_ristretto255_sha512.json";
    json_t *root = test_vectors(name), *point;
    const json_t *vector = json_object_get(root, "vector"), *points = json_object_get(root, "points");
    check_intermediates(vector, json_object_get(root, "intermediate"));
    check_case(vector);
    size_t cases = 1;
    const char *key;
    test_bytes scalar = test_hex_of(json_object_get(points, "Valid"), "s");
    json_object_foreach ((json_t *)(uintptr_t)points, key, point) {
        uint8_t out[32];
        if (json_is_object(point)) {
            test_bytes s = test_hex_of(point, "s"), x = test_hex_of(point, "X");
            assert_true(kith__cpace_multiply(s.data, x.data, out));
            test_equal_hex(out, sizeof out, test_str(point, "G.scalar_mult_vfy(s,X)"));
            test_equal_hex(out, sizeof out, test_str(point, "G.scalar_mult(s,decode(X))"));
            test_bytes_free(&s);
            test_bytes_free(&x);
        } else { /* "Invalid Y1", "Invalid Y2" ...: no element, the neutral one */
            test_bytes y = test_unhex(json_string_value(point));
            assert_int_equal(y.size, 32);
            if (scalar.size == 32) assert_false(kith__cpace_multiply(scalar.data, y.data, out));
            pair p = two("word", "word", "a", "b");
            assert_int_equal(kith_cpace_finish(p.a, y.data, (kith_bytes){"b", 1}), KITH_ERR_CRYPTO);
            uint8_t tag[KITH_CPACE_TAG_SIZE];
            assert_int_equal(kith_cpace_tag(p.a, tag), KITH_ERR_STATE);
            pair_free(&p);
            test_bytes_free(&y);
        }
        cases++;
    }
    test_bytes_free(&scalar);
    test_ran(name, cases);
    json_decref(root);
}

static void cpace_ristretto255_derived(void **state)
{
    (void)state;
    json_t *root = test_vectors("cpace_ristretto255_derived.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        check_intermediates(item, item);
        check_case(item);
    }
    test_ran("cpace_ristretto255_derived.json", i);
    json_decref(root);
}

/* Run both to their tags; `ad_of_b` is what a is told that b said. */
static void exchange(pair *p, const char *ad_a, const char *ad_of_b, uint8_t *tag_a, uint8_t *tag_b)
{
    uint8_t share_a[KITH_CPACE_SHARE_SIZE], share_b[KITH_CPACE_SHARE_SIZE];
    kith_cpace_share(p->a, share_a);
    kith_cpace_share(p->b, share_b);
    assert_ok(kith_cpace_finish(p->a, share_b, (kith_bytes){ad_of_b, strlen(ad_of_b)}));
    assert_ok(kith_cpace_finish(p->b, share_a, (kith_bytes){ad_a, strlen(ad_a)}));
    assert_ok(kith_cpace_tag(p->a, tag_a));
    assert_ok(kith_cpace_tag(p->b, tag_b));
}

static void another_password_fails_and_gets_one_guess(void **state)
{
    (void)state;
    uint8_t tag_a[KITH_CPACE_TAG_SIZE], tag_b[KITH_CPACE_TAG_SIZE], key[KITH_CPACE_ISK_SIZE],
        zeroes[KITH_CPACE_ISK_SIZE] = {0};
    pair p = two("six words", "six word", "a", "b");
    exchange(&p, "a", "b", tag_a, tag_b);
    assert_int_equal(kith_cpace_check(p.a, tag_b), KITH_ERR_CODE);
    assert_int_equal(kith_cpace_check(p.b, tag_a), KITH_ERR_CODE);
    assert_int_equal(kith_cpace_check(p.a, tag_b), KITH_ERR_STATE);
    assert_int_equal(kith_cpace_tag(p.a, key), KITH_ERR_STATE);
    assert_int_equal(kith_cpace_isk(p.a, key), KITH_ERR_STATE);
    kith_cpace_isk_unconfirmed(p.a, key);
    assert_memory_equal(key, zeroes, sizeof key);
    pair_free(&p);
}

static void changed_associated_data_fails(void **state)
{
    (void)state;
    uint8_t tag_a[KITH_CPACE_TAG_SIZE], tag_b[KITH_CPACE_TAG_SIZE];
    pair p = two("word", "word", "a", "b");
    exchange(&p, "a", "B", tag_a, tag_b);
    assert_int_equal(kith_cpace_check(p.a, tag_b), KITH_ERR_CODE);
    assert_int_equal(kith_cpace_check(p.b, tag_a), KITH_ERR_CODE);
    pair_free(&p);
}

static void a_changed_bit_anywhere_in_the_tag_fails(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * KITH_CPACE_TAG_SIZE; bit += 37) {
        uint8_t tag_a[KITH_CPACE_TAG_SIZE], tag_b[KITH_CPACE_TAG_SIZE];
        pair p = two("word", "word", "a", "b");
        exchange(&p, "a", "b", tag_a, tag_b);
        tag_b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(kith_cpace_check(p.a, tag_b), KITH_ERR_CODE);
        assert_ok(kith_cpace_check(p.b, tag_a));
        pair_free(&p);
    }
}

static void reflection_fails(void **state)
{
    (void)state;
    uint8_t share[KITH_CPACE_SHARE_SIZE], tag_a[KITH_CPACE_TAG_SIZE], tag_b[KITH_CPACE_TAG_SIZE];
    pair p = two("word", "word", "same", "same");
    kith_cpace_share(p.a, share);
    assert_int_equal(kith_cpace_finish(p.a, share, (kith_bytes){"same", 4}), KITH_ERR_CRYPTO);
    kith_cpace_share(p.b, share);
    assert_int_equal(kith_cpace_finish(p.a, share, (kith_bytes){"same", 4}),
                     KITH_ERR_STATE); /* and that was its one try */
    pair_free(&p);
    p = two("word", "word", "same", "same"); /* a's own tag sent back to it, even with equal associated data */
    exchange(&p, "same", "same", tag_a, tag_b);
    assert_memory_not_equal(tag_a, tag_b, sizeof tag_a);
    assert_int_equal(kith_cpace_check(p.a, tag_a), KITH_ERR_CODE);
    pair_free(&p);
}

static void two_initiators_do_not_agree(void **state)
{
    (void)state;
    uint8_t random_a[64] = {1}, random_b[64] = {2}, share[KITH_CPACE_SHARE_SIZE], tag[KITH_CPACE_TAG_SIZE];
    kith_cpace_config config = {.initiator = true, .prs = {"word", 4}, .scalar = random_a};
    pair p = {NULL, NULL};
    assert_ok(kith_cpace_new(&config, &p.a));
    config.scalar = random_b;
    assert_ok(kith_cpace_new(&config, &p.b));
    kith_cpace_share(p.b, share);
    assert_ok(kith_cpace_finish(p.a, share, (kith_bytes){NULL, 0}));
    kith_cpace_share(p.a, share);
    assert_ok(kith_cpace_finish(p.b, share, (kith_bytes){NULL, 0}));
    assert_ok(kith_cpace_tag(p.b, tag));
    assert_int_equal(kith_cpace_check(p.a, tag), KITH_ERR_CODE);
    pair_free(&p);
}

static void the_order_of_calls_is_kept(void **state)
{
    (void)state;
    uint8_t out[64], share[KITH_CPACE_SHARE_SIZE], zero[64] = {0};
    pair p = two("word", "word", "a", "b");
    assert_int_equal(kith_cpace_tag(p.a, out), KITH_ERR_STATE);
    assert_int_equal(kith_cpace_check(p.a, zero), KITH_ERR_STATE); /* all-zero fields must not pass for a tag */
    assert_int_equal(kith_cpace_isk(p.a, out), KITH_ERR_STATE);
    kith_cpace_share(p.b, share);
    assert_ok(kith_cpace_finish(p.a, share, (kith_bytes){"b", 1}));
    assert_int_equal(kith_cpace_finish(p.a, share, (kith_bytes){"b", 1}), KITH_ERR_STATE);
    assert_int_equal(kith_cpace_isk(p.a, out), KITH_ERR_STATE);
    pair_free(&p);
    kith_cpace *none = NULL;
    kith_cpace_config config = {.prs = {"word", 4}, .scalar = zero};
    assert_int_equal(kith_cpace_new(&config, &none), KITH_ERR_CRYPTO); /* a scalar of 0 */
    config.scalar = NULL;
    assert_int_equal(kith_cpace_new(&config, &none), KITH_ERR_ARG);
    static const uint8_t large[65537];
    config.scalar = large;
    config.ad = (kith_bytes){large, sizeof large};
    assert_int_equal(kith_cpace_new(&config, &none), KITH_ERR_LIMIT);
    assert_null(none);
    kith_cpace_free(NULL);
}

static int whole_exchange(void *arg)
{
    const uint8_t *share = arg;
    uint8_t random[64] = {9};
    kith_cpace *cpace = NULL;
    kith_cpace_config config = {
        .initiator = true, .prs = {"word", 4}, .sid = {"sid", 3}, .ad = {"ad", 2}, .scalar = random};
    kith_err err = kith_cpace_new(&config, &cpace);
    if (!err) err = kith_cpace_finish(cpace, share, (kith_bytes){"peer", 4});
    kith_cpace_free(cpace);
    return err;
}

static void without_memory(void **state)
{
    (void)state;
    uint8_t share[KITH_CPACE_SHARE_SIZE];
    pair p = two("word", "word", "a", "b");
    kith_cpace_share(p.b, share);
    test_every_allocation(whole_exchange, share);
    kith_mem_fail_at(1, false); /* the exchange survives it */
    assert_int_equal(kith_cpace_finish(p.a, share, (kith_bytes){"b", 1}), KITH_ERR_NOMEM);
    kith_mem_fail_at(0, false);
    assert_ok(kith_cpace_finish(p.a, share, (kith_bytes){"b", 1}));
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cpace_ristretto255_sha512),
        TEST(cpace_ristretto255_derived),
        TEST(another_password_fails_and_gets_one_guess),
        TEST(changed_associated_data_fails),
        TEST(a_changed_bit_anywhere_in_the_tag_fails),
        TEST(reflection_fails),
        TEST(two_initiators_do_not_agree),
        TEST(the_order_of_calls_is_kept),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
