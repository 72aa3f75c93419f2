/* What an own device says of the trust graph: what is read is in bounds, and heads are themselves when written again.
 */
#include "service/trust_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[KITH_TRUST_OUTPUT_MAX];
    kith_trust_message m, again;
    unsigned sum = 0;
    kith_err err = kith_trust_parse(data, size, &m);
    if (err && err != KITH_ERR_FORMAT && err != KITH_ERR_UNSUPPORTED) abort();
    if (err) return 0;
    size_t record_size, count = m.record_count;
    for (const uint8_t *bytes; (bytes = kith_trust_next_record(&m, &record_size)) != NULL; count--) {
        kith_record record;
        for (size_t k = 0; k < record_size; k++) sum += bytes[k];
        if (kith_record_parse(bytes, record_size, &record) == KITH_OK) sum += (unsigned)record.parent_count;
    }
    if (count) abort();
    if (m.kind != KITH_TRUST_HEADS) return sum > 0xfffffff0u;
    if (m.head_count > KITH_TRUST_HEADS_MAX) abort();
    size_t n =
        kith_trust_write_heads(m.network, (const uint8_t(*)[KITH_GRAPH_ID_SIZE])m.heads, m.head_count, out, sizeof out);
    if (n < 4 || kith_trust_parse(out + 4, n - 4, &again) || again.head_count != m.head_count) abort();
    if (memcmp(again.heads, m.heads, m.head_count * sizeof m.heads[0]) != 0) abort();
    return 0;
}
