/* The command `kith`: devices talk through libkith, people and scripts through this. */
#include "commands.h"
#include "interrupt.h"
#include "output.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENAS_MAX 2 /* of malloc: else each thread that ever derived a key leaves a heap behind */

/* Known names whose time has not come: they answer with exit status 2 and what they will be for. */
#define LATER(command_name, purpose)                                                                                   \
    &(const cli_command) { .name = (command_name), .arguments = "", .max = (size_t)-1, .summary = (purpose) }

const cli_command *const commands[] = {
    &cmd_init,
    &cmd_status,
    &cmd_pair,
    &cmd_join,
    &cmd_devices,
    &cmd_ping,
    &cmd_send,
    &cmd_receive,
    &cmd_up,
    &cmd_down,
    &cmd_inbox,
    &cmd_verify,
    &cmd_trust,
    &cmd_permit,
    &cmd_rename,
    &cmd_forget,
    &cmd_revoke,
    &cmd_passwd,
    &cmd_recovery,
    &cmd_backup,
    &cmd_restore,
    &cmd_config,
    &cmd_doctor,
    &cmd_relay,
    &cmd_completion,
    &cmd_version,
    &cmd_help,
    LATER("get", "fetch a file by its hash"),
    LATER("log", "keep and exchange entries of the log"),
    LATER("sync", "keep folders equal"),
    NULL,
};

/* A standard stream that is closed would be the next file's number.  Standard output becomes one whose writing fails.
 */
static void keep_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO || fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY) != fd)
            _exit(EXIT_FAILED);
}

/* Who may not use what this user makes is the user's to say, but for the user: nothing could be read again. */
static void keep_own_rights(void)
{
    mode_t denied = umask(0);
    umask(denied & (S_IRWXG | S_IRWXO));
}

static int run(const cli_args *a)
{
    if (args_has(a, OPT_HELP)) {
        if (a->command)
            help_command(a->command);
        else
            help_general();
        return 0;
    }
    if (args_has(a, OPT_VERSION)) return cmd_version.run(a);
    if (a->command) return a->command->run(a);
    return out_error(EXIT_USAGE, "which command?  \"kith help\" lists them");
}

int main(int argc, char **argv)
{
    cli_args a;
    mallopt(M_ARENA_MAX, ARENAS_MAX);
    keep_streams();
    keep_own_rights();
    out_start(argc, argv);
    if (!interrupt_start()) return out_error(EXIT_FAILED, "signals cannot be handled here");
    int status = args_parse(argc, argv, &a);
    if (!status) status = run(&a);
    args_free(&a);
    if (!out_finish()) {
        out_warn("standard output cannot be written: it is closed or full");
        if (status == 0) status = EXIT_FAILED;
    }
    return status;
}
