#include "commands.h"
#include "output.h"
#include "session.h"

static int run(const cli_args *a)
{
    session s;
    kith_device_info self;
    kith_problem problem;
    char shown[OUT_NAME];
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &self, &problem);
    if (err) return out_problem(err, problem.message);
    out_line("id           %s", self.id);
    out_line("name         %s", self.name);
    out_line("fingerprint  %s", self.fingerprint);
    out_line("up           no");
    out_line("addresses    none: this device listens while a command such as \"kith receive\" runs");
    if (!s.relays.count) out_line("relays       none");
    for (size_t i = 0; i < s.relays.count; i++)
        out_line("%s  %s", i ? "           " : "relays     ", out_name(s.relays.urls[i], shown, sizeof shown));
    json_t *urls = json_array();
    for (size_t i = 0; i < s.relays.count; i++) json_array_append_new(urls, out_json_text(s.relays.urls[i]));
    out_event(json_pack("{s:s, s:s, s:o, s:s, s:b, s:[], s:o, s:o}", "event", "status", "id", self.id, "name",
                        out_json_text(self.name), "fingerprint", self.fingerprint, "up", 0, "addresses", "relays", urls,
                        "home", out_json_text(s.home)));
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
