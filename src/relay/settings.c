#include "relay/settings.h"

#include "relay/text.h"

#include <stdio.h>
#include <string.h>

#define WORDS 4 /* "name = value" has three */

typedef enum kind { COUNT, BYTES, TIME } kind;

static const struct row {
    const char *name;
    kind kind;
    uint64_t value, least, most;
    size_t at;
} rows[] = {
#define KITH_X(name, kind, value, least, most, what)                                                                   \
    {#name, kind, (uint64_t)(value), (uint64_t)(least), (uint64_t)(most), offsetof(kith_relay_settings, name)},
    KITH_RELAY_SETTINGS(KITH_X)
#undef KITH_X
};

static uint64_t *value_of(kith_relay_settings *settings, const struct row *row)
{
    return (uint64_t *)(void *)((char *)settings + row->at);
}

void kith_relay_settings_default(kith_relay_settings *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < KITH_RELAY_SETTING_COUNT; i++) *value_of(out, &rows[i]) = rows[i].value;
}

const char *kith_relay_setting_name(kith_relay_setting setting) { return rows[setting].name; }

uint64_t kith_relay_setting_get(const kith_relay_settings *settings, kith_relay_setting setting)
{
    uint64_t value;
    memcpy(&value, (const char *)settings + rows[setting].at, sizeof value);
    return value;
}

static bool read_time(const char *text, size_t size, uint64_t *out)
{
    uint64_t factor = 1;
    if (size) {
        switch (text[size - 1]) {
        case 's': factor = 1000; break;
        case 'm': factor = 60000; break;
        case 'h': factor = 3600000; break;
        default: break;
        }
    }
    if (!kith__relay_number(text, size - (factor > 1), false, out) || *out > (uint64_t)INT64_MAX / factor) return false;
    *out *= factor;
    return true;
}

static kith_err read_name(const kith_relay_word *value, kith_relay_settings *s)
{
    if (s->name_count == KITH_RELAY_NAMES_MAX) return KITH_ERR_LIMIT;
    kith_err err = kith_relay_authority(value->at, value->size, s->names[s->name_count]);
    if (!err) s->name_count++;
    return err;
}

static kith_err read_setting(const kith_relay_word words[static 3], size_t number, kith_relay_settings *s,
                             kith_relay_reason *reason)
{
    const kith_relay_word *name = &words[0], *value = &words[2];
    if (kith__relay_word_is(name, "name")) {
        if (!read_name(value, s)) return KITH_OK;
        snprintf(reason->text, sizeof reason->text, "line %zu: name is not host or host:port, or one of too many",
                 number);
        return KITH_ERR_FORMAT;
    }
    for (size_t i = 0; i < KITH_RELAY_SETTING_COUNT; i++) {
        const struct row *row = &rows[i];
        uint64_t got = 0;
        if (!kith__relay_word_is(name, row->name)) continue;
        bool good = row->kind == TIME ? read_time(value->at, value->size, &got)
                                      : kith__relay_number(value->at, value->size, row->kind == BYTES, &got);
        if (good && got >= row->least && got <= row->most) {
            *value_of(s, row) = got;
            return KITH_OK;
        }
        snprintf(reason->text, sizeof reason->text, "line %zu: %s is %s from %llu to %llu", number, row->name,
                 row->kind == TIME    ? "a time in ms (or with s, m, h)"
                 : row->kind == BYTES ? "bytes (or with K, M, G)"
                                      : "a number",
                 (unsigned long long)row->least, (unsigned long long)row->most);
        return KITH_ERR_FORMAT;
    }
    snprintf(reason->text, sizeof reason->text, "line %zu: there is no setting %.*s", number,
             (int)(name->size < 40 ? name->size : 40), name->at);
    return KITH_ERR_FORMAT;
}

kith_err kith_relay_settings_read(const char *text, size_t size, kith_relay_settings *out, kith_relay_reason *reason)
{
    const char *at = text, *end = text + size;
    kith_relay_word words[WORDS];
    kith_relay_settings s;
    size_t count, number = 0;
    kith_relay_settings_default(&s);
    while (kith__relay_line(&at, end, words, WORDS, &count, &number)) {
        if (count != 3 || !kith__relay_word_is(&words[1], "=")) {
            snprintf(reason->text, sizeof reason->text, "line %zu: not \"name = value\"", number);
            return KITH_ERR_FORMAT;
        }
        kith_err err = read_setting(words, number, &s, reason);
        if (err) return err;
    }
    *out = s;
    return KITH_OK;
}
