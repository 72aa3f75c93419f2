#include "commands.h"
#include "interrupt.h"
#include "output.h"
#include "session.h"
#include "spread.h"
#include "typed_code.h"

#include <string.h>

static const char *const go_on = "nothing was changed";

/* ---- asking ---- */

static int ask(const session *s, const kith_device_info *device)
{
    char answer[PROMPT_LINE], shown[OUT_NAME];
    if (args_has(s->args, OPT_YES)) return 0;
    if (!session_may_ask(s)) return session_cannot_ask(s, "--yes");
    prompt_print("Revoke %s?  None of your devices will let it in any more, and its key does not come back.  [y/N] ",
                 out_name(device->name, shown, sizeof shown));
    prompt_result result = prompt_line("", answer, sizeof answer);
    if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: %s", go_on);
    if (result == PROMPT_TIMEOUT) return session_gave_up(s, go_on);
    if (result == PROMPT_OK && (*answer == 'y' || *answer == 'Y')) return 0;
    return out_error(EXIT_FAILED, "not revoked: %s", go_on);
}

/* ---- who is in again ---- */

typedef struct known {
    kith_device_info *devices;
    size_t count;
} known;

static void known_read(const session *s, known *out)
{
    kith_problem problem;
    *out = (known){NULL, 0};
    if (kith_devices(s->home, &out->devices, &out->count, &problem)) *out = (known){NULL, 0};
}

/* What the revoked device revoked is undone with the code: that may have been rightly revoked. */
static void say_who_is_back(const session *s, const known *before, json_t *object)
{
    known after;
    char shown[OUT_NAME];
    json_t *back = json_array();
    known_read(s, &after);
    for (size_t i = 0; i < after.count; i++) {
        const kith_device_info *d = &after.devices[i];
        bool was = d->trust != KITH_RELATION_OWN;
        for (size_t k = 0; k < before->count; k++) was |= strcmp(before->devices[k].id, d->id) == 0;
        if (was) continue;
        out_warn("%s, which it had revoked, is one of your devices again: revoke it anew if it should not be",
                 out_name(d->name, shown, sizeof shown));
        json_array_append_new(back, out_json_device(d));
    }
    json_object_set_new(object, "back", back);
    kith_free_devices(after.devices);
}

/* ---- the command ---- */

/* The first time that the password is used.  With the recovery code there is a new one, and nothing is done yet: it is
 * shown before it is in force. */
static int begin(session *s, const char *id, kith_revoke_options *how, secret *password, kith_recovery_result *code)
{
    kith_problem problem;
    kith_err err = KITH_OK;
    int tries = 0;
    how->check = how->recovery_code != NULL;
    do {
        int status = session_password(s, false, password);
        if (status) return status;
        how->password_size = password->size;
        err = kith_revoke(s->home, id, how, code, &problem);
    } while (session_try_again(s, err, &tries));
    how->check = false;
    if (err) return out_problem(err, problem.message);
    if (!how->recovery_code) return 0;
    if (interrupted()) return out_error(EXIT_INTERRUPTED, "interrupted: nothing was changed");
    out_event(
        json_pack("{s:s, s:s, s:b}", "event", "recovery_code", "recovery_code", code->recovery_code, "in_force", true));
    return code_show(code->recovery_code);
}

static int revoke(session *s, const kith_device_info *device)
{
    secret password;
    kith_problem problem;
    char code[KITH_RECOVERY_TEXT] = "", shown[OUT_NAME];
    bool with_code = args_has(s->args, OPT_RECOVERY);
    kith_recovery_result shown_code = {.size = sizeof shown_code}, made = {.size = sizeof made};
    if (with_code && !code_can_show())
        return out_error(EXIT_USAGE, "nobody would see the new code: run this at a terminal, or with --json");
    int status = ask(s, device);
    secret_init(&password);
    if (!status && with_code) status = code_recovery(s, code);
    kith_revoke_options options = {.size = sizeof options,
                                   .password = password.data,
                                   .why = args_value(s->args, OPT_WHY),
                                   .recovery_code = with_code ? code : NULL};
    known before = {NULL, 0};
    if (with_code) known_read(s, &before);
    if (!status) status = begin(s, device->id, &options, &password, &shown_code);
    options.new_code = shown_code.recovery_code;
    kith_err err = status || !with_code ? KITH_OK : kith_revoke(s->home, device->id, &options, &made, &problem);
    explicit_bzero(code, sizeof code);
    if (err) status = code_void(err, problem.message, "the one before still counts");
    if (!status) {
        out_say("%s is revoked.", out_name(device->name, shown, sizeof shown));
        json_t *object = json_pack("{s:s, s:o}", "event", "revoked", "device", out_json_device(device));
        if (with_code) json_object_set_new(object, "recovery_code", json_string(made.recovery_code));
        if (with_code) say_who_is_back(s, &before, object);
        out_event(object);
        spread_news_with(s, &password);
        session_warn_code(s);
        out_say("Other people's devices do not hear of it: ask those that know it to run \"kith forget\".");
    }
    explicit_bzero(&made, sizeof made);
    explicit_bzero(&shown_code, sizeof shown_code);
    secret_done(&password);
    kith_free_devices(before.devices);
    return status;
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info device;
    int status = session_start(&s, a);
    if (!status) status = session_find(&s, a->words[0], &device);
    if (status) return status;
    if (device.trust != KITH_RELATION_OWN)
        return out_error(EXIT_FAILED, "%s is somebody else's device: \"kith forget\" is for those", device.name);
    return revoke(&s, &device);
}

static const cli_option options[] = {
    {OPT_WHY, 0, "why", "TEXT", VALUE_OTHER, "what the others, and the device itself, are told; at most 63 bytes"},
    {OPT_RECOVERY, 0, "recovery", NULL, VALUE_NONE,
     "with the recovery code: also against a device that has revoked this one; makes a new code"},
    {OPT_CODE_FILE, 0, "code-file", "FILE", VALUE_FILE,
     "FILE holds the code, in a line or a word a line; - is standard input"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "do not ask"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_revoke = {
    .name = "revoke",
    .arguments = "DEVICE",
    .takes = VALUE_DEVICE,
    .min = 1,
    .max = 1,
    .summary = "take a lost or stolen device out, on all of them",
    .about =
        "Revoke an own device: none of your devices lets it in any more, its connections end, and it is told why.  "
        "Those that can be reached hear it now, the others when they meet one that knows.",
    .options = options,
    .run = run,
};
