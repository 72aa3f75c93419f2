#include "commands.h"
#include "output.h"
#include "session.h"
#include "typed_code.h"

#include <string.h>

static void print_identity(const kith_device_info *self, bool created, const char *code)
{
    out_line("id           %s", self->id);
    out_line("name         %s", self->name);
    out_line("fingerprint  %s", self->fingerprint);
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b, s:s?}", "event", "identity", "id", self->id, "name",
                        out_json_text(self->name), "fingerprint", self->fingerprint, "created", created,
                        "recovery_code", *code ? code : NULL));
}

/* A code that nobody sees would only seem to be one: it is shown, and only then in force.  When this is killed in
 * between, there is an identity without a code. */
static int show_identity(session *s, const secret *password, const kith_init_result *made)
{
    kith_problem problem;
    kith_recovery_result code = {.size = sizeof code};
    kith_recovery_options options = {
        .size = sizeof options, .password = password->data, .password_size = password->size, .check = true};
    bool shows = made->created && code_can_show();
    kith_err err = shows ? kith_recovery_new(s->home, &options, &code, &problem) : KITH_OK;
    print_identity(&made->self, made->created, code.recovery_code);
    int status = err ? out_problem(err, problem.message) : shows ? code_show(code.recovery_code) : 0;
    if (!status && shows) {
        options.check = false;
        options.new_code = code.recovery_code;
        kith_recovery_result put = {.size = sizeof put};
        err = kith_recovery_new(s->home, &options, &put, &problem);
        explicit_bzero(&put, sizeof put);
        if (err) status = code_void(err, problem.message, "\"kith recovery new\" makes another");
    }
    explicit_bzero(&code, sizeof code);
    return status;
}

static int make(session *s)
{
    secret password;
    kith_problem problem;
    kith_init_result made = {.size = sizeof made};
    secret_init(&password);
    int status = session_password(s, true, &password);
    kith_init_options options = {.size = sizeof options,
                                 .name = args_value(s->args, OPT_NAME),
                                 .password = password.data,
                                 .password_size = password.size,
                                 .no_recovery = true};
    kith_err err = status ? KITH_OK : kith_init(s->home, &options, &made, &problem);
    if (err) status = out_problem(err, problem.message);
    if (!status) status = show_identity(s, &password, &made);
    secret_done(&password);
    if (!status) {
        if (!code_can_show())
            out_say("There is no recovery code, since nobody would have seen it: \"kith recovery new\" makes one at a "
                    "terminal.");
        out_say("Now run \"kith pair\" here and \"kith join\" on another device, or the other way round.");
    }
    return status;
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info self;
    kith_problem problem;
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem);
    if (err == KITH_ERR_NO_IDENTITY) return make(&s);
    if (err) return out_problem(err, problem.message);
    out_say("This device has an identity already; nothing was changed.");
    print_identity(&self, false, "");
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
    .about =
        "Make this device's identity: asks for a new password twice, prints the id and the fingerprint, and, once, "
        "the recovery code.  Where there is an identity already, prints it and changes nothing.",
    .options = options,
    .run = run,
};
