#include "commands.h"
#include "output.h"
#include "session.h"

#include <string.h>

static int run(const cli_args *a)
{
    session s;
    kith_device_info device, renamed;
    kith_problem problem;
    int status = session_start(&s, a);
    bool itself = !status && !kith_self(s.home, &device, &problem) &&
                  (!strcmp(a->words[0], device.id) || !strcmp(a->words[0], device.name));
    if (!status && !itself) status = session_find(&s, a->words[0], &device);
    if (status) return status;
    kith_err err = kith_rename(s.home, device.id, a->words[1], &renamed, &problem);
    if (err) return out_problem(err, problem.message);
    if (strcmp(renamed.name, a->words[1]) != 0)
        out_say("That name is taken: %s is called %s now.", device.name, renamed.name);
    else
        out_say("%s is called %s now.", device.name, renamed.name);
    out_event(json_pack("{s:s, s:o}", "event", "renamed", "device", out_json_device(&renamed)));
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
        "NAME-2.  This device itself, by its name or id, is then called so on its other devices, too, once a command "
        "with the password has run here.",
    .run = run,
};
