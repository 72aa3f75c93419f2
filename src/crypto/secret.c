#include "crypto/secret.h"

#include "base/mem.h"
#include "crypto/keys.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

/* Before the secret lies a pointer to a block of our own allocator, so that its failures and its count of live blocks
 * reach secrets too.  libsodium puts the end of the memory at the end of a page: the secret is aligned as its size is.
 */
#define TOKEN_ROOM 16

void *kith_secret_new(size_t size)
{
    if (size > PTRDIFF_MAX || kith_crypto_init()) return NULL;
    void *token = kith_malloc(1);
    if (!token) return NULL;
    uint8_t *memory = sodium_malloc(TOKEN_ROOM + size);
    if (!memory) {
        kith_free(token);
        return NULL;
    }
    memcpy(memory, &token, sizeof token);
    return memory + TOKEN_ROOM;
}

void kith_secret_free(void *secret)
{
    if (!secret) return;
    uint8_t *memory = (uint8_t *)secret - TOKEN_ROOM;
    void *token;
    memcpy(&token, memory, sizeof token);
    kith_free(token);
    sodium_free(memory);
}
