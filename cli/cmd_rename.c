#include "commands.h"
#include "output.h"
#include "session.h"
#include "spread.h"

#include <string.h>

/* A node that runs sees the new name, and has the keys to say it; else it is said when one begins. */
static void tell_others(session *s)
{
    kith_options options = {.size = sizeof options, .home = s->home, .daemon = KITH_DAEMON_ONLY};
    kith_problem problem;
    if (kith_open(&options, &s->node, &problem)) {
        out_say("Your other devices hear of it when a command with the password has run here.");
        return;
    }
    spread_news(s);
    session_close(s);
}

/* This device itself, or another one. */
static int find(session *s, const char *text, kith_device_info *device, bool *itself)
{
    kith_device_info other;
    kith_problem problem;
    bool there = !kith_self(s->home, device, &problem), by_id = there && !strcmp(text, device->id);
    *itself = by_id || (there && !strcmp(text, device->name));
    if (!*itself) return session_find(s, text, device);
    if (by_id || kith_find(s->home, text, &other, &problem) || strcmp(text, other.name) != 0) return 0;
    return out_error(EXIT_USAGE, "this device (%s) and another (%s) are both called %s: say the id", device->id,
                     other.id, device->name);
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info device, renamed;
    kith_problem problem;
    bool itself = false;
    int status = session_start(&s, a);
    if (!status) status = find(&s, a->words[0], &device, &itself);
    if (status) return status;
    kith_err err = kith_rename(s.home, device.id, a->words[1], &renamed, &problem);
    if (err) return out_problem(err, problem.message);
    if (strcmp(renamed.name, a->words[1]) != 0)
        out_say("That name is taken: %s is called %s now.", device.name, renamed.name);
    else
        out_say("%s is called %s now.", device.name, renamed.name);
    out_event(json_pack("{s:s, s:o}", "event", "renamed", "device", out_json_device(&renamed)));
    if (itself) tell_others(&s);
    return 0;
}

const cli_command cmd_rename = {
    .name = "rename",
    .arguments = "DEVICE NAME",
    .takes = VALUE_DEVICE,
    .min = 2,
    .max = 2,
    .summary = "give a device a new name",
    .about =
        "Give another device a new name.  The name is this device's own and unique here: where it is taken "
        "already, it becomes "
        "NAME-2.  This device itself, by its name or id, is then called so on your other devices, too: at once where "
        "\"kith up\" runs, else once a command with the password has run here.",
    .run = run,
};
