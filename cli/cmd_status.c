#include "commands.h"
#include "output.h"
#include "session.h"

#define ADDRESSES_MAX 16

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

typedef struct state {
    kith_device_info self;
    bool up;
    kith_daemon_info daemon;
    kith_recovery_info recovery;
    char revoked[KITH_REVOKED_TEXT];
    char addresses[ADDRESSES_MAX][KITH_ADDRESS_TEXT];
    size_t address_count;
} state;

static void look(session *s, state *x)
{
    x->up = kith_daemon_of(s->node, &x->daemon);
    x->address_count = kith_addresses(s->node, x->addresses, ADDRESSES_MAX);
    if (x->address_count > ADDRESSES_MAX) x->address_count = ADDRESSES_MAX;
    session_close(s);
}

static void print_relay(size_t index, const char *url, const char *more)
{
    char shown[OUT_NAME];
    out_line("%s  %s%s", index ? "           " : "relays     ", out_name(url, shown, sizeof shown), more);
}

static void print_text(const session *s, const state *x)
{
    char ago[OUT_SIZE], shown[OUT_NAME], ended[OUT_ENDED_SIZE];
    size_t i = 0;
    out_line("id           %s", x->self.id);
    out_line("name         %s", x->self.name);
    out_line("fingerprint  %s", x->self.fingerprint);
    if (x->up)
        out_line("up           yes, process %ld, begun %s", x->daemon.pid, out_ago(x->daemon.since_ms, ago));
    else
        out_line("up           no");
    if (x->up && *x->daemon.folder) out_line("receives     into %s", out_name(x->daemon.folder, shown, sizeof shown));
    if (!x->address_count)
        out_line("addresses    none%s",
                 x->up ? "" : ": this device listens while a command such as \"kith receive\" runs");
    for (size_t at = 0; at < x->address_count; at++)
        out_line("%s  %s", at ? "           " : "addresses  ", x->addresses[at]);
    for (; x->up && i < KITH_OPTIONS_RELAYS_MAX && *x->daemon.relays[i].url; i++)
        print_relay(i, x->daemon.relays[i].url, x->daemon.relays[i].connected ? " (connected)" : " (not connected)");
    for (; !x->up && i < s->relays.count; i++) print_relay(i, s->relays.urls[i], "");
    if (!i) out_line("relays       none");
    if (*x->revoked) out_line("revoked      " OUT_REVOKED, x->revoked);
    if (*x->daemon.twin) out_line("warning      " OUT_TWIN, x->daemon.twin);
    print_recovery(&x->recovery);
    if (x->recovery.ended) out_line("warning      %s", out_ended_code(&x->recovery, ended));
}

static void print_json(const session *s, const state *x)
{
    json_t *urls = json_array(), *connected = json_array(), *addresses = json_array();
    for (size_t i = 0; i < x->address_count; i++) json_array_append_new(addresses, json_string(x->addresses[i]));
    for (size_t i = 0; !x->up && i < s->relays.count; i++)
        json_array_append_new(urls, out_json_text(s->relays.urls[i]));
    for (size_t i = 0; x->up && i < KITH_OPTIONS_RELAYS_MAX && *x->daemon.relays[i].url; i++) {
        json_array_append_new(urls, out_json_text(x->daemon.relays[i].url));
        if (x->daemon.relays[i].connected) json_array_append_new(connected, out_json_text(x->daemon.relays[i].url));
    }
    const kith_recovery_info *r = &x->recovery;
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:{s:b, s:b, s:o, s:i, s:o}}", "event", "status", "id",
                  x->self.id, "name", out_json_text(x->self.name), "fingerprint", x->self.fingerprint, "up", x->up,
                  "addresses", addresses, "relays", urls, "relays_connected", connected, "home", out_json_text(s->home),
                  "recovery", "exists", r->exists, "deposited", r->deposited, "created_at",
                  out_json_time(r->created_ms), "devices", (int)r->devices, "ended", out_json_ended_code(r));
    if (object) json_object_set_new(object, "revoked", *x->revoked ? out_json_text(x->revoked) : json_null());
    if (object && x->up) {
        json_object_set_new(object, "pid", json_integer((json_int_t)x->daemon.pid));
        json_object_set_new(object, "since", out_json_time(x->daemon.since_ms));
        json_object_set_new(object, "folder", out_json_text(x->daemon.folder));
        json_object_set_new(object, "twin", *x->daemon.twin ? json_string(x->daemon.twin) : json_null());
    }
    out_event(object);
}

static int run(const cli_args *a)
{
    session s;
    state x = {.recovery.size = sizeof x.recovery};
    kith_problem problem;
    int status = session_start(&s, a);
    if (status) return status;
    kith_err err = kith_self(s.home, &x.self, &problem);
    if (!err) err = kith_recovery(s.home, &x.recovery, &problem);
    if (!err) err = kith_revoked(s.home, x.revoked, &problem);
    if (err) return out_problem(err, problem.message);
    status = session_attach(&s);
    if (status > 0) return status;
    if (status == 0)
        look(&s, &x);
    else if ((status = relays_settle(&s.relays, &s)) != 0)
        return status;
    if (out()->json)
        print_json(&s, &x);
    else
        print_text(&s, &x);
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
