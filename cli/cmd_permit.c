#include "commands.h"
#include "output.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

static const char *const permissions[] = {"default", "deny", "ask", "allow", NULL}; /* as kith_permission counts */

static int read_permission(const char *text, kith_permission *out)
{
    char shown[OUT_NAME];
    for (int i = 0; permissions[i]; i++) {
        if (strcmp(text, permissions[i]) != 0) continue;
        *out = (kith_permission)i;
        return 0;
    }
    return out_error(EXIT_USAGE, "\"%s\" is no permission: say allow, ask, deny or default",
                     out_name(text, shown, sizeof shown));
}

static int show(const session *s, const kith_device_info *device, const char *only)
{
    kith_permit_info permits[KITH_PERMITS_MAX];
    kith_problem problem;
    size_t count;
    kith_err err = kith_permits(s->home, device->id, permits, KITH_PERMITS_MAX, &count, &problem);
    if (err) return out_problem(err, problem.message);
    for (size_t i = 0; i < count && i < KITH_PERMITS_MAX; i++) {
        const kith_permit_info *p = &permits[i];
        if (only && strcmp(only, p->service) != 0) continue;
        out_line("%-6s %-6s %s", p->service, permissions[p->effective], p->said ? "said for this device" : "default");
        out_event(json_pack("{s:s, s:s, s:s, s:s, s:o}", "event", "permit", "service", p->service, "said",
                            permissions[p->said], "effective", permissions[p->effective], "device",
                            out_json_device(device)));
    }
    return 0;
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info device;
    kith_problem problem;
    kith_permission permission = KITH_PERMISSION_DEFAULT;
    int status = session_start(&s, a);
    if (!status && a->word_count == 2)
        status = out_error(EXIT_USAGE, "what is it to be?  kith permit DEVICE SERVICE allow|ask|deny|default");
    if (!status && a->word_count == 3) status = read_permission(a->words[2], &permission);
    if (!status) status = session_find(&s, a->words[0], &device);
    if (status) return status;
    if (a->word_count == 3) {
        kith_err err = kith_permit(s.home, device.id, a->words[1], permission, &problem);
        if (err) return out_problem(err, problem.message);
    }
    return show(&s, &device, a->word_count == 3 ? a->words[1] : NULL);
}

const cli_command cmd_permit = {
    .name = "permit",
    .arguments = "DEVICE [SERVICE allow|ask|deny|default]",
    .takes = VALUE_DEVICE,
    .min = 1,
    .max = 3,
    .summary = "see or say what a device may do here",
    .about =
        "Say what a device may do here, in place of what its kind may: SERVICE is \"file\" (send files), \"talk\" "
        "(connections of applications) or \"ping\".  \"default\" takes that back.  Without SERVICE, list what counts.  "
        "Commands that run here keep to it at once: what is denied ends.  Asks for no password.",
    .run = run,
};
