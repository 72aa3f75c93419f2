#include "base/text.h"

#include <stdio.h>
#include <string.h>

char *kith_hex(const void *data, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * size] = 0;
    return out;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

kith_err kith_unhex(const char *text, void *out, size_t size)
{
    uint8_t *p = out;
    if (strlen(text) != 2 * size) return KITH_ERR_FORMAT;
    for (size_t i = 0; i < 2 * size; i++)
        if (nibble(text[i]) < 0) return KITH_ERR_FORMAT;
    for (size_t i = 0; i < size; i++) p[i] = (uint8_t)(nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]));
    return KITH_OK;
}

/* Bytes before each dash of a UUID's text. */
static bool dash_before(size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

char *kith_uuid_text(const uint8_t uuid[static KITH_UUID_SIZE], char out[static KITH_UUID_TEXT_SIZE])
{
    char *at = out;
    for (size_t i = 0; i < KITH_UUID_SIZE; i++) {
        if (dash_before(i)) *at++ = '-';
        kith_hex(uuid + i, 1, at);
        at += 2;
    }
    return out;
}

kith_err kith_uuid_parse(const char *text, uint8_t out[static KITH_UUID_SIZE])
{
    char digits[2 * KITH_UUID_SIZE + 1];
    size_t n = 0;
    if (strlen(text) != KITH_UUID_TEXT_SIZE - 1) return KITH_ERR_FORMAT;
    for (size_t i = 0; i < KITH_UUID_SIZE; i++) {
        if (dash_before(i) && *text++ != '-') return KITH_ERR_FORMAT;
        digits[n++] = *text++;
        digits[n++] = *text++;
    }
    digits[n] = 0;
    return kith_unhex(digits, out, KITH_UUID_SIZE);
}

/* The code point at `p` (its length in *used), or -1 with *used = 1 where the bytes are no UTF-8. */
static int32_t decode_utf8(const uint8_t *p, size_t left, size_t *used)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    size_t more = p[0] < 0x80 ? 0 : p[0] >> 5 == 6 ? 1 : p[0] >> 4 == 14 ? 2 : p[0] >> 3 == 30 ? 3 : 4;
    *used = 1;
    if (more == 4 || left <= more) return -1;
    uint32_t point = more ? p[0] & (0x3fu >> more) : p[0];
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) return -1;
        point = point << 6 | (p[i] & 0x3fu);
    }
    if (point < smallest[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return -1;
    *used = more + 1;
    return (int32_t)point;
}

bool kith_utf8_valid(const char *text, size_t size)
{
    const uint8_t *p = (const uint8_t *)text;
    for (size_t i = 0, used; i < size; i += used)
        if (decode_utf8(p + i, size - i, &used) <= 0) return false;
    return true;
}

static bool hidden(int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x2069) || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe007f);
}

char *kith_printable(const char *text, size_t size, char *out, size_t out_size)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t n = 0;
    if (out_size == 0) return out;
    for (size_t i = 0, used; i < size; i += used) {
        char piece[16];
        int32_t c = decode_utf8(p + i, size - i, &used);
        if (c < 0 || (c < 0x80 && hidden(c)))
            snprintf(piece, sizeof piece, "\\x%02x", p[i]);
        else if (hidden(c))
            snprintf(piece, sizeof piece, "\\u{%x}", (unsigned)c);
        else
            snprintf(piece, sizeof piece, "%.*s", (int)used, text + i);
        size_t length = strlen(piece);
        if (n + length + 4 > out_size && (n + length + 1 > out_size || i + used < size)) {
            snprintf(out + n, out_size - n, "...");
            return out;
        }
        memcpy(out + n, piece, length);
        n += length;
    }
    out[n] = 0;
    return out;
}
