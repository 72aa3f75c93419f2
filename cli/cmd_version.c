#include "commands.h"
#include "output.h"

static int run(const cli_args *a)
{
    (void)a;
    out_line("kith %s", kith_version());
    out_event(json_pack("{s:s, s:s}", "event", "version", "version", kith_version()));
    return 0;
}

const cli_command cmd_version = {.name = "version", .arguments = "", .summary = "print the version", .run = run};
