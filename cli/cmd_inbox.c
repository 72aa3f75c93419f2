#include "commands.h"
#include "output.h"
#include "receiving.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

typedef struct inbox {
    bool quiet; /* only count */
    size_t count;
    unsigned long long only; /* the number of one of them */
} inbox;

static void on_offer(session *s, const kith_event *event)
{
    inbox *x = s->user;
    char size[OUT_SIZE], name[OUT_NAME];
    if (event->kind != KITH_EVENT_OFFER) return;
    x->count++;
    x->only = receiving_number(event->transfer);
    if (x->quiet) return;
    out_line("%llu  %s  %s  %s", x->only, event->device.name, out_bytes((double)event->bytes_total, size),
             out_name(event->name, name, sizeof name));
    out_event(json_pack("{s:s, s:I, s:i, s:I, s:o, s:o}", "event", "offer", "id", (json_int_t)x->only, "files", 1,
                        "bytes", (json_int_t)event->bytes_total, "name", out_json_text(event->name), "device",
                        out_json_device(&event->device)));
}

static const session_handler handler = {.event = on_offer, .go_on = "run the same command again"};

static int list(session *s, inbox *x) { return session_begin(s, kith_inbox(s->node, &s->op), &handler, x); }

static int answer(session *s, bool yes, const char *which)
{
    inbox x = {.quiet = true};
    unsigned long number = 0;
    int status = 0;
    if (which) status = args_number("an offer", which, 1, UINT32_MAX, &number);
    if (!status && !which) {
        status = list(s, &x);
        number = (unsigned long)x.only;
        if (!status && x.count == 0) return out_error(kith_err_exit(KITH_ERR_NOT_FOUND), "no offer waits");
        if (!status && x.count > 1)
            return out_error(EXIT_USAGE, "%zu offers wait: say which by its number (\"kith inbox\" lists them)",
                             x.count);
    }
    if (status) return status;
    status = session_begin(s, kith_inbox_answer(s->node, number, yes, &s->op), &handler, &x);
    if (status) return status;
    out_say(yes ? "Taken: \"kith up\" receives it." : "Declined.");
    out_event(json_pack("{s:s, s:I, s:b}", "event", "answered", "id", (json_int_t)number, "accepted", yes));
    return 0;
}

static int run(const cli_args *a)
{
    session s;
    inbox x = {.count = 0};
    const char *verb = a->word_count ? a->words[0] : NULL;
    char shown[OUT_NAME];
    bool yes = verb && !strcmp(verb, "accept"), no = verb && !strcmp(verb, "decline");
    int status = session_start(&s, a);
    if (!status && verb && !yes && !no)
        status = out_error(EXIT_USAGE, "\"%s\" is nothing to do with an offer: say accept or decline",
                           out_name(verb, shown, sizeof shown));
    if (!status) status = session_attach(&s);
    if (status < 0)
        status =
            out_error(kith_err_exit(KITH_ERR_NOT_FOUND), "\"kith up\" does not run: offers wait only while it does");
    if (status) return status;
    status = verb ? answer(&s, yes, a->word_count > 1 ? a->words[1] : NULL) : list(&s, &x);
    if (!verb && !status && !x.count) out_say("No offer waits.");
    session_close(&s);
    return status;
}

const cli_command cmd_inbox = {
    .name = "inbox",
    .arguments = "[accept|decline [ID]]",
    .takes = VALUE_CHOICE,
    .max = 2,
    .summary = "answer offers that wait",
    .about = "List what contacts offered while \"kith up\" runs: number, from whom, size and name; or take or decline "
             "one of them.  An offer is gone when its sender is.",
    .run = run,
};
