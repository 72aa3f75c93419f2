/* The inner steps of cpace.c, for the draft's test vectors.  Names are the draft's. */
#ifndef KITH_CRYPTO_CPACE_INTERNAL_H
#define KITH_CRYPTO_CPACE_INTERNAL_H

#include "base/buf.h"
#include "crypto/cpace.h"

#define KITH_CPACE_HASH_SIZE 64 /* SHA-512 */

/* prepend_len: the size as LEB128, then the bytes. */
void kith__cpace_write_lv(kith_writer *w, kith_bytes piece);
/* generator_string(DSI, PRS, CI, sid, 128). */
void kith__cpace_write_generator_string(kith_writer *w, kith_bytes prs, kith_bytes ci, kith_bytes sid);
/* lv_cat(DSI_ISK, sid, K) || transcript_ir(Ya, ADa, Yb, ADb). */
void kith__cpace_write_isk_input(kith_writer *w, kith_bytes sid, kith_bytes k, kith_bytes ya, kith_bytes ada,
                                 kith_bytes yb, kith_bytes adb);
/* scalar_mult_vfy: false where the draft gives the neutral element, that is for one, and for what is no element. */
KITH_MUST_CHECK bool kith__cpace_multiply(const uint8_t scalar[static 32],
                                          const uint8_t element[static KITH_CPACE_SHARE_SIZE],
                                          uint8_t out[static KITH_CPACE_SHARE_SIZE]);

#endif
