#include "commands.h"
#include "output.h"
#include "typed_code.h"

#include <string.h>
#include <unistd.h>

#define PASSWORD_QUESTION "The password that the device had when the backup was made: "

/* PASSWORD, and nothing is said yet: `problem` has it. */
static int restore(session *s, kith_restore_options *how, const secret *password, kith_err *err, kith_problem *problem)
{
    kith_device_info self;
    how->password = password->data;
    how->password_size = password->size;
    *err = kith_restore(s->home, how, &self, problem);
    if (*err || how->check) return kith_err_exit(*err);
    out_line("id           %s", self.id);
    out_line("name         %s", self.name);
    out_line("fingerprint  %s", self.fingerprint);
    out_event(json_pack("{s:s, s:s, s:o, s:s}", "event", "restored", "id", self.id, "name", out_json_text(self.name),
                        "fingerprint", self.fingerprint));
    out_say("This device is \"%s\" again.  Where it was before it must not run any more: two devices with one identity "
            "disturb each other.",
            self.name);
    return 0;
}

/* The code is known to be right before a new password is asked for. */
static int prove(session *s, kith_restore_options *how, char code[KITH_RECOVERY_TEXT], secret *password, kith_err *err,
                 kith_problem *problem)
{
    int status = code_recovery(s, code);
    how->recovery_code = code;
    how->check = true;
    if (!status) status = restore(s, how, password, err, problem);
    how->check = false;
    return status ? status : session_new_password(s, password);
}

static int run(const cli_args *a)
{
    session s;
    secret password;
    kith_device_info self;
    kith_problem problem;
    char code[KITH_RECOVERY_TEXT];
    bool recovery = args_has(a, OPT_RECOVERY) || args_has(a, OPT_CODE_FILE) || args_has(a, OPT_DEVICE);
    int status = session_start(&s, a);
    if (status) return status;
    if (kith_self(s.home, &self, &problem) == KITH_OK) /* nobody is asked for nothing */
        return out_error(kith_err_exit(KITH_ERR_EXISTS),
                         "there is an identity already, \"%s\": restore into another folder with --home DIR",
                         self.name);
    int file = -1; /* nor for a backup that is not there */
    status = session_open_file(a->words[0], "backup", "name another", &file);
    if (status) return status;
    close(file);
    secret_init(&password);
    kith_err err = KITH_OK;
    int tries = 0;
    kith_restore_options how = {.size = sizeof how, .path = a->words[0], .device = args_value(a, OPT_DEVICE)};
    do {
        err = KITH_OK;
        status = recovery ? prove(&s, &how, code, &password, &err, &problem)
                          : session_password_named(&s, PASSWORD_QUESTION, &password);
        if (!status) status = restore(&s, &how, &password, &err, &problem);
    } while (!recovery && session_try_again(&s, err, &tries));
    secret_done(&password);
    explicit_bzero(code, sizeof code);
    return err ? out_problem(err, problem.message) : status;
}

static const cli_option options[] = {
    {OPT_RECOVERY, 0, "recovery", NULL, VALUE_NONE, "open it with the recovery code, and choose a new password"},
    {OPT_CODE_FILE, 0, "code-file", "FILE", VALUE_FILE,
     "FILE holds the recovery code, in a line or a word a line; - is standard input"},
    {OPT_NEW_PASSWORD_FILE, 0, "new-password-file", "FILE", VALUE_FILE,
     "the new password is the first line of FILE; - is standard input"},
    {OPT_DEVICE, 0, "device", "NAME", VALUE_OTHER,
     "become this other own device, which the backup's device knew; needs the recovery code"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_restore = {
    .name = "restore",
    .arguments = "FILE",
    .takes = VALUE_FILE,
    .min = 1,
    .max = 1,
    .summary = "bring a backup back",
    .about =
        "Bring a device back from its backup: the same id, name and keys, so that the others notice nothing.  Asks "
        "for the password that it had, or with --recovery for the recovery code.  Refused where there is an identity.",
    .options = options,
    .run = run,
};
