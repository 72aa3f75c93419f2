#include "commands.h"
#include "output.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define SHORT_ID      8
#define COLUMNS       6
#define COLUMN_SPACE  2
#define STRANGERS_MAX 256 /* as kith_nearby tells */
#define AWAITED_SHOWN 3   /* names of those that are looked for; of more only how many */

typedef struct table {
    const char *home;
    kith_device_info *devices; /* those that are known; with --nearby, strangers after them */
    size_t known, count, seen_count;
    struct sighting {
        bool seen, live; /* announces itself here; is connected with `kith up` */
        uint64_t rtt_ns;
        char path[8], scope[16], address[KITH_ADDRESS_TEXT];
    } * sightings;
    bool looked, nearby;
} table;

static void note(struct sighting *at, const kith_event *event)
{
    at->seen = true;
    snprintf(at->path, sizeof at->path, "%s", event->path);
    snprintf(at->scope, sizeof at->scope, "%s", event->scope);
    snprintf(at->address, sizeof at->address, "%s", event->address);
}

/* On a terminal, meanwhile: whom it looks for. */
static void say_awaited(const table *t)
{
    char line[AWAITED_SHOWN * (KITH_NAME_TEXT + 2) + 64] = "Looking for", more[32] = "";
    size_t n = strlen(line), shown = 0, missing = t->known - t->seen_count;
    for (size_t i = 0; i < t->known && shown < AWAITED_SHOWN; i++)
        if (!t->sightings[i].seen)
            n += (size_t)snprintf(line + n, sizeof line - n, "%s %s", shown++ ? "," : "", t->devices[i].name);
    if (missing > shown) snprintf(more, sizeof more, " and %zu more", missing - shown);
    snprintf(line + n, sizeof line - n, "%s...", missing ? more : " strangers");
    out_status(missing || t->nearby ? line : "");
}

static void on_event(session *s, const kith_event *event)
{
    table *t = s->user;
    bool live = event->kind == KITH_EVENT_LIVE;
    if (event->kind == KITH_EVENT_LOOKED) session_stop(s, STOP_DONE, 0);
    if (event->kind == KITH_EVENT_SIGHTED && !event->device.trust) {
        if (t->count == t->known + STRANGERS_MAX) return;
        t->devices[t->count] = event->device;
        note(&t->sightings[t->count++], event);
        return;
    }
    for (size_t i = 0; (live || event->kind == KITH_EVENT_SIGHTED) && i < t->known; i++) {
        struct sighting *at = &t->sightings[i];
        if (at->seen || strcmp(t->devices[i].id, event->device.id) != 0) continue;
        at->live = live;
        at->rtt_ns = event->rtt_ns;
        note(at, event);
        if (++t->seen_count == t->known && !t->nearby) session_stop(s, STOP_DONE, 0);
        say_awaited(t);
    }
}

/* A look around needs no password and proves nothing: it says who announces itself.  When it cannot be had, that is no
 * failure. */
static int look(session *s, table *t)
{
    static const session_handler handler = {.event = on_event, .go_on = "run the same command again"};
    if ((t->known == 0 && !t->nearby) || args_has(s->args, OPT_NO_LAN)) return 0;
    int status = session_look(s);
    if (status) return status < 0 ? 0 : status;
    s->until_ns = s->deadline_ns; /* a shorter look sees less, and what is known is known */
    s->deadline_ns = 0;
    say_awaited(t);
    t->looked = (t->nearby ? kith_nearby(s->node, &s->op) : kith_look(s->node, &s->op)) == KITH_OK;
    status = t->looked ? session_run(s, &handler, t) : 0;
    session_close(s);
    return status;
}

static const char *whose(const table *t, size_t i)
{
    return i < t->known ? out_relation(t->devices[i].trust) : "stranger";
}

/* What was said of it alone: {"file": "deny"}. */
static json_t *permits(const table *t, size_t i)
{
    static const char *const permissions[] = {NULL, "deny", "ask", "allow"}; /* as kith_permission counts */
    kith_permit_info all[KITH_PERMITS_MAX];
    kith_problem problem;
    size_t count = 0;
    json_t *object = json_object();
    if (i >= t->known || kith_permits(t->home, t->devices[i].id, all, KITH_PERMITS_MAX, &count, &problem))
        return object;
    for (size_t j = 0; j < count && j < KITH_PERMITS_MAX; j++)
        if (all[j].said) json_object_set_new(object, all[j].service, json_string(permissions[all[j].said]));
    return object;
}

static void print_json(const table *t, size_t i)
{
    const struct sighting *at = &t->sightings[i];
    json_t *object = json_pack("{s:s}", "event", "device"), *device = out_json_device(&t->devices[i]);
    json_object_update_missing(object, device);
    json_decref(device);
    json_object_set_new(object, "trust", json_string(whose(t, i)));
    json_object_set_new(object, "first_use", json_boolean(t->devices[i].first_use));
    json_object_set_new(object, "permits", permits(t, i));
    json_object_set_new(object, "online", t->looked ? json_boolean(at->seen) : json_null());
    json_object_set_new(object, "path", at->seen ? json_string(at->path) : json_null());
    json_object_set_new(object, "scope", at->seen ? json_string(at->scope) : json_null());
    json_object_set_new(object, "address", at->seen ? json_string(at->address) : json_null());
    json_object_set_new(object, "rtt_ms", at->live ? json_real((double)at->rtt_ns / 1e6) : json_null());
    out_event(object);
}

typedef struct row {
    char cells[COLUMNS][KITH_ADDRESS_TEXT + 32];
} row;

static void fill(const table *t, size_t i, row *r)
{
    const kith_device_info *d = &t->devices[i];
    char ago[OUT_SIZE];
    snprintf(r->cells[0], sizeof r->cells[0], "%s", i < t->known ? d->name : "-");
    snprintf(r->cells[1], sizeof r->cells[1], "%.*s", SHORT_ID, d->id);
    snprintf(r->cells[2], sizeof r->cells[2], "%s", whose(t, i));
    snprintf(r->cells[3], sizeof r->cells[3], "%s", d->verified ? "yes" : "no");
    snprintf(r->cells[4], sizeof r->cells[4], "%s", t->sightings[i].live ? "now" : out_ago(d->last_seen_ms, ago));
    if (t->sightings[i].live)
        snprintf(r->cells[5], sizeof r->cells[5], "connected, %s, %s, %.1f ms", t->sightings[i].path,
                 t->sightings[i].scope, (double)t->sightings[i].rtt_ns / 1e6);
    else if (t->sightings[i].seen)
        snprintf(r->cells[5], sizeof r->cells[5], "on this network, %s, %s", t->sightings[i].path,
                 t->sightings[i].address);
    else
        snprintf(r->cells[5], sizeof r->cells[5], "%s", t->looked ? "not on this network" : "not looked for");
}

/* How many columns of the terminal the text takes. */
static size_t width(const char *text)
{
    wchar_t wide[KITH_ADDRESS_TEXT + 32];
    size_t n = mbstowcs(wide, text, sizeof wide / sizeof *wide);
    int columns = n < sizeof wide / sizeof *wide ? wcswidth(wide, n) : -1;
    return columns < 0 ? strlen(text) : (size_t)columns;
}

static void print_table(const table *t)
{
    static const row head = {{"NAME", "ID", "WHOSE", "VERIFIED", "LAST SEEN", "NOW"}};
    row *rows = calloc(t->count + 1, sizeof *rows);
    size_t widths[COLUMNS] = {0};
    if (!rows) return;
    rows[0] = head;
    for (size_t i = 0; i < t->count; i++) fill(t, i, &rows[i + 1]);
    for (size_t i = 0; i <= t->count; i++)
        for (size_t c = 0; c < COLUMNS; c++)
            if (width(rows[i].cells[c]) > widths[c]) widths[c] = width(rows[i].cells[c]);
    for (size_t i = 0; i <= t->count; i++) {
        char line[COLUMNS * sizeof head.cells[0] * 2];
        size_t n = 0;
        for (size_t c = 0; c < COLUMNS; c++) {
            size_t gap = c + 1 < COLUMNS ? widths[c] - width(rows[i].cells[c]) + COLUMN_SPACE : 0;
            n += (size_t)snprintf(line + n, sizeof line - n, "%s%*s", rows[i].cells[c], (int)gap, "");
        }
        out_line("%s", line);
    }
    free(rows);
}

/* The known ones in a list of our own, with room for strangers. */
static bool make_room(table *t, kith_device_info *list)
{
    size_t room = t->known + (t->nearby ? STRANGERS_MAX : 0) + 1;
    t->devices = calloc(room, sizeof *t->devices);
    t->sightings = calloc(room, sizeof *t->sightings);
    if (t->devices) memcpy(t->devices, list, t->known * sizeof *list);
    kith_free_devices(list);
    return t->devices && t->sightings;
}

/* ---- the history ---- */

static const char *const kinds[] = {"",          "founded", "admitted", "revoked", "described",
                                    "deposited", "reset",   "replaced", "accepted"};
static const char *const states[] = {"", "good", "waiting", "void_stranger", "void_revoked", "void_reset", "void_key"};

/* What a record says, for people. */
static void tell(const kith_history_record *r, char *to, size_t size)
{
    char device[OUT_NAME], name[OUT_NAME], why[OUT_NAME];
    out_name(r->device, device, sizeof device);
    out_name(r->name, name, sizeof name);
    out_name(r->why, why, sizeof why);
    switch (r->kind) {
    case KITH_HISTORY_FOUND: snprintf(to, size, "began"); break;
    case KITH_HISTORY_ADMIT: snprintf(to, size, "let in %s", device); break;
    case KITH_HISTORY_REVOKE: snprintf(to, size, "revoked %s%s%s", device, *why ? ": " : "", why); break;
    case KITH_HISTORY_DESCRIBE: snprintf(to, size, "is called %s", name); break;
    case KITH_HISTORY_DEPOSIT: snprintf(to, size, "left its key for the recovery code"); break;
    case KITH_HISTORY_RESET:
        snprintf(to, size, "used the recovery code: %u device%s in, a new code", r->count, r->count == 1 ? "" : "s");
        break;
    case KITH_HISTORY_REPLACE: snprintf(to, size, "made a recovery code without the old one"); break;
    case KITH_HISTORY_ACCEPT: snprintf(to, size, "agreed to that code"); break;
    }
}

static void tell_void(const kith_history_record *r, char *to, size_t size)
{
    *to = 0;
    switch (r->state) {
    case KITH_HISTORY_GOOD: break;
    case KITH_HISTORY_WAITING: snprintf(to, size, "  (waits for the others to agree)"); break;
    case KITH_HISTORY_VOID_STRANGER: snprintf(to, size, "  (void: was not let in by then)"); break;
    case KITH_HISTORY_VOID_REVOKED: snprintf(to, size, "  (void: revoked by %.8s)", r->void_by); break;
    case KITH_HISTORY_VOID_RESET: snprintf(to, size, "  (void: %.8s does not know of it)", r->void_by); break;
    case KITH_HISTORY_VOID_KEY: snprintf(to, size, "  (void: not the code in force)"); break;
    }
}

static void print_record(const kith_history_record *r)
{
    char when[OUT_SIZE], signer[OUT_NAME], said[4 * OUT_NAME], why[128];
    tell(r, said, sizeof said);
    tell_void(r, why, sizeof why);
    out_line("%.8s  %s  %s %s%s", r->id, out_time(r->time_ms, when),
             *r->signer ? out_name(r->signer, signer, sizeof signer) : "a stranger", said, why);
    out_event(json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "event", "record", "id",
                        r->id, "kind", kinds[r->kind], "state", states[r->state], "void_by", r->void_by, "time",
                        out_json_time(r->time_ms), "signer", r->signer, "signer_id", r->signer_id, "device", r->device,
                        "device_id", r->device_id, "name", r->name, "why", r->why, "devices", (int)r->count));
}

/* Every record, each with its signature verified. */
static int audit(const session *s)
{
    kith_history_record *records = NULL;
    kith_problem problem;
    size_t count = 0;
    kith_err err = kith_history(s->home, &records, &count, &problem);
    if (err) return out_problem(err, problem.message);
    for (size_t i = 0; i < count; i++) print_record(&records[i]);
    kith_free_history(records);
    out_say("%zu record%s, all signatures verified.  Times are as the devices' clocks said.", count,
            count == 1 ? "" : "s");
    return 0;
}

static int run(const cli_args *a)
{
    session s;
    kith_problem problem;
    table t = {.nearby = args_has(a, OPT_NEARBY)};
    int status = session_start(&s, a);
    if (status) return status;
    if (args_has(a, OPT_AUDIT)) return audit(&s);
    kith_device_info *list;
    kith_err err = kith_devices(s.home, &list, &t.count, &problem);
    if (err) return out_problem(err, problem.message);
    t.home = s.home;
    t.known = t.count;
    session_warn_revoked(&s);
    if (!make_room(&t, list)) status = out_problem(KITH_ERR_NOMEM, NULL);
    if (!status) status = look(&s, &t);
    if (!status && t.count == 0)
        out_say("No other devices yet: run \"kith pair\" here and \"kith join\" on the other device.");
    for (size_t i = 0; !status && out()->json && i < t.count; i++) print_json(&t, i);
    if (!status && t.count) print_table(&t);
    free(t.sightings);
    free(t.devices);
    if (!status) session_warn_code(&s);
    return status;
}

static const cli_option options[] = {
    {OPT_NEARBY, 0, "nearby", NULL, VALUE_NONE, "list strangers on this network, too: for \"kith trust\""},
    {OPT_AUDIT, 0, "audit", NULL, VALUE_NONE, "print and verify the history of one's own devices instead"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_devices = {
    .name = "devices",
    .arguments = "",
    .summary = "list the other devices",
    .about = "List the other devices: name, short id, own or contact, whether it was verified, when it was last "
             "connected to, and whether "
             "it announces itself on this network now, or is connected with \"kith up\".  Asks for no password.",
    .options = options,
    .run = run,
};
