/* The text format of Prometheus, version 0.0.4. */
#include "relay/hub_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct text {
    char *out;
    size_t cap, size; /* size: also what did not fit */
} text;

__attribute__((format(printf, 2, 3))) static void add(text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = t->size < t->cap ? t->cap - t->size : 0;
    int size = vsnprintf(room ? t->out + t->size : NULL, room, format, arguments);
    va_end(arguments);
    if (size > 0) t->size += (size_t)size;
}

static void head(text *t, const char *name, const char *suffix, const char *about, const char *type)
{
    add(t, "# HELP kith_relay_%s%s %s\n# TYPE kith_relay_%s%s %s\n", name, suffix, about, name, suffix, type);
}

static void counter(text *t, const char *name, const char *about, uint64_t value)
{
    head(t, name, "_total", about, "counter");
    add(t, "kith_relay_%s_total %" PRIu64 "\n", name, value);
}

static void gauge(text *t, const char *name, const char *about, uint64_t value)
{
    head(t, name, "", about, "gauge");
    add(t, "kith_relay_%s %" PRIu64 "\n", name, value);
}

static void tokens(text *t, kith_tokens *rows)
{
    if (!rows) return;
    head(t, "token_used_bytes", "", "bytes that a token's clients sent in its current 24 hours", "gauge");
    for (size_t i = 0; i < kith_tokens_count(rows); i++)
        add(t, "kith_relay_token_used_bytes{token=\"%s\"} %" PRIu64 "\n", kith_tokens_at(rows, i)->name,
            kith_tokens_at(rows, i)->used_bytes);
}

size_t kith_hub_metrics(const kith_hub *hub, char *out, size_t cap)
{
    const kith_hub_stats *s = &hub->stats;
    text t = {.out = out, .cap = cap};
#define KITH_X(name, what) counter(&t, #name, what, s->name);
    KITH_HUB_COUNTERS(KITH_X)
#undef KITH_X
    gauge(&t, "connections", "TCP connections now", s->connections);
    gauge(&t, "registrations", "registered clients now", s->registrations);
    gauge(&t, "sessions", "sessions now", s->sessions);
    gauge(&t, "mailboxes", "mailboxes now", s->mailboxes);
    gauge(&t, "sources", "addresses that are remembered", s->sources);
    gauge(&t, "paused", "clients that are not read now because of their rate", s->paused);
    gauge(&t, "memory_bytes", "of messages that wait or are incomplete", s->memory_bytes);
    gauge(&t, "draining", "1 while the relay goes away", hub->draining);
    head(&t, "limit", "", "the settings", "gauge");
    for (kith_relay_setting i = 0; i < KITH_RELAY_SETTING_COUNT; i++)
        add(&t, "kith_relay_limit{name=\"%s\"} %" PRIu64 "\n", kith_relay_setting_name(i),
            kith_relay_setting_get(&hub->settings, i));
    tokens(&t, hub->tokens);
    return t.size;
}
