#include "crypto/edwards.h"

#include <openssl/bn.h>
#include <stdbool.h>
#include <string.h>

#define FIELD_BITS 255
#define FIELD_TAIL 19 /* the field's order is 2^255 - 19 */
#define SIGN_BIT   0x80

/* y = (u - 1) / (u + 1) into `out`, little-endian; false: no memory, or u + 1 is 0. */
static bool map(const uint8_t u_bytes[static KITH_X25519_SIZE], uint8_t out[static KITH_ED25519_PUBLIC_SIZE])
{
    BN_CTX *context = BN_CTX_new();
    BIGNUM *p = BN_new(), *u = BN_new(), *over = BN_new(), *under = BN_new();
    bool ok = context && p && u && over && under && BN_set_bit(p, FIELD_BITS) && BN_sub_word(p, FIELD_TAIL) &&
              BN_lebin2bn(u_bytes, KITH_X25519_SIZE, u) && BN_nnmod(u, u, p, context) && BN_copy(over, u) &&
              BN_copy(under, u) && BN_add_word(under, 1) && BN_sub_word(over, 1) && BN_nnmod(over, over, p, context) &&
              BN_nnmod(under, under, p, context) && !BN_is_zero(under) && BN_mod_inverse(under, under, p, context) &&
              BN_mod_mul(over, over, under, p, context) &&
              BN_bn2lebinpad(over, out, KITH_ED25519_PUBLIC_SIZE) == KITH_ED25519_PUBLIC_SIZE;
    BN_free(p);
    BN_free(u);
    BN_free(over);
    BN_free(under);
    BN_CTX_free(context);
    return ok;
}

kith_err kith_x25519_to_ed25519(const uint8_t x25519[static KITH_X25519_SIZE],
                                uint8_t out[static 2][KITH_ED25519_PUBLIC_SIZE])
{
    uint8_t u[KITH_X25519_SIZE], y[2][KITH_ED25519_PUBLIC_SIZE], back[KITH_X25519_SIZE];
    memcpy(u, x25519, sizeof u);
    u[KITH_X25519_SIZE - 1] &= (uint8_t)~SIGN_BIT; /* RFC 7748: not part of the number */
    if (!map(u, y[0])) return KITH_ERR_CRYPTO;
    memcpy(y[1], y[0], sizeof y[1]);
    y[1][KITH_ED25519_PUBLIC_SIZE - 1] |= SIGN_BIT;
    /* A point of the curve, of the right order, and nobody else's: the way back says so. */
    if (kith_ed25519_public_to_x25519(y[0], back) || memcmp(back, u, sizeof u) != 0) return KITH_ERR_CRYPTO;
    memcpy(out, y, sizeof y);
    return KITH_OK;
}
