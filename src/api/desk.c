#include "api/desk_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- routes ---- */

route *kith__route_new(desk_client *c, kith_daemon_kind kind, kith_op theirs)
{
    desk *d = c->desk;
    route *r = kith_calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (route){.desk = d, .client = c, .kind = kind, .theirs = theirs, .core = ++d->last_op, .fd = -1};
    kith_list_append(&d->routes, &r->link);
    return r;
}

void kith__route_free(route *r)
{
    if (!r) return;
    if (r->fd >= 0) close(r->fd);
    for (desk_folder *f; (f = r->folders);) {
        r->folders = f->next;
        close(f->fd);
        kith_free(f);
    }
    kith_list_remove(&r->link);
    kith_free(r->folder);
    kith_free(r);
}

route *kith__route_of_core(desk *d, kith_op core)
{
    KITH_EACH (at, &d->routes) {
        route *r = KITH_OF(at, route, link);
        if (r->core == core) return r;
    }
    return NULL;
}

route *kith__route_of_client(const desk_client *c, kith_op theirs)
{
    KITH_EACH (at, &c->desk->routes) {
        route *r = KITH_OF(at, route, link);
        if (r->client == c && r->theirs == theirs) return r;
    }
    return NULL;
}

void kith__desk_tell(desk_client *c, const kith_event *event)
{
    if (c && !c->gone) c->sink->event(c->user, event);
}

void kith__route_end(route *r, kith_err err, const char *message)
{
    kith_event event = {.kind = KITH_EVENT_END, .op = r->theirs, .err = err};
    snprintf(event.message, sizeof event.message, "%s", message ? message : kith_err_text(err));
    desk_client *c = r->client;
    kith__route_free(r);
    kith__desk_tell(c, &event);
}

/* ---- the inbox ---- */

void kith__offer_free(desk_offer *o)
{
    kith_list_remove(&o->link);
    kith_free(o);
}

/* Whatever is said of a transfer means that it waits no longer. */
static void keep_inbox(desk *d, const route *r, const kith_event *event)
{
    KITH_EACH (at, &d->offers) {
        desk_offer *o = KITH_OF(at, desk_offer, link);
        bool over = event->kind == KITH_EVENT_END ? o->op == event->op : o->transfer == event->transfer;
        if (over && o->op == event->op) kith__offer_free(o);
    }
    if (event->kind != KITH_EVENT_OFFER || !r->inbox) return;
    desk_offer *o = kith_calloc(1, sizeof *o);
    if (!o) return; /* whoever receives was told, too */
    o->op = event->op;
    o->transfer = event->transfer;
    o->event = *event;
    kith_list_append(&d->offers, &o->link);
}

/* ---- what the core says ---- */

/* Where the client calls it otherwise than we do. */
static void rename_path(const route *r, kith_event *event)
{
    char ours[64], path[KITH_PATH_NAME_MAX];
    for (const desk_folder *f = r->folders; f && *event->path_name; f = f->next) {
        int size = snprintf(ours, sizeof ours, "/proc/self/fd/%d/", f->fd);
        if (strncmp(event->path_name, ours, (size_t)size) != 0) continue;
        int whole = snprintf(path, sizeof path, "%s%s", f->called, event->path_name + size);
        if (whole < 0 || (size_t)whole >= sizeof path) *path = 0;
        memcpy(event->path_name, path, sizeof path);
        return;
    }
}

static kith_op their_part(const route *r, kith_op part)
{
    return part ? r->theirs << PART_BITS | (part & PART_MASK) : 0;
}

void kith__desk_event(void *user, const kith_event *event)
{
    desk *d = user;
    route *r = kith__route_of_core(d, event->op);
    if (!r) return;
    kith_event *told = &d->event;
    desk_client *c = r->client;
    if (r->kind == KITH_DAEMON_RECEIVE) keep_inbox(d, r, event);
    *told = *event;
    told->op = r->theirs;
    told->transfer = their_part(r, event->transfer);
    rename_path(r, told);
    if (event->kind == KITH_EVENT_END) {
        bool from_here = event->err == KITH_ERR_CANCELLED && !r->cancelled && c && !c->own;
        if (from_here) {
            told->err = KITH_ERR_CLOSED;
            snprintf(told->message, sizeof told->message,
                     "`kith up` was ended meanwhile: run the same command again to go on");
        }
        kith__route_free(r);
    }
    kith__desk_tell(c, told);
}

static bool on_incoming(void *user, const kith_event *event)
{
    desk *d = user;
    const route *serve = kith__route_of_core(d, event->op);
    desk_client *c = serve ? serve->client : NULL;
    if (!c || c->gone) return false;
    route *r = kith__route_new(c, KITH_DAEMON_CONNECT, their_part(serve, event->transfer));
    if (!r) return false;
    r->core = event->transfer;
    r->connection = true;
    d->event = *event;
    d->event.op = serve->theirs;
    d->event.transfer = r->theirs;
    if (c->sink->talk->incoming(c->user, &d->event)) return true;
    kith__route_free(r);
    return false;
}

static bool on_message(void *user, kith_op connection, kith_talk_message *message)
{
    route *r = kith__route_of_core(user, connection);
    size_t size = message->size;
    if (!r || !r->client || r->client->gone) return false;
    if (!r->client->sink->talk->message(r->client->user, r->theirs, message)) return false;
    r->given++;
    r->given_bytes += size;
    return true;
}

static void on_confirmed(void *user, kith_op connection, size_t costs)
{
    route *r = kith__route_of_core(user, connection);
    if (!r) return;
    r->undelivered -= costs < r->undelivered ? costs : r->undelivered;
    if (r->client && !r->client->gone) r->client->sink->talk->confirmed(r->client->user, r->theirs, costs);
}

static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    const route *r = kith__route_of_core(user, connection);
    if (r && r->client && !r->client->gone) r->client->sink->talk->datagram(r->client->user, r->theirs, data, size);
}

static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    const route *r = kith__route_of_core(user, connection);
    if (r && r->client && !r->client->gone) r->client->sink->talk->status(r->client->user, r->theirs, info, finishing);
}

const kith_core_talk kith__desk_talk = {.incoming = on_incoming,
                                        .message = on_message,
                                        .confirmed = on_confirmed,
                                        .datagram = on_datagram,
                                        .status = on_status};

/* ---- beginning and end ---- */

kith_err kith__desk_new(const desk_host *host, void *host_user, desk **out)
{
    desk *d = kith_calloc(1, sizeof *d);
    if (!d) return KITH_ERR_NOMEM;
    d->host = host;
    d->host_user = host_user;
    kith_list_init(&d->clients);
    kith_list_init(&d->routes);
    kith_list_init(&d->offers);
    *out = d;
    return KITH_OK;
}

void kith__desk_set_core(desk *d, kith_core *core)
{
    if (d) d->core = core;
}

void kith__desk_free(desk *d)
{
    if (!d) return;
    KITH_EACH (at, &d->routes) kith__route_free(KITH_OF(at, route, link));
    KITH_EACH (at, &d->offers) kith__offer_free(KITH_OF(at, desk_offer, link));
    kith_free(d);
}

desk_client *kith__desk_join(desk *d, const desk_sink *sink, void *user, bool own)
{
    desk_client *c = kith_calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (desk_client){.desk = d, .sink = sink, .user = user, .own = own};
    kith_list_append(&d->clients, &c->link);
    return c;
}

static route *any_route(const desk_client *c)
{
    KITH_EACH (at, &c->desk->routes) {
        route *r = KITH_OF(at, route, link);
        if (r->client == c) return r;
    }
    return NULL;
}

void kith__desk_leave(desk_client *c)
{
    if (!c) return;
    c->gone = true;
    for (route *r; (r = any_route(c));) {
        r->client = NULL;
        kith__route_cancel(r);
    }
    kith_list_remove(&c->link);
    kith_free(c);
}

const char *kith__desk_folder(const desk *d)
{
    KITH_EACH (at, &d->routes) {
        const route *r = KITH_OF(at, const route, link);
        if (r->client && r->client->own && r->folder) return r->folder;
    }
    return "";
}
