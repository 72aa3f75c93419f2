/* The CBOR reader: no crash, and whatever it takes is in the one deterministic form, so that writing it again gives the
 * same bytes. */
#include "wire/cbor.h"

#include <stdlib.h>
#include <string.h>

static void copy_item(kith_cbor_reader *r, kith_writer *w)
{
    size_t size, count;
    switch (kith_cbor_peek(r)) {
    case KITH_CBOR_UINT: kith_cbor_write_uint(w, kith_cbor_read_uint(r)); break;
    case KITH_CBOR_BYTES: {
        const uint8_t *data = kith_cbor_read_bytes(r, &size);
        if (data) kith_cbor_write_bytes(w, data, size);
        break;
    }
    case KITH_CBOR_TEXT: {
        const char *text = kith_cbor_read_text(r, &size);
        if (text) kith_cbor_write_text(w, text, size);
        break;
    }
    case KITH_CBOR_ARRAY:
        count = kith_cbor_read_array(r);
        kith_cbor_write_array(w, count);
        for (size_t i = 0; i < count && !r->bad; i++) copy_item(r, w);
        break;
    case KITH_CBOR_MAP:
        count = kith_cbor_read_map(r);
        kith_cbor_write_map(w, count);
        for (size_t i = 0; i < 2 * count && !r->bad; i++) copy_item(r, w);
        break;
    case KITH_CBOR_BOOL: kith_cbor_write_bool(w, kith_cbor_read_bool(r)); break;
    case KITH_CBOR_NULL:
        kith_cbor_read_null(r);
        kith_cbor_write_null(w);
        break;
    default: { /* a negative integer that may be below INT64_MIN, or something wrong */
        const uint8_t *item = kith_cbor_read_item(r, &size);
        if (item) kith_write_bytes(w, item, size);
    }
    }
}

/* A walk that takes keys 1 and 4, if there; its verdict may only be stricter than skipping. */
static bool walks(const uint8_t *data, size_t size)
{
    kith_cbor_reader r = kith_cbor_reader_of(data, size);
    kith_cbor_walk walk = kith_cbor_enter(&r);
    if (kith_cbor_find(&r, &walk, 1)) kith_cbor_read_int(&r);
    if (kith_cbor_find(&r, &walk, 4)) {
        kith_cbor_walk inner = kith_cbor_enter(&r);
        char name[8];
        if (kith_cbor_need(&r, &inner, 0)) kith_cbor_read_string(&r, name, sizeof name);
        kith_cbor_leave(&r, &inner);
    }
    kith_cbor_leave(&r, &walk);
    return kith_cbor_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kith_cbor_reader skipping = kith_cbor_reader_of(data, size), copying = skipping;
    kith_cbor_skip(&skipping);
    uint8_t *memory = malloc(size + 1);
    if (!memory) return 0;
    kith_writer w = kith_writer_of(memory, size);
    copy_item(&copying, &w);
    bool good = kith_cbor_done(&skipping);
    if (good != kith_cbor_done(&copying)) abort();
    if (good && (w.bad || kith_writer_size(&w) != size || memcmp(memory, data, size) != 0)) abort();
    if (walks(data, size) && !good) abort();
    free(memory);
    return 0;
}
