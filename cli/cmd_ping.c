#include "commands.h"
#include "output.h"
#include "session.h"

#include <stdio.h>

#define COUNT_MAX 1000000000ul

typedef struct ping {
    kith_device_info device;
    unsigned long answers;
    double fastest_ms, slowest_ms, sum_ms;
} ping;

static void on_event(session *s, const kith_event *event)
{
    ping *p = s->user;
    double ms = (double)event->rtt_ns / 1e6;
    if (event->kind != KITH_EVENT_PONG) return;
    out_status("");
    if (!p->answers || ms < p->fastest_ms) p->fastest_ms = ms;
    if (!p->answers || ms > p->slowest_ms) p->slowest_ms = ms;
    p->sum_ms += ms;
    p->answers++;
    out_line("%s: %.2f ms over %s (%s), %s", p->device.name, ms, event->path, event->scope, event->address);
    out_event(json_pack("{s:s, s:i, s:f, s:s, s:s, s:s}", "event", "pong", "seq", (int)p->answers, "rtt_ms", ms, "path",
                        event->path, "scope", event->scope, "address", event->address));
}

static int run(const cli_args *a)
{
    static const session_handler handler = {.event = on_event, .go_on = "run the same command again to go on"};
    session s;
    ping p = {.answers = 0};
    char line[KITH_NAME_TEXT + 32];
    unsigned long count = 0;
    int status = session_start(&s, a);
    if (!status && args_has(a, OPT_COUNT)) status = args_number("-c", args_value(a, OPT_COUNT), 1, COUNT_MAX, &count);
    if (!status) status = session_find(&s, a->words[0], &p.device);
    if (!status) status = session_open(&s);
    if (status) return status;
    session_warn_revoked(&s);
    snprintf(line, sizeof line, "Looking for %s...", p.device.name);
    out_status(line);
    status = session_begin(&s, kith_ping(s.node, p.device.id, (uint32_t)count, &s.op), &handler, &p);
    session_close(&s);
    if (p.answers) {
        double mean = p.sum_ms / (double)p.answers;
        out_say("%lu answer%s; fastest %.2f ms, mean %.2f ms, slowest %.2f ms", p.answers, p.answers == 1 ? "" : "s",
                p.fastest_ms, mean, p.slowest_ms);
        out_event(json_pack("{s:s, s:I, s:f, s:f, s:f}", "event", "done", "answers", (json_int_t)p.answers,
                            "fastest_ms", p.fastest_ms, "mean_ms", mean, "slowest_ms", p.slowest_ms));
    }
    return status;
}

static const cli_option options[] = {
    {OPT_COUNT, 'c', NULL, "N", VALUE_OTHER, "so many times; default until stopped"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_ping = {
    .name = "ping",
    .arguments = "DEVICE",
    .takes = VALUE_DEVICE,
    .min = 1,
    .max = 1,
    .summary = "measure the way to a device and back",
    .about = "Once a second, measure how long it takes to a device and back, and say which path carries it.",
    .options = options,
    .run = run,
};
