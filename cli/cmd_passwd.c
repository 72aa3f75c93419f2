#include "commands.h"
#include "output.h"
#include "typed_code.h"

#include <string.h>

/* What opens the keys, known to be right before a new password is asked for. */
static int prove(session *s, kith_password_change *how, secret *old, char code[KITH_RECOVERY_TEXT])
{
    kith_problem problem;
    kith_err err = KITH_OK;
    int tries = 0;
    how->check = true;
    do {
        int status = how->recovery_code ? code_recovery(s, code) : session_password(s, false, old);
        if (status) return status;
        how->old_password_size = old->size;
        err = kith_change_password(s->home, how, &problem);
    } while (session_try_again(s, err, &tries));
    how->check = false;
    return err ? out_problem(err, problem.message) : 0;
}

static int change(session *s, kith_password_change *how, secret *fresh)
{
    kith_problem problem;
    int status = session_new_password(s, fresh);
    if (status) return status;
    how->new_password = fresh->data;
    how->new_password_size = fresh->size;
    kith_err err = kith_change_password(s->home, how, &problem);
    if (err) return out_problem(err, problem.message);
    out_say("The password is changed.  What runs goes on; backups made before open with the old one.");
    out_event(json_pack("{s:s}", "event", "password_changed"));
    return 0;
}

static int run(const cli_args *a)
{
    session s;
    secret old, fresh;
    kith_device_info self;
    kith_problem problem;
    char code[KITH_RECOVERY_TEXT];
    bool recovery = args_has(a, OPT_RECOVERY) || args_has(a, OPT_CODE_FILE);
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem); /* who has no identity is not asked */
    if (err) return out_problem(err, problem.message);
    secret_init(&old);
    secret_init(&fresh);
    kith_password_change how = {.size = sizeof how, .old_password = old.data, .recovery_code = recovery ? code : NULL};
    status = prove(&s, &how, &old, code);
    if (!status) status = change(&s, &how, &fresh);
    secret_done(&old);
    secret_done(&fresh);
    explicit_bzero(code, sizeof code);
    return status;
}

static const cli_option options[] = {
    {OPT_NEW_PASSWORD_FILE, 0, "new-password-file", "FILE", VALUE_FILE,
     "the new password is the first line of FILE; - is standard input"},
    {OPT_RECOVERY, 0, "recovery", NULL, VALUE_NONE, "the password is forgotten: ask for the recovery code instead"},
    {OPT_CODE_FILE, 0, "code-file", "FILE", VALUE_FILE,
     "FILE holds the recovery code, in a line or a word a line; - is standard input"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_passwd = {
    .name = "passwd",
    .arguments = "",
    .summary = "change this device's password",
    .about = "Change this device's password: asks for the old one, or with --recovery for the recovery code, and twice "
             "for the new one.  What runs goes on.",
    .options = options,
    .run = run,
};
