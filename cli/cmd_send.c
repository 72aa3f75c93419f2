#include "commands.h"
#include "output.h"
#include "progress.h"
#include "session.h"
#include "transfer_json.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(2000000000) /* then a person is told what is waited for */

typedef struct sending {
    kith_device_info device;
    progress progress;
    bool started, was_there; /* all of it, when that began */
    bool connected;
    uint64_t waiting_ns; /* since when, for what was not said yet; 0: it was */
} sending;

static void sent(sending *p, const kith_event *event)
{
    char size[OUT_SIZE], speed[OUT_SIZE];
    double rate = event->seconds > 0 ? (double)(event->bytes_total - p->progress.start_bytes) / event->seconds : 0;
    if (p->started) progress_update(&p->progress, event->bytes_total, now_ns());
    out_status("");
    if (p->was_there)
        out_say("%s had %s already, the same: nothing was sent.", p->device.name, p->progress.name);
    else
        out_say("%s has %s whole: %s in %.1f s, %s/s.", p->device.name, p->progress.name,
                out_bytes((double)event->bytes_total, size), event->seconds, out_bytes(rate, speed));
    json_done(event, event->seconds);
}

static void on_event(session *s, const kith_event *event);
static void on_tick(session *s);
static const session_handler offering = {
    .event = on_event, .tick = on_tick, .go_on = "nothing was sent; run the same command again to offer it again"};
static const session_handler under_way = {
    .event = on_event,
    .tick = on_tick,
    .go_on = "what arrived is kept; run the same command again and it goes on from there"};

static void on_event(session *s, const kith_event *event)
{
    sending *p = s->user;
    uint64_t now = now_ns();
    switch (event->kind) {
    case KITH_EVENT_CONNECTED:
        if (!p->connected) p->waiting_ns = now;
        p->connected = true;
        if (out()->verbose) out_say("Connected to %s over %s, %s.", p->device.name, event->path, event->address);
        out_event(json_pack("{s:s, s:o, s:s, s:s, s:s}", "event", "connected", "device",
                            out_json_device(&event->device), "path", event->path, "scope", event->scope, "address",
                            event->address));
        break;
    case KITH_EVENT_WAITING:
        out_status("");
        out_say("%s", *event->message ? event->message : kith_err_text(event->err));
        out_event(json_pack("{s:s, s:o}", "event", "waiting", "message", out_json_text(event->message)));
        break;
    case KITH_EVENT_START:
        progress_start(&p->progress, event->name, event->bytes, event->bytes_total, now);
        if (event->bytes && event->bytes < event->bytes_total && !p->started)
            out_say("%s has a part of it already: going on from there.", p->device.name);
        if (!p->started) p->was_there = event->bytes && event->bytes == event->bytes_total;
        json_start(event);
        p->started = true;
        s->handler = &under_way;
        break;
    case KITH_EVENT_PROGRESS:
        progress_update(&p->progress, event->bytes, now);
        json_progress(event);
        break;
    case KITH_EVENT_SENT: sent(p, event); break;
    default: break;
    }
}

static void say_what_is_awaited(sending *p)
{
    const char *name = p->device.name;
    p->waiting_ns = 0;
    if (!p->connected)
        out_say("%s is not there yet: it has to be on and run \"kith receive\" or \"kith up\".", name);
    else if (p->device.trust == KITH_RELATION_CONTACT)
        out_say("%s is asked: waiting until somebody there takes it.", name);
    else
        out_say("%s is there: waiting for its answer.", name);
}

static void on_tick(session *s)
{
    sending *p = s->user;
    uint64_t now = now_ns();
    if (p->started)
        progress_draw(&p->progress, now);
    else if (p->waiting_ns && now - p->waiting_ns >= PATIENCE_NS)
        say_what_is_awaited(p);
}

/* What can be said before a password is asked for. */
static int check_path(const char *path)
{
    struct stat info;
    char shown[OUT_NAME];
    kith_err err = KITH_OK;
    if (!strcmp(path, "-"))
        return out_error(EXIT_USAGE,
                         "\"-\" is to send standard input: this version of Kith cannot do that yet; name a file");
    out_name(path, shown, sizeof shown);
    if (stat(path, &info))
        err = errno == EACCES                                                                  ? KITH_ERR_PERMISSION
              : errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG ? KITH_ERR_NO_FILE
                                                                                               : KITH_ERR_IO;
    if (!err && S_ISDIR(info.st_mode))
        return out_error(EXIT_USAGE,
                         "%s is a folder: this version of Kith cannot send folders yet; pack it into one file", shown);
    if (!err && !S_ISREG(info.st_mode)) err = KITH_ERR_NOT_REGULAR;
    if (!err && access(path, R_OK)) err = KITH_ERR_PERMISSION;
    return err ? out_error(kith_err_exit(err), "%s cannot be sent: %s", shown, kith_err_text(err)) : 0;
}

static int check_usage(const cli_args *a)
{
    if (a->word_count > 1) return out_error(EXIT_USAGE, "this version of Kith sends one file at a time: name one");
    if (args_count(a, OPT_TO) > 1)
        return out_error(EXIT_USAGE, "this version of Kith sends to one device at a time: say --to once");
    if (!args_has(a, OPT_TO))
        return out_error(
            EXIT_USAGE,
            "sending with a one-time code is for a later version of Kith: name the device with --to DEVICE");
    return check_path(a->words[0]);
}

static int read_path(const cli_args *a, kith_path *path)
{
    static const char *const names[] = {"udp", "tcp", "relay", NULL};
    static const kith_path paths[] = {KITH_PATH_UDP, KITH_PATH_TCP, KITH_PATH_RELAY};
    int index = -1;
    int status = args_choice(a, OPT_PATH, "--path: say udp, tcp or relay", names, &index);
    if (index >= 0) *path = paths[index];
    return status;
}

static int read_name(const cli_args *a, const char **name)
{
    const char *text = args_value(a, OPT_NAME);
    char shown[OUT_NAME];
    if (text && (!*text || strchr(text, '/') || !strcmp(text, ".") || !strcmp(text, "..")))
        return out_error(EXIT_USAGE, "\"%s\" is no good for --name: say a file's name, without a folder",
                         out_name(text, shown, sizeof shown));
    *name = text;
    return 0;
}

static int run(const cli_args *a)
{
    session s;
    sending p = {.started = false};
    kith_send_options options = {.size = sizeof options};
    int status = session_start(&s, a);
    if (!status) status = read_path(a, &options.path);
    if (!status) status = read_name(a, &options.name);
    if (!status) status = check_usage(a);
    if (!status) status = session_find(&s, args_value(a, OPT_TO), &p.device);
    if (!status) status = session_open(&s);
    if (status) return status;
    session_warn_revoked(&s);
    out_say("Looking for %s...", p.device.name);
    p.waiting_ns = now_ns();
    status = session_begin(&s, kith_send_file(s.node, p.device.id, a->words[0], &options, &s.op), &offering, &p);
    session_close(&s);
    return status;
}

#define LATER_FLAG(name, purpose)                                                                                      \
    {                                                                                                                  \
        OPT_LATER, 0, name, NULL, VALUE_NONE, purpose                                                                  \
    }
#define LATER_VALUE(name, value, purpose)                                                                              \
    {                                                                                                                  \
        OPT_LATER, 0, name, value, VALUE_OTHER, purpose                                                                \
    }

static const cli_option options[] = {
    {OPT_TO, 0, "to", "DEVICE", VALUE_DEVICE, "who is to have it"},
    {OPT_NAME, 0, "name", "NAME", VALUE_OTHER, "what the file is called there; default its own name"},
    LATER_VALUE("text", "TEXT", "send a text"),
    LATER_VALUE("exclude", "GLOB", "leave files of a folder out"),
    LATER_VALUE("exclude-from", "FILE", "leave files of a folder out"),
    LATER_FLAG("git", "leave out what git ignores"),
    LATER_FLAG("checksum", "compare files by their content"),
    LATER_FLAG("xattrs", "send extended attributes"),
    LATER_VALUE("rate", "BYTES", "limit the rate"),
    LATER_FLAG("dry-run", "say what would be sent"),
    LATER_FLAG("follow-symlinks", "send what links point to"),
    LATER_VALUE("copies", "N", "let several people use one code"),
    LATER_FLAG("queue", "keep files for a device that is away"),
    {OPT_PATH, 0, "path", "udp|tcp|relay", VALUE_CHOICE, "go over this and nothing else"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_send = {
    .name = "send",
    .arguments = "--to DEVICE FILE",
    .takes = VALUE_FILE,
    .min = 1,
    .max = (size_t)-1,
    .summary = "send a file to a device",
    .about = "Send a file to a device, on which \"kith receive\" runs.  When it stops half-way, the same command goes "
             "on where it stopped.",
    .options = options,
    .run = run,
};
