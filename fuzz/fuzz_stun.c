/* STUN: no crash; an answer is read as one that names the asker, and is of bounded size. */
#include "crypto/stun_integrity.h"
#include "wire/stun.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_stun_message m, answer;
    kith_addr from = {.family = KITH_FAMILY_IPV4, .port = 7, .ip = {192, 0, 2, 1}};
    uint8_t out[KITH_STUN_ANSWER_MAX];
    if (kith_stun_read(data, size, &m)) return 0;
    if (m.integrity_at && m.integrity_at + 24 > size) abort();
    (void)!kith_stun_integrity_check(data, &m, "key", 3);
    if (size > 2 && data[2] & 1) from = (kith_addr){.family = KITH_FAMILY_IPV6, .port = 9, .ip = {0x20, 1}};
    size_t written = kith_stun_answer(&m, &from, out);
    if ((written != 0) != (m.type == KITH_STUN_REQUEST)) abort();
    if (!written) return 0;
    if (kith_stun_read(out, written, &answer) || memcmp(answer.id, m.id, KITH_STUN_ID_SIZE) != 0) abort();
    if (m.unknown_count ? answer.error != 420 : !kith_addr_equal(&answer.mapped, &from)) abort();
    return 0;
}
