#include "commands.h"
#include "output.h"
#include "session.h"

static int run(const cli_args *a)
{
    session s;
    kith_device_info device;
    kith_problem problem;
    int status = session_start(&s, a);
    if (!status) status = session_find(&s, a->words[0], &device);
    if (status) return status;
    if (device.trust == KITH_RELATION_OWN) /* by the name that it has here */
        return out_error(EXIT_FAILED, "%s is one of your own devices: \"kith revoke\" takes it out, on all of them",
                         device.name);
    kith_err err = kith_forget(s.home, device.id, &problem);
    if (err) return out_problem(err, problem.message);
    out_say("%s is forgotten here: nothing is taken from it any more.  Run \"kith pair\" to know it again.",
            device.name);
    out_event(json_pack("{s:s, s:o}", "event", "forgotten", "device", out_json_device(&device)));
    return 0;
}

const cli_command cmd_forget = {
    .name = "forget",
    .arguments = "DEVICE",
    .takes = VALUE_DEVICE,
    .min = 1,
    .max = 1,
    .summary = "forget somebody else's device",
    .about = "Forget a contact's device: this one trusts it no longer.  The other one keeps its own list: forget this "
             "device there, too.  One's own devices are revoked (\"kith revoke\").",
    .run = run,
};
