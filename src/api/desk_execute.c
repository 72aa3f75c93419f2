/* What clients ask of the desk. */
#include "api/desk_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One request on its way: who takes `fd` or `message` sets it to -1 or NULL. */
typedef struct ask {
    desk_client *client;
    const kith_daemon_request *request;
    int fd;
    kith_talk_message *message;
} ask;

/* ---- cancelling ---- */

void kith__route_cancel(route *r)
{
    switch (r->kind) {
    case KITH_DAEMON_UP:
        r->desk->host->close(r->desk->host_user, false);
        kith__route_end(r, KITH_ERR_CANCELLED, NULL);
        break;
    case KITH_DAEMON_DOWN: kith__route_end(r, KITH_ERR_CANCELLED, NULL); break;
    default:
        if (r->desk->core)
            kith_core_cancel(r->desk->core, r->core);
        else
            kith__route_free(r);
    }
}

/* ---- files and folders by descriptor ---- */

/* The path by which the core gets to a folder that the client gave; false: too many, or no memory. */
static bool take_folder(route *r, int fd, const char *called, bool slash, char path[static 64])
{
    struct stat info;
    size_t count = 0, size = strlen(called) + 2;
    if (fstat(fd, &info)) return false;
    char *name = kith_malloc(size);
    if (!name) return false;
    snprintf(name, size, "%s%s", called, slash ? "/" : "");
    desk_folder *f = r->folders;
    while (f && (f->device != info.st_dev || f->inode != info.st_ino || strcmp(f->called, name) != 0)) {
        f = f->next;
        count++;
    }
    if (f) {
        close(fd);
    } else if (count < DESK_FOLDERS_MAX && (f = kith_malloc(sizeof *f + size))) {
        *f = (desk_folder){.next = r->folders, .fd = fd, .device = info.st_dev, .inode = info.st_ino};
        memcpy(f->called, name, strlen(name) + 1);
        r->folders = f;
    }
    kith_free(name);
    if (f) snprintf(path, 64, "/proc/self/fd/%d", f->fd);
    return f != NULL;
}

/* ---- what begins ---- */

static void begin_send(ask *a, route *r)
{
    const kith_daemon_request *q = a->request;
    kith_send_options options = {
        .size = sizeof options, .name = q->name, .patience_s = q->seconds, .path = (kith_path)q->choice};
    char path[64];
    if (a->fd >= 0) {
        r->fd = a->fd;
        a->fd = -1;
        snprintf(path, sizeof path, "/proc/self/fd/%d", r->fd);
    }
    kith_core_send_file(r->desk->core, r->core, q->device, r->fd >= 0 ? path : q->text, &options);
}

static bool receives_already(const route *r)
{
    KITH_EACH (at, &r->desk->routes) {
        const route *other = KITH_OF(at, const route, link);
        if (other != r && other->client == r->client && other->kind == KITH_DAEMON_RECEIVE) return true;
    }
    return false;
}

static void begin_receive(ask *a, route *r)
{
    const kith_daemon_request *q = a->request;
    kith_receive_options options = {.size = sizeof options,
                                    .folder = q->text,
                                    .from = q->device,
                                    .yes = q->yes,
                                    .once = q->once,
                                    .conflict = (kith_conflict)q->choice,
                                    .ask = q->ask};
    char path[64];
    if (receives_already(r)) {
        kith__route_end(r, KITH_ERR_STATE, "this node is receiving already");
        return;
    }
    if (a->fd >= 0) {
        bool taken = take_folder(r, a->fd, q->text ? q->text : "", true, path);
        if (!taken) {
            kith__route_end(r, KITH_ERR_NOMEM, NULL);
            return;
        }
        a->fd = -1;
        options.folder = path;
    } else if (q->text && !(r->folder = kith_strdup(q->text))) {
        kith__route_end(r, KITH_ERR_NOMEM, NULL);
        return;
    }
    r->inbox = q->inbox;
    kith_core_receive(r->desk->core, r->core, &options);
}

static void begin_inbox(route *r)
{
    desk *d = r->desk;
    KITH_EACH (at, &d->offers) {
        const desk_offer *o = KITH_OF(at, const desk_offer, link);
        d->event = o->event;
        d->event.op = r->theirs;
        d->event.transfer = o->transfer & PART_MASK;
        kith__desk_tell(r->client, &d->event);
    }
    kith__route_end(r, KITH_OK, NULL);
}

static void begin_inbox_answer(const ask *a, route *r)
{
    desk *d = r->desk;
    KITH_EACH (at, &d->offers) {
        desk_offer *o = KITH_OF(at, desk_offer, link);
        kith_op transfer = o->transfer;
        if ((transfer & PART_MASK) != a->request->number) continue;
        kith__offer_free(o);
        kith__route_end(r, KITH_OK, NULL);
        kith_core_answer(d->core, transfer, a->request->yes);
        return;
    }
    kith__route_end(r, KITH_ERR_NOT_FOUND, "no offer of this number waits: `kith inbox` lists those that do");
}

static void begin_down(route *r)
{
    desk *d = r->desk;
    if (r->client->own) {
        kith__route_end(r, KITH_ERR_STATE, "this node is no other program's");
        return;
    }
    KITH_EACH (at, &d->routes) {
        route *up = KITH_OF(at, route, link);
        if (up->kind != KITH_DAEMON_UP) continue;
        d->host->close(d->host_user, true);
        kith__route_end(up, KITH_OK, "ended by `kith down`");
        break;
    }
    /* This one's END is the end of all. */
}

static void begin_up(route *r)
{
    kith_problem problem = {0};
    kith_event event = {.kind = KITH_EVENT_START, .op = r->theirs};
    kith_err err = r->desk->host->open(r->desk->host_user, event.path_name, &problem);
    if (err)
        kith__route_end(r, err, *problem.message ? problem.message : NULL);
    else
        kith__desk_tell(r->client, &event);
}

static void begin_talk(const ask *a, route *r)
{
    const kith_daemon_request *q = a->request;
    kith_connect_options connect = {.size = sizeof connect, .topic = q->text, .patience_s = q->seconds};
    kith_serve_options serve = {.size = sizeof serve, .contacts = q->contact};
    if (q->kind == KITH_DAEMON_SERVE) {
        kith_core_serve(r->desk->core, r->core, q->text, &serve);
        return;
    }
    r->connection = true;
    if (kith_talk_topic_good(q->text))
        kith_core_connect(r->desk->core, r->core, q->device, &connect);
    else
        kith__route_end(r, KITH_ERR_ARG, NULL);
}

static void begin(ask *a, route *r)
{
    const kith_daemon_request *q = a->request;
    kith_core *core = r->desk->core;
    kith_pair_options pair = {.size = sizeof pair,
                              .contact = q->contact,
                              .expires_s = q->seconds,
                              .yes = q->yes,
                              .replace_network = q->replace};
    kith_pin_options pin = {.size = sizeof pin, .name = q->name, .yes = q->yes};
    kith_doctor_options doctor = {.size = sizeof doctor, .stun = q->stun};
    while (doctor.stun_count < KITH_DOCTOR_STUN_MAX && q->stun[doctor.stun_count]) doctor.stun_count++;
    switch (q->kind) {
    case KITH_DAEMON_PAIR: kith_core_pair(core, r->core, &pair); break;
    case KITH_DAEMON_JOIN: kith_core_join(core, r->core, q->text, &pair); break;
    case KITH_DAEMON_PING: kith_core_ping(core, r->core, q->device, q->count); break;
    case KITH_DAEMON_LOOK: kith_core_look(core, r->core, q->strangers); break;
    case KITH_DAEMON_PIN: kith_core_pin(core, r->core, q->text, &pin); break;
    case KITH_DAEMON_DOCTOR: kith_core_doctor(core, r->core, &doctor); break;
    case KITH_DAEMON_SEND: begin_send(a, r); break;
    case KITH_DAEMON_RECEIVE: begin_receive(a, r); break;
    case KITH_DAEMON_CONNECT:
    case KITH_DAEMON_SERVE: begin_talk(a, r); break;
    case KITH_DAEMON_INBOX: begin_inbox(r); break;
    case KITH_DAEMON_INBOX_ANSWER: begin_inbox_answer(a, r); break;
    case KITH_DAEMON_DOWN: begin_down(r); break;
    case KITH_DAEMON_UP: begin_up(r); break;
    default: kith__route_end(r, KITH_ERR_INTERNAL, NULL);
    }
}

static void refuse(desk_client *c, kith_op theirs, kith_err err)
{
    kith_event event = {.kind = KITH_EVENT_END, .op = theirs, .err = err};
    snprintf(event.message, sizeof event.message, "%s", kith_err_text(err));
    kith__desk_tell(c, &event);
}

static size_t count_routes(const desk_client *c)
{
    size_t count = 0;
    KITH_EACH (at, &c->desk->routes) count += KITH_OF(at, const route, link)->client == c;
    return count;
}

static kith_err start(ask *a)
{
    desk_client *c = a->client;
    const kith_daemon_request *q = a->request;
    bool by_path = (q->kind == KITH_DAEMON_SEND || (q->kind == KITH_DAEMON_RECEIVE && q->text)) && a->fd < 0;
    if (kith__route_of_client(c, q->op) || (!c->own && (by_path || q->kind == KITH_DAEMON_UP)))
        return KITH_ERR_PROTOCOL;
    bool room = c->own || count_routes(c) < KITH_DAEMON_OPS_MAX;
    route *r = room ? kith__route_new(c, q->kind, q->op) : NULL;
    if (r)
        begin(a, r);
    else
        refuse(c, q->op, room ? KITH_ERR_NOMEM : KITH_ERR_LIMIT);
    return KITH_OK;
}

/* ---- what is about something under way ---- */

/* What the core calls it, and whose it is; 0: it is over. */
static kith_op core_number(const desk_client *c, kith_op theirs, route **of)
{
    route *r = kith__route_of_client(c, theirs);
    *of = r;
    if (r) return r->core;
    r = PART_OF(theirs) ? kith__route_of_client(c, PART_OF(theirs)) : NULL;
    *of = r;
    return r ? r->core << PART_BITS | (theirs & PART_MASK) : 0;
}

static void receive_file(ask *a, route *r, kith_op transfer)
{
    const kith_daemon_request *q = a->request;
    char folder[64], path[64 + KITH_FILE_NAME_TEXT];
    kith_conflict conflict = (kith_conflict)q->choice;
    if (a->fd < 0) {
        kith_core_receive_file(r->desk->core, transfer, q->text, conflict);
        return;
    }
    if (!take_folder(r, a->fd, q->text, false, folder)) {
        kith_core_answer(r->desk->core, transfer, false); /* it can go nowhere */
        return;
    }
    a->fd = -1;
    snprintf(path, sizeof path, "%s/%s", folder, q->name);
    kith_core_receive_file(r->desk->core, transfer, path, conflict);
}

static kith_err send_message(ask *a, route *r)
{
    size_t cost = a->message->size + KITH_TALK_COST;
    if (r->undelivered + cost > KITH_UNDELIVERED_MAX) return KITH_ERR_PROTOCOL;
    r->undelivered += cost;
    kith_core_send_message(r->desk->core, r->core, a->message);
    a->message = NULL;
    return KITH_OK;
}

static kith_err taken(const kith_daemon_request *q, route *r)
{
    if (q->number > r->given || q->bytes > r->given_bytes) return KITH_ERR_PROTOCOL;
    r->given -= q->number;
    r->given_bytes -= (size_t)q->bytes;
    kith_core_taken(r->desk->core, r->core, q->number, (size_t)q->bytes);
    return KITH_OK;
}

static kith_err talk(ask *a, route *r)
{
    const kith_daemon_request *q = a->request;
    if (!r->connection) return KITH_ERR_PROTOCOL;
    switch (q->kind) {
    case KITH_DAEMON_MESSAGE: return send_message(a, r);
    case KITH_DAEMON_TAKEN: return taken(q, r);
    case KITH_DAEMON_DATAGRAM:
        kith_core_send_datagram(r->desk->core, r->core, a->message->data, a->message->size);
        return KITH_OK;
    default: kith_core_finish(r->desk->core, r->core); return KITH_OK;
    }
}

static kith_err go_on(ask *a)
{
    const kith_daemon_request *q = a->request;
    route *r = NULL;
    kith_op number = core_number(a->client, q->op, &r);
    if (!r) return KITH_OK; /* over: that was said */
    bool whole = number == r->core;
    switch (q->kind) {
    case KITH_DAEMON_ANSWER: kith_core_answer(r->desk->core, number, q->yes); return KITH_OK;
    case KITH_DAEMON_RECEIVE_FILE:
        if (!a->client->own && (a->fd < 0 || strchr(q->name, '/'))) return KITH_ERR_PROTOCOL;
        if (r->kind == KITH_DAEMON_RECEIVE && !whole) receive_file(a, r, number);
        return KITH_OK;
    case KITH_DAEMON_CANCEL:
        if (!whole) {
            kith_core_cancel(r->desk->core, number);
            return KITH_OK;
        }
        r->cancelled = true;
        kith__route_cancel(r);
        return KITH_OK;
    default: return whole ? talk(a, r) : KITH_OK;
    }
}

kith_err kith__desk_execute(desk_client *c, const kith_daemon_request *r, int fd, kith_talk_message *message)
{
    ask a = {.client = c, .request = r, .fd = fd, .message = message};
    kith_err err = kith_daemon_begins(r->kind) ? start(&a) : go_on(&a);
    if (a.fd >= 0) close(a.fd);
    kith_free(a.message);
    return err;
}
