#include "commands.h"
#include "output.h"
#include "session.h"
#include "settings.h"
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

/* The code begins the network, so that it stays good whoever is revoked later: it is made with the identity.  One that
 * nobody saw would only seem to be one, and of that identity nobody knows yet. */
static int show_code(const session *s, const char *code)
{
    char shown[OUT_NAME];
    if (!*code || code_show_words(code)) return 0;
    return out_error(EXIT_FAILED, "the recovery code could not be shown: remove %s and begin anew where it can be seen",
                     out_name(s->home, shown, sizeof shown));
}

static int make(session *s, const char *name)
{
    secret password;
    kith_problem problem;
    kith_init_result made = {.size = sizeof made};
    secret_init(&password);
    int status = session_password(s, true, &password);
    kith_init_options options = {.size = sizeof options,
                                 .name = name,
                                 .password = password.data,
                                 .password_size = password.size,
                                 .no_recovery = !code_can_show()};
    kith_err err = status ? KITH_OK : kith_init(s->home, &options, &made, &problem);
    secret_done(&password);
    if (err) status = out_problem(err, problem.message);
    if (!status) {
        print_identity(&made.self, made.created, made.recovery_code);
        status = show_code(s, made.recovery_code);
    }
    if (!status) {
        if (options.no_recovery)
            out_say("There is no recovery code, since nobody would have seen it: \"kith recovery new\" makes one at a "
                    "terminal.");
        out_say("Now run \"kith pair\" here and \"kith join\" on another device, or the other way round.");
    }
    explicit_bzero(&made, sizeof made);
    return status;
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info self;
    kith_problem problem;
    const char *name = NULL;
    int status = session_start(&s, a);
    if (!status) status = setting_device_name(&s, &name);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem);
    if (err == KITH_ERR_NO_IDENTITY) return make(&s, name);
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
