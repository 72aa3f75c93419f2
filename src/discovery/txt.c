#include "discovery/txt.h"

#include "base/buf.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define VALUE_SIZE KITH_UUID_TEXT_SIZE /* the longest value of a key known here, and a NUL */
#define TAG_BYTES  3                   /* 6 hex digits */

enum { KEY_VERSION, KEY_ID, KEY_FINGERPRINT, KEY_PAIR, KEYS };
static const char *const keys[KEYS] = {"v", "id", "fp", "pair"};

typedef struct values {
    bool given[KEYS];
    bool bad; /* a known key without a value, or with one that is too long or holds a NUL */
    char text[KEYS][VALUE_SIZE];
} values;

bool kith_txt_equal(const kith_txt *a, const kith_txt *b)
{
    return memcmp(a->id, b->id, sizeof a->id) == 0 &&
           memcmp(a->fingerprint, b->fingerprint, sizeof a->fingerprint) == 0 && a->pairing == b->pairing &&
           (!a->pairing || a->tag == b->tag);
}

/* ---- writing ---- */

static void write_string(kith_writer *w, int key, const char *value)
{
    size_t key_size = strlen(keys[key]), value_size = strlen(value);
    kith_write_u8(w, (uint8_t)(key_size + 1 + value_size));
    kith_write_bytes(w, keys[key], key_size);
    kith_write_u8(w, '=');
    kith_write_bytes(w, value, value_size);
}

size_t kith_txt_write(const kith_txt *txt, void *out, size_t cap)
{
    char text[VALUE_SIZE];
    kith_writer w = kith_writer_of(out, cap);
    snprintf(text, sizeof text, "%d", KITH_TXT_VERSION);
    write_string(&w, KEY_VERSION, text); /* first, as RFC 6763 section 6.7 advises */
    write_string(&w, KEY_ID, kith_uuid_text(txt->id, text));
    write_string(&w, KEY_FINGERPRINT, kith_hex(txt->fingerprint, sizeof txt->fingerprint, text));
    if (txt->pairing) {
        if (txt->tag >> KITH_TXT_TAG_BITS) return 0;
        const uint8_t tag[TAG_BYTES] = {(uint8_t)(txt->tag >> 16), (uint8_t)(txt->tag >> 8), (uint8_t)txt->tag};
        write_string(&w, KEY_PAIR, kith_hex(tag, sizeof tag, text));
    }
    return w.bad ? 0 : kith_writer_size(&w);
}

/* ---- parsing ---- */

static int find_key(const char *string, size_t size)
{
    for (int i = 0; i < KEYS; i++) {
        if (strlen(keys[i]) == size && strncasecmp(keys[i], string, size) == 0) return i;
    }
    return -1;
}

static void take_string(values *v, const char *string, size_t size)
{
    const char *equals = memchr(string, '=', size);
    size_t key_size = equals ? (size_t)(equals - string) : size;
    int key = find_key(string, key_size);
    if (key < 0 || v->given[key]) return;
    v->given[key] = true;
    size_t value_size = equals ? size - key_size - 1 : 0;
    if (value_size == 0 || value_size >= VALUE_SIZE || memchr(equals + 1, 0, value_size)) {
        v->bad = true;
        return;
    }
    memcpy(v->text[key], equals + 1, value_size);
}

static bool read_strings(const void *data, size_t size, values *v)
{
    kith_reader r = kith_reader_of(data, size);
    while (kith_reader_left(&r)) {
        size_t length = kith_read_u8(&r);
        const uint8_t *string = kith_read_view(&r, length);
        if (!string) return false;
        if (length) take_string(v, (const char *)string, length);
    }
    return true;
}

/* KITH_TXT_VERSION alone is known; larger numbers, in decimal and without leading zeroes, are somebody's future. */
static kith_err check_version(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (text[digits] || text[0] == '0' || digits > 5) return KITH_ERR_FORMAT;
    char known[VALUE_SIZE];
    snprintf(known, sizeof known, "%d", KITH_TXT_VERSION);
    return strcmp(text, known) == 0 ? KITH_OK : KITH_ERR_VERSION;
}

kith_err kith_txt_parse(const void *data, size_t size, kith_txt *out)
{
    values v = {0};
    kith_txt txt = {0};
    if (size > KITH_TXT_MAX || !read_strings(data, size, &v) || !v.given[KEY_VERSION] || !v.text[KEY_VERSION][0])
        return KITH_ERR_FORMAT;
    kith_err err = check_version(v.text[KEY_VERSION]); /* before what another version may have changed */
    if (err) return err;
    if (v.bad || !v.given[KEY_ID] || !v.given[KEY_FINGERPRINT] || kith_uuid_parse(v.text[KEY_ID], txt.id) ||
        kith_unhex(v.text[KEY_FINGERPRINT], txt.fingerprint, sizeof txt.fingerprint))
        return KITH_ERR_FORMAT;
    if (v.given[KEY_PAIR]) {
        uint8_t tag[TAG_BYTES];
        if (kith_unhex(v.text[KEY_PAIR], tag, sizeof tag)) return KITH_ERR_FORMAT;
        txt.pairing = true;
        txt.tag = (uint32_t)tag[0] << 16 | (uint32_t)tag[1] << 8 | tag[2];
        if (txt.tag >> KITH_TXT_TAG_BITS) return KITH_ERR_FORMAT;
    }
    *out = txt;
    return KITH_OK;
}

char *kith_instance_name(const uint8_t id[static KITH_UUID_SIZE], uint16_t node,
                         char out[static KITH_INSTANCE_OWN_SIZE])
{
    kith_uuid_text(id, out);
    snprintf(out + KITH_UUID_TEXT_SIZE - 1, KITH_INSTANCE_OWN_SIZE - (KITH_UUID_TEXT_SIZE - 1), "-%04x",
             (unsigned)node);
    return out;
}
