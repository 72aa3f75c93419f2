#include "crypto/edwards.h"
#include "testlib.h"

#include <string.h>

static void the_way_back(void **state)
{
    (void)state;
    size_t sign[2] = {0};
    assert_ok(kith_crypto_init());
    for (unsigned n = 0; n < 200; n++) {
        uint8_t seed[KITH_ED25519_SEED_SIZE] = {(uint8_t)n, 1}, key[KITH_ED25519_PUBLIC_SIZE], x[KITH_X25519_SIZE];
        uint8_t found[2][KITH_ED25519_PUBLIC_SIZE];
        kith_ed25519_public(seed, key);
        assert_ok(kith_ed25519_public_to_x25519(key, x));
        assert_ok(kith_x25519_to_ed25519(x, found));
        size_t which = key[31] >> 7;
        assert_memory_equal(found[which], key, sizeof key);
        assert_memory_equal(found[!which], key, sizeof key - 1);
        sign[which]++;
        x[31] |= 0x80; /* not part of the number */
        assert_ok(kith_x25519_to_ed25519(x, found));
        assert_memory_equal(found[which], key, sizeof key);
    }
    assert_true(sign[0] > 50 && sign[1] > 50);
}

/* u of the order-2, 4 and 8 points, of the twist, u = -1 and what is not reduced: no device's key. */
static void what_is_no_key(void **state)
{
    (void)state;
    uint8_t u[KITH_X25519_SIZE] = {0}, found[2][KITH_ED25519_PUBLIC_SIZE];
    size_t refused = 0;
    assert_ok(kith_crypto_init());
    assert_int_equal(kith_x25519_to_ed25519(u, found), KITH_ERR_CRYPTO);
    u[0] = 1;
    assert_int_equal(kith_x25519_to_ed25519(u, found), KITH_ERR_CRYPTO);
    memset(u, 0xff, sizeof u);
    u[31] = 0x7f;
    u[0] = 0xec; /* p - 1 */
    assert_int_equal(kith_x25519_to_ed25519(u, found), KITH_ERR_CRYPTO);
    u[0] = 0xed + 9; /* p + 9: the base point, written otherwise */
    assert_int_equal(kith_x25519_to_ed25519(u, found), KITH_ERR_CRYPTO);
    memset(u, 0, sizeof u);
    for (unsigned n = 2; n < 102; n++) {
        u[0] = (uint8_t)n;
        refused += kith_x25519_to_ed25519(u, found) != KITH_OK;
    }
    assert_true(refused > 50); /* the twist's half, and cofactors */
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_way_back), TEST(what_is_no_key)};
    return cmocka_run_group_tests_name("crypto/edwards", tests, NULL, NULL);
}
