#include "commands.h"
#include "output.h"
#include "session.h"

#include <sys/stat.h>

static int run(const cli_args *a)
{
    session s;
    secret password;
    kith_device_info self;
    kith_problem problem;
    char shown[OUT_NAME];
    struct stat there;
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem); /* who has no identity is not asked for its password */
    if (err) return out_problem(err, problem.message);
    if (lstat(a->words[0], &there) == 0) /* the password would be for nothing */
        return out_error(kith_err_exit(KITH_ERR_EXISTS),
                         "%s is there already, and a backup overwrites nothing: choose another name",
                         out_name(a->words[0], shown, sizeof shown));
    secret_init(&password);
    int tries = 0;
    do {
        status = session_password(&s, false, &password);
        if (!status) err = kith_backup(s.home, a->words[0], password.data, password.size, &problem);
    } while (!status && session_try_again(&s, err, &tries));
    secret_done(&password);
    if (status) return status;
    if (err) return out_problem(err, problem.message);
    out_say("The backup is in %s.  It opens with this device's password of now, or with the recovery code of now.",
            out_name(a->words[0], shown, sizeof shown));
    out_event(json_pack("{s:s, s:o, s:s}", "event", "backup", "file", out_json_text(a->words[0]), "id", self.id));
    return 0;
}

const cli_command cmd_backup = {
    .name = "backup",
    .arguments = "FILE",
    .takes = VALUE_FILE,
    .min = 1,
    .max = 1,
    .summary = "write an encrypted backup",
    .about =
        "Write this device's identity, and what it knows of the others, into a new file, encrypted: with it and the "
        "password, or the recovery code, \"kith restore\" brings the device back.  Nothing is overwritten.",
    .run = run,
};
