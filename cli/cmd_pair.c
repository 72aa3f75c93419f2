#include "commands.h"
#include "output.h"
#include "pairing.h"
#include "qr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPIRES_S     300 /* where nothing is said */
#define EXPIRES_MAX_S 3600

typedef struct pair {
    pairing pairing;
    bool drawn;    /* the picture and the explanation */
    bool renewing; /* Enter was pressed */
} pair;

/* "5m": seconds, minutes or hours. */
static int read_expires(const char *text, uint32_t *out_s)
{
    char *end = NULL, shown[OUT_NAME];
    unsigned long n = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0, unit = 0;
    if (end && (!*end || !strcmp(end, "s"))) unit = 1;
    if (end && !strcmp(end, "m")) unit = 60;
    if (end && !strcmp(end, "h")) unit = 3600;
    if (!unit || !n || n > EXPIRES_MAX_S / unit)
        return out_error(EXIT_USAGE, "\"%s\" is no good for --expires: say 30s, 5m or 1h; an hour is the longest",
                         out_name(text, shown, sizeof shown));
    *out_s = (uint32_t)(n * unit);
    return 0;
}

static bool may_renew(const session *s) { return session_may_ask(s) && !out()->json; }

static void number_words(const char *words)
{
    char copy[KITH_WORDS_TEXT], *rest = copy;
    snprintf(copy, sizeof copy, "%s", words);
    int i = 1;
    for (char *word; (word = strsep(&rest, " ")) != NULL; i++) out_say("%d %s", i, word);
}

static char *say_within(uint32_t seconds, char to[static OUT_SIZE])
{
    bool minutes = seconds >= 60 && seconds % 60 == 0;
    uint32_t n = minutes ? seconds / 60 : seconds;
    snprintf(to, OUT_SIZE, ", within %u %s%s", n, minutes ? "minute" : "second", n == 1 ? "" : "s");
    return to;
}

static void show_code(session *s, pair *p, const kith_event *event)
{
    out_line("%s", event->words);
    out_event(json_pack("{s:s, s:s, s:o}", "event", "code", "words", event->words, "expires_at",
                        out_json_time(event->expires_ms)));
    if (out()->plain) number_words(event->words);
    if (!args_has(s->args, OPT_NO_QR)) qr_draw(event->words);
    if (!p->drawn) {
        char within[OUT_SIZE];
        out_say("On the other device run \"kith join%s\" and type these words there%s.%s",
                p->pairing.options.contact ? " --contact" : "", say_within(p->pairing.options.expires_s, within),
                may_renew(s) ? "  Enter makes a new code, Ctrl-C stops." : "");
    }
    p->drawn = true;
    p->renewing = false;
    if (may_renew(s)) session_listen(s, true);
}

static void on_event(session *s, const kith_event *event)
{
    pair *p = s->user;
    if (event->kind == KITH_EVENT_CODE) show_code(s, p, event);
    if (event->kind == KITH_EVENT_EXPIRING) {
        out_say("This code ends in a minute%s", may_renew(s) ? ": press Enter for a new one." : ".");
        out_event(json_pack("{s:s, s:o}", "event", "expiring", "expires_at", out_json_time(event->expires_ms)));
    }
    if (event->kind == KITH_EVENT_ATTEMPT) {
        out_say("Somebody tried a wrong code: have a look whether the words were typed right.");
        out_event(json_pack("{s:s, s:o}", "event", "attempt", "message", out_json_text(kith_err_text(event->err))));
    }
    pairing_event(s, &p->pairing, event);
}

static void on_line(session *s, const char *line)
{
    pair *p = s->user;
    if (p->pairing.asking) {
        pairing_line(s, &p->pairing, line);
    } else if (line && !*line && !p->renewing) {
        p->renewing = true;
        kith_cancel(s->node, s->op);
    }
}

static bool on_end(session *s, const kith_event *event)
{
    pair *p = s->user;
    if (event->err == KITH_ERR_CODE_EXPIRED) /* the usual sentence is for who typed it */
        session_stop(s, STOP_STATUS,
                     out_error(kith_err_exit(event->err), "the code has expired: make a new one with \"kith pair\""));
    if (!p->renewing || event->err != KITH_ERR_CANCELLED) return false;
    return kith_pair(s->node, &p->pairing.options, &s->op) == KITH_OK;
}

static void on_tick(session *s)
{
    pair *p = s->user;
    pairing_tick(&p->pairing);
}

static const session_handler handler = {.event = on_event,
                                        .line = on_line,
                                        .end = on_end,
                                        .tick = on_tick,
                                        .go_on = "nothing was paired; \"kith pair\" makes a new code"};

static int run(const cli_args *a)
{
    session s;
    pair p = {.drawn = false};
    const char *expires = args_value(a, OPT_EXPIRES);
    uint32_t expires_s = EXPIRES_S;
    int status = session_start(&s, a);
    if (!status && expires) status = read_expires(expires, &expires_s);
    if (!status) status = pairing_start(&p.pairing, &s);
    if (!status) status = session_open(&s);
    if (status) return status;
    p.pairing.options.expires_s = expires_s;
    session_warn_revoked(&s);
    status = session_begin(&s, kith_pair(s.node, &p.pairing.options, &s.op), &handler, &p);
    session_close(&s);
    return status;
}

static const cli_option options[] = {
    {OPT_CONTACT, 0, "contact", NULL, VALUE_NONE, "the other device is somebody else's; say it on both"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "do not ask: take the device that knows the code"},
    {OPT_EXPIRES, 0, "expires", "TIME", VALUE_OTHER, "how long the code is good: 30s, 5m (the default), 1h"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_pair = {
    .name = "pair",
    .arguments = "",
    .summary = "show a code and wait for another device to join",
    .about = "Show a code of six words and wait for another device to join with it.  The words are the first line of "
             "standard output.  "
             "Then shows the other device's name and fingerprint and asks whether it is the right one.",
    .options = options,
    .run = run,
};
