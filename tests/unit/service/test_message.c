/* The signed envelope: good for what it was signed for, and for nothing else. */
#include "service/message.h"

#include "identity/fingerprint.h"
#include "testlib.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t seed[32] = {1, 2}, binding[KITH_BINDING_SIZE] = {3, 4};
static kith_signer signer;

static int setup(void **state)
{
    (void)state;
    assert_ok(kith_crypto_init());
    signer.seed = seed;
    signer.uuid[5] = 6;
    kith_ed25519_public(seed, signer.public_key);
    kith_fingerprint(signer.uuid, signer.public_key, signer.fingerprint);
    return 0;
}

static kith_err check(const uint8_t *data, size_t size, kith_message_context context, const uint8_t *bound_to,
                      const uint8_t *public_key)
{
    kith_message m;
    kith_err err = kith_message_parse(data, size, &m);
    return err ? err : kith_message_verify(&m, context, bound_to, public_key);
}

static void signed_and_verified(void **state)
{
    (void)state;
    static uint8_t payload[KITH_MESSAGE_PAYLOAD_MAX + 1], out[KITH_MESSAGE_MAX];
    static const size_t sizes[] = {0, 1, 23, 24, 255, 256, KITH_MESSAGE_PAYLOAD_MAX};
    kith_message m;
    size_t size;
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_ok(
            kith_message_sign(&signer, KITH_MESSAGE_HELLO_DIALLER, binding, payload, sizes[i], out, sizeof out, &size));
        assert_ok(kith_message_parse(out, size, &m));
        assert_int_equal(m.payload_size, sizes[i]);
        assert_memory_equal(m.payload, payload, sizes[i]);
        assert_memory_equal(m.uuid, signer.uuid, sizeof m.uuid);
        assert_memory_equal(m.fingerprint, signer.fingerprint, sizeof m.fingerprint);
        assert_ok(kith_message_verify(&m, KITH_MESSAGE_HELLO_DIALLER, binding, signer.public_key));
        assert_int_equal(
            kith_message_sign(&signer, KITH_MESSAGE_HELLO_DIALLER, binding, payload, sizes[i], out, size - 1, &size),
            KITH_ERR_LIMIT);
    }
    assert_int_equal(kith_message_sign(&signer, KITH_MESSAGE_HELLO_DIALLER, binding, payload, sizeof payload, out,
                                       sizeof out, &size),
                     KITH_ERR_LIMIT);
}

static void nowhere_else(void **state)
{
    (void)state;
    uint8_t out[KITH_MESSAGE_MAX], other[32] = {9}, other_key[32];
    size_t size;
    kith_ed25519_public(other, other_key);
    assert_ok(kith_message_sign(&signer, KITH_MESSAGE_PAIR_HOST, binding, "payload", 7, out, sizeof out, &size));
    assert_ok(check(out, size, KITH_MESSAGE_PAIR_HOST, binding, signer.public_key));
    for (int context = 0; context < 8; context++)
        if (context != KITH_MESSAGE_PAIR_HOST)
            assert_int_equal(check(out, size, (kith_message_context)context, binding, signer.public_key),
                             KITH_ERR_SIGNATURE);
    assert_int_equal(check(out, size, KITH_MESSAGE_PAIR_HOST, other, signer.public_key), KITH_ERR_SIGNATURE);
    assert_int_equal(check(out, size, KITH_MESSAGE_PAIR_HOST, binding, other_key), KITH_ERR_SIGNATURE);
    for (size_t i = 0; i < size; i++) { /* any byte */
        out[i] ^= 1;
        assert_true(check(out, size, KITH_MESSAGE_PAIR_HOST, binding, signer.public_key) != KITH_OK);
        out[i] ^= 1;
    }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, out, cut);
        assert_int_equal(check(exact, cut, KITH_MESSAGE_PAIR_HOST, binding, signer.public_key), KITH_ERR_FORMAT);
        free(exact);
    }
    /* A fingerprint of somebody else's, signed by us: it must be that of id and key. */
    kith_signer liar = signer;
    liar.fingerprint[0] ^= 1;
    assert_ok(kith_message_sign(&liar, KITH_MESSAGE_PAIR_HOST, binding, "payload", 7, out, sizeof out, &size));
    assert_int_equal(check(out, size, KITH_MESSAGE_PAIR_HOST, binding, signer.public_key), KITH_ERR_SIGNATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(signed_and_verified), TEST(nowhere_else)};
    return cmocka_run_group_tests_name("service/message", tests, setup, NULL);
}
