#include "commands.h"
#include "output.h"
#include "session.h"

static void on_event(session *s, const kith_event *event)
{
    (void)s;
    (void)event;
}

static int run(const cli_args *a)
{
    static const session_handler handler = {.event = on_event, .go_on = "\"kith up\" may have been told, or not"};
    session s;
    kith_daemon_info daemon = {.pid = 0};
    int status = session_start(&s, a);
    if (!status) status = session_attach(&s);
    if (status > 0) return status;
    bool ran = status == 0;
    if (ran) {
        (void)kith_daemon_of(s.node, &daemon);
        status = session_begin(&s, kith_down(s.node, &s.op), &handler, NULL);
        session_close(&s);
        if (status) return status;
    }
    if (ran)
        out_say("\"kith up\" (process %ld) has ended.", daemon.pid);
    else
        out_say("\"kith up\" does not run.");
    out_event(json_pack("{s:s, s:b, s:o}", "event", "down", "ran", ran, "pid",
                        ran ? json_integer((json_int_t)daemon.pid) : json_null()));
    return 0;
}

const cli_command cmd_down = {
    .name = "down",
    .arguments = "",
    .summary = "end what \"kith up\" began",
    .about =
        "End \"kith up\" of this home, and wait until it has ended: what arrived of unfinished files is kept.  When "
        "it does not run, that is said, and is no failure.",
    .run = run,
};
