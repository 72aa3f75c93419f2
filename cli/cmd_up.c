#include "commands.h"
#include "downloads.h"
#include "output.h"
#include "receiving.h"
#include "settings.h"

#include "../relay/notify.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDENTIAL "kith-password" /* its name for systemd's LoadCredential= */

typedef struct up {
    receiving *receiving; /* first: receiving.h says so */
    kith_op receive, heartbeat;
    const char *folder;
    kith_conflict conflict;
    uint64_t watchdog_ns;  /* systemd wants to hear of us so often; 0: it does not */
    uint64_t heartbeat_ns; /* not again before this */
} up;

/* ---- what it says ---- */

static void say_status(const up *u)
{
    char text[512], shown[OUT_NAME];
    snprintf(text, sizeof text, "STATUS=Receiving into %s; files so far: %lu", out_name(u->folder, shown, sizeof shown),
             receiving_files(u->receiving));
    system_notify(text);
}

static void on_event(session *s, const kith_event *event)
{
    up *u = s->user;
    if (event->kind != KITH_EVENT_START) return;
    malloc_trim(0); /* what beginning took; from here on it mostly waits */
    receiving_ready(s, u->folder);
    system_notify("READY=1");
    say_status(u);
}

/* The loop's thread lives when it answers: only then is systemd told so. */
static void on_tick(session *s)
{
    up *u = s->user;
    if (!u->watchdog_ns || u->heartbeat || now_ns() < u->heartbeat_ns) return;
    u->heartbeat_ns = now_ns() + u->watchdog_ns / 4;
    if (kith_inbox(s->node, &u->heartbeat)) u->heartbeat = 0;
}

static void on_other(session *s, const kith_event *event)
{
    up *u = s->user;
    if (event->op == u->heartbeat && event->kind == KITH_EVENT_END) {
        u->heartbeat = 0;
        system_notify("WATCHDOG=1");
    }
    if (event->op != u->receive) return;
    if (event->kind == KITH_EVENT_END) {
        if (s->stop == STOP_NOT) session_stop(s, STOP_STATUS, out_problem(event->err, event->message));
        return;
    }
    receiving_event(s, event);
    if (event->kind == KITH_EVENT_FILE) say_status(u);
}

/* ---- beginning ---- */

static uint64_t watchdog_ns(void)
{
    const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!text || (pid && strtol(pid, NULL, 10) != (long)getpid())) return 0;
    return (uint64_t)strtoull(text, NULL, 10) * 1000;
}

/* The password may be a credential that systemd keeps for us. */
static int open_node(session *s)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    if (folder && snprintf(path, sizeof path, "%s/" CREDENTIAL, folder) < (int)sizeof path && !access(path, R_OK))
        s->password_file = path;
    int status = session_open_own(s);
    s->password_file = NULL;
    return status;
}

static int check_alone(session *s)
{
    kith_daemon_info daemon;
    int status = session_daemon(s);
    if (status) return status < 0 ? 0 : status;
    (void)kith_daemon_of(s->node, &daemon);
    session_close(s);
    return out_error(EXIT_FAILED, "\"kith up\" runs already (process %ld): \"kith down\" ends it", daemon.pid);
}

static int stay(session *s, up *u, bool contacts)
{
    static const session_handler handler = {.event = on_event,
                                            .other = on_other,
                                            .tick = on_tick,
                                            .stays = true,
                                            .go_on = "what arrived is kept; run the same command again to go on"};
    kith_receive_options options = {
        .size = sizeof options, .folder = u->folder, .yes = contacts, .conflict = u->conflict, .inbox = true};
    u->watchdog_ns = watchdog_ns();
    s->tick_ns = u->watchdog_ns ? u->watchdog_ns / 3 : 3600 * SECOND_NS;
    kith_err err = kith_receive(s->node, &options, &u->receive);
    if (!err) err = kith_daemon(s->node, &s->op);
    int status = session_begin(s, err, &handler, u);
    system_notify("STOPPING=1");
    session_close(s);
    return status;
}

static int run(const cli_args *a)
{
    static const char *const names[] = {"own", "contacts", NULL};
    session s;
    up u = {.receiving = NULL};
    char *folder = NULL, standard[4096];
    int accept = 0;
    const char *dir = NULL;
    setting room, listen;
    int status = session_start(&s, a);
    if (!status) status = setting_choice(&s, OPT_ACCEPT, "accept", "--accept: say own or contacts", names, &accept);
    if (!status) status = receiving_conflict(&s, &u.conflict);
    if (!status) status = setting_or_option(&s, OPT_DIR, "dir", &room, &dir);
    if (!status) status = setting_or_option(&s, OPT_LISTEN, "listen", &listen, &s.listen); /* this and no other */
    if (!status && !dir) status = downloads_folder(standard, sizeof standard);
    if (!status) status = receiving_folder(dir ? dir : standard, &folder);
    mallopt(M_ARENA_MAX, 1); /* who waits most of the time needs no heap for each thread */
    if (!status) status = check_alone(&s);
    if (!status) status = open_node(&s);
    if (!status && !(u.receiving = receiving_new(false, true, NULL))) {
        session_close(&s);
        status = out_problem(KITH_ERR_NOMEM, NULL);
    }
    u.folder = folder;
    if (!status) status = stay(&s, &u, accept == 1);
    receiving_free(u.receiving);
    free(folder);
    return status;
}

static const cli_option options[] = {
    {OPT_DIR, 0, "dir", "DIR", VALUE_FOLDER,
     "the folder to receive into; default as set (kith config dir), else the "
     "desktop's download folder"},
    {OPT_ACCEPT, 0, "accept", "own|contacts", VALUE_CHOICE,
     "whose files are taken without asking: own devices' (the default), or contacts' too"},
    {OPT_CONFLICT, 0, "conflict", "keep|skip|overwrite", VALUE_CHOICE,
     "when another file has that name: keep both (the default), skip the new one, overwrite the old one"},
    {OPT_NONE, 0, NULL, NULL, VALUE_NONE, NULL},
};

const cli_command cmd_up = {
    .name = "up",
    .arguments = "",
    .summary = "stay, receive, and serve the other commands",
    .about =
        "Stay until \"kith down\", Ctrl-C or a signal: receive what own devices send, keep what contacts offer for "
        "\"kith inbox\", and do what other commands of this home ask for, which then need no password and are "
        "quicker.",
    .options = options,
    .run = run,
};
