/* What two running nodes of one identity tell each other through a relay: whether they are on one machine, as they may
 * be, or on two, as happens when a home was copied.
 *
 *     07 || machine (16) || proof (16)
 *
 * machine stands for a boot of a machine and tells nothing to who does not have the identity's key; proof shows that
 * the sender has it, and answers this very asker. */
#ifndef KITH_IDENTITY_SIBLING_H
#define KITH_IDENTITY_SIBLING_H

#include "crypto/keys.h"

#include <stddef.h>
#include <stdint.h>

#define KITH_SIBLING_SIZE          33
#define KITH_SIBLING_BOOT_SIZE     16
#define KITH_SIBLING_INSTANCE_SIZE 8

typedef enum kith_sibling { KITH_SIBLING_NONE, KITH_SIBLING_HERE, KITH_SIBLING_ELSEWHERE } kith_sibling;

/* `seed`: the identity's Ed25519 seed; `boot`: this machine's boot id; `asker`: the instance that asked. */
void kith_sibling_write(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                        const uint8_t boot[static KITH_SIBLING_BOOT_SIZE],
                        const uint8_t asker[static KITH_SIBLING_INSTANCE_SIZE], uint8_t out[static KITH_SIBLING_SIZE]);
/* What the answer says to the asker; NONE: it is no such answer, or not one of this identity to him. */
kith_sibling kith_sibling_read(const uint8_t seed[static KITH_ED25519_SEED_SIZE],
                               const uint8_t boot[static KITH_SIBLING_BOOT_SIZE],
                               const uint8_t asker[static KITH_SIBLING_INSTANCE_SIZE], const uint8_t *bytes,
                               size_t size);

#endif
