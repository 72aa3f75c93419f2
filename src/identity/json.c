#include "identity/json.h"

#include "base/mem.h"
#include "base/text.h"
#include "identity/rfc3339.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEX_MAX 80 /* bytes of the largest member in hex */

kith_err kith__json_load(const void *data, size_t size, json_t **out, kith_reason *reason)
{
    json_error_t error = {.text = ""};
    char text[sizeof error.text * 4];
    json_t *root = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        /* Jansson says nothing, or says so, when it had no memory. */
        if (error.text[0] == 0 || json_error_code(&error) == json_error_out_of_memory) return KITH_ERR_NOMEM;
        kith_printable(error.text, strlen(error.text), text, sizeof text);
        snprintf(reason->text, sizeof reason->text, "line %d, column %d: %.150s", error.line, error.column, text);
        return KITH_ERR_DAMAGED;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        snprintf(reason->text, sizeof reason->text, "line 1, column 1: not a JSON object");
        return KITH_ERR_DAMAGED;
    }
    *out = root;
    return KITH_OK;
}

kith_err kith__json_dump(const json_t *object, uint8_t **out, size_t *size)
{
    const size_t flags = JSON_INDENT(2);
    size_t length = json_dumpb(object, NULL, 0, flags);
    char *text = length ? kith_malloc(length + 1) : NULL;
    if (!text || json_dumpb(object, text, length, flags) != length) {
        kith_free(text);
        return KITH_ERR_NOMEM;
    }
    text[length] = '\n';
    *out = (uint8_t *)text;
    *size = length + 1;
    return KITH_OK;
}

kith_err kith__json_bad(kith_reason *reason, const char *name, const char *what)
{
    snprintf(reason->text, sizeof reason->text, "%s: %s", name, what);
    return KITH_ERR_DAMAGED;
}

kith_err kith__newer(kith_reason *reason, uint64_t found, uint64_t known)
{
    snprintf(reason->text, sizeof reason->text, "format %" PRIu64 ", this version of Kith knows up to %" PRIu64, found,
             known);
    return KITH_ERR_VERSION;
}

kith_err kith__json_hex(const json_t *object, const char *name, void *out, size_t size, kith_reason *reason)
{
    const char *text = json_string_value(json_object_get(object, name));
    uint8_t bytes[HEX_MAX];
    if (!text) return kith__json_bad(reason, name, "missing, or not a string");
    if (size > sizeof bytes) return KITH_ERR_INTERNAL;
    if (kith_unhex(text, bytes, size)) {
        char what[48];
        snprintf(what, sizeof what, "not %zu hexadecimal digits", 2 * size);
        return kith__json_bad(reason, name, what);
    }
    memcpy(out, bytes, size);
    return KITH_OK;
}

kith_err kith__json_time(const json_t *object, const char *name, int64_t *ms, kith_reason *reason)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || kith_rfc3339_parse(text, ms)) return kith__json_bad(reason, name, "missing, or not an RFC 3339 time");
    return KITH_OK;
}

kith_err kith__json_number(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out,
                           kith_reason *reason)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_integer(member)) return kith__json_bad(reason, name, "missing, or not an integer");
    int64_t value = json_integer_value(member);
    if (value < min || value > max) {
        char what[96];
        snprintf(what, sizeof what, "%" PRId64 " is not within %" PRId64 " to %" PRId64, value, min, max);
        return kith__json_bad(reason, name, what);
    }
    *out = value;
    return KITH_OK;
}

kith_err kith__json_version(const json_t *object, const char *name, int64_t known, kith_reason *reason)
{
    int64_t version;
    kith_err err = kith__json_number(object, name, 1, INT64_MAX, &version, reason);
    if (err) return err;
    return version > known ? kith__newer(reason, (uint64_t)version, (uint64_t)known) : KITH_OK;
}

bool kith__json_set_hex(json_t *object, const char *name, const void *data, size_t size)
{
    char text[2 * HEX_MAX + 1];
    return size <= HEX_MAX && kith__json_set_text(object, name, kith_hex(data, size, text));
}

bool kith__json_set_text(json_t *object, const char *name, const char *text)
{
    return json_object_set_new(object, name, json_string(text)) == 0;
}

bool kith__json_set_time(json_t *object, const char *name, int64_t ms)
{
    char text[KITH_RFC3339_SIZE];
    return kith__json_set_text(object, name, kith_rfc3339_text(ms, text));
}

bool kith__json_set_number(json_t *object, const char *name, int64_t value)
{
    return json_object_set_new(object, name, json_integer(value)) == 0;
}
