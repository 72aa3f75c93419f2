#include "pairing.h"

#include "output.h"

#include <string.h>
#include <strings.h>

#define SHORT_DIGITS 16
#define PATIENCE_NS  UINT64_C(2000000000) /* then a person is told what is waited for */

static bool read_code(const session *s, int64_t *made_ms)
{
    kith_recovery_info info = {.size = sizeof info};
    kith_problem problem;
    if (kith_recovery(s->home, &info, &problem) || !info.exists) return false;
    *made_ms = info.created_ms;
    return true;
}

int pairing_start(pairing *p, session *s)
{
    p->asking = p->first_use = false;
    p->waiting_ns = 0;
    p->had_code = read_code(s, &p->code_ms);
    p->options = (kith_pair_options){.size = sizeof p->options,
                                     .contact = args_has(s->args, OPT_CONTACT),
                                     .yes = args_has(s->args, OPT_YES),
                                     .replace_network = args_has(s->args, OPT_REPLACE_MASTER)};
    if (p->options.yes || session_may_ask(s)) return 0;
    kith_device_info self;
    kith_problem problem;
    kith_err err = kith_self(s->home, &self, &problem); /* that comes first */
    if (err == KITH_ERR_NO_IDENTITY && strcmp(s->args->command->name, "join") != 0)
        return out_problem(err, problem.message);
    return session_cannot_ask(s, "--yes to take the device without a question");
}

/* What the other screen must show. */
static void show(const char *which, const kith_device_info *device, bool system)
{
    char first[80], all[96];
    out_group(device->fingerprint, SHORT_DIGITS, first, sizeof first);
    out_group(device->fingerprint, sizeof device->fingerprint, all, sizeof all);
    prompt_print("%s device:\n  name         %s\n", which, device->name);
    if (system)
        prompt_print("  system       %s%s%s\n", *device->os ? device->os : "unknown",
                     *device->hardware_model ? ", " : "", device->hardware_model);
    prompt_print("  fingerprint  %s\n  in full      %s\n", first, all);
}

static void ask(session *s, pairing *p, const kith_device_info *device)
{
    kith_device_info self;
    kith_problem problem;
    out_event(json_pack("{s:s, s:o}", "event", "ask", "device", out_json_device(device)));
    if (p->options.yes) return;
    if (!p->first_use && !kith_self(s->home, &self, &problem)) show("This", &self, false);
    show("The other", device, !p->first_use);
    if (p->first_use) prompt_print("  id           %s\n", device->id);
    p->asking = true;
    if (p->first_use) {
        session_ask(s, "Trust it with this key?  \"kith status\" there shows the right fingerprint.  [y/N] ");
        return;
    }
    session_ask(s, "Is this the right device, with the same fingerprint as it shows itself?  Pair with it?  [y/N] ");
}

/* Words on paper that open nothing any more look as good as before. */
static void say_code_changed(const session *s, const pairing *p)
{
    int64_t made_ms = 0;
    if (!p->had_code || !read_code(s, &made_ms) || made_ms == p->code_ms) return;
    out_say("The recovery code of this device from before is good for nothing now: that of the other device counts for "
            "both.");
}

void pairing_event(session *s, pairing *p, const kith_event *event)
{
    if (event->kind == KITH_EVENT_ASK) ask(s, p, &event->device);
    if (event->kind != KITH_EVENT_PAIRED) return;
    p->waiting_ns = 0;
    out_say(event->already ? "%s was paired already; it is still %s." : "Paired with %s, %s.", event->device.name,
            event->device.trust == KITH_RELATION_CONTACT ? "a contact" : "an own device");
    if (event->device.trust == KITH_RELATION_OWN) say_code_changed(s, p);
    out_event(json_pack("{s:s, s:o, s:b}", "event", "paired", "device", out_json_device(&event->device), "already",
                        event->already));
}

void pairing_line(session *s, pairing *p, const char *line)
{
    bool yes = line && (!strcasecmp(line, "y") || !strcasecmp(line, "yes"));
    bool no = !line || !*line || !strcasecmp(line, "n") || !strcasecmp(line, "no");
    if (!p->asking) return;
    if (!yes && !no) {
        session_ask(s, "Please answer y or n: ");
        return;
    }
    p->asking = false;
    session_listen(s, false);
    session_answer(s, s->op, yes);
    if (yes && !p->first_use) p->waiting_ns = now_ns();
}

void pairing_tick(pairing *p)
{
    if (!p->waiting_ns || now_ns() - p->waiting_ns < PATIENCE_NS) return;
    p->waiting_ns = 0;
    out_say("Waiting for the answer at the other device.");
}
