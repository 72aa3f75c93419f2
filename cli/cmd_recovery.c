#include "commands.h"
#include "interrupt.h"
#include "output.h"
#include "spread.h"
#include "typed_code.h"

#include <string.h>

static const char *const go_on = "nothing was changed";

static void print(const kith_recovery_info *r)
{
    char when[OUT_SIZE], ended[OUT_ENDED_SIZE];
    if (!r->exists) out_line("There is no recovery code: \"kith recovery new\" makes one.");
    if (r->exists)
        out_line("The recovery code of %s opens the keys of %u device%s%s.", out_time(r->created_ms, when), r->devices,
                 r->devices == 1 ? "" : "s", r->deposited ? "" : ", but not of this one yet");
    if (r->ended) out_line("Warning: %s.", out_ended_code(r, ended));
    if (r->waiting)
        out_line(
            "%s made a new one on %s without the old one; it waits for your other devices to agree: \"kith recovery "
            "accept\".",
            r->waiting_by, out_time(r->waiting_ms, when));
    out_event(json_pack("{s:s, s:b, s:b, s:o, s:i, s:b, s:o}", "event", "recovery", "exists", r->exists, "deposited",
                        r->deposited, "created_at", out_json_time(r->created_ms), "devices", (int)r->devices, "waiting",
                        r->waiting, "ended", out_json_ended_code(r)));
}

/* The code in force, unless it is lost or there is none; "" then. */
static int old_code(const session *s, const kith_recovery_info *info, char out[KITH_RECOVERY_TEXT])
{
    *out = 0;
    if (!info->exists || args_has(s->args, OPT_LOST)) return 0;
    return code_recovery(s, out);
}

/* What is shown is not in force yet: when this is killed in between, the old code counts, and the new one nowhere. */
static int draw_and_show(session *s, kith_recovery_options *options, secret *password, kith_recovery_result *made)
{
    kith_problem problem;
    kith_err err = KITH_OK;
    int tries = 0;
    options->check = true;
    do {
        int status = session_password(s, false, password);
        if (status) return status;
        options->password_size = password->size;
        err = kith_recovery_new(s->home, options, made, &problem);
    } while (session_try_again(s, err, &tries));
    options->check = false;
    if (err) return out_problem(err, problem.message);
    if (interrupted()) return out_error(EXIT_INTERRUPTED, "interrupted: %s", go_on);
    out_event(json_pack("{s:s, s:s, s:b}", "event", "recovery_code", "recovery_code", made->recovery_code, "in_force",
                        made->in_force));
    return code_show(made->recovery_code);
}

static int put_in_force(session *s, kith_recovery_options *options, const kith_recovery_result *shown)
{
    kith_problem problem;
    kith_recovery_result made = {.size = sizeof made};
    options->new_code = shown->recovery_code;
    kith_err err = kith_recovery_new(s->home, options, &made, &problem);
    explicit_bzero(made.recovery_code, sizeof made.recovery_code);
    if (err) return code_void(err, problem.message, "if there was one before, that one still counts");
    out_say(made.in_force && options->old_code ? "The old code is good for nothing now: destroy it."
            : made.in_force ? "It is in force.  Should an old one be found, destroy it: it is not harmless."
                            : "It is in force once each of your other devices has agreed: run \"kith recovery accept\" "
                              "there after they have met.  Until then keep an old one, if there is one.");
    return 0;
}

static int make(session *s, const kith_recovery_info *info)
{
    secret password;
    char old[KITH_RECOVERY_TEXT];
    kith_recovery_result made = {.size = sizeof made};
    if (!code_can_show())
        return out_error(EXIT_USAGE, "nobody would see the new code: run this at a terminal, or with --json");
    secret_init(&password);
    int status = old_code(s, info, old);
    kith_recovery_options options = {.size = sizeof options,
                                     .password = password.data,
                                     .old_code = *old ? old : NULL,
                                     .lost = args_has(s->args, OPT_LOST)};
    if (!status) status = draw_and_show(s, &options, &password, &made);
    if (!status) status = put_in_force(s, &options, &made);
    explicit_bzero(old, sizeof old);
    if (!status) spread_news_with(s, &password);
    secret_done(&password);
    explicit_bzero(&made, sizeof made);
    return status;
}

static int ask_accept(const session *s, const kith_recovery_info *info)
{
    char line[PROMPT_LINE], when[OUT_SIZE];
    if (args_has(s->args, OPT_YES)) return 0;
    if (!session_may_ask(s)) return session_cannot_ask(s, "--yes");
    prompt_print(
        "%s made a new recovery code on %s, without the old one.\nWhoever has it can open the keys of all your "
        "devices.  Was that you?  [y/N] ",
        info->waiting_by, out_time(info->waiting_ms, when));
    prompt_result result = prompt_line("", line, sizeof line);
    if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: %s", go_on);
    if (result == PROMPT_TIMEOUT) return session_gave_up(s, go_on);
    if (result == PROMPT_OK && (*line == 'y' || *line == 'Y')) return 0;
    return out_error(kith_err_exit(KITH_ERR_DECLINED),
                     "not agreed: if it was nobody you know, revoke that device (\"kith revoke\")");
}

static int accept_waiting(session *s, const kith_recovery_info *info)
{
    secret password;
    kith_problem problem;
    bool in_force = false;
    if (!info->waiting)
        return out_error(kith_err_exit(KITH_ERR_NOT_FOUND), "no new recovery code waits for this device's consent");
    if (info->waiting_several)
        return out_error(EXIT_USAGE,
                         "several of your devices made a new recovery code, %s and others: one of them may be in "
                         "somebody else's hands.  Look at \"kith devices --audit\", and revoke it (\"kith "
                         "revoke\")",
                         info->waiting_by);
    int status = ask_accept(s, info);
    if (status) return status;
    secret_init(&password);
    kith_err err = KITH_OK;
    int tries = 0;
    do {
        status = session_password(s, false, &password);
        if (!status)
            err = kith_recovery_accept(s->home, info->waiting_id, password.data, password.size, &in_force, &problem);
    } while (!status && session_try_again(s, err, &tries));
    if (!status && err) status = out_problem(err, problem.message);
    if (!status) {
        out_say(in_force ? "Agreed: the new recovery code is in force."
                         : "Agreed.  Another of your devices has to agree, too.");
        out_event(json_pack("{s:s, s:b}", "event", "recovery_accepted", "in_force", in_force));
        spread_news_with(s, &password);
    }
    secret_done(&password);
    return status;
}

static int run(const cli_args *a)
{
    static const char *const whats[] = {"new", "accept"};
    session s;
    kith_problem problem;
    kith_recovery_info info = {.size = sizeof info};
    char shown[OUT_NAME];
    int status = session_start(&s, a);
    if (status) return status;
    const char *what = a->word_count ? a->words[0] : NULL;
    if (what && strcmp(what, whats[0]) != 0 && strcmp(what, whats[1]) != 0)
        return out_error(EXIT_USAGE, "\"%s\" is no good for kith recovery: say new or accept",
                         out_name(what, shown, sizeof shown));
    kith_err err = kith_recovery(s.home, &info, &problem);
    if (err) return out_problem(err, problem.message);
    if (!what) {
        print(&info);
        return 0;
    }
    return strcmp(what, whats[0]) == 0 ? make(&s, &info) : accept_waiting(&s, &info);
}

static const cli_option options[] = {
    {OPT_LOST, 0, "lost", NULL, VALUE_NONE, "new: the old code is lost, so your other devices have to agree"},
    {OPT_CODE_FILE, 0, "code-file", "FILE", VALUE_FILE,
     "new: FILE holds the old code, in a line or a word a line; - is standard input"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "accept: do not ask"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_recovery = {
    .name = "recovery",
    .arguments = "[new|accept]",
    .takes = VALUE_CHOICE,
    .max = 1,
    .summary = "make a new recovery code",
    .about =
        "Say whether there is a recovery code; with \"new\", make another one, which takes the old one, or where that "
        "is lost the consent of your other devices; with \"accept\", agree to one that another device made.",
    .options = options,
    .run = run,
};
