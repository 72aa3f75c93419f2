#include "commands.h"
#include "output.h"
#include "pairing.h"
#include "settings.h"

#include <ctype.h>
#include <string.h>

#define DIGITS_MIN 4

static void say_known(const kith_device_info *d)
{
    out_event(json_pack("{s:s, s:o, s:b}", "event", "trusted", "device", out_json_device(d), "already", true));
    out_say("%s was known already; nothing changes.", d->name);
}

static void on_event(session *s, const kith_event *event)
{
    pairing *p = s->user;
    if (event->kind != KITH_EVENT_PAIRED) {
        pairing_event(s, p, event);
        return;
    }
    const kith_device_info *d = &event->device;
    if (event->already) {
        say_known(d);
        return;
    }
    out_event(json_pack("{s:s, s:o, s:b}", "event", "trusted", "device", out_json_device(d), "already", false));
    out_say("%s is trusted as a contact, with the key that was seen now.  It refuses this device until \"kith trust\" "
            "is run there, too.",
            d->name);
    out_say("Not verified: compare what \"kith verify\" shows on both.");
}

static void on_line(session *s, const char *line) { pairing_line(s, s->user, line); }

/* Only a device that is known has a name here. */
static bool known_by_name(const session *s, const char *name)
{
    kith_device_info device;
    kith_problem problem;
    if (kith_find(s->home, name, &device, &problem) || strcmp(device.name, name) != 0) return false;
    say_known(&device);
    return true;
}

/* What can be said before a password is asked for; dashes and blanks do not count. */
static int check_device(const char *text)
{
    size_t digits = 0;
    for (const char *c = text; *c; c++) digits += isxdigit((unsigned char)*c) != 0;
    if (digits >= DIGITS_MIN && !text[strspn(text, "0123456789abcdefABCDEF- ")]) return 0;
    return out_error(EXIT_USAGE,
                     "a device that is not known here has no name yet: say its id, or %d digits or more of "
                     "its fingerprint; \"kith devices --nearby\" lists who is there",
                     DIGITS_MIN);
}

static int run(const cli_args *a)
{
    static const session_handler handler = {
        .event = on_event, .line = on_line, .go_on = "nothing was changed; run the same command again"};
    session s;
    pairing p;
    bool no_lan = false;
    const char *name = NULL;
    int status = session_start(&s, a);
    if (!status) status = setting_device_name(&s, &name);
    if (!status) status = setting_no_lan(&s, &no_lan);
    if (!status && no_lan)
        status = args_has(a, OPT_NO_LAN)
                     ? out_error(EXIT_USAGE, "with --no-lan nobody is seen: leave it out, or use \"kith pair\"")
                     : out_error(EXIT_USAGE, "the setting lan is no, and so nobody is seen: say --lan");
    if (!status && known_by_name(&s, a->words[0])) return 0;
    if (!status) status = check_device(a->words[0]);
    if (!status) status = pairing_start(&p, &s);
    if (!status) status = session_open(&s);
    if (status) return status;
    p.first_use = true;
    kith_pin_options options = {.size = sizeof options, .name = name, .yes = p.options.yes};
    out_say("Looking for the device on this network...");
    status = session_begin(&s, kith_pin(s.node, a->words[0], &options, &s.op), &handler, &p);
    session_close(&s);
    return status;
}

static const cli_option options[] = {
    {OPT_NAME, 0, "name", "NAME", VALUE_OTHER, "what to call it here; default after its fingerprint"},
    {OPT_YES, 0, "yes", NULL, VALUE_NONE, "do not ask: take the key that is seen"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_trust = {
    .name = "trust",
    .arguments = "DEVICE",
    .takes = VALUE_OTHER,
    .min = 1,
    .max = 1,
    .summary = "pin a device seen on the network",
    .about =
        "Trust a device at first use: pin the key that it has now, as a contact, not verified.  DEVICE is its id, or 4 "
        "digits or more that its id or fingerprint begins with, as \"kith devices --nearby\" lists them and \"kith "
        "status\" there says them.  Run it on both devices while \"kith receive\" runs on the other.  \"kith pair\" "
        "is safer: it proves the key.",
    .options = options,
    .run = run,
};
