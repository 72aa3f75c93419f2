#include "api/line.h"

#include "api/door.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_HEAD 64 /* bytes of a message's request besides its data */

/* An operation, or a connection, whose END has not come. */
typedef struct pending {
    kith_link link;
    kith_op op;
    bool down; /* the daemon's end is what it wants */
} pending;

struct line {
    kith_local *local;
    const desk_sink *sink;
    void *user;
    kith_list pending;
    bool over;
    kith_daemon_answer answer; /* being read */
    uint8_t bytes[KITH_DAEMON_FIXED_MAX];
};

/* ---- finding it ---- */

static kith_err say_hello(int fd, kith_daemon_hello *hello, kith_problem *problem)
{
    kith_daemon_request request = {.kind = KITH_DAEMON_HELLO, .text = KITH_VERSION, .count = KITH_DAEMON_PROTOCOL};
    uint8_t bytes[KITH_DAEMON_FIXED_MAX + 1];
    size_t size = kith_daemon_request_write(&request, bytes, KITH_DAEMON_FIXED_MAX), got = 0;
    char shown[4 * KITH_DAEMON_VERSION];
    kith_daemon_answer *answer = kith_calloc(1, sizeof *answer);
    if (!answer) return KITH_ERR_NOMEM;
    kith_err err = kith_local_exchange(fd, bytes, size, bytes, KITH_DAEMON_FIXED_MAX, &got);
    if (!err) err = kith_daemon_answer_read(bytes, got, answer);
    if (!err && answer->kind != KITH_DAEMON_HELLO) err = KITH_ERR_PROTOCOL;
    if (err == KITH_ERR_VERSION) {
        err = KITH_ERR_UNSUPPORTED;
        snprintf(problem->message, sizeof problem->message,
                 "`kith up` runs in another version (%s; this is %s): start it anew (\"kith down\" of that version or "
                 "\"systemctl --user restart kith\"), then run the same command again",
                 kith_printable(answer->hello.version, strlen(answer->hello.version), shown, sizeof shown),
                 KITH_VERSION);
    }
    if (!err) *hello = answer->hello;
    kith_free(answer);
    return err;
}

/* Somebody listens there and says nothing: it is stopped, or hangs. */
static void explain_silence(long pid, kith_problem *problem)
{
    char process[48] = "", cure[96] = "end it";
    if (pid > 0) snprintf(process, sizeof process, " (process %ld)", pid);
    if (pid > 0) snprintf(cure, sizeof cure, "\"kill -CONT %ld\" if it was stopped, else \"kill -9 %ld\"", pid, pid);
    snprintf(problem->message, sizeof problem->message,
             "`kith up`%s does not answer: %s, then run the same command again", process, cure);
}

kith_err kith__line_find(const char *home, unsigned patience_ms, int *out, kith_daemon_hello *hello,
                         kith_problem *problem)
{
    kith_local_place places[DOOR_PLACES_MAX];
    size_t count = kith__door_places(home, places);
    kith_err err = KITH_ERR_LOST;
    const char *refused = home;
    long pid = 0;
    int fd = -1;
    if (!patience_ms) patience_ms = LINE_PATIENCE_MS;
    for (int tries = 0; tries < LINE_TRIES && err == KITH_ERR_LOST; tries++) {
        err = KITH_ERR_NOT_FOUND;
        if (tries) poll(NULL, 0, LINE_PAUSE_MS);
        for (size_t i = 0; i < count && err == KITH_ERR_NOT_FOUND; i++) {
            refused = places[i].folder;
            err = kith_local_connect(&places[i], patience_ms, &fd);
        }
        if (err) break;
        pid = kith_local_process(fd);
        err = say_hello(fd, hello, problem);
        if (err) close(fd);
    }
    if (!err)
        *out = fd;
    else if (err == KITH_ERR_NOT_FOUND)
        snprintf(problem->message, sizeof problem->message, "`kith up` does not run");
    else if (err == KITH_ERR_TIMEOUT)
        explain_silence(pid, problem);
    else if (err == KITH_ERR_EXPOSED || err == KITH_ERR_PERMISSION)
        kith__door_refused(err, refused, problem);
    else if (!*problem->message)
        snprintf(problem->message, sizeof problem->message, "`kith up` does not answer well: %s", kith_err_text(err));
    return err;
}

/* ---- what is under way ---- */

static pending *find(line *l, kith_op op)
{
    KITH_EACH (at, &l->pending) {
        pending *p = KITH_OF(at, pending, link);
        if (p->op == op) return p;
    }
    return NULL;
}

static bool note(line *l, kith_op op, bool down)
{
    pending *p = kith_malloc(sizeof *p);
    if (!p) return false;
    *p = (pending){.op = op, .down = down};
    kith_list_append(&l->pending, &p->link);
    return true;
}

static void forget(line *l, kith_op op)
{
    pending *p = find(l, op);
    if (!p) return;
    kith_list_remove(&p->link);
    kith_free(p);
}

static void end(line *l, kith_op op, kith_err err, const char *message)
{
    kith_event event = {.kind = KITH_EVENT_END, .op = op, .err = err};
    snprintf(event.message, sizeof event.message, "%s", message ? message : kith_err_text(err));
    l->sink->event(l->user, &event);
}

static const char gone[] = "`kith up` has ended: run the same command again to go on";

static void on_ended(void *user, kith_err why)
{
    line *l = user;
    (void)why;
    l->over = true;
    for (kith_link *at; (at = kith_list_take_first(&l->pending));) {
        pending *p = KITH_OF(at, pending, link);
        end(l, p->op, p->down ? KITH_OK : KITH_ERR_LOST, p->down ? NULL : gone);
        kith_free(p);
    }
}

/* ---- in ---- */

static void cancel(line *l, kith_op op)
{
    kith_daemon_request r = {.kind = KITH_DAEMON_CANCEL, .op = op};
    kith__line_ask(l, &r, NULL);
}

static void on_event(line *l, const kith_event *event)
{
    if (event->kind == KITH_EVENT_END) forget(l, event->op);
    if (event->kind != KITH_EVENT_INCOMING) {
        l->sink->event(l->user, event);
        return;
    }
    bool noted = note(l, event->transfer, false);
    if (noted && l->sink->talk->incoming(l->user, event)) return;
    if (noted) forget(l, event->transfer);
    cancel(l, event->transfer);
}

static bool on_answer(void *user, uint8_t *data, size_t size)
{
    line *l = user;
    kith_daemon_answer *a = &l->answer;
    kith_talk_message *message;
    if (kith_daemon_answer_read(data, size, a)) return false;
    switch (a->kind) {
    case KITH_DAEMON_EVENT:
        on_event(l, &a->event);
        kith_wipe(a->event.words, sizeof a->event.words);
        return true;
    case KITH_DAEMON_CONFIRMED: l->sink->talk->confirmed(l->user, a->op, (size_t)a->costs); return true;
    case KITH_DAEMON_STATUS: l->sink->talk->status(l->user, a->op, &a->info, a->finishing); return true;
    case KITH_DAEMON_DATAGRAM: l->sink->talk->datagram(l->user, a->op, a->data, a->data_size); return true;
    case KITH_DAEMON_MESSAGE:
        message = kith_talk_message_new(a->data, a->data_size);
        if (message && l->sink->talk->message(l->user, a->op, message)) return true;
        kith_free(message);
        cancel(l, a->op); /* one was lost: it cannot go on */
        return true;
    default: return false;
    }
}

/* ---- out ---- */

static kith_err errno_error(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR: return KITH_ERR_NO_FILE;
    case EACCES:
    case EPERM: return KITH_ERR_PERMISSION;
    case ELOOP:
    case ENXIO: return KITH_ERR_NOT_REGULAR;
    case EMFILE:
    case ENFILE: return KITH_ERR_LIMIT;
    default: return KITH_ERR_IO;
    }
}

static kith_err open_file(const char *path, int *fd)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0) return errno_error();
    if (fstat(*fd, &info)) return KITH_ERR_IO;
    return S_ISREG(info.st_mode) ? KITH_OK : KITH_ERR_NOT_REGULAR;
}

static kith_err open_folder(const char *path, int *fd)
{
    *fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? errno_error() : KITH_OK;
}

/* The request as it is sent: with what a path names opened here.  What cannot be is this program's error. */
static kith_err prepare(kith_daemon_request *r, char folder[static KITH_PATH_NAME_MAX], int *fd)
{
    const char *slash = r->text ? strrchr(r->text, '/') : NULL, *base = slash ? slash + 1 : r->text;
    kith_err err;
    switch (r->kind) {
    case KITH_DAEMON_SEND:
        err = open_file(r->text, fd);
        if (!r->name) r->name = base;
        r->text = NULL;
        return err;
    case KITH_DAEMON_RECEIVE: return r->text ? open_folder(r->text, fd) : KITH_OK;
    case KITH_DAEMON_RECEIVE_FILE:
        snprintf(folder, KITH_PATH_NAME_MAX, "%.*s", (int)(base - r->text), r->text);
        r->name = base;
        r->text = folder;
        return open_folder(*folder ? folder : ".", fd);
    default: return KITH_OK;
    }
}

static void send_request(line *l, const kith_daemon_request *r, int fd, const kith_talk_message *message)
{
    kith_daemon_request sent = *r;
    if (message) {
        sent.data = message->data;
        sent.data_size = message->size;
        uint8_t *room = kith_local_room(message->size + DATA_HEAD);
        size_t size = room ? kith_daemon_request_write(&sent, room, message->size + DATA_HEAD) : 0;
        kith_local_send(l->local, room, size, -1);
        return;
    }
    size_t size = kith_daemon_request_write(&sent, l->bytes, sizeof l->bytes);
    uint8_t *room = size ? kith_local_room(size) : NULL;
    if (room) memcpy(room, l->bytes, size);
    kith_wipe(l->bytes, size); /* it may have been a pairing code */
    if (!size) {               /* a text of the caller's is too long */
        if (fd >= 0) close(fd);
        if (!kith_daemon_begins(r->kind)) return;
        forget(l, r->op);
        end(l, r->op, KITH_ERR_ARG, NULL);
        return;
    }
    kith_local_send(l->local, room, size, fd);
}

void kith__line_ask(line *l, const kith_daemon_request *r, kith_talk_message *message)
{
    kith_daemon_request sent = *r;
    char folder[KITH_PATH_NAME_MAX], text[640], shown[512];
    bool begins = kith_daemon_begins(r->kind);
    int fd = -1;
    kith_err err = KITH_OK;
    if (l->over) {
        if (begins) end(l, r->op, r->kind == KITH_DAEMON_DOWN ? KITH_OK : KITH_ERR_LOST, gone);
        kith_free(message);
        return;
    }
    if (r->kind == KITH_DAEMON_UP) err = KITH_ERR_STATE;
    if (!err) err = prepare(&sent, folder, &fd);
    bool named = err && r->text; /* the path is what is wrong */
    if (!err && begins && !note(l, r->op, r->kind == KITH_DAEMON_DOWN)) err = KITH_ERR_NOMEM;
    if (!err) {
        send_request(l, &sent, fd, message);
    } else {
        if (fd >= 0) close(fd);
        if (named)
            snprintf(text, sizeof text, "%s: %s", kith_printable(r->text, strlen(r->text), shown, sizeof shown),
                     kith_err_text(err));
        if (begins) end(l, r->op, err, named ? text : NULL);
        if (r->kind == KITH_DAEMON_RECEIVE_FILE) {
            sent = (kith_daemon_request){.kind = KITH_DAEMON_ANSWER, .op = r->op};
            send_request(l, &sent, -1, NULL); /* it can go nowhere */
        }
    }
    kith_free(message);
}

/* ---- beginning and end ---- */

kith_err kith__line_open(kith_env *env, int fd, const desk_sink *sink, void *user, line **out)
{
    static const kith_local_events events = {.message = on_answer, .ended = on_ended};
    line *l = kith_calloc(1, sizeof *l);
    if (!l) return KITH_ERR_NOMEM;
    l->sink = sink;
    l->user = user;
    kith_list_init(&l->pending);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    kith_err err = kith_local_open(env, fd, KITH_DAEMON_FRAME_MAX, &events, l, &l->local);
    if (err) {
        kith_free(l);
        return err;
    }
    *out = l;
    return KITH_OK;
}

void kith__line_close(line *l)
{
    if (!l) return;
    kith_local_close(l->local);
    for (kith_link *at; (at = kith_list_take_first(&l->pending));) kith_free(KITH_OF(at, pending, link));
    kith_free(l);
}
