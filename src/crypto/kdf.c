#include "crypto/kdf.h"

#include "base/mem.h"

#include <argon2.h>
#include <stdbool.h>
#include <string.h>

#define SALT_MIN    8                   /* RFC 9106 section 3.1 */
#define OUT_MIN     4                   /* the same */
#define OUT_MAX     64                  /* nothing of ours needs more */
#define FIELD_MAX   (UINT32_C(1) << 20) /* password, salt, secret, associated data */
#define THREADS_MAX KITH_KDF_LANES      /* the result is the same with any number */

/* The blocks come from our allocator, so that tests can refuse them. */
static int allocate_blocks(uint8_t **memory, size_t size)
{
    *memory = kith_malloc(size);
    return *memory ? ARGON2_OK : ARGON2_MEMORY_ALLOCATION_ERROR;
}

static void free_blocks(uint8_t *memory, size_t size)
{
    (void)size; /* libargon2 has wiped them */
    kith_free(memory);
}

static bool in_bounds(const kith_kdf_params *p)
{
    return p->passes >= 1 && p->passes <= KITH_KDF_PASSES_MAX && p->lanes >= 1 && p->lanes <= KITH_KDF_LANES_MAX &&
           p->memory_kib <= KITH_KDF_MEMORY_MAX_KIB && p->memory_kib >= KITH_KDF_MEMORY_MIN_KIB * p->lanes;
}

/* libargon2 takes pointers to non-const; it writes to the password and the secret only when asked to clear them. */
static uint8_t *field(kith_bytes bytes) { return (uint8_t *)(uintptr_t)bytes.data; }

kith_err kith_kdf(const kith_kdf_params *params, kith_bytes password, kith_bytes salt, kith_bytes secret, kith_bytes ad,
                  uint8_t *out, size_t out_size)
{
    if (!in_bounds(params) || salt.size < SALT_MIN) return KITH_ERR_FORMAT;
    if (out_size < OUT_MIN || out_size > OUT_MAX) return KITH_ERR_ARG;
    if (password.size > FIELD_MAX || salt.size > FIELD_MAX || secret.size > FIELD_MAX || ad.size > FIELD_MAX)
        return KITH_ERR_LIMIT;
    uint8_t derived[OUT_MAX];
    argon2_context context = {
        .out = derived,
        .outlen = (uint32_t)out_size,
        .pwd = field(password),
        .pwdlen = (uint32_t)password.size,
        .salt = field(salt),
        .saltlen = (uint32_t)salt.size,
        .secret = field(secret),
        .secretlen = (uint32_t)secret.size,
        .ad = field(ad),
        .adlen = (uint32_t)ad.size,
        .t_cost = params->passes,
        .m_cost = params->memory_kib,
        .lanes = params->lanes,
        .threads = params->lanes < THREADS_MAX ? params->lanes : THREADS_MAX,
        .version = ARGON2_VERSION_13,
        .allocate_cbk = allocate_blocks,
        .free_cbk = free_blocks,
        .flags = ARGON2_DEFAULT_FLAGS,
    };
    int result = argon2_ctx(&context, Argon2_id);
    if (result == ARGON2_THREAD_FAIL) { /* no more threads to be had: slower, but the same */
        context.threads = 1;
        result = argon2_ctx(&context, Argon2_id);
    }
    if (result == ARGON2_OK) memcpy(out, derived, out_size);
    kith_wipe(derived, sizeof derived);
    return result == ARGON2_OK                        ? KITH_OK
           : result == ARGON2_MEMORY_ALLOCATION_ERROR ? KITH_ERR_NOMEM
                                                      : KITH_ERR_INTERNAL;
}
