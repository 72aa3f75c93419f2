#include "base/mem.h"
#include "crypto/aead.h"
#include "testlib.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

typedef kith_err seal_function(kith_aead *, const uint8_t *, const uint8_t *, const test_bytes *, const test_bytes *,
                               uint8_t *);

static kith_err seal_many(kith_aead *aead, const uint8_t *key, const uint8_t *nonce, const test_bytes *ad,
                          const test_bytes *plain, uint8_t *out)
{
    (void)key;
    return kith_aead_seal(aead, nonce, ad->data, ad->size, plain->data, plain->size, out);
}

static kith_err seal_once(kith_aead *aead, const uint8_t *key, const uint8_t *nonce, const test_bytes *ad,
                          const test_bytes *plain, uint8_t *out)
{
    (void)aead;
    return kith_aead_seal_once(key, nonce, ad->data, ad->size, plain->data, plain->size, out);
}

static kith_err open_many(kith_aead *aead, const uint8_t *key, const uint8_t *nonce, const test_bytes *ad,
                          const test_bytes *sealed, uint8_t *out)
{
    (void)key;
    return kith_aead_open(aead, nonce, ad->data, ad->size, sealed->data, sealed->size, out);
}

static kith_err open_once(kith_aead *aead, const uint8_t *key, const uint8_t *nonce, const test_bytes *ad,
                          const test_bytes *sealed, uint8_t *out)
{
    (void)aead;
    return kith_aead_open_once(key, nonce, ad->data, ad->size, sealed->data, sealed->size, out);
}

static seal_function *const sealers[] = {seal_many, seal_once}, *const openers[] = {open_many, open_once};

/* Exact memory for each input, so that the address sanitizer sees a byte too many. */
static uint8_t *copy_of(const void *data, size_t size, size_t room)
{
    uint8_t *copy = malloc(room ? room : 1);
    assert_non_null(copy);
    if (size) memcpy(copy, data, size);
    return copy;
}

/* Both ways of sealing and of opening, into other memory and in place; and each context twice, since it must not
 * remember. */
static void check_valid(const test_bytes *key, const test_bytes *nonce, const test_bytes *ad, const test_bytes *plain,
                        const test_bytes *sealed)
{
    kith_aead *aead;
    assert_ok(kith_aead_new(key->data, &aead));
    for (size_t i = 0; i < 4; i++) {
        uint8_t *out = copy_of(NULL, 0, sealed->size);
        assert_ok(sealers[i / 2](aead, key->data, nonce->data, ad, plain, out));
        assert_memory_equal(out, sealed->data, sealed->size);
        test_bytes in_place = {copy_of(plain->data, plain->size, sealed->size), plain->size};
        assert_ok(sealers[i / 2](aead, key->data, nonce->data, ad, &in_place, in_place.data));
        assert_memory_equal(in_place.data, sealed->data, sealed->size);
        in_place.size = sealed->size;
        assert_ok(openers[i / 2](aead, key->data, nonce->data, ad, &in_place, in_place.data));
        assert_memory_equal(in_place.data, plain->data, plain->size);
        free(in_place.data);
        free(out);
        out = copy_of(NULL, 0, plain->size);
        assert_ok(openers[i / 2](aead, key->data, nonce->data, ad, sealed, out));
        assert_memory_equal(out, plain->data, plain->size);
        free(out);
    }
    kith_aead_free(aead);
}

static void check_invalid(const test_bytes *key, const test_bytes *nonce, const test_bytes *ad,
                          const test_bytes *sealed)
{
    kith_aead *aead;
    assert_ok(kith_aead_new(key->data, &aead));
    for (size_t i = 0; i < 4; i++) {
        uint8_t *out = copy_of(NULL, 0, sealed->size);
        assert_int_equal(openers[i / 2](aead, key->data, nonce->data, ad, sealed, out), KITH_ERR_CRYPTO);
        free(out);
    }
    kith_aead_free(aead);
}

static void chacha20poly1305_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("chacha20poly1305.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes key = test_hex_of(item, "key"), nonce = test_hex_of(item, "nonce"), ad = test_hex_of(item, "aad");
        test_bytes plain = test_hex_of(item, "plaintext"), sealed = test_hex_of(item, "ciphertext_and_tag");
        assert_int_equal(key.size, KITH_AEAD_KEY_SIZE);
        assert_int_equal(nonce.size, KITH_AEAD_NONCE_SIZE);
        assert_int_equal(sealed.size, plain.size + KITH_AEAD_TAG_SIZE);
        check_valid(&key, &nonce, &ad, &plain, &sealed);
        for (size_t at = 0; at < sealed.size; at += at < sealed.size - 16 ? sealed.size / 4 + 1 : 1) {
            sealed.data[at] ^= 0x10;
            check_invalid(&key, &nonce, &ad, &sealed);
            sealed.data[at] ^= 0x10;
        }
        nonce.data[11] ^= 1;
        check_invalid(&key, &nonce, &ad, &sealed);
        nonce.data[11] ^= 1;
        if (ad.size) {
            ad.size--;
            check_invalid(&key, &nonce, &ad, &sealed);
        }
        test_bytes *all[] = {&key, &nonce, &ad, &plain, &sealed};
        for (size_t k = 0; k < 5; k++) test_bytes_free(all[k]);
    }
    test_ran("chacha20poly1305.json", i);
    json_decref(root);
}

static void wycheproof_case(json_t *item)
{
    test_bytes key = test_hex_of(item, "key"), nonce = test_hex_of(item, "iv"), ad = test_hex_of(item, "aad");
    test_bytes plain = test_hex_of(item, "msg"), ct = test_hex_of(item, "ct"), tag = test_hex_of(item, "tag");
    assert_int_equal(key.size, KITH_AEAD_KEY_SIZE);
    assert_int_equal(tag.size, KITH_AEAD_TAG_SIZE);
    test_bytes sealed = {copy_of(ct.data, ct.size, ct.size + tag.size), ct.size + tag.size};
    memcpy(sealed.data + ct.size, tag.data, tag.size);
    const char *result = test_str(item, "result");
    assert_non_null(result);
    if (strcmp(result, "valid") == 0)
        check_valid(&key, &nonce, &ad, &plain, &sealed);
    else
        check_invalid(&key, &nonce, &ad, &sealed);
    test_bytes *all[] = {&key, &nonce, &ad, &plain, &ct, &tag, &sealed};
    for (size_t k = 0; k < 7; k++) test_bytes_free(all[k]);
}

/* The groups with nonces of other sizes hold invalid cases alone, and cannot be said in this interface. */
static void wycheproof_chacha20_poly1305_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("wycheproof_chacha20_poly1305.json"), *group, *item;
    size_t i, k, ran = 0;
    json_array_foreach (json_object_get(root, "testGroups"), i, group) {
        if (json_integer_value(json_object_get(group, "ivSize")) != 96) continue;
        json_array_foreach (json_object_get(group, "tests"), k, item) wycheproof_case(item);
        ran += k;
    }
    test_ran("wycheproof_chacha20_poly1305.json", ran);
    json_decref(root);
}

/* Block 1 and on of a keystream are what sealing uses: all their bytes. */
static void check_sealed_bytes(const uint8_t *key, const uint8_t *nonce, uint32_t counter, const test_bytes *in,
                               const test_bytes *out)
{
    size_t skip = counter ? 0 : 64, before = counter ? (counter - 1) * (size_t)64 : 0;
    if (in->size <= skip || counter > 1000) return;
    test_bytes plain = {copy_of(NULL, 0, before + in->size), before + in->size - skip};
    memset(plain.data, 0, plain.size);
    memcpy(plain.data + before, in->data + skip, in->size - skip);
    uint8_t *sealed = copy_of(NULL, 0, plain.size + KITH_AEAD_TAG_SIZE);
    assert_ok(kith_aead_seal_once(key, nonce, NULL, 0, plain.data, plain.size, sealed));
    assert_memory_equal(sealed + before, out->data + skip, out->size - skip);
    free(sealed);
    test_bytes_free(&plain);
}

/* Every byte by the implementation below the header-protection mask, which gives the first of a block of any number;
 * those; and what our sealing has of them. */
static void chacha20_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("chacha20.json"), *item;
    size_t i;
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes key = test_hex_of(item, "key"), nonce = test_hex_of(item, "nonce");
        test_bytes in = test_hex_of(item, "input"), out = test_hex_of(item, "output");
        assert_int_equal(key.size, 32);
        assert_int_equal(nonce.size, 12);
        assert_int_equal(in.size, out.size);
        uint32_t counter = (uint32_t)json_integer_value(json_object_get(item, "counter"));
        uint8_t *whole = copy_of(in.data, in.size, in.size);
        assert_ok(crypto_stream_chacha20_ietf_xor_ic(whole, in.data, in.size, nonce.data, counter, key.data));
        assert_memory_equal(whole, out.data, out.size);
        free(whole);
        check_sealed_bytes(key.data, nonce.data, counter, &in, &out);
        for (size_t at = 0; at < in.size; at += 64, counter++) {
            uint8_t sample[KITH_HP_SAMPLE_SIZE], mask[KITH_HP_MASK_SIZE];
            for (size_t k = 0; k < 4; k++) sample[k] = (uint8_t)(counter >> 8 * k);
            memcpy(sample + 4, nonce.data, 12);
            kith_hp_mask(key.data, sample, mask);
            for (size_t k = 0; k < sizeof mask && at + k < in.size; k++)
                assert_int_equal(mask[k], in.data[at + k] ^ out.data[at + k]);
        }
        test_bytes *all[] = {&key, &nonce, &in, &out};
        for (size_t k = 0; k < 4; k++) test_bytes_free(all[k]);
    }
    test_ran("chacha20.json", i);
    json_decref(root);
}

/* RFC 9001 appendix A.5, whose sample uses all four bytes of the counter: the packet, sealed and masked. */
static void check_short_packet(const json_t *item)
{
    test_bytes key = test_hex_of(item, "key"), hp = test_hex_of(item, "hp"), nonce = test_hex_of(item, "nonce");
    test_bytes header = test_hex_of(item, "header"), plain = test_hex_of(item, "payload");
    size_t pn_size = (size_t)json_integer_value(json_object_get(item, "pn_len"));
    uint8_t packet[64], mask[KITH_HP_MASK_SIZE];
    assert_int_equal(key.size, KITH_AEAD_KEY_SIZE);
    assert_int_equal(hp.size, 32);
    assert_int_equal(nonce.size, KITH_AEAD_NONCE_SIZE);
    assert_true(pn_size && pn_size <= 4 && pn_size < header.size);
    assert_true(header.size + plain.size + KITH_AEAD_TAG_SIZE <= sizeof packet);
    memcpy(packet, header.data, header.size);
    assert_ok(kith_aead_seal_once(key.data, nonce.data, header.data, header.size, plain.data, plain.size,
                                  packet + header.size));
    uint8_t *pn = packet + header.size - pn_size; /* the sample begins four bytes on (RFC 9001 section 5.4.2) */
    test_equal_hex(pn + 4, KITH_HP_SAMPLE_SIZE, test_str(item, "sample"));
    kith_hp_mask(hp.data, pn + 4, mask);
    test_equal_hex(mask, sizeof mask, test_str(item, "mask"));
    packet[0] ^= mask[0] & 0x1f;
    for (size_t i = 0; i < pn_size; i++) pn[i] ^= mask[1 + i];
    test_equal_hex(packet, header.size + plain.size + KITH_AEAD_TAG_SIZE, test_str(item, "packet"));
    test_bytes *all[] = {&key, &hp, &nonce, &header, &plain};
    for (size_t k = 0; k < 5; k++) test_bytes_free(all[k]);
}

static void quic_rfc9000_9001_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("quic_rfc9000_9001.json");
    const json_t *item = json_object_get(root, "chacha20_short_header");
    if (item) check_short_packet(item);
    test_ran_kind("quic_rfc9000_9001.json", "chacha20_short_header", item != NULL);
    json_decref(root);
}

/* Kith calls Poly1305 only as a part of the AEAD, so there is nothing of ours to call: this checks the two
 * implementations below it. */
static void poly1305_json(void **state)
{
    (void)state;
    json_t *root = test_vectors("poly1305.json"), *item;
    size_t i;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    assert_non_null(mac);
    json_array_foreach (json_object_get(root, "cases"), i, item) {
        test_bytes key = test_hex_of(item, "key"), msg = test_hex_of(item, "msg");
        uint8_t tag[16];
        size_t size;
        assert_int_equal(key.size, 32);
        crypto_onetimeauth_poly1305(tag, msg.data, msg.size, key.data);
        test_equal_hex(tag, sizeof tag, test_str(item, "tag"));
        EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
        assert_int_equal(EVP_MAC_init(context, key.data, key.size, NULL), 1);
        assert_int_equal(EVP_MAC_update(context, msg.data, msg.size), 1);
        assert_int_equal(EVP_MAC_final(context, tag, &size, sizeof tag), 1);
        test_equal_hex(tag, size, test_str(item, "tag"));
        EVP_MAC_CTX_free(context);
        test_bytes_free(&key);
        test_bytes_free(&msg);
    }
    EVP_MAC_free(mac);
    test_ran("poly1305.json", i);
    json_decref(root);
}

/* A context that kept anything of one record would spoil the next: sizes, associated data and failures in turn. */
static void records_do_not_touch_each_other(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 63, 64, 65, 191, 192, 193, 255, 256, 257, 1350, 16384};
    uint8_t key[32] = {7}, nonce[12] = {0}, ad[20] = {3};
    static uint8_t plain[16384], want[16384 + 16], got[16384 + 16], opened[16384];
    for (size_t i = 0; i < sizeof plain; i++) plain[i] = (uint8_t)(i * 7);
    kith_aead *aead;
    assert_ok(kith_aead_new(key, &aead));
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t size = sizes[i], ad_size = (i + round) % sizeof ad;
            nonce[4]++;
            assert_ok(kith_aead_seal_once(key, nonce, ad, ad_size, plain, size, want));
            assert_ok(kith_aead_seal(aead, nonce, ad, ad_size, plain, size, got));
            assert_memory_equal(got, want, size + 16);
            got[(i * 5 + round) % (size + 16)] ^= 0x80;
            assert_int_equal(kith_aead_open(aead, nonce, ad, ad_size, got, size + 16, opened), KITH_ERR_CRYPTO);
            assert_ok(kith_aead_open(aead, nonce, ad, ad_size, want, size + 16, opened));
            assert_memory_equal(opened, plain, size);
        }
    }
    kith_aead_free(aead);
}

static void what_is_not_authentic_is_not_given(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, nonce[12] = {2}, sealed[100 + 16], opened[100], zeroes[100] = {0};
    memset(opened, 'x', sizeof opened);
    kith_aead *aead;
    assert_ok(kith_aead_new(key, &aead));
    assert_ok(kith_aead_seal(aead, nonce, NULL, 0, opened, sizeof opened, sealed));
    sealed[115] ^= 1;
    assert_int_equal(kith_aead_open(aead, nonce, NULL, 0, sealed, sizeof sealed, opened), KITH_ERR_CRYPTO);
    assert_memory_equal(opened, zeroes, sizeof opened);
    assert_int_equal(ERR_peek_error(),
                     0); /* an error left in OpenSSL's queue would be taken for one of TLS on this thread */
    memset(opened, 'x', sizeof opened);
    assert_int_equal(kith_aead_open_once(key, nonce, NULL, 0, sealed, sizeof sealed, opened), KITH_ERR_CRYPTO);
    assert_memory_equal(opened, zeroes, sizeof opened);
    kith_aead_free(aead);
}

static void shorter_than_a_tag(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, nonce[12] = {2}, sealed[16] = {0}, out[1];
    kith_aead *aead;
    assert_ok(kith_aead_new(key, &aead));
    for (size_t size = 0; size <= sizeof sealed; size++) {
        uint8_t *exact = copy_of(sealed, size, size);
        assert_int_equal(kith_aead_open(aead, nonce, NULL, 0, exact, size, out), KITH_ERR_CRYPTO);
        assert_int_equal(kith_aead_open_once(key, nonce, NULL, 0, exact, size, out), KITH_ERR_CRYPTO);
        free(exact);
    }
    kith_aead_free(aead);
}

static size_t openssl_calls;

static void *counting_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    openssl_calls++;
    return malloc(size);
}

static void *counting_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    openssl_calls++;
    return realloc(old, size);
}

static void counting_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

static void a_record_allocates_nothing(void **state)
{
    (void)state;
    uint8_t key[32] = {1}, nonce[12] = {2}, record[1350 + 16] = {0};
    openssl_calls = 0;
    kith_aead *aead;
    assert_ok(kith_aead_new(key, &aead));
    assert_true(openssl_calls > 0); /* or the counting does not work */
    openssl_calls = 0;
    kith_mem_fail_at(1, true);
    for (size_t i = 0; i < 100; i++) {
        assert_ok(kith_aead_seal(aead, nonce, key, 20, record, 1350, record));
        assert_ok(kith_aead_open(aead, nonce, key, 20, record, 1366, record));
        record[1365] ^= 1;
        assert_int_equal(kith_aead_open(aead, nonce, key, 20, record, 1366, record), KITH_ERR_CRYPTO);
        nonce[0]++;
    }
    kith_mem_fail_at(0, false);
    assert_int_equal(openssl_calls, 0);
    kith_aead_free(aead);
}

static int make_and_free(void *arg)
{
    uint8_t key[32] = {1};
    (void)arg;
    kith_aead *aead = NULL;
    kith_err err = kith_aead_new(key, &aead);
    if (err) assert_null(aead);
    kith_aead_free(aead);
    return err;
}

static void no_memory(void **state)
{
    (void)state;
    test_every_allocation(make_and_free, NULL);
    kith_aead_free(NULL);
}

int main(void)
{
    /* before OpenSSL allocates anything */
    if (!CRYPTO_set_mem_functions(counting_malloc, counting_realloc, counting_free)) return 1;
    const struct CMUnitTest tests[] = {
        TEST(chacha20poly1305_json),
        TEST(wycheproof_chacha20_poly1305_json),
        TEST(chacha20_json),
        TEST(quic_rfc9000_9001_json),
        TEST(poly1305_json),
        TEST(records_do_not_touch_each_other),
        TEST(what_is_not_authentic_is_not_given),
        TEST(shorter_than_a_tag),
        TEST(a_record_allocates_nothing),
        TEST(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
