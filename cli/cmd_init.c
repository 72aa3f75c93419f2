#include "commands.h"
#include "output.h"
#include "session.h"

static void print_identity(const kith_device_info *self, bool created)
{
    out_line("id           %s", self->id);
    out_line("name         %s", self->name);
    out_line("fingerprint  %s", self->fingerprint);
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b}", "event", "identity", "id", self->id, "name",
                        out_json_text(self->name), "fingerprint", self->fingerprint, "created", created));
}

static int run(const cli_args *a)
{
    session s;
    secret password;
    kith_device_info self;
    kith_problem problem;
    bool created = false;
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem);
    if (!err) {
        out_say("This device has an identity already; nothing was changed.");
    } else if (err == KITH_ERR_NO_IDENTITY) {
        secret_init(&password);
        status = session_password(&s, true, &password);
        if (!status)
            err = kith_init(s.home, args_value(a, OPT_NAME), password.data, password.size, &self, &created, &problem);
        secret_done(&password);
        if (status) return status;
    }
    if (err) return out_problem(err, problem.message);
    print_identity(&self, created);
    if (created) out_say("Now run \"kith pair\" here and \"kith join\" on another device, or the other way round.");
    return 0;
}

static const cli_option options[] = {
    {OPT_NAME, 0, "name", "NAME", VALUE_OTHER, "what this device is called; default the host's name"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_init = {
    .name = "init",
    .arguments = "",
    .summary = "make this device's identity",
    .about = "Make this device's identity: asks for a new password twice, prints the id and the fingerprint.  Where "
             "there is an identity "
             "already, prints it and changes nothing.",
    .options = options,
    .run = run,
};
