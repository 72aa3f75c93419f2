#include "commands.h"
#include "output.h"
#include "session.h"
#include "settings.h"

#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STATES      (KITH_FINDING_UNKNOWN + 1)
#define CHECK_WIDTH 10 /* columns; the longest name has one less */
#define STATE_WIDTH 8

static const char *const states[STATES] = {"", "good", "warning", "bad", "unknown"};

typedef struct examination {
    unsigned counts[STATES];
} examination;

static void print(const kith_event *e)
{
    out_line("%-*s%-*s%s", STATE_WIDTH, states[e->state], CHECK_WIDTH, e->check, e->message);
    if (*e->cure) out_line("%*sto do: %s", STATE_WIDTH + CHECK_WIDTH, "", e->cure);
}

static void print_json(const kith_event *e)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "event", "finding", "check", e->check, "state", states[e->state],
                               "says", out_json_text(e->message));
    json_object_set_new(object, "cure", *e->cure ? out_json_text(e->cure) : json_null());
    if (*e->result) json_object_set_new(object, "result", out_json_text(e->result));
    if (*e->name) json_object_set_new(object, "name", out_json_text(e->name));
    if (*e->address) json_object_set_new(object, "address", json_string(e->address));
    if (e->rtt_ns) json_object_set_new(object, "rtt_ms", json_real((double)e->rtt_ns / 1e6));
    if (e->bytes) json_object_set_new(object, "bytes", json_integer((json_int_t)e->bytes));
    if (e->skew_ms) json_object_set_new(object, "skew_ms", json_integer(e->skew_ms));
    out_event(object);
}

static void take(examination *x, const kith_event *e)
{
    if (e->state < KITH_FINDING_GOOD || e->state > KITH_FINDING_UNKNOWN) return;
    x->counts[e->state]++;
    print(e);
    if (out()->json) print_json(e);
}

static void on_event(session *s, const kith_event *event)
{
    if (event->kind == KITH_EVENT_FINDING) take(s->user, event);
}

static int sum_up(const examination *x)
{
    const unsigned *n = x->counts;
    out_say("%u good, %u could be better, %u bad, %u cannot be told", n[KITH_FINDING_GOOD], n[KITH_FINDING_WARNING],
            n[KITH_FINDING_BAD], n[KITH_FINDING_UNKNOWN]);
    out_event(json_pack("{s:s, s:i, s:i, s:i, s:i}", "event", "done", "good", (int)n[KITH_FINDING_GOOD], "warning",
                        (int)n[KITH_FINDING_WARNING], "bad", (int)n[KITH_FINDING_BAD], "unknown",
                        (int)n[KITH_FINDING_UNKNOWN]));
    return n[KITH_FINDING_BAD] ? EXIT_FAILED : 0;
}

/* A home that cannot be read is a finding, too, and the only one: a node has to have one. */
static bool home_is_bad(const session *s, examination *x)
{
    kith_event e = {.kind = KITH_EVENT_FINDING, .state = KITH_FINDING_BAD, .check = "home"};
    kith_device_info *devices = NULL;
    kith_recovery_info recovery = {.size = sizeof recovery};
    kith_problem problem;
    size_t count;
    kith_err err = kith_recovery(s->home, &recovery, &problem); /* the identity, master_key.json, the graph */
    if (!err) err = kith_devices(s->home, &devices, &count, &problem);
    kith_free_devices(devices);
    if (!err) err = setting_check(s, &problem);
    if (!err) return false;
    snprintf(e.result, sizeof e.result, "%s", kith_err_name(err));
    snprintf(e.message, sizeof e.message, "%s", problem.message);
    snprintf(e.cure, sizeof e.cure,
             "do as it says and run \"kith doctor\" again: the network is looked at from a home that can be read");
    take(x, &e);
    return true;
}

/* Nor is one good into which nothing can be written.  What is read only is so for a node's keys, too. */
static void say_what_is_stuck(const session *s, examination *x, bool *read_only)
{
    kith_event e = {.kind = KITH_EVENT_FINDING, .state = KITH_FINDING_BAD, .check = "home"};
    struct statvfs disk;
    char shown[OUT_NAME];
    if (statvfs(s->home, &disk)) return;
    *read_only = access(s->home, W_OK) != 0;
    bool full = disk.f_blocks && !disk.f_bavail;
    if (!*read_only && !full) return;
    snprintf(e.result, sizeof e.result, "%s", *read_only ? "read-only" : "full");
    snprintf(e.message, sizeof e.message,
             *read_only
                 ? "nothing may be written into %s: its disk is read-only, or it is another user's"
                 : "the disk of %s is full: nothing new is stored, neither files nor whom this device pairs with",
             out_name(s->home, shown, sizeof shown));
    snprintf(e.cure, sizeof e.cure, "%s",
             *read_only ? "give it back with chown, or move it to where it can be written and name that with --home"
                        : "make room there");
    take(x, &e);
}

static int run(const cli_args *a)
{
    static const session_handler handler = {.event = on_event, .go_on = "run the same command again"};
    const char *servers[KITH_DOCTOR_STUN_MAX];
    kith_doctor_options options = {.size = sizeof options, .stun = servers};
    examination x = {.counts = {0}};
    session s;
    int status = session_start(&s, a);
    for (size_t i = 0; i < a->given_count && !status; i++) {
        if (a->given[i].option->id != OPT_STUN) continue;
        if (options.stun_count == KITH_DOCTOR_STUN_MAX)
            status = out_error(EXIT_USAGE, "at most %d STUN servers can be asked", KITH_DOCTOR_STUN_MAX);
        else
            servers[options.stun_count++] = a->given[i].value;
    }
    if (status) return status;
    if (home_is_bad(&s, &x)) return sum_up(&x);
    if ((status = relays_settle(&s.relays, &s)) != 0) return status;
    /* Only relays want to know who asks; but a password that is named is to be the right one. */
    bool read_only = false;
    say_what_is_stuck(&s, &x, &read_only);
    bool with_keys = !read_only && (session_names_password(&s) || (s.relays.count && session_has_password(&s)));
    status = with_keys ? session_open(&s) : session_open_without(&s);
    if (status) return status;
    out_status("looking around, for up to half a minute ...");
    status = session_begin(&s, kith_doctor(s.node, &options, &s.op), &handler, &x);
    session_close(&s);
    return status ? status : sum_up(&x);
}

static const cli_option options[] = {
    {OPT_STUN, 0, "stun", "HOST:PORT", VALUE_OTHER, "ask this STUN server, too; repeatable"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "say what this network allows",
    .about =
        "Look at this device's home and clock, the local network, the NAT and firewalls on the way, and the relays: "
        "what works, and for each thing that does not why, and what to do.  Exit status 1 when something is bad.  "
        "Asks for the password only where there are relays to register with.",
    .options = options,
    .run = run,
};
