#include "receiving.h"

#include "output.h"
#include "progress.h"
#include "settings.h"
#include "transfer_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESSES_MAX 16
#define TRANSFERS_MAX 64 /* the node takes no more at a time */

typedef struct transfer {
    kith_op id;   /* 0: this place is free */
    bool waiting; /* to be accepted by a person */
    char device[KITH_NAME_TEXT];
    char name[OUT_NAME];
    uint64_t bytes, order;
    progress progress;
} transfer;

struct receiving {
    transfer transfers[TRANSFERS_MAX];
    kith_op asking; /* 0: nobody is asked anything */
    uint64_t offers;
    bool once;
    kith_err failed; /* of the last transfer that failed */
    char message[640 + OUT_NAME + 4];
    bool inbox;
    const char *folder;
    unsigned long files;
};

static receiving *of(session *s) { return *(receiving **)s->user; }

static transfer *find(receiving *r, kith_op id)
{
    for (size_t i = 0; i < TRANSFERS_MAX; i++)
        if (r->transfers[i].id == id) return &r->transfers[i];
    return NULL;
}

static transfer *find_or_add(receiving *r, const kith_event *event)
{
    transfer *t = find(r, event->transfer);
    if (!t && (t = find(r, 0))) *t = (transfer){.id = event->transfer, .bytes = event->bytes_total};
    if (!t) return NULL;
    snprintf(t->device, sizeof t->device, "%s", event->device.name);
    out_name(event->name, t->name, sizeof t->name);
    return t;
}

/* ---- asking ---- */

static void ask_next(session *s)
{
    receiving *r = of(s);
    transfer *next = NULL;
    char size[OUT_SIZE];
    if (r->asking || r->inbox) return;
    for (size_t i = 0; i < TRANSFERS_MAX; i++) {
        transfer *t = &r->transfers[i];
        if (t->id && t->waiting && (!next || t->order < next->order)) next = t;
    }
    session_listen(s, false);
    if (!next) return;
    r->asking = next->id;
    session_ask(s, "%s wants to send 1 file, %s: %s\nTake it?  [y/N] ", next->device,
                out_bytes((double)next->bytes, size), next->name);
}

static void offered(session *s, const kith_event *event)
{
    receiving *r = of(s);
    transfer *t = find_or_add(r, event);
    char size[OUT_SIZE];
    out_event(json_pack("{s:s, s:I, s:i, s:I, s:o, s:o}", "event", "offer", "transfer", (json_int_t)event->transfer,
                        "files", 1, "bytes", (json_int_t)event->bytes_total, "name", out_json_text(event->name),
                        "device", out_json_device(&event->device)));
    if (r->inbox) {
        out_say("%s wants to send 1 file, %s: %s.  It waits: \"kith inbox accept %llu\" takes it.", event->device.name,
                out_bytes((double)event->bytes_total, size), t ? t->name : "?",
                (unsigned long long)receiving_number(event->transfer));
        if (t) t->waiting = true;
        return;
    }
    if (t && session_may_ask(s)) {
        t->waiting = true;
        t->order = ++r->offers;
        ask_next(s);
        return;
    }
    /* Nobody can be asked: whoever offers must not be able to end a receive that runs for others. */
    session_answer(s, event->transfer, false);
    if (r->once) {
        session_stop(s, STOP_STATUS, session_cannot_ask(s, "--yes to take what contacts send"));
        return;
    }
    out_warn("declined what %s offered, since nobody can be asked here: say --yes to take what contacts send",
             event->device.name);
}

void receiving_line(session *s, const char *line)
{
    receiving *r = of(s);
    transfer *t = r->asking ? find(r, r->asking) : NULL;
    bool yes = line && (!strcasecmp(line, "y") || !strcasecmp(line, "yes"));
    bool no = !line || !*line || !strcasecmp(line, "n") || !strcasecmp(line, "no");
    if (t && !yes && !no) {
        session_ask(s, "Please answer y or n: ");
        return;
    }
    r->asking = 0;
    if (t) {
        t->waiting = false;
        session_answer(s, t->id, yes);
    }
    ask_next(s);
}

/* The transfer is over; a question about it was, too. */
static void let_go(session *s, kith_op id)
{
    receiving *r = of(s);
    transfer *t = find(r, id);
    if (t) *t = (transfer){.id = 0};
    ask_next(s);
}

/* Nobody waits for the answer any more: what is said next begins a line. */
static void drop_question(session *s, kith_op id)
{
    receiving *r = of(s);
    if (r->asking != id) return;
    r->asking = 0;
    session_leave_question(s);
}

/* ---- files ---- */

static void whole(session *s, const kith_event *event)
{
    receiving *r = of(s);
    transfer *t = find(r, event->transfer);
    const char *slash = strrchr(event->path_name, '/');
    char name[OUT_NAME], size[OUT_SIZE];
    r->files++;
    if (t && t->progress.started_ns && !r->asking) progress_update(&t->progress, event->bytes_total, now_ns());
    out_name(slash ? slash + 1 : *event->path_name ? event->path_name : event->name, name, sizeof name);
    out_line("%s (%s) from %s", name, out_bytes((double)event->bytes_total, size), event->device.name);
    if (event->already) out_say("%s was here already, the same: nothing was written.", name);
    out_event(json_pack("{s:s, s:o, s:I, s:s, s:o, s:b, s:I, s:o}", "event", "file", "name", out_json_text(event->name),
                        "size", (json_int_t)event->bytes_total, "hash", event->hash, "file",
                        out_json_text(event->path_name), "already", event->already, "transfer",
                        (json_int_t)event->transfer, "device", out_json_device(&event->device)));
    json_done(event, event->seconds > 0 ? event->seconds : t ? progress_seconds(&t->progress, now_ns()) : 0);
    let_go(s, event->transfer);
}

static void failed(session *s, const kith_event *event)
{
    receiving *r = of(s);
    const transfer *t = find(r, event->transfer);
    char name[OUT_NAME];
    const char *message = *event->message ? event->message : kith_err_text(event->err);
    if (event->err == KITH_ERR_DECLINED) message = "it was declined here";
    if (t && t->waiting && event->err == KITH_ERR_CANCELLED)
        message = "the sender took the offer back before it was answered";
    if (t && t->waiting && (event->err == KITH_ERR_CLOSED || event->err == KITH_ERR_LOST))
        message = "the sender went away before the offer was answered";
    bool goes_on = event->err == KITH_ERR_STATE; /* as another transfer, over a better way: the file is still coming */
    drop_question(s, event->transfer);
    if (!goes_on) r->failed = event->err;
    snprintf(r->message, sizeof r->message, "%s: %s", out_name(event->name, name, sizeof name), message);
    out_status("");
    if (!r->once) {
        if (!goes_on || out()->verbose) out_say("%s", r->message);
        out_event(json_pack("{s:s, s:o, s:i, s:o, s:I, s:o}", "event", "failed", "name", out_json_text(event->name),
                            "code", kith_err_exit(event->err), "message", out_json_text(message), "transfer",
                            (json_int_t)event->transfer, "device", out_json_device(&event->device)));
    }
    let_go(s, event->transfer);
}

void receiving_event(session *s, const kith_event *event)
{
    receiving *r = of(s);
    transfer *t;
    switch (event->kind) {
    case KITH_EVENT_OFFER: offered(s, event); break;
    case KITH_EVENT_START:
        t = find_or_add(r, event);
        if (t) progress_start(&t->progress, event->name, event->bytes, event->bytes_total, now_ns());
        if (out()->verbose) out_say("%s sends %s.", event->device.name, t ? t->name : "a file");
        json_start(event);
        break;
    case KITH_EVENT_PROGRESS:
        t = find(r, event->transfer);
        if (t && !r->asking) progress_update(&t->progress, event->bytes, now_ns());
        json_progress(event);
        break;
    case KITH_EVENT_FILE: whole(s, event); break;
    case KITH_EVENT_TWIN:
        out_warn("warning: " OUT_TWIN, event->address);
        out_event(json_pack("{s:s, s:s}", "event", "twin", "address", event->address));
        break;
    case KITH_EVENT_REVOKED: out_revoked(event->message); break;
    case KITH_EVENT_READY:
        if (r->folder) receiving_ready(s, r->folder);
        break;
    case KITH_EVENT_FAILED: failed(s, event); break;
    default: break;
    }
}

/* With --once the operation's success is the transfer's. */
bool receiving_end(session *s, const kith_event *event)
{
    receiving *r = of(s);
    if (r->once && !event->err && r->failed) session_stop(s, STOP_STATUS, out_problem(r->failed, r->message));
    return false;
}

/* ---- beginning ---- */

receiving *receiving_new(bool once, bool inbox, const char *folder)
{
    receiving *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->once = once;
    r->inbox = inbox;
    r->folder = folder;
    return r;
}

void receiving_free(receiving *r) { free(r); }
unsigned long receiving_files(const receiving *r) { return r->files; }

int receiving_folder(const char *dir, char **folder)
{
    struct stat info;
    char shown[OUT_NAME];
    out_name(dir, shown, sizeof shown);
    if (stat(dir, &info)) {
        kith_err err = errno == ENOENT ? KITH_ERR_NO_FILE : errno == EACCES ? KITH_ERR_PERMISSION : KITH_ERR_IO;
        return out_error(kith_err_exit(err), "the folder %s cannot be received into: %s%s", shown, kith_err_text(err),
                         err == KITH_ERR_NO_FILE ? "; make it with mkdir, or name another with --dir" : "");
    }
    if (!S_ISDIR(info.st_mode)) return out_error(EXIT_USAGE, "%s is no folder: name one with --dir", shown);
    if (access(dir, W_OK | X_OK))
        return out_error(kith_err_exit(KITH_ERR_PERMISSION),
                         "nothing can be written into %s: name another folder with --dir", shown);
    *folder = realpath(dir, NULL);
    return *folder ? 0 : out_problem(KITH_ERR_NOMEM, NULL);
}

int receiving_conflict(const session *s, kith_conflict *conflict)
{
    static const char *const names[] = {"keep", "skip", "overwrite", NULL}; /* as kith_conflict counts */
    int index = 0;
    int status = setting_choice(s, OPT_CONFLICT, "conflict", "--conflict: say keep, skip or overwrite", names, &index);
    if (!status) *conflict = (kith_conflict)index;
    return status;
}

void receiving_ready(const session *s, const char *folder)
{
    char addresses[ADDRESSES_MAX][KITH_ADDRESS_TEXT], shown[OUT_NAME];
    size_t count = kith_addresses(s->node, addresses, ADDRESSES_MAX);
    json_t *list = json_array();
    for (size_t i = 0; i < count && i < ADDRESSES_MAX; i++) {
        if (out()->verbose) out_say("Listening on %s.", addresses[i]);
        json_array_append_new(list, json_string(addresses[i]));
    }
    out_say("Receiving into %s until Ctrl-C.", out_name(folder, shown, sizeof shown));
    out_event(json_pack("{s:s, s:o, s:o}", "event", "ready", "folder", out_json_text(folder), "addresses", list));
}
