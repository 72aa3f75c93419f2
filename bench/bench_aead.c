/* The AEAD of every packet: megabytes (10^6 bytes) of plaintext sealed and opened per second on one thread, at the size
 * of a small packet, a full one, and a stream path's record. */
#include "crypto/aead.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RUNS       5
#define RUN_BYTES  ((size_t)200 << 20)
#define RECORD_MAX 16384
#define HEADER     20 /* associated data of a QUIC packet, about */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void count(uint8_t nonce[static KITH_AEAD_NONCE_SIZE], size_t n) { memcpy(nonce + 4, &n, sizeof n); }

/* Seconds to seal `records` records one after the other; negative when it fails. */
static double seal(kith_aead *aead, uint8_t *record, size_t size, size_t records)
{
    uint8_t header[HEADER] = {0x40}, nonce[KITH_AEAD_NONCE_SIZE] = {0};
    double start = now();
    for (size_t n = 0; n < records; n++) {
        count(nonce, n);
        if (kith_aead_seal(aead, nonce, header, sizeof header, record, size, record)) return -1;
    }
    return now() - start;
}

/* Opens the same record again and again, into other memory, as it would not stay sealed in place. */
static double open_again(kith_aead *aead, const uint8_t *sealed, uint8_t *record, size_t size, size_t records)
{
    uint8_t header[HEADER] = {0x40}, nonce[KITH_AEAD_NONCE_SIZE] = {0};
    double start = now();
    for (size_t n = 0; n < records; n++) {
        if (kith_aead_open(aead, nonce, header, sizeof header, sealed, size + KITH_AEAD_TAG_SIZE, record)) return -1;
    }
    return now() - start;
}

static int measure(kith_aead *aead, size_t size)
{
    static uint8_t record[RECORD_MAX + KITH_AEAD_TAG_SIZE], sealed[RECORD_MAX + KITH_AEAD_TAG_SIZE];
    uint8_t header[HEADER] = {0x40}, nonce[KITH_AEAD_NONCE_SIZE] = {0};
    size_t records = RUN_BYTES / size;
    double best_seal = 1e9, best_open = 1e9, megabytes = (double)(records * size) / 1e6;
    if (kith_aead_seal(aead, nonce, header, sizeof header, record, size, sealed)) return 1;
    for (int run = 0; run < RUNS; run++) {
        double seconds = seal(aead, record, size, records);
        if (seconds < 0) return 1;
        if (seconds < best_seal) best_seal = seconds;
        seconds = open_again(aead, sealed, record, size, records);
        if (seconds < 0) return 1;
        if (seconds < best_open) best_open = seconds;
    }
    printf("aead %zu bytes: seal %.0f MB/s, open %.0f MB/s\n", size, megabytes / best_seal, megabytes / best_open);
    return 0;
}

int main(void)
{
    static const size_t sizes[] = {1200, 1350, RECORD_MAX};
    uint8_t key[KITH_AEAD_KEY_SIZE] = {1};
    kith_aead *aead;
    int failed = 0;
    if (kith_aead_new(key, &aead)) return 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) failed |= measure(aead, sizes[i]);
    kith_aead_free(aead);
    return failed;
}
