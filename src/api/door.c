#include "api/door.h"

#include "base/mem.h"
#include "base/text.h"
#include "crypto/blake3.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES 8  /* of BLAKE3 in the socket's name */
#define DATA_HEAD  64 /* bytes of a message's answer besides its data */

struct door {
    door_config config;
    kith_local_place place;
    int fd, lock;
    kith_local_door *listening; /* NULL: shut */
    kith_list visitors;
    size_t count;
    kith_daemon_answer answer; /* being written */
    uint8_t bytes[KITH_DAEMON_FIXED_MAX];
};

typedef struct visitor {
    kith_link link;
    door *door;
    kith_local *local;
    kith_timer *timer;
    desk_client *client; /* NULL: it has not said hello */
} visitor;

/* ---- where ---- */

/* Ours, and nobody else's to write in: he could put another of our folders in the place of the one that we make. */
static bool is_ours(const char *folder)
{
    struct stat info;
    return *folder == '/' && !stat(folder, &info) && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
           !(info.st_mode & (S_IWGRP | S_IWOTH));
}

size_t kith__door_places(const char *home, kith_local_place out[static DOOR_PLACES_MAX])
{
    char real[PATH_MAX], user[64], hex[2 * NAME_BYTES + 1];
    uint8_t hash[KITH_BLAKE3_SIZE];
    size_t count = 0;
    if (!realpath(home, real)) return 0;
    kith_blake3(real, strlen(real), hash);
    kith_hex(hash, NAME_BYTES, hex);
    snprintf(user, sizeof user, "/run/user/%ld", (long)geteuid());
    const char *given = getenv("XDG_RUNTIME_DIR"), *folders[] = {given ? given : "", user};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        kith_local_place *p = &out[count];
        if (!is_ours(folders[i]) || strlen(folders[i]) + sizeof "/kith" > sizeof p->folder) continue;
        if (i && given && strcmp(given, folders[i]) == 0) continue;
        snprintf(p->folder, sizeof p->folder, "%s/kith", folders[i]);
        snprintf(p->name, sizeof p->name, "%s.sock", hex);
        count++;
    }
    snprintf(out[count].folder, sizeof out[count].folder, "%s", real);
    snprintf(out[count].name, sizeof out[count].name, "daemon.sock");
    return count + 1;
}

/* ---- out ---- */

static void say(visitor *v, int fd)
{
    door *d = v->door;
    size_t size = kith_daemon_answer_write(&d->answer, d->bytes, sizeof d->bytes);
    uint8_t *room = size ? kith_local_room(size) : NULL;
    if (room) memcpy(room, d->bytes, size);
    kith_wipe(d->bytes, size); /* it may have been a pairing code */
    kith_local_send(v->local, room, size, fd);
}

static void on_event(void *user, const kith_event *event)
{
    visitor *v = user;
    if (event->kind == KITH_EVENT_PROGRESS && kith_local_queued(v->local) > DOOR_PROGRESS_AT) return;
    v->door->answer.kind = KITH_DAEMON_EVENT;
    v->door->answer.event = *event;
    say(v, -1);
    kith_wipe(v->door->answer.event.words, sizeof event->words);
}

static bool on_incoming(void *user, const kith_event *event)
{
    on_event(user, event);
    return true;
}

static bool say_data(visitor *v, kith_daemon_kind kind, kith_op connection, const void *data, size_t size)
{
    kith_daemon_answer *a = &v->door->answer;
    uint8_t *room = kith_local_room(size + DATA_HEAD);
    if (!room) return false;
    a->kind = kind;
    a->op = connection;
    a->data = data;
    a->data_size = size;
    kith_local_send(v->local, room, kith_daemon_answer_write(a, room, size + DATA_HEAD), -1);
    return true;
}

static bool on_message(void *user, kith_op connection, kith_talk_message *message)
{
    if (!say_data(user, KITH_DAEMON_MESSAGE, connection, message->data, message->size)) return false;
    kith_free(message);
    return true;
}

static void on_datagram(void *user, kith_op connection, const void *data, size_t size)
{
    visitor *v = user;
    if (kith_local_queued(v->local) > DOOR_PROGRESS_AT) return; /* lost, as they may be */
    (void)say_data(v, KITH_DAEMON_DATAGRAM, connection, data, size);
}

static void on_confirmed(void *user, kith_op connection, size_t costs)
{
    visitor *v = user;
    v->door->answer = (kith_daemon_answer){.kind = KITH_DAEMON_CONFIRMED, .op = connection, .costs = costs};
    say(v, -1);
}

static void on_status(void *user, kith_op connection, const kith_remote_device_info *info, bool finishing)
{
    visitor *v = user;
    v->door->answer = (kith_daemon_answer){.kind = KITH_DAEMON_STATUS, .op = connection, .finishing = finishing};
    v->door->answer.info = *info;
    say(v, -1);
}

static const kith_core_talk talk = {.incoming = on_incoming,
                                    .message = on_message,
                                    .confirmed = on_confirmed,
                                    .datagram = on_datagram,
                                    .status = on_status};
static const desk_sink sink = {.event = on_event, .talk = &talk};

static void say_hello(visitor *v)
{
    kith_daemon_answer *a = &v->door->answer;
    *a = (kith_daemon_answer){.kind = KITH_DAEMON_HELLO};
    v->door->config.describe(v->door->config.user, &a->hello);
    a->hello.protocol = KITH_DAEMON_PROTOCOL;
    snprintf(a->hello.version, sizeof a->hello.version, "%s", KITH_VERSION);
    say(v, -1);
}

/* ---- in ---- */

static void visitor_free(visitor *v)
{
    kith__desk_leave(v->client);
    kith_local_close(v->local);
    v->door->config.env->timers->close(v->timer);
    v->door->count--;
    kith_list_remove(&v->link);
    kith_free(v);
}

static bool greet(visitor *v, uint8_t *data, size_t size)
{
    kith_daemon_request hello;
    kith_err err = kith_daemon_request_read(data, size, &hello);
    if (err == KITH_ERR_VERSION || (!err && hello.kind == KITH_DAEMON_HELLO)) say_hello(v);
    if (err || hello.kind != KITH_DAEMON_HELLO || hello.count != KITH_DAEMON_PROTOCOL) return false;
    v->client = kith__desk_join(v->door->config.desk, &sink, v, false);
    v->door->config.env->timers->set(v->timer, UINT64_MAX);
    return v->client != NULL;
}

static bool on_request(void *user, uint8_t *data, size_t size)
{
    visitor *v = user;
    kith_daemon_request r;
    kith_talk_message *message = NULL;
    if (!v->client) return greet(v, data, size);
    if (kith_daemon_request_read(data, size, &r) || r.kind == KITH_DAEMON_HELLO) return false;
    bool has_message = r.kind == KITH_DAEMON_MESSAGE || r.kind == KITH_DAEMON_DATAGRAM;
    if (has_message && !(message = kith_talk_message_new(r.data, r.data_size))) {
        kith_local_fail(v->local, KITH_ERR_NOMEM);
        return true;
    }
    int fd = kith_daemon_has_fd(&r) ? kith_local_take_fd(v->local) : -1;
    return kith__desk_execute(v->client, &r, fd, message) == KITH_OK;
}

static void on_ended(void *user, kith_err why)
{
    (void)why;
    visitor_free(user);
}

static void on_hello_late(void *user)
{
    visitor *v = user;
    kith_local_fail(v->local, KITH_ERR_TIMEOUT);
}

static void on_accepted(void *user, int fd)
{
    static const kith_local_events events = {.message = on_request, .ended = on_ended};
    door *d = user;
    const kith_env_timers *timers = d->config.env->timers;
    visitor *v = d->count < KITH_DAEMON_CLIENTS_MAX ? kith_calloc(1, sizeof *v) : NULL;
    if (v) v->timer = timers->open(d->config.env, on_hello_late, v);
    if (!v || !v->timer || kith_local_open(d->config.env, fd, KITH_DAEMON_FRAME_MAX, &events, v, &v->local)) {
        if (v) timers->close(v->timer);
        kith_free(v);
        close(fd);
        return;
    }
    v->door = d;
    timers->set(v->timer, d->config.env->base->now_ns(d->config.env) + DOOR_HELLO_NS);
    kith_list_append(&d->visitors, &v->link);
    d->count++;
}

/* ---- beginning and end ---- */

void kith__door_refused(kith_err err, const char *folder, kith_problem *problem)
{
    if (err == KITH_ERR_EXPOSED)
        snprintf(problem->message, sizeof problem->message,
                 "other users can write into %.400s, where the socket of `kith up` is: run `chmod go-w` on it", folder);
    else
        snprintf(problem->message, sizeof problem->message,
                 "no permission in %.400s, or its socket is another user's: run as the user it belongs to, or give it "
                 "back with "
                 "`chown`",
                 folder);
}

static void explain(kith_err err, const kith_local_place *place, long pid, kith_problem *problem)
{
    char process[48] = "";
    if (pid > 0) snprintf(process, sizeof process, " (process %ld)", pid);
    if (err == KITH_ERR_LOCKED)
        snprintf(problem->message, sizeof problem->message,
                 "`kith up` runs already%s: \"kith down\" ends it, \"kith status\" shows it", process);
    else if (err == KITH_ERR_EXPOSED || err == KITH_ERR_PERMISSION)
        kith__door_refused(err, place->folder, problem);
    else
        snprintf(problem->message, sizeof problem->message, "no socket can be made in %.400s: %s", place->folder,
                 kith_err_text(err));
}

kith_err kith__door_open(const door_config *config, door **out, kith_problem *problem)
{
    kith_local_place places[DOOR_PLACES_MAX];
    long pid = 0;
    if (!kith__door_places(config->home, places)) return KITH_ERR_NO_FILE;
    door *d = kith_calloc(1, sizeof *d);
    if (!d) return KITH_ERR_NOMEM;
    d->config = *config;
    d->place = places[0];
    d->fd = d->lock = -1;
    kith_list_init(&d->visitors);
    kith_err err = kith_local_listen(&d->place, &d->fd, &d->lock, &pid);
    if (err) explain(err, &d->place, pid, problem);
    if (!err) err = kith_local_accept(config->env, d->fd, on_accepted, d, &d->listening);
    if (err) {
        kith__door_free(d);
        return err == KITH_ERR_LOCKED ? KITH_ERR_STATE : err;
    }
    *out = d;
    return KITH_OK;
}

void kith__door_socket(const door *d, char out[static KITH_PATH_NAME_MAX])
{
    int size = snprintf(out, KITH_PATH_NAME_MAX, "%s/%s", d->place.folder, d->place.name);
    if (size < 0 || size >= KITH_PATH_NAME_MAX) *out = 0;
}

void kith__door_shut(door *d)
{
    kith_local_accept_end(d->listening);
    d->listening = NULL;
    if (d->fd >= 0) kith_local_unlisten(&d->place, d->fd);
    d->fd = -1;
}

void kith__door_free(door *d)
{
    if (!d) return;
    kith__door_shut(d);
    if (d->lock >= 0) kith_local_unlock(&d->place, d->lock); /* before they hear that all is over */
    KITH_EACH (at, &d->visitors) visitor_free(KITH_OF(at, visitor, link));
    kith_free(d);
}
