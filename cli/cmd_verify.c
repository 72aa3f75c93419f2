#include "commands.h"
#include "output.h"
#include "session.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define GROUPS_A_LINE 4
#define GROUP_SIZE    6 /* digits and the blank, or NUL, behind them */

/* As they are read aloud: four groups a line; whole groups a line where nothing is drawn. */
static void print_digits(const char *digits)
{
    size_t groups = out()->plain ? 1 : GROUPS_A_LINE, all = (strlen(digits) + 1) / GROUP_SIZE;
    for (size_t i = 0; i < all; i += groups) out_line("%.*s", (int)(groups * GROUP_SIZE - 1), digits + i * GROUP_SIZE);
}

static int mark(const session *s, const kith_device_info *device, bool verified)
{
    kith_problem problem;
    kith_err err = kith_mark_verified(s->home, device->id, verified, &problem);
    if (err) return out_problem(err, problem.message);
    kith_device_info now = *device;
    now.verified = verified;
    out_event(json_pack("{s:s, s:o}", "event", verified ? "verified" : "unverified", "device", out_json_device(&now)));
    if (verified) {
        out_say("%s is verified: its key is the one that it shows itself.", device->name);
        return 0;
    }
    return out_error(kith_err_exit(KITH_ERR_UNTRUSTED),
                     "the digits differ: what is known here as \"%s\" is not the device you compared with, and is not "
                     "verified; run \"kith forget\" for it and pair again",
                     device->name);
}

static int ask(session *s, const kith_device_info *device)
{
    char line[PROMPT_LINE], question[PROMPT_LINE];
    snprintf(question, sizeof question,
             "Does \"kith verify\" on %s show the same digits?  [y: yes, n: no, Enter: not compared] ", device->name);
    for (;;) {
        prompt_result result = prompt_line(question, line, sizeof line);
        if (result == PROMPT_INTERRUPTED) return out_error(EXIT_INTERRUPTED, "interrupted: nothing was changed");
        if (result == PROMPT_TIMEOUT) return session_gave_up(s, "nothing was changed");
        if (result == PROMPT_END || !*line) return 0;
        if (!strcasecmp(line, "y") || !strcasecmp(line, "yes")) return mark(s, device, true);
        if (!strcasecmp(line, "n") || !strcasecmp(line, "no")) return mark(s, device, false);
    }
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info device;
    kith_problem problem;
    char digits[KITH_DIGITS_TEXT];
    int status = session_start(&s, a);
    if (!status) status = session_find(&s, a->words[0], &device);
    if (status) return status;
    kith_err err = kith_verify_digits(s.home, device.id, digits, &problem);
    if (err) return out_problem(err, problem.message);
    print_digits(digits);
    out_event(json_pack("{s:s, s:s, s:o}", "event", "digits", "digits", digits, "device", out_json_device(&device)));
    if (device.verified && !args_has(a, OPT_OK)) out_say("%s is verified already.", device.name);
    if (args_has(a, OPT_OK)) return mark(&s, &device, true);
    if (!out_finish()) return EXIT_FAILED; /* they stand there before the question; main says why not */
    return session_may_ask(&s) ? ask(&s, &device) : 0;
}

static const cli_option options[] = {
    {OPT_OK, 0, "ok", NULL, VALUE_NONE, "the digits are the same: mark the device as verified"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_verify = {
    .name = "verify",
    .arguments = "DEVICE",
    .takes = VALUE_DEVICE,
    .min = 1,
    .max = 1,
    .summary = "compare digits with another device",
    .about =
        "Show 60 digits that are the same on both devices when each knows the other's right key: compare them with "
        "what \"kith verify\" shows there.  A device that a code paired is verified from the start; one that "
        "\"kith trust\" took at first sight is not.  Asks for no password.",
    .options = options,
    .run = run,
};
