/* The subcommands, one file each; main.c lists them. */
#ifndef KITH_CLI_COMMANDS_H
#define KITH_CLI_COMMANDS_H

#include "options.h"

extern const cli_command cmd_init, cmd_status, cmd_pair, cmd_join, cmd_devices, cmd_ping, cmd_send, cmd_receive, cmd_up,
    cmd_down, cmd_inbox, cmd_forget, cmd_revoke, cmd_rename, cmd_verify, cmd_trust, cmd_permit, cmd_passwd,
    cmd_recovery, cmd_backup, cmd_restore, cmd_doctor, cmd_relay, cmd_version, cmd_completion, cmd_help, cmd_config;

#endif
