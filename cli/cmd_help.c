#include "commands.h"
#include "output.h"

static int run(const cli_args *a)
{
    char shown[OUT_NAME];
    if (!a->word_count) {
        help_general();
        return 0;
    }
    const cli_command *c = command_find(a->words[0]);
    if (!c)
        return out_error(EXIT_USAGE, "there is no command \"%s\": \"kith help\" lists them",
                         out_name(a->words[0], shown, sizeof shown));
    help_command(c);
    return 0;
}

const cli_command cmd_help = {.name = "help",
                              .arguments = "[COMMAND]",
                              .takes = VALUE_COMMAND,
                              .max = 1,
                              .summary = "say how a command is used",
                              .run = run};
