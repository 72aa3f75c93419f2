#include "spread.h"

#include "output.h"

#include <stdlib.h>

#define PINGS 2 /* what a device has to hear is said while the first comes and goes */

/* All of them are asked at once, so that none waits for one that is not there. */
typedef struct spread {
    kith_op *pings; /* 0: over */
    size_t others, told;
} spread;

static void over(spread *sp, const kith_event *event)
{
    for (size_t i = 0; i < sp->others; i++)
        if (sp->pings[i] == event->op) sp->pings[i] = 0;
    sp->told += event->err == KITH_OK;
}

/* The session waits for one of them that goes on.  False: none does. */
static bool wait_for_one(session *s, const spread *sp)
{
    for (size_t i = 0; i < sp->others; i++)
        if (sp->pings[i]) {
            s->op = sp->pings[i];
            return true;
        }
    return false;
}

static void on_event(session *s, const kith_event *event) { (void)s, (void)event; }

static bool on_end(session *s, const kith_event *event)
{
    over(s->user, event);
    return wait_for_one(s, s->user);
}

static void on_other(session *s, const kith_event *event)
{
    if (event->kind == KITH_EVENT_END) over(s->user, event);
}

static void ping_all(session *s, spread *sp)
{
    kith_device_info *devices;
    kith_problem problem;
    size_t count;
    if (kith_devices(s->home, &devices, &count, &problem)) return;
    sp->pings = calloc(count + 1, sizeof *sp->pings);
    for (size_t i = 0; sp->pings && i < count; i++) {
        if (devices[i].trust != KITH_RELATION_OWN) continue;
        if (kith_ping(s->node, devices[i].id, PINGS, &sp->pings[sp->others])) sp->pings[sp->others] = 0;
        sp->others++;
    }
    kith_free_devices(devices);
}

void spread_news(session *s)
{
    static const session_handler handler = {
        .event = on_event, .end = on_end, .other = on_other, .go_on = "the others hear of it later"};
    spread sp = {.others = 0};
    ping_all(s, &sp);
    if (wait_for_one(s, &sp)) {
        out_status("Telling your other devices...");
        s->until_ns = now_ns() + SPREAD_NS;
        (void)session_run(s, &handler, &sp);
    }
    free(sp.pings);
    out_event(
        json_pack("{s:s, s:I, s:I}", "event", "told", "devices", (json_int_t)sp.told, "of", (json_int_t)sp.others));
    if (sp.others && sp.told == sp.others)
        out_say("Your other devices know it now.");
    else if (sp.others)
        out_say("%zu of your %zu other device%s know%s it now; the rest hear%s of it when meeting one that does.",
                sp.told, sp.others, sp.others == 1 ? "" : "s", sp.told == 1 ? "s" : "",
                sp.others - sp.told == 1 ? "s" : "");
}

void spread_news_with(session *s, secret *password)
{
    if (session_open_with(s, password) == 0) spread_news(s);
    session_close(s);
}
