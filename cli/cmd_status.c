#include "commands.h"
#include "output.h"
#include "session.h"

static void print_recovery(const kith_recovery_info *r)
{
    char when[OUT_SIZE];
    if (!r->exists)
        out_line("recovery     none: \"kith recovery new\" makes a code");
    else if (!r->deposited)
        out_line("recovery     code of %s, which does not open this device's keys yet", out_time(r->created_ms, when));
    else
        out_line("recovery     code of %s, opens the keys of %u device%s", out_time(r->created_ms, when), r->devices,
                 r->devices == 1 ? "" : "s");
}

static int run(const cli_args *a)
{
    session s;
    kith_device_info self;
    kith_problem problem;
    kith_recovery_info recovery = {.size = sizeof recovery};
    char shown[OUT_NAME];
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem);
    if (!err) err = kith_recovery(s.home, &recovery, &problem);
    if (err) return out_problem(err, problem.message);
    out_line("id           %s", self.id);
    out_line("name         %s", self.name);
    out_line("fingerprint  %s", self.fingerprint);
    out_line("up           no");
    out_line("addresses    none: this device listens while a command such as \"kith receive\" runs");
    if (!s.relays.count) out_line("relays       none");
    for (size_t i = 0; i < s.relays.count; i++)
        out_line("%s  %s", i ? "           " : "relays     ", out_name(s.relays.urls[i], shown, sizeof shown));
    print_recovery(&recovery);
    json_t *urls = json_array();
    for (size_t i = 0; i < s.relays.count; i++) json_array_append_new(urls, out_json_text(s.relays.urls[i]));
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b, s:[], s:o, s:o, s:{s:b, s:b, s:o, s:i}}", "event", "status", "id",
                        self.id, "name", out_json_text(self.name), "fingerprint", self.fingerprint, "up", 0,
                        "addresses", "relays", urls, "home", out_json_text(s.home), "recovery", "exists",
                        recovery.exists, "deposited", recovery.deposited, "created_at",
                        out_json_time(recovery.created_ms), "devices", (int)recovery.devices));
    return 0;
}

const cli_command cmd_status = {
    .name = "status",
    .arguments = "",
    .summary = "show this device",
    .about =
        "Show this device: its id, name and fingerprint, whether \"kith up\" runs, where it listens and its relays.",
    .run = run,
};
