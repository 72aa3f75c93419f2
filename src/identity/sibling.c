#include "identity/sibling.h"

#include "base/mem.h"
#include "crypto/blake3.h"

#include <sodium.h>
#include <string.h>

#define TYPE         7
#define PART_SIZE    16
#define MACHINE_AT   1
#define PROOF_AT     (MACHINE_AT + PART_SIZE)
#define CONTEXT_BOOT "kith 2026-11 sibling machine v1"
#define CONTEXT_TELL "kith 2026-11 sibling proof v1"

_Static_assert(PROOF_AT + PART_SIZE == KITH_SIBLING_SIZE, "the parts fill it");

/* BLAKE3's key derivation over the seed and what is told: of fixed sizes, so that no two inputs are one. */
static void keyed(const char *context, const uint8_t *seed, const uint8_t *told, size_t size, uint8_t *out)
{
    uint8_t input[KITH_ED25519_SEED_SIZE + PART_SIZE + KITH_SIBLING_INSTANCE_SIZE];
    memcpy(input, seed, KITH_ED25519_SEED_SIZE);
    memcpy(input + KITH_ED25519_SEED_SIZE, told, size);
    kith_blake3_derive(context, input, KITH_ED25519_SEED_SIZE + size, out, PART_SIZE);
    kith_wipe(input, sizeof input);
}

static void prove(const uint8_t *seed, const uint8_t *machine, const uint8_t *asker, uint8_t *out)
{
    uint8_t told[PART_SIZE + KITH_SIBLING_INSTANCE_SIZE];
    memcpy(told, machine, PART_SIZE);
    memcpy(told + PART_SIZE, asker, KITH_SIBLING_INSTANCE_SIZE);
    keyed(CONTEXT_TELL, seed, told, sizeof told, out);
}

void kith_sibling_write(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                        const uint8_t boot[static KITH_SIBLING_BOOT_SIZE],
                        const uint8_t asker[static KITH_SIBLING_INSTANCE_SIZE], uint8_t out[static KITH_SIBLING_SIZE])
{
    out[0] = TYPE;
    keyed(CONTEXT_BOOT, seed, boot, KITH_SIBLING_BOOT_SIZE, out + MACHINE_AT);
    prove(seed, out + MACHINE_AT, asker, out + PROOF_AT);
}

kith_sibling kith_sibling_read(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                               const uint8_t boot[static KITH_SIBLING_BOOT_SIZE],
                               const uint8_t asker[static KITH_SIBLING_INSTANCE_SIZE], const uint8_t *bytes,
                               size_t size)
{
    uint8_t ours[PART_SIZE], proof[PART_SIZE];
    if (size != KITH_SIBLING_SIZE || bytes[0] != TYPE) return KITH_SIBLING_NONE;
    prove(seed, bytes + MACHINE_AT, asker, proof);
    if (sodium_memcmp(proof, bytes + PROOF_AT, PART_SIZE) != 0) return KITH_SIBLING_NONE;
    keyed(CONTEXT_BOOT, seed, boot, KITH_SIBLING_BOOT_SIZE, ours);
    return memcmp(ours, bytes + MACHINE_AT, PART_SIZE) == 0 ? KITH_SIBLING_HERE : KITH_SIBLING_ELSEWHERE;
}
